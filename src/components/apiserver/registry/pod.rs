//! What binding and eviction have in common: the kind Pod, and the conditions that this server
//! sets.

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

/// Returns the kind Pod.
///
/// # Errors
/// 500 if the table of kinds has none.
pub(super) fn kind_of_pods() -> Result<&'static Kind, Status> {
    kinds::find("", "v1", "Pod").ok_or_else(|| Status::internal("pods are not served"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_condition_has_the_time_of_its_last_change_of_status() {
        const LONG_AGO: &str = "2001-01-01T00:00:00Z";
        let other = json!({"type": "Ready", "status": "True"});
        let old = json!({"type": "DisruptionTarget", "status": "True", "lastTransitionTime": LONG_AGO});
        let mut pod = json!({"status": {"conditions": [other, old]}});
        let set = |pod: &mut Value, status: &str| {
            set_condition(pod, json!({"type": "DisruptionTarget", "status": status, "reason": "R"}));
            assert_eq!((list(pod, "status.conditions").len(), &pod["status"]["conditions"][0]), (2, &other));
            let condition = &pod["status"]["conditions"][1];
            assert_eq!(text(condition, "reason"), "R");
            text(condition, "lastTransitionTime") == LONG_AGO
        };
        assert!(set(&mut pod, "True"), "the same status");
        assert!(!set(&mut pod, "False"));
    }
}
