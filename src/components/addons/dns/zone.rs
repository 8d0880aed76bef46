//! The zone: the names of the cluster, made from its Services, EndpointSlices and Namespaces.

use api::cidr::ipv4;
use client::Key;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointSlice};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The names of the cluster, as they were at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zone {
    /// `cluster.local`.
    pub(crate) domain: String,
    /// By namespace and name.
    pub(crate) services: BTreeMap<(String, String), Entry>,
    pub(super) namespaces: BTreeSet<String>,
    /// The informers are not synced: a name that is missing here may exist.
    pub(crate) is_unsynced: bool,
    /// Reverse names. A cluster IP has the name of its service alone; another address has one name
    /// for each host of each service that has it, as in CoreDNS.
    pub(super) addresses: HashMap<Ipv4Addr, Vec<String>>,
}

/// A service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(super) cluster_ip: Option<Ipv4Addr>,
    pub(super) external_name: Option<String>,
    /// (name, protocol, port).
    pub(super) ports: Vec<(String, String, u16)>,
    /// Ready endpoints. An endpoint that is in several EndpointSlices stands here once for each of
    /// its ports.
    pub(super) slices: Vec<Slice>,
    /// Addresses of all endpoints, each once.
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) hosts: HashMap<String, Host>,
    /// Indexes in `ports`, by their labels in questions ([`called`]).
    pub(super) named: HashMap<String, usize>,
}

/// Endpoints with the same ports.
#[derive(Clone, Debug, Default)]
pub(super) struct Slice {
    /// By their labels in questions ([`called`]).
    pub(super) ports: BTreeMap<String, u16>,
    /// Host name or dashed address, and address.
    pub(super) endpoints: Vec<(String, Ipv4Addr)>,
}

/// The endpoints with one host name.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) addresses: Vec<Ipv4Addr>,
    /// Indexes of the slices that have it, once for each of its addresses there. Those without
    /// ports are left out.
    pub(super) slices: Vec<usize>,
}

/// Returns the labels of a port in a question: `_http._tcp`. One name may stand for a port of each
/// protocol.
pub(super) fn called(name: &str, protocol: &str) -> String {
    format!("_{name}._{protocol}")
}

fn protocol(named: Option<&str>) -> String {
    named.unwrap_or("TCP").to_lowercase()
}

/// Look-ups that may be spent on ports of one Service that endpoints have in several slices.
/// Without a bound they are as many as ports times endpoints times slices.
const OVERLAP_MAX: usize = 200_000;

/// Finds the slices that an endpoint of a Service was seen in.
struct Seen {
    /// The indexes of the slices that an endpoint is in.
    places: HashMap<(String, Ipv4Addr), Vec<usize>>,
    /// Look-ups that are left.
    left: usize,
}

impl Seen {
    /// The slices that an endpoint is in, as long as any look-up is left.
    fn earlier(&mut self, endpoint: &(String, Ipv4Addr)) -> Vec<usize> {
        match self.places.get(endpoint).cloned() {
            Some(earlier) if self.spend(earlier.len()) => earlier,
            _ => Vec::new(),
        }
    }

