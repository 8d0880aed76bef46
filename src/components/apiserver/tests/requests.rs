//! Subresources, reviews, reads and custom resources: what each kind of request takes and answers.

use crate::auth::authn::{Caller, Peer};
use crate::auth::user::{MASTERS, User};
use crate::pipeline;
use crate::request::http::full;
use crate::request::router::Router;
use crate::testing::{self, Api, ask};
use crate::tests::blocking_store::BlockingStore;
use ::http::Request;
use etcd::Kv;
use rng::Rng;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

/// `apiserver_request_total` counts those of connections and those of this process.
#[tokio::test]
async fn every_request_is_counted() {
    let api = Api::bare().await;
    let server = &api.fixture.server;
    let counted = || server.state.requests.load(Ordering::Relaxed);
    let before = counted();
    assert_eq!(api.get("/version").await.0, 200);
    assert_eq!(counted(), before + 1);
    let request = Request::get("/version").body(full("")).unwrap();
    let caller = Caller::Connection(&Peer::Nobody);
    let answer = pipeline::serve(&Router, server, request, caller, server.crew.token()).await;
    assert_eq!((answer.status().as_u16(), counted()), (200, before + 2));
}

/// Otherwise only the 403 of an anonymous client would tell that the token was not read.
#[tokio::test]
async fn a_token_behind_two_spaces_is_warned_of() {
    let api = Api::bare().await;
    let server = &api.fixture.server;
    for (value, is_told) in
        [("Bearer  a.b.c", true), ("bearer  a", true), ("Basic  a", false), ("Bearer", false)]
    {
        let request = Request::get("/api/v1/pods").header("authorization", value).body(full("")).unwrap();
        let caller = Caller::Connection(&Peer::Nobody);
        let answer = pipeline::serve(&Router, server, request, caller, server.crew.token()).await;
        let warning = answer.headers().get("warning").map(|warning| warning.to_str().unwrap());
        let told = warning.is_some_and(|warning| warning.contains("extra space before the bearer token"));
        assert_eq!((answer.status().as_u16(), told), (403, is_told), "{value}: {warning:?}");
    }
}

/// Otherwise the server names it, each by a name of its own.
#[tokio::test]
async fn a_request_that_its_client_names_is_answered_with_that_name() {
    let api = Api::bare().await;
    let named = async |id: &str| {
        let request = Request::get("/version").header("audit-id", id).body(full("")).unwrap();
        let answer = api.fixture.server.call(request, User::new("admin", &[MASTERS])).await;
        answer.headers()["audit-id"].to_str().unwrap().to_string()
    };
    assert_eq!(named("mine").await, "mine");
    let (one, other) = (named("").await, named("").await);
    assert!(!one.is_empty() && one != other, "{one} {other}");
}

/// An answer that no handler makes has the header, too.
#[tokio::test]
async fn a_refused_client_is_told_the_name_of_its_request() {
    let api = Api::bare().await;
    let server = &api.fixture.server;
    for id in ["", "mine"] {
        let request = Request::get("/version").header("audit-id", id).body(full("")).unwrap();
        let caller = Caller::Connection(&Peer::Stranger);
        let answer = pipeline::serve(&Router, server, request, caller, server.crew.token()).await;
        assert_eq!(answer.status(), 401);
        let told = answer.headers()["audit-id"].to_str().unwrap();
        assert!(if id.is_empty() { told.len() == 36 } else { told == id }, "{told}");
    }
}

#[tokio::test]
async fn version_zero_of_a_scale_is_none() {
    let api = Api::new().await;
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    api.made(DEPLOYMENTS, json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let scale = |version: &str, replicas: u64| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "resourceVersion": version},
            "spec": {"replicas": replicas}})
    };
    let (code, got) = api.ask("PUT", &path, scale("0", 3)).await;
    assert_eq!((code, &got["spec"]["replicas"]), (200, &json!(3)), "{got}");
    assert_eq!(api.ask("PUT", &path, scale("1", 4)).await.0, 409);
    let (code, got) = api.ask("PUT", &path, json!({"spec": {"replicas": 4}})).await;
    assert!(code == 400 && got["message"].as_str().unwrap().ends_with("name must be provided"), "{got}");
    let user = User::new("admin", &[MASTERS]);
    let apply = format!("{path}?fieldManager=m&force=true");
    let body = ("application/apply-patch+yaml", scale("0", 5).to_string());
    let (code, got) = testing::send(&api.fixture.server, user, ("PATCH", &apply), body, "").await;
    assert_eq!((code, &got["spec"]["replicas"]), (200, &json!(5)), "{got}");
}

