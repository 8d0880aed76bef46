//! What to do about one DaemonSet now: [`decide`] is pure. Source:
//! `pkg/controller/daemon/{daemon_controller,update}.go`.

use crate::pods::{self, has_ended, is_available, is_going};
use crate::{amount, revisions};
use api::nodes::{self, tolerates};
use clock::{self, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod, PodTemplateSpec, Toleration};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The taints that every daemon pod tolerates: it belongs to the node, whatever state that is in.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// The taint that a daemon pod on its node's own network tolerates in addition: the pod may be what
/// sets the network of pods up.
const NO_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// What to do on the nodes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Nodes that lack a pod, or get a new one beside an old one.
    pub create: Vec<String>,
    /// Names of pods that are too many, on the wrong node, or of an old revision.
    pub delete: Vec<String>,
    /// Pods that have ended, with their nodes. Each is deleted, after a pause if such pods end
    /// again and again; then the node gets a new one.
    pub ended: Vec<(String, Arc<Pod>)>,
}

/// Pure: returns whether a daemon pod with this template should run on the node, and whether one
/// that is there may stay.
///
/// The scheduler is not asked: it would say "no room" of a full node, and the pod should wait there
/// instead of not being made. Upstream: `NodeShouldRunDaemonPod`.
///
/// ```text
/// node                                              should run   may stay
/// plain                                             yes          yes
/// cordoned, or under memory pressure                yes          yes, always tolerated
/// taint dedicated=gpu:NoSchedule, not tolerated     no           yes
/// taint dedicated=gpu:NoExecute, not tolerated      no           no
/// label disk=hdd, nodeSelector disk=ssd             no           no
/// ```
pub fn belongs(template: &PodTemplateSpec, node: &Node) -> (bool, bool) {
    let spec = template.spec.clone().unwrap_or_default();
    let bound = spec.node_name.as_deref().unwrap_or_default();
    if !bound.is_empty() && Some(bound) != node.metadata.name.as_deref() {
        return (false, false); // the template binds all pods to another node
    }
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    if !spec.node_selector.iter().flatten().all(|(k, v)| labels.get(k) == Some(v)) {
        return (false, false);
    }
    let required = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = required.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let name = node.metadata.name.as_deref().unwrap_or_default();
    if required.is_some_and(|r| !r.node_selector_terms.iter().any(|term| nodes::fits(term, name, labels))) {
        return (false, false);
    }
    let mut tolerations = spec.tolerations.unwrap_or_default();
    tolerations.extend(tolerated(spec.host_network == Some(true)));
    let taints = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    let untolerated = |effect: &str| {
        taints.iter().any(|t| t.effect == effect && !tolerations.iter().any(|to| tolerates(to, t)))
    };
    let (schedule, execute) = (!untolerated("NoSchedule"), !untolerated("NoExecute"));
    (schedule && execute, execute)
}

pub(super) fn tolerated(host_network: bool) -> Vec<Toleration> {
    let more = host_network.then_some(&NO_NETWORK);
    TOLERATED
        .iter()
        .chain(more)
        .map(|(key, effect)| Toleration {
            key: Some((*key).into()),
            effect: Some((*effect).into()),
            operator: Some("Exists".into()),
            ..Toleration::default()
        })
        .collect()
}

/// Returns the node that a daemon pod is for: where it runs, or where its affinity sends it.
pub fn target(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.clone().filter(|n| !n.is_empty()) {
        return Some(node);
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|t| t.match_fields.iter().flatten());
    fields.filter(|f| f.key == "metadata.name").find_map(|f| f.values.as_ref()?.first().cloned())
}

/// How an update goes on: so many nodes at a time may be without a pod that is available, or so
/// many may have a second pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub unavailable: usize,
    pub surge: usize,
}

