//! TCP's patience.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// When no connection can be taken (no descriptor is left, say) it is tried again after this time:
/// no event tells that one became free.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// Accepts the next connection that leaves the reserve of descriptors free
/// ([`super::descriptors`]). A failure (accept(2): out of descriptors, or the client has gone
/// already) is none of the server's end.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    super::descriptors::accept(listener).await
}

/// Accepts the next connection whatever descriptor it takes: for the store's members, whose reserve
/// it is.
pub async fn accept_always(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    patiently(|| listener.accept()).await
}

/// Accepts the next connection of a socket in the file system, as [`accept_always`] does.
pub async fn accept_local(listener: &UnixListener) -> UnixStream {
    patiently(|| listener.accept()).await.0
}

async fn patiently<T, F: Future<Output = io::Result<T>>>(accept: impl Fn() -> F) -> T {
    let mut complaint = super::descriptors::Complaint::default();
    loop {
        match accept().await {
            Ok(connection) => return connection,
            Err(error) => {
                if complaint.is_due() {
                    tracing::warn!(%error, "cannot accept a connection");
                }
                clock::pause(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Bytes that wait in the kernel for a client that does not read, about; without a bound that is
/// some megabytes a connection.
const UNREAD_MAX: usize = 256 << 10;

/// Bounds what the kernel keeps of sent bytes that the other side does not read (`SO_SNDBUF`,
/// socket(7)).
///
/// # Errors
/// The descriptor is not a socket.
pub fn bound_unread(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::SndBuf, &UNREAD_MAX)?)
}

/// Probes an idle connection this often, in whole seconds, so that one whose other side is gone
/// ends (`SO_KEEPALIVE`, tcp(7)); after the kernel's number of unanswered probes, 9.
///
/// # Errors
/// `EINVAL`: the period is longer than 32767 seconds. Others: not a TCP socket.
pub fn keep_alive(socket: &impl AsFd, period: Duration) -> io::Result<()> {
    let secs = u32::try_from(period.as_secs()).unwrap_or(u32::MAX).max(1);
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &secs)?;
    Ok(setsockopt(socket, sockopt::TcpKeepInterval, &secs)?)
}

/// Returns whether the other side has closed the connection, or its direction of it (`POLLRDHUP`,
/// poll(2)), also while bytes of it still wait to be read.
pub fn is_closed_by_peer(socket: &impl AsFd) -> bool {
    let mut wanted = [PollFd::new(socket.as_fd(), PollFlags::from_bits_retain(nix::libc::POLLRDHUP))];
    poll(&mut wanted, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Returns a future that completes when the other side has closed the connection, or its direction
/// of it (`EPOLLRDHUP`, epoll_ctl(2)), also while bytes of it still wait to be read.
///
/// It takes one descriptor until then: the socket's own registration says "readable" for as long as
/// bytes wait, and so tells no end.
///
/// # Errors
/// No descriptor is left.
pub fn closed_by_peer(socket: BorrowedFd<'_>) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    let socket = super::fds::async_fd(socket.try_clone_to_owned()?, Interest::READABLE)?;
    Ok(async move {
        while let Ok(mut state) = socket.readable().await {
            if state.ready().is_read_closed() {
                return;
            }
            state.clear_ready(); // bytes came; the next change of the socket wakes this task again
        }
    })
}

/// Ends the connection when sent bytes stay unacknowledged for this long, in whole milliseconds
/// (`TCP_USER_TIMEOUT`, tcp(7)).
///
/// # Errors
/// `EINVAL`: the time is longer than 2^31 - 1 milliseconds. Others: not a TCP socket.
pub fn give_up_after(socket: &impl AsFd, patience: Duration) -> io::Result<()> {
    let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    Ok(setsockopt(socket, sockopt::TcpUserTimeout, &millis)?)
}

/// What the functions above have set.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug)]
pub struct Options {
    /// Bytes that the kernel keeps for a client that does not read, with its own overhead.
    pub unread: usize,
    /// Whether the kernel probes an idle connection (`SO_KEEPALIVE`).
    pub is_probed: bool,
}

/// Reads what the functions above have set.
///
/// # Errors
/// The descriptor is not a socket.
#[cfg(any(test, feature = "testing"))]
pub fn options(socket: &impl AsFd) -> io::Result<Options> {
    use nix::sys::socket::getsockopt;
    let is_probed = getsockopt(socket, sockopt::KeepAlive)?;
    Ok(Options { unread: getsockopt(socket, sockopt::SndBuf)?, is_probed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;
    use std::os::fd::AsRawFd;

    #[test]
    fn an_idle_connection_is_probed() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        keep_alive(&socket, Duration::from_secs(30)).unwrap();
        assert!(getsockopt(&socket, sockopt::KeepAlive).unwrap());
        assert_eq!(getsockopt(&socket, sockopt::TcpKeepIdle).unwrap(), 30);
        assert_eq!(getsockopt(&socket, sockopt::TcpKeepInterval).unwrap(), 30);
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// A client that does not read: the kernel takes what the bound allows (it counts its own
    /// overhead, so it takes up to twice as much) beside what the client's side keeps, and then no
    /// more.
    #[tokio::test]
    async fn the_kernel_keeps_a_bounded_number_of_unread_bytes() {
        let (client, server) = pair().await;
        bound_unread(&server).unwrap();
        let bound = getsockopt(&server, sockopt::SndBuf).unwrap();
        assert!(bound <= 2 * UNREAD_MAX, "{bound}");
        let unread = || client_queue(&client);
        let mut sent = 0;
        // Loopback moves bytes to the client's side at once for as long as that side takes them.
        while let Ok(Ok(count)) = tokio::time::timeout(Duration::from_millis(200), async {
            server.writable().await?;
            server.try_write(&[7; 16 << 10]).or_else(|error| match error.kind() {
                io::ErrorKind::WouldBlock => Ok(0),
                _ => Err(error),
            })
        })
        .await
        {
            sent += count;
        }
        assert!(sent > 0 && sent - unread() <= bound, "{sent} sent, {} arrived, bound {bound}", unread());
    }

    /// Bytes that wait to be read at the client.
    fn client_queue(client: &TcpStream) -> usize {
        let mut buffer = vec![0; 64 << 20];
        let (fd, flags) = (client.as_raw_fd(), nix::sys::socket::MsgFlags::MSG_PEEK);
        nix::sys::socket::recv(fd, &mut buffer, flags).unwrap_or_default()
    }

    #[tokio::test]
    async fn the_end_of_the_other_side_is_told_while_its_bytes_wait_to_be_read() {
        use tokio::io::AsyncWriteExt;
        let (mut client, server) = pair().await;
        let mut closed = std::pin::pin!(closed_by_peer(server.as_fd()).unwrap());
        for _ in 0..3 {
            client.write_all(b"unread").await.unwrap();
            let waited = tokio::time::timeout(Duration::from_millis(50), closed.as_mut()).await;
            assert!(waited.is_err(), "bytes are no end");
        }
        client.shutdown().await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), closed).await.expect("its direction is closed");
        let (client, server) = pair().await;
        drop(client);
        let closed = closed_by_peer(server.as_fd()).unwrap();
        tokio::time::timeout(Duration::from_secs(5), closed).await.expect("it was closed before");
    }
}
