//! Connections to a server that a kubeconfig names: TCP, or TLS over it.

use super::addresses;
use super::alert;
use super::ending::{Ending, LastFailure};
use super::error::Error;
use super::tls;
use crate::conn::Conn;
use crate::kubeconfig::Target;
use api::gostr::quote;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use http::Uri;
use linux::tcp::keep_alive;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, InvalidMessage};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A server that accepts no connection in this time is given up (client-go's).
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that does not finish TLS's greeting in this time is given up too (client-go's).
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that was silent for so long is probed by the kernel, over every protocol (client-go's).
pub(super) const SILENT: Duration = Duration::from_secs(30);

/// What a URL has before the zone of a link-local address: `https://[fe80::1%25eth0]:6443`. The
/// zone is this machine's affair, and in no certificate.
const ZONE: &str = "%25";

/// A connection that can be read and written: TCP, or TLS over it.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Opens connections to one target.
#[derive(Clone)]
pub struct Dial {
    target: Arc<Target>,
    tls: Option<Arc<rustls::ClientConfig>>,
    last: LastFailure,
}

impl Dial {
    /// Prepares connections to a target. `alpn` empty: HTTP/1.1, as upgrades need it. Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// [`Error::Unusable`] of an `https` target: certificate and key are no pair, or one of them or
    /// the authorities cannot be used. [`Error::Transport`]: the scheme is neither `http` nor
    /// `https`.
    pub fn new(target: Arc<Target>, alpn: &[&str]) -> Result<Dial, Error> {
        let tls = match target.scheme.as_str() {
            "https" => Some(tls::client(&target, alpn)?),
            "http" => None,
            other => return Err(Error::Transport(format!("unsupported protocol scheme {}", quote(other)))),
        };
        Ok(Dial { target, tls, last: LastFailure::default() })
    }

    /// Returns why the connection that was opened last has failed.
    pub(super) fn last_failure(&self) -> &LastFailure {
        &self.last
    }

    /// Opens the TCP connection. Returns it, and the name or the address of the host.
    async fn reach(&self) -> io::Result<(TcpStream, &str)> {
        let host = self.target.host.as_str();
        let default = if self.tls.is_some() { "443" } else { "80" };
        let (name, port) = match host.rsplit_once(':') {
            Some((name, "")) => (name, default),
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (host, default),
        };
        let Ok(number) = port.parse::<u16>() else {
            return Err(io::Error::other(format!("dial tcp: address {port}: invalid port")));
        };
        let name = name.trim_matches(['[', ']']);
        let plain = name.replacen(ZONE, "%", 1);
        let no_host = |why: &str| io::Error::other(format!("dial tcp: lookup {plain}: {why}"));
        let over = clock::deadline(DIAL_TIMEOUT); // of the lookup and the connection together
        let found = clock::limit(DIAL_TIMEOUT, tokio::net::lookup_host((plain.as_str(), number))).await;
        let found: Vec<SocketAddr> = match found {
            Some(Ok(found)) => found.collect(),
            Some(Err(_)) => return Err(no_host("no such host")),
            None => return Err(no_host("i/o timeout")),
        };
        let connect = |address: SocketAddr| async move {
            TcpStream::connect(address).await.map_err(|error| dial_error(error, address))
        };
        let left = over.saturating_duration_since(clock::Instant::now());
        let tcp = addresses::connect(&found, left, connect).await?;
        tcp.set_nodelay(true)?;
        keep_alive(&tcp, SILENT)?;
        Ok((tcp, name))
    }

    /// Opens a connection; returns it, and whether HTTP/2 was agreed on.
    ///
    /// # Errors
    /// `ConnectionRefused`: nothing listens there. All others have Go's words: the host has no
    /// address, does not accept within [`DIAL_TIMEOUT`] or [`TLS_TIMEOUT`], or its certificate is
    /// not trusted. [`error_of`](super::error_of) makes an [`Error`] of it.
    pub fn connect(&self) -> BoxFuture<'_, io::Result<(Box<dyn Duplex>, bool)>> {
        Box::pin(async move {
            let (tcp, name) = self.reach().await?;
            let Some(tls) = &self.tls else {
                let plain: Box<dyn Duplex> = Box::new(Ending::new(tcp, false, &self.last));
                return Ok((plain, false));
            };
            let address = name.split_once(ZONE).map_or(name, |(address, _)| address);
            let name = self.target.server_name.clone().unwrap_or_else(|| address.to_string());
            let name =
                ServerName::try_from(name).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
            let greeting = TlsConnector::from(tls.clone()).connect(name, tcp);
            let stream = tokio::time::timeout(TLS_TIMEOUT, greeting)
                .await
                .map_err(|_| io::Error::other("net/http: TLS handshake timeout"))?
                .map_err(tls_error)?;
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let over_tls: Box<dyn Duplex> = Box::new(Ending::new(stream, h2, &self.last));
            Ok((over_tls, h2))
        })
    }
}

