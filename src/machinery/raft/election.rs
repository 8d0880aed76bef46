//! Leader election: pre-vote, vote, check-quorum, and changes of the term.

use super::codec;
use super::core::Raft;
use super::message::{Body, Event, Index, MemberId, Message, NONE, Payload, Refusal, Role, Term};

impl Raft {
    fn enter(&mut self, role: Role) {
        self.role = role;
        self.transferee = NONE;
        self.reads.clear();
        self.early_reads.clear();
        (self.want_heartbeat, self.want_append) = (false, false);
        self.heartbeat_elapsed = 0;
        self.reset_timer();
        let term = self.term;
        self.event(Event::Role { term, role });
    }

    /// Becomes (or stays) a follower of `leader` in `term`.
    pub(super) fn follow(&mut self, term: Term, leader: MemberId) {
        let news = (term, leader) != (self.term, self.leader); // the same leader in a new term is news
        let lost = leader == NONE && self.leader != NONE;
        if term > self.term {
            (self.term, self.vote) = (term, NONE);
        }
        if news && leader != NONE {
            self.event(Event::Leader { term, leader });
        }
        self.leader = leader;
        if self.role != Role::Follower {
            self.progress.clear();
            self.leaving.clear();
            self.enter(Role::Follower);
        }
        if lost {
            self.event(Event::Leader { term, leader });
        }
    }

    pub(super) fn hear_leader(&mut self, leader: MemberId) {
        let term = self.term;
        self.follow(term, leader);
        (self.election_elapsed, self.since_leader) = (0, 0);
    }

    /// Compares a message's term with the own one, and follows a newer one. Returns `false` if the
    /// message is dropped.
    pub(super) fn admit(&mut self, m: &Message) -> bool {
        if !codec::term_in_reach(self.term, m.term) {
            tracing::warn!(
                from = m.from,
                term = m.term,
                "dropped a message: its term is too far ahead to be true"
            );
            return false;
        }
        if m.term > self.term {
            let (vote, transfer) = match m.body {
                Body::MsgPreVote { .. } => (true, false),
                Body::MsgVote { transfer, .. } => (true, transfer),
                _ => (false, false),
            };
            // A member that hears a leader does not help to unseat it; a leader yields to
            // check-quorum only. Thus a member that was cut off cannot come back and disturb.
            let heard = self.leader != NONE && self.since_leader < self.config.election_ticks;
            if vote && !transfer && (heard || self.role == Role::Leader) {
                let (term, pre) = (m.term, matches!(m.body, Body::MsgPreVote { .. }));
                self.event(Event::Refused { term, to: m.from, pre, why: Refusal::LeaderAlive });
                return false;
            }
            match m.body {
                // no term is spent on a pre-vote
                Body::MsgPreVote { .. } | Body::MsgPreVoteResp { reject: false } => {}
                Body::MsgApp { .. } | Body::MsgHeartbeat { .. } | Body::MsgSnap(_) => {
                    self.follow(m.term, m.from)
                }
                _ => self.follow(m.term, NONE),
            }
            return true;
        }
        if m.term < self.term {
            // The answer's higher term tells an old leader, or a candidate that fell behind, what
            // it missed.
            match m.body {
                Body::MsgApp { .. } | Body::MsgHeartbeat { .. } | Body::MsgSnap(_) => {
                    let body = Body::MsgAppResp { index: 0, reject: true, hint_index: 0, hint_term: 0 };
                    self.send(m.from, body);
                }
                Body::MsgPreVote { .. } => self.send(m.from, Body::MsgPreVoteResp { reject: true }),
                Body::MsgVote { .. } => self.send(m.from, Body::MsgVoteResp { reject: true }),
                // a proposal, a read or a question does not depend on its sender's term
                Body::MsgProp { .. } | Body::MsgReadIndex { .. } | Body::MsgAsk { .. } => return true,
                _ => {}
            }
            return false;
        }
        true
    }

    /// Starts an election, or with `pre` asks whether one would succeed.
    ///
    /// In term 5 a pre-vote asks "would you vote for me in term 6?", and changes no term. With a
    /// majority of yes the term becomes 6 and real votes are asked for. Without this question a
    /// member that is cut off would count its term up for hours, and disturb the others with it
    /// when it comes back.
    pub(super) fn campaign(&mut self, pre: bool, transfer: bool) {
        self.votes.clear();
        let lost = std::mem::replace(&mut self.leader, NONE) != NONE;
        if !pre {
            self.term += 1;
            self.vote = self.id();
        }
        self.enter(if pre { Role::PreCandidate } else { Role::Candidate });
        if lost {
            self.event(Event::Leader { term: self.term, leader: NONE });
        }
        let ((index, log_term), me) = (self.log.last(), self.id());
        let term = self.term + u64::from(pre);
        self.event(Event::Voted { term, to: me, pre });
        let others: Vec<MemberId> = self.conf().voters.iter().copied().filter(|id| *id != me).collect();
        for to in others {
            let body = match pre {
                true => Body::MsgPreVote { index, log_term },
                false => Body::MsgVote { index, log_term, transfer },
            };
            self.send_at(term, to, body);
        }
        if pre {
            self.tally(me, true); // no promise: it may be forgotten
        }
    }

