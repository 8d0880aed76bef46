//! Certificate requests of others (PKCS #10), and the certificates that the authority makes of them.
//!
//! A requester's name is copied byte by byte, since it is the user and the groups that the certificate stands for. Source: RFC 5280 for
//! the certificate, RFC 2986 for the request; DER is written by hand because the certificate library keeps one organization of several.

use super::{Ca, Error};
use crate::clock::{self, Timestamp};
use jiff::SignedDuration;
use rcgen::SigningKey;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
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

impl Request {
    /// Reads a request in PEM form. The error is a sentence.
    pub fn parse(pem: &[u8]) -> Result<Request, String> {
        let der = CertificateSigningRequestDer::from_pem_slice(pem)
            .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_string())?;
        let (_, parsed) = X509CertificationRequest::from_der(&der)
            .map_err(|e| format!("x509: malformed certificate request: {e}"))?;
        let name = &parsed.certification_request_info.subject;
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
        for extension in parsed.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(text) => request.dns_names.push(text.to_string()),
                    GeneralName::RFC822Name(text) => request.emails.push(text.to_string()),
                    GeneralName::URI(text) => request.uris.push(text.to_string()),
                    GeneralName::IPAddress(bytes) => request.addresses.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        request.der = der.to_vec();
        Ok(request)
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
/// Approvers judge a request by this name and the API server authenticates the certificate by it, so both read it here.
/// `/CN=system:kube-controller-manager/CN=system:node:n1` names the node `n1` for both.
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

/// Until when a certificate in PEM form is valid; `None` if it is none.
pub fn valid_until(pem: &[u8]) -> Option<Timestamp> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, cert) = x509_parser::parse_x509_certificate(&der).ok()?;
    Timestamp::from_second(cert.validity().not_after.timestamp()).ok()
}

impl Ca {
    /// A certificate for whoever made the request, valid for `lifetime`, for `usages` (`digital signature`, `key encipherment`, `client auth`,
    /// `server auth`). Errors: the request is not signed with its own key.
    pub fn sign(
        &self,
        request: &Request,
        usages: &[String],
        lifetime: SignedDuration,
    ) -> Result<String, Error> {
        let refuse = |why: String| Error::Request(why);
        let (_, parsed) = X509CertificationRequest::from_der(&request.der)
            .map_err(|e| refuse(format!("x509: malformed certificate request: {e}")))?;
        parsed
            .verify_signature()
            .map_err(|e| refuse(format!("unable to verify certificate request signature: {e}")))?;
        // Other programs may read the first common name of the certificate, which nobody approved.
        if all(&parsed.certification_request_info.subject, "2.5.4.3").len() > 1 {
            return Err(refuse("the subject has more than one common name".into()));
        }
        let own =
            CertificateDer::from_pem_slice(self.pem().as_bytes()).map_err(|e| Error::Pem(e.to_string()))?;
        let (_, own) = x509_parser::parse_x509_certificate(&own).map_err(|e| Error::Pem(e.to_string()))?;
        let mut serial = [0u8; 16];
        SystemRandom::new().fill(&mut serial).map_err(|_| refuse("no randomness".into()))?;
        serial[0] = (serial[0] & 0x7f) | 0x40; // positive, and never shorter
        let now = clock::now();
        let info = &parsed.certification_request_info;
        let algorithm = der::sequence(&[der::oid(&[1, 2, 840, 10045, 4, 3, 2])]); // ecdsa-with-SHA256, as all keys of an authority
        let tbs = der::sequence(&[
            der::tlv(0xa0, &der::tlv(0x02, &[2])), // version 3
            der::tlv(0x02, &serial),
            algorithm.clone(),
            own.subject().as_raw().to_vec(),
            der::sequence(&[der::time(now - BACKDATE), der::time(now + lifetime)]),
            info.subject.as_raw().to_vec(),
            info.subject_pki.raw.to_vec(),
            der::tlv(0xa3, &der::sequence(&extensions(request, usages, &own))),
        ]);
        let signature = self.issuer.key().sign(&tbs).map_err(|e| refuse(e.to_string()))?;
        let bits: Vec<u8> = [0].into_iter().chain(signature).collect();
        let cert = der::sequence(&[tbs, algorithm, der::tlv(0x03, &bits)]);
        Ok(to_pem(&cert))
    }
}

fn to_pem(der: &[u8]) -> String {
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
        out.push(extension(&[2, 5, 29, 17], false, der::sequence(&names)));
    }
    out
}

/// As much of DER as a certificate needs. Source: X.690.
mod der {
    use super::Timestamp;

    /// Tag, length, content.
    pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        let length = content.len().to_be_bytes();
        let significant = &length[length.iter().position(|b| *b != 0).unwrap_or(length.len())..];
        match content.len() {
            short @ 0..0x80 => out.push(short as u8),
            _ => {
                out.push(0x80 | significant.len() as u8);
                out.extend(significant);
            }
        }
        out.extend(content);
        out
    }

    pub fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
        tlv(0x30, &parts.concat())
    }

    pub fn oid(arcs: &[u64]) -> Vec<u8> {
        let mut content = vec![(arcs[0] * 40 + arcs[1]) as u8];
        for arc in &arcs[2..] {
            let mut septets = vec![(arc & 0x7f) as u8];
            let mut rest = arc >> 7;
            while rest > 0 {
                septets.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            content.extend(septets.into_iter().rev());
        }
        tlv(0x06, &content)
    }

    /// Two digits of the year until 2049, four after.
    pub fn time(at: Timestamp) -> Vec<u8> {
        let at = at.to_zoned(jiff::tz::TimeZone::UTC);
        match at.year() {
            ..2050 => tlv(0x17, at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()),
            _ => tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()),
        }
    }
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

    /// Encodes a request whose subject has these attributes, the last number of each first: 3 is a common name, 10 an organization.
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
    fn a_request_that_was_tampered_with_is_not_signed() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let (pem, _) = request("jane", &[]);
        let mut read = Request::parse(pem.as_bytes()).unwrap();
        let at = read.der.windows(4).position(|w| w == b"jane").unwrap();
        read.der[at] = b'b';
        let error = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap_err();
        assert!(error.to_string().contains("signature"), "{error}");
        assert_eq!(Request::parse(b"hello").unwrap_err(), "PEM block type must be CERTIFICATE REQUEST");
    }
}