/// Puts a failed connect in Go's words. "Connection refused" keeps its kind: kubectl has a sentence
/// of its own for it ([`Error::Refused`]).
fn dial_error(error: io::Error, address: SocketAddr) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => error,
        _ => io::Error::other(format!("dial tcp {address}: connect: {}", lower(&error))),
    }
}

fn lower(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn tls_error(error: io::Error) -> io::Error {
    let refusal = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let distrust = match refusal {
        Some(rustls::Error::InvalidCertificate(why)) => not_believed(why),
        _ => None,
    };
    // What is no record of TLS is as a rule the answer of a server that speaks plain HTTP.
    let is_plain = matches!(refusal, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)));
    let why = match (distrust, refusal) {
        _ if is_plain => "http: server gave HTTP response to HTTPS client".into(),
        (Some(distrust), _) => format!("tls: failed to verify certificate: x509: {distrust}"),
        (None, Some(other)) => alert::text_of(other).unwrap_or_else(|| format!("tls: {other}")),
        (None, None) if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".into(),
        (None, None) if error.kind() == io::ErrorKind::ConnectionReset => {
            "read: connection reset by peer".into()
        }
        (None, None) => lower(&error),
    };
    io::Error::other(why)
}

/// Returns what Go's `x509` says of a certificate that is not believed, for the usual reasons.
/// Times are in UTC.
fn not_believed(why: &CertificateError) -> Option<String> {
    const TIME: &str = "certificate has expired or is not yet valid";
    let rfc3339 = |time: &UnixTime| {
        let second = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        clock::rfc3339(clock::Timestamp::from_second(second).unwrap_or(clock::Timestamp::MAX))
    };
    Some(match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".into()
        }
        CertificateError::Expired | CertificateError::NotValidYet => TIME.into(),
        CertificateError::ExpiredContext { time, not_after } => {
            format!("{TIME}: current time {} is after {}", rfc3339(time), rfc3339(not_after))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("{TIME}: current time {} is before {}", rfc3339(time), rfc3339(not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => other_names(expected, presented),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".into()
        }
        CertificateError::UnhandledCriticalExtension => "unhandled critical extension".into(),
        other => return pki::authority_hint(other).or_else(|| pki::legacy_name(other)),
    })
}

/// Returns what Go says of a certificate that does not have the name of the server. `names`: those
/// that it has, as rustls tells them, e.g. `DnsName("kubernetes")` and `IpAddress(10.96.0.1)`.
fn other_names(wanted: &ServerName<'_>, names: &[String]) -> String {
    let is_address = matches!(wanted, ServerName::IpAddress(_));
    let (begin, end) = if is_address { ("IpAddress(", ")") } else { ("DnsName(\"", "\")") };
    let known = names.iter().filter_map(|name| name.strip_prefix(begin)?.strip_suffix(end));
    // rustls writes IPv6 addresses in a way of its own.
    let spelled = |name: &str| name.parse().map_or(name.to_string(), |ip: IpAddr| ip.to_string());
    let known: Vec<String> = known.map(spelled).collect();
    let wanted = wanted.to_str();
    match known.len() {
        0 if is_address => {
            format!("cannot validate certificate for {wanted} because it doesn't contain any IP SANs")
        }
        0 => format!("certificate is not valid for any names, but wanted to match {wanted}"),
        count @ 100.. => {
            let kind = if is_address { "IP SANs" } else { "names" };
            format!("certificate is valid for {count} {kind}, but none matched {wanted}")
        }
        _ => format!("certificate is valid for {}, not {wanted}", known.join(", ")),
    }
}

