//! How many pods a Job has at a time, and which: more are made (after a failure, with a pause), too
//! many are sent away.

use super::case::{Case, New};
use super::ends;
use super::facts::{all_failures_of, ended_at, failures_of, index_of, name};
use super::failure::{self, Verdict};
use crate::pods;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeSet;
use std::time::Duration;

/// Pods made or deleted in one go, at most.
const BURST: usize = 500;

/// The pause before a failed pod is replaced: doubled at each further failure, up to the second
/// value.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// Returns the pause after so many failures in a row.
///
/// 1 failure 10 s, 2 failures 20 s, 3 failures 40 s, and so on; from 7 failures on 600 s. A success
/// begins anew. Upstream: `DefaultJobPodFailureBackOff` and `MaxJobPodFailureBackOff`.
fn pause(failures: i32) -> Duration {
    match failures {
        ..=0 => Duration::ZERO,
        n => BACKOFF.0.saturating_mul(1 << (n - 1).min(20)).min(BACKOFF.1),
    }
}

impl Case<'_> {
    /// Makes and deletes pods until there are as many as wanted.
    ///
    /// Upstream: `manageJob`.
    ///
    /// ```text
    /// completions  parallelism  succeeded  active   so many are wanted
    /// 5            3            0          0        3: create three
    /// 5            3            4          1        1: only one completion is missing
    /// 5            1            0          3        1: parallelism was lowered, delete two
    /// none         3            0          3        3
    /// none         3            1          2        2: one success is enough, create no more
    /// ```
    ///
    /// Without `completions` the pods take work from a queue of their own: if one of them says that
    /// the queue is empty, the others finish what they have.
    pub(super) fn manage(&mut self) {
        // Unlike a ReplicaSet's, however many of them are on one node (`activePodsForRemoval`).
        let ranked = pods::least_useful_first(&self.active, None);
        if self.suspended() {
            self.plan.delete = ranked.iter().map(name).collect();
            self.plan.release.extend(self.plan.delete.iter().cloned());
            return;
        }
        let (succeeded, active) = (self.succeeded(), self.active.len() as i32);
        let parallelism = self.spec.parallelism.unwrap_or(1);
        let wanted = match self.spec.completions {
            None if succeeded > 0 => active,
            None => parallelism,
            Some(all) => {
                parallelism.min(all.saturating_sub(succeeded).saturating_sub(self.lost.len())).max(0)
            }
        };
        let mut seen: BTreeSet<i32> = BTreeSet::new();
        if self.indexed {
            // The most useful pod of an index stays. Doubles go first, and so do the pods of
            // indexes that are no more.
            for pod in ranked.iter().rev() {
                let index = index_of(pod).filter(|i| *i < self.completions && !self.done.contains(*i));
                if index.is_none_or(|i| !seen.insert(i)) {
                    self.plan.delete.push(name(pod));
                }
            }
        }
        let surplus = active.saturating_sub(wanted).max(0) as usize;
        for pod in &ranked {
            if self.plan.delete.len() < surplus && !self.plan.delete.contains(&name(pod)) {
                self.plan.delete.push(name(pod));
            }
        }
        self.plan.delete.truncate(BURST);
        self.plan.release.extend(self.plan.delete.iter().cloned());
        if !self.plan.delete.is_empty() {
            return;
        }
        let late = if self.replaces_late() { self.terminating as i32 } else { 0 };
        let missing = wanted.saturating_sub(active).saturating_sub(late).clamp(0, BURST as i32) as usize;
        if missing == 0 {
            return;
        }
        match (self.indexed, self.spec.backoff_limit_per_index.is_some()) {
            (true, by_index) => self.make_indexes(missing, seen, by_index),
            (false, _) => {
                if self.waits_for_backoff() {
                    return;
                }
                self.plan.create = vec![New::default(); missing];
            }
        }
    }

    /// Returns whether the next pod has to wait: after failures with no success since, also if the
    /// failed pods are gone.
    fn waits_for_backoff(&mut self) -> bool {
        let (failures, last) = ends::failures(&self.plan.remembered);
        let wait = last.and_then(|at| clock::left(at, pause(failures), self.now));
        self.look_again(wait);
        wait.is_some()
    }

    /// Plans pods for so many of the missing indexes. `completions: 10`, `parallelism: 3`, indexes
    /// 0 and 1 done, 2 active: creates the pods of 3 and 4. With `backoffLimitPerIndex`, if the pod
    /// of 3 has just failed, 3 waits for its pause and 4 is created alone.
    fn make_indexes(&mut self, missing: usize, mut taken: BTreeSet<i32>, by_index: bool) {
        if self.replaces_late() {
            let going = self.pods.iter().filter(|p| pods::is_terminating(p));
            taken.extend(going.filter_map(|p| index_of(p)));
        }
        if !by_index && self.waits_for_backoff() {
            return;
        }
        // Whole intervals are stepped over: the work grows with the pods there are, not with
        // `completions`. An index in its pause has its turn: no later one is taken in its place.
        let (mut next, mut looked_at) = (Some(0), 0);
        while let Some(index) = next.filter(|i| *i < self.completions && looked_at < missing) {
            let free = self.done.next_outside(index).and_then(|i| self.lost.next_outside(i));
            if free != Some(index) {
                next = free;
                continue;
            }
            next = index.checked_add(1);
            if taken.contains(&index) {
                continue;
            }
            looked_at += 1;
            let last = self.awaiting.get(&index).cloned();
            let wait = last.as_deref().and_then(|last| {
                // Ignored failures lengthen the pause too, or they would be repeated without any.
                let failures = all_failures_of(last).saturating_add(1);
                clock::left(ended_at(last, self.now), pause(failures), self.now)
            });
            self.look_again(wait);
            if wait.is_none() {
                self.plan.create.push(self.successor(index, last.as_deref(), by_index));
            }
        }
    }

    /// Returns the next pod of an index. With `backoffLimitPerIndex` it takes the counts over from
    /// the index's last failed pod: one that fails as the first pod of its index is followed by one
    /// with 1 counted failure or with 1 ignored failure.
    fn successor(&self, index: i32, last: Option<&Pod>, by_index: bool) -> New {
        let (failures, ignored) = last.map_or((0, 0), |last| {
            let (failures, ignored) = failures_of(last);
            match failure::verdict(self.spec.pod_failure_policy.as_ref(), last) {
                Verdict::Ignore => (failures, ignored.saturating_add(1)),
                _ => (failures.saturating_add(1), ignored),
            }
        });
        New { index: Some(index), failures: by_index.then_some(failures), ignored }
    }
}

