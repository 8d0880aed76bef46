//! What a pipeline may call.

use super::printf::{formatted, type_of};
use super::values::{printed, truth};
use serde_json::Value;
use std::cmp::Ordering;

pub(super) const FUNCTIONS: [&str; 20] = [
    "and",
    "or",
    "not",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "len",
    "index",
    "print",
    "printf",
    "println",
    "exists",
    "base64decode",
    "html",
    "js",
    "slice",
    "urlquery",
];

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "[]interface {}",
        _ => "interface {}",
    }
}

const INCOMPATIBLE: &str = "incompatible types for comparison";

/// The type of a value that Go's comparisons know; none for nil, lists and maps.
fn basic(value: &Value) -> Option<&'static str> {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        known => Some(type_of(known)),
    }
}

/// `eq`. Values of different types are not compared, but nothing is equal to a missing value.
///
/// Example: `eq 1 1.0` and `eq 1 "1"` are errors, `eq .missing 1` is false.
fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    if a.is_null() || b.is_null() {
        return Ok(a.is_null() && b.is_null());
    }
    match (basic(a), basic(b)) {
        (None, None) => {
            Err(format!("non-comparable type {}: {}", formatted("%s", std::slice::from_ref(a))?, type_of(a)))
        }
        (of_a, of_b) if of_a == of_b => Ok(a == b),
        _ => Err(INCOMPATIBLE.into()),
    }
}

/// `lt` and its like.
fn order(a: &Value, b: &Value) -> Result<Ordering, String> {
    let (Some(of_a), Some(of_b)) = (basic(a), basic(b)) else {
        return Err("invalid type for comparison".into());
    };
    match (a, b) {
        _ if of_a != of_b => Err(INCOMPATIBLE.into()),
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(_), Value::Number(_)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => a.as_f64().partial_cmp(&b.as_f64()).ok_or_else(|| INCOMPATIBLE.to_string()),
        },
        _ => Err("invalid type for comparison".into()),
    }
}

/// Calls a function that compares.
fn compared(word: &str, args: &[Value]) -> Result<bool, String> {
    let [a, b, ..] = args else {
        return Err("missing argument for comparison".into());
    };
    Ok(match word {
        "eq" => {
            for b in &args[1..] {
                if equal(a, b)? {
                    return Ok(true);
                }
            }
            false
        }
        "ne" => !equal(a, b)?,
        "lt" => order(a, b)?.is_lt(),
        "le" => order(a, b)?.is_le(),
        "gt" => order(a, b)?.is_gt(),
        _ => order(a, b)?.is_ge(),
    })
}

/// `x[1:2]` of a string (by bytes) or a list.
fn slice(of: &Value, ends: &[Value]) -> Result<Value, String> {
    let length = match of {
        Value::String(s) => s.len(),
        Value::Array(a) => a.len(),
        _ => return Err("error calling slice: slice of untyped nil".into()),
    };
    let at = |i: usize, default: usize| match ends.get(i) {
        None => Ok(default),
        Some(end) => end
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| *n <= length)
            .ok_or(format!("error calling slice: index out of range: {}", printed(end))),
    };
    let (from, to) = (at(0, 0)?, at(1, length)?);
    if from > to {
        return Err(format!("error calling slice: invalid slice index: {from} > {to}"));
    }
    Ok(match of {
        Value::Array(list) => list[from..to].into(),
        other => String::from_utf8_lossy(&printed(other).as_bytes()[from..to]).into_owned().into(),
    })
}

pub(super) fn call(word: &str, args: Vec<Value>) -> Result<Value, String> {
    let first =
        || args.first().ok_or_else(|| format!("wrong number of args for {word}: want at least 1 got 0"));
    Ok(match word {
        // With arguments, `Run::decide` evaluates them one after the other.
        "and" | "or" => first()?.clone(),
        "not" => (!truth(first()?)).into(),
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => {
            if args.len() < 2 && word != "eq" {
                return Err(format!("wrong number of args for {word}: want 2 got {}", args.len()));
            }
            first()?;
            let holds = compared(word, &args).map_err(|why| format!("error calling {word}: {why}"))?;
            holds.into()
        }
        "len" => match first()? {
            Value::String(s) => s.len().into(),
            Value::Array(a) => a.len().into(),
            Value::Object(o) => o.len().into(),
            Value::Null => return Err("error calling len: len of untyped nil".into()),
            other => return Err(format!("error calling len: len of type {}", type_of(other))),
        },
        "index" => {
            let mut here = first()?.clone();
            for key in &args[1..] {
                here = match (&here, key) {
                    (Value::Object(map), Value::String(key)) => map.get(key).cloned().unwrap_or(Value::Null),
                    (Value::Array(list), Value::Number(n)) => {
                        let at = n.as_i64().unwrap_or(-1);
                        let found = usize::try_from(at).ok().and_then(|at| list.get(at));
                        found.cloned().ok_or(format!("error calling index: index out of range: {at}"))?
                    }
                    _ => return Err("error calling index: index of untyped nil".into()),
                };
            }
            here
        }
        "slice" => slice(first()?, &args[1..])?,
        "exists" => {
            let mut here = first()?.clone();
            for key in &args[1..] {
                here = match key {
                    Value::String(key) => here.get(key).cloned().unwrap_or(Value::Null),
                    Value::Number(n) => {
                        here.get(n.as_u64().unwrap_or(0) as usize).cloned().unwrap_or(Value::Null)
                    }
                    _ => Value::Null,
                };
            }
            (!here.is_null()).into()
        }
        "base64decode" => decoded(first()?)?.into(),
        "html" => for_html(&together(&args, printed)).into(),
        "js" => for_script(&together(&args, printed)).into(),
        "urlquery" => for_query(&together(&args, printed)).into(),
        "printf" => formatted(&printed(first()?), &args[1..])?.into(),
        "println" => (args.iter().map(formatted_value).collect::<Vec<_>>().join(" ") + "\n").into(),
        _ => together(&args, formatted_value).into(),
    })
}

/// What base64 text stands for.
fn decoded(text: &Value) -> Result<String, String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(printed(text).trim());
    let bytes = bytes.map_err(|e| format!("error calling base64decode: base64 decode failed: {e}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Values in one text, as Go's `fmt.Sprint`: a space stands between two of which neither is text.
fn together(args: &[Value], show: fn(&Value) -> String) -> String {
    let mut out = String::new();
    for (i, arg) in args.iter().enumerate() {
        if i > 0 && !arg.is_string() && !args[i - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&show(arg));
    }
    out
}

/// A value as Go's `fmt` prints it; a template itself prints nothing as `<no value>`.
fn formatted_value(value: &Value) -> String {
    if value.is_null() { "<nil>".into() } else { printed(value) }
}

/// As `template.HTMLEscapeString`.
fn for_html(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// As `template.JSEscapeString`.
fn for_script(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// As `url.QueryEscape`.
fn for_query(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
