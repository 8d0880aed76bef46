//! The room of the store: what this server knows of it, and what a write may use. Beside it the
//! memory that the objects take once they are parsed.

use crate::auth::role_bindings;
use api::{Status, bounds, gojson};
use clock::Instant;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{Mutex, Notify};

/// The room of the store, as far as this server knows it.
#[derive(Default)]
pub(crate) struct Compaction {
    /// Bytes of writes on their way, which the store does not count yet.
    pub(super) in_flight: AtomicU64,
    /// A store of more bytes is worth a look at its history.
    pub(super) look_above: AtomicU64,
    pub(super) wake: Notify,
    /// When room was last made for a write, and whose turn it is to make it.
    pub(super) reclaimed: Mutex<Option<Instant>>,
}

/// The part of the store that a write may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// The write may use all but the reserve.
    Ordinary,
    /// The write may use the reserve, too: it adds nothing for long, or leads to a deletion.
    Repair,
    /// The write only deletes: the store takes it however full it is.
    Deletion,
}

/// The bytes of one write, counted until the store counts them.
pub(crate) struct Counted<'a> {
    pub(super) of: &'a Compaction,
    pub(super) bytes: u64,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.of.in_flight.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// The memory that the values of all objects take, beside their texts.
///
/// The cache keeps every object parsed. The values of an ordinary object take some ten times its
/// bytes, and those of one that is all short keys twenty times: a store that has room for it would
/// take more memory than the machine has. Beside them the cache keeps every object as it is sent,
/// where a `<` takes six bytes and one in the store: the five count as well, and so does the index
/// of the role bindings ([`values_cost`]).
///
/// The bound is a multiple of the store's quota. The quotas of all control planes together are a
/// sixteenth of the machine's memory, and 64 MiB for each at least.
///
/// ```text
/// machine of 8 GiB, one control plane     quota 512 MiB    values 2 GiB, a quarter of it
/// machine of 2 GiB, three                 quota 64 MiB     values 256 MiB each, more than a third
/// ConfigMap of 60,000 keys                1.2 MB           values 19 MB, with managed fields
/// ```
///
/// Beyond the bound, small writes go on up to a fourth more. Their user is not looked at: very many
/// small objects of one user fill that part, too. Up to a sixteenth beyond that small writes go on
/// that take something away, and those of components and administrators that change what exists,
/// as the status of a pod; no new objects, which users have components make as well.
///
/// Writes on their way do not count: few large ones are worked on at a time. Nor is an undo
/// refused: what it brings back counts once it is there.
#[derive(Default)]
pub(crate) struct Values(AtomicUsize);

/// All values together may take so many times the quota of the store.
const VALUES_OF_QUOTA: usize = 4;
/// Bytes that all values may take however small the quota is: the objects of the cluster itself
/// take some 4 MiB.
const VALUES_LEAST: usize = 128 << 20;
/// A write that adds fewer bytes of values is small: that of an ordinary object, such as a pod, its
/// status or an Event.
const VALUES_SMALL: usize = 128 << 10;
/// Small writes may exceed the bound of large ones by this part of it: a fourth.
const VALUES_RESERVE_PART: usize = 4;
/// Small writes that take something away and add managed fields, and those of components, may
/// exceed even that, by this part of the bound: a sixteenth.
const VALUES_REPAIR_PART: usize = 16;

/// Returns about how many bytes of memory the values of this text take, and what escapes add to it
/// when it is sent.
pub(crate) fn text_cost(stored: &[u8]) -> usize {
    bounds::values_cost(stored).saturating_add(gojson::added_by_escapes(stored))
}

/// Returns what a stored object of this resource counts: its text, and what is indexed of it.
pub(crate) fn values_cost(resource: &str, object: &Value, stored: &[u8]) -> usize {
    text_cost(stored).saturating_add(role_bindings::index_cost(resource, object))
}

impl Values {
    /// Counts that the values of an object take `after` bytes now, and took `before`.
    pub(crate) fn change(&self, before: usize, after: usize) {
        self.0.fetch_add(after, Ordering::AcqRel);
        self.0.fetch_sub(before, Ordering::AcqRel);
    }

    /// Counts all objects anew.
    pub(crate) fn reset(&self, all: usize) {
        self.0.store(all, Ordering::Release);
    }

    /// Returns the bytes that all take.
    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Judges a write that makes `after` bytes of values out of `before`, beside a store of this
    /// quota. One that adds none is always let in. `repairs` returns whether it may have the last
    /// part; it is called only where that counts.
    ///
    /// # Errors
    /// 507 if the values would take more memory than they may.
    pub(crate) fn check(
        &self,
        (before, after): (usize, usize),
        quota: u64,
        repairs: impl FnOnce() -> bool,
    ) -> Result<(), Status> {
        let most = usize::try_from(quota).unwrap_or(usize::MAX).saturating_mul(VALUES_OF_QUOTA);
        let most = most.max(VALUES_LEAST);
        let added = after.saturating_sub(before);
        let (taken, is_small) = (self.taken().saturating_add(added), added < VALUES_SMALL);
        let of_small = most.saturating_add(most / VALUES_RESERVE_PART);
        if added == 0 || taken <= most || is_small && taken <= of_small {
            return Ok(());
        }
        if is_small && taken <= of_small.saturating_add(most / VALUES_REPAIR_PART) && repairs() {
            return Ok(());
        }
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        let message = format!(
            "the cluster's objects take too much memory: their keys, values and escaped characters (<, > and &) take {} MiB and may take {} MiB, and this object has {} MiB of them; delete objects with many keys or such characters that are not needed (deletions still work), then try again",
            mib(self.taken()),
            mib(most),
            mib(after)
        );
        Err(Status::new(507, "InsufficientStorage", message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_a_bound_by_the_quota_of_the_store_and_ordinary_writes_a_reserve() {
        const MIB: usize = 1 << 20;
        let values = Values::default();
        let check = |before: usize, after: usize, quota: u64| {
            let checked = values.check((before, after), quota, || false);
            checked.map_err(|status| (status.code, status.message))
        };
        values.change(0, 1000 * MIB);
        let (code, why) = check(0, 25 * MIB, 256 * MIB as u64).unwrap_err();
        assert_eq!(code, 507);
        assert!(why.contains("take 1000 MiB and may take 1024 MiB, and this object has 25 MiB"), "{why}");
        assert_eq!(check(0, 24 * MIB, 256 * MIB as u64), Ok(()));
        assert_eq!(check(30 * MIB, 30 * MIB, 0), Ok(()), "it adds nothing");
        assert_eq!(check(0, MIB, u64::MAX), Ok(()));
        values.change(1000 * MIB, 128 * MIB);
        assert!(check(0, MIB, 0).is_err(), "the least that is allowed");
        assert_eq!(check(0, VALUES_SMALL - 1, 0), Ok(()), "a pod, or its status");
        values.reset(160 * MIB);
        assert!(check(0, VALUES_SMALL - 1, 0).is_err() && values.taken() == 160 * MIB);
        assert_eq!(check(2, 1, 0), Ok(()));
        // One that repairs has a part beyond that, of 8 MiB.
        let repairs = |added: usize| values.check((0, added), 0, || true).is_ok();
        assert!(repairs(VALUES_SMALL - 1) && !repairs(VALUES_SMALL));
        values.reset(168 * MIB);
        assert!(!repairs(1));
        let never = || -> bool { unreachable!("it adds nothing, or there is room") };
        assert_eq!(values.check((2, 1), 0, never), Ok(()));
        assert_eq!(values.check((1, 2), u64::MAX, never), Ok(()));
    }
}
