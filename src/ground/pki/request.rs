//! Certificate requests of others (PKCS #10), and the certificates that the authority makes of
//! them.
//!
//! A requester's name is copied byte by byte, since it is the user and the groups that the
//! certificate stands for. Source: RFC 5280 for the certificate, RFC 2986 for the request; DER is
//! written by hand because the certificate library keeps one organization of several.

use super::{Ca, Error, der};
use clock::{self, Timestamp};
use jiff::SignedDuration;
use rcgen::SigningKey;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::error::X509Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

/// How long a certificate is valid before it was made, for clocks that are behind.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// What a requester says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    pub common_name: String,
    pub serial_number: String,
    /// Groups.
    pub organizations: Vec<String>,
    pub units: Vec<String>,
    pub countries: Vec<String>,
    pub localities: Vec<String>,
    pub provinces: Vec<String>,
    pub streets: Vec<String>,
    pub postal_codes: Vec<String>,
    pub dns_names: Vec<String>,
    pub emails: Vec<String>,
    pub uris: Vec<String>,
    pub addresses: Vec<String>,
    /// As it came; what is signed is read from here.
    pub der: Vec<u8>,
}

/// Attributes of a subject that a request is judged by, or that its certificate stands for.
const NAMED: [&str; 9] =
    ["2.5.4.3", "2.5.4.5", "2.5.4.6", "2.5.4.7", "2.5.4.8", "2.5.4.9", "2.5.4.10", "2.5.4.11", "2.5.4.17"];
/// RSA keys with fewer bits are not checked here.
const RSA_MIN: usize = 2048;

/// Whether the signature of a request proves that the requester has its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Good,
    Wrong,
    /// The kind of key or signature is not known here. Another signer may know it.
    Unknown,
}

impl Request {
    /// Reads a request in PEM form. What cannot be read is refused and not dropped: a signer would
    /// decide on less than the requester asks for.
    ///
    /// # Errors
    /// The request is malformed, in a sentence.
    pub fn parse(pem: &[u8]) -> Result<Request, String> {
        let der = CertificateSigningRequestDer::from_pem_slice(pem)
            .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_string())?;
        let (rest, parsed) = X509CertificationRequest::from_der(&der)
            .map_err(|e| format!("x509: malformed certificate request: {e}"))?;
        if !rest.is_empty() {
            return Err("x509: malformed certificate request: trailing data".into());
        }
        let name = &parsed.certification_request_info.subject;
        let is_named = |oid: &str| NAMED.contains(&oid);
        if name.iter_attributes().any(|a| is_named(&a.attr_type().to_id_string()) && a.as_str().is_err()) {
            return Err("x509: the subject has text that is neither UTF-8 nor printable".into());
        }
        let mut request = Request {
            common_name: common_name(name).unwrap_or_default(),
            serial_number: all(name, "2.5.4.5").pop().unwrap_or_default(),
            organizations: all(name, "2.5.4.10"),
            units: all(name, "2.5.4.11"),
            countries: all(name, "2.5.4.6"),
            localities: all(name, "2.5.4.7"),
            provinces: all(name, "2.5.4.8"),
            streets: all(name, "2.5.4.9"),
            postal_codes: all(name, "2.5.4.17"),
            ..Request::default()
        };
        let requested = parsed.certification_request_info.iter_attributes();
        let requested = requested.filter_map(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(requested) => Some(&requested.extensions),
            _ => None,
        });
        for extension in requested.flatten().filter(|e| e.oid.to_id_string() == "2.5.29.17") {
            let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
                return Err("x509: the subject alternative names are malformed".into());
            };
            for name in &names.general_names {
                request.add_name(name)?;
            }
        }
        request.der = der.to_vec();
        Ok(request)
    }

    /// Adds a subject alternative name. As in Go, kinds of names that no certificate here has are
    /// ignored.
    fn add_name(&mut self, name: &GeneralName<'_>) -> Result<(), String> {
        let malformed = |kind: &str| format!("x509: SAN {kind} is malformed");
        let text = |kind: &str, text: &str| match text.is_ascii() {
            true => Ok(text.to_string()),
            false => Err(malformed(kind)),
        };
        match name {
            GeneralName::DNSName(name) => self.dns_names.push(text("dNSName", name)?),
            GeneralName::RFC822Name(name) => self.emails.push(text("rfc822Name", name)?),
            GeneralName::URI(name) => self.uris.push(text("uniformResourceIdentifier", name)?),
            GeneralName::IPAddress(bytes) => {
                let length = || format!("x509: cannot parse IP address of length {}", bytes.len());
                self.addresses.push(address(bytes).ok_or_else(length)?);
            }
            GeneralName::Invalid(tag, _) => match tag.0 {
                1 => return Err(malformed("rfc822Name")),
                2 => return Err(malformed("dNSName")),
                6 => return Err(malformed("uniformResourceIdentifier")),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// Checks the signature of the request with the key in it.
    pub fn proof(&self) -> Proof {
        let Ok((_, parsed)) = X509CertificationRequest::from_der(&self.der) else { return Proof::Wrong };
        proof(&parsed)
    }
}

fn proof(request: &X509CertificationRequest) -> Proof {
    let key = request.certification_request_info.subject_pki.parsed();
    if let Ok(PublicKey::RSA(key)) = key
        && key.key_size() < RSA_MIN
    {
        return Proof::Unknown;
    }
    match request.verify_signature() {
        Ok(()) => Proof::Good,
        Err(X509Error::SignatureUnsupportedAlgorithm) => Proof::Unknown,
        Err(_) => Proof::Wrong,
    }
}

/// The values of an attribute of a name, e.g. `2.5.4.10` for organizations.
fn all(name: &X509Name, oid: &str) -> Vec<String> {
    name.iter_attributes()
        .filter(|a| a.attr_type().to_id_string() == oid)
        .filter_map(|a| a.as_str().ok().map(String::from))
        .collect()
}

/// Returns the common name of a subject: the last one if it has several, as Go's `pkix.Name` does.
///
/// Approvers judge a request by this name and the API server authenticates the certificate by it,
/// so both read it here. `/CN=system:kube-controller-manager/CN=system:node:n1` names the node `n1`
/// for both.
pub(super) fn common_name(name: &X509Name) -> Option<String> {
    all(name, "2.5.4.3").pop()
}

fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        _ => None,
    }
}

