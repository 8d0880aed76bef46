//! Labels of the Node that its kubelet keeps as they are.

use crate::config::Config;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;

/// Labels that a kubelet brings back to its Node when it starts. All others are the clients': an
/// administrator who took the role from a control-plane node does not get it back, and
/// NodeRestriction lets no kubelet write that label a second time. Source: `updateDefaultLabels` in
/// `pkg/kubelet/kubelet_node_status.go`.
pub(super) const DEFAULTS: [&str; 5] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// Those of [`DEFAULTS`] that say what the machine is. Pods choose their node by them, so a kubelet
/// brings them back while it runs, too. Source: `updateNode` there.
pub(super) const OF_MACHINE: [&str; 2] = ["kubernetes.io/os", "kubernetes.io/arch"];

/// Writes the labels with these names that the Node lacks, or has with another value than the
/// kubelet would register. Where it has all of them nothing is written.
///
/// ```text
/// kubectl label node n1 kubernetes.io/os-     written again at the next look, within 10 s
/// kubectl label node n1 disk-                 it stays away
/// ```
///
/// # Errors
/// As the API's.
pub(super) async fn bring_back(config: &Config, node: &Node, names: &[&str]) -> Result<(), kube::Error> {
    let has = |name: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(name));
    let own = config.labels.iter().filter(|(name, _)| names.contains(&name.as_str()));
    let lost: BTreeMap<_, _> = own.filter(|(name, value)| has(name) != Some(*value)).collect();
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
            let node = serde_json::from_value(node).unwrap();
            bring_back(&config, &node, &OF_MACHINE).await.unwrap();
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
