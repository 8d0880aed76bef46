//! Codings of bodies: those of the transfer (RFC 9112, 7) and those of the content (RFC 9110,
//! 8.4.1). gzip and deflate are known.
//!
//! A few bytes may stand for gigabytes, more so if one coding stands on another. So each stage
//! decodes at most [`PART`] bytes at a time and keeps what it has not read: a decoder with all of
//! its stages needs a few hundred KiB, whatever the server sends.

use super::error::Error;
use flate2::{Decompress, FlushDecompress, Status};

/// Bytes that a stage decodes at once.
const PART: usize = 32 * 1024;

/// Codings of one answer, at most, as in curl, which counts `identity`, too.
const CODINGS_MAX: usize = 5;

/// The largest window of a gzip stream, in bits.
const WINDOW_BITS: u8 = 15;

/// Takes codings off a body, part by part. Without a coding the body passes as it is.
#[derive(Default)]
pub(super) struct Decoder {
    /// The coding that is taken off first stands first.
    stages: Vec<Stage>,
    /// Codings that were named.
    count: usize,
}

/// One coding.
struct Stage {
    coding: Coding,
    /// What came for it, and how much of that it has read.
    input: Vec<u8>,
    read: usize,
    /// Why the stage before it failed; returned once all before it was decoded.
    failure: Option<Error>,
}

enum Coding {
    Inflate(Inflate),
    /// A coding that this decoder does not know. It fails at the first byte, as in curl: an answer
    /// without a body may name any coding.
    Unknown,
}

/// A stream of zlib, of gzip, or of neither.
struct Inflate {
    state: Decompress,
    /// `deflate` should be a zlib stream, but some servers send one without its head. The first
    /// bytes tell which of the two it is.
    is_undecided: bool,
    is_over: bool,
}

impl Decoder {
    /// Adds the codings of a header, in the order in which the server applied them. `chunked` is
    /// not one of them: it frames the body.
    pub(super) fn add(&mut self, codings: &str) {
        for coding in codings.split(',').map(|coding| coding.trim().to_ascii_lowercase()).rev() {
            let is_coding = !matches!(coding.as_str(), "" | "chunked");
            self.count += usize::from(is_coding);
            if !is_coding || self.count > CODINGS_MAX {
                continue;
            }
            let coding = match coding.as_str() {
                "identity" | "none" => continue,
                "gzip" | "x-gzip" => Coding::Inflate(Inflate::new(Decompress::new_gzip(WINDOW_BITS), false)),
                "deflate" => Coding::Inflate(Inflate::new(Decompress::new(true), true)),
                _ => Coding::Unknown,
            };
            self.stages.push(Stage { coding, input: Vec::new(), read: 0, failure: None });
        }
    }

    /// Fails if the server named more codings than are taken off.
    ///
    /// # Errors
    /// `ManyCodings`.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.count > CODINGS_MAX { Err(Error::ManyCodings) } else { Ok(()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Takes a part of the body. It is decoded by [`Decoder::decode`], which has to find nothing
    /// before another part is taken: so the parts do not pile up.
    pub(super) fn feed(&mut self, part: &[u8]) {
        if let Some(first) = self.stages.first_mut() {
            first.feed(part);
        }
    }

    /// Decodes the next bytes into `out`, which is empty and gets some [`PART`] bytes at most. It
    /// stays empty if more of the body is needed. What was decoded before a failure is there.
    ///
    /// # Errors
    /// `Coding` for one that is not known, `Decoding`, or `Trailing`.
    pub(super) fn decode(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        pull(&mut self.stages, out)
    }
}

/// Decodes with the last stage, and asks those before it for more while it has nothing to give.
fn pull(stages: &mut [Stage], out: &mut Vec<u8>) -> Result<(), Error> {
    let Some((last, before)) = stages.split_last_mut() else { return Ok(()) };
    loop {
        let decoded = last.decode(out);
        if decoded.is_err() || !out.is_empty() {
            return decoded;
        }
        if let Some(failure) = last.failure.take() {
            return Err(failure);
        }
        let mut more = Vec::new();
        let pulled = pull(before, &mut more);
        if more.is_empty() {
            return pulled;
        }
        last.feed(&more);
        last.failure = pulled.err();
    }
}

impl Stage {
    fn feed(&mut self, part: &[u8]) {
        self.input.drain(..self.read);
        self.read = 0;
        self.input.extend_from_slice(part);
    }

    fn decode(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let unread = &self.input[self.read..];
        match &mut self.coding {
            Coding::Unknown if unread.is_empty() => Ok(()),
            Coding::Unknown => Err(Error::Coding),
            Coding::Inflate(inflate) => {
                let before = inflate.state.total_in();
                let decoded = inflate.decode(unread, out);
                // No more than `unread` has, which is a length in memory.
                self.read += (inflate.state.total_in() - before) as usize;
                decoded
            }
        }
    }
}

