//! Reading an object as Go's decoder would, by the published schema of its type.

use super::shapes::{Other, SCHEMAS, Shape, Struct, root};
use crate::bounds;
use crate::gostr;
use crate::path::{Path, UnknownFields};
use crate::quantity;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use serde_json::{Map, Value};

/// Makes `object` what a Go server would have understood: unknown fields and nulls go (the former
/// are returned), quantities get the text that is stored. The type is given by its name, e.g.
/// `io.k8s.api.autoscaling.v1.Scale`; an object of an unknown type stays as it is.
///
/// # Errors
/// The decoder's message for a value of the wrong type. The object may be changed in part then.
pub fn conform_named(name: &str, object: &mut Value) -> Result<UnknownFields, String> {
    match root(name) {
        Some(index) => conform_struct(index, object),
        None => Ok(UnknownFields::default()),
    }
}

fn conform_struct(index: usize, object: &mut Value) -> Result<UnknownFields, String> {
    let mut walk = Walk { unknown: UnknownFields::default(), fields: vec![], places: String::new() };
    let owner = &SCHEMAS.structs[index];
    walk.value(&Shape::Struct(index), object, owner)?;
    Ok(walk.unknown)
}

/// Writes a time as it is stored.
///
/// # Errors
/// The text is no time.
fn canonical_time(shape: &Shape, text: &mut String) -> Result<(), String> {
    let layout = match shape {
        Shape::Time => "2006-01-02T15:04:05Z07:00",
        _ => "2006-01-02T15:04:05.000000Z07:00",
    };
    // The empty text is no time either: typed clients fail to read a list with one such
    // object.
    let Some(time) = rfc3339(text) else {
        return Err(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""));
    };
    if matches!(shape, Shape::MicroTime)
        && let Some(why) = wrong_fraction(text)
    {
        return Err(format!("parsing time {text:?} as {layout:?}: {why}"));
    }
    // Go writes a time in UTC and with as many digits as its type has. Stored times are
    // compared as text.
    *text = match shape {
        Shape::Time => clock::rfc3339(time),
        _ => clock::rfc3339_micro(time),
    };
    Ok(())
}

/// Returns why a time that [`rfc3339`] reads is no `metav1.MicroTime`: that type takes exactly six
/// digits of a second, where `metav1.Time` takes any number (`MicroTime.UnmarshalJSON` upstream).
///
/// ```text
/// 2026-01-02T03:04:05.000006Z   a MicroTime
/// 2026-01-02T03:04:05Z          cannot parse "Z" as ".000000"
/// 2026-01-02T03:04:05.0000067Z  cannot parse "7Z" as "Z07:00"
/// ```
fn wrong_fraction(text: &str) -> Option<String> {
    const DIGITS: usize = 6;
    let rest = &text["2006-01-02T15:04:05".len()..];
    // In front of the digits is a dot, or else the zone's first sign.
    match rest.bytes().skip(1).take_while(u8::is_ascii_digit).count() {
        DIGITS => None,
        ..DIGITS => Some(format!("cannot parse {rest:?} as \".000000\"")),
        _ => Some(format!("cannot parse {:?} as \"Z07:00\"", &rest[1 + DIGITS..])),
    }
}

struct Walk {
    unknown: UnknownFields,
    /// JSON names from the root, as Go's decoder reports them.
    fields: Vec<String>,
    /// The same names as one path with indices, as the strict decoder reports it.
    places: String,
}

