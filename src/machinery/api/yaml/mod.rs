//! YAML bodies and files, read as JSON as Kubernetes reads them (sigs.k8s.io/yaml 1.6, whose YAML
//! library is go.yaml.in/yaml/v2). [`write`] writes texts so that they are read as texts again.
//!
//! Kubernetes reads YAML 1.1: `y`, `no` and `on` are booleans, `0644` is an octal number. The
//! library here, serde_yaml, resolves plain words by 1.2, where those are text or other numbers. So
//! a document is read in three steps:
//!
//! 1. `scan` finds the tokens, where Go's scanner finds them.
//! 2. `respell` writes each plain word that 1.2 reads otherwise in the spelling of 1.2: `a: yes`
//!    becomes `a: true`, `0644` becomes `420`. Quoted text, block text and comments stay.
//! 3. `read` makes JSON of what serde_yaml then reads.
//!
//! Of a duplicate key the last value is used, as in every decoder of Kubernetes that is not strict.
//! [`parse`] ignores duplicates, [`parse_document`] names them.
//!
//! # Left out
//! Of a document with several mistakes the first one in the text is reported, after those of
//! syntax. Go reads the values, then the keys as text, then the numbers as JSON, and reports the
//! first one that it meets so.
//!
//! Three messages have other words. Go shows its own types where a key is null, a list or a map
//! (`unsupported map key of type: %!s(<nil>), key: <nil>, value: "b"`, `invalid map key:
//! []interface {}{"a"}`); here the message says what the key is. An anchor whose value contains
//! itself is nested too deeply here. And Go writes `hexdecimal`.
//!
//! Go reads four spellings otherwise, which no manifest has: a tag right before a comma or a
//! bracket (`a: !!str,x` is empty text for Go, `[!!map,]` and `[!foo,]` are errors, `{!!int, }` has
//! an empty key), and a value that a later duplicate of its key replaces (`{a: .inf, a: 1}`), which
//! Go does not judge.

mod plain;
mod read;
mod refusal;
mod respell;
mod scan;
mod tags;
mod worth;
pub mod write;

pub use plain::Words;
pub use worth::judge;

use super::bounds;
use read::{Until, read};
use refusal::{Cause, Refusal, Twice, sentence};
use scan::Most;
use serde::Deserialize as _;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::fmt;

/// At most this many duplicate keys are reported per document. Further ones are let through.
const DUPLICATES_MAX: usize = 50;
/// Bytes that are read again to report duplicate keys: a document is read [`READS_EACH`] times more
/// for each, because only an error of serde_yaml knows its line.
const REREAD_BYTES_MAX: usize = 24 * 1024 * 1024;
/// Once for the value that counts, and once for each of the two keys.
const READS_EACH: usize = 3;
/// Nodes that a request's body may have, as [`scan::Scanned::nodes`] counts them: a pair in block
/// style (`k: v`) has 4, one in JSON (`"k":"v",`) 5.
///
/// The YAML library keeps all events of a document while the value is made. Calculated from the
/// sizes of the types, on a 64-bit machine:
///
/// ```text
/// event                                      96 bytes, and 32 for a text, a tag or an anchor
/// item of a list                             72 (144 while the list grows), and 32 for a text
/// first item of a list                       304
/// key and value in a map of one              420
/// another key and value                      370, with what finds duplicates
///
///                                            bytes   nodes   bytes for each node
/// [a,a,…]       1 event, item                  304       2   152
/// [!,!,…]       1 event, item                  272       2   136
/// [&a,&a,…]     1 event, item, two tables      370       2   185
/// {a,b,…}       2 events, key                  590       2   295
/// [{a},{a},…]   4 events, item, map            980       4   245
/// [a: ,a: ,…]   4 events, item, map            980       4   245
/// [? !,? !,…]   4 events, item, map            950       4   240
/// - - - …       2 events, list                 500       2   250
/// - a:          4 events, item, map            980       5   200
/// ```
/// So a body takes some 200 MB at most beside its text. With aliases it is some 260 MB: the values
/// that they repeat count against the same bound, but not together with the events. Measured with
/// as many nodes as there may be: 103 MB for `[a,a,…]`, 151 MB for `[{a},{a},…]`; without a bound
/// `[!,!,…]` of 3 MB takes 430 MB. An object that the store takes (1.5 MB) may have a pair of JSON
/// every 11 bytes.
const BODY_NODES_MAX: usize = 700_000;

/// A document with its duplicate keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Of a duplicate key it has the last value.
    pub value: Value,
    /// In the order in which their values end: those inside of a value come before its own key.
    pub duplicates: Vec<Duplicate>,
}

/// A key that its map has already. Shown as Go's strict decoder shows it: `line 3: key "a" already
/// set in map`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The line of the value that counts, from 1.
    pub line: usize,
    /// As Go shows it: text in quotes, numbers without.
    pub key: String,
    /// The lines of the two keys, from 1.
    pub key_lines: [usize; 2],
    /// A merge (`<<`) brought the first one, and the map itself has the second one: that is what a
    /// merge is for.
    pub overrides_merge: bool,
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "line {}: key {} already set in map", self.line, self.key)
    }
}

