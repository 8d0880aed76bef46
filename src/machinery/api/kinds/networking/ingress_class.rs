//! Ingress classes: which controller serves the Ingresses that name the class.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::kinds::networking::references::check_reference;
use crate::table::cells::{Printer, age, name};
use crate::validate::fields::{IMMUTABLE, add_problems, domain_prefixed_path};
use crate::validate::names;
use crate::value::{at, default, text};
use k8s_openapi::api::networking::v1::IngressClass;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        generation: true,
        defaults,
        validate,
        validate_update,
        printer: Some(&PRINTER),
        ..of::<IngressClass>()
    }
}

fn defaults(object: &mut Value) {
    if at(object, "spec.parameters").is_object() {
        default(object, "spec.parameters.scope", "Cluster");
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    const CONTROLLER: &str = "spec.controller";
    let controller = text(object, CONTROLLER);
    if controller.len() > 250 {
        errors.too_long(CONTROLLER, 250);
    }
    domain_prefixed_path(controller, CONTROLLER, errors);
    let parameters = at(object, "spec.parameters");
    if parameters.is_null() {
        return;
    }
    check_reference(parameters, "spec.parameters", errors);
    const NAMESPACE: &str = "spec.parameters.namespace";
    match (text(parameters, "scope"), at(parameters, "namespace").as_str()) {
        ("Cluster", Some(_)) => errors.forbidden(NAMESPACE, "`parameters.scope` is set to 'Cluster'"),
        ("Namespace", None) => errors.required(NAMESPACE, "`parameters.scope` is set to 'Namespace'"),
        ("Namespace", Some(name)) => add_problems(names::dns_label(name), NAMESPACE, name, errors),
        ("Cluster", None) => {}
        (other, _) => {
            errors.not_supported("spec.parameters.scope", &json!(other), &["Cluster", "Namespace"]);
        }
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    if at(new, "spec.controller") != at(old, "spec.controller") {
        errors.invalid("spec.controller", at(new, "spec.controller"), IMMUTABLE);
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Controller", "string", false),
        ("Parameters", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let part = |field: &str| text(o, &format!("spec.parameters.{field}"));
        // An empty group is not a missing one: `Kind./name`, as upstream.
        let group = at(o, "spec.parameters.apiGroup").as_str();
        let parameters = match (at(o, "spec.parameters").is_null(), group) {
            (true, _) => "<none>".to_string(),
            (false, None) => format!("{}/{}", part("kind"), part("name")),
            (false, Some(group)) => format!("{}.{group}/{}", part("kind"), part("name")),
        };
        vec![name(o), text(o, "spec.controller").into(), parameters.into(), age(o, now)]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn parameters_are_shown_with_their_group() {
        let shown = |parameters: Value| {
            let class =
                json!({"metadata": {"name": "c"}, "spec": {"controller": "a.b/c", "parameters": parameters}});
            (PRINTER.cells)(&class, clock::Timestamp::UNIX_EPOCH)[2].clone()
        };
        assert_eq!(shown(Value::Null), "<none>");
        assert_eq!(shown(json!({"kind": "K", "name": "n"})), "K/n");
        assert_eq!(shown(json!({"kind": "K", "name": "n", "apiGroup": "g"})), "K.g/n");
        assert_eq!(shown(json!({"kind": "K", "name": "n", "apiGroup": ""})), "K./n");
    }

    #[test]
    fn parameters_are_in_the_namespace_that_their_scope_asks_for() {
        let errors_of = |parameters: Value| {
            problems(validate, json!({"spec": {"controller": "example.com/own", "parameters": parameters}}))
        };
        let with = |scope: &str, namespace: Value| {
            errors_of(json!({"kind": "Bucket", "name": "a", "scope": scope, "namespace": namespace}))
        };
        assert_eq!(with("Cluster", Value::Null), [""; 0]);
        assert_eq!(with("Namespace", json!("d")), [""; 0]);
        const FIELD: &str = "spec.parameters.namespace";
        assert_eq!(
            with("Cluster", json!("d")),
            [format!("{FIELD}: Forbidden: `parameters.scope` is set to 'Cluster'")]
        );
        assert_eq!(
            with("Namespace", Value::Null),
            [format!("{FIELD}: Required value: `parameters.scope` is set to 'Namespace'")]
        );
        assert!(with("Namespace", json!("A"))[0].starts_with(&format!("{FIELD}: Invalid value: \"A\"")));
        assert_eq!(
            errors_of(json!({"kind": "a/b", "scope": "Cluster"})),
            [
                "spec.parameters.kind: Invalid value: \"a/b\": may not contain '/'",
                "spec.parameters.name: Required value",
            ]
        );
    }
}
