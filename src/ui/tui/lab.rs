//! The open lab: the engine's last view of it, and the time since.

use super::scroll::Scroll;
use ::lab::graded::score::Found;
use ::lab::graded::view::{Entry, LabView, Work};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Little time is left: so many seconds, or a tenth of the lab's time if that is more.
const LITTLE: i64 = 60;
/// After a grade the engine looks at all tasks again within 5 s. Pods that the probe replaced may
/// take longer; what is graded green then turns green again.
const SETTLE: Duration = Duration::from_secs(7);

/// What is known of labs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lab {
    /// The engine's last view, which is empty if no lab is open. `None`: none has come yet.
    pub view: Option<LabView>,
    /// When it came, on the interface's clock.
    pub heard: Duration,
    /// When the engine began its present work on the lab, e.g. a start or a grade.
    pub at_work: Duration,
    pub list: Vec<Entry>,
    pub scroll: Scroll,
    /// The last question's refusal, until the next answer.
    pub refused: Option<String>,
    /// How the tasks stood when the last grade came.
    at_grade: Vec<Option<bool>>,
    /// When that was, on the interface's clock.
    graded: Duration,
}

/// How the time of a lab stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// So many seconds are left.
    Runs(i64),
    /// So many seconds are left, and they are few.
    Little(i64),
    Over,
    /// All points are reached; so many seconds were needed for them.
    Solved(i64),
    /// The solution was shown: time does not matter any more.
    Idle,
}

impl Lab {
    /// Returns the open lab.
    pub(crate) fn open(&self) -> Option<&LabView> {
        self.view.as_ref().filter(|view| !view.id.is_empty())
    }

    /// True while the open lab asks for a cause: no grade has passed it, and the solution was not
    /// given away. The map and the time view then show how things stand, and neither a fault that
    /// the cluster does not report nor a quota or its refusal, because that is the answer.
    pub(crate) fn asks_cause(&self) -> bool {
        let passed = |view: &LabView| view.grade.as_ref().is_some_and(|grade| grade.record["passed"] == true);
        self.open().is_some_and(|view| !view.over && view.given_up.is_none() && !passed(view))
    }

    /// Returns how the time stands of a lab that is set up. `None`: none is.
    pub(crate) fn time(&self, now: Duration) -> Option<Time> {
        let view = self.open().filter(|view| view.work != Work::Starting)?;
        let passed = now.saturating_sub(self.heard).as_secs() as i64;
        let left = view.left_s - passed;
        let little = LITTLE.max(i64::from(view.minutes) * 60 / 10);
        if let Some(needed) = view.solved_s() {
            return Some(Time::Solved(needed));
        }
        Some(match left {
            _ if view.over => Time::Idle,
            ..=0 => Time::Over,
            left if left <= little => Time::Little(left),
            left => Time::Runs(left),
        })
    }

    /// True if the open lab was not passed and a task has changed since its grade: what the grade
    /// says of the tasks is of before.
    ///
    /// Example: a grade finds a Deployment without its pods. The learner repairs it, and its task
    /// turns green; the grade still has a cross there until the next one.
    pub(crate) fn has_old_grade(&self) -> bool {
        let Some((view, grade)) = self.open().and_then(|view| Some((view, view.grade.as_ref()?))) else {
            return false;
        };
        let now = view.tasks.iter().map(|task| task.green);
        grade.record["passed"] != true && !now.eq(self.at_grade.iter().copied())
    }

    /// Returns when the clock, or the time that the engine takes, shows the next second. `None`:
    /// neither runs.
    pub(crate) fn due(&self, now: Duration) -> Option<Duration> {
        let second = |from: Duration| from + Duration::from_secs(now.saturating_sub(from).as_secs()) + SECOND;
        let clock = matches!(self.time(now), Some(Time::Runs(_) | Time::Little(_)));
        let works = self.open().is_some_and(|view| view.work != Work::Idle);
        let clock = clock.then(|| second(self.heard));
        [clock, works.then(|| second(self.at_work))].into_iter().flatten().min()
    }

