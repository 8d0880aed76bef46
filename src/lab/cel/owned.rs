//! Which pods belong to an object, and which addresses stand behind a Service. Names and labels can
//! be borrowed by objects of anybody's own; the uids in `ownerReferences` say who made a pod, so
//! checks ask for those.

use super::facts::{self, Facts, Object};
use api::meta;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Kinds that stand between an object and its pods, nearest first: a Deployment makes ReplicaSets,
/// a CronJob makes Jobs. The kind may be written with its group.
pub(super) fn between(kind: &str) -> &'static [&'static str] {
    match facts::kind(kind).map_or(kind, |known| known.kind) {
        "Deployment" => &["ReplicaSet"],
        "CronJob" => &["Job"],
        _ => &[],
    }
}

/// Lists the pods that the object of this name has made itself or through the objects that it
/// controls, and that are not being deleted. Each link is the uid of the controlling owner.
///
/// Example: Deployment `web` (uid 1) controls ReplicaSet `web-5d4f` (uid 2, owner 1), which
/// controls the pod `web-5d4f-abcde` (owner 2). A ReplicaSet `web-x` that a person made has no
/// owner with uid 1, so its pods are not listed.
///
/// # Errors
/// One of the kinds is not watched yet.
pub(super) fn pods_of(facts: &Facts, kind: &str, namespace: &str, name: &str) -> Result<Vec<Object>, String> {
    let top = facts.object(kind, namespace, name)?;
    let mut owners: BTreeSet<String> = top.iter().filter_map(|o| uid(&o.json)).collect();
    for kind in between(kind) {
        let made = facts.objects(kind, namespace, None)?;
        owners =
            made.iter().filter(|o| is_controlled_by(&o.json, &owners)).filter_map(|o| uid(&o.json)).collect();
    }
    let mut pods = facts.objects("Pod", namespace, None)?;
    pods.retain(|p| is_controlled_by(&p.json, &owners) && p.json["metadata"]["deletionTimestamp"].is_null());
    Ok(pods)
}

/// Lists the addresses to which a Service leads: those of the ready endpoints in all of its
/// EndpointSlices, each once, also of slices that a person wrote. An endpoint that says nothing of
/// its readiness counts as ready, as for kube-proxy.
///
/// # Errors
/// EndpointSlices are not watched yet.
pub(super) fn backends(facts: &Facts, namespace: &str, service: &str) -> Result<Vec<String>, String> {
    let selector = format!("kubernetes.io/service-name={service}");
    let slices = facts.objects("EndpointSlice", namespace, Some(&selector))?;
    let endpoints = slices.iter().flat_map(|s| s.json["endpoints"].as_array().into_iter().flatten());
    let ready = endpoints.filter(|e| e["conditions"]["ready"] != false);
    let addresses = ready.flat_map(|e| e["addresses"].as_array().into_iter().flatten());
    let found: BTreeSet<String> = addresses.filter_map(|a| a.as_str().map(String::from)).collect();
    Ok(found.into_iter().collect())
}

fn uid(object: &Json) -> Option<String> {
    object["metadata"]["uid"].as_str().map(String::from)
}

