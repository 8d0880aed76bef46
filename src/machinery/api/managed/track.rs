//! The book-keeping of ordinary writes: create, update, patch.

use super::entries::{Manager, OWN, entries, fields, store};
use super::set::{self, Index, Set};
use crate::shape::Shape;
use crate::value::{self, text};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Managers that update, at most; the oldest are then one, `ancient-changes`.
const UPDATERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Records what `manager` changed from `old` (null for a new object) to `new`. A manager that had
/// set one of these fields before loses it. Without a change nothing is recorded.
pub fn track(shape: Shape, old: &Value, new: &mut Value, manager: Manager) {
    let mut found = set::difference(shape, old, new);
    strip(&mut found.set);
    if found.set.is_empty() && !found.removed {
        return;
    }
    let mut all: Vec<Value> = entries(new).to_vec();
    let mut mine: Option<Set> = None;
    let after: &Value = new;
    let index = Index::default();
    all.retain_mut(|entry| {
        let own = manager.is("Update", entry);
        let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") else { return false };
        if found.removed {
            set::drop_removed(shape, fields, old, after, &index);
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
    // An entry has the time of the manager's last write that set a field. A write that only removes
    // fields leaves the time as it is (`managedfieldsupdater.go` upstream).
    let time = match before {
        Some(entry) if found.set.is_empty() => text(entry, "time").to_string(),
        _ => manager.now.to_string(),
    };
    all.push(manager.entry("Update", &time, own));
    store(new, bounded(all));
}

/// Removes the fields that the server itself keeps: they have no manager.
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

/// Merges the oldest updates of too many into one entry a version, as many as are too many and no
/// more. The first of a version only becomes such an entry when a second one joins it.
fn bounded(mut all: Vec<Value>) -> Vec<Value> {
    let is_update = |e: &Value| text(e, "operation") == "Update";
    let mut surplus = all.iter().filter(|e| is_update(e)).count().saturating_sub(UPDATERS_MAX);
    if surplus == 0 {
        return all;
    }
    let word = |e: &Value, field: &str| text(e, field).to_string();
    let mut oldest: Vec<usize> = (0..all.len()).filter(|i| is_update(&all[*i])).collect();
    oldest
        .sort_by_key(|i| (word(&all[*i], "time"), word(&all[*i], "manager"), word(&all[*i], "subresource")));
    let mut buckets: HashMap<String, usize> = HashMap::new();
    let mut gone: HashSet<usize> = HashSet::new();
    // Entries that were merged earlier take up what is merged now.
    for i in oldest.iter().filter(|i| word(&all[**i], "manager") == ANCIENT) {
        buckets.insert(word(&all[*i], "apiVersion"), *i);
    }
    for i in oldest {
        if surplus == 0 {
            break;
        }
        let bucket = *buckets.entry(word(&all[i], "apiVersion")).or_insert(i);
        if bucket == i {
            continue;
        }
        let (more, time) = (fields(&all[i]).cloned().unwrap_or_default(), word(&all[i], "time"));
        let bucket = &mut all[bucket];
        if let Some(Value::Object(mine)) = bucket.get_mut("fieldsV1") {
            set::union(mine, &more);
        }
        bucket["manager"] = ANCIENT.into();
        value::remove(bucket, "subresource");
        if text(bucket, "time") < time.as_str() {
            bucket["time"] = time.into();
        }
        gone.insert(i);
        surplus -= 1;
    }
    let mut i = 0..all.len();
    all.retain(|_| i.next().is_some_and(|i| !gone.contains(&i)));
    all
}