#[tokio::test]
async fn a_token_review_needs_a_token() {
    let api = Api::new().await;
    const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (code, got) = api.ask("POST", REVIEWS, json!({"spec": {}})).await;
    assert_eq!((code, &got["message"]), (400, &json!("token is required for TokenReview in authentication")));
    assert_eq!(api.ask("POST", REVIEWS, json!({"spec": {"token": "x"}})).await.0, 201);
}

#[tokio::test]
async fn custom_resources_called_leases_are_steps_and_may_be_called_namespaces() {
    let api = Api::new().await;
    for plural in ["leases", "namespaces"] {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let version =
            json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
        let definition = json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com",
            "scope": "Namespaced", "names": {"plural": plural, "kind": plural.to_uppercase()}, "versions": [version]}});
        let mut progress = api.fixture.server.state.cache.progress();
        api.made("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
        while api.fixture.server.state.cache.kinds().resource("example.com", "v1", plural).is_none() {
            progress.changed().await.unwrap();
        }
        let path = format!("/apis/example.com/v1/namespaces/default/{plural}");
        let object = json!({"apiVersion": "example.com/v1", "kind": plural.to_uppercase(),
            "metadata": {"name": "x", "namespace": "default"}});
        let send = async |method: &str, path: &str, body: &Value| {
            let body = ("application/json", body.to_string());
            let learner = User::new("learner", &[MASTERS]);
            testing::send(&api.fixture.server, learner, (method, path), body, plural).await
        };
        let (code, made) = send("POST", &path, &object).await;
        assert_eq!((code, &made["metadata"]["namespace"]), (201, &json!("default")), "{made}");
        let one = format!("{path}/x");
        assert_eq!(api.ask("GET", &one, Value::Null).await.0, 200, "{plural}");
        let steps = api.ask("GET", "/ropewalk/v1/steps", Value::Null).await.1;
        let last = steps["steps"].as_array().unwrap().last().unwrap();
        assert_eq!(last["object"], format!("{plural}/x"), "{steps}");
        let (code, answer) = api.ask("POST", "/ropewalk/v1/undo", json!({})).await;
        assert_eq!(code, 200, "{answer}");
        assert_eq!(api.ask("GET", &one, Value::Null).await.0, 404, "{plural}");
        // Without a session the stages of writes alone are recorded.
        let before = api.fixture.tap.since(0).len();
        api.made(&path, object).await;
        let records = api.fixture.tap.since(0).split_off(before);
        assert!(records.iter().any(|record| matches!(record.event, tap::Event::Validate)), "{plural}");
    }
}

#[tokio::test]
async fn a_get_of_a_version_is_answered_from_memory() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let kv = Kv::in_memory(Rng::seeded(1).fork("etcd"));
    let store = BlockingStore::new(kv.clone());
    let behind = testing::start_on(dirs[0].path(), store.clone()).await.server;
    let other = testing::start_on(dirs[1].path(), Arc::new(kv)).await.server;
    store.watches.send_replace(false);
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    let (code, made) = ask(&other, "POST", MAPS, json!({"metadata": {"name": "m"}})).await;
    assert_eq!(code, 201, "{made}");
    let get = async |version: &str| {
        ask(&behind, "GET", &format!("{MAPS}/m?resourceVersion={version}"), Value::Null).await
    };
    assert_eq!(get("0").await.0, 404, "it has not heard of it, and does not ask the store");
    let (code, answer) = get("abc").await;
    assert_eq!((code, &answer["reason"]), (500, &Value::Null), "{answer}");
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    let (later, _) = tokio::join!(get(version), async { store.watches.send_replace(true) });
    assert_eq!(later.0, 200, "{}", later.1);
    assert_eq!(get("").await.0, 200);
}

