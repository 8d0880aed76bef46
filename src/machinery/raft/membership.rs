//! Membership: changes of the configuration, one at a time (dissertation, 4.1). A configuration is
//! in force once it is in the log, not only when it is committed.
//!
//! Example: members 1 to 3 vote, and the leader, 1, removes 3. From the moment the entry is in its
//! log, a majority is two of 1 and 2. Member 3 is sent no entries any more, but is noted in
//! `leaving`: when the entry is committed it is sent that entry once, so that it stops asking for
//! votes. If member 2 becomes the leader without the entry, the entry is dropped from 1's log, and
//! its configuration with it.

use super::core::{MESSAGE_BYTES, Raft};
use super::interface::ConfError;
use super::message::{
    Body, ConfChange, ConfState, Event, Index, MemberId, NONE, Payload, ProgressState, Role,
};
use super::progress::{INFLIGHT_MAX, Progress};

impl Raft {
    /// Returns the configuration in force: the newest one in this member's log.
    pub(super) fn conf(&self) -> &ConfState {
        self.log.conf().1
    }

    pub(super) fn is_voter(&self) -> bool {
        self.conf().voters.contains(&self.config.id)
    }

    /// Returns whether this member decides alone. With one voter, a leader that removes itself does
    /// not: it leads until its removal is committed.
    pub(super) fn only_voter(&self) -> bool {
        self.conf().voters.len() == 1 && self.is_voter()
    }

    /// Returns whether this member may start an election. A voter may, and so may a member that its
    /// own log removes or makes a learner, until it knows that this change is committed
    /// (dissertation, 4.2.2). Example: the leader of two voters removes itself, and its entry does
    /// not arrive. The other voter cannot win against the longer log, so this member has to lead
    /// once more.
    pub(super) fn may_campaign(&self) -> bool {
        let (index, _) = self.log.conf();
        let voted_before = || self.log.conf_at(index - 1).voters.contains(&self.config.id);
        self.is_voter() || (index > self.commit && voted_before())
    }

    /// Adds a change of the configuration to the leader's log, and returns the index of its entry.
    ///
    /// # Errors
    /// Those of `Member::propose_conf`.
    pub(super) fn propose_change(&mut self, change: ConfChange) -> Result<Index, ConfError> {
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

    /// Returns whether a member keeps up well enough to count in a majority. One that does not
    /// would stop all commits; and so would one that went down when it had caught up.
    fn may_vote(&self, id: MemberId) -> bool {
        let near = |p: &Progress| {
            let behind = self.log.last().0 - p.matched;
            p.answers() && p.state == ProgressState::Replicate && behind <= INFLIGHT_MAX as Index
        };
        self.conf().voters.contains(&id) || id == self.id() || self.progress.get(&id).is_some_and(near)
    }

    /// Reports the configuration that is in force from now on. A leader sends entries to its
    /// members, and to no others.
    pub(super) fn conf_changed(&mut self) {
        let conf = self.conf().clone();
        self.event(Event::Conf(conf));
        if self.role == Role::Leader {
            self.sync_progress();
            self.check_reads(); // a smaller quorum may have confirmed them already
        }
    }

    /// Keeps a [`Progress`] for each other member of the configuration. Members that were removed
    /// are noted in `leaving`.
    pub(super) fn sync_progress(&mut self) {
        let (me, next) = (self.id(), self.log.last().0 + 1);
        let conf = self.conf().clone();
        let others = |id: &MemberId| *id != me && (conf.voters.contains(id) || conf.learners.contains(id));
        let removed = self.progress.extract_if(.., |id, _| !others(id));
        self.leaving.extend(removed.map(|(id, progress)| (id, progress.matched)));
        self.leaving.retain(|id, _| !others(id)); // one may have been added again
        for id in conf.voters.iter().chain(&conf.learners).filter(|id| others(id)) {
            self.progress.entry(*id).or_insert_with(|| Progress::new(next));
        }
    }

    /// Ends a change of the configuration when its entry is committed: followers that it removed
    /// are sent that entry, and a leader that does not vote any more sends the commit index to all
    /// others and steps down.
    pub(super) fn end_change(&mut self) {
        if self.log.conf().0 > self.commit {
            return;
        }
        self.send_removals();
        if self.is_voter() {
            return;
        }
        self.want_append = false;
        self.broadcast_append(true);
        let why = match self.conf().learners.contains(&self.id()) {
            true => "made a learner",
            false => "removed from the configuration",
        };
        self.step_down(why);
    }

    /// Sends the committed change of the configuration to the followers that it removed, once: they
    /// stop asking for votes. Before it is committed they must not have it: the configuration that
    /// is in force without it may need their votes, and they would not vote for a member whose log
    /// is shorter.
    fn send_removals(&mut self) {
        let (last, commit) = (self.log.conf().0, self.commit);
        for (to, index) in std::mem::take(&mut self.leaving) {
            let Some(log_term) = self.log.term(index) else { continue }; // it would need a snapshot
            let entries = self.log.slice(index + 1, last, MESSAGE_BYTES);
            self.send(to, Body::MsgApp { index, log_term, entries, commit });
        }
    }
}
