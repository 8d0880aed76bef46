//! What a write through `/status` may say about a Job. The controller of a Job may be a foreign one
//! (`spec.managedBy`), and clients rely on what a finished Job looks like. Source:
//! `validateJobStatus` and `ValidateJobStatusUpdate` of upstream's `pkg/apis/batch/validation`, and
//! `getStatusValidationOptions` of its `pkg/registry/batch/job`, which says when each rule counts.

use crate::errors::{ErrorKind, Errors, FieldError};
use crate::kinds::batch::indexes;
use crate::meta;
use crate::validate::fields::IMMUTABLE;
use crate::validate::status::{counter, not_negatives};
use crate::value::{at, flag, int, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;

/// The conditions of a Job that the rules are about.
const COMPLETE: &str = "Complete";
const FAILED: &str = "Failed";
const FAILURE_TARGET: &str = "FailureTarget";
const CRITERIA_MET: &str = "SuccessCriteriaMet";
const SUSPENDED: &str = "Suspended";

const CONDITIONS: &str = "status.conditions";
const START_TIME: &str = "status.startTime";
const COMPLETION_TIME: &str = "status.completionTime";
const COMPLETED_INDEXES: &str = "status.completedIndexes";
const FAILED_INDEXES: &str = "status.failedIndexes";
const UNCOUNTED: &str = "status.uncountedTerminatedPods";

fn condition<'a>(job: &'a Value, kind: &str) -> Option<&'a str> {
    let found = list(job, CONDITIONS).iter().find(|c| text(c, "type") == kind)?;
    Some(text(found, "status"))
}

fn has(job: &Value, kind: &str) -> bool {
    condition(job, kind) == Some("True")
}

fn is_finished(job: &Value) -> bool {
    has(job, COMPLETE) || has(job, FAILED)
}

/// An update of a Job's status, and what of it is another one.
struct Change<'a> {
    new: &'a Value,
    old: &'a Value,
}

impl Change<'_> {
    /// Returns whether a field of the status changes, e.g. a text.
    fn of(&self, field: &str) -> bool {
        at(at(self.new, "status"), field) != at(at(self.old, "status"), field)
    }

    /// Returns whether a number of the status changes. One that is absent is 0.
    fn of_counter(&self, field: &str) -> bool {
        counter(self.new, field) != counter(self.old, field)
    }

    fn of_time(&self, field: &str) -> bool {
        time(self.new, field) != time(self.old, field)
    }

    /// Returns whether one of these conditions becomes true, or is true no more.
    fn of_conditions(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| has(self.new, kind) != has(self.old, kind))
    }

    fn finishes(&self) -> bool {
        is_finished(self.new) != is_finished(self.old)
    }
}

fn time(job: &Value, field: &str) -> Option<clock::Timestamp> {
    meta::time(job, &format!("status.{field}"))
}

/// Reports conditions that contradict each other or are taken back. As upstream's, the error does
/// not repeat the list.
fn wrong_conditions(why: &str, errors: &mut Errors) {
    let body = format!("Invalid value: {why}");
    errors.add(FieldError { kind: ErrorKind::Invalid, field: CONDITIONS.into(), body });
}

/// Checks the status of a Job. Rules about several fields count only if one of them changes: an
/// edit of the spec may break them, until the controller has seen it.
pub(super) fn validate(new: &Value, old: &Value, errors: &mut Errors) {
    let change = Change { new, old };
    not_negatives(new, &["active", "succeeded", "failed", "ready", "terminating"], errors);
    uncounted(new, errors);
    endings(&change, errors);
    times(&change, errors);
    finished(&change, errors);
    indexes(&change, errors);
    criteria(&change, errors);
    steps_back(&change, errors);
}

/// Pods of a Job that ended and are in no counter yet: each once.
fn uncounted(job: &Value, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for group in ["succeeded", "failed"] {
        let path = format!("{UNCOUNTED}.{group}");
        for (i, uid) in list(job, &path).iter().enumerate() {
            let field = format!("{path}[{i}]");
            match uid.as_str().unwrap_or_default() {
                "" => errors.invalid_text(field, "", "must not be empty"),
                other if !seen.insert(other) => errors.duplicate(field, uid),
                _ => {}
            }
        }
    }
}

