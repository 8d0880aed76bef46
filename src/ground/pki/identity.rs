//! A certificate and its key, and how their PEM and that of authorities becomes what TLS takes.

use super::authorities::Authorities;
use super::error::Error;
use super::{pair, pem};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// A certificate and its key, as PEM texts.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, and after it those that lead to the authority, if any.
    pub cert_pem: String,
    /// The private key, in PKCS #8.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)") // keys stay out of logs
    }
}

/// Reads the certificates and the key of an identity as Go does.
///
/// # Errors
/// The identity has no key.
pub(super) fn chain(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let certs = certificates(identity.cert_pem.as_bytes());
    let key = pair::private_key(identity.key_pem.as_bytes(), certs.first()).map_err(Error::Pem)?;
    Ok((certs, key))
}

/// Returns the certificates of a text. Other blocks are passed over.
pub(super) fn certificates(text: &[u8]) -> Vec<CertificateDer<'static>> {
    let blocks = pem::blocks(text).into_iter().filter(|block| block.label == "CERTIFICATE");
    blocks.map(|block| CertificateDer::from(block.der)).collect()
}

/// Reads the authorities of a bundle. Other blocks are passed over, as in Go (`ParseCertsPEM` in
/// client-go).
///
/// # Errors
/// An authority cannot be read.
pub(super) fn trusted(ca_pem: &str) -> Result<Authorities, Error> {
    let mut all = Authorities::empty();
    let blocks = pem::blocks(ca_pem.as_bytes()).into_iter().filter(pem::Block::is_certificate);
    for (block, number) in blocks.zip(1..) {
        all.add(CertificateDer::from(block.der))
            .map_err(|_| Error::Pem(format!("certificate {number} of the authorities cannot be read")))?;
    }
    Ok(all)
}

/// Returns the algorithms with which TLS works here: ring's.
pub(super) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
