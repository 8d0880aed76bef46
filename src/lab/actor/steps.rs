//! From step to step: on, back, to a named one, and past one that this cluster cannot do.

use super::Actor;
use super::play::Stopped;
use super::step_names::{find_step, parts};
use crate::error::Error;
use crate::format::Lesson;
use crate::lines::objects;
use crate::needs;
use crate::past;
use crate::progress;
use crate::view::State;
use crate::words::{self, Notice, With, Word};
use clock::Instant;
use cluster::undo::Past;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What a jump makes again before its step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remake {
    /// What the step builds on and what is gone. The learner has agreed to what that takes.
    Missing,
    Nothing,
}

/// Why `next` does not go on. `holds`: all conditions are met, and have to stay so for so much
/// longer, so that a hint would help nothing. `next`: what `goto` can skip to.
fn not_done(holds: Option<Duration>, next: &str, lang: &str) -> String {
    let Some(left) = holds else { return words::say(lang, Word::NotDone, &[next]) };
    let seconds = left.as_millis().div_ceil(1_000).max(1).to_string();
    words::say(lang, Word::Holds, &[&seconds])
}

impl Actor {
    /// Goes to the next step, or to the next lesson; with none open, to the first one that is not
    /// finished.
    ///
    /// # Errors
    /// The open step may not be left yet, or there is none to go to. The text is for people.
    pub(super) async fn next(&mut self, lang: &str) -> Result<(), String> {
        let Ok((lesson, step)) = self.opened(lang) else {
            // Nothing open: the first lesson that is not finished.
            let unfinished = self.engine.unfinished();
            let id = unfinished.ok_or_else(|| words::say(lang, Word::NoLesson, &[]))?;
            return self.open_named(Some(&id), lang).await;
        };
        let this = &lesson.steps[step];
        if !self.may_go_on() {
            let answered =
                self.engine.progress.noted_step(&lesson.id, &this.id).is_some_and(|p| p.predicted.is_some());
            if let Some(predict) = this.predict.as_ref().filter(|_| !answered) {
                let all: Vec<&str> = predict.choices.iter().map(|(l, _)| l.as_str()).collect();
                return Err(words::say(lang, Word::AnswerFirst, &[&all.join(", ")]));
            }
            if let Some(how) = self.engine.answer_first(lang) {
                return Err(how);
            }
            let after = || self.engine.library.after(&lesson.id).map(|l| l.id.clone());
            let next = match lesson.steps.get(step + 1) {
                Some(_) => (step + 2).to_string(),
                None => after().unwrap_or_else(|| this.id.clone()),
            };
            let outcome = self.engine.current().map(|(open, _)| &open.outcome);
            let holds = outcome.and_then(|outcome| outcome.holds_for(Instant::now()));
            return Err(not_done(holds, &next, lang));
        }
        let passed = self.pass(&lesson, step).await.map_err(|stopped| stopped.say(lang))?;
        if step + 1 < lesson.steps.len() {
            self.enter(lesson, step + 1).await;
            if let Some(open) = &mut self.engine.open {
                open.notices.extend(passed);
            }
            return Ok(());
        }
        let after = self.engine.library.after(&lesson.id).map(|l| l.id.clone());
        match after {
            Some(id) => self.open_named(Some(&id), lang).await,
            None => Err(words::say(lang, Word::AllDone, &[])),
        }
    }

    /// Returns whether the open step may be left for the next one. A step that was done before is
    /// no obstacle when it is looked at again.
    pub(super) fn may_go_on(&self) -> bool {
        let Some((open, step)) = self.engine.current() else { return true };
        let done = self.engine.progress.noted_step(&open.lesson.id, &step.id).is_some_and(|noted| noted.done);
        self.engine.state() != State::Open || step.optional || done
    }

    /// A step that this cluster cannot do is passed. What can be done of it is done, since later
    /// steps may build on it.
    ///
    /// # Errors
    /// The lines were stopped: the step is not passed.
    async fn pass(&mut self, lesson: &Lesson, at: usize) -> Result<Option<Notice>, Stopped> {
        let lines = needs::on_any_cluster(&lesson.steps[at].marked_solution());
        if self.engine.state() != State::Skipped || lines.is_empty() {
            return Ok(None);
        }
        let played = self.play(&lines).await; // a refusal may be what the step is about
        self.read_tap();
        Stopped::of(&played)?;
        Ok(Some((Word::Played, vec![With::Steps(vec![at])])))
    }

