//! Nodes: the machines that run pods. The kubelet of a node creates its object and reports its
//! status.

use crate::cidr;
use crate::errors::{ErrorKind, Errors, FieldError};
use crate::kinds::core::resource_quota;
use crate::kinds::entry::{Kind, of, proxy, status};
use crate::quantity::Quantity;
use crate::table::cells::{Printer, age, name, text_or};
use crate::validate::names;
use crate::value::{self, at, empty, flag, list, map, put, text};
use clock::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["no"],
        subresources: vec![proxy("NodeProxyOptions"), status("Node")],
        has_status: true,
        keeps_first_status: true,
        defaults,
        prepare,
        prepare_update: drop_config,
        prepare_status_update,
        validate,
        validate_create: swap,
        validate_update,
        validate_status_update: status_update,
        fields: &[("spec.unschedulable", "spec.unschedulable")],
        printer: Some(&PRINTER),
        ..of::<Node>()
    }
}

fn defaults(object: &mut Value) {
    fill_allocatable(object);
    pair_ranges(object);
}

/// Fills in what pods may have: a node that does not say otherwise has all of its capacity for pods
/// (`SetDefaults_NodeStatus` upstream).
fn fill_allocatable(object: &mut Value) {
    if at(object, "status.allocatable").is_null() && at(object, "status.capacity").is_object() {
        let capacity = at(object, "status.capacity").clone();
        put(object, "status.allocatable", capacity);
    }
}

/// Drops the features that a new node declares: `NodeDeclaredFeatures` is off.
fn prepare(node: &mut Value) {
    drop_config(node, &Value::Null);
    value::remove(node, "status.declaredFeatures");
}

fn prepare_status_update(new: &mut Value, old: &Value, _: &str) {
    fill_allocatable(new);
    if at(old, "status.config").is_null() {
        value::remove(new, "status.config");
    }
}

/// Drops the settings of dynamic kubelet configuration unless the stored node has them: the feature
/// is gone (`dropDisabledFields` upstream).
fn drop_config(new: &mut Value, old: &Value) {
    for path in ["spec.configSource", "status.config"] {
        if at(old, path).is_null() {
            value::remove(new, path);
        }
    }
}

/// Fills in the list of ranges if the writer knows the single range alone, and the other way round.
/// Where they differ, the single one counts (`Convert_v1_NodeSpec_To_core_NodeSpec` upstream).
fn pair_ranges(object: &mut Value) {
    let one = text(object, "spec.podCIDR").to_string();
    let first = list(object, RANGES).first().and_then(Value::as_str).unwrap_or_default().to_string();
    if one.is_empty() && !first.is_empty() {
        put(object, "spec.podCIDR", first);
    } else if one != first {
        put(object, RANGES, vec![one]);
    }
}

/// The ranges of the addresses of a node's pods.
const RANGES: &str = "spec.podCIDRs";

fn validate(object: &Value, errors: &mut Errors) {
    taints(object, errors);
    ranges(object, errors);
    amounts(object, errors);
}

/// Checks the taints. Upstream's errors have them below `metadata`, and show one of its internal
/// type.
fn taints(object: &Value, errors: &mut Errors) {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    for (i, taint) in list(object, "spec.taints").iter().enumerate() {
        let field = format!("metadata.taints[{i}]");
        let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
        for problem in names::qualified_name(key) {
            errors.invalid_text(format!("{field}.key"), key, &problem);
        }
        let problems = names::label_value(value);
        if !problems.is_empty() {
            errors.invalid_text(format!("{field}.value"), value, &problems.join(";"));
        }
        if effect.is_empty() {
            errors.required(format!("{field}.effect"), "");
        } else if !EFFECTS.contains(&effect) {
            errors.not_supported(format!("{field}.effect"), at(taint, "effect"), &EFFECTS);
        }
        if !seen.insert((key, effect)) {
            let added = at(taint, "timeAdded");
            let shown = json!({"Key": key, "Value": value, "Effect": effect, "TimeAdded": added});
            let why = "taints must be unique by key and effect pair";
            let body = format!("Duplicate value: {shown}: {why}");
            errors.add(FieldError { kind: ErrorKind::Duplicate, field, body });
        }
    }
}

/// Checks what the node has of each resource.
fn amounts(object: &Value, errors: &mut Errors) {
    for path in ["status.capacity", "status.allocatable"] {
        for (name, value) in map(object, path).into_iter().flatten() {
            let field = format!("{path}.{name}");
            let Some(amount) = value.as_str().and_then(Quantity::parse) else { continue };
            if amount.is_negative() {
                errors.invalid(&*field, value, "must be greater than or equal to 0");
            }
            if resource_quota::is_counted(name) && !amount.is_whole() {
                errors.invalid(field, value, "must be an integer");
            }
        }
    }
}

