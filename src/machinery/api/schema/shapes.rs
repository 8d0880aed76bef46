//! The published schemas in a compact form, made once.

use crate::published;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

#[derive(Clone, Debug)]
pub(super) enum Shape {
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
    /// A schema in the schema of a definition, or what may stand in its place.
    SchemaOr(usize, Other),
}

/// What may stand in place of a schema: `additionalProperties: true`, lists in `items` and in
/// `dependencies`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Other {
    Bool,
    Schemas,
    Texts,
}

impl Other {
    /// Finds the one that the name of a type says, such as `JSONSchemaPropsOrBool`.
    fn of(short: &str) -> Option<Other> {
        match short.strip_prefix("JSONSchemaPropsOr")? {
            "Bool" => Some(Other::Bool),
            "Array" => Some(Other::Schemas),
            "StringArray" => Some(Other::Texts),
            _ => None,
        }
    }
}

pub(super) struct Struct {
    /// `io.k8s.api.core.v1.PodSpec`
    pub(super) name: String,
    pub(super) fields: HashMap<String, Shape>,
}

impl Struct {
    /// `PodSpec`
    pub(super) fn short(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or("")
    }
    /// `v1.PodSpec`
    pub(super) fn go(&self) -> &str {
        let mut dots = self.name.rmatch_indices('.');
        dots.next();
        dots.next().map_or(&self.name, |(i, _)| &self.name[i + 1..])
    }
}

#[derive(Default)]
pub(super) struct Schemas {
    pub(super) structs: Vec<Struct>,
    pub(super) by_name: HashMap<String, usize>,
}

pub(super) static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
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

/// Returns where a type stands, given its name, e.g. `io.k8s.api.apps.v1.Deployment`.
pub(super) fn root(type_name: &str) -> Option<usize> {
    SCHEMAS.by_name.get(type_name).copied()
}

fn shape(schema: &Value, known: &Schemas, definitions: &Map<String, Value>) -> Shape {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or("");
        let short = name.rsplit('.').next().unwrap_or("");
        let of_schema = name.split_once("Or").and_then(|(schema, _)| known.by_name.get(schema));
        if let (Some(other), Some(index)) = (Other::of(short), of_schema) {
            return Shape::SchemaOr(*index, other);
        }
        return match (short, definitions.get(name), known.by_name.get(name)) {
            ("Quantity", ..) => Shape::Quantity,
            ("IntOrString", ..) => Shape::IntOrText,
            ("Time", ..) => Shape::Time,
            ("MicroTime", ..) => Shape::MicroTime,
            // The one type that has no fields; others without any hold what a client likes.
            ("CustomResourceSubresourceStatus", _, Some(index)) => Shape::Struct(*index),
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
