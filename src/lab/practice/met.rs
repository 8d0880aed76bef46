//! What a learner has met: lessons and labs that are finished, from the files in the cluster's
//! directory. So it is known while the cluster is down.

use super::table::Skill;
use crate::error::Error;
use crate::format::{Library, Step};
use crate::graded::book::{self, Book};
use crate::needs;
use crate::progress::{self, Progress};
use crate::view::State;
use clock::Timestamp;
use cluster::guest::{LessonScope, Offers};
use cluster::{Place, Spec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far the learner is.
#[derive(Clone, Debug, Default)]
pub(super) struct Met {
    pub progress: Progress,
    pub book: Book,
    /// Finished lessons and labs by their ids, and when, if that is known.
    finished: BTreeMap<String, Option<Timestamp>>,
    /// Files that could not be read, and why.
    pub unread: Vec<Arc<Error>>,
}

impl Met {
    /// Reads what lessons and labs have kept. A file that cannot be read counts as empty, and is
    /// named.
    pub(super) fn read(place: &Place, library: &Library) -> Met {
        let mut unread = Vec::new();
        let lessons = Progress::load(&place.root.join("lessons.json"));
        let mut progress = lessons.unwrap_or_else(|error| {
            unread.push(Arc::new(error));
            Progress::default()
        });
        mark_skipped(&mut progress, library, &offers(place));
        let labs = progress::load::<Book>(&place.root.join("labs.json"), book::FORMAT);
        let book = labs.map(Option::unwrap_or_default).unwrap_or_else(|error| {
            unread.push(Arc::new(error));
            Book::default()
        });
        Met::from_parts(progress, book, library, unread)
    }

    /// Builds it from files that were read.
    pub(super) fn from_parts(
        progress: Progress,
        book: Book,
        library: &Library,
        unread: Vec<Arc<Error>>,
    ) -> Met {
        let mut finished = BTreeMap::new();
        for lesson in &library.lessons {
            let is_over = |step: &Step| step.optional || is_step_over(&progress, &lesson.id, &step.id);
            if lesson.steps.iter().all(is_over) && !lesson.steps.is_empty() {
                // The beginning of the last step is the nearest time that was noted.
                let noted = |step: &Step| progress.noted_step(&lesson.id, &step.id)?.at.parse().ok();
                let times = lesson.steps.iter().filter_map(noted);
                finished.insert(lesson.id.clone(), times.max());
            }
        }
        for (lab, _) in book.best.iter().filter(|(_, best)| best.passed) {
            finished.insert(lab.clone(), None);
        }
        Met { progress, book, finished, unread }
    }

    /// Returns whether a lesson is finished, or a lab passed.
    pub(super) fn has_finished(&self, id: &str) -> bool {
        self.finished.contains_key(id)
    }

    /// When a skill was met: when the first lesson or lab that teaches it was finished. The outer
    /// `None`: it was not; the inner one: the time is not known.
    pub(super) fn since(&self, skill: &Skill) -> Option<Option<Timestamp>> {
        let all = skill.lessons.iter().chain(&skill.labs).filter_map(|id| self.finished.get(id));
        let all: Vec<&Option<Timestamp>> = all.collect();
        let first = all.iter().filter_map(|time| **time).min();
        (!all.is_empty()).then_some(first)
    }
}

/// Returns what the cluster of a place has, as far as its files tell. The nodes of one that is not
/// Ropewalk's own are not known, and nothing is lacking because of them.
fn offers(place: &Place) -> Offers {
    if place.foreign().exists() {
        return Offers { own: false, workers: u8::MAX, control_planes: u8::MAX };
    }
    // Of a damaged file the start of the cluster tells.
    let spec = Spec::load(place).ok().flatten().unwrap_or_else(|| Spec::new(&place.name));
    Offers { own: true, workers: spec.workers, control_planes: spec.control_planes }
}

/// Marks the steps that the learner has seen and that this cluster cannot do. The file does not say
/// so: a step that is skipped stays open there, as a later cluster may have more nodes. A lesson of
/// which the learner has done nothing has taught no skill: of it nothing is marked.
fn mark_skipped(progress: &mut Progress, library: &Library, offers: &Offers) {
    for lesson in &library.lessons {
        let Some(noted) = progress.lessons.get_mut(&lesson.id) else { continue };
        if !noted.steps.values().any(|step| step.done || step.state != State::Open) {
            continue;
        }
        for step in &lesson.steps {
            let seen = noted.steps.get_mut(&step.id).filter(|noted| noted.since > 0);
            let open = seen.filter(|noted| noted.state == State::Open);
            if let Some(noted) = open
                && needs::lacks(offers, &LessonScope::default(), lesson, step).is_some()
            {
                noted.state = State::Skipped;
            }
        }
    }
}

/// Returns whether a step is done, solved, or beyond what this cluster can do: the last keeps no
/// learner from the skill.
pub(super) fn is_step_over(progress: &Progress, lesson: &str, step: &str) -> bool {
    let noted = progress.noted_step(lesson, step);
    noted.is_some_and(|step| step.done || step.state != State::Open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graded::book::Best;
    use crate::practice::table::SkillTable;
    use lang::Lang;

    #[test]
    fn a_skill_is_met_when_a_lesson_or_a_lab_that_teaches_it_is_finished() {
        let (library, table) = (Library::built_in(), SkillTable::built_in());
        let skill = |id: &str| table.skill(id).unwrap();
        let lesson = library.get("first-voyage/06").unwrap();
        let mut progress = Progress::default();
        for (number, step) in lesson.steps.iter().enumerate() {
            let met = Met::from_parts(progress.clone(), Book::default(), &library, vec![]);
            assert_eq!(met.since(skill("scale")), None, "step {number} is open");
            let noted = progress.step(&lesson.id, &step.id);
            noted.done = true;
            noted.at = format!("2026-03-01T10:0{number}:00Z");
        }
        let last = format!("2026-03-01T10:0{}:00Z", lesson.steps.len() - 1).parse().unwrap();
        let mut book = Book::default();
        book.best.insert("stale-settings".into(), Best { passed: true, ..Best::default() });
        book.best.insert("wrong-image".into(), Best { score: 40, max: 100, ..Best::default() });
        let met = Met::from_parts(progress, book, &library, vec![]);
        assert_eq!(met.since(skill("scale")), Some(Some(last)));
        assert_eq!(met.since(skill("restart")), Some(None));
        assert_eq!(met.since(skill("update-image")), None, "not passed");
    }

    /// `next` passes such a step, and nothing of it is noted but that it was on the screen.
    #[test]
    fn a_step_that_was_seen_and_that_this_cluster_cannot_do_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        let library = Library::built_in();
        let lesson = library.get("first-voyage/01").unwrap();
        let mut progress = Progress::default();
        for step in &lesson.steps {
            let noted = progress.step(&lesson.id, &step.id);
            (noted.since, noted.done) = (7, step.requires.is_empty());
        }
        let is_finished = |progress: &Progress, workers: u8| {
            progress.save(&place.root.join("lessons.json")).unwrap();
            Spec { workers, ..Spec::new("main") }.save(&place).unwrap();
            Met::read(&place, &library).has_finished(&lesson.id)
        };
        assert!(!is_finished(&progress, 2), "the step about a worker is still to be done");
        assert!(is_finished(&progress, 0));
        let unseen = lesson.steps.iter().find(|step| !step.requires.is_empty()).unwrap();
        progress.step(&lesson.id, &unseen.id).since = 0;
        assert!(!is_finished(&progress, 0), "the learner has not come to it yet");
        let mut only_read = Progress::default();
        lesson.steps.iter().for_each(|step| only_read.step(&lesson.id, &step.id).since = 7);
        assert!(!is_finished(&only_read, 0));
        let met = Met::read(&place, &library);
        assert!(!is_step_over(&met.progress, &lesson.id, &unseen.id), "nothing was done in the lesson");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        let library = Library::built_in();
        assert!(Met::read(&place, &library).unread.is_empty(), "nothing is there yet");
        std::fs::create_dir_all(&place.root).unwrap();
        std::fs::write(place.root.join("lessons.json"), "{").unwrap();
        let met = Met::read(&place, &library);
        let told = |lang| met.unread.iter().map(|error| error.say(lang)).collect::<Vec<_>>();
        let (english, korean) = (told(Lang::En), told(Lang::Ko));
        assert!(english.len() == 1 && english[0].contains("lessons.json is damaged"), "{english:?}");
        assert!(korean[0].contains("lessons.json 파일이 손상되었습니다"), "{korean:?}");
    }
}
