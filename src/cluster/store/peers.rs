//! The connections between the members of the store: for each pair and direction one TLS connection
//! through the nodes' own network, so that a cut cable cuts it.
//!
//! Raft expects a network that loses, delays and reorders; so a message that cannot leave at once
//! is dropped and Raft sends again. A link must not repeat a message (see [`raft`]), so none is
//! sent a second time. In etcd this is `rafthttp`; the port and the certificates' authority are the
//! same.

use crate::components::PEER_PORT;
use crate::error::{Error, chain};
use crate::node::sockets::listen_after;
use crate::world::World;
use ::etcd::member_id;
use ::linux::connection_bounds::{Bounds, Caller, Callers};
use bytes::Bytes;
use cni::NodeNetwork;
use net::addresses;
use pki::{self, Subject};
use raft::MemberId;
use raft::driver::{Handle, Link};
use rustls::pki_types::ServerName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tap::{Component, Event, Record, Tap};
use task::Crew;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Messages that may wait for one peer; at the bound the newest are dropped, as on a congested
/// link.
const QUEUE: usize = 1024;
/// A peer with which no connection is made in this time is unreachable for now. TCP and TLS are two
/// round trips, so a link with a round trip of half of this can still be used. etcd allows a second
/// and an election timeout.
const DIAL_PATIENCE: Duration = Duration::from_millis(1500);
/// A peer that connects has this time for the TLS handshake, which shows its certificate, and then
/// this time to begin its first message. If it is later, the connection is closed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that have not shown a certificate yet. Every pod reaches the port, and its
/// connections take descriptors of the store's own reserve.
const STRANGERS: Bounds = Bounds { of_one: 4, most: 64 };
/// Sent bytes that are not acknowledged for this long end the connection: a new one heals faster
/// than TCP's own patience.
const UNACKNOWLEDGED: Duration = Duration::from_secs(1);
/// Bytes read or written at a time.
const CHUNK: usize = 16 << 10;
/// A message is at most a snapshot of a full store.
const MESSAGE_MAX: u32 = u32::MAX / 2;

/// The queues of messages that a member sends to the others.
pub(crate) struct PeerLink {
    queues: BTreeMap<MemberId, mpsc::Sender<Bytes>>,
}

impl Link for PeerLink {
    fn send(&self, to: MemberId, message: Bytes) {
        if let Some(queue) = self.queues.get(&to) {
            let _ = queue.try_send(message); // full or gone: lost, as on any network
        }
    }
}

/// A member's connections with its peers: it sends through `link`, and
/// [`PeerConnections::listen`] takes theirs.
pub(crate) struct PeerConnections {
    pub link: Arc<PeerLink>,
    acceptor: TlsAcceptor,
    on: SocketAddr,
    network: Arc<dyn NodeNetwork>,
    /// The other members, and where they call from.
    others: BTreeMap<MemberId, IpAddr>,
}

impl PeerConnections {
    /// Begins to send to every other member of the cluster, from `node`'s network.
    pub(crate) fn new(
        world: &World,
        crew: &Crew,
        node: &str,
        network: &Arc<dyn NodeNetwork>,
    ) -> Result<PeerConnections, Error> {
        let members = world.spec.nodes().into_iter().filter(|n| n.control_plane);
        let address = |index| SocketAddr::from((addresses::node_ip(index), PEER_PORT));
        let ip = network.node_ip().to_string();
        let identity = world.etcd_ca.issue(&Subject::server(node, &[node, ip.as_str()]))?;
        let connector = TlsConnector::from(pki::client_config(Some(&identity), world.etcd_ca.pem(), &[])?);
        let tap = world.tap.at(node, Component::Etcd);
        let mut queues = BTreeMap::new();
        let mut others = BTreeMap::new();
        for peer in members.filter(|m| m.name != node) {
            others.insert(member_id(&peer.name), addresses::node_ip(peer.index).into());
            let (messages, queue) = mpsc::channel(QUEUE);
            queues.insert(member_id(&peer.name), messages);
            let sender = PeerSender {
                to: address(peer.index),
                name: pki::server_name(&peer.name)?,
                peer: peer.name,
                connector: connector.clone(),
                network: network.clone(),
                tap: tap.clone(),
            };
            crew.spawn(sender.run(queue));
        }
        let acceptor = TlsAcceptor::from(pki::mutual_server_config(&identity, world.etcd_ca.pem())?);
        let on = SocketAddr::from((network.node_ip(), PEER_PORT));
        Ok(PeerConnections {
            link: Arc::new(PeerLink { queues }),
            acceptor,
            on,
            network: network.clone(),
            others,
        })
    }