/// Checks that a Job ends well or badly, and announces which before it ends.
fn endings(change: &Change<'_>, errors: &mut Errors) {
    let is = |kind| has(change.new, kind);
    if change.of_conditions(&[COMPLETE, FAILED]) && is(COMPLETE) && is(FAILED) {
        wrong_conditions("cannot set Complete=True and Failed=true conditions", errors);
    }
    if change.of_conditions(&[COMPLETE, FAILURE_TARGET]) && is(COMPLETE) && is(FAILURE_TARGET) {
        wrong_conditions("cannot set Complete=True and FailureTarget=true conditions", errors);
    }
    let fails = change.of_conditions(&[FAILED]) || change.of("failedIndexes");
    if fails && is(FAILED) && !is(FAILURE_TARGET) {
        let why = "cannot set Failed=True condition without the FailureTarget=true condition";
        wrong_conditions(why, errors);
    }
    if change.of_conditions(&[COMPLETE, CRITERIA_MET]) && is(COMPLETE) && !is(CRITERIA_MET) {
        let why = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        wrong_conditions(why, errors);
    }
}

/// Checks that a Job has a time of completion if it is complete, and then not before its start.
fn times(change: &Change<'_>, errors: &mut Errors) {
    let (new, shown) = (change.new, at(change.new, COMPLETION_TIME));
    let (start, end) = (time(new, "startTime"), time(new, "completionTime"));
    if change.of_conditions(&[COMPLETE]) || change.of_time("completionTime") {
        match (end.is_some(), has(new, COMPLETE)) {
            (true, false) => {
                let why = "cannot set completionTime when there is no Complete=True condition";
                errors.invalid(COMPLETION_TIME, shown, why);
            }
            (false, true) => errors.required(COMPLETION_TIME, "completionTime is required for Complete jobs"),
            _ => {}
        }
    }
    let is_changed = change.of_time("startTime") || change.of_time("completionTime");
    if is_changed && start.zip(end).is_some_and(|(start, end)| end < start) {
        errors.invalid(COMPLETION_TIME, shown, "must be equal to or after `startTime`");
    }
}

/// Checks that a finished Job has started, and has no pod that runs, ends, or was not counted.
fn finished(change: &Change<'_>, errors: &mut Errors) {
    let (new, is_over) = (change.new, is_finished(change.new));
    for field in ["active", "terminating"] {
        let is_changed = change.finishes() || change.of_counter(field);
        if is_changed && is_over && counter(new, field) > 0 {
            let why = format!("{field}>0 is invalid for finished job");
            errors.invalid(format!("status.{field}"), &json!(counter(new, field)), &why);
        }
    }
    let has_no_work = flag(new, "spec.suspend") && int(new, "spec.completions") == Some(0);
    let is_changed = change.finishes() || change.of_time("startTime");
    if is_changed && is_over && time(new, "startTime").is_none() && !has_no_work {
        errors.required(START_TIME, "startTime is required for finished job");
    }
    let left = |group: &str| list(new, &format!("{UNCOUNTED}.{group}"));
    let has_left = !left("succeeded").is_empty() || !left("failed").is_empty();
    if is_over && has_left && (change.finishes() || change.of("uncountedTerminatedPods")) {
        // Upstream prints the lists of its internal type: one that was left out is null.
        let list_of = |group: &str| at(new, &format!("{UNCOUNTED}.{group}"));
        let value = json!({"Succeeded": list_of("succeeded"), "Failed": list_of("failed")});
        errors.invalid(UNCOUNTED, &value, "must be empty for finished job");
    }
    let is_changed =
        !at(new, "status.ready").is_null() && (change.of("ready") || change.of_counter("active"));
    if is_changed && counter(new, "ready") > counter(new, "active") {
        let why = "cannot set more ready pods than active";
        errors.invalid("status.ready", &json!(counter(new, "ready")), why);
    }
}