#[tokio::test]
async fn ephemeral_containers_come_in_by_every_kind_of_write() {
    let api = Api::new().await;
    const PODS: &str = "/api/v1/namespaces/default/pods";
    api.made(PODS, pod("p")).await;
    let target = format!("{PODS}/p/ephemeralcontainers");
    let send = async |method: &str, query: &str, media: &str, body: Value| {
        let user = User::new("admin", &[MASTERS]);
        let (path, media) = (format!("{target}{query}"), format!("application/{media}"));
        testing::send(&api.fixture.server, user, (method, &path), (&media, body.to_string()), "").await
    };
    let debug = |name: &str, more: Value| {
        let mut container = json!({"name": name, "image": "busybox"});
        api::patch::merge(&mut container, &more);
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"ephemeralContainers": [container]}})
    };
    let (code, got) = send("PATCH", "?fieldManager=m", "apply-patch+yaml", debug("a", json!({}))).await;
    assert_eq!(code, 200, "{got}");
    let first = &got["spec"]["ephemeralContainers"][0];
    assert_eq!((&first["name"], &first["terminationMessagePolicy"]), (&json!("a"), &json!("File")), "{got}");
    assert_eq!(got["metadata"].get("labels"), None, "{got}");
    let entries = got["metadata"]["managedFields"].as_array().unwrap();
    let own = entries.iter().find(|entry| entry["manager"] == "m").unwrap();
    assert_eq!(own["subresource"], "ephemeralcontainers");
    let fields = own["fieldsV1"].as_object().unwrap();
    assert!(fields.keys().eq(["f:spec"]), "{own}");
    let strategic = "strategic-merge-patch+json";
    let wrong = debug("b", json!({"foo": 1}));
    let (code, got) = send("PATCH", "?fieldValidation=Strict", strategic, wrong).await;
    assert!(code == 422 && got["message"].as_str().unwrap().contains("unknown field"), "{got}");
    let (code, got) = send("PATCH", "", strategic, debug("b", json!({}))).await;
    assert_eq!((code, got["spec"]["ephemeralContainers"].as_array().map(Vec::len)), (200, Some(2)), "{got}");
    let mut other = got.clone();
    other["metadata"]["name"] = "other".into();
    let (code, answer) = send("PUT", "", "json", other).await;
    assert!(
        code == 400 && answer["message"].as_str().unwrap().contains("does not match the name"),
        "{answer}"
    );
    let mut fewer = got;
    fewer["spec"]["ephemeralContainers"].as_array_mut().unwrap().pop();
    assert_eq!(send("PUT", "", "json", fewer).await.0, 422);
}

#[tokio::test]
async fn a_node_that_is_made_by_an_apply_keeps_its_status() {
    let api = Api::new().await;
    let apply = async |path: &str, object: Value| {
        let user = User::new("admin", &[MASTERS]);
        let path = format!("{path}?fieldManager=m");
        let body = ("application/apply-patch+yaml", object.to_string());
        testing::send(&api.fixture.server, user, ("PATCH", &path), body, "").await
    };
    let node = |cpu: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {"capacity": {"cpu": cpu}}});
    for (cpu, code) in [("4", 201), ("8", 200)] {
        let (got, made) = apply("/api/v1/nodes/n", node(cpu)).await;
        assert_eq!((got, &made["status"]["capacity"]["cpu"]), (code, &json!("4")), "{made}");
        let entries = made["metadata"]["managedFields"].as_array().into_iter().flatten();
        let own: Vec<&Value> = entries.filter(|entry| entry["manager"] == "m").collect();
        assert!(own.iter().all(|entry| entry["fieldsV1"].get("f:status").is_none()), "{own:?}");
    }
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}, "status": {"replicas": 7}});
    let (code, made) = apply("/apis/apps/v1/namespaces/default/deployments/d", deployment).await;
    assert_eq!((code, made["status"].get("replicas")), (201, None), "{made}");
}

#[tokio::test]
async fn a_version_match_that_is_not_supported_is_invalid_options() {
    let api = Api::bare().await;
    let (code, got) = api.get("/api/v1/pods?resourceVersion=5&resourceVersionMatch=Foo").await;
    assert_eq!((code, &got["details"]["kind"]), (422, &json!("ListOptions")), "{got}");
    let cause = &got["details"]["causes"][0];
    let told = (&cause["reason"], &cause["field"]);
    assert_eq!(told, (&json!("FieldValueNotSupported"), &json!("resourceVersionMatch")), "{got}");
}

/// Many manifests of ClusterRoles name a namespace, although the kind has none.
#[tokio::test]
async fn an_object_without_namespaces_loses_the_one_that_it_names() {
    let api = Api::bare().await;
    const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let role = |verb: &str| {
        let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": [verb]});
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "r", "namespace": "default"}, "rules": [rule]})
    };
    let made = api.made(ROLES, role("get")).await;
    let one = format!("{ROLES}/r");
    let put = api.put(&one, role("list")).await;
    let patched = api.patch(&one, json!({"metadata": {"namespace": "default"}})).await;
    let apply = ("application/apply-patch+yaml", role("watch").to_string());
    let path = format!("{one}?fieldManager=m&force=true");
    let admin = User::new("admin", &[MASTERS]);
    let applied = testing::send(&api.fixture.server, admin, ("PATCH", &path), apply, "").await;
    for (code, got) in [(200, made), put, patched, applied] {
        assert_eq!((code, got["metadata"].get("namespace")), (200, None), "{got}");
    }
}

