//! Applies, and what they leave of others.

mod updates;

use super::*;
use crate::kinds;
use crate::shape::Shape;
use crate::value::{as_map, list, text};
use serde_json::{Value, json};

fn shape(kind: &'static str) -> Shape<'static> {
    let group = if kind == "Deployment" { "apps" } else { "" };
    Shape::of(kinds::find(group, "v1", kind).unwrap())
}
fn by<'a>(name: &'a str, now: &'a str) -> Manager<'a> {
    Manager { name, api_version: "v1", subresource: "", now }
}
fn cm(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}
fn owned(object: &Value, manager: &str) -> Value {
    let entry = list(object, "metadata.managedFields").iter().find(|e| text(e, "manager") == manager);
    entry.map_or(Value::Null, |e| e["fieldsV1"].clone())
}

#[test]
fn what_is_no_longer_applied_goes_unless_others_own_it() {
    let shape = shape("ConfigMap");
    let first = apply(shape, &Value::Null, &cm(json!({"a": "1", "b": "2"})), by("me", "t")).object;
    let shared = apply(shape, &first, &cm(json!({"b": "2"})), by("you", "t"));
    assert_eq!(shared.conflicts, []);
    let second = apply(shape, &shared.object, &cm(json!({"c": "3"})), by("me", "t")).object;
    assert_eq!(second["data"], json!({"b": "2", "c": "3"}));
    let again = apply(shape, &second, &cm(json!({"c": "3"})), by("me", "later")).object;
    assert_eq!(again, second, "applying the same again changes nothing");
}

/// As upstream, where the set of an apply has the name of its object until all is merged.
#[test]
fn an_apply_without_its_last_label_leaves_the_metadata_that_nobody_owns() {
    let shape = shape("ConfigMap");
    let mut labelled = cm(json!({"x": "1", "y": "2"}));
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let mut first = apply(shape, &Value::Null, &labelled, by("me", "t")).object;
    first["metadata"]["finalizers"] = json!(["example.com/protection"]); // by admission
    let second = apply(shape, &first, &cm(json!({"y": "2"})), by("me", "t")).object;
    assert_eq!(second["metadata"].get("labels"), None);
    assert_eq!(second["metadata"]["finalizers"], json!(["example.com/protection"]));
    assert_eq!(second["metadata"]["name"], "c");
    assert_eq!(second["data"], json!({"y": "2"}));
    assert_eq!(owned(&second, "me"), json!({"f:data": {"f:y": {}}}), "what it applies now, and no more");
}

/// As structured-merge-diff: an item of a list belongs to the managers that own the item itself.
/// Without its key, what another manager set in it would be no valid item.
#[test]
fn an_item_that_is_no_longer_applied_goes_with_what_others_set_in_it() {
    let shape = shape("Pod");
    let pod = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|n| json!({"name": n, "image": "x"})).collect();
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}})
    };
    let names = |object: &Value| -> Vec<String> {
        list(object, "spec.containers").iter().map(|c| text(c, "name").to_string()).collect()
    };
    let first = apply(shape, &Value::Null, &pod(&["a", "b"]), by("me", "t")).object;
    let mut edited = first.clone();
    edited["spec"]["containers"][1]["image"] = "y".into();
    edited["spec"]["containers"][1]["stdin"] = true.into();
    track(shape, &first, &mut edited, by("kubectl-set", "t"));
    let second = apply(shape, &edited, &pod(&["a"]), by("me", "t")).object;
    assert_eq!(names(&second), ["a"]);
    assert_eq!(owned(&second, "kubectl-set"), Value::Null);
    let shared = apply(shape, &first, &pod(&["b"]), by("you", "t")).object;
    let kept = apply(shape, &shared, &pod(&["a"]), by("me", "t")).object;
    assert_eq!(names(&kept), ["a", "b"], "another manager applied the item");
}

