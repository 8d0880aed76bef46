//! # Disruption budgets: how many pods may be taken away on purpose, right now
//!
//! A budget names pods by their labels and says how many must stay, as a number or as a part of
//! what their owners want. This loop only counts; the eviction of the API server spends what the
//! status allows, and writes down which pod it let go, until the pod is seen to go. Source:
//! `pkg/controller/disruption`.

mod stale;

use super::amount;
use super::pods::{controller_of, ready_since};
use super::resources::Mapper;
use super::write::{self, Guard};
use crate::error::Error;
use crate::shared::{Controller, Shared, record};
use api::labels::Selector;
use client::{
    Api, Change, Client, Codec, Key, Outcome, Recorder, WorkQueue, is_code, optional, reference, segment,
};
use clock::{self, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::DynamicObject;
use kube::core::ApiResource;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

const WORKERS: usize = 2;
/// A pod whose eviction was allowed counts as gone for this time. If it is still there then, no
/// client has deleted it.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);
const ALLOWED: &str = "DisruptionAllowed";
const UNMANAGED: &str = "As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. \
                         To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.";

/// Returns an amount as a number of pods, rounded up: a budget keeps a pod too many rather than one
/// too few.
fn scaled(amount: &IntOrString, total: i32) -> Result<i32, Error> {
    let why = "invalid value for IntOrString: invalid type: string is not a percentage";
    amount::scaled(amount, total, true).ok_or_else(|| Error::Spec(why.into()))
}

/// Returns whether the count comes from the pods' owners, and not from the pods that are there.
///
/// "At most one may be missing" needs to know of how many. The pods that exist cannot tell: those
/// that are missing are not among them. So the owner's `spec.replicas` is asked.
fn asks_owners(spec: &PodDisruptionBudgetSpec) -> bool {
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

/// Pure: expected pods, and how many of them must be healthy. `scale` is what their owners want
/// together.
///
/// Upstream: `getExpectedPodCount`. The owners want 7 pods together, 6 exist:
///
/// ```text
/// minAvailable: 2        expected 6, 2 must be healthy
/// minAvailable: "50%"    expected 7, 4 must be healthy (3.5 rounded up)
/// maxUnavailable: 1      expected 7, 6 must be healthy
/// maxUnavailable: "30%"  expected 7, 4 must be healthy (2.1 rounded up to 3)
/// ```
fn wanted(spec: &PodDisruptionBudgetSpec, pods: usize, scale: i32) -> Result<(i32, i32), Error> {
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(max), _) => Ok((scale, (scale - scaled(max, scale)?).max(0))),
        (None, Some(min @ IntOrString::Int(_))) => Ok((pods as i32, scaled(min, 0)?)),
        (None, Some(min)) => Ok((scale, scaled(min, scale)?)),
        (None, None) => Ok((0, 0)),
    }
}

/// The healthy pods of a budget, and the evictions that are under way.
#[derive(Debug, Default)]
struct Count {
    healthy: i32,
    /// Evicted, and not seen to go yet.
    disrupted: BTreeMap<String, Time>,
    /// Evicted long ago, and still there.
    forgotten: Vec<Arc<Pod>>,
    /// When the first of the disrupted counts as forgotten.
    recheck: Option<Duration>,
}

/// Pure: counts the pods of a budget.
///
/// An evicted pod is not healthy from the moment the eviction was allowed, although it still runs.
/// Otherwise two drains within a second would both evict a pod where only one may go. After two
/// minutes without a deletion the pod counts again. Upstream: `buildDisruptedPodMap`.
fn count(pods: &[Arc<Pod>], before: &BTreeMap<String, Time>, now: Timestamp) -> Count {
    let mut count = Count::default();
    for pod in pods.iter().filter(|p| p.metadata.deletion_timestamp.is_none()) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        if let Some(since) = before.get(&name) {
            let until = clock::after(since.0, DELETION_TIMEOUT);
            let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            if left.is_zero() {
                count.forgotten.push(pod.clone());
            } else {
                count.recheck = Some(count.recheck.map_or(left, |r| r.min(left)));
                count.disrupted.insert(name, since.clone());
                continue;
            }
        }
        count.healthy += i32::from(ready_since(pod).is_some());
    }
    count
}

