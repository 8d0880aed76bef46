//! One member: core, state machine, and what waits for the disk. Still without a clock, thread or
//! file of its own: the [`Edge`] has those, a real one in `driver` and a simulated one in `sim`.

mod rounds;
mod snapshots;

use super::core::{Config, Raft, Stored};
use super::interface::{ConfError, Core, ProposeError, Status};
use super::message::{Body, ConfChange, Entry, Event, Index, Message, Payload, SnapshotRef, Term};
use super::records::Records;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// A question or its answer may be lost; it is asked again after this many ticks.
const ASK_AGAIN_TICKS: u32 = 10;
/// A read that is not answered after this many ticks fails, first while the leader is asked and
/// then while its index is applied: 7 s with the driver's ticks for several members. Its caller has
/// left by then (the store waits 6 s), and nothing else ends it while the log stands still. etcd's
/// `linearizableReadLoop` has its request timeout for this.
const READ_TICKS: u32 = 280;

/// One question to the leader, on behalf of several reads.
struct Round {
    ctx: u64,
    callers: Vec<u64>,
    ticks: u32,
}

/// A read whose index is known and not applied yet.
struct Read {
    ctx: u64,
    index: Index,
    ticks: u32,
}

/// Messages that wait for a batch.
struct Promises {
    batch: u64,
    /// The tick at which the first of them came.
    since: u64,
    messages: Vec<Message>,
}

/// Makes a snapshot's bytes from a frozen copy of the state, on some other thread.
pub type Capture = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// The state machine that the members replicate. Called from one thread.
pub trait StateMachine: Send {
    /// Committed entries, in order, each once. `now` is this member's own clock.
    fn apply(&mut self, entries: &[Entry], now: Duration);
    /// Replaces everything. An error means that the bytes are no state of ours.
    fn restore(&mut self, snapshot: &SnapshotRef, now: Duration) -> Result<(), String>;
    /// Checks that the bytes of a peer's snapshot can be restored. The machine may keep the decoded
    /// state until the next call: [`StateMachine::restore`] comes before the next entry is applied,
    /// though only when the bytes are durable, or not at all. Errors: why they cannot be restored.
    fn check_snapshot(&mut self, _: &SnapshotRef) -> Result<(), String> {
        Ok(())
    }
    /// Checks that a proposal which a peer passed on can be applied. Errors: why it cannot.
    fn check_proposal(&self, _: &Bytes) -> Result<(), String> {
        Ok(())
    }
    /// Freezes the state as it is now. It runs on the member's thread, which sends the heartbeats:
    /// what takes long here costs a leader its place.
    fn capture(&mut self) -> Capture;
    /// About how many bytes a snapshot has now.
    fn size(&self) -> u64 {
        0
    }
    /// The proposal went nowhere: no leader is known, this member leads and hands over, or its log
    /// has failed.
    fn refused(&mut self, id: u64);
    /// The proposal went nowhere: this member leads, and too many proposals wait for its disk or
    /// for a majority.
    fn overloaded(&mut self, id: u64) {
        self.refused(id);
    }
    /// Ends the read `ctx`. With `ok` the applied state is at least as new as every write that was
    /// acknowledged before the read came; else the read failed.
    fn read(&mut self, ctx: u64, ok: bool);
    /// Answers what a member asks of the leader and the log does not say. `None`: this leader does
    /// not know yet.
    fn answer(&mut self, _question: &Bytes, _now: Duration) -> Option<Bytes> {
        None
    }
    /// The leader's answer to [`Member::ask_leader`]. `None`: there is no leader, or it does not
    /// know yet. If a message was lost, there is no call.
    fn answered(&mut self, _ctx: u64, _answer: Option<Bytes>) {}
    /// Term, role, leader or indexes changed; `applied` is the last entry applied.
    fn status(&mut self, status: &Status, applied: Index, now: Duration);
    /// Steps of the core, in order.
    fn events(&mut self, events: &[Event]);
    /// A batch became durable.
    fn persisted(&mut self, write: &Persisted);
    /// Proposals that come from the state itself, e.g. leases that expired. Asked on the leader at
    /// every tick. One may go nowhere, so the machine names it again later, until it is applied.
    fn due(&mut self, now: Duration) -> Vec<Bytes>;
}

