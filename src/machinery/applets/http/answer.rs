//! An answer and its body: where the body ends (RFC 9112, 6.3), and what its codings hide.

use super::coding::Decoder;
use super::error::{BadChunk, Error};
use super::head::{self, Head};
use super::stream::{Stream, Timed};
use std::io::{self, BufRead, BufReader, Read};

/// Bytes of a coded body that are read at once.
const PART: usize = 16 * 1024;

/// How the end of a body is known.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    /// The head announced the length: so many bytes are left.
    Length(u64),
    /// Bytes left in this chunk; `None` before the first one.
    Chunked(Option<u64>),
    UntilClose,
    Over,
}

/// Returns whether one of the codings of a `Transfer-Encoding` is `chunked`.
fn is_chunked(codings: &str) -> bool {
    codings.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

/// An answer whose body is read part by part.
pub(crate) struct Answer {
    pub head: Head,
    /// The length of the body as it is sent, if that is how the server announced its end.
    pub length: Option<u64>,
    /// Headers that came behind a body in chunks, as the server sent them.
    pub trailers: Vec<u8>,
    /// Bytes of the body that were read, before its codings were taken off.
    pub received: u64,
    /// Bytes of the body that had come before the last read from the connection.
    received_before: u64,
    reader: BufReader<Timed>,
    framing: Framing,
    /// The server had answered before it had the whole request.
    is_early: bool,
    decoder: Decoder,
    /// What the decoder made of the last part, and how much of that was handed out.
    decoded: Vec<u8>,
    handed_out: usize,
    /// Why the decoder failed; returned once all before it was handed out.
    failure: Option<Error>,
}

/// Digits of a chunk's size, at most.
const SIZE_DIGITS: usize = 16;

impl Answer {
    /// Makes an answer whose head was read. With `is_head` it has no body, whatever its head says.
    pub(super) fn new(head: Head, reader: BufReader<Timed>, is_head: bool, is_early: bool) -> Answer {
        let codings = head.all("transfer-encoding");
        let framing = match head.length {
            _ if head.is_cut || is_head || head.is_bodyless() => Framing::Over,
            _ if head.status == head::SWITCHING => Framing::UntilClose,
            _ if codings.as_deref().is_some_and(is_chunked) => Framing::Chunked(None),
            // With another coding the length is not to be trusted (RFC 9112, 6.3).
            Some(length) if codings.is_none() => Framing::Length(length),
            _ => Framing::UntilClose,
        };
        let mut decoder = Decoder::default();
        decoder.add(codings.as_deref().unwrap_or_default());
        Answer {
            head,
            length: if let Framing::Length(length) = framing { Some(length) } else { None },
            trailers: Vec::new(),
            received: 0,
            received_before: 0,
            reader,
            framing,
            is_early,
            decoder,
            decoded: Vec::new(),
            handed_out: 0,
            failure: None,
        }
    }

    /// Takes the codings of `Content-Encoding` off, too. Called before the body is read.
    pub(crate) fn decode_content(&mut self) {
        self.decoder.add(&self.head.all("content-encoding").unwrap_or_default());
    }

    /// Returns whether only the end of the connection tells that of the body, though the server did
    /// not say that it would close.
    pub(crate) fn assumes_close(&self) -> bool {
        self.framing == Framing::UntilClose && self.head.keeps
    }

    /// Waits for the body, and returns how many bytes of it are there, with the frames of chunks
    /// and what follows the body. `None` if there is no body.
    ///
    /// # Errors
    /// Why nothing comes.
    pub(crate) fn await_body(&mut self) -> Result<Option<usize>, Error> {
        if matches!(self.framing, Framing::Over | Framing::Length(0)) {
            return Ok(None);
        }
        match self.reader.fill_buf() {
            // The body is cut; the reading tells that.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            there => Ok(Some(there?.len()).filter(|count| *count > 0)),
        }
    }

    /// Returns the bytes that came behind the end of the body, and those of the body that had come
    /// before the last read from the connection.
    pub(crate) fn excess(&self) -> (usize, u64) {
        let is_over = matches!(self.framing, Framing::Over | Framing::Length(0));
        (if is_over { self.reader.buffer().len() } else { 0 }, self.received_before)
    }

    /// Returns whether the connection can carry another request once the body was read.
    pub(crate) fn is_kept(&self) -> bool {
        self.head.keeps && !self.is_early && self.framing != Framing::UntilClose
    }

    /// Returns the connection, if the answer was read to its end and the server keeps it (RFC 9112,
    /// 9.3).
    pub(crate) fn into_stream(self) -> Option<Stream> {
        let is_over =
            matches!(self.framing, Framing::Over | Framing::Length(0)) && self.reader.buffer().is_empty();
        (is_over && self.is_kept()).then(|| self.reader.into_inner().stream)
    }

    /// Reads a part of the body. Returns how many bytes; 0 is its end.
    ///
    /// # Errors
    /// `TimedOut`, `Cut`, `Chunk`, `Coding`, `ManyCodings`, `Decoding`, `Trailing`, or why nothing
    /// comes.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.decoder.check()?;
        if self.decoder.is_empty() {
            return self.read_coded(buffer);
        }
        while self.handed_out == self.decoded.len() {
            self.decoded.clear();
            self.handed_out = 0;
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            self.failure = self.decoder.decode(&mut self.decoded).err();
            if self.decoded.is_empty() && self.failure.is_none() {
                let mut part = [0; PART];
                let count = self.read_coded(&mut part)?;
                if count == 0 {
                    return Ok(0);
                }
                self.decoder.feed(&part[..count]);
            }
        }
        let left = &self.decoded[self.handed_out..];
        let count = buffer.len().min(left.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.handed_out += count;
        Ok(count)
    }

    /// Reads a part of the body with its codings, but without the frames of chunks.
    fn read_coded(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if let Framing::Chunked(left @ (None | Some(0))) = self.framing {
            self.next_chunk(left.is_none())?;
        }
        let wanted = match self.framing {
            Framing::Over | Framing::Length(0) => return Ok(0),
            Framing::UntilClose => buffer.len(),
            Framing::Length(left) | Framing::Chunked(Some(left)) => {
                buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX))
            }
            Framing::Chunked(None) => 0,
        };
        let missing = if let Framing::Length(left) = self.framing { Some(left) } else { None };
        if self.reader.buffer().is_empty() {
            self.received_before = self.received;
        }
        let read = match self.reader.read(&mut buffer[..wanted]) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(Error::Cut { missing }),
            read => read?,
        };
        self.received += read as u64;
        match &mut self.framing {
            Framing::Length(_) | Framing::Chunked(_) if read == 0 && wanted > 0 => {
                Err(Error::Cut { missing })
            }
            Framing::Length(left) | Framing::Chunked(Some(left)) => {
                *left -= read as u64;
                Ok(read)
            }
            _ => Ok(read),
        }
    }

    /// Reads the body to its end, or to `limit` bytes.
    ///
    /// # Errors
    /// As [`Answer::read`].
    pub(crate) fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let (mut body, mut buffer) = (Vec::new(), [0; 8 * 1024]);
        while body.len() < limit {
            let wanted = buffer.len().min(limit - body.len());
            match self.read(&mut buffer[..wanted])? {
                0 => break,
                count => body.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(body)
    }

    /// Leaves the body unread if the connection ends behind it, and else reads it to its end,
    /// behind which the next answer stands.
    ///
    /// # Errors
    /// As [`Answer::read`]. A body that is shorter than announced is no error: it was not wanted.
    pub(crate) fn skip_body(&mut self) -> Result<(), Error> {
        if !self.is_kept() {
            return Ok(());
        }
        let mut buffer = [0; 8 * 1024];
        loop {
            match self.read_coded(&mut buffer) {
                Ok(0) | Err(Error::Cut { missing: Some(_) }) => return Ok(()),
                Ok(_) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads the head of the next chunk, and what stands behind the content of the one before.
    fn next_chunk(&mut self, is_first: bool) -> Result<(), Error> {
        if !is_first {
            self.end_chunk()?;
        }
        let size = self.chunk_size()?;
        self.framing = Framing::Chunked(Some(size));
        if size == 0 {
            self.read_trailers()?;
            self.framing = Framing::Over;
        }
        Ok(())
    }

    /// Reads the end of the line behind the content of a chunk.
    fn end_chunk(&mut self) -> Result<(), Error> {
        loop {
            match self.byte()? {
                b'\n' => return Ok(()),
                b'\r' => {}
                _ => return Err(Error::Chunk(BadChunk::End)),
            }
        }
    }

    fn chunk_size(&mut self) -> Result<u64, Error> {
        let mut digits = String::new();
        let mut byte = self.byte()?;
        while byte.is_ascii_hexdigit() {
            if digits.len() == SIZE_DIGITS {
                return Err(Error::Chunk(BadChunk::LongSize));
            }
            digits.push(char::from(byte));
            byte = self.byte()?;
        }
        // As curl, which counts bytes in 63 bits.
        let size = i64::from_str_radix(&digits, 16).map_err(|_| Error::Chunk(BadChunk::Size))?;
        // Extensions of the chunk mean nothing here.
        while byte != b'\n' {
            byte = self.byte()?;
        }
        Ok(size.unsigned_abs())
    }

    fn read_trailers(&mut self) -> Result<(), Error> {
        loop {
            let mut line = Vec::new();
            if !head::read_line(&mut self.reader, &mut line, b"")? {
                return Err(Error::Cut { missing: None });
            }
            if line.starts_with(b"\r") || line.starts_with(b"\n") {
                return Ok(());
            }
            self.trailers.extend(line);
            if self.trailers.len() > head::HEAD_MAX {
                return Err(Error::LongHead(self.trailers.len()));
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}
