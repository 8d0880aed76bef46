//! When the engine judges: changes that come together are judged together, and it rests after each
//! judgement.

use clock::Instant;
use std::time::Duration;

/// What happens within this time after a change is judged together with it.
const BURST: Duration = Duration::from_millis(25);
/// After a judgement the engine rests this many times as long as it took, so that it never takes
/// more than a fifth of one core; and no longer than the second value.
const REST: (u32, Duration) = (4, Duration::from_secs(2));

/// When to judge next. A change is judged [`BURST`] later, with everything that has happened by
/// then, and never before the engine has rested.
#[derive(Default)]
pub(super) struct Pace {
    due: Option<Instant>,
    rested: Option<Instant>,
}

impl Pace {
    /// Notes a change: it is judged [`BURST`] later, or once the engine has rested.
    pub(super) fn changed(&mut self, now: Instant) {
        self.due.get_or_insert(now + BURST);
    }

    /// Judges at once, and without a rest: a session waits for the answer.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due = Some(now);
        self.rested = None;
    }

    /// Notes the end of a judgement that began at this time. The rest begins.
    pub(super) fn judged(&mut self, began: Instant, now: Instant) {
        let rest = now.duration_since(began).saturating_mul(REST.0).min(REST.1);
        (self.due, self.rested) = (None, Some(now + rest));
    }

    /// When to judge, if nothing else happens than a timer that ends at `wake`.
    pub(super) fn next(&self, wake: Option<Instant>) -> Option<Instant> {
        let at = [self.due, wake].into_iter().flatten().min()?;
        Some(self.rested.map_or(at, |rested| at.max(rested)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_judged_once_and_the_engine_rests() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut pace = Pace::default();
        assert_eq!((pace.next(None), pace.next(Some(start))), (None, Some(start)));
        (0..1000).for_each(|n| pace.changed(start + ms(n)));
        assert_eq!(
            pace.next(None),
            Some(start + BURST),
            "the first change sets the time, the others do not move it"
        );
        pace.judged(start + BURST, start + BURST + ms(100));
        pace.changed(start + BURST + ms(101));
        let rested = start + BURST + ms(100 + 400);
        assert_eq!(pace.next(Some(start)), Some(rested), "four times as long as it took");
        pace.hurry(start + ms(200));
        assert_eq!(pace.next(None), Some(start + ms(200)), "a session waits, and the engine does not rest");
    }
}
