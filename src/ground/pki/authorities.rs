//! The authorities whose certificates are believed. A trust anchor of webpki is a name and a key;
//! this keeps the certificate, too, and its time: as in Go, an authority that has ended is believed
//! no more, and a trusted certificate that may not sign (the pin of a server) is no authority.

use super::{leaf, pem, signatures};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{Error, RootCertStore};
use std::borrow::Cow;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ExtendedKeyUsage;
use x509_parser::x509::X509Version;

/// Tells whether extended usages name what a certificate is shown for.
pub(crate) type Serves = fn(&ExtendedKeyUsage<'_>) -> bool;

/// Certificates that are trusted.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    /// The anchor of each of `certificates` that may sign, in their order.
    roots: RootCertStore,
    certificates: Vec<Trusted>,
}

#[derive(Clone, Debug)]
struct Trusted {
    certificate: CertificateDer<'static>,
    /// Its first and its last second, since 1970.
    from: i64,
    until: i64,
    may_sign: bool,
}

/// Returns true if a certificate may sign others: a version without extensions, or an authority
/// whose key usage, if it has one, is to sign, and whose critical extensions are all read. Source:
/// `CheckSignatureFrom` and `isValid` in Go's crypto/x509.
pub(crate) fn may_sign(own: &X509Certificate<'_>) -> bool {
    let is_authority = match own.basic_constraints() {
        Ok(Some(basic)) => basic.value.ca,
        Ok(None) => own.version() != X509Version::V3,
        Err(_) => false, // there twice
    };
    let is_for_signing = match own.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.flags == 0 || usage.value.key_cert_sign()),
        Err(_) => false,
    };
    let is_read = own.extensions().iter().all(|e| !e.critical || leaf::may_be_critical(e.parsed_extension()));
    is_authority && is_for_signing && is_read
}

/// Returns those of the certificates beside a leaf that may sign others: webpki does not read the
/// key usage of an authority between a leaf and a trusted one.
pub(crate) fn signers<'a>(beside: &[CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    let is_signer = |own: &&CertificateDer<'a>| match signatures::parse(own) {
        Ok(parsed) => may_sign(&parsed),
        Err(_) => true, // webpki alone reads it
    };
    beside.iter().filter(is_signer).cloned().collect()
}

/// Returns true if a certificate may sign others that are shown for this: it has no extended
/// usages, or they name it.
pub(crate) fn may_sign_for(own: &CertificateDer<'_>, serves: Serves) -> bool {
    let Ok(own) = signatures::parse(own) else { return true }; // webpki alone reads it
    let usages = own.extended_key_usage(); // an error: they are there twice, or malformed
    usages.is_ok_and(|usages| usages.is_none_or(|usages| usages.value.any || serves(usages.value)))
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
        let mut anchor = RootCertStore::empty();
        anchor.add(certificate.clone())?;
        let (from, until, may_sign) = match signatures::parse(&certificate) {
            Ok(parsed) => {
                let time = parsed.validity();
                (time.not_before.timestamp(), time.not_after.timestamp(), may_sign(&parsed))
            }
            Err(_) => (i64::MIN, i64::MAX, true), // webpki alone reads it, and tells no more of it
        };
        if may_sign {
            self.roots.roots.append(&mut anchor.roots);
        }
        self.certificates.push(Trusted { certificate, from, until, may_sign });
        Ok(())
    }

    /// Leaves to sign those alone whose extended usages, if they have any, name what certificates
    /// are shown for: an authority for servers makes no clients. webpki does not read the usages of
    /// an authority. Source: `checkChainForKeyUsage` in Go's crypto/x509, whose rule is for the
    /// whole chain.
    pub(crate) fn only_for(mut self, serves: Serves) -> Authorities {
        let mut roots = std::mem::take(&mut self.roots.roots).into_iter();
        for own in self.certificates.iter_mut().filter(|own| own.may_sign) {
            let root = roots.next();
            own.may_sign = may_sign_for(&own.certificate, serves);
            if own.may_sign {
                self.roots.roots.extend(root);
            }
        }
        self
    }

    /// Adds the certificates of a bundle. As in Go, one that cannot be used keeps no other from
    /// being believed.
    pub(crate) fn add_parsable(&mut self, bundle: &[u8]) {
        for block in pem::blocks(bundle).into_iter().filter(pem::Block::is_certificate) {
            let _ = self.add(CertificateDer::from(block.der)); // it is passed over
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.certificates.len()
    }

    /// Returns true if this very certificate is trusted, whatever its time.
    pub(crate) fn contains(&self, certificate: &[u8]) -> bool {
        self.certificates.iter().any(|own| *own.certificate == *certificate)
    }

    /// Returns the anchors of all certificates that may sign, whatever their time.
    pub(crate) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    /// Returns the anchors of the certificates that may sign and are valid at a time: borrowed if
    /// all are valid.
    pub(crate) fn valid_at(&self, now: UnixTime) -> Cow<'_, RootCertStore> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let is_valid = |own: &Trusted| own.from <= now && now <= own.until;
        let signers = || self.certificates.iter().filter(|own| own.may_sign);
        if signers().all(is_valid) {
            return Cow::Borrowed(&self.roots);
        }
        let all = self.roots.roots.iter().zip(signers());
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
