//! # HTTP/1.1
//!
//! ## In Kubernetes
//! Learners and scripts ask services with `curl` and `wget`; the parts of the small shop ask each
//! other.
//! ## How this one works
//! HTTP/1.1 over TCP or TLS, blocking: such a program does one thing at a time. `url` reads URLs,
//! `stream` is the connection, `send` sends a request and listens meanwhile, `head` reads the head
//! of the answer, `answer` its body with `coding` (gzip and deflate), `error` says what went wrong.
//! [`look_up`], [`connect_to`], [`secure_stream`] and [`exchange`] are called in this order. Where
//! RFC 9112 and curl 7.88.1 differ, this does what curl does.
//! ## Left out
//! HTTP/2 and HTTP/3, proxies, HTTP/0.9, the codings br, zstd and compress.
//! ## Read next
//! `curl`, which uses all of it.

use super::resolve::{self, Family};
use super::tls;
use std::collections::VecDeque;
use std::io::{self, BufReader};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream};
use std::time::Duration;
use stream::Timed;

mod answer;
mod coding;
mod credentials;
mod error;
mod head;
mod send;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod url;

pub(crate) use super::deadline::Deadline;
pub(crate) use answer::Answer;
pub(crate) use credentials::basic_credentials;
pub(crate) use error::Error;
pub(crate) use head::HEAD_MAX;
pub(crate) use send::{Progress, Upload};
pub(crate) use stream::Stream;
pub(crate) use url::{BadUrl, Url, zone_id};

/// Returns the name of a header that the user wrote, in lower case. curl ends it with `;`, too.
pub(crate) fn header_name(header: &str) -> String {
    header.split([':', ';']).next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns whether a header that the user wrote says who the user is. A server that a redirect
/// leads to does not get it.
pub(crate) fn is_private(header: &str) -> bool {
    matches!(header_name(header).as_str(), "authorization" | "cookie")
}

/// Connects to a port of the first address that answers. `on_attempt` is called before each
/// attempt.
pub(crate) fn connect(
    addresses: &[IpAddr],
    port: u16,
    deadline: &Deadline,
    on_attempt: impl FnMut(SocketAddr),
) -> io::Result<TcpStream> {
    let places: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
    connect_to(&places, deadline, on_attempt)
}

/// Connects to the first place that answers. `on_attempt` is called before each attempt.
pub(crate) fn connect_to(
    places: &[SocketAddr],
    deadline: &Deadline,
    mut on_attempt: impl FnMut(SocketAddr),
) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (nth, place) in places.iter().enumerate() {
        on_attempt(*place);
        let connected = match deadline.left()? {
            // One that is silent leaves half of the time to the next ones, as in curl.
            Some(left) if nth + 1 < places.len() => {
                TcpStream::connect_timeout(place, (left / 2).max(Duration::from_millis(1)))
            }
            Some(left) => TcpStream::connect_timeout(place, left),
            None => TcpStream::connect(place),
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

/// Looks up the places that a URL's host and port mean, those of one `family` of addresses if that
/// is set.
///
/// # Errors
/// Why the host has no address.
pub(crate) fn look_up(
    url: &Url,
    family: Option<Family>,
    deadline: &Deadline,
) -> Result<Vec<SocketAddr>, resolve::Failure> {
    let place = |ip: IpAddr| match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, url.port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, url.port, 0, url.scope()).into(),
    };
    let found = resolve::family_addresses(&url.host, family, deadline.at())?;
    Ok(found.into_iter().map(place).collect())
}

/// Speaks TLS on a connection if the URL asks for it, within the deadline.
pub(crate) fn secure_stream(
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

/// Sends a request, with what `upload` reads behind it, and reads the head of the answer. A server
/// that answers before it has read all, and refuses or reads no more, gets no more of it. With
/// `is_head` the answer has no body, whatever its head says.
///
/// The heads, also those of interim answers, are appended to `heads` as the server sent them, and
/// so are the lines that came before a failure: while there are none, the server has not answered
/// anything.
///
/// # Errors
/// `NoAnswer` if the server says nothing, `NotHttp` if it does not speak HTTP, `TimedOut`, `Send`
/// if it does not take the request, or what is wrong with the head.
pub(crate) fn exchange(
    stream: Stream,
    request: &[u8],
    upload: Option<&mut Upload<'_>>,
    is_head: bool,
    deadline: Deadline,
    idle: Option<Duration>,
    heads: &mut Vec<u8>,
) -> Result<Answer, Error> {
    let mut reader = BufReader::new(Timed { stream, deadline, idle, ahead: VecDeque::new() });
    let (head, is_early) = match send::send(&mut reader, request, upload, heads)? {
        Some(head) => (head, true),
        None => (head::final_head(&mut reader, heads)?, false),
    };
    Ok(Answer::new(head, reader, is_head, is_early))
}
