//! # Volumes: claims meet volumes
//!
//! A claim is *bound* to a volume that fits, each naming the other. A claim whose class has a provisioner waits until the provisioner has
//! made a volume for it. When the claim goes, the volume is *released*; what then happens to the data is its reclaim policy's to say.
//! [`fits`] is pure. Source: `pkg/controller/volume/persistentvolume`.

use super::pods::selects;
use super::{Error, Shared, record, reference};
use crate::api::quantity::Quantity;
use crate::client::{Key, Outcome, Recorder, WorkQueue, is_code};
use crate::tap::Cause;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;

const BOUND: &str = "pv.kubernetes.io/bind-completed";
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

/// Pure: may this volume be given to this claim?
pub fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(have), Some(want)) = (&volume.spec, &claim.spec) else { return false };
    if volume.metadata.deletion_timestamp.is_some() {
        return false;
    }
    if let Some(reserved) = &have.claim_ref {
        return reserved.name == claim.metadata.name
            && reserved.namespace == claim.metadata.namespace
            && reserved.uid.as_ref().is_none_or(|u| u.is_empty() || Some(u) == claim.metadata.uid.as_ref());
    }
    let class = |c: &Option<String>| c.clone().unwrap_or_default();
    let named =
        want.volume_name.as_ref().is_none_or(|n| n.is_empty() || Some(n) == volume.metadata.name.as_ref());
    let modes =
        want.access_modes.iter().flatten().all(|m| have.access_modes.iter().flatten().any(|h| h == m));
    let size = |map: Option<
        &std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
    >| {
        map.and_then(|m| m.get("storage")).and_then(|q| Quantity::parse(&q.0)).map_or(0, |q| q.units())
    };
    let mode = |m: &Option<String>| m.clone().unwrap_or_else(|| "Filesystem".into());
    let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Available");
    named
        && modes
        && matches!(phase, "Available" | "Pending" | "")
        && class(&have.storage_class_name) == class(&want.storage_class_name)
        && mode(&have.volume_mode) == mode(&want.volume_mode)
        && size(have.capacity.as_ref()) >= size(want.resources.as_ref().and_then(|r| r.requests.as_ref()))
        && want.selector.as_ref().is_none_or(|s| selects(s, volume.metadata.labels.as_ref()))
}

fn size_of(volume: &PersistentVolume) -> i64 {
    let capacity = volume.spec.as_ref().and_then(|s| s.capacity.as_ref()).and_then(|c| c.get("storage"));
    capacity.and_then(|q| Quantity::parse(&q.0)).map_or(i64::MAX, |q| q.units())
}

pub(crate) fn start(shared: &Shared) {
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "persistentvolume-controller", "");
    let claims: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let volumes: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let (q, v, all) = (claims.clone(), volumes.clone(), shared.clone());
    shared.claims.on(move |change| {
        q.add(change.key(), change.cause());
        for volume in all.volumes.list() {
            if claim_key(&volume) == Some(change.key()) {
                v.add(Key::of(&*volume), change.cause());
            }
        }
    });
    let (q, v, all) = (claims.clone(), volumes.clone(), shared.clone());
    shared.volumes.on(move |change| {
        v.add(change.key(), change.cause());
        for claim in all.claims.list().iter().filter(|c| bound_to(c).is_none()) {
            q.add(Key::of(&**claim), change.cause());
        }
    });
    let (q, all) = (claims.clone(), shared.clone());
    shared.classes.on(move |change| {
        for claim in all.claims.list().iter().filter(|c| bound_to(c).is_none()) {
            q.add(Key::of(&**claim), change.cause());
        }
    });
    let worker = Arc::new(Worker { shared: shared.clone(), recorder });
    let w = worker.clone();
    shared.report_panics(&claims, &shared.claims, "persistentvolume-binder");
    claims.work("claim", 1, move |key, cause| {
        let worker = w.clone();
        async move { worker.claim(key, cause).await } // one worker: a volume must not be given twice
    });
    shared.report_panics(&volumes, &shared.volumes, "persistentvolume-binder");
    volumes.work("volume", 1, move |key, cause| {
        let worker = worker.clone();
        async move { worker.volume(key, cause).await }
    });
}

fn claim_key(volume: &PersistentVolume) -> Option<Key> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(Key::new(reference.namespace.clone()?, reference.name.clone()?))
}

fn bound_to(claim: &PersistentVolumeClaim) -> Option<String> {
    claim.spec.as_ref()?.volume_name.clone().filter(|n| !n.is_empty())
}

struct Worker {
    shared: Shared,
    recorder: Recorder,
}

