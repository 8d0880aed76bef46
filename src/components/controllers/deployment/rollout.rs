//! The rollout in numbers: how far up the new set goes now, how far down the old ones. Nothing here
//! writes anything.

use crate::amount;
use clock::Timestamp;
use k8s_openapi::api::apps::v1::{DeploymentSpec, ReplicaSet, ReplicaSetCondition};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The condition of a ReplicaSet that its deployment repeats.
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";

/// A ReplicaSet of the deployment, in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Set {
    pub name: String,
    pub wanted: i32,
    pub pods: i32,
    pub ready: i32,
    pub available: i32,
    /// Pods that are being deleted and have not ended; `None` if the set was counted by a
    /// controller that does not report them.
    pub terminating: Option<i32>,
    pub created: Option<Timestamp>,
    /// The condition `ReplicaFailure`: its pods cannot be made or deleted.
    pub failure: Option<ReplicaSetCondition>,
}

impl Set {
    /// Reads the numbers of a set. `terminating` distinguishes "none" from "not known": a set that
    /// no controller has observed yet has no pods, so it has none that are being deleted either.
    pub(super) fn of(set: &ReplicaSet) -> Set {
        let status = set.status.clone().unwrap_or_default();
        Set {
            name: set.metadata.name.clone().unwrap_or_default(),
            wanted: set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1),
            pods: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: status
                .terminating_replicas
                .or_else(|| (status.observed_generation.unwrap_or(0) == 0).then_some(0)),
            created: set.metadata.creation_timestamp.as_ref().map(|t| t.0),
            failure: status.conditions.into_iter().flatten().find(|c| c.type_ == REPLICA_FAILURE),
        }
    }

    fn to(&self, to: i32) -> Scaling {
        Scaling { name: self.name.clone(), from: self.wanted, to }
    }
}

/// What a deployment asks for, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    pub replicas: i32,
    pub surge: i32,
    pub unavailable: i32,
    /// All old pods go before the first new one comes.
    pub recreate: bool,
}

impl Goal {
    /// Turns the two limits into numbers of pods: `maxSurge` is rounded up and `maxUnavailable`
    /// down, so that a percentage never takes away more pods than it says. Upstream:
    /// `ResolveFenceposts`.
    ///
    /// ```text
    /// replicas   maxSurge   maxUnavailable   surge   unavailable
    /// 10         25%        25%              3       2
    /// 3          10%        10%              1       0
    /// 3          0          10%              0       1: otherwise no pod could ever be replaced
    /// ```
    pub(super) fn of(spec: &DeploymentSpec) -> Goal {
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("Recreate") {
            return Goal { replicas, surge: 0, unavailable: 0, recreate: true };
        }
        let rolling = strategy.rolling_update.unwrap_or_default();
        let amount = |value: &Option<IntOrString>, up: bool| {
            value.as_ref().and_then(|value| amount::scaled(value, replicas, up)).unwrap_or(0)
        };
        let (surge, mut unavailable) =
            (amount(&rolling.max_surge, true), amount(&rolling.max_unavailable, false));
        if surge == 0 && unavailable == 0 {
            unavailable = 1; // both zero would never move
        }
        let surge = surge.min(i32::MAX - replicas.max(0)); // so that their sum is a number of pods
        Goal { replicas, surge, unavailable: unavailable.min(replicas), recreate: false }
    }
}

/// Returns the sum of replicas, and no more than can be counted.
pub(super) fn sum(numbers: impl Iterator<Item = i32>) -> i32 {
    numbers.fold(0, i32::saturating_add)
}

/// One scaling of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scaling {
    pub name: String,
    pub from: i32,
    pub to: i32,
}

/// Pure: which sets to scale now. `old` in order of age. `running_old`: an old pod still exists,
/// ending or not.
///
/// One call is one small step. The ReplicaSet controller then makes and deletes the pods, the sets'
/// statuses change, and the next look calls this function again with the new numbers. Nothing is
/// remembered between two steps, so a controller that restarts in the middle goes on where the
/// numbers are. The scripts in `golden` show whole rollouts.
pub(super) fn decide(goal: &Goal, new: &Set, old: &[Set], running_old: bool) -> Vec<Scaling> {
    match goal.recreate {
        true => recreate(goal, new, old, running_old),
        false => rolling_update(goal, new, old),
    }
}

