//! Where is it? The components, the nodes, and the pods on them; a request lights its path.

use super::super::cluster::{Cluster, Node, Pod, Stand};
use super::super::flow::{Did, Spot};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, cut_middle};
use super::super::words::Word;
use super::canvas::Canvas;
use super::common::{caption, lit, not_listed, refusal};
use super::ghosts::{ghost_line, ghosts};
use super::hops::short;
use super::{namespaces, plan, quotas, scaler};
use std::collections::BTreeMap;

/// Narrower columns than this are of no use: the nodes become lines.
const COLUMN_MIN: usize = 12;

/// The sign and the tone of a pod that stands so.
pub(super) fn stand(stand: Stand) -> (Sign, Tone) {
    match stand {
        Stand::Waiting => (Sign::Waiting, Tone::Warn),
        Stand::Starting => (Sign::Starting, Tone::Warn),
        Stand::Ready => (Sign::Ready, Tone::Good),
        Stand::Leaving => (Sign::Leaving, Tone::Dim),
        Stand::Failed => (Sign::Failed, Tone::Bad),
        Stand::Done => (Sign::Done, Tone::Dim),
    }
}

/// Draws the cluster: its boxes where there is room for them, else nodes in columns or lines.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster) {
    if plan::fits(canvas) {
        return plan::draw(canvas, model, scene);
    }
    let roomy = canvas.height() >= 13 && canvas.width() >= 60;
    let y = path(canvas, model, roomy);
    let last = canvas.height().saturating_sub(1);
    let (text, tone) = caption(model, canvas.width() < 60);
    canvas.put(1, last, &text, tone);
    let texts = [not_listed(model, &["nodes", "pods"]), nowhere(canvas, scene)];
    let text = texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("  ");
    let mut foot = last.saturating_sub(usize::from(!text.is_empty()));
    if !text.is_empty() {
        canvas.put(1, foot, &text, Tone::Warn);
    }
    let room = canvas.width().saturating_sub(2);
    let scaler = scaler::shown(model, scene).map(|scaler| scaler::line(canvas, scene, scaler, room));
    for (text, tone) in [scaler, quotas::line(canvas, scene)].into_iter().flatten().filter(|_| roomy) {
        foot = foot.saturating_sub(1);
        canvas.put(1, foot, &text, tone);
    }
    let nodes = nodes(scene);
    let width = canvas.width().saturating_sub(1) / nodes.len().max(1);
    if width < COLUMN_MIN {
        return lines(canvas, model, &nodes, y, foot);
    }
    // The control plane's name is the longest, and its node has room to give.
    let longest = nodes.first().map_or(0, |(n, _)| cells(short(&n.name)) + 1);
    let extra = longest.saturating_sub(width).min(if nodes.len() > 1 { 4 } else { 0 });
    let others = (canvas.width().saturating_sub(1 + width + extra)) / (nodes.len().saturating_sub(1)).max(1);
    let mut x = 1;
    for (at, (node, pods)) in nodes.iter().enumerate() {
        let width = if at == 0 { width + extra } else { others };
        column(canvas, model, scene, node, pods, x, y, width - 1, foot, roomy);
        x += width;
    }
}

/// The nodes, those of the control plane first, and the pods on each.
pub(super) fn nodes(scene: &Cluster) -> Vec<(&Node, Vec<&Pod>)> {
    let mut by_node: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in scene.pods.values() {
        by_node.entry(&pod.node).or_default().push(pod);
    }
    let mut nodes: Vec<&Node> = scene.nodes.values().collect();
    nodes.sort_by_key(|n| (!n.control_plane, n.name.len(), &n.name));
    // A place does not change while a pod does: pods are in the order of their names.
    nodes.into_iter().map(|node| (node, by_node.remove(node.name.as_str()).unwrap_or_default())).collect()
}

/// A line for each node, down to the foot.
pub(super) fn lines(
    canvas: &mut Canvas<'_>,
    model: &Model,
    nodes: &[(&Node, Vec<&Pod>)],
    from: usize,
    foot: usize,
) {
    for (at, (node, pods)) in nodes.iter().enumerate() {
        let y = from + at;
        if y >= foot {
            break;
        }
        if y + 1 >= foot && at + 1 < nodes.len() {
            let left = (nodes.len() - at).to_string();
            let text = canvas.word(Word::MoreNodes, &[&left]);
            canvas.put(1, y, &text, Tone::Dim);
            break;
        }
        line(canvas, model, node, pods, y);
    }
}

