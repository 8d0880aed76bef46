//! Requests of volumes for the open claims of one pod, before it is bound. Upstream:
//! `bindAPIUpdate` in `pkg/scheduler/framework/plugins/volumebinding/binder.go`.

use crate::volumes::{Choice, Open};
use api::volumes::{SELECTED_NODE, reservation};
use client::{Client, reference};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// An open claim whose volume was requested.
pub(super) struct Requested {
    pub open: Open,
    pub choice: Choice,
    /// The claim's resource version in the answer to the request for a provisioner. A cache that is
    /// older may not show the request yet.
    pub version: Option<u64>,
}

pub(super) fn version_of(claim: &PersistentVolumeClaim) -> Option<u64> {
    claim.metadata.resource_version.as_deref()?.parse().ok()
}

/// Requests the volumes of all open claims, before the first one is waited for. If the scheduler
/// ends in between, a reserved volume is bound all the same, and the pod's next decision goes where
/// its volumes are.
///
/// # Errors
/// Of a request. Those after it are not sent.
pub(super) async fn request_volumes(
    client: &Client,
    choices: Vec<(Open, Choice)>,
    node: &str,
) -> Result<Vec<Requested>, kube::Error> {
    let mut requested = Vec::with_capacity(choices.len());
    for (open, choice) in choices {
        let mut version = None;
        match &choice {
            Choice::Reserve(volume) => {
                let patch = reservation(volume, &open.claim, &reference(&*open.claim));
                let api = client.cluster::<PersistentVolume>();
                let name = volume.metadata.name.as_deref().unwrap_or_default();
                api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            }
            Choice::Provision => {
                let annotations = json!({SELECTED_NODE: node});
                let patch = json!({"metadata": {"uid": open.claim.metadata.uid, "annotations": annotations}});
                let api = client.within::<PersistentVolumeClaim>(&open.key.namespace);
                let claim = api.patch(&open.key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
                version = version_of(&claim);
            }
            Choice::Await => {}
        }
        requested.push(Requested { open, choice, version });
    }
    Ok(requested)
}
