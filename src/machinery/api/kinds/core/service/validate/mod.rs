//! The rules for a Service, for its updates and for its status.

use crate::cidr;
use crate::errors::Errors;
use crate::kinds::core::service::cluster_ips;
use crate::validate::addresses::{external_ip, load_balancer_ingress};
use crate::validate::fields::{app_protocol, labels, one_of};
use crate::validate::names;
use crate::value::{at, empty, int, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;

/// `Auto` asks for endpoints near the client.
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
/// The name that [`TOPOLOGY_MODE`] had before.
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
/// Clients of a load balancer, where `spec.loadBalancerSourceRanges` is empty.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";

/// Checks a Service in the order of upstream's `validateService`.
pub(super) fn validate(object: &Value, errors: &mut Errors) {
    topology(object, errors);
    let ports = list(object, "spec.ports");
    let kind = text(object, "spec.type");
    let headless = text(object, "spec.clusterIP") == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required("spec.ports", "");
    }
    match kind {
        "NodePort" | "LoadBalancer" if headless => {
            errors.invalid(
                "spec.clusterIPs[0]",
                &json!("None"),
                &format!("may not be set to 'None' for {kind} services"),
            );
        }
        "ExternalName" => external_name(text(object, "spec.externalName"), errors),
        _ => {}
    }
    ports_of(ports, errors);
    labels(object, "spec.selector", "spec.selector", errors);
    one_of(object, "spec.sessionAffinity", "spec.sessionAffinity", &["ClientIP", "None"], errors);
    session(object, errors);
    for (i, ip) in list(object, "spec.externalIPs").iter().enumerate() {
        external_ip(ip.as_str().unwrap_or(""), &format!("spec.externalIPs[{i}]"), errors);
    }
    const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    one_of(object, "spec.type", "spec.type", &TYPES, errors);
    port_numbers(ports, kind, errors);
    balancer(object, kind, errors);
    external_policy(object, errors);
    health_check(object, kind, errors);
    one_of(object, "spec.internalTrafficPolicy", "spec.internalTrafficPolicy", &["Cluster", "Local"], errors);
    const SPREAD: &str = "spec.trafficDistribution";
    one_of(object, SPREAD, SPREAD, &["PreferClose", "PreferSameZone", "PreferSameNode"], errors);
}

/// Checks the addresses of a new Service: an update may leave what a stored one has.
pub(super) fn validate_create(object: &Value, errors: &mut Errors) {
    cluster_ips::check_new(object, errors);
    annotated_ranges(object, &Value::Null, errors);
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, "metadata.annotations").get(key)?.as_str()
}

/// Checks that the annotation for routing by zones says the same under its new and its old name.
fn topology(object: &Value, errors: &mut Errors) {
    let (mode, hints) = (annotation(object, TOPOLOGY_MODE), annotation(object, TOPOLOGY_HINTS));
    if let (Some(mode), Some(hints)) = (mode, hints)
        && mode != hints
    {
        let why = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        errors.invalid_text(format!("metadata.annotations[{TOPOLOGY_MODE}]"), mode, &why);
    }
}

/// Checks the name of a Service outside of the cluster, which may end with a dot.
fn external_name(name: &str, errors: &mut Errors) {
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.required("spec.externalName", ""),
        name => names::dns_subdomain(name)
            .iter()
            .for_each(|problem| errors.invalid_text("spec.externalName", name, problem)),
    }
}

/// Checks the source ranges in [`SOURCE_RANGES`], unless `old` has the same annotation.
fn annotated_ranges(new: &Value, old: &Value, errors: &mut Errors) {
    let ranges = annotation(new, SOURCE_RANGES).filter(|_| empty(new, "spec.loadBalancerSourceRanges"));
    let Some(ranges) = ranges else { return };
    let field = format!("metadata.annotations[{SOURCE_RANGES}]");
    if text(new, "spec.type") != "LoadBalancer" {
        errors.forbidden(&field, ONLY_BALANCED);
    }
    if annotation(old, SOURCE_RANGES) == Some(ranges) || ranges.trim().is_empty() {
        return;
    }
    ranges.split(',').for_each(|range| source_range(range, &field, errors));
}

