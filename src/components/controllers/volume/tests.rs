//! A look at claims and volumes against a server that says what it is asked for.

use super::refusals::{reclaim_refusal, refused_binding};
use super::waiting::{OLD_PROVISIONER, PROVISIONER, default_class};
use super::*;
use api::volumes::{BIND_COMPLETED, BOUND_BY_CONTROLLER, NO_PROVISIONER, OLD_CLASS};
use client::testing::{Asked, Scripted, refusal};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tap::Event;

fn of<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn claim(bound: &str, phase: &str) -> PersistentVolumeClaim {
    let annotations = if bound.is_empty() { json!({}) } else { json!({BIND_COMPLETED: "yes"}) };
    of(json!({"metadata": {"name": "c", "namespace": "d", "uid": "u", "annotations": annotations},
        "spec": {"storageClassName": "late", "volumeName": bound}, "status": {"phase": phase}}))
}

fn volume(reserved: Option<&str>) -> PersistentVolume {
    let claim = reserved.map(|uid| json!({"namespace": "d", "name": "c", "uid": uid}));
    of(
        json!({"metadata": {"name": "v", "uid": "w"}, "spec": {"storageClassName": "late", "claimRef": claim}}),
    )
}

/// Returns a worker that knows these; its class waits for the first consumer.
fn worker(server: &Scripted, claims: Vec<PersistentVolumeClaim>, volumes: Vec<PersistentVolume>) -> Worker {
    let shared = Shared::fixed(&server.client);
    let late = json!({"metadata": {"name": "late"}, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"});
    shared.informer::<StorageClass>().show(of(late));
    claims.into_iter().for_each(|claim| shared.informer::<PersistentVolumeClaim>().show(claim));
    volumes.into_iter().for_each(|volume| shared.informer::<PersistentVolume>().show(volume));
    let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
    Worker { shared, recorder }
}

fn key() -> Key {
    Key::new("d", "c")
}

#[tokio::test]
async fn a_class_that_waits_for_its_first_consumer_gets_no_volume_but_the_reserved_one() {
    let server = Scripted::new(|_| None).await;
    let free = worker(&server, vec![claim("", "Pending")], vec![volume(None)]);
    free.sync_claim(key(), None).await.unwrap();
    assert_eq!(server.lines(), [""; 0]);
    let reserved = worker(&server, vec![claim("", "Pending")], vec![volume(Some("u"))]);
    reserved.sync_claim(key(), None).await.unwrap();
    let claim = "PATCH /api/v1/namespaces/d/persistentvolumeclaims/c";
    let status = "PATCH /api/v1/persistentvolumes/v/status".to_string();
    assert_eq!(server.lines(), [status, claim.into(), format!("{claim}/status")]);
}

#[tokio::test]
async fn only_a_volume_that_no_administrator_reserved_is_marked_as_reserved_by_a_component() {
    let mut free = volume(None);
    free.spec.as_mut().unwrap().storage_class_name = Some("soon".into());
    let mut named = free.clone();
    named.spec.as_mut().unwrap().claim_ref = of(json!({"namespace": "d", "name": "c"}));
    for (volume, want) in [(free, json!({BOUND_BY_CONTROLLER: "yes"})), (named, Value::Null)] {
        let server = Scripted::new(|_| None).await;
        let mut claim = claim("", "Pending");
        claim.spec.as_mut().unwrap().storage_class_name = Some("soon".into());
        worker(&server, vec![claim], vec![volume]).sync_claim(key(), None).await.unwrap();
        let asked = server.take();
        let reserve = asked.iter().find(|a| a.line == "PATCH /api/v1/persistentvolumes/v").unwrap();
        assert_eq!(reserve.body["spec"]["claimRef"]["uid"], "u");
        assert_eq!(reserve.body["metadata"]["annotations"], want);
    }
}

/// The change of its volume brings the claim back before the cache shows that it is bound.
#[tokio::test]
async fn a_claim_that_an_earlier_look_has_bound_is_recorded_once() {
    for (phase, count) in [("Pending", 1), ("Bound", 0)] {
        let server = Scripted::new(move |asked| {
            let is_it = asked.line == "PATCH /api/v1/namespaces/d/persistentvolumeclaims/c";
            is_it.then(|| (200, json!(claim("v", phase))))
        })
        .await;
        let worker = worker(&server, vec![claim("", "Pending")], vec![volume(Some("u"))]);
        worker.sync_claim(key(), None).await.unwrap();
        let records = worker.shared.config.tap.since(0);
        assert_eq!(
            records.iter().filter(|r| matches!(r.event, Event::BindVolume { .. })).count(),
            count,
            "{phase}"
        );
    }
}

/// Upstream: `bindClaimToVolume`.
#[tokio::test]
async fn only_a_claim_that_named_no_volume_is_marked_as_bound_by_the_controller() {
    for (named, want) in [("", json!("yes")), ("v", Value::Null)] {
        let server = Scripted::new(|_| None).await;
        let mut claim = claim("", "Pending");
        claim.spec.as_mut().unwrap().volume_name = Some(named.into());
        worker(&server, vec![claim], vec![volume(Some("u"))]).sync_claim(key(), None).await.unwrap();
        let asked = server.take();
        let bind = asked.iter().find(|a| a.line.ends_with("/persistentvolumeclaims/c")).unwrap();
        assert_eq!(bind.body["spec"]["volumeName"], "v");
        let notes = &bind.body["metadata"]["annotations"];
        assert_eq!((&notes[BIND_COMPLETED], &notes[BOUND_BY_CONTROLLER]), (&json!("yes"), &want), "{named}");
    }
}

#[tokio::test]
async fn a_claim_whose_volume_is_gone_is_lost_unless_only_the_cache_is_behind() {
    let stored = |code: u16| {
        move |asked: &Asked| match (asked.line.as_str(), code) {
            ("GET /api/v1/persistentvolumes/v", 404) => refusal(404, "NotFound"),
            ("GET /api/v1/persistentvolumes/v", _) => Some((200, json!(volume(Some("u"))))),
            _ => None,
        }
    };
    for (code, want) in [(200, Value::Null), (404, json!("Lost"))] {
        let server = Scripted::new(stored(code)).await;
        worker(&server, vec![claim("v", "Bound")], vec![]).sync_claim(key(), None).await.unwrap();
        let written: Value =
            server.take().iter().map(|a| a.body["status"]["phase"].clone()).next_back().unwrap();
        assert_eq!(written, want);
    }
    let server = Scripted::new(stored(200)).await;
    worker(&server, vec![claim("v", "Bound")], vec![volume(Some("u"))])
        .sync_claim(key(), None)
        .await
        .unwrap();
    assert_eq!(server.lines(), [""; 0], "all is well, and nobody is asked");
}

/// As a backup brings it back: with its annotations, and without its status.
#[tokio::test]
async fn a_claim_that_says_it_is_bound_is_lost_unless_its_volume_is_there() {
    for (named, reserved, reason, why) in [
        ("v", None, "ClaimLost", "Bound claim has lost its PersistentVolume."),
        ("v", Some("another"), "ClaimMisbound", "Two claims are bound to the same volume"),
        ("v", Some(""), "ClaimMisbound", "Two claims are bound to the same volume"),
        ("", Some("u"), "ClaimLost", "Bound claim has lost reference to PersistentVolume."),
    ] {
        let stored = reserved.map(|uid| json!(volume(Some(uid))));
        let server = Scripted::new(move |asked| match (asked.line.as_str(), &stored) {
            ("GET /api/v1/persistentvolumes/v", None) => refusal(404, "NotFound"),
            ("GET /api/v1/persistentvolumes/v", Some(stored)) => Some((200, stored.clone())),
            _ => None,
        })
        .await;
        let mut restored = claim("v", "Pending");
        restored.spec.as_mut().unwrap().volume_name = Some(named.into());
        let worker = worker(&server, vec![restored], vec![]);
        worker.sync_claim(key(), None).await.unwrap();
        let message = server.event(reason).await;
        assert!(message.starts_with(why), "{message}");
        let asked = server.take();
        assert_eq!(asked.last().unwrap().body["status"]["phase"], "Lost", "{asked:?}");
    }
    let server = Scripted::new(|_| None).await;
    worker(&server, vec![claim("v", "Pending")], vec![volume(Some("u"))])
        .sync_claim(key(), None)
        .await
        .unwrap();
    let asked = server.take();
    assert_eq!(asked.last().unwrap().body["status"]["phase"], "Bound", "{asked:?}");
}

/// As a backup brings them back: the claim names its volume, which knows no claim of this uid.
#[tokio::test]
async fn a_volume_is_bound_only_to_the_claim_whose_uid_it_has() {
    for (uid, want) in [(None, "Available"), (Some("u"), "Bound")] {
        let server = Scripted::new(|_| None).await;
        let mut restored = volume(Some("u"));
        restored.spec.as_mut().unwrap().claim_ref.as_mut().unwrap().uid = uid.map(String::from);
        restored.status = Some(with_phase(None, "Pending"));
        let claim = claim("v", "Pending");
        worker(&server, vec![claim], vec![restored]).sync_volume(Key::new("", "v"), None).await.unwrap();
        assert_eq!(server.take()[0].body["status"]["phase"], want, "{uid:?}");
    }
}

/// A scheduler reserved it, ended, and reserved another one after its start, for example.
#[tokio::test]
async fn a_volume_whose_claim_got_another_one_is_free_again_unless_its_administrator_reserved_it() {
    for (annotations, uid, want) in [
        (json!({BOUND_BY_CONTROLLER: "yes"}), Some("u"), Some(json!({"claimRef": null}))),
        // It waits for a claim of this name, as it did before.
        (json!({}), Some("u"), Some(json!({"claimRef": {"uid": null}}))),
        (json!({}), None, None),
    ] {
        let server = Scripted::new(|_| None).await;
        let mut spare = volume(Some("u"));
        spare.metadata.annotations = of(annotations);
        spare.spec.as_mut().unwrap().claim_ref.as_mut().unwrap().uid = uid.map(String::from);
        spare.status = Some(with_phase(None, "Available"));
        let bound = claim("other", "Bound");
        worker(&server, vec![bound], vec![spare]).sync_volume(Key::new("", "v"), None).await.unwrap();
        let asked = server.take();
        assert!(asked.iter().all(|patch| patch.line == "PATCH /api/v1/persistentvolumes/v"));
        let specs: Vec<Value> = asked.into_iter().map(|patch| patch.body["spec"].clone()).collect();
        assert_eq!(specs, Vec::from_iter(want));
    }
    // As long as the claim has none, it is on its way to this one.
    let server = Scripted::new(|_| None).await;
    let mut spare = volume(Some("u"));
    spare.metadata.annotations = of(json!({BOUND_BY_CONTROLLER: "yes"}));
    spare.status = Some(with_phase(None, "Available"));
    let open = claim("", "Pending");
    worker(&server, vec![open], vec![spare]).sync_volume(Key::new("", "v"), None).await.unwrap();
    assert!(server.take().is_empty());
}

/// While its provisioner made it, the claim was bound to a volume that an administrator had made.
#[tokio::test]
async fn a_volume_that_was_made_for_a_claim_which_got_another_one_is_released() {
    for (notes, policy, released) in [
        (json!({PROVISIONED_BY: "x"}), "Delete", true),
        (json!({PROVISIONED_BY: "x"}), "Retain", false),
        (json!({}), "Delete", false),
    ] {
        let server = Scripted::new(|_| None).await;
        let mut spare = volume(Some("u"));
        spare.metadata.annotations = of(notes);
        spare.spec.as_mut().unwrap().persistent_volume_reclaim_policy = Some(policy.into());
        spare.status = Some(with_phase(None, "Pending"));
        let bound = claim("other", "Bound");
        worker(&server, vec![bound], vec![spare]).sync_volume(Key::new("", "v"), None).await.unwrap();
        let asked = server.take();
        assert_eq!(asked[0].line.ends_with("/v/status"), released, "{policy}");
        assert_eq!(asked[0].body["status"]["phase"] == "Released", released, "{policy}");
    }
}

#[test]
fn a_claim_hears_why_it_does_not_get_the_volume_that_it_names() {
    let claim = claim("v", "Pending");
    let mut other_class = volume(None);
    other_class.spec.as_mut().unwrap().storage_class_name = Some("soon".into());
    for (volume, reason, message) in [
        (None, "FailedBinding", "volume \"v\" does not exist"),
        (Some(volume(Some("w"))), "FailedBinding", "volume \"v\" already bound to a different claim."),
        (
            Some(other_class),
            "VolumeMismatch",
            "Cannot bind to requested volume \"v\": storageClassName does not match",
        ),
    ] {
        assert_eq!(refused_binding("v", volume.as_ref(), &claim), (reason, message.to_string()));
    }
}

#[tokio::test]
async fn nothing_makes_volumes_for_a_class_without_a_provisioner() {
    let server = Scripted::new(|_| None).await;
    let mut claim = claim("", "Pending");
    claim.spec.as_mut().unwrap().storage_class_name = Some("hand".into());
    let worker = worker(&server, vec![claim], vec![]);
    let class = json!({"metadata": {"name": "hand"}, "provisioner": NO_PROVISIONER});
    worker.shared.informer::<StorageClass>().show(of(class));
    worker.sync_claim(key(), None).await.unwrap();
    let message = server.event("ProvisioningFailed").await;
    assert_eq!(message, "no volume plugin matched name: kubernetes.io/no-provisioner");
    assert_eq!(server.lines(), [""; 0], "no provisioner is asked");
}

#[tokio::test]
async fn a_provisioner_is_asked_in_the_words_of_now_and_of_old() {
    let server = Scripted::new(|_| None).await;
    let mut claim = claim("", "Pending");
    claim.spec.as_mut().unwrap().storage_class_name = Some("soon".into());
    let worker = worker(&server, vec![claim], vec![]);
    let class = json!({"metadata": {"name": "soon"}, "provisioner": "example.com/disk"});
    worker.shared.informer::<StorageClass>().show(of(class));
    worker.sync_claim(key(), None).await.unwrap();
    let asked = server.take();
    let claims = "PATCH /api/v1/namespaces/d/persistentvolumeclaims/c";
    let written = asked.iter().find(|a| a.line == claims).expect("the claim is annotated");
    let both = json!({PROVISIONER: "example.com/disk", OLD_PROVISIONER: "example.com/disk"});
    assert_eq!(written.body["metadata"]["annotations"], both);
}

#[tokio::test]
async fn a_volume_is_released_only_when_the_api_server_does_not_know_its_claim() {
    for (uid, want) in [("u", vec!["GET"]), ("another", vec!["GET", "PATCH"])] {
        let stored =
            json!({"metadata": {"name": "c", "namespace": "d", "uid": uid}, "spec": {"volumeName": "v"}});
        let server = Scripted::new(move |a| a.line.starts_with("GET").then(|| (200, stored.clone()))).await;
        let mut bound = volume(Some("u"));
        bound.status = Some(with_phase(None, "Bound"));
        worker(&server, vec![], vec![bound]).sync_volume(Key::new("", "v"), None).await.unwrap();
        let verbs: Vec<String> =
            server.lines().iter().filter_map(|l| l.split(' ').next().map(String::from)).collect();
        assert_eq!(verbs, want, "{uid}");
    }
}

#[tokio::test]
async fn a_claim_without_a_class_gets_the_default_one_when_there_is_one() {
    let class = |name: &str, made: &str, default: &str| -> StorageClass {
        let notes = json!({"storageclass.kubernetes.io/is-default-class": default});
        let meta = json!({"name": name, "creationTimestamp": made, "annotations": notes});
        of(json!({"metadata": meta, "provisioner": "x"}))
    };
    let (none, noted) = (json!({}), json!({OLD_CLASS: "x"}));
    for (own, notes, want) in
        [(Value::Null, &none, Some(json!("b"))), (json!(""), &none, None), (Value::Null, &noted, None)]
    {
        let server = Scripted::new(|_| None).await;
        let claim = json!({"metadata": {"name": "c", "namespace": "d", "uid": "u", "annotations": notes}, "spec": {"storageClassName": own}});
        let worker = worker(&server, vec![of(claim)], vec![]);
        for class in [
            class("a", "2026-01-01T00:00:00Z", "true"),
            class("c", "2026-01-02T00:00:00Z", "true"),
            class("b", "2026-01-02T00:00:00Z", "true"),
            class("newest", "2026-01-03T00:00:00Z", "false"),
        ] {
            worker.shared.informer::<StorageClass>().show(class);
        }
        worker.sync_claim(key(), None).await.unwrap();
        let set = server.take().first().map(|asked| asked.body["spec"]["storageClassName"].clone());
        assert_eq!(set, want);
    }
}

#[tokio::test]
async fn a_bound_volume_whose_claim_was_taken_off_is_available() {
    for (reserved, want) in [(None, Some(json!("Available"))), (Some("u"), None)] {
        let server = Scripted::new(|_| None).await;
        let mut bound = volume(reserved);
        bound.status = Some(with_phase(None, "Bound"));
        let open = claim("", "Pending");
        worker(&server, vec![open], vec![bound]).sync_volume(Key::new("", "v"), None).await.unwrap();
        assert_eq!(server.take().first().map(|asked| asked.body["status"]["phase"].clone()), want);
    }
}

#[tokio::test]
async fn a_released_volume_that_nothing_reclaims_fails_once_and_says_why() {
    let server = Scripted::new(|a| a.line.starts_with("PATCH").then(|| (200, a.body.clone()))).await;
    let mut released = volume(Some("u"));
    let spec = released.spec.as_mut().unwrap();
    spec.host_path = of(json!({"path": "/data/x"}));
    spec.persistent_volume_reclaim_policy = Some("Delete".into());
    released.status = Some(with_phase(None, "Released"));
    let worker = worker(&server, vec![], vec![released.clone()]);
    worker.sync_volume(Key::new("", "v"), None).await.unwrap();
    let why = "host_path deleter only supports /tmp/.+ but received provided /data/x";
    assert_eq!(server.event("VolumeFailedDelete").await, why);
    let status =
        server.take().into_iter().find(|a| a.line.ends_with("/v/status")).unwrap().body["status"].clone();
    assert_eq!((&status["phase"], &status["message"]), (&json!("Failed"), &json!(why)));
    released.status = of(status);
    worker.shared.informer::<PersistentVolume>().show(released.clone());
    worker.sync_volume(Key::new("", "v"), None).await.unwrap();
    assert_eq!(server.lines(), [""; 0], "neither does the claim's end need to be confirmed again");
    // Its claim is taken off: the message goes with the phase.
    released.spec.as_mut().unwrap().claim_ref = None;
    worker.shared.informer::<PersistentVolume>().show(released);
    worker.sync_volume(Key::new("", "v"), None).await.unwrap();
    let status = server.take()[0].body["status"].clone();
    assert_eq!((&status["phase"], &status["message"]), (&json!("Available"), &Value::Null));
}

#[test]
fn what_a_reclaim_policy_asks_for_and_nothing_does_is_refused() {
    let refusal = |policy: &str, source: Value, provisioner: &str| {
        let mut spec = json!({"persistentVolumeReclaimPolicy": policy});
        spec.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        let notes = json!({PROVISIONED_BY: provisioner});
        let meta = json!({"name": "v", "annotations": notes});
        reclaim_refusal(&of(json!({"metadata": meta, "spec": spec}))).map(|(_, why)| why)
    };
    let host = |path: &str| json!({"hostPath": {"path": path}});
    let nfs = json!({"nfs": {"server": "s", "path": "/"}});
    assert_eq!(refusal("Retain", host("/data"), ""), None);
    assert_eq!(refusal("Delete", host("/data"), "ropewalk.io/local-path"), None);
    assert_eq!(refusal("Delete", json!({"csi": {"driver": "d", "volumeHandle": "h"}}), ""), None);
    let deleter = "error getting deleter volume plugin for volume \"v\": no";
    assert_eq!(refusal("Delete", nfs, "").unwrap(), format!("{deleter} deletable volume plugin matched"));
    let local = json!({"local": {"path": "/data"}});
    assert_eq!(refusal("Delete", local, "").unwrap(), format!("{deleter} volume plugin matched"));
    assert!(refusal("Delete", host("/tmp/a"), "").unwrap().contains("delete /tmp/a and the volume"));
    assert!(refusal("Delete", host("/tmp/"), "").unwrap().starts_with("host_path deleter only supports"));
    assert!(refusal("Recycle", host("/data"), "").unwrap().starts_with("No recycler"));
}

#[test]
fn the_newest_default_class_counts_by_either_annotation() {
    let class = |name: &str, key: &str, minute: u32| {
        let metadata = json!({"name": name, "annotations": {key: "true"},
            "creationTimestamp": format!("2026-01-02T03:0{minute}:00Z")});
        Arc::new(of::<StorageClass>(json!({"metadata": metadata, "provisioner": "x"})))
    };
    let (now, old) =
        ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class");
    assert_eq!(default_class(&[class("a", old, 1)]).as_deref(), Some("a"));
    assert_eq!(default_class(&[class("a", old, 2), class("b", now, 1)]).as_deref(), Some("a"));
    assert_eq!(default_class(&[class("a", old, 1), class("b", now, 2)]).as_deref(), Some("b"));
    assert_eq!(default_class(&[class("a", "example.com/other", 1)]), None);
}
