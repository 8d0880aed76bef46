//! Daemon pods: where they are sent, and what a look does about them.

use super::*;
use serde_json::json;

#[test]
fn a_pod_knows_its_node_before_it_is_bound() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []}});
    let mut p: Pod = serde_json::from_value(pod).unwrap();
    send_to(&mut p, "n7");
    assert_eq!(decide::target(&p).as_deref(), Some("n7"));
}

/// Evictions go by the first toleration that matches.
#[test]
fn a_template_cannot_shorten_how_long_a_daemon_stays() {
    let taint = "node.kubernetes.io/unreachable";
    let always = json!({"key": taint, "operator": "Exists", "effect": "NoExecute"});
    let (mut brief, own) = (always.clone(), json!({"key": "gpu", "operator": "Exists"}));
    brief["tolerationSeconds"] = json!(30);
    let spec = json!({"containers": [], "tolerations": [brief, own]});
    let mut p: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
    send_to(&mut p, "n7");
    let all = serde_json::to_value(p.spec.unwrap().tolerations).unwrap();
    assert_eq!((&all[0], &all[1]), (&always, &own));
    let of_taint = all.as_array().unwrap().iter().filter(|t| t["key"] == taint).count();
    assert_eq!((of_taint, all.as_array().unwrap().len()), (1, 7));
}

/// `kubectl get -o yaml` shows nothing else upstream.
#[test]
fn the_node_takes_the_place_of_required_terms() {
    let term = json!({"matchExpressions": [{"key": "os", "operator": "In", "values": ["linux"]}]});
    let required = json!({"nodeSelectorTerms": [term, term]});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
    let spec = json!({"containers": [], "affinity": affinity});
    let mut p: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
    send_to(&mut p, "n7");
    let node = p.spec.unwrap().affinity.unwrap().node_affinity.unwrap();
    let fields = json!([{"key": "metadata.name", "operator": "In", "values": ["n7"]}]);
    let required = serde_json::to_value(node.required_during_scheduling_ignored_during_execution).unwrap();
    assert_eq!(required, json!({"nodeSelectorTerms": [{"matchFields": fields}]}));
}

/// The hash label of the pod that a set gets whose template is kept by a revision with a hash
/// of its own, as after a collision of names.
#[tokio::test]
async fn pods_have_the_hash_of_the_revision_that_keeps_their_template() {
    use client::testing::Scripted;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
    let set = json!({"metadata": {"name": "s", "namespace": "d", "uid": "1", "resourceVersion": "5",
            "generation": 9, "annotations": {TEMPLATE_GENERATION: "2"}},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}, "status": {"collisionCount": 1,
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}});
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "s", "uid": "1", "controller": true});
    let mut data = json!({"spec": {"template": template}});
    data["spec"]["template"]["$patch"] = json!("replace");
    let meta =
        json!({"name": "s-old", "namespace": "d", "labels": {HASH: "old"}, "ownerReferences": [owner]});
    let revision = json!({"metadata": meta, "data": data, "revision": 1});
    let stored = set.clone();
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        line if line.starts_with("POST") => Some((201, asked.body.clone())),
        line if line.contains("/daemonsets/s") => Some((200, stored.clone())),
        _ => None,
    })
    .await;
    let shared = crate::shared::Shared::fixed(&server.client);
    shared.informer::<DaemonSet>().show(serde_json::from_value(set).unwrap());
    shared.informer::<ControllerRevision>().show(serde_json::from_value(revision).unwrap());
    shared.informer::<Node>().show(serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap());
    workload::look_once::<DaemonSets>(&shared, &Key::new("d", "s")).await.unwrap();
    let asked = server.take();
    let made = asked.iter().find(|a| a.line == "POST /api/v1/namespaces/d/pods").expect("a pod");
    let labels = &made.body["metadata"]["labels"];
    assert_eq!((&labels[HASH], &labels["pod-template-generation"]), (&json!("old"), &json!("2")));
}

