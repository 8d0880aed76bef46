//! Compares a certificate with a key. Source: `X509KeyPair` in Go's crypto/tls, whose words a user
//! of kubectl or etcdctl reads.

use super::identity::provider;
use super::keys::{ELLIPTIC, RSA};
use super::{der, pem};
use rustls::SignatureAlgorithm;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use std::sync::Arc;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;

/// The number of Ed25519, of a key and of its signatures.
const ED25519: [u64; 4] = [1, 3, 101, 112];

/// Checks that a key belongs to a certificate, both PEM. A well-formed key of a curve that the
/// library does not know passes unless it tells its public half.
///
/// # Errors
/// One of the two is missing or malformed, or the key is another one's, in Go's words.
pub fn check_pair(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let (certificate, key) = (certificate_in(certificate)?, key_in(key)?);
    let parsed = x509_parser::parse_x509_certificate(&certificate);
    let (_, parsed) = parsed.map_err(|_| "x509: malformed certificate".to_string())?;
    match load(&key) {
        Some(loaded) if is_pair(&parsed, &*loaded) => Ok(()),
        Some(loaded) if is_other_kind(&parsed, &*loaded) => {
            Err("tls: private key type does not match public key type".into())
        }
        Some(_) => Err("tls: private key does not match public key".into()),
        // The library has the same error for a curve or a length that it does not know and for
        // nonsense.
        None => match Unread::parse(&key) {
            Some(unread) => unread.check(&parsed),
            None => Err("tls: failed to parse private key".into()),
        },
    }
}

/// Returns the first certificate of a text.
///
/// # Errors
/// It has none. Two files that were given in each other's place are told as such.
fn certificate_in(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut skipped = vec![];
    for block in pem::blocks(text) {
        if block.label == "CERTIFICATE" {
            return Ok(block.der);
        }
        skipped.push(block.label);
    }
    Err(match skipped.as_slice() {
        [] => "tls: failed to find any PEM data in certificate input".to_string(),
        [label] if label.ends_with("PRIVATE KEY") => {
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".to_string()
        }
        all => format!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
            all.join(" ")
        ),
    })
}

/// Returns the first private key of a text; other blocks before it, as `EC PARAMETERS`, are passed
/// over.
///
/// # Errors
/// It has none.
fn key_in(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut skipped = vec![];
    for block in pem::blocks(text) {
        if block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY") {
            return Ok(block.der);
        }
        skipped.push(block.label);
    }
    Err(match skipped.as_slice() {
        [] => "tls: failed to find any PEM data in key input".to_string(),
        [label] if label == "CERTIFICATE" => {
            "tls: found a certificate rather than a key in the PEM for the private key".to_string()
        }
        all => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            all.join(" ")
        ),
    })
}

/// Returns the first private key of a text, as that which the library reads of its forms: as in Go,
/// the label of its PEM block does not matter. One that the library does not know stays PKCS #8.
///
/// # Errors
/// It has none.
pub(super) fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let der = key_in(text)?;
    let is_read =
        |form: &PrivateKeyDer<'_>| provider().key_provider.load_private_key(form.clone_key()).is_ok();
    let found = forms(&der).into_iter().find(is_read);
    Ok(found.unwrap_or_else(|| PrivateKeyDer::Pkcs8(der.into())))
}

/// Loads a key in the first form that fits: as in Go, the label of its PEM block does not matter.
fn load(der: &[u8]) -> Option<Arc<dyn SigningKey>> {
    forms(der).into_iter().find_map(|form| provider().key_provider.load_private_key(form).ok())
}

/// The forms that a key may have.
fn forms(der: &[u8]) -> [PrivateKeyDer<'static>; 3] {
    [
        PrivateKeyDer::Pkcs8(der.to_vec().into()),
        PrivateKeyDer::Pkcs1(der.to_vec().into()),
        PrivateKeyDer::Sec1(der.to_vec().into()),
    ]
}

/// Returns true if a certificate is for keys of another kind, e.g. RSA and not an elliptic curve.
fn is_other_kind(cert: &X509Certificate<'_>, key: &dyn SigningKey) -> bool {
    let kinds: [(SignatureAlgorithm, &[u64]); 3] = [
        (SignatureAlgorithm::RSA, &RSA),
        (SignatureAlgorithm::ECDSA, &ELLIPTIC),
        (SignatureAlgorithm::ED25519, &ED25519),
    ];
    let wanted = cert.public_key().algorithm.algorithm.as_bytes();
    // Without tag and length.
    let is_wanted = |number: &[u64]| der::oid(number).get(2..) == Some(wanted);
    kinds.into_iter().any(|(kind, number)| kind != key.algorithm() && is_wanted(number))
}

/// A key of a length or a curve that the library does not know, e.g. RSA with 1024 or 8192 bits.
enum Unread<'a> {
    /// The modulus and the public exponent.
    Rsa(&'a [u8], &'a [u8]),
    /// The public half, if it is there: a BIT STRING, which begins with the number of its unused
    /// bits.
    Elliptic(Option<&'a [u8]>),
}

