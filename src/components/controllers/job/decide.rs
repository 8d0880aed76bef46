//! What to do about one Job now. [`decide`] is pure.
//!
//! An ended pod is counted exactly once, whatever crashes when: first its uid is written into
//! `status.uncountedTerminatedPods`, then the finalizer that keeps the pod is taken off, and only
//! when the pod is seen without it does the uid become part of the count.

use super::ending::End;
use super::ends::{self, Ends, Remembered};
use super::failure::{self, Verdict};
use super::indexes::Indexes;
use super::{INDEX, INDEX_FAILURES, INDEX_IGNORED, TRACKING};
use crate::pods::{self, is_active};
use clock::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The pause before a failed pod is replaced: doubled at each further failure, up to the second
/// value.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// A pod to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct New {
    pub index: Option<i32>,
    /// How often the index has failed, if that is counted by index.
    pub failures: Option<i32>,
    /// How many failures of the index a rule has ignored. They do not count towards the limit of
    /// the index, but lengthen the pause before its next pod.
    pub ignored: i32,
}

/// What the controller remembers of a Job's pods.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Uids of pods that it has deleted itself.
    pub dismissed: BTreeSet<String>,
    /// When pods ended.
    pub(crate) known: Remembered,
}

/// What to do, in this order.
#[derive(Debug, Default)]
pub struct Plan {
    pub delete: Vec<String>,
    pub create: Vec<New>,
    pub status: JobStatus,
    /// Names of pods that nothing keeps any more, once the status is written. One that is also to
    /// be deleted is let go before: it was too many, and does not count as failed.
    pub release: Vec<String>,
    /// Events: (is it a warning, reason, message).
    pub told: Vec<(bool, String, String)>,
    /// The job itself has outlived its time.
    pub expired: bool,
    /// The job ends, and its pods with it: none of them may be unknown.
    pub ends: bool,
    /// Ends of pods that are to be remembered.
    pub(crate) remembered: Ends,
    pub again: Option<Duration>,
}

pub(super) fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == kind && c.status == "True")
}

/// When and how a job has ended: its condition Complete or Failed.
pub fn finished(job: &Job) -> Option<&JobCondition> {
    let status = job.status.as_ref()?;
    condition(status, "Complete").or_else(|| condition(status, "Failed"))
}

/// True while the pod has the finalizer `batch.kubernetes.io/job-tracking`: it stays until the Job
/// has counted it.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|f| f == TRACKING)
}

/// The completion index that a pod is for.
pub fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

/// How often the pod's index had failed when the pod was made: counted failures, ignored ones. What
/// is no number of failures is none.
pub(super) fn failures_of(pod: &Pod) -> (i32, i32) {
    let annotations = pod.metadata.annotations.as_ref();
    let count = |key: &str| annotations.and_then(|a| a.get(key)?.parse().ok()).filter(|n| *n >= 0);
    (count(INDEX_FAILURES).unwrap_or(0), count(INDEX_IGNORED).unwrap_or(0))
}

/// All failures of the pod's index before the pod was made, the ignored ones too.
pub(super) fn all_failures_of(pod: &Pod) -> i32 {
    let (counted, ignored) = failures_of(pod);
    counted.saturating_add(ignored)
}

pub(super) fn name(pod: &Arc<Pod>) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

pub(super) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub(super) fn ended(pod: &Pod) -> bool {
    matches!(pods::phase(pod), "Succeeded" | "Failed")
}

/// When the pod ended, or began to end: when its last container ended; else when it ceased to be
/// ready, when its deletion was requested, or when it was made. None of these moves from one look
/// to the next, or the pause before the successor would begin anew each time.
///
/// ```text
/// exited at 5 s                                        5 s
/// rejected by its kubelet, or its node is lost         when Ready became False
/// deleted at 7 s with a grace period of 30 s, runs     7 s: deletionTimestamp is 37 s
/// ```
pub(super) fn ended_at(pod: &Pod, now: Timestamp) -> Timestamp {
    let requested = pod.metadata.deletion_timestamp.as_ref().map(|until| {
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0).max(0) as u64;
        clock::before(until.0, Duration::from_secs(grace))
    });
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let mut unready = conditions.filter(|c| c.type_ == "Ready" && c.status == "False");
    let unready = unready.find_map(|c| c.last_transition_time.as_ref()).map(|t| t.0);
    let made = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
    containers_ended_at(pod).or(unready).or(requested).or(made).unwrap_or(now)
}