#[tokio::test]
async fn an_update_says_which_object_it_means() {
    let api = Api::bare().await;
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    api.made(MAPS, json!({"metadata": {"name": "m"}})).await;
    let (code, got) = api.put(&format!("{MAPS}/m"), json!({"data": {"a": "b"}})).await;
    let why = "the name of the object (m based on URL) was undeterminable: name must be provided";
    assert_eq!((code, &got["message"]), (400, &json!(why)), "{got}");
}

/// Validation would find two controllers.
#[tokio::test]
async fn an_owner_that_is_named_twice_counts_once() {
    let api = Api::bare().await;
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", "controller": true});
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "p", "uid": "w"});
    let owned = |owners: Value| json!({"metadata": {"name": "m", "ownerReferences": owners}});
    let made = api.made(MAPS, owned(json!([owner, owner]))).await;
    assert_eq!(made["metadata"]["ownerReferences"], json!([owner]), "{made}");
    let more = owned(json!([owner, other, owner, other]));
    let (code, got) = api.patch(&format!("{MAPS}/m"), more).await;
    assert_eq!((code, &got["metadata"]["ownerReferences"]), (200, &json!([owner, other])), "{got}");
}

/// As upstream, before the object is looked for and before the query is judged.
#[tokio::test]
async fn a_patch_of_an_unknown_type_is_refused_before_anything_else() {
    let api = Api::bare().await;
    for path in [
        "/api/v1/namespaces/default/configmaps/none",
        "/api/v1/namespaces/default/configmaps/none?dryRun=Some&fieldManager=%01",
        "/apis/apps/v1/namespaces/default/deployments/none/status",
        "/apis/apps/v1/namespaces/default/deployments/none/scale",
    ] {
        for media in ["application/json", "application/json-patch+xml", ""] {
            let (user, body) = (User::new("admin", &[MASTERS]), (media, "{}"));
            let (code, got) = testing::send(&api.fixture.server, user, ("PATCH", path), body, "").await;
            assert_eq!((code, &got["reason"]), (415, &json!("UnsupportedMediaType")), "{path} {media}");
        }
    }
    assert_eq!(api.patch("/api/v1/namespaces/default/configmaps/none", json!({})).await.0, 404);
}

#[tokio::test]
async fn a_content_type_is_the_same_in_upper_and_lower_case() {
    let api = Api::bare().await;
    for (name, media, body) in [
        ("a", "Application/JSON; charset=utf-8", r#"{"metadata": {"name": "a"}}"#),
        ("b", "APPLICATION/YAML", "metadata:\n  name: b\n"),
    ] {
        let path = "/api/v1/namespaces/default/configmaps?fieldValidation=Strict";
        let user = User::new("admin", &[MASTERS]);
        let (code, made) = testing::send(&api.fixture.server, user, ("POST", path), (media, body), "").await;
        assert_eq!((code, &made["metadata"]["name"]), (201, &json!(name)), "{made}");
    }
}

/// As upstream: the fields that are there have no manager before the first apply.
#[tokio::test]
async fn an_update_of_an_object_without_managers_begins_no_list_of_them() {
    let api = Api::bare().await;
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    let (one, managers) = (format!("{MAPS}/m"), "managedFields");
    let made = api.made(MAPS, json!({"metadata": {"name": "m"}, "data": {"a": "1"}})).await;
    assert_eq!(made["metadata"][managers].as_array().map(Vec::len), Some(1), "{made}");
    let reset = json!({"metadata": {managers: [{}]}, "data": {"a": "2"}});
    for patch in [reset, json!({"data": {"a": "3"}})] {
        let (code, got) = api.patch(&one, patch).await;
        assert_eq!((code, got["metadata"].get(managers)), (200, None), "{got}");
    }
    let applied =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"b": "4"}});
    let body = ("application/apply-patch+yaml", applied.to_string());
    let user = User::new("admin", &[MASTERS]);
    let path = format!("{one}?fieldManager=x");
    let (code, got) = testing::send(&api.fixture.server, user, ("PATCH", &path), body, "").await;
    let entries = got["metadata"][managers].as_array().unwrap();
    let names: Vec<&Value> = entries.iter().map(|entry| &entry["manager"]).collect();
    assert_eq!((code, names), (200, vec![&json!("x"), &json!("before-first-apply")]), "{got}");
}

