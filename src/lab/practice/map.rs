//! The skill map: what a learner has done, and how well each skill is known. It is read from files,
//! so it is known while the cluster is down.
//!
//! `ropewalk progress -o json` prints [`SkillMap`] as it is: its fields keep their names and
//! meanings.

use super::met::{self, Met};
use super::record::{self, Record, State};
use super::table::SkillTable;
use crate::format::Library;
use crate::graded::read::Labs;
use clock::Timestamp;
use cluster::Place;
use lang::Lang;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The format of the document. A field that is added changes nothing of it.
pub const FORMAT: u32 = 1;

/// How far a learner is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SkillMap {
    /// [`FORMAT`].
    pub format: u32,
    /// The name of the cluster on which all this was done.
    pub cluster: String,
    /// How many lessons are finished.
    pub lessons: Lessons,
    /// How the graded labs were done.
    pub labs: Grades,
    /// In the order of the table of skills.
    pub skills: Vec<SkillLine>,
    /// What could not be read, and why.
    pub notices: Vec<String>,
}

/// Lessons of all tracks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lessons {
    /// Lessons that are finished: every step is done, solved, optional, or beyond what this cluster
    /// can do.
    pub done: usize,
    /// Lessons that there are.
    pub all: usize,
    /// In the order in which they are to be played.
    pub tracks: Vec<Track>,
    /// All lessons, in the same order.
    pub list: Vec<LessonLine>,
}

/// The lessons of one track.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Track {
    /// For example `first-voyage`.
    pub id: String,
    /// Lessons that are finished.
    pub done: usize,
    /// Lessons that it has.
    pub all: usize,
}

/// A lesson, and how many of its steps are done, solved, or beyond what this cluster can do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LessonLine {
    /// For example `first-voyage/04`.
    pub id: String,
    /// In the language asked for.
    pub title: String,
    /// Steps that are over.
    pub done: usize,
    /// Steps that it has.
    pub steps: usize,
}

/// Graded labs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Grades {
    /// Labs whose best grade is a pass.
    pub passed: usize,
    /// Labs that there are.
    pub all: usize,
    /// Points of the best grades, added up.
    pub score: u32,
    /// Points that could be had in the same labs.
    pub max: u32,
    /// Labs with a grade.
    pub list: Vec<LabLine>,
}

/// The best grade of a lab.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabLine {
    /// For example `broken-selector`.
    pub id: String,
    /// In the language asked for.
    pub title: String,
    /// Points.
    pub score: u32,
    /// Points that could be had when it was graded.
    pub max: u32,
    /// The grade is a pass.
    pub passed: bool,
}

/// A skill, and how well it is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SkillLine {
    /// For example `scale`.
    pub id: String,
    /// In the language asked for.
    pub title: String,
    /// How well it is known now.
    pub state: State,
    /// When it was last practised, in RFC 3339; null if it was not.
    pub last: Option<String>,
    /// When it is to be practised, in RFC 3339; null if that is not known, also because the clock
    /// was set back since.
    pub due: Option<String>,
    /// Whole days from now until it is due, rounded down: 0 on the last day before that, -1 on the
    /// first day after it.
    pub due_days: Option<i64>,
    /// The last try did not succeed: the task was skipped, or done with its last hint.
    pub failed: bool,
    /// The last try needed the last hint.
    pub helped: bool,
    /// Tries in drills that succeeded. One that needed the last hint neither succeeded nor failed.
    pub done: u32,
    /// Tries in drills that failed.
    pub missed: u32,
    /// Ids of lessons that teach it.
    pub lessons: Vec<String>,
    /// Ids of labs that practise it.
    pub labs: Vec<String>,
}

impl SkillMap {
    /// Reads how far the learner is on a cluster, in a language.
    pub fn read(place: &Place, lang: &str) -> SkillMap {
        let library = Library::load();
        let labs = Labs::load();
        let mut met = Met::read(place, &library);
        let record = Record::load(&place.root.join(record::FILE));
        let record = record.unwrap_or_else(|error| {
            met.unread.push(Arc::new(error));
            Record::default()
        });
        let map = build(&met, &record, &Known { library: &library, labs: &labs }, clock::now(), lang);
        SkillMap { cluster: place.name.clone(), ..map }
    }

    /// How many skills are in a state.
    pub fn count(&self, state: State) -> usize {
        self.skills.iter().filter(|skill| skill.state == state).count()
    }
}

/// The lessons and labs that the program knows.
pub(super) struct Known<'a> {
    pub library: &'a Library,
    pub labs: &'a Labs,
}

