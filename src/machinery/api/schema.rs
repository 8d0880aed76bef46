//! What an object may contain. A compact form of the published schemas, made once from those that
//! come with the Go types' Rust twins: it finds unknown fields and wrong types in Go's words,
//! prunes, and writes quantities as upstream stores them.

pub mod equality;
mod numbers;

pub use numbers::keep_number_texts;
pub(crate) use numbers::keep_number_texts_at;

use super::kinds::Kind;
use super::path::{Path, UnknownFields};
use super::published;
use super::quantity;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

#[derive(Clone, Debug)]
enum Shape {
    Text,
    Bytes,
    Int32,
    Int64,
    Float,
    Bool,
    Time,
    MicroTime,
    Quantity,
    IntOrText,
    /// Anything goes (raw extensions, managed fields).
    Any,
    List(Box<Shape>),
    Map(Box<Shape>),
    Struct(usize),
}

struct Struct {
    /// `io.k8s.api.core.v1.PodSpec`
    name: String,
    fields: HashMap<String, Shape>,
}

impl Struct {
    /// `PodSpec`
    fn short(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or("")
    }
    /// `v1.PodSpec`
    fn go(&self) -> &str {
        let mut dots = self.name.rmatch_indices('.');
        dots.next();
        dots.next().map_or(&self.name, |(i, _)| &self.name[i + 1..])
    }
}

#[derive(Default)]
struct Schemas {
    structs: Vec<Struct>,
    by_name: HashMap<String, usize>,
}

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    let definitions = published::schemas();
    let mut schemas = Schemas::default();
    for name in definitions.keys() {
        let index = schemas.structs.len();
        schemas.structs.push(Struct { name: name.clone(), fields: HashMap::new() });
        schemas.by_name.insert(name.clone(), index);
    }
    for (index, definition) in definitions.values().enumerate() {
        let properties = definition.get("properties").and_then(Value::as_object);
        let fields =
            properties.into_iter().flatten().map(|(k, v)| (k.clone(), shape(v, &schemas, definitions)));
        let fields = fields.collect();
        schemas.structs[index].fields = fields;
    }
    schemas
});

/// Makes the tables now rather than at the first request.
pub fn warm_up() {
    LazyLock::force(&SCHEMAS);
}

fn shape(schema: &Value, known: &Schemas, definitions: &Map<String, Value>) -> Shape {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or("");
        let short = name.rsplit('.').next().unwrap_or("");
        return match (short, definitions.get(name), known.by_name.get(name)) {
            ("Quantity", ..) => Shape::Quantity,
            ("IntOrString", ..) => Shape::IntOrText,
            ("Time", ..) => Shape::Time,
            ("MicroTime", ..) => Shape::MicroTime,
            (_, Some(definition), Some(index)) if definition.get("properties").is_some() => {
                Shape::Struct(*index)
            }
            (_, Some(definition), _) if definition.get("type").and_then(Value::as_str) != Some("object") => {
                shape(definition, known, definitions)
            }
            _ => Shape::Any,
        };
    }
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or("");
    match (text("type"), text("format")) {
        ("string", "byte") => Shape::Bytes,
        ("string", "date-time") => Shape::Time,
        ("string", _) => Shape::Text,
        ("integer", "int32") => Shape::Int32,
        ("integer", _) => Shape::Int64,
        ("number", _) => Shape::Float,
        ("boolean", _) => Shape::Bool,
        ("array", _) => {
            Shape::List(Box::new(schema.get("items").map_or(Shape::Any, |s| shape(s, known, definitions))))
        }
        ("object", _) => match schema.get("additionalProperties") {
            Some(s) => Shape::Map(Box::new(shape(s, known, definitions))),
            None => Shape::Any,
        },
        _ => Shape::Any,
    }
}

/// `io.k8s.api.apps.v1.Deployment`: the name of a kind's schema.
fn root(kind: &Kind) -> Option<usize> {
    SCHEMAS.by_name.get(kind.schema_name).copied()
}

/// Makes `object` what a Go server would have understood: unknown fields and nulls go (the former
/// are returned), quantities get the text that is stored. A kind without a schema stays as it is.
///
/// # Errors
/// The decoder's message for a value of the wrong type. The object may be changed in part then.
pub fn conform(kind: &Kind, object: &mut Value) -> Result<UnknownFields, String> {
    match root(kind) {
        Some(index) => conform_struct(index, object),
        None => Ok(UnknownFields::default()),
    }
}

