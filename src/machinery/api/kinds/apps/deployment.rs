//! Deployments: keep a number of equal pods running, and replace them step by step when their
//! template changes.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, SCALE, of, prepare_status, status};
use crate::kinds::workload::{self, CONTAINERS, collisions, is_zero, shown_strategy, with_pods};
use crate::pod_spec::defaults::template;
use crate::table::cells::{Printer, age, name, number, selector};
use crate::validate::fields::{int_or_part, int_or_percent, not_negative};
use crate::validate::status::{ABOVE_REPLICAS, at_most, not_negatives};
use crate::value::{at, default, default_zero, int, text};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["deploy"],
        categories: &["all"],
        subresources: vec![SCALE, status("Deployment")],
        has_status: true,
        generation: true,
        generation_of_annotations: true,
        defaults,
        prepare,
        prepare_update: workload::prepare_template,
        resets: &[("status", "metadata.labels")],
        validate,
        validate_status_update,
        immutable: &["spec.selector"],
        printer: Some(&PRINTER),
        scale: Some(workload::SCALE_PATHS),
        ..of::<Deployment>()
    }
}

fn defaults(object: &mut Value) {
    default(object, "spec.replicas", 1);
    template(object, "spec.template");
    default_zero(object, "spec.strategy.type", "RollingUpdate");
    if text(object, "spec.strategy.type") == "RollingUpdate" {
        default(object, "spec.strategy.rollingUpdate.maxUnavailable", "25%");
        default(object, "spec.strategy.rollingUpdate.maxSurge", "25%");
    }
    default(object, "spec.revisionHistoryLimit", 10);
    default(object, "spec.progressDeadlineSeconds", 600);
}

fn prepare(object: &mut Value) {
    prepare_status(object);
    workload::prepare_template(object, &Value::Null);
}

fn validate(object: &Value, errors: &mut Errors) {
    workload::validate(object, "deployment", errors);
    let kind = text(object, "spec.strategy.type");
    match kind {
        "Recreate" => {
            if !at(object, "spec.strategy.rollingUpdate").is_null() {
                errors.forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => {
            int_or_part(object, "spec.strategy.rollingUpdate.maxUnavailable", errors);
            int_or_percent(object, "spec.strategy.rollingUpdate.maxSurge", errors);
            if is_zero(object, "spec.strategy.rollingUpdate.maxUnavailable")
                && is_zero(object, "spec.strategy.rollingUpdate.maxSurge")
            {
                let path = "spec.strategy.rollingUpdate.maxUnavailable";
                errors.invalid(path, at(object, path), "may not be 0 when `maxSurge` is 0");
            }
        }
        _ => {
            let parts = [("maxUnavailable", json!(0)), ("maxSurge", json!(0))];
            let shown = shown_strategy(at(object, "spec.strategy"), parts);
            errors.not_supported("spec.strategy", &shown, &["Recreate", "RollingUpdate"]);
        }
    }
    not_negative(object, "spec.progressDeadlineSeconds", errors);
    let (deadline, ready) =
        (int(object, "spec.progressDeadlineSeconds"), int(object, "spec.minReadySeconds").unwrap_or(0));
    if deadline.is_some_and(|d| d <= ready) {
        errors.invalid(
            "spec.progressDeadlineSeconds",
            at(object, "spec.progressDeadlineSeconds"),
            "must be greater than minReadySeconds",
        );
    }
}

/// Checks the counters that a write through `/status` sets.
fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    let counters = ["observedGeneration", "replicas", "updatedReplicas", "readyReplicas"];
    not_negatives(new, &counters, errors);
    not_negatives(new, &["availableReplicas", "unavailableReplicas", "terminatingReplicas"], errors);
    collisions(new, old, errors);
    at_most(
        new,
        &["updatedReplicas", "readyReplicas", "availableReplicas"],
        "replicas",
        ABOVE_REPLICAS,
        errors,
    );
    at_most(new, &["availableReplicas"], "readyReplicas", "cannot be greater than readyReplicas", errors);
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Ready", "string", false),
        ("Up-to-date", "string", false),
        ("Available", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |o, now| {
        let ready = format!("{}/{}", number(o, "status.readyReplicas"), number(o, "spec.replicas"));
        let cells = vec![
            name(o),
            ready.into(),
            number(o, "status.updatedReplicas"),
            number(o, "status.availableReplicas"),
            age(o, now),
        ];
        with_pods(cells, o, CONTAINERS, Some(selector(o, "spec.selector", "")))
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn a_strategy_of_an_unknown_type_is_shown_as_upstream_shows_it() {
        let errors_of = |strategy: Value| {
            let all = problems(validate, json!({"spec": {"strategy": strategy}})).into_iter();
            all.filter(|error| error.starts_with("spec.strategy")).collect::<Vec<_>>()
        };
        assert_eq!(errors_of(json!({"type": "Recreate"})), [""; 0]);
        let supported = "supported values: \"Recreate\", \"RollingUpdate\"";
        let field = "spec.strategy: Unsupported value:";
        assert_eq!(
            errors_of(json!({"type": "rolling"})),
            [format!("{field} {{\"Type\":\"rolling\",\"RollingUpdate\":null}}: {supported}")]
        );
        assert_eq!(
            errors_of(json!({"type": "rolling", "rollingUpdate": {"maxSurge": "10%"}})),
            [format!(
                "{field} {{\"Type\":\"rolling\",\"RollingUpdate\":{{\"MaxUnavailable\":0,\"MaxSurge\":\"10%\"}}}}: {supported}"
            )]
        );
    }
}
