//! JSON to the values of expressions, and values to text for people.

use cel::Value;
use cel::objects::{Key, Map};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;

/// A JSON document as a CEL value. Whole numbers become `int`, others `double`.
pub(crate) fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match n.as_i64() {
            Some(i) => Value::Int(i),
            None => Value::Float(n.as_f64().unwrap_or_default()),
        },
        Json::String(s) => text(s),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(of_json).collect())),
        Json::Object(fields) => map(fields.iter().map(|(k, v)| (k.as_str(), of_json(v)))),
    }
}

/// The reverse: an object as JSON. What JSON does not know becomes text.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => Json::from(*i),
        Value::UInt(u) => Json::from(*u),
        Value::Float(f) => Json::from(*f),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(fields) => fields.map.iter().map(|(k, v)| (key(k), to_json(v))).collect(),
        other => show(other).into(),
    }
}

/// A string.
pub(crate) fn text(s: &str) -> Value {
    Value::String(Arc::new(s.to_string()))
}

/// A list.
pub(crate) fn list(items: Vec<Value>) -> Value {
    Value::List(Arc::new(items))
}

/// A map with string keys; of two fields of one name the later one counts.
pub(crate) fn map<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let fields = fields.into_iter().map(|(k, v)| (Key::String(Arc::new(k.to_string())), v));
    Value::Map(Map { map: Arc::new(fields.collect::<HashMap<_, _>>()) })
}

/// A map without fields.
pub(crate) fn empty() -> Value {
    map([])
}

/// A moment, as CEL's `timestamp`.
pub(crate) fn time(at: jiff::Timestamp) -> Value {
    let utc = chrono::DateTime::from_timestamp(at.as_second(), at.subsec_nanosecond().max(0) as u32);
    utc.map_or(Value::Null, |utc| Value::Timestamp(utc.fixed_offset()))
}

/// Returns a copy of a map with one field set.
pub(crate) fn with(value: &Value, name: &str, to: Value) -> Value {
    let mut fields = match value {
        Value::Map(map) => (*map.map).clone(),
        _ => HashMap::new(),
    };
    fields.insert(Key::String(Arc::new(name.to_string())), to);
    Value::Map(Map { map: Arc::new(fields) })
}

/// A field of a map; `None` if it is no map or has no such field.
pub(crate) fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Map(map) => map.map.get(&Key::String(Arc::new(name.to_string()))),
        _ => None,
    }
}

/// The text of a string field; empty if there is none.
pub(crate) fn str_field<'a>(value: &'a Value, name: &str) -> &'a str {
    match field(value, name) {
        Some(Value::String(s)) => s,
        _ => "",
    }
}

/// The number of an `int` field; 0 if there is none.
pub(crate) fn int_field(value: &Value, name: &str) -> i64 {
    match field(value, name) {
        Some(Value::Int(i)) => *i,
        _ => 0,
    }
}

/// `a.b.0.c` in a value. The longest key that fits is taken at each step, so that keys with dots
/// (labels) are found too.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(value);
    }
    match value {
        Value::Map(_) => {
            let mut ends: Vec<usize> = path.match_indices('.').map(|(i, _)| i).chain([path.len()]).collect();
            ends.reverse();
            ends.into_iter().find_map(|end| {
                let inner = field(value, &path[..end])?;
                at(inner, path.get(end + 1..).unwrap_or(""))
            })
        }
        Value::List(items) => {
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            at(items.get(first.parse::<usize>().ok()?)?, rest)
        }
        _ => None,
    }
}

/// For people: strings bare, labels as `a=b,c=d`, the rest as JSON.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(s) => s.to_string(),
        Value::Int(i) => i.to_string(),
        Value::UInt(u) => u.to_string(),
        Value::Float(f) => f.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Null => String::new(),
        Value::Duration(d) => millis(d.num_nanoseconds().unwrap_or(i64::MAX) as f64 / 1e6),
        Value::Timestamp(t) => t.format("%H:%M:%S").to_string(),
        Value::List(items) => items.iter().map(show).collect::<Vec<_>>().join(", "),
        Value::Map(fields) => {
            let mut all: Vec<String> =
                fields.map.iter().map(|(k, v)| format!("{}={}", key(k), show(v))).collect();
            all.sort();
            all.join(",")
        }
        _ => String::new(),
    }
}

fn key(key: &Key) -> String {
    match key {
        Key::String(s) => s.to_string(),
        Key::Int(i) => i.to_string(),
        Key::Uint(u) => u.to_string(),
        Key::Bool(b) => b.to_string(),
    }
}

/// `0.4 ms`, `21 ms`, `1.24 s`: as many digits as a person reads.
pub(crate) fn millis(ms: f64) -> String {
    match ms {
        // A rounded zero would read as "not measured".
        ms if ms > 0.0 && ms < 0.05 => "<0.1 ms".into(),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_through_lists_and_keys_with_dots() {
        let o = of_json(&json!({"m": {"labels": {"a.b/c": "x", "a": 1}}, "l": [{"n": 7}]}));
        assert_eq!(at(&o, "m.labels.a.b/c"), Some(&text("x")));
        assert_eq!(at(&o, "m.labels.a"), Some(&Value::Int(1)));
        assert_eq!(at(&o, "l.0.n"), Some(&Value::Int(7)));
        assert_eq!(at(&o, "l.1.n"), None);
        assert_eq!(at(&o, "l.x"), None);
        assert_eq!(at(&o, "m.nothing.here"), None);
    }

    #[test]
    fn values_are_shown_as_people_write_them() {
        assert_eq!(show(&of_json(&json!({"b": "2", "a": "1"}))), "a=1,b=2");
        assert_eq!(millis(3.12), "3.1 ms");
        assert_eq!(millis(21.4), "21 ms");
        assert_eq!(millis(1240.0), "1.24 s");
    }
}
