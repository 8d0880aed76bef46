//! Certificate signing requests.

use super::names;
use crate::errors::Errors;
use crate::value::{at, int, list, text};
use base64::Engine as _;
use serde_json::{Value, json};
use std::collections::HashSet;

const LEGACY: &str = "kubernetes.io/legacy-unknown";
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The request of an object, read. The error is a sentence.
pub fn parse(object: &Value) -> Result<pki::Request, String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text(object, "spec.request"));
    pki::Request::parse(&bytes.map_err(|e| e.to_string())?)
}

pub fn request(object: &Value, errors: &mut Errors) {
    let read = parse(object).and_then(|request| match request.proof() {
        pki::Proof::Wrong => Err("x509: the signature does not match the key of the request".to_string()),
        // Another signer may know the kind of key.
        pki::Proof::Good | pki::Proof::Unknown => Ok(()),
    });
    if let Err(why) = read {
        errors.invalid("spec.request", at(object, "spec.request"), &why);
    }
    let usages = list(object, "spec.usages");
    if usages.is_empty() {
        errors.required("spec.usages", "");
    }
    let mut named: HashSet<&Value> = HashSet::new();
    for (i, usage) in usages.iter().enumerate() {
        let field = format!("spec.usages[{i}]");
        if !usage.as_str().is_some_and(|u| USAGES.contains(&u)) {
            errors.not_supported(&field, usage, &USAGES);
        }
        if !named.insert(usage) {
            errors.duplicate(field, usage);
        }
    }
    signer(text(object, "spec.signerName"), errors);
    if int(object, "spec.expirationSeconds").is_some_and(|seconds| seconds < 600) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid("spec.expirationSeconds", at(object, "spec.expirationSeconds"), why);
    }
    conditions(object, errors);
}

fn signer(name: &str, errors: &mut Errors) {
    const FIELD: &str = "spec.signerName";
    if name.is_empty() {
        return errors.required(FIELD, "");
    }
    if name == LEGACY {
        return errors.invalid_text(FIELD, name, "the legacy signerName is not allowed via this API version");
    }
    let parts: Vec<&str> = name.split('/').collect();
    let [domain, path] = parts.as_slice() else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid_text(FIELD, name, why);
    };
    for label in domain.split('.') {
        for problem in names::dns_label(label) {
            errors.invalid_text(FIELD, domain, &format!("validating label {label:?}: {problem}"));
        }
    }
    if !domain.contains('.') {
        errors.invalid_text(FIELD, domain, "should be a domain with at least two segments separated by dots");
    }
    for problem in names::dns_subdomain(path) {
        errors.invalid_text(FIELD, path, &format!("validating label {path:?}: {problem}"));
    }
}

fn conditions(object: &Value, errors: &mut Errors) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, condition) in list(object, "status.conditions").iter().enumerate() {
        let field = |part: &str| format!("status.conditions[{i}].{part}");
        let kind = text(condition, "type");
        if kind.is_empty() {
            errors.required(field("type"), "");
        }
        match (kind, text(condition, "status")) {
            (_, "") => errors.required(field("status"), ""),
            ("Approved" | "Denied" | "Failed", status) if status != "True" => {
                errors.not_supported(field("status"), &json!(status), &["True"]);
            }
            (_, "True" | "False" | "Unknown") => {}
            (_, other) => {
                errors.not_supported(field("status"), &json!(other), &["False", "True", "Unknown"]);
            }
        }
        let other = if kind == "Approved" { "Denied" } else { "Approved" };
        if ["Approved", "Denied"].contains(&kind) && seen.contains(&other) {
            errors.invalid_text(field("type"), kind, "Approved and Denied conditions are mutually exclusive");
        }
        if seen.contains(&kind) {
            errors.duplicate(field("type"), &json!(kind));
        }
        seen.insert(kind);
    }
}

/// A decision stands, and a certificate is given once.
pub fn status_update(new: &Value, old: &Value, errors: &mut Errors) {
    conditions(new, errors);
    for kind in ["Approved", "Denied", "Failed"] {
        let has = |o: &Value| list(o, "status.conditions").iter().any(|c| text(c, "type") == kind);
        if has(old) && !has(new) {
            let why = format!("updates may not remove a condition of type {kind:?}");
            errors.forbidden("status.conditions", &why);
        }
    }
    let (before, after) = (text(old, "status.certificate"), text(new, "status.certificate"));
    if before == after {
        return;
    }
    if !before.is_empty() {
        errors.forbidden("status.certificate", "updates may not modify existing certificate content");
    }
    let given = base64::engine::general_purpose::STANDARD.decode(after).map_err(|e| e.to_string());
    if let Err(why) =
        given.and_then(|pem| if pem.is_empty() { Ok(()) } else { pki::check_certificates(&pem) })
    {
        errors.invalid_text("status.certificate", "<certificate data>", &why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_are_given_as_one() {
        let told = |old: &str, new: &str| {
            let engine = base64::engine::general_purpose::STANDARD;
            let status = |pem: &str| json!({"status": {"certificate": engine.encode(pem)}});
            let mut errors = Errors::default();
            status_update(&status(new), &status(old), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![]).unwrap();
        let (good, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        let good = good.as_str();
        assert_eq!(told("", good), "");
        assert_eq!(told("", &format!("chain:\n{good}{good}")), "");
        for (given, why) in [
            ("xxx".to_string(), "at least one CERTIFICATE PEM block"),
            (format!("{good}{key}"), "only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\""),
            (
                "-----BEGIN CERTIFICATE-----\neHh4\n-----END CERTIFICATE-----\n".into(),
                "malformed certificate",
            ),
            (format!("{good}-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), "0 certificates"),
        ] {
            let told = told("", &given);
            assert!(told.contains(why), "{told}");
        }
        assert!(told(good, "").contains("may not modify existing certificate content"));
        assert_eq!(told("xxx", "xxx"), "", "what is there from before stays");
    }

    #[test]
    fn a_request_whose_signature_is_wrong_is_refused() {
        let engine = base64::engine::general_purpose::STANDARD;
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![]).unwrap();
        let der = params.serialize_request(&key).unwrap().der().to_vec();
        let problems = |der: &[u8]| {
            let request = "CERTIFICATE REQUEST";
            let pem = format!("-----BEGIN {request}-----\n{}\n-----END {request}-----\n", engine.encode(der));
            let spec = json!({"request": engine.encode(pem), "usages": ["client auth"], "signerName": "example.com/own"});
            let mut errors = Errors::default();
            super::request(&json!({ "spec": spec }), &mut errors);
            errors
        };
        assert!(problems(&der).is_empty());
        let mut wrong = der.clone();
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        assert!(!problems(&wrong).is_empty());
        // ecdsa-with-SHA512, which another signer may know.
        let mut unknown = der;
        let at = unknown.windows(4).rposition(|w| w == [0x3d, 4, 3, 2]).unwrap();
        unknown[at + 3] = 4;
        assert!(problems(&unknown).is_empty());
    }
}
