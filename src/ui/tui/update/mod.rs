//! What an event changes, and what is to be done about it. Pure: no clock, no terminal, no socket.

use super::event::{Effect, Event, Offer, Question};
use super::keys;
use super::layout::{self, Pane};
use super::model::{Model, Overlay, Page, View};
use super::render::in_sight;
use super::scroll::Scroll;
use super::terminal::FrameCommand;
use crate::texts::Say;
use client::Delta;
use crossterm::event::KeyEventKind;
use lab::graded::view::{Ask as LabAsk, LabView};
use lab::view::{Ask, LessonView, State};
use serde_json::Value;
use tap::{Component, Record};

mod answer;
mod ask;
mod frame_keys;
mod lesson_keys;
mod mouse;
mod overlay_keys;

use frame_keys::handle_key;
use lesson_keys::act_on_held_letter;
use mouse::handle_mouse;

/// The exit code of a session whose terminal is gone: that of a program which SIGHUP ended.
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

/// Takes in an event. The second part of the answer is true if the screen looks different now.
pub(crate) fn update(model: &mut Model, event: Event) -> (Vec<Effect>, bool) {
    let mut effects = Vec::new();
    let mut changed = true;
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => changed = false,
        Event::Key(key) => handle_key(model, key, &mut effects),
        Event::Mouse(mouse) => changed = handle_mouse(model, mouse, &mut effects),
        Event::Paste(text) if answer::take_paste(model, &text) => {}
        Event::Paste(text) => {
            model.overlay = None; // a paste is for the shell, whatever lies over the panes
            model.focus = Pane::Shell;
            model.shell.scroll_to_end();
            effects.push(Effect::Type(keys::paste(&text, model.shell.screen().bracketed_paste())));
        }
        Event::Resize(size) => model.size = size,
        Event::Shell(bytes) => take_shell_output(model, &bytes, &mut effects),
        Event::ShellEnded(code) if model.is_declared => effects.push(Effect::Home(code)),
        Event::ShellEnded(code) => effects.push(Effect::Quit(code)),
        Event::Gone => effects.push(Effect::Quit(HUNG_UP)),
        Event::Tick => {
            // A tick comes only while something on the screen moves, so there is always something
            // new to draw.
            model.traffic.tick(model.now);
            act_on_held_letter(model, &mut effects);
        }
        Event::Objects(resource, delta) => changed = take_objects(model, &resource, delta),
        Event::Silent(resource) => changed = note_silence(model, resource),
        Event::Denied(resource) => changed = note_denial(model, resource),
        Event::Records(records) => changed = take_records(model, records),
        Event::Lost(count) => model.traffic.lost += count,
        Event::Faults(broken) => changed = model.traffic.agreement.set_broken(&broken),
        Event::NewCluster => forget_cluster(model),
        Event::Status(status) => {
            // A second question without an answer tells nothing new.
            let ended = status.is_none() && model.status.is_some();
            changed = ended != model.ended || status.is_some() && status != model.status;
            model.ended = ended;
            model.status = status.or(model.status.take());
        }
        Event::Lesson(view) => take_lesson(model, *view),
        Event::Lessons(list) => take_list(model, |model| model.lesson.list = list),
        Event::Lab(view) => take_lab(model, *view),
        Event::Labs(list) => take_list(model, |model| model.lab.list = list),
        Event::Answered => {
            model.lesson.asked = None;
            (model.lesson.refused, model.lab.refused) = (None, None);
            model.lesson.failure = None;
        }
        Event::Refused(why) => {
            model.lesson.asked = None;
            note_refusal(model, why);
        }
        Event::NoLesson(why) => match model.lesson.view {
            Some(_) => model.lesson.failure = Some(why),
            None => model.lesson.absent = Some(why),
        },
        Event::Glossary(terms) => (model.glossary, changed) = (terms, false),
        Event::Offer(offer) => take_offer(model, offer),
    }
    let inside = layout::inside(model.panes().shell);
    if model.shell.resize(inside.height, inside.width, model.at_prompt) {
        let (rows, columns) = model.shell.size();
        effects.push(Effect::Size(rows, columns));
    }
    (effects, changed)
}

/// Takes in the time that is due, if it has come. The loop does this after other events: where they
/// never pause, as the output of `yes`, the map would stand still, and no letter would act.
pub(crate) fn catch_up(model: &mut Model) -> (Vec<Effect>, bool) {
    match model.due().is_some_and(|due| due <= model.now) {
        true => update(model, Event::Tick),
        false => (Vec::new(), false),
    }
}

