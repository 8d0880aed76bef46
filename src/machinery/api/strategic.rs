//! Strategic merge patch: a merge patch that knows which lists are maps in disguise. What it knows
//! stands beside the published types ([`super::shape`]). Source:
//! k8s.io/apimachinery/pkg/util/strategicpatch.

use super::errors::brief;
use super::gostr;
use super::shape::{Merge, Shape};
use super::value::as_map;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// Applies `patch` to an object of `kind`.
///
/// # Errors
/// A sentence for the user: the patch is not an object, it has an unknown `$patch`, it sets a field
/// that its `$retainKeys` does not name, or an item of a list does not have the list's merge key.
/// The object may be changed in part then.
pub fn apply(kind: &str, object: &mut Value, patch: &Value) -> Result<(), String> {
    let Value::Object(patch) = patch else {
        return Err("cannot unmarshal patch: it is not an object".to_string());
    };
    merge_map(Shape::of_kind(kind), as_map(object), patch)
}

/// What `$patch` asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Replace,
    Delete,
}

/// Reads the `$patch` of a map; `None` if it has none.
fn directive(map: &Map<String, Value>) -> Result<Option<Directive>, String> {
    match map.get("$patch") {
        None => Ok(None),
        Some(Value::String(word)) if word == "replace" => Ok(Some(Directive::Replace)),
        Some(Value::String(word)) if word == "delete" => Ok(Some(Directive::Delete)),
        Some(other) => Err(format!("unknown patch type: {}", brief(&gostr::plain(other)))),
    }
}

fn is_directive(key: &str) -> bool {
    key.starts_with('$')
        && (key == "$patch"
            || key == "$retainKeys"
            || key.starts_with(ORDER)
            || key.starts_with(DELETE_PRIMITIVES))
}

fn merge_map(shape: Shape, old: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), String> {
    match directive(patch)? {
        Some(Directive::Replace) => {
            *old =
                patch.iter().filter(|(k, _)| !is_directive(k)).map(|(k, v)| (k.clone(), plain(v))).collect();
            return Ok(());
        }
        Some(Directive::Delete) => {
            old.clear();
            return Ok(());
        }
        None => {}
    }
    retain(old, patch)?;
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_PRIMITIVES) {
            let (Some(Value::Array(items)), Value::Array(gone)) = (old.get_mut(list), value) else {
                continue;
            };
            let gone: HashSet<&Value> = gone.iter().collect();
            items.retain(|item| !gone.contains(item));
        }
    }
    if patch.values().any(Value::is_null) {
        // In one pass: to remove each field for itself would move all fields behind it.
        let is_gone = |key: &String| !is_directive(key) && patch.get(key).is_some_and(Value::is_null);
        old.retain(|key, _| !is_gone(key));
    }
    let mut orders = Vec::new();
    for (key, order) in patch {
        if let (Some(list), Value::Array(order)) = (key.strip_prefix(ORDER), order)
            && let Some(Value::Array(items)) = old.get(list)
        {
            let how = shape.field(list).merge();
            orders.push((list, how, order, places(how, items)));
        }
    }
    for (key, value) in patch.iter().filter(|(k, v)| !is_directive(k) && !v.is_null()) {
        let inner = shape.field(key);
        match (old.get_mut(key), value) {
            (Some(Value::Object(old)), Value::Object(patch)) if !inner.is_replaced() => {
                merge_map(inner, old, patch)?;
            }
            (Some(Value::Array(old)), Value::Array(patch)) => merge_list(inner, key, old, patch)?,
            // What was not there is taken as it stands: items with equal keys in a new list stay
            // apart.
            (_, value) => match without_directives(value) {
                Some(fresh) => drop(old.insert(key.clone(), fresh)),
                None => drop(old.shift_remove(key)),
            },
        }
    }
    for (list, how, order, stood) in orders {
        if let Some(Value::Array(items)) = old.get_mut(list) {
            reorder(how, items, order, &stood);
        }
    }
    Ok(())
}

/// Drops the fields that `$retainKeys` does not name. The fields that the patch sets must be among
/// those that it names.
fn retain(old: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), String> {
    let Some(named) = patch.get("$retainKeys") else { return Ok(()) };
    let wrong = || Err("invalid patch format of retainKeys".to_string());
    let Value::Array(named) = named else { return wrong() };
    let named: HashSet<&str> = named.iter().filter_map(Value::as_str).collect();
    let mut fields = patch.iter().filter(|(key, value)| !is_directive(key) && !value.is_null());
    if !fields.all(|(key, _)| named.contains(key.as_str())) {
        return wrong();
    }
    old.retain(|key, _| named.contains(key.as_str()));
    Ok(())
}

