//! Heads of requests that have not come whole: how many bytes of them may be in memory.
//!
//! A connection keeps what its client has sent of a head until the rest comes, and a client may
//! take as long for that as an idle connection may. Thousands of connections with half a head each
//! would hold more memory than all requests that run. So what a connection reads while none of its
//! requests runs is counted, beyond the buffer that every connection has ([`FREE`]): on the account
//! of the user that it has shown, or of its source as long as it has shown none. A connection that
//! finds no room is closed.
//!
//! Example: strangers have 8 MiB, one source of them half. A local user opens connections and sends
//! 64 KiB of a head on each: the 86th is closed, and clients that have authenticated do not notice
//! it.

use crate::flowcontrol::flow::Level;
use crate::request::connections::Counted;
use crate::request::heads::Heads;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a head that do not count: the number of connections bounds them.
const FREE: usize = 16 << 10;

/// A client's connection whose heads are counted.
pub(crate) struct Metered<T> {
    io: T,
    connection: Arc<Counted>,
    heads: Arc<Heads>,
    /// Bytes that came since the last request began.
    received: usize,
    /// Requests that had begun when `received` was last set to 0.
    served: u64,
}

impl<T> Metered<T> {
    pub(crate) fn new(io: T, connection: Arc<Counted>, heads: Arc<Heads>) -> Metered<T> {
        Metered { io, connection, heads, received: 0, served: 0 }
    }

    /// Returns the connection alone, when no more requests come on it.
    pub(crate) fn into_inner(self) -> T {
        self.io
    }

    /// Counts bytes that came. False: there is no memory for so long a head.
    fn count(&mut self, bytes: usize) -> bool {
        let activity = &self.connection.activity;
        if activity.served() != self.served {
            (self.received, self.served) = (0, activity.served());
        }
        if activity.is_busy() {
            return true; // a body, which counts by itself, or what HTTP/2 says beside requests
        }
        self.received += bytes;
        let kib = self.received.saturating_sub(FREE).div_ceil(1024);
        if kib == 0 {
            return true;
        }
        // The connection holds this memory until its request begins.
        let mut held = activity.head.lock();
        match &mut *held {
            Some(place) => place.count() >= kib || place.grow(kib - place.count()),
            None => {
                let flow = self.connection.flow();
                if flow.is_some_and(|flow| flow.level == Level::Exempt) {
                    return true;
                }
                *held = self.heads.take(flow, self.connection.source().ip(), kib);
                held.is_some()
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        match this.count(buffer.filled().len() - before) {
            true => Poll::Ready(Ok(())),
            false => {
                let why = "too many long heads of requests have not come whole";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::OutOfMemory, why)))
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user::{MASTERS, User};
    use crate::request::connections::Connections;
    use crate::request::heads::{KNOWN_KIB, STRANGERS_KIB};
    use crate::request::sources::Known;

    const HEAD: usize = FREE + (64 << 10);

    /// A connection from this address, on which this user has shown a certificate.
    fn connection(all: &Arc<Connections>, from: &str, user: Option<User>) -> Metered<tokio::io::Empty> {
        let counted = all.admit(from.parse().unwrap()).unwrap();
        assert!(user.is_none_or(|user| counted.mark_known(&user)));
        Metered::new(tokio::io::empty(), Arc::new(counted), all.heads.clone())
    }

    /// Strangers send half of a long head on each of many connections, from all addresses of the
    /// loopback network: they have a bound together, and authenticated clients have memory of their
    /// own.
    #[test]
    fn heads_that_do_not_come_whole_hold_a_bounded_memory() {
        let all = Connections::new(4096, Known::default());
        let flood = |names: &dyn Fn(u16) -> (String, Option<User>)| {
            let mut held = vec![];
            for n in 0..1000 {
                let (from, user) = names(n);
                let mut one = connection(&all, &from, user);
                if !one.count(HEAD) {
                    break;
                }
                held.push(one);
            }
            held
        };
        let local = flood(&|n| (format!("127.0.{}.{}:4000", n >> 8, n & 255), None));
        assert_eq!(local.len(), STRANGERS_KIB / 2 / 64);
        let pod = flood(&|_| ("10.244.1.2:4000".into(), None));
        assert!(!pod.is_empty(), "another source has its share");
        let eve = flood(&|_| ("127.0.0.1:4000".into(), Some(User::new("eve", &[]))));
        assert_eq!(eve.len(), KNOWN_KIB / 2 / 64);
        for name in ["bob", "system:kube-scheduler"] {
            let mut one = connection(&all, "127.0.0.1:4001", Some(User::new(name, &[])));
            assert!(one.count(HEAD), "{name}");
        }
        let mut admin = connection(&all, "127.0.0.1:4001", Some(User::new("admin", &[MASTERS])));
        let is_free = admin.count(1 << 30) && admin.connection.activity.head.lock().is_none();
        assert!(is_free, "an administrator has no bound");
        let mut short = connection(&all, "127.0.0.1:4001", None);
        assert!(short.count(FREE) && !short.count(HEAD));
        drop((local, pod, eve, short));
        assert_eq!((all.heads.strangers.taken(), all.heads.known.taken()), (0, 0));
    }

    /// A connection that sends one request after the other holds the bytes of the one that comes,
    /// and none while it runs.
    #[test]
    fn a_head_that_has_come_whole_holds_nothing_here() {
        let all = Connections::new(8, Known::default());
        let mut one = connection(&all, "10.244.1.2:4000", Some(User::new("bob", &[])));
        for _ in 0..10_000 {
            assert!(one.count(HEAD));
            assert_eq!(all.heads.known.taken(), 64);
            let running = one.connection.activity.begin();
            assert_eq!(all.heads.known.taken(), 0, "a watch may send nothing more");
            assert!(one.count(1 << 20), "its body counts elsewhere");
            assert_eq!(all.heads.known.taken(), 0);
            drop(running);
        }
    }
}
