//! Judges the open step by a snapshot, and says what has to be asked to judge it better.

use super::given_answer;
use super::hints::{fitting, misses_nothing, render};
use super::{Engine, GROWS, Needs, Open, RENEW, STALE, earlier};
use crate::cel::facts::Wanted;
use crate::cel::{Facts, Probe};
use crate::debrief;
use crate::format::{Hint, Lost, Step};
use crate::judge;
use crate::observe::probe_answers::Question;
use crate::progress::Progress;
use crate::view::State;
use cel::Value;
use clock::Instant;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    /// Judges the open step, and says what is needed to judge it better. True if progress has to be
    /// saved.
    pub(crate) fn settle(&mut self) -> (Needs, bool) {
        let now = Instant::now();
        let mut needs = Needs::default();
        self.follow_calendar(clock::now(), now);
        let mut save = std::mem::take(&mut self.noted);
        let facts = self.facts();
        let state = self.state();
        let Some(open) = &mut self.open else { return (needs, save) };
        let lesson = open.lesson.clone();
        let Some(step) = lesson.steps.get(open.step) else { return (needs, save) };
        if state == State::Open {
            let asked = |probe: &Probe| self.observer.answers.asked(probe);
            let (wake, changed) = judge_open(open, step, &facts, &mut self.progress, asked, now);
            needs.wake = wake;
            save |= changed;
        }
        look_for_loss(step, state, &facts, open);
        let noted = self.progress.noted_step(&lesson.id, &step.id);
        let seen = noted.map_or(&[][..], |noted| &noted.hints);
        // A hint that cannot be rendered from what is known is not counted.
        let can_be_said = |hint: &&Hint| render(hint, &lesson, &facts).is_some();
        open.hints_left = match misses_nothing(step, &open.outcome, noted) {
            true => 0,
            false => fitting(step, seen, &facts).into_iter().filter(can_be_said).count(),
        };
        open.is_stuck &= state == State::Open && open.hints_left > 0;
        let lacks_hints = open.hints.len() < seen.len();
        if let Some(at) = open.done_at {
            let over = now.duration_since(at) >= GROWS;
            save |= self.tell_debrief(&facts);
            match (over, &mut self.open) {
                (true, Some(open)) => open.done_at = None,
                _ => needs.wake = earlier(needs.wake, Some(at + GROWS)),
            }
        }
        self.renew_hints(lacks_hints, &facts);
        let mut wanted = facts.take_wanted();
        // Asked for at once: later the store may have compacted the revision of the beginning.
        let before = (state == State::Open).then(|| step.kinds_before());
        wanted.before.extend(before.into_iter().flatten());
        self.see_to(wanted, now, &mut needs);
        let unproven = std::mem::take(&mut self.unproven);
        self.see_to(unproven, now, &mut needs);
        (needs, save)
    }

    /// Keeps the beginning of the open step from lying ahead: the calendar was set back since, and
    /// every line of a log would be older than the step. It goes back by as much as the calendar
    /// did, as far as that was seen.
    ///
    /// Example: a step is open since 12:00. At 12:10 the calendar is set back by an hour: it then
    /// began at 11:00, and a line of 11:10 is new.
    fn follow_calendar(&mut self, calendar: clock::Timestamp, kernel: Instant) {
        let seen = self.clocks.replace((calendar, kernel));
        let Some((open, step)) = self.current() else { return };
        let (lesson, step) = (open.lesson.id.clone(), step.id.clone());
        let noted = self.progress.noted_step(&lesson, &step);
        let Some(at) = noted.and_then(|noted| noted.at.parse::<clock::Timestamp>().ok()) else { return };
        if at <= calendar {
            return;
        }
        let expected = seen.map_or(calendar, |(was, at)| clock::after(was, kernel.duration_since(at)));
        let back = expected.as_millisecond().saturating_sub(calendar.as_millisecond()).max(0);
        let began = clock::before(at, Duration::from_millis(back.unsigned_abs())).min(calendar);
        self.progress.step(&lesson, &step).at = clock::rfc3339_nano(began);
        self.noted = true;
    }

    /// Renders the debrief in every language; keeps it if it says more than before.
    fn tell_debrief(&mut self, facts: &Arc<Facts>) -> bool {
        let Some((open, step)) = self.current() else { return false };
        let (lesson, mut step) = (open.lesson.clone(), step.clone());
        let is_unproved = self.unproved(&step).is_some();
        if let Some(predict) = step.predict.as_mut().filter(|_| is_unproved) {
            predict.because = None; // this cluster cannot show it
        }
        let predicted = self.progress.noted_step(&lesson.id, &step.id).and_then(|p| p.predicted.clone());
        let mut changed = false;
        for lang in &lesson.languages {
            let mut sentences = debrief::tell(&step, &self.library.beats, facts, predicted.as_deref(), lang);
            self.tell_answers(&lesson, &step, lang, &mut sentences);
            let kept = self.progress.step(&lesson.id, &step.id).debrief.entry(lang.clone()).or_default();
            if says_more(kept, &sentences) {
                *kept = sentences;
                changed = true;
            }
        }
        changed
    }

    /// Adds to `needs` what evaluations missed: kinds to watch, objects of the step's beginning,
    /// and questions to the network that are not out and whose answers are not young.
    pub(super) fn see_to(&mut self, wanted: Wanted, now: Instant, needs: &mut Needs) {
        needs.kinds.extend(wanted.kinds);
        for kind in wanted.before {
            self.ask_before(kind, now, needs);
        }
        for probe in wanted.probes.into_iter().chain(wanted.used) {
            match self.observer.answers.ask(&probe, RENEW, now) {
                Question::Out => {}
                Question::Answered(renew) => needs.wake = earlier(needs.wake, Some(renew)),
                Question::Put => needs.probes.push(probe),
            }
        }
        self.observer.answers.drop_old(STALE * 2, now);
    }
}

