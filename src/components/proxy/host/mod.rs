//! The learner's own loopback: node ports and load balancers on 127.0.0.1 and ::1.

use super::Changes;
use super::rules::{self, Refused};
use api::cidr;
use client::{Client, Informer, Key, Recorder};
use cni::{HostNetwork, HostPort, Protocol};
use k8s_openapi::api::core::v1::{Node, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tap::{Component, Event, Record, Tap};
use task::Crew;
use tokio::sync::watch;

/// The component that records name for what happens at the learner's own loopback.
pub const LOCALHOST: &str = Component::Localhost.name();
/// Connections within this time are told in one record a port, so that a flood of them is no flood
/// of records.
const VISITS_EVERY: Duration = Duration::from_millis(200);

/// A port that could not be opened, because another program has it or the kernel refuses it, is
/// tried again after this time.
const RETRY: Duration = Duration::from_secs(10);

/// Returns the ports to open and where they lead, and what Services do not get: a port that another
/// one has, the port of a load balancer without a node port, or ports that are more than one
/// namespace may have. `nodes` are the ready ones. Pure.
///
/// Node ports come before ports of load balancers, as a node knows no others.
///
/// With `externalTrafficPolicy: Local` a port leads only to nodes that have an endpoint, see
/// [`led_to`].
pub(crate) fn wanted_ports(
    services: &[Arc<Service>],
    slices: &BTreeMap<String, Vec<Arc<EndpointSlice>>>,
    nodes: &[ReadyNode],
) -> (Vec<(HostPort, Arc<Service>)>, Vec<Refused>) {
    let (mut node_ports, mut balancers) = (Vec::new(), Vec::new());
    let (mut refused, mut budget) = (Vec::new(), rules::Budget::default());
    for service in rules::by_age(services) {
        let Some(spec) = service.spec.as_ref().filter(|spec| !rules::is_external_name(spec)) else {
            continue;
        };
        let meta = &service.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = format!("{namespace}/{}", meta.name.as_deref().unwrap_or_default());
        let leads = leads_somewhere(spec);
        if leads && !budget.has(namespace) {
            refused.push(rules::beyond_namespace(service));
            continue;
        }
        // What leads nowhere is not read, and takes nothing from the Services that do.
        let own = if leads { slices.get(&name) } else { None };
        let own = rules::Slices::of(own.map(Vec::as_slice).unwrap_or_default());
        budget.spend(namespace, own.work());
        let affinity_seconds = rules::affinity_seconds(spec);
        let (is_balancer, mut is_told) = (is_balanced_here(spec), false);
        for port in spec.ports.iter().flatten() {
            let Some(protocol) = rules::protocol(port) else { continue };
            let node_port = port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0);
            let Some(node_port) = node_port else {
                if is_balancer && !std::mem::replace(&mut is_told, true) {
                    refused.push(without_node_port(service, port.port));
                }
                continue;
            };
            if !budget.has(namespace) {
                refused.push(rules::beyond_namespace(service));
                break;
            }
            let endpoints = own.endpoints(port);
            budget.spend(namespace, endpoints.work());
            let is_local = rules::is_external_local(spec);
            let open = |number: u16, leads: fn(&ReadyNode) -> bool| {
                let serving = led_to(&endpoints, is_local, nodes.iter().filter(|node| leads(node)));
                let to: Vec<SocketAddr> = serving.iter().map(|node| (node.ip, node_port).into()).collect();
                HostPort { port: number, protocol, ready: !to.is_empty(), to, affinity_seconds }
            };
            node_ports.push((open(node_port, |_| true), service.clone()));
            // A port of the same number as its own node port is open already.
            let number = u16::try_from(port.port).ok().filter(|number| is_balancer && *number != node_port);
            balancers.extend(number.map(|number| (open(number, |node| node.is_balanced), service.clone())));
        }
    }
    // People choose the ports of balancers: none of them takes the node port of another.
    node_ports.extend(balancers);
    (hand_out(node_ports, &mut refused), refused)
}

/// Returns the nodes that a port leads to: where the policy is `Local`, those that have an
/// endpoint. The others drop what comes, and the learner's client would wait for minutes.
///
/// A node whose last endpoint ends still serves, and is left out while another one has a ready
/// endpoint, as a load balancer leaves it out after its health check:
///
/// ```text
/// n1: a (ending, serving)   n2: b (ready)   n3: none
/// led to: n2; once b is gone as well: n1
/// ```
fn led_to<'a>(
    endpoints: &rules::Endpoints,
    is_local: bool,
    nodes: impl Iterator<Item = &'a ReadyNode>,
) -> Vec<&'a ReadyNode> {
    // Looked at once for all nodes: there may be thousands of endpoints.
    let anywhere = !is_local && !endpoints.usable(None).is_empty();
    let serves = |node: &ReadyNode| match is_local {
        true => !endpoints.usable(Some(&node.name)).is_empty(),
        false => anywhere,
    };
    let mut serving: Vec<&ReadyNode> = nodes.filter(|node| serves(node)).collect();
    if is_local && serving.iter().any(|node| endpoints.has_ready(&node.name)) {
        serving.retain(|node| endpoints.has_ready(&node.name));
    }
    serving
}

