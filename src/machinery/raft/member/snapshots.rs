//! Snapshots of the machine: when one is made, and what becomes of it. Which followers are sent one
//! is decided by the core (`snapshots`).

use super::super::interface::Core;
use super::super::message::SnapshotRef;
use super::{Edge, Member, StateMachine};
use std::time::Duration;

/// A snapshot that could not be saved is tried again after this many ticks: a full disk does not
/// get room by being asked all the time.
const SNAPSHOT_AGAIN_TICKS: u32 = 40;
/// The log in memory never waits for a state larger than this many bytes; and entries that a
/// snapshot stands for stay in it up to this many.
const LOG_MAX: u64 = 64 << 20;

impl<M: StateMachine> Member<M> {
    /// Replaces the machine's state by a leader's snapshot that is durable. If it were restored
    /// before that, a client could read what the member has forgotten after a restart.
    pub(super) fn restore(&mut self, snapshot: &SnapshotRef, now: Duration) {
        if let Err(why) = self.machine.restore(snapshot, now) {
            // A member that cannot read what the others agreed on must not go on.
            panic!("the leader's snapshot up to entry {} is unreadable: {why}", snapshot.index);
        }
        (self.applied, self.snapshot_index) = (snapshot.index, snapshot.index);
        (self.bytes, self.bytes_in_snapshot) = (0, 0);
    }

    /// A snapshot that this member made is durable; or making it failed.
    pub(crate) fn snapshot_saved(&mut self, snapshot: Option<SnapshotRef>, edge: &mut dyn Edge) {
        self.snapshotting = false;
        let Some(snapshot) = snapshot else {
            self.snapshot_rest = SNAPSHOT_AGAIN_TICKS;
            return; // its bytes still count, so it is due again after the rest
        };
        self.bytes = self.bytes.saturating_sub(self.bytes_in_snapshot);
        self.snapshot_index = self.snapshot_index.max(snapshot.index);
        // A follower that lags a little is cheaper to serve with entries than with the snapshot, so
        // among several members some entries stay.
        let alone = self.core.conf().voters.len() + self.core.conf().learners.len() == 1;
        let keep = if alone { 0 } else { self.policy.entries / 2 };
        let index = snapshot.index;
        let upto = self.core.forgettable(index, keep, LOG_MAX as usize);
        self.core.compact(upto, snapshot);
        edge.release(index);
    }

    pub(super) fn maybe_snapshot(&mut self, edge: &mut dyn Edge) {
        let entries = self.applied - self.snapshot_index;
        // A snapshot is worth its bytes only when the log has grown by as many: then at most as
        // much again is written, however large the state.
        let bytes = self.policy.bytes.max(self.machine.size().min(LOG_MAX));
        let due = entries >= self.policy.entries || self.bytes >= bytes;
        if !due || self.snapshotting || self.snapshot_rest > 0 || entries == 0 {
            return;
        }
        if let Some(snapshot) = self.core.snapshot_ref(self.applied) {
            (self.snapshotting, self.bytes_in_snapshot) = (true, self.bytes);
            let capture = self.machine.capture();
            edge.snapshot(snapshot, capture);
        }
    }
}
