//! A network from which addresses are given out.

use api::cidr;
use ipnet::{IpNet, Ipv4Net};
use std::net::Ipv4Addr;

/// The addresses of Services, or of a node's pods.
#[derive(Clone, Copy, Debug)]
pub struct Cidr(Ipv4Net);

impl Cidr {
    /// `None` for what is no IPv4 network of four addresses or more.
    pub fn parse(text: &str) -> Option<Cidr> {
        match cidr::parse(text)? {
            IpNet::V4(net) if net.prefix_len() <= 30 => Some(Cidr(net.trunc())),
            _ => None,
        }
    }
    /// Returns how many addresses it has.
    pub(crate) fn size(&self) -> u32 {
        1u32.checked_shl(32 - u32::from(self.0.prefix_len())).unwrap_or(u32::MAX)
    }
    /// Returns the `n`th address; the first is 0.
    pub fn nth(&self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.0.network().to_bits().wrapping_add(n))
    }
    /// True if the address is in this network.
    pub(crate) fn contains(&self, ip: Ipv4Addr) -> bool {
        self.0.contains(&ip)
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_knows_its_addresses() {
        let cidr = Cidr::parse("10.96.0.0/12").unwrap();
        assert_eq!(cidr.nth(1).to_string(), "10.96.0.1");
        assert_eq!(cidr.size(), 1 << 20);
        assert!(cidr.contains("10.111.255.255".parse().unwrap()));
        assert!(!cidr.contains("10.112.0.0".parse().unwrap()));
        assert!(Cidr::parse("10.96.0.0").is_none());
    }
}
