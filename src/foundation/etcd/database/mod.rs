//! The store as etcd's own database file, which `snapshot save` hands out: a bbolt file ([`bolt`])
//! with a bucket for each kind of record. The real `etcdctl snapshot status` and `snapshot restore`
//! read it.

pub mod bolt;

use super::hash::{Crc32c, record, record_key};
use super::pb;
use super::snapshot::Frozen;
use bolt::{Bucket, Damaged};
use prost::Message as _;
use serde_json::json;
use std::collections::BTreeSet;

/// The version of a database's format, which etcd 3.6 writes into it (`storageVersion`).
pub(super) const STORAGE_VERSION: &str = "3.6.0";

/// Buckets that a database has even while they are empty: users and roles.
const EMPTY: [&str; 4] = ["auth", "authRoles", "authUsers", "members_removed"];

/// Writes the whole database. `applied` and `term` say up to where the log is in it.
pub fn write(frozen: &Frozen, members: &[pb::Member], applied: u64, term: u64) -> Vec<u8> {
    let mut keys = Bucket::new("key");
    for version in &frozen.versions {
        keys.put(record_key(version), record(version));
    }
    let mut leases = Bucket::new("lease");
    for (id, ttl, _) in &frozen.leases {
        let lease = pb::StoredLease { id: *id, ttl: *ttl, remaining_ttl: 0 };
        leases.put(id.to_be_bytes().to_vec(), lease.encode_to_vec());
    }
    let mut alarms = Bucket::new("alarm");
    for alarm in &frozen.alarms {
        let alarm = pb::AlarmMember { member_id: alarm.member, alarm: alarm.kind as i32 };
        alarms.put(alarm.encode_to_vec(), vec![]);
    }
    let mut meta = Bucket::new("meta");
    meta.put(b"consistent_index".to_vec(), applied.to_be_bytes().to_vec());
    meta.put(b"term".to_vec(), term.to_be_bytes().to_vec());
    meta.put(b"storageVersion".to_vec(), STORAGE_VERSION.into());
    if frozen.compacted >= 0 {
        let mut revision = frozen.compacted.to_be_bytes().to_vec();
        revision.push(b'_');
        revision.extend([0; 8]);
        meta.put(b"finishedCompactRev".to_vec(), revision.clone());
        meta.put(b"scheduledCompactRev".to_vec(), revision);
    }
    let mut known = Bucket::new("members");
    for member in members {
        let text = json!({
            "id": member.id, "name": member.name, "peerURLs": member.peer_urls, "clientURLs": member.client_urls,
        });
        known.put(format!("{:x}", member.id).into_bytes(), text.to_string().into_bytes());
    }
    let mut buckets = vec![keys, leases, alarms, meta, known, Bucket::new("cluster")];
    buckets.extend(EMPTY.map(Bucket::new));
    bolt::write(buckets)
}

/// Bytes of a tombstone's name ([`record_key`]); those of other records are a byte shorter.
const TOMBSTONE_NAME: usize = 18;

/// Records of `meta` that an etcd leaves out of its answer to `Hash`: they change without the data,
/// and members with equal data may differ in them. Source: `DefaultIgnores` in
/// server/storage/schema.
const NOT_DATA: [&[u8]; 3] = [b"consistent_index", b"term", b"storageVersion"];

/// The facts that `snapshot status` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// CRC-32C of all buckets, as `etcdutl snapshot status` prints it.
    pub hash: u32,
    /// The revision of the newest record.
    pub revision: i64,
    /// Keys that exist at that revision. Before 3.6 an etcd counted the records of all buckets.
    pub total_keys: u64,
    /// Bytes.
    pub total_size: u64,
    /// The version of the file's format, e.g. `3.6.0`; empty if an etcd before 3.6 wrote the file.
    pub version: String,
}

/// Reads a database file, from this program or from a real etcd.
///
/// # Errors
/// [`Damaged`] if it is no database file, or cannot be read to its end.
pub fn summary(file: &[u8]) -> Result<Summary, Damaged> {
    let mut crc = Crc32c::default();
    let mut sum = Summary::default();
    for bucket in bolt::read(file)? {
        crc.update(&bucket.name);
        for (key, value) in &bucket.records {
            crc.update(key);
            crc.update(value);
        }
        match bucket.name.as_slice() {
            b"key" => {
                if let Some(revision) = bucket.records.keys().next_back().and_then(|name| name.first_chunk())
                {
                    sum.revision = i64::from_be_bytes(*revision);
                }
                sum.total_keys = live_keys(&bucket)?;
            }
            b"meta" => {
                let version = bucket.records.get(&b"storageVersion"[..]).cloned().unwrap_or_default();
                sum.version = String::from_utf8(version).unwrap_or_default();
            }
            _ => {}
        }
    }
    (sum.hash, sum.total_size) = (crc.value(), bolt::size(file)?);
    Ok(sum)
}

/// Counts the keys whose last record in the bucket `key` is no tombstone.
fn live_keys(bucket: &Bucket) -> Result<u64, Damaged> {
    let mut live = BTreeSet::new();
    for (name, record) in &bucket.records {
        let version = pb::KeyValue::decode(record.as_slice())
            .map_err(|_| Damaged("a record that is no version of a key"))?;
        if name.ends_with(b"t") && name.len() == TOMBSTONE_NAME {
            live.remove(&version.key);
        } else {
            live.insert(version.key);
        }
    }
    Ok(live.len() as u64)
}

/// Returns the checksum that an etcd answers to `Hash`: that of [`summary`] without [`NOT_DATA`].
///
/// # Errors
/// As [`summary`].
pub(crate) fn hash(file: &[u8]) -> Result<u32, Damaged> {
    let mut crc = Crc32c::default();
    for bucket in bolt::read(file)? {
        crc.update(&bucket.name);
        let is_meta = bucket.name == b"meta";
        for (key, value) in &bucket.records {
            if is_meta && NOT_DATA.contains(&key.as_slice()) {
                continue;
            }
            crc.update(key);
            crc.update(value);
        }
    }
    Ok(crc.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `etcdutl snapshot status` of etcd 3.6.
    #[test]
    fn a_summary_counts_the_keys_that_exist() {
        let name =
            |revision: i64, end: &str| [&revision.to_be_bytes()[..], b"_", &[0; 8], end.as_bytes()].concat();
        let mut keys = Bucket::new("key");
        for (revision, key, end) in [(2, "a", ""), (3, "b", ""), (4, "a", ""), (5, "b", "t")] {
            let record = pb::KeyValue { key: key.into(), ..pb::KeyValue::default() };
            keys.put(name(revision, end), record.encode_to_vec());
        }
        let mut meta = Bucket::new("meta");
        meta.put(b"storageVersion".to_vec(), b"3.6.0".to_vec());
        let sum = summary(&bolt::write(vec![keys.clone(), meta])).unwrap();
        assert_eq!((sum.revision, sum.total_keys, sum.version.as_str()), (5, 1, "3.6.0"));
        let sum = summary(&bolt::write(vec![keys.clone()])).unwrap();
        assert_eq!((sum.total_keys, sum.version.as_str()), (1, ""), "as an etcd before 3.6 writes it");
        keys.put(name(6, ""), vec![0xff]);
        let damaged = Damaged("a record that is no version of a key");
        assert_eq!(summary(&bolt::write(vec![keys])), Err(damaged));
    }
}
