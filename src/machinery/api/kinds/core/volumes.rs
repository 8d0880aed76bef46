//! What PersistentVolumes and PersistentVolumeClaims share, and the rules for the classes that they
//! name.

use crate::errors::Errors;
use crate::table::cells::text_or;
use crate::validate::names;
use crate::value::{at, empty, list, put, text};
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

/// Checks that a claim whose volume has attributes of a class keeps naming one. Before the class is
/// applied, its name may be taken out: that cancels the change
/// (`ValidatePersistentVolumeClaimUpdate` upstream).
pub(super) fn applied_class_stays(new: &Value, old: &Value, errors: &mut Errors) {
    const CLASS: &str = "spec.volumeAttributesClassName";
    const APPLIED: &str = "status.currentVolumeAttributesClassName";
    if at(old, APPLIED).is_null() || at(new, CLASS) == at(old, CLASS) {
        return;
    }
    let what = match at(new, CLASS).as_str() {
        None => "nil",
        Some("") => "empty string",
        Some(_) => return,
    };
    errors.forbidden(CLASS, &format!("update to {what} is forbidden when {APPLIED} is not nil"));
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

/// Returns an amount as Go prints it: 0 if it is missing.
pub(super) fn amount(o: &Value, path: &str) -> Value {
    text_or(o, path, "0").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_class_of_attributes_that_is_applied_is_replaced_and_not_taken_out() {
        let kind = crate::kinds::find("", "v1", "PersistentVolumeClaim").unwrap();
        let claim = |class: Value, applied: Value| {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "volumeAttributesClassName": class},
                "status": {"phase": "Bound", "currentVolumeAttributesClassName": applied}})
        };
        let errors_of = |class: Value, applied: Value| {
            let mut errors = Errors::default();
            let (old, new) = (claim(json!("gold"), applied.clone()), claim(class, applied));
            (kind.validate_update)(&new, &old, &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        const FIELD: &str = "spec.volumeAttributesClassName: Forbidden: update to";
        const WHY: &str = "is forbidden when status.currentVolumeAttributesClassName is not nil";
        assert_eq!(errors_of(json!("silver"), json!("gold")), [""; 0]);
        assert_eq!(errors_of(Value::Null, json!("gold")), [format!("{FIELD} nil {WHY}")]);
        assert_eq!(errors_of(json!(""), json!("gold")), [format!("{FIELD} empty string {WHY}")]);
        assert_eq!(errors_of(Value::Null, Value::Null), [""; 0], "it was not applied yet");
    }

    #[test]
    fn a_status_without_a_phase_is_pending() {
        for (name, phase) in [("PersistentVolumeClaim", "Bound"), ("PersistentVolume", "Released")] {
            let kind = crate::kinds::find("", "v1", name).unwrap();
            let old = json!({"status": {"phase": phase}});
            let phase_of = |mut new: Value| {
                (kind.prepare_status_update)(&mut new, &old, "status");
                text(&new, "status.phase").to_string()
            };
            assert_eq!(phase_of(json!({})), "Pending", "{name}");
            assert_eq!(phase_of(json!({"status": {"phase": ""}})), "Pending", "{name}");
            assert_eq!(phase_of(json!({"status": {"phase": phase}})), phase, "{name}");
        }
    }

    #[test]
    fn a_volume_may_change_its_class_of_attributes_and_keeps_one() {
        let kind = crate::kinds::find("", "v1", "PersistentVolume").unwrap();
        let errors_of = |old: Value, new: Value| {
            let volume = |class| json!({"spec": {"volumeAttributesClassName": class}});
            let mut errors = Errors::default();
            (kind.validate_update)(&volume(new), &volume(old), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(errors_of(json!("gold"), json!("silver")), [""; 0]);
        assert_eq!(errors_of(Value::Null, json!("gold")), [""; 0]);
        let why = "Forbidden: update from non-nil value to nil is forbidden";
        let want = format!("spec.volumeAttributesClassName: {why}");
        assert_eq!(errors_of(json!("gold"), Value::Null), [want]);
    }

    #[test]
    fn the_mode_of_a_claim_stays() {
        let kind = crate::kinds::find("", "v1", "PersistentVolumeClaim").unwrap();
        let claim = |mode: &str| json!({"spec": {"volumeMode": mode}});
        let mut errors = Errors::default();
        (kind.validate_update)(&claim("Block"), &claim("Filesystem"), &mut errors);
        let found = errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>();
        assert_eq!(found, ["spec", "volumeMode"]);
    }
}
