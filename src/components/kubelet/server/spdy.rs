//! SPDY/3.1 frames: what kubectl before 1.30 speaks for exec, and every kubectl for port-forward.
//!
//! Control frame: `80 03 | type u16 | flags u8 | length u24`; data frame: `stream u32 | flags u8 |
//! length u24`. Header blocks are one zlib stream a direction for the whole connection, with a
//! preset dictionary. Source: SPDY protocol draft 3.1.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use std::collections::BTreeMap;
use std::io;
use std::sync::LazyLock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A frame longer than this is refused; clients send 32 KiB at most.
const FRAME_MAX: usize = 1 << 20;
/// A header block may grow to this size.
const HEADERS_MAX: usize = 64 << 10;

const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary \
    via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin";
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
    publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The header dictionary: length-prefixed words, then plain text. 1423 bytes.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::with_capacity(1423);
    for word in WORDS.split_whitespace() {
        let word = word.replace('_', " ");
        bytes.extend_from_slice(&(word.len() as u32).to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TAIL.as_bytes());
    bytes
});

pub(super) const FIN: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Data {
        stream: u32,
        fin: bool,
        bytes: Vec<u8>,
    },
    SynStream {
        stream: u32,
        fin: bool,
        headers: BTreeMap<String, String>,
    },
    Reset {
        stream: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// A frame that asks for nothing: settings, window updates, replies.
    Other,
}

/// The reading half of a connection.
pub(super) struct Reader<R> {
    io: R,
    inflate: Decompress,
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    let part = bytes.get(at..at + 4).ok_or_else(|| invalid("SPDY frame is too short"))?;
    Ok(u32::from_be_bytes([part[0], part[1], part[2], part[3]]))
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(io: R) -> Reader<R> {
        Reader { io, inflate: Decompress::new(true) }
    }

    /// Returns the next frame; `None` at the end of the connection.
    ///
    /// # Errors
    /// The connection broke off in a frame, or the frame is damaged or longer than [`FRAME_MAX`].
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0u8; 8];
        match self.io.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let flags = head[4];
        let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
        if length > FRAME_MAX {
            return Err(invalid(format!("SPDY frame of {length} bytes")));
        }
        let mut bytes = vec![0; length];
        self.io.read_exact(&mut bytes).await?;
        if head[0] & 0x80 == 0 {
            let stream = u32_at(&head, 0)? & 0x7fff_ffff;
            return Ok(Some(Frame::Data { stream, fin: flags & FIN != 0, bytes }));
        }
        Ok(Some(match u16::from_be_bytes([head[2], head[3]]) {
            1 => {
                let stream = u32_at(&bytes, 0)? & 0x7fff_ffff;
                let block = bytes.get(10..).ok_or_else(|| invalid("SYN_STREAM is too short"))?;
                Frame::SynStream { stream, fin: flags & FIN != 0, headers: self.headers(block)? }
            }
            2 | 8 => {
                // Replies and further headers move the shared zlib stream on, whatever they say.
                let block = bytes.get(4..).ok_or_else(|| invalid("header frame is too short"))?.to_vec();
                self.headers(&block)?;
                Frame::Other
            }
            3 => Frame::Reset { stream: u32_at(&bytes, 0)? & 0x7fff_ffff },
            6 => Frame::Ping { id: u32_at(&bytes, 0)? },
            7 => Frame::GoAway,
            _ => Frame::Other,
        }))
    }

    /// Unpacks a header block; names in lower case. Each block has to be unpacked, in order: all
    /// share one compression context.
    ///
    /// # Errors
    /// The block is damaged, or has more than [`HEADERS_MAX`] bytes.
    fn headers(&mut self, block: &[u8]) -> io::Result<BTreeMap<String, String>> {
        let mut out = Vec::with_capacity(4096);
        let mut at = 0;
        while at < block.len() {
            let before = (self.inflate.total_in(), self.inflate.total_out());
            out.reserve(4096);
            match self.inflate.decompress_vec(&block[at..], &mut out, FlushDecompress::Sync) {
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&DICTIONARY).map_err(|e| invalid(e.to_string()))?;
                }
                Err(error) => return Err(invalid(error.to_string())),
            }
            at += (self.inflate.total_in() - before.0) as usize;
            let moved = (self.inflate.total_in(), self.inflate.total_out()) != before;
            if out.len() > HEADERS_MAX {
                return Err(invalid("SPDY header block is too large"));
            }
            if !moved && self.inflate.total_in() > 0 && at < block.len() && out.capacity() > out.len() {
                return Err(invalid("SPDY header block is damaged"));
            }
        }
        let mut headers = BTreeMap::new();
        let mut at = 4;
        for _ in 0..u32_at(&out, 0)? {
            let mut text = || -> io::Result<String> {
                let length = u32_at(&out, at)? as usize;
                let bytes =
                    out.get(at + 4..at + 4 + length).ok_or_else(|| invalid("SPDY header is cut off"))?;
                at += 4 + length;
                Ok(String::from_utf8_lossy(bytes).into_owned())
            };
            let (name, value) = (text()?, text()?);
            headers.insert(name.to_lowercase(), value);
        }
        Ok(headers)
    }
}

