//! What makes a pod of a StatefulSet this pod and no other: its ordinal, and with it its name, host
//! name, labels and claims.

use crate::pods::{self, owned_by};
use crate::revisions::HASH;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

pub(super) const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub(super) const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Returns where the ordinals begin: `spec.ordinals.start`.
pub(super) fn first(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.ordinals.as_ref()?.start).unwrap_or(0)
}

/// Reads the ordinal in a pod's name: `web-3` is the pod 3 of the set `web`, and `web-03` is none
/// of it.
pub(super) fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let number: i32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// Returns whether the pod's name is that of a pod of the set (upstream's `isMemberOf`).
pub(super) fn is_member(set: &str, pod: &Pod) -> bool {
    ordinal(set, pod.metadata.name.as_deref().unwrap_or_default()).is_some()
}

/// Makes the pod with this ordinal from a revision's template.
pub(super) fn pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let spec = set.spec.clone().unwrap_or_default();
    let owner = owned_by(set);
    let name = format!("{}-{ordinal}", owner.name);
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pods::from_template(template, name.clone(), namespace, owner);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH.into(), revision.into());
    label(&mut pod, ordinal);
    store(set, &mut pod, ordinal);
    let Some(body) = &mut pod.spec else { return pod };
    body.hostname = Some(name);
    body.subdomain = spec.service_name.filter(|s| !s.is_empty());
    pod
}

/// Gives the pod the labels of its name and ordinal.
fn label(pod: &mut Pod, ordinal: i32) {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.into(), name);
    labels.insert(POD_INDEX.into(), ordinal.to_string());
}

/// Gives the pod a volume for each of its claims, in place of a volume of the same name.
fn store(set: &StatefulSet, pod: &mut Pod, ordinal: i32) {
    let Some(body) = &mut pod.spec else { return };
    for claim in claim_templates(set) {
        let volume = claim.metadata.name.clone().unwrap_or_default();
        let volumes = body.volumes.get_or_insert_default();
        volumes.retain(|v| v.name != volume);
        volumes.push(Volume {
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(set, claim, ordinal),
                read_only: Some(false),
            }),
            name: volume,
            ..Volume::default()
        });
    }
}

fn claim_templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.as_ref().and_then(|s| s.volume_claim_templates.as_deref()).unwrap_or_default()
}

/// Returns whether the pod's label has its name. A pod that the set has adopted may lack it. The
/// label of the ordinal does not matter, as upstream.
pub(super) fn is_labelled(pod: &Pod) -> bool {
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(POD_NAME));
    label.is_some() && label == pod.metadata.name.as_ref()
}

/// Returns whether the pod has a volume for each of its claims. A pod that the set has adopted may
/// have others.
pub(super) fn has_storage(set: &StatefulSet, pod: &Pod, ordinal: i32) -> bool {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    claim_templates(set).iter().all(|claim| {
        let volume = volumes.iter().find(|v| Some(&v.name) == claim.metadata.name.as_ref());
        let source = volume.and_then(|v| v.persistent_volume_claim.as_ref());
        source.is_some_and(|source| source.claim_name == claim_name(set, claim, ordinal))
    })
}

/// Pure: the pod with the labels and volumes that it should have.
pub(super) fn repaired(set: &StatefulSet, pod: &Pod, ordinal: i32) -> Pod {
    let mut repaired = pod.clone();
    if !is_labelled(pod) {
        label(&mut repaired, ordinal);
    }
    if !has_storage(set, pod, ordinal) {
        store(set, &mut repaired, ordinal);
    }
    repaired
}

fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    let (volume, set) = (template.metadata.name.as_deref(), set.metadata.name.as_deref());
    format!("{}-{}-{ordinal}", volume.unwrap_or_default(), set.unwrap_or_default())
}

/// Makes the claims of the pod with this ordinal.
pub(super) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let spec = set.spec.clone().unwrap_or_default();
    let of = |template: &PersistentVolumeClaim| {
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(claim_name(set, template, ordinal)),
                namespace: set.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: template.metadata.annotations.clone(),
                finalizers: template.metadata.finalizers.clone(),
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        }
    };
    spec.volume_claim_templates.iter().flatten().map(of).collect()
}

/// Returns whether claims go with a pod that is scaled away (`whenScaled: Delete`).
pub(super) fn deletes_scaled(set: &StatefulSet) -> bool {
    let policy = set.spec.as_ref().and_then(|s| s.persistent_volume_claim_retention_policy.as_ref());
    policy.is_some_and(|p| p.when_scaled.as_deref() == Some("Delete"))
}

