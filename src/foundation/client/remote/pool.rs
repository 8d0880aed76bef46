//! Pools of connections: HTTP/2 or HTTP/1.1.

use super::body::Body;
use super::dial::{Dial, SILENT};
use super::ending::LastFailure;
use super::error::{Error, error_of, has_ended};
use super::location::resolve_location;
use super::retry::{is_read, was_kept, was_not_taken};
use crate::conn::Answered;
use crate::connections::{CONNECTION_WINDOW, Connections, STREAM_WINDOW};
use crate::kubeconfig::Target;
use bytes::Bytes;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use http::{Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A server that was silent for [`SILENT`] on an HTTP/2 connection is asked for a sign of life, and
/// given up when it gives none within this time (client-go's).
const NO_SIGN: Duration = Duration::from_secs(15);

/// Requests that a chain of redirects has at most (Go's `http.Client`).
const REDIRECTS: usize = 10;

/// A read is sent again so often at most because a kept connection has ended, and any request
/// because the server did not take it ...
const AGAIN_MAX: usize = 4;
/// ... the first time at once, then after this pause, which doubles (Go's).
const NOT_TAKEN_PAUSE: Duration = Duration::from_secs(1);

/// Headers of an answer at most, over HTTP/1.1. An API server sends one for each warning, some
/// hundreds, and has done what it warns of: an answer that cannot be read would hide that.
const HEADERS_MAX: usize = 1000;
/// Bytes of an answer's headers at most, over HTTP/2. Go's client reads 10 MiB.
const HEADER_BYTES_MAX: u32 = 1 << 20;

/// A pool of connections to one target. A watch holds a stream of an HTTP/2 connection until it
/// ends: when a connection has no free one, the next request opens another, as in Go. Over HTTP/1.1
/// each request has a connection of its own.
pub struct Http {
    connections: Connections<Dial, Full<Bytes>>,
    last: LastFailure,
    /// The server, with the credentials that it is asked with.
    pub target: Arc<Target>,
}

impl Http {
    /// Makes a pool without connections; the first request opens one.
    ///
    /// # Errors
    /// As [`Dial::new`].
    pub fn new(target: Target) -> Result<Http, Error> {
        Http::with_pings(target, SILENT, NO_SIGN)
    }

    /// Makes a pool that asks a server for a sign of life when it was silent for so long, and gives
    /// it up without one.
    fn with_pings(target: Target, silent: Duration, no_sign: Duration) -> Result<Http, Error> {
        let target = Arc::new(target);
        let dial = Dial::new(target.clone(), &["h2", "http/1.1"])?;
        let last = dial.last_failure().clone();
        let mut client = Client::builder(TokioExecutor::new());
        client
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new()) // closes a connection that is no longer used
            .http1_max_headers(HEADERS_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(silent)
            .http2_keep_alive_timeout(no_sign);
        let connections = Connections::new(move || client.build(dial.clone()));
        Ok(Http { connections, last, target })
    }

    /// Sends a request and returns when the head of the answer is there, whatever its status. A GET
    /// or HEAD over a kept connection of HTTP/1.1 that ends instead of an answer is sent again: the
    /// server may have closed the connection while the request was on its way. So is each request
    /// that the server says it did not take. Source: `shouldRetryRequest` in Go's net/http and
    /// http2.
    ///
    /// # Errors
    /// [`Error::Refused`]: nothing listens there. [`Error::Transport`]: the connection cannot be
    /// made, or broke off.
    pub fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'_, Result<Response<Body>, Error>> {
        Box::pin(async move {
            let mut again = if is_read(&request) { AGAIN_MAX } else { 0 };
            let (mut not_taken, mut pause) = (0, Duration::ZERO);
            loop {
                let (client, stream) = self.connections.stream();
                let error = match client.request(request.clone()).await {
                    Ok(answer) => {
                        if let Some(Answered(answered)) = answer.extensions().get::<Answered>() {
                            answered.store(true, Ordering::Relaxed);
                        }
                        return Ok(answer.map(|body| Body::new(body, Some(stream))));
                    }
                    Err(error) => error,
                };
                if again > 0 && was_kept(&error) && has_ended(&error) {
                    again -= 1;
                } else if not_taken < AGAIN_MAX && was_not_taken(&request, &error) {
                    drop(stream);
                    clock::pause(pause).await;
                    (not_taken, pause) = (not_taken + 1, NOT_TAKEN_PAUSE.max(pause * 2));
                } else {
                    return Err(self.failure(&error));
                }
            }
        })
    }

    /// Returns why a request has failed. Of one that the connection had not taken when it ended,
    /// hyper knows only that there is no connection.
    fn failure(&self, error: &legacy::Error) -> Error {
        let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
        let is_untaken =
            causes.any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled));
        match self.last.get().filter(|_| is_untaken) {
            Some(why) => Error::Transport(why),
            None => error_of(&self.target, error),
        }
    }

    /// As [`Http::send`]; a request that the server redirects to another path of its own is sent
    /// there, as Go's client does. A redirect to another server is returned as it is: the request
    /// has the user's credentials.
    ///
    /// | answer | GET, HEAD | other methods |
    /// |---|---|---|
    /// | 301, 302, 303 | again | as GET, without its body |
    /// | 307, 308 | again | again, with its body |
    ///
    /// Example: an API server redirects `…/services/web/proxy` to `…/services/web/proxy/`.
    ///
    /// # Errors
    /// As [`Http::send`]. [`Error::Transport`]: the redirects have no end.
    pub fn send_following(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> BoxFuture<'_, Result<Response<Body>, Error>> {
        Box::pin(async move {
            for _ in 0..REDIRECTS {
                let answer = self.send(request.clone()).await?;
                let Some(next) = redirected(request.uri(), &answer) else { return Ok(answer) };
                let is_same = matches!(answer.status().as_u16(), 307 | 308);
                if !is_same && !is_read(&request) {
                    *request.method_mut() = Method::GET;
                    *request.body_mut() = Full::default();
                    request.headers_mut().remove(header::CONTENT_TYPE);
                }
                *request.uri_mut() = next;
            }
            Err(Error::Transport(format!("stopped after {REDIRECTS} redirects")))
        })
    }
}

