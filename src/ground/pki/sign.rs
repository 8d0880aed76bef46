//! The certificates that the authority writes, for components and for the requests of others.
//! Source: RFC 5280. DER is written by hand because the certificate library keeps only one of
//! several attributes of one type, in a subject and in the name of the authority.

use super::ca::{Ca, Subject};
use super::error::Error;
use super::identity::{Identity, certificates};
use super::request::{Parts, Proof, Request, attribute_texts, is_approved, proof};
use super::{der, name, oids};
use clock::Timestamp;
use jiff::SignedDuration;
use rcgen::string::Ia5String;
use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::net::IpAddr;
use x509_parser::extensions::ParsedExtension;

/// How long a certificate is valid before it was made, for clocks that are behind.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// The lifetime of a certificate that is shorter than this counts from now on; that of others from
/// their backdated begin, as upstream (`PermissiveSigningPolicy`).
const SHORT: SignedDuration = SignedDuration::from_hours(8);

impl Ca {
    /// Makes a key and a certificate for it, for both ends of a connection. The certificate is
    /// valid for a year, or as long as the authority.
    ///
    /// # Errors
    /// `Certificate`: a name is not ASCII, or no key can be made. `Authority`, `Pem`: the authority
    /// cannot sign.
    pub fn issue(&self, subject: &Subject) -> Result<Identity, Error> {
        let failed = |cause| Error::Certificate { subject: subject.common_name.clone(), cause };
        let key = KeyPair::generate().map_err(failed)?;
        let mut names = Request::default();
        for host in &subject.names {
            if host.parse::<IpAddr>().is_ok() {
                names.addresses.push(host.clone());
                continue;
            }
            Ia5String::try_from(host.as_str()).map_err(failed)?; // a DNS name in a certificate is ASCII
            names.dns_names.push(host.clone());
        }
        let mut usages = vec!["digital signature".to_string(), "client auth".to_string()];
        if !subject.names.is_empty() {
            usages.push("server auth".to_string());
        }
        let (now, day) = (clock::now(), jiff::SignedDuration::from_hours(24));
        let cert_pem = self.write(&Wanted {
            subject: subject.encode(),
            public_key: &key.subject_public_key_info(),
            from: now - day,
            until: self.until.min(now + day * 365),
            names: &names,
            usages: &usages,
        })?;
        Ok(Identity { cert_pem, key_pem: key.serialize_pem() })
    }

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
        let parsed = Parts::read(&request.der).map_err(refuse)?;
        match proof(&parsed) {
            Proof::Good => {}
            Proof::Wrong => return Err(refuse("the signature of the certificate request is wrong".into())),
            Proof::Unknown | Proof::Unsupported => {
                let why = "the key or the signature of the certificate request is of a kind that this signer does not support: \
                           use ECDSA P-256 or P-384 with SHA-256 or SHA-384, RSA with 2048 to 8192 bits, or Ed25519";
                return Err(refuse(why.into()));
            }
        }
        // An approver judged the last one, and other programs may read the first one.
        for (number, single) in [(name::COMMON_NAME, "common name"), (name::SERIAL_NUMBER, "serial number")] {
            if attribute_texts(&parsed.subject, number).len() > 1 {
                return Err(refuse(format!("the subject has more than one {single}")));
            }
        }
        let subject = approved_subject(parsed.subject.as_raw())
            .ok_or_else(|| refuse("x509: malformed certificate request: invalid subject".into()))?;
        let now = clock::now();
        let end = if lifetime < SHORT { now + lifetime } else { now + lifetime - BACKDATE };
        let until = self.until.min(end);
        if until <= now {
            return Err(Error::Authority(format!("its certificate ended at {until}")));
        }
        self.write(&Wanted {
            subject,
            public_key: parsed.key.raw,
            from: now - BACKDATE,
            until,
            names: request,
            usages,
        })
    }

    /// Writes and signs a certificate. Its issuer is the authority's subject byte for byte, because
    /// programs that verify the certificate compare the two so.
    ///
    /// # Errors
    /// The authority's key or certificate cannot be used, or there is no randomness.
    pub(super) fn write(&self, wanted: &Wanted<'_>) -> Result<String, Error> {
        let own = certificates(self.pem().as_bytes()).into_iter().next();
        let own = own.ok_or_else(|| Error::Pem("the authority has no certificate".into()))?;
        let (_, own) = x509_parser::parse_x509_certificate(&own).map_err(|e| Error::Pem(e.to_string()))?;
        let mut serial = [0u8; 16];
        SystemRandom::new().fill(&mut serial).map_err(|_| Error::Authority("no randomness".into()))?;
        serial[0] = (serial[0] & 0x7f) | 0x40; // positive, and never shorter
        let algorithm = algorithm(self.key.algorithm())
            .ok_or_else(|| Error::Authority("its key is of an unknown kind".into()))?;
        let tbs = der::sequence(&[
            der::tlv(0xa0, &der::tlv(0x02, &[2])), // version 3
            der::tlv(0x02, &serial),
            algorithm.clone(),
            own.subject().as_raw().to_vec(),
            der::sequence(&[der::time(wanted.from), der::time(wanted.until)]),
            wanted.subject.clone(),
            wanted.public_key.to_vec(),
            der::tlv(0xa3, &der::sequence(&extensions(wanted, &own))),
        ]);
        let signature = self.key.sign(&tbs).map_err(|e| Error::Authority(e.to_string()))?;
        let bits: Vec<u8> = [0].into_iter().chain(signature).collect();
        let cert = der::sequence(&[tbs, algorithm, der::tlv(0x03, &bits)]);
        Ok(to_pem(&cert))
    }
}

