//! Warnings for IP addresses and networks in forms that fields accept for compatibility only: zeros
//! before a number, IPv4 as IPv6 writes it, bits beyond the prefix (`GetWarningsForIP` and
//! `GetWarningsForCIDR` of apimachinery).

use crate::cidr;
use crate::kinds::Kind;
use crate::meta;
use crate::unhonoured::pod_spec;
use ipnet::IpNet;
use serde_json::Value;
use std::collections::HashSet;
use std::net::IpAddr;

/// Where objects of a kind have addresses that upstream warns of: in what is written through the
/// object itself, and in what is written through `/status`.
struct Kinds {
    group: &'static str,
    kind: &'static str,
    main: &'static [Place],
    status: &'static [Place],
}

/// A field with addresses or networks. The path leads through every item of a list, and `from|to`
/// through both fields.
#[derive(Clone, Copy)]
struct Place {
    path: &'static str,
    is_network: bool,
    /// The end of the path that the warning leaves out, as upstream does.
    unnamed: &'static str,
}

const fn address(path: &'static str) -> Place {
    Place { path, is_network: false, unnamed: "" }
}

const fn network(path: &'static str) -> Place {
    Place { path, is_network: true, unnamed: "" }
}

const LOAD_BALANCER: Place = Place { unnamed: ".ip", ..address("status.loadBalancer.ingress.ip") };

const KINDS: [Kinds; 7] = [
    Kinds {
        group: "",
        kind: "Service",
        main: &[
            address("spec.clusterIPs"), // `None` is no address, and is not warned of
            address("spec.externalIPs"),
            address("spec.loadBalancerIP"),
            network("spec.loadBalancerSourceRanges"),
        ],
        status: &[LOAD_BALANCER],
    },
    Kinds { group: "", kind: "Node", main: &[network("spec.podCIDRs")], status: &[] },
    Kinds {
        group: "",
        kind: "Pod",
        main: &[], // see POD_SPEC
        status: &[address("status.podIPs.ip"), address("status.hostIPs.ip")],
    },
    Kinds {
        group: "",
        kind: "Endpoints",
        main: &[address("subsets.addresses|notReadyAddresses.ip")],
        status: &[],
    },
    Kinds {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        main: &[address("endpoints.addresses")],
        status: &[],
    },
    Kinds { group: "networking.k8s.io", kind: "Ingress", main: &[], status: &[LOAD_BALANCER] },
    Kinds {
        group: "networking.k8s.io",
        kind: "NetworkPolicy",
        main: &[
            network("spec.ingress.from.ipBlock.cidr|except"),
            network("spec.egress.to.ipBlock.cidr|except"),
        ],
        status: &[],
    },
];

/// Fields of the spec of a pod or of a pod template.
const POD_SPEC: [Place; 2] = [address("dnsConfig.nameservers"), address("hostAliases.ip")];

/// Labels of endpoints that a controller writes, and the controllers: they write addresses in their
/// usual form, and endpoints are many.
const CONTROLLERS: [(&str, &str); 3] = [
    ("endpoints.kubernetes.io/managed-by", "endpoint-controller"),
    ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"),
    ("endpointslice.kubernetes.io/managed-by", "endpointslicemirroring-controller.k8s.io"),
];

/// Returns the warnings for the addresses that a write can change: those of the status if it goes
/// through `/status`, otherwise those of the rest. As upstream, an update is warned of what stands
/// in the stored object, too; of a pod's spec or template only what is not in `old` counts.
pub fn warnings(kind: &Kind, object: &Value, old: Option<&Value>, subresource: &str) -> Vec<String> {
    let known = KINDS.iter().find(|known| (known.group, known.kind) == (kind.group, kind.kind));
    let mut found = vec![];
    if subresource == "status" {
        collect_all(object, known.map_or(&[], |known| known.status), &mut found);
    } else {
        let before = old.map(|old| of_pod_spec(kind, old)).unwrap_or_default();
        let before: HashSet<Field> = before.into_iter().collect();
        found.extend(of_pod_spec(kind, object).into_iter().filter(|field| !before.contains(field)));
        if !is_of_controller(kind, object) {
            collect_all(object, known.map_or(&[], |known| known.main), &mut found);
        }
    }
    found.iter().flat_map(Field::warnings).collect()
}

fn is_of_controller(kind: &Kind, object: &Value) -> bool {
    let is_endpoints = matches!(kind.kind, "Endpoints" | "EndpointSlice");
    is_endpoints && CONTROLLERS.iter().any(|(label, name)| meta::label(object, label) == Some(name))
}

fn of_pod_spec(kind: &Kind, object: &Value) -> Vec<Field> {
    let mut found = vec![];
    if let Some(path) = pod_spec(kind) {
        for place in POD_SPEC {
            collect(object, &format!("{path}.{}", place.path), "", &place, &mut found);
        }
    }
    found
}

fn collect_all(object: &Value, places: &[Place], found: &mut Vec<Field>) {
    for place in places {
        collect(object, place.path, "", place, found);
    }
}

