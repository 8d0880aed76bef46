//! The wires between the members of the store: for each pair and direction one TLS connection through the nodes' own network, so that
//! a cut cable cuts it.
//!
//! Raft expects a network that loses, delays and reorders; so a message that cannot leave at once is dropped and Raft sends again. A link
//! must not repeat a message (see [`crate::raft`]), so none is sent a second time.
//! In etcd this is `rafthttp`; the port and the certificates' authority are the same.

use super::components::listen_after;
use super::world::World;
use super::{Error, chain};
use crate::cni::NodeNetwork;
use crate::etcd::member_id;
use crate::linux;
use crate::linux::callers::{Bounds, Caller, Callers};
use crate::net::fabric;
use crate::pki::{self, Subject};
use crate::raft::MemberId;
use crate::raft::driver::{Handle, Link};
use crate::tap::{Record, Tap};
use crate::task::Crew;
use bytes::Bytes;
use rustls::pki_types::ServerName;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Where members listen for each other, as etcd's do.
pub const PEER_PORT: u16 = 2380;
/// Messages that may wait for one peer; at the bound the newest are dropped, as on a congested link.
const QUEUE: usize = 1024;
/// A peer that takes no connection in this time is unreachable for now.
const DIAL_PATIENCE: Duration = Duration::from_millis(400);
/// Whoever connects and does not say who they are in this time, or then sends no message in this time, is sent away.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that have not shown a certificate yet. Every pod reaches the port, and its connections take descriptors of the store's own
/// reserve.
const STRANGERS: Bounds = Bounds { of_one: 4, most: 64 };
/// Sent bytes that nobody acknowledges for this long end the connection: a new one heals faster than TCP's own patience.
const UNACKNOWLEDGED: Duration = Duration::from_secs(1);
/// Bytes read or written at a time.
const CHUNK: usize = 16 << 10;
/// A message is at most a snapshot of a full store.
const MESSAGE_MAX: u32 = u32::MAX / 2;

/// One member's ends of the wires to all others.
pub struct Peers {
    queues: BTreeMap<MemberId, mpsc::Sender<Bytes>>,
}

impl Link for Peers {
    fn send(&self, to: MemberId, message: Bytes) {
        if let Some(queue) = self.queues.get(&to) {
            let _ = queue.try_send(message); // full or gone: lost, as on any network
        }
    }
}

/// What a member needs to speak with its peers.
pub struct Wires {
    pub link: Arc<Peers>,
    acceptor: TlsAcceptor,
    on: SocketAddr,
    network: Arc<dyn NodeNetwork>,
    /// The other members, and where they call from.
    others: BTreeMap<MemberId, IpAddr>,
}

impl Wires {
    /// Begins to send to every other member of the cluster, from `node`'s network.
    pub fn new(
        world: &World,
        crew: &Crew,
        node: &str,
        network: &Arc<dyn NodeNetwork>,
    ) -> Result<Wires, Error> {
        let members = world.spec.nodes().into_iter().filter(|n| n.control_plane);
        let address = |index| SocketAddr::from((fabric::node_ip(index), PEER_PORT));
        let ip = network.node_ip().to_string();
        let identity = world.etcd_ca.issue(&Subject::server(node, &[node, ip.as_str()]))?;
        let connector = TlsConnector::from(pki::client_config(Some(&identity), world.etcd_ca.pem(), &[])?);
        let tap = world.tap.at(node, "etcd");
        let mut queues = BTreeMap::new();
        let mut others = BTreeMap::new();
        for peer in members.filter(|m| m.name != node) {
            others.insert(member_id(&peer.name), fabric::node_ip(peer.index).into());
            let (sender, queue) = mpsc::channel(QUEUE);
            queues.insert(member_id(&peer.name), sender);
            let wire = Wire {
                to: address(peer.index),
                name: pki::server_name(&peer.name)?,
                peer: peer.name,
                connector: connector.clone(),
                network: network.clone(),
                tap: tap.clone(),
            };
            crew.spawn(wire.carry(queue));
        }
        let acceptor = TlsAcceptor::from(pki::mutual_server_config(&identity, world.etcd_ca.pem())?);
        let on = SocketAddr::from((network.node_ip(), PEER_PORT));
        Ok(Wires { link: Arc::new(Peers { queues }), acceptor, on, network: network.clone(), others })
    }

    /// Takes the peers' connections and gives their messages to the member, until the crew ends.
    pub async fn listen(&self, crew: &Crew, member: Handle) -> std::io::Result<()> {
        let listener = listen_after(&*self.network, self.on).await?;
        let (inner, acceptor) = (crew.clone(), self.acceptor.clone());
        let callers = Callers::new(STRANGERS, self.others.values().copied());
        let members: Arc<BTreeSet<MemberId>> = Arc::new(self.others.keys().copied().collect());
        crew.spawn(async move {
            loop {
                let (stream, from) = linux::tcp::accept_always(&listener).await;
                let (acceptor, member, caller) = (acceptor.clone(), member.clone(), callers.admit(from.ip()));
                let members = members.clone();
                inner.spawn(async move {
                    let end = caller.end.clone();
                    let received = receive(stream, &acceptor, &members, &member, &caller);
                    if let Some(Err(error)) = end.run_until_cancelled(received).await {
                        tracing::debug!(%from, %error, "a peer's connection ended");
                    }
                });
            }
        });
        Ok(())
    }
}

