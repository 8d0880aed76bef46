//! HTTP/2 over TLS over a socket that a [`Dialer`] makes.

use super::conn::Conn;
use super::connections::{Answer, CONNECTION_WINDOW, Connections, STREAM_WINDOW};
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections from some network namespace.
pub type Dialer = Arc<dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>;

/// Returns connections from the network namespace that this program runs in.
pub fn direct() -> Dialer {
    Arc::new(|to| Box::pin(TcpStream::connect(to)))
}

/// The header that carries a [`Cause`](tap::Cause).
pub const CAUSE_HEADER: &str = "ropewalk-cause";

/// Where an API server is and who is asking.
#[derive(Clone)]
pub struct Endpoint {
    /// The API servers. They are tried in this order until one answers.
    pub servers: Vec<SocketAddr>,
    /// The name that the server's certificate must have.
    pub server_name: String,
    /// Certificates of the authorities that the server's certificate may come from.
    pub ca_pem: String,
    /// The client's certificate and key; `None`: it is anonymous.
    pub identity: Option<pki::Identity>,
    /// e.g. `kube-scheduler/v1.35.0`.
    pub user_agent: String,
    /// Opens the TCP connections, e.g. from a node's network namespace.
    pub dial: Dialer,
}

/// A connection that does not come about in this time is given up and the next server tried.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection on which nothing answers is found dead after at most ping + wait.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_WAIT: Duration = Duration::from_secs(3);
/// A server that has taken a request and says nothing, not even the head of an answer, is given up
/// after this: longer than any request may take there (60 s, as upstream). What follows the head, a
/// watch or a log, may take as long as it likes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(70);
/// How often a request is repeated whose answer names a time to wait (`Retry-After`).
const RETRIES_MAX: u32 = 10;
/// The longest wait before one repetition.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Bytes that may arrive in one piece. An API server sends what one revision did together, and a
/// component should see it together: with half of a rewind in sight a ReplicaSet looks short of
/// pods. HTTP/2's own default is 16 KiB, three pods.
const PIECE_MAX: u32 = 1 << 20;

pub(super) struct Transport {
    connections: Connections<Connector, Body>,
    user_agent: HeaderValue,
    answer_timeout: Duration,
}

impl Transport {
    pub(super) fn tls(endpoint: Endpoint) -> Result<Transport, pki::Error> {
        let connector = Connector {
            servers: endpoint.servers.into(),
            name: pki::server_name(&endpoint.server_name)?,
            tls: TlsConnector::from(pki::client_config(
                endpoint.identity.as_ref(),
                &endpoint.ca_pem,
                &["h2"],
            )?),
            dial: endpoint.dial,
        };
        let mut http = Http::builder(TokioExecutor::new());
        http.http2_only(true)
            .timer(TokioTimer::new())
            // Closes a connection that is no longer used. Without it, one that was opened for a
            // burst of requests would stay.
            .pool_timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_WAIT)
            .http2_max_frame_size(PIECE_MAX)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW);
        let connections = Connections::new(move || http.build(connector.clone()));
        let user_agent = HeaderValue::from_str(&endpoint.user_agent)
            .unwrap_or_else(|_| HeaderValue::from_static("ropewalk"));
        Ok(Transport { connections, user_agent, answer_timeout: ANSWER_TIMEOUT })
    }

    /// Returns the tower service that kube-rs sends its requests through.
    pub(super) fn service(
        self: &Arc<Self>,
        cause: Option<String>,
    ) -> impl tower::Service<
        Request<Body>,
        Response = Response<Answer>,
        Error = BoxError,
        Future = BoxFuture<'static, Result<Response<Answer>, BoxError>>,
    > + Send
    + 'static {
        let transport = self.clone();
        let cause = cause.and_then(|c| HeaderValue::from_str(&c).ok());
        tower::service_fn(move |mut request: Request<Body>| {
            let transport = transport.clone();
            let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
            if let Ok(uri) = format!("https://ropewalk{path}").parse::<Uri>() {
                *request.uri_mut() = uri;
            }
            request.headers_mut().insert(http::header::USER_AGENT, transport.user_agent.clone());
            if let Some(cause) = &cause {
                request.headers_mut().insert(CAUSE_HEADER, cause.clone());
            }
            Box::pin(async move { transport.ask(request).await })
                as BoxFuture<'static, Result<Response<Answer>, BoxError>>
        })
    }
}

impl Transport {
    /// Streams in use, one number for each connection.
    #[cfg(test)]
    pub(super) fn streams(&self) -> Vec<usize> {
        self.connections.streams()
    }

