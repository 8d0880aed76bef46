//! Workloads of which the map tells only that a pod of theirs is refused: StatefulSets, DaemonSets
//! and Jobs. The status of a ReplicaSet has a condition for that; of these only Events tell.
//!
//! ```text
//! StatefulSet db   replicas 3, status.replicas 1
//! Event 1          SuccessfulCreate  Create Pod db-0 in StatefulSet db successful
//! Event 2          FailedCreate      ... pods "db-1" is forbidden: exceeded quota: small
//! ```

use super::{Cluster, Key};
use api::value::{flag, int, list, text};
use clock::Timestamp;
use serde_json::Value;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Workload {
    /// How many pods it wants at the same time.
    pub wanted: i64,
    /// How many it has, as its controller has counted.
    pub there: i64,
    pub created: Option<Timestamp>,
}

/// Returns the kind of such a workload, by its plural.
pub(super) fn kind(resource: &str) -> Option<&'static str> {
    match resource {
        "statefulsets" => Some("StatefulSet"),
        "daemonsets" => Some("DaemonSet"),
        "jobs" => Some("Job"),
        _ => None,
    }
}

pub(super) fn workload(kind: &str, object: &Value) -> Workload {
    let count = |path: &str, default: i64| int(object, path).unwrap_or(default);
    let (wanted, there) = match kind {
        "StatefulSet" => (count("spec.replicas", 1), count("status.replicas", 0)),
        "DaemonSet" => (count("status.desiredNumberScheduled", 0), count("status.currentNumberScheduled", 0)),
        _ => (wanted_of_job(object), count("status.active", 0)),
    };
    Workload { wanted, there, created: text(object, "metadata.creationTimestamp").parse().ok() }
}

/// A Job that has ended or is suspended wants no pods; one that is nearly complete wants fewer than
/// run side by side.
fn wanted_of_job(job: &Value) -> i64 {
    let is_over = |c: &Value| {
        matches!(text(c, "type"), "Complete" | "Failed" | "SuccessCriteriaMet" | "FailureTarget")
            && text(c, "status") == "True"
    };
    if flag(job, "spec.suspend") || list(job, "status.conditions").iter().any(is_over) {
        return 0;
    }
    let parallel = int(job, "spec.parallelism").unwrap_or(1);
    let left = |all: i64| all - int(job, "status.succeeded").unwrap_or_default();
    int(job, "spec.completions").map_or(parallel, |all| left(all).clamp(0, parallel.max(0)))
}

impl Cluster {
    /// Returns why the API server refused the next pod of a workload: the message of its newest
    /// Event about a creation. `None`: it refused none, or a pod was created since.
    pub(crate) fn refused_of(&self, kind: &str, key: &Key) -> Option<&str> {
        let events = self.events_about(kind, key);
        let is_told = |reason: &str| matches!(reason, "FailedCreate" | "SuccessfulCreate");
        let newest = events.into_iter().rfind(|event| is_told(&event.reason))?;
        let is_refused = newest.reason == "FailedCreate" && newest.message.contains(" is forbidden: ");
        is_refused.then_some(newest.message.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_workload_is_read_with_the_pods_that_it_wants_and_has() {
        let counts = |kind: &str, spec: Value, status: Value| {
            let read = workload(kind, &json!({"metadata": {"name": "x"}, "spec": spec, "status": status}));
            (read.wanted, read.there)
        };
        assert_eq!(counts("StatefulSet", json!({}), json!({})), (1, 0));
        assert_eq!(counts("StatefulSet", json!({"replicas": 3}), json!({"replicas": 2})), (3, 2));
        let on_nodes = json!({"desiredNumberScheduled": 3, "currentNumberScheduled": 1});
        assert_eq!(counts("DaemonSet", json!({}), on_nodes), (3, 1));
        let five = json!({"completions": 5, "parallelism": 2});
        assert_eq!(counts("Job", five.clone(), json!({"active": 1})), (2, 1));
        assert_eq!(counts("Job", five.clone(), json!({"succeeded": 4})), (1, 0));
        assert_eq!(counts("Job", json!({"parallelism": 2}), json!({"active": 2})), (2, 2));
        assert_eq!(counts("Job", json!({"parallelism": 2, "suspend": true}), json!({})), (0, 0));
        let failed = json!({"conditions": [{"type": "Failed", "status": "True"}]});
        assert_eq!(counts("Job", five, failed), (0, 0));
    }
}
