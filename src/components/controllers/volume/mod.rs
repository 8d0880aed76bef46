//! # Volumes: claims meet volumes
//!
//! A claim is *bound* to a volume that fits, each naming the other. A claim whose class has a
//! provisioner waits until the provisioner has made a volume for it. When the claim goes, the
//! volume is *released*; what then happens to the data is its reclaim policy's to say. A claim of a
//! class that waits for its first consumer is bound by whom the scheduler chooses, so that the
//! volume is where the pod will be. [`fits`] is pure. Source:
//! `pkg/controller/volume/persistentvolume`.

mod refusals;

use super::write::{self, Guard, unless_gone};
use crate::error::Error;
use crate::shared::{Controller, Shared, record};
use api::volumes::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, NO_PROVISIONER, OLD_CLASS, SELECTED_NODE, class_of, closest, fits,
    is_bound, is_default_class, is_reserved_for, reservation,
};
use client::{Key, Outcome, Recorder, WorkQueue, optional, reference};
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, PersistentVolumeStatus,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Patch, PatchParams};
use refusals::{reclaim_refusal, refused_binding};
use serde_json::json;
use std::sync::Arc;
use tap::{Cause, Component, Event};

/// The annotations of a claim that ask a provisioner for a volume, the second one in the words of
/// old provisioners. As upstream both are written (`setClaimProvisioner`).
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const OLD_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
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
        async move { worker.claim(key, cause).await } // one worker: a volume must not be given twice
    });
    shared.report_panics(&volumes, shared.informer::<PersistentVolume>(), "persistentvolume-binder");
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
    /// Binds a claim to the smallest volume that fits, of those with the fewest access modes
    /// (upstream: `syncClaim`, `findBestMatchForClaim`). The claim `data` asks for 5Gi of the class
    /// `manual`; free are `pv-small` (1Gi), `pv-a` (10Gi) and `pv-b` (100Gi):
    ///
    /// ```text
    /// 1  pv-a    spec.claimRef = data      from now on no other claim gets it
    /// 2  pv-a    status.phase = Bound
    /// 3  data    spec.volumeName = pv-a
    /// 4  data    status.phase = Bound, capacity 10Gi
    /// ```
    ///
    /// The reservation comes first: if the controller ends after step 1, the next look finds a
    /// volume that is reserved for this claim, and goes on with it.
    async fn claim(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(claim) = self.shared.informer::<PersistentVolumeClaim>().get(&key) else {
            return Ok(Outcome::Done);
        };
        if claim.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let already = claim.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(BIND_COMPLETED));
        if already && !self.is_to_bind(&key, &claim, &cause).await? {
            return Ok(Outcome::Done);
        }
        // Where the first consumer decides, the scheduler reserves the volume.
        let late = self.is_late(&claim) && bound_to(&claim).is_none();
        let may_have = |v: &Arc<PersistentVolume>| fits(v, &claim) && (!late || is_reserved_for(v, &claim));
        let fitting = self
            .shared
            .informer::<PersistentVolume>()
            .list()
            .into_iter()
            .filter(may_have)
            .min_by_key(|v| closest(v));
        let client = self.shared.config.client.caused_by(cause.clone());
        let Some(volume) = fitting else { return self.wait(&key, &claim, &cause).await };
        let name = volume.metadata.name.clone().unwrap_or_default();
        let api = client.cluster::<PersistentVolume>();
        let gone = || Error::Conflict(format!("volume {name} is gone"));
        let reserved = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref()).and_then(|r| r.uid.clone());
        if reserved != claim.metadata.uid {
            let reserve = reservation(&volume, &claim, &reference(&*claim));
            unless_gone(api.patch(&name, &PatchParams::default(), &Patch::Merge(reserve)).await)?
                .ok_or_else(gone)?;
        }
        // Each of these steps is found done or undone by the next look, if this one ends in
        // between.
        let status = with_phase(volume.status.as_ref(), "Bound");
        write::status(&api, &volume.metadata, Guard::Uid, volume.status.as_ref(), &status).await?;
        let claims = client.within::<PersistentVolumeClaim>(&key.namespace);
        let mut notes = json!({BIND_COMPLETED: "yes"});
        if bound_to(&claim).as_deref() != Some(name.as_str()) {
            notes[BOUND_BY_CONTROLLER] = json!("yes"); // else its author has chosen the volume
        }
        let patch = json!({
            "metadata": {"uid": claim.metadata.uid, "annotations": notes},
            "spec": {"volumeName": name},
        });
        let stored =
            unless_gone(claims.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        let spec = volume.spec.clone().unwrap_or_default();
        let status = PersistentVolumeClaimStatus {
            phase: Some("Bound".into()),
            access_modes: spec.access_modes,
            capacity: spec.capacity,
            ..claim.status.clone().unwrap_or_default()
        };
        write::status(&claims, &claim.metadata, Guard::Uid, claim.status.as_ref(), &status).await?;
        // If it was Bound before, the cache is behind an earlier look, which has told of it.
        let phase = stored.map(|claim| claim.status.and_then(|status| status.phase));
        if phase.is_some_and(|phase| phase.as_deref() != Some("Bound")) {
            let event = Event::BindVolume { volume: name.to_string() };
            let record = record(event, "persistentvolumeclaims", &key, &cause);
            self.shared.tap(Component::PersistentVolumeController).emit(record);
        }
        Ok(Outcome::Done)
    }

    /// Does the claim's class wait for the first consumer?
    fn is_late(&self, claim: &PersistentVolumeClaim) -> bool {
        let class = self.shared.informer::<StorageClass>().get(&Key::new("", class_of(claim)));
        class.is_some_and(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
    }

    /// Looks at a claim that says that its binding is completed, as one from a backup may. Returns
    /// whether it is to be bound all the same. Upstream: `syncBoundClaim`.
    ///
    /// ```text
    /// its volume is reserved for its uid    yes, unless its phase is Bound
    /// its volume is reserved for none       yes: it was set free, and is bound anew
    /// another claim has its volume          no: the claim is lost
    /// its volume has its name, and no uid   no: the same, until an administrator clears `claimRef`
    /// its volume does not exist             no: the claim is lost, and its data with it
    /// it names no volume                    no: the same
    /// ```
    async fn is_to_bind(
        &self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        cause: &Option<Cause>,
    ) -> Result<bool, Error> {
        let is_done = claim.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Bound"));
        let Some(name) = bound_to(claim) else {
            let why = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
            return self.lose(key, claim, ("ClaimLost", why), cause).await.map(|()| false);
        };
        let has_it = |volume: &PersistentVolume| {
            let reference = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
            is_reserved_for(volume, claim) && reference.is_some_and(|r| r.uid == claim.metadata.uid)
        };
        let mut volume = self.shared.informer::<PersistentVolume>().get(&Key::new("", name.clone()));
        if volume.as_ref().is_none_or(|v| !has_it(v)) {
            // The cache may be behind: that of the claims is another one.
            let api = self.shared.config.client.cluster::<PersistentVolume>();
            volume = optional(api.get(&name).await)?.map(Arc::new);
        }
        let loss = match volume {
            Some(volume) if has_it(&volume) => return Ok(!is_done),
            Some(volume) if volume.spec.as_ref().is_none_or(|s| s.claim_ref.is_none()) => {
                return Ok(!is_done || fits(&volume, claim));
            }
            Some(_) => {
                ("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
            }
            None => ("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        };
        self.lose(key, claim, loss, cause).await.map(|()| false)
    }

    /// Marks a claim as lost, and says why the first time.
    async fn lose(
        &self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        (reason, why): (&'static str, &'static str),
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        let api = self.shared.config.client.caused_by(cause.clone());
        let api = api.within::<PersistentVolumeClaim>(&key.namespace);
        let old = claim.status.as_ref();
        let new = PersistentVolumeClaimStatus {
            phase: Some("Lost".into()),
            capacity: None,
            access_modes: None,
            ..old.cloned().unwrap_or_default()
        };
        if write::status(&api, &claim.metadata, Guard::Uid, old, &new).await? {
            self.recorder.warning(&reference(claim), reason, why, cause.clone());
        }
        Ok(())
    }

    /// Nothing fits: ask the class' provisioner, or say what is missing.
    ///
    /// ```text
    /// names a volume that does not fit     Pending, Event VolumeMismatch
    /// names one that another claim has     Pending, Event FailedBinding
    /// no class, and there is a default     the class is written into the claim
    /// class ""                             Event FailedBinding: a volume has to be made by hand
    /// class that does not exist            Event ProvisioningFailed
    /// class kubernetes.io/no-provisioner   Event ProvisioningFailed: volumes are made by hand
    /// class that waits for a consumer      Event WaitForFirstConsumer, until a pod uses the claim
    /// otherwise                            Event ExternalProvisioning, for the provisioner
    /// ```
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
            return self.wait_for(&name, key, claim, cause).await;
        }
        let unset = claim.spec.as_ref().is_none_or(|s| s.storage_class_name.is_none());
        let noted = claim.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(OLD_CLASS));
        if unset
            && !noted
            && let Some(name) = default_class(&self.shared.informer::<StorageClass>().list())
        {
            // The claim is older than the default class. The change brings its key back.
            let patch = json!({"metadata": {"uid": claim.metadata.uid}, "spec": {"storageClassName": name}});
            unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
            return Ok(Outcome::Done);
        }
        let class = class_of(claim);
        if class.is_empty() {
            let message = "no persistent volumes available for this claim and no storage class is set";
            self.recorder.normal(&about, "FailedBinding", message, cause.clone());
            return Ok(Outcome::Done);
        }
        let Some(class) = self.shared.informer::<StorageClass>().get(&Key::new("", class.clone())) else {
            let message = format!("storageclass.storage.k8s.io {class:?} not found");
            self.recorder.warning(&about, "ProvisioningFailed", message, cause.clone());
            return Ok(Outcome::Done);
        };
        let annotation = |key: &str| claim.metadata.annotations.as_ref().and_then(|a| a.get(key)).cloned();
        let late = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
        if late && annotation(SELECTED_NODE).is_none() {
            let message = "waiting for first consumer to be created before binding";
            self.recorder.normal(&about, "WaitForFirstConsumer", message, cause.clone());
            return Ok(Outcome::Done);
        }
        if class.provisioner == NO_PROVISIONER {
            let message = format!("no volume plugin matched name: {NO_PROVISIONER}");
            self.recorder.warning(&about, "ProvisioningFailed", message, cause.clone());
            return Ok(Outcome::Done);
        }
        if annotation(PROVISIONER).as_deref() != Some(&class.provisioner) {
            let set = json!({PROVISIONER: class.provisioner, OLD_PROVISIONER: class.provisioner});
            let patch = json!({"metadata": {"uid": claim.metadata.uid, "annotations": set}});
            unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        }
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system \
             administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
            class.provisioner
        );
        self.recorder.normal(&about, "ExternalProvisioning", message, cause.clone());
        Ok(Outcome::Done)
    }

    /// The claim names its volume, which is not there (any more) or cannot be bound to it. A claim
    /// that was lost stays so.
    async fn wait_for(
        &self,
        name: &str,
        key: &Key,
        claim: &PersistentVolumeClaim,
        cause: &Option<Cause>,
    ) -> Result<Outcome, Error> {
        let client = self.shared.config.client.caused_by(cause.clone());
        let api = client.within::<PersistentVolumeClaim>(&key.namespace);
        let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref());
        if !matches!(phase, Some("Pending" | "Lost")) {
            let new = PersistentVolumeClaimStatus {
                phase: Some("Pending".into()),
                ..claim.status.clone().unwrap_or_default()
            };
            write::status(&api, &claim.metadata, Guard::Uid, claim.status.as_ref(), &new).await?;
        }
        if phase != Some("Lost") {
            let volume = self.shared.informer::<PersistentVolume>().get(&Key::new("", name));
            let (reason, message) = refused_binding(name, volume.as_deref(), claim);
            self.recorder.warning(&reference(claim), reason, message, cause.clone());
        }
        Ok(Outcome::Done)
    }

    /// A volume that a component reserved for a claim which got another one is free again. One that
    /// its administrator reserved goes on waiting for a claim of this name (`unbindVolume`
    /// upstream).
    async fn unreserve(&self, volume: &PersistentVolume, cause: Option<Cause>) -> Result<Outcome, Error> {
        let (uid, version) = (&volume.metadata.uid, &volume.metadata.resource_version);
        let patch = match is_taken_back(volume) {
            true => json!({
                "metadata": {
                    "uid": uid, "resourceVersion": version, "annotations": {BOUND_BY_CONTROLLER: null},
                },
                "spec": {"claimRef": null},
            }),
            false => json!({
                "metadata": {"uid": uid, "resourceVersion": version},
                "spec": {"claimRef": {"uid": null}},
            }),
        };
        let api = self.shared.config.client.caused_by(cause).cluster::<PersistentVolume>();
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        unless_gone(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        Ok(Outcome::Done) // the watch tells of it, and then its phase is looked at
    }

    /// Brings the volume's phase up to date (upstream: `syncVolume`):
    ///
    /// ```text
    /// no claimRef                          Available
    /// claimRef without a uid               Available: an administrator reserved it
    /// claimRef, the claim names it too     Bound
    /// claimRef with a uid, claim is gone   Released: it may hold data, so no other claim gets it
    /// made for a claim that got another    Released: its provisioner deletes it
    /// Released, at the next look           see `reclaim`
    /// ```
    async fn volume(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(volume) = self.shared.informer::<PersistentVolume>().get(&key) else {
            return Ok(Outcome::Done);
        };
        let spec = volume.spec.clone().unwrap_or_default();
        let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let was_released = matches!(phase, "Released" | "Failed");
        let want = match &spec.claim_ref {
            None => "Available",
            Some(reference) => {
                let same =
                    |c: &PersistentVolumeClaim| reference.uid.is_none() || c.metadata.uid == reference.uid;
                let place = claim_key(&volume);
                let mut claim = place
                    .as_ref()
                    .and_then(|k| self.shared.informer::<PersistentVolumeClaim>().get(k))
                    .filter(|c| same(c));
                if claim.is_none()
                    && let Some(place) = place.filter(|_| reference.uid.is_some() && !was_released)
                {
                    // A volume that is released may be deleted, and its data. The cache of the
                    // claims may be behind.
                    let api = self.shared.config.client.within::<PersistentVolumeClaim>(&place.namespace);
                    claim = optional(api.get(&place.name).await)?.filter(same).map(Arc::new);
                }
                match claim {
                    // Without a uid it is the claim's worker that goes on, or the claim is lost.
                    Some(claim) if bound_to(&claim) == volume.metadata.name => match reference.uid {
                        Some(_) => "Bound",
                        None => "Available",
                    },
                    Some(claim) if is_bound(&claim) && is_superfluous(&volume) => "Released",
                    Some(claim)
                        if is_bound(&claim) && (is_taken_back(&volume) || reference.uid.is_some()) =>
                    {
                        return self.unreserve(&volume, cause).await;
                    }
                    Some(_) => "Available",
                    None if reference.uid.is_some() => "Released",
                    None => "Available",
                }
            }
        };
        if want == "Released" && was_released {
            return self.reclaim(&volume, cause).await;
        }
        // A reserved volume on its way to Bound is the claim worker's.
        let reserved = spec.claim_ref.is_some();
        if phase == want || (phase == "Bound" && want == "Available" && reserved) {
            return Ok(Outcome::Done);
        }
        let api = self.shared.config.client.caused_by(cause).cluster::<PersistentVolume>();
        let new = with_phase(volume.status.as_ref(), want);
        write::status(&api, &volume.metadata, Guard::Uid, volume.status.as_ref(), &new).await?;
        Ok(Outcome::Done)
    }

    /// Marks a released volume as Failed if its reclaim policy asks for what no component does.
    async fn reclaim(&self, volume: &PersistentVolume, cause: Option<Cause>) -> Result<Outcome, Error> {
        let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref());
        let Some((reason, why)) = reclaim_refusal(volume).filter(|_| phase != Some("Failed")) else {
            return Ok(Outcome::Done);
        };
        let api = self.shared.config.client.caused_by(cause.clone()).cluster::<PersistentVolume>();
        let new = PersistentVolumeStatus {
            message: Some(why.clone()),
            ..with_phase(volume.status.as_ref(), "Failed")
        };
        if write::status(&api, &volume.metadata, Guard::Uid, volume.status.as_ref(), &new).await? {
            self.recorder.warning(&reference(volume), reason, why, cause);
        }
        Ok(Outcome::Done)
    }
}

