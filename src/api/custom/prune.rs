//! Pruning: fields that the schema does not name go, and are told.

use super::schema::{ENVELOPE, Schema, below};
use serde_json::Value;

/// Prunes a whole object; appends what went: `spec.foo`.
pub fn prune(schema: &Schema, object: &mut Value, unknown: &mut Vec<String>) {
    value(schema, object, "", unknown);
}

fn value(schema: &Schema, here: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match here {
        Value::Object(map) => {
            let mut pruned = vec![];
            for (name, field) in map.iter_mut() {
                if let Some(inner) = schema.field(name) {
                    if !(schema.embedded && name == "metadata") {
                        value(inner, field, &below(path, name), unknown);
                    }
                } else if !(schema.preserve || schema.embedded && ENVELOPE.contains(&name.as_str())) {
                    unknown.push(below(path, name));
                    pruned.push(name.clone());
                }
            }
            pruned.iter().for_each(|name| drop(map.shift_remove(name)));
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for (i, item) in items.iter_mut().enumerate() {
                value(schema, item, &format!("{path}[{i}]"), unknown);
            }
        }
        _ => {}
    }
}