/// Reads a connection. `members` are those that may speak: the store's authority issues certificates to its clients as well, and
/// a connection of theirs must not count as a peer's, which no number of strangers closes.
async fn receive(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    members: &BTreeSet<MemberId>,
    member: &Handle,
    caller: &Caller,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    linux::tcp::give_up_after(&stream, UNACKNOWLEDGED)?;
    let tls = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
    let invalid = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    let shown = tls.get_ref().1.peer_certificates().unwrap_or_default().first().and_then(|c| pki::user_of(c));
    let (peer, _) = shown.ok_or_else(|| invalid("the peer's certificate names nobody".into()))?;
    let sender = member_id(&peer);
    if !members.contains(&sender) {
        return Err(invalid(format!("the certificate of {peer:?} is not that of a member")));
    }
    caller.mark_peer(sender);
    let mut tls = BufReader::with_capacity(CHUNK, tls);
    // A member connects when it has something to say.
    let mut first = Some(tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.read_u32()).await??);
    loop {
        let length = match first.take() {
            Some(length) => length,
            None => tls.read_u32().await?,
        };
        if length > MESSAGE_MAX {
            return Err(invalid("a message is too long".into()));
        }
        // Grows as bytes arrive, so that a length alone costs nothing.
        let mut message = Vec::with_capacity(CHUNK.min(length as usize));
        if (&mut tls).take(length.into()).read_to_end(&mut message).await? < length as usize {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Err(error) = member.deliver_from(sender, message.into()) {
            tracing::warn!(peer, %error, "dropped a peer's message and its connection");
            return Err(invalid(error.to_string()));
        }
    }
}

/// One direction of one pair.
struct Wire {
    to: SocketAddr,
    name: ServerName<'static>,
    peer: String,
    connector: TlsConnector,
    network: Arc<dyn NodeNetwork>,
    tap: Tap,
}

impl Wire {
    async fn carry(self, mut queue: mpsc::Receiver<Bytes>) {
        let mut reached: Option<bool> = None;
        while let Some(first) = queue.recv().await {
            let ended = match tokio::time::timeout(DIAL_PATIENCE, self.connect()).await {
                Ok(Ok(stream)) => {
                    self.tell(&mut reached, true, "");
                    self.write(stream, first, &mut queue).await
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
            };
            let Err(error) = ended else { return };
            self.tell(&mut reached, false, &chain(&error));
            while queue.try_recv().is_ok() {} // what waited is old by now
        }
    }

    async fn connect(&self) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = self.network.dial(self.to).await?;
        linux::tcp::give_up_after(&stream, UNACKNOWLEDGED)?;
        self.connector.connect(self.name.clone(), stream).await
    }

    /// Writes until the member ends (well) or the connection (an error).
    async fn write(
        &self,
        stream: tokio_rustls::client::TlsStream<TcpStream>,
        first: Bytes,
        queue: &mut mpsc::Receiver<Bytes>,
    ) -> std::io::Result<()> {
        let mut stream = BufWriter::with_capacity(CHUNK, stream); // many small messages make one record of TLS
        let mut next = Some(first);
        while let Some(message) = next {
            let mut sent = stream.write_u32(message.len() as u32).await;
            if sent.is_ok() {
                sent = stream.write_all(&message).await;
            }
            // One flush for all that waits already.
            next = queue.try_recv().ok();
            if sent.is_ok() && next.is_none() {
                sent = stream.flush().await;
                if sent.is_ok() {
                    next = queue.recv().await;
                }
            }
            sent?;
        }
        Ok(())
    }

