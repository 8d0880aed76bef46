//! What is counted, when, and what is written.

use super::*;
use client::testing::{Scripted, refusal};

#[test]
fn what_is_not_limited_is_not_shown_and_what_cannot_be_counted_stays() {
    let of = |pairs: Value| amounts(&json!({"a": pairs}), "a");
    let hard = of(json!({"pods": "3", "count/widgets.example.com": "1"}));
    let before = of(json!({"pods": "1", "secrets": "4", "count/widgets.example.com": "1"}));
    let now = used(&hard, &before, &of(json!({"pods": "2"})));
    assert_eq!(amounts_to_value(&now), json!({"pods": "2", "count/widgets.example.com": "1"}).clone());
}

#[test]
fn a_pod_that_ends_or_gets_a_deadline_is_given_back() {
    let pod = |deadline: Value, phase: &str| -> Pod {
        let spec = json!({"containers": [], "activeDeadlineSeconds": deadline});
        serde_json::from_value(json!({"spec": spec, "status": {"phase": phase}})).unwrap()
    };
    let running = pod(Value::Null, "Running");
    assert!(!is_given_back(&pod(Value::Null, "Pending"), &running));
    assert!(is_given_back(&running, &pod(Value::Null, "Failed")));
    assert!(is_given_back(&running, &pod(json!(60), "Running")));
    assert!(!is_given_back(&pod(json!(90), "Running"), &pod(json!(60), "Running")));
}

/// A charge leaves the managers of fields alone; the controller's own count is later.
#[test]
fn a_status_of_an_earlier_time_is_counted_anew() {
    let quota = |times: &[&str]| -> ResourceQuota {
        let entry = |time: &&str| json!({"subresource": "status", "time": time});
        let mut managers: Vec<Value> = times.iter().map(entry).collect();
        managers.push(json!({"time": "2026-11-30T11:00:00Z"}));
        serde_json::from_value(json!({"metadata": {"managedFields": managers}})).unwrap()
    };
    let [early, late] = ["2026-11-30T10:00:00Z", "2026-11-30T10:00:01Z"];
    for (old, new, is_back) in [
        (quota(&[late]), quota(&[early]), true),
        (quota(&[early, late]), quota(&[early]), true),
        (quota(&[late]), quota(&[]), true),
        (quota(&[late]), quota(&[late]), false),
        (quota(&[early]), quota(&[late]), false),
        (quota(&[]), quota(&[]), false),
    ] {
        assert_eq!(counted_at(&new) < counted_at(&old), is_back, "{old:?} {new:?}");
    }
}