/// Makes a set of the node `n`, its controllers and their server, which makes what it is asked for.
async fn on_one_node(set: &serde_json::Value) -> (client::testing::Scripted, Shared) {
    let stored = set.clone();
    let server = client::testing::Scripted::new(move |asked| match asked.line.as_str() {
        line if line.starts_with("POST") => Some((201, asked.body.clone())),
        line if line.contains("/daemonsets/s") => Some((200, stored.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    shared.informer::<DaemonSet>().show(serde_json::from_value(set.clone()).unwrap());
    let node = json!({"metadata": {"name": "n"}});
    shared.informer::<Node>().show(serde_json::from_value(node).unwrap());
    (server, shared)
}

fn set_of_generation(generation: i64) -> serde_json::Value {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
    json!({"metadata": {"name": "s", "namespace": "d", "uid": "1", "generation": generation},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, "updateStrategy": {"type": "OnDelete"}}})
}

#[tokio::test]
async fn a_daemon_that_fails_again_waits_and_one_that_ended_well_does_not() {
    for (phase, deleted) in [("Succeeded", 2), ("Failed", 1)] {
        let (server, shared) = on_one_node(&set_of_generation(1)).await;
        let driven = workload::Driven::new(&shared);
        for name in ["p1", "p2"] {
            let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "s", "uid": "1", "controller": true});
            let meta = json!({"name": name, "namespace": "d", "uid": name, "labels": {"a": "b"}, "ownerReferences": [owner]});
            let pod = json!({"metadata": meta, "spec": {"nodeName": "n", "containers": []}, "status": {"phase": phase}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            shared.informer::<Pod>().show(pod.clone());
            driven.look::<DaemonSets>(&Key::new("d", "s")).await.unwrap();
            shared.informer::<Pod>().show_deleted(pod);
        }
        let lines = server.lines();
        assert_eq!(lines.iter().filter(|line| line.starts_with("DELETE")).count(), deleted, "{phase}");
    }
}

/// The template was corrected, and the pod fails for another reason now.
#[tokio::test]
async fn a_daemon_that_fails_in_a_new_generation_does_not_wait() {
    let (server, shared) = on_one_node(&set_of_generation(1)).await;
    let driven = workload::Driven::new(&shared);
    for (name, generation) in [("p1", 1), ("p2", 2)] {
        let mut set = set_of_generation(generation);
        set["status"] = json!({"observedGeneration": generation, "currentNumberScheduled": 1,
            "desiredNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 0});
        shared.informer::<DaemonSet>().show(serde_json::from_value(set).unwrap());
        let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "s", "uid": "1", "controller": true});
        let meta = json!({"name": name, "namespace": "d", "uid": name, "labels": {"a": "b"}, "ownerReferences": [owner]});
        let pod = json!({"metadata": meta, "spec": {"nodeName": "n", "containers": []}, "status": {"phase": "Failed"}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        shared.informer::<Pod>().show(pod.clone());
        driven.look::<DaemonSets>(&Key::new("d", "s")).await.unwrap();
        shared.informer::<Pod>().show_deleted(pod);
    }
    let lines = server.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("DELETE")).count(), 2, "{lines:?}");
}

#[tokio::test]
async fn a_generation_is_observed_once_earlier_writes_have_been_seen() {
    let (server, shared) = on_one_node(&set_of_generation(9)).await;
    let driven = workload::Driven::new(&shared);
    let mut observed = Vec::new();
    for generation in [9, 10] {
        let set = serde_json::from_value(set_of_generation(generation)).unwrap();
        shared.informer::<DaemonSet>().show(set);
        // The first look makes a pod, which the cache does not show before the second.
        driven.look::<DaemonSets>(&Key::new("d", "s")).await.unwrap();
        let asked = server.take();
        let written = asked.iter().find(|a| a.line.ends_with("/daemonsets/s/status")).unwrap();
        observed.push(written.body["status"]["observedGeneration"].as_i64());
    }
    assert_eq!(observed, [Some(9), None]);
}

/// An undo brings a set and its pods back at once, and the watch of the sets is ahead.
#[tokio::test]
async fn pods_that_the_cache_does_not_know_yet_are_not_made_again() {
    use client::testing::Scripted;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
    let set = json!({"metadata": {"name": "s", "namespace": "d", "uid": "1", "resourceVersion": "5"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
        "status": {"currentNumberScheduled": 2, "desiredNumberScheduled": 2, "numberMisscheduled": 0, "numberReady": 0}});
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "s", "uid": "1", "controller": true});
    let pod = |name: &str| {
        let meta = json!({"name": name, "namespace": "d", "uid": name, "labels": {"a": "b"}, "ownerReferences": [owner]});
        json!({"metadata": meta, "spec": {"nodeName": name, "containers": []}})
    };
    for (there, made) in [(vec![pod("n1"), pod("n2")], 0), (vec![pod("n1")], 1)] {
        let stored = set.clone();
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            line if line.starts_with("POST") => Some((201, asked.body.clone())),
            "GET /api/v1/namespaces/d/pods" => {
                Some((200, json!({"metadata": {"resourceVersion": "5"}, "items": there})))
            }
            line if line.contains("/daemonsets/s") => Some((200, stored.clone())),
            _ => None,
        })
        .await;
        let shared = crate::shared::Shared::fixed(&server.client);
        shared.informer::<DaemonSet>().show(serde_json::from_value(set.clone()).unwrap());
        shared.informer::<Pod>().show(serde_json::from_value(pod("n1")).unwrap());
        for node in ["n1", "n2"] {
            shared
                .informer::<Node>()
                .show(serde_json::from_value(json!({"metadata": {"name": node}})).unwrap());
        }
        let looked = workload::look_once::<DaemonSets>(&shared, &Key::new("d", "s")).await;
        assert_eq!(looked.is_err(), made == 0, "{:?}", looked.err());
        let posts = server.take().iter().filter(|a| a.line == "POST /api/v1/namespaces/d/pods").count();
        assert_eq!(posts, made);
    }
}

