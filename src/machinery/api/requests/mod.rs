//! Computes what a pod requests of a node, and what a node lacks for it. Source:
//! `k8s.io/component-helpers/resource/helpers.go`; KEP-753 (sidecar containers), KEP-688 (pod
//! overhead), KEP-2837 (pod-level resources).
//!
//! The scheduler, ResourceQuota, LimitRange and the kubelet's admission all ask this file, so they
//! cannot disagree about a pod.
//!
//! ```text
//! containers        web 500m, log 100m                    sum of what runs together   600m
//! restartable init  proxy 200m (a sidecar)                runs beside them          + 200m = 800m
//! init              migrate 1, started after the sidecar  1 + 200m, which is more          = 1200m
//! overhead          50m                                   always added              + 50m  = 1250m
//! ```
//!
//! A request for the whole pod (`spec.resources`) takes the place of the sum, before the overhead
//! is added.

use super::quantity::Quantity;
use super::value::{self, list, text};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Stored;
use serde_json::Value;
use std::collections::BTreeMap;

/// Amounts by resource name: `cpu`, `memory`, `requests.cpu`, `pods`.
pub type Amounts = BTreeMap<String, Quantity>;

/// The two maps of `resources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// What the scheduler reserves.
    Requests,
    /// What the kernel enforces.
    Limits,
}

/// `resources` of a container, or of a whole pod.
#[derive(Default)]
struct Resources {
    requests: Amounts,
    limits: Amounts,
}

impl Resources {
    fn of_stored(resources: Option<&ResourceRequirements>) -> Resources {
        let map = |of: fn(&ResourceRequirements) -> &Option<BTreeMap<String, Stored>>| {
            resources.and_then(|r| of(r).as_ref()).map(parsed).unwrap_or_default()
        };
        Resources { requests: map(|r| &r.requests), limits: map(|r| &r.limits) }
    }

    fn of_value(owner: &Value) -> Resources {
        Resources {
            requests: amounts(owner, "resources.requests"),
            limits: amounts(owner, "resources.limits"),
        }
    }

    /// Returns the limits or the requests. A container that has a limit and no request requests its
    /// limit: the API server fills that in, but not for static pods.
    fn get(&self, field: Field) -> Amounts {
        match field {
            Field::Limits => self.limits.clone(),
            Field::Requests => {
                let mut all = self.limits.clone();
                all.extend(self.requests.iter().map(|(name, amount)| (name.clone(), *amount)));
                all
            }
        }
    }
}

/// Reads the amounts of a map of an object, e.g. of a Node's `allocatable`.
pub fn parsed(map: &BTreeMap<String, Stored>) -> Amounts {
    map.iter().filter_map(|(name, q)| Some((name.clone(), Quantity::parse(&q.0)?))).collect()
}

/// Returns the amounts of the map at `path`.
pub fn amounts(object: &Value, path: &str) -> Amounts {
    value::pairs(object, path).filter_map(|(k, v)| Some((k.to_string(), Quantity::parse(v)?))).collect()
}

/// What the total is computed from.
struct Parts {
    containers: Vec<Resources>,
    /// With each: whether it is restartable (a sidecar).
    init: Vec<(Resources, bool)>,
    whole: Resources,
    overhead: Amounts,
}