    /// Takes so many look-ups; `false`: there are not so many, and there will be none.
    fn spend(&mut self, look_ups: usize) -> bool {
        let left = self.left.checked_sub(look_ups);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

impl Zone {
    /// Makes a zone for the time before the informers are synced.
    pub(crate) fn unsynced(domain: &str) -> Zone {
        Zone { domain: domain.into(), is_unsynced: true, ..Zone::default() }
    }

    /// Makes the zone from the objects as they are now.
    pub(crate) fn of(
        domain: &str,
        services: &[Arc<Service>],
        slices: &[Arc<EndpointSlice>],
        namespaces: &[Arc<Namespace>],
    ) -> Zone {
        let mut zone = Zone { domain: domain.into(), ..Zone::default() };
        zone.namespaces = namespaces.iter().filter_map(|n| n.metadata.name.clone()).collect();
        let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in slices {
            let label = slice.metadata.labels.as_ref().and_then(|l| l.get("kubernetes.io/service-name"));
            if let (Some(namespace), Some(service)) = (&slice.metadata.namespace, label) {
                by_service.entry((namespace, service)).or_default().push(slice);
            }
        }
        for service in services {
            let key = Key::of(&**service);
            let own = by_service.get(&(&*key.namespace, &*key.name)).map_or(&[][..], Vec::as_slice);
            let entry = Entry::of(service, own);
            zone.services.insert((key.namespace, key.name), entry);
        }
        zone.indexed()
    }

    /// Fills the indexes, so that an answer costs one look-up.
    pub(super) fn indexed(mut self) -> Zone {
        let mut of_endpoints: HashMap<Ipv4Addr, Vec<String>> = HashMap::new();
        for ((namespace, name), entry) in &mut self.services {
            let base = format!("{name}.{namespace}.svc.{}.", self.domain);
            entry.index();
            let mut hosts: Vec<_> = entry.hosts.iter().collect();
            hosts.sort_unstable_by_key(|(name, _)| *name);
            for (host, ip) in
                hosts.iter().flat_map(|(host, all)| all.addresses.iter().map(move |ip| (host, ip)))
            {
                of_endpoints.entry(*ip).or_default().push(format!("{host}.{base}"));
            }
            if let Some(ip) = entry.cluster_ip {
                self.addresses.entry(ip).or_insert_with(|| vec![base]);
            }
        }
        // EndpointSlices may name any address: a cluster IP keeps its service's name.
        for (ip, names) in of_endpoints {
            self.addresses.entry(ip).or_insert(names);
        }
        self
    }
}

impl Entry {
    fn of(service: &Service, slices: &[&EndpointSlice]) -> Entry {
        let spec = service.spec.clone().unwrap_or_default();
        let external =
            (spec.type_.as_deref() == Some("ExternalName")).then_some(spec.external_name).flatten();
        let mut entry = Entry {
            cluster_ip: spec.cluster_ip.as_deref().and_then(ipv4),
            external_name: external,
            ..Entry::default()
        };
        for port in spec.ports.iter().flatten() {
            let number = u16::try_from(port.port).unwrap_or(0);
            let protocol = protocol(port.protocol.as_deref());
            entry.ports.push((port.name.clone().unwrap_or_default(), protocol, number));
        }
        let mut seen = Seen { places: HashMap::new(), left: OVERLAP_MAX };
        for slice in slices {
            entry.add(slice, &mut seen);
        }
        entry
    }

    /// Adds the endpoints of a slice: those that are in earlier ones, too, with their other ports
    /// only. When nothing is left to look for these with, endpoints have all ports of the slice,
    /// some perhaps for a second time.
    fn add(&mut self, slice: &EndpointSlice, seen: &mut Seen) {
        let numbered = slice.ports.iter().flatten().filter_map(|port| {
            let name = called(port.name.as_deref().unwrap_or_default(), &protocol(port.protocol.as_deref()));
            Some((name, u16::try_from(port.port?).ok()?))
        });
        let ports: BTreeMap<String, u16> = numbered.collect();
        let endpoints: BTreeSet<(String, Ipv4Addr)> = ready_endpoints(slice).collect();
        let mut by_earlier: BTreeMap<Vec<usize>, Vec<(String, Ipv4Addr)>> = BTreeMap::new();
        for endpoint in endpoints {
            let earlier = seen.earlier(&endpoint);
            by_earlier.entry(earlier).or_default().push(endpoint);
        }
        let mut whole = Vec::new();
        for (earlier, endpoints) in by_earlier {
            if earlier.is_empty() || !seen.spend(ports.len() * (1 + earlier.len())) {
                whole.extend(endpoints);
                continue;
            }
            let mut ports = ports.clone();
            ports
                .retain(|name, port| earlier.iter().all(|at| self.slices[*at].ports.get(name) != Some(port)));
            if !ports.is_empty() {
                self.push(Slice { ports, endpoints }, seen);
            }
        }
        if !whole.is_empty() {
            self.push(Slice { ports, endpoints: whole }, seen);
        }
    }

    fn push(&mut self, slice: Slice, seen: &mut Seen) {
        for endpoint in &slice.endpoints {
            seen.places.entry(endpoint.clone()).or_default().push(self.slices.len());
        }
        self.slices.push(slice);
    }

    fn index(&mut self) {
        for (place, (name, protocol, _)) in self.ports.iter().enumerate() {
            self.named.entry(called(name, protocol)).or_insert(place);
        }
        let (mut all, mut of_hosts) = (HashSet::new(), HashSet::new());
        for (at, slice) in self.slices.iter().enumerate() {
            for (name, ip) in &slice.endpoints {
                let host = self.hosts.entry(name.clone()).or_default();
                if of_hosts.insert((name, *ip)) {
                    host.addresses.push(*ip);
                }
                if !slice.ports.is_empty() {
                    host.slices.push(at);
                }
                if all.insert(*ip) {
                    self.addresses.push(*ip);
                }
            }
        }
    }
}

/// The ready endpoints of a slice: host name or dashed address, and address. With
/// `publishNotReadyAddresses` the slice's controller says that all are ready.
fn ready_endpoints(slice: &EndpointSlice) -> impl Iterator<Item = (String, Ipv4Addr)> {
    let is_ready = |conditions: Option<&EndpointConditions>| conditions.and_then(|c| c.ready) != Some(false);
    let ready = slice.endpoints.iter().filter(move |endpoint| is_ready(endpoint.conditions.as_ref()));
    ready.flat_map(|endpoint| {
        let addresses = endpoint.addresses.iter().filter_map(|a| ipv4(a));
        addresses
            .map(|ip| (endpoint.hostname.clone().unwrap_or_else(|| ip.to_string().replace('.', "-")), ip))
    })
}
