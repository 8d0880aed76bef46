//! `pods/proxy` and `services/proxy`: requests to a server in a pod (upstream:
//! `registry/core/{pod,service}` and `apimachinery/pkg/util/proxy`).
//!
//! ```text
//! GET /api/v1/namespaces/shop/pods/web-1:8080/proxy/a?b        port 8080 of the pod web-1
//! GET /api/v1/namespaces/shop/services/https:web:443/proxy/a   port 443 of the Service, by TLS
//! ```
//!
//! The kubelet of the pod's node makes the connection (`podPort` there). This server never dials an
//! address of an object: a user could write that of another server.

use super::dial::{self, DIAL_TIMEOUT, begin_http};
use super::kubelet::{self, NOT_PASSED, asks_for_upgrade};
use super::links::Links;
use super::{forward, html, names};
use crate::auth::{bearer, impersonation};
use crate::request::context::Context;
use crate::request::http::{Answer, Body, BodyError, FromPod, full, header};
use crate::state::State;
use api::gostr::quote;
use api::kinds::{self, Kind};
use api::value::{at, int, list, text};
use api::{Status, cidr};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use pki::Trust;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// A connection to a pod that is not there after this time is given up; upstream's.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// Headers of an answer that stay behind, as upstream: which other sites may use this server is not
/// for a pod to say.
const CORS: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// A port of a pod.
#[derive(Debug, PartialEq)]
struct Target {
    pod: String,
    node: String,
    to: SocketAddr,
    tls: bool,
}

/// Serves `pods/NAME/proxy` and `services/NAME/proxy`, with what follows in the path.
///
/// # Errors
/// 405 for a method that is not proxied, 400 for a name that is none, 404 for an object that is not
/// there, 503 for a port that nothing serves or that cannot be reached.
pub(crate) async fn serve(
    state: &Arc<State>,
    ctx: &Context,
    request: Request<Body>,
) -> Result<Answer, Status> {
    const METHODS: [Method; 7] = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ];
    if !METHODS.contains(request.method()) {
        return Err(Status::method_not_allowed());
    }
    let target = match ctx.info.resource.as_str() {
        "pods" => pod_target(state, ctx).await?,
        _ => service_target(state, ctx).await?,
    };
    match redirect(ctx, &request) {
        Some(redirected) => Ok(redirected),
        None => pass(state, ctx, &target, request).await,
    }
}

/// Returns a kind of the core group.
fn kind(name: &str) -> Result<&'static Kind, Status> {
    kinds::find("", "v1", name).ok_or_else(|| Status::internal(format!("{name} is not served")))
}

/// Finds the address and port of a proxied pod. Without a port in the name it is the first that a
/// container declares, or the scheme's own. Unlike upstream a port may also be given by its name.
///
/// # Errors
/// 400 for a name that is none and for a pod without an address, 404 for a pod that does not exist,
/// 503 for a port that the pod does not have.
async fn pod_target(state: &State, ctx: &Context) -> Result<Target, Status> {
    let requested = &ctx.info.name;
    let (scheme, name, port) = names::split(requested)
        .ok_or_else(|| Status::bad_request(format!("invalid pod request {}", quote(requested))))?;
    let pod = state.get(kind("Pod")?, &ctx.info.namespace, name).await?;
    let mut ports = list(&pod.value, "spec.containers").iter().flat_map(|c| list(c, "ports"));
    let number = |port: &Value| int(port, "containerPort").map(|number| number.to_string());
    let own = if scheme == "https" { "443" } else { "80" };
    let port = match port {
        "" => ports.next().and_then(number).unwrap_or_else(|| own.into()),
        port if port.bytes().all(|b| b.is_ascii_digit()) => port.to_string(),
        port => ports
            .find(|p| text(p, "name") == port)
            .and_then(number)
            .ok_or_else(|| unreachable(false, &format!("dial tcp: lookup tcp/{port}: unknown port")))?,
    };
    let ip = addresses(&pod.value).next().filter(is_allowed);
    let ip = ip.ok_or_else(|| Status::bad_request("address not allowed"))?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| unreachable(false, "dial tcp: invalid port"))?;
    let node = text(&pod.value, "spec.nodeName").to_string();
    Ok(Target { pod: name.into(), node, to: SocketAddr::new(ip, port), tls: scheme == "https" })
}

