//! Go's types of a kubeconfig: what its decoder refuses (values of a wrong type, data that are no
//! base64, and two entries of one name), and how it is written again.
//!
//! Source: client-go, `tools/clientcmd/api/v1`: `types.go` and `conversion.go`.

use super::exec::fill_modes;
use api::value;
use serde_json::{Map as Fields, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A Go type, as far as a kubeconfig has it.
enum Type {
    Text,
    Bool,
    Bytes,
    /// Any JSON.
    Raw,
    /// A slice: its name, and the type of its elements.
    List(&'static str, &'static Type),
    /// A map: its name, and the type of its values.
    Map(&'static str, &'static Type),
    /// A struct: its name, and its fields in Go's order.
    Struct(&'static str, &'static [Field]),
}

/// A field's name and type, and whether it is written if it is empty.
type Field = (&'static str, Type, bool);

/// The field is written in any case.
const ALWAYS: bool = true;
/// The field is left out if it is empty (`omitempty`).
const IF_SET: bool = false;

use Type::{Bool, Bytes, List, Map, Raw, Struct, Text};

impl Type {
    /// Returns the name that Go's messages have for the type.
    fn name(&self) -> Cow<'static, str> {
        match self {
            Text => "string".into(),
            Bool => "bool".into(),
            Bytes => "[]uint8".into(),
            Raw => "runtime.RawExtension".into(),
            List(name, _) | Map(name, _) => (*name).into(),
            Struct(name, _) => format!("v1.{name}").into(),
        }
    }
}

const EXTENSIONS: Type = List(
    "[]v1.NamedExtension",
    &Struct("NamedExtension", &[("name", Text, ALWAYS), ("extension", Raw, ALWAYS)]),
);

const CLUSTER: Type = Struct(
    "Cluster",
    &[
        ("server", Text, ALWAYS),
        ("tls-server-name", Text, IF_SET),
        ("insecure-skip-tls-verify", Bool, IF_SET),
        ("certificate-authority", Text, IF_SET),
        ("certificate-authority-data", Bytes, IF_SET),
        ("proxy-url", Text, IF_SET),
        ("disable-compression", Bool, IF_SET),
        ("extensions", EXTENSIONS, IF_SET),
    ],
);

const VARIABLES: Type =
    List("[]v1.ExecEnvVar", &Struct("ExecEnvVar", &[("name", Text, ALWAYS), ("value", Text, ALWAYS)]));

const EXEC: Type = Struct(
    "ExecConfig",
    &[
        ("command", Text, ALWAYS),
        ("args", List("[]string", &Text), ALWAYS),
        ("env", VARIABLES, ALWAYS),
        ("apiVersion", Text, IF_SET),
        ("installHint", Text, IF_SET),
        ("provideClusterInfo", Bool, ALWAYS),
        ("interactiveMode", Text, IF_SET),
    ],
);

const PROVIDER: Type = Struct(
    "AuthProviderConfig",
    &[("name", Text, ALWAYS), ("config", Map("map[string]string", &Text), ALWAYS)],
);

const USER: Type = Struct(
    "AuthInfo",
    &[
        ("client-certificate", Text, IF_SET),
        ("client-certificate-data", Bytes, IF_SET),
        ("client-key", Text, IF_SET),
        ("client-key-data", Bytes, IF_SET),
        ("token", Text, IF_SET),
        ("tokenFile", Text, IF_SET),
        ("as", Text, IF_SET),
        ("as-uid", Text, IF_SET),
        ("as-groups", List("[]string", &Text), IF_SET),
        ("as-user-extra", Map("map[string][]string", &List("[]string", &Text)), IF_SET),
        ("username", Text, IF_SET),
        ("password", Text, IF_SET),
        ("auth-provider", PROVIDER, IF_SET),
        ("exec", EXEC, IF_SET),
        ("extensions", EXTENSIONS, IF_SET),
    ],
);

const CONTEXT: Type = Struct(
    "Context",
    &[
        ("cluster", Text, ALWAYS),
        ("user", Text, ALWAYS),
        ("namespace", Text, IF_SET),
        ("extensions", EXTENSIONS, IF_SET),
    ],
);

const CLUSTERS: Type = List(
    "[]v1.NamedCluster",
    &Struct("NamedCluster", &[("name", Text, ALWAYS), ("cluster", CLUSTER, ALWAYS)]),
);
const USERS: Type =
    List("[]v1.NamedAuthInfo", &Struct("NamedAuthInfo", &[("name", Text, ALWAYS), ("user", USER, ALWAYS)]));
const CONTEXTS: Type = List(
    "[]v1.NamedContext",
    &Struct("NamedContext", &[("name", Text, ALWAYS), ("context", CONTEXT, ALWAYS)]),
);

const PREFERENCES: Type =
    Struct("Preferences", &[("colors", Bool, IF_SET), ("extensions", EXTENSIONS, IF_SET)]);

static CONFIG: Type = Struct(
    "Config",
    &[
        ("kind", Text, IF_SET),
        ("apiVersion", Text, IF_SET),
        ("preferences", PREFERENCES, IF_SET),
        ("clusters", CLUSTERS, ALWAYS),
        ("users", USERS, ALWAYS),
        ("contexts", CONTEXTS, ALWAYS),
        ("current-context", Text, ALWAYS),
        ("extensions", EXTENSIONS, IF_SET),
    ],
);

/// What a credential plugin answers. A time is a text here, and read by itself.
static CREDENTIAL: Type = Struct(
    "ExecCredential",
    &[
        ("spec", Struct("ExecCredentialSpec", &[("interactive", Bool, ALWAYS)]), ALWAYS),
        (
            "status",
            Struct(
                "ExecCredentialStatus",
                &[
                    ("expirationTimestamp", Text, IF_SET),
                    ("token", Text, IF_SET),
                    ("clientCertificateData", Text, IF_SET),
                    ("clientKeyData", Text, IF_SET),
                ],
            ),
            IF_SET,
        ),
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

/// Checks what a credential plugin answered.
///
/// # Errors
/// Go's message for a value of a wrong type.
pub(super) fn check_credential(answer: &Value) -> Result<(), String> {
    check_type(&CREDENTIAL, answer, "", &mut vec![])
}

/// `owner` and `path`: the struct that the value is in, and the names of the fields from the root.
fn check_type(of: &Type, found: &Value, owner: &str, path: &mut Vec<&'static str>) -> Result<(), String> {
    match (of, found) {
        (Bytes, Value::String(text)) => match corrupt_at(text.as_bytes()) {
            Some(at) => Err(format!("illegal base64 data at input byte {at}")),
            None => Ok(()),
        },
        (Raw, _) | (_, Value::Null) | (Text, Value::String(_)) | (Bool, Value::Bool(_)) => Ok(()),
        (List(_, each), Value::Array(items)) => {
            items.iter().try_for_each(|item| check_type(each, item, owner, path))
        }
        (Map(_, each), Value::Object(map)) => {
            map.values().try_for_each(|item| check_type(each, item, owner, path))
        }
        (Struct(name, fields), Value::Object(map)) => {
            // Go gets the mappings of YAML with their keys sorted, and tells the first fault.
            let mut sorted: Vec<&Field> = fields.iter().collect();
            sorted.sort_unstable_by_key(|field| field.0);
            for &(key, ref of, _) in sorted {
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

/// Returns a kubeconfig that was checked as client-go writes it again: fields in the order of Go's
/// structs, without unknown ones, without those that are empty and may be left out, and with those
/// that never are or have a default: `interactiveMode`.
///
/// Example: the cluster `{proxy-url: "", insecure-skip-tls-verify: false, other: 5}` is written as
/// `{server: ""}`.
pub fn as_written(config: &Value) -> Value {
    let mut config = config.clone();
    fill_modes(&mut config);
    written(&CONFIG, &config)
}

fn written(of: &Type, found: &Value) -> Value {
    match (of, found) {
        (Text, Value::Null) => "".into(),
        (Bool, Value::Null) => false.into(),
        (Bytes, Value::String(text)) => text.replace(['\r', '\n'], "").into(),
        (List(_, each), Value::Array(items)) => items.iter().map(|item| written(each, item)).collect(),
        (Map(_, each), Value::Object(map)) => {
            let mut sorted: Vec<(String, Value)> =
                map.iter().map(|(key, item)| (key.clone(), written(each, item))).collect();
            sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(sorted.into_iter().collect())
        }
        (Struct(_, fields), _) => {
            let mut kept = Fields::new();
            for &(key, ref of, always) in *fields {
                let item = &found[key];
                // A pointer to a struct is written also if that is empty: `exec: {}`.
                if !always && item.is_null() {
                    continue;
                }
                let item = written(of, item);
                if always || !is_unset(&item) {
                    kept.insert(key.into(), item);
                }
            }
            Value::Object(kept)
        }
        _ => found.clone(),
    }
}

/// Returns true for a value that `omitempty` leaves out.
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
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

/// Returns Go's word for a kind of JSON value.
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

/// Checks that no two entries of a list have one name. Go's message ends with the whole list, which
/// has the keys and tokens of its entries: it is left out.
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
mod tests;
