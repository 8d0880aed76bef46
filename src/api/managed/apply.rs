//! Server-side apply: merge by list keys, remember who applied which field, remove what a manager no longer applies.

use super::set::{self, Set};
use super::shape::{Keys, Shape};
use super::{Manager, entries, fields, own_part, store};
use crate::api::value::{as_map, text};
use serde_json::{Map, Value};

/// A field that another manager set to another value.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// `"kubectl"`, `"hpa" with subresource "scale" using apps/v1`
    pub manager: String,
    /// `.spec.template.spec.containers[name="c"].image`
    pub field: String,
}

/// The outcome of an apply.
pub struct Applied {
    pub object: Value,
    pub conflicts: Vec<Conflict>,
}

/// How messages name a manager.
fn named(entry: &Value) -> String {
    let mut name = format!("{:?}", text(entry, "manager"));
    let subresource = text(entry, "subresource");
    if !subresource.is_empty() {
        name.push_str(&format!(" with subresource {subresource:?}"));
    }
    if text(entry, "operation") == "Update" {
        name.push_str(&format!(" using {}", text(entry, "apiVersion")));
    }
    name
}

/// Applies `applied` over `live` (null if it does not exist) as `manager`. Conflicts are found, and overridden.
pub fn apply(shape: Shape, live: &Value, applied: &Value, manager: Manager) -> Applied {
    let mut mine = match set::all(shape, &own_part(applied), false) {
        Value::Object(set) => set,
        _ => Set::new(),
    };
    mine.retain(|_, inner| inner.is_object());
    let mut known: Vec<Value> = entries(live).to_vec();
    if known.is_empty() && !live.is_null() {
        // Whoever made it left no trace: what is there belongs to the past.
        let past = Manager { name: "before-first-apply", subresource: "", ..manager };
        if let Value::Object(fields) = set::all(shape, &own_part(live), true) {
            known.push(past.entry("Update", manager.now, fields));
        }
    }
    let is_mine = |e: &Value| manager.is("Apply", e);
    let mut object = live.clone();
    let mut conflicts = vec![];
    let mut kept = vec![];
    for entry in known.iter().filter(|e| !is_mine(e)) {
        let Some(theirs) = fields(entry) else { continue };
        let mut taken = Set::new();
        clashes(shape, &mine, theirs, live, applied, "", &mut taken, &mut |field| {
            conflicts.push(Conflict { manager: named(entry), field: field.to_string() });
        });
        let mut entry = entry.clone();
        if let Some(Value::Object(theirs)) = entry.get_mut("fieldsV1") {
            set::subtract(theirs, &taken);
        }
        kept.push(entry);
    }
    conflicts.sort_by(|a, b| (&a.manager, &a.field).cmp(&(&b.manager, &b.field)));
    merge(shape, &mut object, applied);
    let before = known.iter().find(|e| is_mine(e));
    if let Some(before) = before.and_then(fields) {
        let others: Vec<&Set> = kept.iter().filter_map(fields).collect();
        remove(shape, &mut object, before, &mine, &others);
    }
    let same = before.filter(|e| fields(e) == Some(&mine) && text(e, "apiVersion") == manager.api_version);
    let time = same.map_or(manager.now, |e| text(e, "time")).to_string();
    kept.push(manager.entry("Apply", &time, mine));
    for entry in &mut kept {
        if let Some(Value::Object(theirs)) = entry.get_mut("fieldsV1") {
            set::keep_present(shape, theirs, &object);
        }
    }
    store(&mut object, kept);
    Applied { object, conflicts }
}

/// Lays what is applied over what there is.
fn merge(shape: Shape, live: &mut Value, applied: &Value) {
    match (&mut *live, applied) {
        (Value::Object(map), Value::Object(wanted)) if !shape.is_atomic() => {
            for (key, value) in wanted {
                merge(shape.field(key), map.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(items), Value::Array(wanted)) => match shape.keys() {
            Keys::Atomic => *live = applied.clone(),
            Keys::Set => {
                let new: Vec<Value> = wanted.iter().filter(|w| !items.contains(w)).cloned().collect();
                items.extend(new);
            }
            Keys::By(keys) => {
                for want in wanted {
                    let key = shape.key(&keys, want);
                    match items.iter_mut().find(|i| key.is_some() && shape.key(&keys, i) == key) {
                        Some(found) => merge(shape.item(), found, want),
                        None => items.push(want.clone()),
                    }
                }
            }
        },
        _ => *live = applied.clone(),
    }
}

/// Removes from `live` what stands in `before` but not in `now` nor in any of `others`.
fn remove(shape: Shape, live: &mut Value, before: &Set, now: &Set, others: &[&Set]) {
    for (element, inner) in before {
        let Value::Object(inner) = inner else { continue };
        let empty = Set::new();
        let still = now.get(element).and_then(Value::as_object);
        let theirs: Vec<&Set> = others.iter().filter_map(|o| o.get(element)?.as_object()).collect();
        let wanted = still.is_some() || !theirs.is_empty();
        let still = still.unwrap_or(&empty);
        match live {
            Value::Object(map) => {
                let Some(field) = element.strip_prefix("f:") else { continue };
                if !wanted {
                    map.shift_remove(field);
                } else if let Some(child) = map.get_mut(field) {
                    remove(shape.field(field), child, inner, still, &theirs);
                }
            }
            Value::Array(items) => match shape.keys() {
                Keys::Set if !wanted => {
                    let gone = set::value_of(element);
                    items.retain(|i| Some(i) != gone.as_ref());
                }
                Keys::By(keys) => {
                    let is_it = |i: &Value| shape.key(&keys, i).as_deref() == Some(element);
                    if !wanted && element != "." {
                        items.retain(|i| !is_it(i));
                    } else if let Some(item) = items.iter_mut().find(|i| is_it(i)) {
                        remove(shape.item(), item, inner, still, &theirs);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// Leaves of `mine` that are in `theirs` and change the live value: told by their path, and put into `taken`.
#[allow(clippy::too_many_arguments)]
fn clashes(
    shape: Shape,
    mine: &Set,
    theirs: &Set,
    live: &Value,
    applied: &Value,
    path: &str,
    taken: &mut Set,
    tell: &mut dyn FnMut(&str),
) {
    for (element, inner) in mine.iter().filter(|(element, _)| *element != ".") {
        let (Some(inner), Some(their)) = (inner.as_object(), theirs.get(element).and_then(Value::as_object))
        else {
            continue;
        };
        let (l, a) = (set::find(shape, element, live), set::find(shape, element, applied));
        let Some((below, a)) = a else { continue };
        let place = match element.strip_prefix("f:") {
            Some(field) => format!("{path}.{field}"),
            None => format!("{path}{}", bracket(element)),
        };
        let l = l.map_or(&Value::Null, |(_, l)| l);
        if inner.is_empty() {
            // They own the thing itself, not only something below it.
            if l != a && (their.is_empty() || their.contains_key(".")) {
                tell(&place);
                taken.insert(element.clone(), Value::Object(Map::new()));
            }
            continue;
        }
        let mut inside = Set::new();
        clashes(below, inner, their, l, a, &place, &mut inside, tell);
        if !inside.is_empty() {
            taken.insert(element.clone(), Value::Object(inside));
        }
    }
}

/// `[name="c"]`
fn bracket(element: &str) -> String {
    if let Some(value) = element.strip_prefix("v:") {
        return format!("[={value}]");
    }
    let mut keys: Value = serde_json::from_str(element.trim_start_matches("k:")).unwrap_or_default();
    let all: Vec<String> = as_map(&mut keys).iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("[{}]", all.join(","))
}
