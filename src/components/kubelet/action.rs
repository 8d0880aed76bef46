//! What probes and lifecycle hooks do: run a command, ask over HTTP, open a connection, ask gRPC's
//! health service, or sleep.
//!
//! Network actions start in the node's network namespace, as a kubelet's do, and go to the pod's
//! address.

use super::env;
use bytes::Bytes;
use cni::NodeNetwork;
use cri::{ExecRequest, Runtime};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container as Spec, GRPCAction, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pki::{self, Trust};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// As much of an answer as is read and goes into an Event, in bytes: upstream's bound of a probe's
/// answer.
const OUTPUT_MAX: usize = 10 << 10;
/// A command begins in this time at least, however short the time is that it may take. All commands
/// of a machine are started in turn.
const START_MAX: Duration = Duration::from_secs(10);
/// A redirect is followed this often, if it stays on the same host.
const REDIRECTS_MAX: usize = 10;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Exec(Vec<String>),
    Http(HTTPGetAction),
    Tcp { host: Option<String>, port: IntOrString },
    Grpc(GRPCAction),
    Sleep(Duration),
}

impl Action {
    /// Returns what a probe of this container does. `None`: the pod asks for nothing that is known
    /// here. In a command `$(NAME)` is replaced by a variable that the container's definition gives
    /// a value; one that comes from elsewhere is empty, as upstream
    /// (`ExpandContainerCommandOnlyStatic`).
    ///
    /// # Errors
    /// The replaced text is too long.
    pub(crate) fn of_probe(probe: &Probe, spec: &Spec) -> Result<Option<Action>, String> {
        if let Some(exec) = &probe.exec {
            let lookup = |name: &str| {
                let found = spec.env.iter().flatten().rfind(|variable| variable.name == name);
                found.map(|variable| variable.value.clone().unwrap_or_default())
            };
            let command = exec.command.iter().flatten().map(|part| env::expand(part, lookup));
            return Ok(Some(Action::Exec(command.collect::<Result<_, _>>()?)));
        }
        if let Some(get) = &probe.http_get {
            return Ok(Some(Action::Http(get.clone())));
        }
        if let Some(tcp) = &probe.tcp_socket {
            return Ok(Some(Action::Tcp { host: tcp.host.clone(), port: tcp.port.clone() }));
        }
        Ok(probe.grpc.clone().map(Action::Grpc))
    }

    /// Why the host that is to be asked is none: it is a name, and a node has no resolver. As
    /// upstream, where a name that cannot be resolved is a failure like a refused connection.
    fn unknown_host(&self) -> Option<String> {
        let host = match self {
            Action::Http(get) => get.host.as_deref(),
            Action::Tcp { host, .. } => host.as_deref(),
            _ => None,
        };
        let host = host.filter(|host| !host.is_empty() && *host != "localhost")?;
        let is_address = host.parse::<IpAddr>().is_ok();
        (!is_address).then(|| format!("dial tcp: lookup {host}: no such host; a probe needs an address"))
    }

    /// # Errors
    /// The hook is of no kind that can be run. `tcpSocket` is one: the API accepts it, and as
    /// upstream the hook fails when it is to run.
    pub(crate) fn of_hook(hook: &LifecycleHandler) -> Result<Action, String> {
        if let Some(exec) = &hook.exec {
            return Ok(Action::Exec(exec.command.clone().unwrap_or_default()));
        }
        if let Some(get) = &hook.http_get {
            return Ok(Action::Http(get.clone()));
        }
        let invalid = "invalid handler: a lifecycle hook is exec, httpGet or sleep";
        let sleep = hook.sleep.as_ref().ok_or(invalid)?;
        Ok(Action::Sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))))
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Well,
    /// Well, with a remark.
    Warning(String),
    Ill(String),
}

/// Where an action happens.
pub(crate) struct Target<'a> {
    pub spec: &'a Spec,
    pub container_id: &'a str,
    pub pod_ip: Option<IpAddr>,
    pub runtime: &'a dyn Runtime,
    pub network: &'a dyn NodeNetwork,
    /// `User-Agent` of HTTP requests.
    pub agent: &'a str,
}

