//! Signals.

use super::check;
use super::trap::{self, LAST};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};
use std::io;
use std::task::Poll;

/// Returns the number of a signal by its name, `SIGTERM` or `TERM`, or by its number in digits.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=LAST).contains(&number).then_some(number);
    }
    let full = if name.starts_with("SIG") { name.to_string() } else { format!("SIG{name}") };
    full.parse::<Signal>().ok().map(|s| s as i32)
}

/// Resets all signals to what every program expects at its start: nothing blocked, nothing ignored.
/// Rust ignores SIGPIPE, and the session that started Ropewalk may ignore any signal, realtime ones
/// too.
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

/// Heeds signals again that the program that started this one ignores. A cluster has a session of
/// its own, which no terminal's signal reaches: one that comes is sent on purpose.
///
/// # Errors
/// A filter refuses the calls.
pub(crate) fn stop_ignoring(signals: &[Signal]) -> io::Result<()> {
    let mut ignored = signals.iter().map(|signal| *signal as i32).filter(|number| trap::is_ignored(*number));
    ignored.try_for_each(|number| set_action(number, libc::SIG_DFL))
}

/// Lets this process learn how its children end, also where the program that started it ignores
/// SIGCHLD, as bash then hands on to all that it starts: the kernel would collect them by itself,
/// and every wait would be `ECHILD` (waitid(2)). For the beginning of a program: all that it starts
/// inherits it. Where a filter refuses the call nothing changes.
pub fn notice_children() {
    let _ = stop_ignoring(&[Signal::SIGCHLD]);
}

/// Lets a command heed the signals of [`STOP`] although this process ignores some, as a program
/// does that a person starts at a terminal.
pub fn start_heeding(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: makes system calls only.
    unsafe { command.pre_exec(|| stop_ignoring(&STOP)) };
}

/// Ends this process by a signal that it has caught, as if it had no handler. A shell that waits
/// for the process tells that from an exit code: only after an end by SIGINT it ends its own loop
/// or script, too. Returns if the signal does not end the process, e.g. because this thread blocks
/// it.
pub fn end_by(signal: i32) {
    if let Ok(known) = Signal::try_from(signal)
        && set_action(signal, libc::SIG_DFL).is_ok()
    {
        let _ = raise(known); // a filter may refuse it
    }
}

