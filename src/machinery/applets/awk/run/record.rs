//! `$0` and its fields: split when a field is first asked for, joined when `$0` is asked for after
//! a field has changed.

use super::value::{Text, Value};
use crate::awk::regex::Regex;
use std::rc::Rc;

/// The highest number of a field. Assigning to `$1e9` would fill the memory.
pub(super) const MAX_FIELD: usize = 1_000_000;

/// How FS, or the third argument of `split`, separates.
#[derive(Debug, Clone)]
pub(super) enum Separator {
    /// Blanks, and those at both ends do not count.
    Blanks,
    Byte(u8),
    Regex(Rc<Regex>),
    /// Every byte is a field.
    Nothing,
}

/// Splits a text. With `lines`, a newline separates too: records are paragraphs.
pub(super) fn split(text: &[u8], separator: &Separator, lines: bool) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    if text.is_empty() {
        return parts;
    }
    match separator {
        Separator::Blanks => {
            let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n');
            let mut at = 0;
            while let Some(skip) = text[at..].iter().position(|b| !blank(b)) {
                let start = at + skip;
                let length = text[start..].iter().position(blank).unwrap_or(text.len() - start);
                at = start + length;
                parts.push((start, at));
            }
        }
        Separator::Byte(separator) => {
            let mut start = 0;
            for (at, byte) in text.iter().enumerate() {
                if byte == separator || (lines && *byte == b'\n') {
                    parts.push((start, at));
                    start = at + 1;
                }
            }
            parts.push((start, text.len()));
        }
        Separator::Nothing => parts.extend((0..text.len()).map(|at| (at, at + 1))),
        Separator::Regex(regex) => split_by_regex(text, regex, lines, &mut parts),
    }
    parts
}

/// Splits at the matches and, with `lines`, at newlines too. Each of the two is searched again only
/// when the parts have passed it: a search from every part would take quadratic time.
fn split_by_regex(text: &[u8], regex: &Regex, lines: bool, parts: &mut Vec<(usize, usize)>) {
    let match_from = |from: usize| {
        let mut from = from;
        // An empty match separates nothing.
        while let Some((start, end)) = regex.find(text, from) {
            if start < end {
                return Some((start, end));
            }
            from = end + 1;
        }
        None
    };
    let newline_from = |from: usize| {
        let found = text[from..].iter().position(|&b| lines && b == b'\n');
        found.map(|at| (from + at, from + at + 1))
    };
    let mut start = 0;
    let (mut found, mut newline) = (match_from(0), newline_from(0));
    loop {
        let (end, next) = match (found, newline) {
            (Some(one), Some(other)) => one.min(other),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => break,
        };
        parts.push((start, end));
        start = next;
        if found.is_some_and(|(at, _)| at < start) {
            found = match_from(start);
        }
        if newline.is_some_and(|(at, _)| at < start) {
            newline = newline_from(start);
        }
    }
    parts.push((start, text.len()));
}

/// `$0` and its fields. For `a b`: after `$3 = "c"` the fields are a, b, c and `joined` is false;
/// the next use of `$0` joins them with OFS to `a b c`, which compares as a string.
#[derive(Debug)]
pub(super) struct Record {
    text: Text,
    /// `$0` as a value: a record that was read may be a number, one that was joined may not.
    whole: Value,
    /// Whether `text` is what the fields say.
    joined: bool,
    fields: Vec<Value>,
    split: bool,
}

impl Default for Record {
    fn default() -> Record {
        let text: Text = Rc::from(&b""[..]);
        Record { whole: Value::Unset, text, joined: true, fields: Vec::new(), split: true }
    }
}

impl Record {
    /// Takes a record that was read.
    pub(super) fn read(&mut self, text: Text) {
        self.set(Rc::clone(&text), Value::Input(text));
    }

    /// Takes a value that is assigned to `$0`, which keeps its type.
    pub(super) fn assign(&mut self, value: Value, convfmt: &[u8]) {
        self.set(value.to_text(convfmt), value);
    }

    fn set(&mut self, text: Text, whole: Value) {
        let fields = std::mem::take(&mut self.fields);
        *self = Record { text, whole, joined: true, fields, split: false };
    }

    /// `$0` as a value; the record is joined.
    pub(super) fn value(&self) -> Value {
        self.whole.clone()
    }

    pub(super) fn is_split(&self) -> bool {
        self.split
    }

    pub(super) fn split(&mut self, separator: &Separator, lines: bool) {
        self.fields.clear();
        let text = &self.text;
        self.fields.extend(split(text, separator, lines).iter().map(|&(a, b)| Value::input(&text[a..b])));
        self.split = true;
    }

    /// Returns how many fields there are; the record is split.
    pub(super) fn count(&self) -> usize {
        self.fields.len()
    }

    pub(super) fn field(&self, number: usize) -> Value {
        self.fields.get(number - 1).cloned().unwrap_or(Value::Unset)
    }

    pub(super) fn set_field(&mut self, number: usize, value: Value) {
        if self.fields.len() < number {
            self.fields.resize(number, Value::Unset);
        }
        self.fields[number - 1] = value;
        self.joined = false;
    }

    pub(super) fn set_count(&mut self, count: usize) {
        self.fields.resize(count, Value::Unset);
        self.joined = false;
    }

    /// `$0`, joined with the given OFS if a field has changed.
    pub(super) fn text(&mut self, ofs: &[u8], convfmt: &[u8]) -> Text {
        if !self.joined {
            let mut text = Vec::new();
            for (at, field) in self.fields.iter().enumerate() {
                if at > 0 {
                    text.extend_from_slice(ofs);
                }
                text.extend_from_slice(&field.to_text(convfmt));
            }
            self.text = Rc::from(text);
            self.whole = Value::Text(Rc::clone(&self.text));
            self.joined = true;
        }
        Rc::clone(&self.text)
    }
}
