//! Zero values that a Go server does not store: `tty: false`, `hostname: ""`, `env: []`.
//!
//! Upstream decodes an object into structs and writes it from them. There a field that is no
//! pointer and has `omitempty` is the same whether it was left out or set to its zero, and is left
//! out of what is written. Here an object stays JSON, so the zeros are taken out before it is
//! compared and stored: else a template with `tty: false` would differ from the same one without
//! that line.
//!
//! Which fields these are is said by the marks of `protobuf/messages.txt`. A message is never taken
//! out: `emptyDir: {}` means something. Server-side apply owns what was sent, so zeros are taken
//! out after its merge.

use super::protobuf::{self, Field, Shape};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The fields of a message by their JSON names. Embedded messages stand inline.
type Fields = HashMap<&'static str, Field>;

static FIELDS: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for name in protobuf::names() {
        let mut fields = Fields::new();
        inline(name, &mut fields);
        all.insert(name, fields);
    }
    all
});

fn inline(name: &str, into: &mut Fields) {
    for field in protobuf::fields(name) {
        match field.json {
            "*" => inline(field.kind, into),
            json => drop(into.insert(json, field)),
        }
    }
}

/// Returns the message of a published type: `io.k8s.api.core.v1.Pod` is `api.core.v1.Pod`.
fn message(schema_name: &str) -> Option<String> {
    let name = schema_name.strip_prefix("io.k8s.")?;
    Some(match name.strip_prefix("apiextensions-apiserver.pkg.apis.") {
        Some(rest) => format!("api.{rest}"),
        None => name.to_string(),
    })
}

/// Takes the zeros out of an object of the type `schema_name`, e.g. `io.k8s.api.core.v1.Pod`.
pub(crate) fn drop_zeros(schema_name: &str, object: &mut Value) {
    if let Some(name) = message(schema_name) {
        walk(&name, object);
    }
}

fn walk(name: &str, value: &mut Value) {
    let short = name.rsplit('.').next().unwrap_or(name);
    match (short, value) {
        // Whatever a client put there: it has no fields of this server's.
        ("RawExtension" | "FieldsV1" | "JSON", _) => {}
        ("JSONSchemaPropsOrArray" | "JSONSchemaPropsOrStringArray", Value::Array(items)) => {
            items.iter_mut().for_each(|item| walk(protobuf::SCHEMA, item));
        }
        (_, Value::Object(map)) if short.starts_with("JSONSchemaPropsOr") => {
            fields_of(protobuf::SCHEMA, map);
        }
        (_, Value::Object(map)) => fields_of(name, map),
        _ => {}
    }
}

fn fields_of(name: &str, map: &mut Map<String, Value>) {
    let Some(fields) = FIELDS.get(name) else { return };
    let is_unset = |key: &str, value: &Value| fields.get(key).is_some_and(|field| field.omits(value));
    if map.iter().any(|(key, value)| is_unset(key, value)) {
        map.retain(|key, value| !is_unset(key, value));
    }
    for (key, value) in map {
        let Some(field) = fields.get(key.as_str()).filter(|field| field.is_message()) else { continue };
        match (field.shape, value) {
            (Shape::One, value) => walk(field.kind, value),
            (Shape::Repeated, Value::Array(items)) => {
                items.iter_mut().for_each(|item| walk(field.kind, item));
            }
            (Shape::Map, Value::Object(map)) => map.values_mut().for_each(|item| walk(field.kind, item)),
            _ => {}
        }
    }
}

impl Field {
    /// True if `value` is what Go leaves out of this field.
    fn omits(self, value: &Value) -> bool {
        match (self.shape, value) {
            _ if self.keep_zero => false,
            (Shape::One, _) => !self.is_message() && protobuf::is_zero(value),
            (Shape::Repeated, Value::Array(items)) => items.is_empty(),
            (Shape::Map, Value::Object(map)) => map.is_empty(),
            _ => false,
        }
    }

    fn is_message(self) -> bool {
        self.kind.contains('.')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kinds, published};
    use serde_json::json;

    fn stored(group: &str, version: &str, kind: &str, mut object: Value) -> Value {
        kinds::find(group, version, kind).unwrap().drop_zeros(&mut object);
        object
    }

