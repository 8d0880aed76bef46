use super::*;
use serde_json::json;

fn of(cpu: &str) -> Value {
    json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
}

fn sidecar(cpu: &str) -> Value {
    json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}})
}

/// Both readers of a pod must agree, and say that it requests `want` of cpu.
fn assert_cpu(what: &str, spec: Value, want: Option<&str>) {
    let pod = json!({ "spec": spec });
    let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
    let cpu = |all: Amounts| all.get("cpu").map(Quantity::to_string);
    assert_eq!(cpu(of_value(&pod, Field::Requests)).as_deref(), want, "{what}");
    assert_eq!(of_value(&pod, Field::Requests), of_pod(&typed, Field::Requests), "{what}");
    assert_eq!(of_value(&pod, Field::Limits), of_pod(&typed, Field::Limits), "{what}");
}

/// Upstream's cases (`TestPodRequestsAndLimits`, `TestPodResourceRequests`), as cpu of the
/// whole pod. Both readers of a pod must agree.
#[test]
fn a_pod_requests_what_upstream_says() {
    let limited = json!({"name": "c", "resources": {"limits": {"cpu": "3"}}});
    for (what, spec, want) in [
        ("nothing", json!({"containers": [{"name": "c"}]}), None),
        ("the sum", json!({"containers": [of("1"), of("500m")]}), Some("1500m")),
        (
            "the larger init container",
            json!({"containers": [of("1")], "initContainers": [of("2")]}),
            Some("2"),
        ),
        (
            "not the sum of init containers",
            json!({"containers": [of("1")], "initContainers": [of("2"), of("1500m")]}),
            Some("2"),
        ),
        (
            "a sidecar beside them",
            json!({"containers": [of("1")], "initContainers": [sidecar("1")]}),
            Some("2"),
        ),
        (
            "init after sidecar",
            json!({"containers": [of("1")], "initContainers": [sidecar("1"), of("5")]}),
            Some("6"),
        ),
        (
            "init before sidecar",
            json!({"containers": [of("1")], "initContainers": [of("5"), sidecar("1")]}),
            Some("5"),
        ),
        (
            "init between sidecars",
            json!({"containers": [of("1")], "initContainers": [sidecar("1"), of("5"), sidecar("2"), of("3"), of("1")]}),
            Some("6"),
        ),
        (
            "sidecars that are more",
            json!({"containers": [of("1")], "initContainers": [sidecar("3"), of("1"), sidecar("3")]}),
            Some("7"),
        ),
        ("overhead", json!({"containers": [of("1")], "overhead": {"cpu": "250m"}}), Some("1250m")),
        ("overhead alone", json!({"containers": [{"name": "c"}], "overhead": {"cpu": "250m"}}), Some("250m")),
        ("the limit of a container", json!({"containers": [limited, of("1")]}), Some("4")),
        (
            "the whole pod's, and not more by a sidecar",
            json!({"containers": [of("1")], "initContainers": [sidecar("9")], "resources": {"requests": {"cpu": "2"}}}),
            Some("2"),
        ),
        (
            "the whole pod's and overhead",
            json!({"containers": [of("1")], "overhead": {"cpu": "1"}, "resources": {"requests": {"cpu": "2"}}}),
            Some("3"),
        ),
        (
            "the whole pod's limit",
            json!({"containers": [{"name": "c"}], "resources": {"limits": {"cpu": "2"}}}),
            Some("2"),
        ),
        (
            "containers before the whole pod's limit",
            json!({"containers": [of("1")], "resources": {"limits": {"cpu": "2"}}}),
            Some("1"),
        ),
    ] {
        assert_cpu(what, spec, want);
    }
}

