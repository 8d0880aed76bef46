//! Jobs, cron jobs, stateful sets.

use super::pods::template;
use super::text::{Text, capital, controller, rfc1123};
use super::workloads::{count, pods_status, selector};
use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use api::gostr;
use api::volumes::class_named_by;
use api::{duration, value};
use jiff::Timestamp;
use serde_json::Value;

/// Completed indexes longer than this are cut at the next comma.
const INDEXES_MAX: usize = 50;

fn number(object: &Value, path: &str, unit: &str) -> String {
    value::int(object, path).map_or("<unset>".into(), |n| format!("{n}{unit}"))
}

/// Writes a field, unless the object lacks it.
fn if_set(text: &mut Text, title: &str, object: &Value, path: &str, unit: &str) {
    if !value::at(object, path).is_null() {
        text.field(0, title, format!("{}{unit}", gostr::plain(value::at(object, path))));
    }
}

pub(super) fn job(text: &mut Text, job: &Value) {
    text.field(0, "Name", value::text(job, "metadata.name"));
    text.field(0, "Namespace", value::text(job, "metadata.namespace"));
    text.field(0, "Selector", selector(job));
    text.labels("Labels", value::at(job, "metadata.labels"));
    text.annotations("Annotations", value::at(job, "metadata.annotations"));
    if let Some(owner) = controller(job) {
        text.field(0, "Controlled By", owner);
    }
    if_set(text, "Parallelism", job, "spec.parallelism", "");
    text.field(0, "Completions", number(job, "spec.completions", ""));
    if_set(text, "Completion Mode", job, "spec.completionMode", "");
    if_set(text, "Suspend", job, "spec.suspend", "");
    if_set(text, "Backoff Limit", job, "spec.backoffLimit", "");
    if_set(text, "TTL Seconds After Finished", job, "spec.ttlSecondsAfterFinished", "");
    let (start, end) = (value::text(job, "status.startTime"), value::text(job, "status.completionTime"));
    if !start.is_empty() {
        text.field(0, "Start Time", rfc1123(start));
    }
    if !end.is_empty() {
        text.field(0, "Completed At", rfc1123(end));
    }
    if let (Ok(start), Ok(end)) = (start.parse::<Timestamp>(), end.parse::<Timestamp>()) {
        text.field(0, "Duration", duration::human(end.duration_since(start).as_secs()));
    }
    if_set(text, "Active Deadline Seconds", job, "spec.activeDeadlineSeconds", "s");
    let ready = value::int(job, "status.ready").map_or(String::new(), |n| format!(" ({n} Ready)"));
    text.field(
        0,
        "Pods Statuses",
        format!(
            "{} Active{ready} / {} Succeeded / {} Failed",
            count(job, "status.active"),
            count(job, "status.succeeded"),
            count(job, "status.failed")
        ),
    );
    if value::text(job, "spec.completionMode") == "Indexed" {
        text.field(0, "Completed Indexes", indexes(value::text(job, "status.completedIndexes")));
    }
    template(text, value::at(job, "spec.template"));
}

fn indexes(all: &str) -> String {
    let comma = all.bytes().skip(INDEXES_MAX).position(|b| b == b',');
    match comma {
        _ if all.is_empty() => "<none>".into(),
        None => all.into(),
        Some(comma) => format!("{}...", &all[..=INDEXES_MAX + comma]),
    }
}

pub(super) fn cron_job(text: &mut Text, cron: &Value) {
    text.meta(cron);
    text.field(0, "Schedule", value::text(cron, "spec.schedule"));
    text.field(0, "Concurrency Policy", value::text(cron, "spec.concurrencyPolicy"));
    let suspend = value::at(cron, "spec.suspend").as_bool().map_or("<unset>", capital);
    text.field(0, "Suspend", suspend);
    text.field(0, "Successful Job History Limit", number(cron, "spec.successfulJobsHistoryLimit", ""));
    text.field(0, "Failed Job History Limit", number(cron, "spec.failedJobsHistoryLimit", ""));
    text.field(0, "Starting Deadline Seconds", number(cron, "spec.startingDeadlineSeconds", "s"));
    let job = value::at(cron, "spec.jobTemplate");
    match value::at(job, "spec.selector").is_null() {
        true => text.field(0, "Selector", "<unset>"),
        false => text.field(0, "Selector", selector(job)),
    }
    text.field(0, "Parallelism", number(job, "spec.parallelism", ""));
    text.field(0, "Completions", number(job, "spec.completions", ""));
    if_set(text, "Active Deadline Seconds", job, "spec.activeDeadlineSeconds", "s");
    template(text, value::at(job, "spec.template"));
    match value::text(cron, "status.lastScheduleTime") {
        "" => text.field(0, "Last Schedule Time", "<unset>"),
        time => text.field(0, "Last Schedule Time", rfc1123(time)),
    }
    let active: Vec<&str> =
        value::list(cron, "status.active").iter().map(|r| value::text(r, "name")).collect();
    text.field(0, "Active Jobs", if active.is_empty() { "<none>".into() } else { active.join(", ") });
}

