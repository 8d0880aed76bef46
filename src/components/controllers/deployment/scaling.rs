//! Writing numbers into sets, and sharing a new total out in the middle of a rollout.

use super::look::{COMPONENT, Look};
use super::rollout::{Goal, Scaling, Set, proportional};
use super::sets::{DESIRED, MAX};
use crate::error::Error;
use crate::shared::record;
use client::{is_code, reference};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use tap::Event;

/// Returns whether the new set has all of its pods and they are available: then the old ones are
/// not needed.
///
/// The annotation has to agree too. Directly after a change of `spec.replicas` the set's own
/// numbers are still those of before, and would look complete. Upstream: `IsSaturated`.
fn is_saturated(new: &ReplicaSet, replicas: i32) -> bool {
    let noted = new.metadata.annotations.as_ref().and_then(|a| a.get(DESIRED)?.parse().ok());
    let numbers = Set::of(new);
    numbers.wanted == replicas && noted == Some(replicas) && numbers.available == replicas
}

/// Pure: how many pods were allowed when a set was last scaled. The annotation says so; without a
/// usable one, as a user may leave it, as many as the deployment had. 0: that is not known either.
fn allowed_before(set: &ReplicaSet, deployment: &Deployment) -> i32 {
    let noted = set.metadata.annotations.as_ref().and_then(|a| a.get(MAX)?.parse::<i32>().ok());
    let had = || deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or(0);
    noted.filter(|max| *max > 0).unwrap_or_else(had)
}

impl Look<'_> {
    /// Returns whether `spec.replicas` has changed since the sets were last written.
    ///
    /// The annotation `desired-replicas` says what the Deployment wanted when a set was last
    /// written. A rollout of 4 replicas with `maxSurge` 1 stands at old 3, new 2, both with `4`;
    /// the user writes `replicas: 8`. The sets are first scaled in proportion, because the
    /// rollout's own arithmetic would start four pods of an unproven version at once. Upstream:
    /// `isScalingEvent`.
    pub(super) fn scaled_meanwhile(&self, sets: &[Arc<ReplicaSet>]) -> bool {
        let replicas = self.spec.replicas.unwrap_or(1).to_string();
        sets.iter().filter(|s| Set::of(s).wanted > 0).any(|set| {
            let noted = set.metadata.annotations.as_ref().and_then(|a| a.get(DESIRED));
            noted.is_some_and(|noted| *noted != replicas)
        })
    }

    /// Gives the sets their shares of the number that the deployment wants now.
    ///
    /// ```text
    /// one set has pods                         it gets all of them
    /// no set has pods                          the new set gets them, else the newest old one
    /// several, and the new one is complete     the old ones go to 0
    /// several, strategy Recreate               nothing: the rollout goes on first
    /// several                                  each its part, see `proportional`
    /// ```
    pub(super) async fn share_out(
        &self,
        sets: &[Arc<ReplicaSet>],
        new: Option<&Arc<ReplicaSet>>,
    ) -> Result<(), Error> {
        let goal = Goal::of(&self.spec);
        let live: Vec<&Arc<ReplicaSet>> = sets.iter().filter(|s| Set::of(s).wanted > 0).collect();
        let target = match live.as_slice() {
            [only] => Some(*only),
            [] => new.or(sets.last()),
            _ => None,
        };
        let plan = match target {
            Some(set) => {
                let numbers = Set::of(set);
                let scaling = Scaling { name: numbers.name, from: numbers.wanted, to: goal.replicas };
                vec![scaling]
            }
            None => {
                if new.is_some_and(|new| is_saturated(new, goal.replicas)) {
                    let old = live.iter().filter(|s| new.is_some_and(|n| n.metadata.uid != s.metadata.uid));
                    old.map(|s| Set::of(s)).map(|s| Scaling { name: s.name, from: s.wanted, to: 0 }).collect()
                } else if goal.recreate {
                    vec![] // all old pods go before the new ones come: there is nothing to share
                } else {
                    let numbers: Vec<(Set, i32)> =
                        live.iter().map(|s| (Set::of(s), allowed_before(s, self.deployment))).collect();
                    proportional(&goal, &numbers)
                }
            }
        };
        for set in sets {
            let name = set.metadata.name.clone().unwrap_or_default();
            let numbers = Set::of(set);
            let scaling = plan.iter().find(|p| p.name == name).cloned();
            let scaling = scaling.unwrap_or(Scaling { name, from: numbers.wanted, to: numbers.wanted });
            if scaling.from != scaling.to || numbers.wanted > 0 {
                self.scale(set, &scaling).await?;
            }
        }
        Ok(())
    }

    /// Writes the number of a set, and the annotations from which a later look reads what the
    /// deployment wanted then.
    ///
    /// The write carries the set's resource version: a set that changed since it was read is looked
    /// at again. Number and annotations are one write, so that no look ever sees one without the
    /// other. A set that keeps its number may still need newer annotations.
    pub(super) async fn scale(&self, set: &ReplicaSet, scaling: &Scaling) -> Result<(), Error> {
        let start = clock::Instant::now();
        let goal = Goal::of(&self.spec);
        let (desired, max) = (goal.replicas.to_string(), (goal.replicas + goal.surge).to_string());
        let annotation = |key: &str| set.metadata.annotations.as_ref().and_then(|a| a.get(key));
        let same = annotation(DESIRED) == Some(&desired) && annotation(MAX) == Some(&max);
        if same && scaling.from == scaling.to {
            return Ok(());
        }
        let patch = json!({
            "metadata": {"resourceVersion": set.metadata.resource_version, "annotations": {DESIRED: desired, MAX: max}},
            "spec": {"replicas": scaling.to},
        });
        match self
            .api::<ReplicaSet>()
            .patch(&scaling.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => {}
            Err(error) if is_code(&error, 409) => {
                let (namespace, name) = (&self.key.namespace, &scaling.name);
                return Err(Error::Conflict(format!(
                    "ReplicaSet {namespace}/{name} is newer than the cache"
                )));
            }
            Err(error) => return Err(error.into()),
        }
        if scaling.from != scaling.to {
            let direction = if scaling.to > scaling.from { "up" } else { "down" };
            let message = format!(
                "Scaled {direction} replica set {} from {} to {}",
                scaling.name, scaling.from, scaling.to
            );
            self.worker.recorder.normal(
                &reference(self.deployment),
                "ScalingReplicaSet",
                message,
                self.cause.clone(),
            );
            let Scaling { name, from, to } = scaling;
            let event = Event::ScaleReplicaSet { replica_set: name.clone(), from: *from, to: *to };
            let record = record(event, "deployments", self.key, self.cause).took(start.elapsed());
            self.worker.shared.tap(COMPONENT).emit(record);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A share of a number that was never allowed would be too large or none.
    #[test]
    fn a_set_whose_annotation_was_spoiled_gets_its_share_of_the_pods_there_are() {
        let deployment: Deployment = serde_json::from_value(json!({"status": {"replicas": 13}})).unwrap();
        for (annotation, want) in [("20", 20), ("0", 13), ("-4", 13), ("many", 13)] {
            let set = json!({"metadata": {"annotations": {MAX: annotation}}});
            let set: ReplicaSet = serde_json::from_value(set).unwrap();
            assert_eq!(allowed_before(&set, &deployment), want, "{annotation}");
        }
        assert_eq!(allowed_before(&ReplicaSet::default(), &deployment), 13);
        assert_eq!(allowed_before(&ReplicaSet::default(), &Deployment::default()), 0);
    }
}