/// Reads the first document of a text as JSON. As upstream, it ignores further documents. Of a
/// duplicate key the last value is used.
///
/// # Errors
/// `error converting YAML to JSON: yaml: line 3: …` in Go's words: the text is not UTF-8, nested
/// too deeply, or its first document is no YAML or too large by its aliases.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let most = usize::MAX;
    let text = respelled_within(bytes, Words::All, most)?;
    let until = Until::Duplicate(usize::MAX);
    read_first(&text, Words::All, until, most).map_err(|refusal| refusal.sentence())
}

/// As [`parse`], and names the duplicate keys, among them those that a merge (`<<`) brought.
/// `words`: which words of YAML 1.1 are read as such. With [`Words::Numbers`] a key of the map
/// itself has precedence over one of a merge, wherever the merge stands.
///
/// # Errors
/// As [`parse`].
pub fn parse_document(bytes: &[u8], words: Words) -> Result<Document, String> {
    read_document(&respelled_within(bytes, words, usize::MAX)?, words, usize::MAX)
}

/// As [`parse_document`], for the body of a request: the memory that it takes has a bound
/// (`BODY_NODES_MAX`), however its nodes are spelled.
///
/// # Errors
/// As [`parse`], and for a text with too many keys and values, also by its aliases.
pub fn parse_body(bytes: &[u8]) -> Result<Document, String> {
    let most = BODY_NODES_MAX;
    read_document(&respelled_within(bytes, Words::All, most)?, Words::All, most)
}

/// Reads a respelled text. `nodes_max`: keys and values that it may have, with those of aliases.
fn read_document(text: &[u8], words: Words, nodes_max: usize) -> Result<Document, String> {
    let most = (REREAD_BYTES_MAX / READS_EACH / text.len().max(1)).clamp(1, DUPLICATES_MAX);
    let mut duplicates = vec![];
    loop {
        // Only an error has a line, so the next duplicate is read as an error.
        let allowed = if duplicates.len() < most { duplicates.len() } else { usize::MAX };
        let refusal = match read_first(text, words, Until::Duplicate(allowed), nodes_max) {
            Ok(value) => return Ok(Document { value, duplicates }),
            Err(refusal) => refusal,
        };
        let line = refusal.line();
        match refusal.cause {
            Some(Cause::Duplicate(twice)) => duplicates.push(duplicate(text, words, nodes_max, twice, line)),
            _ => return Err(refusal.sentence()),
        }
    }
}

/// Finds the lines of both keys. `line` is that of the second one's value.
fn duplicate(text: &[u8], words: Words, nodes_max: usize, twice: Twice, line: usize) -> Duplicate {
    let key_lines = twice.keys.map(|key| {
        let refusal = read_first(text, words, Until::Key(key), nodes_max).err();
        refusal.map_or(line, |refusal| refusal.line())
    });
    Duplicate { line, key: twice.key, key_lines, overrides_merge: twice.overrides_merge }
}

/// Returns the first document of a text. A text without one is null.
fn read_first(text: &[u8], words: Words, until: Until, nodes_max: usize) -> Result<Value, Refusal> {
    let document = || serde_yaml::Deserializer::from_slice(text).next();
    let Some(first) = document() else { return Ok(Value::Null) };
    let result = read(first, text, words, until, nodes_max);
    // What the reader refuses may stand before a mistake of syntax, which Go reports first.
    if !matches!(&result, Err(Refusal { cause: Some(Cause::Yaml(_) | Cause::Json(_)), .. })) {
        return result;
    }
    match document().map(IgnoredAny::deserialize) {
        Some(Err(error)) => Err(read::refusal_of_library(error, text)),
        _ => result,
    }
}

/// Returns the text with its plain words in the spelling of YAML 1.2; lines stay where they are.
/// The scanner looks at every open bracket for each word, so that the depth has to be judged before
/// (CVE-2019-11254).
///
/// # Errors
/// Text that is not UTF-8, whose brackets cannot be counted, text with too many open ones or more
/// than `most` nodes, and text whose tags become too long.
fn respelled_within(bytes: &[u8], words: Words, most: usize) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| sentence("the document is not UTF-8"))?;
    if worth::tags_multiply(text) {
        return Err(sentence(worth::TAGS_MULTIPLY));
    }
    let respelled = respell::respell(text, words, Most { depth: bounds::DEPTH_MAX, nodes: most });
    if respelled.deepest > bounds::DEPTH_MAX {
        return Err(sentence(&format!(
            "exceeded max depth of {}: the document is nested too deeply",
            bounds::DEPTH_MAX
        )));
    }
    if respelled.nodes > most {
        return Err(sentence(&format!("the document has too many keys and values (more than {most})")));
    }
    Ok(respelled.text.into_bytes())
}

#[cfg(test)]
mod tests;