/// Pure: returns whether a claim of a pod that is to be made is about to go, because it belonged to
/// an earlier pod of that name.
///
/// `web` is scaled from 3 to 2: `data-web-2` is owned by the pod `web-2`, and the garbage collector
/// deletes it after the pod. Scaled to 3 again before that, a new `web-2` would lose its volume.
pub(super) fn is_stale(set: &StatefulSet, claim: &ObjectMeta, ordinal: i32) -> bool {
    let pod = format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or_default());
    let owned = claim.owner_references.iter().flatten().any(|o| o.kind == "Pod" && o.name == pod);
    claim.deletion_timestamp.is_some() || owned
}

/// Returns whether two references name the same object. Its uid may differ: then one of them is of
/// an earlier object of that name.
fn is_same_name(a: &OwnerReference, b: &OwnerReference) -> bool {
    (&a.api_version, &a.kind, &a.name) == (&b.api_version, &b.kind, &b.name)
}

/// Pure: returns whether another controller owns the claim of this pod, so that the retention
/// policy cannot hold (upstream's `hasUnexpectedController`). Without a policy that deletes there
/// is no conflict.
pub(super) fn has_other_controller(set: &StatefulSet, claim: &PersistentVolumeClaim, ordinal: i32) -> bool {
    let own = owned_by(set);
    let pod = format!("{}-{ordinal}", own.name);
    let is_ours = |o: &OwnerReference| {
        is_same_name(o, &own) || (o.api_version == "v1" && o.kind == "Pod" && o.name == pod)
    };
    let is_other = pods::controller_of(&claim.metadata).is_some_and(|o| !is_ours(o));
    is_other && (deletes_scaled(set) || deletes_all(set))
}

/// Returns whether claims go with the set (`whenDeleted: Delete`).
fn deletes_all(set: &StatefulSet) -> bool {
    let policy = set.spec.as_ref().and_then(|s| s.persistent_volume_claim_retention_policy.as_ref());
    policy.is_some_and(|p| p.when_deleted.as_deref() == Some("Delete"))
}