impl<'a> Unread<'a> {
    /// Reads an RSA key (PKCS #1) or one of an elliptic curve (SEC 1), by itself or in PKCS #8.
    /// `None`: it has none of these forms.
    fn parse(der: &'a [u8]) -> Option<Unread<'a>> {
        let parts = parts_of(der)?;
        match parts.as_slice() {
            // A version, the algorithm, which begins with its number, and the key.
            [(Tag::Integer, _), (Tag::Sequence, algorithm), (Tag::OctetString, key), ..] => {
                let key = parts_of(key)?;
                let is_of = |number: &[u64]| algorithm.starts_with(&der::oid(number));
                Unread::rsa(&key)
                    .filter(|_| is_of(&RSA))
                    .or_else(|| Unread::elliptic(&key).filter(|_| is_of(&ELLIPTIC)))
            }
            parts => Unread::rsa(parts).or_else(|| Unread::elliptic(parts)),
        }
    }

    /// A version and eight numbers, of which the first two are public.
    fn rsa(parts: &[(Tag, &'a [u8])]) -> Option<Unread<'a>> {
        let numbers = parts.iter().take_while(|(tag, _)| *tag == Tag::Integer).count();
        match parts {
            [_, (_, modulus), (_, exponent), ..] if numbers >= 9 => Some(Unread::Rsa(modulus, exponent)),
            _ => None,
        }
    }

    /// The version 1 and a number; the curve (`[0]`) and the public half (`[1]`) may follow.
    fn elliptic(parts: &[(Tag, &'a [u8])]) -> Option<Unread<'a>> {
        let [(Tag::Integer, [1]), (Tag::OctetString, [_, ..]), more @ ..] = parts else { return None };
        let public = more.iter().find(|(tag, _)| *tag == Tag(1)).and_then(|(_, half)| der::contents(half));
        Some(Unread::Elliptic(public.and_then(|half| half.first().copied())))
    }

    /// Checks that this is the key of a certificate.
    fn check(&self, cert: &X509Certificate<'_>) -> Result<(), String> {
        let kind = cert.public_key().algorithm.algorithm.as_bytes();
        let is_of = |number: &[u64]| der::oid(number).get(2..) == Some(kind);
        let bits: &[u8] = &cert.public_key().subject_public_key.data;
        let is_same = match self {
            Unread::Rsa(modulus, exponent) if is_of(&RSA) => {
                let parts = parts_of(bits).unwrap_or_default();
                parts.iter().map(|(_, number)| number).eq([modulus, exponent])
            }
            Unread::Elliptic(public) if is_of(&ELLIPTIC) => {
                public.is_none_or(|public| public.strip_prefix(&[0_u8]) == Some(bits))
            }
            _ => return Err("tls: private key type does not match public key type".into()),
        };
        match is_same {
            true => Ok(()),
            false => Err("tls: private key does not match public key".into()),
        }
    }
}

/// Returns the parts of the one SEQUENCE in `der`.
fn parts_of(der: &[u8]) -> Option<Vec<(Tag, &[u8])>> {
    match der::values(der)?.as_slice() {
        [(Tag::Sequence, parts)] => der::values(parts),
        _ => None,
    }
}

/// Returns true if the key is the certificate's, or is of a kind that does not tell its public
/// half.
pub(super) fn is_pair(cert: &X509Certificate<'_>, key: &dyn SigningKey) -> bool {
    // The bits of the key end what describes it. Before them stands the algorithm, which has more
    // than one spelling.
    let bits: &[u8] = &cert.public_key().subject_public_key.data;
    key.public_key().is_none_or(|public| public.ends_with(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ca, Identity, Subject};
    use rustls::pki_types::pem::PemObject;

    /// Issues a certificate of an authority of its own.
    fn issued() -> (Ca, Identity) {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "ca").unwrap();
        let own = ca.issue(&Subject::server("a", &["a"])).unwrap();
        (ca, own)
    }

    fn check(cert: &str, key: &str) -> Result<(), String> {
        check_pair(cert.as_bytes(), key.as_bytes())
    }

    /// Puts a key into PEM form.
    fn block(label: &str, der: &[u8]) -> String {
        crate::sign::to_pem(der).replace("CERTIFICATE", label)
    }

    fn secret(key_pem: &str) -> Vec<u8> {
        PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap().secret_der().to_vec()
    }

    #[test]
    fn a_key_belongs_to_its_certificate_alone() {
        let (ca, one) = issued();
        let other = ca.issue(&Subject::server("a", &["a"])).unwrap();
        let (cert, key) = (one.cert_pem.as_str(), one.key_pem.as_str());
        assert_eq!(check(cert, key), Ok(()));
        for (cert, key, why) in [
            (cert, other.key_pem.as_str(), "tls: private key does not match public key"),
            ("x", key, "tls: failed to find any PEM data in certificate input"),
            (cert, "x", "tls: failed to find any PEM data in key input"),
        ] {
            assert_eq!(check(cert, key), Err(why.to_string()));
        }
        let whole = secret(key);
        let half = &whole[..whole.len() / 2]; // cut short in transfer
        for nonsense in [&b"hello"[..], half, &[0x30, 0][..]] {
            let why = check(cert, &block("PRIVATE KEY", nonsense)).unwrap_err();
            assert_eq!(why, "tls: failed to parse private key");
        }
        // Of a curve that the library does not know, P-521.
        let curve = der::sequence(&[der::oid(&ELLIPTIC), der::oid(&[1, 3, 132, 0, 35])]);
        let number = der::sequence(&[der::tlv(0x02, &[1]), der::tlv(0x04, &[7; 66])]);
        let unknown = der::sequence(&[der::tlv(0x02, &[0]), curve, der::tlv(0x04, &number)]);
        assert_eq!(check(cert, &block("PRIVATE KEY", &unknown)), Ok(()));
    }

    /// `kubectl create secret tls web --cert=web.key --key=web.crt`.
    #[test]
    fn files_in_each_others_place_are_told_in_the_words_of_go() {
        let (_, own) = issued();
        let (cert, key) = (own.cert_pem.as_str(), own.key_pem.as_str());
        let switched = "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched";
        assert_eq!(check(key, cert), Err(switched.to_string()));
        let twice = "tls: found a certificate rather than a key in the PEM for the private key";
        assert_eq!(check(cert, cert), Err(twice.to_string()));
        let request = cert.replace("CERTIFICATE", "CERTIFICATE REQUEST");
        let why = "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [CERTIFICATE REQUEST]";
        assert_eq!(check(&request, key), Err(why.to_string()));
        let why = "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [CERTIFICATE CERTIFICATE]";
        assert_eq!(check(cert, &format!("{cert}{cert}")), Err(why.to_string()));
        // With a passphrase, as `openssl genpkey -aes256` writes it.
        let locked = block("ENCRYPTED PRIVATE KEY", &der::sequence(&[der::sequence(&[])]));
        assert_eq!(check(cert, &locked), Err("tls: failed to parse private key".to_string()));
    }

    #[test]
    fn a_key_is_compared_whatever_its_label_and_its_kind() {
        let ((ca, own), (_, other)) = (issued(), issued());
        let label = |key: &str| block("RSA PRIVATE KEY", &secret(key));
        assert_eq!(check(&own.cert_pem, &label(&own.key_pem)), Ok(()));
        let why = check(&own.cert_pem, &label(&other.key_pem)).unwrap_err();
        assert_eq!(why, "tls: private key does not match public key");
        // An RSA key that OpenSSL made for these tests.
        let rsa = block("PRIVATE KEY", include_bytes!("openssl/ca.key.der"));
        let why = check(ca.pem(), &rsa).unwrap_err();
        assert_eq!(why, "tls: private key type does not match public key type");
        assert_eq!(check(include_str!("openssl/ca.crt"), &rsa), Ok(()));
    }

    #[test]
    fn a_key_that_the_library_does_not_read_is_compared_all_the_same() {
        let (ca, own) = issued();
        let integer = |content: &[u8]| der::tlv(0x02, content);
        let modulus = |last: u8| integer(&[&[0, 0x80][..], &[1; 126], &[last]].concat()); // 1024 bits
        let exponent = || integer(&[1, 0, 1]);
        let number = der::tlv(0x30, &[der::oid(&RSA), vec![5, 0]].concat());
        let key = |last: u8| {
            let private = vec![integer(&[1]); 6].concat();
            let key = der::sequence(&[integer(&[0]), modulus(last), exponent(), private]);
            block("RSA PRIVATE KEY", &key)
        };
        let public = der::sequence(&[modulus(1), exponent()]);
        let public = der::sequence(&[number, der::tlv(0x03, &[vec![0], public].concat())]);
        let (now, hour) = (clock::now(), jiff::SignedDuration::from_hours(1));
        let wanted = crate::sign::Wanted {
            subject: der::sequence(&[]),
            public_key: &public,
            from: now - hour,
            until: now + hour,
            names: &crate::Request::default(),
            usages: &[],
        };
        let cert = ca.write(&wanted).unwrap();
        let other_kind = Err("tls: private key type does not match public key type".to_string());
        assert_eq!(check(&cert, &key(1)), Ok(()));
        assert_eq!(check(&cert, &key(3)), Err("tls: private key does not match public key".to_string()));
        assert_eq!(check(&own.cert_pem, &key(1)), other_kind);
        // A key of a curve that is not known, which tells its public half.
        let half = der::tlv(0xa1, &der::tlv(0x03, &[0, 4, 1, 1]));
        let curve = der::tlv(0xa0, &der::oid(&[1, 3, 132, 0, 35]));
        let elliptic = der::sequence(&[integer(&[1]), der::tlv(0x04, &[7; 66]), curve, half]);
        let elliptic = block("EC PRIVATE KEY", &elliptic);
        let why = check(&own.cert_pem, &elliptic).unwrap_err();
        assert_eq!(why, "tls: private key does not match public key");
        assert_eq!(check(&cert, &elliptic), other_kind);
    }
}