    /// Takes in a view; where the pane is scrolled to follows from what is new. True if there is
    /// something new that the learner should see.
    pub(crate) fn learn(&mut self, view: LabView, now: Duration) -> bool {
        let before = self.view.take().unwrap_or_default();
        let start = |view: &LabView| (view.id.clone(), view.seed, view.started.clone());
        let news = match () {
            () if start(&before) != start(&view) => Some(Scroll::To(0)),
            () if view.given_up.is_some() && before.given_up.is_none() => Some(Scroll::Way),
            () if view.grade.is_some() && before.grade != view.grade => Some(Scroll::Outcome),
            () if view.hints.len() > before.hints.len() => Some(Scroll::Hint),
            () => None,
        };
        if let Some(scroll) = news {
            self.scroll = scroll;
        }
        if view.grade.is_none() || before.grade != view.grade {
            self.graded = now;
            self.at_grade = view.tasks.iter().map(|task| task.green).collect();
        } else if let Some(grade) = &view.grade {
            // What the grade's probe replaced still starts when the grade comes. Neither a change
            // at that time nor a task that comes to stand as it was graded is the learner's work.
            let settles = now.saturating_sub(self.graded) < SETTLE;
            for (task, at) in view.tasks.iter().zip(&mut self.at_grade) {
                let as_graded = |found: &Found| found.id == task.id && Some(found.green) == task.green;
                if settles || grade.found.iter().any(as_graded) {
                    *at = task.green;
                }
            }
        }
        if before.work != view.work {
            self.at_work = now;
        }
        (self.heard, self.refused) = (now, None);
        self.view = Some(view);
        // The tasks are to be seen again; a learner who reads elsewhere is left there.
        if self.has_old_grade() && self.scroll == Scroll::Outcome {
            self.scroll = Scroll::Tasks;
        }
        news.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(left_s: i64, minutes: u32) -> Lab {
        let view = LabView { id: "l".into(), left_s, minutes, ..LabView::default() };
        let mut lab = Lab::default();
        lab.learn(view, Duration::from_millis(1_500));
        lab
    }

    #[test]
    fn the_clock_runs_by_seconds_and_stands_still_when_it_is_over() {
        let (ms, lab) = (Duration::from_millis, lab(62, 8));
        assert_eq!(lab.time(ms(1_500)), Some(Time::Runs(62)));
        assert_eq!(lab.due(ms(1_500)), Some(ms(2_500)));
        assert_eq!(lab.time(ms(3_499)), Some(Time::Runs(61)));
        assert_eq!(lab.due(ms(3_499)), Some(ms(3_500)));
        assert_eq!(lab.time(ms(3_500)), Some(Time::Little(60)));
        assert_eq!(lab.time(ms(63_499)), Some(Time::Little(1)));
        assert_eq!((lab.time(ms(63_500)), lab.due(ms(63_500))), (Some(Time::Over), None));
        let solved = LabView { over: true, ..lab.view.clone().unwrap() };
        let solved = Lab { view: Some(solved), ..lab };
        assert_eq!((solved.time(ms(1_500)), solved.due(ms(1_500))), (Some(Time::Idle), None));
    }

    #[test]
    fn the_clock_stops_at_all_points() {
        let mut lab = lab(62, 8);
        let graded = |score: u64, over: bool| {
            let record = serde_json::json!({
                "score": score, "max": 100, "passed": true,
                "started": "2026-01-02T03:04:05Z", "ended": "2026-01-02T03:11:10Z",
            });
            let grade = Some(::lab::graded::view::Graded { record, ..Default::default() });
            LabView { id: "l".into(), left_s: 62, minutes: 8, grade, over, ..LabView::default() }
        };
        let (heard, later) = (Duration::from_millis(1_500), Duration::from_millis(90_000));
        lab.learn(graded(80, false), heard);
        assert_eq!(lab.time(later), Some(Time::Over), "points are missing, and time runs");
        lab.learn(graded(100, false), heard);
        assert_eq!((lab.time(later), lab.due(later)), (Some(Time::Solved(425)), None));
        lab.learn(graded(100, true), heard);
        assert_eq!(lab.time(later), Some(Time::Idle));
    }

    #[test]
    fn a_tenth_of_a_long_lab_is_little_time() {
        assert_eq!(lab(121, 20).time(Duration::from_millis(1_500)), Some(Time::Runs(121)));
        assert_eq!(lab(120, 20).time(Duration::from_millis(1_500)), Some(Time::Little(120)));
    }

    #[test]
    fn a_setup_shows_how_long_it_takes_and_no_clock() {
        let mut lab = lab(62, 8);
        let starting = LabView { work: Work::Starting, ..lab.view.clone().unwrap() };
        lab.learn(starting, Duration::from_secs(5));
        let now = Duration::from_millis(7_200);
        assert_eq!((lab.time(now), lab.due(now)), (None, Some(Duration::from_secs(8))));
        assert_eq!(Lab::default().due(now), None);
    }
}
