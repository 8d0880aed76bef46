//! The lesson's pane while none is open: the list of lessons and, below them, of labs.

use super::super::layout::Pane;
use super::super::look::{Sign, Tone};
use super::super::markdown;
use super::super::model::Model;
use super::super::words::Word;
use super::paragraph::{marked, text};
use crate::lesson::first;
use crate::texts::Say;
use crate::tracks;
use ::lab::graded::view::Entry as LabEntry;
use ::lab::view::{Entry, LessonView};
use ratatui::text::Line;
use std::ops::Range;

/// Lines of the pane. `Some`: those of this entry of the list.
type Block = (Option<usize>, Vec<Line<'static>>);

/// No lesson: the list of them, or why there is none; and the list of labs.
pub(super) fn nothing_open(model: &Model, room: usize) -> Vec<Line<'static>> {
    blocks(model, room).into_iter().flat_map(|(_, lines)| lines).collect()
}

/// What stands firmly below the list, however far it is scrolled: why the last question was
/// refused.
pub(super) fn refusals(model: &Model, room: usize) -> Vec<Line<'static>> {
    let all = model.lesson.failure.iter().chain(&model.lesson.refused);
    all.flat_map(|why| marked(why, model.look, Tone::Bad, room, "", "  ")).collect()
}

/// The lines that each entry of the list takes: its first, and the one behind its last. Also
/// returns how many lines there are.
fn places(model: &Model, room: usize) -> (Vec<(usize, usize)>, usize) {
    let (mut places, mut from) = (Vec::new(), 0);
    for (entry, lines) in blocks(model, room) {
        let to = from + lines.len();
        places.extend(entry.map(|_| (from, to)));
        from = to;
    }
    (places, from)
}

/// The lines that an entry of the list takes.
pub(super) fn listed(model: &Model, room: usize, at: usize) -> (usize, usize) {
    let (places, end) = places(model, room);
    places.get(at).copied().unwrap_or((end, end))
}

/// The entry of the list that is marked, or the nearest one that has all its lines within these.
pub(super) fn mark_within(model: &Model, room: usize, seen: Range<usize>) -> usize {
    // All at once: to lay the list out takes a while.
    let (places, _) = places(model, room);
    let Some(last) = places.len().checked_sub(1) else { return model.lesson.marked };
    let marked = model.lesson.marked.min(last);
    let (from, to) = places[marked];
    let found = match () {
        () if from < seen.start => (marked..=last).find(|at| places[*at].0 >= seen.start),
        () if to > seen.end => (0..=marked).rev().find(|at| places[*at].1 <= seen.end),
        () => None,
    };
    found.unwrap_or(marked)
}

/// True while the engine plays lines for a lesson, or sets one up.
fn is_prepared(view: &LessonView) -> bool {
    view.playing.is_some() || view.preparing.is_some()
}

fn blocks(model: &Model, room: usize) -> Vec<Block> {
    let (lang, look) = (model.lang, model.look);
    let mut head = Vec::new();
    for notice in model.lesson.view.iter().filter(|v| is_prepared(v)).flat_map(|v| &v.notices) {
        head.extend(marked(notice, look, Tone::Warn, room, &format!("{} ", look.sign(Sign::Warn)), "  "));
        head.push(Line::default());
    }
    match model.lesson.list.first() {
        Some(first) => {
            head.extend(text(&lang.say(Word::LessonListHint, &[&first.id]), look, Tone::Dim, room, "", ""));
            head.push(Line::default());
        }
        None => head.extend(no_lessons(model, room)),
    }
    let mut out: Vec<Block> = vec![(None, head)];
    let (mut track, mut above) = ("", None);
    for (at, entry) in model.lesson.list.iter().enumerate() {
        // Numbers begin anew in each track.
        if entry.track != track {
            (track, above) = (entry.track.as_str(), None);
            let mut head = vec![Line::default(); usize::from(at > 0)];
            head.extend(text(&tracks::head_of(entry, lang), look, Tone::Title, room, "", ""));
            out.push((None, head));
        }
        if let Some(source) = tracks::source_of(entry, above, lang) {
            out.push((None, text(&source, look, Tone::Dim, room, "", "")));
        }
        above = Some(entry);
        out.push((Some(at), lesson(model, room, at, entry)));
    }
    if !model.lab.list.is_empty() {
        let mut head = vec![Line::default()];
        head.extend(text(&lang.say(Word::LabList, &[]), look, Tone::Title, room, "", ""));
        head.extend(text(&lang.say(Word::LabListHint, &[]), look, Tone::Dim, room, "", ""));
        out.push((None, head));
    }
    let labs = (model.lesson.list.len()..).zip(&model.lab.list);
    out.extend(labs.map(|(at, entry)| (Some(at), lab(model, room, at, entry))));
    out
}

/// Why there is no list of lessons.
fn no_lessons(model: &Model, room: usize) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let mut out = text(&lang.say(Word::LessonAbsentTitle, &[]), look, Tone::Title, room, "", "");
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

/// The mark of an entry and how it is dressed.
fn picked(model: &Model, at: usize, id: &str) -> (String, Tone) {
    let picked = at == model.lesson.marked && model.focus == Pane::Lesson;
    let mark = match () {
        () if picked => model.look.sign(Sign::Pick),
        () if model.open_ids().any(|open| open == id) => model.look.sign(Sign::Task),
        () => " ",
    };
    (format!("{mark} "), if picked { Tone::Strong } else { Tone::Plain })
}

/// A lesson of the list.
fn lesson(model: &Model, room: usize, at: usize, entry: &Entry) -> Vec<Line<'static>> {
    let look = model.look;
    let (mark, tone) = picked(model, at, &entry.id);
    let done = match entry.done {
        0 => String::new(),
        n if n >= entry.steps => format!(" {}", look.sign(Sign::Done)),
        n => format!(" {n}/{}", entry.steps),
    };
    let number = entry.id.rsplit('/').next().unwrap_or_default();
    let mut lines = text(&format!("{number} {}{done}", entry.title), look, tone, room, &mark, "     ");
    if let Some(first) = first(model.lang, &model.lesson.list, at) {
        lines.extend(text(&first, look, Tone::Dim, room, "     ", "     "));
    }
    for (step, why) in &entry.cannot {
        let cannot = model.lang.say(Say::LessonCannot, &[step, why]);
        lines.extend(text(&cannot, look, Tone::Dim, room, "     ", "     "));
    }
    lines
}

/// A lab of the list: its level, its time, the best grade, and a mark when it was passed.
fn lab(model: &Model, room: usize, at: usize, entry: &LabEntry) -> Vec<Line<'static>> {
    let look = model.look;
    let (mark, tone) = picked(model, at, &entry.id);
    let level = look.sign(Sign::Ready).repeat(entry.level.into());
    // What belongs together stays on one line.
    let minutes = model.lang.say(Say::LessonMinutes, &[&entry.minutes.to_string()]).replace(' ', "\u{a0}");
    let mut words = format!("{}: {} {level} {minutes}", entry.id, entry.title);
    if let Some(score) = entry.score {
        words.push_str(&format!(" {score}/{}", entry.max));
    }
    if entry.passed {
        words.push_str(&format!("\u{a0}{}", look.sign(Sign::Done)));
    }
    text(&words, look, tone, room, &mark, "     ")
}
