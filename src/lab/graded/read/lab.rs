//! A lab as it was read, before its values are drawn.

use crate::cel::Expr;
use crate::format::{Declared, Text};
use crate::graded::draw::{self, Choices};
use crate::lines::objects;
use crate::observe::who::Meddling;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// A lab as it was read, before its values are drawn.
#[derive(Clone, Debug)]
pub struct Lab {
    /// The name of its folder, e.g. `broken-selector`.
    pub id: String,
    /// It is shown as it is, so it names no values.
    pub title: Text,
    /// Rows of the curriculum that it covers, as the author wrote them, e.g. `1.7 2.7`.
    pub row: String,
    /// 1 (the first steps) to 4 (takes experience).
    pub level: u8,
    /// The time limit.
    pub minutes: u32,
    /// Ids of lessons that teach what it asks for.
    pub needs: Vec<String>,
    /// What its cluster has to have, e.g. `workers>=2`.
    pub requires: Vec<String>,
    /// The cluster that it is played on, if not any.
    pub cluster: Option<Declared>,
    /// What each value is drawn from.
    pub choices: Choices,
    pub(crate) derived: Vec<(String, Expr)>,
    /// Lines that break something, played by the teacher before the clock starts.
    pub setup: Vec<Also>,
    pub(crate) ready_when: Option<Expr>,
    /// In the order in which they are shown and graded.
    pub tasks: Vec<Task>,
    /// Of the whole lab.
    pub hints: Vec<Hint>,
    /// Lines that make every task green.
    pub solution: Vec<Also>,
    /// Further ways to do so.
    pub also: Vec<Also>,
    /// Answers that must not earn everything.
    pub wrong: Vec<Wrong>,
    /// A sentence to keep in mind; empty if there is none.
    pub remember: Text,
    /// Markdown: what the learner reads before the tasks, with `{{key}}` for values.
    pub intro: Text,
    /// Languages that its texts are written in, English first.
    pub languages: Vec<String>,
    /// Hash of `lab.md`.
    pub content: String,
    /// Its `lab.md`: on the disk, or below `labs` for one in the binary.
    pub file: PathBuf,
}

/// What the learner has to reach, and the points for it (`weight`).
#[derive(Clone, Debug)]
pub struct Task {
    /// Unique within the lab, e.g. `traffic`.
    pub id: String,
    /// Points.
    pub weight: u32,
    /// Markdown, one paragraph, with `{{key}}` for values.
    pub task: Text,
    /// What the judge does first, as the teacher, and takes back afterwards.
    pub probe: Vec<String>,
    /// Sentence (may be empty) and expression.
    pub(crate) checks: Vec<(Text, Expr)>,
    /// Once this is true, the task stays red: the judge waits no longer.
    pub(crate) lost: Option<Expr>,
    /// What is said when it is red and its check has no sentence; may be empty, then the task
    /// itself is.
    pub unmet: Text,
    /// How long its checks have to stay true at grading.
    pub hold: Duration,
    /// How long the judge waits for them to become true.
    pub within: Duration,
    /// What happened, shown after grading, with `{{key}}` and `${…}`; empty if there is nothing to
    /// tell.
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
    /// Unique within the lab.
    pub id: String,
    /// 1 to 3.
    pub tier: u8,
    /// `None`: it always fits.
    pub when: Option<Expr>,
    /// Markdown, with `{{key}}` and `${…}`.
    pub say: Text,
}

/// Lines, for all variants or for those of which `only` is true.
#[derive(Clone, Debug)]
pub struct Also {
    /// An expression over the values, e.g. `v.fault == "key"`; `None`: all variants.
    pub only: Option<String>,
    /// With `{{key}}` for values.
    pub lines: Vec<String>,
}

/// An answer that `lab test` plays: the tasks in `red` have to stay red after it, and it has to
/// earn exactly `score_max` points. With `only` it is played in variants of which that is true.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// An expression over the values; `None`: all variants.
    pub only: Option<String>,
    /// Ids of tasks.
    pub red: Vec<String>,
    /// Points; `None`: any number below all.
    pub score_max: Option<u32>,
    /// For the author: what is wrong about it.
    pub why: String,
    /// With `{{key}}` for values.
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
        objects::namespaces(&filled.collect::<Vec<_>>())
    }

    /// The expressions of its tasks, of `ready_when` and of its hints.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let tasks = self.tasks.iter().flat_map(|t| t.checks.iter().map(|(_, e)| e).chain(&t.lost));
        tasks.chain(&self.ready_when).chain(self.hints.iter().filter_map(|h| h.when.as_ref()))
    }
}
