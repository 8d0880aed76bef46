//! The words of the protocol: entries, messages, events. Names are those of etcd's raft.

use bytes::Bytes;
use std::collections::BTreeSet;

/// A member's number; 0 ([`NONE`]) is nobody.
pub type MemberId = u64;
/// A position in the log, from 1.
pub type Index = u64;
/// The number of an election; at most one leader has it.
pub type Term = u64;

/// Nobody.
pub const NONE: MemberId = 0;

/// Who takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfState {
    pub voters: BTreeSet<MemberId>,
    /// Receive the log, but do not vote and do not count.
    pub learners: BTreeSet<MemberId>,
}

impl ConfState {
    /// A configuration of voters only.
    pub fn of(voters: impl IntoIterator<Item = MemberId>) -> ConfState {
        ConfState { voters: voters.into_iter().collect(), learners: BTreeSet::new() }
    }

    /// How many voters are a majority.
    pub fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// This configuration after one change.
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
    AddNode(MemberId),
    AddLearnerNode(MemberId),
    RemoveNode(MemberId),
}

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A new leader's first entry: with it, all before become committed.
    Empty,
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
    pub term: Term,
    pub index: Index,
    pub payload: Payload,
}

/// What a member must not forget beside its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    pub term: Term,
    pub vote: MemberId,
    /// A hint that saves time at the next start; never ahead of the log written with it.
    pub commit: Index,
}

/// The state after entry `index`, standing in for all entries up to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotRef {
    pub index: Index,
    pub term: Term,
    pub conf: ConfState,
    /// Empty inside the core; the driver fills it in when a snapshot goes out.
    pub data: Bytes,
}

/// What one member tells another. `term` is the sender's; a pre-vote, and the consent to it, have
/// the term that the candidate would begin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub from: MemberId,
    pub to: MemberId,
    pub term: Term,
    pub body: Body,
}

/// What a message says. The names are etcd's, but for `MsgAsk` and `MsgAnswer`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// "After the entry (`index`, `log_term`) come these."
    MsgApp {
        index: Index,
        log_term: Term,
        entries: Vec<Entry>,
        commit: Index,
    },
    /// "I have everything up to `index`", or, with `reject`, "I do not have `index`; look near the
    /// hint".
    MsgAppResp {
        index: Index,
        reject: bool,
        hint_index: Index,
        hint_term: Term,
    },
    /// "I still lead." `read` numbers the newest linearizable read that waits for the answer.
    MsgHeartbeat {
        commit: Index,
        read: u64,
    },
    MsgHeartbeatResp {
        read: u64,
    },
    /// "Would you vote for me?", before a term is spent on it.
    MsgPreVote {
        index: Index,
        log_term: Term,
    },
    MsgPreVoteResp {
        reject: bool,
    },
    /// `transfer`: the leader itself asked for this election.
    MsgVote {
        index: Index,
        log_term: Term,
        transfer: bool,
    },
    MsgVoteResp {
        reject: bool,
    },
    MsgSnap(SnapshotRef),
    /// "Start an election now": the leader hands over.
    MsgTimeoutNow,
    /// A follower passes on what its client wants written.
    MsgProp {
        data: Bytes,
    },
    /// A follower asks from which index on it may answer a read.
    MsgReadIndex {
        ctx: u64,
    },
    MsgReadIndexResp {
        ctx: u64,
        index: Index,
    },
    /// A follower asks the leader's state machine something that the log does not hold, such as how
    /// long a lease still has. It has applied entry `applied`; the leader answers only if it has,
    /// too. Not of Raft: etcd asks with HTTP, at `/leases/internal`.
    MsgAsk {
        ctx: u64,
        applied: Index,
        data: Bytes,
    },
    MsgAnswer {
        ctx: u64,
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

/// What a member does in its term. There are learners too: they stay followers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    #[default]
    Follower,
    PreCandidate,
    Candidate,
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

/// Why a vote was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A leader of this term is known, or one was heard within the election timeout.
    LeaderAlive,
    /// The vote of this term was given to another candidate.
    AlreadyVoted,
    /// The candidate's log ends before ours.
    LogBehind,
}

/// What happened inside the core, for diagrams and lessons. Nothing depends on anybody reading
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Role { term: Term, role: Role },
    Leader { term: Term, leader: MemberId },
    ElectionTimeout { term: Term },
    Voted { term: Term, to: MemberId, pre: bool },
    Refused { term: Term, to: MemberId, pre: bool, why: Refusal },
    Append { first: Index, last: Index, term: Term },
    Truncate { from: Index },
    Commit { index: Index },
    Conf(ConfState),
    Progress { member: MemberId, state: ProgressState },
    ReadConfirmed { ctx: u64, index: Index },
    Transfer { to: MemberId },
    StepDown { why: &'static str },
    SnapshotInstalled { index: Index },
    Compacted { upto: Index },
}
