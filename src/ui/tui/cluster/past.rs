//! The recent past of the map's objects: an undo log over [`super::Cluster`], so that a replayed
//! command is drawn over what was there then.
//!
//! Example: a Deployment is scaled from 10 to 3 at revision 50, and the seventh pod is gone at
//! revision 90. The log holds each change with the value before it. To draw revision 60, the
//! changes with a revision above 60 are taken back, newest first: the pods that were still being
//! deleted then are in the picture again, as they were.

use super::object::{Deployment, Key, Node, Pod, ReplicaSet, Service, Slice};
use std::collections::{BTreeSet, VecDeque};

/// Changes kept, of all objects together; the oldest goes. A picture of a time before the oldest
/// change shows the state before that change.
const CHANGES_MAX: usize = 4_000;

/// An object's value before a change; `None`: it did not exist.
#[derive(Clone, Debug)]
pub(super) enum Before {
    Node(String, Option<Node>),
    Pod(Key, Option<Pod>),
    Service(Key, Option<Service>),
    Slice(Key, Option<Slice>),
    Deployment(Key, Option<Deployment>),
    ReplicaSet(Key, Option<ReplicaSet>),
}

/// The log, oldest change first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    changes: VecDeque<(u64, Before)>,
}

impl Past {
    /// Notes a change that was made at this store revision.
    pub(super) fn note(&mut self, revision: u64, before: Before) {
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back((revision, before));
    }

    /// What was before the changes that were made after this store revision, newest change first.
    pub(super) fn after(&self, revision: u64) -> impl Iterator<Item = &Before> {
        self.changes.iter().rev().filter(move |(at, _)| *at > revision).map(|(_, before)| before)
    }

    /// The pods whose changes are in the log: of the others only the present is known.
    pub(crate) fn pods(&self) -> BTreeSet<&Key> {
        let pods = self.changes.iter().filter_map(|(_, before)| match before {
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
        // What the first list told was there before anybody looked.
        assert_eq!(stands(&cluster.at(0)), stands(&cluster.at(19)));
        // A list that is read again tells what left in between.
        let objects = vec![pod("c", 30, false)];
        cluster.absorb("pods", Delta::Replaced(objects));
        assert_eq!(stands(&cluster), [("c", Stand::Ready)]);
        assert_eq!(stands(&cluster.at(29)), [("a", Stand::Ready)]);
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
        assert_eq!(cluster.at(1).pods.len(), 1, "before the oldest change, the oldest known state");
    }
}
