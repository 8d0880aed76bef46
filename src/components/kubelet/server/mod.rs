//! The kubelet's own server on port 10250: logs, exec, attach, port-forward, figures. Only the API
//! server's certificate is let in.

mod channel;
mod inward;
mod lingering_close;
mod logs;
mod node_logs;
mod pod_port;
mod remote_command;
mod spdy;
mod spdy_streams;
mod upgrade;
mod websocket;

use super::config::{Config, PORT};
use super::pods::Kubelet;
use super::stats::UsageMeter;
use bytes::Bytes;
use client::{CAUSE_HEADER, KUBELET_HANDSHAKES_MAX, KUBELET_STREAMS_MAX, Key};
use cri::{self, ContainerState, ExecRequest};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use linux::connection_bounds::{Bounds, Caller, Callers};
use linux::{descriptors, tcp};
use logs::read_logs;
use nix::sys::socket::{Shutdown, shutdown};
use parking_lot::{Mutex, MutexGuard};
use remote_command::{LeftPlaces, StreamOptions};
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tap::ObjectRef;
use task::Crew;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use upgrade::{Talk, upgrade};

type Body = BoxBody<Bytes, Infallible>;

/// Any pod can connect; a client that then sends nothing is disconnected.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of one API server at the same time: all sessions that it may have, and questions for
/// figures. One more is closed at once. API servers bound the sessions of each account, and end
/// idle ones (`proxy::forward` there).
const CONNECTIONS_OF_ONE: usize = KUBELET_STREAMS_MAX + 64;
/// Descriptors of a connection, at most. All API servers together have half of what the process may
/// have.
const DESCRIPTORS: u64 = 3;
/// Connections that have not shown a certificate of an API server yet: of one address, and of all.
/// Neither one pod nor many keep an API server out; an established connection is never closed for
/// them. An API server begins half as many at a time, so its own do not close each other.
const STRANGERS: Bounds = Bounds { of_one: 2 * KUBELET_HANDSHAKES_MAX, most: 256 };
/// A connection that asks nothing for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// A connection on which nothing comes is probed this often, as upstream's (the default of Go's
/// listeners): the end of an API server does not arrive over a link that is cut.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The pause between two checks whether the client of a session has left.
const GONE_EVERY: Duration = Duration::from_secs(5);
/// A session may go on for this long after its client has left.
const GONE_MAX: Duration = Duration::from_secs(30);
/// Bytes that a connection buffers in each direction: the longest head that an API server sends on,
/// and what it does not read.
const CONNECTION_BUFFER: usize = 80 << 10;

pub(crate) fn start(crew: &Crew, config: &Arc<Config>, kubelet: Arc<Kubelet>, meter: Arc<UsageMeter>) {
    let Some((tls, clients)) = config.tls.clone() else { return };
    let (config, owner) = (config.clone(), crew.clone());
    crew.spawn(async move {
        let listener = listen(&config).await;
        let acceptor = TlsAcceptor::from(only_http_1(tls));
        let server = Server { acceptor, clients, kubelet, meter, crew: owner };
        let connections = Connections::new(descriptors::connections(descriptors::limit(), 2, DESCRIPTORS));
        loop {
            let (socket, peer) = tcp::accept(&listener).await;
            let connection = Connection::begin(&connections, peer.ip());
            server.crew.spawn(server.clone().serve_connection(socket, connection));
        }
    });
}

/// The kubelet's server: what each connection is served with.
#[derive(Clone)]
struct Server {
    acceptor: TlsAcceptor,
    clients: pki::Clients,
    kubelet: Arc<Kubelet>,
    meter: Arc<UsageMeter>,
    crew: Crew,
}

