//! From the engine's state to what is shown. No decision is made here.

use super::cel::facts::UNKNOWN;
use super::engine::{Engine, Open};
use super::format::{File, Lesson, Repair, Step};
use super::view::{Check, Entry, LessonView, PackNote, Predict, Proof, State, Verdict};
use super::words::{self, With, Word};
use super::{cel, debrief, needs};

/// Characters of an expression that a notice shows.
const SOURCE_MAX: usize = 160;

/// The other ways of a step that a learner should know.
fn shown(step: &Step) -> Vec<Vec<String>> {
    step.also.iter().filter(|way| way.show).map(|way| way.lines.clone()).collect()
}

/// The files of a lesson, as Markdown behind the text of its first step.
fn files_shown(lesson: &Lesson, lang: &str) -> String {
    let shown = |file: &File| {
        let kind = file.name.rsplit_once('.').map_or("text", |(_, ending)| ending);
        let head = words::say(lang, Word::FileIs, &[&file.name]);
        format!("\n\n{head}\n\n```{kind}\n{}\n```", file.text.trim_end())
    };
    lesson.files.iter().map(shown).collect()
}

/// A value of a notice, in a language.
fn told_with(with: &With, lesson: &Lesson, lang: &str) -> String {
    match with {
        With::Text(text) => text.clone(),
        With::Steps(steps) => {
            let called = steps.iter().filter_map(|at| lesson.steps.get(*at)).map(|step| step.called(lang));
            called.collect::<Vec<_>>().join(", ")
        }
    }
}

/// The text of a step. The first one has the lesson's introduction above it and its files below.
fn prose_shown(open: &Open, step: &Step, lang: &str) -> String {
    let prose = match (open.step, open.lesson.intro.get(lang)) {
        (0, intro) if !intro.is_empty() => format!("{intro}\n\n{}", step.prose.get(lang)),
        _ => step.prose.get(lang).to_string(),
    };
    if open.step == 0 { prose + &files_shown(&open.lesson, lang) } else { prose }
}

/// The checks of a step, each with its state. A check without words of its own has those of the
/// task.
fn checks_shown(open: &Open, step: &Step, over: bool, lang: &str) -> Vec<Check> {
    let checks = step.checks.iter().enumerate().map(|(at, check)| Check {
        that: match check.that.get(lang) {
            "" => step.task.get(lang).to_string(),
            that => that.to_string(),
        },
        state: if over { Verdict::Met } else { open.outcome.verdicts.get(at).copied().unwrap_or_default() },
    });
    checks.collect()
}

/// The question that a step asks first, with the learner's choice. The answer is shown only when
/// the step is over.
fn prediction_shown(step: &Step, chosen: Option<&String>, over: bool, lang: &str) -> Option<Predict> {
    step.predict.as_ref().map(|p| Predict {
        question: p.question.get(lang).into(),
        choices: p.choices.iter().map(|(k, t)| (k.clone(), t.get(lang).to_string())).collect(),
        chosen: chosen.cloned(),
        answer: over.then(|| p.answer.clone()),
    })
}

