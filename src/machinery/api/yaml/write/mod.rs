//! YAML as Kubernetes writes it (`sigs.k8s.io/yaml`), for `kubectl -o yaml` and for answers of the
//! API server: keys sorted, lists at their key's indentation, libyaml's choice of quotes, lines
//! folded at 80, long keys and those of several lines behind a `?`. A text that [`super::parse`]
//! would take for something else is in quotes: `{"no": "1_0"}` becomes `"no": "1_0"`.

mod quotes;

use super::scan::is_break;
use crate::gostr;
use quotes::Style;
use serde_json::Value;
use std::cmp::Ordering;

/// A plain or quoted scalar goes on in the next line after this column.
const WIDTH: usize = 80;
/// Bytes of a key that stands before its colon in one line (`yaml_emitter_check_simple_key`).
const SIMPLE_KEY_MAX: usize = 128;

/// Writes a value as one document, with a line end.
pub fn to_string(value: &Value) -> String {
    let mut out = Writer { text: String::new(), column: 0, most: usize::MAX, is_full: false };
    out.document(value);
    out.text
}

/// Writes a value as one document, with a line end, of at most `most` bytes; `None` if it would be
/// longer. Deep nesting makes a hundred times as much of a value as JSON has.
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
            if is_simple_key(key) {
                self.scalar(key, depth, true);
                self.put(":");
                self.value(&map[key], depth);
            } else {
                self.put("? ");
                self.scalar(key, depth, false);
                self.indent(depth);
                self.put(":");
                self.value_in_line(&map[key], depth);
            }
        }
    }

    /// Writes a value behind its key.
    fn value(&mut self, value: &Value, depth: usize) {
        match value {
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

    fn list(&mut self, list: &[Value], depth: usize) {
        for (i, item) in list.iter().enumerate() {
            if i > 0 {
                self.put(&" ".repeat(depth));
            }
            self.put("-");
            self.value_in_line(item, depth);
        }
    }

    /// Writes a value behind an indicator in the first column of its line: a list or map begins in
    /// this line, too.
    fn value_in_line(&mut self, value: &Value, depth: usize) {
        self.put(" ");
        match value {
            Value::Object(inner) if !inner.is_empty() => self.map(inner, depth + 2),
            Value::Array(inner) if !inner.is_empty() => self.list(inner, depth + 2),
            leaf => {
                self.leaf(leaf, depth);
                self.newline();
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

/// True for a key that is written as `key: value`, false for one that is written as `? key` and, in
/// the next line, `: value`.
fn is_simple_key(key: &str) -> bool {
    key.len() <= SIMPLE_KEY_MAX && !key.contains(is_break)
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
mod tests;
