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
