//! Storage classes: which provisioner makes the volume of a claim, and when.

use crate::errors::Errors;
use crate::kinds::{Kind, of};
use crate::meta;
use crate::table::{Printer, age, or};
use crate::validate::one_of;
use crate::value::{at, default_zero, flag, text};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["sc"],
        returns_deleted: true,
        defaults,
        validate,
        immutable: &["volumeBindingMode"],
        validate_update,
        printer: Some(&PRINTER),
        ..of::<StorageClass>()
    }
}

fn defaults(object: &mut Value) {
    default_zero(object, "reclaimPolicy", "Delete");
    default_zero(object, "volumeBindingMode", "Immediate");
}

fn validate(object: &Value, errors: &mut Errors) {
    if text(object, "provisioner").is_empty() {
        errors.required("provisioner", "");
    }
    one_of(object, "reclaimPolicy", "reclaimPolicy", &["Delete", "Retain"], errors);
    one_of(object, "volumeBindingMode", "volumeBindingMode", &["Immediate", "WaitForFirstConsumer"], errors);
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        if at(new, field) != at(old, field) {
            errors.forbidden(field, &format!("updates to {field} are forbidden."));
        }
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Provisioner", "string", false),
        ("ReclaimPolicy", "string", false),
        ("VolumeBindingMode", "string", false),
        ("AllowVolumeExpansion", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let is_default = meta::annotation(o, "storageclass.kubernetes.io/is-default-class") == Some("true");
        let suffix = if is_default { " (default)" } else { "" };
        vec![
            format!("{}{suffix}", meta::name(o)).into(),
            text(o, "provisioner").into(),
            or(o, "reclaimPolicy", "Delete").into(),
            or(o, "volumeBindingMode", "Immediate").into(),
            flag(o, "allowVolumeExpansion").into(),
            age(o, now),
        ]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_class_stays_as_it_is() {
        let class = |policy: &str, by: &str| json!({"provisioner": by, "reclaimPolicy": policy});
        let told = |new: Value| {
            let mut errors = Errors::default();
            validate_update(&new, &class("Delete", "a/b"), &mut errors);
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
}
