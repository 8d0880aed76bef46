//! UDP has no connections, but the kernel remembers flows: a client that keeps its port stays with an endpoint that is gone.
//! Such memories are deleted when a UDP service changes.

use crate::cni::{Protocol, ServiceRule};
use nlink::netlink::netfilter::{ConntrackEntry, ConntrackTuple, IpProtocol};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Addresses (or, for node ports, any address) and ports whose flows must lead to the endpoints that are there now.
#[derive(Debug, Default)]
pub struct Stale {
    services: BTreeSet<(Option<Ipv4Addr>, u16)>,
    endpoints: BTreeSet<(Ipv4Addr, u16)>,
}

impl Stale {
    /// From the UDP services that change, as they were and as they will be; `None` if there are none.
    pub fn of<'a>(
        old: impl Iterator<Item = &'a ServiceRule>,
        now: impl Iterator<Item = &'a ServiceRule>,
    ) -> Option<Stale> {
        let mut stale = Stale::default();
        for service in old.filter(|s| s.protocol == Protocol::Udp) {
            stale.services.extend(service.addresses.iter().map(|a| (Some(*a), service.port)));
            stale.services.extend(service.node_port.map(|port| (None, port)));
        }
        for service in now.filter(|s| s.protocol == Protocol::Udp) {
            stale.endpoints.extend(service.endpoints.iter().copied());
        }
        (!stale.services.is_empty()).then_some(stale)
    }

    pub fn includes(&self, entry: &ConntrackEntry) -> bool {
        entry.proto == IpProtocol::Udp && self.leads_astray(&entry.orig, &entry.reply)
    }

    fn leads_astray(&self, original: &ConntrackTuple, reply: &ConntrackTuple) -> bool {
        let (Some(IpAddr::V4(to)), Some(port)) = (original.dst_ip, original.dst_port) else { return false };
        let (Some(IpAddr::V4(from)), Some(from_port)) = (reply.src_ip, reply.src_port) else { return false };
        let meant = self.services.contains(&(Some(to), port)) || self.services.contains(&(None, port));
        meant && !self.endpoints.contains(&(from, from_port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::plan::tests::rule;

    #[test]
    fn only_flows_to_endpoints_that_are_gone_are_stale() {
        let (gone, here) = (Ipv4Addr::new(10, 244, 1, 2), Ipv4Addr::new(10, 244, 1, 3));
        let udp = |endpoints: &[_]| ServiceRule { protocol: Protocol::Udp, ..rule("dns", endpoints) };
        let (old, new) = (udp(&[(gone, 53), (here, 53)]), udp(&[(here, 53)]));
        let stale = Stale::of([&old].into_iter(), [&new].into_iter()).unwrap();
        let client = Ipv4Addr::new(10, 244, 1, 9);
        let vip = ConntrackTuple::v4(client, Ipv4Addr::new(10, 96, 0, 10)).ports(4000, 80);
        let other = ConntrackTuple::v4(client, Ipv4Addr::new(10, 96, 0, 11)).ports(4000, 80);
        let from = |ip| ConntrackTuple::v4(ip, client).ports(53, 4000);
        assert!(stale.leads_astray(&vip, &from(gone)));
        assert!(!stale.leads_astray(&vip, &from(here)));
        assert!(!stale.leads_astray(&other, &from(gone)));
        assert!(Stale::of([&rule("tcp", &[])].into_iter(), std::iter::empty()).is_none());
    }
}
