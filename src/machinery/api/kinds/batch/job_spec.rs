//! The spec of a Job, which CronJobs have as a template: how many pods at a time, how many
//! failures, and what ends them. Bounds are upstream's: without them one Job could have the
//! controller keep two thousand million indexes. Source: `pkg/apis/batch/validation/validation.go`.

use crate::errors::{ErrorKind, Errors, FieldError};
use crate::kinds::batch::indexes;
use crate::pod_spec::defaults::template;
use crate::pod_spec::template_at;
use crate::validate::fields::domain_prefixed_path;
use crate::validate::names;
use crate::value::{at, empty, int, list, text};
use crate::value::{default, default_zero, list_mut, put};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Pods of an Indexed Job at a time, and failed indexes that one may have.
const INDEXED_MAX: i64 = 100_000;
/// Pods at a time, and failed indexes, that an Indexed Job may have with more completions than
/// [`INDEXED_MAX`].
const LARGE_MAX: i64 = 10_000;
const RULES_MAX: usize = 20;
const PATTERNS_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const SUCCEEDED_INDEXES_MAX: usize = 64 << 10;
/// Bytes of the name of a Job's controller.
const MANAGER_MAX: usize = 63;

/// Checks the name of an Indexed Job. It is part of its pods' host names: one that makes no host
/// name would fail with each pod.
pub(super) fn host_names(job: &Value, errors: &mut Errors) {
    const FIELD: &str = "metadata.name";
    let completions = int(job, "spec.completions").unwrap_or(0);
    if text(job, "spec.completionMode") != "Indexed" || completions <= 0 {
        return;
    }
    let name = text(job, FIELD);
    let last = format!("{name}-{}", completions - 1);
    if !names::dns_label(&last).is_empty() {
        let why = format!("will not able to create pod with invalid DNS label: {last}");
        errors.invalid_text(FIELD, name, &why);
    }
}