/// Returns the addresses of a pod, as its status has them.
fn addresses(pod: &Value) -> impl Iterator<Item = IpAddr> {
    let all = list(pod, "status.podIPs").iter().map(|ip| text(ip, "ip"));
    let one = Some(text(pod, "status.podIP")).filter(|_| list(pod, "status.podIPs").is_empty());
    all.chain(one).filter_map(cidr::canonical_ip)
}

/// True for an address that a pod may have (Go's `IsGlobalUnicast`): not one of the machine itself,
/// of a link, or of many.
fn is_allowed(ip: &IpAddr) -> bool {
    let is_of_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(is_of_link || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
}

/// Finds a pod behind a proxied Service: a ready endpoint, drawn by lot, that is a pod of the same
/// namespace and has this address (upstream: `isValidAddress`; CVE-2021-25740 is about endpoints
/// that lead elsewhere).
async fn service_target(state: &State, ctx: &Context) -> Result<Target, Status> {
    let (requested, namespace) = (&ctx.info.name, ctx.info.namespace.as_str());
    let (scheme, name, port) = names::split(requested)
        .ok_or_else(|| Status::bad_request(format!("invalid service request {}", quote(requested))))?;
    let service = state.get(kind("Service")?, namespace, name).await;
    // Upstream reads the Service only for the number of a port, and else its Endpoints alone.
    let service = service.map_err(|status| match (status.code, port.parse::<i64>()) {
        (404, Err(_)) => Status::not_found("", "endpoints", name),
        _ => status,
    })?;
    let port = match port.parse::<i64>() {
        Err(_) => port,
        Ok(number) => {
            let mut ports = list(&service.value, "spec.ports").iter();
            let found = ports.find(|p| int(p, "port") == Some(number)).map(|p| text(p, "name"));
            found.ok_or_else(|| {
                let why = format!("no service port {number} found for service {}", quote(name));
                Status::unavailable(why)
            })?
        }
    };
    let (mut endpoints, mut has_any) = (vec![], false);
    state.cache.for_each("endpointslices", &format!("{namespace}/"), |slice| {
        has_any |= is_of(slice, name) && !list(slice, "endpoints").is_empty();
        endpoints.extend(ready_endpoints(slice, name, port));
    });
    if endpoints.is_empty() {
        // Upstream names the port only where the Service has endpoints without it.
        let what = if has_any { requested.as_str() } else { name };
        return Err(Status::unavailable(format!("no endpoints available for service {}", quote(what))));
    }
    let first = state.rng.range(0, endpoints.len() as u64) as usize;
    endpoints.rotate_left(first);
    let pods = kind("Pod")?;
    for (ip, port, pod) in endpoints {
        let Some((_, pod)) = pod.split_once('/').filter(|(of, _)| *of == namespace) else { continue };
        let Ok(found) = state.last_known(pods, namespace, pod) else { continue };
        if addresses(&found.value).any(|own| own == ip) && is_allowed(&ip) {
            let node = text(&found.value, "spec.nodeName").to_string();
            let to = SocketAddr::new(ip, port);
            return Ok(Target { pod: pod.into(), node, to, tls: scheme == "https" });
        }
    }
    Err(Status::unavailable(format!(
        "no endpoints available for service {}: the proxy reaches pods of its namespace only, and none of the endpoints is one",
        quote(requested)
    )))
}

/// Returns whether an EndpointSlice is one of this Service.
fn is_of(slice: &Value, service: &str) -> bool {
    at(slice, "metadata.labels")["kubernetes.io/service-name"] == service
}

/// Returns the ready endpoints of a slice, if it is one of this Service: the address, the number of
/// the port with this name, and `namespace/name` of the pod behind it (empty: it is no pod).
fn ready_endpoints(slice: &Value, service: &str, port: &str) -> Vec<(IpAddr, u16, String)> {
    let found = list(slice, "ports").iter().find(|p| text(p, "name") == port);
    let number = found.and_then(|p| u16::try_from(int(p, "port")?).ok());
    let Some(number) = number.filter(|_| is_of(slice, service)) else { return vec![] };
    let ready = list(slice, "endpoints").iter().filter(|e| at(e, "conditions.ready") != &Value::Bool(false));
    let made = ready.filter_map(|endpoint| {
        let ip = list(endpoint, "addresses").first().and_then(Value::as_str).and_then(cidr::canonical_ip)?;
        let target = at(endpoint, "targetRef");
        let pod = match text(target, "kind") {
            "Pod" => format!("{}/{}", text(target, "namespace"), text(target, "name")),
            _ => String::new(),
        };
        Some((ip, number, pod))
    });
    made.collect()
}

/// Leads a browser from `…/proxy` to `…/proxy/`: relative links of the page there would lead beside
/// the proxy.
fn redirect(ctx: &Context, request: &Request<Body>) -> Option<Answer> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read || !is_bare(ctx, request) || asks_for_upgrade(request.headers()) {
        return None;
    }
    let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
    // One slash at the beginning: two would name a host.
    let to = format!("/{}/{query}", request.uri().path().trim_start_matches('/'));
    let mut answer = Response::new(full(""));
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    answer.headers_mut().insert(LOCATION, HeaderValue::from_str(&to).ok()?);
    Some(answer)
}

