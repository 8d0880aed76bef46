//! Jobs: run pods until as many of them have succeeded as the Job asks for.

use crate::duration;
use crate::errors::Errors;
use crate::kinds::batch::{job_spec, job_status};
use crate::kinds::entry::{Kind, of, status};
use crate::kinds::workload::{CONTAINERS, EMPTY_SELECTOR, prepare_template, unselected, with_pods};
use crate::labels::Selector;
use crate::schema::equality;
use crate::table::cells::{self, Printer, age, name};
use crate::validate::fields::selector;
use crate::value::{self, at, empty, flag, int, list, put, text};
use clock::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        categories: &["all"],
        subresources: vec![status("Job")],
        has_status: true,
        generation: true,
        orphans: true,
        defaults,
        prepare,
        prepare_update: prepare_template,
        validate,
        validate_update,
        validate_status_update: job_status::validate,
        immutable: &["spec.selector", "spec.completionMode"],
        fields: &[("status.successful", "status.succeeded")],
        printer: Some(&PRINTER),
        ..of::<Job>()
    }
}

fn defaults(object: &mut Value) {
    let labels = at(object, "spec.template.metadata.labels");
    // A new Job gets them in `prepare`, with those that the server adds.
    if flag(object, "spec.manualSelector") || LABELS.iter().all(|key| labels.get(*key).is_some()) {
        fill_labels(object);
    }
    job_spec::defaults(value::slot(object, "spec"));
}

/// Gives a Job without labels those of its template.
fn fill_labels(object: &mut Value) {
    let labels = at(object, "spec.template.metadata.labels").clone();
    if empty(object, "metadata.labels") && labels.as_object().is_some_and(|all| !all.is_empty()) {
        put(object, "metadata.labels", labels);
    }
}

/// The keys of the labels that a Job's pods have unless the user insists on a selector.
const LABELS: [&str; 4] =
    ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"];

/// Returns the labels that a Job's pods have unless the user insists on a selector: uid and name,
/// each under its new and its old key.
fn job_labels(job: &Value) -> [(&'static str, String); 4] {
    let (uid, name) = (text(job, "metadata.uid"), text(job, "metadata.name"));
    LABELS.map(|key| (key, if key.ends_with("uid") { uid.into() } else { name.into() }))
}

/// Makes a Job's selector and its template's labels from its uid, unless the user insists on their
/// own. What the client set under these keys stays, and validation refuses it if it is another's
/// (`generateSelector` upstream).
///
/// A Job without labels gets all of its template, these ones included: upstream's default makes the
/// labels of the Job and those of its template one map. `kubectl get jobs -l job-name=pi` finds it.
fn prepare(object: &mut Value) {
    put(object, "status", json!({}));
    prepare_template(object, &Value::Null);
    if value::flag(object, "spec.manualSelector") {
        return;
    }
    let all = job_labels(object);
    let (key, uid) = all[0].clone();
    let labels = value::slot_map(object, "spec.template.metadata.labels");
    for (key, text) in all {
        labels.entry(key).or_insert_with(|| text.into());
    }
    value::slot_map(object, "spec.selector.matchLabels").entry(key).or_insert_with(|| uid.into());
    fill_labels(object);
}

fn validate(object: &Value, errors: &mut Errors) {
    generated_selector(object, errors);
    job_spec::validate(at(object, "spec"), "spec", errors);
    job_selector(object, errors);
    job_spec::host_names(object, errors);
}

/// Checks the selector: without `manualSelector` a Job has the one that the server made of its uid,
/// and its template has the labels that go with it. Otherwise an exported Job that is created again
/// would count the pods of the old one.
fn generated_selector(object: &Value, errors: &mut Errors) {
    let own = at(object, "spec.selector");
    if flag(object, "spec.manualSelector") || own.is_null() {
        return;
    }
    let labels = at(object, "spec.template.metadata.labels");
    let expected = job_labels(object);
    for (key, value) in &expected {
        let (field, why) = (format!("spec.template.metadata.labels[{key}]"), format!("must be '{value}'"));
        match labels.get(*key) {
            None => errors.required(field, &why),
            Some(found) if found != value.as_str() => errors.invalid(field, labels, &why),
            Some(_) => {}
        }
    }
    let expected: Value = expected.into_iter().collect();
    if Selector::of(own).is_some_and(|selector| !selector.matches(&expected)) {
        errors.invalid("spec.selector", own, "`selector` not auto-generated");
    }
}

/// Checks that a Job's selector selects the pods of its template. The controller releases pods that
/// the selector does not select and creates new ones in their place, so without this rule one Job
/// would create pods without end. An empty selector, which upstream takes for all pods of the
/// namespace, is refused as for the other workloads: it selects none here.
fn job_selector(object: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.selector";
    let (own, labels) = (at(object, FIELD), at(object, "spec.template.metadata.labels"));
    if own.is_null() {
        errors.required(FIELD, "");
        return unselected(labels, errors);
    }
    selector(object, FIELD, errors);
    match Selector::of(own) {
        Some(selector) if selector.is_empty() => {
            errors.invalid(FIELD, own, &format!("{EMPTY_SELECTOR}job"));
        }
        Some(selector) if !selector.matches(labels) => unselected(labels, errors),
        _ => {}
    }
}

/// Refuses to change the template and what else the pods are made of. For a suspended Job that
/// never ran, the scheduling of the pods may still change.
fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let indexed = text(new, "spec.completionMode") == "Indexed";
    if indexed {
        completions(new, old, errors);
    }
    let waits = flag(old, "spec.suspend") && at(old, "status.startTime").is_null();
    let (mut before, mut new) = (old.clone(), new.clone());
    if waits {
        for path in ["nodeSelector", "affinity.nodeAffinity", "tolerations", "schedulingGates"] {
            value::copy(&new, &mut before, &format!("spec.template.spec.{path}"));
        }
        // An empty affinity is the same as none.
        const AFFINITY: &str = "spec.template.spec.affinity";
        for job in [&mut before, &mut new] {
            if at(job, AFFINITY).as_object().is_some_and(|all| all.is_empty()) {
                value::remove(job, AFFINITY);
            }
        }
        for path in ["labels", "annotations"] {
            value::copy(&new, &mut before, &format!("spec.template.metadata.{path}"));
        }
    }
    let frozen =
        ["completions", "template", "podFailurePolicy", "backoffLimitPerIndex", "successPolicy", "managedBy"];
    for field in frozen.iter().filter(|f| !(indexed && **f == "completions")) {
        let path = format!("spec.{field}");
        if !equality::equal("io.k8s.api.batch.v1.Job", &path, at(&new, &path), at(&before, &path)) {
            let shown = match *field {
                "successPolicy" => job_spec::shown_success_policy(at(&new, &path)),
                _ => at(&new, &path).clone(),
            };
            errors.invalid(&path, &shown, "field is immutable");
        }
    }
}

