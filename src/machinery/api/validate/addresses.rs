//! IP addresses and host names to which traffic is sent.
//!
//! Fields that are older than upstream's strict rules take zeros before the numbers of an IPv4
//! address and IPv4 that is written as IPv6 (`IsValidIPForLegacyField`; `StrictIPCIDRValidation` is
//! off in 1.35). Newer fields take an address in its usual form only (`IsValidIP`).

use crate::cidr;
use crate::errors::Errors;
use crate::validate::names;
use crate::value::{list, text};
use serde_json::Value;
use std::collections::HashSet;
use std::net::IpAddr;

/// Upstream's message for a text that is no address.
pub(crate) const NO_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// Checks an address in any form that older fields take. Returns it as IPv4 if it is IPv4.
pub(crate) fn legacy_ip(text: &str, field: &str, errors: &mut Errors) -> Option<IpAddr> {
    let ip = cidr::canonical_ip(text);
    if ip.is_none() {
        errors.invalid_text(field, text, NO_IP);
    }
    ip
}

/// Checks an address of a field that takes the usual form only.
pub(crate) fn strict_ip(text: &str, field: &str, errors: &mut Errors) -> Option<IpAddr> {
    let ip = legacy_ip(text, field, errors)?;
    let why = match text.parse::<IpAddr>() {
        Err(_) => "must not have leading 0s".to_string(),
        Ok(as_written) if as_written != ip => "must not be an IPv4-mapped IPv6 address".to_string(),
        Ok(_) if ip.to_string() != text => format!("must be in canonical form (\"{ip}\")"),
        Ok(_) => return Some(ip),
    };
    errors.invalid_text(field, text, &why);
    None
}

/// Checks an address that traffic is sent to: a loopback address, a link-local one and the
/// unspecified one are refused (`ValidateEndpointIP`).
pub(crate) fn endpoint_ip(text: &str, field: &str, errors: &mut Errors) {
    let Some(ip) = cidr::canonical_ip(text) else {
        return errors.invalid_text(field, text, "must be a valid IP address");
    };
    if ip.is_unspecified() {
        errors.invalid_text(field, text, &format!("may not be unspecified ({text})"));
    }
    if let Some(why) = problem_of_range(ip) {
        errors.invalid_text(field, text, why);
    }
}

/// Returns why no traffic may be sent to an address: it leads to no other machine, or no router
/// forwards what is sent to it.
fn problem_of_range(ip: IpAddr) -> Option<&'static str> {
    let (is_link_local, is_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0 == 0xfe80, ip.segments()[0] & 0xff0f == 0xff02),
    };
    if ip.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if is_link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if is_multicast {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}

/// Checks an external address of a Service.
pub(crate) fn external_ip(text: &str, field: &str, errors: &mut Errors) {
    if legacy_ip(text, field, errors).is_some() {
        endpoint_ip(text, field, errors);
    }
}

/// Checks the addresses and the host names in `status.loadBalancer.ingress`. An entry may have
/// both, or neither. An address that `old` has is accepted, whatever it is.
pub(crate) fn load_balancer_ingress(new: &Value, old: &Value, errors: &mut Errors) {
    const FIELD: &str = "status.loadBalancer.ingress";
    let before: HashSet<&str> = list(old, FIELD).iter().map(|one| text(one, "ip")).collect();
    for (i, one) in list(new, FIELD).iter().enumerate() {
        let (field, ip, host) = (format!("{FIELD}[{i}]"), text(one, "ip"), text(one, "hostname"));
        if !ip.is_empty() && !before.contains(ip) {
            legacy_ip(ip, &format!("{field}.ip"), errors);
        }
        if host.is_empty() {
            continue;
        }
        for problem in names::dns_subdomain(host) {
            errors.invalid_text(format!("{field}.hostname"), host, &problem);
        }
        if cidr::parse_ip(host).is_some() {
            errors.invalid_text(format!("{field}.hostname"), host, "must be a DNS name, not an IP address");
        }
    }
}

