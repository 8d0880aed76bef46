//! The spec of a pod, which Pods and pod templates share: defaults and rules for every field, with
//! upstream's paths and messages
//! (`pkg/apis/core/validation/validation.go` of Kubernetes 1.35).

pub(crate) mod annotations;
mod containers;
pub(crate) mod defaults;
pub(crate) mod disabled;
pub(crate) mod ephemeral;
mod ephemeral_volume;
mod lists;
mod resources;
mod scheduling;
mod security;
mod signals;
pub(crate) mod sources;
#[cfg(test)]
mod tests;
pub(crate) mod volumes;
mod windows;

pub(crate) use lists::GROUPS;
pub(crate) use resources::container_resource_name;
pub(crate) use scheduling::node_selector;
pub(crate) use security::user_id;

use crate::cidr;
use crate::errors::Errors;
use crate::quantity::Quantity;
use crate::requests;
use crate::validate::addresses::NO_IP;
use crate::validate::fields::{annotations, labels, one_of};
use crate::validate::names;
use crate::value::{at, empty, flag, int, list, map, text};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Checks the template at `path` of a workload.
pub(crate) fn template(object: &Value, path: &str, errors: &mut Errors) {
    template_at(at(object, path), path, errors);
}

/// Checks a pod template, reported as `field`.
pub(crate) fn template_at(template: &Value, field: &str, errors: &mut Errors) {
    labels(template, "metadata.labels", &format!("{field}.labels"), errors);
    let noted = format!("{field}.annotations");
    annotations(template, &noted, errors);
    annotations::check_mirror(template, &noted, errors);
    annotations::check_tolerations(template, &noted, errors);
    annotations::check_cost(template, &noted, errors);
    annotations::check_profiles(template, &noted, errors);
    annotations::check_agreement(template, &format!("{field}.spec"), errors);
    spec(at(template, "spec"), &format!("{field}.spec"), false, errors);
    if !empty(template, "spec.ephemeralContainers") {
        errors.forbidden(
            format!("{field}.spec.ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

pub(crate) fn spec(spec: &Value, field: &str, is_pod: bool, errors: &mut Errors) {
    let volumes = volumes::check(spec, field, is_pod, errors);
    resources::pod_claims(spec, &format!("{field}.resourceClaims"), errors);
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
    security::host(spec, field, errors);
    hostname_override(spec, &format!("{field}.hostnameOverride"), errors);
    object_names(spec, &["serviceAccountName", "nodeName"], field, errors);
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
    scheduling::tolerations(list(spec, "tolerations"), &format!("{field}.tolerations"), errors);
    host_aliases(spec, &format!("{field}.hostAliases"), errors);
    object_names(spec, &["priorityClassName", "runtimeClassName"], field, errors);
    let policies = ["PreemptLowerPriority", "Never"];
    one_of(spec, "preemptionPolicy", &format!("{field}.preemptionPolicy"), &policies, errors);
    // As upstream, which judges it as the limits of a container.
    let overhead = json!({"limits": at(spec, "overhead")});
    resources::requirements(&overhead, &format!("{field}.overhead"), &container_resource_name, errors);
    security::os(spec, field, errors);
}

/// Checks fields that name other objects. An empty name is none, but for a RuntimeClass.
fn object_names(spec: &Value, paths: &[&str], field: &str, errors: &mut Errors) {
    for path in paths {
        let name = text(spec, path);
        if !name.is_empty() || (*path == "runtimeClassName" && !at(spec, path).is_null()) {
            for problem in names::dns_subdomain(name) {
                errors.invalid_text(format!("{field}.{path}"), name, &problem);
            }
        }
    }
}

/// Checks the requests and limits of the pod as a whole against those of its containers.
fn pod_resources(spec: &Value, field: &str, errors: &mut Errors) {
    let resources = at(spec, "resources");
    if !resources.is_object() {
        return;
    }
    let here = format!("{field}.resources");
    if text(spec, "os.name") == "windows" {
        return errors.forbidden(here, "may not be set for a windows pod");
    }
    if !list(resources, "claims").is_empty() {
        errors.forbidden(format!("{here}.claims"), "claims may not be set for Resources at pod-level");
    }
    resources::requirements(resources, &here, &resources::pod_resource_name, errors);
    let amount = |v: &Value| v.as_str().and_then(Quantity::parse);
    for (name, together) in requests::of_containers(spec) {
        let Some(whole) = at(resources, "requests").get(&name) else { continue };
        if amount(whole).is_some_and(|all| together > all) {
            let why = format!("must be greater than or equal to aggregate container requests of {together}");
            errors.invalid(format!("{here}.requests[{name}]"), whole, &why);
        }
    }
    let whole_limit = |name: &str| at(resources, "limits").get(name);
    for (name, together) in requests::limits_of_containers(spec) {
        let Some(whole) = whole_limit(&name).filter(|_| name.starts_with("hugepages-")) else { continue };
        if amount(whole).is_some_and(|all| together > all) {
            let why = format!("must be greater than or equal to aggregate container limits of {together}");
            errors.invalid(format!("{here}.limits[{name}]"), whole, &why);
        }
    }
    // Init containers may have more, as upstream.
    for (i, c) in list(spec, "containers").iter().enumerate() {
        for (name, limit) in map(c, "resources.limits").into_iter().flatten() {
            let whole = whole_limit(name);
            if let (Some(one), Some(all)) = (amount(limit), whole.and_then(amount))
                && one > all
            {
                let shown = whole.and_then(Value::as_str).unwrap_or("");
                let why = format!("must be less than or equal to pod limits of {shown}");
                errors.invalid(format!("{here}.containers[{i}][{name}].limits"), limit, &why);
            }
        }
    }
}

/// Checks ports of a pod in the host's network: a container's port is the host's there.
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
    cidr::parse_ip(text).is_some()
}

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
        for problem in search_path(bare) {
            errors.invalid_text(format!("{place}[{i}]"), bare, &problem);
        }
    }
    for (i, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.required(format!("{field}.options[{i}]"), "must not be empty");
        }
    }
}

/// Returns what is wrong with a search path. Beside the characters of a domain its labels may have
/// underscores, and begin with one: `_tcp.example.com` (KEP-4427).
fn search_path(path: &str) -> Vec<String> {
    const FORM: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
    let mut problems = vec![];
    if path.len() > 253 {
        problems.push("must be no more than 253 characters".to_string());
    }
    let is_label = |label: &str| {
        let plain = label.strip_prefix('_').unwrap_or(label).replace('_', "-");
        names::dns_subdomain(&plain).is_empty()
    };
    if !path.split('.').all(is_label) {
        problems.push(FORM.to_string());
    }
    problems
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