/// Gives each number to the first port that asks for it, and adds the others to `refused`.
///
/// Two Services ask for 30080 by TCP: the first in the list gets it. The second one is told so by
/// an Event, since nothing in its status would say why it does not answer.
fn hand_out(
    asking: Vec<(HostPort, Arc<Service>)>,
    refused: &mut Vec<Refused>,
) -> Vec<(HostPort, Arc<Service>)> {
    let mut ports: Vec<(HostPort, Arc<Service>)> = Vec::new();
    let mut by_number: BTreeMap<(u16, Protocol), usize> = BTreeMap::new(); // indices of `ports`
    for (port, service) in asking {
        match by_number.get(&(port.port, port.protocol)).map(|index| &ports[*index]) {
            None => {
                by_number.insert((port.port, port.protocol), ports.len());
                ports.push((port, service));
            }
            Some((_, owner)) => refused.push(taken(port.port, &service, owner)),
        }
    }
    ports
}

/// Returns the refusal of a port that another Service has, or another port of the same one.
fn taken(number: u16, service: &Arc<Service>, owner: &Arc<Service>) -> Refused {
    let owner = Key::of(&**owner);
    let message = if owner == Key::of(&**service) {
        format!("localhost:{number} leads to the node port {number} of this Service, and to no other port")
    } else {
        let owner = owner.to_string();
        let owner = match rules::owner_for(service, &owner) {
            known if known == owner => format!("the Service {known}"),
            unknown => unknown.to_string(),
        };
        format!("localhost:{number} leads to {owner}, which has the same port: it does not lead to this one")
    };
    Refused { service: service.clone(), reason: "HostPortTaken", message }
}

/// Returns whether localhost is the load balancer of a Service. One that names a class has asked
/// for another implementation: every default one leaves it alone (KEP-1959).
fn is_balanced_here(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none()
}

/// Returns whether localhost leads to a Service.
fn leads_somewhere(spec: &ServiceSpec) -> bool {
    let ports = spec.ports.iter().flatten();
    ports.filter(|port| rules::protocol(port).is_some()).any(|port| port.node_port.is_some_and(|p| p > 0))
}

/// Returns the refusal of a load balancer that has no node port, to which localhost would lead.
fn without_node_port(service: &Arc<Service>, port: i32) -> Refused {
    let message = format!(
        "localhost:{port} does not lead to this Service: localhost leads to node ports, and allocateLoadBalancerNodePorts: false leaves it without"
    );
    Refused { service: service.clone(), reason: "NoNodePort", message }
}

/// Returns the Service that a port leads to.
fn owner_of(ports: &[(HostPort, Arc<Service>)], number: u16, protocol: Protocol) -> Option<&Arc<Service>> {
    let owned = ports.iter().find(|(port, _)| port.port == number && port.protocol == protocol);
    owned.map(|(_, service)| service)
}

/// Returns what Services are told of their ports that could not be opened.
fn not_opened(
    wanted: &[(HostPort, Arc<Service>)],
    failed: Vec<((u16, Protocol), cni::Error)>,
) -> Vec<Refused> {
    let told = failed.into_iter().filter_map(|((port, protocol), error)| {
        let service = owner_of(wanted, port, protocol)?.clone();
        let reason = match error {
            cni::Error::PortTaken { .. } => "HostPortTaken",
            _ => "HostPortNotOpened", // only root may open it, for example
        };
        let message = format!("localhost:{port} does not lead to this Service: {error}");
        Some(Refused { service, reason, message })
    });
    told.collect()
}

/// Returns the ports that lead to a ready node, without those that the machine refused, in their
/// order.
fn open_ports(ports: &[HostPort], failed: &BTreeSet<(u16, Protocol)>) -> Vec<u16> {
    let open = ports.iter().filter(|port| port.ready && !failed.contains(&(port.port, port.protocol)));
    let mut open: Vec<u16> = open.map(|port| port.port).collect();
    open.sort_unstable(); // a change of the Services' order is no news
    open
}

/// Returns the Services that TCP ports lead to: connections are counted for these alone, and a UDP
/// port may have the same number.
fn by_tcp_port(ports: &[(HostPort, Arc<Service>)]) -> BTreeMap<u16, Arc<Service>> {
    let tcp = ports.iter().filter(|(port, _)| port.protocol == Protocol::Tcp);
    tcp.map(|(port, service)| (port.port, service.clone())).collect()
}

