//! Objects as they come and go: their definition, their namespace's bounds, evictions, finalizers.

use crate::auth::user::{MASTERS, User};
use crate::registry::write;
use crate::request::context::Context;
use crate::request::info::Info;
use crate::testing::{self, Api, ask};
use crate::tests::blocking_store::BlockingStore;
use etcd::api::RangeRequest;
use etcd::{Kv, Storage};
use rng::Rng;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use task::End;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

fn definition(plural: &str, scope: &str) -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version =
        json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "scope": scope,
        "names": {"plural": plural, "kind": plural.to_uppercase()}, "versions": [version]}})
}

/// It would answer with what was, for ever.
#[tokio::test]
async fn a_server_whose_cache_cannot_be_fed_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = BlockingStore::new(Kv::in_memory(Rng::seeded(1).fork("etcd")));
    let server = testing::start_on(dir.path(), store.clone()).await.server;
    store.panics.send_replace(true);
    let asked = server.clone();
    let create = async move { ask(&asked, "POST", MAPS, json!({"metadata": {"name": "a"}})).await };
    let asking = tokio::spawn(create);
    assert_eq!(server.crew.wait().await, End::Panicked("as asked".into()));
    asking.abort();
}

/// The body of the request came after its definition had gone.
#[tokio::test]
async fn nothing_is_made_of_a_kind_whose_definition_has_gone() {
    let api = Api::new().await;
    let state = &api.fixture.server.state;
    let mut progress = state.cache.progress();
    let mut made = async |scope: &str| {
        api.made(DEFINITIONS, definition("tabs", scope)).await;
        loop {
            if let Some(kind) = state.cache.kinds().resource("example.com", "v1", "tabs") {
                return kind;
            }
            progress.changed().await.unwrap();
        }
    };
    let kind = made("Namespaced").await;
    let info = Info { namespace: "default".into(), ..Info::default() };
    let (query, headers) = Default::default();
    let user = User::new("admin", &[MASTERS]);
    let ctx = Context::new("r".into(), user, info, query, headers, api.fixture.tap.clone());
    let create = async |name: &str| {
        let object = json!({"kind": "TABS", "apiVersion": "example.com/v1", "metadata": {"name": name, "namespace": "default"}});
        write::create_object(state, &ctx, &kind, object).await.map(drop).map_err(|status| status.code)
    };
    assert_eq!(create("a").await, Ok(()));
    assert_eq!(api.ask("DELETE", &format!("{DEFINITIONS}/tabs.example.com"), json!({})).await.0, 200);
    let mut progress = state.cache.progress();
    while state.cache.get(crate::storage::cache::DEFINITIONS, "tabs.example.com").is_some() {
        progress.changed().await.unwrap();
    }
    assert_eq!(create("b").await, Err(404));
    made("Cluster").await;
    assert_eq!(create("c").await, Err(404), "the definition is another one");
}

/// The right to create objects of such a kind is no right to bind pods.
#[tokio::test]
async fn a_custom_kind_named_binding_binds_no_pod() {
    let api = Api::new().await;
    api.made(PODS, pod("p")).await;
    let mut bindings = definition("bindings", "Namespaced");
    bindings["spec"]["names"]["kind"] = "Binding".into();
    api.made(DEFINITIONS, bindings).await;
    let cache = &api.fixture.server.state.cache;
    let mut progress = cache.progress();
    while cache.kinds().resource("example.com", "v1", "bindings").is_none() {
        progress.changed().await.unwrap();
    }
    let path = "/apis/example.com/v1/namespaces/default/bindings";
    let target = json!({"kind": "Node", "name": "n"});
    let binding = |version: &str| json!({"apiVersion": version, "kind": "Binding", "metadata": {"name": "p"}, "target": target});
    let (code, got) = api.ask("POST", path, binding("v1")).await;
    assert_eq!(code, 400, "{got}");
    let (code, got) = api.ask("POST", path, binding("example.com/v1")).await;
    assert_eq!((code, &got["apiVersion"]), (201, &json!("example.com/v1")), "{got}");
    let pod = api.ask("GET", &format!("{PODS}/p"), Value::Null).await.1;
    assert_eq!(pod["spec"].get("nodeName"), None, "{pod}");
}

