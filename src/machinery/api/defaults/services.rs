//! Services, Endpoints, EndpointSlices. Addresses and node ports are given out by the API server,
//! not here.

use crate::value::{self, at, default, default_zero, int, list, list_mut, put, text};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

pub fn service(object: &mut Value) {
    default_zero(object, "spec.sessionAffinity", "None");
    match text(object, "spec.sessionAffinity") {
        "ClientIP" => default(object, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", 10800),
        "None" => drop(value::remove(object, "spec.sessionAffinityConfig")),
        _ => {}
    }
    default_zero(object, "spec.type", "ClusterIP");
    for port in list_mut(object, "spec.ports") {
        default_zero(port, "protocol", "TCP");
        let number = at(port, "port").clone();
        default_zero(port, "targetPort", number);
    }
    let kind = text(object, "spec.type").to_string();
    if is_reached_from_outside(object) {
        default_zero(object, "spec.externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        default_zero(object, "spec.internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(object, "spec.allocateLoadBalancerNodePorts", true);
    }
}

/// An address of a load balancer is a virtual one unless its status says otherwise.
pub fn prepare_status_update(new: &mut Value, _: &Value, _: &str) {
    if text(new, "spec.type") == "LoadBalancer" {
        let ingress = list_mut(new, "status.loadBalancer.ingress").iter_mut();
        ingress.filter(|i| !text(i, "ip").is_empty()).for_each(|i| default(i, "ipMode", "VIP"));
    }
}

/// True if clients outside of the cluster have an address for the Service (`ExternallyAccessible`
/// upstream).
fn is_reached_from_outside(service: &Value) -> bool {
    match text(service, "spec.type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !value::empty(service, "spec.externalIPs"),
        _ => false,
    }
}

pub fn endpoints(object: &mut Value) {
    for subset in list_mut(object, "subsets") {
        for port in list_mut(subset, "ports") {
            default_zero(port, "protocol", "TCP");
        }
    }
}

pub fn endpoint_slice(object: &mut Value) {
    for port in list_mut(object, "ports") {
        default(port, "name", "");
        default_zero(port, "protocol", "TCP");
    }
}

/// A new Service has no load balancer yet. Its one address is the first of its addresses.
pub fn prepare(object: &mut Value) {
    pair_addresses(object);
    put(object, "status", json!({"loadBalancer": {}}));
}

/// The list of addresses for clients that name the single one alone.
fn pair_addresses(service: &mut Value) {
    let one = text(service, "spec.clusterIP").to_string();
    if !one.is_empty() && value::empty(service, "spec.clusterIPs") {
        put(service, "spec.clusterIPs", json!([one]));
    }
}

/// The list follows a change of the single address, which is all that old clients know; that both
/// change and contradict each other is for validation (`normalizeClusterIPs` upstream).
fn normalize_addresses(new: &mut Value, old: &Value) {
    const IPS: &str = "spec.clusterIPs";
    let one = text(new, "spec.clusterIP").to_string();
    if one != text(old, "spec.clusterIP") && at(new, IPS) == at(old, IPS) {
        match one.is_empty() {
            true => drop(value::remove(new, IPS)),
            false => put(new, IPS, json!([one])),
        }
    }
    pair_addresses(new);
}

/// What was given out stays with a Service whose new form does not mention it
/// (`patchAllocatedValues` upstream).
pub fn prepare_update(new: &mut Value, old: &Value) {
    let needs_ip = |s: &Value| text(s, "spec.type") != "ExternalName";
    if needs_ip(new) && needs_ip(old) {
        if text(new, "spec.clusterIP").is_empty() {
            value::copy(old, new, "spec.clusterIP");
        }
        if value::empty(new, "spec.clusterIPs") {
            value::copy(old, new, "spec.clusterIPs");
        }
        for field in ["spec.ipFamilies", "spec.ipFamilyPolicy"] {
            if at(new, field).is_null() {
                value::copy(old, new, field);
            }
        }
    }
    normalize_addresses(new, old);
    let needs_ports = |s: &Value| matches!(text(s, "spec.type"), "NodePort" | "LoadBalancer");
    if needs_ports(new) && needs_ports(old) {
        // A port is known by its name: its number and its target may be what changes. A node port
        // that the new form names itself belongs to the port that it names it for.
        let used = &node_ports(old) & &node_ports(new);
        let before: HashMap<&str, i64> = list(old, "spec.ports")
            .iter()
            .map(|p| (text(p, "name"), int(p, "nodePort").unwrap_or(0)))
            .collect();
        for port in list_mut(new, "spec.ports") {
            let had = before.get(text(port, "name")).copied().filter(|n| *n != 0 && !used.contains(n));
            if let Some(number) = had {
                default_zero(port, "nodePort", number);
            }
        }
    }
    if is_checked(new) && is_checked(old) && int(new, "spec.healthCheckNodePort").unwrap_or(0) == 0 {
        value::copy(old, new, "spec.healthCheckNodePort");
    }
    drop_what_its_type_has_not(new, old);
}

/// The node ports that a Service names.
fn node_ports(service: &Value) -> HashSet<i64> {
    list(service, "spec.ports").iter().filter_map(|p| int(p, "nodePort")).filter(|n| *n != 0).collect()
}

/// True if a load balancer asks each node whether it has endpoints, on a port for health checks.
pub fn is_checked(service: &Value) -> bool {
    text(service, "spec.type") == "LoadBalancer" && text(service, "spec.externalTrafficPolicy") == "Local"
}

/// A Service that changes its type loses what only the old type has, unless the request says
/// something else about it (`dropTypeDependentFields` upstream): so a patch of the type alone is
/// enough.
fn drop_what_its_type_has_not(new: &mut Value, old: &Value) {
    let kind = |s: &Value| text(s, "spec.type").to_string();
    let lost = |has: fn(&str) -> bool| has(&kind(old)) && !has(&kind(new));
    let outside = lost(|t| matches!(t, "NodePort" | "LoadBalancer"));
    let balancer = lost(|t| t == "LoadBalancer");
    let check = is_checked(old) && !is_checked(new);
    let address = lost(|t| t != "ExternalName");
    // Ports may come and go with the type, as long as no new node port is named.
    if outside && node_ports(new).is_subset(&node_ports(old)) {
        for port in list_mut(new, "spec.ports") {
            value::remove(port, "nodePort");
        }
    }
    let fields: [(bool, &[&str]); 4] = [
        (check, &["healthCheckNodePort"]),
        (is_reached_from_outside(old) && !is_reached_from_outside(new), &["externalTrafficPolicy"]),
        (balancer, &["allocateLoadBalancerNodePorts", "loadBalancerClass"]),
        (address, &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]),
    ];
    for field in fields.iter().filter(|(lost, _)| *lost).flat_map(|(_, fields)| fields.iter()) {
        let path = format!("spec.{field}");
        if at(new, &path) == at(old, &path) {
            value::remove(new, &path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_port() -> Value {
        json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "externalTrafficPolicy": "Cluster", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]}})
    }

    #[test]
    fn a_patch_of_the_type_alone_closes_the_door() {
        let old = node_port();
        let mut new = old.clone();
        put(&mut new, "spec.type", json!("ClusterIP"));
        prepare_update(&mut new, &old);
        let spec = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80, "protocol": "TCP"}]});
        assert_eq!(new["spec"], spec);
    }

    #[test]
    fn ports_may_come_and_go_with_the_type() {
        let with = |kind: &str, ports: Value| json!({"spec": {"type": kind, "ports": ports}});
        let (http, metrics) = (
            json!({"name": "http", "port": 80, "nodePort": 30080}),
            json!({"name": "metrics", "port": 90, "nodePort": 30090}),
        );
        let old = with("NodePort", json!([http, metrics]));
        let more = json!({"name": "more", "port": 70});
        for ports in [json!([http]), json!([metrics, http]), json!([http, metrics, more])] {
            let mut new = with("ClusterIP", ports);
            prepare_update(&mut new, &old);
            assert!(node_ports(&new).is_empty(), "{new}");
        }
    }

    #[test]
    fn a_node_port_stays_with_the_name_of_its_port() {
        let with =
            |ports: Value| json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": ports}});
        let after = |old: Value, new: Value| {
            let mut new = with(new);
            prepare_update(&mut new, &with(old));
            list(&new, "spec.ports").iter().map(|p| int(p, "nodePort")).collect::<Vec<_>>()
        };
        let one = json!([{"port": 80, "nodePort": 30080}]);
        assert_eq!(after(one, json!([{"port": 8080}])), [Some(30080)]);
        let named = json!([{"name": "a", "port": 80, "nodePort": 30080}]);
        let taken = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30080}]);
        assert_eq!(after(named.clone(), taken), [None, Some(30080)]);
        assert_eq!(after(named, json!([{"name": "c", "port": 80}])), [None]);
    }

    #[test]
    fn a_service_with_external_addresses_has_a_policy_for_traffic_from_outside() {
        let mut object = json!({"spec": {"externalIPs": ["192.0.2.1"], "ports": [{"port": 80}]}});
        service(&mut object);
        assert_eq!(text(&object, "spec.externalTrafficPolicy"), "Cluster");
        let old = object.clone();
        value::remove(&mut object, "spec.externalIPs");
        prepare_update(&mut object, &old);
        assert_eq!(at(&object, "spec.externalTrafficPolicy"), &Value::Null);
    }

    #[test]
    fn what_a_request_asks_for_is_not_dropped_in_silence() {
        let old = node_port();
        let mut new = old.clone();
        put(&mut new, "spec.type", json!("ClusterIP"));
        new["spec"]["ports"][0]["nodePort"] = json!(30081);
        prepare_update(&mut new, &old);
        assert_eq!(new["spec"]["ports"][0]["nodePort"], 30081); // which validation then refuses
    }
}
