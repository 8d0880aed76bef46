//! Undo and redo through the whole server, and what others do at the same moment.

use crate::auth::user::User;
use crate::request::context::Context;
use crate::request::http::Query;
use crate::storage::extra::Extra;
use crate::storage::store::Refused;
use crate::testing::{self, Api};
use api::kinds;
use etcd::api::TxnRequest;
use rng::Rng;
use serde_json::{Value, json};
use tap::Tap;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const SYSTEM_DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/kube-system/deployments";

fn learner() -> User {
    User::new("learner", &["system:masters"])
}

impl Api {
    async fn in_step(&self, session: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = ("application/json", body.to_string());
        testing::send(&self.fixture.server, learner(), (method, path), body, session).await
    }

    /// Writes a ConfigMap in a step of that name.
    async fn make(&self, session: &str, name: &str) {
        let made = self.in_step(session, "POST", MAPS, json!({"metadata": {"name": name}})).await;
        assert_eq!(made.0, 201, "{}", made.1);
    }

    /// Makes one of the addons, as the cluster does when it starts.
    async fn make_addon(&self) -> Value {
        let labels = json!({"app": "dns"});
        let spec = json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]}}});
        let addon = json!({"metadata": {"name": "coredns"}, "spec": spec}).to_string();
        let cluster = User::new(tap::ADMIN, &["system:masters"]);
        let (asked, body) = (("POST", SYSTEM_DEPLOYMENTS), ("application/json", addon));
        let (code, made) = testing::send(&self.fixture.server, cluster, asked, body, "").await;
        assert_eq!(code, 201, "{made}");
        made
    }

    async fn go(&self, verb: &str, asked: Value) -> (u16, Value) {
        self.in_step("", "POST", &format!("/ropewalk/v1/{verb}"), asked).await
    }

    /// The ConfigMaps that people have made.
    async fn maps(&self) -> Vec<String> {
        let list = self.in_step("", "GET", MAPS, Value::Null).await.1;
        let names = list["items"].as_array().unwrap().iter();
        names.map(|o| o["metadata"]["name"].as_str().unwrap().to_string()).collect()
    }
}

/// The store takes 128 operations in one transaction. More steps than that are undone, and all
/// users can still write.
#[tokio::test]
async fn people_write_after_a_long_undo() {
    let api = Api::bare().await;
    for n in 0..140 {
        api.make(&format!("s{n}"), &format!("c{n}")).await;
    }
    let (code, answer) = api.go("undo", json!({"count": 140})).await;
    assert_eq!((code, answer["steps"].as_array().map(Vec::len)), (200, Some(140)), "{answer}");
    assert!(api.maps().await.is_empty());
    for n in 0..12 {
        api.make(&format!("after{n}"), &format!("after{n}")).await;
        let (code, answer) = api.go("redo", json!({})).await;
        assert_eq!(code, 409, "it was forgotten: {answer}");
        let steps = api.in_step("", "GET", "/ropewalk/v1/steps", Value::Null).await.1;
        assert_eq!(steps["steps"].as_array().map(Vec::len), Some(n + 1), "{steps}");
        assert_eq!(steps["undone"], json!([]), "{steps}");
    }
    assert_eq!(api.go("undo", json!({"count": 12})).await.0, 200);
    assert!(api.maps().await.is_empty());
    assert_eq!(api.go("redo", json!({})).await.0, 200);
    assert_eq!(api.maps().await.len(), 12);
}

/// A list is no request: an empty one was read as one that names nothing, and undid a step.
#[tokio::test]
async fn what_is_asked_for_is_a_map() {
    let api = Api::bare().await;
    api.make("one", "one").await;
    for odd in [json!([]), json!([true]), json!(5), json!("undo"), Value::Null] {
        let (code, answer) = api.go("undo", odd.clone()).await;
        assert_eq!((code, &answer["reason"]), (400, &json!("BadRequest")), "{odd}: {answer}");
    }
    assert_eq!(api.maps().await, ["one"]);
}

