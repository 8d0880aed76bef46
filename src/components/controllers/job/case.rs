//! One Job on its way through a look: what is known of it and its pods, and the plan that the
//! decisions fill in. `decide` counts its pods, `ending` says how it ends, and `manage` which pods
//! are made and deleted.

use super::ends::{Ends, Remembered};
use super::facts::condition;
use super::indexes::Indexes;
use crate::notice::Notice;
use crate::pods::{self, is_active, is_terminating};
use clock::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A pod to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct New {
    pub index: Option<i32>,
    /// How often the index has failed, if that is counted by index.
    pub failures: Option<i32>,
    /// How many failures of the index a rule has ignored. They do not count towards the limit of
    /// the index, but lengthen the pause before its next pod.
    pub ignored: i32,
}

/// What the controller remembers of a Job's pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// Uids of pods that it has deleted itself.
    pub dismissed: BTreeSet<String>,
    /// When pods ended.
    pub(crate) known: Remembered,
}

/// What to do, in this order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub delete: Vec<String>,
    pub create: Vec<New>,
    pub status: JobStatus,
    /// Names of pods that nothing keeps any more, once the status is written. One that is also to
    /// be deleted is let go before: it was too many, or the job succeeds without it, and does not
    /// count as failed.
    pub release: Vec<String>,
    /// Events about the Job.
    pub notices: Vec<Notice>,
    /// The job itself has outlived its time.
    pub expired: bool,
    /// The job ends, and its pods with it: none of them may be unknown.
    pub ends: bool,
    /// Ends of pods that are to be remembered.
    pub(crate) remembered: Ends,
    pub again: Option<Duration>,
}

/// A job on the way: what is known so far, and what is to be done about it.
pub(super) struct Case<'a> {
    pub(super) spec: &'a JobSpec,
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) memory: &'a Memory,
    pub(super) now: Timestamp,
    pub(super) indexed: bool,
    pub(super) completions: i32,
    pub(super) done: Indexes,
    /// Indexes that have failed for good.
    pub(super) lost: Indexes,
    pub(super) uncounted: UncountedTerminatedPods,
    /// By index, with `backoffLimitPerIndex`: the last failed pod, which keeps its finalizer. Its
    /// successor takes over from it how often the index has failed.
    pub(super) awaiting: BTreeMap<i32, Arc<Pod>>,
    pub(super) active: Vec<Arc<Pod>>,
    pub(super) terminating: usize,
    /// A rule said that the whole job has failed.
    pub(super) broken: Option<String>,
    /// The job is being deleted, and its pods with it.
    pub(super) is_going: bool,
    pub(super) plan: Plan,
}

impl<'a> Case<'a> {
    pub(super) fn new(
        spec: &'a JobSpec,
        mut status: JobStatus,
        pods: &'a [Arc<Pod>],
        memory: &'a Memory,
        now: Timestamp,
    ) -> Case<'a> {
        let indexed = spec.completion_mode.as_deref() == Some("Indexed");
        let completions = spec.completions.unwrap_or(0);
        let read = |text: &Option<String>| Indexes::parse(text.as_deref().unwrap_or_default(), completions);
        Case {
            spec,
            pods,
            memory,
            now,
            indexed,
            completions,
            done: if indexed { read(&status.completed_indexes) } else { Indexes::default() },
            lost: read(&status.failed_indexes),
            uncounted: status.uncounted_terminated_pods.take().unwrap_or_default(),
            awaiting: BTreeMap::new(),
            active: pods.iter().filter(|p| is_active(p)).cloned().collect(),
            terminating: pods.iter().filter(|p| is_terminating(p)).count(),
            broken: None,
            is_going: false,
            plan: Plan { status, ..Plan::default() },
        }
    }

    /// Returns whether the replacement of a pod that is being deleted waits for the pod's end
    /// (`podReplacementPolicy: Failed`). Otherwise such a pod counts as failed at once.
    pub(super) fn replaces_late(&self) -> bool {
        self.spec.pod_replacement_policy.as_deref() == Some("Failed")
    }

    /// Returns whether the failure of the Job is announced: its pods end with it, and none of them
    /// is replaced.
    pub(super) fn fails(&self) -> bool {
        condition(&self.plan.status, "FailureTarget").is_some()
    }

    /// Returns whether the pod has failed. One that is being deleted together with its Job has not
    /// before its phase says so.
    pub(super) fn has_failed(&self, pod: &Pod) -> bool {
        let going = pod.metadata.deletion_timestamp.is_some() && pods::phase(pod) != "Succeeded";
        let bound = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
        let is_awaited = self.is_going || (self.replaces_late() && bound && !self.fails());
        pods::phase(pod) == "Failed" || (going && !is_awaited)
    }

    pub(super) fn suspended(&self) -> bool {
        self.spec.suspend.unwrap_or(false)
    }

    pub(super) fn succeeded(&self) -> i32 {
        match self.indexed {
            true => self.done.len(),
            false => {
                let uncounted = self.uncounted.succeeded.iter().flatten().count() as i32;
                self.plan.status.succeeded.unwrap_or(0).saturating_add(uncounted)
            }
        }
    }

    pub(super) fn failed(&self) -> i32 {
        let uncounted = self.uncounted.failed.iter().flatten().count() as i32;
        self.plan.status.failed.unwrap_or(0).saturating_add(uncounted)
    }

    pub(super) fn set(&mut self, kind: &str, value: &str, reason: &str, message: &str) {
        let conditions = self.plan.status.conditions.get_or_insert_default();
        conditions.retain(|c| c.type_ != kind);
        conditions.push(JobCondition {
            type_: kind.into(),
            status: value.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_probe_time: Some(Time(self.now)),
            last_transition_time: Some(Time(self.now)),
        });
    }

    pub(super) fn look_again(&mut self, after: Option<Duration>) {
        self.plan.again = [self.plan.again, after].into_iter().flatten().min();
    }
}
