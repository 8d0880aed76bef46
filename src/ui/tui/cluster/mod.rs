//! The live objects as the map knows them: a few fields of each, kept up to date by watches.

mod autoscaler;
mod object;
mod past;
mod read;
mod unwell;
mod workload;

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

/// The kubelet renews the lease of its node every 10 s. One that was not renewed for this long is
/// late.
const HEARTBEAT_LATE: Duration = Duration::from_secs(15);
/// A lease that was not renewed for this long makes its node NotReady. Upstream:
/// `--node-monitor-grace-period` of kube-controller-manager.
pub(crate) const HEARTBEAT_LOST: Duration = Duration::from_secs(50);

/// Events kept; the oldest goes.
const EVENTS_MAX: usize = 200;

/// Everything the watches have told.
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
    /// Node → when the watch told last that its lease was renewed, on the interface's own clock.
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
    /// come with its own lists, perhaps before this is told.
    pub(crate) fn restart(&mut self) {
        (self.revision, self.past) = (0, Past::default());
        self.listed.clear();
        self.heartbeats.clear();
        self.renewed.clear();
    }

    /// The cluster as it was at a store revision, as far as the log reaches back. Leases and
    /// workloads are as they are now.
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

    /// Takes in what a watch told of a resource; true if something on the screen may look
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
        /// The key and the value that was there.
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
        /// The key and the value before, if the new one differs.
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

    /// Notes that a node's lease was renewed, at this store revision; true if it was late. A list
    /// that is read again after a watch broke off may name a lease that was not renewed since.
    fn note_heartbeat(&mut self, node: &str, revision: u64) -> bool {
        if self.renewed.insert(node.to_string(), revision) == Some(revision) {
            return false;
        }
        let was_late = self.late(node, self.now).is_some();
        self.heartbeats.insert(node.to_string(), self.now);
        was_late
    }

    /// For how long the lease of a node was not renewed, if it is late.
    pub(crate) fn late(&self, node: &str, now: Duration) -> Option<Duration> {
        let age = now.saturating_sub(*self.heartbeats.get(node)?);
        (age >= HEARTBEAT_LATE).then_some(age)
    }

    /// When the screen shows another age of a lease. `None`: no node has one. The lease of a node
    /// that was deleted is not on the screen.
    pub(crate) fn heartbeat_due(&self, now: Duration) -> Option<Duration> {
        let shown = self.heartbeats.iter().filter(|(node, _)| self.nodes.contains_key(*node));
        let oldest = shown.map(|(_, at)| *at).min()?;
        let whole = Duration::from_secs(now.saturating_sub(oldest).as_secs());
        Some(oldest + (whole + Duration::from_secs(1)).max(HEARTBEAT_LATE))
    }

    /// Who leads: the holder of a component's Lease, without its random part.
    pub(crate) fn leader(&self, component: &str) -> Option<&str> {
        let holder = self.leases.get(&("kube-system".to_string(), component.to_string()))?;
        Some(holder.split('_').next().unwrap_or(holder)).filter(|h| !h.is_empty())
    }

    /// The pods that views about one pod turn over: the newest first, the learner's own before the
    /// cluster's.
    pub(crate) fn pods_by_age(&self) -> Vec<&Pod> {
        let mut pods: Vec<_> = self.pods.values().filter(|p| !p.system()).collect();
        if pods.is_empty() {
            pods = self.pods.values().collect();
        }
        pods.sort_by_key(|p| std::cmp::Reverse(p.revision));
        pods
    }

    /// The learner's Services, the newest first, and behind them the cluster's own. Without one of
    /// the learner's there is nothing to show: a learner who has just deleted theirs would take
    /// another's for it.
    pub(crate) fn services_by_age(&self) -> Vec<(&Key, &Service)> {
        let own = |k: &Key, s: &Service| k.0 != "kube-system" && s.name != "kubernetes";
        let mut found: Vec<_> = self.services.iter().collect();
        if !found.iter().any(|(k, s)| own(k, s)) {
            return vec![];
        }
        found.sort_by_key(|(k, s)| (!own(k, s), std::cmp::Reverse(s.revision)));
        found
    }

    /// Deployments in the same order, by the same rule.
    pub(crate) fn deployments_by_age(&self) -> Vec<(&Key, &Deployment)> {
        let mut found: Vec<_> = self.deployments.iter().collect();
        if found.iter().all(|(k, _)| k.0 == "kube-system") {
            return vec![];
        }
        found.sort_by_key(|(k, d)| (k.0 == "kube-system", std::cmp::Reverse(d.revision)));
        found
    }

    /// The learner's HorizontalPodAutoscalers, the newest first.
    pub(crate) fn autoscalers_by_age(&self) -> Vec<&Autoscaler> {
        let mut found: Vec<_> = self.autoscalers.values().filter(|a| a.namespace != "kube-system").collect();
        found.sort_by_key(|a| std::cmp::Reverse(a.revision));
        found
    }

    /// The HorizontalPodAutoscaler that scales a Deployment, the newest of several.
    pub(crate) fn autoscaler_of(&self, deployment: &Key) -> Option<&Autoscaler> {
        self.autoscalers_by_age().into_iter().find(|a| a.scales(deployment))
    }

    /// The namespaces beside the cluster's own, each with whether it is being deleted.
    pub(crate) fn own_namespaces(&self) -> Vec<(&str, bool)> {
        let all = self.namespaces.iter().map(|(name, is_leaving)| (name.as_str(), *is_leaving));
        all.filter(|(name, _)| !is_of_the_cluster(name)).collect()
    }

    /// The namespaces of the objects on the map, without the cluster's own.
    pub(crate) fn used_namespaces(&self) -> BTreeSet<&str> {
        let services = self.services.keys().filter(|key| key.1 != "kubernetes");
        let keys = self.pods.keys().chain(self.deployments.keys()).chain(self.autoscalers.keys());
        let all = keys.chain(services).map(|key| key.0.as_str());
        all.filter(|namespace| !is_of_the_cluster(namespace)).collect()
    }

    /// Do the learner's objects lie in more than one namespace? Then each is named with its own.
    pub(crate) fn is_spread(&self) -> bool {
        self.used_namespaces().len() > 1
    }

    /// The name of an object, with its namespace where that is not the same for all: `staging/web`.
    pub(crate) fn label(&self, namespace: &str, name: &str) -> String {
        if self.is_spread() { format!("{namespace}/{name}") } else { name.to_string() }
    }

    /// Does the component run, as its pod tells? `None`: there is no such pod.
    pub(crate) fn component(&self, name: &str) -> Option<bool> {
        let mut pods = self.pods.values().filter(|p| p.is_component(name)).peekable();
        pods.peek()?;
        Some(pods.any(|p| p.stand == Stand::Ready))
    }

    /// The members of the store, by node.
    pub(crate) fn members(&self) -> Vec<&Pod> {
        self.pods.values().filter(|p| p.is_component("etcd-")).collect()
    }

    /// Addresses behind a service.
    pub(crate) fn endpoints(&self, service: &Key) -> Vec<&Endpoint> {
        let of = |(key, slice): &(&Key, &Slice)| key.0 == service.0 && slice.service == service.1;
        self.slices.iter().filter(of).flat_map(|(_, s)| &s.endpoints).collect()
    }

    /// The ReplicaSets of a Deployment, by the number of their revision.
    pub(crate) fn replicasets_of(&self, deployment: &Key) -> Vec<&ReplicaSet> {
        let mut found: Vec<&ReplicaSet> = self
            .replicasets
            .values()
            .filter(|r| r.namespace == deployment.0 && r.owner == deployment.1)
            .collect();
        found.sort_by_key(|r| r.number);
        found
    }

    /// Events about a pod, oldest first.
    pub(crate) fn events_of(&self, pod: &Pod) -> Vec<&Happened> {
        let mut found = self.events_about("Pod", &(pod.namespace.clone(), pod.name.clone()));
        found.retain(|event| pod.has_event(event));
        found
    }

    /// Events about all objects that have had this name, oldest first.
    pub(crate) fn events_about<'a>(&'a self, kind: &str, about: &Key) -> Vec<&'a Happened> {
        let mut found: Vec<&Happened> =
            self.events.values().filter(|e| e.kind == kind && e.about == *about).collect();
        found.sort_by_key(|e| e.revision);
        found
    }
}

/// Namespaces whose names begin like this are Kubernetes' own.
fn is_of_the_cluster(namespace: &str) -> bool {
    namespace.starts_with("kube-")
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
