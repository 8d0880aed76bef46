//! Volumes, claims, storage classes.

use super::names;
use super::pods::node_selector;
use super::pods::volumes::{host_path_type, no_backsteps};
use super::{IMMUTABLE, one_of, selector};
use crate::errors::Errors;
use crate::quantity::Quantity;
use crate::value::{self, at, empty, list, map, text};
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
    let is = |mode: &Value, once: bool| {
        mode.as_str().is_some_and(|m| MODES.contains(&m) && (m == "ReadWriteOncePod") == once)
    };
    let modes = list(object, "spec.accessModes");
    if modes.iter().any(|m| is(m, true)) && modes.iter().any(|m| is(m, false)) {
        errors.forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes");
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
    selector(object, "spec.selector", errors);
    class_name(object, errors);
    let (source, reference) = (at(object, "spec.dataSource"), at(object, "spec.dataSourceRef"));
    for (path, source) in [("spec.dataSource", source), ("spec.dataSourceRef", reference)] {
        data_source(source, path, errors);
    }
    let part = |of: &Value| ["apiGroup", "kind", "name"].map(|field| text(of, field).to_string());
    if source.is_object() && reference.is_object() {
        if !text(reference, "namespace").is_empty() {
            let why = "may not be specified when dataSourceRef.namespace is specified";
            errors.invalid_text("spec", "spec.dataSource", why);
        } else if part(source) != part(reference) {
            errors.invalid_text("spec", "spec.dataSource", "must match dataSourceRef");
        }
    }
}

/// What a claim's volume is filled from.
fn data_source(source: &Value, path: &str, errors: &mut Errors) {
    if !source.is_object() {
        return;
    }
    for field in ["name", "kind"] {
        if text(source, field).is_empty() {
            errors.required(format!("{path}.{field}"), "");
        }
    }
    match text(source, "apiGroup") {
        "" if !text(source, "kind").is_empty() && text(source, "kind") != "PersistentVolumeClaim" => {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid_text(path, text(source, "kind"), why);
        }
        "" => {}
        group => names::dns_subdomain(group)
            .iter()
            .for_each(|p| errors.invalid_text(format!("{path}.apiGroup"), group, p)),
    }
}

fn class_name(object: &Value, errors: &mut Errors) {
    let class = text(object, "spec.storageClassName");
    for problem in names::dns_subdomain(class).iter().filter(|_| !class.is_empty()) {
        errors.invalid_text("spec.storageClassName", class, problem);
    }
}