impl Target<'_> {
    /// Does it once. `Err`: nobody could be asked, so nothing is known.
    pub(crate) async fn act(&self, action: &Action, timeout: Duration) -> Result<Answer, String> {
        if let Some(why) = action.unknown_host() {
            return Ok(Answer::Ill(why));
        }
        match action {
            Action::Exec(command) => self.exec(command, timeout).await,
            Action::Http(get) => self.http(get, timeout).await,
            Action::Tcp { host, port } => {
                let to = self.address(host.as_deref(), port)?;
                Ok(match tokio::time::timeout(timeout, self.network.dial(to)).await {
                    Ok(Ok(_)) => Answer::Well,
                    Ok(Err(error)) => Answer::Ill(dial_error(to, &error)),
                    Err(_) => Answer::Ill(format!("dial tcp {to}: i/o timeout")),
                })
            }
            Action::Grpc(grpc) => self.grpc(grpc, timeout).await,
            Action::Sleep(time) => {
                clock::pause(*time).await; // of a hook: part of the grace period, which is real
                Ok(Answer::Well)
            }
        }
    }

    /// Runs a lifecycle hook. What a server answers to an HTTP hook does not matter, as upstream:
    /// the hook has done its work when the request was heard. An HTTPS hook that is answered in
    /// plain HTTP is sent in plain HTTP. Source: `pkg/kubelet/lifecycle/handlers.go`.
    ///
    /// # Errors
    /// Why the hook failed.
    pub(crate) async fn hook(&self, action: &Action, timeout: Duration) -> Result<(), String> {
        let Action::Http(get) = action else {
            return match self.act(action, timeout).await? {
                Answer::Well | Answer::Warning(_) => Ok(()),
                Answer::Ill(why) => Err(why),
            };
        };
        match self.ask(get, timeout).await? {
            Ok(_) => Ok(()),
            Err(NoAnswer::NotTls(why)) => {
                let mut plain = get.clone();
                plain.scheme = Some("HTTP".into());
                // A server without TLS must not get what was meant to be encrypted.
                plain.http_headers.iter_mut().for_each(|all| {
                    all.retain(|header| !header.name.eq_ignore_ascii_case("authorization"));
                });
                self.ask(&plain, timeout).await?.map(drop).map_err(|_| why)
            }
            Err(NoAnswer::Other(why)) => Err(why),
        }
    }

    fn address(&self, host: Option<&str>, port: &IntOrString) -> Result<SocketAddr, String> {
        let ip = match host.filter(|h| !h.is_empty()) {
            Some("localhost") => IpAddr::from([127, 0, 0, 1]),
            Some(host) => {
                host.parse().map_err(|_| format!("lookup {host}: a probe's host has to be an address"))?
            }
            None => self.pod_ip.ok_or("the pod has no address yet")?,
        };
        Ok(SocketAddr::new(ip, port_number(self.spec, port)?))
    }

    async fn exec(&self, command: &[String], timeout: Duration) -> Result<Answer, String> {
        let request = ExecRequest {
            container_id: self.container_id.into(),
            command: command.to_vec(),
            tty: false,
            stdin: false,
        };
        // The time of the probe counts from here: until then the command may have waited for those
        // of other pods.
        let began = match tokio::time::timeout(timeout.max(START_MAX), self.runtime.exec(request)).await {
            Ok(began) => began.map_err(|e| e.line())?,
            Err(_) => {
                let limit = timeout.max(START_MAX).as_secs_f64();
                return Ok(Answer::Ill(format!(
                    "command {:?} did not start within {limit}s",
                    command.join(" ")
                )));
            }
        };
        let run = async {
            let session = began;
            let mut stderr = session.stderr;
            let mut stdout = session.stdout;
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let both = async {
                let errors = async {
                    match stderr.as_mut() {
                        Some(stderr) => drain(stderr, &mut err).await,
                        None => Ok(()),
                    }
                };
                let (a, b) = futures::join!(drain(&mut stdout, &mut out), errors);
                a.and(b)
            };
            let (read, exit) = futures::join!(both, session.exit);
            read.map_err(|e| e.to_string())?;
            out.extend(err);
            out.truncate(OUTPUT_MAX);
            let text = String::from_utf8_lossy(&out).into_owned();
            match exit {
                Ok(0) => Ok(Answer::Well),
                Ok(_) => Ok(Answer::Ill(text)),
                Err(_) => Err("the command's end was not seen".to_string()),
            }
        };
        // Past the time the session is dropped, which kills the command.
        match tokio::time::timeout(timeout, run).await {
            Ok(answer) => answer,
            Err(_) => Ok(Answer::Ill(format!(
                "command timed out: {:?} timed out after {}s",
                command.join(" "),
                timeout.as_secs_f64()
            ))),
        }
    }

    async fn http(&self, get: &HTTPGetAction, timeout: Duration) -> Result<Answer, String> {
        Ok(match self.ask(get, timeout).await? {
            Ok(200..=299) => Answer::Well,
            Ok(300..=399) => Answer::Warning("Probe terminated redirects".into()),
            Ok(status) => Answer::Ill(format!("HTTP probe failed with statuscode: {status}")),
            Err(NoAnswer::NotTls(why) | NoAnswer::Other(why)) => Answer::Ill(why),
        })
    }

    /// Sends a GET request and follows redirects within its host. Returns the status of the last
    /// answer.
    async fn ask(&self, get: &HTTPGetAction, timeout: Duration) -> Result<Result<u16, NoAnswer>, String> {
        let to = self.address(get.host.as_deref(), &get.port)?;
        let tls = get.scheme.as_deref() == Some("HTTPS");
        let path = get.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        let path = escaped(&path);
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{to}{path}");
        let wanted = get.http_headers.as_deref().unwrap_or_default();
        let header =
            |name: &str| wanted.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.clone());
        let host = header("host").unwrap_or_else(|| to.to_string());
        let mut place = Place { tls, to, host, path };
        let failed = |why: String| NoAnswer::Other(format!("Get {url:?}: {why}"));
        let asked = async {
            for _ in 0..=REDIRECTS_MAX {
                let mut request = http::Request::get(escaped(&place.path)).header("host", &place.host);
                if header("user-agent").is_none() {
                    request = request.header("user-agent", self.agent);
                }
                if header("accept").is_none() {
                    request = request.header("accept", "*/*");
                }
                for h in wanted.iter().filter(|h| !h.name.eq_ignore_ascii_case("host")) {
                    request = request.header(&h.name, &h.value);
                }
                let request = request
                    .header("connection", "close")
                    .body(Full::<Bytes>::default())
                    .map_err(|e| failed(e.to_string()))?;
                let stream =
                    self.network.dial(place.to).await.map_err(|e| failed(dial_error(place.to, &e)))?;
                let answer = match place.tls {
                    true => {
                        let stream = encrypted(stream, place.to).await.map_err(|e| match is_plain(&*e) {
                            true => NoAnswer::NotTls(format!(
                                "Get {url:?}: http: server gave HTTP response to HTTPS client"
                            )),
                            false => failed(e.to_string()),
                        })?;
                        one_request(stream, request).await
                    }
                    false => one_request(stream, request).await,
                };
                let (status, location) = answer.map_err(|e| failed(e.to_string()))?;
                let next = location.filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308));
                match next.and_then(|location| redirected(&place, &location)) {
                    Some(next) => place = next,
                    None => return Ok(status),
                }
            }
            Err(failed(format!("stopped after {REDIRECTS_MAX} redirects")))
        };
        let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        Ok(tokio::time::timeout(timeout, asked).await.unwrap_or_else(|_| Err(failed(late.into()))))
    }

    /// The `Check` call of `grpc.health.v1.Health`.
    async fn grpc(&self, grpc: &GRPCAction, timeout: Duration) -> Result<Answer, String> {
        let to = self.address(None, &IntOrString::Int(grpc.port))?;
        let service = grpc.service.clone().unwrap_or_default();
        let asked = async {
            let stream = self.network.dial(to).await.map_err(|e| dial_error(to, &e))?;
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .map_err(|e| e.to_string())?;
            // The one field of HealthCheckRequest: `service`, number 1, a string.
            let mut message = vec![];
            if !service.is_empty() {
                message = vec![0x0a];
                prost::encoding::encode_varint(service.len() as u64, &mut message);
                message.extend_from_slice(service.as_bytes());
            }
            let mut frame = vec![0]; // not compressed
            frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
            frame.extend(message);
            let request = http::Request::post(format!("http://{to}/grpc.health.v1.Health/Check"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("user-agent", self.agent)
                .body(Full::new(Bytes::from(frame)))
                .map_err(|e| e.to_string())?;
            let exchange = async {
                let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
                let head = response.headers().clone();
                let body = Limited::new(response.into_body(), OUTPUT_MAX).collect().await;
                let body = body.map_err(|e| e.to_string())?;
                let trailers = body.trailers().cloned().unwrap_or_default();
                Ok::<_, String>((head, trailers, body.to_bytes()))
            };
            tokio::pin!(connection);
            let (head, trailers, body) = tokio::select! {
                biased; // an answer counts, also if the connection ends with it
                done = exchange => done?,
                end = &mut connection => return Err(end.err().map_or("connection closed".into(), |e| e.to_string())),
            };
            let code = trailers.get("grpc-status").or(head.get("grpc-status"));
            let code = code.and_then(|c| c.to_str().ok()).unwrap_or("2").to_string();
            Ok((code, body))
        };
        Ok(match tokio::time::timeout(timeout, asked).await {
            Err(_) => Answer::Ill(format!(
                "timeout: failed to connect service {:?} within {}s: context deadline exceeded",
                to.to_string(),
                timeout.as_secs_f64()
            )),
            Ok(Err(why)) => {
                Answer::Ill(format!("error: failed to connect service {:?}: {why}", to.to_string()))
            }
            Ok(Ok((code, body))) if code == "0" => match health(&body) {
                1 => Answer::Well,
                2 => Answer::Ill("service unhealthy (responded with \"NOT_SERVING\")".into()),
                3 => Answer::Ill("service unhealthy (responded with \"SERVICE_UNKNOWN\")".into()),
                _ => Answer::Ill("service unhealthy (responded with \"UNKNOWN\")".into()),
            },
            Ok(Ok((code, _))) if code == "12" => Answer::Ill(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                    .into(),
            ),
            Ok(Ok((code, _))) => {
                Answer::Ill(format!("error: health rpc probe failed: rpc error: code = {code}"))
            }
        })
    }
}

/// `status`, field 1 of HealthCheckResponse, out of one gRPC frame.
fn health(frame: &[u8]) -> u64 {
    match frame.get(5..) {
        Some([0x08, status, ..]) => u64::from(*status),
        _ => 0,
    }
}

/// A port by number, or by the name the container gave it.
pub(crate) fn port_number(spec: &Spec, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            match spec.ports.iter().flatten().find(|p| p.name.as_ref() == Some(name)) {
                Some(found) => found.container_port,
                None => name
                    .parse()
                    .map_err(|_| format!("couldn't find port: {name} in container {}", spec.name))?,
            }
        }
    };
    u16::try_from(number).ok().filter(|n| *n > 0).ok_or(format!("invalid port number: {number}"))
}

