//! File descriptors that travel between processes.

use super::check;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials,
    recvmsg, sendmsg, setsockopt, socketpair, sockopt,
};
use parking_lot::Mutex;
use std::io::{self, IoSlice, IoSliceMut, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use tokio::io::{Interest, unix::AsyncFd};

/// Descriptors in one message; more are refused by `send`.
const FDS_MAX: usize = 16;
/// Bytes in one message; longer texts travel as a memfd.
const BYTES_MAX: usize = 8192;

/// Makes a pair of connected sockets that keep the borders of messages. Each end notices when the
/// other one is closed.
///
/// # Errors
/// `EMFILE`: no descriptor is left.
pub fn seqpacket() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends one message with descriptors: at most 8192 bytes and 16 descriptors.
///
/// # Errors
/// `InvalidInput`: the message is larger. `EPIPE`, `ECONNRESET`: the other end is closed.
/// `WouldBlock`: the socket does not block and its queue is full.
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

/// Receives one message and its descriptors; no bytes means that the other end is closed. If this
/// process has too few free numbers for the descriptors, the message comes without any and without
/// an error: the receiver must check whether it has what it needs.
///
/// # Errors
/// `ECONNRESET`: the other end was closed before it read everything. `WouldBlock`: the socket does
/// not block and no message waits.
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    receive_most(socket, FDS_MAX)
}

/// As [`receive`], with room for so many descriptors.
///
/// Not by nix: where the kernel could give a part of the descriptors only (`MSG_CTRUNC`), nix hides
/// the ones that it gave, and they would stay open for ever.
fn receive_most(socket: BorrowedFd<'_>, most: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0u8; BYTES_MAX];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: computes a size.
    let length = unsafe { libc::CMSG_SPACE((most * size_of::<RawFd>()) as u32) } as usize;
    let mut space = vec![0u64; length.div_ceil(size_of::<u64>())]; // aligned as a `cmsghdr` has to be
    // SAFETY: msghdr is plain data, for which all zeroes is "no address, no buffers".
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = space.as_mut_ptr().cast();
    header.msg_controllen = length as _;
    // SAFETY: `header` points to `part` and `space`, with their lengths, and `part` to `bytes`. All
    // of them outlive the call.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    bytes.truncate(check(count as i64)? as usize);
    // SAFETY: the kernel has just filled `header` and `space`.
    let fds = unsafe { descriptors_of(&header) };
    let is_cut = header.msg_flags & libc::MSG_CTRUNC != 0;
    Ok((bytes, if is_cut { Vec::new() } else { fds }))
}

/// Takes over the descriptors that came with a message.
///
/// # Safety
/// recvmsg(2) filled the header and the control messages that it points to, and no other code takes
/// its descriptors.
unsafe fn descriptors_of(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the header points to control messages that the kernel wrote, or to none.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: `at` is a whole control message, whose length covers its head and its data. The
        // kernel made the descriptors in it for this process alone.
        unsafe {
            if ((*at).cmsg_level, (*at).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let data = libc::CMSG_DATA(at).cast::<RawFd>();
                let (whole, head): (usize, usize) = ((*at).cmsg_len as _, libc::CMSG_LEN(0) as _);
                let count = whole.saturating_sub(head) / size_of::<RawFd>();
                let all = (0..count).map(|n| data.add(n).read_unaligned());
                fds.extend(all.map(|fd| OwnedFd::from_raw_fd(fd)));
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    fds
}

/// Sends a pid in a form that the kernel translates into the receiver's PID namespace. The sender
/// needs CAP_SYS_ADMIN over its own PID namespace, unless the pid is its own.
///
/// # Errors
/// `EPERM`: it lacks that capability. `ESRCH`: no such process. Else as [`send`].
pub(crate) fn send_pid(socket: BorrowedFd<'_>, pid: i32) -> io::Result<()> {
    let credentials = UnixCredentials::from(libc::ucred { pid, uid: 0, gid: 0 });
    let control = [ControlMessage::ScmCredentials(&credentials)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"pid")], &control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Lets [`receive_pid`] see the pid (`SO_PASSCRED`). To be called before the other end sends.
///
/// # Errors
/// The descriptor is not a Unix socket.
pub(crate) fn accept_pids(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&socket.as_fd(), sockopt::PassCred, &true)?)
}

