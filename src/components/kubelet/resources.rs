//! Requests and limits of containers and pods, as the kernel and the downward API want them. Pure.

use api::quantity::Quantity;
use api::requests::{self, Amount, Field};
use cri::Resources;
use k8s_openapi::api::core::v1::{Container as Spec, Pod, ResourceRequirements};
use std::collections::BTreeMap;

/// Returns a container's limits and shares as the kernel wants them.
///
/// Requests `cpu: 250m` and limits `cpu: 500m, memory: 64Mi` become 256 shares, 500 thousandths of
/// a CPU, and 67108864 bytes. A container with a limit and no request has the limit as its request.
pub(crate) fn resources(spec: &Spec) -> Resources {
    let amounts = spec.resources.clone().unwrap_or_default();
    let amount =
        |map: &Option<BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
         name: &str| { map.as_ref().and_then(|m| m.get(name)).and_then(|q| Quantity::parse(&q.0)) };
    let cpu_limit = amount(&amounts.limits, "cpu").map(|q| q.milli().max(0) as u64);
    let cpu_request =
        amount(&amounts.requests, "cpu").map(|q| q.milli().max(0) as u64).or(cpu_limit).unwrap_or(0);
    Resources {
        cpu_shares: shares(cpu_request),
        cpu_limit_milli: cpu_limit.filter(|l| *l > 0),
        memory_limit: amount(&amounts.limits, "memory").map(|q| q.units().max(0) as u64).filter(|l| *l > 0),
        pids_limit: None,
        oom_score_adj: 0,
    }
}

/// Returns the `cpu.shares` of a request in millicores; the kernel takes no less than 2.
///
/// 1000m are 1024, 250m are 256, and nothing is 2. Shares count only while the CPU is busy: then a
/// pod of 512 gets twice as much time as one of 256.
fn shares(milli: u64) -> u64 {
    (milli.saturating_mul(1024) / 1000).max(2)
}

/// Returns the `cpu.shares` of all containers of a pod together: pods compete by what they request,
/// and the containers of one pod for what that gives them.
pub(crate) fn pod_shares(pod: &Pod) -> u64 {
    shares(u64::try_from(Amount::of_pod(pod).cpu).unwrap_or(0))
}

/// Limits of a whole pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodLimits {
    pub cpu_milli: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// Returns the limits of a pod's control group: the sum over its containers, with the pod's
/// overhead, if each of them has a limit, or what the pod says as a whole. Source:
/// `ResourceConfigForPod` in `pkg/kubelet/cm/helpers_linux.go`.
///
/// ```text
/// a 64Mi, b 32Mi  ->  96Mi        a 64Mi, b none  ->  none
/// a 64Mi, b none, spec.resources.limits 200Mi  ->  200Mi
/// ```
pub(crate) fn pod_limits(pod: &Pod) -> PodLimits {
    let Some(spec) = &pod.spec else { return PodLimits::default() };
    let declares = |resources: &Option<ResourceRequirements>, name: &str| {
        let limit = resources.as_ref().and_then(|r| r.limits.as_ref()?.get(name));
        limit.and_then(|q| Quantity::parse(&q.0)).is_some_and(|q| q.milli() > 0)
    };
    let declared = |name: &str| {
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        declares(&spec.resources, name) || all.all(|c| declares(&c.resources, name))
    };
    let sum = requests::of_pod(pod, Field::Limits);
    let limit = |name: &str, of: fn(&Quantity) -> i64| {
        let amount = sum.get(name).map(of).and_then(|amount| u64::try_from(amount).ok());
        amount.filter(|amount| *amount > 0 && declared(name))
    };
    PodLimits { cpu_milli: limit("cpu", Quantity::milli), memory: limit("memory", Quantity::units) }
}

/// Returns what a container without limits of its own may use: the limits of its pod as a whole, or
/// what the node has to give. Source: `defaultPodLimitsForDownwardAPI` in
/// `pkg/kubelet/kubelet_resources.go`.
pub(crate) fn allocatable(pod: &Pod, node: Amount) -> Amount {
    let limits = pod.spec.as_ref().and_then(|s| s.resources.as_ref()?.limits.as_ref());
    let limit = |name: &str, of: fn(&Quantity) -> i64| {
        let amount = limits.and_then(|all| Quantity::parse(&all.get(name)?.0));
        amount.map(|q| of(&q)).filter(|amount| *amount > 0)
    };
    Amount {
        cpu: limit("cpu", Quantity::milli).unwrap_or(node.cpu),
        memory: limit("memory", Quantity::units).unwrap_or(node.memory),
        ..node
    }
}

