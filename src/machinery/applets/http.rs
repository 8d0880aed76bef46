//! HTTP/1.1 over TCP or TLS, as `curl` and `wget` need it. Blocking: such a program does one thing
//! at a time.

use super::resolve;
use super::tls;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

mod send;
pub(crate) mod zone;

pub(crate) use send::{Upload, is_unreadable_upload};

/// Headers of the user, in lower case, that are meant for the first server alone: they say who the
/// user is, or name that server. A server that a redirect leads to does not get them.
pub(crate) const OF_THE_FIRST: [&str; 3] = ["authorization", "cookie", "host"];

/// The start line and headers of an answer, all together.
const HEAD_MAX: u64 = 256 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// `https`.
    pub secure: bool,
    pub host: String,
    /// The interface behind which an IPv6 address is. No server hears of it.
    pub zone: Option<String>,
    pub port: u16,
    /// With the query, always beginning with `/`.
    pub path: String,
    /// `user:password`, decoded.
    pub user: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadUrl {
    /// A scheme other than http and https.
    Scheme(String),
    Malformed,
}

impl Url {
    /// `[http[s]://][USER@]HOST[:PORT][/PATH]`.
    pub(crate) fn parse(text: &str) -> Result<Url, BadUrl> {
        let (secure, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                return Err(BadUrl::Scheme(scheme.to_lowercase()));
            }
            _ => (false, text),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, host)) => {
                let user = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
                (Some(user.into_owned()), host)
            }
            None => (None, authority),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().ok().filter(|p| *p > 0).ok_or(BadUrl::Malformed)?)
            }
            _ => (authority, if secure { 443 } else { 80 }),
        };
        if host.is_empty()
            || host.starts_with('[') != host.ends_with(']')
            || text.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(BadUrl::Malformed);
        }
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let (host, zone) = match inner.filter(|inner| inner.contains('%')) {
            Some(inner) => {
                let (address, zone) = zone::split(inner).ok_or(BadUrl::Malformed)?;
                (format!("[{address}]"), zone.map(str::to_string))
            }
            None => (host.to_string(), None),
        };
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        Ok(Url { secure, host, zone, port, path: without_dots(&path), user })
    }

    /// What a `Location` of an answer from here means.
    pub(crate) fn join(&self, location: &str) -> Result<Url, BadUrl> {
        // The fragment is the client's own.
        let location = location.split('#').next().unwrap_or_default();
        // Servers send blanks and letters outside of ASCII as they are; no request may.
        const UNSENDABLE: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ');
        let location = percent_encoding::utf8_percent_encode(location, UNSENDABLE).to_string();
        let location = location.as_str();
        if let Some(scheme) = scheme_of(location) {
            return match location[scheme.len()..].starts_with("://") {
                true => Url::parse(location),
                false => Err(BadUrl::Scheme(scheme.to_lowercase())),
            };
        }
        if let Some(other) = location.strip_prefix("//") {
            return Url::parse(&format!("{}://{other}", self.scheme()));
        }
        let mut url = self.clone();
        let base = self.path.split('?').next().unwrap_or("/");
        url.path = match location {
            "" => self.path.clone(),
            absolute if absolute.starts_with('/') => absolute.to_string(),
            query if query.starts_with('?') => format!("{base}{query}"),
            relative => format!("{}{relative}", &base[..base.rfind('/').map_or(0, |at| at + 1)]),
        };
        url.path = without_dots(&url.path);
        Ok(url)
    }

    /// Whether scheme, host with its zone, and port are the same.
    pub(crate) fn is_same_server(&self, other: &Url) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
            && (self.port, self.secure, &self.zone) == (other.port, other.secure, &other.zone)
    }

    /// `https` or `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The `Host` header: the port only if it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    pub(crate) fn full(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.authority(), self.path)
    }

    /// The last part of the path; empty for a directory.
    pub(crate) fn file_name(&self) -> &str {
        self.path.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default()
    }
}

/// A path, and what follows its `?`, without the parts `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    // What ends with dots is a directory.
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
    }
    format!("/{}{query}", kept.join("/"))
}

