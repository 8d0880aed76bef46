//! Pruning: fields that the schema does not name go, and are told.

use super::schema::{ENVELOPE, Schema};
use crate::api::path::{Path, UnknownFields};
use serde_json::Value;

/// Prunes a whole object; adds what went: `spec.foo`.
pub fn prune(schema: &Schema, object: &mut Value, unknown: &mut UnknownFields) {
    value(schema, object, Path::Root, unknown);
}

fn value(schema: &Schema, here: &mut Value, path: Path, unknown: &mut UnknownFields) {
    match here {
        Value::Object(map) => {
            // One pass: to remove each field for itself would move all fields behind it.
            map.retain(|name, field| match schema.field(name) {
                Some(inner) => {
                    if !(schema.embedded && name == "metadata") {
                        value(inner, field, path.field(name), unknown);
                    }
                    true
                }
                None if schema.preserve || schema.embedded && ENVELOPE.contains(&name.as_str()) => true,
                None => {
                    unknown.add(path.field(name));
                    false
                }
            });
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for (i, item) in items.iter_mut().enumerate() {
                value(schema, item, path.item(i), unknown);
            }
        }
        _ => {}
    }
}
