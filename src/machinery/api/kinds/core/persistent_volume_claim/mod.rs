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

/// Checks the annotation that named a claim's class before there was a field. It counts before the
/// field, so it cannot change. It may go when the field takes its name over
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

/// Checks what changes. In a bound claim the size and the volume attributes class may change. In an
/// unbound claim no request may change: quotas have counted it, and a volume may be in creation.
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
mod tests;
