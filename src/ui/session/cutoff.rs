//! Drops the rest of a paste: the lines that were read together with one that Ctrl-C or the end of
//! the shell has cut off.

use super::{INTERRUPTED, Session};
use crate::texts::Say;
use futures::FutureExt;
use lang::charset::eprintln;
use tokio::signal::unix::Signal;

/// Why lines that were read together, as those of a paste, do not all run. A line that begins
/// resets nothing of it: the lines that `solve` plays run within a line. The prompt does, before it
/// reads again.
#[derive(Default)]
pub(super) struct Cutoff {
    /// Receives Ctrl-C at a terminal. A signal that is still in it came since the lines were read.
    pub(super) signal: Option<Signal>,
    /// Ctrl-C came that `signal` has given out already, or that the shell has noticed. Reset by
    /// [`Session::take_interrupt`].
    pub(super) pressed: bool,
    /// The shell has ended, or could not be started. Reset by [`Session::take_reason_to_drop`].
    pub(super) shell_lost: bool,
}

impl Session {
    /// Returns whether Ctrl-C was pressed since the last call, in this program or in one that the
    /// shell ran. Whatever the command made of it: the kernel, too, drops the input that waits.
    pub(crate) fn take_interrupt(&mut self) -> bool {
        let mut cut = std::mem::take(&mut self.cutoff.pressed);
        if let Some(interrupt) = &mut self.cutoff.signal {
            while interrupt.recv().now_or_never().flatten().is_some() {
                cut = true;
            }
        }
        cut
    }

    /// Returns why the lines that came together with the last one do not run: Ctrl-C, or the shell
    /// has ended, and with it the directory and the variables that they rely on. Each is named
    /// once.
    pub(crate) fn take_reason_to_drop(&mut self) -> Option<Say> {
        let lost = std::mem::take(&mut self.cutoff.shell_lost);
        match self.take_interrupt() {
            true => Some(Say::PasteDropped),
            false => lost.then_some(Say::ShellEndedDropped),
        }
    }

    /// Prints how many lines were dropped, and why.
    pub(crate) fn report_dropped(&self, why: Say, lines: usize) {
        eprintln!("{}", self.say(why, &[&lines.to_string()]));
    }

    /// Sets the exit code of Ctrl-C at the prompt, where no line runs.
    pub(crate) fn note_interrupt(&mut self) {
        self.last = INTERRUPTED;
    }
}
