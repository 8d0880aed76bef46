//! What people want of the cluster: the parts of judged objects that no controller writes. The lab
//! run notes it when a lab's time is over; what differs later was changed too late, also by a
//! CronJob, a Job or a pod's token that was set up before.

use super::seal;
use super::world::World;
use crate::cel::facts;
use crate::observe::watch;
use api::kinds::Kind;
use api::meta;
use client::kube::api::ListParams;
use cluster::guest::LessonScope;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds whose objects controllers write, too, and not in their status alone: a claim gets the name
/// of its volume, a node its taints. What is written there tells nothing of what people want.
pub(super) const DERIVED: [&str; 7] = [
    "endpoints",
    "endpointslices",
    "events",
    "leases",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
];

/// Controllers that act when a time comes. What they make was wanted by the person who set them up,
/// and then.
const TIMED: [&str; 2] = ["CronJob", "Job"];
/// Begins the names of what these make, and of Jobs with a TTL. It may go again by itself.
const TIMED_MARK: &str = "timed:";

/// Begins the names under which the hashes stand of what objects are made of: all but their
/// metadata.
const MADE: &str = "made:";

/// An object's name and the hash of what people have written into it; under the same name behind
/// [`MADE`], that of all but its metadata. `None`: it is a controller's, or on its way out.
/// `is_scaled`: an autoscaler writes its replicas.
fn intent_of(plural: &str, mut object: Value, is_scaled: bool) -> Option<[(String, String); 2]> {
    let metadata = &object["metadata"];
    let owner = meta::controller(&object);
    let timed = owner.is_some_and(|o| o["kind"].as_str().is_some_and(|kind| TIMED.contains(&kind)));
    if DERIVED.contains(&plural) || (owner.is_some() && !timed) || !metadata["deletionTimestamp"].is_null() {
        return None;
    }
    // A Job with a TTL goes by itself when it has ended.
    let goes = timed || (plural == "jobs" && !object["spec"]["ttlSecondsAfterFinished"].is_null());
    let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_string();
    let mark = if goes { TIMED_MARK } else { "" };
    let name = format!("{mark}{plural}/{}/{}", text("namespace"), text("name"));
    let mut annotations = metadata["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove("deployment.kubernetes.io/revision");
        annotations.retain(|key, _| !key.starts_with("control-plane.alpha.kubernetes.io/"));
    }
    let empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    let annotations = if empty(&annotations) { Value::Null } else { annotations };
    // A pod that the judge had taken away comes back as another one.
    let uid = if plural == "pods" { &Value::Null } else { &metadata["uid"] };
    let kept = json!({"uid": uid, "labels": metadata["labels"], "annotations": annotations});
    let fields = object.as_object_mut()?;
    for key in ["metadata", "status", "kind", "apiVersion"] {
        fields.remove(key);
    }
    if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("nodeName"); // the scheduler's
        if is_scaled {
            spec.remove("replicas");
        }
    }
    let hash = |value: &Value| seal::sha256(seal::canonical(value).as_bytes());
    Some([(format!("{MADE}{name}"), hash(&object)), (name, hash(&json!([kept, object])))])
}

/// True if a person has changed something between the two.
pub(super) fn differ(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> bool {
    let whole = |name: &&String| !name.starts_with(MADE);
    now.iter().any(|(name, hash)| whole(&name) && then.get(name) != Some(hash))
        || then.keys().filter(whole).any(|name| !name.starts_with(TIMED_MARK) && !now.contains_key(name))
}

/// True if a person has changed, made or deleted an object of these resources between the two,
/// labels and annotations aside.
pub(super) fn remade(
    then: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    resources: &BTreeSet<String>,
) -> bool {
    // Written down by a program that did not tell the two apart.
    if !then.is_empty() && !then.keys().any(|name| name.starts_with(MADE)) {
        return differ(then, now);
    }
    let made = |all: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let of = |(name, hash): (&String, &String)| {
            let name = name.strip_prefix(MADE)?;
            let resource = name.trim_start_matches(TIMED_MARK).split('/').next()?;
            resources.contains(resource).then(|| (name.to_string(), hash.clone()))
        };
        all.iter().filter_map(of).collect()
    };
    differ(&made(then), &made(now))
}

