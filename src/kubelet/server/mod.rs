//! The kubelet's own server on port 10250: logs, exec, attach, port-forward, figures. Only the API server's certificate is let in.

mod spdy;
mod spdy_streams;
mod websocket;

use super::logs::{Options, Printer, Reader};
use super::pods::Kubelet;
use super::stats::Meter;
use super::{Config, PORT};
use crate::client::{CAUSE_HEADER, Key};
use crate::clock;
use crate::cri::{self, ContainerState, ExecRequest, Session};
use crate::linux::tcp;
use crate::pki;
use crate::tap::{Record, Tap};
use crate::task::Crew;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc;

type Body = BoxBody<Bytes, Infallible>;

/// Every pod may knock; one that then says nothing is sent away.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at the same time, over all peers; one more is closed at once. Each is two descriptors at most.
const CONNECTIONS_MAX: usize = 1024;
/// Connections from one address that have not shown a certificate of an API server yet: so one pod cannot take all there are.
const STRANGERS_MAX: usize = 32;
/// A connection that asks nothing for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// Pieces of a log on their way to whoever reads it; at the bound no more of the file is read.
const LOG_BUFFER: usize = 16;
/// Log bytes read at a time.
const CHUNK: usize = 64 << 10;
/// A followed log is looked at this often; appends to a file raise no event that is worth a watch for each reader.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);

pub fn start(crew: &Crew, config: &Arc<Config>, kubelet: Arc<Kubelet>, meter: Arc<Meter>) {
    let Some(tls) = config.tls.clone() else { return };
    let (config, owner) = (config.clone(), crew.clone());
    crew.spawn(async move {
        let address = SocketAddr::from((config.node_ip, PORT));
        let listener = loop {
            match config.network.listen(address).await {
                Ok(listener) => break listener,
                // The one before was killed and has not let go yet.
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    clock::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => {
                    tracing::warn!(%address, %error, "the kubelet's server cannot listen, trying again");
                    clock::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        let acceptor = tokio_rustls::TlsAcceptor::from(tls);
        let visitors = Arc::new(Visitors::default());
        loop {
            let (socket, peer) = tcp::accept(&listener).await;
            let Some(mut visit) = Visit::begin(&visitors, peer.ip()) else { continue }; // closed by the drop
            let (acceptor, kubelet, meter, crew) =
                (acceptor.clone(), kubelet.clone(), meter.clone(), owner.clone());
            owner.spawn(async move {
                let _ = socket.set_nodelay(true);
                let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket));
                let Ok(Ok(stream)) = handshake.await else { return };
                let user = stream.get_ref().1.peer_certificates().and_then(|c| pki::user_of(c.first()?));
                let allowed = user.is_some_and(|(_, groups)| groups.iter().any(|g| g == "system:masters"));
                if allowed {
                    visit.known();
                }
                let service = service_fn(move |request| {
                    let (kubelet, meter, crew) = (kubelet.clone(), meter.clone(), crew.clone());
                    async move {
                        let answer = match allowed {
                            true => serve(kubelet, meter, crew, request).await,
                            false => Err(refuse(StatusCode::UNAUTHORIZED, "Unauthorized")),
                        };
                        Ok::<_, Infallible>(answer.unwrap_or_else(|refused| refused))
                    }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                // A stranger hears one refusal; others may leave a connection open for a while.
                http.timer(TokioTimer::new()).header_read_timeout(IDLE_MAX).keep_alive(allowed);
                let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
                match allowed {
                    true => {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "connection to the kubelet ended");
                        }
                    }
                    false => drop(tokio::time::timeout(HANDSHAKE_TIMEOUT, connection).await),
                }
                drop(visit);
            });
        }
    });
}

/// Who is connected: how many, and how many of each address have not shown who they are.
#[derive(Default)]
struct Visitors(Mutex<(usize, HashMap<IpAddr, usize>)>);

/// One connection; its end makes room for another.
struct Visit {
    visitors: Arc<Visitors>,
    stranger: Option<IpAddr>,
}

impl Visitors {
    fn lock(&self) -> MutexGuard<'_, (usize, HashMap<IpAddr, usize>)> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Visit {
    /// `None`: there are too many, in all or from this address.
    fn begin(visitors: &Arc<Visitors>, from: IpAddr) -> Option<Visit> {
        let mut now = visitors.lock();
        let strangers = now.1.get(&from).copied().unwrap_or(0);
        if now.0 >= CONNECTIONS_MAX || strangers >= STRANGERS_MAX {
            return None;
        }
        now.0 += 1;
        now.1.insert(from, strangers + 1);
        drop(now);
        Some(Visit { visitors: visitors.clone(), stranger: Some(from) })
    }

    /// It has shown a certificate that is let in.
    fn known(&mut self) {
        let Some(address) = self.stranger.take() else { return };
        let mut now = self.visitors.lock();
        match now.1.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(now.1.remove(&address)),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.known();
        self.visitors.lock().0 -= 1;
    }
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
    /// As upstream reads truth values: whatever is said is true, but `0` and `false`.
    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v != "0" && !v.eq_ignore_ascii_case("false"))
    }
}

