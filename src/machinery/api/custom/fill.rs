//! Defaulting: what the schema says where the object says nothing.

use super::schema::Schema;
use serde_json::Value;

/// True for a null where the schema wants something else.
fn is_unwanted(schema: &Schema, here: &Value) -> bool {
    here.is_null() && !schema.nullable
}

/// Fills in defaults, from the root down: a default may itself have fields with defaults. A null
/// that is not allowed counts as nothing, also in a list and as the value of a plain map.
pub(super) fn defaults(schema: &Schema, here: &mut Value) {
    if !schema.has_defaults {
        return;
    }
    match here {
        Value::Object(map) => {
            for (name, inner) in &schema.properties {
                if let Some(default) = &inner.default
                    && map.get(name).is_none_or(|field| is_unwanted(inner, field))
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in map.iter_mut() {
                if let Some(inner) = schema.field(name) {
                    replace(inner, field);
                    defaults(inner, field);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                replace(schema, item);
                defaults(schema, item);
            }
        }
        _ => {}
    }
}

/// Puts the default in the place of a null that is not allowed.
fn replace(schema: &Schema, here: &mut Value) {
    if let Some(default) = schema.default.as_ref().filter(|_| is_unwanted(schema, here)) {
        *here = default.clone();
    }
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
        defaults(&schema, &mut object);
        assert_eq!(
            object,
            json!({
                "list": ["x", "a"], "map": {"k": "x", "l": "a"}, "field": "x",
                "maps": {"l": "a"}, "nullable": null, "deep": [{"field": "x"}],
            })
        );
    }
}