/// Checks the amount of swap that a new node reports. Upstream's error has it below `metadata`.
fn swap(object: &Value, errors: &mut Errors) {
    let capacity = at(object, "status.nodeInfo.swap.capacity");
    if capacity.as_i64().is_some_and(|bytes| bytes <= 0) {
        errors.invalid("metadata.nodeSwapStatus.capacity", capacity, "must be greater than zero");
    }
}

/// Checks that no address is there twice.
fn addresses(object: &Value, errors: &mut Errors) {
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    for (i, address) in list(object, "status.addresses").iter().enumerate() {
        if !seen.insert((text(address, "type"), text(address, "address"))) {
            errors.duplicate(format!("status.addresses[{i}]"), address);
        }
    }
}

/// Checks a write through `/status`.
fn status_update(new: &Value, _: &Value, errors: &mut Errors) {
    amounts(new, errors);
    addresses(new, errors);
}

/// Checks that there is at most one range of addresses of each family.
fn ranges(object: &Value, errors: &mut Errors) {
    let ranges = list(object, RANGES);
    for (i, range) in ranges.iter().filter_map(Value::as_str).enumerate() {
        if cidr::parse(range).is_none() {
            let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.invalid_text(format!("{RANGES}[{i}]"), range, why);
        }
    }
    let sixes = ranges.iter().filter_map(Value::as_str).filter(|range| range.contains(':')).count();
    if sixes > 1 || ranges.len() - sixes > 1 {
        let why = "may specify no more than one CIDR for each IP family";
        errors.invalid(RANGES, at(object, RANGES), why);
    }
}

