//! A lab as it was read, before its values are drawn.

use crate::cel::Expr;
use crate::format::{Declared, Text};
use crate::graded::draw::{self, Choices};
use crate::observe::who::Meddling;
use crate::own;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// A lab as it was read, before its values are drawn.
#[derive(Clone, Debug)]
pub struct Lab {
    pub id: String,
    pub title: Text,
    pub row: String,
    pub level: u8,
    pub minutes: u32,
    pub needs: Vec<String>,
    pub requires: Vec<String>,
    /// The cluster that it is played on, if not any.
    pub cluster: Option<Declared>,
    pub choices: Choices,
    pub(crate) derived: Vec<(String, Expr)>,
    pub setup: Vec<Also>,
    pub(crate) ready_when: Option<Expr>,
    pub tasks: Vec<Task>,
    pub hints: Vec<Hint>,
    pub solution: Vec<Also>,
    pub also: Vec<Also>,
    pub wrong: Vec<Wrong>,
    pub remember: Text,
    pub intro: Text,
    pub languages: Vec<String>,
    /// Hash of `lab.md`.
    pub content: String,
    pub file: PathBuf,
}

/// What the learner has to reach, and the points for it (`weight`).
#[derive(Clone, Debug)]
pub struct Task {
    pub id: String,
    pub weight: u32,
    pub task: Text,
    /// What the judge does first, as the teacher, and takes back afterwards.
    pub probe: Vec<String>,
    /// Sentence (may be empty) and expression.
    pub(crate) checks: Vec<(Text, Expr)>,
    /// What is said when it is red and its check has no sentence; may be empty, then the task
    /// itself is.
    pub unmet: Text,
    pub hold: Duration,
    pub within: Duration,
    pub debrief: Text,
    /// Tasks without which this one earns nothing: it is true from the beginning.
    pub only_with: Vec<String>,
    /// After such an act in the lab's namespaces it stays red.
    pub(crate) excludes: Vec<Meddling>,
}

/// A hint: `tier` 1 is where to look, 2 what is wrong, 3 the command. It is offered where `when` is
/// true or missing.
#[derive(Clone, Debug)]
pub struct Hint {
    pub id: String,
    pub tier: u8,
    pub when: Option<Expr>,
    pub say: Text,
}

/// Lines, for all variants or for those of which `only` is true.
#[derive(Clone, Debug)]
pub struct Also {
    pub only: Option<String>,
    pub lines: Vec<String>,
}

/// An answer that `lab test` plays: the tasks in `red` have to stay red after it, and it has to
/// earn exactly `score_max` points. With `only` it is played in variants of which that is true.
#[derive(Clone, Debug)]
pub struct Wrong {
    pub only: Option<String>,
    pub red: Vec<String>,
    pub score_max: Option<u32>,
    pub why: String,
    pub lines: Vec<String>,
}

impl Lab {
    /// All that its texts and expressions may name: drawn and derived.
    ///
    /// # Errors
    /// The derived value that cannot be computed, and why.
    pub fn variant(&self, seed: u64) -> Result<Map<String, Value>, String> {
        draw::derive(&draw::draw(&self.id, seed, &self.choices), &self.derived)
    }

    /// The lines of those parts that a variant needs.
    pub fn lines(parts: &[Also], variant: &Map<String, Value>) -> Vec<String> {
        let needed = parts.iter().filter(|p| draw::fits(p.only.as_deref(), variant));
        needed.flat_map(|p| p.lines.iter().cloned()).collect()
    }

    /// The lines of its setup with their values.
    pub(crate) fn setup_lines(&self, variant: &Map<String, Value>) -> Vec<String> {
        let filled = |line: &String| draw::fill(line, variant).unwrap_or_else(|_| line.clone());
        Lab::lines(&self.setup, variant).iter().map(filled).collect()
    }

    /// The namespaces in which a lab is played, with the lines of these values. `None`: it changes
    /// more than namespaces hold.
    pub(crate) fn places(&self, variant: &Map<String, Value>) -> Option<BTreeSet<String>> {
        let mut lines = Lab::lines(&self.setup, variant);
        lines.extend(self.tasks.iter().flat_map(|t| t.probe.iter().cloned()));
        let filled = lines.iter().map(|line| draw::fill(line, variant).unwrap_or_else(|_| line.clone()));
        own::namespaces(&filled.collect::<Vec<_>>())
    }

    /// The expressions of its tasks, of `ready_when` and of its hints.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let tasks = self.tasks.iter().flat_map(|t| t.checks.iter().map(|(_, e)| e));
        tasks.chain(&self.ready_when).chain(self.hints.iter().filter_map(|h| h.when.as_ref()))
    }
}
