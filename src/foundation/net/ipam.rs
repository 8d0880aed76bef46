//! Addresses of one node's pods.

use super::addresses;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// `10.244.N.0/24`: .0 and .255 are no addresses, .1 is what other networks use for the gateway.
#[derive(Debug)]
pub(crate) struct Ipam {
    node: u8,
    last: u8,
    taken: BTreeMap<String, u8>,
}

impl Ipam {
    pub(crate) fn new(node: u8) -> Ipam {
        Ipam { node, last: 1, taken: BTreeMap::new() }
    }

    pub(crate) fn cidr(&self) -> String {
        format!("{}/24", addresses::pods(self.node))
    }

    /// Takes an address for a sandbox, and returns the one that it has if it has one. Walks around
    /// the range, so an address that was given back is used again as late as possible: connections
    /// to its last owner die out first. `None` if all are taken.
    ///
    /// Node 1: the first pods get 10.244.1.2, .3 and .4. The pod with .3 ends; the next one gets
    /// .5, and .3 is used again after .254.
    pub(crate) fn take(&mut self, sandbox: &str) -> Option<Ipv4Addr> {
        if let Some(host) = self.taken.get(sandbox) {
            return Some(self.address(*host));
        }
        let after = (self.last + 1..=254).chain(2..=self.last);
        let host = after.into_iter().find(|host| *host >= 2 && !self.taken.values().any(|t| t == host))?;
        self.last = host;
        self.taken.insert(sandbox.to_string(), host);
        Some(self.address(host))
    }

    pub(crate) fn has(&self, sandbox: &str) -> bool {
        self.taken.contains_key(sandbox)
    }

    pub(crate) fn give_back(&mut self, sandbox: &str) {
        self.taken.remove(sandbox);
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(addresses::pods(self.node)) + u32::from(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_rests_before_it_is_used_again() {
        let mut ipam = Ipam::new(3);
        assert_eq!(ipam.take("a"), Some(Ipv4Addr::new(10, 244, 3, 2)));
        assert_eq!(ipam.take("b"), Some(Ipv4Addr::new(10, 244, 3, 3)));
        assert_eq!(ipam.take("a"), Some(Ipv4Addr::new(10, 244, 3, 2)));
        ipam.give_back("a");
        assert_eq!(ipam.take("c"), Some(Ipv4Addr::new(10, 244, 3, 4)));
        let all: std::collections::BTreeSet<_> =
            (0..251).filter_map(|n| ipam.take(&format!("x{n}"))).collect();
        assert_eq!(all.len(), 251);
        assert!(all.contains(&Ipv4Addr::new(10, 244, 3, 2)));
        assert_eq!(ipam.take("one too many"), None);
    }
}
