//! An API server for the tests of verbs: it keeps objects in a map and records every request.

use super::kept::Kept;
use super::wire::stream;
use super::{Env, Io, run};
use bytes::Bytes;
use client::remote::Duplex;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request as WsRequest, Response as WsResponse};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

/// One request that the server received.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    pub method: String,
    pub path: String,
    pub query: String,
    /// `Kubectl-Watch`
    pub watch: String,
    /// `Authorization`
    pub user: String,
    pub body: Value,
}

/// Answers a request in place of the map of objects: a status code and a body; that of a watch is
/// `{"events": […]}`.
type Rule = dyn Fn(&ReceivedRequest) -> Option<(u16, Value)> + Send + Sync;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    requests: Vec<ReceivedRequest>,
    version: u64,
}

/// A fake container: it gets the command and the connection.
type Container = dyn Fn(Vec<String>, Socket) -> BoxFuture<'static, ()> + Send + Sync;
/// The server's end of an `exec`.
pub(crate) type Socket = WebSocketStream<TcpStream>;

pub(crate) struct Server {
    pub address: String,
    state: Arc<Mutex<State>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The output of a command, and its exit code.
#[derive(Debug)]
pub(crate) struct CommandResult {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::start_with(|_| None).await
    }

    pub(crate) async fn start_with(
        rule: impl Fn(&ReceivedRequest) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Server {
        Server::start_all(rule, None, None).await
    }

    /// A server over TLS, whose certificate no client trusts yet.
    pub(crate) async fn start_tls(
        rule: impl Fn(&ReceivedRequest) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let ca = pki::Ca::load_or_create(dir.path(), "test").unwrap();
        let identity = ca.issue(&pki::Subject::server("server", &["server"])).unwrap();
        let mut config = (*pki::server_config(&identity, ca.pem()).unwrap()).clone();
        config.alpn_protocols.clear();
        Server::start_all(rule, None, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    /// A server with a container behind it, in which `exec` runs commands.
    pub(crate) async fn start_exec(
        container: impl Fn(Vec<String>, Socket) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Server {
        Server::start_all(|_| None, Some(Arc::new(container)), None).await
    }

    async fn start_all(
        rule: impl Fn(&ReceivedRequest) -> Option<(u16, Value)> + Send + Sync + 'static,
        container: Option<Arc<Container>>,
        tls: Option<TlsAcceptor>,
    ) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let address = if tls.is_some() { format!("https://{address}") } else { address };
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let rule: Arc<Rule> = Arc::new(rule);
        let serving = tokio::spawn(async move {
            let mut guests = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, rule, container) = (shared.clone(), rule.clone(), container.clone());
                let tls = tls.clone();
                guests.spawn(async move {
                    if let Some(container) = container
                        && let Some(command) = exec(&stream).await
                    {
                        #[allow(clippy::result_large_err)] // the callback's type is not ours
                        let answer = |_: &WsRequest, mut answer: WsResponse| {
                            let protocol = http::HeaderValue::from_static("v5.channel.k8s.io");
                            answer.headers_mut().insert("sec-websocket-protocol", protocol);
                            Ok(answer)
                        };
                        let socket = tokio_tungstenite::accept_hdr_async(stream, answer).await.unwrap();
                        return container(command, socket).await;
                    }
                    let service = service_fn(move |request| answer(state.clone(), rule.clone(), request));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = match tls {
                        None => http.serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(io) => http.serve_connection(TokioIo::new(io), service).await,
                            Err(_) => Ok(()), // the client does not trust the certificate
                        },
                    };
                });
            }
        });
        Server { address, state, serving }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Puts an object at its path.
    pub(crate) fn hold(&self, path: &str, object: Value) {
        store(&mut self.state(), path, object);
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// A server that cannot be reached: every request to it fails.
    pub(crate) async fn away() -> Server {
        let mut server = Server::start().await;
        server.address = "127.0.0.1:1".into();
        server
    }

    /// The requests so far but those for discovery.
    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        let requests = self.state().requests.clone();
        requests.into_iter().filter(|request| !matches!(request.path.as_str(), "/api" | "/apis")).collect()
    }

    pub(crate) async fn kubectl(&self, args: &[&str]) -> CommandResult {
        self.kubectl_in(args, "", Env::default()).await
    }

    pub(crate) async fn kubectl_in(&self, args: &[&str], stdin: &str, env: Env) -> CommandResult {
        self.command(args, stdin, env, false).await
    }

    /// Runs a command whose standard output is a terminal.
    pub(crate) async fn kubectl_at_terminal(&self, args: &[&str]) -> CommandResult {
        self.command(args, "", Env::default(), true).await
    }

    async fn command(&self, args: &[&str], stdin: &str, env: Env, stdout_is_terminal: bool) -> CommandResult {
        let (out, err) = (Kept::all(), Kept::all());
        let mut words: Vec<String> = vec!["kubectl".into()];
        words.extend(args.iter().map(|a| a.to_string()));
        // Before a `--`, behind which everything is the container's.
        let at = words.iter().position(|w| w == "--").unwrap_or(words.len());
        words.insert(at, format!("--server={}", self.address));
        let io = Io {
            stdin: Box::new(std::io::Cursor::new(stdin.as_bytes().to_vec())),
            stdout: Box::new(out.clone()),
            stderr: Box::new(err.clone()),
            terminal: None,
            stdout_is_terminal,
            own: false,
            cancel: CancellationToken::new(),
        };
        let code = run(words, io, env).await;
        CommandResult { code, out: out.text(), err: err.text() }
    }
}

/// Both ends of a WebSocket that holds few bytes: the command's and the server's.
pub(crate) async fn pair() -> (stream::Socket, WebSocketStream<tokio::io::DuplexStream>) {
    let (near, far) = tokio::io::duplex(4 << 10);
    let near: Box<dyn Duplex> = Box::new(near);
    let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    (near, WebSocketStream::from_raw_socket(far, Role::Server, None).await)
}

/// Returns the command of an `exec` with which a connection begins. Nothing is taken from the
/// connection.
async fn exec(stream: &TcpStream) -> Option<Vec<String>> {
    let mut head = vec![0; 8 << 10];
    loop {
        let count = stream.peek(&mut head).await.ok()?;
        let text = String::from_utf8_lossy(&head[..count]);
        if count > 0 && !text.contains("\r\n\r\n") {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await; // the rest of it
            continue;
        }
        let (path, query) = text.split(' ').nth(1)?.split_once('?')?;
        let words = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "command");
        return path.ends_with("/exec").then(|| words.map(|(_, word)| word.into_owned()).collect());
    }
}

