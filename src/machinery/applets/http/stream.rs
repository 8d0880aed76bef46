//! What an exchange runs over: a TCP connection, with or without TLS.

use super::super::deadline::Deadline;
use super::super::tls;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A connection.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

impl Stream {
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock.tcp,
        }
    }

    /// Returns the address we speak to, and ours.
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.tcp().peer_addr().ok(), self.tcp().local_addr().ok())
    }

    /// Returns whether the server has neither ended the connection nor sent anything without a
    /// request.
    pub(crate) fn is_quiet(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.tcp().as_raw_fd(), &mut [0], flags) == Err(Errno::EAGAIN)
    }

    /// Lets no read and no write from now on last longer than that.
    fn set_timeouts(&mut self, deadline: &Deadline, idle: Option<Duration>) -> io::Result<()> {
        let left = deadline.left()?;
        match self {
            Stream::Plain(tcp) => {
                tcp.set_read_timeout(left.into_iter().chain(idle).min())?;
                tcp.set_write_timeout(left)
            }
            Stream::Tls(tls) => {
                (tls.sock.until, tls.sock.idle) = (deadline.at(), idle);
                Ok(())
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.read(buffer),
            Stream::Tls(tls) => tls.read(buffer),
        }
    }
}

/// A stream that never waits past a deadline.
pub(super) struct Timed {
    pub(super) stream: Stream,
    pub(super) deadline: Deadline,
    /// How long one read may wait, if that has a limit.
    pub(super) idle: Option<Duration>,
    /// What the server sent while a request was sent: it is read before the stream is.
    pub(super) ahead: VecDeque<u8>,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.ahead.is_empty() {
            return self.ahead.read(buffer);
        }
        self.stream.set_timeouts(&self.deadline, self.idle)?;
        self.stream.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => e,
        })
    }
}
