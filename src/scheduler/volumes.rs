//! Volume binding: where a pod's volumes allow it to run, and which volumes its unbound claims take there.
//!
//! A claim that waits for its first consumer has no volume yet. A pod with one may go to a node where a free volume fits, or
//! where the class' provisioner can make one; which it is, is decided together with the node. Upstream: plug-in VolumeBinding.

use super::decide::NodeInfo;
use super::queue::Scheduler;
use crate::api::volumes::{NO_PROVISIONER, fits, is_reachable, preference};
use crate::client::Key;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use std::sync::Arc;

/// A claim that waits for a decision.
#[derive(Clone, Debug)]
pub struct Open {
    pub key: Key,
    pub claim: Arc<PersistentVolumeClaim>,
    /// Its class can make a volume on any node.
    pub provisioned: bool,
}

/// How an open claim gets its volume.
#[derive(Clone, Debug)]
pub enum Choice {
    /// It takes this one, which is there.
    Reserve(Arc<PersistentVolume>),
    /// The provisioner makes one on the node.
    Provision,
}

/// The volumes of one pod.
#[derive(Clone, Debug, Default)]
pub struct Volumes {
    /// Of its bound claims.
    pub bound: Vec<Arc<PersistentVolume>>,
    pub open: Vec<Open>,
    /// Volumes that open claims may take.
    pub free: Vec<Arc<PersistentVolume>>,
}

impl Volumes {
    /// Why the pod cannot run on the node, in upstream's words; `None`: it can.
    pub fn refusal(&self, node: &NodeInfo) -> Option<&'static str> {
        if !self.bound.iter().all(|v| is_reachable(v, &node.name, &node.labels)) {
            return Some("node(s) didn't match PersistentVolume's node affinity");
        }
        let none = "node(s) didn't find available persistent volumes to bind";
        self.choose(node).is_none().then_some(none)
    }

    /// A volume for every open claim on this node; `None` if one of them gets none. Each takes the smallest that fits and
    /// that no other takes: with volumes of 1Gi and 5Gi, claims of 1Gi and 2Gi take one each, whatever their order.
    pub fn choose(&self, node: &NodeInfo) -> Option<Vec<(Open, Choice)>> {
        let mut free: Vec<&Arc<PersistentVolume>> =
            self.free.iter().filter(|v| is_reachable(v, &node.name, &node.labels)).collect();
        free.sort_by_key(|v| preference(v));
        let mut open: Vec<&Open> = self.open.iter().collect();
        open.sort_by_key(|o| free.iter().filter(|v| fits(v, &o.claim)).count());
        let mut chosen = Vec::with_capacity(open.len());
        for claim in open {
            let choice = match free.iter().position(|v| fits(v, &claim.claim)) {
                Some(at) => Choice::Reserve(free.remove(at).clone()),
                None if claim.provisioned => Choice::Provision,
                None => return None,
            };
            chosen.push((claim.clone(), choice));
        }
        Some(chosen)
    }
}

