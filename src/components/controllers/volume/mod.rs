//! # Volumes: claims meet volumes
//!
//! A claim is *bound* to a volume that fits, each naming the other ([`binding`]). A claim whose
//! class has a provisioner waits until the provisioner has made a volume for it ([`waiting`]). When
//! the claim goes, the volume is *released* ([`phase`]); what then happens to the data is its
//! reclaim policy's to say. A claim of a class that waits for its first consumer is bound to the
//! volume that the scheduler chooses, which is where the pod will be. What fits is decided by
//! [`api::volumes::fits`], which is pure. Source: `pkg/controller/volume/persistentvolume`.

mod binding;
mod phase;
mod refusals;
mod waiting;

use crate::shared::{Controller, Shared};
use client::{Key, Recorder, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus};
use k8s_openapi::api::storage::v1::StorageClass;
use std::sync::Arc;

/// The annotation of a volume that a provisioner has made: the provisioner's name.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<PersistentVolumeClaim>();
        informers.all::<PersistentVolume>();
        informers.all::<StorageClass>();
    },
    start,
};

fn start(shared: &Shared) {
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "persistentvolume-controller", "");
    let claims: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let volumes: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let (q, v, all) = (claims.clone(), volumes.clone(), shared.clone());
    shared.informer::<PersistentVolumeClaim>().on(move |change| {
        q.add(change.key(), change.cause());
        for volume in all.informer::<PersistentVolume>().list() {
            if claim_key(&volume) == Some(change.key()) {
                v.add(Key::of(&*volume), change.cause());
            }
        }
    });
    let (q, v, all) = (claims.clone(), volumes.clone(), shared.clone());
    shared.informer::<PersistentVolume>().on(move |change| {
        v.add(change.key(), change.cause());
        // Claims without a volume, this volume's own, and those of a volume of its name that may be
        // lost.
        let name = change.key().name;
        let concerned = |c: &&Arc<PersistentVolumeClaim>| bound_to(c).is_none_or(|bound| bound == name);
        for claim in all.informer::<PersistentVolumeClaim>().list().iter().filter(concerned) {
            q.add(Key::of(&**claim), change.cause());
        }
    });
    let (q, all) = (claims.clone(), shared.clone());
    shared.informer::<StorageClass>().on(move |change| {
        for claim in all.informer::<PersistentVolumeClaim>().list().iter().filter(|c| bound_to(c).is_none()) {
            q.add(Key::of(&**claim), change.cause());
        }
    });
    let worker = Arc::new(Worker { shared: shared.clone(), recorder });
    let w = worker.clone();
    shared.report_panics(&claims, shared.informer::<PersistentVolumeClaim>(), "persistentvolume-binder");
    claims.work("claim", 1, move |key, cause| {
        let worker = w.clone();
        async move { worker.sync_claim(key, cause).await } // one worker: a volume must not be given twice
    });
    shared.report_panics(&volumes, shared.informer::<PersistentVolume>(), "persistentvolume-binder");
    volumes.work("volume", 1, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync_volume(key, cause).await }
    });
}

/// Returns the claim that a volume is reserved for or bound to; `None`: there is none.
fn claim_key(volume: &PersistentVolume) -> Option<Key> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(Key::new(reference.namespace.clone()?, reference.name.clone()?))
}

/// Returns the volume that a claim names; `None`: it names none.
fn bound_to(claim: &PersistentVolumeClaim) -> Option<String> {
    claim.spec.as_ref()?.volume_name.clone().filter(|n| !n.is_empty())
}

/// The caches and the recorder that the looks at claims and at volumes share.
struct Worker {
    shared: Shared,
    recorder: Recorder,
}

/// Returns a volume's status with another phase, and without the message of the old one.
fn with_phase(before: Option<&PersistentVolumeStatus>, phase: &str) -> PersistentVolumeStatus {
    let before = before.cloned().unwrap_or_default();
    PersistentVolumeStatus { phase: Some(phase.into()), message: None, ..before }
}

#[cfg(test)]
mod tests;
