//! The plug-ins, in upstream's default order and with upstream's default weights. Upstream:
//! `getDefaultPlugins` in `pkg/scheduler/apis/config/v1/default_plugins.go`.
//!
//! The order matters for filters: the first plug-in that refuses a node ends the filtering of that
//! node, so the message of `FailedScheduling` has the reasons of one plug-in for each node. A node
//! that is cordoned, tainted and full counts once, as `node(s) were unschedulable`.
//!
//! Upstream's plug-ins that have no file here:
//!
//! | plug-in | why |
//! |---|---|
//! | SchedulingGates, PrioritySort | they are the queue's: `queue` |
//! | DefaultBinder | `queue/binding` |
//! | NodeName | a pod that names its node never comes to the scheduler here: `is_pending` in `queue` |
//! | NodeVolumeLimits | limits are those of CSI drivers, and there is none |
//! | InterPodAffinity, DynamicResources, DefaultPreemption | left out, see the chapter |
//! | NodeResourcesBalancedAllocation, ImageLocality | left out, see the chapter |

use super::framework::Entry;
use super::node_info::NodeInfo;
use super::volumes::{self, Volumes};

mod node_affinity;
mod node_ports;
mod node_resources_fit;
mod node_unschedulable;
mod pod_topology_spread;
mod taint_toleration;
mod volume_binding;
mod volume_restrictions;
mod volume_zone;

/// All plug-ins. Where upstream gives no weight it counts 1.
pub(crate) static PLUGINS: &[Entry] = &[
    Entry { plugin: &node_unschedulable::NodeUnschedulable, weight: 1 },
    Entry { plugin: &taint_toleration::TaintToleration, weight: 3 },
    Entry { plugin: &node_affinity::NodeAffinity, weight: 2 },
    Entry { plugin: &node_ports::NodePorts, weight: 1 },
    Entry { plugin: &node_resources_fit::NodeResourcesFit, weight: 1 },
    Entry { plugin: &volume_restrictions::VolumeRestrictions, weight: 1 },
    Entry { plugin: &volume_binding::VolumeBinding, weight: 1 },
    Entry { plugin: &volume_zone::VolumeZone, weight: 1 },
    Entry { plugin: &pod_topology_spread::PodTopologySpread, weight: 2 },
];

/// The Filter of a plug-in that looks at a pod's volumes alone.
type VolumeFilter = fn(&Volumes, &NodeInfo) -> Vec<volumes::Refusal>;

impl Volumes {
    /// Returns why the pod's volumes keep it from the node; empty if they do not. The first plug-in
    /// that refuses gives all its reasons, as in a decision. A binding asks it again once its
    /// volumes are bound.
    pub(crate) fn refusals(&self, node: &NodeInfo) -> Vec<volumes::Refusal> {
        let filters: [VolumeFilter; 3] =
            [volume_restrictions::refusals, volume_binding::refusals, volume_zone::refusals];
        let mut refused = filters.into_iter().map(|refusals| refusals(self, node));
        refused.find(|refused| !refused.is_empty()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_upstreams_order_and_weights() {
        let table: Vec<(&str, i64)> = PLUGINS.iter().map(|e| (e.plugin.name(), e.weight)).collect();
        let upstream = [
            ("NodeUnschedulable", 1),
            ("TaintToleration", 3),
            ("NodeAffinity", 2),
            ("NodePorts", 1),
            ("NodeResourcesFit", 1),
            ("VolumeRestrictions", 1),
            ("VolumeBinding", 1),
            ("VolumeZone", 1),
            ("PodTopologySpread", 2),
        ];
        assert_eq!(table, upstream);
    }
}
