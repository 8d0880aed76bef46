//! # Deployment: replace pods without a gap
//!
//! ## In Kubernetes
//! The Deployment controller never touches pods. It keeps one ReplicaSet per version of the
//! template, and moves the numbers between them: up on the new one by `maxSurge`, down on the old
//! ones by `maxUnavailable`. Old sets stay, empty, as history for `rollout undo`. Source:
//! `pkg/controller/deployment`.
//! ## How this one works
//! One look at one deployment is [`Look::sync`]: claim the sets, find the one whose template is the
//! deployment's ([`sets`] makes it if there is none), ask [`rollout::decide`], which is pure, what
//! to scale now, scale it ([`scaling`]), and write how far it is ([`progress`]). Whatever the look
//! begins, the sets' own changes bring the next look. Before a look counts a revision it asks
//! whether the caches are as new as the store ([`current`]).
//! ## Left out
//! `spec.rollbackTo` of the ancient API versions.
//! ## Read next
//! `replicaset`, which makes the numbers true.

mod current;
#[cfg(test)]
mod golden;
mod look;
mod progress;
mod rollout;
mod scaling;
mod sets;

use super::pods::{self, controller_of, owned_by, selects};
use super::workload::still_there;
use super::write::unless_gone;
use crate::error::Error;
use crate::shared::{Controller, Shared};
use client::{Change, Key, Outcome, Recorder, WorkQueue};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use look::{COMPONENT, Look, Worker};
use progress::Step;
use rollout::{Goal, Set, decide};
use serde_json::{Value, json};
use sets::{revision_of, same_template};
use std::sync::Arc;
use tap::Cause;

const WORKERS: usize = 5;

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<Deployment>();
        informers.all::<ReplicaSet>();
        informers.all::<Pod>();
    },
    start,
};

fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let recorder = Recorder::new(&shared.crew, &shared.config.client, COMPONENT.name(), "");
    let q = queue.clone();
    shared.informer::<Deployment>().on(move |change| q.add(change.key(), change.cause()));
    let (q, all) = (queue.clone(), shared.clone());
    shared.informer::<ReplicaSet>().on(move |change| {
        let mut owners = Vec::new();
        let namespace = change.key().namespace;
        let mut note = |set: &ReplicaSet| match controller_of(&set.metadata) {
            Some(owner) if owner.kind == "Deployment" => {
                owners.push(Key::new(namespace.clone(), owner.name.clone()))
            }
            Some(_) => {}
            None => owners.extend(
                all.informer::<Deployment>()
                    .within(&namespace)
                    .iter()
                    .filter(|d| {
                        d.spec.as_ref().is_some_and(|s| selects(&s.selector, set.metadata.labels.as_ref()))
                    })
                    .map(|d| Key::of(&**d)),
            ),
        };
        if let Change::Updated { old, .. } = change {
            note(old);
        }
        note(change.object());
        owners.dedup();
        owners.into_iter().for_each(|owner| q.add(owner, change.cause()));
    });
    let (q, all) = (queue.clone(), shared.clone());
    shared.informer::<Pod>().on(move |change| {
        // Only Recreate waits for pods: it goes on when the last old one is gone.
        if let Change::Deleted(pod) = change
            && let Some(set) =
                pods::owner_key(pod, "ReplicaSet").and_then(|key| all.informer::<ReplicaSet>().get(&key))
            && let Some(owner) = controller_of(&set.metadata)
        {
            q.add(Key::new(change.key().namespace, owner.name.clone()), change.cause());
        }
    });
    let worker = Arc::new(Worker { shared: shared.clone(), recorder });
    shared.report_panics(&queue, shared.informer::<Deployment>(), "deployment");
    queue.work("deployment", WORKERS, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync(key, cause).await }
    });
}

impl Worker {
    async fn sync(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(deployment) = self.shared.informer::<Deployment>().get(&key) else {
            return Ok(Outcome::Done);
        };
        let spec = deployment.spec.clone().unwrap_or_default();
        let look = Look { worker: self, key: &key, cause: &cause, deployment: &deployment, spec };
        look.sync().await
    }
}