/// Returns until when a certificate in PEM form is valid; `None` if it is none.
pub fn valid_until(pem: &[u8]) -> Option<Timestamp> {
    validity(pem).map(|(_, until)| until)
}

/// Judges what a signer gives as a certificate: one or more blocks in PEM form, of nothing else.
/// Text between them does not matter.
///
/// # Errors
/// What is wrong, in a sentence (upstream: `validateCertificate`).
pub fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut all = 0;
    for block in x509_parser::pem::Pem::iter_from_buffer(pem) {
        let block = block.map_err(|why| format!("a PEM block cannot be read: {why}"))?;
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        let mut rest = block.contents.as_slice();
        if rest.is_empty() {
            return Err("found CERTIFICATE PEM block containing 0 certificates".into());
        }
        while !rest.is_empty() {
            let (more, _) = x509_parser::parse_x509_certificate(rest)
                .map_err(|why| format!("x509: malformed certificate: {why}"))?;
            (rest, all) = (more, all + 1);
        }
    }
    match all {
        0 => Err("must contain at least one CERTIFICATE PEM block".into()),
        _ => Ok(()),
    }
}

/// Returns from and until when a certificate in PEM form is valid.
pub(super) fn validity(pem: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, cert) = x509_parser::parse_x509_certificate(&der).ok()?;
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((at(cert.validity().not_before)?, at(cert.validity().not_after)?))
}