/// The scheme of an absolute URL (RFC 3986, 3.1). A colon further behind, as in
/// `/login?next=http://h/`, makes none.
fn scheme_of(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(inner)).then_some(scheme)
}

/// When everything must be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub start: Instant,
    pub limit: Option<Duration>,
}

impl Deadline {
    pub(crate) fn new(limit: Option<Duration>) -> Deadline {
        Deadline { start: Instant::now(), limit }
    }

    /// A limit beyond what the clock counts is none.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.start.checked_add(self.limit?)
    }

    /// Errors: `TimedOut` if nothing is left.
    pub(crate) fn left(&self) -> io::Result<Option<Duration>> {
        let Some(limit) = self.limit else { return Ok(None) };
        match limit.saturating_sub(self.start.elapsed()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

/// Connects to the first address that answers; `told` hears of each attempt.
pub(crate) fn connect(
    addresses: &[IpAddr],
    port: u16,
    deadline: &Deadline,
    told: impl FnMut(SocketAddr),
) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
    dial(&addresses, deadline, told)
}

/// As [`connect`], to the server of a URL, which may name a zone.
pub(crate) fn connect_to(
    url: &Url,
    addresses: &[IpAddr],
    deadline: &Deadline,
    told: impl FnMut(SocketAddr),
) -> io::Result<TcpStream> {
    let zone = url.zone.as_deref();
    let addresses: Vec<SocketAddr> = addresses.iter().map(|ip| zone::address(*ip, url.port, zone)).collect();
    dial(&addresses, deadline, told)
}

fn dial(
    addresses: &[SocketAddr],
    deadline: &Deadline,
    mut told: impl FnMut(SocketAddr),
) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (nth, address) in addresses.iter().enumerate() {
        told(*address);
        let connected = match deadline.left()? {
            // One that is silent leaves half of the time to the next ones, as in curl.
            Some(left) if nth + 1 < addresses.len() => {
                TcpStream::connect_timeout(address, (left / 2).max(Duration::from_millis(1)))
            }
            Some(left) => TcpStream::connect_timeout(address, left),
            None => TcpStream::connect(address),
        };
        match connected {
            Ok(stream) => {
                let _ = stream.set_nodelay(true); // only a matter of speed
                return Ok(stream);
            }
            Err(e) => failure = e,
        }
    }
    Err(failure)
}

/// The addresses of a URL's host.
pub(crate) fn look_up(url: &Url, deadline: &Deadline) -> Result<Vec<IpAddr>, resolve::Failure> {
    resolve::addresses(&url.host, deadline.at())
}

/// The head of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// `HTTP/1.1 200 OK`.
    pub start: String,
    pub status: u16,
    /// In their order, names as sent.
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Start line and headers, each with CRLF.
    pub(crate) fn text(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{}\r\n{}", self.start, headers.collect::<String>())
    }
}

/// How the end of a body is known.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    /// Bytes left.
    Length(u64),
    /// Bytes left in this chunk; `None` before the first one.
    Chunked(Option<u64>),
    UntilClose,
    Over,
}

/// An answer whose body is read like a file.
pub(crate) struct Answer {
    pub head: Head,
    /// What the server announced.
    pub length: Option<u64>,
    reader: BufReader<Timed>,
    framing: Framing,
    /// The server had answered before it had the whole request.
    is_early: bool,
}

/// What an exchange runs over.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock.tcp,
        }
    }

    /// Whether the server has neither ended the connection nor said anything unasked.
    pub(crate) fn is_quiet(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.tcp().as_raw_fd(), &mut [0], flags) == Err(Errno::EAGAIN)
    }

    /// Lets no read and no write from now on last longer than that.
    fn limit(&mut self, deadline: &Deadline, idle: Option<Duration>) -> io::Result<()> {
        let left = deadline.left()?;
        match self {
            Stream::Plain(tcp) => {
                tcp.set_read_timeout(left.into_iter().chain(idle).min())?;
                tcp.set_write_timeout(left)
            }
            Stream::Tls(tls) => {
                (tls.sock.until, tls.sock.idle) = (deadline.at(), idle);
                Ok(())
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.read(buffer),
            Stream::Tls(tls) => tls.read(buffer),
        }
    }
}

