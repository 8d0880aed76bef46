use super::*;
use api::strategic;

fn deployment(replicas: i64, containers: Value) -> Value {
    json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}}})
}

#[test]
fn only_what_the_file_says_changes() {
    let original = deployment(
        2,
        json!([{"name": "c", "image": "n:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}, {"name": "gone", "image": "x"}]),
    );
    let modified =
        deployment(3, json!([{"name": "c", "image": "n:2", "env": [{"name": "B", "value": "1"}]}]));
    let current = deployment(
        2,
        json!([{"name": "c", "image": "n:1", "imagePullPolicy": "Always", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"name": "gone", "image": "x"}, {"name": "injected", "image": "side"}]),
    );
    let patch = strategic("Deployment", &original, &modified, &current);
    let containers = &patch["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["env"], json!([{"name": "B", "value": "1"}, {"$patch": "delete", "name": "A"}]));
    assert_eq!(containers[1], json!({"$patch": "delete", "name": "gone"}));
    let mut after = current.clone();
    strategic::apply("Deployment", &mut after, &patch).unwrap();
    let containers = after["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let names: Vec<&str> = containers.iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c", "injected"]);
    assert_eq!(
        containers[0],
        json!({"name": "c", "image": "n:2", "imagePullPolicy": "Always", "env": [{"name": "B", "value": "1"}]})
    );
    assert_eq!(after["spec"]["replicas"], 3);
    let again = strategic(
        "Deployment",
        &modified,
        &modified,
        &deployment(
            3,
            json!([{"name": "c", "image": "n:2", "imagePullPolicy": "Always", "env": [{"name": "B", "value": "1"}]}]),
        ),
    );
    assert!(is_empty(&again), "{again}");
}

#[test]
fn a_map_that_is_replaced_is_sent_also_unchanged() {
    let budget = |app: &str| json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": app}}}});
    for (from, to) in [("a", "a"), ("a", "b")] {
        let patch = strategic("PodDisruptionBudget", &budget(from), &budget(to), &budget(from));
        assert_eq!(patch, json!({"spec": {"selector": {"matchLabels": {"app": to}}}}));
    }
    let without = json!({"spec": {"minAvailable": 1}});
    let patch = strategic("PodDisruptionBudget", &budget("a"), &without, &budget("a"));
    assert_eq!(patch, json!({"spec": {"selector": null}}));
}

/// The deletion in `a` and the change of `b` are computed one after the other.
#[test]
fn items_stand_in_the_order_that_the_patch_names() {
    let original = deployment(2, json!([{"name": "a", "tty": true}, {"name": "b"}, {"name": "c"}]));
    let modified = deployment(2, json!([{"name": "a"}, {"name": "b", "image": "n"}]));
    let patch = strategic("Deployment", &original, &modified, &original);
    let spec = &patch["spec"]["template"]["spec"];
    assert_eq!(spec["$setElementOrder/containers"], json!([{"name": "a"}, {"name": "b"}]));
    let want = json!([{"tty": null, "name": "a"}, {"image": "n", "name": "b"},
        {"$patch": "delete", "name": "c"}]);
    assert_eq!(spec["containers"], want);
}

/// CoreDNS is reached at port 53 of both protocols.
#[test]
fn items_with_the_same_key_are_compared_each_with_its_own() {
    let dns = |udp: &str, tcp: &str| {
        let ports = json!([{"containerPort": 53, "protocol": "UDP", "name": udp},
            {"containerPort": 53, "protocol": "TCP", "name": tcp}]);
        deployment(1, json!([{"name": "c", "ports": ports}]))
    };
    let same = dns("dns", "dns-tcp");
    let patch = strategic("Deployment", &same, &same, &same);
    assert!(is_empty(&patch), "{patch}");
    let patch = strategic_two_way("Deployment", &same, &dns("dns", "other"));
    let container = &patch["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["ports"], json!([{"containerPort": 53, "name": "other"}]));
    let service = |ports: Value| json!({"spec": {"ports": ports}});
    let (udp, tcp) = (json!({"port": 53, "protocol": "UDP"}), json!({"port": 53, "protocol": "TCP"}));
    let both = service(json!([udp, tcp]));
    assert!(is_empty(&strategic_two_way("Service", &both, &both)));
    let patch = strategic_two_way("Service", &both, &service(json!([tcp])));
    assert_eq!(patch["spec"]["ports"], json!([{"$patch": "delete", "port": 53}]));
}

/// As kubectl 1.33 sends them.
#[test]
fn of_new_items_with_the_same_key_the_first_remains() {
    let port =
        |name: &str, port: u16, protocol: &str| json!({"name": name, "port": port, "protocol": protocol});
    let (udp, tcp, web) = (port("a", 53, "UDP"), port("b", 53, "TCP"), port("c", 80, "TCP"));
    let mut aimed = tcp.clone();
    aimed["targetPort"] = 7.into();
    let mut first = udp.clone();
    first["targetPort"] = 7.into();
    for (before, after, sent) in [
        (json!([web]), json!([web, udp, tcp]), json!([tcp, udp])),
        (json!([udp]), json!([udp, tcp]), json!([{"name": "b", "port": 53, "protocol": "TCP"}, udp])),
        // A patch that deletes, too, is put together from two, and has each key once.
        (json!([web]), json!([udp, tcp]), json!([udp, {"$patch": "delete", "port": 80}])),
        (json!([udp, web]), json!([udp, aimed]), json!([first, {"$patch": "delete", "port": 80}])),
    ] {
        let service = |ports: &Value| json!({"spec": {"ports": ports}});
        let (before, after) = (service(&before), service(&after));
        let patch = strategic("Service", &before, &after, &before);
        assert_eq!(patch["spec"]["ports"], sent, "{before} {after}");
    }
}

#[test]
fn a_list_that_becomes_empty_has_no_order() {
    let from = deployment(1, json!([{"name": "c", "env": [{"name": "A"}]}]));
    let to = deployment(1, json!([{"name": "c", "env": []}]));
    let patch = strategic("Deployment", &from, &to, &from);
    let container = &patch["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(*container, json!({"env": [{"$patch": "delete", "name": "A"}], "name": "c"}));
    let finalizers = |all: Value| json!({"metadata": {"finalizers": all}});
    let patch = strategic_two_way("Pod", &finalizers(json!(["a"])), &finalizers(json!([])));
    assert_eq!(patch["metadata"], json!({"$deleteFromPrimitiveList/finalizers": ["a"]}));
}

#[test]
fn custom_kinds_replace_lists() {
    let original = json!({"spec": {"a": 1, "b": 2, "l": [1]}});
    let modified = json!({"spec": {"a": 5, "l": [1, 2]}});
    let current = json!({"spec": {"a": 1, "b": 2, "l": [1], "defaulted": true}, "status": {}});
    assert_eq!(merge(&original, &modified, &current), json!({"spec": {"b": null, "a": 5, "l": [1, 2]}}));
}

#[test]
fn a_field_that_two_patches_set_differently_is_a_conflict() {
    let image = |image: &str| deployment(2, json!([{"name": "c", "image": image}]));
    assert!(conflicts("Deployment", &image("n:2"), &image("n:3")));
    assert!(!conflicts("Deployment", &image("n:2"), &image("n:2")));
    let other = json!({"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "n:3"}]}}}});
    assert!(!conflicts("Deployment", &image("n:2"), &other), "another container");
    assert!(conflicts("", &json!({"l": [1]}), &json!({"l": [2]})));
    assert!(
        conflicts("", &json!({"a": null}), &json!({"a": 1}))
            && !conflicts("", &json!({"a": 1}), &json!({"b": 2}))
    );
}

#[test]
fn a_strategy_keeps_only_its_own_keys() {
    let from = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let to = json!({"spec": {"strategy": {"type": "Recreate"}}});
    let patch = strategic_two_way("Deployment", &from, &to);
    let mut after = from;
    strategic::apply("Deployment", &mut after, &patch).unwrap();
    assert_eq!(after, to);
}

/// The patch of `apply` for a Deployment, or a part of one, whose file did not change.
fn unchanged(file: &Value, live: &Value) -> Value {
    strategic("Deployment", file, file, live)
}

/// `kubectl create deployment --dry-run=client -o yaml` writes `strategy: {}`.
#[test]
fn an_empty_strategy_is_no_change() {
    let of = |strategy: Value| json!({"spec": {"strategy": strategy}});
    let rolling = of(json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}));
    let empty = of(json!({}));
    assert_eq!(unchanged(&empty, &rolling), json!({}));
    // An empty strategy in the file keeps one that another client set.
    assert_eq!(unchanged(&empty, &of(json!({"type": "Recreate"}))), json!({}));
    // A strategy that became empty: the keys that the last configuration had are removed one by
    // one.
    let patch = strategic("Deployment", &of(json!({"type": "Recreate"})), &empty, &rolling);
    assert_eq!(patch, of(json!({"type": null})));
    // A file with a type says which keys are to stay, and a default that it omits is removed.
    let typed = of(json!({"type": "RollingUpdate"}));
    assert_eq!(unchanged(&typed, &rolling), of(json!({"$retainKeys": ["type"]})));
    // A key that is null does not stay.
    let file = of(json!({"type": "Recreate", "rollingUpdate": null}));
    let want = json!({"rollingUpdate": null, "type": "Recreate", "$retainKeys": ["type"]});
    assert_eq!(unchanged(&file, &rolling), of(want));
    let null = of(json!({"type": "RollingUpdate", "rollingUpdate": null}));
    assert_eq!(unchanged(&typed, &null), json!({}));
}

/// What Kubernetes' own `CreateThreeWayMergePatch` returns for the same three states.
#[test]
fn empty_fields_are_no_change_where_the_server_has_the_field() {
    let pod = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let container = |container: Value| pod(json!({"containers": [container]}));
    let file = pod(json!({"containers": [{"name": "a", "resources": {}}], "securityContext": {}}));
    assert_eq!(unchanged(&file, &file), json!({}));
    let limited = json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}],
        "securityContext": {"runAsUser": 1}});
    assert_eq!(unchanged(&file, &pod(limited)), json!({}), "set by another client");
    let status = json!({"metadata": {"labels": {}}, "status": {}});
    let live = json!({"metadata": {"labels": {"a": "b"}}, "status": {"replicas": 1}});
    assert_eq!(unchanged(&status, &live), json!({}));
    let env = |env: Value| container(json!({"name": "a", "env": env}));
    assert_eq!(unchanged(&env(json!([])), &env(json!([{"name": "X"}]))), json!({}));
    let volume = |volume: Value| pod(json!({"volumes": [volume]}));
    let emptied = volume(json!({"name": "v", "emptyDir": {}}));
    assert_eq!(unchanged(&emptied, &emptied), json!({}));
}

/// A null, and an empty field that the server does not keep, are sent each time: upstream's apply
/// says `configured` too.
#[test]
fn a_null_and_an_empty_field_that_the_server_lacks_are_sent() {
    let created = |time: Value| json!({"metadata": {"creationTimestamp": time}});
    let null = created(Value::Null);
    assert_eq!(unchanged(&null, &created("2026-01-01T00:00:00Z".into())), null);
    let strategy = json!({"spec": {"strategy": null}});
    assert_eq!(unchanged(&strategy, &json!({"spec": {"strategy": {"type": "Recreate"}}})), strategy);
    let live = deployment(1, json!([{"name": "a"}]));
    for field in ["securityContext", "env", "args"] {
        let empty = if field == "securityContext" { json!({}) } else { json!([]) };
        let mut container = json!({"name": "a"});
        container[field] = empty;
        let patch = unchanged(&deployment(1, json!([container])), &live);
        assert_eq!(patch["spec"]["template"]["spec"]["containers"], json!([container]), "{field}");
    }
    // A JSON merge patch, which custom kinds get, cannot send a null for what it would not delete.
    assert_eq!(merge(&null, &null, &created("2026-01-01T00:00:00Z".into())), json!({}));
}
