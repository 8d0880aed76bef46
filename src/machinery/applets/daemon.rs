//! Servers: programs that accept connections, or answer requests over HTTP, until a signal ends
//! them.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use linux::tcp;
use std::convert::Infallible;
use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections that are served at once; the kernel lets further ones wait.
const CONNECTIONS_MAX: usize = 1000;
/// Longer bodies are answered with 413.
const BODY_MAX: usize = 1024 * 1024;
/// For the head of a request, and for its body. Then the connection ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// Threads for work that blocks, such as questions to another server.
const BLOCKING_MAX: usize = 32;

/// Runs a server on this thread alone, as long as it lasts: the program's exit code. `prefix`
/// begins its messages.
pub(crate) fn serve(prefix: &str, server: impl Future<Output = Result<(), String>>) -> i32 {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = match builder.enable_io().enable_time().max_blocking_threads(BLOCKING_MAX).build() {
        Ok(runtime) => runtime,
        Err(e) => {
            super::write_stderr(&format!("{prefix}: cannot start: {e}\n"));
            return 1;
        }
    };
    let ended = tokio::task::LocalSet::new().block_on(&runtime, server);
    runtime.shutdown_background(); // no client waits for an answer any more
    match ended {
        Ok(()) => 0,
        Err(e) => {
            super::write_stderr(&format!("{prefix}: {e}\n"));
            1
        }
    }
}

/// Returns the port to listen on: `text` if it is there, else `default`. Port 0 lets the kernel
/// choose.
///
/// # Errors
/// `text` is no port.
pub(crate) fn parse_port(text: Option<&str>, default: u16) -> Result<u16, String> {
    text.map_or(Ok(default), |text| text.parse().map_err(|_| format!("bad port {text:?}")))
}

/// Tells a connection that the server is to end.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Completes when the server is to end.
    pub(crate) async fn wait(&mut self) {
        let _ = self.0.wait_for(|stop| *stop).await; // a server that is gone has ended, too
    }
}

/// Serves each connection with `connection`, until TERM or INT, or until `failure` says why the
/// server cannot go on. What is being served is finished first; a second TERM ends that.
pub(crate) async fn listen<C>(
    port: u16,
    failure: impl Future<Output = String>,
    mut connection: impl FnMut(TcpStream, SocketAddr, Stopping) -> C,
) -> Result<(), String>
where
    C: Future<Output = ()> + 'static,
{
    let caught = |kind| signal(kind).map_err(|e| format!("cannot catch signals: {e}"));
    let (mut term, mut int) = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
    // A container's first process gets no signal that it does not catch, so its runtime kept
    // them waiting until now.
    linux::signal::unblock_all().map_err(|e| format!("cannot unblock signals: {e}"))?;
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    let listener =
        TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))?;
    super::write_stdout(&format!("listening on {}\n", listener.local_addr().unwrap_or(address)));
    let (stop, stopping) = watch::channel(false);
    let mut serving = JoinSet::new();
    tokio::pin!(failure);
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            why = &mut failure => return Err(why),
            // Without a free descriptor it is tried again after a pause, so that the loop takes no
            // whole processor.
            (stream, peer) = tcp::accept_always(&listener), if serving.len() < CONNECTIONS_MAX => {
                serving.spawn_local(connection(stream, peer, Stopping(stopping.clone())));
            }
            Some(_) = serving.join_next() => {}
        }
    }
    drop(listener);
    let _ = stop.send(true); // it has no receiver if no client is connected
    tokio::select! {
        _ = term.recv() => {}
        why = failure => return Err(why),
        () = async { while serving.join_next().await.is_some() {} } => {}
    }
    Ok(())
}

/// A request with its whole body, and the two ends of its connection.
pub(crate) struct FullRequest {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub peer: SocketAddr,
    /// Its address is the pod's: services rewrite the destination before it arrives.
    pub local: Option<SocketAddr>,
}

pub(crate) type Answer = Response<Full<Bytes>>;

/// Returns an answer with a body of this media type.
pub(crate) fn new_answer(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Answers requests over HTTP/1.1 with `handler`, and writes a line about each to standard output.
/// Ends as [`listen`] does.
pub(crate) async fn serve_http<A>(
    port: u16,
    handler: impl Fn(FullRequest) -> A + 'static,
) -> Result<(), String>
where
    A: Future<Output = Answer> + 'static,
{
    let handler = Rc::new(handler);
    listen(port, std::future::pending(), |stream, peer, stopping| {
        serve_connection(stream, peer, handler.clone(), stopping)
    })
    .await
}

/// Returns what all servers of HTTP have in common. A client may end its sending side behind its
/// request, as `printf … | nc` does, and is answered all the same.
pub(crate) fn http1_builder() -> hyper::server::conn::http1::Builder {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).half_close(true);
    http
}

/// Serves one connection.
async fn serve_connection<A: Future<Output = Answer>>(
    stream: TcpStream,
    peer: SocketAddr,
    handler: Rc<impl Fn(FullRequest) -> A>,
    mut stopping: Stopping,
) {
    let local = stream.local_addr().ok();
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            let line = format!("{} \"{} {} {:?}\"", peer.ip(), head.method, head.uri, head.version);
            let response = match read_body(body).await {
                Ok(body) => {
                    let (method, uri, version, headers) = (head.method, head.uri, head.version, head.headers);
                    handler(FullRequest { method, uri, version, headers, body, peer, local }).await
                }
                Err(refusal) => refusal,
            };
            let line = format!("{line} {}\n", response.status().as_u16());
            let _ = std::io::stdout().write_all(line.as_bytes()); // a closed log stops nothing
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1_builder().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {} // an error is the client's
        () = stopping.wait() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Reads the whole body, or returns the answer that refuses it.
async fn read_body(body: Incoming) -> Result<Bytes, Answer> {
    let refusal = |status, text: &'static str| new_answer(status, "text/plain; charset=utf-8", text);
    match tokio::time::timeout(PATIENCE, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => {
            Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n"))
        }
        Ok(Err(_)) => Err(refusal(StatusCode::BAD_REQUEST, "the body cannot be read\n")),
        Err(_) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_client_that_sends_no_more_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let handler = |_: FullRequest| async {
            // The end of the client's side is seen before the answer.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            new_answer(StatusCode::OK, "text/plain", "here\n")
        };
        let (_stop, stopping) = watch::channel(false);
        serve_connection(stream, peer, Rc::new(handler), Stopping(stopping)).await;
        let mut answered = String::new();
        client.read_to_string(&mut answered).await.unwrap();
        assert!(answered.ends_with("\r\n\r\nhere\n"), "{answered:?}");
    }

    #[test]
    fn a_port_is_a_number() {
        assert_eq!((parse_port(None, 80), parse_port(Some("8081"), 80)), (Ok(80), Ok(8081)));
        assert_eq!(parse_port(Some("tcp://10.96.0.7:80"), 80), Err("bad port \"tcp://10.96.0.7:80\"".into()));
        assert!(parse_port(Some("65536"), 80).is_err());
    }
}
