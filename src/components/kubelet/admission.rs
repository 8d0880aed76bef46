//! Admission: whether the node has enough left for a pod that was bound to it. Pure.
//!
//! ## In Kubernetes
//! The scheduler looks before it binds, but a pod may be bound past it (`spec.nodeName`), or by a
//! scheduler that saw an older state. So the kubelet looks again before it starts a pod: requests
//! of its pods against what is allocatable, and its host ports against theirs. A pod that does not
//! fit is *rejected*: it fails with reason `OutOfcpu`, `OutOfmemory`, `OutOfephemeral-storage`,
//! `OutOfpods` or `NodePorts`, and is never started; so does one that asks for other nodes or does
//! not tolerate this one ([`node_match`]). A *critical* pod that lacks room is not rejected: the
//! kubelet *preempts* others for it. For a port it preempts none. Source:
//! `pkg/kubelet/lifecycle/predicate.go`, `pkg/kubelet/preemption`.
//! ## How this one works
//! ```text
//! allocatable cpu 1000m    started: web 600m, etcd (static) 100m
//! new, the older one first: batch 400m, log 200m
//! batch: 700m used, 400m more is too much -> rejected
//! log: 700m used, 200m more fits -> admitted
//! ```
//! A decision is made once and remembered ([`Admissions`]): pods are judged in the order of their
//! creation, and a pod that was admitted, or that had started before this kubelet did, counts until
//! it has ended. Static pods always count and are never rejected.

use super::bounds;
use super::decide::has_ended;
use super::node_match::{self, NodeFacts};
use super::pressure;
use super::status::Failure;
use api::host_ports::{self, HostPort};
use api::requests::{Amount, Lack, lacking, qos_class};
use k8s_openapi::api::core::v1::Pod;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// What is known of a node when a pod is judged.
pub(crate) struct OnNode<'a> {
    pub allocatable: Amount,
    pub facts: &'a NodeFacts,
    pub statics: Vec<&'a Pod>,
    /// Pods that are bound to the node, without mirrors.
    pub pods: &'a [Arc<Pod>],
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

/// Whether others make room for this pod. Critical priorities count in kube-system only: see
/// [`pressure::priority`].
fn is_critical(pod: &Pod) -> bool {
    pressure::priority(pod) >= pressure::CRITICAL
}

