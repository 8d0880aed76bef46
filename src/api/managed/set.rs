//! Field sets in their wire form. An element is `f:<field>`, `k:<keys of an item>`, `v:<item of a set>` or `.`, the thing
//! itself; a set without elements below it is a leaf.

use super::shape::{Keys, Shape};
use serde_json::{Map, Value, json};

pub type Set = Map<String, Value>;

fn leaf() -> Value {
    json!({})
}

/// All fields that a value sets. `whole`: maps and lists count as something of their own, as they do in an update.
pub fn all(shape: Shape, value: &Value, whole: bool) -> Value {
    match value {
        Value::Object(map) if !shape.is_atomic() => {
            let mut set = Set::new();
            if whole && shape.is_own() && !map.is_empty() {
                set.insert(".".into(), leaf());
            }
            set.extend(map.iter().map(|(k, v)| (format!("f:{k}"), all(shape.field(k), v, whole))));
            set.into()
        }
        Value::Array(items) => {
            let mut set = Set::new();
            match shape.keys() {
                Keys::Atomic => return leaf(),
                Keys::Set => set.extend(items.iter().map(|v| (format!("v:{v}"), leaf()))),
                Keys::By(keys) => {
                    for item in items {
                        let Some(key) = shape.key(&keys, item) else { continue };
                        set.insert(key, one(shape, item, whole));
                    }
                }
            }
            if whole && !set.is_empty() {
                set.insert(".".into(), leaf());
            }
            set.into()
        }
        _ => leaf(),
    }
}

/// An item of a list, and itself.
fn one(shape: Shape, item: &Value, whole: bool) -> Value {
    let mut fields = Set::from_iter([(".".to_string(), leaf())]);
    if let Value::Object(inner) = all(shape.item(), item, whole) {
        fields.extend(inner);
    }
    fields.into()
}

/// What changed between two values.
#[derive(Default)]
pub struct Difference {
    /// Added or changed.
    pub set: Set,
    /// Something was there before that is not any more.
    pub removed: bool,
}

/// Compares two values of one shape.
pub fn difference(shape: Shape, old: &Value, new: &Value) -> Difference {
    let mut found = Difference::default();
    if let Some(Value::Object(set)) = changed(shape, old, new, &mut found.removed) {
        found.set = set;
    }
    found
}

/// The changed fields, `None` if all is as it was.
fn changed(shape: Shape, old: &Value, new: &Value, removed: &mut bool) -> Option<Value> {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) if !shape.is_atomic() => {
            let mut set = Set::new();
            for (name, value) in after {
                let inner = shape.field(name);
                let found = match before.get(name) {
                    Some(old) => changed(inner, old, value, removed),
                    None => Some(all(inner, value, true)),
                };
                set.extend(found.map(|found| (format!("f:{name}"), found)));
            }
            *removed |= before.keys().any(|name| !after.contains_key(name));
            (!set.is_empty()).then_some(Value::Object(set))
        }
        (Value::Array(before), Value::Array(after)) => items(shape, before, after, removed),
        _ => (old != new).then(|| {
            *removed |= !old.is_null();
            all(shape, new, true)
        }),
    }
}

fn items(shape: Shape, before: &[Value], after: &[Value], removed: &mut bool) -> Option<Value> {
    let mut set = Set::new();
    match shape.keys() {
        Keys::Atomic => return (before != after).then(leaf),
        Keys::Set => {
            set.extend(after.iter().filter(|v| !before.contains(v)).map(|v| (format!("v:{v}"), leaf())));
            *removed |= before.iter().any(|v| !after.contains(v));
        }
        Keys::By(keys) => {
            let name = |item: &Value| shape.key(&keys, item);
            let known: Vec<(Option<String>, &Value)> = before.iter().map(|i| (name(i), i)).collect();
            let mut kept = 0;
            for item in after {
                let Some(key) = name(item) else { continue };
                match known.iter().find(|(k, _)| k.as_deref() == Some(&key)) {
                    Some((_, old)) => {
                        kept += 1;
                        set.extend(changed(shape.item(), old, item, removed).map(|found| (key, found)));
                    }
                    None => drop(set.insert(key.clone(), one(shape, item, true))),
                }
            }
            *removed |= kept < before.len();
        }
    }
    (!set.is_empty()).then_some(Value::Object(set))
}

/// Everything that is in either.
pub fn union(set: &mut Set, other: &Set) {
    for (element, inner) in other {
        match (set.get_mut(element), inner) {
            (Some(Value::Object(mine)), Value::Object(inner)) => union_below(mine, inner),
            _ => drop(set.insert(element.clone(), inner.clone())),
        }
    }
}

/// A leaf that gets elements below it stays something of its own.
fn union_below(mine: &mut Set, other: &Set) {
    if mine.is_empty() != other.is_empty() && !mine.contains_key(".") {
        mine.insert(".".into(), leaf());
    }
    union(mine, other);
}

/// Takes the leaves of `other` out. What is left empty by that goes.
pub fn subtract(set: &mut Set, other: &Set) {
    set.retain(|element, inner| {
        let (Some(gone), Value::Object(inner)) = (other.get(element).and_then(Value::as_object), inner)
        else {
            return true;
        };
        if gone.is_empty() {
            return false;
        }
        if inner.is_empty() {
            return !gone.contains_key(".");
        }
        subtract(inner, gone);
        !inner.is_empty()
    });
}

/// Takes out what is not there any more.
pub fn keep_present(shape: Shape, set: &mut Set, value: &Value) {
    set.retain(|element, inner| {
        if element == "." {
            return true;
        }
        let Value::Object(inner) = inner else { return false };
        let Some((below, there)) = find(shape, element, value) else { return false };
        let was_leaf = inner.is_empty();
        keep_present(below, inner, there);
        was_leaf || !inner.is_empty()
    });
}

/// The item of a set of primitives that an element names.
pub fn value_of(element: &str) -> Option<Value> {
    serde_json::from_str(element.strip_prefix("v:")?).ok()
}

/// The value of an element of a set, and its shape.
pub fn find<'a>(shape: Shape<'a>, element: &'a str, value: &'a Value) -> Option<(Shape<'a>, &'a Value)> {
    if let Some(field) = element.strip_prefix("f:") {
        return Some((shape.field(field), value.get(field)?));
    }
    let items = value.as_array()?;
    if let Some(wanted) = value_of(element) {
        return items.iter().find(|i| **i == wanted).map(|i| (Shape::Free, i));
    }
    let Keys::By(keys) = shape.keys() else { return None };
    let is_it = |i: &&Value| shape.key(&keys, i).as_deref() == Some(element);
    items.iter().find(is_it).map(|i| (shape.item(), i))
}
