//! Field managers and their entries in an object.

use crate::value::{self, text};
use serde_json::{Map, Value, json};

/// A field manager: the client that makes a write.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    /// `metadata.managedFields[].manager`, e.g. `kubectl-client-side-apply`.
    pub name: &'a str,
    /// The version that the object was written in.
    pub api_version: &'a str,
    /// `status`, `scale`; empty for the object itself.
    pub subresource: &'a str,
    /// RFC 3339.
    pub now: &'a str,
}

impl Manager<'_> {
    pub(super) fn entry(&self, operation: &str, time: &str, fields: Map<String, Value>) -> Value {
        let mut entry = json!({"manager": self.name, "operation": operation, "apiVersion": self.api_version,
            "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields});
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.into();
        }
        entry
    }

    /// Returns whether an entry is this manager's. An entry of `Apply` is its own in every version
    /// of the API, one of `Update` only in the same version.
    pub(super) fn is(&self, operation: &str, entry: &Value) -> bool {
        text(entry, "operation") == operation
            && text(entry, "manager") == self.name
            && text(entry, "subresource") == self.subresource
            && (operation == "Apply" || text(entry, "apiVersion") == self.api_version)
    }
}

/// Returns whether an entry that a client sends can be read (`DecodeManagedFields` upstream).
pub fn is_readable(entry: &Value) -> bool {
    matches!(text(entry, "operation"), "Apply" | "Update")
        && !text(entry, "apiVersion").is_empty()
        && text(entry, "fieldsType") == "FieldsV1"
        && is_set(value::at(entry, "fieldsV1"))
}

/// Returns whether a value has the form of a set of fields: `{"f:spec": {".": {}}}`.
fn is_set(fields: &Value) -> bool {
    match fields {
        Value::Null => true,
        Value::Object(fields) => fields
            .iter()
            .all(|(key, inner)| key == "." || (key.as_bytes().get(1) == Some(&b':') && is_set(inner))),
        _ => false,
    }
}

/// Returns the fields of an entry.
pub(super) fn fields(entry: &Value) -> Option<&Map<String, Value>> {
    entry.get("fieldsV1")?.as_object()
}

/// Metadata that the server sets; no manager owns it (`stripMetaManager` upstream).
pub(super) const OWN: [&str; 8] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Puts the entries back in upstream's order: appliers first, then by time and name. Entries
/// without fields go.
pub(super) fn store(object: &mut Value, mut entries: Vec<Value>) {
    entries.retain(|e| fields(e).is_some_and(|f| !f.is_empty()));
    let order = |e: &Value| {
        let word = |field| text(e, field).to_string();
        (word("operation"), word("time"), word("manager"), word("apiVersion"), word("subresource"))
    };
    entries.sort_by_cached_key(order);
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if entries.is_empty() {
        metadata.shift_remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), entries.into());
    }
}

/// Sets the time of the manager's entry by `Apply`. An apply that changes nothing leaves the time
/// as it is, so that applying the same once more is no write.
pub fn renew(object: &mut Value, manager: Manager) {
    let mut all = entries(object).to_vec();
    if let Some(own) = all.iter_mut().find(|entry| manager.is("Apply", entry)) {
        own["time"] = manager.now.into();
        store(object, all);
    }
}

/// Returns the entries of an object.
pub(super) fn entries(object: &Value) -> &[Value] {
    value::list(object, "metadata.managedFields")
}

/// Returns an object without what the server itself keeps in it.
pub(super) fn own_part(object: &Value) -> Value {
    let mut top = object.clone();
    let Value::Object(map) = &mut top else { return top };
    map.shift_remove("apiVersion");
    map.shift_remove("kind");
    if let Some(Value::Object(meta)) = map.get_mut("metadata") {
        OWN.iter().for_each(|own| drop(meta.shift_remove(*own)));
        if meta.is_empty() {
            map.shift_remove("metadata");
        }
    }
    top
}
