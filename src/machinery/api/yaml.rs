//! YAML bodies and files: the one place that knows how Kubernetes reads plain words. [`write`]
//! writes texts so that they are read as texts again.
//!
//! Its YAML library is of version 1.1: `y`, `no` and `on` are booleans, `0644` is an octal number.
//! Ours is of 1.2, where they are text. So a plain word that means something else in 1.1 is
//! respelled before it is read; quoted text, block text and comments stay.

mod plain;
mod read;
mod scalar;
mod tags;
pub mod write;

use super::bounds;
use plain::respelled;
use read::{Duplicates, read};
use serde_json::Value;
use std::collections::BTreeMap;

/// What aliases may add to a document: values and bytes of text together. Without aliases a
/// document makes no more than its own length; `a: &a [0, 0, …]` and `b: [*a, *a, …]` multiply
/// (CVE-2019-11253).
const SPARE: usize = 1024 * 1024;
/// Keys that stand twice which are told of one document; more of them are let through.
const DUPLICATES_MAX: usize = 50;
/// Bytes that are read to tell them: a document is read once more for each.
const READ_MAX: usize = 8 * 1024 * 1024;

/// Reads the first document of a text as JSON. As upstream, it passes over all that follows it.
///
/// # Errors
/// `error converting YAML to JSON: yaml: …`, with line and column where they are known: the text is
/// not UTF-8, too deep, or its first document is no YAML, too large by its aliases, or has a key
/// twice in a map. A key that a merge (`<<`) brought may stand again.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let text = shallow(bytes)?;
    let duplicates = Duplicates { allowed: 0, with_merged: false };
    read_first(&text, duplicates).map_err(|e| format!("error converting YAML to JSON: yaml: {e}"))
}

/// As [`parse`], but a key that stands twice in a map is no error: its last value counts. Beside
/// the document: what Go says about these keys, e.g. `line 3: key "a" already set in map`.
///
/// # Errors
/// As [`parse`], except for keys that stand twice.
pub fn parse_with_duplicates(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    let text = shallow(bytes)?;
    let most = (READ_MAX / text.len().max(1)).clamp(1, DUPLICATES_MAX);
    let mut told = vec![];
    loop {
        let allowed = if told.len() < most { told.len() } else { usize::MAX };
        let error = match read_first(&text, Duplicates { allowed, with_merged: true }) {
            Ok(value) => return Ok((value, told)),
            Err(error) => error,
        };
        let (message, place) = (error.to_string(), error.location());
        match (message.split_once(DUPLICATE), place) {
            (Some((_, key)), Some(place)) => {
                let key = key.rsplit_once(" at line ").map_or(key, |(key, _)| key);
                told.push(format!("line {}: key {key} already set in map", place.line()));
            }
            _ => return Err(format!("error converting YAML to JSON: yaml: {error}")),
        }
    }
}

/// The first document of a text. A text without one is null.
fn read_first(text: &[u8], duplicates: Duplicates) -> Result<Value, serde_yaml::Error> {
    match serde_yaml::Deserializer::from_slice(text).next() {
        Some(document) => read(document, text.len(), duplicates),
        None => Ok(Value::Null),
    }
}

/// The text as [`old_words`] gives it. The scanner looks at every open bracket for each word, so
/// that the depth has to be judged before (CVE-2019-11254).
///
/// # Errors
/// Text that is not UTF-8, whose brackets cannot be counted, and text with too many open ones.
fn shallow(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let why = match std::str::from_utf8(bytes) {
        Err(_) => "the document is not UTF-8".to_string(),
        Ok(_) => match respell(bytes, true) {
            (text, deepest) if deepest <= bounds::DEPTH_MAX => return Ok(text),
            _ => format!("exceeded max depth of {}: the document is nested too deeply", bounds::DEPTH_MAX),
        },
    };
    Err(format!("error converting YAML to JSON: yaml: {why}"))
}

const DUPLICATE: &str = "duplicate key ";

/// One document as JSON, as Kubernetes reads it: keys become text, tags go, `<<` brings what it
/// refers to. It has at most [`bounds::DEPTH_MAX`] levels, and aliases make it larger than its
/// `length` in bytes by at most 1 Mi values and bytes.
///
/// # Errors
/// Text that is no YAML, too deep, too large by its aliases, or with a key that stands twice in one
/// map.
pub fn document(from: serde_yaml::Deserializer<'_>, length: usize) -> Result<Value, serde_yaml::Error> {
    read(from, length, Duplicates { allowed: 0, with_merged: false })
}

/// The text with its plain words in the spelling of YAML 1.2; lines stay where they are.
pub fn old_words(bytes: &[u8]) -> Vec<u8> {
    respell(bytes, true).0
}

