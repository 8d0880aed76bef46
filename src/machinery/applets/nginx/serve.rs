//! From a request to a file.

use super::config::{Location, Server};
use super::text::Around;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};
use percent_encoding::percent_decode_str;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes read from a file at once.
const CHUNK: u64 = 64 * 1024;

/// Bytes from memory, or the next `left` bytes of a file.
pub(super) struct Content {
    file: Option<File>,
    bytes: Bytes,
    left: u64,
}

impl Content {
    fn text(text: impl Into<Bytes>) -> Content {
        let bytes = text.into();
        Content { file: None, left: bytes.len() as u64, bytes }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let wanted = self.left.min(CHUNK);
        let read = match self.file.as_mut() {
            None => Ok(std::mem::take(&mut self.bytes)),
            Some(file) => {
                let mut buffer = Vec::with_capacity(wanted as usize);
                file.take(wanted).read_to_end(&mut buffer).map(|_| Bytes::from(buffer))
            }
        };
        Poll::Ready(Some(match read {
            Ok(bytes) if bytes.is_empty() => Err(ErrorKind::UnexpectedEof.into()), // the file got shorter
            Ok(bytes) => {
                self.left -= bytes.len() as u64;
                Ok(Frame::data(bytes))
            }
            Err(e) => Err(e),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

/// Marks an answer that `access_log off` keeps out of the log.
#[derive(Clone)]
pub(super) struct Unlogged;

/// The answer to one request. Never fails: faults are answers.
pub(super) fn answer<B>(server: &Server, request: &Request<B>, ends: Ends) -> Response<Content> {
    let Some((path, relative)) = safe_path(request.uri().path()) else {
        return page(StatusCode::BAD_REQUEST);
    };
    let mut response = at(server, request, ends, &path, relative);
    let status = response.status();
    let own = server.error_pages.iter().find(|(code, _)| *code == status.as_u16());
    if let Some((path, relative)) = own.and_then(|(_, path)| safe_path(path)) {
        let told = at(server, request, ends, &path, relative);
        if told.status().is_success() {
            response = told;
            *response.status_mut() = status;
        }
    }
    if let Some(charset) = &server.charset
        && let Some(kind) = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok())
        && (kind.starts_with("text/") || kind == "application/javascript")
    {
        let kind = format!("{kind}; charset={charset}");
        set(&mut response, header::CONTENT_TYPE, kind);
    }
    let logged = location_of(server, &path).and_then(|l| l.access_log).unwrap_or(server.access_log);
    if !logged {
        response.extensions_mut().insert(Unlogged);
    }
    response
}

/// Both ends of a connection.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

fn location_of<'a>(server: &'a Server, path: &str) -> Option<&'a Location> {
    server.locations.iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, location)| location)
}

/// What is at a path without detours: the location and the file are chosen by the same one.
fn at<B>(
    server: &Server,
    request: &Request<B>,
    ends: Ends,
    path: &str,
    relative: PathBuf,
) -> Response<Content> {
    let location = location_of(server, path);
    if let Some((code, text)) = server.answer.as_ref().or(location.and_then(|l| l.answer.as_ref())) {
        let around = Around {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            path,
            server_name: server.names.first().map_or("", String::as_str),
            peer: ends.peer,
            local: ends.local,
        };
        return fixed(*code, &text.fill(&around));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return page(StatusCode::METHOD_NOT_ALLOWED);
    }
    let root = location.and_then(|l| l.root.as_ref()).unwrap_or(&server.root);
    let index = location.and_then(|l| l.index.as_ref()).unwrap_or(&server.index);
    let mut file = root.join(relative);
    if file.is_dir() {
        if !path.ends_with('/') {
            let mut moved = page(StatusCode::MOVED_PERMANENTLY);
            let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
            if let Ok(to) = HeaderValue::try_from(encoded(&format!("{path}/")) + &query) {
                moved.headers_mut().insert(header::LOCATION, to);
            }
            return moved;
        }
        match index.iter().map(|name| file.join(name)).find(|index| index.is_file()) {
            Some(index) => file = index,
            None => return page(StatusCode::FORBIDDEN),
        }
    } else if path.ends_with('/') {
        return page(StatusCode::NOT_FOUND); // a file is no directory
    }
    match send(&file, request) {
        Ok(response) => response,
        Err(e) if e.kind() == ErrorKind::NotFound || e.kind() == ErrorKind::NotADirectory => {
            page(StatusCode::NOT_FOUND)
        }
        Err(e) if e.kind() == ErrorKind::PermissionDenied => page(StatusCode::FORBIDDEN),
        Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// A decoded path as a header may hold it.
fn encoded(path: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?');
    utf8_percent_encode(path, UNSAFE).to_string()
}

/// The path, decoded and without `.`, `..` and double slashes, and the same below a root; `None` if
/// it would leave the root.
fn safe_path(raw: &str) -> Option<(String, PathBuf)> {
    let path = percent_decode_str(raw).decode_utf8().ok()?.into_owned();
    let mut relative = PathBuf::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => relative.pop().then_some(())?,
            part if part.contains('\0') => return None,
            part => relative.push(part),
        }
    }
    let mut clean: String = relative.iter().map(|part| format!("/{}", part.to_string_lossy())).collect();
    // What ends with a slash, or with a detour, is a directory.
    if clean.is_empty() || path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") {
        clean.push('/');
    }
    Some((clean, relative))
}

