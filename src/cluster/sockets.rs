//! Sockets in a node's network namespace.

use client::Dialer;
use cni::NodeNetwork;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Connections from a node's namespace.
pub(crate) fn dialer(network: &Arc<dyn NodeNetwork>) -> Dialer {
    let network = network.clone();
    Arc::new(move |to| {
        let network = network.clone();
        Box::pin(async move { network.dial(to).await })
    })
}

/// A listener in a node's namespace; while the component's predecessor is just ending, its port is
/// waited for.
pub(crate) async fn listen_after(
    network: &dyn NodeNetwork,
    on: SocketAddr,
) -> std::io::Result<tokio::net::TcpListener> {
    loop {
        match network.listen(on).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                clock::pause(Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
}
