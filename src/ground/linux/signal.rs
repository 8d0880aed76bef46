//! Signals.

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use std::io;

/// The number of a signal by its name, `SIGTERM` or `TERM`, or by its number in digits.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let full = if name.starts_with("SIG") { name.to_string() } else { format!("SIG{name}") };
    full.parse::<Signal>().ok().map(|s| s as i32)
}

/// What every program expects at its start: nothing blocked, nothing ignored. (Rust ignores
/// SIGPIPE.)
pub fn reset() -> io::Result<()> {
    for kind in Signal::iterator() {
        if !matches!(kind, Signal::SIGKILL | Signal::SIGSTOP) {
            // SAFETY: the default action is no function of ours, so nothing can run at a bad
            // moment.
            unsafe { signal(kind, SigHandler::SigDfl) }?;
        }
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Blocks signals in this thread (and those it makes) and returns a descriptor that reports them.
pub fn descriptor(signals: &[Signal]) -> io::Result<nix::sys::signalfd::SignalFd> {
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    let set: SigSet = signals.iter().copied().collect();
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Keeps the signals that ask a program to end waiting, over an exec too, until it calls
/// [`unblock_all`]. The kernel drops a signal for which the first process of a PID namespace has no
/// handler, but not one that is blocked.
pub fn hold_stop_signals() -> io::Result<()> {
    let set: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT].into_iter().collect();
    Ok(set.thread_block()?)
}

/// The signals that ask a cluster to end.
pub const STOP: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// Blocks these signals and no others in this thread, and those that it makes.
pub fn block_only(signals: &[Signal]) -> io::Result<()> {
    let set: SigSet = signals.iter().copied().collect();
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)?)
}

/// Unblocks signals that a parent blocked for itself.
pub fn unblock_all() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Resolves when this process is asked to end: SIGTERM, SIGINT or SIGHUP. The first process of a
/// PID namespace does not even get a signal for which it has no handler: until then `boot` keeps
/// them blocked. Call it on a thread that lives as long as the process.
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
    #[test]
    fn signals_are_known_by_name_and_number() {
        assert_eq!(super::number("SIGQUIT"), Some(3));
        assert_eq!(super::number("TERM"), Some(15));
        assert_eq!(super::number("37"), Some(37)); // SIGRTMIN+3, which systemd images use
        assert_eq!(super::number("NOPE"), None);
    }
}
