//! Bindings that wait for the volumes of their pod's claims.

use super::super::tests::{claim, free_volume, of, over, pod, scheduler};
use super::*;
use crate::volumes::Open;
use client::testing::Scripted;
use serde_json::{Value, json};
use std::sync::Arc;

fn open(claim: PersistentVolumeClaim) -> Open {
    Open {
        key: Key::of(&claim),
        claim: Arc::new(claim),
        provisioned: true,
        node: None,
        is_shared: false,
        fitting: vec![],
    }
}

/// Makes a request that a provisioner got for the claim's volume; its answer had this version.
fn asked(claim: PersistentVolumeClaim, version: u64) -> Requested {
    Requested { open: open(claim), choice: Choice::Provision, version: Some(version) }
}

/// Returns the claim `d/NAME` without a volume, selected for a node or for none.
fn version(name: &str, version: u64, node: Option<&str>) -> PersistentVolumeClaim {
    let mut claim = claim("");
    claim.metadata.name = Some(name.into());
    claim.metadata.resource_version = Some(version.to_string());
    claim.metadata.annotations = node.map(|node| [(SELECTED_NODE.to_string(), node.to_string())].into());
    claim
}

#[tokio::test]
async fn a_binding_waits_for_its_claim_and_not_for_a_pod_that_is_gone() {
    let scheduler = scheduler(claim("")).await;
    let (key, first) = (Key::new("d", "p"), pod("1"));
    let requested = [asked(claim(""), 11)];
    let bound = scheduler.await_volumes(&requested, "n", &key, &first);
    tokio::pin!(bound);
    assert!(futures::poll!(bound.as_mut()).is_pending());
    scheduler.news.send_replace(());
    assert!(futures::poll!(bound.as_mut()).is_pending(), "a change of something else");
    scheduler.claims.show(claim("v"));
    scheduler.news.send_replace(());
    assert!(futures::poll!(bound.as_mut()).is_pending(), "where its volume is is not known yet");
    scheduler.volumes.show(free_volume());
    scheduler.news.send_replace(());
    assert_eq!(bound.await, Ok(()));
    scheduler.claims.show(claim(""));
    scheduler.pods.show(pod("2"));
    let bound = scheduler.await_volumes(&requested, "n", &key, &first).await;
    assert_eq!(bound, Err("the pod is gone".into()));
}

#[tokio::test]
async fn a_binding_does_not_wait_for_a_node_or_a_provisioner_that_will_not_come() {
    let scheduler = scheduler(claim("")).await;
    let (key, first) = (Key::new("d", "p"), pod("1"));
    let requested = [asked(claim(""), 11)];
    let bound = scheduler.await_volumes(&requested, "n", &key, &first);
    tokio::pin!(bound);
    assert!(futures::poll!(bound.as_mut()).is_pending(), "the annotation may not be seen yet");
    scheduler.claims.show(version("c", 11, Some("n")));
    scheduler.news.send_replace(());
    assert!(futures::poll!(bound.as_mut()).is_pending(), "the provisioner is at it");
    scheduler.claims.show(version("c", 12, None));
    scheduler.news.send_replace(());
    assert!(bound.await.unwrap_err().contains("the provisioner cannot"));
    scheduler.nodes.show_deleted(of(json!({"metadata": {"name": "n"}})));
    let bound = scheduler.await_volumes(&requested, "n", &key, &first).await;
    assert_eq!(bound, Err("node \"n\" is gone".into()));
}

/// The annotation is written and removed before the scheduler looks at the claim, while it requests
/// the volumes of the pod's other claims for example. No more change of the claim comes then.
#[tokio::test]
async fn a_refusal_whose_request_was_never_seen_ends_the_binding() {
    let server = Scripted::new(|asked| {
        let answer = || (200, json!({"metadata": {"namespace": "d", "name": "c", "resourceVersion": "11"}}));
        asked.line.ends_with("/persistentvolumeclaims/c").then(answer)
    })
    .await;
    let scheduler = over(server.client.clone(), version("c", 12, None));
    let (key, first) = (Key::new("d", "p"), pod("1"));
    let choices = vec![(open(claim("")), Choice::Provision)];
    let bound = scheduler.bind(&key, &first, "n", None, choices, &None);
    let ended = clock::timeout(Duration::from_secs(20), bound).await.expect("it waits for ever");
    let message = ended.unwrap_err().to_string();
    let upstream =
        "running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed for PVC \"c\"";
    assert!(message.starts_with(upstream), "{message}");
}

/// People search for upstream's message, which is that of Go's contexts.
#[tokio::test(start_paused = true)]
async fn a_binding_whose_claim_is_not_bound_in_time_says_so_in_upstreams_words() {
    let scheduler = scheduler(version("c", 11, Some("n"))).await;
    let requested = [asked(version("c", 10, None), 11)];
    let ended = scheduler.await_volumes(&requested, "n", &Key::new("d", "p"), &pod("1")).await;
    assert_eq!(ended, Err("context deadline exceeded: claim d/c is not bound".into()));
}

