//! The lesson: what to read scrolls above, what to do stands firmly below it.

use super::super::look::{Look, Sign, Tone};
use super::super::markdown;
use super::super::model::Model;
use super::super::words::Word;
use super::answer;
use super::lab;
use super::marks::Marks;
use super::paragraph::{self, marked, text};
use crate::lesson::{alone, missing};
use crate::texts::Lang;
use ::lab::view::{Check, Judged, LessonView, Predict, State, Verdict};
use ratatui::text::{Line, Span};

/// The frame's title and its corner.
pub(crate) fn title(model: &Model) -> (String, String) {
    if let Some(view) = model.shown_lab() {
        return lab::title(model, view);
    }
    let asked = model.waits_since().map(|since| {
        let seconds = model.now.saturating_sub(since).as_secs().to_string();
        model.lang.say(Word::Asked, &[&seconds])
    });
    // From the list a lesson is opened whose cluster has to start first.
    let Some(view) = model.open_lesson() else {
        return (model.lang.say(Word::PaneLesson, &[]), asked.unwrap_or_default());
    };
    let number = view.id.rsplit('/').next().unwrap_or_default();
    let step = || format!("{}/{}", (view.step + 1).min(view.steps.max(1)), view.steps);
    (format!("{number} {}", view.title), asked.unwrap_or_else(step))
}

/// How the corner of the frame is dressed.
pub(super) fn corner_tone(model: &Model) -> Tone {
    if model.shown_lab().is_some() { lab::corner_tone(model) } else { Tone::Dim }
}

/// What is read: prose, and after success what happened.
pub(super) fn reading(model: &Model, view: &LessonView, room: usize) -> (Vec<Line<'static>>, Marks) {
    let (lang, look) = (model.lang, model.look);
    let (mut out, mut marks) = (Vec::new(), Marks::default());
    for notice in &view.notices {
        out.extend(marked(notice, look, Tone::Warn, room, &format!("{} ", look.sign(Sign::Warn)), "  "));
    }
    if !out.is_empty() {
        out.push(Line::default());
    }
    marks.command = first_code(&view.prose, room, look).map(|at| out.len() + at);
    out.extend(markdown::lines(&view.prose, room, look));
    let open = view.state == State::Open;
    if open && let Some(said) = view.predict.as_ref().and_then(|p| p.chosen.as_ref()) {
        out.push(Line::default());
        // The choices are no longer on the screen.
        let choices = view.predict.iter().flat_map(|p| &p.choices);
        let words = choices.into_iter().find(|(letter, _)| letter == said).map(|(_, words)| words);
        let said = &words.map_or(said.clone(), |words| format!("{said}: {words}"));
        marks.said = Some(out.len());
        out.extend(marked(&lang.say(Word::PredictSaid, &[said]), look, Tone::Dim, room, "", ""));
    }
    if !view.after.is_empty() {
        out.push(Line::default());
        let here = out.len();
        marks.command = marks.command.or_else(|| first_code(&view.after, room, look).map(|at| here + at));
        out.extend(markdown::lines(&view.after, room, look));
    }
    // The newest hint stands below, beside the task. The others do not come between the guess and
    // what is said to it.
    let older = view.hints.len().saturating_sub(1);
    if open && older > 0 {
        out.push(Line::default());
        for (at, hint) in view.hints[..older].iter().enumerate() {
            out.extend(hinted(model, at + 1, &hint.say, room, Tone::Dim));
        }
    }
    if !view.debrief.is_empty() {
        out.push(Line::default());
        marks.outcome = Some(out.len());
        out.extend(text(&lang.say(Word::What, &[]), look, Tone::Title, room, "", ""));
        for beat in &view.debrief {
            out.extend(markdown::lines(beat, room, look));
        }
    }
    if !view.closing.is_empty() {
        out.push(Line::default());
        out.extend(markdown::lines(&view.closing, room, look));
    }
    if !view.also.is_empty() {
        out.push(Line::default());
        out.extend(text(&lang.say(Word::Also, &[]), look, Tone::Title, room, "", ""));
        for way in &view.also {
            for (at, line) in way.iter().enumerate() {
                let first = if at == 0 { "$ " } else { "  " };
                // As they are: in a manifest the spaces before a line have a meaning.
                let style = look.tone(Tone::Code);
                out.extend(markdown::code(&format!("{first}{line}"), room, "    ", style, look));
            }
        }
    }
    (out, marks)
}