/// A value that was not there before: as it stands, without nulls and directives. `None` if it is
/// nothing but a directive.
fn without_directives(value: &Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key("$patch") => None,
        Value::Object(map) => {
            let fields = map.iter().filter(|(k, v)| !is_directive(k) && !v.is_null());
            let fields = fields.filter_map(|(k, v)| Some((k.clone(), without_directives(v)?)));
            Some(Value::Object(fields.collect()))
        }
        Value::Array(items) => Some(items.iter().filter_map(without_directives).collect::<Vec<_>>().into()),
        other => Some(other.clone()),
    }
}

fn merge_list(shape: Shape, name: &str, old: &mut Vec<Value>, patch: &[Value]) -> Result<(), String> {
    let is_replace = |item: &Value| item.get("$patch").is_some_and(|word| word == "replace");
    let how = shape.merge();
    if how == Merge::Atomic {
        *old = patch.iter().filter(|item| !is_replace(item)).map(plain).collect();
        return Ok(());
    }
    for item in patch.iter().filter_map(Value::as_object) {
        directive(item)?;
    }
    if patch.iter().any(is_replace) {
        // No item with a directive is part of the new list.
        *old = patch.iter().filter(|item| item.get("$patch").is_none()).map(plain).collect();
        return Ok(());
    }
    let stood = places(how, old);
    match how {
        Merge::Atomic => {}
        Merge::Set => {
            let mut known: HashSet<Value> = old.iter().cloned().collect();
            for item in patch.iter().filter(|i| known.insert((*i).clone())) {
                old.push(item.clone());
            }
        }
        Merge::By(key) => merge_items(shape.item(), name, key, old, patch)?,
    }
    reorder(how, old, patch, &stood);
    Ok(())
}

/// Merges a list whose items are told apart by `key`. Every item is found by its key in a map, and
/// those that go are taken out in one pass at the end, so the time grows with the lengths of both
/// lists and not with their product.
fn merge_items(
    shape: Shape,
    name: &str,
    key: &str,
    old: &mut Vec<Value>,
    patch: &[Value],
) -> Result<(), String> {
    let mut slots: Vec<Option<Value>> = std::mem::take(old).into_iter().map(Some).collect();
    // Where the items with a key stand that are still there, first the first.
    let mut places: HashMap<Value, Vec<usize>> = HashMap::new();
    for (i, item) in slots.iter().enumerate() {
        if let Some(id) = item.as_ref().and_then(|item| item.get(key)) {
            places.entry(id.clone()).or_default().push(i);
        }
    }
    let mut changes = vec![];
    for item in patch {
        let Value::Object(fields) = item else {
            return Err(format!("expected a map in list {name}, found {}", brief(&item.to_string())));
        };
        let Some(id) = fields.get(key) else {
            let item = item.to_string();
            return Err(format!("map: {} does not contain declared merge key: {key}", brief(&item)));
        };
        // Items go before others come, wherever the patch names them: one that is deleted and set
        // has nothing of the old one.
        match directive(fields)? {
            Some(_) => {
                for i in places.remove(id).unwrap_or_default() {
                    slots[i] = None;
                }
            }
            None => changes.push((id, fields, item)),
        }
    }
    for (id, fields, item) in changes {
        match places.get(id).and_then(|all| all.first()).and_then(|i| slots[*i].as_mut()) {
            Some(found) => merge_map(shape, as_map(found), fields)?,
            None => {
                // As a new list: upstream takes a new item as it stands, and merges a later one
                // with its key into it.
                places.entry(id.clone()).or_default().push(slots.len());
                slots.push(Some(plain(item)));
            }
        }
    }
    old.extend(slots.into_iter().flatten());
    Ok(())
}

