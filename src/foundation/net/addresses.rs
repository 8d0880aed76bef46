//! The addresses of a cluster's network: the fabric's, the nodes' and the ranges of their pods.

use std::net::{IpAddr, Ipv4Addr};

/// The fabric's own address.
pub const BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);

/// Node N's address.
pub fn node_ip(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, 10 + index)
}

/// The /24 of node N's pods: 10.244.N.0.
pub(crate) fn pods(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, index, 0)
}

/// Returns whether an address is a node's or a pod's. The fabric's own is neither: the balancer
/// calls with it, and says for whom.
pub fn is_inside(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => match ip.octets() {
            [172, 30, 0, host] => host > 10,
            [10, 244, ..] => true,
            _ => false,
        },
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_pods_are_inside_and_the_balancer_and_the_host_are_not() {
        for (ip, want) in [
            (node_ip(1), true),
            (Ipv4Addr::new(10, 244, 1, 2), true),
            (BRIDGE, false),
            (Ipv4Addr::LOCALHOST, false),
            (Ipv4Addr::new(172, 30, 1, 11), false),
            (Ipv4Addr::new(10, 245, 1, 2), false),
        ] {
            assert_eq!(is_inside(ip.into()), want, "{ip}");
            assert_eq!(is_inside(ip.to_ipv6_mapped().into()), want, "{ip} over IPv6");
        }
        assert!(!is_inside(std::net::Ipv6Addr::LOCALHOST.into()));
    }
}
