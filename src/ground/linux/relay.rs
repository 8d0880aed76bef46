//! Two connections made one: what comes on either goes out on the other. The bytes stay in the
//! kernel: splice(2) moves them from a socket into a pipe and from there into the other socket, and
//! nothing is copied into this program.

use super::descriptors::is_reserved;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::socket::{Shutdown, shutdown};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes that a pipe may hold; a fourth of what anybody may ask for (`/proc/sys/fs/pipe-max-size`,
/// pipe(7)).
const PIPE: usize = 256 << 10;

/// Carries bytes both ways until both sides have ended, or one has broken off.
pub async fn relay(mut one: TcpStream, mut other: TcpStream) -> io::Result<()> {
    let (Ok(there), Ok(back)) = (Pipe::new(), Pipe::new()) else {
        // No descriptors are left for pipes.
        return tokio::io::copy_bidirectional(&mut one, &mut other).await.map(drop);
    };
    tokio::try_join!(there.carry(&one, &other), back.carry(&other, &one)).map(drop)
}

struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Pipe> {
        let (out, into) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        if is_reserved(&out) || is_reserved(&into) {
            return Err(io::Error::from_raw_os_error(libc::EMFILE)); // connections do without pipes then
        }
        let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(PIPE as i32)); // a user with many pipes gets smaller ones
        Ok(Pipe { out, into })
    }

    /// One way, until `from` ends; then `to` is told.
    async fn carry(&self, from: &TcpStream, to: &TcpStream) -> io::Result<()> {
        let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        loop {
            // The pipe is empty here: that nothing moves (EAGAIN) is the socket's doing.
            let fill = || Ok(splice(from, None, &self.into, None, PIPE, flags)?);
            let mut held = from.async_io(Interest::READABLE, fill).await?;
            if held == 0 {
                return match shutdown(to.as_raw_fd(), Shutdown::Write) {
                    Err(nix::Error::ENOTCONN) => Ok(()), // it has gone already
                    done => Ok(done?),
                };
            }
            while held > 0 {
                let drain = || Ok(splice(&self.out, None, to, None, held, flags)?);
                held -= to.async_io(Interest::WRITABLE, drain).await?;
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
}
