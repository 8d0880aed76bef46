//! Several clients, several servers, and a store that others write to as well.

use crate::auth::user::User;
use crate::registry::{bootstrap, crd, services};
use crate::request::http::full;
use crate::testing::Api;
use crate::tests::blocking_store::BlockingStore;
use ::http::Request;
use etcd::api::{PutRequest, RangeRequest, RequestOp, TxnRequest};
use etcd::{Kv, Storage};
use futures::FutureExt;
use http_body_util::BodyExt;
use rng::Rng;
use serde_json::{Value, json};
use std::sync::Arc;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

fn admin() -> User {
    User::new("system:admin", &["system:masters"])
}

impl Api {
    /// Writes to the store as `etcdctl put` and `etcdctl del` (no value) do, and waits until the
    /// server has heard of it.
    async fn etcdctl(&self, key: &str, value: Option<String>) {
        let key: bytes::Bytes = key.to_string().into();
        let op = match value {
            Some(value) => RequestOp::Put(PutRequest { key, value: value.into(), ..Default::default() }),
            None => RequestOp::DeleteRange(etcd::api::DeleteRangeRequest { key, ..Default::default() }),
        };
        let txn = TxnRequest { success: vec![op], ..TxnRequest::default() };
        self.state().kv.txn(txn).await.unwrap();
        self.state().fresh().await.unwrap();
    }
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

/// Of many patches at once that set no resourceVersion every one succeeds, and of deletions every
/// one says what is true.
#[tokio::test]
async fn patches_without_a_version_never_conflict() {
    let api = Api::new().await;
    assert_eq!(api.post(MAPS, json!({"metadata": {"name": "c"}})).await.0, 201);
    let path = format!("{MAPS}/c");
    let all = (0..60).map(|n| api.patch(&path, json!({"data": {format!("k{n}"): "v"}})));
    for (code, answer) in futures::future::join_all(all).await {
        assert_eq!(code, 200, "{answer}");
    }
    let there = api.get(&path).await.1;
    assert_eq!(there["data"].as_object().map(serde_json::Map::len), Some(60));
    // One that names the version that it wants to replace has its conflict.
    let locked = json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "b"}});
    assert_eq!(api.patch(&path, locked).await.0, 409);
    let patches = (0..40).map(|n| api.patch(&path, json!({"data": {format!("l{n}"): "v"}})));
    let (deleted, _) = tokio::join!(api.delete(&path, json!({})), futures::future::join_all(patches));
    assert_eq!(deleted.0, 200, "{}", deleted.1);
}

/// The second server has not heard of what the first one just did, as the test gives it no time to.
#[tokio::test]
async fn no_create_is_refused_by_what_a_server_remembers() {
    let kv: Arc<dyn Storage> = Arc::new(Kv::in_memory(Rng::seeded(7)));
    let (a, b) = (Api::on(kv.clone()).await, Api::on(kv).await);
    assert_eq!(a.post("/api/v1/namespaces", json!({"metadata": {"name": "shop"}})).await.0, 201);
    let of = |plural: &str| format!("/api/v1/namespaces/shop/{plural}");
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/secrets": "1"}}});
    assert_eq!(a.post(&of("resourcequotas"), quota).await.0, 201);
    let used = json!({"status": {"hard": {"count/secrets": "1"}, "used": {"count/secrets": "0"}}});
    let status = format!("{}/q/status", of("resourcequotas"));
    assert_eq!(a.patch(&status, used.clone()).await.0, 200);
    for n in 0..30 {
        let name = format!("x{n}");
        let named = |kind: &str| json!({"kind": kind, "metadata": {"name": name}});
        assert_eq!(a.post(&of("serviceaccounts"), named("ServiceAccount")).await.0, 201);
        let mut with_account = pod(&name);
        with_account["spec"]["serviceAccountName"] = name.clone().into();
        let (code, answer) = b.post(&of("pods"), with_account).await;
        assert_eq!(code, 201, "{answer}");

        let class = json!({"metadata": {"name": name}, "value": 7});
        assert_eq!(a.post("/apis/scheduling.k8s.io/v1/priorityclasses", class).await.0, 201);
        let mut important = pod(&format!("important{n}"));
        important["spec"]["priorityClassName"] = name.clone().into();
        important["spec"]["serviceAccountName"] = name.clone().into();
        let (code, answer) = b.post(&of("pods"), important).await;
        assert_eq!((code, &answer["spec"]["priority"]), (201, &json!(7)), "{answer}");

        for spec in [
            json!({"type": "NodePort", "clusterIP": "10.96.7.7", "ports": [{"port": 80, "nodePort": 30080}]}),
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30090,
                "ports": [{"port": 80}]}),
        ] {
            let service = |name: &str| json!({"metadata": {"name": name}, "spec": spec});
            assert_eq!(a.post(&of("services"), service("one")).await.0, 201);
            assert_eq!(a.delete(&format!("{}/one", of("services")), json!({})).await.0, 200);
            let (code, answer) = b.post(&of("services"), service("other")).await;
            assert_eq!(code, 201, "{answer}");
            assert_eq!(b.delete(&format!("{}/other", of("services")), json!({})).await.0, 200);
        }

        let (code, answer) = b.post(&of("secrets"), named("Secret")).await;
        assert_eq!(code, 201, "{answer}");
        assert_eq!(b.delete(&format!("{}/{name}", of("secrets")), json!({})).await.0, 200);
        assert_eq!(a.patch(&status, used.clone()).await.0, 200);
    }
}

