//! Handshakes with kubelets that are under way: so many with each kubelet at a time.
//!
//! A kubelet keeps a bounded number of connections of one address whose client has not shown a
//! certificate yet, and closes the oldest for a new one ([`linux::connection_bounds`]). Without a
//! bound here the logs of a hundred clients, asked for at once, would close each other's
//! connections.

use client::KUBELET_HANDSHAKES_MAX;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The handshakes of one API server, by the kubelet's address.
#[derive(Default)]
pub(crate) struct Handshakes(Mutex<HashMap<SocketAddr, Arc<Semaphore>>>);

impl Handshakes {
    /// Waits until a handshake with this kubelet may begin. It counts until the permit is dropped.
    pub(crate) async fn begin(&self, kubelet: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut all = self.0.lock();
            all.retain(|_, turns| Arc::strong_count(turns) > 1); // nodes come and go
            let new = || Arc::new(Semaphore::new(KUBELET_HANDSHAKES_MAX));
            all.entry(kubelet).or_insert_with(new).clone()
        };
        turns.acquire_owned().await.ok() // it is never closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn requests_at_once_shake_hands_with_one_kubelet_in_turn() {
        let handshakes = Handshakes::default();
        let [one, other] = [11_u8, 12].map(|last| SocketAddr::from(([172, 30, 0, last], 10250)));
        let mut held = Vec::new();
        for _ in 0..KUBELET_HANDSHAKES_MAX {
            held.push(handshakes.begin(one).await);
        }
        let mut next = std::pin::pin!(handshakes.begin(one));
        let waited = tokio::time::timeout(Duration::from_secs(5), next.as_mut()).await;
        assert!(waited.is_err(), "it waits for its turn");
        held.push(handshakes.begin(other).await); // another kubelet does not wait for this one
        held.remove(0);
        let turn = tokio::time::timeout(Duration::from_secs(5), next).await.expect("a turn is free");
        drop((held, turn));
        drop(handshakes.begin(other).await);
        assert_eq!(handshakes.0.lock().len(), 1, "a kubelet without handshakes is forgotten");
    }
}
