//! PodTopologySpread: spreads the pods of one controller over the nodes.
//!
//! It only scores, and only by node: the fewer pods of the pod's own controller a node has,
//! compared with the node that has most, the better. A fourth pod of the ReplicaSet `web`:
//!
//! ```text
//!      pods of web   score                  times 2
//! n1   2             (2 - 2) / 2 =   0      0
//! n2   1             (2 - 1) / 2 =  50      100
//! n3   0             (2 - 0) / 2 = 100      200
//! ```
//!
//! Where no node has one yet, all score 100. A pod without a controller gets no score. Upstream's
//! default constraints count zones, too, and weigh less: a node's raw score is
//! `pods * ln(nodes + 2) + 2`, rounded, and the node with most pods keeps a part of the 100. For
//! these three nodes it is 5, 4 and 2, which becomes 40, 60 and 100. Constraints of the pod's own
//! are left out.

use crate::framework::{CycleState, Plugin, Siblings};
use crate::node_info::{NodeInfo, controller};

pub(crate) struct PodTopologySpread;

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    /// Finds the largest number of pods of the same controller on a node that passed the filters.
    fn pre_score(&self, state: &mut CycleState, fitting: &[&NodeInfo]) -> Result<(), String> {
        state.siblings = controller(state.pod()).map(|owner| {
            let most = fitting.iter().map(|node| siblings_on(node, &owner)).max().unwrap_or(0);
            Siblings { owner, most }
        });
        Ok(())
    }

    fn score(&self, state: &CycleState, node: &NodeInfo) -> Option<i64> {
        let Siblings { owner, most } = state.siblings.as_ref()?;
        Some(match *most {
            0 => 100,
            most => (most - siblings_on(node, owner)) * 100 / most,
        })
    }
}

/// Returns how many pods of the controller with this uid are on the node.
fn siblings_on(node: &NodeInfo, owner: &str) -> i64 {
    node.siblings.get(owner).copied().unwrap_or(0)
}
