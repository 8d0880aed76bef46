//! What a question would take from the learner, before it is done.

mod look;

use super::{Actor, publish, step_names};
use crate::engine::missing;
use crate::format::{EN, Lesson, Step};
use crate::lines::{self, objects, without_shell};
use crate::needs;
use crate::view::{Ask, State};
use crate::words::{self, Word};
use api::status::qualified;
use cluster::undo::{Loss, Past, losses};
use serde_json::Value;
use std::collections::BTreeSet;

/// Objects that a refusal names.
const NAMED_MAX: usize = 10;

/// What a question would take, as it was found out at one moment.
#[derive(Debug, Default)]
pub(super) struct Cost {
    pub lost: Vec<Loss>,
    /// The API server's plan of the way back, to which the way back is bound; null: there is none.
    pub plan: Value,
}

impl Cost {
    fn add(&mut self, more: Vec<Loss>) {
        for loss in more {
            if !self.lost.contains(&loss) {
                self.lost.push(loss);
            }
        }
    }

    /// What is lost beyond what a learner has agreed to. What would be changed back may not be
    /// removed instead.
    pub(super) fn beyond(&self, agreed: &[Loss]) -> Vec<Loss> {
        self.lost.iter().filter(|loss| !agreed.contains(loss)).cloned().collect()
    }
}

/// Names the first objects of a list.
pub(super) fn name_first(lost: &[Loss]) -> String {
    let named: Vec<String> = lost.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    named.join(", ") + if lost.len() > NAMED_MAX { ", …" } else { "" }
}

impl Actor {
    /// Objects that the learner made or changed beside the lesson, and that the question would
    /// remove or change back.
    ///
    /// # Errors
    /// That cannot be found out now, so the question must not be answered; the text is for people.
    pub(super) async fn cost(&mut self, ask: &Ask, lang: &str) -> Result<Cost, String> {
        let mut cost = Cost::default();
        let found = match ask {
            Ask::Open { id } | Ask::Solve { id: Some(id) } => self.cost_of_opening(id, &mut cost).await,
            Ask::Next => self.cost_of_next(lang, &mut cost).await,
            Ask::Goto { step } => self.cost_of_going(step, lang, &mut cost).await,
            Ask::Back => self.cost_of_back(lang, &mut cost).await,
            _ => Ok(()),
        };
        found.map_err(|why| words::say(lang, Word::CostUnknown, &[&why]))?;
        Ok(cost)
    }

    /// How a learner says that a question is meant.
    pub(super) fn consent(&mut self, ask: &Ask, lang: &str) -> String {
        match ask {
            Ask::Goto { step } => format!("goto {step} --yes"),
            Ask::Back => match self.opened(lang) {
                Ok((_, step)) => format!("goto {step} --yes"), // the number of the one before
                Err(_) => "back".into(),
            },
            Ask::Open { id } | Ask::Solve { id: Some(id) } => format!("lesson {id} --yes"),
            _ => match self.follower(lang) {
                Some(id) => format!("lesson {id} --yes"),
                None => "next --yes".into(),
            },
        }
    }

    /// The lesson that `next` would open.
    fn follower(&mut self, lang: &str) -> Option<String> {
        match self.opened(lang) {
            Ok((lesson, step)) if step + 1 < lesson.steps.len() => None,
            Ok((lesson, _)) => self.engine.library.after(&lesson.id).map(|l| l.id.clone()),
            Err(_) => self.engine.unfinished(),
        }
    }

    /// What `next` would take: lines of a step that is passed are played, and a lesson that is
    /// opened is set up.
    async fn cost_of_next(&mut self, lang: &str, cost: &mut Cost) -> Result<(), String> {
        if !self.may_go_on() {
            return Ok(()); // it is refused, whatever the next lesson would take
        }
        // On a foreign cluster a lesson has a namespace of its own.
        if let Ok((lesson, step)) = self.opened(lang)
            && self.engine.offers.own
            && self.engine.state() == State::Skipped
        {
            let lines = needs::on_any_cluster(&lesson.steps[step].marked_solution());
            cost.add(self.cost_of_lines(&lines, &objects::touched(&lesson)).await?);
        }
        match (self.follower(lang), self.opened(lang)) {
            (Some(id), _) => self.cost_of_opening(&id, cost).await,
            (None, Ok((lesson, step))) => self.cost_of_entering(&lesson, step + 1, cost).await,
            (None, Err(_)) => Ok(()),
        }
    }

