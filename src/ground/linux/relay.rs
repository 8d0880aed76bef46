//! Two connections made one: what comes on either goes out on the other. The bytes stay in the
//! kernel: splice(2) moves them from a socket into a pipe and from there into the other socket, and
//! nothing is copied into this program. Where no descriptors are left for pipes they are copied.
//!
//! A reset of one connection is passed on, as packet filters of a node would, whatever the relay
//! waits for: each direction watches for errors of both sockets. A client that has gone without a
//! reset is noticed by the keepalive of its connection, which the caller switches on.

use super::descriptors::is_reserved;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes that a pipe may hold; a fourth of what every user may ask for
/// (`/proc/sys/fs/pipe-max-size`, pipe(7)).
const PIPE: usize = 256 << 10;
/// Bytes that are copied at a time without a pipe.
const BUFFER: usize = 16 << 10;
/// How often [`Carrier::flush`] fills the carrier at most: more than the buffers of a socket hold.
const ROUNDS: usize = 1024;

/// Carries bytes both ways until both sides have ended, or one has broken off. Then the other side
/// gets what came before, as far as it takes it at once, and a reset.
///
/// # Errors
/// One side has broken off.
pub async fn relay(one: TcpStream, other: TcpStream) -> io::Result<()> {
    let (mut there, mut back) = (Carrier::new(), Carrier::new());
    let carried = tokio::try_join!(there.carry(&one, &other), back.carry(&other, &one)).map(drop);
    if carried.is_err() {
        there.flush(&one, &other);
        back.flush(&other, &one);
        let _ = (one.set_zero_linger(), other.set_zero_linger());
    }
    carried
}

/// Completes when a connection has broken off, e.g. by a reset.
async fn broken(socket: &TcpStream) -> io::Error {
    match socket.ready(Interest::ERROR).await {
        Ok(_) => socket.take_error().ok().flatten().unwrap_or(io::ErrorKind::ConnectionReset.into()),
        Err(e) => e,
    }
}

/// What holds bytes between two sockets.
enum Carrier {
    Pipe { out: OwnedFd, into: OwnedFd },
    Buffer { bytes: Box<[u8]>, held: Range<usize> },
}

const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_MOVE.union(SpliceFFlags::SPLICE_F_NONBLOCK);

impl Carrier {
    fn new() -> Carrier {
        Carrier::pipe()
            .unwrap_or_else(|_| Carrier::Buffer { bytes: vec![0; BUFFER].into_boxed_slice(), held: 0..0 })
    }

