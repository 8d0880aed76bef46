//! What to do about one StatefulSet now: [`decide`] is pure. In order means: one pod after the
//! other, each only when all before it are available; away in the reverse order. Source:
//! `pkg/controller/statefulset/stateful_set_control.go`.

use super::identity::{self, first};
use crate::pods::{self, has_ended, is_available, is_going};
use crate::{amount, revisions};
use clock::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Pods made in one look, at most: `replicas` may be two thousand million.
const BURST: usize = 500;

/// Names of the revision that pods had, and of the one that they are to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Revisions<'a> {
    pub current: &'a str,
    pub update: &'a str,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Ordinals, each with whether the pod is of the update revision.
    pub create: Vec<(i32, bool)>,
    /// Ordinals of pods whose identity label or claims are not the set's. Nothing after them is
    /// done before they are repaired.
    pub repair: Vec<i32>,
    /// Ordinals of pods that have ended: each is deleted and comes again under the same name.
    pub ended: Vec<i32>,
    /// Ordinals of pods that still wait to start: their claims may be missing.
    pub waiting: Vec<i32>,
    /// Names.
    pub delete: Vec<String>,
    /// Names of pods that are scaled away, going already or not.
    pub condemned: Vec<String>,
}

fn name(pod: &Arc<Pod>) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    pods::phase(pod) == "Running" && pods::ready_since(pod).is_some()
}

fn of_revision(pod: &Pod, revision: &str) -> bool {
    revisions::of_pod(pod).is_some_and(|r| r == revision)
}

/// Returns the ordinal from which on pods are to be of the update revision; `None` if the
/// controller replaces none (OnDelete).
///
/// A way to try a new version on a few pods: `partition: 2` of three pods updates `web-2` only.
/// With `spec.ordinals.start: 5` the same partition begins at `web-7`.
fn partition(set: &StatefulSet) -> Option<i32> {
    let strategy = set.spec.as_ref().and_then(|s| s.update_strategy.clone()).unwrap_or_default();
    if strategy.type_.as_deref() == Some("OnDelete") {
        return None;
    }
    let partition = strategy.rolling_update.and_then(|r| r.partition).unwrap_or(0);
    Some(first(set).saturating_add(partition))
}

/// Returns how many pods an update may take away at a time, at least one: a number, or so many
/// percent, rounded down.
///
/// Of 10 replicas `25%` are 2; of 3 replicas `10%` are 0, so 1. Without the field 1, the only
/// number that there was before KEP-961.
fn max_unavailable(set: &StatefulSet) -> i32 {
    let Some(spec) = &set.spec else { return 1 };
    let rolling = spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
    let most = rolling.and_then(|r| r.max_unavailable.as_ref());
    let most = most.and_then(|amount| amount::scaled(amount, spec.replicas.unwrap_or(1), false));
    most.unwrap_or(1).max(1)
}

/// Returns whether the set's pods come and go in order; false: all at once (`podManagementPolicy:
/// Parallel`).
pub(crate) fn is_in_order(set: &StatefulSet) -> bool {
    set.spec.as_ref().and_then(|s| s.pod_management_policy.as_deref()) != Some("Parallel")
}

/// Pure: the next steps for a set that has these pods.
///
/// `web` wants 3 pods, and its template has changed from v1 to v2. Upstream: `updateStatefulSet`
/// with `processReplica` and `processCondemned`.
///
/// ```text
/// web-0 v1, web-1 missing, web-2 v1       create web-1; nothing else until it is available
/// web-0 v1 not ready, web-1 v1, web-2 v1  nothing: order before progress
/// web-0 v1, web-1 v1, web-2 v1            delete web-2
/// web-0 v1, web-1 v1                      create web-2 with v2
/// web-0 v1, web-1 v1, web-2 v2 not ready  nothing: the others keep the version that works
/// web-0 v2, web-1 v2, web-2 v2            nothing: done
/// ```
///
/// Databases are the reason for the order: the first member forms the cluster and later ones join
/// it, and a member that leaves must not take the majority with it. `Parallel` gives the order up
/// for starts and for scaling, but updates still go down from the highest ordinal.
///
/// A pod is deleted here and created by a later look: two pods with the same name cannot exist at
/// the same time.
pub(crate) fn decide(set: &StatefulSet, mine: &[Arc<Pod>], revision: Revisions, now: Timestamp) -> Plan {
    let look = Look::new(set, mine, now);
    let mut plan = Plan { condemned: look.condemned.iter().map(|p| name(p)).collect(), ..Plan::default() };
    if look.fill_up(&mut plan) && look.scale_down(&mut plan) {
        look.update(&mut plan, revision);
    }
    plan
}

