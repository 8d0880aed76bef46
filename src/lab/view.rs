//! What the engine shows and is asked: plain data, the same on the control socket, in the REPL and
//! in the terminal interface.

use super::broken_shell::{BrokenShell, ShellState};
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
    /// `en` or `ko`.
    pub lang: String,
    /// What is asked.
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
        /// A whole id, or what a person types: `first-voyage/04`, or `4` in the track that is open.
        id: String,
    },
    /// The cluster that a lesson declares, if this one is another: answers with [`Elsewhere`], or
    /// with null. An empty id names the lesson that [`Ask::Next`] would open now.
    Elsewhere {
        /// As of [`Ask::Open`], or empty.
        id: String,
    },
    /// Notes steps as done that were done on a cluster that a lesson had declared.
    Learnt {
        /// What that cluster has kept; only steps that are done count.
        progress: Progress,
    },
    /// Goes to the next step, or at the end of a lesson to the next lesson. Refused while the step
    /// is open, unless it is optional. Without an open lesson: the first that is not finished.
    Next,
    /// Goes to the step before. It does not begin anew.
    Back,
    /// To a step of this lesson (its id or number from 1), or `TRACK/LESSON[#STEP]`.
    Goto {
        /// For example `3`, `run`, `first-voyage/04` or `first-voyage/04#run`.
        step: String,
    },
    /// The next hint.
    Hint,
    /// Judges now, waiting out `hold`. A lesson that would have to be set up first is not opened.
    Check {
        /// The lesson; `None`: the open one.
        id: Option<String>,
    },
    /// Answers the step's question: a choice's letter.
    Predict {
        /// For example `b`.
        choice: String,
    },
    /// Answers the step's question about the cluster, with a text, a number or letters.
    Answer {
        /// As it was typed: `3`, `10.244.1.8`, `b a`.
        text: String,
    },
    /// A line that was typed: only hints see it. Answered at once, with the [`BrokenShell`] of the
    /// open step, or with null.
    Typed {
        /// The whole line, without the space around it.
        line: String,
    },
    /// A line has ended with this exit code. Answered at once, with nothing.
    Ran {
        /// The whole line.
        line: String,
        /// 0 to 255, as the shell has it in `$?`.
        code: i32,
        /// How the shell stands after it, if the open step has broken it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shell: Option<ShellState>,
        /// The programs that run in the background of the session's shell after it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        running: Vec<String>,
        /// The programs that ran there before it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        running_before: Vec<String>,
    },
    /// The lines that solve the step: answers with [`Solution`]. What they do from now on is marked
    /// `by: solve`.
    Solve {
        /// The lesson; `None`: the open one.
        id: Option<String>,
    },
    /// The lines of the solution have been played.
    Solved,
    /// What a question would take from the learner: answers with a list of [`Loss`].
    /// `Goto` rewinds, and the setup of a lesson that is opened may delete.
    Cost {
        /// A question that changes something; one that only reads costs nothing.
        of: Box<Ask>,
    },
    /// The question is meant. Without this, one that costs something is refused.
    Sure {
        /// The question that is meant.
        ask: Box<Ask>,
        /// The cost that the learner has seen: refused if it would cost more by now. `None`: it is
        /// meant whatever it costs.
        #[serde(default)]
        agreed: Option<Vec<Loss>>,
    },
    /// What happened in a step that is done (of the open lesson; the open step if none is named):
    /// answers with sentences.
    Debrief {
        /// Its id, or its number from 1.
        step: Option<String>,
    },
    /// Gives up the namespaces that were made for lessons on a cluster that is not Ropewalk's own:
    /// answers with their names.
    Leave {
        /// The names that the learner has seen: refused if there are others by now. `None`: all go.
        #[serde(default)]
        agreed: Option<Vec<String>>,
    },
    /// Stops the lines that the teacher plays: a setup, or steps before a jump. With the id of a
    /// question only if that question plays them; if it still waits, it is forgotten. What the
    /// lines have changed so far stays. Answers with a sentence, or with null if a question by that
    /// id plays none.
    Stop {
        /// [`Question::id`] of the question whose lines are to stop; `None`: whichever plays some.
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
    /// The nodes that it declares.
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
    /// Whether the prediction's answer is proved.
    pub because: Option<bool>,
    /// Whether the step can no longer succeed, as its `lost` says.
    #[serde(default)]
    pub is_lost: Option<bool>,
    /// Hints whose condition is true now.
    pub hints: Vec<String>,
    /// Each beat of the debrief, and whether it had a sentence.
    pub beats: Vec<(String, bool)>,
}

