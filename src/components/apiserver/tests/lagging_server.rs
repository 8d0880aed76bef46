//! Two servers of one store, of which one has not heard of the other's writes yet.

use super::blocking_store::BlockingStore;
use super::nodes::{JSON, PODS, admin, kubelet, send};
use crate::testing;
use etcd::Kv;
use rng::Rng;
use serde_json::{Value, json};
use std::sync::Arc;

/// One API server has bound a pod to the node; the kubelet asks another one for the pod's Secret,
/// which has not heard of it yet.
#[tokio::test]
async fn a_kubelet_is_not_refused_because_a_server_is_behind() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kv = Kv::in_memory(Rng::seeded(1).fork("etcd"));
    let behind = BlockingStore::new(kv.clone());
    let fixture = testing::start_on(dir.path(), Arc::new(kv)).await;
    let second = testing::start_on(other.path(), behind.clone()).await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let default = json!({"metadata": {"name": "default"}});
    assert_eq!(send(&fixture, &admin(), "POST", accounts, JSON, default).await.0, 201);
    let secrets = "/api/v1/namespaces/default/secrets";
    let other = json!({"metadata": {"name": "other"}});
    assert_eq!(send(&fixture, &admin(), "POST", secrets, JSON, other).await.0, 201);
    for attempt in 0..5 {
        let (pod, secret) = (format!("p{attempt}"), format!("needed{attempt}"));
        // A read of now, so that nothing older stands before the gate.
        assert_eq!(send(&second, &admin(), "GET", PODS, JSON, Value::Null).await.0, 200);
        behind.watches.send_replace(false);
        let made = json!({"metadata": {"name": secret}});
        assert_eq!(send(&fixture, &admin(), "POST", secrets, JSON, made).await.0, 201);
        let spec = json!({"nodeName": "n1", "containers": [{"name": "c", "image": "x"}],
            "volumes": [{"name": "v", "secret": {"secretName": secret}}]});
        let made = json!({"metadata": {"name": pod}, "spec": spec});
        assert_eq!(send(&fixture, &admin(), "POST", PODS, JSON, made).await.0, 201);
        let cached = format!("{PODS}?resourceVersion=0");
        let (_, known) = send(&second, &admin(), "GET", &cached, JSON, Value::Null).await;
        if known["items"].as_array().unwrap().iter().any(|known| known["metadata"]["name"] == pod.as_str()) {
            continue; // every ten seconds the server reads something for itself
        }
        let needed = format!("{secrets}/{secret}");
        let (code, answer) = send(&second, &kubelet("n1"), "GET", &needed, JSON, Value::Null).await;
        assert_eq!(code, 200, "{answer}");
        // The second look gives no more than the first.
        for (node, path) in [("n1", format!("{secrets}/other")), ("n2", needed)] {
            let (code, answer) = send(&second, &kubelet(node), "GET", &path, JSON, Value::Null).await;
            assert_eq!(code, 403, "{node}: {answer}");
        }
        return;
    }
    panic!("the second server was never behind: the test shows nothing");
}

/// A namespace has gone through one API server; another one has not heard of it yet.
#[tokio::test]
async fn nothing_is_made_in_a_namespace_that_is_gone_because_a_server_is_behind() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kv = Kv::in_memory(Rng::seeded(1).fork("etcd"));
    let behind = BlockingStore::new(kv.clone());
    let fixture = testing::start_on(dir.path(), Arc::new(kv)).await;
    let second = testing::start_on(other.path(), behind.clone()).await;
    for attempt in 0..5 {
        let name = format!("x{attempt}");
        let (namespace, maps) =
            (format!("/api/v1/namespaces/{name}"), format!("/api/v1/namespaces/{name}/configmaps"));
        let made = json!({"metadata": {"name": name}});
        assert_eq!(send(&fixture, &admin(), "POST", "/api/v1/namespaces", JSON, made).await.0, 201);
        assert_eq!(send(&second, &admin(), "GET", &namespace, JSON, Value::Null).await.0, 200);
        behind.watches.send_replace(false);
        let (code, mut going) = send(&fixture, &admin(), "DELETE", &namespace, JSON, Value::Null).await;
        assert_eq!(code, 200, "{going}");
        going["spec"]["finalizers"] = json!([]);
        let finalize = format!("{namespace}/finalize");
        assert_eq!(send(&fixture, &admin(), "PUT", &finalize, JSON, going).await.0, 200);
        let cached = "/api/v1/namespaces?resourceVersion=0";
        let (_, known) = send(&second, &admin(), "GET", cached, JSON, Value::Null).await;
        if !known["items"].as_array().unwrap().iter().any(|known| known["metadata"]["name"] == name.as_str())
        {
            continue; // every ten seconds the server reads something for itself
        }
        let map = json!({"metadata": {"name": "late"}});
        let (code, answer) = send(&second, &admin(), "POST", &maps, JSON, map).await;
        assert_eq!(code, 404, "{answer}");
        return;
    }
    panic!("the second server was never behind: the test shows nothing");
}
