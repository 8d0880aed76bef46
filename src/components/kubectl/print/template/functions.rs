//! The functions that a pipeline may call.

use super::printf::{formatted, type_of};
use super::values::{printed, truth};
use api::gostr;
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

/// The order of two values, for `lt`, `le`, `gt` and `ge`.
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

/// Reads an index into a list or a text of this length. The length itself is valid, too: a slice
/// may end there.
fn position(index: &Value, length: usize) -> Result<usize, String> {
    match index.as_i64() {
        Some(at) => {
            let found = usize::try_from(at).ok().filter(|at| *at <= length);
            found.ok_or_else(|| format!("index out of range: {at}"))
        }
        None if index.is_null() => Err("cannot index slice/array with nil".into()),
        None => Err(format!("cannot index slice/array with type {}", type_of(index))),
    }
}

/// `index x 1 "a"` is `x[1]["a"]`. The elements of a text are its bytes, as numbers.
fn indexed(of: &Value, keys: &[Value]) -> Result<Value, String> {
    if of.is_null() {
        return Err("index of untyped nil".into());
    }
    let mut here = of.clone();
    for key in keys {
        here = match (&here, key) {
            (Value::Null, _) => return Err("index of nil pointer".into()),
            (Value::Array(list), key) => {
                let found = list.get(position(key, list.len())?);
                found.cloned().ok_or("reflect: slice index out of range")?
            }
            (Value::String(text), key) => {
                let found = text.as_bytes().get(position(key, text.len())?);
                found.map(|byte| Value::from(*byte)).ok_or("reflect: string index out of range")?
            }
            (Value::Object(map), Value::String(key)) => map.get(key).cloned().unwrap_or_default(),
            (Value::Object(_), Value::Null) => return Err("value is nil; should be of type string".into()),
            (Value::Object(_), key) => {
                return Err(format!("value has type {}; should be string", type_of(key)));
            }
            (other, _) => return Err(format!("can't index item of type {}", type_of(other))),
        };
    }
    Ok(here)
}

/// `x[1:2]` of a string (by bytes) or a list.
fn slice(of: &Value, ends: &[Value]) -> Result<Value, String> {
    let length = match of {
        Value::Null => return Err("slice of untyped nil".into()),
        _ if ends.len() > 3 => return Err(format!("too many slice indexes: {}", ends.len())),
        Value::String(_) if ends.len() == 3 => return Err("cannot 3-index slice a string".into()),
        Value::String(s) => s.len(),
        Value::Array(a) => a.len(),
        other => return Err(format!("can't slice item of type {}", type_of(other))),
    };
    let mut at = [0, length, length];
    for (slot, end) in at.iter_mut().zip(ends) {
        *slot = position(end, length)?;
    }
    let [from, to, most] = at;
    for (low, high) in [(from, to), (to, most)] {
        if low > high {
            return Err(format!("invalid slice index: {low} > {high}"));
        }
    }
    Ok(match of {
        Value::Array(list) => list[from..to].into(),
        other => String::from_utf8_lossy(&printed(other).as_bytes()[from..to]).into_owned().into(),
    })
}

/// Refuses a call with a wrong number of arguments. `not` takes exactly one, `index` one or more.
fn check_count(word: &str, count: usize) -> Result<(), String> {
    let (least, exactly) = match word {
        "not" | "len" | "base64decode" => (1, true),
        "ne" | "lt" | "le" | "gt" | "ge" => (2, true),
        "print" | "println" | "html" | "js" | "urlquery" => (0, false),
        _ => (1, false),
    };
    match (exactly, count >= least) {
        (true, _) if count != least => {
            Err(format!("wrong number of args for {word}: want {least} got {count}"))
        }
        (false, false) => Err(format!("wrong number of args for {word}: want at least {least} got {count}")),
        _ => Ok(()),
    }
}

pub(super) fn call(word: &str, args: Vec<Value>) -> Result<Value, String> {
    check_count(word, args.len())?;
    let first = args.first().unwrap_or(&Value::Null);
    let more = args.get(1..).unwrap_or_default();
    let in_call = |why: String| format!("error calling {word}: {why}");
    Ok(match word {
        // With arguments, `Run::decide` evaluates them one after the other.
        "and" | "or" => first.clone(),
        "not" => (!truth(first)).into(),
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => compared(word, &args).map_err(in_call)?.into(),
        "len" => match first {
            Value::String(s) => s.len().into(),
            Value::Array(a) => a.len().into(),
            Value::Object(o) => o.len().into(),
            // Go's `length` asks for the type of a value that is none, and prints that panic.
            Value::Null => {
                let panic = "reflect: call of reflect.Value.Type on zero Value";
                return Err(format!("error calling len: {panic}"));
            }
            other => return Err(format!("error calling len: len of type {}", type_of(other))),
        },
        "index" => indexed(first, more).map_err(in_call)?,
        "slice" => slice(first, more).map_err(in_call)?,
        "exists" => {
            let mut here = first.clone();
            for key in more {
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
        "base64decode" => decoded(first)?.into(),
        "html" => for_html(&together(&args, printed)).into(),
        "js" => for_script(&together(&args, printed)).into(),
        "urlquery" => for_query(&together(&args, printed)).into(),
        "printf" => formatted(&printed(first), more)?.into(),
        "println" => (args.iter().map(formatted_value).collect::<Vec<_>>().join(" ") + "\n").into(),
        _ => together(&args, formatted_value).into(),
    })
}

/// Ends the error about an argument of a wrong type; the argument is what the error points at.
pub(super) const WRONG_TYPE: &str = "value; expected string";

/// Decodes base64 text. Values of other types are refused.
fn decoded(text: &Value) -> Result<String, String> {
    let text = match text {
        Value::String(text) => text,
        Value::Null => return Err(format!("invalid {WRONG_TYPE}")),
        other => return Err(format!("wrong type for {WRONG_TYPE}; got {}", type_of(other))),
    };
    let bytes = gostr::decode_base64(text);
    let bytes = bytes.map_err(|why| format!("error calling base64decode: base64 decode failed: {why}"))?;
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

/// Escapes a text as `template.HTMLEscapeString` does.
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

/// Escapes a text as `template.JSEscapeString` does.
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

/// Escapes a text as `url.QueryEscape` does.
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
