//! The question whose answer the cluster proves, below the task.

use super::paragraph::{marked, text};
use crate::tui::look::{Sign, Tone};
use crate::tui::model::Model;
use crate::tui::words::Word;
use lab::view::{Answer, Form, Judged};
use ratatui::text::Line;

/// The question with its cards.
pub(super) fn question(answer: &Answer, model: &Model, room: usize) -> Vec<Line<'static>> {
    let look = model.look;
    let mut out = marked(&answer.question, look, Tone::Strong, room, "? ", "  ");
    for (letter, card) in &answer.cards {
        out.extend(marked(card, look, Tone::Plain, room, &format!("  {letter}  "), "     "));
    }
    out
}

/// How the last answer stands, and the line in which it is answered. What was refused since then is
/// shown below, in the place of that answer. `is_short`: the learner who has answered knows how.
pub(super) fn answering(
    answer: &Answer,
    model: &Model,
    room: usize,
    is_short: bool,
    out: &mut Vec<Line<'static>>,
) {
    let (lang, look) = (model.lang, model.look);
    if answer.state == Judged::Right {
        let given = answer.given.clone().unwrap_or_default();
        let mark = format!("{} ", look.sign(Sign::Met));
        return out.extend(marked(&given, look, Tone::Good, room, &mark, "  "));
    }
    if let Some(draft) = &model.lesson.draft {
        out.extend(text(&format!("{draft}_"), look, Tone::Accent, room, "> ", "  "));
        return;
    }
    let way = match answer.form {
        Form::Text | Form::Number => Word::AnswerAsk,
        Form::Choices => Word::AnswerAskChoices,
        Form::Order => Word::AnswerAskOrder,
    };
    if !is_short || answer.state != Judged::Wrong {
        out.extend(text(&lang.say(way, &[]), look, Tone::Accent, room, "", ""));
    }
    let given = answer.given.clone().unwrap_or_default();
    let (word, tone) = match answer.state {
        Judged::Missing | Judged::Right => return,
        Judged::Wrong if model.lesson.refused.is_some() => return,
        Judged::Waiting => (Word::AnswerWaits, Tone::Dim),
        Judged::Wrong if answer.more.is_some() => (Word::AnswerPart, Tone::Warn),
        Judged::Wrong => (Word::AnswerWrong, Tone::Warn),
        Judged::Unknown => (Word::AnswerUnknown, Tone::Warn),
        Judged::Early => (Word::AnswerEarly, Tone::Warn),
    };
    let more = answer.more.unwrap_or_default().to_string();
    out.extend(text(&lang.say(word, &[&given, &more]), look, tone, room, "", "  "));
}
