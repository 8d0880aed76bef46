//! Bodies that are still coming when their requests are answered: a body is too large (413), a path
//! is not there (404).
//!
//! A server of HTTP/2 that does not want the rest of a body says so with RST_STREAM behind its
//! answer (RFC 9113, 8.1). If both come in one read, some clients forget the answer: curl 7.88
//! prints `Stream error in the HTTP/2 framing layer`, and nothing of the 413.
//!
//! A server of HTTP/1.1 has to close the connection. With bytes of the client unread that is a
//! reset, and an answer that the client has not read is lost (RFC 9112, 9.6): curl, without its
//! `Expect`, prints `Send failure: Broken pipe`.
//!
//! So the rest is read and dropped for a moment. Clients hear the answer meanwhile and stop, or
//! come to the end.

use crate::request::http::{BODY_MAX, Body, BodyError};
use crate::request::idle::Activity;
use bytes::Bytes;
use http::header::EXPECT;
use http::{Request, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use task::Crew;

/// How long the rest of a body is read, of which [`BODY_MAX`] bytes at most.
const TIME: Duration = Duration::from_secs(2);

/// A request's body while the request is answered.
pub(super) struct Unread {
    body: Arc<Mutex<Incoming>>,
    /// The client sends its body only when the server asks for it.
    is_held_back: bool,
    activity: Arc<Activity>,
}

/// The body of an [`Unread`], for the handler of the request.
struct Shared(Arc<Mutex<Incoming>>);

/// Returns a request with a body that anything can read, and a handle to what is left of it after
/// the answer.
pub(super) fn keep(request: Request<Incoming>, activity: &Arc<Activity>) -> (Request<Body>, Unread) {
    let (head, body) = request.into_parts();
    let is_held_back = head.version != Version::HTTP_2 && head.headers.contains_key(EXPECT);
    let (body, activity) = (Arc::new(Mutex::new(body)), activity.clone());
    let unread = Unread { body: body.clone(), is_held_back, activity };
    (Request::from_parts(head, Shared(body).boxed_unsync()), unread)
}

impl Unread {
    /// Reads and drops what is left of the body once the request is answered. A body that is held
    /// back is left alone: hyper would answer the read with `100 Continue`, before the answer.
    pub(super) fn drain(self, crew: &Crew) {
        // None: it is still read, by a kubelet for example.
        let Some(body) = Arc::into_inner(self.body).map(Mutex::into_inner) else { return };
        if self.is_held_back || body.is_end_stream() {
            return;
        }
        // The connection is busy: what comes now is no head.
        let running = self.activity.begin();
        crew.spawn(async move {
            let _ = clock::limit(TIME, drop_rest(body)).await;
            drop(running);
        });
    }
}

async fn drop_rest(mut body: Incoming) {
    let mut left = BODY_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

impl http_body::Body for Shared {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut body = self.0.lock();
        Pin::new(&mut *body).poll_frame(cx).map_err(|error| BodyError(error.to_string()))
    }
    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    /// A frame of HTTP/2 (RFC 9113, 4.1).
    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream][..], payload].concat()
    }

    /// The kind, the flags and the payload of the next frame.
    async fn next(stream: &mut TlsStream<TcpStream>) -> (u8, u8, Vec<u8>) {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        (head[3], head[4], payload)
    }

    /// An administrator's connection that speaks this protocol.
    async fn connect(fixture: &testing::Fixture, protocol: &str) -> TlsStream<TcpStream> {
        let address = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
        let admin = fixture.ca.issue(&pki::Subject::client("kubernetes-admin", "system:masters")).unwrap();
        let tls = pki::client_config(Some(&admin), fixture.ca.pem(), &[protocol]).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        TlsConnector::from(tls).connect(name, tcp).await.unwrap()
    }

    /// A client begins to send 3.5 MB, is refused because of its Content-Length, and says nothing
    /// more.
    #[tokio::test]
    async fn an_early_answer_comes_alone_and_the_reset_later() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let mut stream = connect(&fixture, "h2").await;
        let path: &[u8] = b"/api/v1/namespaces/default/configmaps";
        let length = u8::try_from(path.len()).unwrap();
        // `:method: POST`, `:scheme: https`, `:authority: x`, `:path`, `content-length: 3500000`
        // (RFC 7541, 6.1, 6.2.2 and appendix A).
        let begin: &[u8] = &[0x83, 0x87, 0x01, 1, b'x', 0x04, length];
        let headers = [begin, path, &[0x0f, 0x0d, 7][..], &b"3500000"[..]].concat();
        let sent = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, b""),
            frame(HEADERS, END_HEADERS, 1, &headers),
            frame(DATA, 0, 1, &[b' '; 16 << 10]),
        ];
        stream.write_all(&sent.concat()).await.unwrap();
        loop {
            let (kind, flags, _) = next(&mut stream).await;
            assert_ne!(kind, RST_STREAM, "it comes before the end of the answer");
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                break;
            }
        }
        let reset = async {
            loop {
                let (kind, _, payload) = next(&mut stream).await;
                if kind == RST_STREAM {
                    return payload;
                }
            }
        };
        tokio::pin!(reset);
        assert!(tokio::time::timeout(TIME / 8, &mut reset).await.is_err(), "it comes with the answer");
        let code = tokio::time::timeout(TIME * 4, reset).await.expect("the stream stays");
        assert_eq!(code, [0; 4], "NO_ERROR");
    }

    /// The same over HTTP/1.1. A client that waits for `100 Continue` hears nothing but the answer.
    #[tokio::test]
    async fn a_connection_ends_only_some_time_after_an_early_answer() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let head =
            "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Length: 3500000";
        for (more, begin) in [("", 16 << 10), ("\r\nExpect: 100-continue", 0)] {
            let mut stream = connect(&fixture, "http/1.1").await;
            let sent = format!("{head}{more}\r\n\r\n{}", " ".repeat(begin));
            stream.write_all(sent.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_buf(&mut answer).await.unwrap();
            let stays = loop {
                match tokio::time::timeout(TIME / 8, stream.read_buf(&mut answer)).await {
                    Ok(Ok(1..)) => {}
                    Ok(_) => break false,
                    Err(_) => break true,
                }
            };
            assert!(stays || begin == 0, "it ends with the answer");
            let rest = async { while stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {} };
            tokio::time::timeout(TIME * 4, rest).await.expect("it stays");
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        }
    }
}