/// The pods that are on no node of the map: those that have none yet, and those whose Node was
/// deleted and that the garbage collector of pods has not come to.
fn nowhere(canvas: &Canvas<'_>, scene: &Cluster) -> String {
    let named = |sign: Sign, word: Word, is: &dyn Fn(&Pod) -> bool| {
        // More of them than cells cannot be seen.
        let pods = scene.pods.values().filter(|pod| is(pod)).take(canvas.width());
        let names: Vec<String> = pods.map(|pod| scene.label(&pod.namespace, &pod.name)).collect();
        let text = format!("{} {} {}", canvas.sign(sign), canvas.word(word, &[]), names.join(" "));
        (!names.is_empty()).then_some(text)
    };
    let waiting = named(Sign::Waiting, Word::NoNodeYet, &|pod| pod.node.is_empty());
    let lost = named(Sign::Down, Word::NodeGone, &|pod| is_lost(scene, pod));
    [lost, waiting].into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// True if the pod's Node was deleted. Before the nodes are listed nothing is known of them.
pub(super) fn is_lost(scene: &Cluster, pod: &Pod) -> bool {
    !scene.nodes.is_empty() && !pod.node.is_empty() && !scene.nodes.contains_key(&pod.node)
}

/// The way of every request; the row below it.
fn path(canvas: &mut Canvas<'_>, model: &Model, roomy: bool) -> usize {
    let (from, to) = lit(model);
    let hop = model.traffic.lit();
    let lights = |spot: &Spot| if to == Some(spot) { Tone::Lit } else { Tone::Strong };
    let you = canvas.word(Word::You, &[]);
    let asking = from == Some(&Spot::Client);
    let answering = to == Some(&Spot::Client);
    let storing = to == Some(&Spot::Store)
        || hop.is_some_and(|h| matches!(h.did, Did::Asked { .. }) && h.revision.is_some());
    let arrow = |canvas: &Canvas<'_>, there: bool, back: bool| match (there, back) {
        (_, true) => (canvas.sign(Sign::LeftLit), Tone::Strong),
        (true, _) => (canvas.sign(Sign::RightLit), Tone::Strong),
        _ => (canvas.sign(Sign::Right), Tone::Dim),
    };
    let (first, second) = (arrow(canvas, asking, answering), arrow(canvas, storing, false));
    let names: [&str; 4] = match roomy {
        true => ["kube-apiserver", "etcd", "kube-scheduler", "controller-manager"],
        false => ["api", "etcd", "sched", "ctrl"],
    };
    let controllers = matches!(to, Some(Spot::Controller(_))) || matches!(from, Some(Spot::Controller(_)));
    let scheduler = to == Some(&Spot::Scheduler) || from == Some(&Spot::Scheduler);
    let mut x = canvas.put(1, 0, &you, if answering || asking { Tone::Lit } else { Tone::Strong });
    x = canvas.row(x, 0, &[(" ", Tone::Plain), first, (" ", Tone::Plain)]);
    let api = x;
    x = component(canvas, model, x, 0, names[0], "kube-apiserver-", lights(&Spot::Api));
    x = canvas.row(x, 0, &[(" ", Tone::Plain), second, (" ", Tone::Plain)]);
    x = component(canvas, model, x, 0, names[1], "etcd-", if storing { Tone::Lit } else { Tone::Strong });
    let watching = scheduler
        || controllers
        || matches!(to, Some(Spot::Kubelet(_) | Spot::Proxy(_)))
        || matches!(from, Some(Spot::Kubelet(_)));
    let watch = canvas.sign(if watching { Sign::WatchLit } else { Sign::Watch });
    let tone = |on: bool| if on { Tone::Lit } else { Tone::Strong };
    if roomy {
        // All others watch the API server: they hang below it.
        let middle = api + 6;
        canvas.put(middle, 1, watch, if watching { Tone::Strong } else { Tone::Dim });
        canvas.put(middle + 2, 1, "watch", Tone::Dim);
        refused(canvas, model, middle + 9);
        let x = component(canvas, model, api, 2, names[2], "kube-scheduler-", tone(scheduler));
        component(canvas, model, x + 4, 2, names[3], "kube-controller-manager-", tone(controllers));
        canvas.put(middle, 3, watch, if watching { Tone::Strong } else { Tone::Dim });
        4
    } else {
        let x = component(canvas, model, x + 2, 0, names[2], "kube-scheduler-", tone(scheduler));
        component(canvas, model, x + 1, 0, names[3], "kube-controller-manager-", tone(controllers));
        canvas.put(api + 1, 1, watch, if watching { Tone::Strong } else { Tone::Dim });
        canvas.put(api + 3, 1, "watch", Tone::Dim);
        refused(canvas, model, api + 10);
        2
    }
}

