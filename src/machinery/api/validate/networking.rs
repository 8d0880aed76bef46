//! Ingresses, their classes, network policies.

use super::{IMMUTABLE, names, selector};
use crate::cidr;
use crate::errors::Errors;
use crate::meta;
use crate::validate::add_problems;
use crate::value::{at, empty, int, list, text};
use serde_json::{Value, json};
use std::net::IpAddr;

const CLASS: &str = "kubernetes.io/ingress.class";

/// `*.example.com`, or a plain name.
fn host_name(host: &str, field: &str, errors: &mut Errors) {
    if !host.contains('*') {
        add_problems(names::dns_subdomain(host), field, host, errors);
    } else if !host.strip_prefix("*.").is_some_and(|rest| names::dns_subdomain(rest).is_empty()) {
        let why = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        errors.invalid_text(field, host, why);
    }
}

pub fn ingress(object: &Value, errors: &mut Errors) {
    let class = at(object, "spec.ingressClassName");
    if let (Some(told), Some(class)) = (meta::annotation(object, CLASS), class.as_str())
        && told != class
    {
        let field = format!("annotations.{CLASS}");
        errors.invalid_text(field, told, "must match `ingressClassName` when both are specified");
    }
    let rules = list(object, "spec.rules");
    if rules.is_empty() && at(object, "spec.defaultBackend").is_null() {
        errors.invalid("spec.rules", &json!([]), "either `defaultBackend` or `rules` must be specified");
    }
    if !at(object, "spec.defaultBackend").is_null() {
        backend(at(object, "spec.defaultBackend"), "spec.defaultBackend", errors);
    }
    for (i, rule) in rules.iter().enumerate() {
        ingress_rule(rule, &format!("spec.rules[{i}]"), errors);
    }
    for (i, tls) in list(object, "spec.tls").iter().enumerate() {
        for (j, host) in list(tls, "hosts").iter().enumerate() {
            host_name(host.as_str().unwrap_or(""), &format!("spec.tls[{i}].hosts[{j}]"), errors);
        }
        if !empty(tls, "secretName") {
            let secret = text(tls, "secretName");
            add_problems(names::dns_subdomain(secret), &format!("spec.tls[{i}].secretName"), secret, errors);
        }
    }
    if let Some(class) = class.as_str() {
        add_problems(names::dns_subdomain(class), "spec.ingressClassName", class, errors);
    }
}

fn ingress_rule(rule: &Value, field: &str, errors: &mut Errors) {
    let host = text(rule, "host");
    if !host.is_empty() {
        let field = format!("{field}.host");
        if host.parse::<IpAddr>().is_ok() {
            errors.invalid_text(&field, host, "must be a DNS name, not an IP address");
        }
        host_name(host, &field, errors);
    }
    if at(rule, "http").is_null() {
        return;
    }
    let paths = list(rule, "http.paths");
    if paths.is_empty() {
        errors.required(format!("{field}.http.paths"), "");
    }
    for (i, path) in paths.iter().enumerate() {
        ingress_path(path, &format!("{field}.http.paths[{i}]"), errors);
    }
}

