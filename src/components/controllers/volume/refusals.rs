//! Why a claim does not get the volume that it names, and why a released volume is not reclaimed.

use super::PROVISIONED_BY;
use api::volumes::{is_reserved_for, mismatch};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

const MIGRATED_TO: &str = "pv.kubernetes.io/migrated-to";

/// Pure: why a claim does not get the volume that it names, as reason and message of an Event.
/// Upstream says nothing of a volume that does not exist.
pub(super) fn refused_binding(
    name: &str,
    volume: Option<&PersistentVolume>,
    claim: &PersistentVolumeClaim,
) -> (&'static str, String) {
    let Some(volume) = volume else {
        return ("FailedBinding", format!("volume {name:?} does not exist"));
    };
    if volume.spec.as_ref().is_some_and(|s| s.claim_ref.is_some()) && !is_reserved_for(volume, claim) {
        return ("FailedBinding", format!("volume {name:?} already bound to a different claim."));
    }
    let why = mismatch(volume, claim).unwrap_or_else(|| "it is not available yet".into());
    ("VolumeMismatch", format!("Cannot bind to requested volume {name:?}: {why}"))
}

/// Pure: why a released volume cannot be reclaimed, with the reason of the Event. `None`: it is
/// retained, or its provisioner deletes it.
///
/// ```text
/// Retain                               None
/// Delete, made by a provisioner, CSI   None
/// Delete, hostPath /data/x             upstream deletes directories below /tmp only
/// Delete, hostPath /tmp/x              the directory is on a node, which no controller can reach
/// Delete, nfs                          there is no deleter
/// Recycle                              there is no recycler
/// ```
pub(super) fn reclaim_refusal(volume: &PersistentVolume) -> Option<(&'static str, String)> {
    const NO_DELETER: &str = "VolumeFailedDelete";
    let spec = volume.spec.as_ref()?;
    let note = |name: &str| volume.metadata.annotations.as_ref().and_then(|all| all.get(name));
    if note(MIGRATED_TO).is_some_and(|driver| !driver.is_empty()) {
        return None;
    }
    match spec.persistent_volume_reclaim_policy.as_deref() {
        Some("Delete") => {}
        Some("Recycle") => {
            return Some(("VolumeFailedRecycle", "No recycler plugin found for the volume!".into()));
        }
        _ => return None,
    }
    let provisioner = note(PROVISIONED_BY).filter(|name| !name.is_empty());
    if spec.csi.is_some() || provisioner.is_some_and(|name| !name.starts_with("kubernetes.io/")) {
        return None;
    }
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let Some(host) = &spec.host_path else {
        let is_known = spec.nfs.is_some() || spec.fc.is_some() || spec.iscsi.is_some();
        let deletable = if is_known { "deletable " } else { "" };
        let why = format!(
            "error getting deleter volume plugin for volume {name:?}: no {deletable}volume plugin matched"
        );
        return Some((NO_DELETER, why));
    };
    let path = &host.path;
    let is_below_tmp = path.split_once("/tmp/").is_some_and(|(_, rest)| !rest.is_empty());
    let why = match is_below_tmp {
        true => format!("Ropewalk deletes no directories of hostPath volumes: delete {path} and the volume"),
        false => format!("host_path deleter only supports /tmp/.+ but received provided {path}"),
    };
    Some((NO_DELETER, why))
}