fn page(status: StatusCode) -> Response<Content> {
    let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or(""));
    let html = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    of(status, "text/html", Content::text(html))
}

fn fixed(code: u16, text: &str) -> Response<Content> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_redirection() {
        let mut moved = page(status);
        if let Ok(to) = HeaderValue::try_from(text) {
            moved.headers_mut().insert(header::LOCATION, to);
        }
        return moved;
    }
    match text.is_empty() {
        true => page(status),
        false => of(status, "text/plain", Content::text(text.to_string())),
    }
}

fn of(status: StatusCode, kind: &'static str, content: Content) -> Response<Content> {
    let mut response = Response::new(content);
    *response.status_mut() = status;
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("nginx"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn send<B>(path: &Path, request: &Request<B>) -> io::Result<Response<Content>> {
    // A named pipe would wait for a writer, and all other requests with it.
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let (length, modified) = (found.len(), found.modified().unwrap_or(UNIX_EPOCH));
    let seconds = modified.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let etag = format!("\"{seconds:x}-{length:x}\"");
    let asked = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    let changed = httpdate::fmt_http_date(SystemTime::max(modified, UNIX_EPOCH));
    // nginx compares dates exactly, and only if no tag was given.
    let known = match asked(header::IF_NONE_MATCH) {
        Some(tags) => tags
            .split(',')
            .any(|tag| matches!(tag.trim().trim_start_matches("W/"), t if t == "*" || t == etag)),
        None => asked(header::IF_MODIFIED_SINCE) == Some(&changed),
    };
    let mut response = if known {
        of(StatusCode::NOT_MODIFIED, mime(path), Content::text(""))
    } else {
        // RFC 9110, 13.1.5: a part is good only for who has the rest of this version. A weak tag
        // never fits.
        let fits = |version: &str| version == etag || version == changed;
        let range = asked(header::RANGE).filter(|_| asked(header::IF_RANGE).is_none_or(fits));
        match range.map(|range| parse_range(range, length)) {
            Some(Range::Unsatisfiable) => {
                let mut refused = page(StatusCode::RANGE_NOT_SATISFIABLE);
                set(&mut refused, header::CONTENT_RANGE, format!("bytes */{length}"));
                return Ok(refused);
            }
            Some(Range::Part(first, last)) => {
                file.seek(SeekFrom::Start(first))?;
                let part = Content { file: Some(file), bytes: Bytes::new(), left: last - first + 1 };
                let mut response = of(StatusCode::PARTIAL_CONTENT, mime(path), part);
                set(&mut response, header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}"));
                response
            }
            Some(Range::Whole) | None => {
                let whole = Content { file: Some(file), bytes: Bytes::new(), left: length };
                of(StatusCode::OK, mime(path), whole)
            }
        }
    };
    set(&mut response, header::ETAG, etag);
    set(&mut response, header::LAST_MODIFIED, changed);
    set(&mut response, header::ACCEPT_RANGES, "bytes".into());
    Ok(response)
}

fn set(response: &mut Response<Content>, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Not understood, so ignored (RFC 9110, 14.2).
    Whole,
    /// First and last byte.
    Part(u64, u64),
    Unsatisfiable,
}

fn parse_range(text: &str, length: u64) -> Range {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Range::Whole;
    };
    let end = length.saturating_sub(1);
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, last.min(end)),
        (Ok(first), Err(_)) if last.is_empty() => (first, end),
        (Err(_), Ok(count)) if first.is_empty() => (length.saturating_sub(count), end),
        _ => return Range::Whole,
    };
    if first > last || first >= length { Range::Unsatisfiable } else { Range::Part(first, last) }
}