/// Adds all texts that a value has at a path. `above` is the path of the value itself.
fn collect(value: &Value, path: &str, above: &str, place: &Place, found: &mut Vec<Field>) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                collect(item, path, &format!("{above}[{i}]"), place, found);
            }
        }
        Value::String(text) if path.is_empty() => {
            let path = above.strip_suffix(place.unnamed).unwrap_or(above).to_string();
            found.push(Field { path, text: text.clone(), is_network: place.is_network });
        }
        Value::Object(fields) => {
            let (step, rest) = path.split_once('.').unwrap_or((path, ""));
            for name in step.split('|') {
                if let Some(inner) = fields.get(name) {
                    let dot = if above.is_empty() { "" } else { "." };
                    collect(inner, rest, &format!("{above}{dot}{name}"), place, found);
                }
            }
        }
        _ => {}
    }
}

/// An address or a network of an object, as its client wrote it.
#[derive(PartialEq, Eq, Hash)]
struct Field {
    path: String,
    text: String,
    is_network: bool,
}

impl Field {
    fn warnings(&self) -> Vec<String> {
        if self.is_network { self.of_network() } else { self.of_address().into_iter().collect() }
    }

    fn of_address(&self) -> Option<String> {
        let Field { path, text, .. } = self;
        let ip = cidr::parse_ip(text)?;
        let plain = ip.to_canonical();
        if plain != ip || text.parse::<IpAddr>().is_err() {
            return Some(format!(
                "{path}: non-standard IP address {text:?} will be considered invalid in a future Kubernetes release: use \"{plain}\""
            ));
        }
        (ip.is_ipv6() && ip.to_string() != *text).then(|| {
            format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{ip}\")")
        })
    }

    fn of_network(&self) -> Vec<String> {
        let Field { path, text, .. } = self;
        let Some(network) = cidr::parse(text) else { return vec![] };
        let (ip, whole) = (network.addr(), whole_network(&network));
        let mut found = vec![];
        if ip != network.network() {
            // The length is that of the family in which the address is written, as upstream.
            let one = format!("{}/{}", ip.to_canonical(), network.max_prefix_len());
            found.push(format!(
                "{path}: CIDR value {text:?} is ambiguous in this context (should be \"{whole}\" or \"{one}\"?)"
            ));
        }
        if ip.to_canonical() != ip || cidr::parse_strictly(text).is_none() {
            found.push(format!(
                "{path}: non-standard CIDR value {text:?} will be considered invalid in a future Kubernetes release: use \"{whole}\""
            ));
        }
        if found.is_empty() && ip.is_ipv6() && network.to_string() != *text {
            found.push(format!(
                "{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format (\"{network}\")"
            ));
        }
        found
    }
}

