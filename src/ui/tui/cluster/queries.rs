//! What the views ask of the map's objects: who leads, the learner's objects in their order, and
//! which objects belong together.

use super::{
    Autoscaler, Cluster, Deployment, Endpoint, Happened, Key, Pod, ReplicaSet, Service, Slice, Stand,
};
use std::collections::BTreeSet;

impl Cluster {
    /// Who leads: the holder of a component's Lease, without its random part.
    pub(crate) fn leader(&self, component: &str) -> Option<&str> {
        let holder = self.leases.get(&("kube-system".to_string(), component.to_string()))?;
        Some(holder.split('_').next().unwrap_or(holder)).filter(|h| !h.is_empty())
    }

    /// Returns the pods that views about one pod turn over: the newest first, the learner's own
    /// before the cluster's.
    pub(crate) fn pods_by_age(&self) -> Vec<&Pod> {
        let mut pods: Vec<_> = self.pods.values().filter(|p| !p.system()).collect();
        if pods.is_empty() {
            pods = self.pods.values().collect();
        }
        pods.sort_by_key(|p| std::cmp::Reverse(p.revision));
        pods
    }

    /// Returns the learner's Services, the newest first, and behind them the cluster's own. Without
    /// one of the learner's there is nothing to show: a learner who has just deleted theirs would
    /// take another's for it.
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

    /// Returns the learner's HorizontalPodAutoscalers, the newest first.
    pub(crate) fn autoscalers_by_age(&self) -> Vec<&Autoscaler> {
        let mut found: Vec<_> = self.autoscalers.values().filter(|a| a.namespace != "kube-system").collect();
        found.sort_by_key(|a| std::cmp::Reverse(a.revision));
        found
    }

    /// Returns the HorizontalPodAutoscaler that scales a Deployment, the newest of several.
    pub(crate) fn autoscaler_of(&self, deployment: &Key) -> Option<&Autoscaler> {
        self.autoscalers_by_age().into_iter().find(|a| a.scales(deployment))
    }

    /// Returns the namespaces beside the cluster's own, each with whether it is being deleted.
    pub(crate) fn own_namespaces(&self) -> Vec<(&str, bool)> {
        let all = self.namespaces.iter().map(|(name, is_leaving)| (name.as_str(), *is_leaving));
        all.filter(|(name, _)| !is_of_the_cluster(name)).collect()
    }

    /// Returns the namespaces of the objects on the map, without the cluster's own.
    pub(crate) fn used_namespaces(&self) -> BTreeSet<&str> {
        let services = self.services.keys().filter(|key| key.1 != "kubernetes");
        let keys = self.pods.keys().chain(self.deployments.keys()).chain(self.autoscalers.keys());
        let all = keys.chain(services).map(|key| key.0.as_str());
        all.filter(|namespace| !is_of_the_cluster(namespace)).collect()
    }

    /// True if the learner's objects lie in more than one namespace: each is named with its own.
    pub(crate) fn is_spread(&self) -> bool {
        self.used_namespaces().len() > 1
    }

    /// Returns the name of an object, with its namespace where that is not the same for all:
    /// `staging/web`.
    pub(crate) fn label(&self, namespace: &str, name: &str) -> String {
        if self.is_spread() { format!("{namespace}/{name}") } else { name.to_string() }
    }

    /// Returns whether the component runs, as its pod tells. `None`: there is no such pod.
    pub(crate) fn component(&self, name: &str) -> Option<bool> {
        let mut pods = self.pods.values().filter(|p| p.is_component(name)).peekable();
        pods.peek()?;
        Some(pods.any(|p| p.stand == Stand::Ready))
    }

    /// Returns the members of the store, by node.
    pub(crate) fn members(&self) -> Vec<&Pod> {
        self.pods.values().filter(|p| p.is_component("etcd-")).collect()
    }

    /// Returns the endpoints behind a Service.
    pub(crate) fn endpoints(&self, service: &Key) -> Vec<&Endpoint> {
        let of = |(key, slice): &(&Key, &Slice)| key.0 == service.0 && slice.service == service.1;
        self.slices.iter().filter(of).flat_map(|(_, s)| &s.endpoints).collect()
    }

    /// Returns the ReplicaSets of a Deployment, by the number of their revision.
    pub(crate) fn replicasets_of(&self, deployment: &Key) -> Vec<&ReplicaSet> {
        let mut found: Vec<&ReplicaSet> = self
            .replicasets
            .values()
            .filter(|r| r.namespace == deployment.0 && r.owner == deployment.1)
            .collect();
        found.sort_by_key(|r| r.number);
        found
    }

    /// Returns events about a pod, oldest first.
    pub(crate) fn events_of(&self, pod: &Pod) -> Vec<&Happened> {
        let mut found = self.events_about("Pod", &(pod.namespace.clone(), pod.name.clone()));
        found.retain(|event| pod.has_event(event));
        found
    }

    /// Returns events about all objects that have had this name, oldest first.
    pub(crate) fn events_about<'a>(&'a self, kind: &str, about: &Key) -> Vec<&'a Happened> {
        let mut found: Vec<&Happened> =
            self.events.values().filter(|e| e.kind == kind && e.about == *about).collect();
        found.sort_by_key(|e| e.revision);
        found
    }
}

/// True for a namespace of Kubernetes' own, by its name.
fn is_of_the_cluster(namespace: &str) -> bool {
    namespace.starts_with("kube-")
}
