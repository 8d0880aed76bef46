//! Certificate signing requests.

use super::names;
use crate::api::errors::Errors;
use crate::api::value::{at, int, list, text};
use crate::pki;
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
    if let Err(why) = parse(object) {
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
    let before = text(old, "status.certificate");
    if !before.is_empty() && before != text(new, "status.certificate") {
        errors.forbidden("status.certificate", "updates may not change existing certificate content");
    }
}