/// A set and its pods at one look.
struct Look<'a> {
    set: &'a StatefulSet,
    in_order: bool,
    /// `minReadySeconds`.
    seconds: i32,
    now: Timestamp,
    /// The ordinals that the set wants.
    wanted: Range<i32>,
    by_ordinal: BTreeMap<i32, &'a Arc<Pod>>,
    /// Pods whose ordinals are not wanted, the highest first.
    condemned: Vec<&'a Arc<Pod>>,
    /// See [`partition`].
    partition: Option<i32>,
}

impl<'a> Look<'a> {
    fn new(set: &'a StatefulSet, mine: &'a [Arc<Pod>], now: Timestamp) -> Look<'a> {
        let spec = set.spec.clone().unwrap_or_default();
        let set_name = set.metadata.name.as_deref().unwrap_or_default();
        let start = first(set);
        let wanted = start..start.saturating_add(spec.replicas.unwrap_or(1).max(0));
        let mut by_ordinal: BTreeMap<i32, &Arc<Pod>> = BTreeMap::new();
        for pod in mine {
            by_ordinal.extend(identity::ordinal(set_name, &name(pod)).map(|n| (n, pod)));
        }
        let condemned = by_ordinal.iter().rev().filter(|(n, _)| !wanted.contains(n));
        let condemned = condemned.map(|(_, pod)| *pod).collect();
        let (in_order, partition) = (is_in_order(set), partition(set));
        let seconds = spec.min_ready_seconds.unwrap_or(0);
        Look { set, in_order, seconds, now, wanted, by_ordinal, condemned, partition }
    }

    /// Returns whether the pod does not serve, or not for long enough yet.
    fn is_ill(&self, pod: &Pod) -> bool {
        !is_ready(pod) || !is_available(pod, self.seconds, self.now)
    }

    /// Plans the pods that are missing, up from the lowest, and repairs of those that are there.
    /// False: in order, nothing else may be done in this look. Here and below the work grows with
    /// the pods there are and with BURST, not with `replicas`.
    fn fill_up(&self, plan: &mut Plan) -> bool {
        let most = if self.in_order { 1 } else { BURST };
        let fill = |plan: &mut Plan, gap: Range<i32>| {
            let room = most - plan.create.len();
            plan.create.extend(gap.take(room).map(|n| (n, self.partition.is_none_or(|p| n >= p))));
        };
        let mut next = self.wanted.start;
        for (ordinal, pod) in self.by_ordinal.range(self.wanted.clone()) {
            fill(plan, next..*ordinal);
            if self.in_order && !plan.create.is_empty() {
                return false;
            }
            next = ordinal.saturating_add(1);
            if has_ended(pod) {
                if !is_going(pod) {
                    plan.ended.push(*ordinal);
                }
                if self.in_order {
                    return false;
                }
                continue;
            }
            if pods::phase(pod) == "Pending" && !is_going(pod) {
                plan.waiting.push(*ordinal);
            }
            if self.in_order && (is_going(pod) || self.is_ill(pod)) {
                return false;
            }
            if !(identity::is_labelled(pod) && identity::has_storage(self.set, pod, *ordinal)) {
                plan.repair.push(*ordinal);
            }
        }
        fill(plan, next..self.wanted.end);
        !self.in_order || plan.create.is_empty()
    }

    /// Plans the end of condemned pods, down from the highest; in order, no pod is deleted while
    /// another one is ill. So of two pods that have ended the higher waits for the lower one for
    /// ever, as upstream's. False: in order, nothing else may be done in this look.
    ///
    /// With the order kept all wanted pods are available here, so only condemned ones can be ill.
    /// `web` wants 1 pod and has 3: if `web-2` alone is ill, or `web-1` alone, `web-2` goes; if
    /// both are ill, none goes.
    fn scale_down(&self, plan: &mut Plan) -> bool {
        let wanted = self.by_ordinal.range(self.wanted.clone()).map(|(_, pod)| pod);
        let mut all = wanted.chain(self.condemned.iter().rev());
        let first_ill = all.find(|p| self.is_ill(p) || is_going(p)).map(|p| name(p));
        for pod in &self.condemned {
            if is_going(pod) {
                if self.in_order {
                    return false;
                }
                continue;
            }
            if self.in_order && self.is_ill(pod) && first_ill.as_ref() != Some(&name(pod)) {
                return false;
            }
            plan.delete.push(name(pod));
            if self.in_order {
                return false;
            }
        }
        true
    }

    /// Plans the end of pods of an old revision, down from the highest. At most `maxUnavailable`
    /// pods may be missing or not available, whatever their ordinals and revisions. An old pod that
    /// is not available takes one of the places of those that go. A set with too many of them waits
    /// until they are available or a user deletes them, as upstream 1.35.0
    /// (kubernetes/kubernetes#137409).
    fn update(&self, plan: &mut Plan, revision: Revisions) {
        let Some(partition) = self.partition else { return };
        let here: Vec<(&i32, &&Arc<Pod>)> = self.by_ordinal.range(self.wanted.clone()).collect();
        let serving = here.iter().filter(|(_, p)| !self.is_ill(p) && !is_going(p)).count() as i64;
        let whole = i64::from(self.wanted.end) - i64::from(self.wanted.start);
        let may_go = i64::from(max_unavailable(self.set)) - (whole - serving);
        let old = here.into_iter().rev().take_while(|(n, _)| **n >= partition);
        let old = old.filter(|(_, pod)| !of_revision(pod, revision.update) && !is_going(pod));
        let doomed: Vec<_> = old.take(usize::try_from(may_go).unwrap_or(0)).collect();
        let ended = &plan.ended;
        let running = doomed.iter().filter(|(n, _)| !ended.contains(n));
        let names: Vec<String> = running.map(|(_, pod)| name(pod)).collect();
        plan.delete.extend(names);
    }
}

