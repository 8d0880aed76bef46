//! PodTopologySpread: spreads the pods of one controller over the nodes.
//!
//! It only scores, and only by node: the fewer pods of the pod's own controller a node has, the
//! better. A fourth pod of the ReplicaSet `web`, where `ln(3 nodes + 2)` is 1.61:
//!
//! ```text
//!      pods of web   raw, rounded        score                        times 2
//! n1   2             2 * 1.61 + 2 = 5    100 * (5 + 2 - 5) / 5 =  40    80
//! n2   1             1 * 1.61 + 2 = 4    100 * (5 + 2 - 4) / 5 =  60   120
//! n3   0             0 * 1.61 + 2 = 2    100 * (5 + 2 - 2) / 5 = 100   200
//! ```
//!
//! So the node with most pods keeps a part of the 100, and one more pod counts less where there are
//! many already: of two nodes with 3 and 2 pods the first has 83. Where no node has one yet, all
//! score 100. A pod without a controller gets no score. Upstream's default constraints count zones,
//! too; constraints of the pod's own are left out.
//!
//! Upstream: `pkg/scheduler/framework/plugins/podtopologyspread/scoring.go`.

use crate::framework::{CycleState, Plugin, Siblings};
use crate::node_info::{NodeInfo, controller};

/// `maxSkew` of upstream's default constraint for nodes.
const MAX_SKEW: i64 = 3;

pub(crate) struct PodTopologySpread;

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    /// Finds the least and the largest raw score of the nodes that passed the filters.
    fn pre_score(&self, state: &mut CycleState, fitting: &[&NodeInfo]) -> Result<(), String> {
        state.siblings = controller(state.pod()).map(|owner| {
            let weight = normalizing_weight(fitting.len());
            let raw = fitting.iter().map(|node| raw_score(siblings_on(node, &owner), weight));
            let raw: Vec<i64> = raw.collect();
            let least = raw.iter().min().copied().unwrap_or(MAX_SKEW - 1);
            let most = raw.iter().max().copied().unwrap_or(MAX_SKEW - 1);
            Siblings { owner, weight, least, most }
        });
        Ok(())
    }

    fn score(&self, state: &CycleState, node: &NodeInfo) -> Option<i64> {
        let Siblings { owner, weight, least, most } = state.siblings.as_ref()?;
        let raw = raw_score(siblings_on(node, owner), *weight);
        Some(100 * (most + least - raw) / most)
    }
}

/// Returns how much a pod counts: more where there are more nodes, because a node of many has a
/// smaller part of the pods. Upstream: `topologyNormalizingWeight`.
fn normalizing_weight(nodes: usize) -> f64 {
    ((nodes + 2) as f64).ln()
}

/// Returns the raw score of a node, of which less is better; it is at least 2. Upstream:
/// `scoreForCount`.
fn raw_score(pods: i64, weight: f64) -> i64 {
    (pods as f64 * weight).round() as i64 + MAX_SKEW - 1
}

/// Returns how many pods of the controller with this uid are on the node.
fn siblings_on(node: &NodeInfo, owner: &str) -> i64 {
    node.siblings.get(owner).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::Volumes;
    use k8s_openapi::api::core::v1::Pod;

    /// Scores of nodes that have these numbers of the pod's siblings, as upstream's formula gives
    /// them.
    fn scores(counts: &[i64]) -> Vec<i64> {
        let owner = serde_json::json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true});
        let pod = serde_json::json!({"metadata": {"ownerReferences": [owner]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let node =
            |count: &i64| NodeInfo { siblings: [("u".to_string(), *count)].into(), ..NodeInfo::default() };
        let nodes: Vec<NodeInfo> = counts.iter().map(node).collect();
        let volumes = Volumes::default();
        let mut state = CycleState::new(&pod, &volumes);
        PodTopologySpread.pre_score(&mut state, &nodes.iter().collect::<Vec<_>>()).unwrap();
        nodes.iter().map(|node| PodTopologySpread.score(&state, node).unwrap()).collect()
    }

    #[test]
    fn nodes_with_fewer_pods_of_the_controller_score_more() {
        assert_eq!(scores(&[2, 1, 0]), [40, 60, 100]);
        assert_eq!(scores(&[0, 0]), [100, 100]);
        assert_eq!(scores(&[1, 0]), [66, 100]);
        assert_eq!(scores(&[2, 1]), [60, 100]);
        assert_eq!(scores(&[3, 2]), [83, 100]);
        assert_eq!(scores(&[5, 5, 5]), [100; 3]);
    }
}
