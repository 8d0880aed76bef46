//! The book-keeping of ordinary writes: create, update, patch.

use super::set::{self, Set};
use super::shape::Shape;
use super::{Manager, OWN, entries, fields, store};
use serde_json::Value;

/// Managers that update, at most; the oldest are then one, `ancient-changes`.
const UPDATERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Records what `manager` changed from `old` (null for a new object) to `new`. Whoever had set one of these fields before has
/// it no more. No change, no trace.
pub fn track(shape: Shape, old: &Value, new: &mut Value, manager: Manager) {
    let mut found = set::difference(shape, old, new);
    strip(&mut found.set);
    if found.set.is_empty() && !found.removed {
        return;
    }
    let mut all: Vec<Value> = entries(new).to_vec();
    let mut mine: Option<Set> = None;
    all.retain_mut(|entry| {
        let own = manager.is("Update", entry);
        let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") else { return false };
        if found.removed {
            set::keep_present(shape, fields, new);
        }
        if own {
            mine = Some(std::mem::take(fields));
            return false;
        }
        set::subtract(fields, &found.set);
        !fields.is_empty()
    });
    let before = entries(new).iter().find(|e| manager.is("Update", e));
    let mut own = mine.unwrap_or_default();
    set::union(&mut own, &found.set);
    // Its time is that of its last change of what it owns.
    let time = match before {
        Some(entry) if fields(entry) == Some(&own) && found.set.is_empty() => {
            super::text(entry, "time").to_string()
        }
        _ => manager.now.to_string(),
    };
    all.push(manager.entry("Update", &time, own));
    store(new, bounded(all));
}

/// What the system keeps belongs to nobody.
fn strip(set: &mut Set) {
    set.shift_remove(".");
    set.shift_remove("f:apiVersion");
    set.shift_remove("f:kind");
    if let Some(Value::Object(metadata)) = set.get_mut("f:metadata") {
        OWN.iter().for_each(|own| drop(metadata.shift_remove(&format!("f:{own}"))));
        if metadata.is_empty() {
            set.shift_remove("f:metadata");
        }
    }
}

/// The oldest of too many updaters become one.
fn bounded(mut all: Vec<Value>) -> Vec<Value> {
    let is_update =
        |e: &Value| super::text(e, "operation") == "Update" && super::text(e, "subresource").is_empty();
    let surplus = all.iter().filter(|e| is_update(e)).count().saturating_sub(UPDATERS_MAX);
    if surplus == 0 {
        return all;
    }
    let mut times: Vec<String> =
        all.iter().filter(|e| is_update(e)).map(|e| super::text(e, "time").to_string()).collect();
    times.sort();
    let newest = times[surplus].clone();
    let mut ancient: Option<Value> = None;
    all.retain(|entry| {
        if !is_update(entry) || super::text(entry, "time") > newest.as_str() {
            return true;
        }
        match &mut ancient {
            None => {
                let mut first = entry.clone();
                first["manager"] = ANCIENT.into();
                ancient = Some(first);
            }
            Some(first) => {
                if let (Some(Value::Object(mine)), Some(more)) = (first.get_mut("fieldsV1"), fields(entry)) {
                    set::union(mine, more);
                }
            }
        }
        false
    });
    all.extend(ancient);
    all
}
