//! Drills at the prompt: questions to practice, its answers as text.

use super::words::{Say, until};
use crate::labs::clock;
use crate::lesson::{PageStyle, tag};
use crate::prose::harmless;
use crate::texts::Lang;
use ::clock::{Instant, Timestamp};
use cluster::control::{self, Control};
use cluster::{Error, Place};
use lab::practice::guest::NAME;
use lab::practice::view::{Ask, DrillView, Outcome, Phase, Question, TaskView};
use parking_lot::Mutex;
use serde_json::Value;
use std::time::Duration;

/// Asks practice one question and returns its answer.
///
/// # Errors
/// The cluster does not run or does not answer, or practice refuses: then with its own words.
pub async fn ask(place: &Place, lang: Lang, ask: Ask) -> Result<Value, Error> {
    Control::connect(place).await?.ask(&question(lang, ask)).await
}

/// Asks a question whose answer is a `T`.
///
/// # Errors
/// Those of [`ask`], and an answer of another shape.
pub async fn asked<T: serde::de::DeserializeOwned>(
    place: &Place,
    lang: Lang,
    question: Ask,
) -> Result<T, Error> {
    let value = ask(place, lang, question).await?;
    serde_json::from_value(value).map_err(|e| Error::Control(e.to_string()))
}

/// Follows the drill: returns its view, and the connection on which a view comes after every
/// change.
///
/// # Errors
/// Those of [`ask`].
pub(crate) async fn follow(place: &Place, lang: Lang) -> Result<(Control, DrillView), Error> {
    let mut control = Control::connect(place).await?;
    let first = control.ask(&question(lang, Ask::Follow)).await?;
    Ok((control, serde_json::from_value(first).unwrap_or_default()))
}

fn question(lang: Lang, ask: Ask) -> control::Ask {
    let question = serde_json::to_value(Question { lang: tag(lang).into(), ask }).unwrap_or_default();
    control::Ask::Guest { name: NAME.into(), question }
}

fn bold(style: &PageStyle, text: &str) -> String {
    if style.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.into() }
}

/// Everything there is to see of a drill: what it is about, and the present task; or what came of
/// it.
pub fn page(style: &PageStyle, view: &DrillView, now: Timestamp) -> String {
    let say = |say, with: &[&str]| style.lang.say(say, with);
    if view.phase == Phase::None {
        return say(Say::NoDrill, &[]) + "\n";
    }
    let mut out = String::new();
    // Behind a drill that is over they stand in its summary.
    if !view.phase.is_over() {
        out.push_str(&notices(style, view));
    }
    let minutes = (view.limit_s / 60).to_string();
    let head = say(Say::Head, &[&view.seed.to_string(), &view.tasks.len().to_string(), &minutes]);
    out.push_str(&format!("{}\n", bold(style, &format!("── {head} ──"))));
    match view.phase {
        Phase::Preparing => out.push_str(&format!("{}\n", say(Say::Preparing, &[]))),
        Phase::Running => {
            let place = say(Say::Place, &[&view.namespace, &view.namespace]);
            out.push_str(&style.marked("", &place));
            out.push_str(&style.marked("", &say(Say::Keys, &[])));
            out.push('\n');
            out.push_str(&task(style, view));
        }
        _ => out.push_str(&summary(style, view, now)),
    }
    out
}

fn notices(style: &PageStyle, view: &DrillView) -> String {
    view.notices.iter().map(|notice| style.marked("! ", notice)).collect()
}

/// The present task.
pub fn task(style: &PageStyle, view: &DrillView) -> String {
    let Some(task) = view.tasks.get(view.at) else { return String::new() };
    let (at, all) = ((view.at + 1).to_string(), view.tasks.len().to_string());
    let count = match view.left_s {
        0 => style.lang.say(Say::TaskAlone, &[&at, &all]),
        left => style.lang.say(Say::Task, &[&at, &all, &clock(left as i64)]),
    };
    format!("{}\n{}", bold(style, &count), style.marked("▸ ", &task.task))
}

/// What is not so yet of the present task.
pub fn verdict(style: &PageStyle, view: &DrillView) -> String {
    let mut out = String::new();
    for check in &view.checks {
        out.push_str(&style.marked(if check.met { "  ✓ " } else { "  · " }, &check.that));
    }
    out.push_str(&notices(style, view));
    let told = match view.checks.iter().find(|check| !check.met) {
        Some(check) => style.lang.say(Say::NotYet, &[&check.that]),
        None => style.lang.say(Say::AllMet, &[]),
    };
    out + &style.marked("", &told)
}

