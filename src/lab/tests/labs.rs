//! Hints of labs: each says what is so, also where a learner has changed more than the fault.

use super::*;
use crate::cel::facts::Probe;
use crate::graded::read::{Hint, Labs};
use cluster::guest::Inside;
use serde_json::Map;

/// Returns the hints that a built-in lab offers beside those that are always offered. `made` makes,
/// from the values of seed 7, the objects that there are, and those that there were when the clock
/// started.
fn hinted(lab: &str, made: impl Fn(&Map<String, Json>) -> (Vec<Json>, Vec<Json>)) -> Vec<String> {
    hinted_at(lab, &json!([]), made)
}

/// As [`hinted`], where this is broken.
fn hinted_at(
    lab: &str,
    broken: &Json,
    made: impl Fn(&Map<String, Json>) -> (Vec<Json>, Vec<Json>),
) -> Vec<String> {
    let labs = Labs::built_in();
    let lab = labs.get(lab).unwrap();
    let mut variant = lab.variant(7).unwrap();
    variant.insert("ns".into(), "default".into());
    let (now, then) = made(&variant);
    let variant = Some(value::of_json(&Json::Object(variant)));
    let mut known = Facts { since_step: BEGAN, lesson_began: BEGAN, variant, ..Facts::default() };
    let between = ["ReplicaSet", "EndpointSlice"];
    let kinds = lab.exprs().flat_map(|expr| &expr.kinds).map(String::as_str).chain(between);
    for kind in kinds.filter_map(facts::kind) {
        known.objects.entry(kind.qualified()).or_default();
    }
    let kind = |object: &Json| facts::kind(object["kind"].as_str().unwrap()).unwrap();
    let mut versions = Versions::new();
    let mut note = |revision: i64, object: &Json| {
        let (namespace, name) = facts::key(object);
        let version = Arc::new(Version::new(revision, None, "ADDED", object.to_string().into()));
        versions
            .entry((kind(object).plural.into(), namespace, name))
            .or_insert_with(|| Arc::new(vec![version]));
    };
    for object in &then {
        note(5, object);
    }
    // What was not there is new.
    for object in &now {
        note(BEGAN + 1, object);
    }
    for object in now {
        let all = known.objects.entry(kind(&object).qualified()).or_default();
        Arc::make_mut(all).insert(facts::key(&object), Object::new(object));
    }
    known.history = Arc::new(versions);
    known.answers.insert(Probe::Inside(Inside::Faults), value::of_json(broken));
    let known = Arc::new(known);
    let so = |hint: &&Hint| hint.when.as_ref().is_some_and(|when| when.holds(&known));
    lab.hints.iter().filter(so).map(|hint| hint.id.clone()).collect()
}

/// A Deployment with this many ready pods, and what is between.
fn running(app: &Json, count: i64) -> Vec<Json> {
    let app = app.as_str().unwrap();
    let mut all = vec![deployment(app, "d"), set("r", "r", Some("d"), app, count)];
    all[0]["spec"]["replicas"] = count.into();
    for field in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        all[0]["status"][field] = count.into();
    }
    let labels = json!({"app": app});
    all.extend((0..count).map(|n| pod(&format!("p{n}"), &format!("u{n}"), Some("r"), labels.clone(), "")));
    all
}

#[test]
fn broken_selector_suspects_no_selector_where_no_pod_is_ready() {
    let told = |is_running: bool| {
        hinted("broken-selector", |v| {
            let spec =
                json!({"selector": {"app": v["app"]}, "ports": [{"port": 80, "targetPort": v["port"]}]});
            let service = object("Service", v["app"].as_str().unwrap(), "s", None, json!({ "spec": spec }));
            let mut now = running(&v["app"], if is_running { v["count"].as_i64().unwrap() } else { 0 });
            now.push(service.clone());
            (now, vec![service])
        })
    };
    assert_eq!(told(false), ["what-count"]);
    assert_eq!(told(true), ["what", "how"]);
}

#[test]
fn lost_kubeconfig_calls_no_pods_ready_where_none_are() {
    let told = |is_running: bool| {
        hinted("lost-kubeconfig", |v| {
            (running(&v["app"], if is_running { v["count"].as_i64().unwrap() } else { 0 }), vec![])
        })
    };
    assert_eq!(told(false), ["what-count"]);
    assert_eq!(told(true), ["what-own"]);
}

