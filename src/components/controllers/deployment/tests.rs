//! Looks at a Deployment and its sets against a server that keeps what it is asked for.

use super::*;
use client::testing::{Scripted, refusal};

fn deployment(more: Value) -> Deployment {
    let labels = json!({"a": "b"});
    let mut spec = json!({"replicas": 3, "progressDeadlineSeconds": 600, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": []}}});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": "d", "namespace": "n", "uid": "1"}, "spec": spec}))
        .unwrap()
}

/// Returns a set of the deployment: of its template if the image is none.
fn set(name: &str, image: Option<&str>, wanted: i32, available: i32) -> ReplicaSet {
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "1", "controller": true});
    let revision = if image.is_none() { "2" } else { "1" };
    let notes = json!({"deployment.kubernetes.io/desired-replicas": "3", "deployment.kubernetes.io/revision": revision});
    let containers: Vec<Value> = image.iter().map(|i| json!({"name": "c", "image": i})).collect();
    let labels = json!({"a": "b"});
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "n", "uid": name, "labels": labels, "ownerReferences": [owner], "annotations": notes},
        "spec": {"replicas": wanted, "selector": {}, "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}},
        "status": {"replicas": wanted, "availableReplicas": available}}))
    .unwrap()
}

/// Returns what one look asks for: each request with its body.
async fn look(server: &Scripted, deployment: Deployment, sets: Vec<ReplicaSet>) -> Vec<(String, Value)> {
    let shared = Shared::fixed(&server.client);
    shared.informer::<Deployment>().show(deployment);
    sets.into_iter().for_each(|set| shared.informer::<ReplicaSet>().show(set));
    let recorder = Recorder::new(&shared.crew, &server.client, COMPONENT.name(), "");
    let _ = Worker { shared, recorder }.sync(Key::new("n", "d"), None).await;
    server.take().into_iter().map(|a| (a.line, a.body)).collect()
}

fn replicas(asked: &[(String, Value)]) -> Vec<(&str, i64)> {
    let scaled = asked.iter().filter_map(|(line, body)| {
        let name = line.strip_prefix("PATCH /apis/apps/v1/namespaces/n/replicasets/")?;
        Some((name, body["spec"]["replicas"].as_i64()?))
    });
    scaled.collect()
}

#[tokio::test]
async fn a_paused_deployment_scales_its_sets_and_rolls_nothing_out() {
    let server = Scripted::new(|_| None).await;
    // Its template has no set yet, and more replicas are wanted than when it was paused.
    let paused = deployment(json!({"paused": true, "replicas": 5}));
    let asked = look(&server, paused, vec![set("old", Some("x"), 3, 3)]).await;
    assert_eq!(replicas(&asked), [("old", 5)]);
    assert!(asked.iter().all(|(line, _)| !line.starts_with("POST")), "no set is made: {asked:?}");
    let conditions = asked.last().unwrap().1["status"]["conditions"].as_array().unwrap().clone();
    let progressing = conditions.iter().find(|c| c["type"] == "Progressing").unwrap();
    assert_eq!(
        (&progressing["status"], &progressing["reason"]),
        (&json!("Unknown"), &json!("DeploymentPaused"))
    );
}

#[tokio::test]
async fn old_sets_go_when_the_new_one_has_all_pods_and_recreate_shares_nothing_out() {
    let server = Scripted::new(|_| None).await;
    let both = || vec![set("old", Some("x"), 2, 2), set("new", None, 3, 3)];
    let paused = || json!({"paused": true});
    assert_eq!(replicas(&look(&server, deployment(paused()), both()).await), [("new", 3), ("old", 0)]);
    let recreate = json!({"paused": true, "replicas": 4, "strategy": {"type": "Recreate"}});
    assert_eq!(replicas(&look(&server, deployment(recreate), both()).await), [("new", 3), ("old", 2)]);
}

#[tokio::test]
async fn a_set_that_went_while_it_was_released_or_adopted_does_not_stop_the_look() {
    let (mut released, mut orphan) = (set("released", Some("x"), 1, 1), set("orphan", Some("y"), 1, 1));
    released.metadata.labels = None;
    orphan.metadata.owner_references = None;
    let server = Scripted::new(|asked| match asked.line.as_str() {
        line if line.ends_with("/released") || line.ends_with("/orphan") => refusal(404, "NotFound"),
        line if line.starts_with("GET") && line.ends_with("/deployments/d") => {
            Some((200, json!({"metadata": {"name": "d", "uid": "1"}})))
        }
        _ => None,
    })
    .await;
    let sets = vec![released, orphan, set("new", None, 3, 3)];
    let asked = look(&server, deployment(json!({})), sets).await;
    let (line, body) = asked.last().unwrap();
    assert!(line.ends_with("/deployments/d/status"), "{line}");
    assert_eq!(body["status"]["replicas"], 3);
}