/// Pure: the conditions with `DisruptionAllowed` as it is now; its time changes only with its
/// status.
fn conditions(old: Option<&PodDisruptionBudgetStatus>, new: Condition) -> Vec<Condition> {
    let mut all = old.and_then(|s| s.conditions.clone()).unwrap_or_default();
    match all.iter_mut().find(|c| c.type_ == new.type_) {
        Some(found) => {
            let since = if found.status == new.status {
                found.last_transition_time.clone()
            } else {
                new.last_transition_time.clone()
            };
            *found = Condition { last_transition_time: since, ..new };
        }
        None => all.push(new),
    }
    all
}

fn condition(
    allowed: bool,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: ALLOWED.into(),
        status: if allowed { "True" } else { "False" }.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: Time(now),
    }
}

/// Pure: the status that the counts give.
///
/// Three ready pods of which two must be healthy: `disruptionsAllowed` 1. `kubectl drain` evicts
/// one: healthy 2, allowed 0, so the next eviction gets 429 and is tried again by the client until
/// the replacement is ready.
fn status(
    budget: &PodDisruptionBudget,
    count: &Count,
    (expected, desired): (i32, i32),
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    // With no pods nothing is allowed: the first ones must not go before they are counted.
    let allowed = if expected > 0 { (count.healthy - desired).max(0) } else { 0 };
    let generation = budget.metadata.generation;
    let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
    PodDisruptionBudgetStatus {
        conditions: Some(conditions(
            budget.status.as_ref(),
            condition(allowed > 0, reason, "", generation, now),
        )),
        current_healthy: count.healthy,
        desired_healthy: desired,
        disrupted_pods: (!count.disrupted.is_empty()).then(|| count.disrupted.clone()),
        disruptions_allowed: allowed,
        expected_pods: expected,
        observed_generation: generation,
    }
}

/// Pure: the status when the pods could not be counted: no pod may go, and why.
fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let old = budget.status.clone().unwrap_or_default();
    let failure = condition(false, "SyncFailed", why, old.observed_generation, now);
    PodDisruptionBudgetStatus {
        conditions: Some(conditions(Some(&old), failure)),
        disruptions_allowed: 0,
        ..old
    }
}

/// Returns whether a selector chooses the pod: an empty one chooses every pod of the namespace, a
/// missing one none.
fn selects(selector: Option<&LabelSelector>, pod: &Pod) -> bool {
    let selector = selector.and_then(|s| s.encode().ok()).unwrap_or_default();
    let labels = serde_json::to_value(&pod.metadata.labels).unwrap_or_default();
    Selector::of(&selector).is_some_and(|s| s.matches(&labels))
}

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<PodDisruptionBudget>();
        informers.all::<Pod>();
        informers.all::<ReplicaSet>();
        informers.all::<Deployment>();
    },
    start,
};

fn start(shared: &Shared) {
    stale::start(shared);
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "controllermanager", "");
    let q = queue.clone();
    shared.informer::<PodDisruptionBudget>().on(move |change| q.add(change.key(), change.cause()));
    let (q, all, events) = (queue.clone(), shared.clone(), recorder.clone());
    shared.informer::<Pod>().on(move |change| {
        let mut seen = vec![change.object()];
        if let Change::Updated { old, .. } = change {
            seen.push(old);
        }
        let namespace = change.key().namespace;
        let budgets = all.informer::<PodDisruptionBudget>().within(&namespace);
        let mine = |pod: &Pod| -> Vec<Key> {
            let selector = |b: &PodDisruptionBudget| b.spec.as_ref().and_then(|s| s.selector.clone());
            budgets.iter().filter(|b| selects(selector(b).as_ref(), pod)).map(|b| Key::of(&**b)).collect()
        };
        let mut keys: Vec<Key> = seen.iter().flat_map(|pod| mine(pod)).collect();
        keys.sort();
        keys.dedup();
        if let (Change::Added(pod), [first, _, ..]) = (change, keys.as_slice()) {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let message = format!(
                "Pod {namespace:?}/{name:?} matches multiple PodDisruptionBudgets.  Chose {:?} arbitrarily.",
                first.name
            );
            events.warning(&reference(&**pod), "MultiplePodDisruptionBudgets", message, change.cause());
        }
        keys.into_iter().for_each(|key| q.add(key, change.cause()));
    });
    let worker = Arc::new(Worker { shared: shared.clone(), recorder, kinds: Mapper::default() });
    shared.report_panics(&queue, shared.informer::<PodDisruptionBudget>(), "disruption");
    queue.work("disruption", WORKERS, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync(key, cause).await }
    });
}

