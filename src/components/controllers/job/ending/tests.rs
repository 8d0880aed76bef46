//! The end of a Job: which pods it waits for, and how they count.

use crate::job::case::Memory;
use crate::job::decide::decide;
use crate::job::facts::condition;
use crate::job::names::{INDEX, TRACKING};
use crate::job::world::World;
use crate::job::{JOB_NAME, Jobs};
use crate::shared::Shared;
use crate::workload;
use client::Key;
use client::testing::Scripted;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// Returns a Job whose deadline is over, and that had one active pod.
fn late() -> Value {
    json!({"metadata": {"name": "j", "namespace": "d", "uid": "1", "resourceVersion": "5"},
        "spec": {"activeDeadlineSeconds": 60, "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": []}}},
        "status": {"active": 1, "startTime": "2025-01-01T00:00:00Z"}})
}

/// As when the watch of the pods breaks off after one was made.
#[test]
fn an_end_is_final_only_when_all_writes_have_been_seen() {
    let job: Job = serde_json::from_value(late()).unwrap();
    for settled in [false, true] {
        let plan = decide(&job, &[], &Memory::default(), settled, "2025-01-01T01:00:00Z".parse().unwrap());
        let is = |kind: &str| condition(&plan.status, kind).is_some();
        assert_eq!((is("FailureTarget"), is("Failed"), plan.ends), (true, settled, true));
    }
}

