//! The learner's own loopback: node ports and load balancers on 127.0.0.1 and ::1.

use super::Changes;
use super::rules::{self, Refused};
use api::cidr;
use client::{Client, Informer, Key, Recorder, reference};
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
/// With `externalTrafficPolicy: Local` a port leads only to nodes that have an endpoint: the others
/// drop what comes, and the learner's client would wait for minutes.
pub(crate) fn wanted(
    services: &[Arc<Service>],
    slices: &BTreeMap<String, Vec<Arc<EndpointSlice>>>,
    nodes: &[ReadyNode],
) -> (Vec<(HostPort, Arc<Service>)>, Vec<Refused>) {
    let (mut node_ports, mut balancers) = (Vec::new(), Vec::new());
    let (mut refused, mut budget) = (Vec::new(), rules::Budget::default());
    for service in rules::by_age(services) {
        let Some(spec) = &service.spec else { continue };
        let meta = &service.metadata;
        let name = format!(
            "{}/{}",
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default()
        );
        let namespace = meta.namespace.as_deref().unwrap_or_default();
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
            let serves =
                |node: &str| !endpoints.usable(rules::is_external_local(spec).then_some(node)).is_empty();
            let open = |number: u16, leads: fn(&ReadyNode) -> bool| {
                let serving = nodes.iter().filter(|node| leads(node) && serves(&node.name));
                let to: Vec<SocketAddr> = serving.map(|node| (node.ip, node_port).into()).collect();
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

/// A port that another Service has, or another port of the same one.
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

/// A load balancer that has no node port, which localhost would lead to.
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

/// Returns the ports that lead to a ready node, without those that the machine refused.
fn open_ports(ports: &[HostPort], failed: &BTreeSet<(u16, Protocol)>) -> Vec<u16> {
    let open = ports.iter().filter(|port| port.ready && !failed.contains(&(port.port, port.protocol)));
    open.map(|port| port.port).collect()
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
        let mut told: BTreeSet<(u16, Protocol, String)> = BTreeSet::new();
        let mut told_owners = BTreeSet::new();
        let mut last: Vec<u16> = Vec::new();
        let mut cause = None;
        loop {
            let ready = ready_nodes(&nodes.list());
            let (wanted, refused) = wanted(&changes.services.list(), &changes.by_service(), &ready);
            told_owners = super::tell(&recorder, LOCALHOST, refused, &told_owners);
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
            let mut now_told = BTreeSet::new();
            for ((port, protocol), error) in failed {
                let failure = (port, protocol, error.to_string());
                if let Some(service) = owner_of(&wanted, port, protocol)
                    && !told.contains(&failure)
                {
                    let message = format!("localhost:{port} does not lead to this Service: {error}");
                    recorder.warning(&reference(&**service), "HostPortTaken", message, None);
                }
                now_told.insert(failure);
            }
            told = now_told;
            tokio::select! {
                next = changes.next() => cause = next,
                () = clock::pause(RETRY), if !told.is_empty() => {}
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

/// The label of nodes that load balancers leave out, whatever its value.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Returns the nodes that are ready. If all of them are excluded from load balancers, none is: a
/// cluster may have no other node than one of the control plane, which has the label.
fn ready_nodes(nodes: &[Arc<Node>]) -> Vec<ReadyNode> {
    let mut ready: Vec<ReadyNode> = nodes.iter().filter_map(|node| ready_node(node)).collect();
    if ready.iter().all(|node| !node.is_balanced) {
        ready.iter_mut().for_each(|node| node.is_balanced = true);
    }
    ready
}

fn ready_node(node: &Node) -> Option<ReadyNode> {
    let status = node.status.as_ref()?;
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let ip = status.addresses.iter().flatten().find(|a| a.type_ == "InternalIP")?;
    let ip = cidr::ipv4(&ip.address)?;
    let is_balanced = node.metadata.labels.as_ref().is_none_or(|labels| !labels.contains_key(EXCLUDED));
    ready.then(|| ReadyNode { name: node.metadata.name.clone().unwrap_or_default(), ip, is_balanced })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cni::fake::FakeHost;

    #[tokio::test(start_paused = true)]
    async fn a_connection_from_outside_is_told_with_its_service() {
        let (host, tap) = (FakeHost::default(), Tap::new());
        let service: Service = serde_json::from_value(
            serde_json::json!({"metadata": {"namespace": "default", "name": "pod-svc"}}),
        )
        .unwrap();
        let served = watch::Sender::new(BTreeMap::from([(30080, Arc::new(service))]));
        let crew = Crew::new("test");
        crew.spawn(tell_visits(host.visits(), served.subscribe(), tap.at("", Component::Localhost)));
        let mut live = tap.subscribe();
        tokio::task::yield_now().await; // what was counted before it listens is no news
        host.visit(9); // leads nowhere
        host.visit(30080);
        let told = live.recv().await.unwrap();
        let visit = |connections| Event::Visit { port: 30080, connections };
        assert_eq!((told.component, &told.event), (Component::Localhost, &visit(1)));
        let object = told.object.clone().unwrap();
        assert_eq!(
            (object.resource.as_str(), object.namespace.as_str(), object.name.as_str()),
            ("services", "default", "pod-svc")
        );
        (0..50).for_each(|_| host.visit(30080));
        let told = live.recv().await.unwrap();
        assert_eq!(told.event, visit(50), "a flood is one record");
        crew.kill();
    }

    fn service(name: &str, spec: serde_json::Value) -> Arc<Service> {
        let meta = serde_json::json!({"namespace": "d", "name": name});
        Arc::new(serde_json::from_value(serde_json::json!({"metadata": meta, "spec": spec})).unwrap())
    }

    /// The slices of d/web, which has an endpoint on the node n2.
    fn one_endpoint() -> BTreeMap<String, Vec<Arc<EndpointSlice>>> {
        let slice = serde_json::from_value(serde_json::json!({
            "addressType": "IPv4", "metadata": {}, "ports": [{"name": "", "port": 8080}],
            "endpoints": [{"addresses": ["10.244.2.2"], "nodeName": "n2"}],
        }));
        BTreeMap::from([("d/web".to_string(), vec![Arc::new(slice.unwrap())])])
    }

    #[test]
    fn a_local_service_is_reached_on_nodes_that_have_an_endpoint() {
        let slices = one_endpoint();
        let node = |n: u8| ReadyNode { name: format!("n{n}"), ip: [172, 30, 0, n].into(), is_balanced: true };
        let to = |policy: &str, nodes: &[ReadyNode]| {
            let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
            let spec =
                serde_json::json!({"type": "NodePort", "externalTrafficPolicy": policy, "ports": ports});
            let port = wanted(&[service("web", spec)], &slices, nodes).0.remove(0).0;
            (port.to.iter().map(ToString::to_string).collect::<Vec<_>>(), port.ready)
        };
        let all = [node(1), node(2), node(3)];
        assert_eq!(to("Cluster", &all).0.len(), 3);
        assert_eq!(to("Local", &all), (vec!["172.30.0.2:30080".to_string()], true));
        assert_eq!(to("Local", &[node(1)]), (vec![], false), "it refuses instead of being silent");
    }

    #[test]
    fn a_balancer_leads_to_nodes_that_are_not_excluded_from_it() {
        let node = |n: u8, labels: serde_json::Value| {
            let status = serde_json::json!({
                "addresses": [{"type": "InternalIP", "address": format!("172.30.0.{n}")}],
                "conditions": [{"type": "Ready", "status": "True"}],
            });
            let node = serde_json::json!({"metadata": {"name": format!("n{n}"), "labels": labels}, "status": status});
            Arc::new(serde_json::from_value::<Node>(node).unwrap())
        };
        let slices = one_endpoint();
        let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
        let web = service("web", serde_json::json!({"type": "LoadBalancer", "ports": ports}));
        let to = |nodes: &[Arc<Node>]| -> Vec<(u16, usize)> {
            let (ports, _) = wanted(std::slice::from_ref(&web), &slices, &ready_nodes(nodes));
            ports.iter().map(|(port, _)| (port.port, port.to.len())).collect()
        };
        let (plane, worker) = (node(1, serde_json::json!({EXCLUDED: ""})), node(2, serde_json::json!({})));
        assert_eq!(to(&[plane.clone(), worker]), [(30080, 2), (80, 1)]);
        assert_eq!(to(&[plane]), [(30080, 1), (80, 1)], "there is no other node");
    }

    #[test]
    fn a_headless_service_takes_nothing_from_those_that_localhost_leads_to() {
        let endpoints: Vec<_> = (0..1000)
            .map(|i| serde_json::json!({"addresses": [format!("10.244.{}.{}", i / 250, i % 250)]}))
            .collect();
        let slice: EndpointSlice = serde_json::from_value(
            serde_json::json!({"addressType": "IPv4", "metadata": {}, "endpoints": endpoints}),
        )
        .unwrap();
        let slice = Arc::new(slice);
        let slices = BTreeMap::from([("d/db".to_string(), vec![slice; 66])]);
        let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
        let services = [
            service("db", serde_json::json!({"clusterIP": "None", "ports": [{"port": 5432}]})),
            service("web", serde_json::json!({"type": "NodePort", "ports": ports})),
        ];
        let (open, refused) = wanted(&services, &slices, &[]);
        assert_eq!((open.len(), refused.len()), (1, 0), "{refused:?}");
    }

    #[test]
    fn the_affinity_of_a_service_holds_through_localhost() {
        let port = |affinity: &str| {
            let config = serde_json::json!({"clientIP": {"timeoutSeconds": 60}});
            let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
            let spec = serde_json::json!({"sessionAffinity": affinity, "sessionAffinityConfig": config, "ports": ports});
            wanted(&[service("web", spec)], &BTreeMap::new(), &[]).0.remove(0).0
        };
        assert_eq!(port("ClientIP").affinity_seconds, Some(60));
        assert_eq!(port("None").affinity_seconds, None);
    }

    #[test]
    fn a_tcp_and_a_udp_port_of_one_number_are_two_ports() {
        let node_port = |name: &str, protocol: &str| {
            let ports = serde_json::json!([{"port": 53, "protocol": protocol, "nodePort": 30053}]);
            service(name, serde_json::json!({"type": "NodePort", "ports": ports}))
        };
        let services = [node_port("a-tcp", "TCP"), node_port("b-udp", "UDP")];
        let (ports, refused) = wanted(&services, &BTreeMap::new(), &[]);
        assert_eq!((ports.len(), refused.len()), (2, 0));
        let name = |service: &Arc<Service>| service.metadata.name.clone().unwrap();
        for (protocol, expected) in [(Protocol::Tcp, "a-tcp"), (Protocol::Udp, "b-udp")] {
            assert_eq!(owner_of(&ports, 30053, protocol).map(name).as_deref(), Some(expected));
        }
        assert_eq!(by_tcp_port(&ports).get(&30053).map(name).as_deref(), Some("a-tcp"));
    }

    #[test]
    fn a_load_balancer_without_node_ports_is_told_that_localhost_does_not_lead_to_it() {
        let spec = |kind: &str| {
            let ports = serde_json::json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
            serde_json::json!({"type": kind, "allocateLoadBalancerNodePorts": false, "ports": ports})
        };
        let services = [service("balancer", spec("LoadBalancer")), service("inside", spec("ClusterIP"))];
        let (ports, refused) = wanted(&services, &BTreeMap::new(), &[]);
        let told: Vec<_> = refused.iter().map(|r| (r.service.metadata.name.as_deref(), r.reason)).collect();
        assert_eq!((ports.len(), told), (0, vec![(Some("balancer"), "NoNodePort")]), "once");
        assert!(refused[0].message.contains("allocateLoadBalancerNodePorts"), "{}", refused[0].message);
    }

    #[test]
    fn a_load_balancer_of_another_class_has_its_node_ports_alone() {
        let balancer = |name: &str, node_port: Option<i32>, class: Option<&str>| {
            let ports = serde_json::json!([{"port": 80, "nodePort": node_port}]);
            let spec =
                serde_json::json!({"type": "LoadBalancer", "loadBalancerClass": class, "ports": ports});
            service(name, spec)
        };
        let other = Some("example.com/internal");
        let services = [
            balancer("other", Some(30001), other),
            balancer("bare", None, other),
            balancer("default", Some(30002), None),
        ];
        let (ports, refused) = wanted(&services, &BTreeMap::new(), &[]);
        let mut leads: Vec<(u16, &str)> =
            ports.iter().map(|(port, of)| (port.port, of.metadata.name.as_deref().unwrap())).collect();
        leads.sort_unstable();
        assert_eq!(leads, [(80, "default"), (30001, "other"), (30002, "default")]);
        assert!(refused.is_empty(), "{refused:?}");
    }

    #[test]
    fn a_second_load_balancer_with_the_same_port_is_told_whose_it_is() {
        let balancer = |name: &str, node_port: i32| {
            let ports = serde_json::json!([{"port": 80, "nodePort": node_port}]);
            service(name, serde_json::json!({"type": "LoadBalancer", "ports": ports}))
        };
        let services = [balancer("a", 30001), balancer("b", 30002)];
        let (ports, refused) = wanted(&services, &BTreeMap::new(), &[]);
        let ports: Vec<u16> = ports.iter().map(|(port, _)| port.port).collect();
        assert_eq!(ports, [30001, 30002, 80]);
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].service.metadata.name.as_deref(), Some("b"));
        assert!(
            refused[0].message.starts_with("localhost:80 leads to the Service d/a"),
            "{}",
            refused[0].message
        );
    }

    /// A node leads its port 30080 to the port `b`, and so does localhost.
    #[test]
    fn a_node_port_comes_before_a_balancers_port_of_the_same_number() {
        let ports = serde_json::json!([
            {"name": "a", "port": 30080, "nodePort": 31000}, {"name": "b", "port": 80, "nodePort": 30080},
            {"name": "c", "port": 30090, "nodePort": 30090},
        ]);
        let balancer = service("web", serde_json::json!({"type": "LoadBalancer", "ports": ports}));
        let ports = serde_json::json!([{"port": 1, "nodePort": 80}]);
        let younger = service("x", serde_json::json!({"type": "NodePort", "ports": ports}));
        let (ports, refused) = wanted(&[balancer, younger], &BTreeMap::new(), &[]);
        let name = |service: &Service| service.metadata.name.clone().unwrap();
        let ports: Vec<(u16, String)> = ports.iter().map(|(port, of)| (port.port, name(of))).collect();
        let expected = [(31000, "web"), (30080, "web"), (30090, "web"), (80, "x")];
        assert_eq!(ports, expected.map(|(port, of)| (port, of.to_string())));
        let told: Vec<&str> = refused.iter().map(|r| &r.message[..30]).collect();
        assert_eq!(told, ["localhost:30080 leads to the n", "localhost:80 leads to the Serv"]);
    }

    #[test]
    fn a_port_that_the_machine_refused_is_not_recorded_as_open() {
        let port =
            |port, protocol, ready| HostPort { port, protocol, to: vec![], ready, affinity_seconds: None };
        let ports = [
            port(30080, Protocol::Tcp, true),
            port(30081, Protocol::Tcp, true),
            port(30081, Protocol::Udp, true),
            port(30082, Protocol::Tcp, false),
        ];
        assert_eq!(open_ports(&ports, &BTreeSet::new()), [30080, 30081, 30081]);
        let failed = [(30080, Protocol::Tcp), (30081, Protocol::Udp)].into();
        assert_eq!(open_ports(&ports, &failed), [30081]);
    }
}
