use super::super::Failures;
use super::super::tests::{claim, free_volume, of, over, pod};
use super::*;
use client::testing::{Scripted, refusal};
use client::{Change, Outcome};
use k8s_openapi::api::core::v1::Node;
use std::sync::Arc;
use std::time::Duration;

/// The pod in the cache says what it said before: the watch has not shown the writes yet.
#[tokio::test]
async fn a_condition_that_holds_again_is_written_again() {
    let server = Scripted::new(|_| None).await;
    let scheduler = over(server.client.clone(), claim("v"));
    let condition = json!({"type": "PodScheduled", "status": "False", "message": "A"});
    let mut cached = pod("1");
    cached.status = of(json!({"conditions": [condition]}));
    for (message, writes) in [("A", 0), ("B", 1), ("A", 1), ("A", 0)] {
        let key = Key::new("d", "p");
        scheduler.refuse(&key, &cached, "Unschedulable", message.into(), false, &None).await.unwrap();
        let sent = server.take().into_iter().filter(|asked| asked.line.ends_with("/pods/p/status"));
        let written: Vec<Value> =
            sent.map(|asked| asked.body["status"]["conditions"][0]["message"].clone()).collect();
        assert_eq!(written, vec![json!(message); writes], "{message}");
    }
    scheduler.pod_changed(&Change::Deleted(Arc::new(cached)));
    assert!(scheduler.conditions.lock().is_empty());
}

/// A user adds a toleration that does not help, and waits for the scheduler's word about that.
#[tokio::test]
async fn a_condition_is_written_again_for_each_generation_of_the_pod() {
    let server = Scripted::new(|_| None).await;
    let scheduler = over(server.client.clone(), claim("v"));
    for (observed, generation, writes) in [(1, 1, 0), (1, 2, 1), (2, 2, 0)] {
        let mut condition = json!({"type": "PodScheduled", "status": "False", "message": "A"});
        condition["observedGeneration"] = json!(observed);
        let mut cached = pod("1");
        cached.metadata.generation = Some(generation);
        cached.status = of(json!({"conditions": [condition]}));
        let key = Key::new("d", "p");
        scheduler.refuse(&key, &cached, "Unschedulable", "A".into(), false, &None).await.unwrap();
        let sent = server.take().into_iter().filter(|asked| asked.line.ends_with("/pods/p/status"));
        let written: Vec<Value> =
            sent.map(|asked| asked.body["status"]["conditions"][0]["observedGeneration"].clone()).collect();
        assert_eq!(written, vec![json!(generation); writes], "{observed} {generation}");
    }
}

