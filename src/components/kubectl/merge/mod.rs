//! Patches between states of an object: what `apply` sends.
//!
//! Three states meet: what was applied last (in an annotation), what the file says now, and what
//! the server has. Fields that differ between server and file are set; fields that the last
//! configuration had and the file has not are deleted; everything else belongs to other field
//! managers and stays. Source: k8s.io/apimachinery/pkg/util/strategicpatch.

use api::shape::{Merge, Shape};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

type Fields = Map<String, Value>;

/// Before the name of a list: the order of its items.
const ORDER: &str = "$setElementOrder/";

/// The changes that a comparison puts into its patch.
#[derive(Clone, Copy)]
struct Look {
    additions: bool,
    deletions: bool,
    /// The order of lists that changed.
    order: bool,
}

/// A strategic merge patch from `current` to `modified` that deletes only what `original` had.
/// Empty if there is nothing to do.
pub(crate) fn strategic(kind: &str, original: &Value, modified: &Value, current: &Value) -> Value {
    let empty = Fields::new();
    let fields = |v: &Value| v.as_object().cloned().unwrap_or_default();
    let modified = fields(modified);
    let shape = Shape::of_kind(kind);
    let changes =
        diff(shape, &fields(current), &modified, Look { additions: true, deletions: false, order: true });
    let original = original.as_object().unwrap_or(&empty);
    let deletions = diff(shape, original, &modified, Look { additions: false, deletions: true, order: true });
    Value::Object(joined(shape, deletions, changes))
}

/// A strategic merge patch from one state to another.
pub(crate) fn strategic_two_way(kind: &str, from: &Value, to: &Value) -> Value {
    let fields = |v: &Value| v.as_object().cloned().unwrap_or_default();
    Value::Object(diff(
        Shape::of_kind(kind),
        &fields(from),
        &fields(to),
        Look { additions: true, deletions: true, order: true },
    ))
}

/// The same as [`strategic`] for kinds of which no merge keys are known: lists are replaced.
pub(crate) fn merge(original: &Value, modified: &Value, current: &Value) -> Value {
    let mut patch = merge_two_way(current, modified);
    keep(&mut patch, false);
    let mut deletions = merge_two_way(original, modified);
    keep(&mut deletions, true);
    overlay(&mut deletions, patch);
    deletions
}

/// An RFC 7386 patch from one state to another.
pub(crate) fn merge_two_way(from: &Value, to: &Value) -> Value {
    let (Some(from), Some(to)) = (from.as_object(), to.as_object()) else { return json!({}) };
    let mut patch = Fields::new();
    for (key, new) in to {
        match from.get(key) {
            Some(old) if old == new => {}
            Some(old @ Value::Object(_)) if new.is_object() => {
                let inner = merge_two_way(old, new);
                if inner.as_object().is_some_and(|i| !i.is_empty()) {
                    patch.insert(key.clone(), inner);
                }
            }
            _ => drop(patch.insert(key.clone(), new.clone())),
        }
    }
    for key in from.keys().filter(|k| !to.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

/// Keeps only the nulls of a merge patch, or only the rest. An empty map of the patch is a value
/// and stays; a map that becomes empty is removed.
fn keep(patch: &mut Value, nulls: bool) {
    let Value::Object(map) = patch else { return };
    map.retain(|_, v| match v {
        Value::Object(inner) if inner.is_empty() => !nulls,
        Value::Object(_) => {
            keep(v, nulls);
            v.as_object().is_some_and(|m| !m.is_empty())
        }
        Value::Null => nulls,
        _ => !nulls,
    });
}

fn overlay(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, new) in over {
                match base.get_mut(&key) {
                    Some(old) => overlay(old, new),
                    None => drop(base.insert(key, new)),
                }
            }
        }
        (base, over) => *base = over,
    }
}