/// Where an HTTP request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    tls: bool,
    to: SocketAddr,
    /// The header.
    host: String,
    /// With its query.
    path: String,
}

/// Why an HTTP request had no answer.
enum NoAnswer {
    /// The server does not speak TLS.
    NotTls(String),
    Other(String),
}

/// Returns where a redirect leads that stays on the same host, whatever its port and its scheme;
/// `None` if it leads elsewhere. As upstream the host is the one that was dialled, not the `Host`
/// header.
///
/// ```text
/// from http://10.0.0.1:8080/a/b:  /c -> http://10.0.0.1:8080/c     c -> http://10.0.0.1:8080/a/c
///                                 https://10.0.0.1/c -> https://10.0.0.1:443/c     http://example.org/ -> elsewhere
/// ```
fn redirected(from: &Place, location: &str) -> Option<Place> {
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
        return Some(Place { path: without_dots(&path), ..from.clone() });
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
    is_home.then(|| Place { tls, to, host: authority.into(), path: without_dots(&path) })
}

/// Percent-encodes what a path with its query may not contain (RFC 3986, 3.3 and 3.4); what is
/// encoded already stays, so that the same may be done again.
///
/// ```text
/// /health check?a=<b>  ->  /health%20check?a=%3Cb%3E        /50%  ->  /50%25        /%20  ->  /%20
/// ```
fn escaped(path: &str) -> String {
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

/// Whether a TLS handshake failed because the server answered in plain HTTP.
fn is_plain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let cause = error.downcast_ref::<std::io::Error>().and_then(|e| e.get_ref());
    let cause = cause.and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)))
}

