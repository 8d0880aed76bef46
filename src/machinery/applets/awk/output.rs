//! Standard output, files and commands that are written to.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use super::value::Text;
use indexmap::IndexMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Truncate,
    Append,
    Command,
}

enum Output {
    File(BufWriter<File>),
    Command(BufWriter<ChildStdin>, Child),
    StandardError,
}

/// All open outputs by name.
pub(super) struct Outputs {
    standard: BufWriter<io::Stdout>,
    /// Whether a person watches, who sees each line at once.
    terminal: bool,
    open: IndexMap<Text, Output>,
}

/// `sh -c` with the command.
pub(super) fn shell(command: &[u8]) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(std::ffi::OsStr::from_bytes(command));
    shell
}

/// The exit status as `system` and `close` return it.
pub(super) fn status_number(status: ExitStatus) -> f64 {
    let code = status.code().or_else(|| status.signal().map(|signal| 256 + signal));
    f64::from(code.unwrap_or(-1))
}

impl Outputs {
    pub(super) fn new() -> Outputs {
        let standard = io::stdout();
        let terminal = standard.is_terminal();
        Outputs { standard: BufWriter::with_capacity(32 * 1024, standard), terminal, open: IndexMap::new() }
    }

    pub(super) fn print(&mut self, text: &[u8]) -> io::Result<()> {
        self.standard.write_all(text)?;
        if self.terminal { self.standard.flush() } else { Ok(()) }
    }

    /// Writes to a file or a command, which is opened if it is not yet.
    pub(super) fn print_to(&mut self, name: &Text, target: Target, text: &[u8]) -> io::Result<()> {
        if target != Target::Command && (&**name == b"/dev/stdout" || &**name == b"-") {
            return self.print(text);
        }
        if !self.open.contains_key(name) {
            let output = self.open(name, target)?;
            self.open.insert(name.clone(), output);
        }
        match self.open.get_mut(name) {
            Some(Output::File(file)) => file.write_all(text),
            Some(Output::Command(input, _)) => input.write_all(text),
            Some(Output::StandardError) => {
                self.standard.flush()?;
                io::stderr().write_all(text)
            }
            None => Ok(()),
        }
    }

    fn open(&mut self, name: &[u8], target: Target) -> io::Result<Output> {
        if target == Target::Command {
            self.flush_all()?;
            let mut child = shell(name).stdin(Stdio::piped()).spawn()?;
            let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
            return Ok(Output::Command(BufWriter::new(input), child));
        }
        if name == b"/dev/stderr" {
            return Ok(Output::StandardError);
        }
        let append = target == Target::Append;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .append(append)
            .truncate(!append)
            .open(Path::new(std::ffi::OsStr::from_bytes(name)))?;
        Ok(Output::File(BufWriter::new(file)))
    }

    pub(super) fn flush_all(&mut self) -> io::Result<()> {
        self.standard.flush()?;
        self.open.values_mut().try_for_each(flush)
    }

    /// Flushes one output; `None` if there is none of that name.
    pub(super) fn flush_one(&mut self, name: &[u8]) -> Option<io::Result<()>> {
        if name == b"/dev/stdout" || name == b"-" {
            return Some(self.standard.flush());
        }
        self.open.get_mut(name).map(flush)
    }

    /// Closes an output and waits for a command; `None` if there is none of that name.
    pub(super) fn close(&mut self, name: &[u8]) -> Option<io::Result<f64>> {
        let output = self.open.shift_remove(name)?;
        if let Err(e) = self.standard.flush() {
            return Some(Err(e));
        }
        Some(close(output))
    }

    /// Closes everything, and waits for the commands.
    ///
    /// # Errors
    /// The first error, with the name of its output; an empty name is standard output.
    pub(super) fn close_all(&mut self) -> Result<(), (Text, io::Error)> {
        let mut result = self.standard.flush().map_err(|e| (Text::from(&b""[..]), e));
        for (name, output) in std::mem::take(&mut self.open) {
            if let Err(e) = close(output) {
                result = result.and(Err((name, e)));
            }
        }
        result
    }
}

fn flush(output: &mut Output) -> io::Result<()> {
    match output {
        Output::File(file) => file.flush(),
        Output::Command(input, _) => input.flush(),
        Output::StandardError => Ok(()),
    }
}

fn close(output: Output) -> io::Result<f64> {
    match output {
        Output::File(mut file) => file.flush().map(|()| 0.0),
        Output::Command(mut input, mut child) => {
            let flushed = input.flush();
            drop(input);
            let status = child.wait()?;
            flushed.map(|()| status_number(status))
        }
        Output::StandardError => Ok(0.0),
    }
}
