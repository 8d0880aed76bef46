//! What binding and eviction have in common: the kind Pod, and the conditions that this server sets.

use api::Status;
use api::kinds::{self, Kind};
use api::value::{self, list, text};
use serde_json::Value;

/// Sets a condition of a pod by its type. The transition time changes only with the status.
pub(super) fn set_condition(pod: &mut Value, mut condition: Value) {
    let now = clock::rfc3339(clock::now());
    let mut all: Vec<Value> = list(pod, "status.conditions").to_vec();
    condition["lastProbeTime"] = Value::Null;
    condition["lastTransitionTime"] = now.into();
    match all.iter_mut().find(|c| text(c, "type") == text(&condition, "type")) {
        Some(found) => {
            if text(found, "status") == text(&condition, "status") {
                condition["lastTransitionTime"] = found["lastTransitionTime"].clone();
            }
            *found = condition;
        }
        None => all.push(condition),
    }
    value::put(pod, "status.conditions", all);
}

/// The kind Pod.
///
/// # Errors
/// 500 if the table of kinds has none.
pub(super) fn kind_of_pods() -> Result<&'static Kind, Status> {
    kinds::find("", "v1", "Pod").ok_or_else(|| Status::internal("pods are not served"))
}
