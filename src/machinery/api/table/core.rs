//! Nodes, namespaces, services, endpoints, config maps, secrets, accounts, events.

use super::{Printer, age, labels, name, or, since, some};
use crate::value::{at, flag, int, list, map, text};
use clock::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub static CONFIG_MAPS: Printer = Printer {
    columns: &[("Name", "string", false), ("Data", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), (count(o, "data") + count(o, "binaryData")).into(), age(o, now)],
    conditions: None,
};

pub static SECRETS: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Type", "string", false),
        ("Data", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| vec![name(o), text(o, "type").into(), count(o, "data").into(), age(o, now)],
    conditions: None,
};

pub static SERVICE_ACCOUNTS: Printer = Printer {
    columns: &[("Name", "string", false), ("Secrets", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), list(o, "secrets").len().into(), age(o, now)],
    conditions: None,
};

pub static NAMESPACES: Printer = Printer {
    columns: &[("Name", "string", false), ("Status", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), text(o, "status.phase").into(), age(o, now)],
    conditions: None,
};

pub static NODES: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Status", "string", false),
        ("Roles", "string", false),
        ("Age", "string", false),
        ("Version", "string", false),
        ("Internal-IP", "string", true),
        ("External-IP", "string", true),
        ("OS-Image", "string", true),
        ("Kernel-Version", "string", true),
        ("Container-Runtime", "string", true),
    ],
    cells: node,
    conditions: None,
};

pub static SERVICES: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Type", "string", false),
        ("Cluster-IP", "string", false),
        ("External-IP", "string", false),
        ("Port(s)", "string", false),
        ("Age", "string", false),
        ("Selector", "string", true),
    ],
    cells: service,
    conditions: None,
};

pub static ENDPOINTS: Printer = Printer {
    columns: &[("Name", "string", false), ("Endpoints", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), endpoints(o).into(), age(o, now)],
    conditions: None,
};

pub static ENDPOINT_SLICES: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("AddressType", "string", false),
        ("Ports", "string", false),
        ("Endpoints", "string", false),
        ("Age", "string", false),
    ],
    cells: endpoint_slice,
    conditions: None,
};

pub static EVENTS: Printer = Printer {
    columns: &[
        ("Last Seen", "string", false),
        ("Type", "string", false),
        ("Reason", "string", false),
        ("Object", "string", false),
        ("Subobject", "string", true),
        ("Source", "string", true),
        ("Message", "string", false),
        ("First Seen", "string", true),
        ("Count", "string", true),
        ("Name", "string", true),
    ],
    cells: event,
    conditions: None,
};

fn count(object: &Value, path: &str) -> usize {
    map(object, path).map_or(0, |m| m.len())
}

fn node(o: &Value, now: Timestamp) -> Vec<Value> {
    let ready = list(o, "status.conditions").iter().find(|c| text(c, "type") == "Ready");
    let mut status = match ready.map(|c| text(c, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_string();
    if flag(o, "spec.unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: BTreeSet<&str> = BTreeSet::new();
    for (key, value) in map(o, "metadata.labels").into_iter().flatten() {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/").filter(|r| !r.is_empty()) {
            roles.insert(role);
        } else if key == "kubernetes.io/role" {
            roles.extend(value.as_str().filter(|v| !v.is_empty()));
        }
    }
    let roles: Vec<&str> = roles.into_iter().collect();
    let address = |kind: &str| {
        let found = list(o, "status.addresses").iter().find(|a| text(a, "type") == kind);
        found.map_or("<none>", |a| text(a, "address")).to_string()
    };
    vec![
        name(o),
        status.into(),
        if roles.is_empty() { "<none>".into() } else { roles.join(",").into() },
        age(o, now),
        text(o, "status.nodeInfo.kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        or(o, "status.nodeInfo.osImage", "<unknown>").into(),
        or(o, "status.nodeInfo.kernelVersion", "<unknown>").into(),
        or(o, "status.nodeInfo.containerRuntimeVersion", "<unknown>").into(),
    ]
}

fn service(o: &Value, now: Timestamp) -> Vec<Value> {
    let strings =
        |path: &str| list(o, path).iter().filter_map(Value::as_str).map(String::from).collect::<Vec<_>>();
    let external = strings("spec.externalIPs");
    let external_ip = match text(o, "spec.type") {
        "ClusterIP" | "NodePort" if external.is_empty() => "<none>".to_string(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let ingress = list(o, "status.loadBalancer.ingress").iter();
            let unique: BTreeSet<String> =
                ingress.map(|i| or(i, "ip", text(i, "hostname")).to_string()).collect();
            let all: Vec<String> = unique.into_iter().chain(external).collect();
            if all.is_empty() { "<pending>".to_string() } else { all.join(",") }
        }
        "ExternalName" => text(o, "spec.externalName").to_string(),
        _ => "<unknown>".to_string(),
    };
    let ports: Vec<String> = list(o, "spec.ports")
        .iter()
        .map(|p| match int(p, "nodePort").unwrap_or(0) {
            0 => format!("{}/{}", at(p, "port"), text(p, "protocol")),
            node_port => format!("{}:{node_port}/{}", at(p, "port"), text(p, "protocol")),
        })
        .collect();
    let cluster_ip = strings("spec.clusterIPs").into_iter().next().unwrap_or_else(|| "<none>".to_string());
    vec![
        name(o),
        text(o, "spec.type").into(),
        cluster_ip.into(),
        external_ip.into(),
        if ports.is_empty() { "<none>".into() } else { ports.join(",").into() },
        age(o, now),
        labels(o, "spec.selector").into(),
    ]
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// `10.0.0.1:80,10.0.0.2:80 + 1 more...`
fn endpoints(o: &Value) -> String {
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
    some(&all, 3, "<none>")
}

fn endpoint_slice(o: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = list(o, "ports")
        .iter()
        .map(|p| match (int(p, "port"), text(p, "name")) {
            (Some(n), _) => n.to_string(),
            (None, "") => "*".to_string(),
            (None, name) => name.to_string(),
        })
        .collect();
    let addresses: Vec<String> = list(o, "endpoints")
        .iter()
        .flat_map(|e| list(e, "addresses").iter().filter_map(Value::as_str).map(String::from))
        .collect();
    vec![
        name(o),
        text(o, "addressType").into(),
        some(&ports, 3, "<unset>").into(),
        some(&addresses, 3, "<unset>").into(),
        age(o, now),
    ]
}

fn event(o: &Value, now: Timestamp) -> Vec<Value> {
    let first = or(o, "firstTimestamp", text(o, "eventTime"));
    let last = or(o, "series.lastObservedTime", or(o, "lastTimestamp", first));
    let count = int(o, "series.count").or(int(o, "count")).filter(|n| *n != 0).unwrap_or(1);
    let kind = text(o, "involvedObject.kind").to_lowercase();
    let object = match text(o, "involvedObject.name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = or(o, "source.component", text(o, "reportingComponent"));
    let host = or(o, "source.host", text(o, "reportingInstance"));
    let source = if host.is_empty() { component.to_string() } else { format!("{component}, {host}") };
    vec![
        since(last, now).into(),
        text(o, "type").into(),
        text(o, "reason").into(),
        object.into(),
        text(o, "involvedObject.fieldPath").into(),
        source.into(),
        text(o, "message").trim().into(),
        since(first, now).into(),
        json!(count),
        name(o),
    ]
}
