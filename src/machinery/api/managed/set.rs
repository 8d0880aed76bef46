//! Field sets in their wire form. An element is `f:<field>`, `k:<keys of an item>`, `v:<item of a
//! set>` or `.`, the thing itself; a set without elements below it is a leaf.

use crate::bounds;
use crate::shape::{Keys, Shape};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::rc::Rc;

pub(super) type Set = Map<String, Value>;

fn leaf() -> Value {
    json!({})
}

/// Returns all fields that a value sets. `whole`: maps and lists count as something of their own,
/// as they do in an update.
pub(super) fn all(shape: Shape, value: &Value, whole: bool) -> Value {
    match value {
        Value::Object(map) if !shape.is_atomic() => {
            let mut set = Set::new();
            if whole && shape.is_own() && !map.is_empty() {
                set.insert(".".into(), leaf());
            }
            let fields = map.iter().filter(|(k, v)| whole || !is_nothing(shape, k, v));
            set.extend(fields.map(|(k, v)| (format!("f:{k}"), field(shape, k, v, whole))));
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
            if whole && shape.is_own() && !set.is_empty() {
                set.insert(".".into(), leaf());
            }
            set.into()
        }
        _ => leaf(),
    }
}

/// Returns whether an apply owns nothing of a field: of a list with keys and without items, and of
/// a map that has such fields alone (`toFieldSetWalker` of structured-merge-diff).
///
/// Example: a manager that applies `env: []` does not own `env`. With `args: []` it owns `args`,
/// because that list is one value.
fn is_nothing(shape: Shape, name: &str, value: &Value) -> bool {
    let inner = shape.field(name);
    match value {
        // A key of a plain map is something of its own.
        _ if !shape.names_field(name) => false,
        Value::Array(items) => items.is_empty() && inner.keys() != Keys::Atomic,
        Value::Object(map) => {
            let is_whole = map.is_empty() || inner.is_atomic();
            !is_whole && map.iter().all(|(name, value)| is_nothing(inner, name, value))
        }
        _ => false,
    }
}

/// Returns what a manager owns of a field of a map. A key that the type does not name is something
/// of its own, as an item of a list is.
fn field(shape: Shape, name: &str, value: &Value, whole: bool) -> Value {
    let mut fields = all(shape.field(name), value, whole);
    if let Value::Object(fields) = &mut fields
        && !fields.is_empty()
        && !shape.names_field(name)
    {
        fields.insert(".".into(), leaf());
    }
    fields
}

/// Returns the element of an item of a list, with the item itself in it.
fn one(shape: Shape, item: &Value, whole: bool) -> Value {
    if shape.item().is_atomic() {
        return leaf();
    }
    let mut fields = Set::from_iter([(".".to_string(), leaf())]);
    if let Value::Object(inner) = all(shape.item(), item, whole) {
        fields.extend(inner);
    }
    fields.into()
}

/// What changed between two values.
#[derive(Default)]
pub(super) struct Difference {
    /// Added or changed.
    pub set: Set,
    /// Something was there before that is not any more.
    pub removed: bool,
}

/// Compares two values of one shape.
pub(super) fn difference(shape: Shape, old: &Value, new: &Value) -> Difference {
    let mut found = Difference::default();
    if let Some(Value::Object(set)) = changed(shape, old, new, &mut found.removed) {
        found.set = set;
    }
    found
}

