//! What the deployment's status says: its numbers, and the conditions that tell whether it gets on.

use super::Look;
use super::rollout::{self, Goal, REPLICA_FAILURE, Set};
use crate::Error;
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
    /// Are all pods there, new and available, and no old one?
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
        made: bool,
    ) -> Result<Outcome, Error> {
        let numbers: Vec<Set> = sets.iter().map(|s| Set::of(s)).collect();
        let (fresh, again) = status(
            self.deployment,
            &self.spec,
            &numbers,
            new.map(|s| Set::of(s)).as_ref(),
            made,
            clock::now(),
        );
        let again = again.map_or(Outcome::Done, Outcome::After);
        let (api, old) = (self.api::<Deployment>(), self.deployment.status.as_ref());
        write::status(&api, &self.deployment.metadata, Guard::Uid, old, &fresh).await?;
        Ok(again)
    }
}

/// Pure: the deployment's status, and when time alone will change it.
pub fn status(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &[Set],
    new: Option<&Set>,
    made: bool,
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
    let enough = available >= goal.replicas - goal.unavailable;
    put(
        &mut conditions,
        now,
        match enough {
            true => (
                "Available",
                true,
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.".to_string(),
            ),
            false => (
                "Available",
                false,
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.".into(),
            ),
        },
    );
    let mut again = None;
    if let Some(new) = new {
        let complete = new.pods == goal.replicas && total == goal.replicas && available == goal.replicas;
        let moved = updated > before.updated_replicas.unwrap_or(0)
            || total - updated < before.replicas.unwrap_or(0) - before.updated_replicas.unwrap_or(0)
            || ready > before.ready_replicas.unwrap_or(0)
            || available > before.available_replicas.unwrap_or(0);
        let progressing = conditions.iter().find(|c| c.type_ == "Progressing").cloned();
        let reason = progressing.as_ref().and_then(|c| c.reason.clone()).unwrap_or_default();
        let deadline = Duration::from_secs(spec.progress_deadline_seconds.unwrap_or(600).max(0) as u64);
        let same_set =
            progressing.as_ref().and_then(|c| c.message.as_ref()).is_some_and(|m| m.contains(&new.name));
        if complete && !made {
            let message = format!("ReplicaSet {:?} has successfully progressed.", new.name);
            if reason != "NewReplicaSetAvailable" || !same_set {
                touch(&mut conditions, now, "Progressing", true, "NewReplicaSetAvailable", message);
            }
        } else if made {
            let message = format!("Created new replica set {:?}", new.name);
            touch(&mut conditions, now, "Progressing", true, "NewReplicaSetCreated", message);
            again = Some(deadline);
        } else if reason == "NewReplicaSetAvailable" && same_set {
            // Complete once stays complete: a pod that dies later is no rollout.
        } else if progressing.is_none() {
            let message = format!("Found new replica set {:?}", new.name);
            touch(&mut conditions, now, "Progressing", true, "FoundNewReplicaSet", message);
            again = Some(deadline);
        } else if moved || !same_set {
            let message = format!("ReplicaSet {:?} is progressing.", new.name);
            touch(&mut conditions, now, "Progressing", true, "ReplicaSetUpdated", message);
            again = Some(deadline);
        } else if !spec.paused.unwrap_or(false) {
            let since = progressing.and_then(|c| c.last_update_time).map_or(now, |t| t.0);
            let over = since + deadline;
            if now >= over {
                let message = format!("ReplicaSet {:?} has timed out progressing.", new.name);
                put(&mut conditions, now, ("Progressing", false, "ProgressDeadlineExceeded", message));
            } else {
                again = Duration::try_from(over - now).ok();
            }
        }
    }
    if spec.paused.unwrap_or(false) {
        put(&mut conditions, now, ("Progressing", true, "DeploymentPaused", "Deployment is paused".into()));
    }
    // What keeps the pods of the newest set from being, or else those of another one, keeps the
    // deployment from it.
    let failing = new.and_then(|n| n.failure.clone()).or_else(|| sets.iter().find_map(|s| s.failure.clone()));
    match failing {
        None => conditions.retain(|c| c.type_ != REPLICA_FAILURE),
        Some(failure) => {
            let (reason, message) = (failure.reason.unwrap_or_default(), failure.message.unwrap_or_default());
            put(&mut conditions, now, (REPLICA_FAILURE, true, &reason, message));
        }
    }
    let status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(total),
        updated_replicas: some(updated),
        ready_replicas: some(ready),
        available_replicas: some(available),
        unavailable_replicas: some((wanted_total - available).max(0)),
        collision_count: before.collision_count,
        conditions: Some(conditions),
        ..DeploymentStatus::default()
    };
    (status, again)
}

