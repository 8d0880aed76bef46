//! Volumes, claims and their classes.

use super::pod::{node_label, node_selector_term};
use super::{Found, fractional, has_annotation};
use crate::value::{at, list, text};
use serde_json::Value;

const CLASS: (&str, &str) = (
    "volume.beta.kubernetes.io/storage-class",
    "deprecated since v1.8; use \"storageClassName\" attribute instead",
);
const MOUNT_OPTIONS: (&str, &str) = (
    "volume.beta.kubernetes.io/mount-options",
    "deprecated since v1.31; use \"mountOptions\" attribute instead",
);

/// Plug-ins of volumes that upstream has removed: the field, its name in the warning, and since
/// when. The source of a pod's volume has others, too.
const REMOVED: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];
const REMOVED_OF_PODS: [(&str, &str, &str); 3] = [
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
];

fn removed(source: &Value, path: &str, table: &[(&str, &str, &str)], found: &mut Found) {
    for (field, shown, since) in table {
        if source.get(*field).is_some_and(|source| !source.is_null()) {
            found.push(format!("{path}.{shown}: {since}"));
        }
    }
}

pub(super) fn volume(object: &Value, found: &mut Found) {
    for (key, why) in [CLASS, MOUNT_OPTIONS] {
        if has_annotation(object, key) {
            found.push(format!("metadata.annotations[{key}]: {why}"));
        }
    }
    if text(object, "spec.persistentVolumeReclaimPolicy") == "Recycle" {
        found.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.");
    }
    const TERMS: &str = "spec.nodeAffinity.required.nodeSelectorTerms";
    for (i, term) in list(object, TERMS).iter().enumerate() {
        node_selector_term(term, false, &format!("{TERMS}[{i}]"), found);
    }
    removed(at(object, "spec"), "spec", &REMOVED, found);
}

/// Warns of the plug-in of a pod's volume, and of the claim that is made for it.
pub(super) fn of_pod(volume: &Value, path: &str, found: &mut Found) {
    removed(volume, path, &REMOVED, found);
    removed(volume, path, &REMOVED_OF_PODS, found);
    const CLAIM: &str = "ephemeral.volumeClaimTemplate.spec";
    claim_spec(at(volume, CLAIM), &format!("{path}.{CLAIM}"), found);
}

pub(super) fn claim(object: &Value, found: &mut Found) {
    let (key, why) = CLASS;
    if has_annotation(object, key) {
        found.push(format!("metadata.annotations[{key}]: {why}"));
    }
    claim_spec(at(object, "spec"), "spec", found);
}

pub(super) fn claim_spec(spec: &Value, path: &str, found: &mut Found) {
    for amounts in ["resources.requests", "resources.limits"] {
        fractional(at(spec, amounts), "storage", &format!("{path}.{amounts}"), found);
    }
}

pub(super) fn class(object: &Value, found: &mut Found) {
    for (i, topology) in list(object, "allowedTopologies").iter().enumerate() {
        for (j, expression) in list(topology, "matchLabelExpressions").iter().enumerate() {
            if let Some(why) = node_label(text(expression, "key")) {
                found.push(format!("allowedTopologies[{i}].matchLabelExpressions[{j}].key: {why}"));
            }
        }
    }
}
