//! The end of a volume: its directory first, then the object.
//!
//! Between the two stands a finalizer, so that a volume that is deleted before its claim, or while
//! no provisioner runs, waits until its directory is gone. Source: KEP-2644, and `syncVolume` of
//! sig-storage-lib-external-provisioner.

use super::disk::{self, on_disk};
use super::names::{FINALIZER, MADE_BY, PROVISIONER};
use super::volume::made_for;
use super::{Error, Worker};
use client::{Key, Outcome, is_code, optional, reference};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tap::Cause;

/// The volume of a node that is off is tried again after this time.
const NODE_AGAIN: Duration = Duration::from_secs(10);

/// The next step for a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is another provisioner's, or in use, or to be kept.
    Nothing,
    /// Add the finalizer: the volume was made without it.
    Protect,
    /// Take the finalizer off: the directory is to be kept.
    Unprotect,
    /// Remove the directory, then the volume.
    Reclaim,
}

/// Decides the next step for a volume. Pure.
///
/// ```text
/// Delete, Bound, no finalizer, not being deleted   -> Protect
/// Delete, Released                                 -> Reclaim
/// Delete, no claim, being deleted, with finalizer  -> Unprotect: which directory it has is unknown
/// Retain, with finalizer                           -> Unprotect
/// Released, being deleted, no finalizer            -> Nothing: its directory is gone, or a user
///                                                     took the finalizer off to keep it
/// ```
pub(super) fn step(volume: &PersistentVolume) -> Step {
    let (meta, spec) = (&volume.metadata, volume.spec.as_ref());
    let made_here =
        meta.annotations.as_ref().and_then(|a| a.get(MADE_BY)).is_some_and(|by| by == PROVISIONER);
    let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
    let delete = spec.and_then(|s| s.persistent_volume_reclaim_policy.as_deref()) == Some("Delete");
    let (guarded, going) = (is_guarded(volume), meta.deletion_timestamp.is_some());
    let free = spec.is_none_or(|s| s.claim_ref.is_none());
    match phase {
        _ if !made_here => Step::Nothing,
        _ if guarded && (!delete || (going && free)) => Step::Unprotect,
        "Released" if delete && (guarded || !going) => Step::Reclaim,
        "Bound" if delete && !guarded && !going && made_for(volume).is_ok() => Step::Protect,
        _ => Step::Nothing,
    }
}

fn is_guarded(volume: &PersistentVolume) -> bool {
    volume.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER)
}

impl Worker {
    pub(super) async fn reclaim(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(volume) = self.volumes.get(&key) else { return self.finish(&key.name).await };
        match step(&volume) {
            Step::Nothing => return Ok(Outcome::Done),
            Step::Protect => return self.guard(&volume, true, cause).await,
            Step::Unprotect => return self.guard(&volume, false, cause).await,
            Step::Reclaim => {}
        }
        let (node, path) = match made_for(&volume) {
            Ok(made) => made,
            Err(why) => {
                self.recorder.warning(&reference(&*volume), "VolumeFailedDelete", why, cause);
                return Ok(Outcome::Done);
            }
        };
        let name = key.name.clone();
        let root = self.config.root_of(&node);
        if root.is_some() && !(self.config.starts_pods)(&node) {
            let why =
                format!("failed to delete volume {name}: node {node:?} is off, or its kubelet is stopped");
            self.recorder.warning(&reference(&*volume), "VolumeFailedDelete", why, cause);
            return Ok(Outcome::Pause(NODE_AGAIN));
        }
        let removed = match root {
            Some(root) => on_disk(move || disk::remove(&root, &path, &name)).await,
            // As upstream's local-path-provisioner: the directory is gone with its node.
            None => Ok(true),
        };
        match removed {
            Ok(true) => {}
            Ok(false) => return Ok(Outcome::After(Duration::ZERO)),
            Err(error) => {
                self.recorder.warning(&reference(&*volume), "VolumeFailedDelete", error.to_string(), cause);
                return Err(error.into());
            }
        }
        if is_guarded(&volume) {
            self.guard(&volume, false, cause.clone()).await?;
        }
        if volume.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done); // it goes with its last finalizer
        }
        let api = self.config.client.caused_by(cause).cluster::<PersistentVolume>();
        match api.delete(&key.name, &DeleteParams::default()).await {
            Err(error) if !is_code(&error, 404) => Err(error.into()),
            _ => Ok(Outcome::Done),
        }
    }

    /// Finds the removals that an earlier process began and whose volumes are gone: node and
    /// volume.
    pub(super) async fn left_behind(&self) -> Vec<Key> {
        let mut found = Vec::new();
        for node in self.config.all_nodes() {
            let volumes = self.half_removed(node).await.into_iter();
            found.extend(volumes.map(|volume| Key::new(node.clone(), volume)));
        }
        found.retain(|key| self.volumes.get(&Key::new("", key.name.clone())).is_none());
        found
    }

    /// Finds the volumes of a node whose directories are half removed.
    async fn half_removed(&self, node: &str) -> BTreeSet<String> {
        let Some(root) = self.config.root_of(node) else { return BTreeSet::new() };
        on_disk(move || disk::half_removed(&root)).await.unwrap_or_else(|error| {
            tracing::warn!(node, %error, "cannot look for volumes that are half removed");
            BTreeSet::new()
        })
    }

    /// Continues the removal of a directory whose volume is gone already, because its finalizer was
    /// taken off by hand.
    async fn finish(&self, volume: &str) -> Result<Outcome, Error> {
        let mut outcome = Outcome::Done;
        for node in self.config.all_nodes() {
            if self.half_removed(node).await.contains(volume)
                && self.clear(Key::new(node.clone(), volume)).await? != Outcome::Done
            {
                outcome = Outcome::After(Duration::ZERO);
            }
        }
        Ok(outcome)
    }

    /// Continues a removal that an earlier process began, or whose volume is gone.
    pub(super) async fn clear(&self, Key { namespace: node, name }: Key) -> Result<Outcome, Error> {
        let Some(root) = self.config.root_of(&node) else { return Ok(Outcome::Done) };
        match on_disk(move || disk::clear(&root, &name)).await? {
            true => Ok(Outcome::Done),
            false => Ok(Outcome::After(Duration::ZERO)),
        }
    }

    /// Adds the finalizer or takes it off, whatever other finalizers stand beside it by now.
    async fn guard(
        &self,
        volume: &PersistentVolume,
        on: bool,
        cause: Option<Cause>,
    ) -> Result<Outcome, Error> {
        let meta = &volume.metadata;
        let mut patch = json!({"metadata": {"uid": meta.uid}});
        match on {
            true => patch["metadata"]["finalizers"] = json!([FINALIZER]),
            false => {
                patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!([FINALIZER]);
                // That the directory may be left, or is gone, was decided on this version.
                patch["metadata"]["resourceVersion"] = json!(meta.resource_version);
            }
        }
        let api = self.config.client.caused_by(cause).cluster::<PersistentVolume>();
        let name = meta.name.as_deref().unwrap_or_default();
        optional(api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await)?;
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests;