/// What another server carries out cannot be tried: the command would run. As upstream this is said
/// before the pod is looked for; a log is only read.
#[tokio::test]
async fn a_session_or_a_proxied_request_is_no_dry_run() {
    let api = Api::bare().await;
    let pod = "/api/v1/namespaces/default/pods/none";
    for (method, path) in [
        ("POST", format!("{pod}/exec?command=sh")),
        ("POST", format!("{pod}/attach?stdin=true")),
        ("GET", format!("{pod}/portforward?ports=80")),
        ("GET", "/api/v1/nodes/none/proxy/healthz?verbose".to_string()),
        ("GET", format!("{pod}/log?tailLines=1")),
    ] {
        let wanted = if path.contains("/log?") { 404 } else { 400 };
        for value in ["", "=All", "=some"] {
            let (code, answer) = api.ask(method, &format!("{path}&dryRun{value}"), json!({})).await;
            let is_told = answer["message"] == "dryRun is not supported";
            assert_eq!((code, is_told), (wanted, wanted == 400), "{path} {value}: {answer}");
        }
        assert_eq!(api.ask(method, &path, json!({})).await.0, 404, "{path}");
    }
}

/// Clients of Kubernetes 1.13 ask for an export, and would take the whole object for a manifest.
#[tokio::test]
async fn an_object_is_not_exported() {
    let api = Api::bare().await;
    let one = "/api/v1/namespaces/default";
    for (query, code) in
        [("", 200), ("export=false", 200), ("export=0", 200), ("export", 400), ("export=true", 400)]
    {
        for path in [one.to_string(), format!("{one}/status")] {
            assert_eq!(api.get(&format!("{path}?{query}")).await.0, code, "{path} {query}");
        }
        assert_eq!(api.get(&format!("/api/v1/namespaces?{query}")).await.0, 200, "a list: {query}");
    }
}

/// It is no object that is not there: the request does not say which one it means.
#[tokio::test]
async fn a_binding_and_a_bound_token_name_their_object() {
    let api = Api::new().await;
    let namespace = "/api/v1/namespaces/default";
    let binding = json!({"target": {"kind": "Node", "name": "n1"}});
    let token = json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1"}}});
    for (path, body) in [("bindings", binding), ("serviceaccounts/default/token", token)] {
        let (code, answer) = api.post(&format!("{namespace}/{path}"), body).await;
        assert_eq!((code, &answer["message"]), (400, &json!("Name parameter required.")), "{path}");
    }
}

/// The entry of what was there before is one of the status, too, which writes no spec.
#[tokio::test]
async fn before_the_first_apply_of_a_status_nobody_owns_the_spec() {
    let api = Api::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    api.made(pods, pod("p")).await;
    let reset = json!({"metadata": {"managedFields": [{}]}});
    assert_eq!(api.patch(&format!("{pods}/p"), reset).await.0, 200);
    let applied =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"message": "m"}});
    let body = ("application/apply-patch+yaml", applied.to_string());
    let (user, path) = (User::new("admin", &[MASTERS]), format!("{pods}/p/status?fieldManager=x"));
    let (code, got) = testing::send(&api.fixture.server, user, ("PATCH", &path), body, "").await;
    assert_eq!(code, 200, "{got}");
    let mut entries = got["metadata"]["managedFields"].as_array().unwrap().iter();
    let before = entries.find(|entry| entry["manager"] == "before-first-apply").unwrap();
    let owns = |field: &str| before["fieldsV1"].get(field).is_some();
    assert!(owns("f:status") && !owns("f:spec"), "{before}");
}

/// A body without a field, as each kind of patch reads it.
#[tokio::test]
async fn a_patch_of_null_is_answered_as_upstream_answers_it() {
    let api = Api::bare().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    api.made(maps, json!({"metadata": {"name": "m"}})).await;
    let path = format!("{maps}/m?fieldManager=f");
    for (media, body, code, why) in [
        ("merge-patch+json", "null", 400, "Invalid JSON Patch"),
        ("strategic-merge-patch+json", " null", 200, ""),
        ("json-patch+json", "null", 200, ""),
        ("apply-patch+yaml", "~", 400, "invalid object type: /, Kind="),
        ("apply-patch+yaml", "null", 400, "invalid object type: /, Kind="),
    ] {
        let (user, media) = (User::new("admin", &[MASTERS]), format!("application/{media}"));
        let sent = (media.as_str(), body);
        let (got, answer) = testing::send(&api.fixture.server, user, ("PATCH", &path), sent, "").await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!((got, message), (code, why), "{media} {body}: {answer}");
    }
}
