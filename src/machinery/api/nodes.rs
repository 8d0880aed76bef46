//! Which nodes a pod asks for, and which it puts up with: `NodeSelectorTerm` and `Toleration`, as
//! the scheduler and the controllers read them.

use super::labels::meets;
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration};
use std::collections::BTreeMap;

/// Returns whether a node fits a term. All its requirements have to hold; a term without any fits
/// no node. The one field a term may name is `metadata.name`.
pub fn fits(term: &NodeSelectorTerm, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let by_field = term.match_fields.as_deref().unwrap_or_default();
    fits_by_labels(term, labels) && by_field.iter().all(|r| r.key == "metadata.name" && holds(r, Some(name)))
}

/// As [`fits`], but what a term says of fields does not matter: a term whose `matchFields` name
/// another node fits, too. Only a volume's affinity is read so, see `volumes::is_on`.
pub(crate) fn fits_by_labels(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>) -> bool {
    let by_label = term.match_expressions.as_deref().unwrap_or_default();
    let is_empty = by_label.is_empty() && term.match_fields.as_deref().unwrap_or_default().is_empty();
    !is_empty && by_label.iter().all(|r| holds(r, labels.get(&r.key).map(String::as_str)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    meets(&requirement.operator, value, requirement.values.as_deref().unwrap_or_default())
}

/// Returns whether the toleration covers the taint (`core/v1 helper.TolerationsTolerateTaint`).
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let empty = |s: &Option<String>| s.as_deref().unwrap_or_default().is_empty();
    if !empty(&toleration.effect) && toleration.effect.as_deref() != Some(&taint.effect) {
        return false;
    }
    if !empty(&toleration.key) && toleration.key.as_deref() != Some(&taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => {
            !empty(&toleration.key)
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_term_is_met_as_a_whole() {
        let labels = BTreeMap::from([("zone".to_string(), "a".to_string()), ("cores".into(), "8".into())]);
        for (term, expected) in [
            (json!({}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}), true),
            (json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}), false),
            (json!({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["hdd"]}]}), true),
            (json!({"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["7"]}]}), true),
            (json!({"matchExpressions": [{"key": "cores", "operator": "Lt", "values": ["8"]}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "Gt", "values": ["1"]}]}), false),
            (
                json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}, {"key": "cores", "operator": "DoesNotExist"}]}),
                false,
            ),
            (json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}), true),
            (json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}), false),
            (json!({"matchFields": [{"key": "spec.unschedulable", "operator": "Exists"}]}), false),
        ] {
            let read: NodeSelectorTerm = serde_json::from_value(term.clone()).unwrap();
            assert_eq!(fits(&read, "n1", &labels), expected, "{term}");
        }
    }
}