/// Two undos at the same moment are two steps back, and two redos bring all of it back.
#[tokio::test]
async fn undos_at_the_same_moment_lose_nothing() {
    let api = Api::bare().await;
    for n in 0..20 {
        api.make(&format!("s{n}"), &format!("c{n}")).await;
    }
    for round in 0..5 {
        let (one, other) = tokio::join!(api.go("undo", json!({})), api.go("undo", json!({})));
        assert_eq!((one.0, other.0), (200, 200), "{} {}", one.1, other.1);
        assert_ne!(one.1["steps"], other.1["steps"], "round {round}: both undid the same step");
        assert_eq!(api.maps().await.len(), 20 - 2 * (round + 1));
    }
    for _ in 0..10 {
        let (code, answer) = api.go("redo", json!({})).await;
        assert_eq!(code, 200, "{answer}");
    }
    assert_eq!(api.maps().await.len(), 20);
}

/// A write that was judged before an undo and comes after it is judged again: else it would not
/// forget what was undone, and a redo would take it away.
#[tokio::test]
async fn a_write_that_overlaps_an_undo_is_judged_again() {
    let api = Api::bare().await;
    api.make("one", "c").await;
    let state = api.state();
    let kind = kinds::stored("configmaps").unwrap();
    let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "late", "namespace": "default"}});
    let mut headers = http::HeaderMap::new();
    headers.insert("kubectl-session", "two".parse().unwrap());
    let ctx = Context::new("r".into(), learner(), Default::default(), Query::default(), headers, Tap::new());
    let mut extra = Extra::default();
    state.cache.steps.note(&ctx, kind, &object, &mut extra);
    assert_eq!(api.go("undo", json!({})).await.0, 200);
    let written = state.write(kind, object.clone(), 0, &extra).await;
    assert!(matches!(written, Err(Refused::Changed)), "it was written");
    let mut extra = Extra::default();
    state.cache.steps.note(&ctx, kind, &object, &mut extra);
    state.write(kind, object, 0, &extra).await.unwrap();
    assert_eq!(api.go("redo", json!({})).await.0, 409);
    assert_eq!(api.maps().await, ["late"]);
}

/// The other way round: an undo that was planned before a write of a person does not take that
/// write along.
#[tokio::test]
async fn an_undo_takes_no_write_along_that_it_did_not_name() {
    let api = Api::bare().await;
    let rng = Rng::seeded(3);
    for round in 0..30 {
        let (old, new) = (format!("old{round}"), format!("new{round}"));
        api.make(&old, &old).await;
        let write = async {
            for _ in 0..rng.range(0, 40) {
                tokio::task::yield_now().await;
            }
            api.make(&new, &new).await;
        };
        let ((code, answer), ()) = tokio::join!(api.go("undo", json!({})), write);
        assert_eq!(code, 200, "{answer}");
        let undone = answer["steps"][0]["id"].as_str().unwrap().to_string();
        let left = if undone.starts_with(&format!("{old}-")) { &new } else { &old };
        assert_eq!(api.maps().await, std::slice::from_ref(left), "round {round}: {undone} was undone");
        assert_eq!(api.in_step("", "DELETE", &format!("{MAPS}/{left}"), json!({})).await.0, 200);
    }
}

/// The controllers make something in a new namespace while its undo is planned. It would stay in a
/// namespace that is not there.
#[tokio::test]
async fn an_undo_of_a_namespace_leaves_nothing_in_it() {
    let api = Api::bare().await;
    let rng = Rng::seeded(3);
    for round in 0..30 {
        let name = format!("n{round}");
        let namespace = json!({"metadata": {"name": name}});
        let (code, made) = api.in_step(&name, "POST", "/api/v1/namespaces", namespace).await;
        assert_eq!(code, 201, "{made}");
        let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
        let join = async {
            for _ in 0..rng.range(0, 60) {
                tokio::task::yield_now().await;
            }
            let controllers = User::new("system:kube-controller-manager", &["system:masters"]);
            let body = ("application/json", json!({"metadata": {"name": "default"}}).to_string());
            testing::send(&api.fixture.server, controllers, ("POST", &accounts), body, "").await
        };
        let ((code, answer), (joined, _)) = tokio::join!(api.go("undo", json!({})), join);
        assert_eq!(code, 200, "{answer}");
        let left = api.state().cache.list("serviceaccounts", &format!("{name}/")).objects;
        assert!(left.is_empty(), "round {round}: the account was answered with {joined}");
    }
}

