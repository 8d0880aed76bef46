//! # The kubelet: the node's agent
//!
//! ## In Kubernetes
//! One per node. It registers the node, renews its Lease, watches the pods bound to it, and makes
//! the container runtime's state follow: sandbox, images, volumes, containers; it restarts what
//! ends, reports status and serves logs and exec to the API server.
//! ## How this one works
//! [`decide`] and [`status`] are pure: from a pod and what the runtime shows to the next steps, and
//! to the status. [`pods`] is the thin edge: a work queue of pod names, fed by the informer and by
//! the runtime's events, with a worker for each pod (upstream's pod workers), so that none waits
//! for another's hook; a call of the runtime is waited for no longer than `runtimeRequestTimeout`,
//! but for a pull ([`patience`]). Time alone brings a pod back each minute if it has volumes that
//! may change, and each ten seconds if it has limits of storage. Static pods (the control plane)
//! start before there is an API server; their *mirror* objects are made when it answers. A
//! restarted kubelet lists what runs and goes on: containers belong to the node's runtime, not to
//! the kubelet. Stop it with `ropewalk fault kill kubelet/NODE` and see that pods run on.
//!
//! A container's probes are one task beside it ([`prober`]); what the answers amount to ([`probe`])
//! is one more fact for [`decide`] and [`status`]. Probes and lifecycle hooks do the same things
//! ([`action`]). A container is ended in the background, hook first, so that a long grace period
//! holds up nobody else. What containers say is kept in files of bounded size and number
//! ([`cri::LogLimits`]); [`logs`] reads them, also while they are moved aside. What containers use
//! is reported on `/stats/summary` and `/metrics/resource` ([`stats`]).
//!
//! What an object or a pod names is never opened by its path: [`volumes`], [`files`] and
//! [`termination`] resolve it beneath a directory of their own ([`linux::beneath`]). A pod that
//! uses more of the disk than its `sizeLimit` or `ephemeral-storage` allows is evicted
//! ([`eviction`]). Pods without limits are evicted when they fill the node's memory, its share of
//! the disk, or the machine's disk ([`pressure`]). A pod that requests more than the node has left
//! is rejected ([`admission`]), also one that asks for other nodes or does not tolerate this one
//! ([`node_match`]), and one with more volumes, mounts or containers than the machine can take
//! ([`bounds`]).
//! ## Left out
//! `targetContainerName` of ephemeral containers (they share what the pod shares), soft eviction
//! thresholds, in-place resize: they come with later lessons. `fsGroup` of an emptyDir or a
//! persistent volume, and `dnsPolicy: Default` (nodes have no resolver): the API warns of them. For
//! an extended resource that a critical pod lacks no other pod is preempted. Secrets and tokens lie
//! on the node's disk, not in memory: every tmpfs counts for the whole machine (`fs.mount-max`).
//! Writable layers do not count as ephemeral storage. Process ids are not watched: `PIDPressure` is
//! always false. A Node that a client deleted is registered again within ten seconds, where
//! upstream's kubelet does that only after its own restart. `hostPath` shows a file system of the
//! node's own, not the machine's; of its files only `/etc/hosts` is there before a pod makes
//! others.
//! ## Read next
//! `cri`, what it asks the runtime for; `proxy`, its neighbour on every node.

mod action;
mod admission;
mod bounds;
mod container;
mod decide;
mod dns;
mod env;
mod ephemeral;
mod eviction;
mod files;
mod kept;
mod logs;
mod mirror;
mod node;
mod node_amounts;
mod node_files;
mod node_match;
mod oom;
mod patience;
mod pods;
pub mod pressure;
mod probe;
mod prober;
mod rounds;
mod server;
#[cfg(test)]
mod sim;
mod stats;
mod status;
mod termination;
mod volumes;
mod walk;

use api::requests::Amount;
use client::Client;
use cni::NodeNetwork;
use cri::Runtime;
use k8s_openapi::api::core::v1::{Pod, Taint};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use tap::Tap;
use task::Crew;

/// The port of the kubelet's own server, as everywhere.
pub const PORT: u16 = 10250;

/// Why the work on a pod failed. The pod worker tries again after a pause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Runtime(#[from] cri::Error),
    /// A volume could not be made. The kubelet writes an Event and tries again.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {why}")]
    Volume { volume: String, why: String },
    /// A container could not be started. The kubelet writes an Event and tries again.
    #[error("container {container}: {why}")]
    Container { container: String, why: String },
    /// A pod of the API has the name of a static pod.
    #[error(
        "pod {0} of the API is no mirror of this node's static pod; delete it, and the static pod is shown"
    )]
    NotMirror(String),
    #[error("cannot use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

impl Error {
    /// Returns the error with its causes on one line, for Events and the log.
    fn line(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |e| e.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }
}

/// What a node has to give.
#[derive(Clone, Debug)]
pub struct Capacity {
    pub cpu_milli: u64,
    pub memory_bytes: u64,
    /// What of it all pods together may use.
    pub pods_memory_bytes: u64,
    pub pods: u32,
}

impl Capacity {
    /// What pods may request together, as the Node object says it: of memory what the control group
    /// of all pods may use (the rest is reserved for the system), without what has to stay free
    /// ([`pressure::memory_reserve`]).
    fn allocatable(&self) -> Amount {
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

/// What a kubelet needs to know of its node, and what it works with: API server, runtime, network.
pub struct Config {
    pub node_name: String,
    pub node_ip: Ipv4Addr,
    /// e.g. `10.244.1.0/24`.
    pub pod_cidr: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub capacity: Capacity,
    pub client: Client,
    pub runtime: Arc<dyn Runtime>,
    pub network: Arc<dyn NodeNetwork>,
    /// `data/<node>`.
    pub dir: PathBuf,
    /// The machine, whose memory and disk the nodes of a cluster share.
    pub machine: Arc<pressure::Machine>,
    /// What is kept of each container's output.
    pub logs: cri::LogLimits,
    pub cluster_dns: Ipv4Addr,
    /// e.g. `cluster.local`.
    pub cluster_domain: String,
    /// Pods that run without being asked for through the API.
    pub static_pods: Vec<Pod>,
    /// TLS of the kubelet's server; `None`: no server (simulated nodes).
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Is the process of the whole cluster counted as this node's use? So of one node only.
    pub hosts_cluster: bool,
    /// e.g. `v1.35.0+ropewalk`.
    pub version: String,
    pub tap: Tap,
}

impl Config {
    /// The node's own file system, as pods with `hostPath` see it.
    fn node_root(&self) -> std::path::PathBuf {
        self.dir.join("host")
    }

    /// `User-Agent` of what a kubelet asks containers, e.g. `kube-probe/1.35`.
    fn agent(&self, prefix: &str) -> String {
        let mut parts = self.version.trim_start_matches('v').split('.');
        format!("{prefix}/{}.{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }
}

/// Runs a kubelet until the crew ends.
pub fn start(crew: &Crew, mut config: Config) {
    config.runtime = Arc::new(patience::Patient(config.runtime));
    let config = Arc::new(config);
    let hosts = node_files::lay_out(&config.node_root(), &config.node_name, &config.node_ip.to_string());
    if let Err(error) = hosts {
        tracing::warn!(error = error.line(), "the node has no /etc/hosts for hostPath volumes");
    }
    let (pressures, pressed) = tokio::sync::watch::channel(pressure::Pressures::default());
    node::start(crew, &config, pressed);
    let kubelet = pods::start(crew, &config, pressures);
    if config.tls.is_some() {
        let meter = stats::Meter::start(crew, &config);
        server::start(crew, &config, kubelet, meter);
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
