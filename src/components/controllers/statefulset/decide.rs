//! What to do about one StatefulSet now: [`decide`] is pure. In order means: one pod after the
//! other, each only when all before it are available; away in the reverse order. Source:
//! `pkg/controller/statefulset/stateful_set_control.go`.

use super::identity::{self, first};
use crate::pods::{self, is_available};
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
pub struct Revisions<'a> {
    pub current: &'a str,
    pub update: &'a str,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
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

fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn is_ready(pod: &Pod) -> bool {
    pods::phase(pod) == "Running" && pods::ready_since(pod).is_some()
}

fn of_revision(pod: &Pod, revision: &str) -> bool {
    revisions::of_pod(pod).is_some_and(|r| r == revision)
}

/// The ordinal from which on pods are to be of the update revision; `None` if the controller
/// replaces none (OnDelete).
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

/// How many pods an update may take away at a time, at least one: a number, or so many percent,
/// rounded down.
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

/// True unless the set's pods come and go all at once (`podManagementPolicy: Parallel`).
pub fn is_in_order(set: &StatefulSet) -> bool {
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
pub fn decide(set: &StatefulSet, mine: &[Arc<Pod>], revision: Revisions, now: Timestamp) -> Plan {
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
            if matches!(pods::phase(pod), "Succeeded" | "Failed") {
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
pub fn round(index: i32, in_order: bool) -> i32 {
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
pub fn status(
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
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(crate) const NOW: &str = "2026-01-01T00:10:00Z";
    const REVISION: Revisions = Revisions { current: "old", update: "new" };

    pub(crate) fn set(spec: Value) -> StatefulSet {
        let mut whole = json!({"replicas": 3, "serviceName": "s", "selector": {}, "template": {},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}});
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {"name": "web", "generation": 2}, "spec": whole})).unwrap()
    }

    /// `0 new`, `1 old unready`, `2 new going`, `3 new failed`, `4 new young`
    pub(crate) fn pods(all: &[&str]) -> Vec<Arc<Pod>> {
        let pod = |text: &&str| {
            let mut words = text.split(' ');
            let (ordinal, revision) = (words.next().unwrap(), words.next().unwrap());
            let state = words.next().unwrap_or_default();
            let ready = if matches!(state, "unready" | "failed" | "pending") { "False" } else { "True" };
            let phase = match state {
                "failed" => "Failed",
                "pending" => "Pending",
                _ => "Running",
            };
            let since = if state == "young" { "2026-01-01T00:09:55Z" } else { "2026-01-01T00:00:00Z" };
            let mut pod = json!({
                "metadata": {"name": format!("web-{ordinal}"),
                    "labels": {"controller-revision-hash": revision, "statefulset.kubernetes.io/pod-name": format!("web-{ordinal}")}},
                "spec": {"containers": []},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}]}});
            if state == "going" {
                pod["metadata"]["deletionTimestamp"] = NOW.into();
            }
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        all.iter().map(pod).collect()
    }

    /// `+0 new` makes, `-web-0` deletes.
    fn steps(spec: Value, all: &[&str]) -> String {
        let plan = decide(&set(spec), &pods(all), REVISION, NOW.parse().unwrap());
        let made = plan.create.iter().map(|(n, new)| format!("+{n} {}", if *new { "new" } else { "old" }));
        let ended = plan.ended.iter().map(|n| format!("-web-{n}"));
        made.chain(ended).chain(plan.delete.iter().map(|n| format!("-{n}"))).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn ordinals_end_where_numbers_end() {
        let last = json!({"replicas": 3, "ordinals": {"start": i32::MAX - 1}, "updateStrategy": {"rollingUpdate": {"partition": 9}}});
        assert_eq!(steps(last, &[]), "+2147483646 old");
    }

    #[test]
    fn two_thousand_million_replicas_cost_no_more_than_the_pods_there_are() {
        let all = json!({"replicas": i32::MAX, "podManagementPolicy": "Parallel"});
        let now = NOW.parse().unwrap();
        let plan = decide(&set(all.clone()), &pods(&["1 new", "2000000000 old"]), REVISION, now);
        assert_eq!((plan.create.len(), plan.create[0].0, plan.create[1].0), (BURST, 0, 2));
        assert!(plan.delete.is_empty(), "too many are missing already");
        assert_eq!(decide(&set(all), &[], REVISION, now).create.len(), BURST);
    }

    /// As upstream, whose `processCondemned` lets an ill pod go only if it is the first ill one.
    #[test]
    fn in_order_the_higher_of_two_ended_pods_waits_for_the_lower_one() {
        let all = ["0 new", "1 new failed", "2 new failed"];
        assert_eq!(steps(json!({"replicas": 1}), &all), "");
        assert_eq!(steps(json!({"replicas": 1}), &["0 new", "1 new", "2 new failed"]), "-web-2");
        let at_once = json!({"replicas": 1, "podManagementPolicy": "Parallel"});
        assert_eq!(steps(at_once, &all), "-web-2, -web-1");
    }

    #[test]
    fn one_after_the_other_unless_all_at_once() {
        assert_eq!(steps(json!({}), &[]), "+0 new");
        assert_eq!(steps(json!({}), &["0 new unready"]), "");
        assert_eq!(steps(json!({}), &["0 new"]), "+1 new");
        assert_eq!(steps(json!({"minReadySeconds": 10}), &["0 new young"]), "");
        assert_eq!(steps(json!({}), &["0 new", "1 new going"]), "");
        assert_eq!(steps(json!({}), &["0 new failed", "1 new"]), "-web-0");
        assert_eq!(steps(json!({"podManagementPolicy": "Parallel"}), &["1 new unready"]), "+0 new, +2 new");
        assert_eq!(steps(json!({"ordinals": {"start": 5}}), &["5 new"]), "+6 new");
    }

    /// Pods that the set has adopted from an earlier set of its name.
    #[test]
    fn pods_without_the_sets_identity_or_claims_are_repaired() {
        let claims = json!([{"metadata": {"name": "data"}, "spec": {}}]);
        let repairs = |spec: Value, pods: &[Arc<Pod>]| {
            let plan = decide(&set(spec), pods, REVISION, NOW.parse().unwrap());
            (plan.repair, plan.create.iter().map(|(n, _)| *n).collect::<Vec<_>>())
        };
        let all = |state: &str| pods(&["0 new", &format!("1 new {state}")]);
        assert_eq!(repairs(json!({}), &all("")), (vec![], vec![2]));
        let with_claims = json!({"volumeClaimTemplates": claims});
        assert_eq!(repairs(with_claims.clone(), &all("")), (vec![0, 1], vec![2]));
        assert_eq!(
            repairs(with_claims, &all("unready")),
            (vec![0], vec![]),
            "in order, each when it is available"
        );
        let at_once = json!({"volumeClaimTemplates": claims, "podManagementPolicy": "Parallel"});
        assert_eq!(repairs(at_once, &all("unready")), (vec![0, 1], vec![2]));
        let mut nameless = all("");
        Arc::make_mut(&mut nameless[1]).metadata.labels.as_mut().unwrap().remove(identity::POD_NAME);
        assert_eq!(repairs(json!({}), &nameless), (vec![1], vec![2]));
    }

    #[test]
    fn rounds_double_up_to_the_most_at_once() {
        let rounds = |indexes: &[i32]| indexes.iter().map(|n| round(*n, false)).collect::<Vec<_>>();
        assert_eq!(rounds(&[0, 1, 2, 3, 6, 7, 254, 255]), [0, 1, 1, 2, 2, 3, 7, 8]);
        assert_eq!(rounds(&[510, 511, 1010, 1011]), [8, 9, 9, 10]);
        assert_eq!(round(7, true), 7);
    }

    #[test]
    fn down_goes_the_other_way() {
        let all = ["0 new", "1 new", "2 new", "10 new"];
        assert_eq!(steps(json!({"replicas": 1}), &all), "-web-10");
        assert_eq!(steps(json!({"replicas": 1}), &["0 new", "1 new", "2 new going"]), "");
        assert_eq!(steps(json!({"replicas": 1}), &["0 new", "1 new unready", "2 new unready"]), "");
        assert_eq!(steps(json!({"replicas": 1}), &["0 new", "1 new", "2 new unready"]), "-web-2");
        let young = json!({"replicas": 1, "minReadySeconds": 10});
        assert_eq!(
            steps(young.clone(), &["0 new", "1 new", "2 new young"]),
            "-web-2",
            "it has not to be available first"
        );
        assert_eq!(
            steps(young, &["0 new", "1 new young", "2 new young"]),
            "",
            "the first that is not goes first"
        );
        assert_eq!(
            steps(json!({"replicas": 1, "podManagementPolicy": "Parallel"}), &all),
            "-web-10, -web-2, -web-1"
        );
    }

    #[test]
    fn updates_go_from_the_highest_down_to_the_partition() {
        let old = ["0 old", "1 old", "2 old"];
        let partition =
            |n: i32| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": n}}});
        assert_eq!(steps(json!({}), &old), "-web-2");
        assert_eq!(steps(json!({}), &["0 old", "1 old", "2 new unready"]), "");
        assert_eq!(steps(json!({}), &["0 old", "1 old", "2 new"]), "-web-1");
        assert_eq!(steps(partition(2), &["0 old", "1 old", "2 new"]), "");
        assert_eq!(steps(partition(2), &["1 old", "2 new"]), "+0 old");
        assert_eq!(steps(json!({"updateStrategy": {"type": "OnDelete"}}), &old), "");
        assert_eq!(steps(json!({"updateStrategy": {"type": "OnDelete"}}), &["0 old", "1 old"]), "+2 new");
    }

    #[test]
    fn so_many_go_at_a_time_as_may_be_missing() {
        let most = |n: Value| {
            json!({"podManagementPolicy": "Parallel", "updateStrategy": {"type": "RollingUpdate",
                "rollingUpdate": {"partition": 0, "maxUnavailable": n}}})
        };
        let old = ["0 old", "1 old", "2 old"];
        assert_eq!(steps(most(json!(2)), &old), "-web-2, -web-1");
        assert_eq!(steps(most(json!("67%")), &old), "-web-2, -web-1");
        assert_eq!(steps(most(json!("10%")), &old), "-web-2", "at least one");
        assert_eq!(steps(most(json!(2)), &["0 old", "1 old", "2 new unready"]), "-web-1");
        assert_eq!(steps(most(json!(2)), &["0 old", "1 new going", "2 new unready"]), "");
        assert_eq!(
            steps(most(json!(2)), &["0 new unready", "1 old", "2 old"]),
            "-web-2",
            "also lower ones count"
        );
        assert_eq!(steps(most(json!(1)), &["0 new unready", "1 old", "2 old"]), "");
        assert_eq!(steps(most(json!(1)), &["0 old unready", "1 old", "2 old"]), "", "also old ones count");
        assert_eq!(
            steps(most(json!(2)), &["1 old", "2 old"]),
            "+0 new, -web-2",
            "also one that is missing counts"
        );
    }

    /// Pods that were ready a moment ago, or are not yet so for `minReadySeconds`.
    #[test]
    fn old_pods_that_are_not_available_go_within_the_same_bound() {
        let most = |n: i32| {
            json!({"podManagementPolicy": "Parallel", "minReadySeconds": 30, "updateStrategy": {
                "type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": n}}})
        };
        for state in ["young", "unready"] {
            let all: Vec<String> = (0..3).map(|n| format!("{n} old {state}")).collect();
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            assert_eq!(steps(most(1), &all), "", "{state}: all of them are missing already");
            assert_eq!(steps(most(3), &all), "", "{state}");
            assert_eq!(steps(most(4), &all), "-web-2", "{state}");
            let low = format!("0 old {state}");
            assert_eq!(steps(most(1), &[&low, "1 old", "2 old"]), "", "{state}");
            assert_eq!(steps(most(2), &[&low, "1 old", "2 old"]), "-web-2", "{state}");
            let high = format!("2 old {state}");
            assert_eq!(steps(most(2), &["0 old", "1 old", &high]), "-web-2", "{state}: it goes itself");
            assert_eq!(steps(most(3), &["0 old", "1 old", &high]), "-web-2, -web-1", "{state}");
        }
        assert_eq!(
            steps(most(2), &["0 old", "1 old", "2 old failed"]),
            "-web-2",
            "one that has ended takes a place too"
        );
    }

    #[test]
    fn the_status_tells_when_a_roll_out_is_complete() {
        let now = NOW.parse().unwrap();
        let half = status(&set(json!({})), &pods(&["0 old", "1 old", "2 new"]), REVISION, now);
        assert_eq!((half.current_replicas, half.updated_replicas), (Some(2), Some(1)));
        assert_eq!(half.current_revision.as_deref(), Some("old"));
        let done = status(&set(json!({})), &pods(&["0 new", "1 new", "2 new"]), REVISION, now);
        assert_eq!((done.current_replicas, done.current_revision.as_deref()), (Some(3), Some("new")));
        let starting = status(&set(json!({})), &pods(&["0 new", "1 new", "2 new unready"]), REVISION, now);
        assert_eq!(starting.current_revision.as_deref(), Some("old"), "one is not ready");
        let by_hand = set(json!({"updateStrategy": {"type": "OnDelete"}}));
        let replaced = status(&by_hand, &pods(&["0 new", "1 new", "2 new"]), REVISION, now);
        assert_eq!(replaced.current_revision.as_deref(), Some("old"), "the controller rolls nothing out");
    }
}
