//! Services and their endpoints, as rules for one node. Pure.

use api::cidr::ipv4;
use cni::{Protocol, ServiceRule};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// An endpoint of one service port, and the node it runs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub ip: Ipv4Addr,
    pub port: u16,
    pub node: Option<String>,
}

pub(crate) fn protocol(port: &ServicePort) -> Option<Protocol> {
    protocol_named(port.protocol.as_deref())
}

fn protocol_named(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        _ => None,
    }
}

/// The endpoints of a service port by what they can do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints {
    ready: BTreeSet<Endpoint>,
    /// They end, and serve until then.
    serving: BTreeSet<Endpoint>,
    /// They serve, are not ready and do not end, as a slice of another controller may say. No new
    /// flow is led to them, and UDP flows that lead there stay. Empty for TCP.
    unready: BTreeSet<Endpoint>,
    /// Slices and endpoints that were looked at for these, whether they are of use or not.
    visited: usize,
}

impl Endpoints {
    /// Returns the cost of finding these endpoints, in bytes as [`Budget::spend`] counts them.
    pub(crate) fn work(&self) -> usize {
        64 * self.visited
    }

    /// Returns the endpoints that may get traffic: the ready ones; if there is none, those that
    /// still serve while they end. A `Local` policy asks that of each node alone, so that a node
    /// whose last endpoint ends drops no connection (KEP-1669):
    ///
    /// ```text
    /// n1: a (ending, serving)   n2: b (ready)
    /// all: b      on n1: a      on n2: b      on n3: none
    /// ```
    pub(crate) fn usable(&self, on: Option<&str>) -> BTreeSet<&Endpoint> {
        let there = |e: &&Endpoint| on.is_none_or(|node| e.node.as_deref() == Some(node));
        let ready: BTreeSet<&Endpoint> = self.ready.iter().filter(there).collect();
        if ready.is_empty() { self.serving.iter().filter(there).collect() } else { ready }
    }

    /// Returns whether a node has an endpoint that is ready, and not only one that ends: what the
    /// health check of a load balancer is told (upstream: `LocalReadyEndpoints`).
    pub(crate) fn has_ready(&self, on: &str) -> bool {
        self.ready.iter().any(|e| e.node.as_deref() == Some(on))
    }
}

/// A slice's port numbers by their names and protocols.
type Ports<'a> = HashMap<(&'a str, Protocol), Option<u16>>;

/// An endpoint of a slice. Addresses are read once, for all ports of a Service.
struct Candidate<'a> {
    ip: Ipv4Addr,
    node: Option<&'a String>,
    is_ready: bool,
    ends: bool,
}

/// A Service's slices: of each its ports, the endpoints that may be of use, and how many it has.
pub(crate) struct Slices<'a>(Vec<(Vec<Candidate<'a>>, usize, Ports<'a>)>);