/// As structured-merge-diff, for maps whose keys no type names.
#[test]
fn a_key_of_a_plain_map_belongs_to_those_who_own_the_key() {
    let port =
        json!({"type": "object", "properties": {"port": {"type": "integer"}, "weight": {"type": "integer"}}});
    let servers = json!({"type": "object", "additionalProperties": port});
    let spec = json!({"type": "object", "properties": {"servers": servers}});
    let schema = crate::custom::Schema::root(&json!({"type": "object", "properties": {"spec": spec}}));
    let shape = Shape::Schema(&schema);
    let tab = |servers: Value| json!({"metadata": {"name": "t"}, "spec": {"servers": servers}});
    let both = tab(json!({"a": {"port": 1}, "b": {"port": 2}}));
    let first = apply(shape, &Value::Null, &both, by("me", "t")).object;
    let keys = json!({"f:a": {".": {}, "f:port": {}}, "f:b": {".": {}, "f:port": {}}});
    assert_eq!(owned(&first, "me"), json!({"f:spec": {"f:servers": keys}}));
    let mut edited = first.clone();
    edited["spec"]["servers"]["b"]["weight"] = 3.into();
    track(shape, &first, &mut edited, by("edit", "t"));
    let second = apply(shape, &edited, &tab(json!({"a": {"port": 1}})), by("me", "t")).object;
    assert_eq!(second["spec"]["servers"], json!({"a": {"port": 1}}));
    // A field that the schema names is kept by each manager that owns something in it.
    let third = apply(shape, &edited, &json!({"metadata": {"name": "t"}}), by("me", "t")).object;
    assert_eq!(third["spec"], json!({"servers": {}}));
}

/// The value may be stored all the same: the server decides that after the merge.
#[test]
fn fields_that_the_server_resets_have_no_owner() {
    let shape = Shape::of(kinds::find("certificates.k8s.io", "v1", "CertificateSigningRequest").unwrap());
    let request = |status: Value| json!({"metadata": {"name": "r"}, "status": status});
    let live = request(json!({}));
    let approved = request(json!({"certificate": "x", "conditions": [{"type": "Approved"}]}));
    let resets = ["status.certificate"];
    let first = apply_resetting(shape, &live, &approved, by("a", "t"), &resets).object;
    assert_eq!(first["status"], approved["status"]);
    let key = "k:{\"type\":\"Approved\"}";
    let conditions = json!({"f:conditions": {key: {".": {}, "f:type": {}}}});
    assert_eq!(owned(&first, "a"), json!({ "f:status": conditions }));
    let signed = request(json!({"certificate": "y"}));
    assert_eq!(apply_resetting(shape, &first, &signed, by("b", "t"), &[]).conflicts, []);
    // A manager that applies nothing else has no entry.
    let alone = apply_resetting(shape, &live, &signed, by("c", "t"), &resets).object;
    assert_eq!(owned(&alone, "c"), Value::Null);
}

#[test]
fn two_appliers_of_different_values_conflict() {
    let pod = |image: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": image}]}})
    };
    let first = apply(shape("Pod"), &Value::Null, &pod("x"), by("me", "t")).object;
    let clash = apply(shape("Pod"), &first, &pod("y"), by("you", "t"));
    let field = ".spec.containers[name=\"c\"].image".to_string();
    assert_eq!(clash.conflicts, [Conflict { manager: "\"me\"".into(), field }]);
    assert_eq!(
        owned(&clash.object, "me"),
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}}}}})
    );
    assert_eq!(list(&clash.object, "spec.containers").len(), 1);
}

