//! Controller revisions: earlier templates of a DaemonSet or StatefulSet, kept for a rollback.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::table::cells::{Printer, age, name, number};
use crate::validate::fields::not_negative;
use crate::value::{at, flag, list, text};
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind {
        validate,
        validate_create,
        immutable: &["data"],
        printer: Some(&PRINTER),
        ..of::<ControllerRevision>()
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    not_negative(object, "revision", errors);
}

/// Checks that a revision has an object. Nothing could be rolled back to one without.
fn validate_create(object: &Value, errors: &mut Errors) {
    match at(object, "data") {
        Value::Object(_) => {}
        Value::Null => errors.required("data", "data is mandatory"),
        _ => errors.required("data", "data must be a valid JSON object"),
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Controller", "string", false),
        ("Revision", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let owner = list(o, "metadata.ownerReferences").iter().find(|r| flag(r, "controller"));
        let controller = owner.map_or("<none>".to_string(), |r| {
            let group = text(r, "apiVersion").split_once('/').map_or("", |(g, _)| g);
            let resource = crate::status::qualified(group, &text(r, "kind").to_lowercase());
            format!("{resource}/{}", text(r, "name"))
        });
        vec![name(o), controller.into(), number(o, "revision"), age(o, now)]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    #[test]
    fn a_new_revision_keeps_an_object() {
        let errors_of = |data: Value| problems(validate_create, json!({"revision": 1, "data": data}));
        assert_eq!(errors_of(json!({"spec": {}})), [""; 0]);
        assert_eq!(errors_of(Value::Null), ["data: Required value: data is mandatory"]);
        for other in [json!("x"), json!([1]), json!(1)] {
            assert_eq!(errors_of(other), ["data: Required value: data must be a valid JSON object"]);
        }
    }
}
