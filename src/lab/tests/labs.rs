//! Hints of labs: each says what is so, also where a learner has changed more than the fault.

use super::built_in::BuiltIn;
use super::*;
use crate::graded::read::{Hint, Labs};
use serde_json::Map;

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

/// The other one is deleted at the advice of `how-less`, and the user would lose its rights again.
#[test]
fn scheduler_down_repairs_the_binding_from_the_start() {
    let role = "system:kube-scheduler";
    let binding = |name: &str, subjects: Json| {
        json!({"kind": "ClusterRoleBinding", "metadata": {"name": name}, "roleRef": {"name": role},
            "subjects": subjects})
    };
    let own = binding("repaired", json!([{"kind": "Group", "name": role}]));
    for lang in ["en", "ko"] {
        let names = |then: &[Json], name: &str| {
            let now = then.iter().cloned().chain([own.clone()]).collect();
            let lab = BuiltIn::with_fault("scheduler-down", "binding").changed(then, now);
            let said = lab.says("how-subject", lang);
            said.ends_with(&format!("`kubectl set subject clusterrolebinding {name} --user={role}`"))
        };
        assert!(names(&[binding(role, json!([]))], role) && names(&[], "repaired"), "{lang}");
    }
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

/// A binding of the controllers' role under another name, for this kind of subject.
#[test]
fn controllers_down_wants_the_role_for_the_user_and_for_no_group_of_its_name() {
    let role = "system:kube-controller-manager";
    let told = |kind: &str| {
        let lab = drawn("controllers-down");
        let v = &lab.values;
        let binding = json!({"kind": "ClusterRoleBinding", "metadata": {"name": "other"},
            "roleRef": {"name": role}, "subjects": [{"kind": kind, "name": role}]});
        let mut now = running(&v["app"], v["had"].as_i64().unwrap());
        now[0]["spec"]["replicas"] = v["want"].clone();
        now.push(binding);
        lab.changed(&[], now).hints()
    };
    assert_eq!(told("User"), ["how-again"]);
    assert_eq!(told("Group"), ["what", "how-subject", "how-less"]);
}

/// A name is taken once: `create` would fail.
#[test]
fn controllers_down_creates_no_binding_under_a_name_that_is_taken() {
    let name = "system:kube-controller-manager";
    let meta = json!({ "name": name });
    let binding =
        |role: &str| json!({"kind": "ClusterRoleBinding", "metadata": meta, "roleRef": {"name": role}});
    let hints = drawn("controllers-down").changed(&[binding(name)], vec![binding("view")]).hints();
    assert!(hints.contains(&"how-role".to_string()), "{hints:?}");
    assert!(!hints.contains(&"how-binding".to_string()), "{hints:?}");
    assert!(drawn("controllers-down").changed(&[binding(name)], vec![]).tells("how-binding"));
}

#[test]
fn controllers_down_says_that_a_deleted_pod_counts_no_more() {
    let told = |verb: &'static str| {
        let lab = drawn("controllers-down");
        let old = pod("p", "u", None, json!({"app": lab.values["app"]}), "");
        let versions = vec![snapshot::version(&old, 5, "ADDED"), snapshot::version(&old, BEGAN + 1, verb)];
        lab.begun().versions(&old, versions).tells("what-final")
    };
    assert!(told("DELETED") && !told("MODIFIED"));
}

/// The pod was made at this revision, the ConfigMap was changed at 103.
#[test]
fn crash_loop_tells_of_containers_that_wait_for_their_next_start() {
    let told = |made: i64, reason: &str| {
        let lab = BuiltIn::with_fault("crash-loop", "key").with("ns", "default").watch(&["ReplicaSet"]);
        let v = &lab.values;
        let app = v["app"].as_str().unwrap();
        let data = json!({"data": {"CURRENCY": v["currency"]}});
        let settings = object("ConfigMap", &format!("{app}-settings"), "c", None, data);
        let versions = [5, 103].map(|at| snapshot::version(&settings, at, "MODIFIED")).into();
        let mut waiting = pod("p", "u", Some("r"), json!({"app": app}), "");
        waiting["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": reason}});
        let all = vec![deployment(app, "d"), set("r", "r", Some("d"), app, 1), waiting];
        let lab = lab.begun().versions(&settings, versions).added(made, &all).now(all);
        lab.now(vec![settings]).tells("what-wait")
    };
    assert!(told(5, "CrashLoopBackOff"));
    assert!(!told(105, "CrashLoopBackOff") && !told(5, "ContainerCreating"));
}

#[test]
fn dns_down_misses_a_port_of_the_service() {
    let told = |ports: &[(i64, &str)]| {
        let port = |(number, protocol): &(i64, &str)| json!({"port": number, "protocol": protocol});
        let ports: Vec<Json> = ports.iter().map(port).collect();
        let mut service = object("Service", "kube-dns", "s", None, json!({"spec": {"ports": ports}}));
        service["metadata"]["namespace"] = "kube-system".into();
        drawn("dns-down").changed(&[], vec![service]).tells("what-ports")
    };
    assert!(!told(&[(53, "UDP"), (53, "TCP")]));
    assert!(told(&[(53, "UDP")]) && told(&[(53, "UDP"), (5354, "TCP")]));
}

