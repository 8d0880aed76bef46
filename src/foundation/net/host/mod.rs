//! The learner's own loopback: ports of 127.0.0.1 and ::1 that lead into the fabric, as a node's
//! ports would be reached.

mod connections;
mod flows;
mod places;
mod targets;

use super::namespace::Namespace;
use async_trait::async_trait;
use cni::{Error, HostNetwork, HostPort, Protocol};
use connections::{DESCRIPTORS, serve_tcp};
use flows::{Flows, serve_udp};
use linux::descriptors::unreserved;
use linux::{descriptors, udp};
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt, listen,
    setsockopt, shutdown, socket, sockopt,
};
use places::Places;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use targets::{Goal, Kept, Targets};
use task::{Crew, Owned};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) struct Host {
    fabric: Namespace,
    /// Half of the descriptors.
    places: Arc<Places>,
    ports: tokio::sync::Mutex<BTreeMap<(u16, Protocol), Port>>,
    /// TCP connections of all ports. They outlive their port, as they would on a node, whose kernel
    /// forgets no connection when kube-proxy removes a rule.
    connections: Owned,
    /// TCP connections taken since the start, by port; a port that closed stays counted. At most 65
    /// 536 ports.
    visits: watch::Sender<BTreeMap<u16, u64>>,
}

/// A port that is ours.
struct Port {
    /// What the port does. `None` from the beginning of a change to its end: after one that failed,
    /// the next call makes it again.
    state: Option<HostPort>,
    door: Door,
    kept: Kept,
    /// Where new connections and flows lead. Replaced while the port is served: what waits is not
    /// lost by a change.
    targets: Goal,
    /// Tasks that hold sockets of the door: one per address while the port is served, and aborted
    /// ones that may not have ended yet.
    serving: JoinSet<()>,
    /// The host's.
    connections: Crew,
    /// UDP flows, which outlive a change of targets that leaves them theirs.
    flows: Arc<Flows>,
}

