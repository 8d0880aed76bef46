//! Questions to the engines of lessons and labs.

use crate::tui::event::{Effect, Question};
use crate::tui::model::Model;
use crate::tui::scroll::Scroll;
use crate::tui::words::Word;
use lab::graded::view::Ask as LabAsk;
use lab::view::{Ask, LessonView};

/// Puts a question to an engine; false if it cannot be asked now.
pub(super) fn ask(model: &mut Model, question: Question, effects: &mut Vec<Effect>) -> bool {
    // `next` after the last step leaves the cluster that the lesson declares; no engine is asked.
    let over = model.is_declared && model.open_lesson().is_some_and(LessonView::is_at_the_end);
    if over && matches!(question.ask(), Some(Ask::Next)) {
        effects.push(Effect::Home(0));
        return true;
    }
    // The question for which lines are played is still without an answer: `Stop` does not wait
    // for it.
    let stops = matches!(question.ask(), Some(Ask::Stop { .. }));
    if model.lesson.asked.is_some() && !stops {
        model.notice = Some(Word::StillAsked);
        return false;
    }
    let can_ask = model.lesson.view.is_some() || !model.lesson.list.is_empty() || model.shown_lab().is_some();
    if can_ask {
        if matches!(question.ask_lab(), Some(LabAsk::Check { .. })) {
            model.lab.scroll = Scroll::Tasks;
        }
        model.lesson.asked = Some(model.now);
        effects.push(Effect::Ask(question));
    }
    can_ask
}
