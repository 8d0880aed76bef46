//! Exit codes of processes, as a shell tells them.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

/// Returns the exit code: 128 and the signal's number for what a signal ended.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Returns the process behind a program that was started on a terminal. What `portable_pty` tells
/// of its end has no number of a signal, only a name.
///
/// # Errors
/// There is no such process, as on a system that starts its programs otherwise.
pub(crate) fn process(program: Box<dyn portable_pty::Child + Send + Sync>) -> io::Result<Child> {
    let program: Box<dyn portable_pty::Child> = program;
    let process = program.downcast().map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
    Ok(*process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};

    #[test]
    fn a_signal_that_ends_a_program_on_a_terminal_has_its_number() {
        for (text, expected) in [("kill -KILL $$", 128 + 9), ("exit 3", 3)] {
            let pair = native_pty_system().openpty(PtySize::default()).unwrap();
            let mut command = CommandBuilder::new("/bin/sh");
            command.args(["-c", text]);
            let mut program = process(pair.slave.spawn_command(command).unwrap()).unwrap();
            assert_eq!(code(program.wait().unwrap()), expected, "{text}");
        }
    }
}
