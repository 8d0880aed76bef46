//! Mirror pods: how the API shows a static pod. The object follows the pod; deleting the object ends nothing.

use super::{Config, Error, status};
use crate::client::{is_code, optional};
use k8s_openapi::api::core::v1::{Node, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use std::collections::BTreeMap;

const MIRROR: &str = "kubernetes.io/config.mirror";
const HASH: &str = "kubernetes.io/config.hash";

/// Whether a pod of the API shows a static pod, or says so.
pub fn is_one(pod: &Pod) -> bool {
    pod.metadata.annotations.iter().flatten().any(|(key, _)| key == MIRROR)
}

/// Removes a mirror at once. That it is gone, or was replaced, is no error.
///
/// # Errors
/// As the API's.
pub async fn remove(api: &Api<Pod>, mirror: &Pod) -> Result<(), Error> {
    let preconditions = Preconditions { uid: mirror.metadata.uid.clone(), resource_version: None };
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(preconditions),
        ..Default::default()
    };
    match api.delete(mirror.metadata.name.as_deref().unwrap_or_default(), &now).await {
        Ok(_) => Ok(()),
        Err(error) if is_code(&error, 404) || is_code(&error, 409) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The status of a static pod as its mirror goes on: a static pod itself has no stored status, so when it started and when its
/// conditions changed is known from the mirror alone (as in upstream's status manager).
fn following(status: &PodStatus, shown: Option<&PodStatus>) -> PodStatus {
    let (mut status, Some(shown)) = (status.clone(), shown) else { return status.clone() };
    status.start_time = shown.start_time.clone().or(status.start_time);
    let conditions = status.conditions.get_or_insert_default();
    status::keep_conditions(conditions, shown.conditions.as_deref().unwrap_or_default());
    status
}

/// Makes the API show the static pod with this status.
pub async fn show(config: &Config, pod: &Pod, status: &PodStatus) -> Result<(), Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let hash = pod.metadata.uid.clone().unwrap_or_default();
    let api = config.client.within::<Pod>(namespace);
    let mut mirror = optional(api.get(name).await)?;
    let stale = |m: &Pod| {
        let annotated = m.metadata.annotations.as_ref().and_then(|a| a.get(HASH)) == Some(&hash);
        m.metadata.deletion_timestamp.is_some() || !annotated
    };
    if let Some(old) = mirror.as_ref().filter(|m| stale(m)) {
        remove(&api, old).await?;
        mirror = None;
    }
    let mirror = match mirror {
        Some(mirror) => mirror,
        None => {
            let node = config.client.cluster::<Node>().get(&config.node_name).await?;
            let mut picture = pod.clone();
            picture.metadata.uid = None;
            let annotations: &mut BTreeMap<String, String> =
                picture.metadata.annotations.get_or_insert_default();
            annotations.insert(MIRROR.into(), hash.clone());
            annotations.insert(HASH.into(), hash.clone());
            annotations.insert("kubernetes.io/config.source".into(), "file".into());
            picture.metadata.owner_references = Some(vec![OwnerReference {
                api_version: "v1".into(),
                kind: "Node".into(),
                name: config.node_name.clone(),
                uid: node.metadata.uid.unwrap_or_default(),
                controller: Some(true),
                ..OwnerReference::default()
            }]);
            match api.create(&PostParams::default(), &picture).await {
                Ok(made) => made,
                Err(error) if is_code(&error, 409) => api.get(name).await?,
                Err(error) => return Err(error.into()),
            }
        }
    };
    let status = &following(status, mirror.status.as_ref());
    if status::differs(mirror.status.as_ref(), status) {
        let patch = json!({"metadata": {"uid": mirror.metadata.uid}, "status": status});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_keeps_when_its_pod_started_and_when_its_conditions_changed() {
        let status = |at: &str, ready: &str| -> PodStatus {
            serde_json::from_value(json!({
                "startTime": at, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": at}],
            }))
            .unwrap()
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let shown = status(early, "True");
        assert_eq!(following(&status(late, "True"), Some(&shown)), shown);
        let mut changed = status(late, "False");
        changed.start_time = shown.start_time.clone();
        assert_eq!(following(&status(late, "False"), Some(&shown)), changed);
        assert_eq!(following(&shown, None), shown);
    }
}