impl<'a> Slices<'a> {
    pub(crate) fn of(slices: &'a [Arc<EndpointSlice>]) -> Slices<'a> {
        let of_ipv4 = slices.iter().filter(|s| s.address_type == "IPv4" && is_proxied(&s.metadata));
        let indexed = of_ipv4.map(|slice| {
            let mut ports = Ports::new();
            for port in slice.ports.iter().flatten() {
                let Some(protocol) = protocol_named(port.protocol.as_deref()) else { continue };
                // The API server does not judge the number; no rule can lead to port 0.
                let number = port.port.and_then(|p| u16::try_from(p).ok()).filter(|number| *number != 0);
                ports.entry((port.name.as_deref().unwrap_or_default(), protocol)).or_insert(number);
            }
            let candidates = slice.endpoints.iter().filter_map(|endpoint| {
                let conditions = endpoint.conditions.as_ref();
                let is_ready = conditions.and_then(|c| c.ready).unwrap_or(true);
                let serves = conditions.and_then(|c| c.serving).unwrap_or(true);
                let ends = conditions.and_then(|c| c.terminating).unwrap_or(false);
                if !is_ready && !serves {
                    return None;
                }
                // Further addresses are the same endpoint, which consumers may ignore.
                let ip = endpoint.addresses.first().and_then(|a| ipv4(a))?;
                Some(Candidate { ip, node: endpoint.node_name.as_ref(), is_ready, ends })
            });
            (candidates.collect(), slice.endpoints.len(), ports)
        });
        Slices(indexed.collect())
    }

    /// Returns the cost of reading the slices once, in bytes as [`Budget::spend`] counts them.
    pub(crate) fn work(&self) -> usize {
        64 * self.0.iter().map(|(_, count, _)| 1 + count).sum::<usize>()
    }

    /// Returns the endpoints of a port of the Service.
    pub(crate) fn endpoints(&self, port: &ServicePort) -> Endpoints {
        let mut found = Endpoints::default();
        let Some(protocol) = protocol(port) else { return found };
        let key = (port.name.as_deref().unwrap_or_default(), protocol);
        for (candidates, _, ports) in &self.0 {
            found.visited += 1;
            let Some(number) = ports.get(&key).copied().flatten() else { continue };
            found.visited += candidates.len();
            for candidate in candidates {
                let one = Endpoint { ip: candidate.ip, port: number, node: candidate.node.cloned() };
                if candidate.is_ready {
                    found.ready.insert(one);
                } else if candidate.ends {
                    found.serving.insert(one);
                } else if protocol == Protocol::Udp {
                    found.unready.insert(one);
                }
            }
        }
        found
    }
}

/// Counts how much was computed at one change, by namespace, so that it can be bounded: a Service
/// may have any number of ports times endpoints, and the kernel's table has no room for all.
#[derive(Default)]
pub(crate) struct Budget(HashMap<String, usize>);

impl Budget {
    /// Returns whether this namespace has some of its budget left.
    pub(crate) fn has(&self, namespace: &str) -> bool {
        self.0.get(namespace).is_none_or(|spent| *spent < 2 * NAMESPACE_MAX)
    }

    /// `bytes`: of the rule that was made, or 64 for each slice and endpoint that was looked at.
    pub(crate) fn spend(&mut self, namespace: &str, bytes: usize) {
        *self.0.entry(namespace.to_string()).or_default() += bytes;
    }
}

/// Returns the refusal of a Service some of whose ports are left out because of all that its
/// namespace asks for.
pub(crate) fn beyond_namespace(service: &Arc<Service>) -> Refused {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let message = Beyond::Namespace.message(namespace);
    Refused { service: service.clone(), reason: TOO_MANY, message }
}

/// Returns whether outside traffic of a Service stays on the node that it came to.
pub(crate) fn is_external_local(spec: &ServiceSpec) -> bool {
    spec.external_traffic_policy.as_deref() == Some("Local")
}

/// Returns whether a Service stands for a name outside. The API takes ports in it, node ports too,
/// and they mean nothing there (upstream: `ShouldSkipService`).
pub(crate) fn is_external_name(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("ExternalName")
}

/// Returns how long a Service keeps a client at one endpoint, with `sessionAffinity: ClientIP`.
pub(crate) fn affinity_seconds(spec: &ServiceSpec) -> Option<u32> {
    (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
        config.and_then(|c| c.timeout_seconds).unwrap_or(10800).max(1) as u32
    })
}

/// Returns how an Event on `service` names the owner of what it does not get, `namespace/name`: who
/// reads the Events of one namespace need not know what is in another.
pub(crate) fn owner_for<'a>(service: &Service, owner: &'a str) -> &'a str {
    let own = service.metadata.namespace.as_deref().unwrap_or_default();
    match owner.split_once('/') {
        Some((namespace, _)) if namespace != own => "a Service of another namespace",
        _ => owner,
    }
}

/// A part that a Service asks for and does not get: an address or a port of another Service, or
/// rules for which there is no room.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub service: Arc<Service>,
    /// The reason of the Event.
    pub reason: &'static str,
    /// The message of the Event on the Service.
    pub message: String,
}

/// The owners of addresses and ports: each address with a port, and each node port, belongs to one
/// rule. The kernel refuses a table that says otherwise, with every rule in it.
#[derive(Default)]
struct Claims {
    addresses: BTreeMap<(Protocol, Ipv4Addr, u16), String>,
    node_ports: BTreeMap<(Protocol, u16), String>,
    keys: BTreeSet<String>,
}

