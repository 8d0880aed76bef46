//! What a request carries: data of `-d`, or a file of `-T`.

use super::super::http::{Progress, Upload};
use super::faults::{Fault, unreadable};
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

/// The body as the options name it.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    /// `-d`.
    Data(&'a [u8]),
    /// `-T`: a file's name, or `-` or `.` for standard input.
    File(&'a str),
}

/// The body as it is sent.
pub(super) struct Opened<'a> {
    content: Box<dyn Read + 'a>,
    /// Bytes; `None` if only the end will tell, or if it is to be sent in chunks.
    pub length: Option<u64>,
    /// How many bytes of data `-d` gives, if the body comes from there.
    pub data: Option<usize>,
    /// How long it waits for `100 Continue`, if it does.
    pub expects: Option<Duration>,
}

impl<'a> Body<'a> {
    /// Returns true if it can be read only once.
    pub(super) fn is_stdin(self) -> bool {
        matches!(self, Body::File("-" | "."))
    }

    /// Opens the file. It is read as it is sent, and again after a redirection.
    ///
    /// # Errors
    /// curl's code 26 if the file cannot be opened.
    pub(super) fn open(self) -> Result<Opened<'a>, Fault> {
        Ok(match self {
            Body::Data(data) => {
                let length = Some(data.len() as u64);
                Opened { content: Box::new(data), length, data: Some(data.len()), expects: None }
            }
            _ if self.is_stdin() => Opened::file(Box::new(io::stdin()), None),
            Body::File(name) => {
                let opened = File::open(name).and_then(|file| Ok((file.metadata()?, file)));
                let (found, file) = opened.map_err(|_| unreadable(name))?;
                match found.is_file() {
                    // What the file gets meanwhile was not announced and is not sent.
                    true => Opened::file(Box::new(file.take(found.len())), Some(found.len())),
                    false => Opened::file(Box::new(file), None),
                }
            }
        })
    }
}

/// Data of `-d` that is longer than this waits for leave, as in curl.
const DATA_MAX_WITHOUT_LEAVE: usize = 1024 * 1024;

/// Data of `-d` that is shorter than this is sent in one piece with the head, as in curl.
const DATA_WITH_HEAD: usize = 64 * 1024;

impl<'a> Opened<'a> {
    fn file(content: Box<dyn Read + 'a>, length: Option<u64>) -> Opened<'a> {
        Opened { content, length, data: None, expects: None }
    }

    /// Returns whether curl asks for leave to send it.
    pub(super) fn is_large(&self) -> bool {
        match self.data {
            Some(length) => length > DATA_MAX_WITHOUT_LEAVE,
            None => self.length != Some(0),
        }
    }

    /// Returns the bytes that are sent together with the head.
    pub(super) fn with_head(&self) -> usize {
        self.data.filter(|length| *length < DATA_WITH_HEAD && self.expects.is_none()).unwrap_or(0)
    }

    /// Returns the content, to be sent.
    pub(super) fn upload(&mut self) -> Upload<'_> {
        Upload {
            content: &mut self.content,
            length: self.length,
            sent: 0,
            expects: self.expects,
            progress: Progress::default(),
        }
    }
}

/// Returns where `-T NAME` sends a file: to a URL that ends in `/`, under the file's own name.
pub(super) fn upload_path(path: &str, name: &str) -> String {
    let (path_only, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let file = name.rsplit('/').next().unwrap_or_default();
    if !path_only.ends_with('/') || matches!(name, "-" | ".") {
        return path.to_string();
    }
    let encoded = percent_encoding::utf8_percent_encode(file, percent_encoding::NON_ALPHANUMERIC).to_string();
    // RFC 3986, 2.3: these stand for themselves.
    let plain = [("%2D", "-"), ("%2E", "."), ("%5F", "_"), ("%7E", "~")];
    let encoded = plain.iter().fold(encoded, |text, (code, c)| text.replace(code, c));
    format!("{path_only}{encoded}{query}")
}
