//! What validation finds: one entry per field, in the words of `field.Error`.

use super::gostr;
use super::path::{PATH_MAX, cut};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fmt;

/// Errors of one object that are reported. Further ones are not looked for, or are dropped.
const ERRORS_MAX: usize = 200;
/// Bytes of one error's text: a value that is shown may be as large as a request.
const BODY_MAX: usize = 16 << 10;
/// Bytes of a value in a message: the message also has room for what is wrong with the value.
const VALUE_MAX: usize = BODY_MAX / 2;
/// Bytes of all errors of an object. The last one may go over it.
const TOTAL_MAX: usize = 256 << 10;

/// Why a field is refused, as upstream's `field.ErrorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It is missing, or empty.
    Required,
    /// Its value breaks a rule, which the message names.
    Invalid,
    /// Another item of the list has the same key.
    Duplicate,
    /// It is none of the values that the message lists.
    NotSupported,
    /// It may not be set here, or not be changed.
    Forbidden,
    /// It names something that the object does not have.
    NotFound,
    /// Its text has too many characters or bytes.
    TooLong,
    /// Its list has too many items.
    TooMany,
    /// Its value has another type than the field, for example a text in place of a number.
    TypeInvalid,
}

impl ErrorKind {
    /// Rules are not checked over values that are not what their schema says (`hasBlockingErr`
    /// upstream).
    pub(crate) fn hides_rules(self) -> bool {
        use ErrorKind::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
        matches!(self, NotSupported | Required | TooLong | TooMany | TypeInvalid)
    }
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Why it is refused.
    pub kind: ErrorKind,
    /// `spec.containers[0].name`
    pub field: String,
    /// Everything after the field.
    pub body: String,
}

impl FieldError {
    /// Returns an entry of `details.causes`.
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

/// Returns the beginning of a text, long enough that its end is cut off later.
pub fn brief(text: &str) -> &str {
    &text[..text.floor_char_boundary(BODY_MAX + 4)]
}

/// Returns a value as Go prints it, up to [`VALUE_MAX`] bytes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => quoted(s),
        Value::Null => "null".to_string(),
        other => {
            let mut text = Beginning(vec![]);
            // The only error is that there is enough.
            let _ = serde_json::to_writer(&mut text, other);
            cut(String::from_utf8_lossy(&text.0).into_owned(), VALUE_MAX)
        }
    }
}

fn quoted(text: &str) -> String {
    cut(gostr::quote(brief(text)), VALUE_MAX)
}

/// Keeps the first bytes, and refuses more when it has enough.
struct Beginning(Vec<u8>);

impl std::io::Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = (BODY_MAX + 4).saturating_sub(self.0.len());
        if room == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        let taken = &bytes[..bytes.len().min(room)];
        self.0.extend_from_slice(taken);
        Ok(taken.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn join(head: String, detail: &str) -> String {
    if detail.is_empty() { head } else { format!("{head}: {}", brief(detail)) }
}

/// The errors of one object, in the order in which they were found: at most [`ERRORS_MAX`], in at
/// most [`TOTAL_MAX`] bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors {
    found: Vec<FieldError>,
    /// Bytes of all of them.
    bytes: usize,
    /// There were more.
    cut: bool,
}

