//! When a learner is offered a hint unasked: after some commands, or some minutes, in which nothing
//! more of the step has become true. Offered is only that there is a hint; reading it stays the
//! learner's decision.

use super::judge::Outcome;
use super::view::Verdict;
use clock::Instant;
use std::time::Duration;

/// Commands without success. Fewer are what a careful look around takes.
const LINES: u32 = 5;
/// Time without success. A step is planned for two or three minutes, and for what it has to hold.
const TIME: Duration = Duration::from_secs(240);

/// What was tried since something last went well.
#[derive(Default)]
pub(crate) struct Tries {
    lines: u32,
    since: Option<Instant>,
    /// Checks that were true at some time: what comes and goes is no success each time.
    met: Vec<bool>,
    /// How long the step has to stay true, once all of it has been: as long nothing more can become
    /// true, and that is no failure.
    hold: Duration,
    /// All of it is true, and at this time it will have been so for long enough.
    held_at: Option<Instant>,
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

    /// Looks at the checks, which have to be true for `hold`, and says whether the learner is
    /// stuck. While what the last command set going `settles`, nobody is found to be.
    pub(crate) fn watch(&mut self, outcome: &Outcome, hold: Duration, settles: bool, now: Instant) -> bool {
        self.look(&outcome.verdicts, now);
        let was_whole = self.met.iter().all(|met| *met);
        self.hold = if was_whole { hold } else { Duration::ZERO };
        self.held_at = outcome.wake;
        self.offered |= self.is_stuck(now) && !settles;
        self.offered
    }

    fn is_stuck(&self, now: Instant) -> bool {
        let holds = self.held_at.is_some_and(|at| now < at);
        !holds && (self.lines >= LINES || self.due().is_some_and(|due| due <= now))
    }

    /// When the time will be over.
    ///
    /// Example: a step has to stay true for 5 minutes. Until all of it has been true, 4 minutes
    /// without success are too many; from then on, 9.
    pub(crate) fn due(&self) -> Option<Instant> {
        let due = self.since? + TIME + self.hold;
        Some(self.held_at.map_or(due, |at| due.max(at)))
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
        let seen = |verdicts: [Verdict; 2]| Outcome { verdicts: verdicts.into(), ..Outcome::default() };
        let (none, first) = (seen([Unmet, Unmet]), seen([Met, Unmet]));
        let watch = |tries: &mut Tries, outcome: &Outcome, settles| {
            tries.watch(outcome, Duration::ZERO, settles, now)
        };
        (0..LINES).for_each(|_| tries.tried());
        assert!(!watch(&mut tries, &none, true), "the last command may still help");
        assert!(watch(&mut tries, &none, false));
        tries.tried();
        assert!(watch(&mut tries, &none, true), "else it would be made again after each command");
        assert!(!watch(&mut tries, &first, false));
        (0..LINES).for_each(|_| tries.tried());
        assert!(watch(&mut tries, &first, false));
        tries.helped(now);
        assert!(!watch(&mut tries, &first, false));
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

    /// All of a step is true after a minute, and has to stay so for longer than a try may take.
    #[test]
    fn who_only_has_to_wait_until_it_has_held_is_not_stuck() {
        let (begin, mut tries, hold) = (Instant::now(), Tries::default(), TIME * 2);
        let minute = Duration::from_secs(60);
        let open = Outcome { verdicts: vec![Unmet, Met], unmet: Some(0), ..Outcome::default() };
        assert!(!tries.watch(&open, hold, false, begin));
        assert_eq!(tries.due(), Some(begin + TIME), "what has not been true yet gets no more time");
        let all = begin + minute;
        let holding =
            |until| Outcome { verdicts: vec![Holding, Holding], wake: Some(until), ..Outcome::default() };
        assert!(!tries.watch(&holding(all + hold), hold, false, all));
        (0..LINES).for_each(|_| tries.tried());
        let last = all + hold - Duration::from_secs(1);
        assert!(!tries.watch(&holding(all + hold), hold, false, last), "looks at what holds are no tries");
        assert_eq!(tries.due(), Some(all + hold + TIME));
        // One of them is lost, comes back late, and has to hold anew.
        let again = all + hold + TIME - minute;
        assert!(!tries.watch(&holding(again + hold), hold, false, again));
        assert_eq!(tries.due(), Some(again + hold));
        assert!(tries.watch(&open, hold, false, again + minute), "it was lost once more");
    }
}
