//! Answers to the question of a step: taken, judged against the live cluster, and kept.
//!
//! An answer is judged by what the cluster is like when it is given. The learner hears that it is
//! right as soon as it is so; that it is wrong only when every watch has shown what the store had
//! at that moment, and no question to the network is out: until then the engine may not know
//! enough. Once right it stays right, and once wrong it is judged no more: else an answer would
//! become right because the cluster changes, and the learner need not have looked. Where `is` has
//! no value by then, what the question is about is not there yet: the learner hears that the answer
//! is early, and it is not kept.

use super::Engine;
use super::given_answer::Given;
use crate::format::{Form, Lesson, Odd, Step};
use crate::view::{Answer, Judged, State};
use crate::words::{self, Word};
use cel::Value;

/// Answers that are kept of a step, the newest.
const KEPT_MAX: usize = 20;
/// Earlier answers that a debrief names, the newest.
const TOLD_MAX: usize = 3;

impl Engine {
    /// Takes an answer to the question of the open step, to be judged.
    ///
    /// # Errors
    /// The step asks nothing, or not yet, or any more; or this is no answer. The text is for
    /// people.
    pub(crate) fn take_answer(&mut self, written: &str, lang: &str) -> Result<(), String> {
        let Some((open, step)) = self.current() else { return Err(words::say(lang, Word::NoLesson, &[])) };
        let (lesson, step) = (open.lesson.clone(), step.clone());
        let answer = step.answer.as_ref().ok_or_else(|| words::say(lang, Word::NoQuestion, &[]))?;
        if self.state() != State::Open {
            return Err(words::say(lang, Word::StepDone, &[]));
        }
        let solving = self.solving;
        let noted = self.progress.step(&lesson.id, &step.id);
        // `solve` guesses nothing.
        if let Some(predict) = step.predict.as_ref().filter(|_| noted.predicted.is_none() && !solving) {
            let all: Vec<&str> = predict.choices.iter().map(|(l, _)| l.as_str()).collect();
            return Err(words::say(lang, Word::AnswerFirst, &[&all.join(", ")]));
        }
        let (value, kept) = answer.read(written).map_err(|odd| match odd {
            Odd::NoLetter => words::say(lang, Word::NoSuchChoice, &[&answer.letters().join(", ")]),
            Odd::Empty => how_to_answer(answer, lang),
            Odd::NoNumber | Odd::NoOrder => {
                words::say(lang, Word::AnswerOdd, &[&form_to_answer(answer, lang)])
            }
        })?;
        if noted.is_right {
            return Ok(());
        }
        noted.answers.push(kept);
        noted.unjudged = true;
        let over = noted.answers.len().saturating_sub(KEPT_MAX);
        noted.answers.drain(..over);
        self.acted();
        if let Some(open) = &mut self.open {
            let count = open.given.count + 1;
            open.given = Given { value: Some(value), count, waits: true, ..Given::default() };
        }
        Ok(())
    }

    /// Notes the number of the question that waits for the verdict on the last answer.
    pub(crate) fn await_answer(&mut self, asked: u64) {
        if let Some(open) = &mut self.open {
            open.given.asked = asked;
        }
    }

    /// Ends the judgement of the answer that the question of this number waits for: the watches
    /// have shown what the store had when it was given (`is_told`), or have not in time. A later
    /// answer is judged by what the store has then.
    pub(crate) fn close_answer(&mut self, asked: u64, is_told: bool) {
        let facts = self.facts();
        let is_waiting = self.observer.answers.is_waiting();
        let Some((open, step)) = self.current() else { return };
        if !open.given.waits || open.given.asked != asked {
            return;
        }
        let lacks = |answer: &crate::format::Answer| is_waiting && answer.is.is_probe();
        let unknown = !is_told || step.answer.as_ref().is_none_or(lacks);
        let has_no_truth = |answer: &crate::format::Answer| answer.is.truth(&facts).is_none();
        let is_early = !unknown && step.answer.as_ref().is_some_and(has_no_truth);
        let kept = self.progress.noted_step(&open.lesson.id, &step.id).and_then(|noted| noted.answers.last());
        let more = step.answer.as_ref().zip(kept).filter(|_| !unknown && !is_early);
        let more = more.and_then(|(answer, kept)| answer.missing(kept, &facts));
        let (lesson, step) = (open.lesson.id.clone(), step.id.clone());
        let noted = self.progress.step(&lesson, &step);
        noted.unjudged = unknown;
        let early = if is_early { noted.answers.pop() } else { None };
        if let Some(open) = &mut self.open {
            (open.given.waits, open.given.unknown, open.given.more) = (false, unknown, more);
            open.given.early = early;
        }
    }

