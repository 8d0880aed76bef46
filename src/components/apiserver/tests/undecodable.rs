//! Objects that cannot be decoded, through the whole server.

use super::nodes::{JSON, admin, send};
use crate::storage::keys::ROOT;
use crate::testing;
use api::kinds;
use client::{Client, Endpoint, LeaderElection, direct};
use etcd::Kv;
use etcd::api::TxnRequest;
use pki::Subject;
use rng::Rng;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

async fn put(kv: &Kv, key: String, value: &'static str) {
    let put = crate::storage::transaction::put(key, value);
    kv.txn(TxnRequest { success: vec![put], ..Default::default() }).await.unwrap();
}

#[tokio::test]
async fn a_service_that_cannot_be_decoded_gives_back_its_address_and_ports() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Arc::new(Kv::in_memory(Rng::seeded(1).fork("etcd")));
    let fixture = testing::start_on(dir.path(), kv.clone()).await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "clusterIP": "10.96.7.7",
            "ports": [{"port": 80, "nodePort": 30777}]}})
    };
    let admin = admin();
    assert_eq!(send(&fixture, &admin, "POST", services, JSON, service("a")).await.0, 201);
    put(&kv, format!("{ROOT}services/default/a"), "{").await;
    let (code, answer) = send(&fixture, &admin, "DELETE", &format!("{services}/a"), JSON, Value::Null).await;
    assert_eq!(code, 200, "{answer}");
    let (code, answer) = send(&fixture, &admin, "POST", services, JSON, service("b")).await;
    assert_eq!(code, 201, "{answer}");
}

#[tokio::test]
async fn a_lease_that_cannot_be_decoded_does_not_end_leadership_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Arc::new(Kv::in_memory(Rng::seeded(1).fork("etcd")));
    let fixture = testing::start_on(dir.path(), kv.clone()).await;
    let address = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    // Not an administrator: the right to delete the Lease is one of the component's own.
    let identity = fixture.ca.issue(&Subject::client("system:kube-scheduler", "")).unwrap();
    let endpoint = Endpoint {
        servers: vec![address.parse().unwrap()],
        server_name: "127.0.0.1".into(),
        ca_pem: fixture.ca.pem().into(),
        identity: Some(identity),
        user_agent: "test".into(),
        dial: direct(),
    };
    let place = kinds::stored("leases").unwrap().place();
    put(&kv, format!("{ROOT}{place}/kube-system/kube-scheduler"), "{").await;
    let election = LeaderElection {
        lease_duration: Duration::from_secs(1),
        renew_deadline: Duration::from_secs(10),
        retry_period: Duration::from_millis(50),
        ..LeaderElection::new(Client::connect(endpoint).unwrap(), "kube-scheduler", "me")
    };
    let held = tokio::time::timeout(Duration::from_secs(30), election.acquire(&task::Crew::new("t"))).await;
    held.expect("there is no leader any more");
}