impl Limits {
    /// Reads the limits of a set that runs on so many nodes. Percentages are rounded up; if both
    /// come to nothing, one may be unavailable.
    ///
    /// On 15 nodes `maxUnavailable: 10%` are 2. Rounded up, unlike a Deployment's: a node without
    /// its daemon is expected during an update, and a small cluster must get on too.
    fn of(spec: &DaemonSetSpec, nodes: usize) -> Limits {
        let rolling = spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        let amount = |value: Option<&_>, default: i32| {
            let scaled =
                value.and_then(|v| amount::scaled(v, i32::try_from(nodes).unwrap_or(i32::MAX), true));
            scaled.unwrap_or(default).max(0) as usize
        };
        let surge = amount(rolling.and_then(|r| r.max_surge.as_ref()), 0);
        let unavailable = amount(rolling.and_then(|r| r.max_unavailable.as_ref()), 1);
        Limits { unavailable: if surge == 0 { unavailable.max(1) } else { unavailable }, surge }
    }
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

/// Returns the order in which several pods on a node count: those that are bound before others, the
/// oldest first.
fn age(pod: &Pod) -> (bool, Option<Timestamp>, Option<String>) {
    let bound = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).is_some_and(|n| !n.is_empty());
    (!bound, pod.metadata.creation_timestamp.as_ref().map(|t| t.0), pod.metadata.name.clone())
}

/// A node's live pods, the oldest first: of the revision `hash`, and of older ones.
struct Place<'a> {
    /// A new pod may be started there. Where it may not, those that are there may stay.
    runs: bool,
    new: Vec<&'a Arc<Pod>>,
    old: Vec<&'a Arc<Pod>>,
}

/// Pure: which nodes need a pod, and which pods have to go. `hash` is the current revision's.
///
/// First every node is brought to one pod (or, while an update surges, an old one and a new one);
/// the update goes on only when nothing of that is left to do.
///
/// Nodes `a`, `b` and `c`, `maxUnavailable` 1, and the template has changed (upstream:
/// `podsShouldBeOnNode`, then `rollingUpdate`):
///
/// ```text
/// a, b, c have an old pod                 delete that of a
/// a has none, b and c have an old pod     create one on a; no update meanwhile
/// a has a new pod, not available yet      nothing: a counts as unavailable
/// a has a new pod, available              delete that of b
/// the Node b is deleted                   nothing: the pod garbage collector ends b's pod in 40 s
/// ```
pub(crate) fn decide(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    mine: &[Arc<Pod>],
    hash: &str,
    now: Timestamp,
) -> Plan {
    let spec = set.spec.clone().unwrap_or_default();
    let rolling = spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref()) != Some("OnDelete");
    let places = nodes.iter().filter(|n| belongs(&spec.template, n).0).count();
    let limits = Limits::of(&spec, places);
    let surges = limits.surge > 0 && rolling;
    let available = |p: &Pod| is_available(p, spec.min_ready_seconds.unwrap_or(0), now);
    let is_new = |p: &&Arc<Pod>| revisions::of_pod(p).is_some_and(|h| h == hash);
    let mut plan = Plan::default();
    let mut by_node: BTreeMap<String, Vec<&Arc<Pod>>> = BTreeMap::new();
    // A pod that names no node yet, as an adopted one, is the scheduler's (upstream:
    // `getNodesToDaemonPods`).
    let staying = mine.iter().filter(|p| !is_going(p));
    for (node, pod) in staying.filter_map(|pod| Some((target(pod)?, pod))) {
        by_node.entry(node).or_default().push(pod);
    }
    let mut settled: BTreeMap<String, Place> = BTreeMap::new();
    let mut missing = 0;
    for node in nodes {
        let node_name = node.metadata.name.clone().unwrap_or_default();
        let (run, stay) = belongs(&spec.template, node);
        let here = by_node.remove(&node_name).unwrap_or_default();
        if !stay {
            plan.delete.extend(here.iter().map(|p| name(p)));
            continue;
        }
        let (ended, here): (Vec<_>, Vec<_>) = here.into_iter().partition(|p| has_ended(p));
        let none_ended = ended.is_empty();
        for pod in ended {
            // An update does not wait for one that it replaces anyway.
            match rolling && !is_new(&pod) {
                true => plan.delete.push(name(pod)),
                false => plan.ended.push((node_name.clone(), pod.clone())),
            }
        }
        if here.is_empty() {
            let at = |p: &Arc<Pod>| target(p).as_deref() == Some(&node_name);
            // With a surge a node may have two pods: the next one need not wait until one is gone.
            let waits = !surges && mine.iter().any(|p| is_going(p) && !has_ended(p) && at(p));
            missing += usize::from(run);
            if run && !waits && none_ended {
                plan.create.push(node_name);
            }
            continue;
        }
        let (place, extra) = choose(here, run, surges, is_new, &available);
        plan.delete.extend(extra.iter().map(|p| name(p)));
        settled.insert(node_name, place);
    }
    // Pods that wait for a node that is no more: no scheduler binds them, and no kubelet ends them.
    // One that is bound is left to the pod garbage collector: its node may be registered anew, and
    // then it runs on.
    let waiting = by_node.values().flatten().filter(|p| pods::node_of(p).is_empty());
    plan.delete.extend(waiting.map(|p| name(p)));
    if rolling && plan.create.is_empty() && plan.delete.is_empty() {
        match limits.surge {
            0 => replace(&mut plan, &settled, limits.unavailable.saturating_sub(missing), &available),
            surge => surge_on(&mut plan, &settled, surge, places, &available),
        }
    }
    plan
}

