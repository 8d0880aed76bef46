//! Server-side apply: merge by list keys, remember who applied which field, remove what a manager
//! no longer applies.

use super::entries::{Manager, entries, fields, own_part, store};
use super::last_applied;
use super::set::{self, Index, Members, Set};
use crate::path::Path;
use crate::shape::{Keys, Shape};
use crate::value::{self, as_map, text};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

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
    /// What the object becomes, once there are no conflicts.
    pub object: Value,
    /// At most [`CONFLICTS_MAX`] of them.
    pub conflicts: Vec<Conflict>,
    /// How many there are.
    pub found: usize,
}

/// Conflicts that are reported of one apply.
const CONFLICTS_MAX: usize = 200;
/// The element of an object's metadata.
const METADATA: &str = "f:metadata";

/// Returns how messages name a manager.
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

/// Applies `applied` over `live` (null if it does not exist) as `manager`. Conflicts are found, and
/// overridden.
pub fn apply(shape: Shape, live: &Value, applied: &Value, manager: Manager) -> Applied {
    apply_resetting(shape, live, applied, manager, &[])
}

/// Applies as [`apply`] does, but the manager gets no ownership of the fields at the paths of
/// `resets` (`GetResetFields` upstream). Their values are merged: the server decides afterwards
/// whether it stores them.
pub fn apply_resetting(
    shape: Shape,
    live: &Value,
    applied: &Value,
    manager: Manager,
    resets: &[&str],
) -> Applied {
    let mut mine = own_fields(shape, applied, resets, false);
    mine.retain(|_, inner| inner.is_object());
    let mut known: Vec<Value> = entries(live).to_vec();
    if known.is_empty() && !live.is_null() {
        // No manager is recorded: what is there belongs to `before-first-apply`, through the
        // subresource of this apply (`buildManagerInfoManager` upstream).
        let past = Manager { name: "before-first-apply", ..manager };
        known.push(past.entry("Update", manager.now, own_fields(shape, live, resets, true)));
    }
    let noted = last_applied::noted(live, &manager);
    let index = Index::default();
    let sides = Sides { live, applied, noted: &noted, index: &index };
    let is_mine = |e: &Value| manager.is("Apply", e);
    let mut object = live.clone();
    let (mut conflicts, mut found) = (vec![], 0);
    let mut kept = vec![];
    for entry in known.iter().filter(|e| !is_mine(e)) {
        let Some(theirs) = fields(entry) else { continue };
        let mut overridden = Set::new();
        let manager = named(entry);
        clashes(shape, &mine, theirs, sides, Path::Root, &mut overridden, &mut |field| {
            found += 1;
            if conflicts.len() < CONFLICTS_MAX {
                conflicts.push(Conflict { manager: manager.clone(), field: format!(".{field}") });
            }
        });
        let mut entry = entry.clone();
        if let Some(Value::Object(theirs)) = entry.get_mut("fieldsV1") {
            set::subtract(theirs, &overridden);
        }
        kept.push(entry);
    }
    conflicts.sort_by(|a, b| a.manager.cmp(&b.manager)); // those of a manager keep their order
    merge(shape, &mut object, applied);
    let before = known.iter().find(|e| is_mine(e));
    if let Some(before) = before.and_then(fields) {
        let others: Vec<&Set> = kept.iter().filter_map(fields).collect();
        // Every apply names its object, so the metadata as a whole never goes: a finalizer in it
        // that no manager owns does not go with the last label.
        let is_unowned = !mine.contains_key(METADATA);
        mine.entry(METADATA).or_insert_with(|| Value::Object(Set::new()));
        remove(shape, &mut object, before, &mine, &others);
        if is_unowned {
            mine.shift_remove(METADATA);
        }
    }
    let same = before.filter(|e| fields(e) == Some(&mine) && text(e, "apiVersion") == manager.api_version);
    let time = same.map_or(manager.now, |e| text(e, "time")).to_string();
    kept.push(manager.entry("Apply", &time, mine));
    let index = Index::default(); // of the merged object
    for entry in &mut kept {
        if let Some(Value::Object(theirs)) = entry.get_mut("fieldsV1") {
            set::drop_removed(shape, theirs, live, &object, &index);
        }
    }
    store(&mut object, kept);
    Applied { object, conflicts, found }
}

/// Returns the fields that the writer of `object` owns: not those at the paths of `resets`. `whole`
/// as in [`set::all`].
fn own_fields(shape: Shape, object: &Value, resets: &[&str], whole: bool) -> Set {
    let mut part = own_part(object);
    resets.iter().for_each(|path| take_out(&mut part, path));
    match set::all(shape, &part, whole) {
        Value::Object(fields) => fields,
        _ => Set::new(),
    }
}

/// Removes what is at `path`, and what it was in if nothing else is left there.
fn take_out(value: &mut Value, path: &str) {
    value::remove(value, path);
    if let Some((parent, _)) = path.rsplit_once('.')
        && value::at(value, parent).as_object().is_some_and(Map::is_empty)
    {
        take_out(value, parent);
    }
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
            keys => merge_list(shape, &keys, items, wanted),
        },
        _ => *live = applied.clone(),
    }
}

