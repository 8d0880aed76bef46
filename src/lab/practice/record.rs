//! The record of practice: one file beside the progress of lessons, written whole after every task.
//! And what follows from it: when a skill is to be practised again.

use crate::error::Error;
use crate::progress;
use clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The format of the file. Newer ones are refused.
pub(crate) const FORMAT: u32 = 1;
/// The name of the file in the cluster's directory.
pub(crate) const FILE: &str = "practice.json";

/// A skill is due so long after it was first practised, and after a failure.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
/// A skill that was practised when it was due is due again after this time; one that has been due
/// for so long is rusty.
pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// The record keeps the tasks of this many drills, the last ones.
const DRILLS_MAX: usize = 50;

/// The file `practice.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Record {
    pub format: u32,
    /// A drill that has made something in the cluster and not taken it away yet.
    pub open: Option<Open>,
    /// What is known of each skill that was practised, by its id.
    pub skills: BTreeMap<String, Practised>,
    /// Drills that were begun, the oldest first.
    pub drills: Vec<DrillTasks>,
}

/// What a drill has made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Open {
    pub namespace: String,
    /// The store's revision before it.
    #[serde(rename = "base")]
    pub revision_before: i64,
}

/// The tasks of a drill, so that its seed repeats it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DrillTasks {
    pub seed: u64,
    /// Ids of its tasks.
    pub tasks: Vec<String>,
}

/// What is known of a skill that was practised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Practised {
    /// When it was last practised, and when it is to be again.
    pub last: Timestamp,
    pub due: Timestamp,
    /// Successes since the last failure, of those that came when the skill was due.
    #[serde(default, rename = "row")]
    pub streak: u32,
    /// The last try did not succeed: the task was skipped, or done with its last hint.
    #[serde(default)]
    pub failed: bool,
    /// The last try needed the last hint.
    #[serde(default)]
    pub helped: bool,
    /// Tries that succeeded, and that failed. One that needed the last hint is neither.
    #[serde(default)]
    pub done: u32,
    #[serde(default)]
    pub missed: u32,
}

/// How well a skill is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// The last try failed, or it has been due for a week.
    Rusty,
    /// It is time to practise it.
    Due,
    /// It is not due yet.
    Fresh,
    /// No lesson or lab that teaches it is finished.
    #[default]
    NotMet,
}

impl Record {
    /// A file that is not there is a beginning.
    ///
    /// # Errors
    /// It cannot be read, was written by a newer program, or is damaged.
    pub(crate) fn load(path: &Path) -> Result<Record, Error> {
        Ok(progress::load(path, FORMAT)?.unwrap_or_default())
    }

    /// As [`Record::load`]; a damaged file is moved to a name of its own beside it, which is
    /// returned, and the record begins anew.
    ///
    /// # Errors
    /// The file cannot be read or moved, or was written by a newer program.
    pub(crate) fn load_or_put_aside(path: &Path) -> Result<(Record, Option<PathBuf>), Error> {
        match Record::load(path) {
            Err(Error::Damaged { .. }) => {
                let aside = free_name(path);
                std::fs::rename(path, &aside).map_err(|cause| Error::File { path: path.into(), cause })?;
                Ok((Record::default(), Some(aside)))
            }
            other => other.map(|record| (record, None)),
        }
    }

    /// Writes the file as [`progress::keep`] does.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn save(&mut self, path: &Path) -> Result<(), Error> {
        self.format = FORMAT;
        progress::keep(path, self)
    }

    /// Notes a try. `met`: when the skill was met, if that is known. A further success
    /// before the skill is due changes nothing of when it is: to practise it twice in an evening is
    /// no week of memory. The first one, the first after a failure, and the first after the clock
    /// was set back always count.
    pub(crate) fn note(&mut self, skill: &str, success: bool, met: Option<Timestamp>, now: Timestamp) {
        let before = self.skills.get(skill);
        let was_due = is_ahead(before, met, now) || due(before, met).is_none_or(|due| due <= now);
        let known = before.cloned();
        let first = known.is_none();
        let mut noted = known.unwrap_or(Practised {
            last: now,
            due: now,
            streak: 0,
            failed: false,
            helped: false,
            done: 0,
            missed: 0,
        });
        (noted.last, noted.helped) = (now, false);
        if !success {
            noted.missed = noted.missed.saturating_add(1);
            (noted.streak, noted.failed, noted.due) = (0, true, clock::after(now, DAY));
        } else {
            noted.done = noted.done.saturating_add(1);
            // After a failure the first success counts, whenever it comes.
            if was_due || first || noted.failed {
                noted.streak = noted.streak.saturating_add(1);
                noted.due = clock::after(now, if noted.streak == 1 { DAY } else { WEEK });
            }
            noted.failed = false;
        }
        self.skills.insert(skill.into(), noted);
    }

    /// Notes a task that was done with its last hint: it comes first in the next drill as after a
    /// failure, and is not counted as one.
    pub(crate) fn note_helped(&mut self, skill: &str, met: Option<Timestamp>, now: Timestamp) {
        let missed = self.skills.get(skill).map_or(0, |practised| practised.missed);
        self.note(skill, false, met, now);
        if let Some(noted) = self.skills.get_mut(skill) {
            (noted.missed, noted.helped) = (missed, true);
        }
    }

    /// Remembers the tasks of a seed.
    pub(crate) fn remember(&mut self, seed: u64, tasks: Vec<String>) {
        self.drills.retain(|set| set.seed != seed);
        self.drills.push(DrillTasks { seed, tasks });
        let over = self.drills.len().saturating_sub(DRILLS_MAX);
        self.drills.drain(..over);
    }

    /// The tasks that a seed had here.
    pub(crate) fn tasks_of(&self, seed: u64) -> Option<&[String]> {
        self.drills.iter().find(|set| set.seed == seed).map(|set| set.tasks.as_slice())
    }
}

