//! From a request to a file.

mod content;
mod mime;
mod range;
mod refusal;
mod status;

use self::content::Content;
use self::mime::{has_charset, mime_type};
use self::range::Selection;
use self::refusal::check_request;
use self::status::{has_words, status_texts};
use super::config::{Location, Server};
use super::text::{Variables, requested_host};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use percent_encoding::percent_decode_str;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of the largest body of a request: the default of `client_max_body_size`.
const BODY_MAX: u64 = 1024 * 1024;

/// Marks an answer that `access_log off` keeps out of the log.
#[derive(Clone)]
pub(super) struct Unlogged;

/// Marks an answer that is not sent: the connection ends without a byte (`return 444`).
#[derive(Clone)]
pub(super) struct Closes;

/// Marks the text of a `return`, which no `error_page` replaces.
#[derive(Clone)]
struct Fixed;

/// Returns the answer to a request as it came, or the refusal of one that nginx refuses
/// ([`check_request()`]).
pub(super) fn answer_or_refuse<B>(server: &Server, request: &Request<B>, ends: Ends) -> Response<Content> {
    let mut response = match check_request(request) {
        None => answer(server, request, ends),
        Some(status) => refuse(server, status),
    };
    let (reason, _) = status_texts(response.status());
    response.extensions_mut().insert(ReasonPhrase::from_static(reason.as_bytes()));
    if matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE) {
        set_header(&mut response, header::CONNECTION, "close".into());
    }
    // Of an answer to HEAD, hyper does not say that there would be nothing.
    let is_empty = response.body().left == 0 && response.status() != StatusCode::NO_CONTENT;
    if request.method() == Method::HEAD && is_empty && response.status() != StatusCode::NOT_MODIFIED {
        set_header(&mut response, header::CONTENT_LENGTH, "0".into());
    }
    response
}

/// Returns the answer to one request. Never fails: faults are answers.
fn answer<B>(server: &Server, request: &Request<B>, ends: Ends) -> Response<Content> {
    let Some((path, relative)) = safe_path(request.uri().path()) else {
        return refuse(server, StatusCode::BAD_REQUEST);
    };
    let mut response = match is_too_long(server, request.headers()) {
        true => error_page(StatusCode::PAYLOAD_TOO_LARGE),
        false => serve_path(server, request, ends, &path, relative),
    };
    let status = response.status();
    let is_fixed = |response: &Response<Content>| response.extensions().get::<Fixed>().is_some();
    let own = server.error_pages.iter().find(|(code, _)| *code == status.as_u16());
    let own = own.filter(|_| !is_fixed(&response));
    if let Some((path, relative)) = own.and_then(|(_, path)| configured_path(path)) {
        response = serve_path(server, &for_error_page(request), ends, &path, relative);
        // As nginx: one that is missing is a 404 itself, and no error page has an error page.
        if response.status().is_success() || is_fixed(&response) {
            *response.status_mut() = status;
            // nginx says these of an answer 200 only (`ngx_http_header_filter`).
            response.headers_mut().remove(header::LAST_MODIFIED);
            response.headers_mut().remove(header::ACCEPT_RANGES);
        }
    }
    make_absolute(&mut response, request, ends);
    add_charset(server, &mut response);
    let logged = location_of(server, &path).and_then(|l| l.access_log).unwrap_or(server.access_log);
    if !logged {
        response.extensions_mut().insert(Unlogged);
    }
    response
}

/// Returns whether a request announces a body that nginx refuses: one of more than [`BODY_MAX`]
/// bytes. A `return` outside of locations is carried out before that.
///
/// Source: `ngx_http_core_find_config_phase`.
fn is_too_long(server: &Server, headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<u64>().ok());
    server.answer.is_none() && length.is_some_and(|length| length > BODY_MAX)
}

/// Returns the error page for a request that has no location, in the charset of the server.
fn refuse(server: &Server, status: StatusCode) -> Response<Content> {
    let mut response = error_page(status);
    add_charset(server, &mut response);
    response
}

/// Says in which charset a text is, if the server names one.
fn add_charset(server: &Server, response: &mut Response<Content>) {
    if let Some(charset) = &server.charset
        && let Some(kind) = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok())
        && has_charset(kind)
    {
        let kind = format!("{kind}; charset={charset}");
        set_header(response, header::CONTENT_TYPE, kind);
    }
}