/// Labels of Services and slices that kube-proxy leaves alone, whatever their value: those of
/// another proxy, and headless ones.
const NOT_PROXIED: [&str; 2] = ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"];

/// Returns whether kube-proxy is to look at a Service or a slice.
fn is_proxied(meta: &ObjectMeta) -> bool {
    meta.labels.as_ref().is_none_or(|labels| !NOT_PROXIED.iter().any(|label| labels.contains_key(*label)))
}

/// Returns the Services that kube-proxy is to serve, the oldest first: of two that want the same,
/// the older one gets it.
pub(crate) fn by_age(services: &[Arc<Service>]) -> Vec<&Arc<Service>> {
    let mut ordered: Vec<&Arc<Service>> = services.iter().filter(|s| is_proxied(&s.metadata)).collect();
    ordered.sort_by_cached_key(|s| {
        let meta = &s.metadata;
        (meta.creation_timestamp.as_ref().map(|t| t.0), meta.namespace.clone(), meta.name.clone())
    });
    ordered
}

/// Returns all rules for a node, by key, and what was left out of them.
///
/// Cluster IPs are handed out before external and load-balancer addresses, which people choose; of
/// two Services that want the same, the older one gets it. Example: `default/kubernetes` has
/// 10.96.0.1:443. A Service with `externalIPs: [10.96.0.1]` and port 443 keeps its other addresses
/// and is told that this one is not its own.
pub(crate) fn rules(
    services: &[Arc<Service>],
    slices: &BTreeMap<String, Vec<Arc<EndpointSlice>>>,
    node: &str,
) -> (Vec<ServiceRule>, Vec<Refused>) {
    let (mut wanted, mut refused) = (Vec::new(), Vec::new());
    let mut budget = Budget::default();
    for service in by_age(services) {
        let (rules, all) = wanted_by(service, slices, node, &mut budget);
        wanted.extend(rules.into_iter().map(|rule| (service.clone(), rule)));
        if !all {
            refused.push(beyond_namespace(service));
        }
    }
    // A rule that is left out must not keep an address from a younger Service.
    let wanted = within_bounds(wanted, &mut refused);
    let mut claims = Claims::default();
    let mut refuse = |service: &Arc<Service>, what: String, owner: &str| {
        let owner = owner_for(service, owner);
        let message = format!("{what} belongs to {owner}: this Service is not reachable there");
        refused.push(Refused { service: service.clone(), reason: "AddressConflict", message });
    };
    let mut has_own = Vec::new();
    for (service, rule) in wanted {
        let Some(own) = rule.addresses.first().map(|ip| (rule.protocol, *ip, rule.port)) else { continue };
        if let Some(owner) = claims.addresses.get(&own) {
            refuse(&service, format!("{}:{}", own.1, own.2), owner);
        } else if !claims.keys.insert(rule.key.clone()) {
            refuse(&service, format!("the port name of {}", rule.key), "another port of it");
        } else {
            claims.addresses.insert(own, rule.key.clone());
            has_own.push((service, rule));
        }
    }
    let mut rules = Vec::with_capacity(has_own.len());
    for (service, mut rule) in has_own {
        let (protocol, port, key) = (rule.protocol, rule.port, rule.key.clone());
        rule.addresses.retain(|ip| {
            let owner = claims.addresses.entry((protocol, *ip, port)).or_insert_with(|| key.clone());
            let mine = *owner == key;
            if !mine {
                refuse(&service, format!("{ip}:{port}"), owner);
            }
            mine
        });
        if let Some(number) = rule.node_port {
            let owner = claims.node_ports.entry((protocol, number)).or_insert_with(|| key.clone());
            if *owner != key {
                refuse(&service, format!("node port {number}"), owner);
                rule.node_port = None;
            }
        }
        rules.push(rule);
    }
    rules.sort_by(|a, b| a.key.cmp(&b.key));
    (rules, refused)
}

/// Bytes of netlink messages that the rules of all Services, and of the Services of one namespace,
/// may have: what is written together is in the kernel's memory, as a message and as rules. Some
/// 4000 ordinary ports, 2000 in one namespace.
const ALL_MAX: usize = 4 << 20;
const NAMESPACE_MAX: usize = 2 << 20;
/// The same of one rule, which is never divided: an ordinary user's socket takes messages of 416
/// KiB, and a change removes and adds.
const RULE_MAX: usize = 256 << 10;

