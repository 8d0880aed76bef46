//! Logs, exec, attach, port-forward: the API server finds the pod's kubelet and passes the bytes
//! through.

use crate::admission::policies;
use crate::auth::{bearer, impersonation};
use crate::proxy::{forward, log_answer, log_options, names};
use crate::request::context::Context;
use crate::request::http::{Answer, Body, BodyError, HTTP1_BUFFER, Query, full, plain};
use crate::state::State;
use api::Status;
use api::cidr;
use api::gostr::quote;
use api::kinds;
use api::value::{at, int, list, text};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const KUBELET_PORT: i64 = 10250;
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that is read as a whole.
const ANSWER_MAX: usize = 8 << 20;
/// Bytes in which a kubelet says why it has no connection.
const WHY_MAX: usize = 4 << 10;
/// Headers that belong to one connection, and those that are nobody else's business.
pub(super) const NOT_PASSED: &[&str] = &[
    "authorization",
    "host",
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    client::CAUSE_HEADER,
    "accept-encoding",
];

/// Finds the container that a request is about, and checks it against the pod.
fn container<'a>(pod: &'a Value, asked: &str) -> Result<&'a str, Status> {
    let groups = ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"];
    let mut names = groups.iter().flat_map(|g| list(pod, g)).map(|c| text(c, "name"));
    let name = text(pod, "metadata.name");
    if !asked.is_empty() {
        return names
            .find(|n| *n == asked)
            .ok_or_else(|| Status::bad_request(format!("container {asked} is not valid for pod {name}")));
    }
    match list(pod, "spec.containers") {
        [one] => Ok(text(one, "name")),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {name}"))),
        _ => {
            let names = names.collect::<Vec<_>>().join(" ");
            let why = "a container name must be specified for pod";
            Err(Status::bad_request(format!("{why} {name}, choose one of: [{names}]")))
        }
    }
}

/// Returns whether a request asks to change protocols. Whether it also says to which one does not
/// matter (upstream: `httpstream.IsUpgradeRequest`).
pub(crate) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    const WORD: &[u8] = b"upgrade";
    let is_asked = |options: &[u8]| options.windows(WORD.len()).any(|word| word.eq_ignore_ascii_case(WORD));
    headers.get_all(header::CONNECTION).iter().any(|options| is_asked(options.as_bytes()))
}

/// Serves `pods/{log,exec,attach,portforward}`.
pub(crate) async fn pod(state: &Arc<State>, ctx: &Context, request: Request<Body>) -> Result<Answer, Status> {
    let kind = kinds::find("", "v1", "Pod").ok_or_else(|| Status::internal("pods are not served"))?;
    let (namespace, name) = (ctx.info.namespace.as_str(), ctx.info.name.as_str());
    let sub = ctx.info.subresource.as_str();
    if sub == "log" {
        log_options::check_options(&ctx.query, name)?;
    } else {
        // As upstream before anything is known of the pod (`ConnectResource`).
        let options = policies::connect_options(sub, &ctx.query);
        policies::check_connection(state, ctx, kind, &options)?;
    }
    let pod = state.get(kind, namespace, name).await?;
    let door = match sub {
        "portforward" => format!("portForward/{namespace}/{name}"),
        _ => {
            let container = container(&pod.value, ctx.query.get("container"))?;
            let door = match sub {
                "log" => "containerLogs",
                "exec" => "exec",
                _ => "attach",
            };
            format!("{door}/{namespace}/{name}/{container}")
        }
    };
    let node = text(&pod.value, "spec.nodeName");
    if node.is_empty() {
        return match sub {
            "log" => {
                ctx.shows_nothing();
                Ok(plain(204, "")) // as upstream: nothing was written yet
            }
            _ => Err(Status::bad_request(format!("pod {name} does not have a host assigned"))),
        };
    }
    if sub == "log"
        && let Some(reason) =
            not_started(&pod.value, ctx.query.get("container"), ctx.query.is_true("previous"))
    {
        return Err(reason);
    }
    if sub != "log" && !asks_for_upgrade(request.headers()) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let query = request.uri().query().unwrap_or_default();
    let query = if sub == "log" { log_options::passed(query) } else { query.to_string() };
    let mark = if query.is_empty() { "" } else { "?" };
    let answer = forward(state, ctx, node, &format!("/{door}{mark}{query}"), request).await?;
    match sub {
        "log" => log_answer::pass(ctx, answer).await,
        _ => Ok(answer),
    }
}

