//! Endpoint slices: addresses and ports of a Service's pods, at most 1000 in one object. kube-proxy
//! and the DNS server read them.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::table::cells::{Printer, age, first_items, name};
use crate::validate::addresses::{endpoint_ip, legacy_ip, strict_ip};
use crate::validate::fields::{app_protocol, one_of};
use crate::validate::names;
use crate::value::{self, at, default, int, list, list_mut, text};
use clock::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) fn kind() -> Kind {
    Kind {
        generation: true,
        generation_of_labels: true,
        defaults,
        prepare,
        prepare_update,
        validate,
        unjudged: &["endpoints"],
        immutable: &["addressType"],
        printer: Some(&PRINTER),
        ..of::<EndpointSlice>()
    }
}

/// Fills in what Go always writes: the conditions of an endpoint, which are no pointer, and the
/// name and the protocol of a port.
fn defaults(object: &mut Value) {
    for endpoint in list_mut(object, "endpoints") {
        value::slot_map(endpoint, "conditions");
    }
    for port in list_mut(object, "ports") {
        default(port, "name", "");
        default(port, "protocol", "TCP");
    }
}

/// Drops `deprecatedTopology`, which only `v1beta1` had. Nothing reads it (`dropTopologyOnV1`
/// upstream).
fn prepare(object: &mut Value) {
    for endpoint in list_mut(object, "endpoints") {
        value::remove(endpoint, "deprecatedTopology");
    }
}

/// As [`prepare`], unless an update leaves the endpoints as they are.
fn prepare_update(new: &mut Value, old: &Value) {
    if at(new, "endpoints") != at(old, "endpoints") {
        prepare(new);
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    if text(object, "addressType").is_empty() {
        errors.required("addressType", "");
    } else {
        one_of(object, "addressType", "addressType", &["FQDN", "IPv4", "IPv6"], errors);
    }
    ports(list(object, "ports"), errors);
    endpoints(text(object, "addressType"), list(object, "endpoints"), errors);
}

/// Checks the endpoints of a slice whose addresses are of this type.
fn endpoints(family: &str, endpoints: &[Value], errors: &mut Errors) {
    if endpoints.len() > 1_000 {
        return errors.too_many("endpoints", endpoints.len(), 1_000);
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        let list_field = format!("endpoints[{i}].addresses");
        let addresses = list(endpoint, "addresses");
        match addresses.len() {
            0 => errors.required(&list_field, "must contain at least 1 address"),
            n if n > 100 => errors.too_many(&list_field, n, 100),
            _ => {}
        }
        for (j, one) in addresses.iter().enumerate() {
            let (one, field) = (one.as_str().unwrap_or(""), format!("{list_field}[{j}]"));
            address(family, one, &list_field, &field, errors);
        }
        let node = text(endpoint, "nodeName");
        for problem in names::dns_subdomain(node).iter().filter(|_| !at(endpoint, "nodeName").is_null()) {
            errors.invalid_text(format!("endpoints[{i}].nodeName"), node, problem);
        }
        let hostname = text(endpoint, "hostname");
        for problem in names::dns_label(hostname).iter().filter(|_| !at(endpoint, "hostname").is_null()) {
            errors.invalid_text(format!("endpoints[{i}].hostname"), hostname, problem);
        }
        hints(at(endpoint, "hints"), &format!("endpoints[{i}].hints"), errors);
    }
}

/// Zones, and nodes, for which one endpoint may be meant (`maxZoneHints`, `maxNodeHints`).
const HINTS_MAX: usize = 8;

/// Checks the zones and the nodes for which an endpoint is meant. Too many zones end the search.
fn hints(hints: &Value, field: &str, errors: &mut Errors) {
    for part in ["forZones", "forNodes"] {
        let (all, field) = (list(hints, part), format!("{field}.{part}"));
        if all.len() > HINTS_MAX {
            return errors.too_many(field, all.len(), HINTS_MAX as u64);
        }
        let mut seen: HashSet<&str> = HashSet::new();
        for (i, name) in all.iter().map(|one| text(one, "name")).enumerate() {
            let field = format!("{field}[{i}].name");
            if !seen.insert(name) {
                errors.duplicate(&*field, &json!(name));
            }
            let problems =
                if part == "forZones" { names::label_value(name) } else { names::dns_subdomain(name) };
            problems.iter().for_each(|problem| errors.invalid_text(&*field, name, problem));
        }
    }
}

/// Checks the ports of a slice. As upstream, their numbers may be any; kube-proxy passes over those
/// that are none.
fn ports(ports: &[Value], errors: &mut Errors) {
    if ports.len() > 20_000 {
        return errors.too_many("ports", ports.len(), 20_000);
    }
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let (name, field) = (text(port, "name"), format!("ports[{i}].name"));
        for problem in names::dns_label(name).iter().filter(|_| !name.is_empty()) {
            errors.invalid_text(&*field, name, problem);
        }
        if !seen.insert(name) {
            errors.duplicate(field, &json!(name));
        }
        one_of(port, "protocol", &format!("ports[{i}].protocol"), &["SCTP", "TCP", "UDP"], errors);
        app_protocol(port, &format!("ports[{i}]"), errors);
    }
}