/// Pure: the scalings after which these sets want no pods.
pub(super) fn all_down(sets: &[Set]) -> Vec<Scaling> {
    sets.iter().filter(|s| s.wanted > 0).map(|s| s.to(0)).collect()
}

/// Scales all old sets down and then, when the last old pod is gone, the new one up.
///
/// For programs of which two versions must never run at the same time, such as a database on one
/// volume. Three replicas: `web-1` from 3 to 0; nothing while one of its pods still ends, even if
/// it takes its whole grace period; then `web-2` from 0 to 3. Nothing serves in between. Upstream:
/// `rolloutRecreate`.
fn recreate(goal: &Goal, new: &Set, old: &[Set], running_old: bool) -> Vec<Scaling> {
    let down = all_down(old);
    if !down.is_empty() {
        return down;
    }
    let go = !running_old && new.wanted != goal.replicas;
    if go { vec![new.to(goal.replicas)] } else { vec![] }
}

/// Scales so that there are never more pods than `maxSurge` allows, and never fewer available ones
/// than `maxUnavailable` allows.
///
/// Upstream: `reconcileNewReplicaSet`, then `reconcileOldReplicaSets`. One look changes the new set
/// or the old ones, never both. Four replicas, `maxSurge` 1, `maxUnavailable` 1, and each new pod
/// is available before the next look:
///
/// ```text
/// look   new set   old set   why
/// 1      0 -> 1    4         4 + 1 pods may exist, 4 do
/// 2      1         4 -> 2    5 are available, 3 have to be
/// 3      1 -> 3    2         3 pods exist, room for 2
/// 4      3         2 -> 0    5 are available, 3 have to be
/// 5      3 -> 4    0         the new set lacks one
/// ```
///
/// If the new image does not start, look 2 takes one old pod away, look 3 starts a second new one,
/// and then every look returns nothing: three old pods go on serving.
fn rolling_update(goal: &Goal, new: &Set, old: &[Set]) -> Vec<Scaling> {
    // First the new set: as far up as the surge allows.
    if new.wanted > goal.replicas {
        return vec![new.to(goal.replicas)];
    }
    let total = new.wanted.saturating_add(sum(old.iter().map(|s| s.wanted)));
    let room = goal.replicas + goal.surge - total;
    let up = room.min(goal.replicas - new.wanted);
    if up > 0 {
        return vec![new.to(new.wanted + up)];
    }
    // Then the old ones: as far down as keeps enough pods available. One that wants none is left
    // out: its pods are on their way out, whatever its status still says.
    let old: Vec<&Set> = old.iter().filter(|s| s.wanted > 0).collect();
    if old.is_empty() {
        return vec![];
    }
    let least = goal.replicas - goal.unavailable;
    // New pods that are not available yet serve no client: they are subtracted, or a broken image
    // would cost more old pods with each look.
    let new_unavailable = new.wanted.saturating_sub(new.available);
    let mut budget = (total - least).saturating_sub(new_unavailable);
    if budget <= 0 {
        return vec![];
    }
    let mut sets: Vec<Set> = old.iter().copied().cloned().collect();
    // Unhealthy pods of old sets serve no client: they go first.
    for set in &mut sets {
        let sick = (set.wanted - set.available).max(0).min(budget);
        set.wanted -= sick;
        budget -= sick;
    }
    let available = new.available.saturating_add(sum(sets.iter().map(|s| s.available)));
    let mut spare = available.saturating_sub(least);
    for set in &mut sets {
        let down = set.wanted.min(spare.max(0));
        set.wanted -= down;
        spare -= down;
    }
    old.iter()
        .zip(&sets)
        .filter(|(before, after)| before.wanted != after.wanted)
        .map(|(before, after)| before.to(after.wanted))
        .collect()
}

