//! Jobs with `backoffLimitPerIndex`: each index has its own pauses and its own count of failures.

use super::world::World;
use serde_json::json;

/// An Indexed Job that replaces ended pods only; failures with exit code 42 are ignored.
fn job(completions: i32, parallelism: i32, limit: i32) -> World {
    let rule = json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}});
    World::new(json!({"completions": completions, "parallelism": parallelism, "completionMode": "Indexed",
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": limit, "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": [rule]}}))
}

/// The names of the pods that keep their finalizer.
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
