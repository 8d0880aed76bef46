//! # Node lifecycle: which nodes still live?
//!
//! A kubelet renews its Lease every 10 s. Every 5 s this controller looks: a Lease that it did not
//! see renewed for 50 s makes the node's conditions *Unknown*. Such a node, and one that says
//! itself it is not ready, gets taints that keep new pods away (`NoSchedule`) and end those that do
//! not tolerate them (`NoExecute`), each after its `tolerationSeconds`: 300 s unless the pod says
//! otherwise. Here are the checks of the nodes' health; [`taints`] and [`eviction`] do what follows
//! for nodes and pods, and [`collect`] deletes pods that no kubelet will ever end. Source:
//! `pkg/controller/nodelifecycle`, `pkg/controller/tainteviction`, `pkg/controller/podgc`; 50 s
//! since Kubernetes 1.32. Left out: the taint `node.kubernetes.io/out-of-service`, and the brakes
//! on `NoExecute` when many nodes fail. Upstream gives it to one node of a zone in 10 s, in a zone
//! of up to 50 nodes to none while 55 % of them, and at least three, are not ready, and takes it
//! off all nodes when the last ready one fails. Nor are the labels `beta.kubernetes.io/os` and
//! `beta.kubernetes.io/arch` brought back to a node that lost them.

mod collect;
mod eviction;
mod taints;

use super::pods::{node_of, ready_since};
use super::write::unless_gone;
use crate::error::Error;
use crate::shared::{Controller, Shared};
use client::{Key, Recorder, reference};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use taints::ready;
use tap::{Component, Event, Record};
use task::guard;

const CHECK_EVERY: Duration = Duration::from_secs(5);
/// A node that was silent for so long is not healthy.
const GRACE: Duration = Duration::from_secs(50);
/// In real time no node is marked as silent earlier than this, however fast the cluster's clock
/// runs. Its heartbeats come every half second then, and a busy machine may be late with some.
const GRACE_LEAST: Duration = Duration::from_secs(4);
/// The same as [`GRACE`] for a node whose status was never reported:
/// `--node-startup-grace-period`.
const STARTUP_GRACE: Duration = Duration::from_secs(60);
const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The signs of life of each node.
type Seen = BTreeMap<String, Life>;

/// The last sign of life of a node.
struct Life {
    /// The node's uid, for the Event about its end.
    uid: Option<String>,
    sign: String,
    /// When it was seen: by this clock, not the node's.
    at: clock::Instant,
    /// The node was not ready when it fell silent, so its pods stay as its kubelet reported them
    /// last. Forgotten when this process ends: the pods are marked then.
    was_unready: bool,
}

impl Life {
    fn new(sign: String, at: clock::Instant) -> Life {
        Life { uid: None, sign, at, was_unready: false }
    }
}

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<Node>();
        informers.all::<Pod>();
        informers.within::<Lease>("kube-node-lease");
    },
    start,
};

fn start(shared: &Shared) {
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "node-controller", "");
    taints::start(shared);
    eviction::start(shared);
    collect::start(shared);
    let all = shared.clone();
    shared.crew.spawn_essential(async move {
        let mut seen = Seen::new();
        loop {
            let nodes = all.informer::<Node>().list();
            announce(&recorder, &nodes, &mut seen);
            for node in nodes {
                // One node must not keep the others from being watched.
                match guard(check(&all, &recorder, &node, &mut seen)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(node = ?node.metadata.name, %error, "the check of a node failed, trying again");
                    }
                    Err(panic) => {
                        tracing::error!(node = ?node.metadata.name, panic, "the check of a node panicked");
                        all.report_panic(&reference(&*node), "node-lifecycle", &panic);
                    }
                }
            }
            clock::sleep(CHECK_EVERY).await;
        }
    });
}