/// Judges the answer and the checks of a step that is not done yet, and notes what came of it.
/// Returns when to judge again if nothing happens, and whether progress has to be saved. `asked`:
/// when the network was asked for the answer to a question.
fn judge_open(
    open: &mut Open,
    step: &Step,
    facts: &Arc<Facts>,
    progress: &mut Progress,
    asked: impl Fn(&Probe) -> Option<Instant>,
    now: Instant,
) -> (Option<Instant>, bool) {
    let lesson = open.lesson.clone();
    let mut save = given_answer::confirm(step, &lesson.id, facts, &mut open.given, progress);
    let truths = judge::truths(&step.checks, facts, &open.memory);
    let asked = facts.oldest_used(asked); // behind the evaluation, which uses the answers
    open.outcome = judge::judge(&step.checks, step.hold, &truths, &mut open.memory, now);
    judge::tell_missing(&step.checks, facts, &mut open.outcome);
    open.outcome.green &= !is_single_look(step, asked, open.memory.since);
    let noted = progress.step(&lesson.id, &step.id);
    open.outcome.green &= step.answer.is_none() || noted.is_right;
    let proven = judge::noted(&step.checks, &truths, &open.memory);
    if noted.proven != proven {
        noted.proven = proven;
        save = true;
    }
    if open.outcome.green {
        noted.state = if noted.solve { State::Solved } else { State::Done };
        noted.done = true;
        noted.debrief.clear(); // it may be of an earlier time, before a jump
        open.done_at = Some(now);
        open.late = false;
        save = true;
    }
    let due = open.acted.map(|at| at + step.within);
    open.late |= due.is_some_and(|due| due <= now);
    let wake = earlier(open.outcome.wake, due.filter(|due| *due > now));
    let can_try = !noted.solve && (step.predict.is_none() || noted.predicted.is_some());
    // Until `within` is over, the learner's last command may still take effect.
    let settles = due.is_some_and(|due| due > now);
    open.is_stuck = can_try && open.tries.offers_hint(&open.outcome, step.hold, settles, now);
    (earlier(wake, open.tries.due().filter(|due| can_try && *due > now)), save)
}

/// True if the step needs one more answer of the network, to a question that is asked from now on.
/// One answer shows one moment. That something has held is shown by a second answer, to a question
/// that was asked after it became true. What was asked early may be from before the learner's last
/// act. `asked`: when the oldest answer was asked for. `since`: since when the step is as it has to
/// be.
fn is_single_look(step: &Step, asked: Option<Instant>, since: Option<Instant>) -> bool {
    let is_early = step.checks.iter().any(|check| check.is.expects_refusal());
    (is_early || !step.hold.is_zero()) && asked.zip(since).is_some_and(|(asked, since)| asked < since)
}

