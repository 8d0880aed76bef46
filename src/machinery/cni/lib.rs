//! # The node's network interface
//!
//! ## In Kubernetes
//! CNI plug-ins give a pod its address when the runtime makes a sandbox; kube-proxy writes the
//! kernel's service rules.
//! ## How this one works
//! Two traits: [`NodeNetwork`] is what one node can do (pods, service rules, sockets in its
//! namespace), [`HostNetwork`] is what the learner's own loopback shows of the cluster. `net`
//! implements both with real namespaces and nftables, `fake` with memory, for tests.
//! ## Left out
//! Dual stack: pods and services have IPv4 addresses only. Ports of SCTP. Chains of plug-ins, and
//! what the usual ones do beside addresses: host ports (`portmap`) and limits of bandwidth
//! (`bandwidth`).
//! ## Read next
//! `net`, then `proxy`, which decides the rules.

#![warn(missing_docs)]

use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

#[cfg(any(test, feature = "testing"))]
pub mod fake;
mod installed;

pub use installed::{Does, Installed};

/// Why a call to a node's network, or to the network of this machine, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// All addresses of the node's range, e.g. `10.244.2.0/24`, are given out.
    #[error("no free pod address in {0}")]
    NoAddress(String),
    /// The port of 127.0.0.1 or ::1 cannot be opened; as a rule another program has it.
    #[error("port {port} of this machine is taken: {cause}")]
    PortTaken {
        /// The port that was asked for.
        port: u16,
        /// The kernel's answer, e.g. `Address already in use`.
        cause: std::io::Error,
    },
    /// The kernel refuses something else. The text has its answer.
    #[error("{what}: {cause}")]
    Kernel {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        cause: std::io::Error,
    },
    /// The kernel refuses nftables itself, or the first rules of a node.
    #[error("{what}: {cause}")]
    Nftables {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        cause: std::io::Error,
    },
}

impl Error {
    /// Says of a refusal by the kernel that it is one of nftables.
    pub fn of_nftables(self) -> Error {
        match self {
            Error::Kernel { what, cause } => Error::Nftables { what, cause },
            other => other,
        }
    }
}

/// What the calls of this room return.
pub type Result<T> = std::result::Result<T, Error>;

/// The transport protocol of a port. SCTP, which Kubernetes has too, is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Number 6 in an IP header.
    Tcp,
    /// Number 17 in an IP header.
    Udp,
}

/// One port of one Service, as the kernel has to treat it. Equal rules need no work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRule {
    /// `namespace/name:port`, unique.
    pub key: String,
    /// The protocol of `port`, `node_port` and all endpoints.
    pub protocol: Protocol,
    /// Cluster IP, and external and load-balancer addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// The port at `addresses`.
    pub port: u16,
    /// The port at every node's own address; `None` unless the type is NodePort or LoadBalancer.
    pub node_port: Option<u16>,
    /// Endpoints that connections to the cluster IP may use. None at all, here and in
    /// `all_endpoints`: connections are refused.
    pub endpoints: Vec<(Ipv4Addr, u16)>,
    /// `internalTrafficPolicy: Local` leaves `endpoints` those of the node; these are all, for node
    /// ports and external addresses.
    pub all_endpoints: Option<Vec<(Ipv4Addr, u16)>>,
    /// `externalTrafficPolicy: Local`: the endpoints of the node. The node port leads clients
    /// outside the cluster to these alone.
    pub local_endpoints: Option<Vec<(Ipv4Addr, u16)>>,
    /// `sessionAffinity: ClientIP`, in seconds.
    pub affinity_seconds: Option<u32>,
    /// Endpoints that end and still serve, and that no new client is led to; also those that serve
    /// and are not ready. UDP flows that lead there stay (upstream: since 1.32).
    pub draining: Vec<(Ipv4Addr, u16)>,
}

impl ServiceRule {
    /// Returns the endpoints that UDP flows may lead to: those that new clients are led to, and
    /// those that still serve.
    pub fn serving(&self) -> BTreeSet<(Ipv4Addr, u16)> {
        self.used().into_iter().chain(self.draining.iter().copied()).collect()
    }

    /// The endpoints on all nodes.
    pub fn everywhere(&self) -> &[(Ipv4Addr, u16)] {
        self.all_endpoints.as_deref().unwrap_or(&self.endpoints)
    }

    /// Returns every endpoint that the cluster IP, an external address or the node port may lead
    /// to. [`ServiceRule::everywhere`] may lack some: a `Local` policy leads to a node's last
    /// endpoint while it ends, and other clients go to the endpoints that are ready.
    pub fn used(&self) -> BTreeSet<(Ipv4Addr, u16)> {
        let local = self.local_endpoints.as_deref().unwrap_or_default();
        self.everywhere().iter().chain(&self.endpoints).chain(local).copied().collect()
    }
}

