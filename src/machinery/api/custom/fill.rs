//! Defaulting: what the schema says where the object says nothing.

use super::schema::Schema;
use serde_json::Value;

/// Fills in defaults, from the root down: a default may itself have fields with defaults.
pub(super) fn defaults(schema: &Schema, here: &mut Value) {
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
                    defaults(inner, field);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            items.iter_mut().for_each(|item| defaults(schema, item));
        }
        _ => {}
    }
}

/// Drops nulls of fields that the schema names and that are not nullable: an empty value in YAML is
/// one. A default applies then, if there is one.
pub(super) fn nulls(schema: &Schema, here: &mut Value) {
    match here {
        Value::Object(map) => {
            map.retain(|name, field| !(field.is_null() && schema.field(name).is_some_and(|s| !s.nullable)));
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

/// True if [`nulls`] would drop something.
pub(super) fn has_nulls(schema: &Schema, here: &Value) -> bool {
    match here {
        Value::Object(map) => map.iter().any(|(name, field)| {
            schema
                .field(name)
                .is_some_and(|s| if field.is_null() { !s.nullable } else { has_nulls(s, field) })
        }),
        Value::Array(items) => schema.items.as_ref().is_some_and(|s| items.iter().any(|i| has_nulls(s, i))),
        _ => false,
    }
}