/// Returns whether the URL ends with `proxy`.
fn is_bare(ctx: &Context, request: &Request<Body>) -> bool {
    ctx.info.rest.is_empty() && !request.uri().path().ends_with('/')
}

/// Says that a pod could not be reached; upstream has other words for a session.
fn unreachable(is_session: bool, why: &str) -> Status {
    dial::unreachable("proxy", is_session, "", why)
}

/// Connects to a port of a pod through the kubelet of its node. Certificates are not checked, as
/// upstream: none is for the address of a pod.
async fn connect(
    state: &State,
    namespace: &str,
    target: &Target,
) -> Result<Box<dyn forward::Duplex>, String> {
    let path = format!("/podPort/{namespace}/{}/{}", target.pod, target.to.port());
    let opened = dial::open(state, &target.node, &path);
    let late = |_| format!("dial tcp {}: i/o timeout", target.to);
    let stream = TokioIo::new(tokio::time::timeout(CONNECT_MAX, opened).await.map_err(late)??);
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let tls = pki::foreign_client(&Trust::Anyone, None, &[]).map_err(|e| e.to_string())?;
    let name = pki::server_name(&target.to.ip().to_string()).map_err(|e| e.to_string())?;
    let handshake = TlsConnector::from(tls).connect(name, stream);
    match tokio::time::timeout(DIAL_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(format!("tls: {error}")),
        Err(_) => Err("net/http: TLS handshake timeout".into()),
    }
}

/// Returns the host that the client asked for: the header, or what HTTP/2 has in its place.
fn asked_host(request: &Request<Body>) -> String {
    let of_uri = request.uri().authority().map_or("", Authority::as_str);
    match header(request.headers(), "host") {
        "" => of_uri.to_string(),
        host => host.to_string(),
    }
}

