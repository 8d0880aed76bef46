//! Requests that are not gRPC: etcd's pages for health probes are answered, and everything else is
//! refused. So no client takes an empty answer for a success. And no web page can write keys: a
//! browser may send gRPC's content type to another server only after it has asked that server.

use super::super::alarm::AlarmKind;
use super::super::api::Error;
use super::super::database::STORAGE_VERSION;
use super::face::{Face, VERSION};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde_json::json;
use tonic::body::Body;

/// The content type of gRPC, alone or before `+` or `;`.
const GRPC: &str = "application/grpc";
const TEXT: &str = "text/plain; charset=utf-8";
const NO_SNIFF: &str = "x-content-type-options";

/// The checks of `/livez` and of `/readyz`, as etcd 3.6 names them.
const LIVE: [&str; 1] = ["serializable_read"];
const READY: [&str; 4] = ["data_corruption", "serializable_read", "linearizable_read", "non_learner"];

/// Returns the refusal of a request that is no call of gRPC, although its content type names gRPC;
/// `None` for a call. In the words of gRPC's server for Go.
fn not_a_call<B>(request: &Request<B>, kind: &str) -> Option<Response<Body>> {
    if request.method() != Method::POST {
        let why = format!("invalid gRPC request method {:?}", request.method().as_str());
        let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, &why);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Some(refused);
    }
    let rest = kind.strip_prefix(GRPC);
    rest.is_none_or(|rest| !rest.is_empty() && !rest.starts_with(['+', ';'])).then(|| {
        let why = format!("invalid gRPC request content-type {kind:?}");
        refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why)
    })
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = page(status, TEXT, format!("{text}\n"));
    response.headers_mut().insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
    response
}

/// The query of an address: `exclude=NOSPACE&serializable=true`.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn values(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }

    fn excludes(&self, name: &str) -> bool {
        self.values("exclude").any(|excluded| excluded == name)
    }
}