/// Checks an address of an endpoint. Upstream names the whole list if it is of another family.
/// Addresses of IPv4 may have any form that older fields take; those of IPv6 have the usual one.
fn address(family: &str, one: &str, list_field: &str, field: &str, errors: &mut Errors) {
    let ip = match family {
        "IPv4" => legacy_ip(one, field, errors),
        "IPv6" => strict_ip(one, field, errors),
        "FQDN" => return domain_name(one, field, errors),
        _ => return, // the type itself is refused
    };
    let Some(ip) = ip else { return };
    if ip.is_ipv6() != (family == "IPv6") {
        errors.invalid_text(list_field, one, &format!("must be an {family} address"));
    }
    endpoint_ip(one, field, errors);
}

/// Checks a domain name of at least two labels, with or without a dot at its end
/// (`IsFullyQualifiedDomainName` upstream).
fn domain_name(name: &str, field: &str, errors: &mut Errors) {
    if name.is_empty() {
        return errors.required(field, "");
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let problems = names::dns_subdomain(name);
    if !problems.is_empty() {
        return errors.invalid_text(field, name, &problems.join(","));
    }
    if !name.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        return errors.invalid_text(field, name, why);
    }
    let wrong = name.split('.').map(|label| (label, names::dns_label(label)));
    if let Some((label, problems)) = wrong.into_iter().find(|(_, problems)| !problems.is_empty()) {
        errors.invalid_text(field, label, &problems.join(","));
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("AddressType", "string", false),
        ("Ports", "string", false),
        ("Endpoints", "string", false),
        ("Age", "string", false),
    ],
    cells,
    conditions: None,
};

/// Returns at most three items; `<unset>` if there is nothing to show (`listWithMoreString`
/// upstream).
fn shown(items: &[String]) -> String {
    match first_items(items, 3, "") {
        text if text.is_empty() => "<unset>".to_string(),
        text => text,
    }
}