/// When a skill is to be practised. One that was met and never practised is due a day after it was
/// met. `None`: it is not known when that was, so it is due.
pub(crate) fn due(practised: Option<&Practised>, met: Option<Timestamp>) -> Option<Timestamp> {
    practised.map(|p| p.due).or_else(|| met.map(|met| clock::after(met, DAY)))
}

/// Returns whether the times that are noted of a skill are ahead of the clock, because that was set
/// back. They must not keep the skill fresh until it is that late again. A skill that was practised
/// is due after [`WEEK`] at the latest: a later time is from before the clock was set back, too.
pub(crate) fn is_ahead(practised: Option<&Practised>, met: Option<Timestamp>, now: Timestamp) -> bool {
    match practised {
        Some(p) => p.last > now || p.due > clock::after(p.last, WEEK),
        None => met.is_some_and(|met| met > now),
    }
}

/// How well a skill that was met is known.
///
/// ```text
/// due tomorrow          fresh
/// due since yesterday   due
/// due since nine days   rusty
/// the last try failed   rusty
/// practised tomorrow    due: the clock was set back
/// met tomorrow          due, likewise
/// ```
pub(crate) fn state(practised: Option<&Practised>, met: Option<Timestamp>, now: Timestamp) -> State {
    if practised.is_some_and(|p| p.failed) {
        return State::Rusty;
    }
    if is_ahead(practised, met, now) {
        return State::Due;
    }
    match due(practised, met) {
        Some(due) if now < due => State::Fresh,
        Some(due) if now >= clock::after(due, WEEK) => State::Rusty,
        _ => State::Due,
    }
}