/// Bytes that Go escapes when it reads a `Location`, beside those that are no ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'<').add(b'>').add(b'`');

/// Returns the URI to which an answer redirects, if it is one of the same server.
fn redirected<B>(from: &Uri, answer: &Response<B>) -> Option<Uri> {
    let is_redirect = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = answer.headers().get(header::LOCATION).filter(|_| is_redirect)?;
    let location = percent_encode(location.as_bytes(), ESCAPED).to_string();
    if location.is_empty() {
        return None;
    }
    let next: Uri = resolve_location(from, &location).parse().ok()?;
    let is_own = next.scheme() == from.scheme() && next.authority() == from.authority();
    is_own.then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::STREAMS_MAX;
    use crate::testing;
    use crate::transport::Endpoint;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::{Frame, Incoming};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use pki::{Ca, Subject, server_config};
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers a path `/a/302?TO` with this status and the `Location` `TO`, and `/round/302` with
    /// its own. The header `asked` tells what was asked. Returns the address.
    async fn redirecting() -> (String, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let service = service_fn(|request: Request<Incoming>| async move {
                    let mut answer = Response::new(Full::<Bytes>::default());
                    let (folder, code) = request.uri().path().rsplit_once('/').unwrap();
                    if let Ok(code) = code.parse::<u16>() {
                        let to = if folder == "/round" { Some("302") } else { request.uri().query() };
                        let to = percent_encoding::percent_decode_str(to.unwrap_or_default());
                        let to = http::HeaderValue::from_bytes(&to.collect::<Vec<u8>>()).unwrap();
                        answer.headers_mut().insert(header::LOCATION, to);
                        *answer.status_mut() = http::StatusCode::from_u16(code).unwrap();
                    }
                    let (method, uri) = (request.method().clone(), request.uri().clone());
                    let length = request.into_body().collect().await.unwrap().to_bytes().len();
                    let asked = format!("{method} {uri} {length}").parse().unwrap();
                    answer.headers_mut().insert("asked", asked);
                    Ok::<_, Infallible>(answer)
                });
                let mut connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.keep_alive(false).serve_connection(TokioIo::new(tcp), service).await;
            }
        });
        (host, server)
    }

    #[tokio::test]
    async fn a_request_is_redirected_as_go_does_and_within_its_server_alone() {
        let (host, server) = redirecting().await;
        let http = Http::new(Target::anybody("http", &host)).unwrap();
        let ask = async |method: &str, path: &str, body: &'static str| {
            let request = Request::builder().method(method).uri(format!("http://{host}{path}"));
            let request = request.body(Full::from(body)).unwrap();
            let answer = http.send_following(request).await.map_err(|error| error.to_string())?;
            let asked = answer.headers()["asked"].to_str().unwrap();
            Ok::<_, String>(format!("{} {asked}", answer.status().as_u16()))
        };
        let whole = format!("/a/301?http://{host}/c");
        let other = format!("/a/301?https://{host}/c"); // the same port, with another protocol
        let kept = format!("301 GET {other} 0");
        for (method, path, body, asked) in [
            ("GET", "/a/301?/c/%3Fa=b", "", "200 GET /c/?a=b 0"),
            ("HEAD", "/a/308?/c", "", "200 HEAD /c 0"),
            ("GET", whole.as_str(), "", "200 GET /c 0"),
            ("GET", "/a/302?../c%20d", "", "200 GET /c%20d 0"),
            ("GET", "/a/302?%ED%95%9C", "", "200 GET /a/%ED%95%9C 0"),
            ("POST", "/a/303?c", "x", "200 GET /a/c 0"),
            ("DELETE", "/a/307?c", "", "200 DELETE /a/c 0"),
            ("POST", "/a/307?c", "x", "200 POST /a/c 1"),
            ("PATCH", "/a/308?/c", "xy", "200 PATCH /c 2"),
            ("GET", "/a/304?c", "", "304 GET /a/304?c 0"),
            ("GET", "/a/302?", "", "302 GET /a/302? 0"),
            ("GET", "/a/302?http://192.0.2.1/", "", "302 GET /a/302?http://192.0.2.1/ 0"),
            ("GET", "/a/302?//192.0.2.1/", "", "302 GET /a/302?//192.0.2.1/ 0"),
            ("GET", other.as_str(), "", kept.as_str()),
        ] {
            assert_eq!(ask(method, path, body).await, Ok(asked.to_string()), "{method} {path}");
        }
        let endless = ask("GET", "/round/302", "").await.unwrap_err();
        assert_eq!(endless, "Unable to connect to the server: stopped after 10 redirects");
        server.abort();
    }

    /// Makes a pool for a server of `testing`, over HTTP/2.
    fn pool_for(server: Endpoint) -> Http {
        let host = server.servers[0].to_string();
        let target = Target {
            ca_pem: Some(server.ca_pem.into_bytes()),
            server_name: Some(server.server_name),
            ..Target::anybody("https", &host)
        };
        Http::new(target).unwrap()
    }

    async fn get(http: &Http, path: &str) -> Response<Body> {
        let request = Request::get(format!("{}{path}", http.target.url()));
        http.send(request.body(Full::default()).unwrap()).await.unwrap()
    }

    /// As the browser of a dashboard behind `kubectl proxy` has them.
    #[tokio::test]
    async fn more_watches_than_one_connection_carries_keep_no_request_waiting() {
        let http = pool_for(testing::watched(STREAMS_MAX as u32).await);
        let ask = async |path: &str| {
            let answer = tokio::time::timeout(Duration::from_secs(30), get(&http, path)).await;
            answer.expect("no stream is free for it").into_body()
        };
        let mut watches = vec![];
        for _ in 0..2 * STREAMS_MAX + 50 {
            watches.push(ask("/api/v1/nodes?watch=true").await);
        }
        assert!(ask("/api/v1/nodes/n").await.collect().await.is_ok());
        assert_eq!(http.connections.streams(), [100, 100, 50], "its stream has ended");
        watches.truncate(1);
        assert_eq!(http.connections.streams(), [1, 0, 0]);
    }

    /// A server may close a kept connection while the next request is on its way. A write may have
    /// been done then.
    #[tokio::test]
    async fn a_read_is_sent_again_when_a_kept_connection_ends() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let came = Arc::new(AtomicUsize::new(0));
        let counted = came.clone();
        let server = tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let counted = counted.clone();
                tokio::spawn(async move {
                    let answer = &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..];
                    for answer in [answer, b""] {
                        let length = tcp.read(&mut vec![0; 4096]).await.unwrap_or(0);
                        counted.fetch_add(usize::from(length > 0), Ordering::SeqCst);
                        tcp.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        let http = Http::new(Target::anybody("http", &host)).unwrap();
        let ask = async |method: Method| {
            let request = Request::builder().method(method).uri(format!("http://{host}/"));
            let answer = http.send(request.body(Full::default()).unwrap()).await;
            let body = answer.map_err(|error| error.to_string())?.into_body().collect().await;
            for _ in 0..100 {
                tokio::task::yield_now().await; // until the pool has the connection
            }
            Ok::<_, String>(body.unwrap().to_bytes())
        };
        for requests in [1, 3] {
            assert_eq!(ask(Method::GET).await.unwrap(), "ok");
            assert_eq!(came.load(Ordering::SeqCst), requests);
        }
        assert_eq!(ask(Method::POST).await.unwrap_err(), "Unable to connect to the server: EOF");
        assert_eq!(came.load(Ordering::SeqCst), 4);
        server.abort();
    }

    /// `kubectl logs -f` in a pager, through `kubectl proxy` or on a foreign cluster.
    #[tokio::test]
    async fn answers_that_no_caller_reads_stay_whole_and_hold_up_no_other() {
        const LINE: &[u8] = b"a line of a log\n";
        const LINES: usize = 20_000;
        let server = testing::serve(STREAMS_MAX as u32, |request| {
            let (piece, times) = match request.uri().path() {
                "/large" => (Bytes::from(vec![b'x'; 64 << 10]), 64),
                "/lines" => (Bytes::from_static(LINE), LINES),
                _ => (Bytes::from_static(b"ok"), 1),
            };
            let pieces = std::iter::repeat_n(piece, times);
            let pieces = futures::stream::iter(pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece))));
            std::future::ready(Ok(Response::new(StreamBody::new(pieces))))
        });
        let http = pool_for(server.await);
        let lines = get(&http, "/lines").await.into_body();
        let mut large = vec![];
        for _ in 0..4 {
            large.push(get(&http, "/large").await.into_body());
        }
        clock::pause(Duration::from_millis(500)).await; // all has come that comes without a reader
        let other = async { get(&http, "/").await.into_body().collect().await.unwrap().to_bytes() };
        let other = tokio::time::timeout(Duration::from_secs(20), other).await;
        assert_eq!(other.expect("it waits for the readers of the others"), "ok");
        let lines = lines.collect().await.expect("the connection goes on").to_bytes();
        assert_eq!(lines.len(), LINES * LINE.len());
    }

    /// As to a manifest with as many unknown fields.
    fn warned() -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::default());
        for number in 0..300 {
            let text = format!("299 - \"unknown field \\\"spec.field{number}\\\"\"");
            answer.headers_mut().append(header::WARNING, text.parse().unwrap());
        }
        answer
    }

    #[tokio::test]
    async fn an_answer_may_have_hundreds_of_warnings() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let service =
                service_fn(|_: Request<Incoming>| std::future::ready(Ok::<_, Infallible>(warned())));
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(tcp), service).await; // the client may hang up
        });
        let plain = Http::new(Target::anybody("http", &host)).unwrap();
        let over_http2 = testing::serve(STREAMS_MAX as u32, |_| std::future::ready(Ok(warned()))).await;
        for http in [plain, pool_for(over_http2)] {
            let answer = get(&http, "/").await;
            let warnings = answer.headers().get_all(header::WARNING).iter().count();
            assert_eq!(warnings, 300, "{}", http.target.url());
        }
        server.abort();
    }

    /// The machine of the server is gone: nothing comes any more, not even the end of the
    /// connection.
    #[tokio::test]
    async fn a_watch_on_a_server_that_is_gone_ends() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "test").unwrap();
        let identity = ca.issue(&Subject::server("silent", &["silent"])).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(server_config(&identity, ca.pem()).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            scheme: "https".into(),
            host: listener.local_addr().unwrap().to_string(),
            ca_pem: Some(ca.pem().as_bytes().to_vec()),
            server_name: Some("silent".into()),
            ..Target::default()
        };
        let server = tokio::spawn(async move {
            let tls = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (came, mut comes) = tokio::sync::mpsc::unbounded_channel();
            let service = service_fn(move |_: Request<Incoming>| {
                let _ = came.send(());
                std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
            });
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let connection = http.serve_connection(TokioIo::new(tls), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = &mut connection => panic!("the client left"),
                _ = comes.recv() => {}
            }
            // The request has come, and from here on neither side reads or writes.
            std::future::pending::<()>().await;
        });
        let http = Http::with_pings(target, Duration::from_millis(200), Duration::from_millis(200)).unwrap();
        let url = format!("https://{}/api/v1/pods?watch=true", http.target.host);
        let sent = http.send(Request::get(url).body(Full::default()).unwrap());
        let sent = tokio::time::timeout(Duration::from_secs(20), sent).await.expect("an end");
        assert!(sent.is_err_and(|error| matches!(error, Error::Transport(_))));
        server.abort();
    }
}