/// Below the API server: the stage at which it refused the command.
fn refused(canvas: &mut Canvas<'_>, model: &Model, x: usize) {
    if let Some((code, gate)) = refusal(model) {
        let text = format!("{} {} {code}", canvas.sign(Sign::Failed), canvas.word(gate.word(), &[]));
        canvas.put(x, 1, &text, Tone::Bad);
    }
}

/// A component with a sign: leader, or down.
fn component(
    canvas: &mut Canvas<'_>,
    model: &Model,
    x: usize,
    y: usize,
    name: &str,
    pod: &str,
    tone: Tone,
) -> usize {
    let x = canvas.put(x, y, name, tone);
    let lease = match pod {
        "kube-scheduler-" => model.cluster.leader("kube-scheduler"),
        "kube-controller-manager-" => model.cluster.leader("kube-controller-manager"),
        _ => None,
    };
    match (model.cluster.component(pod), lease) {
        (Some(false), _) => canvas.put(x, y, &format!(" {}", canvas.sign(Sign::Down)), Tone::Bad),
        (_, Some(_)) => canvas.put(x, y, &format!(" {}", canvas.sign(Sign::Leader)), Tone::Accent),
        _ => x,
    }
}

/// The state of a node beside its name: off, not ready, cordoned or ready.
pub(super) fn node_state(canvas: &Canvas<'_>, model: &Model, node: &Node) -> (String, Tone) {
    // A fault is known at once. The node becomes NotReady when its lease has run out.
    if is_off(model, node) {
        return (format!("{} {}", canvas.sign(Sign::Down), canvas.word(Word::RaftOff, &[])), Tone::Bad);
    }
    match (node.ready, node.cordoned) {
        (false, _) => {
            (format!("{} {}", canvas.sign(Sign::Down), canvas.word(Word::NodeNotReady, &[])), Tone::Bad)
        }
        (true, true) => {
            (format!("{} {}", canvas.sign(Sign::Ready), canvas.word(Word::Cordoned, &[])), Tone::Warn)
        }
        (true, false) => {
            (format!("{} {}", canvas.sign(Sign::Ready), canvas.word(Word::NodeReady, &[])), Tone::Good)
        }
    }
}

/// True if the node was switched off, in order or by a crash; false while a lab asks for the cause.
fn is_off(model: &Model, node: &Node) -> bool {
    !model.lab.asks_cause() && model.traffic.agreement.off.contains(&node.name)
}

/// The kubelet or the proxy of this node is at work.
pub(super) fn works(model: &Model, node: &Node) -> bool {
    let (from, to) = lit(model);
    [from, to]
        .into_iter()
        .flatten()
        .any(|s| matches!(s, Spot::Kubelet(n) | Spot::Proxy(n) if *n == node.name))
}

/// Draws a node as a column with its pods, down to the row `foot`.
#[allow(clippy::too_many_arguments)] // a rectangle and what is in it
fn column(
    canvas: &mut Canvas<'_>,
    model: &Model,
    scene: &Cluster,
    node: &Node,
    pods: &[&Pod],
    x: usize,
    mut y: usize,
    width: usize,
    foot: usize,
    roomy: bool,
) {
    // What stands at the foot is not drawn over, however little room there is.
    if y < foot {
        let tone = if works(model, node) { Tone::Lit } else { Tone::Strong };
        canvas.put_in(x, y, width, short(&node.name), tone);
    }
    if y + 1 < foot {
        let (state, tone) = node_state(canvas, model, node);
        canvas.put_in(x, y + 1, width, &state, tone);
    }
    y += 2;
    if roomy {
        let line = canvas.sign(Sign::Line).repeat(width.saturating_sub(1));
        canvas.put_in(x, y, width, &line, Tone::Dim);
        y += 1;
    }
    let (system, own): (Vec<&Pod>, Vec<&Pod>) = pods.iter().copied().partition(|p| p.system());
    if !system.is_empty() && y < foot {
        let mut at = x;
        for pod in &system {
            if at + 1 >= x + width {
                break;
            }
            let (sign, tone) = match pod.stand {
                Stand::Ready => (Sign::System, Tone::Dim),
                other => stand(other),
            };
            at = canvas.put_in(at, y, 1, canvas.sign(sign), tone);
        }
        if roomy {
            let text = format!(" {}", canvas.word(Word::System, &[&system.len().to_string()]));
            canvas.put_in(at, y, (x + width).saturating_sub(at), &text, Tone::Dim);
        }
        y += 1;
    }
    let room = foot.saturating_sub(y);
    if own.len() <= room {
        y = lines_of(canvas, scene, &own, (x, y), (width, room));
        let gone = ghosts(model).into_iter().filter(|ghost| ghost.pod.node == node.name);
        for (at, ghost) in gone.take(foot.saturating_sub(y)).enumerate() {
            ghost_line(canvas, &ghost, (x, y + at), width);
        }
        return;
    }
    signs_of_many(canvas, &own, (x, y), width, foot);
}

