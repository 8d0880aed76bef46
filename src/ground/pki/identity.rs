//! A certificate and its key, and what TLS takes for them and for the authorities that are trusted.

use super::authorities::Authorities;
use super::error::Error;
use rustls::pki_types::pem::PemObject;
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

pub(super) fn chain(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let certs = CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Error::Pem(e.to_string()))?;
    let key =
        PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(|e| Error::Pem(e.to_string()))?;
    Ok((certs, key))
}

/// Reads the authorities of a bundle.
///
/// # Errors
/// One of them cannot be read.
pub(super) fn trusted(ca_pem: &str) -> Result<Authorities, Error> {
    let mut all = Authorities::empty();
    for cert in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        all.add(cert.map_err(|e| Error::Pem(e.to_string()))?)?;
    }
    Ok(all)
}

pub(super) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
