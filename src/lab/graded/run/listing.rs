//! Views of labs: in the list, before they are started, and while one is open.

use super::{Current, LabRun, fill};
use crate::graded::book::Book;
use crate::graded::read::{self, Lab};
use crate::graded::score;
use crate::graded::view::{Entry, LabView, Task};
use crate::graded::words;

impl LabRun {
    /// All labs, with what the book has of each.
    pub(super) fn list(&self, lang: &str) -> Vec<Entry> {
        let book = self.book();
        self.labs.labs.iter().map(|lab| listed(lab, &book, lang)).collect()
    }

    /// The open lab as sessions show it.
    pub(super) fn view(&self, current: &Current, lang: &str) -> LabView {
        let (lab, open) = (&current.lab, &current.open);
        let limit = i64::from(lab.minutes) * 60;
        let ran = (self.ms() / 1000) as i64;
        // A copy: no other caller waits for the lock while hints are evaluated below.
        let seen = self.seen().clone();
        let mut blank = sheet(lab, open.seed, lang);
        if let Some(gone) = self.missing_objects(current, lang) {
            blank.text = format!("{}\n\n{gone}\n", blank.text.trim_end());
        }
        let (meddling, borrowed) = {
            let known = self.world.know();
            (known.meddling.clone(), known.who.borrowed.clone())
        };
        let excluded = |task: &read::Task| words::red_by_meddling(&task.excludes, &meddling, &borrowed);
        // As grading would count it.
        let is_green = |task: &&read::Task| seen.get(&task.id) == Some(&true) && excluded(task).is_none();
        let greens = lab.tasks.iter().filter(is_green).map(|task| task.id.clone()).collect();
        let task = |id: &str| lab.tasks.iter().find(|task| task.id == id);
        let with = |id: &str| task(id).map(|task| task.only_with.clone()).unwrap_or_default();
        let counted = score::counted(greens, with);
        let green = |id: &str| {
            let is_told = seen.contains_key(id) && task(id).is_none_or(|task| task.probe.is_empty());
            is_told.then(|| counted.contains(id)) // with a probe, only that can tell
        };
        let told = |id: &str| {
            let red = task(id).and_then(excluded);
            red.map_or_else(String::new, |red| red.told.get(lang).to_string())
        };
        LabView {
            started: clock::rfc3339(open.started),
            began: open.began,
            over: open.solve,
            left_s: limit - ran,
            hints: open
                .hints
                .iter()
                .map(|id| self.told_text(current, id, lang).unwrap_or_default())
                .collect(),
            // One that does not fit, or cannot be said by what is known, is not promised.
            hints_left: self.fitting(current, lang).len(),
            grade: open.grade.clone(),
            given_up: open.given_up.clone(),
            tasks: blank
                .tasks
                .into_iter()
                .map(|task| Task { green: green(&task.id), told: told(&task.id), ..task })
                .collect(),
            ..blank
        }
    }
}

/// A lab in the list, with its best grade. That keeps its own maximum: the lab may have been
/// reworked since.
fn listed(lab: &Lab, book: &Book, lang: &str) -> Entry {
    let (best, entry) = (book.best.get(&lab.id), entry(lab, lang));
    Entry {
        score: best.map(|b| b.score),
        max: best.map_or(entry.max, |b| b.max),
        passed: best.is_some_and(|b| b.passed),
        attempt: best.map_or(0, |b| b.attempt),
        open: book.open.as_ref().is_some_and(|o| o.lab == lab.id),
        ..entry
    }
}

/// A lab in the list, as far as its file tells.
pub fn entry(lab: &Lab, lang: &str) -> Entry {
    Entry {
        id: lab.id.clone(),
        title: lab.title.get(lang).into(),
        track: "labs".into(),
        languages: lab.languages.clone(),
        level: lab.level,
        minutes: lab.minutes,
        row: lab.row.clone(),
        needs: lab.needs.clone(),
        tasks: lab.tasks.len(),
        max: lab.tasks.iter().map(|t| t.weight).sum(),
        ..Entry::default()
    }
}

/// A lab as it would be drawn from a seed: what `show` needs, without a cluster.
pub fn sheet(lab: &Lab, seed: u64, lang: &str) -> LabView {
    let variant = lab.variant(seed).unwrap_or_default();
    LabView {
        id: lab.id.clone(),
        title: fill(lab.title.get(lang), &variant),
        level: lab.level,
        minutes: lab.minutes,
        seed,
        text: fill(lab.intro.get(lang), &variant),
        tasks: lab
            .tasks
            .iter()
            .map(|t| Task {
                id: t.id.clone(),
                weight: t.weight,
                task: fill(t.task.get(lang), &variant),
                ..Task::default()
            })
            .collect(),
        hints_left: lab.hints.len(),
        ..LabView::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graded::book::Best;
    use crate::graded::read::Labs;

    #[test]
    fn a_grade_is_shown_with_the_maximum_of_its_day() {
        let (labs, mut book) = (Labs::built_in(), Book::default());
        let lab = &labs.labs[0];
        assert_eq!((listed(lab, &book, "en").score, listed(lab, &book, "en").max), (None, 100));
        let grade = Best { score: 50, max: 50, passed: true, ..Best::default() };
        book.best.insert(lab.id.clone(), grade);
        let told = listed(lab, &book, "en");
        assert_eq!((told.score, told.max, told.passed), (Some(50), 50, true));
    }
}
