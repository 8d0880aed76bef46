//! Hints of labs: each says what is so, also where a learner has changed more than the fault.

use super::built_in::BuiltIn;
use super::*;

/// A lab with the values of seed 7, but for the namespace: [`object`] puts its objects into
/// `default`. Nothing is broken.
fn drawn(lab: &str) -> BuiltIn {
    let between = ["ReplicaSet", "EndpointSlice"];
    BuiltIn::seed(lab, 7).with("ns", "default").watch(&between).broken(&json!([]))
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
        let lab = drawn("broken-selector");
        let v = &lab.values;
        let spec = json!({"selector": {"app": v["app"]}, "ports": [{"port": 80, "targetPort": v["port"]}]});
        let service = object("Service", v["app"].as_str().unwrap(), "s", None, json!({ "spec": spec }));
        let mut now = running(&v["app"], if is_running { v["count"].as_i64().unwrap() } else { 0 });
        now.push(service.clone());
        lab.changed(&[service], now).hints()
    };
    assert_eq!(told(false), ["what-count"]);
    assert_eq!(told(true), ["what", "how"]);
}

#[test]
fn lost_kubeconfig_calls_no_pods_ready_where_none_are() {
    let told = |is_running: bool| {
        let lab = drawn("lost-kubeconfig");
        let v = &lab.values;
        let now = running(&v["app"], if is_running { v["count"].as_i64().unwrap() } else { 0 });
        lab.changed(&[], now).hints()
    };
    // There is no ConfigMap here, and no service account.
    assert_eq!(told(false), ["what-count", "what-gone"]);
    assert_eq!(told(true), ["what-gone", "what-own"]);
}

#[test]
fn controllers_down_waits_for_no_pods_that_the_deployment_does_not_want() {
    let told = |wanted: &str| {
        let lab = drawn("controllers-down");
        let v = &lab.values;
        let user = "system:kube-controller-manager";
        let binding = json!({"kind": "ClusterRoleBinding", "metadata": {"name": user, "uid": "b"},
            "roleRef": {"kind": "ClusterRole", "name": user}, "subjects": [{"kind": "User", "name": user}]});
        let mut now = running(&v["app"], v["had"].as_i64().unwrap());
        now[0]["spec"]["replicas"] = v[wanted].clone();
        now.push(binding.clone());
        lab.changed(&[binding], now).hints()
    };
    assert_eq!(told("had"), ["what-count"]);
    assert_eq!(told("want"), ["how-again"]);
}

#[test]
fn controllers_down_names_a_binding_that_gives_more_in_one_namespace() {
    let told = |role: &str| {
        let user = json!([{"kind": "User", "name": "system:kube-controller-manager"}]);
        let binding = json!({"kind": "RoleBinding", "metadata": {"namespace": "kube-system", "name": "more"},
            "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": user});
        let known =
            object("RoleBinding", "known", "k", None, json!({"roleRef": {"kind": "Role", "name": "r"}}));
        let now = vec![binding, known.clone()];
        drawn("controllers-down").changed(&[known], now).tells("how-less-here")
    };
    assert!(told("cluster-admin") && !told("system:kube-controller-manager"));
}

#[test]
fn hpa_asleep_tells_what_was_deleted() {
    let told = |gone: Option<usize>| {
        let lab = drawn("hpa-asleep");
        let app = lab.values["app"].as_str().unwrap();
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
        lab.changed(&then, now).tells("what-gone")
    };
    assert!((0..4).all(|at| told(Some(at))) && !told(None));
}

#[test]
fn kubelet_down_names_a_taint_that_was_not_there() {
    let told = |key: &str| {
        let lab = drawn("kubelet-down");
        let name = &lab.values["node"];
        let own = json!({"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"});
        let node =
            |taints: Json| json!({"kind": "Node", "metadata": {"name": name}, "spec": {"taints": taints}});
        let old = json!({"key": "old", "effect": "NoSchedule"});
        let new = json!({"key": key, "effect": "NoSchedule"});
        let (then, now) = (node(json!([own, old])), node(json!([own, old, new])));
        lab.changed(&[then], vec![now]).tells("how-taint")
    };
    assert!(told("keep") && !told("old") && !told("node.kubernetes.io/not-ready"));
}

#[test]
fn kubelet_down_tells_of_a_stopped_component_and_a_full_disk() {
    let told = |broken: Json| {
        let hints = drawn("kubelet-down").broken(&json!([broken])).changed(&[], vec![]).hints();
        hints.into_iter().filter(|hint| ["how-held", "how-heal"].contains(&hint.as_str())).collect::<Vec<_>>()
    };
    let stopped = json!({"fault": "component stopped", "component": "kubelet", "nodes": ["ropewalk-worker"]});
    assert_eq!(told(stopped), ["how-held"]);
    assert_eq!(told(json!({"fault": "disk full", "nodes": ["ropewalk-control-plane"]})), ["how-heal"]);
}

#[test]
fn dns_down_tells_that_the_service_is_gone() {
    let told = |is_there: bool| {
        let mut service = object("Service", "kube-dns", "s", None, json!({"spec": {}}));
        service["metadata"]["namespace"] = "kube-system".into();
        let now = if is_there { vec![service.clone()] } else { vec![] };
        drawn("dns-down").changed(&[service], now).tells("gone")
    };
    assert!(told(false) && !told(true));
}

