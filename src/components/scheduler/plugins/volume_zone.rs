//! VolumeZone: refuses nodes in another zone or region than a bound volume of the pod.
//!
//! A volume with the label `topology.kubernetes.io/zone=a__b` is in two zones:
//!
//! ```text
//!      zone      filter
//! n1   a         passes
//! n2   c         refused
//! n3   no label  passes: a node without zones and regions has all
//! ```

use crate::framework::{CycleState, Plugin, Refusal};
use crate::node_info::NodeInfo;
use crate::volumes::{self, Volumes};
use k8s_openapi::api::core::v1::PersistentVolume;
use std::collections::BTreeMap;

pub(crate) struct VolumeZone;

const NAME: &str = "VolumeZone";
/// Labels that tie a volume to a zone or a region, and the name that each of them has now.
const ZONES: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];
/// Stands between the zones of a volume that is in several.
const ZONE_SEPARATOR: &str = "__";

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, state: &CycleState, node: &NodeInfo) -> Vec<Refusal> {
        refusals(state.volumes, node).into_iter().map(Refusal::from).collect()
    }
}

/// Returns why the node does not do for the volumes.
pub(super) fn refusals(volumes: &Volumes, node: &NodeInfo) -> Vec<volumes::Refusal> {
    let reason = "node(s) had no available volume zone";
    match volumes.bound.iter().all(|v| is_in_zone(v, &node.labels)) {
        true => Vec::new(),
        false => vec![volumes::Refusal { filter: NAME, reason, is_final: true }],
    }
}

/// Returns whether the volume is where the node is. One without a zone is everywhere. A volume with
/// an old label is found at a node with the new one, but not the reverse. A label that has an empty
/// zone (`""`, `a____b`) does not count.
fn is_in_zone(volume: &PersistentVolume, labels: &BTreeMap<String, String>) -> bool {
    if ZONES.iter().all(|(name, _)| !labels.contains_key(*name)) {
        return true;
    }
    let tied = volume.metadata.labels.as_ref();
    ZONES.iter().all(|(name, now)| match tied.and_then(|tied| tied.get(*name)) {
        None => true,
        Some(zones) if zones.split(ZONE_SEPARATOR).any(str::is_empty) => true,
        Some(zones) => {
            let own = labels.get(*name).or_else(|| labels.get(*now));
            own.is_some_and(|own| zones.split(ZONE_SEPARATOR).any(|zone| zone == own))
        }
    })
}
