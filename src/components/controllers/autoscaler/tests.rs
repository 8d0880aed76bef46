use super::*;
use serde_json::json;

#[test]
fn a_line_of_the_metrics_api_is_read() {
    let pod = json!({"metadata": {"name": "p"}, "timestamp": "2026-01-01T00:00:00Z", "window": "1m2.5s",
        "containers": [{"name": "c", "usage": {"cpu": "1500000n", "memory": "4Ki"}}]});
    let (name, sample) = sample(&pod).unwrap();
    assert_eq!((name.as_str(), sample.window.as_millis()), ("p", 62_500));
    let of = |what: &str| sample.used["c"][what];
    assert_eq!((of("cpu"), of("memory")), (2, 4_096_000));
}

/// Takes one look at an autoscaler of this target. Returns what was asked of the server, and its
/// status.
async fn look(server: &client::testing::Scripted, api_version: &str, kind: &str) -> Vec<String> {
    let shared = Shared::fixed(&server.client);
    let target = json!({"apiVersion": api_version, "kind": kind, "name": "x"});
    let object = json!({"metadata": {"name": "h", "namespace": "d", "uid": "u"},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5}});
    shared.informer::<HorizontalPodAutoscaler>().show(serde_json::from_value(object).unwrap());
    let recorder = Recorder::new(&shared.crew, &server.client, COMPONENT.name(), "");
    let worker = Worker { shared, recorder, kinds: Mapper::default(), known: Mutex::default() };
    worker.sync(Key::new("d", "h"), None).await.unwrap();
    let asked = server.take();
    // The status is what is written last.
    let conditions = asked.last().unwrap().body["status"]["conditions"].clone();
    let mut all: Vec<String> = asked.into_iter().map(|a| a.line).collect();
    all.extend(
        conditions.as_array().into_iter().flatten().filter_map(|c| c["message"].as_str().map(String::from)),
    );
    all
}

#[tokio::test]
async fn any_kind_with_a_scale_is_a_target() {
    let entry = json!({"resource": "widgets", "responseKind": {"kind": "Widget"}, "scope": "Namespaced"});
    let group =
        json!({"metadata": {"name": "example.com"}, "versions": [{"version": "v2", "resources": [entry]}]});
    let server = client::testing::Scripted::new(move |asked| match asked.line.as_str() {
        "GET /apis" => Some((200, json!({"items": [group]}))),
        line if line.starts_with("GET") && line.ends_with("/scale") => {
            Some((200, json!({"metadata": {}, "spec": {"replicas": 1}})))
        }
        line if line.ends_with("/scale") => client::testing::refusal(500, "out of order"),
        _ => None,
    })
    .await;
    let own = look(&server, "example.com/v1", "Widget").await;
    let path = "/apis/example.com/v2/namespaces/d/widgets/x/scale"; // the version that is served
    assert!(own.contains(&format!("GET {path}")), "{own:?}");
    // The target refuses its new size: what was wanted and why, and what went wrong.
    let message = server.event("FailedRescale").await;
    let want = "New size: 2; reason: Current number of replicas below Spec.MinReplicas; error: out of order";
    assert_eq!(message, want);
    let built_in = look(&server, "apps/v1", "StatefulSet").await;
    assert_eq!(built_in[0], "GET /apis/apps/v1/namespaces/d/statefulsets/x/scale");
    let old = look(&server, "apps/v1beta2", "Deployment").await;
    assert_eq!(old[0], "GET /apis/apps/v1/namespaces/d/deployments/x/scale");
    let none = look(&server, "v1", "Pod").await;
    assert!(none.iter().any(|l| l.contains("no matches for kind")), "{none:?}");
    let other = look(&server, "example.com/v1", "Gadget").await;
    assert!(other.iter().any(|l| l.contains("no matches for kind")), "{other:?}");
}

#[test]
fn a_targets_name_and_version_stay_in_their_places() {
    let path = target::scale_path("d", "example.com/v1/../x", "widgets", "a/../b?c");
    assert_eq!(path, "/apis/example.com/v1%2F..%2Fx/namespaces/d/widgets/a%2F..%2Fb%3Fc/scale");
}

