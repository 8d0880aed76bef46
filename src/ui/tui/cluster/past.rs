//! The recent past of the map's objects: an undo log over [`super::Cluster`], so that a replayed
//! command is drawn over what was there then.
//!
//! Example: a Deployment is scaled from 10 to 3 at revision 50, and the seventh pod is gone at
//! revision 90. The log holds each change with the value before it. To draw revision 60, the
//! changes with a revision above 60 are taken back, newest first: the pods that were still being
//! deleted then are in the picture again, as they were.

use super::object::{Autoscaler, Deployment, Key, Node, Pod, Quota, ReplicaSet, Service, Slice};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Changes kept, of all objects together; the oldest goes. A picture of a time before the oldest
/// change shows the state before that change.
const CHANGES_MAX: usize = 4_000;
/// Measurements of autoscalers kept among them. One autoscaler measures every 15 s, which alone
/// would fill the log within 17 hours, and ten within two.
const MEASURED_MAX: usize = CHANGES_MAX / 10;

/// An object's value before a change; `None`: it did not exist.
#[derive(Clone, Debug)]
pub(super) enum Before {
    Node(String, Option<Node>),
    Pod(Key, Option<Pod>),
    Service(Key, Option<Service>),
    Slice(Key, Option<Slice>),
    Deployment(Key, Option<Deployment>),
    ReplicaSet(Key, Option<ReplicaSet>),
    Autoscaler(Key, Option<Autoscaler>),
    /// An autoscaler before a change of nothing but its measured values.
    Measured(Key, Autoscaler),
    /// Whether a namespace was being deleted.
    Namespace(String, Option<bool>),
    Quota(Key, Option<Quota>),
}

/// A change of an object.
#[derive(Clone, Debug)]
struct Noted {
    /// The store revision that it made.
    revision: u64,
    /// When it came from the watch, on the interface's own clock.
    at: Duration,
    /// The object was deleted.
    ended: bool,
    before: Before,
}

impl Noted {
    fn is_measurement(&self) -> bool {
        matches!(self.before, Before::Measured(..))
    }
}

/// A pod that was deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended<'a> {
    pub pod: &'a Pod,
    /// The revision of its deletion.
    pub revision: u64,
    /// When it came from the watch, on the interface's own clock.
    pub at: Duration,
}

/// The log, oldest change first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    changes: VecDeque<Noted>,
    /// The oldest revision that the log reaches back to: of a time before it only the state at this
    /// revision is known.
    from: u64,
}

impl Past {
    /// Notes a change that was made at this store revision and came at this time. `ended`: the
    /// object was deleted.
    pub(super) fn note(&mut self, revision: u64, at: Duration, ended: bool, before: Before) {
        if matches!(before, Before::Measured(..)) {
            self.merge_measurements();
        }
        if self.changes.len() == CHANGES_MAX
            && let Some(oldest) = self.changes.pop_front()
        {
            self.from = self.from.max(oldest.revision);
        }
        self.changes.push_back(Noted { revision, at, ended, before });
    }

    /// Makes room for one more measurement. The oldest goes, which merges it with the next one: the
    /// picture of a time before both shows the value that the next one replaced.
    fn merge_measurements(&mut self) {
        let kept = self.changes.iter().filter(|change| change.is_measurement()).count();
        if kept >= MEASURED_MAX
            && let Some(oldest) = self.changes.iter().position(Noted::is_measurement)
        {
            self.changes.remove(oldest);
        }
    }

    /// A resource was listed for the first time at this revision: nothing is known of it before.
    pub(super) fn begin(&mut self, revision: u64) {
        self.from = self.from.max(revision);
    }

    /// True if the log tells how the objects were at this revision.
    pub(crate) fn reaches(&self, revision: u64) -> bool {
        revision >= self.from
    }

    /// Returns the newest revision that was known at this time of the interface's own clock.
    pub(crate) fn revision_at(&self, at: Duration) -> u64 {
        let told = self.changes.iter().filter(|change| change.at <= at).map(|change| change.revision);
        told.max().unwrap_or(self.from)
    }