#[test]
fn conflicts_of_a_level_come_before_deeper_ones() {
    let pod = |n: &str| {
        let container = json!({"name": "c", "image": n, "env": [{"name": "A", "value": n}]});
        json!({"metadata": {"name": "p"}, "spec": {"hostname": n, "containers": [container], "nodeName": n}})
    };
    let first = apply(shape("Pod"), &Value::Null, &pod("x"), by("me", "t")).object;
    let clash = apply(shape("Pod"), &first, &pod("y"), by("you", "t"));
    let fields: Vec<&str> = clash.conflicts.iter().map(|c| c.field.as_str()).collect();
    let container = ".spec.containers[name=\"c\"]";
    let (image, env) = (format!("{container}.image"), format!("{container}.env[name=\"A\"].value"));
    assert_eq!(fields, [".spec.hostname", ".spec.nodeName", image.as_str(), env.as_str()]);
    let pod = |note: &str, labels: Value| json!({"metadata": {"name": "p", "annotations": {"n": note}, "labels": labels}});
    let mut first = apply(shape("Pod"), &Value::Null, &pod("x", json!({})), by("me", "t")).object;
    as_map(&mut first["metadata"]).shift_remove("labels");
    let clash = apply(shape("Pod"), &first, &pod("y", json!({"a": "b"})), by("you", "t"));
    let fields: Vec<&str> = clash.conflicts.iter().map(|c| c.field.as_str()).collect();
    assert_eq!(fields, [".metadata.labels", ".metadata.annotations.n"], "a new map is of its level");
}

#[test]
fn conflicts_of_ports_are_in_the_order_of_their_numbers() {
    let pod = |n: &str| {
        let ports = json!([{"containerPort": 443, "name": n}, {"containerPort": 80, "name": n}]);
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "ports": ports}]}})
    };
    let first = apply(shape("Pod"), &Value::Null, &pod("x"), by("me", "t")).object;
    let clash = apply(shape("Pod"), &first, &pod("y"), by("you", "t"));
    assert!(clash.conflicts[0].field.contains("[containerPort=80,"), "{:?}", clash.conflicts);
    assert_eq!(clash.found, 2);
}

/// An empty map or keyed list adds nothing: no manager's value changes and none loses a field.
/// An atomic one replaces what is there.
#[test]
fn an_empty_map_or_list_conflicts_only_where_it_replaces() {
    let labels = |labels: Value| json!({"metadata": {"name": "p", "labels": labels}});
    let one = |field: Value| {
        let mut container = json!({"name": "c"});
        as_map(&mut container).extend(as_map(&mut field.clone()).clone());
        json!({"metadata": {"name": "p"}, "spec": {"containers": [container]}})
    };
    let selector = |selector: Value| json!({"metadata": {"name": "p"}, "spec": {"nodeSelector": selector}});
    for (live, applied, field) in [
        (labels(json!({"a": "b"})), labels(json!({})), None),
        (
            one(json!({"env": [{"name": "A", "value": "1"}], "resources": {"limits": {"cpu": "1"}}})),
            one(json!({"env": [], "resources": {}})),
            None,
        ),
        (one(json!({"args": ["a"]})), one(json!({"args": []})), Some(".spec.containers[name=\"c\"].args")),
        (selector(json!({"a": "b"})), selector(json!({})), Some(".spec.nodeSelector")),
    ] {
        let mut live = live;
        track(shape("Pod"), &Value::Null, &mut live, by("first", "t"));
        let done = apply(shape("Pod"), &live, &applied, by("second", "t"));
        let fields: Vec<&str> = done.conflicts.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(fields, field.into_iter().collect::<Vec<_>>(), "{applied}");
        if field.is_none() {
            assert_eq!(done.object["spec"], live["spec"]);
            assert_eq!(done.object["metadata"]["labels"], live["metadata"]["labels"]);
            assert_eq!(owned(&done.object, "first"), owned(&live, "first"), "{applied}");
        }
    }
}

/// As structured-merge-diff: there is no item in it that a manager could own.
#[test]
fn an_empty_list_with_keys_has_no_owner() {
    let container =
        json!({"name": "c", "env": [], "args": [], "resources": {"claims": []}, "securityContext": {}});
    let pod = json!({"metadata": {"name": "p", "finalizers": []},
        "spec": {"containers": [container], "tolerations": []}});
    let first = apply(shape("Pod"), &Value::Null, &pod, by("me", "t")).object;
    let key = "k:{\"name\":\"c\"}";
    let inner = json!({".": {}, "f:name": {}, "f:args": {}, "f:securityContext": {}});
    assert_eq!(owned(&first, "me"), json!({"f:spec": {"f:containers": {key: inner}, "f:tolerations": {}}}));
}