    /// The last answer as expressions see it, and how many were given in this sitting. After a
    /// restart it is read from the progress.
    pub(crate) fn last_answer(&self) -> (Option<Value>, u64) {
        let Some((open, step)) = self.current() else { return (None, 0) };
        let kept = || {
            let noted = self.progress.noted_step(&open.lesson.id, &step.id)?;
            Some(step.answer.as_ref()?.read(noted.answers.last()?).ok()?.0)
        };
        (open.given.value.clone().or_else(kept), open.given.count)
    }

    /// The question of the open step, as it stands.
    pub(crate) fn answer_view(&self, lang: &str) -> Option<Answer> {
        let (open, step) = self.current()?;
        let answer = step.answer.as_ref()?;
        let noted = self.progress.noted_step(&open.lesson.id, &step.id);
        let given = noted.and_then(|noted| noted.answers.last());
        let state = match &open.given {
            _ if noted.is_some_and(|noted| noted.is_right) => Judged::Right,
            given if given.waits => Judged::Waiting,
            given if given.unknown => Judged::Unknown,
            given if given.early.is_some() => Judged::Early,
            _ if given.is_some() => Judged::Wrong,
            _ => Judged::Missing,
        };
        let cards = answer.cards.iter().map(|(letter, text)| (letter.clone(), text.get(lang).to_string()));
        Some(Answer {
            question: answer.question.get(lang).into(),
            form: answer.form,
            cards: cards.collect(),
            given: open.given.early.as_ref().or(given).map(|kept| answer.shown(kept, lang)),
            state,
            more: open.given.more.filter(|_| state == Judged::Wrong),
        })
    }

    /// The question, if its answer is all that the open step still needs.
    pub(crate) fn unanswered(&self, lang: &str) -> Option<String> {
        let (open, step) = self.current()?;
        let answer = step.answer.as_ref()?;
        let is_right =
            self.progress.noted_step(&open.lesson.id, &step.id).is_some_and(|noted| noted.is_right);
        let is_last = self.state() == State::Open && open.late && open.outcome.unmet.is_none();
        (is_last && !is_right).then(|| answer.question.get(lang).to_string())
    }

    /// Why the open step is not done, if a question of it waits for an answer: what to type.
    pub(crate) fn answer_first(&self, lang: &str) -> Option<String> {
        let (open, step) = self.current()?;
        let answer = step.answer.as_ref()?;
        let is_right =
            self.progress.noted_step(&open.lesson.id, &step.id).is_some_and(|noted| noted.is_right);
        (!is_right).then(|| how_to_answer(answer, lang))
    }

    /// Puts what the learner has answered into a debrief, before the line to remember.
    pub(crate) fn tell_answers(&self, lesson: &Lesson, step: &Step, lang: &str, sentences: &mut Vec<String>) {
        let Some(noted) = self.progress.noted_step(&lesson.id, &step.id).filter(|noted| noted.is_right)
        else {
            return;
        };
        let (Some(answer), Some((last, before))) = (&step.answer, noted.answers.split_last()) else { return };
        let last = answer.shown(last, lang);
        let skipped = before.len().saturating_sub(TOLD_MAX);
        let before: Vec<String> = before[skipped..].iter().map(|kept| answer.shown(kept, lang)).collect();
        let sentence = match before.is_empty() {
            true => words::say(lang, Word::Answered, &[&last]),
            false => words::say(lang, Word::AnsweredAfter, &[&last, &before.join(" · ")]),
        };
        let at = sentences.len() - usize::from(!step.remember.get(lang).is_empty() && !sentences.is_empty());
        sentences.insert(at, sentence);
    }
}