/// Returns the request for an error page: always for all of it.
fn for_error_page<B>(request: &Request<B>) -> Request<()> {
    let mut other = Request::new(());
    *other.method_mut() = if request.method() == Method::HEAD { Method::HEAD } else { Method::GET };
    *other.uri_mut() = request.uri().clone();
    *other.headers_mut() = request.headers().clone();
    for name in [
        header::RANGE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
    ] {
        other.headers_mut().remove(name);
    }
    other
}

/// Puts scheme, host and port before a path to go to, as nginx does (`absolute_redirect on`).
fn make_absolute<B>(response: &mut Response<Content>, request: &Request<B>, ends: Ends) {
    let path = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
    let Some(path) = path.filter(|path| path.starts_with('/')) else { return };
    let host = match requested_host(request.headers(), request.uri()) {
        host if host.is_empty() => ends.local.ip().to_string(),
        host => host,
    };
    let port = match ends.local.port() {
        80 => String::new(),
        port => format!(":{port}"),
    };
    let to = format!("http://{host}{port}{path}");
    set_header(response, header::LOCATION, to);
}

/// Both ends of a connection.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

fn location_of<'a>(server: &'a Server, path: &str) -> Option<&'a Location> {
    let fits = |prefix: &str, location: &Location| match location.exact {
        true => path == prefix,
        false => path.starts_with(prefix),
    };
    server.locations.iter().find(|(prefix, location)| fits(prefix, location)).map(|(_, location)| location)
}

/// Returns what is at a path without detours: the location and the file are chosen by the same one.
fn serve_path<B>(
    server: &Server,
    request: &Request<B>,
    ends: Ends,
    path: &str,
    relative: PathBuf,
) -> Response<Content> {
    let location = location_of(server, path);
    let default = location.and_then(|l| l.default_type.as_ref()).unwrap_or(&server.default_type);
    if let Some((code, text)) = server.answer.as_ref().or(location.and_then(|l| l.answer.as_ref())) {
        let variables = Variables {
            method: request.method(),
            version: request.version(),
            uri: request.uri(),
            headers: request.headers(),
            path,
            server_name: server.names.first().map_or("", String::as_str),
            peer: ends.peer,
            local: ends.local,
        };
        let filled = text.fill(&variables);
        let text = (text.has_variables() || !filled.is_empty()).then_some(filled.as_str());
        return fixed_answer(*code, text, mime_type(Path::new(path), default));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
        return error_page(StatusCode::METHOD_NOT_ALLOWED);
    }
    let root = location.and_then(|l| l.root.as_ref()).unwrap_or(&server.root);
    let index = location.and_then(|l| l.index.as_ref()).unwrap_or(&server.index);
    let file = root.join(&relative);
    if file.is_dir() {
        if !path.ends_with('/') {
            let mut moved = error_page(StatusCode::MOVED_PERMANENTLY);
            let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
            if let Ok(to) = HeaderValue::try_from(percent_encode(&format!("{path}/")) + &query) {
                moved.headers_mut().insert(header::LOCATION, to);
            }
            return moved;
        }
        // What begins with a slash is answered whether there is a file or not.
        let found = index.iter().find_map(|name| match name.starts_with('/') {
            true => configured_path(name).filter(|(path, _)| !path.ends_with('/')),
            false => file.join(name).is_file().then(|| (format!("{path}{name}"), relative.join(name))),
        });
        // Its location is chosen anew. Source: `ngx_http_index_handler`, an internal redirect.
        return match found {
            Some((path, relative)) => serve_path(server, request, ends, &path, relative),
            None => error_page(StatusCode::FORBIDDEN),
        };
    } else if path.ends_with('/') {
        return error_page(StatusCode::NOT_FOUND); // a file is no directory
    }
    match send_file(&file, request, default, server.charset.as_deref()) {
        Ok(_) if request.method() == Method::POST => error_page(StatusCode::METHOD_NOT_ALLOWED),
        Ok(response) => response,
        // No file has a name that is too long.
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
            ) =>
        {
            error_page(StatusCode::NOT_FOUND)
        }
        Err(e) if e.kind() == ErrorKind::PermissionDenied => error_page(StatusCode::FORBIDDEN),
        Err(_) => error_page(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Returns a decoded path as a header may hold it.
fn percent_encode(path: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?');
    utf8_percent_encode(path, UNSAFE).to_string()
}

/// Returns the path, decoded and without `.`, `..` and double slashes, and the same below a root;
/// `None` if it would leave the root, or has a `%` without two hexadecimal digits. A name of a file
/// need not be UTF-8.
fn safe_path(raw: &str) -> Option<(String, PathBuf)> {
    let is_escape = |behind: &str| {
        behind.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !raw.split('%').skip(1).all(is_escape) {
        return None;
    }
    clean_path(&percent_decode_str(raw).collect::<Vec<u8>>())
}

/// Returns the same of a path of the configuration, in which a `%` is a plain character.
fn configured_path(path: &str) -> Option<(String, PathBuf)> {
    clean_path(path.split('?').next()?.as_bytes())
}

fn clean_path(path: &[u8]) -> Option<(String, PathBuf)> {
    let mut relative = PathBuf::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => relative.pop().then_some(())?,
            part if part.contains(&0) => return None,
            part => relative.push(OsStr::from_bytes(part)),
        }
    }
    let mut clean: String = relative.iter().map(|part| format!("/{}", part.to_string_lossy())).collect();
    // What ends with a slash, or with a detour, is a directory.
    if clean.is_empty() || path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..") {
        clean.push('/');
    }
    Some((clean, relative))
}

