//! The addresses of a cluster's network: the fabric's, the nodes' and the ranges of their pods.

use std::net::Ipv4Addr;

/// The fabric's own address.
pub const BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);

/// Node N's address.
pub fn node_ip(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, 10 + index)
}

/// The /24 of node N's pods: 10.244.N.0.
pub fn pods(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, index, 0)
}
