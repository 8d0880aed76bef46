//! The learner's own loopback: ports of 127.0.0.1 and ::1 that lead into the fabric, as a node's ports would be reached.

use super::namespace::Namespace;
use crate::clock;
use crate::cni::{Error, HostNetwork, HostPort, Protocol};
use crate::linux::relay::relay;
use crate::linux::{descriptors, tcp, udp};
use crate::task::Crew;
use async_trait::async_trait;
use nix::sys::socket::{AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage};
use nix::sys::socket::{bind, connect, getsockopt, listen, setsockopt, shutdown, socket, sockopt};
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
use tokio::time::Instant;

/// A UDP client is forgotten when no datagram came from it, and none for it, for so long.
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
    /// What the port does. `None` from the beginning of a change to its end: after one that failed, the next call makes it again.
    state: Option<HostPort>,
    door: Door,
    kept: Kept,
    /// One task per address while connections are accepted.
    serving: Vec<JoinHandle<()>>,
    /// Connections, which outlive a change of targets or readiness, as they would on a node.
    connections: Crew,
}

/// Bound sockets, one per address. A TCP socket that is bound but does not listen keeps the port and refuses connections. A UDP socket
/// does so while it is connected to itself: the kernel delivers to it what comes from there alone.
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
        let mut port = Port {
            state: None,
            door,
            kept: Kept::default(),
            serving: Vec::new(),
            connections: Crew::new("host-port"),
        };
        port.close()?;
        Ok(port)
    }

    /// Refuses what comes, and keeps the port.
    fn close(&mut self) -> io::Result<()> {
        self.serving.drain(..).for_each(|task| task.abort());
        match &self.door {
            Door::Tcp(sockets) => {
                for socket in sockets {
                    // Back to "bound". A socket that does not listen would keep the mark of its shutdown, and hand it on to each
                    // connection that it accepts later: Linux clears it only where a listening socket is shut down.
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

    /// Starts or stops serving, or serves other targets. If that fails, the port is closed: nothing waits where nobody accepts.
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
            Err(_) => drop(self.close()), // the first failure is what is told
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
        self.serving.drain(..).for_each(|task| task.abort());
        let affinity = wanted.affinity_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        let targets = Targets { affinity, kept: self.kept.clone(), ..Targets::new(wanted.to.clone()) };
        let targets = Arc::new(targets);
        match &self.door {
            Door::Tcp(sockets) => {
                for socket in sockets {
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
            Door::Udp(sockets) => {
                for socket in sockets {
                    if !was_ready {
                        // What came before the socket was closed is old by now: its sender was refused, or waits for nothing any more.
                        udp::drain(&**socket);
                        udp::disconnect(&**socket)?;
                    }
                    let (fabric, crew) = (fabric.clone(), self.connections.clone());
                    self.serving.push(tokio::spawn(serve_udp(socket.clone(), targets.clone(), fabric, crew)));
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

/// The target that the affinity of a port leads to, and when it was last used. It outlives a change of targets.
type Kept = Arc<Mutex<Option<(SocketAddr, Instant)>>>;

/// Where a port leads: one target after the other, or with an affinity the same while it answers.
struct Targets {
    to: Vec<SocketAddr>,
    next: AtomicUsize,
    affinity: Option<Duration>,
    kept: Kept,
}

impl Targets {
    fn new(to: Vec<SocketAddr>) -> Targets {
        Targets { to, next: AtomicUsize::new(0), affinity: None, kept: Kept::default() }
    }

    /// Returns all of them, beginning with the one whose turn it is, or with the one that the affinity leads to.
    fn in_turn(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .filter(|(_, used)| self.affinity.is_some_and(|lasts| used.elapsed() < lasts));
        let kept = kept.and_then(|(target, _)| self.to.iter().position(|to| *to == target));
        let first = kept.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        (0..self.to.len()).map(move |n| self.to[first.wrapping_add(n) % self.to.len()])
    }

    /// Remembers the target that answered.
    fn keep(&self, target: SocketAddr) {
        if self.affinity.is_some() {
            *self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) =
                Some((target, Instant::now()));
        }
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
        Some((target, inside)) => {
            targets.keep(target);
            drop(relay(outside, inside).await);
        }
        // No node answers: the learner's client sees what a node's would, a connection that is broken off.
        None => drop(outside.set_zero_linger()),
    }
}

async fn first_that_answers<T, F: Future<Output = io::Result<T>>>(
    targets: impl Iterator<Item = SocketAddr>,
    dial: impl Fn(SocketAddr) -> F,
) -> Option<(SocketAddr, T)> {
    for target in targets {
        if let Some(Ok(inside)) = clock::timeout(DIAL_MAX, dial(target)).await {
            return Some((target, inside));
        }
    }
    None
}

/// A UDP client's socket in the fabric, and when a datagram last went through it, either way.
struct Flow {
    inside: UdpSocket,
    used: Mutex<Instant>,
}

impl Flow {
    fn touch(&self) {
        *self.used.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Instant::now();
    }

    /// Returns how long the flow may stay silent from now on.
    fn left(&self) -> Duration {
        let used = *self.used.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        UDP_IDLE.saturating_sub(used.elapsed())
    }
}

/// One socket in the fabric per client, so that answers find their way back.
async fn serve_udp(socket: Arc<UdpSocket>, targets: Arc<Targets>, fabric: Namespace, crew: Crew) {
    let mut clients: BTreeMap<SocketAddr, Arc<Flow>> = BTreeMap::new();
    let mut buffer = vec![0; 65536];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        clients.retain(|_, flow| Arc::strong_count(flow) > 1); // their answering task has given up
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
            targets.keep(target); // UDP does not say whether it answers
            let flow = Arc::new(Flow { inside, used: Mutex::new(Instant::now()) });
            crew.spawn(answer_udp(flow.clone(), socket.clone(), client));
            clients.insert(client, flow);
        }
        if let Some(flow) = clients.get(&client) {
            flow.touch();
            let _ = flow.inside.send(&buffer[..length]).await; // UDP may lose it
        }
    }
}

async fn answer_udp(flow: Arc<Flow>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; 65536];
    loop {
        match clock::timeout(flow.left(), flow.inside.recv(&mut buffer)).await {
            Some(Ok(length)) => {
                flow.touch();
                let _ = socket.send_to(&buffer[..length], client).await;
            }
            None if !flow.left().is_zero() => {} // the client has sent meanwhile
            None | Some(Err(_)) => return,
        }
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
        assert_eq!(first_that_answers(to.iter().copied(), &dial).await, Some((to[1], to[1])));
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

    #[tokio::test(start_paused = true)]
    async fn an_affinity_keeps_to_one_target_for_its_time() {
        let to: Vec<SocketAddr> = (11..14).map(|n| ([172, 30, 0, n], 1).into()).collect();
        let kept = Kept::default();
        let targets = |to: &[SocketAddr]| {
            let affinity = Some(Duration::from_secs(60));
            Targets { affinity, kept: kept.clone(), ..Targets::new(to.to_vec()) }
        };
        let all = targets(&to);
        all.keep(to[1]);
        for _ in 0..3 {
            assert_eq!(
                all.in_turn().collect::<Vec<_>>(),
                [to[1], to[2], to[0]],
                "the others if it does not answer"
            );
        }
        assert_eq!(targets(&to[1..]).in_turn().next(), Some(to[1]), "after a change of targets too");
        assert_eq!(targets(&to[2..]).in_turn().next(), Some(to[2]), "a target that is gone is not kept");
        tokio::time::advance(Duration::from_secs(59)).await;
        all.keep(to[1]);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(all.in_turn().next(), Some(to[1]), "each use begins the time anew");
        tokio::time::advance(Duration::from_secs(2)).await;
        let firsts: Vec<_> = (0..3).filter_map(|_| all.in_turn().next()).collect();
        assert_eq!(firsts, to, "then they take turns");
    }

    fn free(protocol: Protocol) -> HostPort {
        let port = match protocol {
            Protocol::Tcp => std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr(),
            Protocol::Udp => std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr(),
        };
        let port = port.unwrap().port();
        HostPort { port, protocol, to: vec![], ready: false, affinity_seconds: None }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_udp_port_refuses_while_nothing_is_ready_and_delivers_nothing_old() {
        let host = Host::new(Namespace::own());
        let served = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let wanted = HostPort { to: vec![served.local_addr().unwrap()], ..free(Protocol::Udp) };
        assert!(host.sync_ports(std::slice::from_ref(&wanted)).await.is_empty());
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(("127.0.0.1", wanted.port)).await.unwrap();
        let patience = Duration::from_secs(20);
        let mut buffer = [0; 16];
        for round in [b'1', b'2'] {
            client.send(b"old").await.unwrap();
            let answer = clock::timeout(patience, client.recv(&mut buffer)).await.unwrap();
            assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            let ready = HostPort { ready: true, ..wanted.clone() };
            assert!(host.sync_ports(&[ready]).await.is_empty());
            client.send(&[round]).await.unwrap();
            let (length, from) =
                clock::timeout(patience, served.recv_from(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(buffer[..length], [round], "what was sent before is not delivered");
            served.send_to(b"yes", from).await.unwrap();
            assert_eq!(clock::timeout(patience, client.recv(&mut buffer)).await.unwrap().unwrap(), 3);
            assert!(host.sync_ports(std::slice::from_ref(&wanted)).await.is_empty());
        }
    }

    /// A port opens before its endpoints are ready, changes meanwhile, and closes and opens again.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_port_that_opened_late_carries_data() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let host = Host::new(Namespace::own());
        let served = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = served.local_addr().unwrap();
        let wanted = HostPort { to: vec![to], ..free(Protocol::Tcp) };
        let closed = HostPort { to: vec![to, to], ..wanted.clone() };
        let open = HostPort { ready: true, ..wanted.clone() };
        for _ in 0..2 {
            for port in [&wanted, &closed] {
                assert!(host.sync_ports(std::slice::from_ref(port)).await.is_empty());
                let refused = TcpStream::connect(("127.0.0.1", wanted.port)).await.unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            }
            assert!(host.sync_ports(std::slice::from_ref(&open)).await.is_empty());
            let mut client = TcpStream::connect(("127.0.0.1", wanted.port)).await.unwrap();
            let (mut inside, _) = served.accept().await.unwrap();
            let mut buffer = [0; 4];
            client.write_all(b"ping").await.unwrap();
            inside.read_exact(&mut buffer).await.unwrap();
            inside.write_all(b"pong").await.unwrap();
            client.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"pong");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_udp_client_that_only_sends_is_not_forgotten() {
        let pair = async || UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (inside, socket, client) = (pair().await, Arc::new(pair().await), pair().await);
        let flow = Arc::new(Flow { inside, used: Mutex::new(Instant::now()) });
        let mut answers = tokio::spawn(answer_udp(flow.clone(), socket, client.local_addr().unwrap()));
        for _ in 0..5 {
            assert!(clock::timeout(UDP_IDLE / 2, &mut answers).await.is_none(), "it is cut");
            flow.touch();
        }
        let start = Instant::now();
        answers.await.unwrap();
        assert_eq!(start.elapsed(), UDP_IDLE, "silence both ways ends it");
    }

    #[tokio::test]
    async fn a_port_whose_change_failed_is_closed_and_changed_by_the_next_call() {
        let (fabric, places) = (Namespace::own(), Places::new(8));
        let visits = watch::Sender::default();
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = vec![target.local_addr().unwrap()];
        let wanted = HostPort { to, ready: true, ..free(Protocol::Tcp) };
        let mut port = Port::bind(&wanted).unwrap();
        port.become_like(&wanted, &fabric, &places, &visits).unwrap();
        let connect = async || TcpStream::connect(("127.0.0.1", wanted.port)).await.map(drop);
        connect().await.unwrap();
        // A socket that cannot listen.
        let udp = OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let Door::Tcp(sockets) = &mut port.door else { panic!("TCP") };
        sockets.push(udp);
        let more = HostPort { to: [wanted.to.clone(), wanted.to.clone()].concat(), ..wanted.clone() };
        assert!(port.become_like(&more, &fabric, &places, &visits).is_err());
        assert_eq!(connect().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let Door::Tcp(sockets) = &mut port.door else { panic!("TCP") };
        sockets.pop();
        port.become_like(&wanted, &fabric, &places, &visits).unwrap();
        connect().await.unwrap();
    }
}