/// Checks the spec of a Job, or of a CronJob's template; `field` is its path.
pub(super) fn validate(spec: &Value, field: &str, errors: &mut Errors) {
    for path in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        if int(spec, path).is_some_and(|n| n < 0) {
            errors.invalid(format!("{field}.{path}"), at(spec, path), "must be greater than or equal to 0");
        }
    }
    if let Some(name) = at(spec, "managedBy").as_str() {
        manager(name, &format!("{field}.managedBy"), errors);
    }
    match at(spec, "completionMode").as_str() {
        Some("Indexed") => indexed(spec, field, errors),
        None | Some("NonIndexed") => {
            for path in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if !at(spec, path).is_null() {
                    errors.invalid(format!("{field}.{path}"), at(spec, path), NOT_INDEXED);
                }
            }
        }
        _ => {
            let mode = at(spec, "completionMode"); // "" is one, too
            errors.not_supported(format!("{field}.completionMode"), mode, &["NonIndexed", "Indexed"]);
        }
    }
    if !at(spec, "maxFailedIndexes").is_null() && at(spec, "backoffLimitPerIndex").is_null() {
        errors.required(format!("{field}.backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    replacement(spec, field, errors);
    template_at(at(spec, "template"), &format!("{field}.template"), errors);
    if !at(spec, "podFailurePolicy").is_null() {
        failure_policy(spec, &format!("{field}.podFailurePolicy.rules"), errors);
    }
    match (at(spec, "successPolicy"), text(spec, "completionMode")) {
        (Value::Null, _) => {}
        (_, "Indexed") => success_policy(spec, &format!("{field}.successPolicy.rules"), errors),
        (policy, _) => {
            errors.invalid(format!("{field}.successPolicy"), &shown_success_policy(policy), NOT_INDEXED);
        }
    }
    restarts(spec, &format!("{field}.template.spec.restartPolicy"), errors);
}

const NOT_INDEXED: &str = "requires indexed completion mode";

/// Returns a success policy as upstream's errors show it: its internal type has capital letters and
/// no field that is left out.
pub(super) fn shown_success_policy(policy: &Value) -> Value {
    if policy.is_null() {
        return Value::Null;
    }
    let rule = |rule: &Value| json!({"SucceededIndexes": at(rule, "succeededIndexes"), "SucceededCount": at(rule, "succeededCount")});
    let rules = at(policy, "rules").as_array();
    json!({"Rules": rules.map(|rules| rules.iter().map(rule).collect::<Vec<_>>())})
}

/// Checks the name of the controller that manages a Job: `example.com/queue`. With a wrong name no
/// controller would run it.
fn manager(name: &str, field: &str, errors: &mut Errors) {
    domain_prefixed_path(name, field, errors);
    if name.len() > MANAGER_MAX {
        errors.too_long(field, MANAGER_MAX);
    }
}

/// Checks the restart policy: the pods of a Job end. `Always` is also the default of a template, so
/// it counts as missing.
fn restarts(spec: &Value, field: &str, errors: &mut Errors) {
    match text(spec, "template.spec.restartPolicy") {
        "" | "Always" => errors.required(field, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" if at(spec, "podFailurePolicy").is_null() => {}
        "OnFailure" => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid_text(field, "OnFailure", why);
        }
        other => errors.not_supported(field, &json!(other), &["OnFailure", "Never"]),
    }
}

fn indexed(spec: &Value, field: &str, errors: &mut Errors) {
    let number = |path: &str| int(spec, path);
    let mut more = |path: &str, most: i64, why: &str| {
        if number(path).is_some_and(|n| n > most) {
            errors.invalid(format!("{field}.{path}"), at(spec, path), why);
        }
    };
    let parallel = "must be less than or equal to 100000 when completion mode is Indexed";
    more("parallelism", INDEXED_MAX, parallel);
    if let Some(completions) = number("completions") {
        more("maxFailedIndexes", completions, "must be less than or equal to completions");
    }
    more("maxFailedIndexes", INDEXED_MAX, "must be less than or equal to 100000");
    if number("completions").is_some_and(|n| n > INDEXED_MAX) && number("backoffLimitPerIndex").is_some() {
        let why = "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index";
        more("parallelism", LARGE_MAX, why);
        more("maxFailedIndexes", LARGE_MAX, why);
        if number("maxFailedIndexes").is_none() {
            let why = "must be specified when completions is above 100000";
            errors.required(format!("{field}.maxFailedIndexes"), why);
        }
    }
    if at(spec, "completions").is_null() {
        errors.required(format!("{field}.completions"), "when completion mode is Indexed");
    }
}

fn replacement(spec: &Value, field: &str, errors: &mut Errors) {
    let policy = at(spec, "podReplacementPolicy");
    let allowed: &[&str] = match at(spec, "podFailurePolicy").is_null() {
        true => &["Failed", "TerminatingOrFailed"],
        false => &["Failed"],
    };
    if !policy.is_null() && !allowed.contains(&policy.as_str().unwrap_or("")) {
        errors.not_supported(format!("{field}.podReplacementPolicy"), policy, allowed);
    }
}

/// Checks that the text at `key` is set and is one of `allowed`.
fn choice(object: &Value, key: &str, here: &str, allowed: &[&str], errors: &mut Errors) {
    match text(object, key) {
        "" => {
            let all: Vec<String> = allowed.iter().map(|a| format!("{a:?}")).collect();
            errors.required(format!("{here}.{key}"), &format!("valid values: [{}]", all.join(" ")));
        }
        value if !allowed.contains(&value) => {
            errors.not_supported(format!("{here}.{key}"), at(object, key), allowed);
        }
        _ => {}
    }
}

fn failure_policy(spec: &Value, field: &str, errors: &mut Errors) {
    let rules = list(spec, "podFailurePolicy.rules");
    if rules.len() > RULES_MAX {
        return errors.too_many(field, rules.len(), RULES_MAX as u64);
    }
    for (i, rule) in rules.iter().enumerate() {
        let here = format!("{field}[{i}]");
        choice(rule, "action", &here, &["Count", "FailIndex", "FailJob", "Ignore"], errors);
        if text(rule, "action") == "FailIndex" && at(spec, "backoffLimitPerIndex").is_null() {
            let why = "requires the backoffLimitPerIndex to be set";
            errors.invalid_text(format!("{here}.action"), "FailIndex", why);
        }
        let (codes, patterns) = (at(rule, "onExitCodes"), list(rule, "onPodConditions"));
        if !codes.is_null() {
            exit_codes(spec, codes, &format!("{here}.onExitCodes"), errors);
        }
        conditions(patterns, &format!("{here}.onPodConditions"), errors);
        let wrong = match (codes.is_null(), patterns.is_empty()) {
            (false, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (true, true) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        let body = format!("Invalid value: {wrong}");
        errors.add(FieldError { kind: ErrorKind::Invalid, field: here, body });
    }
}

fn exit_codes(spec: &Value, codes: &Value, here: &str, errors: &mut Errors) {
    choice(codes, "operator", here, &["In", "NotIn"], errors);
    if let Some(name) = at(codes, "containerName").as_str() {
        let groups = ["template.spec.containers", "template.spec.initContainers"];
        if !groups.iter().flat_map(|g| list(spec, g)).any(|c| text(c, "name") == name) {
            let why = "must be one of the container or initContainer names in the pod template";
            errors.invalid_text(format!("{here}.containerName"), name, why);
        }
    }
    let (values, here) = (list(codes, "values"), format!("{here}.values"));
    if values.is_empty() {
        return errors.invalid(here, &json!([]), "at least one value is required");
    }
    if values.len() > EXIT_CODES_MAX {
        return errors.too_many(here, values.len(), EXIT_CODES_MAX as u64);
    }
    let (mut seen, mut ordered) = (HashSet::new(), true);
    let mut before: Option<i64> = None;
    for (i, value) in values.iter().enumerate() {
        let Some(code) = value.as_i64() else { continue };
        if code == 0 && text(codes, "operator") == "In" {
            errors.invalid(format!("{here}[{i}]"), value, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            errors.duplicate(format!("{here}[{i}]"), value);
        }
        ordered &= before.is_none_or(|before| before <= code);
        before = Some(code);
    }
    if !ordered {
        errors.invalid(here, at(codes, "values"), "must be ordered");
    }
}

fn conditions(patterns: &[Value], here: &str, errors: &mut Errors) {
    if patterns.len() > PATTERNS_MAX {
        return errors.too_many(here, patterns.len(), PATTERNS_MAX as u64);
    }
    for (i, pattern) in patterns.iter().enumerate() {
        let here = format!("{here}[{i}]");
        for problem in names::qualified_name(text(pattern, "type")) {
            errors.invalid_text(format!("{here}.type"), text(pattern, "type"), &problem);
        }
        choice(pattern, "status", &here, &["False", "True", "Unknown"], errors);
    }
}

fn success_policy(spec: &Value, field: &str, errors: &mut Errors) {
    if empty(spec, "successPolicy.rules") {
        let why = "at least one rules must be specified when the successPolicy is specified";
        return errors.required(field, why);
    }
    let rules = list(spec, "successPolicy.rules");
    if rules.len() > RULES_MAX {
        return errors.too_many(field, rules.len(), RULES_MAX as u64);
    }
    let completions = int(spec, "completions").unwrap_or(0);
    for (i, rule) in rules.iter().enumerate() {
        let (here, count) = (format!("{field}[{i}]"), int(rule, "succeededCount"));
        let indexes = at(rule, "succeededIndexes").as_str();
        if count.is_none() && indexes.is_none() {
            let why = "at least one of succeededCount or succeededIndexes must be specified";
            errors.required(&here, why);
        }
        let mut most = None;
        if let Some(indexes) = indexes {
            let here = format!("{here}.succeededIndexes");
            if indexes.len() > SUCCEEDED_INDEXES_MAX {
                errors.too_long(&here, SUCCEEDED_INDEXES_MAX);
            }
            match indexes::count(indexes, completions) {
                Ok(total) => most = Some(total),
                Err(why) => {
                    errors.invalid_text(&here, indexes, &format!("error parsing succeededIndexes: {why}"));
                }
            }
        }
        let Some(count) = count else { continue };
        let here = format!("{here}.succeededCount");
        if count < 0 {
            errors.invalid(&here, &json!(count), "must be greater than or equal to 0");
        }
        if count > completions {
            let why =
                format!("must be less than or equal to {completions} (the number of specified completions)");
            errors.invalid(&here, &json!(count), &why);
        }
        if let Some(most) = most.filter(|most| count > *most) {
            let why = format!(
                "must be less than or equal to {most} (the number of indexes in the specified succeededIndexes field)"
            );
            errors.invalid(&here, &json!(count), &why);
        }
    }
}

pub(super) fn defaults(spec: &mut Value) {
    if at(spec, "completions").is_null() && at(spec, "parallelism").is_null() {
        put(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    let backoff = if at(spec, "backoffLimitPerIndex").is_null() { 6 } else { i64::from(i32::MAX) };
    default(spec, "backoffLimit", backoff);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "manualSelector", false);
    let policy = if at(spec, "podFailurePolicy").is_null() { "TerminatingOrFailed" } else { "Failed" };
    default(spec, "podReplacementPolicy", policy);
    condition_statuses(spec);
    template(spec, "template");
    if text(spec, "template.spec.restartPolicy").is_empty() {
        put(spec, "template.spec.restartPolicy", "Always");
    }
}

/// Fills in the `status` of rules about a condition of a pod: `True` by default.
pub(super) fn condition_statuses(spec: &mut Value) {
    for rule in list_mut(spec, "podFailurePolicy.rules") {
        list_mut(rule, "onPodConditions").iter_mut().for_each(|p| default_zero(p, "status", "True"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is wrong with a Job with these fields, without what its template lacks.
    fn wrong(fields: Value) -> Vec<String> {
        let mut object = json!({"completions": 5, "completionMode": "Indexed",
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}});
        crate::patch::merge(&mut object, &fields);
        let mut errors = Errors::default();
        validate(&object, "spec", &mut errors);
        errors.iter().map(ToString::to_string).filter(|e| !e.starts_with("spec.template.")).collect()
    }

    fn ends_with(found: &[String], want: &[&str]) {
        assert_eq!(found.len(), want.len(), "{found:?}");
        found.iter().zip(want).for_each(|(f, w)| assert!(f.contains(w), "{f}: {w}"));
    }

    #[test]
    fn numbers_of_an_indexed_job_have_upstreams_bounds() {
        ends_with(&wrong(json!({"parallelism": 100_000})), &[]);
        ends_with(&wrong(json!({"parallelism": 100_001})), &["spec.parallelism"]);
        ends_with(&wrong(json!({"backoffLimitPerIndex": -1})), &["spec.backoffLimitPerIndex"]);
        ends_with(&wrong(json!({"maxFailedIndexes": 1})), &["spec.backoffLimitPerIndex: Required value"]);
        let by_index = |n: i64| json!({"completions": 200_000, "backoffLimitPerIndex": 1, "parallelism": n, "maxFailedIndexes": n});
        ends_with(&wrong(by_index(10_000)), &[]);
        ends_with(&wrong(by_index(10_001)), &["spec.parallelism", "spec.maxFailedIndexes"]);
        ends_with(
            &wrong(json!({"completions": 200_000, "backoffLimitPerIndex": 1})),
            &["spec.maxFailedIndexes: Required"],
        );
        ends_with(
            &wrong(json!({"maxFailedIndexes": 6, "backoffLimitPerIndex": 1})),
            &["less than or equal to completions"],
        );
        ends_with(
            &wrong(json!({"completionMode": "indexed"})),
            &[
                "spec.completionMode: Unsupported value: \"indexed\": supported values: \"NonIndexed\", \"Indexed\"",
            ],
        );
        assert!(wrong(json!({"completionMode": ""}))[0].contains("Unsupported value: \"\""));
    }

    #[test]
    fn rules_about_failures_say_what_they_are_about() {
        let rules = |rules: Value| wrong(json!({"podFailurePolicy": {"rules": rules}}));
        let codes = |values: Value| json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": values}}]);
        ends_with(&rules(codes(json!([1, 42]))), &[]);
        ends_with(&rules(codes(json!([0]))), &["values[0]: Invalid value: 0: must not be 0"]);
        ends_with(&rules(codes(json!([3, 1]))), &["must be ordered"]);
        ends_with(&rules(codes(json!([1, 3, 1]))), &["values[2]: Duplicate value: 1", "must be ordered"]);
        ends_with(&rules(codes(json!((0..256).collect::<Vec<i32>>()))), &["Too many: 256"]);
        ends_with(
            &rules(json!([{"action": "Ignore"}])),
            &["specifying one of OnExitCodes and OnPodConditions is required"],
        );
        let pattern = json!([{"type": "DisruptionTarget", "status": "True"}]);
        ends_with(
            &rules(json!([{"action": "ignore", "onPodConditions": pattern}])),
            &["action: Unsupported value"],
        );
        ends_with(
            &rules(json!([{"action": "FailIndex", "onPodConditions": pattern}])),
            &["requires the backoffLimitPerIndex"],
        );
        let one = json!({"action": "Ignore", "onPodConditions": pattern});
        ends_with(&rules(json!(vec![one; 21])), &["Too many: 21"]);
        let both = wrong(
            json!({"podReplacementPolicy": "TerminatingOrFailed", "podFailurePolicy": {"rules": codes(json!([1]))}}),
        );
        ends_with(&both, &["spec.podReplacementPolicy: Unsupported value"]);
    }

    #[test]
    fn a_job_is_named_as_its_pods_and_its_controller_can_be() {
        let errors_of = |name: &str, completions: i64| {
            let mut errors = Errors::default();
            let spec = json!({"completionMode": "Indexed", "completions": completions});
            host_names(&json!({"metadata": {"name": name}, "spec": spec}), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(errors_of("work", 5), [""; 0]);
        assert_eq!(
            errors_of("a.b", 5),
            [
                "metadata.name: Invalid value: \"a.b\": will not able to create pod with invalid DNS label: a.b-4"
            ]
        );
        let long = "x".repeat(61);
        assert_eq!((errors_of(&long, 10).len(), errors_of(&long, 11).len()), (0, 1));
        assert_eq!(errors_of("a.b", 0), [""; 0]);
        ends_with(&wrong(json!({"managedBy": "example.com/queue"})), &[]);
        ends_with(
            &wrong(json!({"managedBy": "queue"})),
            &["spec.managedBy: Invalid value: \"queue\": must be a domain"],
        );
        ends_with(&wrong(json!({"managedBy": ""})), &["spec.managedBy: Required value"]);
        let long = format!("example.com/{}", "x".repeat(60));
        ends_with(&wrong(json!({ "managedBy": long })), &["spec.managedBy: Too long"]);
    }

    #[test]
    fn the_pods_of_a_job_end() {
        let errors_of = |policy: Value, more: Value| {
            let mut object = json!({"template": {"spec": {"restartPolicy": policy}}});
            crate::patch::merge(&mut object, &more);
            let mut errors = Errors::default();
            restarts(&object, "f", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let policy = json!({"podFailurePolicy": {"rules": []}});
        for missing in [Value::Null, json!("Always")] {
            let want = "f: Required value: valid values: \"OnFailure\", \"Never\"";
            assert_eq!(errors_of(missing, json!({})), [want]);
        }
        assert_eq!(errors_of(json!("OnFailure"), json!({})), [""; 0]);
        assert_eq!(errors_of(json!("Never"), policy.clone()), [""; 0]);
        assert_eq!(
            errors_of(json!("OnFailure"), policy),
            [
                "f: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified"
            ]
        );
        assert_eq!(
            errors_of(json!("never"), json!({})),
            ["f: Unsupported value: \"never\": supported values: \"OnFailure\", \"Never\""]
        );
    }

    #[test]
    fn rules_about_success_name_indexes_that_there_are() {
        let rules = |rule: Value| wrong(json!({"successPolicy": {"rules": [rule]}}));
        ends_with(&rules(json!({"succeededIndexes": "0,2-4", "succeededCount": 4})), &[]);
        ends_with(
            &rules(json!({"succeededIndexes": "0,2-4", "succeededCount": 5})),
            &["(the number of indexes"],
        );
        ends_with(&rules(json!({"succeededCount": 6})), &["(the number of specified completions)"]);
        ends_with(&rules(json!({})), &["at least one of succeededCount or succeededIndexes"]);
        let policy = json!({"rules": [{"succeededCount": 9}]});
        let shown = r#"{"Rules":[{"SucceededIndexes":null,"SucceededCount":9}]}: requires indexed"#;
        ends_with(&wrong(json!({"completionMode": "NonIndexed", "successPolicy": policy})), &[shown]);
        for text in ["5", "a", "3-1", "2,1", "0-2147483646"] {
            ends_with(&rules(json!({"succeededIndexes": text})), &["error parsing succeededIndexes"]);
        }
        assert_eq!(indexes::count("0-2147483646", i64::from(i32::MAX)), Ok(i64::from(i32::MAX)));
    }
}
