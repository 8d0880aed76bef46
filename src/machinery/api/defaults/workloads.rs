//! Deployments, ReplicaSets, ReplicationControllers, DaemonSets, StatefulSets, Jobs, CronJobs.

use super::pods::template;
use crate::value::{self, at, default, default_zero, list_mut, put, text};
use serde_json::{Value, json};

pub fn deployment(object: &mut Value) {
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

pub fn replica_set(object: &mut Value) {
    default(object, "spec.replicas", 1);
    template(object, "spec.template");
}

/// Its selector and its own labels are those of its template, unless it has some.
pub fn replication_controller(object: &mut Value) {
    let labels = at(object, "spec.template.metadata.labels").clone();
    if !value::empty(object, "spec.template.metadata.labels") {
        for path in ["spec.selector", "metadata.labels"] {
            if value::empty(object, path) {
                put(object, path, labels.clone());
            }
        }
    }
    default(object, "spec.replicas", 1);
    if !at(object, "spec.template").is_null() {
        template(object, "spec.template");
    }
}

pub fn daemon_set(object: &mut Value) {
    template(object, "spec.template");
    default_zero(object, "spec.updateStrategy.type", "RollingUpdate");
    if text(object, "spec.updateStrategy.type") == "RollingUpdate" {
        default(object, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1);
        default(object, "spec.updateStrategy.rollingUpdate.maxSurge", 0);
    }
    default(object, "spec.revisionHistoryLimit", 10);
}

pub fn stateful_set(object: &mut Value) {
    template(object, "spec.template");
    default_zero(object, "spec.podManagementPolicy", "OrderedReady");
    default_zero(object, "spec.updateStrategy.type", "RollingUpdate");
    if text(object, "spec.updateStrategy.type") == "RollingUpdate" {
        default(object, "spec.updateStrategy.rollingUpdate.partition", 0);
        default(object, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1);
    }
    default_zero(object, "spec.persistentVolumeClaimRetentionPolicy.whenDeleted", "Retain");
    default_zero(object, "spec.persistentVolumeClaimRetentionPolicy.whenScaled", "Retain");
    default(object, "spec.serviceName", "");
    default(object, "spec.replicas", 1);
    default(object, "spec.revisionHistoryLimit", 10);
    for claim in list_mut(object, "spec.volumeClaimTemplates") {
        default(claim, "kind", "PersistentVolumeClaim");
        default(claim, "apiVersion", "v1");
        super::storage::claim(claim);
        default(claim, "status.phase", "Pending");
    }
}

/// Its labels are those of its template, unless it has some.
pub fn job(object: &mut Value) {
    let labels = at(object, "spec.template.metadata.labels").clone();
    if value::empty(object, "metadata.labels") && labels.as_object().is_some_and(|all| !all.is_empty()) {
        put(object, "metadata.labels", labels);
    }
    job_spec(value::slot(object, "spec"));
}

fn job_spec(spec: &mut Value) {
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

/// A rule about a condition of a pod is about one that is true.
fn condition_statuses(spec: &mut Value) {
    for rule in list_mut(spec, "podFailurePolicy.rules") {
        list_mut(rule, "onPodConditions").iter_mut().for_each(|p| default_zero(p, "status", "True"));
    }
}

/// The labels that a Job's pods have unless the user insists on a selector: uid and name, each
/// under its new and its old key.
pub fn job_labels(job: &Value) -> [(&'static str, String); 4] {
    let (uid, name) = (text(job, "metadata.uid"), text(job, "metadata.name"));
    [
        ("batch.kubernetes.io/controller-uid", uid.into()),
        ("batch.kubernetes.io/job-name", name.into()),
        ("controller-uid", uid.into()),
        ("job-name", name.into()),
    ]
}

/// A Job's selector and its template's labels come from its uid, unless the user insists on their
/// own. What the client set under these keys stays, and validation refuses it if it is another's
/// (`generateSelector` upstream).
pub fn prepare_job(object: &mut Value) {
    put(object, "status", json!({}));
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
}

pub fn cron_job(object: &mut Value) {
    default_zero(object, "spec.concurrencyPolicy", "Allow");
    default(object, "spec.suspend", false);
    default(object, "spec.successfulJobsHistoryLimit", 3);
    default(object, "spec.failedJobsHistoryLimit", 1);
    default(object, "spec.jobTemplate.metadata", json!({}));
    condition_statuses(value::slot(object, "spec.jobTemplate.spec"));
    template(object, "spec.jobTemplate.spec.template");
}

pub fn prepare_stateful_set(object: &mut Value) {
    put(object, "status", json!({"availableReplicas": 0, "replicas": 0}));
}
pub fn prepare_daemon_set(object: &mut Value) {
    let zeros = ["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"];
    let status: serde_json::Map<String, Value> = zeros.iter().map(|z| (z.to_string(), 0.into())).collect();
    put(object, "status", status);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::list;

    #[test]
    fn a_job_without_labels_has_those_of_its_template() {
        let labels_of = |labels: Value| {
            let mut object = json!({"metadata": {"name": "j"}, "spec": {"template": {"metadata": {"labels": {"app": "x"}}, "spec": {}}}});
            object["metadata"]["labels"] = labels;
            job(&mut object);
            object["metadata"]["labels"].clone()
        };
        assert_eq!(labels_of(Value::Null), json!({"app": "x"}));
        assert_eq!(labels_of(json!({"own": "1"})), json!({"own": "1"}));
    }

    #[test]
    fn a_rule_about_a_condition_is_about_a_true_one_in_a_schedule_too() {
        let rules = json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}, {"type": "X", "status": "False"}]}]});
        let spec = json!({ "podFailurePolicy": rules });
        let mut one = json!({"spec": spec});
        let mut many = json!({"spec": {"jobTemplate": {"spec": spec}}});
        job(&mut one);
        cron_job(&mut many);
        for spec in [at(&one, "spec"), at(&many, "spec.jobTemplate.spec")] {
            let rule = &list(spec, "podFailurePolicy.rules")[0];
            let statuses: Vec<&str> =
                list(rule, "onPodConditions").iter().map(|p| text(p, "status")).collect();
            assert_eq!(statuses, ["True", "False"]);
        }
    }
}