#[tokio::test]
async fn a_claim_that_is_being_deleted_is_not_held_by_a_range() {
    let api = Api::new().await;
    const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claim = json!({"metadata": {"name": "c", "finalizers": ["example.com/hold"]}, "spec": spec});
    api.made(CLAIMS, claim).await;
    let least = json!([{"type": "PersistentVolumeClaim", "min": {"storage": "2Gi"}}]);
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": least}});
    api.made("/api/v1/namespaces/default/limitranges", range).await;
    let path = format!("{CLAIMS}/c");
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(api.ask("PATCH", &path, label).await.0, 403, "one that stays is judged");
    assert_eq!(api.ask("DELETE", &path, json!({})).await.0, 200);
    let (code, got) = api.ask("PATCH", &path, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, 200, "{got}");
    assert_eq!(api.ask("GET", &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_name_whose_object_is_being_deleted_is_taken_for_this_reason() {
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    let api = Api::new().await;
    let map = json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}});
    api.made(MAPS, map.clone()).await;
    let taken = "configmaps \"a\" already exists";
    assert_eq!(api.post(MAPS, map.clone()).await.1["message"], taken);
    assert_eq!(api.delete(&format!("{MAPS}/a"), json!({})).await.0, 200);
    for path in [MAPS.to_string(), format!("{MAPS}?dryRun=All")] {
        let (code, got) = api.post(&path, map.clone()).await;
        assert_eq!((code, &got["reason"]), (409, &json!("AlreadyExists")), "{got}");
        assert_eq!(got["message"], format!("object is being deleted: {taken}"));
    }
}

#[tokio::test]
async fn an_eviction_of_another_pod_than_the_one_meant_is_a_conflict_at_once() {
    let api = Api::new().await;
    api.made(PODS, pod("web-0")).await;
    for dry_run in [json!([]), json!(["All"])] {
        let options = json!({"preconditions": {"uid": "the-one-before"}, "dryRun": dry_run});
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-0"},
            "deleteOptions": options});
        let (code, got) = api.ask("POST", &format!("{PODS}/web-0/eviction"), eviction).await;
        assert_eq!(code, 409, "{got}");
        assert!(got["message"].as_str().unwrap().contains("UID in the precondition"), "{got}");
    }
    assert_eq!(api.ask("GET", &format!("{PODS}/web-0"), Value::Null).await.0, 200);
}

#[tokio::test]
async fn a_pod_that_gets_a_deadline_is_charged_to_the_quota_of_such_pods() {
    let api = Api::new().await;
    const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
    let spec = json!({"scopes": ["Terminating"], "hard": {"pods": "1"}});
    api.made(QUOTAS, json!({"metadata": {"name": "q"}, "spec": spec})).await;
    let status = json!({"status": {"hard": {"pods": "1"}, "used": {"pods": "0"}}});
    assert_eq!(api.ask("PATCH", &format!("{QUOTAS}/q/status"), status).await.0, 200);
    let deadline = |seconds: u64| json!({"spec": {"activeDeadlineSeconds": seconds}});
    for (name, code) in [("a", 200), ("b", 403)] {
        api.made(PODS, pod(name)).await;
        let (got, answer) = api.ask("PATCH", &format!("{PODS}/{name}"), deadline(3600)).await;
        assert_eq!(got, code, "{answer}");
    }
    let used = api.ask("GET", &format!("{QUOTAS}/q"), Value::Null).await.1["status"]["used"].take();
    assert_eq!(used, json!({"pods": "1"}));
    let (code, answer) = api.ask("PATCH", &format!("{PODS}/a"), deadline(60)).await;
    assert_eq!(code, 200, "it was charged already: {answer}");
}

#[tokio::test]
async fn the_storage_that_a_claim_was_given_is_charged_beyond_the_limit() {
    let api = Api::new().await;
    const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
    const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
    let hard = json!({"requests.storage": "1Gi"});
    api.made(QUOTAS, json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    let status = json!({"status": {"hard": hard, "used": {"requests.storage": "0"}}});
    assert_eq!(api.ask("PATCH", &format!("{QUOTAS}/q/status"), status).await.0, 200);
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    api.made(CLAIMS, json!({"metadata": {"name": "c"}, "spec": spec})).await;
    let given = json!({"status": {"allocatedResources": {"storage": "2Gi"}}});
    let (code, got) = api.ask("PATCH", &format!("{CLAIMS}/c/status"), given).await;
    assert_eq!(code, 200, "{got}");
    let used = api.ask("GET", &format!("{QUOTAS}/q"), Value::Null).await.1["status"]["used"].take();
    assert_eq!(used, json!({"requests.storage": "2Gi"}));
}

/// Otherwise a status that was computed from an old read takes back what an eviction has spent.
#[tokio::test]
async fn a_status_names_the_version_that_it_replaces_where_the_object_has_to() {
    let api = Api::new().await;
    const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}});
    let mut made = api.made(BUDGETS, budget).await;
    made["status"]["disruptionsAllowed"] = 1.into();
    let path = format!("{BUDGETS}/b/status");
    let mut blind = made.clone();
    blind["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let (code, got) = api.ask("PUT", &path, blind).await;
    let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
    let want = format!("poddisruptionbudgets.policy \"b\" is invalid: {why}");
    assert_eq!((code, got["message"].as_str()), (422, Some(want.as_str())), "{got}");
    let blind = json!({"metadata": {"resourceVersion": null, "labels": {"a": "b"}}});
    let (code, got) = api.patch(&format!("{BUDGETS}/b"), blind).await;
    assert_eq!((code, got["message"].as_str()), (422, Some(want.as_str())), "{got}");
    let (code, got) = api.ask("PUT", &path, made).await;
    assert_eq!(code, 200, "{got}");
}