/// A policy of the cluster forbids every change of `a` and `x`. Upstream: `ClaimReplicaSets`.
#[tokio::test]
async fn a_set_that_may_not_be_changed_keeps_no_other_from_being_released_or_adopted() {
    let server = Scripted::new(|asked| match asked.line.as_str() {
        line if line.ends_with("/a") || line.ends_with("/x") => refusal(403, "Forbidden"),
        line if line.starts_with("GET") && line.ends_with("/deployments/d") => {
            Some((200, json!({"metadata": {"name": "d", "uid": "1"}})))
        }
        _ => None,
    })
    .await;
    let sets = ["a", "b", "x", "y"].map(|name| {
        let mut set = set(name, Some("i"), 1, 1);
        match name {
            "a" | "b" => set.metadata.labels = None,
            _ => set.metadata.owner_references = None,
        }
        set
    });
    let asked = look(&server, deployment(json!({})), sets.into()).await;
    let patched: Vec<&str> =
        asked.iter().filter_map(|(line, _)| line.strip_prefix("PATCH ")?.rsplit('/').next()).collect();
    assert_eq!(patched, ["a", "b", "x", "y"], "and nothing else: the look has failed");
}

#[tokio::test]
async fn a_set_that_cannot_be_made_stands_in_the_conditions() {
    let server = Scripted::new(|asked| match asked.line.as_str() {
        line if line.starts_with("POST") && line.ends_with("/replicasets") => refusal(403, "exceeded quota"),
        line if line.contains("/deployments/d") => {
            Some((200, json!({"metadata": {"name": "d", "uid": "1"}})))
        }
        _ => None,
    })
    .await;
    let asked = look(&server, deployment(json!({})), vec![]).await;
    let condition = &asked.last().unwrap().1["status"]["conditions"][0];
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&json!("False"), &json!("ReplicaSetCreateError"))
    );
    assert!(condition["message"].as_str().unwrap().ends_with("exceeded quota"), "{condition}");
}

#[tokio::test]
async fn a_deployment_that_is_being_deleted_counts_its_new_pods() {
    let server = Scripted::new(|_| None).await;
    let mut going = deployment(json!({}));
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let asked = look(&server, going, vec![set("old", Some("x"), 1, 1), set("new", None, 2, 2)]).await;
    let status = &asked.last().unwrap().1["status"];
    assert_eq!((&status["replicas"], &status["updatedReplicas"]), (&json!(3), &json!(2)));
    assert!(asked.iter().all(|(line, _)| line.ends_with("/status")), "nothing else: {asked:?}");
}

#[tokio::test]
async fn recreate_makes_its_new_set_when_the_old_pods_are_gone() {
    for (wanted, counted, scaled, made) in
        [(3, 3, vec![("old", 0)], None), (0, 3, vec![], None), (0, 0, vec![], Some(3))]
    {
        let mut old = set("old", Some("x"), wanted, 0);
        old.status.as_mut().unwrap().replicas = counted;
        let live = json!({"metadata": {}, "items": [&old]});
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            line if line.starts_with("POST") && line.ends_with("/replicasets") => {
                Some((201, asked.body.clone()))
            }
            line if line.starts_with("GET") && line.ends_with("/replicasets") => Some((200, live.clone())),
            line if line.starts_with("GET") && line.ends_with("/deployments/d") => {
                Some((200, json!({"metadata": {"name": "d", "uid": "1"}})))
            }
            _ => None,
        })
        .await;
        let recreate = deployment(json!({"strategy": {"type": "Recreate"}}));
        let asked = look(&server, recreate, vec![old]).await;
        assert_eq!(replicas(&asked), scaled);
        let new = asked.iter().find(|(line, _)| line.starts_with("POST") && line.ends_with("/replicasets"));
        assert_eq!(new.and_then(|(_, body)| body["spec"]["replicas"].as_i64()), made);
        let (_, body) = asked.iter().rfind(|(line, _)| line.ends_with("/d/status")).unwrap();
        let conditions = body["status"]["conditions"].as_array().unwrap();
        let progressing = conditions.iter().find(|c| c["type"] == "Progressing").unwrap();
        let want = match made {
            None => ("ReplicaSetUpdated", "Deployment \"d\" is progressing."),
            Some(_) => ("NewReplicaSetCreated", "Created new replica set \"d-"),
        };
        assert_eq!(progressing["reason"], want.0);
        assert!(progressing["message"].as_str().unwrap().starts_with(want.1), "{progressing}");
    }
}

#[tokio::test]
async fn recreate_waits_for_pods_that_only_the_old_set_knows() {
    for (counted, scaled) in [(1, vec![]), (0, vec![("new", 3)])] {
        let server = Scripted::new(|_| None).await;
        let mut old = set("old", Some("x"), 0, 0);
        old.status.as_mut().unwrap().replicas = counted;
        let recreate = deployment(json!({"strategy": {"type": "Recreate"}}));
        let asked = look(&server, recreate, vec![old, set("new", None, 0, 0)]).await;
        assert_eq!(replicas(&asked), scaled, "{counted} counted, none in the cache");
    }
}

#[tokio::test]
async fn an_old_set_is_forgotten_only_when_its_own_controller_has_seen_it_empty() {
    for (observed, gone) in [(2, 0), (3, 1)] {
        let server = Scripted::new(|_| None).await;
        let mut old = set("old", Some("x"), 0, 0);
        old.metadata.generation = Some(3);
        old.status.as_mut().unwrap().observed_generation = Some(observed);
        let all = vec![old, set("new", None, 3, 3)];
        let asked = look(&server, deployment(json!({"revisionHistoryLimit": 0})), all).await;
        let deleted = asked.iter().filter(|(line, _)| line.starts_with("DELETE")).count();
        assert_eq!(deleted, gone, "generation {observed} of 3 was seen");
    }
}
