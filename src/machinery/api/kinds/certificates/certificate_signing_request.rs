//! Certificate signing requests: a client asks a signer for a certificate. An approver decides,
//! then the signer writes the certificate into the status.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, STATUS_VERBS, of, status, sub};
use crate::table::cells::{Printer, age, name, text_or};
use crate::validate::names::{self, path_segment};
use crate::value::{self, at, empty, int, list, put, text};
use base64::Engine as _;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["csr"],
        subresources: vec![
            sub("approval", "CertificateSigningRequest", STATUS_VERBS),
            status("CertificateSigningRequest"),
        ],
        has_status: true,
        name_rule: path_segment,
        prepare,
        prepare_update,
        prepare_status_update,
        resets: RESETS,
        validate,
        validate_status_update,
        validate_subresource,
        fields: &[("spec.signerName", "spec.signerName")],
        printer: Some(&PRINTER),
        ..of::<CertificateSigningRequest>()
    }
}

/// The types of conditions that are an approver's decision.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];

/// Fields that a write through each subresource does not change: the spec never changes,
/// `/approval` writes conditions alone. Conditions through `/status` have no owner, as upstream.
const RESETS: &[(&str, &str)] =
    &[("", "spec"), ("approval", "status.certificate"), ("status", "status.conditions")];

/// Drops the status of a new request: a client cannot decide about its own.
fn prepare(object: &mut Value) {
    put(object, "status", json!({}));
}

/// Keeps the spec as it is stored: it never changes.
fn prepare_update(new: &mut Value, old: &Value) {
    value::copy(old, new, "spec");
}

/// Returns how many conditions of a type a request has.
fn count(request: &Value, kind: &str) -> usize {
    list(request, "status.conditions").iter().filter(|c| text(c, "type") == kind).count()
}

/// Keeps what a write may not change: one through `/approval` changes the conditions alone, a write
/// through `/status` everything but decisions: those that are there stay as they are
/// (`preserveConditionInstances` upstream). Conditions get their times.
fn prepare_status_update(new: &mut Value, old: &Value, subresource: &str) {
    let approval = subresource == "approval";
    let mut conditions: Vec<Value> = list(new, "status.conditions").to_vec();
    for kind in DECISIONS.iter().filter(|decision| !approval && count(new, decision) == count(old, decision))
    {
        let now = conditions.iter_mut().filter(|c| text(c, "type") == *kind);
        let before = list(old, "status.conditions").iter().filter(|c| text(c, "type") == *kind);
        now.zip(before).for_each(|(now, before)| *now = before.clone());
    }
    let now = clock::rfc3339(clock::now());
    // Of two stored conditions with the same type and status the time of the first one counts.
    let mut since_of: HashMap<(&str, &str), &str> = HashMap::new();
    for c in list(old, "status.conditions") {
        since_of.entry((text(c, "type"), text(c, "status"))).or_insert(text(c, "lastTransitionTime"));
    }
    for condition in &mut conditions {
        let before = since_of.get(&(text(condition, "type"), text(condition, "status")));
        let since = before.copied().unwrap_or(now.as_str());
        value::default_zero(condition, "lastTransitionTime", since);
        value::default_zero(condition, "lastUpdateTime", now.as_str());
    }
    if approval {
        value::copy(old, new, "status");
    }
    match conditions.is_empty() {
        true => drop(value::remove(new, "status.conditions")),
        false => put(new, "status.conditions", conditions),
    }
    if at(new, "status").is_null() {
        put(new, "status", json!({}));
    }
}

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

/// Parses the PKCS #10 request in `spec.request`.
///
/// # Errors
/// A sentence that says why it is no such request.
pub fn parse(object: &Value) -> Result<pki::Request, String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text(object, "spec.request"));
    pki::Request::parse(&bytes.map_err(|e| e.to_string())?)
}

