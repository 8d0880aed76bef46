//! What an object costs a ResourceQuota, and which quotas it concerns. Source: `pkg/quota/v1` and
//! its evaluators.
//!
//! Both the admission of the API server, which charges, and the quota controller, which counts
//! anew, ask this file, so they cannot disagree.

use super::meta;
use super::quantity::Quantity;
use super::requests::{self, Field, add};
use super::status::qualified;
use super::value::{self, at, int, list, text};
use super::volumes;
use clock::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

pub use super::requests::{Amounts, amounts};

const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Resources that every container must speak of, if a quota limits them.
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
pub(crate) const SCOPES: [&str; 6] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
];

fn whole(number: usize) -> Quantity {
    Quantity::of_units(number as i64)
}

/// The amounts as they are stored.
pub fn stored(amounts: &Amounts) -> Value {
    amounts
        .iter()
        .map(|(k, v)| (k.clone(), Value::from(v.to_string())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// `limits.cpu=1,pods=2`: how messages show amounts.
pub fn shown<'a>(amounts: impl IntoIterator<Item = (&'a String, &'a Quantity)>) -> String {
    amounts.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// Quota names of what is asked for: `cpu` counts as `cpu` and `requests.cpu`.
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

/// Does the pod still use anything? Ended ones do not, nor those that should be gone by now.
fn is_charged(pod: &Value, now: Timestamp) -> bool {
    let grace = jiff::SignedDuration::from_secs(int(pod, "metadata.deletionGracePeriodSeconds").unwrap_or(0));
    // A grace period that ends after the end of the calendar is not over.
    let overdue = meta::time(pod, "metadata.deletionTimestamp")
        .is_some_and(|at| at.checked_add(grace).is_ok_and(|end| now > end));
    !overdue && !matches!(text(pod, "status.phase"), "Succeeded" | "Failed")
}

/// All that one object uses.
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
            let of = |field| requests::of_value(object, field);
            out.extend(compute(&of(Field::Requests), &of(Field::Limits)));
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
            if let Some(size) = amounts(object, "spec.resources.requests").get("storage") {
                add(&mut out, "requests.storage", *size);
                if !class.is_empty() {
                    add(&mut out, of_class("requests.storage"), *size);
                }
            }
        }
        plain if PLAIN.contains(&plain) => add(&mut out, plain, whole(1)),
        _ => {}
    }
    out
}

