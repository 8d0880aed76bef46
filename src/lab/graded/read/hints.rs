//! When hints of built-in labs are given. `lab test` proves that each can be given, and not that it
//! is silent where it would say what is not so.

use super::Labs;
use crate::cel::facts::{self, Facts, Object};
use crate::cel::{Expr, value};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The hints that a lab gives, with this fault if it has several, where nothing else is but these
/// objects.
fn given(lab: &str, fault: Option<&str>, objects: impl Fn(&Map<String, Value>) -> Vec<Value>) -> Vec<String> {
    let labs = Labs::built_in();
    let lab = labs.get(lab).unwrap();
    let is_meant =
        |v: &Map<String, Value>| fault.is_none_or(|fault| v.get("fault").is_some_and(|it| it == fault));
    let variant = (0..1000).map(|seed| lab.variant(seed).unwrap()).find(is_meant).unwrap();
    let mut known =
        Facts { variant: Some(value::of_json(&Value::Object(variant.clone()))), ..Facts::default() };
    for kind in lab.exprs().flat_map(|e| &e.kinds).filter_map(|k| facts::kind(k)) {
        known.objects.entry(kind.qualified()).or_default();
    }
    for object in objects(&variant) {
        let kind = facts::kind(object["kind"].as_str().unwrap()).unwrap();
        let key = ["namespace", "name"].map(|f| object["metadata"][f].as_str().unwrap().to_string());
        let all = known.objects.entry(kind.qualified()).or_default();
        Arc::make_mut(all).insert(key.into(), Object::new(object));
    }
    let known = Arc::new(known);
    let is_given = |when: &Expr| when.holds(&known);
    let hints = lab.hints.iter().filter(|hint| hint.when.as_ref().is_some_and(is_given));
    hints.map(|hint| hint.id.clone()).collect()
}

fn object(kind: &str, namespace: &Value, name: &Value, spec: Value) -> Value {
    json!({"kind": kind, "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

/// Without endpoints, a slice has no ports: it does not say that nobody listens.
#[test]
fn a_hint_of_wrong_port_about_the_target_asks_for_endpoints() {
    let is_told = |endpoints: Value, ports: Value| {
        let hints = given("wrong-port", Some("number"), |v| {
            let port = v["port"].to_string();
            let pods = json!({"containers": [{"command": ["echo-server", port]}]});
            let mut slice = object("EndpointSlice", &v["ns"], &"s".into(), Value::Null);
            slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": v["app"]});
            slice["endpoints"] = endpoints.clone();
            slice["ports"] = ports.clone();
            let service = json!({"ports": [{"port": v["front"], "targetPort": "http"}]});
            vec![
                object("Deployment", &v["ns"], &v["app"], json!({"template": {"spec": pods}})),
                object("Service", &v["ns"], &v["app"], service),
                slice,
            ]
        });
        hints.iter().any(|id| id == "what-target")
    };
    assert!(!is_told(json!([]), json!([])));
    assert!(is_told(json!([{"addresses": ["10.244.0.2"]}]), json!([])));
    assert!(is_told(json!([{"addresses": ["10.244.0.2"]}]), json!([{"port": 4999}])));
}

#[test]
fn hints_of_wrong_room_look_where_an_alias_leads() {
    let told = |alias: fn(&Map<String, Value>) -> String| {
        let mut hints = given("wrong-room", Some("namespace"), |v| {
            let address = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9"});
            vec![
                object("Service", &v["home"], &v["app"], address.clone()),
                object("Service", &v["ns"], &"own".into(), address),
                object(
                    "Service",
                    &v["ns"],
                    &v["app"],
                    json!({"type": "ExternalName", "externalName": alias(v)}),
                ),
            ]
        });
        hints.retain(|id| id.starts_with("what-alias"));
        hints
    };
    assert!(told(|v| format!("own.{}.svc.cluster.local", v["ns"].as_str().unwrap())).is_empty());
    assert_eq!(told(|v| format!("x.{}.svc.cluster.local", v["home"].as_str().unwrap())), ["what-alias"]);
    assert_eq!(told(|_| "own".into()), ["what-alias-name"]);
}

#[test]
fn hints_of_wrong_room_tell_what_was_deleted() {
    let is_told = |kinds: &[&str]| {
        let hints = given("wrong-room", Some("name"), |v| {
            let all = [
                object("Deployment", &v["ns"], &v["app"], json!({})),
                object("Deployment", &v["ns"], &"kiosk".into(), json!({})),
                object("Service", &v["room"], &v["old"], json!({})),
            ];
            all.into_iter().filter(|o| kinds.contains(&o["kind"].as_str().unwrap())).collect()
        });
        hints.iter().any(|id| id == "what-gone")
    };
    assert!(!is_told(&["Deployment", "Service"]));
    assert!(is_told(&["Deployment"]) && is_told(&["Service"]));
}

#[test]
fn hints_of_stuck_rollout_know_the_image_and_the_pause() {
    let told = |image: &str, paused: bool, resources: &str| {
        let mut hints = given("stuck-rollout", Some("image"), |v| {
            let container = json!({"image": image, "readinessProbe": {"httpGet": {"path": "/"}},
                "resources": {resources: {"cpu": "50m"}}});
            let spec = json!({"replicas": v["count"], "paused": paused,
                "template": {"spec": {"containers": [container]}}});
            let mut deployment = object("Deployment", &v["ns"], &v["app"], spec);
            deployment["status"] = json!({"replicas": v["count"], "updatedReplicas": v["count"],
                "readyReplicas": v["count"], "availableReplicas": v["count"]});
            vec![deployment]
        });
        hints.retain(|id| ["what-less", "what-paused", "how"].contains(&id.as_str()));
        hints
    };
    assert!(told("nginx:1.27", false, "requests").is_empty());
    assert!(told("nginx:1.27", false, "limits").is_empty(), "the pods request as much");
    assert_eq!(told("nginx", false, "requests"), ["what-less", "how"]);
    assert_eq!(told("nginx:1.27", true, "requests"), ["what-paused"]);
}

#[test]
fn a_hint_of_small_shop_tells_of_a_claim_that_there_is_not() {
    let is_told = |claims: &[&str]| {
        let hints = given("small-shop", None, |v| {
            let name = format!("{}-data", v["store"].as_str().unwrap());
            let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": name}}]);
            let pods = json!({"template": {"spec": {"volumes": volumes}}});
            let claim =
                |space: &&str| object("PersistentVolumeClaim", &v[*space], &name.as_str().into(), json!({}));
            let mut all = vec![object("Deployment", &v["ns"], &v["store"], pods)];
            all.extend(claims.iter().map(claim));
            all
        });
        hints.iter().any(|id| id == "what-no-claim")
    };
    // A claim of this name that is elsewhere: any value serves as the name of a namespace.
    assert!(is_told(&[]) && is_told(&["front"]));
    assert!(!is_told(&["ns"]));
}

/// The image has the shell under several names.
#[test]
fn hints_of_slow_death_know_the_shell_by_each_of_its_names() {
    let told = |program: &str| {
        given("slow-death", Some("wait"), |v| {
            let script = "echo-server 8101 &\nwait\necho ended";
            let pods = json!({"containers": [{"command": [program, "-c"], "args": [script]}]});
            let spec = json!({"replicas": v["count"], "template": {"spec": pods}});
            vec![object("Deployment", &v["ns"], &v["app"], spec)]
        })
    };
    for program in ["sh", "/bin/sh", "ash", "bash", "/bin/bash"] {
        assert_eq!(told(program), ["what-shell", "how-exec"], "{program}");
    }
    assert!(told("hash").is_empty());
}
