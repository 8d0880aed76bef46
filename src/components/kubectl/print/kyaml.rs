//! KYAML (`-o kyaml`): YAML in braces, in which texts can be told from other values. Texts are
//! always quoted, keys only where YAML could take them for something else, and every entry ends
//! with a comma.
//!
//! ```text
//! ---
//! {
//!   apiVersion: "v1",
//!   data: {
//!     a: "1",
//!     "true": "\
//!        of\n\
//!        two lines\n\
//!       ",
//!   },
//!   items: [{
//!     port: 80,
//!   }],
//! }
//! ```

use super::json;
use api::gostr::is_print;
use serde_json::{Map, Value};

/// One document, with its header and a line end. `sorted`: as an object that Go keeps in a map.
pub(crate) fn to_string(value: &Value, sorted: bool) -> String {
    let mut out = Writer { out: "---\n".into(), sorted };
    out.node(value, 0);
    out.out + "\n"
}

struct Writer {
    out: String,
    sorted: bool,
}

impl Writer {
    fn indent(&mut self, level: usize) {
        self.out.extend(std::iter::repeat_n("  ", level));
    }

    fn node(&mut self, value: &Value, level: usize) {
        match value {
            Value::Object(map) if map.is_empty() => self.out.push_str("{}"),
            Value::Array(list) if list.is_empty() => self.out.push_str("[]"),
            Value::Object(map) => self.map(map, level),
            Value::Array(list) => self.list(list, level),
            Value::String(text) => self.text(text, level + 1),
            other => self.out.push_str(&json::compact(other)),
        }
    }

    fn map(&mut self, map: &Map<String, Value>, level: usize) {
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        if self.sorted {
            entries.sort_by_key(|(key, _)| *key);
        }
        self.out.push_str("{\n");
        for (key, value) in entries {
            self.indent(level + 1);
            match is_plain(key) {
                true => self.out.push_str(key),
                false => {
                    self.out.push('"');
                    key.chars().for_each(|c| self.escaped(c, false));
                    self.out.push('"');
                }
            }
            self.out.push_str(": ");
            self.node(value, level + 1);
            self.out.push_str(",\n");
        }
        self.indent(level);
        self.out.push('}');
    }

    fn list(&mut self, list: &[Value], level: usize) {
        self.out.push('[');
        if list.iter().all(|item| item.is_object() || item.is_array()) {
            for (at, item) in list.iter().enumerate() {
                self.out.push_str(if at > 0 { ", " } else { "" });
                self.node(item, level);
            }
        } else {
            self.out.push('\n');
            for item in list {
                self.indent(level + 1);
                self.node(item, level + 1);
                self.out.push_str(",\n");
            }
            self.indent(level);
        }
        self.out.push(']');
    }

    /// A text of several lines has each on a line of its own.
    fn text(&mut self, text: &str, level: usize) {
        self.out.push('"');
        let lines = text.contains('\n');
        if lines {
            self.out.push_str("\\\n");
        }
        for c in text.chars() {
            if self.out.ends_with('\n') {
                self.indent(level);
                // YAML drops the spaces that a line begins with, up to one that is escaped.
                self.out.push(if c.is_whitespace() && c != '\n' { '\\' } else { ' ' });
            }
            self.escaped(c, true);
        }
        if lines {
            if !self.out.ends_with('\n') {
                self.out.push_str("\\\n");
            }
            self.indent(level);
        }
        self.out.push('"');
    }