/// Namespace, kind and name of the objects whose replicas these autoscalers write.
fn scaled(autoscalers: &[Value]) -> BTreeSet<[String; 3]> {
    let target = |scaler: &Value| {
        let (metadata, target) = (&scaler["metadata"], &scaler["spec"]["scaleTargetRef"]);
        [&metadata["namespace"], &target["kind"], &target["name"]]
            .map(|text| text.as_str().unwrap_or_default().to_string())
    };
    autoscalers.iter().map(target).collect()
}

impl World {
    /// What people have written into the objects of these kinds: a hash for each object that no
    /// controller has made, of all but what controllers write into it. Two of them [`differ`] if a
    /// person, under any name and in any way, has changed something in between. `places`: the
    /// namespaces that count, beside objects that have none; `None`: all.
    ///
    /// # Errors
    /// The API server does not list one of the kinds.
    pub(crate) async fn intents(
        &self,
        kinds: BTreeSet<String>,
        places: Option<&BTreeSet<String>>,
    ) -> Result<BTreeMap<String, String>, String> {
        let scaled = match facts::kind("HorizontalPodAutoscaler") {
            Some(kind) => scaled(&self.all_of(kind).await?),
            None => BTreeSet::new(),
        };
        let mut intents = BTreeMap::new();
        for kind in kinds.iter().filter_map(|k| facts::kind(k)) {
            for object in self.all_of(kind).await? {
                let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
                let namespace = text("namespace");
                if !namespace.is_empty() && places.is_some_and(|places| !places.contains(namespace)) {
                    continue;
                }
                let is_scaled = scaled.contains(&[namespace, kind.kind, text("name")].map(String::from));
                intents.extend(intent_of(kind.plural, object, is_scaled).into_iter().flatten());
            }
        }
        Ok(intents)
    }