impl Engine {
    /// The open lesson as a learner sees it; without one, only what is said of the cluster.
    pub(crate) fn view(&self, lang: &str) -> LessonView {
        let Some((open, step)) = self.current() else {
            return LessonView {
                notices: self.general(lang),
                clock: self.offers.own.then(clock::scale),
                playing: self.playing,
                preparing: self.preparing.clone(),
                ..LessonView::default()
            };
        };
        let lesson = &open.lesson;
        let noted = self.progress.noted_step(&lesson.id, &step.id).cloned().unwrap_or_default();
        let state = self.state();
        let over = matches!(state, State::Done | State::Solved);
        let waits = state == State::Open && step.predict.is_some() && noted.predicted.is_none();
        let checks = checks_shown(open, step, over, lang);
        let unmet = open.outcome.unmet.filter(|_| !over);
        let not_yet = unmet.filter(|_| open.late).and_then(|at| checks.get(at)).map(|c| c.that.clone());
        let debrief = noted.debrief.get(lang).or_else(|| noted.debrief.get("en")).filter(|_| over);
        let done = self.done_steps(lesson);
        let finished = self.is_finished(open, step, &done);
        let next = finished.then(|| self.library.after(&lesson.id)).flatten();
        LessonView {
            id: lesson.id.clone(),
            title: lesson.title.get(lang).into(),
            track: lesson.track.clone(),
            step: open.step,
            steps: lesson.steps.len(),
            step_id: step.id.clone(),
            prose: prose_shown(open, step, lang),
            files: lesson.files.clone(),
            after: if waits { String::new() } else { step.after.get(lang).into() },
            closing: if finished { lesson.closing.get(lang).into() } else { String::new() },
            task: if waits { String::new() } else { step.task.get(lang).into() },
            predict: prediction_shown(step, noted.predicted.as_ref(), over, lang),
            answer: if waits { None } else { self.answer_view(lang) },
            checks,
            state,
            hints: open.hints.iter().filter_map(|h| h.get(lang).or_else(|| h.get("en")).cloned()).collect(),
            hints_left: if over { 0 } else { open.hints_left },
            is_stuck: open.is_stuck && !over,
            unmet,
            unasked: if over { 0 } else { open.outcome.unasked },
            not_yet: not_yet.or_else(|| self.unanswered(lang)),
            lost: self.loss_shown(lang),
            also: if over { shown(step) } else { vec![] },
            debrief: debrief.cloned().unwrap_or_default(),
            shell: self.broken_shell(),
            diagram: step.view.clone().unwrap_or_else(|| lesson.view.clone()),
            notices: self.notices(lang),
            clock: self.offers.own.then(clock::scale),
            playing: self.playing,
            preparing: self.preparing.clone(),
            set_up: self.set_up_at(lesson, open.step),
            finished,
            // Labs and drills need a cluster of our own.
            then: lesson.then.clone().filter(|_| finished && self.offers.own),
            done,
            next: next.map(|l| (l.id.clone(), l.title.get(lang).to_string())),
        }
    }

    /// Store revision at which the setups of a lesson and of its steps up to `open` are complete;
    /// `None`: it has none, or none was played.
    ///
    /// Example: a lesson was set up until revision 80, and its third step, which has a setup of its
    /// own, began at 95. At the second step this is 80, at the third 95.
    fn set_up_at(&self, lesson: &Lesson, open: usize) -> Option<i64> {
        let noted = self.progress.lessons.get(&lesson.id)?;
        let of_lesson = (!lesson.setup.is_empty() && noted.set_up).then_some(noted.began);
        let with_setup = lesson.steps.iter().take(open + 1).filter(|step| !step.setup.is_empty());
        let of_steps = with_setup.map(|step| self.since_of(&lesson.id, &step.id));
        of_lesson.into_iter().chain(of_steps).filter(|at| *at > 0).max()
    }

    /// For each step of a lesson: is it done, or beyond this cluster?
    fn done_steps(&self, lesson: &Lesson) -> Vec<bool> {
        let is_done = |step: &Step| {
            self.lacks(lesson, step).is_some()
                || self.progress.noted_step(&lesson.id, &step.id).is_some_and(|p| p.done)
        };
        lesson.steps.iter().map(is_done).collect()
    }

    /// Returns whether the lesson is over with this step. `done` says of each step whether it is
    /// done, or beyond this cluster.
    fn is_finished(&self, open: &Open, step: &Step, done: &[bool]) -> bool {
        let lesson = &open.lesson;
        // What cannot be done is still to be seen before the lesson is over.
        let ahead = lesson.steps.get(open.step + 1..).unwrap_or_default();
        let unseen = ahead.iter().any(|s| self.lacks(lesson, s).is_some());
        // A step that is played again is not over, whatever it was before.
        !unseen
            && (self.state() != State::Open || step.optional)
            && lesson.steps.iter().zip(done).all(|(s, done)| *done || s.optional)
    }

