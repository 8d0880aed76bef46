//! What the engine shows and is asked: plain data, the same on the control socket, in the REPL and
//! in the terminal interface.

use super::format::{Declared, Pack};
pub use super::format::{File, Form, Then};
use super::progress::Progress;
use cluster::undo::Loss;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A question to the engine. Every question names the language of the answer: `en` or `ko`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    pub lang: String,
    pub ask: Ask,
    /// A name of the asker's choice, by which [`Ask::Stop`] finds this question; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}

/// What a learner may want of the engine. All answer with [`LessonView`], except where it says
/// otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// The state as it is now.
    Show,
    /// The state now, and again after every change, without end.
    Follow,
    /// All lessons: answers with a list of [`Entry`].
    List,
    /// Opens a lesson at the step where it was left, or at its first.
    Open {
        id: String,
    },
    /// The cluster that a lesson declares, if this one is another: answers with [`Elsewhere`], or
    /// with null. An empty id names the lesson that [`Ask::Next`] would open now.
    Elsewhere {
        id: String,
    },
    /// Notes steps as done that were done on a cluster that a lesson had declared.
    Learnt {
        progress: Progress,
    },
    Next,
    Back,
    /// To a step of this lesson (its id or number from 1), or `TRACK/LESSON[#STEP]`.
    Goto {
        step: String,
    },
    /// The next hint.
    Hint,
    /// Judges now, waiting out `hold`. A lesson that would have to be set up first is not opened.
    Check {
        id: Option<String>,
    },
    /// Answers the step's question: a choice's letter.
    Predict {
        choice: String,
    },
    /// Answers the step's question about the cluster, with a text, a number or letters.
    Answer {
        text: String,
    },
    /// A line that was typed: only hints see it. Answered at once, with nothing.
    Typed {
        line: String,
    },
    /// A line has ended with this exit code. Answered at once, with nothing.
    Ran {
        line: String,
        code: i32,
    },
    /// The lines that solve the step: answers with [`Solution`]. What they do from now on is marked
    /// `by: solve`.
    Solve {
        id: Option<String>,
    },
    /// The lines of the solution have been played.
    Solved,
    /// What a question would take from the learner: answers with a list of [`Loss`].
    /// `Goto` rewinds, and the setup of a lesson that is opened may delete.
    Cost {
        of: Box<Ask>,
    },
    /// The question is meant. Without this, one that costs something is refused.
    Sure {
        ask: Box<Ask>,
        /// What the learner was told that it costs: refused if it would cost more by now. `None`:
        /// it is meant whatever it costs.
        #[serde(default)]
        agreed: Option<Vec<Loss>>,
    },
    /// What happened in a step that is done (of the open lesson; the open step if none is named):
    /// answers with sentences.
    Debrief {
        step: Option<String>,
    },
    /// Gives up the namespaces that were made for lessons on a cluster that is not Ropewalk's own:
    /// answers with their names.
    Leave {
        /// The names that the learner was told: refused if there are others by now. `None`: all go.
        #[serde(default)]
        agreed: Option<Vec<String>>,
    },
    /// Stops the lines that the teacher plays: a setup, or steps before a jump. With the id of a
    /// question only if that question plays them; if it still waits, it is forgotten. What the
    /// lines have changed so far stays. Answers with a sentence, or with null if a question by that
    /// id plays none.
    Stop {
        question: Option<String>,
    },
    /// What is true of the step besides its checks, for `lesson test`: answers with [`Proof`].
    Prove,
}

/// A lesson or lab that is played on another cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Elsewhere {
    /// The id of the lesson or lab.
    pub id: String,
    pub cluster: Declared,
    /// It is a lab.
    #[serde(default)]
    pub lab: bool,
    /// The seed that the lab is to be started with, if one was asked for.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// What `lesson test` wants to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// Is the prediction's answer proved?
    pub because: Option<bool>,
    /// Does `lost` of the step say that it can no longer succeed?
    #[serde(default)]
    pub is_lost: Option<bool>,
    /// Hints whose condition is true now.
    pub hints: Vec<String>,
    /// Each beat of the debrief, and whether it could be told.
    pub beats: Vec<(String, bool)>,
}

/// A line in the list of lessons.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub id: String,
    pub title: String,
    pub track: String,
    pub languages: Vec<String>,
    pub minutes: u32,
    /// Steps done, of [`Entry::steps`].
    pub done: usize,
    pub steps: usize,
    /// Ids of lessons that this one builds on, and that have a step left to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<String>,
    /// Steps that this cluster cannot do: what the step is called, and what is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cannot: Vec<(String, String)>,
    /// The pack that it is from; `None`: it is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackNote>,
}

/// What a list says of the pack of a lesson, in the language asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PackNote {
    pub title: String,
    pub authors: Vec<String>,
    pub version: String,
    /// The title of the lesson's track, if the pack gives it one.
    pub track: String,
}

impl PackNote {
    /// The note about the pack that a lesson is from.
    pub fn of(pack: &Pack, track: &str, lang: &str) -> PackNote {
        PackNote {
            title: pack.title.get(lang).into(),
            authors: pack.authors.clone(),
            version: pack.version.clone(),
            track: pack.tracks.get(track).map(|title| title.get(lang).into()).unwrap_or_default(),
        }
    }
}