/// Thirty claims are made in another namespace, and then the nodes are cordoned: the recorder takes
/// 25 warnings of one object at once.
#[tokio::test]
async fn a_pod_that_is_refused_often_still_has_the_reason_of_now() {
    let server = Scripted::new(|_| None).await;
    let scheduler = over(server.client.clone(), claim("v"));
    let (key, waits) = (Key::new("d", "p"), pod("1"));
    for message in std::iter::repeat_n("A", 30).chain(["B"]) {
        scheduler.refuse(&key, &waits, "Unschedulable", message.into(), false, &None).await.unwrap();
    }
    let messages = || {
        let events = server.events().into_iter();
        events.map(|event| event.body["message"].clone()).collect::<Vec<_>>()
    };
    let last = async {
        while !messages().contains(&json!("B")) {
            clock::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(clock::timeout(Duration::from_secs(20), last).await.is_some(), "{:?}", messages());
    assert_eq!(messages(), ["A", "B"]);
    let is_new = |generation, message: &str, after: Duration| {
        let report = Report { uid: Some("1".into()), message: message.into(), generation };
        scheduler.note_if_new(&key, &report, clock::Instant::now() + after)
    };
    assert!(!is_new(None, "B", FLUSH / 2));
    assert!(is_new(Some(2), "B", FLUSH / 2), "a user has changed the pod");
    assert!(is_new(Some(2), "B", FLUSH * 2), "the look that comes by itself");
    scheduler.pod_changed(&Change::Deleted(Arc::new(waits)));
    assert!(scheduler.events.lock().is_empty());
}

/// An autoscaler has nominated the pod for a node that has no room by now.
#[tokio::test]
async fn a_pod_that_gets_no_node_is_not_nominated_for_one_any_more() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    scheduler.volumes.show(free_volume());
    let status = json!({"allocatable": {"pods": "0"}});
    scheduler.nodes.show(of(json!({"metadata": {"name": "n", "resourceVersion": "2"}, "status": status})));
    let message = "0/1 nodes are available: 1 Too many pods. no new claims to deallocate, preemption: \
                   0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    let condition = json!({"type": "PodScheduled", "status": "False", "message": message});
    for (version, nominated, policy, is_cleared) in
        [("2", "n", None, true), ("3", "", None, false), ("4", "n", Some("Never"), false)]
    {
        let mut waits = pod("1");
        waits.metadata.resource_version = Some(version.into());
        waits.spec.as_mut().unwrap().preemption_policy = policy.map(String::from);
        waits.status = of(json!({"nominatedNodeName": nominated, "conditions": [condition]}));
        scheduler.pods.show(waits);
        scheduler.schedule(Key::new("d", "p"), None).await.unwrap();
        let sent = server.take().into_iter().find(|asked| asked.line.ends_with("/pods/p/status"));
        let cleared = sent.and_then(|asked| asked.body["status"].get("nominatedNodeName").cloned());
        assert_eq!(cleared, is_cleared.then_some(Value::Null), "{nominated} {policy:?}");
    }
}

#[tokio::test]
async fn a_conflict_of_the_affinity_comes_before_one_of_the_volumes() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    let rule = |node| json!({"key": "metadata.name", "operator": "In", "values": [node]});
    let terms = json!([{"matchFields": [rule("n"), rule("m")]}]);
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
    let mut torn = pod("1");
    torn.metadata.resource_version = Some("2".into());
    torn.spec.as_mut().unwrap().affinity = of(json!({"nodeAffinity": required}));
    assert!(scheduler.volumes_of(&torn).is_err(), "its volume is not known");
    scheduler.pods.show(torn);
    scheduler.schedule(Key::new("d", "p"), None).await.unwrap();
    let message = server.event("FailedScheduling").await;
    assert!(message.contains("pod affinity terms conflict"), "{message}");
}

/// A pod that has waited for room for an hour does not pause for as long as after a sixth failure.
#[tokio::test]
async fn a_refusal_ends_a_row_of_bindings_that_failed() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    let key = Key::new("d", "p");
    for is_volume_known in [false, true] {
        if is_volume_known {
            scheduler.volumes.show(free_volume());
            let node = json!({"metadata": {"name": "n", "resourceVersion": "2"}});
            scheduler.nodes.show(of(node));
        }
        let failures = Failures { uid: Some("1".into()), count: 5, until: clock::Instant::now() };
        scheduler.failures.lock().insert(key.clone(), failures);
        scheduler.schedule(key.clone(), None).await.unwrap();
        assert!(scheduler.cache.assumed().is_empty());
        assert!(scheduler.failures.lock().is_empty(), "{is_volume_known}");
    }
}

#[tokio::test]
async fn an_event_says_that_no_pod_of_lower_priority_goes_for_the_pod() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    let node = |version: &str, is_cordoned: bool| -> Node {
        let metadata = json!({"name": "n", "resourceVersion": version});
        let status = json!({"allocatable": {"pods": "1"}});
        of(json!({"metadata": metadata, "spec": {"unschedulable": is_cordoned}, "status": status}))
    };
    scheduler.pods.show(of(json!({"metadata": {"name": "web", "namespace": "d", "uid": "web"},
        "spec": {"nodeName": "n", "containers": [], "priority": 0}})));
    for (name, priority, policy, is_cordoned) in [
        ("equal", 0, "PreemptLowerPriority", false),
        ("meek", 1000, "Never", false),
        ("early", 1000, "PreemptLowerPriority", true),
        ("urgent", 1000, "PreemptLowerPriority", false),
    ] {
        scheduler.nodes.show(node(name, is_cordoned));
        scheduler.pods.show(of(json!({"metadata": {"name": name, "namespace": "d", "uid": name},
            "spec": {"containers": [], "priority": priority, "preemptionPolicy": policy}})));
        scheduler.schedule(Key::new("d", name), None).await.unwrap();
    }
    let message = server.event("PreemptionNotImplemented").await;
    assert!(message.contains("(1 on nodes that refuse it)"), "{message}");
    let events = server.events();
    let about_preemption = events.iter().filter(|event| event.body["reason"] == "PreemptionNotImplemented");
    assert_eq!(
        about_preemption.map(|event| &event.body["involvedObject"]["name"]).collect::<Vec<_>>(),
        ["urgent"]
    );
}

