//! Pod garbage collection: pods that no kubelet will ever end, and ended ones beyond what is kept.

use super::eviction::{Disruption, delete, mark_disrupted};
use crate::error::Error;
use crate::pods::{has_ended, node_of};
use crate::shared::{Shared, record};
use crate::write::unless_gone;
use client::{Change, Key, Outcome, WorkQueue, optional};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

/// The pods of a missing node are kept for so long: the node may be registered anew, and the cache
/// may be behind a node that is just being added.
const QUARANTINE: Duration = Duration::from_secs(40);
/// How often ended pods are counted.
const COUNT_EVERY: Duration = Duration::from_secs(20);
/// Ended pods that are kept, over all namespaces: `--terminated-pod-gc-threshold`.
const ENDED_MOST: usize = 12_500;

const NO_NODE: Disruption =
    Disruption { reason: "DeletionByPodGC", message: "PodGC: node no longer exists", failed: true };

/// Deletes the pods of nodes that do not exist.
struct Orphans {
    shared: Shared,
    /// When each missing node was first found to be missing. A node is forgotten when it is there
    /// again or has no pods left, so there are as many as missing nodes that pods name.
    missing: Mutex<BTreeMap<String, clock::Instant>>,
}

pub(super) fn start(shared: &Shared) {
    let nodes: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let (q, all) = (nodes.clone(), shared.clone());
    shared.informer::<Pod>().on(move |change| {
        let node = Key::new("", node_of(change.object()));
        let is_missing = !node.name.is_empty() && all.informer::<Node>().get(&node).is_none();
        if is_missing && !matches!(change, Change::Deleted(_)) {
            q.add(node, change.cause());
        }
    });
    let q = nodes.clone();
    // Also a node that is added: it is missing no longer.
    shared.informer::<Node>().on(move |change| {
        if !matches!(change, Change::Updated { .. }) {
            q.add(change.key(), change.cause());
        }
    });
    let worker = Arc::new(Orphans { shared: shared.clone(), missing: Mutex::default() });
    shared.report_panics(&nodes, shared.informer::<Node>(), "pod-garbage-collector");
    nodes.work("pod-garbage-collector", 2, move |node, cause| {
        let worker = worker.clone();
        async move { worker.sync(&node.name, &cause).await }
    });
    let all = shared.clone();
    shared.crew.spawn_essential(async move {
        loop {
            clock::sleep(COUNT_EVERY).await;
            sweep(&all).await;
        }
    });
}

/// Deletes pods that no kubelet will ever end because they were never bound, and ended ones beyond
/// what is kept.
async fn sweep(shared: &Shared) {
    let all = shared.informer::<Pod>().list();
    let mut pods: Vec<Arc<Pod>> = all.iter().filter(|p| is_stuck(p)).cloned().collect();
    pods.extend(surplus(all, ENDED_MOST));
    for pod in pods {
        let key = Key::of(&*pod);
        match end(shared, &key, &pod).await {
            Ok(()) => {
                let event = record(Event::Collect, "pods", &key, &None);
                shared.tap(Component::PodGarbageCollector).emit(event);
            }
            Err(error) => {
                tracing::warn!(pod = %key, %error, "a pod that is to be collected stays for now: it could not be deleted")
            }
        }
    }
}

/// Pure: returns whether the pod is being deleted and has no node. A finalizer keeps it. Its owner
/// waits for its end, which no kubelet reports (upstream's `gcUnscheduledTerminating`).
///
/// A pod that was never bound, for lack of room, is deleted while a finalizer of its owner holds
/// it. [`end`] sets its phase to Failed, which a kubelet does for other pods; then its owner can
/// take the finalizer off.
fn is_stuck(pod: &Pod) -> bool {
    let is_over = has_ended(pod) && pod.metadata.deletion_grace_period_seconds == Some(0);
    pod.metadata.deletion_timestamp.is_some() && node_of(pod).is_empty() && !is_over
}

/// Deletes a pod at once; one that has not ended has failed.
async fn end(shared: &Shared, key: &Key, pod: &Pod) -> Result<(), Error> {
    let api = shared.config.client.within::<Pod>(&key.namespace);
    if !has_ended(pod) {
        let failed = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"phase": "Failed"}});
        let patch = Patch::Strategic(failed);
        match unless_gone(api.patch_status(&key.name, &PatchParams::default(), &patch).await) {
            Ok(Some(_)) => {}
            Ok(None) | Err(Error::Conflict(_)) => return Ok(()), // gone, or another one of its name
            Err(error) => return Err(error),
        }
    }
    delete(&api, pod, Some(0)).await
}

