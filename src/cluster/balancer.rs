//! The one address of several API servers: 127.0.0.1:6443 (or another port) leads to one that is ready.

use super::world::World;
use crate::task::Crew;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;

/// A server that does not take a connection in this time is passed over.
const PATIENCE: Duration = Duration::from_secs(1);

/// Forwards connections until the crew ends. When no server answers a connection is closed at once.
pub fn start(crew: &Crew, world: &Arc<World>, listener: TcpListener) {
    let (world, own) = (world.clone(), crew.clone());
    let next = Arc::new(AtomicUsize::new(0));
    crew.spawn(async move {
        loop {
            let Ok((mut client, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors: let some go
                continue;
            };
            let (world, next) = (world.clone(), next.clone());
            own.spawn(async move {
                let servers = world.api_addresses();
                let first = next.fetch_add(1, Ordering::Relaxed);
                for n in 0..servers.len() {
                    let server = servers[(first + n) % servers.len()];
                    if let Ok(Ok(mut upstream)) =
                        tokio::time::timeout(PATIENCE, world.fabric.dial(server)).await
                    {
                        let _ = client.set_nodelay(true);
                        let _ = copy_bidirectional(&mut client, &mut upstream).await; // either end may hang up
                        return;
                    }
                }
            });
        }
    });
}
