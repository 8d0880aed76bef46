//! Estimates how long plays take, so that the longest begin first: one that begins last is waited
//! for alone, while the processors are idle.
//!
//! Most of the time of a play is waited. What waits stands in the lesson or lab (lines that sleep,
//! checks that hold, the time for which a wrong answer is watched), and is counted. The rest is the
//! same for each play, and estimated.

use super::case::{Case, Kind};
use lab::format::Step;
use std::time::Duration;

/// How long lines take beside what they wait for: a REPL starts, and pods do.
const LINES: Duration = Duration::from_secs(2);
/// How long a step takes to begin anew after a case: its objects and pods are put back.
const ANEW: Duration = Duration::from_secs(3);
/// How long a cluster takes to start and to end.
const CLUSTER: Duration = Duration::from_secs(5);
/// A line that sleeps for longer is not waited for: it starts a program that is to be found
/// running, in the background or in a container.
const SLEEP_MAX: u64 = 120;

/// Returns roughly how long these cases are played, one after the other on one cluster.
pub(super) fn of_cases(cases: &[Case]) -> Duration {
    let is_alone = cases.len() == 1;
    CLUSTER + cases.iter().map(|case| of_case(case, is_alone)).sum::<Duration>()
}

/// Returns roughly how long a case is played. If it `is_alone` on its cluster, the steps before its
/// own have to be solved first.
fn of_case(case: &Case, is_alone: bool) -> Duration {
    let steps = &case.lesson.steps;
    let solved = |step: &Step| LINES + waits(&step.solution) + step.hold;
    match case.kind {
        Kind::Solution => steps.iter().map(|step| step.settle + solved(step)).sum(),
        Kind::Prose => steps.iter().map(|step| LINES + solved(step)).sum(),
        Kind::Wrong { step, .. } | Kind::Also { step, .. } => {
            let way: Duration = if is_alone { steps[..step].iter().map(solved).sum() } else { ANEW };
            let is_wrong = matches!(case.kind, Kind::Wrong { .. });
            let judged = if is_wrong { steps[step].settle } else { steps[step].hold };
            way + LINES + waits(case.lines()) + judged
        }
    }
}

/// Returns how long lines wait by what they say: `sleep 20`, and in a line that may fail (after a
/// `-`) `--timeout=20s`, since it is there to fail.
pub(super) fn waits(lines: &[String]) -> Duration {
    let is_edge = |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.';
    let seconds = lines.iter().map(|line| {
        let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(is_edge)).collect();
        let slept = words.windows(2).filter(|pair| pair[0] == "sleep").map(|pair| pair[1]);
        let slept = slept.filter_map(seconds_of).filter(|seconds| *seconds <= SLEEP_MAX);
        let limits = words.iter().filter(|_| line.starts_with('-'));
        let limits = limits.filter_map(|word| word.strip_prefix("--timeout=")?.strip_suffix('s'));
        slept.chain(limits.filter_map(seconds_of)).sum::<u64>()
    });
    Duration::from_secs(seconds.sum())
}

fn seconds_of(text: &str) -> Option<u64> {
    text.parse::<u16>().ok().map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::format::{Lesson, Library};
    use std::path::Path;
    use std::sync::Arc;

    fn lesson() -> Lesson {
        Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/fixtures")).lessons[0].clone()
    }

    #[test]
    fn what_lines_wait_for_is_read_from_them() {
        let waits = |line: &str| super::waits(&[line.to_string()]).as_secs();
        assert_eq!(waits("sleep 100"), 100);
        assert_eq!(waits("kubectl exec guests -- sh -c 'sleep 18; until [ -e /x ]; do sleep 0.3; done'"), 18);
        assert_eq!(waits("-kubectl rollout status deploy/web --timeout=20s"), 20);
        assert_eq!(waits("kubectl rollout status deploy/web --timeout=20s"), 0, "it ends when it has come");
        assert_eq!(waits("kubectl run tester --image=busybox -- sleep infinity"), 0);
        assert_eq!(waits("sleep 900 &"), 0, "it is there to be found");
    }

    #[test]
    fn a_few_cases_that_wait_are_longer_than_many_that_do_not() {
        let (quick, mut slow) = (Arc::new(lesson()), lesson());
        slow.steps[0].wrong[0].lines = vec!["sleep 100".into()];
        let slow = Arc::new(slow);
        let cases = |lesson: &Arc<Lesson>, count: usize| {
            let all = (0..count).map(|at| Kind::Wrong { step: 0, at });
            of_cases(&all.map(|kind| Case { lesson: lesson.clone(), kind }).collect::<Vec<_>>())
        };
        assert!(cases(&quick, 4) > cases(&quick, 2));
        assert!(cases(&slow, 2) > cases(&quick, 4));
    }

    /// Only a case with a cluster of its own has to solve the steps before its own.
    #[test]
    fn a_case_alone_is_as_long_as_the_way_to_its_step() {
        let mut lesson = lesson();
        lesson.steps[0].solution = vec!["sleep 50".into()];
        let lesson = Arc::new(lesson);
        let case = |step| Case { lesson: lesson.clone(), kind: Kind::Wrong { step, at: 0 } };
        assert!(of_case(&case(2), true) > of_case(&case(0), true) + Duration::from_secs(50));
        assert!(of_case(&case(2), false) < Duration::from_secs(50));
        let solution = Case { lesson: lesson.clone(), kind: Kind::Solution };
        assert!(of_case(&solution, true) > of_case(&case(2), true));
    }
}