/// As Go's `net` says it.
fn dial_error(to: SocketAddr, error: &std::io::Error) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        std::io::ErrorKind::TimedOut => return format!("dial tcp {to}: i/o timeout"),
        _ => error.to_string(),
    };
    format!("dial tcp {to}: connect: {why}")
}

/// Reads to the end, keeps the first [`OUTPUT_MAX`] bytes.
async fn drain(from: &mut cri::Reader, into: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            n if into.len() < OUTPUT_MAX => into.extend_from_slice(&buffer[..n]),
            _ => {}
        }
    }
}

async fn encrypted(
    stream: TcpStream,
    to: SocketAddr,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Box<dyn std::error::Error + Send + Sync>> {
    let connector = tokio_rustls::TlsConnector::from(pki::foreign_client(&Trust::Anyone, None, &[])?);
    Ok(connector.connect(rustls::pki_types::ServerName::IpAddress(to.ip().into()), stream).await?)
}

/// One request over a connection of its own: status, and where it redirects to.
async fn one_request<S>(
    stream: S,
    request: http::Request<Full<Bytes>>,
) -> Result<(u16, Option<String>), hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::pin!(connection);
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let response = tokio::select! {
        biased;
        response = &mut answer => response?,
        // The connection may end together with its answer.
        end = &mut connection => { end?; answer.await? }
    };
    let location = response.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_string);
    Ok((response.status().as_u16(), location))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_a_number_or_a_name() {
        let spec: Spec = serde_json::from_value(
            serde_json::json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}),
        )
        .unwrap();
        assert_eq!(port_number(&spec, &IntOrString::String("web".into())), Ok(8080));
        assert_eq!(port_number(&spec, &IntOrString::Int(81)), Ok(81));
        assert_eq!(port_number(&spec, &IntOrString::String("82".into())), Ok(82));
        assert!(port_number(&spec, &IntOrString::String("nope".into())).unwrap_err().contains("nope"));
        assert!(port_number(&spec, &IntOrString::Int(70_000)).is_err());
    }

    /// The commands of all pods are started in turn: a pod that has many of them must not make
    /// another one's probes fail.
    #[tokio::test(start_paused = true)]
    async fn the_time_of_an_exec_probe_counts_from_the_birth_of_its_process() {
        // A program does not answer faster where the cluster's clock does.
        let _scale = clock::pin_scale(20);
        let (ip, pods) = (std::net::Ipv4Addr::new(172, 30, 0, 11), std::net::Ipv4Addr::new(10, 244, 1, 0));
        let runtime = cri::fake::FakeRuntime::new(ip, pods, rng::Rng::seeded(1));
        let network = cni::fake::FakeFabric::default().node(ip, pods);
        let spec = Spec { name: "c".into(), ..Spec::default() };
        let target = Target {
            spec: &spec,
            container_id: "c",
            pod_ip: None,
            runtime: &runtime,
            network: &*network,
            agent: "test",
        };
        let (action, timeout) = (Action::Exec(vec!["true".into()]), Duration::from_secs(1));
        let asked = async |start: u64, run: u64| {
            runtime.exec_takes(Duration::from_millis(start), Duration::from_millis(run));
            target.act(&action, timeout).await
        };
        assert_eq!(asked(0, 900).await, Ok(Answer::Well));
        assert_eq!(asked(9_000, 900).await, Ok(Answer::Well), "its turn came late");
        let late = |answer| matches!(answer, Ok(Answer::Ill(why)) if why.contains("timed out after 1s"));
        assert!(late(asked(0, 1_100).await) && late(asked(9_000, 1_100).await));
        let stuck = asked(11_000, 0).await;
        assert!(
            matches!(&stuck, Ok(Answer::Ill(why)) if why.contains("did not start within 10s")),
            "{stuck:?}"
        );
        let start = clock::Instant::now();
        assert_eq!(target.act(&Action::Sleep(timeout), timeout).await, Ok(Answer::Well));
        assert_eq!(start.elapsed(), timeout, "a hook's sleep is part of the grace period");
    }

    #[test]
    fn a_redirect_is_followed_only_at_home() {
        let from = Place {
            tls: false,
            to: "10.0.0.1:8080".parse().unwrap(),
            host: "web.example".into(),
            path: "/a/b?c".into(),
        };
        let to = |location: &str| {
            let place = redirected(&from, location)?;
            let scheme = if place.tls { "https" } else { "http" };
            Some(format!("{scheme}://{}{} for {}", place.to, place.path, place.host))
        };
        for (location, want) in [
            ("/healthz?full", "http://10.0.0.1:8080/healthz?full for web.example"),
            ("login", "http://10.0.0.1:8080/a/login for web.example"),
            ("../x/./y#there", "http://10.0.0.1:8080/x/y for web.example"),
            ("?next=http://other", "http://10.0.0.1:8080/a/b?next=http://other for web.example"),
            ("http://10.0.0.1:8080/x", "http://10.0.0.1:8080/x for 10.0.0.1:8080"),
            ("http://10.0.0.1/login", "http://10.0.0.1:80/login for 10.0.0.1"),
            ("https://10.0.0.1:8443", "https://10.0.0.1:8443/ for 10.0.0.1:8443"),
            ("HTTPS://10.0.0.1/x", "https://10.0.0.1:443/x for 10.0.0.1"),
            ("//10.0.0.1/x", "http://10.0.0.1:80/x for 10.0.0.1"),
        ] {
            assert_eq!(to(location).as_deref(), Some(want), "{location}");
        }
        for location in ["http://example.org/x", "http://web.example/x", "//10.0.0.2/", "ftp://10.0.0.1/"] {
            assert_eq!(to(location), None, "{location}");
        }
    }

    /// Answers every connection to a port of the node with this. Returns what it is asked.
    async fn answering(
        network: &dyn NodeNetwork,
        port: u16,
        answer: &'static str,
    ) -> tokio::sync::mpsc::UnboundedReceiver<Vec<u8>> {
        use tokio::io::AsyncWriteExt;
        let listener = network.listen(SocketAddr::new(network.node_ip().into(), port)).await.unwrap();
        let (told, asked) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = vec![0; 4096];
                let read = stream.read(&mut bytes).await.unwrap_or_default();
                bytes.truncate(read);
                let _ = told.send(bytes); // a test may not look
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        asked
    }

    #[tokio::test]
    async fn an_http_hook_has_done_its_work_when_it_was_heard_and_a_probe_looks_at_the_answer() {
        let (ip, pods) = (std::net::Ipv4Addr::new(172, 30, 0, 11), std::net::Ipv4Addr::new(10, 244, 1, 0));
        let runtime = cri::fake::FakeRuntime::new(ip, pods, rng::Rng::seeded(1));
        let network = cni::fake::FakeFabric::default().node(ip, pods);
        let spec = Spec { name: "c".into(), ..Spec::default() };
        let target = Target {
            spec: &spec,
            container_id: "c",
            pod_ip: Some(ip.into()),
            runtime: &runtime,
            network: &*network,
            agent: "test",
        };
        let get = |scheme: &str, port: u16| {
            let header = serde_json::json!({"name": "Authorization", "value": "secret"});
            let get =
                serde_json::json!({"port": port, "scheme": scheme, "path": "/x", "httpHeaders": [header]});
            Action::Http(serde_json::from_value(get).unwrap())
        };
        let limit = Duration::from_secs(20);
        let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let port = 8080;
        let with_blank = serde_json::json!({"port": port, "path": "/health check?a=<b>&c=%20#here"});
        let with_blank = Action::Http(serde_json::from_value(with_blank).unwrap());
        let mut asked = answering(&*network, port, missing).await;
        assert_eq!(target.hook(&get("HTTP", port), limit).await, Ok(()));
        asked.recv().await.unwrap();
        let probed = target.act(&get("HTTP", port), limit).await.unwrap();
        assert_eq!(probed, Answer::Ill("HTTP probe failed with statuscode: 404".into()));
        asked.recv().await.unwrap();
        assert!(matches!(target.act(&with_blank, limit).await, Ok(Answer::Ill(why)) if why.contains("404")));
        let heard = String::from_utf8(asked.recv().await.unwrap()).unwrap();
        assert!(heard.starts_with("GET /health%20check?a=%3Cb%3E&c=%20 HTTP"), "{heard}");
        assert_eq!(target.hook(&get("HTTPS", port), limit).await, Ok(()), "it is sent in plain HTTP");
        asked.recv().await.unwrap(); // the handshake
        let plain = String::from_utf8(asked.recv().await.unwrap()).unwrap();
        assert!(plain.starts_with("GET /x ") && !plain.contains("secret"), "{plain}");
        let refused = target.hook(&get("HTTP", 8081), limit).await.unwrap_err();
        assert!(refused.contains("connection refused"), "{refused}");
    }

    #[test]
    fn variables_are_replaced_in_the_command_of_a_probe_and_not_of_a_hook() {
        let command = serde_json::json!({"exec": {"command": ["sh", "-c", "nc -z localhost $(PORT) $$(ls) $(OF_NODE)$(NONE)"]}});
        let of_node = serde_json::json!({"fieldRef": {"fieldPath": "spec.nodeName"}});
        let spec: Spec = serde_json::from_value(serde_json::json!({"name": "c", "env": [
            {"name": "PORT", "value": "80"}, {"name": "PORT", "value": "8080"},
            {"name": "OF_NODE", "valueFrom": of_node},
        ]}))
        .unwrap();
        let last = |action: Action| match action {
            Action::Exec(command) => command.last().cloned(),
            _ => None,
        };
        let probe = Action::of_probe(&serde_json::from_value(command.clone()).unwrap(), &spec);
        let asked = last(probe.unwrap().unwrap());
        assert_eq!(asked.as_deref(), Some("nc -z localhost 8080 $(ls) $(NONE)"));
        let hook = Action::of_hook(&serde_json::from_value(command).unwrap()).unwrap();
        assert!(last(hook).unwrap().contains("$(PORT)"));
    }

    #[test]
    fn a_hook_that_cannot_be_run_fails() {
        let hook = |json| Action::of_hook(&serde_json::from_value(json).unwrap());
        assert!(
            hook(serde_json::json!({"tcpSocket": {"port": 80}})).unwrap_err().contains("invalid handler")
        );
        assert!(hook(serde_json::json!({})).is_err());
        assert_eq!(
            hook(serde_json::json!({"sleep": {"seconds": 5}})),
            Ok(Action::Sleep(Duration::from_secs(5)))
        );
    }

    #[test]
    fn health_is_read_from_its_frame() {
        assert_eq!(health(&[0, 0, 0, 0, 2, 8, 1]), 1);
        assert_eq!(health(&[0, 0, 0, 0, 2, 8, 2]), 2);
        assert_eq!(health(&[0, 0, 0, 0, 0]), 0);
    }
}
