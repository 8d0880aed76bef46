//! The objects of two moments side by side: what the time view shows. Pure.
//!
//! ```text
//! ~ deployment/web   3/3  nginx:1.26      1/1  nginx:1.27
//! - service/web      NodePort 80:31234    -
//! ```

use super::cluster::{Cluster, Key};
use std::collections::{BTreeMap, BTreeSet};

/// An object at both moments. `None`: it did not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub name: String,
    pub then: Option<String>,
    pub now: Option<String>,
}

impl Pair {
    /// Returns the sign of the change: `+` is new since then, `-` is gone, `~` has changed; a space
    /// if nothing has.
    pub(crate) fn mark(&self) -> &'static str {
        match (&self.then, &self.now) {
            (None, _) => "+",
            (_, None) => "-",
            (then, now) if then != now => "~",
            _ => " ",
        }
    }
}

/// Objects in the order of the list: a number for the kind, then namespace and name.
type Facts = BTreeMap<(usize, Key), String>;

/// The kinds that are compared, in the order of the list. ReplicaSets and EndpointSlices follow
/// from these.
const KINDS: [&str; 7] = ["deployment", "hpa", "service", "pod", "namespace", "quota", "node"];

/// Returns the learner's objects and the nodes at both moments.
pub(crate) fn pairs(then: &Cluster, now: &Cluster) -> Vec<Pair> {
    let (mut then, mut now) = (facts(then), facts(now));
    let all: BTreeSet<(usize, Key)> = then.keys().chain(now.keys()).cloned().collect();
    let pair = |object: (usize, Key)| {
        let (kind, (namespace, name)) = &object;
        let kind = KINDS.get(*kind).copied().unwrap_or_default();
        let name = match namespace.as_str() {
            "" | "default" => format!("{kind}/{name}"),
            namespace => format!("{kind}/{name} -n {namespace}"),
        };
        Pair { name, then: then.remove(&object), now: now.remove(&object) }
    };
    all.into_iter().map(pair).collect()
}

/// What is said of each object, in kubectl's own words.
fn facts(cluster: &Cluster) -> Facts {
    let mut facts = Facts::new();
    let own = |key: &Key| key.0 != "kube-system";
    for (key, it) in cluster.deployments.iter().filter(|(key, _)| own(key)) {
        facts.insert((0, key.clone()), format!("{}/{}  {}", it.ready, it.wanted, it.image));
    }
    for (key, it) in cluster.autoscalers.iter().filter(|(key, _)| own(key)) {
        let wanted = match it.desired {
            desired if desired > 0 && desired != it.current => format!("/{desired}"),
            _ => String::new(),
        };
        let told = format!("{}{wanted} ({}-{}) {}", it.current, it.min, it.max, it.metrics);
        facts.insert((1, key.clone()), told);
    }
    for (key, it) in cluster.services.iter().filter(|(key, _)| own(key) && key.1 != "kubernetes") {
        let ports = it.ports.iter().map(|port| match port.node_port {
            Some(node_port) => format!("{}:{node_port}", port.number),
            None => port.number.to_string(),
        });
        let ports = ports.collect::<Vec<_>>().join(",");
        facts.insert((2, key.clone()), format!("{} {ports}", it.kind));
    }
    for (key, it) in cluster.pods.iter().filter(|(key, _)| own(key)) {
        facts.insert((3, key.clone()), format!("{}/{} {}", it.ready.0, it.ready.1, it.status));
    }
    for (name, is_leaving) in cluster.own_namespaces().into_iter().filter(|(name, _)| *name != "default") {
        let phase = if is_leaving { "Terminating" } else { "Active" };
        facts.insert((4, (String::new(), name.to_string())), phase.to_string());
    }
    for (key, it) in cluster.quotas.iter().filter(|(key, _)| own(key)) {
        facts.insert((5, key.clone()), it.usage());
    }
    for (name, it) in &cluster.nodes {
        let ready = if it.ready { "Ready" } else { "NotReady" };
        let cordoned = if it.cordoned { ",SchedulingDisabled" } else { "" };
        facts.insert((6, (String::new(), name.clone())), format!("{ready}{cordoned}"));
    }
    facts
}
