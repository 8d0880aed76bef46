//! The diagrams. Each draws from the model alone; a number on the screen is a measured number.

mod cluster;
mod control;
mod hops;
mod network;
mod pod;
mod raft;
mod rollout;
mod scheduling;

pub(crate) use hops::{brief, describe};
pub(crate) use raft::leader;

use super::cluster::{Key, WATCHED};
use super::flow::traffic::Traffic;
use super::flow::{Did, Flow, Gate, Hop, Spot};
use super::look::{Look, Sign, Tone};
use super::model::{Model, View};
use super::text::{cells, cut, took};
use super::words::Word;
use crate::texts::Lang;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// A place to draw on, with cells counted from its own corner.
pub(crate) struct Canvas<'a> {
    pub buffer: &'a mut Buffer,
    pub area: Rect,
    pub look: Look,
    pub lang: Lang,
}

impl Canvas<'_> {
    pub(crate) fn width(&self) -> usize {
        usize::from(self.area.width)
    }
    pub(crate) fn height(&self) -> usize {
        usize::from(self.area.height)
    }

    /// Writes at a cell what fits to the edge; the column behind it.
    pub(crate) fn put(&mut self, x: usize, y: usize, text: &str, tone: Tone) -> usize {
        self.put_in(x, y, self.width().saturating_sub(x), text, tone)
    }

    /// Writes at a cell, at most so many cells; the column behind it.
    pub(crate) fn put_in(&mut self, x: usize, y: usize, room: usize, text: &str, tone: Tone) -> usize {
        let room = room.min(self.width().saturating_sub(x));
        if y >= self.height() || room == 0 {
            return x;
        }
        // An Event's message may have several lines.
        let text = cut(&text.replace(char::is_control, " "), room, self.look.sign(Sign::Ellipsis));
        let (px, py) = (self.area.x + x as u16, self.area.y + y as u16);
        self.buffer.set_string(px, py, &text, self.look.tone(tone));
        x + cells(&text)
    }

    /// Pieces one behind the other.
    pub(crate) fn row(&mut self, x: usize, y: usize, pieces: &[(&str, Tone)]) -> usize {
        pieces.iter().fold(x, |x, (text, tone)| self.put(x, y, text, *tone))
    }

    pub(crate) fn sign(&self, sign: Sign) -> &'static str {
        self.look.sign(sign)
    }

    pub(crate) fn word(&self, word: Word, with: &[&str]) -> String {
        self.lang.say(word, with)
    }

    /// A few lines of text in the middle of nothing.
    pub(crate) fn note(&mut self, y: usize, text: &str) {
        let room = self.width().saturating_sub(2);
        let pieces = [super::text::Piece::new(text, self.look.tone(Tone::Dim))];
        for (at, line) in super::text::wrap(&pieces, room, "", "").into_iter().enumerate() {
            self.put(1, y + at, &line.to_string(), Tone::Dim);
        }
    }
}

/// `ropewalk-worker2` is `worker2` where there is little room.
pub(crate) fn short(name: &str) -> &str {
    name.strip_prefix("ropewalk-").unwrap_or(name)
}

/// What is lit: where the request comes from, and where it goes.
pub(crate) fn lit(model: &Model) -> (Option<&Spot>, Option<&Spot>) {
    let hop = model.traffic.lit();
    (hop.map(|h| &h.from), hop.map(|h| &h.to))
}

/// Which object of the scene a view is about: its place in the scene's list. While a command is
/// replayed that is first what the command wrote, else what the present list has at this place, so
/// that the picture keeps its subject; an object that does not exist yet leaves its place to the
/// scene's own order.
pub(crate) fn subject(model: &Model, resource: &str, scene: &[Key], present: &[Key]) -> Option<usize> {
    let find = |key: &Key| scene.iter().position(|k| k == key);
    let last = scene.len().checked_sub(1)?;
    let replayed = model.traffic.moving().then(|| model.traffic.shown()).flatten();
    let written = replayed
        .and_then(Flow::object)
        .filter(|o| model.about.is_none() && o.resource == resource)
        .and_then(|o| find(&(o.namespace.clone(), o.name.clone())));
    let now = present.get(model.place(present));
    written.or_else(|| now.and_then(find)).or(Some(model.subject.min(last)))
}

/// A command that changed something: a step that can be gone back to.
pub(crate) struct Step<'a> {
    pub flow: &'a Flow,
    /// The revision before its first write.
    pub before: u64,
}

/// What was done, the newest first.
pub(crate) fn steps<'a>(traffic: &'a Traffic) -> Vec<Step<'a>> {
    let step = |flow: &'a Flow| {
        let stored = |hop: &&Hop| hop.did == Did::Stored;
        let first = flow.hops.iter().filter(stored).find_map(|hop| hop.revision)?;
        Some(Step { flow, before: first.saturating_sub(1) })
    };
    traffic.flows.iter().rev().filter_map(step).collect()
}

