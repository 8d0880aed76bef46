//! From a Service and its pods to endpoints: [`decide`] is pure. Source:
//! `k8s.io/endpointslice/utils.go`.

use super::group::Group;
use crate::pods;
use api::cidr;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The label of a node that names its zone.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// Returns the address of a pod that its endpoints have, in its usual form: a pod's status may have
/// it in others, and a text that is no address would keep all endpoints of the slice from being
/// written.
pub(super) fn address_of(pod: &Pod) -> Option<Ipv4Addr> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|one| one.ip.as_str());
    status.pod_ip.as_deref().into_iter().chain(all).find_map(cidr::ipv4)
}

/// Pure: the endpoints of a service, grouped by ports (a named target port may be another number in
/// each pod), by pod name. A pod that has none of the ports is an endpoint all the same, as
/// upstream: DNS answers its address for a headless service.
///
/// The Service selects `app=web` and has the port 80; the script `golden/readiness` has more.
///
/// ```text
/// pod                                 ready   serving   terminating
/// a, passes its readiness probe       true    true      false
/// b, fails its readiness probe        false   false     false
/// a, being deleted, still answers     false   true      true
/// c, phase Succeeded                  no endpoint
/// d, no address yet                   no endpoint
/// ```
///
/// A proxy sends to `ready` endpoints. If there is none, it may send to those that serve while they
/// terminate, so that the last pods of a rollout still answer (KEP-1672, KEP-1669). With
/// `publishNotReadyAddresses` all of them are ready: members of a database find each other before
/// they are. Left out: IPv6.
pub(super) fn decide(service: &Service, all: &[Arc<Pod>]) -> Vec<Group> {
    let Some(spec) = &service.spec else { return vec![] };
    let selector = spec.selector.clone().unwrap_or_default();
    let publish_unready = spec.publish_not_ready_addresses.unwrap_or(false);
    let mut groups: Vec<Group> = Vec::new();
    let matching = |p: &&Arc<Pod>| {
        let labels = p.metadata.labels.as_ref();
        !selector.is_empty() && selector.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
    };
    for pod in all.iter().filter(matching) {
        let Some(ip) = address_of(pod) else { continue };
        if pods::has_ended(pod) {
            continue;
        }
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let serving = pods::ready_since(pod).is_some();
        let mut ports = Vec::new();
        for port in spec.ports.iter().flatten() {
            let number = match &port.target_port {
                None => Some(port.port),
                Some(IntOrString::Int(0)) => Some(port.port),
                Some(IntOrString::Int(n)) => Some(*n),
                Some(IntOrString::String(name)) => container_port(pod, name, port.protocol.as_deref()),
            };
            // The pod has no port of that name.
            let Some(number) = number else { continue };
            ports.push(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(number),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                app_protocol: port.app_protocol.clone(),
            });
        }
        let hostname = pod.spec.as_ref().and_then(|s| match (&s.hostname, &s.subdomain) {
            (Some(host), Some(sub)) if !host.is_empty() && Some(sub) == service.metadata.name.as_ref() => {
                Some(host.clone())
            }
            _ => None,
        });
        let endpoint = Endpoint {
            addresses: vec![ip.to_string()],
            conditions: Some(EndpointConditions {
                ready: Some((serving && !terminating) || publish_unready),
                serving: Some(serving),
                terminating: Some(terminating),
            }),
            hostname,
            node_name: pod.spec.as_ref().and_then(|s| s.node_name.clone()),
            target_ref: Some(ObjectReference {
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                namespace: pod.metadata.namespace.clone(),
                uid: pod.metadata.uid.clone(),
                ..ObjectReference::default()
            }),
            ..Endpoint::default()
        };
        match groups.iter_mut().find(|g| g.ports == ports) {
            Some(group) => group.endpoints.push(endpoint),
            None => groups.push(Group { ports, endpoints: vec![endpoint] }),
        }
    }
    groups
}

/// Writes the zone of its node into each endpoint, and removes endpoints whose node does not exist:
/// pods of a deleted node get no more traffic. With `keeps_lost`, the service's
/// `publishNotReadyAddresses`, they stay, without a zone. Upstream's controller of the older
/// Endpoints objects has no such rule.
pub(super) fn look_up_nodes(
    groups: &mut [Group],
    keeps_lost: bool,
    node_of: impl Fn(&str) -> Option<Arc<Node>>,
) {
    for group in groups {
        group.endpoints.retain_mut(|endpoint| {
            let node = endpoint.node_name.as_deref().and_then(&node_of);
            endpoint.zone = node.as_deref().and_then(zone).cloned();
            node.is_some() || keeps_lost
        });
    }
}

/// Returns the zone that a node's label names; `None`: it names none.
pub(super) fn zone(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref().and_then(|l| l.get(ZONE)).filter(|zone| !zone.is_empty())
}

/// Returns the port of this name in a container that runs as long as the pod: an ordinary one or a
/// sidecar. Other init containers have ended when traffic comes.
pub(super) fn container_port(pod: &Pod, name: &str, protocol: Option<&str>) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten()).find_map(|p| {
        let same = p.protocol.as_deref().unwrap_or("TCP") == protocol.unwrap_or("TCP");
        (p.name.as_deref() == Some(name) && same).then_some(p.container_port)
    })
}