fn error_page(status: StatusCode) -> Response<Content> {
    let title = format!("{} {}", status.as_u16(), status_texts(status).1);
    let html = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    new_response(status, "text/html", Content::text(html))
}

/// Returns the answer of `return`. `kind` is the type of a text. As nginx
/// (`ngx_http_script_return_code`): only an error has a page, and only if the directive has no
/// text. A text of variables that are empty is a text. For an error that has no page (`return 418`)
/// nothing is sent.
fn fixed_answer(code: u16, text: Option<&str>, kind: &str) -> Response<Content> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if code == 444 {
        let mut closed = error_page(status);
        closed.extensions_mut().insert(Closes);
        return closed;
    }
    if matches!(code, 301..=303 | 307 | 308) {
        let mut moved = error_page(status);
        if let Ok(to) = HeaderValue::try_from(text.unwrap_or_default()) {
            moved.headers_mut().insert(header::LOCATION, to);
        }
        return moved;
    }
    match text {
        None if code >= 400 && has_words(status) => error_page(status),
        None if code >= 400 => {
            let mut bare = new_response(status, kind, Content::text(""));
            bare.headers_mut().remove(header::CONTENT_TYPE);
            bare
        }
        text => {
            let mut answer = new_response(status, kind, Content::text(text.unwrap_or_default().to_string()));
            answer.extensions_mut().insert(Fixed);
            if code == 204 {
                answer.headers_mut().remove(header::CONTENT_TYPE);
            }
            answer
        }
    }
}

fn new_response(status: StatusCode, kind: &str, content: Content) -> Response<Content> {
    let mut response = Response::new(content);
    *response.status_mut() = status;
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("nginx"));
    set_header(&mut response, header::CONTENT_TYPE, kind.into());
    response
}

