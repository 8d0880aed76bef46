//! Asks a shell for the variables that it exports.

use super::Shell;
use crate::dialect;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A shell tells its variables at once. One that does not by then is busy with the learner's own
/// doing, e.g. a trap.
const PATIENCE: Duration = Duration::from_secs(5);

/// Variables and their values; none that is no UTF-8.
pub(crate) type Variables = BTreeMap<String, String>;

/// Makes the file that a shell writes its variables into. A pipe may be too small for all of them,
/// and its reader would have to keep up.
pub(super) fn file() -> io::Result<File> {
    Ok(File::from(memfd_create(c"exports", MFdFlags::MFD_CLOEXEC)?))
}

impl Shell {
    /// Returns the variables that the shell exports, as programs that it starts find them. `None`
    /// if it does not tell them, e.g. because it has ended or its `PATH` has no `cat`.
    pub(crate) fn exports(&mut self) -> Option<&Variables> {
        self.exports_within(PATIENCE)
    }

    /// As [`Shell::exports`], but waits no longer than this for a shell that is busy.
    pub(crate) fn exports_within(&mut self, patience: Duration) -> Option<&Variables> {
        // What an ended shell exported is not what the next one exports.
        if self.exports.is_none() || self.ended().is_some() {
            self.exports = self.ask_for_exports(patience).ok().flatten();
        }
        self.exports.as_ref()
    }

    fn ask_for_exports(&mut self, patience: Duration) -> io::Result<Option<Variables>> {
        self.wake_if_stopped();
        if self.ended().is_some() {
            return Ok(None);
        }
        self.told_exports.set_len(0)?;
        let name = format!("/proc/{}/fd/{}", std::process::id(), self.told_exports.as_raw_fd());
        self.number += 1;
        self.orders.write_all(dialect::ask_for_exports(&name, self.number).as_bytes())?;
        let told = self.await_report(patience)?;
        if let Some(screen) = self.screen.as_ref().filter(|_| !told.is_empty()) {
            screen.say(&told); // about its jobs
        }
        let text = std::fs::read(&name)?; // from its beginning
        let pairs = text.split(|byte| *byte == 0).filter_map(|pair| {
            let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
            Some((name.to_string(), value.to_string()))
        });
        Ok(Some(pairs.collect()).filter(|variables: &Variables| !variables.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::tests::setting;

    /// A shell that is killed closes its pipes some time before its process has ended.
    #[test]
    fn a_shell_that_has_closed_its_reports_is_waited_for_without_work() {
        let mut shell = Shell::start(&setting("/bin/sh", false)).expect("a shell");
        let (closed, other_end) = linux::fds::pipe().unwrap();
        drop(other_end);
        shell.reports = closed.into();
        let before = rng::growth::spent();
        assert!(shell.await_report(Duration::from_millis(500)).is_err());
        assert!(rng::growth::spent() - before < 250_000_000, "it asked over and over");
    }
}
