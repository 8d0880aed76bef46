//! Defaulting: what the schema says where the object says nothing.
//!
//! ```text
//! schema    items: {properties: {page: {default: "(100 kB)"}}}
//! object    items: [{}, {}, … 10 000 of them]     some 30 kB in a request
//! filled    1 GB
//! ```
//! So an object with its defaults has a bound, [`FILLED_MAX`], which is judged before any default
//! is copied: an object gets all of its defaults or none.

use super::prune;
use super::schema::Schema;
use crate::gojson;
use serde_json::Value;

/// Bytes that an object may have in the store with its defaults. The store takes a request of 1.5
/// MiB (etcd: `--max-request-bytes`); some is left for its key, and for what later changes of
/// metadata add.
pub(super) const FILLED_MAX: usize = (3 << 19) - (64 << 10);

/// The object would have more than [`FILLED_MAX`] bytes with its defaults.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// The bytes that defaults may still add.
struct Allowance(usize);

impl Allowance {
    fn take(&mut self, bytes: usize) -> Result<(), TooMuch> {
        self.0 = self.0.checked_sub(bytes).ok_or(TooMuch)?;
        Ok(())
    }
}

/// Bytes that a field takes beside its value: its name, and that again in `metadata.managedFields`
/// (`"f:page":{},`).
fn field_bytes(name: &str) -> usize {
    2 * text_bytes(name) + 8
}

/// Bytes of a text at most, with its quotes. Of what is escaped (`\u003c`) each byte takes six.
fn text_bytes(text: &str) -> usize {
    let is_escaped = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
    text.len() + 5 * text.bytes().filter(is_escaped).count() + 2
}

/// Bytes that an item of a list takes beside its value: the comma, and its mark in
/// `metadata.managedFields` (`"k:{\"name\":…}":{".":{}},`).
const ITEM_BYTES: usize = 32;

/// Returns about how many bytes a value takes in the store, rather too many than too few, and at
/// least one for each value inside of it.
fn stored_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(number) => gojson::number(number).len(),
        Value::String(text) => text_bytes(text),
        Value::Array(items) => 2 + items.iter().map(|item| stored_bytes(item) + ITEM_BYTES).sum::<usize>(),
        Value::Object(map) => {
            2 + map.iter().map(|(name, field)| field_bytes(name) + stored_bytes(field)).sum::<usize>()
        }
    }
}

/// True for a null where the schema wants something else.
fn is_unwanted(schema: &Schema, here: &Value) -> bool {
    here.is_null() && !schema.nullable
}

/// Returns how many bytes the defaults would add that an object lacks, at most; 0 if it has all.
///
/// # Errors
/// The object would have more than [`FILLED_MAX`] bytes with them.
pub(super) fn added(schema: &Schema, here: &Value) -> Result<usize, TooMuch> {
    added_beside(schema, here, 0)
}

/// As [`added`], for an object that gets `more` bytes beside its defaults.
///
/// # Errors
/// As [`added`].
pub(super) fn added_beside(schema: &Schema, here: &Value, more: usize) -> Result<usize, TooMuch> {
    let mut left = Allowance(FILLED_MAX);
    count(schema, here, &mut left)?;
    let added = FILLED_MAX - left.0;
    if added > 0 {
        // Its own fields stand in managedFields already.
        left.take(gojson::to_vec(here).len() + more)?;
    }
    Ok(added)
}

/// Returns about how many bytes the default of a field takes, with the defaults that it lacks
/// itself; more than [`FILLED_MAX`] if no object has room for them. It is kept with the schema, so
/// that a long default is not gone through for each object.
pub(super) fn default_bytes(schema: &Schema) -> usize {
    let Some(default) = &schema.default else { return 0 };
    let mut left = Allowance(FILLED_MAX);
    match left.take(stored_bytes(default)).and_then(|()| count(schema, default, &mut left)) {
        Ok(()) => FILLED_MAX - left.0,
        Err(TooMuch) => FILLED_MAX + 1,
    }
}

