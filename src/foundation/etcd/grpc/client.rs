//! A client of some etcd: one connection, calls by their path.
use futures::Stream;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lang::chain;
use prost::Message;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_util::io::InspectReader;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

/// Metadata of a request that is to be refused, or whose stream is to end, if the server has no
/// leader (etcd: `WithRequireLeader`).
pub(super) const HAS_LEADER: &str = "hasleader";

/// Bytes on their way on one stream, and on all of them.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// As kube-apiserver's client of etcd (`keepaliveTime`, `keepaliveTimeout`).
const KEEP_ALIVE: KeepAlive = KeepAlive { every: Duration::from_secs(30), wait: Duration::from_secs(10) };

/// When a connection that calls wait on is taken for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// A ping is sent after so long a silence. An etcd hangs up on a client that sends them more
    /// often than every 5 s (`--grpc-keepalive-min-time`).
    pub every: Duration,
    /// The connection is given up if nothing has come so long after the ping.
    pub wait: Duration,
}

/// The reason for which there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The text is no endpoint.
    #[error("{0:?} is not an endpoint; it looks like https://127.0.0.1:2379")]
    Endpoint(String),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] pki::Error),
    /// The endpoint is `https`, and no certificates were given.
    #[error("{0} needs certificates")]
    NoTls(String),
    /// No connection: refused, no answer, or a certificate that is not believed.
    #[error("{endpoint} cannot be reached: {cause}")]
    Dial {
        /// The endpoint, as it was given.
        endpoint: String,
        /// The reason.
        cause: String,
    },
    /// A connection, and no answer to the first read of a [`Remote`](super::Remote).
    #[error("{endpoint} answers no read: {cause}")]
    NoAnswer {
        /// The endpoints, as they were given.
        endpoint: String,
        /// The reason.
        cause: String,
    },
}

/// The address of an etcd: `https://host:port`, `http://host:port` or `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https`.
    pub tls: bool,
    /// The name or the address of the server; IPv6 without brackets.
    pub host: String,
    /// 2379 if the text has none.
    pub port: u16,
}

impl Endpoint {
    /// Reads an endpoint from its text. `secure`: `host:port` alone means `https`. The port is 2379
    /// if the text has none.
    ///
    /// # Errors
    /// `Endpoint` if the text is no address, or has a scheme other than `http` and `https`, or a
    /// port that is none: with 2379 in its place, the text could lead to another etcd.
    pub fn parse(text: &str, secure: bool) -> Result<Endpoint, ConnectError> {
        let wrong = || ConnectError::Endpoint(text.to_string());
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err(wrong()),
            None => (secure, text),
        };
        let uri: Uri = rest.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let host = authority.host().trim_matches(['[', ']']).to_string();
        let named =
            authority.as_str().rsplit('@').next().and_then(|text| text.strip_prefix(authority.host()));
        let port = match named.ok_or_else(wrong)? {
            "" => 2379,
            port => port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(wrong)?,
        };
        Ok(Endpoint { tls, host, port })
    }

    /// `127.0.0.1:2379`, `[::1]:2379`.
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// A connection. Cheap to clone; ends with its last clone.
#[derive(Clone)]
pub struct Channel {
    send: SendRequest<Body>,
    origin: Uri,
    begun: watch::Receiver<Begun>,
}

/// How far the server's half of a connection came.
#[derive(Clone, Debug)]
enum Begun {
    Silent,
    /// The server has sent its settings, with which it begins HTTP/2 unasked.
    Settings,
    /// The connection ended before, for this reason.
    Ended(String),
}

/// Returns what is wrong with an authority that has the name of the server's and is another one, or
/// with a certificate that has the server's name as its common name alone.
fn not_believed(error: &std::io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(why) => pki::authority_hint(why).or_else(|| pki::legacy_name(why)),
        _ => None,
    }
}