/// As upstream, whose strategy names it (`limitrange/strategy.go`).
#[tokio::test]
async fn a_limit_range_needs_no_name() {
    let api = Api::new().await;
    let spec = json!({"limits": [{"type": "Pod", "max": {"cpu": "1"}}]});
    let made = api.made("/api/v1/namespaces/default/limitranges", json!({ "spec": spec })).await;
    let (name, uid) = (&made["metadata"]["name"], &made["metadata"]["uid"]);
    assert!(name.is_string() && name == uid, "{made}");
}

#[tokio::test]
async fn a_delete_keeps_to_the_policy_that_was_asked_for() {
    let api = Api::new().await;
    const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
    let job = |name: &str| {
        json!({"metadata": {"name": name, "finalizers": ["example.com/hold"]},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}})
    };
    let delete = async |name: &str, body: Value| {
        // The answer to a client that asks in the old way says that the object is still there.
        let want = if body["orphanDependents"] == false { 202 } else { 200 };
        let (code, got) = api.ask("DELETE", &format!("{JOBS}/{name}"), body).await;
        assert_eq!(code, want, "{got}");
        api.ask("GET", &format!("{JOBS}/{name}"), Value::Null).await.1["metadata"]["finalizers"].take()
    };
    let hold = "example.com/hold";
    api.made(JOBS, job("a")).await;
    let foreground = delete("a", json!({"propagationPolicy": "Foreground"})).await;
    assert_eq!(foreground, json!([hold, "foregroundDeletion"]));
    assert_eq!(delete("a", json!({})).await, foreground, "a second delete asks for nothing else");
    api.made(JOBS, job("b")).await;
    assert_eq!(delete("b", json!({"orphanDependents": false})).await, json!([hold]));
    api.made(JOBS, job("c")).await;
    let (code, got) = api.delete_without_body(&format!("{JOBS}/c?orphanDependents=false")).await;
    assert_eq!((code, &got["metadata"]["finalizers"]), (202, &json!([hold])), "{got}");
    api.made(JOBS, job("d")).await;
    assert_eq!(delete("d", json!({})).await, json!([hold, "orphan"]), "the default of a Job");
    let both = format!("{JOBS}/d?orphanDependents=true&propagationPolicy=Background");
    assert_eq!(api.delete_without_body(&both).await.0, 422);
}

#[tokio::test]
async fn the_generation_of_a_priority_class_stays() {
    const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let api = Api::bare().await;
    api.made(CLASSES, json!({"metadata": {"name": "x"}, "value": 5})).await;
    let (code, got) = api.patch(&format!("{CLASSES}/x"), json!({"description": "y"})).await;
    assert_eq!((code, &got["description"]), (200, &json!("y")), "{got}");
    assert_eq!(got["metadata"]["generation"], 1);
}

/// The server counts no generations of these; what a client sends with a new object is kept.
#[tokio::test]
async fn an_autoscaler_has_no_generation_but_that_of_its_client() {
    const SCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let api = Api::new().await;
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    for (name, sent) in [("a", Value::Null), ("b", json!(7))] {
        let spec = json!({"scaleTargetRef": target, "maxReplicas": 3});
        let metadata = json!({"name": name, "generation": sent, "finalizers": ["example.com/hold"]});
        let made = api.made(SCALERS, json!({"metadata": metadata, "spec": spec})).await;
        assert_eq!(made["metadata"]["generation"], sent, "{made}");
        let path = format!("{SCALERS}/{name}");
        let (_, got) =
            api.patch(&path, json!({"spec": {"maxReplicas": 4}, "metadata": {"generation": 9}})).await;
        assert_eq!(
            (&got["spec"]["maxReplicas"], &got["metadata"]["generation"]),
            (&json!(4), &sent),
            "{got}"
        );
        let (_, got) = api.ask("DELETE", &path, json!({})).await;
        let left = sent.as_i64().map(|n| n + 1);
        assert_eq!(got["metadata"]["generation"].as_i64(), left, "its deletion is a change: {got}");
    }
}

