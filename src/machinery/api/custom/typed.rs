//! Values typed by their schema, as the rules of a definition see them.

use super::formats;
use super::schema::{ENVELOPE, Schema, Type};
use crate::cel::arguments::text;
use crate::cel::values::{escaped, plain};
use crate::gotime::{self, Moment};
use cel::Value;
use cel::objects::{Key, Map, Opaque};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;

/// Returns a value with the types of its schema, for rules.
pub(super) fn typed_value(schema: &Schema, json: &Json) -> Value {
    match json {
        Json::Object(fields) => {
            let mut map = HashMap::new();
            for (name, field) in fields {
                let typed = |inner: &Schema| typed_value(inner, field);
                let entry = match schema.properties.get(name) {
                    // Also if the schema has `metadata: {type: object}`, as most have.
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

/// Returns `apiVersion`, `kind` or `metadata` of an object as rules see it. Of the metadata they
/// see only `name` and `generateName`.
fn envelope(name: &str, field: &Json) -> Json {
    match (name, field) {
        ("metadata", Json::Object(all)) => {
            let seen = all.iter().filter(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
            Json::Object(seen.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        _ => field.clone(),
    }
}

/// Stands for a text of the format `date-time` that passes the format's pattern and is no time
/// (upstream: `types.NewErr`). No function takes it, so a rule that reads it fails. Two things
/// differ from an error: it equals nothing but another one, and a rule may hand it on.
#[derive(Debug, PartialEq, Eq)]
struct NoTime;

impl Opaque for NoTime {
    fn runtime_type_name(&self) -> &str {
        "error"
    }
}

/// Returns a text as a time, a duration or bytes if it has that format, or else as a text.
fn typed(format: &str, source: &str) -> Value {
    let time = |at: Moment| {
        let utc = chrono::DateTime::from_timestamp(at.seconds, at.nanos);
        utc.map(|utc| Value::Timestamp(utc.fixed_offset()))
    };
    let found = match format {
        "date-time" => {
            let read = gotime::parse_date_time(source).and_then(time);
            Some(read.unwrap_or_else(|| Value::Opaque(Arc::new(NoTime))))
        }
        "date" => gotime::parse_date(source).and_then(time),
        "duration" => formats::duration(source).map(chrono::Duration::nanoseconds).map(Value::Duration),
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(source).ok().map(|b| Value::Bytes(Arc::new(b)))
        }
        _ => None,
    };
    found.unwrap_or_else(|| text(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text with small letters passes the format, and `ParseDateTime` does not read it.
    #[test]
    fn a_time_is_one_that_upstream_reads() {
        let seconds = |format: &str, source: &str| match typed(format, source) {
            Value::Timestamp(time) => Some(time.timestamp()),
            _ => None,
        };
        for (source, want) in [
            ("1970-01-01T00:00:01Z", Some(1)),
            ("1970-01-02T00:00:01+24:00", Some(1)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799)),
            ("1970-01-01t00:00:01z", None),
            ("1970-01-01T00:00:01;5Z", None),
            ("1970-01-01T00:00:01+99:00", None),
        ] {
            assert!(formats::fits("datetime", source), "{source}");
            assert_eq!(seconds("date-time", source), want, "{source}");
        }
        assert!(matches!(typed("date-time", "1970-01-01t00:00:01z"), Value::Opaque(_)));
        assert_eq!(seconds("date", "9999-12-31"), Some(253_402_214_400));
    }
}