async fn serve(
    kubelet: Arc<Kubelet>,
    meter: Arc<Meter>,
    crew: Crew,
    request: Request<Incoming>,
) -> Result<Response<Body>, Response<Body>> {
    let path = request.uri().path().to_string();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let query = Query::of(&request);
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["healthz"]) => Ok(refuse(StatusCode::OK, "ok")),
        (&Method::GET, ["stats", "summary"]) => Ok(json(&meter.summary().await)),
        (&Method::GET, ["metrics", "resource"]) => Ok(refuse(StatusCode::OK, meter.resource_metrics().await)),
        (&Method::GET, ["containerLogs", namespace, pod, container]) => {
            read_logs(kubelet, crew, Key::new(*namespace, *pod), container, &query).await
        }
        (&Method::GET | &Method::POST, [what @ ("exec" | "attach"), namespace, pod, container]) => {
            let key = Key::new(*namespace, *pod);
            let running = kubelet.container(&key, container, false).await.map_err(runtime_error)?;
            let Some(running) = running.filter(|c| c.state == ContainerState::Running) else {
                return Err(refuse(StatusCode::BAD_REQUEST, format!("container not found ({container:?})")));
            };
            let (exec, command) = (*what == "exec", query.all("command"));
            let ask = Ask {
                stdin: query.flag("stdin"),
                stdout: query.flag("stdout"),
                stderr: query.flag("stderr"),
                tty: query.flag("tty"),
                verdict: exec,
                told: exec.then(|| {
                    // Which request led here, the API server says.
                    let cause =
                        request.headers().get(CAUSE_HEADER).and_then(|v| v.to_str().ok()?.parse().ok());
                    let record = Record::new("exec").object("pods", namespace, pod).cause(cause);
                    Box::new((kubelet.config.tap.clone(), record))
                }),
            };
            let runtime = kubelet.config.runtime.clone();
            if exec && command.is_empty() {
                return Err(refuse(
                    StatusCode::BAD_REQUEST,
                    "you must specify at least 1 command for the container",
                ));
            }
            let open = async move {
                match exec {
                    true => {
                        let (tty, stdin) = (ask.tty, ask.stdin);
                        runtime.exec(ExecRequest { container_id: running.id, command, tty, stdin }).await
                    }
                    false => runtime.attach(&running.id).await,
                }
            };
            upgrade(crew, request, Talk::Process { ask, open: Box::pin(open) })
        }
        (&Method::GET | &Method::POST, ["portForward", namespace, pod]) => {
            let sandbox = kubelet.sandbox(&Key::new(*namespace, *pod)).await.map_err(runtime_error)?;
            let Some(sandbox) = sandbox else {
                return Err(refuse(StatusCode::BAD_REQUEST, format!("pod {pod:?} is not running")));
            };
            let ports = forwarded_ports(&query).map_err(|why| refuse(StatusCode::BAD_REQUEST, why))?;
            let runtime = kubelet.config.runtime.clone();
            upgrade(crew, request, Talk::Ports { runtime, sandbox: sandbox.id, ports })
        }
        _ => Err(refuse(StatusCode::NOT_FOUND, format!("the kubelet does not serve {path}"))),
    }
}

