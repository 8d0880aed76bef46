//! What a key changes, by the pane that has the focus.

use super::ask::ask;
use crate::tui::event::Effect;
use crate::tui::keys;
use crate::tui::layout::{Form, Pane};
use crate::tui::map;
use crate::tui::model::{Act, BURST, Model, Overlay, Page, View};
use crate::tui::render::{self, lesson_page, scrolled};
use crate::tui::scroll::Scroll;
use crate::tui::shown;
use crate::tui::words::Word;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lab::graded::view::{Ask as LabAsk, LabView};
use lab::view::Ask;

/// Ctrl-C: gives up the line, a search in the history, and a text that is not finished.
const GIVE_UP: &[u8] = b"\x03";

/// A letter in the lesson's pane: it acts when nothing follows it for a moment. A command
/// that is typed with the focus on the wrong pane must not turn pages or answer questions.
fn letter(model: &mut Model, act: Option<Act>) {
    let now = model.now;
    let follows = model.lesson.typed.replace(now).is_some_and(|last| now.saturating_sub(last) < BURST);
    model.lesson.pressed = act.filter(|_| !follows).map(|act| (act, now));
    if follows {
        model.notice = Some(Word::TypeInShell);
    }
}

/// True if Enter comes right behind a letter in the lesson's pane: it ends a command that was typed
/// with the focus on the wrong pane. In the open line of an answer it sends the answer.
fn ends_a_text(model: &Model) -> bool {
    let lesson = &model.lesson;
    let follows = lesson.typed.is_some_and(|last| model.now.saturating_sub(last) < BURST);
    model.focus == Pane::Lesson && lesson.draft.is_none() && follows
}