/// Reports nodes that appeared since the last look, at the start all of them, and forgets and
/// reports those that are gone.
fn announce(recorder: &Recorder, nodes: &[Arc<Node>], seen: &mut Seen) {
    seen.retain(|name, life| {
        let is_there = nodes.iter().any(|node| node.metadata.name.as_ref() == Some(name));
        if !is_there {
            let gone = Node {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    uid: life.uid.clone(),
                    ..ObjectMeta::default()
                },
                ..Node::default()
            };
            let message = format!("Node {name} event: Removing Node {name} from Controller");
            recorder.normal(&reference(&gone), "RemovingNode", message, None);
        }
        is_there
    });
    for node in nodes {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        if !seen.contains_key(name) {
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            recorder.normal(&reference(&**node), "RegisteredNode", message, None);
        }
    }
}

/// Marks a silent node and its pods as not ready.
///
/// A kubelet dies at 10:00:00, just after it renewed its Lease (upstream: `monitorNodeHealth`):
///
/// ```text
/// 10:00:50 to 10:00:55   a check finds 50 s of silence: Ready becomes Unknown,
///                        and the Ready conditions of the node's pods become False
/// at once after that     taints unreachable:NoSchedule and :NoExecute
/// 5 minutes later        the pods that tolerate the taint for the default 300 s are deleted
/// ```
///
/// The controller does not compare the Lease's own time with its clock. It notes when it last saw
/// the Lease or the status change: clocks of nodes may differ. A node whose kubelet has reported
/// nothing yet is silent since it was created, also if this controller started later.
async fn check(shared: &Shared, recorder: &Recorder, node: &Arc<Node>, seen: &mut Seen) -> Result<(), Error> {
    let name = node.metadata.name.clone().unwrap_or_default();
    let lease = shared.informer::<Lease>().get(&Key::new("kube-node-lease", name.clone()));
    let renewed = lease.and_then(|l| l.metadata.resource_version.clone());
    let status = node.status.clone().unwrap_or_default();
    let heartbeat =
        status.conditions.iter().flatten().filter_map(|c| c.last_heartbeat_time.as_ref()).map(|t| t.0).max();
    let sign = format!("{renewed:?} {heartbeat:?}");
    let now = clock::Instant::now();
    let has_reported = ready(node).is_some() || renewed.is_some();
    let since = || if has_reported { now } else { created(node, now) };
    let life = seen.entry(name.clone()).or_insert_with(|| Life::new(sign.clone(), since()));
    if life.sign != sign {
        *life = Life::new(sign, now);
    }
    life.uid.clone_from(&node.metadata.uid);
    let (silent, ready) = (now.duration_since(life.at), ready(node));
    let grace = if ready.is_none() { STARTUP_GRACE } else { GRACE };
    let is_silent = clock::passed(life.at, now) >= grace && silent >= GRACE_LEAST;
    let dead = is_silent && ready != Some("Unknown");
    if dead {
        life.was_unready = ready != Some("True");
        let conditions = unknown_conditions(node, &Time(clock::now()));
        let patch = json!({"metadata": {"uid": node.metadata.uid}, "status": {"conditions": conditions}});
        let api = shared.config.client.cluster::<Node>();
        let patched = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        if unless_gone(patched)?.is_none() {
            return Ok(());
        }
        // A node whose kubelet has said so itself, or has never said that it is ready, is no less
        // ready than before.
        if ready == Some("True") {
            let message = format!("Node {name} status is now: NodeNotReady");
            recorder.normal(&reference(&**node), "NodeNotReady", message, None);
        }
        let record = Record::new(Event::NodeNotReady).object("nodes", "", &name).took(silent);
        shared.tap(Component::NodeController).emit(record);
    }
    // At every check of a node that is marked as silent: the write of the node's status and this
    // one are two, and the process may end between them. A kubelet that says itself that it is not
    // ready (its runtime is down) still lives and reports which of its pods are ready; a mark would
    // only be overwritten, and set again at the next check. If it falls silent then, upstream
    // leaves its pods alone, too: it marks them only when a node that was ready is no longer.
    let is_to_mark = (dead || ready == Some("Unknown")) && !life.was_unready;
    if is_to_mark { mark_pods(shared, recorder, &name).await } else { Ok(()) }
}