#[tokio::test]
async fn a_claim_that_is_refused_while_another_one_is_provisioned_ends_the_binding() {
    let scheduler = scheduler(version("c", 11, Some("n"))).await;
    scheduler.claims.show(version("c2", 12, Some("n")));
    let (key, first) = (Key::new("d", "p"), pod("1"));
    let requested = [asked(version("c", 10, None), 11), asked(version("c2", 10, None), 12)];
    let bound = scheduler.await_volumes(&requested, "n", &key, &first);
    tokio::pin!(bound);
    assert!(futures::poll!(bound.as_mut()).is_pending(), "the provisioner is at both");
    scheduler.claims.show(version("c2", 13, None));
    scheduler.news.send_replace(());
    let ended = clock::timeout(Duration::from_secs(20), bound).await.expect("it waits for the first claim");
    assert!(ended.unwrap_err().contains("provisioning failed for PVC \"c2\": the provisioner cannot"));
}

/// Two pods have one claim, and the first is deleted while its volume is being made.
#[tokio::test]
async fn a_volume_that_a_pod_has_requested_is_waited_for_when_that_pod_is_gone() {
    let scheduler = scheduler(version("c", 11, Some("n"))).await;
    let (key, second, gone) = (Key::new("d", "p"), pod("1"), pod("2"));
    let shared = Open { node: Some("n".into()), is_shared: true, ..open(claim("")) };
    let provisioned = [(open(claim("")), Choice::Provision)];
    scheduler.reserved.lock().add(&gone, "n", &provisioned);
    let requested = [Requested { open: shared, choice: Choice::Await, version: None }];
    let bound = scheduler.await_volumes(&requested, "n", &key, &second);
    tokio::pin!(bound);
    assert!(futures::poll!(bound.as_mut()).is_pending(), "the provisioner is at it");
    scheduler.reserved.lock().remove(&gone);
    scheduler.news.send_replace(());
    assert!(futures::poll!(bound.as_mut()).is_pending(), "it still is");
    scheduler.claims.show(version("c", 12, None));
    scheduler.news.send_replace(());
    let ended = clock::timeout(Duration::from_secs(20), bound).await.expect("it waits for ever");
    assert!(ended.unwrap_err().contains("did not get the volume"));
}

/// A claim is deleted and made again, and the watch shows both at once. The volume stays with
/// the first one.
#[tokio::test]
async fn a_binding_does_not_wait_for_another_claim_of_the_same_name() {
    let scheduler = scheduler(claim("")).await;
    let (key, first) = (Key::new("d", "p"), pod("1"));
    let mut reserved = free_volume();
    reserved.spec.as_mut().unwrap().claim_ref =
        of(json!({"kind": "PersistentVolumeClaim", "namespace": "d", "name": "c", "uid": "c1"}));
    scheduler.volumes.show(reserved);
    let requested = [Requested { open: open(claim("")), choice: Choice::Await, version: None }];
    let bound = scheduler.await_volumes(&requested, "n", &key, &first);
    tokio::pin!(bound);
    assert!(futures::poll!(bound.as_mut()).is_pending(), "the controller is at it");
    let mut again = version("c", 12, None);
    again.metadata.uid = Some("c2".into());
    scheduler.claims.show_list([again]);
    scheduler.news.send_replace(());
    let ended = clock::timeout(Duration::from_secs(20), bound).await.expect("it waits for ever");
    assert_eq!(ended, Err("claim d/c is gone".into()));
}

#[tokio::test]
async fn a_binding_does_not_wait_for_a_reserved_volume_that_is_gone_or_given_back() {
    let (key, first) = (Key::new("d", "p"), pod("1"));
    let version = |version: &str, claim_ref: Value| {
        let mut volume = free_volume();
        volume.metadata.resource_version = Some(version.into());
        volume.spec.as_mut().unwrap().claim_ref = of(claim_ref);
        volume
    };
    let ours = json!({"kind": "PersistentVolumeClaim", "namespace": "d", "name": "c", "uid": "c1"});
    for choice in [Choice::Reserve(Arc::new(free_volume())), Choice::Await] {
        for is_gone in [false, true] {
            let scheduler = scheduler(claim("")).await;
            let reserved = version("8", ours.clone());
            match choice {
                Choice::Reserve(_) => scheduler.volumes.show(free_volume()),
                _ => scheduler.volumes.show(reserved.clone()),
            }
            let requested = [Requested { open: open(claim("")), choice: choice.clone(), version: None }];
            let bound = scheduler.await_volumes(&requested, "n", &key, &first);
            tokio::pin!(bound);
            assert!(futures::poll!(bound.as_mut()).is_pending(), "what was written may not be seen yet");
            scheduler.volumes.show(reserved);
            scheduler.news.send_replace(());
            assert!(futures::poll!(bound.as_mut()).is_pending(), "the controller is at it");
            match is_gone {
                true => scheduler.volumes.show_deleted(version("9", ours.clone())),
                false => scheduler.volumes.show(version("9", Value::Null)),
            }
            scheduler.news.send_replace(());
            let ended = clock::timeout(Duration::from_secs(20), bound).await.expect("it waits for ever");
            assert!(ended.unwrap_err().contains("claim d/c"), "{choice:?} {is_gone}");
        }
    }
}
