//! Keys through time: every version of every key since the last compaction.

use super::api::{
    Error, Event, EventType, KeyValue, RangeRequest, RangeResponse, Revision, SortOrder, SortTarget,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// The revision of a store without any write, as in etcd; the first write makes 2.
pub(crate) const FIRST_REVISION: Revision = 1;
/// The revision of the last compaction before there was any, as in etcd: so a compaction at 0 is
/// accepted, once.
pub(crate) const NOT_COMPACTED: Revision = -1;
/// About what a version costs in memory beside its key and value, for [`Store::size`] and so for
/// the quota: itself, its event in the history, and their places in the maps. (That of a compacted
/// revision has no event any more.)
const VERSION_OVERHEAD: u64 =
    (size_of::<Version>() + size_of::<Event>() + size_of::<(Bytes, Vec<Version>)>() + 32) as u64;

/// The events of several revisions, one batch for each, oldest first.
pub(crate) type Batches = Vec<Arc<[Event]>>;

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Keys from `key` to `end`, in etcd's notation (see [`RangeRequest`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first key.
    pub key: Bytes,
    /// Empty: the one key; `\0`: to the end; else behind the last key.
    pub end: Bytes,
}

impl Span {
    /// Returns the keys from `key` to `end`: `end` empty is the one key, `\0` is up to the last
    /// key.
    pub fn new(key: &Bytes, end: &Bytes) -> Span {
        Span { key: key.clone(), end: end.clone() }
    }

    /// Returns whether the key lies in the span. `end` itself does not.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end[..] {
            [] => key == &self.key[..],
            [0] => key >= &self.key[..],
            end => key >= &self.key[..] && key < end,
        }
    }

    /// `None` if the span can hold no key.
    fn bounds(&self) -> Option<Bounds<'_>> {
        let from = &self.key[..];
        match &self.end[..] {
            [] => Some((Bound::Included(from), Bound::Included(from))),
            [0] => Some((Bound::Included(from), Bound::Unbounded)),
            end if end <= from => None,
            end => Some((Bound::Included(from), Bound::Excluded(end))),
        }
    }
}

/// The keys of a range that a request wants, and their order.
struct Pick<'a> {
    r: &'a RangeRequest,
    order: SortOrder,
    /// The number of keys that decides the answer; more need not be looked at.
    enough: usize,
}

impl Pick<'_> {
    fn of(r: &RangeRequest) -> Pick<'_> {
        let order = match (r.sort_order, r.sort_target) {
            (SortOrder::None, SortTarget::Key) => SortOrder::None,
            (SortOrder::None, _) => SortOrder::Ascend,
            (order, _) => order,
        };
        let bounded =
            [r.min_mod_revision, r.max_mod_revision, r.min_create_revision, r.max_create_revision] != [0; 4];
        // etcd looks at the order asked for, not at the one that follows from the target: so a
        // limit comes before the sorting if only a target is named.
        let enough = match r.sort_order == SortOrder::None && !bounded && r.limit > 0 {
            true => usize::try_from(r.limit).unwrap_or(usize::MAX).saturating_add(1),
            false => usize::MAX,
        };
        Pick { r, order, enough }
    }

    fn within(&self, kv: &KeyValue) -> bool {
        let between = |n, min, max| (min == 0 || n >= min) && (max == 0 || n <= max);
        between(kv.mod_revision, self.r.min_mod_revision, self.r.max_mod_revision)
            && between(kv.create_revision, self.r.min_create_revision, self.r.max_create_revision)
    }

    /// Sorts what was found. Equals stay in the order of their keys.
    fn sort(&self, found: &mut [&KeyValue]) {
        let compare = |a: &KeyValue, b: &KeyValue| match self.r.sort_target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::CreateRevision => a.create_revision.cmp(&b.create_revision),
            SortTarget::ModRevision => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        match self.order {
            SortOrder::None => {}
            SortOrder::Ascend => found.sort_by(|a, b| compare(a, b)),
            SortOrder::Descend => found.sort_by(|a, b| compare(b, a)),
        }
    }
}

/// One version of a key. A deletion is a version too (a tombstone): its `kv.version` is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The key and its value at this version.
    pub kv: KeyValue,
    /// Position among the changes of its revision, from 0.
    pub sub: u32,
}