impl Worker {
    async fn claim(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(claim) = self.shared.claims.get(&key) else { return Ok(Outcome::Done) };
        if claim.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let phase = claim.status.as_ref().and_then(|s| s.phase.clone()).unwrap_or_default();
        let already = claim.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(BOUND));
        if already && phase == "Bound" {
            return Ok(Outcome::Done);
        }
        let mut fitting: Vec<Arc<PersistentVolume>> =
            self.shared.volumes.list().into_iter().filter(|v| fits(v, &claim)).collect();
        // One that is reserved for this claim first, then the smallest.
        fitting.sort_by_key(|v| {
            (v.spec.as_ref().is_none_or(|s| s.claim_ref.is_none()), size_of(v), v.metadata.name.clone())
        });
        let client = self.shared.config.client.caused_by(cause.clone());
        let Some(volume) = fitting.into_iter().next() else { return self.wait(&key, &claim, &cause).await };
        let name = volume.metadata.name.clone().unwrap_or_default();
        let api = client.cluster::<PersistentVolume>();
        let reserve = json!({
            "metadata": {"resourceVersion": volume.metadata.resource_version},
            "spec": {"claimRef": reference(&*claim)},
        });
        let reserved = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref()).and_then(|r| r.uid.clone());
        if reserved != claim.metadata.uid {
            match api.patch(&name, &PatchParams::default(), &Patch::Merge(reserve)).await {
                Ok(_) => {}
                Err(error) if is_code(&error, 409) => {
                    return Err(Error::NotYet("the volume changed meanwhile".into()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        api.patch_status(
            &name,
            &PatchParams::default(),
            &Patch::Merge(json!({"status": {"phase": "Bound"}})),
        )
        .await?;
        let claims = client.within::<PersistentVolumeClaim>(&key.namespace);
        let patch = json!({
            "metadata": {"annotations": {BOUND: "yes", BY_CONTROLLER: "yes"}},
            "spec": {"volumeName": name},
        });
        claims.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        let spec = volume.spec.clone().unwrap_or_default();
        let status = json!({"status": {"phase": "Bound", "accessModes": spec.access_modes, "capacity": spec.capacity}});
        claims.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(status)).await?;
        let record = record("bind", "persistentvolumeclaims", &key, &cause).detail(json!({"volume": name}));
        self.shared.tap("persistentvolume-controller").emit(record);
        Ok(Outcome::Done)
    }

    /// Nothing fits: ask the class' provisioner, or say what is missing.
    async fn wait(
        &self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        cause: &Option<Cause>,
    ) -> Result<Outcome, Error> {
        let about = reference(claim);
        let client = self.shared.config.client.caused_by(cause.clone());
        let api = client.within::<PersistentVolumeClaim>(&key.namespace);
        if let Some(name) = bound_to(claim) {
            // It names its volume, which is not there (any more).
            let lost = claim.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(BOUND));
            let phase = if lost { "Lost" } else { "Pending" };
            if claim.status.as_ref().and_then(|s| s.phase.as_deref()) != Some(phase) {
                let patch = json!({"status": {"phase": phase}});
                api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
                if lost {
                    let message = format!(
                        "Bound claim has lost its PersistentVolume {name:?}. Data on the volume is lost!"
                    );
                    self.recorder.warning(&about, "ClaimLost", message, cause.clone());
                }
            }
            return Ok(Outcome::Done);
        }
        let class = claim.spec.as_ref().and_then(|s| s.storage_class_name.clone()).unwrap_or_default();
        if class.is_empty() {
            let message = "no persistent volumes available for this claim and no storage class is set";
            self.recorder.normal(&about, "FailedBinding", message, cause.clone());
            return Ok(Outcome::Done);
        }
        let Some(class) = self.shared.classes.get(&Key::new("", class.clone())) else {
            let message = format!("storageclass.storage.k8s.io {class:?} not found");
            self.recorder.warning(&about, "ProvisioningFailed", message, cause.clone());
            return Ok(Outcome::Done);
        };
        let annotation = |key: &str| claim.metadata.annotations.as_ref().and_then(|a| a.get(key)).cloned();
        let late = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
        if late && annotation("volume.kubernetes.io/selected-node").is_none() {
            let message = "waiting for first consumer to be created before binding";
            self.recorder.normal(&about, "WaitForFirstConsumer", message, cause.clone());
            return Ok(Outcome::Done);
        }
        if annotation(PROVISIONER).as_deref() != Some(&class.provisioner) {
            let patch = json!({"metadata": {"annotations": {PROVISIONER: class.provisioner}}});
            api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system \
             administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
            class.provisioner
        );
        self.recorder.normal(&about, "ExternalProvisioning", message, cause.clone());
        Ok(Outcome::Done)
    }

    async fn volume(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(volume) = self.shared.volumes.get(&key) else { return Ok(Outcome::Done) };
        let spec = volume.spec.clone().unwrap_or_default();
        let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let want = match &spec.claim_ref {
            None => "Available",
            Some(reference) => {
                let claim = claim_key(&volume).and_then(|k| self.shared.claims.get(&k));
                let same =
                    |c: &PersistentVolumeClaim| reference.uid.is_none() || c.metadata.uid == reference.uid;
                match claim.filter(|c| same(c)) {
                    Some(claim) if bound_to(&claim) == volume.metadata.name => "Bound",
                    Some(_) => "Available",
                    None if reference.uid.is_some() => "Released",
                    None => "Available",
                }
            }
        };
        // A reserved volume on its way to Bound is the claim worker's.
        if phase == want || (phase == "Bound" && want == "Available") {
            return Ok(Outcome::Done);
        }
        let api = self.shared.config.client.caused_by(cause).cluster::<PersistentVolume>();
        match api
            .patch_status(
                &key.name,
                &PatchParams::default(),
                &Patch::Merge(json!({"status": {"phase": want}})),
            )
            .await
        {
            Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => Err(error.into()),
            _ => Ok(Outcome::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(json: serde_json::Value) -> PersistentVolume {
        serde_json::from_value(json!({"metadata": {"name": "v"}, "spec": json})).unwrap()
    }

    #[test]
    fn size_mode_class_and_reservation_decide() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "d", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
        }))
        .unwrap();
        let base = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "capacity": {"storage": "1Gi"}});
        let with = |key: &str, value: serde_json::Value| {
            let mut spec = base.clone();
            spec[key] = value;
            fits(&volume(spec), &claim)
        };
        assert!(fits(&volume(base.clone()), &claim));
        assert!(!with("capacity", json!({"storage": "1023Mi"})));
        assert!(!with("storageClassName", json!("slow")));
        assert!(!with("accessModes", json!(["ReadOnlyMany"])));
        assert!(with("claimRef", json!({"name": "c", "namespace": "d", "uid": "u"})));
        assert!(!with("claimRef", json!({"name": "c", "namespace": "d", "uid": "older"})));
    }
}
