//! The authorities whose certificates are believed. A trust anchor of webpki is a name and a key;
//! this keeps the certificate, too.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::CertificateDer;
use rustls::{Error, RootCertStore};

/// Certificates that are trusted.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    /// The anchor of each of `certificates`, in their order.
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    pub(crate) fn empty() -> Authorities {
        Authorities { roots: RootCertStore::empty(), certificates: vec![] }
    }

    /// Adds a certificate, unless it is there already.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        if !self.contains(&certificate) {
            self.roots.add(certificate.clone())?;
            self.certificates.push(certificate);
        }
        Ok(())
    }

    /// Adds the certificates of a bundle. As in Go, one that cannot be used keeps no other from
    /// being believed.
    pub(crate) fn add_parsable(&mut self, pem: &[u8]) {
        for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
            let _ = self.add(certificate); // it is passed over
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.certificates.len()
    }

    /// Returns true if this very certificate is trusted.
    pub(crate) fn contains(&self, certificate: &[u8]) -> bool {
        self.certificates.iter().any(|own| **own == *certificate)
    }

    pub(crate) fn roots(&self) -> &RootCertStore {
        &self.roots
    }
}
