//! How following an engine ends, and how long it takes until it is followed again.

use std::time::Duration;

/// Pause before the cluster is asked again when it does not answer.
pub(super) const AGAIN: Duration = Duration::from_millis(500);
/// Pause after an error of an engine: the first, and the longest.
const FAILED_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How following a lesson or a lab ended.
pub(super) enum Followed {
    /// The interface has ended.
    Closed,
    /// The cluster does not answer, or has ended.
    Ended,
    /// The engine answered with this error. Nothing follows it on the same connection.
    Failed(String),
}

/// Pauses after errors of an engine: each is twice as long as the one before.
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses(FAILED_AGAIN.0)
    }
}

impl Pauses {
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(FAILED_AGAIN.1);
        pause
    }
}