impl Parts {
    /// Returns the quality of service: see [`qos_class`].
    fn qos_class(&self) -> &'static str {
        let says = |resources: &Resources| {
            resources.limits.keys().chain(resources.requests.keys()).any(|name| is_of_whole_pod(name))
        };
        let parts: Vec<&Resources> = match says(&self.whole) {
            true => vec![&self.whole],
            false => self.containers.iter().chain(self.init.iter().map(|(resources, _)| resources)).collect(),
        };
        let (mut any, mut all) = (false, true);
        for resources in parts {
            let (requests, limits) = (resources.get(Field::Requests), &resources.limits);
            for resource in ["cpu", "memory"] {
                let is_some =
                    |amount: Option<&Quantity>| amount.is_some_and(|q| !q.is_zero() && !q.is_negative());
                let (request, limit) = (requests.get(resource), limits.get(resource));
                any |= is_some(limit) || is_some(request);
                all &= is_some(limit) && limit == request;
            }
        }
        match (any, all) {
            (false, _) => "BestEffort",
            (true, true) => "Guaranteed",
            (true, false) => "Burstable",
        }
    }

    fn of_pod(pod: &Pod) -> Parts {
        let of = |c: &Container| Resources::of_stored(c.resources.as_ref());
        let Some(spec) = &pod.spec else {
            return Parts {
                containers: vec![],
                init: vec![],
                whole: Resources::default(),
                overhead: Amounts::new(),
            };
        };
        let restartable = |c: &Container| c.restart_policy.as_deref() == Some("Always");
        Parts {
            containers: spec.containers.iter().map(of).collect(),
            init: spec.init_containers.iter().flatten().map(|c| (of(c), restartable(c))).collect(),
            whole: Resources::of_stored(spec.resources.as_ref()),
            overhead: spec.overhead.as_ref().map(parsed).unwrap_or_default(),
        }
    }

    fn of_spec(spec: &Value) -> Parts {
        let restartable = |c: &Value| text(c, "restartPolicy") == "Always";
        let init = list(spec, "initContainers").iter();
        Parts {
            containers: list(spec, "containers").iter().map(Resources::of_value).collect(),
            init: init.map(|c| (Resources::of_value(c), restartable(c))).collect(),
            whole: Resources::of_value(spec),
            overhead: amounts(spec, "overhead"),
        }
    }

    /// `missing` is what a container counts for that says nothing of a resource.
    fn total(&self, field: Field, missing: &[(&str, Quantity)]) -> Amounts {
        let own = |resources: &Resources| {
            let mut own = resources.get(field);
            for (name, amount) in missing {
                own.entry((*name).to_string()).or_insert(*amount);
            }
            own
        };
        let mut total = Amounts::new();
        self.containers.iter().for_each(|c| add_all(&mut total, &own(c)));
        let (mut sidecars, mut greediest) = (Amounts::new(), Amounts::new());
        for (container, restartable) in &self.init {
            let own = own(container);
            if *restartable {
                add_all(&mut total, &own);
                add_all(&mut sidecars, &own);
                keep_larger(&mut greediest, &sidecars);
            } else {
                // It runs beside the sidecars that were started before it.
                let mut beside = sidecars.clone();
                add_all(&mut beside, &own);
                keep_larger(&mut greediest, &beside);
            }
        }
        keep_larger(&mut total, &greediest);
        total.extend(self.of_whole(field));
        for (name, amount) in &self.overhead {
            // A limit of 0 is none: it stays so.
            let has_limit = total.get(name).is_some_and(|limit| !limit.is_zero());
            if field == Field::Requests || has_limit {
                add(&mut total, name.clone(), *amount);
            }
        }
        total
    }

    /// Returns what `spec.resources` says instead of the containers. Its limit is also the request
    /// where neither it nor a container requests anything.
    fn of_whole(&self, field: Field) -> Amounts {
        let mut whole = match field {
            Field::Limits => self.whole.limits.clone(),
            Field::Requests => self.whole.requests.clone(),
        };
        if field == Field::Requests {
            let all = self.containers.iter().chain(self.init.iter().map(|(c, _)| c));
            let of_containers: Vec<Amounts> = all.map(|c| c.get(field)).collect();
            for (name, limit) in &self.whole.limits {
                if !of_containers.iter().any(|amounts| amounts.contains_key(name)) {
                    whole.entry(name.clone()).or_insert(*limit);
                }
            }
        }
        whole.retain(|name, _| is_of_whole_pod(name));
        whole
    }
}

/// Returns whether a pod may ask for this resource as a whole (`IsSupportedPodLevelResource`
/// upstream).
pub fn is_of_whole_pod(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// Adds an amount to the one of that name.
pub fn add(to: &mut Amounts, name: impl Into<String>, amount: Quantity) {
    let slot = to.entry(name.into()).or_insert(Quantity::of_units(0));
    *slot = *slot + amount;
}

fn add_all(to: &mut Amounts, more: &Amounts) {
    more.iter().for_each(|(name, amount)| add(to, name.clone(), *amount));
}

fn keep_larger(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let slot = to.entry(name.clone()).or_insert(*amount);
        if *amount > *slot {
            *slot = *amount;
        }
    }
}

/// Returns the requests, or the limits, of a pod.
pub fn of_pod(pod: &Pod, field: Field) -> Amounts {
    Parts::of_pod(pod).total(field, &[])
}

/// As [`of_pod`], for a pod as the API server has it.
pub fn of_value(pod: &Value, field: Field) -> Amounts {
    Parts::of_spec(value::at(pod, "spec")).total(field, &[])
}

/// Returns the quality of service of a pod (`ComputePodQOS` upstream): `Guaranteed`, `Burstable` or
/// `BestEffort`, from requests and limits of cpu and memory: those of the whole pod if it has them,
/// else those of each container. Amounts are compared, not texts: `1Gi` is `1073741824`.
///
/// ```text
/// limits cpu 1, memory 1Gi; requests none (so the limits)  -> Guaranteed
/// limits cpu 1, memory 1Gi; requests cpu 500m              -> Burstable
/// neither, or all of them 0                                -> BestEffort
/// ```
pub fn qos_class(pod: &Pod) -> &'static str {
    Parts::of_pod(pod).qos_class()
}

/// As [`qos_class`], for a pod as the API server has it.
pub(crate) fn qos_class_of_value(pod: &Value) -> &'static str {
    Parts::of_spec(value::at(pod, "spec")).qos_class()
}

/// Returns what the containers of a pod's spec request together, as far as they say so themselves,
/// without what the pod asks for as a whole and without its overhead (`AggregateContainerRequests`
/// upstream).
pub fn of_containers(spec: &Value) -> Amounts {
    let mut parts = Parts::of_spec(spec);
    parts.containers.iter_mut().chain(parts.init.iter_mut().map(|(c, _)| c)).for_each(|c| c.limits.clear());
    Parts { whole: Resources::default(), overhead: Amounts::new(), ..parts }.total(Field::Requests, &[])
}

