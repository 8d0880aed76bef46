//! The deployment's status: its numbers, and the conditions that say whether its rollout gets on.

use super::look::Look;
use super::rollout::{self, Goal, REPLICA_FAILURE, Set};
use crate::error::Error;
use crate::write::{self, Guard};
use client::Outcome;
use clock::{self, Timestamp};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;
use std::time::Duration;

impl Look<'_> {
    /// Returns whether all pods are there, new and available, and no old one.
    pub(super) fn is_complete(&self, sets: &[Arc<ReplicaSet>], new: &ReplicaSet) -> bool {
        let replicas = self.spec.replicas.unwrap_or(1);
        let total = rollout::sum(sets.iter().map(|s| Set::of(s).pods));
        let new = Set::of(new);
        new.wanted == replicas && new.pods == replicas && new.available == replicas && total == replicas
    }

    pub(super) async fn write_status(
        &self,
        sets: &[Arc<ReplicaSet>],
        new: Option<&Arc<ReplicaSet>>,
        step: Step,
    ) -> Result<Outcome, Error> {
        let numbers: Vec<Set> = sets.iter().map(|s| Set::of(s)).collect();
        let (fresh, again) = status(
            self.deployment,
            &self.spec,
            &numbers,
            new.map(|s| Set::of(s)).as_ref(),
            step,
            clock::now(),
        );
        let again = again.map_or(Outcome::Done, Outcome::After);
        let (api, old) = (self.api::<Deployment>(), self.deployment.status.as_ref());
        write::status(&api, &self.deployment.metadata, Guard::Uid, old, &fresh).await?;
        Ok(again)
    }

    /// Writes into the conditions that the new set could not be made.
    pub(super) async fn write_create_error(&self, message: String) -> Result<(), Error> {
        if deadline(&self.spec).is_none() {
            return Ok(());
        }
        let old = self.deployment.status.as_ref();
        let mut new = old.cloned().unwrap_or_default();
        let content = ("Progressing", "False", "ReplicaSetCreateError", message);
        put(new.conditions.get_or_insert_default(), clock::now(), content);
        write::status(&self.api::<Deployment>(), &self.deployment.metadata, Guard::Uid, old, &new)
            .await
            .map(drop)
    }
}

/// How far a look at a deployment came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The deployment is paused, scaled or going: its progress is not judged.
    Count,
    /// A new set was made.
    Made,
    /// The rollout goes on, or is complete.
    Roll,
}

/// Returns how long a rollout may make no progress; `None`: for ever, and there is no condition
/// `Progressing`.
///
/// The default is 600 s. 2147483647 means "no deadline", as upstream (`HasProgressDeadline`): then
/// the condition `Progressing` is removed.
fn deadline(spec: &DeploymentSpec) -> Option<Duration> {
    let seconds = spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    Some(Duration::from_secs(seconds.max(0) as u64))
}

/// Pure: sets the condition `Progressing` of a deployment that is paused or goes on again, unless
/// that says that the deadline is over.
fn pause_or_resume(conditions: &mut Vec<DeploymentCondition>, spec: &DeploymentSpec, now: Timestamp) {
    if deadline(spec).is_none() {
        return;
    }
    let known = conditions.iter().find(|c| c.type_ == "Progressing").and_then(|c| c.reason.as_deref());
    match (spec.paused.unwrap_or(false), known) {
        (_, Some("ProgressDeadlineExceeded")) | (true, Some("DeploymentPaused")) => {}
        (true, _) => {
            let message = "Deployment is paused".to_string();
            put(conditions, now, ("Progressing", "Unknown", "DeploymentPaused", message));
        }
        (false, Some("DeploymentPaused")) => {
            let message = "Deployment is resumed".to_string();
            put(conditions, now, ("Progressing", "Unknown", "DeploymentResumed", message));
        }
        (false, _) => {}
    }
}

