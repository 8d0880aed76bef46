//! The whole state as bytes, for Raft's snapshots.
//!
//! `version u8 | revision | compacted | leases | versions | alarms`, every version of every key
//! with its position, so that a restored store answers old revisions and watches just like the one
//! it was taken from.

use super::alarm::{self, Alarm};
use super::api::KeyValue;
use super::lease::{Leases, Moment};
use super::mvcc::{FIRST_REVISION, NOT_COMPACTED, Store, Version};
use bytes::Bytes;
use raft::fields::{DecodeError, Reader, put_bytes, put_i64, put_u64};
use std::collections::BTreeSet;

/// Version 1 is the first; 2 ends with the alarms; 3 says of each lease which entry renewed it. A
/// later one must still read the versions before it.
const VERSION: u8 = 3;

/// A frozen copy. Keys and values are shared, but each version has an entry of its own (some 100
/// bytes): to take it costs time in proportion to the versions that are kept, on the thread that
/// applies and under the store's read lock. It is taken once for each snapshot of the log, and for
/// checksums and database files.
pub struct Frozen {
    /// The store's revision in it.
    pub revision: i64,
    /// [`NOT_COMPACTED`] if nothing was compacted.
    pub compacted: i64,
    /// Id, TTL and index of the last renewal.
    pub leases: Vec<(i64, i64, u64)>,
    /// All kept versions of all keys.
    pub versions: Vec<Version>,
    /// The alarms in force.
    pub alarms: Vec<Alarm>,
}

impl Frozen {
    /// Copies the state. The caller holds the locks of all three, so the copy is of one moment.
    pub fn of(store: &Store, leases: &Leases, alarms: &BTreeSet<Alarm>) -> Frozen {
        Frozen {
            revision: store.revision(),
            compacted: store.compacted(),
            leases: leases.list().collect(),
            versions: store.versions().cloned().collect(),
            alarms: alarms.iter().copied().collect(),
        }
    }

    /// Returns the snapshot as bytes, in the order that the head of this file shows.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_i64(&mut out, self.revision);
        put_i64(&mut out, written(self.compacted));
        put_u64(&mut out, self.leases.len() as u64);
        for (id, ttl, renewed) in &self.leases {
            put_i64(&mut out, *id);
            put_i64(&mut out, *ttl);
            put_u64(&mut out, *renewed);
        }
        put_u64(&mut out, self.versions.len() as u64);
        for Version { kv, sub } in &self.versions {
            put_bytes(&mut out, &kv.key);
            put_bytes(&mut out, &kv.value);
            for n in [kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
                put_i64(&mut out, n);
            }
            put_u64(&mut out, u64::from(*sub));
        }
        put_u64(&mut out, self.alarms.len() as u64);
        for alarm in &self.alarms {
            out.push(alarm.kind as u8);
            put_u64(&mut out, alarm.member);
        }
        out
    }
}

/// Returns a compaction's revision as it is written, and the other way round. A store that was
/// never compacted always said 0; so one that was compacted at 0 says -1.
fn written(compacted: i64) -> i64 {
    match compacted {
        NOT_COMPACTED => 0,
        0 => NOT_COMPACTED,
        revision => revision,
    }
}

/// Rebuilds store and leases. Every lease has its full time, counted from moment 0.
pub(crate) fn decode(bytes: &Bytes) -> Result<(Store, Leases, BTreeSet<Alarm>), DecodeError> {
    #[cfg(test)]
    DECODED.set(DECODED.get() + 1);
    let r = &mut Reader::new(bytes.clone());
    let format = r.u8()?;
    if !(1..=VERSION).contains(&format) {
        return Err(DecodeError::Unknown { what: "snapshot version", value: format.into() });
    }
    let (revision, compacted) = (r.i64()?, written(r.i64()?));
    let mut leases = Leases::default();
    for _ in 0..r.count()? {
        let (id, ttl) = (r.i64()?, r.i64()?);
        // Members may have restored different old snapshots of the same log, so that one of them
        // knows a renewal that another one does not. That makes no difference: a leader proposes
        // that a lease expires only when it has applied an entry of its own term, which comes after
        // all of them.
        let renewed = if format > 2 { r.u64()? } else { 0 };
        let _ = leases.grant(id, ttl, renewed, Moment::ZERO); // ids are unique, as they come from a map
    }
    let mut versions = Vec::new();
    for _ in 0..r.count()? {
        // copied: a key must not hold on to the whole snapshot
        let (key, value) = (Bytes::copy_from_slice(&r.bytes()?), Bytes::copy_from_slice(&r.bytes()?));
        let (create_revision, mod_revision, version, lease) = (r.i64()?, r.i64()?, r.i64()?, r.i64()?);
        let sub = r.u64()? as u32;
        versions.push(Version {
            kv: KeyValue { key, create_revision, mod_revision, version, value, lease },
            sub,
        });
    }
    let mut alarms = BTreeSet::new();
    for _ in 0..if format > 1 { r.count()? } else { 0 } {
        alarms.insert(alarm::decode(r)?);
    }
    r.end()?;
    // Every revision that is kept has written something.
    let kept = i128::from(revision) - i128::from(compacted.max(FIRST_REVISION));
    if compacted > revision || kept > versions.len() as i128 {
        return Err(DecodeError::Unknown { what: "revision", value: revision as u64 });
    }
    let store = Store::restore(revision, compacted, versions);
    let all = super::mvcc::Span { key: Bytes::from_static(&[0]), end: Bytes::from_static(&[0]) };
    for kv in store.live(&all, i64::MAX).filter(|kv| kv.lease != 0) {
        leases.attach(kv.lease, &kv.key);
    }
    Ok((store, leases, alarms))
}

