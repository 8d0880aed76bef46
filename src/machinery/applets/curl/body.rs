//! What a request carries: data of `-d`, or a file of `-T`.

use super::super::http::Upload;
use super::faults::{Fault, unreadable};
use std::fs::File;
use std::io::{self, Read};

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
    /// Bytes; `None` if only the end will tell.
    length: Option<u64>,
    /// It is a form's.
    form: bool,
}

impl<'a> Body<'a> {
    /// True if it can be read only once.
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
                Opened { content: Box::new(data), length: Some(data.len() as u64), form: true }
            }
            _ if self.is_stdin() => Opened { content: Box::new(io::stdin()), length: None, form: false },
            Body::File(name) => {
                let opened = File::open(name).and_then(|file| Ok((file.metadata()?, file)));
                let (found, file) = opened.map_err(|_| unreadable(name))?;
                match found.is_file() {
                    // What the file gets meanwhile was not announced and is not sent.
                    true => Opened {
                        content: Box::new(file.take(found.len())),
                        length: Some(found.len()),
                        form: false,
                    },
                    false => Opened { content: Box::new(file), length: None, form: false },
                }
            }
        })
    }
}

impl Opened<'_> {
    /// The headers that tell of it.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![match self.length {
            Some(length) => ("Content-Length", length.to_string()),
            None => ("Transfer-Encoding", "chunked".to_string()),
        }];
        if self.form {
            headers.push(("Content-Type", "application/x-www-form-urlencoded".to_string()));
        }
        headers
    }

    /// The content, to be sent.
    pub(super) fn upload(&mut self) -> Upload<'_> {
        Upload { content: &mut self.content, length: self.length, sent: 0 }
    }
}

/// Where `-T NAME` sends a file: to a URL that ends in `/`, under the file's own name.
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
