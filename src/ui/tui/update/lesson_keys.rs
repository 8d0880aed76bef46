//! What a key changes in the lesson's pane: pages, the list, and letters that ask the engine.

use super::ask::ask;
use super::frame_keys::{put_on_line, turn_focus};
use crate::tui::event::Effect;
use crate::tui::layout::Pane;
use crate::tui::model::{Act, BURST, Model, Overlay, Page};
use crate::tui::render::{self, lesson_page, scrolled};
use crate::tui::scroll::Scroll;
use crate::tui::shown;
use crate::tui::words::Word;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lab::graded::view::{Ask as LabAsk, LabView};
use lab::view::Ask;

/// Holds a letter that was pressed in the lesson's pane, with what it does there: it acts when
/// nothing follows it for a moment. A command that is typed with the focus on the wrong pane must
/// not turn pages or answer questions.
fn hold_letter(model: &mut Model, act: Option<Act>) {
    let now = model.now;
    let follows = model.lesson.typed.replace(now).is_some_and(|last| now.saturating_sub(last) < BURST);
    model.lesson.pressed = act.filter(|_| !follows).map(|act| (act, now));
    if follows {
        model.notice = Some(Word::TypeInShell);
    }
}

/// True if Enter comes right behind a letter in the lesson's pane: it ends a command that was typed
/// with the focus on the wrong pane. In the open line of an answer it sends the answer.
pub(super) fn ends_a_text(model: &Model) -> bool {
    let lesson = &model.lesson;
    let follows = lesson.typed.is_some_and(|last| model.now.saturating_sub(last) < BURST);
    model.focus == Pane::Lesson && lesson.draft.is_none() && follows
}

/// Does what the held letter stands for, once nothing has followed it for [`BURST`].
pub(super) fn act_on_held_letter(model: &mut Model, effects: &mut Vec<Effect>) {
    let now = model.now;
    let pressed = model.lesson.pressed.take_if(|(_, at)| now.saturating_sub(*at) >= BURST);
    let Some((act, _)) = pressed.filter(|_| model.focus == Pane::Lesson) else { return };
    match act {
        Act::Ask(question) => _ = ask(model, question, effects),
        Act::Type(line) => put_on_line(model, line, effects),
        Act::Turn => turn_page(model, effects),
        Act::Commands => choose_command(model, effects),
        Act::Terms if shown::terms(model).is_empty() => model.notice = Some(Word::NoTerm),
        Act::Terms => model.overlay = Some(Overlay::Terms(0)),
    }
}

/// Puts the command of the text on the line of the prompt; of several, the learner chooses one.
fn choose_command(model: &mut Model, effects: &mut Vec<Effect>) {
    let mut commands = shown::commands(model);
    match (commands.pop(), commands.len()) {
        (None, _) => model.notice = Some(Word::NoCommand),
        (Some(only), 0) => put_on_line(model, only, effects),
        (Some(_), _) => model.overlay = Some(Overlay::Commands(0)),
    }
}

/// Shows the list, with its mark at what was shown; from there, goes back to what is open.
fn turn_page(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.page == Page::List {
        // A lesson that was read beside a lab is gone back to, unless it was closed meanwhile.
        let is_open = model.lesson.view.as_ref().is_some_and(|view| !view.id.is_empty());
        model.page = if is_open { model.lesson.turned_from } else { Page::Open };
        return;
    }
    model.lesson.turned_from = model.page;
    let shown = model.shown_lab().map(|lab| &lab.id).or(model.open_lesson().map(|lesson| &lesson.id));
    let there = shown.and_then(|shown| model.listed_ids().position(|id| id == shown));
    // The list may be an old one, or empty: the next one will have the entry.
    model.lesson.marked = there.unwrap_or(usize::MAX);
    model.page = Page::List;
    model.scroll_to(render::in_sight(model));
    effects.push(Effect::Ask((&Ask::List).into()));
}

/// Scrolls the lesson's pane. In the list the mark goes along: Enter opens an entry that is seen.
pub(super) fn scroll_by(model: &mut Model, lines: isize) {
    model.scroll_to(scrolled(model, lines));
    if model.shows_list() {
        model.lesson.marked = render::mark_in_sight(model);
    }
}

