//! What is asked of labs and what is answered: plain data, the same on the control socket and in
//! `-o json`.

use crate::format::Text;
use cluster::undo::Loss;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A question. Every question names the language of the answer (`en` or `ko`).
pub type Question = crate::guest_questions::Question<Ask>;

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
        /// The id of a lab, e.g. `broken-selector`.
        id: String,
        /// The seed that the answer passes on.
        #[serde(default)]
        seed: Option<u64>,
    },
    /// Takes in the attempts that were made on a cluster that a lab had declared: the file of that
    /// cluster, as it was sealed there. Errors: it was edited.
    Learnt {
        /// The document as [`lent::sealed`](super::lent::sealed) reads it.
        book: Value,
    },
    /// What a start of this lab, or leaving the open one if none is named, would take: answers with
    /// [`Plan`].
    Plan {
        /// The lab that is to be started.
        id: Option<String>,
        /// `None`: one is drawn whose names are free in the cluster.
        seed: Option<u64>,
    },
    /// Takes away what the open lab made, and ends it without a grade: answers with [`Left`].
    Leave {
        /// Refused if another lab is open. `None`: the open one.
        id: Option<String>,
        /// What it takes, as the learner has seen it: refused if it would take more by now. `None`:
        /// it may take anything.
        #[serde(default)]
        agreed: Option<Plan>,
    },
    /// Takes away what the open lab made, sets this one up, and starts the clock: answers with
    /// [`LabView`]. Errors: objects that are not the lab's have the names that it needs.
    Start {
        /// The id of a lab, e.g. `broken-selector`.
        id: String,
        /// As of `Plan`.
        seed: Option<u64>,
        /// As of `Leave`.
        #[serde(default)]
        agreed: Option<Plan>,
    },
    /// How the tasks stand, as far as that can be seen without disturbing anything: answers with
    /// [`LabView`].
    Check {
        /// Refused if another lab is open. `None`: the open one.
        id: Option<String>,
        /// Refused if the open lab has another one. `None`: whichever it has.
        seed: Option<u64>,
    },
    /// Waits until all tasks that can be seen without disturbing anything are green at the same
    /// moment, at most for so long, and tells how they stand: answers with [`LabView`]. Nothing has
    /// to stay as it is for a while: what does not stay, grading tells.
    Await {
        /// Milliseconds.
        within_ms: u64,
    },
    /// Judges, disturbing what has to be disturbed and taking that back: answers with [`Graded`].
    Grade {
        /// Refused if another lab is open. `None`: the open one.
        id: Option<String>,
        /// Refused if the open lab has another one. `None`: whichever it has.
        seed: Option<u64>,
        /// The name that stands in the record.
        learner: String,
        /// Name the parts of each check that are not so. A learner could read the solution from
        /// them, so only a cluster that `lab test` started answers this; others refuse it.
        #[serde(default)]
        parts: bool,
    },
    /// The next hint: answers with [`LabView`].
    Hint {
        /// Refused if another lab is open. `None`: the open one.
        id: Option<String>,
    },
    /// The lines of the solution: answers with [`Played`]. What they do until `Solved` is marked.
    Solve {
        /// Refused if another lab is open. `None`: the open one.
        id: Option<String>,
        /// Refused if the open lab has another one. `None`: whichever it has.
        seed: Option<u64>,
    },
    /// The lines of the solution have been played: from now on what is done is the learner's.
    /// Answers with null.
    Solved,
    /// Shows every explanation and the way; such a lab does not count as passed: answers with
    /// [`GivenUp`].
    GiveUp {
        /// Refused if another lab is open. `None`: the open one.
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
    /// Returns whether this plan takes no more than another one, to which the learner has agreed.
    pub(crate) fn is_within(&self, agreed: &Plan) -> bool {
        self.ends == agreed.ends && self.lost.iter().all(|loss| agreed.lost.contains(loss))
    }
}

/// A lab that was left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Left {
    /// The id of the lab.
    pub id: String,
    /// In the language asked for.
    pub title: String,
    /// What was done otherwise than promised, for people; mostly empty.
    pub note: String,
}

