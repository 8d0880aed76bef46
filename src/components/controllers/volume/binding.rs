//! How a claim is bound to its volume, and what is done about one whose binding is lost. Upstream:
//! `syncUnboundClaim`, `bind` and `syncBoundClaim`.

use super::{Worker, bound_to, with_phase};
use crate::error::Error;
use crate::shared::record;
use crate::write::{self, Guard, unless_gone};
use api::volumes::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, class_of, closest, fits, is_reserved_for, reservation,
};
use client::{Key, Outcome, optional, reference};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use tap::{Cause, Component, Event};

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
    pub(super) async fn sync_claim(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
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
        let late = self.waits_for_consumer(&claim) && bound_to(&claim).is_none();
        let may_have = |v: &Arc<PersistentVolume>| fits(v, &claim) && (!late || is_reserved_for(v, &claim));
        let fitting = self
            .shared
            .informer::<PersistentVolume>()
            .list()
            .into_iter()
            .filter(may_have)
            .min_by_key(|v| closest(v));
        let client = self.shared.config.client.caused_by(cause.clone());
        let Some(volume) = fitting else { return self.await_volume(&key, &claim, &cause).await };
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
        // If it was Bound before, the cache is behind an earlier look, which has left the record.
        let phase = stored.map(|claim| claim.status.and_then(|status| status.phase));
        if phase.is_some_and(|phase| phase.as_deref() != Some("Bound")) {
            let event = Event::BindVolume { volume: name.to_string() };
            let record = record(event, "persistentvolumeclaims", &key, &cause);
            self.shared.tap(Component::PersistentVolumeController).emit(record);
        }
        Ok(Outcome::Done)
    }

    /// Returns whether the claim's class waits for the first consumer.
    fn waits_for_consumer(&self, claim: &PersistentVolumeClaim) -> bool {
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
}