/// The text with its octal numbers in the spelling of YAML 1.2; `yes` and `on` stay text, as for
/// kustomize.
pub fn old_numbers(bytes: &[u8]) -> Vec<u8> {
    respell(bytes, false).0
}

/// The text, and how many brackets are open at most.
fn respell(bytes: &[u8], flags: bool) -> (Vec<u8>, usize) {
    let Ok(text) = std::str::from_utf8(bytes) else { return (bytes.to_vec(), 0) };
    let mut reader = Reader { flags, ..Reader::default() };
    let mut out = String::with_capacity(text.len());
    let mut after = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    while !after.is_empty() {
        let (line, rest) = after.split_at(line_end(after));
        after = rest;
        reader.line(line, after, &mut out);
    }
    (out.into_bytes(), reader.deepest)
}

/// May stand before a text, and is no part of its first word.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where a line ends, behind its break: a line feed, a carriage return, or both.
fn line_end(text: &str) -> usize {
    match text.find(['\n', '\r']) {
        Some(at) if text[at..].starts_with("\r\n") => at + 2,
        Some(at) => at + 1,
        None => text.len(),
    }
}

/// Where in a document a line starts.
#[derive(Default)]
struct Reader {
    /// Words like `yes` are booleans.
    flags: bool,
    /// Inside of text in quotes that goes over lines.
    quote: Option<char>,
    /// Brackets and braces that are open.
    depth: usize,
    deepest: usize,
    /// Column of the innermost list or map in block style that was seen last.
    parent: usize,
    /// A `|` or `>` was seen; its text starts with the next line that is not empty.
    header: Option<Header>,
    /// Inside of block text that is indented so far.
    block: Option<usize>,
    /// The last line ended inside a plain text; it was indented so far.
    open: Option<usize>,
    /// A line ended with this tag; its node is in one of the next.
    tag: Option<String>,
    /// How often an anchor was set. One that is set again gets a name of its own: the YAML library
    /// mixes it up with the next anchor.
    anchors: BTreeMap<String, usize>,
}

/// The first line of block text.
#[derive(Clone, Copy)]
struct Header {
    /// Column of the list or map that the text stands in.
    parent: usize,
    /// How much further the text is indented, if that is said: `|2`.
    indicator: Option<usize>,
}

impl Reader {
    /// Respells one line; `after` are the lines that follow it.
    fn line(&mut self, line: &str, after: &str, out: &mut String) {
        let bare = line.trim_end_matches(['\n', '\r']);
        let indent = bare.len() - bare.trim_start_matches(' ').len();
        let blank = bare.trim().is_empty();
        if blank && self.quote.is_none() {
            return out.push_str(line);
        }
        if let Some(Header { parent, indicator }) = self.header.take() {
            // Without an indicator the first line of the text says how far all are indented.
            self.block = match indicator {
                Some(more) => Some(parent + more),
                None => Some(indent).filter(|indent| *indent > parent),
            };
        }
        match self.block {
            Some(block) if indent >= block => return out.push_str(line),
            _ => self.block = None,
        }
        let continues =
            self.depth == 0 && self.quote.is_none() && self.open.take().is_some_and(|o| indent > o);
        self.tokens(bare, after, indent, continues, out);
        out.push_str(&line[bare.len()..]);
    }

    /// Returns whether a plain text that ends its line goes on in the lines `after` it.
    fn goes_on_in(&self, after: &str) -> bool {
        let Some(next) = after.lines().find(|line| !line.trim().is_empty()) else { return false };
        if self.depth > 0 {
            return !next.trim_start().starts_with([',', ']', '}', ':', '#']);
        }
        let indent = next.len() - next.trim_start_matches(' ').len();
        indent > self.parent && !next.trim_start().starts_with('#')
    }

