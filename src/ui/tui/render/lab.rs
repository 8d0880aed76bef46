//! The lesson's pane while a lab is open: its text, its tasks, its clock, and what its grade says.

use super::super::lab::Time;
use super::super::look::{Sign, Tone};
use super::super::markdown;
use super::super::model::Model;
use super::super::text::cells;
use super::super::words::Word;
use super::marks::Marks;
use super::paragraph::{hinted, marked, text};
use crate::labs::{clock, remarks};
use crate::lesson::tag;
use crate::texts::Say;
use ::lab::graded::view::{GivenUp, Graded, LabView, Task, Work};
use ratatui::text::Line;

/// Cells of the frame's upper edge that its title cannot have: the mark of the focus, the clock,
/// and the spaces between them.
const CLOCK: usize = 24;

/// The frame's title and its corner: the lab and its clock, which stay in sight however far the
/// text is scrolled.
pub(super) fn title(model: &Model, view: &LabView) -> (String, String) {
    let say = |word, with: &[&str]| model.lang.say(word, with);
    let corner = match model.lab.time(model.now) {
        None => String::new(),
        Some(Time::Runs(left)) => say(Word::LabLeft, &[&clock(left)]),
        Some(Time::Little(left)) => {
            format!("{} {}", model.look.sign(Sign::Warn), say(Word::LabLittle, &[&clock(left)]))
        }
        Some(Time::Over) => say(Word::LabOver, &[]),
        Some(Time::Solved(needed)) => say(Word::LabReached, &[&clock(needed)]),
        Some(Time::Idle) => say(Word::LabShown, &[]),
    };
    (view.title.clone(), corner)
}

/// How the corner is dressed; what it says is in its words.
pub(super) fn corner_tone(model: &Model) -> Tone {
    match model.lab.time(model.now) {
        Some(Time::Little(_)) => Tone::Warn,
        Some(Time::Over) => Tone::Bad,
        Some(Time::Runs(_)) => Tone::Strong,
        Some(Time::Solved(_)) => Tone::Good,
        Some(Time::Idle) | None => Tone::Dim,
    }
}

/// What is read: the text, the tasks, the hints, the last grade and the way. `apart`: the tasks
/// that are not done stand firmly below it, see [`open_tasks`].
pub(super) fn reading(
    model: &Model,
    view: &LabView,
    room: usize,
    apart: bool,
) -> (Vec<Line<'static>>, Marks) {
    let (lang, look) = (model.lang, model.look);
    let (mut out, mut marks) = (Vec::new(), Marks::default());
    if cells(&view.title) + CLOCK > room {
        out.extend(text(&view.title, look, Tone::Title, room, "", ""));
    }
    let level = look.sign(Sign::Ready).repeat(view.level.into());
    let about = [view.seed.to_string(), level, view.minutes.to_string()];
    let about = lang.say(Word::LabAbout, &about.each_ref().map(String::as_str));
    out.extend(text(&about, look, Tone::Dim, room, "", ""));
    if view.work == Work::Starting {
        return (out, marks);
    }
    out.push(Line::default());
    out.extend(markdown::lines(&view.text, room, look));
    let tasks: Vec<&Task> = view.tasks.iter().filter(|task| !apart || task.green == Some(true)).collect();
    if !tasks.is_empty() {
        out.push(Line::default());
        marks.tasks = Some(out.len());
        out.extend(text(&lang.say(Word::LabTasks, &[]), look, Tone::Title, room, "", ""));
        out.extend(tasks.into_iter().flat_map(|task| task_lines(model, task, room)));
    }
    hints(model, view, room, &mut out, &mut marks);
    if let Some(grade) = &view.grade {
        out.push(Line::default());
        marks.outcome = Some(out.len());
        graded(model, view, grade, room, &mut out);
    }
    if let Some(given_up) = &view.given_up {
        out.push(Line::default());
        marks.way = Some(out.len());
        way(model, given_up, room, &mut out);
    }
    (out, marks)
}

fn task_lines(model: &Model, task: &Task, room: usize) -> Vec<Line<'static>> {
    let look = model.look;
    let (sign, tone) = match task.green {
        Some(true) => (look.sign(Sign::Met), Tone::Good),
        // A cross would say that it is wrong; it is only not done yet.
        Some(false) => (look.sign(Sign::Dot), Tone::Plain),
        None => (" ", Tone::Plain),
    };
    let mut out = marked(&task.task, look, tone, room, &format!("{sign} {:>3} ", task.weight), "      ");
    if !task.told.is_empty() {
        out.extend(marked(&task.told, look, Tone::Warn, room, "      ", "      "));
    }
    out
}

/// The tasks that are not done, for a pane of long lines, where they can stay in sight. None once
/// there is a grade of them as they are, or the solution was shown: then there is something else to
/// read.
pub(super) fn open_tasks(model: &Model, view: &LabView, room: usize) -> Vec<Line<'static>> {
    let is_graded = view.grade.is_some() && !model.lab.has_old_grade();
    if view.work == Work::Starting || is_graded || view.over {
        return vec![];
    }
    let open = view.tasks.iter().filter(|task| task.green != Some(true));
    open.flat_map(|task| task_lines(model, task, room)).collect()
}

