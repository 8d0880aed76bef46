//! Programs that verbs run: `watch KEY -- PROGRAM`, `lock NAME PROGRAM`.

use api::gostr::{io_error, quote};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use tokio::process::Command;

/// A program that failed: its exit code as etcdctl passes it on, and the words of Go's `os/exec`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// `None`: the program did not start.
    pub code: Option<i32>,
    pub text: String,
}

/// Prepares a program. As with etcdctl, it reads nothing from standard input.
pub(crate) fn command(program: &str, args: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command
}

/// Judges how a program ended.
///
/// # Errors
/// It did not start, ended with a code other than 0, or by a signal.
pub(crate) fn check(program: &str, ended: io::Result<ExitStatus>) -> Result<(), Failed> {
    let status = ended.map_err(|error| Failed { code: None, text: not_started(program, &error) })?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Failed { code: Some(code), text: format!("exit status {code}") }),
        // Go answers -1 for a program that a signal ended; as an exit code that is 255.
        (None, signal) => {
            let core = if status.core_dumped() { " (core dumped)" } else { "" };
            Err(Failed {
                code: Some(255),
                text: format!("signal: {}{core}", signal_name(signal.unwrap_or(0))),
            })
        }
    }
}

/// Returns why a program did not start. Go looks for a name without a slash in `$PATH`, and passes
/// over files there that cannot be executed.
fn not_started(program: &str, error: &io::Error) -> String {
    let is_absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
    match program {
        "" => "exec: no command".into(),
        name if is_absent && !name.contains('/') => {
            format!("exec: {}: executable file not found in $PATH", quote(name))
        }
        path => format!("fork/exec {path}: {}", io_error(error)),
    }
}

/// Returns the name that Go gives a signal (`syscall.Signal` on Linux).
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        24 => "CPU time limit exceeded",
        25 => "file size limit exceeded",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_program_is_told_as_go_tells_it() {
        let run = async |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            check(&words[0], command(&words[0], &words[1..]).status().await)
        };
        let failed = |code: Option<i32>, text: &str| Err(Failed { code, text: text.into() });
        assert_eq!(run(&["true"]).await, Ok(()));
        assert_eq!(run(&["sh", "-c", "exit 7"]).await, failed(Some(7), "exit status 7"));
        assert_eq!(run(&["sh", "-c", "kill -TERM $$"]).await, failed(Some(255), "signal: terminated"));
        let ended = run(&["sh", "-c", "kill -USR1 $$"]).await;
        assert_eq!(ended, failed(Some(255), "signal: user defined signal 1"));
        assert_eq!(run(&["sh", "-c", "read line"]).await, failed(Some(1), "exit status 1"), "no input");
        let none = "exec: \"no-such-program\": executable file not found in $PATH";
        assert_eq!(run(&["no-such-program"]).await, failed(None, none));
        for (program, text) in [
            ("", "exec: no command"),
            ("/no/such", "fork/exec /no/such: no such file or directory"),
            ("/dev/null/x", "fork/exec /dev/null/x: not a directory"),
            ("/dev/null", "fork/exec /dev/null: permission denied"),
        ] {
            assert_eq!(run(&[program]).await, failed(None, text));
        }
        let large = "x".repeat(1 << 20);
        let ended = run(&["/bin/sh", "-c", large.as_str()]).await;
        assert_eq!(ended, failed(None, "fork/exec /bin/sh: argument list too long"));
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let none = "exec: \"nx\": executable file not found in $PATH";
        assert_eq!(not_started("nx", &denied), none, "a file in $PATH that is no program");
    }
}