pub(super) async fn stateful_set(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    let set = &info.object;
    text.field(0, "Name", value::text(set, "metadata.name"));
    text.field(0, "Namespace", value::text(set, "metadata.namespace"));
    text.field(0, "CreationTimestamp", rfc1123(value::text(set, "metadata.creationTimestamp")));
    text.field(0, "Selector", selector(set));
    text.labels("Labels", value::at(set, "metadata.labels"));
    text.annotations("Annotations", value::at(set, "metadata.annotations"));
    text.field(
        0,
        "Replicas",
        format!("{} desired | {} total", count(set, "spec.replicas"), count(set, "status.replicas")),
    );
    text.field(0, "Update Strategy", value::text(set, "spec.updateStrategy.type"));
    let rolling = value::at(set, "spec.updateStrategy.rollingUpdate");
    if !rolling.is_null() {
        text.field(1, "Partition", count(rolling, "partition"));
        if !rolling["maxUnavailable"].is_null() {
            text.field(1, "MaxUnavailable", gostr::plain(&rolling["maxUnavailable"]));
        }
    }
    pods_status(ctx, text, info).await?;
    template(text, value::at(set, "spec.template"));
    claim_templates(text, value::list(set, "spec.volumeClaimTemplates"));
    Ok(())
}

fn claim_templates(text: &mut Text, claims: &[Value]) {
    if claims.is_empty() {
        text.field(0, "Volume Claims", "<none>");
        return;
    }
    text.line(0, "Volume Claims:");
    for claim in claims {
        text.field(1, "Name", value::text(claim, "metadata.name"));
        text.field(1, "StorageClass", class_named_by(claim));
        text.labels("  Labels", value::at(claim, "metadata.labels"));
        text.labels("  Annotations", value::at(claim, "metadata.annotations"));
        let capacity = value::text(claim, "spec.resources.requests.storage");
        text.field(1, "Capacity", if capacity.is_empty() { "<default>" } else { capacity });
        let modes: Vec<&str> =
            value::list(claim, "spec.accessModes").iter().filter_map(Value::as_str).collect();
        text.field(1, "Access Modes", format!("[{}]", modes.join(" ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::common::LAST_APPLIED;
    use serde_json::json;

    #[test]
    fn long_lists_of_indexes_end_at_the_next_comma() {
        let even = |last: usize| (0..=last).step_by(2).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(indexes(""), "<none>");
        assert_eq!(indexes(&even(36)), even(36), "no comma follows the 50th byte");
        assert_eq!(indexes(&even(44)), format!("{},...", even(36)), "63 bytes");
        let range = format!("{}-{}", "1".repeat(30), "2".repeat(30));
        assert_eq!(indexes(&range), range, "one range");
    }

    #[test]
    fn a_job_without_parallelism_prints_none() {
        let described = |spec: Value| {
            let mut text = Text::default();
            job(&mut text, &json!({"metadata": {"name": "a"}, "spec": spec}));
            text.finish()
        };
        let none = described(json!({"template": {}}));
        assert!(!none.contains("Parallelism") && none.contains("Completions:"), "{none}");
        assert!(described(json!({"parallelism": 2, "template": {}})).contains("Parallelism:"));
    }

    #[test]
    fn claim_templates_print_pairs() {
        let annotations = json!({"a": "1", LAST_APPLIED: "x"});
        let claim = json!({"metadata": {"name": "data", "annotations": annotations}});
        let mut text = Text::default();
        claim_templates(&mut text, &[claim]);
        let printed = text.finish();
        assert!(
            printed.contains(&format!("  Annotations:   a=1\n                 {LAST_APPLIED}=x\n")),
            "{printed}"
        );
    }
}
