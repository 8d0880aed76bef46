//! Strategic merge patches as kustomize applies them. The API server has another way with the same
//! patches ([`api::strategic`]), and the two differ where a patch is unusual.
//!
//! - The items of a list may have several merge keys: ports are the same if `containerPort` and
//!   `protocol` are. A protocol that both leave out does not count.
//! - `$patch: delete` takes a field away, and leaves no empty map.
//! - A list without a schema is replaced, and so is one that a schema does not call a map.
//! - New items stand before the others.
//!
//! Example: the patch `{ports: [{containerPort: 53, protocol: UDP, name: dns}]}` changes the second
//! of the ports 53/TCP and 53/UDP; the API server would change the first.
//!
//! Source: kyaml's `yaml/merge2` and `yaml/walk`, whose results this file reproduces, odd ones too:
//! `$patch: replace` in an item of a list, or at the root, replaces nothing.

use super::identity::{find, is_nothing, keys_of, part_of_identity, set, text, unite, valid};
use crate::print::yaml;
use api::shape::{Merge, Shape};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The part of a patch for one value.
enum Given {
    Nothing,
    /// The value that the patch has just put into the object.
    Same,
    Value(Value),
}

/// The outcome for a value.
enum Walked {
    Gone,
    /// The value was changed in its place, or not at all.
    Kept,
    New(Value),
}

/// Merges a patch into an object. Returns whether the object stays; otherwise the patch deletes it.
///
/// # Errors
/// A map, a list and a scalar stand in each other's place, or `$patch` has an unknown value. The
/// object may be changed in part then.
pub(super) fn apply(shape: Shape<'_>, object: &mut Value, patch: Value) -> Result<bool, String> {
    Ok(!matches!(walk(shape, Some(object), Given::Value(patch))?, Walked::Gone))
}

/// The kinds of YAML's nodes.
fn node(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "MappingNode",
        Value::Array(_) => "SequenceNode",
        _ => "ScalarNode",
    }
}

fn wrong_node(expected: &str, found: &Value) -> String {
    let content = yaml::to_string(found);
    format!(
        "wrong node kind: expected {expected} but got {}: node contents:\n{}",
        node(found),
        content.trim_end()
    )
}

/// Applies a patch to one value. `old`: the value of the object, which may be null; `None`: it has
/// no such field or item.
fn walk(shape: Shape<'_>, old: Option<&mut Value>, given: Given) -> Result<Walked, String> {
    let (old, given) = match (old, given) {
        (None, Given::Nothing | Given::Same) => return Ok(Walked::Gone),
        (None, Given::Value(new)) => return fresh(shape, new),
        (Some(Value::Null), Given::Nothing) => return Ok(Walked::Kept),
        (Some(Value::Null), Given::Same) => return Ok(Walked::Gone),
        (Some(Value::Null), Given::Value(new)) => return fresh(shape, new),
        (Some(_), Given::Value(Value::Null)) => return Ok(Walked::Gone),
        (Some(old), given) => (old, given),
    };
    if let Given::Value(new) = &given
        && node(old) != node(new)
    {
        return Err(wrong_node(node(old), new));
    }
    match old {
        Value::Object(map) => walk_map(shape, map, given),
        Value::Array(list) if shape.merge() != Merge::Atomic => walk_list(shape, list, given),
        old => Ok(match given {
            Given::Value(new) => Walked::New(in_style_of(old, new)),
            Given::Nothing | Given::Same => Walked::Kept,
        }),
    }
}

/// A value that takes the place of a scalar keeps its quotes. One that reads as a text only in
/// quotes must have had some.
///
/// Example: `value: 2` in place of `value: "1"` is a text.
fn in_style_of(old: &Value, new: Value) -> Value {
    let was_quoted = old.is_string() && yaml::to_string(old).starts_with('"');
    if was_quoted && (new.is_number() || new.is_boolean()) { text(&new).into() } else { new }
}

