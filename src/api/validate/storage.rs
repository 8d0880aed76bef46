//! Volumes, claims, storage classes.

use super::one_of;
use crate::api::errors::Errors;
use crate::api::quantity::Quantity;
use crate::api::value::{at, empty, list, map, text};
use serde_json::Value;

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn access_modes(object: &Value, errors: &mut Errors, detail: &str) {
    if empty(object, "spec.accessModes") {
        errors.required("spec.accessModes", detail);
    }
    for (i, mode) in list(object, "spec.accessModes").iter().enumerate() {
        if !MODES.contains(&mode.as_str().unwrap_or("")) {
            errors.not_supported(format!("spec.accessModes[{i}]"), mode, MODES);
        }
    }
}

pub fn claim(object: &Value, errors: &mut Errors) {
    access_modes(object, errors, "at least 1 access mode is required");
    let storage = at(object, "spec.resources.requests").get("storage").and_then(Value::as_str);
    match storage.map(Quantity::parse) {
        None => errors.required("spec.resources[storage]", ""),
        Some(Some(q)) if q.is_negative() || q.is_zero() => {
            errors.invalid(
                "spec.resources[storage]",
                &storage.unwrap_or("").into(),
                "must be greater than zero",
            );
        }
        Some(_) => {}
    }
    one_of(object, "spec.volumeMode", "spec.volumeMode", &["Block", "Filesystem"], errors);
}

pub fn claim_update(new: &Value, old: &Value, errors: &mut Errors) {
    let frozen = |o: &Value| {
        let mut spec = at(o, "spec").clone();
        if let Some(map) = spec.as_object_mut() {
            map.shift_remove("resources");
            map.shift_remove("volumeAttributesClassName");
            if text(old, "spec.volumeName").is_empty() {
                map.shift_remove("volumeName");
            }
            if at(old, "spec.storageClassName").is_null() {
                map.shift_remove("storageClassName");
            }
        }
        spec
    };
    if frozen(new) != frozen(old) {
        errors.forbidden("spec", "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims");
    }
    let size = |o: &Value| {
        at(o, "spec.resources.requests").get("storage").and_then(Value::as_str).and_then(Quantity::parse)
    };
    if let (Some(a), Some(b)) = (size(old), size(new))
        && b < a
    {
        errors.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
    }
}

const SOURCES: &[&str] = &[
    "hostPath",
    "local",
    "nfs",
    "csi",
    "iscsi",
    "fc",
    "awsElasticBlockStore",
    "gcePersistentDisk",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "flexVolume",
    "flocker",
    "glusterfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

pub fn volume(object: &Value, errors: &mut Errors) {
    access_modes(object, errors, "");
    if map(object, "spec.capacity").is_none_or(|c| c.is_empty()) {
        errors.required("spec.capacity", "");
    }
    let sources = SOURCES.iter().filter(|s| at(object, "spec").get(**s).is_some()).count();
    match sources {
        0 => errors.required("spec", "must specify a volume type"),
        1 => {}
        _ => errors.forbidden("spec", "may not specify more than 1 volume type"),
    }
    if at(object, "spec.local").is_object() && empty(object, "spec.nodeAffinity") {
        errors.required("spec.nodeAffinity", "Local volume requires node affinity");
    }
    one_of(
        object,
        "spec.persistentVolumeReclaimPolicy",
        "spec.persistentVolumeReclaimPolicy",
        &["Delete", "Recycle", "Retain"],
        errors,
    );
}

pub fn volume_update(new: &Value, old: &Value, errors: &mut Errors) {
    for source in SOURCES {
        if at(new, "spec").get(source) != at(old, "spec").get(source) {
            errors.forbidden(
                "spec.persistentvolumesource",
                "spec.persistentvolumesource is immutable after creation",
            );
            return;
        }
    }
}

pub fn storage_class(object: &Value, errors: &mut Errors) {
    if text(object, "provisioner").is_empty() {
        errors.required("provisioner", "");
    }
    one_of(object, "reclaimPolicy", "reclaimPolicy", &["Delete", "Retain"], errors);
    one_of(object, "volumeBindingMode", "volumeBindingMode", &["Immediate", "WaitForFirstConsumer"], errors);
}

pub fn storage_class_update(new: &Value, old: &Value, errors: &mut Errors) {
    if at(new, "parameters") != at(old, "parameters") {
        errors.forbidden("parameters", "updates to parameters are forbidden.");
    }
}
