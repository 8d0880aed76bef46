//! UDP has no connections, but the kernel remembers flows: a client that keeps its port stays with
//! an endpoint that is gone. Such memories are deleted when a UDP service changes.

use cni::{Protocol, ServiceRule};
use nlink::netlink::netfilter::{
    ConntrackEntry, ConntrackFilter, ConntrackStatus, ConntrackTuple, IpProtocol,
};
use nlink::netlink::types::AddressFamily;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// What clients of a service speak to: an address, for node ports the node's own, and a port.
type Front = (Ipv4Addr, u16);
/// Listings that are asked for one by one; for more addresses and ports there is one listing of all
/// flows to UDP services.
const FILTERS_MAX: usize = 8;
/// Addresses and ports that are remembered one by one, some 100 bytes each. They add up where the
/// kernel cannot forget flows, and each new Service has others.
const FRONTS_MAX: usize = 10_000;

type Backends = BTreeSet<(Ipv4Addr, u16)>;

/// Where flows may lead: for each address and port of a UDP service that changed, the endpoints
/// that it has now. Beyond [`FRONTS_MAX`] of them it holds those of all services there are, and
/// what leads from elsewhere to an endpoint is stale.
#[derive(Debug)]
pub(crate) struct Stale {
    /// The node's address, which node ports are at.
    node: Ipv4Addr,
    fronts: BTreeMap<Front, Backends>,
    /// Some of the flows may have no translation: they are older than their service, or than its
    /// first endpoint.
    has_untranslated: bool,
    /// More than [`FRONTS_MAX`] have changed.
    everything: bool,
}

fn fronts_of(node: Ipv4Addr, service: &ServiceRule) -> impl Iterator<Item = Front> + '_ {
    let addresses = service.addresses.iter().map(|address| (*address, service.port));
    addresses.chain(service.node_port.map(|port| (node, port)))
}

impl Stale {
    /// Nothing is stale yet on the node with this address.
    pub(crate) fn new(node: Ipv4Addr) -> Stale {
        Stale { node, fronts: BTreeMap::new(), has_untranslated: false, everything: false }
    }

