//! Pod disruption budgets: how many pods of an application may be evicted at the same time.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of, status};
use crate::table::cells::{Printer, age, name, number};
use crate::validate::fields::{int_or_part, one_of, selector};
use crate::validate::names::path_segment;
use crate::validate::status::{conditions, not_negatives};
use crate::value::{at, put};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["pdb"],
        subresources: vec![status("PodDisruptionBudget")],
        has_status: true,
        generation: true,
        needs_version: true,
        // As upstream, which judges the spec of a budget alone: the name need only fit into a path.
        name_rule: path_segment,
        prepare,
        validate,
        validate_status_update,
        printer: Some(&PRINTER),
        ..of::<PodDisruptionBudget>()
    }
}

fn prepare(object: &mut Value) {
    let zeros = ["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"];
    let status: serde_json::Map<String, Value> = zeros.iter().map(|z| (z.to_string(), 0.into())).collect();
    put(object, "status", status);
}

fn validate(object: &Value, errors: &mut Errors) {
    if !at(object, "spec.minAvailable").is_null() && !at(object, "spec.maxUnavailable").is_null() {
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.invalid("spec", &shown_spec(at(object, "spec")), why);
    }
    for path in ["spec.minAvailable", "spec.maxUnavailable"] {
        int_or_part(object, path, errors);
    }
    selector(object, "spec.selector", errors);
    let path = "spec.unhealthyPodEvictionPolicy";
    one_of(object, path, path, &["AlwaysAllow", "IfHealthyBudget"], errors);
}

/// Returns a spec as upstream's errors show it: its internal type has capital letters and no field
/// that is left out.
fn shown_spec(spec: &Value) -> Value {
    json!({
        "MinAvailable": at(spec, "minAvailable"),
        "Selector": at(spec, "selector"),
        "MaxUnavailable": at(spec, "maxUnavailable"),
        "UnhealthyPodEvictionPolicy": at(spec, "unhealthyPodEvictionPolicy"),
    })
}

/// Checks the counters and the conditions that a write through `/status` sets.
fn validate_status_update(new: &Value, _: &Value, errors: &mut Errors) {
    conditions(new, errors);
    not_negatives(new, &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"], errors);
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Min Available", "string", false),
        ("Max Unavailable", "string", false),
        ("Allowed Disruptions", "integer", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let amount = |path: &str| match at(o, path) {
            Value::Null => "N/A".into(),
            Value::String(s) => s.clone().into(),
            other => Value::from(other.to_string()),
        };
        vec![
            name(o),
            amount("spec.minAvailable"),
            amount("spec.maxUnavailable"),
            number(o, "status.disruptionsAllowed"),
            age(o, now),
        ]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn the_name_of_a_budget_fits_into_a_path() {
        let problems = |name: &str| (kind().name_rule)(name).len();
        assert_eq!((problems("Web_1"), problems("a/b"), problems("..")), (0, 1, 1));
    }

    #[test]
    fn a_budget_is_a_number_or_a_percentage() {
        assert!(problems(validate, json!({"spec": {"minAvailable": "50%"}})).is_empty());
        for (bad, why) in [("101%", "100%"), ("five", "percent")] {
            let found = problems(validate, json!({"spec": {"minAvailable": bad}}));
            assert!(found.len() == 1 && found[0].contains(why), "{found:?}");
        }
        let shown =
            r#"{"MinAvailable":1,"Selector":null,"MaxUnavailable":"10%","UnhealthyPodEvictionPolicy":null}"#;
        assert_eq!(
            problems(validate, json!({"spec": {"minAvailable": 1, "maxUnavailable": "10%"}})),
            [format!("spec: Invalid value: {shown}: minAvailable and maxUnavailable cannot be both set")]
        );
    }

    #[test]
    fn a_budget_has_conditions_that_clients_can_read() {
        let time = "2026-01-01T00:00:00Z";
        let with = |reason: &str, status: &str| json!({"type": "DisruptionAllowed", "status": status, "reason": reason, "lastTransitionTime": time});
        let of = |conditions: Value| {
            errors_of(validate_status_update, json!({"conditions": conditions}), Value::Null)
        };
        assert_eq!(of(json!([with("SufficientPods", "True")])), [""; 0]);
        assert!(
            of(json!([with("no reason", "True")]))[0].starts_with("status.conditions[0].reason: Invalid")
        );
        assert!(of(json!([with("A", "Perhaps")]))[0].starts_with("status.conditions[0].status: Unsupported"));
        assert_eq!(of(json!([with("A", "True"), with("A", "True")])).len(), 1);
        assert_eq!(of(json!([{"type": "A", "status": "True"}])).len(), 2);
        assert_eq!(
            errors_of(validate_status_update, json!({"disruptionsAllowed": -1}), Value::Null).len(),
            1
        );
    }

    fn errors_of(check: fn(&Value, &Value, &mut Errors), new: Value, old: Value) -> Vec<String> {
        let mut errors = Errors::default();
        check(&json!({ "status": new }), &json!({ "status": old }), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }
}
