//! Strategic merge patch: a merge patch that knows which lists are maps in disguise.
//! Source: k8s.io/apimachinery/pkg/util/strategicpatch; the merge keys are the struct tags of the API types.

use super::errors::brief;
use super::value::as_map;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The patch's list replaces the old one.
    Atomic,
    /// Items are the same if this field is the same.
    By(&'static str),
    /// A set of primitives.
    Set,
}

/// How the list `field` of the map `parent` in an object of `kind` is merged.
pub fn merge_of(kind: &str, parent: &str, field: &str) -> Merge {
    let container = matches!(parent, "containers" | "initContainers" | "ephemeralContainers");
    match (parent, field) {
        ("metadata", "finalizers") => Merge::Set,
        ("metadata", "ownerReferences") => Merge::By("uid"),
        ("spec", "containers" | "initContainers" | "ephemeralContainers" | "imagePullSecrets") => {
            Merge::By("name")
        }
        ("spec", "schedulingGates" | "volumes" | "resourceClaims") => Merge::By("name"),
        ("spec", "hostAliases") => Merge::By("ip"),
        ("spec", "topologySpreadConstraints") => Merge::By("topologyKey"),
        ("spec", "ports") if kind == "Service" => Merge::By("port"),
        ("spec", "podCIDRs") => Merge::Set,
        (_, "ports") if container => Merge::By("containerPort"),
        (_, "env") if container => Merge::By("name"),
        (_, "volumeMounts") if container => Merge::By("mountPath"),
        (_, "volumeDevices") if container => Merge::By("devicePath"),
        ("status", "conditions") => Merge::By("type"),
        ("status", "addresses") if kind == "Node" => Merge::By("type"),
        ("status", "podIPs" | "hostIPs") => Merge::By("ip"),
        ("status", "resourceClaimStatuses") => Merge::By("name"),
        ("", "secrets") if kind == "ServiceAccount" => Merge::By("name"),
        _ => Merge::Atomic,
    }
}

const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// Applies `patch` to an object of `kind`. The error is a sentence for the user.
pub fn apply(kind: &str, object: &mut Value, patch: &Value) -> Result<(), String> {
    let Value::Object(patch) = patch else {
        return Err("cannot unmarshal patch: it is not an object".to_string());
    };
    merge_map(kind, "", as_map(object), patch)
}

fn directive(map: &Map<String, Value>) -> Option<&str> {
    map.get("$patch").and_then(Value::as_str)
}

fn is_directive(key: &str) -> bool {
    key.starts_with('$')
        && (key == "$patch"
            || key == "$retainKeys"
            || key.starts_with(ORDER)
            || key.starts_with(DELETE_PRIMITIVES))
}

