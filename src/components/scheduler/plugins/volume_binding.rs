//! VolumeBinding: refuses nodes that cannot reach a volume of the pod, or where an open claim of
//! the pod finds none.
//!
//! The pod has the claim `data`, which is bound to a volume on n1, and the claim `logs` of a class
//! that waits for its first consumer and has no provisioner; one free volume for it is on n1, one
//! on n2:
//!
//! ```text
//!      data        logs           filter
//! n1   is here     a free volume  passes
//! n2   is on n1    a free volume  refused: node affinity of the volume
//! n3   is on n1    none           refused twice: node affinity, no available volume
//! ```
//!
//! [`Volumes::choose`] says which volumes the open claims take on a node.

use crate::framework::{CycleState, Plugin, Refusal};
use crate::node_info::NodeInfo;
use crate::volumes::{self, Volumes};
use api::volumes::is_reachable;

pub(crate) struct VolumeBinding;

const NAME: &str = "VolumeBinding";

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, state: &CycleState, node: &NodeInfo) -> Vec<Refusal> {
        refusals(state.volumes, node).into_iter().map(Refusal::from).collect()
    }
}

/// Returns why the node does not do for the volumes: a bound claim whose volume is on another node,
/// and an open one for which this node has no volume, are two refusals.
pub(super) fn refusals(volumes: &Volumes, node: &NodeInfo) -> Vec<volumes::Refusal> {
    let refusal = |reason| volumes::Refusal { filter: NAME, reason, is_final: true };
    let mut refused = Vec::new();
    if !volumes.bound.iter().all(|v| is_reachable(v, &node.labels)) {
        refused.push(refusal("node(s) didn't match PersistentVolume's node affinity"));
    }
    if volumes.choose(node).is_none() {
        refused.push(refusal("node(s) didn't find available persistent volumes to bind"));
    }
    refused
}
