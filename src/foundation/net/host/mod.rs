//! The learner's own loopback: ports of 127.0.0.1 and ::1 that lead into the fabric, as a node's
//! ports would be reached.

use super::namespace::Namespace;
use async_trait::async_trait;
use clock::Instant;
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
use tokio::task::{AbortHandle, JoinSet};

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
        while self.serving.try_join_next().is_some() {} // ended ones
        if was_ready {
            self.flows.retain(&wanted.to);
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
struct Flows {
    by_client: Mutex<ByClient>,
    /// The tasks, and aborted ones that may not have ended yet.
    tasks: Mutex<JoinSet<()>>,
}

type ByClient = BTreeMap<SocketAddr, (Arc<Flow>, AbortHandle)>;

impl Flows {
    fn lock(&self) -> MutexGuard<'_, ByClient> {
        self.by_client.lock()
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
            let mut tasks = self.tasks.lock();
            while tasks.try_join_next().is_some() {} // ended ones
            flows.insert(client, (flow.clone(), tasks.spawn(answers)));
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
    /// Returns how many there were.
    fn retain(&self, targets: &[SocketAddr]) -> usize {
        let targets: BTreeSet<&SocketAddr> = targets.iter().collect();
        let mut flows = self.lock();
        abort(flows.extract_if(.., |_, (flow, _)| !targets.contains(&flow.target)))
    }

    /// Ends all flows.
    fn clear(&self) {
        abort(std::mem::take(&mut *self.lock()).into_iter());
    }

    /// Returns the tasks of all flows, for the end of the port.
    fn take_tasks(&self) -> JoinSet<()> {
        std::mem::take(&mut *self.tasks.lock())
    }
}

/// Aborts the tasks of flows. Returns how many there were.
fn abort(ended: impl Iterator<Item = (SocketAddr, (Arc<Flow>, AbortHandle))>) -> usize {
    ended.map(|(_, (_, task))| task.abort()).count()
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
mod tests;
