//! NodeResourcesFit: refuses nodes that have too little left of what the pod requests, and prefers
//! nodes of which much is free (strategy LeastAllocated).
//!
//! A pod that requests 1 CPU and 1Gi, on nodes of 2 CPU and 4Gi:
//!
//! ```text
//!      requested by its pods   filter                     score: free afterwards, in percent
//! n1   nothing                 passes                     cpu 50, memory 75: 62
//! n2   1 CPU, 1Gi              passes                     cpu  0, memory 50: 25
//! n3   2 CPU                   refused: Insufficient cpu
//! ```
//!
//! One refusal for each resource that is missing. It is final if even the empty node would be too
//! small. What counts is what pods request, not what they use.

use crate::framework::{CycleState, Plugin, Refusal};
use crate::node_info::NodeInfo;
use api::requests::{self, Amount, Scalars};

pub(crate) struct NodeResourcesFit;

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter(&self, state: &CycleState, node: &NodeInfo) -> Vec<Refusal> {
        let lacking = lacking_resources(state, (node.requested, &node.requested_scalars), node);
        if lacking.is_empty() {
            return Vec::new();
        }
        // More than the node could ever give: to evict its pods would not help. Upstream never says
        // that of the number of pods.
        let never = lacking_resources(state, (Amount::default(), &Scalars::new()), node);
        let is_final = never.iter().any(|resource| resource != "pods");
        let reason = |resource: String| match resource.as_str() {
            "pods" => "Too many pods".to_string(),
            resource => format!("Insufficient {resource}"),
        };
        let refusal = |resource: String| Refusal {
            filter: "NodeResourcesFit",
            reason: reason(resource),
            detail: None,
            is_final,
        };
        lacking.into_iter().map(refusal).collect()
    }

    fn score(&self, state: &CycleState, node: &NodeInfo) -> Option<i64> {
        Some(least_allocated(node.allocatable, node.nonzero.and(state.scored)))
    }
}

/// Returns the resources of which the node has too little left for the pod when so much of it is
/// used.
fn lacking_resources(
    state: &CycleState,
    (used, used_scalars): (Amount, &Scalars),
    node: &NodeInfo,
) -> Vec<String> {
    let plain = requests::lacking(state.amount, used, node.allocatable);
    let mut names: Vec<String> = plain.iter().map(|lack| lack.resource.to_string()).collect();
    names.extend(requests::lacking_scalars(&state.scalars, used_scalars, &node.scalars));
    names
}

/// Returns how much of a node's cpu and memory is free, in percent, on average. Half of its cpu and
/// a quarter of its memory in use: (50 + 75) / 2 = 62. As upstream, a resource that the node does
/// not have does not count, and more than all is none.
fn least_allocated(allocatable: Amount, used: Amount) -> i64 {
    let pairs = [(allocatable.cpu, used.cpu), (allocatable.memory, used.memory)];
    let free = |(all, used): (i64, i64)| match used > all {
        true => 0,
        false => (i128::from(all - used) * 100 / i128::from(all)) as i64,
    };
    let parts: Vec<i64> = pairs.into_iter().filter(|(all, _)| *all > 0).map(free).collect();
    parts.iter().sum::<i64>() / (parts.len() as i64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_a_node_does_not_have_does_not_count() {
        let free = |all: (i64, i64), used: (i64, i64)| {
            let amount = |(cpu, memory)| Amount { cpu, memory, ..Amount::default() };
            least_allocated(amount(all), amount(used))
        };
        assert_eq!(free((4000, 8 << 30), (100, 200 << 20)), 97);
        assert_eq!(free((4000, 0), (100, 200 << 20)), 97, "a node made by hand, without memory");
        assert_eq!(free((0, 8 << 30), (100, 4 << 30)), 50);
        assert_eq!(free((0, 0), (100, 1)), 0);
        assert_eq!(free((1000, 1000), (500, 250)), 62);
        assert_eq!(free((1000, 1000), (2000, 0)), 50, "more than all is none");
        assert_eq!(free((i64::MAX, i64::MAX), (1, i64::MAX)), 49);
    }
}