/// Counts what [`fill`] would add.
fn count(schema: &Schema, here: &Value, left: &mut Allowance) -> Result<(), TooMuch> {
    if !schema.has_defaults {
        return Ok(());
    }
    match here {
        Value::Object(map) => {
            for (name, inner) in &schema.properties {
                if inner.default.is_some() && !map.contains_key(name) {
                    left.take(field_bytes(name) + inner.default_bytes)?;
                }
            }
            for (name, field) in map {
                if let Some(inner) = schema.field(name) {
                    count_place(inner, field, left)?;
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return Ok(()) };
            for item in items {
                count_place(schema, item, left)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Counts what [`fill_place`] would add.
fn count_place(schema: &Schema, here: &Value, left: &mut Allowance) -> Result<(), TooMuch> {
    match schema.default.is_some() && is_unwanted(schema, here) {
        true => left.take(schema.default_bytes),
        false => count(schema, here, left),
    }
}

/// Fills in defaults, from the root down: a default may itself have fields with defaults. A null
/// that is not allowed counts as nothing, also in a list and as the value of a plain map. Returns
/// about how many bytes were added.
///
/// # Errors
/// As [`added`]. The object is as it was then.
pub(super) fn defaults(schema: &Schema, here: &mut Value) -> Result<usize, TooMuch> {
    let added = added(schema, here)?;
    if added > 0 {
        fill(schema, here);
    }
    Ok(added)
}

/// Fills in defaults, whatever they add: [`added`] has judged that.
pub(super) fn fill(schema: &Schema, here: &mut Value) {
    if !schema.has_defaults {
        return;
    }
    match here {
        Value::Object(map) => {
            for (name, inner) in &schema.properties {
                if let Some(default) = &inner.default
                    && !map.contains_key(name)
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in map.iter_mut() {
                if let Some(inner) = schema.field(name) {
                    fill_place(inner, field);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            items.iter_mut().for_each(|item| fill_place(schema, item));
        }
        _ => {}
    }
}

/// Puts the default in the place of a null that is not allowed, and fills what is there.
fn fill_place(schema: &Schema, here: &mut Value) {
    if let Some(default) = schema.default.as_ref().filter(|_| is_unwanted(schema, here)) {
        *here = default.clone();
    }
    fill(schema, here);
}

/// Finds what stands at a path (`spec.color`) after an object was pruned, lost its nulls and, if
/// `with_defaults`, got its defaults; `null` if nothing does. Returns whether it is a default, or
/// inside of one, too.
pub(super) fn find_field<'a>(
    schema: &'a Schema,
    object: &'a Value,
    path: &str,
    with_defaults: bool,
) -> (&'a Value, bool) {
    static NULL: Value = Value::Null;
    let (mut schema, mut here, mut is_default) = (Some(schema), object, false);
    for step in path.split('.') {
        let Value::Object(map) = here else { return (&NULL, is_default) };
        let inner = schema.and_then(|schema| schema.field(step));
        let stored = map.get(step);
        let filled = match stored {
            None => schema.and_then(|schema| schema.properties.get(step)),
            Some(field) => inner.filter(|inner| is_unwanted(inner, field)),
        };
        let default = filled.and_then(|inner| inner.default.as_ref()).filter(|_| with_defaults);
        let is_kept = inner.is_some() || schema.is_none_or(|schema| prune::stays(schema, step));
        is_default |= default.is_some();
        here = match default.or(stored.filter(|_| is_kept)) {
            Some(next) => next,
            None => return (&NULL, is_default),
        };
        schema = inner;
    }
    (here, is_default)
}

/// Drops nulls of fields that the schema names, that are not nullable and have no default: an empty
/// value in YAML is one. Where there is a default, [`defaults`] puts it in.
pub(super) fn nulls(schema: &Schema, here: &mut Value) {
    match here {
        Value::Object(map) => {
            map.retain(|name, field| !schema.field(name).is_some_and(|inner| is_dropped(inner, field)));
            for (name, field) in map.iter_mut() {
                if let Some(inner) = schema.field(name) {
                    nulls(inner, field);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            items.iter_mut().for_each(|item| nulls(schema, item));
        }
        _ => {}
    }
}

fn is_dropped(schema: &Schema, here: &Value) -> bool {
    is_unwanted(schema, here) && schema.default.is_none()
}

/// True if [`nulls`] would drop something.
pub(super) fn has_nulls(schema: &Schema, here: &Value) -> bool {
    match here {
        Value::Object(map) => map.iter().any(|(name, field)| {
            schema.field(name).is_some_and(|inner| is_dropped(inner, field) || has_nulls(inner, field))
        }),
        Value::Array(items) => schema.items.as_ref().is_some_and(|s| items.iter().any(|i| has_nulls(s, i))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_give_way_to_defaults_wherever_they_stand() {
        let text = json!({"type": "string", "default": "x"});
        let schema = Schema::root(&json!({"type": "object", "properties": {
            "list": {"type": "array", "items": text},
            "map": {"type": "object", "additionalProperties": text},
            "field": text,
            "plain": {"type": "string"},
            "maps": {"type": "object", "additionalProperties": {"type": "string"}},
            "nullable": {"type": "string", "nullable": true, "default": "x"},
            "deep": {"type": "array", "items": {
                "type": "object", "default": {}, "properties": {"field": text}}},
        }}));
        let mut object = json!({
            "list": [null, "a"], "map": {"k": null, "l": "a"}, "field": null, "plain": null,
            "maps": {"k": null, "l": "a"}, "nullable": null, "deep": [null],
        });
        assert!(has_nulls(&schema, &object));
        nulls(&schema, &mut object);
        assert!(!has_nulls(&schema, &object));
        defaults(&schema, &mut object).unwrap();
        assert_eq!(
            object,
            json!({
                "list": ["x", "a"], "map": {"k": "x", "l": "a"}, "field": "x",
                "maps": {"l": "a"}, "nullable": null, "deep": [{"field": "x"}],
            })
        );
    }

    /// A small body must not become a large object.
    #[test]
    fn an_object_gets_all_of_its_defaults_or_none() {
        let page = json!({"type": "string", "default": "x".repeat(100_000)});
        let empty = json!({"type": "object", "default": {}, "properties": {"page": page}});
        let schema = Schema::root(&json!({"type": "object", "properties": {
            "items": {"type": "array", "items": {"type": "object", "properties": {"page": page}}},
            "nulls": {"type": "array", "items": page},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"in": empty}}},
        }}));
        let map: serde_json::Map<String, Value> = (0..10_000).map(|i| (i.to_string(), json!({}))).collect();
        for (mut object, mut few) in [
            (json!({"items": vec![json!({}); 10_000]}), json!({"items": vec![json!({}); 10]})),
            (json!({"nulls": vec![Value::Null; 10_000]}), json!({"nulls": vec![Value::Null; 10]})),
            (json!({"map": map}), json!({"map": {"a": {}, "b": {}}})),
        ] {
            let before = object.clone();
            assert_eq!(defaults(&schema, &mut object), Err(TooMuch));
            assert_eq!(object, before);
            let bytes = defaults(&schema, &mut few).unwrap();
            let length = few.to_string().len();
            assert!(length > 200_000 && (length - 200..length + 500).contains(&bytes), "{bytes} of {length}");
            assert_eq!(defaults(&schema, &mut few), Ok(0), "it has them all");
        }
    }

    /// What counts is what the store gets: the object's own bytes, and texts as they are escaped.
    #[test]
    fn the_bound_is_on_the_whole_object_as_it_is_stored() {
        let with = |default: String| {
            Schema::root(&json!({"type": "object", "properties": {
                "page": {"type": "string", "default": default}, "own": {"type": "string"}}}))
        };
        let own = |bytes: usize| json!({"own": "x".repeat(bytes)});
        let half = with("x".repeat(FILLED_MAX / 2));
        assert!(added(&half, &own(FILLED_MAX / 2 - 1000)).is_ok());
        assert_eq!(added(&half, &own(FILLED_MAX / 2)), Err(TooMuch));
        assert_eq!(added(&half, &json!({"page": "", "own": "x".repeat(FILLED_MAX)})), Ok(0));
        assert_eq!(added(&with("<".repeat(FILLED_MAX / 6)), &json!({})), Err(TooMuch));
    }
}
