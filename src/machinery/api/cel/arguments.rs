//! What the functions that Kubernetes adds to CEL are called with, and the texts that they return.

use cel::Value;
use std::sync::Arc;

/// The error of a call whose arguments are of other types than the function takes.
pub(crate) const NO_OVERLOAD: &str = "no such overload";

/// The body of a function: it returns its result, or the message of an error.
pub(crate) type Run = fn(&[Value]) -> Result<Value, String>;

/// Returns the text among the arguments at this index, counted from 0.
///
/// # Errors
/// Upstream's message if it is missing or no text.
pub(crate) fn word(values: &[Value], at: usize) -> Result<&str, String> {
    match values.get(at) {
        Some(Value::String(s)) => Ok(s),
        _ => Err(NO_OVERLOAD.into()),
    }
}

/// Returns a text as a value.
pub(crate) fn text(s: &str) -> Value {
    Value::String(Arc::new(s.to_string()))
}