/// The ports of a WebSocket's query; SPDY names its ports in its streams.
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

fn runtime_error(error: cri::Error) -> Response<Body> {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Which of a process' streams the client wants.
#[derive(Clone)]
struct Ask {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
    /// Whether its exit code is the answer. An attachment ends well however the process ends: that is in the pod's status.
    verdict: bool,
    /// Hears of the exit code.
    told: Option<Box<(Tap, Record)>>,
}

impl Ask {
    /// What the client is told at the end, if anything.
    fn answer(&self, protocol: &str, exit: Result<i32, String>) -> Option<Vec<u8>> {
        if let Some((tap, record)) = self.told.as_deref() {
            // As a shell calls what it cannot run.
            let code = exit.as_ref().copied().unwrap_or(126);
            tap.emit(record.clone().detail(serde_json::json!({ "exit": code })));
        }
        exit_status(protocol, exit.map(|code| if self.verdict { code } else { 0 }))
    }
}

type Opening = std::pin::Pin<Box<dyn Future<Output = cri::Result<Session>> + Send>>;

/// What an upgraded connection is for.
enum Talk {
    Process { ask: Ask, open: Opening },
    Ports { runtime: Arc<dyn cri::Runtime>, sandbox: String, ports: Vec<u16> },
}

/// The first of `offered` (best first) that is also in `known`.
fn agree(offered: &[String], known: &[&str]) -> Option<String> {
    offered.iter().find(|o| known.contains(&o.as_str())).cloned()
}

fn header_words(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|l| l.split(',')).map(|w| w.trim().to_string()).filter(|w| !w.is_empty()).collect()
}

const PROCESS_WS: [&str; 3] = ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"];
const PROCESS_SPDY: [&str; 3] = ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"];
/// SPDY inside WebSocket messages: how kubectl 1.31 and later forward ports.
const OLDEST: &str = "channel.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