/// Drops directives and nulls from a value that is taken as it stands.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(k, v)| !is_directive(k) && !v.is_null())
            .map(|(k, v)| (k.clone(), plain(v)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// What tells an item of a merged list from the others.
fn identity(how: Merge, item: &Value) -> Option<Value> {
    match how {
        Merge::By(key) => item.get(key).cloned(),
        _ => Some(item.clone()),
    }
}

/// The place of each item in `list`, the first one's where several are the same.
fn places(how: Merge, list: &[Value]) -> HashMap<Value, usize> {
    let mut places = HashMap::new();
    for (place, item) in list.iter().enumerate() {
        if let Some(id) = identity(how, item) {
            places.entry(id).or_insert(place);
        }
    }
    places
}

/// Puts the items that `order` names in its order. Each of the others comes before the next named
/// item only if it stood before it in `stood`, the list before the patch: so an item that the patch
/// adds comes first. Upstream's `mergeSortedSlice`.
fn reorder(how: Merge, items: &mut Vec<Value>, order: &[Value], stood: &HashMap<Value, usize>) {
    let ranks = places(how, order);
    // (rank if it is named, place before the patch, item)
    let ranked = std::mem::take(items).into_iter().map(|item| match identity(how, &item) {
        Some(id) => (ranks.get(&id).copied(), stood.get(&id).copied(), item),
        None => (None, None, item),
    });
    let (mut named, others): (Vec<_>, Vec<_>) = ranked.partition(|(rank, ..)| rank.is_some());
    named.sort_by_key(|(rank, ..)| *rank);
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some((_, theirs, _)), Some((_, ours, _))) = (named.peek(), others.peek()) {
        let before = ours.zip(*theirs).is_some_and(|(ours, theirs)| ours < theirs);
        let next = if before { others.next() } else { named.next() };
        items.extend(next.map(|(.., item)| item));
    }
    items.extend(named.map(|(.., item)| item));
    items.extend(others.map(|(.., item)| item));
}

#[cfg(test)]
mod tests {
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
                {"name": "a", "image": "x:2", "$setElementOrder/env": [{"name": "B"}, {"name": "C"}],
                 "env": [{"name": "B", "value": "2"}, {"$patch": "delete", "name": "A"}]},
                {"name": "b", "image": "y"}]}}}});
        let want = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "side", "image": "s"}, {"name": "b", "image": "y"},
            {"name": "a", "image": "x:2", "env": [{"name": "C", "value": "3"}, {"name": "B", "value": "2"}]}]}}}});
        let got = patched("Deployment", old, patch);
        let names = |v: &Value| {
            let list = v["spec"]["template"]["spec"]["containers"].as_array().unwrap();
            list.iter().map(|c| c["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&got), ["b", "a", "side"]);
        let container = |v: &Value| {
            let list = v["spec"]["template"]["spec"]["containers"].as_array().unwrap();
            list.iter().find(|c| c["name"] == "a").unwrap()["image"].clone()
        };
        assert_eq!(container(&got), container(&want));
        let env = got["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["name"] == "a")
            .unwrap()["env"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["name"].as_str().unwrap())
            .collect::<Vec<_>>();
        assert_eq!(env.len(), 2);
        assert!(env.contains(&"B") && env.contains(&"C"));
    }

    #[test]
    fn items_with_equal_keys_in_a_new_list_stay_apart() {
        let ports =
            json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]);
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
        assert_eq!(
            names(json!({"$setElementOrder/containers": order, "containers": [{"name": "x"}]})),
            "bcxa"
        );
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
        let patch =
            json!({"spec": {"unschedulable": null, "taints": [{"key": "b", "effect": "NoSchedule"}]}});
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
        let want =
            json!({"metadata": {"finalizers": ["c", "b"]}, "spec": {"strategy": {"type": "Recreate"}}});
        assert_eq!(patched("Deployment", old, patch), want);
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        let mut object = json!({"spec": {"containers": [{"name": "a"}]}});
        let error =
            apply("Pod", &mut object, &json!({"spec": {"containers": [{"image": "x"}]}})).unwrap_err();
        assert!(error.contains("does not contain declared merge key: name"), "{error}");
        let patch = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}});
        assert_eq!(patched("Pod", object, patch), json!({"spec": {"containers": [{"name": "z"}]}}));
    }

    #[test]
    fn an_item_that_is_deleted_and_set_is_a_new_one() {
        let delete = json!({"$patch": "delete", "name": "a"});
        let set = json!({"name": "a", "image": "y"});
        for items in [json!([delete, set]), json!([set, delete])] {
            let old =
                json!({"spec": {"containers": [{"name": "a", "image": "x", "tty": true}, {"name": "b"}]}});
            let got = patched("Pod", old, json!({"spec": {"containers": items}}));
            assert_eq!(got, json!({"spec": {"containers": [{"name": "a", "image": "y"}, {"name": "b"}]}}));
        }
        let old = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let patch = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}, delete]}});
        assert_eq!(patched("Pod", old, patch), json!({"spec": {"containers": [{"name": "z"}]}}));
    }

    #[test]
    fn directives_that_upstream_refuses_are_refused() {
        let old =
            json!({"spec": {"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {}}]}});
        let volume = |keys: Value| {
            let volume = json!({"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": keys});
            json!({"volumes": [volume]})
        };
        for (spec, why) in [
            (json!({"$patch": "merge"}), "unknown patch type: merge"),
            (json!({"$patch": 1}), "unknown patch type: 1"),
            (json!({"containers": [{"name": "a", "$patch": "merge"}]}), "unknown patch type: merge"),
            (json!({"containers": [{"name": "new", "$patch": "x"}]}), "unknown patch type: x"),
            (volume(json!(["name"])), "invalid patch format of retainKeys"),
            (volume(json!("name")), "invalid patch format of retainKeys"),
        ] {
            let told = apply("Pod", &mut old.clone(), &json!({ "spec": spec }));
            assert_eq!(told, Err(why.to_string()), "{spec}");
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
}
