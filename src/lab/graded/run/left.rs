//! Pods that a probe has left behind, and that nobody would let go.
//!
//! The judge takes a probe back in one transaction, but each controller hears of it in its own
//! time. Example: a probe has given the template of a Deployment a finalizer, so that its deleted
//! pods can be looked at. It is taken back. The ReplicaSet controller sees first that the pods are
//! gone and only then that their ReplicaSet is: in between it makes one more pod. The garbage
//! collector deletes that pod, and it stays for ever, because no controller knows the finalizer.

use super::{Current, LabRun, chain_text};
use crate::cel::facts::Object;
use api::meta;
use cluster::guest::Room;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Pods by namespace and name.
type Pods = BTreeMap<(String, String), Object>;

impl LabRun {
    /// Takes the finalizers that came with a probe from the pods that it has left behind.
    /// `before`: the revision before the probe, to which everything has gone back. If that fails,
    /// such pods stay, and the grade holds all the same.
    pub(super) async fn release_left(&self, current: &Current, before: i64) {
        let released = async {
            let now = self.revision().await?;
            let (then, now) = (self.world.pods_at(before).await?, self.world.pods_at(now).await?);
            let lines = releasing(current.places().as_ref(), &then, &now);
            let played = self.teacher.play(&lines, &Room::default()).await;
            played.map_err(|error| chain_text(&error))
        };
        let released: Result<(), String> = released.await;
        if let Err(why) = released {
            tracing::warn!(why, "pods that a probe has left behind are not let go");
        }
    }
}

/// Returns the lines that release what is left in these namespaces (all: `None`): pods of a
/// controller which were not there before the probe, are being deleted, and have a finalizer that
/// no pod had before.
///
/// ```text
/// before: a           now: a, b (deleted, finalizer x)        b: x goes
/// before: c (x)       now: c (x), b (deleted, finalizer x)    nothing: x may be the learner's
/// ```
fn releasing(places: Option<&BTreeSet<String>>, then: &Pods, now: &Pods) -> Vec<String> {
    let known: BTreeSet<&str> = then.values().flat_map(|pod| meta::finalizers(&pod.json)).collect();
    let is_left = |place: &(String, String), pod: &Value| {
        let is_here = places.is_none_or(|places| places.contains(&place.0));
        is_here && !then.contains_key(place) && meta::is_terminating(pod) && is_controlled(pod)
    };
    let left = now.iter().filter(|(place, pod)| is_left(place, &pod.json));
    let line = |((namespace, name), pod): (&(String, String), &Object)| {
        let (stay, go): (Vec<&str>, Vec<&str>) =
            meta::finalizers(&pod.json).partition(|finalizer| known.contains(finalizer));
        // The uid makes the patch fail if the name has passed on to another pod since.
        let patch = json!({"metadata": {"uid": meta::uid(&pod.json), "finalizers": stay}});
        // A pod that is gone by now is no failure.
        let line = format!("-kubectl patch pod {name} -n {namespace} --type=merge -p '{patch}'");
        (!go.is_empty()).then_some(line)
    };
    left.filter_map(line).collect()
}

/// Did a controller make it?
fn is_controlled(pod: &Value) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|all| all.iter().any(|owner| owner["controller"] == true))
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
        let of = |places: Option<&BTreeSet<String>>| releasing(places, &then, &now);
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
        assert!(releasing(None, &pods(&[]), &pods(&[("own", own)])).is_empty());
    }
}
