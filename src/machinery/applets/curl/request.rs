//! The head of a request: its first line and its headers, in curl's order.

use super::super::http::{self, Url};
use super::body::{Body, Opened};
use super::faults::Fault;
use super::options::{EXPECT_WAIT, Options};

pub(super) const AGENT: &str = concat!("curl/7.88.1 (ropewalk ", env!("CARGO_PKG_VERSION"), ")");

/// The codings that `--compressed` asks for.
const CODINGS: &str = "deflate, gzip";

/// A request of a transfer.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub url: &'a Url,
    pub method: &'a str,
    pub body: Option<Body<'a>>,
    /// The server may get headers that say who the user is: it is the first one (scheme, host and
    /// port).
    pub trusted: bool,
    /// The server's host has the name of the first one, so that the user's `Host` is sent to it,
    /// too.
    pub is_named: bool,
    pub referer: Option<&'a str>,
}

/// The headers of `-H`, as they were written.
struct Own<'a> {
    all: Vec<&'a str>,
    /// The server may get headers that say who the user is: it is the first one (scheme, host and
    /// port).
    trusted: bool,
    /// Whether the user's `Host` is sent to this server, too.
    is_named: bool,
}

impl<'a> Own<'a> {
    fn new(options: &'a Options, request: &Request<'_>) -> Own<'a> {
        let all = options.headers.iter().map(String::as_str).collect();
        Own { all, trusted: request.trusted, is_named: request.is_named }
    }

    /// Returns the headers that the server gets, beside `Host`.
    fn sent_headers(&self) -> impl Iterator<Item = &'a str> {
        let is_sent =
            move |header: &&str| !is_named(header, "Host") && (self.trusted || !http::is_private(header));
        self.all.iter().copied().filter(is_sent)
    }

    /// Finds a header. As in curl, one that the server does not get takes the place of curl's own,
    /// too; only `Host` is curl's own then.
    fn find(&self, name: &str) -> Option<&'a str> {
        let is_there = self.is_named || !name.eq_ignore_ascii_case("host");
        self.all.iter().copied().find(|header| is_there && is_named(header, name))
    }

    /// Returns whether the user says what curl would say of itself.
    fn has_header(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Returns whether a header has that value.
    fn has_value(&self, name: &str, value: &str) -> bool {
        let found = self.find(name).and_then(|header| header.split_once(':'));
        found.is_some_and(|(_, text)| text.trim().eq_ignore_ascii_case(value))
    }
}

/// Returns whether a header of `-H` has that name, with nothing between it and what ends it.
fn is_named(header: &str, name: &str) -> bool {
    header
        .split_at_checked(name.len())
        .is_some_and(|(start, behind)| start.eq_ignore_ascii_case(name) && behind.starts_with([':', ';']))
}

/// Returns a header as it is sent: `Name: value` as it was written, and `Name:` for `Name;`. `None`
/// for one that only keeps one of curl's own away (`Name:`), and for what is no header.
fn header_line(header: &str) -> Option<String> {
    match header.split_once(':') {
        Some((name, value)) => {
            (!name.is_empty() && !value.trim().is_empty()).then(|| format!("{header}\r\n"))
        }
        None => {
            let name = header.strip_suffix(';').filter(|name| !name.contains(';'))?;
            Some(format!("{name}:\r\n"))
        }
    }
}

/// Opens the body and writes the head of a request.
///
/// # Errors
/// curl's code 26 if the file of the body cannot be opened.
pub(super) fn open_request<'a>(
    options: &Options,
    request: Request<'a>,
) -> Result<(Option<Opened<'a>>, String), Fault> {
    let own = Own::new(options, &request);
    let mut opened = request.body.map(Body::open).transpose()?;
    if let Some(body) = &mut opened {
        let is_asked =
            if own.has_header("Expect") { own.has_value("Expect", "100-continue") } else { body.is_large() };
        body.expects = is_asked.then(|| options.expect_wait.unwrap_or(EXPECT_WAIT));
        if own.has_value("Transfer-Encoding", "chunked") {
            body.length = None;
        }
    }
    let head = format_head(options, request, opened.as_ref(), &own);
    Ok((opened, head))
}

fn format_head(options: &Options, request: Request<'_>, body: Option<&Opened<'_>>, own: &Own<'_>) -> String {
    let host = match own.find("Host") {
        Some(host) => header_line(host).unwrap_or_default(),
        None => format!("Host: {}\r\n", request.url.authority()),
    };
    let mut text = format!("{} {} HTTP/1.1\r\n{host}", request.method, request.url.path);
    let mut add = |name: &str, value: &str| {
        if !own.has_header(name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    };
    if let Some(value) = authorization(options, request) {
        add("Authorization", &value);
    }
    match (&options.range, body) {
        (Some(range), None) => add("Range", &format!("bytes={range}")),
        (Some(range), Some(body)) => {
            let length = body.length.map_or("-1".to_string(), |length| length.to_string());
            add("Content-Range", &format!("bytes {range}/{length}"));
        }
        (None, _) => {}
    }
    match options.agent.as_deref() {
        Some("") => {}
        agent => add("User-Agent", agent.unwrap_or(AGENT)),
    }
    if !options.json {
        add("Accept", "*/*");
    }
    if options.compressed {
        add("Accept-Encoding", CODINGS);
    }
    if let Some(referer) = request.referer {
        add("Referer", referer);
    }
    if body.is_some_and(|body| body.length.is_none()) {
        add("Transfer-Encoding", "chunked");
    }
    if let Some(cookies) = &options.cookies {
        add("Cookie", cookies);
    }
    text.extend(own.sent_headers().filter_map(header_line));
    text + &about_body(options, body, own) + "\r\n"
}

/// Returns the headers about the body, which stand last.
fn about_body(options: &Options, body: Option<&Opened<'_>>, own: &Own<'_>) -> String {
    let mut text = String::new();
    let mut add = |name: &str, value: &str| {
        if !own.has_header(name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    };
    if options.json {
        add("Content-Type", "application/json");
        add("Accept", "application/json");
    }
    let Some(body) = body else { return text };
    if let Some(length) = body.length {
        add("Content-Length", &length.to_string());
    }
    if body.data.is_some() && !options.json {
        add("Content-Type", "application/x-www-form-urlencoded");
    }
    if body.expects.is_some() {
        add("Expect", "100-continue");
    }
    text
}

/// Returns what `-v` says of the user that a request names.
pub(super) fn user_line(options: &Options, request: Request<'_>) -> Option<String> {
    let value = authorization(options, request)?;
    if Own::new(options, &request).has_header("Authorization") {
        return None;
    }
    let scheme = value.split(' ').next().unwrap_or_default();
    let user = options.user.as_ref().filter(|_| request.trusted).or(request.url.user.as_ref());
    let name = user.and_then(|user| user.split(':').next()).unwrap_or_default();
    Some(format!("Server auth using {scheme} with user '{name}'"))
}

/// Returns who the user is. A token counts more than a user with a password, and that one more than
/// a user in the URL.
fn authorization(options: &Options, request: Request<'_>) -> Option<String> {
    let bearer = options.bearer.as_ref().filter(|_| request.trusted);
    let user = options.user.as_ref().filter(|_| request.trusted).or(request.url.user.as_ref());
    match (bearer, user) {
        (Some(token), _) => Some(format!("Bearer {token}")),
        (None, Some(user)) => Some(http::basic_credentials(user)),
        (None, None) => None,
    }
}
