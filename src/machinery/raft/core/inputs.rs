//! The interface of the core: its inputs, and the [`Ready`] that follows from them.

use super::super::interface::{Asked, ConfError, Core, NotLeader, ProposeError, Ready, Status};
use super::super::message::{
    Body, ConfChange, Event, HardState, Index, MemberId, Message, NONE, Payload, Role, SnapshotRef,
};
use super::{READY_BYTES, Raft, cost};
use bytes::Bytes;

impl Core for Raft {
    fn tick(&mut self) {
        self.election_elapsed += 1;
        self.since_leader = self.since_leader.saturating_add(1);
        if self.role == Role::Leader {
            self.tick_leader();
        } else if self.election_elapsed >= self.timeout {
            // The requests of a candidate whose own vote waits for the disk wait, too: another term
            // would only wait behind them.
            if self.waits_for_own_vote() || !self.may_campaign() {
                return self.reset_timer();
            }
            let term = self.term;
            self.event(Event::ElectionTimeout { term });
            self.campaign(true, false);
        }
    }

    fn step(&mut self, m: Message) {
        if m.to != self.id() || !self.admit(&m) {
            return;
        }
        let from = m.from;
        match m.body {
            Body::MsgPreVote { index, log_term } => self.on_vote(from, m.term, (index, log_term), true),
            Body::MsgVote { index, log_term, .. } => self.on_vote(from, m.term, (index, log_term), false),
            Body::MsgPreVoteResp { reject } => {
                if self.role == Role::PreCandidate && (reject || m.term == self.term + 1) {
                    self.tally(from, !reject);
                }
            }
            Body::MsgVoteResp { reject } => {
                if self.role == Role::Candidate {
                    self.tally(from, !reject);
                }
            }
            Body::MsgApp { index, log_term, entries, commit } => {
                self.hear_leader(from);
                self.on_append(from, (index, log_term), entries, commit);
            }
            Body::MsgHeartbeat { commit, read } => {
                self.hear_leader(from);
                self.set_commit(commit);
                self.send(from, Body::MsgHeartbeatResp { read });
            }
            Body::MsgSnap(snapshot) => {
                self.hear_leader(from);
                self.on_snapshot(from, snapshot);
            }
            Body::MsgAppResp { index, reject, hint_index, hint_term } => {
                self.on_append_response(from, index, reject, (hint_index, hint_term));
            }
            Body::MsgHeartbeatResp { read } => self.on_heartbeat_response(from, read),
            Body::MsgTimeoutNow => {
                if from == self.leader && self.is_voter() {
                    self.campaign(false, true);
                }
            }
            Body::MsgProp { data } => {
                // a follower's client is not told: its request times out, as after any lost message
                if self.role == Role::Leader && self.transferee == NONE && self.has_room(data.len()) {
                    self.push(Payload::Normal(data));
                }
            }
            Body::MsgReadIndex { ctx } => {
                if self.role == Role::Leader {
                    self.lead_read(ctx, from);
                }
            }
            Body::MsgReadIndexResp { ctx, index } => self.ready.reads.push((ctx, index)),
            Body::MsgAsk { ctx, applied, data } => {
                if self.role == Role::Leader {
                    self.ready.asked.push(Asked { from, ctx, applied, data });
                }
            }
            Body::MsgAnswer { ctx, data } => self.ready.answers.push((ctx, data)),
        }
    }

    fn propose(&mut self, data: Bytes) -> Result<Option<Index>, ProposeError> {
        match (self.role, self.leader) {
            (Role::Leader, _) if self.transferee != NONE => Err(ProposeError::NotLeader),
            (Role::Leader, _) if !self.has_room(data.len()) => Err(ProposeError::Full),
            (Role::Leader, _) => Ok(Some(self.push(Payload::Normal(data)))),
            (_, NONE) => Err(ProposeError::NotLeader),
            (_, leader) => {
                self.send(leader, Body::MsgProp { data });
                Ok(None)
            }
        }
    }

    fn propose_conf(&mut self, change: ConfChange) -> Result<Index, ConfError> {
        if self.role != Role::Leader || self.transferee != NONE {
            return Err(ConfError::NotLeader);
        }
        // one at a time, and only on ground that this leader knows to be firm
        if self.log.conf().0 > self.commit || !self.knows_commit() {
            return Err(ConfError::Busy);
        }
        let (ConfChange::AddNode(id) | ConfChange::AddLearnerNode(id) | ConfChange::RemoveNode(id)) = change;
        if id == NONE {
            return Err(ConfError::NoMember);
        }
        if matches!(change, ConfChange::AddNode(_)) && !self.may_vote(id) {
            return Err(ConfError::NotReady);
        }
        let next = self.conf().after(change);
        if next.voters.is_empty() {
            return Err(ConfError::NoVoters);
        }
        Ok(self.push(Payload::ConfChange(next)))
    }

