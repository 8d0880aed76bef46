//! What validation finds: one entry per field, in the words of `field.Error`.

use serde_json::{Value, json};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    Required,
    Invalid,
    Duplicate,
    NotSupported,
    Forbidden,
    NotFound,
    TooLong,
    TooMany,
    TypeInvalid,
}

impl ErrorKind {
    /// Rules are not checked over values that are not what their schema says.
    pub fn hides_rules(self) -> bool {
        matches!(self, ErrorKind::Required | ErrorKind::TooLong | ErrorKind::TooMany | ErrorKind::TypeInvalid)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub kind: ErrorKind,
    /// `spec.containers[0].name`
    pub field: String,
    /// Everything after the field.
    pub body: String,
}

impl FieldError {
    /// An entry of `details.causes`.
    pub fn cause(&self) -> Value {
        let reason = match self.kind {
            ErrorKind::Required => "FieldValueRequired",
            ErrorKind::Invalid => "FieldValueInvalid",
            ErrorKind::Duplicate => "FieldValueDuplicate",
            ErrorKind::NotSupported => "FieldValueNotSupported",
            ErrorKind::Forbidden => "FieldValueForbidden",
            ErrorKind::NotFound => "FieldValueNotFound",
            ErrorKind::TooLong => "FieldValueTooLong",
            ErrorKind::TooMany => "FieldValueTooMany",
            ErrorKind::TypeInvalid => "FieldValueTypeInvalid",
        };
        json!({"reason": reason, "message": self.body, "field": self.field})
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body)
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => format!("{s:?}"),
        Value::Null => "null".to_string(),
        other => other.to_string(),
    }
}

fn join(head: String, detail: &str) -> String {
    if detail.is_empty() { head } else { format!("{head}: {detail}") }
}

/// The errors of one object, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors(pub Vec<FieldError>);

impl Errors {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn push(&mut self, kind: ErrorKind, field: impl Into<String>, body: String) {
        self.0.push(FieldError { kind, field: field.into(), body });
    }
    pub fn required(&mut self, field: impl Into<String>, detail: &str) {
        self.push(ErrorKind::Required, field, join("Required value".into(), detail));
    }
    pub fn invalid(&mut self, field: impl Into<String>, value: &Value, detail: &str) {
        self.push(ErrorKind::Invalid, field, join(format!("Invalid value: {}", shown(value)), detail));
    }
    /// As [`Errors::invalid`], for a value that is text.
    pub fn invalid_text(&mut self, field: impl Into<String>, text: &str, detail: &str) {
        self.push(ErrorKind::Invalid, field, join(format!("Invalid value: {text:?}"), detail));
    }
    pub fn duplicate(&mut self, field: impl Into<String>, value: &Value) {
        self.push(ErrorKind::Duplicate, field, format!("Duplicate value: {}", shown(value)));
    }
    pub fn not_supported(&mut self, field: impl Into<String>, value: &Value, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let body = format!("Unsupported value: {}: supported values: {}", shown(value), list.join(", "));
        self.push(ErrorKind::NotSupported, field, body);
    }
    pub fn forbidden(&mut self, field: impl Into<String>, detail: &str) {
        self.push(ErrorKind::Forbidden, field, join("Forbidden".into(), detail));
    }
    pub fn not_found(&mut self, field: impl Into<String>, value: &Value) {
        self.push(ErrorKind::NotFound, field, format!("Not found: {}", shown(value)));
    }
    /// A value of the wrong type; `found` is the name of its own.
    pub fn type_invalid(&mut self, field: impl Into<String>, found: &str, detail: &str) {
        self.push(ErrorKind::TypeInvalid, field, join(format!("Invalid value: {found:?}"), detail));
    }
    pub fn too_many(&mut self, field: impl Into<String>, found: usize, max: u64) {
        let items = if max == 1 { "item" } else { "items" };
        let body = format!("Too many: {found}: must have at most {max} {items}");
        self.push(ErrorKind::TooMany, field, body);
    }
    pub fn too_long(&mut self, field: impl Into<String>, max: usize) {
        self.push(ErrorKind::TooLong, field, format!("Too long: may not be more than {max} bytes"));
    }
}
