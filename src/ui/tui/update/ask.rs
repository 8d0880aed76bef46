//! Questions to the engines of lessons and labs.

use crate::tui::event::{Effect, Question};
use crate::tui::model::Model;
use crate::tui::scroll::Scroll;
use crate::tui::words::Word;
use lab::graded::view::Ask as LabAsk;
use lab::view::Ask;

/// Puts a question to an engine; false if it cannot be asked now.
pub(super) fn ask(model: &mut Model, question: Question, effects: &mut Vec<Effect>) -> bool {
    // The question that has lines played waits for its answer while they are stopped.
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
