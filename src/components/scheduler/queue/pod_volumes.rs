//! A pod's claims and volumes as the caches show them, read before the pod is decided.

use super::Scheduler;
use crate::volumes::{Open, Unready, Volumes};
use api::volumes::{NO_PROVISIONER, SELECTED_NODE, class_of, is_bound, is_for_one_pod};
use client::Key;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The claim's class does not wait for a pod, so the pod waits for the claim.
const IMMEDIATE: &str = "pod has unbound immediate PersistentVolumeClaims";

/// Makes a refusal of VolumeRestrictions: a claim that the pod names is not there.
fn by_restrictions(reason: String) -> Unready {
    Unready { filter: "VolumeRestrictions", reason }
}

/// Makes a refusal of VolumeBinding: a claim is not bound, and does not wait for its first
/// consumer.
fn by_binding(reason: String) -> Unready {
    Unready { filter: "VolumeBinding", reason }
}

/// Makes a refusal of VolumeZone: the volume of a bound claim, whose labels name its zone, is not
/// there.
fn by_zone(reason: String) -> Unready {
    Unready { filter: "VolumeZone", reason }
}

/// Returns whether the claim was made for this very pod, and not for an earlier one of its name.
fn is_controlled_by(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    let mut owners = claim.metadata.owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true) && Some(&owner.uid) == pod.metadata.uid.as_ref())
}

