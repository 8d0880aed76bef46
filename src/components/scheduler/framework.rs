//! What a plug-in of the scheduler is: its extension points, and what it gets and returns there.
//! Upstream: `k8s.io/kube-scheduler/framework/interface.go`.
//!
//! For one pod the extension points are called in this order:
//!
//! ```text
//! PreFilter        once            which nodes need to be looked at at all?
//! Filter           for each node   can this node take the pod?
//! PreScore         once            facts about all nodes that can
//! Score            for each node   how good is this node?
//! NormalizeScore   once            brings the scores of one plug-in to 0 to 100
//! ```

use super::node_info::{NodeInfo, scalars_of};
use super::volumes::{self, Volumes};
use api::host_ports::{self, HostPort};
use api::requests::{Amount, Scalars};
use k8s_openapi::api::core::v1::{NodeAffinity, Pod, Toleration};
use std::collections::BTreeSet;

/// A reason why a node cannot take a pod, in upstream's words, since people search for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub filter: &'static str,
    pub reason: String,
    /// The cause in detail, e.g. the taint. It goes to the tap alone: a user who may see a pod need
    /// not be allowed to see the node's taints.
    pub detail: Option<String>,
    /// Evicting other pods would not help. Upstream: `UnschedulableAndUnresolvable`.
    pub is_final: bool,
}

impl Refusal {
    /// Makes a refusal that no eviction of other pods would change.
    pub(crate) fn unresolvable(filter: &'static str, reason: impl Into<String>) -> Refusal {
        Refusal { filter, reason: reason.into(), detail: None, is_final: true }
    }
}

impl From<volumes::Refusal> for Refusal {
    fn from(found: volumes::Refusal) -> Refusal {
        let (filter, reason) = (found.filter, found.reason.into());
        Refusal { filter, reason, detail: None, is_final: found.is_final }
    }
}

/// State that the plug-ins share while one pod is decided. It is computed once for all nodes: a pod
/// may have thousands of ports. Upstream: `CycleState`.
pub(crate) struct CycleState<'a> {
    pod: &'a Pod,
    /// The pod's requests.
    pub amount: Amount,
    /// The pod's requests with defaults where it requests nothing; for scores only.
    pub scored: Amount,
    /// The extended resources and huge pages that it requests.
    pub scalars: Scalars,
    /// The ports of the node that it takes.
    pub ports: Vec<HostPort>,
    pub volumes: &'a Volumes,
    /// Pods of the same controller; PreScore of PodTopologySpread sets it.
    pub siblings: Option<Siblings>,
}

/// The controller of a pod that is decided.
pub(crate) struct Siblings {
    /// The uid of the controller.
    pub owner: String,
    /// The weight of each of its pods in a node's raw score.
    pub weight: f64,
    /// The least and the largest raw score of the nodes that passed the filters.
    pub least: i64,
    pub most: i64,
}

impl<'a> CycleState<'a> {
    /// Computes the state of a pod before PreFilter.
    pub(crate) fn new(pod: &'a Pod, volumes: &'a Volumes) -> CycleState<'a> {
        CycleState {
            pod,
            amount: Amount::of_pod(pod),
            scored: Amount::of_pod_at_least(pod),
            scalars: scalars_of(pod),
            ports: host_ports::of_pod(pod),
            volumes,
            siblings: None,
        }
    }

    /// Returns the pod that is decided.
    pub(crate) fn pod(&self) -> &'a Pod {
        self.pod
    }

    /// Returns the pod's tolerations.
    pub(crate) fn tolerations(&self) -> &'a [Toleration] {
        self.pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default()
    }

    /// Returns the pod's node affinity.
    pub(crate) fn node_affinity(&self) -> Option<&'a NodeAffinity> {
        self.pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
    }
}

/// The way from a plug-in's raw scores to 0 to 100, once all nodes have one. Upstream:
/// `ScoreExtensions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Normalize {
    /// The raw scores are 0 to 100 already.
    None,
    /// The largest raw score is the best: 100.
    Largest,
    /// The smallest raw score is the best.
    Smallest,
}

/// A plug-in. The default of each extension point lets every node pass, without a score.
pub(crate) trait Plugin: Sync {
    /// Returns upstream's name, which refusals and scores carry.
    fn name(&self) -> &'static str;

    /// Returns the names of the only nodes that the pod can go to, or `None` if every node has to
    /// be filtered.
    ///
    /// # Errors
    /// The reason why no node at all can take the pod.
    fn pre_filter(&self, _pod: &Pod) -> Result<Option<BTreeSet<String>>, &'static str> {
        Ok(None)
    }

    /// Returns why the node cannot take the pod; empty if it can.
    fn filter(&self, _state: &CycleState, _node: &NodeInfo) -> Vec<Refusal> {
        Vec::new()
    }

    /// Computes what [`Plugin::score`] needs of all nodes that passed the filters.
    ///
    /// # Errors
    /// What the plug-in cannot read in the pod: then no node is chosen by scores.
    fn pre_score(&self, _state: &mut CycleState, _fitting: &[&NodeInfo]) -> Result<(), String> {
        Ok(())
    }

    /// Returns the raw score of a node that passed the filters; `None` if the plug-in scores no
    /// node for this pod.
    fn score(&self, _state: &CycleState, _node: &NodeInfo) -> Option<i64> {
        None
    }

    /// Returns how its raw scores become 0 to 100.
    fn normalize(&self) -> Normalize {
        Normalize::None
    }
}

/// A plug-in of the table, with its weight.
pub(crate) struct Entry {
    pub plugin: &'static dyn Plugin,
    /// The plug-in's normalized scores are multiplied by the weight, which has no effect where a
    /// plug-in only filters.
    pub weight: i64,
}
