//! Priority classes: the priority of the pods that name one. The scheduler evicts pods of a lower
//! priority for those of a higher one.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::meta;
use crate::table::cells::{Printer, age, name, number};
use crate::validate::fields::one_of;
use crate::value::{at, default, flag, text};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["pc"],
        generation: true,
        generation_fixed: true,
        defaults,
        validate,
        validate_update,
        immutable: &["preemptionPolicy"],
        printer: Some(&PRINTER),
        ..of::<PriorityClass>()
    }
}

fn defaults(object: &mut Value) {
    default(object, "preemptionPolicy", "PreemptLowerPriority");
    default(object, "value", 0); // Go always writes the field
}

/// The classes of the system and their values.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// Says why a class whose name begins with `system-` is refused.
fn wrong_system_class(name: &str, value: i64, is_default: bool) -> Option<String> {
    match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, right)) if *right != value => Some(format!("value of {name} PriorityClass must be {right}")),
        Some(_) => is_default.then(|| format!("globalDefault of {name} PriorityClass must be false")),
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let value = at(object, "value").as_i64().unwrap_or(0);
    let name = meta::name(object);
    if name.starts_with("system-") {
        if let Some(why) = wrong_system_class(name, value, flag(object, "globalDefault")) {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            );
            errors.forbidden("metadata.name", &why);
        }
    } else if value > 1_000_000_000 {
        errors.forbidden("value", "maximum allowed value of a user defined priority is 1000000000");
    }
    one_of(object, "preemptionPolicy", "preemptionPolicy", &["PreemptLowerPriority", "Never"], errors);
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let value = |class: &Value| at(class, "value").as_i64().unwrap_or(0);
    if value(new) != value(old) {
        errors.forbidden("value", "may not be changed in an update.");
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Value", "integer", false),
        ("Global-Default", "boolean", false),
        ("Age", "string", false),
        ("PreemptionPolicy", "string", false),
    ],
    cells: |o, now| {
        vec![
            name(o),
            number(o, "value"),
            flag(o, "globalDefault").into(),
            age(o, now),
            text(o, "preemptionPolicy").into(),
        ]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    #[test]
    fn classes_of_the_system_are_the_systems() {
        let errors_of = |name: &str, value: i64, global: bool| {
            problems(validate, json!({"metadata": {"name": name}, "value": value, "globalDefault": global}))
        };
        let why = |why: &str| {
            vec![format!(
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            )]
        };
        const NODE: &str = "system-node-critical";
        assert_eq!(errors_of(NODE, 2_000_001_000, false), [""; 0]);
        assert_eq!(
            errors_of(NODE, 5, false),
            why("value of system-node-critical PriorityClass must be 2000001000")
        );
        assert_eq!(
            errors_of(NODE, 2_000_001_000, true),
            why("globalDefault of system-node-critical PriorityClass must be false")
        );
        assert_eq!(errors_of("system-x", 5, false), why("system-x is not a known system priority class"));
        assert_eq!(errors_of("high", 1_000_000_000, true), [""; 0]);
        let mut errors = Errors::default();
        validate_update(&json!({"value": 1}), &json!({"value": 2}), &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["value: Forbidden: may not be changed in an update."]);
    }
}
