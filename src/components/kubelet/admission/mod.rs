//! Admission: whether the node has enough left for a pod that was bound to it. Pure.
//!
//! ## In Kubernetes
//! The scheduler looks before it binds, but a pod may be bound past it (`spec.nodeName`), or by a
//! scheduler that saw an older state. So the kubelet looks again before it starts a pod: requests
//! of its pods against what is allocatable, and its host ports against theirs. A pod that does not
//! fit is *rejected*: it fails with reason `OutOfcpu`, `OutOfmemory`, `OutOfephemeral-storage`,
//! `OutOfpods` or `NodePorts`, and is never started; so does one that asks for other nodes or does
//! not tolerate this one ([`node_match`]), or asks for unsafe kernel parameters ([`sysctls`]). A
//! *critical* pod that lacks room is not rejected: the kubelet *preempts* others for it. For a port
//! it preempts none. Source: `pkg/kubelet/lifecycle/predicate.go`, `pkg/kubelet/preemption`.
//! ## How this one works
//! ```text
//! allocatable cpu 1000m    started: web 600m, etcd (static) 100m
//! new, the older one first: batch 400m, log 200m
//! batch: 700m used, 400m more is too much -> rejected
//! log: 700m used, 200m more fits -> admitted
//! ```
//! Each decision is made once and remembered ([`Admissions`]). Pods are judged in the order of
//! their creation; a pod that came after the Node object was read waits until the object is read
//! again. A pod that was admitted, or that had started before this kubelet did, counts until it has
//! ended. Static pods always count and are never rejected.

use super::bounds;
use super::pressure;
use super::status::Failure;
use super::sysctls;
use super::view::has_ended;
use api::host_ports::{self, HostPort};
use api::requests::{Amount, Lack, lacking, qos_class};
use k8s_openapi::api::core::v1::Pod;
use node_match::NodeFacts;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub(crate) mod node_match;

/// Facts about the node by which the kubelet judges a pod.
pub(crate) struct OnNode<'a> {
    pub allocatable: Amount,
    pub facts: &'a NodeFacts,
    pub statics: Vec<&'a Pod>,
    /// Pods that are bound to the node, without mirrors.
    pub pods: &'a [Arc<Pod>],
    /// Uids of the pods that the kubelet knew before `facts` was read. Only these are judged: the
    /// scheduler may have bound a later pod because of a label that `facts` does not have yet.
    pub judgeable: &'a HashSet<String>,
    /// Files that this process may have open.
    pub descriptors: u64,
    /// Uids of pods that are being ended by this kubelet.
    pub ending: &'a HashSet<String>,
}

/// The outcome for one pod.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// Why the pod is rejected.
    pub rejected: Option<Failure>,
    /// Pods that have to go for it.
    pub preempted: Vec<Arc<Pod>>,
}

/// Decisions about pods of one node, by uid: `None` is admitted.
#[derive(Debug, Default)]
pub(crate) struct Admissions(HashMap<String, Option<Failure>>);

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn has_started(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|s| s.start_time.is_some())
}

/// Returns whether others make room for this pod. Critical priorities count in kube-system only:
/// see [`pressure::priority`].
fn is_critical(pod: &Pod) -> bool {
    pressure::priority(pod) >= pressure::CRITICAL
}

/// Returns whether a pod may be preempted for this critical one: it is not critical itself, or less
/// important. Source: `Preemptable` in `pkg/kubelet/types/pod_update.go`.
fn gives_way(pod: &Pod, preemptor: &Pod) -> bool {
    !is_critical(pod) || pressure::priority(pod) < pressure::priority(preemptor)
}

fn sum<'a>(pods: impl Iterator<Item = &'a Pod>) -> Amount {
    pods.map(Amount::of_pod).fold(Amount::default(), Amount::and)
}

impl Admissions {
    /// Returns the decision about a pod, if there is one: `Some(None)` is admitted.
    pub(crate) fn known(&self, pod: &Pod) -> Option<Option<Failure>> {
        self.0.get(uid(pod)).cloned().or_else(|| has_started(pod).then_some(None))
    }

    /// Forgets the decision about a pod that is gone. It may come back with its uid and be bound
    /// here anew: `undo` takes back a deletion, and a binding.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    /// Decides about a pod, and first about older pods that are undecided and may be judged by
    /// these facts (`judgeable`).
    pub(crate) fn decide(&mut self, pod: &Pod, node: &OnNode) -> Verdict {
        if let Some(rejected) = self.known(pod) {
            return Verdict { rejected, preempted: vec![] };
        }
        let present: HashSet<&str> = node.pods.iter().map(|p| uid(p)).collect();
        self.0.retain(|uid, _| present.contains(uid.as_str()));
        let mut preempted = vec![];
        for new in self.undecided(node) {
            let verdict = self.judge(&new, node, &preempted);
            self.0.insert(uid(&new).into(), verdict.rejected.clone());
            preempted.extend(verdict.preempted);
            if uid(&new) == uid(pod) {
                return Verdict { rejected: verdict.rejected, preempted };
            }
        }
        Verdict { rejected: None, preempted } // the pod is being deleted, or gone
    }

