//! What the probe is asked, and what it says of one thing.

use super::words::Word;
use lang::Lang;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One thing that a cluster uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// What `ropewalk doctor` calls it, in the language of the question.
    pub name: String,
    /// Whether the trial succeeded.
    pub ok: bool,
    /// What was found, or the kernel's answer.
    pub found: String,
    /// What does not work without it; empty if `ok`.
    pub what_is_lost: String,
    /// A command that mends it; empty if `ok`.
    pub how_to_mend: String,
    /// It is missing, and without it this machine is of no use.
    pub fatal: bool,
}

impl Capability {
    /// Makes a finding from a trial's outcome.
    pub fn of(
        name: impl Into<String>,
        outcome: std::result::Result<String, String>,
        lost: impl Into<String>,
        mend: impl Into<String>,
    ) -> Capability {
        let ok = outcome.is_ok();
        let unless = |text: String| if ok { String::new() } else { text };
        Capability {
            name: name.into(),
            ok,
            found: outcome.unwrap_or_else(|why| why),
            what_is_lost: unless(lost.into()),
            how_to_mend: unless(mend.into()),
            fatal: false,
        }
    }

    /// Marks it as needed: without it no cluster can start, or no pod in one.
    pub fn needed(self) -> Capability {
        Capability { fatal: !self.ok, ..self }
    }
}

/// Who asks, and what for.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The language of the answers.
    pub lang: Lang,
    /// Where clusters keep their files. It need not exist yet.
    pub home: &'a Path,
}

impl Question<'_> {
    pub(super) fn say(&self, word: Word) -> String {
        self.lang.say(word, &[])
    }

    pub(super) fn say_of(&self, word: Word, with: &[&str]) -> String {
        self.lang.say(word, with)
    }

    pub(super) fn of(
        &self,
        name: Word,
        outcome: std::result::Result<String, String>,
        lost: Word,
        mend: Word,
    ) -> Capability {
        Capability::of(self.say(name), outcome, self.say(lost), self.say(mend))
    }
}
