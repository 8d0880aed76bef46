//! The lesson: what to read scrolls above, what to do stands firmly below it.

use super::super::look::{Look, Sign, Tone};
use super::super::markdown;
use super::super::model::Model;
use super::super::text::{Piece, wrap};
use super::super::words::Word;
use crate::lab::view::{LessonView, Predict, State, Verdict};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// The frame's title and its corner.
pub fn title(model: &Model) -> (String, String) {
    let open = model.lesson.view.as_ref().filter(|v| !v.id.is_empty());
    let Some(view) = open else { return (model.lang.word(Word::PaneLesson, &[]), String::new()) };
    let number = view.id.rsplit('/').next().unwrap_or_default();
    let corner = match model.lesson.asked {
        Some(since) if model.now.saturating_sub(since).as_millis() > 200 => {
            let seconds = model.now.saturating_sub(since).as_secs().to_string();
            model.lang.word(Word::Asked, &[&seconds])
        }
        _ => format!("{}/{}", (view.step + 1).min(view.steps.max(1)), view.steps),
    };
    (format!("{number} {}", view.title), corner)
}

pub fn render(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let room = usize::from(area.width).saturating_sub(2);
    let (upper, lower) = match model.lesson.view.as_ref().filter(|v| !v.id.is_empty()) {
        Some(view) => (reading(model, view, room), doing(model, view, room)),
        None => (nothing_open(model, room), vec![]),
    };
    let height = usize::from(area.height);
    // What to do never takes more than two thirds; in a small pane its beginning counts most.
    let firm = lower.len().min((height * 2).div_ceil(3).max(1)).min(height);
    let firm = if upper.is_empty() { lower.len().min(height) } else { firm };
    let gap = usize::from(firm > 0 && firm + upper.len() < height && !upper.is_empty());
    let rows = height - firm - gap;
    let last = upper.len().saturating_sub(rows);
    let first = model.lesson.scroll.min(last);
    let x = area.x + 1;
    for (y, line) in upper.iter().skip(first).take(rows).enumerate() {
        buffer.set_line(x, area.y + y as u16, line, room as u16);
    }
    // Short lessons have what to do right below what to read.
    let below = rows.min(upper.len()) + gap;
    for (y, line) in lower.iter().take(firm).enumerate() {
        buffer.set_line(x, area.y + (below + y) as u16, line, room as u16);
    }
    let mark = model.look.tone(Tone::Accent);
    if first < last && rows > 0 {
        buffer.set_string(area.right() - 1, area.y + rows as u16 - 1, model.look.sign(Sign::More), mark);
    }
    if lower.len() > firm {
        buffer.set_string(area.right() - 1, area.bottom() - 1, model.look.sign(Sign::More), mark);
    }
}

fn text(words: &str, look: Look, tone: Tone, room: usize, first: &str, rest: &str) -> Vec<Line<'static>> {
    wrap(&[Piece::new(words, look.tone(tone))], room, first, rest)
}

/// No lesson: the list of them, or why there is none.
fn nothing_open(model: &Model, room: usize) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let mut out = Vec::new();
    if !model.lesson.list.is_empty() {
        let first = &model.lesson.list[0].id;
        out.extend(text(&lang.word(Word::LessonListHint, &[first]), look, Tone::Dim, room, "", ""));
        out.push(Line::default());
        for (at, entry) in model.lesson.list.iter().enumerate() {
            let marked = at == model.lesson.marked && model.focus == super::super::model::Pane::Lesson;
            let mark = if marked { look.sign(Sign::Pick) } else { " " };
            let done = match entry.done {
                0 => String::new(),
                n if n >= entry.steps => format!(" {}", look.sign(Sign::Done)),
                n => format!(" {n}/{}", entry.steps),
            };
            let number = entry.id.rsplit('/').next().unwrap_or_default();
            let tone = if marked { Tone::Strong } else { Tone::Plain };
            out.extend(text(&format!("{number} {}{done}", entry.title), look, tone, room, &format!("{mark} "), "     "));
        }
        return out;
    }
    out.extend(text(&lang.word(Word::LessonAbsentTitle, &[]), look, Tone::Title, room, "", ""));
    out.push(Line::default());
    match (&model.lesson.absent, &model.lesson.view) {
        (Some(why), _) => out.extend(markdown::lines(&lang.word(Word::LessonAbsent, &[why]), room, look)),
        (None, Some(_)) => out.extend(text(&lang.word(Word::LessonNone, &[]), look, Tone::Dim, room, "", "")),
        (None, None) => {
            let seconds = model.now.as_secs().to_string();
            out.extend(text(&lang.word(Word::LessonWaiting, &[&seconds]), look, Tone::Dim, room, "", ""));
        }
    }
    out
}

