//! Verifies signatures with the algorithms of our provider: the proof that the other side of a
//! connection holds the key of its certificate, and the signatures of certificates.
//!
//! webpki does the same, but reads certificates of version 3 only. The proof needs nothing of a
//! certificate but its key, so x509-parser reads it here.

use super::der;
use super::keys::{RSA_BITS, rsa_bits};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

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

/// Reads a certificate of version 1, 2 or 3. There is no other, and Go reads no other.
///
/// # Errors
/// The certificate is malformed, or other data follows it.
pub(crate) fn parse<'a>(cert: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    match x509_parser::parse_x509_certificate(cert) {
        Ok(([], parsed)) if parsed.version().0 <= X509Version::V3.0 => Ok(parsed),
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
    check_length(&cert).map_err(Error::General)?;
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
    check_length(&cert).map_err(Error::General)?;
    let key = der::contents(cert.public_key().raw).unwrap_or_default();
    let key = key.first().copied().unwrap_or_default();
    verify(candidates.iter().copied(), key, message, dss.signature())?;
    Ok(HandshakeSignatureValid::assertion())
}

/// Checks that signatures with a key of this length are verified. Otherwise a user of kubectl would
/// read of a wrong signature, and not of the key.
///
/// # Errors
/// The key is an RSA key that is too short or too long, in a sentence.
pub(crate) fn check_length(cert: &X509Certificate<'_>) -> Result<(), String> {
    match cert.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if !RSA_BITS.contains(&rsa_bits(&key)) => {
            let bits = rsa_bits(&key);
            Err(format!("an RSA key has {bits} bits, and only 2048 to 8192 are supported here"))
        }
        _ => Ok(()),
    }
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
    // As in Go. The algorithm stands in the signed part as well, where an attacker cannot change
    // it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oids::RSA;
    use crate::sign::Wanted;
    use crate::{Ca, Request};
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn an_rsa_key_of_another_length_is_named_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let (now, hour) = (clock::now(), jiff::SignedDuration::from_hours(1));
        let check = |bytes: usize| {
            let number = [vec![0, 0x80], vec![1; bytes - 1]].concat();
            let key = der::sequence(&[der::tlv(0x02, &number), der::tlv(0x02, &[1, 0, 1])]);
            let kind = der::sequence(&[der::oid(&RSA), vec![5, 0]]);
            let wanted = Wanted {
                subject: der::sequence(&[]),
                public_key: &der::sequence(&[kind, der::tlv(0x03, &[vec![0], key].concat())]),
                from: now - hour,
                until: now + hour,
                names: &Request::default(),
                usages: &[],
            };
            let cert = CertificateDer::from_pem_slice(ca.write(&wanted).unwrap().as_bytes()).unwrap();
            check_length(&parse(&cert).unwrap())
        };
        assert_eq!((check(256), check(1024)), (Ok(()), Ok(())));
        for (bytes, bits) in [(128, "1024 bits"), (1025, "8200 bits")] {
            let why = check(bytes).unwrap_err();
            assert!(why.contains(bits), "{why}");
        }
    }
}
