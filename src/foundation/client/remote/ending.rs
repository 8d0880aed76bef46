//! How connections end, as Go tells it.

use super::alert;
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Why the newest connection of a pool has failed, in Go's words; `None`: it has not. hyper's error
/// of a request that the connection had not taken yet does not have this reason.
#[derive(Clone, Default)]
pub(super) struct LastFailure(Arc<Mutex<Option<String>>>);

impl LastFailure {
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

/// A connection that ends as Go tells it.
///
/// | what comes | |
/// |---|---|
/// | the end of TCP, with a `close_notify` or not | over HTTP/2 `unexpected EOF`, else the end |
/// | a reset | `read: connection reset by peer` |
/// | an alert | `remote error: tls: certificate required`, … |
///
/// A program that is killed sends no `close_notify`. To HTTP/1.1 its end is that of any server: a
/// body that has a length or chunks tells itself whether it is whole.
pub(super) struct Ending<I> {
    io: I,
    h2: bool,
    last: LastFailure,
}

impl<I> Ending<I> {
    /// Wraps a connection that was just opened. `h2`: both sides speak HTTP/2.
    pub(super) fn new(io: I, h2: bool, last: &LastFailure) -> Ending<I> {
        *last.0.lock() = None;
        Ending { io, h2, last: last.clone() }
    }

    fn end(&self) -> io::Result<()> {
        match self.h2 {
            true => Err(self.failure(io::ErrorKind::UnexpectedEof, "unexpected EOF".into())),
            false => Ok(()),
        }
    }

    /// Returns the error in Go's words, if it has any.
    fn in_words(&self, error: io::Error) -> io::Error {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls.and_then(alert::text_of) {
            Some(why) => self.failure(error.kind(), why),
            None if error.kind() == io::ErrorKind::ConnectionReset => {
                self.failure(error.kind(), "read: connection reset by peer".into())
            }
            None => error,
        }
    }

    fn failure(&self, kind: io::ErrorKind, why: String) -> io::Error {
        *self.last.0.lock() = Some(why.clone());
        io::Error::new(kind, why)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Ending<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        Poll::Ready(match read {
            Ok(()) if room > 0 && buf.remaining() == room => self.end(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.end(),
            read => read.map_err(|error| self.in_words(error)),
        })
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Ending<I> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// Fails with this error, or has ended.
    struct Broken(Option<io::Error>);

    impl AsyncRead for Broken {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(self.0.take().map_or(Ok(()), Err))
        }
    }

    #[tokio::test]
    async fn an_end_is_reported_in_gos_words() {
        let unclosed = || io::Error::new(io::ErrorKind::UnexpectedEof, "without close_notify");
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let alert = io::Error::new(io::ErrorKind::InvalidData, alert);
        for (broken, h2, expected) in [
            (None, true, Err("unexpected EOF")),
            (None, false, Ok(0)),
            (Some(unclosed()), true, Err("unexpected EOF")),
            (Some(unclosed()), false, Ok(0)),
            (Some(reset), true, Err("read: connection reset by peer")),
            (Some(alert), false, Err("remote error: tls: certificate required")),
        ] {
            let last = LastFailure::default();
            let mut connection = Ending::new(Broken(broken), h2, &last);
            let read = connection.read(&mut [0; 8]).await.map_err(|error| error.to_string());
            assert_eq!(read, expected.map_err(String::from));
            assert_eq!(last.get().as_deref(), expected.err());
            drop(Ending::new(Broken(None), h2, &last));
            assert_eq!(last.get(), None, "a new connection has not failed");
        }
    }
}
