//! Pods and pod templates: every field of a pod's spec, with upstream's paths and messages
//! (`pkg/apis/core/validation/validation.go` of Kubernetes 1.35).

mod containers;
mod gates;
mod scheduling;
mod security;
#[cfg(test)]
mod tests;
pub mod volumes;

pub use scheduling::node_selector;

use super::{labels, names, one_of};
use crate::errors::Errors;
use crate::quantity::Quantity;
use crate::requests;
use crate::value::{at, empty, flag, int, list, map, text};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;

/// The lists of containers in a pod's spec.
pub(super) const GROUPS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

pub fn pod(object: &Value, errors: &mut Errors) {
    let pod = at(object, "spec");
    spec(pod, "spec", true, errors);
    if text(pod, "serviceAccountName").is_empty() {
        for (v, volume) in list(pod, "volumes").iter().enumerate() {
            for (s, source) in list(volume, "projected.sources").iter().enumerate() {
                if at(source, "serviceAccountToken").is_object() {
                    errors.forbidden(
                        format!("spec.volumes[{v}].projected.sources[{s}].serviceAccountToken"),
                        "must not be specified when serviceAccountName is not set",
                    );
                }
            }
        }
    }
    for group in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, c) in list(pod, group).iter().enumerate() {
            let image = text(c, "image");
            if image.trim() != image {
                let why = "must not have leading or trailing whitespace";
                errors.invalid_text(format!("spec.{group}[{i}].image"), image, why);
            }
        }
    }
}

/// What a new pod may not have.
pub fn pod_create(object: &Value, errors: &mut Errors) {
    if !empty(object, "spec.ephemeralContainers") {
        errors.forbidden("spec.ephemeralContainers", "cannot be set on create");
    }
    if !text(object, "spec.nodeName").is_empty() && !empty(object, "spec.schedulingGates") {
        errors.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
    }
}

/// The template at `path` of a workload.
pub fn template(object: &Value, path: &str, errors: &mut Errors) {
    template_at(at(object, path), path, errors);
}