/// Pure: the deployment's status, and when time alone will change it.
///
/// Four replicas, `maxUnavailable` 1, in the middle of a rollout: the old set has 2 pods, both
/// available, and the new one 3, of which 1 is available.
///
/// ```text
/// replicas 5, updatedReplicas 3, availableReplicas 3, unavailableReplicas 2
/// Available    True    at least 4 - 1 are available
/// Progressing  True    one more pod is available than the last status says
/// ```
pub(super) fn status(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &[Set],
    new: Option<&Set>,
    step: Step,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let goal = Goal::of(spec);
    let before = deployment.status.clone().unwrap_or_default();
    let sum = |f: fn(&Set) -> i32| rollout::sum(sets.iter().map(f));
    let (total, ready, available) = (sum(|s| s.pods), sum(|s| s.ready), sum(|s| s.available));
    let updated = new.map_or(0, |s| s.pods);
    let wanted_total = sum(|s| s.wanted);
    let some = |n: i32| (n > 0).then_some(n);
    let mut conditions = before.conditions.clone().unwrap_or_default();
    let availability = match available >= goal.replicas - goal.unavailable {
        true => ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        false => ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    };
    put(&mut conditions, now, ("Available", availability.0, availability.1, availability.2.to_string()));
    if deployment.metadata.deletion_timestamp.is_none() {
        pause_or_resume(&mut conditions, spec, now);
    }
    let mut again = None;
    if step != Step::Count {
        match deadline(spec) {
            None => conditions.retain(|c| c.type_ != "Progressing"),
            Some(deadline) => {
                let complete =
                    updated == goal.replicas && total == goal.replicas && available == goal.replicas;
                let moved = updated > before.updated_replicas.unwrap_or(0)
                    || total - updated < before.replicas.unwrap_or(0) - before.updated_replicas.unwrap_or(0)
                    || ready > before.ready_replicas.unwrap_or(0)
                    || available > before.available_replicas.unwrap_or(0);
                let seen = Seen { made: step == Step::Made, complete, moved };
                let about = match new {
                    Some(new) => About { kind: "ReplicaSet", name: &new.name },
                    None => About {
                        kind: "Deployment",
                        name: deployment.metadata.name.as_deref().unwrap_or_default(),
                    },
                };
                again = judge(&mut conditions, about, &seen, deadline, now);
            }
        }
        set_failure(&mut conditions, sets, new, now);
    }
    let status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(total),
        updated_replicas: some(updated),
        ready_replicas: some(ready),
        available_replicas: some(available),
        unavailable_replicas: some((wanted_total - available).max(0)),
        terminating_replicas: terminating(sets),
        collision_count: before.collision_count,
        conditions: Some(conditions),
    };
    (status, again)
}

/// Pure: the sum of the pods that are being deleted, 0 included; `None` as long as one set does not
/// report its own. Source: `GetTerminatingReplicaCountForReplicaSets`.
fn terminating(sets: &[Set]) -> Option<i32> {
    sets.iter().try_fold(0, |sum: i32, set| Some(sum.saturating_add(set.terminating?)))
}

/// The object whose progress the condition is about: the newest set, or the deployment as long as
/// it has none. (The strategy Recreate makes it when the last old pod is gone.)
#[derive(Clone, Copy)]
struct About<'a> {
    kind: &'a str,
    name: &'a str,
}

/// What the look has found out about the newest set.
struct Seen {
    /// The set was made in this look.
    made: bool,
    /// All of its pods are there and available, and no other.
    complete: bool,
    /// There are more of its pods, more that are ready or available, or fewer old ones, than the
    /// last status says.
    moved: bool,
}

/// Pure: the condition `Progressing` of a deployment with a deadline; returns when time alone will
/// change it.
///
/// The deadline begins anew with each sign of progress. It judges and does not act: nothing is
/// rolled back, and a rollout that gets on after its deadline is `True` again.
///
/// ```text
/// the new set was made                        True, NewReplicaSetCreated; look again in 600 s
/// a pod more is ready                         True, ReplicaSetUpdated; 600 s from now
/// all pods are new and available              True, NewReplicaSetAvailable; no deadline any more
/// nothing has changed for 600 s               False, ProgressDeadlineExceeded
/// ```
fn judge(
    conditions: &mut Vec<DeploymentCondition>,
    About { kind, name }: About<'_>,
    seen: &Seen,
    deadline: Duration,
    now: Timestamp,
) -> Option<Duration> {
    let known = conditions.iter().find(|c| c.type_ == "Progressing").cloned();
    let reason = known.as_ref().and_then(|c| c.reason.clone()).unwrap_or_default();
    // The condition of a deployment that goes on again names no set.
    let quoted = format!("{name:?}");
    let same_set = reason == "DeploymentResumed"
        || known.as_ref().and_then(|c| c.message.as_ref()).is_some_and(|m| m.contains(&quoted));
    let mut update = |status: &str, reason: &str, message: String| {
        touch(conditions, now, ("Progressing", status, reason, message));
    };
    if seen.complete && !seen.made {
        if reason != "NewReplicaSetAvailable" || !same_set {
            let message = format!("{kind} {name:?} has successfully progressed.");
            update("True", "NewReplicaSetAvailable", message);
        }
        return None;
    }
    if seen.made {
        update("True", "NewReplicaSetCreated", format!("Created new replica set {name:?}"));
        return Some(deadline);
    }
    if reason == "NewReplicaSetAvailable" && same_set {
        return None; // complete once stays complete: a pod that dies later is no rollout
    }
    if known.is_none() && kind == "ReplicaSet" {
        update("True", "FoundNewReplicaSet", format!("Found new replica set {name:?}"));
        return Some(deadline);
    }
    if seen.moved || !same_set {
        update("True", "ReplicaSetUpdated", format!("{kind} {name:?} is progressing."));
        return Some(deadline);
    }
    let since = known.and_then(|c| c.last_update_time).map_or(now, |t| t.0);
    if let Some(left) = clock::left(since, deadline, now) {
        return Some(left);
    }
    let message = format!("{kind} {name:?} has timed out progressing.");
    put(conditions, now, ("Progressing", "False", "ProgressDeadlineExceeded", message));
    None
}

