//! When a learner is offered a hint unasked: after some commands, or some minutes, in which nothing
//! more of the step has become true. Offered is only that there is a hint; reading it stays the
//! learner's decision.

use super::view::Verdict;
use clock::Instant;
use std::time::Duration;

/// Commands without success. Fewer are what a careful look around takes.
const LINES: u32 = 5;
/// Time without success. A step is planned for two or three minutes.
const TIME: Duration = Duration::from_secs(240);

/// What was tried since something last went well.
#[derive(Default)]
pub(crate) struct Tries {
    lines: u32,
    since: Option<Instant>,
    /// The most checks that were true at once: what comes and goes is no success each time.
    most: usize,
}

impl Tries {
    /// A command has ended.
    pub(crate) fn tried(&mut self) {
        self.lines = self.lines.saturating_add(1);
    }

    /// A hint was read: what it says has to be tried first.
    pub(crate) fn helped(&mut self, now: Instant) {
        (self.lines, self.since) = (0, Some(now));
    }

    /// So many checks are true now. More than ever before is a success.
    fn look(&mut self, met: usize, now: Instant) {
        if met > self.most {
            self.most = met;
            self.helped(now);
        }
        self.since.get_or_insert(now);
    }

    /// Looks at the checks, and says whether the learner is stuck.
    pub(crate) fn watch(&mut self, verdicts: &[Verdict], now: Instant) -> bool {
        self.look(verdicts.iter().filter(|verdict| **verdict != Verdict::Unmet).count(), now);
        self.is_stuck(now)
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.lines >= LINES || self.due().is_some_and(|due| due <= now)
    }

    /// When the time will be over.
    pub(crate) fn due(&self) -> Option<Instant> {
        Some(self.since? + TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tries_in_vain_is_stuck_until_something_goes_well() {
        let (now, mut tries) = (Instant::now(), Tries::default());
        tries.look(1, now);
        (1..LINES).for_each(|_| tries.tried());
        assert!(!tries.is_stuck(now));
        tries.look(2, now);
        tries.tried();
        assert!(!tries.is_stuck(now), "one more check was met in between");
        (1..LINES).for_each(|_| tries.tried());
        tries.look(1, now);
        tries.look(2, now);
        assert!(tries.is_stuck(now), "what was lost and comes back is no success");
        tries.helped(now);
        assert!(!tries.is_stuck(now));
    }

    #[test]
    fn who_does_nothing_is_stuck_after_some_minutes() {
        let (now, mut tries) = (Instant::now(), Tries::default());
        assert_eq!((tries.is_stuck(now), tries.due()), (false, None), "nobody has looked yet");
        tries.look(0, now);
        tries.look(0, now + TIME / 2);
        assert!(!tries.is_stuck(now + TIME - Duration::from_secs(1)) && tries.is_stuck(now + TIME));
        assert_eq!(tries.due(), Some(now + TIME));
    }
}
