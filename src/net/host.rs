//! The learner's own loopback: ports of 127.0.0.1 and ::1 that lead into the fabric, as a node's ports would be reached.

use super::namespace::Namespace;
use crate::clock;
use crate::cni::{Error, HostNetwork, HostPort, Protocol};
use crate::linux::relay::relay;
use crate::linux::{descriptors, tcp};
use crate::task::Crew;
use async_trait::async_trait;
use nix::sys::socket::{AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage};
use nix::sys::socket::{bind, listen, setsockopt, shutdown, socket, sockopt};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// A UDP client that was silent for so long is forgotten.
const UDP_IDLE: Duration = Duration::from_secs(60);
/// UDP clients of one port; more are ignored until one is forgotten.
const UDP_CLIENTS: usize = 256;

/// A node that does not answer in this time is passed over: its rules may drop what comes without a word, and of one that is switched off or
/// cut the neighbours know the address for good, so that the kernel would try for two minutes.
const DIAL_MAX: Duration = Duration::from_secs(1);

/// Places for the TCP connections of all ports. A port has at most as many as it leaves free, so a port with very many connections leaves some to
/// every other one; at the bound it takes no further ones, which wait in the kernel's queue.
struct Places {
    most: usize,
    taken: Mutex<Taken>,
    /// A place became free.
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_port: BTreeMap<u16, usize>,
}

/// A place, until it is dropped.
struct Place(Arc<Places>, u16);

impl Places {
    fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, taken: Mutex::default(), freed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn try_take(self: &Arc<Self>, port: u16) -> Option<Place> {
        let mut taken = self.lock();
        let free = self.most.saturating_sub(taken.all);
        let own = taken.by_port.entry(port).or_default();
        if *own >= free {
            return None;
        }
        *own += 1;
        taken.all += 1;
        Some(Place(self.clone(), port))
    }

    /// Waits for a place of this port.
    async fn take(self: &Arc<Self>, port: u16) -> Place {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable(); // before the look: what becomes free after it is heard of
            match self.try_take(port) {
                Some(place) => return place,
                None => freed.await,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.lock();
        taken.all -= 1;
        if let Some(own) = taken.by_port.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                taken.by_port.remove(&self.1);
            }
        }
        drop(taken);
        self.0.freed.notify_waiters();
    }
}

/// Descriptors of a TCP connection that is carried: two sockets and the four ends of two pipes.
const DESCRIPTORS: u64 = 6;

pub struct Host {
    fabric: Namespace,
    /// Half of the descriptors.
    places: Arc<Places>,
    ports: tokio::sync::Mutex<BTreeMap<(u16, Protocol), Port>>,
    /// TCP connections that each port has taken. At most 65 536 ports.
    visits: watch::Sender<BTreeMap<u16, u64>>,
}

/// A port that is ours.
struct Port {
    wanted: HostPort,
    door: Door,
    /// One task per address while connections are accepted.
    serving: Vec<JoinHandle<()>>,
    /// Connections, which outlive a change of targets or readiness, as they would on a node.
    connections: Crew,
}

/// Bound sockets, one per address. A TCP socket that is bound but does not listen keeps the port and refuses connections.
enum Door {
    Tcp(Vec<OwnedFd>),
    Udp(Vec<Arc<UdpSocket>>),
}

impl Drop for Port {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
        self.connections.kill();
    }
}

impl Host {
    pub(super) fn new(fabric: Namespace) -> Host {
        let most = descriptors::connections(descriptors::limit(), 2, DESCRIPTORS);
        Host {
            fabric,
            places: Places::new(most),
            ports: tokio::sync::Mutex::default(),
            visits: watch::Sender::default(),
        }
    }
}

