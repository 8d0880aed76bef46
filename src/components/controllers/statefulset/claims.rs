//! The claims of a StatefulSet's pods: made before a pod, owned by what the retention policy says
//! (the set, the pod or none), and waited for while those of an earlier pod are going.

use super::decide::Plan;
use super::identity;
use crate::error::{Error, message_of};
use crate::workload::Look;
use crate::write::unless_gone;
use client::is_code;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use std::sync::Arc;

/// Holds a pod up whose claims are still to be deleted with an earlier pod of its name. The API
/// server is asked: the cache of the claims may be behind that of the pods.
///
/// # Errors
/// `NotYet`: a claim is still there.
pub(super) async fn wait_for_stale_claims(look: &Look<'_, StatefulSet>, ordinal: i32) -> Result<(), Error> {
    if !identity::deletes_scaled(&look.object) {
        return Ok(());
    }
    let api = look.api::<PersistentVolumeClaim>();
    for claim in identity::claims(&look.object, ordinal) {
        let name = claim.metadata.name.unwrap_or_default();
        let there = client::optional(api.get_metadata(&name).await)?;
        if there.is_some_and(|claim| identity::is_stale(&look.object, &claim.metadata, ordinal)) {
            let why = format!("pvc {name} is to be deleted with the pod that was scaled away");
            return Err(Error::NotYet(why));
        }
    }
    Ok(())
}

/// Makes the claims of one pod that are not there yet. They outlive the pod. A claim that is
/// refused holds up the pod, and no other claim (upstream: `createPersistentVolumeClaims`).
///
/// # Errors
/// `NotYet`: claims could not be made, or earlier ones of their names are still being deleted.
pub(super) async fn make_claims(look: &Look<'_, StatefulSet>, ordinal: i32) -> Result<(), Error> {
    let mut failed = vec![];
    for claim in identity::claims(&look.object, ordinal) {
        failed.extend(make_claim(look, ordinal, claim).await.err());
    }
    match failed.as_slice() {
        [] => Ok(()),
        [one] => Err(Error::NotYet(one.clone())),
        many => Err(Error::NotYet(format!("[{}]", many.join(", ")))),
    }
}

/// Makes a claim, unless it is there.
///
/// # Errors
/// The reason why the claim cannot be used.
async fn make_claim(
    look: &Look<'_, StatefulSet>,
    ordinal: i32,
    mut claim: PersistentVolumeClaim,
) -> Result<(), String> {
    let name = claim.metadata.name.clone().unwrap_or_default();
    let key = client::Key::new(look.key.namespace.clone(), name.clone());
    match look.shared.informer::<PersistentVolumeClaim>().get(&key) {
        Some(there) if there.metadata.deletion_timestamp.is_some() => {
            return Err(format!("pvc {name} is being deleted"));
        }
        Some(there) => {
            warn_of_controller(look, &there, ordinal);
            return Ok(());
        }
        None => {}
    }
    claim.metadata.owner_references =
        Some(identity::claim_owners(&look.object, &claim, (ordinal, None), false));
    let (set, pod) = (&look.key.name, format!("{}-{ordinal}", look.key.name));
    let about = &look.control.about;
    match look.api::<PersistentVolumeClaim>().create(&PostParams::default(), &claim).await {
        Ok(_) => {
            let message = format!("Create Claim {name} Pod {pod} in StatefulSet {set} success");
            look.control.recorder.normal(about, "SuccessfulCreate", message, look.cause.clone());
            Ok(())
        }
        Err(error) if is_code(&error, 409) => Ok(()),
        Err(error) => {
            let why = message_of(&error);
            let message =
                format!("Create Claim {name} for Pod {pod} in StatefulSet {set} failed error: {why}");
            look.control.recorder.warning(about, "FailedCreate", message, look.cause.clone());
            Err(format!("failed to create PVC {name}: {why}"))
        }
    }
}

/// Warns of a claim whose retention policy cannot hold: another controller owns it.
fn warn_of_controller(look: &Look<'_, StatefulSet>, claim: &PersistentVolumeClaim, ordinal: i32) {
    if identity::has_other_controller(&look.object, claim, ordinal) {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let message = format!(
            "PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a managing controller, \
             the retention policy is ignored for this claim"
        );
        look.control.recorder.warning(
            &look.control.about,
            "ConflictingController",
            message,
            look.cause.clone(),
        );
    }
}

