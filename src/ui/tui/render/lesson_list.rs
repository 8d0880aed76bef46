//! The lesson's pane while none is open: the list of them.

use super::super::look::{Sign, Tone};
use super::super::markdown;
use super::super::model::{Model, Pane};
use super::super::words::Word;
use super::lesson::{marked, text};
use lab::view::Entry;
use ratatui::text::Line;

/// No lesson: the list of them, or why there is none.
pub(super) fn nothing_open(model: &Model, room: usize) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let mut out = Vec::new();
    // A lesson is on its way.
    for notice in model.lesson.view.iter().filter(|v| v.playing.is_some()).flat_map(|v| &v.notices) {
        out.extend(marked(notice, look, Tone::Warn, room, &format!("{} ", look.sign(Sign::Warn)), "  "));
        out.push(Line::default());
    }
    if !model.lesson.list.is_empty() {
        let first = &model.lesson.list[0].id;
        out.extend(text(&lang.say(Word::LessonListHint, &[first]), look, Tone::Dim, room, "", ""));
        out.push(Line::default());
        out.extend(model.lesson.list.iter().enumerate().flat_map(|(at, e)| entry(model, room, at, e)));
        return out;
    }
    out.extend(text(&lang.say(Word::LessonAbsentTitle, &[]), look, Tone::Title, room, "", ""));
    out.push(Line::default());
    match (&model.lesson.absent, &model.lesson.view) {
        (Some(why), _) => out.extend(markdown::lines(&lang.say(Word::LessonAbsent, &[why]), room, look)),
        (None, Some(_)) => out.extend(text(&lang.say(Word::LessonNone, &[]), look, Tone::Dim, room, "", "")),
        (None, None) => {
            let seconds = model.now.as_secs().to_string();
            out.extend(text(&lang.say(Word::LessonWaiting, &[&seconds]), look, Tone::Dim, room, "", ""));
        }
    }
    out
}

/// A lesson of the list.
fn entry(model: &Model, room: usize, at: usize, entry: &Entry) -> Vec<Line<'static>> {
    let look = model.look;
    let marked = at == model.lesson.marked && model.focus == Pane::Lesson;
    let mark = if marked { look.sign(Sign::Pick) } else { " " };
    let done = match entry.done {
        0 => String::new(),
        n if n >= entry.steps => format!(" {}", look.sign(Sign::Done)),
        n => format!(" {n}/{}", entry.steps),
    };
    let number = entry.id.rsplit('/').next().unwrap_or_default();
    let tone = if marked { Tone::Strong } else { Tone::Plain };
    let words = format!("{number} {}{done}", entry.title);
    text(&words, look, tone, room, &format!("{mark} "), "     ")
}

/// The lines that a lesson of the list takes: its first, and the one behind its last.
pub(super) fn listed(model: &Model, room: usize, at: usize) -> (usize, usize) {
    let size = |(at, e): (usize, &Entry)| entry(model, room, at, e).len();
    let all = nothing_open(model, room).len();
    let from = all - model.lesson.list.iter().enumerate().skip(at).map(size).sum::<usize>();
    (from, from + model.lesson.list.iter().enumerate().skip(at).take(1).map(size).sum::<usize>())
}