/// Speaks TLS on a connection if the URL asks for it, within the deadline.
pub(crate) fn secured(
    stream: TcpStream,
    url: &Url,
    terms: &tls::Terms,
    deadline: &Deadline,
) -> Result<Stream, tls::Refusal> {
    if !url.secure {
        return Ok(Stream::Plain(stream));
    }
    deadline.left().map_err(tls::Refusal::Io)?;
    let shaken = tls::connect(stream, deadline.at(), &url.host, terms)?;
    Ok(Stream::Tls(Box::new(shaken)))
}

/// A stream that never waits past a deadline.
struct Timed {
    stream: Stream,
    deadline: Deadline,
    /// For one read, if set.
    idle: Option<Duration>,
    /// Whether the server has said anything yet.
    heard: bool,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.limit(&self.deadline, self.idle)?;
        let read = self.stream.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => e,
        });
        self.heard |= matches!(read, Ok(1..));
        read
    }
}

/// Sends a request, with what `upload` reads behind it, and reads the head of the answer. A server
/// that answers before it has read all, and refuses, gets no more of it.
///
/// # Errors
/// `UnexpectedEof` if the server says nothing, `InvalidData` if it does not speak HTTP, `TimedOut`,
/// `BrokenPipe` if it does not take the request, whatever the kernel calls that.
pub(crate) fn exchange(
    stream: Stream,
    request: &[u8],
    upload: Option<&mut Upload<'_>>,
    method: &str,
    deadline: Deadline,
    idle: Option<Duration>,
) -> io::Result<Answer> {
    let mut reader = BufReader::new(Timed { stream, deadline, idle, heard: false });
    let told = send::send(&mut reader, request, upload).and_then(|early| match early {
        Some(head) => Ok((head, true)),
        None => Ok((final_head(&mut reader)?, false)),
    });
    let (head, is_early) = told.map_err(|e| if reader.get_ref().heard { e } else { unheard(e) })?;
    let length = head.get("content-length").and_then(|l| l.trim().parse().ok());
    let chunked = head.get("transfer-encoding").is_some_and(|t| t.to_lowercase().contains("chunked"));
    let framing = match (chunked, length) {
        _ if head.status == SWITCHING => Framing::UntilClose,
        _ if method == "HEAD" || head.status == 204 || head.status == 304 => Framing::Over,
        (true, _) => Framing::Chunked(None),
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    };
    Ok(Answer { head, length, reader, framing, is_early })
}

/// The end of a connection on which the server had not said a word.
#[derive(Debug)]
struct Unheard(io::Error);

impl std::fmt::Display for Unheard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unheard {}

fn unheard(error: io::Error) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        kind @ (BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof) => {
            io::Error::new(kind, Unheard(error))
        }
        _ => error,
    }
}

/// Whether an exchange failed because the connection ended without a word of the server.
pub(crate) fn is_unheard(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Unheard>())
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(HEAD_MAX).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Interim answers (1xx) before the real one, at most.
const INTERIM_MAX: usize = 100;

/// `101 Switching Protocols`: no answer comes after it, only what the other protocol says.
const SWITCHING: u16 = 101;

/// True for an answer that another one follows.
fn is_interim(head: &Head) -> bool {
    (100..200).contains(&head.status) && head.status != SWITCHING
}

/// Reads heads until one is not interim.
fn final_head(reader: &mut impl BufRead) -> io::Result<Head> {
    for _ in 0..INTERIM_MAX {
        let head = read_head(reader)?;
        if !is_interim(&head) {
            return Ok(head);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "too many interim answers"))
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Head> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_string());
    let start = read_line(reader)?;
    let status = start.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    let mut head = Head { status: status.ok_or_else(|| invalid("not HTTP/1"))?, start, headers: Vec::new() };
    let mut size = 0;
    loop {
        let line = read_line(reader)?;
        size += line.len() as u64;
        if line.is_empty() {
            return Ok(head);
        }
        if size > HEAD_MAX {
            return Err(invalid("too many headers"));
        }
        if let Some((name, value)) = line.split_once(':') {
            head.headers.push((name.to_string(), value.trim().to_string()));
        }
    }
}