/// Merges lists whose items are told apart. The applied items come in the order in which they are
/// applied: init containers and variables mean something else in another order. Each foreign live
/// item stays between the neighbours that it has.
///
/// Live `a x b`, applied `b a`: `x b a`. Live `a x b`, applied `new a b`: `new a x b`.
fn merge_list(shape: Shape, keys: &Keys, live: &mut Vec<Value>, applied: &[Value]) {
    let names = |items: &[Value]| -> Vec<Option<String>> {
        items.iter().map(|item| set::element(shape, keys, item)).collect()
    };
    let (in_live, in_applied) = (names(live), names(applied));
    let wanted: HashSet<&str> = in_applied.iter().flatten().map(String::as_str).collect();
    // Where a wanted item stands in the live list, and whether it stands there once.
    let mut places: HashMap<&str, (usize, bool)> = HashMap::new();
    for (i, name) in in_live.iter().enumerate() {
        let Some(name) = name.as_deref().filter(|name| wanted.contains(name)) else { continue };
        places.entry(name).and_modify(|(_, once)| *once = false).or_insert((i, true));
    }
    // For each applied item the next one, itself or behind it, that is live, too: it marks how far
    // the live list may go on.
    let mut marks: Vec<Option<&str>> = vec![];
    for name in in_applied.iter().rev() {
        let here = name.as_deref().filter(|name| places.contains_key(name));
        marks.push(here.or(marks.last().copied().flatten()));
    }
    marks.reverse();
    let mut slots: Vec<Option<Value>> = std::mem::take(live).into_iter().map(Some).collect();
    let mut at = 0;
    for ((item, name), mark) in applied.iter().zip(&in_applied).zip(marks) {
        while let Some(here) = in_live.get(at).filter(|here| mark.is_none() || here.as_deref() != mark) {
            if !here.as_deref().is_some_and(|here| wanted.contains(here)) {
                live.extend(slots[at].take());
            }
            at += 1;
        }
        let place = name.as_deref().and_then(|name| places.get(name));
        if mark.is_some() && mark == name.as_deref() && at < in_live.len() {
            at += 1;
        }
        // Of several live items with one name none can be the one that is meant: what is applied
        // replaces them all.
        match place.filter(|(_, once)| *once).and_then(|(i, _)| slots[*i].take()) {
            Some(mut found) => {
                merge(shape.item(), &mut found, item);
                live.push(found);
            }
            None => live.push(item.clone()),
        }
    }
    for (slot, name) in slots.into_iter().zip(&in_live).skip(at) {
        if !name.as_deref().is_some_and(|name| wanted.contains(name)) {
            live.extend(slot);
        }
    }
}

/// Removes from `live` what stands in `before` but not in `now` nor in any of `others`. What goes
/// is marked first and removed in one pass, so that a long list or map is not moved up for every
/// part that goes.
///
/// A member of a list or of a plain map is kept by the managers that own the member itself (`.`).
/// Other managers may have set fields in it: these go with it, because what would be left has no
/// key. A field that the type names is kept by every manager that owns something in it.
fn remove(shape: Shape, live: &mut Value, before: &Set, now: &Set, others: &[&Set]) {
    let places = live.as_array().map_or_else(HashMap::new, |items| set::places(shape, items));
    let mut gone: HashSet<&str> = HashSet::new();
    let mut owners = owners(before, others);
    for (element, inner) in before {
        let Value::Object(inner) = inner else { continue };
        let empty = Set::new();
        let still = now.get(element).and_then(Value::as_object);
        let theirs = owners.remove(element.as_str()).unwrap_or_default();
        let is_kept = match is_member(shape, element) && inner.contains_key(".") {
            true => theirs.iter().any(|set| set.is_empty() || set.contains_key(".")),
            false => !theirs.is_empty(),
        };
        if still.is_none() && !is_kept {
            gone.insert(element);
            continue;
        }
        let still = still.unwrap_or(&empty);
        match live {
            Value::Object(map) => {
                let Some(field) = element.strip_prefix("f:") else { continue };
                if let Some(child) = map.get_mut(field) {
                    remove(shape.field(field), child, inner, still, &theirs);
                }
            }
            Value::Array(items) if matches!(shape.keys(), Keys::By(_)) => {
                if let Some(item) = places.get(element).and_then(|i| items.get_mut(*i)) {
                    remove(shape.item(), item, inner, still, &theirs);
                }
            }
            _ => {}
        }
    }
    gone.remove(".");
    match live {
        Value::Object(map) if !gone.is_empty() => {
            let fields: HashSet<&str> = gone.iter().filter_map(|e| e.strip_prefix("f:")).collect();
            map.retain(|field, _| !fields.contains(field.as_str()));
        }
        Value::Array(items) if !gone.is_empty() => match shape.keys() {
            Keys::Set => {
                let gone: HashSet<Value> = gone.iter().filter_map(|e| set::value_of(e)).collect();
                items.retain(|item| !gone.contains(item));
            }
            Keys::By(keys) => {
                items.retain(|item| !shape.key(&keys, item).is_some_and(|key| gone.contains(key.as_str())));
            }
            Keys::Atomic => {}
        },
        _ => {}
    }
}

