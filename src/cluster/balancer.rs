//! The one address of several API servers: 127.0.0.1:6443 (or another port) on the host,
//! 172.30.0.1:6443 in the fabric.
//!
//! As haproxy before a kubeadm cluster: it passes bytes, asks each server whether it is ready,
//! sends new connections to those that are, and closes the connections of one that stays not ready
//! while others are, so that clients turn to another. When none is ready every one that listens is
//! as good: its answer says more than a refused connection. It tells the server for whom it
//! connects, as haproxy's `send-proxy` does: a program in a pod stays one, and bounds hold for each
//! client.
//!
//! A single server needs none of this. It gets the accepted connection itself, unless a fault lies
//! on its node's network: then the bytes pass through the fabric and meet the fault.

use super::components::API_PORT;
use super::faults::Faults;
use super::spec::NodeSpec;
use super::world::World;
use apiserver::{Server, forward};
use linux::{descriptors, tcp};
use net::addresses;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use task::Crew;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// A server that does not take a connection in this time is passed over. One on a node that
/// `ropewalk fault slow` delays has the delay on top: its answer is late, but it comes, and there
/// may be no other server.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often each server is asked for its readiness.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// A server that is not ready so many times in a row, while another one is, loses its connections.
/// While a leader is elected none is ready, and to hang up would help no client.
const FALL: u32 = 3;

/// Descriptors of a forwarded connection: three here (the client's end is watched by one of its
/// own), one of the API server in the same process.
const DESCRIPTORS: u64 = 4;
/// A silent client is probed this often, as by the API server.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Returns how long a server on this node may take to accept a connection.
fn patience(faults: &Faults, node: &str) -> Duration {
    PATIENCE + faults.delay(node)
}

/// The health of one server as its probes have found it.
#[derive(Clone, Default)]
struct Health {
    ready: bool,
    /// Times in a row that it was not ready.
    misses: u32,
    /// Ends the connections to it.
    connections: CancellationToken,
}

/// A server's node, where it listens, and what ends a connection to it.
type Candidate = (String, SocketAddr, CancellationToken);

struct Balancer {
    world: Arc<World>,
    next: AtomicUsize,
    /// By the server's node.
    health: Mutex<BTreeMap<String, Health>>,
}

/// Forwards connections until the crew ends. When no server answers a connection is closed at once.
pub(crate) fn start(crew: &Crew, world: &Arc<World>, listeners: Vec<TcpListener>) {
    let balancer =
        Arc::new(Balancer { world: world.clone(), next: AtomicUsize::new(0), health: Mutex::default() });
    if world.spec.control_planes > 1 {
        let prober = balancer.clone();
        crew.spawn(async move {
            loop {
                prober.probe().await;
                clock::pause(PROBE_EVERY).await;
            }
        });
    }
    for listener in listeners {
        let (balancer, own) = (balancer.clone(), crew.clone());
        // A listener has a fourth of the descriptors at most. At the bound the oldest connection on
        // which no client has authenticated makes room; if there is none, new ones wait in the
        // kernel's queue.
        let most = descriptors::connections(descriptors::limit(), 4, DESCRIPTORS);
        let places = Arc::new(Semaphore::new(most));
        let open = Arc::new(Open::default());
        crew.spawn(async move {
            loop {
                let (client, from) = tcp::accept(&listener).await;
                let is_known = |server: &str, from| balancer.is_known(server, from);
                let Some(place) = open.place(&places, is_known).await else { return };
                let (balancer, entry) = (balancer.clone(), open.enter());
                own.spawn(async move {
                    let end = entry.end.clone();
                    let passed = async {
                        if let Some(client) = balancer.hand_over(client, from).await {
                            balancer.forward(client, from, &entry).await;
                        }
                    };
                    let _ = end.run_until_cancelled(passed).await;
                    drop((entry, place));
                });
            }
        });
    }
}