/// Sends the request on to the pod, and joins the two connections if both sides change protocols.
async fn pass(
    state: &Arc<State>,
    ctx: &Context,
    target: &Target,
    mut request: Request<Body>,
) -> Result<Answer, Status> {
    let upgrading = asks_for_upgrade(request.headers());
    let failed = |why: &str| unreachable(upgrading, why);
    let stream = connect(state, &ctx.info.namespace, target).await.map_err(|why| failed(&why))?;
    let broken = |error: hyper::Error| match error.is_incomplete_message() {
        true => failed("EOF"), // as Go says it
        false => failed(&error.to_string()),
    };
    let mut sender = begin_http(TokioIo::new(stream)).await.map_err(broken)?;
    let client = upgrading.then(|| hyper::upgrade::on(&mut request));
    let method = request.method().clone();
    let links = links_of(ctx, target, asked_host(&request));
    let is_bare = is_bare(ctx, &request);
    let passed = passed_on(ctx, target, &links, request, upgrading)?;
    let path = if is_bare { String::new() } else { passed.uri().path().to_string() };
    let answer = sender.send_request(passed).await.map_err(broken)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return forward::join(client, answer, "the pod", CORS, kubelet::session_end(state, ctx));
    }
    let code = answer.status().as_u16();
    if upgrading && code < 400 {
        return Err(Status::new(500, "", format!("invalid upgrade response: status code {code}")));
    }
    let (parts, body) = answer.into_parts();
    let mut out = Response::new(body.map_err(|e| BodyError(e.to_string())).boxed_unsync());
    *out.status_mut() = parts.status;
    out.extensions_mut().insert(FromPod);
    ctx.mark_answered_by_pod();
    forward::pass_headers(&parts.headers, out.headers_mut(), false, CORS);
    Ok(with_links(out, &method, &path, links))
}

/// Returns which links of the target's pages lead back to it, and through which path.
fn links_of(ctx: &Context, target: &Target, client_host: String) -> Links {
    let info = &ctx.info;
    let prefix =
        format!("/api/{}/namespaces/{}/{}/{}/proxy", info.version, info.namespace, info.resource, info.name);
    Links { prefix, own: own_hosts(target), client_host }
}

/// Returns the target's address with its port and, if that is the scheme's, without.
///
/// Example: `[fd00::1]:443` and `[fd00::1]` for port 443 by TLS.
fn own_hosts(target: &Target) -> Vec<String> {
    let whole = target.to.to_string();
    let is_default = target.to.port() == if target.tls { 443 } else { 80 };
    let alone = whole.rsplit_once(':').filter(|_| is_default).map(|(ip, _)| ip.to_string());
    [whole].into_iter().chain(alone).collect()
}

/// Returns the request as the pod gets it: the path behind `proxy`, and no header that is for this
/// server only. It asks for no compression, because links are looked for in the page.
fn passed_on(
    ctx: &Context,
    target: &Target,
    links: &Links,
    request: Request<Body>,
    upgrading: bool,
) -> Result<Request<Body>, Status> {
    let (head, body) = request.into_parts();
    let path = names::clean(&ctx.info.rest, head.uri.path().ends_with('/'));
    let path = percent_encoding::utf8_percent_encode(&path, client::ESCAPED_IN_PATHS).to_string();
    let query = head.uri.query().map_or(String::new(), |query| format!("?{query}"));
    let mut passed = Request::new(body);
    *passed.method_mut() = head.method;
    *passed.uri_mut() = format!("{path}{query}").parse().map_err(|e| Status::bad_request(format!("{e}")))?;
    let headers = passed.headers_mut();
    forward::pass_headers(&head.headers, headers, upgrading, NOT_PASSED);
    bearer::without_token(headers);
    impersonation::without_impersonation(headers);
    let host = if links.client_host.is_empty() { target.to.to_string() } else { links.client_host.clone() };
    put(headers, HOST, &host);
    put(headers, FORWARDED_URI, &format!("{}{path}", links.prefix));
    if let Some(connection) = ctx.seat.connection() {
        let before = headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let mut all: Vec<String> = before.map(str::to_string).collect();
        all.push(connection.source().ip().to_string());
        put(headers, FORWARDED_FOR, &all.join(", "));
    }
    Ok(passed)
}

/// Sets a header. A value that no header may have is left out.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Bytes that are escaped in a `Location` before it is read. A tab is not: browsers drop tabs.
const ESCAPED_IN_LOCATIONS: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.remove(b'\t');

