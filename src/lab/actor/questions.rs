//! What people ask of the engine, and its answers.

use super::consent::AskWithConsent;
use super::pace::Pace;
use super::verdict::Awaited;
use super::{Actor, Asked, step_names};
use crate::format::EN;
use crate::lines::{self, in_scope};
use crate::view::{Ask, Question, Solution, State};
use crate::words::{self, Word};
use clock::Instant;
use cluster::control::Reply;
use cluster::guest::LessonScope;
use serde_json::json;
use tokio::sync::oneshot;

impl Actor {
    /// Answers a question, or notes what was typed.
    pub(super) async fn attend(&mut self, (question, reply): Asked, pace: &mut Pace) {
        match question {
            Question { ask: Ask::Typed { line }, .. } => {
                self.engine.typed(line);
                let _ = reply.send(Reply::Ok(json!(self.engine.broken_shell()))); // the prompt does not always wait
                pace.changed(Instant::now());
            }
            Question { ask: Ask::Ran { line, code, shell, running, running_before }, .. } => {
                self.engine.note_shell(shell);
                self.engine.ran(line, code, running_before, running);
                let _ = reply.send(Reply::Ok(serde_json::Value::Null));
                pace.changed(Instant::now());
            }
            question => {
                self.asked_by.clone_from(&question.id);
                self.question(question, reply).await;
                self.asked_by.clear();
                pace.hurry(Instant::now());
            }
        }
    }

    async fn question(&mut self, question: Question, reply: oneshot::Sender<Reply>) {
        self.read_tap();
        let lang = question.lang;
        if let Ask::Check { id } = question.ask {
            if let Err(text) = self.open_for_check(id.as_deref(), &lang).await {
                let _ = reply.send(Reply::Error(text));
                return;
            }
            return self.await_verdict(lang, reply, Awaited::Step);
        }
        if let Ask::Answer { text } = question.ask {
            match self.engine.take_answer(&text, &lang) {
                Ok(()) => {
                    self.save();
                    self.await_verdict(lang, reply, Awaited::Answer);
                }
                Err(text) => _ = reply.send(Reply::Error(text)), // the asker may be gone
            }
            return;
        }
        let (ask, plan) = match self.agreed(AskWithConsent::new(question.ask), &lang).await {
            Ok(agreed) => agreed,
            Err(told) => {
                let _ = reply.send(Reply::Error(told));
                return;
            }
        };
        let is_jump = matches!(ask, Ask::Goto { .. });
        let answer = match self.answer(ask, &plan, &lang).await {
            Ok(Some(value)) => Reply::Ok(value),
            Ok(None) if is_jump => return self.await_verdict(lang, reply, Awaited::Watches),
            Ok(None) => {
                self.settle();
                Reply::Ok(json!(self.engine.view(&lang)))
            }
            Err(text) => Reply::Error(text),
        };
        let _ = reply.send(answer); // the session may be gone
    }

    /// The answer to a question; `None`: the view as it is then. `plan`: of the way back that the
    /// learner agreed to; null: there is none.
    async fn answer(
        &mut self,
        ask: Ask,
        plan: &serde_json::Value,
        lang: &str,
    ) -> Result<Option<serde_json::Value>, String> {
        match ask {
            // Verdicts are waited for, which `question` sees to.
            Ask::Show | Ask::Follow | Ask::Check { .. } | Ask::Answer { .. } => Ok(None),
            Ask::List => Ok(Some(json!(self.engine.list(lang)))),
            Ask::Open { id } => {
                let named = self.engine.library.find(&id, self.track().as_deref()).map(|l| l.id.clone());
                let open = self.engine.open.as_ref().map(|o| o.lesson.id.clone());
                if open.is_some_and(|open| Some(&open) == named.as_ref() && self.wants_setup(&open)) {
                    self.engine.open = None; // it is opened once more, and its setup tried again
                }
                // A number is one of the track that was open: by it the cost was found out.
                self.open_named(Some(named.as_ref().unwrap_or(&id)), lang).await.map(|()| None)
            }
            Ask::Elsewhere { id } => Ok(Some(json!(self.elsewhere(&id)))),
            Ask::Learnt { progress } => {
                self.engine.progress.learn(&progress);
                self.save();
                Ok(None)
            }
            Ask::Next => self.next(lang).await.map(|()| None),
            Ask::Back => self.back(lang).await.map(|()| None),
            Ask::Goto { step } => self.goto(&step, plan, lang).await.map(|()| None),
            Ask::Hint => self.hint(lang).map(|()| None),
            Ask::Predict { choice } => self.predict(&choice, lang).map(|()| None),
            // The loop takes them before they come here.
            Ask::Typed { .. } | Ask::Ran { .. } => Ok(Some(serde_json::Value::Null)),
            Ask::Solve { id } => self.solve(id.as_deref(), lang).await.map(|told| Some(json!(told))),
            Ask::Solved => {
                self.engine.solving = false;
                Ok(None)
            }
            Ask::Leave { agreed } => self.leave(agreed, lang).await.map(|left| Some(json!(left))),
            // One that plays lines hears of it while they run.
            Ask::Stop { question: Some(_) } => Ok(Some(serde_json::Value::Null)),
            Ask::Stop { question: None } => Err(words::say(lang, Word::NothingPlays, &[])),
            Ask::Prove => Ok(Some(json!(self.engine.proof()))),
            Ask::Cost { of } => Ok(Some(json!(self.cost(&of, lang).await?.lost))),
            Ask::Sure { .. } => Err("a question is meant once".into()),
            Ask::Debrief { step } => self.debrief(step.as_deref(), lang).map(|told| Some(json!(told))),
        }
    }

