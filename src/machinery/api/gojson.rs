//! JSON as Go's encoder writes it. It escapes `<`, `>`, `&`, U+2028 and U+2029 in texts (`\u003c`),
//! so that it can stand inside of HTML: upstream's serializer of answers and stored custom objects
//! (`serializer/json/json.go`) and kubectl's printer (`printers/json.go`) leave that on. Only
//! [`to_unescaped_vec`] does not.

use super::gostr;
use serde::Serialize as _;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};
use serde_json::{Number, Value};
use std::io::{self, Write};

/// Returns the bytes of an object as they are sent: compact, keys in the order they have. Floats
/// are written as Go writes them, `0.000001` and not `1e-6`. In texts and keys `<`, `>`, `&`,
/// U+2028 and U+2029 are escaped, as Go does it.
pub fn to_vec(value: &Value) -> Vec<u8> {
    compact_bytes(value, true)
}

/// As [`to_vec`], but `<`, `>` and `&` stay: for stored objects whose kinds are Kubernetes' own.
/// Upstream stores them as protobuf, which escapes nothing; a page of HTML in a ConfigMap must not
/// become larger than the store takes.
pub fn to_unescaped_vec(value: &Value) -> Vec<u8> {
    compact_bytes(value, false)
}

/// Returns how many bytes [`to_vec`] takes beyond those of [`to_unescaped_vec`], which are given.
///
/// ```text
/// {"a":"x"}    0
/// {"a":"<"}    5    \u003c in place of one byte
/// ```
pub fn added_by_escapes(unescaped: &[u8]) -> usize {
    let added = |(at, byte): (usize, &u8)| match byte {
        b'<' | b'>' | b'&' => 5_usize,
        // U+2028 and U+2029 have three bytes.
        0xe2 if matches!(unescaped.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) => 3,
        _ => 0,
    };
    unescaped.iter().enumerate().map(added).sum()
}

fn compact_bytes(value: &Value, escapes_html: bool) -> Vec<u8> {
    let mut out = vec![];
    let style = GoStyle { inner: CompactFormatter, escapes_html };
    let mut serializer = Serializer::with_formatter(&mut out, style);
    let _ = value.serialize(&mut serializer); // a Vec refuses nothing, and all keys are text
    out
}

/// Writes what [`to_vec`] returns, with line breaks and two spaces for each level.
///
/// # Errors
/// Those of `out`.
pub fn write_indented(value: &Value, out: impl Write) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(
        out,
        GoStyle { inner: PrettyFormatter::new(), escapes_html: true },
    ))
}

/// Returns a number as Go's encoder writes it.
pub fn number(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) => gostr::float(float),
        None => number.to_string(),
    }
}

/// Characters that mean something in HTML, or end a line in JavaScript.
const HTML: [char; 5] = ['<', '>', '&', '\u{2028}', '\u{2029}'];

/// Another formatter, but with the floats and the texts of Go.
struct GoStyle<F> {
    inner: F,
    escapes_html: bool,
}

impl<F: Formatter> Formatter for GoStyle<F> {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(gostr::float(value).as_bytes())
    }
    /// Writes text that needs no escape by the rules of JSON.
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(HTML).filter(|_| self.escapes_html) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut chars = rest[at..].chars();
            if let Some(c) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.begin_array(writer)
    }
    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_array(writer)
    }
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.inner.begin_array_value(writer, first)
    }
    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_array_value(writer)
    }
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.begin_object(writer)
    }
    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_object(writer)
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.inner.begin_object_key(writer, first)
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.begin_object_value(writer)
    }
    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_object_value(writer)
    }
}

/// Encodes a value on one line, with its keys sorted, and `<`, `>` and `&` escaped: how objects are
/// encoded for annotations and patches.
pub fn compact(value: &Value) -> String {
    let mut out = String::new();
    write(value, None, 0, true, &mut out);
    out
}

/// Encodes a value on one line, with its keys in the order they have.
pub fn compact_ordered(value: &Value) -> String {
    let mut out = String::new();
    write(value, None, 0, false, &mut out);
    out
}

