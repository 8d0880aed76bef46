//! Certificate requests of others (PKCS #10, RFC 2986).

mod parts;

pub(super) use parts::Parts;

use super::alternative_names::AlternativeNames;
use super::keys::{RSA_BITS, check_key, rsa_bits};
use super::oids::{self, ED25519, ELLIPTIC, RSA};
use super::{name, pem};
use std::collections::HashSet;
use x509_parser::error::X509Error;
use x509_parser::public_key::PublicKey;
use x509_parser::verify::verify_signature;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// A certificate request: what a requester says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The user's name (`CN`), e.g. `system:node:worker`: the last one, if there are several.
    pub common_name: String,
    /// The subject's attribute 2.5.4.5; not the number of a certificate.
    pub serial_number: String,
    /// The user's groups (`O`), e.g. `system:nodes`.
    pub organizations: Vec<String>,
    /// `OU`, one for each attribute of the subject.
    pub units: Vec<String>,
    /// `C`: codes of two letters.
    pub countries: Vec<String>,
    /// `L`: towns.
    pub localities: Vec<String>,
    /// `ST`: states and provinces.
    pub provinces: Vec<String>,
    /// 2.5.4.9: street and house number.
    pub streets: Vec<String>,
    /// 2.5.4.17: postal codes, as text.
    pub postal_codes: Vec<String>,
    /// DNS names of the subject's alternative names, e.g. `web.default.svc`.
    pub dns_names: Vec<String>,
    /// Mail addresses of the subject's alternative names.
    pub emails: Vec<String>,
    /// URIs of the subject's alternative names. Each was checked as Go's `net/url` would.
    pub uris: Vec<String>,
    /// IP addresses of the subject's alternative names, as text: `10.96.0.1`, `fd00::1`.
    pub addresses: Vec<String>,
    /// The request in DER, as it came. A signer reads its parts from here.
    pub der: Vec<u8>,
}

/// The attributes of a subject that an approver sees, and that the certificate of the request has:
/// the last arcs of 2.5.4.N (X.520).
const APPROVED: [u8; 9] = [3, 5, 6, 7, 8, 9, 10, 11, 17];

/// The signatures that Kubernetes checks, each with its kind of key: RSA, RSA-PSS, ECDSA and
/// Ed25519. Source: `signatureAlgorithmDetails` and `checkSignature` in Go's crypto/x509.
const CHECKED: [(&[u64], &[u64]); 11] = [
    (&[1, 2, 840, 113549, 1, 1, 5], &RSA), // with SHA-1
    (&[1, 3, 14, 3, 2, 29], &RSA),         // another identifier of the same
    (&[1, 2, 840, 113549, 1, 1, 10], &RSA),
    (&[1, 2, 840, 113549, 1, 1, 11], &RSA),
    (&[1, 2, 840, 113549, 1, 1, 12], &RSA),
    (&[1, 2, 840, 113549, 1, 1, 13], &RSA),
    (&[1, 2, 840, 10045, 4, 1], &ELLIPTIC), // with SHA-1
    (&[1, 2, 840, 10045, 4, 3, 2], &ELLIPTIC),
    (&[1, 2, 840, 10045, 4, 3, 3], &ELLIPTIC),
    (&[1, 2, 840, 10045, 4, 3, 4], &ELLIPTIC),
    (&ED25519, &ED25519),
];

/// Whether the signature of a request proves that the requester has its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The signature fits the key in the request.
    Good,
    /// The signature does not fit, is one for another kind of key, or the request does not parse.
    Wrong,
    /// The kind of key or signature is not known here. Another signer may know it.
    Unknown,
    /// Kubernetes does not know the kind of signature or key either, e.g. Ed448, or one with
    /// SHA-224.
    Unsupported,
}

impl Request {
    /// Reads a request in PEM form. A part that cannot be read is refused and not dropped: a signer
    /// would decide on less than the requester asks for.
    ///
    /// # Errors
    /// The request is malformed, in a sentence.
    pub fn parse(pem: &[u8]) -> Result<Request, String> {
        // Only the first block counts. A request behind a private key, for example, would be stored
        // with that key, and shown to all users who may read requests.
        let der = match pem::blocks(pem).into_iter().next() {
            Some(block) if block.label == "CERTIFICATE REQUEST" => block.der,
            _ => return Err("PEM block type must be CERTIFICATE REQUEST".into()),
        };
        let mut request = Request::of(&Parts::read(&der)?)?;
        request.der = der;
        Ok(request)
    }

