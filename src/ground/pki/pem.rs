//! Blocks in PEM form, read as Go's `pem.Decode` reads them: what decides about requests and
//! certificates must see the blocks that upstream sees, and no others.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "\n-----END ";
const DASHES: &str = "-----";

/// As Go decodes it: padding is needed, and the bits behind the last byte do not matter.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A block in PEM form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The kind of the block, e.g. `CERTIFICATE`.
    pub label: String,
    /// True if lines `Key: value` stand before the data.
    pub has_headers: bool,
    pub der: Vec<u8>,
}

impl Block {
    /// Returns true for a block that Go takes for a certificate.
    pub(crate) fn is_certificate(&self) -> bool {
        self.label == "CERTIFICATE" && !self.has_headers
    }
}

/// Returns the blocks of a text. All else is passed over: other text, a block that does not end or
/// ends with another label, and a block whose data is no base64.
pub(crate) fn blocks(text: &[u8]) -> Vec<Block> {
    read(text).0
}

/// Returns the blocks of a text as [`blocks`] does, and whether the text ends with the line that
/// ends its last block. Go finds no further block behind that line.
pub(crate) fn read(text: &[u8]) -> (Vec<Block>, bool) {
    let text = String::from_utf8_lossy(text);
    let (mut rest, mut all, mut behind) = (&*text, vec![], &*text);
    while let Some(at) = rest.find(END) {
        let (before, after) = (&rest[..at], &rest[at + END.len()..]);
        let (end, next) = after.split_once('\n').unwrap_or((after, ""));
        rest = match block(before, end) {
            Some(block) => {
                all.push(block);
                behind = next;
                next
            }
            None => after,
        };
    }
    (all, behind.is_empty())
}

/// Reads the block at the end of `before`; `end` is the rest of the line that ends it.
fn block(before: &str, end: &str) -> Option<Block> {
    let at = before.rfind(BEGIN)?;
    if at > 0 && !before[..at].ends_with('\n') {
        return None;
    }
    let (line, mut data) =
        before[at + BEGIN.len()..].split_once('\n').unwrap_or((&before[at + BEGIN.len()..], ""));
    let label = line.trim_end().strip_suffix(DASHES)?;
    if end.trim_end().strip_suffix(DASHES) != Some(label) {
        return None;
    }
    let mut has_headers = false;
    while let (line, Some(rest)) = data.split_once('\n').map_or((data, None), |(l, r)| (l, Some(r)))
        && line.contains(':')
    {
        (has_headers, data) = (true, rest);
    }
    let data: String = data.chars().filter(|letter| !matches!(letter, ' ' | '\t' | '\r' | '\n')).collect();
    Some(Block { label: label.to_string(), has_headers, der: BASE64.decode(data).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<String> {
        blocks(text.as_bytes()).into_iter().map(|block| block.label).collect()
    }

    #[test]
    fn blocks_are_those_that_go_finds() {
        let good = "-----BEGIN A-----\naGVs\r\nbG8=\r\n-----END A-----\n";
        let all = blocks(format!("text\n{good}between\n{good}").as_bytes());
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].der.as_slice(), all[0].has_headers), (&b"hello"[..], false));
        let headers = "-----BEGIN A-----\nKey: value\n\naGVsbG8=\n-----END A-----";
        assert!(blocks(headers.as_bytes())[0].has_headers);
        for (text, wanted) in [
            ("-----BEGIN A-----\n-----END A-----", &["A"][..]), // empty
            ("-----BEGIN A-----\naGVsbG8=\n", &[]),             // no end
            ("-----BEGIN A-----\naGVsbG8=\n-----END B-----\n", &[]),
            ("x-----BEGIN A-----\naGVsbG8=\n-----END A-----\n", &[]),
            ("-----BEGIN A-----\naGVsbG8\n-----END A-----\n", &[]), // no padding
            ("-----BEGIN A-----\naGVsbG9=\n-----END A-----\n", &["A"]),
            ("-----BEGIN A-----\naGVsbG8=\n-----END A----- x\n", &[]),
            ("-----BEGIN A-----\n-----BEGIN B-----\naGVsbG8=\n-----END B-----\n", &["B"]),
            ("-----BEGIN A-----\n?\n-----END A-----\n-----BEGIN B-----\n-----END B-----\n", &["B"]),
        ] {
            assert_eq!(labels(text), wanted, "{text}");
        }
        for (text, is_end) in [("", true), ("x", false), (good, true), (&*format!("{good}\n"), false)] {
            assert_eq!(read(text.as_bytes()).1, is_end, "{text:?}");
        }
    }
}
