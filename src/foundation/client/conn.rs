//! A connection as hyper's pools want it.

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// Whether a connection has answered a request, and is kept for further ones. It is among the
/// extensions of each answer.
#[derive(Clone, Default)]
pub(crate) struct Answered(pub(crate) Arc<AtomicBool>);

/// A connection, and the protocol that was agreed on.
pub struct Conn<I> {
    io: TokioIo<I>,
    h2: bool,
    answered: Answered,
}

impl<I> Conn<I> {
    /// `h2`: both sides speak HTTP/2. Else the requests are of HTTP/1.1.
    pub(crate) fn new(io: I, h2: bool) -> Conn<I> {
        Conn { io: TokioIo::new(io), h2, answered: Answered::default() }
    }
}

impl<I> Connection for Conn<I> {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.answered.clone());
        if self.h2 { connected.negotiated_h2() } else { connected }
    }
}

impl<I: AsyncRead + Unpin> Read for Conn<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> Write for Conn<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
