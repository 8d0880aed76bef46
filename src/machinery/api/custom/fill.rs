//! Defaulting: what the schema says where the object says nothing.
//!
//! ```text
//! schema    items: {properties: {page: {default: "(100 kB)"}}}
//! object    items: [{}, {}, … 10 000 of them]     some 30 kB in a request
//! filled    1 GB
//! ```
//! So what defaults add has a bound, [`ADDED_MAX`], which is judged before each default is copied.

use super::schema::Schema;
use serde_json::Value;

/// Bytes, written as JSON, that defaults add to one object: as many as a request may have. The
/// store takes an object of half that size (etcd: 1.5 MB).
pub(super) const ADDED_MAX: usize = 3 << 20;

/// Defaults would add more than [`ADDED_MAX`] bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// The bytes that defaults may still add.
struct Allowance(usize);

impl Allowance {
    /// Copies a default, if there is room for it.
    fn copy(&mut self, default: &Value) -> Result<Value, TooMuch> {
        self.0 = self.0.checked_sub(text_bytes(default)).ok_or(TooMuch)?;
        Ok(default.clone())
    }
}

/// Returns about how many bytes a value has as JSON, and at least one for each value inside of it.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| text_bytes(item) + 1).sum::<usize>(),
        Value::Object(map) => {
            2 + map.iter().map(|(name, field)| name.len() + 4 + text_bytes(field)).sum::<usize>()
        }
    }
}

/// True for a null where the schema wants something else.
fn is_unwanted(schema: &Schema, here: &Value) -> bool {
    here.is_null() && !schema.nullable
}

/// Fills in defaults, from the root down: a default may itself have fields with defaults. A null
/// that is not allowed counts as nothing, also in a list and as the value of a plain map.
///
/// # Errors
/// Defaults would add too much; the object is filled in part then.
pub(super) fn defaults(schema: &Schema, here: &mut Value) -> Result<(), TooMuch> {
    fill(schema, here, &mut Allowance(ADDED_MAX))
}

fn fill(schema: &Schema, here: &mut Value, allowance: &mut Allowance) -> Result<(), TooMuch> {
    if !schema.has_defaults {
        return Ok(());
    }
    match here {
        Value::Object(map) => {
            for (name, inner) in &schema.properties {
                if let Some(default) = &inner.default
                    && map.get(name).is_none_or(|field| is_unwanted(inner, field))
                {
                    map.insert(name.clone(), allowance.copy(default)?);
                }
            }
            for (name, field) in map.iter_mut() {
                if let Some(inner) = schema.field(name) {
                    replace(inner, field, allowance)?;
                    fill(inner, field, allowance)?;
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return Ok(()) };
            for item in items {
                replace(schema, item, allowance)?;
                fill(schema, item, allowance)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Puts the default in the place of a null that is not allowed.
fn replace(schema: &Schema, here: &mut Value, allowance: &mut Allowance) -> Result<(), TooMuch> {
    if let Some(default) = schema.default.as_ref().filter(|_| is_unwanted(schema, here)) {
        *here = allowance.copy(default)?;
    }
    Ok(())
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
    fn defaults_of_many_items_stop_at_their_bound() {
        let page = json!({"type": "string", "default": "x".repeat(100_000)});
        let empty = json!({"type": "object", "default": {}, "properties": {"page": page}});
        let schema = Schema::root(&json!({"type": "object", "properties": {
            "items": {"type": "array", "items": {"type": "object", "properties": {"page": page}}},
            "nulls": {"type": "array", "items": page},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"in": empty}}},
        }}));
        let map: serde_json::Map<String, Value> = (0..10_000).map(|i| (i.to_string(), json!({}))).collect();
        for (mut object, few) in [
            (json!({"items": vec![json!({}); 10_000]}), json!({"items": vec![json!({}); 20]})),
            (json!({"nulls": vec![Value::Null; 10_000]}), json!({"nulls": vec![Value::Null; 20]})),
            (json!({"map": map}), json!({"map": {"a": {}, "b": {}}})),
        ] {
            assert_eq!(defaults(&schema, &mut object), Err(TooMuch));
            assert!(text_bytes(&object) < ADDED_MAX + 200_000, "{}", text_bytes(&object));
            let mut few = few;
            assert_eq!(defaults(&schema, &mut few), Ok(()));
            assert!(text_bytes(&few) > 200_000);
        }
    }
}
