//! Compares a certificate with a key. Source: `X509KeyPair` in Go's crypto/tls, whose words a user
//! of kubectl or etcdctl reads.

use super::certificate::check_parts;
use super::identity::provider;
use super::keys::{ELLIPTIC, P256, P384, RSA, in_pkcs8};
use super::{der, pem, signatures};
use rustls::SignatureAlgorithm;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use std::sync::Arc;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;

/// The number of Ed25519, of a key and of its signatures.
const ED25519: [u64; 4] = [1, 3, 101, 112];

/// X25519, which agrees on keys and signs nothing.
const X25519: [u64; 4] = [1, 3, 101, 110];
/// The curves that Go knows: P-224, P-256, P-384 and P-521.
const CURVES: [&[u64]; 4] = [&[1, 3, 132, 0, 33], &P256, &P384, &[1, 3, 132, 0, 35]];

const OTHER_KIND: &str = "tls: private key type does not match public key type";
const OTHER_KEY: &str = "tls: private key does not match public key";

/// Checks that a key belongs to a certificate, both PEM. A well-formed key of a curve that the
/// library does not know (P-224, P-521) passes unless it tells its public half.
///
/// # Errors
/// One of the two is missing or malformed, or the key is another one's, in Go's words.
pub fn check_pair(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let (certificate, key) = (certificate_in(certificate)?, key_in(key)?);
    let parsed = match x509_parser::parse_x509_certificate(&certificate) {
        Ok(([], parsed)) => parsed,
        Ok(_) => return Err("x509: trailing data".into()),
        Err(_) => return Err("x509: malformed certificate".into()),
    };
    check_parts(&parsed)?;
    if is_of(&parsed, &ELLIPTIC) && point_of(&parsed).first() != Some(&4) {
        return Err("ecdsa: invalid uncompressed public key".into());
    }
    let is_known = [&RSA[..], &ELLIPTIC, &ED25519].into_iter().any(|kind| is_of(&parsed, kind));
    let unknown = || Err("tls: unknown public key algorithm".to_string());
    match load(&key) {
        Some(_) if !is_known => unknown(),
        Some(loaded) if is_pair(&parsed, &*loaded) => Ok(()),
        Some(loaded) if is_other_kind(&parsed, &*loaded) => Err(OTHER_KIND.into()),
        Some(_) => Err(OTHER_KEY.into()),
        // The library has the same error for a curve or a length that it does not know and for
        // nonsense.
        None => match Unread::parse(&key) {
            Some(_) if !is_known => unknown(),
            Some(unread) => unread.check(&parsed),
            None if is_for_agreement(&key) => {
                Err("tls: found unknown private key type in PKCS#8 wrapping".into())
            }
            None => Err("tls: failed to parse private key".into()),
        },
    }
}

/// Returns true if a certificate's key is of the kind of this number.
fn is_of(cert: &X509Certificate<'_>, number: &[u64]) -> bool {
    is_number(cert.public_key().algorithm.algorithm.as_bytes(), number)
}

/// Returns true for the content of an OBJECT IDENTIFIER, without its tag and length.
fn is_number(content: &[u8], number: &[u64]) -> bool {
    der::oid(number).get(2..) == Some(content)
}

/// Returns the bits of a certificate's public key: of an elliptic one 4, then x and y.
fn point_of<'a>(cert: &'a X509Certificate<'_>) -> &'a [u8] {
    &cert.public_key().subject_public_key.data
}

/// Returns true for a key in PKCS #8 that agrees on others, of which Go reads this kind.
fn is_for_agreement(key: &[u8]) -> bool {
    let parts = parts_of(key).unwrap_or_default();
    matches!(parts.as_slice(), [_, (Tag::Sequence, kind), ..] if *kind == der::oid(&X25519))
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
/// the label of its PEM block does not matter. One of an elliptic curve that lacks its public half,
/// as Java writes it, gets the one of its certificate. One that the library does not know stays
/// PKCS #8.
///
/// # Errors
/// It has none.
pub(super) fn private_key(
    text: &[u8],
    own: Option<&CertificateDer<'_>>,
) -> Result<PrivateKeyDer<'static>, String> {
    let der = key_in(text)?;
    let is_read =
        |form: &PrivateKeyDer<'_>| provider().key_provider.load_private_key(form.clone_key()).is_ok();
    let found = forms(&der).into_iter().find(is_read).or_else(|| {
        let cert = signatures::parse(own?).ok()?;
        match Unread::parse(&der)? {
            Unread::Elliptic(key) => key.with_public_half(&cert),
            Unread::Rsa(..) => None,
        }
    });
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
    kinds.into_iter().any(|(kind, number)| kind != key.algorithm() && is_of(cert, number))
}