    /// Says it once when a peer is reached, and once when it is lost.
    fn tell(&self, reached: &mut Option<bool>, now: bool, why: &str) {
        if reached.replace(now) == Some(now) {
            return;
        }
        let peer = &self.peer;
        match now {
            true => tracing::info!(peer, "established TCP streaming connection with remote peer"),
            false => tracing::warn!(peer, error = why, "lost TCP streaming connection with remote peer"),
        }
        let verb = if now { "peer-active" } else { "peer-lost" };
        self.tap.emit(Record::new(verb).detail(json!({"peer": peer, "error": why})));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd;
    use crate::pki::{Ca, Identity};
    use crate::raft::codec::encode_message;
    use crate::raft::message::{Body, Message};
    use crate::rng::Rng;
    use tokio::net::TcpListener;

    fn others() -> BTreeSet<MemberId> {
        ["cp2", "cp3"].map(member_id).into()
    }

    /// How the connection of a peer with this certificate ends that sends these messages and hangs up.
    async fn end(ca: &Ca, shown: &Identity, member: &Handle, messages: &[Vec<u8>]) -> std::io::Error {
        let own = ca.issue(&Subject::server("cp1", &["cp1"])).unwrap();
        let acceptor = TlsAcceptor::from(pki::mutual_server_config(&own, ca.pem()).unwrap());
        let connector = TlsConnector::from(pki::client_config(Some(shown), ca.pem(), &[]).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sending = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = connector.connect(pki::server_name("cp1").unwrap(), stream).await.unwrap();
            for message in messages {
                stream.write_u32(message.len() as u32).await.unwrap();
                stream.write_all(message).await.unwrap();
            }
            let _ = stream.shutdown().await; // the member may have hung up first
        };
        let receiving = async {
            let (stream, _) = listener.accept().await.unwrap();
            let caller = Callers::new(STRANGERS, []).admit([127, 0, 0, 1].into());
            receive(stream, &acceptor, &others(), member, &caller).await.unwrap_err()
        };
        tokio::join!(sending, receiving).1
    }

    /// A pod reaches the port and says nothing, before the handshake or (with a member's certificate) after it.
    #[tokio::test]
    async fn a_connection_on_which_no_peer_speaks_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd").unwrap();
        let config = etcd::Config::new("cp1", dir.path().join("data"), Tap::new(), Rng::seeded(1));
        let server = etcd::Server::start(config).await.unwrap();
        let own = ca.issue(&Subject::server("cp1", &["cp1"])).unwrap();
        let acceptor = TlsAcceptor::from(pki::mutual_server_config(&own, ca.pem()).unwrap());
        let silent = ca.issue(&Subject::server("cp2", &["cp2"])).unwrap();
        let connector = TlsConnector::from(pki::client_config(Some(&silent), ca.pem(), &[]).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for shakes_hands in [false, true] {
            let stream = TcpStream::connect(address).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            let (acceptor, member) = (acceptor.clone(), server.raft());
            let receiving = tokio::spawn(async move {
                let caller = Callers::new(STRANGERS, []).admit([127, 0, 0, 1].into());
                receive(accepted, &acceptor, &others(), &member, &caller).await
            });
            let _held = match shakes_hands {
                true => {
                    let name = pki::server_name("cp1").unwrap();
                    (Some(connector.connect(name, stream).await.unwrap()), None)
                }
                false => (None, Some(stream)),
            };
            for _ in 0..3 {
                // The server's part of the handshake may end between two of these.
                tokio::time::pause();
                tokio::time::sleep(HANDSHAKE_TIMEOUT + Duration::from_secs(1)).await;
                tokio::time::resume();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let ended = tokio::time::timeout(Duration::from_secs(5), receiving).await;
            assert!(ended.expect("it stays").unwrap().is_err(), "shakes hands: {shakes_hands}");
        }
        server.stop().await;
    }

    /// The store's authority issues certificates to clients too. One of them is refused before it says a word, and makes no member's
    /// connection end.
    #[tokio::test]
    async fn a_client_of_the_store_is_no_peer() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd").unwrap();
        let config = etcd::Config::new("cp1", dir.path().join("data"), Tap::new(), Rng::seeded(1));
        let server = etcd::Server::start(config).await.unwrap();
        for name in ["kube-etcd-healthcheck-client", "cp1", "cp9"] {
            let client = ca.issue(&Subject::client(name, "")).unwrap();
            let ended = end(&ca, &client, &server.raft(), &[]).await;
            assert_eq!(ended.kind(), std::io::ErrorKind::InvalidData, "{name}: {ended}");
        }
        server.stop().await;
    }

    /// A member that was taken over speaks for itself: its certificate says who it is, whatever its messages say.
    #[tokio::test]
    async fn a_peer_speaks_for_no_other_member() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd").unwrap();
        let names = ["cp1", "cp2", "cp3"].map(String::from);
        let config = etcd::Config {
            initial_cluster: names.to_vec(),
            ..etcd::Config::new("cp1", dir.path().join("data"), Tap::new(), Rng::seeded(1))
        };
        let server = etcd::Server::start(config).await.unwrap();
        let member = server.raft();
        let message = |from: &str, to: &str| {
            let body = Body::MsgHeartbeatResp { read: 0 };
            encode_message(&Message { from: member_id(from), to: member_id(to), term: 1, body })
        };
        let certificate = |name: &str| ca.issue(&Subject::server(name, &[name])).unwrap();
        let cp2 = certificate("cp2");
        // Its own messages are taken; the connection ends because it hangs up.
        let ended = end(&ca, &cp2, &member, &[message("cp2", "cp1"), message("cp2", "cp1")]).await;
        assert_eq!(ended.kind(), std::io::ErrorKind::UnexpectedEof, "{ended}");
        for (shown, said) in [
            (&cp2, message("cp3", "cp1")),
            (&cp2, message("cp1", "cp1")),
            (&cp2, message("cp2", "cp3")),
            (&certificate("stranger"), message("cp2", "cp1")),
            (&certificate("stranger"), message("stranger", "cp1")),
        ] {
            let ended = end(&ca, shown, &member, &[said]).await;
            assert_eq!(ended.kind(), std::io::ErrorKind::InvalidData, "{ended}");
        }
        server.stop().await;
    }
}