/// As `lastAppliedManager` and `lastAppliedUpdater` upstream.
#[test]
fn kubectl_moves_from_client_side_to_server_side_apply_without_a_conflict() {
    let shape = shape("ConfigMap");
    let written = cm(json!({"a": "1", "b": "2"}));
    let mut live = written.clone();
    live["metadata"]["annotations"] = json!({LAST_APPLIED: written.to_string()});
    track(shape, &Value::Null, &mut live, by("kubectl-client-side-apply", "t"));
    let applied = cm(json!({"a": "<x>"}));
    let conflicts = |live: &Value, manager: Manager| -> Vec<String> {
        let done = apply(shape, live, &applied, manager);
        assert_eq!(done.object["data"]["a"], "<x>");
        done.conflicts.into_iter().map(|conflict| conflict.field).collect()
    };
    assert_eq!(conflicts(&live, by("kubectl", "t")), [""; 0]);
    assert_eq!(conflicts(&live, by("other", "t")), [".data.a"]);
    let of_v2 = Manager { api_version: "v2", ..by("kubectl", "t") };
    assert_eq!(conflicts(&live, of_v2), [".data.a"], "the note is of another version");
    let mut edited = live.clone();
    edited["data"]["a"] = "3".into();
    track(shape, &live, &mut edited, by("kubectl-edit", "t"));
    assert_eq!(conflicts(&edited, by("kubectl", "t")), [".data.a"], "another client changed it");

    let mut object = apply(shape, &live, &applied, by("kubectl", "t")).object;
    let others = owned(&object, "kubectl-client-side-apply");
    assert_eq!(others["f:data"], json!({".": {}, "f:b": {}}));
    let note = |object: &Value| object["metadata"]["annotations"][LAST_APPLIED].clone();
    sync_last_applied(&mut object, &applied, "other");
    assert_eq!(note(&object), note(&live));
    sync_last_applied(&mut object, &applied, "kubectl");
    let text = "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"\\u003cx\\u003e\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"}}\n";
    assert_eq!(note(&object), text);
    sync_last_applied(&mut object, &cm(json!({"a": "x".repeat(256 * 1024)})), "kubectl");
    assert_eq!(note(&object), Value::Null, "it has no room in the annotations");
    sync_last_applied(&mut object, &applied, "kubectl");
    assert_eq!(note(&object), Value::Null, "an object without a note gets none");
}

#[test]
fn an_apply_orders_the_items_that_it_names() {
    let shape = shape("Pod");
    let pod = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|n| json!({"name": n, "image": "x"})).collect();
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"initContainers": containers}})
    };
    let cases: [(&[&str], &[&str], &[&str]); 7] = [
        (&["migrate", "seed"], &["seed", "migrate"], &["seed", "migrate"]),
        (&["migrate", "seed"], &["wait", "migrate", "seed"], &["wait", "migrate", "seed"]),
        (&["a", "side", "b"], &["b", "a"], &["side", "b", "a"]),
        (&["a", "side", "b"], &["new", "a", "b"], &["new", "a", "side", "b"]),
        (&["a", "x", "b", "y", "d"], &["b", "n", "a", "d"], &["x", "b", "y", "n", "a", "d"]),
        (&["x"], &["new"], &["x", "new"]),
        (&["a", "a", "x"], &["a"], &["a", "x"]),
    ];
    for (live, applied, want) in cases {
        let found = apply(shape, &pod(live), &pod(applied), by("me", "t")).object;
        let names: Vec<&str> = list(&found, "spec.initContainers").iter().map(|c| text(c, "name")).collect();
        assert_eq!(names, want, "{live:?} {applied:?}");
    }
    let finalizers = |all: Value| json!({"metadata": {"name": "p", "finalizers": all}});
    let found =
        apply(shape, &finalizers(json!(["x/a", "x/b"])), &finalizers(json!(["x/b", "x/a"])), by("me", "t"));
    assert_eq!(found.object["metadata"]["finalizers"], json!(["x/b", "x/a"]));
}

