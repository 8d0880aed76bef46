//! Reading `metadata`, and the two names that every object answers to.

use super::value;
use clock::Timestamp;
use serde_json::Value;

/// `metadata.name`, empty if it has none.
pub fn name(object: &Value) -> &str {
    value::text(object, "metadata.name")
}
/// `metadata.namespace`, empty if it has none.
pub fn namespace(object: &Value) -> &str {
    value::text(object, "metadata.namespace")
}
/// `metadata.uid`, empty if it has none.
pub fn uid(object: &Value) -> &str {
    value::text(object, "metadata.uid")
}
/// `metadata.resourceVersion` as text, empty if it has none.
pub fn resource_version(object: &Value) -> &str {
    value::text(object, "metadata.resourceVersion")
}
/// Returns the resourceVersion that the object is to have for a write to be done; empty if none is
/// asked for. `0` and `00` ask for none, as Go's zero value.
pub fn locked_version(object: &Value) -> &str {
    let version = resource_version(object);
    if version.trim_start_matches('0').is_empty() { "" } else { version }
}
/// `metadata.generation`, 0 if it has none.
pub fn generation(object: &Value) -> i64 {
    value::int(object, "metadata.generation").unwrap_or(0)
}
/// True if a deletion has begun: it has a `metadata.deletionTimestamp`.
pub fn is_terminating(object: &Value) -> bool {
    !value::empty(object, "metadata.deletionTimestamp")
}
/// Returns the names in `metadata.finalizers`. The object is not removed before they are.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    value::list(object, "metadata.finalizers").iter().filter_map(Value::as_str)
}
/// Returns the owner reference of the controller that manages the object, if one does (upstream's
/// `GetControllerOf`). Other owners only take the object with them when they are deleted.
pub fn controller(object: &Value) -> Option<&Value> {
    value::list(object, "metadata.ownerReferences").iter().find(|owner| owner["controller"] == true)
}
/// Returns the value of a label, if it has it.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    value::map(object, "metadata.labels")?.get(key)?.as_str()
}
/// Returns the value of an annotation, if it has it.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    value::map(object, "metadata.annotations")?.get(key)?.as_str()
}

/// Returns the time at `path`, if it is one.
pub fn time(object: &Value, path: &str) -> Option<Timestamp> {
    value::text(object, path).parse().ok()
}

/// Brings kind, apiVersion, metadata, spec, data and status of an object into the order that people
/// expect.
pub fn in_order(object: &mut Value) {
    const FIRST: [&str; 4] = ["kind", "apiVersion", "metadata", "spec"];
    if let Value::Object(map) = object {
        if map.keys().take(3).eq(FIRST[..3].iter()) {
            return;
        }
        let mut sorted = serde_json::Map::with_capacity(map.len());
        for key in FIRST {
            if let Some(v) = map.shift_remove(key) {
                sorted.insert(key.to_string(), v);
            }
        }
        sorted.extend(std::mem::take(map));
        *map = sorted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_version_of_zeros_locks_nothing() {
        for (version, locked) in [("", ""), ("0", ""), ("00", ""), ("007", "007"), ("10", "10")] {
            let object = json!({"metadata": {"resourceVersion": version}});
            assert_eq!(locked_version(&object), locked, "{version}");
        }
    }

    #[test]
    fn the_controller_is_the_owner_that_manages_the_object() {
        let object = |owners: Value| json!({"metadata": {"ownerReferences": owners}});
        let both = object(json!([{"uid": "a"}, {"uid": "b", "controller": true}]));
        assert_eq!(controller(&both).map(|owner| &owner["uid"]), Some(&json!("b")));
        for none in [object(json!([{"uid": "a", "controller": false}])), object(json!([])), json!({})] {
            assert_eq!(controller(&none), None);
        }
    }
}