fn addresses(port: u16) -> [SocketAddr; 2] {
    [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

/// Refuses a socket whose descriptor belongs to the reserve: there may be as many ports as Services ask for, and files come first.
fn unreserved<T: AsRawFd>(socket: T) -> io::Result<T> {
    match descriptors::is_reserved(&socket) {
        true => Err(io::Error::from_raw_os_error(nix::libc::EMFILE)), // closed here
        false => Ok(socket),
    }
}

/// What a port that cannot be had is told as.
fn not_had(port: u16, cause: io::Error) -> Error {
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

/// Binds on both loopbacks; a machine without IPv6 has one.
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

/// With SO_REUSEADDR another program could take a port that does not listen yet; without it, connections of an earlier cluster
/// that are not quite over keep us out. So: without, and only if that fails, with.
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
    fn bind(wanted: &HostPort) -> io::Result<Port> {
        let door = match wanted.protocol {
            Protocol::Tcp => Door::Tcp(bind_all(wanted.port, bind_tcp)?),
            Protocol::Udp => Door::Udp(bind_all(wanted.port, |on| {
                let socket = std::net::UdpSocket::bind(on)?;
                socket.set_nonblocking(true)?;
                Ok(Arc::new(UdpSocket::from_std(socket)?))
            })?),
        };
        Ok(Port {
            wanted: HostPort { ready: false, ..wanted.clone() },
            door,
            serving: Vec::new(),
            connections: Crew::new("host-port"),
        })
    }

    /// Starts or stops serving, or serves other targets.
    fn become_like(
        &mut self,
        wanted: &HostPort,
        fabric: &Namespace,
        places: &Arc<Places>,
        visits: &watch::Sender<BTreeMap<u16, u64>>,
    ) -> io::Result<()> {
        if self.wanted == *wanted {
            return Ok(());
        }
        self.serving.drain(..).for_each(|task| task.abort());
        let targets = Arc::new(Targets::new(wanted.to.clone()));
        match &self.door {
            Door::Tcp(sockets) => {
                for socket in sockets {
                    if !wanted.ready {
                        // Back to "bound": a socket that never listened answers ENOTCONN.
                        let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
                        setsockopt(socket, sockopt::ReuseAddr, &false)?;
                        continue;
                    }
                    // Before it listens: connections that nobody accepts would wait for ever.
                    let listener = std::net::TcpListener::from(unreserved(socket.try_clone()?)?);
                    // While it listens the port cannot be taken, and connections of an earlier time do not hinder it.
                    setsockopt(socket, sockopt::ReuseAddr, &true)?;
                    listen(socket, Backlog::new(1024)?)?;
                    listener.set_nonblocking(true)?;
                    let listener = TcpListener::from_std(listener)?;
                    let serve = serve_tcp(
                        listener,
                        targets.clone(),
                        fabric.clone(),
                        self.connections.clone(),
                        places.clone(),
                        (wanted.port, visits.clone()),
                    );
                    self.serving.push(tokio::spawn(serve));
                }
            }
            Door::Udp(sockets) if wanted.ready => {
                let serve = |socket: &Arc<UdpSocket>| {
                    tokio::spawn(serve_udp(
                        socket.clone(),
                        targets.clone(),
                        fabric.clone(),
                        self.connections.clone(),
                    ))
                };
                self.serving.extend(sockets.iter().map(serve));
            }
            Door::Udp(_) => {}
        }
        self.wanted = wanted.clone();
        Ok(())
    }
}

#[async_trait]
impl HostNetwork for Host {
    async fn sync_ports(&self, want: &[HostPort]) -> Vec<((u16, Protocol), Error)> {
        let key = |port: &HostPort| (port.port, port.protocol);
        let mut ports = self.ports.lock().await;
        ports.retain(|have, _| want.iter().any(|w| key(w) == *have));
        let mut failed = Vec::new();
        for wanted in want {
            let taken = |cause| (key(wanted), not_had(wanted.port, cause));
            let port = match ports.entry(key(wanted)) {
                std::collections::btree_map::Entry::Occupied(have) => have.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => match Port::bind(wanted) {
                    Ok(port) => free.insert(port),
                    Err(cause) => {
                        failed.push(taken(cause));
                        continue;
                    }
                },
            };
            if let Err(cause) = port.become_like(wanted, &self.fabric, &self.places, &self.visits) {
                failed.push(taken(cause));
            }
        }
        failed
    }

    fn visits(&self) -> watch::Receiver<BTreeMap<u16, u64>> {
        self.visits.subscribe()
    }
}

/// Where a port leads: one after the other.
struct Targets {
    to: Vec<SocketAddr>,
    next: AtomicUsize,
}

impl Targets {
    fn new(to: Vec<SocketAddr>) -> Targets {
        Targets { to, next: AtomicUsize::new(0) }
    }

    /// All of them, beginning with the one whose turn it is.
    fn in_turn(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.to.len()).map(move |n| self.to[(first + n) % self.to.len()])
    }
}

async fn serve_tcp(
    listener: TcpListener,
    targets: Arc<Targets>,
    fabric: Namespace,
    crew: Crew,
    places: Arc<Places>,
    (port, visits): (u16, watch::Sender<BTreeMap<u16, u64>>),
) {
    loop {
        let (stream, _) = tcp::accept(&listener).await;
        let place = places.take(port).await; // for a connection, not for the wait for one: most ports are silent
        visits.send_modify(|visits| *visits.entry(port).or_default() += 1);
        let carried = carry(stream, targets.clone(), fabric.clone());
        crew.spawn(async move {
            carried.await;
            drop(place);
        });
    }
}

async fn carry(outside: TcpStream, targets: Arc<Targets>, fabric: Namespace) {
    let _ = outside.set_nodelay(true);
    let dial = |target| {
        let fabric = fabric.clone();
        async move { fabric.dial(target).await.and_then(unreserved) }
    };
    match first_that_answers(targets.in_turn(), dial).await {
        // Either side may break off.
        Some(inside) => drop(relay(outside, inside).await),
        // No node answers: the learner's client sees what a node's would, a connection that is broken off.
        None => drop(outside.set_zero_linger()),
    }
}

async fn first_that_answers<T, F: Future<Output = io::Result<T>>>(
    targets: impl Iterator<Item = SocketAddr>,
    dial: impl Fn(SocketAddr) -> F,
) -> Option<T> {
    for target in targets {
        if let Some(Ok(inside)) = clock::timeout(DIAL_MAX, dial(target)).await {
            return Some(inside);
        }
    }
    None
}

/// One socket in the fabric per client, so that answers find their way back.
async fn serve_udp(socket: Arc<UdpSocket>, targets: Arc<Targets>, fabric: Namespace, crew: Crew) {
    let mut clients: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut buffer = vec![0; 65536];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        clients.retain(|_, inside| Arc::strong_count(inside) > 1); // their answering task has given up
        if !clients.contains_key(&client) {
            if clients.len() >= UDP_CLIENTS {
                continue;
            }
            let Some(target) = targets.in_turn().next() else { continue };
            let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let Ok(inside) = fabric.bind_udp(unspecified).await else { continue };
            if descriptors::is_reserved(&inside) || inside.connect(target).await.is_err() {
                continue;
            }
            let inside = Arc::new(inside);
            crew.spawn(answer_udp(inside.clone(), socket.clone(), client));
            clients.insert(client, inside);
        }
        if let Some(inside) = clients.get(&client) {
            let _ = inside.send(&buffer[..length]).await; // UDP may lose it
        }
    }
}