#[test]
fn an_item_that_omits_a_key_is_one_item_however_often_it_is_applied() {
    let shape = shape("Pod");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone"}]}});
    let first = apply(shape, &Value::Null, &pod, by("me", "t")).object;
    let second = apply(shape, &first, &pod, by("me", "t")).object;
    assert_eq!(list(&second, "spec.topologySpreadConstraints").len(), 1);
}

#[test]
fn items_without_a_key_and_items_that_occur_twice_are_no_object_to_apply() {
    let pod = |spec: Value| problems(shape("Pod"), &json!({"metadata": {"name": "p"}, "spec": spec}));
    let env = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    assert_eq!(
        pod(json!({"containers": [{"name": "c", "env": env}]})),
        [".spec.containers[name=\"c\"].env: duplicate entries for key [name=\"A\"]"]
    );
    assert_eq!(
        pod(json!({"containers": [{"image": "x"}]})),
        [
            ".spec.containers: element 0: associative list with keys has an element that omits all key fields [\"name\"] (and doesn't have default values for any key fields)"
        ]
    );
    let ports = json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]);
    assert_eq!(pod(json!({"containers": [{"name": "c", "ports": ports, "args": ["a", "a"]}]})), [""; 0]);
    let twice = json!({"metadata": {"finalizers": ["x/a", "x/a"]}});
    assert_eq!(
        problems(shape("Pod"), &twice),
        [".metadata.finalizers: duplicate entries for key [=\"x/a\"]"]
    );
}

#[test]
fn an_item_of_a_set_that_takes_far_more_memory_than_a_primitive_is_none() {
    assert_eq!(set::value_of("v:\"x/a\""), Some("x/a".into()));
    assert_eq!(set::value_of(&format!("v:[{}0]", "[0],".repeat(200_000))), None);
}

/// As upstream: an empty map is not stored, so the first field in it is a change of the map.
#[test]
fn a_map_that_was_applied_empty_conflicts_with_its_first_field() {
    let labels = |labels: Value| json!({"metadata": {"name": "p", "labels": labels}});
    let mut live = apply(shape("Pod"), &Value::Null, &labels(json!({})), by("chart", "t")).object;
    as_map(&mut live["metadata"]).shift_remove("labels");
    let done = apply(shape("Pod"), &live, &labels(json!({"a": "b"})), by("me", "t"));
    let manager = "\"chart\"".to_string();
    assert_eq!(done.conflicts, [Conflict { manager, field: ".metadata.labels".into() }]);
    assert_eq!(done.object["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(owned(&done.object, "chart"), Value::Null);
    // Of a map with labels each label has its owner.
    let more = apply(shape("Pod"), &done.object, &labels(json!({"c": "d"})), by("you", "t"));
    assert_eq!(more.conflicts, []);
}

/// As upstream, where that entry is one of an update, and those own nothing that is reset.
#[test]
fn what_was_there_before_the_first_apply_has_nothing_that_is_reset() {
    let live =
        json!({"metadata": {"name": "p"}, "spec": {"hostNetwork": true}, "status": {"phase": "Running"}});
    let labelled = json!({"metadata": {"name": "p", "labels": {"a": "b"}}});
    let object = apply_resetting(shape("Pod"), &live, &labelled, by("me", "t"), &["status"]).object;
    assert_eq!(owned(&object, "before-first-apply"), json!({"f:spec": {"f:hostNetwork": {}}}));
    assert_eq!(object["status"], live["status"]);
}

/// As upstream, which builds that entry with the manager of the apply.
#[test]
fn what_was_there_before_the_first_apply_has_the_subresource_of_that_apply() {
    let live = json!({"metadata": {"name": "d", "uid": "u"}, "spec": {"replicas": 1}});
    let scale = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1}});
    let manager = Manager { subresource: "scale", ..by("me", "t") };
    let object = apply(shape("Deployment"), &live, &scale, manager).object;
    let entries = list(&object, "metadata.managedFields");
    let found: Vec<[&str; 2]> =
        entries.iter().map(|e| ["manager", "subresource"].map(|f| text(e, f))).collect();
    assert_eq!(found, [["me", "scale"], ["before-first-apply", "scale"]]);
}
