//! What must hold at the end of a history, and what must have held all the time.

use super::nodes::NODES;
use crate::api::meta;
use crate::api::value::{self, at, int, text};
use crate::client::simulated::{Item, Store, kind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A look at all objects.
struct Picture {
    /// By plural name.
    objects: BTreeMap<&'static str, Vec<Arc<Item>>>,
    wrong: Vec<String>,
}

fn controller(object: &Value) -> Option<&Value> {
    value::list(object, "metadata.ownerReferences").iter().find(|owner| owner["controller"] == true)
}

fn is_active(pod: &Value) -> bool {
    !matches!(text(pod, "status.phase"), "Succeeded" | "Failed") && !meta::is_terminating(pod)
}

/// Everything that is not as it is wanted.
pub fn wrong(store: &Store) -> Vec<String> {
    let mut objects: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (kind, item) in store.everything() {
        objects.entry(kind.plural).or_default().push(item);
    }
    let mut picture = Picture { objects, wrong: Vec::new() };
    picture.left_over();
    picture.orphans();
    for (plural, check) in [
        ("deployments", Picture::deployment as fn(&mut Picture, &Value)),
        ("replicasets", Picture::replica_set),
        ("statefulsets", Picture::stateful_set),
        ("daemonsets", Picture::daemon_set),
        ("jobs", Picture::job),
    ] {
        for item in picture.all(plural) {
            check(&mut picture, &item.value);
        }
    }
    picture.wrong
}

impl Picture {
    fn all(&self, plural: &str) -> Vec<Arc<Item>> {
        self.objects.get(plural).cloned().unwrap_or_default()
    }

    fn owned(&self, plural: &str, owner: &Value) -> Vec<Arc<Item>> {
        let mut all = self.all(plural);
        all.retain(|item| controller(&item.value).is_some_and(|o| o["uid"] == meta::uid(owner)));
        all
    }

    fn expect(&mut self, holds: bool, object: &Value, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(format!("{} {}: {}", text(object, "kind"), meta::name(object), what()));
        }
    }

    /// The counts of a status, and that it is of the newest spec.
    fn counts(&mut self, object: &Value, wanted: i64, fields: &[&str]) {
        let seen = int(object, "status.observedGeneration");
        let generation = meta::generation(object);
        self.expect(seen == Some(generation), object, || {
            format!("generation {generation}, observed {seen:?}")
        });
        for field in fields {
            let told = int(at(object, "status"), field).unwrap_or(0);
            self.expect(told == wanted, object, || format!("status.{field} is {told}, not {wanted}"));
        }
    }

    /// Nothing is still being deleted, and nothing has lost its last owner.
    fn left_over(&mut self) {
        let all: Vec<Arc<Item>> = self.objects.values().flatten().cloned().collect();
        let uids: BTreeSet<&str> = all.iter().map(|item| meta::uid(&item.value)).collect();
        for item in &all {
            let object = &item.value;
            let finalizers: Vec<&str> = meta::finalizers(object).collect();
            self.expect(!meta::is_terminating(object), object, || {
                format!("it is still being deleted, finalizers {finalizers:?}")
            });
            for owner in value::list(object, "metadata.ownerReferences") {
                let there = owner["uid"].as_str().is_some_and(|uid| uids.contains(uid));
                self.expect(there, object, || {
                    format!("its owner {} {} is gone", owner["kind"], owner["name"])
                });
            }
        }
    }

    /// No pod without an owner is selected by a workload that could adopt it.
    fn orphans(&mut self) {
        for pod in self.all("pods") {
            let pod = &pod.value;
            let held = controller(pod).is_none() && meta::finalizers(pod).next().is_some();
            self.expect(!held, pod, || "nobody counts it, and its finalizer is still there".into());
            if controller(pod).is_some() || !is_active(pod) {
                continue;
            }
            for plural in ["replicasets", "statefulsets", "daemonsets"] {
                for owner in self.all(plural) {
                    let owner = &owner.value;
                    let mut labels = value::pairs(owner, "spec.selector.matchLabels");
                    let chosen = labels.all(|(name, wanted)| meta::label(pod, name) == Some(wanted));
                    self.expect(!chosen, pod, || {
                        format!("{plural} {} has not adopted it", meta::name(owner))
                    });
                }
            }
        }
    }

    fn deployment(&mut self, deployment: &Value) {
        let wanted = int(deployment, "spec.replicas").unwrap_or(1);
        self.counts(
            deployment,
            wanted,
            &["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"],
        );
        let image = |object: &Value| at(object, "spec.template.spec.containers")[0]["image"].clone();
        let sets = self.owned("replicasets", deployment);
        let (new, old): (Vec<_>, Vec<_>) =
            sets.iter().partition(|set| image(&set.value) == image(deployment));
        self.expect(new.len() == 1, deployment, || format!("{} sets of its template", new.len()));
        for set in new {
            let has = int(&set.value, "spec.replicas");
            self.expect(has == Some(wanted), deployment, || format!("its set has {has:?}, not {wanted}"));
        }
        for set in &old {
            let has = int(&set.value, "spec.replicas");
            self.expect(has == Some(0), deployment, || format!("an old set has {has:?}"));
        }
        let limit = int(deployment, "spec.revisionHistoryLimit").unwrap_or(10);
        self.expect(old.len() as i64 <= limit, deployment, || {
            format!("{} old sets, limit {limit}", old.len())
        });
    }

    fn replica_set(&mut self, set: &Value) {
        let wanted = int(set, "spec.replicas").unwrap_or(1);
        let active = self.owned("pods", set).iter().filter(|p| is_active(&p.value)).count();
        self.expect(active as i64 == wanted, set, || format!("{active} pods, not {wanted}"));
        self.counts(set, wanted, &["replicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas"]);
    }

    fn stateful_set(&mut self, set: &Value) {
        let wanted = int(set, "spec.replicas").unwrap_or(1);
        self.counts(
            set,
            wanted,
            &["replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"],
        );
        let pods = self.owned("pods", set);
        let has: BTreeSet<String> = pods.iter().map(|p| meta::name(&p.value).to_string()).collect();
        let names: BTreeSet<String> = (0..wanted).map(|n| format!("{}-{n}", meta::name(set))).collect();
        self.expect(has == names, set, || format!("pods {has:?}, not {names:?}"));
        let image = |object: &Value| at(object, "spec.containers")[0]["image"].clone();
        for pod in &pods {
            let same = image(&pod.value) == image(at(set, "spec.template"));
            self.expect(same, set, || format!("pod {} is of an old template", meta::name(&pod.value)));
        }
        let (current, update) = (text(set, "status.currentRevision"), text(set, "status.updateRevision"));
        self.expect(current == update, set, || format!("currentRevision {current}, updateRevision {update}"));
        if !value::list(set, "spec.volumeClaimTemplates").is_empty() {
            let claims = self.all("persistentvolumeclaims");
            for pod in &names {
                let there = claims.iter().any(|c| meta::name(&c.value) == format!("data-{pod}"));
                self.expect(there, set, || format!("pod {pod} has no claim"));
            }
        }
    }

    fn daemon_set(&mut self, set: &Value) {
        let pods = self.owned("pods", set);
        let mut on: Vec<&str> = pods.iter().map(|p| text(&p.value, "spec.nodeName")).collect();
        on.sort_unstable();
        self.expect(on == NODES, set, || format!("pods on {on:?}"));
        let image = |object: &Value| at(object, "spec.containers")[0]["image"].clone();
        let old = pods.iter().filter(|p| image(&p.value) != image(at(set, "spec.template"))).count();
        self.expect(old == 0, set, || format!("{old} pods of an old template"));
        let fields =
            ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled"];
        self.counts(set, NODES.len() as i64, &fields);
    }

    fn job(&mut self, job: &Value) {
        let conditions = value::list(job, "status.conditions");
        let has = |kind: &str| conditions.iter().any(|c| c["type"] == kind && c["status"] == "True");
        let (complete, failed) = (has("Complete"), has("Failed"));
        self.expect(complete != failed, job, || format!("complete: {complete}, failed: {failed}"));
        let pods = self.owned("pods", job);
        let active = pods.iter().filter(|p| is_active(&p.value)).count();
        self.expect(active == 0, job, || format!("{active} pods of a finished job are active"));
        let kept = pods.iter().filter(|p| meta::finalizers(&p.value).next().is_some()).count();
        self.expect(kept == 0, job, || format!("{kept} pods wait to be counted"));
        let (counted, wanted) = (int(job, "status.succeeded").unwrap_or(0), int(job, "spec.completions"));
        self.expect(!complete || Some(counted) == wanted, job, || {
            format!("{counted} of {wanted:?} succeeded")
        });
        let waiting = at(job, "status.uncountedTerminatedPods");
        let none = ["succeeded", "failed"].iter().all(|f| value::list(waiting, f).is_empty());
        self.expect(none, job, || format!("uncounted: {waiting}"));
    }
}