/// What is read: prose, and after success what happened.
fn reading(model: &Model, view: &LessonView, room: usize) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let mut out = Vec::new();
    for notice in &view.notices {
        out.extend(text(notice, look, Tone::Warn, room, &format!("{} ", look.sign(Sign::Warn)), "  "));
    }
    if !out.is_empty() {
        out.push(Line::default());
    }
    out.extend(markdown::lines(&view.prose, room, look));
    if !view.debrief.is_empty() {
        out.push(Line::default());
        out.extend(text(&lang.word(Word::What, &[]), look, Tone::Title, room, "", ""));
        for beat in &view.debrief {
            out.extend(markdown::lines(beat, room, look));
        }
    }
    if !view.also.is_empty() {
        out.push(Line::default());
        out.extend(text(&lang.word(Word::Also, &[]), look, Tone::Title, room, "", ""));
        for way in &view.also {
            for (at, line) in way.iter().enumerate() {
                let first = if at == 0 { "$ " } else { "  " };
                out.extend(text(&line.replace(' ', "\u{a0}"), look, Tone::Code, room, first, "    "));
            }
        }
    }
    out
}

/// What is to be done: the question or the task, its checks, the hints.
fn doing(model: &Model, view: &LessonView, room: usize) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let mut out = Vec::new();
    let waiting = view.predict.as_ref().is_some_and(|p| p.chosen.is_none());
    if let Some(predict) = &view.predict {
        question(predict, model, room, &mut out);
    }
    if !view.task.is_empty() && !waiting {
        let mark = format!("{} ", look.sign(Sign::Task));
        let lines = markdown::lines(&view.task, room.saturating_sub(2), look);
        for (at, line) in lines.into_iter().enumerate() {
            let mut spans = vec![ratatui::text::Span::styled(
                if at == 0 { mark.clone() } else { "  ".into() },
                look.tone(Tone::Accent),
            )];
            spans.extend(line.spans);
            out.push(Line::from(spans));
        }
    }
    for check in view.checks.iter().filter(|_| !waiting) {
        let (sign, tone) = match check.state {
            Verdict::Met => (Sign::Met, Tone::Good),
            Verdict::Holding => (Sign::Holding, Tone::Warn),
            Verdict::Unmet => (Sign::Unmet, Tone::Dim),
        };
        out.extend(text(&check.that, look, tone, room, &format!("{} ", look.sign(sign)), "  "));
    }
    if let Some(lost) = &view.lost {
        out.extend(text(&lang.word(Word::Lost, &[lost]), look, Tone::Bad, room, &format!("{} ", look.sign(Sign::Warn)), "  "));
    }
    if let Some(not_yet) = &view.not_yet {
        out.extend(text(&lang.word(Word::NotYet, &[not_yet]), look, Tone::Warn, room, "", "  "));
    }
    if let Some(refused) = &model.lesson.refused {
        out.extend(text(refused, look, Tone::Bad, room, "", "  "));
    }
    for hint in &view.hints {
        let label = lang.word(Word::Hint, &[&hint.tier.to_string()]);
        out.extend(text(&format!("{label}: {}", hint.say), look, Tone::Accent, room, "", "  "));
    }
    let end = match view.state {
        State::Open => None,
        State::Done => Some((Word::Done, Tone::Good)),
        State::Solved => Some((Word::Solved, Tone::Good)),
        State::Skipped => Some((Word::Skipped, Tone::Warn)),
    };
    if let Some((word, tone)) = end.filter(|_| !view.finished) {
        let words = lang.word(word, &[]).replace('`', "");
        out.extend(text(&words, look, tone, room, "", ""));
    }
    if view.finished {
        out.extend(text(&lang.word(Word::Finished, &[]), look, Tone::Good, room, "", ""));
        let words = match &view.next {
            Some((id, title)) => lang.word(Word::FinishedNext, &[id, title]).replace('`', ""),
            None => lang.word(Word::FinishedLast, &[]),
        };
        out.extend(text(&words, look, Tone::Plain, room, "", ""));
    }
    out
}

fn question(predict: &Predict, model: &Model, room: usize, out: &mut Vec<Line<'static>>) {
    let (lang, look) = (model.lang, model.look);
    match &predict.chosen {
        None => {
            out.extend(text(&predict.question, look, Tone::Strong, room, "? ", "  "));
            for (letter, choice) in &predict.choices {
                out.extend(text(choice, look, Tone::Plain, room, &format!("  {letter}  "), "     "));
            }
            out.extend(text(&lang.word(Word::PredictAsk, &[]), look, Tone::Accent, room, "", ""));
        }
        Some(chosen) => {
            let (words, tone) = match &predict.answer {
                None => (lang.word(Word::PredictSaid, &[chosen]), Tone::Dim),
                Some(answer) if answer == chosen => (lang.word(Word::PredictRight, &[chosen]), Tone::Good),
                Some(answer) => (lang.word(Word::PredictWrong, &[chosen, answer]), Tone::Warn),
            };
            out.extend(text(&words, look, tone, room, "", ""));
        }
    }
}
