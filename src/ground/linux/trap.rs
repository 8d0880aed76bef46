//! Signals that a program wants to know about at a moment of its own choice, as a shell's `trap`
//! does.

use super::check;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::time::TimeSpec;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The kernel's signals are 1 to this number (`_NSIG` in asm/signal.h), on all architectures that
/// Ropewalk knows.
pub const LAST: i32 = 64;

static CAME: [AtomicBool; LAST as usize + 1] = [const { AtomicBool::new(false) }; LAST as usize + 1];
/// Whether anything but SIGCHLD came since [`pending`] last found nothing.
static ANY: AtomicBool = AtomicBool::new(false);

/// What a signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// What the kernel does by itself (`SIG_DFL`): most signals end the process.
    Default,
    /// It is dropped (`SIG_IGN`).
    Ignore,
    /// It is remembered until [`take`], and interrupts the system call that is waiting.
    Note,
}

extern "C" fn note(signal: libc::c_int) {
    // Atomics only: all that a handler may touch.
    if let Some(came) = CAME.get(signal as usize) {
        came.store(true, Ordering::Relaxed);
    }
    if signal != libc::SIGCHLD {
        ANY.store(true, Ordering::Relaxed);
    }
}

/// Sets what a signal does in this process from now on.
///
/// # Errors
/// `EINVAL`: the number is no signal, or SIGKILL or SIGSTOP, which no process may catch.
pub fn set(signal: i32, action: Action) -> io::Result<()> {
    // SAFETY: sigaction is plain data; all zeroes is "no flags, nothing blocked, default action".
    let mut wanted: libc::sigaction = unsafe { std::mem::zeroed() };
    wanted.sa_sigaction = match action {
        Action::Default => libc::SIG_DFL,
        Action::Ignore => libc::SIG_IGN,
        Action::Note => note as *const () as libc::sighandler_t,
    };
    // SAFETY: `wanted` outlives the call; the handler, if any, touches atomics only. No old action
    // is asked for.
    check(unsafe { libc::sigaction(signal, &raw const wanted, std::ptr::null_mut()) }.into()).map(drop)
}

/// Returns whether the signal is ignored, e.g. because the parent process ignored it before the
/// exec.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: sigaction is plain data, which the call below fills.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `now` outlives the call; nothing is changed.
    let answer = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut now) };
    answer == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// Takes the signal: returns whether it came since it was last taken.
pub fn take(signal: i32) -> bool {
    CAME.get(signal as usize).is_some_and(|came| came.swap(false, Ordering::Relaxed))
}

/// Returns whether the signal came and was not taken.
pub fn came(signal: i32) -> bool {
    CAME.get(signal as usize).is_some_and(|came| came.load(Ordering::Relaxed))
}

/// Returns the lowest signal but SIGCHLD that came and was not taken.
pub fn pending() -> Option<i32> {
    if !ANY.load(Ordering::Relaxed) {
        return None;
    }
    // Cleared before the search: one that comes during it is found by it or by the next.
    ANY.store(false, Ordering::Relaxed);
    let found = (1..=LAST).find(|n| *n != libc::SIGCHLD && came(*n));
    if found.is_some() {
        ANY.store(true, Ordering::Relaxed); // until a search finds none: more of them may wait
    }
    found
}

/// While it lives no signal arrives; those that come meanwhile arrive when it is dropped.
pub struct Blocked(SigSet);

/// Blocks all signals.
///
/// # Errors
/// A filter refuses the call.
pub fn block() -> io::Result<Blocked> {
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))?;
    Ok(Blocked(before))
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None); // fails for no mask that we were given
    }
}

/// Forgets everything that came: it was meant for the process that this one was copied from.
pub fn forget() {
    for signal in 1..=LAST {
        take(signal);
    }
    ANY.store(false, Ordering::Relaxed);
}

/// Asks `ready` again after every signal until it has an answer. No signal is lost between the
/// question and the waiting.
///
/// # Errors
/// As [`block`].
pub fn wait_until<T>(mut ready: impl FnMut() -> Option<T>) -> io::Result<T> {
    let blocked = block()?;
    loop {
        if let Some(answer) = ready() {
            return Ok(answer);
        }
        let _ = blocked.0.suspend(); // ends by a signal, always
    }
}

/// What ended a wait for input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// There is something to read, or the other side has closed.
    Ready,
    /// A signal came first, even a moment before the call.
    Signal,
    /// The time is over.
    Late,
}

/// Waits until `fd` can be read; `false` if a signal came first, even a moment before the call.
///
/// # Errors
/// As [`wait_readable_within`].
pub fn wait_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    wait_readable_within(fd, None).map(|input| input == Input::Ready)
}

/// Waits as [`wait_readable`] does, for at most `limit`.
///
/// # Errors
/// As [`block`]; or ppoll(2) fails, e.g. because no memory is left.
pub fn wait_readable_within(fd: BorrowedFd<'_>, limit: Option<Duration>) -> io::Result<Input> {
    let blocked = block()?;
    if pending().is_some() {
        return Ok(Input::Signal);
    }
    let limit = limit.map(TimeSpec::from_duration);
    match ppoll(&mut [PollFd::new(fd, PollFlags::POLLIN)], limit, Some(blocked.0)) {
        Ok(0) => Ok(Input::Late),
        Ok(_) => Ok(Input::Ready),
        Err(Errno::EINTR) => Ok(Input::Signal),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};
    use std::os::fd::AsFd;

    #[test]
    fn a_noted_signal_is_taken_once() {
        let number = Signal::SIGWINCH as i32;
        set(number, Action::Note).unwrap();
        raise(Signal::SIGWINCH).unwrap();
        assert_eq!(pending(), Some(number));
        let (quiet, _writer) = crate::fds::pipe().unwrap();
        assert!(!wait_readable(quiet.as_fd()).unwrap()); // it came before: no wait for ever
        assert!(came(number) && take(number) && !came(number) && !take(number));
        assert_eq!(pending(), None);
        for both in [Signal::SIGURG, Signal::SIGWINCH] {
            set(both as i32, Action::Note).unwrap();
            raise(both).unwrap();
        }
        let first = pending().unwrap();
        assert!(take(first));
        assert_eq!(pending().filter(|second| take(*second)), Some(number.max(Signal::SIGURG as i32)));
        set(Signal::SIGURG as i32, Action::Default).unwrap();
        set(number, Action::Ignore).unwrap();
        assert!(is_ignored(number));
        set(number, Action::Default).unwrap();
        assert!(set(9, Action::Ignore).is_err());
    }
}