impl Version {
    fn live(&self) -> Option<&KeyValue> {
        (self.kv.version > 0).then_some(&self.kv)
    }
    fn size(&self) -> u64 {
        (self.kv.key.len() + self.kv.value.len()) as u64 + VERSION_OVERHEAD
    }
}

/// The keyspace and its history. Pure: no clock, no disk, no lock.
#[derive(Debug)]
pub struct Store {
    revision: Revision,
    /// As [`Store::compacted`].
    compacted: Revision,
    /// Oldest version first. A key whose last version is a tombstone does not exist now.
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// Keys of which a compaction can forget something ([`can_shrink`]). It passes over all others:
    /// it runs on the thread that sends heartbeats, and two million keys take 0.4 s to look at.
    shrinkable: BTreeSet<Bytes>,
    /// `history[i]` are the events of revision `history_first + i`.
    history: VecDeque<Arc<[Event]>>,
    history_first: Revision,
    size: u64,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            revision: FIRST_REVISION,
            compacted: NOT_COMPACTED,
            keys: BTreeMap::new(),
            shrinkable: BTreeSet::new(),
            history: VecDeque::new(),
            history_first: FIRST_REVISION + 1,
            size: 0,
        }
    }
}

impl Store {
    /// Returns the revision of the newest write, [`FIRST_REVISION`] if there was none.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Revisions below this one cannot be read any more; [`NOT_COMPACTED`] if nothing was
    /// compacted.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Returns the bytes held by all versions, with their book-keeping.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Errors: `Compacted`, `FutureRevision` for a revision this store cannot show.
    pub(crate) fn check_revision(&self, revision: Revision) -> Result<(), Error> {
        if revision > self.revision {
            return Err(Error::FutureRevision { current: self.revision });
        }
        if revision > 0 && revision < self.compacted {
            return Err(Error::Compacted { compact_revision: self.compacted });
        }
        Ok(())
    }

    /// As [`Store::check_revision`], for a range in a transaction: there etcd takes a negative
    /// revision for one that was compacted, except -1 while nothing was (`checkRange` compares with
    /// [`NOT_COMPACTED`]).
    pub(crate) fn check_revision_in_txn(&self, revision: Revision) -> Result<(), Error> {
        if revision < 0 && revision < self.compacted {
            return Err(Error::Compacted { compact_revision: self.compacted });
        }
        self.check_revision(revision)
    }

    /// Returns the keys of a range as they were at `r.revision`, in the order that `r` asks for
    /// (byte order if it asks for none).
    ///
    /// # Errors
    /// - `Compacted` if the revision is older than the last compaction.
    /// - `FutureRevision` if it is newer than the newest write.
    pub fn range(&self, r: &RangeRequest) -> Result<RangeResponse, Error> {
        self.check_revision(r.revision)?;
        let at = if r.revision > 0 { r.revision } else { Revision::MAX };
        let span = Span::new(&r.key, &r.range_end);
        let (mut count, mut found) = (0, Vec::new());
        let pick = Pick::of(r);
        for kv in self.live(&span, at) {
            count += 1;
            if !r.count_only && found.len() < pick.enough && pick.within(kv) {
                found.push(kv);
            }
            if r.continued && found.len() >= pick.enough {
                break;
            }
        }
        pick.sort(&mut found);
        let limit = if r.limit > 0 { usize::try_from(r.limit).unwrap_or(usize::MAX) } else { usize::MAX };
        let more = found.len() > limit;
        let show = |kv: &KeyValue| {
            let value = if r.keys_only { Bytes::new() } else { kv.value.clone() };
            KeyValue { key: kv.key.clone(), value, ..*kv }
        };
        let kvs = found.into_iter().take(limit).map(show).collect();
        Ok(RangeResponse { revision: self.revision, kvs, more, count })
    }

    /// Returns every key of the span that exists at revision `at` (`Revision::MAX`: now, with an
    /// open write's changes).
    pub fn live<'a>(&'a self, span: &'a Span, at: Revision) -> impl Iterator<Item = &'a KeyValue> {
        let found = span.bounds().map(|bounds| self.keys.range::<[u8], _>(bounds));
        found.into_iter().flatten().filter_map(move |(_, versions)| {
            if versions.last().is_some_and(|last| last.kv.mod_revision <= at) {
                return versions.last().and_then(Version::live);
            }
            let upto = versions.partition_point(|v| v.kv.mod_revision <= at);
            versions[..upto].last().and_then(Version::live)
        })
    }

