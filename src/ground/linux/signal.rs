//! Signals.

use super::check;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use std::io;

/// The kernel's signals are 1 to this number (`_NSIG` in asm/signal.h), on all architectures that
/// Ropewalk knows.
const LAST: i32 = 64;

/// The number of a signal by its name, `SIGTERM` or `TERM`, or by its number in digits.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=LAST).contains(&number).then_some(number);
    }
    let full = if name.starts_with("SIG") { name.to_string() } else { format!("SIG{name}") };
    full.parse::<Signal>().ok().map(|s| s as i32)
}

/// What every program expects at its start: nothing blocked, nothing ignored. Rust ignores SIGPIPE,
/// and the session that started Ropewalk may ignore any signal, realtime ones too.
///
/// # Errors
/// A filter refuses the calls.
pub fn reset() -> io::Result<()> {
    for number in (1..=LAST).filter(|number| !matches!(*number, libc::SIGKILL | libc::SIGSTOP)) {
        set_action(number, libc::SIG_DFL)?;
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Sets the default action of a signal, or ignores it. The call and not libc's function, which
/// refuses the realtime signals that libc itself uses.
fn set_action(number: i32, action: libc::sighandler_t) -> io::Result<()> {
    debug_assert!(matches!(action, libc::SIG_DFL | libc::SIG_IGN));
    // `struct sigaction` of the kernel, in which the handler is first: no flags, nothing blocked.
    let wanted: [usize; 4] = [action, 0, 0, 0];
    let none = std::ptr::null::<usize>();
    // SAFETY: `wanted` is as large as the kernel's structure at least and outlives the call.
    // Neither action is a function of ours, so nothing can run at a bad moment.
    let answer =
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, wanted.as_ptr(), none, LAST as usize / 8) };
    check(answer).map(drop)
}

/// Blocks signals in this thread (and those it makes) and returns a descriptor that reports them.
///
/// # Errors
/// `EMFILE`: no descriptor is left. The signals stay blocked then.
pub fn descriptor(signals: &[Signal]) -> io::Result<nix::sys::signalfd::SignalFd> {
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    let set: SigSet = signals.iter().copied().collect();
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Keeps the signals that ask a program to end waiting, over an exec too, until it calls
/// [`unblock_all`]. The kernel drops a signal for which the first process of a PID namespace has no
/// handler, but not one that is blocked.
///
/// # Errors
/// A filter refuses the call.
pub fn hold_stop_signals() -> io::Result<()> {
    let set: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT].into_iter().collect();
    Ok(set.thread_block()?)
}

/// The signals that ask a cluster to end.
pub const STOP: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// Runs work that has to be gone through: the signals that ask this process to end wait until it
/// is done. SIGKILL does not.
pub(crate) fn while_held<T>(work: impl FnOnce() -> T) -> T {
    let held: SigSet = STOP.into_iter().chain([Signal::SIGQUIT]).collect();
    let before = held.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let done = work();
    if let Ok(before) = before {
        let _ = before.thread_set_mask(); // only a filter could refuse it, and it let the first one pass
    }
    done
}

/// Blocks these signals and no others in this thread, and those that it makes.
///
/// # Errors
/// A filter refuses the call.
pub(crate) fn block_only(signals: &[Signal]) -> io::Result<()> {
    let set: SigSet = signals.iter().copied().collect();
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)?)
}

/// Unblocks signals that a parent blocked for itself.
///
/// # Errors
/// A filter refuses the call.
pub fn unblock_all() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Returns a future that resolves to the name of the signal by which this process is asked to end:
/// SIGTERM, SIGINT or SIGHUP. The first process of a PID namespace does not even get a signal for
/// which it has no handler: until then `boot` keeps them blocked. Call it on a thread that lives as
/// long as the process.
///
/// # Errors
/// The runtime cannot install a handler, or a filter refuses to unblock the signals.
pub fn stop_requested() -> io::Result<impl Future<Output = &'static str> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    // Those that came before are waiting. One thread that takes them is enough.
    let held: SigSet = STOP.into_iter().collect();
    held.thread_unblock()?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
            _ = hup.recv() => "SIGHUP",
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

    /// As `trap '' PIPE RTMIN …` of a shell.
    fn ignore() -> io::Result<()> {
        (34..=LAST).chain([libc::SIGPIPE]).try_for_each(|number| set_action(number, libc::SIG_IGN))
    }

    #[test]
    fn what_a_session_ignores_is_not_ignored_after_a_reset() {
        let status = |prepare: fn() -> io::Result<()>| {
            let mut command = std::process::Command::new("/bin/cat");
            command.arg("/proc/self/status");
            // SAFETY: makes system calls only.
            unsafe { command.pre_exec(prepare) };
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let said = status(ignore);
        let mask = said.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        let wanted = 0xffff_fffe_0000_1000; // bit 0 is signal 1
        assert_eq!(u64::from_str_radix(mask, 16).unwrap() & wanted, wanted, "{said}");
        let said = status(|| {
            ignore()?;
            reset()
        });
        for line in ["SigIgn:", "SigBlk:"] {
            assert!(said.contains(&format!("{line}\t0000000000000000\n")), "{said}");
        }
    }

    #[test]
    fn work_that_has_to_be_gone_through_is_not_interrupted() {
        let mask = || SigSet::thread_get_mask().unwrap();
        let before = mask();
        let within = while_held(mask);
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
            assert!(within.contains(signal), "{signal}");
        }
        assert!(!within.contains(Signal::SIGCHLD), "the work may wait for its children");
        assert_eq!(mask(), before);
    }

    #[test]
    fn signals_are_known_by_name_and_number() {
        assert_eq!(number("SIGQUIT"), Some(3));
        assert_eq!(number("TERM"), Some(15));
        assert_eq!(number("37"), Some(37)); // SIGRTMIN+3, which systemd images use
        assert_eq!(number("NOPE"), None);
    }
}
