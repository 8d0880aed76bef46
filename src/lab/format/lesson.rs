//! A lesson as the engine plays it, after its files were read.

use super::declared::Declared;
use super::files::File;
use super::load::Load;
use super::question::Answer;
use super::text::{EN, Text};
use super::then::Then;
use crate::broken_shell::ShellFault;
use crate::cel::{Defines, Expr, Template};
use crate::needs::Need;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// A text with `${…}`, in every language.
#[derive(Clone, Debug, Default)]
pub(crate) struct Templates(BTreeMap<String, Template>);

impl Templates {
    /// Sets the template of a language.
    pub(crate) fn put(&mut self, lang: &str, template: Template) {
        self.0.insert(lang.into(), template);
    }
    /// English stands in for a language that is missing; `None` without either.
    pub(crate) fn get(&self, lang: &str) -> Option<&Template> {
        self.0.get(lang).or_else(|| self.0.get(EN))
    }
    /// The templates of all languages.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Template> {
        self.0.values()
    }
}

/// A lesson as it was read from its files.
#[derive(Clone, Debug)]
pub struct Lesson {
    /// TRACK/NN, e.g. `first-voyage/04`.
    pub id: String,
    /// The part of the id before `/`.
    pub track: String,
    /// The place in the track: the number in the id. A lesson before the first has 0.
    pub order: u32,
    /// Without Markdown.
    pub title: Text,
    /// Rows of the curriculum that it covers, as the author wrote them, e.g. `1.7 2.7`.
    pub row: String,
    /// How long its author expects it to take.
    pub minutes: u32,
    /// Ids of lessons that it builds on.
    pub needs: Vec<String>,
    /// What to do alone when the lesson is finished.
    pub then: Option<Then>,
    /// Requirements of all steps, e.g. `workers>=2`.
    pub requires: Vec<String>,
    /// The cluster that it is played on, if not any.
    pub cluster: Option<Declared>,
    /// REPL lines run as the teacher before the first step.
    pub setup: Vec<String>,
    /// What is placed in the learner's folder when the lesson is opened.
    pub files: Vec<File>,
    /// How many times as fast as real time the cluster's clock runs while it is open; 1 is real
    /// time.
    pub clock: u32,
    /// The map that is shown where a step names none: one of [`VIEWS`](super::VIEWS).
    pub view: String,
    /// In the order in which they are played.
    pub steps: Vec<Step>,
    /// Prose before the first section.
    pub intro: Text,
    /// What the learner can do now; shown when all steps are done.
    pub closing: Text,
    /// Languages that its texts are written in, English first.
    pub languages: Vec<String>,
    /// Its `lesson.md`: on the disk, or below the folder of the lessons in the binary.
    pub file: PathBuf,
    /// Names for expressions.
    pub(crate) defines: Defines,
}

/// One task of a lesson: what the learner reads, what is checked, and how it can be solved.
#[derive(Clone, Debug)]
pub struct Step {
    /// Unique within the lesson, e.g. `run`.
    pub id: String,
    /// Markdown, one paragraph.
    pub task: Text,
    /// The title of its section.
    pub heading: Text,
    /// Markdown of the section with this id.
    pub prose: Text,
    /// The part of the section that is shown once the question is answered.
    pub after: Text,
    /// The map that is shown during this step: one of [`VIEWS`](super::VIEWS); `None`: that of the
    /// lesson.
    pub view: Option<String>,
    /// A question that the learner answers before the task is shown.
    pub predict: Option<Predict>,
    /// A question whose answer proves that the learner has looked.
    pub answer: Option<Answer>,
    /// All have to be true for the step to be done.
    pub checks: Vec<Check>,
    /// How long the checks have to stay true.
    pub hold: Duration,
    /// If the step is not done this long after the learner's last act, the view says what is
    /// missing.
    pub within: Duration,
    /// How long a wrong state is watched before it counts as red, in `lesson test`.
    pub settle: Duration,
    pub(crate) keep: Option<Keep>,
    /// When it can no longer succeed.
    pub lost: Option<Lost>,
    /// Lines run as the teacher whenever the step begins; the learner does not see them.
    pub setup: Vec<String>,
    /// Requests that are sent and counted while the step is open.
    pub(crate) load: Option<Load>,
    /// What is broken in the learner's own shell while the step is open.
    pub shell: Vec<ShellFault>,
    /// Verbs of `fault` that it uses.
    pub faults: Vec<String>,
    /// Requirements beside those of the lesson, e.g. `control-planes>=3`.
    pub requires: Vec<String>,
    /// The lesson can be finished without it.
    pub optional: bool,
    /// Of those that fit, one with a true condition is offered first, then by tier.
    pub hints: Vec<Hint>,
    /// Lines that solve it. The text of a manifest follows its line, up to a line `.` or `EOF`.
    pub solution: Vec<String>,
    /// Positions of lines of the solution that may fail: they are written with a `-` before them.
    pub may_fail: BTreeSet<usize>,
    /// Further ways to solve it.
    pub also: Vec<Way>,
    /// Answers that must not solve it.
    pub wrong: Vec<Wrong>,
    /// Names of beats; `a | b` is the first that has something to tell.
    pub debrief: Vec<String>,
    /// A sentence to keep in mind, shown last of the debrief; empty if there is none.
    pub remember: Text,
    /// What it needs that only Ropewalk's own cluster has; read from the rest.
    pub needs: BTreeSet<Need>,
}