/// Refuses the log of a container that waits for its first start.
fn not_started(pod: &Value, asked: &str, previous: bool) -> Option<Status> {
    let name = container(pod, asked).ok()?;
    let groups =
        ["status.containerStatuses", "status.initContainerStatuses", "status.ephemeralContainerStatuses"];
    let status = groups.iter().flat_map(|g| list(pod, g)).find(|s| text(s, "name") == name)?;
    let pod_name = text(pod, "metadata.name");
    if previous && at(status, "lastState.terminated").is_null() {
        return Some(Status::bad_request(format!(
            "previous terminated container {name:?} in pod {pod_name:?} not found"
        )));
    }
    let reason = text(status, "state.waiting.reason");
    let never = int(status, "restartCount").unwrap_or(0) == 0 && at(status, "lastState.terminated").is_null();
    (!reason.is_empty() && never).then(|| {
        let why = match reason {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            other => other,
        };
        Status::bad_request(format!("container {name:?} in pod {pod_name:?} is waiting to start: {why}"))
    })
}

/// Serves `nodes/[scheme:]n[:port]/proxy/<path>`. Of a node only its kubelet is reached.
pub(crate) async fn node(
    state: &Arc<State>,
    ctx: &Context,
    request: Request<Body>,
) -> Result<Answer, Status> {
    let query = request.uri().query().map_or(String::new(), |q| format!("?{q}"));
    let (_, name, port) = names::split(&ctx.info.name)
        .ok_or_else(|| Status::bad_request(format!("invalid node request {:?}", ctx.info.name)))?;
    let to = kubelet(state, name)?;
    if !port.is_empty() && port != to.port().to_string() {
        return Err(Status::bad_request(format!(
            "node {name}: only the kubelet's port {} is proxied, not {port:?}",
            to.port()
        )));
    }
    let path = names::clean(&ctx.info.rest, request.uri().path().ends_with('/'));
    if let Some((code, text)) = refused_log(&path, &ctx.query) {
        return Ok(plain(code, text));
    }
    let escaped = percent_encoding::utf8_percent_encode(&path, client::ESCAPED_IN_PATHS);
    let answer = forward(state, ctx, name, &format!("{escaped}{query}"), request).await?;
    let code = answer.status().as_u16();
    if let Some((what, namespace, pod)) = led_to(&path)
        && code < 400
    {
        ctx.led_to(what, namespace, pod, code);
    }
    Ok(answer)
}

/// What a path of a kubelet does in which pod: `exec/default/web/nginx` → (`exec`, `default`,
/// `web`). Its own server reads paths in the same way.
fn led_to(path: &str) -> Option<(&str, &str, &str)> {
    match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
        [what @ ("exec" | "attach"), namespace, pod, _] => Some((what, namespace, pod)),
        _ => None,
    }
}

