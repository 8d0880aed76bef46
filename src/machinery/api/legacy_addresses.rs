//! Warnings for IP addresses and networks in forms that fields accept for compatibility only: zeros
//! before a number, IPv4 as IPv6 writes it, bits beyond the prefix (`GetWarningsForIP` and
//! `GetWarningsForCIDR` of apimachinery).

use crate::cidr;
use crate::kinds::Kind;
use crate::meta;
use crate::unhonoured::pod_spec;
use crate::value::{at, list, text};
use serde_json::Value;
use std::collections::HashSet;
use std::net::IpAddr;

/// Returns the warnings for the addresses that a write can change: those of the status if it goes
/// through `/status`, otherwise those of the rest. As upstream, an update is warned of what stands
/// in the stored object, too; of a pod's spec or template only what is not in `old` counts.
pub fn warnings(kind: &Kind, object: &Value, old: Option<&Value>, subresource: &str) -> Vec<String> {
    let found = match subresource {
        "status" => of_status(kind, object),
        _ => {
            let before = old.map(|old| of_pod_spec(kind, old)).unwrap_or_default();
            let before: HashSet<Said> = before.into_iter().collect();
            let new = of_pod_spec(kind, object).into_iter().filter(|one| !before.contains(one));
            new.chain(of_spec(kind, object)).collect()
        }
    };
    found.iter().flat_map(|one| if one.is_network { of_network(one) } else { of_address(one) }).collect()
}

/// An address or a network of an object, as its client wrote it.
#[derive(PartialEq, Eq, Hash)]
struct Said {
    field: String,
    text: String,
    is_network: bool,
}

/// Labels of endpoints that a controller writes, and the controllers: they write addresses in their
/// usual form, and endpoints are many.
const CONTROLLERS: [(&str, &str); 3] = [
    ("endpoints.kubernetes.io/managed-by", "endpoint-controller"),
    ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"),
    ("endpointslice.kubernetes.io/managed-by", "endpointslicemirroring-controller.k8s.io"),
];

fn is_of_controller(object: &Value) -> bool {
    CONTROLLERS.iter().any(|(label, name)| meta::label(object, label) == Some(name))
}

fn of_pod_spec(kind: &Kind, object: &Value) -> Vec<Said> {
    let mut found = vec![];
    if let Some(path) = pod_spec(kind) {
        let spec = at(object, path);
        let servers = format!("{path}.dnsConfig.nameservers");
        texts(list(spec, "dnsConfig.nameservers"), &servers, false, &mut found);
        for (i, alias) in list(spec, "hostAliases").iter().enumerate() {
            let field = format!("{path}.hostAliases[{i}].ip");
            found.push(address(field, text(alias, "ip")));
        }
    }
    found
}

fn address(field: String, text: &str) -> Said {
    Said { field, text: text.to_string(), is_network: false }
}

/// The addresses of a status that upstream warns of. Those of a load balancer are named without
/// `.ip`, as there.
fn of_status(kind: &Kind, object: &Value) -> Vec<Said> {
    let lists: &[(&str, &str)] = match (kind.group, kind.kind) {
        ("", "Service") | ("networking.k8s.io", "Ingress") => &[("status.loadBalancer.ingress", "")],
        ("", "Pod") => &[("status.podIPs", ".ip"), ("status.hostIPs", ".ip")],
        _ => &[],
    };
    let mut found = vec![];
    for (path, last) in lists {
        for (i, one) in list(object, path).iter().enumerate() {
            found.push(address(format!("{path}[{i}]{last}"), text(one, "ip")));
        }
    }
    found
}

