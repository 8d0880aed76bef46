//! A Job from its first look to its last, with pods that end as the test says.

mod finalizers;

use super::case::Memory;
use super::decide::decide;
use super::names::{INDEX, INDEX_FAILURES, TRACKING};
use super::world::World;
use clock::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};
use std::sync::Arc;

#[test]
fn so_many_completions_so_many_at_a_time() {
    let mut w = World::new(json!({"completions": 3, "parallelism": 2}));
    w.settle();
    assert_eq!((w.counts().as_str(), w.made), ("2/0/0", 2));
    w.end("p1", 0);
    w.settle();
    assert_eq!((w.counts().as_str(), w.made), ("2/1/0", 3));
    w.end("p2", 0);
    w.settle();
    assert_eq!((w.counts().as_str(), w.made), ("1/2/0", 3));
    w.end("p3", 0);
    w.settle();
    assert_eq!(w.counts(), "0/3/0");
    assert_eq!(w.conditions(), ["SuccessCriteriaMet CompletionsReached", "Complete CompletionsReached"]);
    assert_eq!(w.reasons, ["Completed"]);
    assert!(w.job.status.as_ref().unwrap().completion_time.is_some());
    assert!(w.pods.iter().all(|p| p.metadata.finalizers.is_none()), "nothing keeps the pods");
}

#[test]
fn an_end_is_counted_once_and_only_when_it_is_written() {
    let mut w = World::new(json!({"completions": 1}));
    w.settle();
    w.end("p1", 0);
    let plan = w.look();
    assert_eq!(
        plan.status.uncounted_terminated_pods.as_ref().unwrap().succeeded.as_deref(),
        Some(&["p1".into()][..])
    );
    assert_eq!((plan.status.succeeded, plan.release.as_slice()), (None, &["p1".to_string()][..]));
    // A crash before the finalizer is off: the same pod is not noted twice.
    w.job.status = Some(plan.status);
    let plan = w.look();
    assert_eq!(plan.status.uncounted_terminated_pods.unwrap().succeeded.unwrap().len(), 1);
    assert!(!w.conditions().iter().any(|c| c.starts_with("Complete")), "a pod is still held");
}

#[test]
fn failures_wait_longer_and_longer_until_the_limit() {
    let mut w = World::new(json!({"completions": 1, "backoffLimit": 2}));
    w.settle();
    w.end("p1", 1);
    let plan = w.settle();
    assert_eq!((w.counts().as_str(), plan.again.unwrap().as_secs()), ("0/0/1", 10));
    w.after(10).settle();
    w.end("p2", 1);
    assert_eq!(w.settle().again.unwrap().as_secs(), 20);
    w.after(20).settle();
    w.end("p3", 1);
    w.settle();
    assert_eq!(w.counts(), "0/0/3");
    assert_eq!(w.conditions(), ["FailureTarget BackoffLimitExceeded", "Failed BackoffLimitExceeded"]);
    assert_eq!(w.reasons, ["BackoffLimitExceeded"]);
}

#[test]
fn restarts_in_place_count_too() {
    let mut w = World::new(json!({"completions": 1, "backoffLimit": 2,
        "template": {"spec": {"restartPolicy": "OnFailure", "containers": []}}}));
    w.settle();
    w.pods[0].status = serde_json::from_value(json!({"phase": "Running", "containerStatuses": [
        {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 2}]}))
    .ok();
    w.settle();
    assert_eq!(w.conditions()[0], "FailureTarget BackoffLimitExceeded");
    assert!(w.pods.is_empty(), "the pod is deleted");
}

#[test]
fn time_is_up_and_so_is_the_time_after_by_the_cluster_s_clock() {
    for scale in [1, 20] {
        let _scale = clock::pin_scale(scale as u32);
        let (deadline, ttl) = (5 * scale, 7 * scale);
        let mut w = World::new(
            json!({"completions": 1, "activeDeadlineSeconds": deadline, "ttlSecondsAfterFinished": ttl}),
        );
        assert_eq!(w.settle().again.unwrap().as_secs(), deadline);
        let plan = w.after(5).settle();
        assert_eq!(w.conditions(), ["FailureTarget DeadlineExceeded", "Failed DeadlineExceeded"]);
        assert_eq!((plan.expired, plan.again.unwrap().as_secs()), (false, ttl));
        assert!(!w.after(6).look().expired && w.after(1).look().expired);
    }
}

