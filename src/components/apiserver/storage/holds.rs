//! The count of watches that hold an object or an event while they begin.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many watches that begin hold something, and whether the cache has let it go. What the cache
/// has let go and a watch holds counts as memory of the watches ([`super::watch_buffers`]).
#[derive(Default)]
pub(crate) struct Holds(AtomicUsize);

/// In [`Holds`]: the cache has let it go; and one holder.
const LET_GO: usize = 1;
const HOLDER: usize = 2;

impl Holds {
    /// Notes that the cache keeps it no longer. True if it counts from now on.
    pub(super) fn let_go(&self) -> bool {
        let before = self.0.fetch_or(LET_GO, Ordering::AcqRel);
        before & LET_GO == 0 && before >= HOLDER
    }

    /// Adds a holder. True if it counts from now on.
    pub(super) fn hold(&self) -> bool {
        self.0.fetch_add(HOLDER, Ordering::AcqRel) == LET_GO
    }

    /// Removes a holder. True if it counted until now.
    pub(super) fn release(&self) -> bool {
        self.0.fetch_sub(HOLDER, Ordering::AcqRel) == LET_GO | HOLDER
    }
}
