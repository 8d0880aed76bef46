//! Daemon sets: run one pod on every node that fits.

use crate::errors::Errors;
use crate::kinds::workload::{self, CONTAINERS, collisions, is_zero, with_pods};
use crate::kinds::{Kind, of, status};
use crate::pod_spec::defaults::template;
use crate::table::{Printer, age, labels, name, number, selector};
use crate::validate::status::not_negatives;
use crate::validate::{int_or_percent, one_of};
use crate::value::{at, default, default_zero, put, text};
use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["ds"],
        categories: &["all"],
        subresources: vec![status("DaemonSet")],
        has_status: true,
        generation: true,
        defaults,
        prepare,
        validate,
        validate_status_update,
        immutable: &["spec.selector"],
        printer: Some(&PRINTER),
        ..of::<DaemonSet>()
    }
}

fn defaults(object: &mut Value) {
    template(object, "spec.template");
    default_zero(object, "spec.updateStrategy.type", "RollingUpdate");
    if text(object, "spec.updateStrategy.type") == "RollingUpdate" {
        default(object, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1);
        default(object, "spec.updateStrategy.rollingUpdate.maxSurge", 0);
    }
    default(object, "spec.revisionHistoryLimit", 10);
}

fn prepare(object: &mut Value) {
    let zeros = ["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"];
    let status: serde_json::Map<String, Value> = zeros.iter().map(|z| (z.to_string(), 0.into())).collect();
    put(object, "status", status);
}

fn validate(object: &Value, errors: &mut Errors) {
    const ROLLING: &str = "spec.updateStrategy.rollingUpdate";
    workload::validate(object, "daemonset", errors);
    if text(object, "spec.updateStrategy.type") == "RollingUpdate" {
        let (unavailable, surge) = (format!("{ROLLING}.maxUnavailable"), format!("{ROLLING}.maxSurge"));
        for path in [&unavailable, &surge] {
            int_or_percent(object, path, errors);
            part_of_all(object, path, errors);
        }
        let some = |path: &str| !at(object, path).is_null() && !is_zero(object, path);
        if some(&unavailable) && some(&surge) {
            let why = "may not be set when maxUnavailable is non-zero";
            errors.invalid(&surge, at(object, &surge), why);
        } else if !some(&unavailable) && !some(&surge) {
            errors.required(&unavailable, "cannot be 0 when maxSurge is 0");
        }
    }
    one_of(
        object,
        "spec.updateStrategy.type",
        "spec.updateStrategy.type",
        &["OnDelete", "RollingUpdate"],
        errors,
    );
}

/// Refuses more than 100 %: a DaemonSet has one pod on a node, and during an update at most two.
fn part_of_all(object: &Value, path: &str, errors: &mut Errors) {
    let percent = text(object, path).strip_suffix('%').and_then(|n| n.parse::<u32>().ok());
    if percent.is_some_and(|p| p > 100) && path.ends_with("maxSurge") {
        errors.invalid_text(path, text(object, path), "must not be greater than 100%");
    }
}

/// The status of a DaemonSet.
fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    let counters = ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"];
    not_negatives(new, &counters, errors);
    let counters = ["observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable"];
    not_negatives(new, &counters, errors);
    collisions(new, old, errors);
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Desired", "integer", false),
        ("Current", "integer", false),
        ("Ready", "integer", false),
        ("Up-to-date", "integer", false),
        ("Available", "integer", false),
        ("Node Selector", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |o, now| {
        let cells = vec![
            name(o),
            number(o, "status.desiredNumberScheduled"),
            number(o, "status.currentNumberScheduled"),
            number(o, "status.numberReady"),
            number(o, "status.updatedNumberScheduled"),
            number(o, "status.numberAvailable"),
            labels(o, "spec.template.spec.nodeSelector").into(),
            age(o, now),
        ];
        with_pods(cells, o, CONTAINERS, Some(selector(o, "spec.selector", "<none>")))
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::problems;
    use serde_json::json;

    fn about(found: Vec<String>, part: &str) -> Vec<String> {
        found.into_iter().filter(|e| e.contains(part)).collect()
    }

    #[test]
    fn an_update_of_a_daemon_set_moves_and_has_one_way_to_do_so() {
        let with = |unavailable: Value, surge: Value| {
            let rolling = json!({"maxUnavailable": unavailable, "maxSurge": surge});
            let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
            about(problems(validate, json!({"spec": {"updateStrategy": strategy}})), "rollingUpdate")
        };
        const PATH: &str = "spec.updateStrategy.rollingUpdate";
        for good in [with(json!(1), json!(0)), with(json!("0%"), json!("100%")), with(json!(0), json!(3))] {
            assert_eq!(good, [""; 0]);
        }
        assert_eq!(
            with(json!(0), json!(0)),
            [format!("{PATH}.maxUnavailable: Required value: cannot be 0 when maxSurge is 0")]
        );
        let both =
            format!("{PATH}.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero");
        assert_eq!(with(json!(1), json!(1)), [both]);
        assert!(with(json!("ten"), json!(0))[0].contains("a valid percent string"));
        assert!(with(json!(-5), json!(0))[0].contains("must be greater than or equal to 0"));
        assert!(with(json!(0), json!("101%"))[0].contains("must not be greater than 100%"));
    }
}
