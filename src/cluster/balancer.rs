//! The one address of several API servers: 127.0.0.1:6443 (or another port) on the host, 172.30.0.1:6443 in the fabric.
//!
//! As haproxy before a kubeadm cluster: it passes bytes, asks each server whether it is ready, sends new connections to those that are, and closes
//! the connections of one that stays not ready while others are, so that clients turn to another. When none is ready every one that listens is as good: its
//! answer says more than a closed door.

use super::components::API_PORT;
use super::world::World;
use crate::linux::{descriptors, tcp};
use crate::net::fabric;
use crate::task::Crew;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// A server that does not take a connection in this time is passed over.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often each server is asked for its readiness.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// A server that is not ready so many times in a row, while another one is, loses its connections. While a leader is elected none is ready,
/// and to hang up would help nobody.
const FALL: u32 = 3;

/// Descriptors of a forwarded connection: two here, one of the API server in the same process.
const DESCRIPTORS: u64 = 3;

/// What is known of one server.
#[derive(Clone, Default)]
struct Known {
    ready: bool,
    /// Times in a row that it was not ready.
    misses: u32,
    /// Ends the connections to it.
    connections: CancellationToken,
}

struct Balancer {
    world: Arc<World>,
    next: AtomicUsize,
    known: Mutex<BTreeMap<String, Known>>,
}

/// Forwards connections until the crew ends. When no server answers a connection is closed at once.
pub fn start(crew: &Crew, world: &Arc<World>, listeners: Vec<TcpListener>) {
    let balancer =
        Arc::new(Balancer { world: world.clone(), next: AtomicUsize::new(0), known: Mutex::default() });
    if world.spec.control_planes > 1 {
        let prober = balancer.clone();
        crew.spawn(async move {
            loop {
                prober.probe().await;
                tokio::time::sleep(PROBE_EVERY).await;
            }
        });
    }
    for listener in listeners {
        let (balancer, own) = (balancer.clone(), crew.clone());
        // A listener has a fourth of the descriptors at most. At the bound the oldest connection on which nobody has shown the
        // API server who they are makes room; if there is none, new ones wait in the kernel's queue.
        let most = descriptors::connections(descriptors::limit(), 4, DESCRIPTORS);
        let places = Arc::new(Semaphore::new(most));
        let open = Arc::new(Open::default());
        crew.spawn(async move {
            loop {
                let (client, _) = tcp::accept(&listener).await;
                let place = match places.clone().try_acquire_owned() {
                    Ok(place) => place,
                    Err(_) => {
                        open.close_oldest(|server, from| balancer.is_known(server, from));
                        let Ok(place) = places.clone().acquire_owned().await else { return }; // nobody closes it
                        place
                    }
                };
                let (balancer, entry) = (balancer.clone(), open.enter());
                own.spawn(async move {
                    let end = entry.end.clone();
                    let _ = end.run_until_cancelled(balancer.forward(client, &entry)).await;
                    drop((entry, place));
                });
            }
        });
    }
}

/// The connections of a listener, oldest first.
#[derive(Default)]
struct Open(Mutex<(u64, BTreeMap<u64, Forwarded>)>);

struct Forwarded {
    /// The API server's node, and the address from which it sees this connection; none before it is connected.
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
        let mut open = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let (number, end) = (open.0, CancellationToken::new());
        open.0 += 1;
        open.1.insert(number, Forwarded { to: None, end: end.clone() });
        Entry { open: self.clone(), number, end }
    }

    /// Closes the oldest connection that is not known and not being closed already.
    fn close_oldest(&self, is_known: impl Fn(&str, SocketAddr) -> bool) {
        let open = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let is_stranger = |c: &&Forwarded| {
            !c.end.is_cancelled() && !c.to.as_ref().is_some_and(|(server, from)| is_known(server, *from))
        };
        if let Some(stranger) = open.1.values().find(is_stranger) {
            stranger.end.cancel();
        }
    }
}

impl Entry {
    fn connected(&self, server: &str, from: SocketAddr) {
        let mut open = self.open.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(entry) = open.1.get_mut(&self.number) {
            entry.to = Some((server.to_string(), from));
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.open.0.lock().unwrap_or_else(|e| e.into_inner()).1.remove(&self.number);
    }
}

impl Balancer {
    /// Whether somebody has shown to this API server who they are, on the connection that it sees from `from`.
    fn is_known(&self, server: &str, from: SocketAddr) -> bool {
        self.world.api_servers.borrow().get(server).is_some_and(|server| server.is_known(from))
    }

    /// Asks every server that runs, all at once.
    async fn probe(&self) {
        let servers = self.world.api_servers.borrow().clone();
        let asked = servers.iter().map(|(node, server)| async { (node.clone(), server.is_ready().await) });
        let answers: BTreeMap<String, bool> = futures::future::join_all(asked).await.into_iter().collect();
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let any = answers.values().any(|ready| *ready);
        for node in self.world.control_planes() {
            let ready = answers.get(&node.name).copied().unwrap_or(false);
            let server = known.entry(node.name.clone()).or_default();
            if std::mem::replace(&mut server.ready, ready) != ready {
                tracing::info!(server = node.name, ready, "an API server changed its readiness");
            }
            server.misses = if ready { 0 } else { server.misses + 1 };
            if any && server.misses >= FALL {
                std::mem::take(&mut server.connections).cancel();
            }
        }
    }

    /// In which order to try the servers, ready ones first, and what ends a connection to each.
    fn candidates(&self) -> Vec<(String, SocketAddr, CancellationToken)> {
        let known = self.known.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let servers = self.world.control_planes();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut turn: Vec<(bool, String, SocketAddr, CancellationToken)> = (0..servers.len())
            .map(|n| {
                let server = &servers[(first + n) % servers.len()];
                let Known { ready, connections, .. } = known.get(&server.name).cloned().unwrap_or_default();
                let address = (fabric::node_ip(server.index), API_PORT).into();
                (ready, server.name.clone(), address, connections)
            })
            .collect();
        turn.sort_by_key(|(ready, ..)| !ready); // stable: each ready one gets its turn
        turn.into_iter().map(|(_, name, address, end)| (name, address, end)).collect()
    }

    async fn forward(&self, mut client: tokio::net::TcpStream, entry: &Entry) {
        for (name, server, end) in self.candidates() {
            let dialled = tokio::time::timeout(PATIENCE, self.world.fabric.dial(server)).await;
            let Ok(Ok(mut upstream)) = dialled else { continue };
            if descriptors::is_reserved(&upstream) {
                return; // what is left is the store's
            }
            let _ = client.set_nodelay(true);
            if let Ok(from) = upstream.local_addr() {
                entry.connected(&name, from);
            }
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut upstream) => {} // either end may hang up
                () = end.cancelled() => {}
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(open.0.lock().unwrap().1.is_empty());
    }
}