#[cfg(test)]
mod tests {
    use crate::job::world::World;
    use serde_json::json;

    /// A ReplicaSet gives up one of two on the same node.
    #[test]
    fn where_the_pods_are_does_not_decide_which_of_them_goes() {
        let mut w = World::new(json!({"completions": 9, "parallelism": 3}));
        w.settle();
        w.pods[0].spec.as_mut().unwrap().node_name = Some("alone".into());
        w.job.spec.as_mut().unwrap().parallelism = Some(2);
        assert_eq!(w.look().delete, ["p1"]);
    }

    #[test]
    fn a_deletion_cost_does_not_decide_either() {
        let mut w = World::new(json!({"completions": 9, "parallelism": 3}));
        w.settle();
        let annotations = w.pods[2].metadata.annotations.get_or_insert_default();
        annotations.insert("controller.kubernetes.io/pod-deletion-cost".into(), "-1".into());
        w.job.spec.as_mut().unwrap().parallelism = Some(2);
        assert_eq!(w.look().delete, ["p1"]);
    }

    /// Its node is drained, and the pod is gone long before the pause is over.
    #[test]
    fn the_pause_after_an_ignored_failure_outlives_the_pod() {
        let disrupted = json!([{"type": "DisruptionTarget", "status": "True"}]);
        let rules = json!({"rules": [{"action": "Ignore", "onPodConditions": disrupted}]});
        let mut w = World::new(
            json!({"completions": 1, "podFailurePolicy": rules, "podReplacementPolicy": "Failed"}),
        );
        w.settle();
        w.delete("p1", 0);
        w.end("p1", 1);
        w.pods[0].status.as_mut().unwrap().conditions = serde_json::from_value(disrupted).unwrap();
        assert_eq!(w.settle().again.map(|again| again.as_secs()), Some(10));
        assert_eq!((w.pods.len(), w.made, w.counts().as_str()), (0, 1, "0/0/0"));
        w.after(10).settle();
        assert_eq!(w.made, 2);
    }
}
