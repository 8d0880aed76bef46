//! Objects that take more memory than their bytes: twenty times as much for many short keys, six
//! times for characters that are escaped when they are sent.

use super::*;
use crate::registry::bootstrap;
use crate::storage::extra::Extra;
use crate::storage::store::Refused;

/// A ConfigMap with so many keys.
fn keys(name: &str, count: usize) -> Value {
    let data: serde_json::Map<String, Value> = (0..count).map(|n| (format!("k{n}"), json!("v"))).collect();
    json!({"metadata": {"name": name}, "data": data})
}

/// Twenty ConfigMaps of 60,000 keys each, 25 MB in the store, took half a gigabyte of the server's
/// memory, and nothing bounded their number but the store.
#[tokio::test]
async fn objects_of_many_keys_take_no_more_memory_than_they_may() {
    const KEYS: usize = 2000;
    let (dir, kv) = (tempfile::tempdir().unwrap(), small_store());
    let of = testing::start_on(dir.path(), Arc::new(kv)).await;
    let values = &of.server.state.cache.values;
    let before = values.taken();
    assert_eq!(send(&of, "POST", MAPS, keys("many", KEYS)).await.0, 201);
    let grown = values.taken() - before;
    assert!(grown > KEYS * 150, "{KEYS} keys count {grown} bytes");
    // As if there were thousands of them.
    values.change(0, 200 << 20);
    let (code, answer) = send(&of, "POST", MAPS, keys("more", KEYS)).await;
    assert_eq!((code, answer["reason"].as_str()), (507, Some("InsufficientStorage")), "{answer}");
    let why = answer["message"].as_str().unwrap();
    assert!(why.contains("may take 128 MiB") && why.contains("delete objects with many keys"), "{why}");
    // Writes that take less memory, heartbeats and deletions go on.
    let many = format!("{MAPS}/many");
    let fewer: serde_json::Map<String, Value> = (0..100).map(|n| (format!("k{n}"), Value::Null)).collect();
    assert_eq!(send(&of, "PATCH", &many, json!({ "data": fewer })).await.0, 200);
    assert_eq!(send(&of, "PATCH", &many, json!({"data": {"other": "v"}})).await.0, 507, "it grows");
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = json!({"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}});
    assert_eq!(send(&of, "POST", leases, lease).await.0, 201);
    // Ordinary objects have a part of their own.
    values.change(70 << 20, 0);
    assert_eq!(send(&of, "POST", MAPS, map("ordinary", 10)).await.0, 201);
    assert_eq!(send(&of, "POST", MAPS, keys("more", KEYS)).await.0, 507);
    let full = values.taken();
    assert_eq!(send(&of, "DELETE", &many, Value::Null).await.0, 200);
    assert!(values.taken() < full, "{} bytes, {full} before", values.taken());
    values.change(130 << 20, 0);
    assert_eq!(send(&of, "POST", MAPS, keys("more", KEYS)).await.0, 201);
}

/// One of two finalizers goes, and with the same write a manager begins whose entry takes more
/// memory than the finalizer did. Small objects of a user have taken all that small writes may.
#[tokio::test]
async fn a_write_that_takes_something_away_goes_on_beside_full_memory() {
    let (dir, kv) = (tempfile::tempdir().unwrap(), small_store());
    let of = testing::start_on(dir.path(), Arc::new(kv)).await;
    let rights = json!({"metadata": {"name": "eve"}, "subjects": [{"kind": "User", "name": "eve"}],
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"}});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(send(&of, "POST", bindings, rights).await.0, 201);
    let finalizers = json!(["example.com/a", "example.com/b"]);
    let held = json!({"metadata": {"name": "held", "finalizers": finalizers}, "data": {"k": "v"}});
    assert_eq!(send(&of, "POST", MAPS, held).await.0, 201);
    let values = &of.server.state.cache.values;
    values.change(0, (160 << 20) - values.taken());
    let (path, media) = (format!("{MAPS}/held?fieldManager=another"), "application/merge-patch+json");
    let patch = async |user: User, change: &Value| {
        testing::send(&of.server, user, ("PATCH", path.as_str()), (media, change.to_string()), "").await
    };
    let eve = || User::new("eve", &[]);
    let grows = json!({"metadata": {"finalizers": finalizers}, "data": {"k": "w"}});
    assert_eq!(patch(eve(), &grows).await.0, 507);
    let before = values.taken();
    let fewer = json!({"metadata": {"finalizers": ["example.com/a"]}, "data": {"k": "w"}});
    let (code, written) = patch(eve(), &fewer).await;
    assert_eq!(code, 200, "{written}");
    assert!(values.taken() > before, "its managed fields have grown by more");
    // What components and administrators change goes on, and nothing new is made.
    assert_eq!(patch(admin(), &json!({"data": {"l": "x"}})).await.0, 200);
    assert_eq!(send(&of, "POST", MAPS, map("new", 10)).await.0, 507);
}

/// `kubectl drain`: the budget notes the pod that goes, and the pod says why. Both grow.
#[tokio::test]
async fn an_administrator_evicts_beside_full_memory() {
    let (dir, kv) = (tempfile::tempdir().unwrap(), small_store());
    let of = testing::start_on(dir.path(), Arc::new(kv)).await;
    let core = "/api/v1/namespaces/default";
    let account = json!({"metadata": {"name": "default"}});
    assert_eq!(send(&of, "POST", &format!("{core}/serviceaccounts"), account).await.0, 201);
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let selector = json!({"matchLabels": {"app": "web"}});
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": selector}});
    assert_eq!(send(&of, "POST", budgets, budget).await.0, 201);
    let counted = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1,
        "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    assert_eq!(send(&of, "PATCH", &format!("{budgets}/b/status"), counted).await.0, 200);
    let pod = json!({"metadata": {"name": "p", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    assert_eq!(send(&of, "POST", &format!("{core}/pods"), pod).await.0, 201);
    let one = format!("{core}/pods/p");
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(send(&of, "PATCH", &format!("{one}/status"), ready).await.0, 200);
    let values = &of.server.state.cache.values;
    values.change(0, (160 << 20) - values.taken());
    let (code, answer) =
        send(&of, "POST", &format!("{one}/eviction"), json!({"metadata": {"name": "p"}})).await;
    assert_eq!(code, 201, "{answer}");
    let noted = send(&of, "GET", &format!("{budgets}/b"), Value::Null).await.1;
    assert!(noted["status"]["disruptedPods"]["p"].is_string(), "{noted}");
}

/// A newer program has rules that the default roles lack: the server adds them when it starts, and
/// is not ready before. Later it mends the endpoints of the API.
#[tokio::test]
async fn a_server_starts_beside_full_memory() {
    const EDIT: &str = "system:aggregate-to-edit";
    let (dir, kv) = (tempfile::tempdir().unwrap(), small_store());
    let of = testing::start_on(dir.path(), Arc::new(kv)).await;
    let state = &of.server.state;
    let stored = || state.cache.get("clusterroles", EDIT).unwrap();
    let (kind, whole) = (api::kinds::stored("clusterroles").unwrap(), stored());
    let mut old = whole.value.clone();
    old["rules"] = json!([]);
    state.write(kind, old, whole.revision, &Extra::default()).await.unwrap();
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    let bare = json!({"metadata": {"labels": null}});
    assert_eq!(send(&of, "PATCH", slice, bare).await.0, 200);
    state.cache.values.change(0, 300 << 20);
    let refused = state.write(kind, whole.value.clone(), stored().revision, &Extra::default()).await;
    assert!(matches!(refused, Err(Refused::Error(status)) if status.code == 507));
    bootstrap::run(state).await.unwrap();
    assert_eq!(stored().value["rules"], whole.value["rules"]);
    bootstrap::keep(state).await.unwrap();
    let labels = send(&of, "GET", slice, Value::Null).await.1["metadata"]["labels"].clone();
    assert_eq!(labels["kubernetes.io/service-name"], "kubernetes");
}

#[tokio::test]
async fn what_an_undo_brings_back_counts_and_is_not_refused() {
    let (dir, kv) = (tempfile::tempdir().unwrap(), small_store());
    let of = testing::start_on(dir.path(), Arc::new(kv)).await;
    let values = &of.server.state.cache.values;
    assert_eq!(send(&of, "POST", MAPS, keys("many", 2000)).await.0, 201);
    let with = values.taken();
    assert_eq!(send(&of, "DELETE", &format!("{MAPS}/many"), Value::Null).await.0, 200);
    assert!(values.taken() + 2000 * 150 < with);
    values.change(0, 300 << 20);
    let (code, answer) = send(&of, "POST", "/ropewalk/v1/undo", json!({})).await;
    assert_eq!(code, 200, "{answer}");
    values.change(300 << 20, 0);
    assert!(values.taken().abs_diff(with) < 10_000, "{} bytes, not {with}", values.taken());
}

/// A page of nothing but `<` takes one byte each in the store, and six in what is kept for reads.
#[tokio::test]
async fn escaped_characters_count_as_they_are_sent() {
    const COUNT: usize = 200_000;
    let (dir, kv) = (tempfile::tempdir().unwrap(), small_store());
    let of = testing::start_on(dir.path(), Arc::new(kv)).await;
    let values = &of.server.state.cache.values;
    let page = |name: &str| json!({"metadata": {"name": name}, "data": {"page": "<".repeat(COUNT)}});
    let before = values.taken();
    assert_eq!(send(&of, "POST", MAPS, page("a")).await.0, 201);
    let grown = values.taken() - before;
    assert!((5 * COUNT..6 * COUNT).contains(&grown), "{grown} bytes");
    values.change(0, 128 << 20);
    let (code, answer) = send(&of, "POST", MAPS, page("b")).await;
    let why = answer["message"].as_str().unwrap();
    assert!(code == 507 && why.contains("escaped characters"), "{answer}");
    assert_eq!(send(&of, "POST", MAPS, map("plain", COUNT)).await.0, 201);
}

/// A review is answered with what was asked. The answer needs its memory before it is made, as it
/// is sent: of eve's 32 MiB each takes 8.4 MB.
#[tokio::test]
async fn the_answer_of_a_write_holds_its_escaped_bytes_in_time() {
    let (dir, kv) = (tempfile::tempdir().unwrap(), small_store());
    let of = testing::start_on(dir.path(), Arc::new(kv)).await;
    let attributes = json!({"verb": "get", "resource": "pods", "name": "<".repeat(1_400_000)});
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes}});
    let mut unread = vec![];
    for _ in 0..5 {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let asked = Request::post(path).header("content-type", "application/json");
        let asked = asked.body(full(review.to_string())).unwrap();
        unread.push(of.server.call(asked, User::new("eve", &["system:authenticated"])).await);
    }
    let codes: Vec<u16> = unread.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(codes, [201, 201, 201, 429, 429]);
}