/// What a certificate is to say.
pub(super) struct Wanted<'a> {
    /// In DER.
    pub subject: Vec<u8>,
    /// A `SubjectPublicKeyInfo` in DER.
    pub public_key: &'a [u8],
    pub from: Timestamp,
    pub until: Timestamp,
    /// The request whose subject alternative names the certificate has.
    pub names: &'a Request,
    /// `digital signature`, `key encipherment`, `client auth`, `server auth`.
    pub usages: &'a [String],
}

/// Returns a subject with the attributes alone by which an approver judges a request, byte by byte:
/// they are the user and the groups of the certificate. As upstream, all others are left out: no
/// approver has seen them, and some have a meaning, as 1.3.6.1.4.1.57683.2, a user's uid. `None`:
/// the subject is malformed.
fn approved_subject(subject: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![];
    for set in der::contents(der::contents(subject)?.first()?)? {
        let mut kept = vec![];
        for attribute in der::contents(set)? {
            if is_approved(der::contents(attribute)?.first()?) {
                kept.extend(der::tlv(0x30, attribute));
            }
        }
        if !kept.is_empty() {
            out.push(der::tlv(0x31, &kept));
        }
    }
    Some(der::sequence(&out))
}

/// Returns the identifier of the signatures of an authority's key; `None` if the kind of key is not
/// known. An authority that another program made may have another kind than those made here.
fn algorithm(of_key: &SignatureAlgorithm) -> Option<Vec<u8>> {
    let known: [(&SignatureAlgorithm, &[u64], &[u8]); 4] = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, &[1, 2, 840, 10045, 4, 3, 2], &[]),
        (&rcgen::PKCS_ECDSA_P384_SHA384, &[1, 2, 840, 10045, 4, 3, 3], &[]),
        (&rcgen::PKCS_ED25519, &oids::ED25519, &[]),
        (&rcgen::PKCS_RSA_SHA256, &[1, 2, 840, 113549, 1, 1, 11], &[0x05, 0x00]), // NULL
    ];
    let (_, number, parameters) = known.into_iter().find(|(algorithm, ..)| *algorithm == of_key)?;
    Some(der::sequence(&[der::oid(number), parameters.to_vec()]))
}

/// Puts a certificate into PEM form.
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

