//! # ReplicaSet: so many pods, always
//!
//! [`decide`] counts: too few are made, too many deleted, the least useful first. What is counted
//! is any kind that is [`Replicated`]: the ReplicaSet, and its forerunner the
//! ReplicationController, read as one (upstream: an adapter around the same loop). Source:
//! `pkg/controller/replicaset`, `pkg/controller/replication`.

use super::names::name_prefix;
use super::pods::{self, is_active, is_available};
use super::workload::{self, Look, PodOwner};
use crate::error::{Error, message_of};
use crate::shared::Controller;
use client::{Codec, Outcome};
use clock::{self, Timestamp};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tap::{Component, Event};

/// Pods made or deleted in one go, at most.
const BURST: usize = 500;
/// The condition of a set whose pods could not be made or deleted.
const FAILURE: &str = "ReplicaFailure";

/// What to do about the number of pods.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub create: usize,
    /// Names, the least useful first.
    pub delete: Vec<String>,
}

/// Compares the number of pods that is wanted with the active ones. `related`: the active pods of
/// all sets of the same owner.
///
/// A Deployment has an old set with a pod on `n1` and one on `n2`, and a new set with a pod on
/// `n1`. Scaled down by one, the old set gives up the pod on `n1`, which has two of them.
///
/// Upstream: `manageReplicas`, and `getPodsToDelete` for the choice. The count is all there is: the
/// controller does not know why a pod is missing, and needs no history.
///
/// ```text
/// wanted 3, active a b              create 1
/// wanted 3, active a b c d          delete the least useful, for example one that is not ready
/// wanted 2000, active none          create 500, the rest in the next looks
/// ```
pub(crate) fn decide(wanted: usize, active: &[Arc<Pod>], related: &[Arc<Pod>]) -> Plan {
    let have = active.len();
    if have <= wanted {
        return Plan { create: (wanted - have).min(BURST), delete: vec![] };
    }
    let surplus = (have - wanted).min(BURST);
    let ranked = pods::least_useful_first(active, Some(related));
    let delete = ranked.iter().take(surplus).map(|p| p.metadata.name.clone().unwrap_or_default()).collect();
    Plan { create: 0, delete }
}

/// The pods that a look has found, and how its requests have ended.
#[derive(Default)]
pub(crate) struct Seen<'a> {
    pub active: &'a [Arc<Pod>],
    pub terminating: usize,
    /// The reason why pods could not be made or deleted.
    pub failure: Option<String>,
    pub generation: Option<i64>,
}

/// Computes the status from the pods.
///
/// Three pods, one ready for 30 s, one ready for 2 s, one still pulls its image; `minReadySeconds`
/// is 10: `replicas` 3, `readyReplicas` 2, `availableReplicas` 1. A Deployment goes by the last
/// number.
pub(crate) fn status(
    spec: &ReplicaSetSpec,
    before: Option<&ReplicaSetStatus>,
    seen: &Seen,
    now: Timestamp,
) -> ReplicaSetStatus {
    let template = spec.template.as_ref().and_then(|t| t.metadata.as_ref());
    let wanted = template.and_then(|m| m.labels.clone()).unwrap_or_default();
    let labelled = |p: &&Arc<Pod>| {
        let labels = p.metadata.labels.as_ref();
        wanted.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
    };
    let active = seen.active;
    let seconds = spec.min_ready_seconds.unwrap_or(0);
    let count = |n: usize| (n > 0).then_some(n as i32);
    let conditions = conditions(spec, before, seen, now);
    ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: count(active.iter().filter(labelled).count()),
        ready_replicas: count(active.iter().filter(|p| pods::ready_since(p).is_some()).count()),
        available_replicas: count(active.iter().filter(|p| is_available(p, seconds, now)).count()),
        // Written even if it is 0: a Deployment adds these counts up over its sets, and one set
        // without the field would leave the sum unknown.
        terminating_replicas: Some(seen.terminating as i32),
        observed_generation: seen.generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
    }
}

