//! Snapshots as the protocol knows them (section 7 of the paper): which follower is sent one, what
//! a follower does with it, and which entries the log may forget because of one. The bytes are not
//! here: `member/snapshots` has them made, `snapfile` writes them.
//!
//! Example: the leader has compacted its log up to entry 100, and a follower needs entry 41 next.
//! The leader sends the snapshot of entry 120 (Progress: Snapshot(120)) and no entries until the
//! follower acknowledges 120, or until rounds of check-quorum have passed in silence. The follower
//! drops its whole log, and goes on with entry 121.

use super::core::Raft;
use super::message::{Body, Event, Index, MemberId, ProgressState, SnapshotRef};
use bytes::Bytes;

impl Raft {
    /// Sends the newest snapshot to a follower whose next entry the log no longer has.
    pub(super) fn send_snapshot(&mut self, to: MemberId) {
        let (Some(progress), Some(snapshot)) = (self.progress.get_mut(&to), self.snapshot.clone()) else {
            return;
        };
        if !progress.active {
            return; // it would only get lost
        }
        progress.enter_snapshot(snapshot.index);
        let state = ProgressState::Snapshot(snapshot.index);
        self.event(Event::Progress { member: to, state });
        self.send(to, Body::MsgSnap(snapshot));
    }

    /// Takes a leader's snapshot, unless this member has as much itself. The answer says in both
    /// cases how far this member's log agrees with the leader's.
    pub(super) fn on_snapshot(&mut self, from: MemberId, snapshot: SnapshotRef) {
        if snapshot.index > self.commit {
            match self.log.term(snapshot.index) == Some(snapshot.term) {
                true => self.set_commit(snapshot.index), // we have all that already
                false => self.install(snapshot),
            }
        }
        let index = self.commit;
        self.send(from, Body::MsgAppResp { index, reject: false, hint_index: 0, hint_term: 0 });
    }

    /// Takes over a leader's snapshot instead of the whole log. It counts as persisted when its
    /// batch is: of the batches before it, what was committed is all that the log still agrees to.
    fn install(&mut self, snapshot: SnapshotRef) {
        let (index, agreed) = (snapshot.index, self.commit);
        self.event(Event::SnapshotInstalled { index });
        self.log.restore(&snapshot);
        (self.commit, self.applying, self.writing) = (index, index, index);
        self.persisted = self.persisted.min(agreed);
        for (_, last) in &mut self.batch_ends {
            *last = (*last).min(agreed);
        }
        self.ready.append.clear();
        self.ready.committed.clear();
        self.ready.truncate_from = None;
        self.snapshot = Some(SnapshotRef { data: Bytes::new(), ..snapshot.clone() });
        self.ready.snapshot = Some(snapshot);
        self.conf_changed();
    }

    /// Returns the snapshot of the entries up to `index`, without its bytes. The entry must be
    /// applied and not yet compacted away.
    pub(super) fn snapshot_ref(&self, index: Index) -> Option<SnapshotRef> {
        let term = self.log.term(index).filter(|_| index <= self.applying)?;
        Some(SnapshotRef { index, term, conf: self.log.conf_at(index).clone(), data: Bytes::new() })
    }

    /// Returns the entry up to which the log may be forgotten when a snapshot stands for all
    /// entries up to `end`: the newest `entries` of them stay, as long as they have no more than
    /// `bytes` bytes.
    pub(super) fn forgettable(&self, end: Index, entries: u64, bytes: usize) -> Index {
        self.log.forgettable(end, entries, bytes)
    }

    /// Forgets entries up to `upto`, which `snapshot` stands for from now on, and keeps it for
    /// followers that need one, unless a newer one is known.
    pub(super) fn compact_log(&mut self, upto: Index, snapshot: SnapshotRef) {
        if upto <= self.applying && upto > self.log.base() && upto <= snapshot.index {
            self.log.compact(upto);
            self.event(Event::Compacted { upto });
        }
        if self.snapshot.as_ref().is_none_or(|old| old.index < snapshot.index) {
            self.snapshot = Some(snapshot);
        }
    }
}
