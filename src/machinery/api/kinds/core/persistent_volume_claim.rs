//! Persistent volume claims: a namespace's request for storage. A claim is bound to one
//! PersistentVolume.

use crate::errors::Errors;
use crate::kinds::core::volumes::{access_modes, amount, applied_class_stays, class_names, modes, protect};
use crate::kinds::entry::{Kind, of, status};
use crate::meta;
use crate::quantity::Quantity;
use crate::schema::equality;
use crate::table::cells::{Printer, age, name, text_or};
use crate::validate::fields::{IMMUTABLE, one_of, selector};
use crate::validate::names;
use crate::value::{self, at, default, default_zero, empty, map, put, text};
use crate::volumes::{CLAIM_PROTECTION, OLD_CLASS, class_named_by};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["pvc"],
        subresources: vec![status("PersistentVolumeClaim")],
        has_status: true,
        returns_deleted: true,
        defaults,
        prepare,
        prepare_update,
        prepare_status_update: |new, _, _| default_zero(new, "status.phase", "Pending"),
        validate,
        validate_update,
        validate_status_update,
        printer: Some(&PRINTER),
        ..of::<PersistentVolumeClaim>()
    }
}

pub(crate) fn defaults(object: &mut Value) {
    default(object, "spec.volumeMode", "Filesystem");
}

fn prepare(object: &mut Value) {
    protect(object, CLAIM_PROTECTION);
    put(object, "status", json!({"phase": "Pending"}));
    let spec = value::slot(object, "spec");
    drop_unknown_source(spec);
    pair_sources(spec);
}

fn prepare_update(new: &mut Value, old: &Value) {
    let is_stored = ["spec.dataSource", "spec.dataSourceRef"].iter().any(|path| at(old, path).is_object());
    let spec = value::slot(new, "spec");
    if !is_stored {
        drop_unknown_source(spec);
    }
    pair_sources(spec);
}

