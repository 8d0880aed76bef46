//! Services and their endpoints, as rules for one node. Pure.

use crate::cni::{Protocol, ServiceRule};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// An endpoint of one service port, and the node it runs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub ip: Ipv4Addr,
    pub port: u16,
    pub node: Option<String>,
}

pub fn protocol(port: &ServicePort) -> Option<Protocol> {
    match port.protocol.as_deref().unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        _ => None,
    }
}

/// The endpoints that may get traffic: the ready ones; if there is none, those that still serve while they end (KEP-1669).
pub fn endpoints(port: &ServicePort, slices: &[Arc<EndpointSlice>]) -> BTreeSet<Endpoint> {
    let name = port.name.as_deref().unwrap_or_default();
    let (mut ready, mut serving) = (BTreeSet::new(), BTreeSet::new());
    for slice in slices.iter().filter(|s| s.address_type == "IPv4") {
        let number = slice.ports.iter().flatten().find(|p| p.name.as_deref().unwrap_or_default() == name);
        let Some(number) = number.and_then(|p| p.port).and_then(|p| u16::try_from(p).ok()) else { continue };
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            for ip in endpoint.addresses.iter().filter_map(|a| a.parse().ok()) {
                let found = Endpoint { ip, port: number, node: endpoint.node_name.clone() };
                if conditions.ready.unwrap_or(true) {
                    ready.insert(found);
                } else if conditions.serving.unwrap_or(false) && conditions.terminating.unwrap_or(false) {
                    serving.insert(found);
                }
            }
        }
    }
    if ready.is_empty() { serving } else { ready }
}

/// What a Service asks for and does not get, because it is another one's.
#[derive(Clone, Debug)]
pub struct Refused {
    pub service: Arc<Service>,
    /// For an Event on the Service.
    pub message: String,
}

/// Who has what: each address with a port, and each node port, belongs to one rule. The kernel refuses a table that says
/// otherwise, with every rule in it.
#[derive(Default)]
struct Claims {
    addresses: BTreeMap<(Protocol, Ipv4Addr, u16), String>,
    node_ports: BTreeMap<(Protocol, u16), String>,
    keys: BTreeSet<String>,
}

/// All rules for a node, by key, and what was left out of them.
///
/// Cluster IPs are handed out before external and load-balancer addresses, which people choose; of two Services that want
/// the same, the older one gets it. Example: `default/kubernetes` has 10.96.0.1:443. A Service with
/// `externalIPs: [10.96.0.1]` and port 443 keeps its other addresses and is told that this one is not its own.
pub fn rules(
    services: &[Arc<Service>],
    slices: &BTreeMap<String, Vec<Arc<EndpointSlice>>>,
    node: &str,
) -> (Vec<ServiceRule>, Vec<Refused>) {
    let mut ordered: Vec<&Arc<Service>> = services.iter().collect();
    ordered.sort_by_key(|s| {
        let meta = &s.metadata;
        (meta.creation_timestamp.as_ref().map(|t| t.0), meta.namespace.clone(), meta.name.clone())
    });
    let mut wanted: Vec<(Arc<Service>, ServiceRule)> = Vec::new();
    for service in ordered {
        wanted.extend(wanted_by(service, slices, node).into_iter().map(|rule| (service.clone(), rule)));
    }
    let (mut claims, mut refused) = (Claims::default(), Vec::new());
    let mut refuse = |service: &Arc<Service>, what: String, owner: &str| {
        let message = format!("{what} belongs to {owner}: this Service is not reachable there");
        refused.push(Refused { service: service.clone(), message });
    };
    let mut has_own = Vec::new();
    for (service, rule) in wanted {
        let Some(own) = rule.addresses.first().map(|ip| (rule.protocol, *ip, rule.port)) else { continue };
        if let Some(owner) = claims.addresses.get(&own) {
            refuse(&service, format!("{}:{}", own.1, own.2), owner);
        } else if !claims.keys.insert(rule.key.clone()) {
            refuse(&service, format!("the port name of {}", rule.key), "another port of it");
        } else {
            claims.addresses.insert(own, rule.key.clone());
            has_own.push((service, rule));
        }
    }
    let mut rules = Vec::with_capacity(has_own.len());
    for (service, mut rule) in has_own {
        let (protocol, port, key) = (rule.protocol, rule.port, rule.key.clone());
        rule.addresses.retain(|ip| {
            let owner = claims.addresses.entry((protocol, *ip, port)).or_insert_with(|| key.clone());
            let mine = *owner == key;
            if !mine {
                refuse(&service, format!("{ip}:{port}"), owner);
            }
            mine
        });
        let mut seen = BTreeSet::new();
        rule.addresses.retain(|ip| seen.insert(*ip));
        if let Some(number) = rule.node_port {
            let owner = claims.node_ports.entry((protocol, number)).or_insert_with(|| key.clone());
            if *owner != key {
                refuse(&service, format!("node port {number}"), owner);
                rule.node_port = None;
            }
        }
        rules.push(rule);
    }
    rules.sort_by(|a, b| a.key.cmp(&b.key));
    (rules, refused)
}

