//! What probes and lifecycle hooks do: run a command, ask over HTTP, open a connection, ask gRPC's health service, or sleep.
//!
//! Network actions start in the node's network namespace, as a kubelet's do, and go to the pod's address.

use crate::cni::NodeNetwork;
use crate::cri::{ExecRequest, Runtime};
use crate::pki::{self, Trust};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container as Spec, GRPCAction, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// As much of an answer as is read and goes into an Event, in bytes: upstream's bound of a probe's answer.
const OUTPUT_MAX: usize = 10 << 10;
/// A command begins in this time at least, however short the time is that it may take. All commands of a machine are started in turn.
const START_MAX: Duration = Duration::from_secs(10);
/// A redirect is followed this often, if it stays on the same host.
const REDIRECTS_MAX: usize = 10;

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Exec(Vec<String>),
    Http(HTTPGetAction),
    Tcp { host: Option<String>, port: IntOrString },
    Grpc(GRPCAction),
    Sleep(Duration),
}

impl Action {
    /// `None`: the pod asks for nothing that is known here.
    pub fn of_probe(probe: &Probe) -> Option<Action> {
        if let Some(exec) = &probe.exec {
            return Some(Action::Exec(exec.command.clone().unwrap_or_default()));
        }
        if let Some(get) = &probe.http_get {
            return Some(Action::Http(get.clone()));
        }
        if let Some(tcp) = &probe.tcp_socket {
            return Some(Action::Tcp { host: tcp.host.clone(), port: tcp.port.clone() });
        }
        probe.grpc.clone().map(Action::Grpc)
    }

    pub fn of_hook(hook: &LifecycleHandler) -> Option<Action> {
        if let Some(exec) = &hook.exec {
            return Some(Action::Exec(exec.command.clone().unwrap_or_default()));
        }
        if let Some(get) = &hook.http_get {
            return Some(Action::Http(get.clone()));
        }
        // `tcpSocket` was never implemented for hooks; the API accepts it and nothing happens.
        let sleep = hook.sleep.as_ref()?;
        Some(Action::Sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))))
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Well,
    /// Well, with a remark.
    Warning(String),
    Ill(String),
}

/// Where an action happens.
pub struct Target<'a> {
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
    pub async fn act(&self, action: &Action, timeout: Duration) -> Result<Answer, String> {
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
                crate::clock::sleep(*time).await;
                Ok(Answer::Well)
            }
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
        // The time of the probe counts from here: until then the command may have waited for those of other pods.
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
        let to = self.address(get.host.as_deref(), &get.port)?;
        let tls = get.scheme.as_deref() == Some("HTTPS");
        let path = get.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
        let mut path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{to}{path}");
        let wanted = get.http_headers.as_deref().unwrap_or_default();
        let header =
            |name: &str| wanted.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.clone());
        let host = header("host").unwrap_or_else(|| to.to_string());
        let asked = async {
            for _ in 0..=REDIRECTS_MAX {
                let mut request = http::Request::get(&path).header("host", &host);
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
                    .map_err(|e| format!("Get {url:?}: {e}"))?;
                let stream = self
                    .network
                    .dial(to)
                    .await
                    .map_err(|e| format!("Get {url:?}: {}", dial_error(to, &e)))?;
                let answer = match tls {
                    true => {
                        one_request(
                            encrypted(stream, to).await.map_err(|e| format!("Get {url:?}: {e}"))?,
                            request,
                        )
                        .await
                    }
                    false => one_request(stream, request).await,
                };
                let response = answer.map_err(|e| format!("Get {url:?}: {e}"))?;
                let (status, location) = response;
                match location.filter(|_| (300..400).contains(&status)) {
                    Some(next) => match same_host(&next, &host) {
                        Some(stays) => path = stays,
                        None => return Ok((status, true)),
                    },
                    None => return Ok((status, false)),
                }
            }
            Err(format!("Get {url:?}: stopped after {REDIRECTS_MAX} redirects"))
        };
        Ok(match tokio::time::timeout(timeout, asked).await {
            Ok(Ok((_, true))) => Answer::Warning("Probe terminated redirects".into()),
            Ok(Ok((200..=399, false))) => Answer::Well,
            Ok(Ok((status, _))) => Answer::Ill(format!("HTTP probe failed with statuscode: {status}")),
            Ok(Err(why)) => Answer::Ill(why),
            Err(_) => Answer::Ill(format!(
                "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            )),
        })
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
pub fn port_number(spec: &Spec, port: &IntOrString) -> Result<u16, String> {
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

/// The path of a redirect that stays on the same host.
fn same_host(location: &str, host: &str) -> Option<String> {
    let uri: http::Uri = location.parse().ok()?;
    let stays = uri.authority().is_none_or(|a| a.as_str() == host);
    stays.then(|| uri.path_and_query().map_or("/".into(), |p| p.to_string()))
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
async fn drain(from: &mut crate::cri::Reader, into: &mut Vec<u8>) -> std::io::Result<()> {
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

    /// The commands of all pods are started in turn: a pod that has many of them must not make another one's probes fail.
    #[tokio::test(start_paused = true)]
    async fn the_time_of_an_exec_probe_counts_from_the_birth_of_its_process() {
        let (ip, pods) = (std::net::Ipv4Addr::new(172, 30, 0, 11), std::net::Ipv4Addr::new(10, 244, 1, 0));
        let runtime = crate::cri::fake::FakeRuntime::new(ip, pods, crate::rng::Rng::seeded(1));
        let network = crate::cni::fake::FakeFabric::default().node(ip, pods);
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
    }

    #[test]
    fn a_redirect_is_followed_only_at_home() {
        assert_eq!(same_host("/healthz?full", "10.0.0.1:80").as_deref(), Some("/healthz?full"));
        assert_eq!(same_host("http://10.0.0.1:80/x", "10.0.0.1:80").as_deref(), Some("/x"));
        assert_eq!(same_host("http://example.org/x", "10.0.0.1:80"), None);
    }

    #[test]
    fn health_is_read_from_its_frame() {
        assert_eq!(health(&[0, 0, 0, 0, 2, 8, 1]), 1);
        assert_eq!(health(&[0, 0, 0, 0, 2, 8, 2]), 2);
        assert_eq!(health(&[0, 0, 0, 0, 0]), 0);
    }
}
