//! Reads records: from the operands, from files and from commands.

use super::output::shell;
use super::value::Text;
use super::{Interpreter, Run, fault, variables};
use crate::awk::parse::ast::Var;
use crate::awk::regex::{Ahead, Regex, Scan};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Stdio};
use std::rc::Rc;

/// Bytes that one read asks for.
const CHUNK: usize = 64 * 1024;
/// A record of more bytes whose end may be at the end of the buffer is searched again only when
/// twice as many are there.
const LONG: usize = 1 << 20;

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
    pub(super) child: Option<Child>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are consumed.
    at: usize,
    ended: bool,
}

impl Input {
    pub(super) fn new(reader: Box<dyn Read>, child: Option<Child>) -> Input {
        Input { reader, child, buffer: Vec::new(), at: 0, ended: false }
    }

    /// Reads once. Returns whether there was something.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let length = self.buffer.len();
        self.buffer.resize(length + CHUNK, 0);
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

    /// Returns the bytes that are read and not consumed.
    fn unread(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Consumes `next` bytes; the record is the first `end` of them.
    fn take_record(&mut self, (end, next): (usize, usize)) -> Vec<u8> {
        let record = self.unread()[..end].to_vec();
        self.at += next;
        record
    }

    /// Returns the next record without its end; `None` at the end of the input.
    ///
    /// # Errors
    /// What the file or pipe answered to a read.
    pub(super) fn read_record(&mut self, ending: &Ending) -> io::Result<Option<Vec<u8>>> {
        let found = match ending {
            Ending::Byte(byte) => self.find_byte(*byte)?,
            Ending::Paragraph => {
                self.skip_newlines()?;
                self.find_empty_line()?
            }
            Ending::Regex(regex) => self.find_match(regex)?,
        };
        let rest = self.unread();
        let length = rest.len();
        let last_newline = rest.ends_with(b"\n");
        Ok(match (found, ending) {
            (Some(found), _) => Some(self.take_record(found)),
            (None, _) if length == 0 => None,
            // What is left is the last record.
            (None, Ending::Paragraph) => Some(self.take_record((length - usize::from(last_newline), length))),
            (None, _) => Some(self.take_record((length, length))),
        })
    }

    /// Returns where the record ends, and where the next one begins; `None` if the input ends
    /// before.
    fn find_byte(&mut self, wanted: u8) -> io::Result<Option<(usize, usize)>> {
        let mut searched = 0;
        loop {
            let rest = self.unread();
            if let Some(at) = rest[searched..].iter().position(|&byte| byte == wanted) {
                return Ok(Some((searched + at, searched + at + 1)));
            }
            searched = rest.len();
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn find_empty_line(&mut self) -> io::Result<Option<(usize, usize)>> {
        let mut searched = 0;
        loop {
            let rest = self.unread();
            if let Some(at) = rest[searched..].windows(2).position(|two| two == b"\n\n") {
                return Ok(Some((searched + at, searched + at + 2)));
            }
            searched = rest.len().saturating_sub(1); // the last byte may be the first newline
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Finds the end of a record by a regular expression. The search goes on where it was when more
    /// bytes arrive, so a record that comes in many small reads takes linear time. Only when a
    /// match is somewhere, its place is looked for. If more bytes could change the place, the whole
    /// record is searched again.
    fn find_match(&mut self, regex: &Regex) -> io::Result<Option<(usize, usize)>> {
        let mut scan = Scan::default();
        let mut seen = false;
        loop {
            seen = seen || regex.resume(self.unread(), &mut scan);
            if seen || self.ended {
                match regex.find_ahead(self.unread(), self.ended) {
                    Ahead::Match(start, end) => return Ok(Some((start, end))),
                    Ahead::Open | Ahead::None if !self.ended && self.unread().len() >= LONG => {
                        let wanted = self.unread().len() * 2;
                        while self.unread().len() < wanted && self.fill()? {}
                        continue;
                    }
                    Ahead::Open | Ahead::None => {}
                }
            }
            if self.ended {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    fn skip_newlines(&mut self) -> io::Result<()> {
        loop {
            self.at += self.unread().iter().take_while(|&&b| b == b'\n').count();
            if self.at < self.buffer.len() || !self.fill()? {
                return Ok(());
            }
        }
    }
}

impl Interpreter<'_> {
    pub(super) fn count_record(&mut self, in_file: bool) {
        let number = self.global_number(variables::NR);
        self.set_number(variables::NR, number + 1.0);
        if in_file {
            let number = self.global_number(variables::FNR);
            self.set_number(variables::FNR, number + 1.0);
        }
    }

    /// Returns the next record of the operands, counted; `None` after the last one.
    pub(super) fn main_record(&mut self) -> Run<Option<Vec<u8>>> {
        loop {
            if self.main.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(input) = &mut self.main else { return Ok(None) };
            match input.read_record(&self.settings.ending) {
                Ok(Some(record)) => {
                    self.count_record(true);
                    return Ok(Some(record));
                }
                Ok(None) => self.main = None,
                Err(e) => {
                    let name = self.read_variable(Var::Global(variables::FILENAME))?;
                    return cannot_read(&name.to_text(b""), &e);
                }
            }
        }
    }

    /// Opens the next operand that is a file. Without any, standard input is read once. A file that
    /// cannot be opened ends the program without `END`, as in the other awks: sums over a part of
    /// the files would look right there.
    fn open_next(&mut self) -> Run<bool> {
        while (self.next_operand as f64) < self.global_number(variables::ARGC) {
            let key = self.next_operand.to_string().into_bytes();
            self.next_operand += 1;
            let argv = self.get_or_create_array(Var::Global(variables::ARGV))?;
            let operand = argv.borrow().get(&key[..]).map(|value| value.to_text(b"%.6g"));
            let Some(operand) = operand.filter(|operand| !operand.is_empty()) else { continue };
            if let Some((name, value)) = crate::awk::parse_assignment(&operand) {
                self.assign_operand(name, value)?;
                continue;
            }
            self.input_chosen = true;
            self.set_filename(&operand);
            let reader: Box<dyn io::Read> = match open(&operand) {
                Ok(reader) => reader,
                Err(e) => return cannot_read(&operand, &e),
            };
            self.begin_file(reader);
            return Ok(true);
        }
        if self.input_chosen {
            return Ok(false);
        }
        self.input_chosen = true;
        self.begin_file(Box::new(io::stdin()));
        Ok(true)
    }

    fn begin_file(&mut self, reader: Box<dyn io::Read>) {
        self.set_number(variables::FNR, 0.0);
        self.main = Some(Input::new(reader, None));
    }

    /// Returns the next record of a file or of a command's output.
    pub(super) fn read_from(&mut self, command: bool, name: &Text) -> Run<io::Result<Option<Vec<u8>>>> {
        let key = (command, Rc::clone(name));
        if !self.inputs.contains_key(&key) {
            let _ = self.outputs.flush_all(); // a fault of writing is seen at the next write
            let input = if command { start(name) } else { open(name).map(|reader| Input::new(reader, None)) };
            match input {
                Ok(input) => drop(self.inputs.insert(key.clone(), input)),
                Err(e) => return Ok(Err(e)),
            }
        }
        let ending: &Ending = &self.settings.ending;
        Ok(self.inputs.get_mut(&key).map_or(Ok(None), |input| input.read_record(ending)))
    }
}

fn cannot_read<T>(name: &[u8], error: &io::Error) -> Run<T> {
    fault(format!("cannot read {}: {}", String::from_utf8_lossy(name), crate::reason(error)))
}

/// Opens a file; `-` is standard input.
fn open(name: &[u8]) -> io::Result<Box<dyn io::Read>> {
    match name {
        b"-" | b"/dev/stdin" => Ok(Box::new(io::stdin())),
        name => Ok(Box::new(File::open(OsStr::from_bytes(name))?)),
    }
}

/// Starts a command whose output is read.
fn start(command: &[u8]) -> io::Result<Input> {
    let mut child = shell(command).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok(Input::new(Box::new(output), Some(child)))
}
