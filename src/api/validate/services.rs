//! Services, Endpoints, EndpointSlices.

use super::{labels, names, one_of};
use crate::api::errors::Errors;
use crate::api::value::{at, empty, int, list, text};
use serde_json::{Value, json};

pub fn service(object: &Value, errors: &mut Errors) {
    let ports = list(object, "spec.ports");
    let kind = text(object, "spec.type");
    one_of(
        object,
        "spec.type",
        "spec.type",
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        errors,
    );
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
        "ExternalName" if text(object, "spec.externalName").is_empty() => {
            errors.required("spec.externalName", "");
        }
        _ => {}
    }
    let mut names_seen: Vec<&str> = vec![];
    let mut ports_seen: Vec<(i64, &str)> = vec![];
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
            if names_seen.contains(&name) {
                errors.duplicate(format!("{field}.name"), &json!(name));
            }
            names_seen.push(name);
        }
        let number = int(port, "port").unwrap_or(0);
        if let Some(problem) = names::port_number(number) {
            errors.invalid(format!("{field}.port"), &json!(number), problem);
        }
        one_of(port, "protocol", &format!("{field}.protocol"), &["SCTP", "TCP", "UDP"], errors);
        target_port(port, &field, errors);
        let key = (number, text(port, "protocol"));
        if ports_seen.contains(&key) {
            errors.duplicate(&field, &json!({"port": key.0, "protocol": key.1}));
        }
        ports_seen.push(key);
        if int(port, "nodePort").unwrap_or(0) != 0 && matches!(kind, "ClusterIP" | "ExternalName") {
            errors.forbidden(format!("{field}.nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    labels(object, "spec.selector", "spec.selector", errors);
    one_of(object, "spec.sessionAffinity", "spec.sessionAffinity", &["ClientIP", "None"], errors);
    if !empty(object, "spec.externalTrafficPolicy") {
        one_of(
            object,
            "spec.externalTrafficPolicy",
            "spec.externalTrafficPolicy",
            &["Cluster", "Local"],
            errors,
        );
        if kind == "ClusterIP" && empty(object, "spec.externalIPs") {
            errors.invalid(
                "spec.externalTrafficPolicy",
                at(object, "spec.externalTrafficPolicy"),
                "may only be set for externally-accessible services",
            );
        }
    }
    one_of(object, "spec.internalTrafficPolicy", "spec.internalTrafficPolicy", &["Cluster", "Local"], errors);
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

pub fn service_update(new: &Value, old: &Value, errors: &mut Errors) {
    let external = |s: &Value| text(s, "spec.type") == "ExternalName";
    let (a, b) = (text(old, "spec.clusterIP"), text(new, "spec.clusterIP"));
    if !external(new) && !external(old) && !a.is_empty() && a != b {
        errors.invalid("spec.clusterIPs[0]", at(new, "spec.clusterIP"), "may not change once set");
    }
}

pub fn endpoints(object: &Value, errors: &mut Errors) {
    for (i, subset) in list(object, "subsets").iter().enumerate() {
        let field = format!("subsets[{i}]");
        if empty(subset, "addresses") && empty(subset, "notReadyAddresses") {
            errors.required(&field, "must specify `addresses` or `notReadyAddresses`");
        }
        for (j, address) in list(subset, "addresses").iter().enumerate() {
            if text(address, "ip").parse::<std::net::IpAddr>().is_err() {
                errors.invalid(
                    format!("{field}.addresses[{j}].ip"),
                    at(address, "ip"),
                    "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                );
            }
        }
        for (j, port) in list(subset, "ports").iter().enumerate() {
            let number = int(port, "port").unwrap_or(0);
            if let Some(problem) = names::port_number(number) {
                errors.invalid(format!("{field}.ports[{j}].port"), &json!(number), problem);
            }
        }
    }
}

pub fn endpoint_slice(object: &Value, errors: &mut Errors) {
    if text(object, "addressType").is_empty() {
        errors.required("addressType", "");
    } else {
        one_of(object, "addressType", "addressType", &["FQDN", "IPv4", "IPv6"], errors);
    }
    for (i, endpoint) in list(object, "endpoints").iter().enumerate() {
        if empty(endpoint, "addresses") {
            errors.required(format!("endpoints[{i}].addresses"), "must contain at least 1 address");
        }
    }
}