/// Drops a source under its old name, `dataSource`, that is neither a claim nor a snapshot. Under
/// that name all others have always been ignored; under the new one they ask for a volume populator
/// (`EnforceDataSourceBackwardsCompatibility` upstream). A source in another namespace is dropped,
/// too: the feature `CrossNamespaceVolumeDataSource` is off (`DropDisabledFields`).
fn drop_unknown_source(spec: &mut Value) {
    if !text(spec, "dataSourceRef.namespace").is_empty() {
        value::remove(spec, "dataSourceRef");
    }
    let is_known = matches!(
        (text(spec, "dataSource.apiGroup"), text(spec, "dataSource.kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    );
    if !is_known && at(spec, "dataSourceRef").is_null() {
        value::remove(spec, "dataSource");
    }
}

/// Fills in the source of a claim's volume under its new name if the writer knows the old one
/// alone, and the other way round (`NormalizeDataSources` upstream). A source in another namespace
/// has no old form.
fn pair_sources(spec: &mut Value) {
    let (old, new) = (at(spec, "dataSource").clone(), at(spec, "dataSourceRef").clone());
    let copied = |source: &Value| {
        let fields = ["apiGroup", "kind", "name"].into_iter();
        let set = fields.filter_map(|field| Some((field.to_string(), source.get(field)?.clone())));
        Value::Object(set.collect())
    };
    match (old.is_object(), new.is_object()) {
        (true, false) => put(spec, "dataSourceRef", copied(&old)),
        (false, true) if text(&new, "namespace").is_empty() => put(spec, "dataSource", copied(&new)),
        _ => {}
    }
}

pub(crate) fn validate(object: &Value, errors: &mut Errors) {
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
    class_names(object, errors);
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

/// Checks the source from which a claim's volume is filled.
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
        "" if text(source, "kind") != "PersistentVolumeClaim" => {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid_text(path, text(source, "kind"), why);
        }
        "" => {}
        group => names::dns_subdomain(group)
            .iter()
            .for_each(|p| errors.invalid_text(format!("{path}.apiGroup"), group, p)),
    }
}

/// The annotation that named a claim's class before there was a field goes before the field, so it
/// cannot change. It may go when the field takes its name over
/// (`validateStorageClassUpgradeFromAnnotation` upstream).
fn old_class_stays(new: &Value, old: &Value, errors: &mut Errors) {
    let (before, after) = (meta::annotation(old, OLD_CLASS), meta::annotation(new, OLD_CLASS));
    let field = at(new, "spec.storageClassName").as_str();
    let is_upgrade = before.is_some()
        && at(old, "spec.storageClassName").is_null()
        && field == before
        && (after.is_none() || after == before);
    if !is_upgrade && before.unwrap_or("") != after.unwrap_or("") {
        let field = format!("metadata.annotations.{OLD_CLASS}");
        errors.invalid_text(field, after.unwrap_or(""), "field is immutable");
    }
}

/// In a bound claim the size and the volume attributes class may change. In an unbound claim no
/// request may change: quotas have counted it, and a volume may be in creation.
fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    const SIZE: &str = "spec.resources.requests";
    let bound = text(new, "status.phase") == "Bound";
    old_class_stays(new, old, errors);
    let class_before = meta::annotation(old, OLD_CLASS);
    let frozen = |o: &Value| {
        let mut spec = at(o, "spec").clone();
        pair_sources(&mut spec);
        if bound {
            value::remove(&mut spec, "resources.requests.storage");
            value::remove(&mut spec, "volumeAttributesClassName");
        }
        if let Some(map) = spec.as_object_mut() {
            if text(old, "spec.volumeName").is_empty() {
                map.shift_remove("volumeName");
            }
            if at(old, "spec.storageClassName").is_null()
                && class_before.is_none_or(|class| class == text(new, "spec.storageClassName"))
            {
                map.shift_remove("storageClassName");
            }
        }
        spec
    };
    if !equality::equal("io.k8s.api.core.v1.PersistentVolumeClaimSpec", "", &frozen(new), &frozen(old)) {
        errors.forbidden("spec", "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims");
    }
    let size =
        |o: &Value, path: &str| at(o, path).get("storage").and_then(Value::as_str).and_then(Quantity::parse);
    // After an expansion that failed, the size may be reduced, but not below that of the volume.
    let has = size(old, "status.capacity").unwrap_or(Quantity::of_units(0));
    if let (Some(before), Some(after)) = (size(old, SIZE), size(new, SIZE))
        && after < before
        && after <= has
    {
        errors.forbidden(format!("{SIZE}.storage"), "field can not be less than status.capacity");
    }
    if at(new, "spec.volumeMode") != at(old, "spec.volumeMode") {
        errors.invalid("volumeMode", at(new, "spec.volumeMode"), IMMUTABLE);
    }
    applied_class_stays(new, old, errors);
}

/// How far the expansion of a volume is, in alphabetical order.
const RESIZES: [&str; 5] = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

/// Checks the amounts in a claim's status: quotas and the rules for a new size go by them
/// (`ValidatePersistentVolumeClaimStatusUpdate` upstream).
fn validate_status_update(new: &Value, _: &Value, errors: &mut Errors) {
    const STATES: &str = "status.allocatedResourceStatuses";
    const ALLOCATED: &str = "status.allocatedResources";
    for (name, value) in map(new, "status.capacity").into_iter().flatten() {
        not_negative(value, &format!("status.capacity[{name}]"), errors);
    }
    for (name, state) in map(new, STATES).into_iter().flatten() {
        is_storage(name, STATES, errors);
        if !RESIZES.contains(&state.as_str().unwrap_or("")) {
            errors.not_supported(STATES, &name.as_str().into(), &RESIZES); // upstream shows the name
        }
    }
    for (name, value) in map(new, ALLOCATED).into_iter().flatten() {
        if is_storage(name, ALLOCATED, errors) {
            not_negative(value, &format!("{ALLOCATED}[{name}]"), errors);
        }
    }
}

fn not_negative(value: &Value, field: &str, errors: &mut Errors) {
    if let Some(amount) = value.as_str().and_then(Quantity::parse).filter(Quantity::is_negative) {
        errors.invalid(field, &amount.units().into(), "must be a valid resource quantity");
    }
}

/// Returns whether a claim may have a resource of this name: `storage`, or one of another owner
/// than Kubernetes.
fn is_storage(name: &str, field: &str, errors: &mut Errors) -> bool {
    let problems = names::qualified_name(name);
    problems.iter().for_each(|problem| errors.invalid_text(field, name, problem));
    let is_native = !name.contains('/') || name.contains("kubernetes.io/");
    if problems.is_empty() && is_native && name != "storage" {
        errors.not_supported(field, &name.into(), &["storage"]);
        return false;
    }
    problems.is_empty()
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Status", "string", false),
        ("Volume", "string", false),
        ("Capacity", "string", false),
        ("Access Modes", "string", false),
        ("StorageClass", "string", false),
        ("VolumeAttributesClass", "string", false),
        ("Age", "string", false),
        ("VolumeMode", "string", true),
    ],
    cells: |o, now| {
        let bound = !empty(o, "spec.volumeName");
        let status = if meta::is_terminating(o) { "Terminating" } else { text(o, "status.phase") };
        vec![
            name(o),
            status.into(),
            text(o, "spec.volumeName").into(),
            if bound { amount(o, "status.capacity.storage") } else { "".into() },
            if bound { modes(o, "status.accessModes").into() } else { "".into() },
            class_named_by(o).into(),
            text_or(o, "spec.volumeAttributesClassName", "<unset>").into(),
            age(o, now),
            text_or(o, "spec.volumeMode", "<unset>").into(),
        ]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use clock::Timestamp;

    #[test]
    fn storage_is_protected_from_the_first_moment_and_once() {
        let mut object = json!({"metadata": {"finalizers": ["a/b"]}});
        prepare(&mut object);
        prepare(&mut object);
        assert_eq!(object["metadata"]["finalizers"], json!(["a/b", "kubernetes.io/pvc-protection"]));
    }

    #[test]
    fn claims_say_what_a_volume_can_be() {
        let with = |more: Value| {
            let mut spec =
                json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
            crate::patch::merge(&mut spec, &more);
            problems(validate, json!({ "spec": spec }))
        };
        let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
        assert_eq!(with(json!({"dataSource": snapshot, "dataSourceRef": snapshot})), [""; 0]);
        for (more, want) in [
            (
                json!({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}),
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ),
            (
                json!({"accessModes": ["rwo"]}),
                "spec.accessModes: Unsupported value: \"rwo\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
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
        let found = with(json!({"dataSource": {"name": "p"}}));
        assert_eq!(found.len(), 2, "no kind, and none that has no group: {found:?}");
    }

    #[test]
    fn the_source_of_a_claim_has_its_old_and_its_new_name() {
        let paired = |mut spec: Value| {
            pair_sources(&mut spec);
            (at(&spec, "dataSource").clone(), at(&spec, "dataSourceRef").clone())
        };
        let claim = json!({"kind": "PersistentVolumeClaim", "name": "c"});
        let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
        let mut far = snapshot.clone();
        far["namespace"] = "other".into();
        for source in [claim, snapshot.clone()] {
            assert_eq!(paired(json!({ "dataSource": source })), (source.clone(), source.clone()));
            assert_eq!(paired(json!({ "dataSourceRef": source })), (source.clone(), source.clone()));
        }
        assert_eq!(paired(json!({ "dataSourceRef": far })), (Value::Null, far));
        assert_eq!(paired(json!({})), (Value::Null, Value::Null));
        let mut errors = Errors::default();
        let (one, both) =
            (json!({"dataSource": snapshot}), json!({"dataSource": snapshot, "dataSourceRef": snapshot}));
        validate_update(&json!({"spec": both}), &json!({"spec": one}), &mut errors);
        assert!(errors.is_empty(), "a claim that was stored with one of them");
    }

    #[test]
    fn a_source_of_an_unknown_kind_is_dropped_under_its_old_name() {
        let foo = json!({"apiGroup": "example.com", "kind": "Foo", "name": "x"});
        let sources =
            |claim: &Value| (at(claim, "spec.dataSource").clone(), at(claim, "spec.dataSourceRef").clone());
        let nothing = (Value::Null, Value::Null);
        for source in [foo.clone(), json!({"kind": "ConfigMap", "name": "x"})] {
            let claim = json!({"spec": {"dataSource": source}});
            let mut made = claim.clone();
            prepare(&mut made);
            assert_eq!(sources(&made), nothing);
            let mut changed = claim.clone();
            prepare_update(&mut changed, &json!({"spec": {}}));
            assert_eq!(sources(&changed), nothing);
            let mut stored = claim.clone();
            prepare_update(&mut stored, &claim);
            assert_eq!(sources(&stored), (source.clone(), source), "it was stored before");
        }
        let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
        for spec in [json!({"dataSource": snapshot}), json!({"dataSourceRef": snapshot})] {
            let mut made = json!({ "spec": spec });
            prepare(&mut made);
            assert_eq!(sources(&made), (snapshot.clone(), snapshot.clone()));
        }
        let mut populated = json!({"spec": {"dataSourceRef": foo}});
        prepare(&mut populated);
        assert_eq!(sources(&populated), (foo.clone(), foo), "its new name stands for a populator");
        let elsewhere = json!({"kind": "PersistentVolumeClaim", "name": "c", "namespace": "other"});
        let mut far = json!({"spec": {"dataSourceRef": elsewhere}});
        prepare(&mut far);
        assert_eq!(sources(&far), nothing, "a source in another namespace");
    }

    #[test]
    fn the_amounts_in_a_status_are_amounts_of_storage() {
        let errors_of = |status: Value| {
            let mut errors = Errors::default();
            validate_status_update(&json!({ "status": status }), &Value::Null, &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let fine = json!({"capacity": {"storage": "1Gi"}, "allocatedResources": {"storage": "2Gi", "example.com/x": "1"},
            "allocatedResourceStatuses": {"storage": "NodeResizePending"}});
        assert_eq!(errors_of(fine), [""; 0]);
        assert_eq!(
            errors_of(json!({"capacity": {"storage": "-1Ki"}})),
            ["status.capacity[storage]: Invalid value: -1024: must be a valid resource quantity"]
        );
        assert_eq!(
            errors_of(json!({"allocatedResources": {"cpu": "-1"}})),
            ["status.allocatedResources: Unsupported value: \"cpu\": supported values: \"storage\""]
        );
        let states = errors_of(json!({"allocatedResourceStatuses": {"storage": "Done"}}));
        assert!(states.len() == 1 && states[0].contains("Unsupported value: \"storage\""), "{states:?}");
        assert_eq!(errors_of(json!({"allocatedResources": {"a b": "1"}})).len(), 1);
    }

    #[test]
    fn a_claim_changes_its_size_only_once_it_is_bound() {
        let claim = |phase: &str, size: &str, has: &str| {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
                "status": {"phase": phase, "capacity": {"storage": has}}})
        };
        let errors_of = |old: Value, new: Value| {
            let mut errors = Errors::default();
            validate_update(&new, &old, &mut errors);
            errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>()
        };
        let of = |phase: &str, before: &str, after: &str| {
            errors_of(claim(phase, before, "1Gi"), claim(phase, after, "1Gi"))
        };
        assert_eq!(of("Bound", "1Gi", "2Gi"), [""; 0]);
        assert_eq!(of("Pending", "1Gi", "1Gi"), [""; 0]);
        assert_eq!(of("Pending", "1Gi", "1073741824"), [""; 0], "the same amount");
        assert_eq!(of("Pending", "1Gi", "2Gi"), ["spec"]);
        assert_eq!(of("Bound", "3Gi", "2Gi"), [""; 0], "the volume has 1Gi");
        assert_eq!(of("Bound", "3Gi", "1Gi"), ["spec.resources.requests.storage"]);
        let limited = |mut claim: Value| {
            value::put(&mut claim, "spec.resources.limits", json!({"storage": "9Gi"}));
            claim
        };
        let bound = claim("Bound", "1Gi", "1Gi");
        assert_eq!(errors_of(bound.clone(), limited(bound)), ["spec"]);
        let named = |mut claim: Value| {
            value::put(&mut claim, "spec.volumeName", "v");
            claim
        };
        let pending = claim("Pending", "1Gi", "0");
        assert_eq!(errors_of(pending.clone(), named(pending.clone())), [""; 0]);
        assert_eq!(errors_of(named(pending.clone()), pending), ["spec"]);
    }

    #[test]
    fn the_annotation_of_a_claims_class_stays() {
        let claim = |annotation: Option<&str>, field: Option<&str>| {
            let mut claim =
                json!({"metadata": {"annotations": {}}, "spec": {"accessModes": ["ReadWriteOnce"]}});
            if let Some(class) = annotation {
                claim["metadata"]["annotations"][OLD_CLASS] = class.into();
            }
            if let Some(class) = field {
                put(&mut claim, "spec.storageClassName", class);
            }
            claim
        };
        let annotation = format!("metadata.annotations.{OLD_CLASS}");
        let (immutable, nothing): (Vec<&str>, Vec<&str>) = (vec![&annotation], vec![]);
        for (before, after, want) in [
            ((None, Some("slow")), (Some("fast"), Some("slow")), &immutable),
            ((Some("slow"), None), (Some("fast"), None), &immutable),
            ((Some("slow"), None), (None, None), &immutable),
            ((Some("slow"), None), (Some("slow"), Some("fast")), &vec!["spec"]),
            ((Some("slow"), None), (None, Some("slow")), &nothing),
            ((Some("slow"), None), (Some("slow"), Some("slow")), &nothing),
            ((Some("slow"), None), (Some("slow"), None), &nothing),
            ((None, None), (None, Some("fast")), &nothing),
        ] {
            let mut errors = Errors::default();
            validate_update(&claim(after.0, after.1), &claim(before.0, before.1), &mut errors);
            let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
            assert_eq!(fields, *want, "{before:?} -> {after:?}");
        }
    }

    #[test]
    fn a_claim_that_waits_for_its_volume_has_no_capacity_yet() {
        let claim = |spec: Value| {
            let object = json!({"metadata": {"name": "c"}, "spec": spec, "status": {"phase": "Pending"}});
            (PRINTER.cells)(&object, Timestamp::UNIX_EPOCH)[3].clone()
        };
        assert_eq!(claim(json!({"volumeName": "v"})), "0");
        assert_eq!(claim(json!({})), "");
        let modes = json!({"m": ["ReadWriteMany", "ReadWriteOnce", "ReadWriteOnce"]});
        assert_eq!(super::modes(&modes, "m"), "RWO,RWX");
    }
}
