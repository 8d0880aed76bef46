//! VolumeRestrictions: keeps a pod from every node while another pod uses one of its claims that
//! only one pod may use.
//!
//! `db-0` runs with a claim of the access mode ReadWriteOncePod. `db-copy` names the same claim:
//! every node refuses it until `db-0` is gone. Evicting `db-0` would help, so it is not final.

use crate::framework::{CycleState, Plugin, Refusal};
use crate::node_info::NodeInfo;
use crate::volumes::{self, Volumes};

pub(crate) struct VolumeRestrictions;

const NAME: &str = "VolumeRestrictions";
const IN_USE: &str = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, state: &CycleState, node: &NodeInfo) -> Vec<Refusal> {
        refusals(state.volumes, node).into_iter().map(Refusal::from).collect()
    }
}

/// Returns why the volumes keep the pod from the node, which is the same for all nodes.
pub(super) fn refusals(volumes: &Volumes, _node: &NodeInfo) -> Vec<volumes::Refusal> {
    match volumes.is_taken {
        true => vec![volumes::Refusal { filter: NAME, reason: IN_USE, is_final: false }],
        false => Vec::new(),
    }
}
