//! Config maps, secrets, service accounts.

use super::text::Text;
use crate::builder::Info;
use crate::ctx::Ctx;
use crate::error::Fail;
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

pub(super) async fn service_account(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    let account = &info.object;
    text.meta(account);
    let path = format!("/api/v1/namespaces/{}/secrets", info.namespace);
    let secrets = match crate::builder::whole(ctx, &path, &[]).await {
        Ok(list) => Some(value::list(&list, "items").to_vec()),
        Err(Fail::Api(_)) => None,
        Err(other) => return Err(other),
    };
    let names = |path: &str| -> Vec<String> {
        value::list(account, path).iter().map(|s| value::text(s, "name").to_string()).collect()
    };
    let of_account = |s: &&Value| {
        let of = |key: &str| s["metadata"]["annotations"][key].as_str().unwrap_or("");
        value::text(s, "type") == "kubernetes.io/service-account-token"
            && of("kubernetes.io/service-account.name") == info.name
            && of("kubernetes.io/service-account.uid") == value::text(account, "metadata.uid")
    };
    let all = secrets.as_deref().unwrap_or_default();
    let tokens: Vec<String> =
        all.iter().filter(of_account).map(|s| value::text(s, "metadata.name").to_string()).collect();
    let known = |name: &str| secrets.is_none() || all.iter().any(|s| value::text(s, "metadata.name") == name);
    for (header, names) in [
        ("Image pull secrets:", names("imagePullSecrets")),
        ("Mountable secrets: ", names("secrets")),
        ("Tokens:            ", tokens),
    ] {
        if names.is_empty() {
            text.line(0, format!("{header}\t<none>"));
        }
        for (i, name) in names.iter().enumerate() {
            let head = if i == 0 { header } else { "                   " };
            let lost = if known(name) { "" } else { " (not found)" };
            text.line(0, format!("{head}\t{name}{lost}"));
        }
    }
    Ok(())
}
