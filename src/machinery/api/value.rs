//! Walking a JSON tree by dotted path: `spec.template.spec`. No path here contains a key with a dot
//! of its own.

use serde_json::{Map, Value};

static NULL: Value = Value::Null;

/// Returns the value at `path`, or `null`.
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    let mut here = value;
    for step in path.split('.') {
        match here.get(step) {
            Some(next) => here = next,
            None => return &NULL,
        }
    }
    here
}

/// Returns the string at `path`, or the empty string.
pub fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or("")
}

/// Returns the number at `path`, if there is one.
pub fn int(value: &Value, path: &str) -> Option<i64> {
    at(value, path).as_i64()
}

/// True only if `path` holds `true`.
pub fn flag(value: &Value, path: &str) -> bool {
    at(value, path).as_bool().unwrap_or(false)
}

/// Returns the list at `path`, or an empty one.
pub fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// Returns the map at `path`, if there is one.
pub fn map<'a>(value: &'a Value, path: &str) -> Option<&'a Map<String, Value>> {
    at(value, path).as_object()
}

/// Returns the string pairs of the map at `path`.
pub fn pairs<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    map(value, path).into_iter().flatten().filter_map(|(k, v)| v.as_str().map(|v| (k.as_str(), v)))
}

/// True if there is nothing, `null`, an empty string, list or map at `path`.
pub fn empty(value: &Value, path: &str) -> bool {
    match at(value, path) {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

/// Returns the value itself as a map; anything else is replaced by an empty one.
pub fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was just made a map"),
    }
}

/// Returns the slot at `path`, made if it is not there.
pub fn slot<'a>(value: &'a mut Value, path: &str) -> &'a mut Value {
    let mut here = value;
    for step in path.split('.') {
        here = as_map(here).entry(step).or_insert(Value::Null);
    }
    here
}

/// Returns the map at `path`, made if it is not there.
pub fn slot_map<'a>(value: &'a mut Value, path: &str) -> &'a mut Map<String, Value> {
    as_map(slot(value, path))
}

/// Puts `new` at `path`.
pub fn put(value: &mut Value, path: &str, new: impl Into<Value>) {
    *slot(value, path) = new.into();
}

/// Puts `new` at `path` if nothing (or `null`) is there. This is what defaulting means.
pub fn default(value: &mut Value, path: &str, new: impl Into<Value>) {
    if at(value, path).is_null() {
        put(value, path, new);
    }
}

/// As [`default`], but an empty string or 0 also counts as nothing (Go fields that are no
/// pointers).
pub fn default_zero(value: &mut Value, path: &str, new: impl Into<Value>) {
    let here = at(value, path);
    if here.is_null() || here.as_str() == Some("") || here.as_i64() == Some(0) {
        put(value, path, new);
    }
}

/// Takes out what is at `path`.
pub fn remove(value: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = match path.rsplit_once('.') {
        Some((parent, last)) => (at_mut(value, parent)?, last),
        None => (value, path),
    };
    parent.as_object_mut()?.shift_remove(last)
}

/// Returns the value at `path`, to change, if it is there.
pub fn at_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut here = value;
    for step in path.split('.') {
        here = here.get_mut(step)?;
    }
    Some(here)
}

/// Returns the list at `path`, to change; empty if there is none.
pub fn list_mut<'a>(value: &'a mut Value, path: &str) -> &'a mut [Value] {
    match at_mut(value, path) {
        Some(Value::Array(list)) => list,
        _ => &mut [],
    }
}

/// Copies what is at `path` in `from` to `to`; if there is nothing, removes it.
pub fn copy(from: &Value, to: &mut Value, path: &str) {
    match at(from, path) {
        Value::Null => {
            remove(to, path);
        }
        there => put(to, path, there.clone()),
    }
}