/// Receives the pid of a [`send_pid`], as this process' PID namespace counts; `None` if the other
/// end is closed, or the message came without a pid.
///
/// # Errors
/// As [`receive`].
pub(crate) fn receive_pid(socket: BorrowedFd<'_>) -> io::Result<Option<i32>> {
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

/// Makes a pipe whose ends are closed by an exec: (read, write).
///
/// # Errors
/// `EMFILE`: no descriptor is left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}

/// Makes a file in memory (memfd) that holds the text, to be read from its start: one descriptor
/// for text of any length.
///
/// # Errors
/// No descriptor or no memory is left.
pub fn memory_file(text: &[u8]) -> io::Result<OwnedFd> {
    let fd = nix::sys::memfd::memfd_create(c"message", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(text)?;
    file.rewind()?;
    Ok(file.into())
}

/// Lets the descriptor survive an exec, which has to be the next thing that this process does: a
/// descriptor that is not close-on-exec counts as one without an owner ([`is_close_on_exec`]).
///
/// # Errors
/// fcntl(2) refuses, which it does only if a filter forbids the call.
pub(crate) fn keep_over_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    Ok(())
}

/// Lets an exec close the descriptor.
///
/// # Errors
/// As [`keep_over_exec`].
pub(crate) fn close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// Makes reads and writes return `WouldBlock` instead of waiting. All copies of the descriptor
/// share this flag, also those in other processes.
///
/// # Errors
/// `EBADF`: it was opened with `O_PATH`.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let now = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(now | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Returns whether an exec closes the descriptor under this number. Every descriptor that a value
/// in this program owns is closed by one; those that came over an exec, and those of a shell's
/// script, are not.
///
/// # Errors
/// `EBADF`: no descriptor is open under the number.
pub(crate) fn is_close_on_exec(number: RawFd) -> io::Result<bool> {
    // SAFETY: F_GETFD takes no pointers, changes nothing, and fails for a number that is not open.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    Ok(flags & i64::from(libc::FD_CLOEXEC) != 0)
}

/// Held while a descriptor is taken over, so that two threads do not take the same one.
static TAKING: Mutex<()> = Mutex::new(());

/// Takes over a descriptor that the parent process left open under a number that it passed on, e.g.
/// in an argument. It can be taken once: from then on it is close-on-exec, as every descriptor is
/// that has an owner.
///
/// # Errors
/// `EBADF`: no descriptor is open under the number, it is a standard stream (0 to 2), or it has an
/// owner in this program.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    let _taking = TAKING.lock();
    if number <= 2 || is_close_on_exec(number)? {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: open, and without an owner in this program: it is not close-on-exec. The lock is held
    // until it is.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    close_on_exec(fd.as_fd())?;
    Ok(fd)
}

/// Raises the number of descriptors that this process may have to its hard limit, but not above
/// 1048576, and returns the new number.
///
/// # Errors
/// A filter refuses the call.
pub fn raise_limit() -> io::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let want = hard.min(1 << 20).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, want, hard)?;
    Ok(want)
}

/// Wraps a descriptor whose readiness async code can wait for. It is made non-blocking. Needs the
/// async runtime.
///
/// # Errors
/// `EPERM`: epoll does not watch this kind of file, e.g. a regular one. Else as
/// [`set_nonblocking`].
pub fn async_fd(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    set_nonblocking(fd.as_fd())?;
    // SAFETY: an `OwnedFd` stays open, and keeps its number, until the `AsyncFd` that owns it is
    // dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// A socket of `seqpacket` for async code.
pub struct Socket(AsyncFd<OwnedFd>);

impl Socket {
    /// Wraps one end of a [`seqpacket`] pair.
    ///
    /// # Errors
    /// As [`async_fd`].
    pub fn new(fd: OwnedFd) -> io::Result<Socket> {
        Ok(Socket(async_fd(fd, Interest::READABLE | Interest::WRITABLE)?))
    }

    /// As [`send`], but waits while the queue is full.
    ///
    /// # Errors
    /// `InvalidInput`: the message is too large. `EPIPE`, `ECONNRESET`: the other end is closed.
    pub async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, |fd| send(fd.as_fd(), bytes, fds)).await
    }

    /// As [`receive`], but waits for a message.
    ///
    /// # Errors
    /// `ECONNRESET`: the other end was closed before it read everything.
    pub async fn receive(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        self.0.async_io(Interest::READABLE, |fd| receive(fd.as_fd())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
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

    #[test]
    fn an_inherited_descriptor_is_taken_once_and_an_owned_one_never() {
        use std::os::fd::IntoRawFd;
        let own = memory_file(b"").unwrap();
        let number = own.as_raw_fd();
        assert_eq!(take_inherited(number).unwrap_err().raw_os_error(), Some(libc::EBADF));
        keep_over_exec(own.as_fd()).unwrap();
        let number = own.into_raw_fd(); // as it is after an exec: open, and without an owner
        let taken = take_inherited(number).unwrap();
        assert_eq!(take_inherited(number).unwrap_err().raw_os_error(), Some(libc::EBADF));
        drop(taken);
        assert_eq!(take_inherited(1).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    /// As where this process has too few free numbers: the kernel gives the first ones.
    #[test]
    fn descriptors_of_a_message_that_lacks_some_are_closed() {
        let (a, b) = seqpacket().unwrap();
        let (read, write) = pipe().unwrap();
        send(a.as_fd(), b"four", &[write.as_fd(); 4]).unwrap();
        drop(write);
        let (bytes, fds) = receive_most(b.as_fd(), 2).unwrap();
        assert_eq!((&bytes[..], fds.len()), (&b"four"[..], 0));
        let mut ended = [PollFd::new(read.as_fd(), PollFlags::POLLIN)];
        let count = poll(&mut ended, PollTimeout::from(20_000u16)).unwrap();
        assert_eq!(count, 1, "the pipe ends with its last writer");
    }
}
