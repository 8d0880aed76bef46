//! What an event changes, and what is to be done about it. Pure: no clock, no terminal, no socket.

use super::cluster::Change;
use super::event::{Effect, Event, Question};
use super::keys;
use super::layout;
use super::model::{BURST, Lesson, Model, Overlay, Pane, Scroll, View};
use super::render::{self, scrolled};
use super::terminal::Wish;
use super::words::Word;
use crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use lab::view::{Ask, Entry, LessonView};
use ratatui::layout::Rect;
use tap::{Component, Record};

/// Lines that one notch of the wheel scrolls.
const NOTCH: isize = 3;

/// Ctrl-C: gives up the line, a search in the history, and a text that is not finished.
const GIVE_UP: &[u8] = b"\x03";

/// As if SIGHUP had ended it.
pub(crate) const HUNG_UP: i32 = 128 + 1;

/// Lines of the pane that are shown when its REPL has failed.
const LAST_WORDS: usize = 10;

/// Returns what the REPL in the pane said last, if it failed: the learner's own screen does not
/// show it. A code from a signal (128 and more) has no reason in words.
pub(crate) fn last_words(model: &Model, code: i32) -> Option<String> {
    if !(1..128).contains(&code) {
        return None;
    }
    let shown = model.shell.screen().contents();
    let lines: Vec<&str> = shown.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
    (!last.is_empty()).then(|| last.join("\n"))
}

/// Takes in an event. The second part of the answer: does the screen look different now?
pub(crate) fn update(model: &mut Model, event: Event) -> (Vec<Effect>, bool) {
    let mut effects = Vec::new();
    let mut changed = true;
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => changed = false,
        Event::Key(key) => press(model, key, &mut effects),
        Event::Mouse(mouse) => changed = point(model, mouse, &mut effects),
        Event::Paste(text) => {
            model.overlay = None; // a paste is for the shell, whatever lies over the panes
            model.focus = Pane::Shell;
            model.shell.scroll_to_end();
            effects.push(Effect::Type(keys::paste(&text, model.shell.screen().bracketed_paste())));
        }
        Event::Resize(size) => model.size = size,
        Event::Shell(bytes) => hear(model, &bytes, &mut effects),
        Event::ShellEnded(code) => effects.push(Effect::Quit(code)),
        Event::Gone => effects.push(Effect::Quit(HUNG_UP)),
        Event::Tick => {
            // Only asked for when something moves, so there is always something new to see.
            model.traffic.tick(model.now);
            ask_pressed(model, &mut effects);
        }
        Event::Objects(change) => {
            let back = match &change {
                Change::All { resource, .. } => model.silent.remove(resource).is_some(),
                Change::Put { .. } | Change::Gone { .. } => false,
            };
            changed = model.cluster.absorb(change) | back;
        }
        Event::Silent(resource) => {
            changed = false; // the time that is due tells it
            if model.cluster.heard {
                model.silent.entry(resource).or_insert(model.now);
            }
        }
        Event::Denied(resource) => changed = deny(model, resource),
        Event::Records(records) => changed = record(model, records),
        Event::Lost(count) => model.traffic.lost += count,
        Event::Faults(broken) => changed = model.traffic.agreement.set_broken(&broken),
        Event::NewCluster => restart(model),
        Event::Status(status) => {
            // Who asks in vain again and again tells nothing new.
            let ended = status.is_none() && model.status.is_some();
            changed = ended != model.ended || status.is_some() && status != model.status;
            model.ended = ended;
            model.status = status.or(model.status.take());
        }
        Event::Lesson(view) => learn(model, *view),
        Event::Lessons(list) => relist(&mut model.lesson, list),
        Event::Answered => {
            model.lesson.asked = None;
            model.lesson.refused = None;
        }
        Event::Refused(why) => {
            model.lesson.asked = None;
            absent(model, why);
        }
        Event::NoLesson(why) => absent(model, why),
    }
    let inside = layout::inside(model.panes().shell);
    if model.shell.resize(inside.height, inside.width, model.at_prompt) {
        let (rows, columns) = model.shell.size();
        effects.push(Effect::Size(rows, columns));
    }
    (effects, changed)
}