/// Pure: the class of claims that name none: the newest that is marked as the default, and of
/// several the first by name. A claim with the class `""` names one: none at all.
fn default_class(classes: &[Arc<StorageClass>]) -> Option<String> {
    let is_default = |class: &&Arc<StorageClass>| {
        let annotations = class.metadata.annotations.as_ref();
        is_default_class(|key| annotations?.get(key).map(String::as_str))
    };
    let made = |class: &StorageClass| class.metadata.creation_timestamp.as_ref().map(|t| t.0);
    let newest = classes
        .iter()
        .filter(is_default)
        .min_by_key(|class| (std::cmp::Reverse(made(class)), class.metadata.name.clone()));
    newest.and_then(|class| class.metadata.name.clone())
}

/// True if a component reserved the volume for its claim; false if an administrator did, who
/// wants this claim to have it.
fn is_taken_back(volume: &PersistentVolume) -> bool {
    volume.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(BOUND_BY_CONTROLLER))
}

/// True if a provisioner made the volume for its claim and deletes it when it is released. No other
/// claim is to have it.
fn is_superfluous(volume: &PersistentVolume) -> bool {
    let is_provisioned = volume.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(PROVISIONED_BY));
    let spec = volume.spec.clone().unwrap_or_default();
    is_provisioned
        && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete")
        && spec.claim_ref.is_some_and(|claim| claim.uid.is_some())
}

fn with_phase(before: Option<&PersistentVolumeStatus>, phase: &str) -> PersistentVolumeStatus {
    let before = before.cloned().unwrap_or_default();
    PersistentVolumeStatus { phase: Some(phase.into()), message: None, ..before }
}

#[cfg(test)]
mod tests;
