//! Services, Endpoints, EndpointSlices. Addresses and node ports are given out by the API server, not here.

use crate::api::value::{at, default, default_zero, list_mut, text};
use serde_json::Value;

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
