//! The whole state as bytes, for Raft's snapshots.
//!
//! `version u8 | revision | compacted | leases | versions | alarms`, every version of every key with its position, so that a
//! restored store answers old revisions and watches just like the one it was taken from.

use super::api::KeyValue;
use super::command;
use super::lease::{Leases, Moment};
use super::machine::Alarm;
use super::mvcc::{FIRST_REVISION, Store, Version};
use crate::raft::codec::{DecodeError, Reader, put_bytes, put_i64, put_u64};
use bytes::Bytes;
use std::collections::BTreeSet;

/// Version 1 is the first; 2 ends with the alarms. A later one must still read the versions before it.
const VERSION: u8 = 2;

/// A frozen copy: cheap to take, since keys and values are shared.
pub struct Frozen {
    pub revision: i64,
    pub compacted: i64,
    /// `(id, ttl)`
    pub leases: Vec<(i64, i64)>,
    pub versions: Vec<Version>,
    pub alarms: Vec<Alarm>,
}

impl Frozen {
    pub fn of(store: &Store, leases: &Leases, alarms: &BTreeSet<Alarm>) -> Frozen {
        Frozen {
            revision: store.revision(),
            compacted: store.compacted(),
            leases: leases.list().collect(),
            versions: store.versions().cloned().collect(),
            alarms: alarms.iter().copied().collect(),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_i64(&mut out, self.revision);
        put_i64(&mut out, self.compacted);
        put_u64(&mut out, self.leases.len() as u64);
        for (id, ttl) in &self.leases {
            put_i64(&mut out, *id);
            put_i64(&mut out, *ttl);
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

/// Rebuilds store and leases. Every lease gets its full time again, counted from `now`.
pub fn decode(bytes: &Bytes, now: Moment) -> Result<(Store, Leases, BTreeSet<Alarm>), DecodeError> {
    let r = &mut Reader::new(bytes.clone());
    let format = r.u8()?;
    if !(1..=VERSION).contains(&format) {
        return Err(DecodeError::Unknown { what: "snapshot version", value: format.into() });
    }
    let (revision, compacted) = (r.i64()?, r.i64()?);
    let mut leases = Leases::default();
    for _ in 0..r.count()? {
        let (id, ttl) = (r.i64()?, r.i64()?);
        let _ = leases.grant(id, ttl, now); // ids are unique, as they come from a map
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
        alarms.insert(command::alarm(r)?);
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
mod tests {
    use super::super::api::PutRequest;
    use super::super::machine::{Command, Shared};
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_restored_state_is_the_same_state() {
        let shared = Shared::new();
        let now = Duration::ZERO;
        let run = |c: Command| shared.apply(&c, now, &mut vec![]).unwrap();
        let put = |key: &'static str, lease| {
            let op = super::super::api::RequestOp::Put(PutRequest {
                key: key.into(),
                lease,
                ..Default::default()
            });
            Command::Txn(super::super::api::TxnRequest { success: vec![op], ..Default::default() })
        };
        run(Command::LeaseGrant { id: 7, ttl: 60 });
        run(Command::LeaseGrant { id: 8, ttl: 60 });
        for c in [put("a", 7), put("b", 8), put("c", 7), put("a", 0)] {
            run(c);
        }
        run(Command::Compact { revision: 3 });
        run(Command::LeaseRevoke { id: 8 });
        let alarm = Alarm { kind: crate::etcd::machine::AlarmKind::NoSpace, member: 9 };
        run(Command::Alarm { alarm, on: true });
        let bytes = Frozen::of(&shared.read(), &shared.leases(), &shared.alarms()).encode();
        let (store, leases, alarms) = decode(&bytes.clone().into(), now).unwrap();
        assert_eq!(format!("{store:?}"), format!("{:?}", *shared.read()));
        assert_eq!(format!("{leases:?}"), format!("{:?}", *shared.leases()));
        assert_eq!(Frozen::of(&store, &leases, &alarms).encode(), bytes);
    }
}
