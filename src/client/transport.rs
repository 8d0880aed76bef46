//! HTTP/2 over TLS over a socket that somebody else makes.

use super::{CAUSE_HEADER, Endpoint};
use crate::pki;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::Body;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes connections from some network namespace.
pub type Dialer = Arc<dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>;

/// Connections from the network namespace that this program runs in.
pub fn direct() -> Dialer {
    Arc::new(|to| Box::pin(TcpStream::connect(to)))
}

/// A connection that does not come about in this time is given up and the next server tried.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection on which nothing answers is found dead after at most ping + wait.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_WAIT: Duration = Duration::from_secs(3);

pub(super) struct Transport {
    http: Http<Connector, Body>,
    user_agent: HeaderValue,
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
        let http = Http::builder(TokioExecutor::new())
            .http2_only(true)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_WAIT)
            .http2_adaptive_window(true)
            .build(connector);
        let user_agent = HeaderValue::from_str(&endpoint.user_agent)
            .unwrap_or_else(|_| HeaderValue::from_static("ropewalk"));
        Ok(Transport { http, user_agent })
    }

    /// The tower service that kube-rs sends its requests through.
    pub(super) fn service(
        self: &Arc<Self>,
        cause: Option<String>,
    ) -> impl tower::Service<
        Request<Body>,
        Response = Response<Incoming>,
        Error = hyper_util::client::legacy::Error,
        Future = BoxFuture<'static, Result<Response<Incoming>, hyper_util::client::legacy::Error>>,
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
            Box::pin(async move { transport.http.request(request).await })
                as BoxFuture<'static, Result<Response<Incoming>, hyper_util::client::legacy::Error>>
        })
    }
}

#[derive(Clone)]
struct Connector {
    servers: Arc<[SocketAddr]>,
    name: rustls::pki_types::ServerName<'static>,
    tls: TlsConnector,
    dial: Dialer,
}

impl Connector {
    async fn connect(self) -> io::Result<Conn> {
        let mut last = io::Error::new(io::ErrorKind::NotConnected, "no API server is configured");
        for server in self.servers.iter() {
            let attempt = async {
                let tcp = (self.dial)(*server).await?;
                tcp.set_nodelay(true)?;
                self.tls.connect(self.name.clone(), tcp).await
            };
            match tokio::time::timeout(DIAL_TIMEOUT, attempt).await {
                Ok(Ok(tls)) => return Ok(Conn(TokioIo::new(tls))),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{server} does not answer")),
            }
        }
        Err(last)
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Conn;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Conn>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// A TLS connection as hyper wants it.
pub(super) struct Conn(TokioIo<TlsStream<TcpStream>>);

impl Connection for Conn {
    fn connected(&self) -> Connected {
        Connected::new().negotiated_h2()
    }
}

impl Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
