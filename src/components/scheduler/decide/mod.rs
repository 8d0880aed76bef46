//! One scheduling cycle: every plug-in of [`PLUGINS`] filters and scores all nodes. Pure: the same
//! pod and nodes give the same decision, ties excepted, which come from the seed.

use super::framework::{CycleState, Entry, Normalize, Refusal};
use super::node_info::NodeInfo;
use super::plugins::PLUGINS;
use super::volumes::Volumes;
use k8s_openapi::api::core::v1::Pod;
use rng::Rng;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

/// The message of `FailedScheduling` in a cluster without nodes.
pub(crate) const NO_NODES: &str = "no nodes available to schedule pods";

/// The refusals or scores of one node.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub node: String,
    pub refused: Vec<Refusal>,
    /// Weighted scores by plug-in.
    pub scores: BTreeMap<&'static str, i64>,
    pub total: i64,
}

/// A decision with its reasons, one per node.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub verdicts: Vec<Verdict>,
    pub chosen: Option<String>,
    /// Why the pod fits no node at all, if PreFilter says so: then the nodes were not filtered.
    pub everywhere: Option<String>,
    /// Why the nodes that passed the filters could not be scored, in upstream's words: an error of
    /// the decision, which is made again after a pause.
    pub error: Option<String>,
}

impl Decision {
    /// Makes the decision about a pod that PreFilter refuses. With the nodes n1 and n2 and the
    /// reason "persistentvolumeclaim "c" not found", both have this one refusal.
    pub(crate) fn refused_everywhere(
        nodes: &[impl Borrow<NodeInfo>],
        filter: &'static str,
        reason: &str,
    ) -> Decision {
        let refusal = Refusal::unresolvable(filter, reason);
        let verdict = |node: &NodeInfo| Verdict {
            node: node.name.clone(),
            refused: vec![refusal.clone()],
            scores: BTreeMap::new(),
            total: 0,
        };
        let verdicts = nodes.iter().map(|node| verdict(node.borrow())).collect();
        Decision { verdicts, chosen: None, everywhere: Some(reason.into()), error: None }
    }

    /// Makes the decision about a pod that PreScore of a plug-in cannot read. Each node that passed
    /// the filters has the plug-in's reason as its refusal.
    fn not_scored(mut verdicts: Vec<Verdict>, plugin: &'static str, reason: &str) -> Decision {
        for verdict in verdicts.iter_mut().filter(|v| v.refused.is_empty()) {
            verdict.refused.push(Refusal::unresolvable(plugin, reason));
        }
        let error = Some(format!("running PreScore plugin {plugin:?}: {reason}"));
        Decision { verdicts, chosen: None, everywhere: None, error }
    }

    /// Returns the decision as an event of the tap.
    pub(crate) fn event(&self) -> tap::Event {
        let refusal = |r: &Refusal| tap::Refusal {
            filter: r.filter.into(),
            reason: r.reason.clone(),
            detail: r.detail.clone(),
            final_: r.is_final,
        };
        let verdict = |v: &Verdict| tap::Verdict {
            node: v.node.clone(),
            refused: v.refused.iter().map(refusal).collect(),
            scores: v.scores.iter().map(|(plugin, score)| ((*plugin).into(), *score)).collect(),
            total: v.total,
        };
        let verdicts = self.verdicts.iter().map(verdict).collect();
        tap::Event::Schedule(tap::Decision { verdicts, chosen: self.chosen.clone() })
    }

    /// Returns whether a pod that fits on no node is no longer nominated for one. Upstream it comes
    /// to that in the preemption that finds no pods to evict: not if PreFilter refuses the pod, nor
    /// if the pod is not to preempt others. (`schedulingCycle`, `Evaluator.Preempt`)
    pub(crate) fn clears_nomination(&self, pod: &Pod) -> bool {
        self.verdicts.is_empty() || (self.everywhere.is_none() && !never_preempts(pod))
    }