    /// Returns what a request says, without its `der`.
    ///
    /// # Errors
    /// A part is malformed, in a sentence.
    fn of(parsed: &Parts<'_>) -> Result<Request, String> {
        check_key(&parsed.key.algorithm)?;
        let name = &parsed.subject;
        if !name::is_whole(name) {
            return Err("x509: malformed certificate request: invalid subject".into());
        }
        if name.iter_attributes().any(is_unreadable) {
            return Err("x509: the subject has text that is neither UTF-8 nor printable".into());
        }
        let mut request = Request {
            common_name: common_name(name).unwrap_or_default(),
            serial_number: attribute_texts(name, name::SERIAL_NUMBER).pop().unwrap_or_default(),
            organizations: attribute_texts(name, name::ORGANIZATION),
            units: attribute_texts(name, 11),
            countries: attribute_texts(name, 6),
            localities: attribute_texts(name, 7),
            provinces: attribute_texts(name, 8),
            streets: attribute_texts(name, 9),
            postal_codes: attribute_texts(name, 17),
            ..Request::default()
        };
        let requested = parsed.extensions()?;
        let mut seen = HashSet::new();
        for extension in &requested {
            if !seen.insert(extension.oid.as_bytes()) {
                return Err("x509: certificate request contains duplicate requested extensions".into());
            }
            if oids::is(&extension.oid, &oids::SUBJECT_ALT_NAME) {
                let mut names = AlternativeNames::default();
                names.add(extension.value)?;
                request.dns_names = names.dns_names;
                request.emails = names.emails;
                request.uris = names.uris;
                request.addresses = names.addresses;
            }
        }
        Ok(request)
    }

    /// Checks the signature of the request with the key in it.
    pub fn proof(&self) -> Proof {
        Parts::read(&self.der).map_or(Proof::Wrong, |parsed| proof(&parsed))
    }
}

/// Checks the signature of a request with the key in it.
pub(super) fn proof(request: &Parts<'_>) -> Proof {
    let signature = &request.algorithm.algorithm;
    let Some((_, kind)) = CHECKED.iter().find(|(known, _)| oids::is(signature, known)) else {
        return Proof::Unsupported;
    };
    let key = &request.key.algorithm.algorithm;
    if !oids::is(key, kind) {
        let kinds: [&[u64]; 3] = [&RSA, &ELLIPTIC, &ED25519];
        let is_known = kinds.iter().any(|known| oids::is(key, known));
        return if is_known { Proof::Wrong } else { Proof::Unsupported };
    }
    if let Ok(PublicKey::RSA(key)) = request.key.parsed()
        && !RSA_BITS.contains(&rsa_bits(&key))
    {
        return Proof::Unknown;
    }
    match verify_signature(&request.key, &request.algorithm, &request.signature, request.signed) {
        Ok(()) => Proof::Good,
        Err(X509Error::SignatureUnsupportedAlgorithm) => Proof::Unknown,
        Err(_) => Proof::Wrong,
    }
}

/// Returns true for an attribute whose text Go does not read, as a PrintableString with `@`: the
/// API server would not believe a certificate that has it. An attribute that an approver sees has
/// to be a text that is copied byte by byte; of all others only a malformed text counts.
fn is_unreadable(attribute: &AttributeTypeAndValue<'_>) -> bool {
    let text = name::text(attribute.attr_value());
    match is_approved(attribute.attr_type().as_bytes()) {
        true => text.is_err() || attribute.as_str().is_err(),
        false => text.is_err_and(|why| why != name::NO_TEXT),
    }
}

/// Returns true for an attribute that an approver sees, by the content of its OBJECT IDENTIFIER.
pub(super) fn is_approved(oid: &[u8]) -> bool {
    matches!(oid, [0x55, 4, last] if APPROVED.contains(last))
}

/// Returns the texts of the attributes 2.5.4.N of a name, e.g. of all its organizations (N is 10).
pub(super) fn attribute_texts(name: &X509Name, number: u8) -> Vec<String> {
    name.iter_attributes()
        .filter(|a| a.attr_type().as_bytes() == [0x55, 4, number])
        .filter_map(|a| a.as_str().ok().map(String::from))
        .collect()
}

/// Returns the common name of a subject: the last one if it has several, as Go's `pkix.Name` does.
///
/// Approvers judge a request by this name, and the API server authenticates a certificate by its
/// last common name, too (`clients`). `/CN=system:kube-controller-manager/CN=system:node:n1` names
/// the node `n1` for both.
fn common_name(name: &X509Name) -> Option<String> {
    attribute_texts(name, name::COMMON_NAME).pop()
}

#[cfg(test)]
mod tests;