impl Look<'_> {
    /// Takes one step of the rollout (upstream: `syncDeployment`). A user changes the image of
    /// `web` from `web:1` to `web:2`, with 4 replicas and `maxSurge` 1:
    ///
    /// ```text
    /// first look     no set has this template: makes one with 1 pod and revision 2
    /// next looks     scale the new set up and the old one down, one step each
    /// last look      nothing left to scale: deletes sets beyond `revisionHistoryLimit`
    /// ```
    ///
    /// A rollback is the same: the template is that of an older set again, and this set becomes the
    /// new one, with the next revision.
    async fn sync(&self) -> Result<Outcome, Error> {
        let mut sets = self.claim().await?;
        sets.sort_by_key(|s| (s.metadata.creation_timestamp.clone().map(|t| t.0), s.metadata.name.clone()));
        let new = self.with_template(&sets);
        if self.deployment.metadata.deletion_timestamp.is_some() {
            return self.write_status(&sets, new.as_ref(), Step::Count).await;
        }
        let next = next_revision(&sets, new.as_ref());
        let counts_on = new.as_ref().is_some_and(|set| revision_of(&set.metadata) < next);
        if counts_on && !self.is_current(&sets).await? {
            return Ok(Outcome::Done); // what the cache lacks is on the way here
        }
        let new = match new {
            Some(set) => Some(self.refresh(set, next).await?),
            None => None,
        };
        if self.spec.paused.unwrap_or(false) || self.scaled_meanwhile(&sets) {
            return self.rescale(sets, new).await;
        }
        let (new, made) = match new {
            Some(set) => (set, false),
            None => {
                let goal = Goal::of(&self.spec);
                if goal.recreate && self.make_way(&sets).await? {
                    return self.write_status(&sets, None, Step::Roll).await;
                }
                let total = rollout::sum(sets.iter().map(|s| Set::of(s).wanted));
                // A new set starts with as many pods as the surge leaves room for: 4 of a
                // Deployment that has none yet, 1 if four old pods exist and `maxSurge` is 1.
                // Upstream: `NewRSNewReplicas`.
                let first = match goal.recreate {
                    true => goal.replicas,
                    false => (goal.replicas + goal.surge - total).clamp(0, goal.replicas),
                };
                if !self.is_current(&sets).await? {
                    return Ok(Outcome::Done); // its deletion or another change is on the way here
                }
                (self.create(next, first).await?, true)
            }
        };
        self.set_revision(&new).await?;
        let old: Vec<Arc<ReplicaSet>> =
            sets.iter().filter(|s| s.metadata.uid != new.metadata.uid).cloned().collect();
        let goal = Goal::of(&self.spec);
        let numbers: Vec<Set> = old.iter().map(|s| Set::of(s)).collect();
        let running_old = goal.recreate && self.old_pods(&old, Some(&new));
        let plan = if made { vec![] } else { decide(&goal, &Set::of(&new), &numbers, running_old) };
        for scaling in &plan {
            let set = old.iter().chain([&new]).find(|s| s.metadata.name.as_ref() == Some(&scaling.name));
            if let Some(set) = set {
                self.scale(set, scaling).await?;
            }
        }
        let mut all = old.clone();
        all.push(new.clone());
        let done = plan.is_empty() && self.is_complete(&all, &new);
        if done {
            self.clean_up(&old).await?;
        }
        let step = if made { Step::Made } else { Step::Roll };
        self.write_status(&all, Some(&new), step).await
    }

    /// Returns the set whose template is the deployment's.
    fn with_template(&self, sets: &[Arc<ReplicaSet>]) -> Option<Arc<ReplicaSet>> {
        let template = |set: &&Arc<ReplicaSet>| {
            let spec = set.spec.as_ref().and_then(|s| s.template.as_ref());
            spec.is_some_and(|t| same_template(t, &self.spec.template))
        };
        sets.iter().find(template).cloned()
    }

    /// Scales down the old sets of a deployment of the strategy Recreate. Returns whether an old
    /// pod is left: then no new set is made yet. It might be refused (a quota), and the old pods
    /// would stay.
    async fn make_way(&self, old: &[Arc<ReplicaSet>]) -> Result<bool, Error> {
        let numbers: Vec<Set> = old.iter().map(|s| Set::of(s)).collect();
        let down = rollout::all_down(&numbers);
        for scaling in &down {
            if let Some(set) = old.iter().find(|s| s.metadata.name.as_ref() == Some(&scaling.name)) {
                self.scale(set, scaling).await?;
            }
        }
        Ok(!down.is_empty() || self.old_pods(old, None))
    }

    /// Gives the sets of a deployment that is paused, or was scaled, their shares; no rollout goes
    /// on.
    async fn rescale(
        &self,
        mut sets: Vec<Arc<ReplicaSet>>,
        new: Option<Arc<ReplicaSet>>,
    ) -> Result<Outcome, Error> {
        let is_new = |set: &ReplicaSet| new.as_ref().is_some_and(|n| n.metadata.uid == set.metadata.uid);
        if let Some(new) = &new {
            self.set_revision(new).await?;
            sets.iter_mut().filter(|s| is_new(s)).for_each(|s| *s = new.clone());
        }
        self.share_out(&sets, new.as_ref()).await?;
        if self.spec.paused.unwrap_or(false) {
            let old: Vec<_> = sets.iter().filter(|s| !is_new(s)).cloned().collect();
            self.clean_up(&old).await?;
        }
        self.write_status(&sets, new.as_ref(), Step::Count).await
    }

    /// Returns the deployment's sets: its own that match, and orphans that match, which it adopts.
    ///
    /// A ReplicaSet that lost its Deployment to `kubectl delete --cascade=orphan` is adopted by the
    /// next Deployment with the same selector: with the same template its pods need not be
    /// replaced. A set whose labels were changed is released, and keeps its pods.
    ///
    /// # Errors
    /// The API server did not take a change of an owner. The other sets were claimed all the same.
    async fn claim(&self) -> Result<Vec<Arc<ReplicaSet>>, Error> {
        let owner = owned_by(self.deployment);
        let alive = self.deployment.metadata.deletion_timestamp.is_none();
        let (mut mine, mut orphans) = (Vec::new(), Vec::new());
        let mut result = Ok(());
        for set in self.worker.shared.informer::<ReplicaSet>().within(&self.key.namespace) {
            let matches = selects(&self.spec.selector, set.metadata.labels.as_ref());
            match controller_of(&set.metadata) {
                Some(controller) if controller.uid != owner.uid => {}
                Some(_) if matches => mine.push(set),
                Some(_) if alive => {
                    let gone = json!([{"$patch": "delete", "uid": owner.uid}]);
                    result = result.and(self.own(&set, gone).await.map(drop));
                }
                None if matches && alive && set.metadata.deletion_timestamp.is_none() => orphans.push(set),
                _ => {}
            }
        }
        if !orphans.is_empty() && self.still_there().await? {
            for set in orphans {
                match self.own(&set, json!([owner])).await {
                    Ok(adopted) => mine.extend(adopted.map(Arc::new)),
                    Err(error) => result = result.and(Err(error)),
                }
            }
        }
        result.map(|()| mine)
    }

    /// Changes the owner of a set: a strategic merge patch of its `ownerReferences`. `None`: the
    /// set is gone.
    async fn own(&self, set: &ReplicaSet, owners: Value) -> Result<Option<ReplicaSet>, Error> {
        let patch = json!({"metadata": {"uid": set.metadata.uid, "ownerReferences": owners}});
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let api = self.api::<ReplicaSet>();
        unless_gone(api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await)
    }

    async fn still_there(&self) -> Result<bool, Error> {
        still_there(&self.api::<Deployment>(), &self.deployment.metadata).await
    }

    /// Returns whether any pod of these sets but the new one is still there. The sets count theirs,
    /// too: the cache of the pods may be behind.
    fn old_pods(&self, sets: &[Arc<ReplicaSet>], new: Option<&ReplicaSet>) -> bool {
        let is_old = |s: &&Arc<ReplicaSet>| new.is_none_or(|n| n.metadata.uid != s.metadata.uid);
        let old: Vec<&Arc<ReplicaSet>> = sets.iter().filter(is_old).collect();
        if old.iter().any(|s| Set::of(s).pods > 0) {
            return true;
        }
        let uids: Vec<&String> = old.iter().filter_map(|s| s.metadata.uid.as_ref()).collect();
        self.worker.shared.informer::<Pod>().within(&self.key.namespace).iter().any(|p| {
            !pods::has_ended(p) && controller_of(&p.metadata).is_some_and(|o| uids.contains(&&o.uid))
        })
    }
}

/// Pure: the revision behind those of all sets but the new one. Revisions 1, 2 and 4, and the set
/// of revision 2 is new again: 5.
fn next_revision(sets: &[Arc<ReplicaSet>], new: Option<&Arc<ReplicaSet>>) -> i64 {
    let is_old = |s: &&Arc<ReplicaSet>| new.is_none_or(|n| n.metadata.uid != s.metadata.uid);
    let highest = sets.iter().filter(is_old).map(|s| revision_of(&s.metadata)).max();
    highest.unwrap_or(0).saturating_add(1)
}

#[cfg(test)]
mod tests;
