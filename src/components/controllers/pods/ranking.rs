//! Which of too many pods of an owner are deleted first. Upstream: `ActivePods` and
//! `ActivePodsWithRanks`.

use super::{node_of, phase, ready_since};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sorts pods in the order in which surplus ones are deleted. `related`: the pods that are counted
/// on each node, which may be more than these; of two pods the one goes whose node has more of
/// them. `None`, for a Job: neither that number nor a deletion cost decides (upstream:
/// `ActivePods`, beside `ActivePodsWithRanks` of ReplicaSets).
///
/// ```text
/// a   not bound                                         goes first
/// b   bound, Pending                                    second
/// c   Running, not ready                                third
/// d   ready, its node has another pod of the set        fourth
/// e   ready for 1 min, alone on its node                fifth
/// f   ready for 1 h, alone on its node                  last
/// ```
pub(crate) fn least_useful_first(active: &[Arc<Pod>], related: Option<&[Arc<Pod>]>) -> Vec<Arc<Pod>> {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in related.unwrap_or_default() {
        *on_node.entry(node_of(pod)).or_default() += 1;
    }
    let mut ranked = active.to_vec();
    ranked.sort_by_cached_key(|pod| {
        let ready = ready_since(pod);
        let annotations = pod.metadata.annotations.as_ref().filter(|_| related.is_some());
        let cost = annotations.and_then(|a| a.get("controller.kubernetes.io/pod-deletion-cost"));
        let how_far = match phase(pod) {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        };
        let created = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
        // Smaller goes first; times are negated because the youngest goes before the oldest.
        (
            !node_of(pod).is_empty(),
            how_far,
            ready.is_some(),
            cost.and_then(|c| c.parse::<i64>().ok()).unwrap_or(0),
            std::cmp::Reverse(on_node.get(node_of(pod)).copied().unwrap_or(0)),
            std::cmp::Reverse(ready),
            std::cmp::Reverse(most_restarts(pod)),
            std::cmp::Reverse(created),
            pod.metadata.name.clone(),
        )
    });
    ranked
}

/// Returns the restarts of the pod's container that was restarted most often, and those of such a
/// sidecar, which decide between pods that are equal otherwise. Upstream:
/// `compareMaxContainerRestarts`.
fn most_restarts(pod: &Pod) -> (i32, i32) {
    let init = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
    let sidecars: Vec<&str> =
        init.filter(|c| c.restart_policy.as_deref() == Some("Always")).map(|c| c.name.as_str()).collect();
    let Some(status) = &pod.status else { return (0, 0) };
    let ordinary = status.container_statuses.iter().flatten().map(|c| c.restart_count).max();
    let sidecar = status.init_container_statuses.iter().flatten();
    let sidecar = sidecar.filter(|c| sidecars.contains(&c.name.as_str())).map(|c| c.restart_count).max();
    (ordinary.unwrap_or(0), sidecar.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_two_pods_the_one_goes_whose_containers_or_sidecars_restarted_more_often() {
        let pod = |name: &str, ordinary: i32, sidecar: i32| -> Arc<Pod> {
            let of = |name: &str, restarts: i32| json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": restarts});
            // "setup" has ended before the others began: its tries say nothing about the pod.
            let init = json!([{"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"}]);
            let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main"}], "initContainers": init},
                "status": {"phase": "Running", "containerStatuses": [of("main", ordinary)],
                    "initContainerStatuses": [of("setup", 9), of("proxy", sidecar)]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let first =
            |all: [Arc<Pod>; 2]| least_useful_first(&all, Some(&[]))[0].metadata.name.clone().unwrap();
        assert_eq!(first([pod("a", 1, 0), pod("b", 1, 2)]), "b");
        assert_eq!(first([pod("a", 1, 5), pod("b", 2, 0)]), "b");
    }

    #[test]
    fn the_pod_that_serves_least_goes_first() {
        let pod = |name: &str, node: &str, phase: &str, ready_since: Option<&str>| -> Arc<Pod> {
            let ready =
                ready_since.map(|at| json!({"type": "Ready", "status": "True", "lastTransitionTime": at}));
            let conditions: Vec<_> = ready.into_iter().collect();
            let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": []},
                "status": {"phase": phase, "conditions": conditions}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let (long, short) = (Some("2026-01-01T00:00:00Z"), Some("2026-01-01T00:59:00Z"));
        let all = [
            pod("f", "n1", "Running", long),
            pod("e", "n2", "Running", short),
            pod("d", "n3", "Running", long),
            pod("c", "n3", "Running", None),
            pod("b", "n4", "Pending", None),
            pod("a", "", "Pending", None),
        ];
        let names = |related: Option<&[Arc<Pod>]>| -> String {
            least_useful_first(&all, related).iter().map(|pod| pod.metadata.name.clone().unwrap()).collect()
        };
        assert_eq!(names(Some(&all)), "abcdef");
        assert_eq!(names(None), "abcedf", "a Job does not count the pods of a node");
    }
}
