//! The node's Lease: the sign of life that is cheap to write (KEP-589).

use crate::config::Config;
use client::optional;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::PostParams;

/// In seconds: a Lease that is not renewed for so long says that the node is gone.
const LEASE_DURATION: i32 = 40;

/// Renews the node's Lease, or makes it. The Lease has the node's name, in the namespace
/// `kube-node-lease`. Its owner is the Node: if the Node is deleted, the garbage collector deletes
/// the Lease.
///
/// # Errors
/// As the API's.
pub(super) async fn renew(config: &Config) -> Result<(), kube::Error> {
    let api = config.client.within::<Lease>("kube-node-lease");
    let now = MicroTime(clock::now());
    let spec = LeaseSpec {
        holder_identity: Some(config.node_name.clone()),
        lease_duration_seconds: Some(LEASE_DURATION),
        renew_time: Some(now),
        ..LeaseSpec::default()
    };
    match optional(api.get(&config.node_name).await)? {
        Some(mut lease) => {
            lease.spec = Some(spec);
            api.replace(&config.node_name, &PostParams::default(), &lease).await.map(drop)
        }
        None => {
            // Asked for each time: a Node that was deleted and registered again is another one, and
            // its predecessor's leases are collected.
            let node = config.client.cluster::<Node>().get_metadata(&config.node_name).await?;
            let owner = OwnerReference {
                api_version: "v1".into(),
                kind: "Node".into(),
                name: config.node_name.clone(),
                uid: node.metadata.uid.clone().unwrap_or_default(),
                ..OwnerReference::default()
            };
            let metadata = ObjectMeta {
                name: Some(config.node_name.clone()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            };
            let lease = Lease { metadata, spec: Some(spec) };
            api.create(&PostParams::default(), &lease).await.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests;
    use client::testing::{Asked, Scripted, refusal};
    use cri::fake::FakeRuntime;
    use rng::Rng;
    use serde_json::json;

    fn lines(asked: &[Asked]) -> Vec<&str> {
        asked.iter().map(|one| one.line.as_str()).collect()
    }

    #[tokio::test]
    async fn a_lease_is_made_for_its_node_and_then_renewed() {
        let made = std::sync::atomic::AtomicBool::new(false);
        let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        let api = Scripted::new(move |asked| {
            use std::sync::atomic::Ordering::Relaxed;
            match asked.line.as_str() {
                "GET /api/v1/nodes/n1" => Some((200, json!({"metadata": {"name": "n1", "uid": "of-n1"}}))),
                line if line == format!("GET {lease}/n1") => match made.load(Relaxed) {
                    false => refusal(404, "NotFound"),
                    true => Some((200, json!({"metadata": {"name": "n1", "resourceVersion": "7"}}))),
                },
                line if line == format!("POST {lease}") => {
                    made.store(true, Relaxed);
                    None
                }
                _ => None,
            }
        })
        .await;
        let fake = FakeRuntime::new(tests::NODE, tests::PODS, Rng::seeded(1));
        let config = tests::config(&api.client, &fake, "/nowhere".into());
        renew(&config).await.unwrap();
        let asked = api.take();
        assert_eq!(lines(&asked)[1..], ["GET /api/v1/nodes/n1".to_string(), format!("POST {lease}")]);
        assert_eq!(asked[2].body["metadata"]["ownerReferences"][0]["uid"], "of-n1");
        renew(&config).await.unwrap();
        let asked = api.take();
        assert_eq!(lines(&asked), [format!("GET {lease}/n1"), format!("PUT {lease}/n1")]);
        assert_eq!(asked[1].body["metadata"]["resourceVersion"], "7", "over what was read");
        assert_eq!(asked[1].body["spec"]["holderIdentity"], "n1");
    }
}
