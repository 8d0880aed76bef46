//! The interface of the core: its inputs, and the [`Ready`] that follows from them.

use super::super::interface::{ConfError, Core, NotLeader, ProposeError, Question, Ready, Status};
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
            Body::MsgTimeoutNow => self.on_timeout_now(from),
            Body::MsgProp { data } => {
                // What does not fit is dropped: the request of the follower's client times out, as
                // after any lost message.
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
                    self.ready.questions.push(Question { from, ctx, applied, data });
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
        self.propose_change(change)
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
        self.begin_transfer(to);
    }

    fn compact(&mut self, upto: Index, snapshot: SnapshotRef) {
        self.compact_log(upto, snapshot);
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
        if self.writing < last {
            let new = self.log.slice(self.writing + 1, last, READY_BYTES);
            self.writing += new.len() as Index;
            self.ready.append.extend(new);
        }
        // A promise may speak of every entry of the log, so it waits for the batch with the last of
        // them.
        let early = self.writing < last;
        let promises = if early { std::mem::take(&mut self.ready.send_after_persist) } else { vec![] };
        // Only what is durable here too is applied, so a restart never finds itself behind its own
        // state. The member waits in the same way with a leader's snapshot.
        let upto = self.commit.min(self.persisted);
        if upto > self.applying {
            let new = self.log.slice(self.applying + 1, upto, usize::MAX);
            self.unsettled = new.iter().fold(self.unsettled, |n, e| n.saturating_sub(cost(&e.payload)));
            self.ready.committed.extend(new);
            self.applying = upto;
        }
        let hard = HardState { term: self.term, vote: self.vote, commit: self.commit.min(self.writing) };
        let moved = (hard.term, hard.vote) != (self.hard_sent.term, self.hard_sent.vote);
        if moved || (self.ready.writes() && hard != self.hard_sent) {
            (self.ready.hard, self.hard_sent) = (Some(hard), hard);
        }
        if self.ready.is_empty() {
            return None;
        }
        if self.ready.writes() {
            self.batch += 1;
            self.batch_ends.push_back((self.batch, self.writing));
            if let Some(hard) = &self.ready.hard {
                self.batch_votes.push_back((self.batch, hard.term, hard.vote));
            }
        }
        self.ready.batch = self.batch;
        let next = Ready { send_after_persist: promises, ..Ready::default() };
        Some(std::mem::replace(&mut self.ready, next))
    }

    fn persisted(&mut self, batch: u64) {
        while let Some((_, upto)) = self.batch_ends.pop_front_if(|(number, _)| *number <= batch) {
            self.persisted = self.persisted.max(upto);
        }
        while let Some((_, term, vote)) = self.batch_votes.pop_front_if(|(number, ..)| *number <= batch) {
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
