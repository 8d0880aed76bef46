//! What PersistentVolumes and PersistentVolumeClaims share.

use crate::errors::Errors;
use crate::table::cells::text_or;
use crate::validate::names;
use crate::value::{empty, list, put, text};
use serde_json::Value;

/// Adds the finalizer that keeps a storage object until it has no user (Storage Object in Use
/// Protection upstream).
pub(super) fn protect(object: &mut Value, finalizer: &str) {
    let mut all = list(object, "metadata.finalizers").to_vec();
    if !all.iter().any(|f| f == finalizer) {
        all.push(finalizer.into());
        put(object, "metadata.finalizers", all);
    }
}

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub(super) fn access_modes(object: &Value, errors: &mut Errors, detail: &str) {
    if empty(object, "spec.accessModes") {
        errors.required("spec.accessModes", detail);
    }
    for mode in list(object, "spec.accessModes") {
        if !MODES.contains(&mode.as_str().unwrap_or("")) {
            errors.not_supported("spec.accessModes", mode, MODES);
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

/// Checks the names of the class of storage and of the class of volume attributes.
pub(super) fn class_names(object: &Value, errors: &mut Errors) {
    for field in ["spec.storageClassName", "spec.volumeAttributesClassName"] {
        let class = text(object, field);
        for problem in names::dns_subdomain(class).iter().filter(|_| !class.is_empty()) {
            errors.invalid_text(field, class, problem);
        }
    }
}

pub(super) fn modes(o: &Value, path: &str) -> String {
    let short = |m: &str| match m {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    let mut all: Vec<&str> = list(o, path).iter().filter_map(Value::as_str).map(short).collect();
    let order = ["RWO", "ROX", "RWX", "RWOP"];
    all.sort_by_key(|m| order.iter().position(|o| o == m));
    all.dedup();
    all.join(",")
}

/// An amount as Go prints it: 0 if it is missing.
pub(super) fn amount(o: &Value, path: &str) -> Value {
    text_or(o, path, "0").into()
}
