//! Values as a template sees and prints them, and the error of one that prints too much.

use api::gostr;
use serde_json::Value;

/// Why a template is given up.
pub(super) const TOO_MUCH: &str = "the template prints too much, or runs for too long";

/// The truth of a value for `if` and `and`.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

/// The text of a value in the output of a template.
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        other => gostr::plain(other),
    }
}
