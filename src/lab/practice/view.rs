//! What is asked of practice and what is answered: plain data, the same on the control socket and
//! in `-o json`.

use serde::{Deserialize, Serialize};

/// A question. Every question names the language of the answer (`en` or `ko`).
pub type Question = crate::asking::Question<Ask>;

/// What a session asks for. All answer with [`DrillView`], except where it says otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// Picks tasks, sets them up, and starts the clock. Errors: a drill or a graded lab is open, or
    /// no skill was met yet.
    Start {
        seed: Option<u64>,
        /// Ids of the skills to ask for, whether they were met or not; empty: all that were met.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skills: Vec<String>,
    },
    /// Sets one task up, by its id, without a clock and without a record: for `drill test`.
    Rehearse { task: String, seed: u64 },
    /// The drill that is open, or the last one; empty if there was none since the cluster started.
    Show,
    /// The same now and after every change. The running time alone is no change.
    Follow,
    /// Judges the present task: the conditions that are not met yet.
    Check,
    /// The next hint of the present task. `task`: its id. A drill goes on by itself: what was meant
    /// for a task that is over meanwhile is refused.
    Hint { task: String },
    /// Leaves the present task undone, and goes on. `task`: as for `Hint`.
    Skip { task: String },
    /// Ends the drill. What was done counts.
    Stop,
    /// The lines of the present task of a rehearsal: answers with [`Lines`].
    Solution,
}

/// What a rehearsal plays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lines {
    pub solution: Vec<String>,
    /// Other ways, after which the task is done as well.
    pub also: Vec<Vec<String>>,
    /// Answers that have to stay red.
    pub wrong: Vec<Wrong>,
}

/// An answer that has to stay red, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wrong {
    pub lines: Vec<String>,
    pub why: String,
}

/// A drill. Texts are in the language asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DrillView {
    /// 0: there is none.
    pub seed: u64,
    pub namespace: String,
    pub phase: Phase,
    pub limit_s: u64,
    /// Seconds left of a drill that runs.
    pub left_s: u64,
    pub tasks: Vec<TaskView>,
    /// The place of the present task in `tasks`, from 0.
    pub at: usize,
    /// After `check`: the conditions of the present task.
    pub checks: Vec<Check>,
    /// Hints of the present task that were asked for, the oldest first. Markdown.
    pub hints: Vec<String>,
    pub hints_left: usize,
    /// What the learner has to know beside: the change went elsewhere, a file cannot be read or
    /// written.
    pub notices: Vec<String>,
}

impl DrillView {
    /// The id of the present task; empty if there is none.
    pub fn present(&self) -> &str {
        let task = self.tasks.get(self.at).filter(|_| self.phase == Phase::Running);
        task.map_or("", |task| task.id.as_str())
    }
}

/// How far a drill is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// There is none.
    #[default]
    None,
    /// Its tasks are set up; the clock does not run yet.
    Preparing,
    Running,
    /// Every task was reached.
    Finished,
    TimeOver,
    Stopped,
}

impl Phase {
    /// It is prepared, or runs.
    pub fn is_open(self) -> bool {
        matches!(self, Phase::Preparing | Phase::Running)
    }
    /// It has ended, in whatever way.
    pub fn is_over(self) -> bool {
        matches!(self, Phase::Finished | Phase::TimeOver | Phase::Stopped)
    }
}

/// A task of a drill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskView {
    pub id: String,
    pub skill: String,
    /// The skill's title.
    pub title: String,
    /// Markdown, one paragraph; empty until it is its turn.
    pub task: String,
    pub outcome: Outcome,
    /// What it took, once it is over.
    pub took_s: Option<u64>,
    /// When its skill is to be practised again, in RFC 3339, once it is over.
    pub due: Option<String>,
}

/// What came of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    #[default]
    Waiting,
    Open,
    Done,
    /// Done, after the hint that tells the command.
    Helped,
    Skipped,
    /// The drill ended before it was done: it does not count.
    Unfinished,
}

/// A condition of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Check {
    pub that: String,
    pub met: bool,
}