/// Returns a future that resolves to the name of the signal by which this process is asked to end:
/// SIGTERM, SIGINT or SIGHUP. One that the program that started this one ignores stays ignored:
/// SIGHUP under `nohup`, SIGINT in a script's background job. The first process of a PID namespace
/// does not even get a signal for which it has no handler: until then `boot` keeps them blocked.
/// Call it on a thread that lives as long as the process.
///
/// # Errors
/// The runtime cannot install a handler, or a filter refuses to unblock the signals.
pub fn stop_requested() -> io::Result<impl Future<Output = &'static str> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut heeded = Vec::new();
    for wanted in STOP.into_iter().filter(|wanted| !trap::is_ignored(*wanted as i32)) {
        heeded.push((wanted.as_str(), signal(SignalKind::from_raw(wanted as i32))?));
    }
    // Those that came before are waiting. One thread that takes them is enough.
    let held: SigSet = STOP.into_iter().collect();
    held.thread_unblock()?;
    Ok(std::future::poll_fn(move |context| {
        let came = heeded
            .iter_mut()
            .find_map(|(name, signal)| signal.poll_recv(context).is_ready().then_some(*name));
        came.map_or(Poll::Pending, Poll::Ready)
    }))
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
        let text = status(ignore);
        let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        let wanted = 0xffff_fffe_0000_1000; // bit 0 is signal 1
        assert_eq!(u64::from_str_radix(mask, 16).unwrap() & wanted, wanted, "{text}");
        let text = status(|| {
            ignore()?;
            reset()
        });
        for line in ["SigIgn:", "SigBlk:"] {
            assert!(text.contains(&format!("{line}\t0000000000000000\n")), "{text}");
        }
    }

    /// Set in the process that gets the signals: one reaches all of a process.
    const INSIDE: &str = "ROPEWALK_TEST_IGNORED_SIGNAL";

    /// Not a test of its own: what the one below runs in a process that ignores SIGHUP.
    #[tokio::test]
    async fn gets_a_signal_that_its_parent_ignores() {
        use tokio::signal::unix::{SignalKind, signal};
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let mut stop = std::pin::pin!(stop_requested().unwrap());
        let mut later = signal(SignalKind::user_defined1()).unwrap();
        raise(Signal::SIGHUP).unwrap();
        raise(Signal::SIGUSR1).unwrap();
        later.recv().await; // the first one would have come by now
        tokio::select! {
            biased;
            name = &mut stop => panic!("{name}"),
            () = std::future::ready(()) => {}
        }
        raise(Signal::SIGTERM).unwrap();
        assert_eq!(stop.await, "SIGTERM");
        assert!(trap::is_ignored(libc::SIGHUP));
        stop_ignoring(&[Signal::SIGHUP]).unwrap();
        assert!(!trap::is_ignored(libc::SIGHUP));
    }

    #[test]
    fn a_signal_that_nohup_ignores_stays_ignored() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "signal::tests::gets_a_signal_that_its_parent_ignores"]).env(INSIDE, "1");
        // SAFETY: makes a system call only.
        unsafe { command.pre_exec(|| set_action(libc::SIGHUP, libc::SIG_IGN)) };
        let ran = command.output().unwrap();
        let output = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && output.contains("1 passed"), "{output}");
    }

    /// Not a test of its own: what the one below runs in a process that catches SIGINT.
    #[tokio::test]
    async fn ends_by_a_signal_that_it_has_caught() {
        use tokio::signal::unix::{SignalKind, signal};
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let mut caught = signal(SignalKind::interrupt()).unwrap();
        raise(Signal::SIGINT).unwrap();
        caught.recv().await;
        end_by(libc::SIGINT);
    }

    #[test]
    fn a_process_that_has_caught_a_signal_can_still_end_by_it() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "signal::tests::ends_by_a_signal_that_it_has_caught"]).env(INSIDE, "1");
        let ended = command.output().unwrap().status;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(libc::SIGINT), "{ended}");
    }

    /// Not a test of its own: what the one below runs in a process that ignores SIGCHLD.
    #[test]
    fn waits_for_a_child_whose_end_is_ignored() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let ended = || std::process::Command::new("/bin/true").status();
        assert_eq!(ended().unwrap_err().raw_os_error(), Some(libc::ECHILD));
        notice_children();
        assert!(ended().unwrap().success());
    }

    #[test]
    fn a_child_is_waited_for_though_the_session_ignores_its_end() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "signal::tests::waits_for_a_child_whose_end_is_ignored"]).env(INSIDE, "1");
        // SAFETY: makes a system call only.
        unsafe { command.pre_exec(|| set_action(libc::SIGCHLD, libc::SIG_IGN)) };
        let ran = command.output().unwrap();
        let output = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && output.contains("1 passed"), "{output}");
    }

    #[test]
    fn a_command_heeds_a_signal_that_its_parent_ignores() {
        // The closures run in the order in which they were added.
        let ends = |heeds: bool| {
            let mut command = std::process::Command::new("/bin/sh");
            // SAFETY: makes a system call only.
            unsafe {
                command.args(["-c", "kill -HUP $$"]).pre_exec(|| set_action(libc::SIGHUP, libc::SIG_IGN))
            };
            if heeds {
                start_heeding(&mut command);
            }
            std::os::unix::process::ExitStatusExt::signal(&command.status().unwrap())
        };
        assert_eq!([false, true].map(ends), [None, Some(libc::SIGHUP)]);
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
