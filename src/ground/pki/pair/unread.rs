//! Keys that the TLS library does not read, and Go does.

use super::{OTHER_KEY, OTHER_KIND, is_of, point_of};
use crate::der;
use crate::identity::provider;
use crate::keys::in_pkcs8;
use crate::oids::{CURVES, ELLIPTIC, P256, P384, RSA, is_content};
use rustls::pki_types::PrivateKeyDer;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;

/// A key that the library does not read: its length or its curve is not known to it, e.g. RSA with
/// 1024 or 8192 bits, or the public half is missing.
pub(super) enum Unread<'a> {
    /// The modulus and the public exponent.
    Rsa(&'a [u8], &'a [u8]),
    Elliptic(Elliptic<'a>),
}

/// A key of an elliptic curve.
pub(super) struct Elliptic<'a> {
    /// The content of the curve's OBJECT IDENTIFIER.
    curve: &'a [u8],
    /// The private number, of which leading zeros may be missing.
    number: &'a [u8],
    /// The content of a BIT STRING with the public half, which begins with the number of its unused
    /// bits. `None`: the key lacks it.
    public: Option<&'a [u8]>,
}

impl<'a> Unread<'a> {
    /// Reads an RSA key (PKCS #1) or a key of an elliptic curve (SEC 1), by itself or in PKCS #8.
    /// `None`: the key has none of these forms.
    pub(super) fn parse(der: &'a [u8]) -> Option<Unread<'a>> {
        let parts = parts_of(der)?;
        match parts.as_slice() {
            // PKCS #8: a version, the algorithm, which begins with its identifier, and the key.
            [(Tag::Integer, _), (Tag::Sequence, algorithm), (Tag::OctetString, key), ..] => {
                let (key, algorithm) = (parts_of(key)?, der::values(algorithm)?);
                match algorithm.as_slice() {
                    [(Tag::Oid, kind), ..] if is_content(kind, &RSA) => Unread::rsa(&key),
                    [(Tag::Oid, kind), (Tag::Oid, curve), ..] if is_content(kind, &ELLIPTIC) => {
                        Unread::elliptic(&key, Some(*curve))
                    }
                    _ => None,
                }
            }
            parts => Unread::rsa(parts).or_else(|| Unread::elliptic(parts, None)),
        }
    }

    /// Reads the parts of PKCS #1: a version and eight numbers, of which the first two are public.
    fn rsa(parts: &[(Tag, &'a [u8])]) -> Option<Unread<'a>> {
        let numbers = parts.iter().take_while(|(tag, _)| *tag == Tag::Integer).count();
        match parts {
            [_, (_, modulus), (_, exponent), ..] if numbers >= 9 => Some(Unread::Rsa(modulus, exponent)),
            _ => None,
        }
    }

    /// Reads the parts of SEC 1: the version 1 and a number; the curve (`[0]`) and the public half
    /// (`[1]`) may follow. `outer`: the curve that PKCS #8 names around the key.
    fn elliptic(parts: &[(Tag, &'a [u8])], outer: Option<&'a [u8]>) -> Option<Unread<'a>> {
        let [(Tag::Integer, [1]), (Tag::OctetString, number), more @ ..] = parts else { return None };
        if number.is_empty() {
            return None;
        }
        let optional = |wanted: Tag| {
            let (_, value) = more.iter().find(|(tag, _)| *tag == wanted)?;
            der::values(value)?.first().copied()
        };
        let own = optional(Tag(0)).and_then(|(tag, curve)| (tag == Tag::Oid).then_some(curve));
        let curve = outer.or(own).filter(|curve| CURVES.iter().any(|known| is_content(curve, known)))?;
        let public = optional(Tag(1)).map(|(_, half)| half);
        Some(Unread::Elliptic(Elliptic { curve, number, public }))
    }

    /// Checks that this is the key of a certificate.
    ///
    /// # Errors
    /// It is another key, or one of another kind; in Go's words.
    pub(super) fn check(&self, cert: &X509Certificate<'_>) -> Result<(), String> {
        let is_same = match self {
            Unread::Rsa(modulus, exponent) if is_of(cert, &RSA) => {
                let parts = parts_of(point_of(cert)).unwrap_or_default();
                parts.iter().map(|(_, number)| number).eq([modulus, exponent])
            }
            Unread::Elliptic(own) if is_of(cert, &ELLIPTIC) => own.may_be_of(cert),
            _ => return Err(OTHER_KIND.into()),
        };
        match is_same {
            true => Ok(()),
            false => Err(OTHER_KEY.into()),
        }
    }
}

impl Elliptic<'_> {
    /// Returns true unless this is another key than a certificate's. A key of a curve that the
    /// library does not know, without its public half, may be the certificate's.
    fn may_be_of(&self, cert: &X509Certificate<'_>) -> bool {
        let curve = cert.public_key().algorithm.parameters.as_ref().map(|curve| curve.data);
        let is_read = is_content(self.curve, &P256) || is_content(self.curve, &P384);
        let is_half = |public: &[u8]| public.strip_prefix(&[0_u8]) == Some(point_of(cert));
        curve == Some(self.curve)
            && match is_read {
                true => self.with_public_half(cert).is_some(),
                false => self.public.is_none_or(is_half),
            }
    }

    /// Returns this key in PKCS #8 with the public half of a certificate; `None` if the key belongs
    /// to another one. Go derives the public half from the number. The library reads it, not
    /// compressed, and refuses the key if it does not fit the number.
    pub(super) fn with_public_half(&self, cert: &X509Certificate<'_>) -> Option<PrivateKeyDer<'static>> {
        let point = point_of(cert);
        let zeros = self.number.iter().take_while(|byte| **byte == 0).count();
        let number = &self.number[zeros..];
        let missing = (point.len() / 2).checked_sub(number.len())?;
        let number = [vec![0; missing].as_slice(), number].concat();
        let half = der::tlv(0xa1, &der::tlv(0x03, &[&[0_u8][..], point].concat()));
        let key = der::sequence(&[der::tlv(0x02, &[1]), der::tlv(0x04, &number), half]);
        let key = in_pkcs8(&[der::oid(&ELLIPTIC), der::tlv(0x06, self.curve)], &key);
        let key = PrivateKeyDer::Pkcs8(key.into());
        provider().key_provider.load_private_key(key.clone_key()).is_ok().then_some(key)
    }
}

/// Returns the parts of a SEQUENCE, each with its tag; `None` if `der` is not exactly one.
pub(super) fn parts_of(der: &[u8]) -> Option<Vec<(Tag, &[u8])>> {
    match der::values(der)?.as_slice() {
        [(Tag::Sequence, parts)] => der::values(parts),
        _ => None,
    }
}
