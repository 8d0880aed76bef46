//! How a Job ends: by success, by too many failures, by a rule, or because its time is up. An end
//! is announced first (SuccessCriteriaMet, FailureTarget) and becomes final (Complete, Failed) when
//! the last pod has ended and is counted.

use super::case::Case;
use super::facts::{condition, is_tracked, name};
use super::indexes::Indexes;
use crate::notice::Notice;
use crate::pods::has_ended;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;
use std::time::Duration;

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub good: bool,
    pub reason: String,
    pub message: String,
}

impl End {
    fn failed(reason: &str, message: impl Into<String>) -> Option<End> {
        Some(End { good: false, reason: reason.into(), message: message.into() })
    }
    fn good(reason: &str, message: impl Into<String>) -> Option<End> {
        Some(End { good: true, reason: reason.into(), message: message.into() })
    }
}

impl Case<'_> {
    /// Returns the end that was announced in an earlier look.
    pub(super) fn ending(&self) -> Option<End> {
        let found = [("FailureTarget", false), ("SuccessCriteriaMet", true)].into_iter();
        let (announced, good) =
            found.filter_map(|(kind, good)| Some((condition(&self.plan.status, kind)?, good))).next()?;
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        Some(End { good, reason: text(&announced.reason), message: text(&announced.message) })
    }

    /// Returns how the Job ends, well or badly; `None`: it goes on.
    ///
    /// The first cause that holds stays in the conditions of the Job:
    ///
    /// ```text
    /// a rule of podFailurePolicy said FailJob      Failed, PodFailurePolicy
    /// backoffLimit 2, three pods failed            Failed, BackoffLimitExceeded
    /// activeDeadlineSeconds are over               Failed, DeadlineExceeded
    /// more than maxFailedIndexes are lost          Failed, MaxFailedIndexesExceeded
    /// every index is done or lost, one is lost     Failed, FailedIndexes
    /// a rule of successPolicy holds                Complete, SuccessPolicy
    /// ```
    ///
    /// That enough pods have succeeded is no end of this kind: it is found after the pods are
    /// managed.
    pub(super) fn end(&mut self) -> Option<End> {
        if let Some(end) = self.ending() {
            return Some(end);
        }
        if let Some(why) = self.broken.take() {
            return End::failed("PodFailurePolicy", why);
        }
        let limit = self.spec.backoff_limit.unwrap_or(6);
        if self.failed() > limit || self.restarted_too_often(limit) {
            return End::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }
        if let (Some(seconds), Some(start)) =
            (self.spec.active_deadline_seconds, &self.plan.status.start_time)
            && !self.suspended()
        {
            match clock::left(start.0, Duration::from_secs(seconds.max(0) as u64), self.now) {
                None => {
                    return End::failed("DeadlineExceeded", "Job was active longer than specified deadline");
                }
                left => self.look_again(left),
            }
        }
        if self.indexed && !self.lost.is_empty() {
            if self.spec.max_failed_indexes.is_some_and(|max| self.lost.len() > max) {
                let message = "Job has exceeded the specified maximal number of failed indexes";
                return End::failed("MaxFailedIndexesExceeded", message);
            }
            if self.lost.len().saturating_add(self.done.len()) >= self.completions {
                return End::failed("FailedIndexes", "Job has failed indexes");
            }
        }
        self.successful_enough()
    }

    /// Returns whether the restarts of containers have reached the limit, where pods restart their
    /// own containers and are not replaced.
    ///
    /// With `restartPolicy: OnFailure` the kubelet starts the container again in the same pod: no
    /// pod fails, and `backoffLimit` would never be reached. The restarts of all pods that have not
    /// ended are added up, of those that are going too. Upstream: `pastBackoffLimitOnFailure`.
    fn restarted_too_often(&self, limit: i32) -> bool {
        let template = self.spec.template.spec.as_ref();
        if template.and_then(|s| s.restart_policy.as_deref()) != Some("OnFailure") {
            return false;
        }
        let statuses = self.pods.iter().filter(|p| !has_ended(p)).filter_map(|p| p.status.as_ref());
        let containers =
            statuses.flat_map(|s| s.init_container_statuses.iter().chain(&s.container_statuses).flatten());
        let restarts = containers.fold(0i32, |n, c| n.saturating_add(c.restart_count));
        if limit == 0 { restarts > 0 } else { restarts >= limit }
    }

    /// Returns the end by the first rule of `spec.successPolicy` that is met.
    ///
    /// A rule with `succeededIndexes: "0,2-3"` and `succeededCount: 2` is met when two of the
    /// indexes 0, 2 and 3 are done. Example: the leader of a parallel computation has index 0; when
    /// it succeeds the workers are not needed any more (KEP-3998). No rule is met before a pod has
    /// succeeded. Upstream: `matchSuccessPolicy`.
    fn successful_enough(&self) -> Option<End> {
        let policy = self.spec.success_policy.as_ref().filter(|_| self.indexed)?;
        let met = policy.rules.iter().position(|rule| {
            let among: Option<Indexes> =
                rule.succeeded_indexes.as_deref().map(|text| Indexes::parse(text, self.completions));
            let have = match &among {
                Some(wanted) => wanted.common(&self.done),
                None => self.done.len(),
            };
            // A rule that names no index is never met: none of its pods can succeed.
            let is_empty = among.as_ref().is_some_and(Indexes::is_empty) || self.done.is_empty();
            let need = rule.succeeded_count.unwrap_or(among.map_or(i32::MAX, |a| a.len()));
            !is_empty && have >= need
        })?;
        End::good("SuccessPolicy", format!("Matched rules at index {met}"))
    }

    fn remaining(&self) -> usize {
        self.active.len().saturating_sub(self.plan.delete.len())
    }

    pub(super) fn complete(&self) -> bool {
        self.remaining() == 0 && self.plan.create.is_empty() && self.has_enough()
    }

    /// Returns whether as many pods have succeeded as are wanted.
    pub(super) fn has_enough(&self) -> bool {
        match self.spec.completions {
            None => self.succeeded() > 0,
            Some(all) => self.succeeded() >= all,
        }
    }

    /// Announces the end; it becomes final when no pod is left to wait for. Until all writes have
    /// been seen (`settled`) there may be pods that are not known: nothing would end them later.
    ///
    /// Why in two steps: a client that sees `Complete` may start what depends on the Job, so no pod
    /// of the Job may run any more. `SuccessCriteriaMet` says earlier how it will end.
    pub(super) fn end_with(&mut self, end: End, settled: bool) {
        if self.ending().is_none() {
            let kind = if end.good { "SuccessCriteriaMet" } else { "FailureTarget" };
            self.set(kind, "True", &end.reason, &end.message);
        }
        let noted = self.uncounted.succeeded.is_some() || self.uncounted.failed.is_some();
        let held = self.pods.iter().any(|p| is_tracked(p));
        if !settled || noted || held || self.terminating > 0 || !self.active.is_empty() {
            return;
        }
        if end.good {
            self.set("Complete", "True", &end.reason, &end.message);
            self.plan.status.completion_time = Some(Time(self.now));
            if self.spec.completions.is_some_and(|all| self.succeeded() > all) {
                let message = "Too many succeeded pods running after completion count reached";
                self.plan.notices.push(Notice::warning("TooManySucceededPods", message));
            }
            self.plan.notices.push(Notice::normal("Completed", "Job completed"));
        } else {
            self.set("Failed", "True", &end.reason, &end.message);
            self.plan.notices.push(Notice::warning(end.reason, end.message));
        }
    }

    /// Ends the job: its active pods are deleted, and all that are counted are let go.
    ///
    /// ```text
    /// indexes 0 and 1 run, a rule of successPolicy asks for 1 alone, and 1 succeeds
    /// the pod of 0 is deleted; succeeded 1, failed 0 (upstream: `TestSuccessPolicy`)
    /// ```
    pub(super) fn finish(&mut self, end: End, settled: bool) {
        self.plan.ends = true;
        self.plan.delete = self.active.iter().map(name).collect();
        // Those that are counted by now; nothing has to wait for a successor. What a bad end found
        // still running counts as failed in the next look, when it is going. What a success found
        // still running, or going, has not failed: it is let go before it is deleted (upstream:
        // `canRemoveFinalizer`).
        let may_go = |p: &&Arc<Pod>| is_tracked(p) && (end.good || has_ended(p) || self.has_failed(p));
        let release: Vec<String> = self.pods.iter().filter(may_go).map(name).collect();
        self.end_with(end, settled);
        self.plan.release = release;
    }
}

#[cfg(test)]
mod tests;
