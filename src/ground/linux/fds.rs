//! File descriptors that travel between processes.

use super::check;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials,
    recvmsg, sendmsg, setsockopt, socketpair, sockopt,
};
use std::io::{self, IoSlice, IoSliceMut, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use tokio::io::{Interest, unix::AsyncFd};

/// Descriptors in one message; more are refused by `send`.
const FDS_MAX: usize = 16;
/// Bytes in one message; longer texts travel as a memfd.
const BYTES_MAX: usize = 8192;

/// Two ends that keep message borders and notice each other's end.
pub fn seqpacket() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends one message with descriptors.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &rights[..0] } else { &rights[..] };
    if raw.len() > FDS_MAX || bytes.len() > BYTES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// One message and its descriptors; no bytes means that the other end is gone. Without a free
/// number for a descriptor that came along the message has none: the receiver must look whether it
/// has what it needs.
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; BYTES_MAX];
    let mut space = nix::cmsg_space!([RawFd; FDS_MAX]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for control in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel just made these descriptors for us; nobody else knows them.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let length = message.bytes;
    bytes.truncate(length);
    Ok((bytes, fds))
}

/// Sends a pid in a form that the kernel translates into the receiver's PID namespace. Needs
/// CAP_SYS_ADMIN there.
pub fn send_pid(socket: BorrowedFd<'_>, pid: i32) -> io::Result<()> {
    let credentials = UnixCredentials::from(libc::ucred { pid, uid: 0, gid: 0 });
    let control = [ControlMessage::ScmCredentials(&credentials)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"pid")], &control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Lets `receive_pid` see who is meant; before the other end sends.
pub fn accept_pids(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&socket.as_fd(), sockopt::PassCred, &true)?)
}

/// The pid of a `send_pid`, as this process' PID namespace counts; `None` if the other end is gone.
pub fn receive_pid(socket: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut bytes = [0; 8];
    let mut space = nix::cmsg_space!(libc::ucred);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty())?;
    if message.bytes == 0 {
        return Ok(None);
    }
    let pid = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid()),
        _ => None,
    });
    Ok(pid)
}

/// A pipe whose ends are closed by an exec: (read, write).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}

/// Text of any length as one descriptor, to be read from its start.
pub fn memory_file(text: &[u8]) -> io::Result<OwnedFd> {
    let fd = nix::sys::memfd::memfd_create(c"message", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(text)?;
    file.rewind()?;
    Ok(file.into())
}

/// The descriptor survives an exec.
pub fn keep_over_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    Ok(())
}

/// The descriptor is closed by an exec.
pub fn close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(())
}

pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let now = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(now | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Takes over a descriptor that the parent process left open under a number it told us, e.g. in an
/// argument.
///
/// Errors: `EBADF` if there is none. Call it once for a number.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: F_GETFD takes no pointers and fails for a number that is not open.
    check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    // SAFETY: open, and by this function's contract nobody in this program owns it yet.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    close_on_exec(fd.as_fd())?;
    Ok(fd)
}

/// Raises the number of descriptors this process may have to what it is allowed to.
pub fn raise_limit() -> io::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let want = hard.min(1 << 20).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, want, hard)?;
    Ok(want)
}

/// A descriptor whose readiness async code can wait for. It is made non-blocking.
pub fn async_fd(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    set_nonblocking(fd.as_fd())?;
    // SAFETY: an `OwnedFd` stays open, and keeps its number, until the `AsyncFd` that owns it is
    // dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// A socket of `seqpacket` for async code.
pub struct Socket(AsyncFd<OwnedFd>);

impl Socket {
    pub fn new(fd: OwnedFd) -> io::Result<Socket> {
        Ok(Socket(async_fd(fd, Interest::READABLE | Interest::WRITABLE)?))
    }

    pub async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, |fd| send(fd.as_fd(), bytes, fds)).await
    }

    /// One message and its descriptors; no bytes means that the other end is gone.
    pub async fn receive(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        self.0.async_io(Interest::READABLE, |fd| receive(fd.as_fd())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_message_arrives_with_its_descriptors_and_borders() {
        let (a, b) = seqpacket().unwrap();
        let text = memory_file(b"a long text").unwrap();
        send(a.as_fd(), b"one", &[text.as_fd()]).unwrap();
        send(a.as_fd(), b"two", &[]).unwrap();
        drop(a);
        let (bytes, mut fds) = receive(b.as_fd()).unwrap();
        let mut read = String::new();
        std::fs::File::from(fds.remove(0)).read_to_string(&mut read).unwrap();
        assert_eq!((&bytes[..], read.as_str()), (&b"one"[..], "a long text"));
        assert_eq!(receive(b.as_fd()).unwrap().0, b"two");
        assert_eq!(receive(b.as_fd()).unwrap().0, b"");
    }
}
