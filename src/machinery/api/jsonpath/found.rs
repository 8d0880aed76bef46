//! What a step of a path found.

use crate::gostr;
use serde_json::Value;
use std::sync::LazyLock;

/// Numbers of bytes, which `*` finds in a text.
static BYTES: LazyLock<Vec<Value>> = LazyLock::new(|| (0..=u8::MAX).map(Value::from).collect());
/// What is printed where nothing was found and yet something is printed.
static NO_VALUE: LazyLock<Value> = LazyLock::new(|| "<no value>".into());

/// A value, and what it is to Go where that decides about an error's words.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    /// A part of the object, or a constant of the template.
    In(&'a Value),
    /// A whole number of the template.
    Int(&'a Value),
    /// A byte of a text.
    Byte(&'a Value),
    /// What a range over nothing, or over null, goes over.
    Nothing,
}

impl<'a> Found<'a> {
    pub(super) fn value(self) -> &'a Value {
        match self {
            Found::In(value) | Found::Int(value) | Found::Byte(value) => value,
            Found::Nothing => LazyLock::force(&NO_VALUE),
        }
    }

    /// Returns whether a step finds nothing in it, and says nothing of that.
    pub(super) fn is_null(self) -> bool {
        matches!(self, Found::Nothing | Found::In(Value::Null))
    }

    /// Returns the object that the actions in a range over it read.
    pub(super) fn in_range(self) -> Found<'a> {
        if self.is_null() { Found::Nothing } else { self }
    }

    /// Returns what `*` finds: items, fields in the order of their names, or the bytes of a text.
    pub(super) fn children(self) -> Vec<Found<'a>> {
        match self {
            Found::In(Value::Array(list)) => list.iter().map(Found::In).collect(),
            Found::In(Value::Object(map)) => {
                let mut fields: Vec<(&String, &Value)> = map.iter().collect();
                fields.sort_by_key(|(name, _)| *name);
                fields.into_iter().map(|(_, field)| Found::In(field)).collect()
            }
            Found::In(Value::String(text)) => {
                text.bytes().map(|byte| Found::Byte(&BYTES[usize::from(byte)])).collect()
            }
            _ => vec![],
        }
    }

    /// Its type in Go.
    pub(super) fn go_type(self) -> &'static str {
        match self {
            Found::Int(_) => "int",
            Found::Byte(_) => "uint8",
            Found::Nothing => "<nil>",
            Found::In(value) => match value {
                Value::Object(_) => "map[string]interface {}",
                Value::Array(_) => "[]interface {}",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                Value::Number(n) if n.is_f64() => "float64",
                Value::Number(_) => "int64",
                Value::Null => "<nil>",
            },
        }
    }

    /// `%v` of it.
    pub(super) fn plain(self) -> String {
        match self {
            Found::Nothing => "<invalid reflect.Value>".into(),
            _ => gostr::plain(self.value()),
        }
    }
}
