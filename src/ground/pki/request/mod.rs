//! Certificate requests of others (PKCS #10, RFC 2986).

mod parts;

pub(super) use parts::Parts;

use super::keys::{RSA_BITS, rsa_bits};
use super::{der, name, pem, uri};
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};
use x509_parser::error::X509Error;
use x509_parser::public_key::PublicKey;
use x509_parser::verify::verify_signature;
use x509_parser::x509::{AlgorithmIdentifier, AttributeTypeAndValue, X509Name};

/// What a requester says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The user's name (`CN`), e.g. `system:node:worker`. Of several the last one counts.
    pub common_name: String,
    /// The subject's attribute 2.5.4.5; not the number of a certificate.
    pub serial_number: String,
    /// Groups.
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
    /// As it came; what is signed is read from here.
    pub der: Vec<u8>,
}

/// The number of the extension with the subject alternative names.
pub(super) const NAMES: &str = "2.5.29.17";

/// Attributes of a subject that a request is judged by, and that its certificate has: the last
/// numbers of 2.5.4.N (X.520).
const NAMED: [u8; 9] = [3, 5, 6, 7, 8, 9, 10, 11, 17];

/// The numbers of the keys that Kubernetes checks signatures with.
const RSA: &str = "1.2.840.113549.1.1.1";
const ELLIPTIC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";