/// The line of a text with which its first block of code begins.
fn first_code(text: &str, room: usize, look: Look) -> Option<usize> {
    let before = markdown::lines(&text[..text.find("```")?], room, look).len();
    // An empty line stands between the sentences and the code.
    Some(before + usize::from(before > 0))
}

/// Which checks are shown where room is scarce.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Checks {
    All,
    /// Each that is missing; those that are met in one line.
    Open,
    /// The one that is missing, and how many are met, in words.
    Unmet,
    /// The one that is missing, and how many are met, in figures.
    Brief,
    /// As [`Checks::Brief`], and after a wrong answer without the line that says how to answer.
    Short,
    /// As [`Checks::Short`], and the question with its cards ends what is read: it is too long to
    /// stand firm.
    Apart,
}

/// True while a question about the cluster waits for its answer.
pub(super) fn asks(view: &LessonView) -> bool {
    let is_guessed = view.predict.as_ref().is_none_or(|p| p.chosen.is_some());
    view.state == State::Open && is_guessed && view.answer.as_ref().is_some_and(|a| a.state != Judged::Right)
}

/// What is to be done: the question or the task, its checks, the newest hint. What is done needs no
/// room any more: the explanation does.
pub(super) fn doing(model: &Model, view: &LessonView, room: usize, which: Checks) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let mut out = Vec::new();
    let open = view.state == State::Open;
    // First, because a long task would push the end of the sentence out of the pane, and the end
    // names the remedy.
    if let Some(lost) = &view.lost {
        out.extend(marked(lost, look, Tone::Bad, room, &format!("{} ", look.sign(Sign::Warn)), "  "));
    }
    let question = view.predict.as_ref().filter(|p| open && p.chosen.is_none());
    match question {
        Some(predict) => asking(predict, model, room, &mut out),
        None if open => {
            let mark = format!("{} ", look.sign(Sign::Task));
            let lines = markdown::lines(&view.task, room.saturating_sub(2), look);
            for (at, line) in lines.into_iter().enumerate() {
                let lead = if at == 0 { mark.clone() } else { "  ".into() };
                let mut spans = vec![Span::styled(lead, look.tone(Tone::Accent))];
                spans.extend(line.spans);
                out.push(Line::from(spans));
            }
            checks(model, view, room, which, &mut out);
            if let Some(answer) = &view.answer {
                if which != Checks::Apart && answer.state != Judged::Right {
                    out.extend(answer::question(answer, model, room));
                }
                answer::answering(answer, model, room, which == Checks::Short, &mut out);
            }
        }
        None => {}
    }
    for why in model.lesson.failure.iter().chain(&model.lesson.refused) {
        out.extend(marked(why, look, Tone::Bad, room, "", "  "));
    }
    if let Some(hint) = view.hints.last().filter(|_| open) {
        let tone = if hint.is_past { Tone::Dim } else { Tone::Accent };
        out.extend(hinted(model, view.hints.len(), &hint.say, room, tone));
    }
    // The task has to be seen whole; a learner who looks for help finds `hint` in
    // the bar as well.
    if view.is_stuck
        && open
        && question.is_none()
        && matches!(which, Checks::All | Checks::Open | Checks::Unmet)
    {
        out.extend(marked(&lang.say(Word::Stuck, &[]), look, Tone::Accent, room, "", "  "));
    }
    let (words, tone) = match (&view.next, view.state) {
        _ if !view.is_at_the_end() && open => return out,
        _ if view.is_at_the_end() && model.is_declared => (lang.say(Word::FinishedHome, &[]), Tone::Good),
        (Some((id, title)), _) if view.is_at_the_end() => {
            let number = id.rsplit('/').next().unwrap_or_default();
            (lang.say(Word::FinishedNext, &[number, title]), Tone::Good)
        }
        (None, _) if view.is_at_the_end() => (lang.say(Word::FinishedLast, &[]), Tone::Good),
        (_, State::Solved) => (lang.say(Word::Solved, &[]), Tone::Good),
        (_, State::Skipped) => (lang.say(Word::Skipped, &[]), Tone::Warn),
        _ => (lang.say(Word::Done, &[]), Tone::Good),
    };
    out.extend(marked(&words, look, tone, room, &format!("{} ", look.sign(Sign::Met)), "  "));
    if let Some(then) = view.then.as_ref().filter(|_| view.is_at_the_end()) {
        let lead = format!("{} ", look.sign(Sign::Task));
        out.extend(marked(&alone(lang, then), look, Tone::Accent, room, &lead, "  "));
    }
    if view.is_at_the_end() && !model.is_declared {
        out.extend(marked(&lang.say(Word::PlayAgain, &[]), look, Tone::Dim, room, "  ", "  "));
    }
    out
}

