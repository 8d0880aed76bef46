//! Services, endpoints, endpoint slices.

use super::text::{Text, joined_labels};
use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use crate::wire::paths;
use api::gostr;
use api::value;
use serde_json::Value;

/// How many endpoints are named; the others are counted.
const SHOWN: usize = 3;

fn joined(object: &Value, path: &str) -> String {
    let texts: Vec<&str> = value::list(object, path).iter().filter_map(Value::as_str).collect();
    texts.join(",")
}

pub(super) async fn service(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    let s = &info.object;
    let part = |path: &str| value::text(s, path);
    text.meta(s);
    text.field(0, "Selector", joined_labels(value::at(s, "spec.selector")));
    text.field(0, "Type", part("spec.type"));
    if !part("spec.ipFamilyPolicy").is_empty() {
        text.field(0, "IP Family Policy", part("spec.ipFamilyPolicy"));
    }
    for (title, path) in [("IP Families", "spec.ipFamilies"), ("IPs", "spec.clusterIPs")] {
        if title == "IPs" {
            text.field(0, "IP", part("spec.clusterIP"));
        }
        let list = joined(s, path);
        text.field(0, title, super::text::or_none(&list));
    }
    if !value::empty(s, "spec.externalIPs") {
        text.field(0, "External IPs", joined(s, "spec.externalIPs"));
    }
    if !part("spec.loadBalancerIP").is_empty() {
        text.field(0, "Desired LoadBalancer IP", part("spec.loadBalancerIP"));
    }
    if !part("spec.externalName").is_empty() {
        text.field(0, "External Name", part("spec.externalName"));
    }
    let ingress: Vec<String> = value::list(s, "status.loadBalancer.ingress")
        .iter()
        .map(|i| match (value::text(i, "ip"), value::text(i, "hostname")) {
            ("", host) => host.to_string(),
            (ip, _) => match value::text(i, "ipMode") {
                "" => ip.to_string(),
                mode => format!("{ip} ({mode})"),
            },
        })
        .collect();
    if !ingress.is_empty() {
        text.field(0, "LoadBalancer Ingress", ingress.join(", "));
    }
    let path = paths::within("/apis/discovery.k8s.io/v1", &info.namespace, "endpointslices");
    let label = format!("kubernetes.io/service-name={}", info.name);
    let slices = match ctx.api().await?.get(&path, &[("labelSelector", &label)]).await {
        Ok(list) => value::list(&list, "items").to_vec(),
        Err(Fail::Api(_)) => vec![],
        Err(other) => return Err(other),
    };
    ports_and_policies(text, s, &slices);
    Ok(())
}

/// The lines that follow the addresses of a service.
fn ports_and_policies(text: &mut Text, s: &Value, slices: &[Value]) {
    let part = |path: &str| value::text(s, path);
    for port in value::list(s, "spec.ports") {
        let name = match value::text(port, "name") {
            "" => "<unset>",
            name => name,
        };
        let protocol = value::text(port, "protocol");
        let number = |key: &str| value::int(port, key).unwrap_or(0);
        text.line(0, format!("Port:\t{name}\t{}/{protocol}", number("port")));
        text.field(0, "TargetPort", format!("{}/{protocol}", gostr::plain(&port["targetPort"])));
        if number("nodePort") != 0 {
            text.line(0, format!("NodePort:\t{name}\t{}/{protocol}", number("nodePort")));
        }
        text.field(0, "Endpoints", ready(slices, value::text(port, "name")));
    }
    text.field(0, "Session Affinity", part("spec.sessionAffinity"));
    for (title, path) in [
        ("External Traffic Policy", "spec.externalTrafficPolicy"),
        ("Internal Traffic Policy", "spec.internalTrafficPolicy"),
    ] {
        if !part(path).is_empty() {
            text.field(0, title, part(path));
        }
    }
    if let Some(port) = value::int(s, "spec.healthCheckNodePort").filter(|p| *p != 0) {
        text.field(0, "HealthCheck NodePort", port);
    }
    if !value::empty(s, "spec.loadBalancerSourceRanges") {
        text.field(0, "LoadBalancer Source Ranges", joined(s, "spec.loadBalancerSourceRanges"));
    }
    if !part("spec.trafficDistribution").is_empty() {
        text.field(0, "Traffic Distribution", part("spec.trafficDistribution"));
    }
}