#[test]
fn a_claim_with_another_class_or_more_storage_counts_otherwise() {
    let claim = |spec: Value, status: Value| -> PersistentVolumeClaim {
        serde_json::from_value(json!({"spec": spec, "status": status})).unwrap()
    };
    let old = claim(json!({}), json!({"phase": "Bound"}));
    let gold = claim(json!({"volumeAttributesClassName": "gold"}), json!({"phase": "Bound"}));
    let given = claim(json!({}), json!({"allocatedResources": {"storage": "2Gi"}}));
    let changed = claim(json!({}), json!({"currentVolumeAttributesClassName": "gold"}));
    assert!(!counts_otherwise(&old, &claim(json!({}), json!({"phase": "Lost"}))));
    for new in [&gold, &given, &changed] {
        assert!(counts_otherwise(&old, new), "{new:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_counted_now_and_then_although_something_is_always_deleted() {
    let (sender, gone) = tokio::sync::broadcast::channel(16);
    let (mut one, mut all) = (0, 0);
    let deletions = async {
        for _ in 0..13 {
            clock::sleep(Duration::from_secs(100)).await;
            sender.send(("n".to_string(), None)).unwrap();
        }
        drop(sender);
    };
    let counts = listen(gone, |namespace, _| match namespace {
        Some(_) => one += 1,
        None => all += 1,
    });
    tokio::join!(deletions, counts);
    assert_eq!((one, all), (13, 4));
}

/// Two pods were charged and one of them is gone. The cache lacks the second charge, and so
/// shows what is counted.
#[tokio::test]
async fn what_is_gone_is_given_back_although_the_cache_lacks_the_last_charge() {
    let quota = |version: &str, used: &str| {
        json!({"metadata": {"name": "q", "namespace": "d", "uid": "1", "resourceVersion": version},
            "spec": {"hard": {"pods": "2"}}, "status": {"hard": {"pods": "2"}, "used": {"pods": used}}})
    };
    let (cached, stored) = (quota("5", "1"), quota("6", "2"));
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        "GET /api/v1/namespaces/d/pods" => {
            let pod = json!({"metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": []}});
            Some((200, json!({"metadata": {}, "items": [pod]})))
        }
        line if line.contains("/resourcequotas/q") => Some((200, stored.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    shared.informer::<ResourceQuota>().show(serde_json::from_value(cached).unwrap());
    sync(&shared, Key::new("d", "q"), None).await.unwrap();
    let asked = server.take();
    let written = asked.iter().find(|a| a.line.starts_with("PATCH")).expect("the status is written");
    assert_eq!(written.body[1]["value"], "6");
    assert_eq!(written.body[2]["value"]["used"], json!({"pods": "1"}));
}

/// Of four pods one is gone, and before they are counted another one is made: four again.
#[tokio::test]
async fn what_is_made_while_it_counts_does_not_hide_what_is_gone() {
    let quota = |version: &str, used: &str| {
        json!({"kind": "ResourceQuota", "apiVersion": "v1", "metadata": {"name": "q", "namespace": "d", "uid": "1", "resourceVersion": version},
            "spec": {"hard": {"pods": "5"}}, "status": {"hard": {"pods": "5"}, "used": {"pods": used}}})
    };
    let charged = std::sync::atomic::AtomicBool::new(false);
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        "GET /api/v1/namespaces/d/pods" => {
            charged.store(true, std::sync::atomic::Ordering::Relaxed);
            let pod = |name: &str| json!({"metadata": {"name": name, "namespace": "d"}, "spec": {"containers": []}});
            Some((200, json!({"metadata": {}, "items": (["a", "b", "c", "new"].map(pod))})))
        }
        line if line.contains("/resourcequotas/q") => Some(match charged.load(std::sync::atomic::Ordering::Relaxed) {
            true => (200, quota("7", "5")),
            false => (200, quota("6", "4")),
        }),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    let first = sync(&shared, Key::new("d", "q"), None).await;
    assert!(matches!(first, Err(Error::Conflict(_))), "it is counted again: {first:?}");
    sync(&shared, Key::new("d", "q"), None).await.unwrap();
    let asked = server.take();
    let written =
        asked.iter().find(|a| a.line.starts_with("PATCH")).expect("the pod that is gone is given back");
    assert_eq!(written.body[1]["value"], "7");
    assert_eq!(written.body[2]["value"]["used"], json!({"pods": "4"}));
}

/// As with `kubectl apply` of a file that has a quota and what it limits.
#[tokio::test]
async fn what_is_made_before_a_limit_holds_is_counted_once_it_does() {
    let (none, some) = (json!({}), |hard: Value| json!({"hard": hard, "used": {"pods": "0"}}));
    for (status, again) in [
        (none, Outcome::Pause(RECOUNT)),
        (some(json!({"secrets": "2"})), Outcome::Pause(RECOUNT)),
        (some(json!({"pods": "9"})), Outcome::Done),
        (some(json!({"pods": "2"})), Outcome::Done),
    ] {
        let quota = json!({"metadata": {"name": "q", "namespace": "d", "uid": "1", "resourceVersion": "5"},
            "spec": {"hard": {"pods": "2"}}, "status": status});
        let stored = quota.clone();
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            "GET /api/v1/namespaces/d/pods" => {
                let pod = json!({"metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": []}});
                Some((200, json!({"metadata": {}, "items": [pod]})))
            }
            line if line.contains("/resourcequotas/q") => Some((200, stored.clone())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        assert_eq!(sync(&shared, Key::new("d", "q"), None).await.unwrap(), again, "{quota}");
        let written = server.lines().iter().filter(|line| line.starts_with("PATCH")).count();
        assert_eq!(written, 1, "{quota}");
    }
}

/// A user forbids the controller to list secrets.
#[tokio::test]
async fn a_kind_that_cannot_be_listed_keeps_no_other_from_being_counted() {
    let quota = json!({"metadata": {"name": "q", "namespace": "d", "uid": "1", "resourceVersion": "5"},
        "spec": {"hard": {"pods": "2", "secrets": "3"}}, "status": {}});
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        "GET /api/v1/namespaces/d/pods" => Some((200, json!({"metadata": {}, "items": []}))),
        "GET /api/v1/namespaces/d/secrets" => refusal(403, "Forbidden"),
        line if line.contains("/resourcequotas/q") => Some((200, quota.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    assert!(sync(&shared, Key::new("d", "q"), None).await.is_err(), "the secrets are tried again");
    let asked = server.take();
    let written = asked.iter().find(|a| a.line.starts_with("PATCH")).expect("the pods are counted");
    let want = json!({"hard": {"pods": "2", "secrets": "3"}, "used": {"pods": "0"}});
    assert_eq!(written.body[2]["value"], want);
}

#[test]
fn a_new_spec_is_dirty_until_the_status_has_it() {
    let quota = |v: Value| -> ResourceQuota { serde_json::from_value(v).unwrap() };
    assert!(is_dirty(&quota(json!({"spec": {"hard": {"pods": "1"}}, "status": {}}))));
    assert!(!is_dirty(&quota(
        json!({"spec": {"hard": {"pods": "1"}}, "status": {"hard": {"pods": "1"}, "used": {"pods": "0"}}})
    )));
}
