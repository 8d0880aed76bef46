//! Callers that wait for the member's thread: proposals, reads, and news of a leader.

use super::api::Error;
use super::machine::Outcome;
use super::member::{IN_FLIGHT_MAX, Pending, Status};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// The number of no member: it says that the member has ended.
const CLOSED: u64 = u64::MAX;

type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// Callers whose answer is still to come. Each map forgets, once it has [`IN_FLIGHT_MAX`] entries,
/// the callers that have given up: their requests were lost on the way to the leader, so that no
/// answer would take them out.
#[derive(Default)]
struct Callers {
    proposals: HashMap<u64, (Instant, Answer<Outcome>)>,
    reads: HashMap<u64, Answer<()>>,
    /// Questions to the leader.
    questions: HashMap<u64, Answer<Option<Bytes>>>,
    /// Why no request is answered any more; `None` while the member runs.
    closed: Option<Error>,
}

/// Shared by the handles and the member's thread.
pub(super) struct Waiting {
    callers: Mutex<Callers>,
    next: AtomicU64,
    status: Mutex<Status>,
    /// This member alone decides, and has applied all that was ever decided: reads need not ask.
    local_reads: AtomicBool,
    leader: watch::Sender<u64>,
    /// The member that takes proposals: the leader, but 0 while it hands over to another one.
    takes: watch::Sender<u64>,
    /// Why the member takes no more writes, for good.
    failed: watch::Sender<Option<Error>>,
    /// Why the log cannot be written just now.
    paused: Mutex<Option<Error>>,
}

impl Waiting {
    /// `first_id` must be one that no earlier run of this cluster comes near.
    pub(crate) fn new(first_id: u64, member: &str) -> Waiting {
        Waiting {
            callers: Mutex::default(),
            next: AtomicU64::new(first_id),
            status: Mutex::new(Status { member: member.into(), ..Status::default() }),
            local_reads: AtomicBool::new(false),
            leader: watch::Sender::new(0),
            takes: watch::Sender::new(0),
            failed: watch::Sender::new(None),
            paused: Mutex::default(),
        }
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.callers.lock()
    }

    /// Returns a new number and where its outcome will arrive. The number goes through the log with
    /// the command. Every member applies the command, and the one that still knows the number
    /// answers.
    pub(crate) fn proposal(&self) -> Result<(u64, Pending<Outcome>), Error> {
        let (id, (answer, pending)) = (self.next.fetch_add(1, Ordering::Relaxed), oneshot::channel());
        let mut callers = self.callers();
        if let Some(error) = &callers.closed {
            return Err(error.clone());
        }
        if callers.proposals.len() >= IN_FLIGHT_MAX {
            callers.proposals.retain(|_, (_, caller)| !caller.is_closed());
        }
        callers.proposals.insert(id, (Instant::now(), answer));
        Ok((id, pending))
    }

    pub(crate) fn read(&self) -> Result<(u64, Pending<()>), Error> {
        let (ctx, (answer, pending)) = (self.next.fetch_add(1, Ordering::Relaxed), oneshot::channel());
        let mut callers = self.callers();
        if let Some(error) = &callers.closed {
            return Err(error.clone());
        }
        if callers.reads.len() >= IN_FLIGHT_MAX {
            callers.reads.retain(|_, caller| !caller.is_closed());
        }
        callers.reads.insert(ctx, answer);
        Ok((ctx, pending))
    }

    /// Registers a question to the leader. The answer is `None` if no member can answer now.
    pub(crate) fn question(&self) -> Result<(u64, Pending<Option<Bytes>>), Error> {
        let (ctx, (answer, pending)) = (self.next.fetch_add(1, Ordering::Relaxed), oneshot::channel());
        let mut callers = self.callers();
        if let Some(error) = &callers.closed {
            return Err(error.clone());
        }
        if callers.questions.len() >= IN_FLIGHT_MAX {
            callers.questions.retain(|_, caller| !caller.is_closed());
        }
        callers.questions.insert(ctx, answer);
        Ok((ctx, pending))
    }

    pub(crate) fn answer(&self, ctx: u64, answer: Option<Bytes>) {
        let asker = self.callers().questions.remove(&ctx);
        if let Some(asker) = asker {
            let answer = match (answer, self.failed()) {
                (None, Some(error)) => Err(error),
                (answer, _) => Ok(answer),
            };
            let _ = asker.send(answer); // the caller may have given up
        }
    }

    /// Takes out the caller of a proposal; `None` if it came from elsewhere. With the time it has
    /// waited.
    pub(crate) fn take_proposal(&self, id: u64) -> Option<(Duration, Answer<Outcome>)> {
        let (since, answer) = self.callers().proposals.remove(&id)?;
        Some((since.elapsed(), answer))
    }

    /// Ends a proposal that reached no leader. The caller may propose it again: it is in no log.
    pub(crate) fn refuse(&self, id: u64) {
        let error = self.failed().unwrap_or(Error::NoLeader);
        if let Some((_, answer)) = self.take_proposal(id) {
            let _ = answer.send(Err(error)); // the caller may have given up
        }
    }

    /// Ends a proposal that the leader's log has no room for. The answer is not `NoLeader`: the
    /// caller would propose again at once.
    pub(crate) fn overload(&self, id: u64) {
        let error = self.writes_refused().unwrap_or(Error::TooManyRequests);
        if let Some((_, answer)) = self.take_proposal(id) {
            let _ = answer.send(Err(error)); // the caller may have given up
        }
    }