#[tokio::test]
async fn a_namespace_keeps_its_phase_and_has_finalizers_that_somebody_takes_off() {
    let api = Api::new().await;
    const ALL: &str = "/api/v1/namespaces";
    let (code, got) =
        api.ask("POST", ALL, json!({"metadata": {"name": "m"}, "spec": {"finalizers": ["foo"]}})).await;
    assert_eq!((code, got["reason"].as_str()), (422, Some("Invalid")), "{got}");
    let mut made = api.made(ALL, json!({"metadata": {"name": "n"}})).await;
    let path = format!("{ALL}/n");
    let phase = |phase: &str| json!({"status": {"phase": phase}});
    let (code, got) = api.ask("PATCH", &format!("{path}/status"), phase("Terminating")).await;
    assert!(code == 422 && got["message"].as_str().unwrap().contains("may only be 'Active'"), "{got}");
    assert_eq!(api.ask("PATCH", &format!("{path}/status"), phase("Active")).await.0, 200);
    let (code, got) = api.ask("PATCH", &format!("{path}/status"), json!({"status": {"phase": null}})).await;
    assert_eq!((code, &got["status"]["phase"]), (200, &json!("Active")), "{got}");
    made["spec"]["finalizers"] = json!(["kubernetes", "foo"]);
    let (code, got) = api.ask("PUT", &format!("{path}/finalize"), made.clone()).await;
    assert!(code == 422 && got["message"].as_str().unwrap().contains("spec.finalizers[1]"), "{got}");
    made["spec"]["finalizers"] = json!(["kubernetes", "example.com/foo"]);
    assert_eq!(api.ask("PUT", &format!("{path}/finalize"), made).await.0, 200);
}

/// Otherwise its client would get a conflict, read again, and write to another object.
#[tokio::test]
async fn an_update_of_an_object_that_was_made_anew_is_refused_because_of_its_uid() {
    let api = Api::new().await;
    let (map, path) = (json!({"metadata": {"name": "a"}}), format!("{MAPS}/a"));
    let old = api.made(MAPS, map.clone()).await;
    assert_eq!(api.delete(&path, json!({})).await.0, 200);
    api.made(MAPS, map).await;
    let (code, got) = api.put(&path, old).await;
    assert!(code == 409 && got["message"].as_str().unwrap().contains("UID in precondition"), "{got}");
}