fn mime(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()).unwrap_or("") {
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "js" => "application/javascript",
        "json" => "application/json",
        "txt" => "text/plain",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "wasm" => "application/wasm",
        "xml" => "text/xml",
        "pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Ends = Ends {
        peer: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4000),
        local: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80),
    };

    fn serving(dir: &tempfile::TempDir) -> Server {
        Server { root: dir.path().into(), ..Server::default() }
    }

    fn status(server: &Server, path: &str) -> u16 {
        answer(server, &Request::get(path).body(()).unwrap(), ENDS).status().as_u16()
    }

    #[test]
    fn a_detour_leads_past_no_location() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["private", "x"] {
            std::fs::create_dir(dir.path().join(path)).unwrap();
        }
        std::fs::write(dir.path().join("private/f"), "secret").unwrap();
        let refused = Location {
            answer: Some((403, super::super::text::Text::parse("").unwrap())),
            ..Location::default()
        };
        let server = Server { locations: vec![("/private".into(), refused)], ..serving(&dir) };
        for path in [
            "/private/f",
            "/x/../private/f",
            "//private/f",
            "/./private/f",
            "/x/%2e%2e/private//f",
            "/%70rivate/f",
        ] {
            assert_eq!(status(&server, path), 403, "{path}");
        }
        assert_eq!(status(&server, "/x/../nothing"), 404);
    }

    #[test]
    fn what_is_no_plain_file_is_not_found_at_once() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(status(&serving(&dir), "/fifo"), 404);
    }

    #[test]
    fn a_server_has_its_own_error_pages_log_and_charset() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lost.html"), "lost").unwrap();
        let server = Server {
            error_pages: vec![(404, "/lost.html".into())],
            access_log: false,
            charset: Some("utf-8".into()),
            ..serving(&dir)
        };
        let response = answer(&server, &Request::get("/nope").body(()).unwrap(), ENDS);
        assert_eq!((response.status().as_u16(), response.body().left), (404, 4));
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(response.extensions().get::<Unlogged>().is_some());
    }

    #[test]
    fn nobody_gets_out_of_the_root() {
        assert_eq!(safe_path("/a/%2e%2e/b").map(|(_, p)| p), Some("b".into()));
        assert_eq!(safe_path("/../etc/passwd"), None);
        assert_eq!(safe_path("/%00"), None);
    }

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        assert_eq!(parse_range("bytes=0-4", 10), Range::Part(0, 4));
        assert_eq!(parse_range("bytes=5-", 10), Range::Part(5, 9));
        assert_eq!(parse_range("bytes=-3", 10), Range::Part(7, 9));
        assert_eq!(parse_range("bytes=10-", 10), Range::Unsatisfiable);
        assert_eq!(parse_range("lines=1-2", 10), Range::Whole);
    }

    #[test]
    fn a_directory_answers_with_its_index() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/index.html"), "hello").unwrap();
        let server = serving(&dir);
        let ask = |path: &str| {
            let response = answer(&server, &Request::get(path).body(()).unwrap(), ENDS);
            (response.status().as_u16(), response.body().left)
        };
        assert_eq!(ask("/sub/"), (200, 5));
        assert_eq!(ask("/sub").0, 301);
        assert_eq!(ask("/sub/index.html"), (200, 5));
        assert_eq!(ask("/sub/index.html/").0, 404);
        let moved = answer(&server, &Request::get("/sub?a=%20b").body(()).unwrap(), ENDS);
        assert_eq!(moved.headers()[header::LOCATION], "/sub/?a=%20b");
        assert_eq!(ask("/").0, 403);
        assert_eq!(ask("/nope").0, 404);
    }

    #[test]
    fn a_known_page_is_not_sent_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("page"), "hello").unwrap();
        let server = serving(&dir);
        let ask = |name: header::HeaderName, value: &str| {
            answer(&server, &Request::get("/page").header(name, value).body(()).unwrap(), ENDS)
        };
        let first = ask(header::ACCEPT, "*/*");
        let get = |name| first.headers()[name].to_str().unwrap().to_string();
        let (tag, date) = (get("etag"), get("last-modified"));
        assert_eq!(ask(header::IF_NONE_MATCH, &format!("\"other\", W/{tag}")).status(), 304);
        assert_eq!(ask(header::IF_NONE_MATCH, "\"other\"").status(), 200);
        assert_eq!(ask(header::IF_MODIFIED_SINCE, &date).status(), 304);
        assert_eq!(ask(header::IF_MODIFIED_SINCE, "Thu, 01 Jan 1970 00:00:00 GMT").status(), 200);
        assert_eq!(ask(header::RANGE, "bytes=1-2").status(), 206);
        for (version, status) in [
            (tag.as_str(), 206),
            (date.as_str(), 206),
            ("\"other\"", 200),
            (&format!("W/{tag}"), 200),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ] {
            let part = Request::get("/page").header(header::RANGE, "bytes=1-2");
            let part = part.header(header::IF_RANGE, version).body(()).unwrap();
            assert_eq!(answer(&server, &part, ENDS).status(), status, "{version}");
        }
    }
}
