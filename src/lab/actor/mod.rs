//! The engine's loop: takes records of the tap, reports of the watches and questions of people, one
//! after the other, and sends the new view to the sessions that follow.

use super::blocking::in_place;
use super::broken_shell::ShellState;
use super::engine::{Engine, Lazily, qualified};
use super::error::Error;
use super::format::{EN, Lesson, Library, OTHERS};
use super::graded::Opened;
use super::observe::load::Running;
use super::observe::watch::{self, Report};
use super::observe::{self, probe};
use super::progress::{self, Progress};
use super::teacher::Teacher;
use super::view::{LessonView, Question, State};
use super::words::{self, Word};
use super::{cel::Probe, cel::facts};
use ::cel::Value;
use api::kinds::Kind;
use client::Client;
use clock::Instant;
use cluster::control::Reply;
use cluster::guest::{Host, Seen};
use pace::Pace;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tap::TEACHER;
use task::Crew;
use tokio::sync::{broadcast, mpsc, oneshot, watch as channel};
use verdict::{Looks, Waiter};

mod consent;
pub(crate) mod cost;
mod open;
mod pace;
mod play;
mod questions;
mod resume;
mod step_names;
mod steps;
#[cfg(test)]
mod tests;
mod verdict;

/// What is to be seen, by language.
pub(crate) type Views = Arc<BTreeMap<String, LessonView>>;
pub(crate) type Asked = (Question, oneshot::Sender<Reply>);

/// Questions that wait for the engine, and as many more that wait until the teacher has played its
/// lines. The engine answers one after the other, most of them at once. A session puts one question
/// and waits for its reply, so this is more than the sessions that people have open. A question
/// beyond that is refused with a message; a line that was typed or has ended waits, because checks
/// look at it.
pub(crate) const QUESTIONS_MAX: usize = 64;

/// What tasks have found out for the engine and it has not taken over yet. A task asks one thing
/// and ends; when so much waits, the tasks wait with what they bring.
const FOUND_MAX: usize = 64;

/// Progress that could not be kept is tried again after this time: a disk that was full does not
/// say when there is room again.
const KEEP_AGAIN: Duration = Duration::from_secs(2);

/// The lesson engine with all that it needs of the cluster: who asks it, what it watches, and the
/// teacher who plays lines for it.
pub(crate) struct Actor {
    engine: Engine,
    host: Host,
    labs: Opened,
    client: Client,
    teacher: Teacher,
    crew: Crew,
    views: channel::Sender<Views>,
    questions: mpsc::Receiver<Asked>,
    /// Questions that came while the teacher played, and that wait until it is done.
    later: VecDeque<Asked>,
    /// The id of the question that is being answered.
    asked_by: String,
    /// What the watches report, with the number of their scope.
    reports: mpsc::Receiver<(u64, Report)>,
    /// The watches of the present scope, which end with it.
    watches: Crew,
    watched: BTreeSet<String>,
    /// The load of the open step.
    load: Option<Running>,
    /// The scale of the cluster's clock outside of lessons.
    scale: u32,
    /// Counts scopes: what a watch of an earlier one still reports is ignored.
    scope_number: u64,
    /// Where the watches report, with the number of their scope.
    reporter: mpsc::Sender<(u64, Report)>,
    found: mpsc::Sender<Found>,
    waiters: Vec<Waiter>,
    /// The number of the last session that waited for a verdict.
    asked: u64,
}

/// What a task has found out for the engine.
enum Found {
    /// What the network answered to a question of an era.
    Answer { era: u64, probe: Probe, value: Value },
    /// What a foreign server has, for the waiter of this number.
    Looks { number: u64, looks: Looks },
    /// The objects of a kind in a scope as they were when a step began, at the revision `since`.
    Begun { scope_number: u64, since: i64, kind: String, objects: watch::Then },
}

