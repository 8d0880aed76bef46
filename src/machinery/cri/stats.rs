//! What sandboxes and containers use.

use std::time::Duration;

/// Use since the container, or the sandbox, started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Time on a processor, summed over all its processes.
    pub cpu_usage: Duration,
    /// Memory that cannot be reclaimed without the process noticing, in bytes.
    pub memory_working_set: u64,
}
