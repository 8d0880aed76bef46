//! The objects of the map, each with the few fields that it shows.

use api::value::{at, text};
use clock::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Namespace (empty for nodes) and name.
pub(crate) type Key = (String, String);

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Node {
    pub name: String,
    pub control_plane: bool,
    pub ready: bool,
    pub cordoned: bool,
    /// What pods may request of it: thousandths of a processor, and bytes.
    pub cpu: i64,
    pub memory: i64,
}

/// How a pod stands, as its sign shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stand {
    /// No node yet.
    #[default]
    Waiting,
    Starting,
    Ready,
    Leaving,
    Failed,
    Done,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pod {
    pub namespace: String,
    pub name: String,
    /// Empty for a mirror pod: Events about it have the UID of the static pod.
    pub uid: String,
    pub node: String,
    pub stand: Stand,
    /// Its phase is Succeeded or Failed: it runs no more, and takes nothing of its node.
    pub is_over: bool,
    /// kubectl's STATUS column.
    pub status: String,
    /// Containers ready, of how many.
    pub ready: (usize, usize),
    pub restarts: i64,
    /// The ReplicaSet, DaemonSet or other controller it belongs to.
    pub owner: String,
    pub labels: BTreeMap<String, String>,
    pub image: String,
    pub ip: String,
    pub revision: u64,
    /// What it asks for, as the scheduler counts it: `cpu 500m  memory 1Gi`.
    pub asks: String,
    /// The processor time that it asks for, in thousandths of a processor.
    pub cpu: i64,
    /// The memory that it asks for, in bytes.
    pub memory: i64,
    pub selector: String,
    /// `metadata.creationTimestamp`, in whole seconds.
    pub created: Option<Timestamp>,
    /// `status.conditions`, in their order.
    pub conditions: Vec<Condition>,
    /// Its containers, the init containers first.
    pub containers: Vec<Container>,
}

/// A condition of a pod, e.g. `PodScheduled`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Condition {
    pub kind: String,
    /// Its status is `True`.
    pub met: bool,
    /// `lastTransitionTime`, in whole seconds.
    pub since: Option<Timestamp>,
    pub reason: String,
}

