//! Certificates that several tests need.

use super::{Identity, Subject, ca, der};
use clock::Timestamp;
use jiff::SignedDuration;
use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SigningKey};
use rustls::pki_types::CertificateDer;

/// A leaf, the intermediate authority that has signed it, and the root that has signed that one.
pub(crate) struct OverMiddle {
    pub root_pem: String,
    pub middle: CertificateDer<'static>,
    pub leaf: CertificateDer<'static>,
}

/// Makes a leaf below an intermediate authority. Each ends after so many days, the root after 300.
/// `usages`: the key usages of the intermediate authority.
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

/// A leaf and the intermediate authorities above it, in the order in which a client shows them, and
/// their root.
pub(crate) struct ChainBelow {
    pub root: rcgen::Certificate,
    pub certs: Vec<CertificateDer<'static>>,
}

/// Makes a leaf with so many intermediate authorities, below a root that has this limit.
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

pub(crate) const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// What a certificate says, as another program would write it.
pub(crate) struct Leaf {
    /// 0 is version 1, for which no version is written.
    pub version: u8,
    pub extensions: Vec<Vec<u8>>,
    pub until: Timestamp,
}

/// Encodes the extension 2.5.29.N.
pub(crate) fn extension(number: u64, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![der::oid(&[2, 5, 29, number])];
    if critical {
        parts.push(der::tlv(0x01, &[0xff]));
    }
    parts.push(der::tlv(0x04, value));
    der::sequence(&parts)
}

/// Encodes a name that has a common name alone.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let attribute = [der::oid(&[2, 5, 4, 3]), der::tlv(0x0c, text.as_bytes())];
    der::sequence(&[der::tlv(0x31, &der::sequence(&attribute))])
}

impl Leaf {
    pub(crate) fn version_1() -> Leaf {
        Leaf { version: 0, extensions: vec![], until: clock::now() + HOUR }
    }
    pub(crate) fn authority() -> Leaf {
        let is_ca = der::sequence(&[der::tlv(0x01, &[0xff])]);
        Leaf { version: 2, extensions: vec![extension(19, true, &is_ca)], ..Leaf::version_1() }
    }
    /// Version 3, and no authority.
    pub(crate) fn plain() -> Leaf {
        Leaf { version: 2, ..Leaf::version_1() }
    }
    pub(crate) fn with(mut self, extension: Vec<u8>) -> Leaf {
        self.extensions.push(extension);
        self
    }

    /// Makes the certificate of `jane`, for a new key.
    pub(crate) fn sign(&self, issuer: &str, key: &KeyPair) -> Identity {
        let own = KeyPair::generate().unwrap();
        let algorithm = der::sequence(&[der::oid(&[1, 2, 840, 10045, 4, 3, 2])]);
        let mut parts = vec![
            der::tlv(0x02, &[7]),
            algorithm.clone(),
            name(issuer),
            der::sequence(&[der::time(clock::now() - HOUR - HOUR), der::time(self.until)]),
            name("jane"),
            own.subject_public_key_info(),
        ];
        if self.version > 0 {
            parts.insert(0, der::tlv(0xa0, &der::tlv(0x02, &[self.version])));
        }
        if !self.extensions.is_empty() {
            parts.push(der::tlv(0xa3, &der::sequence(&self.extensions)));
        }
        let tbs = der::sequence(&parts);
        let bits: Vec<u8> = [0].into_iter().chain(key.sign(&tbs).unwrap()).collect();
        let cert = der::sequence(&[tbs, algorithm, der::tlv(0x03, &bits)]);
        Identity { cert_pem: crate::sign::to_pem(&cert), key_pem: own.serialize_pem() }
    }
}