/// Indexes are numbers of pods of an Indexed Job, and each has succeeded or failed.
fn indexes(change: &Change<'_>, errors: &mut Errors) {
    let new = change.new;
    let (done, lost) = (text(new, COMPLETED_INDEXES), at(new, FAILED_INDEXES).as_str());
    let is_done_changed = done != text(change.old, COMPLETED_INDEXES);
    let is_lost_changed = change.of("failedIndexes");
    let completions = int(new, "spec.completions");
    let limit = at(new, "spec.backoffLimitPerIndex");
    let problem = |text: &str| completions.and_then(|all| indexes::count(text, all).err());
    if let Some(why) = problem(done).filter(|_| is_done_changed) {
        errors.invalid_text(COMPLETED_INDEXES, done, &format!("error parsing completedIndexes: {why}"));
    }
    if let Some(lost) = lost.filter(|_| is_lost_changed && !limit.is_null())
        && let Some(why) = problem(lost)
    {
        errors.invalid_text(FAILED_INDEXES, lost, &format!("error parsing failedIndexes: {why}"));
    }
    if is_done_changed && !done.is_empty() && text(new, "spec.completionMode") != "Indexed" {
        let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid_text(COMPLETED_INDEXES, done, why);
    }
    let Some(lost) = lost else { return };
    if is_lost_changed && limit.is_null() {
        let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.invalid_text(FAILED_INDEXES, lost, why);
    }
    if let Some(index) = completions.and_then(|all| common_index(done, lost, all))
        && (is_lost_changed || is_done_changed)
    {
        let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.invalid_text(FAILED_INDEXES, lost, &why);
    }
}

/// Returns the first index that two texts such as `0,2-4` have in common. Parts that cannot be read
/// are left out: other errors are about them.
fn common_index(one: &str, other: &str, completions: i64) -> Option<i64> {
    let parse = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|part| indexes::interval(part, completions).ok()).collect()
    };
    let (one, other) = (parse(one), parse(other));
    let (mut a, mut b) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
        if left.0 <= right.1 && right.0 <= left.1 {
            return Some(left.0.max(right.0));
        }
        match left.0 <= right.0 {
            true => a.next(),
            false => b.next(),
        };
    }
    None
}

/// `SuccessCriteriaMet`: the Job is going to be complete.
fn criteria(change: &Change<'_>, errors: &mut Errors) {
    let is = |kind| has(change.new, kind);
    if is(CRITERIA_MET) && is(FAILED) {
        wrong_conditions("cannot set SuccessCriteriaMet=True and Failed=true conditions", errors);
    }
    if is(CRITERIA_MET) && is(FAILURE_TARGET) {
        wrong_conditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions", errors);
    }
    if !at(change.new, "spec.successPolicy").is_null() && !is(CRITERIA_MET) && is(COMPLETE) {
        let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        wrong_conditions(why, errors);
    }
}