/// The last hint that was given, and how many are left.
pub fn hint(style: &PageStyle, view: &DrillView) -> String {
    let Some(last) = view.hints.last() else { return String::new() };
    let (number, left) = (view.hints.len().to_string(), view.hints_left.to_string());
    let more = if view.hints_left > 0 { Say::HintsLeft } else { Say::HintsOver };
    style.marked(&format!("{} ", style.lang.say(Say::Hint, &[&number])), last)
        + &style.lang.say(more, &[&left])
        + "\n"
}

/// What came of each task, and when its skill is asked again.
pub fn summary(style: &PageStyle, view: &DrillView, now: Timestamp) -> String {
    let say = |say, with: &[&str]| style.lang.say(say, with);
    let is_done = |task: &&TaskView| matches!(task.outcome, Outcome::Done | Outcome::Helped);
    let done = view.tasks.iter().filter(is_done).count().to_string();
    let word = match view.phase {
        Phase::TimeOver => Say::TimeOver,
        Phase::Stopped => Say::Stopped,
        _ => Say::Finished,
    };
    let mut out = bold(style, &say(word, &[&done, &view.tasks.len().to_string()])) + "\n";
    for task in &view.tasks {
        out.push_str(&format!("  {}\n", outcome(style.lang, view.phase, task, now)));
    }
    out.push_str(&notices(style, view));
    out.push_str(&style.marked("", &say(Say::After, &[&view.seed.to_string()])));
    out
}

/// `✓ Scale a Deployment: done in 14 s, again in 24 h`. `phase`: how far the drill is.
fn outcome(lang: Lang, phase: Phase, task: &TaskView, now: Timestamp) -> String {
    let seconds = task.took_s.unwrap_or_default().to_string();
    let (mark, told) = match task.outcome {
        Outcome::Done => ("✓", lang.say(Say::Done, &[&seconds])),
        Outcome::Helped => ("✓", lang.say(Say::Helped, &[])),
        Outcome::Skipped => ("✗", lang.say(Say::Skipped, &[])),
        Outcome::Waiting if phase.is_open() => ("·", lang.say(Say::NotItsTurn, &[])),
        Outcome::Unfinished | Outcome::Open | Outcome::Waiting => ("·", lang.say(Say::Unfinished, &[])),
    };
    let due = task.due.as_ref().and_then(|due| due.parse::<Timestamp>().ok());
    let again = due.map(|due| match task.outcome {
        // As after every failure, whatever day that is.
        Outcome::Skipped | Outcome::Helped => format!(", {}", lang.say(Say::AgainFirst, &[])),
        _ => format!(", {}", lang.say(Say::Again, &[&until(lang, due, now)])),
    });
    format!("{mark} {}: {told}{}", harmless(&task.title), again.unwrap_or_default())
}

/// What came of one task, as a line.
pub fn result(style: &PageStyle, view: &DrillView, at: usize, now: Timestamp) -> String {
    let told = view.tasks.get(at).map(|task| outcome(style.lang, view.phase, task, now) + "\n");
    told.unwrap_or_default()
}

/// Is the task that stood at `at` done in a later view of the same drill? That the drill has gone
/// on says nothing: the time may be over, and another session may have skipped it.
pub fn is_done(before: &DrillView, view: &DrillView, at: usize) -> bool {
    let is_same = (before.seed, &before.namespace) == (view.seed, &view.namespace);
    let task = view.tasks.get(at).filter(|_| is_same);
    task.is_some_and(|task| matches!(task.outcome, Outcome::Done | Outcome::Helped))
}

/// What changed so that a learner at the prompt should hear of it.
pub(crate) fn news(
    style: &PageStyle,
    before: &DrillView,
    view: &DrillView,
    now: Timestamp,
) -> Option<String> {
    let is_same = (before.seed, &before.namespace) == (view.seed, &view.namespace);
    let was_running = before.phase == Phase::Running && is_same;
    if view.phase.is_over() && was_running {
        return Some(summary(style, view, now));
    }
    if view.phase != Phase::Running || !was_running || before.at == view.at {
        return None; // what begins is told to the learner who asked for it
    }
    let over = view.tasks.get(before.at).map(|task| outcome(style.lang, view.phase, task, now));
    Some(format!("{}\n{}", bold(style, &over.unwrap_or_default()), task(style, view)))
}

/// What an answer has changed: the next task, or the end.
pub fn changed(style: &PageStyle, before: &DrillView, view: &DrillView, now: Timestamp) -> String {
    if before.phase == Phase::Preparing && view.phase == Phase::None {
        return not_begun(style.lang, view);
    }
    news(style, before, view, now).unwrap_or_default()
}

