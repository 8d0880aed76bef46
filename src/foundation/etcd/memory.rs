//! A member without disk and peers: what a store in memory alone answers.

use super::api::Error;
use super::command::Command;
use super::lease::Moment;
use super::machine::{Applied, Outcome, Shared};
use super::member::{Backend, Pending, Status};
use super::question::{Answer, Question};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// A store in memory as the backend of a [`Kv`](super::kv::Kv). Its leases expire when the next
/// request comes.
///
/// Without Raft a proposal is applied at once, under one lock, and its answer is there before the
/// caller waits for it. No timer runs.
pub(super) struct Memory {
    shared: Arc<Shared>,
    /// The number of commands so far. Held while one is applied and published, so that watchers see
    /// the order of revisions.
    order: Mutex<u64>,
    start: clock::Instant,
}

impl Memory {
    pub(super) fn new(shared: Arc<Shared>) -> Memory {
        Memory { shared, order: Mutex::new(0), start: clock::Instant::now() }
    }

    fn order(&self) -> MutexGuard<'_, u64> {
        self.order.lock()
    }

    fn now(&self) -> Moment {
        self.start.elapsed()
    }

    fn expire(&self) {
        let seen = *self.order();
        let expired = self.shared.leases().take_expired(self.now());
        for id in expired {
            // Fails only if another request has ended the lease just now.
            let _ = self.apply(&Command::LeaseExpire { id, seen });
        }
    }

    fn apply(&self, command: &Command) -> Result<Outcome, Error> {
        let mut order = self.order();
        *order += 1;
        let (at, mut events) = (Applied { index: *order, term: 1 }, Vec::new());
        let outcome = self.shared.apply(command, at, self.now(), &mut events);
        self.shared.publish(&events);
        outcome
    }
}

impl Backend for Memory {
    fn propose(&self, command: &Command) -> Result<Pending<Outcome>, Error> {
        self.expire();
        let (sender, pending) = oneshot::channel();
        let _ = sender.send(self.apply(command)); // we hold the receiver
        Ok(pending)
    }
    fn read_barrier(&self) -> Result<Option<Pending<()>>, Error> {
        self.expire();
        Ok(None)
    }
    fn ask(&self, question: &Question) -> Result<Pending<Option<Bytes>>, Error> {
        let (sender, pending) = oneshot::channel();
        let Question::LeaseLeft { id } = question;
        let left = self.shared.leases().left(*id, self.now()).ok();
        let _ = sender.send(Ok(Some(Answer::LeaseLeft(left).encode()))); // we hold the receiver
        Ok(pending)
    }
    fn leader(&self) -> Option<watch::Receiver<u64>> {
        None
    }
    fn local_reads(&self) -> bool {
        self.expire();
        true
    }
    fn status(&self) -> Status {
        let (name, index) = ("memory".to_string(), self.shared.revision() as u64);
        Status {
            member: name.clone(),
            is_leader: true,
            leader: name,
            term: 1,
            index,
            applied: index,
            ..Status::default()
        }
    }
}
