//! Cron jobs: create a Job at every time of a schedule.

use crate::cron::{self, Schedule};
use crate::errors::Errors;
use crate::kinds::batch::job_spec::{self, condition_statuses};
use crate::kinds::entry::{Kind, of, prepare_status, status};
use crate::kinds::workload::with_pods;
use crate::pod_spec::defaults::template;
use crate::pod_spec::disabled::drop_fields;
use crate::table::cells::{Printer, age, name, selector, since, text_or};
use crate::validate::fields::{not_negative, one_of};
use crate::value::{self, at, default, default_zero, flag, list, text};
use k8s_openapi::api::batch::v1::CronJob;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["cj"],
        categories: &["all"],
        subresources: vec![status("CronJob")],
        has_status: true,
        generation: true,
        defaults,
        prepare,
        prepare_update: |new, old| drop_fields(new, old, POD_SPEC),
        validate,
        printer: Some(&PRINTER),
        ..of::<CronJob>()
    }
}

fn defaults(object: &mut Value) {
    default_zero(object, "spec.concurrencyPolicy", "Allow");
    default(object, "spec.suspend", false);
    default(object, "spec.successfulJobsHistoryLimit", 3);
    default(object, "spec.failedJobsHistoryLimit", 1);
    default(object, "spec.jobTemplate.metadata", json!({}));
    condition_statuses(value::slot(object, "spec.jobTemplate.spec"));
    template(object, "spec.jobTemplate.spec.template");
}

/// Where a schedule describes the pods of its Jobs.
const POD_SPEC: &str = "spec.jobTemplate.spec.template.spec";

fn prepare(object: &mut Value) {
    prepare_status(object);
    drop_fields(object, &Value::Null, POD_SPEC);
}

fn validate(object: &Value, errors: &mut Errors) {
    /// Characters of a name: the names of the Jobs have 11 more, for the scheduled minute.
    const LONGEST: usize = 52;
    let (schedule, name) = (text(object, "spec.schedule"), text(object, "metadata.name"));
    if name.len() > LONGEST {
        errors.invalid_text("metadata.name", name, "must be no more than 52 characters");
    }
    if schedule.is_empty() {
        errors.required("spec.schedule", "");
    } else if schedule.contains("TZ") {
        errors.invalid_text(
            "spec.schedule",
            schedule,
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        );
    } else if let Err(why) = Schedule::parse(schedule) {
        errors.invalid_text("spec.schedule", schedule, &why);
    }
    match at(object, "spec.timeZone").as_str() {
        None => {}
        Some("") => errors.invalid_text("spec.timeZone", "", "timeZone must be nil or non-empty string"),
        Some(zone) if zone.eq_ignore_ascii_case("local") => {
            let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
            errors.invalid_text("spec.timeZone", zone, why);
        }
        Some(zone) if cron::zone(zone).is_none() => {
            errors.invalid_text("spec.timeZone", zone, &format!("unknown time zone {zone}"));
        }
        Some(_) => {}
    }
    one_of(
        object,
        "spec.concurrencyPolicy",
        "spec.concurrencyPolicy",
        &["Allow", "Forbid", "Replace"],
        errors,
    );
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        not_negative(object, &format!("spec.{field}"), errors);
    }
    const TEMPLATE: &str = "spec.jobTemplate.spec";
    let template = at(object, TEMPLATE);
    job_spec::validate(template, TEMPLATE, errors);
    // Each Job gets a selector of its own.
    let own = at(template, "selector");
    if !own.is_null() {
        errors.invalid(format!("{TEMPLATE}.selector"), own, "`selector` will be auto-generated");
    }
    if flag(template, "manualSelector") {
        errors.not_supported(format!("{TEMPLATE}.manualSelector"), &json!(true), &["nil", "false"]);
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Schedule", "string", false),
        ("Timezone", "string", false),
        ("Suspend", "boolean", false),
        ("Active", "integer", false),
        ("Last Schedule", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |o, now| {
        let suspend = match at(o, "spec.suspend").as_bool() {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        let last = match text(o, "status.lastScheduleTime") {
            "" => "<none>".to_string(),
            time => since(time, now),
        };
        let cells = vec![
            name(o),
            text(o, "spec.schedule").into(),
            text_or(o, "spec.timeZone", "<none>").into(),
            suspend.into(),
            list(o, "status.active").len().into(),
            last.into(),
            age(o, now),
        ];
        let select = selector(o, "spec.jobTemplate.spec.selector", "<none>");
        with_pods(cells, o, "spec.jobTemplate.spec.template.spec.containers", Some(select))
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
    fn the_jobs_of_a_schedule_get_selectors_of_their_own() {
        let errors_of = |spec: Value| {
            let object = json!({"spec": {"schedule": "@daily", "jobTemplate": {"spec": spec}}});
            about(problems(validate, object), "elector")
        };
        assert_eq!(errors_of(json!({"manualSelector": false})), [""; 0]);
        assert_eq!(
            errors_of(json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}})),
            [
                "spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated",
                "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
            ]
        );
    }
}
