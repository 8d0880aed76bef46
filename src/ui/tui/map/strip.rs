//! The map in two lines, for screens on which a lesson needs the room: what the view counts, and
//! the newest event of it. The whole map is one key away.
//!
//! ```text
//! map: cluster  nodes 3/3  web 3/4 o1  * nginx-pod                         F2 whole map
//! kubectl scale web: done after 14.2 ms  SuccessfulCreate web-76f8d594c6: Created pod: web-76 ...
//! ```
//!
//! What is not well stands first in the second line, in the words of `kubectl get`:
//!
//! ```text
//! ! web-76f8d594c6-p5bq4 ImagePullBackOff +2  Failed: Failed to pull image "ngnix": not found
//! ```

use super::super::cluster::{Cluster, Happened, Pod, Stand};
use super::super::look::{Sign, Tone};
use super::super::model::{Model, View};
use super::super::text::{cells, cut_middle, took};
use super::super::words::Word;
use super::canvas::Canvas;
use super::cluster::{node_state, stand};
use super::common::{caption, corner, not_listed, refusal, title};
use super::hops::short;
use super::plan::{cuts, lost, pods_of};
use super::{blocked, namespaces, network, pod, quotas, raft, rollout, scaler, scheduling, unheard};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::collections::BTreeMap;

/// Nodes that are named because something is wrong with them.
const NODES_MAX: usize = 3;
/// Cells that the name of a pod which is not well keeps in any case.
const NAME_MIN: usize = 12;

/// A text and how it is dressed.
pub(super) type Piece = (String, Tone);

/// What the two lines of a view say.
pub(super) struct Lines {
    /// The objects of the view, with how many of them are ready.
    pub counts: Vec<Piece>,
    /// What happened last.
    pub news: Vec<Piece>,
}

impl Lines {
    /// The lines of a view that has nothing to count: only a sentence that says why.
    pub(super) fn none(sentence: String) -> Lines {
        Lines { counts: vec![], news: vec![(sentence, Tone::Dim)] }
    }
}

/// Draws the view that is chosen in two lines.
pub(crate) fn strip(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let mut canvas = Canvas::new(model, area, buffer);
    let name = canvas.word(model.view.words().0, &[]);
    let title = format!("{}: {name}", canvas.word(Word::PaneMap, &[]));
    let x = canvas.put(1, 0, &title, Tone::Strong) + 2;
    let end = right(&mut canvas, model);
    let lines = lines(&canvas, model);
    row(&mut canvas, (x, 0), end, &lines.counts);
    let end = canvas.width().saturating_sub(1);
    row(&mut canvas, (1, 1), end, &lines.news);
}

/// The right end of the first line: what the map's corner says, and how to see the whole map. The
/// column where it begins.
fn right(canvas: &mut Canvas<'_>, model: &Model) -> usize {
    let (corner, hint) = (corner(model), canvas.word(Word::StripHint, &[]));
    let gap = if corner.is_empty() { "" } else { "  " };
    let corner = format!("{corner}{gap}");
    let x = canvas.width().saturating_sub(cells(&corner) + cells(&hint) + 1);
    let at = canvas.put(x, 0, &corner, Tone::Dim);
    canvas.put(at, 0, &hint, Tone::Accent);
    x.saturating_sub(2)
}

/// Pieces one behind the other, two cells apart, as many as there is room for.
fn row(canvas: &mut Canvas<'_>, place: (usize, usize), end: usize, pieces: &[Piece]) {
    let (mut x, y) = place;
    for (text, tone) in pieces.iter().filter(|(text, _)| !text.is_empty()) {
        x = canvas.put_in(x, y, end.saturating_sub(x), text, *tone) + 2;
    }
}

/// What the chosen view says in two lines.
fn lines(canvas: &Canvas<'_>, model: &Model) -> Lines {
    if let Some(waiting) = unheard(model) {
        return Lines::none(waiting);
    }
    let scene = model.scene();
    match model.view {
        View::Cluster => Lines { counts: counts(canvas, model, &scene), news: news(canvas, model, &scene) },
        View::ControlPlane => command(canvas, model, &scene),
        View::Raft => raft::lines(canvas, model),
        View::Scheduling => scheduling::lines(canvas, model, &scene),
        View::Network => network::lines(canvas, model, &scene),
        View::Rollout => rollout::lines(canvas, model, &scene),
        View::Pod => pod::lines(canvas, model, &scene),
    }
}

