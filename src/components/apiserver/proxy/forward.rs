//! Passing a request on to another server and its answer back, changes of protocol included.

use crate::request::http::{Answer, full};
use crate::request::http_head::Metered;
use api::Status;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use linux::tcp;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A session on which neither side says anything for this long is ended: the kubelet's
/// `streamingConnectionIdleTimeout`.
const SESSION_IDLE: Duration = Duration::from_secs(4 * 3600);

/// Once its client has left, a session goes on for as long as bytes of it move, or for this long
/// without any: what the client sent before it left still arrives. At most [`FAREWELL_MAX`] in all.
const FAREWELL: Duration = Duration::from_secs(2);
const FAREWELL_MAX: Duration = Duration::from_secs(30);

/// Copies the headers that go further: not those of one connection (unless it changes protocols),
/// be they well known or named by `Connection` (RFC 9110, 7.6.1), and not the `kept`. A length
/// beside `Transfer-Encoding` is not that of the body, and stays, too (RFC 9112, 6.3).
///
/// Example: of `Connection: close, X-Hop`, `X-Hop: 1` and `Accept: */*` only `Accept` goes further.
pub fn pass_headers(from: &HeaderMap, to: &mut HeaderMap, upgrading: bool, kept: &[&str]) {
    const HOP: [HeaderName; 9] = [
        header::CONNECTION,
        header::UPGRADE,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    let options = from.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = options.flat_map(|value| value.split(',')).map(str::trim).collect();
    let is_encoded = from.contains_key(header::TRANSFER_ENCODING);
    for (name, value) in from {
        let changes = upgrading && matches!(*name, header::CONNECTION | header::UPGRADE);
        let is_named = || named.iter().any(|option| option.eq_ignore_ascii_case(name.as_str()));
        let hop = !changes && (HOP.contains(name) || is_named());
        let is_wrong = is_encoded && *name == header::CONTENT_LENGTH;
        if !hop && !is_wrong && !kept.contains(&name.as_str()) {
            to.append(name.clone(), value.clone());
        }
    }
}

/// Answers the client with 101, and joins both connections until either side ends, the client
/// leaves (also while the other side reads nothing), both are silent for [`SESSION_IDLE`], or
/// `over` completes. What `over` owns is held until then.
///
/// # Errors
/// 502 if the client had not asked for a change of protocols; `who` is the server that changed
/// them.
pub fn join<B>(
    client: Option<OnUpgrade>,
    mut answer: Response<B>,
    who: &str,
    kept: &[&str],
    over: impl Future<Output = ()> + Send + 'static,
) -> Result<Answer, Status> {
    let server = hyper::upgrade::on(&mut answer);
    let Some(client) = client else {
        return Err(Status::new(502, "", format!("{who} changed protocols unasked")));
    };
    tokio::spawn(async move {
        let session = async {
            let (Ok(client), Ok(server)) = tokio::join!(client, server) else { return };
            let (client, left) = client_side(client);
            copy_until_idle(client, TokioIo::new(server), left, SESSION_IDLE).await;
        };
        tokio::select! {
            () = session => {}
            () = over => {}
        }
    });
    let mut out = Response::new(full(""));
    *out.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    pass_headers(answer.headers(), out.headers_mut(), true, kept);
    Ok(out)
}

/// Returns the upgraded connection of a client, and a future that completes when the client has
/// left. The end of a client stands behind the bytes that it sent before, and a program that reads
/// none of them would hide it; so the socket itself is asked.
fn client_side(upgraded: Upgraded) -> (Box<dyn Duplex>, BoxFuture<'static, ()>) {
    let upgraded = match downcast::<TokioIo<Metered<TlsStream<TcpStream>>>>(upgraded) {
        Ok(parts) => return session(parts.io.into_inner().into_inner(), parts.read_buf),
        Err(other) => other,
    };
    match downcast::<TokioIo<TlsStream<TcpStream>>>(upgraded) {
        Ok(parts) => session(parts.io.into_inner(), parts.read_buf),
        Err(other) => (Box::new(TokioIo::new(other)), pending().boxed()),
    }
}

/// Returns a client's connection, which begins with the bytes that have been read already, and a
/// future that completes when the client has left.
fn session(stream: TlsStream<TcpStream>, unread: Bytes) -> (Box<dyn Duplex>, BoxFuture<'static, ()>) {
    let left = left(&stream.get_ref().0);
    (Box::new(Rewound { io: stream, unread }), left)
}

/// Completes when the client has left. It never does without a descriptor to spare; the end of the
/// copying then ends the session.
pub fn left(client: &impl AsFd) -> BoxFuture<'static, ()> {
    match tcp::closed_by_peer(client.as_fd()) {
        Ok(closed) => closed.boxed(),
        Err(error) => {
            tracing::debug!(%error, "the end of a client is not watched for");
            pending().boxed()
        }
    }
}

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Copies in both directions until both sides have ended or one has failed; or, once the client has
/// left, until no byte has moved for [`FAREWELL`], and for [`FAREWELL_MAX`] at most.
pub async fn copy_until_left(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: impl AsyncRead + AsyncWrite + Unpin,
    left: impl Future<Output = ()>,
) {
    let moves = Arc::new(AtomicU64::new(0));
    copy(client, server, left, &moves).await;
}