/// A container of a pod: what its specification and its status say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Container {
    pub name: String,
    pub image: String,
    pub is_init: bool,
    pub state: ContainerState,
    pub ready: bool,
    /// The startup probe has succeeded, or there is none and the container runs.
    pub started: bool,
    pub restarts: i64,
    /// How it ended before the newest start, or before the start that it waits for.
    pub last: Option<Exit>,
    pub probes: Vec<Probe>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum ContainerState {
    /// The kubelet has reported nothing yet.
    #[default]
    Unknown,
    Waiting {
        reason: String,
        message: String,
    },
    /// Runs since this time.
    Running(Option<Timestamp>),
    Ended(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Exit {
    pub reason: String,
    pub code: i64,
    pub at: Option<Timestamp>,
}

/// A probe of a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    /// `startup`, `readiness` or `liveness`.
    pub kind: &'static str,
    /// What it asks: `GET :80/healthz`, `tcp :6379`, `exec cat /ready`.
    pub asks: String,
}

impl Pod {
    /// True if an Event is about this pod, and not about one of the same name that was deleted
    /// before. `kubectl describe` tells them apart by their UIDs, too.
    pub(crate) fn has_event(&self, event: &Happened) -> bool {
        self.uid.is_empty() || event.uid.is_empty() || self.uid == event.uid
    }

    /// Forgets what its kubelet has reported: the pod as it was before. `is_bound`: a node was
    /// chosen by then.
    pub(crate) fn forget_reports(&mut self, is_bound: bool) {
        (self.ready.0, self.restarts, self.is_over) = (0, 0, false);
        self.ip.clear();
        self.conditions.retain(|condition| is_bound && condition.kind == "PodScheduled");
        for container in &mut self.containers {
            let Container { name, image, is_init, probes, .. } = std::mem::take(container);
            *container = Container { name, image, is_init, probes, ..Container::default() };
        }
    }

    /// Part of the cluster itself.
    pub(crate) fn system(&self) -> bool {
        self.namespace == "kube-system"
    }

    /// A static pod of a component, e.g. `etcd-`: its name ends with its node's. A learner's
    /// `etcd-client` is none.
    pub(super) fn is_component(&self, name: &str) -> bool {
        self.system() && self.name.strip_prefix(name) == Some(&self.node)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Service {
    pub namespace: String,
    pub name: String,
    pub kind: String,
    pub ip: String,
    /// `spec.externalName`: a Service of this type is an alias of that name, and has no endpoints.
    pub alias_of: String,
    pub ports: Vec<Port>,
    pub selector: BTreeMap<String, String>,
    pub revision: u64,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Port {
    /// That of the port in the EndpointSlices to which it leads; empty where there is only one.
    pub name: String,
    pub number: i64,
    pub target: String,
    pub node_port: Option<i64>,
}

impl Service {
    /// True for a Service without an address of its own: its name leads to the pods.
    pub(crate) fn is_headless(&self) -> bool {
        matches!(self.ip.as_str(), "" | "None")
    }

    /// True for a Service of the type ExternalName.
    pub(crate) fn is_alias(&self) -> bool {
        !self.alias_of.is_empty()
    }

    /// Returns where it is reached inside the cluster: `10.98.113.25:80`, or `db.default:80` if it
    /// is headless.
    pub(crate) fn address(&self, port: Option<&Port>) -> String {
        let host = match self.is_headless() {
            true => format!("{}.{}", self.name, self.namespace),
            false => self.ip.clone(),
        };
        match port {
            Some(port) => format!("{host}:{}", port.number),
            None => host,
        }
    }
}

/// One address in an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Endpoint {
    pub ip: String,
    pub node: String,
    pub pod: String,
    pub ready: bool,
    /// Its pod is leaving and still serves: it gets connections while no endpoint is ready.
    pub drains: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slice {
    pub service: String,
    pub endpoints: Vec<Endpoint>,
    /// Names and numbers.
    pub ports: Vec<(String, i64)>,
}

impl Slice {
    /// True if this port of the Service leads to its endpoints. Not if its target port is a name
    /// that no container port of the pods has.
    pub(crate) fn serves(&self, port: &Port) -> bool {
        self.ports.iter().any(|(name, _)| *name == port.name)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Deployment {
    pub namespace: String,
    pub name: String,
    pub wanted: i64,
    pub ready: i64,
    pub available: i64,
    pub updated: i64,
    pub image: String,
    /// All pods end before their successors begin: the strategy `Recreate`, which has no
    /// `rollingUpdate`.
    pub recreates: bool,
    /// A changed template starts no rollout until it is resumed.
    pub paused: bool,
    pub surge: String,
    pub unavailable: String,
    pub revision: u64,
}

impl Deployment {
    /// Returns how many pods a rollout keeps available at least, and how many there may be at most:
    /// `maxUnavailable` is rounded down and `maxSurge` up. For example 4 replicas with 25 % of both
    /// give 3 and 5. Upstream: `ResolveFenceposts`.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        if self.recreates {
            return (0, self.wanted);
        }
        let surge = scaled(&self.surge, self.wanted, true);
        let unavailable = match scaled(&self.unavailable, self.wanted, false) {
            0 if surge == 0 => 1, // both zero would never replace a pod
            unavailable => unavailable,
        };
        (self.wanted.saturating_sub(unavailable).max(0), self.wanted.saturating_add(surge))
    }
}

/// A number, or so many percent of another one.
fn scaled(amount: &str, of: i64, round_up: bool) -> i64 {
    let Some(percent) = amount.strip_suffix('%') else { return amount.parse().unwrap_or_default() };
    let hundredths = of.saturating_mul(percent.parse().unwrap_or_default());
    (if round_up { hundredths.saturating_add(99) } else { hundredths }) / 100
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ReplicaSet {
    pub namespace: String,
    pub name: String,
    pub owner: String,
    pub wanted: i64,
    pub ready: i64,
    pub image: String,
    /// `deployment.kubernetes.io/revision`
    pub number: i64,
    pub created: Option<Timestamp>,
    /// `kubernetes.io/change-cause`
    pub cause: String,
    /// Why a pod that it wants was not created: the message of its condition `ReplicaFailure`,
    /// which is removed as soon as a look goes well.
    pub failure: String,
}

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Autoscaler {
    pub namespace: String,
    pub name: String,
    /// Kind and name of the workload that it scales.
    pub target: (String, String),
    pub min: i64,
    pub max: i64,
    /// How many pods the workload has, and how many the autoscaler wants. 0: not known yet.
    pub current: i64,
    pub desired: i64,
    /// Each metric with its measured value and its target, as kubectl prints those of resources:
    /// `cpu: 12%/50%`.
    pub metrics: String,
    /// The metrics before anything is measured: `cpu: <unknown>/50%`.
    pub targets: String,
    /// The reason why it cannot work: that of a condition `AbleToScale` or `ScalingActive` which is
    /// False. Empty: it works, or its workload is scaled to 0 on purpose.
    pub failure: String,
    pub revision: u64,
}

impl Autoscaler {
    /// True if nothing but the measured value has changed since this earlier state.
    pub(super) fn only_measured(&self, before: &Autoscaler) -> bool {
        let measured =
            Autoscaler { metrics: self.metrics.clone(), revision: self.revision, ..before.clone() };
        measured == *self
    }

    /// True if the autoscaler scales this Deployment.
    pub(crate) fn scales(&self, deployment: &Key) -> bool {
        let (kind, name) = &self.target;
        kind == "Deployment" && self.namespace == deployment.0 && *name == deployment.1
    }
}

/// A ResourceQuota.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Quota {
    /// What it limits, in the order of the names.
    pub amounts: Vec<Amount>,
}

/// How much of a resource a namespace may use, and how much it uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Amount {
    /// `pods`, `requests.cpu`
    pub resource: String,
    /// Empty: not counted yet.
    pub used: String,
    pub hard: String,
    /// Nothing is left of it.
    pub is_full: bool,
}

impl Quota {
    pub(crate) fn is_full(&self) -> bool {
        self.amounts.iter().any(|amount| amount.is_full)
    }

    /// Returns the amounts as `kubectl get quota` prints them: `pods: 2/2, requests.cpu: 20m/1`.
    /// What is used up comes first.
    pub(crate) fn usage(&self) -> String {
        let mut amounts: Vec<&Amount> = self.amounts.iter().collect();
        amounts.sort_by_key(|amount| !amount.is_full);
        let text = |amount: &Amount| {
            let used = if amount.used.is_empty() { "?" } else { amount.used.as_str() };
            format!("{}: {used}/{}", amount.resource, amount.hard)
        };
        amounts.into_iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Happened {
    pub about: Key,
    /// That of the object.
    pub uid: String,
    pub kind: String,
    pub reason: String,
    pub message: String,
    pub warning: bool,
    pub revision: u64,
    pub count: i64,
}

/// Returns the key of an object in its JSON form.
pub(super) fn key(object: &Value) -> Key {
    (text(object, "metadata.namespace").to_string(), text(object, "metadata.name").to_string())
}

/// Returns the UID of a pod, which its Events have. Empty for a mirror pod.
pub(super) fn uid(pod: &Value) -> String {
    let is_mirror = at(pod, "metadata.annotations").get("kubernetes.io/config.mirror").is_some();
    if is_mirror { String::new() } else { text(pod, "metadata.uid").to_string() }
}

/// Returns the store revision of an object's last change; 0 if it has none.
pub(super) fn revision(object: &Value) -> u64 {
    text(object, "metadata.resourceVersion").parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_before_its_kubelet_reported_has_neither_address_nor_running_containers() {
        let condition = |kind: &str| Condition { kind: kind.into(), met: true, ..Condition::default() };
        let container = Container { name: "c".into(), ready: true, restarts: 2, ..Container::default() };
        let runs = Container { state: ContainerState::Running(None), ..container };
        let pod = Pod {
            ready: (1, 1),
            restarts: 2,
            ip: "10.244.1.5".into(),
            conditions: vec![condition("PodScheduled"), condition("Ready")],
            containers: vec![runs],
            ..Pod::default()
        };
        let [mut bound, mut stored] = [pod.clone(), pod];
        bound.forget_reports(true);
        let containers = vec![Container { name: "c".into(), ..Container::default() }];
        let mut expected = Pod { ready: (0, 1), containers, ..Pod::default() };
        expected.conditions = vec![condition("PodScheduled")];
        assert_eq!(bound, expected);
        stored.forget_reports(false);
        assert_eq!(stored, Pod { conditions: vec![], ..expected });
    }

    #[test]
    fn a_rollout_stays_between_its_bounds() {
        for (wanted, surge, unavailable, bounds) in [
            (4, "25%", "25%", (3, 5)),
            (10, "25%", "25%", (8, 13)),
            (3, "10%", "10%", (3, 4)),
            (3, "0", "10%", (2, 3)),
            (2, "1", "0", (2, 3)),
            (1, "0", "5", (0, 1)),
            (0, "25%", "25%", (0, 0)),
        ] {
            let (surge, unavailable) = (surge.to_string(), unavailable.to_string());
            let mut deployment = Deployment { wanted, surge, unavailable, ..Deployment::default() };
            assert_eq!(deployment.bounds(), bounds, "{deployment:?}");
            deployment.recreates = true;
            assert_eq!(deployment.bounds(), (0, wanted));
        }
    }
}
