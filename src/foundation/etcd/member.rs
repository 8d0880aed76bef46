//! A member as those above it see it: its number, how it is doing, and what it can be asked.

use super::api::{Error, Revision};
use super::command::Command;
use super::hash::fnv;
use super::machine::Outcome;
use super::question::Question;
use bytes::Bytes;
use raft::MemberId;
use tokio::sync::{oneshot, watch};

/// Writes under way to the member's thread, and as many reads. More wait their turn.
pub(super) const IN_FLIGHT_MAX: usize = 8192;

/// Returns a member's number, from its name.
pub fn member_id(name: &str) -> MemberId {
    fnv(name.as_bytes()).max(1)
}

/// The state of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This member's name, e.g. `ropewalk-control-plane`.
    pub member: String,
    /// This member leads.
    pub is_leader: bool,
    /// The leader's name; empty while there is none.
    pub leader: String,
    /// On a leader: the number of the voter that has most of the log, 0 if there is no other voter.
    pub heir: u64,
    /// Raft's term: how many elections were begun, at least.
    pub term: u64,
    /// Last entry known to be committed.
    pub index: u64,
    /// Last entry applied to the keys.
    pub applied: u64,
    /// The revision of the last write that was applied.
    pub revision: Revision,
    /// Bytes that keys, values and leases take in memory, about: all kept versions, and what the
    /// maps need beside them.
    pub db_size: u64,
    /// Why the member takes no more writes, if it does not.
    pub refuses: Option<Error>,
}

/// An answer that is on its way.
pub(super) type Pending<T> = oneshot::Receiver<Result<T, Error>>;

/// Decides the order of commands: a member of a cluster, or a store that is alone in memory.
pub(super) trait Backend: Send + Sync {
    fn propose(&self, command: &Command) -> Result<Pending<Outcome>, Error>;
    /// Resolves when every write acknowledged before this call can be read here; `None` if that is
    /// now.
    fn read_barrier(&self) -> Result<Option<Pending<()>>, Error>;
    /// Asks the leader what only it knows. Answers `None` if no member can now; if the question
    /// or its answer is lost, there is no answer.
    fn ask(&self, question: &Question) -> Result<Pending<Option<Bytes>>, Error>;
    /// Returns the leader's number (0: there is none), and its changes; `None` if it never changes.
    fn leader(&self) -> Option<watch::Receiver<u64>>;
    /// As [`Backend::leader`], but 0 also while a leader hands over: then it takes no proposals.
    fn takes(&self) -> Option<watch::Receiver<u64>> {
        self.leader()
    }
    /// Returns whether every write acknowledged before this call can be read here at once.
    fn local_reads(&self) -> bool;
    /// `revision` and `db_size` are filled in by the caller.
    fn status(&self) -> Status;
}
