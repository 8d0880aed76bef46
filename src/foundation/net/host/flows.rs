//! UDP clients of a port: a socket in the fabric for each, and the way back of its answers.

use super::super::namespace::Namespace;
use super::targets::Goal;
use clock::Instant;
use linux::descriptors;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};

/// A UDP client is forgotten when no datagram came from it, and none for it, for so long. A node's
/// kernel remembers a stream as long (`nf_conntrack_udp_timeout_stream`): a flow that was answered
/// and lasted for more than two seconds. It remembers others for 30 s.
pub(super) const UDP_IDLE: Duration = Duration::from_secs(120);
/// UDP clients of one port, of both loopbacks together; a further one takes the place of the client
/// that was silent the longest. A program that asks from a new port each time, as `dig` does, comes
/// to this number in seconds.
pub(super) const UDP_CLIENTS: usize = 256;

/// A UDP client's socket in the fabric, which leads to one target, and when a datagram last went
/// through it, either way.
pub(super) struct Flow {
    inside: UdpSocket,
    target: SocketAddr,
    used: Mutex<Instant>,
}

impl Flow {
    pub(super) fn new(inside: UdpSocket, target: SocketAddr) -> Arc<Flow> {
        Arc::new(Flow { inside, target, used: Mutex::new(Instant::now()) })
    }

    fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    /// Returns when a datagram last went through it.
    fn used(&self) -> Instant {
        *self.used.lock()
    }

    /// Returns how long the flow may stay silent from now on.
    fn left(&self) -> Duration {
        UDP_IDLE.saturating_sub(self.used().elapsed())
    }
}

/// The flows of one port by client, each with the task that carries its answers back. At most
/// [`UDP_CLIENTS`].
#[derive(Default)]
pub(super) struct Flows {
    by_client: Mutex<ByClient>,
    /// The tasks, and aborted ones that may not have ended yet.
    tasks: Mutex<JoinSet<()>>,
}

type ByClient = BTreeMap<SocketAddr, (Arc<Flow>, AbortHandle)>;

impl Flows {
    pub(super) fn lock(&self) -> MutexGuard<'_, ByClient> {
        self.by_client.lock()
    }

    /// Returns a client's flow, which stays for [`UDP_IDLE`] from now on.
    pub(super) fn of(&self, client: SocketAddr) -> Option<Arc<Flow>> {
        let flows = self.lock();
        let (flow, _) = flows.get(&client)?;
        flow.touch();
        Some(flow.clone())
    }

    /// Adds a client's flow, and carries its answers to `socket`. At the bound the flow that was
    /// silent the longest ends for it. Returns false where the port does not lead to the flow's
    /// target any more.
    pub(super) fn add(
        self: &Arc<Self>,
        client: SocketAddr,
        flow: &Arc<Flow>,
        socket: Arc<UdpSocket>,
        goal: &Goal,
    ) -> bool {
        let mut flows = self.lock();
        // Looked at behind the lock: a change of targets replaces them before it looks through the
        // flows.
        let is_wanted = goal.targets().to.contains(&flow.target);
        if is_wanted {
            if flows.len() >= UDP_CLIENTS {
                end_most_silent(&mut flows);
            }
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
    pub(super) fn retain(&self, targets: &[SocketAddr]) -> usize {
        let targets: BTreeSet<&SocketAddr> = targets.iter().collect();
        let mut flows = self.lock();
        abort(flows.extract_if(.., |_, (flow, _)| !targets.contains(&flow.target)))
    }

    /// Ends all flows.
    pub(super) fn clear(&self) {
        abort(std::mem::take(&mut *self.lock()).into_iter());
    }

    /// Returns the tasks of all flows, for the end of the port.
    pub(super) fn take_tasks(&self) -> JoinSet<()> {
        std::mem::take(&mut *self.tasks.lock())
    }
}

/// Ends the flow that was silent the longest. If its client sends again, it is a new one. A node's
/// kernel, too, makes room in its table of flows before it drops the datagrams of a new one
/// (`early_drop` in `nf_conntrack_core.c`).
fn end_most_silent(flows: &mut ByClient) {
    let most_silent = flows.iter().min_by_key(|(_, (flow, _))| flow.used()).map(|(client, _)| *client);
    if let Some((_, task)) = most_silent.and_then(|client| flows.remove(&client)) {
        task.abort();
    }
}

/// Aborts the tasks of flows. Returns how many there were.
fn abort(ended: impl Iterator<Item = (SocketAddr, (Arc<Flow>, AbortHandle))>) -> usize {
    ended.map(|(_, (_, task))| task.abort()).count()
}

/// One socket in the fabric per client, so that answers find their way back.
pub(super) async fn serve_udp(socket: Arc<UdpSocket>, goal: Goal, fabric: Namespace, flows: Arc<Flows>) {
    let mut buffer = vec![0; 65536];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let flow = match flows.of(client) {
            Some(flow) => flow,
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