/// Builds the map from what a learner has finished and practised.
pub(super) fn build(met: &Met, record: &Record, known: &Known<'_>, now: Timestamp, lang: &str) -> SkillMap {
    let spoken = Lang::parse(lang).unwrap_or_default();
    SkillMap {
        format: FORMAT,
        lessons: lesson_counts(met, known.library, lang),
        labs: lab_grades(met, known.labs, lang),
        skills: skill_lines(met, record, now, lang),
        notices: met.unread.iter().map(|error| error.say(spoken)).collect(),
        ..SkillMap::default()
    }
}

fn lesson_counts(met: &Met, library: &Library, lang: &str) -> Lessons {
    let mut all = Lessons::default();
    for lesson in &library.lessons {
        let is_over = |id: &str| met::is_step_over(&met.progress, &lesson.id, id);
        let line = LessonLine {
            id: lesson.id.clone(),
            title: lesson.title.get(lang).into(),
            done: lesson.steps.iter().filter(|step| is_over(&step.id)).count(),
            steps: lesson.steps.len(),
        };
        let is_finished = met.has_finished(&lesson.id);
        if all.tracks.last().is_none_or(|track| track.id != lesson.track) {
            all.tracks.push(Track { id: lesson.track.clone(), ..Track::default() });
        }
        if let Some(track) = all.tracks.last_mut() {
            track.all += 1;
            track.done += usize::from(is_finished);
        }
        all.all += 1;
        all.done += usize::from(is_finished);
        all.list.push(line);
    }
    all
}

fn lab_grades(met: &Met, labs: &Labs, lang: &str) -> Grades {
    let mut all = Grades { all: labs.labs.len(), ..Grades::default() };
    for lab in &labs.labs {
        let Some(best) = met.book.best.get(&lab.id) else { continue };
        all.passed += usize::from(best.passed);
        // The file is the learner's: its numbers may be of any size.
        all.score = all.score.saturating_add(best.score);
        all.max = all.max.saturating_add(best.max);
        all.list.push(LabLine {
            id: lab.id.clone(),
            title: lab.title.get(lang).into(),
            score: best.score,
            max: best.max,
            passed: best.passed,
        });
    }
    all
}