async fn answer_udp(inside: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; 65536];
    while let Some(Ok(length)) = clock::timeout(UDP_IDLE, inside.recv(&mut buffer)).await {
        let _ = socket.send_to(&buffer[..length], client).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Service may have thousands of node ports, and each takes four descriptors.
    #[test]
    fn ports_leave_the_reserve_of_descriptors_alone() {
        struct Numbered(i32);
        impl AsRawFd for Numbered {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.0
            }
        }
        assert_eq!(bind_all(80, |_| Ok(Numbered(3))).map(|sockets| sockets.len()).ok(), Some(2));
        let refused = bind_all(80, |_| Ok(Numbered(i32::MAX))).map(|sockets| sockets.len()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::libc::EMFILE));
        let told = not_had(80, refused).to_string();
        assert!(told.contains("no file descriptor is left for port 80"), "{told}");
        let taken = not_had(80, io::Error::from_raw_os_error(nix::libc::EADDRINUSE)).to_string();
        assert!(taken.contains("port 80 of this machine is taken"), "{taken}");
        let denied = not_had(80, io::Error::from_raw_os_error(nix::libc::EACCES)).to_string();
        assert!(denied.contains("ip_unprivileged_port_start") && denied.contains("denied"), "{denied}");
    }

    /// Each Service of type NodePort or LoadBalancer has ports, and most of them have no connections.
    #[tokio::test]
    async fn a_port_with_many_connections_leaves_some_to_others_and_silent_ports_take_none() {
        use futures::FutureExt;
        let places = Places::new(8);
        let mut busy: Vec<Place> = std::iter::from_fn(|| places.try_take(1)).collect();
        assert_eq!(busy.len(), 4, "as many as it leaves free");
        let others: Vec<Place> = (2..5).filter_map(|port| places.try_take(port)).collect();
        assert_eq!(others.len(), 3, "each other one has some");
        let mut waits = std::pin::pin!(places.take(1));
        assert!(waits.as_mut().now_or_never().is_none());
        busy.truncate(1);
        assert!(waits.now_or_never().is_some(), "it is woken when a place is free");
        drop((busy, others));
        assert_eq!(places.lock().all, 0);
        assert!(places.lock().by_port.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_does_not_answer_costs_a_second() {
        let to: Vec<SocketAddr> = vec!["172.30.0.11:1".parse().unwrap(), "172.30.0.12:1".parse().unwrap()];
        let silent = to[0];
        let dial = |target: SocketAddr| async move {
            match target == silent {
                true => std::future::pending().await,
                false => Ok(target),
            }
        };
        let start = tokio::time::Instant::now();
        assert_eq!(first_that_answers(to.iter().copied(), &dial).await, Some(to[1]));
        assert_eq!(start.elapsed(), DIAL_MAX);
        assert_eq!(first_that_answers(to[..1].iter().copied(), &dial).await, None);
    }

    #[test]
    fn targets_take_turns_and_all_are_tried() {
        let to: Vec<SocketAddr> = vec!["172.30.0.11:1".parse().unwrap(), "172.30.0.12:1".parse().unwrap()];
        let targets = Targets::new(to.clone());
        assert_eq!(targets.in_turn().collect::<Vec<_>>(), to);
        assert_eq!(targets.in_turn().next(), Some(to[1]));
        assert_eq!(Targets::new(vec![]).in_turn().next(), None);
    }
}
