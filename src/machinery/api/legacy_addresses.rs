//! Warnings for IP addresses and networks in forms that fields accept for compatibility only: zeros
//! before a number, IPv4 as IPv6 writes it, bits beyond the prefix (`GetWarningsForIP` and
//! `GetWarningsForCIDR` of apimachinery).

use crate::cidr;
use crate::kinds::Kind;
use crate::unhonoured::pod_spec;
use crate::value::{at, list, text};
use serde_json::Value;
use std::net::IpAddr;

/// Returns the warnings for the addresses of an object. Of an update only those count that are not
/// in `old`, which was stored, in the same field.
pub fn warnings(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<String> {
    let before = old.map(|old| said(kind, old)).unwrap_or_default();
    let new = said(kind, object).into_iter().filter(|one| !before.contains(one));
    new.flat_map(|one| if one.is_network { of_network(&one) } else { of_address(&one) }).collect()
}

/// An address or a network of an object, as its client wrote it.
#[derive(PartialEq, Eq)]
struct Said {
    field: String,
    text: String,
    is_network: bool,
}

fn said(kind: &Kind, object: &Value) -> Vec<Said> {
    let mut found = vec![];
    if let Some(path) = pod_spec(kind) {
        let spec = at(object, path);
        let servers = format!("{path}.dnsConfig.nameservers");
        texts(list(spec, "dnsConfig.nameservers"), &servers, false, &mut found);
        for (i, alias) in list(spec, "hostAliases").iter().enumerate() {
            let field = format!("{path}.hostAliases[{i}].ip");
            found.push(Said { field, text: text(alias, "ip").to_string(), is_network: false });
        }
    }
    match (kind.group, kind.kind) {
        ("", "Service") => {
            let ranges = "spec.loadBalancerSourceRanges";
            texts(list(object, ranges), ranges, true, &mut found);
        }
        ("", "Node") => texts(list(object, "spec.podCIDRs"), "spec.podCIDRs", true, &mut found),
        ("networking.k8s.io", "NetworkPolicy") => {
            for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
                for (i, rule) in list(object, &format!("spec.{rules}")).iter().enumerate() {
                    for (j, peer) in list(rule, peers).iter().enumerate() {
                        let field = format!("spec.{rules}[{i}].{peers}[{j}].ipBlock");
                        block(at(peer, "ipBlock"), &field, &mut found);
                    }
                }
            }
        }
        _ => {}
    }
    found
}

fn block(block: &Value, field: &str, found: &mut Vec<Said>) {
    let whole = text(block, "cidr").to_string();
    found.push(Said { field: format!("{field}.cidr"), text: whole, is_network: true });
    texts(list(block, "except"), &format!("{field}.except"), true, found);
}

fn texts(all: &[Value], field: &str, is_network: bool, found: &mut Vec<Said>) {
    for (i, one) in all.iter().enumerate() {
        let text = one.as_str().unwrap_or_default().trim().to_string();
        found.push(Said { field: format!("{field}[{i}]"), text, is_network });
    }
}

fn of_address(Said { field, text, .. }: &Said) -> Vec<String> {
    let Some(ip) = cidr::parse_ip(text) else { return vec![] };
    let plain = ip.to_canonical();
    if plain != ip || text.parse::<IpAddr>().is_err() {
        let use_this = format!("use \"{plain}\"");
        return vec![format!(
            "{field}: non-standard IP address {text:?} will be considered invalid in a future Kubernetes release: {use_this}"
        )];
    }
    match ip.is_ipv6() && ip.to_string() != *text {
        true => {
            vec![format!("{field}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{ip}\")")]
        }
        false => vec![],
    }
}

fn of_network(Said { field, text, .. }: &Said) -> Vec<String> {
    let Some(network) = cidr::parse(text) else { return vec![] };
    let (ip, whole, length) = (network.addr(), network.trunc(), network.max_prefix_len());
    let mut found = vec![];
    if ip != network.network() {
        found.push(format!(
            "{field}: CIDR value {text:?} is ambiguous in this context (should be \"{whole}\" or \"{ip}/{length}\"?)"
        ));
    }
    if ip.to_canonical() != ip || cidr::parse_strictly(text).is_none() {
        found.push(format!(
            "{field}: non-standard CIDR value {text:?} will be considered invalid in a future Kubernetes release: use \"{whole}\""
        ));
    }
    if found.is_empty() && ip.is_ipv6() && network.to_string() != *text {
        found.push(format!(
            "{field}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format (\"{network}\")"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::problems;
    use serde_json::json;

    fn told(group: &str, kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
        warnings(crate::kinds::find(group, "v1", kind).expect("a kind of the table"), object, old)
    }

    #[test]
    fn zeros_before_numbers_are_accepted_with_a_warning() {
        let network_policy =
            crate::kinds::find("networking.k8s.io", "v1", "NetworkPolicy").expect("a kind of the table");
        let policy = |range: &str| json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": range}}]}]}});
        let field = "spec.ingress[0].from[0].ipBlock.cidr";
        let non_standard = |text: &str, plain: &str| {
            format!(
                "{field}: non-standard CIDR value {text:?} will be considered invalid in a future Kubernetes release: use {plain:?}"
            )
        };
        for text in ["010.0.0.0/8", "10.0.0.0/08"] {
            assert_eq!(problems(network_policy.validate, policy(text)), [""; 0], "{text}");
            let said = told("networking.k8s.io", "NetworkPolicy", &policy(text), None);
            assert_eq!(said, [non_standard(text, "10.0.0.0/8")]);
        }
        for (text, why) in [
            (
                "10.1.0.0/8",
                "CIDR value \"10.1.0.0/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.1.0.0/32\"?)",
            ),
            (
                "FD00::/8",
                "IPv6 CIDR value \"FD00::/8\" should be in RFC 5952 canonical format (\"fd00::/8\")",
            ),
        ] {
            let said = told("networking.k8s.io", "NetworkPolicy", &policy(text), None);
            assert_eq!(said, [format!("{field}: {why}")]);
        }
        let old = policy("010.0.0.0/8");
        assert_eq!(
            told("networking.k8s.io", "NetworkPolicy", &old, Some(&old)),
            [""; 0],
            "it was there before"
        );
        assert_eq!(told("networking.k8s.io", "NetworkPolicy", &policy("10.0.0.0/8"), None), [""; 0]);
    }

    #[test]
    fn addresses_of_pods_are_named_with_their_fields() {
        let config = json!({"nameservers": ["010.0.0.1", "10.0.0.2"]});
        let spec = json!({"dnsConfig": config, "hostAliases": [{"ip": "::ffff:1.2.3.4"}, {"ip": "FD00::1"}]});
        let release = "will be considered invalid in a future Kubernetes release";
        assert_eq!(
            told("", "Pod", &json!({ "spec": spec }), None),
            [
                format!(
                    "spec.dnsConfig.nameservers[0]: non-standard IP address \"010.0.0.1\" {release}: use \"10.0.0.1\""
                ),
                format!(
                    "spec.hostAliases[0].ip: non-standard IP address \"::ffff:1.2.3.4\" {release}: use \"1.2.3.4\""
                ),
                "spec.hostAliases[1].ip: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")"
                    .to_string(),
            ]
        );
        let deployment = json!({"spec": {"template": {"spec": spec}}});
        assert!(told("apps", "Deployment", &deployment, None)[0].starts_with("spec.template.spec.dnsConfig"));
    }
}