impl Channel {
    /// Connects to one server. `tls` is used for `https` endpoints. Waits as long as the server
    /// does not answer: the caller sets the limit. (Without TLS it is its kernel that answers: see
    /// [`Channel::wait_for_server`].)
    ///
    /// # Errors
    /// - `Dial` if the server cannot be reached, or TLS or HTTP/2 cannot be agreed on with it.
    /// - `NoTls` if the endpoint is `https` and there is no `tls`: certificates have to be given.
    /// - `Tls` if the host is no name that a certificate can have.
    pub async fn connect(
        endpoint: &Endpoint,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<Channel, ConnectError> {
        Channel::connect_with(endpoint, tls, KEEP_ALIVE).await
    }

    /// As [`Channel::connect`], with other pings.
    ///
    /// # Errors
    /// Those of [`Channel::connect`].
    pub async fn connect_with(
        endpoint: &Endpoint,
        tls: Option<Arc<rustls::ClientConfig>>,
        keep_alive: KeepAlive,
    ) -> Result<Channel, ConnectError> {
        let name = endpoint.authority();
        let failed = |cause: &dyn std::fmt::Display| ConnectError::Dial {
            endpoint: name.clone(),
            cause: cause.to_string(),
        };
        let tcp =
            TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|e| failed(&e))?;
        tcp.set_nodelay(true).map_err(|e| failed(&e))?;
        let scheme = if endpoint.tls { "https" } else { "http" };
        let origin = format!("{scheme}://{name}").parse().map_err(|e| failed(&e))?;
        let shaken = match (endpoint.tls, tls) {
            (true, Some(config)) => {
                let server = pki::server_name(&endpoint.host)?;
                let stream = TlsConnector::from(config).connect(server, tcp).await;
                let stream =
                    stream.map_err(|e| failed(&not_believed(&e).unwrap_or_else(|| e.to_string())))?;
                handshake(stream, keep_alive).await
            }
            (true, None) => return Err(ConnectError::NoTls(name)),
            (false, _) => handshake(tcp, keep_alive).await,
        };
        let (send, begun) = shaken.map_err(|e| failed(&e))?;
        Ok(Channel { send, origin, begun })
    }

    /// Waits until the server speaks HTTP/2 on this connection. A program that is stopped does not,
    /// although its kernel takes connections; nor does one that refuses the client's certificate.
    ///
    /// # Errors
    /// `Dial` if the connection has ended before.
    pub async fn wait_for_server(&self) -> Result<(), ConnectError> {
        let mut begun = self.begun.clone();
        let cause = match begun.wait_for(|begun| !matches!(begun, Begun::Silent)).await.as_deref() {
            Ok(Begun::Settings) => return Ok(()),
            Ok(Begun::Ended(why)) => why.clone(),
            Ok(Begun::Silent) | Err(_) => "the connection has ended".into(),
        };
        let endpoint = self.origin.authority().map(ToString::to_string).unwrap_or_default();
        Err(ConnectError::Dial { endpoint, cause })
    }

    fn grpc(&self) -> Grpc<Wire> {
        let wire = Wire(self.send.clone());
        Grpc::with_origin(wire, self.origin.clone()).max_decoding_message_size(usize::MAX)
    }

    /// Returns whether calls can still be made on it.
    #[cfg(test)]
    pub(super) async fn is_open(&self) -> bool {
        self.grpc().ready().await.is_ok()
    }

    /// Sends one message and waits for one back. `path`: e.g. `/etcdserverpb.KV/Range`.
    ///
    /// # Errors
    /// The server's own status. If the connection is lost, the status has a `source`; unless the
    /// call [`was_not_sent`], it is not known what became of a write.
    pub async fn unary<Q, A>(&self, path: &'static str, ask: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc();
        grpc.ready().await.map_err(lost)?;
        let codec = ProstCodec::<Q, A>::default();
        let answer = grpc.unary(tonic::Request::new(ask), PathAndQuery::from_static(path), codec).await?;
        Ok(answer.into_inner())
    }

    /// Sends one message; many come back.
    ///
    /// # Errors
    /// Those of [`Channel::unary`]. The stream itself may end with one of them, too.
    pub async fn answers<Q, A>(&self, path: &'static str, ask: Q) -> Result<Streaming<A>, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc();
        grpc.ready().await.map_err(lost)?;
        let codec = ProstCodec::<Q, A>::default();
        let answer =
            grpc.server_streaming(tonic::Request::new(ask), PathAndQuery::from_static(path), codec).await?;
        Ok(answer.into_inner())
    }

    /// Sends many messages; many come back. As etcd's own client it wants a server that has a
    /// leader: else a watch at a server that is cut off would be silent for ever.
    ///
    /// # Errors
    /// Those of [`Channel::answers`], and `Unavailable` if the server has no leader: try another
    /// one.
    pub async fn stream<Q, A>(
        &self,
        path: &'static str,
        asks: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc();
        grpc.ready().await.map_err(lost)?;
        let codec = ProstCodec::<Q, A>::default();
        let mut asks = tonic::Request::new(asks);
        asks.metadata_mut().insert(HAS_LEADER, MetadataValue::from_static("true"));
        let answer = grpc.streaming(asks, PathAndQuery::from_static(path), codec).await?;
        Ok(answer.into_inner())
    }
}

fn lost(error: hyper::Error) -> Status {
    let mut status = Status::new(Code::Unavailable, format!("the connection is lost: {error}"));
    status.set_source(Arc::new(error));
    status
}

/// Returns whether a call failed before anything of it left this program: the connection was lost
/// before, or ended while the call waited for its turn. Such a call may be made again, also one
/// that writes.
pub(super) fn was_not_sent(status: &Status) -> bool {
    let causes = std::iter::successors(std::error::Error::source(status), |e| e.source());
    let mut errors = causes.filter_map(|e| e.downcast_ref::<hyper::Error>());
    errors.any(|e| e.is_closed() || e.is_canceled())
}

