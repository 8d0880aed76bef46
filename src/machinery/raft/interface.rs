//! The interface of a core: its inputs, its outputs ([`Ready`], [`Status`]), and the errors with
//! which it refuses.

use super::message::{
    ConfChange, Entry, Event, HardState, Index, MemberId, Message, ProgressState, Role, SnapshotRef, Term,
};
use bytes::Bytes;

/// No leader can be reached from here; nothing was proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no leader")]
pub struct NotLeader;

/// The reason for a refused proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// No leader is known, or the leader hands over to another member.
    #[error("no leader")]
    NotLeader,
    /// The leader's log holds too many bytes that are not settled: not yet committed, or not yet
    /// durable on the leader.
    #[error("too many proposals wait for the disk or for a majority")]
    Full,
}

/// The reason for a refused change of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    /// Only the leader proposes changes; [`Status::leader`] says who that is.
    #[error("not the leader")]
    NotLeader,
    /// One change at a time: the earlier one is in the log, and not yet committed.
    #[error("the change before is not committed yet")]
    Busy,
    /// The change would remove the last voter.
    #[error("no voter would be left")]
    NoVoters,
    /// 0 stands for "no member" and cannot be one's number.
    #[error("0 is no member's number")]
    NoMember,
    /// Add it as a learner first; it may vote when it follows, and answers.
    #[error("the member does not have enough of the log to vote, or does not answer")]
    NotReady,
}

/// A consensus core: no clock, no threads, no I/O and no global randomness inside.
pub trait Core: Send {
    /// Lets one tick pass.
    fn tick(&mut self);
    /// Takes a message of another member.
    fn step(&mut self, message: Message);
    /// Returns `Some(index)` if this member leads, `None` if the proposal was passed on to the
    /// leader, which drops it if its own log is full, or while it hands over.
    fn propose(&mut self, data: Bytes) -> Result<Option<Index>, ProposeError>;
    /// Proposes a change of who takes part; returns the index of its entry.
    fn propose_conf(&mut self, change: ConfChange) -> Result<Index, ConfError>;
    /// Asks from which index on a read is linearizable; the answer comes in [`Ready::reads`], or
    /// never. No earlier run of this member may have used `ctx`: a late answer to the read of that
    /// run names an index that is too low.
    fn read_index(&mut self, ctx: u64) -> Result<(), NotLeader>;
    /// Hands leadership to another voter.
    fn transfer(&mut self, to: MemberId);
    /// A snapshot is durable; the log in memory may forget entries up to `upto`, at most the
    /// snapshot's index.
    fn compact(&mut self, upto: Index, snapshot: SnapshotRef);
    /// What must happen now. Call until `None`.
    fn ready(&mut self) -> Option<Ready>;
    /// All batches up to this one are durable.
    fn persisted(&mut self, batch: u64);
    /// Returns this member's view at this moment.
    fn status(&self) -> Status;
}

/// What must happen, in this order: persist (`hard`, `snapshot`, `truncate_from`, `append`, all or
/// nothing), meanwhile send `send`; once it is durable send `send_after_persist` and call
/// [`Core::persisted`]. A ready without anything to write still queues its `send_after_persist`
/// behind the batches before it.
#[derive(Debug, Default)]
pub struct Ready {
    /// The number that [`Core::persisted`] is called with, from 1.
    pub batch: u64,
    /// Term, vote and commit index, if they changed.
    pub hard: Option<HardState>,
    /// Comes before `append`: everything older is replaced. The state is restored from it when the
    /// batch is durable, not before; nothing is committed behind it until then.
    pub snapshot: Option<SnapshotRef>,
    /// Entries from this index on are replaced: another leader's log has won.
    pub truncate_from: Option<Index>,
    /// At most 16 MiB, or one entry. What is left comes with the next ready.
    pub append: Vec<Entry>,
    /// These messages promise nothing that is not durable yet.
    pub send: Vec<Message>,
    /// Empty while entries are left for the next ready: these messages may promise those entries.
    pub send_after_persist: Vec<Message>,
    /// Durable here and on a majority: apply in order.
    pub committed: Vec<Entry>,
    /// Reads that are linearizable once this index is applied.
    pub reads: Vec<(u64, Index)>,
    /// On the leader: questions of followers to its state machine.
    pub questions: Vec<Question>,
    /// Answers of the leader's state machine to this member's questions.
    pub answers: Vec<(u64, Bytes)>,
    /// Steps since the last ready, in order.
    pub events: Vec<Event>,
}

/// A follower's question to the leader's state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The follower that asks.
    pub from: MemberId,
    /// The follower's name for it.
    pub ctx: u64,
    /// The last entry that the follower has applied.
    pub applied: Index,
    /// The question, in the state machine's own encoding.
    pub data: Bytes,
}

impl Ready {
    /// Returns whether there is something for the disk.
    pub fn writes(&self) -> bool {
        self.hard.is_some()
            || self.snapshot.is_some()
            || self.truncate_from.is_some()
            || !self.append.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.writes()
            && self.send.is_empty()
            && self.send_after_persist.is_empty()
            && self.committed.is_empty()
            && self.reads.is_empty()
            && self.questions.is_empty()
            && self.answers.is_empty()
            && self.events.is_empty()
    }
}

/// A core's view of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This member's number.
    pub id: MemberId,
    /// The newest term that it has seen.
    pub term: Term,
    /// The candidate that got its vote in this term; `NONE` if no one did.
    pub vote: MemberId,
    /// Its role in this term.
    pub role: Role,
    /// `NONE` if unknown.
    pub leader: MemberId,
    /// The last entry that it knows to be on a majority.
    pub commit: Index,
    /// The last entry of its log.
    pub last: Index,
    /// The last entry that is durable on its own disk.
    pub persisted: Index,
    /// How many vote in the configuration in force. A member that was removed, or is a learner,
    /// counts the others.
    pub voters: usize,
    /// This member is the only voter: it decides without asking another member.
    pub only_voter: bool,
    /// The voter that a leader hands over to; until then it takes no proposals. `NONE` if it does
    /// not hand over.
    pub transferee: MemberId,
    /// On a leader: the voter that it hands over to when it stops. `NONE` if there is no other
    /// voter.
    pub heir: MemberId,
    /// On a leader: each follower, what it has, how it is treated.
    pub progress: Vec<(MemberId, Index, ProgressState)>,
}
