//! # Deployment: replace pods without a gap
//!
//! A Deployment never touches pods. It keeps one ReplicaSet per version of the template, and moves the numbers between them: up on
//! the new one by `maxSurge`, down on the old ones by `maxUnavailable`. Old sets stay, empty, as history for `rollout undo`.
//! [`decide`] is pure. Source: `pkg/controller/deployment`.

use super::pods::{controller_of, owned_by, selects, template_hash};
use super::{Error, Shared, record, reference};
use crate::client::{Change, Key, Outcome, Recorder, WorkQueue, is_code};
use crate::clock::{self, Timestamp};
use crate::tap::Cause;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetSpec,
};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const WORKERS: usize = 5;
pub const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";

/// A ReplicaSet of the deployment, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub name: String,
    pub wanted: i32,
    pub pods: i32,
    pub ready: i32,
    pub available: i32,
    pub created: Option<Timestamp>,
}

impl Set {
    pub fn of(set: &ReplicaSet) -> Set {
        let status = set.status.clone().unwrap_or_default();
        Set {
            name: set.metadata.name.clone().unwrap_or_default(),
            wanted: set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1),
            pods: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            created: set.metadata.creation_timestamp.as_ref().map(|t| t.0),
        }
    }
}

/// What a deployment asks for, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    pub replicas: i32,
    pub surge: i32,
    pub unavailable: i32,
    /// All old pods go before the first new one comes.
    pub recreate: bool,
}

impl Goal {
    pub fn of(spec: &DeploymentSpec) -> Goal {
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("Recreate") {
            return Goal { replicas, surge: 0, unavailable: replicas, recreate: true };
        }
        let rolling = strategy.rolling_update.unwrap_or_default();
        let amount = |value: &Option<IntOrString>, up: bool| match value {
            Some(IntOrString::Int(n)) => *n,
            Some(IntOrString::String(text)) => {
                let percent: i32 = text.trim_end_matches('%').parse().unwrap_or(0);
                let exact = i64::from(percent) * i64::from(replicas);
                (if up { (exact + 99) / 100 } else { exact / 100 }) as i32
            }
            None => 0,
        };
        let (surge, mut unavailable) =
            (amount(&rolling.max_surge, true), amount(&rolling.max_unavailable, false));
        if surge == 0 && unavailable == 0 {
            unavailable = 1; // both zero would never move
        }
        Goal { replicas, surge, unavailable: unavailable.min(replicas), recreate: false }
    }
}

/// One scaling of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaling {
    pub name: String,
    pub from: i32,
    pub to: i32,
}

/// Pure: which sets to scale now. `old` in order of age. `running_old`: an old pod still exists, ending or not.
pub fn decide(goal: &Goal, new: &Set, old: &[Set], running_old: bool) -> Vec<Scaling> {
    let scaling = |set: &Set, to: i32| Scaling { name: set.name.clone(), from: set.wanted, to };
    if goal.recreate {
        let down: Vec<Scaling> = old.iter().filter(|s| s.wanted > 0).map(|s| scaling(s, 0)).collect();
        if !down.is_empty() {
            return down;
        }
        let go = !running_old && new.wanted != goal.replicas;
        return if go { vec![scaling(new, goal.replicas)] } else { vec![] };
    }
    // First the new set: as far up as the surge allows.
    if new.wanted > goal.replicas {
        return vec![scaling(new, goal.replicas)];
    }
    let total: i32 = new.wanted + old.iter().map(|s| s.wanted).sum::<i32>();
    let room = goal.replicas + goal.surge - total;
    let up = room.min(goal.replicas - new.wanted);
    if up > 0 {
        return vec![scaling(new, new.wanted + up)];
    }
    // Then the old ones: as far down as keeps enough pods available.
    let old_wanted: i32 = old.iter().map(|s| s.wanted).sum();
    if old_wanted == 0 {
        return vec![];
    }
    let least = goal.replicas - goal.unavailable;
    let new_unavailable = new.wanted - new.available;
    let mut budget = total - least - new_unavailable;
    if budget <= 0 {
        return vec![];
    }
    let mut sets: Vec<Set> = old.to_vec();
    // Unhealthy pods of old sets serve nobody: they go first.
    for set in &mut sets {
        let sick = (set.wanted - set.available).max(0).min(budget);
        set.wanted -= sick;
        budget -= sick;
    }
    let available: i32 = new.available + sets.iter().map(|s| s.available).sum::<i32>();
    let mut spare = available - least;
    for set in &mut sets {
        let down = set.wanted.min(spare.max(0));
        set.wanted -= down;
        spare -= down;
    }
    old.iter()
        .zip(&sets)
        .filter(|(before, after)| before.wanted != after.wanted)
        .map(|(b, a)| scaling(b, a.wanted))
        .collect()
}