fn ingress_path(path: &Value, field: &str, errors: &mut Errors) {
    let (kind, shown) = (text(path, "pathType"), text(path, "path"));
    let at_path = format!("{field}.path");
    match kind {
        "" => return errors.required(format!("{field}.pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !shown.starts_with('/') {
                errors.invalid_text(&at_path, shown, "must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|p| shown.contains(**p)) {
                errors.invalid_text(&at_path, shown, &format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."].iter().filter(|e| shown.ends_with(**e)) {
                errors.invalid_text(&at_path, shown, &format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" => {
            if !shown.is_empty() && !shown.starts_with('/') {
                errors.invalid_text(&at_path, shown, "must be an absolute path");
            }
        }
        other => errors.not_supported(
            format!("{field}.pathType"),
            &json!(other),
            &["Exact", "ImplementationSpecific", "Prefix"],
        ),
    }
    backend(at(path, "backend"), &format!("{field}.backend"), errors);
}

fn backend(backend: &Value, field: &str, errors: &mut Errors) {
    match (at(backend, "service").is_object(), at(backend, "resource").is_object()) {
        (true, true) => errors.invalid_text(field, "", "cannot set both resource and service backends"),
        (false, false) => errors.invalid_text(field, "", "resource or service backend is required"),
        (false, true) => {
            for part in ["kind", "name"] {
                if text(backend, &format!("resource.{part}")).is_empty() {
                    errors.required(format!("{field}.resource.{part}"), &format!("{part} is required"));
                }
            }
        }
        (true, false) => {
            match text(backend, "service.name") {
                "" => errors.required(format!("{field}.service.name"), ""),
                name => add_problems(names::dns_1035(name), &format!("{field}.service.name"), name, errors),
            }
            let (name, number) =
                (text(backend, "service.port.name"), int(backend, "service.port.number").unwrap_or(0));
            match (name, number) {
                ("", 0) => {
                    errors.required(format!("{field}.service.port"), "port name or number is required");
                }
                ("", number) => {
                    if let Some(why) = names::port_number(number) {
                        errors.invalid(format!("{field}.service.port.number"), &json!(number), why);
                    }
                }
                (name, 0) => {
                    add_problems(names::port_name(name), &format!("{field}.service.port.name"), name, errors);
                }
                _ => errors.invalid_text(field, "", "cannot set both port name & port number"),
            }
        }
    }
}

pub fn ingress_class(object: &Value, errors: &mut Errors) {
    const CONTROLLER: &str = "spec.controller";
    let controller = text(object, CONTROLLER);
    if controller.len() > 250 {
        errors.too_long(CONTROLLER, 250);
    }
    match controller.split_once('/') {
        _ if controller.is_empty() => errors.required(CONTROLLER, ""),
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            add_problems(names::dns_subdomain(host), CONTROLLER, host, errors);
        }
        _ => {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.invalid_text(CONTROLLER, controller, why);
        }
    }
    let parameters = at(object, "spec.parameters");
    if parameters.is_null() {
        return;
    }
    for part in ["kind", "name"] {
        if text(parameters, part).is_empty() {
            errors.required(format!("spec.parameters.{part}"), &format!("{part} is required"));
        }
    }
    let (scope, namespace) = (text(parameters, "scope"), text(parameters, "namespace"));
    match scope {
        "Cluster" if !namespace.is_empty() => errors.forbidden(
            "spec.parameters.namespace",
            "`parameters.namespace` must not be set when `parameters.scope` is set to 'Cluster'",
        ),
        "Namespace" if namespace.is_empty() => {
            errors.required("spec.parameters.namespace", "`parameters.scope` is set to 'Namespace'");
        }
        "Cluster" | "Namespace" => {}
        other => errors.not_supported("spec.parameters.scope", &json!(other), &["Cluster", "Namespace"]),
    }
}

pub fn ingress_class_update(new: &Value, old: &Value, errors: &mut Errors) {
    if at(new, "spec.controller") != at(old, "spec.controller") {
        errors.invalid("spec.controller", at(new, "spec.controller"), IMMUTABLE);
    }
}

pub fn network_policy(object: &Value, errors: &mut Errors) {
    selector(object, "spec.podSelector", errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (i, rule) in list(object, &format!("spec.{direction}")).iter().enumerate() {
            let field = format!("spec.{direction}[{i}]");
            for (j, port) in list(rule, "ports").iter().enumerate() {
                policy_port(port, &format!("{field}.ports[{j}]"), errors);
            }
            for (j, peer) in list(rule, peers).iter().enumerate() {
                policy_peer(peer, &format!("{field}.{peers}[{j}]"), errors);
            }
        }
    }
    let types = list(object, "spec.policyTypes");
    if types.len() > 2 {
        errors.invalid(
            "spec.policyTypes",
            at(object, "spec.policyTypes"),
            "may not specify more than two policyTypes",
        );
        return;
    }
    for (i, kind) in types.iter().enumerate() {
        if !["Ingress", "Egress"].contains(&kind.as_str().unwrap_or("")) {
            errors.not_supported(format!("spec.policyTypes[{i}]"), kind, &["Egress", "Ingress"]);
        }
    }
}

fn policy_port(port: &Value, field: &str, errors: &mut Errors) {
    let protocol = at(port, "protocol");
    if !protocol.is_null() && !["TCP", "UDP", "SCTP"].contains(&protocol.as_str().unwrap_or("")) {
        errors.not_supported(format!("{field}.protocol"), protocol, &["SCTP", "TCP", "UDP"]);
    }
    let (end, end_field) = (at(port, "endPort"), format!("{field}.endPort"));
    match at(port, "port") {
        Value::Null if !end.is_null() => {
            errors.invalid(end_field, end, "may not be specified when `port` is not specified");
        }
        Value::Null => {}
        Value::String(name) => {
            if !end.is_null() {
                errors.invalid(end_field, end, "may not be specified when `port` is non-numeric");
            }
            add_problems(names::port_name(name), &format!("{field}.port"), name, errors);
        }
        number => {
            let first = number.as_i64().unwrap_or(0);
            if let Some(why) = names::port_number(first) {
                errors.invalid(format!("{field}.port"), number, why);
            }
            if let Some(last) = end.as_i64() {
                if last < first {
                    errors.invalid(&end_field, number, "must be greater than or equal to `port`");
                }
                if let Some(why) = names::port_number(last) {
                    errors.invalid(&end_field, end, why);
                }
            }
        }
    }
}

fn policy_peer(peer: &Value, field: &str, errors: &mut Errors) {
    let there = |part: &str| at(peer, part).is_object();
    let selectors = ["podSelector", "namespaceSelector"].into_iter().filter(|s| there(s)).count();
    for part in ["podSelector", "namespaceSelector"] {
        let mut found = Errors::default();
        selector(peer, part, &mut found);
        for mut error in found {
            error.field = format!("{field}.{}", error.field);
            errors.add(error);
        }
    }
    if there("ipBlock") {
        ip_block(at(peer, "ipBlock"), &format!("{field}.ipBlock"), errors);
    }
    match (selectors, there("ipBlock")) {
        (0, false) => errors.required(field, "must specify a peer"),
        (1.., true) => errors.forbidden(field, "may not specify both ipBlock and another peer"),
        _ => {}
    }
}

fn ip_block(block: &Value, field: &str, errors: &mut Errors) {
    const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let shown = text(block, "cidr");
    if shown.is_empty() {
        return errors.required(format!("{field}.cidr"), "");
    }
    let Some(whole) = cidr::parse(shown) else {
        return errors.invalid_text(format!("{field}.cidr"), shown, CIDR);
    };
    for (i, except) in list(block, "except").iter().enumerate() {
        let (field, shown) = (format!("{field}.except[{i}]"), except.as_str().unwrap_or(""));
        match cidr::parse(shown) {
            None => errors.invalid_text(field, shown, CIDR),
            Some(part) if part.prefix_len() <= whole.prefix_len() || !whole.contains(&part) => {
                errors.invalid_text(field, shown, "must be a strict subset of `cidr`");
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::problems;

    #[test]
    fn an_ingress_says_where_everything_goes() {
        assert_eq!(
            problems(ingress, json!({"spec": {}})),
            ["spec.rules: Invalid value: []: either `defaultBackend` or `rules` must be specified"]
        );
        let path = |path: &str, kind: &str| json!({"path": path, "pathType": kind, "backend": {"service": {"name": "web", "port": {"number": 80}}}});
        let rule =
            |host: &str, path: Value| json!({"spec": {"rules": [{"host": host, "http": {"paths": [path]}}]}});
        assert!(problems(ingress, rule("*.example.com", path("/a", "Prefix"))).is_empty());
        for (object, why) in [
            (rule("10.0.0.1", path("/", "Exact")), "must be a DNS name, not an IP address"),
            (rule("a.*.com", path("/", "Exact")), "a wildcard DNS-1123 subdomain must start with"),
            (rule("", path("a", "Exact")), "must be an absolute path"),
            (rule("", path("/a/../b", "Prefix")), "must not contain '/../'"),
            (rule("", path("/", "prefix")), "Unsupported value: \"prefix\""),
        ] {
            let told = problems(ingress, object);
            assert!(told.len() == 1 && told[0].contains(why), "{told:?}");
        }
        let both = json!({"service": {"name": "web", "port": {"number": 80, "name": "http"}}});
        let told = problems(ingress, json!({"spec": {"defaultBackend": both}}));
        assert_eq!(
            told,
            ["spec.defaultBackend: Invalid value: \"\": cannot set both port name & port number"]
        );
    }

    #[test]
    fn a_policys_peers_and_ports_make_sense() {
        let policy = |peer: Value, port: Value| json!({"spec": {"podSelector": {}, "ingress": [{"from": [peer], "ports": [port]}]}});
        let good = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}});
        assert!(problems(network_policy, policy(good, json!({"port": 80, "endPort": 90}))).is_empty());
        for (peer, port, why) in [
            (json!({}), json!({"port": 1}), "must specify a peer"),
            (
                json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}),
                json!({"port": 1}),
                "may not specify both",
            ),
            (json!({"ipBlock": {"cidr": "10.0.0.0"}}), json!({"port": 1}), "must be a valid CIDR"),
            (
                json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}),
                json!({"port": 1}),
                "strict subset",
            ),
            (
                json!({"podSelector": {}}),
                json!({"port": 90, "endPort": 80}),
                "greater than or equal to `port`",
            ),
            (json!({"podSelector": {}}), json!({"port": "web", "endPort": 80}), "non-numeric"),
        ] {
            let told = problems(network_policy, policy(peer, port));
            assert!(told.len() == 1 && told[0].contains(why), "{told:?}");
        }
    }
}