impl Errors {
    /// True if nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
    /// Returns the errors, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldError> {
        self.found.iter()
    }
    /// True if a further error would be dropped: the search for more may stop.
    pub fn is_full(&self) -> bool {
        self.found.len() >= ERRORS_MAX || self.bytes >= TOTAL_MAX
    }
    /// True if errors were dropped.
    pub fn is_cut(&self) -> bool {
        self.cut
    }
    /// Returns the text of all errors, as upstream's `ErrorList.ToAggregate`: `[a, b]`, or `a` if
    /// it is the only one. An error that was found more than once stands there only once.
    pub fn aggregate(&self) -> String {
        let mut seen = HashSet::new();
        let mut all: Vec<String> = self.found.iter().map(ToString::to_string).collect();
        all.retain(|error| seen.insert(error.clone()));
        if self.cut {
            all.push("further errors are not shown".to_string());
        }
        match all.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        }
    }
    /// Appends the errors of `other`.
    pub fn append(&mut self, other: Errors) {
        self.cut |= other.cut;
        other.found.into_iter().for_each(|error| self.add(error));
    }
    /// Returns the errors that `known` does not have: all of them if some were dropped.
    pub(crate) fn without(self, known: &Errors) -> Errors {
        if self.cut {
            return self;
        }
        let mut rest = Errors::default();
        let new = self.found.into_iter().filter(|error| !known.found.contains(error));
        new.for_each(|error| rest.add(error));
        rest
    }
    /// Returns the errors of other kinds.
    pub(crate) fn without_kind(mut self, kind: ErrorKind) -> Errors {
        self.found.retain(|error| error.kind != kind);
        self
    }
    /// Appends one error.
    pub fn add(&mut self, error: FieldError) {
        if self.is_full() {
            self.cut = true;
            return;
        }
        let FieldError { kind, field, body } = error;
        let error = FieldError { kind, field: cut(field, PATH_MAX), body: cut(body, BODY_MAX) };
        self.bytes += error.field.len() + error.body.len();
        self.found.push(error);
    }
    fn push(&mut self, kind: ErrorKind, field: impl Into<String>, body: String) {
        self.add(FieldError { kind, field: field.into(), body });
    }
    /// Adds `Required value: DETAIL`, for a field that is missing or empty.
    pub fn required(&mut self, field: impl Into<String>, detail: &str) {
        self.push(ErrorKind::Required, field, join("Required value".into(), detail));
    }
    /// Adds `Invalid value: VALUE: DETAIL`, for a value that breaks a rule.
    pub fn invalid(&mut self, field: impl Into<String>, value: &Value, detail: &str) {
        self.push(ErrorKind::Invalid, field, join(format!("Invalid value: {}", shown(value)), detail));
    }
    /// As [`Errors::invalid`], for a value that is text.
    pub fn invalid_text(&mut self, field: impl Into<String>, text: &str, detail: &str) {
        self.push(ErrorKind::Invalid, field, join(format!("Invalid value: {}", quoted(text)), detail));
    }
    /// Adds `Duplicate value: VALUE`, for an item that stands twice in a list.
    pub fn duplicate(&mut self, field: impl Into<String>, value: &Value) {
        self.push(ErrorKind::Duplicate, field, format!("Duplicate value: {}", shown(value)));
    }
    /// Adds `Unsupported value: VALUE: supported values: …`, for a value that is none of a list.
    pub fn not_supported(&mut self, field: impl Into<String>, value: &Value, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| gostr::quote(s)).collect();
        let body = format!("Unsupported value: {}: supported values: {}", shown(value), list.join(", "));
        self.push(ErrorKind::NotSupported, field, body);
    }
    /// Adds `Forbidden: DETAIL`, for a field that may not be set, or not be changed.
    pub fn forbidden(&mut self, field: impl Into<String>, detail: &str) {
        self.push(ErrorKind::Forbidden, field, join("Forbidden".into(), detail));
    }
    /// Adds `Not found: VALUE`, for a name that names nothing, e.g. no volume of the pod.
    pub fn not_found(&mut self, field: impl Into<String>, value: &Value) {
        self.push(ErrorKind::NotFound, field, format!("Not found: {}", shown(value)));
    }
    /// Adds an error for a value of the wrong type; `found` is the name of its own, or a text of
    /// another format.
    pub(crate) fn type_invalid(&mut self, field: impl Into<String>, found: &str, detail: &str) {
        self.push(ErrorKind::TypeInvalid, field, join(format!("Invalid value: {}", quoted(found)), detail));
    }
    /// Adds `Too many: FOUND: must have at most MAX items`.
    pub fn too_many(&mut self, field: impl Into<String>, found: usize, max: u64) {
        let items = if max == 1 { "item" } else { "items" };
        let body = format!("Too many: {found}: must have at most {max} {items}");
        self.push(ErrorKind::TooMany, field, body);
    }
    /// Adds `Too long: may not be more than MAX bytes`.
    pub fn too_long(&mut self, field: impl Into<String>, max: usize) {
        self.push(ErrorKind::TooLong, field, format!("Too long: may not be more than {max} bytes"));
    }
}

impl IntoIterator for Errors {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;
    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `%q` of Go prints them.
    #[test]
    fn values_are_quoted_as_go_quotes_them() {
        let mut errors = Errors::default();
        errors.invalid_text("a", "\u{301}\0\u{1b}\"\u{e9}", "no");
        errors.not_supported("b", &json!("\u{7f}"), &["\u{1}"]);
        let found: Vec<&str> = errors.iter().map(|e| e.body.as_str()).collect();
        let first = "Invalid value: \"\u{301}\\x00\\x1b\\\"\u{e9}\": no";
        assert_eq!(found, [first, r#"Unsupported value: "\x7f": supported values: "\x01""#]);
    }

    #[test]
    fn errors_have_bounds_in_number_and_in_bytes() {
        let mut many = Errors::default();
        (0..10_000).for_each(|i| many.required(format!("spec.items[{i}]"), ""));
        assert!(many.iter().count() == ERRORS_MAX && many.is_cut());
        let large = json!({"k": vec!["é".repeat(50); 20_000]});
        let mut errors = Errors::default();
        for _ in 0..100 {
            errors.invalid("x".repeat(1 << 20), &large, &"y".repeat(1 << 20));
            errors.invalid_text("x", &"z".repeat(1 << 20), "");
        }
        let bytes: usize = errors.iter().map(|e| e.field.len() + e.body.len()).sum();
        assert!(bytes <= TOTAL_MAX + BODY_MAX + PATH_MAX + 6, "{bytes}");
        assert!(errors.is_cut() && errors.iter().all(|e| e.body.ends_with('…')));
        let mut one = Errors::default();
        one.append(errors);
        assert!(one.is_cut() && !one.is_empty());
    }
}
