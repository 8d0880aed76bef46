//! YAML bodies and files: the one place that knows how Kubernetes reads plain words. [`write`]
//! writes texts so that they are read as texts again.
//!
//! Its YAML library is of version 1.1: `y`, `no` and `on` are booleans, `0644` is an octal number.
//! Ours is of 1.2, where they are text. So a plain word that means something else in 1.1 is
//! respelled before it is read; quoted text, block text and comments stay.

mod plain;
mod scalar;
pub mod write;

use super::{bounds, gostr, schema};
use base64::Engine as _;
use plain::respelled;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// What aliases may add to a document: values and bytes of text together. Without aliases a
/// document makes no more than its own length; `a: &a [0, 0, …]` and `b: [*a, *a, …]` multiply
/// (CVE-2019-11253).
const SPARE: usize = 1024 * 1024;
/// Keys that stand twice which are told of one document; more of them are let through.
const DUPLICATES_MAX: usize = 50;
/// Bytes that are read to tell them: a document is read once more for each.
const READ_MAX: usize = 8 * 1024 * 1024;

/// Reads a text of one document as JSON.
///
/// # Errors
/// `error converting YAML to JSON: yaml: …`, with line and column where they are known: the text is
/// not UTF-8, no YAML, too deep, too large by its aliases, has no document or more than one, or a
/// key stands twice in a map.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let text = shallow(bytes)?;
    read(serde_yaml::Deserializer::from_slice(&text), text.len(), 0)
        .map_err(|e| format!("error converting YAML to JSON: yaml: {e}"))
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
        let read = read(serde_yaml::Deserializer::from_slice(&text), text.len(), allowed);
        let error = match read {
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
    read(from, length, 0)
}

/// The first `allowed` duplicate keys are let through.
fn read(
    from: serde_yaml::Deserializer<'_>,
    length: usize,
    allowed: usize,
) -> Result<Value, serde_yaml::Error> {
    let reading = Reading {
        left: Cell::new(length.saturating_mul(2).saturating_add(SPARE)),
        allowed: Cell::new(allowed),
    };
    Node { reading: &reading, depth: 0 }.deserialize(from)
}

/// What is left of the bounds while a document is read.
struct Reading {
    left: Cell<usize>,
    /// Duplicate keys that may still be met.
    allowed: Cell<usize>,
}

impl Reading {
    fn spend<E: Error>(&self, much: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(much);
        self.left.set(left.ok_or_else(|| E::custom("document contains excessive aliasing"))?);
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Node<'a> {
    reading: &'a Reading,
    depth: usize,
}

impl Node<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth < bounds::DEPTH_MAX {
            true => Ok(Node { depth: self.depth + 1, ..self }),
            false => Err(E::custom(format!(
                "exceeded max depth of {}: the document is nested too deeply",
                bounds::DEPTH_MAX
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.reading.spend(1)?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any YAML value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }
    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // Go writes a whole number without a fraction, so that `replicas: 1e1` is read as 10.
        if value.fract() == 0.0 && value.abs() < i64::MAX as f64 {
            return Ok((value as i64).into());
        }
        let name = match value {
            f64::INFINITY => "+Inf",
            f64::NEG_INFINITY => "-Inf",
            _ => "NaN",
        };
        let number = Number::from_f64(value).map(Value::Number);
        number.ok_or_else(|| E::custom(format!("json: unsupported value: {name}")))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.reading.spend(value.len())?;
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut all = vec![];
        while let Some(item) = items.next_element_seed(inner)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let (mut map, mut merged) = (Map::new(), Map::new());
        while let Some(key) = fields.next_key_seed(Key { map: &map, reading: self.reading })? {
            let value = fields.next_value_seed(inner)?;
            match (key.as_str(), value) {
                ("<<", Value::Object(more)) => merge(&mut merged, more),
                ("<<", Value::Array(all)) if all.iter().all(Value::is_object) => {
                    for more in all {
                        if let Value::Object(more) = more {
                            merge(&mut merged, more);
                        }
                    }
                }
                (_, value) => drop(map.insert(key, value)),
            }
        }
        for (key, value) in merged {
            map.entry(key).or_insert(value);
        }
        Ok(Value::Object(map))
    }
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (tag, value) = tagged.variant::<String>()?;
        if tag == plain::BINARY {
            let text = value.newtype_variant_seed(Text { is_binary: true })?;
            return self.visit_str(&text);
        }
        // A scalar behind a tag of an application is text, also the empty one.
        let value = value.newtype_variant_seed(self)?;
        Ok(if value.is_null() { Value::from("") } else { value })
    }
}

/// The first map that has a key gives its value.
fn merge(into: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        into.entry(key).or_insert(value);
    }
}