const EXTERNAL: &str = "spec.externalID";

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    addresses(new, errors);
    if !empty(old, RANGES) && at(new, RANGES) != at(old, RANGES) {
        errors.forbidden(RANGES, "node updates may not change podCIDR except from \"\" to valid");
    }
    const PROVIDER: &str = "spec.providerID";
    if !text(old, PROVIDER).is_empty() && at(new, PROVIDER) != at(old, PROVIDER) {
        errors.forbidden(PROVIDER, "node updates may not change providerID except from \"\" to valid");
    }
    // Of the spec all that is left: what else it has may change, or is judged above.
    if text(new, EXTERNAL) != text(old, EXTERNAL) {
        errors.forbidden(EXTERNAL, "may not be updated");
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
        text_or(o, "status.nodeInfo.osImage", "<unknown>").into(),
        text_or(o, "status.nodeInfo.kernelVersion", "<unknown>").into(),
        text_or(o, "status.nodeInfo.containerRuntimeVersion", "<unknown>").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn the_ranges_of_a_node_stay_as_they_are() {
        let node = |range: &str| json!({"spec": {"podCIDR": "10.244.3.0/24", "podCIDRs": [range]}});
        let count_errors = |new: &str| {
            let mut errors = Errors::default();
            validate_update(&node(new), &node("10.244.3.0/24"), &mut errors);
            errors.iter().count()
        };
        assert_eq!((count_errors("10.244.3.0/24"), count_errors("10.9.0.0/24")), (0, 1));
    }

    #[test]
    fn a_node_has_no_settings_of_a_feature_that_is_gone() {
        let with = || json!({"spec": {"configSource": {}, "unschedulable": true}, "status": {"config": {}}});
        let without = json!({"spec": {"unschedulable": true}, "status": {}});
        let mut made = with();
        (kind().prepare)(&mut made);
        assert_eq!(made, without);
        let mut changed = with();
        (kind().prepare_update)(&mut changed, &without);
        assert_eq!(changed, without);
        (kind().prepare_update)(&mut made, &with());
        assert_eq!(made, without, "nothing is added");
    }

    #[test]
    fn a_status_of_a_node_is_filled_in_and_has_no_settings() {
        let mut new = json!({"status": {"capacity": {"cpu": "4"}, "config": {}}});
        (kind().prepare_status_update)(&mut new, &json!({}), "status");
        assert_eq!(new, json!({"status": {"capacity": {"cpu": "4"}, "allocatable": {"cpu": "4"}}}));
        let own = json!({"status": {"capacity": {"cpu": "4"}, "allocatable": {"cpu": "3"}}});
        let mut new = own.clone();
        (kind().prepare_status_update)(&mut new, &own, "status");
        assert_eq!(new, own);
    }

    #[test]
    fn the_old_identity_of_a_node_stays() {
        let errors_of = |old: &str, new: &str| {
            let node = |id: &str| json!({"spec": {"externalID": id}});
            let mut errors = Errors::default();
            validate_update(&node(new), &node(old), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(errors_of("x", "x"), [""; 0]);
        assert_eq!(errors_of("x", "y"), ["spec.externalID: Forbidden: may not be updated"]);
    }

    #[test]
    fn one_range_and_the_list_go_together() {
        let (a, b, six) = ("10.244.3.0/24", "10.9.0.0/24", "fd00::/64");
        for (spec, one, list) in [
            (json!({"podCIDR": a}), json!(a), json!([a])),
            (json!({"podCIDRs": [a, six]}), json!(a), json!([a, six])),
            (json!({"podCIDR": a, "podCIDRs": [a, six]}), json!(a), json!([a, six])),
            (json!({"podCIDR": b, "podCIDRs": [a, six]}), json!(b), json!([b])),
            (json!({}), Value::Null, Value::Null),
        ] {
            let mut node = json!({ "spec": spec });
            defaults(&mut node);
            assert_eq!((at(&node, "spec.podCIDR"), at(&node, RANGES)), (&one, &list), "{spec}");
        }
    }

    #[test]
    fn what_a_node_has_is_whole_and_not_negative() {
        let errors_of = |status: Value| {
            let node = json!({ "status": status });
            let mut errors = Errors::default();
            status_update(&node, &Value::Null, &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let good = json!({"cpu": "1500m", "memory": "1Gi", "pods": "110", "example.com/dongle": "2"});
        assert_eq!(errors_of(json!({"capacity": good, "allocatable": good})), [""; 0]);
        for (amounts, want) in [
            (
                json!({"example.com/dongle": "1500m"}),
                "example.com/dongle: Invalid value: \"1500m\": must be an integer",
            ),
            (json!({"pods": "1500m"}), "pods: Invalid value: \"1500m\": must be an integer"),
            (json!({"cpu": "-1"}), "cpu: Invalid value: \"-1\": must be greater than or equal to 0"),
        ] {
            assert_eq!(errors_of(json!({ "capacity": amounts })), [format!("status.capacity.{want}")]);
            let made = problems(validate, json!({"status": {"allocatable": amounts}}));
            assert_eq!(made, [format!("status.allocatable.{want}")]);
        }
        let address = json!({"type": "InternalIP", "address": "10.0.0.1"});
        let other = json!({"type": "ExternalIP", "address": "10.0.0.1"});
        assert_eq!(errors_of(json!({"addresses": [address, other]})), [""; 0]);
        let twice = errors_of(json!({"addresses": [address, other, address]}));
        assert!(
            twice.len() == 1 && twice[0].starts_with("status.addresses[2]: Duplicate value"),
            "{twice:?}"
        );
    }

    #[test]
    fn a_new_node_has_swap_or_says_nothing_of_it() {
        let of = |swap: Value| {
            let node = json!({"status": {"nodeInfo": {"swap": swap}}});
            crate::validate::fields::problems(kind().validate_create, node)
        };
        for good in [Value::Null, json!({}), json!({"capacity": 1})] {
            assert_eq!(of(good.clone()), [""; 0], "{good}");
        }
        let why = "metadata.nodeSwapStatus.capacity: Invalid value: -5: must be greater than zero";
        assert_eq!(of(json!({"capacity": -5})), [why]);
    }

    #[test]
    fn a_node_has_one_taint_of_a_key_and_an_effect() {
        let taint = |key: &str, effect: &str| json!({"key": key, "value": "v", "effect": effect});
        let errors_of = |taints: &[Value]| problems(validate, json!({"spec": {"taints": taints}}));
        let good = [taint("a", "NoSchedule"), taint("a", "NoExecute"), taint("b", "NoSchedule")];
        assert_eq!(errors_of(&good), [""; 0]);
        let shown = "{\"Key\":\"a\",\"Value\":\"v\",\"Effect\":\"NoExecute\",\"TimeAdded\":null}";
        let why = "taints must be unique by key and effect pair";
        assert_eq!(
            errors_of(&[taint("a", "NoExecute"), taint("a", "NoExecute")]),
            [format!("metadata.taints[1]: Duplicate value: {shown}: {why}")]
        );
        assert_eq!(
            errors_of(&[taint("a", ""), taint("b", "x")]),
            [
                "metadata.taints[0].effect: Required value",
                "metadata.taints[1].effect: Unsupported value: \"x\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ]
        );
    }

    #[test]
    fn the_ranges_of_a_node_are_networks() {
        let errors_of = |ranges: Value| {
            problems(validate, json!({"spec": {"podCIDRs": ranges}}))
                .iter()
                .map(|problem| problem.split(": ").next().unwrap_or_default().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(errors_of(json!(["10.9.0.0/24", "fd00::/64"])), [""; 0]);
        assert_eq!(errors_of(json!(["banana"])), ["spec.podCIDRs[0]"]);
        assert_eq!(errors_of(json!(["10.9.0.0/24", "10.9.1.0/24"])), ["spec.podCIDRs"]);
    }
}
