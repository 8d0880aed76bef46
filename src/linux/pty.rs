//! Terminals.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Makes a terminal in this process' own devpts instance and makes it the controlling terminal of a new session. Returns the
/// master and the terminal. For a process that was just made.
pub fn become_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    // SAFETY: setsid takes nothing.
    check(unsafe { libc::setsid() }.into())?;
    let path = c"/dev/ptmx".as_ptr();
    // SAFETY: a literal path and flags; a non-negative answer is a new descriptor of ours.
    let master = unsafe {
        let fd = check(libc::open(path, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC).into())?;
        OwnedFd::from_raw_fd(fd as i32)
    };
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which outlives the call.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) }.into())?;
    // TIOCGPTPEER needs no look-up of /dev/pts/N, which could be somebody else's by then.
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

/// Tells the program on the terminal its size in character cells (it gets SIGWINCH).
pub fn resize(master: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which outlives the call.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into()).map(drop)
}

/// Bytes that a program could read from a terminal now; with the kernel's line editor on, those of whole lines.
///
/// # Errors
/// `ENOTTY` if it is none.
pub fn unread(terminal: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD fills one int, which outlives the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::FIONREAD as _, &raw mut count) }.into())?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The size of a terminal in character cells, (columns, rows).
///
/// Errors: `ENOTTY` if it is none.
pub fn size(terminal: BorrowedFd<'_>) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills one winsize, which outlives the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok((size.ws_col, size.ws_row))
}
