//! The table of a node, read back from the kernel.
//!
//! Names of chains, maps and sets say what they are for (see [`super`]), and their numbers for
//! which Service. All of it is the kernel's answer: nothing is taken from what was written.

use super::{TABLE, keys};
use crate::nft::Nft;
use cni::{Does, Installed, ServiceRule};
use nlink::Result;
use nlink::netlink::nftables::{Family, RuleExpr, RuleInfo, SetElement, SetElementData, Verdict};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// An address and a port, as names and elements have them.
type Target = (Ipv4Addr, u16);

/// Reads the whole table. `services` are the Services' rules, by their numbers.
///
/// # Errors
/// The kernel refuses the question, or the answer is cut off.
pub(crate) async fn read(nft: &Nft, services: &BTreeMap<u32, &ServiceRule>) -> Result<Vec<Installed>> {
    let refused = without_endpoints(services);
    let mut found = Vec::new();
    for rule in nft.list_rules(TABLE, Family::Ip).await? {
        let does = role_of_rule(&rule);
        let text = rule.nft_syntax().unwrap_or_else(|| spelled(&rule.expressions()));
        let number = number_of(&rule.chain);
        found.push((number, place(&rule.chain), format!("chain {}", rule.chain), text, does));
    }
    for set in nft.list_sets_in(TABLE, Family::Ip).await? {
        if set.name == "hairpin" {
            continue; // a pair for each address that a pod may have: its rule says it
        }
        let kind = if set.data_type.is_some() { "map" } else { "set" };
        let elements = nft.list_set_elements(TABLE, &set.name, Family::Ip).await?;
        let mut told: Vec<(String, Does, Option<u32>)> = elements
            .iter()
            .filter_map(|element| {
                let (text, does) = element_of(&set.name, element)?;
                let number = owner_of(&set.name, element, &does, &refused);
                Some((text, does, number))
            })
            .collect();
        told.sort_by(|a, b| a.0.cmp(&b.0)); // each kernel's table has an order of its own
        for (text, does, number) in told {
            found.push((number, place(&set.name), format!("{kind} {}", set.name), text, does));
        }
    }
    // Stable: rules of one chain stay in their order.
    found.sort_by_key(|(number, place, ..)| (*number, *place));
    let told = found.into_iter().map(|(number, _, within, text, does)| {
        let service = number.and_then(|number| services.get(&number)).map(|rule| rule.key.clone());
        Installed { service, within, text, does }
    });
    Ok(told.collect())
}

/// The numbers of the Services without endpoints, by the keys of their elements. Such an element
/// leads to no chain, so nothing in the kernel says for which Service it is.
fn without_endpoints(services: &BTreeMap<u32, &ServiceRule>) -> BTreeMap<Vec<u8>, u32> {
    let refused = services.iter().filter(|(_, rule)| rule.everywhere().is_empty());
    let elements = refused.flat_map(|(number, rule)| {
        let (addresses, ports) = keys(rule);
        addresses.into_iter().chain(ports).map(move |element| (element.key().to_vec(), *number))
    });
    elements.collect()
}

/// The number of the Service that an element is for; `None`: it is for all, or it is not known for
/// which.
fn owner_of(set: &str, element: &SetElement, does: &Does, refused: &BTreeMap<Vec<u8>, u32>) -> Option<u32> {
    match does {
        Does::LeadsAddress { chain, .. } | Does::LeadsNodePort { chain, .. } => number_of(chain),
        Does::Refused { .. } | Does::RefusedNodePort { .. } => refused.get(element.key()).copied(),
        _ => number_of(set),
    }
}

/// Where in the way of a connection a chain, map or set is.
fn place(name: &str) -> u8 {
    match name {
        "prerouting" | "output" => 0,
        "services" => 1,
        "vips" | "nodeports" | "refused" | "refused-ports" => 2,
        "refuse-input" | "refuse-forward" | "refuse-output" => 9,
        "postrouting" => 10,
        _ => match name.as_bytes().first() {
            Some(b'x') => 3,
            Some(b'y') => 4,
            Some(b's') => 5,
            Some(b'e') => 6,
            Some(b't') => 7,
            _ => 8,
        },
    }
}

/// Returns the number in the name of a Service's chain, map or set; `None`: it is for all.
///
/// `s12` and `e_s12` belong to Service 12, `t3_0af401021f90` to Service 3, `vips` to all.
fn number_of(name: &str) -> Option<u32> {
    let name = name.strip_prefix("e_").unwrap_or(name);
    let digits = name.strip_prefix(['s', 'x', 'y', 't', 'a'])?;
    digits.split('_').next()?.parse().ok()
}

