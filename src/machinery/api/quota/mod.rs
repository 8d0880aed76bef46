//! What an object costs a ResourceQuota, and which quotas it concerns. Source: `pkg/quota/v1` and
//! its evaluators.
//!
//! Both the admission of the API server, which charges, and the quota controller, which counts
//! anew, ask this file, so they cannot disagree.

use super::meta;
use super::quantity::Quantity;
use super::requests::{self, Field, add, is_extended};
use super::status::qualified;
use super::value::{self, at, int, list, text};
use super::volumes;
use clock::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

pub use super::requests::{Amounts, amounts};

const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Resources of which every container must have a request or a limit, if a quota limits them.
const EXPLICIT: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// Kinds whose plain plural is a resource name of its own, beside `count/…`.
const PLAIN: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];
/// The scopes that a quota may have, in alphabetical order.
pub(crate) const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

fn whole(number: usize) -> Quantity {
    Quantity::of_units(number as i64)
}

/// Returns the amounts as an object has them.
pub fn amounts_to_value(amounts: &Amounts) -> Value {
    amounts
        .iter()
        .map(|(k, v)| (k.clone(), Value::from(v.to_string())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// `limits.cpu=1,pods=2`: how messages show amounts.
pub fn join_amounts<'a>(amounts: impl IntoIterator<Item = (&'a String, &'a Quantity)>) -> String {
    amounts.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

/// Returns what is asked for, by the names that quotas have for it: `cpu` counts as `cpu` and
/// `requests.cpu`.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut out = Amounts::new();
    for (name, amount) in requests {
        let huge = name.starts_with("hugepages-");
        if COMPUTE.contains(&name.as_str()) || huge {
            add(&mut out, name.clone(), *amount);
        }
        if COMPUTE.contains(&name.as_str()) || huge || is_extended(name) {
            add(&mut out, format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        add(&mut out, format!("limits.{name}"), *amount);
    }
    out
}

/// Returns whether a pod still uses its resources: not if it has ended, or should be gone by now.
fn is_charged(pod: &Value, now: Timestamp) -> bool {
    let grace = jiff::SignedDuration::from_secs(int(pod, "metadata.deletionGracePeriodSeconds").unwrap_or(0));
    // A grace period that ends after the end of the calendar is not over.
    let overdue = meta::time(pod, "metadata.deletionTimestamp")
        .is_some_and(|at| at.checked_add(grace).is_ok_and(|end| now > end));
    !overdue && !matches!(text(pod, "status.phase"), "Succeeded" | "Failed")
}

/// Returns the storage that a claim is charged for: what it requests, or what it has already been
/// given if that is more. It is in whole bytes, as a quota has to be. Upstream's `getStorageUsage`.
fn storage_of_claim(claim: &Value) -> Option<Quantity> {
    let storage = |path: &str| amounts(claim, path).get("storage").copied();
    let requested = storage("spec.resources.requests")?.rounded_to_units();
    let allocated = storage("status.allocatedResources").filter(|allocated| *allocated > requested);
    Some(allocated.map_or(requested, Quantity::rounded_to_units))
}

/// Returns what one object uses, by the resource names of quotas.
pub fn usage(group: &str, plural: &str, object: &Value, now: Timestamp) -> Amounts {
    let mut out = Amounts::new();
    add(&mut out, format!("count/{}", qualified(group, plural)), whole(1));
    if !group.is_empty() {
        return out;
    }
    match plural {
        "pods" if !is_charged(object, now) => {}
        "pods" => {
            add(&mut out, "pods", whole(1));
            let amounts = |field| requests::of_value(object, field);
            out.extend(compute(&amounts(Field::Requests), &amounts(Field::Limits)));
        }
        "services" => {
            add(&mut out, "services", whole(1));
            let ports = list(object, "spec.ports");
            let given = |p: &&Value| int(p, "nodePort").is_some_and(|n| n != 0);
            let (node_ports, balancers) = match text(object, "spec.type") {
                "NodePort" => (ports.len(), 0),
                "LoadBalancer" if at(object, "spec.allocateLoadBalancerNodePorts") == &Value::Bool(false) => {
                    (ports.iter().filter(given).count(), 1)
                }
                "LoadBalancer" => (ports.len(), 1),
                _ => (0, 0),
            };
            add(&mut out, "services.nodeports", whole(node_ports));
            add(&mut out, "services.loadbalancers", whole(balancers));
        }
        "persistentvolumeclaims" => {
            add(&mut out, "persistentvolumeclaims", whole(1));
            let class = volumes::class_named_by(object);
            let of_class = |what: &str| format!("{class}.storageclass.storage.k8s.io/{what}");
            if !class.is_empty() {
                add(&mut out, of_class("persistentvolumeclaims"), whole(1));
            }
            if let Some(size) = storage_of_claim(object) {
                add(&mut out, "requests.storage", size);
                if !class.is_empty() {
                    add(&mut out, of_class("requests.storage"), size);
                }
            }
        }
        plain if PLAIN.contains(&plain) => add(&mut out, plain, whole(1)),
        _ => {}
    }
    out
}

/// Returns group and plural of the kind that a quota's resource name counts.
pub fn kind_counted_by(name: &str) -> (&str, &str) {
    if let Some(counted) = name.strip_prefix("count/") {
        let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
        return (group, plural);
    }
    if name == "requests.storage" || name.contains(".storageclass.storage.k8s.io/") {
        return ("", "persistentvolumeclaims");
    }
    if name.starts_with("services.") {
        return ("", "services");
    }
    if PLAIN.contains(&name) { ("", name) } else { ("", "pods") }
}

/// Returns whether a quota (its spec) counts this object. Only pods and claims are in scopes.
pub fn matches(spec: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let is_in = |scope: &str, operator: &str, values: &[Value]| match (group, plural) {
        ("", "pods") => is_pod_in_scope(scope, operator, values, object),
        ("", "persistentvolumeclaims") if scope == "VolumeAttributesClass" => {
            selects(operator, values, &attributes_classes(object))
        }
        _ => false,
    };
    list(spec, "scopes").iter().filter_map(Value::as_str).all(|scope| is_in(scope, "Exists", &[]))
        && list(spec, "scopeSelector.matchExpressions")
            .iter()
            .all(|rule| is_in(text(rule, "scopeName"), text(rule, "operator"), list(rule, "values")))
}

/// Returns the names of the VolumeAttributesClasses that a claim asks for, has, or is being changed
/// to (`getReferencedVolumeAttributesClassNames` upstream).
fn attributes_classes(claim: &Value) -> Vec<&str> {
    let mut names = vec![
        text(claim, "spec.volumeAttributesClassName"),
        text(claim, "status.currentVolumeAttributesClassName"),
        text(claim, "status.modifyVolumeStatus.targetVolumeAttributesClassName"),
    ];
    names.retain(|name| !name.is_empty());
    names
}

/// Returns whether a rule of a scope selector selects an object with these names. One of several
/// names is enough; `NotIn` selects an object without a name, too.
fn selects(operator: &str, values: &[Value], names: &[&str]) -> bool {
    let is_listed = |name: &&str| values.iter().any(|value| value == *name);
    match operator {
        "Exists" => !names.is_empty(),
        "DoesNotExist" => names.is_empty(),
        "In" => names.iter().any(is_listed),
        _ => names.is_empty() || !names.iter().all(is_listed),
    }
}

/// True if a pod has a deadline, and so counts for quotas of the scope `Terminating`.
pub fn is_terminating(pod: &Value) -> bool {
    int(pod, "spec.activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0)
}

fn is_pod_in_scope(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    let terminating = is_terminating(pod);
    let best_effort = || super::requests::qos_class_of_value(pod) == "BestEffort";
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => {
            let names = [text(pod, "spec.priorityClassName")];
            selects(operator, values, if names[0].is_empty() { &names[..0] } else { &names[..] })
        }
        "CrossNamespacePodAffinity" => reaches_other_namespaces(at(pod, "spec.affinity")),
        _ => false,
    }
}

fn reaches_other_namespaces(affinity: &Value) -> bool {
    let far = |term: &Value| !value::empty(term, "namespaces") || at(term, "namespaceSelector").is_object();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let required = list(affinity, &format!("{kind}.requiredDuringSchedulingIgnoredDuringExecution"));
        let preferred = list(affinity, &format!("{kind}.preferredDuringSchedulingIgnoredDuringExecution"));
        required.iter().any(far) || preferred.iter().any(|p| far(at(p, "podAffinityTerm")))
    })
}

/// Returns the requests and limits that the containers of a pod lack although `hard` limits them:
/// `cpu for: web; memory for: db,web`. A pod with resources as a whole lacks none (KEP-2837).
pub(crate) fn missing_amounts(pod: &Value, hard: &Amounts) -> Option<String> {
    let whole = ["spec.resources.requests", "spec.resources.limits"].map(|path| amounts(pod, path));
    if whole.iter().flat_map(Amounts::keys).any(|name| requests::is_of_whole_pod(name)) {
        return None;
    }
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in list(pod, "spec.containers").iter().chain(list(pod, "spec.initContainers")) {
        let given =
            compute(&amounts(container, "resources.requests"), &amounts(container, "resources.limits"));
        for name in EXPLICIT.into_iter().filter(|name| hard.contains_key(*name) && !given.contains_key(*name))
        {
            missing.entry(name).or_default().push(text(container, "name"));
        }
    }
    let parts: Vec<String> = missing
        .into_iter()
        .map(|(name, mut containers)| {
            containers.sort_unstable();
            format!("{name} for: {}", containers.join(","))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Returns why a quota does not let an object in; the words after `forbidden: `.
fn refusal(name: &str, requested: &Amounts, used: &Amounts, hard: &Amounts) -> Option<String> {
    let zero = Quantity::of_units(0);
    let after = |k: &str, v: Quantity| used.get(k).copied().unwrap_or(zero) + v;
    let exceeded: Vec<&String> = requested
        .iter()
        // A write that uses less is always allowed. Otherwise a namespace that is above a lowered
        // limit could never come back below it.
        .filter(|(k, v)| !v.is_negative() && hard.get(*k).is_some_and(|h| after(k, **v) > *h))
        .map(|(k, _)| k)
        .collect();
    if exceeded.is_empty() {
        return None;
    }
    let part = |of: &Amounts| join_amounts(exceeded.iter().filter_map(|k| of.get_key_value(*k)));
    Some(format!(
        "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
        part(requested),
        part(used),
        part(hard)
    ))
}

/// A write that quotas are charged for.
#[derive(Clone, Copy)]
pub struct Charge<'a> {
    /// The group of the object's kind.
    pub group: &'a str,
    /// The plural of the object's kind.
    pub plural: &'a str,
    /// The object as it will be stored.
    pub object: &'a Value,
    /// How much more is used with it.
    pub more: &'a Amounts,
    /// False for a status, which says what is used already: it is charged beyond the limit, too.
    pub is_limited: bool,
}

/// Returns the quota's `used` after a write; `None` if the quota does not count any of it.
///
/// # Errors
/// Upstream's words after `forbidden: `: a container does not say an amount that the quota limits,
/// the use of something that the quota limits for this kind is not counted yet, or a limit would be
/// exceeded.
pub fn charge(quota: &Value, write: Charge) -> Result<Option<Amounts>, String> {
    let (name, hard, used) =
        (meta::name(quota), amounts(quota, "status.hard"), amounts(quota, "status.used"));
    let of_kind: Vec<&str> = hard
        .keys()
        .map(String::as_str)
        .filter(|name| kind_counted_by(name) == (write.group, write.plural))
        .collect();
    if (write.group, write.plural) == ("", "pods")
        && let Some(missing) = missing_amounts(write.object, &hard)
    {
        return Err(format!("failed quota: {name}: must specify {missing}"));
    }
    if !of_kind.iter().all(|name| used.contains_key(*name)) {
        return Err(format!("status unknown for quota: {name}, resources: {}", of_kind.join(",")));
    }
    let requested: Amounts = write
        .more
        .iter()
        .filter(|(k, v)| hard.contains_key(*k) && !v.is_zero())
        .map(|(k, v)| (k.clone(), *v))
        .collect();
    if requested.is_empty() {
        return Ok(None);
    }
    if write.is_limited
        && let Some(why) = refusal(name, &requested, &used, &hard)
    {
        return Err(why);
    }
    let mut after = used;
    requested.into_iter().for_each(|(k, v)| add(&mut after, k, v));
    Ok(Some(after))
}

/// Returns how much more `new` uses than `old`.
pub fn difference(new: &Amounts, old: &Amounts) -> Amounts {
    let mut out = new.clone();
    for (name, amount) in old {
        let slot = out.entry(name.clone()).or_insert(Quantity::of_units(0));
        *slot = *slot - *amount;
    }
    out.retain(|_, v| !v.is_zero());
    out
}

#[cfg(test)]
mod tests;