fn skill_lines(met: &Met, record: &Record, now: Timestamp, lang: &str) -> Vec<SkillLine> {
    let line = |skill: &super::table::Skill| {
        let practised = record.skills.get(&skill.id);
        let since = met.since(skill);
        // A time from before the clock was set back is no day to wait for.
        let known = since.filter(|since| !record::is_ahead(practised, *since, now));
        let due = known.and_then(|since| record::due(practised, since));
        SkillLine {
            id: skill.id.clone(),
            title: skill.title.get(lang).into(),
            state: since.map_or(State::NotMet, |since| record::state(practised, since, now)),
            last: practised.map(|practised| clock::rfc3339(practised.last)),
            due: due.map(clock::rfc3339),
            due_days: due.map(|due| due.duration_since(now).as_secs().div_euclid(24 * 3600)),
            failed: practised.is_some_and(|practised| practised.failed),
            helped: practised.is_some_and(|practised| practised.helped),
            done: practised.map_or(0, |practised| practised.done),
            missed: practised.map_or(0, |practised| practised.missed),
            lessons: skill.lessons.clone(),
            labs: skill.labs.clone(),
        }
    };
    SkillTable::built_in().skills.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graded::book::{Best, Book};
    use crate::progress::Progress;
    use serde_json::json;

    /// Two lessons, two labs, and a record; at 2026-03-10T10:00:00Z.
    fn map(lang: &str) -> SkillMap {
        let (library, labs) = (Library::built_in(), Labs::built_in());
        let of_ids = |ids: &[&str]| {
            let lessons = library.lessons.iter().filter(|l| ids.contains(&l.id.as_str())).cloned().collect();
            Library { lessons, ..(*library).clone() }
        };
        let library = of_ids(&["first-voyage/05", "first-voyage/06"]);
        let keep = ["wrong-image", "stale-settings"];
        let labs = labs.labs.iter().filter(|l| keep.contains(&l.id.as_str())).cloned().collect();
        let labs = Labs { labs, ..Labs::default() };
        let mut progress = Progress::default();
        for step in &library.lessons[0].steps {
            let noted = progress.step("first-voyage/05", &step.id);
            (noted.done, noted.at) = (true, "2026-03-08T09:00:00Z".into());
        }
        progress.step("first-voyage/06", &library.lessons[1].steps[0].id).done = true;
        let mut book = Book::default();
        let best = |score, passed| Best { score, max: 100, passed, ..Best::default() };
        book.best.insert("stale-settings".into(), best(100, true));
        book.best.insert("wrong-image".into(), best(40, false));
        let at = |text: &str| text.parse().unwrap();
        let mut record = Record::default();
        record.note("restart", true, None, at("2026-03-09T20:00:00Z"));
        record.note("config-map", false, None, at("2026-03-09T20:00:00Z"));
        record.note("scale", true, None, at("2026-03-09T20:00:00Z"));
        let met = Met::from_parts(progress, book, &library, vec![]);
        let known = Known { library: &library, labs: &labs };
        build(&met, &record, &known, at("2026-03-10T10:00:00Z"), lang)
    }

    /// Scripts read it: a field that is renamed or goes breaks them.
    #[test]
    fn the_document_keeps_its_fields() {
        let mut map = map("en");
        map.skills
            .retain(|s| ["create-deployment", "scale", "restart", "config-map"].contains(&s.id.as_str()));
        let golden = include_str!("map.golden.json");
        let told = serde_json::to_string_pretty(&map).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/practice/map.golden.json");
            std::fs::write(path, &told).unwrap();
        }
        assert_eq!(told, golden, "UPDATE_GOLDENFILES=1 writes it anew; is `format` still right?");
    }

    #[test]
    fn a_skill_that_was_practised_and_is_of_no_finished_lesson_is_not_met() {
        let map = map("ko");
        let state = |id: &str| map.skills.iter().find(|skill| skill.id == id).unwrap().state;
        assert_eq!(
            ["create-deployment", "scale", "restart", "config-map"].map(state),
            [State::Due, State::NotMet, State::Fresh, State::Rusty]
        );
        assert_eq!(map.count(State::NotMet) + 3, map.skills.len());
        assert_eq!((map.lessons.done, map.lessons.tracks[0].done, map.labs.score), (1, 1, 140));
        assert_eq!(json!(map)["skills"][0]["title"], "파드 실행하기");
    }

    #[test]
    fn what_cannot_be_read_is_named_in_the_learners_language() {
        let dir = tempfile::tempdir().unwrap();
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        for file in ["labs.json", record::FILE] {
            std::fs::write(place.root.join(file), "{").unwrap();
        }
        for (lang, part) in [("en", " is damaged: "), ("ko", " 파일이 손상되었습니다: ")] {
            let notices = SkillMap::read(&place, lang).notices;
            assert!(notices.len() == 2 && notices.iter().all(|told| told.contains(part)), "{notices:?}");
        }
    }

    /// The bar and the skill follow one rule.
    #[test]
    fn a_step_that_this_cluster_cannot_do_counts_for_the_lesson_and_the_skill() {
        let library = Library::built_in();
        let lesson = library.get("first-voyage/06").unwrap();
        let mut progress = Progress::default();
        for step in &lesson.steps {
            progress.step(&lesson.id, &step.id).done = true;
        }
        let last = progress.step(&lesson.id, &lesson.steps[0].id);
        (last.done, last.state) = (false, crate::view::State::Skipped);
        let met = Met::from_parts(progress, Book::default(), &library, vec![]);
        assert!(met.since(SkillTable::built_in().skill("scale").unwrap()).is_some());
        assert_eq!(lesson_counts(&met, &library, "en").done, 1);
    }

    #[test]
    fn a_skill_that_was_practised_in_the_future_names_no_day() {
        let (library, labs, mut book) = (Library::built_in(), Labs::built_in(), Book::default());
        book.best.insert("stale-settings".into(), Best { passed: true, ..Best::default() });
        let met = Met::from_parts(Progress::default(), book, &library, vec![]);
        let mut record = Record::default();
        record.note("restart", true, None, "2026-05-01T10:00:00Z".parse().unwrap());
        let line = |now: &str| {
            let known = Known { library: &library, labs: &labs };
            let map = build(&met, &record, &known, now.parse().unwrap(), "en");
            map.skills.into_iter().find(|skill| skill.id == "restart").unwrap()
        };
        let back = line("2026-03-01T10:00:00Z");
        assert_eq!((back.state, back.due, back.due_days), (State::Due, None, None));
        assert_eq!(line("2026-05-01T11:00:00Z").due_days, Some(0));
    }

    #[test]
    fn points_of_a_damaged_file_do_not_overflow() {
        let (library, labs) = (Library::built_in(), Labs::built_in());
        let mut book = Book::default();
        for lab in ["stale-settings", "wrong-image"] {
            book.best.insert(lab.into(), Best { score: u32::MAX, max: u32::MAX, ..Best::default() });
        }
        let met = Met::from_parts(Progress::default(), book, &library, vec![]);
        assert_eq!(lab_grades(&met, &labs, "en").score, u32::MAX);
    }
}