    fn tokens(&mut self, line: &str, after: &str, indent: usize, continues: bool, out: &mut String) {
        let mut at = 0;
        let mut first = true;
        // The tag of the node that comes next; `carried`: it stands in a line before.
        let mut tag: Option<String> = self.tag.take();
        let mut carried = tag.is_some();
        // Where the node begins that may turn out to be a key.
        let mut node = None;
        while at < line.len() {
            let rest = &line[at..];
            if let Some(quote) = self.quote {
                let end = closing(rest, quote);
                out.push_str(&rest[..end.unwrap_or(rest.len())]);
                if end.is_some() {
                    self.quote = None;
                }
                at += end.unwrap_or(rest.len());
                continue;
            }
            let c = rest.chars().next().unwrap_or(' ');
            let follows_space = at == 0 || line[..at].ends_with([' ', '\t']);
            // The line goes on with the plain text of the line before, in which indicators are
            // text.
            let goes_on = continues && first;
            if !matches!(c, ' ' | '\t') {
                node.get_or_insert(at);
            }
            let is_remark = c == '#' && follows_space;
            let tagged = tag.take_if(|_| !is_remark && !matches!(c, ' ' | '\t' | '&' | '!'));
            let length = match c {
                ' ' | '\t' => 1,
                '#' if is_remark => rest.len(),
                '-' if at == 0 && is_document_start(line) => 3,
                '"' | '\'' if !goes_on => {
                    self.quote = Some(c);
                    first = false;
                    1
                }
                '[' | '{' if !goes_on => {
                    self.depth += 1;
                    self.deepest = self.deepest.max(self.depth);
                    1
                }
                ']' | '}' if !goes_on => {
                    self.depth = self.depth.saturating_sub(1);
                    1
                }
                ',' if self.depth > 0 => 1,
                '-' | '?' | ':' if rest.len() == 1 || rest[1..].starts_with([' ', '\t']) => {
                    if self.depth == 0 && !goes_on {
                        self.parent = node.take().unwrap_or(at);
                    }
                    1
                }
                '!' if !goes_on => {
                    let end = tag_end(rest);
                    let spelled = tags::name(&rest[..end]).map(tags::respelled);
                    out.push_str(spelled.as_deref().unwrap_or(&rest[..end]));
                    (tag, carried) = (Some(rest[..end].to_string()), false);
                    at += end;
                    continue;
                }
                '&' | '*' if !goes_on => {
                    let end = tag_end(rest);
                    out.push_str(&self.anchor(&rest[..end]));
                    at += end;
                    continue;
                }
                '&' | '!' | '*' => tag_end(rest),
                '|' | '>' if self.depth == 0 && !goes_on => {
                    let marks = rest[1..].chars().take_while(|c| matches!(c, '+' | '-' | '1'..='9'));
                    let indicator = marks.filter_map(|c| c.to_digit(10)).next();
                    let indicator = indicator.map(|more| more as usize);
                    self.header = Some(Header { parent: self.parent, indicator });
                    rest.len()
                }
                _ => {
                    let end = plain_end(rest, self.depth > 0);
                    let word = rest[..end].trim_end();
                    let is_key = rest[end..].starts_with(':');
                    let more = goes_on && !is_key;
                    let new = match tagged {
                        // A text over lines is text, whatever its first line looks like.
                        _ if more || (rest[end..].is_empty() && self.goes_on_in(after)) => None,
                        // A key is not what the tag of its map stands before.
                        Some(tag) if !(carried && is_key) => plain::respelled_behind(&tag, word),
                        _ => respelled(word, self.flags),
                    };
                    match new {
                        Some(new) => out.push_str(&new),
                        None => out.push_str(word),
                    }
                    out.push_str(&rest[word.len()..end]);
                    if !is_key && rest[end..].trim_start().is_empty() {
                        self.open = Some(if more { indent.saturating_sub(1) } else { indent });
                    }
                    first = false;
                    at += end;
                    continue;
                }
            };
            out.push_str(&rest[..length]);
            at += length;
        }
        self.tag = tag;
    }

    /// `&name` or `*name`, with a name of its own for an anchor that was set before.
    fn anchor(&mut self, text: &str) -> String {
        let name = &text[1..];
        let times = if text.starts_with('&') {
            let times = self.anchors.entry(name.to_string()).or_default();
            *times += 1;
            *times
        } else {
            self.anchors.get(name).copied().unwrap_or(0)
        };
        if times > 1 { format!("{text}-set-again-{times}") } else { text.to_string() }
    }
}

/// Where a tag, an anchor or an alias ends.
fn tag_end(text: &str) -> usize {
    match text.starts_with("!<") {
        true => text.find('>').map_or(text.len(), |at| at + 1),
        false => text.find([' ', '\t', ',', ']', '}']).unwrap_or(text.len()),
    }
}

/// Returns whether a line begins with the mark between documents.
fn is_document_start(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// Where text in quotes ends, behind the quote.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') {
                chars.next();
            } else {
                return Some(i + 1);
            }
        }
    }
    None
}

/// Where a plain text ends, which has at least one character: at `: `, ` #`, in brackets also at a
/// comma or bracket, else with its line.
fn plain_end(text: &str, flow: bool) -> usize {
    let bytes = text.as_bytes();
    let space = |i: usize| bytes.get(i).is_none_or(|b| matches!(b, b' ' | b'\t'));
    for (i, b) in bytes.iter().enumerate().skip(1) {
        let ends = match b {
            b':' => space(i + 1) || (flow && matches!(bytes.get(i + 1), Some(b',' | b']' | b'}'))),
            b'#' => matches!(bytes[i - 1], b' ' | b'\t'),
            b',' | b'[' | b']' | b'{' | b'}' => flow,
            _ => false,
        };
        if ends {
            return i;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests;
