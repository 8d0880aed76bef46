//! The words of the protocol: entries, messages, events. Names are those of etcd's raft.

use bytes::Bytes;
use std::collections::BTreeSet;

/// A member's number, not 0 ([`NONE`]).
pub type MemberId = u64;
/// A position in the log, from 1.
pub type Index = u64;
/// The number of an election; at most one leader has it.
pub type Term = u64;

/// No member.
pub const NONE: MemberId = 0;

/// The configuration: the members that vote, and those that only receive the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfState {
    /// Members that vote; a majority of them commits.
    pub voters: BTreeSet<MemberId>,
    /// Members that receive the log, but do not vote and do not count.
    pub learners: BTreeSet<MemberId>,
}

impl ConfState {
    /// A configuration of voters only.
    pub fn of(voters: impl IntoIterator<Item = MemberId>) -> ConfState {
        ConfState { voters: voters.into_iter().collect(), learners: BTreeSet::new() }
    }

    /// Returns how many voters are a majority.
    pub(crate) fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Returns this configuration after one change.
    pub fn after(&self, change: ConfChange) -> ConfState {
        let mut next = self.clone();
        let (ConfChange::AddNode(id) | ConfChange::AddLearnerNode(id) | ConfChange::RemoveNode(id)) = change;
        next.voters.remove(&id);
        next.learners.remove(&id);
        match change {
            ConfChange::AddNode(id) => next.voters.insert(id),
            ConfChange::AddLearnerNode(id) => next.learners.insert(id),
            ConfChange::RemoveNode(_) => true,
        };
        next
    }
}

/// One change of who takes part. Changing one voter at a time keeps old and new majorities
/// overlapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfChange {
    /// A voter, e.g. a learner that has caught up.
    AddNode(MemberId),
    /// A learner: it gets the log and does not count.
    AddLearnerNode(MemberId),
    /// A voter or a learner leaves.
    RemoveNode(MemberId),
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A new leader's first entry: with it, all before become committed.
    Empty,
    /// A command for the state machine.
    Normal(Bytes),
    /// In force from the moment it is in the log.
    ConfChange(ConfState),
}

impl Payload {
    /// Bytes, for flow control.
    pub fn size(&self) -> usize {
        match self {
            Payload::Empty => 0,
            Payload::Normal(data) => data.len(),
            Payload::ConfChange(c) => 8 * (c.voters.len() + c.learners.len()),
        }
    }
}

/// One line of the log. Index and term together name it: no two different entries share both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The term of the leader that appended it.
    pub term: Term,
    /// Its position in the log, from 1.
    pub index: Index,
    /// Its content.
    pub payload: Payload,
}

/// The state that a member keeps on its disk beside the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term that it has seen.
    pub term: Term,
    /// The candidate that got its vote in this term; `NONE` if no one did.
    pub vote: MemberId,
    /// A hint that saves time at the next start; never ahead of the log written with it.
    pub commit: Index,
}

/// The state after entry `index`, standing in for all entries up to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotRef {
    /// The last entry that is in it.
    pub index: Index,
    /// The term of that entry.
    pub term: Term,
    /// The configuration as of that entry.
    pub conf: ConfState,
    /// Empty inside the core; the driver fills it in when a snapshot goes out.
    pub data: Bytes,
}

/// A message from one member to another. `term` is the sender's; a pre-vote, and the consent to it,
/// have the term that the candidate would begin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender.
    pub from: MemberId,
    /// The receiver.
    pub to: MemberId,
    /// The sender's; of a pre-vote the term that the candidate would begin.
    pub term: Term,
    /// Its kind and fields.
    pub body: Body,
}

