//! What is missing of histories: the recorder keeps the newest versions of an object only.

use std::collections::BTreeMap;

/// What is missing of histories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forgotten {
    /// By object, the newest version that is gone.
    of: BTreeMap<(String, String, String), Gone>,
    /// The newest version that is gone of all objects together, where they were too many for `of`.
    any: Gone,
}

/// The newest version that is no longer kept: its revision, and its number (`Version::number`).
#[derive(Clone, Copy, Debug, Default)]
struct Gone {
    revision: i64,
    number: u64,
}

impl Gone {
    fn add(&mut self, revision: i64, number: u64) {
        self.revision = self.revision.max(revision);
        self.number = self.number.max(number);
    }
}

/// Objects whose missing versions are noted one by one.
pub(super) const FORGOTTEN_MAX: usize = 5_000;

impl Forgotten {
    /// Notes that the version of an object (plural, namespace, name) with this revision and number
    /// is no longer kept. Beyond [`FORGOTTEN_MAX`] objects it counts as missing of every object.
    pub(crate) fn note(&mut self, key: (String, String, String), revision: i64, number: u64) {
        if self.of.len() >= FORGOTTEN_MAX && !self.of.contains_key(&key) {
            self.any.add(revision, number);
            return;
        }
        self.of.entry(key).or_default().add(revision, number);
    }

    /// Forgets what is gone of the time before a revision: no expression asks for it.
    pub(crate) fn retain(&mut self, after: i64) {
        self.of.retain(|_, gone| gone.revision > after);
        if self.any.revision <= after {
            self.any = Gone::default();
        }
    }

    /// True if no version is missing.
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty() && self.any.revision == 0
    }

    /// Returns whether something is gone of this object's history after a revision.
    #[cfg(test)]
    pub(crate) fn since(&self, key: &(String, String, String), revision: i64) -> bool {
        self.any.revision > revision || self.of.get(key).is_some_and(|gone| gone.revision > revision)
    }

    /// Returns whether a version after a revision is gone whose number is not below `next`.
    pub(super) fn any_since(
        &self,
        revision: i64,
        next: u64,
        fits: impl Fn(&(String, String, String)) -> bool,
    ) -> bool {
        let is_missed = |gone: &Gone| gone.revision > revision && gone.number >= next;
        is_missed(&self.any) || self.of.iter().any(|(key, gone)| is_missed(gone) && fits(key))
    }
}
