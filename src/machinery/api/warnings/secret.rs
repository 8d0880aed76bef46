//! Secrets with a certificate and its key: are both in PEM, and each in its place?

use super::Found;
use crate::value::{map, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Warns of a Secret of the type `kubernetes.io/tls` that no server can use (upstream:
/// `tls.X509KeyPair`). The certificate itself is not read, so a key that belongs to another one is
/// not told of.
pub(super) fn key_pair(object: &Value, found: &mut Found) {
    if text(object, "type") != "kubernetes.io/tls" {
        return;
    }
    let types = |key: &str| {
        let told = map(object, "data").and_then(|data| data.get(key)?.as_str()).unwrap_or_default();
        block_types(&STANDARD.decode(told).unwrap_or_default())
    };
    let why = certificate_fault(&types("tls.crt")).or_else(|| key_fault(&types("tls.key")));
    why.into_iter().for_each(|why| found.push(format!("tls: {why}")));
}

fn certificate_fault(types: &[String]) -> Option<String> {
    match types {
        _ if types.iter().any(|kind| kind == "CERTIFICATE") => None,
        [] => Some("failed to find any PEM data in certificate input".into()),
        [only] if only.ends_with(PRIVATE_KEY) => Some(
            "failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched"
                .into(),
        ),
        others => Some(format!(
            "failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
            others.join(" ")
        )),
    }
}

fn key_fault(types: &[String]) -> Option<String> {
    let is_key = |kind: &String| {
        kind.strip_suffix(PRIVATE_KEY).is_some_and(|before| before.is_empty() || before.ends_with(' '))
    };
    match types {
        _ if types.iter().any(is_key) => None,
        [] => Some("failed to find any PEM data in key input".into()),
        [only] if only == "CERTIFICATE" => {
            Some("found a certificate rather than a key in the PEM for the private key".into())
        }
        others => Some(format!(
            "failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            others.join(" ")
        )),
    }
}

/// The types of the blocks of a file in PEM (RFC 7468): those with an end of the same type, and
/// base64 between. Lines with a colon are headers.
fn block_types(file: &[u8]) -> Vec<String> {
    let file = String::from_utf8_lossy(file);
    let (mut types, mut open) = (vec![], None::<(&str, String)>);
    for line in file.lines().map(str::trim_end) {
        let marked = |begin: &str| line.strip_prefix(begin).and_then(|rest| rest.strip_suffix("-----"));
        if let Some(kind) = marked("-----BEGIN ") {
            open = Some((kind, String::new()));
        } else if let Some(kind) = marked("-----END ") {
            let closed = open.take().filter(|(begun, body)| *begun == kind && STANDARD.decode(body).is_ok());
            types.extend(closed.map(|(kind, _)| kind.to_string()));
        } else if let Some((_, body)) = &mut open
            && !line.contains(':')
        {
            body.push_str(line);
        }
    }
    types
}