/// Copies as [`copy_until_left`] does, and at most until neither side has said anything for `idle`
/// (up to twice that).
async fn copy_until_idle(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: impl AsyncRead + AsyncWrite + Unpin,
    left: impl Future<Output = ()>,
    idle: Duration,
) {
    let moves = Arc::new(AtomicU64::new(0));
    tokio::select! {
        () = copy(client, server, left, &moves) => {}
        () = silence(&moves, idle) => {
            tracing::debug!(seconds = idle.as_secs(), "ended a session on which nothing was said");
        }
    }
}

/// Completes when no byte has moved for `idle` (up to twice that).
async fn silence(moves: &AtomicU64, idle: Duration) {
    loop {
        let before = moves.load(Ordering::Relaxed);
        clock::pause(idle).await;
        if moves.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

/// Copies as [`copy_until_left`] does, and counts in `moves` the reads and writes of both sides.
async fn copy(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: impl AsyncRead + AsyncWrite + Unpin,
    left: impl Future<Output = ()>,
    moves: &Arc<AtomicU64>,
) {
    let mut client = Counting { io: client, moves: moves.clone() };
    let mut server = Counting { io: server, moves: moves.clone() };
    let farewell = async {
        left.await;
        let _ = tokio::time::timeout(FAREWELL_MAX, silence(moves, FAREWELL)).await;
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        () = farewell => tracing::debug!("ended a session whose client has left"),
    }
}

/// A stream whose first bytes have been read already.
struct Rewound<T> {
    io: T,
    unread: Bytes,
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// One side of a session, whose reads and writes are counted.
struct Counting<T> {
    io: T,
    moves: Arc<AtomicU64>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counting<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_ready() {
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counting<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if written.is_ready() {
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
        written
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
    use crate::request::http::{Body, http_server};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use pki::{self, Ca, Subject};
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn headers_of_one_connection_stay_there() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Hop"),
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("proxy-authorization", "Basic YTpi"),
            ("te", "trailers"),
            ("accept", "*/*"),
            ("host", "x"),
        ] {
            from.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        for (upgrading, passed) in [(false, &["accept"][..]), (true, &["accept", "connection", "upgrade"])] {
            let mut to = HeaderMap::new();
            pass_headers(&from, &mut to, upgrading, &["host"]);
            let mut names: Vec<&str> = to.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, passed, "{upgrading}");
        }
    }

    #[test]
    fn a_length_that_is_not_that_of_the_body_stays() {
        let mut from = HeaderMap::new();
        from.insert(header::CONTENT_LENGTH, "5".parse().unwrap());
        let passed = |from: &HeaderMap| {
            let mut to = HeaderMap::new();
            pass_headers(from, &mut to, false, &[]);
            to.contains_key(header::CONTENT_LENGTH)
        };
        assert!(passed(&from));
        from.insert(header::TRANSFER_ENCODING, "chunked".parse().unwrap());
        assert!(!passed(&from));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_on_which_nothing_is_said_ends() {
        let ((mut client, one), (mut server, other)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let session = tokio::spawn(copy_until_idle(one, other, pending(), SESSION_IDLE));
        // A word every three hours keeps it.
        for _ in 0..5 {
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), b'x');
            tokio::time::sleep(SESSION_IDLE / 4 * 3).await;
            assert!(!session.is_finished());
        }
        tokio::time::sleep(2 * SESSION_IDLE).await;
        assert!(session.is_finished());
        assert!(client.write_all(b"x").await.is_err() && server.read_u8().await.is_err());
    }

    /// What a client sent before it left still arrives, also where the other side reads slowly; it
    /// does not take for ever.
    #[tokio::test(start_paused = true)]
    async fn the_last_bytes_of_a_client_arrive_after_it_has_left() {
        for (pause, arrives) in [(FAREWELL / 4, 100), (FAREWELL * 4, 0)] {
            let ((mut client, one), (mut server, other)) = (tokio::io::duplex(100), tokio::io::duplex(1));
            client.write_all(&[7; 100]).await.unwrap();
            let session = tokio::spawn(copy_until_left(one, other, std::future::ready(())));
            let mut read = 0;
            loop {
                tokio::time::sleep(pause).await;
                match server.read(&mut [0; 10]).await {
                    Ok(count) if count > 0 && read < 1000 => read += count,
                    _ => break,
                }
            }
            // One byte at a time, each after a pause: the bound of all of it comes first.
            let expected = (FAREWELL_MAX.as_millis() / pause.as_millis()).min(arrives) as usize;
            assert!(read.abs_diff(expected) <= 2, "{read} bytes, not {expected}");
            assert!(session.is_finished());
            drop(client);
        }
    }

    /// A kubelet that has agreed to a session and reads nothing of it.
    async fn deaf_kubelet(mut stream: DuplexStream) -> DuplexStream {
        let (mut head, mut byte) = (vec![], [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).await.unwrap();
            head.push(byte[0]);
        }
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    }

    /// `kubectl exec -i` writes, and the program in the pod reads nothing: the end of kubectl is
    /// behind bytes that nothing reads.
    #[tokio::test]
    async fn a_session_ends_when_its_client_leaves_while_the_program_reads_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let identity = ca.issue(&Subject::server("kube-apiserver", &["127.0.0.1"])).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(pki::server_config(&identity, ca.pem()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ended = CancellationToken::new();
        let at_end = ended.clone();
        let serving = tokio::spawn(async move {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let service = service_fn(move |mut request: http::Request<Incoming>| {
                let held = at_end.clone().drop_guard();
                async move {
                    let client = hyper::upgrade::on(&mut request);
                    let (near, far) = tokio::io::duplex(1024);
                    let kubelet = tokio::spawn(deaf_kubelet(far));
                    let (mut sender, connection) =
                        hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
                    tokio::spawn(connection.with_upgrades());
                    let mut passed: http::Request<Body> = http::Request::new(full(""));
                    pass_headers(request.headers(), passed.headers_mut(), true, &[]);
                    let answer = sender.send_request(passed).await.unwrap();
                    let over = async move {
                        let _held = (held, kubelet.await);
                        pending().await
                    };
                    Ok::<_, Infallible>(join(Some(client), answer, "the kubelet", &[], over).unwrap())
                }
            });
            let http = http_server();
            http.serve_connection_with_upgrades(TokioIo::new(stream), service).await
        });
        let tls = pki::client_config(None, ca.pem(), &["http/1.1"]).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        let mut client = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap();
        let ask = b"GET /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
        client.write_all(ask).await.unwrap();
        let mut head = [0; 12];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        client.write_all(&[7; 32 << 10]).await.unwrap();
        client.flush().await.unwrap();
        let early = tokio::time::timeout(FAREWELL / 4, ended.cancelled()).await;
        assert!(early.is_err(), "the client is still there");
        drop(client);
        let soon = FAREWELL_MAX / 3;
        tokio::time::timeout(soon, ended.cancelled()).await.expect("the session outlives its client");
        serving.await.unwrap().unwrap();
    }
}