fn hinted(model: &Model, number: usize, say: &str, room: usize, tone: Tone) -> Vec<Line<'static>> {
    let label = model.lang.say(Word::Hint, &[&number.to_string()]);
    paragraph::hinted(&format!("{label}: {say}"), model.look, tone, room)
}

fn checks(model: &Model, view: &LessonView, room: usize, which: Checks, out: &mut Vec<Line<'static>>) {
    let look = model.look;
    if !matches!(which, Checks::All | Checks::Open) && view.checks.len() > 1 {
        let (sign, tone) = match view.missing() {
            None => (Sign::Holding, Tone::Warn),
            Some(_) if view.not_yet.is_some() => (Sign::Dot, Tone::Warn),
            Some(_) => (Sign::Dot, Tone::Dim),
        };
        let named = view
            .missing()
            .and_then(|at| view.checks.get(at))
            .filter(|_| matches!(which, Checks::Brief | Checks::Short | Checks::Apart));
        let words = match named {
            Some(check) => format!("{} ({}/{})", check.that, view.met(), view.checks.len()),
            None => missing(model.lang, view),
        };
        return out.extend(marked(&words, look, tone, room, &format!("{} ", look.sign(sign)), "  "));
    }
    let met = view.checks.iter().filter(|check| check.state == Verdict::Met).count();
    let folded = which == Checks::Open && met > 1;
    if folded {
        let count = format!("{met}/{}", view.checks.len());
        out.extend(text(&count, look, Tone::Good, room, &format!("{} ", look.sign(Sign::Met)), "  "));
    }
    let is_shown = |check: &Check| !folded || check.state != Verdict::Met;
    for (at, check) in view.checks.iter().enumerate().filter(|(_, check)| is_shown(check)) {
        // After a while without success the one that is missing stands out.
        let late = view.not_yet.is_some() && Some(at) == view.missing();
        let (sign, tone) = match check.state {
            Verdict::Met => (Sign::Met, Tone::Good),
            Verdict::Holding => (Sign::Holding, Tone::Warn),
            // A cross would say that it is wrong; it is only not done yet.
            Verdict::Unmet if late => (Sign::Dot, Tone::Warn),
            Verdict::Unmet => (Sign::Dot, Tone::Dim),
        };
        out.extend(marked(&check.that, look, tone, room, &format!("{} ", look.sign(sign)), "  "));
    }
}

fn asking(predict: &Predict, model: &Model, room: usize, out: &mut Vec<Line<'static>>) {
    let (lang, look) = (model.lang, model.look);
    out.extend(marked(&predict.question, look, Tone::Strong, room, "? ", "  "));
    for (letter, choice) in &predict.choices {
        out.extend(marked(choice, look, Tone::Plain, room, &format!("  {letter}  "), "     "));
    }
    let letters: Vec<&str> = predict.choices.iter().map(|(letter, _)| letter.as_str()).collect();
    let ask = lang.say(Word::PredictAsk, &[&one_of(lang, &letters)]);
    out.extend(text(&ask, look, Tone::Accent, room, "", ""));
}

/// The letters as a choice of one: a bare row of them reads as if all were to be typed.
fn one_of(lang: Lang, letters: &[&str]) -> String {
    match (lang, letters.split_last()) {
        (Lang::En, Some((last, first))) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => letters.join(", "),
    }
}
