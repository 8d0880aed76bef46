//! What must hold at the end of a history, and what must have held all the time.

use super::nodes::NODES;
use crate::job;
use api::meta;
use api::value::{self, at, int, text};
use client::simulated::{Event, Item, Store, kind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A look at all objects.
struct Picture {
    /// By plural name.
    objects: BTreeMap<&'static str, Vec<Arc<Item>>>,
    /// The end of each pod that has succeeded, whether it is still there or not.
    succeeded: Vec<Arc<Item>>,
    /// Uids of objects that were created without an answer to their creator.
    unanswered: BTreeSet<String>,
    wrong: Vec<String>,
}

fn controller(object: &Value) -> Option<&Value> {
    value::list(object, "metadata.ownerReferences").iter().find(|owner| owner["controller"] == true)
}

/// Returns whether a pod has a volume for each of its set's claims.
fn has_claims(set: &Value, pod: &Value) -> bool {
    let volumes = value::list(pod, "spec.volumes");
    let claims = value::list(set, "spec.volumeClaimTemplates").iter();
    claims.map(|claim| format!("{}-{}", meta::name(claim), meta::name(pod))).all(|claim| {
        volumes.iter().any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim.as_str())
    })
}

/// Returns whether a pod's name is that of a pod of the StatefulSet.
fn is_member(set: &str, pod: &Value) -> bool {
    let rest = meta::name(pod).strip_prefix(set).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
}

fn is_active(pod: &Value) -> bool {
    !matches!(text(pod, "status.phase"), "Succeeded" | "Failed") && !meta::is_terminating(pod)
}