#[test]
fn a_suspended_job_has_no_pods_and_starts_anew() {
    let mut w = World::new(json!({"completions": 2, "parallelism": 2, "suspend": true}));
    w.settle();
    assert_eq!((w.made, w.conditions()), (0, vec!["Suspended JobSuspended".to_string()]));
    assert!(w.job.status.as_ref().unwrap().start_time.is_none());
    w.job.spec.as_mut().unwrap().suspend = Some(false);
    w.after(60).settle();
    assert_eq!((w.made, w.conditions().len()), (2, 0));
    assert_eq!(w.job.status.as_ref().unwrap().start_time.as_ref().unwrap().0, w.now);
    w.job.spec.as_mut().unwrap().suspend = Some(true);
    w.settle();
    assert_eq!((w.pods.len(), w.reasons.join(" ").as_str()), (0, "Suspended Resumed Suspended"));
    assert_eq!(w.counts(), "0/0/0", "who was sent away has not failed");
}

#[test]
fn a_suspended_job_keeps_its_start_and_its_deadline_waits() {
    let mut w = World::new(json!({"completions": 1, "activeDeadlineSeconds": 100}));
    w.settle();
    let started = w.job.status.as_ref().unwrap().start_time.clone();
    w.job.spec.as_mut().unwrap().suspend = Some(true);
    w.after(50).settle();
    w.after(500).settle();
    assert_eq!(w.conditions(), ["Suspended JobSuspended"]);
    assert_eq!(w.job.status.as_ref().unwrap().start_time, started);
    w.job.spec.as_mut().unwrap().suspend = Some(false);
    let again = w.after(1).settle().again;
    assert_eq!(
        (w.running().count(), again),
        (1, Some(std::time::Duration::from_secs(100))),
        "it starts anew"
    );
}

/// Its last pod succeeds at the moment in which it is suspended.
#[test]
fn a_suspended_job_whose_work_is_done_is_complete() {
    let mut w = World::new(json!({"completions": 1}));
    w.settle();
    w.end("p1", 0);
    w.job.spec.as_mut().unwrap().suspend = Some(true);
    w.settle();
    assert_eq!(w.conditions(), ["SuccessCriteriaMet CompletionsReached", "Complete CompletionsReached"]);
}

#[test]
fn every_index_is_done_once() {
    let mut w = World::new(json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"}));
    w.settle();
    let indexes: Vec<_> =
        w.pods.iter().map(|p| p.metadata.annotations.as_ref().unwrap()[INDEX].as_str()).collect();
    assert_eq!(indexes, ["0", "1", "2"]);
    w.end("p1", 0);
    w.end("p2", 3);
    w.end("p3", 0);
    w.settle();
    assert_eq!(w.job.status.as_ref().unwrap().completed_indexes.as_deref(), Some("0,2"));
    w.after(10).settle();
    assert_eq!(w.pods.last().unwrap().metadata.annotations.as_ref().unwrap()[INDEX], "1");
    w.end("p4", 0);
    w.settle();
    assert_eq!((w.counts().as_str(), w.conditions()[1].as_str()), ("0/3/1", "Complete CompletionsReached"));
}

#[test]
fn an_index_may_fail_alone() {
    let mut w = World::new(json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed",
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1}));
    w.settle();
    w.end("p1", 1);
    w.end("p2", 0);
    w.settle();
    assert!(w.pods[0].metadata.finalizers.is_some(), "its successor does not know yet how often it failed");
    w.after(10).settle();
    assert_eq!(w.pods[2].metadata.annotations.as_ref().unwrap()[INDEX_FAILURES], "1");
    assert!(w.pods[0].metadata.finalizers.is_none());
    w.end("p3", 1);
    w.settle();
    let status = w.job.status.as_ref().unwrap();
    assert_eq!(
        (status.completed_indexes.as_deref(), status.failed_indexes.as_deref()),
        (Some("1"), Some("0"))
    );
    assert_eq!(w.conditions(), ["FailureTarget FailedIndexes", "Failed FailedIndexes"]);
}

#[test]
fn rules_decide_about_failures_and_success() {
    let rules = json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}}]});
    let mut w =
        World::new(json!({"completions": 1, "podFailurePolicy": rules, "podReplacementPolicy": "Failed"}));
    w.settle();
    w.end("p1", 7);
    w.settle();
    assert_eq!(w.counts(), "0/0/0", "ignored");
    w.after(10).settle();
    w.end("p2", 42);
    w.settle();
    assert_eq!(w.conditions(), ["FailureTarget PodFailurePolicy", "Failed PodFailurePolicy"]);

    let leader = json!({"rules": [{"succeededIndexes": "0"}]});
    let mut w = World::new(
        json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed", "successPolicy": leader}),
    );
    w.settle();
    w.end("p2", 0);
    w.settle();
    assert!(w.conditions().is_empty());
    w.end("p1", 0);
    w.settle();
    assert_eq!(w.conditions(), ["SuccessCriteriaMet SuccessPolicy", "Complete SuccessPolicy"]);
}