    #[test]
    fn what_go_leaves_out_is_not_stored() {
        let container = json!({"name": "c", "tty": false, "stdin": false, "args": [], "command": ["x", ""], "env": [],
            "resources": {}, "securityContext": {"privileged": false},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": false, "subPath": ""}],
            "ports": [{"containerPort": 80, "hostPort": 0, "name": ""}]});
        let spec = json!({"containers": [container], "hostname": "", "subdomain": "web", "hostNetwork": false,
            "nodeSelector": {}, "tolerations": [], "affinity": {}, "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false, "volumes": [{"name": "v", "emptyDir": {"medium": ""}}]});
        let meta = json!({"name": "p", "labels": {"a": ""}, "annotations": {}, "finalizers": [],
            "ownerReferences": [{"controller": false}]});
        let pod = stored("", "v1", "Pod", json!({"metadata": meta, "spec": spec}));
        let container = json!({"name": "c", "command": ["x", ""],
            "resources": {}, "securityContext": {"privileged": false},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}], "ports": [{"containerPort": 80}]});
        let want = json!({"metadata": {"name": "p", "labels": {"a": ""}, "ownerReferences": [{"controller": false}]},
            "spec": {"containers": [container], "subdomain": "web", "affinity": {}, "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false, "volumes": [{"name": "v", "emptyDir": {}}]}});
        assert_eq!(pod, want);
    }

    #[test]
    fn what_means_something_stays() {
        let hpa = json!({"spec": {"behavior": {"scaleUp": {"policies": []}}, "metrics": []}});
        let terms = json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": []}}, "storageClassName": ""}});
        let claim = json!({"spec": {"storageClassName": "", "selector": {}, "accessModes": []}});
        let data = json!({"data": {"a": "", "b": false, "c": []}, "revision": 0});
        for (group, version, kind, object, want) in [
            (
                "autoscaling",
                "v2",
                "HorizontalPodAutoscaler",
                hpa,
                json!({"spec": {"behavior": {"scaleUp": {"policies": []}}}}),
            ),
            (
                "",
                "v1",
                "PersistentVolume",
                terms,
                json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": []}}}}),
            ),
            (
                "",
                "v1",
                "PersistentVolumeClaim",
                claim,
                json!({"spec": {"storageClassName": "", "selector": {}}}),
            ),
            ("apps", "v1", "ControllerRevision", data.clone(), data),
            ("rbac.authorization.k8s.io", "v1", "Role", json!({"rules": []}), json!({"rules": []})),
            ("", "v1", "ConfigMap", json!({"data": {"a": ""}, "binaryData": {}}), json!({"data": {"a": ""}})),
            ("apps", "v1", "Deployment", json!({"status": {"replicas": 0}}), json!({"status": {}})),
            (
                "apps",
                "v1",
                "ReplicaSet",
                json!({"status": {"replicas": 0}}),
                json!({"status": {"replicas": 0}}),
            ),
        ] {
            assert_eq!(stored(group, version, kind, object), want, "{kind}");
        }
    }

    #[test]
    fn the_schema_of_a_definition_keeps_its_defaults() {
        let schema = |schema: Value| json!({"spec": {"versions": [{"name": "v1", "served": false, "schema": {"openAPIV3Schema": schema}}]}});
        let full = schema(json!({"type": "object", "description": "", "nullable": false, "required": [],
            "properties": {"a": {"type": "object", "default": {"n": 0, "l": []}, "enum": [{"b": false}]},
                "l": {"type": "array", "items": {"type": "string", "format": ""}},
                "m": {"additionalProperties": {"type": "boolean", "default": false, "title": ""}},
                "f": {"type": "object", "x-kubernetes-preserve-unknown-fields": false, "additionalProperties": false}}}));
        let want = schema(json!({"type": "object",
            "properties": {"a": {"type": "object", "default": {"n": 0, "l": []}, "enum": [{"b": false}]},
                "l": {"type": "array", "items": {"type": "string"}},
                "m": {"additionalProperties": {"type": "boolean", "default": false}},
                "f": {"type": "object", "x-kubernetes-preserve-unknown-fields": false, "additionalProperties": false}}}));
        assert_eq!(stored("apiextensions.k8s.io", "v1", "CustomResourceDefinition", full), want);
    }

    /// The marks speak of every field that an object can have.
    #[test]
    fn every_field_of_every_type_is_known() {
        for (name, schema) in published::schemas() {
            let Some(properties) = schema["properties"].as_object() else { continue };
            let fields = FIELDS.get(message(name).unwrap().as_str()).unwrap_or_else(|| panic!("{name}"));
            for field in properties.keys().filter(|f| !["apiVersion", "kind"].contains(&f.as_str())) {
                assert!(fields.contains_key(field.as_str()), "{name}.{field}");
            }
        }
    }
}
