//! The room of the store: what this server knows of it, and what a write may use.

use clock::Instant;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, Notify};

/// What this server knows of the store's room.
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

/// What a write may use of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// All but the reserve.
    Ordinary,
    /// The reserve as well: the write adds nothing for long, or leads to an end.
    Repair,
    /// It only deletes: the store takes it however full it is.
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