/// Keeps the loopback's ports in step with the cluster, until the crew ends.
pub fn start(crew: &Crew, client: &Client, host: Arc<dyn HostNetwork>, tap: Tap) {
    let (own, client) = (crew.clone(), client.clone());
    let served = watch::Sender::default();
    crew.spawn_essential(tell_visits(host.visits(), served.subscribe(), tap.clone()));
    crew.spawn_essential(async move {
        let changes = Changes::watch(&own, &client);
        let nodes: Informer<Node> = Informer::all(&own, &client);
        let recorder = Recorder::new(&own, &client, "ropewalk", "");
        changes.synced().await;
        nodes.synced().await;
        let poke = changes.clone();
        nodes.on(move |change| poke.poke(change.cause()));
        let (mut told, mut told_owners) = (BTreeSet::new(), BTreeSet::new());
        let mut last: Vec<u16> = Vec::new();
        let mut cause = None;
        loop {
            let ready = ready_nodes(&nodes.list());
            let (wanted, refused) = wanted_ports(&changes.services.list(), &changes.by_service(), &ready);
            told_owners = super::report_refused(&recorder, LOCALHOST, refused, &told_owners);
            let ports: Vec<HostPort> = wanted.iter().map(|(p, _)| p.clone()).collect();
            served.send_replace(by_tcp_port(&wanted));
            let start = clock::Instant::now();
            let failed = host.sync_ports(&ports).await;
            let open = open_ports(&ports, &failed.iter().map(|(port, _)| *port).collect());
            if open != last {
                last.clone_from(&open);
                let event = Event::Ports { open };
                tap.emit(Record::new(event).cause(cause.take()).took(start.elapsed()));
            }
            let has_failed = !failed.is_empty();
            told = super::report_refused(&recorder, LOCALHOST, not_opened(&wanted, failed), &told);
            tokio::select! {
                next = changes.next() => cause = next,
                () = clock::pause(RETRY), if has_failed => {}
            }
        }
    });
}

/// Records connections that came through the loopback's ports, by the Service that each port leads
/// to: [`Event::Visit`].
async fn tell_visits(
    mut visits: watch::Receiver<BTreeMap<u16, u64>>,
    served: watch::Receiver<BTreeMap<u16, Arc<Service>>>,
    tap: Tap,
) {
    let mut told = visits.borrow_and_update().clone();
    while visits.changed().await.is_ok() {
        let now = visits.borrow_and_update().clone();
        let services = served.borrow().clone();
        for (port, count) in &now {
            let fresh = count - told.get(port).copied().unwrap_or_default();
            if let Some(service) = services.get(port).filter(|_| fresh > 0) {
                let text = |part: &Option<String>| part.clone().unwrap_or_default();
                let (namespace, name) = (text(&service.metadata.namespace), text(&service.metadata.name));
                let event = Event::Visit { port: *port, connections: fresh };
                tap.emit(Record::new(event).object("services", &namespace, &name));
            }
        }
        told = now;
        clock::pause(VISITS_EVERY).await;
    }
}

/// A node that is ready.
pub(crate) struct ReadyNode {
    name: String,
    ip: Ipv4Addr,
    /// Load balancers lead to it, as node ports do.
    is_balanced: bool,
}

/// The label of nodes that load balancers leave out, see [`is_excluded`].
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Returns the nodes that are ready. If every node of the cluster is excluded from load balancers,
/// none is: there may be no other node than one of the control plane, which has the label. A node
/// that is not ready counts here, too, or its end would lead a load balancer to nodes that it is to
/// leave out. A Node without an address does not count: a client made it, and there is no kubelet
/// that has registered.
///
/// ```text
/// n1: excluded   n2: ready        a load balancer leads to n2
/// n1: excluded   n2: not ready    to none
/// n1: excluded   n2: no address   to n1
/// n1: excluded                    to n1
/// ```
fn ready_nodes(nodes: &[Arc<Node>]) -> Vec<ReadyNode> {
    let addressed: Vec<(&Node, Ipv4Addr)> =
        nodes.iter().filter_map(|node| Some((&**node, internal_ip(node)?))).collect();
    let all_excluded = addressed.iter().all(|(node, _)| is_excluded(node));
    let ready = addressed.into_iter().filter(|(node, _)| is_ready(node));
    let ready = ready.map(|(node, ip)| ReadyNode {
        name: node.metadata.name.clone().unwrap_or_default(),
        ip,
        is_balanced: all_excluded || !is_excluded(node),
    });
    ready.collect()
}

/// Returns whether load balancers leave a node out. The value `false` of the label includes the
/// node, as without the label; any other value excludes it, also the empty one of kubeadm.
/// Upstream: `nodeIncludedPredicate`, which reads the value with Go's `ParseBool`.
fn is_excluded(node: &Node) -> bool {
    let value = node.metadata.labels.as_ref().and_then(|labels| labels.get(EXCLUDED));
    value.is_some_and(|value| !matches!(value.as_str(), "0" | "f" | "F" | "false" | "FALSE" | "False"))
}

fn is_ready(node: &Node) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Returns the node's first `InternalIP` of IPv4; a node may have one of IPv6 before it.
fn internal_ip(node: &Node) -> Option<Ipv4Addr> {
    let mut own = node.status.as_ref()?.addresses.iter().flatten().filter(|a| a.type_ == "InternalIP");
    own.find_map(|a| cidr::ipv4(&a.address))
}

#[cfg(test)]
mod tests;
