//! The HTTP requests of probes and hooks: where they go, and what a server answers. Each has a
//! connection of its own.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use pki::{self, Trust};
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of an answer that are read and go into an Event, at most: upstream's bound of a probe's
/// answer.
pub(super) const OUTPUT_MAX: usize = 10 << 10;

/// The destination of an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpTarget {
    pub tls: bool,
    pub to: SocketAddr,
    /// The header `Host`.
    pub host: String,
    /// The path with its query.
    pub path: String,
}

/// The reason for which an HTTP request had no answer.
pub(super) enum NoAnswer {
    /// The server does not speak TLS.
    NotTls(String),
    Other(String),
}

/// Returns where a redirect leads that stays on the same host, whatever its port and its scheme;
/// `None` if it leads elsewhere. As upstream the host is the one that was dialled, not the `Host`
/// header.
///
/// ```text
/// from http://10.0.0.1:8080/a/b
/// /c                    http://10.0.0.1:8080/c
/// c                     http://10.0.0.1:8080/a/c
/// https://10.0.0.1/c    https://10.0.0.1:443/c
/// http://example.org/   elsewhere
/// ```
pub(super) fn redirected(from: &HttpTarget, location: &str) -> Option<HttpTarget> {
    let location = location.split('#').next().unwrap_or_default();
    let is_scheme = |s: &str| s.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let (tls, whole) = match location.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, Some(rest)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, Some(rest)),
        Some(_) => return None,
        None => (from.tls, location.strip_prefix("//")),
    };
    let Some(whole) = whole else {
        let (base, _) = from.path.split_once('?').unwrap_or((&from.path, ""));
        let path = match location.chars().next() {
            None => from.path.clone(),
            Some('/') => location.to_string(),
            Some('?') => format!("{base}{location}"),
            Some(_) => format!("{}/{location}", base.rsplit_once('/').map_or("", |(dir, _)| dir)),
        };
        return Some(HttpTarget { path: without_dots(&path), ..from.clone() });
    };
    let (authority, path) = whole.split_at(whole.find(['/', '?']).unwrap_or(whole.len()));
    let parsed: http::uri::Authority = authority.parse().ok()?;
    let name = parsed.host().trim_start_matches('[').trim_end_matches(']');
    let is_home = match name.parse::<IpAddr>() {
        Ok(ip) => ip == from.to.ip(),
        Err(_) => name.eq_ignore_ascii_case("localhost") && from.to.ip().is_loopback(),
    };
    let port = parsed.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
    let to = SocketAddr::new(from.to.ip(), port);
    is_home.then(|| HttpTarget { tls, to, host: authority.into(), path: without_dots(&path) })
}

/// Percent-encodes what a path with its query may not contain (RFC 3986, 3.3 and 3.4); what is
/// encoded already stays, so that the same may be done again.
///
/// ```text
/// /health check?a=<b>  ->  /health%20check?a=%3Cb%3E        /50%  ->  /50%25        /%20  ->  /%20
/// ```
pub(super) fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for (at, byte) in path.bytes().enumerate() {
        let is_encoded =
            || path.as_bytes().get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        match byte {
            b'%' if is_encoded() => out.push('%'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            byte if b"-._~!$&'()*+,;=:@/?".contains(&byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Resolves `.` and `..` in a path, which begins with `/` and may have a query.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/').skip(1) {
        match name {
            "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        names.push(""); // a directory
    }
    format!("/{}{query}", names.join("/"))
}

/// Returns whether a TLS handshake failed because the server answered in plain HTTP.
pub(super) fn is_plain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let cause = error.downcast_ref::<std::io::Error>().and_then(|e| e.get_ref());
    let cause = cause.and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)))
}

pub(super) async fn encrypted(
    stream: TcpStream,
    to: SocketAddr,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Box<dyn std::error::Error + Send + Sync>> {
    let connector = tokio_rustls::TlsConnector::from(pki::foreign_client(&Trust::Anyone, None, &[])?);
    Ok(connector.connect(rustls::pki_types::ServerName::IpAddress(to.ip().into()), stream).await?)
}

/// Returns why a server has not answered, in the words of Go's `net/http`, which Events show.
///
/// ```text
/// closed  ->  EOF        reset  ->  read tcp 10.0.0.1:8080: read: connection reset by peer
/// ```
pub(super) fn no_answer(to: SocketAddr, error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_canceled() {
        return "EOF".into();
    }
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionReset) {
        return format!("read tcp {to}: read: connection reset by peer");
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

/// A server's answer: its head, and a body that is still to come.
pub(super) struct HttpAnswer {
    pub status: u16,
    /// The target of a redirect.
    pub location: Option<String>,
    body: Incoming,
    /// Brings the body; dropped with the answer.
    connection: BoxFuture<'static, hyper::Result<()>>,
    _sender: SendRequest<Full<Bytes>>,
}

impl HttpAnswer {
    /// Reads the first [`OUTPUT_MAX`] bytes of the body.
    ///
    /// # Errors
    /// The connection ended before the body.
    pub(super) async fn text(mut self) -> Result<String, hyper::Error> {
        let mut bytes = Vec::new();
        while bytes.len() < OUTPUT_MAX {
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                _ = &mut self.connection => continue, // the body says whether that was too early
            };
            let Some(frame) = frame.transpose()? else { break };
            bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        bytes.truncate(OUTPUT_MAX);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Sends one request over a connection of its own, and waits for the head of the answer. The names
/// of headers are written as Go writes them, `User-Agent`: some servers compare them as they are.
pub(super) async fn one_request<S>(
    stream: S,
    request: http::Request<Full<Bytes>>,
) -> Result<HttpAnswer, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = TokioIo::new(WriteFirst { stream, has_written: false, reader: None });
    let handshake = http1::Builder::new().title_case_headers(true).handshake(stream);
    let (mut sender, connection) = handshake.await?;
    let mut connection = connection.fuse().boxed(); // once ended it may be asked again
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let response = tokio::select! {
        biased;
        response = &mut answer => response?,
        // The connection may end together with its answer.
        end = &mut connection => { end?; answer.await? }
    };
    let location = response.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_string);
    let status = response.status().as_u16();
    Ok(HttpAnswer { status, location, body: response.into_body(), connection, _sender: sender })
}

/// A connection of which nothing is read before something was written to it. A server may answer
/// as soon as it is connected to (`printf x | nc -l -p 8080`), and close the connection. What hyper
/// reads before it has written its request it takes for no answer to it.
struct WriteFirst<S> {
    stream: S,
    has_written: bool,
    /// The reader that waits until something is written.
    reader: Option<Waker>,
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteFirst<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.has_written {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteFirst<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.has_written = true; // or failed to: what the server said before can still be read
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