/// When the last container ended, if all have: the ordinary ones and the sidecars, which end after
/// them.
fn containers_ended_at(pod: &Pod) -> Option<Timestamp> {
    let init = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
    let sidecars: Vec<&str> =
        init.filter(|c| c.restart_policy.as_deref() == Some("Always")).map(|c| c.name.as_str()).collect();
    let status = pod.status.as_ref()?;
    let first = status.init_container_statuses.iter().flatten();
    let all = first.filter(|c| sidecars.contains(&c.name.as_str()));
    let all = all.chain(status.container_statuses.iter().flatten());
    let ends: Option<Vec<Timestamp>> =
        all.map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)).collect();
    ends?.into_iter().max()
}

/// The pause after so many failures in a row.
pub(super) fn pause(failures: i32) -> Duration {
    match failures {
        ..=0 => Duration::ZERO,
        n => BACKOFF.0.saturating_mul(1 << (n - 1).min(20)).min(BACKOFF.1),
    }
}

/// Pure: has a finished job outlived its `ttlSecondsAfterFinished`? If not, what is left of them.
pub(super) fn expiry(job: &Job, now: Timestamp) -> (bool, Option<Duration>) {
    let ttl = job.spec.as_ref().and_then(|s| s.ttl_seconds_after_finished);
    let (Some(ttl), Some(end)) = (ttl, finished(job)) else { return (false, None) };
    let since = end.last_transition_time.as_ref().map_or(now, |t| t.0);
    let left = clock::left(since, Duration::from_secs(ttl.max(0) as u64), now);
    (left.is_none(), left)
}

/// Pure: what to do about a job whose pods are these. `settled`: all earlier writes have been seen,
/// so the pods may be counted.
pub fn decide(job: &Job, pods: &[Arc<Pod>], memory: &Memory, settled: bool, now: Timestamp) -> Plan {
    let spec = job.spec.clone().unwrap_or_default();
    let status = job.status.clone().unwrap_or_default();
    let held = || pods.iter().filter(|p| is_tracked(p)).map(name).collect();
    if finished(job).is_some() {
        let (expired, again) = expiry(job, now);
        return Plan { release: held(), status, expired, again, ..Plan::default() };
    }
    if job.metadata.deletion_timestamp.is_some() {
        return Plan { release: held(), status, ..Plan::default() };
    }
    let mut case = Case::new(&spec, status, pods, memory, now);
    case.count();
    case.remember_ends(memory.known.may_be_newer_than(&job.metadata.resource_version));
    case.suspend_or_resume();
    let end = case.end();
    match end {
        Some(end) => case.finish(end, settled),
        None if !settled => {}
        None => {
            case.manage();
            if case.complete() {
                let told = "Reached expected number of succeeded pods";
                let end = End { good: true, reason: "CompletionsReached".into(), message: told.into() };
                case.end_with(end, settled);
            }
        }
    }
    case.plan(settled)
}

/// A job on the way: what is known so far, and what is to be done about it.
pub(super) struct Case<'a> {
    pub(super) spec: &'a JobSpec,
    pub(super) pods: &'a [Arc<Pod>],
    memory: &'a Memory,
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
    pub(super) plan: Plan,
}

