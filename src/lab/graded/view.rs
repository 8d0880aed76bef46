//! What is asked of labs and what is answered: plain data, the same on the control socket and in
//! `-o json`.

use crate::format::Text;
use cluster::undo::Loss;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A question. Every question names the language of the answer (`en` or `ko`).
pub type Question = crate::asking::Question<Ask>;

/// What a session asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// All labs: answers with a list of [`Entry`].
    List,
    /// The open lab: answers with [`LabView`], which is empty if none is open.
    Show,
    /// The open lab now and after every change: answers with a [`LabView`] each time. The running
    /// time alone is no change; that it is over is one.
    Follow,
    /// The cluster that a lab declares, if this one is another: answers with
    /// [`Elsewhere`](crate::view::Elsewhere), or with null.
    Elsewhere {
        id: String,
        #[serde(default)]
        seed: Option<u64>,
    },
    /// Takes in the attempts that were made on a cluster that a lab had declared: the file of that
    /// cluster, as it was sealed there. Errors: it was edited.
    Learnt {
        book: Value,
    },
    /// What a start of this lab, or leaving the open one if none is named, would take: answers with
    /// [`Plan`].
    Plan {
        id: Option<String>,
        seed: Option<u64>,
    },
    /// Takes away what the open lab made, and ends it without a grade: answers with [`Left`].
    Leave {
        id: Option<String>,
        /// What the learner was told that it takes: refused if it would take more by now. `None`:
        /// it may take anything.
        #[serde(default)]
        agreed: Option<Plan>,
    },
    /// Takes away what the open lab made, sets this one up, and starts the clock: answers with
    /// [`LabView`]. Errors: objects that are not the lab's have the names that it needs.
    Start {
        id: String,
        seed: Option<u64>,
        /// As of `Leave`.
        #[serde(default)]
        agreed: Option<Plan>,
    },
    /// How the tasks stand, as far as that can be seen without disturbing anything: answers with
    /// [`LabView`].
    Check {
        id: Option<String>,
        seed: Option<u64>,
    },
    /// Waits until all tasks that can be seen without disturbing anything are green at the same
    /// moment, at most for so long, and tells how they stand: answers with [`LabView`]. Nothing has
    /// to stay as it is for a while: what does not stay, grading tells.
    Await {
        within_ms: u64,
    },
    /// Judges, disturbing what has to be disturbed and taking that back: answers with [`Graded`].
    Grade {
        id: Option<String>,
        seed: Option<u64>,
        learner: String,
        /// Name the parts of each check that are not so. A learner could read the solution from
        /// them, so only a cluster that `lab test` started answers this; others refuse it.
        #[serde(default)]
        parts: bool,
    },
    /// The next hint: answers with [`LabView`].
    Hint {
        id: Option<String>,
    },
    /// The lines of the solution: answers with [`Played`]. What they do until `Solved` is marked.
    Solve {
        id: Option<String>,
        seed: Option<u64>,
    },
    Solved,
    /// Shows every explanation and the way; such a lab does not count as passed: answers with
    /// [`GivenUp`].
    GiveUp {
        id: Option<String>,
    },
}

/// What has to be said before a lab is started or left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Plan {
    /// The seed to start with: the one that was asked for, or one whose names are free.
    pub seed: u64,
    /// Title of the open lab, which would end; empty if none is open.
    pub ends: String,
    /// What people made or changed and would be taken away or changed back.
    pub lost: Vec<Loss>,
}

impl Plan {
    /// Does this plan take no more than another one, to which the learner has agreed?
    pub(crate) fn is_within(&self, agreed: &Plan) -> bool {
        self.ends == agreed.ends && self.lost.iter().all(|loss| agreed.lost.contains(loss))
    }
}

/// A lab that was left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Left {
    pub id: String,
    pub title: String,
    /// What was done otherwise than promised, for people; mostly empty.
    pub note: String,
}

/// A line in the list of labs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    pub id: String,
    pub title: String,
    pub track: String,
    pub languages: Vec<String>,
    pub level: u8,
    pub minutes: u32,
    pub row: String,
    pub needs: Vec<String>,
    pub tasks: usize,
    /// The best grade so far, and of how much.
    pub score: Option<u32>,
    pub max: u32,
    pub passed: bool,
    /// At which start of the lab that was, from 1; 0: not known.
    pub attempt: u32,
    /// It is the one that is open.
    pub open: bool,
}

/// The open lab.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabView {
    pub id: String,
    pub title: String,
    pub level: u8,
    pub minutes: u32,
    pub seed: u64,
    /// Markdown.
    pub text: String,
    pub tasks: Vec<Task>,
    pub started: String,
    /// Store revision when the clock started: who goes back beyond it takes the lab away.
    pub began: i64,
    /// The solution was given away.
    pub over: bool,
    /// Seconds left; negative when the time is over.
    pub left_s: i64,
    /// Hints asked for so far, in order.
    pub hints: Vec<String>,
    pub hints_left: usize,
    /// What the engine does with the lab at the moment.
    pub work: Work,
    /// The last grade since the lab was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<Graded>,
    /// What the learner was told who has given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
}

/// What the engine does with a lab. It takes its time, and other commands wait meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Work {
    #[default]
    Idle,
    /// Sets it up: there is nothing to see yet but its title.
    Starting,
    Grading,
    /// Takes away what it made.
    Leaving,
}

/// A task as the learner sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    pub id: String,
    pub weight: u32,
    /// Markdown, one paragraph.
    pub task: String,
    /// After `check`: is it so? `None`: only grading tells.
    pub green: Option<bool>,
}

/// A grade. Its sentences are in every language: it is kept, and shown in others than that of the
/// one who asked for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Graded {
    /// The signed record (LESSONS: section 3).
    pub record: Value,
    /// Where it was kept.
    pub file: String,
    /// What happened, a sentence or two a task.
    pub debrief: Vec<Text>,
    /// Explanations that are kept back until their task is green or the solution was asked for.
    pub untold: usize,
    pub found: Vec<super::score::Found>,
}

/// What a learner is told who has given up, in every language.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GivenUp {
    /// Explanations.
    pub told: Vec<Text>,
    /// Lines of the solution.
    pub lines: Vec<String>,
}

/// The lines of the solution, with the lab's values filled in. The session runs them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Played {
    pub lines: Vec<String>,
}
