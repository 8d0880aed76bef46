//! Keys: which public ones Kubernetes reads, and private ones in the forms in which other programs
//! write them.

use super::der;
use super::oids::{self, CURVES, ED25519, ELLIPTIC, P256, P384, RSA};
use rcgen::KeyPair;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::asn1_rs::{Any, Class, Tag};
use x509_parser::public_key::RSAPublicKey;
use x509_parser::x509::AlgorithmIdentifier;

/// Bits of the RSA keys whose signatures can be checked here.
pub(crate) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Returns how many bits the modulus of an RSA key has, rounded up to whole bytes as ring does.
pub(crate) fn rsa_bits(key: &RSAPublicKey<'_>) -> usize {
    8 * key.modulus.iter().skip_while(|byte| **byte == 0).count()
}

/// Checks that Go reads a public key with these parameters. Source: `parsePublicKey` in Go's
/// crypto/x509.
///
/// # Errors
/// The parameters are not those of this kind of key, or name a curve that Kubernetes does not read;
/// in Go's words.
pub(crate) fn check_key(key: &AlgorithmIdentifier<'_>) -> Result<(), String> {
    let parameters = key.parameters.as_ref();
    let is_null =
        parameters.is_some_and(|value| value.class() == Class::Universal && value.tag() == Tag::Null);
    let is_kind = |kind: &[u64]| oids::is(&key.algorithm, kind);
    match parameters {
        _ if is_kind(&RSA) && !is_null => Err("x509: RSA key missing NULL parameters".into()),
        Some(_) if is_kind(&ED25519) => Err("x509: Ed25519 key encoded with illegal parameters".into()),
        _ if is_kind(&ELLIPTIC) => check_curve(parameters),
        _ => Ok(()),
    }
}

/// Checks that the parameters of an elliptic key name a curve that Kubernetes reads.
fn check_curve(parameters: Option<&Any<'_>>) -> Result<(), String> {
    let curve = parameters.filter(|curve| der::is_oid(curve));
    let curve = curve.and_then(|curve| curve.as_oid().ok());
    let curve = curve.ok_or("x509: invalid ECDSA parameters")?;
    match CURVES.iter().any(|known| oids::is(&curve, known)) {
        true => Ok(()),
        false => Err("x509: unsupported elliptic curve".into()),
    }
}

/// Reads a private key in PEM form: PKCS #8, as this program writes it, PKCS #1 (`RSA PRIVATE KEY`)
/// or SEC 1 (`EC PRIVATE KEY`), as kubeadm and OpenSSL write theirs. Other blocks before it, such
/// as `EC PARAMETERS`, are passed over.
///
/// # Errors
/// There is no key, or it is malformed or of a kind that cannot sign here.
pub(crate) fn read_key(pem: &str) -> Result<KeyPair, Box<dyn std::error::Error + Send + Sync>> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
    let read = |algorithm: &[Vec<u8>]| KeyPair::try_from(in_pkcs8(algorithm, key.secret_der()).as_slice());
    Ok(match &key {
        PrivateKeyDer::Pkcs1(_) => read(&[der::oid(&RSA), der::tlv(0x05, &[])])?,
        // The library compares the public half in the key, so that only the key's own curve fits.
        PrivateKeyDer::Sec1(_) => read(&[der::oid(&ELLIPTIC), der::oid(&P256)])
            .or_else(|_| read(&[der::oid(&ELLIPTIC), der::oid(&P384)]))?,
        key => KeyPair::try_from(key)?,
    })
}

/// Wraps a key in PKCS #8, which says of what kind it is. Source: RFC 5958.
pub(crate) fn in_pkcs8(algorithm: &[Vec<u8>], key: &[u8]) -> Vec<u8> {
    let version = der::tlv(0x02, &[0]);
    der::sequence(&[version, der::sequence(algorithm), der::tlv(0x04, key)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ca, Subject};
    use rcgen::{BasicConstraints, IsCa, PublicKeyData};

    #[test]
    fn keys_that_kubeadm_and_openssl_write_are_an_authoritys() {
        let made = |algorithm| KeyPair::generate_for(algorithm).unwrap();
        // An RSA key that OpenSSL made for this test: ring makes none.
        let rsa = KeyPair::try_from(&include_bytes!("openssl/ca.key.der")[..]).unwrap();
        for (key, kind) in [
            (made(&rcgen::PKCS_ECDSA_P256_SHA256), "EC"),
            (made(&rcgen::PKCS_ECDSA_P384_SHA384), "EC"),
            (rsa, "RSA"),
        ] {
            let whole = key.serialize_der();
            let parts = der::contents(der::contents(&whole).unwrap()[0]).unwrap();
            let label = format!("{kind} PRIVATE KEY");
            let parameters = crate::sign::to_pem(&der::oid(&P256)).replace("CERTIFICATE", "EC PARAMETERS");
            let pem = parameters + &crate::sign::to_pem(parts[2]).replace("CERTIFICATE", &label);
            let read = read_key(&pem).unwrap();
            assert_eq!(read.subject_public_key_info(), key.subject_public_key_info(), "{label}");
            let dir = tempfile::tempdir().unwrap();
            let mut own = crate::ca::params(&Subject::client("kubernetes", ""), 30).unwrap();
            own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            std::fs::write(dir.path().join("ca.crt"), own.self_signed(&key).unwrap().pem()).unwrap();
            std::fs::write(dir.path().join("ca.key"), pem).unwrap();
            let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
            ca.issue(&Subject::client("jane", "dev")).unwrap();
        }
        assert!(read_key("-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n").is_err());
    }
}
