//! `net show`: what the kernels of the nodes have for connections to Services.

use super::error::Error;
use super::world::World;
use cni::Installed;
use cri::SandboxState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The answer to [`Ask::Network`](super::control::Ask::Network).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Network {
    /// What each node's kernel has, by the node's name. A node that is switched off still
    /// has the rules that its kube-proxy wrote last.
    pub nodes: BTreeMap<String, Vec<Installed>>,
    /// Whose addresses these are: `namespace/name` of pods that have one of their own.
    pub pods: BTreeMap<Ipv4Addr, String>,
}

/// Asks the kernels, one node after the other. No API server is asked: this works when none runs.
///
/// # Errors
/// A kernel refuses the question, or a runtime does not answer.
pub(super) async fn read(world: &World) -> Result<Network, Error> {
    let mut network = Network::default();
    let nodes: Vec<_> = world.nodes.lock().values().cloned().collect();
    for node in nodes {
        network.nodes.insert(node.spec.name.clone(), node.network.installed().await?);
        for sandbox in node.cri.list_pod_sandboxes().await? {
            let own = sandbox.ip.filter(|ip| *ip != node.network.node_ip());
            if let Some(ip) = own.filter(|_| sandbox.state == SandboxState::Ready) {
                network.pods.insert(ip, format!("{}/{}", sandbox.pod.namespace, sandbox.pod.name));
            }
        }
    }
    Ok(network)
}