/// Forgets the objects of a resource that may not be looked at any more: it is not known whether
/// they are as they were. True if the screen looks different now.
fn deny(model: &mut Model, resource: String) -> bool {
    model.silent.remove(&resource);
    let nothing = Change::All { resource, objects: vec![] };
    model.cluster.heard && model.cluster.absorb(nothing)
}

/// Forgets what was told of the cluster before.
fn restart(model: &mut Model) {
    model.traffic.restart();
    model.cluster.restart();
    model.silent.clear();
}

/// Takes in records; true if the screen looks different now.
fn record(model: &mut Model, records: Vec<Record>) -> bool {
    let (now, opened) = (model.now, model.opened);
    // A newer command pushes the marked one down the list: Enter is for the one that was read.
    let session = |model: &Model, at: usize| {
        let steps = super::map::steps(&model.traffic);
        steps.get(at).map(|step| step.flow.session.clone())
    };
    let marked = match model.overlay {
        Some(Overlay::Time(at)) => session(model, at),
        _ => None,
    };
    let watched = |r: &Record| model.view == View::Raft && r.component == Component::Etcd;
    let watched = records.iter().any(watched);
    let changed = records.into_iter().fold(false, |any, r| model.traffic.absorb(r, now, opened) | any);
    if let Some(marked) = marked {
        let steps = super::map::steps(&model.traffic);
        let at = steps.iter().position(|step| step.flow.session == marked);
        model.overlay = at.map(Overlay::Time).or(model.overlay);
    }
    watched | changed
}

/// Takes in another list of lessons: the mark stays at its lesson, or in the list.
fn relist(lesson: &mut Lesson, list: Vec<Entry>) {
    let marked = lesson.list.get(lesson.marked).map(|entry| &entry.id);
    let there = list.iter().position(|entry| Some(&entry.id) == marked);
    lesson.marked = there.unwrap_or(lesson.marked.min(list.len().saturating_sub(1)));
    lesson.list = list;
}

fn absent(model: &mut Model, why: String) {
    match model.lesson.view {
        Some(_) => model.lesson.refused = Some(why),
        None => model.lesson.absent = Some(why),
    }
}

fn hear(model: &mut Model, bytes: &[u8], effects: &mut Vec<Effect>) {
    let asides = model.shell.take(bytes);
    if !asides.answers.is_empty() {
        effects.push(Effect::Type(asides.answers));
    }
    if asides.bells > 0 {
        effects.push(Effect::Bell);
    }
    for wish in asides.wishes {
        match wish {
            Wish::Help => model.overlay = Some(Overlay::Help(0)),
            Wish::View(name) => {
                if let Some(view) = View::named(&name) {
                    show(model, view);
                }
            }
            Wish::Lang(lang) => {
                model.lang = lang;
                effects.push(Effect::Speak(lang));
            }
            Wish::Prompt(on) => {
                model.at_prompt = on;
                if on && let Some(line) = model.at_next_prompt.take() {
                    effects.push(Effect::Type(line.into_bytes()));
                }
            }
        }
    }
}

/// The learner chose a view.
fn show(model: &mut Model, view: View) {
    model.view = view;
    model.chosen = true;
    model.choose(&[], 0);
}

