//! Capacity and allocatable amounts of a node, and the patch that writes them. Pure.

use crate::config::Capacity;
use crate::pressure;
use api::{requests, unhonoured};
use client::Codec;
use k8s_openapi::api::core::v1::{NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::json;
use std::collections::BTreeMap;

/// Returns what the node has, and what of it pods may request. Extended resources come from an
/// administrator, who writes them to the capacity that is stored; the kubelet says that pods may
/// have all of them.
pub(super) fn amounts(
    capacity: &Capacity,
    old: Option<&NodeStatus>,
) -> (BTreeMap<String, Quantity>, BTreeMap<String, Quantity>) {
    let cpu = match capacity.cpu_milli % 1000 {
        0 => (capacity.cpu_milli / 1000).to_string(),
        _ => format!("{}m", capacity.cpu_milli),
    };
    let own = [
        ("cpu", cpu),
        ("memory", format!("{}Ki", capacity.memory_bytes / 1024)),
        ("pods", capacity.pods.to_string()),
        ("ephemeral-storage", format!("{}Ki", pressure::CAPACITY / 1024)),
    ];
    let stored = old.and_then(|s| s.capacity.clone()).into_iter().flatten();
    let mut all: BTreeMap<String, Quantity> =
        stored.filter(|(name, _)| requests::is_extended(name)).collect();
    all.extend(own.map(|(name, amount)| (name.to_string(), Quantity(amount))));
    let mut allocatable = all.clone();
    allocatable.insert("ephemeral-storage".into(), Quantity(pressure::ALLOCATABLE.to_string()));
    let memory = capacity.allocatable().memory / 1024;
    allocatable.insert("memory".into(), Quantity(format!("{memory}Ki")));
    (all, allocatable)
}

/// Returns what the one runtime can do, which has no name: a read-only mount is read-only with all
/// that is mounted below it, and if this program runs as root a pod may have users of its own.
pub(super) fn runtime_handler() -> NodeRuntimeHandler {
    let features = NodeRuntimeHandlerFeatures {
        recursive_read_only_mounts: Some(true),
        user_namespaces: Some(unhonoured::have_pods_own_users()),
    };
    NodeRuntimeHandler { features: Some(features), name: Some(String::new()) }
}

/// Returns what is to be written of a node's status, given the one that is stored. Extended
/// resources in the capacity are an administrator's: they are left out, so that none is written
/// back that was removed meanwhile. In what is allocatable those are removed that the node has no
/// more; a patch that does not name them would leave them there
/// (`pkg/kubelet/nodestatus/setters.go`).
pub(super) fn patch(old: Option<&NodeStatus>, status: &NodeStatus) -> serde_json::Value {
    let mut patch = json!({"status": status.encode().unwrap_or_default()});
    if let Some(capacity) = patch["status"]["capacity"].as_object_mut() {
        capacity.retain(|name, _| !requests::is_extended(name));
    }
    let before = extended(old.and_then(|old| old.allocatable.as_ref()));
    let now = extended(status.allocatable.as_ref());
    if let Some(allocatable) = patch["status"]["allocatable"].as_object_mut() {
        let gone = before.into_keys().filter(|name| !now.contains_key(name));
        allocatable.extend(gone.map(|name| (name.clone(), serde_json::Value::Null)));
    }
    patch
}

/// Returns whether the stored status has another amount of something that the kubelet knows, or an
/// extended resource is allocatable that the node has no more. Texts are not compared: the API
/// server stores `10485760Ki` as `10Gi`.
pub(super) fn amounts_differ(old: &NodeStatus, new: &NodeStatus) -> bool {
    let of = |all: &Option<BTreeMap<String, Quantity>>, name: &str| {
        all.as_ref().and_then(|all| api::quantity::Quantity::parse(&all.get(name)?.0))
    };
    let lists = [(&old.capacity, &new.capacity), (&old.allocatable, &new.allocatable)];
    let is_other = lists
        .into_iter()
        .any(|(old, new)| new.iter().flatten().any(|(name, _)| of(old, name) != of(new, name)));
    is_other || extended(old.allocatable.as_ref()) != extended(new.allocatable.as_ref())
}

/// Returns those of the amounts that are extended resources.
fn extended(amounts: Option<&BTreeMap<String, Quantity>>) -> BTreeMap<&String, &Quantity> {
    amounts.into_iter().flatten().filter(|(name, _)| requests::is_extended(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::status;

    /// As on Kubernetes' page about them: an administrator patches the capacity of the Node's
    /// status.
    #[test]
    fn extended_resources_that_a_client_wrote_to_the_node_can_be_requested() {
        let gib = 1 << 30;
        let capacity = Capacity { cpu_milli: 1500, memory_bytes: gib, pods_memory_bytes: gib, pods: 9 };
        let stored = json!({"capacity": {"example.com/dongle": "4", "cpu": "64", "hugepages-2Mi": "1Gi"}});
        let stored: NodeStatus = serde_json::from_value(stored).unwrap();
        let (has, gives) = amounts(&capacity, Some(&stored));
        for amounts in [&has, &gives] {
            assert_eq!(amounts["example.com/dongle"].0, "4");
            assert_eq!(amounts["cpu"].0, "1500m", "what it knows itself it says itself");
            assert!(!amounts.contains_key("hugepages-2Mi"));
        }
        assert_ne!(gives["memory"], has["memory"]);
    }

    #[test]
    fn an_extended_resource_that_was_removed_is_allocatable_no_more() {
        let capacity = Capacity { cpu_milli: 1000, memory_bytes: 1, pods_memory_bytes: 1, pods: 9 };
        let stored = |capacity: serde_json::Value, allocatable: serde_json::Value| -> NodeStatus {
            serde_json::from_value(json!({"capacity": capacity, "allocatable": allocatable})).unwrap()
        };
        let with = |old: &NodeStatus| {
            let (capacity, allocatable) = amounts(&capacity, Some(old));
            NodeStatus { capacity: Some(capacity), allocatable: Some(allocatable), ..NodeStatus::default() }
        };
        let removed = stored(json!({"x/other": "1"}), json!({"example.com/dongle": "4", "x/other": "1"}));
        let fresh = with(&removed);
        assert!(status::differs(Some(&removed), &fresh), "it is written at once");
        let patch = patch(Some(&removed), &fresh);
        let allocatable = patch["status"]["allocatable"].as_object().unwrap();
        assert_eq!(allocatable.get("example.com/dongle"), Some(&json!(null)));
        assert_eq!(allocatable["x/other"], "1");
        let capacity = patch["status"]["capacity"].as_object().unwrap();
        assert!(capacity.contains_key("cpu") && !capacity.contains_key("x/other"), "{capacity:?}");
    }

    /// Otherwise each node would write its whole status every ten seconds.
    #[test]
    fn amounts_that_the_api_server_writes_in_another_way_are_no_others() {
        let memory = 8 << 30;
        let capacity = Capacity { cpu_milli: 1500, memory_bytes: memory, pods_memory_bytes: memory, pods: 9 };
        let (has, gives) = amounts(&capacity, None);
        let fresh = NodeStatus { capacity: Some(has), allocatable: Some(gives), ..NodeStatus::default() };
        let mut stored = fresh.clone();
        for all in [&mut stored.capacity, &mut stored.allocatable].into_iter().flatten() {
            for amount in all.values_mut() {
                amount.0 = api::quantity::as_stored(&amount.0).unwrap();
            }
        }
        let amount = |status: &NodeStatus, name: &str| status.capacity.as_ref().unwrap()[name].0.clone();
        assert_eq!([amount(&stored, "memory"), amount(&stored, "ephemeral-storage")], ["8Gi", "10Gi"]);
        assert!(!status::differs(Some(&stored), &fresh));
        stored.allocatable.as_mut().unwrap().insert("cpu".into(), Quantity("64".into()));
        assert!(status::differs(Some(&stored), &fresh), "a client wrote that");
    }
}
