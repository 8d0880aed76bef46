//! Is the step done? Pure: what is true now, and what was noted before, make a verdict.

use super::cel::Facts;
use super::cel::facts::{self, Objects};
use super::format::Check;
use super::view::Verdict;
use clock::Instant;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What has to be remembered between two judgements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Checks of what has happened, by position: once true, true.
    pub held: Vec<bool>,
    /// Checks of what has happened that a later act could make untrue, and that were true when an
    /// earlier sitting ended. What they were true of, lines and records, ended with it.
    pub kept: Vec<bool>,
    /// Since when everything that has to be true at the same time has been.
    pub since: Option<Instant>,
}

/// How the step stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub verdicts: Vec<Verdict>,
    pub green: bool,
    /// The first check that is known not to be met. One that needs the network is asked last, so it
    /// is mostly known only when all others are met; see [`first_missing`].
    pub unmet: Option<usize>,
    /// Checks of the network that were not asked yet; see [`count_unasked`].
    pub unasked: usize,
    /// When it turns green if nothing changes.
    pub wake: Option<Instant>,
}

impl Outcome {
    /// How much longer everything has to stay as it is, if all checks are met and the step is not
    /// green yet; zero if only another look is missing. `None`: a check is not met, or none was
    /// judged.
    pub(crate) fn holds_for(&self, now: Instant) -> Option<Duration> {
        let is_met = |verdict: &Verdict| *verdict != Verdict::Unmet;
        let is_all_met = !self.verdicts.is_empty() && self.verdicts.iter().all(is_met);
        let left = self.wake.map_or(Duration::ZERO, |wake| wake.saturating_duration_since(now));
        (is_all_met && !self.green).then_some(left)
    }
}

/// What a sitting notes for a later one: the expressions of checks of what has happened that are
/// true. Those of the present are judged anew.
///
/// Example: a step asks to list pods without `-n`. That is read from the lines that were run, and
/// the next process knows none of them.
pub(crate) fn noted(checks: &[Check], truths: &[bool], memory: &Memory) -> BTreeSet<String> {
    let is_met = |at: usize, check: &Check| match check.is.is_level() {
        true => check.is.is_about_the_past() && truths.get(at).copied().unwrap_or_default(),
        false => memory.held.get(at).copied().unwrap_or_default(),
    };
    let met = checks.iter().enumerate().filter(|(at, check)| is_met(*at, check));
    met.map(|(_, check)| check.is.source.clone()).collect()
}

/// What an earlier sitting noted, as far as it can be of these checks: a lesson may have been
/// rewritten since. A check is known by its expression, wherever it stands now.
pub(crate) fn recalled(noted: &BTreeSet<String>, checks: &[Check]) -> Memory {
    let of = |wanted: &dyn Fn(&Check) -> bool| -> Vec<bool> {
        checks.iter().map(|check| noted.contains(&check.is.source) && wanted(check)).collect()
    };
    // One that is true of nothing forbids an act: it is true again, until the act is done.
    let is_shown = |check: &Check| check.is.is_about_the_past() && !check.is.holds(&nothing_of(check));
    Memory {
        held: of(&|check| !check.is.is_level()),
        kept: of(&|check| check.is.is_level() && is_shown(check)),
        since: None,
    }
}

/// Facts of a cluster in which nothing of what a check looks at is there, or ever was.
fn nothing_of(check: &Check) -> Arc<Facts> {
    let kinds = check.is.kinds.iter().filter_map(|kind| facts::kind(kind));
    let objects = kinds.map(|kind| (kind.qualified(), Objects::default())).collect();
    Arc::new(Facts { objects, ..Facts::default() })
}

