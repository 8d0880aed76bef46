//! A definition's schema as clients are told it, in OpenAPI v3: with the fields that every object
//! has.

use crate::value::{flag, map};
use serde_json::{Map, Value, json};

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// Returns the published schema of whole objects.
pub(super) fn schema(source: &Value) -> Value {
    let mut published = source.clone();
    if !published.is_object() {
        published = json!({"type": "object"});
    }
    envelope(&mut published);
    inner(&mut published);
    published
}

fn envelope(schema: &mut Value) {
    let fields = Map::from_iter([
        ("apiVersion".to_string(), json!({"type": "string", "description": API_VERSION})),
        ("kind".to_string(), json!({"type": "string", "description": KIND})),
        (
            "metadata".to_string(),
            json!({"description": METADATA, "allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}]}),
        ),
    ]);
    let mut all = fields;
    for (name, field) in map(schema, "properties").into_iter().flatten() {
        all.entry(name.clone()).or_insert(field.clone());
    }
    schema["properties"] = Value::Object(all);
}

/// Gives the embedded objects inside of a schema these fields as well.
fn inner(schema: &mut Value) {
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        fields.values_mut().for_each(embedded);
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(word).filter(|s| s.is_object()) {
            embedded(inner);
        }
    }
}

fn embedded(schema: &mut Value) {
    if flag(schema, "x-kubernetes-embedded-resource") {
        envelope(schema);
    }
    inner(schema);
}
