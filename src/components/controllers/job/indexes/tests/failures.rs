//! Jobs with `backoffLimitPerIndex`: each index has its own pauses and its own count of failures.

use crate::job::names::{INDEX, INDEX_FAILURES, INDEX_IGNORED};
use crate::job::world::World;
use serde_json::json;

/// Returns an Indexed Job that replaces ended pods only; failures with exit code 42 are ignored.
fn job(completions: i32, parallelism: i32, limit: i32) -> World {
    let rule = json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}});
    World::new(json!({"completions": completions, "parallelism": parallelism, "completionMode": "Indexed",
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": limit, "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": [rule]}}))
}

/// Returns the names of the pods that keep their finalizer.
fn held(w: &World) -> Vec<&str> {
    let tracked = w.pods.iter().filter(|p| p.metadata.finalizers.is_some());
    tracked.filter_map(|p| p.metadata.name.as_deref()).collect()
}

/// `kubectl drain` waits until an evicted pod is gone.
#[test]
fn a_pod_whose_failure_is_ignored_may_go_when_its_successor_is_there() {
    let mut w = job(1, 1, 1);
    w.settle();
    w.end("p1", 42);
    w.settle();
    w.after(10).settle();
    assert_eq!(held(&w), ["p2"], "it has a successor");
}

/// Without a pause a command that always ends with an ignored code would run as often as the
/// kubelet can start it.
#[test]
fn ignored_failures_lengthen_the_pause_and_do_not_count_towards_the_limit() {
    let mut w = job(1, 1, 1);
    w.settle();
    // (exit code, the pause after it, counted failures and ignored ones of the next pod)
    let failures = [(42, 10, "0 1"), (42, 20, "0 2"), (1, 40, "1 2"), (42, 80, "1 3")];
    for (n, (code, pause, counts)) in failures.into_iter().enumerate() {
        w.end(&format!("p{}", n + 1), code);
        assert_eq!(w.settle().again.map(|again| again.as_secs()), Some(pause), "after {n}");
        w.after(pause as i64 - 1).settle();
        assert_eq!(w.running().count(), 0);
        w.after(1).settle();
        let annotations = w.pods.last().unwrap().metadata.annotations.clone().unwrap();
        let read = |key: &str| annotations.get(key).map_or("0", String::as_str).to_string();
        assert_eq!(format!("{} {}", read(INDEX_FAILURES), read(INDEX_IGNORED)), counts, "after {n}");
        assert_eq!(annotations[INDEX], "0");
    }
    w.end("p5", 1);
    w.settle();
    assert_eq!(w.conditions(), ["FailureTarget FailedIndexes", "Failed FailedIndexes"]);
}

/// A deleted pod's program ends well before the finalizer is gone.
#[test]
fn an_index_that_failed_is_not_completed_by_the_same_pod() {
    let mut w = World::new(json!({"completions": 1, "completionMode": "Indexed", "backoffLimit": i32::MAX,
        "backoffLimitPerIndex": 0}));
    w.settle();
    w.delete("p1", 30);
    w.job.status = Some(w.look().status);
    w.end("p1", 0);
    w.settle();
    let status = w.job.status.unwrap();
    assert_eq!((status.completed_indexes, status.failed_indexes.as_deref()), (None, Some("0")));
    assert_eq!((status.succeeded, status.failed), (None, Some(1)));
}

#[test]
fn a_later_index_does_not_take_the_turn_of_one_that_pauses() {
    let mut w = job(3, 1, 3);
    w.settle();
    w.end("p1", 1);
    assert_eq!(w.settle().again.map(|again| again.as_secs()), Some(10));
    assert_eq!(w.running().count(), 0, "index 0 is the first that is still to be done");
    w.after(10).settle();
    assert_eq!(w.pods.last().unwrap().metadata.annotations.as_ref().unwrap()[INDEX], "0");

    // Where two may run, the second index does not wait for the first.
    let mut w = job(3, 2, 3);
    w.settle();
    w.end("p1", 1);
    w.end("p2", 0);
    w.settle();
    assert_eq!(w.pods.last().unwrap().metadata.annotations.as_ref().unwrap()[INDEX], "2");
}
