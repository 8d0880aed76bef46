//! Bodies, queries and answers.

use api::gostr::quote;
use api::{Status, gojson};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::Value;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub String);

/// The body of a request or an answer, whole or streamed.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;
/// An HTTP response of the API server.
pub type Answer = Response<Body>;

/// Marks the answer of a server in a pod, as an extension. Whatever its code, it is no refusal of
/// the API server.
#[derive(Clone, Copy)]
pub(crate) struct FromPod;

/// Larger request bodies are refused.
pub const BODY_MAX: usize = 3 << 20;

/// A connection on which no request comes for this long is closed; upstream's.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(90);
/// Requests and watches of one HTTP/2 connection at a time; more wait. Upstream's default is 100,
/// and no client of this program begins more.
const STREAMS_MAX: u32 = 250;
/// Bytes that a client may send ahead of the server, on one stream and on all streams of a
/// connection: what no handler reads takes no more memory.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer that wait in a stream for a client that does not read, beside the piece that
/// comes next ([`crate::flowcontrol::seat`]).
const SEND_BUFFER: usize = 64 << 10;
/// Bytes that one connection of HTTP/1.1 buffers in each direction: the longest head of a request,
/// and what its client does not read. A path of 64 KiB, the longest that hyper takes, and 16 KiB of
/// headers; upstream takes a head of 1 MiB.
pub(crate) const HTTP1_BUFFER: usize = 80 << 10;
/// Header fields of a request over HTTP/1.1, about as many as fit into a head of HTTP/2. The own
/// bound of hyper is 100; a proxy that impersonates a user sends one for each group. Upstream has
/// none.
const HTTP1_FIELDS: usize = 1024;
/// Bytes of the head of a request over HTTP/2, its path and 32 for each field among them (RFC 9113,
/// 6.5.2). The longest selector fits, with its commas escaped. Go's clients do not even send a
/// longer head: kubectl says `request header list larger than peer's advertised limit`.
const HTTP2_HEAD: u32 = 48 << 10;

/// Returns the settings with which clients' connections are served: HTTP/1.1 and HTTP/2, whichever
/// they speak.
pub fn http_server() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .max_buf_size(HTTP1_BUFFER)
        .max_headers(HTTP1_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HTTP2_HEAD)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// Makes a body that keeps `held` until it has been sent, or is dropped.
pub(crate) fn holding<T: Unpin + Send + 'static>(body: Body, held: T) -> Body {
    Holding { body, _held: held }.boxed_unsync()
}

struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> http_body::Body for Holding<T> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Makes a body that is sent in one piece.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Makes a body of several pieces, whose length is known.
pub(crate) fn pieces(pieces: impl IntoIterator<Item = Bytes>) -> Body {
    Pieces(pieces.into_iter().filter(|piece| !piece.is_empty()).collect()).boxed_unsync()
}

