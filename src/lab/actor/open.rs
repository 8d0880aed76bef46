//! How a lesson and its steps are opened: what has to be there is set up, what has to be broken is
//! broken.

use super::Actor;
use super::play::Stopped;
use crate::engine::{Open, missing};
use crate::error::Error;
use crate::format::{Lesson, Step};
use crate::judge;
use crate::observe::watch;
use crate::view::{Elsewhere, State};
use crate::words::{self, Notice, With, Word};
use cluster::faults::Broken;
use cluster::guest::Inside;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

impl Actor {
    /// The open lesson and the number of its open step, from 0.
    ///
    /// # Errors
    /// No lesson is open. The text is for people.
    pub(super) fn opened(&self, lang: &str) -> Result<(Arc<Lesson>, usize), String> {
        let open = self.engine.open.as_ref().ok_or_else(|| words::say(lang, Word::NoLesson, &[]))?;
        Ok((open.lesson.clone(), open.step))
    }

    /// Opens the lesson that was named, where it was left; none named is the open one.
    ///
    /// # Errors
    /// There is no such lesson, this cluster cannot play it, or its setup was stopped. The text is
    /// for people.
    pub(super) async fn open_named(&mut self, id: Option<&str>, lang: &str) -> Result<(), String> {
        let Some(id) = id else { return self.opened(lang).map(drop) };
        let Some(lesson) = self.engine.library.find(id, self.track().as_deref()).cloned() else {
            let broken = self.engine.library.fault_of(id, self.track().as_deref());
            return Err(match broken {
                Some(fault) => fault.to_string(),
                None => words::say(lang, Word::NoSuchLesson, &[id]),
            });
        };
        if self.engine.open.as_ref().is_some_and(|o| o.lesson.id == lesson.id) {
            return Ok(());
        }
        self.refuse_other_cluster(&lesson, lang)?;
        self.enter_scope(&lesson, true).await.map_err(|refused| words::refused(lang, &refused))?;
        let held = self.held().await.unwrap_or_default();
        let mut notices = Vec::new();
        if self.wants_setup(&lesson.id) {
            match self.set_up(&lesson).await {
                Ok(told) => notices.extend(told),
                Err(stopped) => {
                    // What was open stays open. If nothing was, a restart opens nothing either.
                    if self.engine.open.is_none() {
                        self.engine.progress.open = None;
                    }
                    self.save();
                    return Err(stopped.say(lang));
                }
            }
        }
        self.engine.held = held;
        self.look_at_held().await; // the setup may have started one of them
        let at = self.engine.progress.lesson(&lesson.id).step.clone();
        let step = lesson.step(&at).unwrap_or(0);
        // The learner has not agreed to what a way back would take by now.
        let interrupted = words::say(lang, Word::Interrupted, &[]);
        notices.extend(self.give_up_jump(&lesson, step, &interrupted));
        self.enter(Arc::new(lesson), step).await;
        if let Some(open) = &mut self.engine.open {
            open.notices.splice(0..0, notices);
        }
        Ok(())
    }

    /// Returns the components that `fault stop` holds down now, e.g. since an earlier lesson.
    /// `None`: this is not known, as on a cluster that is not Ropewalk's.
    async fn held(&self) -> Option<BTreeSet<String>> {
        let broken = self.host.inside(&Inside::Faults).await.ok()?;
        let broken: Vec<Broken> = serde_json::from_value(broken).ok()?;
        Some(broken.into_iter().filter_map(|broken| broken.component).collect())
    }

    /// Forgets the components that were held down before the lesson and run again by now: their
    /// notice goes. One that the learner stops in the lesson is not added.
    pub(super) async fn look_at_held(&mut self) {
        if self.engine.held.is_empty() {
            return;
        }
        if let Some(held) = self.held().await {
            self.engine.held.retain(|name| held.contains(name));
        }
    }

    /// Refuses a lesson that declares another cluster than this one.
    ///
    /// # Errors
    /// It does; the text says how to start that one. On a cluster that is not Ropewalk's the steps
    /// say what is missing, as those of other lessons do.
    pub(super) fn refuse_other_cluster(&self, lesson: &Lesson, lang: &str) -> Result<(), String> {
        match &lesson.cluster {
            Some(declared) if self.engine.offers.own && !declared.fits(&self.engine.offers) => {
                let begin = format!("lesson {}", lesson.id);
                Err(words::other_cluster(lang, declared, &self.host.place().name, &begin))
            }
            _ => Ok(()),
        }
    }

