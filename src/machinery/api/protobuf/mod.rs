//! Protobuf request bodies: what kubectl ≥ 1.32 and client-go post.
//!
//! `messages.txt` lists every message of the stable API groups, one a line: its name without
//! `io.k8s.`, then `number:jsonName=type` for each field. Types: `s` string, `i` int32, `l` int64,
//! `b` bool, `y` bytes, `f` double, or a message; `[]` repeated, `{}` map from string; `*` as name:
//! the fields of that message stand inline (Go embedding); `!`: the zero value means something (a
//! pointer or a required field in Go), so it is kept. Beside scalars this is about messages that
//! are a scalar in JSON, such as IntOrString, and about lists and maps, whose zero is the empty
//! one: a body cannot tell it from none, but `zeros.rs` goes by these marks, too. The marks were
//! compared with the struct tags of `k8s.io/api` and `k8s.io/apiextensions-apiserver` 0.35. The
//! list was made from the prost structs of crate `k8s-pb` 0.9 (numbers and types), with the JSON
//! names from the schemas of `k8s-openapi` 0.29, compared without underscores and case. The
//! messages of `k8s.io/metrics`, which neither crate has, follow the tags of its Go types.
//!
//! Every kind of the table has its message: a test holds the list against the table.

mod wire;

use super::bounds::{FURTHER, LIST, MAP, TEXT, TOO_MANY, VALUES_MAX, values_cost};
use super::gostr::{self, Nanos};
use super::gotime;
use super::value;
use base64::Engine as _;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::LazyLock;
use wire::{Reader, WRONG_WIRE, Wire};

/// The first bytes of every Kubernetes protobuf body.
const MAGIC: &[u8] = b"k8s\0";
/// Messages nest at most this deep (JSONSchemaProps could go on for ever). JSON inside of them
/// counts on its own: the reader of a body checks the whole object against `bounds::DEPTH_MAX`.
const DEPTH_MAX: usize = 64;
const TOO_DEEP: &str = "protobuf message is nested too deeply";
const TOO_EARLY: &str = "times before the year -9999 are not supported";

/// What may still be made inside of a message.
#[derive(Clone, Copy)]
struct Room<'a> {
    depth: usize,
    /// Bytes that further values may take. An empty message has two bytes in a body, and takes
    /// hundreds as JSON.
    left: &'a Cell<usize>,
}

impl Room<'_> {
    /// # Errors
    /// So many bytes are not left.
    fn spend(self, bytes: usize) -> Result<(), String> {
        self.left.set(self.left.get().checked_sub(bytes).ok_or(TOO_MANY)?);
        Ok(())
    }

    /// Takes back what was counted for a value that is not kept.
    fn regain(self, bytes: usize) {
        self.left.set(self.left.get().saturating_add(bytes));
    }

    /// Counts the name of a field: a body has its number alone.
    ///
    /// # Errors
    /// As [`Room::spend`].
    fn spend_name(self, field: &Field) -> Result<(), String> {
        self.spend(TEXT + field.json.len())
    }

    fn deeper(self) -> Self {
        Room { depth: self.depth + 1, ..self }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Shape {
    One,
    Repeated,
    Map,
}

/// A field of a message; see `messages.txt`.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) json: &'static str,
    pub(crate) shape: Shape,
    pub(crate) kind: &'static str,
    pub(crate) keep_zero: bool,
}

static MESSAGES: LazyLock<HashMap<&'static str, HashMap<u32, Field>>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for line in include_str!("messages.txt").lines() {
        let mut words = line.split(' ');
        let Some(name) = words.next() else { continue };
        all.insert(name, words.filter_map(field).collect());
    }
    all
});

/// Returns the names of all messages.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    MESSAGES.keys().copied()
}

/// Returns the fields of a message.
pub(crate) fn fields(name: &str) -> impl Iterator<Item = Field> {
    MESSAGES.get(name).into_iter().flat_map(|fields| fields.values().copied())
}