/// Checks that what was counted, announced or finished stays so.
fn steps_back(change: &Change<'_>, errors: &mut Errors) {
    let (new, old) = (change.new, change.old);
    for kind in [FAILED, COMPLETE, FAILURE_TARGET].into_iter().filter(|kind| has(old, kind)) {
        if !has(new, kind) {
            wrong_conditions(&format!("cannot disable the terminal {kind}=True condition"), errors);
        }
    }
    // An indexed Job with as many pods at once as completions may be scaled down.
    let is_elastic = text(new, "spec.completionMode") == "Indexed"
        && at(new, "spec.completions") == at(new, "spec.parallelism");
    for field in ["failed", "succeeded"] {
        let may_decrease = field == "succeeded" && is_elastic;
        if counter(new, field) < counter(old, field) && !may_decrease {
            let why = format!("cannot decrease the {field} counter");
            errors.invalid(format!("status.{field}"), &json!(counter(new, field)), &why);
        }
    }
    let (before, now) = (time(old, "completionTime"), time(new, "completionTime"));
    if before.zip(now).is_some_and(|(before, now)| before != now) {
        errors.invalid(COMPLETION_TIME, at(new, COMPLETION_TIME), IMMUTABLE);
    }
    // The controller may see `spec.suspend: false` before it takes back the start of an earlier
    // run.
    let resumes = has(old, SUSPENDED) && condition(new, SUSPENDED) == Some("False");
    let had_started = time(old, "startTime").is_some();
    if change.of_time("startTime") && had_started && !flag(new, "spec.suspend") && !resumes {
        errors.required(START_TIME, "startTime cannot be removed for unsuspended job");
    }
    match (has(old, CRITERIA_MET), has(new, CRITERIA_MET)) {
        (true, false) => wrong_conditions("cannot disable the SuccessCriteriaMet=True condition", errors),
        (false, true) if has(old, COMPLETE) => {
            let why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            wrong_conditions(why, errors);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "2026-01-01T00:00:00Z";
    const LATER: &str = "2026-01-02T00:00:00Z";

    fn errors_of(spec: &Value, new: Value, old: Value) -> Vec<String> {
        let mut errors = Errors::default();
        validate(&json!({"spec": spec, "status": new}), &json!({"spec": spec, "status": old}), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    fn conditions(kinds: &[&str]) -> Value {
        kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect()
    }

    /// Returns a status with these conditions and times that fit.
    fn status(kinds: &[&str], more: Value) -> Value {
        let mut status = json!({"startTime": START, "conditions": conditions(kinds)});
        if kinds.contains(&COMPLETE) {
            status["completionTime"] = json!(LATER);
        }
        crate::patch::merge(&mut status, &more);
        status
    }

    fn is_one(errors: &[String], why: &str) {
        assert!(errors.len() == 1 && errors[0].contains(why), "{errors:?}: {why}");
    }

    #[test]
    fn a_job_counts_upwards_and_stays_finished() {
        let (none, plain) = (Value::Null, json!({}));
        let done = status(&[CRITERIA_MET, COMPLETE], json!({"succeeded": 1}));
        assert_eq!(
            errors_of(&plain, done.clone(), json!({"startTime": START, "active": 1, "ready": 1})),
            [""; 0]
        );
        for (new, old, why) in [
            (json!({"active": -1}), &none, "status.active: Invalid value: -1: must be"),
            (json!({"ready": 1}), &none, "status.ready: Invalid value: 1: cannot set more ready"),
            (json!({"failed": 1}), &json!({"failed": 2}), "cannot decrease the failed counter"),
            (json!({}), &json!({"succeeded": 2}), "cannot decrease the succeeded counter"),
            (
                status(&[CRITERIA_MET], json!({"succeeded": 1})),
                &status(&[CRITERIA_MET, COMPLETE], json!({"completionTime": null})),
                "cannot disable the terminal Complete=True condition",
            ),
            (
                status(&[CRITERIA_MET, COMPLETE], json!({"active": 1})),
                &none,
                "status.active: Invalid value: 1: active>0 is invalid for finished job",
            ),
            (
                json!({"uncountedTerminatedPods": {"succeeded": ["a"], "failed": ["a"]}}),
                &none,
                "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
            ),
            (
                status(&[CRITERIA_MET, COMPLETE], json!({"uncountedTerminatedPods": {"failed": ["a"]}})),
                &none,
                "status.uncountedTerminatedPods: Invalid value: {\"Succeeded\":null,\"Failed\":[\"a\"]}: must be empty",
            ),
        ] {
            is_one(&errors_of(&plain, new, old.clone()), why);
        }
    }

    #[test]
    fn the_end_of_a_job_is_announced_and_is_one() {
        let plain = json!({});
        for (kinds, why) in [
            (&[COMPLETE][..], "cannot set Complete=True condition without the SuccessCriteriaMet=true"),
            (&[FAILED], "cannot set Failed=True condition without the FailureTarget=true condition"),
            (&[CRITERIA_MET, FAILURE_TARGET], "cannot set SuccessCriteriaMet=True and FailureTarget=true"),
        ] {
            is_one(&errors_of(&plain, status(kinds, json!({})), json!({"startTime": START})), why);
        }
        let both = errors_of(
            &plain,
            status(&[CRITERIA_MET, COMPLETE, FAILURE_TARGET, FAILED], json!({})),
            json!({"startTime": START}),
        );
        for why in ["Complete=True and Failed=true", "Complete=True and FailureTarget=true"] {
            assert!(both.iter().any(|e| e.contains(why)), "{both:?}");
        }
        let failed = status(&[FAILURE_TARGET, FAILED], json!({}));
        assert_eq!(errors_of(&plain, failed, status(&[FAILURE_TARGET], json!({}))), [""; 0]);
        let met = status(&[CRITERIA_MET], json!({}));
        is_one(&errors_of(&plain, status(&[], json!({})), met), "cannot disable the SuccessCriteriaMet=True");
        // What an earlier version left without the announcement may be written otherwise.
        let old = status(&[COMPLETE], json!({}));
        assert_eq!(errors_of(&plain, status(&[COMPLETE], json!({"terminating": 0})), old.clone()), [""; 0]);
        let policy = json!({"successPolicy": {"rules": []}});
        is_one(
            &errors_of(&policy, old.clone(), old),
            "for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        );
    }

    #[test]
    fn the_times_of_a_job_fit_its_end_and_stay() {
        let (plain, running) = (json!({}), json!({"startTime": START}));
        let complete = |more: Value| status(&[CRITERIA_MET, COMPLETE], more);
        for (new, old, why) in [
            (
                json!({"startTime": START, "completionTime": LATER}),
                &running,
                "status.completionTime: Invalid value: \"2026-01-02T00:00:00Z\": cannot set completionTime when",
            ),
            (
                complete(json!({"completionTime": null})),
                &running,
                "status.completionTime: Required value: completionTime is required for Complete jobs",
            ),
            (
                complete(json!({"completionTime": "2025-12-31T00:00:00Z"})),
                &running,
                "must be equal to or after `startTime`",
            ),
            (
                complete(json!({"completionTime": START})),
                &complete(json!({})),
                "status.completionTime: Invalid value: \"2026-01-01T00:00:00Z\": field is immutable",
            ),
            (
                complete(json!({"startTime": null})),
                &json!({}),
                "status.startTime: Required value: startTime is required for finished job",
            ),
            (json!({}), &running, "startTime cannot be removed for unsuspended job"),
            (json!({"startTime": LATER}), &running, "startTime cannot be removed for unsuspended job"),
        ] {
            is_one(&errors_of(&plain, new, old.clone()), why);
        }
        assert_eq!(errors_of(&json!({"suspend": true}), json!({}), running.clone()), [""; 0]);
        let suspended = json!({"startTime": START, "conditions": conditions(&[SUSPENDED])});
        let resumed = json!({"startTime": LATER, "conditions": [{"type": SUSPENDED, "status": "False"}]});
        assert_eq!(errors_of(&plain, resumed, suspended), [""; 0]);
        let no_work = json!({"suspend": true, "completions": 0});
        assert_eq!(errors_of(&no_work, complete(json!({"startTime": null})), json!({})), [""; 0]);
        // A start time may be written in another time zone if it is the same moment.
        let other = json!({"startTime": "2026-01-01T09:00:00+09:00"});
        assert_eq!(errors_of(&plain, other, running), [""; 0]);
    }

    #[test]
    fn indexes_are_those_of_the_job_and_each_has_one_end() {
        let indexed = json!({"completionMode": "Indexed", "completions": 5, "backoffLimitPerIndex": 1});
        let by_mode = json!({"completionMode": "NonIndexed", "completions": 5});
        let of = |spec: &Value, new: Value| errors_of(spec, new, json!({}));
        let good = json!({"completedIndexes": "0,2-3", "failedIndexes": "1,4"});
        assert_eq!(of(&indexed, good), [""; 0]);
        for (spec, new, why) in [
            (
                &indexed,
                json!({"completedIndexes": "0-5"}),
                "error parsing completedIndexes: too large index: \"5\"",
            ),
            (&indexed, json!({"failedIndexes": "3,1"}), "error parsing failedIndexes: non-increasing order"),
            (&indexed, json!({"completedIndexes": "1-2-3"}), "can have at most two parts separated by '-'"),
            (
                &by_mode,
                json!({"completedIndexes": "0"}),
                "cannot set non-empty completedIndexes when non-indexed",
            ),
            (&by_mode, json!({"failedIndexes": ""}), "cannot set non-null failedIndexes when"),
            (
                &indexed,
                json!({"completedIndexes": "0,2-4", "failedIndexes": "1,3"}),
                "failedIndexes and completedIndexes overlap at index: 3",
            ),
        ] {
            is_one(&of(spec, new), why);
        }
        // Fewer completions are wanted, and the controller has not seen it yet.
        let old = json!({"completedIndexes": "0-9"});
        assert_eq!(errors_of(&indexed, json!({"completedIndexes": "0-9", "ready": 0}), old), [""; 0]);
    }
}