    /// The cluster on which a lesson is played, if it is another than this one of Ropewalk's. An
    /// empty id names the lesson that `next` would open now.
    pub(super) fn elsewhere(&self, id: &str) -> Option<Elsewhere> {
        let id = if id.is_empty() { self.next_lesson()? } else { id.to_string() };
        let lesson = self.engine.library.find(&id, self.track().as_deref())?;
        let offers = &self.engine.offers;
        let cluster = lesson.cluster.clone().filter(|cluster| offers.own && !cluster.fits(offers))?;
        Some(Elsewhere { id: lesson.id.clone(), cluster, lab: false, seed: None })
    }

    /// The id of the lesson that `next` would open now: behind the last step, if that is not to be
    /// done any more, or where no lesson is open.
    fn next_lesson(&self) -> Option<String> {
        let Some(open) = &self.engine.open else { return self.engine.unfinished() };
        let is_last = open.step + 1 == open.lesson.steps.len();
        let after = self.engine.library.after(&open.lesson.id).filter(|_| self.may_go_on() && is_last);
        after.map(|lesson| lesson.id.clone())
    }

    /// Opens the lesson whose state is asked for. To look changes nothing: one that has to be set
    /// up first is not opened.
    ///
    /// # Errors
    /// There is no such lesson, none is open, or it would have to be set up; the text is for
    /// people.
    pub(super) async fn open_for_check(&mut self, id: Option<&str>, lang: &str) -> Result<(), String> {
        let track = self.track();
        if let Some(lesson) = id.and_then(|id| self.engine.library.find(id, track.as_deref())).cloned() {
            let is_open = self.engine.open.as_ref().is_some_and(|open| open.lesson.id == lesson.id);
            let prepares = !lesson.setup.is_empty()
                || lesson.steps.iter().any(|s| !s.faults.is_empty() || !s.setup.is_empty());
            // On another cluster the setup stays in a namespace of the lesson's own.
            if self.engine.offers.own && !is_open && prepares && self.wants_setup(&lesson.id) {
                return Err(words::say(lang, Word::NotBegun, &[&lesson.id, &lesson.id]));
            }
        }
        self.open_named(id, lang).await
    }

    /// The track of the open lesson: a number alone means one of its lessons.
    pub(super) fn track(&self) -> Option<String> {
        self.engine.open.as_ref().map(|o| o.lesson.track.clone())
    }

    /// A lesson's setup has not been run to its end. It may still be, as long as no step is done:
    /// later it would undo what the learner has made.
    pub(super) fn wants_setup(&mut self, id: &str) -> bool {
        let noted = self.engine.progress.lesson(id);
        !noted.set_up && noted.steps.values().all(|step| step.state == State::Open)
    }

    /// Plays a lesson's setup.
    ///
    /// # Errors
    /// It was stopped. The lesson is not opened, and the setup is played from its beginning when
    /// the lesson is opened next.
    async fn set_up(&mut self, lesson: &Lesson) -> Result<Vec<Notice>, Stopped> {
        let mut notices = Vec::new();
        let own = self.engine.observer.recorder.scope.namespace.clone();
        match self.engine.progress.lesson(&lesson.id).began {
            0 => notices.extend(own.map(|namespace| (Word::FreshNamespace, vec![namespace.into()]))),
            // Tried once more: the steps begin behind it, or its acts would count as what happened
            // in them.
            _ => self.engine.progress.anew(&lesson.id),
        }
        self.engine.preparing = Some(lesson.id.clone());
        let played = self.play(&lesson.setup).await;
        self.engine.progress.lesson(&lesson.id).set_up = played.is_ok();
        let stopped = Stopped::of(&played);
        if let Err(error) = played {
            notices.push((Word::SetupFailed, vec![error.to_string().into(), lesson.id.clone().into()]));
        }
        self.host.catch_up().await;
        self.read_tap();
        self.engine.preparing = None;
        stopped?;
        self.engine.progress.lesson(&lesson.id).began = self.engine.observer.recorder.revision;
        Ok(notices)
    }

    /// Opens a step; what has to be broken for it is broken now.
    pub(super) async fn enter(&mut self, lesson: Arc<Lesson>, step: usize) {
        let mut notices = Vec::new();
        let this = &lesson.steps[step];
        let fresh = self.engine.progress.noted_step(&lesson.id, &this.id).is_none_or(|s| s.since == 0);
        if fresh && self.engine.lacks(&lesson, this).is_none() {
            notices = self.prepare(&lesson, step).await;
        }
        self.host.catch_up().await;
        self.read_tap();
        self.engine.progress.lesson(&lesson.id).going = None;
        let gone = self.gone(&lesson.steps[step]).await;
        self.show(lesson, step);
        self.save();
        if let Some(open) = &mut self.engine.open {
            open.gone = gone;
            open.notices.extend(notices);
        }
    }

