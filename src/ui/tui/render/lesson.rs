//! The lesson: what to read scrolls above, what to do stands firmly below it.

use super::super::look::{Look, Sign, Tone};
use super::super::markdown;
use super::super::model::{Model, Scroll};
use super::super::text::{Piece, wrap};
use super::super::words::Word;
use crate::lab::view::{LessonView, Predict, State, Verdict};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// The frame's title and its corner.
pub fn title(model: &Model) -> (String, String) {
    let open = model.lesson.view.as_ref().filter(|v| !v.id.is_empty());
    let Some(view) = open else { return (model.lang.say(Word::PaneLesson, &[]), String::new()) };
    let number = view.id.rsplit('/').next().unwrap_or_default();
    let corner = match model.lesson.asked {
        Some(since) if model.now.saturating_sub(since).as_millis() > 200 => {
            let seconds = model.now.saturating_sub(since).as_secs().to_string();
            model.lang.say(Word::Asked, &[&seconds])
        }
        _ => format!("{}/{}", (view.step + 1).min(view.steps.max(1)), view.steps),
    };
    (format!("{number} {}", view.title), corner)
}

/// The pane's lines and where they go.
struct Sheet {
    upper: Vec<Line<'static>>,
    lower: Vec<Line<'static>>,
    /// Lines of `lower` that are shown.
    firm: usize,
    gap: usize,
    /// Lines of `upper` that are shown.
    rows: usize,
    /// The line of `upper` with which what happened begins.
    told: Option<usize>,
}

impl Sheet {
    fn of(model: &Model, area: Rect) -> Sheet {
        let room = usize::from(area.width).saturating_sub(2);
        let (upper, told, lower) = match model.lesson.view.as_ref().filter(|v| !v.id.is_empty()) {
            Some(view) => {
                let (upper, told) = reading(model, view, room);
                (upper, told, doing(model, view, room))
            }
            None => (nothing_open(model, room), None, vec![]),
        };
        let height = usize::from(area.height);
        // What to do never takes more than two thirds; in a small pane its beginning counts most.
        let most = if upper.is_empty() { height } else { (height * 2).div_ceil(3) };
        let firm = lower.len().min(most.max(1)).min(height);
        let gap = usize::from(firm > 0 && firm + upper.len() < height && !upper.is_empty());
        Sheet { rows: height - firm - gap, upper, lower, firm, gap, told }
    }

    fn last(&self) -> usize {
        self.upper.len().saturating_sub(self.rows)
    }

    fn first(&self, scroll: Scroll) -> usize {
        match scroll {
            Scroll::To(line) => line.min(self.last()),
            Scroll::Told => self.told.unwrap_or(0).min(self.last()),
        }
    }
}

/// Where a scroll by so many lines leads to; the ends of the text bound it.
pub fn scrolled(model: &Model, by: isize) -> Scroll {
    let sheet = Sheet::of(model, crate::ui::tui::layout::inside(model.panes().lesson));
    Scroll::To(sheet.first(model.lesson.scroll).saturating_add_signed(by).min(sheet.last()))
}

pub fn render(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let sheet = Sheet::of(model, area);
    let (first, last) = (sheet.first(model.lesson.scroll), sheet.last());
    let Sheet { upper, lower, firm, gap, rows, .. } = sheet;
    let room = usize::from(area.width).saturating_sub(2);
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

/// The same for a sentence of a lesson, with its emphasis and code.
fn marked(words: &str, look: Look, tone: Tone, room: usize, first: &str, rest: &str) -> Vec<Line<'static>> {
    wrap(&markdown::inline(words, look.tone(tone), look), room, first, rest)
}

/// No lesson: the list of them, or why there is none.
fn nothing_open(model: &Model, room: usize) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let mut out = Vec::new();
    if !model.lesson.list.is_empty() {
        let first = &model.lesson.list[0].id;
        out.extend(text(&lang.say(Word::LessonListHint, &[first]), look, Tone::Dim, room, "", ""));
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
            out.extend(text(
                &format!("{number} {}{done}", entry.title),
                look,
                tone,
                room,
                &format!("{mark} "),
                "     ",
            ));
        }
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

