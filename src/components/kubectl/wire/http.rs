//! Connections: HTTP/2 or HTTP/1.1 over TLS or plain TCP.

use super::target::Target;
use super::tls;
use crate::error::Fail;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use linux::tcp::keep_alive;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsConnector;

/// A server that accepts no connection in this time is given up (client-go's).
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that does not finish TLS's greeting in this time is given up too (client-go's).
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that was silent for the first time on an HTTP/2 connection is asked for a sign of life,
/// and given up when it gives none within the second (client-go's). The first is TCP's keep-alive,
/// too, which every protocol has.
const SILENT: Duration = Duration::from_secs(30);
const NO_SIGN: Duration = Duration::from_secs(15);

/// A connection that can be read and written: TCP, or TLS over it.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Opens connections to one target.
#[derive(Clone)]
pub struct Dial {
    target: Arc<Target>,
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Dial {
    /// Prepares connections to a target; `alpn` as in [`tls::client`]. Nothing is connected yet.
    ///
    /// # Errors
    /// As [`tls::client`], for an `https` target.
    pub fn new(target: Arc<Target>, alpn: &[&str]) -> Result<Dial, Fail> {
        let tls = match target.scheme.as_str() {
            "https" => Some(tls::client(&target, alpn)?),
            _ => None,
        };
        Ok(Dial { target, tls })
    }

    /// The TCP connection, and the name of the host.
    async fn reach(&self) -> io::Result<(TcpStream, &str)> {
        let host = self.target.host.as_str();
        let default = if self.tls.is_some() { "443" } else { "80" };
        let (name, address) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, format!("{name}:{port}")),
            _ => (host, format!("{host}:{default}")),
        };
        let timed_out =
            || io::Error::new(io::ErrorKind::TimedOut, format!("dial tcp {address}: i/o timeout"));
        let tcp = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(&address))
            .await
            .map_err(|_| timed_out())?
            .map_err(|e| dial_error(e, name, &address))?;
        tcp.set_nodelay(true)?;
        keep_alive(&tcp, SILENT)?;
        Ok((tcp, name))
    }

    /// Opens a connection; returns it, and whether HTTP/2 was agreed on.
    ///
    /// # Errors
    /// `ConnectionRefused`: nothing listens there. All others have Go's words: the host has no
    /// address, does not accept within [`DIAL_TIMEOUT`] or [`TLS_TIMEOUT`], or its certificate is
    /// not trusted. [`fail_of`] makes a [`Fail`] of it.
    pub async fn connect(&self) -> io::Result<(Box<dyn Duplex>, bool)> {
        let (tcp, name) = self.reach().await?;
        let Some(tls) = &self.tls else {
            return Ok((Box::new(tcp), false));
        };
        let name =
            self.target.server_name.clone().unwrap_or_else(|| name.trim_matches(['[', ']']).to_string());
        let name = rustls::pki_types::ServerName::try_from(name)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let greeting = TlsConnector::from(tls.clone()).connect(name, tcp);
        let stream = tokio::time::timeout(TLS_TIMEOUT, greeting)
            .await
            .map_err(|_| io::Error::other("net/http: TLS handshake timeout"))?
            .map_err(tls_error)?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), h2))
    }
}

/// In Go's words; "connection refused" keeps its kind, which is told differently.
fn dial_error(error: io::Error, name: &str, address: &str) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => error,
        _ if error.raw_os_error().is_none() => {
            io::Error::other(format!("dial tcp: lookup {name}: no such host"))
        }
        _ => io::Error::other(format!("dial tcp {address}: connect: {}", lower(&error))),
    }
}

fn lower(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn tls_error(error: io::Error) -> io::Error {
    use rustls::{CertificateError, Error};
    let certificate = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    let why = match certificate {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".into()
        }
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "tls: failed to verify certificate: x509: certificate has expired or is not yet valid".into(),
        Some(other) => format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".into(),
        None => lower(&error),
    };
    io::Error::other(why)
}

impl tower::Service<Uri> for Dial {
    type Response = Conn;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Conn>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let (io, h2) = dial.connect().await?;
            Ok(Conn { io: TokioIo::new(io), h2 })
        })
    }
}