/// Returns what `others` own below each element of `before`. There may be thousands of managers, so
/// of each only the smaller of both sets is gone through.
fn owners<'s>(before: &'s Set, others: &[&'s Set]) -> HashMap<&'s str, Vec<&'s Set>> {
    let mut owners: HashMap<&str, Vec<&Set>> = HashMap::new();
    for &other in others {
        let smaller = if other.len() < before.len() { other } else { before };
        for element in smaller.keys().filter(|element| before.contains_key(element.as_str())) {
            if let Some(inner) = other.get(element).and_then(Value::as_object) {
                owners.entry(element).or_default().push(inner);
            }
        }
    }
    owners
}

/// True for an item of a list that has keys, and for a key of a plain map.
fn is_member(shape: Shape, element: &str) -> bool {
    match element.strip_prefix("f:") {
        Some(field) => !shape.names_field(field),
        None => element.starts_with("k:"),
    }
}

/// The values that are compared at one place of an object.
#[derive(Clone, Copy)]
struct Sides<'a> {
    live: &'a Value,
    applied: &'a Value,
    /// What a client-side apply noted, which kubectl may change; null if there is nothing.
    noted: &'a Value,
    index: &'a Index<'a>,
}

/// Finds the leaves of `mine` that are in `theirs` and change the live value. Puts them into
/// `overridden`, and reports their paths unless the live value is the noted one. The leaves of a
/// level, and what is not there yet, come before what is deeper, both in the order of [`set::rank`]
/// (`Set.Iterate` of structured-merge-diff).
fn clashes(
    shape: Shape,
    mine: &Set,
    theirs: &Set,
    sides: Sides,
    path: Path,
    overridden: &mut Set,
    report: &mut dyn FnMut(Path),
) {
    let members = |value| Members::of(shape, value, sides.index);
    let (in_live, in_applied, in_noted) = (members(sides.live), members(sides.applied), members(sides.noted));
    let smaller = if theirs.len() < mine.len() { theirs } else { mine };
    let shared = smaller.keys().filter(|element| *element != "." && theirs.contains_key(element.as_str()));
    let mut elements: Vec<(&String, &Value)> =
        shared.filter_map(|element| mine.get_key_value(element)).collect();
    let is_deep = |element: &str, inner: &Value| {
        inner.as_object().is_some_and(|inner| !inner.is_empty()) && in_live.find(element).is_some()
    };
    elements.sort_by_cached_key(|(element, inner)| (is_deep(element, inner), set::rank(element)));
    for (element, inner) in elements {
        let (Some(inner), Some(their)) = (inner.as_object(), theirs.get(element).and_then(Value::as_object))
        else {
            continue;
        };
        let Some((below, applied)) = in_applied.find(element) else { continue };
        let name;
        let place = match element.strip_prefix("f:") {
            Some(field) => path.field(field),
            None => {
                name = bracket(element);
                path.key(&name)
            }
        };
        let there = in_live.find(element).map(|(_, live)| live);
        let live = there.unwrap_or(&Value::Null);
        let noted = in_noted.find(element).map_or(&Value::Null, |(_, noted)| noted);
        // They own the thing itself, not only something below it.
        let owned = their.is_empty() || their.contains_key(".");
        if inner.is_empty() {
            if owned && live != applied && !merges_nothing(below, live, applied) {
                if noted.is_null() || noted != live {
                    report(place);
                }
                overridden.insert(element.clone(), Value::Object(Map::new()));
            }
            continue;
        }
        let mut inside = Set::new();
        if owned && there.is_none() {
            // They applied `labels: {}`, which is not stored: a first label brings the map with it.
            report(place);
            inside.insert(".".into(), Value::Object(Map::new()));
        }
        let sides = Sides { live, applied, noted, index: sides.index };
        clashes(below, inner, their, sides, place, &mut inside, report);
        if !inside.is_empty() {
            overridden.insert(element.clone(), Value::Object(inside));
        }
    }
}

/// True if `applied` is an empty map or list that is merged with the live one, which then stays as
/// it is. Upstream compares live with the merged object, so this is no conflict there.
fn merges_nothing(shape: Shape, live: &Value, applied: &Value) -> bool {
    match (live, applied) {
        (Value::Object(_), Value::Object(applied)) => applied.is_empty() && !shape.is_atomic(),
        (Value::Array(_), Value::Array(applied)) => applied.is_empty() && shape.keys() != Keys::Atomic,
        _ => false,
    }
}

/// Returns what stands in brackets for an element: `name="c"`.
pub(super) fn bracket(element: &str) -> String {
    if let Some(value) = element.strip_prefix("v:") {
        return format!("={value}");
    }
    let mut keys: Value = serde_json::from_str(element.trim_start_matches("k:")).unwrap_or_default();
    let all: Vec<String> = as_map(&mut keys).iter().map(|(k, v)| format!("{k}={v}")).collect();
    all.join(",")
}
