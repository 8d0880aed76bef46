//! The server as a whole: without a connection, through TLS to a fake kubelet, and with every real
//! kubectl on PATH.

mod accounts;
mod clients;
mod kubelets;
mod objects;
mod proxies;
mod reads;
mod rights;

use crate::auth::user::User;
use crate::request::http::{Body, full};
use crate::testing::{self, Api};
use ::http::Request;
use base64::Engine;
use bytes::Bytes;
use etcd::Kv;
use http_body_util::BodyExt;
use rng::Rng;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn admin() -> User {
    User::new("admin", &["system:masters"])
}

fn request(method: &str, path: &str, content_type: &str, body: impl Into<Bytes>) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    builder.header("content-type", content_type).body(full(body)).unwrap()
}

const CM: &str = "/api/v1/namespaces/default/configmaps";

fn cm(name: &str, n: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"n": n}}, "data": {"n": n}})
}

fn rv(object: &Value) -> i64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// Several servers do not write each other out of the `kubernetes` service.
#[tokio::test(flavor = "multi_thread")]
async fn the_kubernetes_service_leads_to_every_api_server() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kv: Arc<dyn etcd::Storage> = Arc::new(Kv::in_memory(Rng::seeded(1).fork("etcd")));
    let first = testing::start_on(one.path(), kv.clone()).await;
    let free = std::net::TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let second = testing::start_at(two.path(), kv, free).await;
    for fixture in [&first, &second] {
        let get = |path: &str| fixture.server.call(request("GET", path, "", ""), admin());
        let read = async |path: &str| -> Value {
            serde_json::from_slice(&get(path).await.into_body().collect().await.unwrap().to_bytes()).unwrap()
        };
        let old = read("/api/v1/namespaces/default/endpoints/kubernetes").await;
        assert_eq!(old["subsets"][0]["addresses"], json!([{"ip": "127.0.0.1"}, {"ip": "127.0.0.2"}]));
        let new = read("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await;
        assert_eq!(new["endpoints"][1]["addresses"], json!(["127.0.0.2"]), "{new}");
    }
}

/// The second server has not heard of what the first one just did, as the test gives it no time to.
#[tokio::test]
async fn what_a_server_remembers_never_refuses_what_another_one_allows() {
    let kv = Arc::new(Kv::in_memory(Rng::seeded(7)));
    let (a, b) = (Api::on(kv.clone()).await, Api::on(kv).await);
    for n in 0..50 {
        let space = format!("s{n}");
        assert_eq!(a.post("/api/v1/namespaces", json!({"metadata": {"name": space}})).await.0, 201);
        let maps = format!("/api/v1/namespaces/{space}/configmaps");
        let made = b.post(&maps, cm("m", "1")).await;
        assert_eq!(made.0, 201, "{}", made.1);
        let one = format!("{maps}/m");
        let by_a = a.patch(&one, json!({"data": {"n": "2"}})).await;
        assert_eq!((by_a.0, &by_a.1["data"]["n"]), (200, &json!("2")));
        let by_b = b.put(&one, by_a.1.clone()).await;
        assert_eq!((by_b.0, rv(&by_b.1)), (200, rv(&by_a.1)), "it is that already: no write");
        let back = b.patch(&one, json!({"data": {"n": "1"}})).await;
        assert_eq!((back.0, &back.1["data"]["n"]), (200, &json!("1")));
        let same = a.patch(&one, json!({"data": {"n": "2"}})).await;
        assert!(rv(&same.1) > rv(&back.1), "a change against the newest state, although it once was this");
        assert_eq!(b.put(&one, by_a.1).await.0, 409, "an old version stays refused");
        assert_eq!(a.delete(&one, json!({})).await.0, 200);
        assert_eq!(b.patch(&one, json!({"data": {"n": "3"}})).await.0, 404);
        assert_eq!(b.post(&maps, cm("m", "4")).await.0, 201);
        let dry = a.post(&format!("{maps}?dryRun=All"), cm("m", "5")).await;
        assert_eq!(dry.0, 409, "a rehearsal knows it as well");
    }
}

