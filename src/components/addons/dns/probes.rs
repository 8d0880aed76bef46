//! HTTP servers for the kubelet's probes: `/health` on 8080 and `/ready` on 8181, over HTTP/1.1,
//! one request a connection.
//!
//! Every pod may connect, so one address has a part of the connections only, and a request has a
//! bound in bytes and in time.

use super::places::{Place, Places};
use linux::tcp;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// Bytes of a request's head.
const HEAD_MAX: u64 = 8 << 10;
/// A connection is closed after this time.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// Connections at the same time, of all addresses and of one. What comes beyond is closed.
const CONNECTIONS_MAX: usize = 64;
const CONNECTIONS_OF_ONE: usize = 8;

/// Answers requests for `path` with 200 or 503, as `is_well` says, until the crew ends.
pub(super) async fn serve<F, A>(listener: TcpListener, crew: Crew, path: &'static str, is_well: F)
where
    F: Fn() -> A + Clone + Send + Sync + 'static,
    A: Future<Output = bool> + Send + 'static,
{
    let clients = Arc::new(Places::new(CONNECTIONS_MAX, CONNECTIONS_OF_ONE));
    loop {
        let (stream, from) = tcp::accept(&listener).await;
        let Some(client) = Place::begin(&clients, from.ip()) else { continue }; // closed by the drop
        let is_well = is_well.clone();
        crew.spawn(async move {
            let answered = tokio::time::timeout(CONNECTION_MAX, answer(stream, path, is_well));
            let _ = client.end.run_until_cancelled(answered).await; // the client may hang up
        });
    }
}

async fn answer<A: Future<Output = bool>>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    is_well: impl FnOnce() -> A,
) -> io::Result<()> {
    let head = head(&mut stream).await?;
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, text) = match target.split('?').next() == Some(path) {
        false => ("404 Not Found", "404 page not found\n"),
        true if is_well().await => ("200 OK", "OK"),
        true => ("503 Service Unavailable", "kubernetes"), // the plug-in that is not ready
    };
    let length = text.len();
    let body = if method == "HEAD" { "" } else { text };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads the head of a request, all lines up to the empty one. A body may come with it, in the same
/// packet, and a line may end without a carriage return (RFC 9112, 2.2).
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let (mut stream, mut head) = (stream.take(HEAD_MAX), Vec::new());
    let has = |head: &[u8], end: &[u8]| head.windows(end.len()).any(|part| part == end);
    while !has(&head, b"\n\r\n") && !has(&head, b"\n\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer_to(request: &[u8], is_well: bool) -> String {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        client.write_all(request).await.unwrap();
        client.shutdown().await.unwrap();
        let _ = answer(server, "/ready", || std::future::ready(is_well)).await;
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        said
    }

    #[tokio::test]
    async fn a_probe_is_told_whether_all_is_well() {
        let ask = |line: &str| format!("{line} HTTP/1.1\r\nhost: 10.244.1.2:8181\r\n\r\n").into_bytes();
        for (line, is_well, status, body) in [
            ("GET /ready", true, "200 OK", "OK"),
            ("GET /ready?verbose", true, "200 OK", "OK"),
            ("HEAD /ready", true, "200 OK", ""),
            ("GET /ready", false, "503 Service Unavailable", "kubernetes"),
            ("GET /health", true, "404 Not Found", "404 page not found\n"),
            ("GET", true, "404 Not Found", "404 page not found\n"),
        ] {
            let said = answer_to(&ask(line), is_well).await;
            assert!(said.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{line}: {said}");
            assert_eq!(said.split_once("\r\n\r\n").unwrap().1, body, "{line}");
        }
    }

    /// Python's `http.client` sends a small body with the head.
    #[tokio::test]
    async fn a_request_with_a_body_or_with_bare_line_feeds_is_answered() {
        let posted = b"POST /ready HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\na=b";
        for request in [&posted[..], b"GET /ready HTTP/1.0\n\n"] {
            let said = answer_to(request, true).await;
            assert!(said.ends_with("\r\n\r\nOK"), "{said}");
        }
    }

    #[tokio::test]
    async fn a_request_without_an_end_gets_no_answer() {
        assert_eq!(answer_to(b"GET /ready HTTP/1.1\r\n", true).await, "");
        assert_eq!(answer_to(&[b'x'; 10_000], true).await, "");
    }
}