impl Answer {
    /// The address we spoke to, and ours.
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let stream = self.reader.get_ref().stream.tcp();
        (stream.peer_addr().ok(), stream.local_addr().ok())
    }

    /// The connection, if the answer was read to its end and the server keeps it (RFC 9112, 9.3).
    pub(crate) fn into_stream(self) -> Option<Stream> {
        let mut words = self.head.get("connection").unwrap_or_default().split(',');
        let closes = words.any(|word| word.trim().eq_ignore_ascii_case("close"));
        let is_over =
            matches!(self.framing, Framing::Over | Framing::Length(0)) && self.reader.buffer().is_empty();
        let keeps = self.head.start.starts_with("HTTP/1.1 ") && !closes && !self.is_early;
        (is_over && keeps).then(|| self.reader.into_inner().stream)
    }

    /// How many bytes are known to be missing.
    pub(crate) fn missing(&self) -> u64 {
        if let Framing::Length(left) = self.framing { left } else { 0 }
    }

    fn next_chunk(&mut self, first: bool) -> io::Result<()> {
        if !first {
            read_line(&mut self.reader)?; // the end of the chunk before
        }
        let line = read_line(&mut self.reader)?;
        let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "bad chunk"))?;
        self.framing = Framing::Chunked(Some(size));
        if size == 0 {
            while !read_line(&mut self.reader)?.is_empty() {} // trailers
            self.framing = Framing::Over;
        }
        Ok(())
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Framing::Chunked(left @ (None | Some(0))) = self.framing {
            self.next_chunk(left.is_none())?;
        }
        let wanted = match self.framing {
            Framing::Over | Framing::Length(0) => return Ok(0),
            Framing::UntilClose => buffer.len(),
            Framing::Length(left) | Framing::Chunked(Some(left)) => {
                buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX))
            }
            Framing::Chunked(None) => 0,
        };
        let read = self.reader.read(&mut buffer[..wanted])?;
        match &mut self.framing {
            Framing::Length(_) | Framing::Chunked(_) if read == 0 && wanted > 0 => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Framing::Length(left) | Framing::Chunked(Some(left)) => {
                *left -= read as u64;
                Ok(read)
            }
            _ => Ok(read),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that gives these answers, one a connection; returns its port, and the requests when
    /// it ends.
    pub(crate) fn server(answers: Vec<&'static str>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let serve = |answer: &str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    let count = stream.read(&mut buffer).unwrap();
                    request.extend_from_slice(&buffer[..count]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let length = text
                        .to_lowercase()
                        .split("content-length: ")
                        .nth(1)
                        .and_then(|l| l.split("\r\n").next().and_then(|l| l.parse::<usize>().ok()));
                    let end = text.find("\r\n\r\n").map(|at| at + 4 + length.unwrap_or(0));
                    if count == 0 || end.is_some_and(|end| text.len() >= end) {
                        stream.write_all(answer.as_bytes()).unwrap();
                        return text;
                    }
                }
            };
            answers.into_iter().map(serve).collect()
        });
        (port, thread)
    }

    #[test]
    fn a_limit_beyond_the_clock_is_none() {
        let end = Deadline::new(Some(Duration::from_secs(u64::MAX)));
        assert_eq!(end.at(), None);
        assert!(end.left().unwrap() > Some(Duration::from_secs(1)));
        assert!(Deadline::new(Some(Duration::from_secs(5))).at() > Some(Instant::now()));
    }

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("http://user:pw@web:8080/a/b?x=1#there").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("web", 8080, "/a/b?x=1"));
        assert_eq!(url.user.as_deref(), Some("user:pw"));
        assert_eq!(Url::parse("http://user:p%40ss@host").unwrap().user.as_deref(), Some("user:p@ss"));
        assert_eq!(url.join("/a b/é%20").unwrap().path, "/a%20b/%C3%A9%20");
        assert_eq!(Url::parse("web").unwrap().path, "/");
        assert_eq!(Url::parse("[::1]:80").unwrap().host, "[::1]");
        let zoned = Url::parse("http://[fe80::1%25lo]:81/").unwrap();
        assert_eq!((zoned.authority().as_str(), zoned.zone.as_deref()), ("[fe80::1]:81", Some("lo")));
        assert!(!zoned.is_same_server(&Url::parse("http://[fe80::1%25eth0]:81/").unwrap()));
        assert_eq!(Url::parse("http://[fe80::1%]/"), Err(BadUrl::Malformed));
        assert_eq!(Url::parse("ftp://web/"), Err(BadUrl::Scheme("ftp".into())));
        let locked = Url::parse("HTTPS://web/").unwrap();
        assert_eq!((locked.secure, locked.port, locked.full().as_str()), (true, 443, "https://web/"));
        assert_eq!(locked.join("//other/x").unwrap().full(), "https://other/x");
        assert_eq!(Url::parse("https://web:80/").unwrap().authority(), "web:80");
        assert_eq!(Url::parse("http://"), Err(BadUrl::Malformed));
        assert_eq!(Url::parse("http://[::1"), Err(BadUrl::Malformed));
        assert_eq!(Url::parse("http://web:x/"), Err(BadUrl::Malformed));
        assert_eq!(url.join("../c").unwrap().path, "/c");
        for (path, meant) in [
            ("/a/../index.html", "/index.html"),
            ("/a/./b/..", "/a/"),
            ("/../a/?x=/../y", "/a/?x=/../y"),
            ("//a/...", "//a/..."),
            ("", "/"),
        ] {
            assert_eq!(Url::parse(&format!("web{path}")).unwrap().path, meant, "{path}");
        }
        assert_eq!(
            url.join("/login?next=http://h/x").unwrap().full(),
            "http://web:8080/login?next=http://h/x"
        );
        assert_eq!(url.join("/c#part").unwrap().path, "/c", "a fragment is not sent");
        assert_eq!(url.join("mailto:a@b").unwrap_err(), BadUrl::Scheme("mailto".into()));
        assert_eq!(url.join("/c").unwrap().full(), "http://web:8080/c");
        assert_eq!(url.join("http://other/d").unwrap().authority(), "other");
    }

    fn fetch(answer: &'static str) -> io::Result<(u16, String)> {
        let (port, server) = server(vec![answer]);
        let deadline = Deadline::new(Some(Duration::from_secs(10)));
        let stream = connect(&["127.0.0.1".parse().unwrap()], port, &deadline, |_| {})?;
        let mut answer =
            exchange(Stream::Plain(stream), b"GET / HTTP/1.1\r\n\r\n", None, "GET", deadline, None)?;
        let mut body = String::new();
        let result = answer.read_to_string(&mut body);
        server.join().unwrap();
        result.map(|_| (answer.head.status, body))
    }

    #[test]
    fn bodies_end_where_their_head_says() {
        let length = fetch("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore");
        assert_eq!(length.unwrap(), (200, "hello".into()));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: 1\r\n\r\n";
        assert_eq!(fetch(chunked).unwrap(), (200, "abcde".into()));
        assert_eq!(
            fetch("HTTP/1.0 404 Not Found\r\n\r\nuntil the end").unwrap(),
            (404, "until the end".into())
        );
        let hint = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(fetch(hint).unwrap(), (204, String::new()));
        let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhello";
        assert_eq!(fetch(switched).unwrap(), (101, "hello".into()));
    }

    #[test]
    fn broken_answers_are_errors() {
        let kind = |answer| fetch(answer).unwrap_err().kind();
        assert_eq!(kind("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind("SSH-2.0-x\r\n"), io::ErrorKind::InvalidData);
        assert_eq!(kind(""), io::ErrorKind::UnexpectedEof);
    }
}