/// Takes in a key while the lesson's pane has the focus.
pub(super) fn handle_key_in_lesson(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    let (list, page) = (model.shows_list(), lesson_page(model));
    match key.code {
        KeyCode::Esc => model.focus = Pane::Shell,
        KeyCode::Tab => turn_focus(model, 1),
        KeyCode::BackTab => turn_focus(model, -1),
        KeyCode::Up | KeyCode::Down if list => {
            let by = if key.code == KeyCode::Up { -1 } else { 1 };
            let last = (model.lesson.list.len() + model.lab.list.len()).saturating_sub(1);
            model.lesson.marked = model.lesson.marked.saturating_add_signed(by).min(last);
            model.scroll_to(render::in_sight(model));
        }
        KeyCode::Enter if list => open_marked(model, effects),
        KeyCode::Up => model.scroll_to(scrolled(model, -1)),
        KeyCode::Down => model.scroll_to(scrolled(model, 1)),
        KeyCode::PageUp => scroll_by(model, -page),
        KeyCode::PageDown => scroll_by(model, page),
        KeyCode::Char(' ') => {
            scroll_by(model, page);
            hold_letter(model, None); // perhaps between two words
        }
        KeyCode::Home => {
            model.scroll_to(Scroll::To(0));
            model.lesson.marked = if list { 0 } else { model.lesson.marked };
        }
        KeyCode::End => {
            scroll_by(model, isize::MAX);
            let last = model.listed_ids().count().saturating_sub(1);
            model.lesson.marked = if list { last } else { model.lesson.marked };
        }
        KeyCode::Char(c) if key.modifiers.difference(KeyModifiers::SHIFT).is_empty() => {
            let act = act_of(model, c.to_ascii_lowercase());
            hold_letter(model, act);
        }
        KeyCode::Enter => {
            let view = model.open_lesson();
            if view.is_some_and(|v| v.finished || v.state != lab::view::State::Open) {
                ask(model, (&Ask::Next).into(), effects);
            }
        }
        _ => {}
    }
}

/// Opens the lesson that is marked in the list. The start of a lab is put on the prompt's line: it
/// may end another one, about which the prompt asks.
fn open_marked(model: &mut Model, effects: &mut Vec<Effect>) {
    let (marked, lessons) = (model.lesson.marked, model.lesson.list.len());
    let lesson = model.lesson.list.get(marked).map(|entry| entry.id.clone());
    let lab = model.lab.list.get(marked.saturating_sub(lessons)).map(|entry| entry.id.clone());
    let is_open = |id: &String| model.open_ids().any(|open| open == id);
    match (lesson, lab) {
        (Some(id), _) if is_open(&id) => model.page = Page::Lesson,
        (Some(id), _) => _ = ask(model, (&Ask::Open { id }).into(), effects),
        (None, Some(id)) if is_open(&id) => model.page = Page::Open,
        (None, Some(id)) => put_on_line(model, format!("lab start {id}"), effects),
        (None, None) => {}
    }
}

/// Returns what a letter does in the lesson's pane as it is now.
fn act_of(model: &Model, letter: char) -> Option<Act> {
    if let Some(view) = model.shown_lab() {
        return act_in_lab(view, letter).or_else(|| act_on_text(letter));
    }
    if letter == 's' && model.plays() {
        return Some(Act::Ask((&Ask::Stop { question: None }).into()));
    }
    if letter == 'o' && model.open_ids().next().is_some() {
        return Some(Act::Turn);
    }
    // While a question waits, letters are answers, or look at the text, and nothing else.
    let asked = match model.question() {
        Some(predict) => {
            let choice = letter.to_string();
            predict.choices.iter().any(|(c, _)| *c == choice).then_some(Ask::Predict { choice })
        }
        None if model.open_lesson().is_none() => None,
        None => match letter {
            'n' => Some(Ask::Next),
            'b' => Some(Ask::Back),
            'h' => Some(Ask::Hint),
            'c' => Some(Ask::Check { id: None }),
            _ => None,
        },
    };
    let of_text = || act_on_text(letter).filter(|_| model.open_lesson().is_some());
    asked.map(|asked| Act::Ask((&asked).into())).or_else(of_text)
}

/// Returns what a letter does with the text of a lesson or a lab.
fn act_on_text(letter: char) -> Option<Act> {
    match letter {
        't' => Some(Act::Commands),
        'w' => Some(Act::Terms),
        _ => None,
    }
}

/// Returns what a letter does while the pane shows a lab. What only looks is asked at once; what
/// counts or cannot be taken back is put on the prompt's line.
fn act_in_lab(view: &LabView, letter: char) -> Option<Act> {
    let id = Some(view.id.clone());
    let line = |line: &str| Some(Act::Type(line.into()));
    match letter {
        'h' => line("lab hint"),
        'c' => Some(Act::Ask((&LabAsk::Check { id, seed: None }).into())),
        'g' => line("lab grade"),
        'u' => line("lab give-up"),
        'l' => line("lab leave"),
        'o' => Some(Act::Turn),
        _ => None,
    }
}
