//! Sandboxes: what a pod's containers share.

use super::log_limits::LogLimits;
use clock::Timestamp;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Which pod a sandbox is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodId {
    /// `metadata.namespace` of the pod.
    pub namespace: String,
    /// `metadata.name` of the pod.
    pub name: String,
    /// `metadata.uid` of the pod. A pod of the same name that is made later has another one.
    pub uid: String,
}

/// `/etc/resolv.conf` of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Addresses, one `nameserver` line each; resolvers use the first three.
    pub servers: Vec<String>,
    /// Domains that are tried after a short name, e.g. `default.svc.cluster.local`.
    pub searches: Vec<String>,
    /// Words of the line `options`, e.g. `ndots:5`.
    pub options: Vec<String>,
}

/// How a pod's sandbox is to be made: its names, network, and the limits of all its containers
/// together (`PodSandboxConfig` in CRI).
#[derive(Clone, Debug, Default)]
pub struct SandboxConfig {
    /// The pod that it is for.
    pub pod: PodId,
    /// How often a sandbox was made for this pod before.
    pub attempt: u32,
    /// Its short name: the pod's, unless `spec.hostname` or `spec.hostnameOverride` is set.
    pub hostname: String,
    /// The name that the cluster's DNS knows it by, if its pod asks for one (`spec.subdomain`):
    /// `web-0.db.default.svc.cluster.local`.
    pub fqdn: Option<String>,
    /// `hostname` prints [`SandboxConfig::fqdn`], if there is one (`setHostnameAsFQDN`).
    pub fqdn_as_hostname: bool,
    /// Containers' log paths are relative to this directory.
    pub log_directory: PathBuf,
    /// How much of each container's log is kept.
    pub logs: LogLimits,
    /// What its containers find in `/etc/resolv.conf`.
    pub dns: Dns,
    /// Further lines of `/etc/hosts`: address, then names.
    pub host_aliases: Vec<(String, Vec<String>)>,
    /// Uses the node's network namespace instead of one of its own.
    pub host_network: bool,
    /// Settings of its own network namespace, as paths below `/proc/sys`, and their values.
    pub sysctls: Vec<(String, String)>,
    /// All containers see each other's processes (`shareProcessNamespace`).
    pub share_process_namespace: bool,
    /// Its users are others than the node's (`hostUsers: false`).
    pub own_users: bool,
    /// `cpu.shares` of all its containers together, as of [`Resources`](crate::Resources); 0 is
    /// the kernel's default.
    pub cpu_shares: u64,
    /// CPU limit of all its containers together, in millicores.
    pub cpu_limit_milli: Option<u64>,
    /// Memory limit of all its containers together, in bytes. What a container leaves in a volume
    /// in memory counts here when it has ended, too.
    pub memory_limit: Option<u64>,
    /// Processes and threads of all its containers together. `None`: what the runtime gives without
    /// asking.
    pub pids_limit: Option<u64>,
}

impl SandboxConfig {
    /// Its names, the longest first.
    pub fn names(&self) -> Vec<&str> {
        self.fqdn.as_deref().into_iter().chain([self.hostname.as_str()]).collect()
    }

    /// What `hostname` prints in its containers.
    pub fn kernel_hostname(&self) -> &str {
        self.fqdn.as_deref().filter(|_| self.fqdn_as_hostname).unwrap_or(&self.hostname)
    }
}

/// Whether containers can be started in a sandbox. While it is being stopped it keeps its state and
/// takes no container: a kubelet stops those that it finds ready, so an interrupted stop is made up
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxState {
    /// Its first process runs: containers can be started in it.
    Ready,
    /// It was stopped, or its first process has ended.
    NotReady,
}

/// A sandbox as the runtime lists it (`PodSandbox` in CRI).
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Made by the runtime, unique on its node.
    pub id: String,
    /// The pod that it is for.
    pub pod: PodId,
    /// How often a sandbox was made for this pod before.
    pub attempt: u32,
    /// Whether containers can be started in it.
    pub state: SandboxState,
    /// When its control group and its first process had been made, before its network was.
    pub created_at: Timestamp,
    /// Pod address; the node's own with `host_network`.
    pub ip: Option<Ipv4Addr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostname_prints_the_long_name_only_if_the_pod_asks_for_that() {
        let short = SandboxConfig { hostname: "web-0".into(), ..SandboxConfig::default() };
        let asks = SandboxConfig { fqdn_as_hostname: true, ..short.clone() };
        assert_eq!((asks.names(), asks.kernel_hostname()), (vec!["web-0"], "web-0"), "it has no long name");
        let fqdn = "web-0.db.default.svc.cluster.local";
        for (config, printed) in [(short, "web-0"), (asks, fqdn)] {
            let config = SandboxConfig { fqdn: Some(fqdn.into()), ..config };
            assert_eq!((config.names(), config.kernel_hostname()), (vec![fqdn, "web-0"], printed));
        }
    }
}