/// A key that the library does not read: of a length or a curve that it does not know, e.g. RSA
/// with 1024 or 8192 bits, or without its public half.
enum Unread<'a> {
    /// The modulus and the public exponent.
    Rsa(&'a [u8], &'a [u8]),
    Elliptic(Elliptic<'a>),
}

/// A key of an elliptic curve.
struct Elliptic<'a> {
    /// The number of the curve, without tag and length.
    curve: &'a [u8],
    number: &'a [u8],
    /// The public half, if it is there: a BIT STRING, which begins with the number of its unused
    /// bits.
    public: Option<&'a [u8]>,
}

impl<'a> Unread<'a> {
    /// Reads an RSA key (PKCS #1) or one of an elliptic curve (SEC 1), by itself or in PKCS #8.
    /// `None`: it has none of these forms.
    fn parse(der: &'a [u8]) -> Option<Unread<'a>> {
        let parts = parts_of(der)?;
        match parts.as_slice() {
            // A version, the algorithm, which begins with its number, and the key.
            [(Tag::Integer, _), (Tag::Sequence, algorithm), (Tag::OctetString, key), ..] => {
                let (key, algorithm) = (parts_of(key)?, der::values(algorithm)?);
                match algorithm.as_slice() {
                    [(Tag::Oid, kind), ..] if is_number(kind, &RSA) => Unread::rsa(&key),
                    [(Tag::Oid, kind), (Tag::Oid, curve), ..] if is_number(kind, &ELLIPTIC) => {
                        Unread::elliptic(&key, Some(*curve))
                    }
                    _ => None,
                }
            }
            parts => Unread::rsa(parts).or_else(|| Unread::elliptic(parts, None)),
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

    /// The version 1 and a number; the curve (`[0]`), unless it was named before, and the public
    /// half (`[1]`) may follow.
    fn elliptic(parts: &[(Tag, &'a [u8])], named: Option<&'a [u8]>) -> Option<Unread<'a>> {
        let [(Tag::Integer, [1]), (Tag::OctetString, number), more @ ..] = parts else { return None };
        if number.is_empty() {
            return None;
        }
        let held = |wanted: Tag| {
            let (_, value) = more.iter().find(|(tag, _)| *tag == wanted)?;
            der::values(value)?.first().copied()
        };
        let own = held(Tag(0)).and_then(|(tag, curve)| (tag == Tag::Oid).then_some(curve));
        let curve = named.or(own).filter(|curve| CURVES.iter().any(|known| is_number(curve, known)))?;
        let public = held(Tag(1)).map(|(_, half)| half);
        Some(Unread::Elliptic(Elliptic { curve, number, public }))
    }

    /// Checks that this is the key of a certificate.
    fn check(&self, cert: &X509Certificate<'_>) -> Result<(), String> {
        let is_same = match self {
            Unread::Rsa(modulus, exponent) if is_of(cert, &RSA) => {
                let parts = parts_of(point_of(cert)).unwrap_or_default();
                parts.iter().map(|(_, number)| number).eq([modulus, exponent])
            }
            Unread::Elliptic(own) if is_of(cert, &ELLIPTIC) => own.may_be_of(cert),
            _ => return Err(OTHER_KIND.into()),
        };
        match is_same {
            true => Ok(()),
            false => Err(OTHER_KEY.into()),
        }
    }
}

impl Elliptic<'_> {
    /// Returns true unless it is another key than a certificate's.
    fn may_be_of(&self, cert: &X509Certificate<'_>) -> bool {
        let curve = cert.public_key().algorithm.parameters.as_ref().map(|curve| curve.data);
        let is_read = is_number(self.curve, &P256) || is_number(self.curve, &P384);
        let is_half = |public: &[u8]| public.strip_prefix(&[0_u8]) == Some(point_of(cert));
        curve == Some(self.curve)
            && match is_read {
                true => self.with_public_half(cert).is_some(),
                false => self.public.is_none_or(is_half),
            }
    }

    /// Returns this key with the public half of a certificate, in PKCS #8, if it is the
    /// certificate's. Go derives the public half; the library wants to read it, not compressed, and
    /// compares it with the number.
    fn with_public_half(&self, cert: &X509Certificate<'_>) -> Option<PrivateKeyDer<'static>> {
        let point = point_of(cert);
        let zeros = self.number.iter().take_while(|byte| **byte == 0).count();
        let number = &self.number[zeros..];
        let missing = (point.len() / 2).checked_sub(number.len())?;
        let number = [vec![0; missing].as_slice(), number].concat();
        let half = der::tlv(0xa1, &der::tlv(0x03, &[&[0_u8][..], point].concat()));
        let key = der::sequence(&[der::tlv(0x02, &[1]), der::tlv(0x04, &number), half]);
        let key = in_pkcs8(&[der::oid(&ELLIPTIC), der::tlv(0x06, self.curve)], &key);
        let key = PrivateKeyDer::Pkcs8(key.into());
        provider().key_provider.load_private_key(key.clone_key()).is_ok().then_some(key)
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
    key.public_key().is_none_or(|public| public.ends_with(point_of(cert)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ca, Identity, Subject};
    use rcgen::PublicKeyData;
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
        // Of a curve that the library does not know, P-521, and of one that Go does not either.
        for (curve, why) in [(35, OTHER_KEY), (10, "tls: failed to parse private key")] {
            let curve = der::sequence(&[der::oid(&ELLIPTIC), der::oid(&[1, 3, 132, 0, curve])]);
            let number = der::sequence(&[der::tlv(0x02, &[1]), der::tlv(0x04, &[7; 66])]);
            let unknown = der::sequence(&[der::tlv(0x02, &[0]), curve, der::tlv(0x04, &number)]);
            assert_eq!(check(cert, &block("PRIVATE KEY", &unknown)), Err(why.to_string()));
        }
    }

    /// As Java writes a key, and as OpenSSL does with `-conv_form compressed`.
    #[test]
    fn an_elliptic_key_without_its_public_half_is_compared_and_shown() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
            let made = || rcgen::KeyPair::generate_for(algorithm).unwrap();
            let (own, other) = (made(), made());
            let params = crate::ca::params(&Subject::client("jane", ""), 1).unwrap();
            let cert_pem = params.self_signed(&own).unwrap().pem();
            let without = |key: &rcgen::KeyPair, half: &[u8]| {
                let whole = key.serialize_der();
                let outer = der::values(der::contents(&whole).unwrap()[0]).unwrap();
                let inner = der::values(der::contents(outer[2].1).unwrap()[0]).unwrap();
                let number = der::tlv(0x04, inner[1].1);
                let inner = der::sequence(&[der::tlv(0x02, &[1]), number, half.to_vec()]);
                let kind = der::tlv(0x30, outer[1].1);
                let outer = der::sequence(&[der::tlv(0x02, &[0]), kind, der::tlv(0x04, &inner)]);
                block("PRIVATE KEY", &outer)
            };
            let point = own.der_bytes();
            let x = &point[1..=point.len() / 2];
            let parity = 2 + (point[point.len() - 1] & 1);
            let compressed = der::tlv(0xa1, &der::tlv(0x03, &[&[0, parity][..], x].concat()));
            for half in [&[][..], &compressed[..]] {
                let key_pem = without(&own, half);
                assert_eq!(check(&cert_pem, &key_pem), Ok(()));
                assert_eq!(check(&cert_pem, &without(&other, half)), Err(OTHER_KEY.to_string()));
                let identity = Identity { cert_pem: cert_pem.clone(), key_pem };
                crate::client_config(Some(&identity), &cert_pem, &[]).unwrap();
            }
        }
    }

    #[test]
    fn a_certificate_whose_key_go_does_not_read_has_none() {
        let (ca, own) = issued();
        let check = |kind: &[Vec<u8>], bits: &[u8]| {
            let public = der::sequence(&[der::sequence(kind), der::tlv(0x03, bits)]);
            let (now, hour) = (clock::now(), jiff::SignedDuration::from_hours(1));
            let wanted = crate::sign::Wanted {
                subject: der::sequence(&[]),
                public_key: &public,
                from: now - hour,
                until: now + hour,
                names: &crate::Request::default(),
                usages: &[],
            };
            check(&ca.write(&wanted).unwrap(), &own.key_pem).unwrap_err()
        };
        let elliptic = || der::oid(&ELLIPTIC);
        assert_eq!(check(&[der::oid(&[1, 3, 101, 113])], &[0, 1]), "tls: unknown public key algorithm");
        let k1 = der::oid(&[1, 3, 132, 0, 10]);
        assert_eq!(check(&[der::oid(&RSA)], &[0, 1]), "x509: RSA key missing NULL parameters");
        assert_eq!(check(&[elliptic(), k1], &[0, 4, 1, 1]), "x509: unsupported elliptic curve");
        let compressed = check(&[elliptic(), der::oid(&P256)], &[0, 2, 1]);
        assert_eq!(compressed, "ecdsa: invalid uncompressed public key");
        let whole = pem::blocks(own.cert_pem.as_bytes()).remove(0).der;
        let trailing = block("CERTIFICATE", &[&whole[..], &[5, 0]].concat());
        let why = check_pair(trailing.as_bytes(), own.key_pem.as_bytes()).unwrap_err();
        assert_eq!(why, "x509: trailing data");
        let x25519 = der::sequence(&[der::tlv(0x02, &[0]), der::sequence(&[der::oid(&X25519)]), vec![4, 0]]);
        let x25519 = block("PRIVATE KEY", &x25519);
        let why = check_pair(own.cert_pem.as_bytes(), x25519.as_bytes()).unwrap_err();
        assert_eq!(why, "tls: found unknown private key type in PKCS#8 wrapping");
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