/// The text of a scalar behind a tag; that of `!!binary` is decoded.
struct Text {
    is_binary: bool,
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a scalar")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        if !self.is_binary {
            return Ok(text.to_string());
        }
        let packed: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        let bytes = schema::BASE64
            .decode(packed)
            .map_err(|_| E::custom("!!binary value contains invalid base64 data"))?;
        // Go writes each byte that is no UTF-8 as U+FFFD into JSON.
        let mut decoded = String::new();
        for chunk in bytes.utf8_chunks() {
            decoded.push_str(chunk.valid());
            decoded.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        Ok(decoded)
    }
}

/// A key, as text, that `map` does not have yet.
struct Key<'a> {
    map: &'a Map<String, Value>,
    reading: &'a Reading,
}

impl Key<'_> {
    fn found<E: Error>(self, key: String) -> Result<String, E> {
        self.reading.spend(key.len())?;
        if self.map.contains_key(&key) {
            match self.reading.allowed.get().checked_sub(1) {
                Some(allowed) => self.reading.allowed.set(allowed),
                None => return Err(E::custom(format!("{DUPLICATE}{key:?}"))),
            }
        }
        Ok(key)
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key that is text, a number or a boolean")
    }
    fn visit_bool<E: Error>(self, key: bool) -> Result<String, E> {
        self.found(key.to_string())
    }
    fn visit_i64<E: Error>(self, key: i64) -> Result<String, E> {
        self.found(key.to_string())
    }
    fn visit_u64<E: Error>(self, key: u64) -> Result<String, E> {
        self.found(key.to_string())
    }
    fn visit_f64<E: Error>(self, key: f64) -> Result<String, E> {
        self.found(match key {
            f64::INFINITY => ".inf".to_string(),
            f64::NEG_INFINITY => "-.inf".to_string(),
            key if key.is_nan() => ".nan".to_string(),
            key => gostr::general(key),
        })
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        self.found(key.to_string())
    }
    fn visit_unit<E: Error>(self) -> Result<String, E> {
        self.found("null".to_string())
    }
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<String, A::Error> {
        let (tag, key) = tagged.variant::<String>()?;
        let key = key.newtype_variant_seed(Text { is_binary: tag == plain::BINARY })?;
        self.found(key)
    }
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
    let mut after = text;
    for line in text.split_inclusive('\n') {
        after = &after[line.len()..];
        reader.line(line, after, &mut out);
    }
    (out.into_bytes(), reader.deepest)
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
        // The tag of the node that comes next.
        let mut tag: Option<&str> = None;
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
            let tagged = tag.take_if(|_| !matches!(c, ' ' | '\t' | '&' | '!'));
            let length = match c {
                ' ' | '\t' => 1,
                '#' if follows_space => rest.len(),
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
                '&' | '!' | '*' => {
                    let end = rest.find([' ', '\t', ',', ']', '}']).unwrap_or(rest.len());
                    tag = Some(&rest[..end]).filter(|_| c == '!' && !goes_on).or(tag);
                    if tag == Some("!!binary") && c == '!' {
                        out.push('!');
                        out.push_str(plain::BINARY);
                        at += end;
                        continue;
                    }
                    end
                }
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
                        Some(tag) => plain::respelled_behind(tag, word, self.flags),
                        None => respelled(word, self.flags),
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
    }
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn plain_words_are_those_of_the_older_yaml() {
        assert_eq!(
            read("a: yes\nb: No\nc: on # really\nd: y\n"),
            json!({"a": true, "b": false, "c": true, "d": true})
        );
        assert_eq!(
            read("- off\n- [n, 'n', \"y\", {on: no}]\n"),
            json!([false, [false, "n", "y", {"true": false}]])
        );
        assert_eq!(
            read("mode: 0644\nplain: 0\nzip: 08\ntext: '0644'\nhex: 0x1F\n"),
            json!({"mode": 420, "plain": 0, "zip": 8, "text": "0644", "hex": 31})
        );
    }

    #[test]
    fn kustomize_takes_only_the_numbers() {
        assert_eq!(old_numbers(b"a: yes\nmode: 0644\n"), b"a: yes\nmode: 420\n");
    }

    /// As sigs.k8s.io/yaml 1.6 reads them.
    #[test]
    fn what_json_has_no_number_for_is_refused() {
        for (text, name) in [
            ("a: .nan\n", "NaN"),
            ("a: [.inf]\n", "+Inf"),
            ("a: +.Inf\n", "+Inf"),
            ("a: {b: -.inf}\n", "-Inf"),
            ("a: !!float .NaN\n", "NaN"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(&format!("json: unsupported value: {name}")), "{text}{error}");
        }
        assert_eq!(
            read("a: \".inf\"\n.nan: 1\n-.inf: 2\n1e10: 3\n1e3: 4\n"),
            json!({"a": ".inf", ".nan": 1, "-.inf": 2, "1e+10": 3, "1000": 4})
        );
        assert_eq!(read("a: inf\nb: nan\nc: 1e400\n"), json!({"a": "inf", "b": "nan", "c": "1e400"}));
    }

    /// As sigs.k8s.io/yaml 1.6 reads them.
    #[test]
    fn words_behind_tags_are_what_the_tag_says() {
        assert_eq!(
            read("a: !!str yes\nb: !!str 0644\nc: !foo 5\nd: !foo yes\ne: !foo\nf: ! 0x10\n"),
            json!({"a": "yes", "b": "0644", "c": "5", "d": "yes", "e": "", "f": "0x10"})
        );
        assert_eq!(
            read("a: !!int 0644\nb: !!bool yes\nc: [!!str no, no]\nd: !!str &x on\ne: *x\n"),
            json!({"a": 420, "b": true, "c": ["no", false], "d": "on", "e": "on"})
        );
        assert_eq!(
            read("a: !!binary aGVsbG8=\nb: !!binary |\n  aGVs\n  bG8=\nc: [!!binary gIGC, no]\n"),
            json!({"a": "hello", "b": "hello", "c": ["\u{fffd}\u{fffd}\u{fffd}", false]})
        );
        assert_eq!(
            read("!!binary aGVsbG8=: !!binary \"eA==\"\n!foo 5: a\n"),
            json!({"hello": "x", "5": "a"})
        );
        let error = parse(b"a: !!binary xx\n").unwrap_err();
        assert!(error.contains("!!binary value contains invalid base64 data"), "{error}");
    }

    #[test]
    fn text_over_lines_is_no_number() {
        assert_eq!(
            read("a: 0644\n  x\nb: yes\n\n  # remark\nc: [yes\n  please, yes\n  ]\nd: 0644\n"),
            json!({"a": "0644 x", "b": true, "c": ["yes please", true], "d": 420})
        );
        assert_eq!(read("- a: yes\n  b: no\n- on\n"), json!([{"a": true, "b": false}, true]));
    }

    #[test]
    fn a_colon_before_a_comma_is_passed() {
        for text in ["{a:,b: no}", "[:]", "{:}", "[a:]", "{a:}", ":,"] {
            let _ = parse(text.as_bytes()); // whatever it says, it comes to an end
        }
        assert_eq!(old_words(b"{a:,b: no}"), b"{a:,b: false}");
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(
            read("a: yes please\nb: say no\nc: \"on\"\n"),
            json!({"a": "yes please", "b": "say no", "c": "on"})
        );
        assert_eq!(
            read("a: |\n  yes\n  no\nb: >-\n   on\n\n   off\nc: no\n"),
            json!({"a": "yes\nno\n", "b": "on\noff", "c": false})
        );
        assert_eq!(read("- a: |\n    yes\n- no\n"), json!([{"a": "yes\n"}, false]));
        assert_eq!(
            read("a: first\n  yes\n  no\nb: 'x\n\n  yes'\n"),
            json!({"a": "first yes no", "b": "x\nyes"})
        );
        assert_eq!(
            read("url: http://x/y\nb: a#no\nc: &x on\nd: *x\n"),
            json!({"url": "http://x/y", "b": "a#no", "c": true, "d": true})
        );
        assert_eq!(
            read("command: [\"sh\", \"-c\", \"echo yes, no\"]\nx: no\n"),
            json!({"command": ["sh", "-c", "echo yes, no"], "x": false})
        );
    }

    #[test]
    fn block_text_begins_where_its_header_says() {
        assert_eq!(
            read("data:\n  x: |2\n       first\n      mode: 0644\nz: no\n"),
            json!({"data": {"x": "   first\n  mode: 0644\n"}, "z": false})
        );
        assert_eq!(read("a: >-1\n   on\n  off\n"), json!({"a": "  on\n off"}));
        assert_eq!(read("- |+2\n   on\n  off\n- no\n"), json!([" on\noff\n", false]));
        assert_eq!(read("- a: |\n  b: no\n"), json!([{"a": "", "b": false}]));
        assert_eq!(read("- \"a\": |\n   no\n  b: no\n"), json!([{"a": "no\n", "b": false}]));
        assert_eq!(read("- - |\n   no\n  - no\n"), json!([["no\n", false]]));
        assert_eq!(read("a:\n  b:\n      |\n    no\n"), json!({"a": {"b": "no\n"}}));
        assert_eq!(read("a: first\n  > second\n  yes\n"), json!({"a": "first > second yes"}));
    }

    #[test]
    fn numbers_are_those_of_go() {
        assert_eq!(
            read("port: 8_080\nhex: 0x_ff\noct: 0_17\nminus: -1_000\nfloat: 1_0.5\nname: a_b\nodd: 1_a\n"),
            json!({"port": 8080, "hex": 255, "oct": 15, "minus": -1000, "float": 10.5, "name": "a_b", "odd": "1_a"})
        );
        assert_eq!(
            read("replicas: 1e1\nwhole: 2.0\nhalf: 0.5\nlarge: 1e300\n"),
            json!({"replicas": 10, "whole": 2, "half": 0.5, "large": 1e300})
        );
    }

    #[test]
    fn depth_is_judged_before_the_scanner_looks_at_every_level() {
        let deep = "{a: ".repeat(700_000);
        assert!(parse(deep.as_bytes()).unwrap_err().contains("nested too deeply"));
        assert!(parse_with_duplicates(deep.as_bytes()).unwrap_err().contains("nested too deeply"));
        let text = format!("a: |\n  {}\nb: '{}'\n", "[".repeat(1000), "{".repeat(1000));
        assert!(parse(text.as_bytes()).is_ok(), "brackets in text are text");
        // Every word looked at all spaces at the end of its line.
        let wide = format!("[{}a]{}", "a, ".repeat(500_000), " ".repeat(1_500_000));
        assert_eq!(parse(wide.as_bytes()).unwrap().as_array().map(Vec::len), Some(500_001));
        assert!(parse(b"\xff\xfea\0").unwrap_err().contains("not UTF-8"));
    }

    #[test]
    fn aliases_do_not_multiply_without_a_bound() {
        let bomb = |n: usize| {
            let (zeros, aliases) = (vec!["0"; n].join(","), vec!["*a"; n].join(","));
            format!("apiVersion: v1\na: &a [{zeros}]\nb: [{aliases}]\n")
        };
        assert_eq!(read(&bomb(100))["b"][99][99], json!(0));
        let error = parse(bomb(3_000).as_bytes()).unwrap_err();
        assert!(error.contains("document contains excessive aliasing"), "{error}");
        let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 1_000].join(","));
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.contains("document contains excessive aliasing"), "{error}");
        let mut text = "a0: &a0 [x, x]\n".to_string();
        for i in 1..40 {
            text.push_str(&format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1));
        }
        assert!(parse(text.as_bytes()).is_err());
        let long = format!("a: [{}]\n", vec!["0"; 500_000].join(","));
        assert!(parse(long.as_bytes()).is_ok(), "length alone is no fault");
    }

    #[test]
    fn depth_is_bounded() {
        for (open, close) in [("[", "]"), ("{a: ", "}")] {
            let nested = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
            assert!(parse(nested(bounds::DEPTH_MAX).as_bytes()).is_ok());
            assert!(parse(nested(bounds::DEPTH_MAX + 1).as_bytes()).is_err());
            assert!(parse(nested(20_000).as_bytes()).is_err());
        }
        assert!(parse("- ".repeat(20_000).as_bytes()).is_err());
    }

    #[test]
    fn merge_keys_tags_and_plain_keys_become_json() {
        assert_eq!(
            read("base: &b {u: 1, v: 2}\nother: {<<: *b, v: 3}\n1: !foo bar\ntrue: !!str 5\n"),
            json!({"base": {"u": 1, "v": 2}, "other": {"v": 3, "u": 1}, "1": "bar", "true": "5"})
        );
    }

    #[test]
    fn duplicate_keys_are_told_with_their_lines() {
        let text = "a: 1\nspec:\n  b: 1\n  b: 2\n  c: [{d: 1, d: 2}]\na: 3\n";
        assert!(parse(text.as_bytes()).is_err());
        let (value, told) = parse_with_duplicates(text.as_bytes()).unwrap();
        assert_eq!(value, json!({"a": 3, "spec": {"b": 2, "c": [{"d": 2}]}}));
        let line = |line: usize, key: &str| format!("line {line}: key {key:?} already set in map");
        assert_eq!(told, [line(4, "b"), line(5, "d"), line(6, "a")]);
        let (_, told) = parse_with_duplicates("a: 1\n".repeat(200).as_bytes()).unwrap();
        assert_eq!(told.len(), DUPLICATES_MAX);
        let long = format!("a: 1\na: 2\na: 3\nb: {}\n", "x".repeat(READ_MAX));
        assert_eq!(parse_with_duplicates(long.as_bytes()).unwrap().1.len(), 1);
    }

    proptest! {
        /// Whatever a document without such words says, it says the same afterwards.
        #[test]
        fn other_words_are_left_alone(words in proptest::collection::vec("[a-m]{1,6}( [a-m]{1,5}){0,3}", 1..6)) {
            let text: String = words.iter().enumerate().map(|(i, w)| format!("k{i}: {w}\nq{i}: \"{w}\"\n")).collect();
            prop_assume!(words.iter().all(|w| respelled(w, true).is_none()));
            prop_assert_eq!(old_words(text.as_bytes()), text.as_bytes());
        }
    }
}
