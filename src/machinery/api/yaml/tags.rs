//! Scalars behind a core tag: `!!int "0x1f"`, `!!timestamp 2001-01-01` (`resolve.go` in
//! go.yaml.in/yaml/v2).

use super::plain::{self, Words};
use crate::schema;
use base64::Engine as _;
use regex::Regex;
use std::sync::LazyLock;

/// What `!!` stands for.
pub(super) const PREFIX: &str = "tag:yaml.org,2002:";
/// What a core tag begins with, without its `!`, in a respelled text. The YAML library hands a tag
/// over only if it is one of an application.
const CORE: &str = "yaml.org/";
/// `<<` in a respelled text, if it has no quotes: the key of a merge. In quotes it is any key.
pub(super) const MERGE_KEY: &str = "!<!yaml.org/merge> <<";

/// A scalar as Go's YAML library resolves it.
#[derive(Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// A number of 0 and more.
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
}

/// What a tag says of a scalar.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    /// How it is read: `int` of `!!int`.
    Core(String),
    /// Another tag of YAML's own, e.g. `!!map`.
    Other,
    /// The tag of an application, e.g. `!foo`: the scalar is text.
    Application,
}

/// Returns what a tag is that has no handle any longer: `tag:yaml.org,2002:int`.
pub(super) fn kind(tag: &str) -> Kind {
    match tag.strip_prefix(PREFIX) {
        Some(name @ ("binary" | "bool" | "float" | "int" | "merge" | "null" | "str" | "timestamp")) => {
            Kind::Core(name.to_string())
        }
        Some(_) => Kind::Other,
        None => Kind::Application,
    }
}

/// Returns the spelling of a core tag in a respelled text, whatever `!` stands for in it.
pub(super) fn respelled(name: &str) -> String {
    format!("!<!{CORE}{name}>")
}

/// Returns the name of a core tag as the YAML library hands it over.
pub(super) fn handed(tag: &str) -> Option<&str> {
    tag.strip_prefix(CORE)
}

/// Reads a text as its core tag says.
///
/// # Errors
/// Go's message for text that is something else.
pub(super) fn resolve(tag: &str, text: &str) -> Result<Scalar, String> {
    match tag {
        "str" | "merge" => return Ok(Scalar::Text(text.to_string())),
        "binary" => return binary(text),
        "timestamp" if is_timestamp(text) => return Ok(Scalar::Text(text.to_string())),
        _ => {}
    }
    match (tag, untagged(text)) {
        ("bool", found @ Scalar::Bool(_))
        | ("null", found @ Scalar::Null)
        | ("int", found @ (Scalar::Signed(_) | Scalar::Unsigned(_)))
        | ("float", found @ Scalar::Float(_)) => Ok(found),
        ("float", Scalar::Signed(number)) => Ok(Scalar::Float(number as f64)),
        ("float", Scalar::Unsigned(number)) if i64::try_from(number).is_ok() => {
            Ok(Scalar::Float(number as f64))
        }
        (_, found) => Err(format!("cannot decode !!{} `{text}` as a !!{tag}", found.kind())),
    }
}

impl Scalar {
    fn kind(&self) -> &'static str {
        match self {
            Scalar::Null => "null",
            Scalar::Bool(_) => "bool",
            Scalar::Unsigned(_) | Scalar::Signed(_) => "int",
            Scalar::Float(_) => "float",
            Scalar::Text(_) => "str",
        }
    }
}

/// True for a text that stays text without a tag and quotes.
pub(super) fn is_text(text: &str) -> bool {
    matches!(untagged(text), Scalar::Text(_)) && !is_timestamp(text)
}

/// Returns the text as it is read without tag and quotes.
fn untagged(text: &str) -> Scalar {
    let respelled = plain::respelled(text, Words::All);
    let word = respelled.as_deref().unwrap_or(text);
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if let Ok(number) = word.parse() {
        return Scalar::Unsigned(number);
    }
    if let Ok(number) = word.parse() {
        return Scalar::Signed(number);
    }
    match plain::float(word) {
        Some(number) => Scalar::Float(number),
        None => Scalar::Text(text.to_string()),
    }
}

