//! Nodes: the machines that run pods. The kubelet of a node creates its object and reports its
//! status.

use crate::errors::Errors;
use crate::kinds::{Kind, of, status, sub};
use crate::table::{Printer, age, name, or};
use crate::validate::names;
use crate::value::{self, at, empty, flag, list, map, put, text};
use clock::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["no"],
        subresources: vec![sub("proxy", "NodeProxyOptions", &["create", "get"]), status("Node")],
        has_status: true,
        keeps_first_status: true,
        defaults,
        validate,
        validate_update,
        fields: &[("spec.unschedulable", "spec.unschedulable")],
        printer: Some(&PRINTER),
        ..of::<Node>()
    }
}

fn defaults(object: &mut Value) {
    if value::at(object, "status.allocatable").is_null() && value::at(object, "status.capacity").is_object() {
        let capacity = value::at(object, "status.capacity").clone();
        put(object, "status.allocatable", capacity);
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    for (i, taint) in list(object, "spec.taints").iter().enumerate() {
        for problem in names::qualified_name(text(taint, "key")) {
            errors.invalid_text(format!("spec.taints[{i}].key"), text(taint, "key"), &problem);
        }
        for problem in names::label_value(text(taint, "value")) {
            errors.invalid_text(format!("spec.taints[{i}].value"), text(taint, "value"), &problem);
        }
        let effect = text(taint, "effect");
        if effect.is_empty() {
            errors.required(format!("spec.taints[{i}].effect"), "");
        } else if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            errors.not_supported(
                format!("spec.taints[{i}].effect"),
                at(taint, "effect"),
                &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            );
        }
        if !seen.insert((text(taint, "key"), effect)) {
            errors.duplicate(format!("spec.taints[{i}]"), taint);
        }
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    const RANGES: &str = "spec.podCIDRs";
    if !empty(old, RANGES) && at(new, RANGES) != at(old, RANGES) {
        errors.forbidden(RANGES, "node updates may not change podCIDR except from \"\" to valid");
    }
    for path in ["spec.podCIDR", "spec.providerID"] {
        if !text(old, path).is_empty() && at(new, path) != at(old, path) {
            let what = if path == "spec.podCIDR" {
                "node updates may not change podCIDR except from \"\" to valid"
            } else {
                "node updates may not change providerID except from \"\" to valid"
            };
            errors.forbidden(path, what);
        }
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Status", "string", false),
        ("Roles", "string", false),
        ("Age", "string", false),
        ("Version", "string", false),
        ("Internal-IP", "string", true),
        ("External-IP", "string", true),
        ("OS-Image", "string", true),
        ("Kernel-Version", "string", true),
        ("Container-Runtime", "string", true),
    ],
    cells,
    conditions: None,
};

fn cells(o: &Value, now: Timestamp) -> Vec<Value> {
    let ready = list(o, "status.conditions").iter().find(|c| text(c, "type") == "Ready");
    let mut status = match ready.map(|c| text(c, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_string();
    if flag(o, "spec.unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: BTreeSet<&str> = BTreeSet::new();
    for (key, value) in map(o, "metadata.labels").into_iter().flatten() {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/").filter(|r| !r.is_empty()) {
            roles.insert(role);
        } else if key == "kubernetes.io/role" {
            roles.extend(value.as_str().filter(|v| !v.is_empty()));
        }
    }
    let roles: Vec<&str> = roles.into_iter().collect();
    let address = |kind: &str| {
        let found = list(o, "status.addresses").iter().find(|a| text(a, "type") == kind);
        found.map_or("<none>", |a| text(a, "address")).to_string()
    };
    vec![
        name(o),
        status.into(),
        if roles.is_empty() { "<none>".into() } else { roles.join(",").into() },
        age(o, now),
        text(o, "status.nodeInfo.kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        or(o, "status.nodeInfo.osImage", "<unknown>").into(),
        or(o, "status.nodeInfo.kernelVersion", "<unknown>").into(),
        or(o, "status.nodeInfo.containerRuntimeVersion", "<unknown>").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_ranges_of_a_node_stay_as_they_are() {
        let node = |range: &str| json!({"spec": {"podCIDR": "10.244.3.0/24", "podCIDRs": [range]}});
        let told = |new: &str| {
            let mut errors = Errors::default();
            validate_update(&node(new), &node("10.244.3.0/24"), &mut errors);
            errors.iter().count()
        };
        assert_eq!((told("10.244.3.0/24"), told("10.9.0.0/24")), (0, 1));
    }
}
