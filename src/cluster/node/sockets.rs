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

/// How long a component waits for its port. Its predecessor ends within two seconds.
const PORT_PATIENCE: Duration = Duration::from_secs(10);
const PORT_AGAIN: Duration = Duration::from_millis(20);

/// Makes a listener in a node's namespace. While the component's predecessor is just ending, its
/// port is waited for.
///
/// # Errors
/// `AddrInUse`: the port was taken for [`PORT_PATIENCE`], e.g. by a pod in the node's network. Any
/// other error at once.
pub(crate) async fn listen_after(
    network: &dyn NodeNetwork,
    on: SocketAddr,
) -> std::io::Result<tokio::net::TcpListener> {
    once_free(move || network.listen(on)).await
}

/// Calls `listen` until the address is free.
async fn once_free<T, F: Future<Output = std::io::Result<T>>>(listen: impl Fn() -> F) -> std::io::Result<T> {
    let until = clock::deadline(PORT_PATIENCE);
    loop {
        match listen().await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && clock::Instant::now() < until => {
                clock::pause(PORT_AGAIN).await;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::io::{Error, ErrorKind};

    /// A pod in its node's network has it. The container fails and says so, and the kubelet starts
    /// it again.
    #[tokio::test(start_paused = true)]
    async fn a_port_that_stays_taken_is_not_waited_for_for_ever() {
        let tries = Cell::new(0_u32);
        let counted = &tries;
        let listen = move |free_from: u32| {
            counted.set(0);
            move || {
                counted.set(counted.get() + 1);
                let is_free = counted.get() >= free_from;
                std::future::ready(if is_free { Ok(()) } else { Err(Error::from(ErrorKind::AddrInUse)) })
            }
        };
        once_free(listen(3)).await.unwrap();
        assert_eq!(tries.get(), 3);
        let ended = clock::limit(PORT_PATIENCE * 2, once_free(listen(u32::MAX))).await;
        let refused = ended.expect("it waits for ever").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        let other = || std::future::ready(Err::<(), _>(Error::from(ErrorKind::AddrNotAvailable)));
        let began = clock::Instant::now();
        assert_eq!(once_free(other).await.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