/// Returns a network without the bits of the host, as Go writes it (`IPNet.String`): one of IPv4
/// that is written as IPv6 has the form of IPv4. `::ffff:1.2.3.4/120` is 1.2.3.0/24.
fn whole_network(network: &IpNet) -> String {
    /// Bits of IPv6 before the address of IPv4.
    const MAPPED_BITS: u8 = 96;
    match network.network().to_canonical() {
        IpAddr::V4(ip) if network.addr().is_ipv6() => {
            format!("{ip}/{}", network.prefix_len().saturating_sub(MAPPED_BITS))
        }
        _ => network.trunc().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    fn warnings_of(group: &str, kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
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
            let found = warnings_of("networking.k8s.io", "NetworkPolicy", &policy(text), None);
            assert_eq!(found, [non_standard(text, "10.0.0.0/8")]);
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
            let found = warnings_of("networking.k8s.io", "NetworkPolicy", &policy(text), None);
            assert_eq!(found, [format!("{field}: {why}")]);
        }
        for (text, whole, one) in [
            ("::ffff:1.2.3.4/120", "1.2.3.0/24", "1.2.3.4/128"),
            ("::ffff:1.2.3.4/96", "0.0.0.0/0", "1.2.3.4/128"),
            ("::ffff:1.2.3.4/95", "::fffe:0:0/95", "1.2.3.4/128"),
            ("::ffff:1.2.3.4/64", "::/64", "1.2.3.4/128"),
        ] {
            let found = warnings_of("networking.k8s.io", "NetworkPolicy", &policy(text), None);
            let why = format!("is ambiguous in this context (should be {whole:?} or {one:?}?)");
            assert_eq!(found, [format!("{field}: CIDR value {text:?} {why}"), non_standard(text, whole)]);
        }
        for (text, whole) in [
            ("::ffff:1.2.3.4/128", "1.2.3.4/32"),
            ("::ffff:010.2.3.0/120", "10.2.3.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            let found = warnings_of("networking.k8s.io", "NetworkPolicy", &policy(text), None);
            assert_eq!(found, [non_standard(text, whole)]);
        }
        let old = policy("010.0.0.0/8");
        let again = warnings_of("networking.k8s.io", "NetworkPolicy", &old, Some(&old));
        assert_eq!(again.len(), 1, "as upstream, each update is warned");
        assert_eq!(warnings_of("networking.k8s.io", "NetworkPolicy", &policy("10.0.0.0/8"), None), [""; 0]);
    }

    #[test]
    fn every_network_of_a_policy_is_named_with_its_field() {
        let peers = json!([{"ipBlock": {"cidr": "10.0.0.0/08", "except": ["10.1.0.0/16", "10.2.0.0/016"]}}]);
        let policy = json!({"spec": {"ingress": [{}, {"from": peers}], "egress": [{"to": peers}]}});
        let found = warnings_of("networking.k8s.io", "NetworkPolicy", &policy, None);
        let fields: Vec<&str> = found.iter().filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(
            fields,
            [
                "spec.ingress[1].from[0].ipBlock.cidr",
                "spec.ingress[1].from[0].ipBlock.except[1]",
                "spec.egress[0].to[0].ipBlock.cidr",
                "spec.egress[0].to[0].ipBlock.except[1]",
            ]
        );
        for ranges in ["spec.podCIDRs", "spec.loadBalancerSourceRanges"] {
            let mut object = json!({});
            crate::value::put(&mut object, ranges, json!(["10.0.0.0/8", "010.0.0.0/8", " 010.0.0.0/8"]));
            let kind = if ranges == "spec.podCIDRs" { "Node" } else { "Service" };
            let found = warnings_of("", kind, &object, None);
            assert!(found.len() == 1 && found[0].starts_with(&format!("{ranges}[1]: ")), "{found:?}");
        }
        let spaced = json!({"spec": {"dnsConfig": {"nameservers": [" 010.0.0.1"]}}});
        assert_eq!(warnings_of("", "Pod", &spaced, None), [""; 0], "with a space it is no address");
    }

    #[test]
    fn addresses_of_pods_are_named_with_their_fields() {
        let config = json!({"nameservers": ["010.0.0.1", "10.0.0.2"]});
        let spec = json!({"dnsConfig": config, "hostAliases": [{"ip": "::ffff:1.2.3.4"}, {"ip": "FD00::1"}]});
        let release = "will be considered invalid in a future Kubernetes release";
        assert_eq!(
            warnings_of("", "Pod", &json!({ "spec": spec }), None),
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
        assert!(
            warnings_of("apps", "Deployment", &deployment, None)[0]
                .starts_with("spec.template.spec.dnsConfig")
        );
        assert_eq!(
            warnings_of("apps", "Deployment", &deployment, Some(&deployment)),
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
        assert_eq!(warnings_of("", "Service", &service, None), want);
        assert_eq!(warnings_of("", "Service", &service, Some(&service)), want, "as upstream, at each update");
        let headless =
            json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"], "loadBalancerIP": "any"}});
        assert_eq!(warnings_of("", "Service", &headless, None), [""; 0]);
        let subset = json!({"addresses": [{"ip": "10.0.0.1"}, {"ip": "010.0.0.2"}],
            "notReadyAddresses": [{"ip": "FD00::1"}]});
        let six = |field: &str| {
            format!("{field}: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")")
        };
        let mut endpoints = json!({"metadata": {"labels": {}}, "subsets": [subset]});
        assert_eq!(
            warnings_of("", "Endpoints", &endpoints, None),
            [
                non_standard("subsets[0].addresses[1].ip", "010.0.0.2", "10.0.0.2"),
                six("subsets[0].notReadyAddresses[0].ip"),
            ]
        );
        let group = "discovery.k8s.io";
        let mut slice = json!({"metadata": {"labels": {}}, "endpoints": [{"addresses": ["010.0.0.2"]}]});
        assert_eq!(
            warnings_of(group, "EndpointSlice", &slice, None),
            [non_standard("endpoints[0].addresses[0]", "010.0.0.2", "10.0.0.2")]
        );
        for (label, name) in CONTROLLERS {
            endpoints["metadata"]["labels"] = json!({ label: name });
            slice["metadata"]["labels"] = json!({ label: name });
            let found = [
                warnings_of("", "Endpoints", &endpoints, None),
                warnings_of(group, "EndpointSlice", &slice, None),
            ];
            assert!(found.iter().all(Vec::is_empty), "{found:?}");
        }
    }

    #[test]
    fn addresses_of_a_status_count_in_its_own_writes() {
        let warnings_of_update = |group: &str, name: &str, status: Value, subresource: &str| {
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
            let found = warnings_of_update(group, name, ingress.clone(), "status");
            assert_eq!(found, [non_standard(field, "09.9.9.9", "9.9.9.9")], "{name}");
        }
        let ips = json!({"podIPs": [{"ip": "010.0.0.1"}], "hostIPs": [{"ip": "::ffff:1.2.3.4"}]});
        assert_eq!(
            warnings_of_update("", "Pod", ips.clone(), "status"),
            [
                non_standard("status.podIPs[0].ip", "010.0.0.1", "10.0.0.1"),
                non_standard("status.hostIPs[0].ip", "::ffff:1.2.3.4", "1.2.3.4"),
            ]
        );
        assert_eq!(warnings_of_update("", "Pod", ips, ""), [""; 0]);
        let found = warnings_of_update("", "Service", ingress, "");
        assert_eq!(found, [non_standard("spec.clusterIPs[0]", "010.96.0.9", "10.96.0.9")]);
    }
}
