//! The listeners through which etcd clients on the host reach the members of the store: one
//! loopback port a member, certificates of the store's own authority. The API servers do not pass
//! here, each has its member in its own process.
//!
//! In Kubernetes a member listens on port 2379 of its node, and kubeadm makes the same files:
//! `etcd/ca.crt` and a client's certificate in `etcd/healthcheck-client.crt`, for `etcdctl` on the
//! node.

use crate::components::PEER_PORT;
use crate::error::{Error, chain};
use crate::home::Place;
use crate::spec::{NodeSpec, Spec};
use etcd::{self, grpc, pb};
use net::addresses;
use parking_lot::Mutex;
use pki::{self, Ca, Subject, write_private};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use task::Crew;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// etcd's port for clients; a host where it is taken gets one of the next.
const CLIENT_PORT: u16 = 2379;
const PORTS: u16 = 200;
/// The files that a client needs, in the directory of the store's authority.
const CLIENT: &str = "healthcheck-client";

/// The members of the store, and on which loopback ports they listen for etcd clients of the host.
///
/// The members are the control-plane nodes, from the first moment on and whether their etcd runs or
/// not, as the `members` bucket of an etcd has them. So `endpoint health --cluster` says that a
/// member that has ended is unhealthy.
pub(crate) struct EtcdListeners {
    /// Each has one client URL: the port that it has, had, or is to have.
    members: watch::Sender<Vec<pb::Member>>,
    /// The ids of those that listen.
    open: Mutex<BTreeSet<u64>>,
}

impl EtcdListeners {
    /// Makes a certificate of the store's authority for its clients, and writes it to
    /// `pki/etcd/healthcheck-client.crt` and `.key`. Looks for a free port for each member; no
    /// member listens yet.
    ///
    /// # Errors
    /// [`Error::Pki`]: the certificate cannot be made, or a file cannot be written; the error names
    /// it. The cluster does not start then.
    pub(crate) fn new(place: &Place, ca: &Ca, nodes: &[NodeSpec]) -> Result<EtcdListeners, Error> {
        let dir = place.etcd_pki();
        let client = ca.issue(&Subject::client("kube-etcd-healthcheck-client", ""))?;
        write_private(&dir.join(format!("{CLIENT}.crt")), &client.cert_pem)?;
        write_private(&dir.join(format!("{CLIENT}.key")), &client.key_pem)?;
        let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        Ok(EtcdListeners::of(nodes, (CLIENT_PORT..CLIENT_PORT + PORTS).filter(free)))
    }

    fn of(nodes: &[NodeSpec], mut ports: impl Iterator<Item = u16>) -> EtcdListeners {
        let member = |node: &NodeSpec| pb::Member {
            id: etcd::member_id(&node.name),
            name: node.name.clone(),
            peer_urls: vec![format!("https://{}:{PEER_PORT}", addresses::node_ip(node.index))],
            // If no port is free now, the member looks for one when it starts.
            client_urls: ports.next().map(client_url).into_iter().collect(),
            is_learner: false,
        };
        let mut members: Vec<pb::Member> = nodes.iter().filter(|n| n.control_plane).map(member).collect();
        members.sort_by_key(|m| m.id);
        EtcdListeners { members: watch::Sender::new(members), open: Mutex::default() }
    }

    /// Returns the store's part of `status -o json`: `{endpoints[], cacert, cert, key}`. The
    /// endpoints are those that can be asked now.
    pub(crate) fn status(&self, place: &Place) -> Value {
        status(place, &self.endpoints())
    }

    fn endpoints(&self) -> Vec<String> {
        let (members, open) = (self.members.borrow(), self.open.lock());
        let open = members.iter().filter(|m| open.contains(&m.id));
        open.flat_map(|m| m.client_urls.clone()).collect()
    }

    /// Notes that a member has ended. It stays in the list of members, with its address.
    pub(crate) fn close(&self, node: &str) {
        self.open.lock().remove(&etcd::member_id(node));
    }

    /// Opens the listener of a member that has started. `ca` is the store's own authority. The
    /// listener closes with the crew.
    ///
    /// # Errors
    /// A text for people: no port from [`CLIENT_PORT`] on is free, or the member's certificate or
    /// TLS configuration cannot be made. The member serves the API server all the same; the caller
    /// only logs that etcd clients on the host cannot reach it.
    pub(crate) async fn open(
        &self,
        spec: &Spec,
        ca: &Ca,
        crew: &Crew,
        node: &str,
        server: &etcd::Server,
    ) -> Result<(), String> {
        let address = |name: &str| {
            let nodes = spec.nodes();
            nodes.iter().find(|n| n.name == name).map(|n| addresses::node_ip(n.index).to_string())
        };
        let ip = address(node).unwrap_or_default();
        let names = ["localhost", "127.0.0.1", "::1", node, ip.as_str()];
        let identity = ca.issue(&Subject::server(node, &names)).map_err(|e| chain(&e))?;
        let tls = pki::mutual_server_config(&identity, ca.pem()).map_err(|e| chain(&e))?;
        // Last, for it notes that the member can be asked.
        let listener =
            self.listen(node).await.map_err(|e| format!("no port from {CLIENT_PORT} on is free: {e}"))?;
        let endpoint = listener.local_addr().map(|address| client_url(address.port()));
        let face = grpc::Face::new(server, &spec.name, self.members.subscribe(), crew);
        crew.spawn(grpc::serve(face, listener, tls));
        tracing::info!(endpoint = endpoint.unwrap_or_default(), "serving client traffic securely");
        Ok(())
    }