    /// Takes the peers' connections and gives their messages to the member, until the crew ends.
    pub(crate) async fn listen(&self, crew: &Crew, member: Handle) -> std::io::Result<()> {
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

/// Reads a connection. `members` are those that may speak: the store's authority issues
/// certificates to its clients as well, and a connection of theirs must not count as a peer's,
/// which no number of strangers closes.
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
    let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let user = certificates.first().and_then(|certificate| pki::user_of(certificate));
    let (peer, _) = user.ok_or_else(|| invalid("the peer's certificate has no name".into()))?;
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
struct PeerSender {
    to: SocketAddr,
    name: ServerName<'static>,
    peer: String,
    connector: TlsConnector,
    network: Arc<dyn NodeNetwork>,
    tap: Tap,
}

impl PeerSender {
    async fn run(self, mut queue: mpsc::Receiver<Bytes>) {
        let mut reached: Option<bool> = None;
        while let Some(first) = queue.recv().await {
            let ended = match tokio::time::timeout(DIAL_PATIENCE, self.connect()).await {
                Ok(Ok(stream)) => {
                    self.note_reach(&mut reached, true, "");
                    self.write(stream, first, &mut queue).await
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
            };
            let Err(error) = ended else { return };
            self.note_reach(&mut reached, false, &chain(&error));
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

    /// Logs and records once that a peer is reached, and once that it is lost.
    fn note_reach(&self, reached: &mut Option<bool>, now: bool, why: &str) {
        if reached.replace(now) == Some(now) {
            return;
        }
        let peer = &self.peer;
        match now {
            true => tracing::info!(peer, "established TCP streaming connection with remote peer"),
            false => tracing::warn!(peer, error = why, "lost TCP streaming connection with remote peer"),
        }
        let peer = tap::Peer { peer: peer.clone(), error: why.to_string() };
        let event = if now { Event::PeerActive(peer) } else { Event::PeerLost(peer) };
        self.tap.emit(Record::new(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pki::{Ca, Identity};
    use raft::codec::encode_message;
    use raft::message::{Body, Message};
    use rng::Rng;
    use tokio::net::TcpListener;

    fn others() -> BTreeSet<MemberId> {
        ["cp2", "cp3"].map(member_id).into()
    }

    /// How the connection of a peer with this certificate ends that sends these messages and hangs
    /// up.
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

    /// A pod reaches the port and says nothing, before the handshake or (with a member's
    /// certificate) after it.
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

    /// The store's authority issues certificates to clients too. One of them is refused before it
    /// says a word, and makes no member's connection end.
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

    /// A member that was taken over speaks for itself: its certificate says who it is, whatever its
    /// messages say.
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

    /// A node's network on which a connection takes its time, as over a link with `fault slow`.
    struct Slow(Arc<dyn NodeNetwork>, Duration);

    #[async_trait::async_trait]
    impl NodeNetwork for Slow {
        fn node_ip(&self) -> std::net::Ipv4Addr {
            self.0.node_ip()
        }
        async fn add_pod(
            &self,
            id: &str,
            netns: Arc<std::os::fd::OwnedFd>,
        ) -> cni::Result<std::net::Ipv4Addr> {
            self.0.add_pod(id, netns).await
        }
        async fn remove_pod(&self, id: &str) -> cni::Result<()> {
            self.0.remove_pod(id).await
        }
        async fn sync_services(&self, rules: &[cni::ServiceRule]) -> cni::Result<usize> {
            self.0.sync_services(rules).await
        }
        async fn installed(&self) -> cni::Result<Vec<cni::Installed>> {
            self.0.installed().await
        }
        async fn forget_flows(&self) -> cni::Result<()> {
            self.0.forget_flows().await
        }
        async fn dial(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
            tokio::time::sleep(self.1).await;
            self.0.dial(to).await
        }
        async fn listen(&self, on: SocketAddr) -> std::io::Result<TcpListener> {
            self.0.listen(on).await
        }
        async fn bind_udp(&self, on: SocketAddr) -> std::io::Result<tokio::net::UdpSocket> {
            self.0.bind_udp(on).await
        }
        fn netns(&self) -> Option<Arc<std::os::fd::OwnedFd>> {
            None
        }
    }

    /// `fault slow cp1 cp2 150`: a dial takes two round trips, 600 ms. That link bears Raft, so it
    /// may not be taken for a cut one.
    #[tokio::test]
    async fn a_peer_behind_a_slow_link_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd").unwrap();
        let [own, shown] = ["cp1", "cp2"].map(|name| ca.issue(&Subject::server(name, &[name])).unwrap());
        let fabric = cni::fake::FakeFabric::default();
        let node = fabric.node([172, 30, 0, 11].into(), [10, 244, 1, 0].into());
        let to = SocketAddr::from((node.node_ip(), PEER_PORT));
        let listener = node.listen(to).await.unwrap();
        let acceptor = TlsAcceptor::from(pki::mutual_server_config(&own, ca.pem()).unwrap());
        let sender = PeerSender {
            to,
            name: pki::server_name("cp1").unwrap(),
            peer: "cp1".into(),
            connector: TlsConnector::from(pki::client_config(Some(&shown), ca.pem(), &[]).unwrap()),
            network: Arc::new(Slow(node, Duration::from_millis(600))),
            tap: Tap::new(),
        };
        let (messages, queue) = mpsc::channel(QUEUE);
        let crew = Crew::new("peer-sender");
        crew.spawn(sender.run(queue));
        let sending = async {
            // As Raft does, which sends again what was lost.
            while messages.send(Bytes::from_static(b"hello")).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let receiving = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // The sender gives up a connection that takes too long, and makes another one.
                let Ok(mut tls) = acceptor.accept(stream).await else { continue };
                if tls.read_u32().await.is_ok_and(|length| length == 5) {
                    return;
                }
            }
        };
        tokio::select! {
            () = receiving => {}
            () = sending => panic!("the sender ended"),
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it is never reached"),
        }
        crew.kill();
    }
}