/// A line in the list of lessons.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// For example `first-voyage/04`.
    pub id: String,
    /// In the language asked for.
    pub title: String,
    /// The part of the id before `/`, e.g. `first-voyage`.
    pub track: String,
    /// Languages that its texts are written in: `en`, and further ones, e.g. `ko`.
    pub languages: Vec<String>,
    /// How long its author expects it to take.
    pub minutes: u32,
    /// Steps done, of [`Entry::steps`].
    pub done: usize,
    /// How many steps it has.
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
    /// In the language asked for.
    pub title: String,
    /// Names, in the order in which the pack gives them.
    pub authors: Vec<String>,
    /// The author's own text, e.g. `0.1`; empty if the pack does not say.
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
    /// Lines to type. The text of a manifest follows its line, up to a line `.` or `EOF`.
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
    /// The title of the lesson.
    pub title: String,
    /// The part of the id before `/`.
    pub track: String,
    /// Number of the current step, from 0.
    pub step: usize,
    /// How many steps the lesson has.
    pub steps: usize,
    /// The step's id, which [`Ask::Goto`] takes.
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
    /// The question that is asked before the task.
    pub predict: Option<Predict>,
    /// The question whose answer the cluster proves. Hidden while [`LessonView::predict`] waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What the step asks for, in the order in which the lesson has it.
    pub checks: Vec<Check>,
    /// How the step stands.
    pub state: State,
    /// Hints asked for so far.
    pub hints: Vec<Hint>,
    /// How many more hints fit now.
    pub hints_left: usize,
    /// Some commands or minutes have changed nothing: the next hint is to be offered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_stuck: bool,
    /// The check that is missing, by position: the first of which that is known. Those before it
    /// may still have to hold, or wait for an answer of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmet: Option<usize>,
    /// Checks that were not asked yet: the network is asked once others are met.
    pub unasked: usize,
    /// After `within`: what that check asks for.
    pub not_yet: Option<String>,
    /// What had to stay true and did not; `undo` brings it back.
    pub lost: Option<String>,
    /// Other ways that a learner should know, each a list of lines; shown after success.
    pub also: Vec<Vec<String>>,
    /// What really happened, a sentence or two each, from the trace; after success.
    pub debrief: Vec<String>,
    /// What the step breaks in the learner's own shell while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<BrokenShell>,
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
    /// The id of the lesson that is being prepared: what its setup would take is looked at, or its
    /// setup is played. Until it is open, the view is that of the lesson before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparing: Option<String>,
    /// Store revision at which what was set up for the open step is complete: the setups of the
    /// lesson and of its steps up to this one. To go back further takes them away. `None`: nothing
    /// was set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_up: Option<i64>,
    /// All steps are done.
    pub finished: bool,
    /// Whether each step of the lesson has been done.
    pub done: Vec<bool>,
    /// Once all steps are done: the next lesson's id and title. `None` after the last lesson.
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
    /// Markdown, one paragraph.
    pub question: String,
    /// Letter and text.
    pub choices: Vec<(String, String)>,
    /// The learner's letter; `None`: not answered yet.
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
    /// All of its choices are right, and so many are missing. It is shown only where the question
    /// says how many are right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<usize>,
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
    /// The answer is wrong; the learner may give another one.
    Wrong,
    /// It cannot be judged: the watches have not shown in time what the store has, or a pod has not
    /// answered.
    Unknown,
    /// What the question is about is not there yet. The answer counts for nothing.
    Early,
    /// The step may still wait for its checks.
    Right,
}

/// One thing the step asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Check {
    /// A sentence that is to be true, e.g. “its container is ready”.
    pub that: String,
    /// How it stands.
    pub state: Verdict,
}

/// How a check stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Not true, or not known yet.
    #[default]
    Unmet,
    /// True now, but not yet for as long as it has to be.
    Holding,
    /// True for as long as it has to be.
    Met,
}

/// How the step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Something is still asked of the learner.
    #[default]
    Open,
    /// The learner has done it.
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
    /// Markdown, with the values of this cluster.
    pub say: String,
    /// Unique within the step.
    pub id: String,
    /// What it is about is no longer so: the learner has acted since.
    pub is_past: bool,
}