    /// Why the open step cannot go on: what it has to keep is lost, it can no longer succeed, or an
    /// object that it builds on is gone.
    fn loss_shown(&self, lang: &str) -> Option<String> {
        let (open, step) = self.current()?;
        let kept = step.keep.as_ref().filter(|_| open.lost).map(|k| k.say.get(lang).to_string());
        kept.or_else(|| self.no_way_out(lang)).or_else(|| self.missing_objects(lang))
    }

    /// Why the open step can no longer succeed, and what repairs it.
    fn no_way_out(&self, lang: &str) -> Option<String> {
        let (open, step) = self.current()?;
        let lost = step.lost.as_ref().filter(|_| open.is_hopeless && self.state() == State::Open)?;
        let repair = match &lost.repair {
            Repair::Goto(to) => format!("goto {to}"),
            // Nothing is taken back on a cluster that is not Ropewalk's own.
            Repair::Undo if self.offers.own => "undo".into(),
            Repair::Undo => format!("goto {}", step.id),
        };
        Some(words::say(lang, Word::Hopeless, &[lost.say.get(lang), &repair]))
    }

    /// Which lesson is being prepared, and how far its setup is.
    fn preparation(&self, lang: &str) -> Option<String> {
        let lesson = self.preparing.as_ref().and_then(|id| self.library.get(id));
        let called = lesson.map(|lesson| format!("{} ({})", lesson.id, lesson.title.get(lang)));
        let at = self.playing.map(|(at, of)| (at.to_string(), of.to_string()));
        match (called, at) {
            (Some(called), Some((at, of))) => {
                Some(words::say(lang, Word::PlayingLesson, &[&called, &at, &of]))
            }
            (Some(called), None) => Some(words::say(lang, Word::Preparing, &[&called])),
            (None, Some((at, of))) => Some(words::say(lang, Word::Playing, &[&at, &of])),
            (None, None) => None,
        }
    }

    fn general(&self, lang: &str) -> Vec<String> {
        let mut notices: Vec<String> = self.preparation(lang).into_iter().collect();
        let at = self.open.as_ref().map(|open| (&open.lesson.id, open.step));
        let told_at = self.told_faults.as_ref().map(|(lesson, step)| (lesson, *step));
        if self.has_packs
            && (at.is_none() || at == told_at)
            && let Some(fault) = self.library.faults.first()
        {
            notices.push(words::say(lang, Word::Broken, &[&fault.to_string()]));
        }
        if let Some((lesson, why)) = self.unresumed.as_ref().filter(|_| self.open.is_none()) {
            notices.push(words::say(lang, Word::NotResumed, &[lesson, &words::refused(lang, why), lesson]));
        }
        if let Some(problem) = self.problem.as_ref().or(self.unkept.as_ref().map(|(_, why)| why)) {
            notices.push(words::say(lang, Word::Progress, &[problem]));
        }
        notices
    }

