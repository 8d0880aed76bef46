//! What makes a pod of a StatefulSet this pod and no other: its ordinal, and with it its name, host
//! name, labels and claims.

use crate::pods::{self, owned_by};
use crate::revisions::HASH;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Where the ordinals begin: `spec.ordinals.start`.
pub fn first(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.ordinals.as_ref()?.start).unwrap_or(0)
}

/// `web-3` is the set's pod number 3.
pub fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let number: i32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// Returns whether the pod's name is that of a pod of the set (upstream's `isMemberOf`).
pub fn is_member(set: &str, pod: &Pod) -> bool {
    ordinal(set, pod.metadata.name.as_deref().unwrap_or_default()).is_some()
}

/// The pod with this ordinal, of a revision's template.
pub fn pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
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

/// Does the pod's label tell its name? A pod that the set has adopted may lack it. The label of the
/// ordinal does not matter, as upstream.
pub fn is_labelled(pod: &Pod) -> bool {
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(POD_NAME));
    label.is_some() && label == pod.metadata.name.as_ref()
}

/// Has the pod a volume for each of its claims? A pod that the set has adopted may have others.
pub fn has_storage(set: &StatefulSet, pod: &Pod, ordinal: i32) -> bool {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    claim_templates(set).iter().all(|claim| {
        let volume = volumes.iter().find(|v| Some(&v.name) == claim.metadata.name.as_ref());
        let source = volume.and_then(|v| v.persistent_volume_claim.as_ref());
        source.is_some_and(|source| source.claim_name == claim_name(set, claim, ordinal))
    })
}

/// Pure: the pod with the labels and volumes that it should have.
pub fn repaired(set: &StatefulSet, pod: &Pod, ordinal: i32) -> Pod {
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

/// The claims of the pod with this ordinal.
pub fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
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
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        }
    };
    spec.volume_claim_templates.iter().flatten().map(of).collect()
}

/// Do claims go with a pod that is scaled away (`whenScaled: Delete`)?
pub fn deletes_scaled(set: &StatefulSet) -> bool {
    let policy = set.spec.as_ref().and_then(|s| s.persistent_volume_claim_retention_policy.as_ref());
    policy.is_some_and(|p| p.when_scaled.as_deref() == Some("Delete"))
}

/// Pure: is a claim of a pod that is to be made about to go, because it belonged to an earlier pod
/// of that name?
///
/// `web` is scaled from 3 to 2: `data-web-2` is owned by the pod `web-2`, and the garbage collector
/// deletes it after the pod. Scaled to 3 again before that, a new `web-2` would lose its volume.
pub fn is_stale(set: &StatefulSet, claim: &ObjectMeta, ordinal: i32) -> bool {
    let pod = format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or_default());
    let owned = claim.owner_references.iter().flatten().any(|o| o.kind == "Pod" && o.name == pod);
    claim.deletion_timestamp.is_some() || owned
}

/// Pure: who should own a claim, by `spec.persistentVolumeClaimRetentionPolicy`: the set if it is
/// to go with the set, the pod if it is to go with a pod that is scaled away. Other owners are not
/// ours to touch.
pub fn claim_owners(
    set: &StatefulSet,
    claim: &PersistentVolumeClaim,
    pod: Option<&Pod>,
    condemned: bool,
) -> Vec<OwnerReference> {
    let policy = set.spec.as_ref().and_then(|s| s.persistent_volume_claim_retention_policy.clone());
    let with_set = policy.is_some_and(|p| p.when_deleted.as_deref() == Some("Delete"));
    let with_pod = deletes_scaled(set);
    let plain =
        |owner: OwnerReference| OwnerReference { controller: None, block_owner_deletion: None, ..owner };
    let mut owners = claim.metadata.owner_references.clone().unwrap_or_default();
    let name = set.metadata.name.as_deref().unwrap_or_default();
    owners.retain(|o| {
        let of_set = o.kind == "StatefulSet" && o.name == name;
        let of_pod = o.kind == "Pod" && ordinal(name, &o.name).is_some();
        !of_set && !of_pod
    });
    match pod.filter(|_| condemned && with_pod) {
        Some(pod) => owners.push(plain(owned_by(pod))),
        None if with_set && !(condemned && with_pod) => owners.push(plain(owned_by(set))),
        None => {}
    }
    owners
}