impl Server {
    /// Serves one connection until it ends: the handshake, then requests. A client that shows no
    /// certificate of an API server gets one answer, a 401.
    async fn serve_connection(self, socket: TcpStream, mut connection: Connection) {
        prepare(&socket);
        let end = connection.caller.end.clone();
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(socket));
        let handshake = tokio::select! {
            done = handshake => done,
            () = end.cancelled() => return,
        };
        let Ok(Ok(stream)) = handshake else { return };
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let allowed = is_api_server(&self.clients, shown);
        if allowed {
            if !connection.mark_known() {
                return;
            }
            connection.socket = stream.get_ref().0.as_fd().try_clone_to_owned().ok();
        }
        // A session keeps its place after the connection has changed protocols.
        let connection = Arc::new(connection);
        let session = connection.clone();
        let service = service_fn(move |request| {
            let (kubelet, meter, crew) = (self.kubelet.clone(), self.meter.clone(), self.crew.clone());
            let connection = session.clone();
            async move {
                let answer = match allowed {
                    true => serve(kubelet, meter, crew, connection, request).await,
                    false => Err(refuse(StatusCode::UNAUTHORIZED, "Unauthorized")),
                };
                Ok::<_, Infallible>(answer.unwrap_or_else(|refused| refused))
            }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        // A stranger hears one refusal; others may leave a connection open for a while.
        http.timer(TokioTimer::new()).header_read_timeout(IDLE_MAX).keep_alive(allowed);
        http.max_buf_size(CONNECTION_BUFFER);
        let serving = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        match allowed {
            true => {
                if let Err(error) = serving.await {
                    tracing::debug!(%error, "connection to the kubelet ended");
                }
            }
            false => tokio::select! {
                _ = tokio::time::timeout(HANDSHAKE_TIMEOUT, serving) => {}
                () = end.cancelled() => {}
            },
        }
        drop(connection);
    }
}

/// Sets the options of a client's socket; a socket that refuses one is used as it is.
fn prepare(socket: &TcpStream) {
    let _ = (socket.set_nodelay(true), tcp::bound_unread(socket), tcp::keep_alive(socket, KEEP_ALIVE));
}

/// Returns true for the certificate of an API server. As upstream, a client with one of another
/// authority hears a 401, and the handshake is not its end.
fn is_api_server(clients: &pki::Clients, shown: &[CertificateDer<'_>]) -> bool {
    let client = clients.judge(shown).ok().flatten();
    client.is_some_and(|client| client.groups.iter().any(|group| group == "system:masters"))
}

/// Returns a configuration that offers HTTP/1.1 alone, which is what is spoken here: a client that
/// prefers HTTP/2, as curl does, would begin with it and be cut off.
fn only_http_1(tls: Arc<rustls::ServerConfig>) -> Arc<rustls::ServerConfig> {
    let mut tls = Arc::unwrap_or_clone(tls);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(tls)
}

/// Listens on the node's address. It tries until that is possible.
async fn listen(config: &Config) -> TcpListener {
    let address = SocketAddr::from((config.node_ip, PORT));
    loop {
        match config.network.listen(address).await {
            Ok(listener) => return listener,
            // The one before was killed and has not let go yet.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                clock::pause(Duration::from_millis(20)).await;
            }
            Err(error) => {
                tracing::warn!(%address, %error, "the kubelet's server cannot listen, trying again");
                clock::pause(Duration::from_secs(1)).await;
            }
        }
    }
}

/// The connections that are open.
struct Connections {
    strangers: Arc<Callers>,
    /// Connections of API servers, by their addresses.
    known: Mutex<BTreeMap<IpAddr, usize>>,
    /// Connections of all API servers together, at most.
    most: usize,
    /// Places of commands whose clients have left.
    left: LeftPlaces,
}

/// One connection; it counts until it is dropped.
struct Connection {
    connections: Arc<Connections>,
    from: IpAddr,
    /// The caller's `end` is cancelled when another connection takes the place of this one.
    caller: Caller,
    known: bool,
    /// The connection's socket, to see whether the client is gone.
    socket: Option<OwnedFd>,
}

impl Connections {
    fn new(most: usize) -> Arc<Connections> {
        Arc::new(Connections {
            strangers: Callers::new(STRANGERS, []),
            known: Mutex::default(),
            most,
            left: LeftPlaces::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.known.lock()
    }
}

impl Connection {
    /// Counts one more stranger; another one may have to go for it.
    fn begin(connections: &Arc<Connections>, from: IpAddr) -> Connection {
        let caller = connections.strangers.admit(from);
        Connection { connections: connections.clone(), from, caller, known: false, socket: None }
    }

    /// Counts the connection among those of API servers: it has shown such a certificate. False: it
    /// must be closed, because another one took its place before, or this API server or all of them
    /// have all of theirs.
    fn mark_known(&mut self) -> bool {
        let mut known = self.connections.known();
        let (all, own) = (known.values().sum::<usize>(), known.get(&self.from).copied().unwrap_or(0));
        if all >= self.connections.most || own >= CONNECTIONS_OF_ONE || !self.caller.mark_known() {
            return false;
        }
        known.insert(self.from, own + 1);
        self.known = true;
        true
    }

    /// Completes [`GONE_MAX`] after the client has closed the connection. A session that reads
    /// meets the end before; one that waits for a program which does not read its input, or for a
    /// port, does not.
    async fn abandoned(&self) {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        while !tcp::is_closed_by_peer(socket) {
            clock::pause(GONE_EVERY).await;
        }
        clock::pause(GONE_MAX).await;
    }

    /// Ends the connection although the session goes on, whose socket is kept here.
    fn hang_up(&self) {
        if let Some(socket) = &self.socket {
            let _ = shutdown(socket.as_raw_fd(), Shutdown::Write); // the client may have ended it
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.known {
            return;
        }
        let mut known = self.connections.known();
        if let Some(own) = known.get_mut(&self.from) {
            *own -= 1;
            if *own == 0 {
                known.remove(&self.from);
            }
        }
    }
}

/// Answers in the text format of Prometheus, which asks for its version in the content type.
fn metrics(series: String) -> Response<Body> {
    let mut response = refuse(StatusCode::OK, series);
    let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

fn refuse(code: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text.into())).boxed());
    *response.status_mut() = code;
    response
}

fn json(value: &serde_json::Value) -> Response<Body> {
    let mut response = refuse(StatusCode::OK, value.to_string());
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// The query's parameters; names may repeat.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(request: &Request<Incoming>) -> Query {
        let query = request.uri().query().unwrap_or_default();
        Query(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect()
    }
    /// Reads a truth value as upstream: any value is true, but `0` and `false`.
    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v != "0" && !v.eq_ignore_ascii_case("false"))
    }
}