/// Pure: the ended pods beyond `most`: those that were evicted before others, the oldest first.
///
/// Two may be kept, and three have ended: `a` (evicted, made at 10:00), `b` (made at 8:00) and `c`
/// (at 9:00). `a` goes, although it is the youngest, because it was evicted. `b` would be next.
/// Upstream: `gcTerminated`.
fn surplus(mut pods: Vec<Arc<Pod>>, most: usize) -> Vec<Arc<Pod>> {
    pods.retain(|p| has_ended(p) && p.metadata.deletion_timestamp.is_none());
    let over = pods.len().saturating_sub(most);
    if over > 0 {
        pods.sort_by_key(|p| {
            let evicted = p.status.as_ref().and_then(|s| s.reason.as_deref()) == Some("Evicted");
            (!evicted, p.metadata.creation_timestamp.as_ref().map(|t| t.0), p.metadata.name.clone())
        });
    }
    pods.truncate(over);
    pods
}

impl Orphans {
    /// Deletes the pods of a node by force if it has been missing for the time of its quarantine
    /// and the API server does not know it either: no kubelet will ever do it. Then the quarantine
    /// begins anew. Otherwise an owner that binds its pods to a missing node would replace them as
    /// fast as they are deleted.
    async fn sync(&self, node: &str, cause: &Option<Cause>) -> Result<Outcome, Error> {
        let is_there = self.shared.informer::<Node>().get(&Key::new("", node)).is_some();
        let mut pods = if is_there { vec![] } else { self.shared.informer::<Pod>().list() };
        pods.retain(|pod| node_of(pod) == node);
        if pods.is_empty() {
            self.forget(node);
            return Ok(Outcome::Done);
        }
        let left = self.quarantine(node);
        if !left.is_zero() {
            return Ok(Outcome::After(left));
        }
        if optional(self.shared.config.client.cluster::<Node>().get(node).await)?.is_some() {
            self.forget(node);
            return Ok(Outcome::After(QUARANTINE));
        }
        let mut result = Ok(());
        for pod in pods {
            result = result.and(self.collect(&pod, cause).await);
        }
        result?;
        self.forget(node);
        Ok(Outcome::Done)
    }

    /// Returns what is left of the quarantine of a missing node; the first time all of it.
    fn quarantine(&self, node: &str) -> Duration {
        let mut missing = self.missing.lock();
        let since = missing.entry(node.to_string()).or_insert_with(clock::Instant::now);
        clock::left(*since, QUARANTINE, clock::Instant::now()).unwrap_or_default()
    }

    fn forget(&self, node: &str) {
        self.missing.lock().remove(node);
    }