/// The writing half of a connection.
pub(super) struct Writer<W> {
    io: W,
    deflate: Compress,
    primed: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(io: W) -> Writer<W> {
        Writer { io, deflate: Compress::new(Compression::default(), true), primed: false }
    }

    async fn control(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        let length = (body.len() as u32).to_be_bytes();
        let mut frame = vec![0x80, 0x03, 0, kind as u8, 0, length[1], length[2], length[3]];
        frame.extend_from_slice(body);
        self.io.write_all(&frame).await?;
        self.io.flush().await
    }

    /// Accepts a stream. Every stream needs this answer before any data.
    pub(super) async fn reply(&mut self, stream: u32) -> io::Result<()> {
        if !self.primed {
            self.deflate.set_dictionary(&DICTIONARY).map_err(|e| invalid(e.to_string()))?;
            self.primed = true;
        }
        let mut block = Vec::with_capacity(64);
        self.deflate
            .compress_vec(&0u32.to_be_bytes(), &mut block, FlushCompress::Sync)
            .map_err(|e| invalid(e.to_string()))?;
        let mut body = stream.to_be_bytes().to_vec();
        body.extend_from_slice(&block);
        self.control(2, &body).await
    }

    /// Writes data of a stream. `fin`: it is the last.
    pub(super) async fn data(&mut self, stream: u32, bytes: &[u8], fin: bool) -> io::Result<()> {
        let length = (bytes.len() as u32).to_be_bytes();
        let mut frame = stream.to_be_bytes().to_vec();
        frame.extend_from_slice(&[u8::from(fin), length[1], length[2], length[3]]);
        frame.extend_from_slice(bytes);
        self.io.write_all(&frame).await?;
        self.io.flush().await
    }

    /// Answers a ping with its own id.
    pub(super) async fn ping(&mut self, id: u32) -> io::Result<()> {
        self.control(6, &id.to_be_bytes()).await
    }

    /// Says that no stream after `last` is served, and that nothing is wrong.
    pub(super) async fn go_away(&mut self, last: u32) -> io::Result<()> {
        let mut body = last.to_be_bytes().to_vec();
        body.extend_from_slice(&0u32.to_be_bytes());
        self.control(7, &body).await
    }

    /// Ends this direction of the connection.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}

/// Returns a SYN_STREAM as a client writes it.
#[cfg(test)]
pub(super) fn syn(deflate: &mut Compress, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut plain = (headers.len() as u32).to_be_bytes().to_vec();
    for text in headers.iter().flat_map(|(n, v)| [n, v]) {
        plain.extend_from_slice(&(text.len() as u32).to_be_bytes());
        plain.extend_from_slice(text.as_bytes());
    }
    let mut block = Vec::with_capacity(4096);
    deflate.compress_vec(&plain, &mut block, FlushCompress::Sync).unwrap();
    let length = (block.len() as u32 + 10).to_be_bytes();
    let mut frame = vec![0x80, 3, 0, 1, 0, length[1], length[2], length[3]];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&block);
    frame
}

/// Returns what a client compresses its headers with.
#[cfg(test)]
pub(super) fn client_deflate() -> Compress {
    let mut deflate = Compress::new(Compression::default(), true);
    deflate.set_dictionary(&DICTIONARY).unwrap();
    deflate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn header_blocks_share_one_compression_context() {
        assert_eq!(DICTIONARY.len(), 1423);
        let mut deflate = Compress::new(Compression::default(), true);
        assert_eq!(
            deflate.set_dictionary(&DICTIONARY).unwrap(),
            0xe3c6_a7c2,
            "Adler-32 of the draft's dictionary"
        );
        let mut bytes = syn(&mut deflate, 1, &[("streamtype", "error"), ("port", "80")]);
        bytes.extend(syn(&mut deflate, 3, &[("streamtype", "data"), ("port", "80")]));
        bytes.extend([0, 0, 0, 3, 1, 0, 0, 2, b'h', b'i']);
        let mut reader = Reader::new(bytes.as_slice());
        let mut kinds = Vec::new();
        while let Some(frame) = reader.next().await.unwrap() {
            kinds.push(match frame {
                Frame::SynStream { stream, headers, .. } => format!("syn {stream} {}", headers["streamtype"]),
                Frame::Data { stream, fin, bytes } => {
                    format!("data {stream} {fin} {}", String::from_utf8(bytes).unwrap())
                }
                other => format!("{other:?}"),
            });
        }
        assert_eq!(kinds, ["syn 1 error", "syn 3 data", "data 3 true hi"]);
    }

    #[tokio::test]
    async fn what_we_write_a_reader_understands_and_garbage_is_an_error() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.reply(1).await.unwrap();
        writer.reply(3).await.unwrap();
        writer.ping(7).await.unwrap();
        let mut reader = Reader::new(bytes.as_slice());
        assert_eq!(reader.next().await.unwrap(), Some(Frame::Other));
        assert_eq!(reader.next().await.unwrap(), Some(Frame::Other));
        assert_eq!(reader.next().await.unwrap(), Some(Frame::Ping { id: 7 }));
        let garbage = [0x80, 3, 0, 1, 0, 0, 0, 14, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9];
        assert!(Reader::new(garbage.as_slice()).next().await.is_err());
    }
}
