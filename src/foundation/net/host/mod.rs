//! The learner's own loopback: ports of 127.0.0.1 and ::1 that lead into the fabric, as a node's
//! ports would be reached.

use super::namespace::Namespace;
use async_trait::async_trait;
use cni::{Error, HostNetwork, HostPort, Protocol};
use linux::descriptors::unreserved;
use linux::relay::relay;
use linux::{descriptors, tcp, udp};
use nix::sys::socket::{AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage};
use nix::sys::socket::{bind, connect, getsockopt, listen, setsockopt, shutdown, socket, sockopt};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use task::{Crew, Owned};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A UDP client is forgotten when no datagram came from it, and none for it, for so long.
const UDP_IDLE: Duration = Duration::from_secs(60);
/// UDP clients of one port, of both loopbacks together; more are ignored until one is forgotten.
const UDP_CLIENTS: usize = 256;
/// Probes an idle TCP connection this often, so that one whose client or node is gone ends and
/// gives its place back: after 9 unanswered probes (five minutes), or one that is answered with a
/// reset.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A node that does not answer in this time is passed over: its rules may drop what comes without a
/// word, and of one that is switched off or cut the neighbours know the address for good, so that
/// the kernel would try for two minutes.
const DIAL_MAX: Duration = Duration::from_secs(1);
/// When all nodes are passed over, the first that answers after all is taken: a link may be slow by
/// ten seconds. Beyond this time no node is waited for.
const DIAL_LAST: Duration = Duration::from_secs(15);
/// Nodes that are dialed at the same time for one connection: as many as it has descriptors of its
/// own later.
const DIALS_MAX: usize = (DESCRIPTORS - 1) as usize;

/// Places for the TCP connections of all ports. A port has at most as many as it leaves free, so a
/// port with very many connections leaves some to every other one; at the bound it takes no further
/// ones, which wait in the kernel's queue.
struct Places {
    most: usize,
    taken: Mutex<Taken>,
    /// Notified when a place becomes free.
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
        self.taken.lock()
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
    serving: Vec<JoinHandle<()>>,
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
            connections: Crew::new("host-ports").part(),
            visits: watch::Sender::default(),
        }
    }
}