/// Pure: a change of `spec.replicas` in the middle of a rollout is shared out over the sets in
/// proportion to their size.
///
/// Why not give everything to the new set? It is not known yet whether the new version works: if it
/// does not, all of the growth would be lost. Upstream: `scale` with `GetReplicaSetProportion`.
///
/// ```text
/// 10 replicas with maxSurge 3 stand at old 8, new 5, then the user asks for 15
/// 15 + 3 pods may exist, 13 do: 5 more
/// old  8 * 18 / 13 = 11, 3 more     new  5 * 18 / 13 = 7, 2 more
/// ```
///
/// 13 is the number of pods that was allowed when the sets were last scaled: it stands in the
/// annotation `deployment.kubernetes.io/max-replicas` of each set. Fewer may exist, as while the
/// rollout takes old pods away. Then a set may shrink although pods are added:
///
/// ```text
/// 10 replicas with maxSurge 3 stand at old 6, new 3, then the user asks for 8 with maxSurge 2
/// 8 + 2 pods may exist, 9 do: 1 more
/// old  6 * 10 / 13 = 5, 1 fewer     new  3 * 10 / 13 = 2, 1 fewer     the first gets 3: 8 and 2
/// ```
pub(super) fn proportional(goal: &Goal, sets: &[(Set, i32)]) -> Vec<Scaling> {
    let total = sum(sets.iter().map(|(s, _)| s.wanted));
    let allowed = if goal.replicas > 0 { goal.replicas + goal.surge } else { 0 };
    let mut add = allowed - total;
    let mut order: Vec<&(Set, i32)> = sets.iter().collect();
    // Larger first; of equal ones the newer first when growing, the older first when shrinking.
    order.sort_by(|(a, _), (b, _)| {
        let age = if add > 0 { b.created.cmp(&a.created) } else { a.created.cmp(&b.created) };
        b.wanted.cmp(&a.wanted).then(age)
    });
    let mut to: Vec<i32> = Vec::new();
    let before = add;
    for (set, max) in order.iter().map(|(s, m)| (s, *m)) {
        let part = match (allowed, max) {
            (0, _) => -set.wanted,
            (_, 0) => 0,
            _ => {
                let exact = f64::from(set.wanted) * f64::from(allowed) / f64::from(max);
                exact.round() as i32 - set.wanted
            }
        };
        // It may go the other way: what it gives up goes to the sets after it or to the first one.
        let share = match add {
            0 => 0,
            _ if before > 0 => part.min(add),
            _ => part.max(add),
        };
        add = add.saturating_sub(share);
        to.push(set.wanted.saturating_add(share));
    }
    if let Some(first) = to.first_mut() {
        *first = first.saturating_add(add).max(0); // what rounding left over
    }
    order.iter().zip(to).filter(|((set, _), to)| set.wanted != *to).map(|((set, _), to)| set.to(to)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn goal(replicas: i32, surge: i32, unavailable: i32) -> Goal {
        Goal { replicas, surge, unavailable, recreate: false }
    }

    /// Plays a rollout where every new pod becomes ready and every surplus pod ends between two
    /// looks.
    fn play(goal: &Goal, mut new: Set, mut old: Vec<Set>) -> Vec<String> {
        let mut story = Vec::new();
        for _ in 0..50 {
            let steps = decide(goal, &new, &old, old.iter().any(|s| s.pods > 0));
            if steps.is_empty() {
                break;
            }
            for step in steps {
                story.push(format!("{} {}->{}", step.name, step.from, step.to));
                let set = if step.name == new.name {
                    &mut new
                } else {
                    old.iter_mut().find(|s| s.name == step.name).unwrap()
                };
                set.wanted = step.to;
            }
            let available = new.available + old.iter().map(|s| s.available).sum::<i32>();
            assert!(available >= goal.replicas - goal.unavailable, "too few: {story:?}");
            let total = new.wanted + old.iter().map(|s| s.wanted).sum::<i32>();
            assert!(total <= goal.replicas + goal.surge, "too many: {story:?}");
            for set in old.iter_mut().chain([&mut new]) {
                (set.pods, set.ready, set.available) = (set.wanted, set.wanted, set.wanted);
            }
        }
        story
    }

    fn set(name: &str, n: i32) -> Set {
        Set { name: name.into(), wanted: n, pods: n, ready: n, available: n, ..Set::default() }
    }

    #[test]
    fn a_rolling_update_never_has_too_few_or_too_many_pods() {
        let story = play(&goal(4, 1, 1), set("new", 0), vec![set("old", 4)]);
        assert_eq!(story, ["new 0->1", "old 4->2", "new 1->3", "old 2->0", "new 3->4"]);
        let careful = play(&goal(3, 1, 0), set("new", 0), vec![set("old", 3)]);
        assert_eq!(careful, ["new 0->1", "old 3->2", "new 1->2", "old 2->1", "new 2->3", "old 1->0"]);
    }

    #[test]
    fn a_new_version_that_never_gets_ready_stops_the_rollout() {
        let broken = Set { available: 0, ready: 0, ..set("new", 1) };
        assert_eq!(decide(&goal(3, 1, 0), &broken, &[set("old", 3)], true), []);
    }

    #[test]
    fn the_most_that_can_be_asked_for_is_a_number_of_pods() {
        let spec = json!({"replicas": i32::MAX, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}});
        let goal = Goal::of(&serde_json::from_value(spec).unwrap());
        let up = Scaling { name: "new".into(), from: 0, to: i32::MAX - 4 };
        assert_eq!(decide(&goal, &set("new", 0), &[set("old", 4)], true), [up]);
        let most = |name| (set(name, i32::MAX), i32::MAX);
        assert_eq!(proportional(&goal, &[most("a"), most("b")]), []);
    }

    #[test]
    fn sick_old_pods_go_first() {
        let sick = Set { available: 0, ..set("sick", 1) };
        let steps = decide(&goal(3, 1, 0), &set("new", 1), &[set("old", 2), sick], true);
        assert_eq!(steps, [Scaling { name: "sick".into(), from: 1, to: 0 }]);
    }

    /// Its own controller has not counted yet.
    #[test]
    fn pods_of_an_old_set_that_wants_none_are_not_counted_as_available() {
        let emptied = Set { wanted: 0, ..set("emptied", 2) };
        let half_sick = Set { available: 1, ..set("old", 2) };
        let steps = decide(&goal(4, 0, 1), &set("new", 2), &[emptied, half_sick], true);
        assert_eq!(steps, [Scaling { name: "old".into(), from: 2, to: 1 }], "3 have to be available");
    }

    #[test]
    fn recreate_waits_for_the_last_old_pod() {
        let recreate = Goal { replicas: 2, surge: 0, unavailable: 0, recreate: true };
        assert_eq!(decide(&recreate, &set("new", 0), &[set("old", 2)], true)[0].to, 0);
        let gone = Set { pods: 1, ..set("old", 0) };
        assert_eq!(decide(&recreate, &set("new", 0), std::slice::from_ref(&gone), true), []);
        assert_eq!(decide(&recreate, &set("new", 0), &[gone], false)[0].to, 2);
    }

    #[test]
    fn percentages_round_up_for_surge_and_down_for_unavailable() {
        let spec: DeploymentSpec = serde_json::from_value(json!({
            "replicas": 3, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        }))
        .unwrap();
        assert_eq!(Goal::of(&spec), goal(3, 1, 0));
    }

    #[test]
    fn scaling_in_the_middle_of_a_rollout_is_shared_out() {
        // 10 replicas, surge 3: 8 old and 5 new; now 15 are wanted.
        let sets = [(set("old", 8), 13), (set("new", 5), 13)];
        let mut to: Vec<(String, i32)> =
            proportional(&goal(15, 3, 2), &sets).into_iter().map(|s| (s.name, s.to)).collect();
        to.sort();
        assert_eq!(to, [("new".to_string(), 7), ("old".to_string(), 11)]);
    }

    /// Upstream bounds a share on one side only (`GetReplicaSetProportion`).
    #[test]
    fn a_set_may_shrink_in_proportion_although_pods_are_added() {
        let sets = [(set("old", 6), 13), (set("new", 3), 13)];
        let to: Vec<(String, i32)> =
            proportional(&goal(8, 2, 2), &sets).into_iter().map(|s| (s.name, s.to)).collect();
        assert_eq!(to, [("old".to_string(), 8), ("new".to_string(), 2)]);
    }

    /// Also if it is not known how many pods were allowed before.
    #[test]
    fn all_sets_go_to_zero_with_their_deployment() {
        let sets = [(set("old", 5), 0), (set("new", 4), 0)];
        let down: Vec<i32> = proportional(&goal(0, 0, 0), &sets).into_iter().map(|s| s.to).collect();
        assert_eq!(down, [0, 0]);
    }
}