/// Pure: who should own the claim of the pod with this ordinal, by
/// `spec.persistentVolumeClaimRetentionPolicy`. `pod`: `None` if it is not there yet; `condemned`:
/// it is scaled away.
///
/// ```text
/// whenDeleted  whenScaled   controller of the claim
/// Retain       Retain       none
/// Delete       Retain       the set
/// Retain       Delete       the pod, once it is condemned
/// Delete       Delete       the set; the pod, once it is condemned
/// ```
///
/// A controller blocks the deletion of its owner in the foreground: the set waits for its claims.
/// A claim that another controller owns gets no second one, and a claim of an earlier set or pod of
/// that name is left alone: the garbage collector may be about to delete it. Other owners stay.
/// Source: `isClaimOwnerUpToDate` and `updateClaimOwnerRefForSetAndPod`.
pub(super) fn claim_owners(
    set: &StatefulSet,
    claim: &PersistentVolumeClaim,
    (ordinal, pod): (i32, Option<&Pod>),
    condemned: bool,
) -> Vec<OwnerReference> {
    let mut owners = claim.metadata.owner_references.clone().unwrap_or_default();
    let (own, of_pod) = (owned_by(set), pod.map(owned_by));
    let ours: Vec<&OwnerReference> = [&own].into_iter().chain(&of_pod).collect();
    let is_stale = |o: &OwnerReference| ours.iter().any(|our| is_same_name(our, o) && our.uid != o.uid);
    if owners.iter().any(is_stale) {
        return owners;
    }
    let wanted = match &of_pod {
        _ if has_other_controller(set, claim, ordinal) => None,
        Some(of_pod) if condemned && deletes_scaled(set) => Some(of_pod),
        _ if deletes_all(set) => Some(&own),
        _ => None,
    };
    owners.retain(|o| {
        let is_right = o.controller == Some(true) && wanted.is_some_and(|wanted| wanted.uid == o.uid);
        is_right || !ours.iter().any(|our| is_same_name(our, o))
    });
    if let Some(wanted) = wanted.filter(|wanted| owners.iter().all(|o| o.uid != wanted.uid)) {
        owners.push(wanted.clone());
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Returns the owners of the claim of `web-2` after a look, beside those that it has: kind,
    /// name, uid, and whether it is the controller that blocks its owner's deletion.
    fn owners(deleted: &str, scaled: &str, condemned: bool, has: Value) -> Vec<String> {
        let policy = json!({"whenDeleted": deleted, "whenScaled": scaled});
        let set = json!({"metadata": {"name": "web", "uid": "s"}, "spec": {"replicas": 2, "selector": {},
            "template": {}, "persistentVolumeClaimRetentionPolicy": policy}});
        let set: StatefulSet = serde_json::from_value(set).unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "web-2", "uid": "p"}})).unwrap();
        let claim = json!({"metadata": {"name": "data-web-2", "ownerReferences": has}});
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
        let owners = claim_owners(&set, &claim, (2, Some(&pod)), condemned);
        let shown = |o: &OwnerReference| {
            let controls = o.controller == Some(true) && o.block_owner_deletion == Some(true);
            format!("{} {} {}{}", o.kind, o.name, o.uid, if controls { " controls" } else { "" })
        };
        owners.iter().map(shown).collect()
    }

    fn owner(version: &str, kind: &str, name: &str, uid: &str, controls: bool) -> Value {
        json!({"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": controls,
            "blockOwnerDeletion": controls})
    }

    #[test]
    fn a_claim_has_the_metadata_of_its_template() {
        let template = json!({"metadata": {"name": "data", "labels": {"a": "b"}, "annotations": {"c": "d"},
            "finalizers": ["example.com/keep"]}});
        let set = json!({"metadata": {"name": "web", "namespace": "n"}, "spec": {"template": {},
            "selector": {"matchLabels": {"app": "web"}}, "volumeClaimTemplates": [template]}});
        let made = claims(&serde_json::from_value(set).unwrap(), 2);
        let made: Vec<Value> = made.iter().map(|claim| json!(claim.metadata)).collect();
        let want = json!({"name": "data-web-2", "namespace": "n", "labels": {"a": "b", "app": "web"},
            "annotations": {"c": "d"}, "finalizers": ["example.com/keep"]});
        assert_eq!(made, [want]);
    }

    #[test]
    fn claims_are_controlled_by_what_they_go_with() {
        let (set, pod) = ("StatefulSet web s controls", "Pod web-2 p controls");
        for (deleted, scaled, condemned, want) in [
            ("Retain", "Retain", true, vec![]),
            ("Delete", "Retain", true, vec![set]),
            ("Retain", "Delete", false, vec![]),
            ("Retain", "Delete", true, vec![pod]),
            ("Delete", "Delete", false, vec![set]),
            ("Delete", "Delete", true, vec![pod]),
        ] {
            let (by_set, by_pod) =
                (owner("apps/v1", "StatefulSet", "web", "s", true), owner("v1", "Pod", "web-2", "p", true));
            for has in [json!([]), json!([by_set]), json!([by_pod])] {
                assert_eq!(owners(deleted, scaled, condemned, has), want, "{deleted} {scaled} {condemned}");
            }
        }
        let plain = json!([owner("apps/v1", "StatefulSet", "web", "s", false)]);
        assert_eq!(owners("Delete", "Retain", false, plain), [set], "an owner becomes the controller");
        let first = json!([
            owner("apps/v1", "StatefulSet", "web", "s", true),
            owner("v1", "ConfigMap", "c", "c", false)
        ]);
        assert_eq!(owners("Delete", "Retain", false, first), [set, "ConfigMap c c"], "nothing to write");
    }

    #[test]
    fn claims_of_other_controllers_and_of_earlier_sets_are_left_alone() {
        let other = owner("example.com/v1", "Backup", "b", "b", true);
        let by_set = owner("apps/v1", "StatefulSet", "web", "s", false);
        assert_eq!(owners("Delete", "Retain", false, json!([other])), ["Backup b b controls"]);
        assert_eq!(owners("Delete", "Retain", false, json!([other, by_set])), ["Backup b b controls"]);
        let earlier = json!([owner("apps/v1", "StatefulSet", "web", "earlier", true)]);
        assert_eq!(owners("Retain", "Retain", false, earlier), ["StatefulSet web earlier controls"]);
        let earlier = json!([owner("v1", "Pod", "web-2", "earlier", true)]);
        assert_eq!(owners("Delete", "Delete", true, earlier), ["Pod web-2 earlier controls"]);
    }
}