/// Checks a range of addresses whose clients a load balancer lets in. Blanks around it do not
/// count.
fn source_range(range: &str, field: &str, errors: &mut Errors) {
    let range = range.trim();
    if cidr::parse(range).is_none() {
        let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.invalid_text(field, range, why);
    }
}

/// Checks the policy for traffic from outside, which only a Service with an address there has.
fn external_policy(object: &Value, errors: &mut Errors) {
    const POLICY: &str = "spec.externalTrafficPolicy";
    if super::is_reached_from_outside(object) {
        one_of(object, POLICY, POLICY, &["Cluster", "Local"], errors);
    } else if !empty(object, POLICY) {
        errors.invalid(POLICY, at(object, POLICY), "may only be set for externally-accessible services");
    }
}

/// Checks each port, and that no two have the same name.
fn ports_of(ports: &[Value], errors: &mut Errors) {
    let mut names_seen: HashSet<&str> = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{i}]");
        let name = text(port, "name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.required(format!("{field}.name"), "");
            }
        } else {
            for problem in names::dns_label(name) {
                errors.invalid_text(format!("{field}.name"), name, &problem);
            }
            if !names_seen.insert(name) {
                errors.duplicate(format!("{field}.name"), &json!(name));
            }
        }
        let number = int(port, "port").unwrap_or(0);
        if let Some(problem) = names::port_number(number) {
            errors.invalid(format!("{field}.port"), &json!(number), problem);
        }
        one_of(port, "protocol", &format!("{field}.protocol"), &["SCTP", "TCP", "UDP"], errors);
        target_port(port, &field, errors);
        app_protocol(port, &field, errors);
    }
}

/// Returns the node port of a port; 0 is none.
fn node_port(port: &Value) -> i64 {
    int(port, "nodePort").unwrap_or(0)
}

/// Checks that no two ports of one protocol have the same number or the same node port.
fn port_numbers(ports: &[Value], kind: &str, errors: &mut Errors) {
    let with_node_port: Vec<(usize, &Value)> =
        ports.iter().enumerate().filter(|(_, port)| node_port(port) != 0).collect();
    if kind == "ClusterIP" {
        for (i, _) in &with_node_port {
            let why = "may not be used when `type` is 'ClusterIP'";
            errors.forbidden(format!("spec.ports[{i}].nodePort"), why);
        }
    }
    let mut seen: HashSet<(i64, &str)> = HashSet::new();
    for (i, port) in with_node_port {
        if !seen.insert((node_port(port), text(port, "protocol"))) {
            errors.duplicate(format!("spec.ports[{i}].nodePort"), at(port, "nodePort"));
        }
    }
    seen.clear();
    for (i, port) in ports.iter().enumerate() {
        let (number, protocol) = (int(port, "port").unwrap_or(0), text(port, "protocol"));
        if !seen.insert((number, protocol)) {
            // Upstream shows a port of its internal type, of which it fills in two fields.
            let shown = json!({"Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number,
                "TargetPort": 0, "NodePort": 0});
            errors.duplicate(format!("spec.ports[{i}]"), &shown);
        }
    }
}

/// Checks the node port for the health checks of a load balancer.
fn health_check(object: &Value, kind: &str, errors: &mut Errors) {
    let health = int(object, "spec.healthCheckNodePort").unwrap_or(0);
    let is_local = text(object, "spec.externalTrafficPolicy") == "Local";
    if health != 0 && (kind != "LoadBalancer" || !is_local) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid("spec.healthCheckNodePort", &json!(health), why);
    } else if let Some(problem) = names::port_number(health).filter(|_| health != 0) {
        errors.invalid("spec.healthCheckNodePort", &json!(health), problem);
    }
}

