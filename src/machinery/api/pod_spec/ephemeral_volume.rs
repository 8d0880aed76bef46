//! Ephemeral volumes: a claim that belongs to one pod, made from a template in the pod. Ropewalk
//! makes no such claims; the template is judged as upstream judges it.

use crate::errors::{Errors, FieldError};
use crate::kinds::core::persistent_volume_claim;
use crate::validate::fields::{annotations, labels};
use crate::value::{at, map};
use serde_json::Value;

/// Checks the template of the claim: labels, annotations and the spec. The claim's name follows
/// from the pod's, so the template has no other metadata (`ValidatePersistentVolumeClaimTemplate`
/// upstream).
pub(super) fn check(source: &Value, field: &str, errors: &mut Errors) {
    let (template, field) = (at(source, "volumeClaimTemplate"), format!("{field}.volumeClaimTemplate"));
    if !template.is_object() {
        return errors.required(field, "");
    }
    annotations(template, &format!("{field}.metadata.annotations"), errors);
    labels(template, "metadata.labels", &format!("{field}.metadata.labels"), errors);
    for (name, value) in map(template, "metadata").into_iter().flatten() {
        if !value.is_null() && !["annotations", "labels"].contains(&name.as_str()) {
            errors.forbidden(format!("{field}.metadata.{name}"), "cannot be set");
        }
    }
    let mut own = Errors::default();
    persistent_volume_claim::validate(template, &mut own);
    for error in own {
        errors.add(FieldError { field: format!("{field}.{}", error.field), ..error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors_of(template: Value) -> Vec<String> {
        let mut errors = Errors::default();
        check(&json!({"volumeClaimTemplate": template}), "v.ephemeral", &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_template_of_a_claim_is_judged_as_a_claim() {
        const FIELD: &str = "v.ephemeral.volumeClaimTemplate";
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let good = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}, "creationTimestamp": null},
            "spec": spec});
        assert_eq!(errors_of(good), [""; 0]);
        assert_eq!(errors_of(Value::Null), [format!("{FIELD}: Required value")]);
        assert_eq!(
            errors_of(json!({"spec": {}})),
            [
                format!("{FIELD}.spec.accessModes: Required value: at least 1 access mode is required"),
                format!("{FIELD}.spec.resources[storage]: Required value"),
            ]
        );
        assert_eq!(
            errors_of(json!({"metadata": {"name": "x"}, "spec": spec})),
            [format!("{FIELD}.metadata.name: Forbidden: cannot be set")]
        );
        let labelled = errors_of(json!({"metadata": {"labels": {"a b": "c"}}, "spec": spec}));
        assert!(labelled.len() == 1 && labelled[0].starts_with(&format!("{FIELD}.metadata.labels: ")));
    }
}
