//! When a learner who has not asked is offered a hint: after some commands, or some minutes, in
//! which no further check of the step has become true. The offer only says that there is a hint;
//! the learner decides whether to read it.

use crate::judge::Outcome;
use crate::view::Verdict;
use clock::Instant;
use std::time::Duration;

/// Commands without success. A careful look around takes fewer.
const LINES: u32 = 5;
/// Time without success. A step is planned for two or three minutes and the time that its checks
/// have to hold.
const TIME: Duration = Duration::from_secs(240);

/// What was tried since the last success. A success is a check that becomes true for the first
/// time.
#[derive(Default)]
pub(crate) struct Tries {
    lines: u32,
    since: Option<Instant>,
    /// Which checks have ever been true. A check that is lost and becomes true again is no further
    /// success.
    met: Vec<bool>,
    /// Once all checks have been true, how long the step has to stay so. During that time no
    /// further check can become true, and that is no failure.
    hold: Duration,
    /// All checks are true now, and at this time they will have held for long enough.
    held_at: Option<Instant>,
    /// The offer was made. It stays, so that it is not made again after each command.
    offered: bool,
}

impl Tries {
    /// Counts a command that has ended.
    pub(crate) fn count_command(&mut self) {
        self.lines = self.lines.saturating_add(1);
    }

    /// Starts the count anew: after a success, or when the learner has read a hint and has to try
    /// it first.
    pub(crate) fn start_anew(&mut self, now: Instant) {
        (self.lines, self.since, self.offered) = (0, Some(now), false);
    }

    /// Notes which checks are true, and starts the count anew if that is a success.
    fn note_checks(&mut self, verdicts: &[Verdict], now: Instant) {
        self.met.resize(verdicts.len(), false);
        let mut better = false;
        for (met, verdict) in self.met.iter_mut().zip(verdicts) {
            better |= *verdict != Verdict::Unmet && !*met;
            *met |= *verdict != Verdict::Unmet;
        }
        if better {
            self.start_anew(now);
        }
        self.since.get_or_insert(now);
    }

    /// Notes how the checks stand, which have to be true for `hold`. Returns whether to offer a
    /// hint. While the last command may still take effect (`settles`), no new offer is made.
    pub(crate) fn offers_hint(
        &mut self,
        outcome: &Outcome,
        hold: Duration,
        settles: bool,
        now: Instant,
    ) -> bool {
        self.note_checks(&outcome.verdicts, now);
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

    /// Returns when the time without success will be over.
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
    fn a_learner_without_success_is_stuck_until_a_check_becomes_true() {
        let (now, mut tries) = (Instant::now(), Tries::default());
        tries.note_checks(&[Met, Unmet, Unmet], now);
        (1..LINES).for_each(|_| tries.count_command());
        assert!(!tries.is_stuck(now));
        tries.note_checks(&[Unmet, Holding, Unmet], now);
        tries.count_command();
        assert!(!tries.is_stuck(now), "another check was met in between");
        (1..LINES).for_each(|_| tries.count_command());
        tries.note_checks(&[Met, Unmet, Unmet], now);
        tries.note_checks(&[Met, Met, Unmet], now);
        assert!(tries.is_stuck(now), "a check that is lost and comes back is no success");
        tries.start_anew(now);
        assert!(!tries.is_stuck(now));
    }

    #[test]
    fn an_offer_stays_until_a_check_becomes_true_or_a_hint_is_read() {
        let (now, mut tries) = (Instant::now(), Tries::default());
        let seen = |verdicts: [Verdict; 2]| Outcome { verdicts: verdicts.into(), ..Outcome::default() };
        let (none, first) = (seen([Unmet, Unmet]), seen([Met, Unmet]));
        let offers = |tries: &mut Tries, outcome: &Outcome, settles| {
            tries.offers_hint(outcome, Duration::ZERO, settles, now)
        };
        (0..LINES).for_each(|_| tries.count_command());
        assert!(!offers(&mut tries, &none, true), "the last command may still help");
        assert!(offers(&mut tries, &none, false));
        tries.count_command();
        assert!(offers(&mut tries, &none, true), "else it would be made again after each command");
        assert!(!offers(&mut tries, &first, false));
        (0..LINES).for_each(|_| tries.count_command());
        assert!(offers(&mut tries, &first, false));
        tries.start_anew(now);
        assert!(!offers(&mut tries, &first, false));
    }

    #[test]
    fn a_learner_who_does_nothing_is_stuck_after_some_minutes() {
        let (now, mut tries) = (Instant::now(), Tries::default());
        assert_eq!((tries.is_stuck(now), tries.due()), (false, None), "the checks were not looked at yet");
        tries.note_checks(&[], now);
        tries.note_checks(&[], now + TIME / 2);
        assert!(!tries.is_stuck(now + TIME - Duration::from_secs(1)) && tries.is_stuck(now + TIME));
        assert_eq!(tries.due(), Some(now + TIME));
    }

    /// All of a step is true after a minute, and has to stay so for longer than a try may take.
    #[test]
    fn a_learner_who_waits_for_a_step_to_hold_is_not_stuck() {
        let (begin, mut tries, hold) = (Instant::now(), Tries::default(), TIME * 2);
        let minute = Duration::from_secs(60);
        let open = Outcome { verdicts: vec![Unmet, Met], unmet: Some(0), ..Outcome::default() };
        assert!(!tries.offers_hint(&open, hold, false, begin));
        assert_eq!(tries.due(), Some(begin + TIME), "a step that has not been true gets no more time");
        let all = begin + minute;
        let holding =
            |until| Outcome { verdicts: vec![Holding, Holding], wake: Some(until), ..Outcome::default() };
        assert!(!tries.offers_hint(&holding(all + hold), hold, false, all));
        (0..LINES).for_each(|_| tries.count_command());
        let last = all + hold - Duration::from_secs(1);
        assert!(
            !tries.offers_hint(&holding(all + hold), hold, false, last),
            "commands while the step holds are no tries"
        );
        assert_eq!(tries.due(), Some(all + hold + TIME));
        // One of them is lost, comes back late, and has to hold anew.
        let again = all + hold + TIME - minute;
        assert!(!tries.offers_hint(&holding(again + hold), hold, false, again));
        assert_eq!(tries.due(), Some(again + hold));
        assert!(tries.offers_hint(&open, hold, false, again + minute), "it was lost once more");
    }
}
