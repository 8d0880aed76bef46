//! Verifies signatures with the algorithms of our provider: the proof that the other side of a
//! connection holds the key of its certificate, and the signatures of certificates.
//!
//! webpki does the same, but reads certificates of version 3 only. The proof needs nothing of a
//! certificate but its key, so x509-parser reads it here.

use super::der;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use x509_parser::certificate::X509Certificate;

/// The methods of a rustls verifier that judge the proof of possession. `$provider` is a field of
/// type `Arc<CryptoProvider>`.
macro_rules! proof_of_the_key {
    ($provider:tt) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let known = &self.$provider.signature_verification_algorithms;
            crate::signatures::verify_tls12(message, cert, dss, known)
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let known = &self.$provider.signature_verification_algorithms;
            crate::signatures::verify_tls13(message, cert, dss, known)
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.$provider.signature_verification_algorithms.supported_schemes()
        }
    };
}
pub(super) use proof_of_the_key;

/// Reads a certificate of any version.
///
/// # Errors
/// It is malformed, or something follows it.
pub(crate) fn parse<'a>(cert: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    match x509_parser::parse_x509_certificate(cert) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(CertificateError::BadEncoding.into()),
    }
}

/// Verifies the proof of possession of TLS 1.3.
///
/// # Errors
/// The certificate is malformed, its key is of an unknown kind, or the signature is wrong.
pub(crate) fn verify_tls13(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    known: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let cert = parse(cert)?;
    let key = SubjectPublicKeyInfoDer::from(cert.public_key().raw);
    verify_tls13_signature_with_raw_key(message, &key, dss, known)
}

/// Verifies the proof of possession of TLS 1.2, whose scheme does not tell the curve of the key.
///
/// # Errors
/// The certificate is malformed, its key is of an unknown kind, or the signature is wrong.
pub(crate) fn verify_tls12(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    known: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let (_, candidates) = known
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == dss.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let cert = parse(cert)?;
    let key = der::contents(cert.public_key().raw).unwrap_or_default();
    let key = key.first().copied().unwrap_or_default();
    verify(candidates.iter().copied(), key, message, dss.signature())?;
    Ok(HandshakeSignatureValid::assertion())
}

/// Verifies the signature of a certificate with the public key of its authority, the content of a
/// `SubjectPublicKeyInfo`.
///
/// # Errors
/// The certificate is malformed, the algorithm is not known, or the signature is wrong.
pub(crate) fn verify_certificate(
    cert: &X509Certificate<'_>,
    key: &[u8],
    known: &WebPkiSupportedAlgorithms,
) -> Result<(), Error> {
    let malformed = || Error::from(CertificateError::BadEncoding);
    let parts = der::contents(cert.as_raw()).and_then(|outer| der::contents(outer.first()?));
    let algorithm = parts.and_then(|parts| parts.get(1).copied()).ok_or_else(malformed)?;
    // As in Go: the algorithm stands in the signed part as well, where nobody can exchange it.
    if cert.tbs_certificate.signature != cert.signature_algorithm {
        return Err(malformed());
    }
    let candidates = known.all.iter().filter(|known| &*known.signature_alg_id() == algorithm).copied();
    verify(candidates, key, cert.tbs_certificate.as_ref(), &cert.signature_value.data)
}

/// Verifies a signature with the first of the algorithms that is for this kind of key.
fn verify<'a>(
    mut algorithms: impl Iterator<Item = &'a dyn SignatureVerificationAlgorithm>,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    // A `SubjectPublicKeyInfo` is the algorithm and a BIT STRING, which begins with the number of
    // its unused bits.
    let parts = der::contents(key);
    let Some([kind, [0, bits @ ..]]) = parts.as_deref() else {
        return Err(CertificateError::BadEncoding.into());
    };
    let algorithm = algorithms.find(|algorithm| &*algorithm.public_key_alg_id() == *kind);
    let is_good = algorithm.is_some_and(|a| a.verify_signature(bits, message, signature).is_ok());
    match is_good {
        true => Ok(()),
        false => Err(CertificateError::BadSignature.into()),
    }
}
