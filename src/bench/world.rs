//! Two nodes without a cluster: their networks and runtimes, as the kernel gives them.

use ::runtime::NodeRuntime;
use anyhow::{Context, bail};
use cni::{HostNetwork, NodeNetwork};
use cri::{ContainerConfig, ContainerState, PodId, Runtime, SandboxConfig};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// A node: what a kubelet would find there.
pub(crate) struct Node {
    pub network: Arc<dyn NodeNetwork>,
    pub runtime: Arc<NodeRuntime>,
}

/// Two nodes, in the process that measures on them.
pub(crate) struct World {
    pub nodes: [Node; 2],
    /// The machine's own network, outside of the nodes.
    pub host: Arc<dyn HostNetwork>,
    /// The part's directory.
    pub dir: PathBuf,
    /// `--runs`; `None`: each measurement's usual number.
    pub runs: Option<usize>,
}

/// A pod of a [`World`].
pub(crate) struct Sandbox {
    pub id: String,
    pub ip: Ipv4Addr,
}

impl World {
    /// Makes a pod's sandbox on a node, with a network of its own.
    pub(crate) async fn run_sandbox(&self, node: usize, name: &str) -> anyhow::Result<Sandbox> {
        let config = SandboxConfig {
            pod: PodId { namespace: "bench".into(), name: name.into(), uid: format!("uid-{name}") },
            hostname: name.into(),
            log_directory: self.dir.join("log").join(name),
            ..SandboxConfig::default()
        };
        let sandbox = self.nodes[node].runtime.run_pod_sandbox(config).await?;
        Ok(Sandbox { id: sandbox.id, ip: sandbox.ip.context("a pod without an address")? })
    }

    /// Makes and starts a container.
    pub(crate) async fn start_container(
        &self,
        node: usize,
        sandbox: &Sandbox,
        container: ContainerConfig,
    ) -> anyhow::Result<String> {
        let runtime = &self.nodes[node].runtime;
        let id = runtime.create_container(&sandbox.id, container).await?;
        runtime.start_container(&id).await?;
        Ok(id)
    }

    /// Waits for a container's end; returns its exit code.
    pub(crate) async fn exit_code(&self, node: usize, id: &str) -> anyhow::Result<i32> {
        let runtime = &self.nodes[node].runtime;
        let mut events = runtime.events();
        loop {
            let status = runtime.container_status(id).await?;
            if status.state == ContainerState::Exited {
                return Ok(status.exit_code);
            }
            wait_for_event(&mut events).await?;
        }
    }
}

/// Waits until something happens. Events that were lost because there were too many have happened,
/// too.
///
/// # Errors
/// The runtime has ended.
async fn wait_for_event<T: Clone>(events: &mut broadcast::Receiver<T>) -> anyhow::Result<()> {
    match events.recv().await {
        Ok(_) | Err(RecvError::Lagged(_)) => Ok(()),
        Err(RecvError::Closed) => bail!("the runtime has ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_that_were_lost_end_no_measurement() {
        let (sender, mut events) = broadcast::channel(1);
        for n in 0..3 {
            sender.send(n).unwrap();
        }
        wait_for_event(&mut events).await.unwrap();
        wait_for_event(&mut events).await.unwrap();
        drop(sender);
        assert!(wait_for_event(&mut events).await.is_err());
    }
}
