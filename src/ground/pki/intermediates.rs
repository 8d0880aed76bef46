//! Follows the chains that Go believes and webpki does not: those over an authority that is for any
//! purpose (`anyExtendedKeyUsage`), has certificate policies that are critical, or limits the names
//! of subjects alone. Source: `buildChains` in Go's crypto/x509.
//!
//! Two things are left to webpki alone. An authority that limits other names leads nowhere here if
//! the leaf has names, and one that limits the policies below it never does.

use super::authorities::{Authorities, Serves, may_sign, may_sign_for, most_between};
use super::{der, leaf, signatures};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::x509::X509Version;

/// So many authorities may stand between a leaf and a trusted one, as in webpki.
const BETWEEN_MAX: usize = 6;

/// So many signatures are verified for one leaf: the other side chooses the certificates.
const SIGNATURES_MAX: usize = 32;

/// What may lead from a leaf to a trusted authority.
pub(crate) struct Chain<'a> {
    pub authorities: &'a Authorities,
    /// The certificates beside the leaf.
    pub beside: &'a [CertificateDer<'a>],
    pub now: UnixTime,
    pub serves: Serves,
    pub known: &'a WebPkiSupportedAlgorithms,
    /// True if the leaf has alternative names (SANs).
    pub has_names: bool,
}