/// One node's network namespace.
#[async_trait]
pub trait NodeNetwork: Send + Sync {
    /// The node's address in the fabric, which other nodes reach.
    fn node_ip(&self) -> Ipv4Addr;

    /// Connects a pod's network namespace; returns its address. Idempotent for the same sandbox.
    async fn add_pod(&self, sandbox_id: &str, netns: Arc<OwnedFd>) -> Result<Ipv4Addr>;
    /// Removes the pod's wire and gives its address back. The namespace may still be held.
    /// Idempotent.
    async fn remove_pod(&self, sandbox_id: &str) -> Result<()>;

    /// Makes the kernel's service rules these; returns how many changed.
    async fn sync_services(&self, rules: &[ServiceRule]) -> Result<usize>;
    /// Reads back what the kernel has for connections to Services: also what was written before a
    /// kube-proxy ended, and what another program wrote. Rules of one Service are in the order in
    /// which a connection meets them.
    async fn installed(&self) -> Result<Vec<Installed>>;
    /// Makes the kernel forget UDP flows to endpoints that their Services no longer have; those of
    /// earlier calls that failed, too.
    async fn forget_flows(&self) -> Result<()>;

    /// A TCP connection made from the node's namespace.
    async fn dial(&self, to: SocketAddr) -> std::io::Result<tokio::net::TcpStream>;
    /// A TCP listener in the node's namespace.
    async fn listen(&self, on: SocketAddr) -> std::io::Result<tokio::net::TcpListener>;
    /// A UDP socket in the node's namespace.
    async fn bind_udp(&self, on: SocketAddr) -> std::io::Result<tokio::net::UdpSocket>;
    /// The namespace itself, for host-network pods; `None` on a fake.
    fn netns(&self) -> Option<Arc<OwnedFd>>;
}

/// A port of the learner's own loopback (127.0.0.1 and ::1) that leads into the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The port at 127.0.0.1 and ::1.
    pub port: u16,
    /// TCP connections or UDP datagrams.
    pub protocol: Protocol,
    /// Where it leads, as seen from the fabric that joins the nodes.
    pub to: Vec<SocketAddr>,
    /// Without a ready endpoint the port is reserved, but refuses connections and UDP datagrams, as
    /// a node would.
    pub ready: bool,
    /// `sessionAffinity: ClientIP`, in seconds. Localhost is one client: it stays with a node,
    /// which stays with an endpoint.
    pub affinity_seconds: Option<u32>,
}

/// The learner's own loopback: ports of 127.0.0.1 and ::1 that lead into the cluster.
#[async_trait]
pub trait HostNetwork: Send + Sync {
    /// Makes the open ports these; returns those that could not be had, with the reason.
    async fn sync_ports(&self, want: &[HostPort]) -> Vec<((u16, Protocol), Error)>;
    /// Returns whether a TCP port of the loopback is the cluster's, also one that refuses
    /// connections because nothing is ready behind it. A port that another program has is not.
    async fn has_port(&self, port: u16) -> bool;
    /// How many TCP connections each open port has taken so far.
    fn visits(&self) -> tokio::sync::watch::Receiver<BTreeMap<u16, u64>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(endpoints: &[u8]) -> ServiceRule {
        ServiceRule {
            key: "default/web:http".into(),
            protocol: Protocol::Udp,
            addresses: vec![Ipv4Addr::new(10, 96, 0, 9)],
            port: 80,
            node_port: None,
            endpoints: all(endpoints),
            all_endpoints: None,
            local_endpoints: None,
            affinity_seconds: None,
            draining: vec![],
        }
    }

    fn all(last: &[u8]) -> Vec<(Ipv4Addr, u16)> {
        last.iter().map(|last| (Ipv4Addr::new(10, 244, 1, *last), 8080)).collect()
    }

    #[test]
    fn a_rule_names_every_endpoint_that_one_of_its_ways_leads_to() {
        let set = |last: &[u8]| -> BTreeSet<(Ipv4Addr, u16)> { all(last).into_iter().collect() };
        let plain = rule(&[1, 2]);
        assert_eq!((plain.everywhere(), plain.used()), (&all(&[1, 2])[..], set(&[1, 2])));
        // Of the node's own pods one is left, which ends: only the `Local` ways still lead there.
        let local = ServiceRule {
            all_endpoints: Some(all(&[2, 3])),
            local_endpoints: Some(all(&[1])),
            draining: all(&[4]),
            ..rule(&[1])
        };
        assert_eq!((local.everywhere(), local.used()), (&all(&[2, 3])[..], set(&[1, 2, 3])));
        assert_eq!(local.serving(), set(&[1, 2, 3, 4]), "flows to a draining endpoint stay");
        assert!(rule(&[]).serving().is_empty());
    }
}