#[test]
fn controllers_down_waits_for_no_pods_that_the_deployment_does_not_want() {
    let told = |wanted: &str| {
        hinted("controllers-down", |v| {
            let user = "system:kube-controller-manager";
            let binding = json!({"kind": "ClusterRoleBinding", "metadata": {"name": user, "uid": "b"},
                "roleRef": {"kind": "ClusterRole", "name": user}, "subjects": [{"kind": "User", "name": user}]});
            let mut now = running(&v["app"], v["had"].as_i64().unwrap());
            now[0]["spec"]["replicas"] = v[wanted].clone();
            now.push(binding.clone());
            (now, vec![binding])
        })
    };
    assert_eq!(told("had"), ["what-count"]);
    assert_eq!(told("want"), ["how-again"]);
}

#[test]
fn controllers_down_names_a_binding_that_gives_more_in_one_namespace() {
    let told = |role: &str| {
        let hints = hinted("controllers-down", |_| {
            let user = json!([{"kind": "User", "name": "system:kube-controller-manager"}]);
            let binding = json!({"kind": "RoleBinding", "metadata": {"namespace": "kube-system", "name": "more"},
                "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": user});
            let known =
                object("RoleBinding", "known", "k", None, json!({"roleRef": {"kind": "Role", "name": "r"}}));
            (vec![binding, known.clone()], vec![known])
        });
        hints.iter().any(|hint| hint == "how-less-here")
    };
    assert!(told("cluster-admin") && !told("system:kube-controller-manager"));
}

#[test]
fn hpa_asleep_tells_what_was_deleted() {
    let told = |gone: Option<usize>| {
        let hints = hinted("hpa-asleep", |v| {
            let app = v["app"].as_str().unwrap();
            let named = |(kind, name): (&str, &str)| object(kind, name, name, None, json!({"spec": {}}));
            let mut now = vec![
                named(("Deployment", app)),
                named(("Deployment", "crowd")),
                named(("Service", app)),
                named(("HorizontalPodAutoscaler", app)),
            ];
            let then = now.clone();
            if let Some(at) = gone {
                now.remove(at);
            }
            (now, then)
        });
        hints.iter().any(|hint| hint == "what-gone")
    };
    assert!((0..4).all(|at| told(Some(at))) && !told(None));
}

#[test]
fn kubelet_down_names_a_taint_that_was_not_there() {
    let told = |key: &str| {
        let hints = hinted("kubelet-down", |v| {
            let own = json!({"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"});
            let node = |taints: Json| json!({"kind": "Node", "metadata": {"name": v["node"]}, "spec": {"taints": taints}});
            let old = json!({"key": "old", "effect": "NoSchedule"});
            let new = json!({"key": key, "effect": "NoSchedule"});
            (vec![node(json!([own, old, new]))], vec![node(json!([own, old]))])
        });
        hints.iter().any(|hint| hint == "how-taint")
    };
    assert!(told("keep") && !told("old") && !told("node.kubernetes.io/not-ready"));
}

#[test]
fn kubelet_down_tells_of_a_stopped_component_and_a_full_disk() {
    let told = |broken: Json| {
        let hints = hinted_at("kubelet-down", &json!([broken]), |_| (vec![], vec![]));
        hints.into_iter().filter(|hint| ["how-held", "how-heal"].contains(&hint.as_str())).collect::<Vec<_>>()
    };
    let stopped = json!({"fault": "component stopped", "component": "kubelet", "nodes": ["ropewalk-worker"]});
    assert_eq!(told(stopped), ["how-held"]);
    assert_eq!(told(json!({"fault": "disk full", "nodes": ["ropewalk-control-plane"]})), ["how-heal"]);
}

#[test]
fn dns_down_tells_that_the_service_is_gone() {
    let told = |is_there: bool| {
        let hints = hinted("dns-down", |_| {
            let mut service = object("Service", "kube-dns", "s", None, json!({"spec": {}}));
            service["metadata"]["namespace"] = "kube-system".into();
            (if is_there { vec![service.clone()] } else { vec![] }, vec![service])
        });
        hints.iter().any(|hint| hint == "gone")
    };
    assert!(told(false) && !told(true));
}

#[test]
fn crash_loop_tells_that_the_config_map_is_gone() {
    let told = |is_there: bool| {
        let hints = hinted("crash-loop", |v| {
            let app = v["app"].as_str().unwrap();
            let settings = object("ConfigMap", &format!("{app}-settings"), "c", None, json!({"data": {}}));
            let mut now =
                vec![object("Deployment", app, "d", None, json!({"spec": {"replicas": v["count"]}}))];
            now.extend(is_there.then_some(settings));
            (now, vec![])
        });
        hints.iter().any(|hint| hint == "what-map-gone")
    };
    assert!(told(false) && !told(true));
}
