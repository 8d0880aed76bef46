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