/// Takes in objects; true if the screen looks different now.
fn take_objects(model: &mut Model, resource: &str, delta: Delta<Value>) -> bool {
    let back = match &delta {
        Delta::Replaced(_) => model.denied.remove(resource) | model.silent.remove(resource).is_some(),
        Delta::Updated(_) | Delta::Deleted(_) => false,
    };
    let takes_away = !matches!(delta, Delta::Updated(_));
    let (now, was_heard) = (model.now, model.cluster.heard);
    model.cluster.now = now;
    let changed = model.cluster.absorb(resource, delta);
    if !was_heard {
        // The API server answers now: the time that the other lists may take counts from here.
        model.silent.values_mut().for_each(|since| *since = now);
    }
    if takes_away && resource == "services" {
        let services = &model.cluster.services;
        model.traffic.forget_visits(|service| services.contains_key(service));
    }
    changed | back
}

/// Forgets the objects of a resource that may not be listed any more: it is not known whether they
/// are as they were. True if the screen looks different now.
fn note_denial(model: &mut Model, resource: String) -> bool {
    model.silent.remove(&resource);
    model.cluster.forget(&resource);
    model.denied.insert(resource)
}

/// Notes since when the API server tells nothing of a resource. False: the screen does not look
/// different yet, the time that is due tells it.
fn note_silence(model: &mut Model, resource: String) -> bool {
    model.silent.entry(resource).or_insert(model.now);
    false
}

/// Forgets what came from the cluster before. Its objects stay until the lists of the new one
/// come, and so do the notes that they may be old, or may not be listed.
fn forget_cluster(model: &mut Model) {
    model.traffic.restart();
    model.cluster.restart();
}

/// Takes in records; true if the screen looks different now.
fn take_records(model: &mut Model, records: Vec<Record>) -> bool {
    let (now, live_from) = (model.now, model.live_from);
    // A newer command pushes the marked one down the list. The mark follows it: Enter takes the one
    // that the learner has read.
    let marked_id = |model: &Model, at: usize| {
        let steps = super::map::steps(model);
        steps.get(at).map(|step| step.id())
    };
    let marked = match model.overlay {
        Some(Overlay::Time(at)) => marked_id(model, at),
        _ => None,
    };
    let watched = |r: &Record| model.view == View::Raft && r.component == Component::Etcd;
    let watched = records.iter().any(watched);
    let changed = records.into_iter().fold(false, |any, r| model.traffic.absorb(r, now, live_from) | any);
    if let Some(marked) = marked {
        let at = super::map::steps(model).iter().position(|step| step.id() == marked);
        model.overlay = at.map(Overlay::Time).or(model.overlay);
    }
    watched | changed
}

/// Takes in another list of lessons or labs: the mark stays at its entry, or in the list. In a list
/// that was empty it is at the entry that is open.
fn take_list(model: &mut Model, replace: impl FnOnce(&mut Model)) {
    let before = model.listed_ids().nth(model.lesson.marked).map(String::from);
    let marked = before.clone().or(model.open_ids().last().map(String::from));
    replace(model);
    let there = model.listed_ids().position(|id| Some(id) == marked.as_deref());
    let last = model.listed_ids().count().saturating_sub(1);
    let there = there.unwrap_or(model.lesson.marked.min(last));
    let has_moved = before.is_none() || there != model.lesson.marked;
    model.lesson.marked = there;
    if has_moved && model.shows_list() {
        model.scroll_to(in_sight(model));
    }
}

/// Asks whether a cluster is to be started. There is one beside the learner's own at a time.
fn take_offer(model: &mut Model, offer: Offer) {
    model.lesson.asked = None;
    if model.is_declared {
        let runs = model.lang.say(Say::BesideRuns, &[&model.name]);
        return note_refusal(model, runs);
    }
    (model.lesson.refused, model.lab.refused) = (None, None);
    (model.offer, model.overlay) = (Some(offer), Some(Overlay::Beside));
}

/// Notes why a question was refused, in the pane that is read: of the lab, or else of the lesson.
fn note_refusal(model: &mut Model, why: String) {
    match (model.shown_lab(), &model.lesson.view) {
        (Some(_), _) => model.lab.refused = Some(why),
        (None, Some(_)) => model.lesson.refused = Some(why),
        (None, None) => model.lesson.absent = Some(why),
    }
    if model.shows_list() {
        model.scroll_to(in_sight(model)); // the refusal takes rows of the list
    }
}

/// Takes in output of the shell's terminal, and does what the REPL in it asks of the frame.
fn take_shell_output(model: &mut Model, bytes: &[u8], effects: &mut Vec<Effect>) {
    let side = model.shell.take(bytes);
    if !side.answers.is_empty() {
        effects.push(Effect::Type(side.answers));
    }
    if side.bells > 0 {
        effects.push(Effect::Bell);
    }
    for command in side.commands {
        match command {
            FrameCommand::Help => model.overlay = Some(Overlay::Help(0)),
            FrameCommand::Hint => {
                model.lesson.asked = Some(model.now);
                effects.push(Effect::Ask(next_hint(model)));
            }
            FrameCommand::View(name) => {
                if let Some(view) = View::named(&name) {
                    model.show(view);
                }
            }
            FrameCommand::Beside(question) => {
                model.lesson.asked = Some(model.now);
                effects.push(Effect::Ask(question));
            }
            FrameCommand::Home => effects.push(Effect::Home(0)),
            FrameCommand::Lang(lang) => {
                model.lang = lang;
                effects.push(Effect::Speak(lang));
                // The engine sends the list of lessons by itself only while none is open.
                if !model.lesson.list.is_empty() {
                    effects.push(Effect::Ask((&Ask::List).into()));
                }
            }
            FrameCommand::Prompt(on) => {
                model.at_prompt = on;
                if on && let Some(line) = model.at_next_prompt.take() {
                    // The lines of a block stay together, and wait for Enter.
                    effects.push(Effect::Type(keys::paste(&line, line.contains('\n'))));
                }
            }
        }
    }
}