/// Makes the links of the answer to a request for `path` lead through the proxy: that of a
/// redirect, or those of a page. A page that is compressed all the same, and a part of one, stay as
/// they are.
fn with_links(mut answer: Answer, method: &Method, path: &str, links: Links) -> Answer {
    let code = answer.status();
    if let Some(location) = answer.headers().get(LOCATION).cloned() {
        // Bytes that are no ASCII do not hide where it leads, nor does a second one.
        let to = percent_encoding::percent_encode(location.as_bytes(), ESCAPED_IN_LOCATIONS);
        let rewritten = links.redirected(&to.to_string(), path);
        let rewritten = rewritten.and_then(|to| HeaderValue::from_str(&to).ok());
        answer.headers_mut().insert(LOCATION, rewritten.unwrap_or(location));
        return answer;
    }
    let media = header(answer.headers(), CONTENT_TYPE.as_str()).split(';').next().unwrap_or_default();
    let is_plain = !answer.headers().contains_key(CONTENT_ENCODING);
    let is_whole = !matches!(code, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
    if !media.trim().eq_ignore_ascii_case("text/html") || !is_plain || !is_whole {
        return answer;
    }
    answer.headers_mut().remove(CONTENT_LENGTH);
    match *method {
        Method::HEAD => answer,
        _ => answer.map(|body| html::rewrite(body, links)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_has_an_address_that_others_can_reach() {
        for (ip, allowed) in [
            ("10.244.1.2", true),
            ("172.30.0.11", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_allowed(&ip.parse().unwrap()), allowed, "{ip}");
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_in_a_link() {
        let own = |to: &str, tls: bool| {
            let (pod, node) = (String::new(), String::new());
            own_hosts(&Target { pod, node, to: to.parse().unwrap(), tls })
        };
        assert_eq!(own("[fd00::1]:443", true), ["[fd00::1]:443", "[fd00::1]"]);
        assert_eq!(own("[fd00::1]:443", false), ["[fd00::1]:443"]);
        assert_eq!(own("10.244.1.2:80", false), ["10.244.1.2:80", "10.244.1.2"]);
    }

    #[test]
    fn a_redirect_of_any_bytes_stays_in_the_proxy() {
        let led = |locations: &[&str]| {
            let mut answer = Response::new(full(""));
            for to in locations {
                answer.headers_mut().append(LOCATION, HeaderValue::from_bytes(to.as_bytes()).unwrap());
            }
            let links = Links { prefix: "/p/proxy".into(), own: vec![], client_host: "a".into() };
            let answer = with_links(answer, &Method::GET, "/a", links);
            let all = answer.headers().get_all(LOCATION).iter().map(HeaderValue::as_bytes);
            String::from_utf8(all.collect::<Vec<_>>().join(&b' ')).unwrap()
        };
        assert_eq!(led(&["../../\u{e9}"]), "/p/proxy/%C3%A9");
        assert_eq!(led(&["\u{e9}"]), "\u{e9}");
        assert_eq!(led(&["b", "../../c"]), "b");
        assert_eq!(led(&["..\\..\\c"]), "/p/proxy/c");
        assert_eq!(led(&[".\t./../c"]), "/p/proxy/c");
        assert_eq!(led(&["/\t/example.com"]), "//example.com");
    }

    #[test]
    fn the_ready_endpoints_of_a_port_are_found_by_its_name() {
        let pod = |name: &str| json!({"kind": "Pod", "namespace": "d", "name": name});
        let slice = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "a", "port": 80}, {"name": "", "port": 81}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "targetRef": pod("p1"), "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "targetRef": pod("p2"), "conditions": {"ready": false}},
                {"addresses": ["10.0.0.3"]},
                {"addresses": ["web.example"]},
            ],
        });
        let found = |service: &str, port: &str| {
            let all = ready_endpoints(&slice, service, port).into_iter();
            all.map(|(ip, port, pod)| format!("{ip}:{port} {pod}")).collect::<Vec<_>>()
        };
        assert_eq!(found("web", "a"), ["10.0.0.1:80 d/p1", "10.0.0.3:80 "]);
        assert_eq!(found("web", ""), ["10.0.0.1:81 d/p1", "10.0.0.3:81 "]);
        assert!(found("web", "b").is_empty() && found("shop", "a").is_empty());
    }
}