/// Pure: a change of `spec.replicas` in the middle of a rollout is shared out over the sets in proportion to their size.
pub fn proportional(goal: &Goal, sets: &[(Set, i32)]) -> Vec<Scaling> {
    let total: i32 = sets.iter().map(|(s, _)| s.wanted).sum();
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
        let share = if before == 0 || max == 0 {
            0
        } else {
            let exact = f64::from(set.wanted) * f64::from(allowed) / f64::from(max);
            let share = exact.round() as i32 - set.wanted;
            if before > 0 { share.clamp(0, add.max(0)) } else { share.clamp(add.min(0), 0) }
        };
        add -= share;
        to.push(set.wanted + share);
    }
    if let Some(first) = to.first_mut() {
        *first = (*first + add).max(0); // what rounding left over
    }
    order
        .iter()
        .zip(to)
        .filter(|((set, _), to)| set.wanted != *to)
        .map(|((set, _), to)| Scaling { name: set.name.clone(), from: set.wanted, to })
        .collect()
}

/// Two templates are the same version if they differ in nothing but the hash label.
fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let plain = |t: &PodTemplateSpec| {
        let mut t = t.clone();
        if let Some(labels) = t.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
            labels.remove(HASH);
        }
        serde_json::to_value(t).unwrap_or_default()
    };
    plain(a) == plain(b)
}

fn revision_of(meta: &ObjectMeta) -> i64 {
    meta.annotations.as_ref().and_then(|a| a.get(REVISION)).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// Annotations that a set does not take over from its deployment.
fn own_annotation(key: &str) -> bool {
    key == "kubectl.kubernetes.io/last-applied-configuration"
        || key == "deprecated.deployment.rollback.to"
        || [REVISION, REVISION_HISTORY, DESIRED, MAX].contains(&key)
}

pub(crate) fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "deployment-controller", "");
    let q = queue.clone();
    shared.deployments.on(move |change| q.add(change.key(), change.cause()));
    let (q, all) = (queue.clone(), shared.clone());
    shared.replica_sets.on(move |change| {
        let mut owners = Vec::new();
        let namespace = change.key().namespace;
        let mut note = |set: &ReplicaSet| match controller_of(&set.metadata) {
            Some(owner) if owner.kind == "Deployment" => {
                owners.push(Key::new(namespace.clone(), owner.name.clone()))
            }
            Some(_) => {}
            None => owners.extend(
                all.deployments
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
    shared.pods.on(move |change| {
        // Only Recreate waits for pods: it goes on when the last old one is gone.
        if let Change::Deleted(pod) = change
            && let Some(set) =
                super::pods::owner_key(pod, "ReplicaSet").and_then(|key| all.replica_sets.get(&key))
            && let Some(owner) = controller_of(&set.metadata)
        {
            q.add(Key::new(change.key().namespace, owner.name.clone()), change.cause());
        }
    });
    let worker = Arc::new(Worker { shared: shared.clone(), recorder });
    queue.work("deployment", WORKERS, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync(key, cause).await }
    });
}

struct Worker {
    shared: Shared,
    recorder: Recorder,
}

/// One look at one deployment.
struct Look<'a> {
    worker: &'a Worker,
    key: &'a Key,
    cause: &'a Option<Cause>,
    deployment: &'a Deployment,
    spec: DeploymentSpec,
}

impl Worker {
    async fn sync(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(deployment) = self.shared.deployments.get(&key) else { return Ok(Outcome::Done) };
        let spec = deployment.spec.clone().unwrap_or_default();
        let look = Look { worker: self, key: &key, cause: &cause, deployment: &deployment, spec };
        look.sync().await
    }
}

