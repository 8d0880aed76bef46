//! As much of DER as certificates need. Source: X.690.

use clock::Timestamp;
use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

/// Encodes a value: its tag, its length, its content.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|b| *b != 0).unwrap_or(length.len())..];
    match content.len() {
        short @ 0..0x80 => out.push(short as u8),
        _ => {
            out.push(0x80 | significant.len() as u8);
            out.extend(significant);
        }
    }
    out.extend(content);
    out
}

/// Encodes a SEQUENCE of these values, each in DER.
pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// Encodes an OBJECT IDENTIFIER of these arcs, of which there are two at least.
pub(crate) fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut content = vec![(arcs[0] * 40 + arcs[1]) as u8];
    for arc in &arcs[2..] {
        let mut septets = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            septets.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        content.extend(septets.into_iter().rev());
    }
    tlv(0x06, &content)
}

/// Encodes a time: with two digits of the year until 2049, with four after (RFC 5280, 4.1.2.5).
pub(crate) fn time(at: Timestamp) -> Vec<u8> {
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    match at.year() {
        ..2050 => tlv(0x17, at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()),
        _ => tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()),
    }
}

/// Returns the contents of the values that stand one after another in `der`; `None` if one of them
/// is malformed.
pub(crate) fn contents(der: &[u8]) -> Option<Vec<&[u8]>> {
    Some(values(der)?.into_iter().map(|(_, content)| content).collect())
}

/// As [`contents`], each with its tag.
pub(crate) fn values(mut der: &[u8]) -> Option<Vec<(Tag, &[u8])>> {
    let mut out = vec![];
    while !der.is_empty() {
        let (rest, value) = Any::from_der(der).ok()?;
        out.push((value.tag(), value.data));
        der = rest;
    }
    Some(out)
}

/// Returns true if `der` begins with an OBJECT IDENTIFIER. x509-parser takes every value for one.
pub(crate) fn begins_with_oid(der: &[u8]) -> bool {
    Any::from_der(der).is_ok_and(|(_, first)| is_oid(&first))
}

/// Returns true for an OBJECT IDENTIFIER whose last number ends: the first bit of its last byte is
/// not set.
pub(crate) fn is_oid(value: &Any<'_>) -> bool {
    let is_whole = value.data.last().is_some_and(|last| *last < 0x80);
    let is_primitive = value.class() == Class::Universal && !value.header.is_constructed();
    is_primitive && value.tag() == Tag::Oid && is_whole
}
