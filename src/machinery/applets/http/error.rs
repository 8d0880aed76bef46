//! Why an exchange failed. Each program tells it in its own words: curl in curl's.

use super::super::stdio;
use std::fmt;
use std::io;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("timed out")]
    TimedOut,
    /// The connection ended before the first whole line of the answer. Interim answers may have
    /// come before it.
    #[error("the server ended the connection without an answer")]
    NoAnswer,
    /// The connection ended inside of the body.
    #[error("the server ended the connection inside of the answer")]
    Cut {
        /// How many bytes are missing, if the head announced a length.
        missing: Option<u64>,
    },
    /// The first line is not one of HTTP/1: it may be HTTP/0.9, or another protocol.
    #[error("the server does not speak HTTP")]
    NotHttp,
    /// The first line has no version and status.
    #[error("the first line of the answer has no version or no status")]
    BadStart,
    #[error("the server speaks HTTP/{0}")]
    Version(String),
    /// A status that is not between 100 and 999.
    #[error("the status of the answer is no number of three digits")]
    Status,
    #[error("a header has no colon")]
    NoColon,
    #[error("a header has a NUL byte")]
    Nul,
    /// The first header begins with a blank, as if it went on with the line before.
    #[error("the first header begins with a blank")]
    FoldedFirst,
    #[error("Content-Length is no number")]
    ContentLength,
    /// A line is longer than [`super::head::LINE_MAX`].
    #[error("a line of the head is too long")]
    LongLine,
    /// The heads are longer than [`super::head::HEAD_MAX`]: so long are they so far.
    #[error("the head is too long")]
    LongHead(usize),
    /// A chunk does not have the form of RFC 9112, 7.1.
    #[error("{0}")]
    Chunk(BadChunk),
    /// A coding that is neither gzip nor deflate.
    #[error("the body has a coding that is not known")]
    Coding,
    /// The server names more codings of the body than this client decodes.
    #[error("the body has more than 5 codings")]
    ManyCodings,
    /// The body is not what its coding says.
    #[error("cannot decode the body: {0}")]
    Decoding(String),
    /// Bytes follow the end of a coded body.
    #[error("bytes follow the end of the coded body")]
    Trailing,
    /// The content of an upload could not be read: that is no failure of the connection.
    #[error("cannot read what to send: {}", stdio::reason(.0))]
    Upload(io::Error),
    #[error("{}", stdio::reason(.0))]
    Send(io::Error),
    #[error("{}", stdio::reason(.0))]
    Receive(io::Error),
}

/// What is wrong with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadChunk {
    /// No size, or one of more than 63 bits.
    Size,
    /// More than 16 digits, leading zeros included.
    LongSize,
    /// Something else than the end of a line follows the content.
    End,
}

/// The words of curl.
impl fmt::Display for BadChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadChunk::Size => "Illegal or missing hexadecimal sequence in chunked-encoding",
            BadChunk::LongSize => "Too long hexadecimal number in chunked-encoding",
            BadChunk::End => "Malformed encoding found in chunked-encoding",
        })
    }
}

impl Error {
    /// Makes the error of a failure to send.
    pub(super) fn sending(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::TimedOut => Error::TimedOut,
            _ => Error::Send(error),
        }
    }

    /// Returns true if the connection ended, in whichever way the kernel tells it.
    pub(crate) fn is_hang_up(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match self {
            Error::NoAnswer => true,
            Error::Send(e) | Error::Receive(e) => {
                matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
            }
            _ => false,
        }
    }
}

/// A failure to read.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::TimedOut => Error::TimedOut,
            io::ErrorKind::UnexpectedEof => Error::Cut { missing: None },
            _ => Error::Receive(error),
        }
    }
}