fn cells(o: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = list(o, "ports")
        .iter()
        .map(|p| match (int(p, "port"), at(p, "name").as_str()) {
            (Some(number), _) => number.to_string(),
            (None, name) => name.unwrap_or("*").to_string(),
        })
        .collect();
    let addresses: Vec<String> = list(o, "endpoints")
        .iter()
        .flat_map(|e| list(e, "addresses").iter().filter_map(Value::as_str).map(String::from))
        .collect();
    vec![name(o), text(o, "addressType").into(), shown(&ports).into(), shown(&addresses).into(), age(o, now)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_no_topology_of_the_beta() {
        let slice = |ip: &str, topology: &str| {
            let topology = json!({"kubernetes.io/hostname": topology});
            json!({"endpoints": [{"addresses": [ip], "deprecatedTopology": topology}]})
        };
        let plain = |ip: &str| json!({"endpoints": [{"addresses": [ip]}]});
        let mut made = slice("10.0.0.1", "n");
        (kind().prepare)(&mut made);
        assert_eq!(made, plain("10.0.0.1"));
        let stored = slice("10.0.0.1", "n");
        let mut same = stored.clone();
        (kind().prepare_update)(&mut same, &stored);
        assert_eq!(same, stored);
        let mut changed = slice("10.0.0.2", "n");
        (kind().prepare_update)(&mut changed, &stored);
        assert_eq!(changed, plain("10.0.0.2"));
    }

    #[test]
    fn endpoints_have_conditions_that_say_nothing_by_default() {
        let ready = json!({"addresses": ["10.0.0.2"], "conditions": {"ready": false}});
        let mut slice = json!({"endpoints": [{"addresses": ["10.0.0.1"]}, ready]});
        defaults(&mut slice);
        let bare = json!({"addresses": ["10.0.0.1"], "conditions": {}});
        assert_eq!(slice, json!({"endpoints": [bare, ready]}));
    }

    #[test]
    fn a_domain_name_has_two_labels_at_least() {
        let errors_of = |name: &str| {
            let mut errors = Errors::default();
            domain_name(name, "name", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for good in ["a.b", "a.b.", "www.example.com"] {
            assert_eq!(errors_of(good), [""; 0], "{good}");
        }
        let two = "should be a domain with at least two segments separated by dots";
        assert_eq!(errors_of("localhost"), [format!("name: Invalid value: \"localhost\": {two}")]);
        assert_eq!(errors_of(""), ["name: Required value"]);
        let long = "a".repeat(64);
        for bad in ["A.b", "a..b", "-a.b", "a.b..", &format!("{long}.b")] {
            assert_eq!(errors_of(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn an_empty_protocol_of_a_port_is_no_missing_one() {
        let errors_of = |port: Value| {
            let mut slice = json!({"addressType": "IPv4", "ports": [port]});
            defaults(&mut slice);
            crate::validate::fields::problems(validate, slice)
        };
        assert_eq!(errors_of(json!({"port": 80})), [""; 0]);
        assert_eq!(errors_of(json!({"port": 0})), [""; 0], "the number is not judged");
        assert_eq!(errors_of(json!({"port": 70000})), [""; 0], "the number is not judged");
        assert_eq!(
            errors_of(json!({"port": 80, "protocol": ""})),
            ["ports[0].protocol: Unsupported value: \"\": supported values: \"SCTP\", \"TCP\", \"UDP\""]
        );
    }

    #[test]
    fn hints_name_zones_and_nodes_once() {
        let errors_of = |hints: Value| {
            let endpoint = json!({"addresses": ["10.0.0.1"], "hints": hints});
            let slice = json!({"addressType": "IPv4", "endpoints": [endpoint]});
            let found = crate::validate::fields::problems(validate, slice).into_iter();
            found.map(|p| p.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect::<Vec<_>>()
        };
        let named = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
        assert_eq!(errors_of(json!({"forZones": named(&["a", "b"]), "forNodes": named(&["n.x"])})), [""; 0]);
        let field = "endpoints[0].hints";
        assert_eq!(
            errors_of(json!({"forZones": named(&["a", "a", "a b"]), "forNodes": named(&["N"])})),
            [
                format!("{field}.forZones[1].name: Duplicate value"),
                format!("{field}.forZones[2].name: Invalid value"),
                format!("{field}.forNodes[0].name: Invalid value"),
            ]
        );
        let many = named(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
        assert_eq!(errors_of(json!({ "forZones": many })), [format!("{field}.forZones: Too many")]);
    }

    #[test]
    fn a_port_without_a_number_has_its_name() {
        let ports = |ports: Value| cells(&json!({ "ports": ports }), Timestamp::UNIX_EPOCH)[2].clone();
        assert_eq!(ports(json!([{"name": "a", "port": 80}, {"name": "b"}, {}])), "80,b,*");
        assert_eq!(ports(json!([{"name": "", "port": 80}, {"name": ""}])), "80,");
        // As upstream, where an empty name is one and an empty text is not shown.
        assert_eq!(ports(json!([{"name": ""}])), "<unset>");
        assert_eq!(ports(Value::Null), "<unset>");
    }
}
