//! Pods that a probe has left behind, and that would stay in their deletion for ever.
//!
//! The judge takes a probe back in one transaction, but each controller hears of it in its own
//! time. Example: a probe has given the template of a Deployment a finalizer, so that its deleted
//! pods can be looked at. It is taken back. The ReplicaSet controller sees first that the pods are
//! gone and only then that their ReplicaSet is: in between it makes one more pod. The garbage
//! collector deletes that pod, and it stays for ever, because no controller knows the finalizer.
//! The garbage collector may be late, too: then the pod is no more than without its owner.

use super::{Current, LabRun, chain_text};
use crate::cel::facts::Object;
use api::meta;
use cluster::guest::LessonScope;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Pods by namespace and name.
type Pods = BTreeMap<(String, String), Object>;

/// A late controller is given so long between two looks, and so many looks at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOKS_MAX: usize = 6;

impl LabRun {
    /// Takes the finalizers that came with a probe from the pods that it has left behind.
    /// `before`: the revision before the probe, to which everything has gone back. It looks again
    /// until two looks find the same. If that fails, such pods stay, and the grade holds all the
    /// same.
    pub(super) async fn release_left(&self, current: &Current, before: i64) {
        let released = async {
            let places = current.places();
            let then = self.world.objects_at("Pod", before).await?;
            let mut last: Option<Vec<String>> = None;
            for _ in 0..LOOKS_MAX {
                let revision = self.revision().await?;
                let now = self.world.objects_at("Pod", revision).await?;
                let orphans = self.orphans(&then, &now, revision).await;
                let lines = releasing(places.as_ref(), &then, &now, &orphans);
                if last.as_ref() == Some(&lines) {
                    break;
                }
                let played = self.teacher.play(&lines, &LessonScope::default()).await;
                played.map_err(|error| chain_text(&error))?;
                last = Some(lines);
                clock::pause(LOOK_EVERY).await;
            }
            Ok(())
        };
        let released: Result<(), String> = released.await;
        if let Err(why) = released {
            tracing::warn!(why, "pods that a probe has left behind are not let go");
        }
    }

    /// The uids of new pods whose controller is gone at a revision. Where its kind cannot be
    /// listed, nothing is said of it.
    async fn orphans(&self, then: &Pods, now: &Pods, revision: i64) -> BTreeSet<String> {
        let new = now.iter().filter(|(place, _)| !then.contains_key(*place)).map(|(_, pod)| &pod.json);
        let owned: Vec<(&Value, &Value)> =
            new.filter_map(|pod| Some((&**pod, meta::controller(pod)?))).collect();
        let kinds: BTreeSet<&str> = owned.iter().filter_map(|(_, owner)| owner["kind"].as_str()).collect();
        let mut orphans = BTreeSet::new();
        for kind in kinds {
            let Ok(owners) = self.world.objects_at(kind, revision).await else { continue };
            let there: BTreeSet<&str> = owners.values().map(|owner| meta::uid(&owner.json)).collect();
            let is_gone = |owner: &Value| owner["uid"].as_str().is_some_and(|uid| !there.contains(uid));
            let gone = owned.iter().filter(|(_, owner)| owner["kind"] == kind && is_gone(owner));
            orphans.extend(gone.map(|(pod, _)| meta::uid(pod).to_string()));
        }
        orphans
    }
}

/// Returns the lines that release what is left in these namespaces (all: `None`): pods of a
/// controller which were not there before the probe, are being deleted or without their controller
/// (`orphans`: their uids), and have a finalizer that no pod had before. Those of Kubernetes itself
/// stay: its controllers take them away, and need the time until then.
///
/// ```text
/// before: a           now: a, b (deleted, finalizer x)        b: x goes
/// before: c (x)       now: c (x), b (deleted, finalizer x)    nothing: x may be the learner's
/// before: a           now: a, b (no controller, finalizer x)  b: x goes; it is deleted soon
/// ```
fn releasing(
    places: Option<&BTreeSet<String>>,
    then: &Pods,
    now: &Pods,
    orphans: &BTreeSet<String>,
) -> Vec<String> {
    let known: BTreeSet<&str> = then.values().flat_map(|pod| meta::finalizers(&pod.json)).collect();
    let is_left = |place: &(String, String), pod: &Value| {
        let is_here = places.is_none_or(|places| places.contains(&place.0));
        let is_over = meta::is_terminating(pod) || orphans.contains(meta::uid(pod));
        is_here && !then.contains_key(place) && is_over && meta::controller(pod).is_some()
    };
    let pods = now.iter().filter(|(place, pod)| is_left(place, &pod.json));
    let line = |((namespace, name), pod): (&(String, String), &Object)| {
        let (stay, go): (Vec<&str>, Vec<&str>) =
            meta::finalizers(&pod.json).partition(|f| known.contains(f) || is_of_kubernetes(f));
        // The uid makes the patch fail if the name has passed on to another pod since.
        let patch = json!({"metadata": {"uid": meta::uid(&pod.json), "finalizers": stay}});
        // A pod that is gone by now is no failure.
        let line = format!("-kubectl patch pod {name} -n {namespace} --type=merge -p '{patch}'");
        (!go.is_empty()).then_some(line)
    };
    pods.filter_map(line).collect()
}

