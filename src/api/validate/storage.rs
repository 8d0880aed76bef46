//! Volumes, claims, storage classes.

use super::one_of;
use super::pods::node_selector;
use super::pods::volumes::{host_path_type, no_backsteps};
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
    for (name, amount) in map(object, "spec.capacity").into_iter().flatten() {
        let here = format!("spec.capacity[{name}]");
        if name != "storage" {
            errors.not_supported("spec.capacity", &name.as_str().into(), &["storage"]);
        } else if amount.as_str().and_then(Quantity::parse).is_some_and(|q| q.is_negative() || q.is_zero()) {
            errors.invalid(here, amount, "must be greater than zero");
        }
    }
    for source in ["hostPath", "local"].into_iter().filter(|s| at(object, &format!("spec.{s}")).is_object()) {
        let here = format!("spec.{source}");
        let path = text(object, &format!("{here}.path"));
        if path.is_empty() {
            errors.required(format!("{here}.path"), "");
        }
        // The provisioner deletes what such a volume names.
        no_backsteps(path, &format!("{here}.path"), errors);
    }
    let host_path = at(object, "spec.hostPath");
    if host_path.is_object() {
        host_path_type(host_path, "spec.hostPath", errors);
        let root = text(host_path, "path").trim_matches('/').is_empty();
        if root && text(object, "spec.persistentVolumeReclaimPolicy") == "Recycle" {
            let why = "may not be 'recycle' for a hostPath mount of '/'";
            errors.forbidden("spec.persistentVolumeReclaimPolicy", why);
        }
    }
    let affinity = at(object, "spec.nodeAffinity");
    if affinity.is_object() {
        match at(affinity, "required") {
            Value::Null => {
                errors.required("spec.nodeAffinity.required", "must specify required node constraints");
            }
            required => node_selector(required, "spec.nodeAffinity.required", errors),
        }
    }
    one_of(object, "spec.volumeMode", "spec.volumeMode", &["Block", "Filesystem"], errors);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::validate::problems;
    use serde_json::json;

    #[test]
    fn paths_of_volumes_have_no_steps_up() {
        let with = |source: Value| {
            let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}});
            crate::api::patch::merge(&mut spec, &source);
            problems(volume, json!({ "spec": spec }))
        };
        assert_eq!(with(json!({"hostPath": {"path": "/data/..a"}})), [""; 0]);
        for (source, want) in [
            (
                json!({"hostPath": {"path": "/../../tmp/x"}}),
                "spec.hostPath.path: Invalid value: \"/../../tmp/x\": must not contain '..'",
            ),
            (
                json!({"local": {"path": "/a/.."}}),
                "spec.local.path: Invalid value: \"/a/..\": must not contain '..'",
            ),
            (json!({"local": {}}), "spec.local.path: Required value"),
            (
                json!({"hostPath": {"path": "/x"}, "capacity": {"storage": "0"}}),
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                json!({"hostPath": {"path": "/x"}, "nodeAffinity": {"required": {"nodeSelectorTerms": []}}}),
                "spec.nodeAffinity.required.nodeSelectorTerms: Required value: must have at least one node selector term",
            ),
            (
                json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}),
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ),
        ] {
            assert_eq!(with(source), [want]);
        }
    }
}
