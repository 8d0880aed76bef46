//! Admission through the whole server: what is created below an object and not stored by itself,
//! and what a refusal says.

use crate::testing::Api;
use serde_json::{Value, json};

/// A binding, an eviction and a token are creations, as upstream: nothing of them comes into a
/// namespace that is going.
#[tokio::test]
async fn a_namespace_that_is_going_gets_no_token_eviction_or_binding() {
    let api = Api::bare().await;
    api.made("/api/v1/namespaces", json!({"metadata": {"name": "x"}})).await;
    let api = api.with_account("x").await;
    api.made("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    api.made("/api/v1/namespaces/x/pods", pod).await;
    let token = json!({"spec": {"expirationSeconds": 600}});
    let account = "/api/v1/namespaces/x/serviceaccounts/default/token";
    assert_eq!(api.post(account, token.clone()).await.0, 201, "the namespace is there");
    let (_, going) = api.delete("/api/v1/namespaces/x", json!({})).await;
    assert_eq!(going["status"]["phase"], "Terminating", "{going}");

    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    for (path, body) in [
        (account, token.clone()),
        ("/api/v1/namespaces/x/pods/p/binding", binding.clone()),
        ("/api/v1/namespaces/x/bindings", binding),
        ("/api/v1/namespaces/x/pods/p/eviction", json!({"metadata": {"name": "p", "namespace": "x"}})),
    ] {
        let (code, refused) = api.post(path, body).await;
        let cause = &refused["details"]["causes"][0]["reason"];
        assert_eq!((code, cause), (403, &json!("NamespaceTerminating")), "{path}: {refused}");
    }
    let (code, kept) = api.get("/api/v1/namespaces/x/pods/p").await;
    assert_eq!((code, &kept["spec"]["nodeName"]), (200, &Value::Null), "{kept}");
    assert!(kept["metadata"]["deletionTimestamp"].is_null(), "{kept}");

    let (code, refused) = api.post("/api/v1/namespaces/none/serviceaccounts/default/token", token).await;
    assert_eq!((code, &refused["details"]["kind"]), (404, &json!("namespaces")), "{refused}");
    let asked = json!({"namespace": "x", "verb": "get", "resource": "pods"});
    let review = json!({"spec": {"user": "bob", "resourceAttributes": asked}});
    let reviews = "/apis/authorization.k8s.io/v1/namespaces/x/localsubjectaccessreviews";
    assert_eq!(api.post(reviews, review).await.0, 201, "a review says nothing of the namespace");
}

/// Two containers with the same limit have one problem, and a third one has another.
#[tokio::test]
async fn a_limit_range_says_what_several_containers_do_wrong_once() {
    let api = Api::new().await;
    let limits = json!([{"type": "Container", "max": {"cpu": "1"}}]);
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": limits}});
    api.made("/api/v1/namespaces/default/limitranges", range).await;
    assert!(api.state().fresh().await.is_ok());
    let asks = |name: &str, cpu: &str| json!({"name": name, "image": "nginx", "resources": {"limits": {"cpu": cpu}}});
    let (two, three) = (asks("a", "2"), asks("c", "3"));
    let of = |limit: u8| format!("maximum cpu usage per Container is 1, but limit is {limit}");
    for (containers, why) in [
        (json!([two, asks("b", "2")]), of(2)),
        (json!([two, asks("b", "2"), three]), format!("[{}, {}]", of(2), of(3))),
    ] {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": containers}});
        let (code, refused) = api.post("/api/v1/namespaces/default/pods", pod).await;
        let told = format!("pods \"p\" is forbidden: {why}");
        assert_eq!((code, refused["message"].as_str()), (403, Some(told.as_str())));
    }
}

/// The Endpoints `kubernetes-other` are not those of the API servers.
#[tokio::test]
async fn a_service_may_have_an_external_address_that_no_api_server_has() {
    let api = Api::bare().await;
    let subsets = json!([{"addresses": [{"ip": "203.0.113.5"}], "ports": [{"port": 443}]}]);
    let other = json!({"metadata": {"name": "kubernetes-other"}, "subsets": subsets});
    api.made("/api/v1/namespaces/default/endpoints", other).await;
    assert!(api.state().fresh().await.is_ok());
    let spec = json!({"ports": [{"port": 80}], "externalIPs": ["203.0.113.5"]});
    api.made("/api/v1/namespaces/default/services", json!({"metadata": {"name": "s"}, "spec": spec})).await;
}

/// As upstream, which generates names after the mutating plug-ins: the tries of a ReplicaSet are
/// refused in the same words, and are one Event. A quota judges when the name is known.
#[tokio::test]
async fn a_refusal_before_the_name_is_generated_has_its_prefix() {
    let api = Api::new().await;
    api.made("/api/v1/namespaces", json!({"metadata": {"name": "x"}})).await;
    let api = api.with_account("x").await;
    let pod = |metadata: &Value, field: &str| {
        let spec = json!({field: "none", "containers": [{"name": "c", "image": "nginx"}]});
        json!({"metadata": metadata, "spec": spec})
    };
    let pods = "/api/v1/namespaces/x/pods";
    let refused = async |metadata: &Value, field: &str| {
        let (code, refused) = api.post(pods, pod(metadata, field)).await;
        assert_eq!(code, 403, "{refused}");
        let name = refused["details"]["name"].as_str().unwrap_or_default().to_string();
        assert!(refused["message"].as_str().unwrap().starts_with(&format!("pods \"{name}\" is forbidden: ")));
        name
    };
    for (metadata, name) in [
        (json!({"generateName": "web-"}), "web-"),
        (json!({"generateName": "web-", "name": "web-abcde"}), "web-abcde"),
        (json!({}), "Unknown"),
    ] {
        for field in ["serviceAccountName", "priorityClassName"] {
            assert_eq!(refused(&metadata, field).await, name, "{field}");
        }
    }
    let prefix = json!({"generateName": "web-"});
    let enforced = json!({"kubernetes.io/enforce-mountable-secrets": "true"});
    let account = json!({"metadata": {"name": "none", "annotations": enforced}});
    api.made("/api/v1/namespaces/x/serviceaccounts", account).await;
    let secret = json!([{"name": "v", "secret": {"secretName": "s"}}]);
    let mut reader = pod(&prefix, "serviceAccountName");
    reader["spec"]["volumes"] = secret;
    let (code, answer) = api.post(pods, reader).await;
    assert_eq!((code, &answer["details"]["name"]), (403, &json!("web-")), "{answer}");
    let (quotas, none) = ("/api/v1/namespaces/x/resourcequotas", json!({"pods": "0"}));
    api.made(quotas, json!({"metadata": {"name": "q"}, "spec": {"hard": none}})).await;
    let status = json!({"status": {"hard": none, "used": none}});
    assert_eq!(api.patch(&format!("{quotas}/q/status"), status).await.0, 200);
    assert!(api.state().fresh().await.is_ok());
    let name = refused(&prefix, "hostname").await;
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    assert_eq!(api.delete("/api/v1/namespaces/x", json!({})).await.0, 200);
    assert_eq!(refused(&prefix, "hostname").await, "web-", "the namespace is going");
}
