//! Terminals.

use super::check;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Makes a terminal in this process' own devpts instance and makes it the controlling terminal of a
/// new session. Returns the master and the terminal. For a process that was just made.
///
/// # Errors
/// `EPERM`: this process leads a session or a process group already. There is no terminal
/// multiplexer at /dev/pts/ptmx and /dev/ptmx, or all terminals are taken.
pub fn become_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    // SAFETY: setsid takes nothing.
    check(unsafe { libc::setsid() }.into())?;
    let master = open_multiplexer(c"/dev/pts/ptmx").or_else(|_| open_multiplexer(c"/dev/ptmx"))?;
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which outlives the call.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) }.into())?;
    // TIOCGPTPEER needs no look-up of /dev/pts/N, which could name another terminal by then.
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes flags by value; a non-negative answer is a new descriptor of ours.
    let terminal = unsafe {
        let fd = check(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags).into())?;
        OwnedFd::from_raw_fd(fd as i32)
    };
    // SAFETY: takes an int by value.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into())?;
    Ok((master, terminal))
}

/// The device that makes terminals has this number (Documentation/admin-guide/devices.txt).
const MULTIPLEXER: (u64, u64) = (5, 2);

/// Opens a terminal multiplexer by a path in a container, whose root may have put something else
/// there.
fn open_multiplexer(path: &CStr) -> io::Result<OwnedFd> {
    let place = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: a string that outlives the call, and flags; a non-negative answer is a new descriptor
    // of ours.
    let place = unsafe { OwnedFd::from_raw_fd(check(libc::open(path.as_ptr(), place).into())? as i32) };
    let is_one = |fd: &OwnedFd| -> io::Result<()> {
        let found = nix::sys::stat::fstat(fd)?;
        let number = (nix::sys::stat::major(found.st_rdev), nix::sys::stat::minor(found.st_rdev));
        match found.st_mode & libc::S_IFMT == libc::S_IFCHR && number == MULTIPLEXER {
            true => Ok(()),
            false => Err(io::Error::other(format!("{path:?} is no terminal multiplexer"))),
        }
    };
    is_one(&place)?; // only then is it opened: the open of another device or of a FIFO could block
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: as above.
    let master = unsafe { OwnedFd::from_raw_fd(check(libc::open(path.as_ptr(), flags).into())? as i32) };
    is_one(&master)?;
    Ok(master)
}

/// Tells the program on the terminal its size in character cells (it gets SIGWINCH).
///
/// # Errors
/// `ENOTTY`: the descriptor is not a terminal's.
pub fn resize(master: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which outlives the call.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into()).map(drop)
}

/// Returns how many bytes a program could read from a terminal now; with the kernel's line editor
/// on, those of whole lines.
///
/// # Errors
/// `ENOTTY` if it is none.
pub fn unread(terminal: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD fills one int, which outlives the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::FIONREAD as _, &raw mut count) }.into())?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Returns the size of a terminal in character cells, (columns, rows).
///
/// # Errors
/// `ENOTTY`: the descriptor is not a terminal's.
pub fn size(terminal: BorrowedFd<'_>) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills one winsize, which outlives the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok((size.ws_col, size.ws_row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::ffi::CString;
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_terminal_tells_its_size_and_how_much_can_be_read_in_whole_lines() {
        let pair = nix::pty::openpty(None, None).unwrap();
        let (master, terminal) = (pair.master.as_fd(), pair.slave.as_fd());
        resize(master, 132, 43).unwrap();
        assert_eq!(size(terminal).unwrap(), (132, 43));
        nix::unistd::write(master, b"half").unwrap();
        assert_eq!(unread(terminal).unwrap(), 0);
        nix::unistd::write(master, b" a line\n").unwrap();
        // The kernel hands it on a moment later.
        let mut readable = [PollFd::new(terminal, PollFlags::POLLIN)];
        assert_eq!(poll(&mut readable, PollTimeout::from(20_000u16)).unwrap(), 1);
        assert_eq!(unread(terminal).unwrap(), "half a line\n".len());
        let null = std::fs::File::open("/dev/null").unwrap();
        let refused =
            [resize(null.as_fd(), 1, 1), size(null.as_fd()).map(drop), unread(null.as_fd()).map(drop)];
        for refused in refused {
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        }
    }

    /// The open of a FIFO would block, that of a device can have an effect.
    #[test]
    fn what_a_container_puts_in_the_place_of_the_multiplexer_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ptmx");
        let opened = || {
            let path = CString::new(path.as_os_str().as_bytes()).unwrap();
            open_multiplexer(&path).map(drop).unwrap_err()
        };
        assert_eq!(opened().raw_os_error(), Some(libc::ENOENT));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(opened().to_string().contains("no terminal multiplexer"));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(opened().to_string().contains("no terminal multiplexer"));
    }
}
