//! Marks the threads of simulated kubelets.

use std::cell::Cell;

thread_local! {
    pub(crate) static SIMULATED: Cell<bool> = const { Cell::new(false) };
}

/// Returns true in a thread whose kubelet is simulated. It mounts nothing, so it needs no rights,
/// and does its work with files at once.
pub(crate) fn is_simulated() -> bool {
    SIMULATED.get()
}