fn addresses(port: u16) -> [SocketAddr; 2] {
    [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
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
            serving: Vec::new(),
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
        let tasks = std::mem::take(&mut self.serving);
        drop(self);
        for task in tasks {
            let _ = task.await; // it was aborted
        }
    }

    /// Ends the tasks that serve the port.
    fn stop(&mut self) {
        self.targets.set(Targets::default()); // a flow that is just being made is not added
        self.serving.extend(self.flows.clear());
        self.serving.iter().for_each(JoinHandle::abort);
    }

    /// Refuses what comes, and keeps the port.
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

    /// Starts or stops serving, or leads to other targets. If that fails, the port is closed:
    /// nothing waits where nobody accepts.
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
        let affinity = wanted.affinity_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        let targets = Targets { affinity, kept: self.kept.clone(), ..Targets::new(wanted.to.clone()) };
        self.targets.set(targets);
        self.serving.retain(|task| !task.is_finished());
        if was_ready {
            self.serving.extend(self.flows.retain(&wanted.to));
            return Ok(());
        }
        match &self.door {
            Door::Tcp(sockets) => {
                for socket in sockets {
                    // Before it listens: connections that nobody accepts would wait for ever.
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
                    self.serving.push(tokio::spawn(serve));
                }
            }
            Door::Udp(sockets) => {
                for socket in sockets {
                    // What came before the socket was closed is old by now: its sender was refused,
                    // or waits for nothing any more.
                    udp::drain(&**socket);
                    udp::disconnect(&**socket)?;
                    let (goal, flows) = (self.targets.clone(), self.flows.clone());
                    self.serving.push(tokio::spawn(serve_udp(socket.clone(), goal, fabric.clone(), flows)));
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
            let taken = |cause| (key(wanted), not_had(wanted.port, cause));
            let port = match ports.entry(key(wanted)) {
                std::collections::btree_map::Entry::Occupied(have) => have.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    match Port::bind(wanted, self.connections.clone()) {
                        Ok(port) => free.insert(port),
                        Err(cause) => {
                            failed.push(taken(cause));
                            continue;
                        }
                    }
                }
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

/// The target that the affinity of a port leads to, and when it was last used. It outlives a change
/// of targets.
type Kept = Arc<Mutex<Option<(SocketAddr, Instant)>>>;

/// Where a port leads: one target after the other, or with an affinity the same while it answers.
#[derive(Default)]
struct Targets {
    to: Vec<SocketAddr>,
    next: AtomicUsize,
    affinity: Option<Duration>,
    kept: Kept,
}

impl Targets {
    fn new(to: Vec<SocketAddr>) -> Targets {
        Targets { to, ..Targets::default() }
    }

    /// Returns all of them, beginning with the one whose turn it is, or with the one that the
    /// affinity leads to.
    fn in_turn(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let kept =
            self.kept.lock().filter(|(_, used)| self.affinity.is_some_and(|lasts| used.elapsed() < lasts));
        let kept = kept.and_then(|(target, _)| self.to.iter().position(|to| *to == target));
        let first = kept.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        (0..self.to.len()).map(move |n| self.to[first.wrapping_add(n) % self.to.len()])
    }

    /// Remembers the target that answered.
    fn keep(&self, target: SocketAddr) {
        if self.affinity.is_some() {
            *self.kept.lock() = Some((target, Instant::now()));
        }
    }

    /// The affinity leads to a target that refuses no longer.
    fn let_go(&self, target: SocketAddr) {
        let mut kept = self.kept.lock();
        *kept = kept.take().filter(|(to, _)| *to != target);
    }
}

/// The targets of a port, shared with the tasks that serve it.
#[derive(Clone, Default)]
struct Goal(Arc<Mutex<Arc<Targets>>>);

impl Goal {
    fn set(&self, targets: Targets) {
        *self.0.lock() = Arc::new(targets);
    }

    fn targets(&self) -> Arc<Targets> {
        self.0.lock().clone()
    }
}

async fn serve_tcp(
    listener: TcpListener,
    goal: Goal,
    fabric: Namespace,
    crew: Crew,
    places: Arc<Places>,
    (port, visits): (u16, watch::Sender<BTreeMap<u16, u64>>),
) {
    loop {
        let (stream, _) = tcp::accept(&listener).await;
        let place = places.take(port).await; // for a connection, not for the wait for one: most ports are silent
        visits.send_modify(|visits| *visits.entry(port).or_default() += 1);
        let carried = carry(stream, goal.targets(), fabric.clone());
        crew.spawn(async move {
            carried.await;
            drop(place);
        });
    }
}

async fn carry(outside: TcpStream, targets: Arc<Targets>, fabric: Namespace) {
    let _ = (outside.set_nodelay(true), tcp::keep_alive(&outside, KEEP_ALIVE));
    let dial = |target| {
        let fabric = fabric.clone();
        async move { fabric.dial(target).await.and_then(unreserved) }
    };
    match first_that_answers(targets.in_turn(), dial).await {
        // Either side may break off.
        Some((target, inside)) => {
            targets.keep(target);
            let _ = tcp::keep_alive(&inside, KEEP_ALIVE);
            drop(relay(outside, inside).await);
        }
        // No node answers: the learner's client sees what a node's would, a connection that is
        // broken off.
        None => drop(outside.set_zero_linger()),
    }
}

/// Dials one target after the other and returns the first that answers. A target that is silent for
/// [`DIAL_MAX`] is passed over, but may still answer while the next ones are dialed, and when none
/// is left.
async fn first_that_answers<T, F: Future<Output = io::Result<T>>>(
    targets: impl Iterator<Item = SocketAddr>,
    dial: impl Fn(SocketAddr) -> F,
) -> Option<(SocketAddr, T)> {
    let mut dials = VecDeque::new();
    let all = async {
        for target in targets {
            if dials.len() == DIALS_MAX {
                dials.pop_front(); // it was waited for the longest
            }
            dials.push_back((target, Box::pin(dial(target))));
            if let Some(Some(found)) = clock::limit(DIAL_MAX, any_that_answers(&mut dials)).await {
                return Some(found);
            }
        }
        any_that_answers(&mut dials).await
    };
    clock::limit(DIAL_LAST, all).await.flatten()
}

/// Waits until a dial succeeds; the failed ones are dropped. `None`: all have failed.
async fn any_that_answers<T, F: Future<Output = io::Result<T>>>(
    dials: &mut VecDeque<(SocketAddr, Pin<Box<F>>)>,
) -> Option<(SocketAddr, T)> {
    std::future::poll_fn(|cx| {
        let mut found = None;
        dials.retain_mut(|(target, dial)| {
            if found.is_some() {
                return true;
            }
            let Poll::Ready(answer) = dial.as_mut().poll(cx) else { return true };
            found = answer.ok().map(|inside| (*target, inside));
            false
        });
        match found.is_some() || dials.is_empty() {
            true => Poll::Ready(found),
            false => Poll::Pending,
        }
    })
    .await
}

/// A UDP client's socket in the fabric, which leads to one target, and when a datagram last went
/// through it, either way.
struct Flow {
    inside: UdpSocket,
    target: SocketAddr,
    used: Mutex<Instant>,
}

impl Flow {
    fn new(inside: UdpSocket, target: SocketAddr) -> Arc<Flow> {
        Arc::new(Flow { inside, target, used: Mutex::new(Instant::now()) })
    }

    fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    /// Returns how long the flow may stay silent from now on.
    fn left(&self) -> Duration {
        let used = *self.used.lock();
        UDP_IDLE.saturating_sub(used.elapsed())
    }
}

/// The flows of one port by client, each with the task that carries its answers back. At most
/// [`UDP_CLIENTS`].
#[derive(Default)]
struct Flows(Mutex<ByClient>);

type ByClient = BTreeMap<SocketAddr, (Arc<Flow>, JoinHandle<()>)>;

impl Flows {
    fn lock(&self) -> MutexGuard<'_, ByClient> {
        self.0.lock()
    }

    /// Returns a client's flow, which stays for [`UDP_IDLE`] from now on.
    fn of(&self, client: SocketAddr) -> Option<Arc<Flow>> {
        let flows = self.lock();
        let (flow, _) = flows.get(&client)?;
        flow.touch();
        Some(flow.clone())
    }

    fn is_full(&self) -> bool {
        self.lock().len() >= UDP_CLIENTS
    }

    /// Adds a client's flow, and carries its answers to `socket`. Returns false at the bound, and
    /// where the port does not lead to the flow's target any more.
    fn add(
        self: &Arc<Self>,
        client: SocketAddr,
        flow: &Arc<Flow>,
        socket: Arc<UdpSocket>,
        goal: &Goal,
    ) -> bool {
        let mut flows = self.lock();
        // Looked at behind the lock: a change of targets replaces them before it looks through the
        // flows.
        let is_wanted = flows.len() < UDP_CLIENTS && goal.targets().to.contains(&flow.target);
        if is_wanted {
            let answers = answer_udp(flow.clone(), socket, client, self.clone(), goal.clone());
            flows.insert(client, (flow.clone(), tokio::spawn(answers)));
        }
        is_wanted
    }

    /// Removes a flow, which closes its socket, if it is over. Returns whether it was. No datagram
    /// of the client comes in between.
    fn forget(&self, client: SocketAddr, flow: &Arc<Flow>, is_over: impl FnOnce() -> bool) -> bool {
        let mut flows = self.lock();
        let over = is_over();
        if over && flows.get(&client).is_some_and(|(own, _)| Arc::ptr_eq(own, flow)) {
            flows.remove(&client);
        }
        over
    }

    /// Ends the flows that lead to none of these targets: their clients are led to another one.
    /// Returns their tasks.
    fn retain(&self, targets: &[SocketAddr]) -> Vec<JoinHandle<()>> {
        let targets: BTreeSet<&SocketAddr> = targets.iter().collect();
        let mut flows = self.lock();
        abort(flows.extract_if(.., |_, (flow, _)| !targets.contains(&flow.target)))
    }

    /// Ends all flows. Returns their tasks.
    fn clear(&self) -> Vec<JoinHandle<()>> {
        abort(std::mem::take(&mut *self.lock()).into_iter())
    }
}

/// Aborts the tasks of flows and returns them.
fn abort(ended: impl Iterator<Item = (SocketAddr, (Arc<Flow>, JoinHandle<()>))>) -> Vec<JoinHandle<()>> {
    ended.map(|(_, (_, task))| task).inspect(JoinHandle::abort).collect()
}

/// One socket in the fabric per client, so that answers find their way back.
async fn serve_udp(socket: Arc<UdpSocket>, goal: Goal, fabric: Namespace, flows: Arc<Flows>) {
    let mut buffer = vec![0; 65536];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let flow = match flows.of(client) {
            Some(flow) => flow,
            None if flows.is_full() => continue,
            None => {
                let targets = goal.targets();
                let Some(target) = targets.in_turn().next() else { continue };
                let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
                let Ok(inside) = fabric.bind_udp(unspecified).await else { continue };
                if descriptors::is_reserved(&inside) || inside.connect(target).await.is_err() {
                    continue;
                }
                targets.keep(target); // UDP does not say whether it answers
                let flow = Flow::new(inside, target);
                if !flows.add(client, &flow, socket.clone(), &goal) {
                    continue;
                }
                flow
            }
        };
        let _ = flow.inside.send(&buffer[..length]).await; // UDP may lose it
    }
}

/// Carries answers to a client, until its flow was silent for [`UDP_IDLE`] or its target refuses.
async fn answer_udp(
    flow: Arc<Flow>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    flows: Arc<Flows>,
    goal: Goal,
) {
    let mut buffer = vec![0; 65536];
    loop {
        match clock::limit(flow.left(), flow.inside.recv(&mut buffer)).await {
            Some(Ok(length)) => {
                flow.touch();
                let _ = socket.send_to(&buffer[..length], client).await;
            }
            None if flows.forget(client, &flow, || flow.left().is_zero()) => return,
            None => {} // the client has sent meanwhile
            Some(Err(_)) => {
                // The client's next datagram goes to a target whose turn it is.
                goal.targets().let_go(flow.target);
                flows.forget(client, &flow, || true);
                return;
            }
        }
    }
}

#[cfg(test)]
mod port_tests;
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

    /// Each Service of type NodePort or LoadBalancer has ports, and most of them have no
    /// connections.
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
        let start = tokio::time::Instant::now();
        assert_eq!(first_that_answers(to[..1].iter().copied(), &dial).await, None);
        assert_eq!(start.elapsed(), DIAL_LAST);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_nodes_are_waited_for_when_no_other_answers() {
        let to: Vec<SocketAddr> = (11..14).map(|n| ([172, 30, 0, n], 1).into()).collect();
        let after = |seconds: [u64; 3]| {
            let to = to.clone();
            move |target: SocketAddr| {
                let at = to.iter().position(|one| *one == target).unwrap();
                async move {
                    clock::pause(Duration::from_secs(seconds[at])).await;
                    Ok(target)
                }
            }
        };
        let first = async |seconds, count: usize| {
            first_that_answers(to[..count].iter().copied(), after(seconds)).await.map(|(target, _)| target)
        };
        assert_eq!(first([10, 0, 0], 1).await, Some(to[0]), "the longest delay of a link");
        assert_eq!(first([10, 5, 10], 3).await, Some(to[1]));
        assert_eq!(first([2, 5, 10], 3).await, Some(to[0]), "passed over, and still the first");
        assert_eq!(first([2, 0, 10], 3).await, Some(to[1]));
        let refused = |_| async { Err::<(), _>(io::ErrorKind::ConnectionRefused.into()) };
        let start = tokio::time::Instant::now();
        assert_eq!(first_that_answers(to.iter().copied(), refused).await, None);
        assert_eq!(start.elapsed(), Duration::ZERO, "a refusal is an answer");
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

    pub(super) fn free(protocol: Protocol) -> HostPort {
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
    async fn a_udp_client_that_only_sends_is_not_forgotten_and_a_silent_one_holds_no_descriptor() {
        let pair = async || UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (inside, socket, client) = (pair().await, Arc::new(pair().await), pair().await);
        let (client, target) = (client.local_addr().unwrap(), socket.local_addr().unwrap());
        let (flows, goal) = (Arc::<Flows>::default(), Goal::default());
        goal.set(Targets::new(vec![target]));
        let flow = Flow::new(inside, target);
        assert!(flows.add(client, &flow, socket, &goal));
        for _ in 0..5 {
            clock::sleep(UDP_IDLE / 2).await;
            assert!(flows.of(client).is_some(), "it is cut");
        }
        let held = Arc::downgrade(&flow);
        drop(flow);
        clock::sleep(UDP_IDLE - Duration::from_secs(1)).await;
        assert!(held.upgrade().is_some());
        clock::sleep(Duration::from_secs(2)).await;
        assert!(flows.lock().is_empty(), "silence both ways ends it");
        assert!(held.upgrade().is_none(), "its socket is closed before the next datagram comes");
    }

    #[tokio::test]
    async fn a_port_has_one_bound_of_udp_clients_and_leads_none_to_a_target_that_is_gone() {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let target: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let (flows, goal) = (Arc::<Flows>::default(), Goal::default());
        let add = async |client: SocketAddr| {
            let flow = Flow::new(UdpSocket::bind("127.0.0.1:0").await.unwrap(), target);
            flows.add(client, &flow, socket.clone(), &goal)
        };
        let [v4, v6] = addresses(1000);
        assert!(!add(v4).await, "the port does not lead there");
        goal.set(Targets::new(vec![target]));
        let clients = (1000..1000 + UDP_CLIENTS as u16 - 1).map(|port| addresses(port)[0]);
        for client in clients {
            assert!(add(client).await);
        }
        assert!(add(v6).await, "the last one");
        assert!(flows.is_full() && !add(addresses(999)[0]).await, "of both addresses together");
        assert_eq!(flows.retain(&[target]).len(), 0);
        assert_eq!(flows.retain(&[]).len(), UDP_CLIENTS);
    }

    /// Answers each datagram with one letter.
    pub(super) async fn letter(letter: u8) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 16];
            while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
                let _ = socket.send_to(&[letter], from).await;
            }
        });
        address
    }

    async fn ask_udp(client: &UdpSocket) -> u8 {
        let mut buffer = [0; 16];
        client.send(b"who").await.unwrap();
        let answer = clock::timeout(Duration::from_secs(20), client.recv(&mut buffer)).await;
        assert_eq!(answer.expect("an answer").unwrap(), 1);
        buffer[0]
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_udp_client_stays_with_its_target_while_the_port_leads_there() {
        let host = Host::new(Namespace::own());
        let (a, b) = (letter(b'a').await, letter(b'b').await);
        let open =
            |to: &[SocketAddr], port: &HostPort| [HostPort { to: to.to_vec(), ready: true, ..port.clone() }];
        let port = free(Protocol::Udp);
        assert!(host.sync_ports(&open(&[a], &port)).await.is_empty());
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(("127.0.0.1", port.port)).await.unwrap();
        assert_eq!(ask_udp(&client).await, b'a');
        assert!(host.sync_ports(&open(&[b, a], &port)).await.is_empty());
        assert_eq!(ask_udp(&client).await, b'a', "another target joined");
        assert!(host.sync_ports(&open(&[b], &port)).await.is_empty());
        assert_eq!(ask_udp(&client).await, b'b', "its target is gone");
    }

    /// A Service is deleted, and another one gets its node port.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_port_that_is_gone_can_be_had_at_once() {
        let host = Host::new(Namespace::own());
        let (target, tcp) = (letter(b'a').await, TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (udp, tcp) = (
            HostPort { to: vec![target], ready: true, ..free(Protocol::Udp) },
            HostPort { to: vec![tcp.local_addr().unwrap()], ready: true, ..free(Protocol::Tcp) },
        );
        for round in 0..100 {
            let failed = host.sync_ports(&[udp.clone(), tcp.clone()]).await;
            assert!(failed.is_empty(), "round {round}: {failed:?}");
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.connect(("127.0.0.1", udp.port)).await.unwrap();
            assert_eq!(ask_udp(&client).await, b'a');
            assert!(host.sync_ports(&[]).await.is_empty());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_waits_for_a_place_is_carried_after_a_change_of_targets() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let places = Places::new(2); // the port has one
        let host = Host { places: places.clone(), ..Host::new(Namespace::own()) };
        let (first, second) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let port = free(Protocol::Tcp);
        let to = |target: &TcpListener| {
            [HostPort { to: vec![target.local_addr().unwrap()], ready: true, ..port.clone() }]
        };
        assert!(host.sync_ports(&to(&first)).await.is_empty());
        let mut visits = host.visits();
        let connect = async || TcpStream::connect(("127.0.0.1", port.port)).await.unwrap();
        let (busy, mut waits) = (connect().await, connect().await);
        waits.write_all(b"x").await.unwrap();
        visits.wait_for(|visits| visits.get(&port.port) == Some(&1)).await.unwrap();
        // The second one leaves the queue of the kernel, and waits.
        let is_accepted = || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let listens = format!("0100007F:{:04X} 00000000:0000 0A 00000000:00000000", port.port);
            table.contains(&listens)
        };
        let patience = Instant::now() + Duration::from_secs(20);
        while !is_accepted() {
            assert!(Instant::now() < patience, "nobody accepts");
            tokio::task::yield_now().await; // no event tells of the queue
        }
        assert!(host.sync_ports(&to(&second)).await.is_empty());
        drop((busy, first.accept().await.unwrap()));
        let (mut inside, _) =
            clock::timeout(Duration::from_secs(20), second.accept()).await.unwrap().unwrap();
        let mut byte = [0];
        inside.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"x");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn both_sides_of_a_carried_connection_are_probed() {
        let host = Host::new(Namespace::own());
        let served = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = served.local_addr().unwrap();
        let port = HostPort { to: vec![to], ready: true, ..free(Protocol::Tcp) };
        assert!(host.sync_ports(std::slice::from_ref(&port)).await.is_empty());
        let client = TcpStream::connect(("127.0.0.1", port.port)).await.unwrap();
        let (_inside, dialled) = served.accept().await.unwrap();
        let outside = (port.port, client.local_addr().unwrap().port());
        // /proc/net/tcp: `tr` is 02 while the timer of SO_KEEPALIVE runs and no other one does
        // (proc_net_tcp.txt).
        let is_probed = |(own, other): (u16, u16)| {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let ends = format!(" 0100007F:{own:04X} 0100007F:{other:04X} 01 ");
            table.lines().find_map(|line| Some(line.split_once(&ends)?.1.contains(" 02:"))).unwrap_or(false)
        };
        let patience = Instant::now() + Duration::from_secs(20);
        for side in [outside, (dialled.port(), to.port())] {
            while !is_probed(side) {
                assert!(Instant::now() < patience, "{side:?} is not probed");
                tokio::task::yield_now().await; // no event tells of timers
            }
        }
    }
}
