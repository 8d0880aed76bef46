//! Checks that Go reads certificates in PEM form, and reads when they are valid.

use super::alternative_names::AlternativeNames;
use super::identity::certificates;
use super::keys::check_key;
use super::{name, oids, pem};
use clock::Timestamp;
use std::collections::HashSet;
use x509_parser::certificate::{Validity, X509Certificate};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

/// Returns until when a certificate in PEM form is valid; `None` if the text is no certificate.
pub fn valid_until(pem: &[u8]) -> Option<Timestamp> {
    validity(pem).map(|(_, until)| until)
}

/// Checks the certificates of a signer's answer: one or more blocks in PEM form, all of
/// certificates. Text between the blocks does not matter.
///
/// # Errors
/// The first fault, in a sentence (upstream: `validateCertificate`).
pub fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut all = 0;
    for block in pem::blocks(pem) {
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        if block.has_headers {
            return Err("no PEM block headers are permitted".into());
        }
        let mut rest = block.der.as_slice();
        if rest.is_empty() {
            return Err("found CERTIFICATE PEM block containing 0 certificates".into());
        }
        while !rest.is_empty() {
            let (more, own) = x509_parser::parse_x509_certificate(rest)
                .map_err(|why| format!("x509: malformed certificate: {why}"))?;
            check_parts(&own)?;
            (rest, all) = (more, all + 1);
        }
    }
    match all {
        0 => Err("must contain at least one CERTIFICATE PEM block".into()),
        _ => Ok(()),
    }
}

/// Checks what x509-parser does not: a certificate that Go does not read serves neither a client
/// nor a server of Kubernetes. Source: `parseCertificate` in Go's crypto/x509.
///
/// # Errors
/// A part is malformed, in Go's words.
pub(super) fn check_parts(own: &X509Certificate<'_>) -> Result<(), String> {
    if own.version().0 > X509Version::V3.0 {
        return Err("x509: invalid version".into());
    }
    if own.raw_serial().first().is_some_and(|first| *first >= 0x80) {
        return Err("x509: negative serial number".into());
    }
    if own.tbs_certificate.signature != own.signature_algorithm {
        return Err("x509: inner and outer signature algorithm identifiers don't match".into());
    }
    name::check(own.issuer())?;
    name::check(own.subject())?;
    check_key(&own.public_key().algorithm)?;
    check_extensions(own)
}

/// Checks that no extension of a certificate is there twice, and that its alternative names can be
/// read.
///
/// # Errors
/// An extension is there twice, or the names cannot be read; in Go's words.
fn check_extensions(own: &X509Certificate<'_>) -> Result<(), String> {
    let mut seen = HashSet::new();
    if let Some(twice) = own.extensions().iter().find(|extension| !seen.insert(extension.oid.as_bytes())) {
        let number = twice.oid.to_id_string();
        return Err(format!("x509: certificate contains duplicate extension with OID {number:?}"));
    }
    let names = own.extensions().iter().find(|e| oids::is(&e.oid, &oids::SUBJECT_ALT_NAME));
    names.map_or(Ok(()), |names| AlternativeNames::default().add(names.value))
}

/// Returns from when and until when a certificate in PEM form is valid.
pub(super) fn validity(pem: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let der = certificates(pem).into_iter().next()?;
    let (_, cert) = x509_parser::parse_x509_certificate(&der).ok()?;
    Some(times(cert.validity()))
}