/// The lines that solve a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Solution {
    pub lines: Vec<String>,
    /// Positions of lines that are expected to fail: the refusal is what the learner should see.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub may_fail: BTreeSet<usize>,
}

/// The open lesson at its current step. Texts are in the language asked for; Markdown where it says
/// so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LessonView {
    /// e.g. `first-voyage/04`; empty: no lesson is open.
    pub id: String,
    pub title: String,
    pub track: String,
    /// Number of the current step, from 0.
    pub step: usize,
    pub steps: usize,
    pub step_id: String,
    /// Markdown: the lesson's introduction (at its first step) and this step's section.
    pub prose: String,
    /// What the session places in the learner's folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Markdown: what of the section may be read once the question is answered.
    pub after: String,
    /// Markdown: what the learner can do now, when all steps are done.
    pub closing: String,
    /// Markdown, one paragraph. Hidden (empty) while [`LessonView::predict`] waits for an answer.
    pub task: String,
    pub predict: Option<Predict>,
    /// The question whose answer the cluster proves. Hidden while [`LessonView::predict`] waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    pub checks: Vec<Check>,
    pub state: State,
    /// Hints asked for so far.
    pub hints: Vec<Hint>,
    pub hints_left: usize,
    /// Some commands or minutes have changed nothing: the next hint is to be offered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_stuck: bool,
    /// The check that is missing, by position. Those before it may still have to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmet: Option<usize>,
    /// After `within`: what that check asks for.
    pub not_yet: Option<String>,
    /// What had to stay true and did not; `undo` brings it back.
    pub lost: Option<String>,
    /// Other ways that a learner should know, each a list of lines; shown after success.
    pub also: Vec<Vec<String>>,
    /// What really happened, a sentence or two each, from the trace; after success.
    pub debrief: Vec<String>,
    /// Name of the diagram that belongs to this step: `cluster`, `control-plane`, `raft`,
    /// `scheduling`, `network`, `rollout`, `pod`.
    pub diagram: String,
    /// Something the learner has to know: a scaled clock, a missing capability, a fault that was
    /// injected.
    pub notices: Vec<String>,
    /// How many times as fast as real time the cluster's clock runs; `None` where the cluster is
    /// not Ropewalk's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<u32>,
    /// The line that the teacher plays, from 1, and how many lines there are; [`Ask::Stop`] stops
    /// them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playing: Option<(usize, usize)>,
    /// All steps are done; the next lesson's id and title, if there is one.
    pub finished: bool,
    /// Whether each step of the lesson has been done.
    pub done: Vec<bool>,
    pub next: Option<(String, String)>,
    /// What to do alone, when all steps are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<Then>,
}

impl LessonView {
    /// True at the last step of a lesson that is done: `next` leaves the lesson here. At an earlier
    /// step of such a lesson, which is looked at again, it opens the step behind.
    pub fn is_at_the_end(&self) -> bool {
        self.finished && self.step + 1 >= self.steps
    }

    /// The position of the check that is missing: the one that the engine names, else the first
    /// that is unmet. One that only has to hold a little longer is not missing.
    pub fn missing(&self) -> Option<usize> {
        let is_unmet = |at: &usize| self.checks.get(*at).is_some_and(|c| c.state == Verdict::Unmet);
        self.unmet.filter(is_unmet).or_else(|| (0..self.checks.len()).find(is_unmet))
    }

    /// How many checks are true now, also those that have to hold a little longer.
    pub fn met(&self) -> usize {
        self.checks.iter().filter(|c| c.state != Verdict::Unmet).count()
    }
}

/// A question before the task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Predict {
    pub question: String,
    /// Letter and text.
    pub choices: Vec<(String, String)>,
    pub chosen: Option<String>,
    /// Known only after the step is done.
    pub answer: Option<String>,
}

/// A question about what the screen or the cluster shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Answer {
    /// Markdown, one paragraph.
    pub question: String,
    /// How it is answered.
    pub form: Form,
    /// Of choices and cards: letter and text.
    pub cards: Vec<(String, String)>,
    /// The last answer, as people read it.
    pub given: Option<String>,
    /// How the last answer stands.
    pub state: Judged,
}

/// How an answer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Judged {
    /// There is none.
    #[default]
    Missing,
    /// The engine is waiting for what it needs to judge it.
    Waiting,
    Wrong,
    /// What it is about cannot be evaluated, for example because the object does not exist.
    Unknown,
    Right,
}

/// One thing the step asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Check {
    pub that: String,
    pub state: Verdict,
}

/// How a check stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    #[default]
    Unmet,
    /// True now, but not yet for as long as it has to be.
    Holding,
    Met,
}

/// How the step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    #[default]
    Open,
    Done,
    /// Green, but by the solution and not by the learner.
    Solved,
    /// This cluster cannot do it; a notice says why.
    Skipped,
}

/// A hint that is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hint {
    /// 1 where to look, 2 what is wrong, 3 the command.
    pub tier: u8,
    pub say: String,
}