    /// What `back` would take: a jump may have left the step before out, and then it begins now.
    async fn cost_of_back(&mut self, lang: &str, cost: &mut Cost) -> Result<(), String> {
        match self.opened(lang) {
            Ok((lesson, step)) if step > 0 => self.cost_of_entering(&lesson, step - 1, cost).await,
            _ => Ok(()),
        }
    }

    /// What the setup of a step that has not begun yet would delete or change, except what belongs
    /// to the lesson.
    async fn cost_of_entering(&self, lesson: &Lesson, at: usize, cost: &mut Cost) -> Result<(), String> {
        let Some(step) = lesson.steps.get(at).filter(|step| !step.setup.is_empty()) else { return Ok(()) };
        // On a foreign cluster a lesson has a namespace of its own.
        if self.engine.offers.own && self.engine.since_of(&lesson.id, &step.id) == 0 {
            cost.add(self.cost_of_lines(&step.setup, &objects::touched(lesson)).await?);
        }
        Ok(())
    }

    /// What the setup of a lesson would delete or change, except what lessons have made.
    async fn cost_of_opening(&mut self, id: &str, cost: &mut Cost) -> Result<(), String> {
        let Some(lesson) = self.engine.library.find(id, self.track().as_deref()).cloned() else {
            return Ok(());
        };
        // On a foreign cluster a lesson has a namespace of its own. One that is refused takes
        // nothing.
        if !self.engine.offers.own || self.refuse_other_cluster(&lesson, EN).is_err() {
            return Ok(());
        }
        // Every line of the setup is tried, which may take seconds: sessions that follow see for
        // what.
        self.engine.preparing = Some(lesson.id.clone());
        publish(&self.engine, &self.views);
        let found = self.cost_of_setting_up(&lesson, cost).await;
        self.engine.preparing = None;
        found
    }

    /// What the setups of a lesson and of the step at which it was left would delete or change.
    async fn cost_of_setting_up(&mut self, lesson: &Lesson, cost: &mut Cost) -> Result<(), String> {
        let left = self.engine.progress.lessons.get(&lesson.id).and_then(|noted| lesson.step(&noted.step));
        let at = left.unwrap_or(0);
        self.cost_of_entering(lesson, at, cost).await?;
        if self.wants_setup(&lesson.id) {
            cost.add(self.cost_of_lines(&lesson.setup, &BTreeSet::new()).await?);
        }
        Ok(())
    }

    /// What lines that the teacher plays would delete or change, except what belongs to lessons.
    /// `named`: see [`Actor::is_lessons`].
    async fn cost_of_lines(&self, lines: &[String], named: &BTreeSet<String>) -> Result<Vec<Loss>, String> {
        let mut lost: Vec<Loss> = Vec::new();
        for (line, input) in without_shell::played_commands(lines).unwrap_or_else(|_| lines::commands(lines))
        {
            let scope = &self.engine.observer.recorder.scope;
            for loss in self.teacher.would_take(&line, &input, scope).await? {
                let known = lost.iter().any(|l| {
                    (&l.resource, &l.group, &l.namespace, &l.name)
                        == (&loss.resource, &loss.group, &loss.namespace, &loss.name)
                });
                if !known && !self.is_lessons(&loss, named) {
                    lost.push(loss);
                }
            }
        }
        Ok(lost)
    }