/// Whether a pod may be preempted for this critical one: it is not critical itself, or less
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

    /// Decides about a pod, and about those before it for which nothing is decided yet.
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
        Verdict { rejected: None, preempted } // it is being deleted, or gone
    }

    /// Pods that a static pod needs to go. A static pod is started whether there are any or not:
    /// without it the node, or the cluster, does not work.
    pub(crate) fn make_room(&self, pod: &Pod, node: &OnNode) -> Vec<Arc<Pod>> {
        let others = node.statics.iter().copied().filter(|other| uid(other) != uid(pod));
        let running = self.running(node, &[]);
        let used = sum(others).and(sum(running.iter().map(|p| &**p)));
        let lacks = lacking(Amount::of_pod(pod), used, node.allocatable);
        preempt(pod, &lacks, &running).unwrap_or_default()
    }

    /// In the order of their creation, as upstream's kubelet after its start.
    fn undecided(&self, node: &OnNode) -> Vec<Arc<Pod>> {
        let open = |pod: &&Arc<Pod>| {
            let gone = has_ended(pod) || pod.metadata.deletion_timestamp.is_some();
            !gone && !has_started(pod) && !self.0.contains_key(uid(pod))
        };
        let mut open: Vec<Arc<Pod>> = node.pods.iter().filter(open).cloned().collect();
        open.sort_by_key(|pod| (pod.metadata.creation_timestamp.as_ref().map(|t| t.0), uid(pod).to_string()));
        open
    }

    /// Pods that count: started or admitted, and neither ended nor being ended.
    fn running(&self, node: &OnNode, preempted: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let counts = |pod: &&Arc<Pod>| {
            let admitted = has_started(pod) || matches!(self.0.get(uid(pod)), Some(None));
            let going =
                node.ending.contains(uid(pod)) || preempted.iter().any(|other| uid(other) == uid(pod));
            admitted && !going && !has_ended(pod)
        };
        node.pods.iter().filter(counts).cloned().collect()
    }

    fn judge(&self, pod: &Pod, node: &OnNode, preempted: &[Arc<Pod>]) -> Verdict {
        let running = self.running(node, preempted);
        let used = sum(node.statics.iter().copied()).and(sum(running.iter().map(|p| &**p)));
        let lacks = lacking(Amount::of_pod(pod), used, node.allocatable);
        let others: Vec<&Pod> = node.statics.iter().copied().chain(running.iter().map(|p| &**p)).collect();
        // In upstream's order. Of these a critical pod has no more than others.
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
            return Verdict { rejected: unfit, preempted: vec![] }; // room alone would not help, so none is made
        }
        match is_critical(pod).then(|| preempt(pod, &lacks, &running)).flatten() {
            Some(preempted) => Verdict { rejected: None, preempted },
            None => Verdict { rejected: Some(rejection(first)), preempted: vec![] },
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
/// matter more, and of each class those that come closest to what is missing. `None`: all together
/// would not be enough.
fn preempt(pod: &Pod, lacks: &[Lack], running: &[Arc<Pod>]) -> Option<Vec<Arc<Pod>>> {
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
    let guaranteed = closest(guaranteed, need.without(all(&best_effort)).without(all(&burstable)))?;
    let burstable = closest(burstable, need.without(all(&best_effort)).without(all(&guaranteed)))?;
    let best_effort = closest(best_effort, need.without(all(&burstable)).without(all(&guaranteed)))?;
    Some([best_effort, burstable, guaranteed].concat())
}

/// Takes pods until nothing is missing: each time the one after which least is missing, and of
/// equals the smaller one.
fn closest(mut pods: Vec<Arc<Pod>>, mut need: Amount) -> Option<Vec<Arc<Pod>>> {
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
        let at = (0..pods.len()).min_by(|a, b| order(&pods[*a], &pods[*b]))?;
        let pod = pods.swap_remove(at);
        need = need.without(Amount::of_pod(&pod));
        chosen.push(pod);
    }
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// `requests` as `cpu=500m,memory=1Mi`; the pod was made `second` seconds after the minute.
    fn pod(name: &str, second: u8, requests: &str, status: Value) -> Arc<Pod> {
        let requests: Value = requests
            .split(',')
            .filter_map(|one| one.split_once('='))
            .map(|(k, v)| (k.to_string(), v.into()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let namespace = if name.starts_with("critical") { "kube-system" } else { "default" };
        let priority = if name.starts_with("critical") { 2_000_000_000 } else { 0 };
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "namespace": namespace,
                    "creationTimestamp": format!("2026-01-02T03:04:{second:02}Z")},
                "spec": {"priority": priority, "containers": [{"name": "c", "resources": {"requests": requests}}]},
                "status": status,
            }))
            .unwrap(),
        )
    }

    fn new() -> Value {
        json!({"phase": "Pending"})
    }

    fn runs() -> Value {
        json!({"phase": "Running", "startTime": "2026-01-02T03:04:00Z"})
    }

    const NODE: Amount = Amount { pods: 110, cpu: 1000, memory: 1 << 20, storage: 1 << 20 };

    /// What becomes of each pod, judged in this order, with an empty memory.
    fn judged(allocatable: Amount, statics: &[Arc<Pod>], pods: &[Arc<Pod>], order: &[usize]) -> Vec<String> {
        let (mut admissions, ending) = (Admissions::default(), HashSet::new());
        let node = OnNode {
            allocatable,
            facts: &NodeFacts::default(),
            statics: statics.iter().map(|p| &**p).collect(),
            pods,
            descriptors: 1 << 20,
            ending: &ending,
        };
        let one = |at: &usize| {
            let verdict = admissions.decide(&pods[*at], &node);
            let gone: Vec<&str> = verdict.preempted.iter().map(|p| uid(p)).collect();
            match verdict.rejected {
                Some(failure) => format!("{}: {}", failure.reason, failure.message),
                None if gone.is_empty() => "admitted".to_string(),
                None => format!("admitted for {}", gone.join(" ")),
            }
        };
        order.iter().map(one).collect()
    }

    #[test]
    fn a_pod_that_does_not_fit_is_rejected_in_upstreams_words() {
        for (what, requests, want) in [
            (
                "cpu",
                "cpu=401m",
                "OutOfcpu: Node didn't have enough resource: cpu, requested: 401, used: 600, capacity: 1000",
            ),
            (
                "memory",
                "memory=1Mi",
                "OutOfmemory: Node didn't have enough resource: memory, requested: 1048576, used: 1024, capacity: 1048576",
            ),
            (
                "storage",
                "ephemeral-storage=2Mi",
                "OutOfephemeral-storage: Node didn't have enough resource: ephemeral-storage, requested: 2097152, used: 0, \
                 capacity: 1048576",
            ),
            (
                "all of them: the first is told",
                "cpu=9,memory=9Mi",
                "OutOfcpu: Node didn't have enough resource: cpu, requested: 9000, used: 600, capacity: 1000",
            ),
            ("what is left", "cpu=400m", "admitted"),
            ("nothing", "", "admitted"),
        ] {
            let statics = [pod("static", 0, "cpu=100m", json!({}))];
            let pods = [
                pod("old", 1, "cpu=500m,memory=1Ki", runs()),
                pod("over", 1, "cpu=9", json!({"phase": "Succeeded", "startTime": "2026-01-02T03:04:00Z"})),
                pod("new", 2, requests, new()),
            ];
            assert_eq!(judged(NODE, &statics, &pods, &[2]), [want], "{what}");
        }
    }

    #[test]
    fn a_node_takes_as_many_pods_as_it_says() {
        let pods = [pod("a", 9, "", runs()), pod("b", 2, "", new()), pod("c", 3, "", json!({}))];
        let with = |most: i64| judged(Amount { pods: most, ..NODE }, &[], &pods, &[0, 1, 2]);
        assert_eq!(with(3), ["admitted", "admitted", "admitted"]);
        let full = |used: usize, most: i64| {
            format!(
                "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: {used}, capacity: {most}"
            )
        };
        assert_eq!(with(2), ["admitted".to_string(), "admitted".into(), full(2, 2)]);
        assert_eq!(with(1), ["admitted".to_string(), full(1, 1), full(1, 1)]);
        assert_eq!(with(0)[0], "admitted", "what runs is not rejected by a kubelet that was started anew");
    }

    #[test]
    fn a_pod_with_more_mounts_than_the_machine_can_take_is_rejected_by_that_name() {
        let with = |name: &str, second: u8, volumes: usize| {
            let mut pod = (*pod(name, second, "", new())).clone();
            let volume =
                |n| serde_json::from_value(json!({"name": format!("v{n}"), "emptyDir": {}})).unwrap();
            pod.spec.as_mut().unwrap().volumes = Some((0..volumes).map(volume).collect());
            Arc::new(pod)
        };
        let pods = [with("greedy", 1, 1025), with("large", 2, 1000), with("critical", 3, 1025)];
        let told = judged(NODE, &[], &pods, &[0, 1, 2]);
        let want =
            "OutOfmounts: Node didn't have enough resource: mounts, requested: 1025, used: 0, capacity: 1024";
        assert_eq!(told, [want, "admitted", want]);
    }

    #[test]
    fn a_pod_whose_host_port_is_anothers_is_rejected() {
        let with = |name: &str, second: u8, cpu: &str, protocol: &str, status: Value| {
            let mut pod = (*pod(name, second, &format!("cpu={cpu}"), status)).clone();
            let port = json!([{"containerPort": 1, "hostPort": 80, "protocol": protocol}]);
            pod.spec.as_mut().unwrap().containers[0].ports = serde_json::from_value(port).unwrap();
            Arc::new(pod)
        };
        let want = "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        let pods = [
            with("old", 1, "0", "TCP", runs()),
            with("new", 2, "0", "TCP", new()),
            with("other", 3, "0", "UDP", new()),
            with("critical", 4, "0", "TCP", new()),
        ];
        assert_eq!(judged(NODE, &[], &pods, &[0, 1, 2, 3]), ["admitted", want, "admitted", want]);
        assert_eq!(judged(NODE, &pods[..1], &pods[1..2], &[0]), [want], "of a static pod too");
        // What it lacks first is told first; others go for a critical pod only if that is enough.
        let pods = [
            with("old", 1, "900m", "TCP", runs()),
            with("new", 2, "200m", "TCP", new()),
            with("critical", 3, "200m", "TCP", new()),
        ];
        let told = judged(NODE, &[], &pods, &[1, 2]);
        assert!(told[0].starts_with("OutOfcpu") && told[1] == want, "{told:?}");
        let ended =
            with("ended", 1, "0", "TCP", json!({"phase": "Failed", "startTime": "2026-01-02T03:04:00Z"}));
        let pods = [ended, with("new", 2, "0", "TCP", new())];
        assert_eq!(judged(NODE, &[], &pods, &[1]), ["admitted"], "an ended pod gives its port back");
    }

    /// A pod that is rejected takes nothing from those after it, and whichever worker asks first,
    /// the older pod has the room.
    #[test]
    fn the_older_pod_comes_first_and_a_decision_is_made_once() {
        let pods = [
            pod("young", 3, "cpu=600m", new()),
            pod("huge", 1, "cpu=9", new()),
            pod("old", 2, "cpu=600m", new()),
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let told = judged(NODE, &[], &pods, &order);
            let of = |at: usize| told[order.iter().position(|o| *o == at).unwrap()].as_str();
            assert!(of(0).contains("requested: 600, used: 600") && of(1).starts_with("OutOfcpu"), "{told:?}");
            assert_eq!(of(2), "admitted");
        }
        // The first one left meanwhile: the second stays rejected, and a third has its room.
        let (mut admissions, ending) = (Admissions::default(), HashSet::new());
        let mut decide = |pods: &[Arc<Pod>], at: usize| {
            let node = OnNode {
                allocatable: NODE,
                facts: &NodeFacts::default(),
                statics: vec![],
                pods,
                descriptors: 1 << 20,
                ending: &ending,
            };
            admissions.decide(&pods[at], &node).rejected.is_none()
        };
        let (a, b, c) =
            (pod("a", 1, "cpu=1", new()), pod("b", 2, "cpu=1", new()), pod("c", 3, "cpu=1", new()));
        assert_eq!([decide(&[a.clone(), b.clone()], 0), decide(&[a, b.clone()], 1)], [true, false]);
        assert_eq!([decide(&[b.clone(), c.clone()], 0), decide(&[b, c], 1)], [false, true]);
    }

    #[test]
    fn others_go_for_a_critical_pod_and_for_a_static_one() {
        let burst = |name: &str, cpu: &str| pod(name, 1, &format!("cpu={cpu}"), runs());
        let pods = [
            burst("critical-old", "100m"),
            burst("large", "500m"),
            burst("small", "200m"),
            burst("other", "200m"),
            pod("critical-new", 2, "cpu=180m", new()),
            pod("critical-huge", 3, "cpu=950m", new()),
        ];
        // 1000m are used. The smallest that is enough goes.
        assert_eq!(judged(NODE, &[], &pods[..5], &[4]), ["admitted for small"]);
        let told = judged(NODE, &[], &pods, &[4, 5]);
        assert!(
            told[1].starts_with("OutOfcpu"),
            "all others together are not enough, so none goes: {told:?}"
        );
        // Of critical pods the less important ones go, and only those.
        let mut most = (*pods[5]).clone();
        most.spec.as_mut().unwrap().priority = Some(2_000_001_000);
        let with = [&pods[..4], &[Arc::new(most)]].concat();
        assert_eq!(judged(NODE, &[], &with, &[4]), ["admitted for large other small critical-old"]);
        // An ordinary user's priority class makes nobody go.
        let mut false_critical = (*pods[4]).clone();
        false_critical.metadata.namespace = Some("default".into());
        let with = [&pods[..4], &[Arc::new(false_critical)]].concat();
        assert!(judged(NODE, &[], &with, &[4])[0].starts_with("OutOfcpu"));
        // A static pod that came with a new version of the program.
        let statics = [pod("static", 0, "cpu=300m", json!({}))];
        let (admissions, ending, facts) = (Admissions::default(), HashSet::new(), NodeFacts::default());
        let node = |ending| OnNode {
            allocatable: NODE,
            facts: &facts,
            statics: vec![&*statics[0]],
            pods: &pods[..4],
            descriptors: 1 << 20,
            ending,
        };
        let gone = |ending| -> Vec<String> {
            admissions.make_room(&statics[0], &node(ending)).iter().map(|p| uid(p).to_string()).collect()
        };
        assert_eq!(gone(&ending), ["large"]);
        assert_eq!(gone(&HashSet::from(["large".to_string()])), [""; 0], "one that is ending counts no more");
    }
}