    /// Returns the message of `FailedScheduling` for this pod: `0/3 nodes are available: …`.
    /// Upstream: `FitError.Error`.
    pub(crate) fn message(&self, pod: &Pod) -> String {
        let total = self.verdicts.len();
        if total == 0 {
            return NO_NODES.into();
        }
        if let Some(reason) = &self.everywhere {
            // Upstream's first PostFilter, DynamicResources, needs what its own PreFilter writes,
            // and that did not run any more. Its error takes the place of the preemption's words.
            return format!("0/{total} nodes are available: {reason}. not found");
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for refusal in self.verdicts.iter().flat_map(|v| &v.refused) {
            *counts.entry(refusal.reason.clone()).or_default() += 1;
        }
        let mut parts: Vec<String> = counts.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        parts.sort();
        let reasons = parts.join(", ");
        let unresolvable = self.verdicts.iter().filter(|v| v.refused.iter().any(|r| r.is_final)).count();
        let mut preemption = Vec::new();
        if total > unresolvable {
            let nodes = total - unresolvable;
            preemption.push(format!("{nodes} No preemption victims found for incoming pod"));
        }
        if unresolvable > 0 {
            preemption.push(format!("{unresolvable} Preemption is not helpful for scheduling"));
        }
        preemption.sort();
        let preemption = match never_preempts(pod) {
            true => "not eligible due to preemptionPolicy=Never.".to_string(),
            false => format!("0/{total} nodes are available: {}.", preemption.join(", ")),
        };
        format!(
            "0/{total} nodes are available: {reasons}. no new claims to deallocate, preemption: {preemption}"
        )
    }
}

/// Returns whether no pod is to be evicted for this one.
pub(crate) fn never_preempts(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|s| s.preemption_policy.as_deref()) == Some("Never")
}

/// Filters and scores all nodes, and chooses one of those with the highest total at random.
///
/// Three nodes and the pod `last`, which tolerates nothing (script `golden/nodes_that_refuse`):
///
/// ```text
///      taint             filter                     scores                                   total
/// n1   control-plane     refused: TaintToleration
/// n3   none              passes                     NodeResourcesFit 92, TaintToleration 300  392
/// n4   PreferNoSchedule  passes                     NodeResourcesFit 97, TaintToleration   0   97
/// ```
///
/// The pod goes to n3. A pod whose `status.nominatedNodeName` is a node that passes goes there,
/// whatever the scores say (upstream: `evaluateNominatedNode`). If it goes nowhere, see
/// [`Decision::clears_nomination`].
pub(crate) fn decide(pod: &Pod, nodes: &[impl Borrow<NodeInfo>], volumes: &Volumes, rng: &Rng) -> Decision {
    let nodes: Vec<&NodeInfo> = nodes.iter().map(Borrow::borrow).collect();
    let named = match pre_filter(pod) {
        Ok(named) => named,
        Err((plugin, reason)) => return Decision::refused_everywhere(&nodes, plugin, reason),
    };
    let mut state = CycleState::new(pod, volumes);
    let mut verdicts: Vec<Verdict> = nodes
        .iter()
        .map(|node| Verdict {
            node: node.name.clone(),
            refused: filter(&state, node, &named),
            scores: BTreeMap::new(),
            total: 0,
        })
        .collect();
    let fitting: Vec<&NodeInfo> =
        nodes.iter().zip(&verdicts).filter(|(_, v)| v.refused.is_empty()).map(|(n, _)| *n).collect();
    let nominated = pod.status.as_ref().and_then(|s| s.nominated_node_name.as_deref());
    let unreadable = pre_score(&mut state, &fitting);
    // Upstream scores no nodes where there is only one to choose from.
    let is_open = fitting.len() > 1 && !fitting.iter().any(|n| Some(n.name.as_str()) == nominated);
    if let Some((plugin, reason)) = unreadable.filter(|_| is_open) {
        return Decision::not_scored(verdicts, plugin, &reason);
    }
    let fits = verdicts.iter_mut().filter(|v| v.refused.is_empty());
    for (node, verdict) in fitting.iter().zip(fits) {
        verdict.scores = score(&state, node);
    }
    for entry in PLUGINS {
        normalize(&mut verdicts, entry);
    }
    for verdict in &mut verdicts {
        verdict.total = verdict.scores.values().sum();
    }
    let passed = || verdicts.iter().filter(|v| v.refused.is_empty());
    let best = passed().map(|v| v.total).max();
    let winners: Vec<&Verdict> = match passed().find(|v| Some(v.node.as_str()) == nominated) {
        Some(wanted) => vec![wanted],
        None => passed().filter(|v| Some(v.total) == best).collect(),
    };
    let chosen = match winners.len() {
        0 => None,
        n => Some(winners[rng.range(0, n as u64) as usize].node.clone()),
    };
    Decision { verdicts, chosen, everywhere: None, error: None }
}

