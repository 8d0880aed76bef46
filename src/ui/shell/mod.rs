//! One persistent shell of the learner's: `cd` and `export` last from line to line.

mod children;
mod exports;
mod orders;
mod start;

use super::dialect;
use super::exit;
use super::screen::Screen;
use super::terminal::Raw;
pub(crate) use exports::Variables;
use linux::process;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use portable_pty::ChildKiller;
pub(crate) use start::{START_PATIENCE, Setting};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// How often it is checked whether a program has read what was typed ahead, in milliseconds.
const LOOK_AGAIN: u16 = 5;
/// Bytes that are kept of what a shell said and that is no report yet.
const UNPARSED_MAX: usize = 64 << 10;
/// How long a shell that closed its pipes may take to end, in milliseconds.
const END_PATIENCE: u16 = 300;
/// A line that runs for so long is asked about once, in milliseconds: the shell answers when it is
/// ready, also if the line has taken its prompt away.
const ASK_AFTER: u16 = 200;
/// While a line runs, the shell is checked this often for having stopped itself, in milliseconds.
const LOOK_FOR_STOP: u16 = 1000;

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    Code(i32),
    /// The shell itself has ended.
    Ended(i32),
}

/// What came of keys that were typed while a line ran.
enum Keys {
    Passed,
    /// A key that interrupts was among them: see [`Screen::type_in`].
    Interrupted,
    /// The learner's terminal is gone.
    Gone,
}

/// A shell that runs the learner's lines.
pub(crate) struct Shell {
    setting: Setting,
    child: Child,
    /// The pipe from which the shell reads commands.
    orders: File,
    /// The pipe on which it reports how lines ended.
    reports: File,
    /// What was read of the reports, and is no report yet.
    unparsed: Vec<u8>,
    /// Marks the shell's reports.
    token: String,
    /// The number of the last line: its reports carry it.
    number: u64,
    screen: Option<Screen>,
    /// It runs without the learner's start files, in which it got stuck or ended.
    pub plain: bool,
    /// It had ended before it could read the last line.
    unread: bool,
    /// It had stopped itself since [`Shell::take_woken`], and was made to go on.
    woken: bool,
    /// What was typed at the prompt since the last line, for the shell's own `history`.
    typed: Vec<String>,
    /// What it exports since the last line, if that was asked for.
    exports: Option<Variables>,
    /// Where it writes them. It stays open as long as the shell: a late answer to a question that
    /// was given up must not go into another file that has the descriptor's number by then.
    told_exports: File,
}