    /// Shows the step before the open one.
    ///
    /// # Errors
    /// No lesson is open, or its first step is. The text is for people.
    pub(super) async fn back(&mut self, lang: &str) -> Result<(), String> {
        let (lesson, step) = self.opened(lang)?;
        if step == 0 {
            return Err(words::say(lang, Word::FirstStep, &[]));
        }
        // A jump may have left it out: then it begins now.
        self.enter(lesson, step - 1).await;
        Ok(())
    }

    /// Goes to a step, which begins anew: the objects return to what they were when it began. Steps
    /// in between that are not done, or of which a jump has taken back what was done, are played
    /// first. `plan`: of the way back that the learner has agreed to; null: any.
    ///
    /// # Errors
    /// There is no such step, the lines were stopped, or the objects cannot go back as agreed: then
    /// the open step stays open. The text is for people.
    pub(super) async fn goto(&mut self, word: &str, plan: &Value, lang: &str) -> Result<(), String> {
        let (lesson, step) = parts(word);
        // Before a setup is played.
        if let Some(lesson) = lesson.and_then(|id| self.engine.library.find(id, self.track().as_deref())) {
            find_step(lesson, step, lang)?;
        }
        self.open_named(lesson, lang).await?;
        let (lesson, from) = self.opened(lang)?;
        let to = find_step(&lesson, step, lang)?;
        let since = self.engine.since_of(&lesson.id, &lesson.steps[to].id);
        let mut notices = match since {
            0 => self.play_between(&lesson, from, to, lang).await?,
            _ => vec![],
        };
        let before = self.engine.progress.lesson(&lesson.id).clone();
        // What came after it has not happened any more: those steps begin anew, too, when they are
        // reached.
        for step in &lesson.steps[to..] {
            let noted = self.engine.progress.step(&lesson.id, &step.id);
            // What was answered and what was learnt stays; so does the time until a new one is
            // noted: a jump that is cut off gives the step back its former beginning.
            let (predicted, debrief) = (noted.predicted.take(), std::mem::take(&mut noted.debrief));
            let (done, at) = (noted.done, std::mem::take(&mut noted.at));
            *noted = progress::Step { done, predicted, debrief, at, ..progress::Step::default() };
        }
        // Noted before the objects change: if the program ends in between, it goes on from here.
        let noted = self.engine.progress.lesson(&lesson.id);
        (noted.step, noted.going) = (lesson.steps[to].id.clone(), Some(since));
        self.save();
        match self.arrive(lesson.clone(), to, since, plan, Remake::Missing).await {
            Ok(of_jump) => notices.extend(of_jump),
            Err(why) => {
                // The open step stays open, and what was noted of the others is so again.
                let noted = self.engine.progress.lesson(&lesson.id);
                (noted.step, noted.going, noted.steps) = (before.step, before.going, before.steps);
                self.save();
                let changed = words::translated_plan_changed(&why, lang);
                return Err(changed.unwrap_or_else(|| words::say(lang, Word::NotBack, &[&why])));
            }
        }
        if let Some(open) = &mut self.engine.open {
            open.notices.extend(notices);
        }
        Ok(())
    }

