//! The body of an answer: text from memory, and parts of a file.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes read from a file at once.
const CHUNK: u64 = 64 * 1024;

/// A part of a body.
enum Piece {
    Text(Bytes),
    /// So many bytes of the file from a place on.
    OfFile {
        at: u64,
        left: u64,
    },
}

/// A body of pieces, which are sent one after the other.
pub(in crate::nginx) struct Content {
    file: Option<File>,
    pieces: VecDeque<Piece>,
    /// Bytes that are still to be sent.
    pub(super) left: u64,
}

impl Content {
    pub(super) fn text(text: impl Into<Bytes>) -> Content {
        let mut content = Content { file: None, pieces: VecDeque::new(), left: 0 };
        content.push_text(text);
        content
    }

    pub(super) fn part(file: File, at: u64, length: u64) -> Content {
        let mut content = Content { file: Some(file), pieces: VecDeque::new(), left: 0 };
        content.push_part(at, length);
        content
    }

    pub(super) fn push_text(&mut self, text: impl Into<Bytes>) {
        let bytes = text.into();
        self.left += bytes.len() as u64;
        self.pieces.extend((!bytes.is_empty()).then_some(Piece::Text(bytes)));
    }

    pub(super) fn push_part(&mut self, at: u64, length: u64) {
        self.left += length;
        self.pieces.extend((length > 0).then_some(Piece::OfFile { at, left: length }));
    }

    /// The text that a body begins with.
    #[cfg(test)]
    pub(super) fn first_text(&self) -> &str {
        match self.pieces.front() {
            Some(Piece::Text(bytes)) => str::from_utf8(bytes).unwrap(),
            _ => "",
        }
    }

    /// Reads on in the piece of a file that comes next.
    fn read(file: Option<&File>, at: &mut u64, left: &mut u64) -> io::Result<Bytes> {
        let mut buffer = vec![0; CHUNK.min(*left) as usize];
        let read = file.ok_or(ErrorKind::NotFound)?.read_at(&mut buffer, *at)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into()); // the file got shorter
        }
        buffer.truncate(read);
        *at += read as u64;
        *left -= read as u64;
        Ok(buffer.into())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let (read, is_over) = match this.pieces.front_mut() {
            None => return Poll::Ready(None),
            Some(Piece::Text(bytes)) => (Ok(std::mem::take(bytes)), true),
            Some(Piece::OfFile { at, left }) => {
                let read = Content::read(this.file.as_ref(), at, left);
                (read, *left == 0)
            }
        };
        if is_over {
            this.pieces.pop_front();
        }
        this.left -= read.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Poll::Ready(Some(read.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}
