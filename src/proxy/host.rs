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

fn ready_ip(node: &Node) -> Option<Ipv4Addr> {
    let status = node.status.as_ref()?;
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let ip = status.addresses.iter().flatten().find(|a| a.type_ == "InternalIP")?.address.parse().ok()?;
    ready.then_some(ip)
}
