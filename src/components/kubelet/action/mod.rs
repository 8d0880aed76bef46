//! The actions of probes and lifecycle hooks: run a command, ask over HTTP, open a connection, ask
//! gRPC's health service, or sleep.
//!
//! Network actions start in the node's network namespace, as a kubelet's do, and go to the pod's
//! address.

use super::env;
use api::gostr::quote;
use bytes::Bytes;
use cni::NodeNetwork;
use cri::{ExecRequest, Runtime};
use http_body_util::Full;
use http_request::{
    HttpAnswer, HttpTarget, NoAnswer, OUTPUT_MAX, encrypted, escaped, is_plain, no_answer, one_request,
    redirected,
};
use k8s_openapi::api::core::v1::{Container as Spec, GRPCAction, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;

mod grpc;
mod http_request;

/// A command begins in this time at least, however short the time is that it may take. All commands
/// of a machine are started in turn.
const START_MAX: Duration = Duration::from_secs(10);
/// Requests of one chain of redirects, which are followed on the same host. Upstream, too, counts
/// the first request.
const REDIRECTS_MAX: usize = 10;

/// The reason of the Event about a hook that was sent in plain HTTP.
pub(crate) const FALLBACK: &str = "LifecycleHTTPFallback";

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

    /// Returns a message if the host that is to be asked is a name: a node has no resolver. As
    /// upstream a name that cannot be resolved is a failure like a refused connection.
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

    /// Returns what a lifecycle hook does.
    ///
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
        let invalid = "Cannot run handler: invalid handler: a lifecycle hook is exec, httpGet or sleep";
        let sleep = hook.sleep.as_ref().ok_or(invalid)?;
        Ok(Action::Sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))))
    }

    /// Returns how messages name a lifecycle hook (upstream: `handlerRunner.Run`).
    pub(crate) fn hook_name(&self) -> String {
        let (kind, what) = match self {
            Action::Exec(command) => ("Exec", format!("[{}]", command.join(" "))),
            Action::Http(get) => ("HTTP", get.path.clone().unwrap_or_default()),
            Action::Sleep(time) => ("Sleep", time.as_secs().to_string()),
            Action::Tcp { .. } | Action::Grpc(_) => ("Unknown", String::new()), // no hook is one
        };
        format!("{kind} lifecycle hook ({what})")
    }
}

/// The result of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Well,
    /// Well, with a remark.
    Warning(String),
    Ill(String),
    /// An answer whose end did not come. As upstream it says nothing about the container, and its
    /// Event calls that a failure.
    Broken(String),
}

/// The end of a command.
enum Ran {
    Well,
    /// The command ended with another code than 0. `output`: all that it wrote; `errors`: its
    /// standard error.
    Ill {
        code: i32,
        output: String,
        errors: String,
    },
    /// The command did not end in time, or did not begin; the message says which.
    Late(String),
}

