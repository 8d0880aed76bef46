//! Decompresses what gzip wrote.

use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, Read};

/// The first byte of a member (RFC 1952, 2.3.1).
const FIRST_BYTE: u8 = 0x1f;

/// Reads the members of a gzip stream one after the other. As in busybox, what follows the last one
/// and is no member is left out: an archive may be padded with zeros.
pub(super) struct Gunzip<R> {
    /// The member that is read; `None` behind the last one.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gunzip<R> {
    pub(super) fn new(input: R) -> Gunzip<R> {
        Gunzip { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    /// # Errors
    /// The input cannot be read, breaks off within a member, or its checksum is wrong.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(mut input) = self.member.take().map(GzDecoder::into_inner) else { break };
            let has_next = loop {
                match input.fill_buf() {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    rest => break rest?.first() == Some(&FIRST_BYTE),
                }
            };
            self.member = has_next.then(|| GzDecoder::new(input));
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{create, extract, parse};
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn all_members_are_read_and_nothing_behind_them() {
        let member = |text: &str| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(text.as_bytes()).unwrap();
            gzip.finish().unwrap()
        };
        let two = [member("one,"), member("two")].concat();
        for end in [&b""[..], b"\0\0\0", b"garbage"] {
            let input = [&two[..], end].concat();
            assert_eq!(io::read_to_string(Gunzip::new(&input[..])).unwrap(), "one,two");
        }
        for length in [0, 5, two.len() - 1] {
            assert!(io::read_to_string(Gunzip::new(&two[..length])).is_err(), "{length}");
        }
    }

    /// The checksum stands behind the two blocks of zeros that end the archive.
    #[test]
    fn a_wrong_checksum_of_an_archive_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tgz");
        std::fs::write(dir.path().join("f"), "text").unwrap();
        let call = |options: &str| {
            let line = format!("{options} {} -C {} f", archive.display(), dir.path().display());
            parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(create(&call("czf")).unwrap(), 0);
        assert_eq!(extract(&call("tzf")).unwrap(), 0);
        let mut bytes = std::fs::read(&archive).unwrap();
        let checksum = bytes.len() - 8; // before the length, of four bytes too
        bytes[checksum] ^= 1;
        std::fs::write(&archive, bytes).unwrap();
        assert!(extract(&call("tzf")).is_err());
    }
}