/// The open connections of a listener.
#[derive(Default)]
struct Open(Mutex<Numbered>);

/// Connections by number, the oldest first.
#[derive(Default)]
struct Numbered {
    next: u64,
    connections: BTreeMap<u64, Forwarded>,
}

struct Forwarded {
    /// The API server's node, and the address from which it sees this connection; none before it is
    /// connected.
    to: Option<(String, SocketAddr)>,
    end: CancellationToken,
}

/// A connection that stands in the list until this is dropped.
struct Entry {
    open: Arc<Open>,
    number: u64,
    /// Cancelled when another connection needs the place.
    end: CancellationToken,
}

impl Open {
    fn enter(self: &Arc<Open>) -> Entry {
        let mut open = self.0.lock();
        let (number, end) = (open.next, CancellationToken::new());
        open.next += 1;
        open.connections.insert(number, Forwarded { to: None, end: end.clone() });
        Entry { open: self.clone(), number, end }
    }

    /// Takes a place for one more connection. If there is none the oldest that is not known makes
    /// room; until one is free, the new connection waits. `None`: no more connections are taken.
    async fn place(
        &self,
        places: &Arc<Semaphore>,
        is_known: impl Fn(&str, SocketAddr) -> bool,
    ) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Some(place);
        }
        self.close_oldest(is_known);
        places.clone().acquire_owned().await.ok()
    }

    /// Closes the oldest connection that is not known and not being closed already.
    fn close_oldest(&self, is_known: impl Fn(&str, SocketAddr) -> bool) {
        let open = self.0.lock();
        let is_stranger = |c: &&Forwarded| {
            !c.end.is_cancelled() && !c.to.as_ref().is_some_and(|(server, from)| is_known(server, *from))
        };
        if let Some(stranger) = open.connections.values().find(is_stranger) {
            stranger.end.cancel();
        }
    }
}

impl Entry {
    fn connected(&self, server: &str, from: SocketAddr) {
        let mut open = self.open.0.lock();
        if let Some(entry) = open.connections.get_mut(&self.number) {
            entry.to = Some((server.to_string(), from));
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.open.0.lock().connections.remove(&self.number);
    }
}

impl Balancer {
    /// Returns whether the client has authenticated to this API server on the connection that the
    /// server sees from `from`.
    fn is_known(&self, server: &str, from: SocketAddr) -> bool {
        self.world.api_servers.borrow().get(server).is_some_and(|server| server.is_known(from))
    }

    /// Asks every server that runs, all at once.
    async fn probe(&self) {
        let servers = self.world.api_servers.borrow().clone();
        let asked = servers.iter().map(|(node, server)| async { (node.clone(), server.is_ready().await) });
        let answers: BTreeMap<String, bool> = futures::future::join_all(asked).await.into_iter().collect();
        let mut health = self.health.lock();
        let any = answers.values().any(|ready| *ready);
        for node in self.world.control_planes() {
            let ready = answers.get(&node.name).copied().unwrap_or(false);
            let server = health.entry(node.name.clone()).or_default();
            if std::mem::replace(&mut server.ready, ready) != ready {
                tracing::info!(server = node.name, ready, "an API server changed its readiness");
            }
            server.misses = if ready { 0 } else { server.misses + 1 };
            if any && server.misses >= FALL {
                std::mem::take(&mut server.connections).cancel();
            }
        }
    }

    /// Returns the order in which to try the servers that run.
    fn candidates(&self) -> Vec<Candidate> {
        let health = self.health.lock().clone();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let servers = self.world.api_servers.borrow();
        in_turn(&self.world.control_planes(), first, &health, |node| servers.contains_key(node))
    }

    /// Gives the connection to the only server there is. It comes back if that is not possible.
    async fn hand_over(&self, client: TcpStream, from: SocketAddr) -> Option<TcpStream> {
        let only = match self.world.control_planes().as_slice() {
            [only] if !self.world.faults.touches(&only.name) => only.name.clone(),
            _ => return Some(client),
        };
        let server = self.world.api_servers.borrow().get(&only).cloned();
        match server {
            Some(server) => server.adopt(client, from).await.err(),
            None => Some(client),
        }
    }

