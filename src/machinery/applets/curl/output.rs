//! Where heads and bodies go.

use super::super::http::{Answer, Deadline, Error};
use super::super::stdio::{reason, write_stderr};
use super::faults::{Fault, fault, transfer_fault};
use super::messages::warn;
use super::options::{Options, Output};
use super::pattern::Expanded;
use super::report::Report;
use super::trace;
use std::fs::File;
use std::io::{self, Write};

/// Where a transfer is written. The file of the body is opened before its first byte is written, or
/// at the end of an empty body: a transfer that fails before keeps what the file had. It is opened
/// once: with `-i` the heads of redirections stand in the same file.
pub(super) struct Sink<'a> {
    options: &'a Options,
    wanted: Option<Output>,
    /// What `-O` calls the file: the name in the URL that the user gave, not in one that a server
    /// redirected to.
    remote_name: &'a str,
    open: Option<Box<dyn Write>>,
    /// `-D`.
    dump: Option<Box<dyn Write>>,
}

impl<'a> Sink<'a> {
    /// Opens the file of `-D`, to go on behind what is there if it `is_dumped` already.
    ///
    /// # Errors
    /// curl's code 23 if it cannot be opened, or if `-O` finds no name in the URL.
    pub(super) fn new(
        options: &'a Options,
        wanted: Option<&Output>,
        url: &Expanded,
        remote_name: &'a str,
        is_dumped: bool,
    ) -> Result<Sink<'a>, Fault> {
        let wanted = wanted.map(|output| match output {
            Output::File(name) => Output::File(url.file_name(name)),
            Output::Remote => Output::Remote,
        });
        if matches!(wanted, Some(Output::Remote)) && remote_name.is_empty() {
            if !options.silent {
                write_stderr("curl: Remote file name has no length!\n");
            }
            return Err(fault(23, "Failed writing received data to disk/application"));
        }
        let dump = options.dump_header.as_deref().map(|name| dump_file(options, name, is_dumped));
        Ok(Sink { options, wanted, remote_name, open: None, dump: dump.transpose()? })
    }

    /// Returns the file that the body goes into, if it is one.
    pub(super) fn file(&self) -> Option<&str> {
        match &self.wanted {
            Some(Output::File(name)) => Some(name.as_str()).filter(|name| *name != "-"),
            Some(Output::Remote) => Some(self.remote_name),
            None => None,
        }
    }

    /// Writes lines of heads to the file of `-D`, and with `-i` to that of the body.
    pub(super) fn write_heads(&mut self, heads: &[u8]) -> Result<(), Fault> {
        if !self.options.include && self.dump.is_none() {
            return Ok(());
        }
        // Line by line, as curl: both may be the same terminal.
        for line in heads.split_inclusive(|byte| *byte == b'\n') {
            if let Some(dump) = &mut self.dump {
                write_bytes(line, dump, "header")?;
            }
            if self.options.include {
                write_bytes(line, self.writer()?, "header")?;
            }
        }
        Ok(())
    }

    /// Writes the body of an answer, and the headers behind it.
    pub(super) fn body(
        &mut self,
        answer: &mut Answer,
        deadline: Deadline,
        report: &mut Report,
    ) -> Result<(), Fault> {
        if self.options.compressed {
            answer.decode_content();
        }
        let copied = self.copy(answer, deadline, report);
        report.size = answer.received;
        let trailers = std::mem::take(&mut answer.trailers);
        self.write_heads(&trailers)?;
        copied
    }

    fn copy(&mut self, answer: &mut Answer, deadline: Deadline, report: &mut Report) -> Result<(), Fault> {
        let failed = |e: &Error, answer: &Answer| transfer_fault(e, deadline, answer.received, answer.length);
        if self.options.verbose
            && let Some(count) = answer.await_body().map_err(|e| failed(&e, answer))?
        {
            trace::announce_data(self.options, report, count);
        }
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match answer.read(&mut buffer) {
                Ok(0) => return self.writer().map(|_| ()),
                Ok(count) => {
                    write_bytes(&buffer[..count], self.writer()?, "body")?;
                    report.written += count as u64;
                }
                Err(e) => return Err(failed(&e, answer)),
            }
        }
    }

    fn writer(&mut self) -> Result<&mut Box<dyn Write>, Fault> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        Ok(self.open.insert(open))
    }

    fn open(&self) -> Result<Box<dyn Write>, Fault> {
        Ok(match self.file() {
            None => Box::new(io::stdout()),
            Some(name) => Box::new(self.create(name)?),
        })
    }

    fn create(&self, name: &str) -> Result<File, Fault> {
        File::create(name).map_err(|e| {
            if !self.options.silent {
                warn(&format!("Failed to open the file {name}: {}", reason(&e)));
            }
            fault(23, "Failure writing output to destination")
        })
    }
}

fn dump_file(options: &Options, name: &str, is_dumped: bool) -> Result<Box<dyn Write>, Fault> {
    if name == "-" {
        return Ok(Box::new(io::stdout()));
    }
    let opened = match is_dumped {
        true => File::options().append(true).create(true).open(name),
        false => File::create(name),
    };
    let file = opened.map_err(|_| {
        if !options.silent {
            warn(&format!("Failed to open {name}"));
        }
        fault(23, "Failed writing received data to disk/application")
    })?;
    Ok(Box::new(file))
}

/// Writes bytes; `what` they are, `header` or `body`, is named if that fails.
fn write_bytes(bytes: &[u8], output: &mut dyn Write, what: &str) -> Result<(), Fault> {
    let written = output.write_all(bytes).and_then(|()| output.flush());
    written.map_err(|_| fault(23, format!("Failed writing {what}")))
}
