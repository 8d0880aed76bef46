use super::*;
use serde_json::json;

#[test]
fn a_line_of_the_metrics_api_is_read() {
    let pod = json!({"metadata": {"name": "p"}, "timestamp": "2026-01-01T00:00:00Z", "window": "1m2.5s",
        "containers": [{"name": "c", "usage": {"cpu": "1500000n", "memory": "4Ki"}}]});
    let (name, sample) = sample(&pod).unwrap();
    assert_eq!((name.as_str(), sample.window.as_millis()), ("p", 62_500));
    let of = |what: &str| sample.used[&("c".to_string(), what.to_string())];
    assert_eq!((of("cpu"), of("memory")), (2, 4_096_000));
}

/// One look at an autoscaler of this target; what was asked of the server, and its status.
async fn look(server: &client::testing::Scripted, api_version: &str, kind: &str) -> Vec<String> {
    let shared = Shared::fixed(&server.client);
    let target = json!({"apiVersion": api_version, "kind": kind, "name": "x"});
    let object = json!({"metadata": {"name": "h", "namespace": "d", "uid": "u"},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5}});
    shared.autoscalers.tell_of(serde_json::from_value(object).unwrap());
    let recorder = Recorder::new(&shared.crew, &server.client, COMPONENT.name(), "");
    let worker = Worker { shared, recorder, kinds: Mapper::default(), known: Mutex::default() };
    worker.sync(Key::new("d", "h"), None).await.unwrap();
    let asked = server.take();
    // The status is what is written last.
    let told = asked.last().unwrap().body["status"]["conditions"].clone();
    let mut all: Vec<String> = asked.into_iter().map(|a| a.line).collect();
    all.extend(told.as_array().into_iter().flatten().filter_map(|c| c["message"].as_str().map(String::from)));
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
    let path = "/apis/example.com/v1/namespaces/d/widgets/x/scale";
    assert!(own.contains(&format!("GET {path}")), "{own:?}");
    // The target refuses its new size: what was wanted and why, and what went wrong.
    let told = server.event("FailedRescale").await;
    let want = "New size: 2; reason: Current number of replicas below Spec.MinReplicas; error: out of order";
    assert_eq!(told, want);
    let built_in = look(&server, "apps/v1", "StatefulSet").await;
    assert_eq!(built_in[0], "GET /apis/apps/v1/namespaces/d/statefulsets/x/scale");
    let none = look(&server, "v1", "Pod").await;
    assert!(none.iter().any(|l| l.contains("no matches for kind")), "{none:?}");
    let other = look(&server, "example.com/v1", "Gadget").await;
    assert!(other.iter().any(|l| l.contains("no matches for kind")), "{other:?}");
}

#[test]
fn a_targets_name_and_version_stay_in_their_places() {
    let path = scale_path("d", "example.com/v1/../x", "widgets", "a/../b?c");
    assert_eq!(path, "/apis/example.com/v1%2F..%2Fx/namespaces/d/widgets/a%2F..%2Fb%3Fc/scale");
}
