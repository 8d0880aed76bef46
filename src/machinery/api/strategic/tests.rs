use super::*;
use serde_json::json;

fn patched(kind: &str, mut object: Value, patch: Value) -> Value {
    apply(kind, &mut object, &patch).unwrap();
    object
}

#[test]
fn containers_merge_by_name_and_env_within_them() {
    let old = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a", "image": "x:1", "env": [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}]},
        {"name": "side", "image": "s"}]}}}});
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "containers": [
            {"name": "b", "image": "y"},
            {"name": "a", "image": "x:2", "$setElementOrder/env": [{"name": "B"}, {"name": "C"}],
             "env": [{"name": "B", "value": "2"}, {"$patch": "delete", "name": "A"}]}]}}}});
    let want = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "b", "image": "y"},
        {"name": "a", "image": "x:2", "env": [{"name": "B", "value": "2"}, {"name": "C", "value": "3"}]},
        {"name": "side", "image": "s"}]}}}});
    assert_eq!(patched("Deployment", old, patch), want);
}

#[test]
fn items_with_equal_keys_in_a_new_list_stay_apart() {
    let ports = json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]);
    let spread = json!([{"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"},
        {"topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "ScheduleAnyway"}]);
    let old = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "x"}]}}}});
    let patch = json!({"spec": {"template": {"spec": {"topologySpreadConstraints": spread,
        "$setElementOrder/containers": [{"name": "web"}, {"name": "dns"}],
        "containers": [{"name": "web", "ports": ports}, {"name": "dns", "image": "coredns", "ports": ports, "args": null}]}}}});
    let want = json!({"spec": {"template": {"spec": {"topologySpreadConstraints": spread,
        "containers": [{"name": "web", "image": "x", "ports": ports}, {"name": "dns", "image": "coredns", "ports": ports}]}}}});
    assert_eq!(patched("Deployment", old, patch), want);
    let new = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate", "rollingUpdate": null},
        "gone": {"$patch": "delete"}, "kept": [{"$patch": "delete", "name": "a"}, {"name": "b"}]}});
    let want = json!({"spec": {"strategy": {"type": "Recreate"}, "kept": [{"name": "b"}]}});
    assert_eq!(patched("Deployment", json!({"spec": {}}), new), want);
}

/// As upstream's conformance test of ReplicaSets expects.
#[test]
fn what_a_patch_adds_comes_first_and_the_rest_keeps_its_order() {
    let names = |patch: Value| {
        let old = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}});
        let got = patched("Pod", old, json!({"spec": patch}));
        let list = got["spec"]["containers"].as_array().unwrap();
        list.iter().map(|c| c["name"].as_str().unwrap()).collect::<String>()
    };
    assert_eq!(names(json!({"containers": [{"name": "new"}]})), "newabc");
    assert_eq!(names(json!({"containers": [{"name": "b"}, {"name": "x"}]})), "abxc");
    assert_eq!(names(json!({"containers": [{"name": "b", "$patch": "delete"}]})), "ac");
    let order = json!([{"name": "c"}, {"name": "x"}, {"name": "a"}]);
    assert_eq!(names(json!({"$setElementOrder/containers": order, "containers": [{"name": "x"}]})), "bcxa");
    let order = json!([{"name": "a"}, {"name": "c"}]);
    assert_eq!(names(json!({"$setElementOrder/containers": order})), "abc");
}

#[test]
fn set_image_keeps_the_order() {
    let old = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}}});
    let patch = json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
        "containers": [{"name": "b", "image": "2"}]}}}});
    let want = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}}}});
    assert_eq!(patched("Deployment", old, patch), want);
}

#[test]
fn taints_are_replaced_and_null_removes() {
    let old = json!({"spec": {"unschedulable": true, "taints": [{"key": "a", "effect": "NoSchedule"}]}});
    let patch = json!({"spec": {"unschedulable": null, "taints": [{"key": "b", "effect": "NoSchedule"}]}});
    let want = json!({"spec": {"taints": [{"key": "b", "effect": "NoSchedule"}]}});
    assert_eq!(patched("Node", old.clone(), patch), want);
    assert_eq!(
        patched("Node", old, json!({"spec": {"taints": null}})),
        json!({"spec": {"unschedulable": true}})
    );
}

#[test]
fn retain_keys_and_primitive_sets() {
    let old = json!({"metadata": {"finalizers": ["a", "b"]},
        "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
        "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let want = json!({"metadata": {"finalizers": ["c", "b"]}, "spec": {"strategy": {"type": "Recreate"}}});
    assert_eq!(patched("Deployment", old, patch), want);
}

#[test]
fn an_item_without_its_key_is_refused() {
    let mut object = json!({"spec": {"containers": [{"name": "a"}]}});
    let error = apply("Pod", &mut object, &json!({"spec": {"containers": [{"image": "x"}]}})).unwrap_err();
    assert!(error.contains("does not contain declared merge key: name"), "{error}");
    let patch = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}});
    assert_eq!(patched("Pod", object, patch), json!({"spec": {"containers": [{"name": "z"}]}}));
}

#[test]
fn an_item_that_is_deleted_and_set_is_a_new_one() {
    let delete = json!({"$patch": "delete", "name": "a"});
    let set = json!({"name": "a", "image": "y"});
    for items in [json!([delete, set]), json!([set, delete])] {
        let old = json!({"spec": {"containers": [{"name": "a", "image": "x", "tty": true}, {"name": "b"}]}});
        let got = patched("Pod", old, json!({"spec": {"containers": items}}));
        assert_eq!(got, json!({"spec": {"containers": [{"name": "a", "image": "y"}, {"name": "b"}]}}));
    }
    let old = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
    let patch = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}, delete]}});
    assert_eq!(patched("Pod", old, patch), json!({"spec": {"containers": [{"name": "z"}]}}));
}

