//! Taint eviction: pods leave a node whose `NoExecute` taints they do not tolerate, or tolerate for
//! a while only.

use super::node_of;
use crate::write::unless_gone;
use crate::{Error, Shared, record};
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

/// Pure: when the pod came to be on a node with this taint: the later of the taint's `timeAdded`
/// and the time when the pod was bound (its condition PodScheduled, otherwise its creation).
/// `first_seen`: when it was first seen beside taints without `timeAdded`, which only the node
/// controller writes.
///
/// Upstream counts from the moment at which it notices the pod beside its taints. The times of the
/// objects say the same, and a restart of the controller does not reset them.
fn beside_since(pod: &Pod, taint: &Taint, first_seen: Timestamp) -> Timestamp {
    let Some(added) = &taint.time_added else { return first_seen };
    let mut conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let scheduled = conditions.find(|c| c.type_ == "PodScheduled" && c.status == "True");
    let bound = scheduled.and_then(|c| c.last_transition_time.as_ref());
    let bound = bound.or(pod.metadata.creation_timestamp.as_ref());
    bound.map_or(added.0, |bound| bound.0.max(added.0))
}

/// Pure: how much of the cluster's time a pod may still stay on a node with these taints; zero: it
/// has to leave now; `None`: it may stay. `first_seen`: see [`beside_since`].
///
/// ```text
/// k:NoExecute, added at 10:00    pod bound at 9:00     pod bound at 11:00
/// tolerates it for 300 s         leaves at 10:05       leaves at 11:05
/// does not tolerate it           leaves at once        leaves at once
/// tolerates it without a time    stays                 stays
/// ```
///
/// Of several tolerations that fit, the first counts, as upstream.
pub(super) fn time_left(
    pod: &Pod,
    taints: &[Taint],
    first_seen: Timestamp,
    now: Timestamp,
) -> Option<Duration> {
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
    let mut least: Option<Duration> = None;
    for taint in taints.iter().filter(|t| t.effect == "NoExecute") {
        let since = beside_since(pod, taint, first_seen);
        let left = match tolerations.iter().find(|t| tolerates(t, taint)) {
            None => Some(Duration::ZERO),
            Some(toleration) => {
                let seconds = toleration.toleration_seconds.map(|s| Duration::from_secs(s.max(0) as u64));
                seconds.map(|wait| clock::left(since, wait, now).unwrap_or_default())
            }
        };
        least = [least, left].into_iter().flatten().min();
    }
    least
}

/// The end of a pod that is not its own doing, as its condition `DisruptionTarget` tells it.
pub(super) struct Disruption {
    pub reason: &'static str,
    pub message: &'static str,
    /// No kubelet will report the pod's end: its phase becomes Failed.
    pub failed: bool,
}

