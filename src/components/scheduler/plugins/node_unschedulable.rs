//! NodeUnschedulable: refuses nodes that are cordoned.
//!
//! `kubectl cordon n2` sets `spec.unschedulable` of the node. A pod may tolerate that as if it were
//! a taint, which the pods of DaemonSets do:
//!
//! ```text
//! pod                                                               n2, cordoned
//! web                                                               refused
//! tolerates node.kubernetes.io/unschedulable:NoSchedule (Exists)    passes
//! ```

use crate::framework::{CycleState, Plugin, Refusal};
use crate::node_info::NodeInfo;
use api::nodes::tolerates;
use k8s_openapi::api::core::v1::Taint;

pub(crate) struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn filter(&self, state: &CycleState, node: &NodeInfo) -> Vec<Refusal> {
        if !node.unschedulable {
            return Vec::new();
        }
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        match state.tolerations().iter().any(|t| tolerates(t, &taint)) {
            true => Vec::new(),
            false => vec![Refusal::unresolvable(self.name(), "node(s) were unschedulable")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::Volumes;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    #[test]
    fn a_cordoned_node_takes_pods_that_tolerate_it_as_those_of_daemon_sets() {
        let cordoned = NodeInfo { unschedulable: true, ..NodeInfo::default() };
        let key = "node.kubernetes.io/unschedulable";
        let is_refused = |node: &NodeInfo, tolerations: Value| {
            let pod = json!({"spec": {"containers": [], "tolerations": tolerations}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            let volumes = Volumes::default();
            !NodeUnschedulable.filter(&CycleState::new(&pod, &volumes), node).is_empty()
        };
        assert!(is_refused(&cordoned, json!([])));
        assert!(!is_refused(&NodeInfo::default(), json!([])));
        assert!(!is_refused(&cordoned, json!([{"key": key, "operator": "Exists", "effect": "NoSchedule"}])));
        assert!(is_refused(&cordoned, json!([{"key": key, "operator": "Exists", "effect": "NoExecute"}])));
    }
}
