//! Workloads: the selector must select the template. The pods of a template restart; those of a
//! Job end.

use super::{jobs, names, not_negative, one_of, pods, selector, storage};
use crate::cron::{self, Schedule};
use crate::defaults::workloads::job_labels;
use crate::errors::{Errors, FieldError};
use crate::kinds::workload::{EMPTY_SELECTOR, always_restarts, is_zero, unselected, validate};
use crate::labels::Selector;
use crate::validate::int_or_percent;
use crate::value::{self, at, flag, int, list, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub fn deployment(object: &Value, errors: &mut Errors) {
    validate(object, "deployment", errors);
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
            for path in ["spec.strategy.rollingUpdate.maxUnavailable", "spec.strategy.rollingUpdate.maxSurge"]
            {
                int_or_percent(object, path, errors);
            }
            if is_zero(object, "spec.strategy.rollingUpdate.maxUnavailable")
                && is_zero(object, "spec.strategy.rollingUpdate.maxSurge")
            {
                let path = "spec.strategy.rollingUpdate.maxUnavailable";
                errors.invalid(path, at(object, path), "may not be 0 when `maxSurge` is 0");
            }
        }
        _ => errors.not_supported(
            "spec.strategy.type",
            at(object, "spec.strategy.type"),
            &["Recreate", "RollingUpdate"],
        ),
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

/// No more than 100 %: a DaemonSet has one pod on a node, and at most a second one.
fn part_of_all(object: &Value, path: &str, errors: &mut Errors) {
    let percent = text(object, path).strip_suffix('%').and_then(|n| n.parse::<u32>().ok());
    if percent.is_some_and(|p| p > 100) && path.ends_with("maxSurge") {
        errors.invalid_text(path, text(object, path), "must not be greater than 100%");
    }
}

pub fn replica_set(object: &Value, errors: &mut Errors) {
    validate(object, "replicaset", errors);
}

/// A ReplicationController's selector is a plain map of labels.
pub fn replication_controller(object: &Value, errors: &mut Errors) {
    not_negative(object, "spec.minReadySeconds", errors);
    let selects: Vec<(&str, &str)> = value::pairs(object, "spec.selector").collect();
    if selects.is_empty() {
        errors.required("spec.selector", "");
    }
    not_negative(object, "spec.replicas", errors);
    if at(object, "spec.template").is_null() {
        return errors.required("spec.template", "");
    }
    let labels = at(object, "spec.template.metadata.labels");
    if selects.iter().any(|(key, value)| labels.get(key).and_then(Value::as_str) != Some(value)) {
        unselected(labels, errors);
    }
    pods::template(object, "spec.template", errors);
    always_restarts(object, "ReplicationController", errors);
}

pub fn daemon_set(object: &Value, errors: &mut Errors) {
    const ROLLING: &str = "spec.updateStrategy.rollingUpdate";
    validate(object, "daemonset", errors);
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

pub fn stateful_set(object: &Value, errors: &mut Errors) {
    // A container may mount what a claim template will give its pod.
    let mut whole = object.clone();
    // Its volume takes the place of one of that name, as the controller does it.
    let mut claims: BTreeSet<&str> =
        list(object, "spec.volumeClaimTemplates").iter().map(|c| text(c, "metadata.name")).collect();
    let claimed = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    let own = |volume: &Value| match claims.take(text(volume, "name")) {
        Some(name) => claimed(name),
        None => volume.clone(),
    };
    let mut volumes: Vec<Value> = list(object, "spec.template.spec.volumes").iter().map(own).collect();
    volumes.extend(claims.iter().map(|name| claimed(name)));
    if !volumes.is_empty() {
        value::put(&mut whole, "spec.template.spec.volumes", volumes);
    }
    validate(&whole, "statefulset", errors);
    claim_templates(object, errors);
    let service = text(object, "spec.serviceName");
    for problem in names::dns_label(service).iter().filter(|_| !service.is_empty()) {
        errors.invalid_text("spec.serviceName", service, problem);
    }
    let management = text(object, "spec.podManagementPolicy");
    if !["OrderedReady", "Parallel"].contains(&management) {
        let why = "must be 'OrderedReady' or 'Parallel'";
        errors.invalid_text("spec.podManagementPolicy", management, why);
    }
    const STRATEGY: &str = "spec.updateStrategy";
    let rules = at(object, "spec.updateStrategy.rollingUpdate");
    match text(object, "spec.updateStrategy.type") {
        "RollingUpdate" => {}
        "OnDelete" if rules.is_null() => {}
        "OnDelete" => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.invalid(format!("{STRATEGY}.rollingUpdate"), rules, why);
        }
        _ => errors.invalid(STRATEGY, at(object, STRATEGY), "must be 'RollingUpdate' or 'OnDelete'"),
    }
    rolling(object, errors);
    not_negative(object, "spec.ordinals.start", errors);
    for when in ["whenDeleted", "whenScaled"] {
        let path = format!("spec.persistentVolumeClaimRetentionPolicy.{when}");
        one_of(object, &path, &path, &["Delete", "Retain"], errors);
    }
}

/// A StatefulSet makes claims of its templates: a template that makes none would stop it at its
/// first pod.
fn claim_templates(object: &Value, errors: &mut Errors) {
    for (i, template) in list(object, "spec.volumeClaimTemplates").iter().enumerate() {
        let mut own = Errors::default();
        storage::claim(template, &mut own);
        for error in own {
            let field = format!("spec.volumeClaimTemplates[{i}].{}", error.field);
            errors.add(FieldError { field, ..error });
        }
    }
}

/// How a rolling update of a StatefulSet goes on.
fn rolling(object: &Value, errors: &mut Errors) {
    const MOST: &str = "spec.updateStrategy.rollingUpdate.maxUnavailable";
    not_negative(object, "spec.updateStrategy.rollingUpdate.partition", errors);
    if at(object, MOST).is_null() {
        return;
    }
    int_or_percent(object, MOST, errors);
    if is_zero(object, MOST) {
        errors.invalid(MOST, at(object, MOST), "cannot be 0");
    }
}

pub fn stateful_set_update(new: &Value, old: &Value, errors: &mut Errors) {
    const MAY: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let frozen = |o: &Value| {
        let mut spec = at(o, "spec").clone();
        if let Some(map) = spec.as_object_mut() {
            map.retain(|k, _| !MAY.contains(&k.as_str()));
        }
        spec
    };
    if frozen(new) != frozen(old) {
        errors.forbidden("spec", "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
    }
}

pub fn job(object: &Value, errors: &mut Errors) {
    generated_selector(object, errors);
    jobs::spec(at(object, "spec"), "spec", errors);
    job_selector(object, errors);
    jobs::host_names(object, errors);
}

/// Unless the user insists on a selector, a Job's is the one that the server made of its uid, and
/// its template has the labels that go with it: an exported Job that is created anew would else
/// count the pods of the old one.
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

/// A Job's selector selects the pods of its template. The controller lets go pods that the selector
/// does not select and makes new ones in their place, so without this rule one Job would make pods
/// without end. An empty selector, which upstream takes for all pods of the namespace, is refused
/// as for the other workloads: it selects none here.
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

/// What makes the pods of a Job stays as it is; of a suspended one that never ran, where they go
/// may still change.
pub fn job_update(new: &Value, old: &Value, errors: &mut Errors) {
    let indexed = text(new, "spec.completionMode") == "Indexed";
    let elastic = indexed && int(new, "spec.completions") == int(new, "spec.parallelism");
    let waits = flag(old, "spec.suspend") && at(old, "status.startTime").is_null();
    let (mut before, mut new) = (old.clone(), new.clone());
    if waits {
        for path in ["nodeSelector", "affinity.nodeAffinity", "tolerations", "schedulingGates"] {
            value::copy(&new, &mut before, &format!("spec.template.spec.{path}"));
        }
        // An affinity that says nothing is none.
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
    for field in frozen.iter().filter(|f| !(elastic && **f == "completions")) {
        let path = format!("spec.{field}");
        if at(&new, &path) != at(&before, &path) {
            errors.invalid(&path, at(&new, &path), "field is immutable");
        }
    }
}

pub fn cron_job(object: &Value, errors: &mut Errors) {
    /// So many characters leave room for the minute in a job's name.
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
    jobs::spec(template, TEMPLATE, errors);
    // Each Job gets a selector of its own.
    let own = at(template, "selector");
    if !own.is_null() {
        errors.invalid(format!("{TEMPLATE}.selector"), own, "`selector` will be auto-generated");
    }
    if flag(template, "manualSelector") {
        errors.not_supported(format!("{TEMPLATE}.manualSelector"), &json!(true), &["nil", "false"]);
    }
}

pub fn controller_revision(object: &Value, errors: &mut Errors) {
    not_negative(object, "revision", errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::problems;

    fn about(found: Vec<String>, part: &str) -> Vec<String> {
        found.into_iter().filter(|e| e.contains(part)).collect()
    }

    #[test]
    fn an_update_of_a_daemon_set_moves_and_has_one_way_to_do_so() {
        let with = |unavailable: Value, surge: Value| {
            let rolling = json!({"maxUnavailable": unavailable, "maxSurge": surge});
            let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
            about(problems(daemon_set, json!({"spec": {"updateStrategy": strategy}})), "rollingUpdate")
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

    #[test]
    fn a_stateful_set_can_make_its_claims_and_name_its_service() {
        let set = |spec: Value| problems(stateful_set, json!({ "spec": spec }));
        let claim = |spec: Value| {
            let template = json!({"metadata": {"name": "data"}, "spec": spec});
            about(set(json!({"volumeClaimTemplates": [template]})), "volumeClaimTemplates")
        };
        let requests = json!({"requests": {"storage": "1Gi"}});
        assert_eq!(claim(json!({"accessModes": ["ReadWriteOnce"], "resources": requests})), [""; 0]);
        const SPEC: &str = "spec.volumeClaimTemplates[0].spec";
        assert_eq!(
            claim(json!({})),
            [
                format!("{SPEC}.accessModes: Required value: at least 1 access mode is required"),
                format!("{SPEC}.resources[storage]: Required value"),
            ]
        );
        let device =
            json!({"name": "c", "image": "i", "volumeDevices": [{"name": "data", "devicePath": "/dev/x"}]});
        let block = set(json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            "template": {"spec": {"containers": [device], "volumes": [{"name": "data", "emptyDir": {}}]}}}));
        assert_eq!(about(block, "volumeDevices"), [""; 0], "it is a claim, whatever the template calls so");
        let wrong = set(json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            "template": {"spec": {"volumes": [{"name": "h", "hostPath": {"path": "/../x"}}]}}}));
        let wrong = about(wrong, "hostPath");
        assert!(wrong.len() == 1 && wrong[0].contains("volumes[0].hostPath"), "{wrong:?}");
        assert_eq!(about(set(json!({"serviceName": "db"})), "serviceName"), [""; 0]);
        assert_eq!(about(set(json!({"serviceName": ""})), "serviceName"), [""; 0]);
        assert!(
            about(set(json!({"serviceName": "My_DB"})), "serviceName")[0]
                .starts_with("spec.serviceName: Invalid value: \"My_DB\": a lowercase RFC 1123 label")
        );
        let kind = crate::kinds::find("apps", "v1", "StatefulSet").unwrap();
        let named = |name: &str| {
            let object = json!({"metadata": {"name": name, "namespace": "d"}});
            let found = crate::validate::create(kind, &object);
            found.iter().filter(|e| e.field == "metadata.name").count()
        };
        assert_eq!((named("web"), named("a.b")), (0, 1), "the names of its pods are host names");
    }

    #[test]
    fn a_job_selects_the_pods_that_it_makes() {
        let told = |selector: Value, labels: Value| {
            let template = json!({"metadata": {"labels": labels}});
            let spec = json!({"manualSelector": true, "selector": selector, "template": template});
            let found = problems(job, json!({ "spec": spec })).into_iter();
            found.filter(|e| e.contains("elector")).collect::<Vec<_>>()
        };
        const UNSELECTED: &str = "`selector` does not match template `labels`";
        let by = |label: &str| json!({"matchLabels": {"a": label}});
        assert_eq!(told(by("b"), json!({"a": "b", "c": "d"})), [""; 0]);
        let other = format!("spec.template.metadata.labels: Invalid value: {{\"a\":\"c\"}}: {UNSELECTED}");
        assert_eq!(told(by("b"), json!({"a": "c"})), [other]);
        let none = format!("spec.template.metadata.labels: Invalid value: {{}}: {UNSELECTED}");
        assert_eq!(told(Value::Null, Value::Null), ["spec.selector: Required value".to_string(), none]);
        assert_eq!(
            told(json!({}), json!({"a": "b"})),
            ["spec.selector: Invalid value: {}: empty selector is invalid for job"]
        );
        let wrong = json!({"matchExpressions": [{"key": "a", "operator": "in"}]});
        assert_eq!(
            told(wrong, json!({"a": "b"})),
            [
                "spec.selector.matchExpressions[0].operator: Invalid value: \"in\": not a valid selector operator"
            ]
        );
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
        let told = |old: Value, new: Value| {
            let mut errors = Errors::default();
            job_update(&job(new), &job(old), &mut errors);
            errors.iter().count()
        };
        let (nodes, pods) = (json!({"nodeAffinity": {"a": 1}}), json!({"podAntiAffinity": {"b": 1}}));
        assert_eq!(told(Value::Null, nodes.clone()), 0);
        assert_eq!(told(nodes.clone(), Value::Null), 0);
        assert_eq!(told(nodes.clone(), json!({"nodeAffinity": {"a": 2}})), 0);
        assert_eq!(told(Value::Null, pods.clone()), 1);
        assert_eq!(told(pods, nodes), 1);
    }

    #[test]
    fn a_job_that_was_exported_is_not_created_with_the_selector_of_the_old_one() {
        let made = |uid: &str, mut job: Value| {
            value::put(&mut job, "metadata.uid", uid);
            crate::defaults::workloads::prepare_job(&mut job);
            job
        };
        let told = |object: &Value| {
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
        assert_eq!(told(&job), []);
        assert_eq!(at(&job, "spec.template.metadata.labels").as_object().map(|l| l.len()), Some(5));
        let must = Some("must be '2'".to_string());
        let field = |key: &str| format!("spec.template.metadata.labels[{key}]");
        let whole = ("spec.selector".to_string(), Some("`selector` not auto-generated".to_string()));
        let want = [
            (field("batch.kubernetes.io/controller-uid"), must.clone()),
            (field("controller-uid"), must),
            whole.clone(),
        ];
        assert_eq!(told(&made("2", job)), want);
        let mut own = new;
        value::put(&mut own, "spec.selector", json!({"matchLabels": {"app": "x"}}));
        assert_eq!(told(&made("1", own)), [whole]);
    }

    #[test]
    fn the_jobs_of_a_schedule_get_selectors_of_their_own() {
        let told = |spec: Value| {
            let object = json!({"spec": {"schedule": "@daily", "jobTemplate": {"spec": spec}}});
            about(problems(cron_job, object), "elector")
        };
        assert_eq!(told(json!({"manualSelector": false})), [""; 0]);
        assert_eq!(
            told(json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}})),
            [
                "spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated",
                "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
            ]
        );
    }

    #[test]
    fn a_stateful_set_has_one_way_to_update_and_pods_without_a_deadline() {
        let told = |field: &str, spec: Value| about(problems(stateful_set, json!({ "spec": spec })), field);
        let strategy = |strategy: Value| told("updateStrategy", json!({ "updateStrategy": strategy }));
        assert_eq!(strategy(json!({"type": "OnDelete"})), [""; 0]);
        assert_eq!(
            strategy(json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}})),
            [
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'"
            ]
        );
        assert_eq!(
            strategy(json!({"type": "Recreate"})),
            [
                "spec.updateStrategy: Invalid value: {\"type\":\"Recreate\"}: must be 'RollingUpdate' or 'OnDelete'"
            ]
        );
        assert_eq!(
            told("podManagementPolicy", json!({"podManagementPolicy": "parallel"})),
            ["spec.podManagementPolicy: Invalid value: \"parallel\": must be 'OrderedReady' or 'Parallel'"]
        );
        let ending = json!({"template": {"spec": {"activeDeadlineSeconds": 5}}});
        assert_eq!(
            told("activeDeadlineSeconds", ending),
            [
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported"
            ]
        );
    }

    #[test]
    fn ordinals_begin_at_zero_or_above_and_claims_are_kept_or_deleted() {
        let set = |spec: Value| problems(stateful_set, json!({"spec": spec}));
        assert_eq!(about(set(json!({"ordinals": {"start": -1}})), "ordinals").len(), 1);
        assert_eq!(about(set(json!({"ordinals": {"start": 0}})), "ordinals").len(), 0);
        let policy = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "delete", "whenScaled": "Retain"}});
        let found = about(set(policy), "RetentionPolicy");
        assert!(found.len() == 1 && found[0].contains("whenDeleted: Unsupported value"), "{found:?}");
    }
}