/// Returns whether several addresses are one of each family, e.g. those of a pod
/// (`IsDualStackIPStrings`).
pub(crate) fn one_of_each_family<'a>(all: impl Iterator<Item = &'a str>) -> bool {
    let parsed: Vec<Option<IpAddr>> = all.map(cidr::canonical_ip).collect();
    match parsed[..] {
        [] | [_] => true,
        [Some(one), Some(other)] => one.is_ipv4() != other.is_ipv4(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::NO_IP;
    use crate::errors::Errors;
    use crate::kinds::{Kind, find};
    use crate::validate;
    use crate::validate::fields::problems;
    use serde_json::{Value, json};

    fn kind(group: &str, kind: &str) -> &'static Kind {
        find(group, "v1", kind).expect("a kind of the table")
    }

    fn check_of(group: &str, name: &str) -> fn(&Value, &mut Errors) {
        kind(group, name).validate
    }

    #[test]
    fn addresses_that_lead_to_no_other_machine_are_refused() {
        let (service, endpoints) = (check_of("", "Service"), check_of("", "Endpoints"));
        let endpoint_slice = check_of("discovery.k8s.io", "EndpointSlice");
        for (ip, why) in [
            ("127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            ("0127.0.0.01", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            ("::ffff:127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            ("169.254.169.254", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
            ("224.0.0.1", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
            ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ] {
            let expected = |field: &str| vec![format!("{field}: Invalid value: {ip:?}: {why}")];
            let old = json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": ip}]}]});
            assert_eq!(problems(endpoints, old), expected("subsets[0].addresses[1].ip"));
            let old = json!({"subsets": [{"notReadyAddresses": [{"ip": ip}]}]});
            assert_eq!(problems(endpoints, old), expected("subsets[0].notReadyAddresses[0].ip"));
            let spec = json!({"type": "ClusterIP", "ports": [{"port": 80}], "externalIPs": [ip]});
            assert_eq!(problems(service, json!({ "spec": spec })), expected("spec.externalIPs[0]"));
            let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": [ip]}]});
            assert_eq!(problems(endpoint_slice, slice), expected("endpoints[0].addresses[0]"));
        }
        // Go's `IsLinkLocalMulticast` looks at the scope alone: the flags before it are any.
        let scopes = json!(["ff02::fb", "ff12::1", "ff05::1", "febf::1", "fec0::1", "224.0.1.1"]);
        let spec = json!({"type": "ClusterIP", "ports": [{"port": 80}], "externalIPs": scopes});
        let found = problems(service, json!({ "spec": spec }));
        let found: Vec<&str> = found.iter().filter_map(|line| line.split(" (").next()).collect();
        let multicast = "may not be in the link-local multicast range";
        assert_eq!(
            found,
            [
                format!("spec.externalIPs[0]: Invalid value: \"ff02::fb\": {multicast}"),
                format!("spec.externalIPs[1]: Invalid value: \"ff12::1\": {multicast}"),
                "spec.externalIPs[3]: Invalid value: \"febf::1\": may not be in the link-local range".into(),
            ]
        );
        let spec = json!({"type": "ClusterIP", "ports": [{"port": 80}], "externalIPs": ["x"]});
        let found = problems(service, json!({ "spec": spec }));
        assert_eq!(found, [format!("spec.externalIPs[0]: Invalid value: \"x\": {NO_IP}")]);
        let found = problems(endpoints, json!({"subsets": [{"addresses": [{"ip": "x"}]}]}));
        let field = "subsets[0].addresses[0].ip: Invalid value: \"x\"";
        let short = format!("{field}: must be a valid IP address");
        assert_eq!(found, [format!("{field}: {NO_IP}"), short], "two, as upstream");
    }

    #[test]
    fn older_fields_take_an_address_however_it_is_written() {
        let (service, endpoints) = (check_of("", "Service"), check_of("", "Endpoints"));
        let endpoint_slice = check_of("discovery.k8s.io", "EndpointSlice");
        for ip in ["10.1.2.3", "010.1.2.03", "::ffff:10.1.2.3", "::ffff:010.1.2.3"] {
            let spec = json!({"type": "ClusterIP", "ports": [{"port": 80}], "clusterIP": ip,
                "clusterIPs": [ip], "externalIPs": [ip], "loadBalancerIP": "anything"});
            assert_eq!(problems(service, json!({ "spec": spec })), [""; 0], "{ip}");
            let mut errors = Errors::default();
            (kind("", "Service").validate_first)(&json!({ "spec": spec }), None, &mut errors);
            assert!(errors.is_empty(), "{ip}");
            let subset = json!({"addresses": [{"ip": ip}], "notReadyAddresses": [{"ip": ip}]});
            assert_eq!(problems(endpoints, json!({"subsets": [subset]})), [""; 0], "{ip}");
            let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": [ip]}]});
            assert_eq!(problems(endpoint_slice, slice), [""; 0], "{ip}");
        }
    }

    #[test]
    fn addresses_of_slices_are_of_their_type() {
        let errors_of = |family: &str, ip: &str| {
            let slice = json!({"addressType": family, "endpoints": [{"addresses": [ip]}]});
            problems(check_of("discovery.k8s.io", "EndpointSlice"), slice)
        };
        for (family, ip) in
            [("IPv4", "10.0.0.1"), ("IPv6", "fd00::1"), ("IPv6", "2001:db8::a"), ("FQDN", "a.example")]
        {
            assert_eq!(errors_of(family, ip), [""; 0], "{family} {ip}");
        }
        let list = "endpoints[0].addresses";
        for (family, ip, field, why) in [
            ("IPv4", "fd00::1", list, "must be an IPv4 address"),
            ("IPv4", "a.example", "endpoints[0].addresses[0]", NO_IP),
            ("IPv6", "10.0.0.1", list, "must be an IPv6 address"),
            ("IPv6", "10.0.0.01", "endpoints[0].addresses[0]", "must not have leading 0s"),
            (
                "IPv6",
                "::ffff:10.0.0.1",
                "endpoints[0].addresses[0]",
                "must not be an IPv4-mapped IPv6 address",
            ),
            ("IPv6", "FD00:0::1", "endpoints[0].addresses[0]", "must be in canonical form (\"fd00::1\")"),
            ("IPv6", "x", "endpoints[0].addresses[0]", NO_IP),
            (
                "IPv6",
                "fe80::1",
                "endpoints[0].addresses[0]",
                "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            ),
        ] {
            assert_eq!(errors_of(family, ip), [format!("{field}: Invalid value: {ip:?}: {why}")], "{family}");
        }
    }

    /// An object may have been stored by an older version with other rules.
    #[test]
    fn an_address_of_the_stored_object_is_accepted() {
        let errors_of = |kind: &Kind, new: &Value, old: &Value| {
            let errors = validate::update(kind, new, old);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let meta = |name: &str| json!({"name": "s", "namespace": "d", "uid": "u", "labels": {"a": name}});
        let slice = |label: &str, ip: &str| {
            let endpoints = json!([{"addresses": [ip]}]);
            json!({"metadata": meta(label), "addressType": "IPv6", "endpoints": endpoints})
        };
        let endpoint_slice = kind("discovery.k8s.io", "EndpointSlice");
        assert_eq!(errors_of(endpoint_slice, &slice("b", "FD00::1"), &slice("a", "FD00::1")), [""; 0]);
        assert_eq!(errors_of(endpoint_slice, &slice("b", "FD00::2"), &slice("a", "FD00::1")).len(), 1);
        let mut port = slice("b", "FD00::1");
        port["ports"] = json!([{"name": "A", "port": 80, "protocol": "TCP"}]);
        let found = errors_of(endpoint_slice, &port, &slice("a", "FD00::1"));
        assert!(found.len() == 1 && found[0].starts_with("ports[0].name"), "{found:?}");
        let endpoints = |label: &str, ip: &str| json!({"metadata": meta(label), "subsets": [{"addresses": [{"ip": ip}]}]});
        let kind_of = kind("", "Endpoints");
        assert_eq!(errors_of(kind_of, &endpoints("b", "127.0.0.1"), &endpoints("a", "127.0.0.1")), [""; 0]);
        assert_eq!(errors_of(kind_of, &endpoints("b", "127.0.0.2"), &endpoints("a", "127.0.0.1")).len(), 1);
        let service = |label: &str, ip: &str| {
            json!({"metadata": meta(label), "spec": {"type": "ClusterIP", "clusterIP": ip,
                "clusterIPs": [ip], "ports": [{"port": 80, "protocol": "TCP"}]}})
        };
        let kind_of = kind("", "Service");
        assert_eq!(errors_of(kind_of, &service("b", "x"), &service("a", "x")), [""; 0]);
        let found = errors_of(kind_of, &service("b", "x"), &service("a", "y"));
        assert!(found.contains(&format!("spec.clusterIPs[0]: Invalid value: \"x\": {NO_IP}")), "{found:?}");
    }
}
