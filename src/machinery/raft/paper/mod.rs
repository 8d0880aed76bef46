//! What the paper says of one member, as tests of the seam: a core gets ticks, messages and
//! proposals, and what it answers is looked at. The cases are those of raft-rs and, before it, of
//! etcd's raft, in our own words; the chapter says which there are and which say nothing about this
//! core.

mod elections;
mod flow;
mod membership;
mod replication;
mod snapshots;
mod transfers;

use super::{
    Body, ConfState, Config, Core, Entry, Event, HardState, Index, MemberId, Message, NONE, Payload,
    ProgressState, Raft, Role, SnapshotRef, Stored, Term,
};
use bytes::Bytes;

/// Ticks without a leader until a member may ask for votes.
const ELECTION: u32 = 10;
const HEARTBEAT: u32 = 2;

/// One core and its disk. The messages that it sends are kept until [`One::says`] takes them.
pub(crate) struct One {
    pub(crate) core: Raft,
    pub(crate) messages: Vec<Message>,
    /// What its disk holds beside the snapshot that it began with.
    pub(crate) disk: Vec<Entry>,
    /// Entries given out as committed.
    pub(crate) applied: Vec<Entry>,
    /// The disk is slow: nothing is durable until [`One::sync`].
    lags: bool,
    /// Term, vote and commit on its disk.
    pub(crate) hard: HardState,
    /// What happened inside since the last question.
    pub(crate) events: Vec<Event>,
    /// Messages that wait for the disk, and the number of the newest batch.
    promised: Vec<Message>,
    batch: u64,
}

/// Entries 1, 2, … of these terms.
fn entries(terms: &[Term]) -> Vec<Entry> {
    let entry =
        |(i, term): (usize, &Term)| Entry { term: *term, index: i as Index + 1, payload: Payload::Empty };
    terms.iter().enumerate().map(entry).collect()
}

fn terms(entries: &[Entry]) -> Vec<Term> {
    entries.iter().map(|e| e.term).collect()
}

impl One {
    pub(crate) fn stored(id: MemberId, stored: Stored) -> One {
        let config = Config { id, election_ticks: ELECTION, heartbeat_ticks: HEARTBEAT, seed: id };
        let mut one = One {
            disk: stored.entries.clone(),
            hard: stored.hard,
            events: vec![],
            core: Raft::new(config, stored),
            messages: vec![],
            applied: vec![],
            lags: false,
            promised: vec![],
            batch: 0,
        };
        one.pump();
        one
    }

    /// A member of `members` that finds a log of these terms and this term and vote on its disk.
    pub(crate) fn with(id: MemberId, members: u64, log: &[Term], term: Term, vote: MemberId) -> One {
        let snapshot = SnapshotRef { conf: ConfState::of(1..=members), ..SnapshotRef::default() };
        One::stored(id, Stored { hard: HardState { term, vote, commit: 0 }, snapshot, entries: entries(log) })
    }

    /// Member 1 of a new group.
    fn new(members: u64) -> One {
        One::with(1, members, &[], 0, NONE)
    }

    /// Member 1, in this role, in term 1; the messages that it sent on the way there are gone.
    fn as_(role: Role) -> One {
        let mut one = One::new(3);
        match role {
            Role::Follower => one.hear(2, 1, Body::MsgHeartbeat { commit: 0, read: 0 }),
            Role::PreCandidate => {
                one.hear(2, 1, Body::MsgHeartbeat { commit: 0, read: 0 });
                one.time_out();
            }
            Role::Candidate => one.campaign(),
            Role::Leader => one.lead(),
        }
        assert_eq!((one.role(), one.term()), (role, 1));
        one.says();
        one
    }

    pub(crate) fn pump(&mut self) {
        while let Some(ready) = self.core.ready() {
            if let Some(from) = ready.truncate_from {
                self.disk.retain(|e| e.index < from);
            }
            if ready.snapshot.is_some() {
                self.disk.clear();
            }
            self.disk.extend(ready.append);
            self.hard = ready.hard.unwrap_or(self.hard);
            self.events.extend(ready.events);
            self.messages.extend(ready.send);
            self.promised.extend(ready.send_after_persist);
            self.applied.extend(ready.committed);
            self.batch = ready.batch;
            if !self.lags {
                self.durable();
            }
        }
    }

