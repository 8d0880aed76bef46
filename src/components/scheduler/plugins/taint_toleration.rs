//! TaintToleration: refuses nodes with a hard taint (`NoSchedule`, `NoExecute`) that the pod does
//! not tolerate, and prefers nodes with few soft ones (`PreferNoSchedule`).
//!
//! The score counts the soft taints that the pod does not tolerate; fewer is better. Three nodes
//! for a pod without tolerations:
//!
//! ```text
//!      taints                     filter    count   of the largest, reversed   times 3
//! n1   none                       passes    0       100                        300
//! n2   slow:PreferNoSchedule      passes    1       0                          0
//! n3   gpu:NoSchedule             refused
//! ```
//!
//! If no node has a soft taint the plug-in gives no scores: it would say the same of all.

use crate::framework::{CycleState, Normalize, Plugin, Refusal};
use crate::node_info::NodeInfo;
use api::nodes::tolerates;
use k8s_openapi::api::core::v1::Taint;

pub(crate) struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter(&self, state: &CycleState, node: &NodeInfo) -> Vec<Refusal> {
        let is_hard = |t: &&Taint| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute");
        let mut hard = node.taints.iter().filter(is_hard);
        let Some(taint) = hard.find(|taint| !is_tolerated(state, taint)) else { return Vec::new() };
        let value = taint.value.as_deref().unwrap_or_default();
        let detail = Some(format!("{{{}: {value}}}", taint.key));
        vec![Refusal { detail, ..Refusal::unresolvable(self.name(), "node(s) had untolerated taint(s)") }]
    }

    fn score(&self, state: &CycleState, node: &NodeInfo) -> Option<i64> {
        let soft = node.taints.iter().filter(|t| t.effect == "PreferNoSchedule");
        Some(soft.filter(|taint| !is_tolerated(state, taint)).count() as i64)
    }

    fn normalize(&self) -> Normalize {
        Normalize::Smallest
    }
}

/// Returns whether one of the pod's tolerations covers the taint.
fn is_tolerated(state: &CycleState, taint: &Taint) -> bool {
    state.tolerations().iter().any(|toleration| tolerates(toleration, taint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_follow_the_api() {
        let taint = Taint {
            key: "k".into(),
            value: Some("v".into()),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        let t = |json: serde_json::Value| tolerates(&serde_json::from_value(json).unwrap(), &taint);
        assert!(t(serde_json::json!({"operator": "Exists"})));
        assert!(t(serde_json::json!({"key": "k", "value": "v", "effect": "NoSchedule"})));
        assert!(!t(serde_json::json!({"key": "k", "value": "w"})));
        assert!(!t(serde_json::json!({"key": "k", "operator": "Exists", "effect": "NoExecute"})));
    }
}
