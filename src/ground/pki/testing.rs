//! Certificates that several tests need.

use super::{Subject, ca};
use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;

/// A leaf, the authority between that has signed it, and the root that has signed that.
pub(crate) struct OverMiddle {
    pub root_pem: String,
    pub middle: CertificateDer<'static>,
    pub leaf: CertificateDer<'static>,
}

/// Makes a leaf below an authority between. Each ends after so many days, the root after 300;
/// `usages` are the key usages of the authority between.
pub(crate) fn leaf_over_middle(
    subject: &Subject,
    leaf_days: i64,
    middle_days: i64,
    usages: &[KeyUsagePurpose],
) -> OverMiddle {
    let [root_key, middle_key, key] = std::array::from_fn(|_| KeyPair::generate().unwrap());
    let [root, mut middle] = [("root", 300), ("middle", middle_days)].map(|(name, days)| {
        let mut own = ca::params(&Subject::client(name, ""), days).unwrap();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own
    });
    middle.key_usages = usages.to_vec();
    let shown = middle.signed_by(&middle_key, &Issuer::from_params(&root, &root_key)).unwrap();
    let leaf = ca::params(subject, leaf_days).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::from_params(&middle, &middle_key)).unwrap();
    OverMiddle {
        root_pem: root.self_signed(&root_key).unwrap().pem(),
        middle: shown.der().clone(),
        leaf: leaf.der().clone(),
    }
}

/// A leaf with the authorities between it and a root, in the order in which a client shows them.
pub(crate) struct ChainBelow {
    pub root: rcgen::Certificate,
    pub certs: Vec<CertificateDer<'static>>,
}

/// Makes a leaf with so many authorities between it and a root that has this limit.
pub(crate) fn chain_below(subject: &Subject, limit: BasicConstraints, between: usize) -> ChainBelow {
    let authority = |name: &str, limit: BasicConstraints| {
        let mut own = ca::params(&Subject::client(name, ""), 30).unwrap();
        own.is_ca = IsCa::Ca(limit);
        own
    };
    let (mut own, mut key) = (authority("root", limit), KeyPair::generate().unwrap());
    let root = own.self_signed(&key).unwrap();
    let mut certs = vec![];
    for number in 0..between {
        let next = authority(&format!("between-{number}"), BasicConstraints::Unconstrained);
        let next_key = KeyPair::generate().unwrap();
        let cert = next.signed_by(&next_key, &Issuer::from_params(&own, &key)).unwrap();
        certs.insert(0, cert.der().clone());
        (own, key) = (next, next_key);
    }
    let leaf = ca::params(subject, 1).unwrap();
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &Issuer::from_params(&own, &key)).unwrap();
    certs.insert(0, leaf.der().clone());
    ChainBelow { root, certs }
}
