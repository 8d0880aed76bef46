//! The way of a request to the server.

use super::error::Error;
use super::head::{Head, final_head, read_head};
use super::stream::{Stream, Timed};
use clock::Instant;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send as send_part};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Bytes that are read from an upload at once.
const PART: usize = 64 * 1024;

/// Bytes of an answer that are kept while the request is still being sent, at most. A server that
/// says more and does not read gets no more.
const AHEAD_MAX: usize = 1024 * 1024;

/// The status that gives leave to send the body.
const CONTINUE: u16 = 100;

/// What stands behind the head of a request.
pub(crate) struct Upload<'a> {
    /// Where it comes from. It is read as it is sent, so that its length does not matter.
    pub content: &'a mut dyn Read,
    /// The length that was announced. Without one it goes out in chunks (RFC 9112, 7.1).
    pub length: Option<u64>,
    /// Bytes that were sent so far.
    pub sent: u64,
    /// The head asks for leave with `Expect: 100-continue`: so long the body waits for it (RFC
    /// 9110, 10.1.1).
    pub expects: Option<Duration>,
    pub progress: Progress,
}

/// How an upload went, for a program that shows it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes of heads that had come when the body was begun; `None` if it was not.
    pub heads: Option<usize>,
    /// Bytes of the first part of the body, with the frame of its chunk.
    pub first: usize,
    /// The wait for leave was over before leave came.
    pub has_waited: bool,
    /// All was sent.
    pub is_whole: bool,
}

/// Why sending stopped.
enum Stop {
    /// The server has sent something, or so much that it gets no more of the request.
    Answered,
    /// The connection takes no more.
    Lost(io::Error),
    Failed(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Lost(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// What came from the server while the request was sent.
struct Received<'a> {
    /// The head of an answer that came before all was sent.
    early: Option<Head>,
    /// The lines of all heads.
    lines: &'a mut Vec<u8>,
}

/// Sends a request. Returns the head of an answer that came before all was sent and that ends the
/// exchange. The lines of heads are appended to `heads`.
///
/// # Errors
/// `TimedOut`, `Send` if the server takes no more and says nothing, `Upload`, or what is wrong with
/// the head.
pub(super) fn send(
    reader: &mut BufReader<Timed>,
    request: &[u8],
    upload: Option<&mut Upload<'_>>,
    heads: &mut Vec<u8>,
) -> Result<Option<Head>, Error> {
    let mut received = Received { early: None, lines: heads };
    match send_all(reader, request, upload, &mut received) {
        Ok(()) | Err(Stop::Answered) => Ok(received.early),
        Err(Stop::Failed(e)) => Err(e),
        Err(Stop::Lost(e)) if is_hang_up(&e) && received.early.is_some() => Ok(received.early),
        Err(Stop::Lost(e)) if is_hang_up(&e) => match final_head(reader, received.lines) {
            // The server may have refused a body that it did not want to read.
            Ok(head) => Ok(Some(head)),
            Err(_) => Err(Error::Send(e)),
        },
        Err(Stop::Lost(e)) => Err(Error::sending(e)),
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn send_all(
    reader: &mut BufReader<Timed>,
    request: &[u8],
    upload: Option<&mut Upload<'_>>,
    received: &mut Received<'_>,
) -> Result<(), Stop> {
    write_all(reader, request, received)?;
    let Some(upload) = upload else { return Ok(reader.get_mut().stream.flush()?) };
    if let Some(wait) = upload.expects {
        reader.get_mut().stream.flush()?;
        upload.progress.has_waited = !await_leave(reader, wait, received)?;
    }
    upload.progress.heads = Some(received.lines.len());
    let chunked = upload.length.is_none();
    let mut part = vec![0; PART];
    loop {
        let count = match upload.content.read(&mut part) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(Error::Upload)?,
        };
        if count == 0 && upload.length.is_some_and(|length| upload.sent < length) {
            let shorter = io::Error::other("it got shorter while it was sent");
            return Err(Stop::Failed(Error::Upload(shorter)));
        }
        let size = if chunked { format!("{count:x}\r\n") } else { String::new() };
        let end: &[u8] = if chunked { b"\r\n" } else { b"" };
        if upload.sent == 0 && count > 0 {
            upload.progress.first = size.len() + count + end.len();
        }
        write_all(reader, size.as_bytes(), received)?;
        write_all(reader, &part[..count], received)?;
        write_all(reader, end, received)?;
        upload.sent += count as u64;
        if count == 0 {
            upload.progress.is_whole = true;
            return Ok(reader.get_mut().stream.flush()?);
        }
    }
}

/// Waits for `100 Continue`. Many servers never send one, so the body follows after `wait` all the
/// same; a final answer takes its place. Returns false if none came in time.
fn await_leave(
    reader: &mut BufReader<Timed>,
    wait: Duration,
    received: &mut Received<'_>,
) -> Result<bool, Stop> {
    let begun = Instant::now();
    loop {
        let left = wait.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        let idle = reader.get_ref().idle;
        reader.get_mut().idle = Some(idle.map_or(left, |idle| idle.min(left)));
        let waited = reader.fill_buf().map(|_| ());
        reader.get_mut().idle = idle;
        match waited {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            // Either the wait is over or the deadline is, which the loop and the sending find out.
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                reader.get_ref().deadline.left()?;
                continue;
            }
            // If the server ended the connection, the reading of the head says so.
            _ => {}
        }
        let head = read_head(reader, received.lines)?;
        let may_go_on = head.status == CONTINUE;
        if !head.is_interim() {
            received.early = Some(head);
            return Err(Stop::Answered);
        }
        if may_go_on {
            return Ok(true);
        }
    }
}

/// Writes within the deadline, however slowly the server reads.
fn write_all(reader: &mut BufReader<Timed>, bytes: &[u8], received: &mut Received<'_>) -> Result<(), Stop> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = match write_part(reader.get_mut(), rest, received.early.is_none()) {
            Ok(written) => written,
            Err(Stop::Answered) if received.early.is_none() => {
                let head = read_head(reader, received.lines)?;
                let refused = head.status >= 400;
                if !head.is_interim() {
                    received.early = Some(head);
                }
                if refused {
                    return Err(Stop::Answered);
                }
                continue;
            }
            Err(failed) => return Err(failed),
        };
        rest = &rest[written..];
    }
    Ok(())
}

