//! TCP connections of a port, and the dials of their targets.

use super::super::namespace::Namespace;
use super::places::Places;
use super::targets::{Goal, Targets};
use linux::descriptors::unreserved;
use linux::relay::relay;
use linux::tcp;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use task::Crew;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Probes an idle TCP connection this often, so that one whose client or node is gone ends and
/// gives its place back: after 9 unanswered probes (five minutes), or one that is answered with a
/// reset.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A node that does not answer in this time is passed over: its rules may drop what comes without a
/// word, and of one that is switched off or cut the neighbours know the address for good, so that
/// the kernel would try for two minutes.
pub(super) const DIAL_MAX: Duration = Duration::from_secs(1);
/// When all nodes are passed over, the first that answers after all is taken. The node that was
/// dialed last is waited for this long, and then no node any more.
///
/// A link may be slow by ten seconds, and delays what its node sends. Where the pod is on another
/// node, three sends come before the answer: the first node's to the pod's node, that one's answer,
/// and the first node's again, which is 30 s.
pub(super) const DIAL_LAST: Duration = Duration::from_secs(35);
/// Nodes that are dialed at the same time for one connection: as many as it has descriptors of its
/// own later.
const DIALS_MAX: usize = (DESCRIPTORS - 1) as usize;
/// Descriptors of a TCP connection that is carried: two sockets and the four ends of two pipes.
pub(super) const DESCRIPTORS: u64 = 6;

pub(super) async fn serve_tcp(
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
pub(super) async fn first_that_answers<T, F: Future<Output = io::Result<T>>>(
    targets: impl Iterator<Item = SocketAddr>,
    dial: impl Fn(SocketAddr) -> F,
) -> Option<(SocketAddr, T)> {
    let mut dials = VecDeque::new();
    for target in targets {
        if dials.len() == DIALS_MAX {
            dials.pop_front(); // it was waited for the longest
        }
        dials.push_back((target, Box::pin(dial(target))));
        if let Some(Some(found)) = clock::limit(DIAL_MAX, any_that_answers(&mut dials)).await {
            return Some(found);
        }
    }
    // Those that are left were silent for `DIAL_MAX` at least.
    clock::limit(DIAL_LAST.saturating_sub(DIAL_MAX), any_that_answers(&mut dials)).await.flatten()
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
