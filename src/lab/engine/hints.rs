//! Hints: which one is next, and how it is said.

use super::Engine;
use crate::cel::Facts;
use crate::format::{self, EN, Lesson, Step};
use crate::judge::Outcome;
use crate::progress;
use crate::view::{Hint, State, Verdict};
use clock::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    /// Shows the next hint: one that fits the state before one that fits always, lower tiers first.
    /// False if there is none, or if the step misses nothing any more.
    pub(crate) fn hint(&mut self) -> bool {
        let facts = self.facts();
        let Some((open, step)) = self.current() else { return false };
        let (lesson, step) = (open.lesson.clone(), step.clone());
        if misses_nothing(&step, &open.outcome, self.progress.noted_step(&lesson.id, &step.id)) {
            return false;
        }
        let seen = self.progress.step(&lesson.id, &step.id).hints.clone();
        let rendered = fitting(&step, &seen, &facts)
            .into_iter()
            .find_map(|hint| Some((hint.id.clone(), render(hint, &lesson, &facts)?)));
        let Some((id, said)) = rendered else { return false };
        self.progress.step(&lesson.id, &step.id).hints.push(id);
        if let Some(open) = &mut self.open {
            open.hints.push(said);
            open.tries.start_anew(Instant::now());
            open.is_stuck = false;
        }
        true
    }

    /// Brings the hints on the screen up to date: those of an earlier sitting that are `lacking`,
    /// and which of them are past.
    pub(super) fn renew_hints(&mut self, lacking: bool, facts: &Arc<Facts>) {
        if lacking {
            self.recall_hints(facts);
        }
        let is_open = self.state() == State::Open;
        let Some(open) = self.open.as_mut().filter(|_| is_open) else { return };
        let lesson = open.lesson.clone();
        if let Some(step) = lesson.steps.get(open.step) {
            mark_past(step, facts, &mut open.hints);
        }
    }

    /// Hints of an earlier sitting, as they would be said by these facts. One that needs what no
    /// record has shown yet is missing, until `settle` looks again.
    pub(crate) fn recall_hints(&mut self, facts: &Arc<Facts>) {
        let Some((open, step)) = self.current() else { return };
        let ids =
            self.progress.noted_step(&open.lesson.id, &step.id).map(|p| p.hints.clone()).unwrap_or_default();
        let find = |id: &String| {
            step.hints.iter().find(|h| h.id == *id).and_then(|h| render(h, &open.lesson, facts))
        };
        let hints = ids.iter().filter_map(find).collect();
        if let Some(open) = &mut self.open {
            open.hints = hints;
        }
    }
}

/// Marks each hint on the screen whose condition no longer holds, as "The Secret has no label
/// floor=3 yet" after the label was set. Where that cannot be evaluated, its mark stays as it is.
fn mark_past(step: &Step, facts: &Arc<Facts>, hints: &mut [BTreeMap<String, Hint>]) {
    for said in hints {
        let id = said.get(EN).map(|hint| hint.id.clone()).unwrap_or_default();
        let hint = step.hints.iter().find(|hint| hint.id == id);
        let truth = hint.and_then(|hint| hint.when.as_ref()).and_then(|when| when.truth(facts));
        if let Some(is_so) = truth {
            said.values_mut().for_each(|hint| hint.is_past = !is_so);
        }
    }
}

/// Returns whether the step is done, or all that it asks for is true as far as it was judged, even
/// if it still has to hold for a moment. A hint would then point at what the learner has just done.
pub(super) fn misses_nothing(step: &Step, outcome: &Outcome, noted: Option<&progress::Step>) -> bool {
    let is_done = noted.is_some_and(|noted| matches!(noted.state, State::Done | State::Solved));
    let is_answered = step.answer.is_none() || noted.is_some_and(|noted| noted.is_right);
    let is_judged = !outcome.verdicts.is_empty();
    let is_met = || outcome.verdicts.iter().all(|verdict| *verdict != Verdict::Unmet);
    is_done || is_answered && is_judged && is_met()
}

/// The hints that would be shown now, in their order.
pub(super) fn fitting<'a>(step: &'a Step, seen: &[String], facts: &Arc<Facts>) -> Vec<&'a format::Hint> {
    let fits = |h: &&format::Hint| !seen.contains(&h.id) && h.when.as_ref().is_none_or(|w| w.holds(facts));
    let mut all: Vec<_> = step.hints.iter().filter(fits).collect();
    all.sort_by_key(|h| (h.when.is_none(), h.tier));
    all
}

