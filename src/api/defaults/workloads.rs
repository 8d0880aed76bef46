//! Deployments, ReplicaSets, ReplicationControllers, DaemonSets, StatefulSets, Jobs, CronJobs.

use super::pods::template;
use crate::api::value::{self, at, default, default_zero, list_mut, put, text};
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

pub fn job(object: &mut Value) {
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
    for rule in value::list_mut(spec, "podFailurePolicy.rules") {
        value::list_mut(rule, "onPodConditions").iter_mut().for_each(|p| default(p, "status", "True"));
    }
    template(spec, "template");
    if text(spec, "template.spec.restartPolicy").is_empty() {
        put(spec, "template.spec.restartPolicy", "Always");
    }
}

/// A Job's selector and its template's labels come from its uid, unless the user insists on their own.
pub fn prepare_job(object: &mut Value) {
    prepare_status(object);
    if value::flag(object, "spec.manualSelector") {
        return;
    }
    let (uid, name) = (text(object, "metadata.uid").to_string(), text(object, "metadata.name").to_string());
    let labels = value::slot_map(object, "spec.template.metadata.labels");
    for (key, text) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels.insert(key.into(), text.clone().into());
    }
    value::slot_map(object, "spec.selector.matchLabels")
        .insert("batch.kubernetes.io/controller-uid".into(), uid.into());
}

pub fn cron_job(object: &mut Value) {
    default_zero(object, "spec.concurrencyPolicy", "Allow");
    default(object, "spec.suspend", false);
    default(object, "spec.successfulJobsHistoryLimit", 3);
    default(object, "spec.failedJobsHistoryLimit", 1);
    default(object, "spec.jobTemplate.metadata", json!({}));
    template(object, "spec.jobTemplate.spec.template");
}

// The first status of each kind: what Go writes for a status that nobody has written.

pub fn prepare_status(object: &mut Value) {
    put(object, "status", json!({}));
}
pub fn prepare_replicas(object: &mut Value) {
    put(object, "status", json!({"replicas": 0}));
}
pub fn prepare_stateful_set(object: &mut Value) {
    put(object, "status", json!({"availableReplicas": 0, "replicas": 0}));
}
pub fn prepare_daemon_set(object: &mut Value) {
    let zeros = ["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"];
    let status: serde_json::Map<String, Value> = zeros.iter().map(|z| (z.to_string(), 0.into())).collect();
    put(object, "status", status);
}
pub fn prepare_budget(object: &mut Value) {
    let zeros = ["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"];
    let status: serde_json::Map<String, Value> = zeros.iter().map(|z| (z.to_string(), 0.into())).collect();
    put(object, "status", status);
}
