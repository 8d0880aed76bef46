//! What the authors of an object have written, apart from what the cluster adds.

use serde_json::Value;

/// Of an object, what its authors want: all but its status and what the server counts.
pub(crate) fn wanted(object: &Value) -> Value {
    let mut wanted = object.clone();
    let counted = ["creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"];
    if let Some(metadata) = wanted["metadata"].as_object_mut() {
        counted.iter().for_each(|key| _ = metadata.remove(*key));
        // None, or an empty one: both say nothing.
        metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
    if let Some(whole) = wanted.as_object_mut() {
        whole.remove("status");
    }
    wanted
}
