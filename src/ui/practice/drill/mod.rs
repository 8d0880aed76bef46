//! Drills at the prompt: questions to practice, its answers as text.

use super::words::{Say, until};
use crate::guests;
pub use crate::guests::asked;
use crate::labs::clock;
use crate::lesson::PageStyle;
use crate::prose::harmless;
use crate::texts::Lang;
use ::clock::{Instant, Timestamp};
use cluster::control::Control;
use cluster::{Error, Place};
use lab::practice::view::{Ask, DrillView, Outcome, Phase, TaskView};
use parking_lot::Mutex;
use std::time::Duration;

/// A drill that has not begun by then is announced as being prepared; a refusal comes earlier.
const SOON: Duration = Duration::from_millis(700);

/// Begins a drill. `seed`: as of an earlier drill, to repeat it; `skills`: ids of what it asks for,
/// empty for all that were met. `slow` is called if the answer does not come within 0.7 s: its
/// tasks are being set up then, which may take a minute.
///
/// # Errors
/// Those of [`asked`].
pub async fn start(
    place: &Place,
    lang: Lang,
    seed: Option<u64>,
    skills: Vec<String>,
    slow: impl FnOnce(),
) -> Result<DrillView, Error> {
    let mut answer = std::pin::pin!(asked::<DrillView>(place, lang, Ask::Start { seed, skills }));
    match ::clock::limit(SOON, answer.as_mut()).await {
        Some(answer) => answer,
        None => {
            slow();
            answer.await
        }
    }
}

/// Returns the sentence that the tasks are being set up.
pub fn preparing(lang: Lang) -> String {
    lang.say(Say::Preparing, &[])
}

/// Follows the drill: returns its view, and the connection on which a view comes after every
/// change.
///
/// # Errors
/// Those of [`asked`].
pub(crate) async fn follow(place: &Place, lang: Lang) -> Result<(Control, DrillView), Error> {
    guests::follow(place, lang, Ask::Follow).await
}

fn bold(style: &PageStyle, text: &str) -> String {
    if style.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.into() }
}

/// Returns everything there is to see of a drill: what it is about, and the present task; or what
/// came of it.
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
        Phase::Preparing => out.push_str(&format!("{}\n", preparing(style.lang))),
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
    view.notices.iter().map(|notice| style.notice(notice)).collect()
}

/// Returns the present task.
pub(crate) fn task(style: &PageStyle, view: &DrillView) -> String {
    let Some(task) = view.tasks.get(view.at) else { return String::new() };
    let (at, all) = ((view.at + 1).to_string(), view.tasks.len().to_string());
    let count = match view.left_s {
        0 => style.lang.say(Say::TaskAlone, &[&at, &all]),
        left => style.lang.say(Say::Task, &[&at, &all, &clock(left as i64)]),
    };
    format!("{}\n{}", bold(style, &count), style.marked("▸ ", &task.task))
}

/// Returns the conditions of the present task, and the first one that is not met yet.
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

/// Returns the last hint that was given, and how many are left.
pub fn hint(style: &PageStyle, view: &DrillView) -> String {
    let Some(last) = view.hints.last() else { return String::new() };
    let (number, left) = (view.hints.len().to_string(), view.hints_left.to_string());
    let more = if view.hints_left > 0 { Say::HintsLeft } else { Say::HintsOver };
    let head = style.lang.say(Say::Hint, &[&number]);
    let text = match sole_command(last) {
        Some(command) => format!("{head}\n  {}\n", harmless(command)),
        None => style.marked(&format!("{head} "), last),
    };
    text + &style.lang.say(more, &[&left]) + "\n"
}

/// Returns the command of a hint that is nothing else. It is printed without a line break, so that
/// it can be copied whole.
fn sole_command(hint: &str) -> Option<&str> {
    let command = hint.strip_prefix('`')?.strip_suffix('`')?;
    (!command.contains('`')).then_some(command)
}

/// Returns what came of each task, and when its skill is asked again.
pub(crate) fn summary(style: &PageStyle, view: &DrillView, now: Timestamp) -> String {
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

/// Returns what came of the task at `at`, counted from 0, as a line; nothing if there is no such
/// task.
pub fn result(style: &PageStyle, view: &DrillView, at: usize, now: Timestamp) -> String {
    let told = view.tasks.get(at).map(|task| outcome(style.lang, view.phase, task, now) + "\n");
    told.unwrap_or_default()
}

/// Returns whether the task at `at` is done in a later view of the same drill. A drill that is at
/// another task proves nothing: another session may have skipped this one.
pub fn is_done(before: &DrillView, view: &DrillView, at: usize) -> bool {
    let is_same = (before.seed, &before.namespace) == (view.seed, &view.namespace);
    let task = view.tasks.get(at).filter(|_| is_same);
    task.is_some_and(|task| matches!(task.outcome, Outcome::Done | Outcome::Helped))
}

/// Returns what changed between two views, if the learner at the prompt has not asked for it: a
/// task is over, and the next one or the summary follows.
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
        return None; // the learner who asked for it sees what begins
    }
    let over = view.tasks.get(before.at).map(|task| outcome(style.lang, view.phase, task, now));
    Some(format!("{}\n{}", bold(style, &over.unwrap_or_default()), task(style, view)))
}

/// Returns what an answer has changed: the next task, or the end.
pub fn changed(style: &PageStyle, before: &DrillView, view: &DrillView, now: Timestamp) -> String {
    if before.phase == Phase::Preparing && view.phase == Phase::None {
        return not_begun(style.lang, view);
    }
    news(style, before, view, now).unwrap_or_default()
}

/// Returns the answer to `stop` for a drill that was still being prepared. For one that was
/// running, the session prints the summary as [`news`].
pub(crate) fn not_begun(lang: Lang, view: &DrillView) -> String {
    if view.phase == Phase::None { lang.say(Say::NotBegun, &[]) + "\n" } else { String::new() }
}

/// Returns the error that a drill has no such task.
pub fn no_such_task(lang: Lang, id: &str) -> String {
    lang.say(Say::NoSuchTask, &[&harmless(id)])
}

/// Returns the error that says where the options `--seed` and `--skill` stand.
pub fn misplaced_seed(lang: Lang) -> String {
    lang.say(Say::SeedPlace, &[])
}

/// The task that a session has shown last, and when the drill ends: for the prompt, and for words
/// that mean the drill while one runs.
#[derive(Default)]
pub(crate) struct Running(Mutex<Option<Shown>>);

/// A drill that runs, as the session has shown it.
struct Shown {
    ends: Instant,
    /// The id of the present task.
    task: String,
}

impl Running {
    /// Keeps the task and the end of a view; forgets them if no drill runs.
    pub(crate) fn learn(&self, view: &DrillView) {
        let ends = Instant::now() + Duration::from_secs(view.left_s);
        let shown = || Shown { ends, task: view.present().into() };
        *self.0.lock() = (view.phase == Phase::Running).then(shown);
    }

    /// Returns the id of the task that is shown. A word that is typed means it, also if the drill
    /// has gone on meanwhile. `None`: no drill runs.
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

/// Returns the answer to `next`, which belongs to lessons.
pub(crate) fn no_next(lang: Lang) -> String {
    lang.say(Say::NoNext, &[])
}

/// Returns the answer to `solve`, which would play the solution of the open lesson.
pub(crate) fn no_solve(lang: Lang) -> String {
    lang.say(Say::NoSolve, &[])
}

/// Returns the warning that little time is left.
pub(crate) fn little_time(lang: Lang) -> String {
    lang.say(Say::LittleTime, &[])
}

#[cfg(test)]
mod tests;