/// `etcdctl del` of a Service leaves its reservations behind: the next Service that asks for them
/// gets them, and the repair gives back those that no Service asks for.
#[tokio::test]
async fn a_reservation_without_its_service_is_given_back() {
    let api = Api::new().await;
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "clusterIP": "10.96.7.7", "ports": [{"port": 80, "nodePort": 30080}]}});
    assert_eq!(api.post(SERVICES, service("web")).await.0, 201);
    let (code, answer) = api.post(SERVICES, service("other")).await;
    assert!(code == 422 && answer["message"].as_str().unwrap().contains("already allocated"), "{answer}");
    api.etcdctl("/registry/services/default/web", None).await;
    let (code, answer) = api.post(SERVICES, service("other")).await;
    assert_eq!(code, 201, "{answer}");
    api.etcdctl("/registry/services/default/other", None).await;
    assert_eq!(
        reserved(&api).await.len(),
        3,
        "the address and the port, and what the service kubernetes has"
    );
    services::repair(&api.fixture.server.state).await.unwrap();
    assert_eq!(reserved(&api).await, ["/registry/ranges/serviceips/10.96.0.1"]);
}

async fn reserved(api: &Api) -> Vec<String> {
    let all = etcd::api::RangeRequest {
        key: "/registry/ranges/".into(),
        range_end: "/registry/ranges0".into(),
        ..Default::default()
    };
    let found = api.fixture.server.state.kv.range(all).await.unwrap().kvs;
    found.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
}

/// Upstream keeps both ranges as bitmaps, so a Service may have as many ports as it likes.
#[tokio::test]
async fn a_service_may_have_more_ports_than_a_transaction_has_operations() {
    let api = Api::new().await;
    let ports: Vec<Value> = (1..=140).map(|n| json!({"name": format!("p{n}"), "port": n})).collect();
    let many = json!({"metadata": {"name": "many"}, "spec": {"type": "NodePort", "ports": ports}});
    let (code, answer) = api.post(SERVICES, many).await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!(api.delete(&format!("{SERVICES}/many"), json!({})).await.0, 200);
    assert_eq!(reserved(&api).await.len(), 1, "all were given back");
}