    /// Returns the pods to preempt for a static pod. A static pod is started also where preemption
    /// does not make enough room: without it the node, or the cluster, does not work.
    pub(crate) fn make_room(&self, pod: &Pod, node: &OnNode) -> Vec<Arc<Pod>> {
        let others = node.statics.iter().copied().filter(|other| uid(other) != uid(pod));
        let running = self.running(node, &[]);
        let used = sum(others).and(sum(running.iter().map(|p| &**p)));
        let lacks = lacking(Amount::of_pod(pod), used, node.allocatable);
        preempt(pod, &lacks, &running).unwrap_or_default()
    }

    /// Returns the undecided pods in the order of their creation, as upstream's kubelet after its
    /// start.
    fn undecided(&self, node: &OnNode) -> Vec<Arc<Pod>> {
        let open = |pod: &&Arc<Pod>| {
            let gone = has_ended(pod) || pod.metadata.deletion_timestamp.is_some();
            !gone && !has_started(pod) && !self.0.contains_key(uid(pod)) && node.judgeable.contains(uid(pod))
        };
        let mut open: Vec<Arc<Pod>> = node.pods.iter().filter(open).cloned().collect();
        open.sort_by_key(|pod| (pod.metadata.creation_timestamp.as_ref().map(|t| t.0), uid(pod).to_string()));
        open
    }

    /// Lists the pods that count: started or admitted, and neither ended nor being ended.
    fn running(&self, node: &OnNode, preempted: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let counts = |pod: &&Arc<Pod>| {
            let admitted = has_started(pod) || matches!(self.0.get(uid(pod)), Some(None));
            let going =
                node.ending.contains(uid(pod)) || preempted.iter().any(|other| uid(other) == uid(pod));
            admitted && !going && !has_ended(pod)
        };
        node.pods.iter().filter(counts).cloned().collect()
    }

    /// Decides about one pod, with all that counts on its node.
    ///
    /// ```text
    ///                                ordinary pod   critical pod
    /// enough left, its port taken    NodePorts      NodePorts
    /// 200m of CPU lack               OutOfcpu       admitted, others are preempted
    /// 200m lack and port taken       OutOfcpu       NodePorts, nothing is preempted
    /// 9 CPUs lack, others have 1     OutOfcpu       UnexpectedAdmissionError, nothing is preempted
    /// ```
    fn judge(&self, pod: &Pod, node: &OnNode, preempted: &[Arc<Pod>]) -> Verdict {
        let unable = sysctls::forbidden(pod).or_else(|| node_match::other_os(pod));
        if unable.is_some() {
            return Verdict { rejected: unable, preempted: vec![] };
        }
        let running = self.running(node, preempted);
        let used = sum(node.statics.iter().copied()).and(sum(running.iter().map(|p| &**p)));
        let lacks = lacking(Amount::of_pod(pod), used, node.allocatable);
        let others: Vec<&Pod> = node.statics.iter().copied().chain(running.iter().map(|p| &**p)).collect();
        // In upstream's order. Preemption helps with none of these, so a critical pod is rejected
        // like any other.
        let unfit = node_match::lack(pod, &others, node.facts)
            .or_else(|| node_match::mismatch(pod, node.facts))
            .or_else(|| port_conflict(pod, &others))
            .or_else(|| node_match::taint(pod, node.facts));
        let Some(first) = lacks.first() else {
            let rejected =
                unfit.or_else(|| bounds::lack(pod, &others, node.descriptors).as_ref().map(rejection));
            return Verdict { rejected, preempted: vec![] };
        };
        if is_critical(pod) && unfit.is_some() {
            return Verdict { rejected: unfit, preempted: vec![] }; // preempting would not help
        }
        if !is_critical(pod) {
            return Verdict { rejected: Some(rejection(first)), preempted: vec![] };
        }
        match preempt(pod, &lacks, &running) {
            Ok(preempted) => Verdict { rejected: None, preempted },
            Err(unmet) => Verdict { rejected: Some(no_room(unmet)), preempted: vec![] },
        }
    }
}

/// Rejects a pod one of whose host ports is another pod's.
///
/// Example: `web` runs with `hostPort: 80`; a second pod with `hostPort: 80` that was bound past
/// the scheduler fails with reason `NodePorts`.
fn port_conflict(pod: &Pod, others: &[&Pod]) -> Option<Failure> {
    let wanted = host_ports::of_pod(pod);
    if wanted.is_empty() {
        return None;
    }
    let taken: BTreeSet<HostPort> = others.iter().flat_map(|other| host_ports::of_pod(other)).collect();
    host_ports::conflict(&wanted, &taken).then(|| {
        let message = format!("Predicate NodePorts failed: {}", host_ports::CONFLICT);
        Failure::rejected("NodePorts", message)
    })
}

