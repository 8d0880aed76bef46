//! Compaction: which history the store forgets, and room for the writes that repair a full store.
//!
//! Every version of every object stays in the store until a compaction, because watches, lists of
//! the past and undo read it. Upstream compacts every five minutes. That is not enough here: a
//! client that updates one object of a megabyte again and again would fill the quota within
//! seconds. So history has a bound of its own, and it goes first when room is short:
//!
//! | the store holds | what happens |
//! |---|---|
//! | little | history is kept for five minutes and [`KEEP_REVISIONS`], and longer for the steps that can be undone and for what is held ([`HOLD`]) |
//! | more than [`HISTORY_MAX`] of history, or more than three quarters of what writes may fill | the older part of the history is given up: the oldest steps can no longer be undone, and `ropewalk undo --list` says so; a hold ends, too |
//! | objects that fill three quarters by themselves | history shares what is left with the writes to come: it may grow to half of that, and falls back to a quarter |
//! | objects that leave no room for a write even without history | the write is refused (507) with what to do; deletions, shrinking updates, Leases and heartbeats go on, in the reserve |
//!
//! The store itself answers its own quota with a `NoSpace` alarm, which etcd's administrators end
//! by hand. Here the API server ends it as soon as a part of the reserve is free again. An etcd
//! elsewhere (`up --etcd`) keeps its own rules.

use crate::state::State;
use crate::storage::room::{Counted, Use};
use crate::storage::store::status_of;
use api::Status;
use clock::{self, Instant};
use etcd::Room;
use etcd::api::{Error, RangeRequest, Revision};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The store's key whose value is a revision: the regular compaction keeps the history from there
/// on. It lies in the store, so every API server knows it, also one that starts later. An empty
/// value holds nothing.
pub const HOLD: &str = "/ropewalk/hold";
/// How often old revisions are forgotten, as upstream's compactor does.
const COMPACT_EVERY: Duration = Duration::from_secs(300);
/// How often it is asked how full the store is, for writes that did not come through this server.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Revisions that the regular compaction keeps.
const KEEP_REVISIONS: i64 = 5_000;
/// Revisions that the regular compaction keeps, at most, so that the oldest step can be undone.
const KEEP_FOR_UNDO: i64 = 50_000;
/// Bytes of history. The store is in memory.
const HISTORY_MAX: u64 = 256 << 20;
/// Bytes of the quota that only repairing writes may use, at most.
const RESERVE: u64 = 64 << 20;
/// The part of the quota that these bytes are at most: an eighth.
const RESERVE_PART: u64 = 8;
/// Pause between two attempts to make room for a write, at least: a compaction costs time in
/// proportion to the objects.
const RECLAIM_EVERY: Duration = Duration::from_millis(250);

/// Returns the bytes up to which ordinary writes may fill the store.
fn full(room: &Room) -> u64 {
    room.quota - (room.quota / RESERVE_PART).min(RESERVE)
}

/// Returns the bytes above which history goes, so that writes need not wait for room.
fn high(room: &Room) -> u64 {
    full(room) / 4 * 3
}

/// Returns the bytes that are left when history has gone, if the objects allow it.
fn low(room: &Room) -> u64 {
    full(room) / 2
}

/// Returns the revision to compact at so that history keeps its bounds; `None` while it does.
///
/// History may grow to one bound and falls back to a lower one, so that a store that is nearly full
/// does not give up its last minutes at every look. Example: writes may fill 80 MiB, and 65 MiB are
/// used, 30 of them by history. Beside the 35 MiB of objects history may grow to 25 MiB (three
/// quarters of 80 are used then), so its newest 11 MiB stay, a quarter of what the objects leave.
/// If the objects fill 70 MiB, history may grow to 5 MiB and falls back to 2.5.
fn target(room: &Room, reclaimable: &BTreeMap<Revision, u64>) -> Option<Revision> {
    let history: u64 = reclaimable.values().sum();
    let objects = room.size.saturating_sub(history);
    let left = full(room).saturating_sub(objects);
    let most = high(room).saturating_sub(objects).max(left / 2).min(HISTORY_MAX);
    if history <= most {
        return None;
    }
    let keep = low(room).saturating_sub(objects).max(left / 4).min(HISTORY_MAX / 4 * 3);
    let mut newer = 0;
    reclaimable.iter().rev().find_map(|(revision, bytes)| {
        newer += bytes;
        (newer > keep).then_some(*revision)
    })
}

