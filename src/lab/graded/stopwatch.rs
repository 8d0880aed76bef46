//! How long a lab has been open, by two clocks: the calendar's, which a person may set, and the
//! kernel's, which no one can.

use clock::{self, Instant, Timestamp};
use std::time::Duration;

/// Runs from a start in the calendar. Whichever clock says that more time has gone is believed: the
/// kernel's stands still while the machine sleeps and knows nothing of the process before this one;
/// the calendar's may have been set back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    started: Timestamp,
    /// What had gone by when this process took it up, and that moment.
    before: Duration,
    since: Instant,
}

impl Stopwatch {
    /// One that was started then, and had run for at least so long.
    pub(crate) fn taken_up(started: Timestamp, ran_ms: u64) -> Stopwatch {
        Stopwatch { started, before: Duration::from_millis(ran_ms), since: Instant::now() }
    }

    /// When it was started, by the calendar.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// Milliseconds from the start.
    pub(crate) fn ms(&self) -> u64 {
        self.at(clock::now(), Instant::now())
    }

    fn at(&self, calendar: Timestamp, kernel: Instant) -> u64 {
        let by_calendar = calendar.as_millisecond().saturating_sub(self.started.as_millisecond());
        let by_kernel = (self.before + kernel.duration_since(self.since)).as_millis() as u64;
        by_kernel.max(by_calendar.max(0).unsigned_abs())
    }

    /// The start and so much time, as the calendar would have it.
    pub(crate) fn calendar(&self, ms: u64) -> Timestamp {
        clock::after(self.started, Duration::from_millis(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_wins_no_time() {
        let started: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let watch = Stopwatch::taken_up(started, 0);
        let (calendar, kernel) =
            (|s| clock::after(started, Duration::from_secs(s)), |s| watch.since + Duration::from_secs(s));
        assert_eq!(watch.at(calendar(60), kernel(60)), 60_000);
        assert_eq!(watch.at(clock::before(started, Duration::from_secs(600)), kernel(90)), 90_000);
        assert_eq!(watch.at(calendar(900), kernel(90)), 900_000, "the machine slept");
        assert_eq!(watch.calendar(1_500), "2026-01-02T03:04:06.5Z".parse().unwrap());
        // A learner who ends the cluster to think wins no time: the process after it counts from
        // the same start.
        let later = Stopwatch { since: watch.since, ..Stopwatch::taken_up(started, 60_000) };
        assert_eq!(later.at(calendar(600), kernel(1)), 600_000);
        // The process is another one, and the calendar says that it is before the start.
        let again = Stopwatch { since: watch.since, ..Stopwatch::taken_up(started, 90_000) };
        assert_eq!(again.at(started, kernel(5)), 95_000);
    }
}