/// The container and the network in which an action happens.
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
    /// Does the action once.
    ///
    /// # Errors
    /// The container could not be asked, so nothing is known of it.
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
    /// plain HTTP is sent in plain HTTP; returns what the Event [`FALLBACK`] says then. Source:
    /// `pkg/kubelet/lifecycle/handlers.go`.
    ///
    /// # Errors
    /// Why the hook failed.
    pub(crate) async fn hook(&self, action: &Action, timeout: Duration) -> Result<Option<String>, String> {
        let get = match action {
            Action::Http(get) => get,
            Action::Exec(command) => return self.exec_hook(command, timeout).await.map(|()| None),
            _ => {
                return match self.act(action, timeout).await? {
                    Answer::Well | Answer::Warning(_) => Ok(None),
                    Answer::Ill(why) | Answer::Broken(why) => Err(why),
                };
            }
        };
        match self.ask(get, timeout).await? {
            Ok(_) => Ok(None),
            Err(NoAnswer::NotTls(why)) => {
                let mut plain = get.clone();
                plain.scheme = Some("HTTP".into());
                // A server without TLS must not get what was meant to be encrypted.
                plain.http_headers.iter_mut().for_each(|all| {
                    all.retain(|header| !header.name.eq_ignore_ascii_case("authorization"));
                });
                let to = self.address(get.host.as_deref(), &get.port)?;
                let fallback = format!(
                    "request to HTTPS lifecycle hook {to} got HTTP response, retry with HTTP succeeded"
                );
                self.ask(&plain, timeout).await?.map(|_| Some(fallback)).map_err(|_| why)
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
        Ok(match self.run(command, timeout).await? {
            Ran::Well => Answer::Well,
            Ran::Ill { output, .. } | Ran::Late(output) => Answer::Ill(output),
        })
    }

    /// Runs the command of a lifecycle hook.
    ///
    /// # Errors
    /// Why the command failed, with what it wrote, in upstream's words.
    async fn exec_hook(&self, command: &[String], timeout: Duration) -> Result<(), String> {
        let (why, output) = match self.run(command, timeout).await {
            Ok(Ran::Well) => return Ok(()),
            Ok(Ran::Ill { code, output, errors }) => {
                (format!("command '{}' exited with {code}: {errors}", command.join(" ")), output)
            }
            Ok(Ran::Late(why)) | Err(why) => (why, String::new()),
        };
        Err(format!("{why}, message: {}", quote(&output)))
    }

    async fn run(&self, command: &[String], timeout: Duration) -> Result<Ran, String> {
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
                return Ok(Ran::Late(format!(
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
            let errors = String::from_utf8_lossy(&err).into_owned();
            out.extend(err);
            out.truncate(OUTPUT_MAX);
            match exit {
                Ok(0) => Ok(Ran::Well),
                Ok(code) => Ok(Ran::Ill { code, output: String::from_utf8_lossy(&out).into_owned(), errors }),
                Err(_) => Err("the command's end was not seen".to_string()),
            }
        };
        // Past the time the session is dropped, which kills the command.
        match tokio::time::timeout(timeout, run).await {
            Ok(answer) => answer,
            Err(_) => Ok(Ran::Late(format!(
                "command timed out: {:?} timed out after {}s",
                command.join(" "),
                timeout.as_secs_f64()
            ))),
        }
    }

    async fn http(&self, get: &HTTPGetAction, timeout: Duration) -> Result<Answer, String> {
        let start = clock::Instant::now();
        let answer = match self.ask(get, timeout).await? {
            Ok(answer) => answer,
            Err(NoAnswer::NotTls(why) | NoAnswer::Other(why)) => return Ok(Answer::Ill(why)),
        };
        let status = answer.status;
        let late = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
        let body = match clock::limit(timeout.saturating_sub(start.elapsed()), answer.text()).await {
            Some(Ok(body)) => body,
            Some(Err(error)) => return Ok(Answer::Broken(error.to_string())),
            None => return Ok(Answer::Broken(late.into())),
        };
        Ok(match status {
            200..=299 => Answer::Well,
            300..=399 => Answer::Warning(format!("Probe terminated redirects, Response body: {body}")),
            status => Answer::Ill(format!("HTTP probe failed with statuscode: {status}")),
        })
    }

    /// Sends a GET request and follows redirects within its host. Returns the last answer.
    async fn ask(
        &self,
        get: &HTTPGetAction,
        timeout: Duration,
    ) -> Result<Result<HttpAnswer, NoAnswer>, String> {
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
        // As upstream an empty one is not sent, nor what describes a body (`newProbeRequest`, and
        // `reqWriteExcludeHeader` in Go's HTTP client).
        let is_left_out = |name: &str| {
            let is_one = |known: &&str| name.eq_ignore_ascii_case(known);
            ["host", "content-length", "transfer-encoding", "trailer"].iter().any(is_one)
                || ["accept", "user-agent"].iter().any(is_one)
                    && header(name).is_some_and(|first| first.is_empty())
        };
        let host = header("host").filter(|host| !host.is_empty()).unwrap_or_else(|| to.to_string());
        let mut place = HttpTarget { tls, to, host, path };
        let failed = |why: String| NoAnswer::Other(format!("Get {url:?}: {why}"));
        let asked = async {
            for _ in 0..REDIRECTS_MAX {
                let mut request = http::Request::get(escaped(&place.path)).header("host", &place.host);
                if header("user-agent").is_none() {
                    request = request.header("user-agent", self.agent);
                }
                if header("accept").is_none() {
                    request = request.header("accept", "*/*");
                }
                for h in wanted.iter().filter(|h| !is_left_out(&h.name)) {
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
                let answer = answer.map_err(|e| failed(no_answer(place.to, &e)))?;
                let next = answer.location.as_deref();
                let next = next.filter(|_| matches!(answer.status, 301 | 302 | 303 | 307 | 308));
                match next.and_then(|location| redirected(&place, location)) {
                    Some(next) => place = next,
                    None => return Ok(answer),
                }
            }
            Err(failed(format!("stopped after {REDIRECTS_MAX} redirects")))
        };
        let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        Ok(tokio::time::timeout(timeout, asked).await.unwrap_or_else(|_| Err(failed(late.into()))))
    }
}

/// Returns the number of a port that is given as such, or by the name that the container gave it.
///
/// # Errors
/// No port of the container has this name, or the number is out of range.
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

/// Returns the message of a connection that could not be made, in the words of Go's `net`.
pub(crate) fn dial_error(to: SocketAddr, error: &std::io::Error) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
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
            count => {
                let room = OUTPUT_MAX.saturating_sub(into.len());
                into.extend_from_slice(&buffer[..count.min(room)]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
