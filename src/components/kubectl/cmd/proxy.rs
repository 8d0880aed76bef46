//! proxy: the API server on a local port, as the user of the kubeconfig.

use super::proxy_files;
use super::proxy_filter::{Filter, clean, decoded};
use crate::ctx::Ctx;
use crate::error::{Fail, go_io, text};
use bytes::Bytes;
use client::remote::Upstream;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use linux::tcp;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixSocket};
use tokio::task::JoinSet;

pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Connections that wait to be accepted; as tokio's and the standard library's listeners.
const BACKLOG: u32 = 1024;
/// The default of `--port`. Beside `--unix-socket` it means nothing, given or not, as in kubectl.
const USUAL_PORT: i64 = 8001;
/// A longer request body is refused.
const BODY_MAX: usize = 64 << 20;
/// Headers that speak of one connection only.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The parts of the proxy that every request passes.
struct Handler {
    upstream: Upstream,
    filter: Filter,
    /// `/` or `/k8s/`: what is before the API's own paths.
    api: String,
    /// Files of a folder, and the prefix under which they are shown.
    files: Option<(PathBuf, String)>,
}

fn slashed(prefix: &str) -> String {
    format!("/{}/", prefix.trim_matches('/')).replace("//", "/")
}

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let port = ctx.flags.int("port");
    if !ctx.flags.text("unix-socket").is_empty() && port != USUAL_PORT {
        return text("cannot set --unix-socket and --port at the same time");
    }
    if !(0..=65535).contains(&port) {
        return text(format!("listen tcp: address {port}: invalid port"));
    }
    let folder = ctx.flags.text("www");
    if !folder.is_empty() && !ctx.path(folder).is_dir() {
        ctx.note(format!("Warning: static file directory {folder} does not exist or is not a directory"));
    }
    let handler = Arc::new(Handler {
        upstream: Upstream::over(ctx.target()?, &ctx.env)?,
        filter: Filter::of(ctx)?,
        api: slashed(ctx.flags.text("api-prefix")),
        files: (!folder.is_empty()).then(|| (ctx.path(folder), slashed(ctx.flags.text("www-prefix")))),
    });
    if handler.filter.off {
        ctx.note("Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious");
    }
    let mut guests = JoinSet::new();
    let socket = ctx.flags.text("unix-socket");
    if !socket.is_empty() {
        let path = ctx.path(socket);
        let listener = listen_unix(&path)
            .map_err(|e| Fail::Text(format!("listen unix {socket}: bind: {}", bind_error(&e))))?;
        ctx.line(format!("Starting to serve on {socket}"));
        ctx.output.flush().await;
        let _gone = RemoveOnDrop(path);
        loop {
            let stream = tcp::accept_local(&listener).await;
            while guests.try_join_next().is_some() {} // those that have left
            guests.spawn(serve(handler.clone(), stream));
        }
    }
    let address = format!("{}:{port}", ctx.flags.text("address"));
    let listener = tokio::net::TcpListener::bind(&address)
        .await
        .map_err(|e| Fail::Text(format!("listen tcp {address}: bind: {}", bind_error(&e))))?;
    let bound = listener.local_addr().map_or(address, |a| a.to_string());
    ctx.line(format!("Starting to serve on {bound}"));
    ctx.output.flush().await;
    loop {
        let (stream, _) = tcp::accept(&listener).await;
        while guests.try_join_next().is_some() {}
        guests.spawn(serve(handler.clone(), stream));
    }
}

/// Listens on a socket to which the user alone can connect: a program that connects acts with the
/// user's credentials. A socket that lies at the path, left by a proxy that was killed, is
/// replaced, as kubectl does; another file is not.
fn listen_unix(path: &Path) -> std::io::Result<UnixListener> {
    if std::fs::metadata(path).is_ok_and(|there| there.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let socket = UnixSocket::new_stream()?;
    // The file gets the socket's mode when it is bound; the umask, which is the whole process', can
    // only take away more.
    nix::sys::stat::fchmod(&socket, nix::sys::stat::Mode::S_IRWXU)?;
    socket.bind(path)?;
    socket.listen(BACKLOG)
}

fn bind_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "address already in use".into(),
        std::io::ErrorKind::AddrNotAvailable => "cannot assign requested address".into(),
        _ => go_io(error),
    }
}

/// Takes the socket's file away when the proxy ends, however it does.
struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // another program may have removed it
    }
}

/// What a connection becomes when it changes protocols: bytes that are passed on until either side
/// ends.
type Tunnel = Mutex<Option<BoxFuture<'static, ()>>>;

