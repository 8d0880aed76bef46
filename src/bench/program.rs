//! Programs that the bench runs to their end; most often this very program.

use super::stop::{CHECK_EVERY, Stop};
use linux::process::{pidfd_open, pidfd_send_signal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// This program, even if its file is replaced while a bench runs.
pub(crate) const PROGRAM: &str = "/proc/self/exe";

/// Runs a program to its end. A bench that is asked to end asks the program to end, and waits for
/// it: what it has made is gone then.
///
/// # Errors
/// The program cannot be run, or the bench was asked to end.
pub(super) async fn run_to_end(command: &mut Command, stop: &Stop) -> anyhow::Result<Output> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = Vec::new();
    let pipe = child.stderr.take();
    let read = async {
        match pipe {
            Some(mut pipe) => pipe.read_to_end(&mut stderr).await.map(drop),
            None => Ok(()),
        }
    };
    let wait = async {
        let mut is_asked = false;
        loop {
            tokio::select! {
                status = child.wait() => return status,
                () = stop.requested(), if !is_asked => is_asked = true,
            }
            // `None`: it has been waited for. Its number may be another program's then.
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM); // it may have ended meanwhile
            }
        }
    };
    let (status, all_read) = tokio::join!(wait, read);
    let status = status?;
    stop.check()?;
    all_read?;
    Ok(Output { status, stdout: Vec::new(), stderr })
}

/// Waits on this thread for a program's end, and returns what it printed. A bench that is asked to
/// end asks the program to end.
///
/// # Errors
/// The program cannot be waited for, or what it prints cannot be read.
pub(super) fn wait_for_output(child: Child, stop: &Stop) -> io::Result<Output> {
    // Unlike the program's number, a pidfd is never another program's. A filter may refuse it.
    let Ok(program) = pidfd_open(child.id() as i32) else { return child.wait_with_output() };
    let (running, ended) = channel::<()>();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            while ended.recv_timeout(CHECK_EVERY) == Err(RecvTimeoutError::Timeout) {
                if stop.is_requested() {
                    let _ = pidfd_send_signal(program.as_fd(), Signal::SIGTERM as i32); // it may have ended
                    return;
                }
            }
        });
        let output = child.wait_with_output();
        drop(running);
        output
    })
}

/// Returns why a program failed: what it printed to standard error, else how it ended. The kernel
/// kills without a text, where memory runs out; what the program printed before, a notice, say, is
/// not the reason then.
pub(super) fn failure_reason(ended: &Output) -> String {
    match (String::from_utf8_lossy(&ended.stderr).trim(), ended.status.signal()) {
        ("", _) => format!("it printed nothing ({})", ended.status),
        (text, None) => text.to_string(),
        (text, Some(_)) => format!("it ended ({}) after: {text}", ended.status),
    }
}

#[cfg(test)]
mod tests {
    use super::super::stop::INTERRUPTED;
    use super::super::tasks::block_on;
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_program_is_asked_to_end_with_the_bench_and_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let stop = Stop::default();
        let shell = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).current_dir(dir.path()).stdin(Stdio::null());
            command
        };
        let mut plain = shell("echo no >&2; exit 3");
        let ended = block_on(run_to_end(&mut plain, &stop)).unwrap();
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(3), &b"no\n"[..]));
        let mut long = shell("trap 'echo > left; exit 0' TERM; echo > began; while :; do sleep 0.01; done");
        let began = dir.path().join("began");
        let ended = block_on(async {
            let interrupt = async {
                while !began.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                stop.request();
            };
            tokio::join!(run_to_end(&mut long, &stop), interrupt).0
        });
        assert_eq!(ended.unwrap_err().to_string(), INTERRUPTED);
        assert!(dir.path().join("left").exists(), "its own way out was waited for");
    }

    #[test]
    fn a_program_that_a_thread_waits_for_is_asked_to_end_with_the_bench() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), Stop::default());
        let began = dir.path().join("began");
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", "trap 'echo so; exit 3' TERM; echo > began; while :; do sleep 0.01; done"]);
        let child =
            shell.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = std::thread::scope(|threads| {
            threads.spawn(|| {
                while !began.exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                stop.request();
            });
            wait_for_output(child, &stop).unwrap()
        });
        assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"so\n"[..]));
    }

    #[test]
    fn the_reason_of_a_program_that_failed_without_a_text_is_how_it_ended() {
        let reason = |script: &str| {
            failure_reason(&std::process::Command::new("/bin/sh").args(["-c", script]).output().unwrap())
        };
        assert_eq!(reason("echo ' no place ' >&2; exit 3"), "no place");
        assert_eq!(reason("exit 3"), "it printed nothing (exit status: 3)");
        assert_eq!(reason("kill -9 $$"), "it printed nothing (signal: 9 (SIGKILL))");
        let killed = reason("echo a port is taken >&2; kill -9 $$");
        assert_eq!(killed, "it ended (signal: 9 (SIGKILL)) after: a port is taken");
    }
}