/// Pure: repeats the condition `ReplicaFailure` of the newest set, or else of another one, in the
/// deployment's conditions; without one it is removed.
fn set_failure(conditions: &mut Vec<DeploymentCondition>, sets: &[Set], new: Option<&Set>, now: Timestamp) {
    let failing = new.and_then(|n| n.failure.clone()).or_else(|| sets.iter().find_map(|s| s.failure.clone()));
    match failing {
        None => conditions.retain(|c| c.type_ != REPLICA_FAILURE),
        Some(failure) => {
            let (reason, message) = (failure.reason.unwrap_or_default(), failure.message.unwrap_or_default());
            put(conditions, now, (REPLICA_FAILURE, "True", &reason, message));
        }
    }
}

/// What a condition says: its type, status, reason and message.
type Content<'a> = (&'a str, &'a str, &'a str, String);

/// Writes a condition; its times change only if something else did.
///
/// So `lastTransitionTime` is the time since when the condition has had its status, however often
/// the controller looked in between.
fn put(conditions: &mut Vec<DeploymentCondition>, now: Timestamp, content: Content) {
    let known = conditions.iter().find(|c| c.type_ == content.0);
    if known.is_none_or(|c| c.status != content.1 || c.reason.as_deref() != Some(content.2)) {
        touch(conditions, now, content);
    }
}