struct Worker {
    shared: Shared,
    recorder: Recorder,
    /// Finds where the owners' kinds are served.
    kinds: Mapper,
}

impl Worker {
    async fn sync(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(budget) = self.shared.informer::<PodDisruptionBudget>().get(&key) else {
            return Ok(Outcome::Done);
        };
        let start = clock::Instant::now();
        let about = reference(&*budget);
        let spec = budget.spec.clone().unwrap_or_default();
        let pods = self.shared.informer::<Pod>().within(&key.namespace);
        let pods: Vec<Arc<Pod>> = pods.into_iter().filter(|p| selects(spec.selector.as_ref(), p)).collect();
        if pods.is_empty() {
            self.recorder.normal(&about, "NoPods", "No matching pods found", cause.clone());
        }
        let now = clock::now();
        let expected = match self.expected(&budget, &spec, &pods, &cause).await {
            Ok(expected) => expected,
            Err(error) => {
                let why = error.message();
                let text = format!("Failed to calculate the number of expected pods: {why}");
                self.recorder.warning(&about, "CalculateExpectedPodCountFailed", text, cause.clone());
                self.write(&key, &budget, &failed(&budget, &why, now), &cause).await?;
                return match error {
                    Error::Spec(_) => Ok(Outcome::Done),
                    error => Err(error),
                };
            }
        };
        let before = budget.status.as_ref().and_then(|s| s.disrupted_pods.clone()).unwrap_or_default();
        let count = count(&pods, &before, now);
        for pod in &count.forgotten {
            let text =
                format!("Pod was expected by PDB {}/{} to be deleted but it wasn't", key.namespace, key.name);
            self.recorder.warning(&reference(&**pod), "NotDeleted", text, cause.clone());
        }
        let fresh = status(&budget, &count, expected, now);
        if self.write(&key, &budget, &fresh, &cause).await? {
            let event = Event::ReconcileBudget {
                expected: fresh.expected_pods,
                healthy: fresh.current_healthy,
                desired: fresh.desired_healthy,
                allowed: fresh.disruptions_allowed,
            };
            let tap = self.shared.tap(Component::DisruptionController);
            tap.emit(record(event, "poddisruptionbudgets", &key, &cause).took(start.elapsed()));
        }
        Ok(count.recheck.map_or(Outcome::Done, Outcome::Pause))
    }

    /// Returns how many pods are expected, and how many must be healthy.
    async fn expected(
        &self,
        budget: &PodDisruptionBudget,
        spec: &PodDisruptionBudgetSpec,
        pods: &[Arc<Pod>],
        cause: &Option<Cause>,
    ) -> Result<(i32, i32), Error> {
        let mut scale: i32 = 0;
        if asks_owners(spec) {
            let mut owners: BTreeMap<String, i32> = BTreeMap::new();
            let mut unmanaged = false;
            for pod in pods {
                let Some(owner) = controller_of(&pod.metadata) else {
                    unmanaged = true;
                    continue;
                };
                if !owners.contains_key(&owner.uid) {
                    let (uid, replicas) = self.scale_of(pod, owner).await?;
                    owners.insert(owner.uid.clone(), 0);
                    owners.insert(uid, replicas);
                }
            }
            scale = owners.values().fold(0i32, |sum, n| sum.saturating_add(*n));
            if unmanaged {
                let selector = spec.selector.as_ref().and_then(|s| s.encode().ok()).unwrap_or_default();
                let selector = Selector::of(&selector).map_or_else(String::new, |s| s.to_string());
                let text = format!(
                    "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. {UNMANAGED}"
                );
                self.recorder.warning(&reference(budget), "UnmanagedPods", text, cause.clone());
            }
        }
        wanted(spec, pods.len(), scale)
    }