fn is_controlled_by(object: &Json, owners: &BTreeSet<String>) -> bool {
    meta::controller(object).and_then(|by| by["uid"].as_str()).is_some_and(|uid| owners.contains(uid))
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Use};
    use super::*;
    use cel::Value;
    use serde_json::json;
    use std::sync::Arc;

    fn facts(objects: &[Json]) -> Arc<Facts> {
        let mut facts = Facts::default();
        // Of every kind that is asked for there is a watch, also if it has found nothing.
        for kind in ["Deployment", "ReplicaSet", "Pod", "EndpointSlice", "Service"] {
            facts.objects.insert(super::super::facts::kind(kind).unwrap().qualified(), Arc::default());
        }
        for object in objects {
            let kind = super::super::facts::kind(object["kind"].as_str().unwrap()).unwrap();
            let all = facts.objects.get_mut(&kind.qualified()).unwrap();
            Arc::make_mut(all).insert(super::super::facts::key(object), Object::new(object.clone()));
        }
        Arc::new(facts)
    }

    fn made(kind: &str, name: &str, uid: &str, owner: Option<&str>) -> Json {
        let owners: Vec<Json> =
            owner.map(|uid| json!({"uid": uid, "controller": true})).into_iter().collect();
        json!({"kind": kind, "metadata": {"namespace": "shop", "name": name, "uid": uid, "labels": {"app": "menu"}, "ownerReferences": owners},
            "status": {"podIP": format!("10.0.0.{uid}")}})
    }

    fn names(facts: &Arc<Facts>, source: &str) -> Vec<String> {
        match Expr::compile(source, Use::Check, &[]).unwrap().value(facts, &[]) {
            Ok(Value::List(all)) => all.iter().map(|v| format!("{v:?}")).collect(),
            other => panic!("{source}: {other:?}"),
        }
    }

    /// A ReplicaSet of one's own under a name that looks like the Deployment's: its pods answer to
    /// the same pattern and carry the same labels.
    #[test]
    fn a_pod_belongs_to_its_deployment_by_uid_and_not_by_name_or_label() {
        let facts = facts(&[
            made("Deployment", "menu", "1", None),
            made("ReplicaSet", "menu-5d4f", "2", Some("1")),
            made("Pod", "menu-5d4f-abcde", "3", Some("2")),
            made("ReplicaSet", "menu-x", "4", None),
            made("Pod", "menu-x-abcde", "5", Some("4")),
            made("Pod", "menu-5d4f-bcdef", "6", None),
            made("Deployment", "other", "7", None),
        ]);
        let pods = |name: &str| {
            names(&facts, &format!("pods_of('Deployment','shop','{name}').map(p, p.metadata.name)"))
        };
        assert_eq!(pods("menu").len(), 1);
        assert!(pods("menu")[0].contains("menu-5d4f-abcde"), "{:?}", pods("menu"));
        assert!(pods("other").is_empty() && pods("none").is_empty());
        let with_group = names(&facts, "pods_of('Deployment.apps','shop','menu')");
        assert_eq!(with_group.len(), 1, "a kind may be written with its group");
        let of_set = names(&facts, "pods_of('ReplicaSet','shop','menu-x')");
        assert_eq!(of_set.len(), 1, "a ReplicaSet's pods are its own");
    }

    #[test]
    fn behind_a_service_stands_what_its_slices_say_also_one_that_a_person_wrote() {
        let slice = |name: &str, endpoints: Json| {
            json!({"kind": "EndpointSlice", "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": "menu"}},
                "endpoints": endpoints})
        };
        let facts = facts(&[
            slice(
                "menu-1",
                json!([{"addresses": ["10.0.0.3"], "conditions": {"ready": true}}, {"addresses": ["10.0.0.9"], "conditions": {"ready": false}}]),
            ),
            slice("by-hand", json!([{"addresses": ["10.0.0.5"]}, {"addresses": ["10.0.0.3"]}])),
        ]);
        assert_eq!(names(&facts, "backends('shop','menu')").len(), 2);
        assert_eq!(names(&facts, "backends('shop','cart')").len(), 0);
    }

    #[test]
    fn what_it_reads_is_watched_before_it_is_asked() {
        let expr = Expr::compile("size(pods_of('Deployment','shop','menu')) == 2", Use::Check, &[]).unwrap();
        let grouped =
            Expr::compile("size(pods_of('Deployment.apps','a','b')) == 2", Use::Check, &[]).unwrap();
        assert!(grouped.kinds.contains("ReplicaSet"), "{:?}", grouped.kinds);
        for kind in ["Deployment", "ReplicaSet", "Pod"] {
            assert!(expr.kinds.contains(kind), "{kind}: {:?}", expr.kinds);
        }
        let expr = Expr::compile("backends('shop','menu') == []", Use::Check, &[]).unwrap();
        assert!(expr.kinds.contains("EndpointSlice") && expr.is_level(), "{:?}", expr.kinds);
    }
}