    /// Asks until the answer is another one than "come again later", as client-go does: that answer
    /// says that nothing was done.
    async fn ask(&self, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        let (head, mut body) = request.into_parts();
        let is_watch = head.uri.query().is_some_and(|query| query.contains("watch=true"));
        let mut tries = RETRIES_MAX;
        loop {
            // A body that is a stream can be sent once.
            let (again, sent) = match body.try_clone() {
                Some(copy) => (Some(copy), body),
                None => (None, body),
            };
            let (http, stream) = self.connections.stream();
            let request = http.request(Request::from_parts(head.clone(), sent));
            let answer = match tokio::time::timeout(self.answer_timeout, request).await {
                Ok(answer) => {
                    let answer = answer?;
                    let is_open = is_watch && answer.status().is_success();
                    answer.map(|body| Answer::new(body, stream, is_open))
                }
                Err(_) => {
                    return Err(
                        io::Error::new(io::ErrorKind::TimedOut, "the API server does not answer").into()
                    );
                }
            };
            match (again, retry_after(&answer)) {
                (Some(copy), Some(pause)) if tries > 0 => {
                    tries -= 1;
                    body = copy;
                    drop(answer);
                    clock::pause(pause).await;
                }
                _ => return Ok(answer),
            }
        }
    }
}

/// Returns how long a server that cannot take a request now asks to wait, at most
/// [`RETRY_AFTER_MAX`]. As with client-go only codes 429 and 5xx count, and a time in seconds.
fn retry_after<B>(answer: &Response<B>) -> Option<Duration> {
    let code = answer.status();
    if code != http::StatusCode::TOO_MANY_REQUESTS && !code.is_server_error() {
        return None;
    }
    let seconds = answer.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[derive(Clone)]
struct Connector {
    servers: Arc<[SocketAddr]>,
    name: rustls::pki_types::ServerName<'static>,
    tls: TlsConnector,
    dial: Dialer,
}

impl Connector {
    async fn connect(self) -> io::Result<Conn<TlsStream<TcpStream>>> {
        let mut last = io::Error::new(io::ErrorKind::NotConnected, "no API server is configured");
        for server in self.servers.iter() {
            let attempt = async {
                let tcp = (self.dial)(*server).await?;
                tcp.set_nodelay(true)?;
                self.tls.connect(self.name.clone(), tcp).await
            };
            match tokio::time::timeout(DIAL_TIMEOUT, attempt).await {
                Ok(Ok(tls)) => return Ok(Conn::new(tls, true)),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{server} does not answer")),
            }
        }
        Err(last)
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Conn<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Conn<TlsStream<TcpStream>>>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Client, testing};
    use super::*;
    use http_body_util::BodyExt;
    use k8s_openapi::api::core::v1::Node;

    #[tokio::test]
    async fn what_is_sent_in_one_piece_arrives_in_one_piece() {
        const LENGTH: usize = 900 << 10;
        let mut transport = Transport::tls(testing::saying(vec![b'x'; LENGTH]).await).unwrap();
        transport.answer_timeout = Duration::from_secs(20);
        let transport = Arc::new(transport);
        for _ in 0..4 {
            let request = Request::get("/").body(Body::empty()).unwrap();
            let answer = tower::ServiceExt::oneshot(transport.service(None), request).await.unwrap();
            let mut body = answer.into_body();
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(first.len(), LENGTH);
        }
    }

    #[tokio::test]
    async fn a_server_that_takes_a_request_and_says_nothing_is_given_up() {
        let mut transport = Transport::tls(testing::silent().await).unwrap();
        transport.answer_timeout = Duration::from_millis(200);
        let client = Client::over(Arc::new(transport));
        let nodes = client.cluster::<Node>();
        let asked = tokio::time::timeout(Duration::from_secs(20), nodes.get("n")).await;
        let error = asked.expect("it waits for ever").unwrap_err();
        let kube::Error::Service(error) = error else { panic!("{error}") };
        assert_eq!(error.to_string(), "the API server does not answer");
    }

    #[tokio::test]
    async fn a_request_that_is_to_come_again_later_is_sent_again() {
        let refused = std::sync::atomic::AtomicBool::new(false);
        let server = testing::Scripted::new(move |_| {
            let first = !refused.swap(true, std::sync::atomic::Ordering::Relaxed);
            let (code, mut body) = testing::refusal(429, "TooManyRequests")?;
            body["details"] = serde_json::json!({"retryAfterSeconds": 1});
            first.then_some((code, body))
        })
        .await;
        let node = Node {
            metadata: kube::api::ObjectMeta { name: Some("n".into()), ..Default::default() },
            ..Default::default()
        };
        server.client.cluster::<Node>().create(&Default::default(), &node).await.unwrap();
        let asked = server.take();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[0].body, asked[1].body, "the body is sent again, too");
        assert_eq!(asked[1].body["metadata"]["name"], "n");
    }

    #[test]
    fn only_a_server_that_is_busy_is_asked_again() {
        let after = |code: u16, header: Option<&str>| {
            let mut answer = Response::builder().status(code);
            if let Some(header) = header {
                answer = answer.header("retry-after", header);
            }
            retry_after(&answer.body(()).unwrap()).map(|pause| pause.as_secs())
        };
        assert_eq!(after(429, Some("2")), Some(2));
        assert_eq!(after(503, Some("99999999999")), Some(30));
        for (code, header) in
            [(429, None), (409, Some("2")), (503, Some("-1")), (503, Some("Wed, 25 Nov 2026 00:00:00 GMT"))]
        {
            assert_eq!(after(code, header), None, "{code} {header:?}");
        }
    }
}