/// Returns how many bytes of netlink messages a rule has, at most.
fn bytes(rule: &ServiceRule) -> usize {
    let each = if rule.affinity_seconds.is_some() { 400 } else { 64 };
    let sticky = rule.affinity_seconds.map_or(0, |_| 800 * rule.used().len());
    let further = [&rule.all_endpoints, &rule.local_endpoints];
    let further = further.into_iter().flatten().map(|list| 768 + each * list.len()).sum::<usize>();
    let is_marked = rule.node_port.is_some() || rule.addresses.len() > 1;
    let mark = if is_marked { 768 } else { 0 };
    1024 + 64 * rule.addresses.len() + each * rule.endpoints.len() + sticky + further + mark
}

/// The reason of the Event on a Service some of whose ports are beyond a bound.
const TOO_MANY: &str = "TooManyRules";

/// Why a rule is left out.
#[derive(Clone, Copy)]
enum Beyond {
    One,
    Namespace,
    All,
}

impl Beyond {
    fn message(self, namespace: &str) -> String {
        let whose = match self {
            Beyond::One => {
                "a port of this Service has more addresses and endpoints than the kernel takes at once"
                    .to_string()
            }
            Beyond::Namespace => format!(
                "the Services of namespace {namespace} have more ports, addresses and endpoints than one namespace may have"
            ),
            Beyond::All => format!(
                "all Services have more ports, addresses and endpoints than the kernel takes at once, and those of namespace {namespace} have the most"
            ),
        };
        format!("{whose}: some ports of this Service are not reachable")
    }
}

/// Leaves out the rules that are too many, those of younger Services first: each namespace keeps to
/// its own bound, and where all are too many, the latest rule of the namespace that has the most
/// goes, again and again. So other namespaces lose nothing to one, or several, that fill the table.
/// A Service of which a rule is left out is told once.
///
/// ```text
/// a: 2000 KiB   b: 1900 KiB   c: 300 KiB   of 4096 KiB
/// -> a: 1896 KiB   b: 1900 KiB   c: 300 KiB
/// ```
fn within_bounds(
    wanted: Vec<(Arc<Service>, ServiceRule)>,
    refused: &mut Vec<Refused>,
) -> Vec<(Arc<Service>, ServiceRule)> {
    let namespace_of = |service: &Service| service.metadata.namespace.clone().unwrap_or_default();
    let mut beyond: BTreeMap<usize, Beyond> = BTreeMap::new();
    // By namespace: bytes, and the places of its rules with theirs, the latest last.
    let mut kept: BTreeMap<String, (usize, Vec<(usize, usize)>)> = BTreeMap::new();
    for (place, (service, rule)) in wanted.iter().enumerate() {
        let (used, own) = kept.entry(namespace_of(service)).or_default();
        let takes = bytes(rule);
        if takes > RULE_MAX {
            beyond.insert(place, Beyond::One);
        } else if *used + takes > NAMESPACE_MAX {
            beyond.insert(place, Beyond::Namespace);
        } else {
            *used += takes;
            own.push((place, takes));
        }
    }
    let mut all: usize = kept.values().map(|(used, _)| used).sum();
    let mut by_size: BinaryHeap<(usize, &String)> =
        kept.iter().map(|(name, (used, _))| (*used, name)).collect();
    let mut own: BTreeMap<&String, Vec<(usize, usize)>> =
        kept.iter().map(|(name, (_, own))| (name, own.clone())).collect();
    while all > ALL_MAX {
        let Some((used, namespace)) = by_size.pop() else { break };
        let Some((place, takes)) = own.get_mut(namespace).and_then(Vec::pop) else { continue };
        beyond.insert(place, Beyond::All);
        all -= takes;
        by_size.push((used - takes, namespace));
    }
    let name_of = |service: &Service| (namespace_of(service), service.metadata.name.clone());
    let too_many = refused.iter().filter(|r| r.reason == TOO_MANY);
    let mut told: BTreeSet<_> = too_many.map(|r| name_of(&r.service)).collect();
    let mut rules = Vec::with_capacity(wanted.len() - beyond.len());
    for (place, (service, rule)) in wanted.into_iter().enumerate() {
        let Some(why) = beyond.get(&place) else {
            rules.push((service, rule));
            continue;
        };
        if told.insert(name_of(&service)) {
            let message = why.message(&namespace_of(&service));
            refused.push(Refused { service, reason: TOO_MANY, message });
        }
    }
    rules
}

