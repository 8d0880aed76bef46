//! IP addresses and host names to which traffic is sent.

use crate::errors::Errors;
use crate::validate::names;
use crate::value::text;
use serde_json::Value;
use std::net::IpAddr;

/// Checks an address that traffic is sent to: a loopback address, a link-local one and the
/// unspecified one are refused.
pub(crate) fn address(text: &str, field: &str, errors: &mut Errors) {
    let Ok(ip) = text.parse::<IpAddr>() else {
        return errors.invalid_text(
            field,
            text,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    };
    // An IPv4 address that is written as IPv6 is judged as what it is.
    let ip = ip.to_canonical();
    let (local, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0 == 0xfe80, ip.segments()[0] & 0xff0f == 0xff02),
    };
    if ip.is_unspecified() {
        errors.invalid_text(field, text, &format!("may not be unspecified ({text})"));
    }
    for (is, why) in [
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ] {
        if is {
            errors.invalid_text(field, text, why);
        }
    }
}

/// Checks one entry of `status.loadBalancer.ingress`: an address, a host name, or both.
pub(crate) fn load_balancer_ingress(one: &Value, field: &str, errors: &mut Errors) {
    let (ip, host) = (text(one, "ip"), text(one, "hostname"));
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.invalid_text(format!("{field}.ip"), ip, why);
    }
    if host.is_empty() {
        return;
    }
    for problem in names::dns_subdomain(host) {
        errors.invalid_text(format!("{field}.hostname"), host, &problem);
    }
    if host.parse::<IpAddr>().is_ok() {
        errors.invalid_text(format!("{field}.hostname"), host, "must be a DNS name, not an IP address");
    }
}

#[cfg(test)]
mod tests {
    use crate::errors::Errors;
    use crate::validate::problems;
    use serde_json::{Value, json};

    fn check_of(group: &str, kind: &str) -> fn(&Value, &mut Errors) {
        crate::kinds::find(group, "v1", kind).expect("a kind of the table").validate
    }

    #[test]
    fn traffic_is_not_led_to_the_machine_itself() {
        let (service, endpoints) = (check_of("", "Service"), check_of("", "Endpoints"));
        let endpoint_slice = check_of("discovery.k8s.io", "EndpointSlice");
        for (ip, why) in [
            ("127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            ("::ffff:127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            ("169.254.169.254", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
            ("224.0.0.1", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
            ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
            ("x", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ] {
            let said = |field: &str| vec![format!("{field}: Invalid value: {ip:?}: {why}")];
            let old = json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": ip}]}]});
            assert_eq!(problems(endpoints, old), said("subsets[0].addresses[1].ip"));
            let old = json!({"subsets": [{"notReadyAddresses": [{"ip": ip}]}]});
            assert_eq!(problems(endpoints, old), said("subsets[0].notReadyAddresses[0].ip"));
            let spec = json!({"type": "ClusterIP", "ports": [{"port": 80}], "externalIPs": [ip]});
            assert_eq!(problems(service, json!({ "spec": spec })), said("spec.externalIPs[0]"));
        }
        let slice = |ip: &str| {
            problems(endpoint_slice, json!({"addressType": "IPv4", "endpoints": [{"addresses": [ip]}]}))
        };
        assert_eq!(slice("10.0.0.1"), [""; 0]);
        assert_eq!(
            slice("fd00::1"),
            ["endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be an IPv4 address"]
        );
        assert!(slice("127.0.0.1")[0].contains("loopback range"));
    }
}
