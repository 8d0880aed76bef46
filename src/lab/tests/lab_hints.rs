//! When hints of built-in labs are given. `lab test` proves that each can be given, and not that it
//! is silent where it would say what is not so.

use super::built_in::BuiltIn;
use crate::cel::version::Version;
use serde_json::{Map, Value, json};

fn object(kind: &str, namespace: &Value, name: &Value, spec: Value) -> Value {
    json!({"kind": kind, "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

/// A lab with the values of seed 7 where nothing else is but its Deployment, with this pod spec.
fn with_pods(lab: &str, spec: &Value) -> BuiltIn {
    let lab = BuiltIn::seed(lab, 7);
    let v = &lab.values;
    let deployment = json!({"kind": "Deployment", "metadata": {"namespace": v["ns"], "name": v["app"], "uid": "d"},
        "spec": {"replicas": v["count"], "template": {"spec": spec}}});
    lab.now(vec![deployment])
}

/// Without endpoints, a slice has no ports: it does not say that no pod listens.
#[test]
fn a_hint_of_wrong_port_about_the_target_asks_for_endpoints() {
    let is_told = |endpoints: Value, ports: Value| {
        let lab = BuiltIn::with_fault("wrong-port", "number");
        let v = &lab.values;
        let port = v["port"].to_string();
        let pods = json!({"containers": [{"command": ["echo-server", port]}]});
        let mut slice = object("EndpointSlice", &v["ns"], &"s".into(), Value::Null);
        slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": v["app"]});
        slice["endpoints"] = endpoints;
        slice["ports"] = ports;
        let service = json!({"ports": [{"port": v["front"], "targetPort": "http"}]});
        let deployment = object("Deployment", &v["ns"], &v["app"], json!({"template": {"spec": pods}}));
        let service = object("Service", &v["ns"], &v["app"], service);
        lab.now(vec![deployment, service, slice]).tells("what-target")
    };
    assert!(!is_told(json!([]), json!([])));
    assert!(is_told(json!([{"addresses": ["10.244.0.2"]}]), json!([])));
    assert!(is_told(json!([{"addresses": ["10.244.0.2"]}]), json!([{"port": 4999}])));
}

#[test]
fn hints_of_wrong_room_look_where_an_alias_leads() {
    let told = |alias: fn(&Map<String, Value>) -> String| {
        let lab = BuiltIn::with_fault("wrong-room", "namespace");
        let v = &lab.values;
        let address = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9"});
        let other = json!({"type": "ExternalName", "externalName": alias(v)});
        let services = vec![
            object("Service", &v["home"], &v["app"], address.clone()),
            object("Service", &v["ns"], &"own".into(), address),
            object("Service", &v["ns"], &v["app"], other),
        ];
        let mut hints = lab.now(services).hints();
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
        let lab = BuiltIn::with_fault("wrong-room", "name");
        let v = &lab.values;
        let mut all = vec![
            object("Deployment", &v["ns"], &v["app"], json!({})),
            object("Deployment", &v["ns"], &"kiosk".into(), json!({})),
            object("Service", &v["room"], &v["old"], json!({})),
        ];
        all.retain(|o| kinds.contains(&o["kind"].as_str().unwrap()));
        lab.now(all).tells("what-gone")
    };
    assert!(!is_told(&["Deployment", "Service"]));
    assert!(is_told(&["Deployment"]) && is_told(&["Service"]));
}

#[test]
fn hints_of_stuck_rollout_know_the_image_and_the_pause() {
    let told = |image: &str, paused: bool, resources: &str| {
        let lab = BuiltIn::with_fault("stuck-rollout", "image");
        let v = &lab.values;
        let container = json!({"image": image, "readinessProbe": {"httpGet": {"path": "/"}},
            "resources": {resources: {"cpu": "50m"}}});
        let spec = json!({"replicas": v["count"], "paused": paused,
            "template": {"spec": {"containers": [container]}}});
        let mut deployment = object("Deployment", &v["ns"], &v["app"], spec);
        deployment["status"] = json!({"replicas": v["count"], "updatedReplicas": v["count"],
            "readyReplicas": v["count"], "availableReplicas": v["count"]});
        let mut hints = lab.now(vec![deployment]).hints();
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
        let lab = BuiltIn::seed("small-shop", 0);
        let v = &lab.values;
        let name = format!("{}-data", v["store"].as_str().unwrap());
        let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": name}}]);
        let pods = json!({"template": {"spec": {"volumes": volumes}}});
        let claim =
            |space: &&str| object("PersistentVolumeClaim", &v[*space], &name.as_str().into(), json!({}));
        let mut all = vec![object("Deployment", &v["ns"], &v["store"], pods)];
        all.extend(claims.iter().map(claim));
        lab.now(all).tells("what-no-claim")
    };
    // A claim of this name that is elsewhere: any value serves as the name of a namespace.
    assert!(is_told(&[]) && is_told(&["front"]));
    assert!(!is_told(&["ns"]));
}

/// The image has the shell under several names.
#[test]
fn hints_of_slow_death_know_the_shell_by_each_of_its_names() {
    let told = |program: &str| {
        let lab = BuiltIn::with_fault("slow-death", "wait");
        let v = &lab.values;
        let script = "echo-server 8101 &\nwait\necho ended";
        let pods = json!({"containers": [{"command": [program, "-c"], "args": [script]}]});
        let spec = json!({"replicas": v["count"], "template": {"spec": pods}});
        let deployment = object("Deployment", &v["ns"], &v["app"], spec);
        lab.now(vec![deployment]).hints()
    };
    for program in ["sh", "/bin/sh", "ash", "bash", "/bin/bash"] {
        assert_eq!(told(program), ["what-shell", "how-exec"], "{program}");
    }
    assert!(told("hash").is_empty());
}

#[test]
fn hints_of_slow_death_are_true_of_the_script_and_the_hook() {
    let ending = |script: &str, hooks: Value| {
        let container = json!({"command": ["sh", "-c"], "args": [script], "lifecycle": hooks});
        with_pods("slow-death", &json!({"containers": [container]})).hints_at(2)
    };
    let trap = |act: &str, last: &str| {
        let script = format!("echo-server 8101 &\nserver=$!\ntrap \"{act}\" TERM\n{last}");
        ending(&script, json!({}))
    };
    assert_eq!(trap("kill $server", "wait"), ["what-wait"]);
    // A second `wait` does not help where the server gets SIGKILL, or where the trap ends the
    // shell.
    for act in ["kill -9 $server", "kill -s KILL $server", "kill -SIGKILL $server"] {
        assert_eq!(trap(act, "wait"), ["what-kill"], "{act}");
    }
    assert_eq!(trap("kill $server; exit 0", "wait"), ["what-exit"]);
    assert_eq!(trap("sleep 7; exit 0", "wait"), ["what-pause"]);
    for act in ["kill $server", "kill $server; wait; exit 0"] {
        assert!(trap(act, "wait\nwait").is_empty(), "{act}");
    }
    // A pause that the check accepts is not called too long.
    let paused = |hook: Value| ending("exec echo-server 8101", json!({"preStop": hook}));
    assert!(paused(json!({"sleep": {"seconds": 12}})).is_empty());
    assert_eq!(paused(json!({"sleep": {"seconds": 13}})), ["what-long"]);
    for command in [json!(["sleep", "20"]), json!(["sh", "-c", "sleep 20; kill 1"])] {
        assert_eq!(paused(json!({"exec": {"command": command}})), ["what-long"]);
    }
}

#[test]
fn hints_of_slow_death_find_the_script_in_the_command_and_in_the_arguments() {
    let told = |container: Value| with_pods("slow-death", &json!({"containers": [container]})).hints_at(2);
    for (script, hints) in [
        ("echo starting\necho-server 8101 &\nwait\necho ended", &["what-shell"][..]),
        ("while :; do\n  echo-server 8101\ndone", &["what-shell", "what-loop"]),
        ("exec echo-server 8101 &\nsleep infinity", &["what-background"]),
        ("trap 'exit 0' TERM\necho-server 8101", &["what-foreground"]),
        ("echo-server 8101 &\ntrap \"kill $!\" TERM\nwait", &["what-wait"]),
        ("echo-server 8101 &\ntrap \"kill -9 $!\" TERM\nwait", &["what-kill"]),
        ("echo-server 8101 &\ntrap \"kill $!; exit 0\" TERM\nwait", &["what-exit"]),
        ("echo-server 8101 &\ntrap \"sleep 20; exit 0\" TERM\nwait", &["what-pause"]),
        ("echo-server 8101 &\ntrap \"sleep 20; kill $!; wait\" TERM\nwait", &["what-long"]),
    ] {
        for container in [
            json!({"command": ["sh", "-c"], "args": [script]}),
            json!({"command": ["sh", "-c", script]}),
            json!({"command": ["/bin/sh"], "args": ["-c", script]}),
        ] {
            assert_eq!(told(container.clone()), hints, "{container}");
        }
    }
    // Behind the script stand its arguments, so the old script is not run any more.
    let moved =
        json!({"command": ["sh", "-c", "exec echo-server 8101"], "args": ["echo-server 8101 &\nwait"]});
    assert!(told(moved).is_empty());
    assert!(told(json!({"command": ["echo-server", "8101"]})).is_empty());
}

/// A container may stand before that of the program, and one that was added may be wrong, too.
#[test]
fn hints_of_missing_key_look_at_every_container() {
    let lab = BuiltIn::seed("missing-key", 7);
    let login = format!("{}-login", lab.values["app"].as_str().unwrap());
    let env = |rest: Value| json!({"env": [rest]});
    let right =
        env(json!({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": login, "key": "password"}}}));
    let (literal, other) =
        (env(json!({"name": "PASSWORD", "value": "x"})), env(json!({"name": "LOG", "value": "all"})));
    let told = |hint: &str, containers: [&Value; 2]| {
        with_pods("missing-key", &json!({"containers": containers})).tells(hint)
    };
    assert!(!told("how", [&right, &right]));
    assert!(told("how", [&other, &right]) && told("how", [&right, &other]));
    assert!(!told("what-literal", [&right, &other]));
    assert!(told("what-literal", [&right, &literal]) && told("what-literal", [&literal, &right]));
}

#[test]
fn a_hint_of_stale_settings_tells_of_every_other_source() {
    let lab = BuiltIn::seed("stale-settings", 7);
    let app = lab.values["app"].as_str().unwrap();
    let (settings, path) = (format!("{app}-settings"), format!("/etc/{app}"));
    let env = |rest: Value| json!({"containers": [{"env": [rest]}]});
    let from = |source: Value| json!({"containers": [{"envFrom": [source]}]});
    let file = |path: &str, map: &str| {
        json!({"volumes": [{"name": "v", "configMap": {"name": map}}],
            "containers": [{"volumeMounts": [{"name": "v", "mountPath": path}]}]})
    };
    let is_told = |spec: &Value| with_pods("stale-settings", spec).tells("what-other");
    let own = [
        env(json!({"name": "PRICE", "valueFrom": {"configMapKeyRef": {"name": settings, "key": "PRICE"}}})),
        env(json!({"name": "PRICE", "value": "20"})), // another hint is about this
        from(json!({"configMapRef": {"name": settings}})),
        file(&path, &settings),
    ];
    let other = [
        env(json!({"name": "PRICE", "valueFrom": {"secretKeyRef": {"name": settings, "key": "PRICE"}}})),
        from(json!({"secretRef": {"name": settings}})),
        file(&format!("{path}/PRICE"), "other"),
        file("/etc/elsewhere", &settings),
    ];
    assert_eq!(own.iter().map(is_told).collect::<Vec<_>>(), [false; 4]);
    assert_eq!(other.iter().map(is_told).collect::<Vec<_>>(), [true; 4]);
}

#[test]
fn a_hint_of_scheduler_down_tells_of_pods_that_were_bound_by_hand() {
    let is_told = |nodes: &[&str], user: &str| {
        let lab = BuiltIn::seed("scheduler-down", 7);
        let v = &lab.values;
        let app = v["app"].as_str().unwrap();
        let made = |(kind, name, owner): (&str, &str, &str)| {
            json!({"kind": kind, "metadata": {"namespace": v["ns"], "name": name, "uid": kind,
                "ownerReferences": [{"uid": owner, "controller": true}]}})
        };
        let all = [("Deployment", app, ""), ("ReplicaSet", "r", "Deployment"), ("Pod", "p", "ReplicaSet")];
        let all = all.map(made);
        let body = |node: &str| json!({"spec": {"nodeName": node}}).to_string().into();
        let version = |(node, at)| Version::new(at, None, "MODIFIED", body(node)).by(user);
        let versions = nodes.iter().copied().zip(1..).map(version).collect();
        let pod = all[2].clone();
        lab.now(all.into()).versions(&pod, versions).tells("how-hand")
    };
    assert!(is_told(&["", "n"], "learner") && !is_told(&["", "n"], "system:kube-scheduler"));
    assert!(!is_told(&["n"], "learner") && !is_told(&[""], "learner"), "by a template, by none");
}