#[cfg(test)]
thread_local!(static DECODED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });

/// How many snapshots this thread has decoded.
#[cfg(test)]
pub(super) fn decoded() -> u32 {
    DECODED.get()
}

#[cfg(test)]
mod tests {
    use super::super::api::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
    use super::super::command::Command;
    use super::super::machine::{Applied, Shared};
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_restored_state_is_the_same_state() {
        let shared = Shared::new();
        let now = Duration::ZERO;
        let index = std::cell::Cell::new(0);
        let run = |c: Command| {
            index.set(index.get() + 1);
            shared.apply(&c, Applied { index: index.get(), term: 1 }, now, &mut vec![]).unwrap()
        };
        let put = |key: &'static str, lease| {
            let op = RequestOp::Put(PutRequest { key: key.into(), lease, ..Default::default() });
            Command::Txn(TxnRequest { success: vec![op], ..Default::default() })
        };
        run(Command::LeaseGrant { id: 7, ttl: 60 });
        run(Command::LeaseGrant { id: 8, ttl: 60 });
        for c in [put("a", 7), put("b", 8), put("c", 7), put("a", 0)] {
            run(c);
        }
        // Put and deleted in one revision, in two transactions within one: nothing hangs on the
        // lease.
        let within = |op| RequestOp::Txn(TxnRequest { success: vec![op], ..Default::default() });
        let leased = PutRequest { key: "d".into(), lease: 7, ..Default::default() };
        let gone = DeleteRangeRequest { key: "d".into(), ..Default::default() };
        let both = vec![within(RequestOp::Put(leased)), within(RequestOp::DeleteRange(gone))];
        run(Command::Txn(TxnRequest { success: both, ..Default::default() }));
        run(put("d", 0));
        run(Command::Compact { revision: 3 });
        run(Command::LeaseRevoke { id: 8 });
        let alarm = Alarm { kind: crate::alarm::AlarmKind::NoSpace, member: 9 };
        run(Command::Alarm { alarm, on: true });
        let (frozen, at) = shared.freeze();
        assert_eq!(at.index, index.get());
        let bytes = frozen.encode();
        let (store, leases, alarms) = decode(&bytes.clone().into()).unwrap();
        assert_eq!(format!("{store:?}"), format!("{:?}", *shared.read()));
        assert_eq!(format!("{leases:?}"), format!("{:?}", *shared.leases()));
        assert_eq!(Frozen::of(&store, &leases, &alarms).encode(), bytes);
    }

    /// A database file with the keys of one state and the leases of another would attach keys to
    /// leases that do not exist.
    #[test]
    fn a_copy_is_of_one_state_also_while_another_one_replaces_it() {
        let shared = std::sync::Arc::new(Shared::new());
        let at = |index| Applied { index, term: 1 };
        let put = super::super::api::RequestOp::Put(PutRequest {
            key: "k".into(),
            lease: 7,
            ..PutRequest::default()
        });
        let txn = super::super::api::TxnRequest { success: vec![put], ..Default::default() };
        let (grant, put) = (Command::LeaseGrant { id: 7, ttl: 60 }, Command::Txn(txn));
        let (empty, _) = shared.freeze();
        for command in [grant, put] {
            shared.apply(&command, at(1), Duration::ZERO, &mut vec![]).unwrap();
        }
        let states = [shared.freeze().0, empty].map(|frozen| Bytes::from(frozen.encode()));
        let replacing = std::thread::spawn({
            let shared = shared.clone();
            move || {
                for n in 0..4000 {
                    let (store, leases, alarms) = decode(&states[n % 2]).unwrap();
                    shared.replace(store, leases, alarms, at(1 + n as u64 % 2));
                }
            }
        });
        while !replacing.is_finished() {
            let (frozen, at) = shared.freeze();
            let parts = (frozen.leases.len(), frozen.versions.len(), frozen.revision, at.index);
            assert!([(1, 1, 2, 1), (0, 0, 1, 2)].contains(&parts), "{parts:?}");
        }
        replacing.join().unwrap();
    }

    #[test]
    fn a_snapshot_says_whether_the_store_was_compacted() {
        let mut store = Store::default();
        for at in [NOT_COMPACTED, 0] {
            let bytes = Frozen::of(&store, &Leases::default(), &BTreeSet::new()).encode();
            let (restored, ..) = decode(&bytes.into()).unwrap();
            assert_eq!((store.compacted(), restored.compacted()), (at, at));
            store.compact(0).unwrap_or_default();
        }
    }

    #[test]
    fn snapshots_of_version_2_are_still_read() {
        let mut old = vec![2];
        [5, 0].iter().for_each(|n| put_i64(&mut old, *n)); // revision, compacted
        put_u64(&mut old, 1);
        [7, 60].iter().for_each(|n| put_i64(&mut old, *n)); // a lease
        put_u64(&mut old, 4);
        for n in 2..=5 {
            put_bytes(&mut old, b"k");
            put_bytes(&mut old, b"v");
            [2, n, n - 1, 7].iter().for_each(|n| put_i64(&mut old, *n));
            put_u64(&mut old, 0);
        }
        put_u64(&mut old, 0); // no alarm
        let (store, mut leases, _) = decode(&old.into()).unwrap();
        assert_eq!((store.revision(), leases.list().collect::<Vec<_>>()), (5, vec![(7, 60, 0)]));
        assert_eq!(store.compacted(), NOT_COMPACTED);
        // The first leader after the upgrade has seen every renewal of that time.
        assert_eq!(leases.expire(7, 1).unwrap().into_iter().collect::<Vec<_>>(), ["k"]);
    }
}