/// `practice.json.damaged`, or the first of `….damaged-2`, `….damaged-3`, … that is not there yet.
fn free_name(path: &Path) -> PathBuf {
    let name = |end: &str| path.with_extension(format!("json.damaged{end}"));
    let further = (2u64..).map(|number| name(&format!("-{number}")));
    let mut names = std::iter::once(name("")).chain(further);
    names.find(|path| !path.exists()).unwrap_or_else(|| name(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// On the manual clock: a day after the first success, a week after the second, and a day after
    /// a failure, whatever was before it.
    #[tokio::test(start_paused = true)]
    async fn a_skill_is_due_after_a_day_and_then_after_a_week() {
        clock::pin(at("2026-03-01T10:00:00Z"));
        let mut record = Record::default();
        let due = |record: &Record| clock::rfc3339(record.skills["scale"].due);
        let of = |record: &Record| state(record.skills.get("scale"), None, clock::now());
        assert_eq!(of(&record), State::Due, "met, and nobody knows when");
        record.note("scale", true, None, clock::now());
        assert_eq!((due(&record).as_str(), of(&record)), ("2026-03-02T10:00:00Z", State::Fresh));
        // Once more on the same day changes nothing.
        clock::pause(Duration::from_secs(3600)).await;
        record.note("scale", true, None, clock::now());
        assert_eq!(due(&record), "2026-03-02T10:00:00Z");
        clock::pause(DAY).await;
        assert_eq!(of(&record), State::Due);
        record.note("scale", true, None, clock::now());
        assert_eq!((due(&record).as_str(), of(&record)), ("2026-03-09T11:00:00Z", State::Fresh));
        clock::pause(WEEK + DAY).await;
        assert_eq!(of(&record), State::Due);
        clock::pause(WEEK).await;
        assert_eq!(of(&record), State::Rusty);
        record.note("scale", false, None, clock::now());
        assert_eq!((due(&record).as_str(), of(&record)), ("2026-03-18T11:00:00Z", State::Rusty));
        record.note("scale", true, None, clock::now());
        assert_eq!((due(&record).as_str(), of(&record)), ("2026-03-18T11:00:00Z", State::Fresh));
        let noted = &record.skills["scale"];
        assert_eq!((noted.streak, noted.done, noted.missed), (1, 4, 1));
    }

    #[test]
    fn a_skill_that_was_met_in_a_lesson_is_due_a_day_later() {
        let met = at("2026-03-01T10:00:00Z");
        let of = |now: &str| state(None, Some(met), at(now));
        assert_eq!(of("2026-03-02T09:59:59Z"), State::Fresh);
        assert_eq!(of("2026-03-02T10:00:00Z"), State::Due);
        assert_eq!(of("2026-03-09T10:00:00Z"), State::Rusty);
        // Practised before it is due: the first practice counts, so the day moves on.
        let mut record = Record::default();
        record.note("scale", true, Some(met), at("2026-03-01T12:00:00Z"));
        assert_eq!(record.skills["scale"].due, at("2026-03-02T12:00:00Z"), "the first practice counts");
    }

    #[test]
    fn a_skill_that_was_practised_in_the_future_is_due() {
        let mut record = Record::default();
        record.note("scale", true, None, at("2026-05-01T10:00:00Z"));
        let of = |now: &str| state(record.skills.get("scale"), None, at(now));
        assert_eq!((of("2026-05-01T10:00:00Z"), of("2026-03-01T10:00:00Z")), (State::Fresh, State::Due));
        // A success counts as one that was due: the skill is not fresh until May.
        record.note("scale", true, None, at("2026-03-01T10:00:00Z"));
        let noted = &record.skills["scale"];
        assert_eq!((noted.streak, noted.due), (2, at("2026-03-08T10:00:00Z")));
        let met = Some(at("2026-05-01T10:00:00Z"));
        assert_eq!(state(None, met, at("2026-03-01T10:00:00Z")), State::Due);
        // A record of which only the last try is from after that.
        let due = at("2026-05-08T10:00:00Z");
        let noted = Practised { due, ..record.skills["scale"].clone() };
        assert_eq!(state(Some(&noted), None, at("2026-03-02T10:00:00Z")), State::Due);
    }

    #[test]
    fn a_task_that_was_done_with_its_last_hint_comes_back_and_is_no_failure() {
        let mut record = Record::default();
        record.note_helped("scale", None, at("2026-03-01T10:00:00Z"));
        let noted = record.skills["scale"].clone();
        assert_eq!((noted.failed, noted.helped, noted.done, noted.missed), (true, true, 0, 0));
        assert_eq!(noted.due, at("2026-03-02T10:00:00Z"));
        record.note("scale", false, None, at("2026-03-02T10:00:00Z"));
        let noted = &record.skills["scale"];
        assert_eq!((noted.failed, noted.helped, noted.missed), (true, false, 1));
    }

    #[test]
    fn a_damaged_record_is_put_aside_and_a_newer_one_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mut record = Record::default();
        record.note("scale", true, None, at("2026-03-01T10:00:00Z"));
        record.remember(417, vec!["scale-up".into()]);
        record.save(&path).unwrap();
        assert_eq!(Record::load(&path).unwrap(), record);
        assert_eq!(record.tasks_of(417), Some(&["scale-up".to_string()][..]));
        for name in ["practice.json.damaged", "practice.json.damaged-2"] {
            std::fs::write(&path, r#"{"skills": 3}"#).unwrap();
            assert!(matches!(Record::load(&path), Err(Error::Damaged { .. })));
            let (anew, aside) = Record::load_or_put_aside(&path).unwrap();
            assert_eq!((anew, aside), (Record::default(), Some(dir.path().join(name))));
            assert!(!path.exists());
        }
        std::fs::write(&path, r#"{"format": 9}"#).unwrap();
        assert!(matches!(Record::load_or_put_aside(&path), Err(Error::Newer { found: 9, .. })));
        assert!(path.exists());
    }

    #[test]
    fn the_last_seeds_are_remembered() {
        let mut record = Record::default();
        (0..60).for_each(|seed| record.remember(seed, vec![]));
        record.remember(30, vec!["logs".into()]);
        assert_eq!(record.drills.len(), DRILLS_MAX);
        assert!(record.tasks_of(9).is_none() && record.tasks_of(10).is_some());
        assert_eq!(record.tasks_of(30).map(<[String]>::len), Some(1));
    }
}
