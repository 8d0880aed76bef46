//! Pod garbage collection: pods that no kubelet will ever end, and ended ones beyond what is kept.

use super::eviction::{Disruption, delete, tell_why};
use super::node_of;
use crate::pods::phase;
use crate::{Error, Shared, record};
use client::{Change, Key, Outcome, WorkQueue, optional, segment};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

/// The cache may be behind a node that is just being added.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How often ended pods are counted.
const COUNT_EVERY: Duration = Duration::from_secs(20);
/// Ended pods that are kept, over all namespaces: `--terminated-pod-gc-threshold`.
const ENDED_MOST: usize = 12_500;

const NO_NODE: Disruption =
    Disruption { reason: "DeletionByPodGC", message: "PodGC: node no longer exists", failed: true };

pub(super) fn start(shared: &Shared) {
    let pods: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = pods.clone();
    shared.pods.on(move |change| {
        if !node_of(change.object()).is_empty() && !matches!(change, Change::Deleted(_)) {
            q.add(change.key(), change.cause());
        }
    });
    let (q, all) = (pods.clone(), shared.clone());
    shared.nodes.on(move |change| {
        if let Change::Deleted(_) = change {
            let name = change.key().name;
            for pod in all.pods.list().iter().filter(|p| node_of(p) == name) {
                q.add(Key::of(&**pod), change.cause());
            }
        }
    });
    let all = Arc::new(shared.clone());
    shared.report_panics(&pods, &shared.pods, "pod-garbage-collector");
    pods.work("pod-garbage-collector", 2, move |key, cause| {
        let shared = all.clone();
        async move { orphaned(&shared, &key, &cause).await }
    });
    let all = shared.clone();
    shared.crew.spawn_essential(async move {
        loop {
            clock::sleep(COUNT_EVERY).await;
            for pod in surplus(all.pods.list(), ENDED_MOST) {
                let key = Key::of(&*pod);
                let api = all.config.client.within::<Pod>(&key.namespace);
                match delete(&api, &pod, Some(0)).await {
                    Ok(()) => {
                        all.tap(Component::PodGarbageCollector).emit(record(
                            Event::Collect,
                            "pods",
                            &key,
                            &None,
                        ));
                    }
                    Err(error) => tracing::warn!(pod = %key, %error, "an ended pod stays for now"),
                }
            }
        }
    });
}

/// Pure: the ended pods beyond `most`: those that were evicted before others, the oldest first.
fn surplus(mut pods: Vec<Arc<Pod>>, most: usize) -> Vec<Arc<Pod>> {
    pods.retain(|p| matches!(phase(p), "Succeeded" | "Failed") && p.metadata.deletion_timestamp.is_none());
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

/// A pod bound to a node that does not exist (any more) is deleted by force: no kubelet will ever
/// do it.
async fn orphaned(shared: &Shared, key: &Key, cause: &Option<Cause>) -> Result<Outcome, Error> {
    let Some(pod) = shared.pods.get(key).filter(|p| !node_of(p).is_empty()) else { return Ok(Outcome::Done) };
    let node = node_of(&pod);
    if shared.nodes.get(&Key::new("", node)).is_some() {
        return Ok(Outcome::Done);
    }
    if optional(shared.config.client.cluster::<Node>().get(&segment(node)).await)?.is_some() {
        return Ok(Outcome::After(LOOK_AGAIN));
    }
    let api = shared.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
    if tell_why(&api, &pod, &NO_NODE).await? {
        tracing::info!(pod = %key, node, "the pod's node no longer exists: deleting the pod by force");
        delete(&api, &pod, Some(0)).await?;
        shared.tap(Component::PodGarbageCollector).emit(record(Event::Collect, "pods", key, cause));
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::{Scripted, refusal};
    use serde_json::json;

    #[tokio::test]
    async fn a_pod_of_a_node_that_is_no_more_has_failed_and_says_why() {
        let server = Scripted::new(|asked| match asked.line.as_str() {
            "GET /api/v1/nodes/n" => refusal(404, "NotFound"),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        // Also one that was deleted while its kubelet was gone already.
        let pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n", "containers": []}, "status": {"phase": "Running"}});
        shared.pods.tell_of(serde_json::from_value(pod).unwrap());
        orphaned(&shared, &Key::new("d", "p"), &None).await.unwrap();
        let asked = server.take();
        let status = &asked[1].body["status"];
        assert_eq!(
            (&status["phase"], &status["conditions"][0]["reason"]),
            (&json!("Failed"), &json!(NO_NODE.reason))
        );
        assert_eq!(asked[2].line, "DELETE /api/v1/namespaces/d/pods/p");
        assert_eq!(asked[2].body["gracePeriodSeconds"], 0);
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
