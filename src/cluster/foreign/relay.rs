//! The HTTPS server in front of a foreign API server. It authenticates its clients by certificate,
//! refuses what would change anything outside the lesson's namespace, passes everything else on,
//! and has the observer record requests and answers.

use super::observer::{Asked, Observer};
use crate::guest::LESSON_NAMESPACE;
use api::Status;
use apiserver::Info;
use apiserver::forward;
use apiserver::http::{Answer, BODY_MAX, Body, BodyError, Query, failure, full, http_server};
use bytes::{Bytes, BytesMut};
use client::CAUSE_HEADER;
use client::remote::Upstream;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, BodyStream, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use linux::{descriptors, tcp};
use parking_lot::Mutex;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A larger answer to a write is passed on unread, so its revision is not known.
const WRITE_ANSWER_MAX: usize = 4 << 20;
/// Headers that belong to one connection, or to the relay alone.
const NOT_PASSED: &[&str] = &["authorization", "host", CAUSE_HEADER, "content-length"];
/// Subresources that are connected to (`connectSubresources` upstream). A GET of one may change
/// something: a WebSocket begins as a GET.
const CONNECTED: &[&str] = &["exec", "attach", "portforward", "proxy"];

pub(super) struct Relay {
    pub upstream: Arc<Upstream>,
    pub observer: Observer,
    /// The only namespace that may be changed; empty: none yet.
    pub namespace: Arc<Mutex<String>>,
}

/// Serves until the crew ends.
pub(super) fn start(crew: &Crew, listener: TcpListener, tls: Arc<rustls::ServerConfig>, relay: Relay) {
    let (own, relay, acceptor) = (crew.clone(), Arc::new(relay), TlsAcceptor::from(tls));
    // An eighth of the descriptors. At the bound new connections wait in the kernel's queue.
    let places = Arc::new(Semaphore::new(descriptors::connections(descriptors::limit(), 8, 2)));
    crew.spawn(async move {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return }; // it is never closed
            let (tcp, _) = tcp::accept(&listener).await;
            let (relay, acceptor, stop) = (relay.clone(), acceptor.clone(), own.token());
            own.spawn(async move {
                connection(relay, tcp, acceptor, stop).await;
                drop(place);
            });
        }
    });
}

async fn connection(relay: Arc<Relay>, tcp: TcpStream, acceptor: TlsAcceptor, stop: CancellationToken) {
    let _ = tcp.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await else { return };
    let peer = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(|c| pki::user_of(c));
    let peer = peer.map(|(name, _)| name);
    let is_stranger = peer.is_none();
    let over = stop.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (relay, peer, stop) = (relay.clone(), peer.clone(), over.clone());
        let answer: BoxFuture<'static, Result<Answer, Infallible>> = Box::pin(async move {
            Ok(match peer {
                Some(user) => relay.serve(&user, request, stop).await,
                // Other users of this machine must not act with the learner's rights.
                None => failure(&Status::unauthorized()),
            })
        });
        answer
    });
    let server = http_server();
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {} // the other side may hang up
        () = clock::pause(HANDSHAKE_TIMEOUT), if is_stranger => {} // it has got its refusal
        () = stop.cancelled() => {}
    }
}

impl Relay {
    async fn serve(&self, user: &str, request: Request<Incoming>, stop: CancellationToken) -> Answer {
        let query = Query::parse(request.uri().query());
        let info = Info::parse(request.method(), request.uri().path(), &query);
        let mut asked = self.observer.asked(user, &info, &query, request.headers());
        let own = self.namespace.lock().clone();
        let upgrades = request.headers().contains_key(header::UPGRADE);
        let answer = match permit(&info, upgrades, &own) {
            Ok(()) => self.pass(request, &mut asked, stop).await,
            Err(status) => Err(status),
        };
        match answer {
            Ok((answer, said)) => {
                self.observer.answered(asked, answer.status().as_u16(), said.as_ref());
                answer
            }
            Err(status) => {
                self.observer.answered(asked, status.code, None);
                failure(&status)
            }
        }
    }