/// The report of one write to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Persisted {
    /// All batches up to this one are durable.
    pub batch: u64,
    /// Entries that shared this sync.
    pub entries: usize,
    /// Index and term of the last of them.
    pub last: Option<(Index, Term)>,
    /// Bytes that were written.
    pub bytes: usize,
    /// The duration of write and sync.
    pub took: Duration,
}

/// One batch for the disk.
pub struct Write {
    /// The number that [`Member::persisted`] reports.
    pub batch: u64,
    /// The bytes for the log.
    pub records: Records,
    /// The number of entries among the records.
    pub entries: usize,
    /// Index and term of the last entry.
    pub last: Option<(Index, Term)>,
    /// A snapshot from the leader, to be saved before the records.
    pub snapshot: Option<SnapshotRef>,
}

/// The actions of a member outside of its core: writing, sending, saving snapshots. Results come
/// back later, as calls of the member.
pub trait Edge {
    /// Queues a batch for the disk, in order; [`Member::persisted`] reports.
    fn write(&mut self, write: Write);
    /// Hands a message to the network. It may be lost.
    fn send(&mut self, message: Message);
    /// Makes and saves a snapshot; `Member::snapshot_saved` reports.
    fn snapshot(&mut self, snapshot: SnapshotRef, capture: Capture);
    /// Releases the log up to this entry: a snapshot with it is durable.
    fn release(&mut self, upto: Index);
}

/// When a member makes a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// Entries applied since the last one.
    pub entries: u64,
    /// Bytes of entries applied since the last one. A large state waits until they are as many as
    /// its own.
    pub bytes: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> SnapshotPolicy {
        SnapshotPolicy { entries: 10_000, bytes: 8 << 20 }
    }
}

/// A member of the cluster: the core, the state machine `M`, and what waits for the disk. The
/// driver hands it what came in, and then calls [`Member::pump`].
pub struct Member<M> {
    core: Raft,
    machine: M,
    policy: SnapshotPolicy,
    applied: Index,
    /// Bytes of entries applied since the last snapshot that was saved, and how many of them the
    /// snapshot that is being made will stand for.
    bytes: u64,
    bytes_in_snapshot: u64,
    snapshot_index: Index,
    snapshotting: bool,
    /// A leader's snapshot that is being saved, and the batch that refers to it. The machine is
    /// restored from it when that batch is durable.
    installing: Option<(u64, SnapshotRef)>,
    /// Ticks until the next snapshot may be made.
    snapshot_rest: u32,
    /// Messages that promise what is not yet durable, by the batch that they wait for, in order.
    promises: VecDeque<Promises>,
    /// Ticks so far.
    ticks: u64,
    /// The newest batch given to the disk, and the newest known to be durable.
    written: u64,
    durable: u64,
    /// Reads that wait until their index is applied.
    reads: Vec<Read>,
    /// Reads that came while another round was under way: they share the next one.
    next_reads: Vec<u64>,
    /// The question to the leader that is under way.
    round: Option<Round>,
    /// The status that the machine was given last, with the last entry applied then.
    reported: Option<(Status, Index)>,
}

impl<M: StateMachine> Member<M> {
    /// Makes a member from what its disk has, and restores the machine from the snapshot in it.
    ///
    /// # Errors
    /// The machine's own text if the snapshot is no state of its kind. The member must not start:
    /// the log before the snapshot is gone.
    pub fn new(
        config: Config,
        stored: Stored,
        mut machine: M,
        policy: SnapshotPolicy,
        now: Duration,
    ) -> Result<Member<M>, String> {
        let index = stored.snapshot.index;
        if index > 0 {
            machine.restore(&stored.snapshot, now)?;
        }
        // the machine has it now; the file has it, too
        let snapshot = SnapshotRef { data: Bytes::new(), ..stored.snapshot };
        Ok(Member {
            core: Raft::new(config, Stored { snapshot, ..stored }),
            machine,
            policy,
            applied: index,
            bytes: 0,
            bytes_in_snapshot: 0,
            snapshot_index: index,
            snapshotting: false,
            installing: None,
            snapshot_rest: 0,
            promises: VecDeque::new(),
            ticks: 0,
            written: 0,
            durable: 0,
            reads: Vec::new(),
            next_reads: Vec::new(),
            round: None,
            reported: None,
        })
    }

    /// Returns the protocol, to look at.
    pub fn core(&self) -> &Raft {
        &self.core
    }

    /// Returns the state machine.
    pub fn machine(&mut self) -> &mut M {
        &mut self.machine
    }