fn of_spec(kind: &Kind, object: &Value) -> Vec<Said> {
    let mut found = vec![];
    match (kind.group, kind.kind) {
        ("", "Service") => {
            // `None` is no address, and is not warned of.
            texts(list(object, "spec.clusterIPs"), "spec.clusterIPs", false, &mut found);
            texts(list(object, "spec.externalIPs"), "spec.externalIPs", false, &mut found);
            found.push(address("spec.loadBalancerIP".to_string(), text(object, "spec.loadBalancerIP")));
            let ranges = "spec.loadBalancerSourceRanges";
            texts(list(object, ranges), ranges, true, &mut found);
        }
        ("", "Node") => texts(list(object, "spec.podCIDRs"), "spec.podCIDRs", true, &mut found),
        ("", "Endpoints") if !is_of_controller(object) => {
            for (i, subset) in list(object, "subsets").iter().enumerate() {
                for group in ["addresses", "notReadyAddresses"] {
                    for (j, one) in list(subset, group).iter().enumerate() {
                        found.push(address(format!("subsets[{i}].{group}[{j}].ip"), text(one, "ip")));
                    }
                }
            }
        }
        ("discovery.k8s.io", "EndpointSlice") if !is_of_controller(object) => {
            for (i, endpoint) in list(object, "endpoints").iter().enumerate() {
                let field = format!("endpoints[{i}].addresses");
                texts(list(endpoint, "addresses"), &field, false, &mut found);
            }
        }
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
        warnings(crate::kinds::find(group, "v1", kind).expect("a kind of the table"), object, old, "")
    }

    fn non_standard(field: &str, text: &str, plain: &str) -> String {
        let release = "will be considered invalid in a future Kubernetes release";
        format!("{field}: non-standard IP address {text:?} {release}: use {plain:?}")
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
        let again = told("networking.k8s.io", "NetworkPolicy", &old, Some(&old));
        assert_eq!(again.len(), 1, "as upstream, each update is warned");
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
        assert_eq!(
            told("apps", "Deployment", &deployment, Some(&deployment)),
            [""; 0],
            "it was there before"
        );
    }

    #[test]
    fn addresses_of_services_and_endpoints_are_named_with_their_fields() {
        let ips = ["010.96.0.9", "10.96.0.9"];
        let spec = json!({"clusterIP": ips[0], "clusterIPs": ips, "externalIPs": ["::ffff:9.9.9.9"],
            "loadBalancerIP": "9.9.9.09"});
        let service = json!({ "spec": spec });
        let want = [
            non_standard("spec.clusterIPs[0]", "010.96.0.9", "10.96.0.9"),
            non_standard("spec.externalIPs[0]", "::ffff:9.9.9.9", "9.9.9.9"),
            non_standard("spec.loadBalancerIP", "9.9.9.09", "9.9.9.9"),
        ];
        assert_eq!(told("", "Service", &service, None), want);
        assert_eq!(told("", "Service", &service, Some(&service)), want, "as upstream, at each update");
        let headless =
            json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"], "loadBalancerIP": "any"}});
        assert_eq!(told("", "Service", &headless, None), [""; 0]);
        let subset = json!({"addresses": [{"ip": "10.0.0.1"}, {"ip": "010.0.0.2"}],
            "notReadyAddresses": [{"ip": "FD00::1"}]});
        let six = |field: &str| {
            format!("{field}: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")")
        };
        let mut endpoints = json!({"metadata": {"labels": {}}, "subsets": [subset]});
        assert_eq!(
            told("", "Endpoints", &endpoints, None),
            [
                non_standard("subsets[0].addresses[1].ip", "010.0.0.2", "10.0.0.2"),
                six("subsets[0].notReadyAddresses[0].ip"),
            ]
        );
        let group = "discovery.k8s.io";
        let mut slice = json!({"metadata": {"labels": {}}, "endpoints": [{"addresses": ["010.0.0.2"]}]});
        assert_eq!(
            told(group, "EndpointSlice", &slice, None),
            [non_standard("endpoints[0].addresses[0]", "010.0.0.2", "10.0.0.2")]
        );
        for (label, name) in CONTROLLERS {
            endpoints["metadata"]["labels"] = json!({ label: name });
            slice["metadata"]["labels"] = json!({ label: name });
            let said = [told("", "Endpoints", &endpoints, None), told(group, "EndpointSlice", &slice, None)];
            assert!(said.iter().all(Vec::is_empty), "{said:?}");
        }
    }

    #[test]
    fn addresses_of_a_status_count_in_its_own_writes() {
        let told_of = |group: &str, name: &str, status: Value, subresource: &str| {
            let kind = crate::kinds::find(group, "v1", name).expect("a kind of the table");
            warnings(
                kind,
                &json!({"spec": {"clusterIPs": ["010.96.0.9"]}, "status": status}),
                None,
                subresource,
            )
        };
        let ingress = json!({"loadBalancer": {"ingress": [{"hostname": "a.example"}, {"ip": "09.9.9.9"}]}});
        let field = "status.loadBalancer.ingress[1]";
        for (group, name) in [("", "Service"), ("networking.k8s.io", "Ingress")] {
            let said = told_of(group, name, ingress.clone(), "status");
            assert_eq!(said, [non_standard(field, "09.9.9.9", "9.9.9.9")], "{name}");
        }
        let ips = json!({"podIPs": [{"ip": "010.0.0.1"}], "hostIPs": [{"ip": "::ffff:1.2.3.4"}]});
        assert_eq!(
            told_of("", "Pod", ips.clone(), "status"),
            [
                non_standard("status.podIPs[0].ip", "010.0.0.1", "10.0.0.1"),
                non_standard("status.hostIPs[0].ip", "::ffff:1.2.3.4", "1.2.3.4"),
            ]
        );
        assert_eq!(told_of("", "Pod", ips, ""), [""; 0]);
        let said = told_of("", "Service", ingress, "");
        assert_eq!(said, [non_standard("spec.clusterIPs[0]", "010.96.0.9", "10.96.0.9")]);
    }
}
