//! Secrets with a certificate and its key: do they belong together?

use super::Found;
use crate::value::{map, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Warns of a Secret of the type `kubernetes.io/tls` that no server can use: one of the two is
/// malformed, or the key is another certificate's (upstream: `tls.X509KeyPair`).
pub(super) fn key_pair(object: &Value, found: &mut Found) {
    if text(object, "type") != "kubernetes.io/tls" {
        return;
    }
    let file = |key: &str| {
        let encoded = map(object, "data").and_then(|data| data.get(key)?.as_str()).unwrap_or_default();
        STANDARD.decode(encoded).unwrap_or_default()
    };
    if let Err(why) = pki::check_pair(&file("tls.crt"), &file("tls.key")) {
        found.push(why);
    }
}