    /// Passes a request on. With the answer to a write comes what the server said, if it is JSON.
    async fn pass(
        &self,
        mut request: Request<Incoming>,
        asked: &mut Asked,
        stop: CancellationToken,
    ) -> Result<(Answer, Option<Value>), Status> {
        let upgrading = request.headers().contains_key(header::UPGRADE);
        let client = upgrading.then(|| hyper::upgrade::on(&mut request));
        let mut passed = Request::builder().method(request.method().clone()).uri(request.uri().clone());
        if let Some(headers) = passed.headers_mut() {
            *headers = passed_headers(request.headers(), upgrading, asked.is_answered_with_an_object());
        }
        let body = match upgrading {
            true => Bytes::new(),
            false => Limited::new(request.into_body(), BODY_MAX)
                .collect()
                .await
                .map_err(|_| Status::too_large(BODY_MAX))?
                .to_bytes(),
        };
        asked.read(&body);
        let passed = passed.body(Full::new(body)).map_err(|e| Status::bad_request(e.to_string()))?;
        let unreachable =
            |why: String| Status::unavailable(format!("{} cannot be reached: {why}", self.upstream.url()));
        let answer = match upgrading {
            true => self.upstream.upgrade(passed).await,
            false => self.upstream.send(passed).await,
        }
        .map_err(unreachable)?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let over = stop.cancelled_owned();
            return Ok((forward::join(client, answer, "the server", NOT_PASSED, over)?, None));
        }
        let (parts, body) = answer.into_parts();
        let body = body.map_err(|e| BodyError(e.to_string())).boxed_unsync();
        let (body, said) = match asked.is_answered_with_an_object() {
            true => {
                let read = read_within(body, WRITE_ANSWER_MAX).await;
                let (body, whole) = read.map_err(|e| unreachable(e.to_string()))?;
                (body, whole.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
            }
            false => (body, None),
        };
        let mut out = Response::new(body);
        *out.status_mut() = parts.status;
        forward::pass_headers(&parts.headers, out.headers_mut(), false, NOT_PASSED);
        Ok((out, said))
    }
}

/// Returns the headers that go to the foreign server. If the answer `is_read` here it must not be
/// compressed: an API server compresses more than 128 KiB for a client that takes that
/// (`responsewriters.SerializeObject`), and kubectl does.
fn passed_headers(from: &HeaderMap, upgrading: bool, is_read: bool) -> HeaderMap {
    let mut passed = HeaderMap::new();
    forward::pass_headers(from, &mut passed, upgrading, NOT_PASSED);
    if is_read {
        passed.remove(header::ACCEPT_ENCODING);
    }
    passed
}

/// Reads a body of so many bytes at most. Returns one that says the same, and all of it if it was
/// no longer than that, whether or not its length was announced.
async fn read_within(mut body: Body, most: usize) -> Result<(Body, Option<Bytes>), BodyError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue }; // trailers: the API has none
        read.extend_from_slice(&data);
        if read.len() > most {
            let begin = stream::iter([Ok(Frame::data(read.freeze()))]);
            return Ok((StreamBody::new(begin.chain(BodyStream::new(body))).boxed_unsync(), None));
        }
    }
    let whole = read.freeze();
    Ok((full(whole.clone()), Some(whole)))
}