/// Runs PreScore of every plug-in. Returns the first plug-in that cannot read the pod, and why.
fn pre_score(state: &mut CycleState, fitting: &[&NodeInfo]) -> Option<(&'static str, String)> {
    let mut unreadable = None;
    for Entry { plugin, .. } in PLUGINS {
        if let Err(reason) = plugin.pre_score(state, fitting) {
            unreadable.get_or_insert((plugin.name(), reason));
        }
    }
    unreadable
}

/// A plug-in and the names of the only nodes that it leaves to the filters.
type Named = (&'static str, BTreeSet<String>);

/// Runs PreFilter of every plug-in, and returns the nodes that some of them name. Most name none;
/// NodeAffinity names n1 for a DaemonSet's pod of n1.
///
/// # Errors
/// The plug-in that knows that no node can take the pod, and why.
pub(crate) fn pre_filter(pod: &Pod) -> Result<Vec<Named>, (&'static str, &'static str)> {
    let mut all = Vec::new();
    for Entry { plugin, .. } in PLUGINS {
        let named = plugin.pre_filter(pod).map_err(|reason| (plugin.name(), reason))?;
        all.extend(named.map(|named| (plugin.name(), named)));
    }
    Ok(all)
}

/// Returns the reasons of the first plug-in that refuses the node; empty if none does.
fn filter(state: &CycleState, node: &NodeInfo, named: &[Named]) -> Vec<Refusal> {
    if let Some(&(plugin, _)) = named.iter().find(|(_, names)| !names.contains(&node.name)) {
        let reason = format!("node(s) didn't satisfy plugin(s) [{plugin}]");
        return vec![Refusal::unresolvable(plugin, reason)];
    }
    let mut refusals = PLUGINS.iter().map(|entry| entry.plugin.filter(state, node));
    refusals.find(|refused| !refused.is_empty()).unwrap_or_default()
}

/// Returns the scores of a node that passed the filters, by plug-in. Those that [`normalize`] does
/// not change have their weight already, the others are raw.
fn score(state: &CycleState, node: &NodeInfo) -> BTreeMap<&'static str, i64> {
    let mut scores = BTreeMap::new();
    for Entry { plugin, weight } in PLUGINS {
        let Some(score) = plugin.score(state, node) else { continue };
        let weighted = match plugin.normalize() {
            Normalize::None => score * weight,
            Normalize::Largest | Normalize::Smallest => score,
        };
        scores.insert(plugin.name(), weighted);
    }
    scores
}

/// Brings a plug-in's raw scores to 0 to 100 by the largest of them, times its weight. Upstream:
/// `DefaultNormalizeScore`. Counts 0, 1 and 2 of taints that a pod does not tolerate are 100, 50
/// and 0, because fewer is better.
fn normalize(verdicts: &mut [Verdict], Entry { plugin, weight }: &Entry) {
    let reverse = match plugin.normalize() {
        Normalize::None => return,
        Normalize::Largest => false,
        Normalize::Smallest => true,
    };
    let name = plugin.name();
    let most = verdicts.iter().filter_map(|v| v.scores.get(name)).max().copied().unwrap_or(0);
    for verdict in verdicts {
        if most == 0 {
            verdict.scores.remove(name); // it says the same of all nodes
        } else if let Some(score) = verdict.scores.get_mut(name) {
            let part = *score * 100 / most;
            let normalized = if reverse { 100 - part } else { part };
            *score = normalized * weight;
        }
    }
}

#[cfg(test)]
mod tests;
