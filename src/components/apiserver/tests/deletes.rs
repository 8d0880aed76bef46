//! What a delete is asked with: preconditions, query, body and, for a collection, list options.
//! What a definition tells while its objects go.

use crate::auth::user::{MASTERS, User};
use crate::request::http::full;
use crate::testing::{self, Api};
use serde_json::{Value, json};
use std::time::Duration;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

/// A script whose variable is not set means no object, and must not delete one.
#[tokio::test]
async fn no_object_meets_an_empty_precondition() {
    let api = Api::new().await;
    api.made(MAPS, map("a")).await;
    api.made(PODS, pod("p")).await;
    let (one, running) = (format!("{MAPS}/a"), format!("{PODS}/p"));
    for options in [json!({"preconditions": {"uid": ""}}), json!({"preconditions": {"resourceVersion": ""}})]
    {
        for path in [one.as_str(), MAPS] {
            let (code, got) = api.delete(path, options.clone()).await;
            assert_eq!(code, 409, "{path} {options}: {got}");
        }
        let eviction = json!({"metadata": {"name": "p"}, "deleteOptions": options});
        let (code, got) = api.post(&format!("{running}/eviction"), eviction).await;
        assert_eq!(code, 409, "{options}: {got}");
    }
    assert_eq!((api.get(&one).await.0, api.get(&running).await.0), (200, 200));
}

/// A body of `null` is one without options; the query beside a body does not count.
#[tokio::test]
async fn a_delete_takes_a_body_of_null() {
    let api = Api::bare().await;
    api.made(MAPS, map("a")).await;
    let path = format!("{MAPS}/a?propagationPolicy=Foreground");
    let (admin, text) = (User::new("admin", &[MASTERS]), ("text/plain", "null"));
    let (code, got) = testing::send(&api.fixture.server, admin, ("DELETE", path.as_str()), text, "").await;
    assert_eq!(code, 415, "{got}");
    let (code, got) = api.delete(&path, Value::Null).await;
    assert_eq!((code, api.get(&format!("{MAPS}/a")).await.0), (200, 404), "{got}");
}

/// As upstream the refusal names the kind, with its group.
#[tokio::test]
async fn a_precondition_that_fails_names_the_kind_and_its_group() {
    let api = Api::bare().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    api.made(classes, json!({"metadata": {"name": "c"}, "value": 5})).await;
    let (code, got) = api.delete(&format!("{classes}/c"), json!({"preconditions": {"uid": "x"}})).await;
    let begins =
        "Operation cannot be fulfilled on PriorityClass.scheduling.k8s.io \"c\": the UID in the precondition";
    assert!(code == 409 && got["message"].as_str().unwrap().starts_with(begins), "{got}");
    let details = json!({"name": "c", "group": "scheduling.k8s.io", "kind": "PriorityClass"});
    assert_eq!(got["details"], details);
    let made = api.made("/api/v1/namespaces", map("n")).await;
    let (code, got) = api.delete("/api/v1/namespaces/n", json!({"preconditions": {"uid": "x"}})).await;
    let why = format!(
        "Operation cannot be fulfilled on namespaces \"n\": Precondition failed: UID in precondition: x, UID in object meta: {}",
        made["metadata"]["uid"].as_str().unwrap()
    );
    assert_eq!((code, &got["message"]), (409, &json!(why)), "its delete is one of its own");
}

/// A person who is used to Deployments takes the pods for gone.
#[tokio::test]
async fn a_job_that_is_deleted_without_a_policy_leaves_its_pods_with_a_warning() {
    const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
    let api = Api::new().await;
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    api.made(JOBS, json!({"metadata": {"name": "j"}, "spec": {"template": template}})).await;
    for (policy, is_warned) in
        [("", true), ("&propagationPolicy=Orphan", false), ("&orphanDependents=false", false)]
    {
        for path in [format!("{JOBS}/j"), JOBS.to_string()] {
            let request = ::http::Request::delete(format!("{path}?dryRun=All{policy}"));
            let request = request.body(full("")).unwrap();
            let answer = api.fixture.server.call(request, User::new("admin", &[MASTERS])).await;
            assert_eq!(answer.status(), 200);
            let told = answer.headers().get("warning").map_or("", |text| text.to_str().unwrap());
            assert_eq!(told.contains("child pods are preserved"), is_warned, "{path} {policy}: {told}");
        }
    }
}

