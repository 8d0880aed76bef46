//! The HTTP/2 connections of one client. A server permits a bounded number of streams on each
//! (`SETTINGS_MAX_CONCURRENT_STREAMS`), and a watch holds its stream until it ends. So a further
//! connection is opened when those that are open have no free stream, as Go's transport does.

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::Client;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Streams that one connection carries at a time. RFC 9113 recommends that no server permits fewer,
/// Go's transport assumes it until the server says more (`http2.initialMaxConcurrentStreams`), and
/// upstream's API server permits as many; ours permits 250.
pub(super) const STREAMS_MAX: usize = 100;

/// Bytes of one answer that wait here for their reader at most; the rest waits in the server.
pub(super) const STREAM_WINDOW: u32 = 2 << 20;
/// Bytes of all answers on one connection that wait at most. Answers whose readers pause, as
/// `kubectl logs -f` in a pager, leave room for the others (Go's client takes 1 GiB). h2 derives
/// from it how many small pieces, e.g. lines of a log, may wait, and ends a connection with more.
pub(super) const CONNECTION_WINDOW: u32 = STREAMS_MAX as u32 * STREAM_WINDOW;

/// Opens connections and shares them among requests.
///
/// Example: with 100 streams a connection, 250 watches and one GET use three connections: 100, 100
/// and 51 streams. When the watches of the first have ended, new requests go there again, and the
/// others close when they have been idle.
pub(super) struct Connections<C, B> {
    /// Each of these pools of hyper's opens a single HTTP/2 connection, and a new one when that has
    /// ended.
    open: Mutex<Vec<Connection<C, B>>>,
    make: Box<dyn Fn() -> Client<C, B> + Send + Sync>,
}

struct Connection<C, B> {
    http: Client<C, B>,
    streams: Arc<AtomicUsize>,
}

impl<C: Clone, B> Connections<C, B> {
    /// `make` returns a pool with no connection yet.
    pub(super) fn new(make: impl Fn() -> Client<C, B> + Send + Sync + 'static) -> Connections<C, B> {
        Connections { open: Mutex::default(), make: Box::new(make) }
    }

    /// Returns the first connection with a free stream, and that stream, which is taken until it is
    /// dropped.
    pub(super) fn stream(&self) -> (Client<C, B>, Stream) {
        let mut open = self.open.lock();
        // Streams are taken under the lock alone; one that ends meanwhile only makes room.
        let free = open.iter().position(|c| c.streams.load(Ordering::Relaxed) < STREAMS_MAX);
        let at = free.unwrap_or_else(|| {
            open.push(Connection { http: (self.make)(), streams: Arc::default() });
            open.len() - 1
        });
        let connection = &open[at];
        connection.streams.fetch_add(1, Ordering::Relaxed);
        (connection.http.clone(), Stream(connection.streams.clone()))
    }

    /// Streams in use, one number for each connection.
    #[cfg(test)]
    pub(super) fn streams(&self) -> Vec<usize> {
        self.open.lock().iter().map(|c| c.streams.load(Ordering::Relaxed)).collect()
    }
}

/// One stream of a connection, in use.
pub(super) struct Stream(Arc<AtomicUsize>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A watch that ends sooner than this and has brought nothing counts as failed (client-go's
/// `VeryShortWatchError`).
const SHORT_WATCH: Duration = Duration::from_secs(1);

/// The body of an answer. It holds its stream until its end, or until it is dropped.
///
/// The end of a watch is no error, so kube-rs asks for the next one at once. Against a server or a
/// proxy that ends each watch right away it would ask without a pause. So such an end is an error
/// here, after which a [`Reflector`](crate::Reflector) waits.
pub(super) struct Answer {
    body: Incoming,
    stream: Option<Stream>,
    /// When a watch was opened, as long as it has brought nothing.
    opened: Option<clock::Instant>,
}

impl Answer {
    pub(super) fn new(body: Incoming, stream: Stream, is_watch: bool) -> Answer {
        Answer { body, stream: Some(stream), opened: is_watch.then(clock::Instant::now) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let opened = self.opened.take();
        if matches!(frame, None | Some(Err(_))) {
            self.stream = None;
        }
        if frame.is_none() && opened.is_some_and(|at| at.elapsed() < SHORT_WATCH) {
            return Poll::Ready(Some(Err("the watch ended at once and brought nothing".into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.opened.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::super::transport::Transport;
    use super::super::{Client, testing};
    use super::*;
    use http::Request;
    use http_body_util::BodyExt;
    use k8s_openapi::api::core::v1::Node;

    const LONG: Duration = Duration::from_secs(30);

    async fn ask(transport: &Arc<Transport>, path: &str) -> Answer {
        let request = Request::get(path).body(kube::client::Body::empty()).unwrap();
        let answer = tower::ServiceExt::oneshot(transport.service(None), request);
        tokio::time::timeout(LONG, answer).await.expect("no stream is free for it").unwrap().into_body()
    }

    #[tokio::test]
    async fn more_watches_than_one_connection_carries_keep_no_request_waiting() {
        let transport = Arc::new(Transport::tls(testing::watched(STREAMS_MAX as u32).await).unwrap());
        let mut watches = vec![];
        for _ in 0..2 * STREAMS_MAX + 50 {
            watches.push(ask(&transport, "/api/v1/nodes?watch=true").await);
        }
        assert_eq!(transport.streams(), [100, 100, 50]);
        let nodes = Client::over(transport.clone()).cluster::<Node>();
        let node = tokio::time::timeout(LONG, nodes.get("n")).await.expect("no stream is free for it");
        assert_eq!(node.unwrap().metadata.name.as_deref(), Some("n"));
        assert_eq!(transport.streams(), [100, 100, 50], "its stream has ended");
        // What ends on the first connection is used again before another is opened.
        drop(watches.drain(..30).collect::<Vec<_>>());
        watches.push(ask(&transport, "/api/v1/nodes?watch=true").await);
        assert_eq!(transport.streams(), [71, 100, 50]);
    }

    #[tokio::test]
    async fn a_watch_that_ends_at_once_has_failed() {
        let transport = Arc::new(Transport::tls(testing::saying("").await).unwrap());
        let ended = ask(&transport, "/api/v1/nodes?watch=true").await.frame().await;
        let why = ended.expect("an error").expect_err("an error").to_string();
        assert_eq!(why, "the watch ended at once and brought nothing");
        assert!(ask(&transport, "/api/v1/nodes").await.frame().await.is_none());
        assert_eq!(transport.streams(), [0]);
        let transport = Arc::new(Transport::tls(testing::saying("{}\n").await).unwrap());
        let mut watch = ask(&transport, "/api/v1/nodes?watch=true").await;
        while let Some(frame) = watch.frame().await {
            frame.expect("a watch that brought something has not failed");
        }
    }

    #[tokio::test]
    async fn a_stream_is_free_when_its_answer_has_ended_or_is_no_longer_read() {
        let transport = Arc::new(Transport::tls(testing::watched(STREAMS_MAX as u32).await).unwrap());
        let mut read = ask(&transport, "/api/v1/nodes/n").await;
        assert_eq!(transport.streams(), [1]);
        while read.frame().await.is_some() {}
        assert_eq!(transport.streams(), [0], "the answer is still held");
        let watch = ask(&transport, "/api/v1/nodes?watch=true").await;
        assert_eq!(transport.streams(), [1]);
        drop(watch);
        assert_eq!(transport.streams(), [0]);
    }
}