#[test]
fn crash_loop_tells_that_the_config_map_is_gone() {
    let told = |is_there: bool| {
        let lab = drawn("crash-loop");
        let v = &lab.values;
        let app = v["app"].as_str().unwrap();
        let settings = object("ConfigMap", &format!("{app}-settings"), "c", None, json!({"data": {}}));
        let mut now = vec![object("Deployment", app, "d", None, json!({"spec": {"replicas": v["count"]}}))];
        now.extend(is_there.then_some(settings));
        lab.changed(&[], now).tells("what-map-gone")
    };
    assert!(told(false) && !told(true));
}

#[test]
fn scheduler_down_names_a_subject_that_is_too_many() {
    let role = "system:kube-scheduler";
    let user = |name: &str| json!({"kind": "User", "name": name});
    let is_extra = |fault: &str, subjects: &[Json]| {
        let binding = json!({"kind": "ClusterRoleBinding", "metadata": {"name": role}, "roleRef": {"name": role},
            "subjects": subjects});
        let lab = BuiltIn::given("scheduler-down", &json!({"fault": fault, "slip": "kube-scheduler"}));
        let all = vec![binding];
        lab.begun().added(BEGAN - 1, &all).now(all).tells("how-extra")
    };
    let account = json!({"kind": "ServiceAccount", "namespace": "kube-system", "name": "kube-scheduler"});
    assert!(is_extra("binding", &[account.clone(), user(role)]) && is_extra("subject", &[account]));
    let slip = [user("kube-scheduler")];
    assert!(is_extra("binding", &slip) && !is_extra("subject", &slip), "the lab itself wrote it there");
    assert!(!is_extra("binding", &[]) && !is_extra("binding", &[user(role)]));
}

#[test]
fn scheduler_down_takes_no_group_for_its_user() {
    let user = "system:kube-scheduler";
    let binding = |role: &str, kind: &str| {
        json!({"kind": "ClusterRoleBinding", "metadata": {"name": user}, "roleRef": {"name": role},
            "subjects": [{"kind": kind, "name": user}]})
    };
    let told = |then: &[Json], now: Vec<Json>| {
        let mut hints = BuiltIn::with_fault("scheduler-down", "binding").changed(then, now).hints();
        hints.retain(|id| ["what", "how-binding", "how-less", "how-role"].contains(&id.as_str()));
        hints
    };
    let right = [binding(user, "User")];
    assert_eq!(told(&[], vec![binding(user, "Group")]), ["what", "how-less"]);
    assert!(told(&[], right.to_vec()).is_empty());
    assert_eq!(told(&right, vec![]), ["what", "how-binding"]);
    assert_eq!(told(&right, vec![binding("view", "User")]), ["what", "how-role"], "its name is taken");
}

#[test]
fn orphans_names_an_owner_with_another_number() {
    let is_other = |replicas: i64, owner: &str| {
        let orphan = pod("gulls-a", "p", Some(owner), json!({"app": "gulls"}), "10.244.1.3");
        let all = vec![set("gulls", "r", None, "gulls", replicas), orphan];
        let lab = BuiltIn::given("orphans", &json!({"ns": "default", "app": "gulls", "count": 2}));
        lab.begun().added(BEGAN - 1, &all).now(all).tells("what-number")
    };
    assert!(is_other(3, "r") && is_other(1, "r"));
    assert!(!is_other(2, "r") && !is_other(3, "x"));
}

#[test]
fn orphans_asks_for_no_second_owner() {
    let told = |owner: Option<&str>| {
        let orphan = pod("gulls-a", "p", owner, json!({"app": "gulls"}), "10.244.1.3");
        let all = vec![set("gulls", "r", None, "gulls", 1), orphan];
        let lab = BuiltIn::given("orphans", &json!({"ns": "default", "app": "gulls", "count": 1}));
        let mut hints = lab.begun().added(BEGAN - 1, &all).now(all).hints();
        hints.retain(|id| ["what-owner", "how"].contains(&id.as_str()));
        hints
    };
    assert_eq!(told(None), ["how"]);
    assert!(told(Some("r")).is_empty(), "a second ReplicaSet would create as many pods again");
    assert_eq!(told(Some("x")), ["what-owner"]);
}

#[test]
fn controllers_down_names_a_subject_that_is_too_many() {
    let role = "system:kube-controller-manager";
    let user = |name: &str| json!({"kind": "User", "name": name});
    let is_extra = |fault: &str, subjects: &[Json]| {
        let binding = json!({"kind": "ClusterRoleBinding", "metadata": {"name": role}, "roleRef": {"name": role},
            "subjects": subjects});
        let lab = BuiltIn::given("controllers-down", &json!({"fault": fault, "slip": "slip"}));
        let all = vec![binding];
        lab.begun().added(BEGAN - 1, &all).now(all).tells("how-extra")
    };
    assert!(is_extra("subject", &[user("slip"), user("guess"), user(role)]));
    assert!(!is_extra("subject", &[user("slip"), user(role)]), "the lab itself wrote it there");
    assert!(is_extra("binding", &[user("slip")]) && !is_extra("binding", &[user(role)]));
}

#[test]
fn nothing_fits_tells_that_the_deployment_is_gone() {
    let told = |is_there: bool| {
        let lab = drawn("nothing-fits");
        let app = object("Deployment", lab.values["app"].as_str().unwrap(), "d", None, json!({"spec": {}}));
        let now = if is_there { vec![app.clone()] } else { vec![] };
        lab.changed(&[app], now).tells("what-gone")
    };
    assert!(told(false) && !told(true));
}
