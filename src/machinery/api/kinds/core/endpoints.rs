//! Endpoints: addresses and ports of a Service's pods in one object. Deprecated for EndpointSlices.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::table::cells::{Printer, age, first_items, name};
use crate::validate::addresses::{endpoint_ip, legacy_ip};
use crate::validate::fields::{app_protocol, one_of};
use crate::validate::names;
use crate::value::{at, default_zero, empty, int, list, list_mut, text};
use k8s_openapi::api::core::v1::Endpoints;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["ep"],
        create_on_update: true,
        deprecated: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".into(),
        defaults,
        validate,
        unjudged: &["subsets"],
        printer: Some(&PRINTER),
        ..of::<Endpoints>()
    }
}

fn defaults(object: &mut Value) {
    for subset in list_mut(object, "subsets") {
        for port in list_mut(subset, "ports") {
            default_zero(port, "protocol", "TCP");
        }
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    for (i, subset) in list(object, "subsets").iter().enumerate() {
        let field = format!("subsets[{i}]");
        if empty(subset, "addresses") && empty(subset, "notReadyAddresses") {
            errors.required(&field, "must specify `addresses` or `notReadyAddresses`");
        }
        for group in ["addresses", "notReadyAddresses"] {
            for (j, one) in list(subset, group).iter().enumerate() {
                let field = format!("{field}.{group}[{j}]");
                legacy_ip(text(one, "ip"), &format!("{field}.ip"), errors);
                let (hostname, node) = (text(one, "hostname"), text(one, "nodeName"));
                for problem in names::dns_label(hostname).iter().filter(|_| !hostname.is_empty()) {
                    errors.invalid_text(format!("{field}.hostname"), hostname, problem);
                }
                for problem in names::dns_subdomain(node).iter().filter(|_| !at(one, "nodeName").is_null()) {
                    errors.invalid_text(format!("{field}.nodeName"), node, problem);
                }
                endpoint_ip(text(one, "ip"), &format!("{field}.ip"), errors);
            }
        }
        let ports = list(subset, "ports");
        for (j, port) in ports.iter().enumerate() {
            let (name, place) = (text(port, "name"), format!("{field}.ports[{j}]"));
            if name.is_empty() && ports.len() > 1 {
                errors.required(format!("{place}.name"), "");
            }
            for problem in names::dns_label(name).iter().filter(|_| !name.is_empty()) {
                errors.invalid_text(format!("{place}.name"), name, problem);
            }
            one_of(port, "protocol", &format!("{place}.protocol"), &["SCTP", "TCP", "UDP"], errors);
            app_protocol(port, &place, errors);
            let number = int(port, "port").unwrap_or(0);
            if let Some(problem) = names::port_number(number) {
                errors.invalid(format!("{field}.ports[{j}].port"), &json!(number), problem);
            }
        }
    }
}

static PRINTER: Printer = Printer {
    columns: &[("Name", "string", false), ("Endpoints", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), cell(o).into(), age(o, now)],
    conditions: None,
};

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Returns the cell `Endpoints`: `10.0.0.1:80,10.0.0.2:80 + 1 more...`; nothing if there are pods
/// and none is ready.
fn cell(o: &Value) -> String {
    let mut all = vec![];
    for subset in list(o, "subsets") {
        let ports = list(subset, "ports");
        let addresses = list(subset, "addresses").iter().map(|a| text(a, "ip"));
        if ports.is_empty() {
            all.extend(addresses.map(String::from));
        } else {
            for port in ports {
                let number = int(port, "port").unwrap_or(0);
                all.extend(addresses.clone().map(|ip| host_port(ip, number)));
            }
        }
    }
    first_items(&all, 3, if empty(o, "subsets") { "<none>" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_are_not_ready_are_no_missing_pods() {
        let with = |subset: Value| cell(&json!({"subsets": [subset]}));
        let (ports, address) = (json!([{"port": 80}]), json!([{"ip": "10.0.0.1"}]));
        assert_eq!(cell(&json!({})), "<none>");
        assert_eq!(with(json!({"notReadyAddresses": address, "ports": ports})), "");
        assert_eq!(with(json!({"addresses": address, "ports": ports})), "10.0.0.1:80");
        assert_eq!(with(json!({"addresses": address})), "10.0.0.1");
    }
}