/// What `stop` says of a drill that was still prepared: of one that ran its follower tells the end.
pub(crate) fn not_begun(lang: Lang, view: &DrillView) -> String {
    if view.phase == Phase::None { lang.say(Say::NotBegun, &[]) + "\n" } else { String::new() }
}

/// Says that a drill has no such task.
pub fn no_such_task(lang: Lang, id: &str) -> String {
    lang.say(Say::NoSuchTask, &[&harmless(id)])
}

/// Says where the options `--seed` and `--skill` stand.
pub fn misplaced_seed(lang: Lang) -> String {
    lang.say(Say::SeedPlace, &[])
}

/// What a session knows of the drill that runs: for its prompt, and for words that mean the drill
/// as long as one runs.
#[derive(Default)]
pub(crate) struct Running(Mutex<Option<Shown>>);

/// A drill that runs, as the session has shown it.
struct Shown {
    ends: Instant,
    /// The id of the present task.
    task: String,
}

impl Running {
    /// Takes in what was told of a drill.
    pub(crate) fn learn(&self, view: &DrillView) {
        let ends = Instant::now() + Duration::from_secs(view.left_s);
        let shown = || Shown { ends, task: view.present().into() };
        *self.0.lock() = (view.phase == Phase::Running).then(shown);
    }

    /// The id of the task that is shown. A word that is typed means it, also if the drill has gone
    /// on meanwhile. `None`: no drill runs.
    pub(crate) fn task(&self) -> Option<String> {
        self.0.lock().as_ref().map(|shown| shown.task.clone())
    }

    /// Seconds left; `None`: no drill runs.
    pub(crate) fn left(&self) -> Option<i64> {
        let ends = self.0.lock().as_ref()?.ends;
        Some(ends.saturating_duration_since(Instant::now()).as_secs() as i64)
    }

    /// A prompt, behind the time that is left of a drill that runs: `[1:24] ropewalk> `.
    pub(crate) fn timed(&self, prompt: String) -> String {
        self.left().map_or(prompt.clone(), |left| format!("[{}] {prompt}", clock(left)))
    }
}

/// Answers `next`, which belongs to lessons.
pub(crate) fn no_next(lang: Lang) -> String {
    lang.say(Say::NoNext, &[])
}

