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
//! score 100. A node without the label `kubernetes.io/hostname`, as one that was made by hand, has
//! the raw score 0: it goes first, however many pods it has. A pod without a controller gets no
//! score. Upstream's default constraints count zones, too; constraints of the pod's own are left
//! out.
//!
//! Upstream: `pkg/scheduler/framework/plugins/podtopologyspread/scoring.go`.

use crate::framework::{CycleState, Plugin, Siblings};
use crate::node_info::{NodeInfo, controller};

/// `maxSkew` of upstream's default constraint for nodes.
const MAX_SKEW: i64 = 3;
/// `topologyKey` of the same constraint.
const HOSTNAME: &str = "kubernetes.io/hostname";

pub(crate) struct PodTopologySpread;

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    /// Finds the least and the largest raw score of the nodes that passed the filters.
    fn pre_score(&self, state: &mut CycleState, fitting: &[&NodeInfo]) -> Result<(), String> {
        state.siblings = controller(state.pod()).map(|owner| {
            let weight = normalizing_weight(fitting.len());
            let raw: Vec<i64> = fitting.iter().map(|node| raw_score(node, &owner, weight)).collect();
            let least = raw.iter().min().copied().unwrap_or(0);
            let most = raw.iter().max().copied().unwrap_or(0);
            Siblings { owner, weight, least, most }
        });
        Ok(())
    }

    fn score(&self, state: &CycleState, node: &NodeInfo) -> Option<i64> {
        let Siblings { owner, weight, least, most } = state.siblings.as_ref()?;
        match *most {
            0 => Some(100), // no node has the label
            most => Some(100 * (most + least - raw_score(node, owner, *weight)) / most),
        }
    }
}

/// Returns how much a pod counts: more where there are more nodes, because a node of many has a
/// smaller part of the pods. Upstream: `topologyNormalizingWeight`.
fn normalizing_weight(nodes: usize) -> f64 {
    ((nodes + 2) as f64).ln()
}

/// Returns the raw score of a node, of which less is better: at least 2, and 0 for a node that the
/// constraint does not see, because it lacks the label. Upstream: `Score`, `scoreForCount`.
fn raw_score(node: &NodeInfo, owner: &str, weight: f64) -> i64 {
    if !node.labels.contains_key(HOSTNAME) {
        return 0;
    }
    let pods = node.siblings.get(owner).copied().unwrap_or(0);
    (pods as f64 * weight).round() as i64 + MAX_SKEW - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::Volumes;
    use k8s_openapi::api::core::v1::Pod;

    /// Scores of nodes that have these numbers of the pod's siblings, as upstream's formula gives
    /// them. With a number: whether the node has the label of its name.
    fn scores_of(counts: &[(i64, bool)]) -> Vec<i64> {
        let owner = serde_json::json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true});
        let pod = serde_json::json!({"metadata": {"ownerReferences": [owner]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let node = |(count, is_labelled): &(i64, bool)| NodeInfo {
            labels: is_labelled.then(|| (HOSTNAME.to_string(), "n".to_string())).into_iter().collect(),
            siblings: [("u".to_string(), *count)].into(),
            ..NodeInfo::default()
        };
        let nodes: Vec<NodeInfo> = counts.iter().map(node).collect();
        let volumes = Volumes::default();
        let mut state = CycleState::new(&pod, &volumes);
        PodTopologySpread.pre_score(&mut state, &nodes.iter().collect::<Vec<_>>()).unwrap();
        nodes.iter().map(|node| PodTopologySpread.score(&state, node).unwrap()).collect()
    }

    fn scores(counts: &[i64]) -> Vec<i64> {
        scores_of(&counts.iter().map(|count| (*count, true)).collect::<Vec<_>>())
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

    /// A user has taken its label, or has made the Node by hand.
    #[test]
    fn a_node_without_the_label_of_its_name_goes_first() {
        assert_eq!(scores_of(&[(0, true), (4, false)]), [0, 100]);
        assert_eq!(scores_of(&[(2, true), (1, true), (4, false)]), [0, 20, 100]);
        assert_eq!(scores_of(&[(3, false), (0, false)]), [100, 100]);
    }
}