/// Returns the revision to compact at for a write that needs `bytes`: the oldest history goes, half
/// of it at least, so that the next write finds room as well. All of it if there is less.
///
/// Revisions 10, 11 and 12 hold 4, 4 and 2 MiB of history. A write of 1 MiB compacts at 11, which
/// frees 8: half of the ten, and no part of a revision.
fn oldest(reclaimable: &BTreeMap<Revision, u64>, bytes: u64) -> Revision {
    let wanted = bytes.max(reclaimable.values().sum::<u64>() / 2);
    let mut freed = 0;
    let enough = reclaimable.iter().find_map(|(revision, bytes)| {
        freed += bytes;
        (freed >= wanted).then_some(*revision)
    });
    enough.unwrap_or(Revision::MAX)
}

/// Returns the answer to a write for which the store has no room (HTTP 507).
pub(crate) fn insufficient_storage(room: &Room) -> Status {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let message = format!(
        "the cluster's store is full: it holds {} MiB and may hold {} MiB; delete objects that are not needed (deletions still work), then try again",
        mib(room.size),
        mib(full(room))
    );
    Status::new(507, "InsufficientStorage", message)
}

impl State {
    /// Counts a write of `bytes` bytes and sees that the store has room for it: if not, history
    /// goes first.
    ///
    /// Writes on their way count too: otherwise ten writes at the same time would each find the
    /// room that is there for one of them. Deletions are let in whatever is free, since they make
    /// room.
    ///
    /// # Errors
    /// 507 if the objects themselves leave no room.
    pub(crate) async fn make_room(&self, bytes: u64, purpose: Use) -> Result<Option<Counted<'_>>, Status> {
        let Some(room) = self.kv.room() else { return Ok(None) };
        let own = &self.compaction;
        own.in_flight.fetch_add(bytes, Ordering::AcqRel);
        let counted = Counted { of: own, bytes };
        if room.size > own.look_above.load(Ordering::Relaxed) {
            own.wake.notify_one();
        }
        let has_room = |room: &Room| {
            let most = if purpose == Use::Ordinary { full(room) } else { room.quota };
            !room.alarmed && room.size.saturating_add(own.in_flight.load(Ordering::Acquire)) <= most
        };
        if has_room(&room) {
            return Ok(Some(counted));
        }
        self.reclaim().await;
        match self.kv.room() {
            Some(room) if purpose != Use::Deletion && !has_room(&room) => Err(insufficient_storage(&room)),
            _ => Ok(Some(counted)),
        }
    }

    /// Returns the answer to a client whose write the store refused.
    pub(crate) fn refusal(&self, error: Error) -> Status {
        match (&error, self.kv.room()) {
            (Error::NoSpace, Some(room)) if room.alarmed => {
                self.compaction.wake.notify_one();
                insufficient_storage(&room)
            }
            _ => status_of(error),
        }
    }

    /// Gives up the oldest history, as much as the writes on their way need, and all that no watch
    /// of this server still needs if that is not enough. Writes that need room at the same time
    /// share one compaction.
    async fn reclaim(&self) {
        let since = Instant::now();
        let mut last = self.compaction.reclaimed.lock().await;
        if let Some(begun) = *last {
            if begun >= since {
                return;
            }
            clock::pause_until(begun + RECLAIM_EVERY).await;
        }
        *last = Some(Instant::now());
        let needed = || {
            let room = self.kv.room()?;
            let wanted = room.size.saturating_add(self.compaction.in_flight.load(Ordering::Acquire));
            wanted.checked_sub(full(&room)).filter(|bytes| *bytes > 0 || room.alarmed)
        };
        if let Some(bytes) = needed() {
            self.give_up(oldest(&self.kv.reclaimable(), bytes)).await;
        }
        if needed().is_some() {
            self.give_up(Revision::MAX).await;
        }
        self.end_alarm().await;
    }

    /// Compacts at `revision`, or at the newest that this server's cache has, and ends the alarm if
    /// there is room then.
    async fn give_up(&self, revision: Revision) {
        let revision = revision.min(self.cache.revision()).min(self.kv.revision());
        if revision > self.kv.compacted() {
            match self.kv.compact(revision).await {
                Ok(()) => {
                    let size = self.kv.room().map_or(0, |room| room.size);
                    tracing::warn!(revision, size, "history was given up: the store needed room");
                }
                Err(Error::Compacted { .. }) => {} // another server was faster
                Err(error) => tracing::warn!(%error, "compaction failed"),
            }
        }
        self.end_alarm().await;
    }

    async fn end_alarm(&self) {
        let Some(room) = self.kv.room().filter(|room| room.alarmed) else { return };
        let reserve = room.quota - full(&room);
        if room.size > room.quota - reserve / 2 {
            return;
        }
        match self.kv.end_no_space().await {
            Ok(()) => tracing::info!(size = room.size, "the store has room again"),
            Err(error) => tracing::warn!(%error, "the alarm of the store does not end"),
        }
    }

    /// Keeps history within its bounds.
    async fn bound_history(&self) {
        let Some(room) = self.kv.room() else { return };
        let worth = HISTORY_MAX.min(high(&room));
        if room.size > worth
            && let Some(revision) = target(&room, &self.kv.reclaimable())
        {
            self.give_up(revision).await;
        }
        self.end_alarm().await;
        let size = self.kv.room().map_or(0, |room| room.size);
        self.compaction.look_above.store((size + worth / 8).max(worth), Ordering::Relaxed);
    }

    /// Reads the revision that is held.
    async fn held(&self) -> Result<Option<Revision>, Error> {
        let request = RangeRequest { key: HOLD.as_bytes().to_vec().into(), ..RangeRequest::default() };
        let found = self.kv.range(request).await?;
        let text = found.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Compacts the store regularly: forgets what is older than five minutes (`before` is the
    /// revision of that time), but for [`KEEP_REVISIONS`], what undo needs and what is held.
    async fn compact(&self, before: Revision) {
        let newest = self.kv.revision();
        let held = match self.held().await {
            Ok(held) => held.unwrap_or(i64::MAX),
            // The next turn asks again; what was compacted never comes back.
            Err(error) => {
                return tracing::warn!(%error, "nothing is compacted: it is not known what has to be kept");
            }
        };
        let steps = self.cache.steps.keep_from(self.kv.compacted()).unwrap_or(i64::MAX);
        let keep = held.min(steps.max(newest - KEEP_FOR_UNDO));
        let revision = before.min(newest - KEEP_REVISIONS).min(keep);
        if revision > self.kv.compacted() {
            match self.kv.compact(revision).await {
                Ok(()) => tracing::debug!(revision, "compacted"),
                Err(Error::Compacted { .. }) => {} // another server of an etcd elsewhere was faster
                Err(error) => tracing::warn!(%error, "compaction failed"),
            }
        }
    }
}

/// Compacts for as long as the server runs.
pub(crate) async fn run(state: Arc<State>) {
    let (mut before, mut regular) = (0, Instant::now() + COMPACT_EVERY);
    loop {
        tokio::select! {
            () = clock::pause(LOOK_EVERY) => {}
            () = state.compaction.wake.notified() => {}
        }
        if Instant::now() >= regular {
            state.compact(before).await;
            before = state.kv.revision();
            regular = Instant::now() + COMPACT_EVERY;
        }
        state.bound_history().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use etcd::api::{PutRequest, RequestOp, TxnRequest};
    use etcd::{Kv, Storage};
    use rng::Rng;

    const MIB: u64 = 1 << 20;

    /// Ordinary writes may fill 80 MiB.
    fn room(size: u64) -> Room {
        let room = Room { size: size * MIB, quota: 80 * MIB * 8 / 7, alarmed: false };
        assert_eq!(full(&room), 80 * MIB);
        room
    }

    /// A MiB of history at each revision from 1 on.
    fn history(mib: i64) -> BTreeMap<Revision, u64> {
        (1..=mib).map(|revision| (revision, MIB)).collect()
    }

    #[test]
    fn the_oldest_history_goes_once_it_has_grown() {
        assert_eq!(target(&room(60), &history(25)), None);
        assert_eq!(target(&room(65), &history(30)), Some(30 - 11));
        assert_eq!(target(&room(35 + 11), &history(11)), None, "what it fell back to may grow again");
        assert_eq!(target(&room(500), &history(490)).map(|revision| revision > 400), Some(true));
    }

    /// Objects fill more than three quarters of the store: each look found too much, and gave up
    /// the last minutes.
    #[test]
    fn a_store_that_is_nearly_full_keeps_its_newest_history() {
        let (mut kept, mut given_up) = (0, 0);
        for _ in 0..100 {
            kept += 1; // a MiB is written between two looks
            if let Some(revision) = target(&room(70 + kept as u64), &history(kept)) {
                given_up += 1;
                kept -= revision;
            }
            assert!((1..=5).contains(&kept), "{kept}");
        }
        assert!((20..40).contains(&given_up), "{given_up} compactions");
    }

    #[test]
    fn a_write_takes_the_oldest_history_and_not_all_of_it() {
        assert_eq!(oldest(&history(20), MIB), 10);
        assert_eq!(oldest(&history(20), 15 * MIB), 15);
        assert_eq!(oldest(&history(20), 30 * MIB), Revision::MAX);
        assert_eq!(oldest(&BTreeMap::new(), MIB), Revision::MAX);
    }

    async fn put(kv: &Arc<dyn Storage>, key: &str, value: String) -> Revision {
        let put =
            PutRequest { key: key.as_bytes().to_vec().into(), value: value.into(), ..PutRequest::default() };
        let txn = TxnRequest { success: vec![RequestOp::Put(put)], ..TxnRequest::default() };
        kv.txn(txn).await.unwrap().revision
    }

    /// A lab is open: what was before it is read when it ends, however much has been written since,
    /// and whichever server compacts.
    #[tokio::test]
    async fn what_is_held_is_not_compacted_by_any_server_until_it_is_let_go() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kv: Arc<dyn Storage> = Arc::new(Kv::in_memory(Rng::seeded(1).fork("etcd")));
        let first = testing::start_on(dir.path(), kv.clone()).await;
        let object = |n: i64| {
            format!(
                r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"a","namespace":"d"}},"data":{{"n":"{n}"}}}}"#
            )
        };
        let base = put(&kv, "/registry/configmaps/d/a", object(0)).await;
        put(&kv, HOLD, base.to_string()).await;
        for n in 0..KEEP_REVISIONS + 10 {
            put(&kv, "/registry/configmaps/d/a", object(n)).await;
        }
        let second = testing::start_on(other.path(), kv.clone()).await;
        for server in [&first.server, &second.server] {
            server.state.compact(kv.revision()).await;
            assert_eq!(kv.compacted(), base, "it can be read at the revision that is held");
        }
        put(&kv, HOLD, String::new()).await;
        second.server.state.compact(kv.revision()).await;
        assert!(kv.compacted() > base);
        // Where room is short, no hold keeps history.
        put(&kv, HOLD, (kv.compacted() + 1).to_string()).await;
        let late = put(&kv, "/registry/configmaps/d/a", object(-1)).await;
        first.server.state.cache.wait_for(late).await;
        first.server.state.give_up(Revision::MAX).await;
        assert!(kv.compacted() >= late);
    }
}
