//! Upstream's sentences for operations that fail. Source: `patch.go` of `evanphx/json-patch` 4.13.

use crate::errors::brief;
use json_patch::jsonptr::Pointer;
use json_patch::{PatchError, PatchOperation};
use serde_json::Value;

/// Says why an operation failed on this object. Rare failures are told in the words of `json_patch`.
pub(super) fn failure(object: &Value, operation: &PatchOperation, error: &PatchError) -> String {
    let told = match operation {
        PatchOperation::Test(test) => {
            Some(format!("testing value {} failed: test failed", brief(test.path.as_str())))
        }
        PatchOperation::Add(add) => unplaced(object, &add.path, "add"),
        PatchOperation::Remove(remove) => unplaced(object, &remove.path, "remove"),
        PatchOperation::Replace(_) | PatchOperation::Move(_) | PatchOperation::Copy(_) => None,
    };
    told.unwrap_or_else(|| error.to_string())
}

/// Says that an object has no such place for an operation of this kind.
fn unplaced(object: &Value, path: &Pointer, kind: &str) -> Option<String> {
    let (parent, last) = path.split_back()?;
    let last = last.decoded();
    let why = match object.pointer(parent.as_str()) {
        Some(Value::Object(_)) => {
            format!("Unable to {kind} nonexistent key: {}: missing value", brief(&last))
        }
        Some(Value::Array(_)) => {
            let index: i64 = last.parse().ok()?;
            format!("Unable to access invalid index: {index}: invalid index referenced")
        }
        _ => {
            return Some(format!(
                "{kind} operation does not apply: doc is missing path: \"{}\": missing value",
                brief(path.as_str())
            ));
        }
    };
    Some(format!("error in {kind} for path: '{}': {why}", brief(path.as_str())))
}