fn hints(model: &Model, view: &LabView, room: usize, out: &mut Vec<Line<'static>>, marks: &mut Marks) {
    let (lang, look) = (model.lang, model.look);
    out.push(Line::default());
    for (at, hint) in view.hints.iter().enumerate() {
        let label = lang.say(Word::Hint, &[&(at + 1).to_string()]);
        let newest = at + 1 == view.hints.len();
        if newest {
            marks.hint = Some(out.len());
        }
        let tone = if newest { Tone::Accent } else { Tone::Dim };
        // A manifest stands below its sentence: its lines and their indentation have a meaning.
        let (first, rest) = hint.split_once("\n\n").unwrap_or((hint.as_str(), ""));
        out.extend(hinted(&format!("{label}: {first}"), look, tone, room));
        if !rest.is_empty() {
            out.extend(markdown::lines(rest, room, look));
        }
    }
    // No number: hints have conditions, so how many fit changes with every step of the learner's.
    let left = if view.hints_left == 0 { Word::LabNoHints } else { Word::LabHints };
    out.extend(text(&lang.say(left, &[]), look, Tone::Dim, room, "", ""));
}

/// The grade: the points of each task, what is missing, how it came about, and what happened. The
/// sum stands firmly below.
fn graded(model: &Model, view: &LabView, grade: &Graded, room: usize, out: &mut Vec<Line<'static>>) {
    let (lang, look) = (model.lang, model.look);
    out.extend(text(&lang.say(Word::LabGrade, &[]), look, Tone::Title, room, "", ""));
    if model.lab.has_old_grade() {
        out.extend(text(&lang.say(Word::LabGradeOld, &[]), look, Tone::Warn, room, "", "  "));
    }
    for found in &grade.found {
        let task = view.tasks.iter().find(|task| task.id == found.id);
        let words = task.map_or(found.id.as_str(), |task| task.task.as_str());
        let (sign, tone, points) = match found.green {
            true => (Sign::Met, Tone::Good, found.weight),
            false => (Sign::Unmet, Tone::Plain, 0),
        };
        let first = format!("{} {points:>3}/{:<3} ", look.sign(sign), found.weight);
        let rest = " ".repeat(cells(&first));
        out.extend(marked(words, look, tone, room, &first, &rest));
        if !found.green && !found.told.is_empty() {
            out.extend(marked(found.told.get(tag(lang)), look, Tone::Warn, room, &rest, &rest));
        }
    }
    let mut notes = remarks(lang, &grade.record);
    if grade.untold > 0 {
        notes.push(lang.say(Say::LabUntold, &[&grade.untold.to_string()]));
    }
    for note in notes {
        out.extend(marked(&note, look, Tone::Warn, room, "", "  "));
    }
    if !grade.debrief.is_empty() {
        out.push(Line::default());
        out.extend(text(&lang.say(Word::What, &[]), look, Tone::Title, room, "", ""));
        for told in &grade.debrief {
            out.extend(markdown::lines(told.get(tag(lang)), room, look));
        }
    }
    out.push(Line::default());
    out.extend(text(&lang.say(Say::LabRecord, &[&grade.file]), look, Tone::Dim, room, "", "  "));
}

/// The sum, and whether the lab is passed.
fn points(model: &Model, grade: &Graded, room: usize) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let sum =
        lang.say(Say::LabScore, &[&grade.record["score"].to_string(), &grade.record["max"].to_string()]);
    let (sign, word, tone) = match grade.record["passed"] == true {
        true => (Sign::Met, Word::LabPassed, Tone::Good),
        false => (Sign::Unmet, Word::LabNotPassed, Tone::Warn),
    };
    let words = format!("{sum}, {}", lang.say(word, &[]));
    text(&words, look, tone, room, &format!("{} ", look.sign(sign)), "  ")
}

fn way(model: &Model, given_up: &GivenUp, room: usize, out: &mut Vec<Line<'static>>) {
    let (lang, look) = (model.lang, model.look);
    out.extend(text(&lang.say(Word::LabCause, &[]), look, Tone::Title, room, "", ""));
    for told in &given_up.told {
        out.extend(markdown::lines(told.get(tag(lang)), room, look));
    }
    out.push(Line::default());
    out.extend(text(&lang.say(Say::LabWay, &[]), look, Tone::Title, room, "", ""));
    // As they have to be typed: in a manifest the spaces before a line have a meaning.
    let style = look.tone(Tone::Code);
    let lines = given_up.lines.iter();
    out.extend(lines.flat_map(|line| markdown::code(&format!("  {line}"), room, "      ", style, look)));
}

/// What stands firmly below the text: what the engine does, and how far the learner is.
pub(super) fn standing(model: &Model, view: &LabView, room: usize) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let mut out = Vec::new();
    if let Some(refused) = &model.lab.refused {
        out.extend(marked(refused, look, Tone::Bad, room, "", "  "));
    }
    let since = |from| model.now.saturating_sub(from);
    let work = match view.work {
        Work::Idle => None,
        Work::Starting => Some(Word::LabStarting),
        Work::Grading => Some(Word::LabGrading),
        Work::Leaving => Some(Word::LabLeaving),
    };
    let asked = model.waits_since().map(|asked| (Word::Asked, asked));
    let waits = work.map(|word| (word, model.lab.at_work)).or(asked);
    if let Some((word, from)) = waits {
        let words = lang.say(word, &[&since(from).as_secs().to_string()]);
        out.extend(text(&words, look, Tone::Warn, room, &format!("{} ", look.sign(Sign::Holding)), "  "));
    }
    if view.work == Work::Starting {
        return out;
    }
    match &view.grade {
        Some(grade) if view.work == Work::Idle && !model.lab.has_old_grade() => {
            out.extend(points(model, grade, room));
        }
        _ => {
            let done = view.tasks.iter().filter(|task| task.green == Some(true)).count();
            let with = [done.to_string(), view.tasks.len().to_string()];
            let stands = if view.hints_left == 0 { Word::LabStands } else { Word::LabStandsHint };
            let words = lang.say(stands, &with.each_ref().map(String::as_str));
            out.extend(text(&words, look, Tone::Accent, room, "", ""));
        }
    }
    out
}
