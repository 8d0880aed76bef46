//! `oom_score_adj`: how soon the kernel ends a container when the node's memory runs out. Pure.

use api::quantity::Quantity;
use api::requests::{Amount, qos_class};
use k8s_openapi::api::core::v1::{Container as Spec, Pod, ResourceRequirements};

/// Pods of kube-system of this priority and above are as the node itself: `system-node-critical`.
const NODE_CRITICAL: i32 = 2_000_001_000;

/// Returns the bytes of memory that are requested.
fn memory_request(resources: Option<&ResourceRequirements>) -> i64 {
    let request = resources.and_then(|r| r.requests.as_ref()?.get("memory"));
    request.and_then(|q| Quantity::parse(&q.0)).map_or(0, |q| q.units().max(0))
}

/// Returns what each container has beside its own request of what the pod requests as a whole:
/// an equal part of what no container requests itself (KEP-2837).
fn share_of_whole(pod: &Pod) -> i64 {
    let Some(spec) = &pod.spec else { return 0 };
    let whole = memory_request(spec.resources.as_ref());
    if whole == 0 {
        return 0;
    }
    let mut parts = pod.clone();
    parts.spec.iter_mut().for_each(|spec| (spec.resources, spec.overhead) = (None, None));
    let sidecars = spec.init_containers.iter().flatten().filter(|c| is_restartable(c)).count();
    let all = i64::try_from(spec.containers.len() + sidecars).unwrap_or(i64::MAX);
    whole.saturating_sub(Amount::of_pod(&parts).memory).max(0) / all.max(1)
}

fn is_restartable(spec: &Spec) -> bool {
    spec.restart_policy.as_deref() == Some("Always")
}

/// Returns how soon the kernel ends a container when the node's memory runs out, by its quality of
/// service. `memory` is the node's, in bytes. A sidecar is never ended before the regular container
/// that requests least: the others work through it. Source: `pkg/kubelet/qos/policy.go`, KEP-753.
///
/// ```text
/// Guaranteed -> -997    BestEffort -> 1000    Burstable that requests a tenth of the memory -> 900
/// its sidecar, which requests nothing -> 900
/// two containers, the pod requests a fifth as a whole -> 900 each
/// ```
pub(crate) fn oom_score_adj(pod: &Pod, spec: &Spec, memory: u64) -> i32 {
    let critical = super::pressure::priority(pod) >= NODE_CRITICAL;
    match qos_class(pod) {
        _ if critical => return -997,
        "Guaranteed" => return -997,
        "BestEffort" => return 1000,
        _ => {}
    }
    let mut request = memory_request(spec.resources.as_ref());
    let pod_spec = pod.spec.as_ref();
    let is_init = pod_spec.is_some_and(|s| s.init_containers.iter().flatten().any(|c| c.name == spec.name));
    if is_init && is_restartable(spec) {
        let regular = pod_spec.iter().flat_map(|s| &s.containers);
        let least = regular.map(|c| memory_request(c.resources.as_ref())).min();
        request = request.max(least.unwrap_or(0));
    }
    let share = i128::from(request.saturating_add(share_of_whole(pod))) * 1000 / i128::from(memory.max(1));
    // Never as safe as Guaranteed, never as exposed as BestEffort.
    (1000 - share).clamp(3, 999) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(json: Value) -> Spec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_kernel_ends_best_effort_first() {
        let score = |resources: Value, priority: i32| {
            let spec = json!({"name": "c", "resources": resources});
            let namespace = if priority > 0 { "kube-system" } else { "default" };
            let pod = json!({"metadata": {"namespace": namespace}, "spec": {"containers": [spec], "priority": priority.abs()}});
            oom_score_adj(&serde_json::from_value(pod).unwrap(), &self::spec(spec), 1000 << 20)
        };
        let both = |memory: &str| json!({"cpu": "1", "memory": memory});
        assert_eq!(score(json!({}), 0), 1000);
        assert_eq!(score(json!({"limits": both("1Gi"), "requests": both("1Gi")}), 0), -997);
        let requests = |memory: &str| json!({"requests": both(memory)});
        assert_eq!(
            [score(requests("100Mi"), 0), score(requests("1"), 0), score(requests("9Ti"), 0)],
            [900, 999, 3]
        );
        assert_eq!(score(json!({}), NODE_CRITICAL), -997);
        assert_eq!(score(json!({}), -NODE_CRITICAL), 1000, "in a namespace of ordinary users");
    }

    #[test]
    fn sidecars_are_as_safe_as_their_pod_and_what_the_pod_requests_is_shared() {
        let asks = |name: &str, memory: &str, more: Value| {
            let mut one = json!({"name": name, "resources": {"requests": {"memory": memory}}});
            one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            one
        };
        let score = |pod: Value, container: &Value| {
            let pod = serde_json::from_value(json!({"spec": pod})).unwrap();
            oom_score_adj(&pod, &spec(container.clone()), 1000 << 20)
        };
        let always = || json!({"restartPolicy": "Always"});
        let (small, large) = (asks("a", "100Mi", json!({})), asks("b", "300Mi", json!({})));
        for (memory, want) in [("0", 900), ("50Mi", 900), ("200Mi", 800)] {
            let sidecar = asks("s", memory, always());
            let pod = json!({"containers": [small, large], "initContainers": [sidecar]});
            assert_eq!(score(pod, &sidecar), want, "{memory}");
        }
        let init = asks("i", "50Mi", json!({}));
        let pod = json!({"containers": [small], "initContainers": [init]});
        assert_eq!(score(pod, &init), 950, "an ordinary init container is judged by itself");
        // 600Mi for the whole pod: 200Mi that no container requests, for two of them.
        let pod = json!({"containers": [small, large], "resources": {"requests": {"memory": "600Mi"}}});
        assert_eq!([score(pod.clone(), &small), score(pod, &large)], [800, 600]);
    }
}