impl tower::Service<Uri> for Dial {
    type Response = Conn<Box<dyn Duplex>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Conn<Box<dyn Duplex>>>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let (io, h2) = dial.connect().await?;
            Ok(Conn::new(io, h2))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{getsockopt, sockopt};

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
    async fn an_address_that_leads_nowhere_is_refused_in_gos_words() {
        let at = |scheme: &str, host: &str| Arc::new(Target::anybody(scheme, host));
        let why = Dial::new(at("ftp", "127.0.0.1:21"), &[]).err().unwrap().to_string();
        assert_eq!(why, "Unable to connect to the server: unsupported protocol scheme \"ftp\"");
        for (host, why) in [
            ("127.0.0.1:99999", "address 99999: invalid port"),
            ("[fe80::1%25nowhere]:1", "lookup fe80::1%nowhere: no such host"),
        ] {
            let dial = Dial::new(at("http", host), &[]).unwrap();
            let message = dial.connect().await.err().unwrap().to_string();
            assert_eq!(message, format!("dial tcp: {why}"));
        }
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        let why = tls_error(io::Error::new(io::ErrorKind::InvalidData, plain)).to_string();
        assert_eq!(why, "http: server gave HTTP response to HTTPS client");
    }

    /// The cluster was made anew: the kubeconfig has the authority of the earlier one.
    #[tokio::test]
    async fn an_authority_of_the_same_name_is_named() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [own, other] = dirs.map(|dir| pki::Ca::load_or_create(dir.path(), "kubernetes").unwrap());
        let identity = other.issue(&pki::Subject::server("m", &["127.0.0.1"])).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(pki::server_config(&identity, other.pem()).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            ca_pem: Some(own.pem().as_bytes().to_vec()),
            ..Target::anybody("https", &listener.local_addr().unwrap().to_string())
        };
        let dial = Dial::new(Arc::new(target), &[]).unwrap();
        let server = async { acceptor.accept(listener.accept().await.unwrap().0).await.is_ok() };
        let (_, message) = tokio::join!(server, dial.connect());
        assert_eq!(
            message.err().unwrap().to_string(),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority (possibly because of \"x509: ECDSA verification failure\" while trying to verify candidate authority certificate \"kubernetes\")"
        );
    }

    #[test]
    fn a_certificate_is_refused_in_gos_words() {
        let message = |why: CertificateError| {
            let error = rustls::Error::InvalidCertificate(why);
            tls_error(io::Error::new(io::ErrorKind::InvalidData, error)).to_string()
        };
        let at = |second: u64| UnixTime::since_unix_epoch(Duration::from_secs(second));
        let other = |wanted: &'static str, names: &[&str]| {
            let expected = ServerName::try_from(wanted).unwrap();
            let presented = names.iter().map(ToString::to_string).collect();
            message(CertificateError::NotValidForNameContext { expected, presented })
        };
        let names =
            ["DnsName(\"kubernetes\")", "DnsName(\"localhost\")", "IpAddress(10.96.0.1)", "IpAddress(0::1)"];
        let many = ["DnsName(\"a\")"; 100];
        let invalid = "certificate has expired or is not yet valid: current time 1970-01-01T00:00:05Z";
        let late = format!("{invalid} is after 1970-01-01T00:00:04Z");
        let early = format!("{invalid} is before 1970-01-01T00:00:06Z");
        for (said, want) in [
            (other("api.test", &names), "certificate is valid for kubernetes, localhost, not api.test"),
            (other("192.0.2.1", &names), "certificate is valid for 10.96.0.1, ::1, not 192.0.2.1"),
            (
                other("192.0.2.1", &names[..2]),
                "cannot validate certificate for 192.0.2.1 because it doesn't contain any IP SANs",
            ),
            (
                other("api.test", &names[2..]),
                "certificate is not valid for any names, but wanted to match api.test",
            ),
            (other("api.test", &many), "certificate is valid for 100 names, but none matched api.test"),
            (message(CertificateError::ExpiredContext { time: at(5), not_after: at(4) }), late.as_str()),
            (
                message(CertificateError::NotValidYetContext { time: at(5), not_before: at(6) }),
                early.as_str(),
            ),
            (message(CertificateError::UnknownIssuer), "certificate signed by unknown authority"),
            (message(CertificateError::InvalidPurpose), "certificate specifies an incompatible key usage"),
            (message(CertificateError::UnhandledCriticalExtension), "unhandled critical extension"),
        ] {
            assert_eq!(said, format!("tls: failed to verify certificate: x509: {want}"));
        }
    }
}
