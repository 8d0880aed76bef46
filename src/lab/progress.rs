//! How far the learner is: one file in the cluster's directory, renewed whole after every change,
//! so that `kill -9` loses nothing.

use super::blocking::in_place;
use super::error::Error;
use super::view::State;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The format of the file. Older ones are migrated (there are none yet), newer ones refused.
pub const FORMAT: u32 = 1;

/// The file `lessons.json`: how far the learner is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// [`FORMAT`], or that of the program that wrote the file.
    pub format: u32,
    /// The open lesson.
    pub open: Option<String>,
    /// Every lesson that was ever opened, by its id.
    pub lessons: BTreeMap<String, Lesson>,
}

/// A lesson that was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lesson {
    /// The current step's id.
    pub step: String,
    /// A `goto` to that step has begun and is not over: the revision whose objects it puts back, 0
    /// if none.
    pub going: Option<i64>,
    /// Store revision when it was opened for the first time.
    pub began: i64,
    /// The setup lines have been run, to the last one.
    pub set_up: bool,
    /// What its setup, and the learner while it was open, have made of what it is about:
    /// `plural.group/namespace/name`, and the store revision.
    pub made: BTreeMap<String, i64>,
    /// Steps that have begun, by their ids.
    pub steps: BTreeMap<String, Step>,
}

/// A step that has begun.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    /// How it stood when this was written.
    pub state: State,
    /// Once done, done: also while it is played again.
    pub done: bool,
    /// The letter of the choice that the learner made before acting.
    pub predicted: Option<String>,
    /// Answers to the step's question, the oldest first.
    pub answers: Vec<String>,
    /// The last of them is right.
    pub is_right: bool,
    /// The last of them has no verdict. When the step is taken up again it was never given: a
    /// verdict then would be about another cluster than the one that was looked at.
    pub unjudged: bool,
    /// Hints that were shown, in order.
    pub hints: Vec<String>,
    /// Store revision when the step began.
    pub since: i64,
    /// Wall-clock time when the step began, in RFC 3339 with nanoseconds. Empty: it has not, or an
    /// older program wrote the file.
    pub at: String,
    /// Checks of what has happened that have been true, or that a later act could make untrue and
    /// that are true: their expressions, by which they are found when a newer program has them in
    /// another order. What an older program wrote by position, as `held`, is not read.
    pub proven: BTreeSet<String>,
    /// The solution was asked for.
    pub solve: bool,
    /// What really happened, by language: the trace that it came from does not outlive the
    /// cluster's process.
    pub debrief: BTreeMap<String, Vec<String>>,
}

impl Progress {
    /// A file that is not there is a beginning.
    ///
    /// # Errors
    /// It cannot be read, was written by a newer program, or is damaged.
    pub fn load(path: &Path) -> Result<Progress, Error> {
        Ok(load(path, FORMAT)?.unwrap_or_else(|| Progress { format: FORMAT, ..Progress::default() }))
    }

    /// Writes the file beside, brings it to the disk and puts it in its place in one move.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        keep(path, self)
    }

    /// What is noted of a lesson; begins a note if there is none.
    pub(crate) fn lesson(&mut self, id: &str) -> &mut Lesson {
        self.lessons.entry(id.into()).or_default()
    }

    /// What is noted of a step; begins a note if there is none.
    pub fn step(&mut self, lesson: &str, step: &str) -> &mut Step {
        self.lesson(lesson).steps.entry(step.into()).or_default()
    }

    /// What is noted of a step that a new sitting goes on with: its last answer is dropped if no
    /// verdict came.
    pub(crate) fn step_again(&mut self, lesson: &str, step: &str) -> &mut Step {
        let noted = self.step(lesson, step);
        if std::mem::take(&mut noted.unjudged) {
            noted.answers.pop();
        }
        noted
    }

    /// Begins a lesson anew: what is noted of its steps is dropped, except which were once done.
    pub(crate) fn anew(&mut self, lesson: &str) {
        let noted = self.lesson(lesson);
        let done = |step: &Step| Step { done: step.done, ..Step::default() };
        let steps = noted.steps.iter().map(|(id, step)| (id.clone(), done(step))).collect();
        let made = std::mem::take(&mut noted.made); // it is still there
        *noted = Lesson { steps, made, ..Lesson::default() };
    }

    /// Notes the steps that were done on another cluster.
    pub fn learn(&mut self, there: &Progress) {
        for (lesson, noted) in &there.lessons {
            for (id, step) in noted.steps.iter().filter(|(_, step)| step.done) {
                let own = self.step(lesson, id);
                own.done = true;
                if own.debrief.is_empty() {
                    own.debrief = step.debrief.clone();
                }
            }
        }
    }

    /// An object was made, at a revision: by a lesson, or (`None`) by a person beside all lessons.
    pub(crate) fn note_made(&mut self, object: &str, revision: i64, lesson: Option<&str>) {
        self.lessons.values_mut().for_each(|noted| _ = noted.made.remove(object));
        if let Some(lesson) = lesson {
            self.lesson(lesson).made.insert(object.into(), revision);
        }
    }

    /// An object is again what it was at a revision: if no lesson had made it by then, it is none
    /// of theirs. Returns the lesson that had made it since.
    pub(crate) fn note_journey(&mut self, object: &str, to: i64) -> Option<String> {
        let mut lost = None;
        for (id, noted) in &mut self.lessons {
            if noted.made.get(object).is_some_and(|at| *at > to) {
                noted.made.remove(object);
                lost = Some(id.clone());
            }
        }
        lost
    }

    /// Returns whether a lesson has made the object with this key.
    pub(crate) fn is_made(&self, object: &str) -> bool {
        self.lessons.values().any(|noted| noted.made.contains_key(object))
    }

    /// What is noted of a step; `None` if it has not begun.
    pub fn noted_step(&self, lesson: &str, step: &str) -> Option<&Step> {
        self.lessons.get(lesson)?.steps.get(step)
    }
}