#[tokio::test]
async fn writes_are_optimistic_and_no_change_is_no_write() {
    let api = Api::new().await;
    let (code, made) = api.post(CM, cm("a", "1")).await;
    assert_eq!(code, 201);
    let path = format!("{CM}/a");
    let (_, same) = api.patch(&path, json!({"data": {"n": "1"}})).await;
    assert_eq!(rv(&same), rv(&made), "a patch that changes nothing must not write");
    let (_, changed) = api.patch(&path, json!({"data": {"n": "2"}})).await;
    assert!(rv(&changed) > rv(&made));
    let (code, status) = api.put(&path, made.clone()).await;
    assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
    let mut fresh = changed.clone();
    fresh["metadata"]["uid"] = "other".into();
    assert_eq!(api.put(&path, fresh).await.0, 409);
    assert_eq!(api.post(CM, cm("a", "1")).await.1["message"], "configmaps \"a\" already exists");
    let (code, dry) = api.post(&format!("{CM}?dryRun=All"), cm("b", "1")).await;
    assert_eq!((code, dry["metadata"].get("resourceVersion")), (201, None));
    assert_eq!(api.get(&format!("{CM}/b")).await.0, 404);
    let (_, generated) = api.post(CM, json!({"metadata": {"generateName": "g-"}})).await;
    assert_eq!(generated["metadata"]["name"].as_str().unwrap().len(), 7);
    let both = json!({"metadata": {"name": "a", "generateName": "g-"}});
    let (code, status) = api.post(CM, both).await;
    assert_eq!((code, &status["details"]["retryAfterSeconds"]), (409, &json!(1)), "{status}");
    let why =
        "configmaps \"a\" already exists, the server was not able to generate a unique name for the object";
    assert_eq!(status["message"], why);
}

#[tokio::test]
async fn spec_and_status_are_written_through_separate_subresources() {
    let api = Api::new().await;
    let all = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    let object = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}, "status": {"replicas": 9}});
    let (_, made) = api.post(all, object).await;
    assert_eq!((&made["metadata"]["generation"], &made["status"]), (&json!(1), &json!({})));
    let path = format!("{all}/d");
    let (_, labelled) =
        api.patch(&path, json!({"metadata": {"labels": {"x": "y"}}, "status": {"replicas": 1}})).await;
    assert_eq!((&labelled["metadata"]["generation"], &labelled["status"]), (&json!(1), &json!({})));
    let (_, scaled) = api.patch(&format!("{path}/scale"), json!({"spec": {"replicas": 3}})).await;
    assert_eq!((&scaled["spec"]["replicas"], &scaled["status"]["selector"]), (&json!(3), &json!("a=b")));
    let mut status = api.get(&path).await.1;
    assert_eq!(status["metadata"]["generation"], 2);
    status["status"] = json!({"replicas": 3, "observedGeneration": 2});
    status["spec"]["replicas"] = 7.into();
    let (code, answer) = api.put(&format!("{path}/status"), status).await;
    assert_eq!(
        (code, &answer["spec"]["replicas"], &answer["status"]["replicas"], &answer["metadata"]["generation"]),
        (200, &json!(3), &json!(3), &json!(2))
    );
    // As upstream, a Deployment's annotations count, unless its controller writes them with the
    // status.
    let note = |value: &str| json!({"metadata": {"annotations": {"note": value}}});
    let (_, noted) = api.patch(&format!("{path}/status"), note("1")).await;
    assert_eq!(
        (&noted["metadata"]["generation"], &noted["metadata"]["annotations"]["note"]),
        (&json!(2), &json!("1"))
    );
    assert_eq!(api.patch(&path, note("1")).await.1["metadata"]["generation"], 2);
    assert_eq!(api.patch(&path, note("2")).await.1["metadata"]["generation"], 3);
    let (code, status) = api.patch(&path, json!({"spec": {"selector": {"matchLabels": {"a": "c"}}}})).await;
    assert_eq!(code, 422);
    assert!(status["message"].as_str().unwrap().contains("field is immutable"), "{status}");
}

async fn wrong_bindings_are_refused(api: &Api, path: &str, binding: &Value) {
    for (field, wrong, refusal) in [
        ("metadata", json!({"name": "other"}), 400),
        ("metadata", json!({}), 400),
        ("target", json!({"kind": "Service", "name": "n1"}), 500),
        ("target", json!({"kind": "Node", "name": 5}), 400),
    ] {
        let mut refused = binding.clone();
        refused[field] = wrong;
        let (code, why) = api.post(path, refused).await;
        assert_eq!(code, refusal, "{why}");
    }
}

