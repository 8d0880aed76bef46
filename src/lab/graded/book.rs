//! What has to survive `kill -9`: the lab that is open, and the best grades. One file in the cluster's directory.

use super::score::Used;
use super::seal::Chain;
use crate::clock::Timestamp;
use crate::lab::Error;
use crate::lab::progress;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Book {
    pub format: u32,
    pub open: Option<Open>,
    pub best: BTreeMap<String, Best>,
}

/// The open lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    pub lab: String,
    pub seed: u64,
    /// Store revision before its setup: what `lab start` goes back to.
    pub base: i64,
    /// Store revision and time when the clock started; revision 0: its setup has not come to an end.
    pub began: i64,
    pub started: Timestamp,
    /// Ids of hints that were shown, and what they said, in order.
    pub hints: Vec<String>,
    pub solve: bool,
    pub undo: u32,
    /// When the learner last wrote something: milliseconds from the start.
    #[serde(default)]
    pub changed_ms: Option<u64>,
    /// How long it had been open when this was written.
    #[serde(default)]
    pub ran_ms: u64,
    /// Store revision before the judge disturbed what it has not taken back yet.
    #[serde(default)]
    pub disturbed: Option<i64>,
    /// Since when each green task is green: milliseconds from the start, revision.
    pub green: BTreeMap<String, (u64, i64)>,
    pub chain: Chain,
}

impl Open {
    pub fn used(&self) -> Used {
        Used { hints: self.hints.len() as u32, undo: self.undo, solve: self.solve }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Best {
    pub score: u32,
    pub max: u32,
    pub passed: bool,
    pub seed: u64,
}

impl Book {
    /// A file that is not there is a beginning. Errors: it was written by a newer program, or is damaged.
    pub fn load(path: &Path) -> Result<Book, Error> {
        Ok(progress::load(path, FORMAT)?.unwrap_or_default())
    }

    pub fn save(&mut self, path: &Path) -> Result<(), Error> {
        self.format = FORMAT;
        progress::keep(path, self)
    }

    /// Notes a grade if it is better than those before; a played solution is no grade of the learner's.
    pub fn note(&mut self, lab: &str, grade: Best, solved: bool) {
        if !solved && self.best.get(lab).is_none_or(|best| grade.score > best.score || best.max == 0) {
            self.best.insert(lab.into(), grade);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_survives_and_keeps_the_best_grade() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labs.json");
        let mut book = Book::load(&path).unwrap();
        let grade = |score| Best { score, max: 100, passed: score == 100, seed: 1 };
        book.note("a", grade(90), false);
        book.note("a", grade(40), false);
        book.note("a", grade(100), true);
        book.note("played", grade(100), true);
        book.save(&path).unwrap();
        let read = Book::load(&path).unwrap();
        assert_eq!((read.best["a"].score, read.best["a"].passed), (90, false));
        assert!(!read.best.contains_key("played"), "what was only played has no grade, not even none");
        std::fs::write(&path, r#"{"format": 7}"#).unwrap();
        assert!(matches!(Book::load(&path), Err(Error::Newer { found: 7, .. })));
    }
}