fn field(word: &'static str) -> Option<(u32, Field)> {
    let (number, rest) = word.split_once(':')?;
    let (json, kind) = rest.split_once('=')?;
    let (kind, keep_zero) = match kind.strip_suffix('!') {
        Some(kind) => (kind, true),
        None => (kind, false),
    };
    let (shape, kind) = match (kind.strip_prefix("[]"), kind.strip_prefix("{}")) {
        (Some(inner), _) => (Shape::Repeated, inner),
        (_, Some(inner)) => (Shape::Map, inner),
        _ => (Shape::One, kind),
    };
    Some((number.parse().ok()?, Field { json, shape, kind, keep_zero }))
}

/// Reads a whole request body: the envelope, then the message that it names. Returns it as JSON.
/// `expected`: the kind that the endpoint takes, which errors name; `None`: the kind of the body.
///
/// # Errors
/// As a sentence: the prefix is missing, the kind has no message, bytes do not fit the message, or
/// there are more values than a body may have.
pub fn decode(body: &[u8], expected: Option<&str>) -> Result<Value, String> {
    let unknown = body
        .strip_prefix(MAGIC)
        .ok_or("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for item in Reader::new("Unknown", unknown) {
        match item? {
            (1, meta) => {
                for item in Reader::new("TypeMeta", meta.bytes()?) {
                    match item? {
                        (1, wire) => api_version = utf8(wire.bytes()?)?,
                        (2, wire) => kind = utf8(wire.bytes()?)?,
                        _ => {}
                    }
                }
            }
            (2, wire) => raw = wire.bytes()?,
            _ => {}
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", &api_version));
    let package = group.split('.').next().unwrap_or(group);
    // Kinds of `k8s.io/api`, kinds of a repository of their group, and what all groups share.
    let names = [
        format!("api.{package}.{version}.{kind}"),
        format!("{package}.pkg.apis.{package}.{version}.{kind}"),
        format!("apimachinery.pkg.apis.meta.v1.{kind}"),
    ];
    let name = names
        .iter()
        .find(|name| MESSAGES.contains_key(name.as_str()))
        .ok_or_else(|| format!("no kind \"{kind}\" is registered for version \"{api_version}\""))?;
    let left = Cell::new(VALUES_MAX);
    let read = message(name, raw, Room { depth: 0, left: &left });
    // Upstream's `transformDecodeError`. The bounds are this server's own.
    let mut object = read.map_err(|why| match why == TOO_MANY || why == TOO_DEEP {
        true => why,
        false => {
            let (version, expected) = (gostr::quote(version), expected.unwrap_or(&kind));
            format!("{kind} in version {version} cannot be handled as a {expected}: {why}")
        }
    })?;
    let mut full = Map::new();
    full.insert("kind".into(), kind.into());
    full.insert("apiVersion".into(), api_version.into());
    full.append(value::as_map(&mut object));
    Ok(Value::Object(full))
}

fn message(name: &str, bytes: &[u8], room: Room<'_>) -> Result<Value, String> {
    let short = name.rsplit('.').next().unwrap_or(name);
    match short {
        "Time" | "MicroTime" => return time(bytes, short == "MicroTime"),
        "Quantity" => return quantity(bytes),
        "IntOrString" => return int_or_string(bytes),
        "Duration" => return duration(bytes),
        "ExtraValue" => return texts(bytes, room),
        "RawExtension" | "FieldsV1" | "JSON" => return json_inside(short, bytes, room),
        _ => {}
    }
    if room.depth > DEPTH_MAX {
        return Err(TOO_DEEP.to_string());
    }
    if short.starts_with("JSONSchemaPropsOr") {
        return schema_or(name, bytes, room);
    }
    let fields = MESSAGES.get(name).ok_or_else(|| format!("unknown protobuf message {name}"))?;
    let mut out = Map::new();
    if !bytes.is_empty() {
        room.spend(MAP)?;
    }
    for item in Reader::new(short, bytes) {
        let (number, wire) = item?;
        room.spend(FURTHER)?;
        let Some(field) = fields.get(&number) else { continue };
        match field.shape {
            Shape::Map => {
                let (key, value) = map_entry(field.kind, wire.bytes()?, room)?;
                if !out.contains_key(field.json) {
                    room.spend_name(field)?;
                    room.spend(MAP)?;
                }
                let slot = out.entry(field.json).or_insert_with(|| Value::Object(Map::new()));
                value::as_map(slot).insert(key, value);
            }
            Shape::Repeated => match (field.kind, wire) {
                ("i" | "l", Wire::Bytes(packed)) => {
                    let mut numbers = Reader::of_entry(packed);
                    while let Some(number) = numbers.next_packed() {
                        room.spend(FURTHER)?;
                        let value = scalar_or_message(field.kind, Wire::Varint(number?), room)?;
                        push_item(&mut out, field, value, room)?;
                    }
                }
                (kind, wire) => {
                    let value = scalar_or_message(kind, wire, room)?;
                    push_item(&mut out, field, value, room)?;
                }
            },
            Shape::One => {
                let mut value = scalar_or_message(field.kind, wire, room)?;
                if field.json == "*" {
                    out.append(value::as_map(&mut value));
                } else if field.keep_zero || !is_zero(&value) {
                    room.spend_name(field)?;
                    out.insert(field.json.into(), value);
                } else {
                    // Go writes them all: more than ten for each schema of a definition.
                    room.regain(FURTHER + TEXT);
                }
            }
        }
    }
    Ok(Value::Object(out))
}

/// Adds a value to the list of a repeated field.
fn push_item(
    out: &mut Map<String, Value>,
    field: &Field,
    value: Value,
    room: Room<'_>,
) -> Result<(), String> {
    let Value::Array(list) = out.entry(field.json).or_insert_with(|| Value::Array(vec![])) else {
        return Err("malformed protobuf message".to_string());
    };
    if list.is_empty() {
        room.spend_name(field)?;
        room.spend(LIST)?;
    }
    list.push(value);
    Ok(())
}

/// Reads a message whose one field holds JSON. As in Go the last one counts if it is there twice.
fn json_inside(short: &str, bytes: &[u8], room: Room<'_>) -> Result<Value, String> {
    let mut json = None;
    for item in Reader::new(short, bytes) {
        if let (1, wire) = item? {
            json = Some(wire.bytes()?);
        }
    }
    let Some(raw) = json else { return Ok(Value::Null) };
    room.spend(values_cost(raw))?;
    serde_json::from_slice(raw).map_err(|e| e.to_string())
}

/// The schema of a definition, which may stand where another message is named.
pub(crate) const SCHEMA: &str = "api.apiextensions.v1.JSONSchemaProps";

/// Reads a place in a definition's schema that holds a schema or something simpler: a list of
/// schemas (`items`), `true` or `false` (`additionalProperties`), names of fields (`dependencies`).
fn schema_or(name: &str, bytes: &[u8], room: Room<'_>) -> Result<Value, String> {
    let (short, bool_or) = (name.rsplit('.').next().unwrap_or(name), name.ends_with("OrBool"));
    let (mut allows, mut schema, mut list) = (false, None, vec![]);
    for item in Reader::new(short, bytes) {
        // Of a schema or a bool the last one is kept, which counts itself.
        room.spend(match (bool_or, list.is_empty()) {
            (true, _) => 0,
            (false, true) => LIST,
            (false, false) => FURTHER,
        })?;
        match (item?, bool_or) {
            ((1, wire), true) => allows = wire.varint()? != 0,
            ((2, wire), true) | ((1, wire), false) => {
                schema = Some(message(SCHEMA, wire.bytes()?, room.deeper())?);
            }
            ((2, wire), false) if name.ends_with("OrArray") => {
                list.push(message(SCHEMA, wire.bytes()?, room.deeper())?);
            }
            ((2, wire), false) => list.push(utf8(wire.bytes()?)?.into()),
            _ => {}
        }
    }
    Ok(match schema {
        Some(schema) => schema,
        None if bool_or => allows.into(),
        None => Value::Array(list),
    })
}

/// Returns whether a value is unset in Go unless its field is a pointer. An empty message stays:
/// `emptyDir: {}` has a meaning.
pub(crate) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(s) => s.is_empty(),
        Value::Number(n) => n.as_f64() == Some(0.0),
        _ => false,
    }
}