/// Returns the value of a `resourceFieldRef`: e.g. `limits.memory` in units of the divisor, rounded
/// up. The value of a container without that limit is what its pod or the node has to give
/// ([`allocatable`]): a program that sizes its heap by it must not read 0. Source:
/// `MergeContainerResourceLimits` in `pkg/api/v1/resource/helpers.go`.
///
/// `limits.memory` of 64Mi with the divisor `1Mi` is `64`; `limits.cpu` of 250m with the divisor
/// `1` is `1`.
pub(crate) fn resource_field(
    spec: &Spec,
    field: &str,
    divisor: Option<&str>,
    allocatable: &Amount,
) -> Result<String, String> {
    let (which, name) = field.split_once('.').ok_or_else(|| format!("unsupported resource: {field}"))?;
    let amounts = spec.resources.clone().unwrap_or_default();
    let map = match which {
        "limits" => amounts.limits,
        "requests" => amounts.requests,
        _ => return Err(format!("unsupported resource: {field}")),
    };
    let given = map.as_ref().and_then(|m| m.get(name)).and_then(|q| Quantity::parse(&q.0)).map(|q| q.milli());
    let of_node = match (which, name) {
        ("limits", "cpu") => allocatable.cpu,
        ("limits", "memory") => allocatable.memory.saturating_mul(1000),
        ("limits", "ephemeral-storage") => allocatable.storage.saturating_mul(1000),
        _ => 0,
    };
    let value = given.filter(|milli| *milli > 0).unwrap_or(of_node);
    let divisor = divisor.and_then(Quantity::parse).map_or(1000, |q| q.milli());
    let divisor = if divisor == 0 { 1000 } else { divisor };
    Ok(((i128::from(value) + i128::from(divisor) - 1) / i128::from(divisor)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> Spec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn requests_become_shares_and_limits_become_limits() {
        let c = spec(
            serde_json::json!({"name": "c", "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "64Mi"}}}),
        );
        let r = resources(&c);
        assert_eq!((r.cpu_shares, r.cpu_limit_milli, r.memory_limit), (256, Some(1000), Some(64 << 20)));
        let without = spec(serde_json::json!({"name": "c"}));
        assert_eq!(resources(&without).cpu_shares, 2);
        let node = Amount { cpu: 3500, memory: 2 << 30, ..Amount::default() };
        let of_node = |field: &str, divisor| resource_field(&without, field, divisor, &node).unwrap();
        assert_eq!(of_node("limits.memory", Some("1Mi")), "2048", "without a limit it may use the node's");
        assert_eq!([of_node("limits.cpu", None), of_node("requests.cpu", None)], ["4", "0"]);
        assert_eq!(resource_field(&c, "limits.memory", Some("1Mi"), &node), Ok("64".into()));
        assert_eq!(resource_field(&c, "limits.cpu", None, &node), Ok("1".into()));
        let all = serde_json::json!({"cpu": "8000000000000000", "memory": "8000000000000000"});
        let greedy = spec(serde_json::json!({"name": "c", "resources": {"requests": all, "limits": all}}));
        assert!(resources(&greedy).cpu_shares > 1 << 50);
        assert_eq!(resource_field(&greedy, "limits.memory", None, &node), Ok("8000000000000000".into()));
    }

    #[test]
    fn a_pod_has_a_limit_if_each_of_its_containers_has_one() {
        let limits = |memory: &str| match memory {
            "" => serde_json::json!({}),
            memory => serde_json::json!({"limits": {"memory": memory, "cpu": "500m"}}),
        };
        let pod = |main: &[&str], init: &[&str], more: serde_json::Value| -> Pod {
            let all = |list: &[&str]| -> Vec<serde_json::Value> {
                list.iter().map(|m| serde_json::json!({"name": "c", "resources": limits(m)})).collect()
            };
            let mut spec = serde_json::json!({"containers": all(main), "initContainers": all(init)});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(serde_json::json!({"spec": spec})).unwrap()
        };
        let none = || serde_json::json!({});
        let memory = |pod: &Pod| pod_limits(pod).memory.map(|bytes| bytes >> 20);
        assert_eq!(memory(&pod(&["1Mi", "2Mi"], &[], none())), Some(3));
        assert_eq!(pod_limits(&pod(&["1Mi", "2Mi"], &[], none())).cpu_milli, Some(1000));
        assert_eq!(memory(&pod(&["1Mi", ""], &[], none())), None);
        assert_eq!(memory(&pod(&["1Mi"], &["8Mi"], none())), Some(8), "an init container runs alone");
        assert_eq!(memory(&pod(&["1Mi"], &[""], none())), None);
        let overhead = serde_json::json!({"overhead": {"memory": "1Mi"}});
        assert_eq!(memory(&pod(&["1Mi"], &[], overhead.clone())), Some(2));
        assert_eq!(memory(&pod(&[""], &[], overhead)), None);
        let whole = serde_json::json!({"resources": {"limits": {"memory": "9Mi"}}});
        assert_eq!(
            pod_limits(&pod(&["1Mi", ""], &[], whole)),
            PodLimits { cpu_milli: None, memory: Some(9 << 20) }
        );
        assert_eq!(pod_limits(&pod(&["0"], &[], none())).memory, None);
        assert_eq!(pod_limits(&Pod::default()), PodLimits::default());
    }
}
