//! What the watches tell of a pod's claims and volumes before it is decided.

use super::Scheduler;
use crate::volumes::{Open, Volumes};
use api::volumes::{NO_PROVISIONER, SELECTED_NODE, class_of, is_bound, is_for_one_pod};
use client::Key;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The claim's class does not wait for a pod, so the pod waits for the claim.
const IMMEDIATE: &str = "pod has unbound immediate PersistentVolumeClaims";

impl Scheduler {
    /// The claims that a pod mounts, each once, in the order of its volumes.
    ///
    /// # Errors
    /// Why no node can take the pod, in upstream's order: VolumeRestrictions is asked first and
    /// needs all claims, then VolumeBinding looks at the state of each.
    fn claims_of_pod(
        &self,
        namespace: &str,
        pod: &Pod,
    ) -> Result<Vec<(Key, Arc<PersistentVolumeClaim>)>, String> {
        let mut seen = BTreeSet::new();
        let mut claims = Vec::new();
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            let Some(source) = &volume.persistent_volume_claim else { continue };
            let key = Key::new(namespace, source.claim_name.clone());
            if !seen.insert(key.clone()) {
                continue; // mounted twice
            }
            let claim = self.claims.get(&key);
            let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {:?} not found", key.name))?;
            claims.push((key, claim));
        }
        for (key, claim) in &claims {
            let name = &key.name;
            if claim.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Lost")) {
                let volume = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or_default();
                return Err(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
                ));
            }
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
            }
        }
        Ok(claims)
    }

    /// The pod's volumes, or why they keep it from every node.
    pub(super) fn volumes_of(&self, pod: &Pod) -> Result<Volumes, String> {
        let mut volumes = Volumes::default();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let mut bound_to = Vec::new();
        // One walk through the namespace, however many claims the pod has, and none for most pods.
        let used = LazyCell::new(|| self.used_by_others(&namespace, pod));
        for (key, claim) in self.claims_of_pod(&namespace, pod)? {
            volumes.is_taken |= is_for_one_pod(&claim) && used.contains(&key.name);
            let named = claim.spec.as_ref().and_then(|s| s.volume_name.clone());
            if let Some(name) = named.filter(|name| !name.is_empty()) {
                if !is_bound(&claim) {
                    return Err(IMMEDIATE.into()); // a user wrote it, and the controller has not bound it
                }
                bound_to.push(name);
                continue;
            }
            let class = self.classes.get(&Key::new("", class_of(&claim)));
            let late = |mode: &Option<String>| mode.as_deref() == Some("WaitForFirstConsumer");
            let Some(class) = class.filter(|c| late(&c.volume_binding_mode)) else {
                return Err(IMMEDIATE.into());
            };
            let provisioned = class.provisioner != NO_PROVISIONER;
            let on_its_way = self.reserved.lock().claims.get(&key).map(|(node, _)| node.clone());
            let selected = claim.metadata.annotations.as_ref().and_then(|a| a.get(SELECTED_NODE)).cloned();
            // A user who may write the claim may write this annotation, and its node may be gone.
            // No volume is made there.
            let is_known = |node: &String| self.nodes.get(&Key::new("", node.clone())).is_some();
            let selected = selected.filter(|node| provisioned && is_known(node));
            let is_shared = on_its_way.is_some();
            let (node, fitting) = (on_its_way.or(selected), Vec::new());
            volumes.open.push(Open { key, claim, provisioned, node, is_shared, fitting });
        }
        for name in bound_to {
            // Its cache may be behind that of the claims, and a volume says on which nodes it is.
            let volume = self.volumes.get(&Key::new("", name.clone()));
            volumes.bound.push(volume.ok_or_else(|| format!("persistentvolume {name:?} not found"))?);
        }
        if !volumes.open.is_empty() {
            let mut free = self.volumes.list();
            let reserved = &self.reserved.lock().volumes;
            free.retain(|v| !v.metadata.name.as_ref().is_some_and(|name| reserved.contains_key(name)));
            volumes.open.iter_mut().for_each(|open| open.keep_fitting(&free));
        }
        Ok(volumes)
    }
}
