//! Defaulting: what the schema says where the object says nothing.

use super::schema::Schema;
use serde_json::Value;

/// Fills in defaults, from the root down: a default may itself have fields with defaults.
pub fn defaults(schema: &Schema, here: &mut Value) {
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

/// A null where null is not allowed and there is a default counts as nothing said.
pub fn nulls(schema: &Schema, here: &mut Value) {
    if !schema.has_defaults {
        return;
    }
    match here {
        Value::Object(map) => {
            map.retain(|name, field| {
                let drops = |s: &Schema| s.default.is_some() && !s.nullable;
                !(field.is_null() && schema.field(name).is_some_and(drops))
            });
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