fn rejection(lack: &Lack) -> Failure {
    let reason = match lack.resource {
        "cpu" => "OutOfcpu",
        "memory" => "OutOfmemory",
        "ephemeral-storage" => "OutOfephemeral-storage",
        "mounts" => "OutOfmounts",
        "containers" => "OutOfcontainers",
        _ => "OutOfpods",
    };
    let Lack { resource, requested, used, capacity } = lack;
    Failure::rejected(
        reason,
        format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    )
}

/// Chooses the pods that go for a critical one: as few as possible of the quality classes that
/// matter more, and of each class those that come closest to what is missing.
///
/// 300m of CPU are missing; `logs` (BestEffort), `b1` with 200m and `b2` with 400m (Burstable) and
/// `db` with 500m (Guaranteed) run. `b2` goes: it is enough alone. `logs` requests nothing, so its
/// end would free nothing, and `db` is not needed. Upstream: `getPodsToPreempt`.
///
/// # Errors
/// All together would not be enough: what would be missing then.
fn preempt(pod: &Pod, lacks: &[Lack], running: &[Arc<Pod>]) -> Result<Vec<Arc<Pod>>, Amount> {
    let mut need = Amount::default();
    for lack in lacks {
        let missing = lack.requested.saturating_sub(lack.capacity.saturating_sub(lack.used));
        match lack.resource {
            "cpu" => need.cpu = missing,
            "memory" => need.memory = missing,
            "ephemeral-storage" => need.storage = missing,
            _ => need.pods = missing,
        }
    }
    let of_class = |class: &str| -> Vec<Arc<Pod>> {
        running.iter().filter(|p| gives_way(p, pod) && qos_class(p) == class).cloned().collect()
    };
    let [best_effort, burstable, guaranteed] = ["BestEffort", "Burstable", "Guaranteed"].map(of_class);
    let all = |pods: &[Arc<Pod>]| sum(pods.iter().map(|p| &**p));
    // Guaranteed pods for what would be missing if all others went, and so on.
    let of_guaranteed = need.without(all(&best_effort)).without(all(&burstable));
    let unmet = of_guaranteed.without(all(&guaranteed));
    if !unmet.is_none() {
        return Err(unmet);
    }
    let guaranteed = closest(guaranteed, of_guaranteed);
    let burstable = closest(burstable, need.without(all(&best_effort)).without(all(&guaranteed)));
    let best_effort = closest(best_effort, need.without(all(&burstable)).without(all(&guaranteed)));
    Ok([best_effort, burstable, guaranteed].concat())
}

/// Rejects a critical pod for which all others would not make enough room, in the words of upstream
/// (`Admit` in `pkg/kubelet/lifecycle/predicate.go`).
fn no_room(unmet: Amount) -> Failure {
    let Amount { pods, cpu, memory, storage } = unmet;
    let all = [("pods", pods), ("cpu", cpu), ("memory", memory), ("ephemeral-storage", storage)];
    let listed = all.into_iter().filter(|(_, amount)| *amount > 0);
    let listed: String = listed.map(|(name, amount)| format!("(res: {name}, q: {amount}), ")).collect();
    let why = "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods \
               to preempt: no set of running pods found to reclaim resources";
    Failure::rejected("UnexpectedAdmissionError", format!("{why}: [{listed}]"))
}

/// Takes pods until nothing is missing, or none is left: each time the one after which least is
/// missing, and of equals the smaller one.
fn closest(mut pods: Vec<Arc<Pod>>, mut need: Amount) -> Vec<Arc<Pod>> {
    let mut chosen = vec![];
    while !need.is_none() {
        let distance = |pod: &Arc<Pod>| {
            let left = need.without(Amount::of_pod(pod));
            let part = |left: i64, of: i64| if of > 0 { (left as f64 / of as f64).powi(2) } else { 0.0 };
            part(left.pods, need.pods)
                + part(left.cpu, need.cpu)
                + part(left.memory, need.memory)
                + part(left.storage, need.storage)
        };
        let size = |pod: &Arc<Pod>| {
            let asks = Amount::of_pod(pod);
            (asks.memory, asks.cpu)
        };
        let order = |a: &Arc<Pod>, b: &Arc<Pod>| {
            distance(a).total_cmp(&distance(b)).then_with(|| size(a).cmp(&size(b)))
        };
        let Some(at) = (0..pods.len()).min_by(|a, b| order(&pods[*a], &pods[*b])) else { break };
        let pod = pods.swap_remove(at);
        need = need.without(Amount::of_pod(&pod));
        chosen.push(pod);
    }
    chosen
}

#[cfg(test)]
mod tests;
