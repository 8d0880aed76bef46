//! Secrets: passwords, tokens and keys that pods read.

use crate::errors::Errors;
use crate::kinds::core::data::{SIZE_MAX, count, decoded, immutable, keys};
use crate::kinds::entry::{Kind, of};
use crate::meta;
use crate::table::cells::{Printer, age, name};
use crate::validate::fields::IMMUTABLE;
use crate::value::{self, at, default_zero, text};
use base64::Engine as _;
use k8s_openapi::api::core::v1::Secret;
use serde::de::IgnoredAny;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind {
        defaults,
        validate,
        validate_update,
        fields: &[("type", "type")],
        printer: Some(&PRINTER),
        ..of::<Secret>()
    }
}

/// Moves `stringData` into `data`. The default type is `Opaque`.
fn defaults(object: &mut Value) {
    default_zero(object, "type", "Opaque");
    if let Some(Value::Object(texts)) = value::remove(object, "stringData") {
        let data = value::slot_map(object, "data");
        for (key, text) in texts {
            let plain = text.as_str().unwrap_or("");
            data.insert(key, base64::engine::general_purpose::STANDARD.encode(plain).into());
        }
    }
}

pub(super) fn validate(object: &Value, errors: &mut Errors) {
    if keys(object, "data", decoded, errors) > SIZE_MAX {
        errors.too_long("data", SIZE_MAX);
    }
    let need = |key: &str, errors: &mut Errors| {
        if at(object, "data").get(key).is_none() {
            errors.required(format!("data[{key}]"), "");
        }
    };
    match text(object, "type") {
        "kubernetes.io/service-account-token"
            if meta::annotation(object, "kubernetes.io/service-account.name").unwrap_or("").is_empty() =>
        {
            errors.required("metadata.annotations[kubernetes.io/service-account.name]", "");
        }
        "kubernetes.io/dockerconfigjson" => {
            need(".dockerconfigjson", errors);
            is_json(object, ".dockerconfigjson", errors);
        }
        "kubernetes.io/dockercfg" => {
            need(".dockercfg", errors);
            is_json(object, ".dockercfg", errors);
        }
        "kubernetes.io/basic-auth" => {
            let has = |key: &str| at(object, "data").get(key).is_some();
            if !has("username") && !has("password") {
                errors.required("data[username]", "");
                errors.required("data[password]", "");
            }
        }
        "kubernetes.io/ssh-auth" if text(at(object, "data"), "ssh-privatekey").is_empty() => {
            errors.required("data[ssh-privatekey]", "");
        }
        "kubernetes.io/tls" => {
            need("tls.crt", errors);
            need("tls.key", errors);
        }
        _ => {}
    }
}

/// Checks that a file is JSON; otherwise the fault would show only when an image is pulled. The
/// error does not repeat the content, which is secret.
fn is_json(object: &Value, key: &str, errors: &mut Errors) {
    use base64::Engine as _;
    let Some(encoded) = at(object, "data").get(key).and_then(Value::as_str) else { return };
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    if let Some(why) = json_problem(&decoded) {
        errors.invalid_text(format!("data[{key}]"), "<secret contents redacted>", &why);
    }
}

/// Returns why bytes are no map of JSON, in Go's words for the usual reasons. To Go `null` is a
/// map, too. No value is made of them: those of one megabyte would take a hundred.
fn json_problem(bytes: &[u8]) -> Option<String> {
    let kind = match serde_json::from_slice::<IgnoredAny>(bytes) {
        Ok(_) => match bytes.trim_ascii_start().first() {
            Some(b'{' | b'n') => return None,
            Some(b'[') => "array",
            Some(b'"') => "string",
            Some(b't' | b'f') => "bool",
            _ => "number",
        },
        Err(why) if why.is_eof() => return Some("unexpected end of JSON input".into()),
        Err(_) => {
            let first = bytes.trim_ascii_start().first().map(|byte| char::from(*byte));
            let is_begin = |c: &char| matches!(c, '{' | '[' | '"' | '-' | '0'..='9' | 't' | 'f' | 'n');
            return Some(match first.filter(|c| c.is_ascii_graphic() && *c != '\'' && !is_begin(c)) {
                Some(odd) => format!("invalid character '{odd}' looking for beginning of value"),
                None => "invalid JSON".into(),
            });
        }
    };
    Some(format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"))
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    if text(new, "type") != text(old, "type") {
        errors.invalid("type", at(new, "type"), IMMUTABLE);
    }
    immutable(new, old, &["data"], errors);
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Type", "string", false),
        ("Data", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| vec![name(o), text(o, "type").into(), count(o, "data").into(), age(o, now)],
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    #[test]
    fn a_secret_has_what_its_type_promises() {
        let errors_of = |kind: &str, data: Value| problems(validate, json!({"type": kind, "data": data}));
        // {"auths":{}} and {"auths"
        assert_eq!(
            errors_of("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "eyJhdXRocyI6e319"})),
            [""; 0]
        );
        assert_eq!(
            errors_of("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "eyJhdXRocyI="})),
            [
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": unexpected end of JSON input"
            ]
        );
        assert_eq!(errors_of("kubernetes.io/basic-auth", json!({"password": ""})), [""; 0]);
        assert_eq!(errors_of("kubernetes.io/ssh-auth", json!({"ssh-privatekey": "YQ=="})), [""; 0]);
        let missing = ["data[ssh-privatekey]: Required value"];
        assert_eq!(errors_of("kubernetes.io/ssh-auth", json!({"ssh-privatekey": ""})), missing);
        assert_eq!(errors_of("kubernetes.io/ssh-auth", json!({})), missing);
        assert_eq!(
            errors_of("kubernetes.io/basic-auth", json!({"user": "YQ=="})),
            ["data[username]: Required value", "data[password]: Required value"]
        );
    }

    #[test]
    fn credentials_are_a_map_of_json() {
        let errors_of = |text: &str| json_problem(text.as_bytes()).unwrap_or_default();
        for good in ["{}", "null", " {\"auths\": {}}\n"] {
            assert_eq!(errors_of(good), "", "{good}");
        }
        assert_eq!(errors_of(""), "unexpected end of JSON input");
        assert_eq!(
            errors_of("[]"),
            "json: cannot unmarshal array into Go value of type map[string]interface {}"
        );
        assert_eq!(errors_of("auths: {}"), "invalid character 'a' looking for beginning of value");
        assert_eq!(errors_of("{auths}"), "invalid JSON");
        for (text, kind) in [("\"a\"", "string"), ("-1", "number"), (" 0.5\n", "number"), ("true", "bool")] {
            let why =
                format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}");
            assert_eq!(errors_of(text), why, "{text}");
        }
    }

    /// A value would take a hundred times its text, and could not nest so deep.
    #[test]
    fn no_value_is_made_of_credentials() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(json_problem(deep.as_bytes()), None);
    }
}