struct Pieces(VecDeque<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.get_mut().0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

/// Makes an answer whose body is JSON already. `code` is the HTTP status.
pub(crate) fn json_bytes(code: u16, bytes: impl Into<Bytes>) -> Answer {
    typed(code, "application/json", bytes)
}

/// Makes an answer with an object that is JSON already, and the end of its line: upstream's
/// serializer is Go's `json.Encoder`, which ends every value with a line break.
pub(crate) fn json_line(code: u16, object: Bytes) -> Answer {
    json_bytes(code, "").map(|_| pieces([object, Bytes::from_static(b"\n")]))
}

/// Makes an answer with `value` as JSON, on one line.
pub(crate) fn json(code: u16, value: &Value) -> Answer {
    let mut line = gojson::to_vec(value);
    line.push(b'\n');
    json_bytes(code, line)
}

/// Makes an answer of plain text in UTF-8, with `nosniff`, so that browsers do not take it for
/// HTML.
pub(crate) fn plain(code: u16, text: impl Into<Bytes>) -> Answer {
    let mut answer = typed(code, "text/plain; charset=utf-8", text);
    answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

/// Makes an answer with this content type; a cache has to ask before it uses it again. A `code`
/// that is no HTTP status becomes 500; a content type that cannot be a header is left out.
pub(crate) fn typed(code: u16, content_type: &str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(full(bytes));
    *answer.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = HeaderValue::from_str(content_type) {
        answer.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// Makes an answer with the status as JSON and its own code; with a `Retry-After` header, in
/// seconds, if its details have `retryAfterSeconds`.
pub fn failure(status: &Status) -> Answer {
    let mut answer = json(status.code, &status.to_value());
    // Clients of Go wait by themselves if this header is there, and say nothing: it comes only with
    // a time in the details.
    let retry = status.details["retryAfterSeconds"].as_u64().unwrap_or(0);
    if retry > 0 {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry));
    }
    answer
}

/// Answers a path that the server does not know.
pub(crate) fn not_found_page() -> Answer {
    plain(404, "404 page not found\n")
}

/// A URL's query, decoded.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a URL after `?`; `None` is an empty query. `+` and `%XX` are decoded, and
    /// the order of the keys is kept.
    pub fn parse(query: Option<&str>) -> Query {
        Query(form_urlencoded::parse(query.unwrap_or("").as_bytes()).into_owned().collect())
    }
    /// Returns the first value of a key, empty if it is not there.
    pub fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v)
    }
    /// True if the key is there, also without a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }
    /// Returns all values of a key, in their order.
    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }
    /// Returns whether an option is on. As upstream every value means so, also the empty one, but
    /// `0` and `false`.
    pub(crate) fn is_true(&self, key: &str) -> bool {
        self.has(key) && !(self.get(key) == "0" || self.get(key).eq_ignore_ascii_case("false"))
    }
    /// Appends a value. It replaces none: [`Query::get`] still returns the first one.
    pub(crate) fn append(&mut self, key: &str, value: &str) {
        self.0.push((key.to_string(), value.to_string()));
    }
    /// Removes a key with all its values.
    pub(crate) fn remove(&mut self, key: &str) {
        self.0.retain(|(k, _)| k != key);
    }
    /// Returns the value of a key as a number; `None` if the key is not there.
    ///
    /// # Errors
    /// 400 for a value that is no decimal `i64`, in the words of Go's `strconv`. An empty value is
    /// no number either (upstream: `Convert_Slice_string_To_int64`).
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        if !self.has(key) {
            return Ok(None);
        }
        let text = self.get(key);
        text.parse::<i64>().map(Some).map_err(|error| {
            let why = match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            Status::bad_request(format!("strconv.ParseInt: parsing {}: {why}", quote(text)))
        })
    }
}

/// Returns the text of a header that names a user, as `Impersonate-User` does. Unlike [`header`] it
/// takes all of UTF-8, as Go's servers do.
///
/// # Errors
/// 400 for bytes that are no text: what cannot be read is not absent, or a request that gives
/// rights away would keep them.
pub(crate) fn identity<'a>(name: &str, value: &'a http::HeaderValue) -> Result<&'a str, Status> {
    std::str::from_utf8(value.as_bytes())
        .map_err(|_| Status::bad_request(format!("the value of the header {name:?} is not UTF-8")))
}

/// Returns a header's text; empty if there is none.
pub(crate) fn header<'a>(headers: &'a http::HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::filter::SELECTOR_BYTES;
    use http_body_util::Empty;
    use hyper::body::Incoming;
    use hyper::client::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// A connection to a server that answers every request with 200.
    fn connected() -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            let service =
                service_fn(|_: http::Request<Incoming>| async { Ok::<_, Infallible>(plain(200, "")) });
            let _ = http_server().serve_connection(TokioIo::new(far), service).await;
        });
        near
    }

    /// A proxy impersonates a user who is in hundreds of groups.
    #[tokio::test]
    async fn a_request_over_http1_may_have_hundreds_of_fields() {
        for (groups, wanted) in [(HTTP1_FIELDS / 2, "HTTP/1.1 200"), (2 * HTTP1_FIELDS, "HTTP/1.1 431")] {
            let fields: String = (0..groups).map(|n| format!("Impersonate-Group: g{n}\r\n")).collect();
            let head = format!("GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
            assert!(head.len() < HTTP1_BUFFER);
            let mut stream = connected();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(wanted), "{groups}: {answer}");
        }
    }

    #[tokio::test]
    async fn the_longest_selector_fits_into_a_head_of_http2() {
        let near = connected();
        let connecting = http2::handshake(TokioExecutor::new(), TokioIo::new(near));
        let (mut sender, connection) = connecting.await.unwrap();
        tokio::spawn(connection);
        for (selector, code) in [("x".repeat(SELECTOR_BYTES), 200), ("x".repeat(HTTP2_HEAD as usize), 431)] {
            let uri = format!("https://x/api/v1/pods?labelSelector={selector}");
            let request = http::Request::builder().uri(uri).body(Empty::<Bytes>::new()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status(), code, "{} bytes", selector.len());
        }
    }
}
