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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_server_counts_and_an_empty_map_are_not_wanted() {
        let written = json!({
            "kind": "Pod",
            "metadata": {"name": "web", "labels": {"app": "web"}, "annotations": {}},
            "spec": {"nodeName": "a"},
        });
        let mut stored = written.clone();
        stored["metadata"]["uid"] = json!("1");
        stored["metadata"]["resourceVersion"] = json!("7");
        stored["metadata"].as_object_mut().unwrap().remove("annotations");
        stored["status"] = json!({"phase": "Running"});
        assert_eq!(wanted(&stored), wanted(&written));
        stored["metadata"]["labels"]["app"] = json!("api");
        assert_ne!(wanted(&stored), wanted(&written));
    }
}
