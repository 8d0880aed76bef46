//! Node objects of an earlier start: brought up to what the cluster is made of now. The number of
//! workers may change at each start, while a kubelet leaves the taints of a Node that exists alone,
//! as upstream's does.

use crate::error::chain;
use crate::spec::{CONTROL_PLANE_BASE, CONTROL_PLANES_MAX, Spec, WORKER_BASE, WORKERS_MAX};
use crate::world::World;
use client::kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use client::{Client, is_code, kube};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The label and the taint of control-plane nodes.
pub(crate) const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// Whether the taint was there when a start last decided about it. A taint that a person has added
/// or removed since is left alone.
pub(crate) const MARK: &str = "ropewalk.io/control-plane-taint";
const NO_SCHEDULE: &str = "NoSchedule";

/// Returns whether control-plane nodes have the taint. With workers beside them they are left to
/// the control plane; alone they have to take everything.
pub(crate) fn is_tainted(spec: &Spec) -> bool {
    spec.workers > 0
}

pub(crate) fn taint() -> Taint {
    Taint { key: CONTROL_PLANE.into(), effect: NO_SCHEDULE.into(), ..Taint::default() }
}

/// Deletes Node objects of nodes that this cluster no longer has, and their pods, so that their
/// owners make others at once; a Node of any other name was made by a person or a simulator (kwok),
/// and stays. Taints or untaints the control-plane nodes if there are workers now and were none, or
/// the other way round: kubeadm's phase `mark-control-plane`.
///
/// # Errors
/// What the API server said. All of it can be done again.
pub(crate) async fn reconcile(world: &World, client: &Client) -> Result<(), String> {
    let gone = world.spec.gone_workers(&world.place).into_iter().map(|node| node.name);
    bring_up_to_date(client, &world.spec, gone.collect()).await
}

/// Brings the Nodes and their pods up to date, as [`reconcile`] says. `gone`: workers of earlier
/// starts by their directories, also those whose Node a person has deleted.
async fn bring_up_to_date(client: &Client, spec: &Spec, mut gone: BTreeSet<String>) -> Result<(), String> {
    let api = client.cluster::<Node>();
    let known = api.list(&ListParams::default()).await.map_err(|e| chain(&e))?;
    let own = spec.nodes();
    for node in known.items {
        let name = node.metadata.name.clone().unwrap_or_default();
        match own.iter().find(|own| own.name == name) {
            None if !is_of_ropewalk(&name) => {}
            None => {
                // Before its pods are ended, so that no new one is bound to it.
                api.delete(&name, &DeleteParams::default()).await.map_err(|e| chain(&e))?;
                gone.insert(name);
            }
            Some(own) if own.control_plane => {
                if let Some(node) = marked(node, is_tainted(spec)) {
                    // A conflict is tried again with the Node as it is then.
                    api.replace(&name, &PostParams::default(), &node).await.map_err(|e| chain(&e))?;
                }
            }
            Some(_) => {}
        }
    }
    let mut done = Ok(());
    for node in gone {
        done = done.and(end_pods(client, &node).await);
    }
    done
}

/// Ends the pods of a node that is gone. The pod garbage collector would do so after 40 s, in which
/// a missing node may come back; this one does not. Meanwhile a cluster whose name servers were all
/// there would have no DNS.
///
/// # Errors
/// The first one. All other pods are ended: a policy of the cluster may refuse it for one of them.
async fn end_pods(client: &Client, node: &str) -> Result<(), String> {
    let bound = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = client.all::<Pod>().list(&bound).await.map_err(|e| chain(&e))?;
    let mut done = Ok(());
    for pod in pods.items {
        done = done.and(end_pod(client, pod).await);
    }
    done
}

async fn end_pod(client: &Client, pod: Pod) -> Result<(), String> {
    let patch = failed(&pod).map(Patch::Strategic);
    let (name, uid) = (pod.metadata.name.unwrap_or_default(), pod.metadata.uid);
    let api = client.within::<Pod>(&pod.metadata.namespace.unwrap_or_default());
    if let Some(patch) = patch {
        unless_gone(api.patch_status(&name, &PatchParams::default(), &patch).await)?;
    }
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    };
    unless_gone(api.delete(&name, &params).await)
}

