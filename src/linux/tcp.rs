//! TCP's patience.

use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// When no connection can be taken (no descriptor is left, say) it is tried again after this time: no event tells that one became free.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// Accepts the next connection that leaves the reserve of descriptors free ([`super::descriptors`]). A failure (accept(2): out of
/// descriptors, or the client has gone already) is none of the server's end.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    super::descriptors::accept(listener).await
}

/// Accepts the next connection whatever descriptor it takes: for the store's members, whose reserve it is.
pub async fn accept_always(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    patiently(|| listener.accept()).await
}

/// The same for a socket in the file system.
pub async fn accept_local(listener: &UnixListener) -> UnixStream {
    patiently(|| listener.accept()).await.0
}

async fn patiently<T, F: Future<Output = io::Result<T>>>(accept: impl Fn() -> F) -> T {
    loop {
        match accept().await {
            Ok(connection) => return connection,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Ends the connection when sent bytes stay unacknowledged for this long, in whole milliseconds (`TCP_USER_TIMEOUT`, tcp(7)).
pub fn give_up_after(socket: &impl AsFd, patience: Duration) -> io::Result<()> {
    let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    Ok(setsockopt(socket, sockopt::TcpUserTimeout, &millis)?)
}