/// An undo changes a set and its revisions at once, and the watch of the revisions is ahead.
#[tokio::test]
async fn a_template_that_was_taken_back_is_not_kept_again() {
    let template = |image: &str| json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
    let set = |image: &str| {
        json!({"metadata": {"name": "s", "namespace": "d", "uid": "1"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template(image)}})
    };
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "s", "uid": "1", "controller": true});
    let revision = |image: &str, number: i64| {
        let mut data = json!({"spec": {"template": template(image)}});
        data["spec"]["template"]["$patch"] = json!("replace");
        let meta = json!({"name": format!("s-{image}"), "namespace": "d", "labels": {HASH: image}, "ownerReferences": [owner]});
        json!({"metadata": meta, "data": data, "revision": number})
    };
    let path = "/apis/apps/v1/namespaces/d/controllerrevisions";
    // The image in the cache and in the store, and what is written.
    for (cached, live, written) in [
        ("three", "two", vec![]),
        ("one", "two", vec![]),
        ("three", "three", vec![format!("POST {path}")]),
        ("one", "one", vec![format!("PATCH {path}/s-one")]),
    ] {
        let (server, shared) = on_one_node(&set(live)).await;
        shared.informer::<DaemonSet>().show(serde_json::from_value(set(cached)).unwrap());
        for (image, number) in [("one", 1), ("two", 2)] {
            let kept = serde_json::from_value(revision(image, number)).unwrap();
            shared.informer::<ControllerRevision>().show(kept);
        }
        let looked = workload::look_once::<DaemonSets>(&shared, &Key::new("d", "s")).await;
        assert_eq!(looked.is_ok(), cached == live, "{:?}", looked.err());
        let mut lines = server.lines();
        lines.retain(|line| line.contains(path) && !line.starts_with("GET"));
        assert_eq!(lines, written, "{cached} in the cache, {live} in the store");
    }
}

/// As after `kubectl delete --cascade=orphan` and a new set of the same name.
#[tokio::test]
async fn revisions_that_an_earlier_set_has_left_are_adopted() {
    use client::testing::Scripted;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
    let set = json!({"metadata": {"name": "s", "namespace": "d", "uid": "2"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let left = |name: &str, label: &str, owner: serde_json::Value| {
        let meta = json!({"name": name, "namespace": "d", "uid": name, "labels": {"a": label}, "ownerReferences": owner});
        json!({"metadata": meta, "data": {}, "revision": 3})
    };
    let other =
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "x", "uid": "9", "controller": true}]);
    let stored = set.clone();
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        line if line.starts_with("POST") => Some((201, asked.body.clone())),
        line if line.contains("/daemonsets/s") => Some((200, stored.clone())),
        line if line.ends_with("/left") => Some((200, json!({"metadata": {"name": "left"}, "revision": 3}))),
        _ => None,
    })
    .await;
    let shared = crate::shared::Shared::fixed(&server.client);
    shared.informer::<DaemonSet>().show(serde_json::from_value(set).unwrap());
    for revision in [left("left", "b", json!([])), left("strange", "c", json!([])), left("owned", "b", other)]
    {
        shared.informer::<ControllerRevision>().show(serde_json::from_value(revision).unwrap());
    }
    workload::look_once::<DaemonSets>(&shared, &Key::new("d", "s")).await.unwrap();
    let asked = server.take();
    let of = |verb: &str| -> Vec<&client::testing::Asked> {
        asked.iter().filter(|a| a.line.starts_with(verb) && a.line.contains("/controllerrevisions")).collect()
    };
    let adopted = of("PATCH");
    assert_eq!(adopted.len(), 1);
    assert!(adopted[0].line.ends_with("/left"), "{}", adopted[0].line);
    assert_eq!(adopted[0].body["metadata"]["ownerReferences"][0]["uid"], "2");
    assert_eq!(of("POST")[0].body["revision"], 4, "the present template comes after it");
}
