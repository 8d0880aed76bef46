//! Network policies: which traffic may reach and leave the pods that a policy selects.

use crate::cidr;
use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::table::cells::{self, Printer, age, name};
use crate::validate::fields::{add_problems, selector};
use crate::validate::names;
use crate::value::{self, at, default, empty, list, list_mut, put, text};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["netpol"],
        generation: true,
        defaults,
        validate,
        printer: Some(&PRINTER),
        ..of::<NetworkPolicy>()
    }
}

/// Fills in what the client left out. A policy without `policyTypes` applies to incoming traffic,
/// and also to outgoing traffic if it has egress rules. One without a `podSelector` selects all
/// pods; Go always writes the field, and clients in other languages ask for it.
fn defaults(object: &mut Value) {
    value::slot_map(object, "spec.podSelector");
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

fn validate(object: &Value, errors: &mut Errors) {
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
            errors.not_supported(format!("spec.policyTypes[{i}]"), kind, &["Ingress", "Egress"]);
        }
    }
}

fn policy_port(port: &Value, field: &str, errors: &mut Errors) {
    let protocol = at(port, "protocol");
    if !protocol.is_null() && !["TCP", "UDP", "SCTP"].contains(&protocol.as_str().unwrap_or("")) {
        errors.not_supported(format!("{field}.protocol"), protocol, &["TCP", "UDP", "SCTP"]);
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

static PRINTER: Printer = Printer {
    columns: &[("Name", "string", false), ("Pod-Selector", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), cells::selector(o, "spec.podSelector", "<none>").into(), age(o, now)],
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn a_policy_without_a_pod_selector_has_an_empty_one() {
        for (given, selector) in [
            (json!({}), json!({})),
            (json!({"spec": {"policyTypes": ["Ingress"]}}), json!({})),
            (
                json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}),
                json!({"matchLabels": {"a": "b"}}),
            ),
        ] {
            let mut policy = given;
            defaults(&mut policy);
            assert_eq!(policy, json!({"spec": {"podSelector": selector, "policyTypes": ["Ingress"]}}));
        }
    }

    #[test]
    fn a_policys_peers_and_ports_make_sense() {
        let policy = |peer: Value, port: Value| json!({"spec": {"podSelector": {}, "ingress": [{"from": [peer], "ports": [port]}]}});
        let good = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}});
        assert!(problems(validate, policy(good, json!({"port": 80, "endPort": 90}))).is_empty());
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
            (
                json!({"podSelector": {}}),
                json!({"port": 80, "protocol": "tcp"}),
                "supported values: \"TCP\", \"UDP\", \"SCTP\"",
            ),
        ] {
            let found = problems(validate, policy(peer, port));
            assert!(found.len() == 1 && found[0].contains(why), "{found:?}");
        }
        let types = problems(validate, json!({"spec": {"podSelector": {}, "policyTypes": ["ingress"]}}));
        let supported = "supported values: \"Ingress\", \"Egress\"";
        assert_eq!(types, [format!("spec.policyTypes[0]: Unsupported value: \"ingress\": {supported}")]);
    }
}