/// A question that is asked before the learner acts.
#[derive(Clone, Debug)]
pub struct Predict {
    /// Markdown, one paragraph.
    pub question: Text,
    /// Letter and text.
    pub choices: Vec<(String, Text)>,
    /// The letter of the right choice.
    pub answer: String,
    /// Proves the answer, after the solution.
    pub(crate) because: Option<Expr>,
}

/// What has to be true for a step to be done.
#[derive(Clone, Debug)]
pub struct Check {
    /// Empty: the task says it.
    pub that: Text,
    pub(crate) is: Expr,
}

/// What has to stay true while the step is open, and what the learner reads when it does not.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    pub is: Expr,
    pub say: Text,
}

/// When a step can no longer succeed, and what repairs it.
#[derive(Clone, Debug)]
pub struct Lost {
    /// True then.
    pub(crate) when: Expr,
    /// Why, for the learner.
    pub(crate) say: Text,
    /// What the learner is offered.
    pub(crate) repair: Repair,
}

/// What the learner does to be able to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// Goes to this step of the lesson, which begins anew.
    Goto(String),
    /// Takes the last act back.
    Undo,
}

/// A hint: `tier` 1 is where to look, 2 what is wrong, 3 the command. It is offered where `when` is
/// true or missing.
#[derive(Clone, Debug)]
pub struct Hint {
    /// Unique within the step.
    pub id: String,
    /// 1 to 3.
    pub tier: u8,
    /// `None`: it always fits.
    pub when: Option<Expr>,
    pub(crate) say: Templates,
}

/// Another way to solve a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// As of [`Step::solution`].
    pub lines: Vec<String>,
    /// The learner sees it when the step is done; others only prove the check.
    pub show: bool,
}

/// An answer after which the step has to stay red, and why; `lesson test` plays it.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// As of [`Step::solution`].
    pub lines: Vec<String>,
    /// For the author: what is wrong about it.
    pub why: String,
}

impl Lesson {
    /// Every expression in it; the kinds that they name are watched while the lesson is open.
    pub(crate) fn exprs(&self) -> Vec<&Expr> {
        self.steps.iter().flat_map(Step::exprs).collect()
    }

    /// The position of the step with this id, from 0.
    pub fn step(&self, id: &str) -> Option<usize> {
        self.steps.iter().position(|s| s.id == id)
    }
}

impl Step {
    /// What people call it: its heading, in quotation marks.
    pub(crate) fn called(&self, lang: &str) -> String {
        match self.heading.get(lang) {
            "" => format!("“{}”", self.id),
            heading => format!("“{heading}”"),
        }
    }

    /// The solution with a `-` before each line that may fail, as the teacher plays it.
    pub(crate) fn marked_solution(&self) -> Vec<String> {
        let marked = |(at, line): (usize, &String)| match self.may_fail.contains(&at) {
            true => format!("-{line}"),
            false => line.clone(),
        };
        self.solution.iter().enumerate().map(marked).collect()
    }

    /// What the teacher plays in place of the learner: its setup, and the marked solution.
    pub(crate) fn whole(&self) -> Vec<String> {
        self.setup.iter().cloned().chain(self.marked_solution()).collect()
    }

    /// Every expression in it.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let checks = self.checks.iter().map(|check| &check.is).chain(self.keep.iter().map(|keep| &keep.is));
        let proofs = self.predict.iter().filter_map(|predict| predict.because.as_ref());
        let proofs = proofs.chain(self.answer.iter().map(|answer| &answer.is));
        let proofs = proofs.chain(self.lost.iter().map(|lost| &lost.when));
        let hints = self
            .hints
            .iter()
            .flat_map(|hint| hint.when.iter().chain(hint.say.all().flat_map(Template::exprs)));
        checks.chain(proofs).chain(hints)
    }

    /// Kinds of which it may ask what there was when it began.
    pub(crate) fn kinds_before(&self) -> impl Iterator<Item = String> {
        let asks = self.exprs().filter(|expr| expr.reads_beginning());
        asks.flat_map(|expr| expr.kinds.iter().cloned())
    }
}