    /// Returns the index of the last entry that the machine has applied.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Lets one tick pass. Reads that have waited for 280 ticks fail; a leader proposes what is
    /// due.
    pub fn tick(&mut self, now: Duration) {
        self.core.tick();
        self.ticks += 1;
        self.snapshot_rest = self.snapshot_rest.saturating_sub(1);
        if let Some(round) = &mut self.round {
            round.ticks += 1;
            let (ticks, ctx) = (round.ticks, round.ctx);
            if ticks >= READ_TICKS {
                self.fail_round();
            } else if ticks.is_multiple_of(ASK_AGAIN_TICKS) {
                self.ask(ctx);
            }
        }
        self.reads.iter_mut().for_each(|read| read.ticks += 1);
        for read in self.reads.extract_if(.., |read| read.ticks >= READ_TICKS) {
            self.machine.read(read.ctx, false);
        }
        if self.is_leader() {
            for data in self.machine.due(now) {
                let _ = self.core.propose(data); // if it goes nowhere the machine names it again later
            }
        }
    }

    /// Returns whether this member takes itself for the leader. Another one may have been elected
    /// since.
    pub fn is_leader(&self) -> bool {
        self.core.role == super::Role::Leader
    }

    /// Takes a peer's message. A proposal or a snapshot that the machine cannot read is dropped: in
    /// the log it would end every member. A snapshot is dropped also while another one is being
    /// saved: its bytes would wait for the disk behind those of the first, as would the bytes of
    /// each later one while the disk is full. The leader sends it again.
    pub fn step(&mut self, message: Message) {
        if matches!(message.body, Body::MsgSnap(_)) && self.installing.is_some() {
            return;
        }
        let readable = match &message.body {
            // No heartbeat is heard while a large state is looked at. The core refuses one of an
            // earlier term.
            Body::MsgSnap(snapshot)
                if snapshot.index > self.core.commit && message.term >= self.core.term =>
            {
                self.machine.check_snapshot(snapshot)
            }
            Body::MsgProp { data } => self.machine.check_proposal(data),
            _ => Ok(()),
        };
        match readable {
            Ok(()) => self.core.step(message),
            Err(why) => {
                tracing::error!(
                    why,
                    what = message.body.name(),
                    from = message.from,
                    "dropped a peer's proposal or snapshot that cannot be read; a snapshot is sent again, a proposal is lost"
                );
            }
        }
    }

    /// Proposes an entry. `id` is the machine's name for it.
    pub fn propose(&mut self, id: u64, data: Bytes) {
        match self.core.propose(data) {
            Ok(_) => {}
            Err(ProposeError::NotLeader) => self.machine.refused(id),
            Err(ProposeError::Full) => self.machine.overloaded(id),
        }
    }

    /// Proposes a change of who takes part; returns the entry's index.
    ///
    /// # Errors
    /// - `NotLeader` if this member does not lead, or hands over: ask the leader.
    /// - `Busy` if the change before it is not committed yet, or no entry of the leader's own term
    ///   is: try again later.
    /// - `NotReady` if the new voter has not enough of the log, or does not answer: add it as a
    ///   learner first.
    /// - `NoMember` for number 0, and `NoVoters` if no voter would be left.
    pub fn propose_conf(&mut self, change: ConfChange) -> Result<Index, ConfError> {
        self.core.propose_conf(change)
    }

    /// Begins a linearizable read. [`StateMachine::read`] tells with the same `ctx` when it may be
    /// answered. No earlier run of this member may have used this `ctx`: see [`Core::read_index`].
    pub fn read(&mut self, ctx: u64) {
        self.next_reads.push(ctx);
    }

    /// Begins to hand over to the voter `to`. Does nothing if this member does not lead, or `to` is
    /// itself or no voter.
    pub fn transfer(&mut self, to: super::MemberId) {
        self.core.transfer(to);
    }

    /// The disk is done with all batches up to `write.batch`. A leader's snapshot among them is
    /// restored first, so that nothing sees the core ahead of the machine.
    pub fn persisted(&mut self, write: &Persisted, now: Duration, edge: &mut dyn Edge) {
        self.durable = self.durable.max(write.batch);
        self.machine.persisted(write);
        if let Some((_, snapshot)) = self.installing.take_if(|(batch, _)| *batch <= write.batch) {
            self.restore(&snapshot, now);
            edge.release(snapshot.index); // the log before it, and the older snapshot
        }
        while let Some(promises) = self.promises.pop_front_if(|waiting| waiting.batch <= write.batch) {
            // The leader that handed over has given that up by now, and leads on: these votes must
            // not unseat it.
            let late = self.ticks - promises.since >= u64::from(self.core.config.election_ticks);
            for mut message in promises.messages {
                if let Body::MsgVote { transfer, .. } = &mut message.body {
                    *transfer &= !late;
                }
                edge.send(message);
            }
        }
        self.core.persisted(write.batch);
    }