    fn pipe() -> io::Result<Carrier> {
        let (out, into) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        if is_reserved(&out) || is_reserved(&into) {
            return Err(io::Error::from_raw_os_error(libc::EMFILE)); // connections do without pipes then
        }
        let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(PIPE as i32)); // a user with many pipes gets smaller ones
        Ok(Carrier::Pipe { out, into })
    }

    /// Takes bytes from a socket. `WouldBlock`: it has none, or there is no room for any.
    fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        match self {
            Carrier::Pipe { into, .. } => Ok(splice(from, None, into, None, PIPE, FLAGS)?),
            Carrier::Buffer { held, .. } if held.start < held.end => Err(io::ErrorKind::WouldBlock.into()),
            Carrier::Buffer { bytes, held } => {
                *held = 0..nix::unistd::read(from, bytes)?;
                Ok(held.len())
            }
        }
    }

    /// Gives bytes that it holds to a socket. `WouldBlock`: the socket takes none, or there are
    /// none.
    fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        match self {
            Carrier::Pipe { out, .. } => Ok(splice(out, None, to, None, PIPE, FLAGS)?),
            Carrier::Buffer { held, .. } if held.start >= held.end => Err(io::ErrorKind::WouldBlock.into()),
            Carrier::Buffer { bytes, held } => {
                let sent = send(to.as_raw_fd(), &bytes[held.clone()], MsgFlags::MSG_NOSIGNAL)?;
                held.start += sent;
                Ok(sent)
            }
        }
    }

    /// Carries bytes one way, until `from` ends; then shuts `to` down for writing.
    async fn carry(&mut self, from: &TcpStream, to: &TcpStream) -> io::Result<()> {
        loop {
            // It holds nothing here: that nothing moves (EAGAIN) is the socket's doing.
            let mut held = tokio::select! {
                biased;
                filled = from.async_io(Interest::READABLE, || self.fill(from)) => filled?,
                error = broken(to) => return Err(error),
            };
            if held == 0 {
                return match shutdown(to.as_raw_fd(), Shutdown::Write) {
                    Err(nix::Error::ENOTCONN) => Ok(()), // it has gone already
                    done => Ok(done?),
                };
            }
            while held > 0 {
                held -= tokio::select! {
                    biased;
                    drained = to.async_io(Interest::WRITABLE, || self.drain(to)) => drained?,
                    error = broken(from) => return Err(error),
                };
            }
        }
    }

    /// Moves what can be moved at once, after a connection has broken off: what it sent before is
    /// still there, e.g. the answer of a server that did not read the whole question.
    fn flush(&mut self, from: &TcpStream, to: &TcpStream) {
        for _ in 0..ROUNDS {
            while self.drain(to).is_ok_and(|moved| moved > 0) {}
            if !self.fill(from).is_ok_and(|moved| moved > 0) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialed = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (dialed, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn both_ways_carry_more_than_a_pipe_holds_and_an_end_passes_on() {
        let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
        let relayed = tokio::spawn(relay(near, far));
        let question: Vec<u8> = (0..PIPE * 9 + 7).map(|n| (n % 251) as u8).collect();
        let answer: Vec<u8> = question.iter().rev().copied().collect();
        let (asked, reply) = (question.clone(), answer.clone());
        let served = tokio::spawn(async move {
            let mut came = Vec::new();
            server.read_to_end(&mut came).await.unwrap(); // the client's half is closed, ours is not
            assert!(came == asked);
            server.write_all(&reply).await.unwrap();
        });
        client.write_all(&question).await.unwrap();
        client.shutdown().await.unwrap();
        let mut came = Vec::new();
        client.read_to_end(&mut came).await.unwrap();
        assert!(came == answer);
        served.await.unwrap();
        relayed.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_breaks_off_is_noticed() {
        let ((client, near), (far, mut server)) = (pair().await, pair().await);
        let relayed = tokio::spawn(relay(near, far));
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(relayed.await.unwrap().is_err());
        assert_eq!(server.read(&mut [0; 8]).await.unwrap_or(0), 0);
    }

    /// Far longer than any of it takes: without it a relay that never ends would hold up the tests.
    const LONG: std::time::Duration = std::time::Duration::from_secs(60);

    #[tokio::test]
    async fn a_client_that_goes_is_noticed_while_the_server_does_not_read() {
        let ((client, near), (far, server)) = (pair().await, pair().await);
        let relayed = tokio::spawn(relay(near, far));
        // Until the buffers of all four sockets are full.
        let (some, mut refused) = (vec![0; 1 << 16], 0);
        while refused < 5000 {
            match client.try_write(&some) {
                Ok(_) => refused = 0,
                Err(_) => refused += 1,
            }
            tokio::task::yield_now().await;
        }
        client.set_zero_linger().unwrap();
        drop(client);
        let ended = tokio::time::timeout(LONG, relayed).await.expect("it is noticed").unwrap();
        assert!(ended.is_err());
        tokio::time::timeout(LONG, broken(&server)).await.expect("the reset is passed on");
    }

    #[tokio::test]
    async fn a_client_that_goes_is_noticed_after_it_closed_its_half() {
        let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
        let relayed = tokio::spawn(relay(near, far));
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        client.set_zero_linger().unwrap();
        drop(client);
        let ended = tokio::time::timeout(LONG, relayed).await.expect("it is noticed").unwrap();
        assert!(ended.is_err());
        tokio::time::timeout(LONG, broken(&server)).await.expect("the reset is passed on");
    }

    #[tokio::test]
    async fn an_answer_arrives_though_the_server_breaks_off_behind_it() {
        for _ in 0..20 {
            let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
            client.write_all(&[1; 100]).await.unwrap(); // is not read
            server.write_all(b"413 too large").await.unwrap();
            server.set_zero_linger().unwrap();
            drop(server);
            let _ = relay(near, far).await;
            let mut came = Vec::new();
            let _ = client.read_to_end(&mut came).await; // ends with the reset
            assert_eq!(came, b"413 too large");
        }
    }

    #[tokio::test]
    async fn bytes_are_carried_without_a_pipe_too() {
        let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
        let mut carrier = Carrier::Buffer { bytes: vec![0; 7].into_boxed_slice(), held: 0..0 };
        let sent: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let (mut came, wanted) = (Vec::new(), sent.clone());
        let send = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let (carried, (), read) =
            tokio::join!(carrier.carry(&near, &far), send, server.read_to_end(&mut came));
        carried.unwrap();
        read.unwrap();
        assert!(came == wanted);

        // What it holds when a side breaks off goes on.
        let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
        let mut carrier = Carrier::Buffer { bytes: b"held".to_vec().into_boxed_slice(), held: 1..4 };
        client.write_all(b" and sent").await.unwrap();
        near.readable().await.unwrap();
        carrier.flush(&near, &far);
        drop(far);
        came.clear();
        server.read_to_end(&mut came).await.unwrap();
        assert_eq!(came, b"eld and sent");
    }
}