/// The finalizers of a namespace are written with all of its metadata, and with none of its status.
#[tokio::test]
async fn a_write_of_a_namespace_s_finalizers_takes_its_metadata_along() {
    let api = Api::new().await;
    let mut new = api.made("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
    let path = "/api/v1/namespaces/n/finalize";
    new["metadata"]["labels"] = json!({"a": "b"});
    new["metadata"]["annotations"] = json!({"c": "d"});
    new["status"]["phase"] = "Terminating".into();
    let (code, got) = api.put(path, new.clone()).await;
    assert_eq!((code, &got["status"]["phase"]), (200, &json!("Active")), "{got}");
    let labels = json!({"a": "b", "kubernetes.io/metadata.name": "n"});
    assert_eq!(got["metadata"]["labels"], labels);
    assert_eq!(got["metadata"]["annotations"], json!({"c": "d"}));
    new["metadata"]["resourceVersion"] = "".into();
    for (field, value) in [
        ("labels", json!({"a": "not a value"})),
        ("deletionTimestamp", json!("2001-01-01T00:00:00Z")),
        ("deletionGracePeriodSeconds", json!(30)),
    ] {
        let mut wrong = new.clone();
        wrong["metadata"][field] = value;
        assert_eq!(api.put(path, wrong).await.0, 422, "{field}");
    }
    new["spec"] = json!({});
    let (code, got) = api.put(path, new).await;
    assert!(code == 200 && got["spec"].get("finalizers").is_none(), "{got}");
}

/// A controller that writes what it made up would otherwise believe that the object is going.
#[tokio::test]
async fn a_write_of_a_status_begins_no_deletion() {
    let api = Api::new().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    api.made(sets, json!({"metadata": {"name": "s"}, "spec": spec})).await;
    api.made(PODS, pod("p")).await;
    let (set, pod) = (format!("{sets}/s/status"), format!("{PODS}/p/status"));
    let time = json!({"metadata": {"deletionTimestamp": "2001-01-01T00:00:00Z"}});
    let grace = json!({"metadata": {"deletionGracePeriodSeconds": 30}});
    for (path, body, want) in [
        (&set, &time, 422),
        (&set, &grace, 422),
        (&pod, &grace, 422),
        (&pod, &time, 200), // its strategy takes the stored one
    ] {
        let (code, got) = api.patch(path, body.clone()).await;
        assert_eq!(code, want, "{path} {body}: {got}");
    }
    assert_eq!(api.get(&format!("{PODS}/p")).await.1["metadata"].get("deletionTimestamp"), None);
}

#[tokio::test]
async fn a_delete_that_is_only_tried_shows_the_mark_that_it_would_leave() {
    let api = Api::new().await;
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n".into();
    let made = api.made(PODS, bound).await;
    let path = format!("{PODS}/p");
    let options = json!({"gracePeriodSeconds": 7, "dryRun": ["All"]});
    let (code, got) = api.ask("DELETE", &path, options).await;
    assert_eq!((code, &got["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(7)), "{got}");
    assert!(got["metadata"]["deletionTimestamp"].is_string(), "{got}");
    assert_eq!(got["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let there = api.ask("GET", &path, Value::Null).await.1;
    assert_eq!(there["metadata"].get("deletionTimestamp"), None, "{there}");
}

#[tokio::test]
async fn an_event_goes_at_once_whatever_the_policy() {
    let api = Api::new().await;
    const EVENTS: &str = "/api/v1/namespaces/default/events";
    let of = json!({"kind": "Pod", "name": "p", "namespace": "default"});
    for policy in ["Foreground", "Orphan", "Background"] {
        api.made(EVENTS, json!({"metadata": {"name": "e"}, "involvedObject": of})).await;
        let options = json!({"propagationPolicy": policy});
        assert_eq!(api.ask("DELETE", &format!("{EVENTS}/e"), options).await.0, 200);
        assert_eq!(api.ask("GET", &format!("{EVENTS}/e"), Value::Null).await.0, 404, "{policy}");
    }
}

#[tokio::test]
async fn the_deletion_of_a_collection_ends_with_its_client() {
    let dir = tempfile::tempdir().unwrap();
    let store = BlockingStore::new(Kv::in_memory(Rng::seeded(1).fork("etcd")));
    let server = testing::start_on(dir.path(), store.clone()).await.server;
    for name in ["a", "b", "c"] {
        assert_eq!(ask(&server, "POST", MAPS, json!({"metadata": {"name": name}})).await.0, 201);
    }
    let stored = async || {
        let all = RangeRequest {
            key: "/registry/configmaps/default/".into(),
            range_end: "/registry/configmaps/default0".into(),
            ..RangeRequest::default()
        };
        store.range(all).await.unwrap().count
    };
    store.answers.send_replace(false);
    let asked = server.clone();
    let asking = tokio::spawn(async move { ask(&asked, "DELETE", MAPS, json!({})).await });
    let first = async {
        while stored().await == 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), first).await.expect("the first one goes");
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    store.answers.send_replace(true);
    // Long enough for the others, if they were to go.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stored().await, 2);
}

/// Otherwise a third of the connections from pods fail until the lease of the server has ended.
#[tokio::test]
async fn a_server_that_stops_leaves_the_endpoints_of_the_api() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let kv = Arc::new(Kv::in_memory(Rng::seeded(1).fork("etcd")));
    let stays = testing::start_at(dirs[0].path(), kv.clone(), "127.0.0.1:0".parse().unwrap()).await.server;
    let stops = testing::start_at(dirs[1].path(), kv, "127.0.0.2:0".parse().unwrap()).await.server;
    let addresses = async || {
        let old = ask(&stays, "GET", "/api/v1/namespaces/default/endpoints/kubernetes", Value::Null).await.1;
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
        let new = ask(&stays, "GET", slices, Value::Null).await.1;
        let listed = |list: &Value| list.as_array().map_or(0, Vec::len);
        (listed(&old["subsets"][0]["addresses"]), listed(&new["endpoints"]), old, new)
    };
    let both = addresses().await;
    assert_eq!((both.0, both.1), (2, 2), "{} {}", both.2, both.3);
    stops.crew().stop().await;
    let (old, new, endpoints, slice) = addresses().await;
    assert_eq!((old, new), (1, 1), "{endpoints} {slice}");
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "127.0.0.1");
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["127.0.0.1"]));
}