    /// Returns the pods that were deleted after the revision `since` and did not exist at the
    /// revision `until`, the newest first.
    pub(crate) fn ended(&self, since: u64, until: u64) -> Vec<Ended<'_>> {
        let (mut seen, mut ended) = (BTreeSet::new(), Vec::new());
        for change in self.changes.iter().rev().filter(|change| change.revision <= until) {
            // The newest change of a pod tells whether it is still there.
            if let Before::Pod(key, was) = &change.before
                && seen.insert(key)
                && change.ended
                && change.revision > since
                && let Some(pod) = was
            {
                ended.push(Ended { pod, revision: change.revision, at: change.at });
            }
        }
        ended
    }

    /// Returns what was before the changes that were made after this store revision, newest change
    /// first.
    pub(super) fn after(&self, revision: u64) -> impl Iterator<Item = &Before> {
        let after = move |change: &&Noted| change.revision > revision;
        self.changes.iter().rev().filter(after).map(|change| &change.before)
    }

    /// Returns the pods whose changes are in the log: of the others only the present is known.
    pub(crate) fn pods(&self) -> BTreeSet<&Key> {
        let pods = self.changes.iter().filter_map(|change| match &change.before {
            Before::Pod(key, _) => Some(key),
            _ => None,
        });
        pods.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cluster, Stand};
    use super::*;
    use client::Delta;
    use serde_json::{Value, json};

    fn pod(name: &str, revision: u64, deleting: bool) -> Value {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "default", "resourceVersion": revision.to_string()},
            "spec": {"nodeName": "w", "containers": [{"name": "c", "image": "nginx"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]},
        });
        if deleting {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        pod
    }
    fn put(cluster: &mut Cluster, object: Value) {
        cluster.absorb("pods", Delta::Updated(object));
    }
    fn gone(cluster: &mut Cluster, name: &str, revision: u64) {
        cluster.absorb("pods", Delta::Deleted(pod(name, revision, true)));
    }
    fn stands(cluster: &Cluster) -> Vec<(&str, Stand)> {
        cluster.pods.values().map(|p| (p.name.as_str(), p.stand)).collect()
    }

    #[test]
    fn what_left_is_there_until_the_moment_it_left() {
        let mut cluster = Cluster::default();
        let objects = vec![pod("a", 10, false), pod("b", 11, false)];
        cluster.absorb("pods", Delta::Replaced(objects));
        put(&mut cluster, pod("b", 20, true));
        gone(&mut cluster, "b", 25);
        put(&mut cluster, pod("c", 30, false));
        assert_eq!(stands(&cluster), [("a", Stand::Ready), ("c", Stand::Ready)]);
        assert_eq!(stands(&cluster.at(19)), [("a", Stand::Ready), ("b", Stand::Ready)]);
        assert_eq!(stands(&cluster.at(20)), [("a", Stand::Ready), ("b", Stand::Leaving)]);
        assert_eq!(stands(&cluster.at(24)), [("a", Stand::Ready), ("b", Stand::Leaving)]);
        assert_eq!(stands(&cluster.at(25)), [("a", Stand::Ready)]);
        assert_eq!(stands(&cluster.at(30)), stands(&cluster));
        // What the first list holds was there before the interface.
        assert_eq!(stands(&cluster.at(0)), stands(&cluster.at(19)));
        // A list that is read again tells what left in between.
        let objects = vec![pod("c", 30, false)];
        cluster.absorb("pods", Delta::Replaced(objects));
        assert_eq!(stands(&cluster), [("c", Stand::Ready)]);
        assert_eq!(stands(&cluster.at(29)), [("a", Stand::Ready)]);
    }

    #[test]
    fn a_deleted_pod_is_told_with_its_last_state_until_it_exists_again() {
        let mut cluster = Cluster::default();
        let objects = vec![pod("a", 10, false), pod("b", 11, false)];
        cluster.absorb("pods", Delta::Replaced(objects));
        put(&mut cluster, pod("b", 20, true));
        cluster.now = Duration::from_secs(7);
        gone(&mut cluster, "b", 25);
        let ended = |cluster: &Cluster, since: u64, until: u64| -> Vec<(String, Stand, u64, u64)> {
            let ended = cluster.past.ended(since, until).into_iter();
            ended.map(|e| (e.pod.name.clone(), e.pod.stand, e.revision, e.at.as_secs())).collect()
        };
        let b = || ("b".to_string(), Stand::Leaving, 25, 7);
        assert_eq!(ended(&cluster, 19, 24), []);
        assert_eq!(ended(&cluster, 19, 25), [b()]);
        assert_eq!(ended(&cluster, 25, 99), [], "it was gone before");
        put(&mut cluster, pod("b", 30, false));
        assert_eq!(ended(&cluster, 19, 29), [b()]);
        assert_eq!(ended(&cluster, 19, 30), [], "it exists again");
        // A resource that may not be listed any more is unknown, not deleted.
        cluster.forget("pods");
        assert_eq!(ended(&cluster, 0, 99), []);
    }

    #[test]
    fn the_log_knows_how_far_it_reaches_back() {
        let mut cluster = Cluster::default();
        cluster.absorb("pods", Delta::Replaced(vec![pod("a", 10, false)]));
        assert!(cluster.past.reaches(10) && !cluster.past.reaches(9));
        cluster.now = Duration::from_secs(5);
        put(&mut cluster, pod("a", 20, true));
        let at = |seconds: u64| cluster.past.revision_at(Duration::from_secs(seconds));
        assert_eq!([at(4), at(5), at(6)], [10, 20, 20]);
    }

    /// An autoscaler that has measured this much, and wants so many pods.
    fn scaler(used: u64, desired: u64, revision: u64) -> Value {
        let target = json!({"type": "Utilization", "averageUtilization": 50});
        json!({"metadata": {"name": "web", "namespace": "default", "resourceVersion": revision.to_string()},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]},
            "status": {"currentReplicas": 1, "desiredReplicas": desired, "currentMetrics":
                [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": used}}}]}})
    }

    #[test]
    fn measurements_push_nothing_else_out() {
        let mut cluster = Cluster::default();
        let measure = |cluster: &mut Cluster, used: u64, desired: u64, revision: u64| {
            let object = scaler(used, desired, revision);
            cluster.absorb("horizontalpodautoscalers", Delta::Updated(object));
        };
        cluster.absorb("pods", Delta::Replaced(vec![pod("a", 10, false)]));
        cluster.absorb("horizontalpodautoscalers", Delta::Replaced(vec![scaler(0, 1, 11)]));
        put(&mut cluster, pod("a", 20, true));
        measure(&mut cluster, 90, 2, 30);
        let all = 2 * CHANGES_MAX as u64;
        for n in 0..all {
            measure(&mut cluster, n % 50, 2, 100 + n);
        }
        assert_eq!(cluster.past.changes.len(), 2 + MEASURED_MAX);
        assert!(cluster.past.reaches(11), "nothing was pushed out");
        assert_eq!(stands(&cluster.at(19)), [("a", Stand::Ready)]);
        let then = |revision: u64| {
            let then = cluster.at(revision);
            then.autoscalers.values().map(|it| (it.desired, it.metrics.clone())).collect::<Vec<_>>()
        };
        assert_eq!(then(29), [(1_i64, "cpu: 0%/50%".to_string())], "what it wanted is kept");
        let newest = all - 1;
        let told = |n: u64| [(2_i64, format!("cpu: {}%/50%", n % 50))];
        assert_eq!(then(100 + newest), told(newest));
        let kept = MEASURED_MAX as u64;
        assert_eq!(then(100 + newest - kept), told(newest - kept), "as long as it is kept");
        assert_eq!(then(100), told(newest - kept), "before, the oldest that is known");
    }

    #[test]
    fn a_changed_target_is_no_measurement() {
        let mut cluster = Cluster::default();
        cluster.absorb("horizontalpodautoscalers", Delta::Replaced(vec![scaler(0, 1, 10)]));
        let mut changed = scaler(0, 1, 11);
        changed["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] = json!(80);
        cluster.absorb("horizontalpodautoscalers", Delta::Updated(changed.clone()));
        assert!(!cluster.past.changes[0].is_measurement());
        changed["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"] = json!(7);
        cluster.absorb("horizontalpodautoscalers", Delta::Updated(changed));
        assert!(cluster.past.changes[1].is_measurement());
    }

    #[test]
    fn namespaces_and_quotas_have_a_past() {
        let mut cluster = Cluster::default();
        let namespace = |phase: &str, revision: &str| {
            json!({"metadata": {"name": "staging",
            "resourceVersion": revision}, "status": {"phase": phase}})
        };
        let quota = |used: &str, revision: &str| {
            json!({"metadata": {"name": "small",
            "namespace": "staging", "resourceVersion": revision},
            "status": {"hard": {"pods": "2"}, "used": {"pods": used}}})
        };
        cluster.absorb("namespaces", Delta::Replaced(vec![]));
        cluster.absorb("resourcequotas", Delta::Replaced(vec![]));
        cluster.absorb("namespaces", Delta::Updated(namespace("Active", "10")));
        cluster.absorb("resourcequotas", Delta::Updated(quota("1", "11")));
        cluster.absorb("resourcequotas", Delta::Updated(quota("2", "12")));
        cluster.absorb("namespaces", Delta::Updated(namespace("Terminating", "20")));
        cluster.absorb("resourcequotas", Delta::Deleted(quota("2", "21")));
        cluster.absorb("namespaces", Delta::Deleted(namespace("Terminating", "22")));
        let then = |revision: u64| {
            let then = cluster.at(revision);
            let told = then.quotas.values().map(|quota| quota.usage()).collect::<Vec<_>>().join(" ");
            (then.namespaces.get("staging").copied(), told)
        };
        assert_eq!(then(9), (None, String::new()));
        assert_eq!(then(11), (Some(false), "pods: 1/2".to_string()));
        assert_eq!(then(19), (Some(false), "pods: 2/2".to_string()));
        assert_eq!(then(21), (Some(true), String::new()));
        assert_eq!(then(22), (None, String::new()));
    }

    #[test]
    fn the_log_is_bounded() {
        let mut cluster = Cluster::default();
        cluster.absorb("pods", Delta::Replaced(vec![]));
        for n in 0..2 * CHANGES_MAX as u64 {
            put(&mut cluster, pod("a", n + 1, false));
        }
        assert_eq!(cluster.past.changes.len(), CHANGES_MAX);
        assert_eq!(cluster.past.pods().len(), 1);
        assert!(cluster.past.reaches(CHANGES_MAX as u64) && !cluster.past.reaches(CHANGES_MAX as u64 - 1));
        assert_eq!(cluster.at(1).pods.len(), 1, "before the oldest change, the oldest known state");
    }
}