fn binary(text: &str) -> Result<Scalar, String> {
    let packed: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let bytes = schema::BASE64
        .decode(packed)
        .map_err(|_| "!!binary value contains invalid base64 data".to_string())?;
    // Go writes each byte that is no UTF-8 as U+FFFD into JSON.
    let mut decoded = String::new();
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        decoded.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Ok(Scalar::Text(decoded))
}

/// Returns whether a text is one of Go's four forms of a date.
fn is_timestamp(text: &str) -> bool {
    static FORM: LazyLock<Option<Regex>> = LazyLock::new(|| {
        const DATE: &str = r"^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})";
        const TIME: &str = r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:\.[0-9]+)?";
        const ZONE: &str = r"(?:Z|[-+]([0-9]{2}):([0-9]{2}))";
        Regex::new(&format!("{DATE}(?:[Tt]{TIME}{ZONE}| {TIME})?$")).ok()
    });
    let Some(parts) = FORM.as_ref().and_then(|form| form.captures(text)) else { return false };
    // A part that is missing is 0.
    let part = |at: usize| parts.get(at).and_then(|part| part.as_str().parse::<u32>().ok()).unwrap_or(0);
    let is_time = |at: usize| part(at) < 24 && part(at + 1) < 60 && part(at + 2) < 60;
    chrono::NaiveDate::from_ymd_opt(part(1) as i32, part(2), part(3)).is_some()
        && is_time(4)
        && is_time(9)
        && part(7) <= 24
        && part(8) < 60
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As sigs.k8s.io/yaml 1.6 resolves them.
    #[test]
    fn scalars_are_what_their_tag_says() {
        for (tag, text, want) in [
            ("bool", "yes", Scalar::Bool(true)),
            ("bool", "Off", Scalar::Bool(false)),
            ("null", "", Scalar::Null),
            ("null", "~", Scalar::Null),
            ("int", "0x1f", Scalar::Unsigned(31)),
            ("int", "017", Scalar::Unsigned(15)),
            ("int", "-1_0", Scalar::Signed(-10)),
            ("int", "18446744073709551615", Scalar::Unsigned(u64::MAX)),
            ("float", "1", Scalar::Float(1.0)),
            ("float", "0x10", Scalar::Float(16.0)),
            ("float", ".1_5", Scalar::Float(0.15)),
            ("float", "-.inf", Scalar::Float(f64::NEG_INFINITY)),
            ("str", "null", Scalar::Text("null".into())),
        ] {
            assert_eq!(resolve(tag, text), Ok(want), "!!{tag} {text}");
        }
        for (tag, text, found) in [
            ("bool", "1", "int"),
            ("bool", "", "null"),
            ("null", "x", "str"),
            ("int", "5.0", "float"),
            ("int", "18446744073709551616", "float"),
            ("int", "true", "bool"),
            ("int", "08", "float"),
            ("float", "18446744073709551615", "int"),
            ("float", "1e400", "str"),
            ("timestamp", "x", "str"),
            ("timestamp", "2001-13-45", "str"),
            ("timestamp", "5", "int"),
            ("timestamp", "", "null"),
        ] {
            let want = format!("cannot decode !!{found} `{text}` as a !!{tag}");
            assert_eq!(resolve(tag, text), Err(want), "!!{tag} {text}");
        }
    }

    #[test]
    fn timestamps_have_four_forms() {
        for text in ["2001-01-01", "2001-1-1", "2001-12-14t21:59:43.10Z", "2001-12-14 21:59:43"] {
            assert_eq!(resolve("timestamp", text), Ok(Scalar::Text(text.into())));
        }
        for text in ["2001-02-30", "2001-12-14T21:59:43", "2001-12-14 24:00:00", "01-01-01"] {
            assert!(resolve("timestamp", text).is_err(), "{text}");
        }
    }
}