    fn read_index(&mut self, ctx: u64) -> Result<(), NotLeader> {
        match (self.role, self.leader) {
            (Role::Leader, _) => self.lead_read(ctx, NONE),
            (_, NONE) => return Err(NotLeader),
            (_, leader) => self.send(leader, Body::MsgReadIndex { ctx }),
        }
        Ok(())
    }

    fn transfer(&mut self, to: MemberId) {
        if self.role != Role::Leader || to == self.id() || !self.conf().voters.contains(&to) {
            return;
        }
        if self.transferee == to {
            return; // under way: to ask again does not give it more time
        }
        let Some(matched) = self.progress.get(&to).map(|p| p.matched) else { return };
        (self.transferee, self.transfer_elapsed) = (to, 0);
        self.event(Event::Transfer { to });
        match matched == self.log.last().0 {
            true => self.send(to, Body::MsgTimeoutNow),
            false => self.send_append(to, true),
        }
    }

    fn compact(&mut self, upto: Index, snapshot: SnapshotRef) {
        if upto <= self.handed && upto > self.log.base() && upto <= snapshot.index {
            self.log.compact(upto);
            self.event(Event::Compacted { upto });
        }
        if self.snapshot.as_ref().is_none_or(|old| old.index < snapshot.index) {
            self.snapshot = Some(snapshot);
        }
    }

    fn ready(&mut self) -> Option<Ready> {
        if self.role == Role::Leader {
            if self.want_heartbeat {
                self.broadcast_heartbeat();
            }
            if std::mem::take(&mut self.want_append) {
                self.broadcast_append(true);
            }
        }
        let last = self.log.last().0;
        if self.emitted < last {
            let new = self.log.slice(self.emitted + 1, last, READY_BYTES);
            self.emitted += new.len() as Index;
            self.ready.append.extend(new);
        }
        // A promise may speak of every entry of the log, so it waits for the batch with the last of
        // them.
        let early = self.emitted < last;
        let promises = if early { std::mem::take(&mut self.ready.send_after_persist) } else { vec![] };
        // Only what is durable here too is applied, so a restart never finds itself behind its own
        // state. The member waits in the same way with a leader's snapshot.
        let upto = self.commit.min(self.persisted);
        if upto > self.handed {
            let new = self.log.slice(self.handed + 1, upto, usize::MAX);
            self.unsettled = new.iter().fold(self.unsettled, |n, e| n.saturating_sub(cost(&e.payload)));
            self.ready.committed.extend(new);
            self.handed = upto;
        }
        let hard = HardState { term: self.term, vote: self.vote, commit: self.commit.min(self.emitted) };
        let moved = (hard.term, hard.vote) != (self.hard_sent.term, self.hard_sent.vote);
        if moved || (self.ready.writes() && hard != self.hard_sent) {
            (self.ready.hard, self.hard_sent) = (Some(hard), hard);
        }
        if self.ready.is_empty() {
            return None;
        }
        if self.ready.writes() {
            self.batch += 1;
            self.marks.push_back((self.batch, self.emitted));
            if let Some(hard) = &self.ready.hard {
                self.votes_written.push_back((self.batch, hard.term, hard.vote));
            }
        }
        self.ready.batch = self.batch;
        let next = Ready { send_after_persist: promises, ..Ready::default() };
        Some(std::mem::replace(&mut self.ready, next))
    }

    fn persisted(&mut self, batch: u64) {
        while let Some((_, upto)) = self.marks.pop_front_if(|(number, _)| *number <= batch) {
            self.persisted = self.persisted.max(upto);
        }
        while let Some((_, term, vote)) = self.votes_written.pop_front_if(|(number, ..)| *number <= batch) {
            self.durable_vote = (term, vote);
        }
        self.count_own_vote();
        if self.role == Role::Leader {
            self.maybe_commit();
        }
    }

    fn status(&self) -> Status {
        Status {
            id: self.id(),
            term: self.term,
            vote: self.vote,
            role: self.role,
            leader: self.leader,
            commit: self.commit,
            last: self.log.last().0,
            persisted: self.persisted,
            voters: self.conf().voters.len(),
            only_voter: self.only_voter(),
            transferee: self.transferee,
            heir: self.heir(),
            progress: self.followers().collect(),
        }
    }
}
