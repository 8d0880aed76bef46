//! The back-off of containers that crash: how long each waits before its next restart. Pure.
//!
//! Upstream: `CrashLoopBackOff`. The pod's worker keeps the pauses (`pods::memory`) and makes one
//! longer with each start (`pods::starting`); `View::backoff_left` says how much of it is left. The
//! back-off of images that cannot be pulled is in `pods::pulling`.

use cri::Container;
use std::collections::BTreeMap;
use std::time::Duration;

/// The pause before the second restart of a container that crashes; doubled each time.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause between two restarts.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A container that ran for so long begins with the first pause again when it crashes.
pub(crate) const RESET_AFTER: Duration = Duration::from_secs(600);

/// Pauses before the next restart, by container name.
pub(crate) type Backoffs = BTreeMap<String, Duration>;

/// Returns how long a container ran, in the cluster's time; zero if it never started.
pub(crate) fn run_time(container: &Container) -> Duration {
    match (container.started_at, container.finished_at) {
        (Some(from), Some(to)) => clock::passed(from, to),
        _ => Duration::ZERO,
    }
}

/// Returns the pause after the next crash, given the one before this restart and how long the
/// container ran.
///
/// A program that crashes again and again waits 10, 20, 40, 80, 160 and then always 300 s. After a
/// run of ten minutes it begins with 10 s again. Without the pause a broken image would keep the
/// node busy with nothing but starts.
pub(crate) fn next_pause(before: Option<Duration>, ran: Duration) -> Duration {
    match before {
        Some(before) if ran < RESET_AFTER => (before * 2).min(LONGEST_PAUSE),
        _ => FIRST_PAUSE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_to_five_minutes_and_forgets_a_good_run() {
        let short = Duration::from_secs(1);
        assert_eq!(next_pause(None, short), Duration::from_secs(10));
        assert_eq!(next_pause(Some(Duration::from_secs(10)), short), Duration::from_secs(20));
        assert_eq!(next_pause(Some(Duration::from_secs(300)), short), Duration::from_secs(300));
        assert_eq!(
            next_pause(Some(Duration::from_secs(300)), Duration::from_secs(601)),
            Duration::from_secs(10)
        );
    }
}
