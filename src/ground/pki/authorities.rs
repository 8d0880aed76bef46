//! The authorities whose certificates are believed. A trust anchor of webpki is a name and a key;
//! [`Authorities`] keeps the certificate and its time, too: as in Go, an authority that has ended
//! is believed no more, and a trusted certificate that may not sign (the pin of a server) is no
//! authority.

use super::{leaf, pem, signatures};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{Error, RootCertStore};
use std::borrow::Cow;
use std::collections::BTreeSet;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ExtendedKeyUsage;
use x509_parser::x509::X509Version;

/// Returns true if extended usages name the purpose for which a certificate is shown.
pub(crate) type Serves = fn(&ExtendedKeyUsage<'_>) -> bool;

/// Certificates that are trusted.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    /// The anchor of each of `certificates` that may sign, in their order.
    roots: RootCertStore,
    certificates: Vec<Trusted>,
}

/// A certificate that is trusted.
#[derive(Clone, Debug)]
struct Trusted {
    certificate: CertificateDer<'static>,
    /// The first second at which it is valid, since 1970.
    from: i64,
    /// The last second at which it is valid, since 1970.
    until: i64,
    may_sign: bool,
    /// How many authorities may stand between it and a leaf (`pathLenConstraint`); `None`: any
    /// number of them.
    path_len: Option<usize>,
}

impl Trusted {
    fn is_valid_at(&self, now: UnixTime) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.from <= now && now <= self.until
    }
}

/// How many certificates beside a leaf count for an authority with a `pathLenConstraint`. Each
/// choice of them is judged, of which there are six at most.
const CHOSEN_FROM: usize = 4;

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

/// Returns the certificates beside a leaf that may sign others: webpki does not read the key usage
/// of an authority between a leaf and a trusted one. A certificate that cannot be read whole is
/// left out, because its usage is not known. (In Go it ends the handshake.)
fn signers<'a>(beside: &[CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    let is_signer = |own: &&CertificateDer<'a>| signatures::parse(own).is_ok_and(|own| may_sign(&own));
    beside.iter().filter(is_signer).cloned().collect()
}

/// Returns true if a certificate may sign others that are shown for a purpose: it has no extended
/// usages, or they name the purpose.
pub(crate) fn may_sign_for(own: &CertificateDer<'_>, serves: Serves) -> bool {
    let Ok(own) = signatures::parse(own) else { return false };
    let usages = own.extended_key_usage(); // an error: they are there twice, or malformed
    usages.is_ok_and(|usages| usages.is_none_or(|usages| usages.value.any || serves(usages.value)))
}

/// Returns how many authorities may stand between this one and a leaf; `None`: it sets no limit.
fn path_len(own: &X509Certificate<'_>) -> Option<usize> {
    let basic = own.basic_constraints().ok().flatten()?;
    basic.value.path_len_constraint.map(|most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// Returns every choice of `most` of these certificates, or a single one of all if they are fewer.
fn choices<'a>(all: &[CertificateDer<'a>], most: usize) -> Vec<Vec<CertificateDer<'a>>> {
    let most = most.min(all.len());
    // Each bit of a number stands for one certificate.
    let sets = (0..1_u32 << all.len()).filter(|set| set.count_ones() as usize == most);
    let chosen = |set: u32| {
        let is_chosen = |at: usize| (set >> at) & 1 == 1;
        let chosen = all.iter().enumerate().filter(|(at, _)| is_chosen(*at));
        chosen.map(|(_, own)| own.clone()).collect::<Vec<_>>()
    };
    sets.map(chosen).collect()
}

impl Authorities {
    pub(crate) fn empty() -> Authorities {
        Authorities { roots: RootCertStore::empty(), certificates: vec![] }
    }

