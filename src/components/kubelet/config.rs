//! The configuration of a kubelet: its node, and the capacity of that.

use crate::pressure;
use api::requests::Amount;
use client::Client;
use cni::NodeNetwork;
use cri::Runtime;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Taint};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use tap::Tap;

/// The port of the kubelet's own server, as everywhere.
pub(crate) const PORT: u16 = 10250;

/// The capacity of a node: `status.capacity` of its Node, and what its pods get of it.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Thousandths of a processor: 2000 is `cpu: 2`.
    pub cpu_milli: u64,
    /// Memory of the whole node, in bytes.
    pub memory_bytes: u64,
    /// Memory that all pods together may use, in bytes; more than `memory_bytes` counts as that.
    pub pods_memory_bytes: u64,
    /// Pods that run at a time, at most.
    pub pods: u32,
}

impl Capacity {
    /// Returns what pods may request together, as the Node object says it: of memory what the
    /// control group of all pods may use (the rest is reserved for the system), without what has to
    /// stay free ([`pressure::memory_reserve`]).
    pub(crate) fn allocatable(&self) -> Amount {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let memory = self.pods_memory_bytes.min(self.memory_bytes);
        Amount {
            pods: i64::from(self.pods),
            cpu: count(self.cpu_milli),
            memory: count((memory - pressure::memory_reserve(memory)) / 1024 * 1024),
            storage: count(pressure::ALLOCATABLE),
        }
    }
}

/// The configuration of a kubelet: its node, and its API server, runtime and network.
pub struct Config {
    /// The name of the Node object that the kubelet registers.
    pub node_name: String,
    /// The node's `InternalIP`; the kubelet's server listens on it.
    pub node_ip: Ipv4Addr,
    /// The node's range of pod addresses, e.g. `10.244.1.0/24`.
    pub pod_cidr: String,
    /// Labels of the Node object.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Node object.
    pub annotations: BTreeMap<String, String>,
    /// Taints that the Node object is registered with.
    pub taints: Vec<Taint>,
    /// The capacity that the Node object reports, and the bounds of admission and eviction.
    pub capacity: Capacity,
    /// Authenticates as `system:node:NAME`.
    pub client: Client,
    /// Runs containers and pulls images.
    pub runtime: Arc<dyn Runtime>,
    /// Gives pods their addresses.
    pub network: Arc<dyn NodeNetwork>,
    /// The node's directory, `data/<node>`.
    pub dir: PathBuf,
    /// The machine, whose memory and disk the nodes of a cluster share.
    pub machine: Arc<pressure::Machine>,
    /// Bounds on what is kept of each container's output.
    pub logs: cri::LogLimits,
    /// The address of the Service `kube-dns`, for the pods' `/etc/resolv.conf`.
    pub cluster_dns: Ipv4Addr,
    /// The domain of Services, e.g. `cluster.local`.
    pub cluster_domain: String,
    /// Pods that run without being asked for through the API.
    pub static_pods: Vec<Pod>,
    /// TLS of the kubelet's server, and the judge of its clients; `None`: no server (simulated
    /// nodes).
    pub tls: Option<(Arc<rustls::ServerConfig>, pki::Clients)>,
    /// Is the process of the whole cluster counted as this node's use? So of one node only.
    pub hosts_cluster: bool,
    /// The version that the Node reports, e.g. `v1.35.0+ropewalk`.
    pub version: String,
    /// Takes the records of what the kubelet does.
    pub tap: Tap,
}

impl Config {
    /// Returns the node's own file system, as pods with `hostPath` see it.
    pub(crate) fn node_root(&self) -> PathBuf {
        self.dir.join("host")
    }

    /// Returns a reference to the node, for Events about it.
    pub(crate) fn about_node(&self) -> ObjectReference {
        let name = Some(self.node_name.clone());
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            uid: name.clone(), // as upstream's kubelet
            name,
            ..ObjectReference::default()
        }
    }

    /// Returns the `User-Agent` of requests to containers, e.g. `kube-probe/1.35`.
    pub(crate) fn agent(&self, prefix: &str) -> String {
        let mut parts = self.version.trim_start_matches('v').split('.');
        format!("{prefix}/{}.{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_may_request_what_their_group_has_without_the_eviction_threshold() {
        let of = |memory_bytes: u64, pods_memory_bytes: u64| {
            Capacity { cpu_milli: 2000, memory_bytes, pods_memory_bytes, pods: 110 }.allocatable().memory
                >> 20
        };
        assert_eq!(of(8 << 30, 7 << 30), (7 << 10) - 100);
        assert_eq!(of(1 << 30, u64::MAX), (1 << 10) - 100, "no group has more than the machine");
        assert_eq!(of(512 << 20, 100 << 20), 90);
    }
}