    /// Adds the UDP services among those that changed, as they were. Their flows are stale until
    /// [`Stale::allow`] says otherwise.
    pub(crate) fn add<'a>(&mut self, old: impl Iterator<Item = &'a ServiceRule>) {
        for service in old.filter(|s| s.protocol == Protocol::Udp) {
            self.has_untranslated |= service.everywhere().is_empty();
            self.fronts.extend(fronts_of(self.node, service).map(|front| (front, BTreeSet::new())));
        }
        self.bound();
    }

    /// Adds the UDP services among those that changed, as they are now. A client may have sent to
    /// such an address before a service had it: the kernel remembers the flow without a
    /// translation, and would go on without one.
    pub(crate) fn add_new<'a>(&mut self, new: impl Iterator<Item = &'a ServiceRule>) {
        let node = self.node;
        for front in new.filter(|s| s.protocol == Protocol::Udp).flat_map(|s| fronts_of(node, s)) {
            self.has_untranslated |= self.fronts.insert(front, BTreeSet::new()).is_none();
        }
        self.bound();
    }

    /// Makes every UDP flow stale that does not lead to an endpoint: any service may have changed.
    pub(crate) fn add_everything(&mut self) {
        self.fronts.clear();
        (self.everything, self.has_untranslated) = (true, true);
    }

    /// Forgets what changed if that is too much to remember: then everything has.
    fn bound(&mut self) {
        if self.fronts.len() > FRONTS_MAX {
            self.fronts.clear();
            self.everything = true;
        }
    }

    /// Says where flows may lead now: to endpoints of the very service that has the address, not to
    /// those of another one.
    pub(crate) fn allow<'a>(&mut self, now: impl Iterator<Item = &'a ServiceRule>) {
        match self.everything {
            true => self.fronts.clear(),
            false => self.fronts.values_mut().for_each(BTreeSet::clear),
        }
        for service in now.filter(|s| s.protocol == Protocol::Udp) {
            for front in fronts_of(self.node, service) {
                if self.everything {
                    self.fronts.entry(front).or_default().extend(service.serving());
                } else if let Some(endpoints) = self.fronts.get_mut(&front) {
                    endpoints.extend(service.serving());
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fronts.is_empty() && !self.everything
    }

    /// Returns what the kernel is asked for, so that it lists no flows that are not looked at:
    /// those of each address and port, or of many at once those to UDP services. Pods may have
    /// hundreds of thousands of other flows, and one whose readiness changes again and again would
    /// have them listed each time. Only where flows may have no translation are all of UDP listed.
    pub(crate) fn filters(&self) -> Vec<ConntrackFilter> {
        let udp = ConntrackFilter::new().proto(IpProtocol::Udp);
        if self.everything || self.fronts.len() > FILTERS_MAX {
            let (all, translated) = (udp.family(AddressFamily::Inet), ConntrackStatus::DST_NAT);
            return vec![if self.has_untranslated { all } else { all.status(translated, translated) }];
        }
        let one = |(address, port): &Front| {
            udp.clone().family(AddressFamily::Inet).orig_dst_port(*port).orig_dst(*address)
        };
        self.fronts.keys().map(one).collect()
    }

    pub(crate) fn includes(&self, entry: &ConntrackEntry) -> bool {
        entry.proto == IpProtocol::Udp && self.leads_astray(&entry.orig, &entry.reply)
    }

    fn leads_astray(&self, original: &ConntrackTuple, reply: &ConntrackTuple) -> bool {
        let (Some(IpAddr::V4(to)), Some(port)) = (original.dst_ip, original.dst_port) else { return false };
        let (Some(IpAddr::V4(from)), Some(from_port)) = (reply.src_ip, reply.src_port) else { return false };
        match self.fronts.get(&(to, port)) {
            Some(endpoints) => !endpoints.contains(&(from, from_port)),
            // Translated once, for a service that is gone.
            None => self.everything && (to, port) != (from, from_port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::rule;

    const NODE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 11);

    #[test]
    fn a_node_port_is_not_taken_for_the_same_port_of_a_service() {
        let (gone, here) = (Ipv4Addr::new(10, 244, 1, 2), Ipv4Addr::new(10, 244, 1, 3));
        let udp = |endpoint| ServiceRule {
            protocol: Protocol::Udp,
            addresses: vec![Ipv4Addr::new(10, 96, 0, 11)],
            node_port: Some(30053),
            ..rule("changed", &[(endpoint, 53)])
        };
        let mut stale = Stale::new(NODE);
        stale.add([&udp(gone)].into_iter());
        stale.allow([&udp(here)].into_iter());
        let client = Ipv4Addr::new(10, 244, 1, 9);
        let to = |address| ConntrackTuple::v4(client, address).ports(4000, 30053);
        let from = |ip| ConntrackTuple::v4(ip, client).ports(53, 4000);
        assert!(stale.leads_astray(&to(NODE), &from(gone)));
        assert!(!stale.leads_astray(&to(NODE), &from(here)));
        let other = Ipv4Addr::new(10, 96, 0, 10); // a Service with the *port* 30053, which did not change
        assert!(!stale.leads_astray(&to(other), &from(gone)), "another service's flow");
        let mut entry = ConntrackEntry::default();
        (entry.family, entry.proto, entry.reply) = (AddressFamily::Inet, IpProtocol::Udp, from(gone));
        entry.orig = to(other);
        assert!(!stale.filters().iter().any(|filter| filter.matches(&entry)), "nor is it listed");
        entry.orig = to(NODE);
        assert!(stale.filters().iter().any(|filter| filter.matches(&entry)));
    }

    #[test]
    fn only_flows_to_endpoints_that_are_gone_are_stale() {
        let (gone, here) = (Ipv4Addr::new(10, 244, 1, 2), Ipv4Addr::new(10, 244, 1, 3));
        let udp = |endpoints: &[_]| ServiceRule { protocol: Protocol::Udp, ..rule("dns", endpoints) };
        let (old, new) = (udp(&[(gone, 53), (here, 53)]), udp(&[(here, 53)]));
        let mut stale = Stale::new(NODE);
        stale.add([&old].into_iter());
        // The pod that left this service is an endpoint of another one, with the same port.
        let elsewhere = ServiceRule { addresses: vec![Ipv4Addr::new(10, 96, 0, 11)], ..udp(&[(gone, 53)]) };
        stale.allow([&new, &elsewhere].into_iter());
        let client = Ipv4Addr::new(10, 244, 1, 9);
        let vip = ConntrackTuple::v4(client, Ipv4Addr::new(10, 96, 0, 10)).ports(4000, 80);
        let other = ConntrackTuple::v4(client, Ipv4Addr::new(10, 96, 0, 11)).ports(4000, 80);
        let from = |ip| ConntrackTuple::v4(ip, client).ports(53, 4000);
        assert!(stale.leads_astray(&vip, &from(gone)));
        assert!(!stale.leads_astray(&vip, &from(here)));
        assert!(!stale.leads_astray(&other, &from(gone)));
        let asked = stale.filters();
        assert_eq!(asked.len(), 1, "of one address and port");
        let entry = |to: &ConntrackTuple| {
            let mut entry = ConntrackEntry::default();
            (entry.family, entry.proto) = (AddressFamily::Inet, IpProtocol::Udp);
            (entry.orig, entry.reply) = (to.clone(), from(gone));
            entry
        };
        assert!(asked[0].matches(&entry(&vip)) && !asked[0].matches(&entry(&other)));
        // A node port with a `Local` policy leads to an endpoint that ends, while the ready one is
        // on another node.
        let ending = ServiceRule { local_endpoints: Some(vec![(gone, 53)]), ..new.clone() };
        stale.allow([&ending].into_iter());
        assert!(!stale.leads_astray(&vip, &from(gone)));
        // It ends and serves, and no new client is led to it.
        stale.allow([&ServiceRule { draining: vec![(gone, 53)], ..new.clone() }].into_iter());
        assert!(!stale.leads_astray(&vip, &from(gone)));
        let many = (1..100).map(|port| ServiceRule { port, ..old.clone() }).collect::<Vec<_>>();
        stale.add(many.iter());
        assert_eq!(stale.filters().len(), 1, "one listing for many");
        let mut translated = entry(&vip);
        assert!(
            !stale.filters()[0].matches(&translated),
            "only translated flows of services that had endpoints"
        );
        translated.status = Some(ConntrackStatus::DST_NAT.bits());
        assert!(stale.filters()[0].matches(&translated));
        let mut none = Stale::new(NODE);
        none.add([&rule("tcp", &[])].into_iter());
        assert!(none.is_empty());
    }

    /// As on a kernel that cannot forget flows, in a cluster whose Services come and go.
    #[test]
    fn what_is_stale_has_a_bound_and_no_flow_is_missed_beyond_it() {
        let (gone, here) = (Ipv4Addr::new(10, 244, 1, 2), Ipv4Addr::new(10, 244, 1, 3));
        let udp = |port: u16, host: u8, endpoint| ServiceRule {
            protocol: Protocol::Udp,
            addresses: vec![Ipv4Addr::new(10, 96, 0, host)],
            port,
            ..rule("dns", &[(endpoint, 53)])
        };
        let mut stale = Stale::new(NODE);
        let stays = udp(53, 1, here);
        for port in 1..=30_000 {
            stale.add([&udp(port, 10, gone)].into_iter());
        }
        assert!(stale.fronts.len() <= FRONTS_MAX && !stale.is_empty());
        stale.allow([&stays].into_iter());
        let client = Ipv4Addr::new(10, 244, 1, 9);
        let to = |host, port| ConntrackTuple::v4(client, Ipv4Addr::new(10, 96, 0, host)).ports(4000, port);
        let from = |ip| ConntrackTuple::v4(ip, client).ports(53, 4000);
        for port in [1, 30_000] {
            assert!(stale.leads_astray(&to(10, port), &from(gone)), "of a service that is gone");
        }
        assert!(stale.leads_astray(&to(1, 53), &from(gone)), "the service has another endpoint now");
        assert!(!stale.leads_astray(&to(1, 53), &from(here)));
        let direct = ConntrackTuple::v4(client, here).ports(4000, 53);
        assert!(!stale.leads_astray(&direct, &from(here)), "no service has translated it");
        assert_eq!(stale.filters().len(), 1, "one listing");
    }

    /// A pod asks again and again from one port, and the Service comes later.
    #[test]
    fn flows_that_are_older_than_their_service_are_stale() {
        let here = Ipv4Addr::new(10, 244, 1, 3);
        let new = ServiceRule { protocol: Protocol::Udp, ..rule("dns", &[(here, 53)]) };
        let client = Ipv4Addr::new(10, 244, 1, 9);
        let vip = ConntrackTuple::v4(client, new.addresses[0]).ports(4000, 80);
        let untranslated = ConntrackTuple::v4(new.addresses[0], client).ports(80, 4000);
        let many: Vec<ServiceRule> = (80..100).map(|port| ServiceRule { port, ..new.clone() }).collect();
        for added in [&many[..1], &many[..]] {
            let mut stale = Stale::new(NODE);
            stale.add_new(added.iter());
            stale.allow(added.iter());
            let mut entry = ConntrackEntry::default();
            (entry.family, entry.proto) = (AddressFamily::Inet, IpProtocol::Udp);
            (entry.orig, entry.reply) = (vip.clone(), untranslated.clone());
            assert!(stale.includes(&entry));
            assert!(stale.filters().iter().any(|filter| filter.matches(&entry)), "{} services", added.len());
        }
        // A node port of a service that had no endpoint translated nothing either.
        let old: Vec<ServiceRule> = many
            .iter()
            .map(|rule| ServiceRule { node_port: Some(30000 + rule.port), endpoints: vec![], ..rule.clone() })
            .collect();
        let mut stale = Stale::new(NODE);
        stale.add(old.iter());
        let at_node = ConntrackTuple::v4(client, NODE).ports(4000, 30080);
        let mut entry = ConntrackEntry::default();
        (entry.family, entry.proto, entry.orig) = (AddressFamily::Inet, IpProtocol::Udp, at_node);
        assert!(stale.filters()[0].matches(&entry));
    }
}