fn learn(model: &mut Model, view: LessonView) {
    let before = model.lesson.view.as_ref();
    let moved = before.is_none_or(|b| (&b.id, b.step) != (&view.id, view.step));
    let grew = before.is_some_and(|b| b.debrief.is_empty() && !view.debrief.is_empty());
    if moved {
        model.lesson.since = model.now;
        model.lesson.scroll = if view.debrief.is_empty() { Scroll::To(0) } else { Scroll::Told };
        model.chosen = false;
    } else if grew {
        model.lesson.scroll = Scroll::Told;
    }
    if !model.chosen
        && let Some(named) = View::named(&view.diagram)
    {
        if model.view != named {
            model.choose(&[], 0);
        }
        model.view = named;
    }
    model.lesson.absent = None;
    model.lesson.refused = None;
    if moved {
        model.lesson.pressed = None; // it was about the step before
    }
    model.lesson.view = Some(view);
}

fn ask(model: &mut Model, question: Question, effects: &mut Vec<Effect>) {
    // The question that has lines played waits for its answer while they are stopped.
    let stops = matches!(question.ask(), Some(Ask::Stop { .. }));
    if model.lesson.asked.is_some() && !stops {
        model.notice = Some(Word::StillAsked);
        return;
    }
    if model.lesson.view.is_some() || !model.lesson.list.is_empty() {
        model.lesson.asked = Some(model.now);
        effects.push(Effect::Ask(question));
    }
}

/// A letter in the lesson's pane: it asks when nothing follows it for a moment. Who types a command
/// with the focus on the wrong pane must not turn pages and answer questions.
fn letter(model: &mut Model, question: Option<Question>) {
    let now = model.now;
    let follows = model.lesson.typed.replace(now).is_some_and(|last| now.saturating_sub(last) < BURST);
    model.lesson.pressed = question.filter(|_| !follows).map(|question| (question, now));
    if follows {
        model.notice = Some(Word::TypeInShell);
    }
}

/// Asks what a letter stands for, once nothing has followed it.
fn ask_pressed(model: &mut Model, effects: &mut Vec<Effect>) {
    let now = model.now;
    if let Some((question, _)) = model.lesson.pressed.take_if(|(_, at)| now.saturating_sub(*at) >= BURST)
        && model.focus == Pane::Lesson
    {
        ask(model, question, effects);
    }
}

