//! Namespaces, nodes, secrets, roles, priorities.

use crate::meta;
use crate::value::{self, default_zero, list_mut, put, text};
use base64::Engine as _;
use serde_json::{Value, json};

pub fn namespace(object: &mut Value) {
    let name = meta::name(object).to_string();
    if !name.is_empty() {
        value::slot_map(object, "metadata.labels").insert("kubernetes.io/metadata.name".into(), name.into());
    }
}

pub fn prepare_namespace(object: &mut Value) {
    put(object, "status", json!({"phase": "Active"}));
    let slot = value::slot_map(object, "spec").entry("finalizers").or_insert(Value::Null);
    match slot {
        Value::Array(list) => {
            if !list.iter().any(|f| f == "kubernetes") {
                list.push("kubernetes".into());
            }
        }
        other => *other = json!(["kubernetes"]),
    }
}

/// `spec.finalizers` changes through `/finalize` only.
pub fn prepare_namespace_update(new: &mut Value, old: &Value) {
    value::copy(old, new, "spec.finalizers");
}

pub fn prepare_namespace_delete(object: &mut Value) {
    put(object, "status.phase", "Terminating");
}

pub fn node(object: &mut Value) {
    if value::at(object, "status.allocatable").is_null() && value::at(object, "status.capacity").is_object() {
        let capacity = value::at(object, "status.capacity").clone();
        put(object, "status.allocatable", capacity);
    }
}

/// `stringData` goes into `data`; the type is `Opaque` if nothing else is said.
pub fn secret(object: &mut Value) {
    default_zero(object, "type", "Opaque");
    if let Some(Value::Object(texts)) = value::remove(object, "stringData") {
        let data = value::slot_map(object, "data");
        for (key, text) in texts {
            let plain = text.as_str().unwrap_or("");
            data.insert(key, base64::engine::general_purpose::STANDARD.encode(plain).into());
        }
    }
}

/// A container's bounds also are what a container gets that says nothing: the limit is the maximum,
/// the request is the limit, or else the minimum.
pub fn limit_range(object: &mut Value) {
    for item in list_mut(object, "spec.limits").iter_mut().filter(|i| text(i, "type") == "Container") {
        for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            let source = value::at(item, from).clone();
            let slot = value::slot_map(item, to);
            for (name, amount) in source.as_object().into_iter().flatten() {
                slot.entry(name.clone()).or_insert_with(|| amount.clone());
            }
            if slot.is_empty() {
                value::remove(item, to);
            }
        }
    }
}