    fn notices(&self, lang: &str) -> Vec<String> {
        let mut notices = self.general(lang);
        let Some((open, step)) = self.current() else { return notices };
        // Before the first step is done: later the learner has decided.
        if open.step == 0 && self.state() == State::Open {
            for first in self.first(&open.lesson) {
                let with = [first.id.as_str(), first.title.get(lang), &first.id];
                notices.push(words::say(lang, Word::First, &with));
            }
        }
        if !self.tells_clock() {
            // The notice stood above an earlier step of the lesson.
        } else if let Some(scale) = self.scale() {
            let seconds = 300_u32.div_ceil(scale).to_string();
            notices.push(words::say(lang, Word::Clock, &[&scale.to_string(), &seconds]));
        } else if open.lesson.clock != 1 && !self.offers.own {
            notices.push(words::say(lang, Word::NoClock, &[&open.lesson.clock.to_string()]));
        }
        if let Some(need) = self.lacks(&open.lesson, step) {
            notices.push(words::say(lang, Word::Lacks, &[&need.say(lang)]));
        } else if let Some(need) = self.unproved(step) {
            notices.push(words::say(lang, Word::Unproved, &[&need.say(lang)]));
        }
        let unknown = |check: &super::format::Check| {
            check.is.reads_beginning() && check.is.kinds.iter().any(|kind| self.has_lost_before(kind))
        };
        let is_unmet = |at: usize| open.outcome.verdicts.get(at) != Some(&Verdict::Met);
        let mut checks = step.checks.iter().enumerate();
        if self.state() == State::Open
            && checks.any(|(at, check)| unknown(check) || (is_unmet(at) && self.has_lost_history(check)))
        {
            notices.push(words::say(lang, Word::BeginningGone, &[&(open.step + 1).to_string()]));
        }
        for (source, why) in self.memo.stopped() {
            let source: String = source.chars().take(SOURCE_MAX).collect();
            notices.push(words::say(lang, Word::TooDear, &[&step.called(lang), &why, &source]));
        }
        if !self.held.is_empty() {
            let names = self.held.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let starts: Vec<String> = self.held.iter().map(|name| format!("`fault start {name}`")).collect();
            notices.push(words::say(lang, Word::StillHeld, &[&names, &starts.join(", ")]));
        }
        for (word, with) in &open.notices {
            let with: Vec<String> = with.iter().map(|with| told_with(with, &open.lesson, lang)).collect();
            let with: Vec<&str> = with.iter().map(String::as_str).collect();
            notices.push(words::say(lang, *word, &with));
        }
        notices
    }

    /// Returns whether a check asks for versions of the step that are no longer kept.
    fn has_lost_history(&self, check: &super::format::Check) -> bool {
        !self.observer.recorder.forgotten.is_empty()
            && check.is.calls("history")
            && check.is.value(&self.facts(), &[]).is_err_and(|why| why.contains(UNKNOWN))
    }

    fn has_lost_before(&self, kind: &str) -> bool {
        super::engine::qualified(kind).is_some_and(|name| self.lost_before.contains(&name))
    }

    /// Returns the id of the first lesson with a step that is left to do: neither done, nor
    /// optional, nor beyond this cluster.
    pub(crate) fn unfinished(&self) -> Option<String> {
        self.library.lessons.iter().find(|l| self.is_unfinished(l)).map(|lesson| lesson.id.clone())
    }

    fn is_unfinished(&self, lesson: &Lesson) -> bool {
        let is_done = |step: &Step| self.progress.noted_step(&lesson.id, &step.id).is_some_and(|p| p.done);
        let mut needed = lesson.steps.iter().filter(|s| !s.optional);
        needed.any(|s| !is_done(s) && self.lacks(lesson, s).is_none())
    }

    /// The lessons that this one builds on, and that have a step left to do. Of a lesson that is
    /// not among those that are read nothing is known.
    fn first<'a>(&'a self, lesson: &'a Lesson) -> impl Iterator<Item = &'a Lesson> {
        let needed = lesson.needs.iter().filter_map(move |id| self.library.get(id));
        needed.filter(move |needed| self.is_unfinished(needed))
    }

    /// All lessons, with how far the learner is in each.
    pub(crate) fn list(&self, lang: &str) -> Vec<Entry> {
        let done = |lesson: &str, step: &str| self.progress.noted_step(lesson, step).is_some_and(|p| p.done);
        let entry = |lesson: &super::format::Lesson| Entry {
            id: lesson.id.clone(),
            title: lesson.title.get(lang).into(),
            track: lesson.track.clone(),
            languages: lesson.languages.clone(),
            minutes: lesson.minutes,
            done: lesson.steps.iter().filter(|s| done(&lesson.id, &s.id)).count(),
            steps: lesson.steps.len(),
            first: self.first(lesson).map(|needed| needed.id.clone()).collect(),
            cannot: lesson
                .steps
                .iter()
                .filter_map(|s| Some((s.called(lang), self.lacks(lesson, s)?.say(lang))))
                .collect(),
            pack: self.library.pack_of(&lesson.id).map(|pack| PackNote::of(pack, &lesson.track, lang)),
        };
        self.library.lessons.iter().map(entry).collect()
    }

