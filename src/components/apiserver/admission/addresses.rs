//! Addresses that users write into Services and endpoints, to which nodes then send other people's
//! traffic.

use super::Attributes;
use crate::registry::services::Cidr;
use crate::storage::store::Extra;
use api::cidr;
use api::errors::Errors;
use api::path::cut;
use api::value::{list, text};
use api::{Status, meta};
use net::addresses;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

/// Bytes of addresses that a warning names.
const WARNED_MAX: usize = 512;

/// Why an address may not stand for a machine that is reached over the network; upstream's
/// `ValidateNonSpecialIP`.
fn special(ip: IpAddr) -> Option<&'static str> {
    // An IPv4 address that is written as IPv6 is judged as what it is.
    let ip = ip.to_canonical();
    let (link_local, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0 == 0xfe80, ip.segments()[0] == 0xff02),
    };
    match ip {
        ip if ip.is_unspecified() => Some("may not be unspecified (0.0.0.0 or ::)"),
        ip if ip.is_loopback() => Some("may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        _ if link_local => Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        _ if multicast => Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        _ => None,
    }
}

/// The addresses of an object, each with its field.
fn addresses(kind: &str, object: &Value) -> Vec<(String, String)> {
    let mut all = vec![];
    let mut add = |field: String, text: &str| all.push((field, text.to_string()));
    match kind {
        "Service" => {
            for (i, ip) in list(object, "spec.externalIPs").iter().enumerate() {
                add(format!("spec.externalIPs[{i}]"), ip.as_str().unwrap_or_default());
            }
        }
        "Endpoints" => {
            for (i, subset) in list(object, "subsets").iter().enumerate() {
                for group in ["addresses", "notReadyAddresses"] {
                    for (j, address) in list(subset, group).iter().enumerate() {
                        add(format!("subsets[{i}].{group}[{j}].ip"), text(address, "ip"));
                    }
                }
            }
        }
        _ => {
            for (i, endpoint) in list(object, "endpoints").iter().enumerate() {
                for (j, ip) in list(endpoint, "addresses").iter().enumerate() {
                    add(format!("endpoints[{i}].addresses[{j}]"), ip.as_str().unwrap_or_default());
                }
            }
        }
    }
    all
}

/// Refuses special addresses: a node would send a Service's clients to its own loopback or to a
/// metadata server (CVE-2021-25737). What is stored already may stay.
///
/// For a Service's external addresses, which catch what any pod sends there (CVE-2020-8554): those
/// of this cluster are refused, others are answered with a warning. Upstream has the plug-in
/// DenyServiceExternalIPs for this, which is off by default.
pub(super) fn check(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let known = a.old.map(|old| addresses(a.kind.kind, old)).unwrap_or_default();
    let known: HashSet<String> = known.into_iter().map(|(_, old)| old).collect();
    let is_new = |text: &str| !known.contains(text);
    let own = if a.kind.kind == "Service" { Own::of(a) } else { Own::default() };
    let mut errors = Errors::default();
    let (mut external, mut elsewhere): (Vec<String>, Vec<String>) = (vec![], vec![]);
    for (field, text) in addresses(a.kind.kind, object).into_iter().filter(|(_, text)| is_new(text)) {
        let Some(ip) = cidr::parse_ip(&text) else {
            if a.kind.kind == "Service" {
                errors.invalid(
                    field,
                    &json!(text),
                    "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                );
            }
            continue; // a name, for endpoints that have them
        };
        if let Some(why) = special(ip) {
            errors.invalid(field, &json!(text), why);
        } else if a.kind.kind == "Service" {
            if let Some(owner) = owner(a, &own, ip) {
                errors.invalid(
                    field,
                    &json!(text),
                    &format!("may not be an address of this cluster: {owner}"),
                );
            }
            let leads_here = matches!(ip.to_canonical(), IpAddr::V4(_));
            if leads_here { &mut external } else { &mut elsewhere }.push(text);
        }
    }
    if !errors.is_empty() {
        return Err(Status::invalid(a.kind.group, a.kind.kind, meta::name(object), &errors));
    }
    if !external.is_empty() {
        a.ctx.warn(format!(
            "spec.externalIPs: connections of all pods to {} now lead to this Service (CVE-2020-8554)",
            cut(external.join(", "), WARNED_MAX)
        ));
    }
    if !elsewhere.is_empty() {
        a.ctx.warn(format!(
            "spec.externalIPs: nothing leads to {}: the networks of this cluster are IPv4 only",
            cut(elsewhere.join(", "), WARNED_MAX)
        ));
    }
    Ok(Extra::default())
}

/// The addresses of nodes and API servers, collected once for all addresses of an object.
#[derive(Default)]
struct Own {
    nodes: HashMap<Ipv4Addr, String>,
    pods: Vec<(Cidr, String)>,
    servers: HashSet<Ipv4Addr>,
}

impl Own {
    fn of(a: &Attributes) -> Own {
        let mut own = Own::default();
        a.state.cache.for_each("nodes", "", |node| {
            let name = meta::name(node).to_string();
            for ip in list(node, "status.addresses").iter().filter_map(|n| cidr::ipv4(text(n, "address"))) {
                own.nodes.insert(ip, name.clone());
            }
            own.pods.extend(Cidr::parse(text(node, "spec.podCIDR")).map(|range| (range, name)));
        });
        a.state.cache.for_each("endpoints", "default/kubernetes", |endpoints| {
            let servers = list(endpoints, "subsets").iter().flat_map(|s| list(s, "addresses"));
            own.servers.extend(servers.filter_map(|s| cidr::ipv4(text(s, "ip"))));
        });
        own
    }
}

/// What of the cluster has this address.
fn owner(a: &Attributes, own: &Own, ip: IpAddr) -> Option<String> {
    let IpAddr::V4(v4) = ip.to_canonical() else { return None };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_told_in_upstreams_words() {
        let word = |ip: &str| special(ip.parse().unwrap()).map(|w| w.split(" (").next().unwrap());
        assert_eq!(word("0.0.0.0"), Some("may not be unspecified"));
        assert_eq!(word("127.3.2.1"), Some("may not be in the loopback range"));
        assert_eq!(word("::ffff:127.0.0.1"), Some("may not be in the loopback range"));
        assert_eq!(word("169.254.169.254"), Some("may not be in the link-local range"));
        assert_eq!(word("::ffff:169.254.169.254"), Some("may not be in the link-local range"));
        assert_eq!(word("::ffff:224.0.0.251"), Some("may not be in the link-local multicast range"));
        assert_eq!(word("febf::1"), Some("may not be in the link-local range"));
        assert_eq!(word("224.0.0.251"), Some("may not be in the link-local multicast range"));
        for fine in ["10.244.1.7", "203.0.113.250", "224.0.1.1", "fec0::1", "2001:db8::1"] {
            assert_eq!(word(fine), None, "{fine}");
        }
    }
}