impl Chain<'_> {
    /// Returns true if the certificates beside a leaf lead from it to a trusted authority. The leaf
    /// itself is judged elsewhere.
    pub(crate) fn leads_from(&self, leaf: &X509Certificate<'_>) -> bool {
        let mut left = SIGNATURES_MAX;
        self.leads_on(leaf, 0, &mut left)
    }

    /// Returns true if a chain leads on from `child`: the leaf, or the last of `below` authorities
    /// that stand above it so far. `left` signatures may still be verified.
    fn leads_on(&self, child: &X509Certificate<'_>, below: usize, left: &mut usize) -> bool {
        if below == BETWEEN_MAX {
            return false;
        }
        self.beside.iter().any(|own| {
            let Ok(parent) = signatures::parse(own) else { return false };
            let key = der::contents(parent.public_key().raw).unwrap_or_default();
            let key = key.first().copied().unwrap_or_default();
            parent.subject().as_raw() == child.issuer().as_raw()
                && self.may_stand_between(own, &parent, below)
                && self.has_signed(child, key, left)
                && (self.is_rooted(&parent, below + 1, left) || self.leads_on(&parent, below + 1, left))
        })
    }

    /// Returns true if a trusted authority that allows so many below it has signed this one.
    fn is_rooted(&self, own: &X509Certificate<'_>, between: usize, left: &mut usize) -> bool {
        let issuer = der::contents(own.issuer().as_raw()).unwrap_or_default();
        let roots = self.authorities.valid_above(self.now, between);
        roots.roots.iter().any(|root| {
            issuer.first().is_some_and(|name| **name == *root.subject)
                && !(self.has_names && root.name_constraints.is_some())
                && self.has_signed(own, &root.subject_public_key_info, left)
        })
    }

    /// Returns true if a certificate may be an authority with so many others below it.
    fn may_stand_between(
        &self,
        own: &CertificateDer<'_>,
        parsed: &X509Certificate<'_>,
        below: usize,
    ) -> bool {
        let is_limit = |extension: &ParsedExtension<'_>| match extension {
            ParsedExtension::NameConstraints(limits) => {
                let kinds = leaf::limited_kinds(limits);
                kinds.is_empty() || self.has_names && kinds.contains(&true)
            }
            ParsedExtension::PolicyConstraints(_)
            | ParsedExtension::PolicyMappings(_)
            | ParsedExtension::InhibitAnyPolicy(_)
            | ParsedExtension::ParseError { .. } => true,
            _ => false,
        };
        parsed.version() == X509Version::V3
            && parsed.extensions_map().is_ok()
            && may_sign(parsed)
            && may_sign_for(own, self.serves)
            && leaf::check_time(parsed, self.now).is_ok()
            && most_between(parsed).is_none_or(|most| below <= most)
            && !parsed.extensions().iter().any(|extension| is_limit(extension.parsed_extension()))
    }

    /// Returns true if the owner of a key, the content of a `SubjectPublicKeyInfo`, has signed a
    /// certificate, as long as signatures are verified.
    fn has_signed(&self, own: &X509Certificate<'_>, key: &[u8], left: &mut usize) -> bool {
        let Some(fewer) = left.checked_sub(1) else { return false };
        *left = fewer;
        signatures::verify_certificate(own, key, self.known).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{HOUR, Leaf, extension, name};
    use crate::{Ca, Identity, Subject, asking_server_config, der};
    use rcgen::KeyPair;

    fn key_of(identity: &Identity) -> KeyPair {
        KeyPair::from_pem(&identity.key_pem).unwrap()
    }

    /// Judges a client over an authority, which a trusted one has signed. All but that one are
    /// named `jane`.
    fn judge(root: &Leaf, middle: &Leaf, leaf: &Leaf) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let server = Ca::load_or_create(dir.path(), "x").unwrap();
        let server = server.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let root = root.sign("jane", &KeyPair::generate().unwrap());
        let (_, clients) = asking_server_config(&server, &root.cert_pem).unwrap();
        let middle = middle.sign("jane", &key_of(&root));
        let leaf = leaf.sign("jane", &key_of(&middle));
        let shown = crate::identity::certificates((leaf.cert_pem + &middle.cert_pem).as_bytes());
        clients.judge(&shown).map(drop)
    }

    fn usage(number: &[u64]) -> Vec<u8> {
        extension(37, false, &der::sequence(&[der::oid(number)]))
    }

    fn any() -> Vec<u8> {
        usage(&[2, 5, 29, 37, 0])
    }

    fn policies() -> Vec<u8> {
        extension(32, true, &der::sequence(&[der::sequence(&[der::oid(&[2, 5, 29, 32, 0])])]))
    }

    #[test]
    fn an_authority_between_may_be_for_any_purpose_or_have_critical_policies() {
        for middle in [Leaf::authority(), Leaf::authority().with(any()), Leaf::authority().with(policies())] {
            for leaf in [Leaf::plain(), Leaf::version_1(), Leaf::authority(), Leaf::plain().with(any())] {
                assert_eq!(judge(&Leaf::authority(), &middle, &leaf), Ok(()));
            }
        }
    }

    #[test]
    fn an_authority_between_is_judged_as_in_a_chain_that_webpki_reads() {
        let names = || extension(17, false, &der::sequence(&[der::tlv(0x82, b"a.example")]));
        let permit = |critical: bool, base: Vec<u8>| {
            let permitted = der::tlv(0xa0, &der::sequence(&[base]));
            extension(30, critical, &der::sequence(&[permitted]))
        };
        let permitted = permit(true, der::tlv(0x82, b"b.example"));
        let subjects = permit(false, der::tlv(0xa4, &name("joe")));
        let none_below = der::sequence(&[der::tlv(0x01, &[0xff]), der::tlv(0x02, &[0])]);
        let none_below = Leaf { extensions: vec![extension(19, true, &none_below)], ..Leaf::authority() };
        let ended = Leaf { until: clock::now() - HOUR, ..Leaf::authority() };
        let for_servers = usage(&[1, 3, 6, 1, 5, 5, 7, 3, 1]);
        let greets = extension(15, true, &der::tlv(0x03, &[7, 0x80]));
        let policy_wanted = extension(36, true, &der::sequence(&[der::tlv(0x80, &[0])]));
        let leaf = || Leaf::plain().with(any());
        let root = Leaf::authority;
        assert_eq!(judge(&root(), &none_below, &leaf()), Ok(()));
        assert_eq!(judge(&root(), &root().with(permitted.clone()), &leaf()), Ok(()), "it has no names");
        assert_eq!(judge(&root(), &root().with(subjects), &Leaf::plain().with(names())), Ok(()));
        for (root, middle, leaf) in [
            (root(), Leaf::plain(), leaf()),
            (root(), Leaf::version_1(), leaf()),
            (root(), ended, leaf()),
            (root(), root().with(for_servers.clone()), leaf()),
            (root(), root().with(any()).with(greets), leaf()),
            (root(), root().with(any()).with(extension(99, true, &[5, 0])), leaf()),
            (root(), root().with(any()).with(policy_wanted), leaf()),
            (root(), root().with(permitted), leaf().with(names())),
            (none_below, root().with(any()), leaf()),
            (root(), root().with(any()), Leaf::plain().with(for_servers)),
        ] {
            assert!(judge(&root, &middle, &leaf).is_err(), "{:?}", middle.extensions);
        }
    }
}
