//! YAML as Kubernetes writes it (`sigs.k8s.io/yaml`), for `kubectl -o yaml` and for answers of the
//! API server: keys sorted, lists at their key's indentation, libyaml's choice of quotes, lines
//! folded at 80. A text that [`super::parse`] would take for something else is in quotes:
//! `{"no": "1_0"}` becomes `"no": "1_0"`.

mod quotes;

use super::scan::is_break;
use crate::gostr;
use quotes::Style;
use serde_json::Value;
use std::cmp::Ordering;

/// A plain or quoted scalar goes on in the next line after this column.
const WIDTH: usize = 80;

/// One document, with a line end.
pub fn to_string(value: &Value) -> String {
    let mut out = Writer { text: String::new(), column: 0, most: usize::MAX, is_full: false };
    out.document(value);
    out.text
}

/// One document, with a line end, of at most `most` bytes; `None` if it would be longer. Deep
/// nesting makes a hundred times as much of a value as JSON has.
pub fn to_string_within(value: &Value, most: usize) -> Option<String> {
    let mut out = Writer { text: String::new(), column: 0, most, is_full: false };
    out.document(value);
    (!out.is_full).then_some(out.text)
}

struct Writer {
    text: String,
    column: usize,
    /// Bytes of the text, at most.
    most: usize,
    /// There was more. Nothing is added any longer.
    is_full: bool,
}

impl Writer {
    fn document(&mut self, value: &Value) {
        match value {
            Value::Object(map) if !map.is_empty() => self.map(map, 0),
            Value::Array(list) if !list.is_empty() => self.list(list, 0),
            other => {
                self.leaf(other, 0);
                self.newline();
            }
        }
    }

    fn push(&mut self, text: &str) {
        self.is_full |= text.len() > self.most - self.text.len();
        if !self.is_full {
            self.text.push_str(text);
        }
    }

    fn put(&mut self, text: &str) {
        self.push(text);
        self.column += text.chars().count();
    }

    fn newline(&mut self) {
        self.push("\n");
        self.column = 0;
    }

    fn indent(&mut self, depth: usize) {
        self.newline();
        self.put(&" ".repeat(depth));
    }

    /// Entries at `depth`; the cursor stands where the first key goes.
    fn map(&mut self, map: &serde_json::Map<String, Value>, depth: usize) {
        let keys: Vec<&String> = map.keys().collect();
        for (i, key) in sorted_keys(&keys).into_iter().enumerate() {
            if i > 0 {
                self.put(&" ".repeat(depth));
            }
            self.scalar(key, depth, true);
            self.put(":");
            match &map[key] {
                Value::Object(inner) if !inner.is_empty() => {
                    self.indent(depth + 2);
                    self.map(inner, depth + 2);
                }
                Value::Array(list) if !list.is_empty() => {
                    self.indent(depth);
                    self.list(list, depth);
                }
                leaf => {
                    self.put(" ");
                    self.leaf(leaf, depth);
                    self.newline();
                }
            }
        }
    }

    fn list(&mut self, list: &[Value], depth: usize) {
        for (i, item) in list.iter().enumerate() {
            if i > 0 {
                self.put(&" ".repeat(depth));
            }
            self.put("-");
            self.put(" ");
            match item {
                Value::Object(inner) if !inner.is_empty() => self.map(inner, depth + 2),
                Value::Array(inner) if !inner.is_empty() => self.list(inner, depth + 2),
                leaf => {
                    self.leaf(leaf, depth);
                    self.newline();
                }
            }
        }
    }

