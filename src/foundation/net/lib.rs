//! # Networks of nodes and pods, and the kernel's service rules
//!
//! ## In Kubernetes
//! A CNI plug-in gives every pod an address that all nodes can reach; kube-proxy writes rules so
//! that a connection to a Service's address ends at one of its pods.
//! ## How this one works
//! ```text
//! fabric namespace: bridge 172.30.0.1/24; routes 10.244.N.0/24 via 172.30.0.(10+N)
//!   nN --veth-- eth0 in node namespace N: 172.30.0.(10+N)/24
//!                 p… --veth-- eth0 in a pod's namespace: 10.244.N.x/32,
//!                             default route via 169.254.1.1
//!
//! let fabric = Fabric::new().await?;                 // in main, rootless too
//! // A node: 172.30.0.11, pods in 10.244.1.0/24.
//! let node: Arc<dyn NodeNetwork> = fabric.node(1, "ropewalk-control-plane").await?;
//! let host: Arc<dyn HostNetwork> = fabric.host();    // listeners on 127.0.0.1 and ::1
//! fabric.dial(address).await?;
//! fabric.lose(1, 2, 100.0).await?;
//! fabric.slow(1, delay).await?;
//! fabric.heal().await?;
//! ```
//! Nothing has a name on the host: namespaces are descriptors, and everything in them goes with the
//! last one. Neighbours are permanent on both ends of every wire, so no packet waits for ARP and
//! 169.254.1.1 need not exist. A node answers for the addresses of its range that no pod has:
//! unreachable. [`plan`] decides, purely, which services' rules change; [`rules`] writes them as
//! one nftables transaction by netlink. A change of one service leaves the affinity of its other
//! clients, and every established connection, alone. [`host`] leads ports of the learner's own
//! loopback into the fabric; a TCP connection there outlives its port, too. Services know three
//! kinds of clients: pods (prerouting), the node itself (output) and, through NodePorts, the fabric
//! (masqueraded, so that answers come back the same way). What goes to an external address is
//! masqueraded for all clients, unless `externalTrafficPolicy: Local` keeps their addresses.
//!
//! The folder `golden` shows what a change of rules writes, as scripts to read.
//! ## Left out
//! IPv6 for pods and services; a way out into the Internet; NetworkPolicy. An address of the
//! service range that no Service has is refused at once, where upstream drops the packet: the rules
//! do not tell allocated addresses from others, so a client of a Service that was deleted sees
//! "connection refused" and not a timeout. So does one that connects while an ordinary user's table
//! of more than 416 KiB is written anew, in portions. UDP flows of a Service that is deleted, or
//! that loses its last endpoint, are forgotten; upstream (since 1.32) leaves them as they are, and
//! the pod that they led to goes on answering them while it runs.
//!
//! A connection to a port of the loopback is accepted before a node is asked, and where one node
//! refuses or is silent the next one is tried. So a client of endpoints that refuse sees its
//! connection reset and not refused (a UDP client sees no answer), and meets an endpoint that
//! refuses, among others that do not, more rarely than at a node's own port.
//! ## Read next
//! [`fabric`], [`node`], [`rules`]; then `proxy`, which decides what the rules should be.

#![warn(missing_docs)]

pub mod addresses;
mod conntrack;
mod fabric;
#[cfg(test)]
mod golden;
mod host;
mod ipam;
mod link;
mod loss;
mod namespace;
mod nft;
mod node;
mod plan;
pub mod probe;
mod refused;
mod rules;

pub use fabric::Fabric;
pub use namespace::Namespace;