/// Returns the endpoint in the name of a chain or set that remembers its clients.
///
/// `t3_0af401021f90` leads to 10.244.1.2, port 8080.
fn target_of(name: &str) -> Option<Target> {
    let (_, hex) = name.strip_prefix(['t', 'a'])?.split_once('_')?;
    let (ip, port) = hex.split_at_checked(8)?;
    Some((u32::from_str_radix(ip, 16).ok()?.into(), u16::from_str_radix(port, 16).ok()?))
}

/// Returns what a rule does for connections, judged by its chain and its expressions.
fn role_of_rule(rule: &RuleInfo) -> Does {
    let expressions = rule.expressions();
    let looks_up =
        |name: &str| expressions.iter().any(|e| matches!(e, RuleExpr::Lookup { set, .. } if set == name));
    let map = expressions.iter().rev().find_map(|e| match e {
        RuleExpr::Lookup { set, .. } => Some(set.clone()),
        _ => None,
    });
    let goes_to = expressions.iter().find_map(|e| match e {
        RuleExpr::Verdict(Verdict::GotoTo(chain)) => Some(chain.to_string()),
        _ => None,
    });
    let drops = expressions.iter().any(|e| matches!(e, RuleExpr::Verdict(Verdict::Drop)));
    let draws = expressions.iter().any(|e| matches!(e, RuleExpr::Numgen { .. }));
    let by_client = matches!(expressions.first(), Some(RuleExpr::Payload { .. }));
    let remembers = expressions.iter().any(|e| matches!(e, RuleExpr::Dynset { .. }));
    let translates = expressions.iter().any(|e| matches!(e, RuleExpr::Nat { .. }));
    match (rule.chain.as_str(), target_of(&rule.chain)) {
        ("prerouting", _) => Does::EntersFromPods,
        ("output", _) => Does::EntersFromNode,
        ("services", _) if looks_up("vips") => Does::FindsAddress,
        ("services", _) if looks_up("nodeports") => Does::FindsNodePort,
        (name, _) if name.starts_with("refuse-") && looks_up("refused") => Does::RefusesListed,
        ("refuse-input", _) if looks_up("refused-ports") => Does::RefusesListedPorts,
        ("refuse-forward" | "refuse-output", _) => Does::RefusesUnknown,
        ("postrouting", _) if looks_up("hairpin") => Does::Hairpin,
        ("postrouting", _) => Does::Masquerades,
        (_, Some((ip, port))) if remembers => Does::Remembers { ip, port },
        (_, Some((ip, port))) if translates => Does::Translates { ip, port },
        (name, None) if number_of(name).is_some() => match (map, goes_to) {
            _ if drops => Does::Drops,
            (Some(map), None) if draws => Does::Chooses { map },
            (Some(clients), Some(_)) => {
                target_of(&clients).map_or(Does::Other, |(ip, port)| Does::KnowsClients { ip, port })
            }
            (None, Some(chain)) if by_client => Does::LeadsInside { chain },
            (None, Some(chain)) => Does::Marks { chain },
            _ => Does::Other,
        },
        _ => Does::Other,
    }
}

/// An element as nft prints it, and what it is there for.
fn element_of(set: &str, element: &SetElement) -> Option<(String, Does)> {
    let key = element.key();
    let chain = match element.data() {
        Some(SetElementData::Verdict(Verdict::GotoTo(chain))) => Some(chain.to_string()),
        _ => None,
    };
    let told = match (set, chain) {
        ("vips", Some(chain)) => {
            let (address, protocol, port) = (address_at(key, 0)?, protocol_at(key, 4)?, port_at(key, 8)?);
            let text = format!("{address} . {protocol} . {port} : goto {chain}");
            (text, Does::LeadsAddress { address, port, chain })
        }
        ("nodeports", Some(chain)) => {
            let (protocol, port) = (protocol_at(key, 0)?, port_at(key, 4)?);
            (format!("{protocol} . {port} : goto {chain}"), Does::LeadsNodePort { port, chain })
        }
        ("refused", _) => {
            let (address, protocol, port) = (address_at(key, 0)?, protocol_at(key, 4)?, port_at(key, 8)?);
            (format!("{address} . {protocol} . {port}"), Does::Refused { address, port })
        }
        ("refused-ports", _) => {
            let (protocol, port) = (protocol_at(key, 0)?, port_at(key, 4)?);
            (format!("{protocol} . {port}"), Does::RefusedNodePort { port })
        }
        (name, Some(chain)) if name.starts_with("e_") => {
            let (number, (ip, port)) = (number_at(key)?, target_of(&chain)?);
            (format!("0x{number:08x} : goto {chain}"), Does::LeadsToSticky { number, ip, port })
        }
        (name, None) if name.starts_with("e_") => {
            let Some(SetElementData::Value(value)) = element.data() else { return None };
            let (number, ip, port) = (number_at(key)?, address_at(value, 0)?, port_at(value, 4)?);
            (format!("0x{number:08x} : {ip} . {port}"), Does::Endpoint { number, ip, port })
        }
        (name, _) => {
            let ((ip, port), client) = (target_of(name)?, address_at(key, 0)?);
            let left = element.expiration().map(|left| format!(" expires {}s", left.as_secs()));
            (format!("{client}{}", left.unwrap_or_default()), Does::Client { client, ip, port })
        }
    };
    Some(told)
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(four.into())
}