    fn leaf(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(b) => self.put(if *b { "true" } else { "false" }),
            Value::Number(n) if n.is_f64() => self.put(&gostr::general(n.as_f64().unwrap_or(0.0))),
            Value::Number(n) => self.put(&n.to_string()),
            Value::String(s) => self.scalar(s, depth, false),
            Value::Array(_) => self.put("[]"),
            Value::Object(_) => self.put("{}"),
        }
    }

    fn scalar(&mut self, text: &str, depth: usize, key: bool) {
        match quotes::style(text, key) {
            Style::Plain => self.plain(text, depth + 2, !key),
            Style::Single => self.single(text, depth + 2, !key),
            Style::Double => self.double(text, depth + 2, !key),
            Style::Literal => self.literal(text, depth + 2),
        }
    }

    fn plain(&mut self, text: &str, depth: usize, fold: bool) {
        let mut spaces = false;
        let chars: Vec<char> = text.chars().collect();
        for (i, c) in chars.iter().enumerate() {
            if *c == ' ' {
                if fold && !spaces && self.column > WIDTH && chars.get(i + 1) != Some(&' ') {
                    self.indent(depth);
                } else {
                    self.put(" ");
                }
                spaces = true;
            } else {
                self.put(c.encode_utf8(&mut [0; 4]));
                spaces = false;
            }
        }
    }

    fn single(&mut self, text: &str, depth: usize, fold: bool) {
        self.put("'");
        let chars: Vec<char> = text.chars().collect();
        let (mut spaces, mut breaks) = (false, false);
        for (i, c) in chars.iter().enumerate() {
            let inner = i > 0 && i + 1 < chars.len();
            if *c == ' ' {
                if fold && !spaces && self.column > WIDTH && inner && chars[i + 1] != ' ' {
                    self.indent(depth);
                } else {
                    self.put(" ");
                }
                spaces = true;
            } else if is_break(*c) {
                if !breaks && *c == '\n' {
                    self.newline();
                }
                self.push(c.encode_utf8(&mut [0; 4]));
                self.column = 0;
                breaks = true;
            } else {
                if breaks {
                    self.put(&" ".repeat(depth));
                }
                if *c == '\'' {
                    self.put("'");
                }
                self.put(c.encode_utf8(&mut [0; 4]));
                (spaces, breaks) = (false, false);
            }
        }
        self.put("'");
    }

    fn double(&mut self, text: &str, depth: usize, fold: bool) {
        self.put("\"");
        let chars: Vec<char> = text.chars().collect();
        // libyaml takes every character of such a text for the mark.
        let bom = text.starts_with('\u{feff}');
        let mut spaces = false;
        for (i, c) in chars.iter().enumerate() {
            if bom || !quotes::is_printable(*c) || is_break(*c) || matches!(c, '"' | '\\') {
                self.put(&escaped(*c));
                spaces = false;
            } else if *c == ' ' {
                if fold && !spaces && self.column > WIDTH && i > 0 && i + 1 < chars.len() {
                    self.indent(depth);
                    if chars[i + 1] == ' ' {
                        self.put("\\");
                    }
                } else {
                    self.put(" ");
                }
                spaces = true;
            } else {
                self.put(c.encode_utf8(&mut [0; 4]));
                spaces = false;
            }
        }
        self.put("\"");
    }

    fn literal(&mut self, text: &str, depth: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put("2");
        }
        match text.strip_suffix('\n') {
            None => self.put("-"),
            Some(rest) if rest.is_empty() || rest.ends_with('\n') => self.put("+"),
            Some(_) => {}
        }
        let body = text.strip_suffix('\n').unwrap_or(text);
        for line in body.split('\n') {
            self.newline();
            if !line.is_empty() {
                self.put(&" ".repeat(depth));
                self.put(line);
            }
        }
    }
}

fn escaped(c: char) -> String {
    match c {
        '\0' => "\\0".into(),
        '\u{7}' => "\\a".into(),
        '\u{8}' => "\\b".into(),
        '\t' => "\\t".into(),
        '\n' => "\\n".into(),
        '\u{b}' => "\\v".into(),
        '\u{c}' => "\\f".into(),
        '\r' => "\\r".into(),
        '\u{1b}' => "\\e".into(),
        '"' => "\\\"".into(),
        '\\' => "\\\\".into(),
        '\u{85}' => "\\N".into(),
        '\u{a0}' => "\\_".into(),
        '\u{2028}' => "\\L".into(),
        '\u{2029}' => "\\P".into(),
        c => match c as u32 {
            n @ 0..=0xff => format!("\\x{n:02X}"),
            n @ 0x100..=0xffff => format!("\\u{n:04X}"),
            n => format!("\\U{n:08X}"),
        },
    }
}

/// Sorts keys by [`compare_keys`], which is no total order (`31 < 3a < 23a < 31`): a sort of the
/// standard library may panic then. This one merges, and each key is in order with the next one. Go
/// prints keys that have no order as its map happens to give them.
fn sorted_keys<'a>(keys: &[&'a String]) -> Vec<&'a String> {
    if keys.len() < 2 {
        return keys.to_vec();
    }
    let (left, right) = keys.split_at(keys.len() / 2);
    let mut left = sorted_keys(left).into_iter().peekable();
    let mut right = sorted_keys(right).into_iter().peekable();
    let mut all: Vec<&'a String> = Vec::with_capacity(keys.len());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let is_left = compare_keys(a, b).is_le();
        all.extend(if is_left { left.next() } else { right.next() });
    }
    all.extend(left.chain(right));
    all
}