    /// Opens a write: all its changes get one revision, the next.
    pub fn write(&mut self) -> Write<'_> {
        Write { store: self, events: Vec::new() }
    }

    /// Returns the events of each revision from `from` on, oldest first, of at most so many
    /// revisions; and the first revision behind them. Errors: `Compacted`.
    pub(crate) fn events_since(&self, from: Revision, most: usize) -> Result<(Batches, Revision), Error> {
        if from < self.compacted {
            return Err(Error::Compacted { compact_revision: self.compacted });
        }
        let first = from.max(self.history_first);
        let skip = usize::try_from(first - self.history_first).unwrap_or(usize::MAX).min(self.history.len());
        let events: Vec<_> = self.history.range(skip..).take(most).cloned().collect();
        let next = first.saturating_add(events.len() as Revision);
        Ok((events, next))
    }

    /// Forgets what happened before `revision`; the state at `revision` stays readable.
    ///
    /// # Errors
    /// - `Compacted` if a compaction at this revision or a later one was done before.
    /// - `FutureRevision` if it is newer than the newest write.
    pub fn compact(&mut self, revision: Revision) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted { compact_revision: self.compacted });
        }
        if revision > self.revision {
            return Err(Error::FutureRevision { current: self.revision });
        }
        self.compacted = revision;
        let (size, keys) = (&mut self.size, &mut self.keys);
        self.shrinkable.retain(|key| {
            let Some(versions) = keys.get_mut(key) else { return false };
            let upto = versions.partition_point(|v| v.kv.mod_revision <= revision);
            // The newest of the old versions is the state at `revision`; a tombstone is only worth
            // keeping if a watch may still start with it.
            let keep = |v: &Version| v.live().is_some() || v.kv.mod_revision == revision;
            let drop = if upto > 0 && keep(&versions[upto - 1]) { upto - 1 } else { upto };
            *size -= versions.drain(..drop).map(|v| v.size()).sum::<u64>();
            if versions.len() * 4 < versions.capacity() {
                versions.shrink_to_fit();
            }
            let shrinks = can_shrink(versions);
            if versions.is_empty() {
                keys.remove(key);
            }
            shrinks
        });
        while self.history_first < revision && self.history.pop_front().is_some() {
            self.history_first += 1;
        }
        if self.history_first == revision
            && let Some(first) = self.history.front_mut()
        {
            // What came before is gone, also what the same write made and changed again: for live
            // stores and for restored ones alike.
            let mut later = std::collections::BTreeSet::new();
            let newest = first.iter().rev().filter(|e| later.insert(&e.kv.key));
            let mut kept: Vec<Event> = newest.map(|e| Event { prev_kv: None, ..e.clone() }).collect();
            kept.reverse();
            *first = kept.into();
        }
        Ok(())
    }

    /// Returns the bytes of versions that a compaction frees, by the lowest revision to compact at.
    ///
    /// Example: `a` was set at 2 (100 bytes) and at 7, `b` was set at 3 (50 bytes) and deleted at
    /// 4. A compaction at 7 frees 100 bytes of `a`; one at 4 frees 50 bytes of `b`, one at 5 its
    /// tombstone.
    pub fn reclaimable(&self) -> BTreeMap<Revision, u64> {
        let mut freed = BTreeMap::new();
        for versions in self.shrinkable.iter().filter_map(|key| self.keys.get(key)) {
            for (at, version) in versions.iter().enumerate() {
                let upto = match version.live() {
                    Some(_) => versions.get(at + 1).map(|next| next.kv.mod_revision),
                    // Also if the key came back later: its tombstone does not wait for that.
                    None => Some(version.kv.mod_revision + 1),
                };
                if let Some(revision) = upto {
                    *freed.entry(revision).or_default() += version.size();
                }
            }
        }
        freed
    }

    /// Returns every version kept, in key order: with the two revisions, the whole store.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.keys.values().flatten()
    }

    /// Rebuilds a store from what [`Store::versions`] listed.
    pub fn restore(revision: Revision, compacted: Revision, versions: Vec<Version>) -> Store {
        let history_first = compacted.max(FIRST_REVISION + 1);
        let mut store = Store { revision, compacted, history_first, ..Store::default() };
        let mut events: BTreeMap<(Revision, u32), Event> = BTreeMap::new();
        for version in versions {
            store.size += version.size();
            let list = store.keys.entry(version.kv.key.clone()).or_default();
            if version.kv.mod_revision >= history_first {
                let prev_kv = match version.kv.mod_revision == compacted {
                    true => None,
                    false => before(list, version.kv.mod_revision),
                };
                events.insert((version.kv.mod_revision, version.sub), event(version.kv.clone(), prev_kv));
            }
            list.push(version);
        }
        let shrinkable = store.keys.iter().filter(|(_, versions)| can_shrink(versions));
        store.shrinkable = shrinkable.map(|(key, _)| key.clone()).collect();
        let mut events = events.into_iter().peekable();
        for at in history_first..=revision {
            let mut changes = Vec::new();
            while let Some((_, event)) = events.next_if(|((revision, _), _)| *revision == at) {
                changes.push(event);
            }
            store.history.push_back(changes.into());
        }
        store
    }
}