/// What one Service asks for. The first address of a rule is the cluster IP.
fn wanted_by(
    service: &Arc<Service>,
    slices: &BTreeMap<String, Vec<Arc<EndpointSlice>>>,
    node: &str,
) -> Vec<ServiceRule> {
    let mut rules = Vec::new();
    let (meta, Some(spec)) = (&service.metadata, &service.spec) else { return rules };
    if spec.type_.as_deref() == Some("ExternalName") {
        return rules;
    }
    let Some(ip) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<Ipv4Addr>().ok()) else {
        return rules;
    };
    let name = format!(
        "{}/{}",
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default()
    );
    let own = slices.get(&name).map(Vec::as_slice).unwrap_or_default();
    let mut addresses = vec![ip];
    addresses.extend(spec.external_ips.iter().flatten().filter_map(|a| a.parse::<Ipv4Addr>().ok()));
    let balancers =
        service.status.iter().filter_map(|s| s.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    addresses.extend(balancers.filter_map(|i| i.ip.as_deref()?.parse::<Ipv4Addr>().ok()));
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
        config.and_then(|c| c.timeout_seconds).unwrap_or(10800).max(1) as u32
    });
    for port in spec.ports.iter().flatten() {
        let (Some(protocol), Ok(number)) = (protocol(port), u16::try_from(port.port)) else { continue };
        let all = endpoints(port, own);
        let pairs =
            |set: &mut dyn Iterator<Item = &Endpoint>| set.map(|e| (e.ip, e.port)).collect::<Vec<_>>();
        let here = |e: &&Endpoint| e.node.as_deref() == Some(node);
        let local = pairs(&mut all.iter().filter(here));
        let internal = spec.internal_traffic_policy.as_deref() == Some("Local");
        let external = spec.external_traffic_policy.as_deref() == Some("Local");
        rules.push(ServiceRule {
            key: match port.name.as_deref().unwrap_or_default() {
                "" => format!("{name}:{number}"),
                port => format!("{name}:{port}"),
            },
            protocol,
            addresses: addresses.clone(),
            port: number,
            node_port: port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0),
            endpoints: if internal { local.clone() } else { pairs(&mut all.iter()) },
            local_endpoints: external.then_some(local),
            affinity_seconds: affinity,
        });
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(json: serde_json::Value) -> Vec<Arc<Service>> {
        vec![Arc::new(serde_json::from_value(json).unwrap())]
    }

    fn slices(endpoints: serde_json::Value) -> BTreeMap<String, Vec<Arc<EndpointSlice>>> {
        let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
            "addressType": "IPv4", "metadata": {}, "endpoints": endpoints, "ports": [{"name": "", "port": 8080}],
        }))
        .unwrap();
        [("d/web".to_string(), vec![Arc::new(slice)])].into()
    }

    fn rules_of(
        services: &[Arc<Service>],
        slices: &BTreeMap<String, Vec<Arc<EndpointSlice>>>,
        node: &str,
    ) -> Vec<ServiceRule> {
        rules(services, slices, node).0
    }

    #[test]
    fn what_belongs_to_another_service_is_left_out_and_told() {
        let named = |name: &str, made: &str, spec: serde_json::Value| {
            let meta = serde_json::json!({"namespace": "d", "name": name, "creationTimestamp": made});
            service(serde_json::json!({"metadata": meta, "spec": spec})).remove(0)
        };
        let port = |port: i32, node: i32| serde_json::json!([{"port": port, "nodePort": node}]);
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        // The thief is older and stands first: a cluster IP comes before an external address all the same.
        let thief = serde_json::json!({
            "clusterIP": "10.96.0.7", "externalIPs": ["10.96.0.1", "9.9.9.9", "9.9.9.9"], "ports": port(443, 30000),
        });
        let all = [
            named("a-thief", early, thief),
            named("kubernetes", late, serde_json::json!({"clusterIP": "10.96.0.1", "ports": port(443, 0)})),
            named("z-late", late, serde_json::json!({"clusterIP": "10.96.0.7", "ports": port(443, 0)})),
            named(
                "node",
                late,
                serde_json::json!({"clusterIP": "10.96.0.8", "externalIPs": ["9.9.9.9"], "ports": port(443, 30000)}),
            ),
        ];
        let (rules, refused) = rules(&all, &BTreeMap::new(), "n");
        let show: Vec<_> = rules.iter().map(|r| (r.key.as_str(), r.addresses.len(), r.node_port)).collect();
        assert_eq!(
            show,
            [("d/a-thief:443", 2, Some(30000)), ("d/kubernetes:443", 1, None), ("d/node:443", 1, None)]
        );
        let mut seen = BTreeSet::new();
        for rule in &rules {
            assert!(rule.addresses.iter().all(|ip| seen.insert((*ip, rule.port))), "{rule:?}");
        }
        let told: Vec<_> = refused
            .iter()
            .map(|r| format!("{}: {}", r.service.metadata.name.as_deref().unwrap(), r.message))
            .collect();
        let tail = "this Service is not reachable there";
        assert_eq!(
            told,
            [
                format!("z-late: 10.96.0.7:443 belongs to d/a-thief:443: {tail}"),
                format!("a-thief: 10.96.0.1:443 belongs to d/kubernetes:443: {tail}"),
                format!("node: 9.9.9.9:443 belongs to d/a-thief:443: {tail}"),
                format!("node: node port 30000 belongs to d/a-thief:443: {tail}"),
            ]
        );
    }

    #[test]
    fn ready_endpoints_get_traffic_and_ending_ones_only_when_nobody_else_is_left() {
        let web = service(serde_json::json!({
            "metadata": {"namespace": "d", "name": "web"},
            "spec": {"clusterIP": "10.96.0.9", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]},
        }));
        let mixed = slices(serde_json::json!([
            {"addresses": ["10.244.1.2"], "conditions": {"ready": true}, "nodeName": "n1"},
            {"addresses": ["10.244.2.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.244.2.3"], "conditions": {"ready": false}},
        ]));
        let rule = &rules_of(&web, &mixed, "n1")[0];
        assert_eq!((rule.key.as_str(), rule.port, rule.node_port), ("d/web:80", 80, Some(30080)));
        assert_eq!(rule.endpoints, [([10, 244, 1, 2].into(), 8080)]);
        let ending = slices(serde_json::json!([
            {"addresses": ["10.244.2.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        ]));
        assert_eq!(rules_of(&web, &ending, "n1")[0].endpoints, [([10, 244, 2, 2].into(), 8080)]);
        assert!(rules_of(&web, &BTreeMap::new(), "n1")[0].endpoints.is_empty());
    }

    #[test]
    fn headless_and_external_names_need_no_rules_and_local_policies_stay_local() {
        assert!(rules_of(&service(serde_json::json!({"metadata": {}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}})), &BTreeMap::new(), "n").is_empty());
        let local = service(serde_json::json!({
            "metadata": {"namespace": "d", "name": "web"},
            "spec": {"clusterIP": "10.96.0.9", "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]},
        }));
        let two = slices(serde_json::json!([
            {"addresses": ["10.244.1.2"], "nodeName": "n1"}, {"addresses": ["10.244.2.2"], "nodeName": "n2"},
        ]));
        let rule = &rules_of(&local, &two, "n2")[0];
        assert_eq!(rule.endpoints.len(), 2);
        assert_eq!(rule.local_endpoints, Some(vec![([10, 244, 2, 2].into(), 8080)]));
        assert_eq!(rule.affinity_seconds, Some(10800));
    }
}