/// Renders a hint in the lesson's languages. A language whose text fails is left out, and its
/// readers see English; without English there is no hint.
pub(super) fn render(
    hint: &format::Hint,
    lesson: &Lesson,
    facts: &Arc<Facts>,
) -> Option<BTreeMap<String, Hint>> {
    let mut said = BTreeMap::new();
    for lang in &lesson.languages {
        if let Some(say) = hint.say.get(lang).and_then(|text| text.render(facts, &[]).ok()) {
            said.insert(lang.clone(), Hint { tier: hint.tier, say, id: hint.id.clone(), is_past: false });
        }
    }
    said.contains_key(EN).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::facts::Object;
    use crate::cel::{Expr, Template, Use};
    use crate::engine::Open;
    use crate::engine::tests::engine;
    use crate::judge::Memory;
    use crate::observe::watch::Report;
    use crate::progress::Progress;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn a_hint_of_an_earlier_sitting_is_said_again_as_soon_as_it_can_be() {
        let mut engine = engine();
        let said = |engine: &Engine| -> Vec<String> {
            let hints = &engine.open.as_ref().unwrap().hints;
            hints.iter().map(|h| h["en"].say.clone()).collect()
        };
        engine.settle();
        assert_eq!(said(&engine).len(), 1, "no watch has told of the pod yet");
        let pod = json!({"kind": "Pod", "metadata": {"name": "nginx-pod", "namespace": "default"},
            "spec": {"containers": [{"image": "ngnix"}]}});
        let key = ("default".to_string(), "nginx-pod".to_string());
        let objects = [(key, Object::new(pod))].into();
        engine.take_report(Report::list("pods", objects, 7));
        engine.settle();
        let said = said(&engine);
        assert!(said.len() == 2 && said[1].contains("There is no image ngnix"), "{said:?}");
    }

    #[test]
    fn a_shown_hint_that_is_no_longer_so_is_marked() {
        let mut engine = engine();
        engine.progress = Progress::default();
        let mut lesson = engine.library.lessons[0].clone();
        let mut hint = lesson.steps[0].hints[0].clone();
        let when = "typed.exists(line, line == 'wrong') && !typed.exists(line, line == 'right')";
        (hint.id, hint.when) = ("was".into(), Some(Expr::compile(when, Use::Hint, &[]).unwrap()));
        lesson.steps[0].hints = vec![hint];
        engine.open = Some(Open::new(Arc::new(lesson), 0, Memory::default()));
        let is_past = |engine: &Engine| -> Vec<bool> {
            engine.view("en").hints.iter().map(|hint| hint.is_past).collect()
        };
        engine.typed("wrong".into());
        assert!(engine.hint());
        engine.settle();
        assert_eq!(is_past(&engine), [false]);
        engine.typed("right".into());
        engine.settle();
        assert_eq!(is_past(&engine), [true]);
    }

    /// All checks are met and have to hold for an hour: there is nothing to give a hint for.
    #[test]
    fn a_step_that_only_has_to_hold_gives_no_hint() {
        let mut engine = engine();
        engine.progress = Progress::default();
        let mut lesson = engine.library.lessons[0].clone();
        let step = &mut lesson.steps[0];
        step.checks.truncate(1);
        step.checks[0].is = Expr::compile("present('Pod', 'd', 'a')", Use::Check, &[]).unwrap();
        (step.hold, step.keep, step.answer) = (Duration::from_secs(3_600), None, None);
        let mut hint = step.hints[0].clone();
        (hint.id, hint.tier, hint.when) = ("where".into(), 1, None);
        let mut other = hint.clone();
        other.id = "give".into();
        step.hints = vec![hint, other];
        engine.open = Some(Open::new(Arc::new(lesson), 0, Memory::default()));
        engine.take_report(Report::list("pods", BTreeMap::new(), 7));
        engine.settle();
        assert!(engine.hint() && engine.view("en").state == State::Open);
        engine.settle();
        assert_eq!(engine.view("en").hints_left, 1, "the pod is missing");
        let key = ("d".to_string(), "a".to_string());
        engine.take_report(Report::list("pods", [(key, Object::new(json!({"kind": "Pod"})))].into(), 8));
        engine.settle();
        let view = engine.view("en");
        assert_eq!((view.state, view.hints_left, view.hints.len()), (State::Open, 0, 1));
        assert!(!engine.hint());
    }

    /// A text that cannot be said as long as there is no such Pod.
    fn unsayable() -> Template {
        Template::compile(r#"${object("Pod", "default", "none").spec.nodeName}"#, Use::Hint, &[]).unwrap()
    }

    #[test]
    fn a_hint_that_cannot_be_said_is_not_promised() {
        let mut engine = engine();
        engine.progress = Progress::default();
        engine.settle();
        let promised = |engine: &Engine| engine.open.as_ref().map(|open| open.hints_left);
        let before = promised(&engine);
        let mut lesson = engine.library.lessons[0].clone();
        let mut hint = lesson.steps[0].hints[0].clone();
        (hint.id, hint.when) = ("unsayable".into(), None);
        hint.say.put(EN, unsayable());
        lesson.languages = vec![EN.into()];
        lesson.steps[0].hints.push(hint);
        engine.open = Some(Open::new(Arc::new(lesson), 0, Memory::default()));
        engine.settle();
        assert_eq!(promised(&engine), before);
    }

    #[test]
    fn a_hint_whose_translation_fails_is_said_in_english() {
        let engine = engine();
        let mut lesson = engine.library.lessons[0].clone();
        lesson.languages = vec![EN.into(), "xx".into()];
        let facts = engine.facts();
        let hints = || lesson.steps.iter().flat_map(|step| &step.hints);
        let mut hint = hints().find(|hint| render(hint, &lesson, &facts).is_some()).unwrap().clone();
        hint.say.put("xx", unsayable());
        let said = render(&hint, &lesson, &facts).unwrap();
        assert!(said.contains_key(EN) && !said.contains_key("xx"));
        hint.say.put(EN, unsayable());
        assert!(render(&hint, &lesson, &facts).is_none());
    }
}