/// Runs the lesson engine until the crew ends.
///
/// # Errors
/// It cannot begin: see [`Actor::new`].
pub(crate) async fn run(
    crew: Crew,
    host: Host,
    labs: Opened,
    questions: mpsc::Receiver<Asked>,
    views: channel::Sender<Views>,
) -> Result<(), Error> {
    let (found, mut finds) = mpsc::channel(FOUND_MAX);
    let mut records = host.tap().subscribe();
    let mut actor = Actor::new(crew, host, labs, questions, views, found)?;
    actor.read_tap();
    actor.resume().await;
    let mut pace = Pace::default();
    let mut wake = actor.settle();
    loop {
        while let Some(asked) = actor.later.pop_front() {
            actor.attend(asked, &mut pace).await;
        }
        let now = Instant::now();
        let next = pace.next(wake);
        if next.is_some_and(|at| at <= now) {
            actor.read_tap();
            wake = actor.settle();
            pace.judged(now, Instant::now());
            continue;
        }
        tokio::select! {
            asked = actor.questions.recv() => match asked {
                Some(asked) => actor.attend(asked, &mut pace).await,
                None => return Ok(()),
            },
            Some((scope_number, report)) = actor.reports.recv() => match scope_number == actor.scope_number {
                true => actor.engine.take_report(report),
                false => continue,
            },
            Some(found) = finds.recv() => match actor.take_found(found) {
                true => {}
                false => continue,
            },
            record = records.recv() => match record {
                // Also if it was read already, with a question that came at the same time.
                Ok(record) if matches!(record.event, tap::Event::Fault(_)) => actor.look_at_held().await,
                Ok(record) if record.seq <= actor.engine.observer.recorder.seq => continue,
                // All that has come by then is read when it is judged.
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => actor.look_at_held().await,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            () = until(next) => continue,
        }
        pace.changed(Instant::now());
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => clock::pause_until(at).await,
        None => std::future::pending().await,
    }
}

/// The reply to a question that finds [`QUESTIONS_MAX`] others waiting.
pub(crate) fn too_many(lang: &str) -> Reply {
    Reply::Error(words::say(lang, Word::Busy, &[&QUESTIONS_MAX.to_string()]))
}

/// Writes down how far the learner is. What cannot be written now is tried again.
fn keep(engine: &mut Engine) {
    if engine.problem.is_some() {
        return; // a file that could not be read is not overwritten
    }
    engine.progress.format = progress::FORMAT;
    let kept = engine.progress.save(&engine.path);
    engine.unkept = kept.err().map(|error| (Instant::now(), cluster::chain(&error)));
    if let Some((_, why)) = &engine.unkept {
        tracing::error!(error = why, "progress cannot be kept");
    }
}

/// Sends the view of now to the sessions that follow, if it has changed.
fn publish(engine: &Engine, views: &channel::Sender<Views>) {
    let langs = std::iter::once(EN).chain(OTHERS.iter().copied());
    let fresh: BTreeMap<String, LessonView> = langs.map(|l| (l.to_string(), engine.view(l))).collect();
    views.send_if_modified(|now| {
        let changed = **now != fresh;
        if changed {
            *now = Arc::new(fresh);
        }
        changed
    });
}

impl Actor {
    /// The engine with the progress of earlier sittings, before it has seen anything of the
    /// cluster.
    ///
    /// # Errors
    /// The teacher has no kubeconfig, or no client can be made of it.
    fn new(
        crew: Crew,
        host: Host,
        labs: Opened,
        questions: mpsc::Receiver<Asked>,
        views: channel::Sender<Views>,
        found: mpsc::Sender<Found>,
    ) -> Result<Actor, Error> {
        let (reporter, reports) = mpsc::channel(watch::WAITING_MAX);
        let path = host.place().root.join("lessons.json");
        let (progress, problem) = match Progress::load(&path) {
            Ok(progress) => (progress, None),
            // Played without, and said; what is in the file stays untouched.
            Err(error) => (Progress::default(), Some(cluster::chain(&error))),
        };
        let library: Lazily<Library> = LazyLock::new(Box::new(Library::load));
        let has_packs = Library::has_packs();
        let engine = Engine { progress, problem, has_packs, ..Engine::new(library, path, host.offers()) };
        let teacher = Teacher { place: host.place().clone(), kubeconfig: host.kubeconfig(TEACHER)? };
        let client = host.client(TEACHER)?;
        Ok(Actor {
            engine,
            host,
            labs,
            client,
            teacher,
            crew,
            views,
            questions,
            later: VecDeque::new(),
            asked_by: String::new(),
            reports,
            watches: Crew::new("watches"),
            watched: BTreeSet::new(),
            load: None,
            scale: clock::scale(),
            scope_number: 0,
            reporter,
            found,
            waiters: vec![],
            asked: 0,
        })
    }

    /// Reads the records of the tap that the engine has not seen.
    fn read_tap(&mut self) {
        for record in self.host.tap().since(self.engine.observer.recorder.seq) {
            self.engine.record(&record);
        }
    }

    /// Takes over what a task has found out. False if it is about another scope or step, or comes
    /// too late to count.
    fn take_found(&mut self, found: Found) -> bool {
        match found {
            Found::Answer { era, probe, value } => self.engine.observer.answers.take(era, probe, None, value),
            Found::Looks { number, looks } => {
                if let Some(waiter) = self.waiters.iter_mut().find(|w| w.number == number) {
                    waiter.looks = Some(looks);
                }
                true
            }
            Found::Begun { scope_number, since, kind, objects } => {
                let is_current = scope_number == self.scope_number && since == self.engine.since_step();
                if is_current {
                    self.engine.knew_before(&kind, objects);
                }
                is_current
            }
        }
    }

    /// Enters the scope of a lesson; false if there is none and none was to be made. In a new one
    /// the lesson begins anew.
    async fn enter_scope(&mut self, lesson: &Lesson, make: bool) -> Result<bool, cluster::Error> {
        let mut kinds: Vec<&Kind> =
            lesson.exprs().into_iter().flat_map(|e| &e.kinds).filter_map(|k| facts::kind(k)).collect();
        kinds.sort_by_key(|k| (k.group, k.plural));
        kinds.dedup_by_key(|k| (k.group, k.plural));
        let Some(mut scope) = self.host.lesson_scope(lesson.id.clone(), kinds, make).await? else {
            return Ok(false);
        };
        let fresh = std::mem::take(&mut scope.fresh);
        if scope != self.engine.observer.recorder.scope {
            self.end_watches();
            self.engine.open = None; // it was played in the other scope
            self.engine.move_to(scope);
        }
        if fresh {
            self.engine.progress.anew(&lesson.id);
        }
        self.read_tap();
        Ok(true)
    }

    /// Ends the watches of the present scope. Those of the next one have a crew of their own: one
    /// that was killed takes no task any more.
    fn end_watches(&mut self) {
        self.watches.kill();
        self.watches = Crew::new("watches");
        self.watched.clear();
        self.scope_number += 1;
    }

    /// Sends the load of the open step: anew when the step begins anew, and until it is done.
    fn keep_load(&mut self) {
        let wanted = self.engine.load().map(|(key, load)| (key, load.clone()));
        let (is, be) = (self.load.as_ref().map(|load| &load.key), wanted.as_ref().map(|(key, _)| key));
        if is != be {
            let start =
                |(key, load)| Running::start(key, load, self.host.clone(), self.client.clone(), &self.crew);
            self.load = wanted.map(start);
            self.engine.observer.answers.forget(); // its counts were those of another step
        }
        if let Some(load) = &self.load
            && self.engine.state() != State::Open
        {
            load.stop();
        }
    }

    /// Judges the open step, asks for what the judgement lacks, saves, and publishes the view.
    /// Returns when to judge again if nothing happens.
    fn settle(&mut self) -> Option<Instant> {
        self.keep_load();
        let (needs, save) = in_place(|| self.engine.settle());
        self.keep_load();
        for kind in needs.kinds {
            self.watch(&kind);
        }
        for kind in needs.before {
            let (client, found, scope_number) = (self.client.clone(), self.found.clone(), self.scope_number);
            let (scope, since) = (self.engine.observer.recorder.scope.clone(), self.engine.since_step());
            self.crew.spawn(async move {
                let Some(name) = qualified(&kind) else { return };
                let objects = watch::at_revision(&client, &kind, &scope, since).await;
                let begun = Found::Begun { scope_number, since, kind: name, objects };
                let _ = found.send(begun).await; // the engine may have ended
            });
        }
        for probe in needs.probes {
            let (client, kubeconfig, found) =
                (self.client.clone(), self.teacher.kubeconfig.clone(), self.found.clone());
            let (host, era) = (self.host.clone(), self.engine.observer.answers.era());
            let scope = self.engine.observer.recorder.scope.clone();
            let known = match probe {
                Probe::Load => self.load.as_ref().map(Running::value),
                Probe::Shell => Some(ShellState::value_of(self.engine.shell.as_ref())),
                _ => None,
            };
            self.crew.spawn(async move {
                let value = match known {
                    Some(value) => value,
                    None => probe::ask(&probe, &host, &client, &kubeconfig, &scope).await,
                };
                let _ = found.send(Found::Answer { era, probe, value }).await; // the engine may have ended
            });
        }
        let again = |unkept: &Option<(Instant, String)>| unkept.as_ref().map(|(at, _)| *at + KEEP_AGAIN);
        if save || again(&self.engine.unkept).is_some_and(|at| at <= Instant::now()) {
            self.save();
        }
        let again = again(&self.engine.unkept);
        if self.engine.offers.own {
            // This is the cluster's process. After a restart the open lesson asks for its scale
            // again.
            clock::set_scale(self.engine.scale().unwrap_or(self.scale));
        }
        publish(&self.engine, &self.views);
        [needs.wake, self.answer_waiters(), again].into_iter().flatten().min()
    }

    fn watch(&mut self, kind: &str) {
        if let Some(name) = qualified(kind)
            && !self.engine.observer.recorder.scope.denied.contains(&name)
            && self.watched.insert(name.clone())
        {
            // Its list will be newer than this: a last deletion leaves no object that could say so.
            let plural = observe::plural(&name);
            let newest = self.engine.observer.recorder.of_plural.get(plural).copied().unwrap_or_default();
            self.engine.observer.seen.insert(plural.to_string(), newest);
            let scope = &self.engine.observer.recorder.scope;
            let (host, reporter, scope_number) =
                (self.host.clone(), self.reporter.clone(), self.scope_number);
            let saw = move |seen: Seen<'_>| host.saw(seen);
            watch::start(&self.watches, &self.client, kind, scope, saw, reporter, move |report| {
                (scope_number, report)
            });
        }
    }

    fn save(&mut self) {
        keep(&mut self.engine);
    }
}
