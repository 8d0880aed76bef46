//! What a key changes: keys of the frame, of the shell and of the map.

use super::answer;
use super::lesson_keys::{ends_a_text, handle_key_in_lesson};
use super::overlay_keys::handle_key_in_overlay;
use crate::tui::event::Effect;
use crate::tui::keys;
use crate::tui::layout::{Form, Pane};
use crate::tui::model::{Model, Overlay, View};
use crate::tui::words::Word;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Ctrl-C: gives up the line, a search in the history, and a text that is not finished.
const GIVE_UP: &[u8] = b"\x03";

/// Puts a command on a fresh line of the prompt and does not run it: the learner sees it, and
/// presses Enter.
pub(super) fn put_on_line(model: &mut Model, line: String, effects: &mut Vec<Effect>) {
    model.focus = Pane::Shell;
    match model.at_prompt {
        true => {
            model.at_next_prompt = Some(line);
            effects.push(Effect::Type(GIVE_UP.to_vec()));
        }
        // A program runs in the shell, and would read the line as its own input.
        false => {
            model.notice = Some(Word::NotAtPrompt);
            effects.push(Effect::Bell);
        }
    }
}

/// Takes in a key: for the frame, for what lies over the panes, or for the pane that has the focus.
pub(super) fn handle_key(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    model.notice = None;
    let leaving = std::mem::take(&mut model.leaving);
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let prefix = control && matches!(key.code, KeyCode::Char(']' | '5'));
    if std::mem::take(&mut model.prefix) {
        return handle_prefixed_key(model, keys::latin(key), prefix, leaving, effects);
    }
    if prefix {
        (model.prefix, model.leaving) = (true, leaving);
        return;
    }
    let program = model.program_has_keys();
    if let KeyCode::F(n) = key.code
        && key.modifiers.is_empty()
        && !program
        && handle_function_key(model, n, leaving, effects)
    {
        return;
    }
    if let KeyCode::F(n @ (2 | 6)) = key.code
        && key.modifiers == KeyModifiers::SHIFT
        && !program
    {
        return if n == 2 { zoom(model) } else { turn_focus(model, -1) };
    }
    if model.overlay.is_some() && handle_key_in_overlay(model, keys::latin(key), effects) {
        return;
    }
    if key.code == KeyCode::Enter && ends_a_text(model) {
        // A letter that stands alone still acts; Enter does nothing beside it.
        model.notice = model.lesson.pressed.is_none().then_some(Word::TypeInShell);
        return;
    }
    if answer::handle_key(model, key, effects) {
        return;
    }
    match model.focus {
        Pane::Shell => handle_key_in_shell(model, key, effects),
        Pane::Lesson => handle_key_in_lesson(model, keys::latin(key), effects),
        Pane::Map => handle_key_in_map(model, keys::latin(key)),
    }
}

/// Takes in the key behind the prefix: for terminals without function keys, for what has none, and
/// while a program has them. A function key goes to the shell then, whatever runs there. `again`:
/// it is the prefix key once more. `leaving`: the key before both asked to quit.
fn handle_prefixed_key(
    model: &mut Model,
    key: KeyEvent,
    again: bool,
    leaving: bool,
    effects: &mut Vec<Effect>,
) {
    match key.code {
        _ if again => effects.push(Effect::Type(vec![0x1d])),
        KeyCode::F(_) => handle_key_in_shell(model, key, effects),
        KeyCode::Tab => turn_focus(model, 1),
        KeyCode::BackTab => turn_focus(model, -1),
        KeyCode::Char('0') => {
            handle_function_key(model, 10, leaving, effects);
        }
        KeyCode::Char(c @ '1'..='9') => {
            handle_function_key(model, c as u8 - b'0', leaving, effects);
        }
        KeyCode::Char('?') => {
            handle_function_key(model, 1, leaving, effects);
        }
        KeyCode::Char('f') => zoom(model),
        KeyCode::Char('z') => effects.push(Effect::Suspend),
        KeyCode::Char('q') => quit(model, leaving, effects),
        KeyCode::Up | KeyCode::Char('k') => model.shell.scroll(1),
        KeyCode::Down | KeyCode::Char('j') => model.shell.scroll(-1),
        KeyCode::PageUp | KeyCode::Char('u') => model.shell.scroll(half_page(model)),
        KeyCode::PageDown | KeyCode::Char('d') => model.shell.scroll(-half_page(model)),
        _ => {}
    }
}

/// Half the lines of the shell's pane: so many are scrolled at once.
fn half_page(model: &Model) -> isize {
    isize::from(model.shell.size().0 as i16 / 2).max(1)
}

/// Closes the interface. An editor in the shell may hold text that is not saved: then it takes the
/// key twice. `leaving`: the key before asked to quit.
fn quit(model: &mut Model, leaving: bool, effects: &mut Vec<Effect>) {
    if leaving || !model.program_has_screen() {
        return effects.push(Effect::Quit(0));
    }
    model.leaving = true;
    model.notice = Some(Word::QuitAgain);
    effects.push(Effect::Bell);
}