    /// What going to a step would take, beyond what belongs to the lesson itself: the rewind to its
    /// beginning, or the steps before it that are played.
    async fn cost_of_going(&mut self, word: &str, lang: &str, cost: &mut Cost) -> Result<(), String> {
        let (id, step) = step_names::parts(word);
        let lesson = match id {
            Some(id) => self.engine.library.find(id, self.track().as_deref()).cloned(),
            None => self.opened(lang).ok().map(|(lesson, _)| (*lesson).clone()),
        };
        let Some(lesson) = lesson else { return Ok(()) };
        if id.is_some() && self.refuse_other_cluster(&lesson, lang).is_err() {
            return Ok(()); // it is not gone to
        }
        let Ok(to) = step_names::find_step(&lesson, step, lang) else { return Ok(()) };
        let is_open = self.engine.open.as_ref().is_some_and(|open| open.lesson.id == lesson.id);
        if let Some(id) = id.filter(|_| !is_open) {
            self.cost_of_opening(id, cost).await?;
        }
        // With its setup a lesson begins anew: no step has a beginning that could be gone back to.
        let begins = !is_open && self.wants_setup(&lesson.id);
        let since = match begins {
            true => 0,
            false => self.engine.since_of(&lesson.id, &lesson.steps[to].id),
        };
        let named = objects::touched(&lesson);
        if since == 0 {
            for line in self.lines_on_the_way(&lesson, to, begins) {
                cost.add(self.cost_of_lines(&line, &named).await?);
            }
            self.cost_of_entering(&lesson, to, cost).await?;
            return self.cost_of_making_again(&lesson, to, since, cost).await;
        }
        // Elsewhere nothing goes back.
        if !self.engine.offers.own {
            return Ok(());
        }
        let places = objects::places(&lesson);
        cost.add(self.labs.swept_by(since, places.as_ref()).into_iter().collect());
        let rewind = Past::back(since, places);
        cost.plan = match self.host.past(Past::Plan { of: Box::new(rewind) }).await {
            Ok(plan) => plan,
            // What is no longer kept cannot be gone back to: nothing is taken.
            Err(_) if self.is_lost(since).await => Value::Null,
            Err(why) => return Err(why),
        };
        let lost = losses(&cost.plan).into_iter().filter(|loss| !self.is_lessons(loss, &named));
        cost.add(lost.collect());
        self.cost_of_making_again(&lesson, to, since, cost).await
    }

    /// What is taken by the lines that make again what a step builds on, as
    /// [`Actor::make_again`] plays them. What was there when the step began comes back by itself.
    async fn cost_of_making_again(
        &mut self,
        lesson: &Lesson,
        to: usize,
        since: i64,
        cost: &mut Cost,
    ) -> Result<(), String> {
        // On a foreign cluster a lesson has a namespace of its own.
        if !self.engine.offers.own {
            return Ok(());
        }
        let step = &lesson.steps[to];
        let mut gone = self.gone(step).await;
        for object in missing::needed_by(step) {
            let then =
                (since > 0).then(|| self.engine.observer.recorder.objects_at(object.kind.plural, since));
            if then.is_some_and(|then| then.contains_key(&(object.namespace.clone(), object.name.clone()))) {
                gone.remove(&object.key());
            }
        }
        let remake = missing::remake(lesson, to, &gone, |step| self.engine.lacks(lesson, step).is_none());
        let named = objects::touched(lesson);
        for lines in &remake.played {
            cost.add(self.cost_of_lines(lines, &named).await?);
        }
        Ok(())
    }

    /// The solutions that a jump to a step plays, as [`Actor::goto`] does: of each step whose work
    /// is not there, up to the first that needs a shell. `begins`: the lesson begins anew before.
    fn lines_on_the_way(&self, lesson: &Lesson, to: usize, begins: bool) -> Vec<Vec<String>> {
        // On a foreign cluster a lesson has a namespace of its own.
        if !self.engine.offers.own {
            return vec![];
        }
        let noted = self.engine.progress.lessons.get(&lesson.id);
        let open = self.engine.open.as_ref().filter(|open| open.lesson.id == lesson.id).map(|open| open.step);
        let left = || noted.filter(|_| !begins).and_then(|noted| lesson.step(&noted.step));
        let from = open.or_else(left).unwrap_or(0);
        // A lesson that begins anew keeps nothing of what was done in it.
        let stands = |id: &str| !begins && self.engine.stands(&lesson.id, id);
        let steps = lesson.steps[from.min(to)..to].iter();
        let played = steps.filter(|s| !stands(&s.id) && self.engine.lacks(lesson, s).is_none());
        played.map(Step::whole).take_while(|lines| !without_shell::needs_shell(lines)).collect()
    }

    /// Returns whether a lesson has made the object, or a controller from what a lesson has made,
    /// or whether it is a part of the cluster that the lesson, by these names, is about.
    fn is_lessons(&self, loss: &Loss, named: &BTreeSet<String>) -> bool {
        let resource = qualified(&loss.group, &loss.resource);
        let key = |resource: &str, name: &str| objects::key(resource, &loss.namespace, name);
        let made = |resource: &str, name: &str| self.engine.progress.is_made(&key(resource, name));
        made(&resource, &loss.name)
            || objects::owners(&resource, &loss.name).iter().any(|(resource, name)| made(resource, name))
            || loss.namespace == "kube-system" && named.contains(&key(&resource, &loss.name))
    }
}

#[cfg(test)]
mod tests;