/// A value that the object does not have yet.
fn fresh(shape: Shape<'_>, mut new: Value) -> Result<Walked, String> {
    match &mut new {
        Value::Null => return Ok(Walked::Gone),
        Value::Object(map) => {
            if let Walked::Gone = walk_map(shape, map, Given::Same)? {
                return Ok(Walked::Gone);
            }
        }
        Value::Array(list) if shape.merge() != Merge::Atomic => merge_items(shape, list, &Given::Same)?,
        _ => {}
    }
    Ok(Walked::New(new))
}

/// The key of a directive, which is a field of a map or the only field of an item of a list.
const DIRECTIVE: &str = "$patch";

#[derive(PartialEq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

impl Directive {
    fn of(word: &Value) -> Result<Directive, String> {
        match text(word).as_str() {
            "merge" => Ok(Directive::Merge),
            "replace" => Ok(Directive::Replace),
            "delete" => Ok(Directive::Delete),
            other => Err(format!("unknown patch strategy '{other}'")),
        }
    }

    /// Takes the directive out of a map.
    fn take_from_map(map: &mut Map<String, Value>) -> Result<Directive, String> {
        map.shift_remove(DIRECTIVE).map_or(Ok(Directive::Merge), |word| Directive::of(&word))
    }

    /// Takes the directive out of a list.
    fn take_from_list(list: &mut Vec<Value>) -> Result<Directive, String> {
        let first = list.iter().find_map(|item| item.as_object().filter(|map| map.contains_key(DIRECTIVE)));
        let Some(word) = first.filter(|map| map.len() == 1).map(|map| map[DIRECTIVE].clone()) else {
            return Ok(Directive::Merge);
        };
        let directive = Directive::of(&word)?;
        set(list, None, &[DIRECTIVE], &[text(&word)]);
        Ok(directive)
    }
}

fn walk_map(shape: Shape<'_>, old: &mut Map<String, Value>, given: Given) -> Result<Walked, String> {
    let mut patch = Map::new();
    let is_same = match given {
        Given::Nothing => false,
        Given::Same => {
            if Directive::take_from_map(old)? == Directive::Delete {
                return Ok(Walked::Gone);
            }
            true
        }
        Given::Value(new) => {
            if let Value::Object(map) = new {
                patch = map;
            }
            match Directive::take_from_map(&mut patch)? {
                Directive::Delete => return Ok(Walked::Gone),
                Directive::Replace => return fresh(shape, patch.into()),
                Directive::Merge => false,
            }
        }
    };
    let names: BTreeSet<String> = old.keys().chain(patch.keys()).cloned().collect();
    for name in names {
        let given = match patch.shift_remove(&name) {
            Some(value) => Given::Value(value),
            None if is_same => Given::Same,
            None => Given::Nothing,
        };
        match walk(shape.field(&name), old.get_mut(&name), given)? {
            Walked::Kept => {}
            Walked::Gone => drop(old.shift_remove(&name)),
            Walked::New(value) => drop(old.insert(name, value)),
        }
    }
    Ok(Walked::Kept)
}

fn walk_list(shape: Shape<'_>, old: &mut Vec<Value>, mut given: Given) -> Result<Walked, String> {
    let directive = match &mut given {
        Given::Nothing => Directive::Merge,
        Given::Same => Directive::take_from_list(old)?,
        Given::Value(Value::Array(new)) => Directive::take_from_list(new)?,
        Given::Value(_) => Directive::Merge,
    };
    match (directive, given) {
        (Directive::Delete, _) => return Ok(Walked::Gone),
        (Directive::Replace, Given::Value(new)) => return fresh(shape, new),
        (_, given) => merge_items(shape, old, &given)?,
    }
    Ok(Walked::Kept)
}