/// Computes the conditions: a failure stays as it was first written until a sync succeeds.
///
/// A quota allows 2 of 3 pods: `ReplicaFailure` is True with the reason `FailedCreate` and the API
/// server's words. The condition is removed, not set to False, once a look goes well, as upstream.
fn conditions(
    spec: &ReplicaSetSpec,
    before: Option<&ReplicaSetStatus>,
    seen: &Seen,
    now: Timestamp,
) -> Vec<ReplicaSetCondition> {
    let mut all = before.and_then(|s| s.conditions.clone()).unwrap_or_default();
    match &seen.failure {
        None => all.retain(|c| c.type_ != FAILURE),
        Some(_) if all.iter().any(|c| c.type_ == FAILURE) => {}
        Some(why) => {
            let few = (seen.active.len() as i32) < spec.replicas.unwrap_or(1);
            all.push(ReplicaSetCondition {
                type_: FAILURE.into(),
                status: "True".into(),
                reason: Some(if few { "FailedCreate" } else { "FailedDelete" }.into()),
                message: Some(why.clone()),
                last_transition_time: Some(Time(now)),
            });
        }
    }
    all
}

/// A kind that keeps a number of equal pods.
pub(crate) trait Replicated:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Codec + Send + Sync + 'static
{
    type Status: Codec + PartialEq + Send + Sync;
    /// The source of its events and records, e.g. `replicaset-controller`.
    const COMPONENT: Component;

    fn selector(&self) -> Option<Cow<'_, LabelSelector>>;
    /// Returns its spec as that of a ReplicaSet.
    fn spec_as_replica_set(&self) -> ReplicaSetSpec;
    /// Returns its status as that of a ReplicaSet.
    fn status_as_replica_set(&self) -> Option<ReplicaSetStatus>;
    fn status(&self) -> Option<&Self::Status>;
    /// Converts the status of a ReplicaSet into that of this kind.
    fn own_status(status: ReplicaSetStatus) -> Self::Status;
}

impl Replicated for ReplicaSet {
    type Status = ReplicaSetStatus;
    const COMPONENT: Component = Component::ReplicaSetController;

    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        self.spec.as_ref().map(|s| Cow::Borrowed(&s.selector))
    }
    fn spec_as_replica_set(&self) -> ReplicaSetSpec {
        self.spec.clone().unwrap_or_default()
    }
    fn status_as_replica_set(&self) -> Option<ReplicaSetStatus> {
        self.status.clone()
    }
    fn status(&self) -> Option<&ReplicaSetStatus> {
        self.status.as_ref()
    }
    fn own_status(status: ReplicaSetStatus) -> ReplicaSetStatus {
        status
    }
}

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<Pod>();
        informers.all::<ReplicaSet>();
    },
    start: |shared| drop(workload::start::<Replicas<ReplicaSet>>(shared)),
};

/// The controller of a kind that is replicated.
pub(crate) struct Replicas<K>(std::marker::PhantomData<K>);

impl<K: Replicated> PodOwner for Replicas<K> {
    type Kind = K;
    const COMPONENT: Component = K::COMPONENT;
    const WORKERS: usize = 5;

    fn selector(object: &K) -> Option<Cow<'_, LabelSelector>> {
        object.selector()
    }

    /// Claims the pods, counts, makes or deletes, and writes the status. While `look.settled` is
    /// false an earlier write has not come back through the watch: then only the status is written.
    /// Counting now would make the same pods a second time.
    async fn sync(look: &Look<'_, K>) -> Result<Outcome, Error> {
        let (object, control) = (&look.object, &look.control);
        let spec = object.spec_as_replica_set();
        let all = look.claim(&spec.selector, pods::is_active).await?;
        let (active, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|p| is_active(p));
        let terminating = rest.iter().filter(|p| pods::is_terminating(p)).count();
        let mut result = Ok(());
        if look.settled && look.alive() {
            let wanted = spec.replicas.unwrap_or(1).max(0) as usize;
            let siblings = if active.len() > wanted { related(look) } else { vec![] };
            let plan = decide(wanted, &active, &siblings);
            if plan.create > 0 {
                look.expect_pods(
                    &spec.selector,
                    object.status_as_replica_set().map(|s| s.replicas),
                    active.len(),
                )
                .await?;
            }
            if plan.create > 0 && look.still_there().await? {
                let template = spec.template.clone().unwrap_or_default();
                let (prefix, namespace) = (name_prefix(&look.key.name, None), &look.key.namespace);
                let made = (0..plan.create)
                    .map(|_| pods::from_template(&template, look.pod_name(&prefix), namespace, look.owner()))
                    .collect();
                result = control.create_all(made).await;
            }
            let doomed = pods::named(&active, &plan.delete);
            if !doomed.is_empty() {
                result = control.delete_all(&doomed).await;
            }
            if plan.create > 0 || !doomed.is_empty() {
                let Plan { create, delete } = plan;
                let have = active.len();
                look.did(Event::ReconcileReplicaSet { wanted, have, create, delete });
            }
        }
        let failure = result.as_ref().err().map(message_of);
        let seen = Seen { active: &active, terminating, failure, generation: object.meta().generation };
        let new = status(&spec, object.status_as_replica_set().as_ref(), &seen, clock::now());
        look.write_status(object.status(), &K::own_status(new)).await?;
        result?;
        let seconds = spec.min_ready_seconds.unwrap_or(0);
        let next: Option<Duration> = active.iter().filter_map(|p| pods::until_available(p, seconds)).min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }
}