/// A command goes on while its undo is planned. The undo would leave what it did not see, which no
/// step would name any more, and a redo would remove it.
#[tokio::test]
async fn an_undo_overlooks_no_further_write_of_its_step() {
    let api = Api::bare().await;
    api.make("apply", "one").await;
    for (session, name) in [("apply", "two"), ("other", "three"), ("apply", "four")] {
        let state = api.state();
        let known = state.fresh().await.unwrap();
        let unchanged = state.cache.steps.snapshot().unchanged_since(known);
        let holds = async || {
            let txn = TxnRequest { compare: unchanged.clone(), ..TxnRequest::default() };
            state.kv.txn(txn).await.unwrap().succeeded
        };
        assert!(holds().await, "nobody has written");
        api.make(session, name).await;
        assert!(!holds().await, "{session} has written {name}");
    }
}

#[tokio::test]
async fn what_a_command_writes_after_its_undo_can_be_undone() {
    let api = Api::bare().await;
    api.make("apply", "one").await;
    api.make("apply", "two").await;
    assert_eq!(api.go("undo", json!({})).await.0, 200);
    api.make("apply", "three").await;
    api.make("apply", "four").await;
    assert_eq!(api.maps().await, ["four", "three"]);
    let (code, answer) = api.go("undo", json!({})).await;
    let step = answer["steps"][0]["id"].as_str().unwrap_or_default();
    assert!(code == 200 && step.starts_with("apply-"), "{answer}");
    assert!(api.maps().await.is_empty());
    assert_eq!(api.go("redo", json!({})).await.0, 200);
    assert_eq!(api.maps().await, ["four", "three"]);
}

