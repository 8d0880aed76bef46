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

/// All rules for a node, by key.
pub fn rules(
    services: &[Arc<Service>],
    slices: &BTreeMap<String, Vec<Arc<EndpointSlice>>>,
    node: &str,
) -> Vec<ServiceRule> {
    let mut rules = Vec::new();
    for service in services {
        let (meta, Some(spec)) = (&service.metadata, &service.spec) else { continue };
        if spec.type_.as_deref() == Some("ExternalName") {
            continue;
        }
        let Some(ip) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<Ipv4Addr>().ok()) else {
            continue;
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
    }
    rules.sort_by(|a, b| a.key.cmp(&b.key));
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
        let rule = &rules(&web, &mixed, "n1")[0];
        assert_eq!((rule.key.as_str(), rule.port, rule.node_port), ("d/web:80", 80, Some(30080)));
        assert_eq!(rule.endpoints, [([10, 244, 1, 2].into(), 8080)]);
        let ending = slices(serde_json::json!([
            {"addresses": ["10.244.2.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        ]));
        assert_eq!(rules(&web, &ending, "n1")[0].endpoints, [([10, 244, 2, 2].into(), 8080)]);
        assert!(rules(&web, &BTreeMap::new(), "n1")[0].endpoints.is_empty());
    }

    #[test]
    fn headless_and_external_names_need_no_rules_and_local_policies_stay_local() {
        assert!(rules(&service(serde_json::json!({"metadata": {}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}})), &BTreeMap::new(), "n").is_empty());
        let local = service(serde_json::json!({
            "metadata": {"namespace": "d", "name": "web"},
            "spec": {"clusterIP": "10.96.0.9", "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]},
        }));
        let two = slices(serde_json::json!([
            {"addresses": ["10.244.1.2"], "nodeName": "n1"}, {"addresses": ["10.244.2.2"], "nodeName": "n2"},
        ]));
        let rule = &rules(&local, &two, "n2")[0];
        assert_eq!(rule.endpoints.len(), 2);
        assert_eq!(rule.local_endpoints, Some(vec![([10, 244, 2, 2].into(), 8080)]));
        assert_eq!(rule.affinity_seconds, Some(10800));
    }
}
