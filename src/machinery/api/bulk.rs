//! Large objects: the work for one grows as it does, and not with its square.

use super::custom::{self, definition};
use super::errors::Errors;
use super::kinds::{self, Kind};
use super::managed::{self, Manager};
use super::path::PATH_MAX;
use super::shape::Shape;
use super::{patch, schema, strategic, validate};
use rng::growth;
use serde_json::{Map, Value, json};

/// Items of the large input.
const LARGE: usize = 12_000;

fn grows_as_its_input<T>(what: &str, prepare: impl Fn(usize) -> T, work: impl Fn(T)) {
    growth::grows_as_its_input(what, LARGE, prepare, work);
}

fn kind(group: &str, kind: &str) -> &'static Kind {
    kinds::find(group, "v1", kind).unwrap()
}

fn many(n: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..n).map(item).collect::<Vec<_>>().into()
}

fn fields(n: usize, value: impl Fn(usize) -> Value) -> Value {
    (0..n).map(|i| (format!("k{i}"), value(i))).collect::<Map<_, _>>().into()
}

fn custom_kind(schema: Value) -> Kind {
    let manifest = json!({"metadata": {"name": "tabs.example.com", "resourceVersion": "1"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    custom::kinds_of(&definition::accept_names(&manifest, std::iter::empty(), kinds::all()).unwrap())
        .remove(0)
}

/// Under one long key, every path would be as long as the key.
#[test]
fn what_is_told_of_a_body_is_bounded_however_long_its_keys_are() {
    let map = json!({"type": "object", "additionalProperties": {"type": "object", "properties": {
        "list": {"type": "array", "items": {"type": "object", "required": ["a"], "properties": {"n": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "false"}]}}}}});
    let kind = custom_kind(json!({"type": "object", "properties": {"spec": map}}));
    let key = "k".repeat(1 << 20);
    let items = |n| many(n, |_| json!({"unknown": 1, "n": "x"}));
    let mut object =
        json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": "x"}, "spec": {}});
    object["spec"][&key] = json!({"list": items(20_000)});
    let custom = kind.custom.as_ref().unwrap();
    let before = growth::spent();
    let unknown = custom.conform(&mut object).unwrap();
    assert_eq!(unknown.count(), 20_000);
    assert!(unknown.shown().iter().all(|path| path.len() <= PATH_MAX + 3) && unknown.shown().len() <= 100);
    assert_eq!(unknown.problems().last().unwrap(), "19900 more unknown fields");
    let mut errors = Errors::default();
    custom.validate(&object, None, &mut errors);
    let bytes: usize = errors.iter().map(|e| e.field.len() + e.body.len()).sum();
    assert!(errors.is_cut() && bytes < 1 << 20, "{bytes}");
    // The kinds of the table: a long key of a map whose values have fields.
    let mut set = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"},
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"properties": {}}}}]}});
    set["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][&key] =
        json!({"oneOf": many(20_000, |_| json!({"unknown": 1}))});
    let definition = kinds::find("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    let unknown = schema::conform(definition, &mut set).unwrap();
    assert!(unknown.count() == 20_000 && unknown.shown().iter().all(|path| path.len() <= PATH_MAX + 3));
    let mut errors = Errors::default();
    validate_definition(&key, &mut errors);
    assert!(errors.iter().all(|e| e.field.len() <= PATH_MAX + 3));
    // 20 000 paths of a megabyte each would take some seconds to copy.
    assert!(growth::spent() - before < 30_000_000_000);
}

fn validate_definition(key: &str, errors: &mut Errors) {
    let mut schema = json!({"type": "object", "properties": {}});
    schema["properties"][key] =
        json!({"type": "object", "properties": fields(20_000, |_| json!({"type": "string"}))});
    let manifest = json!({"metadata": {"name": "tabs.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "tabs", "kind": "Tab"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    definition::validate(&manifest, errors);
}

#[test]
fn schemas_inside_of_each_other_are_judged_once() {
    let leaf = json!({"minLength": 5});
    let schema = (0..30).fold(leaf, |inner, _| json!({"allOf": [inner]}));
    let mut text = schema;
    text["type"] = "string".into();
    let kind = custom_kind(json!({"type": "object", "properties": {"spec": text}}));
    let mut errors = Errors::default();
    kind.custom.as_ref().unwrap().validate(&json!({"spec": "abc"}), None, &mut errors);
    assert_eq!(errors.iter().count(), 31, "one for each level");
}

/// The schema of each was read with all that is below it.
#[test]
fn defaults_inside_of_each_other_are_read_once() {
    let nested = |levels: usize| {
        let plain = json!({"type": "integer", "enum": many(levels * 4_000, Value::from)});
        let object = |inner: Value| json!({"type": "object", "default": {}, "properties": {"a": inner}});
        let schema = (0..levels).fold(plain, |inner, _| object(inner));
        let schema = json!({"type": "object", "properties": {"spec": schema}});
        json!({"metadata": {"name": "tabs.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "tabs", "kind": "Tab"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
    };
    growth::grows_as_its_input("defaults inside of each other", 40, nested, |manifest| {
        definition::validate(&manifest, &mut Errors::default());
    });
}

#[test]
fn pruning_grows_as_its_input() {
    let kind = custom_kind(json!({"type": "object", "properties": {"spec": {"type": "object"}}}));
    let object = |n| json!({"metadata": {"name": "x"}, "spec": fields(n, |_| json!(1))});
    grows_as_its_input("unknown fields", object, |mut object| {
        kind.custom.as_ref().unwrap().conform(&mut object).unwrap();
    });
}

#[test]
fn judging_a_keyed_list_grows_as_its_input() {
    let item = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.n == oldSelf.n"}]});
    let list = json!({"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]});
    let kind = custom_kind(json!({"type": "object", "properties": {"spec": list}}));
    let object = |n, add| json!({"spec": many(n, |i| json!({"name": format!("n{i}"), "n": i + add}))});
    let pair = |n| (object(n, 1), object(n, 0));
    grows_as_its_input("a list by its keys", pair, |(new, old)| {
        kind.custom.as_ref().unwrap().validate(&new, Some(&old), &mut Errors::default());
    });
}

#[test]
fn patches_grow_as_their_input() {
    let maps = |n| (json!({"data": fields(n, |_| json!("v"))}), json!({"data": fields(n, |_| Value::Null)}));
    grows_as_its_input("a merge patch that removes", maps, |(mut object, change)| {
        patch::merge(&mut object, &change);
        assert_eq!(object["data"], json!({}));
    });
    grows_as_its_input("a strategic patch that removes", maps, |(mut object, change)| {
        strategic::apply("ConfigMap", &mut object, &change).unwrap();
        assert_eq!(object["data"], json!({}));
    });
    let env = |n, directive: bool| {
        let item = move |i| match directive {
            true => json!({"name": format!("v{i}"), "$patch": "delete"}),
            false => json!({"name": format!("v{i}"), "value": "x"}),
        };
        json!({"spec": {"containers": [{"name": "c", "env": many(n, item)}]}})
    };
    grows_as_its_input(
        "a list by its keys",
        |n| (env(n, false), env(n, false)),
        |(mut object, change)| {
            strategic::apply("Pod", &mut object, &change).unwrap();
        },
    );
    grows_as_its_input(
        "items that go",
        |n| (env(n, false), env(n, true)),
        |(mut object, change)| {
            strategic::apply("Pod", &mut object, &change).unwrap();
            assert_eq!(object["spec"]["containers"][0]["env"], json!([]));
        },
    );
    let order = |n: usize| {
        let change = json!({"spec": {"containers": [{"name": "c",
            "$setElementOrder/env": many(n, |i| json!({"name": format!("v{}", n - i)}))}]}});
        (env(n, false), change)
    };
    grows_as_its_input("an order", order, |(mut object, change)| {
        strategic::apply("Pod", &mut object, &change).unwrap();
    });
    let finalizers = |n, from: usize, key: &str| json!({"metadata": {key: many(n, |i| format!("example.com/{}", i + from).into())}});
    let added = |n| (finalizers(n, 0, "finalizers"), finalizers(n, n, "finalizers"));
    grows_as_its_input("a set", added, |(mut object, change)| {
        strategic::apply("Pod", &mut object, &change).unwrap();
    });
    let gone = |n| (finalizers(n, 0, "finalizers"), finalizers(n, 0, "$deleteFromPrimitiveList/finalizers"));
    grows_as_its_input("items of a set that go", gone, |(mut object, change)| {
        strategic::apply("Pod", &mut object, &change).unwrap();
    });
}

#[test]
fn a_json_patch_that_moves_long_lists_again_and_again_is_refused() {
    let list = |n| json!({"list": many(n, |i| i.into())});
    let remove = |n| many(n, |_| json!({"op": "remove", "path": "/list/0"})).to_string();
    let mut object = list(20_000);
    let refused = patch::json(&mut object, remove(9_000).as_bytes()).unwrap_err();
    assert_eq!((refused.code, object["list"].as_array().unwrap().len()), (422, 20_000));
    let why = refused.details["causes"][0]["message"].as_str().unwrap();
    assert_eq!(why, "the patch inserts or removes too often in long lists");
    let insert = many(9_000, |_| json!({"op": "add", "path": "/list/0", "value": 1})).to_string();
    assert!(patch::json(&mut object, insert.as_bytes()).is_err());
    patch::json(&mut object, remove(1_000).as_bytes()).unwrap();
    let append = many(9_000, |_| json!({"op": "add", "path": "/list/-", "value": 1})).to_string();
    patch::json(&mut object, append.as_bytes()).unwrap();
    assert_eq!(object["list"].as_array().unwrap().len(), 28_000);
}

fn manager(name: &str) -> Manager<'_> {
    Manager { name, api_version: "v1", subresource: "", now: "2026-01-01T00:00:00Z" }
}

#[test]
fn managed_fields_grow_as_their_input() {
    let shape = Shape::of(kind("", "Pod"));
    let pod = |n, value: &str| {
        json!({"metadata": {"name": "p", "finalizers": many(n / 4, |i| format!("example.com/{i}").into())},
            "spec": {"containers": [{"name": "c", "env": many(n, |i| json!({"name": format!("v{i}"), "value": value}))}]}})
    };
    let updated = |n| (pod(n, "a"), pod(n, "b"));
    grows_as_its_input("an update", updated, |(old, mut new)| {
        managed::track(shape, &old, &mut new, manager("m"));
    });
    let live = |n| {
        let mut live = Value::Null;
        for name in ["a", "b"] {
            live = managed::apply(shape, &live, &pod(n, "x"), manager(name)).object;
        }
        (live, pod(n, "y"))
    };
    grows_as_its_input("an apply", live, |(live, applied)| {
        let done = managed::apply(shape, &live, &applied, manager("a"));
        assert!(
            done.found >= LARGE / 8 && done.conflicts.len() <= 200,
            "{} {}",
            done.found,
            done.conflicts.len()
        );
    });
    // Each of many managers owns one item of a long list.
    let shared = |n: usize| {
        let mut live = managed::apply(shape, &Value::Null, &pod(n, "x"), manager("a")).object;
        let entry = |i: usize| {
            let env = json!({format!("k:{{\"name\":\"v{i}\"}}"): {".": {}, "f:name": {}}});
            json!({"manager": format!("m{i}"), "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {"f:env": env}}}}})
        };
        let Value::Array(entries) = &mut live["metadata"]["managedFields"] else { panic!("no entries") };
        entries.extend((0..n / 8).map(entry));
        live
    };
    grows_as_its_input(
        "an apply beside many managers",
        |n| (shared(n), pod(n, "x")),
        |(live, applied)| {
            assert_eq!(managed::apply(shape, &live, &applied, manager("a")).found, 0);
        },
    );
    let one_less = |n: usize| {
        let old = shared(n);
        let mut new = old.clone();
        let Value::Array(env) = &mut new["spec"]["containers"][0]["env"] else { panic!("no variables") };
        env.pop();
        (old, new)
    };
    grows_as_its_input("an update beside many managers", one_less, |(old, mut new)| {
        managed::track(shape, &old, &mut new, manager("m"));
    });
    let shrunk = |n| (managed::apply(shape, &Value::Null, &pod(n, "x"), manager("a")).object, pod(0, "x"));
    grows_as_its_input("an apply of less", shrunk, |(live, applied)| {
        let object = managed::apply(shape, &live, &applied, manager("a")).object;
        assert_eq!(object["spec"]["containers"][0].get("env"), None);
    });
}

#[test]
fn validation_grows_as_its_input() {
    let pod = |spec: Value| {
        let mut pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "d"}, "spec": spec});
        kind("", "Pod").fill(&mut pod).unwrap();
        pod
    };
    let judge = |name: &'static str| move |object: Value| drop(validate::create(kind("", name), &object));
    let c = |extra: Value| {
        let mut container = json!({"name": "c", "image": "x"});
        for (key, value) in extra.as_object().unwrap() {
            container[key] = value.clone();
        }
        container
    };
    let containers =
        |n| pod(json!({"containers": many(n, |i| json!({"name": format!("c{i}"), "image": "x"}))}));
    grows_as_its_input("containers", containers, judge("Pod"));
    let port =
        |i| json!({"name": format!("p{i}"), "containerPort": i % 60_000 + 1, "hostPort": i % 60_000 + 1});
    let ports = |n| pod(json!({"containers": [c(json!({"ports": many(n, port)}))]}));
    grows_as_its_input("ports", ports, judge("Pod"));
    let volume = |i| json!({"name": format!("v{i}"), "emptyDir": {}});
    let mount = |i| json!({"name": format!("v{i}"), "mountPath": format!("/m{i}")});
    let volumes = |n| {
        pod(json!({"volumes": many(n, volume), "containers": [c(json!({"volumeMounts": many(n, mount)}))]}))
    };
    grows_as_its_input("volumes and mounts", volumes, judge("Pod"));
    let gates = |n| {
        let gates = many(n, |i| json!({"name": format!("example.com/{i}")}));
        pod(json!({"schedulingGates": gates, "containers": [c(json!({}))]}))
    };
    grows_as_its_input("gates", gates, judge("Pod"));
    let spread = |i| {
        json!({"topologyKey": format!("k{i}"), "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"a": "b"}}})
    };
    let spreads =
        |n| pod(json!({"topologySpreadConstraints": many(n, spread), "containers": [c(json!({}))]}));
    grows_as_its_input("spread constraints", spreads, judge("Pod"));
    let service = |n| {
        json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "d"}, "spec": {"type": "NodePort",
            "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": many(n, |i| json!({"name": format!("p{i}"),
                "port": i % 60_000 + 1, "protocol": "TCP", "nodePort": i + 1, "targetPort": 80}))}})
    };
    grows_as_its_input("a Service's ports", service, judge("Service"));
    let node = |n| {
        let taint = |i| json!({"key": format!("k{i}"), "effect": "NoSchedule"});
        json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}, "spec": {"taints": many(n, taint)}})
    };
    grows_as_its_input("taints", node, judge("Node"));
    let tolerating = |n| {
        let toleration = |i| json!({"key": format!("k{i}"), "operator": "Exists"});
        pod(json!({"tolerations": many(n, toleration), "containers": [c(json!({}))]}))
    };
    grows_as_its_input(
        "tolerations",
        |n| (tolerating(n), tolerating(n)),
        |(new, old)| {
            validate::update(kind("", "Pod"), &new, &old);
        },
    );
}