    /// All objects of a kind.
    async fn all_of(&self, kind: &Kind) -> Result<Vec<Value>, String> {
        let all = watch::list(&self.client, kind, &LessonScope::default(), &ListParams::default()).await;
        all.map(|(objects, _)| objects).map_err(|e| cluster::chain(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controllers_write_is_no_intent() {
        let deployment = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 1,
                "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"replicas": 2}, "status": {"readyReplicas": 0},
        });
        let of = |change: fn(&mut Value)| {
            let mut object = deployment.clone();
            change(&mut object);
            intent_of("deployments", object, false)
        };
        let same = of(|_| {});
        assert_eq!(same.as_ref().map(|[_, (name, _)]| name.as_str()), Some("deployments/shop/web"));
        for change in [
            (|o| o["status"]["readyReplicas"] = 2.into()) as fn(&mut Value),
            |o| o["metadata"]["resourceVersion"] = "9".into(),
            |o| o["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "2".into(),
            |o| o["metadata"]["managedFields"] = json!([{}]),
        ] {
            assert_eq!(of(change), same);
        }
        for change in [
            (|o| o["spec"]["replicas"] = 3.into()) as fn(&mut Value),
            |o| o["metadata"]["labels"] = json!({"a": "b"}),
            |o| o["metadata"]["uid"] = "made anew".into(),
            |o| o["data"] = json!({"cause": "x"}),
        ] {
            assert_ne!(of(change), same);
        }
        let owned = json!({"metadata": {"name": "web-1", "ownerReferences": [{"controller": true}]}});
        assert_eq!(
            (
                intent_of("pods", owned, false),
                intent_of("endpoints", json!({"metadata": {"name": "web"}}), false)
            ),
            (None, None)
        );
    }

    /// Labels and annotations change nothing of what an object withstands.
    #[test]
    fn what_an_object_is_made_of_is_told_apart_from_what_is_written_on_it() {
        let of = |plural: &str, labels: Value, replicas: i64| -> BTreeMap<String, String> {
            let metadata = json!({"name": "web", "namespace": "shop", "labels": labels});
            intent_of(plural, json!({"metadata": metadata, "spec": {"replicas": replicas}}), false)
                .into_iter()
                .flatten()
                .collect()
        };
        let resources = ["deployments".to_string()].into();
        let then = of("deployments", json!({}), 2);
        for (now, is_changed, is_remade) in [
            (then.clone(), false, false),
            (of("deployments", json!({"a": "b"}), 2), true, false),
            (of("deployments", json!({}), 3), true, true),
            (BTreeMap::new(), true, true),
        ] {
            assert_eq!((differ(&then, &now), remade(&then, &now, &resources)), (is_changed, is_remade));
        }
        let mut beside = then.clone();
        beside.extend(of("configmaps", json!({}), 1));
        assert!(differ(&then, &beside) && !remade(&then, &beside, &resources));
        let old: BTreeMap<String, String> =
            then.clone().into_iter().filter(|(n, _)| !n.starts_with(MADE)).collect();
        assert!(remade(&old, &beside, &resources), "an older book does not tell them apart");
    }

    /// The time is over, and an autoscaler goes on with its work.
    #[test]
    fn what_an_autoscaler_writes_is_no_intent() {
        let scaler = json!({"metadata": {"namespace": "shop", "name": "x"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
        assert_eq!(scaled(&[scaler]), [["shop", "Deployment", "web"].map(String::from)].into());
        let of = |replicas: i64, image: &str, is_scaled: bool| {
            let metadata = json!({"name": "web", "namespace": "shop"});
            let object = json!({"metadata": metadata, "spec": {"replicas": replicas, "image": image}});
            intent_of("deployments", object, is_scaled)
        };
        assert_eq!(of(2, "a", true), of(3, "a", true));
        assert_ne!(of(2, "a", true), of(3, "b", true));
        assert_ne!(of(2, "a", false), of(3, "a", false), "somebody's");
        assert_ne!(of(2, "a", false), of(2, "a", true), "an autoscaler was added or taken away");
    }

    #[test]
    fn a_job_that_its_ttl_clears_away_was_taken_away_by_nobody() {
        let of = |spec: Value| -> BTreeMap<String, String> {
            let job = json!({"metadata": {"name": "once", "namespace": "shop"}, "spec": spec});
            intent_of("jobs", job, false).into_iter().flatten().collect()
        };
        assert!(!differ(&of(json!({"ttlSecondsAfterFinished": 60})), &BTreeMap::new()));
        assert!(differ(&of(json!({})), &BTreeMap::new()), "only a person deletes it");
        assert!(differ(&of(json!({})), &of(json!({"ttlSecondsAfterFinished": 0}))), "or has it deleted");
    }

    /// A CronJob that was set up in time and acts when the time is over, a Job of such a one, and
    /// its pod.
    #[test]
    fn what_a_clock_sets_going_is_the_will_of_who_wound_it() {
        let of = |kind: &str, name: &str| {
            json!({"metadata": {"name": name, "namespace": "shop",
                "ownerReferences": [{"kind": kind, "controller": true}]}, "spec": {"a": 1}})
        };
        let all = |objects: &[(&str, Value)]| -> BTreeMap<String, String> {
            objects
                .iter()
                .filter_map(|(plural, object)| intent_of(plural, object.clone(), false))
                .flatten()
                .collect()
        };
        let before = all(&[("jobs", of("CronJob", "n-1")), ("pods", of("ReplicaSet", "web-1"))]);
        assert_eq!(before.len(), 2, "one object, whole and without its metadata: {before:?}");
        for later in [("jobs", of("CronJob", "n-2")), ("pods", of("Job", "n-1-x"))] {
            let mut now = before.clone();
            now.extend(all(std::slice::from_ref(&later)));
            assert!(differ(&before, &now), "{later:?}");
        }
        // A Job that has ended is cleared away, and a ReplicaSet makes pods anew: no person wanted
        // that now.
        let cleared = all(&[("pods", of("ReplicaSet", "web-2"))]);
        assert!(!differ(&before, &cleared));
        let config = json!({"metadata": {"name": "report", "namespace": "shop"}, "data": {"cause": "x"}});
        let report = all(&[("configmaps", config)]);
        assert!(differ(&report, &BTreeMap::new()) && differ(&BTreeMap::new(), &report));
    }
}
