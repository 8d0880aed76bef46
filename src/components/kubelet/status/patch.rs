//! The patch that writes a pod's status, and whether one has to be written. Pure.

use client::Codec;
use k8s_openapi::api::core::v1::PodStatus;
use serde_json::Value;

/// Fields of a pod's status that the kubelet alone decides and may have nothing to say in. The
/// others always have a value (`phase`, `conditions`), are kept by the API server (`qosClass`,
/// `observedGeneration`), or belong to other components (`nominatedNodeName`,
/// `resourceClaimStatuses`).
const CLEARED: [&str; 10] = [
    "message",
    "reason",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
];

fn value_of(status: &PodStatus) -> Value {
    status.encode().unwrap_or_default()
}

/// Returns the JSON merge patch (RFC 7386) of a pod's status from the stored one to the new one. A
/// merge patch keeps each field that it does not name, so a field that the kubelet owns and that is
/// absent now is written as null:
///
/// ```text
/// stored  phase: Running, message: "container a: …", nominatedNodeName: n1
/// new     phase: Running
/// patch   phase: Running, message: null                 nominatedNodeName is the scheduler's
/// ```
pub(crate) fn patch(old: Option<&PodStatus>, new: &PodStatus) -> Value {
    let (old, mut patch) = (old.map(value_of).unwrap_or_default(), value_of(new));
    if let Some(fields) = patch.as_object_mut() {
        for field in CLEARED.into_iter().filter(|field| old.get(field).is_some_and(|value| !value.is_null()))
        {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    patch
}

/// Returns true if the new status has to be written. Unchanged conditions have their old times
/// already.
pub(crate) fn differs(old: Option<&PodStatus>, new: &PodStatus) -> bool {
    old.is_none_or(|old| {
        let (before, patch) = (value_of(old), patch(Some(old), new));
        let Some(patch) = patch.as_object() else { return true };
        patch.iter().any(|(key, value)| before.get(key) != Some(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_that_the_kubelet_has_nothing_to_say_in_is_cleared_and_those_of_others_stay() {
        let read = |status: Value| -> PodStatus { serde_json::from_value(status).unwrap() };
        let stored = json!({
            "phase": "Running", "message": "container a: it has no limits", "nominatedNodeName": "n1",
            "qosClass": "BestEffort", "resourceClaimStatuses": [{"name": "c"}], "observedGeneration": 3,
        });
        let (old, new) = (read(stored.clone()), read(json!({"phase": "Running"})));
        assert!(differs(Some(&old), &new), "the message has to go");
        assert_eq!(patch(Some(&old), &new), json!({"phase": "Running", "message": null}));
        let mut written = stored;
        written.as_object_mut().unwrap().remove("message");
        assert!(!differs(Some(&read(written)), &new), "what is left is not the kubelet's");
        assert_eq!(patch(None, &new), json!({"phase": "Running"}));
    }
}