/// Does what the function key with this number does in the frame; false: it does nothing there.
/// `leaving`: the key before asked to quit.
fn handle_function_key(model: &mut Model, n: u8, leaving: bool, effects: &mut Vec<Effect>) -> bool {
    let toggled = |model: &Model, new: Overlay| {
        let same = model.overlay.is_some_and(|o| std::mem::discriminant(&o) == std::mem::discriminant(&new));
        (!same).then_some(new)
    };
    match n {
        1 => model.overlay = toggled(model, Overlay::Help(0)),
        2 => enlarge(model),
        3 => {
            let here = View::ALL.iter().position(|v| *v == model.view).unwrap_or_default();
            model.overlay = toggled(model, Overlay::Views(here));
        }
        4 => model.overlay = toggled(model, Overlay::Time(0)),
        5 => model.traffic.pause(model.now),
        6 => turn_focus(model, 1),
        7 => model.traffic.step(-1, model.now),
        8 => model.traffic.step(1, model.now),
        10 => quit(model, leaving, effects),
        _ => return false,
    }
    true
}

/// Makes the pane that has the focus as large as the screen, or gives it its place back.
fn zoom(model: &mut Model) {
    model.zoom = !model.zoom;
}

/// Shows the whole map where it has two lines or none, and goes back from there to the pane before.
/// Elsewhere the map is on the screen: the pane that has the focus is made large, or small again.
fn enlarge(model: &mut Model) {
    match (model.form(), model.focus) {
        (Form::Halves | Form::Large, _) => return zoom(model),
        (_, Pane::Map) => (model.focus, model.zoom) = (model.back, false),
        (Form::Strip, _) if model.zoom => return zoom(model),
        _ => model.go_to(Pane::Map),
    }
    model.overlay = None;
}

/// Goes to the next pane, or with -1 to the one before. The map is passed over while a question
/// waits for the guess: it may show the answer. A learner who chooses a view still sees it.
pub(super) fn turn_focus(model: &mut Model, by: isize) {
    let order = [Pane::Shell, Pane::Lesson, Pane::Map];
    let here = order.iter().position(|p| *p == model.focus).unwrap_or_default() as isize;
    let pane = |panes: isize| order[(here + panes).rem_euclid(order.len() as isize) as usize];
    let passes = pane(by) == Pane::Map && model.ponders();
    if passes {
        model.notice = Some(Word::MapAfterGuess);
    }
    model.go_to(pane(if passes { 2 * by } else { by }));
    model.overlay = None;
}

/// Passes a key on to the shell's terminal, or scrolls its pane.
fn handle_key_in_shell(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    if key.modifiers == KeyModifiers::SHIFT && !model.program_has_screen() {
        match key.code {
            KeyCode::PageUp => return model.shell.scroll(half_page(model)),
            KeyCode::PageDown => return model.shell.scroll(-half_page(model)),
            _ => {}
        }
    }
    let bytes = keys::bytes(&key, model.shell.screen().application_cursor());
    if key.code == KeyCode::Enter {
        model.traffic.let_go();
    }
    if !bytes.is_empty() {
        model.shell.scroll_to_end();
        effects.push(Effect::Type(bytes));
    }
}

/// Takes in a key while the map has the focus: the play head, the object of the view, the view.
fn handle_key_in_map(model: &mut Model, key: KeyEvent) {
    let now = model.now;
    match key.code {
        KeyCode::Esc => model.focus = Pane::Shell,
        KeyCode::Tab => turn_focus(model, 1),
        KeyCode::BackTab => turn_focus(model, -1),
        KeyCode::Char(' ') => model.traffic.pause(now),
        KeyCode::Char('r') | KeyCode::Home => model.traffic.replay(now),
        KeyCode::End => model.traffic.finish(),
        KeyCode::Left => model.traffic.step(-1, now),
        KeyCode::Right => model.traffic.step(1, now),
        KeyCode::Up | KeyCode::Down => {
            let by = if key.code == KeyCode::Up { -1 } else { 1 };
            let all = model.subjects();
            match all.len().checked_sub(1) {
                None => model.traffic.choose(by, now),
                // The object that was shown may be gone: the place is at most that of the last
                // object.
                Some(last) => {
                    let place = model.place(&all).saturating_add_signed(by).min(last);
                    model.choose(&all, place);
                }
            }
        }
        KeyCode::Char('+') => model.traffic.play.slower = (model.traffic.play.slower / 2).max(10),
        KeyCode::Char('-') => model.traffic.play.slower = (model.traffic.play.slower * 2).min(1000),
        KeyCode::Char(digit) => {
            if let Some(view) = View::of_digit(digit) {
                model.show(view);
            }
        }
        _ => {}
    }
}