/// Returns the active pods of all sets that have the same controller as this one. A set without a
/// controller has none: how many of its pods are on one node does not count, as upstream
/// (`getIndirectlyRelatedPods`).
fn related<K: Replicated>(look: &Look<'_, K>) -> Vec<Arc<Pod>> {
    let Some(owner) = pods::controller_of(look.object.meta()) else { return vec![] };
    let sets = look.shared.informer::<ReplicaSet>().within(&look.key.namespace);
    let is_sibling =
        |set: &&Arc<ReplicaSet>| pods::controller_of(&set.metadata).is_some_and(|o| o.uid == owner.uid);
    let siblings: Vec<&String> =
        sets.iter().filter(is_sibling).filter_map(|s| s.metadata.uid.as_ref()).collect();
    let mut all = look.shared.informer::<Pod>().within(&look.key.namespace);
    all.retain(|p| {
        is_active(p) && pods::controller_of(&p.metadata).is_some_and(|o| siblings.contains(&&o.uid))
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, node: &str, phase: &str, ready: bool, created: &str) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "creationTimestamp": created},
                "spec": {"nodeName": node, "containers": []},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": created}]},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn too_few_are_made_and_the_least_useful_go_first() {
        let old = "2026-01-01T00:00:00Z";
        let young = "2026-01-01T01:00:00Z";
        let pods = [
            pod("old", "n1", "Running", true, old),
            pod("young", "n1", "Running", true, young),
            pod("alone", "n2", "Running", true, young),
            pod("unready", "n1", "Running", false, old),
            pod("homeless", "", "Pending", false, old),
        ];
        assert_eq!(decide(7, &pods, &pods), Plan { create: 2, delete: vec![] });
        assert_eq!(decide(5, &pods, &pods), Plan { create: 0, delete: vec![] });
        assert_eq!(decide(2, &pods, &pods).delete, ["homeless", "unready", "young"]);
        assert_eq!(decide(0, &pods, &pods).delete.len(), 5);
    }

    #[tokio::test]
    async fn pods_of_the_owners_other_sets_count_on_their_nodes() {
        use crate::shared::Shared;
        use client::Key;
        use client::testing::Scripted;
        let owned = |kind: &str, name: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name, "controller": true}]);
        let set = |name: &str, replicas: i32| -> ReplicaSet {
            let meta = json!({"name": name, "namespace": "d", "uid": name, "ownerReferences": owned("Deployment", "x")});
            let spec = json!({"replicas": replicas, "selector": {"matchLabels": {"set": name}}});
            serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
        };
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        [set("old", 1), set("new", 1)].into_iter().for_each(|set| shared.informer::<ReplicaSet>().show(set));
        for (name, of, node) in [("a", "old", "n2"), ("b", "old", "n1"), ("c", "new", "n1")] {
            let mut one = (*pod(name, node, "Running", true, "2026-01-01T00:00:00Z")).clone();
            one.metadata = serde_json::from_value(json!({"name": name, "namespace": "d", "uid": name,
                "labels": {"set": of}, "ownerReferences": owned("ReplicaSet", of)}))
            .unwrap();
            shared.informer::<Pod>().show(one);
        }
        workload::look_once::<Replicas<ReplicaSet>>(&shared, &Key::new("d", "old")).await.unwrap();
        let gone: Vec<String> = server.lines().into_iter().filter(|l| l.starts_with("DELETE")).collect();
        assert_eq!(gone, ["DELETE /api/v1/namespaces/d/pods/b"]);
    }

    /// Takes a look at a set of its own that wants one pod and has these: name, node, phase, when
    /// it was made, and whether the selector chooses it. Returns the lines of its writes to pods.
    async fn look_at_pods(all: &[(&str, &str, &str, &str, bool)]) -> Vec<String> {
        let server = client::testing::Scripted::new(|_| None).await;
        let shared = crate::shared::Shared::fixed(&server.client);
        let spec = json!({"replicas": 1, "selector": {"matchLabels": {"a": "b"}}});
        let set = json!({"metadata": {"name": "s", "namespace": "d", "uid": "1"}, "spec": spec});
        shared.informer::<ReplicaSet>().show(serde_json::from_value(set).unwrap());
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s", "uid": "1", "controller": true});
        for (name, node, phase, made, chosen) in all {
            let mut one = (*pod(name, node, phase, true, made)).clone();
            one.metadata.namespace = Some("d".into());
            one.metadata.uid = Some((*name).into());
            one.metadata.labels =
                serde_json::from_value(json!({"a": if *chosen { "b" } else { "c" }})).unwrap();
            one.metadata.owner_references = serde_json::from_value(json!([owner])).unwrap();
            shared.informer::<Pod>().show(one);
        }
        let key = client::Key::new("d", "s");
        workload::look_once::<Replicas<ReplicaSet>>(&shared, &key).await.unwrap();
        server.lines().into_iter().filter(|line| line.contains("/pods/")).collect()
    }

    #[tokio::test]
    async fn of_a_set_without_an_owner_the_youngest_pod_goes_wherever_the_others_are() {
        let [old, young] = ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"];
        let all = [("a", "n1", "Running", old, true), ("b", "n2", "Running", young, true)];
        assert_eq!(look_at_pods(&all).await, ["DELETE /api/v1/namespaces/d/pods/b"]);
        // Two more on the first node, one of which has ended.
        let more = [("c", "n1", "Succeeded", old, true), ("d", "n1", "Running", old, true)];
        let gone = look_at_pods(&[all, more].concat()).await;
        assert_eq!(gone.len(), 2);
        assert!(gone.contains(&"DELETE /api/v1/namespaces/d/pods/b".to_string()), "{gone:?}");
    }

    #[tokio::test]
    async fn a_pod_that_has_ended_keeps_its_owner_whatever_its_labels_are() {
        let made = "2026-01-01T00:00:00Z";
        let of = |name, phase, chosen| (name, "n", phase, made, chosen);
        let all = [of("a", "Running", true), of("b", "Failed", false), of("c", "Running", false)];
        assert_eq!(look_at_pods(&all).await, ["PATCH /api/v1/namespaces/d/pods/c"]);
    }

    /// A policy of the cluster forbids every change of `a` and `x`. Upstream: `ClaimPods`.
    #[tokio::test]
    async fn a_pod_that_may_not_be_changed_keeps_no_other_from_being_released_or_adopted() {
        let set = json!({"metadata": {"name": "s", "namespace": "d", "uid": "1"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}}});
        let stored = set.clone();
        let server = client::testing::Scripted::new(move |asked| match asked.line.as_str() {
            line if line.ends_with("/a") || line.ends_with("/x") => {
                client::testing::refusal(403, "Forbidden")
            }
            line if line.contains("/replicasets/s") => Some((200, stored.clone())),
            _ => None,
        })
        .await;
        let shared = crate::shared::Shared::fixed(&server.client);
        shared.informer::<ReplicaSet>().show(serde_json::from_value(set).unwrap());
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s", "uid": "1", "controller": true});
        for (name, label, owners) in [
            ("a", "c", json!([owner])),
            ("b", "c", json!([owner])),
            ("x", "b", json!([])),
            ("y", "b", json!([])),
        ] {
            let meta = json!({"name": name, "namespace": "d", "uid": name, "labels": {"a": label}, "ownerReferences": owners});
            shared.informer::<Pod>().show(serde_json::from_value(json!({"metadata": meta})).unwrap());
        }
        let key = client::Key::new("d", "s");
        assert!(workload::look_once::<Replicas<ReplicaSet>>(&shared, &key).await.is_err());
        let mut patched = server.lines();
        patched.retain(|line| line.starts_with("PATCH"));
        assert_eq!(
            patched,
            ["a", "b", "x", "y"].map(|name| format!("PATCH /api/v1/namespaces/d/pods/{name}"))
        );
    }

    #[test]
    fn status_counts_ready_available_and_labelled() {
        let spec: ReplicaSetSpec = serde_json::from_value(
            json!({"selector": {}, "minReadySeconds": 60, "template": {"metadata": {"labels": {"a": "b"}}}}),
        )
        .unwrap();
        let pods = [
            pod("x", "n", "Running", true, "2026-01-01T00:00:00Z"),
            pod("y", "n", "Running", true, "2026-01-01T00:59:30Z"),
        ];
        let seen = Seen { active: &pods, generation: Some(3), ..Seen::default() };
        let s = status(&spec, None, &seen, "2026-01-01T01:00:00Z".parse().unwrap());
        assert_eq!(
            (s.replicas, s.ready_replicas, s.available_replicas, s.fully_labeled_replicas),
            (2, Some(2), Some(1), None)
        );
        assert_eq!(s.observed_generation, Some(3));
        assert_eq!(s.terminating_replicas, Some(0), "none is told as such");
    }

    #[test]
    fn a_failure_is_written_once_and_goes_when_all_went_well() {
        let spec: ReplicaSetSpec = serde_json::from_value(json!({"selector": {}, "replicas": 2})).unwrap();
        let at = |minute: &str| format!("2026-01-01T01:{minute}:00Z").parse().unwrap();
        let failed = Seen { failure: Some("exceeded quota".into()), ..Seen::default() };
        let first = status(&spec, None, &failed, at("00"));
        let conditions = first.conditions.clone().unwrap();
        assert_eq!(
            (conditions[0].type_.as_str(), conditions[0].reason.as_deref()),
            (FAILURE, Some("FailedCreate"))
        );
        let again = status(&spec, Some(&first), &failed, at("05"));
        assert_eq!(again.conditions, first.conditions, "it is known since the first time");
        assert_eq!(status(&spec, Some(&again), &Seen::default(), at("06")).conditions, None);
    }

    /// An undo brings a set and its pods back at once, and the watch of the sets is ahead.
    #[tokio::test]
    async fn pods_that_the_cache_does_not_know_yet_are_not_made_again() {
        use crate::shared::Shared;
        use client::Key;
        use client::testing::Scripted;
        let set = json!({"metadata": {"name": "s", "namespace": "d", "uid": "1", "resourceVersion": "5"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": []}}},
            "status": {"replicas": 2}});
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s", "uid": "1", "controller": true});
        let pod = |name: &str| json!({"metadata": {"name": name, "namespace": "d", "uid": name, "labels": {"a": "b"}, "ownerReferences": [owner]}});
        for (there, made) in [(vec![pod("p"), pod("q")], 0), (vec![pod("p")], 1)] {
            let stored = set.clone();
            let server = Scripted::new(move |asked| match asked.line.as_str() {
                "POST /api/v1/namespaces/d/pods" => Some((201, asked.body.clone())),
                "GET /api/v1/namespaces/d/pods" => {
                    Some((200, json!({"metadata": {"resourceVersion": "5"}, "items": there})))
                }
                line if line.contains("/replicasets/s") => Some((200, stored.clone())),
                _ => None,
            })
            .await;
            let shared = Shared::fixed(&server.client);
            shared.informer::<ReplicaSet>().show(serde_json::from_value(set.clone()).unwrap());
            shared.informer::<Pod>().show(serde_json::from_value(pod("p")).unwrap());
            let looked = workload::look_once::<Replicas<ReplicaSet>>(&shared, &Key::new("d", "s")).await;
            assert_eq!(looked.is_err(), made == 0, "{:?}", looked.err());
            let posts = server.take().iter().filter(|a| a.line.starts_with("POST")).count();
            assert_eq!(posts, made);
        }
    }
}
