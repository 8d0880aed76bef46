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

/// Returns the claim's resource version as a number.
pub(super) fn version_of(claim: &PersistentVolumeClaim) -> Option<u64> {
    claim.metadata.resource_version.as_deref()?.parse().ok()
}

/// Requests the volumes of all open claims, before the first one is waited for. If the scheduler
/// ends in between, a reserved volume is bound all the same, and the pod's next decision goes where
/// its volumes are.
///
/// Volumes that are there are reserved first. A claim takes the last free volume of n1, another one
/// is to be provisioned: if the volume is lost to another claim meanwhile, no volume may be made on
/// n1, which would tie the pod to a node where it cannot run.
///
/// # Errors
/// The error of the first request that fails. Those after it are not sent.
pub(super) async fn request_volumes(
    client: &Client,
    mut choices: Vec<(Open, Choice)>,
    node: &str,
) -> Result<Vec<Requested>, kube::Error> {
    choices.sort_by_key(|(_, choice)| matches!(choice, Choice::Provision));
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

#[cfg(test)]
mod tests {
    use super::super::tests::{claim, free_volume};
    use super::*;
    use client::Key;
    use client::testing::{Scripted, refusal};
    use std::sync::Arc;

    fn open(name: &str) -> Open {
        let mut claim = claim("");
        claim.metadata.name = Some(name.into());
        let key = Key::of(&claim);
        let claim = Arc::new(claim);
        Open { key, claim, provisioned: true, node: None, is_shared: false, fitting: vec![] }
    }

    #[tokio::test]
    async fn no_volume_is_made_on_a_node_where_another_one_is_lost() {
        let server = Scripted::new(|asked| match asked.line.contains("/persistentvolumes/") {
            true => refusal(409, "Conflict"),
            false => None,
        })
        .await;
        let reserve = Choice::Reserve(Arc::new(free_volume()));
        let choices = vec![(open("made"), Choice::Provision), (open("reserved"), reserve)];
        assert!(request_volumes(&server.client, choices, "n").await.is_err());
        assert_eq!(server.lines(), ["PATCH /api/v1/persistentvolumes/v"]);
    }
}