/// The code is upstream's, which reserves this port last.
#[tokio::test]
async fn a_port_for_health_checks_is_taken_as_any_other() {
    let api = Api::new().await;
    let node_port = json!({"metadata": {"name": "web"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}});
    assert_eq!(api.post(SERVICES, node_port).await.0, 201);
    let local = |name: &str, number: i64, own: i64| {
        json!({"metadata": {"name": name}, "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "healthCheckNodePort": number, "ports": [{"port": 80, "nodePort": own}]}})
    };
    for (number, own, why) in [
        (30080, 30081, "provided port is already allocated"),
        (30081, 30081, "provided port is already allocated"),
        (80, 30081, "provided port is not in the valid range"),
    ] {
        let (code, answer) = api.post(SERVICES, local("balanced", number, own)).await;
        let said = answer["message"].as_str().unwrap();
        let begin =
            format!("Internal error occurred: failed to allocate requested HealthCheck NodePort {number}: ");
        assert!(
            code == 500 && said.strip_prefix(&begin).is_some_and(|rest| rest.starts_with(why)),
            "{answer}"
        );
    }
    let both = local("balanced", 30080, 30080);
    assert_eq!(api.post(SERVICES, both).await.0, 422, "the node port is refused first");
    assert_eq!(api.post(SERVICES, local("balanced", 30082, 30081)).await.0, 201);
    let moved = json!({"spec": {"ports": [{"port": 80, "nodePort": 30082}]}});
    let (code, answer) = api.patch(&format!("{SERVICES}/balanced"), moved).await;
    let field = "spec.ports[0].nodePort: Invalid value: 30082: provided port is already allocated";
    assert!(code == 422 && answer["message"].as_str().unwrap().contains(field), "{answer}");
    let (code, answer) = api
        .patch(&format!("{SERVICES}/balanced"), json!({"spec": {"externalTrafficPolicy": "Cluster"}}))
        .await;
    assert_eq!((code, &answer["spec"]["healthCheckNodePort"]), (200, &Value::Null), "{answer}");
    let other = json!({"metadata": {"name": "other"}, "spec": {"type": "ClusterIP", "healthCheckNodePort": 30090, "ports": [{"port": 80}]}});
    assert_eq!(api.post(SERVICES, other).await.0, 422);
}

/// An object of every cluster that cannot be made does not keep the others from being made.
#[tokio::test]
async fn a_taken_address_keeps_no_namespace_from_coming_back() {
    let api = Api::new().await;
    assert_eq!(api.delete(&format!("{SERVICES}/kubernetes"), json!({})).await.0, 200);
    let thief =
        json!({"metadata": {"name": "thief"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 443}]}});
    assert_eq!(api.post(SERVICES, thief).await.0, 201);
    api.etcdctl("/registry/namespaces/kube-node-lease", None).await;
    let state = &api.fixture.server.state;
    bootstrap::keep(state).await.unwrap();
    assert_eq!(api.get("/api/v1/namespaces/kube-node-lease").await.0, 200);
    assert_eq!(api.get(&format!("{SERVICES}/kubernetes")).await.0, 404);
    assert_eq!(api.delete(&format!("{SERVICES}/thief"), json!({})).await.0, 200);
    bootstrap::keep(state).await.unwrap();
    assert_eq!(api.get(&format!("{SERVICES}/kubernetes")).await.0, 200);
}

/// A pod that waits goes without its budget's leave, but not if it became Ready while it was about
/// to go.
#[tokio::test]
async fn a_pod_that_becomes_ready_is_not_evicted_as_one_that_waits() {
    let api = Api::new().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    assert_eq!(api.post(budgets, budget).await.0, 201);
    let counted = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    assert_eq!(api.patch(&format!("{budgets}/b/status"), counted).await.0, 200);
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let rng = Rng::seeded(5);
    for n in 0..60 {
        let name = format!("p{n}");
        let mut waiting = pod(&name);
        waiting["spec"]["nodeName"] = "n".into();
        assert_eq!(api.post(PODS, waiting).await.0, 201);
        let path = format!("{PODS}/{name}");
        let start = async {
            for _ in 0..rng.range(0, 60) {
                tokio::task::yield_now().await;
            }
            api.patch(&format!("{path}/status"), ready.clone()).await
        };
        let door = format!("{path}/eviction");
        let evict = api.post(&door, json!({"metadata": {"name": name}}));
        let (evicted, started) = tokio::join!(evict, start);
        let there = api.get(&path).await.1;
        let was_terminating = started.1["metadata"]["deletionTimestamp"].is_string();
        let is_terminating = there["metadata"]["deletionTimestamp"].is_string();
        if started.0 == 200 && !was_terminating {
            assert!(!is_terminating && evicted.0 == 429, "round {n}: {} {there}", evicted.1);
        } else {
            assert_eq!(evicted.0, 201, "round {n}: {}", evicted.1);
        }
    }
}