/// A client writes between a plan and its act: what was agreed to is done, or nothing is.
#[tokio::test]
async fn what_was_agreed_to_is_refused_when_somebody_has_written_since() {
    let api = Api::bare().await;
    api.make("one", "one").await;
    let base = api.in_step("", "GET", &format!("{MAPS}/one"), Value::Null).await.1;
    let base: i64 = base["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    api.make("two", "two").await;
    for (verb, asked) in [("undo", json!({"count": 1})), ("rewind", json!({"revision": base}))] {
        let with = |key: &str, value: Value| {
            let mut asked = asked.clone();
            asked[key] = value;
            asked
        };
        // A new step, a further write of a step that the plan knows, and another undo.
        for change in 0..3 {
            let (code, plan) = api.go(verb, with("plan", true.into())).await;
            assert_eq!(code, 200, "{plan}");
            match change {
                0 => api.make(&format!("new-{verb}"), &format!("new-{verb}")).await,
                1 => api.make("two", &format!("late-{verb}")).await,
                _ => assert_eq!(api.go("undo", json!({})).await.0, 200),
            }
            let before = api.maps().await;
            let agreed = json!({"known": plan["known"], "to": plan["to"]});
            let (code, answer) = api.go(verb, with("agreed", agreed)).await;
            assert_eq!((code, &answer["reason"]), (409, &json!("PlanChanged")), "{verb} {change}: {answer}");
            assert_eq!(api.maps().await, before, "nothing is lost");
        }
        api.go("redo", json!({})).await;
        let plan = api.go(verb, with("plan", true.into())).await.1;
        let agreed = json!({"known": plan["known"], "to": plan["to"]});
        let (code, answer) = api.go(verb, with("agreed", agreed)).await;
        assert_eq!((code, &answer["to"]), (200, &plan["to"]), "{answer}");
        api.go("redo", json!({})).await;
    }
}

/// The store has keys for its address and its node port beside it.
#[tokio::test]
async fn one_service_counts_as_one_object() {
    let api = Api::bare().await;
    let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let service = json!({"metadata": {"name": "web"}, "spec": spec});
    let (code, made) = api.in_step("one", "POST", "/api/v1/namespaces/default/services", service).await;
    assert_eq!(code, 201, "{made}");
    let told = api.go("undo", json!({})).await.1;
    assert_eq!((&told["back"], &told["gone"]), (&json!(0), &json!(1)), "{told}");
    let told = api.go("redo", json!({})).await.1;
    assert_eq!((&told["back"], &told["gone"]), (&json!(1), &json!(0)), "{told}");
}

/// The store is empty there, and roles are made only when an API server starts.
#[tokio::test]
async fn no_rewind_leads_to_before_the_bootstrap() {
    let api = Api::bare().await;
    api.make("one", "one").await;
    let made = api.in_step("", "GET", &format!("{MAPS}/one"), Value::Null).await.1;
    let at: i64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    for asked in [json!({"revision": 1}), json!({"revision": 1, "plan": true})] {
        let (code, answer) = api.go("rewind", asked).await;
        assert_eq!((code, &answer["reason"]), (400, &json!("NoSuchRevision")), "{answer}");
    }
    assert_eq!(api.maps().await, ["one"]);
    let (code, answer) = api.go("rewind", json!({"revision": at - 1})).await;
    assert_eq!(code, 200, "{answer}");
    assert!(api.maps().await.is_empty());
    // Where only some namespaces go back, the roles stay.
    let (code, answer) = api.go("rewind", json!({"revision": 1, "namespaces": ["other"]})).await;
    assert_eq!(code, 200, "{answer}");
}

/// The first command of a person may come before the addons are made.
#[tokio::test]
async fn no_way_back_leads_to_before_the_addons() {
    let api = Api::bare().await;
    api.make("early", "early").await;
    let made = api.make_addon().await;
    let at: i64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    for (verb, asked) in [("undo", json!({})), ("rewind", json!({"revision": at - 1}))] {
        let (code, answer) = api.go(verb, asked).await;
        assert_eq!((code, &answer["reason"]), (409, &json!("BeforeAddons")), "{answer}");
    }
    assert_eq!(api.maps().await, ["early"]);
    api.make("late", "late").await;
    let (code, answer) = api.go("undo", json!({})).await;
    assert_eq!(code, 200, "{answer}");
    let (code, answer) = api.go("redo", json!({})).await;
    assert_eq!(code, 200, "{answer}");
    let (code, answer) = api.go("rewind", json!({"revision": at})).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(api.maps().await, ["early"]);
}

/// The addons are no person's write: what was undone before them could be redone, without them.
#[tokio::test]
async fn no_redo_removes_the_addons_that_were_made_since_the_undo() {
    let api = Api::bare().await;
    let coredns = format!("{SYSTEM_DEPLOYMENTS}/coredns");
    api.make("early", "early").await;
    let (code, answer) = api.go("undo", json!({})).await;
    assert_eq!(code, 200, "{answer}");
    api.make_addon().await;
    let (code, answer) = api.go("redo", json!({})).await;
    assert_eq!((code, &answer["reason"]), (409, &json!("BeforeAddons")), "{answer}");
    assert_eq!(api.get(&coredns).await.0, 200);
    // What a person has deleted, and the undo has made again.
    let (code, answer) = api.in_step("delete", "DELETE", &coredns, json!({})).await;
    assert_eq!(code, 200, "{answer}");
    for (verb, found) in [("undo", 200), ("redo", 404), ("undo", 200)] {
        let (code, answer) = api.go(verb, json!({})).await;
        assert_eq!(code, 200, "{verb}: {answer}");
        assert_eq!(api.get(&coredns).await.0, found, "{verb}");
    }
}

/// Both come back in one revision. A scheduler may hear of the pod first, and bind it by the node
/// that it still knows.
#[tokio::test]
async fn a_pod_that_waits_again_is_not_bound_by_the_node_of_before() {
    const PODS: &str = "/api/v1/namespaces/default/pods";
    const NODES: &str = "/api/v1/nodes";
    let api = Api::new().await;
    let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().to_string();
    api.made(NODES, json!({"metadata": {"name": "n"}})).await;
    let spec = json!({"containers": [{"name": "c", "image": "nginx"}], "nodeSelector": {"disk": "ssd"}});
    api.made(PODS, json!({"metadata": {"name": "p"}, "spec": spec})).await;
    let refused = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
    let waits = json!({"status": {"conditions": [refused]}});
    let (code, waiting) = api.patch(&format!("{PODS}/p/status"), waits).await;
    assert_eq!(code, 200, "{waiting}");
    let label = json!({"metadata": {"labels": {"disk": "ssd"}}});
    let (code, labelled) = api.patch(&format!("{NODES}/n"), label).await;
    assert_eq!(code, 200, "{labelled}");
    let bind = async |version: String| {
        let target = json!({"kind": "Node", "name": "n", "resourceVersion": version});
        api.post(&format!("{PODS}/p/binding"), json!({"metadata": {"name": "p"}, "target": target})).await.0
    };
    assert_eq!(bind(version(&labelled)).await, 201);
    let to: i64 = version(&waiting).parse().unwrap();
    let (code, answer) = api.go("rewind", json!({"revision": to})).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(bind(version(&labelled)).await, 409, "the label is gone");
    let (pod, node) = (api.get(&format!("{PODS}/p")).await.1, api.get(&format!("{NODES}/n")).await.1);
    assert_eq!((pod["spec"].get("nodeName"), version(&pod)), (None, version(&node)), "{pod}");
    assert_eq!(bind(version(&node)).await, 201);
}

/// A lesson that only looks has no namespaces. Its way back must not hide what can be undone.
#[tokio::test]
async fn a_rewind_of_no_namespace_undoes_nothing() {
    let api = Api::bare().await;
    api.make("one", "one").await;
    let made = api.in_step("", "GET", &format!("{MAPS}/one"), Value::Null).await.1;
    let at: i64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    for plan in [true, false] {
        let asked = json!({"revision": at - 1, "namespaces": [], "plan": plan});
        let (code, answer) = api.go("rewind", asked).await;
        assert_eq!((code, &answer["steps"]), (200, &json!([])), "{answer}");
    }
    assert_eq!(api.maps().await, ["one"]);
    let (code, answer) = api.go("undo", json!({})).await;
    assert_eq!((code, api.maps().await.is_empty()), (200, true), "{answer}");
}

/// A namespace goes back to a time at which there was a definition that has gone since. Nothing
/// would show its objects, and the next definition of that name would begin with them.
#[tokio::test]
async fn no_custom_object_comes_back_without_its_definition() {
    let api = Api::bare().await;
    let cache = &api.state().cache;
    let mut progress = cache.progress();
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
    let spec = json!({"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "tabs", "kind": "Tab"}, "versions": [version]});
    api.made(DEFINITIONS, json!({"metadata": {"name": "tabs.example.com"}, "spec": spec})).await;
    while cache.kinds().resource("example.com", "v1", "tabs").is_none() {
        progress.changed().await.unwrap();
    }
    let tab = json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": "a"}});
    let made = api.made("/apis/example.com/v1/namespaces/default/tabs", tab).await;
    let at: i64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert_eq!(api.delete(&format!("{DEFINITIONS}/tabs.example.com"), json!({})).await.0, 200);
    while cache.get("customresourcedefinitions", "tabs.example.com").is_some() {
        progress.changed().await.unwrap();
    }
    for (namespaces, back) in [(json!(["default"]), 0), (Value::Null, 1)] {
        let (code, answer) = api.go("rewind", json!({"revision": at, "namespaces": namespaces})).await;
        assert_eq!(code, 200, "{answer}");
        assert_eq!(cache.list("example.com/tabs", "").objects.len(), back, "{namespaces}");
    }
}
