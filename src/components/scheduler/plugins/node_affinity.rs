//! NodeAffinity: refuses nodes that the pod's `nodeSelector` or required node affinity does not
//! match, and prefers nodes that match preferred terms.
//!
//! The score is the sum of the weights of the preferred terms that match. A pod that requires
//! `disk=ssd` and prefers `zone=a` with weight 30 and `zone=b` with weight 10:
//!
//! ```text
//!      labels              filter    sum   of the largest   times 2
//! n1   disk=ssd zone=a     passes    30    100              200
//! n2   disk=ssd zone=b     passes    10    33               66
//! n3   disk=hdd zone=a     refused
//! ```
//!
//! If no node matches a preferred term the plug-in gives no scores. If a preferred term has a value
//! that no label can have, the pod gets no node, unless there is only one to choose from.

use crate::framework::{CycleState, Normalize, Plugin, Refusal};
use crate::node_info::NodeInfo;
use api::gostr::quote;
use api::nodes;
use api::validate::names::label_value;
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Pod, PreferredSchedulingTerm};
use std::collections::BTreeSet;

/// Unreadable values that an error names; of more it has the number.
const PROBLEMS_NAMED: usize = 10;

pub(crate) struct NodeAffinity;

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    /// Returns the nodes that the terms name. A pod whose terms name none that all their rules
    /// allow fits nowhere.
    fn pre_filter(&self, pod: &Pod) -> Result<Option<BTreeSet<String>>, &'static str> {
        match named_nodes(pod) {
            Some(named) if named.is_empty() => Err("pod affinity terms conflict"),
            named => Ok(named),
        }
    }

    fn filter(&self, state: &CycleState, node: &NodeInfo) -> Vec<Refusal> {
        let mut selector = state.pod().spec.iter().flat_map(|s| s.node_selector.iter().flatten());
        let is_selected = selector.all(|(key, value)| node.labels.get(key) == Some(value));
        let required = state
            .node_affinity()
            .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        let is_required =
            || required.is_none_or(|r| r.node_selector_terms.iter().any(|t| matches_term(t, node)));
        match is_selected && is_required() {
            true => Vec::new(),
            false => {
                let reason = "node(s) didn't match Pod's node affinity/selector";
                vec![Refusal::unresolvable(self.name(), reason)]
            }
        }
    }

    /// Checks that the preferred terms can be read. The API server takes them with any values,
    /// because nothing reads them where only one node passes the filters.
    fn pre_score(&self, state: &mut CycleState, _fitting: &[&NodeInfo]) -> Result<(), String> {
        unreadable_values(preferred_terms(state)).map_or(Ok(()), Err)
    }

    fn score(&self, state: &CycleState, node: &NodeInfo) -> Option<i64> {
        let met = preferred_terms(state).iter().filter(|p| matches_term(&p.preference, node));
        Some(met.map(|p| i64::from(p.weight)).sum())
    }

    fn normalize(&self) -> Normalize {
        Normalize::Largest
    }
}

/// Returns the nodes that a pod's required affinity names by `metadata.name`, as that of every
/// DaemonSet's pod does; `None` if one of its terms names none, so that all nodes are filtered. The
/// terms `n1 or n2` and `n3` name three nodes; a term that must be both `n1` and `n2` names none of
/// them, and if no other does, the list is empty.
fn named_nodes(pod: &Pod) -> Option<BTreeSet<String>> {
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    if terms.is_empty() {
        return None;
    }
    let mut named = BTreeSet::new();
    for term in terms {
        let rules = term.match_fields.iter().flatten();
        let names = rules.filter(|rule| rule.key == "metadata.name" && rule.operator == "In");
        let names = names.map(|rule| rule.values.iter().flatten().cloned().collect::<BTreeSet<_>>());
        named.extend(names.reduce(|all, more| all.intersection(&more).cloned().collect())?);
    }
    Some(named)
}

/// Returns whether the node fits a term of an affinity.
fn matches_term(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    nodes::fits(term, &node.name, &node.labels)
}

fn preferred_terms<'a>(state: &CycleState<'a>) -> &'a [PreferredSchedulingTerm] {
    let affinity = state.node_affinity();
    affinity
        .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default()
}

/// Returns what is wrong with values of the preferred terms, with their places; `None` if all can
/// be read. Upstream: `NewPreferredSchedulingTerms`, whose words these are.
///
/// ```text
/// In ["a b"]    [0].matchExpressions[0].values[0][zone]: Invalid value: "a b": a valid label …
/// Gt ["many"]   [1].matchExpressions[0].values[0]: Invalid value: "many": for 'Gt', 'Lt' …
/// ```
fn unreadable_values(terms: &[PreferredSchedulingTerm]) -> Option<String> {
    let rules = terms.iter().enumerate().flat_map(|(t, term)| {
        let rules = term.preference.match_expressions.iter().flatten().enumerate();
        rules.map(move |(r, rule)| (format!("[{t}].matchExpressions[{r}]"), rule))
    });
    let mut problems = rules.flat_map(|(place, rule)| problems_of(rule, place));
    let mut texts: Vec<String> = problems.by_ref().take(PROBLEMS_NAMED).collect();
    let more = problems.count();
    if more > 0 {
        texts.push(format!("and {more} more"));
    }
    match texts.len() {
        0 | 1 => texts.pop(),
        _ => Some(format!("[{}]", texts.join(", "))),
    }
}

/// Returns what is wrong with the values of one rule: those of `Gt` and `Lt` are whole numbers, and
/// all are such as a label can have.
fn problems_of(rule: &NodeSelectorRequirement, place: String) -> impl Iterator<Item = String> {
    let compares = matches!(rule.operator.as_str(), "Gt" | "Lt");
    let values = rule.values.as_deref().unwrap_or_default();
    values.iter().enumerate().flat_map(move |(v, value)| {
        let problem =
            |at: &str, why: &str| format!("{place}.values[{v}]{at}: Invalid value: {}: {why}", quote(value));
        let is_no_number = compares && value.parse::<i64>().is_err();
        let number =
            is_no_number.then(|| problem("", "for 'Gt', 'Lt' operators, the value must be an integer"));
        let wrong = label_value(value);
        let label = (!wrong.is_empty()).then(|| problem(&format!("[{}]", rule.key), &wrong.join("; ")));
        number.into_iter().chain(label)
    })
}
