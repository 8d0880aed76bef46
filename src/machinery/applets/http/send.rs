//! The way of a request to the server.

use super::{Head, Stream, Timed, final_head, read_head};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send as send_part};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Bytes that are read from an upload at once.
const PART: usize = 64 * 1024;

/// What stands behind the head of a request.
pub(crate) struct Upload<'a> {
    /// Where it comes from. It is read as it is sent, so that its length does not matter.
    pub content: &'a mut dyn Read,
    /// The length that was announced. Without one it goes out in chunks (RFC 9112, 7.1).
    pub length: Option<u64>,
    /// Bytes that were sent so far.
    pub sent: u64,
}

/// Why sending stopped.
enum Stop {
    /// The server has something to say.
    Answered,
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Sends a request. Returns the head of an answer that came before all was sent and that ends the
/// exchange.
///
/// # Errors
/// `TimedOut`, `BrokenPipe` if the server takes no more and says nothing, or what the content's own
/// reader said.
pub(super) fn send(
    reader: &mut BufReader<Timed>,
    request: &[u8],
    upload: Option<&mut Upload<'_>>,
) -> io::Result<Option<Head>> {
    let mut early = None;
    match send_all(reader, request, upload, &mut early) {
        Ok(()) => Ok(early),
        Err(Stop::Answered) => Ok(early),
        Err(Stop::Failed(e)) if is_hang_up(&e) && early.is_some() => Ok(early),
        Err(Stop::Failed(e)) if is_hang_up(&e) => match final_head(reader) {
            // It may have refused what it did not want to read.
            Ok(head) => Ok(Some(head)),
            Err(_) => Err(io::Error::new(io::ErrorKind::BrokenPipe, super::super::reason(&e))),
        },
        Err(Stop::Failed(e)) => Err(e),
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn send_all(
    reader: &mut BufReader<Timed>,
    request: &[u8],
    upload: Option<&mut Upload<'_>>,
    early: &mut Option<Head>,
) -> Result<(), Stop> {
    write_all(reader, request, early)?;
    let Some(upload) = upload else { return Ok(reader.get_mut().stream.flush()?) };
    let chunked = upload.length.is_none();
    let mut part = vec![0; PART];
    loop {
        let count = match upload.content.read(&mut part) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|e| io::Error::other(UnreadableUpload(e)))?,
        };
        if count == 0 && upload.length.is_some_and(|length| upload.sent < length) {
            let shorter = io::Error::other("it got shorter while it was sent");
            return Err(io::Error::other(UnreadableUpload(shorter)).into());
        }
        if chunked {
            write_all(reader, format!("{count:x}\r\n").as_bytes(), early)?;
        }
        write_all(reader, &part[..count], early)?;
        if chunked {
            write_all(reader, b"\r\n", early)?;
        }
        upload.sent += count as u64;
        if count == 0 {
            return Ok(reader.get_mut().stream.flush()?);
        }
    }
}

/// The content of an upload could not be read: that is no failure of the connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UnreadableUpload(io::Error);

/// True if the content of an upload could not be read.
pub(crate) fn is_unreadable_upload(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<UnreadableUpload>())
}

/// Writes within the deadline, however slowly the server reads.
fn write_all(reader: &mut BufReader<Timed>, bytes: &[u8], early: &mut Option<Head>) -> Result<(), Stop> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = match write_part(reader.get_mut(), rest, early.is_none()) {
            Ok(written) => written,
            Err(Stop::Answered) => {
                let head = read_head(reader)?;
                let refused = head.status >= 400;
                if !super::is_interim(&head) {
                    *early = Some(head);
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

/// Writes what the connection takes now. With `listen`, an answer that comes first stops it; TLS
/// hears no answers meanwhile, because its records are not only answers.
fn write_part(to: &mut Timed, bytes: &[u8], listen: bool) -> Result<usize, Stop> {
    let left = to.deadline.left()?.into_iter().chain(to.idle).min();
    let tcp = match &mut to.stream {
        Stream::Plain(tcp) => tcp,
        Stream::Tls(tls) => {
            (tls.sock.until, tls.sock.idle) = (to.deadline.at(), to.idle);
            return Ok(tls.write(bytes)?);
        }
    };
    let wanted = if listen { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLOUT };
    let wait = left.map(|left| left + Duration::from_micros(999));
    let wait = wait.map_or(PollTimeout::NONE, |wait| PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX));
    let mut polled = [PollFd::new(tcp.as_fd(), wanted)];
    match poll(&mut polled, wait) {
        Ok(0) => return Err(Stop::Failed(io::ErrorKind::TimedOut.into())),
        Ok(_) | Err(Errno::EINTR) => {}
        Err(e) => return Err(Stop::Failed(e.into())),
    }
    let ready = polled[0].revents().unwrap_or(PollFlags::empty());
    if listen
        && ready.contains(PollFlags::POLLIN)
        && !ready.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
    {
        return Err(Stop::Answered);
    }
    match send_part(tcp.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Ok(written) => Ok(written),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
        Err(e) => Err(Stop::Failed(e.into())),
    }
}