    async fn forward(&self, client: TcpStream, peer: SocketAddr, entry: &Entry) {
        for (name, address, end) in self.candidates() {
            let patience = patience(&self.world.faults, &name);
            let dialled = tokio::time::timeout(patience, self.world.fabric.dial(address)).await;
            let Ok(Ok(upstream)) = dialled else { continue };
            if descriptors::is_reserved(&upstream) {
                return; // what is left is the store's
            }
            // A server that only begins to listen cannot learn for whom the connection is made,
            // and another program that listens in its place is no API server.
            let server = self.world.api_servers.borrow().get(&name).cloned();
            let Some(server) = server else { continue };
            if let Ok(from) = upstream.local_addr() {
                entry.connected(&name, from);
            }
            tokio::select! {
                () = pass(client, peer, upstream, server) => {}
                () = end.cancelled() => {}
            }
            return;
        }
    }
}

/// Returns the servers of these nodes in the order in which they are tried: ready ones first, and
/// among equals the turn begins with number `first`. Where no server runs none is tried: a node
/// that is switched off does not even refuse a connection, and the client would wait for nothing.
fn in_turn(
    nodes: &[NodeSpec],
    first: usize,
    health: &BTreeMap<String, Health>,
    runs: impl Fn(&str) -> bool,
) -> Vec<Candidate> {
    let mut turn: Vec<(bool, Candidate)> = (0..nodes.len())
        .map(|n| &nodes[(first + n) % nodes.len()])
        .filter(|node| runs(&node.name))
        .map(|node| {
            let Health { ready, connections, .. } = health.get(&node.name).cloned().unwrap_or_default();
            let address = SocketAddr::from((addresses::node_ip(node.index), API_PORT));
            (ready, (node.name.clone(), address, connections))
        })
        .collect();
    turn.sort_by_key(|(ready, _)| !ready); // stable: each ready one gets its turn
    turn.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Passes bytes between a client and an API server, which learns the client's address, until either
/// end hangs up; the client also while the API server reads nothing of what it sent.
async fn pass(mut client: TcpStream, peer: SocketAddr, mut upstream: TcpStream, server: Server) {
    // A client that does not read is the API server's to deal with, so its answers must not pile up
    // here.
    let _ = (client.set_nodelay(true), tcp::bound_unread(&client), tcp::keep_alive(&client, KEEP_ALIVE));
    let left = forward::left(&client);
    // Before the first byte, and until the connection is closed.
    let Ok(from) = upstream.local_addr() else { return };
    let _forwarded = server.forwards(from, peer);
    forward::copy_until_left(&mut client, &mut upstream, left).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiserver::testing;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// `curl` in a pod is not taken for the learner's, whose connections come through the balancer
    /// as well.
    #[tokio::test]
    async fn an_api_server_learns_for_whom_a_connection_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let address = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
        let balancer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for (peer, inside) in [(testing::INSIDE, true), (std::net::IpAddr::from([127, 0, 0, 1]), false)] {
            let client = TcpStream::connect(balancer.local_addr().unwrap()).await.unwrap();
            let (accepted, _) = balancer.accept().await.unwrap();
            let upstream = TcpStream::connect(address).await.unwrap();
            let (peer, server) = (SocketAddr::new(peer, 40_000), fixture.server.clone());
            let passed = tokio::spawn(pass(accepted, peer, upstream, server));
            let tls = pki::client_config(None, fixture.ca.pem(), &["http/1.1"]).unwrap();
            let name = pki::server_name("127.0.0.1").unwrap();
            let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, client).await.unwrap();
            let before = fixture.tap.last();
            let ask = b"GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.5.0\r\n\r\n";
            stream.write_all(ask).await.unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(&head, b"HTTP/1.1 403");
            let records = fixture.tap.since(before);
            let mut requests = records.iter().filter_map(|record| record.request.as_ref());
            let curl = requests.find(|request| request.user_agent == "curl/8.5.0");
            assert_eq!(curl.expect("its answer is recorded").inside, inside);
            drop(stream);
            passed.await.unwrap();
        }
    }