/// The answer to the write of a condition may be lost, and an earlier scheduler may have written
/// the same one.
#[tokio::test]
async fn the_event_about_preemption_comes_once_whatever_becomes_of_the_condition() {
    let server = Scripted::new(|asked| match asked.line.ends_with("/pods/lost/status") {
        true => refusal(500, "the answer is lost"),
        false => None,
    })
    .await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    let status = json!({"allocatable": {"pods": "1"}});
    scheduler.nodes.show(of(json!({"metadata": {"name": "n", "resourceVersion": "2"}, "status": status})));
    let message = "0/1 nodes are available: 1 Too many pods. no new claims to deallocate, preemption: \
                   0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    let condition = json!({"type": "PodScheduled", "status": "False", "message": message});
    for (name, conditions) in [("lost", json!([])), ("same", json!([condition])), ("last", json!([]))] {
        scheduler.pods.show(of(json!({"metadata": {"name": name, "namespace": "d", "uid": name},
            "spec": {"containers": [], "priority": 1000}, "status": {"conditions": conditions}})));
    }
    // The message of a second look would count one pod more.
    for (web, looks) in [("web-1", &["lost", "same"][..]), ("web-2", &["lost", "same", "last"][..])] {
        scheduler.pods.show(of(json!({"metadata": {"name": web, "namespace": "d", "uid": web},
            "spec": {"nodeName": "n", "containers": [], "priority": 0}})));
        for name in looks {
            let look = scheduler.schedule(Key::new("d", *name), None).await;
            assert_eq!(look.is_err(), *name == "lost", "{name}");
        }
    }
    let names = || {
        let events = server.events().into_iter();
        let events = events.filter(|event| event.body["reason"] == "PreemptionNotImplemented");
        events.map(|event| event.body["involvedObject"]["name"].clone()).collect::<Vec<_>>()
    };
    let all = async {
        while !names().contains(&json!("last")) {
            clock::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(clock::timeout(Duration::from_secs(20), all).await.is_some(), "{:?}", names());
    assert_eq!(names(), ["lost", "same", "last"]);
    let writes = server.lines();
    assert!(!writes.iter().any(|line| line.ends_with("/pods/same/status")), "{writes:?}");
    let gone = of(json!({"metadata": {"name": "lost", "namespace": "d"}}));
    scheduler.pod_changed(&Change::Deleted(Arc::new(gone)));
    assert_eq!(scheduler.preemption_events.lock().len(), 2);
}

/// A preferred term compares with a word, which upstream's scheduler reports as its own error.
#[tokio::test]
async fn a_decision_that_fails_stands_in_the_condition_and_is_made_again_after_a_pause() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    scheduler.volumes.show(free_volume());
    scheduler.nodes.show(of(json!({"metadata": {"name": "m"}, "status": {"allocatable": {"pods": "9"}}})));
    let rule = json!({"key": "cores", "operator": "Gt", "values": ["many"]});
    let term = json!({"weight": 1, "preference": {"matchExpressions": [rule]}});
    let preferred = json!({"preferredDuringSchedulingIgnoredDuringExecution": [term]});
    let mut unreadable = pod("1");
    unreadable.metadata.resource_version = Some("2".into());
    unreadable.spec.as_mut().unwrap().affinity = of(json!({"nodeAffinity": preferred}));
    unreadable.status = of(json!({"nominatedNodeName": "gone"}));
    scheduler.pods.show(unreadable);
    let key = Key::new("d", "p");
    let outcome = scheduler.schedule(key.clone(), None).await.unwrap();
    assert_eq!(outcome, Outcome::Pause(Duration::from_secs(1)));
    let sent = server.take().into_iter().find(|asked| asked.line.ends_with("/pods/p/status"));
    let status = sent.expect("the condition").body["status"].clone();
    assert_eq!(status.get("nominatedNodeName"), Some(&Value::Null));
    let condition = &status["conditions"][0];
    assert_eq!(condition["reason"], "SchedulerError");
    let message = condition["message"].as_str().unwrap();
    assert!(message.starts_with("running PreScore plugin \"NodeAffinity\": [0]"), "{message}");
    assert!(matches!(scheduler.schedule(key, None).await.unwrap(), Outcome::Pause(_)));
    assert!(scheduler.cache.assumed().is_empty());
}
