//! Programs that the bench runs to their end; most often this very program.

use super::room::{HEED, Room, Stop};
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
pub(super) async fn end_of(command: &mut Command, room: &Room<'_>) -> anyhow::Result<Output> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = Vec::new();
    let pipe = child.stderr.take();
    let listen = async {
        match pipe {
            Some(mut pipe) => pipe.read_to_end(&mut stderr).await.map(drop),
            None => Ok(()),
        }
    };
    let wait = async {
        let mut stopped = false;
        loop {
            tokio::select! {
                status = child.wait() => return status,
                () = room.stop.token.cancelled(), if !stopped => stopped = true,
            }
            // `None`: it has been waited for. Its number may be another program's then.
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM); // it may have ended meanwhile
            }
        }
    };
    let (status, heard) = tokio::join!(wait, listen);
    let status = status?;
    room.go_on()?;
    heard?;
    Ok(Output { status, stdout: Vec::new(), stderr })
}

/// Waits on this thread for a program's end. A bench that is asked to end asks the program to end.
///
/// # Errors
/// The program cannot be waited for, or what it says cannot be read.
pub(super) fn output_unless_stopped(child: Child, stop: &Stop) -> io::Result<Output> {
    // Unlike its number, it is never another program's. A filter may refuse it.
    let Ok(program) = pidfd_open(child.id() as i32) else { return child.wait_with_output() };
    let (running, ended) = channel::<()>();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            while ended.recv_timeout(HEED) == Err(RecvTimeoutError::Timeout) {
                if stop.token.is_cancelled() {
                    let _ = pidfd_send_signal(program.as_fd(), Signal::SIGTERM as i32); // it may have ended
                    return;
                }
            }
        });
        let said = child.wait_with_output();
        drop(running);
        said
    })
}

/// Returns why a program failed: what it printed to standard error, else how it ended. The kernel
/// kills without a text, where memory runs out; what the program printed before, a notice, say, is
/// not the reason then.
pub(super) fn failure(ended: &Output) -> String {
    match (String::from_utf8_lossy(&ended.stderr).trim(), ended.status.signal()) {
        ("", _) => format!("it printed nothing ({})", ended.status),
        (told, None) => told.to_string(),
        (told, Some(_)) => format!("it ended ({}) after: {told}", ended.status),
    }
}

#[cfg(test)]
mod tests {
    use super::super::room::{INTERRUPTED, wait_for};
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_program_is_asked_to_end_with_the_bench_and_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let stop = Stop::default();
        let room =
            Room { dir: dir.path(), runs: None, peer: None, stop: stop.clone(), keep: Default::default() };
        let shell = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).current_dir(dir.path()).stdin(Stdio::null());
            command
        };
        let mut plain = shell("echo no >&2; exit 3");
        let ended = wait_for(end_of(&mut plain, &room)).unwrap();
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(3), &b"no\n"[..]));
        let mut long = shell("trap 'echo > left; exit 0' TERM; echo > began; while :; do sleep 0.01; done");
        let began = dir.path().join("began");
        let ended = wait_for(async {
            let interrupt = async {
                while !began.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                stop.token.cancel();
            };
            tokio::join!(end_of(&mut long, &room), interrupt).0
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
        let said = std::thread::scope(|threads| {
            threads.spawn(|| {
                while !began.exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                stop.token.cancel();
            });
            output_unless_stopped(child, &stop).unwrap()
        });
        assert_eq!((said.status.code(), &*said.stdout), (Some(3), &b"so\n"[..]));
    }

    #[test]
    fn a_program_that_failed_without_a_text_is_told_by_its_end() {
        let told = |script: &str| {
            failure(&std::process::Command::new("/bin/sh").args(["-c", script]).output().unwrap())
        };
        assert_eq!(told("echo ' no place ' >&2; exit 3"), "no place");
        assert_eq!(told("exit 3"), "it printed nothing (exit status: 3)");
        assert_eq!(told("kill -9 $$"), "it printed nothing (signal: 9 (SIGKILL))");
        let killed = told("echo a port is taken >&2; kill -9 $$");
        assert_eq!(killed, "it ended (signal: 9 (SIGKILL)) after: a port is taken");
    }
}
