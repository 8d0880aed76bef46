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
        // A listener has a fourth of the descriptors at most. At the bound new connections wait in the kernel's queue; the API
        // server closes those that say nothing.
        let most = descriptors::connections(descriptors::limit(), 4, DESCRIPTORS);
        let places = Arc::new(Semaphore::new(most));
        crew.spawn(async move {
            loop {
                let Ok(place) = places.clone().acquire_owned().await else { return }; // nobody closes it
                let (client, _) = tcp::accept(&listener).await;
                let balancer = balancer.clone();
                own.spawn(async move {
                    balancer.forward(client).await;
                    drop(place);
                });
            }
        });
    }
}

impl Balancer {
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
    fn candidates(&self) -> Vec<(SocketAddr, CancellationToken)> {
        let known = self.known.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let servers = self.world.control_planes();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut turn: Vec<(bool, SocketAddr, CancellationToken)> = (0..servers.len())
            .map(|n| {
                let server = &servers[(first + n) % servers.len()];
                let Known { ready, connections, .. } = known.get(&server.name).cloned().unwrap_or_default();
                (ready, (fabric::node_ip(server.index), API_PORT).into(), connections)
            })
            .collect();
        turn.sort_by_key(|(ready, ..)| !ready); // stable: each ready one gets its turn
        turn.into_iter().map(|(_, address, end)| (address, end)).collect()
    }

    async fn forward(&self, mut client: tokio::net::TcpStream) {
        for (server, end) in self.candidates() {
            let dialled = tokio::time::timeout(PATIENCE, self.world.fabric.dial(server)).await;
            let Ok(Ok(mut upstream)) = dialled else { continue };
            if descriptors::is_reserved(&upstream) {
                return; // what is left is the store's
            }
            let _ = client.set_nodelay(true);
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut upstream) => {} // either end may hang up
                () = end.cancelled() => {}
            }
            return;
        }
    }
}
