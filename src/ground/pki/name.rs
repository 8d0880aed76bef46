//! Reads the texts of a certificate's names. Source: `parseASN1String` in Go's crypto/x509. Go
//! refuses a certificate if it cannot read one of its texts: if a common name were passed over,
//! another one would be the user's.

use super::der;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::x509::X509Name;

/// The attributes of a name: the last arcs of 2.5.4.N (X.520).
pub(crate) const COMMON_NAME: u8 = 3;
pub(crate) const SERIAL_NUMBER: u8 = 5;
pub(crate) const ORGANIZATION: u8 = 10;

/// Go's words for a value of another type than those of texts.
pub(crate) const NO_TEXT: &str = "unsupported string type";

/// Returns true if a name was read to its end, and each of its attributes begins with an OBJECT
/// IDENTIFIER. x509-parser stops at a part that it cannot read, e.g. an empty one, and the raw form
/// that it returns ends there, too.
pub(crate) fn is_whole(name: &X509Name<'_>) -> bool {
    attributes(name).is_some_and(|all| all.into_iter().all(der::begins_with_oid))
}

/// Checks that every attribute of a name is a text.
///
/// # Errors
/// An attribute is malformed or no text, in Go's words.
pub(crate) fn check(name: &X509Name<'_>) -> Result<(), String> {
    if !is_whole(name) {
        return Err("x509: invalid RDNSequence".into());
    }
    for attribute in name.iter_attributes() {
        text(attribute.attr_value())
            .map_err(|why| format!("x509: invalid RDNSequence: invalid attribute value: {why}"))?;
    }
    Ok(())
}

/// Returns the contents of a name's attributes; `None` if it was not read to its end.
fn attributes<'a>(name: &'a X509Name<'_>) -> Option<Vec<&'a [u8]>> {
    let mut all = vec![];
    for set in der::contents(der::contents(name.as_raw())?.first()?)? {
        all.extend(der::contents(set)?);
    }
    Some(all)
}

/// Returns the text of an attribute's value.
///
/// # Errors
/// The value is malformed, or no text, in Go's words.
pub(crate) fn text(value: &Any<'_>) -> Result<String, &'static str> {
    let data = value.data;
    match value.tag() {
        Tag::Utf8String => String::from_utf8(data.to_vec()).map_err(|_| "invalid UTF-8 string"),
        Tag::PrintableString => made_of(data, is_printable, "invalid PrintableString"),
        Tag::Ia5String => made_of(data, u8::is_ascii, "invalid IA5String"),
        Tag::NumericString => made_of(data, is_numeric, "invalid NumericString"),
        // T.61, which nearly all programs write as Latin-1.
        Tag::TeletexString => Ok(data.iter().copied().map(char::from).collect()),
        Tag::BmpString => basic_plane(data).ok_or("invalid BMPString"),
        _ => Err(NO_TEXT),
    }
}

/// Returns a text of ASCII letters, all of which have to be `allowed`.
fn made_of(data: &[u8], allowed: fn(&u8) -> bool, why: &'static str) -> Result<String, &'static str> {
    match data.iter().all(allowed) {
        true => Ok(data.iter().copied().map(char::from).collect()),
        false => Err(why),
    }
}

/// Returns true for a letter of a PrintableString. X.680 does not allow `*` and `&`, which are in
/// names of authorities that are in use.
fn is_printable(letter: &u8) -> bool {
    letter.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(letter)
}

/// Returns true for a letter of a NumericString.
fn is_numeric(letter: &u8) -> bool {
    letter.is_ascii_digit() || *letter == b' '
}

/// Returns a text of two bytes for each letter; a 0 may end it. Surrogates, which stand for letters
/// of other planes, and reserved numbers are not allowed.
fn basic_plane(data: &[u8]) -> Option<String> {
    let pairs = data.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    let mut points: Vec<u16> = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    if points.last() == Some(&0) {
        points.pop();
    }
    let is_letter = |point: &u16| !matches!(*point, 0xd800..=0xdfff | 0xfdd0..=0xfdef | 0xfffe..=0xffff);
    points.iter().all(is_letter).then(|| String::from_utf16_lossy(&points))
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::asn1_rs::FromDer;

    #[test]
    fn texts_are_those_that_go_reads() {
        let all: [(u8, &[u8], Result<&str, &'static str>); 15] = [
            (0x0c, "조이".as_bytes(), Ok("조이")),
            (0x0c, &[0xff], Err("invalid UTF-8 string")),
            (0x13, b"system:node:n1", Ok("system:node:n1")),
            (0x13, b"jane@example.com", Err("invalid PrintableString")),
            (0x16, b"jane@example.com", Ok("jane@example.com")),
            (0x16, &[0xe4], Err("invalid IA5String")),
            (0x12, b"12 3", Ok("12 3")),
            (0x12, b"12-3", Err("invalid NumericString")),
            (0x14, &[b'j', 0xf6], Ok("jö")),
            (0x1e, &[0, b'j', 0xc8, 0x70], Ok("j조")),
            (0x1e, &[0, b'j', 0, 0], Ok("j")),
            (0x1e, &[0, b'j', 0], Err("invalid BMPString")),
            (0x1e, &[0xd8, 0x3d, 0xde, 0x00], Err("invalid BMPString")),
            (0x1c, &[0, 0, 0, b'j'], Err("unsupported string type")),
            (0x02, &[7], Err("unsupported string type")),
        ];
        for (tag, data, wanted) in all {
            let der = der::tlv(tag, data);
            let (_, value) = Any::from_der(&der).unwrap();
            assert_eq!(text(&value), wanted.map(String::from), "{tag:#x} {data:?}");
        }
    }
}