impl Walk {
    fn value(&mut self, shape: &Shape, value: &mut Value, owner: &Struct) -> Result<(), String> {
        match (shape, &mut *value) {
            (Shape::Any, _) => Ok(()),
            // A definition's schema may refer to itself, so a value may nest as deep as its body
            // does.
            _ if self.fields.len() > bounds::DEPTH_MAX => Err("json: exceeded max depth".to_string()),
            (Shape::Struct(index), Value::Object(map)) => self.map(&SCHEMAS.structs[*index], map),
            (Shape::SchemaOr(index, other), _) => self.schema_or(*index, *other, value, owner),
            (Shape::Map(inner), Value::Object(map)) => {
                let length = self.places.len();
                for (key, item) in map.iter_mut() {
                    if item.is_null() {
                        *item = zero(inner);
                        continue;
                    }
                    self.places.push('.');
                    self.places.push_str(key);
                    self.value(inner, item, owner)?;
                    self.places.truncate(length);
                    if matches!(**inner, Shape::Quantity) {
                        quantity::round_amount(item);
                    }
                }
                Ok(())
            }
            (Shape::List(inner), Value::Array(list)) => {
                let length = self.places.len();
                for (i, item) in list.iter_mut().enumerate() {
                    if item.is_null() {
                        *item = zero(inner);
                    }
                    self.places.push_str(&format!("[{i}]"));
                    self.value(inner, item, owner)?;
                    self.places.truncate(length);
                }
                Ok(())
            }
            (Shape::Text, Value::String(_))
            | (Shape::Bool, Value::Bool(_))
            | (Shape::Float, Value::Number(_)) => Ok(()),
            (Shape::Bytes, Value::String(text)) => canonical_bytes(text),
            (Shape::Int32, Value::Number(n)) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
                Ok(())
            }
            (Shape::Int64, Value::Number(n)) if n.is_i64() => Ok(()),
            (Shape::IntOrText, Value::String(_)) => Ok(()),
            (Shape::IntOrText, Value::Number(n)) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
                Ok(())
            }
            (Shape::Quantity, Value::String(_) | Value::Number(_)) => quantity::conform(value),
            (Shape::Time | Shape::MicroTime, Value::String(text)) => canonical_time(shape, text),
            _ => Err(format!(
                "json: cannot unmarshal {} into Go struct field {}.{} of type {}",
                json_type(value),
                owner.short(),
                self.fields.join("."),
                go_type(shape)
            )),
        }
    }

    /// Reads what is a schema or something else. Go has a decoder of its own for it, which drops
    /// unknown fields without a word, and reads what it does not know as nothing.
    fn schema_or(
        &mut self,
        index: usize,
        other: Other,
        value: &mut Value,
        owner: &Struct,
    ) -> Result<(), String> {
        let schema = Shape::Struct(index);
        let shape = match (other, &*value) {
            (_, Value::Object(_)) => schema,
            (Other::Schemas, Value::Array(_)) => Shape::List(Box::new(schema)),
            (Other::Texts, Value::Array(_)) => Shape::List(Box::new(Shape::Text)),
            (Other::Bool, Value::Bool(_)) => return Ok(()),
            (Other::Bool, _) => return Err("boolean or JSON schema expected".to_string()),
            (Other::Schemas | Other::Texts, _) => {
                *value = Value::Null;
                return Ok(());
            }
        };
        let unknown = std::mem::take(&mut self.unknown);
        self.value(&shape, value, owner)?;
        self.unknown = unknown;
        Ok(())
    }

    fn map(&mut self, owner: &Struct, map: &mut Map<String, Value>) -> Result<(), String> {
        let length = self.places.len();
        let mut pruned = false;
        for (key, value) in map.iter_mut() {
            let Some(shape) = owner.fields.get(key) else {
                self.unknown.add(Path::Text(&self.places).field(key));
                pruned = true;
                continue;
            };
            if value.is_null() {
                pruned = true;
                continue;
            }
            if length > 0 {
                self.places.push('.');
            }
            self.places.push_str(key);
            self.fields.push(key.clone());
            self.value(shape, value, owner)?;
            pruned |= value.is_null();
            self.fields.pop();
            self.places.truncate(length);
        }
        if pruned {
            map.retain(|key, value| !value.is_null() && owner.fields.contains_key(key));
        }
        Ok(())
    }
}

/// Reads a time as Go does; `None` for a form that only other readers know (a year of six digits, a
/// space for `T`, no seconds).
pub fn rfc3339(text: &str) -> Option<clock::Timestamp> {
    let b = text.as_bytes();
    let digits =
        |range: std::ops::Range<usize>| b.get(range).is_some_and(|d| d.iter().all(u8::is_ascii_digit));
    let signs = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if ![0..4, 5..7, 8..10, 11..13, 14..16, 17..19].into_iter().all(digits)
        || !signs.iter().all(|(at, sign)| b.get(*at) == Some(sign))
        || b.get(17).is_some_and(|tens| *tens > b'5')
    {
        return None;
    }
    let rest = &b[19..];
    let fraction = match rest.first() {
        Some(b'.' | b',') => 1 + rest[1..].iter().take_while(|c| c.is_ascii_digit()).count(),
        _ => 0,
    };
    let zone = &rest[fraction..];
    let offset = zone.len() == 6 && matches!(zone[0], b'+' | b'-') && zone[3] == b':';
    if fraction == 1 || !(zone == b"Z" || offset) {
        return None;
    }
    text.parse().ok()
}

/// Base64 as Go reads it: bits beyond the last byte may be set.
pub(crate) static BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Writes bytes in their canonical form, on one line. Go skips line ends in base64, and `base64`
/// wraps its output: a certificate in a manifest is a block of lines.
fn canonical_bytes(text: &mut String) -> Result<(), String> {
    *text = BASE64.encode(gostr::decode_base64(text)?);
    Ok(())
}

fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Text | Shape::Bytes => "".into(),
        Shape::Int32 | Shape::Int64 | Shape::Float => 0.into(),
        Shape::Bool => false.into(),
        Shape::Quantity => "0".into(),
        Shape::Struct(_) | Shape::Map(_) => Value::Object(Map::new()),
        Shape::List(_) => Value::Array(vec![]),
        _ => Value::Null,
    }
}

fn json_type(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Bool(_) => "bool".to_string(),
        Value::Number(n) if n.is_i64() => "number".to_string(),
        Value::Number(n) => format!("number {n}"),
        Value::String(_) => "string".to_string(),
        Value::Array(_) => "array".to_string(),
        Value::Object(_) => "object".to_string(),
    }
}

fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Text => "string".into(),
        Shape::Bytes => "[]uint8".into(),
        Shape::Int32 => "int32".into(),
        Shape::Int64 => "int64".into(),
        Shape::Float => "float64".into(),
        Shape::Bool => "bool".into(),
        Shape::Time => "v1.Time".into(),
        Shape::MicroTime => "v1.MicroTime".into(),
        Shape::Quantity => "resource.Quantity".into(),
        Shape::IntOrText => "intstr.IntOrString".into(),
        Shape::Any => "interface {}".into(),
        Shape::List(inner) => format!("[]{}", go_type(inner)),
        Shape::Map(inner) => format!("map[string]{}", go_type(inner)),
        Shape::Struct(index) | Shape::SchemaOr(index, _) => SCHEMAS.structs[*index].go().to_string(),
    }
}