    /// `folds`: a line end in the text is one here.
    fn escaped(&mut self, c: char, folds: bool) {
        match c {
            '\n' if folds => self.out.push_str("\\n\\\n"),
            '\t' if folds => self.out.push('\t'),
            '"' | '\\' => self.out.extend(['\\', c]),
            '\n' => self.out.push_str("\\n"),
            '\t' => self.out.push_str("\\t"),
            '\r' => self.out.push_str("\\r"),
            '\u{7}' => self.out.push_str("\\a"),
            '\u{8}' => self.out.push_str("\\b"),
            '\u{b}' => self.out.push_str("\\v"),
            '\u{c}' => self.out.push_str("\\f"),
            '\0' => self.out.push_str("\\0"),
            '\u{1b}' => self.out.push_str("\\e"),
            '\u{85}' => self.out.push_str("\\N"),
            '\u{a0}' => self.out.push_str("\\_"),
            '\u{2028}' => self.out.push_str("\\L"),
            '\u{2029}' => self.out.push_str("\\P"),
            c if is_print(c) => self.out.push(c),
            c => self.out.push_str(&match c as u32 {
                code @ (..0x20 | 0x7f) => format!("\\x{code:02x}"),
                code @ ..0x10000 => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
}

/// Returns whether a key needs no quotes: it is a word, and every YAML parser takes it for a text.
fn is_plain(key: &str) -> bool {
    let last = key.chars().count().saturating_sub(1);
    let is_word = key.chars().enumerate().all(|(at, c)| {
        c.is_alphanumeric() || c == '_' || (at > 0 && at < last && matches!(c, '-' | '.' | '/'))
    });
    is_word && !key.is_empty() && !is_ambiguous(key)
}

/// Returns whether a YAML parser may take the unquoted text for something else: null, a boolean, a
/// number or a time.
fn is_ambiguous(text: &str) -> bool {
    let lower = text.to_lowercase();
    let words = ["null", "true", "t", "y", "yes", "on", "false", "f", "n", "no", "off"];
    let digits = text.replace('_', "");
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    // A number that is out of range is none to Go.
    let in_base = |prefixes: [&str; 2], base: u32| {
        prefixes.iter().any(|prefix| {
            let rest = digits.strip_prefix(prefix).filter(|rest| rest.chars().all(|c| c.is_digit(base)));
            rest.is_some_and(|rest| i64::from_str_radix(rest, base).is_ok())
        })
    };
    let is_float = |n: f64| n.is_finite() || !digits.contains(|c: char| c.is_ascii_digit());
    words.contains(&lower.as_str())
        || digits.parse::<f64>().is_ok_and(is_float)
        || in_base(["0x", "0X"], 16)
        || in_base(["0b", "0B"], 2)
        || in_base(["0o", "0O"], 8)
        || is_date(text)
}

/// `2026-1-2`; a time has a colon, with which a key is quoted anyway.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |text: &str, most: i8| text.parse::<i8>().is_ok_and(|n| (1..=most).contains(&n));
    year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()) && number(month, 12) && number(day, 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_says_what_it_is() {
        let object = json!({"kind": "X", "apiVersion": "v1", "n": 1, "yes": true, "none": null,
            "e": {}, "l": [], "words": ["a", "b"], "ports": [{"port": 80}, {"port": 81}], "mixed": [[1e21], "x"]});
        let want = "---\n{\n  apiVersion: \"v1\",\n  e: {},\n  kind: \"X\",\n  l: [],\n  mixed: [\n    [\n      1e+21,\n    ],\n    \"x\",\n  ],\n  \"n\": 1,\n  none: null,\n  ports: [{\n    port: 80,\n  }, {\n    port: 81,\n  }],\n  words: [\n    \"a\",\n    \"b\",\n  ],\n  \"yes\": true,\n}\n";
        assert_eq!(to_string(&object, true), want);
    }

    #[test]
    fn texts_of_several_lines_keep_them() {
        let kyaml = |text: &str| to_string(&json!({ "a": text }), false);
        assert_eq!(kyaml("one\n  two\n"), "---\n{\n  a: \"\\\n     one\\n\\\n    \\  two\\n\\\n    \",\n}\n");
        assert_eq!(kyaml("one\ntwo"), "---\n{\n  a: \"\\\n     one\\n\\\n     two\\\n    \",\n}\n");
        assert_eq!(kyaml("q\"\\\t\u{7f}\u{200b}é"), "---\n{\n  a: \"q\\\"\\\\\t\\x7f\\u200bé\",\n}\n");
    }

    #[test]
    fn keys_are_quoted_where_they_could_be_something_else() {
        for plain in ["a", "app.kubernetes.io/name", "x_y", "1.2.3", "0x", "2026-13-1", "1e400", "한글"] {
            assert!(is_plain(plain), "{plain}");
        }
        for quoted in [
            "", "true", "No", "f", "null", "1", "1e3", "0x1f", "0b1", "1_000", "inf", "nan", ".a", "a-",
            "a b", "2026-1-2",
        ] {
            assert!(!is_plain(quoted), "{quoted}");
        }
    }
}