/// As [`conform`], for a type given by its name, e.g. `io.k8s.api.autoscaling.v1.Scale`.
///
/// # Errors
/// As [`conform`].
pub fn conform_named(name: &str, object: &mut Value) -> Result<UnknownFields, String> {
    match SCHEMAS.by_name.get(name) {
        Some(index) => conform_struct(*index, object),
        None => Ok(UnknownFields::default()),
    }
}

fn conform_struct(index: usize, object: &mut Value) -> Result<UnknownFields, String> {
    let mut walk = Walk { unknown: UnknownFields::default(), fields: vec![], places: String::new() };
    let owner = &SCHEMAS.structs[index];
    walk.value(&Shape::Struct(index), object, owner)?;
    Ok(walk.unknown)
}

struct Walk {
    unknown: UnknownFields,
    /// JSON names from the root, as Go's decoder reports them.
    fields: Vec<String>,
    /// The same with indices, as the strict decoder reports them.
    places: String,
}

impl Walk {
    fn value(&mut self, shape: &Shape, value: &mut Value, owner: &Struct) -> Result<(), String> {
        match (shape, &mut *value) {
            (Shape::Any, _) => Ok(()),
            // A definition's schema may refer to itself, so a value may nest as deep as its body
            // does.
            _ if self.fields.len() > super::bounds::DEPTH_MAX => Err("json: exceeded max depth".to_string()),
            (Shape::Struct(index), Value::Object(map)) => self.map(&SCHEMAS.structs[*index], map),
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
            (Shape::Time | Shape::MicroTime, Value::String(text)) => {
                let layout = match shape {
                    Shape::Time => "2006-01-02T15:04:05Z07:00",
                    _ => "2006-01-02T15:04:05.000000Z07:00",
                };
                // The empty text is no time either: typed clients fail to read a list with one such
                // object.
                let Some(time) = rfc3339(text) else {
                    return Err(format!(
                        "parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""
                    ));
                };
                // Go writes a time in UTC and with as many digits as its type has. Stored times are
                // compared as text.
                *text = match shape {
                    Shape::Time => clock::rfc3339(time),
                    _ => clock::rfc3339_micro(time),
                };
                Ok(())
            }
            _ => Err(format!(
                "json: cannot unmarshal {} into Go struct field {}.{} of type {}",
                json_type(value),
                owner.short(),
                self.fields.join("."),
                go_type(shape)
            )),
        }
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
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let packed: Vec<u8> = text.bytes().filter(|byte| !is_line_end(byte)).collect();
    let wrong = match BASE64.decode(&packed) {
        Ok(bytes) => {
            *text = BASE64.encode(bytes);
            return Ok(());
        }
        Err(base64::DecodeError::InvalidByte(at, _)) => at,
        Err(_) => packed.len() - packed.len() % 4,
    };
    // The place of that byte in the text, where line ends count.
    let mut places = text.bytes().enumerate().filter(|(_, byte)| !is_line_end(byte));
    let place = places.nth(wrong).map_or(text.len(), |(place, _)| place);
    Err(format!("illegal base64 data at input byte {place}"))
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
        Shape::Struct(index) => SCHEMAS.structs[*index].go().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use serde_json::json;

    fn deployment(spec: Value) -> Value {
        json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web", "creationTimestamp": null}, "spec": spec})
    }

    #[test]
    fn unknown_fields_are_named_and_pruned() {
        let kind = kinds::find("apps", "v1", "Deployment").unwrap();
        let mut object = deployment(json!({"foo": 1, "template": {"spec": {"containers": [
            {"name": "c", "imag": "x", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}]}}}));
        let unknown = conform(kind, &mut object).unwrap();
        assert_eq!(unknown.told(), ["spec.foo", "spec.template.spec.containers[0].imag"]);
        let want = deployment(json!({"template": {"spec": {"containers": [
            {"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}]}}}));
        let mut want = want;
        value_remove_null(&mut want);
        assert_eq!(object, want);
    }

    fn value_remove_null(object: &mut Value) {
        crate::value::remove(object, "metadata.creationTimestamp");
    }

    #[test]
    fn the_empty_time_is_no_time() {
        let pod = kinds::find("", "v1", "Pod").unwrap();
        let lease = kinds::find("coordination.k8s.io", "v1", "Lease").unwrap();
        let empty = "parsing time \"\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"2006\"";
        let entry = json!({"manager": "x", "operation": "Update", "apiVersion": "v1", "time": "", "fieldsType": "FieldsV1"});
        for (kind, object) in [
            (pod, json!({"metadata": {"managedFields": [entry]}})),
            (pod, json!({"metadata": {"creationTimestamp": ""}})),
            (pod, json!({"metadata": {"deletionTimestamp": ""}})),
            (pod, json!({"status": {"startTime": ""}})),
            (pod, json!({"status": {"conditions": [{"lastProbeTime": ""}]}})),
            (
                kinds::find("apps", "v1", "Deployment").unwrap(),
                deployment(json!({"template": {"metadata": {"creationTimestamp": ""}}})),
            ),
        ] {
            assert_eq!(conform(kind, &mut object.clone()).unwrap_err(), empty, "{object}");
        }
        for (time, want) in [("", false), ("now", false), ("2026-01-02T03:04:05.000000Z", true)] {
            let mut object = json!({"spec": {"renewTime": time}});
            assert_eq!(conform(lease, &mut object).is_ok(), want, "{time:?}");
        }
        for (time, want) in [
            ("2026-01-02T03:04:05Z", true),
            ("2026-01-02T03:04:05.5+02:00", true),
            ("0001-01-01T00:00:00Z", true),
            ("-009999-01-01T00:00:00Z", false),
            ("2026-01-02 03:04:05Z", false),
            ("2026-01-02t03:04:05z", false),
            ("2026-01-02T03:04Z", false),
            ("2026-01-02T03:04:60Z", false),
            ("2026-02-30T03:04:05Z", false),
            ("2026-01-02T03:04:05", false),
            ("2026-01-02T03:04:05.Z", false),
            ("2026-01-02T03:04:05Z[UTC]", false),
        ] {
            assert_eq!(rfc3339(time).is_some(), want, "{time:?}");
        }
        let mut null = json!({"metadata": {"creationTimestamp": null}});
        assert!(conform(pod, &mut null).is_ok(), "null is no time that was set");
    }

    #[test]
    fn times_are_kept_in_utc_and_with_the_digits_of_their_type() {
        let lease = kinds::find("coordination.k8s.io", "v1", "Lease").unwrap();
        for (said, time, micro) in [
            ("2026-01-02T03:04:05.5+02:00", "2026-01-02T01:04:05Z", "2026-01-02T01:04:05.500000Z"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
            ("2026-01-02T03:04:05.000006789Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000006Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ] {
            let mut object = json!({"metadata": {"creationTimestamp": said}, "spec": {"renewTime": said}});
            conform(lease, &mut object).unwrap();
            let want = json!({"metadata": {"creationTimestamp": time}, "spec": {"renewTime": micro}});
            assert_eq!(object, want, "{said}");
        }
    }

    #[test]
    fn bytes_may_go_over_lines_and_are_kept_on_one() {
        let kind = kinds::find("", "v1", "Secret").unwrap();
        let read = |text: &str| {
            let mut object = json!({"data": {"key": text}});
            let found = conform(kind, &mut object);
            found.map(|_| object["data"]["key"].as_str().unwrap_or_default().to_string())
        };
        for (text, want) in [
            ("YWJj", "YWJj"),
            ("YWJj\r\nZGVm\n", "YWJjZGVm"),
            ("YQ=\n=\n", "YQ=="),
            ("YR==", "YQ=="),
            ("", ""),
        ] {
            assert_eq!(read(text).as_deref(), Ok(want), "{text:?}");
        }
        for (text, place) in [("YWJj\nZG!m", 7), ("YWJj ZGVm", 4), ("YWJjZ", 4)] {
            let why = format!("illegal base64 data at input byte {place}");
            assert_eq!(read(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn wrong_types_are_told_as_go_tells_them() {
        let kind = kinds::find("apps", "v1", "Deployment").unwrap();
        let error = |spec: Value| conform(kind, &mut deployment(spec)).unwrap_err();
        assert_eq!(
            error(json!({"replicas": "two"})),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert_eq!(
            error(json!({"template": {"spec": {"containers": {"name": "c"}}}})),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"
        );
        assert_eq!(
            error(json!({"template": {"metadata": {"labels": {"a": 1}}}})),
            "json: cannot unmarshal number into Go struct field ObjectMeta.spec.template.metadata.labels of type string"
        );
    }
}
