//! What is it going through? One pod, and all that is known about it, in order.

use super::super::cluster::{Cluster, Key, Pod, Stand};
use super::super::flow::{Did, Flow, Hop};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, measured};
use super::super::words::Word;
use super::canvas::Canvas;
use super::cluster::stand;
use super::common::{is_roomy, node_name, none_of, restarts, subject};
use super::ghosts::{Ghost, ghost_line, ghosts};
use super::hops::describe;
use super::pod_wide;
use super::strip::{Lines, event_piece};
use tap::ObjectRef;

/// The pod that the view is about.
fn shown<'a>(model: &Model, scene: &'a Cluster) -> Option<&'a Pod> {
    let pods = model.pods(scene);
    let keys: Vec<Key> = pods.iter().map(|pod| (pod.namespace.clone(), pod.name.clone())).collect();
    let at = subject(model, "pods", &keys)?;
    pods.get(at).copied()
}

/// Returns whether warnings about the pod are over: it is ready, or has done its work.
fn is_well(pod: &Pod) -> bool {
    matches!(pod.stand, Stand::Ready | Stand::Done)
}

/// Two lines about a pod: it with its facts, and what happened to it last.
pub(super) fn lines(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> Lines {
    let Some(pod) = shown(model, scene) else {
        return Lines::none(none_of(model, "pods", Word::NoPod));
    };
    let (sign, tone) = stand(pod.stand);
    let name = format!("{} {}", canvas.sign(sign), scene.label(&pod.namespace, &pod.name));
    let counts = vec![(name, tone), (pod.status.clone(), tone), (facts(canvas, scene, pod), Tone::Dim)];
    let events = scene.events_of(pod);
    let warned = events.iter().rev().find(|event| event.warning && !is_well(pod));
    let hop = hops_about(model, pod).pop();
    let hop = hop.map(|(text, time)| (format!("{text}  {time}").trim_end().to_string(), Tone::Plain));
    let event = match (warned, &hop) {
        (Some(event), _) => Some(*event),
        (None, Some(_)) => None,
        (None, None) => events.last().copied(),
    };
    let news = event.map(|event| event_piece(canvas, event)).into_iter().chain(hop).collect();
    Lines { counts, news }
}

/// Draws a pod: its facts, its containers, and what happened to it.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster) {
    let Some(pod) = shown(model, scene) else {
        return canvas.note(1, &none_of(model, "pods", Word::NoPod));
    };
    let (sign, tone) = stand(pod.stand);
    let sign = canvas.sign(sign);
    canvas.row(
        1,
        0,
        &[
            (sign, tone),
            (" ", Tone::Plain),
            (&scene.label(&pod.namespace, &pod.name), Tone::Strong),
            ("  ", Tone::Plain),
            (&pod.status, tone),
        ],
    );
    let facts = facts(canvas, scene, pod);
    canvas.put(1, 1, &facts, Tone::Dim);
    if is_roomy(canvas) {
        return pod_wide::draw(canvas, model, scene, pod);
    }
    let hops = hops_about(model, pod);
    let events = scene.events_of(pod);
    let rows = canvas.height().saturating_sub(4);
    let warned = events.iter().rev().find(|event| event.warning && !is_well(pod));
    let x = canvas.put(1, 2, &model.lang.say(Word::Life, &[]), Tone::Dim);
    if let Some(ghost) = former(model, scene, pod) {
        let room = canvas.width().saturating_sub(x + 4);
        ghost_line(canvas, &ghost, (x + 3, 2), room);
    }
    if hops.is_empty() {
        let skip = events.len().saturating_sub(rows);
        for (at, event) in events.iter().skip(skip).enumerate() {
            let tone = if event.warning { Tone::Bad } else { Tone::Plain };
            let sign = if event.warning { canvas.sign(Sign::Warn) } else { " " };
            let text = format!("{sign} {}: {}", event.reason, event.message);
            canvas.put(0, 3 + at, &text, tone);
        }
    }
    let skip = hops.len().saturating_sub(rows);
    for (at, (text, time)) in hops.iter().skip(skip).enumerate() {
        let end = canvas.width().saturating_sub(cells(time) + 1);
        canvas.put_in(2, 3 + at, end.saturating_sub(3), text, Tone::Plain);
        canvas.put(end, 3 + at, time, Tone::Dim);
    }
    if let Some(event) = warned {
        let last = canvas.height().saturating_sub(1);
        let text = format!("{} {}: {}", canvas.sign(Sign::Warn), event.reason, event.message);
        canvas.put(1, last, &text, Tone::Bad);
    }
}

/// The newest pod that the command on the stage made go away and that has to do with this one: it
/// had its name or its owner, or belonged to the same Deployment. One that the command itself has
/// named is shown beside any pod: nothing may have taken its place.
pub(super) fn former<'a>(model: &'a Model, scene: &Cluster, pod: &Pod) -> Option<Ghost<'a>> {
    let named = model.traffic.shown().and_then(Flow::object).filter(|object| object.resource == "pods");
    let is_named =
        |gone: &Pod| named.is_some_and(|it| it.namespace == gone.namespace && it.name == gone.name);
    let owner = |pod: &Pod| scene.deployment_of(pod).map_or_else(|| pod.owner.clone(), |key| key.1);
    let is_akin = |gone: &Pod| {
        let has_owner = !pod.owner.is_empty() && owner(gone) == owner(pod);
        gone.namespace == pod.namespace && (gone.name == pod.name || has_owner)
    };
    ghosts(model).into_iter().find(|ghost| is_named(ghost.pod) || is_akin(ghost.pod))
}

/// What is known of a pod in one line: containers, image, node, address, restarts.
fn facts(canvas: &Canvas<'_>, scene: &Cluster, pod: &Pod) -> String {
    let mut facts = vec![format!("{}/{}", pod.ready.0, pod.ready.1), pod.image.clone()];
    if !pod.node.is_empty() {
        facts.push(canvas.word(Word::On, &[&node_name(canvas, scene, &pod.node).0]));
    }
    facts.push(pod.ip.clone());
    if pod.restarts > 0 {
        facts.push(restarts(canvas, pod.restarts));
    }
    facts.retain(|f| !f.is_empty());
    facts.join("  ")
}

/// The hops about a pod in the commands that are kept, each with how long it took if that was
/// measured. Without any, its Events are shown.
pub(super) fn hops_about(model: &Model, pod: &Pod) -> Vec<(String, String)> {
    // A pod of the same name that was deleted before had a life of its own.
    let own = |hop: &Hop| {
        let it = |o: &ObjectRef| o.resource == "pods" && o.name == pod.name && o.namespace == pod.namespace;
        hop.object.as_ref().is_some_and(it) && pod.created.is_none_or(|created| hop.at >= created)
    };
    let about = |flow: &&Flow| flow.hops.iter().any(own);
    model
        .traffic
        .flows
        .iter()
        .filter(about)
        .flat_map(|flow| {
            // Of the command that is replayed, the records up to the lit hop.
            let told = match model.traffic.play.session.as_ref() == Some(&flow.session) {
                true if model.traffic.moving() => model.traffic.play.at + 1,
                _ => flow.hops.len(),
            };
            let own = flow.hops.iter().take(told).filter(|h| own(h));
            own.filter(|h| !matches!(h.did, Did::Stage(_)))
                .map(|h| (describe(model.lang, h), measured(h.took_us)))
                .collect::<Vec<_>>()
        })
        .collect()
}
