//! Marks the threads of simulated kubelets, and plants bugs in these.

use std::cell::Cell;

/// A bug of evictions that is planted to see whether the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvictionBug {
    /// The decision to evict a pod is not kept.
    Lost,
    /// The next pod is evicted before the one before has ended.
    Doubled,
}

thread_local! {
    pub(crate) static SIMULATED: Cell<bool> = const { Cell::new(false) };
    pub(crate) static EVICTION_BUG: Cell<Option<EvictionBug>> = const { Cell::new(None) };
}

/// Returns true in a thread whose kubelet is simulated. It mounts nothing, so it needs no rights,
/// and does its work with files at once.
pub(crate) fn is_simulated() -> bool {
    SIMULATED.get()
}

/// Returns true in a thread whose kubelet has this bug.
pub(crate) fn has_bug(bug: EvictionBug) -> bool {
    EVICTION_BUG.get() == Some(bug)
}
