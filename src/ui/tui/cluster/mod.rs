//! The live objects as the map knows them: a few fields of each, kept up to date by watches.

mod autoscaler;
mod heartbeat;
mod object;
mod past;
mod queries;
mod read;
mod unwell;
mod workload;

pub(crate) use heartbeat::HEARTBEAT_LOST;
pub(crate) use object::{
    Autoscaler, Condition, Container, ContainerState, Deployment, Endpoint, Exit, Happened, Key, Node, Pod,
    Port, Quota, ReplicaSet, Service, Slice, Stand,
};
pub(crate) use read::is_failure;

use api::value::text;
use autoscaler::autoscaler;
use client::Delta;
use object::{key, revision};
use past::{Before, Past};
use read::{deployment, happened, node, pod, quota, replicaset, service, slice};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use workload::{Workload, workload};

/// The kinds that are watched: plural, group, version, kind.
pub(crate) const WATCHED: &[(&str, &str, &str, &str)] = &[
    ("nodes", "", "v1", "Node"),
    ("pods", "", "v1", "Pod"),
    ("services", "", "v1", "Service"),
    ("endpointslices", "discovery.k8s.io", "v1", "EndpointSlice"),
    ("deployments", "apps", "v1", "Deployment"),
    ("replicasets", "apps", "v1", "ReplicaSet"),
    ("statefulsets", "apps", "v1", "StatefulSet"),
    ("daemonsets", "apps", "v1", "DaemonSet"),
    ("jobs", "batch", "v1", "Job"),
    ("horizontalpodautoscalers", "autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("namespaces", "", "v1", "Namespace"),
    ("resourcequotas", "", "v1", "ResourceQuota"),
    ("leases", "coordination.k8s.io", "v1", "Lease"),
    ("events", "", "v1", "Event"),
];

/// Events kept; the oldest goes.
const EVENTS_MAX: usize = 200;

/// Everything that came from the watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub nodes: BTreeMap<String, Node>,
    pub pods: BTreeMap<Key, Pod>,
    pub services: BTreeMap<Key, Service>,
    pub slices: BTreeMap<Key, Slice>,
    pub deployments: BTreeMap<Key, Deployment>,
    pub replicasets: BTreeMap<Key, ReplicaSet>,
    /// StatefulSets, DaemonSets and Jobs by kind and key. The log of the past has none of them.
    pub workloads: BTreeMap<(&'static str, Key), Workload>,
    pub autoscalers: BTreeMap<Key, Autoscaler>,
    /// Namespace → whether it is being deleted.
    pub namespaces: BTreeMap<String, bool>,
    pub quotas: BTreeMap<Key, Quota>,
    /// Lease → holder.
    pub leases: BTreeMap<Key, String>,
    /// Node → when the last renewal of its lease came, on the interface's own clock.
    pub heartbeats: BTreeMap<String, Duration>,
    /// Node → the revision of that renewal.
    renewed: BTreeMap<String, u64>,
    /// What that clock showed at the latest change.
    pub now: Duration,
    pub events: BTreeMap<Key, Happened>,
    /// The newest revision seen.
    pub revision: u64,
    /// The watches answer.
    pub heard: bool,
    /// What the objects were before their latest changes.
    pub past: Past,
    /// Resources of which a first list was read.
    listed: BTreeSet<String>,
}

/// Why an object is taken away.
#[derive(Clone, Copy)]
enum Gone {
    /// It was deleted, at this store revision.
    Deleted(u64),
    /// Nothing is known of it any more, from this revision on.
    Unknown(u64),
    /// It was on the cluster that another one has replaced: the log of this one has no place for
    /// it.
    Replaced,
}

impl Cluster {
    /// Another cluster answers now: revisions begin anew, and the past is not its past. Its objects
    /// come with its own lists, perhaps before this is known.
    pub(crate) fn restart(&mut self) {
        (self.revision, self.past) = (0, Past::default());
        self.listed.clear();
        self.heartbeats.clear();
        self.renewed.clear();
    }

    /// Returns the cluster as it was at a store revision, as far as the log reaches back. Leases
    /// and workloads are as they are now.
    pub(crate) fn at(&self, revision: u64) -> Cluster {
        let mut then = Cluster {
            nodes: self.nodes.clone(),
            pods: self.pods.clone(),
            services: self.services.clone(),
            slices: self.slices.clone(),
            deployments: self.deployments.clone(),
            replicasets: self.replicasets.clone(),
            workloads: self.workloads.clone(),
            autoscalers: self.autoscalers.clone(),
            namespaces: self.namespaces.clone(),
            quotas: self.quotas.clone(),
            leases: self.leases.clone(),
            events: self.events.clone(),
            revision,
            heard: self.heard,
            ..Cluster::default()
        };
        then.events.retain(|_, event| event.revision <= revision);
        for before in self.past.after(revision) {
            match before {
                Before::Node(key, value) => restore(&mut then.nodes, key, value),
                Before::Pod(key, value) => restore(&mut then.pods, key, value),
                Before::Service(key, value) => restore(&mut then.services, key, value),
                Before::Slice(key, value) => restore(&mut then.slices, key, value),
                Before::Deployment(key, value) => restore(&mut then.deployments, key, value),
                Before::ReplicaSet(key, value) => restore(&mut then.replicasets, key, value),
                Before::Autoscaler(key, value) => restore(&mut then.autoscalers, key, value),
                Before::Measured(key, value) => {
                    then.autoscalers.insert(key.clone(), value.clone());
                }
                Before::Namespace(key, value) => restore(&mut then.namespaces, key, value),
                Before::Quota(key, value) => restore(&mut then.quotas, key, value),
            }
        }
        then
    }

    /// Takes in a watch's news of a resource; true if something on the screen may look
    /// different.
    pub(crate) fn absorb(&mut self, resource: &str, delta: Delta<Value>) -> bool {
        self.heard = true;
        match delta {
            Delta::Updated(object) => self.put(resource, &object, true),
            Delta::Deleted(object) => {
                let deleted = revision(&object);
                if resource != "leases" {
                    self.revision = self.revision.max(deleted);
                }
                // 0: the watch did not tell it.
                let deleted = if deleted == 0 { self.revision } else { deleted };
                self.remove(resource, key(&object), Gone::Deleted(deleted))
            }
            Delta::Replaced(objects) => {
                // What the first list tells was there before: it is no change.
                let later = !self.listed.insert(resource.to_string());
                let there: BTreeSet<Key> = objects.iter().map(key).collect();
                let gone: Vec<Key> = self.keys(resource).into_iter().filter(|k| !there.contains(k)).collect();
                objects.iter().for_each(|object| {
                    self.put(resource, object, later);
                });
                // It left at some time since the last news of the watch.
                let why = if later { Gone::Deleted(self.revision) } else { Gone::Replaced };
                gone.into_iter().for_each(|key| {
                    self.remove(resource, key, why);
                });
                if !later {
                    self.past.begin(self.revision);
                }
                true
            }
        }
    }

    /// Forgets the objects of a resource. The next list of it tells what was there before.
    pub(crate) fn forget(&mut self, resource: &str) {
        let revision = self.revision;
        for key in self.keys(resource) {
            self.remove(resource, key, Gone::Unknown(revision));
        }
        self.listed.remove(resource);
    }

    fn keys(&self, resource: &str) -> Vec<Key> {
        if let Some(kind) = workload::kind(resource) {
            return self.workloads.keys().filter(|(of, _)| *of == kind).map(|(_, key)| key.clone()).collect();
        }
        match resource {
            "nodes" => self.nodes.keys().map(|n| (String::new(), n.clone())).collect(),
            "pods" => self.pods.keys().cloned().collect(),
            "services" => self.services.keys().cloned().collect(),
            "endpointslices" => self.slices.keys().cloned().collect(),
            "deployments" => self.deployments.keys().cloned().collect(),
            "replicasets" => self.replicasets.keys().cloned().collect(),
            "horizontalpodautoscalers" => self.autoscalers.keys().cloned().collect(),
            "namespaces" => self.namespaces.keys().map(|n| (String::new(), n.clone())).collect(),
            "resourcequotas" => self.quotas.keys().cloned().collect(),
            "leases" => self.leases.keys().cloned().collect(),
            _ => self.events.keys().cloned().collect(),
        }
    }

    /// Takes an object away; true if it was there.
    fn remove(&mut self, resource: &str, key: Key, why: Gone) -> bool {
        /// Returns the key and the value that was there.
        fn take<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K) -> Option<(K, Option<V>)> {
            map.remove(&key).map(|was| (key, Some(was)))
        }
        if let Some(kind) = workload::kind(resource) {
            return self.workloads.remove(&(kind, key)).is_some();
        }
        let before = match resource {
            "nodes" => take(&mut self.nodes, key.1).map(|(k, was)| Before::Node(k, was)),
            "pods" => take(&mut self.pods, key).map(|(k, was)| Before::Pod(k, was)),
            "services" => take(&mut self.services, key).map(|(k, was)| Before::Service(k, was)),
            "endpointslices" => take(&mut self.slices, key).map(|(k, was)| Before::Slice(k, was)),
            "deployments" => take(&mut self.deployments, key).map(|(k, was)| Before::Deployment(k, was)),
            "replicasets" => take(&mut self.replicasets, key).map(|(k, was)| Before::ReplicaSet(k, was)),
            "horizontalpodautoscalers" => {
                take(&mut self.autoscalers, key).map(|(k, was)| Before::Autoscaler(k, was))
            }
            "namespaces" => take(&mut self.namespaces, key.1).map(|(k, was)| Before::Namespace(k, was)),
            "resourcequotas" => take(&mut self.quotas, key).map(|(k, was)| Before::Quota(k, was)),
            "leases" => {
                if key.0 == "kube-node-lease" {
                    self.heartbeats.remove(&key.1);
                    self.renewed.remove(&key.1);
                }
                return self.leases.remove(&key).is_some();
            }
            _ => return self.events.remove(&key).is_some(),
        };
        let Some(before) = before else { return false };
        match why {
            Gone::Deleted(revision) => self.past.note(revision, self.now, true, before),
            Gone::Unknown(revision) => self.past.note(revision, self.now, false, before),
            Gone::Replaced => {}
        }
        true
    }

    /// Takes in an object; true if something on the screen may look different. `noted`: the value
    /// before goes into the log.
    fn put(&mut self, resource: &str, object: &Value, noted: bool) -> bool {
        let (key, revision) = (key(object), revision(object));
        let newer = revision > self.revision;
        // Heartbeats move the store on every second; the number on the screen follows what people
        // can see.
        if resource != "leases" {
            self.revision = self.revision.max(revision);
        }
        /// Returns the key and the value before, if the new one differs.
        fn place<K: Ord + Clone, V: PartialEq>(
            map: &mut BTreeMap<K, V>,
            key: K,
            value: V,
        ) -> Option<(K, Option<V>)> {
            if map.get(&key) == Some(&value) {
                return None;
            }
            let was = map.insert(key.clone(), value);
            Some((key, was))
        }
        if let Some(kind) = workload::kind(resource) {
            let value = workload(kind, object);
            return place(&mut self.workloads, (kind, key), value).is_some();
        }
        let before = match resource {
            "nodes" => place(&mut self.nodes, key.1, node(object)).map(|(k, was)| Before::Node(k, was)),
            "pods" => place(&mut self.pods, key, pod(object)).map(|(k, was)| Before::Pod(k, was)),
            "services" => {
                place(&mut self.services, key, service(object)).map(|(k, was)| Before::Service(k, was))
            }
            "endpointslices" => {
                place(&mut self.slices, key, slice(object)).map(|(k, was)| Before::Slice(k, was))
            }
            "deployments" => place(&mut self.deployments, key, deployment(object))
                .map(|(k, was)| Before::Deployment(k, was)),
            "replicasets" => place(&mut self.replicasets, key, replicaset(object))
                .map(|(k, was)| Before::ReplicaSet(k, was)),
            "horizontalpodautoscalers" => place(&mut self.autoscalers, key, autoscaler(object))
                .map(|(k, was)| self.before_of_autoscaler(k, was)),
            "namespaces" => {
                let is_leaving = text(object, "status.phase") == "Terminating";
                place(&mut self.namespaces, key.1, is_leaving).map(|(k, was)| Before::Namespace(k, was))
            }
            "resourcequotas" => {
                place(&mut self.quotas, key, quota(object)).map(|(k, was)| Before::Quota(k, was))
            }
            "leases" => {
                let was_late = key.0 == "kube-node-lease" && self.note_heartbeat(&key.1, revision);
                let holder = text(object, "spec.holderIdentity").to_string();
                return was_late | place(&mut self.leases, key, holder).is_some();
            }
            "events" => return self.put_event(key, happened(object)) || newer,
            _ => None,
        };
        let changed = before.is_some();
        if let Some(before) = before.filter(|_| noted) {
            self.past.note(revision, self.now, false, before);
        }
        changed
    }

    /// An autoscaler before the change that was just taken in.
    fn before_of_autoscaler(&self, key: Key, was: Option<Autoscaler>) -> Before {
        match (was, self.autoscalers.get(&key)) {
            (Some(was), Some(now)) if now.only_measured(&was) => Before::Measured(key, was),
            (was, _) => Before::Autoscaler(key, was),
        }
    }

    /// Takes in an Event; true if it is new or differs. Where there are too many, the oldest goes.
    fn put_event(&mut self, key: Key, event: Happened) -> bool {
        if self.events.get(&key) == Some(&event) {
            return false;
        }
        if self.events.len() >= EVENTS_MAX
            && !self.events.contains_key(&key)
            && let Some(oldest) = self.events.iter().min_by_key(|(_, e)| e.revision).map(|(k, _)| k.clone())
        {
            self.events.remove(&oldest);
        }
        self.events.insert(key, event);
        true
    }
}

/// Takes a change back: gives a key its value before.
fn restore<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, value: &Option<V>) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}

#[cfg(test)]
mod tests;
