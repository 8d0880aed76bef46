//! Reads records, from the operands, from files and from commands.

use super::regex::Regex;
use std::io::{self, Read};
use std::process::Child;
use std::rc::Rc;

const CHUNK: usize = 64 * 1024;

/// How RS ends a record.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    Byte(u8),
    /// Empty lines.
    Paragraph,
    Regex(Rc<Regex>),
}

/// A file or a command from which records are read.
pub(super) struct Input {
    reader: Box<dyn Read>,
    pub child: Option<Child>,
    buffer: Vec<u8>,
    /// What of the buffer is read already.
    at: usize,
    ended: bool,
}

impl Input {
    pub(super) fn new(reader: Box<dyn Read>, child: Option<Child>) -> Input {
        Input { reader, child, buffer: Vec::new(), at: 0, ended: false }
    }

    /// Reads more. Returns whether there was something.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let length = self.buffer.len();
        // A long record is read in ever larger steps, so that searching it again stays cheap.
        self.buffer.resize(length + CHUNK.max(length), 0);
        let read = loop {
            match self.reader.read(&mut self.buffer[length..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(length + read.as_ref().copied().unwrap_or(0));
        self.ended = !matches!(read, Ok(1..));
        read.map(|count| count > 0)
    }

    /// The next record without its end; `None` at the end of the input.
    pub(super) fn record(&mut self, ending: &Ending) -> io::Result<Option<Vec<u8>>> {
        if let Ending::Paragraph = ending {
            self.skip_newlines()?;
        }
        let mut searched = 0;
        loop {
            let rest = &self.buffer[self.at..];
            let found = match ending {
                Ending::Byte(byte) => {
                    let at = rest[searched..].iter().position(|b| b == byte).map(|at| searched + at);
                    at.map(|at| (at, at + 1))
                }
                Ending::Paragraph => {
                    let at = rest.windows(2).skip(searched.saturating_sub(1)).position(|two| two == b"\n\n");
                    at.map(|at| at + searched.saturating_sub(1)).map(|at| (at, at + 2))
                }
                Ending::Regex(regex) => end_by_regex(regex, rest, self.ended),
            };
            if let Some((end, next)) = found {
                let record = rest[..end].to_vec();
                self.at += next;
                return Ok(Some(record));
            }
            searched = rest.len();
            if !self.fill()? {
                break;
            }
        }
        // What is left is the last record. A regular expression may match at the end only now.
        let rest = &self.buffer[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let (end, next) = match ending {
            Ending::Regex(regex) => end_by_regex(regex, rest, true).unwrap_or((rest.len(), rest.len())),
            Ending::Paragraph => (rest.len() - usize::from(rest.ends_with(b"\n")), rest.len()),
            Ending::Byte(_) => (rest.len(), rest.len()),
        };
        let record = rest[..end].to_vec();
        self.at += next;
        // The newline at the end of a file is no part of its last record.
        Ok(Some(record))
    }

    fn skip_newlines(&mut self) -> io::Result<()> {
        loop {
            self.at += self.buffer[self.at..].iter().take_while(|&&b| b == b'\n').count();
            if self.at < self.buffer.len() || !self.fill()? {
                return Ok(());
            }
        }
    }
}

/// Where a regular expression ends the record. A match that more input could make longer counts
/// only at the end of the input.
fn end_by_regex(regex: &Regex, rest: &[u8], ended: bool) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some((start, end)) = regex.find(rest, from) {
        if start < end {
            return (ended || end < rest.len()).then_some((start, end));
        }
        from = end + 1;
    }
    None
}
