//! PersistentVolumes for claims, and which claims get one. All of it is pure.

use super::names::{FINALIZER, HOSTNAME, MADE_BY, PROVISIONER, ROOT};
use client::{Key, reference};
use k8s_openapi::api::core::v1::{
    HostPathVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Bytes of a name in a file system (`NAME_MAX`).
pub(super) const NAME_MAX: usize = 255;

/// Returns the name of the volume for the claim with this uid, as
/// sig-storage-lib-external-provisioner makes it.
pub(super) fn name_of(uid: &str) -> String {
    format!("pvc-{uid}")
}

/// Returns the path of a claim's volume in its node's file system. `None` for names that are no
/// names: each is a part of one name of a directory. A claim's name may have 253 bytes, so that all
/// three together are too long for a directory: the claim's name is then shortened. The uid alone
/// tells the directories apart.
pub(super) fn path_of(uid: &str, namespace: &str, name: &str) -> Option<String> {
    let plain = |part: &str| !part.is_empty() && !part.contains(['/', '\0']);
    if ![uid, namespace, name].into_iter().all(plain) {
        return None;
    }
    let before = format!("{}_{namespace}_", name_of(uid));
    let room = NAME_MAX.checked_sub(before.len())?;
    Some(format!("{ROOT}/{before}{}", &name[..name.floor_char_boundary(room)]))
}

/// Returns the directory of a volume that this provisioner made: its node, and its path in the
/// node's file system. Which claim it is for does not count: an administrator may have kept the
/// volume when its first claim went, and given it to another one. Pure.
///
/// ```text
/// pvc-u, /var/local-path-provisioner/pvc-u_d_data   -> its directory
/// pvc-u, /var/local-path-provisioner/pvc-v_d_data   -> refused: the directory is that of pvc-v
/// pvc-u, /etc                                       -> refused
/// ```
///
/// # Errors
/// A user who may write a PersistentVolume may write this provisioner's name into it. A volume
/// whose path is not that of its own directory is refused, and nothing is removed.
pub(super) fn made_for(volume: &PersistentVolume) -> Result<(String, String), String> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let source = volume.spec.as_ref().and_then(|spec| spec.host_path.as_ref());
    if source.is_none_or(|source| !is_own_path(name, &source.path)) {
        return Err(format!("{name}: its name or path is not one that {PROVISIONER} makes"));
    }
    place_of(volume).ok_or_else(|| format!("{name}: its node affinity does not name one node"))
}

/// Returns whether [`path_of`] makes this path for the volume of this name. No name of a volume has
/// a `_`, so one directory is that of one volume alone.
fn is_own_path(volume: &str, path: &str) -> bool {
    let is_made = volume.strip_prefix("pvc-").is_some_and(|uid| !uid.is_empty() && !uid.contains(['_', '/']));
    let directory = path.strip_prefix(ROOT).and_then(|below| below.strip_prefix('/'));
    let claim = directory.and_then(|directory| directory.strip_prefix(volume)?.strip_prefix('_'));
    is_made && claim.is_some_and(|claim| !claim.is_empty() && !claim.contains(['/', '\0']))
}