fn metric(resource: &str, percent: i32) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": resource, "target": target}})
}

#[test]
fn an_average_of_memory_has_binary_suffixes() {
    for (resource, thousandths, want) in [
        ("memory", 8_388_608_000, "8Mi"),
        ("memory", 8_388_608_500, "8388608500m"),
        ("cpu", 2_048_000, "2048"),
        ("cpu", 50, "50m"),
    ] {
        let asked = serde_json::from_value(metric(resource, 50)).unwrap();
        let verdict = metric::Verdict { replicas: 1, average: thousandths, utilization: None };
        let current = shown(&asked, &verdict).resource.unwrap().current;
        assert_eq!(current.average_value.unwrap().0, want, "{resource}");
    }
}

/// As upstream, whose words for a container's average are those for a pod's.
#[test]
fn a_metric_is_named_in_the_reason_of_a_new_size() {
    let name = |container: Option<&str>, target: metric::Target| {
        let container = container.map(String::from);
        let tolerance = metric::Tolerance::default();
        name_of(&Metric { resource: "cpu".into(), container, target, tolerance })
    };
    let (percent, amount) = (metric::Target::Utilization(50), metric::Target::Average(50));
    assert_eq!(name(None, percent.clone()), "cpu resource utilization (percentage of request)");
    assert_eq!(name(Some("c"), percent), "cpu container resource utilization (percentage of request)");
    assert_eq!([name(None, amount.clone()), name(Some("c"), amount)], ["cpu resource"; 2]);
}

/// Starts a server whose target has one pod, which uses half of the CPU that it requests. `refuse`:
/// no other size is taken.
async fn server(refuse: bool) -> client::testing::Scripted {
    let usage = json!({"metadata": {"name": "p"}, "timestamp": "2026-01-01T01:00:00Z", "window": "10s",
        "containers": [{"name": "c", "usage": {"cpu": "50m"}}]});
    client::testing::Scripted::new(move |asked| match asked.line.as_str() {
        line if line.starts_with("GET") && line.ends_with("/scale") => Some((200, scale_of(json!("a=b")))),
        line if line.ends_with("/scale") && refuse => client::testing::refusal(500, "out of order"),
        line if line.contains("metrics.k8s.io") => Some((200, json!({"items": [usage]}))),
        _ => None,
    })
    .await
}