/// Returns the begin and the end of a certificate. `99991231235959Z`, which stands for no end
/// (RFC 5280, 4.1.2.5), is a day later than [`Timestamp::MAX`] and becomes that.
pub(super) fn times(validity: &Validity) -> (Timestamp, Timestamp) {
    let at = |time: ASN1Time| Timestamp::from_second(time.timestamp());
    (at(validity.not_before).unwrap_or(Timestamp::MIN), at(validity.not_after).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::to_pem;
    use crate::{Ca, check_pair, der};
    use jiff::SignedDuration;
    use rcgen::KeyPair;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn the_blocks_of_certificates_are_those_that_go_reads() {
        let dir = tempfile::tempdir().unwrap();
        let good = Ca::load_or_create(dir.path(), "kubernetes").unwrap().pem().replace('\r', "");
        assert_eq!(check_certificates(format!("text\n{good}\n{good}").as_bytes()), Ok(()));
        let open = format!("{good}-----BEGIN CERTIFICATE-----\n");
        assert_eq!(check_certificates(open.as_bytes()), Ok(()), "a block without an end is text");
        let other_end = good.replace("END CERTIFICATE", "END FOO");
        let headers = good.replace("BEGIN CERTIFICATE-----\n", "BEGIN CERTIFICATE-----\nKey: value\n\n");
        for (bad, why) in [
            (other_end, "must contain at least one CERTIFICATE PEM block"),
            (headers, "no PEM block headers are permitted"),
            (good.replace("CERTIFICATE", "FOO"), "only CERTIFICATE PEM blocks are allowed, found \"FOO\""),
            (
                "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".into(),
                "found CERTIFICATE PEM block containing 0 certificates",
            ),
        ] {
            assert_eq!(check_certificates(bad.as_bytes()).unwrap_err(), why);
        }
    }

    /// A signer that writes one would make a client that no API server believes, and a Secret that
    /// has one makes a server that does not start.
    #[test]
    fn a_certificate_that_go_does_not_read_is_none() {
        use rcgen::PublicKeyData;
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let (key, now, hour) = (KeyPair::generate().unwrap(), clock::now(), SignedDuration::from_hours(1));
        let names = crate::Request { dns_names: vec!["a.example".into()], ..crate::Request::default() };
        let of = |kind: u8, tag: u8, name: &str| {
            let attribute = [der::tlv(kind, &[0x55, 4, 3]), der::tlv(tag, name.as_bytes())];
            let wanted = crate::sign::Wanted {
                subject: der::sequence(&[der::tlv(0x31, &der::sequence(&attribute))]),
                public_key: &key.subject_public_key_info(),
                from: now - hour,
                until: now + hour,
                names: &names,
                usages: &[],
            };
            CertificateDer::from_pem_slice(ca.write(&wanted).unwrap().as_bytes()).unwrap().to_vec()
        };
        let good = of(0x06, 0x13, "jane");
        let with = |from: &[u8], to: &[u8]| {
            let at = good.windows(from.len()).position(|w| w == from).unwrap();
            [&good[..at], to, &good[at + to.len()..]].concat()
        };
        let value = "x509: invalid RDNSequence: invalid attribute value: invalid";
        let (known, other) = ([1, 2, 840, 10045, 4, 3, 2], [1, 2, 840, 10045, 4, 3, 3]);
        for (cert, wanted) in [
            (good.clone(), Ok(())),
            (of(0x06, 0x13, "jane@example.com"), Err(format!("{value} PrintableString"))),
            (of(0x06, 0x16, "ä"), Err(format!("{value} IA5String"))),
            (of(0x0a, 0x13, "jane"), Err("x509: invalid RDNSequence".to_string())),
            (with(&[2, 1, 2], &[2, 1, 3]), Err("x509: invalid version".to_string())),
            (with(&[2, 16], &[2, 16, 0x80]), Err("x509: negative serial number".to_string())),
            (with(b"a.example", b"\xe4.example"), Err("x509: SAN dNSName is malformed".to_string())),
            (
                with(&[0x55, 29, 35], &[0x55, 29, 19]),
                Err("x509: certificate contains duplicate extension with OID \"2.5.29.19\"".to_string()),
            ),
            (
                with(&der::oid(&known), &der::oid(&other)),
                Err("x509: inner and outer signature algorithm identifiers don't match".to_string()),
            ),
        ] {
            let pem = to_pem(&cert);
            assert_eq!(check_certificates(pem.as_bytes()), wanted);
            assert_eq!(check_pair(pem.as_bytes(), key.serialize_pem().as_bytes()), wanted);
        }
    }
}