    /// The log cannot be written any more, so this member neither promises nor applies anything
    /// from here on, and must not be stepped any more. One that is not the only voter does not lead
    /// any more: the others have elected another leader, or will.
    pub fn give_up(&mut self, now: Duration) {
        self.core.give_up();
        if let Some(ready) = self.core.ready() {
            self.machine.events(&ready.events);
        }
        self.fail_round();
        let waiting = self.reads.drain(..).map(|read| read.ctx).chain(self.next_reads.drain(..));
        waiting.for_each(|ctx| self.machine.read(ctx, false));
        self.report_status(now);
    }

    /// Does everything that follows from what came in. `true` if there was anything.
    pub fn pump(&mut self, now: Duration, edge: &mut dyn Edge) -> bool {
        let mut any = false;
        loop {
            self.begin_round();
            let Some(mut ready) = self.core.ready() else { break };
            any = true;
            std::mem::take(&mut ready.send).into_iter().for_each(|m| edge.send(m));
            if ready.writes() {
                self.written = ready.batch;
                edge.write(Write {
                    batch: ready.batch,
                    records: Records::of(&ready),
                    entries: ready.append.len(),
                    last: ready.append.last().map(|e| (e.index, e.term)),
                    snapshot: ready.snapshot.clone(),
                });
            }
            if self.written > self.durable {
                self.promise(ready.send_after_persist);
            } else {
                ready.send_after_persist.into_iter().for_each(|m| edge.send(m));
            }
            if let Some(snapshot) = ready.snapshot.take() {
                self.installing = Some((ready.batch, snapshot));
            }
            if let Some(last) = ready.committed.last() {
                debug_assert_eq!(ready.committed[0].index, self.applied + 1);
                self.machine.apply(&ready.committed, now);
                self.applied = last.index;
                self.bytes += ready.committed.iter().map(|e| e.payload.size() as u64).sum::<u64>();
            }
            for (ctx, index) in ready.reads {
                // an answer that comes twice (it was asked again) counts once
                if let Some(round) = self.round.take_if(|round| round.ctx == ctx) {
                    self.reads.extend(round.callers.into_iter().map(|ctx| Read { ctx, index, ticks: 0 }));
                }
            }
            for question in ready.questions {
                // A leader that has applied less than the follower could deny a lease that the
                // follower knows.
                if self.is_leader()
                    && self.applied >= question.applied
                    && let Some(answer) = self.machine.answer(&question.data, now)
                {
                    self.core.answer(question.from, question.ctx, answer);
                }
            }
            for (ctx, answer) in ready.answers {
                self.machine.answered(ctx, Some(answer));
            }
            if !ready.events.is_empty() {
                self.machine.events(&ready.events);
            }
        }
        self.answer_reads();
        self.report_status(now);
        self.maybe_snapshot(edge);
        any
    }
}

/// Returns whether a message makes an earlier one of the same sender superfluous: it says all that
/// is still true of that one.
fn replaces(new: &Message, old: &Message) -> bool {
    let same = match (&new.body, &old.body) {
        (Body::MsgAppResp { index, reject, .. }, Body::MsgAppResp { index: before, reject: was, .. }) => {
            reject == was && (*reject || index >= before)
        }
        (new, old) => std::mem::discriminant(new) == std::mem::discriminant(old),
    };
    same && new.to == old.to && new.term >= old.term
}

/// The message carries a snapshot whose bytes are still to be filled in.
pub(super) fn wants_data(message: &Message) -> bool {
    matches!(&message.body, Body::MsgSnap(s) if s.data.is_empty())
}

/// An entry's bytes, if it is one of the machine's.
pub fn data(entry: &Entry) -> Option<&Bytes> {
    match &entry.payload {
        Payload::Normal(data) => Some(data),
        Payload::Empty | Payload::ConfChange(_) => None,
    }
}

#[cfg(test)]
mod tests;