/// Decides whether a request is passed on. Every read is; a change only in the lesson's namespace.
///
/// A request that changes protocols (`upgrades`) to a subresource is a connection, whatever it is
/// called: KubeVirt has `virtualmachineinstances/vm/console`. Only logs are read that way, too.
pub(super) fn permit(info: &Info, upgrades: bool, own: &str) -> Result<(), Status> {
    if climbs(&info.path) {
        return Err(Status::bad_request(format!("the path {:?} has a segment \".\" or \"..\"", info.path)));
    }
    if hides(info) {
        return Err(Status::bad_request(format!("the path {:?} has a \"/\" written as \"%2F\"", info.path)));
    }
    let looks = matches!(info.verb.as_str(), "get" | "list" | "watch" | "head" | "options");
    let subresource = info.subresource.as_str();
    let connects = CONNECTED.contains(&subresource) || upgrades && !matches!(subresource, "" | "log");
    if looks && !connects {
        return Ok(());
    }
    // Questions about rights and identities are stored nowhere.
    if matches!(info.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io")
        && info.verb == "create"
        && info.resource.ends_with("reviews")
    {
        return Ok(());
    }
    if info.is_resource && !own.is_empty() && info.object_namespace() == own {
        return Ok(());
    }
    let why = match own {
        "" => "no lesson is open, and without one this session changes nothing on a cluster that is not Ropewalk's own".to_string(),
        own => format!(
            "this session changes nothing outside the namespace \"{own}\" of a cluster that is not Ropewalk's own{}",
            match info.object_namespace() == LESSON_NAMESPACE {
                true => format!(
                    "; where the lesson says \"{LESSON_NAMESPACE}\", leave the namespace out or write \"namespace: {own}\""
                ),
                false => String::new(),
            }
        ),
    };
    let what = if info.is_resource { info.resource.as_str() } else { info.path.as_str() };
    Err(Status::forbidden(&info.group, what, &info.name, &why))
}

/// Returns whether a path has a segment `.` or `..`, however it is written. A proxy before the
/// foreign server may resolve them, and then the path leads elsewhere than this relay has read.
fn climbs(path: &str) -> bool {
    plain(path).split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

/// Returns whether a path has a slash inside of a segment: an API server decodes a path before it
/// splits it (`requestinfo.go`), so `pods/p%2Fexec` is a look at a pod here and `exec` there. No
/// name of an object has a slash; what follows a subresource `proxy` is the proxied server's own
/// path.
fn hides(info: &Info) -> bool {
    let segments = info.path.split('/').filter(|segment| !segment.is_empty());
    // `api/v1` or `apis/GROUP/v1`, `namespaces/NAME`, then `RESOURCE/NAME/proxy`.
    let before = 2 + usize::from(!info.group.is_empty()) + 2 * usize::from(info.in_namespace) + 3;
    let checked = if info.subresource == "proxy" { before } else { usize::MAX };
    segments.take(checked).any(|segment| plain(segment).contains('/'))
}

/// Decodes what could be read as another path, also if it is encoded twice.
fn plain(path: &str) -> String {
    let mut plain = path.to_ascii_lowercase();
    for (written, means) in [("%25", "%"), ("%2e", "."), ("%2f", "/"), ("%5c", "\\")] {
        plain = plain.replace(written, means);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to a write that tells no length: it is read as far as the bound, and no byte is
    /// lost beyond it.
    #[tokio::test]
    async fn an_answer_without_a_length_is_read_within_a_bound() {
        let body = |pieces: &'static [&'static str]| {
            let frames = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
            StreamBody::new(stream::iter(frames)).boxed_unsync()
        };
        for (pieces, whole) in [
            (&["{", "}"][..], Some("{}")),
            (&["123", "45"], Some("12345")),
            (&["123", "456", "789"], None),
            (&[], Some("")),
        ] {
            let (again, read) = read_within(body(pieces), 5).await.unwrap();
            assert_eq!(read.as_deref(), whole.map(str::as_bytes), "{pieces:?}");
            assert_eq!(again.collect().await.unwrap().to_bytes(), pieces.concat());
        }
        // One that never ends is passed on as soon as it is too long.
        let endless = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(b"x"))));
        let (mut again, read) = read_within(StreamBody::new(endless).boxed_unsync(), 5).await.unwrap();
        assert!(read.is_none() && again.frame().await.is_some());
    }

    /// `kubectl apply` of a ConfigMap of 200 KiB: the version that it made, and so its writer,
    /// would not be known.
    #[test]
    fn an_answer_that_is_read_here_is_not_compressed() {
        let mut from = HeaderMap::new();
        for (name, value) in
            [(header::ACCEPT_ENCODING, "gzip"), (header::ACCEPT, "*/*"), (header::AUTHORIZATION, "x")]
        {
            from.insert(name, http::HeaderValue::from_static(value));
        }
        for is_read in [true, false] {
            let passed = passed_headers(&from, false, is_read);
            assert_eq!(passed.contains_key(header::ACCEPT_ENCODING), !is_read);
            assert!(passed.contains_key(header::ACCEPT) && !passed.contains_key(header::AUTHORIZATION));
        }
    }

    fn may(method: &str, url: &str) -> bool {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let info = Info::parse(&method.parse().unwrap(), path, &Query::parse(Some(query)));
        permit(&info, false, "mine").is_ok()
    }

    /// A WebSocket to the console of a virtual machine begins as a GET, and types into it.
    #[test]
    fn a_connection_to_an_unknown_subresource_ends_at_the_wall() {
        let may = |path: &str, upgrades: bool| {
            let query = Query::parse(Some("watch=true"));
            permit(&Info::parse(&http::Method::GET, path, &query), upgrades, "mine").is_ok()
        };
        let console = |namespace: &str| {
            format!(
                "/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances/vm/console"
            )
        };
        assert!(
            !may(&console("other"), true) && may(&console("other"), false) && may(&console("mine"), true)
        );
        assert!(may("/api/v1/namespaces/other/pods/p/log", true) && may("/api/v1/pods", true));
    }

    #[test]
    fn looking_is_free_and_changing_ends_at_the_wall() {
        for (method, url) in [
            ("GET", "/api/v1/nodes"),
            ("GET", "/api/v1/namespaces/other/pods?watch=true"),
            ("GET", "/version"),
            ("POST", "/api/v1/namespaces/mine/pods"),
            ("DELETE", "/apis/apps/v1/namespaces/mine/deployments/web"),
            ("GET", "/api/v1/namespaces/mine/pods/p/exec?command=ls"),
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
            ("DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/mine/roles/system%3Aa..b"),
            ("GET", "/api/v1/namespaces/mine/services/web/proxy/a%2Fb"),
        ] {
            assert!(may(method, url), "{method} {url}");
        }
        for (method, url) in [
            ("POST", "/api/v1/namespaces/other/pods"),
            ("GET", "/api/v1/namespaces/other/pods/p/exec?command=ls"),
            ("POST", "/api/v1/namespaces/other/pods/p/portforward"),
            ("PATCH", "/api/v1/nodes/n"),
            ("DELETE", "/api/v1/namespaces/mine"),
            ("DELETE", "/api/v1/namespaces/other"),
            ("POST", "/api/v1/namespaces"),
            ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
            ("DELETE", "/api/v1/persistentvolumes"),
            ("POST", "/ropewalk/v1/undo"),
            ("PUT", "/api/v1/namespaces/mine/finalize"),
            ("POST", "/api/v1/namespaces/mine/../other/pods"),
            ("POST", "/api/v1/namespaces/mine/%2e%2E/other/pods"),
            ("DELETE", "/api/v1/namespaces/mine/pods/..%2F..%2fother%2Fpods%2Fp"),
            ("DELETE", "/api/v1/namespaces/mine/pods/%252e%252e/x"),
            ("GET", "/api/v1/namespaces/other/pods/p/log/../exec?command=ls"),
            ("GET", "/api/v1/namespaces/other/pods/p%2Fexec?command=ls"),
            ("GET", "/api/v1/namespaces/other/pods/p%252fexec?command=ls"),
            ("GET", "/api/v1/namespaces/other/services/web%2Fproxy/admin/reset"),
            ("GET", "/api/v1/nodes/n%2Fproxy/logs"),
            ("GET", "/api/v1/namespaces/mine/services/web%2Fx/proxy/admin"),
            ("GET", "/api%2Fv1/namespaces/other/pods/p/exec?command=ls"),
            ("DELETE", "/api/v1/namespaces/mine/%2F"),
        ] {
            assert!(!may(method, url), "{method} {url}");
        }
        let asked = |path| Info::parse(&http::Method::POST, path, &Query::default());
        let refused = |path| permit(&asked(path), false, "mine").unwrap_err().message;
        let usual = refused("/api/v1/namespaces/default/pods");
        assert!(usual.contains("write \"namespace: mine\""), "{usual}");
        assert!(!refused("/api/v1/namespaces/other/pods").contains("namespace: mine"));
        let delete = Info::parse(&http::Method::DELETE, "/api/v1/namespaces/x/pods", &Query::default());
        assert!(
            permit(&delete, false, "")
                .is_err_and(|s| s.code == 403 && s.message.contains("no lesson is open"))
        );
    }
}
