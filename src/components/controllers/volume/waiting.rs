//! What a claim waits for that gets no volume now: a default class, a provisioner, its first
//! consumer, or a volume that it names. Upstream: `syncUnboundClaim`, `provisionClaim`.

use super::refusals::refused_binding;
use super::{Worker, bound_to};
use crate::error::Error;
use crate::write::{self, Guard, unless_gone};
use api::volumes::{NO_PROVISIONER, OLD_CLASS, SELECTED_NODE, class_of, is_default_class};
use client::{Key, Outcome, reference};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use tap::Cause;

/// The annotations of a claim that ask a provisioner for a volume, the second one in the words of
/// old provisioners. As upstream both are written (`setClaimProvisioner`).
pub(super) const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
pub(super) const OLD_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";

impl Worker {
    /// Asks the class' provisioner for a volume of a claim that none fits, or says what is missing.
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
    pub(super) async fn await_volume(
        &self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        cause: &Option<Cause>,
    ) -> Result<Outcome, Error> {
        let about = reference(claim);
        let client = self.shared.config.client.caused_by(cause.clone());
        let api = client.within::<PersistentVolumeClaim>(&key.namespace);
        if let Some(name) = bound_to(claim) {
            return self.await_named_volume(&name, key, claim, cause).await;
        }
        let unset = claim.spec.as_ref().is_none_or(|s| s.storage_class_name.is_none());
        let has_old_class = claim.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(OLD_CLASS));
        if unset
            && !has_old_class
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

    /// Reports that the volume that a claim names is not there (any more) or cannot be bound to it.
    /// A claim that was lost stays so.
    async fn await_named_volume(
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
}

/// Pure: the class of claims that name none: the newest that is marked as the default, and of
/// several the first by name. A claim with the class `""` names one: none at all.
pub(super) fn default_class(classes: &[Arc<StorageClass>]) -> Option<String> {
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