/// Kind and fields of a message. The names are etcd's, but for `MsgAsk` and `MsgAnswer`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// "After the entry (`index`, `log_term`) come these."
    MsgApp {
        /// The entry before `entries`.
        index: Index,
        /// The term of the entry `index`: the receiver must have the same.
        log_term: Term,
        /// They follow without a gap; empty for a probe.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: Index,
    },
    /// "I have everything up to `index`", or, with `reject`, "I do not have `index`; look near the
    /// hint".
    MsgAppResp {
        /// The last entry that matches, or with `reject` the one that was missing.
        index: Index,
        /// The follower's log does not have the entry that should come before.
        reject: bool,
        /// The last entry that could match.
        hint_index: Index,
        /// The term of `hint_index` in the follower's log.
        hint_term: Term,
    },
    /// "I still lead." The answers confirm all linearizable reads up to number `read`.
    MsgHeartbeat {
        /// The commit index, at most what the receiver is known to have.
        commit: Index,
        /// The number of the leader's newest read, also if it is answered already; 0 before the
        /// first.
        read: u64,
    },
    /// "I still follow you."
    MsgHeartbeatResp {
        /// The number of the heartbeat, given back.
        read: u64,
    },
    /// "Would you vote for me?", before a term is spent on it.
    MsgPreVote {
        /// The last entry of the candidate's log.
        index: Index,
        /// Its term.
        log_term: Term,
    },
    /// "I would", or I would not.
    MsgPreVoteResp {
        /// The vote would be refused.
        reject: bool,
    },
    /// `transfer`: the leader itself asked for this election.
    MsgVote {
        /// The last entry of the candidate's log.
        index: Index,
        /// Its term.
        log_term: Term,
        /// Voters that hear a leader may vote all the same.
        transfer: bool,
    },
    /// "You have my vote", or not.
    MsgVoteResp {
        /// The vote is refused.
        reject: bool,
    },
    /// A follower whose next entry the leader has no longer gets the whole state.
    MsgSnap(SnapshotRef),
    /// "Start an election now": the leader hands over.
    MsgTimeoutNow,
    /// A follower passes on what its client wants written.
    MsgProp {
        /// The proposal.
        data: Bytes,
    },
    /// A follower asks from which index on it may answer a read.
    MsgReadIndex {
        /// The follower's name for the read.
        ctx: u64,
    },
    /// The leader's answer, once a majority has confirmed that it leads.
    MsgReadIndexResp {
        /// The follower's name for the read.
        ctx: u64,
        /// The read may be answered once this entry is applied.
        index: Index,
    },
    /// A follower asks the leader's state machine something that the log does not hold, such as how
    /// long a lease still has. It has applied entry `applied`; the leader answers only if it has,
    /// too. Not of Raft: etcd asks with HTTP, at `/leases/internal`.
    MsgAsk {
        /// The follower's name for the question.
        ctx: u64,
        /// The last entry that the follower has applied.
        applied: Index,
        /// The question.
        data: Bytes,
    },
    /// The answer of the leader's state machine.
    MsgAnswer {
        /// The follower's name for the question.
        ctx: u64,
        /// The answer.
        data: Bytes,
    },
}

impl Body {
    /// About how many bytes it has on the wire, beside a few numbers.
    pub(super) fn size(&self) -> usize {
        match self {
            Body::MsgApp { entries, .. } => entries.iter().map(|e| e.payload.size() + 16).sum(),
            Body::MsgSnap(snapshot) => snapshot.data.len(),
            Body::MsgProp { data } | Body::MsgAsk { data, .. } | Body::MsgAnswer { data, .. } => data.len(),
            _ => 0,
        }
    }

    /// etcd's name of the message, if etcd has it.
    pub fn name(&self) -> &'static str {
        match self {
            Body::MsgApp { .. } => "MsgApp",
            Body::MsgAppResp { .. } => "MsgAppResp",
            Body::MsgHeartbeat { .. } => "MsgHeartbeat",
            Body::MsgHeartbeatResp { .. } => "MsgHeartbeatResp",
            Body::MsgPreVote { .. } => "MsgPreVote",
            Body::MsgPreVoteResp { .. } => "MsgPreVoteResp",
            Body::MsgVote { .. } => "MsgVote",
            Body::MsgVoteResp { .. } => "MsgVoteResp",
            Body::MsgSnap(_) => "MsgSnap",
            Body::MsgTimeoutNow => "MsgTimeoutNow",
            Body::MsgProp { .. } => "MsgProp",
            Body::MsgReadIndex { .. } => "MsgReadIndex",
            Body::MsgReadIndexResp { .. } => "MsgReadIndexResp",
            Body::MsgAsk { .. } => "MsgAsk",
            Body::MsgAnswer { .. } => "MsgAnswer",
        }
    }
}