fn press(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
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
    if key.code == KeyCode::F(6) && key.modifiers == KeyModifiers::SHIFT && !program {
        return turn(model, -1);
    }
    if model.overlay.is_some() {
        return over(model, keys::latin(key), effects);
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
    if leaving || !model.shell.screen().alternate_screen() {
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
        2 => model.zoom = !model.zoom,
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

fn turn(model: &mut Model, by: isize) {
    let order = [Pane::Shell, Pane::Lesson, Pane::Map];
    let here = order.iter().position(|p| *p == model.focus).unwrap_or_default() as isize;
    model.focus = order[(here + by).rem_euclid(order.len() as isize) as usize];
    model.overlay = None;
}

fn in_shell(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    if key.modifiers == KeyModifiers::SHIFT && !model.shell.screen().alternate_screen() {
        match key.code {
            KeyCode::PageUp => return model.shell.scroll(page(model)),
            KeyCode::PageDown => return model.shell.scroll(-page(model)),
            _ => {}
        }
    }
    let bytes = keys::bytes(&key, model.shell.screen().application_cursor());
    if !bytes.is_empty() {
        model.shell.scroll_to_end();
        effects.push(Effect::Type(bytes));
    }
}

fn in_lesson(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    let lesson = &mut model.lesson;
    let open = lesson.view.as_ref().is_some_and(|v| !v.id.is_empty());
    let playing = lesson.view.as_ref().is_some_and(|v| v.playing.is_some());
    match key.code {
        KeyCode::Esc => model.focus = Pane::Shell,
        KeyCode::Tab => turn(model, 1),
        KeyCode::BackTab => turn(model, -1),
        KeyCode::Up | KeyCode::Down if !open => {
            let by = if key.code == KeyCode::Up { -1 } else { 1 };
            let last = lesson.list.len().saturating_sub(1);
            lesson.marked = lesson.marked.saturating_add_signed(by).min(last);
            model.lesson.scroll = render::in_sight(model);
        }
        KeyCode::Enter if !open => {
            if let Some(entry) = lesson.list.get(lesson.marked) {
                let open = Ask::Open { id: entry.id.clone() };
                ask(model, (&open).into(), effects);
            }
        }
        KeyCode::Up => model.lesson.scroll = scrolled(model, -1),
        KeyCode::Down => model.lesson.scroll = scrolled(model, 1),
        KeyCode::PageUp => model.lesson.scroll = scrolled(model, -5),
        KeyCode::PageDown => model.lesson.scroll = scrolled(model, 5),
        KeyCode::Char(' ') => {
            model.lesson.scroll = scrolled(model, 5);
            letter(model, None); // perhaps between two words
        }
        KeyCode::Home => model.lesson.scroll = Scroll::To(0),
        KeyCode::End => model.lesson.scroll = scrolled(model, isize::MAX),
        KeyCode::Char('s' | 'S') if playing && key.modifiers.difference(KeyModifiers::SHIFT).is_empty() => {
            letter(model, Some((&Ask::Stop { question: None }).into()));
        }
        KeyCode::Char(letter) if open && key.modifiers.difference(KeyModifiers::SHIFT).is_empty() => {
            let letter = letter.to_ascii_lowercase();
            // While a question waits, letters are answers and nothing else.
            let asked = match model.question() {
                Some(predict) => {
                    let choice = letter.to_string();
                    predict.choices.iter().any(|(c, _)| *c == choice).then_some(Ask::Predict { choice })
                }
                None => match letter {
                    'n' => Some(Ask::Next),
                    'b' => Some(Ask::Back),
                    'h' => Some(Ask::Hint),
                    'c' => Some(Ask::Check { id: None }),
                    _ => None,
                },
            };
            self::letter(model, asked.as_ref().map(Question::from));
        }
        KeyCode::Enter => {
            let view = lesson.view.as_ref();
            if view.is_some_and(|v| v.finished || v.state != lab::view::State::Open) {
                ask(model, (&Ask::Next).into(), effects);
            }
        }
        _ => {}
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
                show(model, view);
            }
        }
        _ => {}
    }
}

fn over(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    let Some(overlay) = model.overlay else { return };
    let last = render::last(model, overlay);
    let (Overlay::Help(at) | Overlay::Views(at) | Overlay::Time(at)) = overlay;
    let at = at.min(last);
    let at = match key.code {
        KeyCode::Up => at.saturating_sub(1),
        KeyCode::Down => at.saturating_add(1).min(last),
        KeyCode::PageUp => at.saturating_sub(8),
        KeyCode::PageDown | KeyCode::Char(' ') => at.saturating_add(8).min(last),
        KeyCode::Home => 0,
        KeyCode::Char(digit @ '1'..='9') if matches!(overlay, Overlay::Views(_)) => {
            if let Some(view) = View::of_digit(digit) {
                show(model, view);
                model.overlay = None;
            }
            return;
        }
        KeyCode::Enter => {
            model.overlay = None;
            match overlay {
                Overlay::Help(_) => {}
                Overlay::Views(_) => show(model, View::ALL[at]),
                Overlay::Time(_) => {
                    // The word is put on a fresh line and not run: the learner sees it, and presses
                    // Enter.
                    if let Some(step) = super::map::steps(&model.traffic).get(at) {
                        let line = format!("rewind {}", step.before);
                        model.focus = Pane::Shell;
                        match model.at_prompt {
                            true => {
                                model.at_next_prompt = Some(line);
                                effects.push(Effect::Type(GIVE_UP.to_vec()));
                            }
                            // Whatever runs would take it for its own.
                            false => {
                                model.notice = Some(Word::NotAtPrompt);
                                effects.push(Effect::Bell);
                            }
                        }
                    }
                }
            }
            return;
        }
        KeyCode::Esc | KeyCode::Char('q' | '?') => {
            model.overlay = None;
            return;
        }
        _ => return,
    };
    model.overlay = Some(match overlay {
        Overlay::Help(_) => Overlay::Help(at),
        Overlay::Views(_) => Overlay::Views(at),
        Overlay::Time(_) => Overlay::Time(at),
    });
}

/// The mouse; true if the screen looks different now.
fn point(model: &mut Model, mouse: MouseEvent, effects: &mut Vec<Effect>) -> bool {
    let panes = model.panes();
    let wheel = match mouse.kind {
        MouseEventKind::ScrollUp => NOTCH,
        MouseEventKind::ScrollDown => -NOTCH,
        _ => 0,
    };
    if let Some(overlay) = model.overlay {
        let last = render::last(model, overlay);
        let moved = |at: usize| at.min(last).saturating_add_signed(-wheel).min(last);
        match (overlay, mouse.kind) {
            (_, MouseEventKind::Down(_)) => model.overlay = None,
            (Overlay::Help(at), _) => model.overlay = Some(Overlay::Help(moved(at))),
            _ => return false,
        }
        return true;
    }
    if model.grabbed && matches!(mouse.kind, MouseEventKind::Up(_) | MouseEventKind::Drag(_)) {
        // The program that saw the button go down sees it come up, wherever the pointer is by then.
        model.grabbed = matches!(mouse.kind, MouseEventKind::Drag(_));
        let inside = layout::inside(panes.shell);
        if !inside.is_empty() {
            let column = mouse.column.clamp(inside.left(), inside.right() - 1);
            let row = mouse.row.clamp(inside.top(), inside.bottom() - 1);
            in_shell_mouse(model, &MouseEvent { column, row, ..mouse }, inside, 0, effects);
        }
        return false;
    }
    let Some(pane) = panes.at(mouse.column, mouse.row) else {
        if mouse.kind == MouseEventKind::Down(MouseButton::Left)
            && panes.tabs.contains((mouse.column, mouse.row).into())
            && let Some(pane) = render::tab_at(model, mouse.column)
        {
            model.focus = pane;
            return true;
        }
        return false;
    };
    let focused = model.focus == pane;
    if matches!(mouse.kind, MouseEventKind::Down(_)) {
        model.focus = pane;
    }
    match pane {
        Pane::Shell => {
            in_shell_mouse(model, &mouse, layout::inside(panes.shell), wheel, effects);
            focused != (model.focus == pane) || wheel != 0
        }
        Pane::Lesson if wheel != 0 => {
            model.lesson.scroll = scrolled(model, -wheel);
            true
        }
        Pane::Map if wheel != 0 => {
            model.traffic.step(-wheel.signum(), model.now);
            true
        }
        Pane::Lesson | Pane::Map => !focused && model.focus == pane,
    }
}

fn in_shell_mouse(
    model: &mut Model,
    mouse: &MouseEvent,
    inside: Rect,
    wheel: isize,
    effects: &mut Vec<Effect>,
) {
    if !inside.contains((mouse.column, mouse.row).into()) {
        return;
    }
    let screen = model.shell.screen();
    let bytes = keys::mouse(mouse, mouse.column - inside.x, mouse.row - inside.y, screen);
    if !bytes.is_empty() {
        model.grabbed |= matches!(mouse.kind, MouseEventKind::Down(_));
        effects.push(Effect::Type(bytes));
    } else if wheel != 0 && screen.alternate_screen() {
        // A pager that does not know mice gets cursor keys, as terminals do it.
        let code = if wheel > 0 { KeyCode::Up } else { KeyCode::Down };
        let key = keys::bytes(&KeyEvent::new(code, KeyModifiers::NONE), screen.application_cursor());
        effects.push(Effect::Type(key.repeat(NOTCH.unsigned_abs())));
    } else if wheel != 0 {
        model.shell.scroll(wheel);
    }
}
