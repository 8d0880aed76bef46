//! The phase of a volume: Available, Bound, Released or Failed. Upstream: `syncVolume`,
//! `reclaimVolume`.

use super::refusals::reclaim_refusal;
use super::{PROVISIONED_BY, Worker, bound_to, claim_key, with_phase};
use crate::error::Error;
use crate::write::{self, Guard, unless_gone};
use api::volumes::{BOUND_BY_CONTROLLER, is_bound};
use client::{Key, Outcome, optional, reference};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use tap::Cause;

impl Worker {
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
    pub(super) async fn sync_volume(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
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
                    Some(claim) if is_bound(&claim) && is_deleted_when_released(&volume) => "Released",
                    Some(claim)
                        if is_bound(&claim)
                            && (is_reserved_by_controller(&volume) || reference.uid.is_some()) =>
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

    /// Frees a volume that a component reserved for a claim which got another one. One that its
    /// administrator reserved goes on waiting for a claim of this name (`unbindVolume` upstream).
    async fn unreserve(&self, volume: &PersistentVolume, cause: Option<Cause>) -> Result<Outcome, Error> {
        let (uid, version) = (&volume.metadata.uid, &volume.metadata.resource_version);
        let patch = match is_reserved_by_controller(volume) {
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
        Ok(Outcome::Done) // the change brings the next look, at its phase
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

/// Returns whether a component reserved the volume for its claim; false if an administrator did,
/// who wants this claim to have it.
fn is_reserved_by_controller(volume: &PersistentVolume) -> bool {
    volume.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(BOUND_BY_CONTROLLER))
}

/// Returns whether a provisioner made the volume for its claim and deletes it when it is released.
/// No other claim is to have it.
fn is_deleted_when_released(volume: &PersistentVolume) -> bool {
    let is_provisioned = volume.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(PROVISIONED_BY));
    let spec = volume.spec.clone().unwrap_or_default();
    is_provisioned
        && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete")
        && spec.claim_ref.is_some_and(|claim| claim.uid.is_some())
}
