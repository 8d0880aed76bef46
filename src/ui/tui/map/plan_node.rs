//! A node as a box: its state, its pods by the object that owns them, and what they request of it.

use super::super::cluster::{Cluster, HEARTBEAT_LOST, Node, Pod, Stand};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, cut_middle};
use super::super::words::Word;
use super::canvas::Canvas;
use super::cluster::{line_of, node_state, stand, works};
use super::ghosts::{ghost_line, ghosts};
use super::hops::short;
use super::namespaces;
use super::plan::tail;
use std::collections::BTreeMap;

/// Boxes that are narrower than this say nothing: the nodes become lines.
pub(super) const NODE_MIN: usize = 22;
/// From this room on a pod has its owner and its address beside it.
const WIDE: usize = 30;
/// Cells for the name of an owner.
const OWNER: usize = 11;
/// Cells of a gauge.
const GAUGE: usize = 5;
/// The component that renews the lease of a node.
const KUBELET: &str = "kubelet";
/// Cells that are kept for the age of a lease.
const AGE: usize = 9;

/// Pods of a node under what owns them: the Deployment, another controller, or the pod itself.
type Group<'a> = (String, Vec<&'a Pod>);

/// Draws the box of a node with its pods.
pub(super) fn node_box(
    canvas: &mut Canvas<'_>,
    model: &Model,
    scene: &Cluster,
    node: &Node,
    pods: &[&Pod],
    corner: (usize, usize),
    size: (usize, usize),
) {
    let ((x, y), (width, height)) = (corner, size);
    let acts = works(model, node);
    let name = match acts {
        true => format!("{} {}", canvas.sign(Sign::Pick), short(&node.name)),
        false => short(&node.name).to_string(),
    };
    canvas.frame(corner, size, &name, if acts { Tone::Lit } else { Tone::Strong });
    let (state, tone) = node_state(canvas, model, node);
    let at = x + 3 + cells(&name);
    let end = x + width.saturating_sub(1);
    let state = if cells(&state) <= end.saturating_sub(at) { format!("{state} ") } else { sign_of(&state) };
    canvas.put_in(at, y, end.saturating_sub(at), &state, tone);
    let edge = y + height.saturating_sub(1);
    let from = gauges(canvas, node, pods, (x + 1, edge), end.saturating_sub(AGE));
    lease(canvas, model, node, (from, end), edge);
    let (system, own): (Vec<&Pod>, Vec<&Pod>) = pods.iter().copied().partition(|pod| pod.system());
    let room = height.saturating_sub(2 + usize::from(!system.is_empty()));
    let (left, inside) = (x + 2, width.saturating_sub(4));
    let groups = groups(scene, &own);
    let row = match own.len() + namespaces::heads(scene, &own) <= room {
        true => pod_lines(canvas, scene, &groups, (left, y + 1), inside),
        false => signs_of_many(canvas, scene, &groups, (left, y + 1), (inside, room)),
    };
    let gone = ghosts(model).into_iter().filter(|ghost| ghost.pod.node == node.name);
    for (at, ghost) in gone.take((y + 1 + room).saturating_sub(row)).enumerate() {
        ghost_line(canvas, &ghost, (left, row + at), inside);
    }
    if !system.is_empty() && height > 2 {
        system_line(canvas, &system, (left, y + height.saturating_sub(2)), inside);
    }
}

/// The sign of a state without its word.
fn sign_of(state: &str) -> String {
    state.split(' ').next().unwrap_or_default().to_string()
}

/// The heart of a node, with the name of the kubelet that renews its lease, or for how long it was
/// not renewed. `from`: the column behind the gauges, which may leave no room for the name.
fn lease(canvas: &mut Canvas<'_>, model: &Model, node: &Node, (from, end): (usize, usize), y: usize) {
    // While the API server is silent nothing is known of leases.
    if !model.cluster.heartbeats.contains_key(&node.name) || !model.silent.is_empty() {
        return;
    }
    let heart = canvas.sign(Sign::Heart);
    let (text, tone) = match model.cluster.late(&node.name, model.now) {
        None if from + cells(KUBELET) + 4 <= end => (format!(" {heart} {KUBELET} "), Tone::Dim),
        None => (format!(" {heart} "), Tone::Dim),
        Some(age) => {
            let text = canvas.word(Word::LeaseLate, &[&age.as_secs().to_string()]);
            let tone = if age >= HEARTBEAT_LOST { Tone::Bad } else { Tone::Warn };
            (format!(" {heart} {text} "), tone)
        }
    };
    canvas.put(end.saturating_sub(cells(&text)), y, &text, tone);
}

