//! The page of `net show`: each rule as the kernel has it, and below it a sentence.

use super::NodeRules;
use super::words::Word;
use crate::layout::wrapped;
use cni::{Does, Installed};
use lang::Lang;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use ui::prose;

/// Returns a chain's or map's name without its numbers, which each node gives for itself.
fn without_number(chain: &str) -> String {
    chain.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Returns what two nodes must have in common for their rules to be shown together: what each rule
/// does, without the number that a node gives a Service; of a rule of another program its chain and
/// its text, too.
fn comparable<'a>(rules: &[&'a Installed]) -> Vec<(Does, Option<(String, &'a str)>)> {
    let plain = |rule: &Installed| match rule.does.clone() {
        Does::LeadsAddress { address, port, chain } => {
            Does::LeadsAddress { address, port, chain: without_number(&chain) }
        }
        Does::LeadsNodePort { port, chain } => Does::LeadsNodePort { port, chain: without_number(&chain) },
        Does::Marks { chain } => Does::Marks { chain: without_number(&chain) },
        Does::LeadsInside { chain } => Does::LeadsInside { chain: without_number(&chain) },
        Does::Chooses { map } => Does::Chooses { map: without_number(&map) },
        other => other,
    };
    let foreign = |rule: &'a Installed| {
        (rule.does == Does::Other).then(|| (without_number(&rule.within), rule.text.as_str()))
    };
    rules.iter().map(|&rule| (plain(rule), foreign(rule))).collect()
}

/// Returns the rules of all nodes, Service by Service, with one section for all nodes that have the
/// same rules. `pods`: `namespace/name` by address.
pub(super) fn page(lang: Lang, nodes: &NodeRules, pods: &BTreeMap<Ipv4Addr, String>, width: usize) -> String {
    let mut services: Vec<Option<&str>> =
        nodes.values().flatten().map(|rule| rule.service.as_deref()).collect();
    services.sort_unstable();
    services.dedup();
    let mut out = String::new();
    for service in services {
        let title =
            service.map_or_else(|| lang.say(Word::ForAll, &[]), |key| key.trim_end_matches(':').into());
        out.push_str(&format!("{}{title}\n", if out.is_empty() { "" } else { "\n" }));
        // The names of the nodes, and the rules of the first one.
        let mut groups: Vec<(Vec<&str>, Vec<&Installed>)> = Vec::new();
        for (node, rules) in nodes {
            let own: Vec<&Installed> =
                rules.iter().filter(|rule| rule.service.as_deref() == service).collect();
            if own.is_empty() {
                continue;
            }
            match groups.iter_mut().find(|(_, rules)| comparable(rules) == comparable(&own)) {
                Some((nodes, _)) => nodes.push(node),
                None => groups.push((vec![node], own)),
            }
        }
        for (nodes, rules) in groups {
            let names = nodes.join(", ");
            let head = match nodes.len() {
                1 => lang.say(Word::OnNodes, &[&names]),
                count => lang.say(Word::Alike, &[&count.to_string(), &names]),
            };
            out.push_str(&wrapped(&head, "  ", width));
            for rule in rules {
                // A privileged pod may write rules of its own, with any names.
                let line = format!("{}: {}", rule.within, rule.text);
                out.push_str(&format!("    {}\n", prose::harmless(&line)));
                out.push_str(&wrapped(&sentence(lang, &rule.does, pods), "      ", width));
            }
        }
    }
    out
}

/// Says in a sentence what a rule does.
fn sentence(lang: Lang, does: &Does, pods: &BTreeMap<Ipv4Addr, String>) -> String {
    let with_pod = |ip: &Ipv4Addr| pods.get(ip).map_or_else(|| ip.to_string(), |pod| format!("{ip} ({pod})"));
    let with_port = |word, ip: &Ipv4Addr, port: &u16| lang.say(word, &[&with_pod(ip), &port.to_string()]);
    match does {
        Does::EntersFromPods => lang.say(Word::EntersFromPods, &[]),
        Does::EntersFromNode => lang.say(Word::EntersFromNode, &[]),
        Does::FindsAddress => lang.say(Word::FindsAddress, &[]),
        Does::FindsNodePort => lang.say(Word::FindsNodePort, &[]),
        Does::LeadsAddress { address, port, chain } => {
            lang.say(Word::LeadsAddress, &[&address.to_string(), &port.to_string(), chain])
        }
        Does::LeadsNodePort { port, chain } => lang.say(Word::LeadsNodePort, &[&port.to_string(), chain]),
        Does::Marks { chain } => lang.say(Word::Marks, &[chain]),
        Does::LeadsInside { chain } => lang.say(Word::LeadsInside, &[chain]),
        Does::Drops => lang.say(Word::Drops, &[]),
        Does::Chooses { map } => lang.say(Word::Chooses, &[map]),
        Does::Endpoint { number, ip, port } => {
            lang.say(Word::Endpoint, &[&number.to_string(), &with_pod(ip), &port.to_string()])
        }
        Does::LeadsToSticky { number, ip, port } => {
            lang.say(Word::LeadsToSticky, &[&number.to_string(), &with_pod(ip), &port.to_string()])
        }
        Does::KnowsClients { ip, port } => with_port(Word::KnowsClients, ip, port),
        Does::Remembers { ip, port } => with_port(Word::Remembers, ip, port),
        Does::Translates { ip, port } => with_port(Word::Translates, ip, port),
        Does::Client { client, ip, port } => {
            lang.say(Word::Client, &[&with_pod(client), &with_pod(ip), &port.to_string()])
        }
        Does::Refused { address, port } => with_port(Word::Refused, address, port),
        Does::RefusedNodePort { port } => lang.say(Word::RefusedNodePort, &[&port.to_string()]),
        Does::RefusesListedPorts => lang.say(Word::RefusesListedPorts, &[]),
        Does::RefusesListed => lang.say(Word::RefusesListed, &[]),
        Does::RefusesUnknown => lang.say(Word::RefusesUnknown, &[]),
        Does::Masquerades => lang.say(Word::Masquerades, &[]),
        Does::Hairpin => lang.say(Word::Hairpin, &[]),
        Does::Other => lang.say(Word::Other, &[]),
    }
}
