//! Certificate signing requests: who may change which part of one.

use crate::value::{self, at, list, put, text};
use serde_json::{Value, json};

/// Who decides, and what a decision is.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];

/// Fields that a write through each subresource does not change: the spec never changes,
/// `/approval` writes conditions alone. Conditions through `/status` have no owner, as upstream.
pub const RESETS: &[(&str, &str)] =
    &[("", "spec"), ("approval", "status.certificate"), ("status", "status.conditions")];

/// A new request is undecided, whatever its maker says.
pub fn prepare(object: &mut Value) {
    put(object, "status", json!({}));
}

/// What is asked for never changes.
pub fn prepare_update(new: &mut Value, old: &Value) {
    value::copy(old, new, "spec");
}

fn is_decision(condition: &Value) -> bool {
    DECISIONS.contains(&text(condition, "type"))
}

/// `/approval` writes all conditions and nothing else, `/status` everything but decisions.
/// Conditions get their times.
pub fn prepare_status_update(new: &mut Value, old: &Value, subresource: &str) {
    let approval = subresource == "approval";
    let mut conditions: Vec<Value> = match approval {
        true => list(new, "status.conditions").to_vec(),
        false => {
            let decided = list(old, "status.conditions").iter().filter(|c| is_decision(c));
            let others = list(new, "status.conditions").iter().filter(|c| !is_decision(c));
            decided.chain(others).cloned().collect()
        }
    };
    let now = clock::rfc3339(clock::now());
    for condition in &mut conditions {
        let before = list(old, "status.conditions").iter().find(|c| {
            text(c, "type") == text(condition, "type") && text(c, "status") == text(condition, "status")
        });
        let since = before.map_or(now.as_str(), |c| text(c, "lastTransitionTime"));
        value::default_zero(condition, "lastTransitionTime", since);
        value::default_zero(condition, "lastUpdateTime", now.as_str());
    }
    if approval {
        value::copy(old, new, "status");
    }
    match conditions.is_empty() {
        true => drop(value::remove(new, "status.conditions")),
        false => put(new, "status.conditions", conditions),
    }
    if at(new, "status").is_null() {
        put(new, "status", json!({}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_does_not_approve_and_an_approver_does_not_sign() {
        let old = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "lastTransitionTime": "a", "lastUpdateTime": "b"}]}});
        let mut signed = json!({"status": {"certificate": "x", "conditions": [{"type": "Denied", "status": "True"}, {"type": "Failed", "status": "True"}]}});
        let mut approved = signed.clone();
        prepare_status_update(&mut signed, &old, "status");
        let types = |o: &Value| {
            list(o, "status.conditions").iter().map(|c| text(c, "type").to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            (types(&signed), text(&signed, "status.certificate")),
            (vec!["Approved".into(), "Failed".into()], "x")
        );
        prepare_status_update(&mut approved, &old, "approval");
        assert_eq!(
            (types(&approved), text(&approved, "status.certificate")),
            (vec!["Denied".into(), "Failed".into()], "")
        );
        assert!(!text(&list(&approved, "status.conditions")[0], "lastUpdateTime").is_empty());
    }

    #[test]
    fn an_approver_writes_conditions_of_any_type() {
        let mut patched = json!({"status": {"conditions": [{"type": "Reviewed", "status": "True"}]}});
        prepare_status_update(&mut patched, &json!({"status": {}}), "approval");
        let kept = list(&patched, "status.conditions");
        assert_eq!((kept.len(), text(&kept[0], "type")), (1, "Reviewed"));
        assert!(!text(&kept[0], "lastTransitionTime").is_empty());
    }
}