/// Asks for the next hint of the lab, unless the pane shows the lesson that is open beside it: a
/// hint that is asked for counts, so it has to be one of what the learner reads.
fn next_hint(model: &Model) -> Question {
    match model.lab.open().filter(|_| model.page != Page::Lesson) {
        Some(lab) => (&LabAsk::Hint { id: Some(lab.id.clone()) }).into(),
        None => (&Ask::Hint).into(),
    }
}

/// Takes in a view of the open lab. Where one ends or another one begins, the last command of
/// before is not played any more: its objects are gone.
fn take_lab(model: &mut Model, view: LabView) {
    let is_known = model.lab.view.is_some();
    let start = |lab: &LabView| (lab.id.clone(), lab.seed, lab.started.clone());
    let before = model.lab.open().map(start);
    if model.lab.learn(view, model.now) {
        model.page = Page::Open;
    }
    if is_known && before != model.lab.open().map(start) {
        model.traffic.leave_stage(before.and_then(|(.., started)| started.parse().ok()));
    }
}

/// Takes in a view of the open lesson: the pane goes to what is new in it, and a new step brings
/// its own diagram.
fn take_lesson(model: &mut Model, view: LessonView) {
    let before = model.lesson.view.as_ref();
    let moved = before.is_none_or(|b| (&b.id, b.step) != (&view.id, view.step));
    let is_other = before.is_some_and(|b| !view.id.is_empty() && b.id != view.id);
    let grew = before.is_some_and(|b| b.debrief.is_empty() && !view.debrief.is_empty());
    let was_open = before.is_some_and(|b| b.state == State::Open) && !moved;
    let turned_green = was_open && matches!(view.state, State::Done | State::Solved);
    let has_guessed = |v: &LessonView| v.predict.as_ref().is_some_and(|p| p.chosen.is_some());
    let guessed = before.is_some_and(|b| !has_guessed(b)) && has_guessed(&view);
    // A refusal stays until the lesson goes on. A check that has changed is no such thing, nor is
    // the end of the preparation that led to the refusal.
    let acts = |v: &LessonView| (v.state, v.predict.clone(), v.answer.clone(), v.hints.len());
    let goes_on = moved || before.is_none_or(|b| acts(b) != acts(&view));
    // A learner who asks for a lesson while a lab is open wants to see it. A lesson that is closed
    // leaves its place to the lab.
    let is_prepared = view.playing.is_some() || view.preparing.is_some();
    let begins_preparing = view.preparing.is_some() && before.is_none_or(|b| b.preparing != view.preparing);
    let is_closed = view.id.is_empty() && !is_prepared;
    match model.page {
        Page::Lesson if is_closed => model.page = Page::Open,
        _ if is_prepared || moved && before.is_some() && !is_closed => model.page = Page::Lesson,
        _ => {}
    }
    if turned_green {
        let step = format!("{} {}/{}", view.id, view.step + 1, view.steps);
        let at = model.opened.checked_add(model.now).unwrap_or(model.opened);
        model.traffic.mark_green(step, at, model.now);
    }
    if is_other {
        // A command that was typed before this lesson leaves the stage; F5 plays it again.
        model.traffic.leave_stage(None);
    }
    if moved {
        model.lesson.since = model.now;
        model.lesson.scroll = if view.debrief.is_empty() { Scroll::To(0) } else { Scroll::Outcome };
        // The new step brings its own view, and its own object.
        model.chosen = false;
        model.choose(&[], 0);
    } else if begins_preparing {
        // What is coming stands above the old text.
        model.lesson.scroll = Scroll::To(0);
    } else if grew {
        model.lesson.scroll = Scroll::Outcome;
    } else if guessed && view.state == State::Open {
        model.lesson.scroll = Scroll::Said;
    }
    if !model.chosen
        && let Some(named) = View::named(&view.diagram)
    {
        if model.view != named {
            model.choose(&[], 0);
        }
        model.view = named;
    }
    (model.lesson.absent, model.lesson.failure) = (None, None);
    if goes_on {
        model.lesson.refused = None;
    }
    if moved {
        // A letter and a draft of an answer were meant for the step before.
        (model.lesson.pressed, model.lesson.draft) = (None, None);
    }
    model.lesson.view = Some(view);
}