/// What the pods request, as a share of what the node has, in the lower edge. Returns the column
/// behind it.
fn gauges(canvas: &mut Canvas<'_>, node: &Node, pods: &[&Pod], (x, y): (usize, usize), end: usize) -> usize {
    // As the scheduler counts: a pod that has ended requests nothing any more.
    let counted = || pods.iter().filter(|pod| !pod.is_over);
    let cpu: i128 = counted().map(|pod| i128::from(pod.cpu)).sum();
    let memory: i128 = counted().map(|pod| i128::from(pod.memory)).sum();
    let mut x = x;
    for (name, used, all) in [("cpu", cpu, node.cpu), ("mem", memory, node.memory)] {
        if all <= 0 || x + GAUGE + 6 > end {
            continue;
        }
        let share = used.max(0) * GAUGE as i128;
        // Rounded up: whatever is requested fills at least one cell.
        let full =
            usize::try_from((share + i128::from(all) - 1) / i128::from(all)).unwrap_or(GAUGE).min(GAUGE);
        x = canvas.put(x, y, &format!(" {name} "), Tone::Dim);
        let tone = if full == GAUGE { Tone::Warn } else { Tone::Plain };
        x = canvas.put(x, y, &canvas.sign(Sign::Block).repeat(full), tone);
        x = canvas.put(x, y, &canvas.sign(Sign::Empty).repeat(GAUGE - full), Tone::Dim);
        x = canvas.put(x, y, " ", Tone::Dim);
    }
    x
}

/// The pods under their owners: owners in the order of their oldest pods, and so the pods. Where
/// there are several namespaces, they come one after the other.
fn groups<'a>(scene: &Cluster, pods: &[&'a Pod]) -> Vec<Group<'a>> {
    // A pod without an owner may have the name of a Deployment, and is none of its pods.
    let mut by_owner: BTreeMap<(&str, &str, bool), Vec<&'a Pod>> = BTreeMap::new();
    for pod in pods.iter().copied() {
        let set = scene.replicasets.get(&(pod.namespace.clone(), pod.owner.clone()));
        let owner = match set {
            Some(set) if !set.owner.is_empty() => set.owner.as_str(),
            _ if pod.owner.is_empty() => pod.name.as_str(),
            _ => pod.owner.as_str(),
        };
        let key = (pod.namespace.as_str(), owner, pod.owner.is_empty());
        by_owner.entry(key).or_default().push(pod);
    }
    let mut groups: Vec<Group<'a>> = Vec::new();
    for ((_, owner, _), mut pods) in by_owner {
        pods.sort_by_key(|pod| (pod.created, &pod.name));
        groups.push((owner.to_string(), pods));
    }
    let is_spread = scene.is_spread();
    let place = |pod: &'a Pod| (is_spread.then_some(pod.namespace.as_str()), pod.created);
    groups.sort_by_key(|(_, pods)| pods.first().copied().map(place));
    groups
}

