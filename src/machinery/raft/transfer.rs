//! Leadership transfer (dissertation, 3.10): the leader lets a voter that has its whole log start
//! an election at once. Meanwhile it takes no proposals, so that the voter can catch up.
//!
//! Example: the leader's log ends at 9, and it hands over to member 2, which is known to have 7.
//! The leader sends entries 8 and 9; when member 2 acknowledges 9, `MsgTimeoutNow` follows. Member
//! 2 asks for votes with `transfer`, so voters that hear the old leader vote all the same. If it
//! does not lead after an election timeout, the old leader takes proposals again.

use super::core::Raft;
use super::message::{Body, Event, Index, MemberId, NONE, Role};

impl Raft {
    /// Begins to hand over to the voter `to`. Does nothing if this member does not lead, or `to` is
    /// itself or no voter.
    pub(super) fn begin_transfer(&mut self, to: MemberId) {
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

    /// Goes on with a transfer when a follower has acknowledged entries up to `matched`: the one
    /// that takes over may start its election once it has the leader's whole log.
    pub(super) fn continue_transfer(&mut self, from: MemberId, matched: Index) {
        if self.transferee == from && matched == self.log.last().0 {
            self.send(from, Body::MsgTimeoutNow);
        }
    }

    /// Gives up a transfer that took longer than an election timeout: the leader leads on.
    pub(super) fn tick_transfer(&mut self) {
        self.transfer_elapsed = self.transfer_elapsed.saturating_add(1);
        if self.transferee != NONE && self.transfer_elapsed >= self.config.election_ticks {
            self.transferee = NONE;
        }
    }

    /// Starts an election because the leader asks for it. No other member may ask, and a learner
    /// does not follow.
    pub(super) fn on_timeout_now(&mut self, from: MemberId) {
        if from == self.leader && self.is_voter() {
            self.campaign(false, true);
        }
    }

    /// Returns the voter that has most of the leader's log among those that answer; `NONE` if this
    /// member does not lead, or there is no other voter. A learner cannot lead, whatever it has,
    /// and a member that is down would not take over.
    pub(super) fn heir(&self) -> MemberId {
        let voters = self.progress.iter().filter(|(id, _)| self.conf().voters.contains(*id));
        let best = voters.max_by_key(|(_, p)| (p.answers(), p.matched));
        best.map_or(NONE, |(id, _)| *id)
    }
}