fn upgrade(crew: Crew, mut request: Request<Incoming>, talk: Talk) -> Result<Response<Body>, Response<Body>> {
    let wanted = header_words(request.headers(), "upgrade").join(",").to_lowercase();
    let mut response = refuse(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
    let put = |headers: &mut HeaderMap, name: &'static str, value: &str| {
        if let Ok(value) = http::HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    let on_upgrade = hyper::upgrade::on(&mut request);
    if wanted == "websocket" {
        let offered = header_words(request.headers(), "sec-websocket-protocol");
        let known: &[&str] = match talk {
            Talk::Process { .. } => &PROCESS_WS,
            Talk::Ports { .. } => &[TUNNEL, "v5.channel.k8s.io", "v4.channel.k8s.io"],
        };
        // Whoever names no protocol speaks the oldest.
        let protocol = if offered.is_empty() { Some(OLDEST.to_string()) } else { agree(&offered, known) };
        let key = request.headers().get("sec-websocket-key").map(|k| k.as_bytes().to_vec());
        let (Some(protocol), Some(key)) = (protocol, key) else {
            return Err(refuse(
                StatusCode::BAD_REQUEST,
                format!("unable to upgrade: none of {offered:?} is spoken here"),
            ));
        };
        put(headers, "upgrade", "websocket");
        put(
            headers,
            "sec-websocket-accept",
            &tokio_tungstenite::tungstenite::handshake::derive_accept_key(&key),
        );
        if !offered.is_empty() {
            put(headers, "sec-websocket-protocol", &protocol);
        }
        crew.spawn(async move {
            let Ok(connection) = on_upgrade.await else { return };
            let io = TokioIo::new(connection);
            match talk {
                Talk::Process { ask, open } => websocket::process(io, &protocol, ask, open).await,
                Talk::Ports { runtime, sandbox, .. } if protocol == TUNNEL => {
                    let io = websocket::tunnel(io).await;
                    spdy_streams::ports(io, runtime, sandbox).await;
                }
                Talk::Ports { runtime, sandbox, ports } => {
                    websocket::ports(io, runtime, sandbox, ports).await
                }
            }
        });
        return Ok(response);
    }
    if wanted == "spdy/3.1" {
        let offered = header_words(request.headers(), "x-stream-protocol-version");
        let known: &[&str] = match talk {
            Talk::Process { .. } => &PROCESS_SPDY,
            Talk::Ports { .. } => &["portforward.k8s.io"],
        };
        let Some(protocol) = agree(&offered, known) else {
            let mut refused = refuse(
                StatusCode::FORBIDDEN,
                format!("unable to upgrade: none of {offered:?} is spoken here"),
            );
            put(refused.headers_mut(), "x-accepted-stream-protocol-versions", &known.join(","));
            return Err(refused);
        };
        put(headers, "upgrade", "SPDY/3.1");
        put(headers, "x-stream-protocol-version", &protocol);
        crew.spawn(async move {
            let Ok(connection) = on_upgrade.await else { return };
            let io = TokioIo::new(connection);
            match talk {
                Talk::Process { ask, open } => spdy_streams::process(io, &protocol, ask, open).await,
                Talk::Ports { runtime, sandbox, .. } => spdy_streams::ports(io, runtime, sandbox).await,
            }
        });
        return Ok(response);
    }
    Err(refuse(StatusCode::BAD_REQUEST, "unable to upgrade: missing upgrade headers in request"))
}

/// The last word on the status channel: how the process ended. From `v4.channel.k8s.io` on that is a `Status` in JSON; before, it is the text of
/// a failure, and a success is not told at all.
fn exit_status(protocol: &str, exit: Result<i32, String>) -> Option<Vec<u8>> {
    let failed = |code: i32| format!("command terminated with non-zero exit code: exit status {code}");
    if protocol == OLDEST {
        return match exit {
            Ok(0) => None,
            Ok(code) => Some(failed(code).into_bytes()),
            Err(message) => Some(message.into_bytes()),
        };
    }
    let status = match exit {
        Ok(0) => serde_json::json!({"metadata": {}, "status": "Success"}),
        Ok(code) => serde_json::json!({
            "metadata": {}, "status": "Failure",
            "message": failed(code),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(message) => serde_json::json!({
            "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500,
        }),
    };
    Some(status.to_string().into_bytes())
}

/// A resize message: `{"Width":99,"Height":33}`.
fn size_of(message: &[u8]) -> Option<cri::Size> {
    let value: BTreeMap<String, u16> = serde_json::from_slice(message).ok()?;
    Some(cri::Size { columns: *value.get("Width")?, rows: *value.get("Height")? })
}

async fn read_logs(
    kubelet: Arc<Kubelet>,
    crew: Crew,
    key: Key,
    container: &str,
    query: &Query,
) -> Result<Response<Body>, Response<Body>> {
    let number = |name: &str| query.get(name).and_then(|v| v.parse::<i64>().ok());
    let since =
        number("sinceSeconds").map(|s| clock::before(clock::now(), Duration::from_secs(s.max(0) as u64)));
    let options = Options {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail: number("tailLines").and_then(|n| usize::try_from(n).ok()),
        since: query.get("sinceTime").and_then(|t| t.parse().ok()).or(since),
        limit: number("limitBytes").and_then(|n| usize::try_from(n).ok()),
    };
    let found = kubelet.container(&key, container, options.previous).await.map_err(runtime_error)?;
    let Some(found) = found else {
        let pod = kubelet.pod(&key);
        let message = match options.previous {
            true => format!("previous terminated container {container:?} in pod {:?} not found", key.name),
            false => {
                let waiting = pod
                    .and_then(|p| p.status.clone())
                    .and_then(|s| s.container_statuses)
                    .and_then(|s| s.into_iter().find(|s| s.name == container))
                    .and_then(|s| s.state?.waiting?.reason);
                match waiting {
                    Some(reason) if reason.contains("Image") => format!(
                        "container {container:?} in pod {:?} is waiting to start: trying and failing to pull image",
                        key.name
                    ),
                    Some(reason) => {
                        format!("container {container:?} in pod {:?} is waiting to start: {reason}", key.name)
                    }
                    None => format!("container {container:?} in pod {:?} is not available", key.name),
                }
            }
        };
        return Err(refuse(StatusCode::BAD_REQUEST, message));
    };
    let (sender, mut pieces) = mpsc::channel::<Bytes>(LOG_BUFFER);
    crew.spawn(async move {
        let (path, limits) = (&found.log_path, kubelet.config.logs);
        let Ok(mut log) = Reader::open(path, limits, options.follow, options.tail) else { return };
        let mut printer = Printer::new(&options);
        let mut pending: Vec<u8> = Vec::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            // Asked before reading, so that what was written until the end is still read.
            let running = matches!(
                kubelet.config.runtime.container_status(&found.id).await,
                Ok(c) if c.state == ContainerState::Running
            );
            loop {
                let count = match log.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(_) => return,
                };
                pending.extend_from_slice(&buffer[..count]);
                let complete = pending.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
                let mut out = Vec::new();
                for line in pending[..complete].split_inclusive(|b| *b == b'\n') {
                    out.extend(printer.line(line.strip_suffix(b"\n").unwrap_or(line)));
                }
                pending.drain(..complete);
                if !out.is_empty() && sender.send(Bytes::from(out)).await.is_err() {
                    return;
                }
                if printer.full() {
                    return;
                }
            }
            if !options.follow || !running {
                return;
            }
            tokio::select! {
                () = clock::sleep(FOLLOW_EVERY) => {}
                () = sender.closed() => return, // nobody follows a log that may say nothing for days
            }
        }
    });
    let pieces = futures::stream::poll_fn(move |cx| pieces.poll_recv(cx)).map(|piece| Ok(Frame::data(piece)));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(pieces)));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_connection() {
        let visitors = Arc::new(Visitors::default());
        let (pod, server) = (IpAddr::from([10, 244, 1, 2]), IpAddr::from([172, 30, 0, 11]));
        let mut held: Vec<Visit> = (0..STRANGERS_MAX).filter_map(|_| Visit::begin(&visitors, pod)).collect();
        assert_eq!(held.len(), STRANGERS_MAX);
        assert!(Visit::begin(&visitors, pod).is_none());
        // Whoever has shown its certificate counts as a stranger no more.
        for _ in 0..4 * STRANGERS_MAX {
            let mut visit = Visit::begin(&visitors, server).expect("room for the API server");
            visit.known();
            held.push(visit);
        }
        let others = (0..u8::MAX).flat_map(|n| [IpAddr::from([10, 244, 2, n]); STRANGERS_MAX]);
        held.extend(others.filter_map(|address| Visit::begin(&visitors, address)));
        assert_eq!(held.len(), CONNECTIONS_MAX);
        assert!(Visit::begin(&visitors, server).is_none());
        held.clear();
        assert_eq!(*visitors.lock(), (0, HashMap::new()));
    }

    #[test]
    fn ports_are_numbers_and_not_more_than_channels() {
        let of = |text: &str| {
            forwarded_ports(&Query(form_urlencoded::parse(text.as_bytes()).into_owned().collect()))
        };
        assert_eq!(of("ports=80,81&ports=82"), Ok(vec![80, 81, 82]));
        assert_eq!(of(""), Ok(vec![]));
        for wrong in ["ports=0", "ports=65536", "ports=80,http"] {
            assert!(of(wrong).unwrap_err().contains("1 to 65535"), "{wrong}");
        }
        let many = |n: usize| format!("ports={}", vec!["80"; n].join(","));
        assert_eq!(of(&many(128)).map(|ports| ports.len()), Ok(128));
        assert!(of(&many(129)).unwrap_err().contains("at most 128"));
    }
}
