//! The listeners through which etcd clients on the host reach the members of the store: one
//! loopback port a member, certificates of the store's own authority. The API servers do not pass
//! here, each has its member in its own process.
//!
//! In Kubernetes a member listens on port 2379 of its node, and kubeadm makes the same files:
//! `etcd/ca.crt` and a client's certificate in `etcd/healthcheck-client.crt`, for `etcdctl` on the
//! node.

use super::peers::PEER_PORT;
use super::world::World;
use super::{Error, Place, chain};
use etcd::{self, grpc, pb};
use net::fabric;
use parking_lot::Mutex;
use pki::{self, Ca, Subject, write_private};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use task::Crew;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// etcd's port for clients; a host where it is taken gets one of the next.
const CLIENT_PORT: u16 = 2379;
const PORTS: u16 = 200;
/// The files that a client needs, in the directory of the store's authority.
const CLIENT: &str = "healthcheck-client";

/// Which members of the store listen for etcd clients of the host, and on which loopback ports.
pub struct EtcdListeners {
    /// All members that were ever open, and the port each listens on.
    ports: Mutex<BTreeMap<String, u16>>,
    open: watch::Sender<Vec<pb::Member>>,
}

impl EtcdListeners {
    /// Makes a certificate of the store's authority for its clients, and writes it to
    /// `pki/etcd/healthcheck-client.crt` and `.key`. No member listens yet.
    ///
    /// # Errors
    /// [`Error::Pki`]: the certificate cannot be made, or a file cannot be written; the error names
    /// it. The cluster does not start then.
    pub fn new(place: &Place, ca: &Ca) -> Result<EtcdListeners, Error> {
        let dir = place.etcd_pki();
        let client = ca.issue(&Subject::client("kube-etcd-healthcheck-client", ""))?;
        write_private(&dir.join(format!("{CLIENT}.crt")), &client.cert_pem)?;
        write_private(&dir.join(format!("{CLIENT}.key")), &client.key_pem)?;
        Ok(EtcdListeners { ports: Mutex::default(), open: watch::Sender::new(vec![]) })
    }

    /// What `status -o json` says of the store: `{endpoints[], cacert, cert, key}`.
    pub fn status(&self, place: &Place) -> Value {
        let members = self.open.borrow();
        let endpoints: Vec<&String> = members.iter().flat_map(|m| &m.client_urls).collect();
        status(place, &endpoints)
    }

    /// A member that has ended has no address.
    pub fn close(&self, node: &str) {
        let id = etcd::member_id(node);
        self.open.send_modify(|members| {
            members.iter_mut().filter(|m| m.id == id).for_each(|m| m.client_urls.clear());
        });
    }

    /// The port that this member had before, or the next free one.
    async fn listen(&self, node: &str) -> std::io::Result<TcpListener> {
        let before = self.ports.lock().get(node).copied();
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        for port in before.into_iter().chain(CLIENT_PORT..CLIENT_PORT + PORTS) {
            match TcpListener::bind(("127.0.0.1", port)).await {
                Ok(listener) => {
                    self.ports.lock().insert(node.into(), port);
                    return Ok(listener);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The store's part of a cluster's status; a cluster that is stopped has no endpoints.
pub fn status(place: &Place, endpoints: &[&String]) -> Value {
    let file = |name: &str| place.etcd_pki().join(name);
    json!({
        "endpoints": endpoints,
        "cacert": file("ca.crt"),
        "cert": file(&format!("{CLIENT}.crt")),
        "key": file(&format!("{CLIENT}.key")),
    })
}

/// Opens the listener of a member that has started. It closes with the crew.
///
/// # Errors
/// A text for people: no port from [`CLIENT_PORT`] on is free, or the member's certificate or TLS
/// configuration cannot be made. The member serves the API server all the same; the caller only
/// logs that etcd clients on the host cannot reach it.
pub async fn open(world: &Arc<World>, crew: &Crew, node: &str, server: &etcd::Server) -> Result<(), String> {
    let listeners = &world.listeners;
    let listener =
        listeners.listen(node).await.map_err(|e| format!("no port from {CLIENT_PORT} on is free: {e}"))?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    let address = |name: &str| {
        let nodes = world.spec.nodes();
        nodes.iter().find(|n| n.name == name).map(|n| fabric::node_ip(n.index).to_string())
    };
    let ip = address(node).unwrap_or_default();
    let names = ["localhost", "127.0.0.1", "::1", node, ip.as_str()];
    let identity = world.etcd_ca.issue(&Subject::server(node, &names)).map_err(|e| chain(&e))?;
    let tls = pki::mutual_server_config(&identity, world.etcd_ca.pem()).map_err(|e| chain(&e))?;
    let member = pb::Member {
        id: etcd::member_id(node),
        name: node.into(),
        peer_urls: vec![format!("https://{ip}:{PEER_PORT}")],
        client_urls: vec![format!("https://127.0.0.1:{port}")],
        is_learner: false,
    };
    listeners.open.send_modify(|members| {
        members.retain(|m| m.id != member.id);
        members.push(member);
        members.sort_by_key(|m| m.id);
    });
    let face = grpc::Face::new(server, &world.spec.name, listeners.open.subscribe(), crew);
    crew.spawn(grpc::serve(face, listener, tls));
    tracing::info!(endpoint = format!("https://127.0.0.1:{port}"), "serving client traffic securely");
    Ok(())
}
