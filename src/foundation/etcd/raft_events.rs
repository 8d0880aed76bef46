//! Raft's events, as a member records them.

use raft::{Event, MemberId, ProgressState, Refusal, Role};
use tap::{RaftRole, VoteRefusal};

/// Returns the recorded event for an event of Raft, with the members' names; `None` for events
/// that happen with every write. For example `Voted { term: 5, to: 2, pre: true }` is
/// [`Vote`](tap::Event::Vote) `{ term: 5, to: "control-plane2", pre: true }`.
pub(super) fn describe(event: &Event, name: impl Fn(MemberId) -> String) -> Option<tap::Event> {
    Some(match event {
        Event::Append { .. } | Event::Commit { .. } | Event::ReadConfirmed { .. } => return None,
        Event::Role { term, role } => tap::Event::Role { term: *term, role: recorded_role(*role) },
        Event::Leader { term, leader } => tap::Event::Leader { term: *term, leader: name(*leader) },
        Event::ElectionTimeout { term } => tap::Event::ElectionTimeout { term: *term },
        Event::Voted { term, to, pre } => tap::Event::Vote { term: *term, to: name(*to), pre: *pre },
        Event::Refused { term, to, pre, why } => {
            let why = match why {
                Refusal::LeaderAlive => VoteRefusal::LeaderAlive,
                Refusal::AlreadyVoted => VoteRefusal::AlreadyVoted,
                Refusal::LogBehind => VoteRefusal::LogBehind,
            };
            tap::Event::RefuseVote { term: *term, to: name(*to), pre: *pre, why }
        }
        Event::Truncate { from } => tap::Event::Truncate { from: *from },
        Event::Conf(conf) => {
            let names = |ids: &std::collections::BTreeSet<MemberId>| -> Vec<String> {
                ids.iter().map(|id| name(*id)).collect()
            };
            tap::Event::ConfChange { voters: names(&conf.voters), learners: names(&conf.learners) }
        }
        Event::Progress { member, state } => {
            let state = match state {
                ProgressState::Probe => tap::ProgressState::Probe,
                ProgressState::Replicate => tap::ProgressState::Replicate,
                ProgressState::Snapshot(_) => tap::ProgressState::Snapshot,
            };
            tap::Event::Progress { member: name(*member), state }
        }
        Event::Transfer { to } => tap::Event::Transfer { to: name(*to) },
        Event::StepDown { why } => tap::Event::StepDown { why: why.to_string() },
        Event::SnapshotInstalled { index } => tap::Event::InstallSnapshot { index: *index },
        Event::Compacted { upto } => tap::Event::CompactLog { upto: *upto },
    })
}

/// Returns a member's role as records name it.
fn recorded_role(role: Role) -> RaftRole {
    match role {
        Role::Follower => RaftRole::Follower,
        Role::PreCandidate => RaftRole::PreCandidate,
        Role::Candidate => RaftRole::Candidate,
        Role::Leader => RaftRole::Leader,
    }
}
