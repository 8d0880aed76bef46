//! The learner's own terminal: raw while a program runs on it, and left as it was found.

use crate::linux::pty;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

/// Standard input and output are a terminal.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Colours are wanted: a terminal, and nobody said no.
pub fn colours() -> bool {
    io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// (columns, rows); 80 by 24 where nobody knows.
pub fn size() -> (u16, u16) {
    match pty::size(io::stdout().as_fd()) {
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns, rows),
        _ => (80, 24),
    }
}

/// Puts the terminal's settings back when dropped: at the end, at a signal, at a panic.
pub struct AsFound(Option<Termios>);

impl AsFound {
    pub fn keep() -> AsFound {
        AsFound(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for AsFound {
    fn drop(&mut self) {
        let Some(found) = &self.0 else { return };
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, found); // nothing better can be done at the end
        if io::stdout().is_terminal() {
            let mut out = io::stdout();
            let _ = out.write_all(b"\x1b[?2004l\x1b[?25h").and_then(|()| out.flush()); // no bracketed paste, a cursor
        }
    }
}

/// What a full-screen program would have sent at its end, had it been let: the usual screen, no mouse, the usual keys.
pub fn leave_full_screen() {
    let mut out = io::stdout();
    let _ = out
        .write_all(b"\x1b[?1000l\x1b[?1002l\x1b[?1006l\x1b[?1l\x1b>\x1b[0m\x1b[?1049l")
        .and_then(|()| out.flush());
}

/// The terminal passes every byte on, until this is dropped.
pub struct Raw(Termios);

impl Raw {
    pub fn enter() -> io::Result<Raw> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0); // the terminal may be gone
    }
}
