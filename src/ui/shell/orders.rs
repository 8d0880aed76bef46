//! Writes orders to a shell.

use super::Shell;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Bytes that a pipe takes at once when poll(2) finds room in it: a page. Source: Linux,
/// `pipe_poll` in fs/pipe.c.
const PIECE: usize = 4096;

impl Shell {
    /// Writes an order, and reads meanwhile what the shell says. After `set -v` the shell repeats
    /// an order while it reads it. Of one that is longer than both pipes the shell could not write
    /// the rest, and this program could not either: a deadlock.
    ///
    /// # Errors
    /// Those of the pipe: `BrokenPipe` if the shell takes no orders any more.
    pub(super) fn give(&mut self, order: &str) -> io::Result<()> {
        for piece in order.as_bytes().chunks(PIECE) {
            while !self.has_room()? {}
            self.orders.write_all(piece)?;
        }
        Ok(())
    }

    /// Waits until the pipe to the shell has room for a piece, or the shell has said something,
    /// which is read then. Returns whether a piece can be written.
    ///
    /// # Errors
    /// Those of poll(2) and of the pipe.
    fn has_room(&mut self) -> io::Result<bool> {
        let mut wanted = [
            PollFd::new(self.orders.as_fd(), PollFlags::POLLOUT),
            PollFd::new(self.reports.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut wanted, PollTimeout::NONE) {
            Err(Errno::EINTR) => return Ok(false),
            found => found?,
        };
        let [room, told] = wanted.each_ref().map(|fd| fd.any().unwrap_or(true));
        // It says nothing any more: the write tells what is wrong.
        let is_silent = told && self.read_reports()? == 0;
        Ok(room || is_silent)
    }
}