fn send_file<B>(
    path: &Path,
    request: &Request<B>,
    default: &str,
    charset: Option<&str>,
) -> io::Result<Response<Content>> {
    // A named pipe would wait for a writer, and all other requests with it.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let kind = mime_type(path, default);
    let (length, modified) = (found.len(), found.modified().unwrap_or(UNIX_EPOCH));
    let seconds = modified.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let etag = format!("\"{seconds:x}-{length:x}\"");
    let text_of = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    if !preconditions_hold(request.headers(), &etag, seconds) {
        return Ok(error_page(StatusCode::PRECONDITION_FAILED));
    }
    let changed = httpdate::fmt_http_date(SystemTime::max(modified, UNIX_EPOCH));
    // nginx compares dates exactly, and where a tag is given, too, both must fit.
    let has_tag = |tags: &str| {
        tags.split(',').any(|tag| matches!(tag.trim().trim_start_matches("W/"), t if t == "*" || t == etag))
    };
    let (tags, since) = (text_of(header::IF_NONE_MATCH), text_of(header::IF_MODIFIED_SINCE));
    let known = (tags.is_some() || since.is_some())
        && tags.is_none_or(has_tag)
        && since.is_none_or(|date| date == changed);
    let mut response = if known {
        let mut unchanged = new_response(StatusCode::NOT_MODIFIED, kind, Content::text(""));
        unchanged.headers_mut().remove(header::CONTENT_TYPE); // there is no content
        unchanged
    } else {
        // RFC 9110, 13.1.5: a part is good only for who has the rest of this version. A weak tag
        // never fits.
        let fits = |version: &str| version == etag || version == changed;
        let range = text_of(header::RANGE).filter(|_| text_of(header::IF_RANGE).is_none_or(fits));
        match range.map(|range| range::parse(range, length)) {
            Some(Selection::Unsatisfiable) => {
                let mut refused = error_page(StatusCode::RANGE_NOT_SATISFIABLE);
                set_header(&mut refused, header::CONTENT_RANGE, format!("bytes */{length}"));
                return Ok(refused);
            }
            Some(Selection::Parts(parts)) => partial_content(file, kind, charset, &parts, length),
            Some(Selection::Whole) | None => {
                new_response(StatusCode::OK, kind, Content::part(file, 0, length))
            }
        }
    };
    set_header(&mut response, header::ETAG, etag);
    set_header(&mut response, header::LAST_MODIFIED, changed);
    // As nginx, which says it of whole files only.
    if response.status() == StatusCode::OK {
        set_header(&mut response, header::ACCEPT_RANGES, "bytes".into());
    }
    Ok(response)
}

/// Answers with parts of a file, whose first and last bytes are given. As nginx, several parts are
/// sent in the order in which they were asked for, also where they overlap, and what separates
/// them is a number of 20 digits. Source: `ngx_http_range_filter_module.c`.
fn partial_content(
    file: File,
    kind: &str,
    charset: Option<&str>,
    parts: &[(u64, u64)],
    length: u64,
) -> Response<Content> {
    static BOUNDARIES: AtomicU64 = AtomicU64::new(1);
    if let [(first, last)] = parts {
        let part = Content::part(file, *first, last - first + 1);
        let mut response = new_response(StatusCode::PARTIAL_CONTENT, kind, part);
        set_header(&mut response, header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}"));
        return response;
    }
    let kind = match charset.filter(|_| has_charset(kind)) {
        Some(charset) => format!("{kind}; charset={charset}"),
        None => kind.to_string(),
    };
    let boundary = format!("{:020}", BOUNDARIES.fetch_add(1, Ordering::Relaxed));
    let mut content = Content::part(file, 0, 0);
    for (first, last) in parts {
        content.push_text(format!(
            "\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n"
        ));
        content.push_part(*first, last - first + 1);
    }
    content.push_text(format!("\r\n--{boundary}--\r\n"));
    new_response(StatusCode::PARTIAL_CONTENT, &format!("multipart/byteranges; boundary={boundary}"), content)
}

/// Returns whether a file, which was last changed `modified` seconds after 1970, is what `If-Match`
/// and `If-Unmodified-Since` ask for; else the answer is 412. A weak tag never matches, and what is
/// no date is before every change:
///
/// ```text
/// If-Match: *                         holds
/// If-Match: "1-2", "6900-5"           holds for the tag "6900-5"
/// If-Match: W/"6900-5"                does not
/// If-Unmodified-Since: yesterday      does not
/// ```
///
/// Source: `ngx_http_not_modified_filter_module.c`; both conditions count where both are given.
fn preconditions_hold(headers: &HeaderMap, etag: &str, modified: u64) -> bool {
    let text_of = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let fits = |tags: &str| tags.trim() == "*" || tags.split(',').any(|tag| tag.trim() == etag);
    let is_recent = |date: &str| {
        let since = httpdate::parse_http_date(date).ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        since.is_some_and(|since| since.as_secs() >= modified)
    };
    text_of(header::IF_MATCH).is_none_or(fits) && text_of(header::IF_UNMODIFIED_SINCE).is_none_or(is_recent)
}

fn set_header(response: &mut Response<Content>, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests;