fn validate(object: &Value, errors: &mut Errors) {
    let read = parse(object).and_then(|request| match request.proof() {
        pki::Proof::Wrong => Err("x509: the signature does not match the key of the request".to_string()),
        pki::Proof::Unsupported => Err("x509: cannot verify signature: algorithm unimplemented".to_string()),
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

const SIGNER_NAME: &str = "spec.signerName";
/// Bytes of the domain of a signer's name, and of the whole name: its path has room for the name of
/// a namespace, a dot and that of an object (`ValidateSignerName` upstream).
const DOMAIN_MAX: usize = 253;
const SIGNER_MAX: usize = DOMAIN_MAX + 1 + 63 + 1 + 253;

fn signer(name: &str, errors: &mut Errors) {
    if name.is_empty() {
        return errors.required(SIGNER_NAME, "");
    }
    if name == LEGACY {
        return errors.invalid_text(
            SIGNER_NAME,
            name,
            "the legacy signerName is not allowed via this API version",
        );
    }
    let parts: Vec<&str> = name.split('/').collect();
    let [domain, path] = parts.as_slice() else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid_text(SIGNER_NAME, name, why);
    };
    if domain.len() > DOMAIN_MAX {
        errors.too_long(SIGNER_NAME, DOMAIN_MAX);
    }
    labels(domain, names::dns_label, errors);
    if !domain.contains('.') {
        errors.invalid_text(
            SIGNER_NAME,
            domain,
            "should be a domain with at least two segments separated by dots",
        );
    }
    labels(path, names::dns_subdomain, errors);
    if name.len() > SIGNER_MAX {
        errors.too_long(SIGNER_NAME, SIGNER_MAX);
    }
}

/// Checks the labels between the dots of one part of a signer's name. Only the problems of
/// the first wrong label are reported, as upstream.
fn labels(part: &str, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
    let mut judged = part.split('.').map(|label| (label, rule(label)));
    if let Some((label, problems)) = judged.find(|(_, problems)| !problems.is_empty()) {
        for problem in problems {
            errors.invalid_text(SIGNER_NAME, part, &format!("validating label {label:?}: {problem}"));
        }
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
            errors.invalid_text(
                "status.conditions",
                kind,
                "Approved and Denied conditions are mutually exclusive",
            );
        }
        if seen.contains(&kind) {
            errors.duplicate(field("type"), &json!(kind));
        }
        seen.insert(kind);
    }
}

/// Refuses to remove a decision and to replace a certificate.
fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    conditions(new, errors);
    for kind in ["Approved", "Denied", "Failed"] {
        if count(new, kind) < count(old, kind) {
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

/// Refuses a decision through `/status`: that takes `/approval`, and the right to approve.
fn validate_subresource(new: &Value, old: &Value, subresource: &str, errors: &mut Errors) {
    let added = |kind: &&&str| count(new, kind) > count(old, kind);
    for kind in DECISIONS.iter().filter(|_| subresource != "approval").filter(added) {
        errors.forbidden("status.conditions", &format!("updates may not add a condition of type {kind:?}"));
    }
}

/// Returns the cell `Condition`: `Pending`, `Approved,Issued`, `Denied`, `Approved,Failed`.
pub fn request_status(request: &Value) -> String {
    let has = |kind: &str| list(request, "status.conditions").iter().any(|c| text(c, "type") == kind);
    let mut status = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    }
    .to_string();
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !empty(request, "status.certificate") {
        status.push_str(",Issued");
    }
    status
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Age", "string", false),
        ("SignerName", "string", false),
        ("Requestor", "string", false),
        ("RequestedDuration", "string", false),
        ("Condition", "string", false),
    ],
    cells: |o, now| {
        let duration = match crate::value::int(o, "spec.expirationSeconds") {
            Some(seconds) => crate::duration::human(seconds),
            None => "<none>".to_string(),
        };
        vec![
            name(o),
            age(o, now),
            text_or(o, "spec.signerName", "<none>").into(),
            text(o, "spec.username").into(),
            duration.into(),
            request_status(o).into(),
        ]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_does_not_approve_and_an_approver_does_not_sign() {
        let old = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "lastTransitionTime": "a", "lastUpdateTime": "b"}]}});
        let wrong = json!({"type": "Approved", "status": "False", "message": "x"});
        let mut signed = json!({"status": {"certificate": "x", "conditions": [{"type": "Failed", "status": "True"}, wrong]}});
        prepare_status_update(&mut signed, &old, "status");
        let types = |o: &Value| {
            list(o, "status.conditions").iter().map(|c| text(c, "type").to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            (types(&signed), text(&signed, "status.certificate")),
            (vec!["Failed".into(), "Approved".into()], "x")
        );
        assert_eq!(list(&signed, "status.conditions")[1], list(&old, "status.conditions")[0]);
        let mut approved = json!({"status": {"certificate": "x", "conditions": [{"type": "Denied", "status": "True"}, {"type": "Failed", "status": "True"}]}});
        prepare_status_update(&mut approved, &old, "approval");
        assert_eq!(
            (types(&approved), text(&approved, "status.certificate")),
            (vec!["Denied".into(), "Failed".into()], "")
        );
        assert!(!text(&list(&approved, "status.conditions")[0], "lastUpdateTime").is_empty());
    }

    #[test]
    fn a_decision_through_the_status_is_refused() {
        let request = |types: &[&str]| {
            let conditions: Vec<_> = types.iter().map(|t| json!({"type": t, "status": "True"})).collect();
            json!({"status": {"conditions": conditions}})
        };
        let kind = kind();
        let errors_of = |new: &[&str], old: &[&str], subresource: &str| {
            let (mut new, old) = (request(new), request(old));
            prepare_status_update(&mut new, &old, subresource);
            let errors = crate::validate::status_update(&kind, &new, &old, subresource);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let refused = |what: &str| format!("status.conditions: Forbidden: updates may not {what}");
        assert_eq!(errors_of(&["Approved"], &[], "status"), refused("add a condition of type \"Approved\""));
        assert_eq!(errors_of(&["Approved"], &[], "approval"), "");
        assert_eq!(errors_of(&[], &["Denied"], "status"), refused("remove a condition of type \"Denied\""));
        assert_eq!(errors_of(&["Approved", "Failed"], &["Approved"], "status"), "");
        let both = errors_of(&["Approved", "Denied"], &["Approved"], "approval");
        let why = "Approved and Denied conditions are mutually exclusive";
        assert_eq!(both, format!("status.conditions: Invalid value: \"Denied\": {why}"));
    }

    #[test]
    fn a_signer_has_a_domain_and_a_path_of_bounded_length() {
        let errors_of = |name: &str| {
            let mut errors = Errors::default();
            signer(name, &mut errors);
            errors.iter().map(|error| error.body.clone()).collect::<Vec<_>>()
        };
        let label = |bytes: usize| "a".repeat(bytes);
        let domain = |last: usize| [label(63), label(63), label(63), label(last)].join(".");
        // The domain has 253 bytes; the path may have more.
        let path = [label(63), label(253)].join(".");
        for good in ["example.com/own", &format!("{}/{path}", domain(61))] {
            assert_eq!(errors_of(good), [""; 0], "{good}");
        }
        assert_eq!(errors_of(&format!("{}/own", domain(62))), ["Too long: may not be more than 253 bytes"]);
        let longer = errors_of(&format!("{}/{path}.a", domain(61)));
        assert_eq!(longer, ["Too long: may not be more than 571 bytes"]);
        let wrong = errors_of("A.B.com/c_d.E");
        assert_eq!(wrong.len(), 2, "the first of each part: {wrong:?}");
        assert!(wrong[0].starts_with("Invalid value: \"A.B.com\": validating label \"A\": "), "{wrong:?}");
        assert!(wrong[1].starts_with("Invalid value: \"c_d.E\": validating label \"c_d\": "), "{wrong:?}");
    }

    #[test]
    fn an_approver_writes_conditions_of_any_type() {
        let mut patched = json!({"status": {"conditions": [{"type": "Reviewed", "status": "True"}]}});
        prepare_status_update(&mut patched, &json!({"status": {}}), "approval");
        let kept = list(&patched, "status.conditions");
        assert_eq!((kept.len(), text(&kept[0], "type")), (1, "Reviewed"));
        assert!(!text(&kept[0], "lastTransitionTime").is_empty());
    }

    #[test]
    fn only_certificates_are_given_as_one() {
        let errors_of = |old: &str, new: &str| {
            let engine = base64::engine::general_purpose::STANDARD;
            let status = |pem: &str| json!({"status": {"certificate": engine.encode(pem)}});
            let mut errors = Errors::default();
            validate_status_update(&status(new), &status(old), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![]).unwrap();
        let (good, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        let good = good.as_str();
        assert_eq!(errors_of("", good), "");
        assert_eq!(errors_of("", &format!("chain:\n{good}{good}")), "");
        for (given, why) in [
            ("xxx".to_string(), "at least one CERTIFICATE PEM block"),
            (format!("{good}{key}"), "only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\""),
            (
                "-----BEGIN CERTIFICATE-----\neHh4\n-----END CERTIFICATE-----\n".into(),
                "malformed certificate",
            ),
            (format!("{good}-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), "0 certificates"),
        ] {
            let message = errors_of("", &given);
            assert!(message.contains(why), "{message}");
        }
        assert!(errors_of(good, "").contains("may not modify existing certificate content"));
        assert_eq!(errors_of("xxx", "xxx"), "", "what is there from before stays");
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
            validate(&json!({ "spec": spec }), &mut errors);
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
        unknown[at + 3] = 1; // ecdsa-with-SHA224
        let found: Vec<_> = problems(&unknown).iter().map(ToString::to_string).collect();
        assert!(found.concat().contains("algorithm unimplemented"), "{found:?}");
    }
}
