//! A Job and its pods for tests: looks until nothing changes, and pods that end as a test says.

use super::case::{Memory, New, Plan};
use super::decide::decide;
use super::names::{INDEX, INDEX_FAILURES, INDEX_IGNORED, TRACKING};
use clock::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct World {
    pub(super) job: Job,
    pub(super) pods: Vec<Pod>,
    pub(super) now: Timestamp,
    /// How many pods have been made.
    pub(super) made: usize,
    /// The grace period of pods that the controller deletes, in seconds.
    pub(super) grace: i64,
    pub(super) memory: Memory,
    /// Reasons of the events.
    pub(super) reasons: Vec<String>,
}

impl World {
    pub(super) fn new(mut spec: Value) -> World {
        for (key, default) in [("parallelism", json!(1)), ("backoffLimit", json!(6))] {
            if spec[key].is_null() {
                spec[key] = default;
            }
        }
        if spec["template"].is_null() {
            spec["template"] = json!({"spec": {"restartPolicy": "Never", "containers": []}});
        }
        let job =
            serde_json::from_value(json!({"metadata": {"name": "j", "uid": "1"}, "spec": spec})).unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        World { job, pods: vec![], now, made: 0, grace: 0, memory: Memory::default(), reasons: vec![] }
    }

    pub(super) fn look(&self) -> Plan {
        let pods: Vec<Arc<Pod>> = self.pods.iter().cloned().map(Arc::new).collect();
        decide(&self.job, &pods, &self.memory, true, self.now)
    }

    /// Looks and acts until nothing changes.
    pub(super) fn settle(&mut self) -> Plan {
        for _ in 0..20 {
            let plan = self.look();
            self.memory.known.ends = plan.remembered.clone();
            let quiet = plan.create.is_empty() && plan.delete.is_empty() && plan.release.is_empty();
            if quiet && self.job.status.as_ref() == Some(&plan.status) {
                return plan;
            }
            // A pod that is held stays, as one that is going.
            for pod in &mut self.pods {
                let name = pod.metadata.name.as_ref().unwrap();
                let early = plan.release.contains(name);
                if plan.delete.contains(name) {
                    self.memory.dismissed.extend(pod.metadata.uid.clone());
                    let until = self.now + jiff::SignedDuration::from_secs(self.grace);
                    pod.metadata.deletion_timestamp = Some(Time(until));
                    pod.metadata.deletion_grace_period_seconds = Some(self.grace);
                    pod.metadata.finalizers = pod.metadata.finalizers.take().filter(|_| !early);
                }
            }
            let now = self.now;
            let ends = |p: &Pod| p.metadata.deletion_timestamp.as_ref().is_some_and(|t| t.0 <= now);
            let gone = |p: &Pod| ends(p) && p.metadata.finalizers.is_none();
            self.pods.retain(|p| !gone(p));
            plan.create.iter().for_each(|new| self.make(new));
            self.reasons.extend(plan.notices.iter().map(|notice| notice.reason.clone()));
            self.job.status = Some(plan.status);
            for pod in &mut self.pods {
                if plan.release.contains(pod.metadata.name.as_ref().unwrap()) {
                    pod.metadata.finalizers = None;
                }
            }
            self.pods.retain(|p| !gone(p));
        }
        panic!("it never comes to rest: {:?}", self.look());
    }

    fn make(&mut self, new: &New) {
        self.made += 1;
        let mut annotations = json!({});
        if let Some(index) = new.index {
            annotations[INDEX] = index.to_string().into();
        }
        if let Some(failures) = new.failures {
            annotations[INDEX_FAILURES] = failures.to_string().into();
        }
        if new.ignored > 0 {
            annotations[INDEX_IGNORED] = new.ignored.to_string().into();
        }
        let name = format!("p{}", self.made);
        let pod = json!({
            "metadata": {"name": name, "uid": name, "finalizers": [TRACKING], "annotations": annotations},
            "spec": {"nodeName": "n", "containers": []}, "status": {"phase": "Running"},
        });
        self.pods.push(serde_json::from_value(pod).unwrap());
    }

    /// Ends a running pod with an exit code.
    pub(super) fn end(&mut self, name: &str, code: i32) {
        let finished = clock::rfc3339(self.now);
        let status = json!({"phase": if code == 0 { "Succeeded" } else { "Failed" }, "containerStatuses": [{
            "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": finished}}}]});
        let pod = self.pods.iter_mut().find(|p| p.metadata.name.as_deref() == Some(name)).unwrap();
        pod.status = Some(serde_json::from_value(status).unwrap());
    }

    /// Deletes a pod as a user does. It ends after its grace period.
    pub(super) fn delete(&mut self, name: &str, grace: i64) {
        let until = self.now + jiff::SignedDuration::from_secs(grace);
        let pod = self.pods.iter_mut().find(|p| p.metadata.name.as_deref() == Some(name)).unwrap();
        pod.metadata.deletion_timestamp = Some(Time(until));
        pod.metadata.deletion_grace_period_seconds = Some(grace);
    }

    pub(super) fn after(&mut self, seconds: i64) -> &mut World {
        self.now += jiff::SignedDuration::from_secs(seconds);
        self
    }

    /// Returns the names of the pods that have not ended.
    pub(super) fn running(&self) -> impl Iterator<Item = &str> {
        let running = |p: &&Pod| p.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
        self.pods.iter().filter(running).filter_map(|p| p.metadata.name.as_deref())
    }

    /// `active/succeeded/failed`
    pub(super) fn counts(&self) -> String {
        let s = self.job.status.clone().unwrap();
        format!("{}/{}/{}", s.active.unwrap_or(0), s.succeeded.unwrap_or(0), s.failed.unwrap_or(0))
    }

    pub(super) fn conditions(&self) -> Vec<String> {
        let all = self.job.status.iter().flat_map(|s| s.conditions.iter().flatten());
        all.filter(|c| c.status == "True")
            .map(|c| format!("{} {}", c.type_, c.reason.as_deref().unwrap()))
            .collect()
    }
}