/// What a kubelet answers to a log whose options it cannot read (400) or does not accept (422): the
/// code and the text. `None` for options that are good, and for other paths. One of both streams is
/// refused (400) while upstream's gate PodLogsQuerySplitStreams is off.
fn refused_log(path: &str, query: &Query) -> Option<(u16, String)> {
    let ["containerLogs", _, pod, _] = path.trim_matches('/').split('/').collect::<Vec<_>>()[..] else {
        return None;
    };
    let mut query = query.clone();
    // The kubelet takes `tail` in place of `tailLines`, and `all` for no limit.
    let tail = query.get("tail").to_string();
    if !tail.is_empty() {
        query.remove("tailLines");
        if tail != "all" {
            query.set("tailLines", &tail);
        }
    }
    let stream = query.has("stream").then(|| query.get("stream").to_string());
    query.remove("stream");
    let code = log_options::check_options(&query, pod).err().map(|status| status.code);
    let invalid = || Some((422, r#"{"message": "Invalid request."}"#.to_string()));
    match (code, stream.as_deref()) {
        (Some(400), _) => Some((400, r#"{"message": "Unable to decode query."}"#.to_string())),
        (Some(_), _) => invalid(),
        (None, None | Some("All")) => None,
        (None, Some(one @ ("Stdout" | "Stderr"))) if !query.has("tailLines") => {
            let gate = "Please enable PodLogsQuerySplitStreams feature gate in kubelet";
            Some((400, format!("unable to return the given log stream: {}. {gate}", quote(one))))
        }
        (None, Some(_)) => invalid(),
    }
}

/// Finds the kubelet's address, as its Node says.
fn kubelet(state: &State, node: &str) -> Result<SocketAddr, Status> {
    let found = state.cache.get("nodes", node).ok_or_else(|| Status::not_found("", "nodes", node))?;
    let addresses = list(&found.value, "status.addresses");
    let ip = addresses.iter().find(|a| text(a, "type") == "InternalIP").map_or("", |a| text(a, "address"));
    let ip = cidr::canonical_ip(ip)
        .ok_or_else(|| Status::unavailable(format!("no address known of node {node}")))?;
    let port = int(&found.value, "status.daemonEndpoints.kubeletEndpoint.Port")
        .filter(|p| *p != 0)
        .unwrap_or(KUBELET_PORT);
    let port =
        u16::try_from(port).map_err(|_| Status::unavailable(format!("node {node} has no kubelet port")))?;
    Ok(SocketAddr::new(ip, port))
}

type Stream = TlsStream<tokio::net::TcpStream>;

/// Connects to a node's kubelet, and to nothing else. The address is an object's field, which a
/// user may write (CVE-2022-3294), and the server there would see this server's own certificate,
/// `system:masters`: it must show the certificate of that node's kubelet.
///
/// # Errors
/// Why there is no connection, in the words of Go's `net` where it has some.
async fn dial(state: &State, node: &str, to: SocketAddr) -> Result<Stream, String> {
    let connect = async {
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
    match tokio::time::timeout(DIAL_TIMEOUT, connect).await {
        Ok(done) => done,
        Err(_) => Err(format!("dial tcp {to}: i/o timeout")),
    }
}

/// Words a failed connection as Go's `net` does.
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

/// Asks a node's kubelet for the connection behind `path`, and returns it. What the kubelet says
/// otherwise is the error.
pub(super) async fn open(state: &State, node: &str, path: &str) -> Result<Upgraded, String> {
    let to = kubelet(state, node).map_err(|status| status.message)?;
    let stream = dial(state, node, to).await?;
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

/// What a node's kubelet answers to a GET, at most [`ANSWER_MAX`] bytes of it.
pub(crate) async fn ask(state: &State, node: &str, path: &str) -> Result<bytes::Bytes, Status> {
    let to = kubelet(state, node)?;
    let broken = |e: &dyn std::fmt::Display| Status::new(502, "", format!("error dialing backend: {e}"));
    let stream = dial(state, node, to).await.map_err(|why| broken(&why))?;
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

/// Completes when the session that this request becomes must end: with the server, or when its
/// client's connection is needed or does not read. Until then it holds the request's seat, and the
/// connection counts and is busy.
pub(crate) fn session_end(state: &State, ctx: &Context) -> impl Future<Output = ()> + Send + use<> {
    let (stop, seat) = (state.stop.clone(), ctx.seat.clone());
    async move {
        let Some(connection) = seat.connection() else { return stop.cancelled().await };
        let _running = connection.activity.begin();
        tokio::select! {
            () = stop.cancelled() => {}
            () = connection.end.cancelled() => {}
        }
    }
}

/// Sends the request on, and joins the two connections if both sides change protocols. For a log
/// this server asks by itself, as upstream: no header and no body of the client's goes further.
async fn forward(
    state: &Arc<State>,
    ctx: &Context,
    node: &str,
    path: &str,
    mut request: Request<Body>,
) -> Result<Answer, Status> {
    let to = kubelet(state, node)?;
    let is_own = ctx.info.subresource == "log";
    let upgrading = !is_own && asks_for_upgrade(request.headers());
    let url = format!("https://{to}{path}");
    let failed = |why: &str| unreachable(&ctx.info.subresource, upgrading, &url, why);
    let stream = dial(state, node, to).await.map_err(|why| failed(&why))?;
    let broken = |error: hyper::Error| failed(&error.to_string());
    let mut sender = begin_http(TokioIo::new(stream)).await.map_err(broken)?;
    let client = upgrading.then(|| hyper::upgrade::on(&mut request));
    let (asked, body) = request.into_parts();
    let mut passed = Request::builder().method(asked.method).uri(path);
    if let Some(headers) = passed.headers_mut() {
        if !is_own {
            forward::pass_headers(&asked.headers, headers, upgrading, NOT_PASSED);
            bearer::without_token(headers);
            impersonation::without_impersonation(headers);
        }
        if let Ok(host) = to.to_string().parse() {
            headers.insert(header::HOST, host);
        }
        if let Ok(cause) = ctx.cause_of_this().parse() {
            headers.insert(client::CAUSE_HEADER, cause); // the client's own was not passed
        }
    }
    // Its Content-Length has been passed: a kubelet that got less would wait for the rest.
    let body = if is_own { full("") } else { body };
    let passed = passed.body(body).map_err(|e| Status::bad_request(e.to_string()))?;
    let answer = sender.send_request(passed).await.map_err(broken)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return forward::join(client, answer, "the kubelet", NOT_PASSED, session_end(state, ctx));
    }
    let code = answer.status().as_u16();
    if upgrading && code < 400 {
        return Err(Status::new(500, "", format!("invalid upgrade response: status code {code}")));
    }
    // A client would follow it with its own credentials (CVE-2020-8559, CVE-2022-3172).
    if answer.status().is_redirection() && answer.headers().contains_key(header::LOCATION) {
        let why = "the backend attempted to redirect this request, which is not permitted";
        return Err(Status::new(502, "", why));
    }
    let (parts, body) = answer.into_parts();
    let mut out = Response::new(body.map_err(|e| BodyError(e.to_string())).boxed_unsync());
    *out.status_mut() = parts.status;
    forward::pass_headers(&parts.headers, out.headers_mut(), false, NOT_PASSED);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use serde_json::json;

    #[test]
    fn a_way_into_a_pod_by_its_node_is_one_into_the_pod() {
        assert_eq!(led_to("exec/default/web/nginx"), Some(("exec", "default", "web")));
        assert_eq!(led_to("/attach/shop/web/nginx/"), Some(("attach", "shop", "web")));
        for other in ["", "exec", "exec/default/web", "containerLogs/default/web/nginx", "stats/summary"] {
            assert_eq!(led_to(other), None, "{other}");
        }
    }

    #[test]
    fn the_word_upgrade_in_connection_asks_for_one() {
        for (values, is_asked) in [
            (&["keep-alive"][..], false),
            (&[], false),
            (&["Upgrade"], true),
            (&["keep-alive", "keep-alive, UPGRADE"], true),
            (&["no-upgrades"], true),
            (&["\u{e9}, upgrade"], true),
            (&["upgrad", "e"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONNECTION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(asks_for_upgrade(&headers), is_asked, "{values:?}");
        }
        let to_what = HeaderMap::from_iter([(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"))]);
        assert!(!asks_for_upgrade(&to_what));
    }

    #[test]
    fn a_log_by_its_node_has_options_that_the_kubelet_accepts() {
        let code =
            |path: &str, query: &str| refused_log(path, &Query::parse(Some(query))).map(|(code, _)| code);
        let log = "/containerLogs/default/web/nginx";
        for (query, refused) in [
            ("", None),
            ("tailLines=3&follow=true", None),
            ("tailLines=three", Some(400)),
            ("sinceTime=yesterday", Some(400)),
            ("tailLines=-1", Some(422)),
            ("limitBytes=0", Some(422)),
            ("sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", Some(422)),
            ("stream=All&tailLines=3", None),
            ("stream=Stdout", Some(400)),
            ("stream=", Some(422)),
            ("stream=Stdout&tailLines=3", Some(422)),
            ("stream=both", Some(422)),
            ("tail=3", None),
            ("tail=&tailLines=3", None),
            ("tail=all&tailLines=three", None),
            ("tail=three", Some(400)),
        ] {
            assert_eq!(code(log, query), refused, "{query}");
        }
        assert_eq!(code("/logs/syslog", "tailLines=three"), None, "a file of the node");
    }

    #[test]
    fn the_container_is_named_or_the_only_one() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container(&pod, "i").unwrap(), "i");
        assert_eq!(container(&pod, "x").unwrap_err().message, "container x is not valid for pod p");
        assert_eq!(
            container(&pod, "").unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [i a b]"
        );
    }
}