/// Ready addresses behind a named port.
pub(super) fn ready(slices: &[Value], port_name: &str) -> String {
    if slices.is_empty() {
        return "<none>".into();
    }
    let mut all = vec![];
    for slice in slices {
        let endpoints = value::list(slice, "endpoints")
            .iter()
            .filter(|e| value::at(e, "conditions.ready").as_bool().unwrap_or(true))
            .filter_map(|e| value::list(e, "addresses").first()?.as_str());
        let ports = value::list(slice, "ports");
        if ports.is_empty() {
            all.extend(endpoints.map(String::from));
            continue;
        }
        let endpoints: Vec<&str> = endpoints.collect();
        for port in ports.iter().filter(|p| value::text(p, "name") == port_name) {
            let number = value::int(port, "port").unwrap_or(0);
            all.extend(endpoints.iter().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{number}"),
                false => format!("{ip}:{number}"),
            }));
        }
    }
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    match more {
        0 => all.join(","),
        more => format!("{} + {more} more...", all.join(",")),
    }
}

pub(super) fn endpoints(text: &mut Text, object: &Value) {
    text.meta(object);
    text.line(0, "Subsets:");
    for subset in value::list(object, "subsets") {
        for (title, key) in [("Addresses", "addresses"), ("NotReadyAddresses", "notReadyAddresses")] {
            let ips: Vec<&str> = value::list(subset, key).iter().map(|a| value::text(a, "ip")).collect();
            text.field(1, title, if ips.is_empty() { "<none>".to_string() } else { ips.join(",") });
        }
        let ports = value::list(subset, "ports");
        if !ports.is_empty() {
            text.line(1, "Ports:");
            text.line(2, "Name\tPort\tProtocol");
            text.line(2, "----\t----\t--------");
            for port in ports {
                text.line(2, port_row(port));
            }
        }
        text.line(0, "");
    }
}

fn port_row(port: &Value) -> String {
    let name = match value::text(port, "name") {
        "" => "<unset>",
        name => name,
    };
    let number = value::int(port, "port").map_or("<unset>".to_string(), |number| number.to_string());
    format!("{name}\t{number}\t{}", value::text(port, "protocol"))
}

pub(super) fn endpoint_slice(text: &mut Text, object: &Value) {
    text.meta(object);
    text.field(0, "AddressType", value::text(object, "addressType"));
    let ports = value::list(object, "ports");
    if ports.is_empty() {
        text.line(0, "Ports: <unset>");
    } else {
        text.line(0, "Ports:");
        text.line(1, "Name\tPort\tProtocol");
        text.line(1, "----\t----\t--------");
        ports.iter().for_each(|p| text.line(1, port_row(p)));
    }
    let endpoints = value::list(object, "endpoints");
    if endpoints.is_empty() {
        text.line(0, "Endpoints: <none>");
        return;
    }
    text.line(0, "Endpoints:");
    let unset = |text_of: &str| if text_of.is_empty() { "<unset>".to_string() } else { text_of.to_string() };
    for endpoint in endpoints {
        let addresses = joined(endpoint, "addresses").replace(',', ", ");
        text.field(1, "- Addresses", super::text::or_none(&addresses));
        text.line(2, "Conditions:");
        let ready = value::at(endpoint, "conditions.ready").as_bool();
        text.field(3, "Ready", ready.map_or("<unset>".to_string(), |r| r.to_string()));
        text.field(2, "Hostname", unset(value::text(endpoint, "hostname")));
        if let Some(target) = endpoint.get("targetRef").filter(|t| !t.is_null()) {
            text.field(
                2,
                "TargetRef",
                format!("{}/{}", value::text(target, "kind"), value::text(target, "name")),
            );
        }
        text.field(2, "NodeName", unset(value::text(endpoint, "nodeName")));
        text.field(2, "Zone", unset(value::text(endpoint, "zone")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_says_how_traffic_is_distributed() {
        let mut text = Text::default();
        let spec = json!({"sessionAffinity": "None", "trafficDistribution": "PreferClose"});
        ports_and_policies(&mut text, &json!({"spec": spec}), &[]);
        assert_eq!(text.finish(), "Session Affinity:      None\nTraffic Distribution:  PreferClose\n");
    }

    #[test]
    fn addresses_of_a_slice_are_a_list() {
        let described = |addresses: Value| {
            let mut text = Text::default();
            endpoint_slice(&mut text, &json!({"endpoints": [{"addresses": addresses}]}));
            text.finish()
        };
        assert!(described(json!(["10.0.0.1", "10.0.0.2"])).contains("- Addresses:  10.0.0.1, 10.0.0.2\n"));
        assert!(described(json!([])).contains("- Addresses:  <none>\n"));
    }

    #[test]
    fn a_port_without_a_number_is_all_of_them() {
        let mut text = Text::default();
        let ports = json!([{"name": "a", "port": 80, "protocol": "TCP"}, {"protocol": "UDP"}]);
        endpoint_slice(&mut text, &json!({"ports": ports}));
        let printed = text.finish();
        let words: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(words.contains(&vec!["a", "80", "TCP"]), "{printed}");
        assert!(words.contains(&vec!["<unset>", "<unset>", "UDP"]), "{printed}");
    }
}