    /// Plays the setup of a step that begins, and what breaks something for it. Returns what the
    /// learner has to know: of the setup only that it failed.
    async fn prepare(&mut self, lesson: &Lesson, step: usize) -> Vec<Notice> {
        let (this, number) = (&lesson.steps[step], (step + 1).to_string());
        let mut notices = Vec::new();
        self.engine.preparing = Some(lesson.id.clone());
        let set_up = self.play(&this.setup).await;
        self.read_tap(); // what it made is the lesson's
        self.engine.preparing = None;
        // The step is open all the same: where it was entered from may not be there any more.
        let stopped = || -> Notice { (Word::FaultsStopped, vec![number.clone().into()]) };
        match set_up {
            Ok(()) => {}
            Err(Error::Stopped { .. }) => return vec![stopped()],
            Err(error) => {
                notices.push((Word::StepSetupFailed, vec![error.to_string().into(), number.clone().into()]));
            }
        }
        for line in &this.faults {
            match self.play(std::slice::from_ref(line)).await {
                Ok(()) => notices.push((Word::Fault, vec![line.clone().into()])),
                Err(Error::Stopped { .. }) => {
                    notices.push(stopped());
                    break;
                }
                Err(error) => notices.push((Word::FaultFailed, vec![error.to_string().into()])),
            }
        }
        notices
    }

    /// Looks which objects that a step builds on, and that lessons made, are not there. What cannot
    /// be looked at counts as there.
    pub(super) async fn gone(&self, step: &Step) -> BTreeSet<String> {
        let mut gone = BTreeSet::new();
        let mut looks: HashMap<String, Option<watch::Look>> = HashMap::new();
        for object in missing::needed_by(step).into_iter().filter(|object| self.engine.is_made(object)) {
            let kind = object.kind.qualified();
            if !looks.contains_key(&kind) {
                let look =
                    watch::list_now(&self.client, &object.written, &self.engine.observer.recorder.scope)
                        .await;
                looks.insert(kind.clone(), look.map(|(_, look)| look));
            }
            let place = (object.namespace.clone(), object.name.clone());
            if looks[&kind].as_ref().is_some_and(|look| !look.there.contains(&place)) {
                gone.insert(object.key());
            }
        }
        gone
    }

    /// Makes what a step builds on and what is gone again: the teacher plays the lines that made it
    /// before. Returns what the learner has to know.
    pub(super) async fn make_again(&mut self, lesson: &Lesson, to: usize) -> Vec<Notice> {
        let step = &lesson.steps[to];
        let gone = self.gone(step).await;
        let remake = missing::remake(lesson, to, &gone, |step| self.engine.lacks(lesson, step).is_none());
        if remake == missing::Remake::default() {
            return vec![];
        }
        for lines in &remake.played {
            let played = self.play(lines).await; // a refusal may be what a step is about
            if Stopped::of(&played).is_err() {
                break; // the step says what is still gone
            }
        }
        self.host.catch_up().await;
        self.read_tap();
        let still = self.gone(step).await;
        let name = |object: &missing::Needed| format!("{} {}", object.kind.kind, object.name);
        let made = missing::needed_by(step)
            .into_iter()
            .filter(|object| gone.contains(&object.key()) && !still.contains(&object.key()));
        let made: BTreeSet<String> = made.map(|object| name(&object)).collect();
        let mut notices = Vec::new();
        if !made.is_empty() {
            let names = made.into_iter().collect::<Vec<_>>().join(", ");
            notices.push((Word::MadeAgain, vec![names.into()]));
        }
        if let Some(first) = remake.left.first().filter(|_| !still.is_empty()) {
            let number = (first + 1).to_string();
            notices.push((Word::NotPlayed, vec![With::Steps(remake.left.clone()), number.into()]));
        }
        notices
    }

    /// Puts a step on the screen: a new one begins now, an old one goes on.
    pub(super) fn show(&mut self, lesson: Arc<Lesson>, step: usize) {
        let this = &lesson.steps[step];
        self.engine.take_up(&lesson.id, &this.id, &self.host.tap().since(0));
        let began = self.engine.progress.lesson(&lesson.id).began;
        self.engine.observer.recorder.keep_from(began, self.engine.since_of(&lesson.id, &this.id));
        let memory = judge::recalled(&self.engine.progress.step(&lesson.id, &this.id).proven, &this.checks);
        self.engine.solving = false;
        self.engine.begin_step();
        self.engine.open = Some(Open::new(lesson, step, memory));
        self.engine.tell_faults();
        self.engine.tell_clock();
        for kind in self.engine.kinds() {
            self.watch(&kind);
        }
        let facts = self.engine.facts();
        self.engine.recall_hints(&facts);
    }
}
