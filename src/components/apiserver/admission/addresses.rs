//! External addresses of Services (`spec.externalIPs`): every node sends what pods send there to
//! the Service.

use super::attributes::Attributes;
use crate::registry::cidr::Cidr;
use crate::storage::extra::Extra;
use api::cidr;
use api::errors::Errors;
use api::path::cut;
use api::value::{list, text};
use api::{Status, meta};
use net::addresses;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

/// Bytes of addresses that a warning names.
const WARNED_MAX: usize = 512;

/// Refuses external addresses that belong to this cluster, and warns of all others: the Service
/// receives what any pod sends there (CVE-2020-8554). An address that the stored Service has may
/// stay. Upstream has the plug-in DenyServiceExternalIPs for this, which is off by default.
///
/// Validation has refused what is no address, and loopback and link-local addresses
/// (CVE-2021-25737; `api::validate`).
pub(super) fn check(a: &Attributes, service: &Value) -> Result<Extra, Status> {
    const FIELD: &str = "spec.externalIPs";
    let known = a.old.map(|old| list(old, FIELD)).unwrap_or_default();
    let known: HashSet<&str> = known.iter().filter_map(Value::as_str).collect();
    let all = list(service, FIELD).iter().enumerate().filter_map(|(i, ip)| Some((i, ip.as_str()?)));
    let new: Vec<(usize, &str, IpAddr)> = all
        .filter(|(_, text)| !known.contains(text))
        .filter_map(|(i, text)| Some((i, text, cidr::canonical_ip(text)?)))
        .collect();
    if new.is_empty() {
        return Ok(Extra::default());
    }
    let own = Own::collect(a);
    let mut errors = Errors::default();
    for (i, text, ip) in &new {
        if let Some(owner) = owner(a, &own, *ip) {
            let why = format!("may not be an address of this cluster: {owner}");
            errors.invalid_text(format!("{FIELD}[{i}]"), text, &why);
        }
    }
    if !errors.is_empty() {
        return Err(Status::invalid(a.kind.group, a.kind.kind, meta::name(service), &errors));
    }
    let (external, elsewhere): (Vec<_>, Vec<_>) = new.into_iter().partition(|(.., ip)| ip.is_ipv4());
    let texts = |of: &[(usize, &str, IpAddr)]| {
        let texts: Vec<&str> = of.iter().map(|(_, text, _)| *text).collect();
        cut(texts.join(", "), WARNED_MAX)
    };
    if !external.is_empty() {
        a.ctx.warn(format!(
            "{FIELD}: connections of all pods to {} now lead to this Service (CVE-2020-8554)",
            texts(&external)
        ));
    }
    if !elsewhere.is_empty() {
        a.ctx.warn(format!(
            "{FIELD}: nothing leads to {}: the networks of this cluster are IPv4 only",
            texts(&elsewhere)
        ));
    }
    Ok(Extra::default())
}

/// The addresses of nodes and API servers, collected once for all addresses of an object.
struct Own {
    nodes: HashMap<Ipv4Addr, String>,
    pods: Vec<(Cidr, String)>,
    servers: HashSet<Ipv4Addr>,
}

impl Own {
    fn collect(a: &Attributes) -> Own {
        let mut own = Own { nodes: HashMap::new(), pods: vec![], servers: HashSet::new() };
        a.state.cache.for_each("nodes", "", |node| {
            let name = meta::name(node).to_string();
            for ip in list(node, "status.addresses").iter().filter_map(|n| cidr::ipv4(text(n, "address"))) {
                own.nodes.insert(ip, name.clone());
            }
            own.pods.extend(Cidr::parse(text(node, "spec.podCIDR")).map(|range| (range, name)));
        });
        if let Some(endpoints) = a.state.cache.get("endpoints", "default/kubernetes") {
            let servers = list(&endpoints.value, "subsets").iter().flat_map(|s| list(s, "addresses"));
            own.servers.extend(servers.filter_map(|s| cidr::ipv4(text(s, "ip"))));
        }
        own
    }
}

/// Returns what of the cluster has this address, as a part of a sentence: `node n1 has it`. The
/// networks of the cluster are IPv4 only, so an IPv6 address has no owner.
fn owner(a: &Attributes, own: &Own, ip: IpAddr) -> Option<String> {
    let IpAddr::V4(v4) = ip else { return None };
    if a.state.service_cidr.contains(v4) {
        return Some("the range of Services has it".into());
    }
    if v4 == addresses::BRIDGE {
        return Some("the nodes reach the API servers through it".into());
    }
    let of_pods = || own.pods.iter().find(|(range, _)| range.contains(v4)).map(|(_, name)| name);
    if let Some(name) = own.nodes.get(&v4).or_else(of_pods) {
        return Some(format!("node {name} has it"));
    }
    own.servers.contains(&v4).then(|| "an API server has it".into())
}