/// Writes a condition as updated now; the transition time only follows the status.
fn touch(
    conditions: &mut Vec<DeploymentCondition>,
    now: Timestamp,
    (kind, status, reason, message): Content,
) {
    let known = conditions.iter().position(|c| c.type_ == kind);
    let since = known
        .map(|i| conditions.remove(i))
        .filter(|c| c.status == status)
        .and_then(|c| c.last_transition_time);
    conditions.push(DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(since.unwrap_or(Time(now))),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(name: &str, n: i32) -> Set {
        Set { name: name.into(), wanted: n, pods: n, ready: n, available: n, ..Set::default() }
    }

    #[test]
    fn two_sets_of_as_many_as_there_can_be_are_no_more() {
        let spec: DeploymentSpec =
            serde_json::from_value(json!({"replicas": i32::MAX, "selector": {}, "template": {}})).unwrap();
        let both = [set("d-1", i32::MAX), set("d-2", i32::MAX)];
        let at = Timestamp::UNIX_EPOCH;
        let (s, _) = status(&Deployment::default(), &spec, &both, Some(&both[1]), Step::Roll, at);
        assert_eq!(s.replicas, Some(i32::MAX));
    }

    #[test]
    fn pods_that_are_being_deleted_are_reported_also_if_there_are_none() {
        let counted = |status: serde_json::Value| {
            let set: ReplicaSet =
                serde_json::from_value(json!({"spec": {"selector": {}}, "status": status})).unwrap();
            Set::of(&set)
        };
        let count = |sets: &[Set]| {
            let spec: DeploymentSpec =
                serde_json::from_value(json!({"replicas": 1, "selector": {}, "template": {}})).unwrap();
            let at = Timestamp::UNIX_EPOCH;
            status(&Deployment::default(), &spec, sets, None, Step::Count, at).0.terminating_replicas
        };
        let none = counted(json!({"replicas": 1, "observedGeneration": 1, "terminatingReplicas": 0}));
        let two = counted(json!({"replicas": 1, "observedGeneration": 1, "terminatingReplicas": 2}));
        let unsynced = counted(json!({"replicas": 0}));
        let silent = counted(json!({"replicas": 1, "observedGeneration": 1}));
        assert_eq!(count(&[]), Some(0));
        assert_eq!(count(std::slice::from_ref(&none)), Some(0));
        assert_eq!(count(&[none.clone(), two, unsynced]), Some(2));
        assert_eq!(count(&[none, silent]), None, "the sum is not known");
    }

    #[test]
    fn a_deployment_that_recreates_is_available_only_as_a_whole() {
        let spec: DeploymentSpec = serde_json::from_value(
            json!({"replicas": 2, "selector": {}, "template": {}, "strategy": {"type": "Recreate"}}),
        )
        .unwrap();
        for (have, want) in [(0, "False"), (1, "False"), (2, "True")] {
            let new = Set { wanted: 2, ..set("d-1", have) };
            let (s, _) = status(
                &Deployment::default(),
                &spec,
                std::slice::from_ref(&new),
                Some(&new),
                Step::Roll,
                Timestamp::UNIX_EPOCH,
            );
            let available = s.conditions.iter().flatten().find(|c| c.type_ == "Available").unwrap();
            assert_eq!(available.status, want, "{have} of 2");
        }
    }

    #[test]
    fn conditions_follow_a_rollout() {
        let spec: DeploymentSpec = serde_json::from_value(
            json!({"replicas": 1, "selector": {}, "template": {}, "progressDeadlineSeconds": 10}),
        )
        .unwrap();
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let mut d = Deployment::default();
        let reason = |s: &DeploymentStatus, kind: &str| {
            let c = s.conditions.iter().flatten().find(|c| c.type_ == kind).unwrap();
            format!("{} {}", c.status, c.reason.clone().unwrap())
        };
        let empty = Set { wanted: 1, ..set("d-1", 0) };
        let (s, again) = status(&d, &spec, std::slice::from_ref(&empty), Some(&empty), Step::Made, at(0));
        assert_eq!(reason(&s, "Progressing"), "True NewReplicaSetCreated");
        assert_eq!(again, Some(Duration::from_secs(10)));
        d.status = Some(s);
        let (s, _) = status(&d, &spec, std::slice::from_ref(&empty), Some(&empty), Step::Roll, at(11));
        assert_eq!(reason(&s, "Progressing"), "False ProgressDeadlineExceeded");
        let full = set("d-1", 1);
        let (s, _) = status(&d, &spec, std::slice::from_ref(&full), Some(&full), Step::Roll, at(5));
        assert_eq!(reason(&s, "Progressing"), "True NewReplicaSetAvailable");
        assert_eq!(reason(&s, "Available"), "True MinimumReplicasAvailable");
        d.status = Some(s.clone());
        let (same, _) = status(&d, &spec, std::slice::from_ref(&full), Some(&full), Step::Roll, at(50));
        assert_eq!(same, s, "nothing changed, nothing is written");
    }

    #[test]
    fn a_pause_and_its_end_are_conditions_and_progress_is_not_judged_meanwhile() {
        let spec = |more: serde_json::Value| -> DeploymentSpec {
            let mut spec =
                json!({"replicas": 1, "selector": {}, "template": {}, "progressDeadlineSeconds": 10});
            for (key, value) in more.as_object().unwrap() {
                spec[key] = value.clone();
            }
            serde_json::from_value(spec).unwrap()
        };
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let progressing = |s: &DeploymentStatus| {
            let found = s.conditions.iter().flatten().find(|c| c.type_ == "Progressing");
            found.map(|c| format!("{} {}", c.status, c.reason.as_deref().unwrap()))
        };
        let (full, empty) = (set("d-1", 1), Set { wanted: 1, ..set("d-1", 0) });
        let paused = json!({"paused": true});
        let mut d = Deployment::default();
        let look = |d: &Deployment, more: &serde_json::Value, new: &Set, s: i64| {
            let step = if more["paused"] == true { Step::Count } else { Step::Roll };
            status(d, &spec(more.clone()), std::slice::from_ref(new), Some(new), step, at(s))
        };
        d.status = Some(look(&d, &json!({}), &empty, 0).0);
        let (s, again) = look(&d, &paused, &full, 1);
        assert_eq!((progressing(&s).as_deref(), again), (Some("Unknown DeploymentPaused"), None));
        d.status = Some(s.clone());
        assert_eq!(look(&d, &paused, &full, 50).0, s, "complete or not, nothing new is written");
        let (s, again) = look(&d, &json!({}), &empty, 60);
        assert_eq!(progressing(&s).as_deref(), Some("Unknown DeploymentResumed"));
        assert_eq!(again, Some(Duration::from_secs(10)), "the deadline begins anew");
        d.status = Some(s);
        d.status = Some(look(&d, &json!({}), &empty, 71).0);
        let late = "False ProgressDeadlineExceeded";
        assert_eq!(progressing(d.status.as_ref().unwrap()).as_deref(), Some(late));
        assert_eq!(
            progressing(&look(&d, &paused, &empty, 72).0).as_deref(),
            Some(late),
            "a pause does not hide it"
        );
        let endless = json!({"progressDeadlineSeconds": i32::MAX});
        assert_eq!(progressing(&look(&d, &endless, &empty, 73).0), None);
    }
}
