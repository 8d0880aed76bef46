//! `net show`: what the kernels of the nodes have for connections to Services.

use crate::error::chain;
use crate::world::World;
use cni::Installed;
use cri::{Sandbox, SandboxState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The answer to [`Ask::Network`](super::Ask::Network).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Network {
    /// What each node's kernel has, by the node's name. A node that is switched off still
    /// has the rules that its kube-proxy wrote last.
    pub nodes: BTreeMap<String, Vec<Installed>>,
    /// Whose addresses these are: `namespace/name` of pods that have one of their own.
    pub pods: BTreeMap<Ipv4Addr, String>,
    /// Why a node's rules or pods are not known, by the node's name: its kernel or its runtime
    /// refused the question.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, String>,
}

/// Asks the kernels, one node after the other. No API server is asked: this works when none runs.
pub(super) async fn read(world: &World) -> Network {
    let mut network = Network::default();
    let nodes: Vec<_> = world.nodes.lock().values().cloned().collect();
    for node in nodes {
        let name = &node.spec.name;
        network.add_rules(name, node.network.installed().await);
        network.add_pods(name, node.network.node_ip(), node.cri.list_pod_sandboxes().await);
    }
    network
}

impl Network {
    fn add_rules(&mut self, node: &str, read: cni::Result<Vec<Installed>>) {
        match read {
            Ok(rules) => drop(self.nodes.insert(node.into(), rules)),
            Err(error) => self.note_failure(node, &error),
        }
    }

    /// Adds the addresses of a node's pods. A pod with the node's own address has none.
    fn add_pods(&mut self, node: &str, node_ip: Ipv4Addr, read: cri::Result<Vec<Sandbox>>) {
        match read {
            Ok(sandboxes) => {
                let ready = sandboxes.into_iter().filter(|sandbox| sandbox.state == SandboxState::Ready);
                let owned = ready.filter_map(|sandbox| {
                    let ip = sandbox.ip.filter(|ip| *ip != node_ip)?;
                    Some((ip, format!("{}/{}", sandbox.pod.namespace, sandbox.pod.name)))
                });
                self.pods.extend(owned);
            }
            Err(error) => self.note_failure(node, &error),
        }
    }

    /// Keeps the first reason of each node.
    fn note_failure(&mut self, node: &str, error: &dyn std::error::Error) {
        self.failed.entry(node.into()).or_insert_with(|| chain(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cri::PodId;

    #[test]
    fn a_node_whose_kernel_refuses_hides_no_other_one() {
        let mut network = Network::default();
        let node_ip = Ipv4Addr::new(172, 30, 0, 11);
        let sandbox = |name: &str, ip: Ipv4Addr| Sandbox {
            id: name.into(),
            pod: PodId { namespace: "default".into(), name: name.into(), uid: name.into() },
            attempt: 0,
            state: SandboxState::Ready,
            created_at: clock::now(),
            ip: Some(ip),
        };
        let web = Ipv4Addr::new(10, 244, 1, 5);
        let cause = std::io::Error::from_raw_os_error(nix::libc::EPERM);
        network.add_rules("a", Err(cni::Error::Kernel { what: "cannot list the table".into(), cause }));
        network.add_pods("a", node_ip, Ok(vec![sandbox("web", web), sandbox("proxy", node_ip)]));
        network.add_rules("b", Ok(vec![]));
        network.add_pods("b", node_ip, Err(cri::Error::NotFound("sandbox x".into())));
        assert_eq!(network.pods, [(web, "default/web".to_string())].into());
        assert_eq!(network.nodes.keys().collect::<Vec<_>>(), ["b"]);
        assert!(network.failed["a"].starts_with("cannot list the table: "), "{network:?}");
        assert_eq!(network.failed["b"], "sandbox x not found");
    }
}