/// Returns the extensions of a certificate: its usages, that it is no authority, the key of its
/// authority, and its alternative names.
fn extensions(wanted: &Wanted<'_>, authority: &x509_parser::certificate::X509Certificate) -> Vec<Vec<u8>> {
    let has = |usage: &str| wanted.usages.iter().any(|u| u == usage);
    let mut out = vec![];
    let (sign, encipher) = (has("digital signature"), has("key encipherment"));
    if sign || encipher {
        let bits = u8::from(sign) << 7 | u8::from(encipher) << 5;
        let bits = der::tlv(0x03, &[bits.trailing_zeros() as u8, bits]);
        out.push(extension(&oids::KEY_USAGE, true, &bits));
    }
    let purposes = [("server auth", oids::SERVER_AUTH), ("client auth", oids::CLIENT_AUTH)];
    let purposes = purposes.into_iter().filter(|(usage, _)| has(usage));
    let purposes: Vec<Vec<u8>> = purposes.map(|(_, purpose)| der::oid(&purpose)).collect();
    if !purposes.is_empty() {
        out.push(extension(&oids::EXTENDED_KEY_USAGE, false, &der::sequence(&purposes)));
    }
    out.push(extension(&oids::BASIC_CONSTRAINTS, true, &der::sequence(&[])));
    for own in authority.extensions() {
        if let ParsedExtension::SubjectKeyIdentifier(key) = own.parsed_extension() {
            let key = der::sequence(&[der::tlv(0x80, key.0)]);
            out.push(extension(&oids::AUTHORITY_KEY_IDENTIFIER, false, &key));
        }
    }
    let names = alternative_names(wanted.names);
    if !names.is_empty() {
        // Critical where the names are all that the certificate says of its owner (RFC 5280,
        // 4.2.1.6).
        let has_subject = wanted.subject != der::sequence(&[]);
        out.push(extension(&oids::SUBJECT_ALT_NAME, !has_subject, &der::sequence(&names)));
    }
    out
}

/// Encodes an extension.
fn extension(oid: &[u64], critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![der::oid(oid)];
    if critical {
        parts.push(der::tlv(0x01, &[0xff]));
    }
    parts.push(der::tlv(0x04, value));
    der::sequence(&parts)
}

