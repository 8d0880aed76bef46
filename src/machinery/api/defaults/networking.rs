//! Ingress classes and network policies.

use crate::value::{at, default, empty, list_mut, put};
use serde_json::{Value, json};

pub fn ingress_class(object: &mut Value) {
    if at(object, "spec.parameters").is_object() {
        default(object, "spec.parameters.scope", "Cluster");
    }
}

/// A new Ingress has no address yet.
pub fn prepare_ingress(object: &mut Value) {
    put(object, "status", json!({"loadBalancer": {}}));
}

/// A policy that does not say which directions it is about is about what comes in, and about what
/// goes out if it has rules for that.
pub fn network_policy(object: &mut Value) {
    for direction in ["spec.ingress", "spec.egress"] {
        for rule in list_mut(object, direction) {
            list_mut(rule, "ports").iter_mut().for_each(|port| default(port, "protocol", "TCP"));
        }
    }
    if empty(object, "spec.policyTypes") {
        let egress = !empty(object, "spec.egress");
        put(
            object,
            "spec.policyTypes",
            if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) },
        );
    }
}