    /// Shows the next hint.
    ///
    /// # Errors
    /// No lesson is open, the step is done, or there is no further hint. The text is for people.
    fn hint(&mut self, lang: &str) -> Result<(), String> {
        self.opened(lang)?;
        if matches!(self.engine.state(), State::Done | State::Solved) {
            return Err(words::say(lang, Word::StepDone, &[]));
        }
        let any = self.engine.hint();
        self.save();
        if any { Ok(()) } else { Err(words::say(lang, Word::NoHint, &[])) }
    }

    /// The lines that solve the step. From now on what the learner does is the solution's.
    ///
    /// # Errors
    /// The lesson cannot be opened, or this cluster cannot do the step. The text is for people.
    async fn solve(&mut self, id: Option<&str>, lang: &str) -> Result<Solution, String> {
        self.open_named(id, lang).await?;
        let (lesson, step) = self.opened(lang)?;
        let step = &lesson.steps[step];
        if let Some(need) = self.engine.lacks(&lesson, step) {
            return Err(words::say(lang, Word::Lacks, &[&need.say(lang)]));
        }
        if self.engine.state() == State::Open {
            self.engine.progress.step(&lesson.id, &step.id).solve = true;
            self.engine.solving = true;
            self.save();
        }
        let scope = &self.engine.observer.recorder.scope;
        let (lines, may_fail) = lines::unmarked(in_scope::lines(&step.marked_solution(), scope));
        Ok(Solution { lines, may_fail })
    }

    /// Gives up the namespaces that were made for lessons, and returns their names.
    ///
    /// # Errors
    /// There are none on this cluster, there are others by now than the learner has agreed to, or
    /// they could not be given up.
    async fn leave(&mut self, agreed: Option<Vec<String>>, lang: &str) -> Result<Vec<String>, String> {
        let namespaces = self.host.lesson_namespaces().await;
        // A cluster of Ropewalk's own has none to give up: what is open there stays open.
        if self.engine.offers.own && namespaces.is_empty() {
            return Err(words::no_lesson_namespaces(lang, &self.host.place().name));
        }
        if agreed.is_some_and(|agreed| namespaces.iter().any(|namespace| !agreed.contains(namespace))) {
            return Err(words::plan_changed(lang));
        }
        let left = self.host.leave().await;
        // Also if that failed in the middle: the session has left the open lesson's namespace,
        // and opening the lesson enters it again.
        if let Some(open) = self.engine.open.take()
            && left.is_ok()
        {
            self.engine.progress.anew(&open.lesson.id);
        }
        self.engine.progress.open = None;
        self.end_watches();
        self.engine.move_to(LessonScope::default());
        self.save();
        left.map_err(|refused| words::refused(lang, &refused))
    }

    /// The debrief of a step (`None`: the open one) that is done.
    ///
    /// # Errors
    /// No lesson is open, or it has no such step. The text is for people.
    fn debrief(&self, step: Option<&str>, lang: &str) -> Result<Vec<String>, String> {
        let (lesson, open) = self.opened(lang)?;
        let at = match step {
            None => open,
            Some(step) => step_names::find_step(&lesson, step, lang)?,
        };
        let noted = self.engine.progress.noted_step(&lesson.id, &lesson.steps[at].id);
        let sentences = noted.and_then(|n| n.debrief.get(lang).or_else(|| n.debrief.get(EN)));
        Ok(sentences.cloned().unwrap_or_default())
    }
}