impl Scheduler {
    /// The pod's volumes, or why they keep it from every node.
    pub(super) fn volumes_of(&self, pod: &Pod) -> Result<Volumes, String> {
        let mut volumes = Volumes::default();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            let Some(source) = &volume.persistent_volume_claim else { continue };
            let key = Key::new(namespace.clone(), source.claim_name.clone());
            if volumes.open.iter().any(|open| open.key == key) {
                continue; // mounted twice
            }
            let claim = self.claims.get(&key);
            let claim =
                claim.ok_or_else(|| format!("persistentvolumeclaim {:?} not found", source.claim_name))?;
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(format!("persistentvolumeclaim {:?} is being deleted", source.claim_name));
            }
            let spec = claim.spec.clone().unwrap_or_default();
            if let Some(name) = spec.volume_name.filter(|n| !n.is_empty()) {
                // Its cache may be behind that of the claims, and a volume says on which nodes it is.
                let volume = self.volumes.get(&Key::new("", name)).ok_or_else(|| {
                    let nodes = self.nodes.list().len();
                    format!(
                        "{nodes} node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
                    )
                })?;
                volumes.bound.push(volume);
                continue;
            }
            let class = self.classes.get(&Key::new("", spec.storage_class_name.unwrap_or_default()));
            let late = |mode: &Option<String>| mode.as_deref() == Some("WaitForFirstConsumer");
            let Some(class) = class.filter(|c| late(&c.volume_binding_mode)) else {
                return Err("pod has unbound immediate PersistentVolumeClaims".into());
            };
            let provisioned = class.provisioner != NO_PROVISIONER;
            volumes.open.push(Open { key, claim, provisioned });
        }
        if !volumes.open.is_empty() {
            volumes.free = self.volumes.list();
            let reserved = Self::lock(&self.reserved);
            volumes
                .free
                .retain(|v| !v.metadata.name.as_ref().is_some_and(|name| reserved.contains_key(name)));
        }
        Ok(volumes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of<T: serde::de::DeserializeOwned>(object: Value) -> T {
        serde_json::from_value(object).unwrap()
    }

    fn volume(name: &str, size: &str, node: &str) -> Arc<PersistentVolume> {
        let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
        Arc::new(of(
            json!({"metadata": {"name": name}, "spec": {"storageClassName": "late", "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"], "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}}),
        ))
    }

    fn open(name: &str, size: &str, provisioned: bool) -> Open {
        let claim = of(
            json!({"metadata": {"name": name, "namespace": "d", "uid": name}, "spec": {"storageClassName": "late",
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}),
        );
        Open { key: Key::new("d", name), claim: Arc::new(claim), provisioned }
    }

    /// `c1=small c2=+`: which volume each claim takes, `+` for one that is made.
    fn choice(volumes: &Volumes, node: &str) -> Option<String> {
        let node = NodeInfo { name: node.into(), ..NodeInfo::default() };
        assert_eq!(volumes.refusal(&node).is_none(), volumes.choose(&node).is_some());
        let mut all: Vec<String> = volumes
            .choose(&node)?
            .into_iter()
            .map(|(open, choice)| match choice {
                Choice::Reserve(v) => format!("{}={}", open.key.name, v.metadata.name.clone().unwrap()),
                Choice::Provision => format!("{}=+", open.key.name),
            })
            .collect();
        all.sort();
        Some(all.join(" "))
    }

    #[test]
    fn claims_take_the_smallest_volumes_of_the_node() {
        let free = vec![volume("large", "5Gi", "a"), volume("small", "1Gi", "a"), volume("far", "1Gi", "b")];
        let with = |open: Vec<Open>| Volumes { open, free: free.clone(), bound: vec![] };
        let two = with(vec![open("c1", "1Gi", false), open("c2", "2Gi", false)]);
        assert_eq!(choice(&two, "a").unwrap(), "c1=small c2=large");
        assert_eq!(choice(&two, "b"), None, "no volume there is large enough");
        let swapped = with(vec![open("c2", "2Gi", false), open("c1", "1Gi", false)]);
        assert_eq!(choice(&swapped, "a").unwrap(), "c1=small c2=large");
        let made = with(vec![open("c1", "1Gi", true), open("c2", "2Gi", true)]);
        assert_eq!(choice(&made, "b").unwrap(), "c1=far c2=+");
        assert_eq!(choice(&made, "c").unwrap(), "c1=+ c2=+");
    }

    #[test]
    fn a_bound_volume_ties_the_pod_to_its_node() {
        let volumes = Volumes { bound: vec![volume("v", "1Gi", "a")], ..Volumes::default() };
        let on = |name: &str| volumes.refusal(&NodeInfo { name: name.into(), ..NodeInfo::default() });
        assert_eq!((on("a"), on("b")), (None, Some("node(s) didn't match PersistentVolume's node affinity")));
    }
}