#[tokio::test]
async fn deletes_wait_for_grace_and_finalizers() {
    let api = Api::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    let (code, made) = api.post(pods, pod).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(
        made["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"],
        3607
    );
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    wrong_bindings_are_refused(&api, &format!("{pods}/p/binding"), &binding).await;
    // Only an unbound pod can be bound: none of these did it.
    assert_eq!(api.post(&format!("{pods}/p/binding"), binding.clone()).await.0, 201);
    let (code, status) = api.post(&format!("{pods}/p/binding"), binding).await;
    assert_eq!(
        (code, status["message"].as_str()),
        (
            409,
            Some(
                "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\""
            )
        )
    );
    let (_, dying) = api.delete(&format!("{pods}/p"), json!({"propagationPolicy": "Background"})).await;
    assert_eq!(dying["metadata"]["deletionGracePeriodSeconds"], 30);
    let wrong = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "x"}});
    assert_eq!(api.delete(&format!("{pods}/p"), wrong).await.0, 409);
    let right = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": made["metadata"]["uid"]}});
    assert_eq!(api.delete(&format!("{pods}/p"), right).await.1["kind"], "Pod");
    assert_eq!(api.get(&format!("{pods}/p")).await.0, 404);
    // finalizers
    let mut held = cm("f", "1");
    held["metadata"]["finalizers"] = json!(["example.com/x"]);
    api.post(CM, held).await;
    let (_, waiting) = api.delete(&format!("{CM}/f"), json!({})).await;
    assert!(waiting["metadata"]["deletionTimestamp"].is_string());
    let more = json!({"metadata": {"finalizers": ["example.com/x", "example.com/y"]}});
    assert_eq!(api.patch(&format!("{CM}/f"), more).await.0, 422);
    api.patch(&format!("{CM}/f"), json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(api.get(&format!("{CM}/f")).await.0, 404);
    // a namespace goes when the controller has emptied it
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "x"}})).await;
    let (_, going) = api.delete("/api/v1/namespaces/x", json!({})).await;
    assert_eq!(going["status"]["phase"], "Terminating");
    let (code, status) = api.post("/api/v1/namespaces/x/configmaps", cm("a", "1")).await;
    assert_eq!((code, &status["details"]["causes"][0]["reason"]), (403, &json!("NamespaceTerminating")));
    let mut finalized = going.clone();
    finalized["spec"]["finalizers"] = json!([]);
    assert_eq!(api.put("/api/v1/namespaces/x/finalize", finalized).await.0, 200);
    assert_eq!(api.get("/api/v1/namespaces/x").await.0, 404);
    // collections
    for i in 0..3 {
        api.post(CM, cm(&format!("d{i}"), "7")).await;
    }
    let (code, list) = api.delete(&format!("{CM}?labelSelector=n%3D7"), json!({})).await;
    assert_eq!((code, list["items"].as_array().unwrap().len()), (200, 3));
    let first = &list["items"][0];
    assert_eq!(
        (&list["kind"], &first["kind"], &first["apiVersion"], &first["metadata"]["name"]),
        (&json!("ConfigMapList"), &Value::Null, &Value::Null, &json!("d0")),
        "items of a typed list do not say what they are"
    );
}

/// A ConfigMap named `z` whose metadata has a field 0.
const FIELD_ZERO: &str = "k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x07\x0a\x05\x0a\x01z\x00\x01";

