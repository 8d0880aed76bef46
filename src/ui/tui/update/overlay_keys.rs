//! What a key changes while something lies over the panes: help, the choice of a view, the time
//! view, commands and terms of the text, and the offer of a cluster.

use super::frame_keys::put_on_line;
use crate::tui::event::Effect;
use crate::tui::map;
use crate::tui::model::{Model, Overlay, View};
use crate::tui::render;
use crate::tui::shown;
use crate::tui::words::Word;
use crossterm::event::{KeyCode, KeyEvent};

/// Takes in a key while something lies over the panes. False: it is the first letter of a line,
/// which the learner begins to type without a look at the screen: the overlay closes, and the pane
/// below it gets the letter.
pub(super) fn handle_key_in_overlay(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) -> bool {
    let Some(overlay) = model.overlay else { return false };
    let last = render::last(model, overlay);
    let at = overlay.at().min(last);
    let at = match key.code {
        KeyCode::Up => at.saturating_sub(1),
        KeyCode::Down => at.saturating_add(1).min(last),
        // The line of the time view has older moments at the left; in its list they are further
        // down.
        KeyCode::Left if matches!(overlay, Overlay::Time(_)) => at.saturating_add(1).min(last),
        KeyCode::Right if matches!(overlay, Overlay::Time(_)) => at.saturating_sub(1),
        KeyCode::Char('d') if matches!(overlay, Overlay::Time(_)) => {
            model.only_different = !model.only_different;
            at
        }
        KeyCode::PageUp => at.saturating_sub(8),
        KeyCode::PageDown | KeyCode::Char(' ') => at.saturating_add(8).min(last),
        KeyCode::Home => 0,
        KeyCode::End => last,
        KeyCode::Char(digit @ '1'..='9') if matches!(overlay, Overlay::Views(_)) => {
            if let Some(view) = View::of_digit(digit) {
                model.show(view);
                model.overlay = None;
            }
            return true;
        }
        KeyCode::Enter => {
            accept(model, overlay, at, effects);
            return true;
        }
        KeyCode::Char('y') if overlay == Overlay::Beside => {
            accept(model, overlay, at, effects);
            return true;
        }
        KeyCode::Esc | KeyCode::Char(_) => {
            model.overlay = None;
            let opened_by = match overlay {
                Overlay::Commands(_) => 't',
                Overlay::Terms(_) => 'w',
                Overlay::Beside => 'n',
                Overlay::Help(_) | Overlay::Views(_) | Overlay::Time(_) => '?',
            };
            return match key.code {
                KeyCode::Char(c) => c == 'q' || c == '?' || c == opened_by,
                _ => true,
            };
        }
        _ => return true,
    };
    model.overlay = Some(overlay.moved(at));
    true
}

/// Takes what is marked in an overlay, and closes it.
fn accept(model: &mut Model, overlay: Overlay, at: usize, effects: &mut Vec<Effect>) {
    model.overlay = None;
    match overlay {
        Overlay::Help(_) | Overlay::Terms(_) => {}
        Overlay::Commands(_) => {
            if let Some(line) = shown::commands(model).into_iter().nth(at) {
                put_on_line(model, line, effects);
            }
        }
        Overlay::Views(_) => model.show(View::ALL[at]),
        Overlay::Beside => {
            if let Some(offer) = model.offer.take() {
                model.lesson.asked = Some(model.now);
                effects.push(Effect::Begin(offer.there));
            }
        }
        Overlay::Time(_) => {
            let before = map::steps(model).get(at).map(|step| step.before);
            match before {
                Some(Some(before)) => put_on_line(model, format!("rewind {before}"), effects),
                Some(None) => model.notice = Some(Word::TimeUnknown),
                None => {}
            }
        }
    }
}