    async fn collect(&self, pod: &Pod, cause: &Option<Cause>) -> Result<(), Error> {
        let (key, node) = (Key::of(pod), node_of(pod));
        let api = self.shared.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
        if mark_disrupted(&api, pod, &NO_NODE).await? {
            tracing::info!(pod = %key, node, "the pod's node no longer exists: deleting the pod by force");
            delete(&api, pod, Some(0)).await?;
            let event = record(Event::Collect, "pods", &key, cause);
            self.shared.tap(Component::PodGarbageCollector).emit(event);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::{Scripted, refusal};

    /// Returns a running pod of the missing node `n`. It is being deleted: its kubelet went first.
    async fn orphans(server: &Scripted) -> Orphans {
        let shared = Shared::fixed(&server.client);
        let pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n", "containers": []}, "status": {"phase": "Running"}});
        shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
        Orphans { shared, missing: Mutex::default() }
    }

    /// As if the node were missing since the quarantine's length.
    fn end_quarantine(orphans: &Orphans) {
        for since in orphans.missing.lock().values_mut() {
            *since = since.checked_sub(QUARANTINE).unwrap();
        }
    }

    #[tokio::test]
    async fn a_pod_of_a_node_that_is_no_more_has_failed_and_says_why() {
        let server = Scripted::new(|asked| match asked.line.as_str() {
            "GET /api/v1/nodes/n" => refusal(404, "NotFound"),
            _ => None,
        })
        .await;
        let orphans = orphans(&server).await;
        let first = orphans.sync("n", &None).await.unwrap();
        assert!(matches!(first, Outcome::After(left) if left <= QUARANTINE), "{first:?}");
        assert_eq!(server.lines(), [""; 0], "the node may come back");
        end_quarantine(&orphans);
        assert_eq!(orphans.sync("n", &None).await.unwrap(), Outcome::Done);
        let asked = server.take();
        let status = &asked[1].body["status"];
        assert_eq!(
            (&status["phase"], &status["conditions"][0]["reason"]),
            (&json!("Failed"), &json!(NO_NODE.reason))
        );
        assert_eq!(asked[2].line, "DELETE /api/v1/namespaces/d/pods/p");
        assert_eq!(asked[2].body["gracePeriodSeconds"], 0);
        // The next pod that its owner binds to this node waits as long.
        assert!(matches!(orphans.sync("n", &None).await.unwrap(), Outcome::After(_)));
        assert_eq!(server.lines(), [""; 0]);
    }

    /// A Job may ignore pods that were disrupted, and this one has failed by itself.
    #[tokio::test]
    async fn a_pod_that_had_ended_before_its_node_went_is_not_marked_as_disrupted() {
        let server = Scripted::new(|asked| match asked.line.as_str() {
            "GET /api/v1/nodes/n" => refusal(404, "NotFound"),
            _ => None,
        })
        .await;
        let orphans = orphans(&server).await;
        let pods = orphans.shared.informer::<Pod>();
        let mut pod = (*pods.get(&Key::new("d", "p")).unwrap()).clone();
        pod.status.as_mut().unwrap().phase = Some("Failed".into());
        pods.show(pod);
        orphans.sync("n", &None).await.unwrap();
        end_quarantine(&orphans);
        orphans.sync("n", &None).await.unwrap();
        assert_eq!(server.lines(), ["GET /api/v1/nodes/n", "DELETE /api/v1/namespaces/d/pods/p"]);
    }

    #[tokio::test]
    async fn the_pods_of_a_node_that_is_registered_anew_stay() {
        let server = Scripted::new(|asked| match asked.line.as_str() {
            "GET /api/v1/nodes/n" => Some((200, json!({"metadata": {"name": "n"}}))),
            _ => None,
        })
        .await;
        let orphans = orphans(&server).await;
        orphans.sync("n", &None).await.unwrap();
        end_quarantine(&orphans);
        // The cache is behind.
        assert_eq!(orphans.sync("n", &None).await.unwrap(), Outcome::After(QUARANTINE));
        assert_eq!(server.lines(), ["GET /api/v1/nodes/n"]);
        orphans.sync("n", &None).await.unwrap();
        end_quarantine(&orphans);
        orphans
            .shared
            .informer::<Node>()
            .show(serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap());
        assert_eq!(orphans.sync("n", &None).await.unwrap(), Outcome::Done);
        assert_eq!(server.lines(), [""; 0]);
        assert!(orphans.missing.lock().is_empty(), "it is missing no longer");
    }

    /// As a daemon pod with a finalizer that no node had room for: its set waits for its end.
    #[tokio::test]
    async fn a_pod_that_is_going_and_was_never_bound_has_failed() {
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        let going = json!("2026-01-01T00:00:00Z");
        for (name, going, node, phase) in [
            ("stuck", &going, "", "Pending"),
            ("bound", &going, "n", "Running"),
            ("stays", &json!(null), "", "Pending"),
            ("done", &going, "", "Failed"),
        ] {
            let meta = json!({"name": name, "namespace": "d", "uid": name, "finalizers": ["a.b/c"],
                "deletionTimestamp": going, "deletionGracePeriodSeconds": 0});
            let pod = json!({"metadata": meta, "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}});
            shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
        }
        sweep(&shared).await;
        let asked = server.take();
        let lines: Vec<&str> = asked.iter().map(|a| a.line.as_str()).collect();
        let path = "/api/v1/namespaces/d/pods/stuck";
        assert_eq!(lines, [format!("PATCH {path}/status"), format!("DELETE {path}")]);
        assert_eq!(asked[0].body["status"]["phase"], "Failed");
    }

    #[test]
    fn ended_pods_beyond_the_limit_go_the_oldest_first() {
        let pod = |name: &str, phase: &str, day: u32| -> Arc<Pod> {
            let meta = json!({"name": name, "creationTimestamp": format!("2026-01-0{day}T00:00:00Z")});
            Arc::new(serde_json::from_value(json!({"metadata": meta, "status": {"phase": phase}})).unwrap())
        };
        let all = vec![
            pod("c", "Failed", 3),
            pod("a", "Succeeded", 1),
            pod("r", "Running", 1),
            pod("b", "Failed", 2),
        ];
        let names = |most: usize| -> Vec<_> {
            surplus(all.clone(), most).iter().map(|p| p.metadata.name.clone().unwrap()).collect()
        };
        assert_eq!((names(3), names(1)), (vec![], vec!["a".to_string(), "b".to_string()]));
        let mut evicted = all.clone();
        Arc::make_mut(&mut evicted[0]).status.as_mut().unwrap().reason = Some("Evicted".into());
        assert_eq!(surplus(evicted, 2)[0].metadata.name.as_deref(), Some("c"), "an evicted one goes first");
    }
}
