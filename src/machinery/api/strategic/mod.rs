//! Strategic merge patch: a merge patch that merges some lists item by item, as if they were maps.
//! Which lists, and by which field, stands beside the published types ([`super::shape`]). Source:
//! k8s.io/apimachinery/pkg/util/strategicpatch.

mod order;

use super::errors::brief;
use super::gostr;
use super::shape::{Merge, Shape};
use super::status::Status;
use super::value::as_map;
use order::{check_order, places_before, reorder};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

const NO_OBJECT: &str = "cannot unmarshal patch: it is not an object";
const BAD_ORDER: &str = "invalid patch format of setElementOrder list";
const BAD_PRIMITIVES: &str = "invalid patch format of primitive list";
const BAD_RETAIN_KEYS: &str = "invalid patch format of retainKeys";
const LISTS_OF_LISTS: &str = "lists of lists are not supported";

/// Applies `patch` to an object of `kind`.
///
/// # Errors
/// A sentence for the user: the patch is not an object, it has an unknown `$patch`, it sets a field
/// that its `$retainKeys` does not name, its `$setElementOrder` contradicts the list beside it, or
/// an item of a list does not have the list's merge key. The object may be changed in part then.
/// [`refusal`] makes an answer of it.
pub fn apply(kind: &str, object: &mut Value, patch: &Value) -> Result<(), String> {
    let Value::Object(patch) = patch else {
        return Err(NO_OBJECT.to_string());
    };
    merge_map(Shape::of_kind(kind), as_map(object), patch)
}

/// Returns the API server's answer to a patch that [`apply`] refused for the reason `why`: 400 for
/// a directive of the wrong form, 422 for lists in lists. Upstream knows no code for the other
/// reasons, so they are answered with 500 although the client is at fault
/// (`interpretStrategicMergePatchError`).
pub fn refusal(why: String) -> Status {
    match why.as_str() {
        NO_OBJECT | BAD_ORDER | BAD_PRIMITIVES | BAD_RETAIN_KEYS => Status::bad_request(why),
        LISTS_OF_LISTS => {
            let causes = json!([{"reason": "UnexpectedServerResponse", "message": why}]);
            Status::new(422, "Invalid", "the server rejected our request due to an error in our request")
                .with(json!({"causes": causes}))
        }
        _ => Status::new(500, "", why),
    }
}

/// The values of `$patch`.
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
        Some(other) => {
            let (word, map) = (gostr::plain(other), gostr::plain(&Value::Object(map.clone())));
            Err(format!("unknown patch type: {} in map: {}", brief(&word), brief(&map)))
        }
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
    check_directives(patch)?;
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
        let Some(list) = key.strip_prefix(ORDER) else { continue };
        let how = shape.field(list).merge();
        check_order(how, list, order, patch.get(list), old.get(list))?;
        if let (Value::Array(order), Some(Value::Array(items))) = (order, old.get(list)) {
            let changes = patch.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            orders.push((list, how, order, places_before(how, items, changes)));
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
    let wrong = || Err(BAD_RETAIN_KEYS.to_string());
    let Value::Array(named) = named else { return wrong() };
    let named: HashSet<&str> = named.iter().filter_map(Value::as_str).collect();
    let mut fields = patch.iter().filter(|(key, value)| !is_directive(key) && !value.is_null());
    if !fields.all(|(key, _)| named.contains(key.as_str())) {
        return wrong();
    }
    old.retain(|key, _| named.contains(key.as_str()));
    Ok(())
}

/// Checks that directives about a list name the list: `$setElementOrder/containers`.
fn check_directives(patch: &Map<String, Value>) -> Result<(), String> {
    for key in patch.keys().filter(|key| key.starts_with('$') && !is_directive(key)) {
        if key.starts_with(ORDER.trim_end_matches('/')) {
            return Err(BAD_ORDER.to_string());
        }
        if key.starts_with(DELETE_PRIMITIVES.trim_end_matches('/')) {
            return Err(BAD_PRIMITIVES.to_string());
        }
    }
    Ok(())
}

/// Returns a new value as it stands, without nulls and directives. `None` if it is a directive
/// alone.
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
    check_types(old, patch)?;
    for item in patch.iter().filter_map(Value::as_object) {
        if item.get("$patch").is_some_and(|word| word == "merge") {
            return Err("merging lists cannot yet be specified in the patch".to_string());
        }
        directive(item)?;
    }
    if patch.iter().any(is_replace) {
        // No item with a directive is part of the new list.
        *old = patch.iter().filter(|item| item.get("$patch").is_none()).map(plain).collect();
        return Ok(());
    }
    let stood = places_before(how, old, patch);
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

/// Checks that all items of the two lists have one type, which is no list. Upstream's
/// `sliceElementType`.
fn check_types(old: &[Value], patch: &[Value]) -> Result<(), String> {
    let mut items = old.iter().chain(patch);
    let Some(first) = items.next() else { return Ok(()) };
    if first.is_array() {
        return Err(LISTS_OF_LISTS.to_string());
    }
    let kind = std::mem::discriminant(first);
    match items.all(|item| std::mem::discriminant(item) == kind) {
        true => Ok(()),
        false => {
            let both = gostr::plain(&json!([old, patch]));
            Err(format!("list element types are not identical: {}", brief(&both)))
        }
    }
}

/// Returns the merge key of an item of the list `name`.
fn key_of<'a>(name: &str, key: &str, item: &'a Value) -> Result<&'a Value, String> {
    let Value::Object(fields) = item else {
        return Err(format!("expected a map in list {name}, found {}", brief(&item.to_string())));
    };
    fields.get(key).ok_or_else(|| {
        let item = item.to_string();
        format!("map: {} does not contain declared merge key: {key}", brief(&item))
    })
}

/// Merges a list whose items are identified by `key`. Every item is found by its key in a map, and
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
        let id = key_of(name, key, item)?;
        let Value::Object(fields) = item else { continue };
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

#[cfg(test)]
mod tests;