/// Bound sockets, one per address. A TCP socket that is bound but does not listen keeps the port
/// and refuses connections. A UDP socket does so while it is connected to itself: the kernel
/// delivers to it what comes from there alone.
enum Door {
    Tcp(Vec<OwnedFd>),
    Udp(Vec<Arc<UdpSocket>>),
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Host {
    pub(super) fn new(fabric: Namespace) -> Host {
        let most = descriptors::connections(descriptors::limit(), 2, DESCRIPTORS);
        Host {
            fabric,
            places: Places::new(most),
            ports: tokio::sync::Mutex::default(),
            connections: Owned::new("host-ports"),
            visits: watch::Sender::default(),
        }
    }
}

fn addresses(port: u16) -> [SocketAddr; 2] {
    [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

/// Returns the error of a port that cannot be opened, with what can be done.
fn port_error(port: u16, cause: io::Error) -> Error {
    match cause.raw_os_error() {
        Some(nix::libc::EMFILE | nix::libc::ENFILE) => {
            let what = format!(
                "no file descriptor is left for port {port}; delete Services of type NodePort or LoadBalancer, or raise the limit of open files"
            );
            Error::Kernel { what, cause }
        }
        Some(nix::libc::EACCES) => {
            let what = format!(
                "only root may open port {port}: it is below net.ipv4.ip_unprivileged_port_start; lower that with sysctl, or run as root"
            );
            Error::Kernel { what, cause }
        }
        _ => Error::PortTaken { port, cause },
    }
}

/// Binds on both loopbacks; a machine without IPv6 has one. There may be as many ports as Services
/// ask for, so descriptors of the reserve are refused.
fn bind_all<T: AsRawFd>(port: u16, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<Vec<T>> {
    let bind = |on| bind(on).and_then(unreserved);
    let [v4, v6] = addresses(port);
    let mut bound = vec![bind(v4)?];
    match bind(v6) {
        Ok(socket) => bound.push(socket),
        Err(e) if matches!(e.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported) => {}
        Err(e) if e.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => {}
        Err(e) => return Err(e),
    }
    Ok(bound)
}

/// With SO_REUSEADDR another program could take a port that does not listen yet; without it,
/// connections of an earlier cluster that are not quite over keep us out. So: without, and only if
/// that fails, with.
fn bind_tcp(on: SocketAddr) -> io::Result<OwnedFd> {
    bind_tcp_once(on, false).or_else(|_| {
        let socket = bind_tcp_once(on, true)?;
        // Such a bind succeeds beside another such socket; only listening tells.
        listen(&socket, Backlog::new(1)?)?;
        shutdown(socket.as_raw_fd(), Shutdown::Both)?;
        Ok(socket)
    })
}

fn bind_tcp_once(on: SocketAddr, reuse: bool) -> io::Result<OwnedFd> {
    let family = if on.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let made = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&made, sockopt::ReuseAddr, &reuse)?;
    bind(made.as_raw_fd(), &SockaddrStorage::from(on))?;
    Ok(made)
}

impl Port {
    fn bind(wanted: &HostPort, connections: Crew) -> io::Result<Port> {
        let door = match wanted.protocol {
            Protocol::Tcp => Door::Tcp(bind_all(wanted.port, bind_tcp)?),
            Protocol::Udp => Door::Udp(bind_all(wanted.port, |on| {
                let socket = std::net::UdpSocket::bind(on)?;
                socket.set_nonblocking(true)?;
                Ok(Arc::new(UdpSocket::from_std(socket)?))
            })?),
        };
        let mut port = Port {
            state: None,
            door,
            kept: Kept::default(),
            targets: Goal::default(),
            serving: JoinSet::new(),
            connections,
            flows: Arc::default(),
        };
        port.close()?;
        Ok(port)
    }

    /// Closes the port. When this returns, no task holds its sockets and another call may bind it:
    /// an aborted task drops what it has only at its next turn.
    async fn end(mut self) {
        self.stop();
        let (mut serving, mut answering) = (std::mem::take(&mut self.serving), self.flows.take_tasks());
        drop(self);
        for tasks in [&mut serving, &mut answering] {
            while tasks.join_next().await.is_some() {} // they were aborted
        }
    }

    /// Ends the tasks that serve the port.
    fn stop(&mut self) {
        self.targets.set(Targets::default()); // a flow that is just being made is not added
        self.flows.clear();
        self.serving.abort_all();
    }

    /// Refuses connections and datagrams, and keeps the port bound.
    fn close(&mut self) -> io::Result<()> {
        self.stop();
        match &self.door {
            Door::Tcp(sockets) => {
                for socket in sockets {
                    // Back to "bound". A socket that does not listen would keep the mark of its
                    // shutdown, and hand it on to each connection that it accepts later: Linux
                    // clears it only where a listening socket is shut down.
                    if getsockopt(socket, sockopt::AcceptConn)? {
                        shutdown(socket.as_raw_fd(), Shutdown::Both)?;
                    }
                    setsockopt(socket, sockopt::ReuseAddr, &false)?;
                }
            }
            Door::Udp(sockets) => {
                for socket in sockets {
                    let own = SockaddrStorage::from(socket.local_addr()?);
                    connect(socket.as_raw_fd(), &own)?;
                }
            }
        }
        Ok(())
    }

    /// Starts or stops serving, or leads to other targets. If that fails, the port is closed: no
    /// connection waits where no task accepts.
    fn become_like(
        &mut self,
        wanted: &HostPort,
        fabric: &Namespace,
        places: &Arc<Places>,
        visits: &watch::Sender<BTreeMap<u16, u64>>,
    ) -> io::Result<()> {
        if self.state.as_ref() == Some(wanted) {
            return Ok(());
        }
        let was_ready = self.state.take().is_some_and(|state| state.ready);
        let changed = match wanted.ready {
            true => self.serve(wanted, was_ready, fabric, places, visits),
            false => self.close(),
        };
        match changed {
            Ok(()) => self.state = Some(wanted.clone()),
            Err(_) => drop(self.close()), // the first failure is returned
        }
        changed
    }

    fn serve(
        &mut self,
        wanted: &HostPort,
        was_ready: bool,
        fabric: &Namespace,
        places: &Arc<Places>,
        visits: &watch::Sender<BTreeMap<u16, u64>>,
    ) -> io::Result<()> {
        let affinity = wanted.affinity_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        let targets = Targets { affinity, kept: self.kept.clone(), ..Targets::new(wanted.to.clone()) };
        self.targets.set(targets);
        while self.serving.try_join_next().is_some() {} // ended ones
        if was_ready {
            self.flows.retain(&wanted.to);
            return Ok(());
        }
        match &self.door {
            Door::Tcp(sockets) => {
                for socket in sockets {
                    // Before it listens: connections that no task accepts would wait for ever.
                    let listener = std::net::TcpListener::from(unreserved(socket.try_clone()?)?);
                    // While it listens the port cannot be taken, and connections of an earlier time
                    // do not hinder it.
                    setsockopt(socket, sockopt::ReuseAddr, &true)?;
                    listen(socket, Backlog::new(1024)?)?;
                    listener.set_nonblocking(true)?;
                    let listener = TcpListener::from_std(listener)?;
                    let serve = serve_tcp(
                        listener,
                        self.targets.clone(),
                        fabric.clone(),
                        self.connections.clone(),
                        places.clone(),
                        (wanted.port, visits.clone()),
                    );
                    self.serving.spawn(serve);
                }
            }
            Door::Udp(sockets) => {
                for socket in sockets {
                    // What came before the socket was closed is old by now: its sender was refused,
                    // or waits for nothing any more.
                    udp::drain(&**socket);
                    udp::disconnect(&**socket)?;
                    let (goal, flows) = (self.targets.clone(), self.flows.clone());
                    self.serving.spawn(serve_udp(socket.clone(), goal, fabric.clone(), flows));
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl HostNetwork for Host {
    async fn sync_ports(&self, want: &[HostPort]) -> Vec<((u16, Protocol), Error)> {
        let key = |port: &HostPort| (port.port, port.protocol);
        let mut ports = self.ports.lock().await;
        let wanted: BTreeSet<_> = want.iter().map(key).collect();
        let gone: Vec<Port> =
            ports.extract_if(.., |have, _| !wanted.contains(have)).map(|(_, p)| p).collect();
        for port in gone {
            port.end().await;
        }
        let mut failed = Vec::new();
        for wanted in want {
            let failure = |cause| (key(wanted), port_error(wanted.port, cause));
            let port = match ports.entry(key(wanted)) {
                std::collections::btree_map::Entry::Occupied(have) => have.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    match Port::bind(wanted, self.connections.clone()) {
                        Ok(port) => free.insert(port),
                        Err(cause) => {
                            failed.push(failure(cause));
                            continue;
                        }
                    }
                }
            };
            if let Err(cause) = port.become_like(wanted, &self.fabric, &self.places, &self.visits) {
                failed.push(failure(cause));
            }
        }
        failed
    }

    async fn has_port(&self, port: u16) -> bool {
        self.ports.lock().await.contains_key(&(port, Protocol::Tcp))
    }

    fn visits(&self) -> watch::Receiver<BTreeMap<u16, u64>> {
        self.visits.subscribe()
    }
}

#[cfg(test)]
mod tests;
