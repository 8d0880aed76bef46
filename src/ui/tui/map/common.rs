//! What several views need of the model: what is lit, the object they are about, and sentences that
//! they share.

use super::super::cluster::Key;
use super::super::flow::{Flow, Gate, Spot};
use super::super::look::{Sign, Tone};
use super::super::model::{Model, View};
use super::super::text::took;
use super::super::words::Word;
use super::hops::{brief, describe};

/// What is lit: where the request comes from, and where it goes.
pub(super) fn lit(model: &Model) -> (Option<&Spot>, Option<&Spot>) {
    let hop = model.traffic.lit();
    (hop.map(|h| &h.from), hop.map(|h| &h.to))
}

/// Which object of the scene a view is about: its place in the scene's list. While a command is
/// replayed that is first what the command wrote, else what the present list has at this place, so
/// that the picture keeps its subject; an object that does not exist yet leaves its place to the
/// scene's own order.
pub(super) fn subject(model: &Model, resource: &str, scene: &[Key], present: &[Key]) -> Option<usize> {
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

/// The command and the object that it is about.
pub(super) fn title(flow: &Flow) -> String {
    let object = flow.object().map_or(String::new(), |o| format!(" {}", o.name));
    format!("{}{object}", flow.command)
}

/// What stands in the frame's upper right corner.
pub(crate) fn corner(model: &Model) -> String {
    let play = &model.traffic.play;
    let panes = model.panes();
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
            let corner = format!("{sign} {pace}").trim_end().to_string();
            match model.traffic.shown() {
                // In a small pane and in a strip the command stands in the picture.
                Some(flow) if model.view == View::ControlPlane && panes.map.width >= 64 && !panes.strip => {
                    format!("{corner} {} {}", model.look.sign(Sign::Dot), title(flow))
                }
                _ => corner,
            }
        }
        // Below a strip the status line has it.
        View::Cluster if model.cluster.revision > 0 && !panes.strip => {
            model.lang.say(Word::RevisionShort, &[&model.cluster.revision.to_string()])
        }
        _ => String::new(),
    }
}

/// The hop that is lit, or how it ended, on one line.
pub(super) fn caption(model: &Model, narrow: bool) -> (String, Tone) {
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
            let end = lang.say(Word::Finish, &[&took(flow.total())]);
            (format!("{}: {end}", title(flow)), Tone::Dim)
        }
    }
}

/// The stage that has refused the command that is shown, once the play has come to its answer.
pub(super) fn refusal(model: &Model) -> Option<(u16, Gate)> {
    let (at, code, gate) = model.traffic.shown()?.refused()?;
    (at <= model.traffic.play.at).then_some((code, gate))
}

/// The resources among these that the learner may not list, in words; empty if there are none.
pub(super) fn not_listed(model: &Model, resources: &[&str]) -> String {
    let denied: Vec<&str> = resources.iter().copied().filter(|r| model.denied.contains(*r)).collect();
    match denied.is_empty() {
        true => String::new(),
        false => model.lang.say(Word::NotListed, &[&denied.join(", ")]),
    }
}

/// Why a view has no object to draw: the learner may not list the resource, or, in the words given,
/// there is none.
pub(super) fn none_of(model: &Model, resource: &str, none: Word) -> String {
    let denied = not_listed(model, &[resource]);
    if denied.is_empty() { model.lang.say(none, &[]) } else { denied }
}