/// Reads an entry of a map. One without a value has the empty one: `0` where it is an amount.
fn map_entry(kind: &str, entry: &[u8], room: Room<'_>) -> Result<(String, Value), String> {
    let (mut key, mut value) = (String::new(), None);
    room.spend(TEXT)?;
    for item in Reader::of_entry(entry) {
        match item? {
            (1, Wire::Bytes(b)) => key = utf8(b)?,
            (2, wire) => value = Some(scalar_or_message(kind, wire, room)?),
            _ => {}
        }
    }
    let value = match value {
        Some(value) => value,
        None => scalar_or_message(kind, Wire::Bytes(&[]), room)?,
    };
    Ok((key, value))
}

fn scalar_or_message(kind: &str, wire: Wire<'_>, room: Room<'_>) -> Result<Value, String> {
    room.spend(TEXT)?;
    Ok(match (kind, wire) {
        ("s", Wire::Bytes(b)) => utf8(b)?.into(),
        ("y", Wire::Bytes(b)) => base64::engine::general_purpose::STANDARD.encode(b).into(),
        ("b", Wire::Varint(n)) => (n != 0).into(),
        ("i", Wire::Varint(n)) => (n as i32).into(),
        ("l", Wire::Varint(n)) => (n as i64).into(),
        ("f", Wire::Fixed(n)) => f64::from_bits(n).into(),
        (name, Wire::Bytes(b)) => message(name, b, room.deeper())?,
        _ => return Err(WRONG_WIRE.to_string()),
    })
}