/// Returns the patch that says how a pod ended that no kubelet reports, as the garbage collector
/// writes it: a Job with `podReplacementPolicy: Failed` waits for the phase. `None`: it has ended
/// by itself.
fn failed(pod: &Pod) -> Option<Value> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists", "lastTransitionTime": clock::rfc3339(clock::now()),
        "observedGeneration": pod.metadata.generation,
    });
    let status = json!({"phase": "Failed", "conditions": [condition]});
    let has_ended = matches!(phase, Some("Succeeded" | "Failed"));
    (!has_ended).then(|| json!({"metadata": {"uid": pod.metadata.uid}, "status": status}))
}

/// Returns an error of a request, but none if the object is gone or another one has its name.
fn unless_gone<T>(done: Result<T, kube::Error>) -> Result<(), String> {
    match done {
        Err(error) if !is_code(&error, 404) && !is_code(&error, 409) => Err(chain(&error)),
        _ => Ok(()),
    }
}

/// Returns whether this is one of the names that a cluster of any size gives its nodes. Makes no
/// list of them: readiness asks this about each pod of each foreign Node, after each change of a
/// pod.
pub(crate) fn is_of_ropewalk(name: &str) -> bool {
    let is_numbered = |base: &str, most: u8| match name.strip_prefix(base) {
        None => false,
        Some("") => true,
        // `parse` takes "+2" and "02", too.
        Some(number) => {
            number.starts_with(|c: char| matches!(c, '1'..='9'))
                && number.parse::<u8>().is_ok_and(|n| (2..=most).contains(&n))
        }
    };
    is_numbered(CONTROL_PLANE_BASE, CONTROL_PLANES_MAX) || is_numbered(WORKER_BASE, WORKERS_MAX)
}

