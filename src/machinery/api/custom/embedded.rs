//! Objects inside an object: a pod template in a custom resource has metadata of its own, of the
//! type that all metadata has.

use super::schema::Schema;
use crate::errors::{Errors, FieldError};
use crate::path::{Path, UnknownFields};
use crate::published::OBJECT_META;
use crate::schema::decode;
use crate::validate::{self, names};
use serde_json::Value;

/// Prunes the metadata of objects inside of `here`, and adds the paths of the fields that were
/// removed. The metadata of the root is left alone.
///
/// # Errors
/// Metadata that cannot be read.
pub(super) fn conform(
    schema: &Schema,
    here: &mut Value,
    path: Path,
    unknown: &mut UnknownFields,
) -> Result<(), String> {
    if !schema.has_embedded {
        return Ok(());
    }
    let is_inner = schema.embedded && !path.is_root();
    match here {
        Value::Object(map) => {
            if let Some(metadata) = map.get_mut("metadata").filter(|m| is_inner && !m.is_null()) {
                let place = path.field("metadata").to_string();
                let found =
                    decode::conform_named(OBJECT_META, metadata).map_err(|e| format!("{place}: {e}"))?;
                unknown.add_below(&place, found);
            }
            for (name, field) in map.iter_mut().filter(|(name, _)| !(is_inner && *name == "metadata")) {
                if let Some(inner) = schema.field(name) {
                    conform(inner, field, path.field(name), unknown)?;
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return Ok(()) };
            for (i, item) in items.iter_mut().enumerate() {
                conform(schema, item, path.item(i), unknown)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Judges the version, the kind and the metadata of an object inside another one
/// (`validateEmbeddedResource` upstream).
pub(super) fn judge(here: &Value, path: Path, errors: &mut Errors) {
    for name in ["apiVersion", "kind"] {
        let field = path.field(name).to_string();
        match here.get(name) {
            None => errors.required(field, ""),
            Some(Value::String(word)) if word.is_empty() => errors.required(field, ""),
            Some(Value::String(version)) if name == "apiVersion" => {
                if version.matches('/').count() > 1 {
                    let why = format!("unexpected GroupVersion string: {version}");
                    errors.invalid_text(field, version, &why);
                }
            }
            Some(Value::String(kind)) => {
                let problems = names::dns_1035(&kind.to_lowercase());
                if !problems.is_empty() {
                    let why =
                        format!("may have mixed case, but should otherwise match: {}", problems.join(","));
                    errors.invalid_text(field, kind, &why);
                }
            }
            Some(other) => errors.invalid(field, other, "must be a string"),
        }
    }
    let mut own = Errors::default();
    validate::metadata_inside(here, &mut own);
    for error in own {
        errors.add(FieldError { field: path.field(&error.field).to_string(), ..error });
    }
}