/// Gives claims the owner that the retention policy says, before a pod goes that would take them
/// along.
pub(super) async fn own_claims(
    look: &Look<'_, StatefulSet>,
    plan: &Plan,
    mine: &[Arc<Pod>],
) -> Result<(), Error> {
    for pod in mine {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let Some(ordinal) = identity::ordinal(&look.key.name, name) else { continue };
        let condemned = plan.condemned.iter().any(|n| n == name);
        for wanted in identity::claims(&look.object, ordinal) {
            let claim_name = wanted.metadata.name.unwrap_or_default();
            let key = client::Key::new(look.key.namespace.clone(), claim_name.clone());
            let Some(claim) = look.shared.informer::<PersistentVolumeClaim>().get(&key) else { continue };
            let owners = identity::claim_owners(&look.object, &claim, (ordinal, Some(pod)), condemned);
            if owners == claim.metadata.owner_references.clone().unwrap_or_default() {
                continue;
            }
            warn_of_controller(look, &claim, ordinal);
            // The list is written as a whole: owners that others have added meanwhile are kept by
            // the resource version.
            let (uid, version) = (&claim.metadata.uid, &claim.metadata.resource_version);
            let meta = json!({"uid": uid, "resourceVersion": version, "ownerReferences": owners});
            let api = look.api::<PersistentVolumeClaim>();
            let patch = Patch::Merge(json!({"metadata": meta}));
            unless_gone(api.patch(&claim_name, &PatchParams::default(), &patch).await)?;
        }
    }
    Ok(())
}

/// Reports on the set that a pod is not made because its claims are not there.
pub(super) fn report_refused(look: &Look<'_, StatefulSet>, ordinal: i32, error: &Error) {
    let (control, set) = (&look.control, &look.key.name);
    let message = (control.words.refused)(set, &format!("{set}-{ordinal}"), &error.to_string());
    control.recorder.warning(&control.about, "FailedCreate", message, look.cause.clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Shared;
    use crate::statefulset::StatefulSets;
    use crate::workload;
    use client::Key;
    use client::testing::{Asked, Scripted, refusal};

    /// Upstream: `CreateStatefulPod` with `recordClaimEvent` and `recordPodEvent`.
    #[tokio::test]
    async fn a_pod_whose_claim_is_refused_or_still_going_gets_events() {
        let end = "for Pod web-0 in StatefulSet web failed error: it is guarded";
        let [data, logs] = ["data-web-0", "logs-web-0"].map(|name| format!("Create Claim {name} {end}"));
        let pod = |why: &str| format!("Create Pod web-0 in StatefulSet web failed error: {why}");
        let why = |name: &str| format!("failed to create PVC {name}: it is guarded");
        let refused = pod(&format!("[{}, {}]", why("data-web-0"), why("logs-web-0")));
        let going = pod(&format!("[pvc data-web-0 is being deleted, {}]", why("logs-web-0")));
        for (is_going, want) in [(false, vec![data, logs.clone(), refused]), (true, vec![logs, going])] {
            let set = json!({"metadata": {"name": "web", "namespace": "d", "uid": "1", "resourceVersion": "5"},
                "spec": {"replicas": 1, "serviceName": "web", "selector": {"matchLabels": {"a": "b"}},
                    "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}},
                    "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}},
                        {"metadata": {"name": "logs"}, "spec": {}}]}});
            let stored = set.clone();
            let server = Scripted::new(move |asked| match asked.line.as_str() {
                line if line.ends_with("/persistentvolumeclaims") => refusal(403, "it is guarded"),
                line if line.contains("/statefulsets/web") => Some((200, stored.clone())),
                line if line.starts_with("POST") => Some((201, asked.body.clone())),
                _ => None,
            })
            .await;
            let shared = Shared::fixed(&server.client);
            shared.informer::<StatefulSet>().show(serde_json::from_value(set).unwrap());
            if is_going {
                let meta = json!({"name": "data-web-0", "namespace": "d", "uid": "c",
                    "deletionTimestamp": "2026-01-01T00:00:00Z"});
                let claim = json!({"metadata": meta});
                shared.informer::<PersistentVolumeClaim>().show(serde_json::from_value(claim).unwrap());
            }
            assert!(workload::look_once::<StatefulSets>(&shared, &Key::new("d", "web")).await.is_err());
            for message in want {
                let is_it = |event: &&Asked| {
                    event.body["message"] == message.as_str() && event.body["reason"] == "FailedCreate"
                };
                server.until(|all| all.iter().find(is_it).cloned()).await;
            }
        }
    }

    /// Upstream: `slowStartBatch`, of which the first batch is `web-0`, and the second the others.
    #[tokio::test]
    async fn a_pod_whose_claim_is_going_holds_up_no_other_of_its_round() {
        let set = json!({"metadata": {"name": "web", "namespace": "d", "uid": "1", "resourceVersion": "5"},
            "spec": {"replicas": 3, "serviceName": "web", "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}});
        let stored = set.clone();
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            line if line.contains("/statefulsets/web") => Some((200, stored.clone())),
            line if line.starts_with("POST") => Some((201, asked.body.clone())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<StatefulSet>().show(serde_json::from_value(set).unwrap());
        let meta = json!({"name": "data-web-1", "namespace": "d", "uid": "c",
            "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let claim = json!({"metadata": meta});
        shared.informer::<PersistentVolumeClaim>().show(serde_json::from_value(claim).unwrap());
        assert!(workload::look_once::<StatefulSets>(&shared, &Key::new("d", "web")).await.is_err());
        let mut asked = server.take();
        asked.retain(|one| one.line == "POST /api/v1/namespaces/d/pods");
        let names: Vec<&str> = asked.iter().filter_map(|one| one.body["metadata"]["name"].as_str()).collect();
        assert_eq!(names, ["web-0", "web-2"]);
    }
}
