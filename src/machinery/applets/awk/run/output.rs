//! Standard output, files and commands that are written to.

use super::value::Text;
use super::{Interpreter, Run, Stop, fault};
use crate::awk::parse::ast::Redirect;
use indexmap::IndexMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

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

/// All open outputs.
pub(super) struct Outputs {
    standard: BufWriter<io::Stdout>,
    /// Whether a person watches, who sees each line at once.
    terminal: bool,
    /// By name, files apart from commands: `print | "cat"` and `print > "cat"` are two outputs. The
    /// bool says whether it is a command.
    open: IndexMap<(bool, Text), Output>,
}

/// `sh -c` with the command.
pub(super) fn shell(command: &[u8]) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(std::ffi::OsStr::from_bytes(command));
    shell
}

/// Returns the exit status as `system` and `close` return it.
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
        let key = (target == Target::Command, name.clone());
        if !self.open.contains_key(&key) {
            let output = self.open(name, target)?;
            self.open.insert(key.clone(), output);
        }
        match self.open.get_mut(&key) {
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

    /// Flushes the outputs of that name; `None` if there is none.
    pub(super) fn flush_named(&mut self, name: &Text) -> Option<io::Result<()>> {
        if &**name == b"/dev/stdout" || &**name == b"-" {
            return Some(self.standard.flush());
        }
        let mut result: Option<io::Result<()>> = None;
        for command in [false, true] {
            if let Some(output) = self.open.get_mut(&(command, name.clone())) {
                result = Some(result.unwrap_or(Ok(())).and(flush(output)));
            }
        }
        result
    }

    /// Closes the outputs of that name and waits for a command, whose status is the result; `None`
    /// if there is none.
    pub(super) fn close(&mut self, name: &Text) -> Option<io::Result<f64>> {
        let mut result = None;
        for command in [false, true] {
            if let Some(output) = self.open.shift_remove(&(command, name.clone())) {
                let flushed = self.standard.flush(); // the command may write to the same place
                result = Some(flushed.and(close(output)));
            }
        }
        result
    }

    /// Closes everything, and waits for the commands.
    ///
    /// # Errors
    /// The first error, with the name of its output; an empty name is standard output.
    pub(super) fn close_all(&mut self) -> Result<(), (Text, io::Error)> {
        let mut result = self.standard.flush().map_err(|e| (Text::from(&b""[..]), e));
        for ((_, name), output) in std::mem::take(&mut self.open) {
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

impl Interpreter<'_> {
    /// Writes where `print` and `printf` send their text.
    pub(super) fn write_out(&mut self, text: &[u8], redirect: Option<&Redirect>) -> Run<()> {
        let (target, name) = match redirect {
            None => {
                let written = self.outputs.print(text);
                return written.or_else(|e| fault(format!("write error: {}", crate::reason(&e))));
            }
            Some(Redirect::Truncate(name)) => (Target::Truncate, name),
            Some(Redirect::Append(name)) => (Target::Append, name),
            Some(Redirect::Command(name)) => (Target::Command, name),
        };
        let name = self.text(name)?;
        self.outputs.print_to(&name, target, text).or_else(|e| {
            fault(format!("cannot write to {}: {}", String::from_utf8_lossy(&name), crate::reason(&e)))
        })
    }

    /// Waits for commands that were read, and closes all outputs.
    pub(in crate::awk) fn finish(&mut self) -> Run<()> {
        let closed = self.outputs.close_all().map_err(|(name, e)| {
            let name =
                if name.is_empty() { "standard output".into() } else { String::from_utf8_lossy(&name) };
            Stop::Fault(format!("cannot write to {name}: {}", crate::reason(&e)))
        });
        for ((_, _), mut input) in std::mem::take(&mut self.inputs) {
            let child = input.child.take();
            drop(input);
            if let Some(mut child) = child {
                let _ = child.wait(); // its status interests `close` only
            }
        }
        closed
    }
}