/// An undo brings a Job and its pods back at once, and the watch of the Jobs is ahead.
#[tokio::test]
async fn a_job_does_not_end_before_its_pods_are_known() {
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
    let meta = json!({"name": "p", "namespace": "d", "uid": "p", "labels": {"a": "b"},
        "finalizers": [TRACKING], "ownerReferences": [owner]});
    let pod = json!({"metadata": meta, "spec": {"containers": []}, "status": {"phase": "Running"}});
    for there in [vec![pod], vec![]] {
        let unknown = there.len();
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            "GET /api/v1/namespaces/d/pods" => {
                Some((200, json!({"metadata": {"resourceVersion": "5"}, "items": there})))
            }
            line if line.contains("/jobs/j") => Some((200, late())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<Job>().show(serde_json::from_value(late()).unwrap());
        let looked = workload::look_once::<Jobs>(&shared, &Key::new("d", "j")).await;
        assert_eq!(looked.is_err(), unknown > 0, "{:?}", looked.err());
        let written: Vec<Value> =
            server.take().into_iter().filter(|a| a.line.ends_with("/j/status")).map(|a| a.body).collect();
        assert_eq!(written.len(), 1 - unknown);
        let conditions = written.iter().flat_map(|w| w["status"]["conditions"].as_array().unwrap());
        let kinds: Vec<&Value> = conditions.map(|c| &c["type"]).collect();
        assert_eq!(kinds.is_empty(), unknown > 0);
        assert!(unknown > 0 || kinds.contains(&&json!("Failed")), "{kinds:?}");
    }
}

/// Returns the requests of a look at a Job that has ended, or not, beside this pod.
async fn look(ended: bool, ttl: Value, pod: Value) -> Vec<String> {
    let ended = if ended { "True" } else { "False" };
    let done = json!({"type": "Complete", "status": ended, "lastTransitionTime": "2025-01-01T00:00:00Z"});
    let job = json!({"metadata": {"name": "j", "namespace": "d", "uid": "1", "resourceVersion": "5"},
        "spec": {"parallelism": 1, "completions": 1, "ttlSecondsAfterFinished": ttl,
            "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": []}}},
        "status": {"conditions": [done]}});
    let stored = job.clone();
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        "PATCH /api/v1/namespaces/d/pods/p" => Some((200, json!({"metadata": {"name": "p"}}))),
        line if line.contains("/jobs/j") => Some((200, stored.clone())),
        line if line.starts_with("POST") => Some((201, asked.body.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    shared.informer::<Job>().show(serde_json::from_value(job).unwrap());
    shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
    workload::look_once::<Jobs>(&shared, &Key::new("d", "j")).await.unwrap();
    server.lines()
}

/// With a selector that a user has chosen. The garbage collector would delete the pod with the Job.
#[tokio::test]
async fn a_job_that_has_ended_adopts_no_pod() {
    for ended in [false, true] {
        let meta = json!({"name": "p", "namespace": "d", "uid": "p", "labels": {"a": "b"}});
        let pod = json!({"metadata": meta, "spec": {"containers": []}, "status": {"phase": "Running"}});
        let lines = look(ended, Value::Null, pod).await;
        let adopts = lines.iter().any(|line| line == "PATCH /api/v1/namespaces/d/pods/p");
        assert_eq!(adopts, !ended, "{lines:?}");
    }
}

/// An earlier Job of this name was deleted and left its pod behind. Without an owner that counts
/// it, the pod could never be deleted.
#[tokio::test]
async fn a_job_that_has_ended_lets_go_of_a_pod_that_it_does_not_adopt() {
    let meta = json!({"name": "p", "namespace": "d", "uid": "p", "labels": {"a": "b", JOB_NAME: "j"},
        "finalizers": [TRACKING]});
    let pod = json!({"metadata": meta, "spec": {"containers": []}, "status": {"phase": "Succeeded"}});
    let lines = look(true, Value::Null, pod).await;
    let released = lines.iter().filter(|line| *line == "PATCH /api/v1/namespaces/d/pods/p");
    assert_eq!(released.count(), 1, "{lines:?}");
}

/// A user has deleted the pod and given it other labels: nothing but the finalizer keeps it.
/// Upstream: `ClaimPods`, and `handleSingleOrphanPod` for a Job that has ended.
#[tokio::test]
async fn a_pod_that_is_going_is_let_go_of_when_its_job_no_longer_selects_it() {
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
    let meta = json!({"name": "p", "namespace": "d", "uid": "p", "labels": {"a": "other"},
        "deletionTimestamp": "2025-01-01T00:00:00Z", "finalizers": [TRACKING], "ownerReferences": [owner]});
    let pod = json!({"metadata": meta, "spec": {"containers": []}, "status": {"phase": "Running"}});
    for ended in [false, true] {
        let lines = look(ended, Value::Null, pod.clone()).await;
        let released = lines.iter().any(|line| line == "PATCH /api/v1/namespaces/d/pods/p");
        assert!(released, "{ended} {lines:?}");
    }
}

/// A client has given the pod its finalizer back, for example: the deletion would wait for it.
#[tokio::test]
async fn a_job_whose_time_is_over_lets_go_of_its_pods_before_it_is_deleted() {
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
    let meta = json!({"name": "p", "namespace": "d", "uid": "p", "labels": {"a": "b"},
        "finalizers": [TRACKING], "ownerReferences": [owner]});
    let pod = json!({"metadata": meta, "spec": {"containers": []}, "status": {"phase": "Succeeded"}});
    let lines = look(true, json!(0), pod).await;
    let at = |begin: &str| lines.iter().position(|line| line.starts_with(begin));
    let (released, deleted) = (at("PATCH /api/v1/namespaces/d/pods/p"), at("DELETE"));
    assert!(released.is_some() && released < deleted, "{lines:?}");
}

/// Its program ends well at the first signal, as nginx does.
#[test]
fn a_pod_that_the_end_cuts_off_has_failed_whatever_it_exits_with() {
    for policy in [Value::Null, json!("Failed")] {
        let spec = json!({"completions": 1, "activeDeadlineSeconds": 5, "podReplacementPolicy": policy});
        let mut w = World::new(spec);
        w.grace = 30;
        w.settle();
        w.after(5).settle();
        w.end("p1", 0);
        w.after(30).settle();
        assert_eq!(w.counts(), "0/0/1", "{policy}");
        assert_eq!(w.conditions(), ["FailureTarget DeadlineExceeded", "Failed DeadlineExceeded"]);
    }
}

/// A rule of the success policy needs the other pod alone. Upstream: `TestSuccessPolicy`.
#[test]
fn a_pod_that_a_success_cuts_off_has_not_failed() {
    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededIndexes": "1"}]}});
    for grace in [0, 30] {
        let mut w = World::new(spec.clone());
        w.grace = grace;
        w.settle();
        w.end("p2", 0);
        w.settle();
        if grace > 0 {
            w.end("p1", 1);
            w.after(grace).settle();
        }
        assert_eq!(w.counts(), "0/1/0", "{grace}");
        assert_eq!(w.conditions(), ["SuccessCriteriaMet SuccessPolicy", "Complete SuccessPolicy"]);
    }
}

/// The user has deleted it, and the Job waits until such pods have failed.
#[test]
fn a_pod_that_is_going_when_the_job_succeeds_has_not_failed() {
    let mut w = World::new(json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed",
        "podReplacementPolicy": "Failed", "successPolicy": {"rules": [{"succeededIndexes": "1"}]}}));
    w.settle();
    w.delete("p1", 30);
    w.settle();
    w.end("p2", 0);
    w.settle();
    w.end("p1", 1);
    w.after(30).settle();
    assert_eq!(w.counts(), "0/1/0");
    assert_eq!(w.conditions(), ["SuccessCriteriaMet SuccessPolicy", "Complete SuccessPolicy"]);
}

