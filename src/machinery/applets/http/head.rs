//! Heads of answers, read as curl 7.88.1 reads them: it takes more than RFC 9112 allows, and
//! refuses some of what others take.

use super::error::Error;
use std::io::{self, BufRead};

/// Bytes of the heads of an answer, those of its interim answers included.
pub(crate) const HEAD_MAX: usize = 300 * 1024;

/// Bytes of one line, its end included.
pub(super) const LINE_MAX: usize = 100 * 1024;

/// What an answer begins with.
const START: &[u8] = b"HTTP/";

/// `101 Switching Protocols`: no answer comes after it, only what the other protocol says.
pub(super) const SWITCHING: u16 = 101;

/// The head of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// `HTTP/1.1 200 OK`.
    pub start: String,
    pub status: u16,
    /// In their order, names as sent. A folded header has the value of its first line: curl too
    /// only shows the others.
    pub headers: Vec<(String, String)>,
    /// The first `Location` that is not empty. Its bytes need not be UTF-8: a URL takes them as
    /// they are.
    pub location: Option<Vec<u8>>,
    /// The last `Content-Length`; `None` if there is none, or one of more than 63 bits.
    pub(super) length: Option<u64>,
    /// Whether the server offers to use the connection again.
    pub(super) keeps: bool,
    /// The connection ended inside of the head, behind its first line. As in curl that is an answer
    /// without a body.
    pub(super) is_cut: bool,
}

impl Head {
    /// Returns the values of all headers of that name, which mean the same as one with commas
    /// between them (RFC 9110, 5.3).
    pub(super) fn all(&self, name: &str) -> Option<String> {
        let named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let values: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// Returns start line and headers, each with CRLF.
    pub(crate) fn text(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{}\r\n{}", self.start, headers.collect::<String>())
    }

    /// Returns true for an answer that another one follows.
    pub(super) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != SWITCHING && !self.is_cut
    }

    /// Returns true for an answer that never has a body.
    pub(super) fn is_bodyless(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    /// Parses the first line.
    fn parse_start_line(&mut self, line: &str) -> Result<(), Error> {
        let (version, rest) = line
            .split_at_checked(5)
            .filter(|(name, _)| name.eq_ignore_ascii_case("HTTP/"))
            .and_then(|(_, line)| line.split_once(' '))
            .filter(|(version, _)| is_version(version))
            .ok_or(Error::BadStart)?;
        let rest = rest.trim_start();
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let status = match digits {
            0 => return Err(Error::BadStart),
            3 => rest[..3].parse::<u16>().ok().filter(|status| *status >= 100),
            _ => None,
        };
        self.keeps = match version {
            "1.1" | "2" | "2.0" | "3" => true,
            "1.0" => false,
            other => return Err(Error::Version(other.to_string())),
        };
        self.status = status.ok_or(Error::Status)?;
        self.start = line.to_string();
        Ok(())
    }

    /// Parses a line behind the first one, given as text and as its bytes.
    fn parse_header_line(&mut self, line: &str, bytes: &[u8]) -> Result<(), Error> {
        let is_folded = line.starts_with([' ', '\t']);
        if is_folded && !self.headers.is_empty() {
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or(Error::NoColon)?;
        if is_folded {
            return Err(Error::FoldedFirst);
        }
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") && !self.is_bodyless() {
            self.length = content_length(value)?;
            self.keeps &= self.length.is_some();
        }
        if name.eq_ignore_ascii_case("connection") {
            let value = value.to_ascii_lowercase();
            // As curl, which looks for the words anywhere in the value, and for "keep-alive" in
            // HTTP/1.0 only, where it counts more than "close" in the same header.
            if self.start.starts_with("HTTP/1.0") && value.contains("keep-alive") {
                self.keeps = true;
            } else if value.contains("close") {
                self.keeps = false;
            }
        }
        if name.eq_ignore_ascii_case("location") && self.location.is_none() {
            let value = bytes.get(name.len() + 1..).unwrap_or_default(); // the name is ASCII
            self.location = Some(value.trim_ascii().to_vec()).filter(|value| !value.is_empty());
        }
        self.headers.push((name.to_string(), value.to_string()));
        Ok(())
    }
}

/// `1.1`, or `2`, which some servers write without a dot.
fn is_version(text: &str) -> bool {
    match *text.as_bytes() {
        [b'2' | b'3'] => true,
        [major, b'.', minor] => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    }
}

/// Returns the number that a value begins with. `None` if it has more than 63 bits: then curl reads
/// until the server closes.
fn content_length(value: &str) -> Result<Option<u64>, Error> {
    let number = value.strip_prefix('+').unwrap_or(value);
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    match digits {
        0 => Err(Error::ContentLength),
        _ => Ok(number[..digits].parse::<i64>().ok().map(i64::unsigned_abs)),
    }
}

/// Appends a line, with its end, to `line`. Returns false if the connection ended before it.
///
/// # Errors
/// `NotHttp` as soon as a byte differs from those of `start`, which the line has to begin with.
pub(super) fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, start: &[u8]) -> Result<bool, Error> {
    loop {
        let part = match reader.fill_buf() {
            Ok(part) => part,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            // A server that ends TLS without saying so.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(e.into()),
        };
        let end = part.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(part.len(), |at| at + 1);
        line.extend_from_slice(&part[..count]);
        reader.consume(count);
        let known = start.len().min(line.len());
        if !line[..known].eq_ignore_ascii_case(&start[..known]) {
            return Err(Error::NotHttp);
        }
        if line.len() >= LINE_MAX {
            return Err(Error::LongLine);
        }
        if end.is_some() || count == 0 {
            return Ok(end.is_some());
        }
    }
}

/// Reads a head. Its lines are appended to `raw` as they came, with their ends, as soon as they are
/// found to be right: what was read before a failure is there.
///
/// # Errors
/// `NoAnswer` if the connection ends before the first line does, and what is wrong with the head.
pub(super) fn read_head(reader: &mut impl BufRead, raw: &mut Vec<u8>) -> Result<Head, Error> {
    let mut head = Head::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let is_first = head.start.is_empty();
        if !read_line(reader, &mut line, if is_first { START } else { b"" })? {
            if is_first {
                return Err(Error::NoAnswer);
            }
            (head.is_cut, head.keeps) = (true, false);
            return Ok(head);
        }
        if line.contains(&0) {
            return Err(Error::Nul);
        }
        let is_over = line.starts_with(b"\r") || line.starts_with(b"\n");
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        match is_over {
            _ if is_first => head.parse_start_line(text)?,
            true => {}
            false => head.parse_header_line(text, &line)?,
        }
        raw.extend_from_slice(&line);
        if raw.len() > HEAD_MAX {
            return Err(Error::LongHead(raw.len()));
        }
        if is_over {
            return Ok(head);
        }
    }
}

/// Reads heads until one is not interim.
pub(super) fn final_head(reader: &mut impl BufRead, raw: &mut Vec<u8>) -> Result<Head, Error> {
    loop {
        let head = read_head(reader, raw)?;
        if !head.is_interim() {
            return Ok(head);
        }
    }
}
