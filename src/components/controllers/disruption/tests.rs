//! Counts, percentages, and the Events when the owners of the pods cannot be asked.

use super::*;
use client::testing::{Scripted, refusal};
use serde_json::json;

fn spec(min: Value, max: Value) -> PodDisruptionBudgetSpec {
    serde_json::from_value(json!({"minAvailable": min, "maxUnavailable": max})).unwrap()
}
fn pod(name: &str, ready: bool) -> Arc<Pod> {
    let status = if ready { "True" } else { "False" };
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": status}]}})).unwrap())
}

#[test]
fn percents_are_of_what_the_owners_want_and_round_up() {
    let at = |spec: PodDisruptionBudgetSpec| wanted(&spec, 2, 7).unwrap();
    assert_eq!(at(spec(json!(2), Value::Null)), (2, 2));
    assert_eq!(at(spec(json!("50%"), Value::Null)), (7, 4));
    assert_eq!(at(spec(Value::Null, json!(1))), (7, 6));
    assert_eq!(at(spec(Value::Null, json!("30%"))), (7, 4));
    assert_eq!(at(spec(Value::Null, json!(9))), (7, 0));
    assert!(wanted(&spec(json!("half"), Value::Null), 2, 7).is_err());
}

#[test]
fn an_evicted_pod_counts_as_gone_for_two_minutes() {
    let now: Timestamp = "2026-01-01T00:02:30Z".parse().unwrap();
    let at = |text: &str| Time(text.parse().unwrap());
    let before = [
        ("a".to_string(), at("2026-01-01T00:02:00Z")),
        ("b".to_string(), at("2026-01-01T00:00:00Z")),
        ("gone".to_string(), at("2026-01-01T00:02:00Z")),
    ];
    let pods = [pod("a", true), pod("b", true), pod("c", true), pod("d", false)];
    let count = count(&pods, &before.into(), now);
    assert_eq!((count.healthy, count.recheck), (2, Some(Duration::from_secs(90))));
    assert_eq!(count.disrupted.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(count.forgotten[0].metadata.name.as_deref(), Some("b"));
}

#[test]
fn with_no_pods_nothing_is_allowed_and_a_condition_keeps_its_time() {
    let (first, later) = (Timestamp::UNIX_EPOCH, "2026-01-01T00:00:00Z".parse().unwrap());
    let mut budget = PodDisruptionBudget::default();
    budget.metadata.generation = Some(3);
    let none = status(&budget, &Count::default(), (0, 0), first);
    assert_eq!((none.disruptions_allowed, none.observed_generation), (0, Some(3)));
    budget.status = Some(none.clone());
    assert_eq!(status(&budget, &Count::default(), (0, 0), later), none);
    let three = Count { healthy: 3, ..Count::default() };
    let some = status(&budget, &three, (3, 2), later);
    let condition = &some.conditions.as_ref().unwrap()[0];
    assert_eq!((some.disruptions_allowed, condition.reason.as_str()), (1, "SufficientPods"));
    assert_eq!(condition.last_transition_time.0, later);
    budget.status = Some(some);
    let broken = failed(&budget, "found no controllers", later);
    assert_eq!((broken.disruptions_allowed, broken.current_healthy), (0, 3));
}

/// The budget is looked at again when it or its pods change. Until then nothing would be
/// different.
#[tokio::test]
async fn a_wrong_amount_is_reported_and_not_tried_again() {
    let server = Scripted::new(|_| None).await;
    let budget = |min: &str| -> PodDisruptionBudget {
        serde_json::from_value(json!({"metadata": {"name": "b", "namespace": "d", "resourceVersion": "1"},
            "spec": {"minAvailable": min}}))
        .unwrap()
    };
    let shared = Shared::fixed(&server.client);
    shared.informer::<PodDisruptionBudget>().show(budget("half"));
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "controllermanager", "");
    let worker = Worker { shared, recorder, kinds: Mapper::default() };
    let ended = worker.sync(Key::new("d", "b"), None).await;
    assert!(matches!(ended, Ok(Outcome::Done)), "{ended:?}");
    let written = server.take();
    let write = written.iter().find(|asked| asked.line.ends_with("/status")).expect("a status");
    assert!(write.body.to_string().contains("SyncFailed"), "{}", write.body);
    let event = server.event("CalculateExpectedPodCountFailed").await;
    assert!(event.contains("is not a percentage"), "{event}");
}

