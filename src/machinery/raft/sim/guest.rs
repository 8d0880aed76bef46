//! What lives in a simulated world beside Raft itself: a state machine on every member, and clients
//! that ask for things.

use crate::member::{Capture, Member, Persisted, StateMachine};
use crate::{Entry, Event, Index, MemberId, SnapshotRef, Status};
use bytes::Bytes;
use rng::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// The members that are up.
pub type Members<'a, M> = BTreeMap<MemberId, &'a mut Member<Witness<M>>>;

/// A state machine with its clients. What must be true of it is its own to assert; of the log
/// beneath, the world's.
pub trait Guest {
    /// What the members agree about.
    type Machine: StateMachine;
    /// A member starts. `seed` is another one at every start.
    fn starts(&mut self, member: MemberId, seed: u64) -> Self::Machine;
    /// A member is gone, and with it whatever it had not made durable.
    fn ends(&mut self, member: MemberId);
    /// A member's disk has no room for what it must write, or has it again.
    fn disk(&mut self, member: MemberId, full: bool);
    /// Clients ask and hear answers, once a step. `quiet`: no client begins anything new.
    fn act(&mut self, now: u64, quiet: bool, members: Members<'_, Self::Machine>);
    /// What a member applied, and which reads it answered, since it was last looked at; in the step
    /// `now`.
    fn look(&mut self, now: u64, member: MemberId, applied: &[Entry], reads: &[Read]);
    /// Linearizable reads answered so far: after the storm there must be more.
    fn reads(&self) -> usize;
    /// Nothing will happen by itself any more. Asked after the last client has asked.
    fn rests(&self) -> bool {
        true
    }
    /// Plants a bug: bends what a leader's machine proposes by itself.
    fn bend(&self) -> fn(Bytes) -> Bytes {
        std::convert::identity
    }
    /// Everything is over, and every member has applied the whole log.
    fn judge(&mut self, log: &BTreeMap<Index, Entry>, members: Members<'_, Self::Machine>);
}

/// An answered read: its name, whether it may be answered, and what was applied then.
pub type Read = (u64, bool, Index);

/// Stands before a state machine and remembers what the member reported to it.
pub struct Witness<M> {
    /// The state machine itself.
    pub inner: M,
    /// The last entry that it applied.
    pub applied: Index,
    pub(super) fresh: Vec<Entry>,
    pub(super) reads: Vec<Read>,
    pub(super) events: Vec<Event>,
    /// Plants a bug: now and then an entry is applied twice.
    pub(super) stutter: Option<Rng>,
    /// Plants a bug: what the machine does by itself comes so much too early.
    pub(super) hasty: Duration,
    /// Plants a bug: see [`Guest::bend`].
    pub(super) bend: fn(Bytes) -> Bytes,
}

impl<M> Witness<M> {
    pub(super) fn of(inner: M, stutter: Option<Rng>) -> Witness<M> {
        let (hasty, bend) = (Duration::ZERO, std::convert::identity);
        Witness { inner, applied: 0, fresh: vec![], reads: vec![], events: vec![], stutter, hasty, bend }
    }
}

impl<M: StateMachine> StateMachine for Witness<M> {
    fn apply(&mut self, entries: &[Entry], now: Duration) {
        for entry in entries {
            assert_eq!(entry.index, self.applied + 1, "applied out of order");
            self.applied = entry.index;
        }
        self.inner.apply(entries, now);
        if self.stutter.as_ref().is_some_and(|chance| chance.chance(0.02)) {
            self.inner.apply(&entries[entries.len() - 1..], now);
        }
        self.fresh.extend_from_slice(entries);
    }
    fn restore(&mut self, snapshot: &SnapshotRef, now: Duration) -> Result<(), String> {
        self.applied = snapshot.index;
        self.inner.restore(snapshot, now)
    }
    fn check_snapshot(&mut self, snapshot: &SnapshotRef) -> Result<(), String> {
        self.inner.check_snapshot(snapshot)
    }
    fn check_proposal(&self, data: &Bytes) -> Result<(), String> {
        self.inner.check_proposal(data)
    }
    fn capture(&mut self) -> Capture {
        self.inner.capture()
    }
    fn size(&self) -> u64 {
        self.inner.size()
    }
    fn refused(&mut self, id: u64) {
        self.inner.refused(id);
    }
    fn overloaded(&mut self, id: u64) {
        self.inner.overloaded(id);
    }
    fn read(&mut self, ctx: u64, ok: bool) {
        self.reads.push((ctx, ok, self.applied));
        self.inner.read(ctx, ok);
    }
    fn answer(&mut self, question: &Bytes, now: Duration) -> Option<Bytes> {
        self.inner.answer(question, now)
    }
    fn answered(&mut self, ctx: u64, answer: Option<Bytes>) {
        self.inner.answered(ctx, answer);
    }
    fn status(&mut self, status: &Status, applied: Index, now: Duration) {
        self.inner.status(status, applied, now);
    }
    fn events(&mut self, events: &[Event]) {
        self.events.extend_from_slice(events);
        self.inner.events(events);
    }
    fn persisted(&mut self, write: &Persisted) {
        self.inner.persisted(write);
    }
    fn due(&mut self, now: Duration) -> Vec<Bytes> {
        self.inner.due(now + self.hasty).into_iter().map(self.bend).collect()
    }
}