#[test]
fn no_lost_guest_tells_of_another_number_and_another_program() {
    let told = |replicas: i64, args: &str, others: &[Json]| {
        let made = |replicas: i64, args: &str, others: &[Json]| {
            let own = json!({"image": "busybox", "command": ["sh", "-c"], "args": [args]});
            let containers: Vec<Json> = [own].into_iter().chain(others.iter().cloned()).collect();
            let spec = json!({"replicas": replicas, "template": {"spec": {"containers": containers}}});
            object("Deployment", "lineup", "d", None, json!({ "spec": spec }))
        };
        let lab = BuiltIn::given("no-lost-guest", &json!({"ns": "default", "app": "lineup", "count": 2}));
        let mut hints = lab.changed(&[made(2, "run", &[])], vec![made(replicas, args, others)]).hints();
        hints.retain(|id| ["what-count", "what-program"].contains(&id.as_str()));
        hints
    };
    assert!(told(2, "run", &[]).is_empty());
    assert_eq!(told(5, "run", &[]), ["what-count"]);
    assert_eq!(told(2, "other", &[]), ["what-program"]);
    assert_eq!(told(2, "run", &[json!({"name": "front"})]), ["what-program"]);
}

#[test]
fn broken_selector_tells_of_another_address() {
    let told = |address: &str| {
        let lab = drawn("broken-selector");
        let app = lab.values["app"].as_str().unwrap();
        let service = |ip: &str| object("Service", app, "s", None, json!({"spec": {"clusterIP": ip}}));
        let (then, now) = (service("10.96.0.7"), service(address));
        lab.changed(&[then], vec![now]).tells("what-address")
    };
    assert!(told("10.96.0.8") && !told("10.96.0.7"));
}

/// An object of this name is there, and it is not the one from the start.
#[test]
fn labs_tell_which_object_was_made_anew() {
    let told = |lab: &str, hint: &str, all: fn(&Map<String, Json>) -> Vec<Json>| -> Vec<bool> {
        let is_told = |remade: Option<usize>| {
            let lab = drawn(lab);
            let then = all(&lab.values);
            let mut now = then.clone();
            if let Some(at) = remade {
                now[at]["metadata"]["uid"] = "anew".into();
            }
            lab.changed(&then, now).tells(hint)
        };
        assert!(!is_told(None), "{lab}");
        (0..all(&drawn(lab).values).len()).map(|at| is_told(Some(at))).collect()
    };
    let hpa = told("hpa-asleep", "what-gone", |v| {
        let own = ["HorizontalPodAutoscaler", "Deployment", "Service"].map(|kind| bare(kind, &v["app"]));
        own.into_iter().chain([bare("Deployment", &"crowd".into())]).collect()
    });
    assert_eq!(hpa, [true, true, true, false]);
    let kubelet = told("kubelet-down", "what-gone", |v| {
        let node = json!({"kind": "Node", "metadata": {"name": v["node"], "uid": "u"}});
        vec![node, bare("DaemonSet", &v["app"])]
    });
    assert_eq!(kubelet, [true, true]);
    let kubeconfig = told("lost-kubeconfig", "what-gone", |v| {
        let settings = format!("{}-kubeconfig", v["app"].as_str().unwrap());
        let own = ["Deployment", "ServiceAccount"].map(|kind| bare(kind, &v["app"]));
        own.into_iter().chain([bare("ConfigMap", &settings.into())]).collect()
    });
    assert_eq!(kubeconfig, [true, true, false]);
    let dns = told("dns-down", "what-remade", |v| {
        ["Deployment", "Service"].map(|kind| bare(kind, &v["app"])).into()
    });
    assert_eq!(dns, [true, true]);
    assert_eq!(told("controllers-down", "what-gone", |v| vec![bare("Deployment", &v["app"])]), [true]);
    assert_eq!(told("nothing-fits", "what-gone", |v| vec![bare("Deployment", &v["app"])]), [true]);
    assert_eq!(told("orphans", "what-service", |v| vec![bare("Service", &v["app"])]), [true]);
}

#[test]
fn missing_key_tells_that_the_older_program_is_gone_too() {
    let told = |gone: usize| {
        let lab = drawn("missing-key");
        let app = &lab.values["app"];
        let copy = format!("{}-copy", app.as_str().unwrap());
        let then = vec![bare("Deployment", app), bare("Deployment", &copy.into()), bare("Service", app)];
        let mut now = then.clone();
        if gone < now.len() {
            now.remove(gone);
        }
        lab.changed(&then, now).tells("what-gone")
    };
    assert!(told(0) && told(1) && told(2) && !told(3));
}

/// An object that has nothing but a name.
fn bare(kind: &str, name: &Json) -> Json {
    object(kind, name.as_str().unwrap(), "u", None, json!({"spec": {}}))
}

#[test]
fn a_labs_hint_is_silent_about_what_is_gone() {
    let (library, labs) = (Library::built_in(), Labs::load());
    for lab in ["wrong-image", "wrong-port"] {
        let lab = labs.get(lab).unwrap();
        let told = |is_there: bool| -> Vec<&str> {
            let mut facts = Arc::into_inner(facts(&library)).unwrap();
            facts.variant = Some(value::of_json(&json!({"ns": "default", "app": "web"})));
            for kind in ["Deployment", "Service"].into_iter().filter(|_| is_there) {
                snapshot::put(&mut facts, object(kind, "web", "u", None, json!({})));
            }
            let facts = Arc::new(facts);
            let so = |hint: &&Hint| hint.when.as_ref().is_none_or(|when| when.holds(&facts));
            lab.hints.iter().filter(so).map(|hint| hint.id.as_str()).collect()
        };
        let (gone, there) = (vec!["where", "what-gone"], vec!["where", "what", "how"]);
        assert_eq!((told(false), told(true)), (gone, there), "{}", lab.id);
    }
}