/// Returns the Node as it has to be. `None`: nothing has changed since the start that marked it.
fn marked(mut node: Node, tainted: bool) -> Option<Node> {
    let mark = tainted.to_string();
    let annotations = node.metadata.annotations.get_or_insert_default();
    if annotations.get(MARK) == Some(&mark) {
        return None;
    }
    annotations.insert(MARK.into(), mark);
    let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
    taints.retain(|taint| taint.key != CONTROL_PLANE || taint.effect != NO_SCHEDULE);
    if tainted {
        taints.push(self::taint());
    }
    Some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::{Scripted, refusal};

    fn node(mark: Option<&str>, taints: &[(&str, &str)]) -> Node {
        let taints: Vec<Value> =
            taints.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
        let annotations = mark.map(|mark| json!({ MARK: mark }));
        let node = json!({"metadata": {"name": "n", "annotations": annotations}, "spec": {"taints": taints}});
        serde_json::from_value(node).unwrap()
    }

    fn taints(node: &Node) -> Vec<(String, String)> {
        let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
        taints.map(|t| (t.key.clone(), t.effect.clone())).collect()
    }

    /// Two workers, then none: without the change no pod of a learner could be scheduled.
    #[test]
    fn the_taint_of_control_planes_follows_the_number_of_workers() {
        let own = (CONTROL_PLANE, NO_SCHEDULE);
        let of = |taints: &[(&str, &str)]| -> Vec<(String, String)> {
            taints.iter().map(|(key, effect)| (key.to_string(), effect.to_string())).collect()
        };
        let other = [("dedicated", NO_SCHEDULE), (CONTROL_PLANE, "NoExecute")];
        for mark in [Some("true"), None] {
            let changed = marked(node(mark, &[own, other[0], other[1]]), false).unwrap();
            assert_eq!(taints(&changed), of(&other), "others stay");
            assert_eq!(marked(changed, false), None, "once");
        }
        for mark in [Some("false"), None] {
            let changed = marked(node(mark, &[other[0]]), true).unwrap();
            assert_eq!(taints(&changed), of(&[other[0], own]));
            assert_eq!(marked(changed, true), None, "once");
        }
    }

    /// `up --workers 0` after two: both name servers were on them, and the cluster had no DNS for
    /// 40 s.
    #[tokio::test]
    async fn the_pods_of_a_worker_that_is_gone_end_at_once() {
        let server = Scripted::new(|asked| {
            let pod = |name: &str, phase: &str| {
                json!({"metadata": {"namespace": "d", "name": name, "uid": name},
                    "spec": {"nodeName": "n", "containers": []}, "status": {"phase": phase}})
            };
            match asked.line.as_str() {
                "GET /api/v1/pods" => {
                    let running = ["refused", "gone", "runs"].map(|name| pod(name, "Running"));
                    let pods = running.into_iter().chain([pod("done", "Succeeded")]).collect::<Vec<_>>();
                    Some((200, json!({"metadata": {}, "items": pods})))
                }
                "PATCH /api/v1/namespaces/d/pods/refused/status" => refusal(403, "Forbidden"),
                "PATCH /api/v1/namespaces/d/pods/gone/status" => refusal(404, "NotFound"),
                "DELETE /api/v1/namespaces/d/pods/gone" => refusal(409, "Conflict"),
                _ => None,
            }
        })
        .await;
        let refused = end_pods(&server.client, "n").await.unwrap_err();
        assert!(refused.contains("Forbidden"), "{refused}");
        let asked = server.take();
        let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
        let path = |name: &str| format!("/api/v1/namespaces/d/pods/{name}");
        let expected = [
            "GET /api/v1/pods".to_string(),
            format!("PATCH {}/status", path("refused")),
            format!("PATCH {}/status", path("gone")),
            format!("DELETE {}", path("gone")),
            format!("PATCH {}/status", path("runs")),
            format!("DELETE {}", path("runs")),
            format!("DELETE {}", path("done")),
        ];
        assert_eq!(lines, expected);
        let (status, deletion) = (&asked[4].body["status"], &asked[5].body);
        assert_eq!(
            (&status["phase"], &status["conditions"][0]["status"]),
            (&json!("Failed"), &json!("True"))
        );
        assert_eq!(
            (&deletion["gracePeriodSeconds"], &deletion["preconditions"]["uid"]),
            (&json!(0), &json!("runs"))
        );
    }

    /// `kubectl delete node ropewalk-worker2`, `down` and `up --workers 1`: the start waited 40 s
    /// for the name server that was there.
    #[tokio::test]
    async fn the_pods_of_a_worker_whose_node_a_person_has_deleted_end_at_once() {
        let server = Scripted::new(|asked| match asked.line.as_str() {
            "GET /api/v1/nodes" => {
                let nodes = ["kwok-0", "ropewalk-worker", "ropewalk-worker3"];
                let nodes = nodes.map(|name| json!({"metadata": {"name": name}}));
                Some((200, json!({"metadata": {}, "items": nodes})))
            }
            _ => None,
        })
        .await;
        let spec = Spec { workers: 1, ..Spec::new("t") };
        let gone = BTreeSet::from(["ropewalk-worker2".to_string()]);
        bring_up_to_date(&server.client, &spec, gone).await.unwrap();
        let lines: Vec<String> = server.take().into_iter().map(|asked| asked.line).collect();
        let pods = "GET /api/v1/pods";
        assert_eq!(lines, ["GET /api/v1/nodes", "DELETE /api/v1/nodes/ropewalk-worker3", pods, pods]);
    }

    #[test]
    fn a_node_that_a_person_made_outlives_a_restart() {
        let largest = Spec { control_planes: CONTROL_PLANES_MAX, workers: WORKERS_MAX, ..Spec::new("any") };
        for own in largest.nodes() {
            assert!(is_of_ropewalk(&own.name), "{}", own.name);
        }
        let others = [
            "kwok-node-0",
            "ropewalk-worker1",
            "ropewalk-worker02",
            "ropewalk-worker+2",
            "ropewalk-worker196",
            "ropewalk-control-plane6",
            "ropewalk-worker-x",
            "my-ropewalk-worker",
            "",
        ];
        for other in others {
            assert!(!is_of_ropewalk(other), "{other}");
        }
    }

    #[test]
    fn a_taint_that_a_person_removed_or_added_stays_so_at_the_next_start() {
        assert_eq!(marked(node(Some("true"), &[]), true), None);
        assert_eq!(marked(node(Some("false"), &[(CONTROL_PLANE, NO_SCHEDULE)]), false), None);
    }
}
