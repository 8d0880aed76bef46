//! Services, Endpoints, EndpointSlices. Addresses and node ports are given out by the API server, not here.

use crate::api::value::{self, at, default, default_zero, int, list, list_mut, put, text};
use serde_json::{Value, json};
use std::collections::HashMap;

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
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default_zero(object, "spec.externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        default_zero(object, "spec.internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(object, "spec.allocateLoadBalancerNodePorts", true);
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

/// A new Service has no load balancer yet.
pub fn prepare(object: &mut Value) {
    put(object, "status", json!({"loadBalancer": {}}));
}

/// What was given out stays with a Service whose new form does not mention it (`patchAllocatedValues` upstream).
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
    let needs_ports = |s: &Value| matches!(text(s, "spec.type"), "NodePort" | "LoadBalancer");
    if needs_ports(new) && needs_ports(old) {
        let key = |p: &Value| (int(p, "port"), text(p, "protocol").to_string());
        // The first of those that are the same counts: of twice the same key a map keeps the last.
        let before: HashMap<_, _> =
            list(old, "spec.ports").iter().rev().map(|p| (key(p), int(p, "nodePort"))).collect();
        for port in list_mut(new, "spec.ports") {
            let had = before.get(&key(port)).copied().flatten();
            if let Some(number) = had.filter(|n| *n != 0) {
                default_zero(port, "nodePort", number);
            }
        }
    }
    drop_what_its_type_has_not(new, old);
}

/// A Service that changes its type loses what only the old type has, unless the request says something else about it
/// (`dropTypeDependentFields` upstream): so a patch of the type alone is enough.
fn drop_what_its_type_has_not(new: &mut Value, old: &Value) {
    let kind = |s: &Value| text(s, "spec.type").to_string();
    let lost = |has: fn(&str) -> bool| has(&kind(old)) && !has(&kind(new));
    let outside = lost(|t| matches!(t, "NodePort" | "LoadBalancer"));
    let balancer = lost(|t| t == "LoadBalancer");
    let address = lost(|t| t != "ExternalName");
    let ports =
        |s: &Value| list(s, "spec.ports").iter().map(|p| int(p, "nodePort").unwrap_or(0)).collect::<Vec<_>>();
    if outside && ports(new) == ports(old) {
        for port in list_mut(new, "spec.ports") {
            value::remove(port, "nodePort");
        }
    }
    let fields: [(bool, &[&str]); 3] = [
        (outside, &["externalTrafficPolicy"]),
        (balancer, &["healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"]),
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
        json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "externalTrafficPolicy": "Cluster", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]}})
    }

    #[test]
    fn a_patch_of_the_type_alone_closes_the_door() {
        let old = node_port();
        let mut new = old.clone();
        put(&mut new, "spec.type", json!("ClusterIP"));
        prepare_update(&mut new, &old);
        let spec = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "protocol": "TCP"}]});
        assert_eq!(new["spec"], spec);
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