impl Look<'_> {
    fn sets_api(&self) -> kube::Api<ReplicaSet> {
        self.worker.shared.config.client.caused_by(self.cause.clone()).within(&self.key.namespace)
    }

    async fn sync(&self) -> Result<Outcome, Error> {
        let mut sets = self.claim().await?;
        sets.sort_by_key(|s| (s.metadata.creation_timestamp.clone().map(|t| t.0), s.metadata.name.clone()));
        if self.deployment.metadata.deletion_timestamp.is_some() {
            return self.write_status(&sets, None, false).await;
        }
        let new = sets.iter().find(|s| {
            s.spec
                .as_ref()
                .and_then(|s| s.template.as_ref())
                .is_some_and(|t| same_template(t, &self.spec.template))
        });
        let new = new.cloned();
        let paused = self.spec.paused.unwrap_or(false);
        if paused || self.scaled_meanwhile(&sets) {
            self.share_out(&sets, new.as_ref()).await?;
            return self.write_status(&sets, new.as_ref(), false).await;
        }
        let highest = sets
            .iter()
            .filter(|s| new.as_ref().is_none_or(|n| n.metadata.uid != s.metadata.uid))
            .map(|s| revision_of(&s.metadata))
            .max()
            .unwrap_or(0);
        let (new, made) = match new {
            Some(set) => (self.refresh(set, highest + 1).await?, false),
            None => {
                let goal = Goal::of(&self.spec);
                let total: i32 = sets.iter().map(|s| Set::of(s).wanted).sum();
                let running = goal.recreate && self.old_pods(&sets, None);
                let first = match goal.recreate {
                    true if running || total > 0 => 0,
                    true => goal.replicas,
                    false => (goal.replicas + goal.surge - total).clamp(0, goal.replicas),
                };
                (self.create(highest + 1, first).await?, true)
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
        self.write_status(&all, Some(&new), made).await
    }

    /// The deployment's sets: its own that match, and orphans that match, which it adopts.
    async fn claim(&self) -> Result<Vec<Arc<ReplicaSet>>, Error> {
        let owner = owned_by(self.deployment);
        let mut mine = Vec::new();
        for set in self.worker.shared.replica_sets.within(&self.key.namespace) {
            let matches = selects(&self.spec.selector, set.metadata.labels.as_ref());
            let name = set.metadata.name.clone().unwrap_or_default();
            match controller_of(&set.metadata) {
                Some(controller) if controller.uid != owner.uid => {}
                Some(_) if matches => mine.push(set),
                Some(_) => {
                    let patch = json!({"metadata": {"uid": set.metadata.uid, "ownerReferences": [{"$patch": "delete", "uid": owner.uid}]}});
                    self.sets_api().patch(&name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
                }
                None if matches
                    && set.metadata.deletion_timestamp.is_none()
                    && self.deployment.metadata.deletion_timestamp.is_none() =>
                {
                    let patch = json!({"metadata": {"uid": set.metadata.uid, "ownerReferences": [owner]}});
                    let adopted = self
                        .sets_api()
                        .patch(&name, &PatchParams::default(), &Patch::Strategic(patch))
                        .await?;
                    mine.push(Arc::new(adopted));
                }
                None => {}
            }
        }
        Ok(mine)
    }

    /// Is any pod of these sets still there?
    fn old_pods(&self, sets: &[Arc<ReplicaSet>], new: Option<&ReplicaSet>) -> bool {
        let uids: Vec<&String> = sets
            .iter()
            .filter(|s| new.is_none_or(|n| n.metadata.uid != s.metadata.uid))
            .filter_map(|s| s.metadata.uid.as_ref())
            .collect();
        let live = |pod: &Pod| !matches!(super::pods::phase(pod), "Succeeded" | "Failed");
        self.worker
            .shared
            .pods
            .within(&self.key.namespace)
            .iter()
            .any(|p| live(p) && controller_of(&p.metadata).is_some_and(|o| uids.contains(&&o.uid)))
    }

    /// Did `spec.replicas` change since the sets were last written?
    fn scaled_meanwhile(&self, sets: &[Arc<ReplicaSet>]) -> bool {
        let replicas = self.spec.replicas.unwrap_or(1).to_string();
        sets.iter().filter(|s| Set::of(s).wanted > 0).any(|set| {
            let told = set.metadata.annotations.as_ref().and_then(|a| a.get(DESIRED));
            told.is_some_and(|told| *told != replicas)
        })
    }

    async fn share_out(&self, sets: &[Arc<ReplicaSet>], new: Option<&Arc<ReplicaSet>>) -> Result<(), Error> {
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
                // The new set is complete: the rest goes.
                if let Some(new) = new
                    && self.is_complete(sets, new)
                {
                    live.iter()
                        .filter(|s| s.metadata.uid != new.metadata.uid)
                        .map(|s| Set::of(s))
                        .map(|s| Scaling { name: s.name, from: s.wanted, to: 0 })
                        .collect()
                } else {
                    let numbers: Vec<(Set, i32)> = live
                        .iter()
                        .map(|s| {
                            let max = s.metadata.annotations.as_ref().and_then(|a| a.get(MAX)?.parse().ok());
                            (Set::of(s), max.unwrap_or(goal.replicas + goal.surge))
                        })
                        .collect();
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

    /// Writes the number, and the annotations that tell a later look what the deployment wanted then.
    async fn scale(&self, set: &ReplicaSet, scaling: &Scaling) -> Result<(), Error> {
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
        match self.sets_api().patch(&scaling.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {}
            Err(error) if is_code(&error, 409) => {
                return Err(Error::NotYet("the replica set changed meanwhile".into()));
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
            let detail = json!({"replicaSet": scaling.name, "from": scaling.from, "to": scaling.to});
            let record =
                record("scale", "deployments", self.key, self.cause).took(start.elapsed()).detail(detail);
            self.worker.shared.tap("deployment-controller").emit(record);
        }
        Ok(())
    }

    fn set_annotations(&self, revision: i64) -> BTreeMap<String, String> {
        let goal = Goal::of(&self.spec);
        let mut annotations: BTreeMap<String, String> =
            self.deployment.metadata.annotations.clone().unwrap_or_default();
        annotations.retain(|key, _| !own_annotation(key));
        annotations.insert(REVISION.into(), revision.to_string());
        annotations.insert(DESIRED.into(), goal.replicas.to_string());
        annotations.insert(MAX.into(), (goal.replicas + goal.surge).to_string());
        annotations
    }

    async fn create(&self, revision: i64, replicas: i32) -> Result<Arc<ReplicaSet>, Error> {
        let start = clock::Instant::now();
        let collisions = self.deployment.status.as_ref().and_then(|s| s.collision_count).unwrap_or(0);
        let hash = template_hash(&self.spec.template, collisions);
        let name = format!("{}-{hash}", self.key.name);
        let mut template = self.spec.template.clone();
        let meta = template.metadata.get_or_insert_default();
        meta.labels.get_or_insert_default().insert(HASH.into(), hash.clone());
        let mut selector: LabelSelector = self.spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(HASH.into(), hash);
        let set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(self.key.namespace.clone()),
                labels: template.metadata.as_ref().and_then(|m| m.labels.clone()),
                annotations: Some(self.set_annotations(revision)),
                owner_references: Some(vec![owned_by(self.deployment)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(replicas),
                selector,
                template: Some(template),
                min_ready_seconds: self.spec.min_ready_seconds,
            }),
            status: None,
        };
        match self.sets_api().create(&PostParams::default(), &set).await {
            Ok(made) => {
                if replicas > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {replicas}");
                    let about = reference(self.deployment);
                    self.worker.recorder.normal(&about, "ScalingReplicaSet", message, self.cause.clone());
                }
                let detail = json!({"replicaSet": name, "from": 0, "to": replicas, "revision": revision});
                let record = record("create", "deployments", self.key, self.cause).took(start.elapsed());
                self.worker.shared.tap("deployment-controller").emit(record.detail(detail));
                Ok(Arc::new(made))
            }
            Err(error) if is_code(&error, 409) => {
                let there = self.sets_api().get(&name).await?;
                let ours = controller_of(&there.metadata)
                    .is_some_and(|o| Some(&o.uid) == self.deployment.metadata.uid.as_ref());
                let same = there.spec.as_ref().and_then(|s| s.template.as_ref());
                if ours && same.is_some_and(|t| same_template(t, &self.spec.template)) {
                    return Ok(Arc::new(there)); // the cache was behind
                }
                // Another template has this hash: count the collision, the next look takes another name.
                let patch = json!({"status": {"collisionCount": collisions + 1}});
                let api = self.worker.shared.config.client.within::<Deployment>(&self.key.namespace);
                api.patch_status(&self.key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
                Err(Error::NotYet("the replica set's name is taken".into()))
            }
            Err(error) => {
                let text = match &error {
                    kube::Error::Api(status) => status.message.clone(),
                    other => other.to_string(),
                };
                let message = format!("Failed to create new replica set {name:?}: {text}");
                self.worker.recorder.warning(
                    &reference(self.deployment),
                    "ReplicaSetCreateError",
                    message,
                    self.cause.clone(),
                );
                Err(error.into())
            }
        }
    }

    /// Brings an existing new set's annotations up to date: it may be an old one that a rollback made new again.
    async fn refresh(&self, set: Arc<ReplicaSet>, next: i64) -> Result<Arc<ReplicaSet>, Error> {
        let have = revision_of(&set.metadata);
        let revision = have.max(next);
        let mut want = self.set_annotations(revision);
        let stored = set.metadata.annotations.clone().unwrap_or_default();
        if have > 0 && have < revision {
            let history = stored.get(REVISION_HISTORY).filter(|h| !h.is_empty());
            let history = history.map_or(have.to_string(), |h| format!("{h},{have}"));
            want.insert(REVISION_HISTORY.into(), history);
        }
        // The numbers are written together with the replicas, when the set is scaled.
        want.remove(DESIRED);
        want.remove(MAX);
        let ready = self.spec.min_ready_seconds;
        let same_ready =
            set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0) == ready.unwrap_or(0);
        if want.iter().all(|(k, v)| stored.get(k) == Some(v)) && same_ready {
            return Ok(set);
        }
        let name = set.metadata.name.clone().unwrap_or_default();
        let patch = json!({"metadata": {"uid": set.metadata.uid, "annotations": want}, "spec": {"minReadySeconds": ready}});
        Ok(Arc::new(self.sets_api().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?))
    }

    /// The deployment carries its newest set's revision.
    async fn set_revision(&self, new: &ReplicaSet) -> Result<(), Error> {
        let revision = revision_of(&new.metadata);
        if revision_of(&self.deployment.metadata) == revision {
            return Ok(());
        }
        let patch = json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
        let api = self
            .worker
            .shared
            .config
            .client
            .caused_by(self.cause.clone())
            .within::<Deployment>(&self.key.namespace);
        match api.patch(&self.key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if !is_code(&error, 404) => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn is_complete(&self, sets: &[Arc<ReplicaSet>], new: &ReplicaSet) -> bool {
        let replicas = self.spec.replicas.unwrap_or(1);
        let total: i32 = sets.iter().map(|s| Set::of(s).pods).sum();
        let new = Set::of(new);
        new.wanted == replicas && new.pods == replicas && new.available == replicas && total == replicas
    }

    /// Old empty sets beyond `revisionHistoryLimit` go, the oldest first.
    async fn clean_up(&self, old: &[Arc<ReplicaSet>]) -> Result<(), Error> {
        let keep = self.spec.revision_history_limit.unwrap_or(10).max(0) as usize;
        let mut empty: Vec<&Arc<ReplicaSet>> = old
            .iter()
            .filter(|s| {
                let numbers = Set::of(s);
                numbers.wanted == 0 && numbers.pods == 0 && s.metadata.deletion_timestamp.is_none()
            })
            .collect();
        empty.sort_by_key(|s| revision_of(&s.metadata));
        let surplus = empty.len().saturating_sub(keep);
        for set in empty.into_iter().take(surplus) {
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid: set.metadata.uid.clone(), resource_version: None }),
                ..DeleteParams::default()
            };
            match self.sets_api().delete(set.metadata.name.as_deref().unwrap_or_default(), &params).await {
                Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn write_status(
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
        if self.deployment.status.as_ref() == Some(&fresh) {
            return Ok(again);
        }
        let mut patch = json!({"metadata": {"uid": self.deployment.metadata.uid}, "status": {
            "replicas": null, "updatedReplicas": null, "readyReplicas": null, "availableReplicas": null,
            "unavailableReplicas": null, "terminatingReplicas": null,
        }});
        if let (Some(all), Ok(Value::Object(new))) =
            (patch["status"].as_object_mut(), serde_json::to_value(&fresh))
        {
            all.extend(new);
        }
        let api = self
            .worker
            .shared
            .config
            .client
            .caused_by(self.cause.clone())
            .within::<Deployment>(&self.key.namespace);
        match api.patch_status(&self.key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => Err(error.into()),
            _ => Ok(again),
        }
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
    let sum = |f: fn(&Set) -> i32| sets.iter().map(f).sum::<i32>();
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

    fn goal(replicas: i32, surge: i32, unavailable: i32) -> Goal {
        Goal { replicas, surge, unavailable, recreate: false }
    }

    /// Plays a rollout where every new pod becomes ready and every surplus pod ends between two looks.
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
        Set { name: name.into(), wanted: n, pods: n, ready: n, available: n, created: None }
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
    fn sick_old_pods_go_first() {
        let sick = Set { available: 0, ..set("sick", 1) };
        let steps = decide(&goal(3, 1, 0), &set("new", 1), &[set("old", 2), sick], true);
        assert_eq!(steps, [Scaling { name: "sick".into(), from: 1, to: 0 }]);
    }

    #[test]
    fn recreate_waits_for_the_last_old_pod() {
        let recreate = Goal { replicas: 2, surge: 0, unavailable: 2, recreate: true };
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
