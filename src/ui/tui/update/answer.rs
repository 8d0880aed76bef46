//! The line in which a question of a lesson is answered in the lesson's pane: Enter opens it, Enter
//! sends it, Esc closes it.

use super::ask::ask;
use crate::line;
use crate::tui::event::Effect;
use crate::tui::layout::Pane;
use crate::tui::model::Model;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lab::view::Ask;

/// Characters of an answer.
const LENGTH_MAX: usize = 200;

/// Takes a key for the line, as it comes: a text may be Korean. Letters of a Korean keyboard layout
/// become those of the keys when the answer is sent. False: the key means what it means
/// without the line.
pub(super) fn handle_key(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) -> bool {
    if model.focus != Pane::Lesson || !model.asks_answer() {
        model.lesson.draft = None;
        return false;
    }
    let Some(draft) = &mut model.lesson.draft else {
        let opens = key.code == KeyCode::Enter;
        if opens {
            model.lesson.draft = Some(String::new());
        }
        return opens;
    };
    match key.code {
        KeyCode::Char(c) if key.modifiers.difference(KeyModifiers::SHIFT).is_empty() => add(draft, [c]),
        KeyCode::Backspace => _ = draft.pop(),
        KeyCode::Esc => model.lesson.draft = None,
        KeyCode::Enter => {
            // As at the prompt: the word `answer` and quotes are no part of it.
            let written = line::written_answer(draft).unwrap_or(draft.trim());
            let text = line::unquoted(&line::answer_keys(written)).to_string();
            // Enter on an empty line closes it. An answer stays while the engine still has another
            // question.
            if text.is_empty() || ask(model, (&Ask::Answer { text }).into(), effects) {
                model.lesson.draft = None;
            }
        }
        // Reading on, and changing the pane.
        _ => return false,
    }
    true
}

/// Takes a paste for the line, if it is open: an answer is often copied from the shell. False: the
/// paste is for the shell.
pub(super) fn take_paste(model: &mut Model, text: &str) -> bool {
    let is_open = model.focus == Pane::Lesson && model.overlay.is_none() && model.asks_answer();
    let Some(draft) = model.lesson.draft.as_mut().filter(|_| is_open) else { return false };
    // The ends of lines, too, are not for an answer: Enter would send it.
    add(draft, text.trim().chars().filter(|c| !c.is_control()));
    true
}

fn add(draft: &mut String, more: impl IntoIterator<Item = char>) {
    let room = LENGTH_MAX.saturating_sub(draft.chars().count());
    draft.extend(more.into_iter().take(room));
}