/// Of a claim that is bound, the size and the class of attributes may change; of another one
/// nothing that it asks for, since quotas were charged for it and a volume may be on its way.
pub fn claim_update(new: &Value, old: &Value, errors: &mut Errors) {
    const SIZE: &str = "spec.resources.requests";
    let bound = text(new, "status.phase") == "Bound";
    let frozen = |o: &Value| {
        let mut spec = at(o, "spec").clone();
        if bound {
            value::remove(&mut spec, "resources.requests.storage");
            value::remove(&mut spec, "volumeAttributesClassName");
        }
        if let Some(map) = spec.as_object_mut() {
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
    let size =
        |o: &Value, path: &str| at(o, path).get("storage").and_then(Value::as_str).and_then(Quantity::parse);
    // A claim that was enlarged in vain may go back, but not below what its volume has.
    let has = size(old, "status.capacity").unwrap_or(Quantity::of_units(0));
    if let (Some(before), Some(after)) = (size(old, SIZE), size(new, SIZE))
        && after < before
        && after <= has
    {
        errors.forbidden(format!("{SIZE}.storage"), "field can not be less than status.capacity");
    }
}

/// Kinds of volumes that a PersistentVolume may be.
pub(crate) const SOURCES: &[&str] = &[
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
    class_name(object, errors);
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
            break;
        }
    }
    if at(new, "spec.volumeMode") != at(old, "spec.volumeMode") {
        errors.invalid("volumeMode", at(new, "spec.volumeMode"), IMMUTABLE);
    }
    // A volume that lies on one node cannot be moved to another by a word.
    let (before, after) = (at(old, "spec.nodeAffinity"), at(new, "spec.nodeAffinity"));
    if !before.is_null() && before != after {
        let why = format!("{IMMUTABLE}, except for updating from beta label to GA");
        errors.invalid("nodeAffinity", after, &why);
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
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        if at(new, field) != at(old, field) {
            errors.forbidden(field, &format!("updates to {field} are forbidden."));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::problems;
    use serde_json::json;

    #[test]
    fn a_volume_keeps_its_mode_and_its_nodes() {
        let node = |name: &str| json!({"required": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]}});
        let spec = |mode: &str, affinity: Value| json!({"spec": {"local": {"path": "/x"}, "volumeMode": mode, "nodeAffinity": affinity}});
        let told = |old: Value, new: Value| {
            let mut errors = Errors::default();
            volume_update(&new, &old, &mut errors);
            errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>()
        };
        let old = spec("Filesystem", node("a"));
        assert_eq!(told(old.clone(), old.clone()), [""; 0]);
        assert_eq!(told(old.clone(), spec("Block", node("b"))), ["volumeMode", "nodeAffinity"]);
        assert_eq!(told(spec("Filesystem", Value::Null), old), [""; 0]);
    }

    #[test]
    fn a_class_stays_as_it_is() {
        let class = |policy: &str, by: &str| json!({"provisioner": by, "reclaimPolicy": policy});
        let told = |new: Value| {
            let mut errors = Errors::default();
            storage_class_update(&new, &class("Delete", "a/b"), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(class("Delete", "a/b")), [""; 0]);
        assert_eq!(
            told(class("Retain", "a/c")),
            [
                "provisioner: Forbidden: updates to provisioner are forbidden.",
                "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden."
            ]
        );
    }

    #[test]
    fn claims_say_what_a_volume_can_be() {
        let with = |more: Value| {
            let mut spec =
                json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
            crate::patch::merge(&mut spec, &more);
            problems(claim, json!({ "spec": spec }))
        };
        let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
        assert_eq!(with(json!({"dataSource": snapshot, "dataSourceRef": snapshot})), [""; 0]);
        for (more, want) in [
            (
                json!({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}),
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ),
            (
                json!({"selector": {"matchExpressions": [{"key": "a", "operator": "in"}]}}),
                "spec.selector.matchExpressions[0].operator: Invalid value: \"in\": not a valid selector operator",
            ),
            (
                json!({"dataSource": {"kind": "Pod", "name": "p"}}),
                "spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ),
            (
                json!({"dataSource": snapshot, "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "s"}}),
                "spec: Invalid value: \"spec.dataSource\": must match dataSourceRef",
            ),
        ] {
            assert_eq!(with(more), [want]);
        }
    }

    #[test]
    fn a_claim_changes_its_size_only_once_it_is_bound() {
        let claim = |phase: &str, size: &str, has: &str| {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
                "status": {"phase": phase, "capacity": {"storage": has}}})
        };
        let told = |old: Value, new: Value| {
            let mut errors = Errors::default();
            claim_update(&new, &old, &mut errors);
            errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>()
        };
        let of = |phase: &str, before: &str, after: &str| {
            told(claim(phase, before, "1Gi"), claim(phase, after, "1Gi"))
        };
        assert_eq!(of("Bound", "1Gi", "2Gi"), [""; 0]);
        assert_eq!(of("Pending", "1Gi", "1Gi"), [""; 0]);
        assert_eq!(of("Pending", "1Gi", "2Gi"), ["spec"]);
        assert_eq!(of("Bound", "3Gi", "2Gi"), [""; 0], "the volume has 1Gi");
        assert_eq!(of("Bound", "3Gi", "1Gi"), ["spec.resources.requests.storage"]);
        let limited = |mut claim: Value| {
            value::put(&mut claim, "spec.resources.limits", json!({"storage": "9Gi"}));
            claim
        };
        let bound = claim("Bound", "1Gi", "1Gi");
        assert_eq!(told(bound.clone(), limited(bound)), ["spec"]);
        let named = |mut claim: Value| {
            value::put(&mut claim, "spec.volumeName", "v");
            claim
        };
        let pending = claim("Pending", "1Gi", "0");
        assert_eq!(told(pending.clone(), named(pending.clone())), [""; 0]);
        assert_eq!(told(named(pending.clone()), pending), ["spec"]);
    }

    #[test]
    fn paths_of_volumes_have_no_steps_up() {
        let with = |source: Value| {
            let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}});
            crate::patch::merge(&mut spec, &source);
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