/// The nodes, by name where something is broken, then the Deployments with their autoscalers, and
/// the learner's other pods.
fn counts(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> Vec<Piece> {
    let mut out = vec![(not_listed(model, &["nodes", "pods"]), Tone::Warn)];
    let states = scene.nodes.values().map(|node| (node, node_state(canvas, model, node)));
    let unwell = states.filter(|(_, (_, tone))| *tone != Tone::Good);
    let unwell = unwell.map(|(node, (state, tone))| (format!("{} {state}", short(&node.name)), tone));
    let unwell: Vec<Piece> = unwell.take(NODES_MAX).collect();
    if unwell.is_empty() && !scene.nodes.is_empty() {
        let all = scene.nodes.len().to_string();
        out.push((canvas.word(Word::StripNodes, &[&all, &all]), Tone::Plain));
    }
    out.extend(unwell);
    out.extend(namespaces::pieces(canvas, scene));
    out.push((cuts(canvas, model), Tone::Warn));
    out.push((lost(canvas, scene), Tone::Warn));
    for (key, deployment) in model.deployments(scene) {
        if key.0 != "kube-system" {
            let pods = pods_of(scene, key);
            let name = namespaces::brief(scene, &key.0, &key.1);
            out.push(counted(canvas, &name, &pods, Some(deployment.wanted)));
            out.extend(scene.autoscaler_of(key).map(scaler::brief));
        }
    }
    out.extend(scaler::others(canvas, scene));
    out.extend(quotas::pieces(canvas, scene));
    out.extend(others(canvas, scene));
    out
}

/// `web 3/4 o1`: a name, ready and desired pods, and how the others stand. Without a number that is
/// desired, the ready ones have a sign, too.
pub(super) fn counted(canvas: &Canvas<'_>, name: &str, pods: &[&Pod], wanted: Option<i64>) -> Piece {
    let count = |stand: Stand| pods.iter().filter(|pod| pod.stand == stand).count();
    let ready = count(Stand::Ready);
    let mut text = name.to_string();
    if let Some(wanted) = wanted {
        text = format!("{text} {ready}/{wanted}");
    }
    let all = [Stand::Ready, Stand::Waiting, Stand::Starting, Stand::Failed, Stand::Leaving, Stand::Done];
    for state in all.into_iter().filter(|state| *state != Stand::Ready || wanted.is_none()) {
        let count = count(state);
        if count > 0 {
            text = format!("{text} {}{count}", canvas.sign(stand(state).0));
        }
    }
    let enough = wanted.map_or(pods.len(), |wanted| usize::try_from(wanted).unwrap_or_default());
    let tone = match () {
        () if count(Stand::Failed) > 0 => Tone::Bad,
        () if ready < enough && count(Stand::Done) == 0 => Tone::Warn,
        () => Tone::Good,
    };
    (text, tone)
}

/// The learner's pods that belong to no Deployment: by what owns them, and each by its name that
/// nothing owns.
fn others(canvas: &Canvas<'_>, scene: &Cluster) -> Vec<Piece> {
    let mut owned: BTreeMap<(&str, &str), Vec<&Pod>> = BTreeMap::new();
    let mut out = Vec::new();
    for pod in scene.pods.values().filter(|pod| !pod.system()) {
        let set = scene.replicasets.get(&(pod.namespace.clone(), pod.owner.clone()));
        let deployment =
            |owner: &str| scene.deployments.contains_key(&(pod.namespace.clone(), owner.to_string()));
        if set.is_some_and(|set| deployment(&set.owner)) {
            continue;
        }
        if !pod.owner.is_empty() {
            owned.entry((pod.namespace.as_str(), pod.owner.as_str())).or_default().push(pod);
            continue;
        }
        let (sign, tone) = stand(pod.stand);
        let status = match pod.stand {
            Stand::Ready | Stand::Done => String::new(),
            _ => format!(" {}", pod.status),
        };
        let name = namespaces::brief(scene, &pod.namespace, &pod.name);
        out.push((format!("{} {name}{status}", canvas.sign(sign)), tone));
    }
    let owned = owned.into_iter().map(|((namespace, owner), pods)| {
        let set = scene.replicasets.get(&(namespace.to_string(), owner.to_string()));
        let name = namespaces::brief(scene, namespace, owner);
        counted(canvas, &name, &pods, set.map(|set| set.wanted))
    });
    owned.chain(out).collect()
}

/// The command on the stage, or where it was refused.
fn stage(canvas: &Canvas<'_>, model: &Model) -> Vec<Piece> {
    let Some((code, gate)) = refusal(model) else { return vec![caption(model, false)] };
    let gate = canvas.word(gate.word(), &[]);
    let message = model.traffic.shown().map_or(String::new(), |flow| flow.refusal.clone());
    vec![(format!("{} {gate} {code}", canvas.sign(Sign::Failed)), Tone::Bad), (message, Tone::Plain)]
}

/// Returns the first pod that is not well, with its STATUS as `kubectl get pods` shows it, and how
/// many more there are; without such a pod an autoscaler that cannot work.
pub(super) fn unwell(canvas: &Canvas<'_>, scene: &Cluster) -> Option<Piece> {
    let all = scene.unwell_pods();
    let Some(first) = all.first() else { return scaler::unwell(canvas, scene) };
    let mut told = format!(" {}", first.status);
    if !canvas.asks_cause && !first.reason.is_empty() {
        told = format!("{told} {}", first.reason);
    }
    if all.len() > 1 {
        told = format!("{told} +{}", all.len() - 1);
    }
    let name = scene.label(&first.pod.namespace, &first.pod.name);
    let sign = canvas.sign(Sign::Warn);
    let room = canvas.width().saturating_sub(cells(sign) + cells(&told) + 3);
    let name = cut_middle(&name, room.max(NAME_MIN), canvas.sign(Sign::Ellipsis));
    Some((format!("{sign} {name}{told}"), Tone::Bad))
}

/// Returns the pieces of the second line in their order: what is refused, what is not well, and a
/// warning; then the command on the stage; then the newest Event that is no warning. A command that
/// failed comes before what is not well.
///
/// While a lab asks for the cause, no warning is shown whose message may name the cause
/// ([`event_piece`] leaves out that of `FailedCreate`).
pub(super) fn news(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> Vec<Piece> {
    let stage = stage(canvas, model);
    if model.traffic.moving() {
        return stage;
    }
    let (refused, unwell) = (blocked::line(canvas, scene, None), unwell(canvas, scene));
    let hides = |event: &&Happened| canvas.asks_cause && event.warning && event.reason != "FailedCreate";
    let event = newest(scene).filter(|event| refused.is_none() && !hides(event));
    let (before, behind) = match event {
        Some(event) if event.warning && refusal(model).is_none() => {
            (Some(warned(canvas, scene, event)), None)
        }
        other => (None, other.map(|event| event_piece(canvas, event))),
    };
    let (answer, stage) = if has_failed(model) { (stage, vec![]) } else { (vec![], stage) };
    let first = refused.into_iter().chain(answer).chain(unwell).chain(before);
    first.chain(stage).chain(behind).collect()
}

/// Returns whether the command on the stage was refused, or its last write failed.
fn has_failed(model: &Model) -> bool {
    let fails = || model.traffic.shown().is_some_and(|flow| flow.failed().is_some());
    refusal(model).is_some() || fails()
}

/// Returns a warning. One about the pod that is named before it needs neither a sign nor a name.
fn warned(canvas: &Canvas<'_>, scene: &Cluster, event: &Happened) -> Piece {
    let unwell_pods = scene.unwell_pods();
    let first = unwell_pods.first().filter(|it| {
        let pod = (&it.pod.namespace, &it.pod.name);
        event.kind == "Pod" && pod == (&event.about.0, &event.about.1)
    });
    match first {
        Some(unwell) if unwell.reason == event.reason => (event.message.clone(), Tone::Bad),
        Some(_) => (format!("{}: {}", event.reason, event.message), Tone::Bad),
        None => event_piece(canvas, event),
    }
}

/// Returns whether something that is not well has its place in the news.
pub(super) fn is_unwell(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> bool {
    !model.traffic.moving() && unwell(canvas, scene).is_some()
}

/// The newest Event about something of the learner's. A warning about a pod that is gone, or ready
/// by now, is over.
fn newest(scene: &Cluster) -> Option<&Happened> {
    let is_well = |pod: &Pod| matches!(pod.stand, Stand::Ready | Stand::Done);
    let lasts = |event: &Happened| match event.kind.as_str() {
        "Pod" => {
            let pod = scene.pods.get(&event.about).filter(|pod| pod.has_event(event));
            pod.is_some_and(|pod| !event.warning || !is_well(pod))
        }
        _ => true,
    };
    let own = scene.events.values().filter(|event| event.about.0 != "kube-system" && lasts(event));
    own.max_by_key(|event| event.revision)
}

/// An Event on one line. While a lab asks for the cause, that of a refused pod is without its
/// message, which names the quota or the policy.
pub(super) fn event_piece(canvas: &Canvas<'_>, event: &Happened) -> Piece {
    let mut text = format!("{} {}", event.reason, short(&event.about.1));
    if !canvas.asks_cause || event.reason != "FailedCreate" {
        text = format!("{text}: {}", event.message);
    }
    match event.warning {
        true => (format!("{} {text}", canvas.sign(Sign::Warn)), Tone::Bad),
        false => (text, Tone::Dim),
    }
}

/// The command that is shown: its hops so far, and the time of all. When it has come to its end,
/// also what is not well.
fn command(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> Lines {
    let counts = model.traffic.shown().map_or(vec![], |flow| {
        let all = flow.hops.len();
        let at = (model.traffic.play.at + 1).min(all);
        vec![(title(flow), Tone::Plain), (format!("{at}/{all}"), Tone::Dim), (took(flow.total()), Tone::Dim)]
    });
    let mut news = stage(canvas, model);
    if let Some(unwell) = unwell(canvas, scene).filter(|_| !model.traffic.moving()) {
        let at = if has_failed(model) { news.len() } else { 0 };
        news.insert(at, unwell);
    }
    Lines { counts, news }
}