async fn serve(
    kubelet: Arc<Kubelet>,
    meter: Arc<UsageMeter>,
    crew: Crew,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Response<Body>> {
    let path = request.uri().path().to_string();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let query = Query::of(&request);
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["healthz"]) => Ok(refuse(StatusCode::OK, "ok")),
        (&Method::GET, ["stats", "summary"]) => Ok(json(&meter.summary().await.ok_or_else(no_answer)?)),
        (&Method::GET, ["metrics", "resource"]) => Ok(metrics(meter.resource_metrics().await)),
        (&Method::GET, ["containerLogs", namespace, pod, container]) => {
            read_logs(kubelet, crew, Key::new(*namespace, *pod), container, &query).await
        }
        (&Method::GET | &Method::POST, [what @ ("exec" | "attach"), namespace, pod, container]) => {
            let key = Key::new(*namespace, *pod);
            let [stdin, stdout, stderr] =
                remote_command::streams(&query).map_err(|why| refuse(StatusCode::BAD_REQUEST, why))?;
            let running = kubelet.container(&key, container, false).await.map_err(runtime_error)?;
            let Some(running) = running.filter(|c| c.state == ContainerState::Running) else {
                return Err(refuse(StatusCode::BAD_REQUEST, format!("container not found ({container:?})")));
            };
            let (exec, command) = (*what == "exec", query.all("command"));
            let options = StreamOptions {
                stdin,
                stdout,
                stderr,
                tty: query.flag("tty"),
                is_exec: exec,
                left: connection.connections.left.clone(),
                record: exec.then(|| {
                    // Which request led here, the API server says.
                    let cause =
                        request.headers().get(CAUSE_HEADER).and_then(|v| v.to_str().ok()?.parse().ok());
                    let pod = ObjectRef::new("pods", *namespace, *pod);
                    let (tap, began) = (kubelet.config.tap.clone(), clock::Instant::now());
                    Box::new(remote_command::ExecRecord { tap, pod, cause, began })
                }),
            };
            let runtime = kubelet.config.runtime.clone();
            if exec && command.is_empty() {
                let why = "you must specify at least 1 command for the container";
                return Err(refuse(StatusCode::BAD_REQUEST, why));
            }
            let open = async move {
                match exec {
                    true => {
                        let (tty, stdin) = (options.tty, options.stdin);
                        runtime.exec(ExecRequest { container_id: running.id, command, tty, stdin }).await
                    }
                    false => runtime.attach(&running.id, options.stdin).await,
                }
            };
            upgrade(crew, connection, request, Talk::Process { options, open: Box::pin(open) })
        }
        (&Method::GET | &Method::POST, ["portForward", namespace, pod]) => {
            forward_ports(&kubelet, crew, connection, Key::new(*namespace, *pod), request).await
        }
        (&Method::GET, ["logs", rest @ ..]) => node_logs::read(&kubelet, &rest.join("/")).await,
        (&Method::GET, ["podPort", namespace, pod, port]) => {
            let place = (Key::new(*namespace, *pod), *port);
            pod_port::connect(&kubelet, crew, connection, place, request).await
        }
        _ => Err(refuse(StatusCode::NOT_FOUND, format!("the kubelet does not serve {path}"))),
    }
}

/// Serves `portForward/NAMESPACE/POD`.
async fn forward_ports(
    kubelet: &Kubelet,
    crew: Crew,
    connection: Arc<Connection>,
    pod: Key,
    request: Request<Incoming>,
) -> Result<Response<Body>, Response<Body>> {
    let sandbox = kubelet.sandbox(&pod).await.map_err(runtime_error)?;
    let Some(sandbox) = sandbox else {
        return Err(refuse(StatusCode::BAD_REQUEST, format!("pod {:?} is not running", pod.name)));
    };
    let ports = forwarded_ports(&Query::of(&request)).map_err(|why| refuse(StatusCode::BAD_REQUEST, why))?;
    let runtime = kubelet.config.runtime.clone();
    upgrade(crew, connection, request, Talk::Ports { runtime, sandbox: sandbox.id, ports })
}

/// Returns the ports of a WebSocket's query; SPDY names its ports in its streams.
///
/// # Errors
/// A word that is no port, and more ports than a connection has channels for.
fn forwarded_ports(query: &Query) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    for word in query.all("ports").iter().flat_map(|words| words.split(',')) {
        match word.parse::<u16>() {
            Ok(port) if port > 0 => ports.push(port),
            _ => return Err(format!("port {word:?} must be a number from 1 to 65535")),
        }
    }
    let most = usize::from(websocket::PORTS_MAX);
    match ports.len() > most {
        true => Err(format!("at most {most} ports can be forwarded over one connection")),
        false => Ok(ports),
    }
}

fn no_answer() -> Response<Body> {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "the container runtime does not answer")
}

fn runtime_error(error: cri::Error) -> Response<Body> {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, error.line())
}

#[cfg(test)]
mod tests;