/// What stands in the frame's upper right corner.
pub(crate) fn corner(model: &Model) -> String {
    let play = &model.traffic.play;
    // These draw records: the store's members and the scheduler tell of themselves.
    let of_objects = !matches!(model.view, View::ControlPlane | View::Raft | View::Scheduling);
    if of_objects && let Some(since) = model.silent_since() {
        return model.lang.say(Word::MapOld, &[&(model.now - since).as_secs().to_string()]);
    }
    match model.view {
        _ if model.ended => model.lang.say(Word::StatusEnded, &[]),
        View::Cluster | View::ControlPlane | View::Network | View::Rollout | View::Pod
            if model.traffic.moving() =>
        {
            let sign = model.look.sign(if play.playing { Sign::Play } else { Sign::Pause });
            // The speed of the lit hop itself: very short and very long ones have not the one that
            // was chosen.
            let pace = model.traffic.pace().map_or(String::new(), |pace| pace.to_string());
            format!("{sign} {pace}").trim_end().to_string()
        }
        View::Cluster if model.cluster.revision > 0 => {
            model.lang.say(Word::RevisionShort, &[&model.cluster.revision.to_string()])
        }
        _ => String::new(),
    }
}

/// The hop that is lit, or how it ended, on one line.
pub(crate) fn caption(model: &Model, narrow: bool) -> (String, Tone) {
    let lang = model.lang;
    let Some(flow) = model.traffic.shown() else { return (lang.say(Word::Quiet, &[]), Tone::Dim) };
    if let (None, Some((_, code, gate))) = (model.traffic.lit(), flow.refused()) {
        let gate = lang.say(gate.word(), &[]);
        return (lang.say(Word::FinishRefused, &[&flow.command, &gate, &code.to_string()]), Tone::Bad);
    }
    match model.traffic.lit() {
        Some(hop) => {
            let paused = match model.traffic.play.playing {
                true => String::new(),
                false => format!("  ({})", lang.say(Word::Paused, &[])),
            };
            let told = if narrow { brief(lang, hop) } else { describe(lang, hop) };
            (format!("{} {told}  {}{paused}", model.look.sign(Sign::Pick), took(hop.took_us)), Tone::Strong)
        }
        None => {
            let object = flow.object().map_or(String::new(), |o| format!(" {}", o.name));
            let end = lang.say(Word::Finish, &[&took(flow.total())]);
            (format!("{}{object}: {end}", flow.command), Tone::Dim)
        }
    }
}

/// The stage that has refused the command that is shown, once the play has come to its answer.
pub(crate) fn refusal(model: &Model) -> Option<(u16, Gate)> {
    let (at, code, gate) = model.traffic.shown()?.refused()?;
    (at <= model.traffic.play.at).then_some((code, gate))
}

/// The resources among these that the learner may not list, in words; empty if there are none.
fn not_listed(model: &Model, resources: &[&str]) -> String {
    let denied: Vec<&str> = resources.iter().copied().filter(|r| model.denied.contains(*r)).collect();
    match denied.is_empty() {
        true => String::new(),
        false => model.lang.say(Word::NotListed, &[&denied.join(", ")]),
    }
}

/// Why a view has no object to draw: the learner may not list the resource, or, in the words given,
/// there is none.
fn none_of(model: &Model, resource: &str, none: Word) -> String {
    let denied = not_listed(model, &[resource]);
    if denied.is_empty() { model.lang.say(none, &[]) } else { denied }
}

pub(crate) fn render(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let mut canvas = Canvas { buffer, area, look: model.look, lang: model.lang };
    if !model.cluster.heard {
        let denied = not_listed(model, &WATCHED.iter().map(|(plural, ..)| *plural).collect::<Vec<_>>());
        if !denied.is_empty() {
            return canvas.note(1, &denied);
        }
        let seconds = model.now.as_secs().to_string();
        canvas.note(1, &model.lang.say(Word::MapWaiting, &[&seconds]));
        return;
    }
    match model.view {
        View::Cluster => cluster::draw(&mut canvas, model, &model.scene()),
        View::ControlPlane => control::draw(&mut canvas, model),
        View::Raft => raft::draw(&mut canvas, model),
        View::Scheduling => scheduling::draw(&mut canvas, model),
        View::Network => network::draw(&mut canvas, model, &model.scene()),
        View::Rollout => rollout::draw(&mut canvas, model, &model.scene()),
        View::Pod => pod::draw(&mut canvas, model, &model.scene()),
    }
}
