//! Labels of the Node that its kubelet keeps as they are.

use super::config::Config;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;

/// Labels that a kubelet writes again at its start into a Node that is there already. Source:
/// `updateDefaultLabels` in `pkg/kubelet/kubelet_node_status.go`.
const DEFAULTS: [&str; 5] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// Those of [`DEFAULTS`] that say what the machine is. Pods choose their node by them, so they come
/// back at once when a client removes or changes them.
const KEPT: [&str; 2] = ["kubernetes.io/os", "kubernetes.io/arch"];

/// The labels with these names that the kubelet registers its Node with.
fn own<'a>(config: &'a Config, names: &'a [&str]) -> impl Iterator<Item = (&'a String, &'a String)> {
    config.labels.iter().filter(move |(name, _)| names.contains(&name.as_str()))
}

/// Returns the labels that a kubelet which starts writes into a Node that is there already. All
/// others are the clients': an administrator who took the role from a control-plane node does not
/// get it back, and NodeRestriction lets no kubelet write that label a second time.
pub(super) fn defaults(config: &Config) -> BTreeMap<&String, &String> {
    own(config, &DEFAULTS).collect()
}

/// Writes the labels of [`KEPT`] that the Node lacks, or has with another value. Source:
/// `updateNode` in `pkg/kubelet/kubelet_node_status.go`.
///
/// ```text
/// kubectl label node n1 kubernetes.io/os-     written again at the next look, within 10 s
/// kubectl label node n1 disk-                 it stays away
/// ```
///
/// # Errors
/// As the API's.
pub(super) async fn bring_back(config: &Config, node: &Node) -> Result<(), kube::Error> {
    let has = |name: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(name));
    let lost: BTreeMap<_, _> = own(config, &KEPT).filter(|(name, value)| has(name) != Some(*value)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"metadata": {"labels": lost}}));
    let api = config.client.cluster::<Node>();
    api.patch(&config.node_name, &PatchParams::default(), &patch).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests;
    use client::testing::Scripted;
    use cri::fake::FakeRuntime;
    use rng::Rng;
    use serde_json::Value;

    #[tokio::test]
    async fn a_label_of_the_machine_that_a_client_removed_or_changed_comes_back() {
        let api = Scripted::new(|_| None).await;
        let fake = FakeRuntime::new(tests::NODE, tests::PODS, Rng::seeded(1));
        let mut config = tests::config(&api.client, &fake, "/nowhere".into());
        let own = [("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64"), ("disk", "ssd")];
        config.labels = own.map(|(name, value)| (name.to_string(), value.to_string())).into();
        let written = async |labels: Value| {
            let node = json!({"metadata": {"name": "n1", "labels": labels}});
            bring_back(&config, &serde_json::from_value(node).unwrap()).await.unwrap();
            let all = api.take().into_iter().map(|asked| (asked.line, asked.body));
            all.collect::<Vec<_>>()
        };
        let both = || json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
        assert!(written(both()).await.is_empty());
        let patched = [("PATCH /api/v1/nodes/n1".to_string(), json!({"metadata": {"labels": both()}}))];
        assert_eq!(written(json!({"kubernetes.io/os": "other"})).await, patched);
        assert_eq!(written(Value::Null).await, patched);
    }
}
