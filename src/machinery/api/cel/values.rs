//! Values of JSON as expressions see them, and the names of their fields.

use super::arguments::text;
use super::language::RESERVED;
use cel::Value;
use cel::objects::{Key, Map, OptionalValue};
use serde_json::Value as Json;
use std::sync::Arc;

/// Returns a field's name as expressions write it: `__dot__` for a dot, `__namespace__` for a
/// reserved word. `None` if it cannot be written.
pub(crate) fn escaped(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let starts = name.chars().next()?;
    if !(starts.is_ascii_alphabetic() || starts == '_') {
        return None;
    }
    let mut out = String::new();
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let word = match c {
            '_' if rest.starts_with("__") => "__underscores__",
            '.' => "__dot__",
            '-' => "__dash__",
            '/' => "__slash__",
            c if c.is_ascii_alphanumeric() || c == '_' => "",
            _ => return None,
        };
        let taken = if word == "__underscores__" { 2 } else { c.len_utf8() };
        out.push_str(if word.is_empty() { &rest[..taken] } else { word });
        rest = &rest[taken..];
    }
    Some(out)
}

/// Returns a value as it stands: without a schema.
pub(crate) fn plain(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => {
            n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or_default()), Value::Int)
        }
        Json::String(s) => text(s),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(plain).collect())),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(k, v)| (Key::String(Arc::new(k.clone())), plain(v)));
            Value::Map(Map { map: Arc::new(fields.collect()) })
        }
    }
}

/// Returns an optional, which holds a value or nothing: `oldSelf` of a rule that is asked about new
/// values, too.
pub(crate) fn optional(value: Option<Value>) -> Value {
    Value::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}
