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
    use crate::volumes::Volumes;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    /// Returns whether a node with these taints is refused, and its raw score.
    fn verdict(taints: &[(&str, &str)], tolerations: Value) -> (bool, Option<i64>) {
        let taint = |(key, effect): &(&str, &str)| Taint {
            key: (*key).into(),
            value: Some("v".into()),
            effect: (*effect).into(),
            ..Taint::default()
        };
        let node = NodeInfo { taints: taints.iter().map(taint).collect(), ..NodeInfo::default() };
        let pod: Pod =
            serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}})).unwrap();
        let volumes = Volumes::default();
        let state = CycleState::new(&pod, &volumes);
        let refused = TaintToleration.filter(&state, &node);
        let is_final = refused.iter().all(|refusal| refusal.is_final);
        assert!(is_final, "evicting other pods would not help: {refused:?}");
        (!refused.is_empty(), TaintToleration.score(&state, &node))
    }

    #[test]
    fn a_hard_taint_refuses_unless_its_very_effect_is_tolerated() {
        for effect in ["NoSchedule", "NoExecute"] {
            let hard = [("k", effect)];
            let refused = |tolerations: Value| verdict(&hard, tolerations).0;
            assert!(refused(json!([])), "{effect}");
            assert!(!refused(json!([{"operator": "Exists"}])), "{effect}");
            assert!(!refused(json!([{"key": "k", "value": "v", "effect": effect}])), "{effect}");
            assert!(refused(json!([{"key": "k", "value": "w"}])), "{effect}");
            let other = if effect == "NoExecute" { "NoSchedule" } else { "NoExecute" };
            assert!(refused(json!([{"key": "k", "operator": "Exists", "effect": other}])), "{effect}");
        }
    }

    #[test]
    fn soft_taints_that_are_not_tolerated_are_counted_and_refuse_nothing() {
        let soft = [("a", "PreferNoSchedule"), ("b", "PreferNoSchedule")];
        assert_eq!(verdict(&soft, json!([])), (false, Some(2)));
        assert_eq!(verdict(&soft, json!([{"key": "a", "operator": "Exists"}])), (false, Some(1)));
        let hard = [("a", "NoSchedule"), ("b", "PreferNoSchedule")];
        assert_eq!(verdict(&hard, json!([{"key": "a", "operator": "Exists"}])), (false, Some(1)));
    }
}