    /// Returns uid and wanted replicas of the object that sets how many of a pod there are: its
    /// owner, or for a ReplicaSet the Deployment above, if there is one. A kind of another API
    /// group may be named `ReplicaSet` as well.
    async fn scale_of(&self, pod: &Pod, owner: &OwnerReference) -> Result<(String, i32), Error> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let none = || {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            Error::NotYet(format!("found no controllers for pod {name:?}"))
        };
        let is_of_apps = matches!(owner.api_version.split_once('/'), Some(("apps" | "extensions", _)));
        if !is_of_apps || owner.kind != "ReplicaSet" {
            return self.scale(&namespace, owner).await?.map(|n| (owner.uid.clone(), n)).ok_or_else(none);
        }
        let set = self.shared.informer::<ReplicaSet>().get(&Key::new(namespace.clone(), owner.name.clone()));
        let set = set.filter(|s| s.metadata.uid.as_ref() == Some(&owner.uid)).ok_or_else(none)?;
        let replicas = |n: Option<i32>| n.unwrap_or(1);
        let own = (owner.uid.clone(), replicas(set.spec.as_ref().and_then(|s| s.replicas)));
        let Some(above) = controller_of(&set.metadata).filter(|o| o.kind == "Deployment") else {
            return Ok(own);
        };
        let is_above = |d: &Deployment| d.metadata.uid.as_ref() == Some(&above.uid);
        let key = Key::new(namespace, above.name.clone());
        let mut deployment = self.shared.informer::<Deployment>().get(&key).filter(|d| is_above(d));
        if deployment.is_none() {
            // The cache may be behind that of the sets.
            let api = self.shared.config.client.within::<Deployment>(&key.namespace);
            deployment = optional(api.get(&key.name).await)?.filter(is_above).map(Arc::new);
        }
        // Once it is gone no controller changes the set's own number any more.
        let Some(deployment) = deployment else { return Ok(own) };
        Ok((above.uid.clone(), replicas(deployment.spec.as_ref().and_then(|s| s.replicas))))
    }

    /// Asks for `spec.replicas` at the `/scale` of any kind; `None` if the owner is not there.
    /// Upstream: `getScaleController`.
    async fn scale(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<i32>, Error> {
        let client = &self.shared.config.client;
        let plural = self.plural(client, owner).await?;
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let resource = ApiResource {
            group: group.into(),
            version: segment(version),
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            plural: plural.clone(),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client.kube(), namespace, &resource);
        let scale = match api.get_subresource("scale", &owner.name).await {
            Ok(scale) => scale,
            Err(kube::Error::Api(status)) if status.code == 404 && status.reason == "NotFound" => {
                return Ok(None);
            }
            Err(error) if is_code(&error, 404) => {
                // Another try would fail for the same reason, with an Event each time.
                let what = api::status::qualified(group, &plural);
                return Err(Error::Spec(format!("{what} does not implement the scale subresource")));
            }
            Err(error) => return Err(error.into()),
        };
        // Another object may have the owner's name by now.
        if scale.metadata.uid.as_ref() != Some(&owner.uid) {
            return Ok(None);
        }
        let replicas = scale.data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
        Ok(Some(replicas.clamp(0, i64::from(i32::MAX)) as i32))
    }

    async fn plural(&self, client: &Client, owner: &OwnerReference) -> Result<String, Error> {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let found = self.kinds.find(client, group, &owner.kind).await?;
        let missing = || {
            let place = if group.is_empty() { version } else { &owner.api_version };
            Error::Unserved(format!("no matches for kind {:?} in version {place:?}", owner.kind))
        };
        found.map(|resource| resource.api.plural).ok_or_else(missing)
    }

    /// Writes the status if it is another one. Returns whether it did.
    async fn write(
        &self,
        key: &Key,
        budget: &PodDisruptionBudget,
        fresh: &PodDisruptionBudgetStatus,
        cause: &Option<Cause>,
    ) -> Result<bool, Error> {
        let api =
            self.shared.config.client.caused_by(cause.clone()).within::<PodDisruptionBudget>(&key.namespace);
        // The eviction writes it, too, on the condition that it was not written since it was read.
        write::status(&api, &budget.metadata, Guard::Version, budget.status.as_ref(), fresh).await
    }
}

#[cfg(test)]
mod tests;