    /// Counts the candidate's own vote when it is durable, as the votes of others are. Else the
    /// only voter could lead in a term, lose power, forget the term and lead in it a second time,
    /// with other entries.
    pub(super) fn count_own_vote(&mut self) {
        let me = self.id();
        if self.waits_for_own_vote() && self.durable_vote == (self.term, me) {
            self.tally(me, true);
        }
    }

    /// Returns whether this member is a candidate whose own vote is not durable yet.
    pub(super) fn waits_for_own_vote(&self) -> bool {
        self.role == Role::Candidate && !self.votes.contains_key(&self.id())
    }

    /// Counts a voter's answer. A majority of votes elects. The candidacy ends as soon as too few
    /// voters are left for a majority; until then the candidate waits, at most for its timeout,
    /// which is drawn anew for each election. The rule is `VoteResult` in etcd's `quorum`.
    ///
    /// ```text
    /// three members: 2 votes                 elected
    ///                1 vote,  1 refusal      waits for the third
    ///                         2 refusals     lost
    /// four members:  2 votes, 1 refusal      waits for the fourth
    ///                2 votes, 2 refusals     lost: a split vote
    /// ```
    pub(super) fn tally(&mut self, from: MemberId, granted: bool) {
        self.votes.insert(from, granted);
        let count =
            |yes| self.votes.iter().filter(|(id, g)| **g == yes && self.conf().voters.contains(id)).count();
        let (granted, refused, quorum) = (count(true), count(false), self.conf().quorum());
        let reachable = self.conf().voters.len() - refused;
        if granted >= quorum {
            match self.role {
                Role::PreCandidate => self.campaign(false, false),
                _ => self.lead(),
            }
        } else if reachable < quorum {
            let term = self.term;
            self.follow(term, NONE);
        }
    }

    /// The empty entry is the first of the new term: entries of earlier terms are committed only
    /// together with one of this term, see `maybe_commit`.
    fn lead(&mut self) {
        self.enter(Role::Leader);
        self.leader = self.id();
        let (term, leader) = (self.term, self.id());
        self.event(Event::Leader { term, leader });
        self.progress.clear();
        self.sync_progress();
        // A vote says nothing of the messages of this term: a leader that is cut off at once must
        // not count its voters as heard. (A member that is added later counts for its first round.)
        self.progress.values_mut().for_each(|progress| progress.active = false);
        self.count_unsettled();
        self.push(Payload::Empty);
    }

    /// Answers a request for a vote; `last` is where the candidate's log ends. A pre-vote is for a
    /// later term, or, as a vote is, for this member's own: for example this member has learned of
    /// term 6 from a candidate that died, and one that is still in term 5 asks. The rule is
    /// `canVote` in etcd's `Step`.
    pub(super) fn on_vote(&mut self, from: MemberId, term: Term, last: (Index, Term), pre: bool) {
        let unbound = self.vote == NONE && self.leader == NONE;
        let free = unbound || self.vote == from || (pre && term > self.term);
        let (index, log_term) = self.log.last();
        let why = match (free, (last.1, last.0) >= (log_term, index)) {
            (true, true) => None,
            (false, _) if self.vote == NONE => Some(Refusal::LeaderAlive),
            (false, _) => Some(Refusal::AlreadyVoted),
            (true, false) => Some(Refusal::LogBehind),
        };
        match why {
            Some(why) => self.event(Event::Refused { term, to: from, pre, why }),
            None => self.event(Event::Voted { term, to: from, pre }),
        }
        if why.is_none() && !pre {
            self.vote = from;
            self.election_elapsed = 0;
        }
        // a granted pre-vote speaks of the term that was asked for, a refusal of the term that is
        let reject = why.is_some();
        match pre {
            true => {
                let term = if reject { self.term } else { term };
                self.send_at(term, from, Body::MsgPreVoteResp { reject });
            }
            false => self.send(from, Body::MsgVoteResp { reject }),
        }
    }

    pub(super) fn tick_leader(&mut self) {
        self.heartbeat_elapsed += 1;
        self.tick_transfer();
        if self.election_elapsed >= self.config.election_ticks {
            self.election_elapsed = 0;
            let heard = self.end_round();
            let me = self.id();
            let alive = self.conf().voters.iter().filter(|id| **id == me || heard.contains(id)).count();
            if alive < self.conf().quorum() {
                self.step_down("no quorum was heard for an election timeout");
                return;
            }
        }
        if self.heartbeat_elapsed >= self.config.heartbeat_ticks {
            self.heartbeat_elapsed = 0;
            self.broadcast_heartbeat();
        }
    }

    /// Ends a round of check-quorum; returns the members that were heard in it. A follower whose
    /// snapshot was not acknowledged in time is probed again from here on.
    fn end_round(&mut self) -> Vec<MemberId> {
        let (mut heard, mut changed) = (Vec::new(), Vec::new());
        for (member, progress) in &mut self.progress {
            let before = progress.state;
            if progress.end_round() {
                heard.push(*member);
            }
            if progress.state != before {
                changed.push(Event::Progress { member: *member, state: progress.state });
            }
        }
        changed.into_iter().for_each(|event| self.event(event));
        heard
    }

    pub(super) fn step_down(&mut self, why: &'static str) {
        self.event(Event::StepDown { why });
        let term = self.term;
        self.follow(term, NONE);
    }
}
