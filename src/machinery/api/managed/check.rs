//! Lists that an apply cannot own by their items.

use super::apply::bracket;
use super::set::element;
use crate::path::Path;
use crate::shape::{Keys, Shape};
use serde_json::Value;
use std::collections::HashSet;

/// Problems that are reported of one object.
const PROBLEMS_MAX: usize = 100;

/// Returns what is wrong with the lists of an applied object, in upstream's words: items that
/// nothing tells apart, and items that occur twice. Without this check each apply would add such an
/// item once more, or merge two items into one.
pub fn problems(shape: Shape, applied: &Value) -> Vec<String> {
    let mut found = vec![];
    check_value(shape, applied, Path::Root, &mut found);
    found
}

/// Adds the problems of a value and of all that is inside of it.
fn check_value(shape: Shape, here: &Value, path: Path, found: &mut Vec<String>) {
    if shape.is_atomic() || found.len() >= PROBLEMS_MAX {
        return;
    }
    match here {
        Value::Object(map) => {
            for (name, field) in map {
                check_value(shape.field(name), field, path.field(name), found);
            }
        }
        Value::Array(items) => list(shape, items, path, found),
        _ => {}
    }
}

fn list(shape: Shape, items: &[Value], path: Path, found: &mut Vec<String>) {
    let keys = shape.keys();
    if keys == Keys::Atomic {
        return;
    }
    let mut seen: HashSet<String> = HashSet::new();
    for (i, item) in items.iter().enumerate() {
        if found.len() >= PROBLEMS_MAX {
            return;
        }
        if let Some(why) = unnamed(&keys, shape, item) {
            found.push(format!(".{path}: element {i}: {why}"));
            continue;
        }
        let Some(name) = element(shape, &keys, item) else { continue };
        let shown = bracket(&name);
        if !seen.insert(name) {
            found.push(format!(".{path}: duplicate entries for key [{shown}]"));
        } else if keys != Keys::Set {
            check_value(shape.item(), item, path.key(&shown), found);
        }
    }
}

/// Returns why an item has no name in its list.
pub(super) fn unnamed(keys: &Keys, shape: Shape, item: &Value) -> Option<String> {
    let keys = match (keys, item) {
        (Keys::Atomic, _) => return None,
        (Keys::Set, Value::Object(_)) => {
            return Some("associative list without keys has an element that's a map type".into());
        }
        (Keys::Set, Value::Array(_)) => {
            return Some("not supported: associative list with lists as elements".into());
        }
        (Keys::Set, Value::Null) => {
            return Some("associative list without keys has an element that's an explicit null".into());
        }
        (Keys::Set, _) => return None,
        (Keys::By(_), Value::Null) => {
            return Some("associative list with keys may not have a null element".into());
        }
        (Keys::By(keys), Value::Object(_)) => keys,
        (Keys::By(_), _) => {
            return Some("associative list with keys may not have non-map elements".into());
        }
    };
    if shape.key(keys, item).is_some() {
        return None;
    }
    let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    Some(format!(
        "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
        keys.join(" ")
    ))
}
