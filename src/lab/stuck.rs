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
    /// Checks that were true at some time: what comes and goes is no success each time.
    met: Vec<bool>,
    /// The offer was made: it stays, and is not made again with each command.
    offered: bool,
}

impl Tries {
    /// A command has ended.
    pub(crate) fn tried(&mut self) {
        self.lines = self.lines.saturating_add(1);
    }

    /// A hint was read: what it says has to be tried first.
    pub(crate) fn helped(&mut self, now: Instant) {
        (self.lines, self.since, self.offered) = (0, Some(now), false);
    }

    /// One that is true for the first time is a success.
    fn look(&mut self, verdicts: &[Verdict], now: Instant) {
        self.met.resize(verdicts.len(), false);
        let mut better = false;
        for (met, verdict) in self.met.iter_mut().zip(verdicts) {
            better |= *verdict != Verdict::Unmet && !*met;
            *met |= *verdict != Verdict::Unmet;
        }
        if better {
            self.helped(now);
        }
        self.since.get_or_insert(now);
    }

    /// Looks at the checks, and says whether the learner is stuck. While what the last command set
    /// going `settles`, nobody is found to be.
    pub(crate) fn watch(&mut self, verdicts: &[Verdict], settles: bool, now: Instant) -> bool {
        self.look(verdicts, now);
        self.offered |= self.is_stuck(now) && !settles;
        self.offered
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
    use super::Verdict::{Holding, Met, Unmet};
    use super::*;

    #[test]
    fn who_tries_in_vain_is_stuck_until_something_goes_well() {
        let (now, mut tries) = (Instant::now(), Tries::default());
        tries.look(&[Met, Unmet, Unmet], now);
        (1..LINES).for_each(|_| tries.tried());
        assert!(!tries.is_stuck(now));
        tries.look(&[Unmet, Holding, Unmet], now);
        tries.tried();
        assert!(!tries.is_stuck(now), "another check was met in between");
        (1..LINES).for_each(|_| tries.tried());
        tries.look(&[Met, Unmet, Unmet], now);
        tries.look(&[Met, Met, Unmet], now);
        assert!(tries.is_stuck(now), "what was lost and comes back is no success");
        tries.helped(now);
        assert!(!tries.is_stuck(now));
    }

    #[test]
    fn an_offer_stays_until_something_goes_well_or_a_hint_is_read() {
        let (now, mut tries) = (Instant::now(), Tries::default());
        let none = [Unmet, Unmet];
        (0..LINES).for_each(|_| tries.tried());
        assert!(!tries.watch(&none, true, now), "the last command may still help");
        assert!(tries.watch(&none, false, now));
        tries.tried();
        assert!(tries.watch(&none, true, now), "else it would be made again after each command");
        assert!(!tries.watch(&[Met, Unmet], false, now));
        (0..LINES).for_each(|_| tries.tried());
        assert!(tries.watch(&[Met, Unmet], false, now));
        tries.helped(now);
        assert!(!tries.watch(&[Met, Unmet], false, now));
    }

    #[test]
    fn who_does_nothing_is_stuck_after_some_minutes() {
        let (now, mut tries) = (Instant::now(), Tries::default());
        assert_eq!((tries.is_stuck(now), tries.due()), (false, None), "nobody has looked yet");
        tries.look(&[], now);
        tries.look(&[], now + TIME / 2);
        assert!(!tries.is_stuck(now + TIME - Duration::from_secs(1)) && tries.is_stuck(now + TIME));
        assert_eq!(tries.due(), Some(now + TIME));
    }
}
