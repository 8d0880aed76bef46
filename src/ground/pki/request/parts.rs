//! Reads the parts of a request. x509-parser has a reader of its own, which refuses a request for
//! an attribute that no signer reads, e.g. a challenge password as IA5String. Source:
//! `ParseCertificateRequest` in Go's crypto/x509, which passes over such an attribute.

use crate::der;
use std::fmt::Display;
use x509_parser::asn1_rs::{Any, BitString, Class, FromDer, Tag};
use x509_parser::extensions::X509Extension;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

/// extensionRequest (RFC 2985), the attribute that holds the extensions that are asked for.
const EXTENSION_REQUEST: [u64; 7] = [1, 2, 840, 113549, 1, 9, 14];

/// The parts of a request, which stay in its DER.
pub(crate) struct Parts<'a> {
    /// What the requester has signed, in DER.
    pub signed: &'a [u8],
    pub subject: X509Name<'a>,
    pub key: SubjectPublicKeyInfo<'a>,
    /// The attributes one after another, each in DER.
    attributes: &'a [u8],
    /// How the requester has signed.
    pub algorithm: AlgorithmIdentifier<'a>,
    pub signature: BitString<'a>,
}

impl<'a> Parts<'a> {
    /// Reads a request in DER.
    ///
    /// # Errors
    /// The request is malformed, in a sentence.
    pub(crate) fn read(der: &'a [u8]) -> Result<Parts<'a>, String> {
        let (outer, rest) = value(der, Tag::Sequence)?;
        if !rest.is_empty() {
            return Err(malformed("trailing data"));
        }
        let (info, rest) = value(outer, Tag::Sequence)?;
        let signed = &outer[..outer.len() - rest.len()];
        check_algorithm(rest)?;
        let (rest, algorithm) = AlgorithmIdentifier::from_der(rest).map_err(malformed)?;
        let (_, signature) = BitString::from_der(rest).map_err(malformed)?;
        let (_version, rest) = value(info, Tag::Integer)?;
        let (rest, subject) = X509Name::from_der(rest).map_err(malformed)?;
        let (rest, key) = SubjectPublicKeyInfo::from_der(rest).map_err(malformed)?;
        check_algorithm(value(key.raw, Tag::Sequence)?.0)?;
        // x509-parser reads the bits of a last byte that is not whole as a whole byte.
        if key.subject_public_key.unused_bits != 0 || signature.unused_bits != 0 {
            return Err(malformed("a key or signature ends within a byte"));
        }
        let (_, attributes) = Any::from_der(rest).map_err(malformed)?;
        if attributes.class() != Class::ContextSpecific || attributes.tag() != Tag(0) {
            return Err(malformed("it has no attributes"));
        }
        Ok(Parts { signed, subject, key, attributes: attributes.data, algorithm, signature })
    }

    /// Returns the extensions that the requester asks for. An attribute that cannot be read is
    /// passed over; of several values of one attribute the first counts.
    ///
    /// # Errors
    /// An extension is malformed, in a sentence.
    pub(crate) fn extensions(&self) -> Result<Vec<X509Extension<'a>>, String> {
        let wanted = der::oid(&EXTENSION_REQUEST);
        let attributes = der::values(self.attributes).ok_or_else(|| malformed("an attribute"))?;
        let mut all = vec![];
        for (_, attribute) in attributes {
            let parts = der::values(attribute).unwrap_or_default();
            let [(Tag::Oid, number), (Tag::Set, values), ..] = parts.as_slice() else { continue };
            if wanted.get(2..) != Some(*number) {
                continue;
            }
            let values = der::values(values).unwrap_or_default();
            let Some((tag, mut rest)) = values.first().copied() else { continue };
            if tag != Tag::Sequence {
                return Err(malformed("the extensions are no sequence"));
            }
            while !rest.is_empty() {
                check_number(value(rest, Tag::Sequence)?.0)?;
                let (next, extension) = X509Extension::from_der(rest).map_err(malformed)?;
                all.push(extension);
                rest = next;
            }
        }
        Ok(all)
    }
}

/// Checks that `der` begins with an algorithm, and that with its OBJECT IDENTIFIER.
///
/// # Errors
/// Another value stands there, in a sentence.
fn check_algorithm(der: &[u8]) -> Result<(), String> {
    check_number(value(der, Tag::Sequence)?.0)
}

/// Checks that `der` begins with an OBJECT IDENTIFIER.
///
/// # Errors
/// Another value stands there, in a sentence.
fn check_number(der: &[u8]) -> Result<(), String> {
    match der::begins_with_oid(der) {
        true => Ok(()),
        false => Err(malformed("an object identifier is missing or malformed")),
    }
}

/// Returns the content of the first value in `der`, and what follows the value.
///
/// # Errors
/// The value is malformed, or of another type than `wanted`, in a sentence.
fn value(der: &[u8], wanted: Tag) -> Result<(&[u8], &[u8]), String> {
    let (rest, first) = Any::from_der(der).map_err(malformed)?;
    match first.class() == Class::Universal && first.tag() == wanted {
        true => Ok((first.data, rest)),
        false => Err(malformed(format!("{} where {wanted} is needed", first.tag()))),
    }
}

/// Returns the error about a malformed request.
fn malformed(why: impl Display) -> String {
    format!("x509: malformed certificate request: {why}")
}