fn worker(server: &client::testing::Scripted, names: &[&str], metrics: &Value, behavior: &Value) -> Worker {
    let shared = Shared::fixed(&server.client);
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let pod = json!({"metadata": {"name": "p", "namespace": "d", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
        "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [ready]}});
    shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
    for name in names {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
        let object = json!({"metadata": {"name": name, "namespace": "d", "uid": name, "generation": 1},
            "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5, "metrics": metrics, "behavior": behavior}});
        shared.informer::<HorizontalPodAutoscaler>().show(serde_json::from_value(object).unwrap());
    }
    let recorder = Recorder::new(&shared.crew, &server.client, COMPONENT.name(), "");
    Worker { shared, recorder, kinds: Mapper::default(), known: Mutex::default() }
}

/// Returns the scale of a target that has one pod.
fn scale_of(selector: Value) -> Value {
    let status = json!({"replicas": 1, "selector": selector});
    json!({"metadata": {}, "spec": {"replicas": 1}, "status": status})
}

/// The size 0 counts as what was wanted then, although the autoscaler was off.
#[tokio::test]
async fn a_target_that_is_brought_back_from_zero_is_held_by_no_window() {
    use std::sync::atomic::{AtomicI32, Ordering};
    let size = Arc::new(AtomicI32::new(0));
    let (stored, usage) = (size.clone(), json!({"cpu": "50m"}));
    let sample = json!({"metadata": {"name": "p"}, "timestamp": "2026-01-01T01:00:00Z", "window": "10s",
        "containers": [{"name": "c", "usage": usage}]});
    let server = client::testing::Scripted::new(move |asked| match asked.line.as_str() {
        line if line.starts_with("GET") && line.ends_with("/scale") => {
            let mut scale = scale_of(json!("a=b"));
            scale["spec"]["replicas"] = json!(stored.load(Ordering::Relaxed));
            Some((200, scale))
        }
        line if line.contains("metrics.k8s.io") => Some((200, json!({"items": [sample]}))),
        _ => None,
    })
    .await;
    let worker = worker(&server, &["h"], &json!([metric("cpu", 100)]), &Value::Null);
    for (replicas, want) in [(0, None), (5, Some(1))] {
        size.store(replicas, Ordering::Relaxed);
        worker.sync(Key::new("d", "h"), None).await.unwrap();
        let asked = server.take();
        let written = asked.iter().find(|a| a.line.starts_with("PUT"));
        assert_eq!(written.and_then(|a| a.body["spec"]["replicas"].as_i64()), want, "{replicas} are there");
        let is_unset = |a: &client::testing::Asked| a.body["status"]["observedGeneration"].is_null();
        assert!(asked.iter().all(is_unset), "an autoscaler has no generations: {asked:?}");
    }
}

/// Those that people search for.
#[tokio::test]
async fn failures_have_upstreams_words() {
    use client::testing::{Scripted, refusal};
    let mut container = metric("cpu", 50)["resource"].clone();
    container["container"] = json!("c");
    let of_container = json!({"type": "ContainerResource", "containerResource": container});
    for (metric, reason, value) in [
        (metric("cpu", 50), "FailedGetResourceMetric", "cpu resource metric value"),
        (of_container, "FailedGetContainerResourceMetric", "c container metric value"),
    ] {
        let server = Scripted::new(|asked| match asked.line.as_str() {
            line if line.ends_with("/scale") => Some((200, scale_of(json!("a=b")))),
            line if line.contains("metrics.k8s.io") => refusal(500, "out of order"),
            _ => None,
        })
        .await;
        let worker = worker(&server, &["h"], &json!([metric]), &Value::Null);
        worker.sync(Key::new("d", "h"), None).await.unwrap();
        let why = "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: out of order";
        assert_eq!(server.event(reason).await, why);
        let all =
            format!("invalid metrics (1 invalid out of 1), first error is: failed to get {value}: {why}");
        assert_eq!(server.event("FailedComputeMetricsReplicas").await, all);
    }
}

#[tokio::test]
async fn a_selector_that_is_missing_or_wrong_is_reported() {
    for (selector, reason, start) in [
        (Value::Null, "SelectorRequired", "selector is required"),
        (json!("!!"), "InvalidSelector", "couldn't convert selector into a corresponding"),
    ] {
        let server = client::testing::Scripted::new(move |asked| {
            asked.line.ends_with("/scale").then(|| (200, scale_of(selector.clone())))
        })
        .await;
        let worker = worker(&server, &["h"], &json!([metric("cpu", 50)]), &Value::Null);
        worker.sync(Key::new("d", "h"), None).await.unwrap();
        for reason in [reason, "FailedComputeMetricsReplicas"] {
            let event = server.event(reason).await;
            assert!(event.starts_with(start), "{reason}: {event}");
        }
    }
}

#[tokio::test]
async fn a_target_without_replicas_has_been_found_and_is_left_alone() {
    let server = client::testing::Scripted::new(|asked| {
        let scale = json!({"metadata": {}, "spec": {"replicas": 0}});
        asked.line.ends_with("/scale").then_some((200, scale))
    })
    .await;
    let lines = look(&server, "apps/v1", "Deployment").await;
    let says = |text: &str| lines.iter().any(|line| line == text);
    assert!(says("the HPA controller was able to get the target's current scale"), "{lines:?}");
    assert!(!says("recommended size matches current size"), "{lines:?}");
    assert!(says("scaling is disabled since the replica count of the target is zero"), "{lines:?}");
}

/// Every look finds what the one before it has written, an hour ago.
#[tokio::test]
async fn a_status_is_written_only_if_something_is_new() {
    for (refuse, metrics) in [
        (false, json!([metric("cpu", 50)])),
        (true, json!([metric("cpu", 5)])),
        (false, json!([metric("memory", 50), metric("cpu", 50)])),
    ] {
        let server = server(refuse).await;
        let worker = worker(&server, &["h"], &metrics, &Value::Null);
        let mut written = 0;
        for _ in 0..4 {
            worker.sync(Key::new("d", "h"), None).await.unwrap();
            for mut put in server.take().into_iter().filter(|a| a.line.ends_with("/h/status")) {
                for condition in put.body["status"]["conditions"].as_array_mut().unwrap() {
                    condition["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
                }
                assert!(put.body["metadata"]["labels"].is_null(), "others write the metadata");
                let mut next =
                    (*worker.shared.informer::<HorizontalPodAutoscaler>().get(&Key::new("d", "h")).unwrap())
                        .clone();
                next.status = serde_json::from_value(put.body["status"].clone()).unwrap();
                worker.shared.informer::<HorizontalPodAutoscaler>().show(next);
                written += 1;
            }
        }
        assert_eq!(written, 1, "{metrics}");
    }
}

/// `memory` is not measured, and `cpu` is at its target: that is a recommendation, which a window
/// remembers.
#[tokio::test]
async fn a_metric_without_a_number_does_not_silence_one_at_its_target() {
    let server = server(false).await;
    let worker = worker(&server, &["h"], &json!([metric("memory", 50), metric("cpu", 50)]), &Value::Null);
    worker.sync(Key::new("d", "h"), None).await.unwrap();
    assert!(server.event("FailedGetResourceMetric").await.contains("memory"));
    let put = server.take().into_iter().find(|a| a.line.ends_with("/h/status")).expect("a status");
    let active =
        put.body["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "ScalingActive");
    let active = active.expect("the condition");
    assert_eq!((&active["status"], &active["reason"]), (&json!("True"), &json!("ValidMetricFound")));
    assert_eq!(put.body["status"]["currentReplicas"], put.body["status"]["desiredReplicas"]);
}

/// Clients pair the metrics of the spec and of the status by position.
#[tokio::test]
async fn a_metric_without_a_number_keeps_its_place_in_the_status() {
    let server = server(false).await;
    let worker = worker(&server, &["h"], &json!([metric("memory", 50), metric("cpu", 50)]), &Value::Null);
    worker.sync(Key::new("d", "h"), None).await.unwrap();
    let put = server.take().into_iter().find(|a| a.line.ends_with("/h/status")).expect("a status");
    let current = json!({"averageUtilization": 50, "averageValue": "50m"});
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "current": current}});
    assert_eq!(put.body["status"]["currentMetrics"], json!([{"type": ""}, cpu]));
}

/// Once because no container requests memory, once because there are fewer replicas than may be.
#[tokio::test]
async fn a_status_does_not_keep_a_value_that_is_not_measured_any_more() {
    for (least, want) in [(1, json!([{"type": ""}])), (2, Value::Null)] {
        let server = server(false).await;
        let worker = worker(&server, &["h"], &json!([metric("memory", 50)]), &Value::Null);
        let key = Key::new("d", "h");
        let mut changed = (*worker.shared.informer::<HorizontalPodAutoscaler>().get(&key).unwrap()).clone();
        let memory = json!({"name": "memory", "current": {"averageUtilization": 250}});
        let shown = json!([{"type": "Resource", "resource": memory}]);
        changed.status =
            serde_json::from_value(json!({"desiredReplicas": 1, "currentMetrics": shown})).unwrap();
        changed.spec.as_mut().unwrap().min_replicas = Some(least);
        worker.shared.informer::<HorizontalPodAutoscaler>().show(changed);
        worker.sync(key, None).await.unwrap();
        let put = server.take().into_iter().find(|a| a.line.ends_with("/h/status")).expect("a status");
        assert_eq!(put.body["status"].get("currentMetrics"), Some(&want), "at least {least}");
    }
}

#[tokio::test]
async fn a_behavior_says_how_near_is_near_enough() {
    let sizes = async |percent: i32, behavior: Value| -> Vec<Value> {
        let server = server(false).await;
        let worker = worker(&server, &["h"], &json!([metric("cpu", percent)]), &behavior);
        worker.sync(Key::new("d", "h"), None).await.unwrap();
        let puts =
            server.take().into_iter().filter(|a| a.line.starts_with("PUT") && a.line.ends_with("/scale"));
        puts.map(|a| a.body["spec"]["replicas"].clone()).collect()
    };
    assert_eq!(sizes(48, Value::Null).await, [] as [Value; 0], "50 of 48 per cent is less than a tenth more");
    assert_eq!(sizes(48, json!({"scaleUp": {"tolerance": "0.01"}})).await, [json!(2)]);
    assert_eq!(sizes(30, json!({"scaleUp": {"tolerance": "800m"}})).await, [] as [Value; 0]);
}

/// The only pod uses ten times as much as it should; once the target takes no other size.
#[tokio::test]
async fn a_size_that_the_target_did_not_get_is_not_shown_as_the_last_one() {
    for (refuse, want) in [(true, 3), (false, 4)] {
        let server = server(refuse).await;
        let worker = worker(&server, &["h"], &json!([metric("cpu", 5)]), &Value::Null);
        let key = Key::new("d", "h");
        let mut known = (*worker.shared.informer::<HorizontalPodAutoscaler>().get(&key).unwrap()).clone();
        known.status = serde_json::from_value(json!({"desiredReplicas": 3})).unwrap();
        worker.shared.informer::<HorizontalPodAutoscaler>().show(known);
        worker.sync(key, None).await.unwrap();
        let put = server.take().into_iter().find(|a| a.line.ends_with("/h/status")).expect("a status");
        assert_eq!(put.body["status"]["desiredReplicas"], json!(want), "{refuse}");
    }
}

/// The target's status was written between the read of its scale and the write.
#[tokio::test]
async fn a_scale_that_has_changed_is_read_again() {
    use client::testing::{Scripted, refusal};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    for (conflicts, reason) in [(1, "SuccessfulRescale"), (99, "FailedRescale")] {
        let version = AtomicUsize::new(0);
        let server = Scripted::new(move |asked| {
            let now = match asked.line.starts_with("GET") {
                true => version.fetch_add(1, SeqCst) + 1,
                false => version.load(SeqCst),
            };
            match asked.line.as_str() {
                line if !line.ends_with("/scale") => None,
                line if line.starts_with("PUT") && now <= conflicts => refusal(409, "changed"),
                line if line.starts_with("PUT") => Some((200, asked.body.clone())),
                _ => {
                    let meta = json!({"resourceVersion": now.to_string()});
                    Some((200, json!({"metadata": meta, "spec": {"replicas": 1}})))
                }
            }
        })
        .await;
        let asked = look(&server, "apps/v1", "Deployment").await;
        let event = server.event(reason).await;
        assert!(event.starts_with("New size: 2; reason: Current number of replicas below"), "{event}");
        let puts = asked.iter().filter(|l| l.starts_with("PUT") && l.ends_with("/scale")).count();
        assert_eq!(puts, 1 + conflicts.min(4), "{reason}");
    }
}

#[tokio::test]
async fn two_autoscalers_of_the_same_pods_scale_nothing() {
    let server = server(false).await;
    let worker = worker(&server, &["one", "two"], &json!([metric("cpu", 5)]), &Value::Null);
    for (name, scaled) in [("one", 1), ("two", 0), ("one", 0)] {
        worker.sync(Key::new("d", name), None).await.unwrap();
        let puts =
            server.lines().into_iter().filter(|l| l.starts_with("PUT") && l.ends_with("/scale")).count();
        assert_eq!(puts, scaled, "{name}");
    }
    let message = server.event("AmbiguousSelector").await;
    assert_eq!(message, "pods by selector a=b are controlled by multiple HPAs: [d/one d/two]");
    assert_eq!(server.event("FailedComputeMetricsReplicas").await, message);
    worker.shared.informer::<HorizontalPodAutoscaler>().show_deleted(
        serde_json::from_value(json!({"metadata": {"name": "two", "namespace": "d"}})).unwrap(),
    );
    worker.sync(Key::new("d", "two"), None).await.unwrap();
    worker.sync(Key::new("d", "one"), None).await.unwrap();
    assert!(
        server.lines().iter().any(|l| l.starts_with("PUT") && l.ends_with("/scale")),
        "it is alone again"
    );
}