/// As a Job. A budget of its pods would be tried again for ever, with an Event each time.
#[tokio::test]
async fn an_owner_that_cannot_be_scaled_is_reported_and_not_asked_again() {
    let kinds = json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "batch"},
        "versions": [{"version": "v1", "resources": [{"resource": "jobs", "scope": "Namespaced",
            "responseKind": {"kind": "Job"}, "verbs": ["get"]}]}]}]});
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        "GET /apis" => Some((200, kinds.clone())),
        "GET /apis/batch/v1/namespaces/d/jobs/j/scale" => refusal(404, ""),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    let budget = json!({"metadata": {"name": "b", "namespace": "d", "resourceVersion": "1"},
        "spec": {"maxUnavailable": 1, "selector": {}}});
    shared.informer::<PodDisruptionBudget>().show(serde_json::from_value(budget).unwrap());
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": true});
    let pod = json!({"metadata": {"name": "p", "namespace": "d", "ownerReferences": [owner]}});
    shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "controllermanager", "");
    let worker = Worker { shared, recorder, kinds: Mapper::default() };
    let ended = worker.sync(Key::new("d", "b"), None).await;
    assert!(matches!(ended, Ok(Outcome::Done)), "{ended:?}");
    let event = server.event("CalculateExpectedPodCountFailed").await;
    assert!(event.ends_with("jobs.batch does not implement the scale subresource"), "{event}");
}

/// A StatefulSet that was deleted with `--cascade=orphan` and made again: until the garbage
/// collector has seen it, its pods name the earlier one.
#[tokio::test]
async fn an_owner_of_another_uid_is_not_there() {
    let kinds = json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "apps"},
        "versions": [{"version": "v1", "resources": [{"resource": "statefulsets", "scope": "Namespaced",
            "responseKind": {"kind": "StatefulSet"}, "verbs": ["get"]}]}]}]});
    let scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "db", "uid": "new"},
        "spec": {"replicas": 3}});
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        "GET /apis" => Some((200, kinds.clone())),
        "GET /apis/apps/v1/namespaces/d/statefulsets/db/scale" => Some((200, scale.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "controllermanager", "");
    let worker = Worker { shared, recorder, kinds: Mapper::default() };
    for (uid, want) in [("new", Some(3)), ("old", None)] {
        let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": uid});
        let owner: OwnerReference = serde_json::from_value(owner).unwrap();
        assert_eq!(worker.scale("d", &owner).await.unwrap(), want, "{uid}");
    }
}

/// A CustomResourceDefinition may name its kind ReplicaSet, too.
#[tokio::test]
async fn a_replica_set_of_another_group_is_asked_for_its_own_scale() {
    let kinds = json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "mine"},
        "versions": [{"version": "v1", "resources": [{"resource": "replicasets", "scope": "Namespaced",
            "responseKind": {"kind": "ReplicaSet"}, "verbs": ["get"]}]}]}]});
    let scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "r", "uid": "u"},
        "spec": {"replicas": 3}});
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        "GET /apis" => Some((200, kinds.clone())),
        "GET /apis/mine/v1/namespaces/d/replicasets/r/scale" => Some((200, scale.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "controllermanager", "");
    let worker = Worker { shared, recorder, kinds: Mapper::default() };
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "d"}})).unwrap();
    let owner =
        json!({"apiVersion": "mine/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true});
    let owner: OwnerReference = serde_json::from_value(owner).unwrap();
    assert_eq!(worker.scale_of(&pod, &owner).await.unwrap(), ("u".to_string(), 3));
}

/// As with `kubectl delete deployment --cascade=orphan`, before the set is cut from it. Upstream
/// asks for the scale of the set then.
#[tokio::test]
async fn a_set_counts_itself_once_its_deployment_is_gone() {
    let owner = |kind: &str, name: &str, uid: &str| json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true});
    let above = [owner("Deployment", "web", "old")];
    let set = json!({"metadata": {"name": "web-1", "namespace": "d", "uid": "set", "ownerReferences": above},
        "spec": {"replicas": 4, "selector": {}}});
    let deployment = |uid: &str| {
        json!({"metadata": {"name": "web", "namespace": "d", "uid": uid},
            "spec": {"replicas": 5, "selector": {}, "template": {}}})
    };
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "d"}})).unwrap();
    let of_pod: OwnerReference = serde_json::from_value(owner("ReplicaSet", "web-1", "set")).unwrap();
    for (cached, stored, want) in
        [("old", None, ("old", 5)), ("another", Some("old"), ("old", 5)), ("another", None, ("set", 4))]
    {
        let stored = stored.map(deployment);
        let server = Scripted::new(move |asked| match (asked.line.as_str(), &stored) {
            ("GET /apis/apps/v1/namespaces/d/deployments/web", Some(stored)) => Some((200, stored.clone())),
            ("GET /apis/apps/v1/namespaces/d/deployments/web", None) => refusal(404, "NotFound"),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<ReplicaSet>().show(serde_json::from_value(set.clone()).unwrap());
        shared.informer::<Deployment>().show(serde_json::from_value(deployment(cached)).unwrap());
        let recorder = Recorder::new(&shared.crew, &shared.config.client, "controllermanager", "");
        let worker = Worker { shared, recorder, kinds: Mapper::default() };
        let found = worker.scale_of(&pod, &of_pod).await.unwrap();
        assert_eq!(found, (want.0.to_string(), want.1), "{cached}");
    }
}
