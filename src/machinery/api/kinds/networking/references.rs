//! What Ingresses and IngressClasses share: references to an object of any kind.

use crate::errors::Errors;
use crate::validate::fields::add_problems;
use crate::validate::names::{dns_subdomain, path_segment};
use crate::value::{at, text};
use serde_json::Value;

/// Checks a reference by API group, kind and name, in the words of upstream's
/// `validateIngressTypedLocalObjectReference`.
pub(super) fn check_reference(reference: &Value, field: &str, errors: &mut Errors) {
    if let Some(group) = at(reference, "apiGroup").as_str() {
        add_problems(dns_subdomain(group), &format!("{field}.apiGroup"), group, errors);
    }
    for part in ["kind", "name"] {
        let field = format!("{field}.{part}");
        match text(reference, part) {
            "" => errors.required(field, ""),
            name => add_problems(path_segment(name), &field, name, errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reference_names_a_group_a_kind_and_an_object() {
        let errors_of = |reference: Value| {
            let mut errors = Errors::default();
            check_reference(&reference, "f", &mut errors);
            errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>()
        };
        assert_eq!(errors_of(json!({"kind": "Bucket", "name": "a"})), [""; 0]);
        assert_eq!(errors_of(json!({"apiGroup": "example.com", "kind": "Bucket", "name": "a"})), [""; 0]);
        assert_eq!(errors_of(json!({})), ["f.kind", "f.name"]);
        assert_eq!(
            errors_of(json!({"apiGroup": "a b", "kind": "a/b", "name": ".."})),
            ["f.apiGroup", "f.kind", "f.name"]
        );
    }
}
