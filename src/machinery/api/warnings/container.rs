//! Containers: amounts, variables and ports.

use super::{COMPARED_MAX, Found, fractional};
use crate::gostr::quote;
use crate::pod_spec::GROUPS;
use crate::value::{at, int, list, text};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Returns all containers of a pod's spec with their paths. `path` is that of the spec.
pub(super) fn all<'a>(spec: &'a Value, path: &str) -> Vec<(&'a Value, String)> {
    let numbered = |group: &'static str| {
        let containers = list(spec, group).iter().enumerate();
        containers.map(move |(i, one)| (one, format!("{path}.{group}[{i}]")))
    };
    GROUPS.into_iter().flat_map(numbered).collect()
}

pub(super) fn amounts(container: &Value, path: &str, found: &mut Found) {
    for name in ["memory", "ephemeral-storage"] {
        for amounts in ["resources.limits", "resources.requests"] {
            fractional(at(container, amounts), name, &format!("{path}.{amounts}"), found);
        }
    }
}

/// Warns of a variable that hides an earlier one. One whose value contains the earlier one's, as in
/// `PATH=$(PATH):/more`, is meant to.
pub(super) fn variables(container: &Value, path: &str, found: &mut Found) {
    let mut seen = HashSet::new();
    for (i, variable) in list(container, "env").iter().enumerate() {
        let name = text(variable, "name");
        if seen.insert(name) {
            continue;
        }
        let (value, earlier) = (text(variable, "value"), format!("$({name})"));
        let has_source = !at(variable, "valueFrom").is_null();
        if has_source || value == earlier || !value.contains(&earlier) {
            found.push(format!(
                "{path}.env[{i}]: hides previous definition of {}, which may be dropped when using apply",
                quote(name)
            ));
        }
    }
}

/// A port of a container.
struct Port<'a> {
    path: String,
    host_ip: &'a str,
    host_port: i64,
}

/// Warns of ports of a pod, whatever container has them, that are the same or have the same name.
pub(super) fn ports(spec: &Value, path: &str, found: &mut Found) {
    let containers = all(spec, path);
    let ports = containers.iter().flat_map(|(one, path)| {
        let numbered = list(one, "ports").iter().enumerate();
        numbered.map(move |(i, port)| (port, format!("{path}.ports[{i}]")))
    });
    let ports: Vec<(&Value, String)> = ports.take(COMPARED_MAX).collect();
    let mut by_number: HashMap<(i64, &str), Vec<Port>> = HashMap::new();
    for (port, path) in &ports {
        let one = Port {
            path: path.clone(),
            host_ip: text(port, "hostIP"),
            host_port: int(port, "hostPort").unwrap_or(0),
        };
        if !one.host_ip.is_empty() && one.host_port == 0 {
            found.push(format!("{path}: hostIP set without hostPort: {}", shown(port)));
        }
        let number = (int(port, "containerPort").unwrap_or(0), text(port, "protocol"));
        let others = by_number.entry(number).or_default();
        for other in others.iter() {
            if let Some(what) = conflict(&one, other) {
                found.push(format!("{path}: {what} port definition with {}", other.path));
            }
        }
        others.push(one);
    }
    let mut by_name: HashMap<&str, &str> = HashMap::new();
    for (port, path) in ports.iter().filter(|(port, _)| !text(port, "name").is_empty()) {
        let name = text(port, "name");
        let first = *by_name.entry(name).or_insert(path);
        if first != path {
            found.push(format!(
                "{path}: duplicate port name {} with {first}, services and probes that select ports by name will use {first}",
                quote(name)
            ));
        }
    }
}

/// Returns how a port conflicts with another one of the same number and protocol; `None` if both
/// can be used.
fn conflict(one: &Port, other: &Port) -> Option<&'static str> {
    if (one.host_ip, one.host_port) == (other.host_ip, other.host_port) {
        Some("duplicate")
    } else if one.host_port == 0 || other.host_port == 0 {
        Some("overlapping")
    } else if one.host_port == other.host_port && one.host_ip.is_empty() != other.host_ip.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

/// Returns a port as Go prints the struct.
fn shown(port: &Value) -> String {
    let number = |field: &str| int(port, field).unwrap_or(0);
    let text = |field: &str| text(port, field);
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        text("name"),
        number("hostPort"),
        number("containerPort"),
        text("protocol"),
        text("hostIP")
    )
}