/// Merges the items of a list one by one. Those without their merge keys are lost, as with kyaml.
fn merge_items(shape: Shape<'_>, old: &mut Vec<Value>, given: &Given) -> Result<(), String> {
    let patch = match given {
        Given::Value(Value::Array(items)) => items.as_slice(),
        _ => &[],
    };
    let all_keys = keys_of(shape);
    let all_keys: Vec<&str> = all_keys.iter().map(String::as_str).collect();
    let mut identities: Vec<Vec<String>> = vec![];
    for item in patch.iter().chain(old.iter()) {
        let identity = all_keys.iter().map(|key| part_of_identity(item, key)).collect();
        if !identities.contains(&identity) {
            identities.push(identity);
        }
    }
    if all_keys.len() > 1 {
        unite(&mut identities);
    }
    let mut merged = vec![];
    let mut keys = vec![];
    for identity in &identities {
        let known = |key: usize| identities.iter().any(|other| !other[key].is_empty());
        let (used, values) = valid(&all_keys, identity, known);
        let (sought, parts) = valid(&used, &values, |key| !values[key].is_empty());
        let place = find(old, &sought, &parts);
        let given = match given {
            Given::Same if place.is_some() => Given::Same,
            _ => find(patch, &sought, &parts).map_or(Given::Nothing, |at| Given::Value(patch[at].clone())),
        };
        let walked = walk(shape.item(), place.map(|at| &mut old[at]), given)?;
        let item = match walked {
            Walked::Gone => None,
            Walked::Kept => place.map(|at| old[at].clone()),
            Walked::New(item) => Some(item),
        };
        match item.filter(|item| !is_nothing(item)) {
            None => set(old, None, &used, &values),
            item => set(&mut merged, item, &used, &values),
        }
        keys = used;
    }
    if !identities.is_empty() {
        append(&mut merged, std::mem::take(old), &keys)?;
        *old = merged;
    }
    Ok(())
}