impl Ca {
    /// Signs a certificate for the requester, valid for `lifetime`, for `usages` (`digital
    /// signature`, `key encipherment`, `client auth`, `server auth`).
    ///
    /// # Errors
    /// [`Error::Request`] if this request can never be signed: its signature is wrong or of an
    /// unknown kind, or its subject is not usable. Other errors may pass.
    pub fn sign(
        &self,
        request: &Request,
        usages: &[String],
        lifetime: SignedDuration,
    ) -> Result<String, Error> {
        let refuse = |why: String| Error::Request(why);
        let (_, parsed) = X509CertificationRequest::from_der(&request.der)
            .map_err(|e| refuse(format!("x509: malformed certificate request: {e}")))?;
        match proof(&parsed) {
            Proof::Good => {}
            Proof::Wrong => return Err(refuse("the signature of the certificate request is wrong".into())),
            Proof::Unknown => {
                let why = "the key or the signature of the certificate request is of a kind that this signer does not support: \
                           use ECDSA P-256 or P-384 with SHA-256 or SHA-384, RSA with 2048 bits or more, or Ed25519";
                return Err(refuse(why.into()));
            }
        }
        // Other programs may read the first common name of the certificate, which nobody approved.
        if all(&parsed.certification_request_info.subject, "2.5.4.3").len() > 1 {
            return Err(refuse("the subject has more than one common name".into()));
        }
        let own =
            CertificateDer::from_pem_slice(self.pem().as_bytes()).map_err(|e| Error::Pem(e.to_string()))?;
        let (_, own) = x509_parser::parse_x509_certificate(&own).map_err(|e| Error::Pem(e.to_string()))?;
        let mut serial = [0u8; 16];
        SystemRandom::new().fill(&mut serial).map_err(|_| Error::Authority("no randomness".into()))?;
        serial[0] = (serial[0] & 0x7f) | 0x40; // positive, and never shorter
        let now = clock::now();
        let until = self.until.min(now + lifetime);
        if until <= now {
            return Err(Error::Authority(format!("its certificate ended at {until}")));
        }
        let info = &parsed.certification_request_info;
        let has_subject = info.subject.iter_attributes().next().is_some();
        let algorithm = der::sequence(&[der::oid(&[1, 2, 840, 10045, 4, 3, 2])]); // ecdsa-with-SHA256, as all keys of an authority
        let tbs = der::sequence(&[
            der::tlv(0xa0, &der::tlv(0x02, &[2])), // version 3
            der::tlv(0x02, &serial),
            algorithm.clone(),
            own.subject().as_raw().to_vec(),
            der::sequence(&[der::time(now - BACKDATE), der::time(until)]),
            info.subject.as_raw().to_vec(),
            info.subject_pki.raw.to_vec(),
            der::tlv(0xa3, &der::sequence(&extensions(request, usages, &own, has_subject))),
        ]);
        let signature = self.issuer.key().sign(&tbs).map_err(|e| Error::Authority(e.to_string()))?;
        let bits: Vec<u8> = [0].into_iter().chain(signature).collect();
        let cert = der::sequence(&[tbs, algorithm, der::tlv(0x03, &bits)]);
        Ok(to_pem(&cert))
    }
}

