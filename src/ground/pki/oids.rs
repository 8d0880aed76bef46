//! Object identifiers (OIDs) of keys, curves and extensions, each as its arcs. Sources: RFC 3279
//! (RSA), RFC 5480 (elliptic curves), RFC 8410 (Ed25519 and X25519), RFC 5280 (extensions).

use super::der;
use x509_parser::asn1_rs::Oid;

/// rsaEncryption. Its parameters are NULL.
pub(crate) const RSA: [u64; 7] = [1, 2, 840, 113549, 1, 1, 1];
/// ecPublicKey. Its parameters are the identifier of a curve.
pub(crate) const ELLIPTIC: [u64; 6] = [1, 2, 840, 10045, 2, 1];
/// Ed25519: both the keys and their signatures. It has no parameters.
pub(crate) const ED25519: [u64; 4] = [1, 3, 101, 112];
/// X25519. Its keys agree on other keys and sign nothing.
pub(crate) const X25519: [u64; 4] = [1, 3, 101, 110];

pub(crate) const P224: [u64; 5] = [1, 3, 132, 0, 33];
pub(crate) const P256: [u64; 7] = [1, 2, 840, 10045, 3, 1, 7];
pub(crate) const P384: [u64; 5] = [1, 3, 132, 0, 34];
pub(crate) const P521: [u64; 5] = [1, 3, 132, 0, 35];
/// The curves of the keys that Go reads, and so Kubernetes. Source: `namedCurveFromOID` in Go's
/// crypto/x509.
pub(crate) const CURVES: [&[u64]; 4] = [&P224, &P256, &P384, &P521];

pub(crate) const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
/// subjectAltName, the extension with the subject alternative names (SANs).
pub(crate) const SUBJECT_ALT_NAME: [u64; 4] = [2, 5, 29, 17];
pub(crate) const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];
pub(crate) const AUTHORITY_KEY_IDENTIFIER: [u64; 4] = [2, 5, 29, 35];
pub(crate) const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];
/// A purpose in an extended key usage: certificates of servers.
pub(crate) const SERVER_AUTH: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 1];
/// A purpose in an extended key usage: certificates of clients.
pub(crate) const CLIENT_AUTH: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 2];

/// Returns true if an identifier has these arcs.
pub(crate) fn is(oid: &Oid<'_>, arcs: &[u64]) -> bool {
    oid.iter().is_some_and(|own| own.eq(arcs.iter().copied()))
}

/// Returns true if the content of an OBJECT IDENTIFIER, without its tag and length, has these arcs.
pub(crate) fn is_content(content: &[u8], arcs: &[u64]) -> bool {
    der::oid(arcs).get(2..) == Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_compared_arc_by_arc() {
        let all: [&[u64]; 9] =
            [&RSA, &ELLIPTIC, &ED25519, &X25519, &P224, &P256, &P384, &P521, &SUBJECT_ALT_NAME];
        for (at, arcs) in all.into_iter().enumerate() {
            let oid = Oid::from(arcs).unwrap();
            let same: Vec<usize> = (0..all.len()).filter(|other| is(&oid, all[*other])).collect();
            assert_eq!(same, [at], "{arcs:?}");
            let same: Vec<usize> =
                (0..all.len()).filter(|other| is_content(oid.as_bytes(), all[*other])).collect();
            assert_eq!(same, [at], "{arcs:?}");
        }
        let longer = Oid::from(&[1, 3, 132, 0, 35, 1]).unwrap();
        assert!(!is(&longer, &P521) && !is_content(longer.as_bytes(), &P521));
    }
}