/// Returns the node that a volume's affinity names, and its path there, whatever its claim is.
/// `None`: it has no path, or its affinity does not name one node. Pure.
pub(super) fn place_of(volume: &PersistentVolume) -> Option<(String, String)> {
    let spec = volume.spec.as_ref()?;
    let path = spec.host_path.as_ref()?.path.clone();
    let terms = &spec.node_affinity.as_ref()?.required.as_ref()?.node_selector_terms;
    let on: Vec<&NodeSelectorRequirement> =
        terms.iter().flat_map(|term| term.match_expressions.iter().flatten()).collect();
    match on.as_slice() {
        [on] if on.key == HOSTNAME && on.operator == "In" => match on.values.as_deref() {
            Some([node]) => Some((node.clone(), path)),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the key of the claim that a volume is for, if it is for one. Pure.
pub(super) fn claim_of(volume: &PersistentVolume) -> Option<Key> {
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(Key::new(claim.namespace.clone()?, claim.name.clone()?))
}

/// Makes the volume for a claim, on a node. Pure.
pub(super) fn volume_for(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &str,
) -> PersistentVolume {
    let uid = claim.metadata.uid.clone().unwrap_or_default();
    let key = Key::of(claim);
    let spec = claim.spec.clone().unwrap_or_default();
    let size = spec.resources.and_then(|r| r.requests).and_then(|mut requests| requests.remove("storage"));
    let source = HostPathVolumeSource {
        path: path_of(&uid, &key.namespace, &key.name).unwrap_or_default(),
        type_: Some("DirectoryOrCreate".into()),
    };
    let policy = class.reclaim_policy.as_deref().unwrap_or("Delete");
    let on_node = NodeSelectorRequirement {
        key: HOSTNAME.into(),
        operator: "In".into(),
        values: Some(vec![node.into()]),
    };
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name_of(&uid)),
            finalizers: (policy == "Delete").then(|| vec![FINALIZER.into()]),
            annotations: Some([(MADE_BY.to_string(), PROVISIONER.to_string())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            // Of what a claim requests, a volume has the size alone.
            capacity: size.map(|size| [("storage".to_string(), size)].into()),
            claim_ref: Some(reference(claim)),
            host_path: Some(source),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector {
                    node_selector_terms: vec![NodeSelectorTerm {
                        match_expressions: Some(vec![on_node]),
                        ..NodeSelectorTerm::default()
                    }],
                }),
            }),
            persistent_volume_reclaim_policy: Some(policy.into()),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: spec.volume_mode,
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

/// Returns the class and the node of a claim that this provisioner was asked to make a volume for;
/// `None`: the scheduler has not said yet on which node, or the class is another provisioner's. The
/// annotation that asks may be stale, and users who may write the claim may write it, so the class
/// decides (as `provisionClaimOperation` of sig-storage-lib-external-provisioner). Pure.
///
/// # Errors
/// No volume can be made: there is no such class, or it does not wait for the scheduler. A
/// directory is on one node, so without a node there is no place for it (as upstream's
/// local-path-provisioner).
pub(super) fn ready_for<'c>(
    name: &str,
    class: Option<&'c StorageClass>,
    node: Option<String>,
) -> Result<Option<(&'c StorageClass, String)>, String> {
    let failed = |why: &str| Err(format!("failed to provision volume with StorageClass {name:?}: {why}"));
    match (class, node.filter(|node| !node.is_empty())) {
        (None, _) => failed("there is no such StorageClass"),
        (Some(class), _) if class.provisioner != PROVISIONER => Ok(None),
        (Some(class), Some(node)) => Ok(Some((class, node))),
        (Some(class), None) => match class.volume_binding_mode.as_deref() {
            Some("WaitForFirstConsumer") => Ok(None),
            _ => failed(
                "no node was specified; a volume of this provisioner is on one node, so its class has to have \
                 volumeBindingMode: WaitForFirstConsumer",
            ),
        },
    }
}

/// Returns why a claim gets no volume here, whatever its class and its node: it asks for what a
/// directory on one node is not. Source: `canProvision` of sig-storage-lib-external-provisioner,
/// and upstream's local-path-provisioner. Pure.
pub(super) fn refusal(claim: &PersistentVolumeClaim) -> Option<String> {
    let spec = claim.spec.as_ref()?;
    if spec.volume_mode.as_deref().is_some_and(|mode| mode != "Filesystem") {
        return Some(format!("{PROVISIONER} does not support block volume provisioning"));
    }
    let shared = |mode: &&String| !["ReadWriteOnce", "ReadWriteOncePod"].contains(&mode.as_str());
    if let Some(mode) = spec.access_modes.iter().flatten().find(shared) {
        return Some(format!(
            "a directory on one node supports ReadWriteOnce and ReadWriteOncePod access modes only, not {mode}"
        ));
    }
    if spec.selector.is_some() {
        return Some("claim.spec.selector is not supported: a new volume has no labels".into());
    }
    None
}