/// What is read: prose, and after success what happened.
fn reading(model: &Model, view: &LessonView, room: usize) -> (Vec<Line<'static>>, Option<usize>) {
    let (lang, look) = (model.lang, model.look);
    let mut out = Vec::new();
    for notice in &view.notices {
        out.extend(marked(notice, look, Tone::Warn, room, &format!("{} ", look.sign(Sign::Warn)), "  "));
    }
    if !out.is_empty() {
        out.push(Line::default());
    }
    out.extend(markdown::lines(&view.prose, room, look));
    let mut told = None;
    if !view.debrief.is_empty() {
        out.push(Line::default());
        told = Some(out.len());
        out.extend(text(&lang.say(Word::What, &[]), look, Tone::Title, room, "", ""));
        for beat in &view.debrief {
            out.extend(markdown::lines(beat, room, look));
        }
    }
    if !view.also.is_empty() {
        out.push(Line::default());
        out.extend(text(&lang.say(Word::Also, &[]), look, Tone::Title, room, "", ""));
        for way in &view.also {
            for (at, line) in way.iter().enumerate() {
                let first = if at == 0 { "$ " } else { "  " };
                out.extend(text(&line.replace(' ', "\u{a0}"), look, Tone::Code, room, first, "    "));
            }
        }
    }
    (out, told)
}

/// What is to be done: the question or the task, its checks, the hints.
fn doing(model: &Model, view: &LessonView, room: usize) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let mut out = Vec::new();
    // What is done needs no room any more: the explanation does.
    let over = view.state != State::Open;
    let waiting = !over && view.predict.as_ref().is_some_and(|p| p.chosen.is_none());
    if let Some(predict) = view.predict.as_ref().filter(|p| !over || p.chosen.is_some()) {
        question(predict, model, room, &mut out);
    }
    if over && !view.checks.is_empty() {
        let sign = format!("{} ", look.sign(Sign::Met));
        let words = lang.say(Word::DoneAll, &[&view.checks.len().to_string()]);
        let met = view.checks.iter().all(|c| c.state == Verdict::Met);
        out.extend(text(&words, look, Tone::Good, room, &sign, "  ").into_iter().filter(|_| met));
    }
    if !view.task.is_empty() && !waiting && !over {
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
    for check in view.checks.iter().filter(|_| !waiting && !over) {
        let (sign, tone) = match check.state {
            Verdict::Met => (Sign::Met, Tone::Good),
            Verdict::Holding => (Sign::Holding, Tone::Warn),
            Verdict::Unmet => (Sign::Unmet, Tone::Dim),
        };
        out.extend(marked(&check.that, look, tone, room, &format!("{} ", look.sign(sign)), "  "));
    }
    if let Some(lost) = &view.lost {
        out.extend(marked(
            &lang.say(Word::Lost, &[lost]),
            look,
            Tone::Bad,
            room,
            &format!("{} ", look.sign(Sign::Warn)),
            "  ",
        ));
    }
    if let Some(not_yet) = &view.not_yet {
        out.extend(marked(&lang.say(Word::NotYet, &[not_yet]), look, Tone::Warn, room, "", "  "));
    }
    if let Some(refused) = &model.lesson.refused {
        out.extend(text(refused, look, Tone::Bad, room, "", "  "));
    }
    for hint in view.hints.iter().filter(|_| !over) {
        let label = lang.say(Word::Hint, &[&hint.tier.to_string()]);
        out.extend(marked(&format!("{label}: {}", hint.say), look, Tone::Accent, room, "", "  "));
    }
    let end = match view.state {
        State::Open => None,
        State::Done => Some((Word::Done, Tone::Good)),
        State::Solved => Some((Word::Solved, Tone::Good)),
        State::Skipped => Some((Word::Skipped, Tone::Warn)),
    };
    if let Some((word, tone)) = end.filter(|_| !view.finished) {
        out.extend(marked(&lang.say(word, &[]), look, tone, room, "", ""));
    }
    if view.finished {
        out.extend(text(&lang.say(Word::Finished, &[]), look, Tone::Good, room, "", ""));
        let words = match &view.next {
            Some((id, title)) => lang.say(Word::FinishedNext, &[id, title]),
            None => lang.say(Word::FinishedLast, &[]),
        };
        out.extend(marked(&words, look, Tone::Plain, room, "", ""));
    }
    out
}

fn question(predict: &Predict, model: &Model, room: usize, out: &mut Vec<Line<'static>>) {
    let (lang, look) = (model.lang, model.look);
    match &predict.chosen {
        None => {
            out.extend(marked(&predict.question, look, Tone::Strong, room, "? ", "  "));
            for (letter, choice) in &predict.choices {
                out.extend(marked(choice, look, Tone::Plain, room, &format!("  {letter}  "), "     "));
            }
            out.extend(text(&lang.say(Word::PredictAsk, &[]), look, Tone::Accent, room, "", ""));
        }
        Some(chosen) => {
            let (words, tone) = match &predict.answer {
                None => (lang.say(Word::PredictSaid, &[chosen]), Tone::Dim),
                Some(answer) if answer == chosen => (lang.say(Word::PredictRight, &[chosen]), Tone::Good),
                Some(answer) => (lang.say(Word::PredictWrong, &[chosen, answer]), Tone::Warn),
            };
            out.extend(text(&words, look, tone, room, "", ""));
        }
    }
}