/// Checks a change of `completions`: an indexed Job may be scaled that has as many pods at once as
/// completions.
fn completions(new: &Value, old: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.completions";
    // Without completions it is refused as an indexed Job.
    let Some(wanted) = int(new, FIELD) else { return };
    if int(old, FIELD) != Some(wanted) && int(new, "spec.parallelism") != Some(wanted) {
        errors.invalid(FIELD, &json!(wanted), "can only be modified in tandem with spec.parallelism");
    }
}

fn condition(o: &Value, kind: &str) -> bool {
    list(o, "status.conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Status", "string", false),
        ("Completions", "string", false),
        ("Duration", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |o, now| {
        let status = match () {
            () if condition(o, "Complete") => "Complete",
            () if condition(o, "Failed") => "Failed",
            () if !empty(o, "metadata.deletionTimestamp") => "Terminating",
            () if condition(o, "Suspended") => "Suspended",
            () if condition(o, "FailureTarget") => "FailureTarget",
            () if condition(o, "SuccessCriteriaMet") => "SuccessCriteriaMet",
            () => "Running",
        };
        let done = int(o, "status.succeeded").unwrap_or(0);
        let completions = match (int(o, "spec.completions"), int(o, "spec.parallelism").unwrap_or(0)) {
            (Some(n), _) => format!("{done}/{n}"),
            (None, p) if p > 1 => format!("{done}/1 of {p}"),
            (None, _) => format!("{done}/1"),
        };
        let took = match text(o, "status.startTime").parse::<Timestamp>() {
            Err(_) => String::new(),
            Ok(start) => {
                let end = text(o, "status.completionTime").parse().unwrap_or(now);
                duration::human(end.duration_since(start).as_secs())
            }
        };
        let cells = vec![name(o), status.into(), completions.into(), took.into(), age(o, now)];
        with_pods(cells, o, CONTAINERS, Some(cells::selector(o, "spec.selector", "<none>")))
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    #[test]
    fn a_job_without_labels_has_those_that_its_pods_get() {
        let labels_of = |labels: Value, template: Value, manual: bool| {
            let metadata = json!({"name": "j", "uid": "u", "labels": labels});
            let spec =
                json!({"manualSelector": manual, "template": {"metadata": {"labels": template}, "spec": {}}});
            let mut object = json!({"metadata": metadata, "spec": spec});
            defaults(&mut object);
            prepare(&mut object);
            at(&object, "metadata.labels").clone()
        };
        let (own, of_template) = (json!({"own": "1"}), json!({"app": "x"}));
        let added = json!({"batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "j",
            "controller-uid": "u", "job-name": "j"});
        let mut both = added.clone();
        both["app"] = "x".into();
        assert_eq!(labels_of(Value::Null, Value::Null, false), added);
        assert_eq!(labels_of(Value::Null, of_template.clone(), false), both);
        assert_eq!(labels_of(Value::Null, of_template.clone(), true), of_template, "nothing is added");
        for template in [Value::Null, of_template.clone()] {
            assert_eq!(labels_of(own.clone(), template, false), own);
        }
        assert_eq!(labels_of(of_template.clone(), of_template.clone(), false), of_template);
        let mut changed = json!({"metadata": {}, "spec": {"template": {"metadata": {"labels": both}}}});
        defaults(&mut changed);
        assert_eq!(at(&changed, "metadata.labels"), &both, "an update without labels gets them, too");
    }

    #[test]
    fn a_job_selects_the_pods_that_it_makes() {
        let errors_of = |selector: Value, labels: Value| {
            let template = json!({"metadata": {"labels": labels}});
            let spec = json!({"manualSelector": true, "selector": selector, "template": template});
            let found = problems(validate, json!({ "spec": spec })).into_iter();
            found.filter(|e| e.contains("elector")).collect::<Vec<_>>()
        };
        const UNSELECTED: &str = "`selector` does not match template `labels`";
        let by = |label: &str| json!({"matchLabels": {"a": label}});
        assert_eq!(errors_of(by("b"), json!({"a": "b", "c": "d"})), [""; 0]);
        let other = format!("spec.template.metadata.labels: Invalid value: {{\"a\":\"c\"}}: {UNSELECTED}");
        assert_eq!(errors_of(by("b"), json!({"a": "c"})), [other]);
        let none = format!("spec.template.metadata.labels: Invalid value: null: {UNSELECTED}");
        assert_eq!(errors_of(Value::Null, Value::Null), ["spec.selector: Required value".to_string(), none]);
        assert_eq!(
            errors_of(json!({}), json!({"a": "b"})),
            ["spec.selector: Invalid value: {}: empty selector is invalid for job"]
        );
        let wrong = json!({"matchExpressions": [{"key": "a", "operator": "in"}]});
        assert_eq!(
            errors_of(wrong, json!({"a": "b"})),
            [
                "spec.selector.matchExpressions[0].operator: Invalid value: \"in\": not a valid selector operator"
            ]
        );
    }

    #[test]
    fn another_spelling_of_an_amount_is_no_change_of_a_jobs_template() {
        let job = |memory: &str| {
            let container = json!({"name": "c", "resources": {"limits": {"memory": memory}}});
            json!({"spec": {"template": {"spec": {"containers": [container]}}}})
        };
        let count_errors = |new: &str| {
            let mut errors = Errors::default();
            validate_update(&job(new), &job("1Gi"), &mut errors);
            errors.iter().count()
        };
        assert_eq!((count_errors("1073741824"), count_errors("1G")), (0, 1));
    }

    #[test]
    fn the_completions_of_an_indexed_job_change_with_its_parallelism() {
        let job = |mode: &str, completions: i64, parallelism: i64| json!({"spec": {"completionMode": mode, "completions": completions, "parallelism": parallelism}});
        let errors_of = |mode: &str, completions: i64, parallelism: i64| {
            let mut errors = Errors::default();
            validate_update(&job(mode, completions, parallelism), &job(mode, 5, 5), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(errors_of("Indexed", 7, 7), [""; 0]);
        assert_eq!(errors_of("Indexed", 5, 3), [""; 0]);
        let field = "spec.completions: Invalid value: 7:";
        assert_eq!(
            errors_of("Indexed", 7, 5),
            [format!("{field} can only be modified in tandem with spec.parallelism")]
        );
        assert_eq!(errors_of("NonIndexed", 7, 7), [format!("{field} field is immutable")]);
    }

    #[test]
    fn of_a_suspended_jobs_affinity_only_that_for_nodes_may_change() {
        let job = |affinity: Value| {
            let mut job = json!({"spec": {"suspend": true, "template": {"spec": {"affinity": affinity}}}});
            if at(&job, "spec.template.spec.affinity").is_null() {
                value::remove(&mut job, "spec.template.spec.affinity");
            }
            job
        };
        let count_errors = |old: Value, new: Value| {
            let mut errors = Errors::default();
            validate_update(&job(new), &job(old), &mut errors);
            errors.iter().count()
        };
        let (nodes, pods) = (json!({"nodeAffinity": {"a": 1}}), json!({"podAntiAffinity": {"b": 1}}));
        assert_eq!(count_errors(Value::Null, nodes.clone()), 0);
        assert_eq!(count_errors(nodes.clone(), Value::Null), 0);
        assert_eq!(count_errors(nodes.clone(), json!({"nodeAffinity": {"a": 2}})), 0);
        assert_eq!(count_errors(Value::Null, pods.clone()), 1);
        assert_eq!(count_errors(pods, nodes), 1);
    }

    #[test]
    fn a_job_that_was_exported_is_not_created_with_the_selector_of_the_old_one() {
        let made = |uid: &str, mut job: Value| {
            value::put(&mut job, "metadata.uid", uid);
            prepare(&mut job);
            job
        };
        let errors_of = |object: &Value| {
            let mut errors = Errors::default();
            generated_selector(object, &mut errors);
            job_selector(object, &mut errors);
            errors
                .iter()
                .map(|e| (e.field.clone(), e.body.rsplit(": ").next().map(String::from)))
                .collect::<Vec<_>>()
        };
        let new =
            json!({"metadata": {"name": "j"}, "spec": {"template": {"metadata": {"labels": {"app": "x"}}}}});
        let job = made("1", new.clone());
        assert_eq!(errors_of(&job), []);
        assert_eq!(at(&job, "spec.template.metadata.labels").as_object().map(|l| l.len()), Some(5));
        let must = Some("must be '2'".to_string());
        let field = |key: &str| format!("spec.template.metadata.labels[{key}]");
        let whole = ("spec.selector".to_string(), Some("`selector` not auto-generated".to_string()));
        let want = [
            (field("batch.kubernetes.io/controller-uid"), must.clone()),
            (field("controller-uid"), must),
            whole.clone(),
        ];
        assert_eq!(errors_of(&made("2", job)), want);
        let mut own = new;
        value::put(&mut own, "spec.selector", json!({"matchLabels": {"app": "x"}}));
        assert_eq!(errors_of(&made("1", own)), [whole]);
    }

    #[test]
    fn a_job_shows_how_it_ends_before_its_pods_are_gone() {
        let status = |conditions: &[&str]| {
            let of = |kind: &&str| json!({"type": kind, "status": "True"});
            let conditions: Vec<Value> = conditions.iter().map(of).collect();
            let object = json!({"metadata": {"name": "j"}, "status": {"conditions": conditions}});
            (PRINTER.cells)(&object, Timestamp::UNIX_EPOCH)[1].clone()
        };
        assert_eq!(status(&[]), "Running");
        assert_eq!(status(&["SuccessCriteriaMet"]), "SuccessCriteriaMet");
        assert_eq!(status(&["SuccessCriteriaMet", "Complete"]), "Complete");
        assert_eq!(status(&["FailureTarget"]), "FailureTarget");
    }

    #[test]
    fn a_rule_about_a_condition_is_about_a_true_one_in_a_schedule_too() {
        let rules = json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}, {"type": "X", "status": "False"}]}]});
        let spec = json!({ "podFailurePolicy": rules });
        let mut one = json!({"spec": spec});
        let mut many = json!({"spec": {"jobTemplate": {"spec": spec}}});
        defaults(&mut one);
        let cron_job = crate::kinds::find("batch", "v1", "CronJob").expect("a kind of the table");
        (cron_job.defaults)(&mut many);
        for spec in [at(&one, "spec"), at(&many, "spec.jobTemplate.spec")] {
            let rule = &list(spec, "podFailurePolicy.rules")[0];
            let statuses: Vec<&str> =
                list(rule, "onPodConditions").iter().map(|p| text(p, "status")).collect();
            assert_eq!(statuses, ["True", "False"]);
        }
    }
}
