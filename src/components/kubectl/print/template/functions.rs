//! What a pipeline may call.

use super::{printed, truth};
use crate::gostr;
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

fn order(a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).ok_or_else(|| "incompatible types for comparison".to_string())
        }
        _ => Err("incompatible types for comparison".into()),
    }
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
    let two = || match args.as_slice() {
        [a, b, ..] => Ok((a, b)),
        _ => Err(format!("wrong number of args for {word}: want 2 got {}", args.len())),
    };
    Ok(match word {
        // With arguments, `Run::decide` evaluates them one after the other.
        "and" | "or" => first()?.clone(),
        "not" => (!truth(first()?)).into(),
        "eq" => {
            let (a, _) = two()?;
            args[1..].iter().any(|b| a == b || order(a, b) == Ok(Ordering::Equal)).into()
        }
        "ne" => (two()?.0 != two()?.1).into(),
        "lt" => (order(two()?.0, two()?.1)? == Ordering::Less).into(),
        "le" => (order(two()?.0, two()?.1)? != Ordering::Greater).into(),
        "gt" => (order(two()?.0, two()?.1)? == Ordering::Greater).into(),
        "ge" => (order(two()?.0, two()?.1)? != Ordering::Less).into(),
        "len" => match first()? {
            Value::String(s) => s.len().into(),
            Value::Array(a) => a.len().into(),
            Value::Object(o) => o.len().into(),
            _ => return Err("error calling len: len of untyped nil".into()),
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
        "printf" => formatted(&printed(first()?), &args[1..]).into(),
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

/// Wider is nothing that anybody means; Go has a limit too.
const WIDTH_MAX: usize = 10_000;

fn size(digits: &str) -> Option<usize> {
    digits.parse().ok().filter(|width| *width <= WIDTH_MAX)
}

/// A whole number in another base or as a character; of text, the bytes in hexadecimal digits.
fn in_base(verb: char, arg: &Value) -> String {
    let digits = |n: u64| match verb {
        'x' => format!("{n:x}"),
        'X' => format!("{n:X}"),
        'o' => format!("{n:o}"),
        _ => format!("{n:b}"),
    };
    match (verb, arg, arg.as_i64()) {
        ('c', _, Some(n)) => {
            u32::try_from(n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
        }
        ('x', Value::String(text), _) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('X', Value::String(text), _) => text.bytes().map(|b| format!("{b:02X}")).collect(),
        (_, _, Some(n)) => format!("{}{}", if n < 0 { "-" } else { "" }, digits(n.unsigned_abs())),
        _ => printed(arg),
    }
}

/// `%s %d %v %q %x %-10s %05d`
fn formatted(format: &str, args: &[Value]) -> String {
    let (mut out, mut args, mut chars) = (String::new(), args.iter(), format.chars().peekable());
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        while chars.peek().is_some_and(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | '+')) {
            spec.extend(chars.next());
        }
        let verb = chars.next().unwrap_or('%');
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(arg) = args.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let text = match verb {
            verb if arg.is_null() && verb != 'v' => format!("%!{verb}(<nil>)"),
            'q' => gostr::quote(&printed(arg)),
            'x' | 'X' | 'o' | 'b' | 'c' => in_base(verb, arg),
            'f' => format!(
                "{:.*}",
                spec.split_once('.').and_then(|(_, p)| size(p)).unwrap_or(6),
                arg.as_f64().unwrap_or(0.0)
            ),
            _ => formatted_value(arg),
        };
        let width = size(spec.split('.').next().unwrap_or("").trim_matches(['-', '+'])).unwrap_or(0);
        let zero = spec.starts_with('0') && matches!(verb, 'd' | 'x' | 'X' | 'o' | 'b');
        let pad = width.saturating_sub(text.chars().count());
        match (spec.starts_with('-'), zero) {
            (true, _) => out.push_str(&format!("{text}{}", " ".repeat(pad))),
            (_, true) => {
                let (sign, digits) = text.split_at(usize::from(text.starts_with('-')));
                out.push_str(&format!("{sign}{}{digits}", "0".repeat(pad)));
            }
            _ => out.push_str(&format!("{}{text}", " ".repeat(pad))),
        }
    }
    out
}