/// Returns whether a controller of Kubernetes takes a finalizer away, e.g. the Job controller its
/// `batch.kubernetes.io/job-tracking` once it has counted the pod.
fn is_of_kubernetes(finalizer: &str) -> bool {
    let domain = finalizer.split_once('/').map(|(domain, _)| domain);
    let is_reserved = |domain: &str| {
        let is_below = |rest: &str| rest.is_empty() || rest.ends_with('.');
        let ends = |end: &str| domain.strip_suffix(end).is_some_and(is_below);
        ends("kubernetes.io") || ends("k8s.io")
    };
    matches!(finalizer, "foregroundDeletion" | "orphan") || domain.is_some_and(is_reserved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::is_plain;

    fn pods(all: &[(&str, Value)]) -> Pods {
        let pod = |(name, more): &(&str, Value)| {
            let mut metadata = json!({"name": name, "uid": format!("uid-{name}"),
                "ownerReferences": [{"kind": "ReplicaSet", "controller": true}]});
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            (("shop".to_string(), name.to_string()), Object::new(json!({"metadata": metadata})))
        };
        all.iter().map(pod).collect()
    }

    fn deleted(finalizers: &[&str]) -> Value {
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers})
    }

    #[test]
    fn a_pod_that_a_late_controller_made_from_a_probe_is_let_go() {
        let then = pods(&[("old", json!({})), ("kept", deleted(&["team.io/own"]))]);
        let now = pods(&[
            ("old", deleted(&["x.io/judge"])), // it was there before: the way back has judged it
            ("kept", deleted(&["team.io/own"])),
            ("runs", json!({"finalizers": ["x.io/judge"]})),
            ("bare", deleted(&[])),
            ("own", deleted(&["team.io/own"])),
            ("left", deleted(&["x.io/judge", "team.io/own"])),
        ]);
        let of = |places: Option<&BTreeSet<String>>| releasing(places, &then, &now, &BTreeSet::new());
        let line = "-kubectl patch pod left -n shop --type=merge -p \
            '{\"metadata\":{\"uid\":\"uid-left\",\"finalizers\":[\"team.io/own\"]}}'";
        assert_eq!(of(None), [line]);
        assert!(is_plain(&line[1..]), "the teacher has no shell");
        assert_eq!(of(Some(&BTreeSet::from(["shop".into()]))), [line]);
        assert!(of(Some(&BTreeSet::from(["other".into()]))).is_empty());
    }

    #[test]
    fn a_pod_that_a_person_made_meanwhile_keeps_its_finalizers() {
        let mut own = deleted(&["x.io/judge"]);
        own["ownerReferences"] = json!([]);
        let orphans = BTreeSet::from(["uid-own".to_string()]);
        assert!(releasing(None, &pods(&[]), &pods(&[("own", own)]), &orphans).is_empty());
    }

    /// The garbage collector has not seen yet that the ReplicaSet is gone.
    #[test]
    fn a_pod_whose_controller_is_gone_is_let_go_before_it_is_deleted() {
        let finalizer = || json!({"finalizers": ["x.io/judge"]});
        let now = pods(&[("late", finalizer()), ("runs", finalizer())]);
        let of = |orphans: &[&str]| {
            let orphans = orphans.iter().map(ToString::to_string).collect();
            releasing(None, &pods(&[]), &now, &orphans)
        };
        assert!(of(&[]).is_empty());
        let lines = of(&["uid-late"]);
        assert!(lines.len() == 1 && lines[0].contains("patch pod late "), "{lines:?}");
    }

    #[test]
    fn finalizers_of_kubernetes_itself_stay() {
        let of = |finalizers: &[&str]| {
            releasing(None, &pods(&[]), &pods(&[("left", deleted(finalizers))]), &BTreeSet::new())
        };
        let own = ["batch.kubernetes.io/job-tracking", "foregroundDeletion", "orphan", "kubernetes.io/x"];
        for finalizer in own {
            assert!(of(&[finalizer]).is_empty(), "{finalizer}");
        }
        let lines = of(&["batch.kubernetes.io/job-tracking", "x.io/judge"]);
        assert!(lines[0].contains(r#""finalizers":["batch.kubernetes.io/job-tracking"]"#), "{lines:?}");
        assert_eq!(of(&["mykubernetes.io/judge"]).len(), 1, "another domain");
    }
}