/// Writes what the connection takes now. With `listen`, an answer that comes first stops it.
/// Without, what the server goes on to say is kept for later: a server that reads only while it is
/// read would wait for ever. TLS hears no answers meanwhile, because its records are not only
/// answers.
fn write_part(to: &mut Timed, bytes: &[u8], listen: bool) -> Result<usize, Stop> {
    let left = to.deadline.left()?.into_iter().chain(to.idle).min();
    let tcp = match &mut to.stream {
        Stream::Plain(tcp) => tcp,
        Stream::Tls(tls) => {
            (tls.sock.until, tls.sock.idle) = (to.deadline.at(), to.idle);
            return Ok(tls.write(bytes)?);
        }
    };
    let wait = left.map(|left| left + Duration::from_micros(999));
    let wait = wait.map_or(PollTimeout::NONE, |wait| PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX));
    let mut polled = [PollFd::new(tcp.as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT)];
    match poll(&mut polled, wait) {
        Ok(0) => return Err(Stop::Lost(io::ErrorKind::TimedOut.into())),
        Ok(_) | Err(Errno::EINTR) => {}
        Err(e) => return Err(Stop::Lost(e.into())),
    }
    let ready = polled[0].revents().unwrap_or(PollFlags::empty());
    if listen
        && ready.contains(PollFlags::POLLIN)
        && !ready.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
    {
        return Err(Stop::Answered);
    }
    if !listen && ready.contains(PollFlags::POLLIN) && !ready.contains(PollFlags::POLLOUT) {
        let mut buffer = [0; 16 * 1024];
        let count = match recv(tcp.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(0),
            received => received.map_err(|e| Stop::Lost(e.into()))?,
        };
        to.ahead.extend(&buffer[..count]);
        let has_ended = count == 0;
        return if has_ended || to.ahead.len() >= AHEAD_MAX { Err(Stop::Answered) } else { Ok(0) };
    }
    match send_part(tcp.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Ok(written) => Ok(written),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
        Err(e) => Err(Stop::Lost(e.into())),
    }
}