/// The type of a frame is its fourth byte; this one has the settings.
const FRAME_TYPE: usize = 3;
const SETTINGS: u8 = 4;

/// Begins HTTP/2. Returns what sends requests, and what says how far the server is.
async fn handshake<S>(
    stream: S,
    keep_alive: KeepAlive,
) -> Result<(SendRequest<Body>, watch::Receiver<Begun>), hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (progress, begun) = watch::channel(Begun::Silent);
    let (ended, mut read) = (progress.clone(), 0);
    let stream = InspectReader::new(stream, move |bytes: &[u8]| {
        if read <= FRAME_TYPE {
            if bytes.get(FRAME_TYPE - read) == Some(&SETTINGS) {
                progress.send_replace(Begun::Settings);
            }
            read += bytes.len();
        }
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        // Windows that adapt do so by pings, and a server in Go hangs up on a client that pings too
        // often.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(keep_alive.every)
        .keep_alive_timeout(keep_alive.wait);
    let (send, connection) = http.handshake(TokioIo::new(stream)).await?;
    // It ends by itself when the last sender is dropped; its error is that of every call on it.
    tokio::spawn(async move {
        let why = connection.await.map_or_else(|error| chain(&error), |()| "the server closed it".into());
        ended.send_if_modified(|begun| {
            let is_early = matches!(begun, Begun::Silent);
            if is_early {
                *begun = Begun::Ended(why);
            }
            is_early
        });
    });
    Ok((send, begun))
}

/// The transport of tonic's requests.
struct Wire(SendRequest<Body>);

impl tower::Service<Request<Body>> for Wire {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = futures::future::BoxFuture<'static, Result<Response<Incoming>, hyper::Error>>;
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn an_address_with_colons_keeps_its_brackets() {
        for (text, authority) in
            [("http://[::1]:2381", "[::1]:2381"), ("127.0.0.1", "127.0.0.1:2379"), ("etcd:1", "etcd:1")]
        {
            let endpoint = Endpoint::parse(text, true).unwrap();
            assert_eq!(endpoint.authority(), authority);
            assert!(format!("http://{}", endpoint.authority()).parse::<Uri>().is_ok(), "{authority}");
        }
    }

    #[tokio::test]
    async fn an_authority_of_the_right_name_is_reported_in_words() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [own, other] = dirs.map(|dir| pki::Ca::load_or_create(dir.path(), "etcd-ca").unwrap());
        let identity = other.issue(&pki::Subject::server("m", &["127.0.0.1"])).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(pki::server_config(&identity, other.pem()).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port };
        let tls = pki::client_config(None, own.pem(), &["h2"]).unwrap();
        let server = async { acceptor.accept(listener.accept().await.unwrap().0).await.is_ok() };
        let (_, connected) = tokio::join!(server, Channel::connect(&endpoint, Some(tls)));
        let why = connected.err().unwrap().to_string();
        let doubt = "unknown authority (possibly because of \"x509: ECDSA verification failure\" while";
        assert!(why.contains(doubt) && why.contains("\"etcd-ca\""), "{why}");
    }

    /// The kernel takes connections for a program that is stopped, too.
    #[tokio::test]
    async fn a_server_speaks_when_its_settings_have_come() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Endpoint { tls: false, host: "127.0.0.1".into(), port };
        let settings: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0]; // of which there are none
        let (none, other): (&[u8], &[u8]) = (&[], b"HTTP/1.1 400 Bad Request\r\n\r\n");
        for (first, then, speaks) in [
            (&settings[..], none, true),
            (&settings[..2], &settings[2..], true),
            (other, none, false),
            (none, none, false),
        ] {
            let channel = Channel::connect(&endpoint, None).await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut spoken = std::pin::pin!(channel.wait_for_server());
            assert!(futures::poll!(&mut spoken).is_pending());
            for part in [first, then] {
                stream.write_all(part).await.unwrap();
                clock::pause(Duration::from_millis(50)).await; // so that it is read by itself
            }
            drop(stream);
            let waited = tokio::time::timeout(Duration::from_secs(60), spoken).await;
            let spoken = waited.expect("it is told");
            assert_eq!(spoken.is_ok(), speaks, "{first:?}: {spoken:?}");
        }
    }

    /// On the usual port may be the etcd of another cluster.
    #[test]
    fn a_port_that_is_none_does_not_become_the_usual_one() {
        for text in ["http://127.0.0.1:99999", "127.0.0.1:x", "https://etcd:", "http://[::1]:70000"] {
            let refused = Endpoint::parse(text, false);
            assert!(matches!(&refused, Err(ConnectError::Endpoint(said)) if said == text), "{refused:?}");
        }
    }
}
