//! Compares a certificate with a key. Source: `X509KeyPair` in Go's crypto/tls, whose words a user
//! of kubectl or etcdctl reads.

#[cfg(test)]
mod tests;
mod unread;

use super::certificate::check_parts;
use super::identity::provider;
use super::oids::{self, ED25519, ELLIPTIC, RSA, X25519};
use super::{der, pem, signatures};
use rustls::SignatureAlgorithm;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use std::sync::Arc;
use unread::Unread;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;

/// Go's words for a key of another kind than the certificate's.
const OTHER_KIND: &str = "tls: private key type does not match public key type";
/// Go's words for another key of the same kind.
const OTHER_KEY: &str = "tls: private key does not match public key";

/// Checks that a key belongs to a certificate, both PEM. Of a key of a curve that the library does
/// not know (P-224, P-521) only the curve is compared, and the public half if the key has it.
///
/// # Errors
/// The certificate or the key is missing or malformed, or the key belongs to another certificate;
/// in Go's words.
pub fn check_pair(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let (certificate, key) = (certificate_in(certificate)?, key_in(key)?);
    let parsed = match x509_parser::parse_x509_certificate(&certificate) {
        Ok(([], parsed)) => parsed,
        Ok(_) => return Err("x509: trailing data".into()),
        Err(_) => return Err("x509: malformed certificate".into()),
    };
    check_parts(&parsed)?;
    if is_of(&parsed, &ELLIPTIC) && point_of(&parsed).first() != Some(&4) {
        return Err("ecdsa: invalid uncompressed public key".into());
    }
    let is_known = [&RSA[..], &ELLIPTIC, &ED25519].into_iter().any(|kind| is_of(&parsed, kind));
    let unknown = || Err("tls: unknown public key algorithm".to_string());
    match load(&key) {
        Some(_) if !is_known => unknown(),
        Some(loaded) if is_pair(&parsed, &*loaded) => Ok(()),
        Some(loaded) if is_other_kind(&parsed, &*loaded) => Err(OTHER_KIND.into()),
        Some(_) => Err(OTHER_KEY.into()),
        // The library has the same error for a curve or a length that it does not know and for
        // nonsense.
        None => match Unread::parse(&key) {
            Some(_) if !is_known => unknown(),
            Some(unread) => unread.check(&parsed),
            None if is_for_agreement(&key) => {
                Err("tls: found unknown private key type in PKCS#8 wrapping".into())
            }
            None => Err("tls: failed to parse private key".into()),
        },
    }
}

/// Returns true if a certificate's key is of this kind.
fn is_of(cert: &X509Certificate<'_>, kind: &[u64]) -> bool {
    oids::is_content(cert.public_key().algorithm.algorithm.as_bytes(), kind)
}

/// Returns the bits of a certificate's public key. Those of an elliptic key are its point: 4, then
/// x and y.
fn point_of<'a>(cert: &'a X509Certificate<'_>) -> &'a [u8] {
    &cert.public_key().subject_public_key.data
}

/// Returns true for an X25519 key in PKCS #8, which cannot sign: Go reads it, and refuses it as a
/// key of an unknown type.
fn is_for_agreement(key: &[u8]) -> bool {
    let parts = unread::parts_of(key).unwrap_or_default();
    matches!(parts.as_slice(), [_, (Tag::Sequence, kind), ..] if *kind == der::oid(&X25519))
}

/// Returns the first certificate of a text.
///
/// # Errors
/// The text has none, in Go's words, which say so if it is a key: then the two files may have been
/// switched.
fn certificate_in(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut skipped = vec![];
    for block in pem::blocks(text) {
        if block.label == "CERTIFICATE" {
            return Ok(block.der);
        }
        skipped.push(block.label);
    }
    Err(match skipped.as_slice() {
        [] => "tls: failed to find any PEM data in certificate input".to_string(),
        [label] if label.ends_with("PRIVATE KEY") => {
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".to_string()
        }
        all => format!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
            all.join(" ")
        ),
    })
}

/// Returns the first private key of a text. Other blocks before it, as `EC PARAMETERS`, are passed
/// over.
///
/// # Errors
/// The text has none, in Go's words.
fn key_in(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut skipped = vec![];
    for block in pem::blocks(text) {
        if block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY") {
            return Ok(block.der);
        }
        skipped.push(block.label);
    }
    Err(match skipped.as_slice() {
        [] => "tls: failed to find any PEM data in key input".to_string(),
        [label] if label == "CERTIFICATE" => {
            "tls: found a certificate rather than a key in the PEM for the private key".to_string()
        }
        all => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            all.join(" ")
        ),
    })
}

/// Returns the first private key of a text, in the form that the library reads: as in Go, the label
/// of its PEM block does not matter. A key of an elliptic curve that lacks its public half, as Java
/// writes it, gets that of the certificate `own`. A key that the library does not know stays PKCS
/// #8.
///
/// # Errors
/// The text has no key, in Go's words.
pub(super) fn private_key(
    text: &[u8],
    own: Option<&CertificateDer<'_>>,
) -> Result<PrivateKeyDer<'static>, String> {
    let der = key_in(text)?;
    let is_read =
        |form: &PrivateKeyDer<'_>| provider().key_provider.load_private_key(form.clone_key()).is_ok();
    let found = forms(&der).into_iter().find(is_read).or_else(|| {
        let cert = signatures::parse(own?).ok()?;
        match Unread::parse(&der)? {
            Unread::Elliptic(key) => key.with_public_half(&cert),
            Unread::Rsa(..) => None,
        }
    });
    Ok(found.unwrap_or_else(|| PrivateKeyDer::Pkcs8(der.into())))
}

/// Loads a key in the first form that fits. `None`: the library knows none of its forms.
fn load(der: &[u8]) -> Option<Arc<dyn SigningKey>> {
    forms(der).into_iter().find_map(|form| provider().key_provider.load_private_key(form).ok())
}

/// Returns a key in each form that it may have.
fn forms(der: &[u8]) -> [PrivateKeyDer<'static>; 3] {
    [
        PrivateKeyDer::Pkcs8(der.to_vec().into()),
        PrivateKeyDer::Pkcs1(der.to_vec().into()),
        PrivateKeyDer::Sec1(der.to_vec().into()),
    ]
}

/// Returns true if a certificate is for keys of another kind, e.g. RSA and not an elliptic curve.
fn is_other_kind(cert: &X509Certificate<'_>, key: &dyn SigningKey) -> bool {
    let kinds: [(SignatureAlgorithm, &[u64]); 3] = [
        (SignatureAlgorithm::RSA, &RSA),
        (SignatureAlgorithm::ECDSA, &ELLIPTIC),
        (SignatureAlgorithm::ED25519, &ED25519),
    ];
    kinds.into_iter().any(|(algorithm, kind)| algorithm != key.algorithm() && is_of(cert, kind))
}

/// Returns true if the key is the certificate's, or of a kind whose public half the library does
/// not give.
pub(super) fn is_pair(cert: &X509Certificate<'_>, key: &dyn SigningKey) -> bool {
    // A `SubjectPublicKeyInfo` ends with the bits of the key. Before them stands the algorithm,
    // which has more than one encoding.
    key.public_key().is_none_or(|public| public.ends_with(point_of(cert)))
}