/// What was wrong on the way. With `only_late`, no request failed and no controller was killed: then no ReplicaSet may have made a pod beyond the
/// most that it ever wanted.
pub fn wrong_meanwhile(store: &Store, only_late: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if !only_late {
        return wrong;
    }
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for change in store.history(kind("replicasets")) {
        let set = &change.item.value;
        let wanted = usize::try_from(int(set, "spec.replicas").unwrap_or(1)).unwrap_or(0);
        let known = most.entry(meta::uid(set).to_string()).or_default();
        *known = wanted.max(*known);
    }
    // Uids of active pods, with their owners.
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for change in store.history(kind("pods")) {
        let (pod, uid) = (&change.item.value, meta::uid(&change.item.value));
        owners.remove(uid);
        let owner = controller(pod).filter(|o| o["kind"] == "ReplicaSet" && is_active(pod) && !change.gone);
        let Some(owner) = owner.and_then(|o| o["uid"].as_str()) else { continue };
        owners.insert(uid.to_string(), owner.to_string());
        let (have, limit) = (owners.values().filter(|o| *o == owner).count(), most.get(owner));
        if change.was.is_none() && limit.is_some_and(|limit| have > *limit) {
            wrong.push(format!("pod {} was one too many: {have} of {limit:?}", meta::name(pod)));
        }
    }
    wrong
}
