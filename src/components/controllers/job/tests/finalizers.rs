//! Finalizers of pods that the API server does not let the controller take off.

use crate::job::{Jobs, TRACKING};
use crate::shared::Shared;
use crate::workload;
use client::Key;
use client::testing::{Scripted, refusal};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

/// A policy of the cluster forbids every change of `a`. Both pods are of an earlier Job of this
/// name.
#[tokio::test]
async fn a_finalizer_that_stays_holds_up_no_other_pod_and_no_other_job() {
    let job = json!({"metadata": {"name": "j", "namespace": "d", "uid": "1", "resourceVersion": "5"},
        "spec": {"parallelism": 1, "completions": 1, "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": []}}}});
    let stored = job.clone();
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        "PATCH /api/v1/namespaces/d/pods/a" => refusal(403, "Forbidden"),
        line if line.contains("/jobs/j") => Some((200, stored.clone())),
        line if line.starts_with("POST") => Some((201, asked.body.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    shared.informer::<Job>().show(serde_json::from_value(job).unwrap());
    let owner =
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "earlier", "controller": true});
    for name in ["a", "b"] {
        let meta = json!({"name": name, "namespace": "d", "uid": name, "finalizers": [TRACKING], "ownerReferences": [owner]});
        shared.informer::<Pod>().show(serde_json::from_value(json!({"metadata": meta})).unwrap());
    }
    let looked = workload::look_once::<Jobs>(&shared, &Key::new("d", "j")).await;
    assert!(looked.is_err(), "the finalizer is tried again");
    let lines = server.lines();
    for line in ["PATCH /api/v1/namespaces/d/pods/b", "POST /api/v1/namespaces/d/pods"] {
        assert!(lines.iter().any(|asked| asked == line), "{line}: {lines:?}");
    }
}

/// A policy of the cluster forbids every change of `a`; both pods run when the Job is suspended.
#[tokio::test]
async fn a_pod_that_keeps_its_finalizer_is_not_deleted_and_holds_up_nothing_else() {
    let job = json!({"metadata": {"name": "j", "namespace": "d", "uid": "1", "resourceVersion": "5"},
        "spec": {"parallelism": 2, "completions": 2, "suspend": true, "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": []}}}});
    let stored = job.clone();
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        "PATCH /api/v1/namespaces/d/pods/a" => refusal(403, "Forbidden"),
        line if line.contains("/jobs/j") => Some((200, stored.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    shared.informer::<Job>().show(serde_json::from_value(job).unwrap());
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
    for name in ["a", "b"] {
        let meta = json!({"name": name, "namespace": "d", "uid": name, "labels": {"a": "b"},
            "finalizers": [TRACKING], "ownerReferences": [owner]});
        let pod = json!({"metadata": meta, "status": {"phase": "Running"}});
        shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
    }
    let looked = workload::look_once::<Jobs>(&shared, &Key::new("d", "j")).await;
    assert!(looked.is_err(), "the finalizer is tried again");
    let lines = server.lines();
    let deleted: Vec<&String> = lines.iter().filter(|line| line.starts_with("DELETE")).collect();
    assert_eq!(deleted, ["DELETE /api/v1/namespaces/d/pods/b"]);
    assert!(lines.iter().any(|line| line.ends_with("/jobs/j/status")), "{lines:?}");
}