    #[test]
    fn a_server_on_a_slow_node_has_the_delay_on_top() {
        let faults = Faults::default();
        faults.note("slow", &["cp"], Some(1500.0));
        assert_eq!(patience(&faults, "cp"), PATIENCE + Duration::from_millis(1500));
        assert_eq!(patience(&faults, "another"), PATIENCE);
    }

    #[test]
    fn a_node_where_no_server_runs_is_not_waited_for() {
        let node = |index: u8| NodeSpec { name: format!("cp{index}"), index, control_plane: true };
        let nodes = [node(1), node(2), node(3)];
        let ready = Health { ready: true, ..Health::default() };
        let health = BTreeMap::from([("cp3".to_string(), ready)]);
        let tried = |off: &[&str]| {
            let turn = in_turn(&nodes, 1, &health, |name| !off.contains(&name));
            turn.into_iter().map(|(name, ..)| name).collect::<Vec<String>>()
        };
        assert_eq!(tried(&[]), ["cp3", "cp2", "cp1"]);
        assert_eq!(tried(&["cp2"]), ["cp3", "cp1"]);
        assert!(tried(&["cp1", "cp2", "cp3"]).is_empty());
    }

    #[test]
    fn the_oldest_stranger_makes_room() {
        let open = Arc::new(Open::default());
        let from = |port| SocketAddr::from(([172, 30, 0, 1], port));
        let entries: Vec<Entry> = (0..4).map(|_| open.enter()).collect();
        for (port, entry) in (1..).zip(&entries[..3]) {
            entry.connected("cp", from(port));
        }
        let known = |server: &str, at: SocketAddr| server == "cp" && at == from(1);
        let closed = || entries.iter().map(|e| e.end.is_cancelled()).collect::<Vec<_>>();
        open.close_oldest(known);
        assert_eq!(closed(), [false, true, false, false]);
        open.close_oldest(known);
        open.close_oldest(known);
        open.close_oldest(known);
        assert_eq!(closed(), [false, true, true, true], "who is known stays");
        drop(entries);
        assert!(open.0.lock().connections.is_empty());
    }

    /// As many connections as there may be, and one more: a stranger makes room, and where all are
    /// known the new one waits.
    #[tokio::test(start_paused = true)]
    async fn forwarded_connections_have_a_bound() {
        const MOST: usize = 3;
        let (open, places) = (Arc::new(Open::default()), Arc::new(Semaphore::new(MOST)));
        let from = |port| SocketAddr::from(([172, 30, 0, 1], port));
        let known = |_: &str, at: SocketAddr| at.port() < 10;
        let forwarded = async |port| {
            let admitted = tokio::time::timeout(Duration::from_secs(60), open.place(&places, known)).await;
            let (place, entry) = (admitted.ok()??, open.enter());
            entry.connected("cp", from(port));
            let end = entry.end.clone();
            tokio::spawn(async move {
                entry.end.cancelled().await;
                drop((entry, place));
            });
            Some(end)
        };
        let mut ends = vec![];
        for port in [1, 20, 21, 2, 3] {
            ends.push(forwarded(port).await.expect("a place"));
            assert!(ends.iter().filter(|end| !end.is_cancelled()).count() <= MOST);
        }
        let closed: Vec<bool> = ends.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(closed, [false, true, true, false, false], "strangers make room, the oldest first");
        assert!(forwarded(4).await.is_none(), "all of them are known");
        ends[0].cancel();
        assert!(forwarded(4).await.is_some());
    }
}