/// One definition that cannot be reconciled holds up no other.
#[tokio::test]
async fn a_definition_that_fails_holds_up_no_other() {
    let api = Api::new().await;
    let definition = |plural: &str| {
        json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "kind": plural.to_uppercase()},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
    };
    let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(api.post(all, definition("aaas")).await.0, 201);
    let served = async |plural: &str| {
        let path = format!("/apis/example.com/v1/namespaces/default/{plural}");
        let mut progress = api.fixture.server.state.cache.progress();
        let look = async {
            while api.get(&path).await.0 != 200 {
                progress.changed().await.unwrap();
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), look).await.is_ok()
    };
    assert!(served("aaas").await);
    // The first one goes, and one of its objects is larger than the store takes: its deletion,
    // which writes it again, fails for ever.
    let big = json!({"kind": "AAAS", "apiVersion": "example.com/v1", "metadata": {"name": "big", "namespace": "default",
        "finalizers": ["example.com/never"], "creationTimestamp": "2026-01-01T00:00:00Z", "uid": "u"}, "data": "x".repeat(1_572_700)});
    let txn = TxnRequest {
        success: vec![RequestOp::Put(PutRequest {
            key: "/registry/example.com/aaas/default/big".into(),
            value: big.to_string().into(),
            ..Default::default()
        })],
        ..TxnRequest::default()
    };
    let state = &api.fixture.server.state;
    state.kv.txn_unbounded(txn).await.unwrap();
    state.fresh().await.unwrap();
    assert_eq!(api.delete(&format!("{all}/aaas.example.com"), json!({})).await.0, 200);
    assert_eq!(api.post(all, definition("bbbs")).await.0, 201);
    assert!(served("bbbs").await, "the one before it holds it up");
    let mut reconciler = crd::Reconciler::default();
    reconciler.reconcile(state, &api.fixture.tap).await;
    let pause = reconciler.retry_pause("aaas.example.com").expect("a retry");
    reconciler.due().await;
    reconciler.reconcile(state, &api.fixture.tap).await;
    assert_eq!(reconciler.retry_pause("aaas.example.com"), Some(pause * 2), "{reconciler:?}");
    let told = api.get(&format!("{all}/aaas.example.com")).await.1;
    let mut told = told["status"]["conditions"].as_array().into_iter().flatten();
    let failed = told.find(|c| c["reason"] == "InstanceDeletionFailed").expect("the failure is told");
    let why = failed["message"].as_str().unwrap();
    assert!(failed["status"] == "True" && why.starts_with("could not issue all deletes: "), "{failed}");
}

/// Otherwise the other servers write its address out of the `kubernetes` service.
#[tokio::test(start_paused = true)]
async fn a_server_whose_cache_lags_says_that_it_is_there() {
    let kv = Kv::in_memory(Rng::seeded(1).fork("etcd"));
    let behind = BlockingStore::new(kv.clone());
    let api = Api::on(behind.clone()).await;
    let said = async || {
        let (key, range_end) = ("/registry/masterleases/".into(), "/registry/masterleases0".into());
        let all = RangeRequest { key, range_end, ..RangeRequest::default() };
        kv.range(all).await.unwrap().kvs[0].mod_revision
    };
    let before = said().await;
    behind.watches.send_replace(false);
    let put = PutRequest { key: "/other".into(), value: "x".into(), ..PutRequest::default() };
    kv.put(put).await.unwrap();
    let kept = bootstrap::keep(api.state()).await;
    assert_eq!(kept.map_err(|status| status.code), Err(504), "the reservations are not judged");
    assert!(said().await > before);
}

/// They may be tens of thousands.
#[tokio::test]
async fn a_definition_is_served_while_the_objects_of_another_one_are_deleted() {
    let api = Api::bare().await;
    let state = api.state();
    let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = |plural: &str| {
        json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "kind": plural.to_uppercase()},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
    };
    let is_served = |plural: &str| state.cache.kinds().resource("example.com", "v1", plural).is_some();
    let mut progress = state.cache.progress();
    api.made(all, definition("aaas")).await;
    while !is_served("aaas") {
        progress.changed().await.unwrap();
    }
    let put = |n: usize| {
        let metadata = json!({"name": format!("o{n}"), "namespace": "default"});
        let object = json!({"kind": "AAAS", "apiVersion": "example.com/v1", "metadata": metadata});
        let key = format!("/registry/example.com/aaas/default/o{n}").into();
        RequestOp::Put(PutRequest { key, value: object.to_string().into(), ..Default::default() })
    };
    let txn = TxnRequest { success: (0..1000).map(put).collect(), ..TxnRequest::default() };
    state.kv.txn_unbounded(txn).await.unwrap();
    state.fresh().await.unwrap();
    assert_eq!(api.delete(&format!("{all}/aaas.example.com"), json!({})).await.0, 200);
    api.made(all, definition("bbbs")).await;
    while !is_served("bbbs") {
        progress.changed().await.unwrap();
    }
    assert!(!state.cache.list("example.com/aaas", "").objects.is_empty(), "it waited for all of them");
    while state.cache.get(crate::storage::cache::DEFINITIONS, "aaas.example.com").is_some() {
        progress.changed().await.unwrap();
    }
}

