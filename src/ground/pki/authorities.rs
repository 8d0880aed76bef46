//! The authorities whose certificates are believed. A trust anchor of webpki is a name and a key;
//! this keeps the certificate, too, and its time: as in Go, an authority that has ended is believed
//! no more.

use super::signatures;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{Error, RootCertStore};
use std::borrow::Cow;

/// Certificates that are trusted.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    /// The anchor of each of `certificates`, in their order.
    roots: RootCertStore,
    certificates: Vec<Trusted>,
}

#[derive(Clone, Debug)]
struct Trusted {
    certificate: CertificateDer<'static>,
    /// Its first and its last second, since 1970.
    from: i64,
    until: i64,
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
        if self.contains(&certificate) {
            return Ok(());
        }
        self.roots.add(certificate.clone())?;
        let (from, until) = match signatures::parse(&certificate) {
            Ok(parsed) => (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp()),
            Err(_) => (i64::MIN, i64::MAX), // webpki alone reads it, and does not tell its time
        };
        self.certificates.push(Trusted { certificate, from, until });
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

    /// Returns true if this very certificate is trusted, whatever its time.
    pub(crate) fn contains(&self, certificate: &[u8]) -> bool {
        self.certificates.iter().any(|own| *own.certificate == *certificate)
    }

    /// Returns the anchors of all certificates, whatever their time.
    pub(crate) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    /// Returns the anchors of the certificates that are valid at a time: borrowed if all are.
    pub(crate) fn valid_at(&self, now: UnixTime) -> Cow<'_, RootCertStore> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let is_valid = |own: &Trusted| own.from <= now && now <= own.until;
        if self.certificates.iter().all(is_valid) {
            return Cow::Borrowed(&self.roots);
        }
        let all = self.roots.roots.iter().zip(&self.certificates);
        let roots = all.filter(|(_, own)| is_valid(own)).map(|(root, _)| root.clone()).collect();
        Cow::Owned(RootCertStore { roots })
    }

    /// Returns the last seconds, since 1970, of the certificates that end from `from` on and before
    /// `until`, in their order.
    pub(crate) fn ends_within(&self, from: i64, until: i64) -> Vec<i64> {
        let ends = self.certificates.iter().map(|own| own.until);
        let mut ends: Vec<i64> = ends.filter(|end| from <= *end && *end < until).collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }
}