/// Pure: the round in which a pod is created, repaired, or deleted because it has ended. The first
/// round has one pod, each next one twice as many, up to [`BURST`]; of a set that keeps to the
/// order each has one. `index` counts from the first ordinal. An error in one round keeps the later
/// ones from being begun.
///
/// | index | 0 | 1, 2 | 3 to 6 | 255 to 510 | 511 to 1010 |
/// |---|---|---|---|---|---|
/// | round | 0 | 1 | 2 | 8 | 9 |
pub(crate) fn round(index: i32, in_order: bool) -> i32 {
    /// Indexes in the rounds that double.
    const DOUBLED: i32 = 511;
    match index.max(0) {
        index if in_order => index,
        index if index < DOUBLED => (index + 1).ilog2() as i32,
        index => DOUBLED.ilog2() as i32 + 1 + (index - DOUBLED) / BURST as i32,
    }
}

/// Pure: the status that the pods give.
///
/// `web` with 3 ready pods, of which `web-2` is of the new revision `web-b` and the others of
/// `web-a`:
///
/// ```text
/// replicas 3, readyReplicas 3, currentReplicas 2, updatedReplicas 1
/// currentRevision web-a, updateRevision web-b
/// ```
///
/// When all three are of `web-b` and ready, `currentRevision` becomes `web-b` (upstream:
/// `completeRollingUpdate`). Until then a pod below the partition that dies is made from `web-a`.
pub(crate) fn status(
    set: &StatefulSet,
    mine: &[Arc<Pod>],
    revision: Revisions,
    now: Timestamp,
) -> StatefulSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let seconds = spec.min_ready_seconds.unwrap_or(0);
    let old = set.status.clone().unwrap_or_default();
    let count = |f: &dyn Fn(&Arc<Pod>) -> bool| mine.iter().filter(|p| f(p)).count() as i32;
    let (replicas, ready) = (mine.len() as i32, count(&|p| is_ready(p)));
    let available = count(&|p| is_ready(p) && is_available(p, seconds, now));
    let updated = count(&|p| !is_going(p) && of_revision(p, revision.update));
    let mut current = count(&|p| !is_going(p) && of_revision(p, revision.current));
    let mut current_revision = revision.current;
    let whole = spec.replicas.unwrap_or(1);
    if partition(set).is_some() && updated == whole && replicas == whole && ready == whole {
        (current, current_revision) = (updated, revision.update); // the roll-out is complete
    }
    let some = |n: i32| (n > 0).then_some(n);
    StatefulSetStatus {
        replicas,
        ready_replicas: some(ready),
        available_replicas: Some(available),
        current_replicas: some(current),
        updated_replicas: some(updated),
        current_revision: Some(current_revision.into()),
        update_revision: Some(revision.update.into()),
        observed_generation: set.metadata.generation,
        collision_count: Some(old.collision_count.unwrap_or(0)),
        conditions: old.conditions,
    }
}

#[cfg(test)]
pub(super) mod tests;
