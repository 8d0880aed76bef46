//! The order of merged lists: `$setElementOrder`, and the places of items that a patch does not
//! name.

use crate::errors::brief;
use crate::shape::Merge;
use serde_json::Value;
use std::collections::HashMap;

/// Returns what tells an item of a merged list from the others.
fn identity(how: Merge, item: &Value) -> Option<Value> {
    match how {
        Merge::By(key) => item.get(key).cloned(),
        _ => Some(item.clone()),
    }
}

/// Returns the place of each item in `list`, the first one's where several are the same.
fn places(how: Merge, list: &[Value]) -> HashMap<Value, usize> {
    let mut places = HashMap::new();
    for (place, item) in list.iter().enumerate() {
        if let Some(id) = identity(how, item) {
            places.entry(id).or_insert(place);
        }
    }
    places
}

/// Returns the places of the items of a list before `patch` is merged into it. An item that the
/// patch deletes has no place: if the patch sets it again, it is a new item.
pub(super) fn places_before(how: Merge, list: &[Value], patch: &[Value]) -> HashMap<Value, usize> {
    let mut places = places(how, list);
    if let Merge::By(key) = how {
        for item in patch.iter().filter(|item| item.get("$patch").is_some()) {
            if let Some(id) = item.get(key) {
                places.remove(id);
            }
        }
    }
    places
}

/// Puts the items that `order` names in its order. Each of the others comes before the next named
/// item only if it stood before it in `stood`, the list before the patch: so an item that the patch
/// adds comes first. Upstream's `mergeSortedSlice`.
pub(super) fn reorder(how: Merge, items: &mut Vec<Value>, order: &[Value], stood: &HashMap<Value, usize>) {
    let ranks = places(how, order);
    // (rank if it is named, place before the patch, item)
    let ranked = std::mem::take(items).into_iter().map(|item| match identity(how, &item) {
        Some(id) => (ranks.get(&id).copied(), stood.get(&id).copied(), item),
        None => (None, None, item),
    });
    let (mut named, others): (Vec<_>, Vec<_>) = ranked.partition(|(rank, ..)| rank.is_some());
    named.sort_by_key(|(rank, ..)| *rank);
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some((_, theirs, _)), Some((_, ours, _))) = (named.peek(), others.peek()) {
        let before = ours.zip(*theirs).is_some_and(|(ours, theirs)| ours < theirs);
        let next = if before { others.next() } else { named.next() };
        items.extend(next.map(|(.., item)| item));
    }
    items.extend(named.map(|(.., item)| item));
    items.extend(others.map(|(.., item)| item));
}

/// Checks the `$setElementOrder` of the list `name` against the list that stands beside it in the
/// patch: the order has to name each item that the patch sets, and in the same sequence. Items with
/// a directive do not count. Upstream's `validatePatchWithSetOrderList`.
///
/// ```text
/// $setElementOrder/containers   containers
/// [a, b, c]                     [a, c]       fits
/// [a, b, c]                     [c, a]       does not fit
/// [a, b, c]                     [a, d]       does not fit
/// ```
///
/// # Errors
/// A sentence for the user: one of the two is no list, an item has no merge key, or they do not
/// fit.
pub(super) fn check_order(
    how: Merge,
    name: &str,
    order: &Value,
    items: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), String> {
    let wrong = |what: &str, found: &Value| {
        Err(format!("expected a list in {what}, but received {}", brief(&found.to_string())))
    };
    let Value::Array(named) = order else { return wrong(&format!("{}{name}", super::ORDER), order) };
    let items = match items {
        None => &[][..],
        Some(Value::Array(items)) => items.as_slice(),
        Some(other) => return wrong(name, other),
    };
    if let Merge::By(key) = how
        && (old.is_some() || !items.is_empty())
    {
        for item in named {
            super::key_of(name, key, item)?;
        }
    }
    if named.is_empty() {
        return Ok(());
    }
    let is_same = |a: &Value, b: &Value| match how {
        Merge::By(key) => a.get(key) == b.get(key),
        _ => a == b,
    };
    let mut left = named.iter();
    for item in items.iter().filter(|item| item.get("$patch").is_none()) {
        if !left.any(|other| is_same(item, other)) {
            let list = Value::from(items.to_vec()).to_string();
            return Err(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                brief(&list),
                brief(&order.to_string())
            ));
        }
    }
    Ok(())
}
