//! Prunes fields that the schema does not name and returns their paths.

use super::schema::{ENVELOPE, Schema};
use crate::path::{Path, UnknownFields};
use serde_json::Value;
use std::sync::LazyLock;

/// The schema of a value of which nothing is known, as `additionalProperties: true` allows it: the
/// value stays, and its fields are pruned.
static NOTHING: LazyLock<Schema> = LazyLock::new(Schema::default);

/// Prunes a whole object, and adds the paths of the fields that were removed: `spec.foo`.
pub(super) fn prune(schema: &Schema, object: &mut Value, unknown: &mut UnknownFields) {
    prune_value(schema, object, Path::Root, unknown);
}

/// Removes the unknown fields of a value and of all that is inside of it.
fn prune_value(schema: &Schema, here: &mut Value, path: Path, unknown: &mut UnknownFields) {
    match here {
        Value::Object(map) => {
            // One pass: to remove one field moves all fields behind it.
            map.retain(|name, field| match schema.field(name) {
                Some(inner) => {
                    if !(schema.embedded && name == "metadata") {
                        prune_value(inner, field, path.field(name), unknown);
                    }
                    true
                }
                None if stays(schema, name) => true,
                None => {
                    unknown.add(path.field(name));
                    false
                }
            });
        }
        Value::Array(items) => {
            let Some(inner) = items_of(schema) else { return };
            for (i, item) in items.iter_mut().enumerate() {
                prune_value(inner, item, path.item(i), unknown);
            }
        }
        _ => {}
    }
}

/// Returns the schema of a list's items; `None` if they stay as they are.
fn items_of(schema: &Schema) -> Option<&Schema> {
    schema.items.as_deref().or_else(|| (!schema.preserve).then(|| &*NOTHING))
}

/// True if a field stays although the schema does not name it.
pub(super) fn stays(schema: &Schema, name: &str) -> bool {
    schema.preserve || schema.embedded && ENVELOPE.contains(&name)
}

/// True if [`prune`] would leave the value as it is.
pub(super) fn is_pruned(schema: &Schema, here: &Value) -> bool {
    match here {
        Value::Object(map) => map.iter().all(|(name, field)| match schema.field(name) {
            Some(_) if schema.embedded && name == "metadata" => true,
            Some(inner) => is_pruned(inner, field),
            None => stays(schema, name),
        }),
        Value::Array(items) => items_of(schema).is_none_or(|s| items.iter().all(|i| is_pruned(s, i))),
        _ => true,
    }
}
