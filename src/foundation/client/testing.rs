//! Servers for tests: one that takes every request and answers none, one that answers each the
//! same, one whose watches never end, and one that answers what a test says and keeps what it was
//! asked; and a log that a test can read.

use super::api_client::Client;
use super::transport::{Endpoint, direct};
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use pki::{Ca, Subject, server_config};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};

type Request = http::Request<hyper::body::Incoming>;
type Response<B = Full<Bytes>> = Result<http::Response<B>, Infallible>;

/// Streams that a server permits on one connection, where a test does not say.
const STREAMS_MAX: u32 = 250;
/// How long a test waits, in real time, for a request that has to come.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Takes every request and answers none.
pub async fn silent() -> Endpoint {
    serve(STREAMS_MAX, |_| std::future::pending::<Response>()).await
}

/// Answers every request with `body`, sent in one piece.
pub async fn saying(body: impl Into<Bytes>) -> Endpoint {
    let body = body.into();
    let answer = move |_| std::future::ready(Ok(http::Response::new(Full::new(body.clone()))));
    serve(STREAMS_MAX, answer).await
}

/// Permits so many streams on one connection. A watch gets the head of an answer and no event; what
/// is asked for otherwise is an object of the name `n`.
pub async fn watched(streams: u32) -> Endpoint {
    let answer = |request: Request| {
        let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let body = match watch {
            true => Either::Left(StreamBody::new(futures::stream::pending::<Frame>())),
            false => Either::Right(Full::from(json!({"metadata": {"name": "n"}}).to_string())),
        };
        std::future::ready(Ok(http::Response::new(body)))
    };
    serve(streams, answer).await
}

type Frame = Result<hyper::body::Frame<Bytes>, Infallible>;

/// Answers each request as `answer` says, over HTTP/2.
pub(crate) async fn serve<F, B>(
    streams: u32,
    answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
) -> Endpoint
where
    F: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
{
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "test").unwrap();
    let identity = ca.issue(&Subject::server("silent", &["silent"])).unwrap();
    let acceptor = TlsAcceptor::from(server_config(&identity, ca.pem()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let tls = acceptor.accept(tcp).await.unwrap();
                let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                http.max_concurrent_streams(streams);
                // The client may hang up.
                let _ = http.serve_connection(TokioIo::new(tls), service_fn(answer)).await;
            });
        }
    });
    Endpoint {
        servers: vec![address],
        server_name: "silent".into(),
        ca_pem: ca.pem().to_string(),
        identity: None,
        user_agent: "test".into(),
        dial: direct(),
    }
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and path, without the query: `GET /api/v1/nodes/a`.
    pub line: String,
    /// The request's JSON; `null` without a body.
    pub body: Value,
}

/// A server that answers what the test says, and the requests that it was sent, in order.
#[derive(Clone)]
pub struct Scripted {
    /// Sends to this server.
    pub client: Client,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Notified of each request that was added to `asked`.
    more: Arc<Notify>,
}

impl Scripted {
    /// `answer` gives a code and a body for each request; `None`: 200 and an object with nothing in
    /// it, or an empty list.
    pub async fn new(answer: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static) -> Scripted {
        let (asked, more): (Arc<Mutex<Vec<Asked>>>, Arc<Notify>) = Default::default();
        let (kept, news, answer) = (asked.clone(), more.clone(), Arc::new(answer));
        let endpoint = serve(STREAMS_MAX, move |request: Request| {
            let (kept, news, answer) = (kept.clone(), news.clone(), answer.clone());
            async move {
                let line = format!("{} {}", request.method(), request.uri().path());
                let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                let asked = Asked { line, body: serde_json::from_slice(&body).unwrap_or_default() };
                let (code, body) = answer(&asked).unwrap_or((200, json!({"metadata": {}, "items": []})));
                kept.lock().push(asked);
                news.notify_waiters();
                let mut answer =
                    http::Response::builder().status(code).header("content-type", "application/json");
                if let Some(seconds) = body["details"]["retryAfterSeconds"].as_u64() {
                    answer = answer.header("retry-after", seconds); // as the API server does
                }
                Ok(answer.body(Full::from(body.to_string())).unwrap())
            }
        })
        .await;
        Scripted { client: Client::connect(endpoint).unwrap(), asked, more }
    }

    /// Returns what it was asked since the last call, Events left out.
    pub fn take(&self) -> Vec<Asked> {
        let mut all = self.asked.lock();
        let (events, others) =
            std::mem::take(&mut *all).into_iter().partition(|a| a.line.contains("/events"));
        *all = events;
        others
    }

    /// Returns what it was asked about Events.
    pub fn events(&self) -> Vec<Asked> {
        self.asked.lock().iter().filter(|a| a.line.contains("/events")).cloned().collect()
    }

    /// Waits until `find` finds what it looks for in the requests since the last call of
    /// [`Scripted::take`], with those about Events, and returns that. All of them are kept.
    ///
    /// # Panics
    /// It was not found within [`WAIT_MAX`].
    pub async fn until<T>(&self, find: impl Fn(&[Asked]) -> Option<T>) -> T {
        let wait = async {
            loop {
                let more = self.more.notified(); // before the look: no request is missed in between
                let all = self.asked.lock().clone(); // `find` may ask this server for more
                match find(&all) {
                    Some(found) => return found,
                    None => more.await,
                }
            }
        };
        let found = tokio::time::timeout(WAIT_MAX, wait).await;
        found.unwrap_or_else(|_| panic!("not what was waited for: {:?}", self.asked.lock()))
    }

    /// Waits for a request with this method and path since the last call of [`Scripted::take`], and
    /// returns it.
    ///
    /// # Panics
    /// As [`Scripted::until`].
    pub async fn until_asked(&self, line: &str) -> Asked {
        self.until(|all| all.iter().find(|asked| asked.line == line).cloned()).await
    }

    /// Waits for an Event with this reason and returns its message.
    ///
    /// # Panics
    /// As [`Scripted::until`].
    pub async fn event(&self, reason: &str) -> String {
        let event = self.until(|all| all.iter().find(|a| a.body["reason"] == reason).cloned()).await;
        event.body["message"].as_str().unwrap_or_default().to_string()
    }

    /// Returns method and path of what it was asked since the last call.
    pub fn lines(&self) -> Vec<String> {
        self.take().into_iter().map(|asked| asked.line).collect()
    }
}

/// Returns the answer of an API server that refuses.
pub fn refusal(code: u16, reason: &str) -> Option<(u16, Value)> {
    Some((
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": reason}),
    ))
}

/// A second subscriber, for as long as the process lives. With a single one, tracing asks the
/// thread that meets a place in the code first whether it is of interest, and that may be a test
/// beside this one, which listens to nothing.
static SECOND: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));

/// What was logged on this thread.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<(tracing::Level, String)>>>);

impl Log {
    /// Keeps what is logged on this thread until the guard is dropped.
    pub fn listen(&self) -> tracing::subscriber::DefaultGuard {
        LazyLock::force(&SECOND);
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    /// Returns the texts that were logged as warnings, in order.
    pub fn warnings(&self) -> Vec<String> {
        let all = self.0.lock();
        all.iter().filter(|(level, _)| *level == tracing::Level::WARN).map(|(_, text)| text.clone()).collect()
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().push((*event.metadata().level(), text.0));
    }
}