/// Compares keys where they begin to differ: letters come after other characters, and digits are
/// compared as whole numbers, `a-1 < a2 < a10 < ab` (`keyList.Less` in go.yaml.in/yaml/v2).
fn compare_keys(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else { return a.len().cmp(&b.len()) };
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => return a[at].cmp(&b[at]),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero behind another digit makes the number longer: `a1.b < a10`.
    let mut before = a[..at].iter().rev().take_while(|c| c.is_ascii_digit());
    let has_zero = a[at] == '0' || b[at] == '0';
    let first = u128::from(has_zero && before.any(|c| *c != '0'));
    let number = |text: &[char]| {
        let digits = text[at..].iter().map_while(|c| c.to_digit(10));
        // Numbers beyond 128 bits are all equal here; in Go they wrap.
        digits.fold((first, 0), |(n, length), digit| {
            (n.saturating_mul(10).saturating_add(digit.into()), length + 1)
        })
    };
    number(&a).cmp(&number(&b)).then(a[at].cmp(&b[at]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;
    use proptest::prelude::*;
    use serde_json::json;

    /// Texts that are something else, or nothing, without quotes.
    const WORDS: &[&str] = &[
        "",
        "y",
        "Y",
        "yes",
        "Yes",
        "n",
        "NO",
        "no",
        "on",
        "Off",
        "true",
        "False",
        "null",
        "~",
        "1",
        "-1",
        "+1",
        "1_0",
        "1_000",
        "0644",
        "08",
        "0x1F",
        "0o7",
        "0b1",
        "1e3",
        ".5",
        "1.",
        ".inf",
        ".nan",
        "1:30",
        "2024-01-01",
        "- a",
        "-",
        "?",
        "a: b",
        "a:",
        ": b",
        "#x",
        "a #b",
        "'q'",
        "\"q\"",
        "{a",
        "[b]",
        "&x",
        "*x",
        "!t",
        "%d",
        "@",
        "`",
        "|",
        "> no",
        "---",
    ];

    /// A client that sends back what it got changes nothing.
    #[test]
    fn what_is_written_is_read_as_the_same() {
        let long = "say no ".repeat(40);
        let quoted = format!("on: {}", long.trim());
        let lines =
            ["a\nb", "a\n", " a\nb", "a\n\n", "no\nyes\n", "a\r\nb", "a\tb", "a\u{85}b", "a\n\u{85}b"];
        let separators = [
            "a\nb\u{2028}c",
            "a\nb\u{2028}",
            "\u{2028}a\nb",
            "a\u{2028}b",
            "a\n\u{2029}",
            "a\u{2029}\u{2028}b",
        ];
        let others = ["trail ", " lead", "yes: no", "a, b", "한국어", "😀", long.trim(), quoted.as_str()];
        for word in WORDS.iter().copied().chain(lines).chain(separators).chain(others) {
            let item = json!({"a": word, word: [word, {word: word}]});
            let value =
                json!({"kind": "ConfigMap", "data": {word: word}, "list": [word, [word], item], "z": false});
            let text = to_string(&value);
            assert_eq!(parse(text.as_bytes()), Ok(value), "{word:?}:\n{text}");
        }
    }

    #[test]
    fn a_document_is_not_longer_than_its_bound() {
        let value = json!({"a": ["b", {"c": "d\ne"}]});
        let whole = to_string(&value);
        assert_eq!(to_string_within(&value, whole.len()), Some(whole.clone()));
        for most in 0..whole.len() {
            assert_eq!(to_string_within(&value, most), None, "{most} of {} bytes", whole.len());
        }
    }

    proptest! {
        #[test]
        fn each_key_is_in_order_with_the_next(
            keys in proptest::collection::vec("[0-9a-b-]{0,5}|[0-9]{17,42}", 0..60),
        ) {
            let sorted = sorted_keys(&keys.iter().collect::<Vec<_>>());
            prop_assert_eq!(sorted.len(), keys.len());
            for pair in sorted.windows(2) {
                prop_assert!(compare_keys(pair[0], pair[1]).is_le(), "{:?}", pair);
                prop_assert_eq!(compare_keys(pair[0], pair[1]), compare_keys(pair[1], pair[0]).reverse());
            }
        }
    }

    /// As sigs.k8s.io/yaml 1.6 with go.yaml.in/yaml/v2 2.4.3 sorts them.
    #[test]
    fn keys_stand_in_the_order_of_go() {
        for keys in [
            vec!["a1", "a1.b", "a10", "a1b", "a2"],
            vec!["1", "01-x", "01a-x"],
            vec!["k8s-app", "k8sapp"],
            vec!["a1", "a01", "a001"],
            vec!["v1", "v1alpha1", "v1beta1", "v2", "v10"],
            vec!["tls-key", "tls.crt", "tls1", "tlsa"],
        ] {
            let keys: Vec<String> = keys.into_iter().map(String::from).collect();
            let backwards: Vec<&String> = keys.iter().rev().collect();
            assert_eq!(sorted_keys(&backwards), keys.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn objects_look_as_kubectl_prints_them() {
        let value = json!({"b": [{"y": 1, "x": [1, [2, {}]]}, "s"], "a": {}, "c10": "", "c9": null, "e": "a: b", "d": {"k": "l1\nl2\n"}});
        let want = "a: {}\nb:\n- x:\n  - 1\n  - - 2\n    - {}\n  \"y\": 1\n- s\nc9: null\nc10: \"\"\nd:\n  k: |\n    l1\n    l2\ne: 'a: b'\n";
        assert_eq!(to_string(&value), want);
    }

    #[test]
    fn long_lines_are_folded() {
        let value = json!({"k": format!("x: {}end", "word ".repeat(20))});
        let text = to_string(&value);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("  word"), "{text}");
    }
}