/// Writes down why a pod goes. A Job reads it: with `podFailurePolicy` such an end need not count.
/// Returns false if the pod is gone, or another one has its name.
pub(super) async fn tell_why(api: &Api<Pod>, pod: &Pod, why: &Disruption) -> Result<bool, Error> {
    let status = pod.status.clone().unwrap_or_default();
    let known = |c: &PodCondition| {
        c.type_ == "DisruptionTarget" && c.status == "True" && c.reason.as_deref() == Some(why.reason)
    };
    let fails = why.failed && !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if status.conditions.iter().flatten().any(known) && !fails {
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
    if fails {
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

struct Eviction {
    shared: Shared,
    recorder: Recorder,
    /// Pods beside taints that do not say since when they are there: uid, and when that was first
    /// seen. As upstream's, it counts anew after a restart. As long as the pods that are there, at
    /// most.
    since: Mutex<BTreeMap<Key, (Option<String>, Timestamp)>>,
}

fn taints_of(node: &Node) -> Vec<Taint> {
    node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default()
}

pub(super) fn start(shared: &Shared, recorder: &Recorder) {
    let pods: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = pods.clone();
    shared.pods.on(move |change| q.add(change.key(), change.cause()));
    let (q, all) = (pods.clone(), shared.clone());
    shared.nodes.on(move |change| {
        let moved = match change {
            Change::Updated { old, new } => taints_of(old) != taints_of(new),
            _ => true,
        };
        if moved {
            let name = change.key().name;
            for pod in all.pods.list().iter().filter(|p| node_of(p) == name) {
                q.add(Key::of(&**pod), change.cause());
            }
        }
    });
    shared.report_panics(&pods, &shared.pods, "taint-eviction");
    let worker =
        Arc::new(Eviction { shared: shared.clone(), recorder: recorder.clone(), since: Mutex::default() });
    pods.work("taint-eviction", 4, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync(&key, &cause).await }
    });
}

impl Eviction {
    /// When the pod was first seen beside taints that do not say when they were added. Forgotten
    /// when it stands beside none.
    fn first_seen(&self, key: &Key, pod: Option<&Pod>, now: Timestamp) -> Timestamp {
        let mut since = self.since.lock();
        let Some(pod) = pod else {
            since.remove(key);
            return now;
        };
        let entry = since.entry(key.clone()).or_insert_with(|| (pod.metadata.uid.clone(), now));
        if entry.0 != pod.metadata.uid {
            *entry = (pod.metadata.uid.clone(), now);
        }
        entry.1
    }

    async fn sync(&self, key: &Key, cause: &Option<Cause>) -> Result<Outcome, Error> {
        let now = clock::now();
        let pod = self.shared.pods.get(key).filter(|p| p.metadata.deletion_timestamp.is_none());
        let node = pod.as_ref().and_then(|p| self.shared.nodes.get(&Key::new("", node_of(p))));
        let taints = node.map(|n| taints_of(&n)).unwrap_or_default();
        let dateless = taints.iter().any(|t| t.effect == "NoExecute" && t.time_added.is_none());
        let first = self.first_seen(key, pod.as_deref().filter(|_| dateless), now);
        let Some(pod) = pod else { return Ok(Outcome::Done) };
        let Some(left) = time_left(&pod, &taints, first, now) else { return Ok(Outcome::Done) };
        if !left.is_zero() {
            return Ok(Outcome::After(left));
        }
        let api = self.shared.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
        if !tell_why(&api, &pod, &BY_TAINT).await? {
            return Ok(Outcome::Done);
        }
        let message = format!("Marking for deletion Pod {key}");
        self.recorder.normal(&reference(&*pod), "TaintManagerEviction", message, cause.clone());
        delete(&api, &pod, None).await?;
        self.shared.tap(Component::NodeController).emit(record(Event::Evict, "pods", key, cause));
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::UNREACHABLE;
    use super::*;
    use client::testing::Scripted;

    async fn eviction(
        server: &Scripted,
        taint: serde_json::Value,
        tolerations: serde_json::Value,
    ) -> Eviction {
        let shared = Shared::fixed(&server.client);
        let node = json!({"metadata": {"name": "n"}, "spec": {"taints": [taint]}});
        shared.nodes.tell_of(serde_json::from_value(node).unwrap());
        let pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": "u"},
            "spec": {"nodeName": "n", "containers": [], "tolerations": tolerations}});
        shared.pods.tell_of(serde_json::from_value(pod).unwrap());
        let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
        Eviction { shared, recorder, since: Mutex::default() }
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
        let mut since = eviction.since.lock().clone();
        let entry = since.get_mut(&key).unwrap();
        entry.1 = clock::before(entry.1, Duration::from_secs(120));
        *eviction.since.lock() = since;
        assert_eq!(server.lines(), [""; 0]);
        assert_eq!(eviction.sync(&key, &None).await.unwrap(), Outcome::Done);
        let asked = server.take();
        let lines: Vec<&str> = asked.iter().map(|a| a.line.as_str()).collect();
        let pod = "/api/v1/namespaces/d/pods/p";
        assert_eq!(lines, [format!("PATCH {pod}/status"), format!("DELETE {pod}")]);
        let told = &asked[0].body["status"]["conditions"][0];
        assert_eq!(
            (told["type"].as_str(), told["reason"].as_str()),
            (Some("DisruptionTarget"), Some(BY_TAINT.reason))
        );
        eviction.shared.nodes.tell_of(serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap());
        eviction.sync(&key, &None).await.unwrap();
        assert!(eviction.since.lock().is_empty(), "the taint is gone, and the count with it");
    }

    #[test]
    fn of_several_tolerations_the_first_counts() {
        let taint = Taint { key: "k".into(), effect: "NoExecute".into(), ..Taint::default() };
        let pod = json!({"spec": {"containers": [], "tolerations": [
            {"operator": "Exists"}, {"key": "k", "operator": "Exists", "tolerationSeconds": 1}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(time_left(&pod, &[taint], Timestamp::UNIX_EPOCH, clock::now()), None);
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
            let mut pod = Pod::clone(&eviction.shared.pods.get(&key).unwrap());
            pod.metadata.creation_timestamp = Some(minutes_ago(created));
            let scheduled = scheduled.map(
                |n| json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": minutes_ago(n)}]),
            );
            pod.status = serde_json::from_value(json!({"conditions": scheduled})).unwrap();
            eviction.shared.pods.tell_of(pod);
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
        let left = |pod: &Pod, now| time_left(pod, &taint, now, now);
        assert_eq!(left(&pod(json!([])), now), Some(Duration::ZERO));
        let five_minutes = pod(
            json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]),
        );
        assert_eq!(left(&five_minutes, now), Some(Duration::from_secs(290)));
        let long = pod(json!([{"operator": "Exists", "tolerationSeconds": i64::MAX}]));
        assert!(left(&long, now).unwrap() > Duration::from_secs(1 << 62));
        assert_eq!(left(&pod(json!([{"operator": "Exists"}])), now), None);
        assert_eq!(time_left(&pod(json!([])), &[], now, now), None);
        let _scale = clock::pin_scale(20);
        assert_eq!(left(&five_minutes, now), Some(Duration::from_secs(100)));
        let five_seconds_later = clock::after(now, Duration::from_secs(5));
        assert_eq!(left(&five_minutes, five_seconds_later), Some(Duration::ZERO), "15 s of 20");
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
