//! Daemon sets: run one pod on every node that fits.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of, status};
use crate::kinds::workload::{self, CONTAINERS, collisions, is_zero, shown_strategy, with_pods};
use crate::meta::annotation;
use crate::pod_spec::defaults::template;
use crate::schema::equality;
use crate::table::cells::{Printer, age, labels, name, number, selector};
use crate::validate::fields::int_or_part;
use crate::validate::status::not_negatives;
use crate::value::{self, at, default, default_zero, put, text};
use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["ds"],
        categories: &["all"],
        subresources: vec![status("DaemonSet")],
        has_status: true,
        generation: true,
        defaults,
        prepare,
        prepare_update,
        prepare_status_update: |new, old, _| set_template_generation(new, template_generation(old)),
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
    workload::prepare_template(object, &Value::Null);
    if malformed_generation(object).is_none() {
        set_template_generation(object, template_generation(object).max(1));
    }
}

/// The annotation that counts the changes of the template. It is what remains of the field
/// `spec.templateGeneration` of `extensions/v1beta1`; the controller labels its pods with it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(object: &Value) -> i64 {
    annotation(object, TEMPLATE_GENERATION).and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Returns the annotation of the count if it is no number. `validate` refuses it, so a client's is
/// left in place until then. (Upstream answers 400: it fails to decode the object.)
fn malformed_generation(object: &Value) -> Option<&str> {
    annotation(object, TEMPLATE_GENERATION).filter(|count| count.parse::<i64>().is_err())
}

fn set_template_generation(object: &mut Value, count: i64) {
    let annotations = value::slot_map(object, "metadata.annotations");
    annotations.insert(TEMPLATE_GENERATION.into(), count.to_string().into());
}

/// Counts a change of the template. A client cannot change the count, nor take it out. A malformed
/// one that is stored is replaced.
fn prepare_update(new: &mut Value, old: &Value) {
    const TEMPLATE: &str = "spec.template";
    workload::prepare_template(new, old);
    if malformed_generation(new).is_some_and(|given| annotation(old, TEMPLATE_GENERATION) != Some(given)) {
        return;
    }
    let is_same = equality::equal(equality::POD_TEMPLATE, "", at(new, TEMPLATE), at(old, TEMPLATE));
    let count = template_generation(old);
    set_template_generation(new, if is_same { count } else { count.saturating_add(1) });
}

fn validate(object: &Value, errors: &mut Errors) {
    const ROLLING: &str = "spec.updateStrategy.rollingUpdate";
    workload::validate(object, "daemonset", errors);
    if let Some(count) = malformed_generation(object) {
        let field = format!("metadata.annotations.{TEMPLATE_GENERATION}");
        errors.invalid_text(field, count, "must be an integer");
    }
    if text(object, "spec.updateStrategy.type") == "RollingUpdate" {
        let (unavailable, surge) = (format!("{ROLLING}.maxUnavailable"), format!("{ROLLING}.maxSurge"));
        for path in [&unavailable, &surge] {
            int_or_part(object, path, errors); // a node has at most two of its pods
        }
        let some = |path: &str| !at(object, path).is_null() && !is_zero(object, path);
        if some(&unavailable) && some(&surge) {
            let why = "may not be set when maxUnavailable is non-zero";
            errors.invalid(&surge, at(object, &surge), why);
        } else if !some(&unavailable) && !some(&surge) {
            errors.required(&unavailable, "cannot be 0 when maxSurge is 0");
        }
    }
    let strategy = at(object, "spec.updateStrategy");
    if !["", "OnDelete", "RollingUpdate"].contains(&text(strategy, "type")) {
        let shown = shown_strategy(strategy, [("maxUnavailable", json!(0)), ("maxSurge", json!(0))]);
        errors.not_supported("spec.updateStrategy", &shown, &["RollingUpdate", "OnDelete"]);
    }
}

/// Checks the counters that a write through `/status` sets.
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
    use crate::validate::fields::problems;

    fn about(found: Vec<String>, part: &str) -> Vec<String> {
        found.into_iter().filter(|e| e.contains(part)).collect()
    }

    #[test]
    fn changes_of_the_template_alone_are_counted() {
        let set = |memory: &str, history: i64, annotations: Value| {
            let container = json!({"name": "c", "resources": {"limits": {"memory": memory}}});
            json!({"metadata": {"annotations": annotations},
                "spec": {"revisionHistoryLimit": history, "template": {"spec": {"containers": [container]}}}})
        };
        let count = |set: &Value| annotation(set, TEMPLATE_GENERATION).map(String::from);
        let mut old = set("1Gi", 10, Value::Null);
        prepare(&mut old);
        assert_eq!(count(&old).as_deref(), Some("1"));
        for (mut new, want) in [
            (set("1Gi", 5, Value::Null), "1"),
            (set("1073741824", 10, Value::Null), "1"),
            (set("2Gi", 10, Value::Null), "2"),
            (set("1Gi", 10, json!({TEMPLATE_GENERATION: "7", "a": "b"})), "1"),
        ] {
            prepare_update(&mut new, &old);
            assert_eq!(count(&new).as_deref(), Some(want), "{new}");
        }
        let mut restored = set("1Gi", 10, json!({TEMPLATE_GENERATION: "4"}));
        prepare(&mut restored);
        assert_eq!(count(&restored).as_deref(), Some("4"));
        let mut written = json!({"metadata": {}, "status": {}});
        (kind().prepare_status_update)(&mut written, &restored, "status");
        assert_eq!(count(&written).as_deref(), Some("4"), "a write of the status does not take it out");
    }

    #[test]
    fn a_template_generation_that_is_no_number_is_refused() {
        let named = |count: &str| json!({"metadata": {"annotations": {TEMPLATE_GENERATION: count}}});
        let errors_of = |set: &Value| about(problems(validate, set.clone()), TEMPLATE_GENERATION);
        let why = "Invalid value: \"x\": must be an integer";
        let refused = [format!("metadata.annotations.{TEMPLATE_GENERATION}: {why}")];
        let mut made = named("x");
        prepare(&mut made);
        assert_eq!(errors_of(&made), refused);
        let mut changed = named("x");
        prepare_update(&mut changed, &named("4"));
        assert_eq!(errors_of(&changed), refused);
        let mut stored = named("x");
        prepare_update(&mut stored, &named("x"));
        assert_eq!(annotation(&stored, TEMPLATE_GENERATION), Some("1"), "it was stored unchecked");
        assert_eq!(errors_of(&stored), [""; 0]);
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
        let unknown = problems(validate, json!({"spec": {"updateStrategy": {"type": "Recreate"}}}));
        assert_eq!(
            about(unknown, "updateStrategy"),
            [
                "spec.updateStrategy: Unsupported value: {\"Type\":\"Recreate\",\"RollingUpdate\":null}: supported values: \"RollingUpdate\", \"OnDelete\""
            ]
        );
    }
}