    /// Adds a certificate, unless it is there already. webpki reads only the name and the key of a
    /// trusted certificate. Here its time, its usages and its limit count, too, so all of it has to
    /// be readable, as for Go (`ParseCertificate` in crypto/x509).
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub(crate) fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        if self.contains(&certificate) {
            return Ok(());
        }
        let mut anchor = RootCertStore::empty();
        anchor.add(certificate.clone())?;
        let (from, until, may_sign, path_len) = {
            let parsed = signatures::parse(&certificate)?;
            let time = parsed.validity();
            let (from, until) = (time.not_before.timestamp(), time.not_after.timestamp());
            (from, until, may_sign(&parsed), path_len(&parsed))
        };
        if may_sign {
            self.roots.roots.append(&mut anchor.roots);
        }
        self.certificates.push(Trusted { certificate, from, until, may_sign, path_len });
        Ok(())
    }

    /// Lets only those authorities sign whose extended usages, if they have any, name the purpose
    /// for which certificates are shown: an authority for servers makes no clients. webpki does not
    /// read the usages of an authority. Source: `checkChainForKeyUsage` in Go's crypto/x509, whose
    /// rule is for the whole chain.
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

    /// Adds the certificates of a bundle. As in Go, a certificate that cannot be used is passed
    /// over.
    pub(crate) fn add_parsable(&mut self, bundle: &[u8]) {
        for block in pem::blocks(bundle).into_iter().filter(pem::Block::is_certificate) {
            let _ = self.add(CertificateDer::from(block.der)); // an error: it cannot be used
        }
    }

    /// Returns all certificates in their order, whatever their time and whether they may sign or
    /// not.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.certificates.iter().map(|own| &own.certificate)
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
        self.anchors(|own| own.is_valid_at(now))
    }

    /// Returns the anchors of the certificates that may sign and are wanted: borrowed if all are.
    fn anchors(&self, is_wanted: impl Fn(&Trusted) -> bool) -> Cow<'_, RootCertStore> {
        let signers = || self.certificates.iter().filter(|own| own.may_sign);
        if signers().all(&is_wanted) {
            return Cow::Borrowed(&self.roots);
        }
        let all = self.roots.roots.iter().zip(signers());
        let roots = all.filter(|(_, own)| is_wanted(own)).map(|(root, _)| root.clone()).collect();
        Cow::Owned(RootCertStore { roots })
    }

    /// Judges a leaf by the authorities that are valid now. `judge` gets the anchors, and the
    /// certificates beside the leaf that may sign.
    ///
    /// webpki does not read how many authorities may stand between a trusted one and a leaf. For a
    /// trusted authority that allows fewer than were shown, `judge` gets only so many of them, and
    /// is called for each choice. Example: with `pathlen:0` and a chain of a leaf and an authority,
    /// `judge` gets the leaf alone, which the trusted authority did not sign. Source: `isValid` in
    /// Go's crypto/x509.
    ///
    /// # Errors
    /// The error of `judge` for the last choice.
    pub(crate) fn judge(
        &self,
        beside: &[CertificateDer<'_>],
        now: UnixTime,
        judge: impl Fn(&RootCertStore, &[CertificateDer<'_>]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let beside = signers(beside);
        let limit = |own: &Trusted| own.path_len.filter(|most| *most < beside.len());
        let free = self.anchors(|own| own.is_valid_at(now) && limit(own).is_none());
        let mut verdict = judge(&free, &beside);
        let signers = self.certificates.iter().filter(|own| own.may_sign && own.is_valid_at(now));
        let limits: BTreeSet<usize> = signers.filter_map(limit).collect();
        for most in limits {
            let limited = self.anchors(|own| own.is_valid_at(now) && limit(own) == Some(most));
            for chosen in choices(&beside[..beside.len().min(CHOSEN_FROM)], most) {
                if verdict.is_ok() {
                    return verdict;
                }
                verdict = judge(&limited, &chosen);
            }
        }
        verdict
    }

    /// Returns the last seconds, since 1970, of the certificates that end from `from` on and before
    /// `until`, the earliest first.
    pub(crate) fn ends_within(&self, from: i64, until: i64) -> Vec<i64> {
        let ends = self.certificates.iter().map(|own| own.until);
        let mut ends: Vec<i64> = ends.filter(|end| from <= *end && *end < until).collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{ChainBelow, chain_below};
    use crate::{Ca, Subject, asking_server_config};
    use rcgen::BasicConstraints::{self, Constrained, Unconstrained};

    #[test]
    fn an_authority_that_allows_no_other_below_it_makes_no_clients_over_one() {
        let dir = tempfile::tempdir().unwrap();
        let server = Ca::load_or_create(dir.path(), "x").unwrap();
        let server = server.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let judge = |limit: BasicConstraints, between: usize, with_root: bool| {
            let ChainBelow { root, mut certs } = chain_below(&Subject::client("jane", ""), limit, between);
            let (_, clients) = asking_server_config(&server, &root.pem()).unwrap();
            if with_root {
                certs.insert(1, root.der().clone());
            }
            clients.judge(&certs).map(|client| client.unwrap().name)
        };
        for with_root in [false, true] {
            for (limit, between) in
                [(Constrained(0), 0), (Constrained(1), 1), (Constrained(2), 1), (Unconstrained, 2)]
            {
                assert_eq!(judge(limit, between, with_root), Ok("jane".to_string()), "{between}");
            }
            for (limit, between) in [(Constrained(0), 1), (Constrained(0), 2), (Constrained(1), 2)] {
                let why = judge(limit, between, with_root).unwrap_err();
                assert!(why.contains("UnknownIssuer"), "{why}");
            }
        }
    }

    /// webpki reads only the name and the key of a trusted certificate.
    #[test]
    fn a_certificate_that_cannot_be_read_whole_is_no_authority() {
        use super::{Authorities, signers};
        let whole = chain_below(&Subject::client("jane", ""), Constrained(0), 0).root.der().clone();
        // Two letters in the place of the month in which it begins, as a UTCTime (23) of 13 bytes.
        let mut broken = whole.to_vec();
        let is_time = |bytes: &[u8]| bytes[..2] == [23, 13] && bytes[14] == b'Z';
        let time = broken.windows(15).position(is_time).unwrap();
        broken[time + 4..time + 6].copy_from_slice(b"xx");
        let broken = rustls::pki_types::CertificateDer::from(broken);
        assert!(rustls::RootCertStore::empty().add(broken.clone()).is_ok());
        let mut all = Authorities::empty();
        assert!(all.add(broken.clone()).is_err() && all.count() == 0 && all.roots().is_empty());
        assert!(all.add(whole.clone()).is_ok() && all.count() == 1 && all.roots().len() == 1);
        assert_eq!(signers(&[broken.clone(), whole.clone()]), std::slice::from_ref(&whole));
        let pem = |own: &[u8]| {
            let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, own);
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        };
        let why = crate::identity::trusted(&(pem(&whole) + &pem(&broken))).unwrap_err().to_string();
        assert!(why.contains("certificate 2 of the authorities cannot be read"), "{why}");
    }

    #[test]
    fn choices_are_all_of_a_size() {
        let all = [1_u8, 2, 3].map(|byte| rustls::pki_types::CertificateDer::from(vec![byte]));
        let all_of: [(usize, &[&[u8]]); 4] =
            [(0, &[&[]]), (1, &[&[1], &[2], &[3]]), (2, &[&[1, 2], &[1, 3], &[2, 3]]), (9, &[&[1, 2, 3]])];
        for (most, wanted) in all_of {
            let choices = super::choices(&all, most);
            let made: Vec<Vec<u8>> =
                choices.iter().map(|choice| choice.iter().map(|own| own[0]).collect()).collect();
            assert_eq!(made, wanted);
        }
    }
}
