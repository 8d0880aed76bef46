//! Which items of two lists are the same: they have the same values for the merge keys of the list.

use api::gostr;
use api::shape::{Keys, Merge, Shape};
use serde_json::{Map, Value};

/// The fields that identify the items of a list; one empty name for a list of primitives.
pub(super) fn keys_of(shape: Shape<'_>) -> Vec<String> {
    match (shape.keys(), shape.merge()) {
        (Keys::By(keys), _) => keys,
        (_, Merge::By(key)) => vec![key.into()],
        _ => vec![String::new()],
    }
}

/// The text of a scalar; empty for a list and a map.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Array(_) | Value::Object(_) => String::new(),
        scalar => gostr::plain(scalar),
    }
}

/// The value of a merge key; empty if the item does not have it.
pub(super) fn part_of_identity(item: &Value, key: &str) -> String {
    match item.get(key) {
        _ if key.is_empty() => text(item),
        None | Some(Value::Null) => String::new(),
        Some(value) => text(value),
    }
}

/// True for null and for an empty map, which are no items of a list.
pub(super) fn is_nothing(item: &Value) -> bool {
    item.is_null() || item.as_object().is_some_and(Map::is_empty)
}

/// Unites the identities that agree in one key, where none has another value for the same key than
/// the other: 80 and 80/UDP are one port.
pub(super) fn unite(identities: &mut [Vec<String>]) {
    for i in 0..identities.len() {
        let one = identities[i].clone();
        for j in 0..identities.len() {
            if let Some(both) = united(&one, &identities[j]) {
                identities[i].clone_from(&both);
                identities[j] = both;
            }
        }
    }
}

/// The identity of two that agree, as [`unite`] says; `None` if they differ.
fn united(one: &[String], other: &[String]) -> Option<Vec<String>> {
    let pairs = || one.iter().zip(other);
    let is_united =
        pairs().any(|(a, b)| a == b) && pairs().all(|(a, b)| a == b || a.is_empty() || b.is_empty());
    is_united.then(|| pairs().map(|(a, b)| if a.is_empty() { b.clone() } else { a.clone() }).collect())
}

/// The keys for which `known` is true of their index, with the values for them; all keys if it is
/// true of none.
pub(super) fn valid<'a>(
    keys: &[&'a str],
    values: &[String],
    known: impl Fn(usize) -> bool,
) -> (Vec<&'a str>, Vec<String>) {
    let all = (0..keys.len()).filter(|key| known(*key)).collect::<Vec<usize>>();
    if all.is_empty() {
        return (keys.to_vec(), values.to_vec());
    }
    all.into_iter().map(|key| (keys[key], values[key].clone())).unzip()
}

/// The place of the item that has these values for these keys.
pub(super) fn find(list: &[Value], keys: &[&str], values: &[String]) -> Option<usize> {
    let has = |item: &Value, key: &str, value: &String| match key {
        "" => text(item) == *value,
        key => item.get(key).is_some_and(|found| text(found) == *value),
    };
    list.iter().position(|item| keys.iter().zip(values).all(|(key, value)| has(item, key, value)))
}

/// Puts an item in the place of all that have these values for these keys, where an empty value
/// stands for every one, or else at the end. `None`: removes them. Source: kyaml's `ElementSetter`.
pub(super) fn set(list: &mut Vec<Value>, item: Option<Value>, keys: &[&str], values: &[String]) {
    let has = |found: &Value, key: &str, value: &String| match key {
        "" => text(found) == *value,
        key => found.get(key).is_some_and(|part| value.is_empty() || text(part) == *value),
    };
    let is_one = |found: &Value| {
        !values.is_empty() && keys.iter().zip(values).all(|(key, value)| has(found, key, value))
    };
    let mut was_there = false;
    let mut kept = Vec::with_capacity(list.len() + 1);
    for found in list.drain(..).filter(|found| !is_nothing(found)) {
        if is_one(&found) {
            was_there = true;
            kept.extend(item.clone());
        } else if !values.is_empty() || !found.is_object() {
            kept.push(found);
        }
    }
    if !was_there {
        kept.extend(item);
    }
    *list = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn identities_that_agree_are_one_unless_a_key_differs() {
        let unite = |identities: &[[&str; 2]]| {
            let mut all: Vec<Vec<String>> =
                identities.iter().map(|one| one.map(String::from).to_vec()).collect();
            unite(&mut all);
            all.into_iter().map(|one| one.join("/")).collect::<Vec<String>>()
        };
        assert_eq!(unite(&[["80", ""], ["80", "UDP"]]), ["80/UDP", "80/UDP"]);
        assert_eq!(unite(&[["80", "TCP"], ["80", "UDP"], ["81", ""]]), ["80/TCP", "80/UDP", "81/"]);
    }

    #[test]
    fn an_item_takes_the_place_of_all_that_it_is_or_stands_at_the_end() {
        let (keys, values) = (["name"], ["a".to_string()]);
        let mut list = vec![json!({"name": "a", "x": 1}), json!({"name": "b"}), json!({})];
        set(&mut list, Some(json!({"name": "a"})), &keys, &values);
        assert_eq!(list, [json!({"name": "a"}), json!({"name": "b"})], "an empty map is no item");
        set(&mut list, None, &keys, &values);
        assert_eq!((find(&list, &keys, &values), list.len()), (None, 1));
        set(&mut list, Some(json!({"name": "a"})), &keys, &values);
        assert_eq!(find(&list, &keys, &values), Some(1));
    }
}
