//! Filter and score. Pure: the same pod and nodes give the same decision, ties excepted, which come
//! from the seed.

use super::node_info::{NodeInfo, controller, scalars_of};
use super::volumes::{self, Volumes};
use api::host_ports::{self, HostPort};
use api::nodes::{self, tolerates};
use api::requests::{self, Amount, Scalars};
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod, PodSpec, Taint};
use rng::Rng;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

/// What a pod is told in a cluster without nodes.
pub(crate) const NO_NODES: &str = "no nodes available to schedule pods";

/// Why a node cannot take a pod: upstream's words, since people search for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub filter: &'static str,
    pub reason: String,
    /// What exactly it was, for records alone: a user who may see a pod need not be allowed
    /// to see the node's taints.
    pub detail: Option<String>,
    /// Evicting other pods could not help either.
    pub final_: bool,
}

/// What one node was told.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub node: String,
    pub refused: Vec<Refusal>,
    /// Plug-in → weighted score.
    pub scores: BTreeMap<&'static str, i64>,
    pub total: i64,
}

/// A decision with its reasons, one per node.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub verdicts: Vec<Verdict>,
    pub chosen: Option<String>,
    /// What keeps the pod from every node, if it is something of the pod's own.
    pub everywhere: Option<String>,
}

impl Decision {
    /// A decision about a pod that something of its own keeps from every node: upstream's
    /// PreFilter. With the nodes n1 and n2 and the reason "persistentvolumeclaim "c" not found",
    /// both have this one refusal.
    pub(crate) fn refused_everywhere(
        nodes: &[impl Borrow<NodeInfo>],
        filter: &'static str,
        reason: &str,
    ) -> Decision {
        let refusal = Refusal { filter, reason: reason.into(), detail: None, final_: true };
        let verdict = |node: &NodeInfo| Verdict {
            node: node.name.clone(),
            refused: vec![refusal.clone()],
            scores: BTreeMap::new(),
            total: 0,
        };
        let verdicts = nodes.iter().map(|node| verdict(node.borrow())).collect();
        Decision { verdicts, chosen: None, everywhere: Some(reason.into()) }
    }