/// Encodes the alternative names of a request, each as a `GeneralName`.
fn alternative_names(request: &Request) -> Vec<Vec<u8>> {
    let text = |tag: u8, all: &[String]| all.iter().map(|t| der::tlv(tag, t.as_bytes())).collect::<Vec<_>>();
    let mut names = text(0x82, &request.dns_names);
    names.extend(text(0x81, &request.emails));
    names.extend(request.addresses.iter().filter_map(|a| {
        Some(match a.parse().ok()? {
            IpAddr::V4(ip) => der::tlv(0x87, &ip.octets()),
            IpAddr::V6(ip) => der::tlv(0x87, &ip.octets()),
        })
    }));
    names.extend(text(0x86, &request.uris));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::params;
    use crate::client_config;
    use crate::identity::chain;
    use rcgen::{BasicConstraints, IsCa, KeyPair, PublicKeyData};

    /// Makes a request of `jane`, with its key.
    fn request() -> (Request, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let wanted = params(&Subject::client("jane", "dev"), 1).unwrap();
        let pem = wanted.serialize_request(&key).unwrap().pem().unwrap();
        (Request::parse(pem.as_bytes()).unwrap(), key)
    }

    #[test]
    fn a_long_certificate_is_valid_for_no_longer_than_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let (request, _) = request();
        for (seconds, whole) in [(600, 900), (28_799, 29_099), (28_800, 28_800), (86_400, 86_400)] {
            let cert = ca.sign(&request, &[], SignedDuration::from_secs(seconds)).unwrap();
            let (from, until) = crate::certificate::validity(cert.as_bytes()).unwrap();
            assert_eq!(until.duration_since(from).as_secs(), whole, "{seconds}");
        }
    }

    #[test]
    fn a_certificate_names_the_algorithm_of_its_authority_whatever_its_key_is() {
        // An RSA key that OpenSSL made for this test: ring makes none.
        let rsa = KeyPair::try_from(&include_bytes!("openssl/ca.key.der")[..]).unwrap();
        let made = |algorithm| KeyPair::generate_for(algorithm).unwrap();
        let others = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
        for key in others.map(made).into_iter().chain([rsa]) {
            let dir = tempfile::tempdir().unwrap();
            let mut own = params(&Subject::client("kubernetes", ""), 30).unwrap();
            own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            std::fs::write(dir.path().join("ca.crt"), own.self_signed(&key).unwrap().pem()).unwrap();
            std::fs::write(dir.path().join("ca.key"), key.serialize_pem()).unwrap();
            let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
            let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
            let (_, clients) = crate::asking_server_config(&server, ca.pem()).unwrap();
            let (request, own) = request();
            let cert_pem = ca.sign(&request, &["client auth".into()], SignedDuration::from_hours(1)).unwrap();
            let identity = Identity { cert_pem, key_pem: own.serialize_pem() };
            let client = clients.judge(&chain(&identity).unwrap().0).unwrap().unwrap();
            assert_eq!(client.name, "jane", "{:?}", key.algorithm());
            client_config(Some(&identity), ca.pem(), &[]).unwrap();
        }
    }

    /// Makes an authority as OpenSSL makes it of this subject: numbers, tag and text of each part.
    fn authority(subject: &[(&[u64], u8, &str)], key: &KeyPair) -> String {
        let attribute = |(number, tag, text): &(&[u64], u8, &str)| {
            der::tlv(0x31, &der::sequence(&[der::oid(number), der::tlv(*tag, text.as_bytes())]))
        };
        let name = der::sequence(&subject.iter().map(attribute).collect::<Vec<_>>());
        let is_ca = der::tlv(0x04, &der::sequence(&[der::tlv(0x01, &[0xff])]));
        let constraints = der::sequence(&[der::oid(&[2, 5, 29, 19]), der::tlv(0x01, &[0xff]), is_ca]);
        let (now, hour) = (clock::now(), SignedDuration::from_hours(1));
        let algorithm = algorithm(key.algorithm()).unwrap();
        let tbs = der::sequence(&[
            der::tlv(0xa0, &der::tlv(0x02, &[2])),
            der::tlv(0x02, &[7]),
            algorithm.clone(),
            name.clone(),
            der::sequence(&[der::time(now - hour), der::time(now + hour)]),
            name,
            key.subject_public_key_info(),
            der::tlv(0xa3, &der::sequence(&[constraints])),
        ]);
        let bits: Vec<u8> = [0].into_iter().chain(key.sign(&tbs).unwrap()).collect();
        to_pem(&der::sequence(&[tbs, algorithm, der::tlv(0x03, &bits)]))
    }

    #[test]
    fn certificates_name_an_authority_whose_subject_has_an_attribute_twice() {
        const DOMAIN: &[u64] = &[0, 9, 2342, 19200300, 100, 1, 25];
        const UNIT: &[u64] = &[2, 5, 4, 11];
        const COMMON: &[u64] = &[2, 5, 4, 3];
        let common: (&[u64], u8, &str) = (COMMON, 0x0c, "Example CA");
        for twice in [
            [(DOMAIN, 0x16, "com"), (DOMAIN, 0x16, "example"), common],
            [(UNIT, 0x0c, "a"), (UNIT, 0x0c, "b"), common],
        ] {
            let dir = tempfile::tempdir().unwrap();
            let key = KeyPair::generate().unwrap();
            std::fs::write(dir.path().join("ca.crt"), authority(&twice, &key)).unwrap();
            std::fs::write(dir.path().join("ca.key"), key.serialize_pem()).unwrap();
            let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
            let server = ca.issue(&Subject::server("kube-apiserver", &["localhost", "::1"])).unwrap();
            let (_, clients) = crate::asking_server_config(&server, ca.pem()).unwrap();
            let jane = ca.issue(&Subject::client("jane", "dev").and_in("ops")).unwrap();
            let client = clients.judge(&chain(&jane).unwrap().0).unwrap().unwrap();
            assert_eq!((client.name.as_str(), client.groups), ("jane", vec!["dev".into(), "ops".into()]));
        }
    }
}
