//! Evictions: what they take of a body, and which pods they end.

use super::subresources::{PODS, pod};
use crate::testing::Api;
use serde_json::{Value, json};

/// Otherwise a pod whose grace period has a typing error goes with its full one.
#[tokio::test]
async fn unknown_fields_of_an_eviction_are_judged_as_field_validation_asks() {
    let api = Api::new().await;
    api.made(PODS, pod("p")).await;
    let path = format!("{PODS}/p/eviction");
    let eviction = |version: &str| {
        json!({"apiVersion": version, "kind": "Eviction", "metadata": {"name": "p"},
            "deleteOptions": {"gracePeriodSecond": 0}})
    };
    let why = "Eviction in version \"v1\" cannot be handled as a Eviction: strict decoding error: unknown field \"deleteOptions.gracePeriodSecond\"";
    for version in ["policy/v1", "policy/v1beta1"] {
        let (code, got) = api.post(&format!("{path}?fieldValidation=Strict"), eviction(version)).await;
        assert_eq!((code, &got["message"]), (400, &json!(why)), "{got}");
        let (code, got) = api.post(&format!("{path}?fieldValidation=Foo"), eviction(version)).await;
        assert_eq!(code, 422, "{got}");
    }
    assert_eq!(api.get(&format!("{PODS}/p")).await.0, 200);
    let (code, got) = api.post(&path, eviction("policy/v1beta1")).await;
    assert_eq!(code, 201, "{got}");
}

/// The version of the client never comes back: no answer may say that a later attempt could help.
#[tokio::test]
async fn an_eviction_of_a_version_that_is_no_more_is_a_conflict() {
    let api = Api::new().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}},
        "unhealthyPodEvictionPolicy": "AlwaysAllow"});
    api.made(budgets, json!({"metadata": {"name": "b"}, "spec": spec})).await;
    let version = api.made(PODS, pod("p")).await["metadata"]["resourceVersion"].take();
    let one = format!("{PODS}/p");
    let unready =
        json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}});
    assert_eq!(api.patch(&format!("{one}/status"), unready).await.0, 200);
    let evict = async |preconditions: Value| {
        let eviction = json!({"metadata": {"name": "p"}, "deleteOptions": {"preconditions": preconditions}});
        api.post(&format!("{one}/eviction"), eviction).await
    };
    let (code, got) = evict(json!({"resourceVersion": version})).await;
    assert_eq!(code, 409, "{got}");
    let (code, got) = evict(json!({"uid": "another"})).await;
    assert!(code == 409 && got["message"].as_str().unwrap().contains("UID in the precondition"), "{got}");
    assert_eq!(evict(json!({})).await.0, 201);
}

/// Otherwise a Job counts its pod as failed if it was deleted shortly before its node was drained.
#[tokio::test]
async fn a_pod_that_is_ending_is_marked_by_its_eviction() {
    let api = Api::new().await;
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n".into();
    api.made(PODS, bound).await;
    let one = format!("{PODS}/p");
    let running = json!({"status": {"phase": "Running"}});
    assert_eq!(api.patch(&format!("{one}/status"), running).await.0, 200);
    assert_eq!(api.delete(&one, json!({"gracePeriodSeconds": 30})).await.0, 200);
    let (code, got) = api.post(&format!("{one}/eviction"), json!({"metadata": {"name": "p"}})).await;
    assert_eq!(code, 201, "{got}");
    let there = api.get(&one).await.1;
    let mut conditions = there["status"]["conditions"].as_array().into_iter().flatten();
    assert!(conditions.any(|c| c["type"] == "DisruptionTarget" && c["status"] == "True"), "{there}");
    assert_eq!(there["metadata"]["deletionGracePeriodSeconds"], 30);
}

/// No budget could be asked for a pod that cannot be read.
#[tokio::test]
async fn an_eviction_does_not_ignore_what_cannot_be_read() {
    let api = Api::new().await;
    api.made(PODS, pod("p")).await;
    let evict = async |ignores: Value| {
        let options = json!({"ignoreStoreReadErrorWithClusterBreakingPotential": ignores});
        let eviction = json!({"metadata": {"name": "p"}, "deleteOptions": options});
        api.post(&format!("{PODS}/p/eviction"), eviction).await
    };
    let (code, got) = evict(json!(true)).await;
    let why = "can not be set for pod eviction, try after removing the option";
    assert!(code == 422 && got["message"].as_str().unwrap().ends_with(why), "{got}");
    assert_eq!(api.get(&format!("{PODS}/p")).await.0, 200);
    assert_eq!(evict(json!(false)).await.0, 201);
}

/// Which of two budgets to spend is not defined, so neither is, and the pod stays.
#[tokio::test]
async fn a_pod_of_two_budgets_is_not_evicted() {
    let api = Api::new().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    for name in ["a", "b"] {
        let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": {"a": "b"}}});
        api.made(budgets, json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    api.made(PODS, pod("p")).await;
    let one = format!("{PODS}/p");
    let running = json!({"status": {"phase": "Running"}});
    assert_eq!(api.patch(&format!("{one}/status"), running).await.0, 200);
    let (code, got) = api.post(&format!("{one}/eviction"), json!({"metadata": {"name": "p"}})).await;
    let why =
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    assert_eq!((code, &got["message"], &got["code"]), (500, &json!(why), &json!(500)), "{got}");
    assert_eq!((&got["status"], got.get("reason")), (&json!("Failure"), None), "{got}");
    assert_eq!(api.get(&one).await.1["metadata"].get("deletionTimestamp"), None);
}