pub(super) fn to_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap_or_default()) // base64 is ASCII
        .collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn extensions(
    request: &Request,
    usages: &[String],
    authority: &x509_parser::certificate::X509Certificate,
    has_subject: bool,
) -> Vec<Vec<u8>> {
    let has = |usage: &str| usages.iter().any(|u| u == usage);
    let extension = |id: &[u64], critical: bool, value: Vec<u8>| {
        let mut parts = vec![der::oid(id)];
        if critical {
            parts.push(der::tlv(0x01, &[0xff]));
        }
        parts.push(der::tlv(0x04, &value));
        der::sequence(&parts)
    };
    let mut out = vec![];
    let (sign, encipher) = (has("digital signature"), has("key encipherment"));
    if sign || encipher {
        let bits = u8::from(sign) << 7 | u8::from(encipher) << 5;
        out.push(extension(&[2, 5, 29, 15], true, der::tlv(0x03, &[bits.trailing_zeros() as u8, bits])));
    }
    let purposes = [("server auth", 1), ("client auth", 2)];
    let extended: Vec<Vec<u8>> = purposes
        .into_iter()
        .filter(|(usage, _)| has(usage))
        .map(|(_, n)| der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, n]))
        .collect();
    if !extended.is_empty() {
        out.push(extension(&[2, 5, 29, 37], false, der::sequence(&extended)));
    }
    out.push(extension(&[2, 5, 29, 19], true, der::sequence(&[])));
    for known in authority.extensions() {
        if let ParsedExtension::SubjectKeyIdentifier(key) = known.parsed_extension() {
            out.push(extension(&[2, 5, 29, 35], false, der::sequence(&[der::tlv(0x80, key.0)])));
        }
    }
    let text = |tag: u8, all: &[String]| all.iter().map(|t| der::tlv(tag, t.as_bytes())).collect::<Vec<_>>();
    let mut names = text(0x82, &request.dns_names);
    names.extend(text(0x81, &request.emails));
    names.extend(request.addresses.iter().filter_map(|a| {
        Some(match a.parse().ok()? {
            std::net::IpAddr::V4(ip) => der::tlv(0x87, &ip.octets()),
            std::net::IpAddr::V6(ip) => der::tlv(0x87, &ip.octets()),
        })
    }));
    names.extend(text(0x86, &request.uris));
    if !names.is_empty() {
        // Critical where the names are all that the certificate says of its owner (RFC 5280,
        // 4.2.1.6).
        out.push(extension(&[2, 5, 29, 17], !has_subject, der::sequence(&names)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Subject, client_config, params, server_config, user_of};
    use super::*;
    use rcgen::{DnType, KeyPair};

    fn request(name: &str, hosts: &[&str]) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut wanted = params(&Subject::server(name, hosts), 1).unwrap();
        wanted.distinguished_name.push(DnType::OrganizationName, "dev");
        wanted.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), "ops"); // a second one
        (wanted.serialize_request(&key).unwrap().pem().unwrap(), key)
    }

    #[test]
    fn a_signed_request_is_a_certificate_with_all_groups_that_tls_takes() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let (pem, key) = request("jane", &["jane.example.com", "10.0.0.1"]);
        let read = Request::parse(pem.as_bytes()).unwrap();
        assert_eq!((read.common_name.as_str(), read.organizations.len()), ("jane", 2));
        assert_eq!((read.dns_names.len(), read.addresses.as_slice()), (1, &["10.0.0.1".to_string()][..]));
        let usages = ["digital signature", "client auth", "server auth"].map(String::from);
        let cert = ca.sign(&read, &usages, SignedDuration::from_hours(2)).unwrap();
        let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        assert_eq!(user_of(&der), Some(("jane".into(), vec!["dev".into(), "ops".into()])));
        let long = ca.sign(&read, &usages, SignedDuration::from_hours(24 * 365 * 20)).unwrap();
        assert_eq!(
            valid_until(long.as_bytes()),
            valid_until(ca.pem().as_bytes()),
            "not beyond the authority"
        );
        let left = valid_until(cert.as_bytes()).unwrap().duration_since(clock::now()).as_secs();
        assert!((7100..=7200).contains(&left), "{left}");
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let own = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
        let (_, own) = x509_parser::parse_x509_certificate(&own).unwrap();
        parsed.verify_signature(Some(own.public_key())).unwrap();
        let identity = super::super::Identity { cert_pem: cert, key_pem: key.serialize_pem() };
        client_config(Some(&identity), ca.pem(), &[]).unwrap();
        server_config(&identity, ca.pem()).unwrap();
    }

    /// Encodes a request whose subject has these attributes, the last number of each first: 3 is a
    /// common name, 10 an organization.
    fn with_subject(subject: &[(u64, &str)], key: &KeyPair) -> Vec<u8> {
        let attribute = |(kind, text): &(u64, &str)| {
            let value = der::tlv(0x0c, text.as_bytes());
            der::tlv(0x31, &der::sequence(&[der::oid(&[2, 5, 4, *kind]), value]))
        };
        let subject: Vec<_> = subject.iter().map(attribute).collect();
        signed(&[der::sequence(&subject)], &[], key)
    }

    /// Signs a request with this subject and these attributes.
    fn signed(subject: &[Vec<u8>], attributes: &[u8], key: &KeyPair) -> Vec<u8> {
        use rcgen::PublicKeyData;
        let info = der::sequence(&[
            der::tlv(0x02, &[0]),
            subject.concat(),
            key.subject_public_key_info(),
            der::tlv(0xa0, attributes),
        ]);
        let signature = key.sign(&info).unwrap();
        let bits: Vec<u8> = [0].into_iter().chain(signature).collect();
        let algorithm = der::sequence(&[der::oid(&[1, 2, 840, 10045, 4, 3, 2])]);
        der::sequence(&[info, algorithm, der::tlv(0x03, &bits)])
    }

    fn request_pem(der: &[u8]) -> Vec<u8> {
        to_pem(der).replace("CERTIFICATE", "CERTIFICATE REQUEST").into_bytes()
    }

    #[test]
    fn a_request_with_two_common_names_is_judged_by_the_last_and_not_signed() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let key = KeyPair::generate().unwrap();
        let (other, node) = ("system:kube-controller-manager", "system:node:n1");
        let der = with_subject(&[(10, "system:nodes"), (3, other), (3, node)], &key);
        let read = Request::parse(&request_pem(&der)).unwrap();
        assert_eq!(read.common_name, node);
        let error = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap_err();
        assert!(error.to_string().contains("more than one common name"), "{error}");
        let der = with_subject(&[(10, "system:nodes"), (3, node)], &key);
        ca.sign(&Request::parse(&request_pem(&der)).unwrap(), &[], SignedDuration::from_hours(1)).unwrap();
        // A certificate that an earlier version signed authenticates as the name that was approved.
        let mut two = params(&Subject::client(other, "system:nodes"), 1).unwrap();
        two.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), node);
        let signed = two.self_signed(&key).unwrap();
        assert_eq!(user_of(signed.der()).unwrap().0, node);
        let nameless = params(&Subject::client("", "system:nodes"), 1).unwrap().self_signed(&key).unwrap();
        assert_eq!(user_of(nameless.der()), None, "an empty name is none");
    }

    #[test]
    fn a_key_that_cannot_be_checked_is_named_and_not_signed() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let (pem, _) = request("jane", &[]);
        let mut read = Request::parse(pem.as_bytes()).unwrap();
        assert_eq!(read.proof(), Proof::Good);
        // ecdsa-with-SHA512 instead of ecdsa-with-SHA256.
        let (known, unknown) = ([1, 2, 840, 10045, 4, 3, 2], [1, 2, 840, 10045, 4, 3, 4]);
        let (known, unknown) = (der::oid(&known), der::oid(&unknown));
        let at = read.der.windows(known.len()).rposition(|w| w == known).unwrap();
        read.der[at..at + known.len()].copy_from_slice(&unknown);
        assert_eq!(read.proof(), Proof::Unknown);
        let error = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap_err();
        assert!(matches!(&error, Error::Request(why) if why.contains("does not support")), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_not_dropped() {
        let key = KeyPair::generate().unwrap();
        let names = |names: &[Vec<u8>]| {
            let value = der::tlv(0x04, &der::sequence(names));
            let extension = der::sequence(&[der::oid(&[2, 5, 29, 17]), value]);
            let requested = der::tlv(0x31, &der::sequence(&[extension]));
            let attribute = der::sequence(&[der::oid(&[1, 2, 840, 113549, 1, 9, 14]), requested]);
            request_pem(&signed(&[der::sequence(&[])], &attribute, &key))
        };
        let read =
            Request::parse(&names(&[der::tlv(0x82, b"a.example"), der::tlv(0x87, &[10, 0, 0, 1])])).unwrap();
        assert_eq!((read.dns_names, read.addresses), (vec!["a.example".into()], vec!["10.0.0.1".into()]));
        for (bad, why) in [
            (names(&[der::tlv(0x87, &[10, 0, 0, 1, 5])]), "x509: cannot parse IP address of length 5"),
            (names(&[der::tlv(0x82, "ä".as_bytes())]), "x509: SAN dNSName is malformed"),
            (names(&[der::tlv(0x81, &[0xff])]), "x509: SAN rfc822Name is malformed"),
            (names(&[vec![0x82, 9]]), "x509: the subject alternative names are malformed"),
            (
                request_pem(&[with_subject(&[(3, "jane")], &key), vec![0]].concat()),
                "x509: malformed certificate request: trailing data",
            ),
        ] {
            assert_eq!(Request::parse(&bad).unwrap_err(), why);
        }
        let mut latin = with_subject(&[(10, "j\u{1}ne")], &key);
        let at = latin.windows(2).position(|w| w == [b'j', 1]).unwrap();
        latin[at + 1] = 0xe4;
        assert!(Request::parse(&request_pem(&latin)).unwrap_err().contains("neither UTF-8"));
    }

    #[test]
    fn alternative_names_are_critical_where_there_is_no_subject() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let key = KeyPair::generate().unwrap();
        for (subject, critical) in [(vec![], true), (vec![(3, "jane")], false)] {
            let mut read = Request::parse(&request_pem(&with_subject(&subject, &key))).unwrap();
            read.dns_names.push("jane.example".into());
            let cert = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap();
            let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
            let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
            assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().critical, critical);
        }
    }

    #[test]
    fn a_request_that_was_tampered_with_is_not_signed() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let (pem, _) = request("jane", &[]);
        let mut read = Request::parse(pem.as_bytes()).unwrap();
        let at = read.der.windows(4).position(|w| w == b"jane").unwrap();
        read.der[at] = b'b';
        let error = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap_err();
        assert!(error.to_string().contains("signature"), "{error}");
        assert_eq!(read.proof(), Proof::Wrong);
        assert_eq!(Request::parse(b"hello").unwrap_err(), "PEM block type must be CERTIFICATE REQUEST");
    }
}