/// Deleted by the user before the deadline, and not gone yet.
#[test]
fn a_pod_that_is_going_when_the_job_fails_is_counted_before_it_is_let_go() {
    let spec = json!({"completions": 1, "activeDeadlineSeconds": 5, "podReplacementPolicy": "Failed"});
    let mut w = World::new(spec);
    w.settle();
    w.delete("p1", 30);
    w.settle();
    assert_eq!(w.counts(), "0/0/0");
    w.after(5).settle();
    assert_eq!(w.counts(), "0/0/1");
}

/// The API server takes these rules; a Job that ends before its first pod has ended does no work.
#[test]
fn a_success_policy_is_not_met_before_a_pod_has_succeeded() {
    let ends_after_one = |rule: Value| {
        let spec = json!({"completions": 2, "parallelism": 1, "completionMode": "Indexed",
            "successPolicy": {"rules": [rule]}});
        let mut w = World::new(spec);
        w.settle();
        assert_eq!(w.conditions(), [""; 0], "no pod has ended");
        w.end("p1", 0);
        w.settle();
        !w.conditions().is_empty()
    };
    assert!(!ends_after_one(json!({"succeededIndexes": ""})), "it names no index that could succeed");
    assert!(ends_after_one(json!({"succeededCount": 0})));
    assert!(ends_after_one(json!({"succeededIndexes": "0"})));
}

/// The third pod stands for one that the Job has adopted.
#[test]
fn more_successes_than_were_wanted_are_reported() {
    let mut w = World::new(json!({"completions": 3, "parallelism": 3}));
    w.settle();
    w.job.spec.as_mut().unwrap().completions = Some(2);
    ["p1", "p2", "p3"].into_iter().for_each(|pod| w.end(pod, 0));
    w.settle();
    assert_eq!(w.counts(), "0/3/0");
    assert_eq!(w.reasons, ["TooManySucceededPods", "Completed"]);
}

/// The user deletes a pod whose program does not stay up, and the pod takes its time to end.
#[test]
fn restarts_of_a_pod_that_is_going_count_until_it_is_gone() {
    for (restarts, want) in [(3, vec!["FailureTarget BackoffLimitExceeded"]), (2, vec![])] {
        let template = json!({"spec": {"restartPolicy": "OnFailure", "containers": []}});
        let mut w = World::new(json!({"completions": 1, "backoffLimit": 3, "template": template}));
        w.settle();
        let container =
            json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": restarts});
        let status = json!({"phase": "Running", "containerStatuses": [container]});
        w.pods[0].status = Some(serde_json::from_value(status).unwrap());
        w.delete("p1", 30);
        w.settle();
        assert_eq!(w.conditions(), want, "{restarts}");
    }
}

/// A client may write any count into the status.
#[test]
fn counts_do_not_overflow() {
    let mut w =
        World::new(json!({"parallelism": 3, "completions": 2_147_483_647, "backoffLimit": 2_147_483_647}));
    w.settle();
    let status = w.job.status.as_mut().unwrap();
    (status.succeeded, status.failed) = (Some(i32::MAX), Some(i32::MAX));
    w.end("p1", 0);
    w.end("p2", 1);
    let plan = w.settle();
    assert_eq!((plan.status.succeeded, plan.status.failed), (Some(i32::MAX), Some(i32::MAX)));
}

/// Without `completions` one success is enough, and the suspension ends the other pod.
#[test]
fn a_job_whose_suspension_completes_it_is_not_suspended() {
    let mut w = World::new(json!({"parallelism": 2}));
    w.settle();
    w.end("p1", 0);
    w.job.spec.as_mut().unwrap().suspend = Some(true);
    w.settle();
    assert_eq!(w.conditions(), ["SuccessCriteriaMet CompletionsReached", "Complete CompletionsReached"]);
    assert_eq!(w.reasons, ["Completed"]);
}

/// Its pod fails for the last time at the moment in which it is suspended.
#[test]
fn a_job_that_has_failed_is_not_suspended() {
    let mut w = World::new(json!({"completions": 1, "backoffLimit": 0}));
    w.settle();
    w.end("p1", 1);
    w.job.spec.as_mut().unwrap().suspend = Some(true);
    w.settle();
    assert_eq!(w.conditions(), ["FailureTarget BackoffLimitExceeded", "Failed BackoffLimitExceeded"]);
    assert_eq!(w.reasons, ["BackoffLimitExceeded"]);
}

/// A user may write any text into the annotation.
#[test]
fn a_pod_whose_annotation_is_no_index_completes_none() {
    for index in ["-1", "x", "2"] {
        let mut w = World::new(json!({"completions": 2, "completionMode": "Indexed"}));
        w.settle();
        let annotations = w.pods[0].metadata.annotations.as_mut().unwrap();
        annotations.insert(INDEX.into(), index.into());
        w.end("p1", 0);
        w.settle();
        assert_eq!(w.job.status.as_ref().unwrap().completed_indexes, None, "{index}");
    }
}