/// Serves one connection to its end. When the future is dropped, the connection ends, a tunnel
/// included.
async fn serve(handler: Arc<Handler>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let tunnel: Arc<Tunnel> = Arc::default();
    let opened = tunnel.clone();
    let service = service_fn(move |request| {
        let (handler, tunnel) = (handler.clone(), opened.clone());
        async move { Ok::<_, Infallible>(answer(&handler, request, &tunnel).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a guest of the proxy went");
    }
    let tunnel = tunnel.lock().take();
    if let Some(tunnel) = tunnel {
        tunnel.await;
    }
}

pub(super) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn answer(handler: &Handler, request: Request<Incoming>, tunnel: &Tunnel) -> Response<Body> {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("").to_string();
    let path = request.uri().path().to_string();
    let decoded_path = decoded(&path);
    let is_clean = path == clean(&path);
    let lets = |path: &str| handler.filter.lets(request.method().as_str(), path, &host);
    // The server decides what `%2F%2F` or `%2e%2e` in a path mean: neither may be refused. A path
    // that is redirected is filtered as it will come again.
    if !lets(&clean(&decoded_path)) || is_clean && !lets(&decoded_path) {
        return plain(StatusCode::FORBIDDEN, "Forbidden\n");
    }
    if let Some(origin) = request.headers().get(header::ORIGIN)
        && !origin.to_str().is_ok_and(|origin| handler.filter.lets_origin(origin))
    {
        return plain(StatusCode::FORBIDDEN, "Forbidden\n");
    }
    let query = request.uri().query().map_or(String::new(), |q| format!("?{q}"));
    if !is_clean {
        // As Go's mux, which looks at the path as it is encoded: `a%2F%2Fb` is clean.
        let mut moved = plain(StatusCode::MOVED_PERMANENTLY, "");
        if let Ok(target) = HeaderValue::from_str(&format!("{}{query}", clean(&path))) {
            moved.headers_mut().insert(header::LOCATION, target);
        }
        return moved;
    }
    if let Some((folder, prefix)) = &handler.files
        && let Some(answer) = proxy_files::answer(folder, prefix, &path, request.uri().query())
    {
        return answer;
    }
    let Some(rest) = path.strip_prefix(handler.api.trim_end_matches('/')).filter(|r| r.starts_with('/'))
    else {
        return plain(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    match forward(handler, request, &format!("{rest}{query}"), tunnel).await {
        Ok(response) => response,
        Err(why) => plain(StatusCode::BAD_GATEWAY, format!("{why}\n")),
    }
}

fn without_hops(headers: &mut HeaderMap) {
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(*name)));
}

async fn forward(
    handler: &Handler,
    mut request: Request<Incoming>,
    target: &str,
    tunnel: &Tunnel,
) -> Result<Response<Body>, String> {
    let upgrades = request.headers().contains_key(header::UPGRADE);
    let guest = upgrades.then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    parts.uri = target.parse().map_err(|e| format!("{target:?} is no path: {e}"))?;
    parts.headers.remove(header::HOST);
    let body = Limited::new(body, BODY_MAX).collect().await.map_err(|e| e.to_string())?.to_bytes();
    let Some(guest) = guest else {
        without_hops(&mut parts.headers);
        let response = handler.upstream.send(Request::from_parts(parts, Full::new(body))).await?;
        let (mut parts, body) = response.into_parts();
        without_hops(&mut parts.headers);
        parts.version = http::Version::HTTP_11;
        return Ok(Response::from_parts(parts, body.boxed_unsync()));
    };
    let mut response = handler.upstream.upgrade(Request::from_parts(parts, Full::new(body))).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let server = hyper::upgrade::on(&mut response);
        *tunnel.lock() = Some(Box::pin(async move {
            let (Ok(guest), Ok(server)) = (guest.await, server.await) else { return };
            // Ends with either side, which sees the error itself.
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(guest), &mut TokioIo::new(server)).await;
        }));
    }
    Ok(response.map(BodyExt::boxed_unsync))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;
    use crate::testing::Server;
    use crate::{Env, Io};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio_util::sync::CancellationToken;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_socket_is_its_users_alone_and_replaces_one_that_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        for _ in 0..2 {
            let listener = listen_unix(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
            tokio::net::UnixStream::connect(&path).await.unwrap();
            drop(listener); // as after a kill: the file stays
            assert!(path.exists());
        }
        let file = dir.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        assert_eq!(listen_unix(&file).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    }

    /// The command, the address that it listens on, and what ends it.
    struct Running {
        address: String,
        cancel: CancellationToken,
        ended: tokio::task::JoinHandle<i32>,
        _lines: tokio::io::Lines<BufReader<tokio::io::DuplexStream>>,
    }

    async fn start(server: &Server, flag: &str) -> Running {
        let (near, stdout) = tokio::io::duplex(1 << 10);
        let (mut lines, cancel) = (BufReader::new(near).lines(), CancellationToken::new());
        let io = Io {
            stdin: Box::new(tokio::io::empty()),
            stdout: Box::new(stdout),
            stderr: Box::new(Kept::all()),
            terminal: None,
            stdout_is_terminal: false,
            own: false,
            cancel: cancel.clone(),
        };
        let words = ["kubectl", "proxy", "--port=0", flag, "--server", &server.address];
        let ended = tokio::spawn(crate::run(words.map(String::from).to_vec(), io, Env::default()));
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
        let address = line.rsplit(' ').next().unwrap().to_string();
        Running { address, cancel, ended, _lines: lines }
    }

    /// `curl -H 'Authorization: Bearer own'`.
    #[tokio::test]
    async fn a_request_keeps_a_token_of_its_own() {
        let server = Server::start().await;
        let proxy = start(&server, "--disable-filter").await;
        let mut guest = tokio::net::TcpStream::connect(&proxy.address).await.unwrap();
        let request = "GET /api/v1/namespaces/d/pods/p HTTP/1.1\r\nHost: localhost\r\n\
            Authorization: Bearer own\r\nConnection: close\r\n\r\n";
        guest.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![];
        tokio::time::timeout(LIMIT, guest.read_to_end(&mut answer)).await.unwrap().unwrap();
        let requests = server.requests();
        assert_eq!(requests.last().map(|request| request.user.as_str()), Some("Bearer own"), "{requests:?}");
        proxy.cancel.cancel();
        assert_eq!(proxy.ended.await.unwrap(), crate::INTERRUPTED);
    }

    #[tokio::test]
    async fn what_is_encoded_in_a_path_is_left_to_the_server() {
        let server = Server::start().await;
        let proxy = start(&server, "--accept-paths=^/api").await;
        let encoded = "/api/v1/namespaces/d/services/s/proxy/http%3A%2F%2Fx%2e%2e";
        for (path, answered) in [(encoded, "HTTP/1.1 404"), ("//api", "HTTP/1.1 301")] {
            let mut guest = tokio::net::TcpStream::connect(&proxy.address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            guest.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            tokio::time::timeout(LIMIT, guest.read_to_string(&mut answer)).await.unwrap().unwrap();
            assert!(answer.starts_with(answered), "{path}: {answer}");
        }
        assert_eq!(server.requests().last().map(|request| request.path.clone()).as_deref(), Some(encoded));
    }

    /// In the console the command is no process of its own, whose end would close its connections.
    #[tokio::test]
    async fn a_tunnel_ends_with_the_proxy() {
        let server = Server::start_exec(|_, socket| {
            Box::pin(async move {
                let _open = socket;
                std::future::pending::<()>().await;
            })
        })
        .await;
        let proxy = start(&server, "--disable-filter").await;
        let mut guest = tokio::net::TcpStream::connect(&proxy.address).await.unwrap();
        let request = "GET /api/v1/namespaces/d/pods/p/exec?command=x HTTP/1.1\r\nHost: localhost\r\n\
            Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Protocol: v5.channel.k8s.io\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        guest.write_all(request.as_bytes()).await.unwrap();
        let mut head = vec![0; 12];
        tokio::time::timeout(LIMIT, guest.read_exact(&mut head)).await.unwrap().unwrap();
        assert_eq!(head, b"HTTP/1.1 101");
        proxy.cancel.cancel();
        assert_eq!(proxy.ended.await.unwrap(), crate::INTERRUPTED);
        let mut rest = vec![];
        let ended = tokio::time::timeout(LIMIT, guest.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the tunnel goes on without the proxy");
    }

    #[tokio::test]
    async fn a_port_is_one_and_not_beside_a_socket() {
        let server = Server::away().await;
        let dir = tempfile::tempdir().unwrap();
        let socket = format!("--unix-socket={}", dir.path().join("no/s").display());
        let both = "cannot set --unix-socket and --port at the same time";
        for (line, why) in [
            (&["proxy", "--port=-1"][..], "listen tcp: address -1: invalid port"),
            (&["proxy", "--port=65536"], "listen tcp: address 65536: invalid port"),
            (&["proxy", "--port=-1", &socket], both),
            (&["proxy", "--port=8001", &socket], "no such file or directory"),
        ] {
            let result = server.kubectl(line).await;
            assert!(result.code == 1 && result.err.contains(why), "{line:?}: {result:?}");
        }
    }

    #[test]
    fn a_prefix_begins_and_ends_with_a_slash() {
        assert_eq!(
            (slashed("/"), slashed("k8s"), slashed("/static/")),
            ("/".into(), "/k8s/".into(), "/static/".into())
        );
    }
}