/// Returns all that is not as it is wanted. `unanswered`: uids of objects that were created without
/// an answer to their creator.
pub(super) fn wrong(store: &Store, unanswered: &BTreeSet<String>) -> Vec<String> {
    let mut objects: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (kind, item) in store.everything() {
        objects.entry(kind.plural).or_default().push(item);
    }
    let succeeds = |change: &Event| {
        let ended = |item: &Item| text(&item.value, "status.phase") == "Succeeded";
        ended(&change.item) && !change.was.as_ref().is_some_and(|was| ended(was))
    };
    let succeeded = store.history(kind("pods")).into_iter().filter(succeeds).map(|change| change.item);
    let mut picture = Picture {
        objects,
        succeeded: succeeded.collect(),
        unanswered: unanswered.clone(),
        wrong: Vec::new(),
    };
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

    /// Checks the counts of a status, and that it is of the newest spec.
    fn counts(&mut self, object: &Value, wanted: i64, fields: &[&str]) {
        let seen = int(object, "status.observedGeneration");
        let generation = meta::generation(object);
        self.expect(seen == Some(generation), object, || {
            format!("generation {generation}, observed {seen:?}")
        });
        for field in fields {
            let reported = int(at(object, "status"), field).unwrap_or(0);
            self.expect(reported == wanted, object, || format!("status.{field} is {reported}, not {wanted}"));
        }
    }

    /// Checks that nothing is still being deleted, and that all owners are there.
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

    /// Checks that no pod without an owner is selected by a workload that could adopt it. A
    /// StatefulSet adopts and keeps pods of its own name only.
    fn orphans(&mut self) {
        for pod in self.all("pods") {
            let pod = &pod.value;
            let owner = controller(pod).filter(|owner| owner["kind"] == "StatefulSet");
            let fits = owner.is_none_or(|owner| is_member(owner["name"].as_str().unwrap_or_default(), pod));
            self.expect(fits, pod, || "its StatefulSet has another name and has not released it".into());
            let held = controller(pod).is_none() && meta::finalizers(pod).next().is_some();
            self.expect(!held, pod, || "nobody counts it, and its finalizer is still there".into());
            if controller(pod).is_some() || !is_active(pod) {
                continue;
            }
            for plural in ["replicasets", "statefulsets", "daemonsets"] {
                for owner in self.all(plural) {
                    let owner = &owner.value;
                    let mut labels = value::pairs(owner, "spec.selector.matchLabels");
                    let chosen = labels.all(|(name, wanted)| meta::label(pod, name) == Some(wanted))
                        && (plural != "statefulsets" || is_member(meta::name(owner), pod));
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
        let (mut new, mut old): (Vec<_>, Vec<_>) =
            sets.iter().partition(|set| image(&set.value) == image(deployment));
        // An orphan whose name the deployment wanted counts as a collision while the cache still
        // shows its earlier owner; once it is adopted there are two sets of one template. As in
        // upstream's `FindNewReplicaSet` the oldest is the new one, and the other an old one.
        new.sort_by_key(|set| {
            (text(&set.value, "metadata.creationTimestamp").to_string(), meta::name(&set.value).to_string())
        });
        let collided = int(deployment, "status.collisionCount").unwrap_or(0) > 0;
        let more = new.split_off(new.len().min(1));
        self.expect(new.len() == 1 && (more.is_empty() || collided), deployment, || {
            format!("{} sets of its template", new.len() + more.len())
        });
        old.extend(more);
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

    /// Checks a set that has adopted a pod of an earlier set of its name, with other claims. The
    /// API server does not let a pod's volumes be changed. Upstream's controller makes the pod's
    /// claims, fails to write the pod, and goes no further until the pod is deleted.
    fn stuck(&mut self, set: &Value, pod: &Value) {
        let has = self.owned("pods", set).len() as i64;
        self.counts(set, has, &["replicas"]);
        let name = format!("data-{}", meta::name(pod));
        let there = self.all("persistentvolumeclaims").iter().any(|c| meta::name(&c.value) == name);
        self.expect(there, set, || format!("adopted pod {} has no claim", meta::name(pod)));
    }

    /// Returns whether a set that keeps to the order has adopted pods beyond its size of which the
    /// highest and another have ended. The highest goes first, and one that is not ready only if no
    /// lower one is ill: upstream 1.35 waits for ever as well (`processCondemned`).
    fn waits_for_the_ended(&self, set: &Value, wanted: i64) -> bool {
        let ordinal = |pod: &Item| meta::name(&pod.value).rsplit('-').next()?.parse::<i64>().ok();
        let has_ended = |pod: &Item| !is_active(&pod.value) && !meta::is_terminating(&pod.value);
        let pods = self.owned("pods", set);
        let beyond =
            pods.iter().filter_map(|pod| Some((ordinal(pod).filter(|n| *n >= wanted)?, has_ended(pod))));
        let beyond: BTreeMap<i64, bool> = beyond.collect();
        text(set, "spec.podManagementPolicy") == "OrderedReady"
            && beyond.values().next_back() == Some(&true)
            && beyond.values().filter(|ended| **ended).count() > 1
    }

    fn stateful_set(&mut self, set: &Value) {
        let wanted = int(set, "spec.replicas").unwrap_or(1);
        let pods = self.owned("pods", set);
        let names: BTreeSet<String> = (0..wanted).map(|n| format!("{}-{n}", meta::name(set))).collect();
        let unfit = |pod: &&Arc<Item>| names.contains(meta::name(&pod.value)) && !has_claims(set, &pod.value);
        if let Some(pod) = pods.iter().find(unfit) {
            return self.stuck(set, &pod.value);
        }
        if self.waits_for_the_ended(set, wanted) {
            return self.counts(set, pods.len() as i64, &["replicas"]);
        }
        self.counts(
            set,
            wanted,
            &["replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"],
        );
        let has: BTreeSet<String> = pods.iter().map(|p| meta::name(&p.value).to_string()).collect();
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

    /// Returns how many pods have succeeded of which the controller could not know when it made
    /// others: their requests were carried out, and the answers were lost. It made other pods in
    /// their place, and all may have succeeded before it saw them. Upstream counts those as well.
    fn unexpected(&self, job: &Value) -> i64 {
        let of_job = |pod: &&Arc<Item>| controller(&pod.value).is_some_and(|o| o["uid"] == meta::uid(job));
        let unanswered = |pod: &&Arc<Item>| self.unanswered.contains(meta::uid(&pod.value));
        self.succeeded.iter().filter(of_job).filter(unanswered).count() as i64
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
        let indexed = text(job, "spec.completionMode") == "Indexed";
        let most = wanted.unwrap_or(0) + if indexed { 0 } else { self.unexpected(job) };
        self.expect(!complete || (wanted.unwrap_or(0)..=most).contains(&counted), job, || {
            format!("{counted} of {wanted:?} succeeded, at most {most} are explained")
        });
        let waiting = at(job, "status.uncountedTerminatedPods");
        let none = ["succeeded", "failed"].iter().all(|f| value::list(waiting, f).is_empty());
        self.expect(none, job, || format!("uncounted: {waiting}"));
    }
}

fn has_ended(job: &Value) -> bool {
    let mut conditions = value::list(job, "status.conditions").iter();
    conditions.any(|c| c["status"] == "True" && (c["type"] == "Complete" || c["type"] == "Failed"))
}

/// Finds changes of Jobs that take back what their status said. The end of a pod is first noted by
/// its uid and later counted, so each uid that leaves the notes adds one to the count. No other
/// check finds a count that was written over: the work is done once more, and the Job ends well.
///
/// ```text
/// uncounted [a], succeeded 1  ->  uncounted [b], succeeded 2     right: a was counted, b is noted
/// uncounted [a], succeeded 1  ->  uncounted [b], succeeded 1     wrong: a was forgotten
/// ```
fn lost_counts(store: &Store) -> Vec<String> {
    let mut wrong = Vec::new();
    for change in store.history(kind("jobs")) {
        let Some(was) = &change.was else { continue };
        let (old, new) = (&was.value, &change.item.value);
        let about = format!("Job {} at revision {}", meta::name(new), change.revision);
        for field in ["succeeded", "failed"] {
            let count = |job: &Value| int(at(job, "status"), field).unwrap_or(0);
            let (before, after) = (count(old), count(new));
            let stays = value::list(at(new, "status.uncountedTerminatedPods"), field);
            let noted = value::list(at(old, "status.uncountedTerminatedPods"), field);
            let left = noted.iter().filter(|uid| !stays.contains(uid)).count() as i64;
            // An Indexed Job counts the indexes that have succeeded, and notes none of those pods.
            let by_index = field == "succeeded" && text(new, "spec.completionMode") == "Indexed";
            let right = if by_index { after >= before } else { after == before + left };
            if !right {
                wrong.push(format!(
                    "{about}: {field} was {before} with {left} to be added, and became {after}"
                ));
            }
        }
        let holds = |job: &Value, kind: &Value| {
            let mut conditions = value::list(job, "status.conditions").iter();
            conditions.any(|c| c["type"] == *kind && c["status"] == "True")
        };
        for condition in value::list(old, "status.conditions") {
            let kind = &condition["type"];
            if holds(old, kind) && !holds(new, kind) {
                wrong.push(format!("{about}: it is {kind} no longer"));
            }
        }
        let started = text(old, "status.startTime");
        if !started.is_empty() && started != text(new, "status.startTime") {
            wrong.push(format!("{about}: it started at another time"));
        }
    }
    wrong
}

/// Returns whether a list of indexes, e.g. `0-2,4`, has this one.
fn has_index(list: &str, index: u64) -> bool {
    list.split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((first.parse::<u64>(), last.parse::<u64>()), (Ok(first), Ok(last)) if (first..=last).contains(&index))
    })
}

/// What a Job's pods have been, change by change.
#[derive(Default)]
struct OwnersPods<'a> {
    /// Uids of active pods, with their indexes if the Job has any.
    active: BTreeMap<&'a str, Option<&'a str>>,
    /// What was done, an index or a pod's uid, and the uid of each pod that has done it.
    done: BTreeSet<(&'a str, &'a str)>,
    /// When a pod was last too many.
    spare: BTreeMap<&'a str, clock::Instant>,
}

impl<'a> OwnersPods<'a> {
    /// Notes the pods that were too many up to now: all, if more are active than the Job wants,
    /// because any of them may have been chosen to go; and those that share their index.
    fn note_spare(&mut self, job: &Value, now: clock::Instant) {
        let number = |path: &str| int(job, path).unwrap_or(0);
        let done = self.done.iter().map(|(what, _)| what).collect::<BTreeSet<_>>().len() as i64;
        let wanted = number("spec.parallelism").min(number("spec.completions") - done);
        let many = self.active.len() as i64 > wanted;
        for (uid, index) in &self.active {
            let shares =
                || self.active.values().filter(|other| index.is_some() && *other == index).count() > 1;
            if many || shares() {
                self.spare.insert(*uid, now);
            }
        }
    }
}

/// Finds pods that have succeeded, and whose finalizer was taken off before their Job's status knew
/// of them: after that nothing proves their work. Pods beyond those that a Job wants are let go and
/// deleted without being counted. The controller chooses them by its cache, which is behind; if the
/// deletion fails, it may choose others the next time. Upstream does the same.
///
/// ```text
/// parallelism 3: a, b, c, d active     one too many: d is to go
/// a, b, d succeed                      the cache does not know it yet
/// d is let go, its deletion fails      right: d was too many a moment ago
/// ```
fn let_go_uncounted(store: &Store) -> Vec<String> {
    /// A pod beyond the wanted ones is deleted within this time after it was let go.
    const SOON: Duration = Duration::from_secs(10);
    /// A cache and the requests that follow are behind by this time, at most.
    const BEHIND: Duration = Duration::from_secs(30);
    let held = |pod: &Value| meta::finalizers(pod).any(|f| f == job::TRACKING);
    let (jobs, pods) = (store.history(kind("jobs")), store.history(kind("pods")));
    let mut owners: BTreeMap<&str, OwnersPods> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (place, change) in pods.iter().enumerate() {
        let (pod, uid) = (&change.item.value, meta::uid(&change.item.value));
        let owner = controller(pod).and_then(|o| o["uid"].as_str()).unwrap_or_default();
        let mut before = jobs.iter().rev().filter(|j| j.revision < change.revision);
        let job = before.find(|j| meta::uid(&j.item.value) == owner).filter(|j| !j.gone);
        let Some(job) = job.map(|j| &j.item.value) else { continue };
        let index = meta::annotation(pod, "batch.kubernetes.io/job-completion-index");
        let owned = owners.entry(owner).or_default();
        owned.note_spare(job, change.at);
        owned.active.remove(uid);
        if is_active(pod) && !change.gone {
            owned.active.insert(uid, index);
        }
        let succeeded = text(pod, "status.phase") == "Succeeded";
        if succeeded && held(pod) {
            owned.done.insert((index.unwrap_or(uid), uid));
        }
        let let_go = change.was.as_ref().is_some_and(|was| held(&was.value)) && !held(pod);
        if !let_go || !succeeded || meta::is_terminating(job) || has_ended(job) {
            continue;
        }
        let notes = at(job, "status.uncountedTerminatedPods");
        let noted = |field: &str| value::list(notes, field).iter().any(|known| known == uid);
        let counted = match index.and_then(|index| index.parse().ok()) {
            Some(index) => has_index(text(job, "status.completedIndexes"), index),
            None => noted("succeeded"),
        };
        if counted {
            continue;
        }
        owned.done.remove(&(index.unwrap_or(uid), uid));
        let spare = owned.spare.get(uid).is_some_and(|at| change.at < *at + BEHIND);
        let deleted = pods[place..]
            .iter()
            .any(|e| e.gone && meta::uid(&e.item.value) == uid && e.at < change.at + SOON);
        if !(noted("failed") || spare || deleted) {
            let name = meta::name(pod);
            wrong.push(format!("pod {name} was let go uncounted at revision {}", change.revision));
        }
    }
    wrong
}

/// Returns what was wrong on the way. With `only_late`, no request failed and no controller was
/// killed: then no ReplicaSet may have made a pod beyond the most that it ever wanted.
pub(super) fn wrong_meanwhile(store: &Store, only_late: bool) -> Vec<String> {
    let mut wrong = lost_counts(store);
    wrong.extend(let_go_uncounted(store));
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
