//! What a way back makes of a Pod.

use super::*;
use api::value::at;

#[test]
fn a_pod_that_runs_keeps_node_and_status_and_one_that_is_gone_starts_anew() {
    let mut running = pod("u1", "new");
    running["status"] = object!({"phase": "Failed"});
    running["spec"]["nodeName"] = "n2".into();
    let moves = planned(&[kv("pods/d/p", 5, pod("u1", "old"))], &[kv("pods/d/p", 9, running)]);
    let back = moves["pods/d/p"].clone().unwrap();
    assert_eq!(
        (text(&back, "metadata.labels.a"), text(&back, "spec.nodeName"), text(&back, "status.phase")),
        ("old", "n2", "Failed")
    );

    let mut leaving = pod("u1", "old");
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    for now in [vec![], vec![kv("pods/d/p", 9, leaving.clone())], vec![kv("pods/d/p", 9, pod("u2", "old"))]] {
        let moves = planned(&[kv("pods/d/p", 5, pod("u1", "old"))], &now);
        let back = moves["pods/d/p"].clone().unwrap();
        assert_eq!((meta::uid(&back), text(&back, "spec.nodeName")), ("new", ""));
        assert_eq!(at(&back, "status"), &object!({"phase": "Pending"}));
    }
    // A pod that was being deleted then does not come back, and another pod of its name is removed.
    assert_eq!(planned(&[kv("pods/d/p", 5, leaving.clone())], &[]), BTreeMap::new());
    assert_eq!(
        planned(&[kv("pods/d/p", 5, leaving)], &[kv("pods/d/p", 9, pod("u2", "x"))])["pods/d/p"],
        None
    );
}

/// The StatefulSet makes `db-0` again as soon as it is gone, and the old one still has the volume.
#[test]
fn a_pod_that_is_ending_ends_at_its_own_pace() {
    let leaving = |uid: &str, label: &str, grace: i64| {
        let mut pod = pod(uid, label);
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        pod
    };
    let then = [kv("pods/d/p", 5, leaving("u1", "old", 30))];
    let since = |now: Value| planned(&then, &[kv("pods/d/p", 9, now)]);
    assert_eq!(since(leaving("u1", "old", 5)), BTreeMap::new());
    assert_eq!(since(leaving("u1", "new", 5))["pods/d/p"], Some(leaving("u1", "old", 5)));
    assert_eq!(since(leaving("u2", "old", 30))["pods/d/p"], None, "another pod");
}

/// `kubectl debug` before and behind the moment that is gone back to.
#[test]
fn ephemeral_containers_start_once_and_stay() {
    let debugged = |uid: &str, names: &[&str]| {
        let all: Vec<Value> = names.iter().map(|name| object!({"name": name})).collect();
        let mut pod = pod(uid, "a");
        value::put(&mut pod, "spec.ephemeralContainers", all);
        kv("pods/d/p", 5, pod)
    };
    let (then, now) = (debugged("u1", &["x"]), debugged("u1", &["x", "y"]));
    assert_eq!(planned(from_ref(&then), from_ref(&now)), BTreeMap::new(), "what runs is not hidden");
    assert_eq!(planned(&[kv("pods/d/p", 3, pod("u1", "a"))], &[now]), BTreeMap::new());
    for now in [vec![], vec![debugged("u2", &["y"])]] {
        let back = planned(from_ref(&then), &now)["pods/d/p"].clone().unwrap();
        assert_eq!((meta::uid(&back), at(&back, "spec.ephemeralContainers")), ("new", &Value::Null));
    }
}

#[test]
fn a_pod_that_waited_for_a_node_waits_again() {
    let mut runs = pod("u1", "old");
    runs["spec"]["nodeName"] = "n2".into();
    let mut waited = pod("u1", "old");
    let refused = object!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
    waited["status"] = object!({"phase": "Pending", "conditions": [refused]});
    value::remove(&mut waited, "spec.nodeName");
    let mut waits = pod("u1", "new");
    value::remove(&mut waits, "spec.nodeName");
    let moves = planned(&[kv("pods/d/p", 5, waited.clone())], &[kv("pods/d/p", 9, runs)]);
    let back = moves["pods/d/p"].clone().unwrap();
    assert_eq!((meta::uid(&back), text(&back, "spec.nodeName")), ("new", ""));
    let moves = planned(&[kv("pods/d/p", 5, waited)], &[kv("pods/d/p", 9, waits)]);
    assert_eq!(meta::uid(&moves["pods/d/p"].clone().unwrap()), "u1", "it still waits");
    // A second rewind, to the moment at which the first one was done. The scheduler had not written
    // to the new pod by then.
    let condition = &back["status"]["conditions"][0];
    assert_eq!((text(condition, "reason"), text(condition, "lastTransitionTime")), ("Unschedulable", NOW));
    let mut runs_again = back.clone();
    runs_again["spec"]["nodeName"] = "n2".into();
    let moves = planned(&[kv("pods/d/p", 12, back)], &[kv("pods/d/p", 15, runs_again)]);
    assert_eq!(text(&moves["pods/d/p"].clone().unwrap(), "spec.nodeName"), "");
}

/// `kubectl delete job` and its undo: the migration that has run does not run again.
#[test]
fn a_pod_that_had_ended_comes_back_ended() {
    for phase in ["Succeeded", "Failed"] {
        let mut ended = pod("u1", "old");
        ended["status"] = object!({"phase": phase, "containerStatuses": [{"name": "c"}]});
        let mut leaving = ended.clone();
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        for now in [vec![], vec![kv("pods/d/p", 9, leaving)]] {
            let back = planned(&[kv("pods/d/p", 5, ended.clone())], &now)["pods/d/p"].clone().unwrap();
            assert_eq!((meta::uid(&back), text(&back, "spec.nodeName")), ("new", "n1"));
            assert_eq!(at(&back, "status"), &ended["status"]);
        }
    }
}
