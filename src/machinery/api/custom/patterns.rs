//! The memory of what a definition has compiled: its patterns and its rules. They stay as long as
//! the definition is there. A few letters of a pattern take megabytes: `\pL{60}` stands for any of
//! 140 000 letters, 60 times.

use crate::bounds;
use crate::cel::terms;
use crate::errors::Errors;
use crate::value::{at, list, text};
use parking_lot::Mutex;
use regex::Regex;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Weak};

/// Bytes that the patterns of all versions of a definition may take together when they are
/// compiled, with the table of each. Equal ones are one pattern. There is no such bound upstream,
/// where a letter is one instruction.
const DEFINITION_BYTES: usize = 64 << 20;

/// A pattern that a text must match.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// The pattern as it is written.
    pub source: String,
    regex: Arc<Regex>,
    /// Places of it that matching may look at for each byte of a text.
    places: usize,
}

/// The patterns of all schemas that are there. Definitions repeat the same ones hundreds of times,
/// as that of a quantity, and each is read three times when its definition is written.
static SHARED: LazyLock<Mutex<HashMap<String, Weak<Regex>>>> = LazyLock::new(Mutex::default);

impl Pattern {
    /// Compiles a pattern, unless a schema has it already.
    ///
    /// # Errors
    /// As [`bounds::regex`].
    pub(super) fn read(source: &str) -> Result<Pattern, regex::Error> {
        let known = SHARED.lock().get(source).and_then(Weak::upgrade);
        let regex = match known {
            Some(regex) => regex,
            None => {
                let regex = Arc::new(bounds::schema_regex(source)?);
                let mut shared = SHARED.lock();
                if shared.len() == shared.capacity() {
                    shared.retain(|_, regex| regex.strong_count() > 0);
                }
                shared.insert(source.to_string(), Arc::downgrade(&regex));
                regex
            }
        };
        // A part that is not repeated has some four letters.
        let places = bounds::live_places(source).max(source.len() / 4).max(1);
        Ok(Pattern { source: source.to_string(), regex, places })
    }

    /// Returns whether a text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Returns the steps of matching a text of so many bytes, of 20 ns each.
    pub(super) fn steps(&self, bytes: usize) -> usize {
        /// Places that a step looks at.
        const PLACES: usize = 4;
        bytes.saturating_mul(self.places) / PLACES
    }
}

/// Returns whether the patterns and the rules of a definition are within [`DEFINITION_BYTES`] and
/// [`terms::Room`], and reports it if they are not. To compile more of them, as the other checks
/// do, would take minutes.
pub(crate) fn check(definition: &Value, errors: &mut Errors) -> bool {
    let mut left = Left { patterns: DEFINITION_BYTES, known: HashSet::new(), rules: terms::Room::default() };
    for (i, version) in list(definition, "spec.versions").iter().enumerate() {
        if let Err(why) = left.take(at(version, "schema.openAPIV3Schema")) {
            errors.forbidden(format!("spec.versions[{i}].schema.openAPIV3Schema"), &why);
            return false;
        }
    }
    true
}

/// What is left for the patterns and rules of a definition.
struct Left<'a> {
    /// Bytes of compiled patterns.
    patterns: usize,
    /// Patterns that were counted.
    known: HashSet<&'a str>,
    rules: terms::Room,
}

impl<'a> Left<'a> {
    /// Takes the patterns and the rules of a schema off what is left. What only looks like one
    /// counts, too, as a text `pattern` in a default.
    ///
    /// # Errors
    /// They take more than is left. Those behind are not looked at.
    fn take(&mut self, schema: &'a Value) -> Result<(), String> {
        match schema {
            Value::Object(words) => words.iter().try_for_each(|(word, inner)| match inner {
                Value::String(pattern) if word == "pattern" => self.take_pattern(pattern),
                Value::Array(rules) if word == "x-kubernetes-validations" => {
                    rules.iter().try_for_each(|rule| self.take_rule(rule))
                }
                inner => self.take(inner),
            }),
            Value::Array(items) => items.iter().try_for_each(|item| self.take(item)),
            _ => Ok(()),
        }
    }

    fn take_pattern(&mut self, pattern: &'a str) -> Result<(), String> {
        if self.known.contains(pattern) {
            return Ok(());
        }
        let (bytes, is_sound) = match bounds::measured_regex(pattern, bounds::PATTERN_MAX) {
            Ok((_, bytes)) => (bytes, true),
            // It is compiled again, in vain, wherever it stands.
            Err(regex::Error::CompiledTooBig(_)) => (bounds::PATTERN_MAX, false),
            Err(_) => return Ok(()),
        };
        self.patterns = self.patterns.checked_sub(bytes + bounds::SCHEMA_TABLE).ok_or_else(|| {
            format!("the patterns of all versions take more than {DEFINITION_BYTES} bytes when compiled")
        })?;
        if is_sound {
            self.known.insert(pattern);
        }
        Ok(())
    }

    fn take_rule(&mut self, rule: &Value) -> Result<(), String> {
        self.rules.take(text(rule, "rule"))?;
        match text(rule, "messageExpression") {
            "" => Ok(()),
            message => self.rules.take(message),
        }
    }
}