fn diff(shape: Shape, from: &Fields, to: &Fields, look: Look) -> Fields {
    let mut patch = Fields::new();
    for (key, new) in to {
        let Some(old) = from.get(key) else {
            if look.additions {
                patch.insert(key.clone(), new.clone());
            }
            continue;
        };
        match (old, new) {
            (Value::Object(_), Value::Object(_)) if shape.field(key).is_replaced() => {
                // Upstream sends it also if it is the same (`handleMapDiff`), so that `apply` says
                // `configured` of every PodDisruptionBudget.
                patch.extend(look.additions.then(|| (key.clone(), new.clone())));
            }
            (Value::Object(a), Value::Object(b)) => {
                let mut inner = diff(shape.field(key), a, b, look);
                if shape.field(key).retains_keys() {
                    retain_keys(a, b, &mut inner);
                }
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (Value::Array(a), Value::Array(b)) => match shape.field(key).merge() {
                Merge::Atomic => {
                    if look.additions && a != b {
                        patch.insert(key.clone(), new.clone());
                    }
                }
                Merge::Set => sets(key, a, b, look, &mut patch),
                Merge::By(id) => lists(shape.field(key), (key, id), a, b, look, &mut patch),
            },
            _ if old != new && look.additions => drop(patch.insert(key.clone(), new.clone())),
            _ => {}
        }
    }
    if look.deletions {
        for key in from.keys().filter(|k| !to.contains_key(*k)) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

/// Adds the keys of `to` that are not null to the patch of a map, if the patch changes the map or
/// if `from` has keys that `to` lacks. The server removes all other keys.
///
/// An empty map names no keys and removes none: `strategy: {}` leaves the strategy to the server's
/// default, which `from` has already.
fn retain_keys(from: &Fields, to: &Fields, patch: &mut Fields) {
    let mut keys: Vec<&String> = to.iter().filter(|(_, v)| !v.is_null()).map(|(key, _)| key).collect();
    let is_smaller = || from.iter().any(|(key, v)| !v.is_null() && !to.contains_key(key));
    if !keys.is_empty() && (!patch.is_empty() || is_smaller()) {
        keys.sort();
        patch.insert("$retainKeys".into(), json!(keys));
    }
}

fn sets(key: &str, from: &[Value], to: &[Value], look: Look, patch: &mut Fields) {
    if from.is_empty() {
        if look.additions && !to.is_empty() {
            patch.insert(key.into(), to.into());
        }
        return;
    }
    let added: Vec<Value> = to.iter().filter(|v| !from.contains(v)).cloned().collect();
    let removed: Vec<Value> = from.iter().filter(|v| !to.contains(v)).cloned().collect();
    let ordered = (look.deletions && !removed.is_empty()) || (look.additions && from != to);
    if look.additions && !added.is_empty() {
        patch.insert(key.into(), added.into());
    }
    if look.deletions && !removed.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{key}"), removed.into());
    }
    if look.order && ordered && !to.is_empty() {
        patch.insert(format!("{ORDER}{key}"), to.into());
    }
}

/// `key`: the name of the list, and the field that its items are told apart by.
fn lists(
    shape: Shape,
    (key, id): (&str, &str),
    from: &[Value],
    to: &[Value],
    look: Look,
    patch: &mut Fields,
) {
    if from.is_empty() {
        if look.additions && !to.is_empty() {
            patch.insert(key.into(), to.into());
        }
        return;
    }
    let mut items: Vec<Value> = vec![];
    let (partners, gone) = pairs(id, from, to);
    for (new, old) in to.iter().zip(partners) {
        let (Value::Object(fields), Some(old)) = (new, old) else {
            if look.additions {
                items.push(new.clone());
            }
            continue;
        };
        let none = Fields::new();
        let old = old.as_object().unwrap_or(&none);
        let mut inner = diff(shape.item(), old, fields, look);
        if shape.retains_keys() {
            retain_keys(old, fields, &mut inner);
        }
        if !inner.is_empty() {
            inner.insert(id.into(), new[id].clone());
            items.push(Value::Object(inner));
        }
    }
    let mut items = reverse_same_keys(id, items);
    if look.deletions {
        for old in gone {
            items.push(json!({"$patch": "delete", id: old[id]}));
        }
    }
    let same_order = from.len() == to.len() && from.iter().zip(to).all(|(a, b)| a.get(id) == b.get(id));
    let ordered = look.order
        && !to.is_empty()
        && ((look.additions && (!items.is_empty() || !same_order)) || (look.deletions && !items.is_empty()));
    if !items.is_empty() {
        patch.insert(key.into(), items.into());
    }
    if ordered {
        let order: Vec<Value> = to.iter().map(|v| json!({id: v[id]})).collect();
        patch.insert(format!("{ORDER}{key}"), order.into());
    }
}

/// Reverses the order of items that have the same key. The server merges them one after another
/// into one item, so the one that the file names first remains. Upstream's sort reverses equal
/// items (`SortableSliceOfMaps.Less`).
///
/// Example: a Service has port 53 for UDP, and a file adds port 53 for TCP behind it. The patch
/// names TCP, then UDP, and the Service keeps UDP.
fn reverse_same_keys(id: &str, items: Vec<Value>) -> Vec<Value> {
    let keys: Vec<String> = items.iter().map(|item| item[id].to_string()).collect();
    let mut by_key: HashMap<&str, Vec<Value>> = HashMap::new();
    for (key, item) in keys.iter().zip(items) {
        by_key.entry(key).or_default().push(item);
    }
    keys.iter().filter_map(|key| by_key.get_mut(key.as_str())?.pop()).collect()
}

/// Finds for each item of `to` the item of `from` that it is compared with, and returns those of
/// `from` that are left over.
///
/// Items are told apart by one key only, and several may have the same: a Service may have port 53
/// for UDP and for TCP. Each is compared with one item then, the last with the last, the one before
/// with the one before. Comparing both with the first would find a difference where there is none,
/// and a patch of it would turn one port into the other. Upstream, which sorts both lists by the
/// key, makes the same pairs (`diffListsOfMaps`).
fn pairs<'a>(id: &str, from: &'a [Value], to: &[Value]) -> (Vec<Option<&'a Value>>, Vec<&'a Value>) {
    let mut left: Vec<Option<&Value>> = from.iter().map(Some).collect();
    let mut partners: Vec<Option<&Value>> = vec![];
    for new in to.iter().rev() {
        let at = left.iter().rposition(|old| old.is_some_and(|old| old.get(id) == new.get(id)));
        partners.push(at.and_then(|at| left[at].take()));
    }
    partners.reverse();
    (partners, left.into_iter().flatten().collect())
}

/// Joins a patch of deletions and a patch of changes into one.
fn joined(shape: Shape, mut deletions: Fields, changes: Fields) -> Fields {
    for (key, new) in changes {
        match (deletions.get_mut(&key), new) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                *old = joined(shape.field(&key), std::mem::take(old), new);
            }
            (Some(Value::Array(old)), Value::Array(new)) if !key.starts_with('$') => {
                let list = shape.field(&key);
                match list.merge() {
                    Merge::By(id) => {
                        let mut items: Vec<Value> = vec![];
                        for item in new {
                            let same = |other: &Value| other.get(id) == item.get(id);
                            let (at, before) = match items.iter().position(same) {
                                Some(at) => (at, Some(items.remove(at))),
                                None => (items.len(), old.iter().position(same).map(|at| old.remove(at))),
                            };
                            let item = match (before, item) {
                                (Some(Value::Object(a)), Value::Object(b)) => {
                                    Value::Object(joined(list.item(), a, b))
                                }
                                (_, item) => item,
                            };
                            items.insert(at, item);
                        }
                        items.append(old);
                        *old = items;
                    }
                    Merge::Set | Merge::Atomic => *old = new,
                }
            }
            (Some(old), new) => *old = new,
            (None, new) => drop(deletions.insert(key, new)),
        }
    }
    let orders: Vec<(String, Value)> = deletions
        .iter()
        .filter_map(|(key, order)| Some((key.strip_prefix(ORDER)?.to_string(), order.clone())))
        .collect();
    for (list, order) in orders {
        if let (Merge::By(id), Some(Value::Array(items)), Value::Array(order)) =
            (shape.field(&list).merge(), deletions.get_mut(&list), &order)
        {
            in_order(id, items, order);
        }
    }
    deletions
}