/// Returns the limits of the containers of a pod's spec together, without those of the pod as a
/// whole and without its overhead (`AggregateContainerLimits` upstream).
pub(crate) fn limits_of_containers(spec: &Value) -> Amounts {
    let parts = Parts::of_spec(spec);
    Parts { whole: Resources::default(), overhead: Amounts::new(), ..parts }.total(Field::Limits, &[])
}

/// Amounts of what only some nodes have, by name: extended resources, in units, and huge pages, in
/// bytes.
pub type Scalars = BTreeMap<String, i64>;

/// Returns whether a resource is an extended one, which Kubernetes itself does not define
/// (`IsExtendedResourceName` upstream).
pub fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// Picks the amounts of what only some nodes have.
pub fn scalars(amounts: &Amounts) -> Scalars {
    let only_some = |name: &str| name.contains('/') || name.starts_with("hugepages-");
    amounts.iter().filter(|(name, _)| only_some(name)).map(|(name, q)| (name.clone(), q.units())).collect()
}

/// Lists what a node with `allocatable`, of which its pods request `used`, lacks for a pod. See
/// [`lacking`].
pub fn lacking_scalars(asks: &Scalars, used: &Scalars, allocatable: &Scalars) -> Vec<String> {
    let amount = |all: &Scalars, name: &str| all.get(name).copied().unwrap_or(0);
    let fits = |name: &str, asked: i64| asked <= amount(allocatable, name).saturating_sub(amount(used, name));
    let lacks = asks.iter().filter(|(name, asked)| **asked > 0 && !fits(name, **asked));
    lacks.map(|(name, _)| name.clone()).collect()
}

/// What is counted when a pod is fitted on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many pods; 1 for one pod.
    pub pods: i64,
    /// Millicores.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of `ephemeral-storage`.
    pub storage: i64,
}

impl Amount {
    /// Returns what one pod requests.
    pub fn of_pod(pod: &Pod) -> Amount {
        Amount { pods: 1, ..Amount::of(&of_pod(pod, Field::Requests)) }
    }

    /// As [`Amount::of_pod`], with defaults for containers without a request: for scores only.
    /// Source: the scheduler's `DefaultMilliCPURequest` and `DefaultMemoryRequest`.
    pub fn of_pod_at_least(pod: &Pod) -> Amount {
        let missing = [("cpu", Quantity::of_milli(100)), ("memory", Quantity::of_units(200 << 20))];
        Amount { pods: 1, ..Amount::of(&Parts::of_pod(pod).total(Field::Requests, &missing)) }
    }

    /// Returns the amounts that are counted here.
    pub fn of(amounts: &Amounts) -> Amount {
        let units = |name: &str| amounts.get(name).map_or(0, Quantity::units);
        Amount {
            pods: units("pods"),
            cpu: amounts.get("cpu").map_or(0, Quantity::milli),
            memory: units("memory"),
            storage: units("ephemeral-storage"),
        }
    }

    /// Returns both together, and no more than can be counted: people may ask for any number.
    pub fn and(self, other: Amount) -> Amount {
        self.each(other, i64::saturating_add)
    }

    /// Returns what is left of this after the other is taken away, never less than nothing.
    pub fn without(self, other: Amount) -> Amount {
        self.each(other, |a, b| a.saturating_sub(b).max(0))
    }

    /// True if all amounts are 0.
    pub fn is_none(self) -> bool {
        self == Amount::default()
    }

    fn each(self, other: Amount, of: impl Fn(i64, i64) -> i64) -> Amount {
        Amount {
            pods: of(self.pods, other.pods),
            cpu: of(self.cpu, other.cpu),
            memory: of(self.memory, other.memory),
            storage: of(self.storage, other.storage),
        }
    }
}

/// A resource of which a node has not enough left for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// `pods`, `cpu`, `memory` or `ephemeral-storage`.
    pub resource: &'static str,
    /// What the pod asks for, in the units of [`Amount`].
    pub requested: i64,
    /// What the node's pods request already.
    pub used: i64,
    /// What the node has to give (`allocatable`).
    pub capacity: i64,
}

/// Lists what a node with `allocatable`, of which its pods request `used`, lacks for a pod, in
/// upstream's order (`fitsRequest`). A pod that requests nothing of a resource fits however little
/// is left of it.
pub fn lacking(asks: Amount, used: Amount, allocatable: Amount) -> Vec<Lack> {
    let lack = |resource, amount: fn(&Amount) -> i64| Lack {
        resource,
        requested: amount(&asks),
        used: amount(&used),
        capacity: amount(&allocatable),
    };
    let all = [
        lack("pods", |a| a.pods),
        lack("cpu", |a| a.cpu),
        lack("memory", |a| a.memory),
        lack("ephemeral-storage", |a| a.storage),
    ];
    let fits = |lack: &Lack| lack.requested <= 0 || lack.requested <= lack.capacity.saturating_sub(lack.used);
    all.into_iter().filter(|lack| !fits(lack)).collect()
}

#[cfg(test)]
mod tests;