/// Said once, when little time is left.
pub(crate) fn little_time(lang: Lang) -> String {
    lang.say(Say::LittleTime, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::practice::view::Check;

    const PLAIN: PageStyle = PageStyle { lang: Lang::En, width: 78, colour: false, beside: false };

    fn now() -> Timestamp {
        "2026-03-01T10:00:00Z".parse().unwrap()
    }

    fn view() -> DrillView {
        let task = |title: &str, task: &str, outcome| TaskView {
            title: title.into(),
            task: task.into(),
            outcome,
            ..TaskView::default()
        };
        DrillView {
            seed: 417,
            namespace: "drill".into(),
            phase: Phase::Running,
            limit_s: 120,
            left_s: 95,
            tasks: vec![
                task("Run a pod", "Run a pod named `mast`.", Outcome::Open),
                task("Create a ConfigMap", "", Outcome::Waiting),
            ],
            ..DrillView::default()
        }
    }

    fn second() -> DrillView {
        let mut view = DrillView { at: 1, left_s: 70, ..view() };
        let due = Some("2026-03-02T10:00:00Z".to_string());
        view.tasks[0] = TaskView { outcome: Outcome::Done, took_s: Some(14), due, ..view.tasks[0].clone() };
        view.tasks[1].task = "Create a ConfigMap named `ink`.".into();
        view.tasks[1].outcome = Outcome::Open;
        view
    }

    #[test]
    fn a_drill_says_where_it_is_and_how_long_it_lasts() {
        let page = page(&PLAIN, &view(), now());
        for part in [
            "Drill · seed 417 · tasks: 2 · 2 minutes",
            "add `-n drill`",
            "1/2 · 1:35 left",
            "▸ Run a pod named `mast`.",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(super::page(&PLAIN, &DrillView::default(), now()).starts_with("No drill is open."));
    }

    #[test]
    fn a_task_that_is_done_brings_the_next_one_and_the_end_a_summary() {
        assert_eq!(news(&PLAIN, &DrillView::default(), &view(), now()), None, "its page is shown");
        assert_eq!(news(&PLAIN, &view(), &view(), now()), None);
        let told = news(&PLAIN, &view(), &second(), now()).unwrap();
        assert_eq!(
            told,
            "✓ Run a pod: done in 14 s, again in 24 h\n2/2 · 1:10 left\n▸ Create a ConfigMap named `ink`.\n"
        );
        let mut over = DrillView { phase: Phase::TimeOver, ..second() };
        over.tasks[1].outcome = Outcome::Unfinished;
        let told = news(&PLAIN, &second(), &over, now()).unwrap();
        assert!(told.starts_with("The time is over: 1 of 2 done."), "{told}");
        assert!(told.contains("  · Create a ConfigMap: not finished"), "{told}");
        assert!(told.contains("drill --seed 417"), "{told}");
        assert_eq!(news(&PLAIN, &over, &over, now()), None, "said once");
        let korean = PageStyle { lang: Lang::Ko, ..PLAIN };
        let told = news(&korean, &second(), &over, now()).unwrap();
        assert!(told.contains("14초 만에 완료, 다음 연습: 24시간 뒤"), "{told}");
    }

    #[test]
    fn a_check_names_what_is_missing_and_what_went_astray() {
        let check = |that: &str, met| Check { that: that.into(), met };
        let checks = vec![check("the pod mast exists", true), check("its container is ready", false)];
        let view = DrillView { checks, notices: vec!["Add `-n drill`.".into()], ..view() };
        assert_eq!(
            verdict(&PLAIN, &view),
            "  ✓ the pod mast exists\n  · its container is ready\n! Add `-n drill`.\nNot yet: its container is ready\n"
        );
    }

    #[test]
    fn a_drill_that_goes_on_is_no_task_that_is_done() {
        assert!(is_done(&view(), &second(), 0));
        for outcome in [Outcome::Skipped, Outcome::Unfinished, Outcome::Open] {
            let mut left = DrillView { phase: Phase::TimeOver, ..second() };
            left.tasks[0].outcome = outcome;
            assert!(!is_done(&view(), &left, 0), "{outcome:?}");
        }
        assert!(!is_done(&view(), &DrillView { seed: 418, ..second() }, 0), "another drill");
        assert_eq!(result(&PLAIN, &second(), 0, now()), "✓ Run a pod: done in 14 s, again in 24 h\n");
    }

    #[test]
    fn days_are_counted_up() {
        let after = |hours: i64| {
            let due = ::clock::after(now(), std::time::Duration::from_secs(hours as u64 * 3600));
            until(Lang::En, due, now())
        };
        // At 10 o'clock, 12 hours from now are still today.
        let told = ["now", "in 1 h", "in 12 h", "in 24 h", "in 2 days", "in 2 days", "in 7 days"];
        assert_eq!([0, 1, 12, 24, 25, 48, 168].map(after), told);
    }

    #[test]
    fn a_task_that_was_skipped_or_helped_comes_first_in_the_next_drill() {
        let mut view = second();
        for outcome in [Outcome::Skipped, Outcome::Helped] {
            view.tasks[0].outcome = outcome;
            let told = result(&PLAIN, &view, 0, now());
            assert!(told.ends_with(", first in the next drill\n"), "{told}");
            let korean = PageStyle { lang: Lang::Ko, ..PLAIN };
            assert!(result(&korean, &view, 0, now()).ends_with(", 다음 연습에서 먼저 다시\n"));
        }
    }

    #[test]
    fn a_task_that_is_still_to_come_is_not_its_turn_yet() {
        assert_eq!(result(&PLAIN, &view(), 1, now()), "· Create a ConfigMap: not its turn yet\n");
        let over = DrillView { phase: Phase::Stopped, ..view() };
        assert!(result(&PLAIN, &over, 1, now()).contains("not finished"));
    }

    #[test]
    fn a_result_that_could_not_be_written_is_told_with_the_summary() {
        let notices = vec!["The last result could not be written.".to_string()];
        let over = DrillView { phase: Phase::Finished, notices, ..second() };
        let told = page(&PLAIN, &over, now());
        assert_eq!(told.matches("! The last result could not be written.").count(), 1, "{told}");
    }

    #[test]
    fn to_stop_a_drill_that_is_prepared_says_so() {
        let before = DrillView { phase: Phase::Preparing, ..view() };
        let told = changed(&PLAIN, &before, &DrillView::default(), now());
        assert_eq!(told, "The drill was stopped before it began.\n");
        assert_eq!(not_begun(Lang::En, &DrillView { phase: Phase::Stopped, ..view() }), "");
    }

    #[test]
    fn a_session_knows_the_task_that_it_has_shown() {
        let running = Running::default();
        assert_eq!(running.task(), None);
        let mut view = view();
        view.tasks[0].id = "run-pod".into();
        running.learn(&view);
        assert_eq!(running.task().as_deref(), Some("run-pod"));
        running.learn(&DrillView { phase: Phase::TimeOver, ..view });
        assert_eq!(running.task(), None);
    }
}
