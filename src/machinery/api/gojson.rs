//! JSON as Go's encoder writes it.

use super::gostr;
use serde_json::Value;

/// Compact, keys sorted, `<`, `>` and `&` escaped: how objects are encoded for annotations and
/// patches.
pub fn compact(value: &Value) -> String {
    let mut out = String::new();
    write(value, None, 0, true, &mut out);
    out
}

/// Compact, keys in the order they have.
pub fn compact_ordered(value: &Value) -> String {
    let mut out = String::new();
    write(value, None, 0, false, &mut out);
    out
}

/// Indented; `sorted`: keys in alphabetical order, else as they are.
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
        Value::Number(n) if n.is_f64() => out.push_str(&gostr::float(n.as_f64().unwrap_or(0.0))),
        Value::Number(n) => out.push_str(&n.to_string()),
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
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", c as u32)),
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
}