#[tokio::test]
async fn bad_input_is_the_clients_fault() {
    let api = Api::new().await;
    let huge = json!({"metadata": {"name": "h"}, "data": {"n": "x".repeat(1_700_000)}});
    let cases: Vec<(Request<Body>, u16)> = vec![
        (request("POST", CM, "application/json", "{\"a\": "), 400),
        (request("POST", CM, "application/json", "[]"), 400),
        (request("POST", CM, "application/yaml", "a: [b"), 400),
        (request("POST", CM, "text/csv", "a"), 415),
        (request("POST", CM, "application/vnd.kubernetes.protobuf", "k8s\0\x0a\x7f"), 400),
        (request("POST", CM, "application/vnd.kubernetes.protobuf", FIELD_ZERO), 400),
        (request("POST", CM, "", vec![b' '; 4 << 20]), 413),
        (request("POST", CM, "", json!({"kind": "Secret", "metadata": {"name": "x"}}).to_string()), 400),
        (request("POST", CM, "", json!({"metadata": {"name": "x", "namespace": "other"}}).to_string()), 400),
        (request("POST", CM, "", json!({"metadata": 7}).to_string()), 400),
        (request("POST", "/api/v1/namespaces/nope/configmaps", "", cm("a", "1").to_string()), 404),
        (request("POST", &format!("{CM}?dryRun=some"), "", cm("a", "1").to_string()), 422),
        (
            request(
                "POST",
                "/api/v1/namespaces/default/secrets",
                "",
                json!({"metadata": {"name": "h"}, "data": {"n": "%%"}}).to_string(),
            ),
            400,
        ),
        (request("POST", CM, "", huge.to_string()), 422),
        (request("PATCH", &format!("{CM}/kube"), "application/json-patch+json", "[{}]"), 404),
        (request("GET", &format!("{CM}?labelSelector=%21%21"), "", ""), 400),
        (request("GET", &format!("{CM}?limit=x"), "", ""), 400),
        (request("GET", "/api/v1/namespaces/default/nothings", "", ""), 404),
        (request("GET", "/api/v1/%ff%fe/x/y", "", ""), 404),
        (request("DELETE", "/api/v1/namespaces", "", ""), 405),
        (request("PUT", CM, "", ""), 405),
        (request("TRACE", CM, "", ""), 405),
    ];
    for (request, want) in cases {
        let what = format!("{} {}", request.method(), request.uri());
        let (code, body) = api.send(admin(), request).await;
        assert_eq!(code, want, "{what}: {body}");
    }
    let strict = format!("{CM}?fieldValidation=Strict");
    let (code, status) = api
        .send(
            admin(),
            request("POST", &strict, "", r#"{"metadata":{"name":"s"},"dat":{},"data":{"a":"1","a":"2"}}"#),
        )
        .await;
    assert_eq!(code, 400);
    assert_eq!(
        status["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dat\", duplicate field \"data.a\""
    );
    let answer = api
        .fixture
        .server
        .call(request("POST", CM, "", r#"{"metadata":{"name":"w"},"dat":{}}"#), admin())
        .await;
    assert_eq!(answer.headers()["warning"], "299 - \"unknown field \\\"dat\\\"\"");
    let korean = json!({"metadata": {"name": "k"}, "\u{c774}\u{b984}": {}}).to_string();
    let answer = api.fixture.server.call(request("POST", CM, "", korean), admin()).await;
    let warning = std::str::from_utf8(answer.headers()["warning"].as_bytes()).unwrap();
    assert_eq!(warning, "299 - \"unknown field \\\"\u{c774}\u{b984}\\\"\"");
}

#[tokio::test]
async fn an_event_has_two_faces_and_the_tap_hears_every_stage() {
    let api = Api::new().await;
    let event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "R", "note": "hello",
        "type": "Normal", "eventTime": "2026-01-02T03:04:05.000006Z", "reportingController": "x", "reportingInstance": "y", "action": "z"});
    let (code, made) = api.post("/apis/events.k8s.io/v1/namespaces/default/events", event).await;
    assert_eq!((code, &made["note"]), (201, &json!("hello")));
    let (_, core) = api.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp").await;
    assert_eq!(
        (&core["kind"], &core["items"][0]["message"]),
        (&json!("EventList"), &json!("hello")),
        "the first face"
    );
    let (_, new) = api.get("/apis/events.k8s.io/v1/namespaces/default/events").await;
    assert_eq!((&new["items"][0]["note"], &new["items"][0]["kind"]), (&json!("hello"), &Value::Null));
    let stages: Vec<&str> = api
        .fixture
        .tap
        .since(0)
        .iter()
        .filter(|r| r.object.as_ref().is_some_and(|o| o.resource == "events" && o.namespace == "default"))
        .map(|r| r.event.verb())
        .collect();
    // The list has a record, too, but only of its answer: a client looked.
    assert_eq!(stages.last(), Some(&"answer"));
    assert_eq!(stages[..6], ["authenticate", "authorize", "admit", "validate", "commit", "answer"]);
    let commit = api.fixture.tap.since(0).into_iter().rfind(|r| r.write().is_some()).unwrap();
    assert_eq!(commit.revision, Some(rv(&made) as u64));
    assert!(commit.body.is_some());
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Gives a user rights in the whole cluster, or in one namespace.
async fn grant(api: &Api, user: &str, namespace: &str, rules: Value) {
    let (kind, within) = match namespace {
        "" => ("ClusterRole", String::new()),
        _ => ("Role", format!("/namespaces/{namespace}")),
    };
    let name = format!("{user}-{}", api.fixture.server.state.rng.name_suffix(5));
    let role = json!({"metadata": {"name": name}, "rules": rules});
    let made = api.post(&format!("{RBAC}{within}/{}s", kind.to_lowercase()), role).await;
    assert_eq!(made.0, 201, "{}", made.1);
    let binding = json!({"metadata": {"name": name}, "roleRef": {"kind": kind, "name": name}, "subjects": [{"kind": "User", "name": user}]});
    let made = api.post(&format!("{RBAC}{within}/{}bindings", kind.to_lowercase()), binding).await;
    assert_eq!(made.0, 201, "{}", made.1);
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}
