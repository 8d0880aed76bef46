//! The simulated API server keeps the rules that components rely on.

use super::*;
use crate::Informer;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use rng::Rng;
use serde_json::{Value, json};
use std::time::Duration;
use task::Crew;

fn pod(finalizers: &[&str]) -> Value {
    json!({
        "metadata": {"name": "p", "finalizers": finalizers},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "pause"}]},
    })
}

fn world(faults: Faults) -> (Store, Door) {
    let store = Store::new(Rng::seeded(1));
    let door = Door::new(&store, &Rng::seeded(2), faults, None);
    (store, door)
}

#[tokio::test(start_paused = true)]
async fn a_stale_write_is_refused_and_status_and_spec_are_written_separately() {
    let (store, door) = world(Faults::default());
    let made = store.create(kind("pods"), "d", pod(&[])).unwrap();
    let api = door.client().within::<Pod>("d");
    let version = &made.value["metadata"]["resourceVersion"];
    let patch = json!({"metadata": {"resourceVersion": version, "labels": {"a": "b"}}, "status": {"phase": "Failed"}});
    let params = PatchParams::default();
    let first = api.patch("p", &params, &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(first.status.and_then(|s| s.phase).as_deref(), Some("Pending"));
    let again = api.patch("p", &params, &Patch::Merge(&patch)).await.unwrap_err();
    assert!(crate::is_code(&again, 409), "{again}");
    let patch = json!({"metadata": {"labels": {"a": "c"}}, "spec": {"hostNetwork": true}, "status": {"phase": "Running"}});
    let second = api.patch_status("p", &params, &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(second.metadata.labels.unwrap()["a"], "c");
    assert_eq!(second.spec.and_then(|s| s.host_network), None);
    assert_eq!(second.status.and_then(|s| s.phase).as_deref(), Some("Running"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_goes_after_its_grace_period_and_its_last_finalizer() {
    let (store, door) = world(Faults::default());
    store.create(kind("pods"), "d", pod(&["test/hold"])).unwrap();
    let api = door.client().within::<Pod>("d");
    let other = Preconditions { uid: Some("another".into()), resource_version: None };
    let params = DeleteParams { preconditions: Some(other), ..DeleteParams::default() };
    assert!(crate::is_code(&api.delete("p", &params).await.unwrap_err(), 409));
    api.delete("p", &DeleteParams::default()).await.unwrap();
    let left = |store: &Store| {
        store.get(kind("pods"), "d", "p").map(|p| p.value["metadata"]["deletionGracePeriodSeconds"].clone())
    };
    assert_eq!(left(&store), Some(json!(30)));
    api.delete("p", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() })
        .await
        .unwrap();
    assert_eq!(left(&store), Some(json!(0)), "its finalizer holds it");
    let patch = json!({"metadata": {"finalizers": []}});
    api.patch("p", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(left(&store), None);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_or_expires_misses_nothing() {
    let faults = Faults { lag: 0.5, cut: 0.3, expired: 0.3, refused: 0.2, ..Faults::default() };
    let (store, door) = world(faults);
    let crew = Crew::new("t");
    let informer = Informer::<ConfigMap>::all(&crew, &door.client());
    for n in 0..50 {
        let object = json!({"metadata": {"name": format!("m{n}")}});
        store.create(kind("configmaps"), "d", object).unwrap();
        if n % 3 == 0 {
            store.delete(kind("configmaps"), ("d", &format!("m{n}")), &json!({})).unwrap();
        }
        clock::sleep(Duration::from_millis(200)).await;
    }
    clock::sleep(Duration::from_secs(60)).await;
    let known: Vec<_> = informer.list().iter().map(|m| m.metadata.resource_version.clone()).collect();
    let there = store.all("configmaps");
    let there: Vec<_> =
        there.iter().map(|m| m.value["metadata"]["resourceVersion"].as_str().map(String::from)).collect();
    assert_eq!(known, there);
    let tally = door.tally();
    assert!(tally.cut > 0 && tally.expired > 0 && tally.refused > 0, "{tally:?}");
}

/// A writer whose answer is lost does not know that it has written.
#[tokio::test(start_paused = true)]
async fn a_request_whose_answer_is_lost_was_carried_out() {
    let (store, door) = world(Faults { lost: 1.0, ..Faults::default() });
    let api = door.client().within::<ConfigMap>("d");
    let map = ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some("m".into()), ..Default::default() },
        ..ConfigMap::default()
    };
    assert!(api.create(&PostParams::default(), &map).await.is_err());
    let made = store.get(kind("configmaps"), "d", "m").expect("it was made");
    let unanswered: Vec<String> = door.unanswered().into_iter().collect();
    assert_eq!(unanswered, [made.value["metadata"]["uid"].as_str().unwrap()]);
}

/// The recorder raises the count of an Event by a patch, and reads the Event that is answered.
#[tokio::test(start_paused = true)]
async fn a_patch_of_an_event_answers_the_whole_event() {
    let (_, door) = world(Faults::default());
    let api = door.client().within::<Event>("d");
    let (params, patch) = (PatchParams::default(), json!({"count": 2, "message": "again"}));
    let unknown = api.patch("e", &params, &Patch::Merge(&patch)).await.unwrap_err();
    assert!(crate::is_code(&unknown, 404), "{unknown}");
    let event: Event = serde_json::from_value(json!({
        "metadata": {"name": "e", "namespace": "d"}, "involvedObject": {"name": "web"}, "count": 1, "message": "first",
    }))
    .unwrap();
    api.create(&PostParams::default(), &event).await.unwrap();
    let twice = api.create(&PostParams::default(), &event).await.unwrap_err();
    assert!(crate::is_code(&twice, 409), "{twice}");
    let merged = api.patch("e", &params, &Patch::Merge(&patch)).await.unwrap();
    assert_eq!((merged.count, merged.message.as_deref()), (Some(2), Some("again")));
    assert_eq!(merged.involved_object.name.as_deref(), Some("web"));
}
