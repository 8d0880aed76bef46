//! Values typed by their schema, as expressions of CEL see them.

use super::arguments::text;
use super::formats;
use super::schema::{ENVELOPE, Schema, Type};
use cel::Value;
use cel::objects::{Key, Map, OptionalValue};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;

/// Words that are no names in CEL.
pub(crate) const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A field's name as expressions write it: `__dot__` for a dot, `__namespace__` for a reserved
/// word. `None` if it cannot be written.
pub(super) fn escaped(name: &str) -> Option<String> {
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

/// Returns a value with the types of its schema, for rules.
pub(super) fn typed_value(schema: &Schema, json: &Json) -> Value {
    match json {
        Json::Object(fields) => {
            let mut map = HashMap::new();
            for (name, field) in fields {
                let typed = |inner: &Schema| typed_value(inner, field);
                let entry = match schema.properties.get(name) {
                    // Also where the schema says `metadata: {type: object}`, as most do.
                    _ if schema.embedded && ENVELOPE.contains(&name.as_str()) => {
                        Some((name.clone(), plain(&envelope(name, field))))
                    }
                    // Rules see a nullable field that is null as one that is missing.
                    Some(inner) if field.is_null() && inner.nullable => None,
                    Some(inner) => escaped(name).map(|name| (name, typed(inner))),
                    None => match &schema.additional {
                        Some(inner) => Some((name.clone(), typed(inner))),
                        None => schema.properties.is_empty().then(|| (name.clone(), plain(field))),
                    },
                };
                if let Some((name, value)) = entry {
                    map.insert(Key::String(Arc::new(name)), value);
                }
            }
            Value::Map(Map { map: Arc::new(map) })
        }
        Json::Array(items) => {
            let item =
                |item: &Json| schema.items.as_ref().map_or_else(|| plain(item), |s| typed_value(s, item));
            Value::List(Arc::new(items.iter().map(item).collect()))
        }
        Json::String(text) => typed(&schema.format, text),
        Json::Number(n) if schema.kind == Type::Number => Value::Float(n.as_f64().unwrap_or_default()),
        Json::Number(n) if schema.kind == Type::Integer => {
            Value::Int(n.as_i64().or(n.as_f64().map(|f| f as i64)).unwrap_or_default())
        }
        other => plain(other),
    }
}

/// Of an object's metadata rules see only its name.
fn envelope(name: &str, field: &Json) -> Json {
    match (name, field) {
        ("metadata", Json::Object(all)) => {
            let seen = all.iter().filter(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
            Json::Object(seen.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        _ => field.clone(),
    }
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

/// A text that its format makes a time, a duration or bytes.
fn typed(format: &str, said: &str) -> Value {
    let time = |at: jiff::Timestamp| {
        let utc = chrono::DateTime::from_timestamp(at.as_second(), at.subsec_nanosecond().max(0) as u32);
        utc.map(|utc| Value::Timestamp(utc.fixed_offset()))
    };
    let found = match format {
        "date-time" => said.parse().ok().and_then(time),
        "date" => format!("{said}T00:00:00Z").parse().ok().and_then(time),
        "duration" => formats::duration(said).map(chrono::Duration::nanoseconds).map(Value::Duration),
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(said).ok().map(|b| Value::Bytes(Arc::new(b)))
        }
        _ => None,
    };
    found.unwrap_or_else(|| text(said))
}

/// `oldSelf` of a rule that is asked for new values, too.
pub(super) fn optional(value: Option<Value>) -> Value {
    Value::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}