/// Why nothing goes on before a question is answered: what to type.
fn how_to_answer(answer: &crate::format::Answer, lang: &str) -> String {
    words::say(lang, Word::AnswerNow, &[&form_to_answer(answer, lang)])
}

/// What to type to answer a question.
fn form_to_answer(answer: &crate::format::Answer, lang: &str) -> String {
    match answer.form {
        Form::Text => words::say(lang, Word::AnswerText, &[]),
        Form::Number => words::say(lang, Word::AnswerNumber, &[]),
        Form::Choices => words::say(lang, Word::AnswerChoices, &[]),
        Form::Order => words::say(lang, Word::AnswerOrder, &[&answer.letters().join(" ")]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::facts::Object;
    use crate::cel::value;
    use crate::engine::Open;
    use crate::engine::tests::engine;
    use crate::format::parse;
    use crate::judge::Memory;
    use crate::observe::watch::Report;
    use crate::progress::{self, Progress};
    use serde_json::json;
    use std::path::Path;
    use std::sync::Arc;

    const ADDRESS: &str = "      question: Which address?\n      form: text\n      is: 'object(\"Pod\",\"default\",\"web\").status.podIP'\n";
    const ADDRESS_KO: &str = "      question: 어떤 주소입니까?\n";

    /// An engine in a step that asks for the address of a pod; `more` are further keys of the step.
    fn engine_that_asks(more: &str, korean: &str) -> Engine {
        let step = |head: &str, answer: &str, rest: &str| {
            format!(
                "---\nid: t/01\ntitle: T\n{head}steps:\n  - id: ask\n    task: Look.\n    answer:\n{answer}{rest}---\n## Ask {{#ask}}\n"
            )
        };
        let rest = format!("    solution: [\"kubectl get pods\"]\n{more}");
        let english = step("track: t\norder: 1\n", ADDRESS, &rest);
        let korean = step("", ADDRESS_KO, korean);
        let lesson = parse(&english, Path::new("lesson.md"), &[("ko", &korean, Path::new("lesson.ko.md"))]);
        let mut engine = engine();
        Arc::make_mut(&mut engine.library).lessons = vec![lesson.unwrap()];
        engine.progress = Progress::default();
        engine.open = Some(Open::new(Arc::new(engine.library.lessons[0].clone()), 0, Memory::default()));
        engine.settle();
        engine
    }
    fn pod_with(engine: &mut Engine, address: &str) {
        let pod = json!({"kind": "Pod", "metadata": {"namespace": "default", "name": "web"}, "status": {"podIP": address}});
        let objects = [(("default".to_string(), "web".to_string()), Object::new(pod))].into();
        engine.take_report(Report::list("pods", objects, 7));
    }
    fn judged(engine: &Engine) -> Judged {
        engine.view("en").answer.unwrap().state
    }
    fn noted(engine: &Engine) -> progress::Step {
        engine.progress.noted_step("t/01", "ask").cloned().unwrap_or_default()
    }

    /// `goto` makes the object again and shows the step at once, before the watch has shown it.
    #[test]
    fn what_a_late_watch_does_not_show_is_not_gone() {
        let mut engine = engine_that_asks("", "");
        engine.progress.note_made("pods/default/web", 7, Some("t/01"));
        engine.take_report(Report::list("pods", [].into(), 9));
        assert!(engine.missing_objects("en").is_some_and(|said| said.contains("Pod web")));
        engine.observer.recorder.of_plural.insert("pods".to_string(), 12);
        assert_eq!(engine.missing_objects("en"), None);
        engine.take_report(Report::list("pods", [].into(), 12));
        assert!(engine.missing_objects("en").is_some());
    }

    #[test]
    fn a_right_answer_proves_the_step_and_a_wrong_one_says_so() {
        let mut engine = engine_that_asks("", "");
        pod_with(&mut engine, "10.244.1.7");
        engine.settle();
        assert_eq!(
            (judged(&engine), engine.state()),
            (Judged::Missing, State::Open),
            "looking alone is no proof"
        );
        engine.take_answer("10.244.1.8", "en").unwrap();
        engine.settle();
        assert_eq!(judged(&engine), Judged::Waiting, "the watches may not have told everything");
        engine.close_answer(0, true);
        let view = engine.view("en");
        assert_eq!(view.answer.as_ref().map(|a| a.state), Some(Judged::Wrong));
        assert!(!serde_json::to_string(&view).unwrap().contains("10.244.1.7"), "nothing is revealed");
        engine.take_answer(" 10.244.1.7 ", "en").unwrap();
        let (_, save) = engine.settle();
        assert!(save && judged(&engine) == Judged::Right && engine.state() == State::Done);
        assert_eq!(noted(&engine).answers, ["10.244.1.8", "10.244.1.7"]);
        let told = |lang: &str| engine.view(lang).debrief;
        assert_eq!(told("en"), ["Your answer: “10.244.1.7”. Before that: “10.244.1.8”"]);
        assert_eq!(told("ko"), ["내 답: “10.244.1.7”. 이전 답: “10.244.1.8”"]);
        assert!(engine.take_answer("x", "en").unwrap_err().contains("is done"));
    }

    #[test]
    fn an_answer_waits_for_the_watch_and_is_judged_once() {
        let mut engine = engine_that_asks("", "");
        engine.take_answer("10.244.1.7", "en").unwrap();
        engine.settle();
        assert_eq!(judged(&engine), Judged::Waiting, "no watch has told of the pod");
        pod_with(&mut engine, "10.244.1.8");
        engine.settle();
        engine.close_answer(0, true);
        assert_eq!(judged(&engine), Judged::Wrong);
        pod_with(&mut engine, "10.244.1.7");
        engine.settle();
        assert_eq!(judged(&engine), Judged::Wrong, "the pod has changed, and nobody has looked again");
        let mut engine = engine_that_asks("", "");
        engine.take_report(Report::list("pods", [].into(), 7));
        engine.take_answer("10.244.1.7", "en").unwrap();
        engine.settle();
        engine.close_answer(0, true);
        assert_eq!(judged(&engine), Judged::Early, "there is no such pod");
        // The API server is slow, and the time for a verdict is over.
        let mut engine = engine_that_asks("", "");
        pod_with(&mut engine, "10.244.1.8");
        engine.take_answer("10.244.1.7", "en").unwrap();
        engine.settle();
        engine.close_answer(0, false);
        assert_eq!(judged(&engine), Judged::Unknown, "the pod may have another address by now");
    }

    /// The number is right later, and a learner who gave it early has not erred.
    #[test]
    fn an_answer_before_its_object_is_there_is_early_and_counts_for_nothing() {
        let mut engine = engine_that_asks("", "");
        engine.take_report(Report::list("pods", [].into(), 7));
        engine.take_answer("10.244.1.7", "en").unwrap();
        engine.settle();
        engine.close_answer(0, true);
        let answer = engine.view("en").answer.unwrap();
        assert_eq!((answer.state, answer.given), (Judged::Early, Some("“10.244.1.7”".into())));
        assert_eq!((noted(&engine).answers, noted(&engine).unjudged), (vec![], false), "it is not kept");
        assert_eq!(engine.last_answer().0, Some(value::text("10.244.1.7")), "hints read it");
        pod_with(&mut engine, "10.244.1.7");
        engine.settle();
        assert_eq!(judged(&engine), Judged::Early, "the learner says it again");
        engine.take_answer("10.244.1.7", "en").unwrap();
        engine.settle();
        assert_eq!(engine.view("en").debrief, ["Your answer: “10.244.1.7”"]);
    }

    #[test]
    fn a_right_answer_stays_right_while_the_checks_are_not_met() {
        let mut engine = engine_that_asks("    check: 'ready(object(\"Pod\",\"default\",\"web\"))'\n", "");
        pod_with(&mut engine, "10.244.1.7");
        engine.take_answer("10.244.1.7", "en").unwrap();
        engine.settle();
        assert_eq!((judged(&engine), engine.state()), (Judged::Right, State::Open));
        pod_with(&mut engine, "10.244.1.9");
        engine.settle();
        assert_eq!(judged(&engine), Judged::Right);
        assert_eq!(engine.answer_first("en"), None);
    }

    #[test]
    fn a_part_of_the_right_choices_is_told_as_such() {
        let choices = "      question: Which two?\n      form: choices\n      choices: {a: A, b: B, c: C}\n      is: [a, c]\n      count: 2\n";
        let text = format!(
            "---\nid: t/01\ntitle: T\ntrack: t\norder: 1\nsteps:\n  - id: ask\n    task: Look.\n    answer:\n{choices}    solution: [x]\n---\n## Ask {{#ask}}\n"
        );
        let mut engine = engine();
        engine.progress = Progress::default();
        let lesson = parse(&text, Path::new("lesson.md"), &[]).unwrap();
        engine.open = Some(Open::new(Arc::new(lesson), 0, Memory::default()));
        let mut more = |written: &str| {
            engine.take_answer(written, "en").unwrap();
            engine.settle();
            engine.close_answer(0, true);
            let answer = engine.view("en").answer.unwrap();
            (answer.state, answer.more)
        };
        assert_eq!(more("c"), (Judged::Wrong, Some(1)));
        assert_eq!(more("b c"), (Judged::Wrong, None), "one of them is wrong");
        assert_eq!(more("a"), (Judged::Wrong, Some(1)));
        assert_eq!(more("a c"), (Judged::Right, None));
    }

    #[test]
    fn an_answer_of_another_form_is_told_as_such() {
        let mut engine = engine_that_asks("", "");
        let lesson = &mut engine.open.as_mut().unwrap().lesson;
        Arc::make_mut(lesson).steps[0].answer.as_mut().unwrap().form = Form::Number;
        let said = |engine: &mut Engine, lang: &str| engine.take_answer(" 5GB ", lang).unwrap_err();
        let told = said(&mut engine, "en");
        assert!(told.starts_with("that does not fit") && told.contains("`answer NUMBER`"), "{told}");
        assert!(said(&mut engine, "ko").contains("단위 없이"));
        assert_eq!(judged(&engine), Judged::Missing, "it was no answer");
    }

    #[test]
    fn what_is_no_answer_or_not_asked_for_is_refused() {
        let predict = "    predict: {question: Q, choices: {a: A, b: B}, answer: a}\n";
        let mut engine = engine_that_asks("", "");
        assert!(engine.take_answer("  ", "en").unwrap_err().contains("`answer TEXT`"));
        assert!(engine.answer_first("ko").unwrap().contains("`answer 답`"));
        engine.open.as_mut().unwrap().late = true;
        assert_eq!(
            engine.view("ko").not_yet.as_deref(),
            Some("어떤 주소입니까?"),
            "`check` says what is missing"
        );
        Arc::make_mut(&mut engine.open.as_mut().unwrap().lesson).steps[0].answer = None;
        assert!(engine.take_answer("x", "en").unwrap_err().contains("asks no question"));
        let text = format!(
            "---\nid: t/01\ntitle: T\ntrack: t\norder: 1\nsteps:\n  - id: ask\n    task: Look.\n{predict}    answer:\n{ADDRESS}    solution: [x]\n---\n## Ask {{#ask}}\n"
        );
        let lesson = parse(&text, Path::new("lesson.md"), &[]).unwrap();
        engine.open = Some(Open::new(Arc::new(lesson), 0, Memory::default()));
        assert_eq!(engine.view("en").answer, None, "the prediction comes first");
        assert!(engine.take_answer("x", "en").unwrap_err().contains("first answer the question"));
        engine.solving = true;
        engine.take_answer("x", "en").unwrap();
    }

    #[test]
    fn an_answer_outlives_the_program_and_hints_read_it() {
        let mut engine = engine_that_asks(
            "    hints: [{id: port, tier: 2, when: 'answer.contains(\":\")', say: 'Not ${answer}.'}]\n",
            "    hints: {port: '답이 아닙니다: ${answer}'}\n",
        );
        pod_with(&mut engine, "10.244.1.7");
        assert!(!engine.hint(), "nothing was answered");
        engine.take_answer("10.244.1.7:80", "en").unwrap();
        engine.settle();
        engine.close_answer(0, true);
        let lesson = engine.open.take().unwrap().lesson;
        engine.open = Some(Open::new(lesson, 0, Memory::default()));
        assert_eq!(judged(&engine), Judged::Wrong);
        assert!(engine.hint());
        assert_eq!(engine.view("en").hints[0].say, "Not 10.244.1.7:80.");
        assert_eq!(engine.view("ko").hints[0].say, "답이 아닙니다: 10.244.1.7:80");
        let kept = serde_json::to_string(&engine.progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&kept).unwrap(), engine.progress);
    }

    /// The program is killed after an answer was kept and before it was judged.
    #[test]
    fn an_answer_without_a_verdict_was_not_given_when_the_step_is_taken_up_again() {
        let mut engine = engine_that_asks("", "");
        let taken_up = |engine: &mut Engine| {
            let lesson = engine.open.take().unwrap().lesson;
            engine.take_up("t/01", "ask", &[]);
            engine.open = Some(Open::new(lesson, 0, Memory::default()));
            (judged(engine), noted(engine).answers)
        };
        engine.take_answer("10.244.1.8", "en").unwrap();
        assert_eq!(taken_up(&mut engine), (Judged::Missing, vec![]));
        engine.take_report(Report::list("pods", [].into(), 7));
        engine.take_answer("10.244.1.8", "en").unwrap();
        engine.close_answer(0, false);
        assert_eq!(judged(&engine), Judged::Unknown);
        assert_eq!(taken_up(&mut engine), (Judged::Missing, vec![]), "nobody could tell");
        pod_with(&mut engine, "10.244.1.7");
        engine.take_answer("10.244.1.8", "en").unwrap();
        engine.settle();
        engine.close_answer(0, true);
        assert_eq!(taken_up(&mut engine), (Judged::Wrong, vec!["10.244.1.8".into()]));
        engine.take_answer("10.244.1.7", "en").unwrap();
        engine.settle();
        let (state, answers) = taken_up(&mut engine);
        assert_eq!((state, answers.len()), (Judged::Right, 2));
    }

    #[test]
    fn a_step_that_cannot_succeed_says_so_and_how_to_go_on() {
        let lost = |repair: &str| {
            let keys = format!(
                "    lost: {{when: '!present(\"Pod\",\"default\",\"web\")', say: The pod is gone.{repair}}}\n"
            );
            let step = format!(
                "---\nid: t/01\ntitle: T\ntrack: t\norder: 1\nsteps:\n  - id: ask\n    task: Look.\n    answer:\n{ADDRESS}{keys}    solution: [x]\n---\n## Ask {{#ask}}\n"
            );
            let mut engine = engine();
            engine.progress = Progress::default();
            let lesson = parse(&step, Path::new("lesson.md"), &[]).unwrap();
            engine.open = Some(Open::new(Arc::new(lesson), 0, Memory::default()));
            engine.settle();
            assert_eq!(engine.view("en").lost, None, "no watch has told of the pods");
            engine.take_report(Report::list("pods", [].into(), 7));
            engine.settle();
            let told = engine.view("en").lost;
            pod_with(&mut engine, "10.244.1.7");
            engine.settle();
            assert_eq!(engine.view("en").lost, None, "it is back");
            told
        };
        let told = "This step can no longer succeed. The pod is gone. ";
        assert_eq!(lost(""), Some(format!("{told}`goto ask` repairs it.")));
        assert_eq!(lost(", repair: undo"), Some(format!("{told}`undo` repairs it.")));
    }

    /// Two answers from two sessions, the second after an act that no watch has shown yet: what the
    /// first waited for is no verdict on the second.
    #[test]
    fn an_answer_is_closed_by_its_own_question_alone() {
        let mut engine = engine_that_asks("", "");
        pod_with(&mut engine, "10.244.1.7");
        engine.take_answer("10.244.1.9", "en").unwrap();
        engine.await_answer(1);
        engine.take_answer("10.244.1.8", "en").unwrap();
        engine.await_answer(2);
        engine.close_answer(1, true);
        assert_eq!(judged(&engine), Judged::Waiting);
        pod_with(&mut engine, "10.244.1.8");
        engine.settle();
        assert_eq!(judged(&engine), Judged::Right);
    }
}