    /// Plays the solutions of the steps before a jump's target whose work is not there (see
    /// [`Engine::stands`](crate::engine::Engine::stands)); what the learner has to know of that.
    ///
    /// # Errors
    /// The lines were stopped. Nothing is noted: the step before stays open.
    async fn play_between(
        &mut self,
        lesson: &Lesson,
        from: usize,
        to: usize,
        lang: &str,
    ) -> Result<Vec<Notice>, String> {
        let (mut notices, mut done_for, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (at, step) in lesson.steps.iter().enumerate().take(to).skip(from.min(to)) {
            if self.engine.stands(&lesson.id, &step.id) || self.engine.lacks(lesson, step).is_some() {
                continue;
            }
            // A refusal may be what the step is about; what needs a shell is left to the learner,
            // and what comes after it.
            let mut played = false;
            if left.is_empty() {
                let ended = self.play(&step.whole()).await;
                if let Err(stopped) = Stopped::of(&ended) {
                    self.read_tap();
                    return Err(stopped.say(lang));
                }
                played = !matches!(ended, Err(Error::Shell { .. }));
            }
            if played { &mut done_for } else { &mut left }.push(at);
        }
        if !done_for.is_empty() {
            notices.push((Word::Played, vec![With::Steps(done_for)]));
        }
        if let Some(first) = left.first().map(|at| (at + 1).to_string()) {
            notices.push((Word::NotPlayed, vec![With::Steps(left), first.into()]));
        }
        Ok(notices)
    }

    /// The second half of a jump: puts the objects back as they were at a revision (0: leaves
    /// them), makes what the step builds on and what is gone again, and begins the step. Returns
    /// what the learner has to know: of what was made again, and if the objects cannot be put back
    /// because that history is no longer kept.
    ///
    /// # Errors
    /// They could not be put back for another reason, or a person has written since the plan was
    /// made. The step has not begun.
    pub(super) async fn arrive(
        &mut self,
        lesson: Arc<Lesson>,
        step: usize,
        since: i64,
        plan: &Value,
        remake: Remake,
    ) -> Result<Vec<Notice>, String> {
        let mut restored = true;
        if since > 0 {
            let back = Past::back(since, objects::places(&lesson)).agreed(plan);
            if let Err(why) = self.host.past(back).await {
                restored = false;
                // On a foreign cluster no object goes back.
                if self.engine.offers.own && !self.is_lost(since).await {
                    return Err(why);
                }
            }
        }
        self.read_tap();
        let mut notices = match remake {
            Remake::Missing => self.make_again(&lesson, step).await,
            Remake::Nothing => vec![],
        };
        self.enter(lesson, step).await;
        if !restored {
            notices.push((Word::NoRewind, vec![]));
        }
        Ok(notices)
    }

    /// Returns whether the store no longer has what was at this revision. False if it does not
    /// answer.
    pub(super) async fn is_lost(&self, revision: i64) -> bool {
        past::is_lost(&self.host.past(Past::Steps).await.unwrap_or_default(), revision)
    }

    /// Notes the learner's answer to the question before the open step's task, unless the step is
    /// done.
    ///
    /// # Errors
    /// The step has no question, or that has no such choice. The text is for people.
    pub(super) fn predict(&mut self, choice: &str, lang: &str) -> Result<(), String> {
        let (lesson, step) = self.opened(lang)?;
        let step = &lesson.steps[step];
        let predict = step.predict.as_ref().ok_or_else(|| words::say(lang, Word::NoQuestion, &[]))?;
        // With a Korean keyboard layout on, the same keys give these.
        let letter = match choice.trim().to_lowercase().as_str() {
            "ㅁ" => "a".to_string(),
            "ㅠ" => "b".to_string(),
            "ㅊ" => "c".to_string(),
            "ㅇ" => "d".to_string(),
            other => other.to_string(),
        };
        if !predict.choices.iter().any(|(l, _)| *l == letter) {
            let all: Vec<&str> = predict.choices.iter().map(|(l, _)| l.as_str()).collect();
            return Err(words::say(lang, Word::NoSuchChoice, &[&all.join(", ")]));
        }
        if self.engine.state() == State::Open {
            self.engine.progress.step(&lesson.id, &step.id).predicted = Some(letter);
            self.save();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_says_how_long_what_is_met_still_has_to_hold() {
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(not_done(None, "3", "en"), words::say("en", Word::NotDone, &["3"]));
        for (lang, words) in [("en", "for 3 s more"), ("ko", "앞으로 3초 동안")] {
            let message = not_done(ms(2_100), "3", lang);
            assert!(message.contains(words) && !message.contains("hint"), "{message}");
        }
        assert!(not_done(ms(0), "3", "en").contains("for 1 s more"), "another look is missing");
    }
}
