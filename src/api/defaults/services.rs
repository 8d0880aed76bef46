//! Services, Endpoints, EndpointSlices. Addresses and node ports are given out by the API server, not here.

use crate::api::value::{self, at, default, default_zero, int, list, list_mut, put, text};
use serde_json::{Value, json};

pub fn service(object: &mut Value) {
    default_zero(object, "spec.sessionAffinity", "None");
    if text(object, "spec.sessionAffinity") == "ClientIP" {
        default(object, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", 10800);
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
        for port in list_mut(new, "spec.ports") {
            let same = |p: &&Value| {
                int(p, "port") == int(port, "port") && text(p, "protocol") == text(port, "protocol")
            };
            let had = list(old, "spec.ports").iter().find(same).and_then(|p| int(p, "nodePort"));
            if let Some(number) = had.filter(|n| *n != 0) {
                default_zero(port, "nodePort", number);
            }
        }
    }
}
