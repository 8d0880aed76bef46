//! HTTP/1.1 over TCP or TLS, as `curl` and `wget` need it. Blocking: such a program does one thing
//! at a time.

use super::resolve;
use super::tls;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

mod error;
mod head;
mod send;
#[cfg(test)]
pub(crate) mod tests;
mod url;

pub(crate) use error::{BadChunk, Error};
pub(crate) use head::{HEAD_MAX, Head};
pub(crate) use send::Upload;
pub(crate) use url::{BadUrl, Url, zone};

/// Headers of the user, in lower case, that are meant for the first server alone: they say who the
/// user is, or name that server. A server that a redirect leads to does not get them.
pub(crate) const OF_THE_FIRST: [&str; 3] = ["authorization", "cookie", "host"];

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

/// Connects to a port of the first address that answers; `told` hears of each attempt.
pub(crate) fn connect(
    addresses: &[IpAddr],
    port: u16,
    deadline: &Deadline,
    told: impl FnMut(SocketAddr),
) -> io::Result<TcpStream> {
    let places: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
    connect_to(&places, deadline, told)
}

/// Connects to the first place that answers; `told` hears of each attempt.
pub(crate) fn connect_to(
    places: &[SocketAddr],
    deadline: &Deadline,
    mut told: impl FnMut(SocketAddr),
) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (nth, place) in places.iter().enumerate() {
        told(*place);
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

/// The places that a URL's host and port mean.
pub(crate) fn look_up(url: &Url, deadline: &Deadline) -> Result<Vec<SocketAddr>, resolve::Failure> {
    let place = |ip: IpAddr| match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, url.port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, url.port, 0, url.scope()).into(),
    };
    Ok(resolve::addresses(&url.host, deadline.at())?.into_iter().map(place).collect())
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

/// An answer whose body is read part by part.
pub(crate) struct Answer {
    pub head: Head,
    /// The length of the body, if that is how the server announced its end.
    pub length: Option<u64>,
    /// Headers that came behind a body in chunks, as the server sent them.
    pub trailers: Vec<u8>,
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
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.limit(&self.deadline, self.idle)?;
        self.stream.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => e,
        })
    }
}

/// Sends a request, with what `upload` reads behind it, and reads the head of the answer. A server
/// that answers before it has read all, and refuses, gets no more of it. With `is_head` the answer
/// has no body, whatever its head says.
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
    let mut reader = BufReader::new(Timed { stream, deadline, idle });
    let (head, is_early) = match send::send(&mut reader, request, upload, heads)? {
        Some(head) => (head, true),
        None => (head::final_head(&mut reader, heads)?, false),
    };
    let codings = head.get("transfer-encoding");
    let framing = match head.length {
        _ if head.is_cut || is_head || head.is_bodyless() => Framing::Over,
        _ if head.status == head::SWITCHING => Framing::UntilClose,
        _ if codings.is_some_and(is_chunked) => Framing::Chunked(None),
        // With another coding the length is not to be trusted (RFC 9112, 6.3).
        Some(length) if codings.is_none() => Framing::Length(length),
        _ => Framing::UntilClose,
    };
    let length = if let Framing::Length(length) = framing { Some(length) } else { None };
    Ok(Answer { head, length, trailers: Vec::new(), reader, framing, is_early })
}