/// A line for each pod, below the name of its namespace if there is room for these, too. The pods
/// are in the order of their namespaces. Returns the row behind them.
fn lines_of(
    canvas: &mut Canvas<'_>,
    scene: &Cluster,
    own: &[&Pod],
    (x, mut y): (usize, usize),
    (width, room): (usize, usize),
) -> usize {
    let heads = namespaces::heads(scene, own);
    let mut namespace = None;
    for pod in own {
        if heads > 0 && own.len() + heads <= room && namespace != Some(&pod.namespace) {
            namespace = Some(&pod.namespace);
            let (text, tone) = namespaces::head(canvas, scene, &pod.namespace, width);
            canvas.put_in(x, y, width, &text, tone);
            y += 1;
        }
        line_of(canvas, pod, x, y, width);
        y += 1;
    }
    y
}

/// Too many pods for names: a sign for each, and the names of those that are not well.
fn signs_of_many(
    canvas: &mut Canvas<'_>,
    own: &[&Pod],
    (x, mut y): (usize, usize),
    width: usize,
    foot: usize,
) {
    let room = foot.saturating_sub(y);
    let across = width.saturating_sub(1).max(1);
    let rows = own.len().div_ceil(across).min(room.saturating_sub(1)).max(1).min(room);
    for (at, pod) in own.iter().take(rows * across).enumerate() {
        let (sign, tone) = stand(pod.stand);
        canvas.put_in(x + at % across, y + at / across, 1, canvas.sign(sign), tone);
    }
    y += rows;
    let unwell: Vec<&&Pod> = own.iter().filter(|p| !matches!(p.stand, Stand::Ready | Stand::Done)).collect();
    for pod in unwell.iter().take(foot.saturating_sub(y + 1)) {
        line_of(canvas, pod, x, y, width);
        y += 1;
    }
    if y < foot {
        let text = canvas.word(Word::StatusPods, &[&own.len().to_string()]);
        canvas.put_in(x, y, width, &text, Tone::Dim);
    }
}

/// `◐ nginx-pod ContainerCreating`: the name first, then as much of its state as fits.
pub(super) fn line_of(canvas: &mut Canvas<'_>, pod: &Pod, x: usize, y: usize, width: usize) {
    let (sign, tone) = stand(pod.stand);
    let end = x + width;
    let at = canvas.put_in(x, y, width, &format!("{} ", canvas.sign(sign)), tone);
    let name = cut_middle(&pod.name, end.saturating_sub(at), canvas.sign(Sign::Ellipsis));
    // What is on its way out is a shadow of itself.
    let strength = if pod.stand == Stand::Leaving { Tone::Dim } else { Tone::Plain };
    let at = canvas.put_in(at, y, end.saturating_sub(at), &name, strength);
    let mut more = String::new();
    if pod.restarts > 0 {
        more = format!(" ↻{}", pod.restarts);
        if canvas.look.ascii {
            more = format!(" r{}", pod.restarts);
        }
    }
    if pod.stand != Stand::Ready {
        more = format!("{more} {}", pod.status);
    }
    if end.saturating_sub(at) >= cells(&more).min(8) {
        canvas.put_in(at, y, end.saturating_sub(at), &more, tone);
    }
}

/// A node on one line: for many nodes, or little room.
fn line(canvas: &mut Canvas<'_>, model: &Model, node: &Node, pods: &[&Pod], y: usize) {
    let tone = if works(model, node) { Tone::Lit } else { Tone::Strong };
    let (sign, state) = match node.ready && !is_off(model, node) {
        true => (Sign::Ready, Tone::Good),
        false => (Sign::Down, Tone::Bad),
    };
    let name = canvas.width().clamp(20, 60) / 3;
    let x = canvas.put(1, y, &format!("{} ", canvas.sign(sign)), state);
    canvas.put_in(x, y, name, short(&node.name), tone);
    let mut at = x + name + 1;
    let count = pods.len().to_string();
    let end = canvas.width().saturating_sub(count.len() + 2);
    for pod in pods {
        if at >= end {
            break;
        }
        let (sign, tone) = match (pod.stand, pod.system()) {
            (Stand::Ready, true) => (Sign::System, Tone::Dim),
            (other, _) => stand(other),
        };
        at = canvas.put_in(at, y, 1, canvas.sign(sign), tone);
    }
    canvas.put(end + 1, y, &count, Tone::Dim);
}