impl Shell {
    /// Waits for the report of a command of our own, e.g. the first one, which the preparation asks
    /// for, and returns what the shell said before it.
    fn await_report(&mut self, patience: Duration) -> io::Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some((told, _)) = self.reported() {
                return Ok(told);
            }
            if self.ended().is_some() {
                return Err(io::Error::other("it has ended"));
            }
            // At its start the pipes cannot tell the shell's end yet: it is looked at now and then.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let pause = left.min(Duration::from_millis(100)).as_millis() as u16;
            let mut wanted = [PollFd::new(self.reports.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, PollTimeout::from(pause)) {
                Ok(0) | Err(Errno::EINTR) => {} // a child has ended, the window has changed
                // No report comes any more, and poll(2) would not wait for one.
                Ok(_) if self.read_reports()? == 0 => self.wait_for_end(left)?,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the shell has ended, but no longer than `limit`. A signal ends the wait.
    ///
    /// # Errors
    /// Those of pidfd_open(2) and poll(2).
    fn wait_for_end(&self, limit: Duration) -> io::Result<()> {
        let pid = self.pid().ok_or(io::ErrorKind::NotFound)?;
        let life = process::pidfd_open(pid)?;
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(life.as_fd(), PollFlags::POLLIN)], limit) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what the shell has reported since, and returns the number of bytes; 0: the shell has
    /// closed the pipe.
    fn read_reports(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        let n = self.reports.read(&mut bytes)?;
        self.unparsed.extend_from_slice(&bytes[..n]);
        // A background program of the start files may write here without end: a report is short,
        // and comes last.
        self.unparsed.drain(..self.unparsed.len().saturating_sub(UNPARSED_MAX));
        Ok(n)
    }

    /// Returns the report of the present line, if there is one, and what was said before it.
    /// Reports of lines before are dropped.
    fn reported(&mut self) -> Option<(String, i32)> {
        let mut told = String::new();
        while let Some((before, number, code, rest)) = dialect::report(&self.unparsed, &self.token) {
            self.unparsed.drain(..rest);
            told.push_str(&before);
            if number == self.number {
                return Some((dialect::told_beside(&told), code));
            }
        }
        self.unparsed.splice(..0, told.into_bytes());
        None
    }

    /// Runs one line. On a terminal its bytes go both ways until it ends; Ctrl-C goes to the
    /// command.
    pub(crate) fn run(&mut self, line: &str, last: i32) -> io::Result<Ran> {
        let raw = match &self.screen {
            Some(screen) => {
                screen.resize();
                Some(Raw::enter()?)
            }
            None => None,
        };
        self.wake_if_stopped(); // it would not read a long order
        self.exports = None;
        self.number += 1;
        let typed = self.setting.dialect.remember(&std::mem::take(&mut self.typed));
        let order = typed + &self.setting.dialect.order(line, self.number, last, self.setting.terminal);
        // A program of the start files may hold the pipe open: then it takes the order of a shell
        // that has ended.
        let ran = match self.ended() {
            Some(code) => self.end_unread(code),
            None => match self.give(&order) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    let code = self.await_end();
                    self.end_unread(code)
                }
                other => other.and_then(|()| self.follow())?,
            },
        };
        if let Some(screen) = &mut self.screen {
            screen.settle()?;
        }
        drop(raw);
        Ok(ran)
    }

    /// Puts lines that were typed at the prompt into the shell's own `history`, before the next
    /// line runs. Without a terminal a shell keeps none.
    pub(crate) fn remember(&mut self, typed: impl IntoIterator<Item = String>) {
        if self.screen.is_some() {
            self.typed.extend(typed);
        }
    }

    fn end_unread(&mut self, code: i32) -> Ran {
        self.unread = true;
        Ran::Ended(code)
    }

    /// Returns whether the shell had ended before it could read the last line, which has not run.
    pub(crate) fn unread(&self) -> bool {
        self.unread
    }

    /// Makes a shell on a terminal go on that has stopped itself, as the shell around it would with
    /// `fg`: `suspend`, or `kill -STOP $$`. A stopped shell reports nothing and takes no keys.
    fn wake_if_stopped(&mut self) {
        let Some(pid) = self.pid().filter(|_| self.screen.is_some()).map(Pid::from_raw) else { return };
        if matches!(
            waitid(Id::Pid(pid), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG),
            Ok(WaitStatus::Stopped(..))
        ) {
            // It leads the session of its terminal, and so its own process group.
            self.woken |= killpg(pid, Signal::SIGCONT).is_ok();
        }
    }

    /// Returns whether the shell had stopped itself since the last call.
    pub(crate) fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Passes bytes both ways until the shell reports the present line, or ends.
    fn follow(&mut self) -> io::Result<Ran> {
        let mut listening = self.screen.is_some();
        // The end of the report pipe does not tell the shell's end while a background program has
        // inherited the other side.
        let life = self.pid().and_then(|pid| process::pidfd_open(pid).ok());
        let (mut gone, mut asked) = (false, false);
        loop {
            if let Some((told, code)) = self.reported() {
                if !told.is_empty()
                    && let Some(screen) = &self.screen
                {
                    screen.say(&told); // what the shell said about its jobs
                }
                return Ok(Ran::Code(code));
            }
            if gone {
                return Ok(Ran::Ended(self.await_end()));
            }
            let stdin = io::stdin();
            let mut wanted = vec![PollFd::new(self.reports.as_fd(), PollFlags::POLLIN)];
            if listening {
                wanted.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
            if let Some(life) = &life {
                wanted.push(PollFd::new(life.as_fd(), PollFlags::POLLIN));
            }
            // Nothing tells that a program has read its input: it is looked at, as long as
            // something waits for that.
            let held = self.screen.as_ref().is_some_and(Screen::holds_back);
            let time = match (held, asked) {
                (true, _) => PollTimeout::from(LOOK_AGAIN),
                (false, false) => PollTimeout::from(ASK_AFTER),
                (false, true) if self.screen.is_some() => PollTimeout::from(LOOK_FOR_STOP),
                (false, true) => PollTimeout::NONE,
            };
            let found = match poll(&mut wanted, time) {
                Err(Errno::EINTR) => continue,
                found => found?,
            };
            if found == 0 && !held && !std::mem::replace(&mut asked, true) {
                self.ask_for_report()?;
                continue;
            }
            let stirred = |fd: &PollFd<'_>| fd.revents().is_some_and(|r| !r.is_empty());
            let (report, key) = (stirred(&wanted[0]), listening && stirred(&wanted[1]));
            // Its last report may still be in the pipe: that is read first.
            gone = life.is_some() && wanted.last().is_some_and(stirred);
            if found == 0 {
                self.wake_if_stopped();
            }
            if held && let Some(screen) = &mut self.screen {
                screen.pass_on()?;
            }
            if report && self.read_reports()? == 0 {
                return Ok(Ran::Ended(self.await_end()));
            }
            if key {
                match self.pass_keys()? {
                    Keys::Passed => {}
                    // A shell that reads ahead drops the question at Ctrl-C.
                    Keys::Interrupted => asked = false,
                    Keys::Gone => listening = false,
                }
            }
        }
    }

    /// Passes what was typed at the learner's terminal on to that of the shell.
    ///
    /// # Errors
    /// Those of the two terminals.
    fn pass_keys(&mut self) -> io::Result<Keys> {
        let Some(screen) = &mut self.screen else { return Ok(Keys::Gone) };
        let stdin = io::stdin();
        let mut bytes = [0; 4096];
        match nix::unistd::read(stdin.as_fd(), &mut bytes) {
            Ok(0) | Err(Errno::EIO) => Ok(Keys::Gone),
            Ok(n) => Ok(if screen.type_in(&bytes[..n])? { Keys::Interrupted } else { Keys::Passed }),
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(Keys::Passed),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the shell to report the present line as soon as it is ready. A pipe that is full has
    /// such questions in it already, and a shell that has ended is noticed otherwise.
    fn ask_for_report(&mut self) -> io::Result<()> {
        let room = [PollFd::new(self.orders.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut room.clone(), PollTimeout::ZERO) != Ok(1) {
            return Ok(());
        }
        match self.orders.write_all(dialect::question(self.number).as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns what was typed while a command ran, and was not read.
    pub(crate) fn typed_ahead(&mut self) -> String {
        self.screen.as_mut().map(Screen::unread).unwrap_or_default()
    }

    /// Returns whether Ctrl-C was pressed in a command since the last call.
    pub(crate) fn take_interrupt(&mut self) -> bool {
        self.screen.as_mut().is_some_and(Screen::take_interrupt)
    }

    /// Returns the working directory of the shell.
    pub(crate) fn cwd(&self) -> Option<PathBuf> {
        std::fs::read_link(Path::new("/proc").join(self.pid()?.to_string()).join("cwd")).ok()
    }

    /// Returns the names of the shell's children that run, or are stopped: between two lines, its
    /// programs in the background.
    pub(crate) fn running(&self) -> Vec<String> {
        self.pid().map_or_else(Vec::new, children::child_names)
    }

    /// Waits for the end of the programs in the background that a signal ends, at most this long.
    pub(crate) fn await_ends(&self, limit: Duration) {
        if let Some(pid) = self.pid() {
            children::await_ends(pid, limit);
        }
    }

    fn pid(&self) -> Option<i32> {
        i32::try_from(self.child.id()).ok()
    }

    /// Returns the terminal to tell when the learner's changes its size.
    pub(crate) fn resizer(&self) -> Option<super::screen::Resizer> {
        self.screen.as_ref().map(Screen::resizer)
    }

    /// Returns the shell's exit code, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().ok()?.map(exit::code)
    }

    /// Waits for the end of the shell, and returns its exit code.
    fn await_end(&mut self) -> i32 {
        if !self.setting.terminal {
            return self.child.wait().map_or(1, exit::code);
        }
        // It may live on with its pipes closed (`exec`); without them it is of no use here.
        if let Some(handle) = self.pid().and_then(|pid| process::pidfd_open(pid).ok()) {
            let mut end = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
            while poll(&mut end, PollTimeout::from(END_PATIENCE)) == Err(Errno::EINTR) {}
        }
        self.ended().unwrap_or_default()
    }
}

impl Drop for Shell {
    /// Hangs up on a terminal, as closing its window does; a shell that stays is killed. Elsewhere
    /// the end of its commands is the end of the shell. They are ended by another file in the place
    /// of the pipe: where that cannot be opened, as without a free descriptor, the shell is killed
    /// as well, because it would be waited for without end.
    fn drop(&mut self) {
        let null = if self.setting.terminal { None } else { File::open("/dev/null").ok() };
        match null {
            Some(null) => self.orders = null,
            None => drop(ChildKiller::kill(&mut self.child)), // it may have ended
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
pub(crate) mod tests;