    /// Listens on the port that the list of members names, or on the next free one, which is then
    /// noted there.
    async fn listen(&self, node: &str) -> std::io::Result<TcpListener> {
        let id = etcd::member_id(node);
        let named = self.members.borrow().iter().find(|m| m.id == id).and_then(port_of);
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        for port in named.into_iter().chain(CLIENT_PORT..CLIENT_PORT + PORTS) {
            if Some(port) != named && self.is_named(port) {
                continue; // another member's, which is still to start or has ended
            }
            match TcpListener::bind(("127.0.0.1", port)).await {
                Ok(listener) => {
                    self.note_open(id, port);
                    return Ok(listener);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn is_named(&self, port: u16) -> bool {
        self.members.borrow().iter().any(|m| port_of(m) == Some(port))
    }

    fn note_open(&self, id: u64, port: u16) {
        self.members.send_modify(|members| {
            members.iter_mut().filter(|m| m.id == id).for_each(|m| m.client_urls = vec![client_url(port)]);
        });
        self.open.lock().insert(id);
    }
}

fn client_url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

/// Returns the port of a member's client URL; `None` if it has none yet.
fn port_of(member: &pb::Member) -> Option<u16> {
    member.client_urls.first()?.rsplit(':').next()?.parse().ok()
}

/// Returns the store's part of a cluster's status; a cluster that is stopped has no endpoints.
pub fn status(place: &Place, endpoints: &[String]) -> Value {
    let file = |name: &str| place.etcd_pki().join(name);
    json!({
        "endpoints": endpoints,
        "cacert": file("ca.crt"),
        "cert": file(&format!("{CLIENT}.crt")),
        "key": file(&format!("{CLIENT}.key")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three members, whose ports are held by what comes with them.
    fn three() -> (EtcdListeners, Vec<std::net::TcpListener>) {
        let spec = Spec { control_planes: 3, workers: 1, ..Spec::new("t") };
        let any = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let held = vec![any(), any(), any()];
        let ports = held.iter().map(|held| held.local_addr().expect("an address").port());
        (EtcdListeners::of(&spec.nodes(), ports), held)
    }

    fn listed(listeners: &EtcdListeners) -> Vec<(String, Option<u16>)> {
        listeners.members.borrow().iter().map(|m| (m.name.clone(), port_of(m))).collect()
    }

    /// As an etcd's own list: a member that does not run is a member, and has an address.
    #[tokio::test]
    async fn a_member_that_has_not_started_or_has_ended_is_listed_with_its_address() {
        let (listeners, held) = three();
        let before = listed(&listeners);
        assert_eq!(before.len(), 3, "{before:?}");
        assert!(before.iter().all(|(_, port)| port.is_some()), "{before:?}");
        assert_eq!(listeners.endpoints().len(), 0);
        drop(held);
        let (name, port) = before[1].clone();
        let open = listeners.listen(&name).await.expect("a port");
        assert_eq!(open.local_addr().ok().map(|address| address.port()), port);
        assert_eq!(listeners.endpoints(), port.map(client_url).into_iter().collect::<Vec<_>>());
        drop(open);
        listeners.close(&name);
        assert_eq!((listeners.endpoints().len(), listed(&listeners)), (0, before));
    }

    /// The authority has run out, for instance: `status` would lead `etcdctl` to a closed port.
    #[tokio::test]
    async fn a_member_without_a_certificate_of_its_own_is_no_endpoint() {
        let dir = tempfile::tempdir().expect("a directory");
        let ca = Ca::load_or_create(dir.path(), "etcd-ca").expect("an authority");
        let config = etcd::Config::new("cp1", dir.path().join("data"), tap::Tap::new(), rng::Rng::seeded(1));
        let server = etcd::Server::start(config).await.expect("a member");
        let (listeners, held) = three();
        drop(held);
        let spec = Spec { control_planes: 3, workers: 1, ..Spec::new("t") };
        let crew = Crew::new("etcd-clients");
        let refused = listeners.open(&spec, &ca, &crew, "k\u{f6}ln", &server).await;
        assert!(refused.is_err() && listeners.endpoints().is_empty() && listeners.open.lock().is_empty());
        let name = listed(&listeners)[0].0.clone();
        listeners.open(&spec, &ca, &crew, &name, &server).await.expect("it listens");
        assert_eq!(listeners.endpoints().len(), 1);
        crew.kill();
        server.stop().await;
    }

    #[tokio::test]
    async fn a_member_whose_port_was_taken_gets_another_that_is_no_members() {
        let (listeners, _held) = three();
        let before = listed(&listeners);
        let open = listeners.listen(&before[0].0).await.expect("a port");
        let given = open.local_addr().expect("an address").port();
        assert!(before.iter().all(|(_, port)| *port != Some(given)), "{given} of {before:?}");
        assert_eq!(listed(&listeners)[0].1, Some(given));
        assert_eq!(listed(&listeners)[1..], before[1..]);
    }
}