/// The numbers of the signatures that Kubernetes checks, each with that of its key: RSA, RSA-PSS,
/// ECDSA and Ed25519. Source: `signatureAlgorithmDetails` and `checkSignature` in Go's crypto/x509.
const CHECKED: [(&str, &str); 11] = [
    ("1.2.840.113549.1.1.5", RSA), // with SHA-1
    ("1.3.14.3.2.29", RSA),        // another number for the same
    ("1.2.840.113549.1.1.10", RSA),
    ("1.2.840.113549.1.1.11", RSA),
    ("1.2.840.113549.1.1.12", RSA),
    ("1.2.840.113549.1.1.13", RSA),
    ("1.2.840.10045.4.1", ELLIPTIC), // with SHA-1
    ("1.2.840.10045.4.3.2", ELLIPTIC),
    ("1.2.840.10045.4.3.3", ELLIPTIC),
    ("1.2.840.10045.4.3.4", ELLIPTIC),
    ("1.3.101.112", ED25519),
];
/// The numbers of the curves whose keys Kubernetes reads: P-224, P-256, P-384 and P-521.
const CURVES: [&str; 4] = ["1.3.132.0.33", "1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];

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
    /// Reads a request in PEM form. What cannot be read is refused and not dropped: a signer would
    /// decide on less than the requester asks for.
    ///
    /// # Errors
    /// The request is malformed, in a sentence.
    pub fn parse(pem: &[u8]) -> Result<Request, String> {
        // Only the first block counts: behind a private key, say, the request would be stored, and
        // shown to everybody who may read requests, together with that key.
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
            serial_number: all(name, 5).pop().unwrap_or_default(),
            organizations: all(name, 10),
            units: all(name, 11),
            countries: all(name, 6),
            localities: all(name, 7),
            provinces: all(name, 8),
            streets: all(name, 9),
            postal_codes: all(name, 17),
            ..Request::default()
        };
        let requested = parsed.extensions()?;
        let mut seen = HashSet::new();
        for extension in &requested {
            if !seen.insert(extension.oid.as_bytes()) {
                return Err("x509: certificate request contains duplicate requested extensions".into());
            }
            if extension.oid.to_id_string() == NAMES {
                request.add_names(extension.value)?;
            }
        }
        Ok(request)
    }

    /// Adds the subject alternative names of an extension's value. As in Go, kinds of names that no
    /// certificate here has are ignored.
    ///
    /// # Errors
    /// One of them is malformed, in Go's words.
    pub(super) fn add_names(&mut self, value: &[u8]) -> Result<(), String> {
        let invalid = |what: &str| format!("x509: invalid subject alternative {what}");
        let (mut rest, _) = parts::value(value, Tag::Sequence).map_err(|_| invalid("names"))?;
        while !rest.is_empty() {
            let (next, name) = Any::from_der(rest).map_err(|_| invalid("name"))?;
            if name.class() == Class::ContextSpecific && !name.header.is_constructed() {
                self.add_name(name.tag(), name.data)?;
            }
            rest = next;
        }
        Ok(())
    }

    fn add_name(&mut self, kind: Tag, data: &[u8]) -> Result<(), String> {
        let text = |kind: &str| match data.is_ascii() {
            true => Ok(String::from_utf8_lossy(data).into_owned()),
            false => Err(format!("x509: SAN {kind} is malformed")),
        };
        match kind {
            Tag(1) => self.emails.push(text("rfc822Name")?),
            Tag(2) => self.dns_names.push(text("dNSName")?),
            Tag(6) => {
                let uri = text("uniformResourceIdentifier")?;
                uri::check(&uri)?;
                self.uris.push(uri);
            }
            Tag(7) => {
                let length = || format!("x509: cannot parse IP address of length {}", data.len());
                self.addresses.push(address(data).ok_or_else(length)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks the signature of the request with the key in it.
    pub fn proof(&self) -> Proof {
        Parts::read(&self.der).map_or(Proof::Wrong, |parsed| proof(&parsed))
    }
}

/// Checks the parameters of a key, of which Go reads no others. Source: `parsePublicKey` in Go's
/// crypto/x509.
///
/// # Errors
/// They are not those of this kind of key, or name a curve that Kubernetes does not read; in Go's
/// words.
pub(super) fn check_key(key: &AlgorithmIdentifier<'_>) -> Result<(), String> {
    let parameters = key.parameters.as_ref();
    let is_null =
        parameters.is_some_and(|value| value.class() == Class::Universal && value.tag() == Tag::Null);
    match key.algorithm.to_id_string().as_str() {
        RSA if !is_null => Err("x509: RSA key missing NULL parameters".into()),
        ED25519 if parameters.is_some() => Err("x509: Ed25519 key encoded with illegal parameters".into()),
        ELLIPTIC => check_curve(parameters),
        _ => Ok(()),
    }
}

fn check_curve(parameters: Option<&Any<'_>>) -> Result<(), String> {
    let curve = parameters.filter(|curve| der::is_oid(curve));
    let curve = curve.and_then(|curve| curve.as_oid().ok());
    let curve = curve.ok_or("x509: invalid ECDSA parameters")?.to_id_string();
    match CURVES.contains(&curve.as_str()) {
        true => Ok(()),
        false => Err("x509: unsupported elliptic curve".into()),
    }
}

pub(super) fn proof(request: &Parts<'_>) -> Proof {
    let signed_with = request.algorithm.algorithm.to_id_string();
    let Some((_, wanted)) = CHECKED.iter().find(|(number, _)| *number == signed_with) else {
        return Proof::Unsupported;
    };
    match request.key.algorithm.algorithm.to_id_string() {
        own if own == *wanted => {}
        own if [RSA, ELLIPTIC, ED25519].contains(&own.as_str()) => return Proof::Wrong,
        _ => return Proof::Unsupported,
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
/// API server would not believe a certificate that has it. Those by which a request is judged have
/// to be a text that is copied byte by byte; of all others only a malformed text counts.
fn is_unreadable(attribute: &AttributeTypeAndValue<'_>) -> bool {
    let text = name::text(attribute.attr_value());
    match is_named(attribute.attr_type().as_bytes()) {
        true => text.is_err() || attribute.as_str().is_err(),
        false => text.is_err_and(|why| why != name::NO_TEXT),
    }
}

/// Returns true for the number of an attribute by which a request is judged, as it is encoded.
pub(super) fn is_named(oid: &[u8]) -> bool {
    matches!(oid, [0x55, 4, last] if NAMED.contains(last))
}

/// Returns the values of an attribute 2.5.4.N of a name, e.g. 10 for organizations.
pub(super) fn all(name: &X509Name, number: u8) -> Vec<String> {
    name.iter_attributes()
        .filter(|a| a.attr_type().as_bytes() == [0x55, 4, number])
        .filter_map(|a| a.as_str().ok().map(String::from))
        .collect()
}

/// Returns the common name of a subject: the last one if it has several, as Go's `pkix.Name` does.
///
/// Approvers judge a request by this name, and the API server authenticates a certificate by its
/// last one, too (`clients`). `/CN=system:kube-controller-manager/CN=system:node:n1` names the node
/// `n1` for both.
fn common_name(name: &X509Name) -> Option<String> {
    all(name, 3).pop()
}

/// Returns an address as text. As in Go, one of IPv4 in the form of IPv6 (`::ffff:10.0.0.1`) is one
/// of IPv4, also in the certificate.
fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical().to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
