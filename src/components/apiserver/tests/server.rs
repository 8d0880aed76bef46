//! The server as a whole: through the in-process door, through TLS to a fake kubelet, and with
//! every real kubectl on PATH.

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

impl Api {
    async fn watch(&self, path: &str) -> Watch {
        let answer = self.fixture.server.call(request("GET", path, "", ""), admin()).await;
        assert_eq!(answer.status(), 200);
        Watch { body: answer.into_body(), rest: vec![] }
    }
}

struct Watch {
    body: Body,
    rest: Vec<u8>,
}

impl Watch {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(5), self.body.frame()).await.expect("an event");
            self.rest.extend(frame?.unwrap().into_data().unwrap());
        }
    }
    /// `ADDED a 1`: type, name, and the value of data.n.
    async fn told(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let object = &event["object"];
        format!(
            "{} {} {}",
            event["type"].as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap_or("-"),
            object["data"]["n"].as_str().unwrap_or("-")
        )
    }
}

const CM: &str = "/api/v1/namespaces/default/configmaps";

fn cm(name: &str, n: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"n": n}}, "data": {"n": n}})
}

fn rv(object: &Value) -> i64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn no_number_of_seconds_is_too_many_for_a_watch_or_a_grace_period() {
    let api = Api::new().await;
    let mut watch = api.watch(&format!("{CM}?watch=1&timeoutSeconds={}", i64::MAX)).await;
    assert_eq!(api.post(CM, cm("a", "1")).await.0, 201);
    assert_eq!(watch.told().await, "ADDED a 1");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(api.post(pods, pod).await.0, 201);
    let (code, gone) = api.delete(&format!("{pods}/p"), json!({"gracePeriodSeconds": i64::MAX})).await;
    assert_eq!(code, 200, "{gone}");
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
    let (code, told) = api.put(&format!("{path}/status"), status).await;
    assert_eq!(
        (code, &told["spec"]["replicas"], &told["status"]["replicas"], &told["metadata"]["generation"]),
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

#[tokio::test]
async fn a_watch_tells_everything_once_and_in_order() {
    let api = Api::new().await;
    let base = rv(&api.get(&format!("{CM}?limit=1")).await.1);
    api.post(CM, cm("a", "1")).await;
    let mut past = api.watch(&format!("{CM}?watch=true&resourceVersion={base}")).await;
    let mut now =
        api.watch(&format!("{CM}?watch=true&fieldSelector=metadata.name%3Da&resourceVersion=0")).await;
    let mut labelled =
        api.watch(&format!("{CM}?watch=true&labelSelector=n%3D2&resourceVersion={base}")).await;
    let mut streamed = api.watch(&format!("{CM}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")).await;
    api.post(CM, cm("b", "1")).await;
    for n in ["2", "3"] {
        api.patch(&format!("{CM}/a"), json!({"metadata": {"labels": {"n": n}}, "data": {"n": n}})).await;
    }
    let (_, gone) = api.delete(&format!("{CM}/a"), json!({})).await;
    assert_eq!(
        (gone["kind"].as_str(), gone["details"]["kind"].as_str()),
        (Some("Status"), Some("configmaps"))
    );
    for want in ["ADDED a 1", "ADDED b 1", "MODIFIED a 2", "MODIFIED a 3"] {
        assert_eq!(past.told().await, want);
    }
    let deleted = past.next().await.unwrap();
    assert_eq!(
        (deleted["type"].as_str(), rv(&deleted["object"])),
        (Some("DELETED"), api.fixture.server.state.kv.revision())
    );
    for want in ["ADDED a 1", "MODIFIED a 2", "MODIFIED a 3", "DELETED a 3"] {
        assert_eq!(now.told().await, want);
    }
    for want in ["ADDED a 2", "DELETED a 2"] {
        assert_eq!(labelled.told().await, want);
    }
    assert_eq!(streamed.told().await, "ADDED a 1");
    let bookmark = streamed.next().await.unwrap();
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(streamed.told().await, "ADDED b 1");
    let mut ended = api
        .watch(&format!("{CM}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={base}"))
        .await;
    let mut last = json!(null);
    while let Some(event) = ended.next().await {
        last = event;
    }
    assert_eq!(
        (last["type"].as_str(), rv(&last["object"])),
        (Some("BOOKMARK"), api.fixture.server.state.kv.revision())
    );
}

#[tokio::test]
async fn pages_show_one_moment_and_what_is_forgotten_is_410() {
    let api = Api::new().await;
    for i in 0..5 {
        api.post(CM, cm(&format!("c{i}"), "1")).await;
    }
    let (_, first) = api.get(&format!("{CM}?limit=2")).await;
    assert_eq!(
        (first["items"].as_array().unwrap().len(), &first["metadata"]["remainingItemCount"]),
        (2, &json!(3))
    );
    api.delete(&format!("{CM}/c4"), json!({})).await;
    api.post(CM, cm("c9", "1")).await;
    let mut names: Vec<String> = vec![];
    let mut next = first["metadata"]["continue"].as_str().unwrap().to_string();
    while !next.is_empty() {
        let (code, page) = api.get(&format!("{CM}?limit=2&continue={next}")).await;
        assert_eq!((code, rv(&page)), (200, rv(&first)));
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|i| i["metadata"]["name"].as_str().unwrap().to_string()),
        );
        next = page["metadata"]["continue"].as_str().unwrap_or("").to_string();
    }
    assert_eq!(names, ["c2", "c3", "c4"]);
    let state = &api.fixture.server.state;
    state.kv.compact(state.kv.revision()).await.unwrap();
    let (code, status) =
        api.get(&format!("{CM}?limit=2&continue={}", first["metadata"]["continue"].as_str().unwrap())).await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
    assert_eq!(api.get(&format!("{CM}?continue=nonsense")).await.0, 400);
    let future = state.kv.revision() + 1000;
    let (code, status) = api.get(&format!("{CM}?resourceVersion={future}")).await;
    assert_eq!((code, &status["details"]["causes"][0]["reason"]), (504, &json!("ResourceVersionTooLarge")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_and_no_port_is_given_out_twice() {
    let api = std::sync::Arc::new(Api::new().await);
    let all = "/api/v1/namespaces/default/services";
    let service = |name: String, extra: Value| {
        let mut spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let chosen = json!({"clusterIP": "10.96.0.77"});
    let both =
        futures::future::join_all((0..8).map(|i| api.post(all, service(format!("same{i}"), chosen.clone()))))
            .await;
    let codes: Vec<u16> = both.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes.iter().filter(|c| **c == 201).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|c| matches!(c, 201 | 422)), "{codes:?}");
    let many =
        futures::future::join_all((0..40).map(|i| api.post(all, service(format!("s{i}"), json!({}))))).await;
    let mut ips: Vec<&str> = many.iter().map(|(_, s)| s["spec"]["clusterIP"].as_str().unwrap()).collect();
    let mut ports: Vec<i64> =
        many.iter().map(|(_, s)| s["spec"]["ports"][0]["nodePort"].as_i64().unwrap()).collect();
    ips.sort();
    ips.dedup();
    ports.sort();
    ports.dedup();
    assert_eq!((ips.len(), ports.len()), (40, 40));
    let free = ports[0];
    let owner = many.iter().find(|(_, s)| s["spec"]["ports"][0]["nodePort"] == free).unwrap();
    let taken = json!({"ports": [{"port": 80, "nodePort": free}]});
    let (code, status) = api.post(all, service("late".into(), taken.clone())).await;
    assert_eq!(code, 422);
    assert!(status["message"].as_str().unwrap().contains("provided port is already allocated"), "{status}");
    let name = owner.1["metadata"]["name"].as_str().unwrap();
    api.delete(&format!("{all}/{name}"), json!({})).await;
    assert_eq!(
        api.post(all, service("late".into(), taken)).await.0,
        201,
        "a deleted service gives its port back"
    );
    let (code, kept) = api.put(&format!("{all}/late"), service("late".into(), json!({}))).await;
    assert_eq!((code, &kept["spec"]["ports"][0]["nodePort"]), (200, &json!(free)));
    let (_, plain) = api.patch(&format!("{all}/late"), json!({"spec": {"type": "ClusterIP"}})).await;
    assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None);
}

async fn wrong_bindings_are_refused(api: &Api, path: &str, binding: &Value) {
    for (field, wrong, refusal) in [
        ("metadata", json!({"name": "other"}), 400),
        ("target", json!({"kind": "Service", "name": "n1"}), 422),
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

/// An administrator who impersonates a user must lose the administrator's rights: a name that the
/// server cannot read is refused, not taken for absent.
#[tokio::test]
async fn whoever_is_named_in_any_script_is_the_one_who_asks() {
    let api = Api::new().await;
    let ask = |header: &str, value: &[u8]| {
        let named = ::http::HeaderValue::from_bytes(value).unwrap();
        Request::get("/api/v1/secrets").header(header, named).body(full("")).unwrap()
    };
    let (code, refused) = api.send(admin(), ask("impersonate-user", "김철수".as_bytes())).await;
    assert_eq!(code, 403, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("김철수"), "{refused}");
    for header in ["impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-a"] {
        let (code, refused) = api.send(admin(), ask(header, b"\xff\xfe")).await;
        assert_eq!((code, &refused["reason"]), (400, &json!("BadRequest")), "{header}: {refused}");
    }
}

#[tokio::test]
async fn only_those_who_may_do() {
    let api = Api::new().await;
    let bob = User::new("bob", &[]);
    let ask =
        |method: &str, path: &str, body: Value| request(method, path, "application/json", body.to_string());
    assert_eq!(api.send(bob.clone(), ask("GET", "/api/v1/pods", json!({}))).await.0, 403);
    assert_eq!(api.send(User::anonymous(), ask("GET", "/healthz", json!({}))).await, (200, "ok".into()));
    assert_eq!(api.send(User::anonymous(), ask("GET", "/apis", json!({}))).await.0, 403);
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "bob"}]});
    assert_eq!(
        api.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await.0,
        201
    );
    assert_eq!(api.send(bob.clone(), ask("GET", "/api/v1/namespaces/default/pods", json!({}))).await.0, 200);
    assert_eq!(
        api.send(bob.clone(), ask("GET", "/api/v1/namespaces/default/secrets", json!({}))).await.0,
        403
    );
    assert_eq!(api.send(bob.clone(), ask("POST", CM, cm("a", "1"))).await.0, 403);
    // a look at a pod is no shell in it
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let look = json!({"metadata": {"name": "look"}, "rules": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}]});
    assert_eq!(api.post(roles, look).await.0, 201);
    let binding = json!({"metadata": {"name": "look"}, "roleRef": {"kind": "Role", "name": "look"}, "subjects": [{"kind": "User", "name": "bob"}]});
    assert_eq!(
        api.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await.0,
        201
    );
    let exec = ask("GET", "/api/v1/namespaces/default/pods/p/exec?command=sh", json!({}));
    let (code, status) = api.send(bob.clone(), exec).await;
    let message = status["message"].as_str().unwrap();
    assert!(code == 403 && message.contains("cannot create resource \"pods/exec\""), "{message}");
    // nobody gives away what he does not have
    let all = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let admin_role = json!({"metadata": {"name": "adm"}, "roleRef": {"kind": "ClusterRole", "name": "admin"}, "subjects": [{"kind": "User", "name": "carol"}]});
    assert_eq!(api.post(all, admin_role).await.0, 201);
    let carol = User::new("carol", &[]);
    let bind = |name: &str, role: &str| {
        ask(
            "POST",
            all,
            json!({"metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": []}),
        )
    };
    assert_eq!(api.send(carol.clone(), bind("v", "view")).await.0, 201);
    let (code, status) = api.send(carol, bind("c", "cluster-admin")).await;
    assert_eq!(code, 403);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"]"),
        "{status}"
    );
    // a token of a service account is that account, until it is deleted
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (_, made) = api.post(token, json!({"spec": {"expirationSeconds": 600}})).await;
    let review = json!({"spec": {"token": made["status"]["token"]}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (code, told) = api.post(reviews, review.clone()).await;
    assert_eq!(
        (code, told["status"]["user"]["username"].as_str()),
        (201, Some("system:serviceaccount:default:default"))
    );
    api.delete("/api/v1/namespaces/default/serviceaccounts/default", json!({})).await;
    assert_eq!(api.post(reviews, review).await.1["status"].get("authenticated"), None);
    let (code, status) = api.post(token, json!({"spec": {"expirationSeconds": 60}})).await;
    assert_eq!(code, 404, "{status}");
}

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

/// A delete says in its body that it is a dry run, and is told as one also where there is nothing
/// to delete.
#[tokio::test]
async fn a_deletion_that_is_only_tried_is_told_so_when_it_is_refused() {
    let api = Api::new().await;
    for (body, is_dry_run) in [(json!({"dryRun": ["All"]}), true), (json!({}), false)] {
        let learner = User::new(tap::LEARNER, &["system:masters"]);
        let asked = request("DELETE", &format!("{CM}/none"), "application/json", body.to_string());
        assert_eq!(api.send(learner, asked).await.0, 404);
        let records = api.fixture.tap.since(0);
        let answer = records.iter().rfind(|r| r.answer().is_some()).and_then(|r| r.request.clone());
        assert_eq!(answer.map(|request| (request.code, request.dry_run)), Some((404, is_dry_run)));
    }
}

/// A kubelet that answers logs with lines and echoes what is sent after an upgrade.
async fn fake_kubelet(api: &Api) -> std::net::SocketAddr {
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use pki::{Subject, server_config};
    let identity = api.fixture.ca.issue(&Subject::server("system:node:n1", &["127.0.0.1"])).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(server_config(&identity, api.fixture.ca.pem()).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(tcp).await.unwrap();
                let service = service_fn(|mut request: Request<hyper::body::Incoming>| async move {
                    let mut answer = ::http::Response::new(full(format!("{}\n", request.uri())));
                    if request.uri().path() == "/redirect" {
                        *answer.status_mut() = ::http::StatusCode::FOUND;
                        answer.headers_mut().insert("location", "https://example.com/".parse().unwrap());
                    } else if request.uri().path().contains("/refuse/") {
                        *answer.status_mut() = ::http::StatusCode::FORBIDDEN;
                    } else if request.headers().contains_key("upgrade") {
                        let upgrade = hyper::upgrade::on(&mut request);
                        tokio::spawn(async move {
                            let (mut read, mut write) =
                                tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
                            tokio::io::copy(&mut read, &mut write).await.unwrap();
                            tokio::io::AsyncWriteExt::write_all(&mut write, b"bye").await.unwrap(); // after the client's half-close
                            tokio::io::AsyncWriteExt::shutdown(&mut write).await.unwrap();
                        });
                        *answer.status_mut() = ::http::StatusCode::SWITCHING_PROTOCOLS;
                        answer.headers_mut().insert("upgrade", "SPDY/3.1".parse().unwrap());
                        answer.headers_mut().insert("connection", "Upgrade".parse().unwrap());
                    }
                    Ok::<_, std::convert::Infallible>(answer)
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_exec_reach_the_kubelet_and_half_close_is_kept() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = Api::new().await;
    let kubelet = fake_kubelet(&api).await;
    let node = json!({"metadata": {"name": "n1"}});
    api.post("/api/v1/nodes", node).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx"}]}});
    api.post("/api/v1/namespaces/default/pods", pod).await;
    let (code, log) = api.get("/api/v1/namespaces/default/pods/p/log?tailLines=5").await;
    assert_eq!((code, log), (200, "/containerLogs/default/p/c?tailLines=5\n".into()));
    let (code, status) = api.get("/api/v1/namespaces/default/pods/p/log?container=x").await;
    assert_eq!((code, status["message"].as_str()), (400, Some("container x is not valid for pod p")));
    assert_eq!(api.get("/api/v1/namespaces/default/pods/p/log?tailLines=-1").await.0, 422);
    // an upgrade over a real connection, without ALPN
    let client = api.fixture.ca.issue(&pki::Subject::client("admin", "system:masters")).unwrap();
    let tls = pki::client_config(Some(&client), api.fixture.ca.pem(), &[]).unwrap();
    let server = api.fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    let tcp = tokio::net::TcpStream::connect(server).await.unwrap();
    let name = pki::server_name("127.0.0.1").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap();
    let head = "POST /api/v1/namespaces/default/pods/p/exec?command=sh&container=c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![];
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream.write_all(b"hello ").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut echoed = String::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(echoed, "hello bye");
}

/// A session holds a place of its account, and its connection one of the listener, until it ends:
/// not only until the protocols change.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_count_until_they_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = Api::new().await;
    let kubelet = fake_kubelet(&api).await;
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx"}]}});
    assert_eq!(api.post("/api/v1/namespaces/default/pods", pod).await.0, 201);
    grant(&api, "eve", "default", json!([rule("", &["pods/exec"], &["create", "get"])])).await;
    let client = api.fixture.ca.issue(&pki::Subject::client("eve", "")).unwrap();
    let tls = pki::client_config(Some(&client), api.fixture.ca.pem(), &[]).unwrap();
    let server = api.fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    let mut sessions = vec![];
    for _ in 0..3 {
        let tcp = tokio::net::TcpStream::connect(server).await.unwrap();
        let from = tcp.local_addr().unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(tls.clone()).connect(name, tcp).await.unwrap();
        let head = "GET /api/v1/namespaces/default/pods/p/exec?command=sh HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![];
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        stream.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x', "both sides have changed protocols");
        sessions.push((from, stream));
    }
    let open = || {
        let metrics = api.fixture.server.state.bounds.metrics();
        let line = metrics.lines().find(|line| line.starts_with("apiserver_longrunning_requests ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(open(), 3);
    assert!(sessions.iter().all(|(from, _)| api.fixture.server.is_known(*from)));
    let (from, ended) = sessions.remove(0);
    drop(ended);
    let gone = async {
        while open() > 2 || api.fixture.server.is_known(from) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the place of a session that ended");
    assert!(sessions.iter().all(|(from, _)| api.fixture.server.is_known(*from)));
}

/// Every kubectl on PATH does a day's work. None there: nothing to compare.
#[tokio::test(flavor = "multi_thread")]
async fn real_kubectls_cannot_tell_the_difference() {
    let api = Api::new().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("kubeconfig"), &api.fixture.kubeconfig).unwrap();
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {a: '1'}\n";
    std::fs::write(dir.path().join("m.yaml"), manifest).unwrap();
    for kubectl in kubectls() {
        let run = async |args: &str| {
            let mut command = tokio::process::Command::new(&kubectl);
            command
                .args(args.split(' '))
                .current_dir(dir.path())
                .env("HOME", dir.path())
                .env("KUBECONFIG", dir.path().join("kubeconfig"));
            let done = tokio::time::timeout(Duration::from_secs(30), command.output())
                .await
                .expect("kubectl ends")
                .unwrap();
            (
                done.status.success(),
                String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned(),
            )
        };
        for (args, want) in [
            ("create deployment web --image=nginx --replicas=2", "deployment.apps/web created"),
            ("get deployments", "web    0/2     0            0"),
            ("scale deployment web --replicas=3", "scaled"),
            ("set image deployment/web nginx=nginx:1.27", "image updated"),
            ("expose deployment web --port=80", "service/web exposed"),
            ("apply -f m.yaml", "configmap/applied created"),
            ("apply -f m.yaml", "configmap/applied unchanged"),
            ("apply --server-side --force-conflicts -f m.yaml", "serverside-applied"),
            ("label configmap applied x=y", "labeled"),
            ("get configmap applied -o jsonpath={.metadata.labels.x}", "y"),
            ("describe deployment web", "RollingUpdateStrategy:  25% max unavailable, 25% max surge"),
            ("explain deployment.spec.replicas", "Number of desired pods"),
            ("auth can-i create pods", "yes"),
            ("run p --image=nginx", "pod/p created"),
            ("wait --for=jsonpath={.status.phase}=Pending pod/p --timeout=5s", "condition met"),
            ("delete pod p", "deleted"),
            ("delete deployment,service web", "deleted"),
            ("delete -f m.yaml", "deleted"),
        ] {
            let (ok, text) = run(args).await;
            assert!(ok && text.contains(want), "{} {args}: {text}", kubectl.display());
        }
    }
}

fn kubectls() -> Vec<std::path::PathBuf> {
    let Some(found) = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|d| d.join("kubectl"))
        .find(|k| k.exists())
    else {
        return vec![];
    };
    let real = found.canonicalize().unwrap_or(found);
    let mut all = vec![real.clone()];
    for minor in [27, 29, 31, 33] {
        let sibling = real.with_file_name(format!("kubectl.1.{minor}"));
        all.extend(sibling.exists().then_some(sibling));
    }
    all
}

/// Serves until killed, for trying real clients by hand: `ROPEWALK_DEV_API=dir cargo test -p
/// apiserver --lib dev_server`.
#[tokio::test(flavor = "multi_thread")]
async fn dev_server() {
    let Some(dir) = std::env::var_os("ROPEWALK_DEV_API") else { return };
    std::fs::create_dir_all(&dir).unwrap();
    let _fixture = testing::start(dir.as_ref()).await;
    std::future::pending::<()>().await;
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

/// The user `dev`, who may write ClusterRoles and nothing else, and the role `own`, which says so.
async fn role_writer(api: &Api) -> (User, Value) {
    let dev = User::new("dev", &[]);
    let verbs = ["create", "get", "list", "update", "patch"];
    let rules = json!([rule("rbac.authorization.k8s.io", &["clusterroles"], &verbs)]);
    grant(api, "dev", "", rules.clone()).await;
    let own = json!({"metadata": {"name": "own"}, "rules": rules});
    let post = request("POST", &format!("{RBAC}/clusterroles"), "application/json", own.to_string());
    assert_eq!(api.send(dev.clone(), post).await.0, 201, "what he has he may give");
    (dev, own)
}

#[tokio::test]
async fn an_aggregation_rule_needs_every_right_of_its_writer() {
    let api = Api::new().await;
    let (dev, plain) = role_writer(&api).await;
    let roles = format!("{RBAC}/clusterroles");
    let send = |method: &str, path: String, media: &str, body: Value| {
        api.send(dev.clone(), request(method, &path, media, body.to_string()))
    };
    const JSON: &str = "application/json";
    const MERGE: &str = "application/merge-patch+json";
    const APPLY: &str = "application/apply-patch+yaml";
    let everything =
        json!({"clusterRoleSelectors": [{"matchLabels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}]});
    let refused = |(code, status): (u16, Value)| {
        let message = status["message"].as_str().unwrap_or_default().to_string();
        assert_eq!(code, 403, "{status}");
        assert!(
            message.ends_with("must have cluster-admin privileges to use an aggregationRule"),
            "{message}"
        );
    };
    let own = format!("{roles}/own");
    refused(send("PATCH", own.clone(), MERGE, json!({"aggregationRule": everything})).await);
    let mut with = plain;
    with["aggregationRule"] = everything.clone();
    refused(send("PUT", own.clone(), JSON, with.clone()).await);
    let mut applied = with.clone();
    applied["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
    applied["kind"] = "ClusterRole".into();
    refused(send("PATCH", format!("{own}?fieldManager=m&force=true"), APPLY, applied.clone()).await);
    with["metadata"]["name"] = "new".into();
    refused(send("POST", roles.clone(), JSON, with.clone()).await);
    refused(send("PUT", format!("{roles}/new"), JSON, with).await);
    applied["metadata"]["name"] = "new".into();
    refused(send("PATCH", format!("{roles}/new?fieldManager=m"), APPLY, applied).await);
    // Nor does he change one that an administrator has set.
    let set = json!({"metadata": {"name": "set"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
    assert_eq!(api.post(&roles, set).await.0, 201);
    refused(send("PATCH", format!("{roles}/set"), MERGE, json!({"aggregationRule": null})).await);
    // A user who may escalate may, and one who has every right.
    grant(&api, "dev", "", json!([rule("rbac.authorization.k8s.io", &["clusterroles"], &["escalate"])]))
        .await;
    assert_eq!(send("PATCH", own, MERGE, json!({"aggregationRule": everything})).await.0, 200);
    let root = User::new("root", &[]);
    let all = json!([rule("*", &["*"], &["*"]), {"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    grant(&api, "root", "", all).await;
    let patch = json!({"aggregationRule": everything}).to_string();
    let (code, status) = api.send(root, request("PATCH", &format!("{roles}/set"), MERGE, patch)).await;
    assert_eq!(code, 200, "{status}");
}

/// A label puts a role's rules into an aggregated role: setting it gives the rules away.
#[tokio::test]
async fn a_label_gives_no_more_than_its_writer_has() {
    let api = Api::new().await;
    let (dev, _) = role_writer(&api).await;
    let patch = |name: &str, body: Value| {
        let path = format!("{RBAC}/clusterroles/{name}");
        api.send(dev.clone(), request("PATCH", &path, "application/merge-patch+json", body.to_string()))
    };
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let (code, status) = patch("cluster-admin", label.clone()).await;
    assert_eq!(code, 403, "{status}");
    let why = status["message"].as_str().unwrap();
    assert!(why.contains("attempting to grant RBAC permissions not currently held"), "{why}");
    assert_eq!(patch("own", label).await.0, 200);
    // What the garbage collector changes is free.
    let (code, status) = patch("cluster-admin", json!({"metadata": {"finalizers": ["a.b/c"]}})).await;
    assert_eq!(code, 200, "{status}");
}

#[tokio::test]
async fn a_collection_is_deleted_page_by_page() {
    let api = Api::new().await;
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|o| o["metadata"]["name"].as_str().unwrap_or_default().into()).collect()
    };
    for name in ["a", "b", "c"] {
        assert_eq!(api.post(CM, json!({"metadata": {"name": name}})).await.0, 201);
    }
    let (code, first) = api.delete(&format!("{CM}?limit=2"), json!({})).await;
    assert_eq!((code, names(&first)), (200, vec!["a".into(), "b".into()]), "{first}");
    let token = first["metadata"]["continue"].as_str().expect("more are left").to_string();
    assert_eq!(names(&api.get(CM).await.1), ["c"]);
    // What has come meanwhile lies before the next page.
    assert_eq!(api.post(CM, json!({"metadata": {"name": "a"}})).await.0, 201);
    let (code, second) = api.delete(&format!("{CM}?limit=2&continue={token}"), json!({})).await;
    assert_eq!(
        (code, names(&second), &second["metadata"]["continue"]),
        (200, vec!["c".into()], &Value::Null)
    );
    assert_eq!(names(&api.get(CM).await.1), ["a"]);
    assert_eq!(api.delete(&format!("{CM}?continue=x"), json!({})).await.0, 400);
}

/// It would be refused in every later write of the object.
#[tokio::test]
async fn a_status_brings_no_annotation_that_is_none() {
    let api = Api::new().await;
    let path = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    assert_eq!(api.post(path, service).await.0, 201);
    let with = |key: &str| json!({"metadata": {"annotations": {key: "x"}}});
    let (code, told) = api.patch(&format!("{path}/s/status"), with("not a key!")).await;
    assert_eq!(code, 422, "{told}");
    assert_eq!(api.patch(&format!("{path}/s/status"), with("a.b/c")).await.0, 200);
    // Nor an address to a Service that has no load balancer.
    let balanced = json!({"status": {"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}]}}});
    assert_eq!(api.patch(&format!("{path}/s/status"), balanced.clone()).await.0, 422);
    assert_eq!(api.patch(&format!("{path}/s"), json!({"spec": {"type": "LoadBalancer"}})).await.0, 200);
    let (code, stored) = api.patch(&format!("{path}/s/status"), balanced).await;
    assert_eq!((code, &stored["status"]["loadBalancer"]["ingress"][0]["ipMode"]), (200, &json!("VIP")));
    // A condition without a time has the zero time, which Go writes as null.
    let condition = json!({"type": "A", "status": "True", "reason": "R", "message": ""});
    for time in [None, Some(Value::Null)] {
        let mut sent = condition.clone();
        time.into_iter().for_each(|time| sent["lastTransitionTime"] = time);
        let sent = json!({"status": {"conditions": [sent]}});
        assert_eq!(api.patch(&format!("{path}/s/status"), sent).await.0, 200);
        let (_, stored) = api.get(&format!("{path}/s")).await;
        let stored = stored["status"]["conditions"][0].as_object().unwrap();
        assert_eq!(stored.get("lastTransitionTime"), Some(&Value::Null), "{stored:?}");
    }
}

#[tokio::test]
async fn a_token_is_bound_to_a_pod_of_its_own_account() {
    let api = Api::new().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    assert_eq!(api.post(accounts, json!({"metadata": {"name": "other"}})).await.0, 201);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "other", "nodeName": "gone",
        "containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(api.post("/api/v1/namespaces/default/pods", pod).await.0, 201);
    let ask = async |account: &str, metadata: Value, version: &str| {
        let bound = json!({"kind": "Pod", "apiVersion": version, "name": "p"});
        let request = json!({"metadata": metadata, "spec": {"boundObjectRef": bound}});
        api.post(&format!("{accounts}/{account}/token"), request).await
    };
    let (code, token) = ask("other", json!({}), "v1").await;
    assert_eq!(code, 201, "{token}");
    let (code, told) = ask("default", json!({}), "v1").await;
    assert_eq!(code, 400, "{told}");
    assert!(told["message"].as_str().unwrap().contains("different serviceaccount name"), "{told}");
    assert_eq!(ask("other", json!({}), "apps/v1").await.0, 400);
    assert_eq!(ask("other", json!({"name": "default"}), "v1").await.0, 422);
    assert_eq!(ask("other", json!({"uid": "of-an-earlier-one"}), "v1").await.0, 409);
}

#[tokio::test]
async fn a_write_that_means_an_object_that_is_gone_makes_no_other() {
    let api = Api::new().await;
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "uid": "gone"}});
    let apply = |body: &Value| {
        request("PATCH", &format!("{CM}/m?fieldManager=e"), "application/apply-patch+yaml", body.to_string())
    };
    let (code, told) = api.send(admin(), apply(&body)).await;
    assert_eq!(code, 409, "{told}");
    let lease = json!({"metadata": {"name": "l", "uid": "gone"}, "spec": {}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    assert_eq!(api.put(&format!("{leases}/l"), lease).await.0, 409);
}

#[tokio::test]
async fn a_resource_version_of_zero_is_none() {
    let api = Api::new().await;
    let map = json!({"metadata": {"name": "m", "resourceVersion": "0"}, "data": {"a": "1"}});
    let (code, made) = api.post(CM, map.clone()).await;
    assert_eq!(code, 201, "{made}");
    let mut next = map;
    next["data"]["a"] = "2".into();
    let (code, stored) = api.put(&format!("{CM}/m"), next).await;
    assert_eq!((code, &stored["data"]["a"]), (200, &json!("2")), "{stored}");
}

#[tokio::test]
async fn the_first_and_the_last_address_of_the_range_are_no_services() {
    let api = Api::new().await;
    let with = |ip: String| json!({"metadata": {"generateName": "s-"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
    let (first, last) = ("10.96.0.0", "10.111.255.255");
    for (ip, code) in [(first, 422), (last, 422), ("10.111.255.254", 201)] {
        let (told, answer) = api.post("/api/v1/namespaces/default/services", with(ip.into())).await;
        assert_eq!(told, code, "{ip}: {answer}");
    }
}

#[tokio::test]
async fn an_eviction_of_the_older_version_is_one() {
    let api = Api::new().await;
    let eviction = json!({"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}});
    assert_eq!(api.post("/api/v1/namespaces/default/pods/p/eviction", eviction).await.0, 404, "of the pod");
}

/// A label in a status that is applied is not stored, so its manager does not own it either, and
/// the one who sets it has no conflict.
#[tokio::test]
async fn nobody_owns_a_field_that_his_apply_does_not_write() {
    let api = Api::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let object = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    assert_eq!(api.post(path, object).await.0, 201);
    let apply = async |door: &str, manager: &str, metadata: Value| {
        let mut body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata});
        body["metadata"]["name"] = "web".into();
        let path = format!("{path}/web{door}?fieldManager={manager}");
        api.send(admin(), request("PATCH", &path, "application/apply-patch+yaml", body.to_string())).await
    };
    let metadata = json!({"labels": {"x": "1"}, "annotations": {"y": "1"}});
    let (code, stored) = apply("/status", "a", metadata).await;
    assert_eq!(code, 200, "{stored}");
    let entries = stored["metadata"]["managedFields"].as_array().unwrap();
    let mine = &entries.iter().find(|e| e["manager"] == "a").expect("its entry")["fieldsV1"]["f:metadata"];
    assert_eq!(*mine, json!({"f:annotations": {"f:y": {}}}));
    let (code, told) = apply("", "b", json!({"labels": {"x": "2"}})).await;
    assert_eq!(code, 200, "{told}");
}

/// Which metadata a status brings differs by kind: Deployments keep their labels, Pods their
/// owners, and others take everything, as upstream's status strategies.
#[tokio::test]
async fn a_status_brings_the_metadata_that_upstream_takes() {
    let api = Api::new().await;
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"});
    let metadata = json!({"labels": {"x": "1"}, "finalizers": ["a.b/c"], "ownerReferences": [owner]});
    let node = json!({"metadata": {"name": "n1"}});
    assert_eq!(api.post("/api/v1/nodes", node).await.0, 201);
    let (code, stored) = api.patch("/api/v1/nodes/n1/status", json!({"metadata": metadata})).await;
    let brought = &stored["metadata"];
    assert_eq!(
        (code, &brought["labels"]["x"], &brought["finalizers"][0]),
        (200, &json!("1"), &json!("a.b/c"))
    );
    assert_eq!(brought["ownerReferences"], metadata["ownerReferences"]);
    let wrong = json!({"metadata": {"labels": {"not a key!": "x"}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", wrong).await.0, 422);
    // The finalizer holds it; a status takes no more of them then, and ends it by the last one.
    assert_eq!(api.delete("/api/v1/nodes/n1", json!({})).await.0, 200);
    let more = json!({"metadata": {"finalizers": ["a.b/c", "a.b/d"]}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", more).await.0, 422);
    let none = json!({"metadata": {"finalizers": []}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", none).await.0, 200);
    assert_eq!(api.get("/api/v1/nodes/n1").await.0, 404);

    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(api.post(pods, pod).await.0, 201);
    let status = format!("{pods}/p/status");
    let (_, stored) = api.patch(&status, json!({"metadata": metadata, "status": {"qosClass": null}})).await;
    let brought = &stored["metadata"];
    assert_eq!((&brought["labels"]["x"], &brought["ownerReferences"]), (&json!("1"), &Value::Null));
    assert_eq!(stored["status"]["qosClass"], "BestEffort");
    let kubelet = User::new("system:node:n1", &["system:nodes", "system:authenticated"]);
    let label = json!({"metadata": {"labels": {"x": "2"}}}).to_string();
    let (code, told) =
        api.send(kubelet, request("PATCH", &status, "application/merge-patch+json", label)).await;
    let why = "cannot update labels through pod status";
    assert!(code == 403 && told["message"].as_str().unwrap().ends_with(why), "{told}");

    let namespace = "/api/v1/namespaces/default/status";
    let (_, stored) = api.patch(namespace, json!({"metadata": {"labels": null}})).await;
    assert_eq!(stored["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "default"}));
}

/// An ECDSA key asks for the name `r`.
const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
    MIHFMG4CAQAwDDEKMAgGA1UEAwwBcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA\n\
    BC/+FnrFFJrx80eqKBi6Hq3yngz19tK95u4BQnKxjmBYRWdMCbps8oSdxFjmH/CO\n\
    +8SFN7P+A7kN7Y53CBE1he2gADAKBggqhkjOPQQDAgNHADBEAiB2BJZbGU2WyeZb\n\
    qDbVUtVt8Ov0DiqLJXgltzRaOuCAZQIgVaFK6HL3xCyaTafjmrHHVMft97Np1/yP\n\
    zwZNucKCPNo=\n\
    -----END CERTIFICATE REQUEST-----\n";

/// An approver does not own the certificate that it sends, nor a signer the decision. The spec
/// never changes, so it has no owner.
#[tokio::test]
async fn each_door_of_a_certificate_request_owns_what_it_writes() {
    let api = Api::new().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let dir = tempfile::tempdir().unwrap();
    let certificate = base64(pki::Ca::load_or_create(dir.path(), "ca").unwrap().pem());
    let apply = async |door: &str, manager: &str, mut body: Value| {
        body["apiVersion"] = "certificates.k8s.io/v1".into();
        body["kind"] = "CertificateSigningRequest".into();
        body["metadata"] = json!({"name": "r"});
        let path = format!("{path}/r{door}?fieldManager={manager}");
        api.send(admin(), request("PATCH", &path, "application/apply-patch+yaml", body.to_string())).await
    };
    let spec = |usage: &str| json!({"spec": {"request": base64(REQUEST), "usages": [usage], "signerName": "example.com/own"}});
    let (code, made) = apply("", "maker", spec("client auth")).await;
    assert_eq!((code, &made["spec"]["usages"][0]), (201, &json!("client auth")), "{made}");
    let (code, same) = apply("", "other", spec("server auth")).await;
    assert_eq!((code, &same["spec"]["usages"][0]), (200, &json!("client auth")), "{same}");
    let condition = |kind: &str| json!([{"type": kind, "status": "True", "reason": "r"}]);
    let approval = json!({"status": {"certificate": "eHh4", "conditions": condition("Approved")}});
    let (code, approved) = apply("/approval", "approver", approval).await;
    assert_eq!((code, &approved["status"]["certificate"]), (200, &Value::Null), "{approved}");
    let denial = json!({"status": {"certificate": certificate, "conditions": condition("Denied")}});
    let (code, refused) = apply("/status", "signer", denial).await;
    let why = "updates may not add a condition of type \"Denied\"";
    assert!(code == 422 && refused["message"].as_str().unwrap().contains(why), "{refused}");
    let signing = json!({"status": {"certificate": certificate, "conditions": condition("Failed")}});
    let (code, signed) = apply("/status", "signer", signing).await;
    assert_eq!((code, &signed["status"]["certificate"]), (200, &json!(certificate)), "{signed}");
    let entries = signed["metadata"]["managedFields"].as_array().unwrap();
    let owned = |manager: &str| {
        let entry = entries.iter().find(|e| e["manager"] == manager);
        entry.map_or(Value::Null, |e| e["fieldsV1"].clone())
    };
    assert_eq!(owned("signer"), json!({"f:status": {"f:certificate": {}}}));
    assert_eq!(owned("approver")["f:status"]["f:certificate"], Value::Null);
    assert_eq!(owned("maker"), Value::Null);
}

#[tokio::test]
async fn who_may_update_and_not_create_creates_nothing() {
    let api = Api::new().await;
    let eve = User::new("eve", &[]);
    let groups = json!([
        rule("", &["configmaps"], &["update", "patch"]),
        rule("coordination.k8s.io", &["leases"], &["update", "patch"])
    ]);
    grant(&api, "eve", "default", groups).await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "b"}});
    let put = |body: &Value| request("PUT", &format!("{leases}/l"), "application/json", body.to_string());
    let apply = |body: &Value| {
        request("PATCH", &format!("{CM}/m?fieldManager=e"), "application/apply-patch+yaml", body.to_string())
    };
    for (asked, what) in [(put(&lease), "leases"), (apply(&map), "configmaps")] {
        let (code, status) = api.send(eve.clone(), asked).await;
        let message = status["message"].as_str().unwrap_or_default();
        assert!(code == 403 && message.contains(&format!("cannot create resource \"{what}\"")), "{status}");
    }
    let groups = json!([
        rule("", &["configmaps"], &["create"]),
        rule("coordination.k8s.io", &["leases"], &["create"])
    ]);
    grant(&api, "eve", "default", groups).await;
    assert_eq!(api.send(eve.clone(), put(&lease)).await.0, 201);
    assert_eq!(api.send(eve.clone(), apply(&map)).await.0, 201);
}

/// CVE-2019-11247 and its kin: the namespace of a path is where rights are looked up, so nothing
/// outside of it may be reached by that path.
#[tokio::test]
async fn rights_in_a_namespace_reach_no_object_outside_of_it() {
    let api = Api::new().await;
    let owner = User::new("owner", &[]);
    grant(&api, "owner", "default", json!([rule("*", &["*"], &["*"])])).await;
    assert_eq!(api.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await.0, 201);
    let ask =
        |method: &str, path: &str| api.send(owner.clone(), request(method, path, "application/json", "{}"));
    assert_eq!(ask("GET", "/api/v1/namespaces/default").await.0, 200, "his own namespace");
    let within = "/api/v1/namespaces/default";
    for (method, path) in [
        ("GET", format!("{within}/namespaces/other")),
        ("GET", format!("{within}/namespaces")),
        ("GET", "/api/v1/watch/namespaces/default/namespaces".into()),
        ("DELETE", format!("{within}/namespaces/other")),
        ("PUT", format!("{within}/namespaces/other/finalize")),
        ("GET", format!("{within}/nodes")),
        ("GET", format!("{RBAC}/namespaces/default/clusterroles/cluster-admin")),
        ("GET", format!("{RBAC}/namespaces/default/clusterroles")),
    ] {
        let (code, body) = ask(method, &path).await;
        assert_eq!(code, 404, "{method} {path}: {body}");
    }
    assert_eq!(api.get("/api/v1/namespaces/other").await.0, 200);
    for path in
        ["/api/v1/namespaces/other", "/api/v1/namespaces", "/api/v1/namespaces/other/pods", "/api/v1/pods"]
    {
        assert_eq!(ask("GET", path).await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn nothing_is_deleted_across_namespaces() {
    let api = Api::new().await;
    assert_eq!(api.post(CM, cm("a", "1")).await.0, 201);
    for (method, path) in [("DELETE", "/api/v1/configmaps"), ("POST", "/api/v1/configmaps")] {
        let (code, status) = api.send(admin(), request(method, path, "application/json", "{}")).await;
        assert_eq!((code, &status["reason"]), (405, &json!("MethodNotAllowed")), "{method} {path}");
    }
    assert_eq!(api.get(&format!("{CM}/a")).await.0, 200);
    // a right to one name is none to a collection, whatever its selector
    let bob = User::new("bob", &[]);
    let named = json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["deletecollection", "list"]}]);
    grant(&api, "bob", "default", named).await;
    let selected = format!("{CM}?fieldSelector=metadata.name%3Da");
    assert_eq!(api.send(bob.clone(), request("GET", &selected, "", "")).await.0, 200);
    assert_eq!(api.send(bob.clone(), request("DELETE", &selected, "", "")).await.0, 403);
    let escaped = format!("{CM}?fieldSelector=metadata.namespace%3Ddefault%5C,metadata.name%5C%3Da");
    assert_eq!(
        api.send(bob, request("GET", &escaped, "", "")).await.0,
        403,
        "one term, which names no object"
    );
}

#[tokio::test]
async fn a_star_among_the_subjects_is_nobody() {
    let api = Api::new().await;
    for kind in ["User", "Group"] {
        let binding = json!({"metadata": {"name": kind.to_lowercase()}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": kind, "name": "*"}]});
        assert_eq!(api.post(&format!("{RBAC}/clusterrolebindings"), binding).await.0, 201);
    }
    for user in [User::anonymous(), User::new("bob", &[])] {
        let (code, body) = api.send(user, request("GET", "/api/v1/pods", "", "")).await;
        assert_eq!(code, 403, "{body}");
    }
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let api = Api::new().await;
    const PODS: &str = "/api/v1/namespaces/default/pods";
    const SECRETS: &str = "/api/v1/namespaces/default/secrets";
    const NODES: &str = "/api/v1/nodes";
    let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let valid = async |token: &Value| {
        let review = json!({"spec": {"token": token}});
        let told = api.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.1;
        told["status"]["authenticated"] == json!(true)
    };
    let account = "/api/v1/namespaces/default/serviceaccounts/default/token";
    for (kind, all, object) in [
        ("Pod", PODS, pod),
        ("Secret", SECRETS, json!({"metadata": {"name": "x"}})),
        ("Node", NODES, json!({"metadata": {"name": "x"}})),
    ] {
        assert_eq!(api.post(all, object.clone()).await.0, 201, "{kind}");
        let ask = json!({"spec": {"expirationSeconds": 600, "boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": "x"}}});
        let (code, made) = api.post(account, ask).await;
        assert_eq!(code, 201, "{made}");
        let token = made["status"]["token"].clone();
        assert!(valid(&token).await, "{kind}");
        assert_eq!(api.delete(&format!("{all}/x"), json!({})).await.0, 200);
        assert!(!valid(&token).await, "{kind} is gone, and the signature is remembered");
        assert_eq!(api.post(all, object).await.0, 201);
        assert!(!valid(&token).await, "another {kind} of that name");
    }
    // the account itself, remade under its name
    let token =
        api.post(account, json!({"spec": {"expirationSeconds": 600}})).await.1["status"]["token"].clone();
    assert!(valid(&token).await);
    assert_eq!(api.delete(account.trim_end_matches("/token"), json!({})).await.0, 200);
    assert_eq!(
        api.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}}))
            .await
            .0,
        201
    );
    assert!(!valid(&token).await);
}

#[tokio::test]
async fn floods_get_429_and_the_cluster_goes_on() {
    use crate::flowcontrol::bounds::{READING_MAX, WRITING_MAX};
    use http_body_util::StreamBody;
    let api = Api::new().await;
    let bob = User::new("bob", &[]);
    grant(&api, "bob", "default", json!([rule("", &["configmaps"], &["*"])])).await;
    assert_eq!(
        api.post(CM, json!({"metadata": {"name": "big"}, "data": {"n": "x".repeat(20_000)}})).await.0,
        201
    );
    let list = || api.fixture.server.call(request("GET", CM, "", ""), bob.clone());
    // Answers that nobody reads keep their place. One user has half of the places.
    let mut unread = vec![];
    for n in 0..READING_MAX / 2 {
        let answer = list().await;
        assert_eq!(answer.status(), 200, "{n}");
        unread.push(answer);
    }
    let answer = list().await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    let status: Value =
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(
        (&status["reason"], &status["message"], &status["details"]["retryAfterSeconds"]),
        (&json!("TooManyRequests"), &json!("Too many requests, please try again later."), &json!(1))
    );
    // Not for the cluster's own, for watches, or for health checks; and writes have a bound of
    // their own.
    let ask = |path: &str| request("GET", path, "", "");
    assert_eq!(api.get(CM).await.0, 200);
    assert_eq!(api.send(User::new("system:kube-scheduler", &[]), ask("/version")).await.0, 200);
    let watch = api.fixture.server.call(ask(&format!("{CM}?watch=true")), bob.clone()).await;
    assert_eq!(watch.status(), 200);
    assert_eq!(api.send(User::anonymous(), ask("/readyz")).await.0, 200);
    let write = |n: &str| request("POST", CM, "application/json", cm(n, "1").to_string());
    assert_eq!(api.send(bob.clone(), write("a")).await.0, 201);
    // Read to the end, they are whole, and their places are free.
    let first = unread.pop().unwrap();
    let length = ::http_body::Body::size_hint(first.body()).exact().unwrap();
    assert_eq!(first.into_body().collect().await.unwrap().to_bytes().len() as u64, length);
    assert_eq!(list().await.status(), 200);
    drop(unread);
    // Bodies that never end hold memory, and no place: more of them than may write at a time.
    let server = &api.fixture.server;
    let slow: Vec<_> = (0..WRITING_MAX + 10)
        .map(|_| {
            let body = StreamBody::new(futures::stream::pending()).boxed_unsync();
            let asked = Request::builder().method("POST").uri(CM).body(body).unwrap();
            tokio::spawn({
                let (server, bob) = (server.clone(), bob.clone());
                async move { server.call(asked, bob).await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(api.send(bob.clone(), write("b")).await.0, 201);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    let (_, metrics) = api.get("/metrics").await;
    assert!(metrics.as_str().unwrap().contains("apiserver_dropped_requests_total 1"), "{metrics}");
}

#[tokio::test]
async fn bodies_share_a_bound_of_memory() {
    use ::http_body::Frame;
    use futures::StreamExt;
    use http_body_util::StreamBody;
    let api = Api::new().await;
    let bob = User::new("bob", &[]);
    grant(&api, "bob", "default", json!([rule("", &["configmaps"], &["*"])])).await;
    let (sent, arrived) = (Bytes::from(vec![b' '; 3 << 20]), Arc::new(tokio::sync::Semaphore::new(0)));
    let slow: Vec<_> = (0..10)
        .map(|_| {
            let (sent, arrived) = (sent.clone(), arrived.clone());
            let piece = futures::stream::once(async move { Ok(Frame::data(sent)) });
            let rest = futures::stream::once(async move {
                arrived.add_permits(1);
                std::future::pending().await
            });
            let body = StreamBody::new(piece.chain(rest)).boxed_unsync();
            let asked = Request::builder().method("POST").uri(CM).body(body).unwrap();
            let (server, bob) = (api.fixture.server.clone(), bob.clone());
            tokio::spawn(async move { server.call(asked, bob).await.status() })
        })
        .collect();
    let _ = arrived.acquire_many(10).await.unwrap();
    let big = json!({"metadata": {"name": "b"}, "data": {"n": "x".repeat((1 << 20) + 10)}}).to_string();
    let post = |user: User, body: String| api.send(user, request("POST", CM, "application/json", body));
    let (code, status) = post(bob.clone(), format!("{big}{}", " ".repeat(1 << 20))).await;
    assert_eq!(code, 429, "{status}");
    assert_eq!(post(bob.clone(), cm("small", "1").to_string()).await.0, 201, "there is room for a small one");
    assert_eq!(
        post(admin(), big).await.0,
        422,
        "the cluster's own are not held up: only its size is refused"
    );
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    for one in slow {
        let _ = one.await;
    }
    assert_eq!(post(bob, cm("after", "1").to_string()).await.0, 201);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    use crate::flowcontrol::bounds::Bounds;
    use crate::request::info::Info;
    let body = http_body_util::StreamBody::new(futures::stream::pending()).boxed_unsync();
    let asked = Request::builder().method("POST").uri(CM).body(body).unwrap();
    let info = Info { verb: "create".into(), is_resource: true, ..Info::default() };
    let start = tokio::time::Instant::now();
    let seat = crate::flowcontrol::seat::Seat::new(None);
    let refused = Bounds::default().read(&User::new("bob", &[]), &info, &seat, asked).await.err().unwrap();
    assert_eq!((refused.code, start.elapsed().as_secs()), (408, 60));
}

#[tokio::test]
async fn no_service_catches_the_clusters_own_addresses() {
    let api = Api::new().await;
    let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.3.0/24"}});
    assert_eq!(api.post("/api/v1/nodes", node).await.0, 201);
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "172.30.0.11"}]}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    let services = "/api/v1/namespaces/default/services";
    let service = |ip: &str| json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 443}], "externalIPs": [ip]}});
    for ip in [
        "172.30.0.11",
        "172.30.0.1",
        "10.244.3.9",
        "10.96.0.1",
        "::ffff:10.96.0.1",
        "010.96.0.1",
        "172.030.0.011",
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "x",
    ] {
        let (code, answer) = api.post(services, service(ip)).await;
        assert_eq!(code, 422, "{ip}: {answer}");
        assert!(
            answer["message"].as_str().unwrap().contains("spec.externalIPs[0]: Invalid value"),
            "{answer}"
        );
    }
    for (ip, told) in [
        ("2001:db8::1", "nothing leads to 2001:db8::1"),
        ("203.0.113.250", "connections of all pods to 203.0.113.250"),
    ] {
        let ask = request("POST", services, "application/json", service(ip).to_string());
        let _ = api.delete(&format!("{services}/s"), json!({})).await;
        let made = api.fixture.server.call(ask, admin()).await;
        assert_eq!(made.status(), 201);
        assert!(made.headers()["warning"].to_str().unwrap().contains(told), "{:?}", made.headers());
    }
    let (code, answer) =
        api.patch(&format!("{services}/s"), json!({"spec": {"externalIPs": ["172.30.0.11"]}})).await;
    assert_eq!(code, 422, "{answer}");
    // CVE-2021-25737
    let slice = json!({"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}], "ports": [{"port": 80}]});
    let (code, answer) = api.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await;
    assert!(
        code == 422 && answer["message"].as_str().unwrap().contains("may not be in the loopback range"),
        "{answer}"
    );
    let endpoints = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "169.254.169.254"}], "ports": [{"port": 80}]}]});
    let (code, answer) = api.post("/api/v1/namespaces/default/endpoints", endpoints).await;
    assert!(
        code == 422 && answer["message"].as_str().unwrap().contains("may not be in the link-local range"),
        "{answer}"
    );
}

/// CVE-2022-3294 and CVE-2018-1002105: what answers at a node's address gets this server's rights
/// only if it is that node's kubelet.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_nodes_own_kubelet_is_spoken_to() {
    let api = Api::new().await;
    let kubelet = fake_kubelet(&api).await;
    let server =
        api.fixture.kubeconfig.split("https://127.0.0.1:").nth(1).unwrap().split('\'').next().unwrap();
    let server: u16 = server.parse().unwrap();
    for (name, port) in [("n1", kubelet.port()), ("n2", kubelet.port()), ("n3", server)] {
        assert_eq!(api.post("/api/v1/nodes", json!({"metadata": {"name": name}})).await.0, 201);
        let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
        assert_eq!(api.patch(&format!("/api/v1/nodes/{name}/status"), status).await.0, 200);
    }
    assert_eq!(api.get("/api/v1/nodes/n1/proxy/healthz").await, (200, "/healthz\n".into()));
    for path in
        ["/api/v1/nodes/n2/proxy/healthz", "/api/v1/nodes/n3/proxy/api/v1/namespaces/kube-system/secrets"]
    {
        let (code, status) = api.get(path).await;
        let message = status["message"].as_str().unwrap_or_default();
        assert!(code == 502 && message.contains("not for the node's kubelet"), "{path}: {status}");
    }
    let proxied = |rest: &str| format!("/api/v1/nodes/{rest}");
    for (path, asked) in [
        ("n1/proxy/logs/a%20b", "/logs/a%20b"),
        ("n1/proxy/logs/a%3Fb?c=d%20e", "/logs/a%3Fb?c=d%20e"),
        ("n1/proxy/logs/%EA%B0%80", "/logs/%EA%B0%80"),
        ("n1/proxy/logs/", "/logs/"),
        ("n1/proxy/logs/x%2F..%2Fy//z", "/logs/y/z"),
        ("n1/proxy/", "/"),
        (&format!("https:n1:{}/proxy/healthz", kubelet.port()), "/healthz"),
    ] {
        assert_eq!(api.get(&proxied(path)).await, (200, format!("{asked}\n").into()), "{path}");
    }
    for path in ["n1:1/proxy/healthz", "ftp:n1:1/proxy/healthz"] {
        assert_eq!(api.get(&proxied(path)).await.0, 400, "{path}");
    }
    // A redirect is neither followed nor passed on (CVE-2020-8559, CVE-2022-3172).
    let (code, status) = api.get("/api/v1/nodes/n1/proxy/redirect").await;
    assert_eq!(
        (code, status["message"].as_str()),
        (502, Some("the backend attempted to redirect this request, which is not permitted"))
    );
}

/// CVE-2018-1002105: after a kubelet has refused to change protocols, what the client sends next is
/// a request of its own again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_opens_no_way_to_the_kubelet() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = Api::new().await;
    let kubelet = fake_kubelet(&api).await;
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    let pod = json!({"metadata": {"name": "refuse"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx"}]}});
    assert_eq!(api.post("/api/v1/namespaces/default/pods", pod).await.0, 201);
    grant(&api, "eve", "default", json!([rule("", &["pods/exec"], &["create", "get"])])).await;
    let client = api.fixture.ca.issue(&pki::Subject::client("eve", "")).unwrap();
    let tls = pki::client_config(Some(&client), api.fixture.ca.pem(), &[]).unwrap();
    let server = api.fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    let tcp = tokio::net::TcpStream::connect(server).await.unwrap();
    let name = pki::server_name("127.0.0.1").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap();
    let both = "GET /api/v1/namespaces/default/pods/refuse/exec?command=sh&container=c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n\
        GET /stats/summary HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut answers = vec![];
    // It may hang up without TLS's farewell: what came before counts.
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answers)).await.unwrap();
    let answers = String::from_utf8(answers).unwrap();
    assert!(answers.starts_with("HTTP/1.1 403"), "{answers}");
    let second = answers.rsplit("HTTP/1.1 ").next().unwrap();
    assert!(second.starts_with("403") && second.contains("User \\\"eve\\\" cannot get path"), "{answers}");
}

/// CVE-2023-2728: no container of a pod reads a secret that its account may not mount.
#[tokio::test]
async fn an_account_may_bound_the_secrets_of_its_pods() {
    let api = Api::new().await;
    let account = json!({"metadata": {"name": "tight", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}, "secrets": [{"name": "own"}]});
    assert_eq!(api.post("/api/v1/namespaces/default/serviceaccounts", account).await.0, 201);
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, secret: &str, volume: &str| {
        let env = json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
        json!({"metadata": {"name": name}, "spec": {"serviceAccountName": "tight",
            "volumes": [{"name": "v", "secret": {"secretName": volume}}], "containers": [{"name": "c", "image": "i", "env": env}]}})
    };
    let end = "is not allowed because service account tight does not reference that secret";
    for (object, why) in [
        (
            pod("a", "other", "own"),
            format!("container c with envVar E referencing secret.secretName=\"other\" {end}"),
        ),
        (pod("a", "own", "other"), format!("volume with secret.secretName=\"other\" {end}")),
    ] {
        let (code, status) = api.post(pods, object).await;
        assert!(code == 403 && status["message"].as_str().unwrap().ends_with(&why), "{status}");
    }
    assert_eq!(api.post(pods, pod("fine", "own", "own")).await.0, 201);
    let debug = |secret: &str| json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i", "envFrom": [{"secretRef": {"name": secret}}]}]}});
    let path = format!("{pods}/fine/ephemeralcontainers");
    let (code, status) = api.patch(&path, debug("other")).await;
    let why = format!("ephemeral container e with envFrom referencing secret.secretName=\"other\" {end}");
    assert!(code == 403 && status["message"].as_str().unwrap().ends_with(&why), "{status}");
    let (code, status) = api.patch(&path, debug("own")).await;
    assert_eq!(code, 200, "{status}");
    // A mirror pod, for which nobody looks after accounts, may have none.
    let mut mirror = pod("m", "own", "own");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = json!("n");
    let (code, status) = api.post(pods, mirror.clone()).await;
    assert!(
        code == 403 && status["message"].as_str().unwrap().ends_with("may not reference service accounts"),
        "{status}"
    );
    mirror["spec"].as_object_mut().unwrap().remove("serviceAccountName");
    let (code, status) = api.post(pods, mirror).await;
    assert!(
        code == 403 && status["message"].as_str().unwrap().ends_with("may not reference secrets"),
        "{status}"
    );
}

#[tokio::test]
async fn a_review_is_not_answered_as_a_table() {
    let api = Api::new().await;
    let ask = |accept: &'static str| {
        let body = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let mut asked = request("POST", path, "application/json", body.to_string());
        asked.headers_mut().insert("accept", ::http::HeaderValue::from_static(accept));
        api.send(admin(), asked)
    };
    let (code, status) = ask("application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!((code, &status["reason"]), (406, &json!("NotAcceptable")), "{status}");
    let (code, review) = ask("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await;
    assert_eq!((code, &review["status"]["allowed"]), (201, &json!(true)), "{review}");
}

/// A kubelet may list the pods of its node, and a review says so.
#[tokio::test]
async fn a_review_looks_at_the_field_selector() {
    let api = Api::new().await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let ask = |selector: Value| {
        let resource = json!({"verb": "list", "resource": "pods", "fieldSelector": selector});
        let spec =
            json!({"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": resource});
        api.post(path, json!({"spec": spec}))
    };
    for (node, allowed) in [("n1", true), ("n2", false)] {
        let term = json!({"key": "spec.nodeName", "operator": "In", "values": [node]});
        let (code, review) = ask(json!({"requirements": [term]})).await;
        assert_eq!((code, &review["status"]["allowed"]), (201, &json!(allowed)), "{review}");
        let (_, review) = ask(json!({"rawSelector": format!("spec.nodeName={node}")})).await;
        assert_eq!(review["status"]["allowed"], allowed, "{review}");
    }
    let (code, status) = ask(json!({})).await;
    assert_eq!(
        (code, status["message"].as_str()),
        (
            422,
            Some(
                "SubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required"
            )
        )
    );
    let (code, status) = api.post(path, json!({"metadata": {"name": "x"}, "spec": {}})).await;
    let message = status["message"].as_str().unwrap_or_default();
    for part in
        ["exactly one of", "at least one of user or group", "metadata: Invalid value", "must be empty"]
    {
        assert!(code == 422 && message.contains(part), "{part}: {status}");
    }
    let local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let spec = |namespace: &str| json!({"user": "u", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": namespace}});
    assert_eq!(api.post(local, json!({"spec": spec("other")})).await.0, 422);
    assert_eq!(
        api.post(local, json!({"metadata": {"namespace": "other"}, "spec": spec("default")})).await.0,
        400
    );
    assert_eq!(api.post(local, json!({"spec": spec("default")})).await.0, 201);
    let path = json!({"user": "u", "nonResourceAttributes": {"verb": "get", "path": "/"}});
    assert_eq!(api.post(local, json!({"spec": path})).await.0, 422);
}