impl Scheduler {
    /// Returns the claims that a pod mounts, each once, in the order of its volumes. That of a
    /// generic ephemeral volume is named after the pod and the volume, and made for the pod.
    ///
    /// # Errors
    /// The reason why no node can take the pod. Of several that of upstream's order:
    /// VolumeRestrictions is asked first and needs all claims that the pod names, then
    /// VolumeBinding looks at the state of each.
    fn claims_of_pod(
        &self,
        namespace: &str,
        pod: &Pod,
    ) -> Result<Vec<(Key, Arc<PersistentVolumeClaim>)>, Unready> {
        let owner = pod.metadata.name.as_deref().unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut named = Vec::new();
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            let (name, is_ephemeral) = match (&volume.persistent_volume_claim, &volume.ephemeral) {
                (Some(source), _) => (source.claim_name.clone(), false),
                (None, Some(_)) => (format!("{owner}-{}", volume.name), true),
                (None, None) => continue,
            };
            let key = Key::new(namespace, name);
            if !seen.insert(key.clone()) {
                continue; // mounted twice
            }
            let claim = self.claims.get(&key);
            if claim.is_none() && !is_ephemeral {
                return Err(by_restrictions(format!("persistentvolumeclaim {:?} not found", key.name)));
            }
            named.push((key, claim, is_ephemeral));
        }
        let mut claims = Vec::with_capacity(named.len());
        for (key, claim, is_ephemeral) in named {
            let name = &key.name;
            let claim = claim.ok_or_else(|| {
                by_binding(format!(
                    "waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"
                ))
            })?;
            if claim.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Lost")) {
                let volume = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or_default();
                return Err(by_binding(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
                )));
            }
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(by_binding(format!("persistentvolumeclaim {name:?} is being deleted")));
            }
            if is_ephemeral && !is_controlled_by(&claim, pod) {
                return Err(by_binding(format!(
                    "PVC {key} was not created for pod {namespace}/{owner} (pod is not owner)"
                )));
            }
            claims.push((key, claim));
        }
        Ok(claims)
    }

    /// Returns the pod's volumes, as the caches show them now.
    ///
    /// # Errors
    /// The reason why they keep it from every node, and the plug-in that says so upstream.
    pub(super) fn volumes_of(&self, pod: &Pod) -> Result<Volumes, Unready> {
        let mut volumes = Volumes::default();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let mut bound_to = Vec::new();
        // One walk through the namespace, however many claims the pod has, and none for most pods.
        let used = LazyCell::new(|| self.claims_of_others(&namespace, pod));
        for (key, claim) in self.claims_of_pod(&namespace, pod)? {
            volumes.is_taken |= is_for_one_pod(&claim) && used.contains(&key.name);
            let named = claim.spec.as_ref().and_then(|s| s.volume_name.clone());
            if let Some(name) = named.filter(|name| !name.is_empty()) {
                if !is_bound(&claim) {
                    return Err(by_binding(IMMEDIATE.into())); // a user wrote it, and the controller has not bound it
                }
                bound_to.push(name);
                continue;
            }
            let class = self.classes.get(&Key::new("", class_of(&claim)));
            let late = |mode: &Option<String>| mode.as_deref() == Some("WaitForFirstConsumer");
            let Some(class) = class.filter(|c| late(&c.volume_binding_mode)) else {
                return Err(by_binding(IMMEDIATE.into()));
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
            let missing = || by_zone(format!("persistentvolume {name:?} not found"));
            volumes.bound.push(volume.ok_or_else(missing)?);
        }
        if !volumes.open.is_empty() {
            let mut free = self.volumes.list();
            let given = self.given_volumes();
            let reserved = &self.reserved.lock().volumes;
            free.retain(|volume| {
                let name = volume.metadata.name.as_deref().unwrap_or_default();
                let looks_free = volume.spec.as_ref().is_none_or(|s| s.claim_ref.is_none());
                let is_given = looks_free && given.contains(name);
                !reserved.contains_key(name) && !is_given
            });
            volumes.open.iter_mut().for_each(|open| open.keep_fitting(&free));
        }
        Ok(volumes)
    }

    /// Returns the names of the volumes that claims are bound to. Such a volume may still look
    /// free: when a pod is bound, its claim is known to have the volume, while the cache of the
    /// volumes may not show yet for which claim that was reserved.
    fn given_volumes(&self) -> BTreeSet<String> {
        let claims = self.claims.list();
        let bound = claims.iter().filter(|claim| is_bound(claim));
        bound.filter_map(|claim| claim.spec.as_ref()?.volume_name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{claim, free_volume, of, other, pod, scheduler};
    use api::volumes::BIND_COMPLETED;
    use client::Key;
    use serde_json::json;

    #[tokio::test]
    async fn a_volume_that_is_not_known_yet_is_nowhere_rather_than_everywhere() {
        let scheduler = scheduler(claim("v")).await;
        let why = scheduler.volumes_of(&pod("1")).unwrap_err();
        assert_eq!((why.filter, &*why.reason), ("VolumeZone", "persistentvolume \"v\" not found"));
        let volume = json!({"metadata": {"name": "v"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{}]}}}});
        scheduler.volumes.show(of(volume));
        assert_eq!(scheduler.volumes_of(&pod("1")).unwrap().bound.len(), 1);
    }

    /// The cache of the volumes is behind that of the claims when the binding of another pod has
    /// ended.
    #[tokio::test]
    async fn a_volume_that_a_claim_is_bound_to_is_not_free() {
        let scheduler = scheduler(claim("")).await;
        scheduler.volumes.show(free_volume());
        let fitting = || scheduler.volumes_of(&pod("1")).unwrap().open[0].fitting.len();
        let mut named = claim("v");
        named.metadata.name = Some("other".into());
        named.metadata.annotations = None; // it is not bound
        scheduler.claims.show(named.clone());
        assert_eq!(fitting(), 1);
        named.metadata.resource_version = Some("12".into());
        named.metadata.annotations = Some([(BIND_COMPLETED.to_string(), "yes".to_string())].into());
        scheduler.claims.show(named);
        assert_eq!(fitting(), 0);
    }

    #[tokio::test]
    async fn a_claim_for_one_pod_is_given_to_one() {
        let mut single = claim("v");
        single.spec.as_mut().unwrap().access_modes = Some(vec!["ReadWriteOncePod".into()]);
        let scheduler = scheduler(single).await;
        scheduler.volumes.show(free_volume());
        scheduler.pods.show(other());
        let is_taken = || scheduler.volumes_of(&pod("1")).unwrap().is_taken;
        assert!(!is_taken(), "the other one has no node yet");
        let mut before = other();
        before.metadata.uid = Some("older".into());
        scheduler.cache.assume(&Key::new("d", "q"), &before, "n");
        assert!(!is_taken(), "that was another pod of its name");
        scheduler.cache.assume(&Key::new("d", "q"), &other(), "n");
        assert!(is_taken());
        scheduler.cache.forget(&Key::new("d", "q"), &other());
        let mut bound = other();
        bound.spec.as_mut().unwrap().node_name = Some("n".into());
        scheduler.pods.show(bound.clone());
        assert!(is_taken());
        bound.status = of(json!({"phase": "Succeeded"}));
        scheduler.pods.show(bound);
        assert!(!is_taken());
    }

    #[tokio::test]
    async fn a_claim_that_only_names_a_volume_or_has_lost_it_is_not_bound() {
        let mut named = claim("v");
        named.metadata.annotations = None;
        let scheduler = scheduler(named).await;
        scheduler.volumes.show(free_volume());
        let why = || scheduler.volumes_of(&pod("1")).unwrap_err().reason;
        assert_eq!(why(), "pod has unbound immediate PersistentVolumeClaims");
        let mut lost = claim("v");
        lost.status = of(json!({"phase": "Lost"}));
        scheduler.claims.show(lost);
        assert_eq!(why(), "persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"v\"");
    }

    /// VolumeRestrictions needs all claims and comes before VolumeBinding, which looks at the state
    /// of all before it asks for volumes.
    #[tokio::test]
    async fn of_several_claims_the_one_is_named_that_upstream_names() {
        let mut named = claim("v");
        named.metadata.annotations = None; // it is not bound
        let scheduler = scheduler(named).await;
        let why = |claims: &[&str]| {
            let volume = |name: &&str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
            let mut pod = pod("1");
            pod.spec.as_mut().unwrap().volumes = of(claims.iter().map(volume).collect());
            let found = scheduler.volumes_of(&pod).unwrap_err();
            format!("{}: {}", found.filter, found.reason)
        };
        let mut other = claim("w");
        other.metadata.name = Some("other".into());
        other.metadata.deletion_timestamp = of(json!("2026-01-01T00:00:00Z"));
        scheduler.claims.show(other.clone());
        let unbound = "VolumeBinding: pod has unbound immediate PersistentVolumeClaims";
        assert_eq!(why(&["c"]), unbound);
        assert_eq!(why(&["c", "other"]), "VolumeBinding: persistentvolumeclaim \"other\" is being deleted");
        let missing = "VolumeRestrictions: persistentvolumeclaim \"missing\" not found";
        assert_eq!(why(&["c", "other", "missing"]), missing);
        other.status = of(json!({"phase": "Lost"}));
        other.metadata.resource_version = Some("12".into());
        scheduler.claims.show(other.clone());
        let lost =
            "VolumeBinding: persistentvolumeclaim \"other\" bound to non-existent persistentvolume \"w\"";
        assert_eq!(why(&["c", "other"]), lost, "a lost claim that is being deleted is lost");
        (other.status, other.metadata.deletion_timestamp) = (None, None);
        other.metadata.resource_version = Some("13".into());
        scheduler.claims.show(other);
        assert_eq!(why(&["other"]), "VolumeZone: persistentvolume \"w\" not found");
        assert_eq!(why(&["other", "c"]), unbound);
    }

    #[tokio::test]
    async fn a_pod_waits_for_the_claims_of_its_ephemeral_volumes() {
        let scheduler = scheduler(claim("v")).await;
        scheduler.volumes.show(free_volume());
        let mut pod = pod("1");
        pod.spec.as_mut().unwrap().volumes =
            of(json!([{"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]));
        let why = || scheduler.volumes_of(&pod).unwrap_err().reason;
        let missing =
            "waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-data\"";
        assert_eq!(why(), missing);
        let mut made = claim("v");
        made.metadata.name = Some("p-data".into());
        let owner = |uid: &str| json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true}]);
        made.metadata.owner_references = of(owner("before"));
        scheduler.claims.show(made.clone());
        assert_eq!(why(), "PVC d/p-data was not created for pod d/p (pod is not owner)");
        made.metadata.owner_references = of(owner("1"));
        made.metadata.resource_version = Some("99".into());
        scheduler.claims.show(made);
        assert_eq!(scheduler.volumes_of(&pod).unwrap().bound.len(), 1);
    }
}
