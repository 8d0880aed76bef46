//! What several views need of the model: what is lit, the object they are about, and sentences that
//! they share.

use super::super::cluster::{Cluster, Key};
use super::super::flow::{Flow, Gate, Spot};
use super::super::look::{Sign, Tone};
use super::super::model::{Model, View};
use super::super::text::{cells, measured, took};
use super::super::words::Word;
use super::canvas::Canvas;
use super::hops::{brief, describe, short};
use super::namespaces;
use clock::Timestamp;
use std::time::Duration;

/// The smallest pane in which the views of one object draw all that they know: that of a screen of
/// 120 by 34 cells.
const ROOMY: (usize, usize) = (72, 13);

/// Cells that the title of the map, its mark and the corners of the frame take.
const TITLE: usize = 24;

/// True if there is place for all that a view knows. Otherwise it draws its small form.
pub(super) fn is_roomy(canvas: &Canvas<'_>) -> bool {
    canvas.width() >= ROOMY.0 && canvas.height() >= ROOMY.1
}

/// The time of the picture on the cluster's own clock, which may run faster than the interface's:
/// that of the lit hop, or of now as far as it is known.
pub(super) fn moment(model: &Model) -> Timestamp {
    let now = model.opened.checked_add(model.now).unwrap_or(model.opened);
    let newest = model.traffic.newest().map_or(now, |newest| newest.max(now));
    model.traffic.lit().map_or(newest, |hop| hop.at)
}

/// How long ago something was, in one unit: `42 s`, `3 min`, `2 h`, `5 d`.
pub(super) fn age(canvas: &Canvas<'_>, since: Timestamp, moment: Timestamp) -> String {
    let seconds = moment.duration_since(since).as_secs().max(0);
    let (word, count) = match seconds {
        ..60 => (Word::AgeSeconds, seconds),
        60..3_600 => (Word::AgeMinutes, seconds / 60),
        3_600..86_400 => (Word::AgeHours, seconds / 3_600),
        86_400.. => (Word::AgeDays, seconds / 86_400),
    };
    canvas.word(word, &[&count.to_string()])
}

/// How often a program was started again: `0 restarts`, `1 restart`.
pub(super) fn restarts(canvas: &Canvas<'_>, count: i64) -> String {
    match count {
        1 => canvas.word(Word::RestartOnce, &[]),
        _ => canvas.word(Word::Restarts, &[&count.to_string()]),
    }
}

/// When the ages on the screen are counted anew, on the interface's own clock: each second while
/// something is younger than a minute, else every ten seconds. `None`: the view shows no age.
pub(crate) fn ages_due(model: &Model) -> Option<Duration> {
    if model.ended || !matches!(model.view, View::Rollout | View::Pod) {
        return None;
    }
    let all = || model.cluster.pods.values();
    // Where there are no others, the pod view shows those of the cluster itself.
    let with_system = model.view == View::Pod && all().all(|pod| pod.system());
    let pods = all().filter(|pod| with_system || !pod.system()).filter_map(|pod| pod.created);
    let sets = model.cluster.replicasets.values().filter(|set| set.namespace != "kube-system");
    let youngest = pods.chain(sets.filter_map(|set| set.created)).max()?;
    let every = if moment(model).duration_since(youngest).as_secs() < 60 { 1 } else { 10 };
    Some(Duration::from_secs((model.now.as_secs() / every + 1) * every))
}

/// The short name of a node. One that is not ready has a sign: neither are its pods, whatever their
/// status says.
pub(super) fn node_name(canvas: &Canvas<'_>, scene: &Cluster, node: &str) -> (String, Tone) {
    match scene.nodes.get(node) {
        Some(known) if !known.ready => (format!("{} {}", short(node), canvas.sign(Sign::Down)), Tone::Bad),
        _ => (short(node).to_string(), Tone::Dim),
    }
}

/// What is lit: where the request comes from, and where it goes.
pub(super) fn lit(model: &Model) -> (Option<&Spot>, Option<&Spot>) {
    let hop = model.traffic.lit();
    (hop.map(|h| &h.from), hop.map(|h| &h.to))
}

/// Which object of the scene a view is about: its place in the scene's list. While a command is
/// replayed that is first what the command wrote, else what the present list has at this place, so
/// that the picture keeps its subject; an object that does not exist yet leaves its place to the
/// scene's own order.
pub(super) fn subject(model: &Model, resource: &str, scene: &[Key]) -> Option<usize> {
    let find = |key: &Key| scene.iter().position(|k| k == key);
    let last = scene.len().checked_sub(1)?;
    let replayed = model.traffic.moving().then(|| model.traffic.shown()).flatten();
    let written = replayed
        .and_then(Flow::object)
        .filter(|o| model.about.is_none() && o.resource == resource)
        .and_then(|o| find(&(o.namespace.clone(), o.name.clone())));
    let present = model.subjects();
    let now = present.get(model.place(&present));
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
            let revision = model.lang.say(Word::RevisionShort, &[&model.cluster.revision.to_string()]);
            let namespaces = namespaces::list(model);
            let whole = format!("{namespaces}  {revision}");
            let fits = cells(&whole) + TITLE <= usize::from(panes.map.width);
            if namespaces.is_empty() || !fits { revision } else { whole }
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
            let told = format!("{} {told}  {}", model.look.sign(Sign::Pick), measured(hop.took_us));
            (format!("{}{paused}", told.trim_end()), Tone::Strong)
        }
        None => {
            let total = took(flow.total());
            let (end, tone) = match flow.failed() {
                Some(code) => (lang.say(Word::FinishFailed, &[&code.to_string(), &total]), Tone::Bad),
                None => (lang.say(Word::Finish, &[&total]), Tone::Dim),
            };
            (format!("{}: {end}", title(flow)), tone)
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