/// Which checks are true by these facts, in order. Those that need the network are asked only when
/// the others are met: a request leaves a line in a pod's log, where a learner may look. One that
/// expects a refusal leaves none, and is asked as soon as the checks before it are met.
///
/// Example: a step asks to delete a Service, that its port refuses, and to knock there. Once the
/// Service is deleted the port is asked, although the learner has not knocked yet.
pub(crate) fn truths(checks: &[Check], facts: &Arc<Facts>, memory: &Memory) -> Vec<bool> {
    let is_in = |list: &[bool], at: usize| list.get(at).copied().unwrap_or_default();
    let held = |at: usize| is_in(&memory.held, at) || is_in(&memory.kept, at);
    let mut truths: Vec<bool> = checks
        .iter()
        .enumerate()
        .map(|(at, c)| held(at) || (!c.is.is_probe() && c.is.holds(facts)))
        .collect();
    let others = others_are_met(checks, |at| truths[at]);
    for (at, check) in checks.iter().enumerate().filter(|(_, c)| c.is.is_probe()) {
        let is_early = is_asked_early(checks, at, |before| truths[before]);
        truths[at] = truths[at] || (others || is_early) && check.is.holds(facts);
    }
    truths
}

/// True if a check of the network is asked before all others are met: it expects a refusal, and
/// those before it are met.
fn is_asked_early(checks: &[Check], at: usize, met: impl Fn(usize) -> bool) -> bool {
    at > 0 && checks[at].is.expects_refusal() && (0..at).all(met)
}

/// Notes which of the checks that are not met is to be named, and how many were not asked yet.
pub(crate) fn tell_missing(checks: &[Check], facts: &Arc<Facts>, outcome: &mut Outcome) {
    let unasked = count_unasked(checks, facts, outcome);
    (outcome.unmet, outcome.unasked) = (first_missing(checks, facts, outcome), unasked);
}

/// The check to name as missing: the first that is known not to be met. One of the network that was
/// not asked yet is known if it asks for something of the cluster, too, and that is missing.
///
/// Example: the first check asks for a pod and what its page says, the second for a list of pods.
/// Without the pod the first one is named, and nothing is asked. With the pod the second one is.
fn first_missing(checks: &[Check], facts: &Arc<Facts>, outcome: &Outcome) -> Option<usize> {
    let unmet = outcome.unmet?;
    let is_unmet = |at: usize| outcome.verdicts.get(at) == Some(&Verdict::Unmet);
    let is_known = |at: &usize| is_unmet(*at) && checks[*at].is.is_false_unasked(facts);
    Some((0..unmet).find(is_known).unwrap_or(unmet))
}

/// Counts the checks that were not asked yet: those of the network wait until others are met. One
/// that also asks for something of the cluster which is missing is known not to be met.
///
/// Example: a step asks for a Service, and for what three requests to it are answered. Without the
/// Service nothing is asked, so three checks are neither met nor missing.
fn count_unasked(checks: &[Check], facts: &Arc<Facts>, outcome: &Outcome) -> usize {
    let is_met = |at: usize| outcome.verdicts.get(at).is_some_and(|verdict| *verdict != Verdict::Unmet);
    if others_are_met(checks, is_met) {
        return 0;
    }
    let waits = |at: &usize| {
        let is_asked = !checks[*at].is.is_probe() || is_asked_early(checks, *at, is_met);
        !is_met(*at) && !is_asked && !checks[*at].is.is_false_unasked(facts)
    };
    (0..checks.len()).filter(waits).count()
}

/// True if all checks that need nothing of the network are met.
fn others_are_met(checks: &[Check], met: impl Fn(usize) -> bool) -> bool {
    checks.iter().enumerate().all(|(at, check)| met(at) || check.is.is_probe())
}