/// Whether one of the codings of a `Transfer-Encoding` is `chunked`.
fn is_chunked(codings: &str) -> bool {
    codings.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

/// Digits of a chunk's size, at most.
const SIZE_DIGITS: usize = 16;

impl Answer {
    /// The address we spoke to, and ours.
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let stream = self.reader.get_ref().stream.tcp();
        (stream.peer_addr().ok(), stream.local_addr().ok())
    }

    /// Whether the connection can carry another request once the body was read.
    fn is_kept(&self) -> bool {
        self.head.keeps && !self.is_early && self.framing != Framing::UntilClose
    }

    /// The connection, if the answer was read to its end and the server keeps it (RFC 9112, 9.3).
    pub(crate) fn into_stream(self) -> Option<Stream> {
        let is_over =
            matches!(self.framing, Framing::Over | Framing::Length(0)) && self.reader.buffer().is_empty();
        (is_over && self.is_kept()).then(|| self.reader.into_inner().stream)
    }

    /// Reads a part of the body. Returns how many bytes; 0 is its end.
    ///
    /// # Errors
    /// `TimedOut`, `Cut`, `Chunk`, or why nothing comes.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
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
        let missing = if let Framing::Length(left) = self.framing { Some(left) } else { None };
        let read = match self.reader.read(&mut buffer[..wanted]) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(Error::Cut { missing }),
            read => read?,
        };
        match &mut self.framing {
            Framing::Length(_) | Framing::Chunked(_) if read == 0 && wanted > 0 => {
                Err(Error::Cut { missing })
            }
            Framing::Length(left) | Framing::Chunked(Some(left)) => {
                *left -= read as u64;
                Ok(read)
            }
            _ => Ok(read),
        }
    }

    /// Reads the body to its end, or to `limit` bytes.
    ///
    /// # Errors
    /// As [`Answer::read`].
    pub(crate) fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let (mut body, mut buffer) = (Vec::new(), [0; 8 * 1024]);
        while body.len() < limit {
            let wanted = buffer.len().min(limit - body.len());
            match self.read(&mut buffer[..wanted])? {
                0 => break,
                count => body.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(body)
    }

    /// Leaves the body unread if the connection ends behind it, and else reads it to its end,
    /// behind which the next answer stands. Bytes are counted in `read`.
    ///
    /// # Errors
    /// As [`Answer::read`]. A body that is shorter than announced is no error: it was not wanted.
    pub(crate) fn skip_body(&mut self, read: &mut u64) -> Result<(), Error> {
        if !self.is_kept() {
            return Ok(());
        }
        let mut buffer = [0; 8 * 1024];
        loop {
            match self.read(&mut buffer) {
                Ok(0) | Err(Error::Cut { missing: Some(_) }) => return Ok(()),
                Ok(count) => *read += count as u64,
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads the head of the next chunk, and what stands behind the content of the one before.
    fn next_chunk(&mut self, is_first: bool) -> Result<(), Error> {
        if !is_first {
            self.end_chunk()?;
        }
        let size = self.chunk_size()?;
        self.framing = Framing::Chunked(Some(size));
        if size == 0 {
            self.read_trailers()?;
            self.framing = Framing::Over;
        }
        Ok(())
    }

    /// Reads the end of the line behind the content of a chunk.
    fn end_chunk(&mut self) -> Result<(), Error> {
        loop {
            match self.byte()? {
                b'\n' => return Ok(()),
                b'\r' => {}
                _ => return Err(Error::Chunk(BadChunk::End)),
            }
        }
    }

    fn chunk_size(&mut self) -> Result<u64, Error> {
        let mut digits = String::new();
        let mut byte = self.byte()?;
        while byte.is_ascii_hexdigit() {
            if digits.len() == SIZE_DIGITS {
                return Err(Error::Chunk(BadChunk::LongSize));
            }
            digits.push(char::from(byte));
            byte = self.byte()?;
        }
        // As curl, which counts bytes in 63 bits.
        let size = i64::from_str_radix(&digits, 16).map_err(|_| Error::Chunk(BadChunk::Size))?;
        // Extensions of the chunk mean nothing here.
        while byte != b'\n' {
            byte = self.byte()?;
        }
        Ok(size.unsigned_abs())
    }

    fn read_trailers(&mut self) -> Result<(), Error> {
        loop {
            let mut line = Vec::new();
            if !head::read_line(&mut self.reader, &mut line, b"")? {
                return Err(Error::Cut { missing: None });
            }
            if line.starts_with(b"\r") || line.starts_with(b"\n") {
                return Ok(());
            }
            self.trailers.extend(line);
            if self.trailers.len() > head::HEAD_MAX {
                return Err(Error::LongHead(self.trailers.len()));
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}