#[test]
fn directives_that_upstream_refuses_are_refused() {
    let old = json!({"spec": {"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {}}]}});
    let volume = |keys: Value| {
        let volume = json!({"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": keys});
        json!({"volumes": [volume]})
    };
    for (spec, why) in [
        (json!({"$patch": "merge"}), "unknown patch type: merge in map: map[$patch:merge]"),
        (json!({"$patch": 1}), "unknown patch type: 1 in map: map[$patch:1]"),
        (
            json!({"containers": [{"name": "a", "$patch": "merge"}]}),
            "merging lists cannot yet be specified in the patch",
        ),
        (
            json!({"containers": [{"name": "new", "$patch": "x"}]}),
            "unknown patch type: x in map: map[$patch:x name:new]",
        ),
        (volume(json!(["name"])), "invalid patch format of retainKeys"),
        (volume(json!("name")), "invalid patch format of retainKeys"),
    ] {
        let result = apply("Pod", &mut old.clone(), &json!({ "spec": spec }));
        assert_eq!(result, Err(why.to_string()), "{spec}");
    }
    let got = patched("Pod", old, json!({"spec": volume(json!(["name", "hostPath"]))}));
    assert_eq!(got["spec"]["volumes"], json!([{"name": "v", "hostPath": {"path": "/x"}}]));
}

#[test]
fn conditions_merge_only_where_their_type_has_a_patch_strategy() {
    let condition = |kind: &str| json!({"type": kind, "status": "True"});
    let old = json!({"status": {"conditions": [condition("A")]}});
    let patch = json!({"status": {"conditions": [condition("B")]}});
    for (kind, want) in [
        ("Deployment", json!([condition("B"), condition("A")])),
        ("CertificateSigningRequest", json!([condition("B")])),
        ("CustomResourceDefinition", json!([condition("B")])),
    ] {
        let new = patched(kind, old.clone(), patch.clone());
        assert_eq!(new["status"]["conditions"], want, "{kind}");
    }
}

#[test]
fn an_order_names_what_the_patch_sets_in_the_same_sequence() {
    let old = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
    let apply_list = |order: Value, containers: Value| {
        let spec = json!({"$setElementOrder/containers": order, "containers": containers});
        apply("Pod", &mut old.clone(), &json!({ "spec": spec }))
    };
    let names = |names: &str| {
        Value::from(names.chars().map(|name| json!({"name": name.to_string()})).collect::<Vec<_>>())
    };
    for (order, items, fits) in
        [("ab", "a", true), ("ba", "ba", true), ("", "ab", true), ("ba", "ab", false), ("ab", "ac", false)]
    {
        let result = apply_list(names(order), names(items));
        assert_eq!(result.is_ok(), fits, "{order} {items}: {result:?}");
    }
    let why = apply_list(names("b"), names("a")).unwrap_err();
    assert_eq!(
        why,
        "The order in patch list:\n[{\"name\":\"a\"}]\n doesn't match $setElementOrder list:\n[{\"name\":\"b\"}]\n"
    );
    let deleted = json!([{"name": "b"}, {"name": "a", "$patch": "delete"}]);
    assert_eq!(apply_list(names("b"), deleted), Ok(()), "what goes needs no place");
    assert!(apply_list(json!("ab"), names("a")).unwrap_err().contains("expected a list in $setElementOrder"));
    let why = apply_list(json!([{"image": "x"}]), names("")).unwrap_err();
    assert!(why.contains("does not contain declared merge key: name"), "{why}");
    let finalizers = |order: Value| {
        let metadata = json!({"$setElementOrder/finalizers": order, "finalizers": ["x", "y"]});
        apply("Pod", &mut json!({"metadata": {}}), &json!({ "metadata": metadata }))
    };
    assert_eq!(finalizers(json!(["x", "z", "y"])), Ok(()));
    assert!(finalizers(json!(["y", "x"])).is_err());
}

/// As `interpretStrategicMergePatchError` answers.
#[test]
fn a_refusal_is_the_fault_of_the_client_where_upstream_says_so() {
    let code = |patch: Value| {
        let mut pod = json!({"metadata": {"finalizers": ["a"]}, "spec": {"containers": [{"name": "a"}]}});
        refusal(apply("Pod", &mut pod, &patch).unwrap_err()).code
    };
    assert_eq!(code(json!([])), 400);
    assert_eq!(code(json!({"$retainKeys": "a"})), 400);
    assert_eq!(code(json!({"$setElementOrder": []})), 400);
    assert_eq!(code(json!({"$deleteFromPrimitiveList": []})), 400);
    assert_eq!(code(json!({"metadata": {"finalizers": [["b"]]}})), 500, "items of two types");
    assert_eq!(code(json!({"spec": {"containers": [{"image": "x"}]}})), 500);
    assert_eq!(code(json!({"$patch": "merge"})), 500);
    let mut pod = json!({"metadata": {"finalizers": []}});
    let status = refusal(apply("Pod", &mut pod, &json!({"metadata": {"finalizers": [["b"]]}})).unwrap_err());
    assert_eq!((status.code, status.reason), (422, "Invalid"));
    assert_eq!(status.details["causes"][0]["message"], "lists of lists are not supported");
}

#[test]
fn an_item_that_is_deleted_and_set_has_no_place_of_its_own() {
    let old = json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}});
    let patch = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}, {"name": "a"}]}});
    let want = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
    assert_eq!(patched("Pod", old, patch), want);
}
