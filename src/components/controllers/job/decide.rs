//! What to do about one Job now. [`decide`] is pure.
//!
//! An ended pod is counted exactly once, whatever crashes when: first its uid is written into
//! `status.uncountedTerminatedPods`, then the finalizer that keeps the pod is taken off, and only
//! when the pod is seen without it does the uid become part of the count.

use super::case::{Case, Memory, Plan};
use super::ending::End;
use super::ends::{self, Ends, How};
use super::facts::{
    all_failures_of, condition, ended_at, failures_of, finished, index_of, is_tracked, name, uid,
};
use super::failure::{self, Verdict};
use crate::notice::Notice;
use crate::pods;
use clock::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Pure: returns whether a finished job has outlived its `ttlSecondsAfterFinished`, and if not,
/// what is left of them.
///
/// `ttlSecondsAfterFinished: 100`, finished at 10:00:00: at 10:01:00 `(false, 40 s)`, at 10:02:00
/// `(true, None)`. A Job without the field is never deleted by this controller.
pub(super) fn expiry(job: &Job, now: Timestamp) -> (bool, Option<Duration>) {
    let ttl = job.spec.as_ref().and_then(|s| s.ttl_seconds_after_finished);
    let (Some(ttl), Some(end)) = (ttl, finished(job)) else { return (false, None) };
    let since = end.last_transition_time.as_ref().map_or(now, |t| t.0);
    let left = clock::left(since, Duration::from_secs(ttl.max(0) as u64), now);
    (left.is_none(), left)
}

/// Pure: what to do about a job whose pods are these. `settled`: all earlier writes have been seen,
/// so the pods may be counted.
///
/// Three completions, two at a time (the script `golden/completions`; upstream: `syncJob`):
///
/// ```text
/// no pod                            create two
/// p1 succeeded, p2 runs             count p1, create p3
/// p1, p2, p3 succeeded              count them, announce the end: SuccessCriteriaMet
/// all three are counted             Complete
/// ```
///
/// `settled` false: the Job may have pods that the cache does not show yet. Ended pods are counted
/// all the same, because that only writes down facts. No pod is made, and none is deleted unless
/// the Job ends.
///
/// A Job that is being deleted makes no pod either, and keeps none. Its status stays true as long
/// as a finalizer holds it: a pod that has ended is counted, one that runs is let go uncounted.
pub(crate) fn decide(job: &Job, pods: &[Arc<Pod>], memory: &Memory, settled: bool, now: Timestamp) -> Plan {
    let spec = job.spec.clone().unwrap_or_default();
    let status = job.status.clone().unwrap_or_default();
    let held = || pods.iter().filter(|p| is_tracked(p)).map(name).collect();
    if finished(job).is_some() {
        let (expired, again) = expiry(job, now);
        return Plan { release: held(), status, expired, again, ..Plan::default() };
    }
    let is_going = job.metadata.deletion_timestamp.is_some();
    let mut case = Case::new(&spec, status, pods, memory, now);
    case.is_going = is_going;
    case.count();
    case.remember_ends(memory.known.may_be_newer_than(&job.metadata.resource_version));
    case.start_or_resume();
    let end = case.end();
    match end {
        Some(end) => case.finish(end, settled),
        None if !settled => {}
        None => {
            if !is_going {
                case.manage();
            }
            if case.complete() {
                let message = "Reached expected number of succeeded pods";
                let end = End { good: true, reason: "CompletionsReached".into(), message: message.into() };
                case.end_with(end, settled);
            } else if !is_going {
                case.report_suspension();
            }
        }
    }
    let plan = case.plan(settled);
    if is_going { Plan { release: held(), ..plan } } else { plan }
}