/// Encodes a value with indents; `sorted`: with its keys in alphabetical order, else as they are.
pub fn pretty(value: &Value, indent: &str, sorted: bool) -> String {
    let mut out = String::new();
    write(value, Some(indent), 0, sorted, &mut out);
    out
}

fn newline(indent: Option<&str>, depth: usize, out: &mut String) {
    if let Some(indent) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(indent, depth));
    }
}

fn write(value: &Value, indent: Option<&str>, depth: usize, sorted: bool, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&number(n)),
        Value::String(s) => string(s, out),
        Value::Array(list) if list.is_empty() => out.push_str("[]"),
        Value::Array(list) => {
            out.push('[');
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                newline(indent, depth + 1, out);
                write(item, indent, depth + 1, sorted, out);
            }
            newline(indent, depth, out);
            out.push(']');
        }
        Value::Object(map) if map.is_empty() => out.push_str("{}"),
        Value::Object(map) => {
            let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
            if sorted {
                pairs.sort_by_key(|(k, _)| *k);
            }
            out.push('{');
            for (i, (key, item)) in pairs.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                newline(indent, depth + 1, out);
                string(key, out);
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write(item, indent, depth + 1, sorted, out);
            }
            newline(indent, depth, out);
            out.push('}');
        }
    }
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if HTML.contains(&c) => out.push_str(&format!("\\u{:04x}", c as u32)),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn as_go_writes_it() {
        let value = json!({"b": [1, {}], "a": "<x & \"y\">\u{7f}", "c": [], "f": 1.0});
        assert_eq!(
            compact(&value),
            "{\"a\":\"\\u003cx \\u0026 \\\"y\\\"\\u003e\u{7f}\",\"b\":[1,{}],\"c\":[],\"f\":1}"
        );
        assert_eq!(
            pretty(&json!({"b": [1], "a": {}}), "    ", true),
            "{\n    \"a\": {},\n    \"b\": [\n        1\n    ]\n}"
        );
    }

    /// As Go's `json.Marshal` writes them.
    #[test]
    fn floats_of_objects_are_those_of_go() {
        let value = json!({"z": [1e-6, 1e20, 1.844_674_407_370_955_2e19, 1e21, 1e-7], "a": {"b": 0.5, "c": 7}, "e": []});
        let floats = "0.000001,100000000000000000000,18446744073709552000,1e+21,1e-7";
        let compact = format!(r#"{{"z":[{floats}],"a":{{"b":0.5,"c":7}},"e":[]}}"#);
        assert_eq!(String::from_utf8(to_vec(&value)).unwrap(), compact);
        let mut out = vec![];
        write_indented(&json!({"z": [1e-6], "a": {}}), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\n  \"z\": [\n    0.000001\n  ],\n  \"a\": {}\n}");
        let whole = json!({"text": "a\n\u{e9}", "list": [null, true, -1, u64::MAX]});
        assert_eq!(to_vec(&whole), whole.to_string().into_bytes());
    }

    /// As Go's `json.Marshal` and `json.MarshalIndent` write them.
    #[test]
    fn texts_of_objects_are_those_of_go() {
        let value = json!({"a<b": "<&\u{2028}\"\u{2029}>", "k": "é\n&&"});
        let want = r#"{"a\u003cb":"\u003c\u0026\u2028\"\u2029\u003e","k":"é\n\u0026\u0026"}"#;
        assert_eq!(String::from_utf8(to_vec(&value)).unwrap(), want);
        assert_eq!(compact(&value), want, "both encoders write the same");
        let unescaped = to_unescaped_vec(&value);
        assert_eq!(unescaped, value.to_string().into_bytes());
        assert_eq!(unescaped.len() + added_by_escapes(&unescaped), want.len());
        assert_eq!(added_by_escapes("\u{2027}\u{202a}\u{e2}".as_bytes()), 0);
        assert_eq!(added_by_escapes(b"\xe2\x80"), 0, "the end of a text that is none");
        let mut out = vec![];
        write_indented(&json!({"a": "<"}), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\n  \"a\": \"\\u003c\"\n}");
        assert_eq!(serde_json::from_slice::<Value>(&to_vec(&value)).unwrap(), value);
    }
}
