//! What Go's decoder refuses of a kubeconfig: values of a wrong type, data that are no base64, and
//! two entries of one name.
//!
//! Source: client-go, `tools/clientcmd/api/v1`: `types.go` and `conversion.go`.

use api::value;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A Go type, as far as a kubeconfig has it. Fields that are not read here are left out.
enum Type {
    Text,
    Bool,
    Bytes,
    /// A slice: its name, and the type of its elements.
    List(&'static str, &'static Type),
    /// A map: its name, and the type of its values.
    Map(&'static str, &'static Type),
    /// A struct: its name, and its fields.
    Struct(&'static str, &'static [(&'static str, Type)]),
}

use Type::{Bool, Bytes, List, Map, Struct, Text};

impl Type {
    /// The name that Go's messages have for the type.
    fn name(&self) -> Cow<'static, str> {
        match self {
            Text => "string".into(),
            Bool => "bool".into(),
            Bytes => "[]uint8".into(),
            List(name, _) | Map(name, _) => (*name).into(),
            Struct(name, _) => format!("v1.{name}").into(),
        }
    }
}

const EXTENSIONS: Type = List("[]v1.NamedExtension", &Struct("NamedExtension", &[("name", Text)]));

const CLUSTER: Type = Struct(
    "Cluster",
    &[
        ("server", Text),
        ("tls-server-name", Text),
        ("insecure-skip-tls-verify", Bool),
        ("certificate-authority", Text),
        ("certificate-authority-data", Bytes),
        ("proxy-url", Text),
        ("disable-compression", Bool),
        ("extensions", EXTENSIONS),
    ],
);

const EXEC: Type = Struct(
    "ExecConfig",
    &[
        ("command", Text),
        ("args", List("[]string", &Text)),
        ("env", List("[]v1.ExecEnvVar", &Struct("ExecEnvVar", &[("name", Text), ("value", Text)]))),
        ("apiVersion", Text),
        ("installHint", Text),
        ("provideClusterInfo", Bool),
        ("interactiveMode", Text),
    ],
);

const USER: Type = Struct(
    "AuthInfo",
    &[
        ("client-certificate", Text),
        ("client-certificate-data", Bytes),
        ("client-key", Text),
        ("client-key-data", Bytes),
        ("token", Text),
        ("tokenFile", Text),
        ("as", Text),
        ("as-uid", Text),
        ("as-groups", List("[]string", &Text)),
        ("as-user-extra", Map("map[string][]string", &List("[]string", &Text))),
        ("username", Text),
        ("password", Text),
        (
            "auth-provider",
            Struct("AuthProviderConfig", &[("name", Text), ("config", Map("map[string]string", &Text))]),
        ),
        ("exec", EXEC),
        ("extensions", EXTENSIONS),
    ],
);

const CONTEXT: Type =
    Struct("Context", &[("cluster", Text), ("user", Text), ("namespace", Text), ("extensions", EXTENSIONS)]);

static CONFIG: Type = Struct(
    "Config",
    &[
        ("preferences", Struct("Preferences", &[("colors", Bool), ("extensions", EXTENSIONS)])),
        (
            "clusters",
            List("[]v1.NamedCluster", &Struct("NamedCluster", &[("name", Text), ("cluster", CLUSTER)])),
        ),
        ("users", List("[]v1.NamedAuthInfo", &Struct("NamedAuthInfo", &[("name", Text), ("user", USER)]))),
        (
            "contexts",
            List("[]v1.NamedContext", &Struct("NamedContext", &[("name", Text), ("context", CONTEXT)])),
        ),
        ("current-context", Text),
        ("extensions", EXTENSIONS),
    ],
);

/// The lists of a kubeconfig, with Go's names for an entry and for what it contains.
const LISTS: [(&str, &str, &str); 3] = [
    ("clusters", "NamedCluster", "Cluster"),
    ("users", "NamedAuthInfo", "AuthInfo"),
    ("contexts", "NamedContext", "Context"),
];

/// Checks a kubeconfig, which is a mapping or null, as client-go does when it loads one. A token
/// that is a number would else be no token, and the user be anonymous.
///
/// Example: for `users: [{name: u, user: {token: 12345}}]` the message is `json: cannot unmarshal
/// number into Go struct field AuthInfo.users.user.token of type string`.
///
/// # Errors
/// Go's message for a value of a wrong type, for data that are no base64, or for a list with two
/// entries of one name.
pub(super) fn check(config: &Value) -> Result<(), String> {
    check_type(&CONFIG, config, "", &mut vec![])?;
    LISTS.iter().try_for_each(|list| check_names(config, list))
}

/// `owner` and `path`: the struct that the value is in, and the names of the fields from the root.
fn check_type(of: &Type, found: &Value, owner: &str, path: &mut Vec<&'static str>) -> Result<(), String> {
    match (of, found) {
        (Bytes, Value::String(text)) => match corrupt_at(text.as_bytes()) {
            Some(at) => Err(format!("illegal base64 data at input byte {at}")),
            None => Ok(()),
        },
        (_, Value::Null) | (Text, Value::String(_)) | (Bool, Value::Bool(_)) => Ok(()),
        (List(_, each), Value::Array(items)) => {
            items.iter().try_for_each(|item| check_type(each, item, owner, path))
        }
        (Map(_, each), Value::Object(map)) => {
            map.values().try_for_each(|item| check_type(each, item, owner, path))
        }
        (Struct(name, fields), Value::Object(map)) => {
            for &(key, ref of) in *fields {
                if let Some(item) = map.get(key) {
                    path.push(key);
                    check_type(of, item, name, path)?;
                    path.pop();
                }
            }
            Ok(())
        }
        _ => {
            let (found, path, wanted) = (kind_of(found), path.join("."), of.name());
            Err(format!(
                "json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}"
            ))
        }
    }
}

/// Returns the byte at which Go's `base64.StdEncoding` finds a text corrupt; `None` for base64.
/// Line breaks are skipped wherever they are.
///
/// Example: `Zm-9v` is corrupt at 2, and `Zm9vZ`, whose last group of four has one character, at 4.
fn corrupt_at(text: &[u8]) -> Option<usize> {
    let is_break = |byte: u8| matches!(byte, b'\r' | b'\n');
    let mut in_group = 0;
    for (at, byte) in text.iter().copied().enumerate() {
        match byte {
            b'\r' | b'\n' => {}
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => in_group = (in_group + 1) % 4,
            b'=' if in_group >= 2 => {
                // A group of two is filled up with two of them, and nothing follows the last one.
                let rest = (at + 1..).zip(text[at + 1..].iter().copied());
                let mut rest = rest.filter(|(_, byte)| !is_break(*byte));
                if in_group == 2 {
                    match rest.next() {
                        None => return Some(text.len()),
                        Some((_, b'=')) => {}
                        Some((next, _)) => return Some(next - 1),
                    }
                }
                return rest.next().map(|(next, _)| next);
            }
            _ => return Some(at),
        }
    }
    (in_group > 0).then(|| text.len() - in_group)
}

/// Go's word for a kind of JSON value.
pub(super) fn kind_of(found: &Value) -> &'static str {
    match found {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Go's message ends with the whole list, which has the keys and tokens of its entries: it is left
/// out.
fn check_names(config: &Value, (list, entry, part): &(&str, &str, &str)) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for item in value::list(config, list) {
        let name = value::text(item, "name");
        if !names.insert(name) {
            return Err(format!(
                "error converting *[]{entry} into *map[string]*api.{part}: duplicate name \"{name}\" in list"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        check(&api::yaml::parse(text.as_bytes()).unwrap()).unwrap_err()
    }

    /// The request would be an anonymous user's, or the certificate be checked after all.
    #[test]
    fn a_value_of_a_wrong_type_is_refused() {
        for (text, found, field, wanted) in [
            ("users: [{name: u, user: {token: 12345}}]", "number", "AuthInfo.users.user.token", "string"),
            (
                "users: [{name: u, user: {as-groups: dev}}]",
                "string",
                "AuthInfo.users.user.as-groups",
                "[]string",
            ),
            (
                "users: [{name: u, user: {as-user-extra: {why: test}}}]",
                "string",
                "AuthInfo.users.user.as-user-extra",
                "[]string",
            ),
            (
                "users: [{name: u, user: {exec: {env: [{name: A, value: 1}]}}}]",
                "number",
                "ExecEnvVar.users.user.exec.env.value",
                "string",
            ),
            (
                "clusters: [{name: c, cluster: {insecure-skip-tls-verify: 'true'}}]",
                "string",
                "Cluster.clusters.cluster.insecure-skip-tls-verify",
                "bool",
            ),
            (
                "clusters: [{name: c, cluster: 'https://a'}]",
                "string",
                "NamedCluster.clusters.cluster",
                "v1.Cluster",
            ),
            (
                "contexts: [{name: c, context: {extensions: 5}}]",
                "number",
                "Context.contexts.context.extensions",
                "[]v1.NamedExtension",
            ),
            (
                "users: [{name: u, user: {auth-provider: {name: a, config: {id: 5}}}}]",
                "number",
                "AuthProviderConfig.users.user.auth-provider.config",
                "string",
            ),
            ("contexts: {name: c}", "object", "Config.contexts", "[]v1.NamedContext"),
            ("contexts: [{name: 1}]", "number", "NamedContext.contexts.name", "string"),
            ("current-context: true", "bool", "Config.current-context", "string"),
        ] {
            let why = format!("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}");
            assert_eq!(refused(text), why, "{text}");
        }
    }

    /// What kubectl 1.32 says of the same texts. Nothing is read of a file that has one of them.
    #[test]
    fn data_that_are_no_base64_are_refused_wherever_they_stand() {
        let user = |data: &str| format!("users: [{{name: u, user: {{client-key-data: \"{data}\"}}}}]");
        for (data, at) in [
            ("Zm-9v", 2),
            ("Zm9", 0),
            ("Zm9v Z", 4),
            ("Z===", 1),
            ("Zm=", 3),
            ("Zm=v", 2),
            ("Zm==x", 4),
            ("Zm9vé", 4),
            ("=", 0),
            ("Zm9vZ", 4),
            ("Zm9vZm9vZm9vZm9vZm9v-m9v", 20),
        ] {
            assert_eq!(refused(&user(data)), format!("illegal base64 data at input byte {at}"), "{data}");
        }
        for data in ["", "Zm9v", "Zg==", "Zm8=", "Zm\\n9v\\n", "Ym\\r\\nFy", "Zg=\\n=\\n", "Zm9=", "+/+/"] {
            assert_eq!(check(&api::yaml::parse(user(data).as_bytes()).unwrap()), Ok(()), "{data}");
        }
    }

    #[test]
    fn two_entries_of_one_name_are_refused_without_their_secrets() {
        let why = refused("users: [{name: u, user: {token: t1}}, {name: u, user: {token: t2}}]");
        let told =
            "error converting *[]NamedAuthInfo into *map[string]*api.AuthInfo: duplicate name \"u\" in list";
        assert_eq!(why, told);
    }

    #[test]
    fn what_is_absent_null_or_unknown_is_accepted() {
        for text in [
            "",
            "clusters: null",
            "users: [{name: u, user: {token: null, exec: null, other: 5}}, {name: v}]",
            "clusters: [{name: c, cluster: {extensions: [{name: x, extension: {a: 1}}]}}]",
            "preferences: {colors: true}",
        ] {
            assert_eq!(check(&api::yaml::parse(text.as_bytes()).unwrap()), Ok(()), "{text}");
        }
    }
}
