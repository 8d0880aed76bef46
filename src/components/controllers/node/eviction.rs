//! Taint eviction: pods leave a node whose `NoExecute` taints they do not tolerate, or tolerate for
//! a while only.

use crate::error::Error;
use crate::pods::{has_ended, node_of};
use crate::shared::{Shared, record};
use crate::workload::still_there;
use crate::write::unless_gone;
use api::nodes::tolerates;
use client::{Api, Change, Key, Outcome, Recorder, WorkQueue, reference};
use clock::{self, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

/// How long a pod may stay on its node: for `wait` of the cluster's time, counted from `since`.
#[derive(Clone, Copy, Debug)]
struct Stay {
    since: Timestamp,
    wait: Duration,
}

impl Stay {
    /// Returns how much of the stay is left; zero: the pod has to leave now.
    fn left(self, now: Timestamp) -> Duration {
        clock::left(self.since, self.wait, now).unwrap_or_default()
    }
}

/// Pure: when the pod came to be on a node with this taint: the later of the taint's `timeAdded`
/// and the time when the pod was bound (its condition PodScheduled, otherwise its creation). A
/// taint without `timeAdded`, which only the node controller writes, counts from `now`.
///
/// Upstream counts from the moment at which it notices the pod beside its taints. The times of the
/// objects do not begin anew when the controller restarts.
fn beside_since(pod: &Pod, taint: &Taint, now: Timestamp) -> Timestamp {
    let Some(added) = &taint.time_added else { return now };
    let mut conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let scheduled = conditions.find(|c| c.type_ == "PodScheduled" && c.status == "True");
    let bound = scheduled.and_then(|c| c.last_transition_time.as_ref());
    let bound = bound.or(pod.metadata.creation_timestamp.as_ref());
    bound.map_or(added.0, |bound| bound.0.max(added.0))
}

/// Pure: the shortest stay that the pod's tolerations allow it beside these taints; `None`: it may
/// stay for ever.
///
/// ```text
/// k:NoExecute, added at 10:00    pod bound at 9:00     pod bound at 11:00
/// tolerates it for 300 s         leaves at 10:05       leaves at 11:05
/// does not tolerate it           leaves at once        leaves at once
/// tolerates it without a time    stays                 stays
/// ```
///
/// Of several tolerations that fit, the first counts, as upstream.
///
/// The API server gives every pod a toleration of 300 s for `not-ready` and `unreachable` if it has
/// none (admission plug-in DefaultTolerationSeconds). So pods outlive a node that restarts.
fn allowed_stay(pod: &Pod, taints: &[Taint], now: Timestamp) -> Option<Stay> {
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
    let stays = taints.iter().filter(|t| t.effect == "NoExecute").filter_map(|taint| {
        let wait = match tolerations.iter().find(|t| tolerates(t, taint)) {
            None => Duration::ZERO,
            Some(toleration) => Duration::from_secs(toleration.toleration_seconds?.max(0) as u64),
        };
        Some(Stay { since: beside_since(pod, taint, now), wait })
    });
    stays.min_by_key(|stay| stay.left(now))
}

/// The reason why a pod is ended from outside, as its condition `DisruptionTarget` has it.
pub(super) struct Disruption {
    pub reason: &'static str,
    pub message: &'static str,
    /// No kubelet will report the pod's end: its phase becomes Failed.
    pub failed: bool,
}

/// Returns whether the pod's condition `DisruptionTarget` has this reason.
fn says_why(pod: &Pod, why: &Disruption) -> bool {
    let mut conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.any(|c| {
        c.type_ == "DisruptionTarget" && c.status == "True" && c.reason.as_deref() == Some(why.reason)
    })
}

/// Writes the condition `DisruptionTarget` of a pod that is about to go. A Job reads it: with
/// `podFailurePolicy` such an end need not count. So a pod that had ended before its node went is
/// not marked, as upstream: it ended by itself. Returns false if the pod is gone, or another one
/// has its name.
pub(super) async fn mark_disrupted(api: &Api<Pod>, pod: &Pod, why: &Disruption) -> Result<bool, Error> {
    let is_written = match why.failed {
        true => has_ended(pod),
        false => says_why(pod, why),
    };
    if is_written {
        return Ok(true);
    }
    let condition = PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some(why.reason.into()),
        message: Some(why.message.into()),
        last_transition_time: Some(Time(clock::now())),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    };
    let mut patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
    if why.failed {
        patch["status"]["phase"] = json!("Failed");
    }
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    match unless_gone(api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await) {
        Ok(written) => Ok(written.is_some()),
        Err(Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes this pod and no other of its name.
pub(super) async fn delete(api: &Api<Pod>, pod: &Pod, grace: Option<u32>) -> Result<(), Error> {
    let params = DeleteParams {
        grace_period_seconds: grace,
        preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    match unless_gone(api.delete(pod.metadata.name.as_deref().unwrap_or_default(), &params).await) {
        Ok(_) | Err(Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

const BY_TAINT: Disruption = Disruption {
    reason: "DeletionByTaintManager",
    message: "Taint manager: deleting due to NoExecute taint",
    failed: false,
};

/// The source of its Events: a controller of its own since Kubernetes 1.29.
const SOURCE: &str = "taint-eviction-controller";
/// The reason of the Events on a pod that has to leave, or no longer has to.
const EVICTION: &str = "TaintManagerEviction";

struct Eviction {
    shared: Shared,
    recorder: Recorder,
    /// The uid of each pod that may stay for a while only, and how long that is. Lost at a restart,
    /// as upstream's scheduled evictions. As many as there are pods, at most.
    stays: Mutex<BTreeMap<Key, (Option<String>, Stay)>>,
}

fn taints_of(node: &Node) -> Vec<Taint> {
    node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default()
}

pub(super) fn start(shared: &Shared) {
    let pods: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = pods.clone();
    shared.informer::<Pod>().on(move |change| q.add(change.key(), change.cause()));
    let (q, all) = (pods.clone(), shared.clone());
    shared.informer::<Node>().on(move |change| {
        let moved = match change {
            Change::Updated { old, new } => taints_of(old) != taints_of(new),
            _ => true,
        };
        if moved {
            let name = change.key().name;
            for pod in all.informer::<Pod>().list().iter().filter(|p| node_of(p) == name) {
                q.add(Key::of(&**pod), change.cause());
            }
        }
    });
    shared.report_panics(&pods, shared.informer::<Pod>(), "taint-eviction");
    let recorder = Recorder::new(&shared.crew, &shared.config.client, SOURCE, "");
    let worker = Arc::new(Eviction { shared: shared.clone(), recorder, stays: Mutex::default() });
    pods.work("taint-eviction", 4, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync(&key, &cause).await }
    });
}

impl Eviction {
    /// Returns the pod's stay: the allowed one, or one that was allowed before if it ends earlier.
    /// So a taint that replaces another one does not put off the eviction, as upstream. (Upstream
    /// keeps the first time also if the new taint is tolerated for less; here the earlier end
    /// counts.) Forgets the stay of a pod that need not leave any more.
    ///
    /// ```text
    /// 10:00  not-ready:NoExecute, tolerated for 300 s      leaves at 10:05
    /// 10:04  unreachable:NoExecute instead, also 300 s     leaves at 10:05
    /// 10:04  no taint                                      stays
    /// ```
    fn earliest_stay(
        &self,
        key: &Key,
        uid: Option<&String>,
        allowed: Option<Stay>,
        now: Timestamp,
    ) -> Option<Stay> {
        let mut stays = self.stays.lock();
        let known = stays.remove(key).filter(|(of, _)| of.as_ref() == uid).map(|(_, stay)| stay);
        let allowed = allowed?;
        let stay = known.filter(|known| known.left(now) <= allowed.left(now)).unwrap_or(allowed);
        stays.insert(key.clone(), (uid.cloned(), stay));
        Some(stay)
    }

    async fn sync(&self, key: &Key, cause: &Option<Cause>) -> Result<Outcome, Error> {
        let now = clock::now();
        let pod = self.shared.informer::<Pod>().get(key).filter(|p| p.metadata.deletion_timestamp.is_none());
        let node = pod.as_ref().and_then(|p| self.shared.informer::<Node>().get(&Key::new("", node_of(p))));
        let uid = pod.as_ref().and_then(|p| p.metadata.uid.as_ref());
        let known = self.stays.lock().get(key).filter(|(of, _)| of.as_ref() == uid).map(|(_, stay)| *stay);
        let was_to_go = known.is_some();
        let allowed = match (&pod, node) {
            (Some(pod), Some(node)) => allowed_stay(pod, &taints_of(&node), now),
            // A deleted Node takes no taint off: the eviction goes on, as upstream
            // (`handleNodeUpdate`). The pod garbage collector may end the pod earlier.
            (Some(_), None) => known,
            (None, _) => None,
        };
        let stay = self.earliest_stay(key, uid, allowed, now);
        let Some(pod) = pod else { return Ok(Outcome::Done) };
        let Some(stay) = stay else {
            if was_to_go {
                let message = format!("Cancelling deletion of Pod {key}");
                self.recorder.normal(&reference(&*pod), EVICTION, message, cause.clone());
            }
            return Ok(Outcome::Done);
        };
        let left = stay.left(now);
        if !left.is_zero() {
            return Ok(Outcome::After(left));
        }
        let api = self.shared.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
        // The condition brings the key back, and the cache may show it before the deletion.
        if says_why(&pod, &BY_TAINT) && !still_there(&api, &pod.metadata).await? {
            return Ok(Outcome::Done);
        }
        if !mark_disrupted(&api, &pod, &BY_TAINT).await? {
            return Ok(Outcome::Done);
        }
        let message = format!("Marking for deletion Pod {key}");
        self.recorder.normal(&reference(&*pod), EVICTION, message, cause.clone());
        delete(&api, &pod, None).await?;
        self.shared.tap(Component::NodeController).emit(record(Event::Evict, "pods", key, cause));
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::taints::{NOT_READY, UNREACHABLE};
    use super::*;
    use client::testing::Scripted;

    async fn eviction(
        server: &Scripted,
        taint: serde_json::Value,
        tolerations: serde_json::Value,
    ) -> Eviction {
        let shared = Shared::fixed(&server.client);
        let node = json!({"metadata": {"name": "n"}, "spec": {"taints": [taint]}});
        shared.informer::<Node>().show(serde_json::from_value(node).unwrap());
        let pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": "u"},
            "spec": {"nodeName": "n", "containers": [], "tolerations": tolerations}});
        shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
        let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
        Eviction { shared, recorder, stays: Mutex::default() }
    }

    #[tokio::test]
    async fn a_pod_leaves_a_taint_that_does_not_say_since_when_it_is_there() {
        let server = Scripted::new(|_| None).await;
        let taint = json!({"key": "mine", "effect": "NoExecute"});
        let for_a_minute = json!([{"key": "mine", "operator": "Exists", "tolerationSeconds": 60}]);
        let eviction = eviction(&server, taint, for_a_minute).await;
        let key = Key::new("d", "p");
        let left = eviction.sync(&key, &None).await.unwrap();
        assert!(matches!(left, Outcome::After(left) if left <= Duration::from_secs(60)), "{left:?}");
        // The same pod two minutes later.
        {
            let mut stays = eviction.stays.lock();
            let stay = &mut stays.get_mut(&key).unwrap().1;
            stay.since = clock::before(stay.since, Duration::from_secs(120));
        }
        assert_eq!(server.lines(), [""; 0]);
        assert_eq!(eviction.sync(&key, &None).await.unwrap(), Outcome::Done);
        let asked = server.take();
        let lines: Vec<&str> = asked.iter().map(|a| a.line.as_str()).collect();
        let pod = "/api/v1/namespaces/d/pods/p";
        assert_eq!(lines, [format!("PATCH {pod}/status"), format!("DELETE {pod}")]);
        let condition = &asked[0].body["status"]["conditions"][0];
        assert_eq!(
            (condition["type"].as_str(), condition["reason"].as_str()),
            (Some("DisruptionTarget"), Some(BY_TAINT.reason))
        );
        eviction
            .shared
            .informer::<Node>()
            .show(serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap());
        eviction.sync(&key, &None).await.unwrap();
        assert!(eviction.stays.lock().is_empty(), "the taint is gone, and the count with it");
    }

    /// The first look has written the condition and deleted the pod; the cache shows the condition.
    #[tokio::test]
    async fn a_pod_that_is_going_already_is_not_evicted_a_second_time() {
        for (going, deleted) in [(json!("2026-01-01T00:00:00Z"), 0), (serde_json::Value::Null, 1)] {
            let server = Scripted::new(move |asked| {
                let meta = json!({"name": "p", "uid": "u", "deletionTimestamp": going});
                let found = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta});
                (asked.line == "GET /api/v1/namespaces/d/pods/p").then_some((200, found))
            })
            .await;
            let eviction = eviction(&server, json!({"key": "mine", "effect": "NoExecute"}), json!([])).await;
            let key = Key::new("d", "p");
            let mut pod = Pod::clone(&eviction.shared.informer::<Pod>().get(&key).unwrap());
            let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": BY_TAINT.reason});
            pod.status = serde_json::from_value(json!({"conditions": [condition]})).unwrap();
            eviction.shared.informer::<Pod>().show(pod);
            assert_eq!(eviction.sync(&key, &None).await.unwrap(), Outcome::Done);
            let mut lines = server.lines();
            lines.retain(|line| line.starts_with("DELETE"));
            assert_eq!(lines.len(), deleted, "{lines:?}");
        }
    }

    /// Its kubelet says that the node is not ready, and minutes later it says nothing any more.
    #[tokio::test]
    async fn a_taint_that_replaces_another_does_not_begin_the_time_anew() {
        let server = Scripted::new(|_| None).await;
        let taint = |key: &str, minutes: u64| {
            let added = Time(clock::before(clock::now(), Duration::from_secs(60 * minutes)));
            json!({"key": key, "effect": "NoExecute", "timeAdded": added})
        };
        let tolerations = json!([
            {"key": NOT_READY, "operator": "Exists", "tolerationSeconds": 300},
            {"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300},
        ]);
        let eviction = eviction(&server, taint(NOT_READY, 4), tolerations).await;
        let key = Key::new("d", "p");
        let minute = Duration::from_secs(60);
        let first = eviction.sync(&key, &None).await.unwrap();
        assert!(matches!(first, Outcome::After(left) if left <= minute), "{first:?}");
        let set_taints = |taints: serde_json::Value| {
            let node = json!({"metadata": {"name": "n"}, "spec": {"taints": taints}});
            eviction.shared.informer::<Node>().show(serde_json::from_value(node).unwrap());
        };
        set_taints(json!([taint(UNREACHABLE, 0)]));
        let second = eviction.sync(&key, &None).await.unwrap();
        assert!(matches!(second, Outcome::After(left) if left <= minute), "{second:?}");
        set_taints(json!([]));
        assert_eq!(eviction.sync(&key, &None).await.unwrap(), Outcome::Done);
        assert_eq!(server.event(EVICTION).await, "Cancelling deletion of Pod d/p");
        set_taints(json!([taint(UNREACHABLE, 0)]));
        let later = eviction.sync(&key, &None).await.unwrap();
        assert!(matches!(later, Outcome::After(left) if left > 4 * minute), "after a break: {later:?}");
    }

    /// As by `kubectl delete node` of a silent node: its pods still leave when their time is over,
    /// and no Event says that they stay.
    #[tokio::test]
    async fn the_deletion_of_a_node_cancels_no_eviction() {
        let server = Scripted::new(|_| None).await;
        let taint = json!({"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": Time(clock::now())});
        let tolerations = json!([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}]);
        let eviction = eviction(&server, taint, tolerations).await;
        let key = Key::new("d", "p");
        assert!(matches!(eviction.sync(&key, &None).await.unwrap(), Outcome::After(_)));
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
        eviction.shared.informer::<Node>().show_deleted(node.clone());
        let later = eviction.sync(&key, &None).await.unwrap();
        assert!(matches!(later, Outcome::After(left) if left > Duration::from_secs(240)), "{later:?}");
        // Events of one source are written in their order.
        eviction.recorder.normal(&reference(&node), "End", "end", None);
        server.event("End").await;
        assert!(server.events().iter().all(|event| event.body["reason"] != EVICTION));
        // Registered anew without a taint.
        eviction.shared.informer::<Node>().show(node);
        assert_eq!(eviction.sync(&key, &None).await.unwrap(), Outcome::Done);
        assert_eq!(server.event(EVICTION).await, "Cancelling deletion of Pod d/p");
    }

    #[test]
    fn of_several_tolerations_the_first_counts() {
        let taint = Taint { key: "k".into(), effect: "NoExecute".into(), ..Taint::default() };
        let pod = json!({"spec": {"containers": [], "tolerations": [
            {"operator": "Exists"}, {"key": "k", "operator": "Exists", "tolerationSeconds": 1}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert!(allowed_stay(&pod, &[taint], clock::now()).is_none());
    }

    /// Without the time that it tolerates, its owner would replace it without a pause.
    #[tokio::test]
    async fn a_pod_that_is_younger_than_the_taint_is_tolerated_for_as_long() {
        let server = Scripted::new(|_| None).await;
        let minutes_ago = |n: u64| Time(clock::before(clock::now(), Duration::from_secs(60 * n)));
        let taint = json!({"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": minutes_ago(6)});
        let tolerations = json!([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}]);
        let eviction = eviction(&server, taint, tolerations).await;
        let key = Key::new("d", "p");
        for (created, scheduled, stays) in [(60, None, false), (4, None, true), (60, Some(4), true)] {
            let mut pod = Pod::clone(&eviction.shared.informer::<Pod>().get(&key).unwrap());
            pod.metadata.creation_timestamp = Some(minutes_ago(created));
            pod.metadata.uid = Some(format!("{created} {scheduled:?}")); // no stay of the pod before
            let scheduled = scheduled.map(
                |n| json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": minutes_ago(n)}]),
            );
            pod.status = serde_json::from_value(json!({"conditions": scheduled})).unwrap();
            eviction.shared.informer::<Pod>().show(pod);
            let outcome = eviction.sync(&key, &None).await.unwrap();
            let minute = Duration::from_secs(60);
            let waits = matches!(outcome, Outcome::After(left) if left <= minute && !left.is_zero());
            assert_eq!((waits, server.lines().is_empty()), (stays, stays), "{created} {scheduled:?}");
        }
    }

    #[test]
    fn pods_leave_when_their_tolerance_ends() {
        let added: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let taint = vec![Taint {
            key: UNREACHABLE.into(),
            effect: "NoExecute".into(),
            time_added: Some(Time(added)),
            value: None,
        }];
        let pod = |tolerations: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}})).unwrap()
        };
        let now = added + jiff::SignedDuration::from_secs(10);
        let left = |pod: &Pod, now| allowed_stay(pod, &taint, now).map(|stay| stay.left(now));
        assert_eq!(left(&pod(json!([])), now), Some(Duration::ZERO));
        let five_minutes = pod(
            json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]),
        );
        assert_eq!(left(&five_minutes, now), Some(Duration::from_secs(290)));
        let long = pod(json!([{"operator": "Exists", "tolerationSeconds": i64::MAX}]));
        assert!(left(&long, now).unwrap() > Duration::from_secs(1 << 62));
        assert_eq!(left(&pod(json!([{"operator": "Exists"}])), now), None);
        assert!(allowed_stay(&pod(json!([])), &[], now).is_none());
        let _scale = clock::pin_scale(20);
        assert_eq!(left(&five_minutes, now), Some(Duration::from_secs(100)));
        let five_seconds_later = clock::after(now, Duration::from_secs(5));
        assert_eq!(left(&five_minutes, five_seconds_later), Some(Duration::ZERO), "15 s of 20");
    }

    #[tokio::test]
    async fn an_eviction_is_reported_in_the_name_of_its_controller() {
        let server = Scripted::new(|_| None).await;
        let taint = json!({"key": "mine", "effect": "NoExecute"});
        let Eviction { shared, .. } = eviction(&server, taint, json!([])).await;
        start(&shared);
        assert_eq!(server.event(EVICTION).await, "Marking for deletion Pod d/p");
        let event = server.events().into_iter().find(|event| event.body["reason"] == EVICTION);
        shared.crew.kill();
        assert_eq!(event.unwrap().body["source"]["component"], "taint-eviction-controller");
    }

    /// Five minutes are fifteen seconds, and not one second less.
    #[tokio::test(start_paused = true)]
    async fn at_scale_20_five_minutes_of_toleration_are_fifteen_seconds() {
        let _scale = clock::pin_scale(20);
        clock::pin("2026-01-01T00:00:00Z".parse().unwrap());
        let server = Scripted::new(|_| None).await;
        let taint = json!({"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": Time(clock::now())});
        let tolerations = json!([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}]);
        let eviction = eviction(&server, taint, tolerations).await;
        let key = Key::new("d", "p");
        let outcome = eviction.sync(&key, &None).await.unwrap();
        let Outcome::After(left) = outcome else { panic!("{outcome:?}") };
        let real = clock::scaled(left);
        assert!((14..=15).contains(&real.as_secs()), "{real:?}"); // talking to the server may take time
        clock::pause(real - Duration::from_secs(1)).await;
        assert!(matches!(eviction.sync(&key, &None).await.unwrap(), Outcome::After(_)));
        assert_eq!(server.lines(), [""; 0]);
        clock::pause(Duration::from_secs(1)).await;
        assert_eq!(eviction.sync(&key, &None).await.unwrap(), Outcome::Done);
        assert_eq!(server.lines().len(), 2, "its condition, and its deletion");
    }
}