pub fn template_at(template: &Value, field: &str, errors: &mut Errors) {
    labels(template, "metadata.labels", &format!("{field}.labels"), errors);
    super::annotations(template, &format!("{field}.annotations"), errors);
    spec(at(template, "spec"), &format!("{field}.spec"), false, errors);
    if !empty(template, "spec.ephemeralContainers") {
        errors.forbidden(
            format!("{field}.spec.ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

fn spec(spec: &Value, field: &str, is_pod: bool, errors: &mut Errors) {
    let volumes = volumes::check(spec, field, is_pod, errors);
    containers::all(spec, field, &volumes, errors);
    pod_resources(spec, field, errors);
    host_network(spec, field, is_pod, errors);
    let policies = ["Always", "OnFailure", "Never"];
    one_of(spec, "restartPolicy", &format!("{field}.restartPolicy"), &policies, errors);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(spec, "dnsPolicy", &format!("{field}.dnsPolicy"), &policies, errors);
    labels(spec, "nodeSelector", &format!("{field}.nodeSelector"), errors);
    security::pod(spec, field, errors);
    scheduling::affinity(at(spec, "affinity"), &format!("{field}.affinity"), errors);
    dns_config(spec, &format!("{field}.dnsConfig"), errors);
    for (i, gate) in list(spec, "readinessGates").iter().enumerate() {
        let (place, name) =
            (format!("{field}.readinessGates[{i}].conditionType"), text(gate, "conditionType"));
        names::qualified_name(name).iter().for_each(|p| errors.invalid_text(&*place, name, p));
    }
    gates(spec, &format!("{field}.schedulingGates"), errors);
    scheduling::spread(spec, &format!("{field}.topologySpreadConstraints"), errors);
    hostname_override(spec, &format!("{field}.hostnameOverride"), errors);
    for path in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let name = text(spec, path);
        if !name.is_empty() || (path == "runtimeClassName" && !at(spec, path).is_null()) {
            for problem in names::dns_subdomain(name) {
                errors.invalid_text(format!("{field}.{path}"), name, &problem);
            }
        }
    }
    // Upstream accepts a negative number, which the kubelet takes for 1. Here it means a mistake.
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|n| n < 0) {
        let place = format!("{field}.terminationGracePeriodSeconds");
        errors.invalid(
            place,
            at(spec, "terminationGracePeriodSeconds"),
            "must be greater than or equal to 0",
        );
    }
    if int(spec, "activeDeadlineSeconds").is_some_and(|n| !(1..=i64::from(i32::MAX)).contains(&n)) {
        let place = format!("{field}.activeDeadlineSeconds");
        errors.invalid(
            place,
            at(spec, "activeDeadlineSeconds"),
            "must be between 1 and 2147483647, inclusive",
        );
    }
    for path in ["hostname", "subdomain"] {
        let name = text(spec, path);
        if !name.is_empty() {
            for problem in names::dns_label(name) {
                errors.invalid_text(format!("{field}.{path}"), name, &problem);
            }
        }
    }
    scheduling::tolerations(spec, field, errors);
    host_aliases(spec, &format!("{field}.hostAliases"), errors);
    let policies = ["PreemptLowerPriority", "Never"];
    one_of(spec, "preemptionPolicy", &format!("{field}.preemptionPolicy"), &policies, errors);
    for (name, amount) in map(spec, "overhead").into_iter().flatten() {
        containers::amount(name, amount, &format!("{field}.overhead[{name}]"), errors);
    }
    security::os(spec, field, errors);
}

/// A DNS label that nothing before it in the list has, which `seen` holds.
fn own_name<'a>(named: &'a Value, field: &str, seen: &mut HashSet<&'a str>, errors: &mut Errors) {
    let (name, field) = (text(named, "name"), format!("{field}.name"));
    if name.is_empty() {
        errors.required(field, "");
    } else if seen.contains(&name) {
        errors.duplicate(field, &json!(name));
    } else {
        for problem in names::dns_label(name) {
            errors.invalid_text(&field, name, &problem);
        }
    }
    seen.insert(name);
}

/// Requests and limits of the pod as a whole.
fn pod_resources(spec: &Value, field: &str, errors: &mut Errors) {
    let resources = at(spec, "resources");
    if !resources.is_object() {
        return;
    }
    let here = format!("{field}.resources");
    if !list(resources, "claims").is_empty() {
        errors.forbidden(format!("{here}.claims"), "claims may not be set for Resources at pod-level");
    }
    containers::requirements(
        resources,
        &here,
        &|name, place, errors: &mut Errors| {
            if !["cpu", "memory"].contains(&name) && !name.starts_with("hugepages-") {
                errors.not_supported(place, &json!(name), &["cpu", "hugepages-", "memory"]);
            }
        },
        errors,
    );
    let amount = |v: &Value| v.as_str().and_then(Quantity::parse);
    for (name, together) in requests::of_containers(spec) {
        let Some(whole) = at(resources, "requests").get(&name) else { continue };
        if amount(whole).is_some_and(|all| together > all) {
            let why = format!("must be greater than or equal to aggregate container requests of {together}");
            errors.invalid(format!("{here}.requests[{name}]"), whole, &why);
        }
    }
    for group in ["containers", "initContainers"] {
        for (i, c) in list(spec, group).iter().enumerate() {
            for (name, limit) in map(c, "resources.limits").into_iter().flatten() {
                let whole = at(resources, "limits").get(name);
                if let (Some(one), Some(all)) = (amount(limit), whole.and_then(amount))
                    && one > all
                {
                    let place = format!("{here}.limits.{group}[{i}][{name}].limits");
                    let why = format!(
                        "must be less than or equal to pod limits of {}",
                        whole.and_then(Value::as_str).unwrap_or("")
                    );
                    errors.invalid(place, limit, &why);
                }
            }
        }
    }
}

/// In the host's network a container's port is the host's.
fn host_network(spec: &Value, field: &str, is_pod: bool, errors: &mut Errors) {
    if !flag(spec, "hostNetwork") {
        return;
    }
    for (i, c) in list(spec, "containers").iter().enumerate() {
        for (j, port) in list(c, "ports").iter().enumerate() {
            let (host, own) = (int(port, "hostPort").unwrap_or(0), int(port, "containerPort").unwrap_or(0));
            if (is_pod || host != 0) && host != own {
                let place = format!("{field}.containers[{i}].ports[{j}].hostPort");
                errors.invalid(place, &json!(host), "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

fn gates(spec: &Value, field: &str, errors: &mut Errors) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let (name, place) = (text(gate, "name"), format!("{field}[{i}]"));
        names::qualified_name(name).iter().for_each(|p| errors.invalid_text(&*place, name, p));
        if seen.contains(&name) {
            errors.duplicate(place, &json!(name));
        }
        seen.insert(name);
    }
}

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

const NO_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

fn dns_config(spec: &Value, field: &str, errors: &mut Errors) {
    let config = at(spec, "dnsConfig");
    let servers = list(config, "nameservers");
    if text(spec, "dnsPolicy") == "None" {
        if config.is_null() {
            return errors.required(field, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.required(format!("{field}.nameservers"), why);
        }
    }
    if servers.len() > 3 {
        let place = format!("{field}.nameservers");
        errors.invalid(place, at(config, "nameservers"), "must not have more than 3 nameservers");
    }
    for (i, server) in servers.iter().enumerate() {
        let server = server.as_str().unwrap_or("");
        if !is_ip(server) {
            errors.invalid_text(format!("{field}.nameservers[{i}]"), server, NO_IP);
        }
    }
    let searches = list(config, "searches");
    let place = format!("{field}.searches");
    if searches.len() > 32 {
        errors.invalid(&place, at(config, "searches"), "must not have more than 32 search paths");
    }
    let length: usize = searches.iter().map(|s| s.as_str().map_or(0, str::len) + 1).sum();
    if length > 2048 + 1 {
        let why = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(&place, at(config, "searches"), why);
    }
    for (i, search) in searches.iter().enumerate() {
        let search = search.as_str().unwrap_or("");
        if search == "." {
            continue;
        }
        let bare = search.strip_suffix('.').unwrap_or(search);
        for problem in names::dns_subdomain(&bare.replace('_', "-")) {
            errors.invalid_text(format!("{place}[{i}]"), bare, &problem);
        }
    }
    for (i, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.required(format!("{field}.options[{i}]"), "must not be empty");
        }
    }
}

fn host_aliases(spec: &Value, field: &str, errors: &mut Errors) {
    for (i, alias) in list(spec, "hostAliases").iter().enumerate() {
        let ip = text(alias, "ip");
        if !is_ip(ip) {
            errors.invalid_text(format!("{field}[{i}].ip"), ip, NO_IP);
        }
        for (j, name) in list(alias, "hostnames").iter().enumerate() {
            let name = name.as_str().unwrap_or("");
            for problem in names::dns_subdomain(name) {
                errors.invalid_text(format!("{field}[{i}].hostnames[{j}]"), name, &problem);
            }
        }
    }
}

fn hostname_override(spec: &Value, field: &str, errors: &mut Errors) {
    let Some(name) = at(spec, "hostnameOverride").as_str() else { return };
    if flag(spec, "setHostnameAsFQDN") {
        errors.forbidden(field, "may not be specified when setHostnameAsFQDN is true");
    }
    if flag(spec, "hostNetwork") {
        errors.forbidden(field, "may not be specified when hostNetwork is true");
    }
    if name.len() > 64 {
        errors.too_long(field, 64);
    }
    names::dns_subdomain(name).iter().for_each(|p| errors.invalid_text(field, name, p));
}

/// What the `ephemeralcontainers` subresource may change of a pod: only additions, and none to
/// static pods.
pub fn ephemeral_update(new: &Value, old: &Value, errors: &mut Errors) {
    if crate::meta::annotation(old, MIRROR).is_some() {
        return errors.forbidden("", "static pods do not support ephemeral containers");
    }
    containers::ephemeral_update(new, old, errors);
}

/// Written by a kubelet into the mirror of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What no write may change of a pod's annotations: whether it is a mirror, and of what. Also for
/// writes of its status.
pub fn annotations_update(new: &Value, old: &Value, errors: &mut Errors) {
    use crate::meta::annotation;
    let why = match (annotation(old, MIRROR), annotation(new, MIRROR)) {
        (None, Some(_)) => "may not add mirror pod annotation",
        (before, now) if before != now => "may not remove or update mirror pod annotation",
        _ => return,
    };
    errors.forbidden(format!("metadata.annotations[{MIRROR}]"), why);
}

const FROZEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub fn pod_update(new: &Value, old: &Value, errors: &mut Errors) {
    annotations_update(new, old, errors);
    for group in ["containers", "initContainers"] {
        let (a, b) = (list(new, &format!("spec.{group}")).len(), list(old, &format!("spec.{group}")).len());
        if a != b {
            errors.forbidden(format!("spec.{group}"), "pod updates may not add or remove containers");
            return;
        }
    }
    let (new_tolerations, old_tolerations) = (list(new, "spec.tolerations"), list(old, "spec.tolerations"));
    let but_seconds = |t: &Value| {
        let mut t = t.clone();
        crate::value::remove(&mut t, "tolerationSeconds");
        t
    };
    let kept: HashSet<Value> = new_tolerations.iter().map(but_seconds).collect();
    if old_tolerations.iter().any(|t| !kept.contains(&but_seconds(t))) {
        errors.forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
    gates::only_go(new, old, errors);
    gates::deadline(new, old, errors);
    let gated = !list(old, "spec.schedulingGates").is_empty();
    if gated {
        gates::only_narrows(new, old, errors);
    }
    let frozen = |pod: &Value| {
        let mut spec = at(pod, "spec").clone();
        if let Some(map) = spec.as_object_mut() {
            for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
                map.shift_remove(key);
            }
            for group in ["containers", "initContainers"] {
                if let Some(Value::Array(list)) = map.get_mut(group) {
                    for c in list {
                        if let Some(c) = c.as_object_mut() {
                            c.shift_remove("image");
                        }
                    }
                }
            }
        }
        if gated {
            gates::without_placement(&mut spec);
        }
        spec
    };
    if frozen(new) != frozen(old) {
        errors.forbidden("spec", FROZEN);
    }
}
