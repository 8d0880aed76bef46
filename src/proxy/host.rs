//! The learner's own loopback: node ports and load balancers on 127.0.0.1 and ::1.

use super::{Changes, rules};
use crate::client::{Client, Informer, Recorder, reference};
use crate::clock;
use crate::cni::{HostNetwork, HostPort};
use crate::tap::{Record, Tap};
use crate::task::Crew;
use k8s_openapi::api::core::v1::{Node, Service};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The component that records name for what happens at the learner's own loopback.
pub const LOCALHOST: &str = "localhost";
/// Connections within this time are told in one record a port, so that a flood of them is no flood of records.
const VISITS_EVERY: Duration = Duration::from_millis(200);

/// A port of this machine that was taken is tried again after this time.
const RETRY: Duration = Duration::from_secs(10);

/// The ports to open and where they lead. Pure.
pub fn wanted(
    services: &[Arc<Service>],
    slices: &BTreeMap<String, Vec<Arc<k8s_openapi::api::discovery::v1::EndpointSlice>>>,
    nodes: &[Ipv4Addr],
) -> Vec<(HostPort, Arc<Service>)> {
    let mut ports: Vec<(HostPort, Arc<Service>)> = Vec::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let meta = &service.metadata;
        let name = format!(
            "{}/{}",
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default()
        );
        let own = slices.get(&name).map(Vec::as_slice).unwrap_or_default();
        for port in spec.ports.iter().flatten() {
            let node_port = port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0);
            let (Some(node_port), Some(protocol)) = (node_port, rules::protocol(port)) else { continue };
            let to: Vec<SocketAddr> = nodes.iter().map(|ip| SocketAddr::from((*ip, node_port))).collect();
            let ready = !rules::endpoints(port, own).is_empty() && !to.is_empty();
            let mut outside = vec![node_port];
            if spec.type_.as_deref() == Some("LoadBalancer") {
                outside.extend(u16::try_from(port.port).ok());
            }
            for number in outside {
                if !ports.iter().any(|(p, _)| p.port == number && p.protocol == protocol) {
                    ports.push((HostPort { port: number, protocol, to: to.clone(), ready }, service.clone()));
                }
            }
        }
    }
    ports
}

/// Keeps the loopback's ports in step with the cluster, until the crew ends.
pub fn start(crew: &Crew, client: &Client, host: Arc<dyn HostNetwork>, tap: Tap) {
    let (own, client) = (crew.clone(), client.clone());
    let served = watch::Sender::default();
    crew.spawn(tell_visits(host.visits(), served.subscribe(), tap.clone()));
    crew.spawn(async move {
        let changes = Changes::watch(&own, &client);
        let nodes: Informer<Node> = Informer::all(&own, &client);
        let recorder = Recorder::new(&own, &client, "ropewalk", "");
        changes.synced().await;
        nodes.synced().await;
        let poke = changes.clone();
        nodes.on(move |change| poke.poke(change.cause()));
        let mut told: Vec<(u16, String)> = Vec::new();
        let mut last: Vec<HostPort> = Vec::new();
        let mut cause = None;
        loop {
            let ips: Vec<Ipv4Addr> = nodes.list().iter().filter_map(|n| ready_ip(n)).collect();
            let wanted = wanted(&changes.services.list(), &changes.by_service(), &ips);
            let ports: Vec<HostPort> = wanted.iter().map(|(p, _)| p.clone()).collect();
            served.send_replace(wanted.iter().map(|(port, service)| (port.port, service.clone())).collect());
            let start = clock::Instant::now();
            let failed = host.sync_ports(&ports).await;
            if ports != last {
                let open: Vec<u16> = ports.iter().filter(|p| p.ready).map(|p| p.port).collect();
                let record = Record::new("ports").cause(cause.take()).took(start.elapsed());
                tap.emit(record.detail(serde_json::json!({"open": open})));
                last = ports;
            }
            let mut now_told = Vec::new();
            for (port, error) in &failed {
                let service = wanted.iter().find(|(p, _)| p.port == *port).map(|(_, s)| s);
                now_told.push((*port, error.to_string()));
                if let Some(service) = service
                    && !told.contains(&(*port, error.to_string()))
                {
                    let message = format!("localhost:{port} does not lead to this Service: {error}");
                    recorder.warning(&reference(&**service), "HostPortTaken", message, None);
                }
            }
            told = now_told;
            tokio::select! {
                next = changes.next() => cause = next,
                () = clock::sleep(RETRY), if !told.is_empty() => {}
            }
        }
    });
}

/// Records connections that came through the loopback's ports, by the Service that each port leads to: `visit`, `{port, connections}`.
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
                let detail = serde_json::json!({"port": port, "connections": fresh});
                tap.emit(Record::new("visit").object("services", &namespace, &name).detail(detail));
            }
        }
        told = now;
        clock::sleep(VISITS_EVERY).await;
    }
}

fn ready_ip(node: &Node) -> Option<Ipv4Addr> {
    let status = node.status.as_ref()?;
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let ip = status.addresses.iter().flatten().find(|a| a.type_ == "InternalIP")?.address.parse().ok()?;
    ready.then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::fake::FakeHost;

    #[tokio::test(start_paused = true)]
    async fn a_connection_from_outside_is_told_with_its_service() {
        let (host, tap) = (FakeHost::default(), Tap::new());
        let service: Service = serde_json::from_value(
            serde_json::json!({"metadata": {"namespace": "default", "name": "pod-svc"}}),
        )
        .unwrap();
        let served = watch::Sender::new(BTreeMap::from([(30080, Arc::new(service))]));
        let crew = Crew::new("test");
        crew.spawn(tell_visits(host.visits(), served.subscribe(), tap.at("", LOCALHOST)));
        let mut live = tap.subscribe();
        tokio::task::yield_now().await; // what was counted before it listens is no news
        host.visit(9); // leads nowhere
        host.visit(30080);
        let told = live.recv().await.unwrap();
        assert_eq!((told.component.as_str(), told.verb.as_str()), (LOCALHOST, "visit"));
        let object = told.object.clone().unwrap();
        assert_eq!(
            (object.resource.as_str(), object.namespace.as_str(), object.name.as_str()),
            ("services", "default", "pod-svc")
        );
        assert_eq!(told.detail["connections"], 1);
        (0..50).for_each(|_| host.visit(30080));
        let told = live.recv().await.unwrap();
        assert_eq!(told.detail["connections"], 50, "a flood is one record");
        crew.kill();
    }
}