fn merge_map(
    kind: &str,
    name: &str,
    old: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), String> {
    match directive(patch) {
        Some("replace") => {
            *old =
                patch.iter().filter(|(k, _)| !is_directive(k)).map(|(k, v)| (k.clone(), plain(v))).collect();
            return Ok(());
        }
        Some("delete") => {
            old.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(format!("unknown patch type found: {other}")),
    }
    if let Some(Value::Array(keep)) = patch.get("$retainKeys") {
        let keep: HashSet<&str> = keep.iter().filter_map(Value::as_str).collect();
        old.retain(|key, _| keep.contains(key.as_str()));
    }
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
    for (key, value) in patch.iter().filter(|(k, v)| !is_directive(k) && !v.is_null()) {
        let replaced = kind == "PodDisruptionBudget" && name == "spec" && key == "selector";
        match (old.get_mut(key), value) {
            (Some(Value::Object(old)), Value::Object(patch)) if !replaced => {
                merge_map(kind, key, old, patch)?;
            }
            (Some(Value::Array(old)), Value::Array(patch)) => merge_list(kind, name, key, old, patch)?,
            (slot, value) => {
                let fresh = fresh(kind, name, key, value)?;
                match slot {
                    Some(slot) => *slot = fresh,
                    None => drop(old.insert(key.clone(), fresh)),
                }
            }
        }
    }
    for (key, order) in patch {
        if let (Some(list), Value::Array(order)) = (key.strip_prefix(ORDER), order)
            && let Some(Value::Array(items)) = old.get_mut(list)
        {
            reorder(merge_of(kind, name, list), items, order);
        }
    }
    Ok(())
}

/// A value that was not there before: merge lists in it are built from nothing, directives go.
fn fresh(kind: &str, parent: &str, key: &str, value: &Value) -> Result<Value, String> {
    Ok(match value {
        Value::Object(patch) => {
            let mut map = Map::new();
            merge_map(kind, key, &mut map, patch)?;
            Value::Object(map)
        }
        Value::Array(patch) => {
            let mut list = vec![];
            merge_list(kind, parent, key, &mut list, patch)?;
            Value::Array(list)
        }
        other => other.clone(),
    })
}

fn merge_list(
    kind: &str,
    parent: &str,
    name: &str,
    old: &mut Vec<Value>,
    patch: &[Value],
) -> Result<(), String> {
    let is_replace = |v: &Value| v.get("$patch").and_then(Value::as_str) == Some("replace");
    let how = merge_of(kind, parent, name);
    if how == Merge::Atomic || patch.iter().any(is_replace) {
        *old = patch.iter().filter(|v| !is_replace(v)).map(plain).collect();
        return Ok(());
    }
    match how {
        Merge::Atomic => {}
        Merge::Set => {
            let mut known: HashSet<Value> = old.iter().cloned().collect();
            for item in patch.iter().filter(|i| known.insert((*i).clone())) {
                old.push(item.clone());
            }
        }
        Merge::By(key) => merge_items(kind, name, key, old, patch)?,
    }
    Ok(())
}

/// Merges a list whose items are told apart by `key`. Every item is found by its key in a map, and those that go are taken out
/// in one pass at the end, so the time grows with the lengths of both lists and not with their product.
fn merge_items(
    kind: &str,
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
    for item in patch {
        let Value::Object(fields) = item else {
            return Err(format!("expected a map in list {name}, found {}", brief(&item.to_string())));
        };
        let Some(id) = fields.get(key) else {
            let item = item.to_string();
            return Err(format!("map: {} does not contain declared merge key: {key}", brief(&item)));
        };
        if directive(fields) == Some("delete") {
            for i in places.remove(id).unwrap_or_default() {
                slots[i] = None;
            }
            continue;
        }
        match places.get(id).and_then(|all| all.first()).and_then(|i| slots[*i].as_mut()) {
            Some(found) => merge_map(kind, name, as_map(found), fields)?,
            None => {
                let mut map = Map::new();
                merge_map(kind, name, &mut map, fields)?;
                places.entry(id.clone()).or_default().push(slots.len());
                slots.push(Some(Value::Object(map)));
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

/// Puts the items that `order` names in its order; the others keep their place relative to what was before them.
fn reorder(how: Merge, items: &mut Vec<Value>, order: &[Value]) {
    let id = |item: &Value| match how {
        Merge::By(key) => item.get(key).cloned(),
        _ => Some(item.clone()),
    };
    let mut ranks: HashMap<Value, usize> = HashMap::new();
    for (i, wanted) in order.iter().enumerate() {
        if let Some(id) = id(wanted) {
            ranks.entry(id).or_insert(i);
        }
    }
    let rank = |item: &Value| id(item).and_then(|id| ranks.get(&id).copied());
    // (rank if it is named, place in the list so far, item)
    let ranked =
        std::mem::take(items).into_iter().enumerate().map(|(place, item)| (rank(&item), place, item));
    let (mut named, others): (Vec<_>, Vec<_>) = ranked.partition(|(rank, ..)| rank.is_some());
    named.sort_by_key(|(rank, ..)| *rank);
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some((_, a, _)), Some((_, b, _))) = (named.peek(), others.peek()) {
        let next = if a < b { named.next() } else { others.next() };
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
        assert_eq!(names(&got).iter().filter(|n| *n != "side").collect::<Vec<_>>(), ["b", "a"]);
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
            json!({"metadata": {"finalizers": ["b", "c"]}, "spec": {"strategy": {"type": "Recreate"}}});
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
}