/// Chooses the pods of a node that stay: the oldest one or, with a surge, the oldest of the current
/// revision and of older ones. Returns the others, too. `runs`: a new pod may be started there.
fn choose<'a>(
    mut here: Vec<&'a Arc<Pod>>,
    runs: bool,
    surges: bool,
    is_new: impl Fn(&&Arc<Pod>) -> bool,
    available: &dyn Fn(&Pod) -> bool,
) -> (Place<'a>, Vec<&'a Arc<Pod>>) {
    here.sort_by_key(|p| age(p));
    if !surges {
        let extra = here.split_off(1);
        let (new, old) = here.into_iter().partition(is_new);
        return (Place { runs, new, old }, extra);
    }
    let (mut new, mut old): (Vec<_>, Vec<_>) = here.into_iter().partition(is_new);
    let mut extra: Vec<&Arc<Pod>> = new.drain(1.min(new.len())..).collect();
    extra.extend(old.drain(1.min(old.len())..));
    // The old one is not needed any more when it is not ready, or when the new one is available.
    if let (Some(fresh), Some(stale)) = (new.first(), old.first())
        && (pods::ready_since(stale).is_none() || available(fresh))
    {
        extra.append(&mut old);
    }
    (Place { runs, new, old }, extra)
}

/// Plans an update that takes old pods away first: all that are not available, and as many others
/// as may then still be missing. `room`: how many nodes may be without an available pod.
///
/// Five nodes, `maxUnavailable` 2. All old pods are available: two are deleted. One old pod is
/// broken: it is deleted, and one more. A broken pod serves no client, so replacing it costs
/// nothing.
fn replace(plan: &mut Plan, places: &BTreeMap<String, Place>, room: usize, available: &dyn Fn(&Pod) -> bool) {
    let unready = |p: &&&Arc<Pod>| !available(p);
    let waiting = places.values().flat_map(|p| &p.new).filter(unready).count();
    let (serving, idle): (Vec<&Arc<Pod>>, Vec<_>) =
        places.values().flat_map(|p| p.old.iter().copied()).partition(|p| available(p));
    let room = room.saturating_sub(waiting + idle.len());
    plan.delete.extend(idle.into_iter().chain(serving.into_iter().take(room)).map(|p| name(p)));
}