#[test]
fn the_quality_of_service_compares_amounts_and_honours_those_of_the_whole_pod() {
    let of = |whole: Value, one: Value| {
        let pod = json!({"spec": {"resources": whole, "containers": [{"name": "c", "resources": one}]}});
        let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
        assert_eq!(qos_class(&typed), qos_class_of_value(&pod), "both readers agree on {pod}");
        qos_class(&typed)
    };
    let alone =
        |limits: Value, requests: Value| of(Value::Null, json!({"limits": limits, "requests": requests}));
    let limits = json!({"cpu": "1", "memory": "1Gi"});
    let equal = json!({"cpu": "1000m", "memory": "1073741824"});
    assert_eq!(alone(limits.clone(), equal), "Guaranteed");
    assert_eq!(alone(limits.clone(), json!({})), "Guaranteed");
    assert_eq!(alone(limits.clone(), json!({"cpu": "500m"})), "Burstable");
    assert_eq!(alone(limits.clone(), json!({"cpu": "0"})), "Burstable");
    assert_eq!(alone(json!({}), json!({"cpu": "1"})), "Burstable");
    assert_eq!(alone(json!({}), json!({"cpu": "0"})), "BestEffort");
    assert_eq!(alone(json!({}), json!({})), "BestEffort");
    let whole = json!({"limits": limits});
    assert_eq!(of(whole.clone(), json!({})), "Guaranteed");
    assert_eq!(of(whole, json!({"requests": {"cpu": "500m"}})), "Guaranteed", "the whole pod's counts");
    assert_eq!(of(json!({"requests": {"cpu": "1"}}), json!({})), "Burstable");
    assert_eq!(of(json!({}), json!({"requests": {"cpu": "1"}})), "Burstable", "an empty word says nothing");
}

#[test]
fn limits_have_overhead_only_where_there_is_a_limit_and_storage_is_of_containers_only() {
    let pod = json!({"spec": {
        "overhead": {"cpu": "1", "memory": "1Mi"},
        "resources": {"limits": {"ephemeral-storage": "9Gi"}},
        "containers": [{"name": "c", "resources": {"limits": {"memory": "1Mi"}, "requests": {"ephemeral-storage": "1Gi"}}}],
    }});
    let limits = of_value(&pod, Field::Limits);
    assert_eq!((limits.get("cpu"), limits["memory"].to_string().as_str()), (None, "2Mi"));
    let mut unlimited = pod.clone();
    unlimited["spec"]["containers"][0]["resources"]["limits"] = json!({"cpu": "0"});
    assert!(of_value(&unlimited, Field::Limits)["cpu"].is_zero(), "a limit of 0 is none");
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let asks = Amount::of_pod(&pod);
    assert_eq!(asks, Amount { pods: 1, cpu: 1000, memory: 2 << 20, storage: 1 << 30 });
    let scored = Amount::of_pod_at_least(&pod);
    assert_eq!((scored.cpu, scored.memory), (1100, 2 << 20), "only what is missing has a default");
}

#[test]
fn what_a_node_lacks_is_listed_in_order_and_nobody_asks_for_so_much_that_it_fits_again() {
    let node = Amount { pods: 2, cpu: 1000, memory: 100, storage: 100 };
    let asks = Amount { pods: 1, cpu: 600, memory: 50, storage: 0 };
    let names = |used: Amount| lacking(asks, used, node).iter().map(|l| l.resource).collect::<Vec<_>>();
    assert_eq!(names(Amount::default()), [""; 0]);
    assert_eq!(names(Amount { pods: 2, cpu: 500, memory: 51, storage: 1000 }), ["pods", "cpu", "memory"]);
    assert_eq!(names(Amount { memory: i64::MAX, ..Amount::default() }), ["memory"]);
    let huge = Amount { memory: i64::MAX, ..asks };
    assert_eq!(huge.and(huge).memory, i64::MAX);
    assert_eq!(asks.without(huge), Amount { cpu: 0, memory: 0, pods: 0, storage: 0 });
    let lack = lacking(asks, Amount { cpu: 500, ..Amount::default() }, node).remove(0);
    assert_eq!(lack, Lack { resource: "cpu", requested: 600, used: 500, capacity: 1000 });
}
