//! Objects inside an object: a pod template in a custom resource has metadata of its own, of the
//! type that all metadata has.

use super::schema::Schema;
use crate::errors::Errors;
use crate::path::{Path, UnknownFields};
use crate::published::OBJECT_META;
use crate::schema::decode;
use crate::validate::fields::labels;
use crate::validate::names;
use crate::value::text;
use serde_json::Value;

/// Prunes the metadata of objects inside of `here`; adds what went. The root's own is not looked
/// at.
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

/// Judges what every object says of itself: its version, its kind, its name and labels.
pub(super) fn judge(here: &Value, path: Path, errors: &mut Errors) {
    let field = |name: &str| path.field(name).to_string();
    match here.get("apiVersion").and_then(Value::as_str) {
        None => errors.required(field("apiVersion"), ""),
        Some("") => errors.invalid_text(field("apiVersion"), "", "must not be empty"),
        Some(version) if version.matches('/').count() > 1 => {
            let why = format!("unexpected GroupVersion string: {version}");
            errors.invalid_text(field("apiVersion"), version, &why);
        }
        Some(_) => {}
    }
    match here.get("kind").and_then(Value::as_str) {
        None => errors.required(field("kind"), ""),
        Some("") => errors.invalid_text(field("kind"), "", "must not be empty"),
        Some(kind) => {
            for problem in names::dns_1035(&kind.to_lowercase()) {
                let why = format!("may have mixed case, but should otherwise match: {problem}");
                errors.invalid_text(field("kind"), kind, &why);
            }
        }
    }
    for problem in names::path_segment(text(here, "metadata.name")) {
        errors.invalid_text(field("metadata.name"), text(here, "metadata.name"), &problem);
    }
    labels(here, "metadata.labels", &field("metadata.labels"), errors);
}