/// Returns whether some compaction can forget a version of a key: there are several, or the last
/// one is a tombstone.
fn can_shrink(versions: &[Version]) -> bool {
    versions.len() > 1 || versions.last().is_some_and(|last| last.live().is_none())
}

fn event(kv: KeyValue, prev_kv: Option<KeyValue>) -> Event {
    Event { kind: if kv.version > 0 { EventType::Put } else { EventType::Delete }, kv, prev_kv }
}

/// Returns the `prev_kv` of an event: the key before that revision, not what the same write had
/// made of it a moment ago.
fn before(versions: &[Version], revision: Revision) -> Option<KeyValue> {
    versions.iter().rfind(|v| v.kv.mod_revision < revision).and_then(Version::live).cloned()
}

/// A write in progress. Its own reads see its changes; other readers must wait for
/// [`Write::commit`].
pub struct Write<'a> {
    store: &'a mut Store,
    events: Vec<Event>,
}

impl Write<'_> {
    /// Returns the store as it is now, changes of this write included.
    pub fn store(&self) -> &Store {
        self.store
    }

    /// Returns the store's revision if the write ended here.
    pub fn revision(&self) -> Revision {
        self.store.revision + Revision::from(!self.events.is_empty())
    }

    /// Sets a key; returns what it was.
    pub fn put(&mut self, key: Bytes, value: Bytes, lease: i64) -> Option<KeyValue> {
        let revision = self.store.revision + 1;
        let versions = self.store.keys.get(&key);
        let prev = versions.and_then(|versions| versions.last()).and_then(Version::live).cloned();
        let (create_revision, version) =
            prev.as_ref().map_or((revision, 1), |p| (p.create_revision, p.version + 1));
        let kv = KeyValue { key, create_revision, mod_revision: revision, version, value, lease };
        self.record(kv);
        prev
    }

    /// Deletes the keys of a span; returns what they were.
    pub fn delete_range(&mut self, span: &Span) -> Vec<KeyValue> {
        let gone: Vec<KeyValue> = self.store.live(span, Revision::MAX).cloned().collect();
        let mod_revision = self.store.revision + 1;
        for prev in &gone {
            let tombstone = KeyValue { key: prev.key.clone(), mod_revision, ..KeyValue::default() };
            self.record(tombstone);
        }
        gone
    }

    fn record(&mut self, mut kv: KeyValue) {
        // Versions, tombstones and events share the map's own key, which is a copy: the key in a
        // request holds the request's whole log entry in memory, values included.
        let key = match self.store.keys.get_key_value(&kv.key) {
            Some((own, _)) => own.clone(),
            None => Bytes::copy_from_slice(&kv.key),
        };
        kv.key = key.clone();
        let version = Version { kv: kv.clone(), sub: self.events.len() as u32 };
        self.store.size += version.size();
        let versions = self.store.keys.entry(key.clone()).or_default();
        let prev_kv = before(versions, kv.mod_revision);
        versions.push(version);
        if can_shrink(versions) {
            self.store.shrinkable.insert(key);
        }
        self.events.push(event(kv, prev_kv));
    }

    /// Ends the write. Without changes the revision stays as it was and there are no events.
    pub fn commit(self) -> Arc<[Event]> {
        let events: Arc<[Event]> = self.events.into();
        if !events.is_empty() {
            self.store.revision += 1;
            self.store.history.push_back(events.clone());
        }
        events
    }
}

#[cfg(test)]
mod tests;