impl Inflate {
    fn new(state: Decompress, is_undecided: bool) -> Inflate {
        Inflate { state, is_undecided, is_over: false }
    }

    /// Decodes until `out` has [`PART`] bytes or all of `part` is read.
    /// `state.total_in()` counts what was read.
    fn decode(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if self.is_undecided {
            let &[first, second, ..] = part else { return Ok(()) };
            // RFC 1950, 2.2: the method is 8, and both bytes together are a multiple of 31.
            if first & 0x0f != 8 || u16::from_be_bytes([first, second]) % 31 != 0 {
                self.state = Decompress::new(false);
            }
            self.is_undecided = false;
        }
        let begun = self.state.total_in();
        while out.len() < PART {
            let rest = &part[(self.state.total_in() - begun) as usize..];
            if self.is_over {
                return if rest.is_empty() { Ok(()) } else { Err(Error::Trailing) };
            }
            out.reserve_exact(PART - out.len());
            let (read, written) = (self.state.total_in(), out.len());
            // A call without input makes sense: there may be output that found no room before.
            let status = self.state.decompress_vec(rest, out, FlushDecompress::None).map_err(|e| {
                Error::Decoding(e.message().unwrap_or("Unknown failure within decompression software").into())
            })?;
            let is_idle = self.state.total_in() == read && out.len() == written;
            match status {
                Status::StreamEnd => self.is_over = true,
                _ if is_idle && rest.is_empty() => return Ok(()),
                _ if is_idle => return Err(Error::Decoding("the stream makes no progress".into())),
                _ => {}
            }
        }
        Ok(())
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

    /// Returns what comes out of a body that arrives in parts of that many bytes.
    fn decoded(codings: &str, body: &[u8], each: usize) -> (Result<(), Error>, Vec<u8>) {
        let (mut decoder, mut all) = (Decoder::default(), Vec::new());
        decoder.add(codings);
        for part in body.chunks(each) {
            if decoder.is_empty() {
                all.extend_from_slice(part);
                continue;
            }
            decoder.feed(part);
            loop {
                let mut out = Vec::new();
                let outcome = decoder.decode(&mut out);
                assert!(out.len() <= 2 * PART, "{} bytes at once", out.len());
                all.extend_from_slice(&out);
                if outcome.is_err() {
                    return (outcome, all);
                }
                if out.is_empty() {
                    break;
                }
            }
        }
        (Ok(()), all)
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
    fn what_is_no_coding_is_reported() {
        let body = gzip(b"hello");
        assert!(matches!(decoded("br", &body, 9).0, Err(Error::Coding)));
        assert!(matches!(decoded("gzip", b"bad data here", 99).0, Err(Error::Decoding(_))));
        let (outcome, out) = decoded("gzip", &[&body[..], b"more"].concat(), 99);
        assert!(matches!(outcome, Err(Error::Trailing)) && out == b"hello");
        // As in curl, a body that is cut inside of its coding is as long as it is.
        let (outcome, out) = decoded("gzip", &body[..body.len() - 4], 99);
        assert!(outcome.is_ok() && out == b"hello");
    }

    /// A few KiB stand for 64 MiB, and no stage ever holds more than a few parts of them.
    #[test]
    fn a_double_bomb_is_decoded_part_by_part() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let zeros = vec![0; 1 << 20];
        for _ in 0..64 {
            encoder.write_all(&zeros).unwrap();
        }
        let bomb = gzip(&encoder.finish().unwrap());
        assert!(bomb.len() < 4096, "{}", bomb.len());
        let mut decoder = Decoder::default();
        decoder.add("gzip, gzip");
        decoder.feed(&bomb);
        let mut total = 0;
        loop {
            let mut out = Vec::new();
            decoder.decode(&mut out).unwrap();
            if out.is_empty() {
                break;
            }
            let held: usize = decoder.stages.iter().map(|stage| stage.input.capacity()).sum();
            assert!(out.len() <= 2 * PART && held <= 8 * PART, "{} and {held} bytes at once", out.len());
            total += out.len();
        }
        assert_eq!(total, 64 << 20);
    }

    #[test]
    fn the_sixth_coding_is_refused() {
        let refused = |headers: &[&str]| {
            let mut decoder = Decoder::default();
            headers.iter().for_each(|codings| decoder.add(codings));
            matches!(decoder.check(), Err(Error::ManyCodings))
        };
        assert!(!refused(&["gzip,gzip,gzip,,gzip", "chunked, identity"]));
        assert!(refused(&["gzip,gzip,gzip,gzip", "identity, none"]));
        assert!(refused(&["br,br,br,br,br,br"]));
    }
}