/// Plans an update that makes new pods first: beside all old ones that are not available, and so
/// many others at a time. `desired`: how many nodes should run a pod.
///
/// A node that should not run one gets no second pod, which no node would take. Its old pod goes
/// too: at once if it is not available, else as soon as the other nodes can do without it.
///
/// ```text
/// maxSurge 1; a has got a taint NoSchedule, so 2 of 3 nodes should run one; b and c have old pods
/// old pod on a is available      3 are available, 1 more than desired: delete it, make one on b
/// b's old pod is not available   2 are available: keep the one on a, make one on b
/// ```
fn surge_on(
    plan: &mut Plan,
    places: &BTreeMap<String, Place>,
    surge: usize,
    desired: usize,
    available: &dyn Fn(&Pod) -> bool,
) {
    let surging = places.values().filter(|p| !p.old.is_empty() && !p.new.is_empty()).count();
    let stale = places.iter().filter(|(_, p)| p.new.is_empty());
    let (stay, leave): (Vec<_>, Vec<_>) = stale.partition(|(_, p)| p.runs);
    let is_serving = |(_, p): &(&String, &Place)| p.old.iter().all(|p| available(p));
    let (serving, idle): (Vec<_>, Vec<_>) = stay.into_iter().partition(is_serving);
    plan.create.extend(idle.into_iter().map(|(node, _)| node.clone()));
    let room = surge.saturating_sub(surging);
    plan.create.extend(serving.into_iter().take(room).map(|(node, _)| node.clone()));
    let (serving, idle): (Vec<_>, Vec<_>) = leave.into_iter().partition(is_serving);
    let first = places.values().filter_map(|p| p.old.first().or(p.new.first()));
    let spare = first.filter(|p| available(p)).count().saturating_sub(desired);
    let leave = idle.into_iter().chain(serving.into_iter().take(spare));
    plan.delete.extend(leave.flat_map(|(_, p)| &p.old).map(|p| name(p)));
}

/// Pure: the status that nodes and pods give.
///
/// Nodes `a` and `b` should run a pod and `c` should not, but has one; the pod of `b` is not ready:
/// desired 2, current 2, ready 1, `numberMisscheduled` 1.
pub(crate) fn status(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    mine: &[Arc<Pod>],
    hash: &str,
    now: clock::Timestamp,
) -> DaemonSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let seconds = spec.min_ready_seconds.unwrap_or(0);
    let (mut desired, mut current, mut wrong, mut ready, mut available, mut updated) = (0, 0, 0, 0, 0, 0);
    for node in nodes {
        let (run, _) = belongs(&spec.template, node);
        let mut here: Vec<&Arc<Pod>> = mine
            .iter()
            .filter(|p| target(p) == node.metadata.name && !(is_going(p) && has_ended(p)))
            .collect();
        here.sort_by_key(|p| age(p)); // the oldest counts, also while an update has a second one beside it
        if !run {
            wrong += i32::from(!here.is_empty());
            continue;
        }
        desired += 1;
        let Some(pod) = here.first() else { continue };
        current += 1;
        ready += i32::from(pods::ready_since(pod).is_some());
        available += i32::from(is_available(pod, seconds, now));
        updated += i32::from(revisions::of_pod(pod).is_some_and(|h| h == hash));
    }
    let some = |n: i32| (n > 0).then_some(n);
    DaemonSetStatus {
        current_number_scheduled: current,
        desired_number_scheduled: desired,
        number_misscheduled: wrong,
        number_ready: ready,
        number_available: some(available),
        number_unavailable: some(desired - available),
        updated_number_scheduled: some(updated),
        observed_generation: set.metadata.generation,
        collision_count: set.status.as_ref().and_then(|s| s.collision_count),
        conditions: set.status.as_ref().and_then(|s| s.conditions.clone()),
    }
}

#[cfg(test)]
mod tests;