impl Face {
    /// Answers a request that is no call of gRPC; `None`: it is one.
    pub(super) async fn answer_without_grpc<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        if kind.contains(GRPC) {
            return not_a_call(request, kind);
        }
        let path = request.uri().path();
        let path = path.strip_prefix('/').unwrap_or(path);
        let query = Query(request.uri().query().unwrap_or(""));
        let all = |checks: &[&'static str]| checks.iter().copied().filter(|c| !query.excludes(c)).collect();
        let one = |checks: &[&'static str], name| checks.iter().find(|c| **c == name).map(|c| vec![*c]);
        let checks: Option<Vec<&str>> = match path.split_once('/') {
            None => match path {
                "health" | "version" => Some(vec![]),
                "livez" => Some(all(&LIVE)),
                "readyz" => Some(all(&READY)),
                _ => None,
            },
            Some(("livez", name)) => one(&LIVE, name),
            Some(("readyz", name)) => one(&READY, name),
            Some(_) => None,
        };
        let Some(checks) = checks else {
            return Some(refusal(StatusCode::NOT_FOUND, "404 page not found"));
        };
        if request.method() != Method::GET {
            let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return Some(refused);
        }
        Some(match path {
            "health" => self.health(&query).await,
            "version" => version(),
            _ => self.checks(&checks, query.values("verbose").next().is_some()).await,
        })
    }

    /// `/health`: whether this member can serve, and why not. With `serializable=true` it asks no
    /// other member, and with `exclude=NOSPACE` it passes over that alarm.
    async fn health(&self, query: &Query<'_>) -> Response<Body> {
        let serializable = query.values("serializable").next() == Some("true");
        let reason = self.sickness(serializable, |alarm| query.excludes(alarm)).await;
        let health = if reason.is_none() { "true" } else { "false" };
        // etcd's field order
        let text = format!(r#"{{"health":"{health}","reason":{}}}"#, json!(reason.as_deref().unwrap_or("")));
        match reason {
            None => page(StatusCode::OK, TEXT, text),
            Some(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, &text),
        }
    }

    async fn sickness(&self, serializable: bool, excluded: impl Fn(&str) -> bool) -> Option<String> {
        let status = self.kv.status();
        let mut alarms: Vec<&str> = self.kv.local_alarms().iter().map(|alarm| named(alarm.kind)).collect();
        // A full disk takes no alarm into the log either (see `Face::alarm`).
        alarms.extend((status.refuses == Some(Error::NoSpace)).then_some(named(AlarmKind::NoSpace)));
        if let Some(alarm) = alarms.into_iter().find(|alarm| !excluded(alarm)) {
            return Some(format!("ALARM {alarm}"));
        }
        if serializable {
            return None;
        }
        if status.leader.is_empty() {
            return Some("RAFT NO LEADER".into());
        }
        self.kv.read_barrier().await.err().map(|error| format!("RANGE ERROR:{error}"))
    }

    /// `/livez` and `/readyz`: `ok`, with `verbose` behind a line for each check; the lines if one
    /// fails.
    async fn checks(&self, checks: &[&str], verbose: bool) -> Response<Body> {
        let (mut lines, mut failed) = (String::new(), false);
        for check in checks {
            let corrupt = || self.kv.local_alarms().iter().any(|alarm| alarm.kind == AlarmKind::Corrupt);
            let error = match *check {
                "data_corruption" => corrupt().then(|| "alarm activated: CORRUPT".into()),
                "linearizable_read" => self.kv.read_barrier().await.err().map(|error| error.to_string()),
                _ => None, // keys can always be read here, and no member only learns
            };
            failed |= error.is_some();
            lines += &match error {
                None => format!("[+]{check} ok\n"),
                Some(error) => format!("[-]{check} failed: {error}\n"),
            };
        }
        if failed {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, &lines);
        }
        let text = if verbose { lines + "ok\n" } else { "ok\n".into() };
        let mut response = page(StatusCode::OK, TEXT, text);
        response.headers_mut().insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
        response
    }
}

/// Returns an alarm's name in etcd's messages.
fn named(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

fn version() -> Response<Body> {
    let text = format!(
        r#"{{"etcdserver":"{VERSION}","etcdcluster":"{STORAGE_VERSION}","storage":"{STORAGE_VERSION}"}}"#
    );
    page(StatusCode::OK, "application/json", text)
}

#[cfg(test)]
mod tests {
    use super::super::fuzz::{One, PATIENCE, framed};
    use super::*;
    use crate::alarm::Alarm;
    use crate::pb;
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use prost::Message;

    /// Returns the status, and the body as text.
    fn ask(one: &One, request: http::request::Builder, body: Vec<u8>) -> (u16, String) {
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let answer = async {
            let (head, body) = one.face.clone().answer(request).await.expect("an answer").into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            (head.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
        };
        one.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await }).expect("it hangs")
    }

    fn get(one: &One, path: &str) -> (u16, String) {
        ask(one, Request::get(path), vec![])
    }

    /// What a browser sends without asking the server for permission: `fetch` with `no-cors`, or a
    /// form. None of it is executed, whatever else its content type says.
    #[test]
    fn a_page_cannot_write_keys() {
        let one = One::start();
        let put = pb::PutRequest { key: "key".into(), value: "value".into(), ..Default::default() };
        let (body, path) = (framed(&put.encode_to_vec()), "/etcdserverpb.KV/Put");
        for (kind, refused) in [
            ("text/plain", 404),
            ("application/x-www-form-urlencoded", 404),
            ("multipart/form-data; boundary=x", 404),
            ("", 404),
            ("text/plain; application/grpc", 415),
            ("application/grpcx", 415),
        ] {
            let request = Request::post(path).header("content-type", kind);
            assert_eq!(ask(&one, request, body.clone()).0, refused, "{kind}");
        }
        assert_eq!(ask(&one, Request::post(path), body.clone()).0, 404);
        let grpc = |method: &str, kind: &str| {
            let request = Request::builder().method(method).uri(path).header("content-type", kind);
            ask(&one, request, body.clone()).0
        };
        assert_eq!(grpc("GET", "application/grpc"), 405);
        assert_eq!(grpc("GET", "application/grpcx"), 405, "gRPC looks at the method first");
        assert_eq!(one.face.kv.revision(), 1, "something was written");
        assert_eq!((grpc("POST", "application/grpc+proto"), one.face.kv.revision()), (200, 2));
    }

    #[test]
    fn what_is_not_served_is_not_found() {
        let one = One::start();
        for path in
            ["/", "/metrics", "/v2/keys", "/health/", "/livez/linearizable_read", "/readyz/x", "/versions"]
        {
            assert_eq!(get(&one, path), (404, "404 page not found\n".into()), "{path}");
        }
        let json = Request::post("/v3/kv/put").header("content-type", "application/json");
        assert_eq!(ask(&one, json, br#"{"key":"Zm9v","value":"YmFy"}"#.to_vec()).0, 404);
        assert_eq!(ask(&one, Request::post("/health"), vec![]), (405, "Method Not Allowed\n".into()));
    }

    #[test]
    fn probes_are_answered_as_etcd_3_6_does() {
        let one = One::start();
        assert_eq!(get(&one, "/health"), (200, r#"{"health":"true","reason":""}"#.into()));
        let version = format!(r#"{{"etcdserver":"{VERSION}","etcdcluster":"3.6.0","storage":"3.6.0"}}"#);
        assert_eq!(get(&one, "/version"), (200, version));
        for path in ["/livez", "/readyz", "/livez/serializable_read", "/readyz/linearizable_read"] {
            assert_eq!(get(&one, path), (200, "ok\n".into()), "{path}");
        }
        let verbose = "[+]data_corruption ok\n[+]serializable_read ok\n[+]non_learner ok\nok\n";
        assert_eq!(get(&one, "/readyz?verbose&exclude=linearizable_read"), (200, verbose.into()));

        let alarm = |kind, on| {
            let raised = one.face.kv.alarm(Alarm { kind, member: 1 }, on);
            one.runtime.block_on(raised).expect("an alarm");
        };
        alarm(AlarmKind::NoSpace, true);
        assert_eq!(
            get(&one, "/health"),
            (503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n".into())
        );
        assert_eq!(get(&one, "/health?exclude=CORRUPT&exclude=NOSPACE&serializable=true").0, 200);
        assert_eq!(get(&one, "/readyz").0, 200);
        alarm(AlarmKind::NoSpace, false);
        alarm(AlarmKind::Corrupt, true);
        let (status, text) = get(&one, "/readyz");
        assert_eq!(
            (status, text.lines().next()),
            (503, Some("[-]data_corruption failed: alarm activated: CORRUPT"))
        );
        assert_eq!(get(&one, "/livez"), (200, "ok\n".into()));
    }

    #[test]
    fn the_health_service_of_grpc_says_that_the_server_answers() {
        let one = One::start();
        let ask = |service: &str| {
            let request = pb::HealthCheckRequest { service: service.into() };
            one.ask("grpc.health.v1.Health/Check", framed(&request.encode_to_vec())).code()
        };
        assert_eq!((ask(""), ask("etcdserverpb.KV")), (tonic::Code::Ok, tonic::Code::NotFound));
        let mut states = one.face.clone().health_watch(pb::HealthCheckRequest::default());
        let first =
            one.runtime.block_on(futures::StreamExt::next(&mut states)).expect("open").expect("no error");
        assert_eq!(first.status, 1);
    }
}
