//! A leader's view of each follower, and the flow control of what it sends to it.

use super::message::{Index, ProgressState};
use std::collections::VecDeque;

/// Messages with entries under way to one follower.
pub(super) const INFLIGHT_MAX: usize = 256;
/// Check-quorum rounds after which a snapshot that its follower has not acknowledged is sent again:
/// 2 s with the driver's ticks for several voters, 8 s with one. Twice as many after each that was
/// sent in vain, up to the second number: a leader does not learn whether the snapshot was lost, or
/// is large and still being written. So a follower whose disk is full is sent it every 8 s, and
/// drops it while the first one waits for room. An etcd leader hears from its follower that the
/// snapshot cannot be saved, and sends it again with the next heartbeat.
const SNAPSHOT_PATIENCE: u32 = 8;
const SNAPSHOT_PATIENCE_MAX: u32 = 32;

pub(super) struct Progress {
    /// Highest index that the follower has acknowledged as durable (etcd: `Match`).
    pub matched: Index,
    /// First entry to send next.
    pub next: Index,
    pub state: ProgressState,
    /// Last index of each message under way, in Replicate.
    inflight: VecDeque<Index>,
    /// Probe sent, answer awaited.
    pub paused: bool,
    /// Heard from since the last check-quorum round, or just added.
    pub active: bool,
    /// Heard from in the last whole check-quorum round.
    heard: bool,
    /// Newest read number that it confirmed.
    pub read: u64,
    /// In Snapshot: check-quorum rounds since it was sent, and how many to wait.
    rounds: u32,
    patience: u32,
}

impl Progress {
    pub(crate) fn new(next: Index) -> Progress {
        Progress {
            matched: 0,
            next,
            state: ProgressState::Probe,
            inflight: VecDeque::new(),
            paused: false,
            active: true,
            heard: false,
            read: 0,
            rounds: 0,
            patience: SNAPSHOT_PATIENCE,
        }
    }

    /// Returns whether entries may be sent now.
    pub(crate) fn ready(&self) -> bool {
        match self.state {
            ProgressState::Probe => !self.paused,
            ProgressState::Replicate => self.inflight.len() < INFLIGHT_MAX,
            ProgressState::Snapshot(_) => false,
        }
    }

    /// Records that entries up to `last` were sent.
    pub(crate) fn sent(&mut self, last: Index) {
        match self.state {
            ProgressState::Replicate => {
                self.next = last + 1;
                self.inflight.push_back(last);
            }
            ProgressState::Probe => self.paused = true,
            ProgressState::Snapshot(_) => {}
        }
    }

    fn enter(&mut self, state: ProgressState) {
        (self.state, self.paused, self.rounds) = (state, false, 0);
        self.inflight.clear();
    }

    pub(crate) fn enter_snapshot(&mut self, index: Index) {
        self.enter(ProgressState::Snapshot(index));
    }

    /// Records that the follower has everything up to `index`; `first` is the first entry that the
    /// leader's log still has. Returns whether its state changed.
    pub(crate) fn accepted(&mut self, index: Index, first: Index) -> bool {
        self.matched = self.matched.max(index);
        self.next = self.next.max(self.matched + 1);
        self.paused = false;
        while self.inflight.front().is_some_and(|last| *last <= index) {
            self.inflight.pop_front();
        }
        let caught_up = match self.state {
            ProgressState::Probe => true,
            // as in etcd, also if the log can serve it by now without the snapshot
            ProgressState::Snapshot(at) => self.matched >= at || self.matched + 1 >= first,
            ProgressState::Replicate => false,
        };
        if caught_up {
            self.enter(ProgressState::Replicate);
            self.patience = SNAPSHOT_PATIENCE;
            self.next = self.matched + 1;
        }
        caught_up
    }

    /// The follower lacks `index` and may have `hint`. Returns whether this changed what is sent
    /// next. It does not if the answer is an old one, if a snapshot is under way, or if the
    /// follower lacks an entry that it acknowledged.
    pub(crate) fn rejected(&mut self, index: Index, hint: Index) -> bool {
        match self.state {
            ProgressState::Replicate if index <= self.matched => return false,
            ProgressState::Replicate => self.next = self.matched + 1,
            ProgressState::Probe if index + 1 != self.next => return false,
            // The follower rejects an entry that it acknowledged, so it lost data. Retrying now
            // would loop; wait for the next heartbeat.
            ProgressState::Probe if index == self.matched => return false,
            ProgressState::Probe => self.next = index.min(hint + 1).max(self.matched + 1),
            ProgressState::Snapshot(_) => return false,
        }
        self.enter(ProgressState::Probe);
        true
    }

    /// Ends a check-quorum round. Returns whether the follower was heard in it.
    pub(crate) fn end_round(&mut self) -> bool {
        if matches!(self.state, ProgressState::Snapshot(_)) {
            self.rounds += 1;
            if self.rounds >= self.patience {
                self.patience = (2 * self.patience).min(SNAPSHOT_PATIENCE_MAX);
                self.enter(ProgressState::Probe);
                self.next = self.matched + 1;
            }
        }
        self.heard = std::mem::take(&mut self.active);
        self.heard
    }

    /// Returns whether the follower was heard in this check-quorum round or the one before it.
    pub(crate) fn answers(&self) -> bool {
        self.active || self.heard
    }
}
