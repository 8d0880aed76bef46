//! The image `echo`: an HTTP server that answers with what it was asked, and by whom it is
//! answered. One sees which pod a service chose, and what an ingress made of a request.

use super::daemon;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use linux::tcp;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longer bodies are answered with 413.
const BODY_MAX: usize = 1024 * 1024;

/// `echo-server [PORT]`; else `$PORT`, else 8080.
pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let asked = args.get(1).map(|a| a.to_string_lossy().into_owned()).or_else(|| std::env::var("PORT").ok());
    let port = match asked.as_deref().unwrap_or("8080").parse::<u16>() {
        Ok(port) => port,
        Err(_) => {
            super::err(&format!("echo-server: bad port {:?}\n", asked.unwrap_or_default()));
            return 1;
        }
    };
    daemon::serve("echo-server", run(port))
}

/// Serves until TERM or INT; running answers are finished.
async fn run(port: u16) -> Result<(), String> {
    let caught = |kind| signal(kind).map_err(|e| format!("cannot catch signals: {e}"));
    let (mut term, mut int) = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
    // A container's first process gets no signal that it has not asked for, so its runtime kept
    // them waiting until now.
    linux::signal::unblock_all().map_err(|e| format!("cannot unblock signals: {e}"))?;
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    let listener =
        TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))?;
    super::out(&format!("listening on {address}\n"));
    let host = nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned()).unwrap_or_default();
    let host: Rc<str> = host.into();
    let (stop, stopping) = watch::channel(false);
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            // Without a free descriptor it is tried again after a pause, so that the loop takes no
            // whole processor.
            (stream, peer) = tcp::accept_always(&listener) => {
                while serving.try_join_next().is_some() {} // forget those that ended
                serving.spawn_local(connection(stream, peer, host.clone(), stopping.clone()));
            }
        }
    }
    drop(listener);
    let _ = stop.send(true); // nobody listens if nobody is connected
    tokio::select! {
        _ = term.recv() => {}
        () = async { while serving.join_next().await.is_some() {} } => {}
    }
    Ok(())
}

async fn connection(stream: TcpStream, peer: SocketAddr, host: Rc<str>, mut stopping: watch::Receiver<bool>) {
    let local = stream.local_addr().ok();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let host = host.clone();
        async move {
            let (head, body) = request.into_parts();
            let response = match Limited::new(body, BODY_MAX).collect().await {
                Ok(body) => {
                    let asked = Asked {
                        method: head.method,
                        uri: head.uri.to_string(),
                        version: format!("{:?}", head.version),
                        headers: head.headers,
                        body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
                        peer,
                        local,
                    };
                    let line =
                        format!("{} \"{} {} {}\" 200\n", peer.ip(), asked.method, asked.uri, asked.version);
                    let _ = std::io::stdout().write_all(line.as_bytes()); // a log that nobody takes stops nothing
                    answer(&asked, &host)
                }
                Err(_) => refused(),
            };
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {} // an error is the client's
        _ = stopping.wait_for(|stop| *stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// A request, and the two ends of its connection.
struct Asked {
    method: Method,
    uri: String,
    version: String,
    headers: HeaderMap,
    body: String,
    peer: SocketAddr,
    /// Its address is the pod's: services rewrite the destination before it arrives.
    local: Option<SocketAddr>,
}

impl Asked {
    fn wants_json(&self) -> bool {
        let accepts = self.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
        accepts.is_some_and(|a| a.contains("application/json")) || self.uri.contains("format=json")
    }

    fn headers(&self) -> impl Iterator<Item = (&str, String)> {
        self.headers
            .iter()
            .map(|(name, v)| (name.as_str(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
    }
}

fn answer(asked: &Asked, host: &str) -> Response<Full<Bytes>> {
    let pod_ip = asked.local.map(|a| a.ip().to_string()).unwrap_or_default();
    let (kind, text) = if asked.wants_json() {
        let headers: Map<String, Value> =
            asked.headers().map(|(name, v)| (name.to_string(), v.into())).collect();
        let value = json!({
            "hostname": host,
            "podIP": pod_ip,
            "client": asked.peer.ip().to_string(),
            "method": asked.method.as_str(),
            "uri": asked.uri,
            "version": asked.version,
            "headers": headers,
            "body": asked.body,
        });
        ("application/json", format!("{value:#}\n"))
    } else {
        let mut text = format!("Hostname: {host}\nPod IP: {pod_ip}\nClient: {}\n\n", asked.peer.ip());
        let _ = writeln!(text, "{} {} {}", asked.method, asked.uri, asked.version); // a String takes everything
        for (name, value) in asked.headers() {
            let _ = writeln!(text, "{name}: {value}");
        }
        let _ = writeln!(text, "\n{}", asked.body);
        ("text/plain; charset=utf-8", text)
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn refused() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"the body is too long\n")));
    *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(asked: &Asked) -> String {
        let bytes = answer(asked, "web-1").into_body().collect().await.unwrap().to_bytes();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[tokio::test]
    async fn the_answer_repeats_the_question() {
        let mut asked = Asked {
            method: Method::POST,
            uri: "/a?b=1".into(),
            version: "HTTP/1.1".into(),
            headers: HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("echo"))]),
            body: "hi".into(),
            peer: "10.244.1.9:4000".parse().unwrap(),
            local: "10.244.1.3:8080".parse().ok(),
        };
        assert_eq!(
            body(&asked).await,
            "Hostname: web-1\nPod IP: 10.244.1.3\nClient: 10.244.1.9\n\nPOST /a?b=1 HTTP/1.1\nhost: echo\n\nhi\n"
        );
        asked.uri = "/?format=json".into();
        let value: Value = serde_json::from_str(&body(&asked).await).unwrap();
        assert_eq!((&value["podIP"], &value["headers"]["host"]), (&json!("10.244.1.3"), &json!("echo")));
    }
}