/// Appends the items of a list to another. An item that is there already is replaced.
fn append(to: &mut Vec<Value>, items: Vec<Value>, keys: &[&str]) -> Result<(), String> {
    for item in items {
        if keys == [""] {
            let value = text(&item);
            set(to, Some(item), keys, &[value]);
            continue;
        }
        if !item.is_object() {
            return Err(wrong_node("MappingNode", &item));
        }
        let mut values = vec![];
        for key in keys {
            match item.get(*key) {
                Some(value) => values.push(text(value)),
                None => to.push(item.clone()),
            }
        }
        if keys.len() > 1 {
            set(to, None, keys, &values);
        }
        set(to, Some(item), keys, &values);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse_yaml;
    use api::kinds;

    fn read(text: &str) -> Value {
        parse_yaml(text.as_bytes()).unwrap()
    }

    /// Returns the spec of a pod after a patch.
    fn patched(spec: &str, patch: &str) -> Result<Value, String> {
        let pod = kinds::find("", "v1", "Pod").map(Shape::of).unwrap();
        let mut object = read(&format!("{{spec: {spec}}}"));
        let stays = apply(pod, &mut object, read(&format!("{{spec: {patch}}}")))?;
        assert!(stays);
        Ok(object["spec"].clone())
    }

    /// The results are those of kustomize 5.5 and 5.7.
    #[test]
    fn a_patch_is_merged_as_by_kyaml() {
        let of = |list: &str, items: &str| format!("{{containers: [{{name: a, {list}: {items}}}]}}");
        let (dns, both) = ("{containerPort: 53, protocol: UDP}", "{containerPort: 53}");
        for (list, old, patch, want) in [
            // Both keys count, unless all leave one of them out.
            (
                "ports",
                format!("[{{containerPort: 53, protocol: TCP}}, {dns}]"),
                "[{containerPort: 53, protocol: UDP, name: dns}]".to_string(),
                "[{containerPort: 53, protocol: TCP}, {containerPort: 53, protocol: UDP, name: dns}]",
            ),
            (
                "ports",
                format!("[{both}]"),
                "[{containerPort: 53, name: x}]".into(),
                "[{containerPort: 53, name: x}]",
            ),
            (
                "ports",
                format!("[{both}, {dns}]"),
                "[{containerPort: 53, name: x}]".into(),
                "[{containerPort: 53}, {containerPort: 53, protocol: UDP}]",
            ),
            // New items come first.
            (
                "env",
                "[{name: A, value: '1'}]".into(),
                "[{name: B}, {name: A, value: '2'}]".into(),
                "[{name: B}, {name: A, value: '2'}]",
            ),
            (
                "env",
                "[{name: A, value: '1'}]".into(),
                "[{name: A, value: 2}]".into(),
                "[{name: A, value: '2'}]",
            ),
            ("env", "[{name: A, value: x}]".into(), "[{name: A, value: null}]".into(), "[{name: A}]"),
            ("env", "[{name: A}, {name: B}]".into(), "[{name: A, $patch: delete}]".into(), "[{name: B}]"),
            ("env", "[{name: A}]".into(), "[{$patch: replace}, {name: B}]".into(), "[{name: B}]"),
            (
                "env",
                "[{name: A, value: x}]".into(),
                "[{name: A, $patch: replace}]".into(),
                "[{name: A, value: x}]",
            ),
            // A list that the schema does not merge is replaced.
            ("args", "[a, b]".into(), "[c]".into(), "[c]"),
            ("args", "[a]".into(), "[{$patch: merge}]".into(), "[{$patch: merge}]"),
        ] {
            let found = patched(&of(list, &old), &of(list, &patch)).unwrap();
            assert_eq!(found, read(&of(list, want)), "{list}: {old} with {patch}");
        }
    }

    #[test]
    fn fields_come_and_go() {
        for (old, patch, want) in [
            ("{nodeSelector: {a: b}}", "{nodeSelector: {$patch: delete}}", "{}"),
            ("{nodeSelector: {a: b}}", "{nodeSelector: {$patch: replace, c: d}}", "{nodeSelector: {c: d}}"),
            ("{nodeSelector: {a: b}}", "{nodeSelector: {a: null, c: d}}", "{nodeSelector: {c: d}}"),
            ("{}", "{nodeSelector: {a: null, c: d}}", "{nodeSelector: {c: d}}"),
            ("{}", "{nodeSelector: {$patch: delete}}", "{}"),
            ("{}", "{nodeSelector: {}}", "{nodeSelector: {}}"),
            ("{hostname: null}", "{hostNetwork: true}", "{hostname: null, hostNetwork: true}"),
            ("{hostname: a}", "{hostname: null}", "{}"),
            ("{containers: [{name: a}]}", "{containers: [{$patch: delete}]}", "{}"),
            ("{containers: [{name: a}]}", "{containers: [{image: i}]}", "{containers: []}"),
            ("{volumes: [{name: a}]}", "{volumes: []}", "{volumes: [{name: a}]}"),
            ("{tolerations: [{key: a}]}", "{tolerations: [{key: b}]}", "{tolerations: [{key: b}]}"),
        ] {
            assert_eq!(patched(old, patch).unwrap(), read(want), "{old} with {patch}");
        }
        for (patch, why) in [
            (
                "{nodeSelector: 5}",
                "wrong node kind: expected MappingNode but got ScalarNode: node contents:\n5",
            ),
            ("{nodeSelector: {$patch: x}}", "unknown patch strategy 'x'"),
        ] {
            assert_eq!(patched("{nodeSelector: {a: b}}", patch), Err(why.to_string()));
        }
    }

    #[test]
    fn a_patch_may_delete_its_object() {
        let mut object = read("{spec: {x: [1], finalizers: [a]}}");
        assert_eq!(apply(Shape::Free, &mut object, read("{spec: {x: [2]}}")), Ok(true));
        assert_eq!(object, read("{spec: {x: [2], finalizers: [a]}}"));
        assert_eq!(apply(Shape::Free, &mut object, read("{$patch: delete}")), Ok(false));
        let mut object = read("{metadata: {finalizers: [a, b]}}");
        let pod = kinds::find("", "v1", "Pod").map(Shape::of).unwrap();
        assert_eq!(apply(pod, &mut object, read("{metadata: {finalizers: [c, b]}}")), Ok(true));
        assert_eq!(object, read("{metadata: {finalizers: [c, b, a]}}"));
    }
}