/// Checks how long a client stays with its endpoint.
fn session(object: &Value, errors: &mut Errors) {
    let config = at(object, "spec.sessionAffinityConfig");
    let field = "spec.sessionAffinityConfig";
    match text(object, "spec.sessionAffinity") {
        "None" if !config.is_null() => {
            errors.forbidden(field, "must not be set when session affinity is None");
        }
        "ClientIP" => {
            let seconds = at(config, "clientIP.timeoutSeconds");
            if seconds.as_i64().is_some_and(|n| !(1..=86_400).contains(&n)) {
                let why = "must be greater than 0 and less than 86400";
                errors.invalid(format!("{field}.clientIP.timeoutSeconds"), seconds, why);
            }
        }
        _ => {}
    }
}

/// Checks the fields that only a Service of the type LoadBalancer has.
fn balancer(object: &Value, kind: &str, errors: &mut Errors) {
    let ranges = list(object, "spec.loadBalancerSourceRanges");
    // Upstream has this capital letter.
    let field = "spec.LoadBalancerSourceRanges";
    if !ranges.is_empty() && kind != "LoadBalancer" {
        errors.forbidden(field, ONLY_BALANCED);
    }
    for (i, range) in ranges.iter().enumerate() {
        source_range(range.as_str().unwrap_or(""), &format!("{field}[{i}]"), errors);
    }
    let class = text(object, "spec.loadBalancerClass");
    if kind == "LoadBalancer" && !at(object, "spec.loadBalancerClass").is_null() {
        for problem in names::qualified_name(class) {
            errors.invalid_text("spec.loadBalancerClass", class, &problem);
        }
    }
    for path in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if !at(object, &format!("spec.{path}")).is_null() && kind != "LoadBalancer" {
            errors.forbidden(format!("spec.{path}"), ONLY_BALANCED);
        }
    }
}

fn target_port(port: &Value, field: &str, errors: &mut Errors) {
    let target = at(port, "targetPort");
    if let Some(n) = target.as_i64() {
        if let Some(problem) = names::port_number(n) {
            errors.invalid(format!("{field}.targetPort"), target, problem);
        }
    } else if let Some(name) = target.as_str() {
        for problem in names::port_name(name) {
            errors.invalid_text(format!("{field}.targetPort"), name, &problem);
        }
    }
}

pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    cluster_ips::check_update(new, old, errors);
    annotated_ranges(new, old, errors);
    const CLASS: &str = "spec.loadBalancerClass";
    let balanced = |s: &Value| text(s, "spec.type") == "LoadBalancer";
    if balanced(new) && balanced(old) && at(new, CLASS) != at(old, CLASS) {
        errors.invalid(CLASS, at(new, CLASS), "may not change once set");
    }
    const CHECK: &str = "spec.healthCheckNodePort";
    let is_checked = |s: &Value| balanced(s) && text(s, "spec.externalTrafficPolicy") == "Local";
    if is_checked(new) && is_checked(old) && int(new, CHECK) != int(old, CHECK) {
        errors.forbidden(CHECK, "field is immutable");
    }
}

/// Checks the status of a Service: only one of the type LoadBalancer has addresses of a load
/// balancer.
pub(super) fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    let ingress = list(new, "status.loadBalancer.ingress");
    let field = "status.loadBalancer.ingress";
    if text(new, "spec.type") != "LoadBalancer" && !ingress.is_empty() {
        return errors.forbidden(field, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    load_balancer_ingress(new, old, errors);
    for (i, one) in ingress.iter().enumerate() {
        let (field, has_ip) = (format!("{field}[{i}]"), !text(one, "ip").is_empty());
        let mode = at(one, "ipMode");
        match mode.as_str() {
            None if has_ip => {
                errors.required(format!("{field}.ipMode"), "must be specified when `ip` is set");
            }
            None => {}
            Some(_) if !has_ip => {
                errors.forbidden(format!("{field}.ipMode"), "may not be specified when `ip` is not set");
            }
            Some("VIP" | "Proxy") => {}
            Some(_) => errors.not_supported(format!("{field}.ipMode"), mode, &["Proxy", "VIP"]),
        }
    }
}

#[cfg(test)]
mod tests;
