//! What the functions that Kubernetes adds to CEL are called with, and the texts that they return.

use cel::Value;
use std::sync::Arc;

/// A function: what it makes of its arguments, or why it cannot.
pub(super) type Run = fn(&[Value]) -> Result<Value, String>;

/// Returns the text among the arguments at this index, counted from 0.
///
/// # Errors
/// Upstream's message if it is missing or no text.
pub(super) fn word(values: &[Value], at: usize) -> Result<&str, String> {
    match values.get(at) {
        Some(Value::String(s)) => Ok(s),
        _ => Err("no such overload".into()),
    }
}

/// Returns a text as a value.
pub(super) fn text(s: &str) -> Value {
    Value::String(Arc::new(s.to_string()))
}