impl Case<'_> {
    /// Moves uids from "ended" to "noted" to "counted".
    ///
    /// Each look takes a pod one step further. If the controller dies between two steps, the next
    /// one finds on which step the pod is (KEP-2307, upstream:
    /// `trackJobStatusAndRemoveFinalizers`):
    ///
    /// ```text
    /// look   the pod (uid u1) has     status afterwards               then
    /// 1      ended, has a finalizer   succeeded 0, uncounted [u1]     the finalizer is taken off
    /// 2      ended, has none          succeeded 1, uncounted []
    /// ```
    ///
    /// Counting at once and taking the finalizer off later would count p1 twice after a crash; the
    /// other order would lose it. In an Indexed Job a success needs no list: its index is added to
    /// `completedIndexes`, and adding it twice changes nothing.
    fn count(&mut self) {
        let held: BTreeSet<&str> = self.pods.iter().filter(|p| is_tracked(p)).map(|p| uid(p)).collect();
        let flush = |noted: &mut Option<Vec<String>>, count: &mut Option<i32>| {
            let all = noted.take().unwrap_or_default();
            let (waiting, counted): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|u| held.contains(u.as_str()));
            let sum = count.unwrap_or(0).saturating_add(counted.len() as i32);
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

    /// Remembers when pods ended. The pause before the next pod depends on when the last ones
    /// failed, and failed pods may be deleted by then (upstream: the back-off store). Pods that the
    /// controller has deleted itself have not failed.
    ///
    /// `is_old`: the status may lack what was counted last.
    fn remember_ends(&mut self, is_old: bool) {
        let has_ended = |p: &Pod| pods::phase(p) == "Succeeded" || self.has_failed(p);
        let ended = self.pods.iter().filter(|p| has_ended(p) && !self.memory.dismissed.contains(uid(p)));
        let verdict = |p: &Pod| failure::verdict(self.spec.pod_failure_policy.as_ref(), p);
        let how = |p: &Pod| match pods::phase(p) {
            "Succeeded" => How::Succeeded,
            _ if verdict(p) == Verdict::Ignore => How::Ignored,
            _ => How::Failed,
        };
        let end = |p: &Pod| (ended_at(p, self.now), how(p));
        let there: Ends = ended.map(|p| (uid(p).to_string(), end(p))).collect();
        let counted = (!is_old).then(|| usize::try_from(self.failed()).unwrap_or(0));
        self.plan.remembered = ends::remembered(&self.memory.known.ends, there, counted);
    }

    /// Returns whether the pod's uid is already written into the status.
    fn is_known(&self, pod: &Pod) -> bool {
        let noted = self.uncounted.succeeded.iter().chain(&self.uncounted.failed);
        noted.flatten().any(|u| u == uid(pod))
    }

    /// Notes the end of a pod that has failed, and what it means for its index and for the Job.
    ///
    /// With `backoffLimitPerIndex: 1` (KEP-3850) the first pod of index 4 carries the count 0 and
    /// its successor 1. When the successor fails too, its count has reached the limit: index 4 is
    /// lost, and the other indexes go on.
    fn note_failure(&mut self, pod: &Arc<Pod>) {
        let verdict = failure::verdict(self.spec.pod_failure_policy.as_ref(), pod);
        let index = index_of(pod).filter(|i| self.indexed && *i < self.completions);
        let limit = self.spec.backoff_limit_per_index;
        // One that the end of the job cuts off says nothing about its index.
        let is_cut_off = self.fails() && self.replaces_late() && !pods::has_ended(pod);
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

    /// Returns whether the pod's finalizer may go: only that of a pod that has ended, or is counted
    /// as failed; and the last failed pod of an index keeps it until its successor is there.
    fn may_go(&self, pod: &Arc<Pod>) -> bool {
        let has_ended = pods::phase(pod) == "Succeeded" || self.has_failed(pod) || self.is_known(pod);
        let last = index_of(pod).and_then(|index| self.awaiting.get(&index));
        let awaits = last.is_some_and(|p| uid(p) == uid(pod));
        has_ended && (!awaits || self.ending().is_some())
    }

    /// Sets `startTime`, anew for a Job that is resumed: the time of its suspension does not count
    /// towards `activeDeadlineSeconds`.
    fn start_or_resume(&mut self) {
        if self.suspended() {
            return;
        }
        if !self.is_going && condition(&self.plan.status, "Suspended").is_some() {
            self.set("Suspended", "False", "JobResumed", "Job resumed");
            self.plan.notices.push(Notice::normal("Resumed", "Job resumed"));
            self.plan.status.start_time = None;
        }
        self.plan.status.start_time.get_or_insert(Time(self.now));
    }

    /// Sets the condition Suspended of a Job with `suspend: true`, whose active pods are deleted
    /// and whose counts stay. It is set once the pods are deleted, and only if the Job has not
    /// ended, as upstream: one without `completions` is complete as soon as a pod has succeeded and
    /// no other is active.
    ///
    /// ```text
    /// completions   succeeded   active   suspended: then
    /// 3             1           2        Suspended, no active pod
    /// none          1           2        Complete, no active pod
    /// ```
    fn report_suspension(&mut self) {
        if self.suspended() && condition(&self.plan.status, "Suspended").is_none() {
            self.set("Suspended", "True", "JobSuspended", "Job suspended");
            self.plan.notices.push(Notice::normal("Suspended", "Job suspended"));
        }
    }

    /// Writes what was counted into the status. The number of active pods is that after the plan:
    /// with 1 active pod and 1 to create it is 2. While earlier writes are unseen the old number
    /// stays.
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
        let ready = stay.filter(|p| pods::ready_since(p).is_some()).count() as i32;
        // The cache may still show pods that were deleted, and the old number of active pods does
        // not count them. The API server takes no status with more ready pods than active ones.
        status.ready = Some(ready.min(status.active.unwrap_or(0)));
        status.terminating = Some(self.terminating as i32);
        status.uncounted_terminated_pods = Some(self.uncounted);
        self.plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::world::World;
    use serde_json::json;

    /// The Job was suspended, and the cache does not show yet that its pods are going. Upstream:
    /// `RejectMoreReadyThanActivePods`.
    #[test]
    fn no_more_pods_are_ready_than_active_while_earlier_writes_are_unseen() {
        let mut w = World::new(json!({"completions": 2, "parallelism": 2}));
        w.settle();
        for pod in &mut w.pods {
            let ready = json!([{"type": "Ready", "status": "True"}]);
            pod.status.as_mut().unwrap().conditions = serde_json::from_value(ready).unwrap();
        }
        assert_eq!(w.look().status.ready, Some(2));
        w.job.spec.as_mut().unwrap().suspend = Some(true);
        w.job.status = Some(w.look().status);
        let pods: Vec<Arc<Pod>> = w.pods.iter().cloned().map(Arc::new).collect();
        let status = decide(&w.job, &pods, &Memory::default(), false, w.now).status;
        assert_eq!((status.active, status.ready), (None, Some(0)));
    }

    /// Another controller's finalizer keeps the Job, and its pods run on. Upstream: `syncJob` calls
    /// `manageJob` only for a Job without a `deletionTimestamp`, and writes the status in any case.
    #[test]
    fn a_job_that_is_being_deleted_makes_no_pods_and_counts_those_that_it_has() {
        let mut w = World::new(json!({"completions": 3, "parallelism": 2, "backoffLimit": 0}));
        w.settle();
        w.end("p1", 0);
        w.job.metadata.deletion_timestamp = Some(Time(w.now));
        w.settle();
        assert_eq!((w.counts().as_str(), w.made), ("1/1/0", 2));
        assert!(w.pods.iter().all(|p| p.metadata.finalizers.is_none()), "no pod is kept");
        w.end("p2", 0);
        w.settle();
        assert_eq!(w.counts(), "0/1/0", "it was let go while it ran");
    }

    /// As by `kubectl delete --cascade=foreground`, if the pod is seen to go first.
    #[test]
    fn a_pod_that_goes_with_its_job_has_not_failed() {
        let mut w = World::new(json!({"completions": 1, "backoffLimit": 0}));
        w.settle();
        w.job.metadata.deletion_timestamp = Some(Time(w.now));
        w.delete("p1", 30);
        w.settle();
        assert_eq!((w.counts().as_str(), w.conditions().len()), ("0/0/0", 0));
        assert_eq!(w.job.status.as_ref().unwrap().terminating, Some(1));
        assert!(w.pods[0].metadata.finalizers.is_none());
    }
}