    pub(crate) fn answer_read(&self, ctx: u64, ok: bool) {
        let answer = self.callers().reads.remove(&ctx);
        if let Some(answer) = answer {
            let error = || self.failed().unwrap_or(Error::NoLeader);
            let _ = answer.send(if ok { Ok(()) } else { Err(error()) }); // the caller may have given up
        }
    }

    /// Ends every proposal with an error: its outcome is unknown.
    pub(crate) fn fail_proposals(&self, error: &Error) {
        let waiting = std::mem::take(&mut self.callers().proposals);
        for (_, (_, answer)) in waiting {
            let _ = answer.send(Err(error.clone())); // the caller may have given up
        }
    }

    /// Ends every request, now and later. Reads of a lone member end, too: another member may
    /// already run on the same directory, and write.
    pub(crate) fn close(&self, error: &Error) {
        // Before the reads are taken: one that comes meanwhile ends with them.
        self.local_reads.store(false, Ordering::Release);
        let mut callers = self.callers();
        callers.closed.get_or_insert_with(|| error.clone());
        let reads = std::mem::take(&mut callers.reads);
        let questions = std::mem::take(&mut callers.questions);
        drop(callers);
        self.fail_proposals(error);
        for (_, answer) in reads {
            let _ = answer.send(Err(error.clone())); // the caller may have given up
        }
        for (_, asker) in questions {
            let _ = asker.send(Err(error.clone())); // the caller may have given up
        }
        self.leader.send_replace(0);
        self.takes.send_replace(CLOSED); // a caller that waits for a leader asks again, and gets the error
    }

    pub(crate) fn status(&self) -> Status {
        let refuses = self.writes_refused();
        Status { refuses, ..self.status.lock().clone() }
    }

    pub(crate) fn set_status(&self, status: Status, leader: u64, takes: u64, local_reads: bool) {
        self.local_reads.store(local_reads, Ordering::Release);
        *self.status.lock() = status;
        self.leader.send_if_modified(|known| std::mem::replace(known, leader) != leader);
        self.takes.send_if_modified(|known| std::mem::replace(known, takes) != takes);
    }

    pub(crate) fn local_reads(&self) -> bool {
        self.local_reads.load(Ordering::Acquire)
    }

    /// Returns the leader's number, 0 if there is none, and its changes.
    pub(crate) fn leader(&self) -> watch::Receiver<u64> {
        self.leader.subscribe()
    }

    /// Returns the member that takes proposals, 0 if none does, and its changes.
    pub(crate) fn takes(&self) -> watch::Receiver<u64> {
        self.takes.subscribe()
    }

    /// Returns why the member takes no more writes, for good; `None` while it may take some.
    pub(crate) fn failed(&self) -> Option<Error> {
        self.failed.borrow().clone()
    }

    /// Returns the channel that gets the error when the member takes no more writes, for good.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<Error>> {
        self.failed.subscribe()
    }

    /// Returns why this member takes no writes now; `None` if it does.
    pub(crate) fn writes_refused(&self) -> Option<Error> {
        self.failed().or_else(|| self.paused.lock().clone())
    }

    /// Records why the log cannot be written just now (e.g. there is no room on the disk), or with
    /// `None` that it can. Proposals under way wait: they may still be written.
    pub(crate) fn pause(&self, why: Option<Error>) {
        *self.paused.lock() = why;
    }

    /// Notes that the member takes no more writes, for good. The failure is recorded before the
    /// pause ends: in between the member would look as if it took writes.
    pub(crate) fn fail(&self, error: Error) {
        self.failed.send_replace(Some(error.clone()));
        self.pause(None);
        self.fail_proposals(&error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_answers_with_its_cause() {
        let waiting = Waiting::new(1, "a");
        for (paused, error) in [(None, Error::TooManyRequests), (Some(Error::NoSpace), Error::NoSpace)] {
            waiting.pause(paused);
            let (id, mut pending) = waiting.proposal().unwrap();
            waiting.overload(id);
            assert_eq!(pending.try_recv().map(|answer| answer.map(drop)), Ok(Err(error)));
        }
    }

    #[test]
    fn a_failure_is_recorded_before_the_pause_ends() {
        let waiting = Waiting::new(1, "a");
        waiting.pause(Some(Error::NoSpace));
        let paused = waiting.paused.lock(); // the pause cannot end
        let deadline = Instant::now() + Duration::from_secs(10);
        std::thread::scope(|threads| {
            threads.spawn(|| waiting.fail(Error::Stopped));
            while waiting.failed().is_none() {
                assert!(Instant::now() < deadline, "it waits for the end of the pause");
                std::thread::yield_now();
            }
            drop(paused);
        });
        assert_eq!((waiting.writes_refused(), waiting.paused.lock().take()), (Some(Error::Stopped), None));
    }

    #[test]
    fn those_who_gave_up_are_forgotten() {
        let waiting = Waiting::new(1, "a");
        let stays = (waiting.proposal().unwrap(), waiting.read().unwrap());
        for _ in 0..3 * IN_FLIGHT_MAX {
            drop((waiting.proposal().unwrap(), waiting.read().unwrap()));
        }
        let callers = waiting.callers();
        assert!(callers.proposals.len() <= IN_FLIGHT_MAX && callers.reads.len() <= IN_FLIGHT_MAX);
        assert!(callers.proposals.contains_key(&stays.0.0) && callers.reads.contains_key(&stays.1.0));
    }
}