#[test]
fn fewer_at_a_time_takes_pods_away() {
    let mut w = World::new(json!({"completions": 10, "parallelism": 4}));
    w.settle();
    w.job.spec.as_mut().unwrap().parallelism = Some(1);
    w.settle();
    assert_eq!((w.pods.len(), w.counts().as_str()), (1, "1/0/0"));
}

/// The numbers of the largest Job there can be: nothing is counted out one by one.
#[test]
fn two_thousand_million_completions_cost_no_more_than_the_pods_there_are() {
    let most = i32::MAX;
    let mut world = World::new(json!({
        "completions": most, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
        "successPolicy": {"rules": [{"succeededIndexes": "0-2147483645", "succeededCount": most}]},
    }));
    let status = json!({"completedIndexes": "0-9,12-2147483640", "succeeded": most - 8, "failedIndexes": "10,2147483641-2147483643"});
    world.job.status = Some(serde_json::from_value(status).unwrap());
    let spent = || getrusage(UsageWho::RUSAGE_THREAD).unwrap().user_time();
    let before = spent();
    let plan = world.look();
    assert_eq!(
        plan.create.iter().map(|new| new.index).collect::<Vec<_>>(),
        [Some(11), Some(2_147_483_644), Some(2_147_483_645)]
    );
    assert_eq!(plan.status.completed_indexes.as_deref(), Some("0-9,12-2147483640"));
    let mut fresh =
        World::new(json!({"completions": most, "parallelism": most, "completionMode": "Indexed"}));
    assert_eq!(fresh.look().create.len(), 500, "a burst at a time");
    fresh.job.status =
        Some(serde_json::from_value(json!({"succeeded": i32::MIN, "failed": i32::MIN})).unwrap());
    fresh.look();
    // Each number alone takes a nanosecond at the best: two seconds of a processor at least.
    let used = spent() - before;
    assert!(used.num_milliseconds() < 1500, "{used}");
}

/// A pod that its job has let go, with all of its labels: the controller takes the finalizer off.
#[test]
fn a_tracked_pod_that_belongs_to_no_job_is_looked_at() {
    use crate::workload::PodOwner;
    use client::Key;
    let pod = |labels: Value, finalizers: Value| -> Pod {
        let meta = json!({"name": "p", "namespace": "d", "labels": labels, "finalizers": finalizers});
        serde_json::from_value(json!({"metadata": meta})).unwrap()
    };
    let lost = |labels, finalizers| super::Jobs::lost_owner(&pod(labels, finalizers));
    assert_eq!(lost(json!({super::JOB_NAME: "j"}), json!([TRACKING])), Some(Key::new("d", "j")));
    assert_eq!(lost(json!({}), json!([TRACKING])), Some(Key::new("d", "")));
    assert_eq!(lost(Value::Null, json!([TRACKING])), Some(Key::new("d", "")));
    assert_eq!(lost(json!({}), json!(["example.com/x"])), None);
}

