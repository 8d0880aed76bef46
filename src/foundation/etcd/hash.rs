//! The checksum by which members compare their histories.
//!
//! It is etcd's own: CRC-32C over the records of its database file (see
//! [`database`](super::database)), so that the same history gives the same number here and there.
//! The exception is a revision at which the store was compacted. etcd 3.6 takes a checksum before
//! each compaction deletes anything, remembers the newest ten until it is restarted, and answers
//! with them (`hashStorage` in server/storage/mvcc/hash.go). This program remembers none: it
//! answers as an etcd that was restarted since.

use super::api::{Error, Revision};
use super::mvcc::Version;
use super::pb::KeyValue;
use super::snapshot::Frozen;
use prost::Message as _;
use std::collections::BTreeMap;

/// The answer of [`super::Kv::hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    /// CRC-32C of all records up to `revision`: equal on members with equal data.
    pub hash: u32,
    /// The revision that it was computed at.
    pub revision: Revision,
    /// [`NOT_COMPACTED`](super::mvcc::NOT_COMPACTED) if nothing was compacted.
    pub compacted: Revision,
}

/// Returns a version's name among the records: `revision | '_' | position`, and `t` behind a
/// tombstone's.
///
/// The first change of revision 4 is 8 bytes with 4, `_`, and 8 bytes with 0. In the order of their
/// bytes the records are in the order of what happened.
pub(crate) fn record_key(version: &Version) -> Vec<u8> {
    let mut key = version.kv.mod_revision.to_be_bytes().to_vec();
    key.push(b'_');
    key.extend(i64::from(version.sub).to_be_bytes());
    if version.kv.version == 0 {
        key.push(b't');
    }
    key
}

/// Returns a version's record: a tombstone holds its key alone.
pub(crate) fn record(version: &Version) -> Vec<u8> {
    match version.kv.version {
        0 => KeyValue { key: version.kv.key.clone(), ..KeyValue::default() }.encode_to_vec(),
        _ => KeyValue::from(version.kv.clone()).encode_to_vec(),
    }
}

/// Returns the checksum of the versions that are kept, up to `revision` (0: the newest). The state
/// at the revision of the last compaction can still be compared (etcd: since 3.5.13). Below 0 there
/// are no versions: the checksum is that of an empty store.
///
/// Errors: `Compacted`, `FutureRevision`.
///
/// Two members that answer different numbers for the same revision and the same compaction hold
/// different data, which must never be. `etcdctl endpoint hashkv` shows the numbers.
pub(crate) fn of(frozen: &Frozen, revision: Revision) -> Result<Hash, Error> {
    let compacted = frozen.compacted;
    if revision > 0 && revision < compacted {
        return Err(Error::Compacted { compact_revision: compacted });
    }
    if revision > frozen.revision {
        return Err(Error::FutureRevision { current: frozen.revision });
    }
    let revision = if revision == 0 { frozen.revision } else { revision };
    // in the order of keys, and of each the oldest first
    let versions: Vec<&Version> = frozen.versions.iter().filter(|v| v.kv.mod_revision <= revision).collect();
    let is_last = |at: usize| versions.get(at + 1).is_none_or(|next| next.kv.key != versions[at].kv.key);
    let shows = (0..versions.len()).any(|at| is_last(at) && versions[at].kv.version > 0);
    let mut records = BTreeMap::new();
    for (at, version) in versions.iter().enumerate() {
        let last = is_last(at);
        // Of what lies before the compaction only that which still shows counts; if nothing does,
        // everything that is left.
        if version.kv.mod_revision > compacted || ((last || !shows) && version.kv.version > 0) {
            records.insert(record_key(version), *version);
        }
    }
    let mut crc = Crc32c::default();
    crc.update(b"key");
    for (key, version) in records {
        crc.update(&key);
        crc.update(&record(version));
    }
    Ok(Hash { hash: crc.value(), revision, compacted })
}

/// Computes FNV-1a, 64 bits: the sum of a database file's first pages, and a member's number from
/// its name.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}

/// CRC-32C (Castagnoli), bit by bit through a table of bytes. Source: RFC 3720, appendix B.4.
#[derive(Default)]
pub(crate) struct Crc32c(u32);

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0x82f6_3b78 } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

impl Crc32c {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0 = !bytes.iter().fold(!self.0, |crc, byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)]);
    }
    pub(crate) fn value(&self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::lease::Leases;
    use super::super::mvcc::{NOT_COMPACTED, Store};
    use super::*;
    use std::collections::BTreeSet;

    /// As etcd 3.6, which takes 0 alone for the newest revision.
    #[test]
    fn the_checksum_at_a_negative_revision_is_that_of_an_empty_store() {
        let mut store = Store::default();
        let mut write = store.write();
        write.put("a".into(), "1".into(), 0);
        write.commit();
        let frozen = Frozen::of(&store, &Leases::default(), &BTreeSet::new());
        let mut empty = Crc32c::default();
        empty.update(b"key");
        let (hash, revision, compacted) = (empty.value(), -1, NOT_COMPACTED);
        assert_eq!(of(&frozen, revision), Ok(Hash { hash, revision, compacted }));
    }

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        let mut crc = Crc32c::default();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.value(), 0xe306_9283); // the check value of CRC-32C
    }
}