impl<'a> Case<'a> {
    fn new(
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
            terminating: pods.iter().filter(|p| p.metadata.deletion_timestamp.is_some() && !ended(p)).count(),
            broken: None,
            plan: Plan { status, ..Plan::default() },
        }
    }

    /// A pod that is going counts as failed at once, unless its replacement has to wait for its
    /// end.
    pub(super) fn replaces_late(&self) -> bool {
        self.spec.pod_replacement_policy.as_deref() == Some("Failed")
    }

    /// The job has failed, and its pods with it: none of them is replaced.
    fn fails(&self) -> bool {
        condition(&self.plan.status, "FailureTarget").is_some()
    }

    pub(super) fn has_failed(&self, pod: &Pod) -> bool {
        let going = pod.metadata.deletion_timestamp.is_some() && pods::phase(pod) != "Succeeded";
        let bound = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
        let is_awaited = self.replaces_late() && bound && !self.fails();
        pods::phase(pod) == "Failed" || (going && !is_awaited)
    }

    pub(super) fn suspended(&self) -> bool {
        self.spec.suspend.unwrap_or(false)
    }

    pub(super) fn succeeded(&self) -> i32 {
        match self.indexed {
            true => self.done.len(),
            false => {
                self.plan.status.succeeded.unwrap_or(0)
                    + self.uncounted.succeeded.iter().flatten().count() as i32
            }
        }
    }

    pub(super) fn failed(&self) -> i32 {
        self.plan.status.failed.unwrap_or(0) + self.uncounted.failed.iter().flatten().count() as i32
    }

    /// Moves uids from "ended" to "noted" to "counted".
    fn count(&mut self) {
        let held: BTreeSet<&str> = self.pods.iter().filter(|p| is_tracked(p)).map(|p| uid(p)).collect();
        let flush = |noted: &mut Option<Vec<String>>, count: &mut Option<i32>| {
            let all = noted.take().unwrap_or_default();
            let (waiting, counted): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|u| held.contains(u.as_str()));
            let sum = count.unwrap_or(0) + counted.len() as i32;
            *count = (sum > 0).then_some(sum);
            *noted = (!waiting.is_empty()).then_some(waiting);
        };
        flush(&mut self.uncounted.succeeded, &mut self.plan.status.succeeded);
        flush(&mut self.uncounted.failed, &mut self.plan.status.failed);
        for pod in self.pods.iter().filter(|p| is_tracked(p)) {
            let is_known = self.is_known(pod);
            if pods::phase(pod) == "Succeeded" {
                match self.indexed {
                    // A deleted pod counts as failed, whatever its program says at its end.
                    true if self.uncounted.failed.iter().flatten().any(|u| u == uid(pod)) => {}
                    true => self.done.extend(index_of(pod).filter(|i| *i < self.completions)),
                    false if is_known => {}
                    false => self.uncounted.succeeded.get_or_insert_default().push(uid(pod).into()),
                }
            } else if self.has_failed(pod) && !is_known {
                self.note_failure(pod);
            }
        }
        self.find_awaiting();
        let release = self.pods.iter().filter(|p| is_tracked(p) && self.may_go(p)).map(name).collect();
        self.plan.release = release;
    }

    /// Pods that the controller has deleted itself have not failed.
    /// `is_old`: the status may lack what was counted last.
    fn remember_ends(&mut self, is_old: bool) {
        let has_ended = |p: &Pod| pods::phase(p) == "Succeeded" || self.has_failed(p);
        let ended = self.pods.iter().filter(|p| has_ended(p) && !self.memory.dismissed.contains(uid(p)));
        let end = |p: &Pod| (ended_at(p, self.now), pods::phase(p) == "Succeeded");
        let there: Ends = ended.map(|p| (uid(p).to_string(), end(p))).collect();
        let counted = (!is_old).then(|| usize::try_from(self.failed()).unwrap_or(0));
        self.plan.remembered = ends::remembered(&self.memory.known.ends, there, counted);
    }

    /// The pod's uid is already written into the status.
    fn is_known(&self, pod: &Pod) -> bool {
        let noted = self.uncounted.succeeded.iter().chain(&self.uncounted.failed);
        noted.flatten().any(|u| u == uid(pod))
    }

    fn note_failure(&mut self, pod: &Arc<Pod>) {
        let verdict = failure::verdict(self.spec.pod_failure_policy.as_ref(), pod);
        let index = index_of(pod).filter(|i| self.indexed && *i < self.completions);
        let limit = self.spec.backoff_limit_per_index;
        // One that the end of the job cuts off says nothing about its index.
        let is_cut_off = self.fails() && self.replaces_late() && !ended(pod);
        let is_last = limit.is_some_and(|l| failures_of(pod).0 >= l && verdict == Verdict::Count);
        if (is_last || verdict == Verdict::FailIndex) && !is_cut_off {
            self.lost.extend(index.filter(|i| !self.done.contains(*i)));
        }
        if let Verdict::FailJob(why) = &verdict {
            self.broken.get_or_insert(why.clone());
        }
        if verdict != Verdict::Ignore && (!self.indexed || index.is_some()) {
            self.uncounted.failed.get_or_insert_default().push(uid(pod).into());
        }
    }

    /// Finds the pods that the next pods of their indexes have to know. There is none for an index
    /// that is done or lost, nor for one with an active pod: that one carries the counts already.
    ///
    /// ```text
    /// index 0   p1 failed                          p1 waits for its successor
    /// index 0   p1 failed, p2 active               none: p1 may go, though its failure was ignored
    /// index 0   p1 failed, p2 failed after it      p2 waits, p1 may go
    /// ```
    fn find_awaiting(&mut self) {
        if !self.indexed || self.spec.backoff_limit_per_index.is_none() {
            return;
        }
        let active: BTreeSet<i32> = self.active.iter().filter_map(|p| index_of(p)).collect();
        let is_open = |i: &i32| {
            *i < self.completions && !self.done.contains(*i) && !self.lost.contains(*i) && !active.contains(i)
        };
        let mut found: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
        for pod in self.pods.iter().filter(|p| is_tracked(p) && self.has_failed(p)) {
            let Some(index) = index_of(pod).filter(is_open) else { continue };
            let rank = |p: &Pod| (all_failures_of(p), ended_at(p, self.now));
            if found.get(&index).is_none_or(|last| rank(last) <= rank(pod)) {
                found.insert(index, pod.clone());
            }
        }
        self.awaiting = found;
    }

    /// May the pod's finalizer go? Only of a pod that has ended, or is counted as failed; and the
    /// last failed pod of an index keeps it until its successor is there.
    fn may_go(&self, pod: &Arc<Pod>) -> bool {
        let has_ended = pods::phase(pod) == "Succeeded" || self.has_failed(pod) || self.is_known(pod);
        let last = index_of(pod).and_then(|index| self.awaiting.get(&index));
        let awaits = last.is_some_and(|p| uid(p) == uid(pod));
        has_ended && (!awaits || self.ending().is_some())
    }

    fn suspend_or_resume(&mut self) {
        let was = condition(&self.plan.status, "Suspended").is_some();
        // A job that is complete is not suspended any more.
        let ending = self.ending().is_some() || (self.active.is_empty() && self.has_enough());
        if self.suspended() && !ending {
            if !was {
                self.set("Suspended", "True", "JobSuspended", "Job suspended");
                self.plan.told.push((false, "Suspended".into(), "Job suspended".into()));
            }
        } else if was && !self.suspended() {
            self.set("Suspended", "False", "JobResumed", "Job resumed");
            self.plan.told.push((false, "Resumed".into(), "Job resumed".into()));
            self.plan.status.start_time = None;
        }
        if !self.suspended() && self.plan.status.start_time.is_none() {
            self.plan.status.start_time = Some(Time(self.now));
        }
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

    fn plan(mut self, settled: bool) -> Plan {
        let status = &mut self.plan.status;
        if self.indexed {
            let text = self.done.to_string();
            status.completed_indexes = (!text.is_empty()).then_some(text);
            status.succeeded = (!self.done.is_empty()).then_some(self.done.len());
            if self.spec.backoff_limit_per_index.is_some() {
                status.failed_indexes = Some(self.lost.to_string());
            }
        }
        if settled {
            let active =
                self.active.len() + self.plan.create.len() - self.plan.delete.len().min(self.active.len());
            status.active = (active > 0).then_some(active as i32);
        }
        let going = |p: &&Arc<Pod>| self.plan.delete.contains(&name(p));
        let stay = self.active.iter().filter(|p| !going(p));
        status.ready = Some(stay.filter(|p| pods::ready_since(p).is_some()).count() as i32);
        status.terminating = Some(self.terminating as i32);
        status.uncounted_terminated_pods = Some(self.uncounted);
        self.plan
    }
}