/// Returns the changed fields, `None` if all is as it was.
fn changed(shape: Shape, old: &Value, new: &Value, removed: &mut bool) -> Option<Value> {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) if !shape.is_atomic() => {
            let mut set = Set::new();
            for (name, value) in after {
                let inner = shape.field(name);
                let found = match before.get(name) {
                    Some(old) => changed(inner, old, value, removed),
                    None => Some(field(shape, name, value, true)),
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
            let (had, has): (HashSet<&Value>, HashSet<&Value>) =
                (before.iter().collect(), after.iter().collect());
            set.extend(after.iter().filter(|v| !had.contains(v)).map(|v| (format!("v:{v}"), leaf())));
            *removed |= had.iter().any(|v| !has.contains(v));
        }
        Keys::By(keys) => {
            let name = |item: &Value| shape.key(&keys, item);
            let mut known: HashMap<String, &Value> = HashMap::new();
            for item in before {
                if let Some(key) = name(item) {
                    known.entry(key).or_insert(item); // the first of those that are the same
                }
            }
            let mut kept = 0;
            for item in after {
                let Some(key) = name(item) else { continue };
                match known.get(&key) {
                    Some(old) => {
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

/// Adds everything that is in `other`.
pub(super) fn union(set: &mut Set, other: &Set) {
    for (element, inner) in other {
        match (set.get_mut(element), inner) {
            (Some(Value::Object(mine)), Value::Object(inner)) => union_below(mine, inner),
            _ => drop(set.insert(element.clone(), inner.clone())),
        }
    }
}

/// Adds what is in `other` below an element. A leaf that gets elements below it stays something of
/// its own.
fn union_below(mine: &mut Set, other: &Set) {
    if mine.is_empty() != other.is_empty() && !mine.contains_key(".") {
        mine.insert(".".into(), leaf());
    }
    union(mine, other);
}

/// Takes the leaves of `other` out. What is left empty by that goes.
pub(super) fn subtract(set: &mut Set, other: &Set) {
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

/// Takes out what was in the value `before` and is not there any more. A field that was not there
/// either keeps its owner: a manager that applies `args: []` owns it, although an empty list is not
/// stored (`Comparison.Removed` of structured-merge-diff has what a write removes, and no more).
pub(super) fn drop_removed<'v>(
    shape: Shape,
    set: &mut Set,
    before: &'v Value,
    value: &'v Value,
    index: &Index<'v>,
) {
    let (was_there, there) = (Members::of(shape, before, index), Members::of(shape, value, index));
    set.retain(|element, inner| {
        if element == "." {
            return true;
        }
        let Value::Object(inner) = inner else { return false };
        let Some((below, before)) = was_there.find(element) else { return true };
        let Some((_, value)) = there.find(element) else { return false };
        let was_leaf = inner.is_empty();
        drop_removed(below, inner, before, value, index);
        was_leaf || !inner.is_empty()
    });
}

/// Returns the item of a set of primitives that an element names. `None` also for one that would
/// take far more memory than a primitive: clients may send elements, too.
pub(super) fn value_of(element: &str) -> Option<Value> {
    let text = element.strip_prefix("v:")?;
    bounds::check_json(text.as_bytes()).ok()?;
    serde_json::from_str(text).ok()
}

/// A part of the rank that an element has among those of its level.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Number(i64),
    Text(String),
    /// A bool, or a number that is no `i64`.
    Other(String),
}

impl Rank {
    fn of(value: &Value) -> Rank {
        match (value.as_i64(), value) {
            (Some(number), _) => Rank::Number(number),
            (None, Value::String(text)) => Rank::Text(text.clone()),
            (None, other) => Rank::Other(other.to_string()),
        }
    }
}

/// Returns the rank of an element among those of its level: fields by their names, items by their
/// keys and the values of these, numbers before texts (`PathElement.Compare` of
/// structured-merge-diff).
///
/// Example: the port 80 comes before 443.
pub(super) fn rank(element: &str) -> Vec<Rank> {
    match element.strip_prefix("k:").map(serde_json::from_str::<Map<String, Value>>) {
        Some(Ok(keys)) => {
            keys.iter().flat_map(|(key, value)| [Rank::Text(key.clone()), Rank::of(value)]).collect()
        }
        _ => vec![value_of(element).map_or_else(|| Rank::Text(element.into()), |value| Rank::of(&value))],
    }
}

/// Where the items of lists stand. Each list is read once, however many managers own something in
/// it: there may be thousands of both.
#[derive(Default)]
pub(super) struct Index<'v> {
    /// The places of a list's items, by the list's address. No list moves or is dropped while it is
    /// borrowed.
    lists: RefCell<HashMap<*const Value, Rc<HashMap<String, usize>>>>,
    borrowed: PhantomData<&'v Value>,
}

impl<'v> Index<'v> {
    /// Returns the [`places`] of a list; none for a value that is no list.
    fn of(&self, shape: Shape, value: &'v Value) -> Option<Rc<HashMap<String, usize>>> {
        let items = value.as_array()?;
        let mut lists = self.lists.borrow_mut();
        let known = lists.entry(std::ptr::from_ref(value)).or_insert_with(|| Rc::new(places(shape, items)));
        Some(known.clone())
    }
}

/// What a value has in it, by the elements of a set.
pub(super) struct Members<'s, 'v> {
    shape: Shape<'s>,
    value: &'v Value,
    /// Places of items by the element that names each; none for a map.
    items: Option<Rc<HashMap<String, usize>>>,
}

impl<'s, 'v> Members<'s, 'v> {
    pub(super) fn of(shape: Shape<'s>, value: &'v Value, index: &Index<'v>) -> Members<'s, 'v> {
        Members { shape, value, items: index.of(shape, value) }
    }

    /// Returns the value of an element of a set, and its shape.
    pub(super) fn find(&self, element: &'s str) -> Option<(Shape<'s>, &'v Value)> {
        if let Some(field) = element.strip_prefix("f:") {
            return Some((self.shape.field(field), self.value.get(field)?));
        }
        let items = self.items.as_ref()?;
        let place = match value_of(element) {
            // Another writer may have spaced it differently.
            Some(value) => items.get(&format!("v:{value}"))?,
            None => items.get(element)?,
        };
        let below = if element.starts_with("v:") { Shape::Free } else { self.shape.item() };
        Some((below, self.value.as_array()?.get(*place)?))
    }
}

/// Returns where the items of a list stand, by the element that names each: the first of those that
/// are the same.
pub(super) fn places(shape: Shape, items: &[Value]) -> HashMap<String, usize> {
    let keys = shape.keys();
    let mut places = HashMap::new();
    for (i, item) in items.iter().enumerate() {
        if let Some(name) = element(shape, &keys, item) {
            places.entry(name).or_insert(i);
        }
    }
    places
}

/// Returns the element that names an item of a list with these `keys`; `None` if nothing tells it
/// apart.
pub(super) fn element(shape: Shape, keys: &Keys, item: &Value) -> Option<String> {
    match keys {
        Keys::Atomic => None,
        Keys::Set => Some(format!("v:{item}")),
        Keys::By(keys) => shape.key(keys, item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_a_level_are_ordered_by_values() {
        let ports = [(80, "SCTP"), (80, "TCP"), (443, "TCP")];
        let ports =
            ports.map(|(n, protocol)| format!("k:{{\"containerPort\":{n},\"protocol\":{protocol:?}}}"));
        assert!(ports.iter().map(|port| rank(port)).is_sorted());
        assert!(["v:2", "v:10", "v:\"a\"", "v:\"b\"", "v:true"].map(rank).is_sorted());
        assert!(["f:a", "f:b"].map(rank).is_sorted());
        assert!(["k:{\"a\":2}", "k:{\"b\":1}"].map(rank).is_sorted(), "keys come before their values");
    }
}
