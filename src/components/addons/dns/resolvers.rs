//! The resolvers outside: their order, their health checks, and how one is asked.

use super::message::is_answer;
use super::tcp;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use linux::descriptors::{is_shortage, unreserved};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A resolver that does not answer a question in this time is passed over.
pub(super) const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);
/// The resolvers are asked one question for this long, as in CoreDNS, which lets the last attempt
/// go on. Most clients wait no longer than that.
pub(super) const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between health checks of a resolver that did not answer, and the time-out of a check, as
/// in CoreDNS.
const CHECK_EVERY: Duration = Duration::from_millis(500);
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// Checks that may fail one after the other: with the next one a resolver is down (`max_fails`).
const FAILS_MAX: u32 = 2;

/// The resolvers outside, in the order in which resolv.conf(5) names them, as the C library asks
/// them (CoreDNS' `forward` chooses at random). One that is down is asked after the others, so that
/// not every question waits for it.
///
/// A question that is not answered says nothing about the resolver: the servers of that name may be
/// down, and one client would choose the order for all. It only begins checks of our own, which go
/// on until one is answered. Source: CoreDNS' `plugin/forward` and `plugin/pkg/proxy`.
pub(super) struct Resolvers {
    all: Vec<SocketAddr>,
    /// Resolvers that are being checked, with the checks that failed one after the other.
    checked: Mutex<HashMap<SocketAddr, u32>>,
    doubted: Notify,
}

impl Resolvers {
    pub(super) fn new(all: Vec<SocketAddr>) -> Resolvers {
        Resolvers { all, checked: Mutex::default(), doubted: Notify::new() }
    }

    pub(super) fn in_turn(&self) -> Vec<SocketAddr> {
        let checked = self.checked.lock();
        let mut all = self.all.clone();
        all.sort_by_key(|one| is_down(&checked, one));
        all
    }

    fn are_all_down(&self) -> bool {
        let checked = self.checked.lock();
        self.all.iter().all(|one| is_down(&checked, one))
    }

    /// Asks the resolvers one after the other until one answers; `None`: none did. `is_long`: over
    /// TCP.
    ///
    /// A datagram may be lost, and a slow resolver may know the answer when it is asked again. So
    /// the round is repeated for [`QUESTION_TIMEOUT`], but not while all resolvers are down, and
    /// not if each of them failed at once: another round would do the same.
    ///
    /// ```text
    /// one resolver, which does not answer  ->  asked after 0, 2 and 4 s; the end after 5 s
    /// the same, when it counts as down     ->  asked once; the end after 2 s
    /// one resolver, whose port is closed   ->  asked once; the end at once
    /// ```
    pub(super) async fn ask(&self, question: &[u8], is_long: bool) -> Option<Vec<u8>> {
        let rounds = async {
            loop {
                match self.ask_each(question, is_long).await {
                    Round::Answered(reply) => return Some(reply),
                    Round::TimedOut if !self.are_all_down() => {}
                    Round::TimedOut | Round::Failed => return None,
                }
            }
        };
        tokio::time::timeout(QUESTION_TIMEOUT, rounds).await.ok().flatten()
    }

    /// Asks each resolver once, until one answers.
    async fn ask_each(&self, question: &[u8], is_long: bool) -> Round {
        let mut round = Round::Failed;
        for one in self.in_turn() {
            let attempt = async {
                match is_long {
                    true => tcp::ask(one, question).await,
                    false => ask_udp(one, question).await,
                }
            };
            let attempted = tokio::time::timeout(FORWARD_TIMEOUT, attempt).await;
            // A firewall may keep TCP away from a resolver that answers over UDP, and without a
            // socket it was not asked.
            let says_nothing = is_long || matches!(&attempted, Ok(Err(error)) if is_shortage(error));
            match attempted {
                Ok(Ok(reply)) if is_answer(question, &reply) => return Round::Answered(reply),
                Ok(_) => {}
                Err(_) => round = Round::TimedOut,
            }
            if !says_nothing {
                self.doubt(one);
            }
        }
        round
    }

    /// Begins to check a resolver, if it is not being checked.
    pub(super) fn doubt(&self, one: SocketAddr) {
        self.checked.lock().entry(one).or_insert(0);
        self.doubted.notify_one();
    }

    /// Checks resolvers that did not answer a question, until the crew ends.
    pub(super) async fn check(&self, ended: &CancellationToken) {
        loop {
            self.doubted.notified().await;
            loop {
                let checked: Vec<SocketAddr> = self.checked.lock().keys().copied().collect();
                if checked.is_empty() {
                    break;
                }
                let answers = checked.into_iter().map(async |one| (one, answers(one).await));
                for (one, is_well) in futures::future::join_all(answers).await {
                    if let Some(is_well) = is_well {
                        self.note(one, is_well);
                    }
                }
                if tokio::time::timeout(CHECK_EVERY, ended.cancelled()).await.is_ok() {
                    return;
                }
            }
        }
    }

    /// Counts a health check, and logs when the resolver goes down or comes back.
    fn note(&self, one: SocketAddr, is_well: bool) {
        let mut checked = self.checked.lock();
        if is_well {
            if checked.remove(&one).is_some_and(|failed| failed > FAILS_MAX) {
                tracing::info!(resolver = %one, "the resolver answers again");
            }
        } else if let Some(failed) = checked.get_mut(&one) {
            *failed = failed.saturating_add(1);
            if *failed == FAILS_MAX + 1 {
                tracing::warn!(resolver = %one, "a resolver does not answer; it is asked after the others");
            }
        }
    }
}

/// The outcome of asking each resolver once.
enum Round {
    Answered(Vec<u8>),
    /// At least one left the question unanswered for [`FORWARD_TIMEOUT`].
    TimedOut,
    /// Each one refused, or could not be asked.
    Failed,
}

fn is_down(checked: &HashMap<SocketAddr, u32>, one: &SocketAddr) -> bool {
    checked.get(one).is_some_and(|failed| *failed > FAILS_MAX)
}

/// Checks a resolver's health: returns whether it answers a question for the servers of the root,
/// in whatever way. `None`: it was not asked, because this process lacks descriptors or memory.
async fn answers(one: SocketAddr) -> Option<bool> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::root(), RecordType::NS));
    let Ok(question) = question.to_vec() else { return Some(false) };
    match tokio::time::timeout(CHECK_TIMEOUT, ask_udp(one, &question)).await {
        Ok(Err(error)) if is_shortage(&error) => None,
        asked => Some(matches!(asked, Ok(Ok(_)))),
    }
}

/// Asks a resolver. Messages that answer something else are passed over.
///
/// # Errors
/// `EMFILE`: only descriptors of the reserve are left, which is not for questions of pods.
pub(super) async fn ask_udp(upstream: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = unreserved(UdpSocket::bind((any, 0)).await?)?;
    socket.connect(upstream).await?;
    socket.send(question).await?;
    // The client says how long an answer it takes; a shorter buffer would cut it off silently.
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let count = socket.recv(&mut buffer).await?;
        if is_answer(question, &buffer[..count]) {
            buffer.truncate(count);
            return Ok(buffer);
        }
    }
}
