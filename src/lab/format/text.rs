//! Texts in every language of a lesson, and what is wrong in a file.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {what}", file.display())]
pub struct Fault {
    /// The file, as it was found.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// What is wrong and how to mend it, in English, for the author.
    pub what: String,
}

/// Faults of one file that are reported, at most. To find the line of one takes a look at the whole
/// file, and a pack may be made to have very many.
pub(crate) const FAULTS_MAX: usize = 200;

/// The language that every text has.
pub const EN: &str = "en";
/// Languages beside English.
pub(crate) const OTHERS: &[&str] = &["ko"];

/// A text in every language of its lesson.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(BTreeMap<String, String>);

impl Text {
    /// Says the same in every language; languages in which it is empty are left out.
    pub fn said(say: impl Fn(&str) -> String) -> Text {
        let all = [EN].iter().chain(OTHERS).map(|lang| (lang.to_string(), say(lang)));
        Text(all.filter(|(_, text)| !text.is_empty()).collect())
    }
    /// True if it is empty in every language.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(String::is_empty)
    }
    /// A text in English only.
    pub fn new(english: &str) -> Text {
        Text([(EN.to_string(), english.to_string())].into())
    }
    /// Sets the text of a language.
    pub fn put(&mut self, lang: &str, text: &str) {
        self.0.insert(lang.into(), text.into());
    }
    /// English stands in for a language that is missing.
    pub fn get(&self, lang: &str) -> &str {
        self.0.get(lang).or_else(|| self.0.get(EN)).map_or("", String::as_str)
    }
}