fn port_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn protocol_at(bytes: &[u8], at: usize) -> Option<&'static str> {
    match bytes.get(at)? {
        6 => Some("tcp"),
        17 => Some("udp"),
        _ => None,
    }
}

fn number_at(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// A rule of ours that nlink does not print: look-ups by several fields, and a lot that a map
/// translates. What is compared before the look-up is left out: `ct state new`, and the node's own
/// address, in which nodes with the same rules would differ.
fn spelled(expressions: &[RuleExpr]) -> String {
    let mut words = Vec::new();
    let mut lot = None;
    let mut rest = expressions.iter().peekable();
    while let Some(expression) = rest.next() {
        match expression {
            RuleExpr::Numgen { modulus, .. } => lot = Some(format!("numgen random mod {modulus}")),
            RuleExpr::Lookup { set, dreg, .. } => {
                let from = match (set.as_str(), lot.take()) {
                    (_, Some(lot)) => lot,
                    ("vips" | "refused", None) => "ip daddr . meta l4proto . th dport".into(),
                    ("nodeports" | "refused-ports", None) => "meta l4proto . th dport".into(),
                    ("hairpin", None) => "ip saddr . ip daddr".into(),
                    _ => "?".into(),
                };
                words.push(match (dreg, rest.peek()) {
                    (None, _) => format!("{from} @{set}"),
                    (Some(_), Some(RuleExpr::Nat { .. } | RuleExpr::Unknown { .. })) => {
                        rest.next();
                        format!("dnat ip to {from} map @{set}")
                    }
                    (Some(_), _) => format!("{from} vmap @{set}"),
                });
            }
            RuleExpr::Masq { .. } => words.push("masquerade".into()),
            RuleExpr::Reject { .. } => words.push("reject".into()),
            RuleExpr::Verdict(Verdict::Drop) => words.push("drop".into()),
            RuleExpr::Verdict(Verdict::GotoTo(chain)) => words.push(format!("goto {chain}")),
            RuleExpr::Verdict(Verdict::JumpTo(chain)) => words.push(format!("jump {chain}")),
            _ => {} // loads of what the look-up names, and what is left out
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::Names;
    use super::*;
    use crate::plan::tests::rule as service;

    #[test]
    fn names_tell_for_which_service_and_endpoint_they_are() {
        let endpoint = (Ipv4Addr::new(10, 244, 1, 5), 8080);
        let names = Names(17);
        let chains = [names.cluster(), names.external(), names.node_port()];
        for name in chains.iter().cloned().chain(chains.iter().map(|chain| Names::choice(chain))) {
            assert_eq!((number_of(&name), target_of(&name)), (Some(17), None), "{name}");
        }
        for name in [names.clients(endpoint), names.sticky(endpoint)] {
            assert_eq!((number_of(&name), target_of(&name)), (Some(17), Some(endpoint)), "{name}");
        }
        for name in ["services", "prerouting", "vips", "refused", "hairpin", "t1_zz", "a1_0af4", "s", "xé"] {
            assert_eq!((number_of(name).filter(|n| *n != 1), target_of(name)), (None, None), "{name}");
        }
    }

    /// `net show` of a Service whose selector matches no pod would else say that it has no rules.
    #[test]
    fn an_element_of_what_is_refused_is_for_the_service_without_endpoints() {
        let endpoint = (Ipv4Addr::new(10, 244, 1, 5), 8080);
        let lone = ServiceRule { node_port: Some(30081), ..service("default/lone:", &[]) };
        let address = Ipv4Addr::new(10, 96, 0, 11);
        let web = ServiceRule { addresses: vec![address], ..service("default/web:", &[endpoint]) };
        let refused = without_endpoints(&[(3, &lone), (4, &web)].into());
        let owner = |set: &str, element: &SetElement| {
            let (_, does) = element_of(set, element).unwrap();
            owner_of(set, element, &does, &refused)
        };
        let (addresses, ports) = keys(&lone);
        assert_eq!(owner("refused", &addresses[0]), Some(3));
        assert_eq!(owner("refused-ports", &ports[0]), Some(3));
        assert_eq!(owner("refused", &keys(&web).0[0]), None, "it has an endpoint, so this is not its own");
    }

    #[test]
    fn an_element_that_is_too_short_is_left_out() {
        for set in ["vips", "nodeports", "refused", "refused-ports", "e_s1", "a1_0af401050050"] {
            assert_eq!(element_of(set, &SetElement::new(vec![1])), None, "{set}");
        }
    }
}