/// Puts the items of a list into the order that the patch names beside it, those that go last. A
/// server refuses a list in another order (`validatePatchWithSetOrderList`).
fn in_order(id: &str, items: &mut [Value], order: &[Value]) {
    items.sort_by_cached_key(|item| {
        let named = order.iter().position(|named| named.get(id) == item.get(id));
        named.filter(|_| item.get("$patch").is_none()).unwrap_or(order.len())
    });
}

/// Returns whether two patches of one object set a field to different values. `kind` is empty for
/// kinds of which no merge keys are known.
pub(crate) fn conflicts(kind: &str, a: &Value, b: &Value) -> bool {
    conflict(Shape::of_kind(kind), a, b)
}

fn conflict(shape: Shape, a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.get("$patch") != b.get("$patch")
                || a.iter()
                    .filter(|(key, _)| !key.starts_with('$'))
                    .filter_map(|(key, inner)| Some((key, inner, b.get(key)?)))
                    .any(|(key, a, b)| conflict(shape.field(key), a, b))
        }
        (Value::Array(a), Value::Array(b)) => match shape.merge() {
            Merge::Atomic => a != b,
            Merge::Set => false,
            Merge::By(id) => a.iter().any(|item| {
                let other = b.iter().find(|other| other.get(id) == item.get(id));
                other.is_some_and(|other| conflict(shape.item(), item, other))
            }),
        },
        _ => a != b,
    }
}

/// True if a patch changes nothing.
pub(crate) fn is_empty(patch: &Value) -> bool {
    patch.as_object().is_none_or(Map::is_empty)
}

#[cfg(test)]
mod tests;