/// A line for each pod; over those of a namespace its name, where there are several. Returns the
/// row behind them.
fn pod_lines(
    canvas: &mut Canvas<'_>,
    scene: &Cluster,
    groups: &[Group<'_>],
    (x, mut row): (usize, usize),
    width: usize,
) -> usize {
    let is_spread = scene.is_spread();
    let mut namespace = "";
    for (owner, pods) in groups {
        for (at, pod) in pods.iter().enumerate() {
            if is_spread && namespace != pod.namespace {
                namespace = pod.namespace.as_str();
                let (text, tone) = namespaces::head(canvas, scene, namespace, width);
                canvas.put_in(x, row, width, &text, tone);
                row += 1;
            }
            let owner = if at == 0 { owner.as_str() } else { "" };
            pod_line(canvas, pod, owner, (x, row), width);
            row += 1;
        }
    }
    row
}

/// A pod with its owner, its sign, the end of its name, and its address or what ails it.
fn pod_line(canvas: &mut Canvas<'_>, pod: &Pod, owner: &str, (x, y): (usize, usize), width: usize) {
    if width < WIDE {
        return line_of(canvas, pod, x, y, width);
    }
    let (sign, tone) = stand(pod.stand);
    canvas.put_in(x, y, OWNER - 1, owner, Tone::Strong);
    let at = canvas.put(x + OWNER, y, &format!("{} ", canvas.sign(sign)), tone);
    let end = x + width;
    let bare = pod.owner.is_empty();
    let name = if bare { canvas.word(Word::NoOwner, &[]) } else { tail(canvas, &pod.name) };
    let strength = if pod.stand == Stand::Leaving || bare { Tone::Dim } else { Tone::Plain };
    let at = canvas.put_in(at, y, end.saturating_sub(at), &name, strength);
    let again = if canvas.look.ascii { 'r' } else { '↻' };
    let restarts = if pod.restarts > 0 { format!(" {again}{}", pod.restarts) } else { String::new() };
    let (more, tone) = match pod.stand {
        Stand::Ready => (format!("{restarts}  {}", pod.ip), Tone::Dim),
        _ => (format!("{restarts}  {}", pod.status), tone),
    };
    canvas.put_in(at, y, end.saturating_sub(at), &more, tone);
}

/// Too many pods for a line each: a sign for each, and lines for those that are not well. Returns
/// the row behind them.
fn signs_of_many(
    canvas: &mut Canvas<'_>,
    scene: &Cluster,
    groups: &[Group<'_>],
    (x, y): (usize, usize),
    (width, room): (usize, usize),
) -> usize {
    let label =
        |(owner, pods): &Group<'_>| scene.label(pods.first().map_or("", |pod| pod.namespace.as_str()), owner);
    // `staging/web` needs more room than `web`.
    let longest = groups.iter().map(|group| cells(&label(group)) + 1).max().unwrap_or_default();
    let column = match scene.is_spread() {
        true => longest.min(width * 2 / 3).max(OWNER),
        false => OWNER,
    };
    let (mut row, end) = (y, y + room);
    for (at, group) in groups.iter().enumerate() {
        if row + 1 == end && at + 1 < groups.len() {
            let left: usize = groups[at..].iter().map(|(_, pods)| pods.len()).sum();
            canvas.put_in(x, row, width, &canvas.word(Word::StatusPods, &[&left.to_string()]), Tone::Dim);
            return end;
        }
        if row >= end {
            return end;
        }
        let (mut name, pods) = (label(group), &group.1);
        if column > OWNER {
            name = cut_middle(&name, column - 1, canvas.sign(Sign::Ellipsis));
        }
        canvas.put_in(x, row, column - 1, &name, Tone::Strong);
        let count = pods.len().to_string();
        let across = width.saturating_sub(column + 1 + count.len());
        for (at, pod) in pods.iter().take(across).enumerate() {
            let (sign, tone) = stand(pod.stand);
            canvas.put_in(x + column + at, row, 1, canvas.sign(sign), tone);
        }
        canvas.put(x + width - count.len().min(width), row, &count, Tone::Dim);
        row += 1;
    }
    let unwell = groups.iter().flat_map(|(_, pods)| pods);
    let unwell = unwell.filter(|pod| !matches!(pod.stand, Stand::Ready | Stand::Done));
    for pod in unwell.take(end.saturating_sub(row)) {
        line_of(canvas, pod, x, row, width);
        row += 1;
    }
    row
}

/// The pods of the cluster itself, a sign for each.
fn system_line(canvas: &mut Canvas<'_>, pods: &[&Pod], (x, y): (usize, usize), width: usize) {
    let mut at = x;
    for pod in pods.iter().take(width / 2) {
        let (sign, tone) = match pod.stand {
            Stand::Ready => (Sign::System, Tone::Dim),
            other => stand(other),
        };
        at = canvas.put_in(at, y, 1, canvas.sign(sign), tone);
    }
    let text = format!(" {}", canvas.word(Word::System, &[&pods.len().to_string()]));
    canvas.put_in(at, y, (x + width).saturating_sub(at), &text, Tone::Dim);
}