    /// The decision as a record tells of it.
    pub(crate) fn event(&self) -> tap::Event {
        let refusal = |r: &Refusal| tap::Refusal {
            filter: r.filter.into(),
            reason: r.reason.clone(),
            detail: r.detail.clone(),
            final_: r.final_,
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

    /// `0/3 nodes are available: …`: the message of `FailedScheduling` of this pod.
    pub(crate) fn message(&self, pod: &Pod) -> String {
        let total = self.verdicts.len();
        if total == 0 {
            return NO_NODES.into();
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for refusal in self.verdicts.iter().flat_map(|v| &v.refused) {
            *counts.entry(refusal.reason.clone()).or_default() += 1;
        }
        let mut parts: Vec<String> = counts.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        parts.sort();
        let told = self.everywhere.clone().unwrap_or_else(|| parts.join(", "));
        let hopeless = self.verdicts.iter().filter(|v| v.refused.iter().any(|r| r.final_)).count();
        let mut preemption = Vec::new();
        if total > hopeless {
            preemption.push(format!("{} No preemption victims found for incoming pod", total - hopeless));
        }
        if hopeless > 0 {
            preemption.push(format!("{hopeless} Preemption is not helpful for scheduling"));
        }
        preemption.sort();
        let policy = pod.spec.as_ref().and_then(|s| s.preemption_policy.as_deref());
        let preemption = match policy {
            Some("Never") => "not eligible due to preemptionPolicy=Never.".to_string(),
            _ => format!("0/{total} nodes are available: {}.", preemption.join(", ")),
        };
        format!(
            "0/{total} nodes are available: {told}. no new claims to deallocate, preemption: {preemption}"
        )
    }
}

/// Filters and scores all nodes.
pub(crate) fn decide(pod: &Pod, nodes: &[impl Borrow<NodeInfo>], volumes: &Volumes, rng: &Rng) -> Decision {
    let nodes: Vec<&NodeInfo> = nodes.iter().map(Borrow::borrow).collect();
    let named = named_nodes(pod);
    if named.as_ref().is_some_and(BTreeSet::is_empty) {
        return Decision::refused_everywhere(&nodes, "NodeAffinity", "pod affinity terms conflict");
    }
    let is_asked = |node: &NodeInfo| named.as_ref().is_none_or(|named| named.contains(&node.name));
    let unasked = || Refusal {
        filter: "NodeAffinity",
        reason: "node(s) didn't satisfy plugin(s) [NodeAffinity]".into(),
        detail: None,
        final_: true,
    };
    let no_spec = PodSpec::default();
    let asks = Asks {
        spec: pod.spec.as_ref().unwrap_or(&no_spec),
        amount: Amount::of_pod(pod),
        scored: Amount::of_pod_at_least(pod),
        scalars: scalars_of(pod),
        ports: host_ports::of_pod(pod),
    };
    let mut verdicts: Vec<Verdict> = nodes
        .iter()
        .map(|node| Verdict {
            node: node.name.clone(),
            refused: match is_asked(node) {
                true => filter(&asks, node, volumes),
                false => vec![unasked()],
            },
            scores: BTreeMap::new(),
            total: 0,
        })
        .collect();
    let fitting: Vec<&NodeInfo> =
        nodes.iter().zip(&verdicts).filter(|(_, v)| v.refused.is_empty()).map(|(n, _)| *n).collect();
    let most_siblings = controller(pod).map(|owner| {
        let most = fitting.iter().map(|n| n.siblings.get(&owner).copied().unwrap_or(0)).max().unwrap_or(0);
        (owner, most)
    });
    for (node, verdict) in nodes.iter().zip(&mut verdicts).filter(|(_, v)| v.refused.is_empty()) {
        verdict.scores = score(&asks, node, &most_siblings);
    }
    normalize(&mut verdicts, "TaintToleration", true, 3);
    normalize(&mut verdicts, "NodeAffinity", false, 2);
    for verdict in &mut verdicts {
        verdict.total = verdict.scores.values().sum();
    }
    let best = verdicts.iter().filter(|v| v.refused.is_empty()).map(|v| v.total).max();
    let winners: Vec<&Verdict> =
        verdicts.iter().filter(|v| v.refused.is_empty() && Some(v.total) == best).collect();
    let chosen = match winners.len() {
        0 => None,
        n => Some(winners[rng.range(0, n as u64) as usize].node.clone()),
    };
    Decision { verdicts, chosen, everywhere: None }
}

fn filter(asks: &Asks, node: &NodeInfo, volumes: &Volumes) -> Vec<Refusal> {
    let spec = asks.spec;
    let refuse =
        |filter, reason: &str, final_| vec![Refusal { filter, reason: reason.into(), detail: None, final_ }];
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    if node.unschedulable {
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        if !tolerations.iter().any(|t| tolerates(t, &taint)) {
            return refuse("NodeUnschedulable", "node(s) were unschedulable", true);
        }
    }
    let hard = |t: &&Taint| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute");
    let untolerated =
        node.taints.iter().filter(hard).find(|t| !tolerations.iter().any(|to| tolerates(to, t)));
    if let Some(taint) = untolerated {
        let value = taint.value.clone().unwrap_or_default();
        return vec![Refusal {
            filter: "TaintToleration",
            reason: "node(s) had untolerated taint(s)".into(),
            detail: Some(format!("{{{}: {value}}}", taint.key)),
            final_: true,
        }];
    }
    let selected = spec.node_selector.iter().flatten().all(|(k, v)| node.labels.get(k) == Some(v));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    if !selected || !required.is_none_or(|r| r.node_selector_terms.iter().any(|t| matches_term(t, node))) {
        return refuse("NodeAffinity", "node(s) didn't match Pod's node affinity/selector", true);
    }
    if host_ports::conflict(&asks.ports, &node.ports) {
        return refuse("NodePorts", host_ports::CONFLICT, false);
    }
    let lacking = lacking(asks, (node.requested, &node.requested_scalars), node);
    if !lacking.is_empty() {
        // More than the node could ever give: nobody's leaving would help. Upstream never says that
        // of the number of pods.
        let never = self::lacking(asks, (Amount::default(), &Scalars::new()), node);
        let hopeless = never.iter().any(|resource| resource != "pods");
        let reason = |resource: String| match resource.as_str() {
            "pods" => "Too many pods".to_string(),
            resource => format!("Insufficient {resource}"),
        };
        let refusal = |resource: String| Refusal {
            filter: "NodeResourcesFit",
            reason: reason(resource),
            detail: None,
            final_: hopeless,
        };
        return lacking.into_iter().map(refusal).collect();
    }
    let refusal = |found: volumes::Refusal| Refusal {
        filter: found.filter,
        reason: found.reason.into(),
        detail: None,
        final_: found.is_final,
    };
    volumes.refusals(node).into_iter().map(refusal).collect()
}

/// The nodes that a pod's required affinity names by `metadata.name`, as that of every DaemonSet's
/// pod does; `None` if one of its terms names none, so that all nodes are asked. The terms `n1 or
/// n2` and `n3` name three nodes; a term that must be both `n1` and `n2` names none of them, and if
/// no other does, the list is empty. Upstream: PreFilter of the plug-in NodeAffinity.
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

/// What the pod asks of a node. It is made once for all nodes: a pod may have thousands of ports.
struct Asks<'a> {
    spec: &'a PodSpec,
    amount: Amount,
    /// The same with defaults where it requests nothing; for scores only.
    scored: Amount,
    scalars: Scalars,
    ports: Vec<HostPort>,
}

/// The resources of which the node has too little left when so much of it is used.
fn lacking(asks: &Asks, (used, used_scalars): (Amount, &Scalars), node: &NodeInfo) -> Vec<String> {
    let plain = requests::lacking(asks.amount, used, node.allocatable);
    let mut names: Vec<String> = plain.iter().map(|lack| lack.resource.to_string()).collect();
    names.extend(requests::lacking_scalars(&asks.scalars, used_scalars, &node.scalars));
    names
}

/// Does the node fit a term of an affinity?
fn matches_term(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    nodes::fits(term, &node.name, &node.labels)
}

/// Brings a plug-in's raw counts to 0 to 100 by the largest of them, times its weight; `reverse`:
/// the smallest count is the best. Upstream: `DefaultNormalizeScore`. Counts 0, 1 and 2 of taints
/// that a pod does not tolerate are 100, 50 and 0.
fn normalize(verdicts: &mut [Verdict], plugin: &'static str, reverse: bool, weight: i64) {
    let most = verdicts.iter().filter_map(|v| v.scores.get(plugin)).max().copied().unwrap_or(0);
    for verdict in verdicts {
        if most == 0 {
            verdict.scores.remove(plugin); // it says the same of all nodes
        } else if let Some(score) = verdict.scores.get_mut(plugin) {
            let part = *score * 100 / most;
            *score = if reverse { 100 - part } else { part } * weight;
        }
    }
}

/// NodeResourcesFit with the strategy LeastAllocated: how much of a node's cpu and memory is free,
/// in percent, on average. Half of its cpu and a quarter of its memory in use: (50 + 75) / 2 = 62.
/// As upstream, a resource that the node does not have does not count, and more than all is none.
fn least_allocated(allocatable: Amount, used: Amount) -> i64 {
    let pairs = [(allocatable.cpu, used.cpu), (allocatable.memory, used.memory)];
    let free = |(all, used): (i64, i64)| match used > all {
        true => 0,
        false => (i128::from(all - used) * 100 / i128::from(all)) as i64,
    };
    let parts: Vec<i64> = pairs.into_iter().filter(|(all, _)| *all > 0).map(free).collect();
    parts.iter().sum::<i64>() / (parts.len() as i64).max(1)
}

/// PodTopologySpread counts the pods of the same controller on each node; of three nodes with 2, 1
/// and 0 of them the last one is the best. NodeResourcesFit and PodTopologySpread give 0 to 100
/// times upstream's weight, the others raw counts, see [`normalize`].
fn score(asks: &Asks, node: &NodeInfo, siblings: &Option<(String, i64)>) -> BTreeMap<&'static str, i64> {
    let mut scores = BTreeMap::new();
    scores.insert("NodeResourcesFit", least_allocated(node.allocatable, node.nonzero.and(asks.scored)));
    if let Some((owner, most)) = siblings {
        let own = node.siblings.get(owner).copied().unwrap_or(0);
        let spread = if *most == 0 { 100 } else { (most - own) * 100 / most };
        scores.insert("PodTopologySpread", spread * 2);
    }
    let tolerations = asks.spec.tolerations.as_deref().unwrap_or_default();
    let soft = node.taints.iter().filter(|t| t.effect == "PreferNoSchedule");
    let disliked = soft.filter(|t| !tolerations.iter().any(|to| tolerates(to, t))).count() as i64;
    scores.insert("TaintToleration", disliked);
    let affinity = asks.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let preferred = affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    let met = preferred
        .into_iter()
        .flatten()
        .filter(|p| matches_term(&p.preference, node))
        .map(|p| i64::from(p.weight));
    scores.insert("NodeAffinity", met.sum());
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Node;

    /// One script per test: nodes and pods in a line each, the decisions as text.
    fn play(script: &str) -> String {
        let mut nodes: Vec<NodeInfo> = Vec::new();
        let mut out = String::new();
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let mut words = line.split_whitespace();
            let (what, name) = (words.next().unwrap(), words.next().unwrap());
            let args: BTreeMap<&str, &str> = words.filter_map(|w| w.split_once('=')).collect();
            let list = |key: &str| -> Vec<(String, String)> {
                let text = args.get(key).copied().unwrap_or_default();
                let pair = |t: &str| t.split_once(':').map(|(k, v)| (k.to_string(), v.to_string()));
                text.split(',').filter_map(pair).collect()
            };
            if what == "node" {
                let mut node = NodeInfo { name: name.into(), ..NodeInfo::default() };
                node.allocatable.pods = 110;
                node.allocatable.cpu = args.get("cpu").map_or(1000, |c| c.parse().unwrap());
                node.allocatable.memory = 4 << 30;
                node.labels = list("labels").into_iter().collect();
                node.unschedulable = args.contains_key("cordoned");
                for (key, effect) in list("taints") {
                    node.taints.push(Taint { key, effect, ..Taint::default() });
                }
                nodes.push(node);
                continue;
            }
            let mut pod: Pod = serde_json::from_value(serde_json::json!({
                "metadata": {"name": name, "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "o", "uid": args.get("owner").unwrap_or(&"none"), "controller": true}]},
                "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": args.get("cpu").map_or("0".to_string(), |c| format!("{c}m"))}},
                    "ports": args.get("port").map_or(serde_json::json!([]), |p| serde_json::json!([{"containerPort": 80, "hostPort": p.parse::<i32>().unwrap()}]))}],
                    "nodeSelector": list("selector").into_iter().collect::<BTreeMap<_, _>>(),
                    "tolerations": list("tolerates").into_iter().map(|(key, effect)| serde_json::json!({"key": key, "effect": effect, "operator": "Exists"})).collect::<Vec<_>>()},
            }))
            .unwrap();
            let decision = decide(&pod, &nodes, &Volumes::default(), &Rng::seeded(1));
            match &decision.chosen {
                Some(chosen) => {
                    out += &format!("{name} -> {chosen}\n");
                    pod.spec.as_mut().unwrap().node_name = Some(chosen.clone());
                    nodes.iter_mut().find(|n| n.name == *chosen).unwrap().add(&pod);
                }
                None => out += &format!("{name}: {}\n", decision.message(&pod)),
            }
        }
        out
    }

    #[test]
    fn room_decides_first_and_the_message_counts_the_reasons() {
        let out = play("node n1 cpu=1000\nnode n2 cpu=2000\npod web cpu=1500\npod big cpu=1500");
        assert_eq!(
            out,
            "web -> n2\nbig: 0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are \
             available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.\n"
        );
    }

    #[test]
    fn nobody_asks_for_so_much_that_it_fits_again() {
        let half = serde_json::json!({"resources": {"requests": {"memory": "6Ei"}}});
        let pod = serde_json::json!({"spec": {"containers": [half, half, half]}});
        let mut pod: Pod = serde_json::from_value(pod).unwrap();
        let mut node = NodeInfo { name: "n".into(), ..NodeInfo::default() };
        node.allocatable = Amount { pods: 110, cpu: 1000, memory: 4 << 30, storage: 1 << 30 };
        let decision = decide(&pod, std::slice::from_ref(&node), &Volumes::default(), &Rng::seeded(1));
        let told = decision.message(&pod);
        assert!(told.contains("1 Insufficient memory"), "{told}");
        pod.spec.as_mut().unwrap().preemption_policy = Some("Never".into());
        let told = decision.message(&pod);
        assert!(told.ends_with(", preemption: not eligible due to preemptionPolicy=Never."), "{told}");
        pod.spec.as_mut().unwrap().node_name = Some("n".into());
        node.add(&pod);
        node.add(&pod);
        assert_eq!(node.requested.memory, i64::MAX);
    }

    #[test]
    fn a_node_without_room_on_its_disk_or_for_another_pod_is_refused() {
        let container = serde_json::json!({"resources": {"requests": {"ephemeral-storage": "1Gi"}}});
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"spec": {"containers": [container]}})).unwrap();
        let node: Node = serde_json::from_value(serde_json::json!({"metadata": {"name": "n"}, "status":
            {"allocatable": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi", "pods": "1"}}}))
        .unwrap();
        let mut node = NodeInfo::of(&node);
        let refused = |node: &NodeInfo| {
            decide(&pod, std::slice::from_ref(node), &Volumes::default(), &Rng::seeded(1))
                .verdicts
                .remove(0)
                .refused
        };
        assert_eq!(refused(&node), []);
        node.add(&pod);
        let reasons: Vec<String> = refused(&node).into_iter().map(|r| r.reason).collect();
        assert_eq!(reasons, ["Too many pods", "Insufficient ephemeral-storage"]);
    }

    #[test]
    fn taints_cordons_selectors_and_ports() {
        let out = play(
            "node cp taints=node-role.kubernetes.io/control-plane:NoSchedule\nnode w1 labels=disk:ssd\nnode w2 cordoned=1\n\
             pod a selector=disk:ssd port=80\npod b port=80\npod c tolerates=node-role.kubernetes.io/control-plane:NoSchedule port=80\npod d selector=disk:hdd",
        );
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "a -> w1");
        assert!(lines[1].starts_with(
            "b: 0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, \
             1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
        ));
        assert_eq!(lines[2], "c -> cp");
        assert!(lines[3].contains("1 node(s) didn't match Pod's node affinity/selector"), "{}", lines[3]);
    }

    fn pod_of(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn node_of(allocatable: serde_json::Value) -> NodeInfo {
        let node = serde_json::json!({"metadata": {"name": "n"}, "status": {"allocatable": allocatable}});
        NodeInfo::of(&serde_json::from_value(node).unwrap())
    }

    fn reasons(pod: &Pod, node: &NodeInfo) -> Vec<String> {
        let decision = decide(pod, std::slice::from_ref(node), &Volumes::default(), &Rng::seeded(1));
        decision.verdicts[0].refused.iter().map(|r| r.reason.clone()).collect()
    }

    /// The pods of a DaemonSet name their node. The others are not asked what they lack.
    #[test]
    fn nodes_that_a_pod_does_not_name_are_not_asked() {
        let message = |names: &[&[&str]]| {
            let term = |names: &&[&str]| {
                let rule = |n| serde_json::json!({"key": "metadata.name", "operator": "In", "values": [n]});
                serde_json::json!({"matchFields": names.iter().map(rule).collect::<Vec<_>>()})
            };
            let terms: Vec<_> = names.iter().map(term).collect();
            let required = serde_json::json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            let pod = pod_of(serde_json::json!({"affinity": {"nodeAffinity": required},
                "containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}));
            let node = |name: &str| NodeInfo {
                name: name.into(),
                ..node_of(serde_json::json!({"cpu": "1", "memory": "1Gi", "pods": "9"}))
            };
            let nodes = [node("n1"), NodeInfo { unschedulable: true, ..node("n2") }, node("n3")];
            let told = decide(&pod, &nodes, &Volumes::default(), &Rng::seeded(1)).message(&pod);
            told.split(". ")
                .next()
                .unwrap_or_default()
                .trim_start_matches("0/3 nodes are available: ")
                .to_string()
        };
        let unasked = "node(s) didn't satisfy plugin(s) [NodeAffinity]";
        assert_eq!(message(&[&["n1"]]), format!("1 Insufficient cpu, 2 {unasked}"));
        assert_eq!(message(&[&["n1"], &["n3"]]), format!("1 {unasked}, 2 Insufficient cpu"));
        assert_eq!(message(&[&["n1", "n3"]]), "pod affinity terms conflict");
        assert_eq!(
            message(&[&["n1"], &[]]),
            "1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable"
        );
    }

    #[test]
    fn extended_resources_and_huge_pages_are_counted() {
        let requests = serde_json::json!({"requests": {"example.com/dongle": "3", "hugepages-2Mi": "4Mi"}});
        let pod = pod_of(serde_json::json!({"containers": [{"name": "c", "resources": requests}]}));
        let with = |dongles: &str| {
            node_of(
                serde_json::json!({"cpu": "1", "memory": "1Gi", "pods": "9", "example.com/dongle": dongles,
                "hugepages-2Mi": "64Mi"}),
            )
        };
        let none = node_of(serde_json::json!({"cpu": "1", "memory": "1Gi", "pods": "9"}));
        assert_eq!(reasons(&pod, &none), ["Insufficient example.com/dongle", "Insufficient hugepages-2Mi"]);
        let mut node = with("5");
        assert!(reasons(&pod, &node).is_empty());
        node.add(&pod);
        assert_eq!(reasons(&pod, &node), ["Insufficient example.com/dongle"]);
        assert!(reasons(&pod_of(serde_json::json!({"containers": []})), &node).is_empty());
    }

    #[test]
    fn a_node_takes_as_many_pods_as_it_says_and_its_size_is_no_trap() {
        let pod = pod_of(serde_json::json!({"containers": []}));
        assert_eq!(
            reasons(&pod, &node_of(serde_json::json!({"cpu": "4", "memory": "8Gi"}))),
            ["Too many pods"]
        );
        let hopeless = |allocatable| {
            let node = node_of(allocatable);
            let decision = decide(&pod, &[node], &Volumes::default(), &Rng::seeded(1));
            decision.verdicts[0].refused.iter().any(|r| r.final_)
        };
        assert!(!hopeless(serde_json::json!({"cpu": "4", "memory": "8Gi"})));
        let huge = node_of(serde_json::json!({"cpu": "4", "memory": "1Ei", "pods": "9"}));
        assert!(reasons(&pod, &huge).is_empty());
    }

    #[test]
    fn an_empty_host_address_is_all_of_them() {
        let with = |ip: &str| {
            let port =
                serde_json::json!([{"containerPort": 1, "hostPort": 80, "hostIP": ip, "protocol": ""}]);
            pod_of(serde_json::json!({"containers": [{"name": "c", "ports": port}]}))
        };
        let mut node = node_of(serde_json::json!({"cpu": "4", "memory": "8Gi", "pods": "9"}));
        node.add(&with(""));
        assert!(reasons(&with("127.0.0.1"), &node)[0].contains("free ports"));
    }

    #[test]
    fn a_sibling_on_its_way_out_keeps_nobody_away() {
        let owner = serde_json::json!([{"apiVersion": "v1", "kind": "X", "name": "o", "uid": "u", "controller": true}]);
        let mut pod = pod_of(serde_json::json!({"containers": []}));
        pod.metadata.owner_references = serde_json::from_value(owner).unwrap();
        let mut node = NodeInfo::default();
        node.add(&pod);
        assert_eq!(node.siblings.get("u"), Some(&1));
        pod.metadata.deletion_timestamp = serde_json::from_value("2026-01-01T00:00:00Z".into()).unwrap();
        node.add(&pod);
        assert_eq!(node.siblings.get("u"), Some(&1));
    }

    #[test]
    fn replicas_spread_before_they_stack() {
        let out = play("node n1\nnode n2\npod a owner=rs\npod b owner=rs\npod c owner=rs\npod d owner=rs");
        let count = |n: &str| out.matches(n).count();
        assert_eq!((count("n1"), count("n2")), (2, 2), "{out}");
    }

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

    #[test]
    fn a_taint_that_is_only_disliked_weighs_three_hundred_at_most() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": []}})).unwrap();
        let node = |name: &str, taints: usize| {
            let mut node = NodeInfo { name: name.into(), ..NodeInfo::default() };
            node.allocatable.pods = 110;
            let taint = Taint { key: "k".into(), effect: "PreferNoSchedule".into(), ..Taint::default() };
            node.taints = vec![taint; taints];
            node
        };
        let nodes = [node("none", 0), node("one", 1), node("four", 4)];
        let decision = decide(&pod, &nodes, &Volumes::default(), &Rng::seeded(1));
        let scores: Vec<i64> = decision.verdicts.iter().map(|v| v.scores["TaintToleration"]).collect();
        assert_eq!((scores, decision.chosen.as_deref()), (vec![300, 225, 0], Some("none")));
        let decision = decide(&pod, &nodes[..1], &Volumes::default(), &Rng::seeded(1));
        assert!(!decision.verdicts[0].scores.contains_key("TaintToleration"), "it decides nothing");
    }

    #[test]
    fn tolerations_follow_the_api() {
        let taint = Taint {
            key: "k".into(),
            value: Some("v".into()),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        let t = |json: serde_json::Value| tolerates(&serde_json::from_value(json).unwrap(), &taint);
        assert!(t(serde_json::json!({"operator": "Exists"})));
        assert!(t(serde_json::json!({"key": "k", "value": "v", "effect": "NoSchedule"})));
        assert!(!t(serde_json::json!({"key": "k", "value": "w"})));
        assert!(!t(serde_json::json!({"key": "k", "operator": "Exists", "effect": "NoExecute"})));
    }
}