/// Group and plural of the kind that a quota's resource name counts.
pub fn counted(name: &str) -> (&str, &str) {
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

/// Does a quota (its spec) speak of this object? Only pods have scopes.
pub fn matches(spec: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let scopes = list(spec, "scopes").iter().filter_map(Value::as_str);
    let rules = list(spec, "scopeSelector.matchExpressions");
    if (group, plural) != ("", "pods") {
        return scopes.count() == 0 && rules.is_empty();
    }
    scopes.into_iter().all(|scope| in_scope(scope, "Exists", &[], object))
        && rules
            .iter()
            .all(|r| in_scope(text(r, "scopeName"), text(r, "operator"), list(r, "values"), object))
}

/// True if a pod has a deadline, and so counts for quotas of the scope `Terminating`.
pub fn is_terminating(pod: &Value) -> bool {
    int(pod, "spec.activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0)
}

fn in_scope(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    let terminating = is_terminating(pod);
    let best_effort = || super::requests::qos_class_of_value(pod) == "BestEffort";
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => {
            let class = text(pod, "spec.priorityClassName");
            match operator {
                "Exists" => !class.is_empty(),
                "DoesNotExist" => class.is_empty(),
                "In" => values.iter().any(|v| v == class),
                _ => !values.iter().any(|v| v == class),
            }
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

/// What the containers of a pod do not say although `hard` limits it: `cpu for: web; memory for:
/// db,web`. They need not speak if the pod has resources as a whole (KEP-2837).
pub(crate) fn unsaid(pod: &Value, hard: &Amounts) -> Option<String> {
    let whole = ["spec.resources.requests", "spec.resources.limits"].map(|path| amounts(pod, path));
    if whole.iter().flat_map(Amounts::keys).any(|name| requests::is_of_whole_pod(name)) {
        return None;
    }
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in list(pod, "spec.containers").iter().chain(list(pod, "spec.initContainers")) {
        let said =
            compute(&amounts(container, "resources.requests"), &amounts(container, "resources.limits"));
        for name in EXPLICIT.into_iter().filter(|name| hard.contains_key(*name) && !said.contains_key(*name))
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

/// Why a quota does not let an object in; the words after `forbidden: `.
fn refusal(name: &str, requested: &Amounts, used: &Amounts, hard: &Amounts) -> Option<String> {
    let zero = Quantity::of_units(0);
    let after = |k: &str, v: Quantity| used.get(k).copied().unwrap_or(zero) + v;
    let exceeded: Vec<&String> = requested
        .iter()
        // What frees something may always be: else nobody could come back below a limit that was
        // lowered.
        .filter(|(k, v)| !v.is_negative() && hard.get(*k).is_some_and(|h| after(k, **v) > *h))
        .map(|(k, _)| k)
        .collect();
    if exceeded.is_empty() {
        return None;
    }
    let part = |of: &Amounts| shown(exceeded.iter().filter_map(|k| of.get_key_value(*k)));
    Some(format!(
        "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
        part(requested),
        part(used),
        part(hard)
    ))
}

/// Pure: the quota's `used` after an object whose usage grows by `delta`; `None` if the quota does
/// not count any of it.
///
/// # Errors
/// Upstream's words after `forbidden: `: a container does not say an amount that the quota limits,
/// the quota's use is not counted yet, or a limit would be exceeded.
pub fn charge(
    quota: &Value,
    object: &Value,
    is_pod: bool,
    delta: &Amounts,
) -> Result<Option<Amounts>, String> {
    let (name, hard, used) =
        (meta::name(quota), amounts(quota, "status.hard"), amounts(quota, "status.used"));
    if is_pod && let Some(unsaid) = unsaid(object, &hard) {
        return Err(format!("failed quota: {name}: must specify {unsaid}"));
    }
    let requested: Amounts = delta
        .iter()
        .filter(|(k, v)| hard.contains_key(*k) && !v.is_zero())
        .map(|(k, v)| (k.clone(), *v))
        .collect();
    if requested.is_empty() {
        return Ok(None);
    }
    let unknown: Vec<&str> =
        requested.keys().filter(|k| !used.contains_key(*k)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!("status unknown for quota: {name}, resources: {}", unknown.join(",")));
    }
    if let Some(why) = refusal(name, &requested, &used, &hard) {
        return Err(why);
    }
    let mut after = used;
    requested.into_iter().for_each(|(k, v)| add(&mut after, k, v));
    Ok(Some(after))
}

/// How much more `new` uses than `old`.
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
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(requests: Value, limits: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": {"requests": requests, "limits": limits}}]}})
    }
    fn text_of(amounts: &Amounts) -> String {
        shown(amounts)
    }
    fn used(object: &Value) -> Amounts {
        usage("", "pods", object, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_grace_period_beyond_the_calendar_is_not_over() {
        let mut one = pod(json!({"cpu": "1"}), json!({}));
        value::put(&mut one, "metadata.deletionTimestamp", "1970-01-01T00:00:00Z");
        let charged = |one: &Value, at: i64| is_charged(one, Timestamp::from_second(at).unwrap());
        for seconds in [300_000_000_000, i64::MAX] {
            value::put(&mut one, "metadata.deletionGracePeriodSeconds", seconds);
            assert!(charged(&one, 1_000_000));
        }
        value::put(&mut one, "metadata.deletionGracePeriodSeconds", 30);
        assert!(charged(&one, 30) && !charged(&one, 31));
    }

    #[test]
    fn a_pod_costs_what_it_asks_for_until_it_ends() {
        let mut one = pod(json!({"cpu": "250m", "memory": "1Gi"}), json!({"cpu": "1"}));
        assert_eq!(
            text_of(&used(&one)),
            "count/pods=1,cpu=250m,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=250m,requests.memory=1Gi"
        );
        value::put(&mut one, "status.phase", "Succeeded");
        assert_eq!(text_of(&used(&one)), "count/pods=1");
    }

    #[test]
    fn services_and_claims_cost_more_than_their_number() {
        let service = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}, {"port": 81}]}});
        let of = usage("", "services", &service, Timestamp::UNIX_EPOCH);
        assert_eq!(text_of(&of), "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2");
        let claim =
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}}});
        let of = usage("", "persistentvolumeclaims", &claim, Timestamp::UNIX_EPOCH);
        assert_eq!(of["fast.storageclass.storage.k8s.io/requests.storage"].to_string(), "2Gi");
        let of = usage("apps", "deployments", &json!({}), Timestamp::UNIX_EPOCH);
        assert_eq!(text_of(&of), "count/deployments.apps=1");
        assert_eq!(counted("count/deployments.apps"), ("apps", "deployments"));
        assert_eq!(
            counted("fast.storageclass.storage.k8s.io/persistentvolumeclaims").1,
            "persistentvolumeclaims"
        );
    }

    #[test]
    fn a_refusal_names_what_was_asked_used_and_allowed() {
        let quota = json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2", "requests.cpu": "1"}, "used": {"pods": "2", "requests.cpu": "500m"}}});
        let asks = pod(json!({"cpu": "100m"}), json!({}));
        let why = charge(&quota, &asks, true, &used(&asks)).unwrap_err();
        assert_eq!(why, "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2");
        let silent = pod(json!({}), json!({}));
        let why = charge(&quota, &silent, true, &used(&silent)).unwrap_err();
        assert_eq!(why, "failed quota: q: must specify requests.cpu for: c");
        let new = json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2"}}});
        let why = charge(&new, &asks, true, &used(&asks)).unwrap_err();
        assert_eq!(why, "status unknown for quota: q, resources: pods");
        let room =
            json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2"}, "used": {"pods": "1"}}});
        assert_eq!(text_of(&charge(&room, &asks, true, &used(&asks)).unwrap().unwrap()), "pods=2");
    }

    #[test]
    fn a_pod_with_resources_of_its_own_speaks_for_its_containers() {
        let hard = amounts(&json!({"hard": {"requests.cpu": "1"}}), "hard");
        let with = |resources: Value| {
            let mut one = pod(json!({}), json!({}));
            value::put(&mut one, "spec.resources", resources);
            unsaid(&one, &hard)
        };
        assert_eq!(with(json!({})).as_deref(), Some("requests.cpu for: c"));
        assert_eq!(with(json!({"limits": {"cpu": "1"}})), None);
        assert_eq!(with(json!({"requests": {"memory": "1Gi"}})), None);
    }

    #[test]
    fn what_frees_something_is_never_refused() {
        let quota =
            json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "1"}, "used": {"pods": "3"}}});
        let by = |n: &str| charge(&quota, &json!({}), false, &amounts(&json!({"a": {"pods": n}}), "a"));
        assert_eq!(
            text_of(&by("-1").unwrap().unwrap()),
            "pods=2",
            "still above the limit, and charged all the same"
        );
        assert!(by("1").is_err());
    }

    #[test]
    fn scopes_choose_pods() {
        let (best, some) = (pod(json!({}), json!({})), pod(json!({"cpu": "1"}), json!({})));
        let spec = json!({"scopes": ["BestEffort"]});
        assert!(matches(&spec, "", "pods", &best) && !matches(&spec, "", "pods", &some));
        assert!(!matches(&spec, "", "services", &json!({})));
        let mut high = some.clone();
        value::put(&mut high, "spec.priorityClassName", "high");
        let spec = json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}});
        assert!(matches(&spec, "", "pods", &high) && !matches(&spec, "", "pods", &some));
    }
}