    /// What `lesson test` wants to know of the open step. What is missing for it is asked for, and
    /// known when it asks again.
    pub(crate) fn proof(&mut self) -> Proof {
        let facts = self.facts();
        let Some((_, step)) = self.current() else { return Proof::default() };
        let because = step.predict.as_ref().and_then(|p| p.because.as_ref());
        let given =
            [("said", cel::value::text("")), ("answer", cel::value::text("")), ("right", true.into())];
        let one = |name: &str| {
            let beat = self.library.beats.get(name);
            name == debrief::PREDICTED
                || beat.is_some_and(|b| debrief::one(b, &facts, &given, "en").is_some())
        };
        let told = |entry: &String| debrief::alternatives(entry).any(one);
        // A beat whose hops are not seen here is left out of a debrief, as it should be.
        let tellable = |entry: &String| {
            self.offers.own
                || debrief::alternatives(entry).any(|name| {
                    let beat = self.library.beats.get(name);
                    beat.is_none_or(|b| b.exprs().all(|e| needs::of_expr(e).is_empty()))
                })
        };
        let proof = Proof {
            because: because.filter(|_| self.unproved(step).is_none()).map(|b| b.holds(&facts)),
            is_lost: step.lost.as_ref().map(|lost| lost.when.holds(&facts)),
            hints: step
                .hints
                .iter()
                .filter(|h| h.when.as_ref().is_some_and(|w| w.holds(&facts)))
                .map(|h| h.id.clone())
                .collect(),
            beats: step
                .debrief
                .iter()
                .filter(|n| tellable(n))
                .map(|name| (name.clone(), told(name)))
                .collect(),
        };
        self.unproven = facts.take_wanted();
        proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Fault, Library};
    use std::sync::Arc;

    #[test]
    fn a_lesson_says_at_its_start_and_in_the_list_what_comes_before_it() {
        let mut engine = crate::engine::tests::engine();
        let library = Arc::make_mut(&mut engine.library);
        library.faults.clear(); // its notice would be the first one
        let mut before = library.lessons[0].clone();
        (before.id, before.needs) = ("first-voyage/03".into(), vec![]);
        let steps: Vec<String> = before.steps.iter().map(|step| step.id.clone()).collect();
        library.lessons.insert(0, before);
        let first = |engine: &Engine| engine.list("en").into_iter().map(|e| e.first).collect::<Vec<_>>();
        assert_eq!(first(&engine), [vec![], vec!["first-voyage/03".to_string()]]);
        for (lang, words) in [("en", "builds on lesson first-voyage/03"), ("ko", "first-voyage/03 강의(")] {
            let notices = engine.view(lang).notices;
            assert!(
                notices[0].contains(words) && notices[0].contains("`lesson first-voyage/03`"),
                "{notices:?}"
            );
        }
        engine.open.as_mut().unwrap().step = 1;
        assert_eq!(engine.view("en").notices, Vec::<String>::new(), "at the start alone");
        engine.open.as_mut().unwrap().step = 0;
        for step in steps {
            engine.progress.step("first-voyage/03", &step).done = true;
        }
        assert_eq!(engine.view("en").notices, Vec::<String>::new());
        assert_eq!(first(&engine), [Vec::<String>::new(), vec![]]);
    }

