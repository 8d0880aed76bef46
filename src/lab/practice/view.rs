//! What is asked of practice and what is answered: plain data, the same on the control socket and
//! in `-o json`.

use serde::{Deserialize, Serialize};

/// A question. Every question names the language of the answer (`en` or `ko`).
pub type Question = crate::guest_questions::Question<Ask>;

/// What a session asks for. All answer with [`DrillView`], except where it says otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// Picks tasks, sets them up, and starts the clock. Errors: a drill or a graded lab is open, or
    /// no skill was met yet.
    Start {
        /// A seed of before repeats the tasks that it had then; `None`: one is drawn.
        seed: Option<u64>,
        /// Ids of the skills to ask for, whether they were met or not; empty: all that were met.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skills: Vec<String>,
    },
    /// Sets one task up, by its id, without a clock and without a record: for `drill test`.
    Rehearse {
        /// The id of the task.
        task: String,
        /// What its values are drawn from.
        seed: u64,
    },
    /// The drill that is open, or the last one; empty if there was none since the cluster started.
    Show,
    /// The drill as [`Ask::Show`] shows it, now and after every change. The running time alone is
    /// no change.
    Follow,
    /// Judges the present task: the conditions that are not met yet.
    Check,
    /// The next hint of the present task. A drill goes on by itself: what was meant for a task that
    /// is over meanwhile is refused.
    Hint {
        /// The id of the present task.
        task: String,
    },
    /// Leaves the present task undone, and goes on.
    Skip {
        /// As of `Hint`.
        task: String,
    },
    /// Ends the drill. What was done counts.
    Stop,
    /// The lines of the present task of a rehearsal: answers with [`Lines`].
    Solution,
}

/// What a rehearsal plays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lines {
    /// Lines after which the task is done.
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
    /// Lines to type.
    pub lines: Vec<String>,
    /// For the author: what is wrong about it.
    pub why: String,
}

/// A drill. Texts are in the language asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DrillView {
    /// 0: there is none.
    pub seed: u64,
    /// The namespace in which all tasks are done.
    pub namespace: String,
    /// How far it is.
    pub phase: Phase,
    /// Seconds that the drill takes.
    pub limit_s: u64,
    /// Seconds left of a drill that runs.
    pub left_s: u64,
    /// In the order in which they are asked.
    pub tasks: Vec<TaskView>,
    /// The place of the present task in `tasks`, from 0.
    pub at: usize,
    /// After `check`: the conditions of the present task.
    pub checks: Vec<Check>,
    /// Hints of the present task that were asked for, the oldest first. Markdown.
    pub hints: Vec<String>,
    /// How many more hints of the present task fit now.
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
    /// The clock runs.
    Running,
    /// Every task was reached.
    Finished,
    /// The time ended before the last task was reached.
    TimeOver,
    /// The learner has ended it.
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
    /// For example `exec-second`.
    pub id: String,
    /// The id of its skill.
    pub skill: String,
    /// The skill's title.
    pub title: String,
    /// Markdown, one paragraph; empty until it is its turn.
    pub task: String,
    /// What came of it so far.
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
    /// It is not its turn yet.
    #[default]
    Waiting,
    /// It is the present task.
    Open,
    /// Its conditions have been true.
    Done,
    /// Done, after the hint that tells the command.
    Helped,
    /// The learner has left it undone: it counts as failed.
    Skipped,
    /// The drill ended before it was done: it does not count.
    Unfinished,
}

/// A condition of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Check {
    /// A sentence, in the language asked for.
    pub that: String,
    /// It is true now.
    pub met: bool,
}