/// Pure: the conditions that change when a node has fallen silent. One that is Unknown already
/// stays as it is, and one that was never reported is as old as the node. Upstream:
/// `tryUpdateNodeHealth`.
fn unknown_conditions(node: &Node, now: &Time) -> Vec<Value> {
    let before = |kind: &str| {
        let mut all = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
        all.find(|c| c.type_ == kind)
    };
    let is_to_change = |kind: &&&str| before(kind).is_none_or(|c| c.status != "Unknown");
    let unknown = |kind: &&str| {
        let (reason, message, heartbeat) = match before(kind) {
            Some(known) => (
                "NodeStatusUnknown",
                "Kubelet stopped posting node status.",
                known.last_heartbeat_time.clone(),
            ),
            None => (
                "NodeStatusNeverUpdated",
                "Kubelet never posted node status.",
                node.metadata.creation_timestamp.clone(),
            ),
        };
        json!({
            "type": kind, "status": "Unknown", "reason": reason, "message": message,
            "lastHeartbeatTime": heartbeat, "lastTransitionTime": now,
        })
    };
    CONDITIONS.iter().filter(is_to_change).map(unknown).collect()
}

/// Returns when a node was created, by the clock of this process; `now` if that is not known.
fn created(node: &Node, now: clock::Instant) -> clock::Instant {
    let at = node.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let age = at.and_then(|at| Duration::try_from(clock::now() - at).ok()).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

/// Marks the pods of a silent node as not ready, so that services stop sending to them.
///
/// The kubelet cannot report it itself. Without this a Service would send requests to a dead node
/// for as long as the pods are not deleted.
async fn mark_pods(shared: &Shared, recorder: &Recorder, node: &str) -> Result<(), Error> {
    let mut failed = Ok(());
    for pod in shared.informer::<Pod>().list() {
        if node_of(&pod) != node || ready_since(&pod).is_none() {
            continue;
        }
        let key = Key::of(&*pod);
        let condition = PodCondition {
            type_: "Ready".into(),
            status: "False".into(),
            last_transition_time: Some(Time(clock::now())),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        };
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        let api = shared.config.client.within::<Pod>(&key.namespace);
        match unless_gone(
            api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await,
        ) {
            Ok(Some(_)) => recorder.warning(&reference(&*pod), "NodeNotReady", "Node is not ready", None),
            Ok(None) | Err(Error::Conflict(_)) => {} // another pod has its name by now
            Err(error) => failed = Err(error),
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::{Scripted, refusal};

    fn node(conditions: serde_json::Value) -> Arc<Node> {
        let object = json!({"metadata": {"name": "n", "uid": "u"}, "status": {"conditions": conditions}});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn ready_pod(name: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "d", "uid": name},
            "spec": {"nodeName": "n", "containers": []},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
        .unwrap()
    }

    const LONG_AGO: Duration = Duration::from_secs(55);

    /// Returns what the check of a node asks for that was last heard of some time ago.
    async fn asked(server: &Scripted, node: Arc<Node>, pods: Vec<Pod>) -> Vec<String> {
        asked_after(LONG_AGO, server, node, pods).await
    }

    async fn asked_after(ago: Duration, server: &Scripted, node: Arc<Node>, pods: Vec<Pod>) -> Vec<String> {
        let shared = Shared::fixed(&server.client);
        pods.into_iter().for_each(|pod| shared.informer::<Pod>().show(pod));
        let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
        let sign = "None None".to_string();
        let mut seen = Seen::from([("n".to_string(), Life::new(sign, clock::Instant::now() - ago))]);
        let _ = check(&shared, &recorder, &node, &mut seen).await;
        server.lines()
    }

    #[tokio::test]
    async fn nodes_that_come_and_go_are_reported() {
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
        let mut seen = Seen::new();
        announce(&recorder, &[node(json!([]))], &mut seen);
        check(&shared, &recorder, &node(json!([])), &mut seen).await.unwrap();
        announce(&recorder, &[], &mut seen);
        assert!(seen.is_empty(), "one that is gone is forgotten");
        let message = server.event("RegisteredNode").await;
        assert_eq!(message, "Node n event: Registered Node n in Controller");
        let message = server.event("RemovingNode").await;
        assert_eq!(message, "Node n event: Removing Node n from Controller");
        let events = server.events();
        let removed = events.iter().find(|event| event.body["reason"] == "RemovingNode").unwrap();
        assert_eq!(removed.body["involvedObject"]["uid"], "u");
        shared.crew.kill();
    }

    #[tokio::test]
    async fn pods_of_a_lost_node_are_marked_also_if_the_controller_ended_in_between() {
        let server = Scripted::new(|_| None).await;
        let pods = || vec![ready_pod("a"), ready_pod("b")];
        let (a, b) = ("PATCH /api/v1/namespaces/d/pods/a/status", "PATCH /api/v1/namespaces/d/pods/b/status");
        let mark = "PATCH /api/v1/nodes/n/status";
        let of = |status: &str| node(json!([{"type": "Ready", "status": status}]));
        assert_eq!(asked(&server, of("True"), pods()).await, [mark, a, b]);
        assert_eq!(asked(&server, of("Unknown"), pods()).await, [a, b], "it is marked already");
        assert_eq!(asked(&server, of("Unknown"), vec![]).await, [""; 0]);
        let lives = asked_after(Duration::ZERO, &server, of("False"), pods()).await;
        assert_eq!(lives, [""; 0], "its kubelet tells which pods are ready");
    }

    /// Its kubelet reported which pods are ready when its runtime was down already.
    #[tokio::test]
    async fn pods_of_a_node_that_was_not_ready_before_it_fell_silent_stay_as_they_are() {
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<Pod>().show(ready_pod("a"));
        let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
        let last = Life::new("None None".to_string(), clock::Instant::now() - LONG_AGO);
        let mut seen = Seen::from([("n".to_string(), last)]);
        for status in ["False", "Unknown"] {
            let node = node(json!([{"type": "Ready", "status": status}]));
            check(&shared, &recorder, &node, &mut seen).await.unwrap();
        }
        assert_eq!(server.lines(), ["PATCH /api/v1/nodes/n/status"]);
        shared.crew.kill();
    }

    /// Upstream: `monitorNodeHealth` compares the conditions before and after its look.
    #[tokio::test]
    async fn only_a_node_that_was_ready_is_reported_as_no_longer_ready() {
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
        for (status, want) in [("False", 0), ("True", 1)] {
            let node = node(json!([{"type": "Ready", "status": status}]));
            let last = Life::new("None None".to_string(), clock::Instant::now() - LONG_AGO);
            let mut seen = Seen::from([("n".to_string(), last)]);
            check(&shared, &recorder, &node, &mut seen).await.unwrap();
            // Events are written in their order.
            recorder.normal(&reference(&*node), status, "end", None);
            server.event(status).await;
            let count = server.events().iter().filter(|e| e.body["reason"] == "NodeNotReady").count();
            assert_eq!(count, want, "{status}");
        }
        shared.crew.kill();
    }

    #[tokio::test]
    async fn one_pod_that_cannot_be_marked_does_not_keep_the_others_ready() {
        let server = Scripted::new(|asked| match asked.line.contains("pods/a/") {
            true => refusal(500, "InternalError"),
            false => None,
        })
        .await;
        let lost = node(json!([{"type": "Ready", "status": "Unknown"}]));
        let lines = asked(&server, lost, vec![ready_pod("a"), ready_pod("b")]).await;
        assert_eq!(lines.last().unwrap(), "PATCH /api/v1/namespaces/d/pods/b/status");
    }

    #[tokio::test]
    async fn a_faster_clock_shortens_the_grace_period_but_not_below_what_a_busy_machine_needs() {
        let server = Scripted::new(|_| None).await;
        let mark = "PATCH /api/v1/nodes/n/status";
        for (scale, milliseconds, is_dead) in
            [(5, 9_000, false), (5, 10_000, true), (20, 3_000, false), (20, 4_000, true)]
        {
            let _scale = clock::pin_scale(scale);
            let node = node(json!([{"type": "Ready", "status": "True"}]));
            let lines = asked_after(Duration::from_millis(milliseconds), &server, node, vec![]).await;
            assert_eq!(lines == [mark], is_dead, "{scale} {milliseconds} {lines:?}");
        }
    }

    /// Upstream: `tryUpdateNodeHealth`.
    #[tokio::test]
    async fn conditions_that_were_never_reported_are_as_old_as_the_node_and_unknown_ones_stay() {
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
        let (made, heard) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
        let mut node = Node::clone(&node(json!([
            {"type": "Ready", "status": "True", "lastHeartbeatTime": heard},
            {"type": "MemoryPressure", "status": "Unknown", "reason": "Odd"},
        ])));
        node.metadata.creation_timestamp = Some(Time(made.parse().unwrap()));
        let sign = format!("None {:?}", Some(heard.parse::<clock::Timestamp>().unwrap()));
        let last = Life::new(sign, clock::Instant::now() - LONG_AGO);
        let mut seen = Seen::from([("n".to_string(), last)]);
        check(&shared, &recorder, &Arc::new(node), &mut seen).await.unwrap();
        let asked = server.take();
        let written = asked[0].body["status"]["conditions"].as_array().unwrap().iter();
        let heartbeats: Vec<_> = written.map(|c| (&c["type"], &c["lastHeartbeatTime"])).collect();
        let [ready, disk, pid] = [json!("Ready"), json!("DiskPressure"), json!("PIDPressure")];
        let (made, heard) = (json!(made), json!(heard));
        assert_eq!(heartbeats, [(&ready, &heard), (&disk, &made), (&pid, &made)]);
        shared.crew.kill();
    }

    /// Upstream: `tryUpdateNodeHealth`. A controller that was started anew gave it another minute.
    #[tokio::test]
    async fn a_node_whose_status_was_never_reported_is_silent_since_it_was_created() {
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
        let second = Duration::from_secs(1);
        for (age, is_dead) in [(STARTUP_GRACE - 5 * second, false), (STARTUP_GRACE + second, true)] {
            let mut node = Node::clone(&node(json!([])));
            node.metadata.creation_timestamp = Some(Time(clock::before(clock::now(), age)));
            check(&shared, &recorder, &Arc::new(node.clone()), &mut Seen::new()).await.unwrap();
            let asked = server.take();
            assert_eq!(asked.len(), usize::from(is_dead), "{age:?}");
            for condition in asked.iter().flat_map(|a| a.body["status"]["conditions"].as_array().unwrap()) {
                let found = (&condition["status"], &condition["reason"]);
                assert_eq!(found, (&json!("Unknown"), &json!("NodeStatusNeverUpdated")));
            }
            // Its Lease, seen for the first time, is a sign of life of now.
            let lease =
                json!({"metadata": {"name": "n", "namespace": "kube-node-lease", "resourceVersion": "7"}});
            let lease: Lease = serde_json::from_value(lease).unwrap();
            shared.informer::<Lease>().show(lease.clone());
            check(&shared, &recorder, &Arc::new(node), &mut Seen::new()).await.unwrap();
            assert_eq!(server.lines(), [""; 0], "{age:?}");
            shared.informer::<Lease>().show_deleted(lease);
        }
        shared.crew.kill();
    }

    #[tokio::test]
    async fn a_node_whose_status_was_never_reported_gets_longer() {
        let server = Scripted::new(|_| None).await;
        assert!(LONG_AGO > GRACE && LONG_AGO < STARTUP_GRACE);
        assert_eq!(asked(&server, node(json!([])), vec![]).await, [""; 0]);
    }
}
