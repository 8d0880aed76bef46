//! Connections of this server to the kubelets of nodes.

use crate::request::http::{Body, HTTP1_BUFFER, full};
use crate::state::State;
use api::gostr::quote;
use api::value::{int, list, text};
use api::{Status, cidr};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The port of a kubelet whose Node says none.
const KUBELET_PORT: i64 = 10250;
/// A connection that is not there after this time, its handshake included, is given up.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that is read as a whole.
const ANSWER_MAX: usize = 8 << 20;
/// Bytes in which a kubelet says why it has no connection.
const WHY_MAX: usize = 4 << 10;

/// Finds the address of a node's kubelet, as its Node says.
///
/// # Errors
/// 404 without the Node, 503 for a Node that says no address or no valid port.
pub(super) fn address(state: &State, node: &str) -> Result<SocketAddr, Status> {
    let found = state.cache.get("nodes", node).ok_or_else(|| Status::not_found("", "nodes", node))?;
    let addresses = list(&found.value, "status.addresses");
    let ip = addresses.iter().find(|a| text(a, "type") == "InternalIP").map_or("", |a| text(a, "address"));
    let ip = cidr::canonical_ip(ip).ok_or_else(|| {
        let why = "its status has no InternalIP, which its kubelet writes when it registers";
        Status::unavailable(format!("no address known of node {node}: {why}"))
    })?;
    let port = int(&found.value, "status.daemonEndpoints.kubeletEndpoint.Port")
        .filter(|p| *p != 0)
        .unwrap_or(KUBELET_PORT);
    let port = u16::try_from(port).map_err(|_| {
        let field = "status.daemonEndpoints.kubeletEndpoint.Port";
        Status::unavailable(format!("node {node} has no kubelet port: {port} in {field} is none"))
    })?;
    Ok(SocketAddr::new(ip, port))
}

/// Connects to a node's kubelet, and to nothing else. The address is an object's field, which a
/// user may write (CVE-2022-3294), and the server there would see this server's own certificate,
/// `system:masters`: it must show the certificate of that node's kubelet.
///
/// # Errors
/// Why there is no connection, in the words of Go's `net` where it has some.
pub(super) async fn connect(
    state: &State,
    node: &str,
    to: SocketAddr,
) -> Result<TlsStream<TcpStream>, String> {
    let connecting = async {
        let _turn = state.handshakes.begin(to).await;
        let tcp = (state.dial)(to).await.map_err(|error| dial_error(to, &error))?;
        let _ = tcp.set_nodelay(true);
        let name = pki::server_name(&to.ip().to_string()).map_err(|error| error.to_string())?;
        let tls = TlsConnector::from(state.kubelet_tls.clone());
        let stream = tls.connect(name, tcp).await.map_err(|error| format!("tls: {error}"))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first());
        let user = certificate.and_then(|c| pki::user_of(c)).map_or(String::new(), |(name, _)| name);
        if user != format!("system:node:{node}") {
            return Err(format!("tls: the certificate is for {user:?}, not for the node's kubelet"));
        }
        Ok(stream)
    };
    match tokio::time::timeout(DIAL_TIMEOUT, connecting).await {
        Ok(done) => done,
        Err(_) => Err(format!("dial tcp {to}: i/o timeout")),
    }
}

/// Says in the words of Go's `net` why a connection failed.
fn dial_error(to: SocketAddr, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_string(),
        io::ErrorKind::HostUnreachable => "no route to host".to_string(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_string(),
        io::ErrorKind::TimedOut => return format!("dial tcp {to}: i/o timeout"),
        _ => error.to_string(),
    };
    format!("dial tcp {to}: connect: {why}")
}

/// Says that a kubelet could not be asked; as upstream in other words for each kind of request:
///
/// ```text
/// log              500  Get "https://10.0.0.1:10250/containerLogs/default/web/nginx": dial tcp …
/// proxy of a node  503  error trying to reach service: dial tcp …
/// session          500  error dialing backend: dial tcp …
/// ```
pub(super) fn unreachable(subresource: &str, is_session: bool, url: &str, why: &str) -> Status {
    match (subresource, is_session) {
        ("log", _) => Status::new(500, "", format!("Get {}: {why}", quote(url))),
        ("proxy", false) => Status::unavailable(format!("error trying to reach service: {why}")),
        _ => Status::new(500, "", format!("error dialing backend: {why}")),
    }
}

/// Begins HTTP/1.1 on a connection to another server. It is served until either side ends.
pub(super) async fn begin_http(
    connection: impl Read + Write + Send + Unpin + 'static,
) -> hyper::Result<SendRequest<Body>> {
    let mut http = http1::Builder::new();
    http.max_buf_size(HTTP1_BUFFER); // of a log whose client does not read
    let (sender, connection) = http.handshake(connection).await?;
    tokio::spawn(connection.with_upgrades()); // ends with either side of the connection
    Ok(sender)
}

/// Asks a node's kubelet for the connection behind `path`, and returns it.
///
/// # Errors
/// What the kubelet answers instead, or why it cannot be asked.
pub(super) async fn open(state: &State, node: &str, path: &str) -> Result<Upgraded, String> {
    let to = address(state, node).map_err(|status| status.message)?;
    let stream = connect(state, node, to).await?;
    let mut sender = begin_http(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let request = Request::get(path).header(header::HOST, to.to_string());
    let request = request.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "tcp");
    let request = request.body(full("")).map_err(|e| e.to_string())?;
    let mut answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return hyper::upgrade::on(&mut answer).await.map_err(|e| e.to_string());
    }
    let why = http_body_util::Limited::new(answer.into_body(), WHY_MAX).collect().await;
    Err(String::from_utf8_lossy(&why.map_err(|e| e.to_string())?.to_bytes()).into_owned())
}

/// Returns what a node's kubelet answers to a GET.
///
/// # Errors
/// 404 and 503 as for [`address`]; 502 if the kubelet cannot be reached, answers no 2xx, or answers
/// with more than [`ANSWER_MAX`] bytes.
pub(crate) async fn ask(state: &State, node: &str, path: &str) -> Result<bytes::Bytes, Status> {
    let to = address(state, node)?;
    let broken = |e: &dyn std::fmt::Display| Status::new(502, "", format!("error dialing backend: {e}"));
    let stream = connect(state, node, to).await.map_err(|why| broken(&why))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    let mut connections = JoinSet::new(); // ends with this call
    connections.spawn(connection);
    let request = Request::get(path).header(header::HOST, to.to_string()).body(full(""));
    let answer = sender.send_request(request.map_err(|e| broken(&e))?).await.map_err(|e| broken(&e))?;
    if !answer.status().is_success() {
        return Err(broken(&answer.status()));
    }
    let body = http_body_util::Limited::new(answer.into_body(), ANSWER_MAX);
    Ok(body.collect().await.map_err(|e| broken(&e))?.to_bytes())
}