    fn durable(&mut self) {
        self.messages.append(&mut self.promised);
        self.core.persisted(self.batch);
    }

    /// The disk has done all that it was given.
    fn sync(&mut self) {
        self.durable();
        self.pump();
    }

    fn hear(&mut self, from: MemberId, term: Term, body: Body) {
        self.core.step(Message { from, to: self.core.status().id, term, body });
        self.pump();
    }

    pub(crate) fn tick(&mut self) {
        self.core.tick();
        self.pump();
    }

    /// Ticks until it has lost patience with its leader. How many ticks that took.
    pub(crate) fn time_out(&mut self) -> u32 {
        for n in 1..=2 * ELECTION {
            self.tick();
            if self.messages.iter().any(|m| matches!(m.body, Body::MsgPreVote { .. })) {
                return n;
            }
        }
        panic!("no election after {} ticks", 2 * ELECTION);
    }

    /// Becomes a candidate of the next term: a majority would vote for it.
    fn campaign(&mut self) {
        let (term, voters) = (self.term() + 1, self.core.status().voters as u64);
        if voters > 1 {
            self.time_out();
            let helpers: Vec<MemberId> = self.others().take(voters as usize / 2).collect();
            for id in helpers {
                self.hear(id, term, Body::MsgPreVoteResp { reject: false });
            }
        }
    }

    /// Becomes the leader of the next term.
    fn lead(&mut self) {
        self.campaign();
        let (term, helpers) = (self.term(), self.core.status().voters / 2);
        let helpers: Vec<MemberId> = self.others().take(helpers).collect();
        for id in helpers {
            self.hear(id, term, Body::MsgVoteResp { reject: false });
        }
        assert_eq!(self.role(), Role::Leader);
    }

    fn others(&self) -> impl Iterator<Item = MemberId> + use<> {
        let me = self.core.status().id;
        self.core.conf().voters.clone().into_iter().filter(move |id| *id != me)
    }

    /// A follower confirms that it has everything up to `index`.
    fn accept(&mut self, from: MemberId, index: Index) {
        let term = self.term();
        self.hear(from, term, Body::MsgAppResp { index, reject: false, hint_index: 0, hint_term: 0 });
    }

    pub(crate) fn propose(&mut self, data: &'static str) {
        self.core.propose(Bytes::from_static(data.as_bytes())).expect("it leads");
        self.pump();
    }

    /// The messages that it has sent since the last call, by receiver.
    pub(crate) fn says(&mut self) -> Vec<Message> {
        let mut messages = std::mem::take(&mut self.messages);
        messages.sort_by_key(|m| m.to); // stable: messages to one member stay in order
        messages
    }

    /// As [`One::says`]; only bodies, for one member.
    fn tells(&mut self, to: MemberId) -> Vec<Body> {
        self.says().into_iter().filter(|m| m.to == to).map(|m| m.body).collect()
    }

    fn role(&self) -> Role {
        self.core.status().role
    }

    fn term(&self) -> Term {
        self.core.status().term
    }

    fn commit(&self) -> Index {
        self.core.status().commit
    }

    fn last(&self) -> Index {
        self.core.status().last
    }

    /// What it knows of a follower, and how it treats it.
    fn progress(&self, of: MemberId) -> (Index, ProgressState) {
        let all = self.core.status().progress;
        all.into_iter()
            .find(|(id, ..)| *id == of)
            .map(|(_, matched, state)| (matched, state))
            .expect("a follower")
    }
}

/// The leader of term 1 among so many, whose first entry all have.
fn settled_leader(members: u64) -> One {
    let mut one = One::new(members);
    one.lead();
    for id in 2..=members {
        one.accept(id, 1);
    }
    assert_eq!((one.term(), one.last(), one.commit()), (1, 1, 1));
    one.says();
    one.applied.clear();
    one
}

/// Lets everything that members say arrive, at once and in order, until none says anything more.
fn settle(members: &mut [One]) {
    for _ in 0..1000 {
        let messages: Vec<Message> = members.iter_mut().flat_map(|m| m.says()).collect();
        if messages.is_empty() {
            return;
        }
        for message in messages {
            if let Some(to) = members.iter_mut().find(|m| m.core.status().id == message.to) {
                to.core.step(message);
                to.pump();
            }
        }
    }
    panic!("they never stop talking");
}
