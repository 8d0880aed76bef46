//! What a strict decoder says of a JSON body: keys that stand twice in one map (`serde_json` keeps
//! the last), and unknown fields, both in the order in which they stand there.

use api::gostr::quote;
use api::json_text::{Container, Look};
use api::path::{UnknownFields, more};
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess};
use std::collections::HashSet;

/// Problems of one body, at most. Further ones are not looked for.
const PROBLEMS_MAX: usize = 50;
/// Bytes of one problem.
const PROBLEM_MAX: usize = 1024;
/// Bytes of paths that are made while a body is looked through: a long key with many keys inside
/// would make gigabytes.
const PATHS_MAX: usize = 16 * 1024 * 1024;

/// Returns the problems of a body in its order: `duplicate field "spec.containers[0].name"` and
/// `unknown field "spec.foo"`, at most [`PROBLEMS_MAX`]. `unknown` are the paths of unknown fields;
/// what is in one is not looked at. The unknown fields beyond the bound are counted in a last line:
/// where there is an unknown field there is a problem.
pub(crate) fn problems(bytes: &[u8], unknown: &UnknownFields) -> Vec<String> {
    let known: HashSet<&str> = unknown.shown().iter().map(String::as_str).collect();
    let mut found = Found::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let scan = Scan { path: String::new(), found: &mut found, unknown: &known };
    let _ = Look(scan).deserialize(&mut deserializer);
    let mut all = found.all;
    all.extend(more(unknown.count().saturating_sub(found.unknown)));
    all
}

/// The problems of a body that were found so far.
#[derive(Default)]
struct Found {
    all: Vec<String>,
    /// The same problems as a set, to find one that was found before.
    seen: HashSet<String>,
    /// Unknown fields that were met.
    unknown: usize,
    /// Bytes of paths made so far.
    made: usize,
}

impl Found {
    /// Adds a problem, unless it is there already.
    ///
    /// # Errors
    /// There are [`PROBLEMS_MAX`] problems.
    fn add<E: Error>(&mut self, mut problem: String) -> Result<(), E> {
        if problem.len() > PROBLEM_MAX {
            problem.truncate(problem.floor_char_boundary(PROBLEM_MAX));
            problem.push('…');
        }
        if self.seen.insert(problem.clone()) {
            self.all.push(problem);
        }
        if self.all.len() < PROBLEMS_MAX { Ok(()) } else { Err(E::custom("there are enough problems")) }
    }

    /// Counts a path that was made.
    ///
    /// # Errors
    /// All paths of this body have more than [`PATHS_MAX`] bytes.
    fn path<E: Error>(&mut self, path: String) -> Result<String, E> {
        self.made = self.made.saturating_add(path.len());
        if self.made <= PATHS_MAX { Ok(path) } else { Err(E::custom("the paths are too long")) }
    }
}

struct Scan<'a> {
    path: String,
    found: &'a mut Found,
    unknown: &'a HashSet<&'a str>,
}

impl<'de> Container<'de> for Scan<'_> {
    fn list<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut i = 0;
        loop {
            let path = self.found.path(format!("{}[{i}]", self.path))?;
            let item = Scan { path, found: self.found, unknown: self.unknown };
            if seq.next_element_seed(Look(item))?.is_none() {
                return Ok(());
            }
            i += 1;
        }
    }
    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen: HashSet<String> = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let dot = if self.path.is_empty() { "" } else { "." };
            let path = self.found.path(format!("{}{dot}{key}", self.path))?;
            if self.unknown.contains(path.as_str()) {
                self.found.unknown += usize::from(seen.insert(key));
                self.found.add(format!("unknown field {}", quote(&path)))?;
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if !seen.insert(key) {
                self.found.add(format!("duplicate field {}", quote(&path)))?;
            }
            map.next_value_seed(Look(Scan { path, found: self.found, unknown: self.unknown }))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use api::path::{Path, UnknownFields};

    fn none() -> UnknownFields {
        UnknownFields::default()
    }

    /// A path that is cut, or that is beyond what is looked through, is a problem all the same:
    /// strict decoding refuses it.
    #[test]
    fn an_unknown_field_that_is_not_met_is_counted() {
        let key = "k".repeat(4096);
        let mut unknown = none();
        unknown.add(Path::Root.field(&key));
        let problems = super::problems(format!("{{\"{key}\": 1}}").as_bytes(), &unknown);
        assert_eq!(problems, ["1 more unknown field"]);
    }

    #[test]
    fn duplicates_are_named_by_their_path() {
        let text = br#"{"a": 1, "spec": {"x": [{"n": 1, "n": 2}], "x": 3}, "b": null}"#;
        let twice = |path: &str| format!("duplicate field {path:?}");
        assert_eq!(super::problems(text, &none()), [twice("spec.x[0].n"), twice("spec.x")]);
        assert!(super::problems(b"{broken", &none()).is_empty());
    }

    #[test]
    fn the_problems_of_a_body_have_bounds() {
        let key = "k".repeat(1 << 20);
        let twice: Vec<String> = (0..10_000).map(|n| format!("\"{n}\":0,\"{n}\":0")).collect();
        let body = format!("{{\"{key}\":{{{}}}}}", twice.join(","));
        let problems = super::problems(body.as_bytes(), &none());
        assert!(problems.len() <= super::PROBLEMS_MAX);
        assert!(problems.iter().all(|p| p.len() <= super::PROBLEM_MAX + "…".len()));
        let body = format!("{{{}}}", twice.join(","));
        assert_eq!(super::problems(body.as_bytes(), &none()).len(), super::PROBLEMS_MAX);
        let list = format!("{{\"{key}\":[{}0]}}", "0,".repeat(500_000));
        assert!(super::problems(list.as_bytes(), &none()).is_empty());
    }

    #[test]
    fn unknown_fields_stand_where_they_are_met() {
        let text = br#"{"spec": {"unknown": {"a": 1, "a": 2}, "n": 1, "n": 2, "unknown": 3}, "z": 1}"#;
        let mut unknown = none();
        unknown.add(Path::Text("z"));
        unknown.add(Path::Text("spec.unknown"));
        assert_eq!(
            super::problems(text, &unknown),
            [r#"unknown field "spec.unknown""#, r#"duplicate field "spec.n""#, r#"unknown field "z""#]
        );
    }
}
