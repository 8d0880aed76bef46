//! Config maps, secrets, service accounts.

use super::text::Text;
use api::value;
use base64::Engine as _;
use serde_json::Value;

fn sorted<'a>(object: &'a Value, path: &str) -> Vec<(&'a str, &'a str)> {
    let mut pairs: Vec<(&str, &str)> = value::pairs(object, path).collect();
    pairs.sort();
    pairs
}

fn bytes(encoded: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default()
}

pub(super) fn config_map(text: &mut Text, map: &Value) {
    text.meta(map);
    text.line(0, "\nData\n====");
    for (key, data) in sorted(map, "data") {
        text.line(0, format!("{key}:\n----"));
        text.line(0, data);
        text.line(0, "");
    }
    text.line(0, "\nBinaryData\n====");
    for (key, data) in sorted(map, "binaryData") {
        text.line(0, format!("{key}: {} bytes", bytes(data).len()));
    }
    text.line(0, "");
}

pub(super) fn secret(text: &mut Text, secret: &Value) {
    text.meta(secret);
    let kind = value::text(secret, "type");
    text.line(0, format!("\nType:\t{kind}"));
    text.line(0, "\nData\n====");
    for (key, data) in sorted(secret, "data") {
        let data = bytes(data);
        match (key, kind) {
            ("token", "kubernetes.io/service-account-token") => {
                text.field(0, key, String::from_utf8_lossy(&data));
            }
            _ => text.field(0, key, format!("{} bytes", data.len())),
        }
    }
}

pub(super) fn service_account(text: &mut Text, account: &Value) {
    text.meta(account);
    let names: Vec<&str> =
        value::list(account, "imagePullSecrets").iter().map(|s| value::text(s, "name")).collect();
    let header = "Image pull secrets:";
    if names.is_empty() {
        text.line(0, format!("{header}\t<none>"));
    }
    for (i, name) in names.iter().enumerate() {
        let head = if i == 0 { header } else { "                   " };
        text.line(0, format!("{head}\t{name}"));
    }
}
