//! Codings of bodies: those of the transfer (RFC 9112, 7) and those of the content (RFC 9110,
//! 8.4.1). gzip and deflate are known.

use super::error::Error;
use flate2::{Decompress, FlushDecompress, Status};

/// Bytes that are decoded at once.
const PART: usize = 32 * 1024;

/// The largest window of a gzip stream, in bits.
const WINDOW_BITS: u8 = 15;

/// Takes codings off a body, part by part. Without a coding the body passes as it is.
#[derive(Default)]
pub(super) struct Decoder {
    /// The coding that is taken off first stands first.
    stages: Vec<Stage>,
}

enum Stage {
    Inflate(Inflate),
    /// A coding that this decoder does not know. It fails at the first byte, as in curl: an answer
    /// without a body may name any coding.
    Unknown,
}

/// A stream of zlib, of gzip, or of neither.
struct Inflate {
    state: Decompress,
    /// `deflate` should be a zlib stream, but some servers send one without its head. `None` once
    /// the first bytes have told which of the two it is.
    begin: Option<Vec<u8>>,
    is_over: bool,
}

impl Decoder {
    /// Adds the codings of a header, in the order in which the server applied them. `chunked` is
    /// not one of them: it frames the body.
    pub(super) fn add(&mut self, codings: &str) {
        for coding in codings.split(',').map(|coding| coding.trim().to_ascii_lowercase()).rev() {
            self.stages.push(match coding.as_str() {
                "" | "identity" | "none" | "chunked" => continue,
                "gzip" | "x-gzip" => Stage::Inflate(Inflate::new(Decompress::new_gzip(WINDOW_BITS), None)),
                "deflate" => Stage::Inflate(Inflate::new(Decompress::new(true), Some(Vec::new()))),
                _ => Stage::Unknown,
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Decodes a part of the body into `out`. What was decoded before a failure is there.
    ///
    /// # Errors
    /// `Coding` for one that is not known, `Decoding`, or `Trailing`.
    pub(super) fn decode(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let mut part = part.to_vec();
        let mut outcome = Ok(());
        for stage in &mut self.stages {
            let mut decoded = Vec::new();
            if !part.is_empty() {
                let done = match stage {
                    Stage::Unknown => Err(Error::Coding),
                    Stage::Inflate(inflate) => inflate.decode(&part, &mut decoded),
                };
                outcome = outcome.and(done);
            }
            part = decoded;
        }
        out.append(&mut part);
        outcome
    }
}

impl Inflate {
    fn new(state: Decompress, begin: Option<Vec<u8>>) -> Inflate {
        Inflate { state, begin, is_over: false }
    }

    fn decode(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(mut begin) = self.begin.take() else { return self.inflate(part, out) };
        begin.extend_from_slice(part);
        let &[first, second, ..] = begin.as_slice() else {
            self.begin = Some(begin);
            return Ok(());
        };
        // RFC 1950, 2.2: the method is 8, and both bytes together are a multiple of 31.
        if first & 0x0f != 8 || u16::from_be_bytes([first, second]) % 31 != 0 {
            self.state = Decompress::new(false);
        }
        self.inflate(&begin, out)
    }

    fn inflate(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let mut rest = part;
        loop {
            if self.is_over {
                return if rest.is_empty() { Ok(()) } else { Err(Error::Trailing) };
            }
            out.reserve(PART);
            let (read, written) = (self.state.total_in(), out.len());
            let status = self.state.decompress_vec(rest, out, FlushDecompress::None).map_err(|e| {
                Error::Decoding(e.message().unwrap_or("Unknown failure within decompression software").into())
            })?;
            // No more than `rest` has, which is a length in memory.
            rest = &rest[(self.state.total_in() - read) as usize..];
            match status {
                Status::StreamEnd => self.is_over = true,
                // All is read, and what was read is written: there was room left.
                _ if rest.is_empty() && out.len() < out.capacity() => return Ok(()),
                _ if self.state.total_in() == read && out.len() == written => {
                    return Err(Error::Decoding("the stream makes no progress".into()));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// What comes out of a body that arrives in parts of that many bytes.
    fn decoded(codings: &str, body: &[u8], each: usize) -> (Result<(), Error>, Vec<u8>) {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        decoder.add(codings);
        let mut parts = body.chunks(each);
        (parts.try_for_each(|part| decoder.decode(part, &mut out)), out)
    }

    #[test]
    fn codings_are_taken_off_whatever_the_parts_are() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_be_bytes()).collect();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(&text).unwrap();
        for (codings, body) in [
            ("gzip", gzip(&text)),
            ("X-GZip", gzip(&text)),
            ("gzip, gzip", gzip(&gzip(&text))),
            ("chunked, gzip", gzip(&text)),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", raw.finish().unwrap()),
            ("identity, none", text.clone()),
        ] {
            for each in [1, 1000, usize::MAX] {
                let (outcome, out) = decoded(codings, &body, each);
                assert!(outcome.is_ok() && out == text, "{codings} in parts of {each} bytes");
            }
        }
    }

    #[test]
    fn what_is_no_coding_is_told() {
        let body = gzip(b"hello");
        assert!(matches!(decoded("br", &body, 9).0, Err(Error::Coding)));
        assert!(matches!(decoded("gzip", b"bad data here", 99).0, Err(Error::Decoding(_))));
        let (outcome, out) = decoded("gzip", &[&body[..], b"more"].concat(), 99);
        assert!(matches!(outcome, Err(Error::Trailing)) && out == b"hello");
        // As in curl, a body that is cut inside of its coding is as long as it is.
        let (outcome, out) = decoded("gzip", &body[..body.len() - 4], 99);
        assert!(outcome.is_ok() && out == b"hello");
    }
}