/// Writes a condition; its times change only if something else did.
fn put(
    conditions: &mut Vec<DeploymentCondition>,
    now: Timestamp,
    (kind, ok, reason, message): (&str, bool, &str, String),
) {
    let status = if ok { "True" } else { "False" };
    let known = conditions.iter().find(|c| c.type_ == kind);
    if known.is_some_and(|c| c.status == status && c.reason.as_deref() == Some(reason)) {
        return;
    }
    touch(conditions, now, kind, ok, reason, message);
}

/// Writes a condition as updated now; the transition time only follows the status.
fn touch(
    conditions: &mut Vec<DeploymentCondition>,
    now: Timestamp,
    kind: &str,
    ok: bool,
    reason: &str,
    message: String,
) {
    let status = if ok { "True" } else { "False" }.to_string();
    let known = conditions.iter().position(|c| c.type_ == kind);
    let since = known
        .map(|i| conditions.remove(i))
        .filter(|c| c.status == status)
        .and_then(|c| c.last_transition_time);
    conditions.push(DeploymentCondition {
        type_: kind.into(),
        status,
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
        Set { name: name.into(), wanted: n, pods: n, ready: n, available: n, created: None, failure: None }
    }

    #[test]
    fn two_sets_of_as_many_as_there_can_be_are_no_more() {
        let spec: DeploymentSpec =
            serde_json::from_value(json!({"replicas": i32::MAX, "selector": {}, "template": {}})).unwrap();
        let both = [set("d-1", i32::MAX), set("d-2", i32::MAX)];
        let at = Timestamp::UNIX_EPOCH;
        let (s, _) = status(&Deployment::default(), &spec, &both, Some(&both[1]), false, at);
        assert_eq!(s.replicas, Some(i32::MAX));
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
                &[new.clone()],
                Some(&new),
                false,
                Timestamp::UNIX_EPOCH,
            );
            let available = s.conditions.iter().flatten().find(|c| c.type_ == "Available").unwrap();
            assert_eq!(available.status, want, "{have} of 2");
        }
    }

    #[test]
    fn conditions_tell_the_story_of_a_rollout() {
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
        let (s, again) = status(&d, &spec, std::slice::from_ref(&empty), Some(&empty), true, at(0));
        assert_eq!(reason(&s, "Progressing"), "True NewReplicaSetCreated");
        assert_eq!(again, Some(Duration::from_secs(10)));
        d.status = Some(s);
        let (s, _) = status(&d, &spec, std::slice::from_ref(&empty), Some(&empty), false, at(11));
        assert_eq!(reason(&s, "Progressing"), "False ProgressDeadlineExceeded");
        let full = set("d-1", 1);
        let (s, _) = status(&d, &spec, std::slice::from_ref(&full), Some(&full), false, at(5));
        assert_eq!(reason(&s, "Progressing"), "True NewReplicaSetAvailable");
        assert_eq!(reason(&s, "Available"), "True MinimumReplicasAvailable");
        d.status = Some(s.clone());
        let (same, _) = status(&d, &spec, std::slice::from_ref(&full), Some(&full), false, at(50));
        assert_eq!(same, s, "nothing changed, nothing is written");
    }
}