/// A definition that is being deleted is looked after when it or one of its objects changes, not
/// when anything does, and a retry waits its time.
#[tokio::test]
async fn a_definition_that_is_being_deleted_waits_for_its_own_objects_only() {
    let api = Api::new().await;
    let state = &api.fixture.server.state;
    let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for plural in ["aaas", "bbbs"] {
        let definition = json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "kind": plural.to_uppercase()},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
        assert_eq!(api.post(all, definition).await.0, 201);
    }
    let is_served = || state.cache.kinds().resource("example.com", "v1", "bbbs").is_some();
    let mut progress = state.cache.progress();
    while !is_served() {
        progress.changed().await.unwrap();
    }
    let held = |kind: &str| json!({"kind": kind, "apiVersion": "example.com/v1", "metadata": {"name": "held", "finalizers": ["example.com/mine"]}});
    let [held_a, held_b] =
        ["aaas", "bbbs"].map(|plural| format!("/apis/example.com/v1/namespaces/default/{plural}"));
    assert_eq!(api.post(&held_a, held("AAAS")).await.0, 201);
    assert_eq!(api.post(&held_b, held("BBBS")).await.0, 201);
    assert_eq!(api.delete(&format!("{all}/aaas.example.com"), json!({})).await.0, 200);
    // The server deletes the object, which its finalizer keeps.
    while api.get(&format!("{held_a}/held")).await.1["metadata"]["deletionTimestamp"].is_null() {
        progress.changed().await.unwrap();
    }
    let mut reconciler = crd::Reconciler::default();
    reconciler.reconcile(state, &api.fixture.tap).await;
    assert!(reconciler.due().now_or_never().is_none(), "nothing has changed");
    assert_eq!(api.post(MAPS, json!({"metadata": {"name": "other"}})).await.0, 201);
    let note = json!({"metadata": {"annotations": {"a": "b"}}});
    assert_eq!(api.patch(&format!("{held_b}/held"), note.clone()).await.0, 200);
    state.fresh().await.unwrap();
    assert!(reconciler.due().now_or_never().is_none(), "no object of its own has changed");
    assert_eq!(api.patch(&format!("{held_a}/held"), note).await.0, 200);
    state.fresh().await.unwrap();
    assert!(reconciler.due().now_or_never().is_some(), "an object of its own has changed");
    reconciler.reconcile(state, &api.fixture.tap).await;
    assert!(reconciler.due().now_or_never().is_none(), "and was reconciled");
    // Without the finalizer the object goes, and the definition after it.
    assert_eq!(api.patch(&format!("{held_a}/held"), json!({"metadata": {"finalizers": null}})).await.0, 200);
    while state.cache.get(crate::storage::cache::DEFINITIONS, "aaas.example.com").is_some() {
        progress.changed().await.unwrap();
    }
}

/// A client that has a revision from another server asks for it here: it never gets an older one.
#[tokio::test]
async fn a_watch_may_begin_in_the_future_and_is_not_led_back() {
    let api = Api::new().await;
    let now: i64 = api.get(MAPS).await.1["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let get = |query: String| {
        let request = Request::builder().uri(format!("{MAPS}?{query}")).body(full("")).unwrap();
        api.fixture.server.call(request, admin())
    };
    let future = format!("watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={}", now + 1000);
    let answer = get(future).await;
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let bookmark: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], (now + 1000).to_string(), "{bookmark}");
    let list = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let answer = get(format!("{list}&resourceVersion={}", now + 1000)).await;
    assert_eq!(answer.status(), 200, "the refusal is an event");
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let refusal: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&refusal["type"], &refusal["object"]["code"]), (&json!("ERROR"), &json!(504)), "{refusal}");
    for (query, code) in [
        ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", 422),
        ("resourceVersion=-5", 400),
        ("resourceVersion=5&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiJhIn0", 400),
    ] {
        assert_eq!(get(query.to_string()).await.status(), code, "{query}");
    }
}

/// Some kinds are created by an update. Upstream does both in one loop, so the slower client
/// updates what the faster one has created.
#[tokio::test]
async fn of_updates_at_the_same_time_one_creates_and_the_others_update() {
    let api = Api::bare().await;
    const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/r";
    let role = |n: usize| json!({"metadata": {"name": "r", "labels": {"n": n.to_string()}}});
    let all = futures::future::join_all((0..8).map(|n| api.put(ROLE, role(n)))).await;
    let mut codes: Vec<u16> = all.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [200, 200, 200, 200, 200, 200, 200, 201], "{all:?}");
}