/// Reads a time. Only an empty message is none: the beginning of 1970 may be written without its
/// seconds, which are 0.
fn time(bytes: &[u8], micro: bool) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    for item in Reader::new("Timestamp", bytes) {
        match item? {
            (1, wire) => seconds = wire.varint()? as i64,
            (2, wire) => nanos = wire.varint()? as i32,
            _ => {}
        }
    }
    let at = clock::Timestamp::new(seconds, nanos.clamp(0, 999_999_999));
    let at = at.map_err(|_| if seconds < 0 { TOO_EARLY } else { gotime::TOO_LATE })?;
    Ok(if micro { clock::rfc3339_micro(at) } else { clock::rfc3339(at) }.into())
}

/// Reads an amount: its text. A message without a text is the amount 0.
fn quantity(bytes: &[u8]) -> Result<Value, String> {
    let mut text = "0".to_string();
    for item in Reader::new("Quantity", bytes) {
        if let (1, wire) = item? {
            text = utf8(wire.bytes()?)?;
        }
    }
    Ok(text.into())
}

/// Reads a message that is a list in Go and in JSON: the values of an extra attribute of a user.
fn texts(bytes: &[u8], room: Room<'_>) -> Result<Value, String> {
    let mut all = vec![];
    for item in Reader::new("ExtraValue", bytes) {
        room.spend(if all.is_empty() { LIST + TEXT } else { FURTHER + TEXT })?;
        if let (1, wire) = item? {
            all.push(utf8(wire.bytes()?)?.into());
        }
    }
    Ok(Value::Array(all))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for item in Reader::new("IntOrString", bytes) {
        match item? {
            (1, wire) => is_text = wire.varint()? == 1,
            (2, wire) => number = wire.varint()? as i32,
            (3, wire) => text = utf8(wire.bytes()?)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// Reads a length of time: nanoseconds here, and in JSON the text that Go prints, e.g. `10.5s`.
fn duration(bytes: &[u8]) -> Result<Value, String> {
    let mut nanos = 0;
    for item in Reader::new("Duration", bytes) {
        if let (1, wire) = item? {
            nanos = wire.varint()? as i64;
        }
    }
    Ok(Nanos(nanos.into()).to_string().into())
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "protobuf string is not UTF-8".to_string())
}

#[cfg(test)]
mod tests;