#[tokio::test]
async fn what_has_ended_is_counted_although_new_pods_are_refused() {
    use crate::shared::Shared;
    use crate::workload;
    use client::Key;
    use client::testing::{Scripted, refusal};
    let job = json!({"metadata": {"name": "j", "namespace": "d", "uid": "1", "resourceVersion": "5"},
        "spec": {"parallelism": 1, "completions": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": []}}}});
    let stored = job.clone();
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        "POST /api/v1/namespaces/d/pods" => refusal(403, "exceeded quota"),
        line if line.contains("/jobs/j") => Some((200, stored.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    shared.informer::<Job>().show(serde_json::from_value(job).unwrap());
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
    let pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": "p", "labels": {"a": "b"}, "finalizers": [TRACKING],
        "ownerReferences": [owner]}, "status": {"phase": "Succeeded"}});
    shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
    let looked = workload::look_once::<super::Jobs>(&shared, &Key::new("d", "j")).await;
    assert!(looked.unwrap_err().to_string().contains("exceeded quota"));
    let asked = server.take();
    let status = asked.iter().find(|a| a.line.ends_with("/jobs/j/status")).expect("the status is written");
    assert_eq!(status.body["status"]["uncountedTerminatedPods"]["succeeded"], json!(["p"]));
    assert_eq!(status.body["status"]["active"], Value::Null, "none was made");
    let released = asked.last().unwrap();
    assert_eq!(released.line, "PATCH /api/v1/namespaces/d/pods/p", "nothing keeps it any more");
}

/// A selector that the user has chosen, for example. Without the finalizer the work that the pod
/// does would not be counted, and done once more.
#[tokio::test]
async fn an_adopted_pod_is_counted() {
    use crate::shared::Shared;
    use crate::workload;
    use client::Key;
    use client::testing::Scripted;
    let job = json!({"metadata": {"name": "j", "namespace": "d", "uid": "1", "resourceVersion": "5"},
        "spec": {"parallelism": 1, "completions": 1, "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": []}}}});
    let noted = |finalizers: &[&str]| json!({"name": "p", "namespace": "d", "uid": "p", "labels": {"a": "b", super::JOB_NAME: "j"}, "finalizers": finalizers});
    for (phase, has, succeeded) in [
        ("Running", vec![], Value::Null),
        ("Succeeded", vec![], json!(["p"])),
        ("Succeeded", vec![TRACKING], json!(["p"])),
    ] {
        let stored = job.clone();
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            "PATCH /api/v1/namespaces/d/pods/p" => Some((200, json!({"metadata": {"name": "p"}}))),
            line if line.contains("/jobs/j") => Some((200, stored.clone())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<Job>().show(serde_json::from_value(job.clone()).unwrap());
        let pod = json!({"metadata": noted(&has), "status": {"phase": phase}});
        shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
        workload::look_once::<super::Jobs>(&shared, &Key::new("d", "j")).await.unwrap();
        let asked = server.take();
        let at = |end: &str| asked.iter().position(|a| a.line.ends_with(end));
        let adopted = &asked[at("/pods/p").expect("it is adopted")].body["metadata"];
        assert_eq!(
            (&adopted["ownerReferences"][0]["uid"], &adopted["finalizers"]),
            (&json!("1"), &json!([TRACKING]))
        );
        let status = &asked[at("/jobs/j/status").expect("the status is written")].body["status"];
        assert_eq!(status["uncountedTerminatedPods"]["succeeded"], succeeded, "{phase}");
        let released = asked.iter().rposition(|a| a.line.ends_with("/pods/p"));
        let early = released > at("/pods/p") && released < at("/jobs/j/status");
        assert!(!early, "it is noted before its finalizer is removed: {asked:?}");
        assert!(asked.iter().all(|a| !a.line.starts_with("POST")), "no other pod is made: {asked:?}");
    }
}

#[tokio::test]
async fn pods_of_an_indexed_job_have_host_names_of_their_own() {
    use crate::shared::Shared;
    use crate::workload;
    use client::{Key, testing::Scripted};
    let job = json!({"metadata": {"name": "j", "namespace": "d", "uid": "1"},
        "spec": {"parallelism": 2, "completions": 2, "completionMode": "Indexed", "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"finalizers": [TRACKING]}, "spec": {"hostname": "same", "containers": []}}}});
    let stored = job.clone();
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        line if line.contains("/jobs/j") => Some((200, stored.clone())),
        line if line.starts_with("POST") => Some((201, asked.body.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    shared.informer::<Job>().show(serde_json::from_value(job).unwrap());
    workload::look_once::<super::Jobs>(&shared, &Key::new("d", "j")).await.unwrap();
    let mut made = server.take();
    made.retain(|a| a.line == "POST /api/v1/namespaces/d/pods");
    made.sort_by_key(|a| a.body["spec"]["hostname"].to_string());
    let identities = made.iter().map(|a| (&a.body["spec"]["hostname"], &a.body["metadata"]["finalizers"]));
    let tracked = json!([TRACKING]); // once, though the template has it, too
    assert_eq!(identities.collect::<Vec<_>>(), [(&json!("j-0"), &tracked), (&json!("j-1"), &tracked)]);
}

/// A pod that the kubelet rejected, or whose node went: it is Failed and has no containers.
#[test]
fn a_failed_pod_without_containers_is_replaced_after_its_pause() {
    let job = json!({"metadata": {"name": "j", "uid": "1"}, "spec": {"parallelism": 1, "completions": 1,
        "template": {"spec": {"restartPolicy": "Never", "containers": []}}}});
    let job: Job = serde_json::from_value(job).unwrap();
    let conditions = |status: &str| json!([{"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:01:00Z"}]);
    // (its status, when its successor comes)
    let cases = [
        (json!({"phase": "Failed", "conditions": conditions("False")}), "2026-01-01T00:01:10Z"),
        (json!({"phase": "Failed"}), "2026-01-01T00:00:10Z"),
    ];
    for (status, due) in cases {
        let pod = json!({"metadata": {"name": "p", "uid": "p", "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": status});
        let pods = [Arc::new(serde_json::from_value::<Pod>(pod).unwrap())];
        let due: Timestamp = due.parse().unwrap();
        let look = |at: Timestamp| decide(&job, &pods, &Memory::default(), true, at);
        let early = look(due - std::time::Duration::from_secs(1));
        assert_eq!((early.create.len(), early.again), (0, Some(std::time::Duration::from_secs(1))));
        assert_eq!(look(due).create.len(), 1, "it is still waited for: {status}");
    }
}

/// No change of the Job follows when a quota has room again. Other owners of pods wait longer, as
/// upstream.
#[test]
fn refused_pods_are_tried_again_within_a_minute() {
    use crate::replicaset::Replicas;
    use crate::workload::PodOwner;
    use k8s_openapi::api::apps::v1::ReplicaSet;
    let longest = (super::Jobs::BACKOFF.longest, Replicas::<ReplicaSet>::BACKOFF.longest);
    assert_eq!((longest.0.as_secs(), longest.1.as_secs()), (60, 1000));
}

/// Its containers take the whole grace period to end; the successor does not wait for that.
#[test]
fn the_pause_after_a_deletion_begins_when_it_is_requested() {
    let mut w = World::new(json!({"completions": 1}));
    w.settle();
    w.delete("p1", 30);
    assert_eq!(w.settle().again.map(|again| again.as_secs()), Some(10));
    assert_eq!((w.after(4).settle().again.map(|again| again.as_secs()), w.made), (Some(6), 1));
    w.after(6).settle();
    assert_eq!((w.made, w.counts().as_str()), (2, "1/0/1"));
    assert_eq!(w.pods.len(), 2, "the first one still runs");
}

/// Its program ends at the first signal: the pod is gone long before the pause is over.
#[test]
fn the_pause_after_a_failure_outlives_the_pod() {
    let mut w = World::new(json!({"completions": 1}));
    w.settle();
    for (name, pause) in [("p1", 10), ("p2", 20)] {
        w.delete(name, 0);
        assert_eq!(w.settle().again.map(|again| again.as_secs()), Some(pause), "{name}");
        assert!(w.pods.is_empty(), "{name}");
        w.after(pause as i64).settle();
    }
    assert_eq!((w.made, w.counts().as_str()), (3, "1/0/2"));
}

/// The pod is counted and gone, and the cache still holds the Job as it was before.
#[test]
fn an_old_status_does_not_take_the_pause_away() {
    let mut w = World::new(json!({"completions": 1}));
    w.settle();
    let before = w.job.status.clone();
    w.delete("p1", 0);
    w.settle();
    w.job.status = before;
    w.job.metadata.resource_version = Some("7".into());
    w.memory.known.version = Some("7".into());
    let plan = w.look();
    assert_eq!((plan.create.len(), plan.again.map(|again| again.as_secs())), (0, Some(10)));
    w.job.metadata.resource_version = Some("9".into());
    assert_eq!(w.look().create.len(), 1, "an undo took the count back");
}

#[tokio::test]
async fn a_finished_job_of_another_manager_is_deleted_when_its_time_is_over() {
    use crate::shared::Shared;
    use crate::workload;
    use client::testing::Scripted;
    use client::{Key, Outcome};
    clock::pin("2026-01-01T00:01:00Z".parse().unwrap());
    let job = |ttl: Value, ended: &str| {
        let done = json!({"type": "Complete", "status": ended, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        json!({"metadata": {"name": "j", "namespace": "d", "uid": "1", "resourceVersion": "5"},
            "spec": {"managedBy": "example.com/q", "ttlSecondsAfterFinished": ttl, "template": {"spec": {"containers": []}}},
            "status": {"conditions": [done]}})
    };
    // (the time to live, is the job finished, is it deleted, or does it wait)
    for (ttl, ended, is_deleted, waits) in [
        (json!(60), "True", true, false),
        (json!(3600), "True", false, true),
        (json!(60), "False", false, false),
        (Value::Null, "True", false, false),
    ] {
        let stored = job(ttl, ended);
        let answer = stored.clone();
        let server =
            Scripted::new(move |asked| asked.line.contains("/jobs/j").then(|| (200, answer.clone()))).await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<Job>().show(serde_json::from_value(stored.clone()).unwrap());
        let looked = workload::look_once::<super::Jobs>(&shared, &Key::new("d", "j")).await.unwrap();
        let deletes = server.lines().iter().any(|line| line.starts_with("DELETE"));
        assert_eq!((deletes, matches!(looked, Outcome::After(_))), (is_deleted, waits), "{stored}");
    }
}