    /// Above every step they would push its text off a small screen.
    #[test]
    fn lessons_that_could_not_be_read_are_told_above_one_step() {
        let mut engine = crate::engine::tests::engine();
        let library = Arc::make_mut(&mut engine.library);
        let (file, what) = ("t/01/lesson.md".into(), "odd".to_string());
        library.faults = vec![Fault { file, line: 2, what }];
        let is_it = |notice: &String| notice.contains("could not be read");
        let told = |engine: &Engine| engine.view("en").notices.iter().any(is_it);
        engine.tell_faults();
        assert!(told(&engine));
        engine.open.as_mut().unwrap().step = 1;
        engine.tell_faults();
        assert!(!told(&engine));
        engine.open = None;
        assert!(told(&engine), "and where no lesson is open");
    }

    /// What an undo is compared with: it stops at the newest setup that the open step builds on.
    #[test]
    fn a_view_says_when_the_setups_of_the_lesson_and_its_steps_were_complete() {
        let mut engine = crate::engine::tests::engine();
        assert!(engine.open.as_ref().unwrap().lesson.setup.is_empty());
        let (lesson, ids) = {
            let lesson = &engine.open.as_ref().unwrap().lesson;
            (lesson.id.clone(), [lesson.steps[0].id.clone(), lesson.steps[1].id.clone()])
        };
        let noted = engine.progress.lesson(&lesson);
        (noted.began, noted.set_up) = (80, true);
        for (id, since) in ids.iter().zip([80, 95]) {
            engine.progress.step(&lesson, id).since = since;
        }
        let at = |engine: &Engine| engine.view("en").set_up;
        assert_eq!(at(&engine), None, "nothing was set up");
        let line = || vec!["kubectl run boat --image=nginx".to_string()];
        Arc::make_mut(&mut engine.open.as_mut().unwrap().lesson).setup = line();
        assert_eq!(at(&engine), Some(80));
        Arc::make_mut(&mut engine.open.as_mut().unwrap().lesson).steps[1].setup = line();
        assert_eq!(at(&engine), Some(80), "the step with a setup of its own is not open");
        engine.open.as_mut().unwrap().step = 1;
        assert_eq!(at(&engine), Some(95));
    }

    #[test]
    fn the_files_of_a_lesson_are_shown_at_its_first_step_and_told_to_the_session() {
        let mut engine = crate::engine::tests::engine();
        let web = File { name: "web.yaml".into(), text: "kind: Pod\n".into() };
        let open = engine.open.as_mut().unwrap();
        Arc::make_mut(&mut open.lesson).files = vec![web.clone()];
        let view = engine.view("en");
        assert!(
            view.prose.ends_with("`web.yaml` of this lesson:\n\n```yaml\nkind: Pod\n```"),
            "{}",
            view.prose
        );
        assert_eq!(view.files, [web]);
        assert!(engine.view("ko").prose.contains("이 강의의 `web.yaml` 파일:"));
        engine.open.as_mut().unwrap().step = 1;
        let view = engine.view("en");
        assert!(!view.prose.contains("web.yaml") && view.files.len() == 1, "{}", view.prose);
    }

    /// Most other ways are there to prove the check: a learner has no use for them.
    #[test]
    fn a_learner_is_shown_the_ways_that_are_worth_knowing_and_no_test_cases() {
        let library = Library::built_in();
        let ways: Vec<_> = library.lessons.iter().flat_map(|l| &l.steps).map(|s| (shown(s), s)).collect();
        for lesson in &library.lessons {
            assert!(lesson.steps.iter().any(|step| !shown(step).is_empty()), "{} shows none", lesson.id);
        }
        let count: usize = ways.iter().map(|(shown, _)| shown.len()).sum();
        let all: usize = ways.iter().map(|(_, step)| step.also.len()).sum();
        let few = library.lessons.len()..=2 * library.lessons.len();
        assert!(few.contains(&count) && count * 2 < all, "{count} of {all}");
        let told = |line: &str| ways.iter().any(|(shown, _)| shown.iter().flatten().any(|l| l == line));
        assert!(told("kubectl get ns"));
        assert!(!told("."), "the end of a paste is no command");
        assert!(!told("kubectl get pods -o $HOW") && !told("A=appl"), "test cases");
    }
}