/// Notes whether the condition that has to stay true is lost, and whether the step can still
/// succeed.
fn look_for_loss(step: &Step, state: State, facts: &Arc<Facts>, open: &mut Open) {
    if let Some(keep) = &step.keep {
        // What cannot be evaluated yet is not lost.
        match keep.is.value(facts, &[]) {
            Ok(Value::Bool(kept)) => open.lost = !kept,
            Ok(_) => open.lost = true,
            Err(_) => {}
        }
    }
    let is_lost = |lost: &Lost| lost.when.truth(facts);
    match step.lost.as_ref().filter(|_| state == State::Open).map(is_lost) {
        Some(None) => {}
        truth => open.is_hopeless = truth == Some(Some(true)),
    }
}

/// True if a debrief replaces the one that is kept: it has as many sentences and others, e.g. with
/// a value that has come only now.
fn says_more(kept: &[String], now: &[String]) -> bool {
    now.len() >= kept.len() && now != kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::{Expr, Probe, Use, value};
    use crate::engine::tests::engine;

    /// Of `a | b` the second is shown as long as the hop of the first is on its way.
    #[test]
    fn a_debrief_keeps_its_first_choice_when_that_comes() {
        let lines = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert!(says_more(&[], &lines("b")) && says_more(&lines("b"), &lines("a")));
        assert!(says_more(&lines("a"), &lines("a c")));
        assert!(!says_more(&lines("a c"), &lines("a")), "what a restart forgot stays told");
        assert!(!says_more(&lines("a"), &lines("a")), "nothing to write down");
    }

    /// The step is done once more after `goto`, in a shorter way: what happened before the jump is
    /// not what has happened now.
    #[test]
    fn a_debrief_tells_of_the_last_time_that_the_step_was_done() {
        let mut engine = engine();
        let open = engine.open.as_mut().unwrap();
        let id = open.lesson.id.clone();
        let step = &mut Arc::make_mut(&mut open.lesson).steps[0];
        step.checks.truncate(1);
        step.checks[0].is = Expr::compile("typed.exists(t, t == 'done')", Use::Hint, &[]).unwrap();
        (step.hold, step.keep, step.predict, step.answer) = (Duration::ZERO, None, None, None);
        let before: Vec<String> = (1..10).map(|n| format!("before {n}")).collect();
        engine.progress.step(&id, "run").debrief = [("en".to_string(), before.clone())].into();
        let told = |engine: &Engine| {
            let noted = engine.progress.noted_step(&id, "run").unwrap();
            (noted.state, noted.debrief.get("en").cloned().unwrap_or_default())
        };
        engine.settle();
        assert_eq!(told(&engine), (State::Open, before));
        engine.typed("done".into());
        engine.settle();
        let (state, now) = told(&engine);
        assert!(state == State::Done && now.iter().all(|line| !line.contains("before")), "{now:?}");
    }

    /// A step that has to hold for a second: one look says nothing, and a question from before the
    /// step was green says nothing of the time after.
    #[tokio::test(start_paused = true)]
    async fn what_has_to_hold_is_looked_at_again() {
        let mut engine = engine();
        let open = engine.open.as_mut().unwrap();
        let step = &mut Arc::make_mut(&mut open.lesson).steps[0];
        let is = Expr::compile("logs('d/a') == 'x'", Use::Check, &[]).unwrap();
        step.checks.truncate(1);
        step.checks[0].is = is;
        (step.hold, step.keep) = (Duration::from_secs(1), None);
        let log = Probe::Logs { target: "d/a".into() };
        let answer = || value::text("2026-11-22T16:00:10Z x");
        let ms = |ms| tokio::time::advance(Duration::from_millis(ms));
        engine.settle();
        assert!(engine.observer.answers.is_asking(&log, Instant::now()), "it is asked");
        ms(10).await;
        engine.observer.answers.take(0, log.clone(), None, answer());
        engine.settle();
        ms(1_000).await;
        engine.settle(); // asks again: the answer is older than it may be
        let is_green = |engine: &Engine| engine.open.as_ref().unwrap().outcome.green;
        assert!(
            engine.observer.answers.is_asking(&log, Instant::now()) && !is_green(&engine),
            "a single look"
        );
        // The machine is slow, and the first answer counts until the second one is there.
        ms(3_000).await;
        engine.settle();
        assert!(!is_green(&engine));
        engine.observer.answers.take(0, log, None, answer());
        engine.settle();
        assert!(is_green(&engine), "two answers, the second to a question that was asked while it held");
    }

    /// The port was seen to refuse before the learner did the last thing that the step asks for.
    #[tokio::test(start_paused = true)]
    async fn a_refusal_from_before_the_last_act_makes_no_step_green() {
        let mut engine = engine();
        let open = engine.open.as_mut().unwrap();
        let step = &mut Arc::make_mut(&mut open.lesson).steps[0];
        let refused = "refused(http('http://127.0.0.1:31234'))";
        step.checks.truncate(1);
        step.checks[0].is = Expr::compile("size(typed) >= 0", Use::Hint, &[]).unwrap();
        step.checks.push(step.checks[0].clone());
        step.checks.push(step.checks[0].clone());
        step.checks[1].is = Expr::compile(refused, Use::Check, &[]).unwrap();
        step.checks[2].is = Expr::compile("typed.exists(t, t == 'done')", Use::Hint, &[]).unwrap();
        (step.hold, step.keep, step.predict, step.answer) = (Duration::ZERO, None, None, None);
        let (needs, _) = engine.settle();
        let probe = needs.probes.into_iter().find(|probe| matches!(probe, Probe::Http { .. }));
        let probe = probe.expect("it is asked although the line is missing");
        let answer = || value::map([("failure", value::text("refused"))]);
        engine.observer.answers.take(0, probe.clone(), None, answer());
        tokio::time::advance(Duration::from_millis(100)).await;
        engine.settle();
        let outcome = |engine: &Engine| engine.open.as_ref().unwrap().outcome.clone();
        assert_eq!(outcome(&engine).unmet, Some(2), "the port is known to refuse");
        engine.typed("done".into());
        engine.settle();
        assert!(!outcome(&engine).green, "asked before");
        tokio::time::advance(Duration::from_secs(1)).await;
        engine.settle();
        engine.observer.answers.take(0, probe, None, answer());
        engine.settle();
        assert!(outcome(&engine).green);
    }

    /// A virtual machine has woken up, and its time is set by the network.
    #[test]
    fn a_calendar_that_is_set_back_makes_no_line_old() {
        let time = |text: &str| text.parse::<clock::Timestamp>().unwrap();
        let began = |seen: Option<(&str, u64)>, now: &str| {
            let mut engine = engine();
            let lesson = engine.open.as_ref().unwrap().lesson.id.clone();
            engine.progress.step(&lesson, "run").at = "2026-11-22T12:00:00.000000000Z".into();
            let kernel = Instant::now();
            if let Some((seen, _)) = seen {
                engine.follow_calendar(time(seen), kernel);
            }
            let later = Duration::from_secs(seen.map_or(0, |(_, later)| later));
            engine.follow_calendar(time(now), kernel + later);
            let log = "2026-11-22T11:10:30Z new line\n";
            engine.observer.answers.take(0, Probe::Logs { target: "d/web".into() }, None, value::text(log));
            let is_new = Expr::compile("new_logs('d/web').contains('new')", Use::Check, &[]).unwrap();
            let noted = engine.progress.step(&lesson, "run").at.clone();
            (time(&noted), engine.noted, is_new.holds(&engine.facts()))
        };
        let set_back = began(Some(("2026-11-22T12:10:00Z", 60)), "2026-11-22T11:11:00Z");
        assert_eq!(set_back, (time("2026-11-22T11:00:00Z"), true, true));
        let by_another_process = began(None, "2026-11-22T11:10:00Z");
        assert_eq!(by_another_process, (time("2026-11-22T11:10:00Z"), true, true));
        let untouched = began(Some(("2026-11-22T12:10:00Z", 60)), "2026-11-22T12:11:00Z");
        assert_eq!(untouched, (time("2026-11-22T12:00:00Z"), false, false));
        let still_after = began(Some(("2026-11-22T12:10:00Z", 60)), "2026-11-22T12:05:00Z");
        assert_eq!(still_after.0, time("2026-11-22T12:00:00Z"), "lines are still newer than the step");
    }
}
