//! JSON patch (RFC 6902) and merge patch (RFC 7386).

use super::status::Status;
use super::value::as_map;
use serde_json::{Value, json};

const OPERATIONS_MAX: usize = 10_000;

/// Applies a merge patch.
pub fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    let map = as_map(object);
    for (key, value) in fields {
        match value {
            Value::Null => drop(map.shift_remove(key)),
            Value::Object(_) => merge(map.entry(key).or_insert(Value::Null), value),
            other => drop(map.insert(key.clone(), other.clone())),
        }
    }
}

/// Applies a JSON patch given as text.
pub fn json(object: &mut Value, patch: &[u8]) -> Result<(), Status> {
    let operations: json_patch::Patch = serde_json::from_slice(patch)
        .map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    if operations.0.len() > OPERATIONS_MAX {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
            operations.0.len()
        );
        return Err(Status::new(413, "RequestEntityTooLarge", message));
    }
    // On a copy: the crate's own way back panics after a `move` that put a value in the place of what held it.
    let mut patched = object.clone();
    json_patch::patch_unsafe(&mut patched, &operations).map_err(|e| {
        let causes = json!([{"reason": "UnexpectedServerResponse", "message": e.to_string()}]);
        Status::new(422, "Invalid", "the server rejected our request due to an error in our request")
            .with(json!({"causes": causes}))
    })?;
    *object = patched;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_removes_and_lists_are_replaced() {
        let mut object = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x"});
        merge(&mut object, &json!({"a": {"b": null, "c": [3]}, "e": {"f": null, "g": 1}}));
        assert_eq!(object, json!({"a": {"c": [3]}, "d": "x", "e": {"g": 1}}));
    }

    #[test]
    fn what_fails_half_way_changes_nothing() {
        let before = json!({"a": {"b": 1}});
        let mut object = before.clone();
        let patch = br#"[{"op":"move","from":"/a/b","path":"/a"},{"op":"test","path":"/a","value":2}]"#;
        assert_eq!(json(&mut object, patch).unwrap_err().code, 422);
        assert_eq!(object, before);
    }

    #[test]
    fn a_failed_test_is_unprocessable() {
        let mut object = json!({"a": 1});
        let error = json(&mut object, br#"[{"op":"test","path":"/a","value":2}]"#).unwrap_err();
        assert_eq!(error.code, 422);
        assert_eq!(json(&mut object, b"{").unwrap_err().code, 400);
        assert!(json(&mut object, br#"[{"op":"remove","path":"/zz/y"}]"#).is_err());
        json(&mut object, br#"[{"op":"add","path":"/b","value":[1]},{"op":"add","path":"/b/-","value":2}]"#)
            .unwrap();
        assert_eq!(object, json!({"a": 1, "b": [1, 2]}));
    }
}