/// Does what a letter stands for, once nothing has followed it.
pub(super) fn do_pressed(model: &mut Model, effects: &mut Vec<Effect>) {
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

/// Puts a command on a fresh line of the prompt and does not run it: the learner sees it, and
/// presses Enter.
fn put_on_line(model: &mut Model, line: String, effects: &mut Vec<Effect>) {
    model.focus = Pane::Shell;
    match model.at_prompt {
        true => {
            model.at_next_prompt = Some(line);
            effects.push(Effect::Type(GIVE_UP.to_vec()));
        }
        // The program that runs there would take it for its own.
        false => {
            model.notice = Some(Word::NotAtPrompt);
            effects.push(Effect::Bell);
        }
    }
}

/// Takes in a key.
pub(super) fn press(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    model.notice = None;
    let leaving = std::mem::take(&mut model.leaving);
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let prefix = control && matches!(key.code, KeyCode::Char(']' | '5'));
    if std::mem::take(&mut model.prefix) {
        return prefixed(model, keys::latin(key), prefix, leaving, effects);
    }
    if prefix {
        (model.prefix, model.leaving) = (true, leaving);
        return;
    }
    let program = model.program_has_keys();
    if let KeyCode::F(n) = key.code
        && key.modifiers.is_empty()
        && !program
        && function(model, n, leaving, effects)
    {
        return;
    }
    if let KeyCode::F(n @ (2 | 6)) = key.code
        && key.modifiers == KeyModifiers::SHIFT
        && !program
    {
        return if n == 2 { zoom(model) } else { turn(model, -1) };
    }
    if model.overlay.is_some() && over(model, keys::latin(key), effects) {
        return;
    }
    if key.code == KeyCode::Enter && ends_a_text(model) {
        // A letter that stands alone still acts; Enter does nothing beside it.
        model.notice = model.lesson.pressed.is_none().then_some(Word::TypeInShell);
        return;
    }
    if super::answer::typed(model, key, effects) {
        return;
    }
    match model.focus {
        Pane::Shell => in_shell(model, key, effects),
        Pane::Lesson => in_lesson(model, keys::latin(key), effects),
        Pane::Map => in_map(model, keys::latin(key)),
    }
}

/// After the prefix: for terminals without function keys, for what has none, and while a program
/// has them. A function key goes to the shell then, whatever runs there.
fn prefixed(model: &mut Model, key: KeyEvent, again: bool, leaving: bool, effects: &mut Vec<Effect>) {
    match key.code {
        _ if again => effects.push(Effect::Type(vec![0x1d])),
        KeyCode::F(_) => in_shell(model, key, effects),
        KeyCode::Tab => turn(model, 1),
        KeyCode::BackTab => turn(model, -1),
        KeyCode::Char('0') => {
            function(model, 10, leaving, effects);
        }
        KeyCode::Char(c @ '1'..='9') => {
            function(model, c as u8 - b'0', leaving, effects);
        }
        KeyCode::Char('?') => {
            function(model, 1, leaving, effects);
        }
        KeyCode::Char('f') => zoom(model),
        KeyCode::Char('z') => effects.push(Effect::Suspend),
        KeyCode::Char('q') => quit(model, leaving, effects),
        KeyCode::Up | KeyCode::Char('k') => model.shell.scroll(1),
        KeyCode::Down | KeyCode::Char('j') => model.shell.scroll(-1),
        KeyCode::PageUp | KeyCode::Char('u') => model.shell.scroll(page(model)),
        KeyCode::PageDown | KeyCode::Char('d') => model.shell.scroll(-page(model)),
        _ => {}
    }
}

fn page(model: &Model) -> isize {
    isize::from(model.shell.size().0 as i16 / 2).max(1)
}

/// An editor in the shell may hold text that is not saved: then it takes the key twice.
fn quit(model: &mut Model, leaving: bool, effects: &mut Vec<Effect>) {
    if leaving || !model.program_has_screen() {
        return effects.push(Effect::Quit(0));
    }
    model.leaving = true;
    model.notice = Some(Word::QuitAgain);
    effects.push(Effect::Bell);
}

/// A function key of the frame; false: it is not one. `leaving`: the key before asked to quit.
fn function(model: &mut Model, n: u8, leaving: bool, effects: &mut Vec<Effect>) -> bool {
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
        6 => turn(model, 1),
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
fn turn(model: &mut Model, by: isize) {
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

fn in_shell(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    if key.modifiers == KeyModifiers::SHIFT && !model.program_has_screen() {
        match key.code {
            KeyCode::PageUp => return model.shell.scroll(page(model)),
            KeyCode::PageDown => return model.shell.scroll(-page(model)),
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

/// Scrolls the lesson's pane. In the list the mark goes along: Enter opens an entry that is seen.
pub(super) fn scroll_by(model: &mut Model, lines: isize) {
    model.scroll_to(scrolled(model, lines));
    if model.shows_list() {
        model.lesson.marked = render::mark_in_sight(model);
    }
}

fn in_lesson(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    let (list, page) = (model.shows_list(), lesson_page(model));
    match key.code {
        KeyCode::Esc => model.focus = Pane::Shell,
        KeyCode::Tab => turn(model, 1),
        KeyCode::BackTab => turn(model, -1),
        KeyCode::Up | KeyCode::Down if list => {
            let by = if key.code == KeyCode::Up { -1 } else { 1 };
            let last = (model.lesson.list.len() + model.lab.list.len()).saturating_sub(1);
            model.lesson.marked = model.lesson.marked.saturating_add_signed(by).min(last);
            model.scroll_to(render::in_sight(model));
        }
        KeyCode::Enter if list => choose(model, effects),
        KeyCode::Up => model.scroll_to(scrolled(model, -1)),
        KeyCode::Down => model.scroll_to(scrolled(model, 1)),
        KeyCode::PageUp => scroll_by(model, -page),
        KeyCode::PageDown => scroll_by(model, page),
        KeyCode::Char(' ') => {
            scroll_by(model, page);
            letter(model, None); // perhaps between two words
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
            let act = act(model, c.to_ascii_lowercase());
            letter(model, act);
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
fn choose(model: &mut Model, effects: &mut Vec<Effect>) {
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

/// What a letter in the lesson's pane does there and now.
fn act(model: &Model, letter: char) -> Option<Act> {
    if let Some(view) = model.shown_lab() {
        return act_in_lab(view, letter).or_else(|| about_the_text(letter));
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
    let of_text = || about_the_text(letter).filter(|_| model.open_lesson().is_some());
    asked.map(|asked| Act::Ask((&asked).into())).or_else(of_text)
}

/// What a letter does with the text of a lesson or a lab.
fn about_the_text(letter: char) -> Option<Act> {
    match letter {
        't' => Some(Act::Commands),
        'w' => Some(Act::Terms),
        _ => None,
    }
}

/// The same while the pane shows a lab. What only looks is asked at once; what counts or cannot be
/// taken back is put on the prompt's line.
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

fn in_map(model: &mut Model, key: KeyEvent) {
    let now = model.now;
    match key.code {
        KeyCode::Esc => model.focus = Pane::Shell,
        KeyCode::Tab => turn(model, 1),
        KeyCode::BackTab => turn(model, -1),
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
                // What it was about may be gone: from the last that is there.
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

/// Takes what is marked in an overlay, and closes it.
fn enter(model: &mut Model, overlay: Overlay, at: usize, effects: &mut Vec<Effect>) {
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

/// A key while something lies over the panes. False: it is the first letter of a line, which the
/// learner begins to type without a look at the screen: the overlay closes, and the pane below it
/// gets the letter.
fn over(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) -> bool {
    let Some(overlay) = model.overlay else { return false };
    let last = render::last(model, overlay);
    let at = overlay.at().min(last);
    let at = match key.code {
        KeyCode::Up => at.saturating_sub(1),
        KeyCode::Down => at.saturating_add(1).min(last),
        // On the line of the time view what is older stands at the left.
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
            enter(model, overlay, at, effects);
            return true;
        }
        KeyCode::Char('y') if overlay == Overlay::Beside => {
            enter(model, overlay, at, effects);
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
