//! What people want of the cluster: the parts of judged objects that no controller writes. The desk notes it when a lab's time is over; what differs later was
//! changed too late, also by a CronJob, a Job or a pod's token that was set up before.

use super::seal;
use super::world::World;
use crate::client::kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use crate::lab::cel::facts;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds that controllers write as a whole.
const DERIVED: [&str; 7] = [
    "endpoints",
    "endpointslices",
    "events",
    "leases",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
];

/// Controllers that act when a time comes. What they make was wanted by the person who set them up, and then.
const TIMED: [&str; 2] = ["CronJob", "Job"];
/// Begins the names of what these make. It may go again by itself.
const TIMED_MARK: &str = "timed:";

/// An object's name and the hash of what somebody has written into it. `None`: it is a controller's, or on its way out.
fn will(plural: &str, mut object: Value) -> Option<(String, String)> {
    let metadata = &object["metadata"];
    let owners = metadata["ownerReferences"].as_array();
    let owner = owners.and_then(|owners| owners.iter().find(|o| o["controller"] == true));
    let timed = owner.is_some_and(|o| o["kind"].as_str().is_some_and(|kind| TIMED.contains(&kind)));
    if DERIVED.contains(&plural) || (owner.is_some() && !timed) || !metadata["deletionTimestamp"].is_null() {
        return None;
    }
    let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_string();
    let mark = if timed { TIMED_MARK } else { "" };
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
    }
    Some((name, seal::sha256(seal::canonical(&json!([kept, object])).as_bytes())))
}

/// Has somebody changed something between the two?
pub fn differ(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> bool {
    now.iter().any(|(name, hash)| then.get(name) != Some(hash))
        || then.keys().any(|name| !name.starts_with(TIMED_MARK) && !now.contains_key(name))
}

impl World {
    /// What stands in the objects of these kinds by somebody's will: a hash for each object that no controller has made, of all but what controllers write
    /// into it. [`differ`] if somebody, under whatever name and by whatever way, has changed something in between. `places`: the namespaces that count, beside
    /// objects that have none; `None`: all.
    pub async fn wills(
        &self,
        kinds: BTreeSet<String>,
        places: Option<&BTreeSet<String>>,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut wills = BTreeMap::new();
        for kind in kinds.iter().filter_map(|k| facts::kind(k)) {
            let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
            let api: Api<DynamicObject> = Api::all_with(self.client.kube(), &resource);
            let all = api.list(&ListParams::default()).await.map_err(|e| crate::cluster::chain(&e))?;
            for object in all.items {
                let object = serde_json::to_value(object).unwrap_or_default();
                let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
                if !namespace.is_empty() && places.is_some_and(|places| !places.contains(namespace)) {
                    continue;
                }
                wills.extend(will(kind.plural, object));
            }
        }
        Ok(wills)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controllers_write_is_nobody_s_will() {
        let deployment = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 1,
                "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"replicas": 2}, "status": {"readyReplicas": 0},
        });
        let of = |change: fn(&mut Value)| {
            let mut object = deployment.clone();
            change(&mut object);
            will("deployments", object)
        };
        let same = of(|_| {});
        assert_eq!(same.as_ref().map(|(name, _)| name.as_str()), Some("deployments/shop/web"));
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
            (will("pods", owned), will("endpoints", json!({"metadata": {"name": "web"}}))),
            (None, None)
        );
    }

    /// A CronJob that was set up in time and acts when the time is over, a Job of such a one, and its pod.
    #[test]
    fn what_a_clock_sets_going_is_the_will_of_who_wound_it() {
        let of = |kind: &str, name: &str| {
            json!({"metadata": {"name": name, "namespace": "shop",
                "ownerReferences": [{"kind": kind, "controller": true}]}, "spec": {"a": 1}})
        };
        let all = |objects: &[(&str, Value)]| -> BTreeMap<String, String> {
            objects.iter().filter_map(|(plural, object)| will(plural, object.clone())).collect()
        };
        let before = all(&[("jobs", of("CronJob", "n-1")), ("pods", of("ReplicaSet", "web-1"))]);
        assert_eq!(before.len(), 1, "{before:?}");
        for later in [("jobs", of("CronJob", "n-2")), ("pods", of("Job", "n-1-x"))] {
            let mut now = before.clone();
            now.extend(all(std::slice::from_ref(&later)));
            assert!(differ(&before, &now), "{later:?}");
        }
        // A Job that has ended is cleared away, and a ReplicaSet makes pods anew: nobody wanted that now.
        let cleared = all(&[("pods", of("ReplicaSet", "web-2"))]);
        assert!(!differ(&before, &cleared));
        let config = json!({"metadata": {"name": "report", "namespace": "shop"}, "data": {"cause": "x"}});
        let report = all(&[("configmaps", config)]);
        assert!(differ(&report, &BTreeMap::new()) && differ(&BTreeMap::new(), &report));
    }
}