#[tokio::test]
async fn the_query_of_a_delete_counts_only_without_a_body() {
    let api = Api::new().await;
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n".into();
    api.made(PODS, bound).await;
    let now = format!("{PODS}/p?gracePeriodSeconds=0");
    let (code, got) = api.delete(&now, json!({"kind": "DeleteOptions", "apiVersion": "v1"})).await;
    assert_eq!((code, &got["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(30)), "{got}");
    assert_eq!(api.delete_without_body(&now).await.0, 200);
    assert_eq!(api.get(&format!("{PODS}/p")).await.0, 404);

    let made = api.made(MAPS, map("a")).await;
    let (one, uid) = (format!("{MAPS}/a"), made["metadata"]["uid"].as_str().unwrap());
    for (query, code) in [
        ("uid=another", 409),
        ("resourceVersion=1", 409),
        ("propagationPolicy=", 422),
        ("gracePeriodSeconds=", 400),
    ] {
        let (got, answer) = api.delete_without_body(&format!("{one}?{query}")).await;
        assert_eq!(got, code, "{query}: {answer}");
    }
    // The exception: a client that only wants to try writes nothing.
    assert_eq!(api.delete(&format!("{one}?dryRun=All"), json!({})).await.0, 200);
    assert_eq!(api.get(&one).await.0, 200);
    assert_eq!(api.delete_without_body(&format!("{one}?uid={uid}")).await.0, 200);
    assert_eq!(api.get(&one).await.0, 404);
}

/// Otherwise a watcher that goes by deletion times never learns that this pod was deleted.
#[tokio::test]
async fn a_pod_that_gets_no_time_to_end_is_marked_before_it_goes() {
    let api = Api::new().await;
    let mut bound = pod("bound");
    bound["spec"]["nodeName"] = "n".into();
    for (made, options) in [(bound, json!({"gracePeriodSeconds": 0})), (pod("waiting"), json!({}))] {
        let made = api.made(PODS, made).await;
        let one = format!("{PODS}/{}", made["metadata"]["name"].as_str().unwrap());
        let before = api.fixture.tap.since(0).len();
        let (code, gone) = api.delete(&one, options).await;
        assert_eq!(
            (code, &gone["kind"], &gone["metadata"]["uid"]),
            (200, &json!("Pod"), &made["metadata"]["uid"])
        );
        let metadata = &gone["metadata"];
        assert!(metadata["deletionTimestamp"].is_string(), "{gone}");
        let left = (&metadata["deletionGracePeriodSeconds"], &metadata["generation"]);
        assert_eq!(left, (&json!(0), &json!(2)), "{gone}");
        let records = api.fixture.tap.since(0).split_off(before);
        let writes: Vec<&tap::Write> = records.iter().filter_map(|record| record.write()).collect();
        assert_eq!(writes, [&tap::Write::DELETING, &tap::Write::DELETED], "{one}");
        assert_eq!(api.get(&one).await.0, 404);
    }
}

#[tokio::test]
async fn the_body_of_a_delete_is_delete_options() {
    let api = Api::bare().await;
    api.made(MAPS, map("a")).await;
    let one = format!("{MAPS}/a");
    for (body, code) in [
        (json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}}), 400),
        (json!({"kind": 5}), 400),
        (json!({"propagationPolicy": ""}), 422),
    ] {
        let (got, answer) = api.delete(&one, body.clone()).await;
        assert_eq!(got, code, "{body}: {answer}");
    }
    assert_eq!(api.get(&one).await.0, 200);
    let of_a_group = json!({"kind": "DeleteOptions", "apiVersion": "policy/v1"});
    assert_eq!(api.delete(&one, of_a_group).await.0, 200);
    assert_eq!(api.get(&one).await.0, 404);
}

#[tokio::test]
async fn the_list_options_of_a_deleted_collection_are_judged() {
    let api = Api::bare().await;
    let made = api.made(MAPS, map("a")).await;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    for (query, code) in [
        ("resourceVersionMatch=Exact".to_string(), 422),
        ("sendInitialEvents=true".to_string(), 422),
        ("resourceVersion=x".to_string(), 400),
        (format!("resourceVersion={version}"), 422),
        (format!("resourceVersion={version}&resourceVersionMatch=Exact"), 422),
        (format!("resourceVersion={version}&resourceVersionMatch=Sideways"), 422),
    ] {
        let (got, answer) = api.delete(&format!("{MAPS}?{query}"), json!({})).await;
        assert_eq!(got, code, "{query}: {answer}");
    }
    assert_eq!(api.get(&format!("{MAPS}/a")).await.0, 200);
    let newer = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(api.delete(&newer, json!({})).await.0, 200);
    assert_eq!(api.get(&format!("{MAPS}/a")).await.0, 404);
}

/// `kubectl describe crd` shows why a definition that was deleted is still there.
#[tokio::test]
async fn a_definition_says_that_its_objects_are_being_deleted() {
    let api = Api::new().await;
    let state = api.state();
    let mut progress = state.cache.progress();
    let version = json!({"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object"}}});
    let definition = json!({"metadata": {"name": "tabs.example.com"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": {"plural": "tabs", "kind": "TABS"}, "versions": [version]}});
    api.made(DEFINITIONS, definition).await;
    while state.cache.kinds().resource("example.com", "v1", "tabs").is_none() {
        progress.changed().await.unwrap();
    }
    let metadata = json!({"name": "held", "finalizers": ["example.com/mine"]});
    let held = json!({"kind": "TABS", "apiVersion": "example.com/v1", "metadata": metadata});
    api.made("/apis/example.com/v1/namespaces/default/tabs", held).await;
    let one = format!("{DEFINITIONS}/tabs.example.com");
    assert_eq!(api.delete(&one, json!({})).await.0, 200);
    let is_told = async || {
        let (_, answer) = api.get(&one).await;
        let mut all = answer["status"]["conditions"].as_array().into_iter().flatten();
        all.any(|c| c["type"] == "Terminating" && c["reason"] == "InstanceDeletionInProgress")
    };
    let look = async {
        while !is_told().await {
            progress.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), look).await.expect("the reason of the condition");
    // The record of its end has the last condition. Watchers lose the definition of before.
    let free = json!({"metadata": {"finalizers": null}});
    assert_eq!(api.patch("/apis/example.com/v1/namespaces/default/tabs/held", free).await.0, 200);
    let last = || {
        let records = api.fixture.tap.since(0);
        let gone = records.iter().rev().find(|r| r.write() == Some(&tap::Write::DELETED));
        gone.and_then(|r| String::from_utf8(r.body.as_ref()?.to_vec()).ok()).unwrap_or_default()
    };
    let look = async {
        while !last().contains("InstanceDeletionCompleted") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), look).await.expect("the last reason of the condition");
}
