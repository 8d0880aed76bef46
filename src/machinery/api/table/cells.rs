//! Printer columns: what the kinds and the definitions of custom kinds print their cells with.

use crate::duration;
use crate::labels::Selector;
use crate::value::{self, at, list, text};
use clock::Timestamp;
use serde_json::Value;

/// `(name, type, wide?)`
pub type Column = (&'static str, &'static str, bool);

/// How objects of a kind become rows. Cells come in the order of the columns, wide ones too.
pub struct Printer {
    /// The headings in order.
    pub columns: &'static [Column],
    /// The cells of one object, as many as there are columns; the time is now, for ages.
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
    /// `conditions` of an object's row: kubectl takes a pod that has ended for completed.
    pub conditions: Option<fn(&Value) -> Value>,
}

/// Returns the description that clients read beside a column of this name; most have none.
pub(crate) fn describe(column: &str) -> &'static str {
    match column {
        "Name" => {
            "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
        }
        "Age" | "Created At" => {
            "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
        }
        _ => "",
    }
}

pub(crate) fn name(object: &Value) -> Value {
    at(object, "metadata.name").clone()
}

/// Returns the cell of a number; 0 if it is not there.
pub(crate) fn number(object: &Value, path: &str) -> Value {
    value::int(object, path).unwrap_or(0).into()
}

/// Returns the text at `path`, or `other`.
pub(crate) fn text_or<'a>(object: &'a Value, path: &str, other: &'a str) -> &'a str {
    match text(object, path) {
        "" => other,
        s => s,
    }
}

pub(crate) fn age(object: &Value, now: Timestamp) -> Value {
    since(text(object, "metadata.creationTimestamp"), now).into()
}

/// Returns the age of a time in RFC 3339: `5m`; `<unknown>` if it is none.
pub(crate) fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => duration::human(now.duration_since(then).as_secs()),
        Err(_) => "<unknown>".to_string(),
    }
}

/// Returns the labels at `path`: `a=b,c=d`, or `<none>`.
pub(crate) fn labels(object: &Value, path: &str) -> String {
    let mut pairs: Vec<String> = value::pairs(object, path).map(|(k, v)| format!("{k}={v}")).collect();
    pairs.sort();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

/// Returns a LabelSelector as text, `empty` if there is nothing in it.
pub(crate) fn selector(object: &Value, path: &str, empty: &str) -> String {
    match Selector::of(at(object, path)) {
        Some(s) if !s.is_empty() => s.to_string(),
        _ => empty.into(),
    }
}

/// Returns the cells `Containers` and `Images` of a pod spec.
pub(crate) fn containers(object: &Value, path: &str) -> (Value, Value) {
    let all = list(object, path);
    let join = |field: &str| all.iter().map(|c| text(c, field)).collect::<Vec<_>>().join(",");
    (join("name").into(), join("image").into())
}

/// Returns the first `max` items joined by commas, then how many more there are.
pub(crate) fn first_items(items: &[String], max: usize, none: &str) -> String {
    match items.len() {
        0 => none.to_string(),
        n if n > max => format!("{} + {} more...", items[..max].join(","), n - max),
        _ => items.join(","),
    }
}
