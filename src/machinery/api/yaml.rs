//! YAML bodies and files: the one place that knows how Kubernetes reads plain words. [`write`]
//! writes texts so that they are read as texts again.
//!
//! Its YAML library is of version 1.1: `y`, `no` and `on` are booleans, `0644` is an octal number.
//! Ours is of 1.2, where they are text. So a plain word that means something else in 1.1 is
//! respelled before it is read; quoted text, block text and comments stay. `scan` finds the
//! words, by the rules by which the library finds them afterwards; `respell` resolves them.

mod plain;
mod read;
mod respell;
mod scalar;
mod scan;
mod tags;
pub mod write;

use super::bounds;
use read::{Duplicates, read};
use serde_json::Value;

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
        Ok(_) => match respell_bytes(bytes, true) {
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
    respell_bytes(bytes, true).0
}

/// The text with its octal numbers in the spelling of YAML 1.2; `yes` and `on` stay text, as for
/// kustomize.
pub fn old_numbers(bytes: &[u8]) -> Vec<u8> {
    respell_bytes(bytes, false).0
}

/// The text, and how many brackets are open at most. Text that is not UTF-8 is no YAML, and stays.
fn respell_bytes(bytes: &[u8], flags: bool) -> (Vec<u8>, usize) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let (text, deepest) = respell::respell(text, flags, bounds::DEPTH_MAX);
            (text.into_bytes(), deepest)
        }
        Err(_) => (bytes.to_vec(), 0),
    }
}

#[cfg(test)]
mod tests;