/// Returns the IPv4 addresses that a node serves a Service at, each once: its cluster IP, its
/// external ones and those of its load balancer.
fn service_addresses(service: &Service, spec: &ServiceSpec, cluster_ip: Ipv4Addr) -> Vec<Ipv4Addr> {
    let mut addresses = vec![cluster_ip];
    addresses.extend(spec.external_ips.iter().flatten().filter_map(|a| ipv4(a)));
    let balancers =
        service.status.iter().filter_map(|s| s.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    // Proxy: the balancer wants to see each connection, so that nodes must not serve its address
    // themselves.
    let virtual_ips = balancers.filter(|i| i.ip_mode.as_deref().is_none_or(|mode| mode == "VIP"));
    addresses.extend(virtual_ips.filter_map(|i| ipv4(i.ip.as_deref()?)));
    let mut seen = BTreeSet::new();
    addresses.retain(|ip| seen.insert(*ip));
    addresses
}

/// Returns the rules of one Service, as far as the budget goes, and whether these are all. The
/// first address of a rule is the cluster IP.
fn wanted_by(
    service: &Arc<Service>,
    slices: &BTreeMap<String, Vec<Arc<EndpointSlice>>>,
    node: &str,
    budget: &mut Budget,
) -> (Vec<ServiceRule>, bool) {
    let mut rules = Vec::new();
    let (meta, Some(spec)) = (&service.metadata, &service.spec) else { return (rules, true) };
    if is_external_name(spec) {
        return (rules, true);
    }
    // Nothing but IPv4 leads through these networks.
    let Some(ip) = spec.cluster_ip.as_deref().and_then(ipv4) else { return (rules, true) };
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let name = format!("{namespace}/{}", meta.name.as_deref().unwrap_or_default());
    if !budget.has(namespace) {
        return (rules, false);
    }
    let own = Slices::of(slices.get(&name).map(Vec::as_slice).unwrap_or_default());
    budget.spend(namespace, own.work());
    let addresses = service_addresses(service, spec, ip);
    let affinity = affinity_seconds(spec);
    for port in spec.ports.iter().flatten() {
        let (Some(protocol), Ok(number)) = (protocol(port), u16::try_from(port.port)) else { continue };
        if !budget.has(namespace) {
            return (rules, false);
        }
        let all = own.endpoints(port);
        // Two slices may have an endpoint for a moment, and say different things of its node: it is
        // one all the same.
        let usable = |on: Option<&str>| {
            let pairs = all.usable(on).into_iter().map(|e| (e.ip, e.port));
            pairs.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        let (everywhere, here) = (usable(None), usable(Some(node)));
        let internal = spec.internal_traffic_policy.as_deref() == Some("Local");
        let mut rule = ServiceRule {
            key: match port.name.as_deref().unwrap_or_default() {
                "" => format!("{name}:{number}"),
                port => format!("{name}:{port}"),
            },
            protocol,
            addresses: addresses.clone(),
            port: number,
            node_port: port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0),
            endpoints: if internal { here.clone() } else { everywhere.clone() },
            all_endpoints: (internal && everywhere != here).then_some(everywhere),
            local_endpoints: is_external_local(spec).then_some(here),
            affinity_seconds: affinity,
            draining: Vec::new(),
        };
        if protocol == Protocol::Udp {
            let used = rule.used();
            let serving = all.serving.iter().chain(&all.unready).map(|e| (e.ip, e.port));
            let serving = serving.collect::<BTreeSet<_>>();
            rule.draining = serving.difference(&used).copied().collect();
        }
        // What is left out for its size takes nothing in the kernel, and the work is all that it
        // costs.
        let (takes, work) = (bytes(&rule), all.work() + 64 * addresses.len());
        budget.spend(namespace, if takes > RULE_MAX { work } else { takes.max(work) });
        rules.push(rule);
    }
    (rules, true)
}

#[cfg(test)]
mod tests;