/// Judges, and brings the memory up to date.
pub(crate) fn judge(
    checks: &[Check],
    hold: Duration,
    truths: &[bool],
    memory: &mut Memory,
    now: Instant,
) -> Outcome {
    memory.held.resize(checks.len(), false);
    for ((check, truth), held) in checks.iter().zip(truths).zip(&mut memory.held) {
        *held |= *truth && !check.is.is_level();
    }
    let level: Vec<bool> = checks.iter().map(|c| c.is.is_level()).collect();
    let met = |at: usize| if level[at] { truths[at] } else { memory.held[at] };
    // What was asked early counts from the moment at which the others are met, as everything that
    // is asked.
    let asks = checks.iter().any(|c| c.is.is_probe() && c.is.is_level());
    let together =
        (0..checks.len()).filter(|at| level[*at]).all(met) && (!asks || others_are_met(checks, met));
    let any_level = level.contains(&true);
    memory.since = if together && any_level { Some(memory.since.unwrap_or(now)) } else { None };
    let firm = !any_level || memory.since.is_some_and(|since| now.duration_since(since) >= hold);
    let missing = || (0..checks.len()).filter(|at| !met(*at));
    let is_asked = |at: &usize| !checks[*at].is.is_probe() || is_asked_early(checks, *at, met);
    let unmet = missing().find(is_asked).or_else(|| missing().next());
    let verdicts = (0..checks.len())
        .map(|at| match (met(at), level[at]) {
            (false, _) => Verdict::Unmet,
            (true, true) if !firm => Verdict::Holding,
            (true, _) => Verdict::Met,
        })
        .collect();
    let wake = if unmet.is_none() && !firm { memory.since.map(|since| since + hold) } else { None };
    Outcome { verdicts, green: unmet.is_none() && firm, unmet, wake, unasked: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::{Expr, Use};
    use crate::format::Text;

    const HOLD: Duration = Duration::from_secs(1);

    /// A check without words of its own.
    fn check(is: &str) -> Check {
        Check { that: Text::default(), is: Expr::compile(is, Use::Check, &[]).unwrap() }
    }

    /// One check of what is, one of what was.
    fn checks() -> Vec<Check> {
        vec![check("present('Pod','d','a')"), check("trace.exists(t, t.code == 409)")]
    }

    struct Play(Memory, Instant);
    impl Play {
        fn at(&mut self, ms: u64, truths: [bool; 2]) -> (bool, [Verdict; 2], bool) {
            let out = judge(&checks(), HOLD, &truths, &mut self.0, self.1 + Duration::from_millis(ms));
            (out.green, [out.verdicts[0], out.verdicts[1]], out.wake.is_some())
        }
    }
    fn play() -> Play {
        Play(Memory::default(), Instant::now())
    }

    #[test]
    fn what_is_true_now_has_to_stay_true_and_what_happened_has_happened() {
        use Verdict::{Holding, Met, Unmet};
        let mut play = play();
        assert_eq!(play.at(0, [false, true]), (false, [Unmet, Met], false));
        assert_eq!(play.at(100, [true, false]), (false, [Holding, Met], true)); // the refusal stays seen
        assert_eq!(play.at(1099, [true, false]), (false, [Holding, Met], true));
        assert_eq!(play.at(1100, [true, false]), (true, [Met, Met], false));
    }

    #[test]
    fn what_is_met_and_has_to_hold_says_for_how_long() {
        let (mut memory, began) = (Memory::default(), Instant::now());
        let mut at = |ms, truths: [bool; 2]| {
            let now = began + Duration::from_millis(ms);
            judge(&checks(), HOLD, &truths, &mut memory, now).holds_for(now)
        };
        assert_eq!(at(0, [false, true]), None, "one is missing");
        assert_eq!(at(100, [true, true]), Some(HOLD));
        assert_eq!(at(600, [true, true]), Some(HOLD / 2));
        assert_eq!(at(1100, [true, true]), None, "green");
        assert_eq!(Outcome::default().holds_for(began), None, "not judged yet");
    }

    #[test]
    fn what_was_noted_of_a_lesson_since_rewritten_is_noted_of_its_own_checks() {
        let [present, past] = ["present('Pod','d','a')", "trace.exists(t, t.code == 409)"];
        let held = |noted: &[&str], checks: &[Check]| {
            recalled(&noted.iter().map(ToString::to_string).collect(), checks).held
        };
        assert_eq!(held(&[past], &checks()), [false, true]);
        assert_eq!(held(&[present, past], &checks()), [false, true], "it is judged anew");
        assert_eq!(held(&[], &checks()), [false, false]);
        let moved = [check(past), check("trace.exists(t, t.code == 404)"), check(present)];
        assert_eq!(held(&[past], &moved), [true, false, false], "it stands elsewhere now");
        assert_eq!(held(&[past], &moved[1..]), [false, false], "it is gone");
    }

    /// The learner has listed pods without `-n` and leaves. The next process knows no line.
    #[test]
    fn what_a_line_has_shown_is_true_after_a_restart() {
        let lists = "trace.exists(t, t.verb == 'list') && !ran.exists(r, r.line.contains('-n '))";
        let checks = [check(lists), check("present('Pod','d','a')"), check("trace.exists(t, t.code == 409)")];
        assert!(checks[0].is.is_level(), "another line can make it untrue");
        let mut memory = Memory::default();
        judge(&checks, HOLD, &[true, true, false], &mut memory, Instant::now());
        let kept = noted(&checks, &[true, true, false], &memory);
        assert!(kept.iter().eq([lists]), "the pod is looked for anew: {kept:?}");
        let memory = recalled(&kept, &checks);
        assert_eq!(truths(&checks, &Arc::new(Facts::default()), &memory), [true, false, false]);
        let nothing = noted(&checks, &[false; 3], &Memory::default());
        assert!(nothing.is_empty(), "untrue again before that");
        for forbids in [
            "!trace.exists(t, t.verb == 'delete')",
            "history('Pod','d','a').all(h, h.verb != 'DELETED')",
            "!events('Pod','d','a').exists(e, e.reason == 'Killing')",
        ] {
            let kept = recalled(&[forbids.to_string()].into(), &[check(forbids)]).kept;
            assert_eq!(kept, [false], "the act may still be done: {forbids}");
        }
    }

    #[test]
    fn a_state_that_flaps_is_never_green() {
        let mut play = play();
        for n in 0..20 {
            assert!(!play.at(n * 900, [true, true]).0);
            assert!(!play.at(n * 900 + 450, [false, true]).0);
        }
    }

    /// A check of the network is not asked as long as another one is missing: it is not known
    /// whether it is met, and the learner would look for the cause in the wrong place.
    #[test]
    fn the_check_that_is_named_is_the_one_that_is_missing() {
        let checks = vec![
            check("present('Pod','d','a')"),
            check("http('http://localhost').status == 200"),
            check("trace.exists(t, t.code == 409)"),
        ];
        let judged =
            |truths: [bool; 3]| judge(&checks, HOLD, &truths, &mut Memory::default(), Instant::now());
        let out = judged([true, false, false]);
        assert_eq!(out.unmet, Some(2));
        assert_eq!(out.verdicts, [Verdict::Holding, Verdict::Unmet, Verdict::Unmet]);
        assert_eq!(judged([true, false, true]).unmet, Some(1), "asked now, and not so");
        assert_eq!(judged([true, true, true]).unmet, None);
    }

    /// A check of the network that also asks for an object is known to be missing without it.
    #[test]
    fn a_check_of_the_network_is_named_first_if_the_cluster_lacks_what_it_asks_for() {
        let asks = "since_step == 7 && http('http://localhost').status == 200";
        let checks = [check(asks), check("trace.exists(t, t.code == 409)")];
        let named = |since_step| {
            let facts = Arc::new(Facts { since_step, ..Facts::default() });
            let truths = truths(&checks, &facts, &Memory::default());
            let out = judge(&checks, HOLD, &truths, &mut Memory::default(), Instant::now());
            let named = first_missing(&checks, &facts, &out);
            (named, facts.take_wanted().probes.len())
        };
        assert_eq!(named(1), (Some(0), 0), "what it asks of the cluster is not so");
        assert_eq!(named(7), (Some(1), 0), "only the network can tell, and is not asked yet");
    }

    #[test]
    fn checks_that_were_not_asked_yet_are_counted() {
        let page = "http('http://localhost').status == 200";
        let checks = [
            check("since_step == 7"),
            check(page),
            check(&format!("since_step == 7 && {page}")),
            check("refused(http('http://127.0.0.1:31234'))"),
            check("trace.exists(t, t.code == 409)"),
        ];
        let counted = |checks: &[Check], since_step| {
            let facts = Arc::new(Facts { since_step, ..Facts::default() });
            let truths = truths(checks, &facts, &Memory::default());
            let out = judge(checks, HOLD, &truths, &mut Memory::default(), Instant::now());
            facts.take_wanted();
            (count_unasked(checks, &facts, &out), facts.take_wanted().probes.len())
        };
        assert_eq!(counted(&checks, 1), (2, 0), "the third one is known to be missing");
        assert_eq!(counted(&checks, 7), (3, 0));
        assert_eq!(counted(&checks[..3], 7), (0, 0), "all are asked now");
        assert_eq!(
            counted(&[checks[0].clone(), checks[3].clone(), checks[4].clone()], 7),
            (0, 0),
            "asked early"
        );
    }

    #[test]
    fn history_alone_needs_no_holding() {
        let only = vec![checks().remove(1)];
        let out = judge(&only, HOLD, &[true], &mut Memory::default(), Instant::now());
        assert!(out.green && out.wake.is_none());
        let out = judge(&only, HOLD, &[false], &mut Memory::default(), Instant::now());
        assert_eq!((out.green, out.unmet), (false, Some(0)));
    }

    #[test]
    fn the_network_is_asked_last() {
        let checks = vec![check("http('http://localhost').status == 200"), check("since_step == 7")];
        let facts = |since_step| Arc::new(Facts { since_step, ..Facts::default() });
        let (no, yes) = (facts(1), facts(7));
        assert_eq!(truths(&checks, &no, &Memory::default()), [false, false]);
        assert!(no.take_wanted().probes.is_empty());
        assert_eq!(truths(&checks, &yes, &Memory::default()), [false, true]);
        assert_eq!(yes.take_wanted().probes.len(), 1);
    }

    /// The learner has closed the port and sees it refuse, but has not knocked as the step asks.
    #[test]
    fn a_refusal_is_asked_for_once_the_checks_before_it_are_met() {
        let knocked = check("ran.exists(r, r.line == 'curl localhost:31234')");
        let asked = |port: &str, since_step| {
            let checks = [check("since_step == 7"), check(port), knocked.clone()];
            let facts = Arc::new(Facts { since_step, ..Facts::default() });
            truths(&checks, &facts, &Memory::default());
            facts.take_wanted().probes.len()
        };
        let closed = "refused(http('http://127.0.0.1:31234'))";
        assert_eq!([asked(closed, 1), asked(closed, 7)], [0, 1], "the Service is deleted");
        let open = "http('http://127.0.0.1:31234').status == 200";
        assert_eq!(asked(open, 7), 0, "a request that is answered stands in the pod's log");
        // What is known of the port makes nothing green before the knock, and holds from then on.
        let checks = [check("since_step == 7"), check(closed), knocked.clone()];
        let (mut memory, now) = (Memory::default(), Instant::now());
        let out = judge(&checks, HOLD, &[true, true, false], &mut memory, now);
        assert_eq!((out.verdicts[1], out.unmet, memory.since), (Verdict::Holding, Some(2), None));
        let open = judge(&checks, HOLD, &[true, false, false], &mut Memory::default(), now);
        assert_eq!(open.unmet, Some(1), "the port is asked, and stands before the knock");
        let unasked = judge(&checks, HOLD, &[false; 3], &mut Memory::default(), now);
        assert_eq!(unasked.unmet, Some(0));
        judge(&checks, HOLD, &[true, true, true], &mut memory, now + HOLD);
        assert_eq!(memory.since, Some(now + HOLD));
    }
}
