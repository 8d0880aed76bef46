use super::*;
use crate::oids::P256;
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

/// Issues a certificate with this public key, a `SubjectPublicKeyInfo` in DER. [`Ca::issue`] knows
/// only the kind of key that it makes.
fn with_public_key(ca: &Ca, public_key: &[u8]) -> String {
    let (now, hour) = (clock::now(), jiff::SignedDuration::from_hours(1));
    let wanted = crate::sign::Wanted {
        subject: der::sequence(&[]),
        public_key,
        from: now - hour,
        until: now + hour,
        names: &crate::Request::default(),
        usages: &[],
    };
    ca.write(&wanted).unwrap()
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
        check(&with_public_key(&ca, &public), &own.key_pem).unwrap_err()
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
fn files_in_each_others_place_are_named_in_the_words_of_go() {
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
    let rsa = block("PRIVATE KEY", include_bytes!("../openssl/ca.key.der"));
    let why = check(ca.pem(), &rsa).unwrap_err();
    assert_eq!(why, "tls: private key type does not match public key type");
    assert_eq!(check(include_str!("../openssl/ca.crt"), &rsa), Ok(()));
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
    let cert = with_public_key(&ca, &public);
    let other_kind = Err("tls: private key type does not match public key type".to_string());
    assert_eq!(check(&cert, &key(1)), Ok(()));
    assert_eq!(check(&cert, &key(3)), Err("tls: private key does not match public key".to_string()));
    assert_eq!(check(&own.cert_pem, &key(1)), other_kind);
    // A key of a curve that is not known, with its public half.
    let half = der::tlv(0xa1, &der::tlv(0x03, &[0, 4, 1, 1]));
    let curve = der::tlv(0xa0, &der::oid(&[1, 3, 132, 0, 35]));
    let elliptic = der::sequence(&[integer(&[1]), der::tlv(0x04, &[7; 66]), curve, half]);
    let elliptic = block("EC PRIVATE KEY", &elliptic);
    let why = check(&own.cert_pem, &elliptic).unwrap_err();
    assert_eq!(why, "tls: private key does not match public key");
    assert_eq!(check(&cert, &elliptic), other_kind);
}