/// A connection as hyper wants it.
pub struct Conn {
    io: TokioIo<Box<dyn Duplex>>,
    h2: bool,
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        if self.h2 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Conn {
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

/// A pool of connections to one target.
pub(crate) struct Http {
    client: Client<Dial, Full<Bytes>>,
    pub target: Arc<Target>,
}

impl Http {
    /// A pool without connections; the first request opens one.
    ///
    /// # Errors
    /// As [`Dial::new`].
    pub(crate) fn new(target: Target) -> Result<Http, Fail> {
        Http::with_pings(target, SILENT, NO_SIGN)
    }

    /// A server that is silent for so long is asked for a sign of life, and given up without one.
    fn with_pings(target: Target, silent: Duration, no_sign: Duration) -> Result<Http, Fail> {
        let target = Arc::new(target);
        let dial = Dial::new(target.clone(), &["h2", "http/1.1"])?;
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(silent)
            .http2_keep_alive_timeout(no_sign)
            .build(dial);
        Ok(Http { client, target })
    }

    /// Sends a request and returns when the head of the answer is there, whatever its status.
    ///
    /// # Errors
    /// [`Fail::Refused`]: nothing listens there. [`Fail::Transport`]: the connection cannot be
    /// made, or broke off.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Fail> {
        self.client.request(request).await.map_err(|error| fail_of(&self.target, &error))
    }
}

/// The body of an answer. It fails when the time of its request is over.
pub(crate) struct Body {
    inner: Incoming,
    over: Option<Pin<Box<Sleep>>>,
    target: Arc<Target>,
}

impl Body {
    /// A body that fails at `until`; `None`: it has all the time.
    pub(crate) fn new(inner: Incoming, until: Option<Instant>, target: &Arc<Target>) -> Body {
        let over = until.map(|until| Box::pin(tokio::time::sleep_until(until)));
        Body { inner, over, target: target.clone() }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fail;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Fail>>> {
        let body = self.get_mut();
        if body.over.as_mut().is_some_and(|over| over.as_mut().poll(cx).is_ready()) {
            let why = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
            return Poll::Ready(Some(Err(Fail::Transport(why.into()))));
        }
        let frame = Pin::new(&mut body.inner).poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(|error| fail_of(&body.target, &error))))
    }
}

/// What a failed connection is called.
pub(crate) fn fail_of(target: &Target, error: &(dyn std::error::Error + 'static)) -> Fail {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut deepest = error.to_string();
    while let Some(here) = cause {
        if let Some(io) = here.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return Fail::Refused(target.host.clone());
            }
            if io.kind() == io::ErrorKind::UnexpectedEof {
                return Fail::Transport("EOF".into());
            }
        }
        deepest = here.to_string();
        cause = here.source();
    }
    Fail::Transport(deepest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;
    use hyper::service::service_fn;
    use nix::sys::socket::{getsockopt, sockopt};
    use pki::{Ca, Subject, server_config};
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
            // The request has come, and from here on nobody reads or writes.
            std::future::pending::<()>().await;
        });
        let http = Http::with_pings(target, Duration::from_millis(200), Duration::from_millis(200)).unwrap();
        let url = format!("https://{}/api/v1/pods?watch=true", http.target.host);
        let sent = http.send(Request::get(url).body(Full::default()).unwrap());
        let sent = tokio::time::timeout(Duration::from_secs(20), sent).await.expect("an end");
        assert!(sent.is_err_and(|fail| matches!(fail, Fail::Transport(_))));
        server.abort();
    }

    /// Over HTTP/1.1, and for `exec` and `port-forward`, the kernel looks whether the server is
    /// there.
    #[tokio::test]
    async fn every_connection_is_probed_by_the_kernel() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let target = Arc::new(Target { scheme: "http".into(), host, ..Target::default() });
        let dial = Dial::new(target, &[]).unwrap();
        let (tcp, _) = dial.reach().await.unwrap();
        assert!(getsockopt(&tcp, sockopt::KeepAlive).unwrap());
        assert_eq!(getsockopt(&tcp, sockopt::TcpKeepIdle).unwrap(), SILENT.as_secs() as u32);
    }

    #[tokio::test]
    async fn the_time_limit_of_a_request_is_also_of_its_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Server::start().await;
        server.address = listener.local_addr().unwrap().to_string();
        let silent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun";
            stream.write_all(begun).await.unwrap();
            let _ = stream.read_to_end(&mut request).await; // until the client leaves
        });
        let said = server.kubectl(&["get", "--raw", "/x", "--request-timeout=300ms"]);
        let said = tokio::time::timeout(std::time::Duration::from_secs(20), said).await.expect("an end");
        assert!(said.code == 1 && said.err.contains("while reading body"), "{said:?}");
        silent.abort();
    }
}