/// Reads what [`keep`] wrote, with a `format` in it; `None` if there is no such file. `known`: the
/// newest format that this program reads.
///
/// # Errors
/// It cannot be read, was written by a newer program, or is damaged.
pub(crate) fn load<T: DeserializeOwned>(path: &Path, known: u32) -> Result<Option<T>, Error> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::File { path: path.into(), cause }),
    };
    let damaged = |e: serde_json::Error| Error::Damaged { path: path.into(), why: e.to_string() };
    let head: serde_json::Value = serde_json::from_slice(&text).map_err(damaged)?;
    match head["format"].as_u64() {
        Some(found) if found > known.into() => Err(Error::Newer { path: path.into(), found, known }),
        _ => serde_json::from_value(head).map(Some).map_err(damaged),
    }
}

/// Writes a file as JSON. Other tasks of the runtime go on while the disk takes its time.
///
/// # Errors
/// As [`replace`]. The file has its old content or the new one, never a part.
pub(crate) fn keep(path: &Path, what: &impl Serialize) -> Result<(), Error> {
    let failed = |cause| Error::File { path: PathBuf::from(path), cause };
    let text = serde_json::to_vec_pretty(what).map_err(|e| failed(e.into()))?;
    in_place(|| replace(path, &text)).map_err(failed)
}

/// Writes a file beside, brings it to the disk, and puts it in its place in one move.
///
/// # Errors
/// One of these fails.
fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("json.new");
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(text).and_then(|()| file.sync_all())?;
    std::fs::rename(&fresh, path)?;
    // The move itself has to reach the disk, too.
    match path.parent().map(std::fs::File::open) {
        Some(Ok(directory)) => directory.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_and_what_is_newer_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lessons.json");
        let mut progress = Progress::load(&path).unwrap();
        assert_eq!(progress.format, FORMAT);
        progress.open = Some("t/01".into());
        progress.step("t/01", "a").state = State::Done;
        progress.save(&path).unwrap();
        assert_eq!(Progress::load(&path).unwrap(), progress);
        assert!(!path.with_extension("json.new").exists());
        std::fs::write(&path, r#"{"format": 9}"#).unwrap();
        assert!(matches!(Progress::load(&path), Err(Error::Newer { found: 9, .. })));
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(Progress::load(&path), Err(Error::Damaged { .. })));
    }

    /// The only worker thread waits for the disk: here for the reader of a named pipe.
    #[test]
    fn other_tasks_go_on_while_a_file_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lessons.json");
        let pipe = path.with_extension("json.new");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (told, reports) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            tokio::spawn(async move { told.send(std::fs::read(pipe)) });
            keep(&path, &Progress::default())
        });
        let read = reports.recv_timeout(std::time::Duration::from_secs(60));
        runtime.shutdown_background();
        assert!(read.is_ok_and(|text| text.is_ok_and(|text| !text.is_empty())));
    }

    /// That program noted checks by position, in `held`, and knew nothing of `unjudged`.
    #[test]
    fn what_an_older_program_wrote_is_read_without_the_checks_that_it_noted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lessons.json");
        let step = r#"{"state": "open", "answers": ["7"], "held": [true, false]}"#;
        let text = format!(r#"{{"format": 1, "lessons": {{"t/01": {{"steps": {{"a": {step}}}}}}}}}"#);
        std::fs::write(&path, text).unwrap();
        let mut progress = Progress::load(&path).unwrap();
        assert!(progress.step("t/01", "a").proven.is_empty());
        assert_eq!(progress.step_again("t/01", "a").answers, ["7"], "it was judged then");
    }

    /// Opening lesson 12 must not take a `web` that was made beside all lessons, nor
    /// after lesson 12 had one of its own.
    #[test]
    fn what_a_lesson_made_is_the_learners_again_when_the_learner_makes_it_anew() {
        let mut progress = Progress::default();
        progress.note_made("deployments.apps/default/web", 7, Some("t/12"));
        assert!(
            progress.is_made("deployments.apps/default/web")
                && !progress.is_made("deployments.apps/default/web-2")
        );
        assert_eq!(progress.note_journey("deployments.apps/default/web", 9), None);
        assert!(progress.is_made("deployments.apps/default/web"));
        assert_eq!(progress.note_journey("deployments.apps/default/web", 6).as_deref(), Some("t/12"));
        assert!(!progress.is_made("deployments.apps/default/web"), "what is back is older than the lesson's");
        progress.note_made("deployments.apps/default/web", 20, Some("t/12"));
        progress.anew("t/12");
        assert!(progress.is_made("deployments.apps/default/web"));
        progress.note_made("deployments.apps/default/web", 30, None);
        assert!(!progress.is_made("deployments.apps/default/web"));
    }
}