/// A line in the list of labs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    /// For example `broken-selector`.
    pub id: String,
    /// In the language asked for.
    pub title: String,
    /// Always `labs`: lists show labs behind the tracks of lessons.
    pub track: String,
    /// Languages that its texts are written in, English first.
    pub languages: Vec<String>,
    /// 1 (the first steps) to 4 (takes experience).
    pub level: u8,
    /// The time limit.
    pub minutes: u32,
    /// Rows of the curriculum that it covers, as the author wrote them, e.g. `1.7 2.7`.
    pub row: String,
    /// Ids of lessons that teach what it asks for.
    pub needs: Vec<String>,
    /// How many tasks it has.
    pub tasks: usize,
    /// Points of the best grade so far.
    pub score: Option<u32>,
    /// The points that could be had when it was graded; without a grade, those of today.
    pub max: u32,
    /// The best grade is a pass.
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
    /// For example `broken-selector`; empty: no lab is open.
    pub id: String,
    /// In the language asked for, with the lab's values.
    pub title: String,
    /// 1 to 4.
    pub level: u8,
    /// The time limit.
    pub minutes: u32,
    /// What its names, ports and fault were drawn from.
    pub seed: u64,
    /// Markdown.
    pub text: String,
    /// In the order in which the lab has them.
    pub tasks: Vec<Task>,
    /// When the clock started, in RFC 3339.
    pub started: String,
    /// Store revision when the clock started: who goes back beyond it takes the lab away.
    pub began: i64,
    /// The solution was given away.
    pub over: bool,
    /// Seconds left; negative when the time is over.
    pub left_s: i64,
    /// Hints asked for so far, in order.
    pub hints: Vec<String>,
    /// How many more hints fit now and can be said.
    pub hints_left: usize,
    /// What the engine does with the lab at the moment.
    pub work: Work,
    /// The last grade since the lab was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<Graded>,
    /// The explanations for a learner who has given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
}

/// What the engine does with a lab. It takes its time, and other commands wait meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Work {
    /// Nothing: the learner works.
    #[default]
    Idle,
    /// Sets it up: there is nothing to see yet but its title.
    Starting,
    /// Judges; objects may go and come back meanwhile.
    Grading,
    /// Takes away what it made.
    Leaving,
}

/// A task as the learner sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    /// Unique within the lab, e.g. `traffic`.
    pub id: String,
    /// The points that it is worth.
    pub weight: u32,
    /// Markdown, one paragraph.
    pub task: String,
    /// After `check`: is it so? `None`: only grading tells.
    pub green: Option<bool>,
    /// Why grading finds it red whatever its checks say, in the language asked for: something was
    /// done in the lab that the task excludes. Mostly empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub told: String,
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
    /// What the judge found of each task.
    pub found: Vec<super::score::Found>,
}

impl Graded {
    /// Returns whether the grade has all points, also where the solution was played.
    pub fn has_all_points(&self) -> bool {
        let points = |key: &str| self.record[key].as_u64();
        points("max").is_some_and(|max| max > 0 && points("score") == Some(max))
    }

    /// Seconds from the start of the lab to this grade, if it has all points: then the lab is
    /// solved, and its clock has nothing left to measure.
    pub fn solved_s(&self) -> Option<i64> {
        let time = |key: &str| self.record[key].as_str()?.parse::<clock::Timestamp>().ok();
        let ran = time("ended")?.as_second().saturating_sub(time("started")?.as_second());
        self.has_all_points().then_some(ran.max(0))
    }
}

impl LabView {
    /// Seconds that the learner took for all points; `None`: they are not reached, or the solution
    /// was shown.
    pub fn solved_s(&self) -> Option<i64> {
        self.grade.as_ref().filter(|_| !self.over)?.solved_s()
    }

    /// Returns whether the last grade has all points and no hint is left.
    pub fn is_through(&self) -> bool {
        self.hints_left == 0 && self.grade.as_ref().is_some_and(Graded::has_all_points)
    }

    /// Returns whether a lab is open on which the learner works, also when its time is over.
    pub fn is_played(&self) -> bool {
        !self.id.is_empty() && !self.over && !self.is_through()
    }
}

/// What a learner who has given up may read, in every language.
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
    /// In the order in which they are to be run.
    pub lines: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lab_is_through_with_all_points_and_no_hint_left() {
        let view = |score: u64, hints_left: usize| {
            let grade = Graded { record: json!({"score": score, "max": 100}), ..Graded::default() };
            LabView { grade: Some(grade), hints_left, ..LabView::default() }
        };
        assert!(view(100, 0).is_through());
        assert!(!view(80, 0).is_through() && !view(100, 1).is_through());
        assert!(!LabView::default().is_through());
    }

    #[test]
    fn a_lab_is_played_until_it_is_through_or_given_away() {
        let open = LabView { id: "wrong-port".into(), left_s: 60, ..LabView::default() };
        assert!(open.is_played());
        assert!(LabView { left_s: -5, ..open.clone() }.is_played(), "late, but not over");
        assert!(!LabView { over: true, ..open.clone() }.is_played());
        let all = Graded { record: json!({"score": 100, "max": 100}), ..Graded::default() };
        assert!(!LabView { grade: Some(all), ..open }.is_played());
        assert!(!LabView::default().is_played());
    }
}