/// The role of a member in its term. Learners stay followers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes entries from a leader, and votes.
    #[default]
    Follower,
    /// Asks whether it would win, before it begins a term.
    PreCandidate,
    /// Has begun a term and asks for votes.
    Candidate,
    /// Has the votes of a majority: it alone appends in this term.
    Leader,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Follower => "Follower",
            Role::PreCandidate => "PreCandidate",
            Role::Candidate => "Candidate",
            Role::Leader => "Leader",
        })
    }
}

/// How a leader treats a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressState {
    /// Where its log ends is not known: one message at a time.
    Probe,
    /// It follows: messages are sent ahead of the answers.
    Replicate,
    /// It is so far behind that it gets a snapshot with this index.
    Snapshot(Index),
}

/// The reason for a refused vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A leader of this term is known, or one was heard within the election timeout.
    LeaderAlive,
    /// The vote of this term was given to another candidate.
    AlreadyVoted,
    /// The candidate's log ends before ours.
    LogBehind,
}

/// A step inside the core, for records, diagrams and lessons. The protocol does not need it. Two
/// steps have none: the refusal of a candidate of an earlier term, which only its answer shows, and
/// the end of a transfer to a member that did not take over in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This member's role changed.
    Role {
        /// The term of the new role.
        term: Term,
        /// The new role.
        role: Role,
    },
    /// This member learned who leads, or that the leader which it knew leads no longer.
    Leader {
        /// The leader's term; without a leader the member's.
        term: Term,
        /// `NONE`: the leader is not known any more.
        leader: MemberId,
    },
    /// This member heard no leader for too long, and asks for votes.
    ElectionTimeout {
        /// The term that it was in.
        term: Term,
    },
    /// This member gave its vote.
    Voted {
        /// The term of the vote.
        term: Term,
        /// The candidate.
        to: MemberId,
        /// A pre-vote: it binds to nothing.
        pre: bool,
    },
    /// This member refused its vote.
    Refused {
        /// The term of the vote.
        term: Term,
        /// The candidate.
        to: MemberId,
        /// A pre-vote.
        pre: bool,
        /// The rule that says no.
        why: Refusal,
    },
    /// Entries were added to this member's log.
    Append {
        /// The first of them.
        first: Index,
        /// The last of them.
        last: Index,
        /// The term of the last of them.
        term: Term,
    },
    /// Entries that contradict the leader's were dropped.
    Truncate {
        /// The first of them.
        from: Index,
    },
    /// More entries are known to be on a majority.
    Commit {
        /// The last of them.
        index: Index,
    },
    /// The configuration that is in force from now on.
    Conf(ConfState),
    /// The state of a follower's progress changed on the leader.
    Progress {
        /// The follower.
        member: MemberId,
        /// The new state.
        state: ProgressState,
    },
    /// A majority has confirmed that this leader still leads.
    ReadConfirmed {
        /// The name of the read.
        ctx: u64,
        /// The read may be answered once this entry is applied.
        index: Index,
    },
    /// A leader begins to hand over.
    Transfer {
        /// The voter that takes over.
        to: MemberId,
    },
    /// A leader gives up its place.
    StepDown {
        /// The reason, e.g. that it hears no majority.
        why: &'static str,
    },
    /// The state was replaced by a snapshot of the leader.
    SnapshotInstalled {
        /// The last entry that is in it.
        index: Index,
    },
    /// Entries were dropped from memory, since a snapshot has them.
    Compacted {
        /// The last of them.
        upto: Index,
    },
}
