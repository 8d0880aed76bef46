//! Ingresses, their classes, network policies.

use super::{Printer, age, name, or, selector};
use crate::value::{at, list, text};
use serde_json::Value;
use std::collections::BTreeSet;

/// Hosts that a cell shows.
const HOSTS: usize = 3;

/// `a.example.com,b.example.com`, or `*`.
fn hosts(ingress: &Value) -> String {
    let rules = list(ingress, "spec.rules");
    let (mut shown, mut more) = (vec![], false);
    for rule in rules {
        more |= shown.len() == HOSTS;
        if !more && !text(rule, "host").is_empty() {
            shown.push(text(rule, "host"));
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".into(),
        (_, false) => shown.join(","),
        (_, true) => format!("{} + {} more...", shown.join(","), rules.len() - HOSTS),
    }
}

fn address(ingress: &Value) -> String {
    let all: BTreeSet<&str> = list(ingress, "status.loadBalancer.ingress")
        .iter()
        .map(|i| if text(i, "ip").is_empty() { text(i, "hostname") } else { text(i, "ip") })
        .filter(|a| !a.is_empty())
        .collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

pub static INGRESSES: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Class", "string", false),
        ("Hosts", "string", false),
        ("Address", "string", false),
        ("Ports", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let ports = if list(o, "spec.tls").is_empty() { "80" } else { "80, 443" };
        vec![
            name(o),
            or(o, "spec.ingressClassName", "<none>").into(),
            hosts(o).into(),
            address(o).into(),
            ports.into(),
            age(o, now),
        ]
    },
    conditions: None,
};

pub static INGRESS_CLASSES: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Controller", "string", false),
        ("Parameters", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let part = |field: &str| text(o, &format!("spec.parameters.{field}"));
        let parameters = match (at(o, "spec.parameters").is_null(), part("apiGroup")) {
            (true, _) => "<none>".to_string(),
            (false, "") => format!("{}/{}", part("kind"), part("name")),
            (false, group) => format!("{}.{group}/{}", part("kind"), part("name")),
        };
        vec![name(o), text(o, "spec.controller").into(), parameters.into(), age(o, now)]
    },
    conditions: None,
};

pub static NETWORK_POLICIES: Printer = Printer {
    columns: &[("Name", "string", false), ("Pod-Selector", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), selector(o, "spec.podSelector", "<none>").into(), age(o, now)],
    conditions: None,
};