fn store(state: &mut State, path: &str, mut object: Value) -> Value {
    state.version += 1;
    if object["metadata"]["uid"].is_null() {
        object["metadata"]["uid"] = format!("uid-{}", state.version).into();
    }
    object["metadata"]["resourceVersion"] = state.version.to_string().into();
    state.objects.insert(path.to_string(), object.clone());
    object
}

async fn answer(
    state: Arc<Mutex<State>>,
    rule: Arc<Rule>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_string();
    let received = ReceivedRequest {
        method: parts.method.to_string(),
        path: parts.uri.path().to_string(),
        query: parts.uri.query().unwrap_or("").to_string(),
        watch: header("kubectl-watch"),
        user: header("authorization"),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    state.lock().requests.push(received.clone());
    let (code, body) = rule(&received).unwrap_or_else(|| {
        let mut state = state.lock();
        by_default(&mut state, &received)
    });
    let body: Bytes = match received.query.contains("watch=true") {
        // A rule may give `events`; else there are none.
        true => array(&body["events"]).map(|event| format!("{event}\n")).collect::<String>().into(),
        false => body.to_string().into(),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
    Ok(response)
}

fn array(of: &Value) -> impl Iterator<Item = &Value> {
    of.as_array().into_iter().flatten()
}

/// A `Status` of failure.
pub(crate) fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": message, "code": code});
    (code, status)
}

fn by_default(state: &mut State, request: &ReceivedRequest) -> (u16, Value) {
    if let Some(known) = discovery(&request.path) {
        return (200, known);
    }
    let path = request.path.as_str();
    let there = state.objects.get(path).cloned();
    let missing = || refusal(404, "NotFound", &format!("{path} not found"));
    match (request.method.as_str(), there) {
        ("GET", Some(object)) => (200, object),
        ("GET", None) if path.rsplit('/').next().is_some_and(|last| last.ends_with('s')) => {
            let below = format!("{path}/");
            let name =
                request.query.split('&').find_map(|pair| pair.strip_prefix("fieldSelector=metadata.name%3D"));
            let items: Vec<&Value> = state
                .objects
                .iter()
                .filter(|(at, _)| at.strip_prefix(&below).is_some_and(|rest| !rest.contains('/')))
                .filter(|(at, _)| name.is_none_or(|name| at.ends_with(&format!("/{name}"))))
                .map(|(_, object)| object)
                .collect();
            let version = state.version.to_string();
            (
                200,
                json!({"kind": "List", "apiVersion": "v1", "items": items, "metadata": {"resourceVersion": version}}),
            )
        }
        ("POST", _) => {
            let name = request.body["metadata"]["name"].as_str().unwrap_or("").to_string();
            let at = format!("{path}/{name}");
            match state.objects.contains_key(&at) {
                true => refusal(409, "AlreadyExists", &format!("{at} already exists")),
                false => (201, store(state, &at, request.body.clone())),
            }
        }
        (_, None) => missing(),
        ("PUT", Some(_)) => (200, store(state, path, request.body.clone())),
        ("PATCH", Some(mut object)) => {
            match request.body.is_array() {
                true => api::patch::json(&mut object, request.body.to_string().as_bytes()).unwrap(),
                false => api::patch::merge(&mut object, &request.body),
            }
            (200, store(state, path, object))
        }
        ("DELETE", Some(object)) => {
            state.objects.remove(path);
            (200, object)
        }
        _ => missing(),
    }
}

fn discovery(path: &str) -> Option<Value> {
    let resource = |plural: &str, kind: &str, short: &str, scope: &str| {
        json!({"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": ["get", "list", "delete"],
            "singularResource": kind.to_lowercase(), "shortNames": [short]})
    };
    let core = json!([
        resource("configmaps", "ConfigMap", "cm", "Namespaced"),
        resource("pods", "Pod", "po", "Namespaced"),
        resource("services", "Service", "svc", "Namespaced"),
        resource("namespaces", "Namespace", "ns", "Cluster"),
    ]);
    let apps = json!([
        resource("deployments", "Deployment", "deploy", "Namespaced"),
        resource("replicasets", "ReplicaSet", "rs", "Namespaced"),
    ]);
    let groups = match path {
        "/api" => json!([{"metadata": {}, "versions": [{"version": "v1", "resources": core}]}]),
        "/apis" => {
            json!([{"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": apps}]}])
        }
        _ => return None,
    };
    Some(json!({"kind": "APIGroupDiscoveryList", "items": groups}))
}

/// The path of a ConfigMap in the namespace `default`.
pub(crate) fn at(name: &str) -> String {
    format!("/api/v1/namespaces/default/configmaps/{name}")
}

pub(crate) fn config_map(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default", "labels": labels}})
}
