//! The engine's loop: takes what the tap, the watches and people say, one after the other, and
//! tells everyone who follows what is to be seen now.

use super::blocking::in_place;
use super::engine::{Engine, qualified};
use super::error::Error;
use super::format::{EN, Lesson, Library, OTHERS};
use super::graded::Opened;
use super::observe::probe;
use super::observe::watch::{self, Told};
use super::observe::{self, Observer};
use super::progress::{self, Progress};
use super::run::Teacher;
use super::view::{Ask, LessonView, Question, Solution, State};
use super::words::{self, Word};
use super::{cel::Probe, cel::facts, in_room};
use ::cel::Value;
use api::kinds::Kind;
use client::Client;
use clock::Instant;
use cluster::control::Reply;
use cluster::guest::{Host, Room, Seen};
use meant::Meant;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tap::TEACHER;
use task::Crew;
use tokio::sync::{broadcast, mpsc, oneshot, watch as channel};

mod consent;
pub(crate) mod cost;
mod meant;
mod open;
mod play;
mod resume;
#[cfg(test)]
mod sittings;
mod step_names;
mod steps;

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

/// `check` waits this long for watches and the network to catch up, beside `hold`.
const PATIENCE: Duration = Duration::from_secs(8);

/// Progress that could not be kept is tried again after this time: a disk that is full tells nobody
/// when it no longer is.
const KEEP_AGAIN: Duration = Duration::from_secs(2);

/// What happens within this time after a change is judged together with it.
const BURST: Duration = Duration::from_millis(25);
/// After a judgement the engine rests this many times as long as it took, so that it never takes
/// more than a fifth of one core; and no longer than the second value.
const REST: (u32, Duration) = (4, Duration::from_secs(2));

/// When to judge next. A change is judged [`BURST`] later, with everything that has happened by
/// then, and never before the engine has rested.
#[derive(Default)]
struct Pace {
    due: Option<Instant>,
    rested: Option<Instant>,
}

impl Pace {
    fn changed(&mut self, now: Instant) {
        self.due.get_or_insert(now + BURST);
    }

    /// Someone waits for the answer.
    fn hurry(&mut self, now: Instant) {
        self.due = Some(now);
        self.rested = None;
    }

    fn judged(&mut self, began: Instant, now: Instant) {
        let rest = now.duration_since(began).saturating_mul(REST.0).min(REST.1);
        (self.due, self.rested) = (None, Some(now + rest));
    }

    /// When to judge, if nothing else happens than a timer that ends at `wake`.
    fn next(&self, wake: Option<Instant>) -> Option<Instant> {
        let at = [self.due, wake].into_iter().flatten().min()?;
        Some(self.rested.map_or(at, |rested| at.max(rested)))
    }
}

/// A session that waits for a verdict.
struct Waiter {
    lang: String,
    reply: oneshot::Sender<Reply>,
    /// Revisions that the watches have to have told.
    needs: HashMap<String, i64>,
    /// What a foreign server had when this was asked, by kind: its own writes pass no tap that
    /// could tell how far they are. `None`: not answered yet.
    looks: Option<Looks>,
    number: u64,
    deadline: Instant,
    /// The verdict is that on the answer that the learner has just given.
    on_answer: bool,
}

type Looks = HashMap<String, watch::Look>;

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
    /// What the watches tell.
    reports: mpsc::Receiver<(u64, Told)>,
    /// The watches of the present room, which end with it.
    watches: Crew,
    watched: BTreeSet<String>,
    /// The scale of the cluster's clock outside of lessons.
    scale: u32,
    /// Counts rooms: what a watch of an earlier one still tells is not listened to.
    stay: u64,
    told: mpsc::Sender<(u64, Told)>,
    found: mpsc::Sender<Found>,
    waiters: Vec<Waiter>,
    /// Counts those who ever waited.
    asked: u64,
}

/// What a task has found out for the engine.
enum Found {
    /// What the network answered to a question of an era.
    Answer { era: u64, probe: Probe, value: Value },
    /// What a foreign server has, for the waiter of this number.
    Looks { number: u64, looks: Looks },
    /// Of a room and a step that began at a revision: the objects of a kind as they were then.
    Begun { stay: u64, since: i64, kind: String, objects: watch::Then },
}

/// Runs until the crew ends.
pub(crate) async fn run(
    crew: Crew,
    host: Host,
    labs: Opened,
    questions: mpsc::Receiver<Asked>,
    views: channel::Sender<Views>,
) -> Result<(), Error> {
    let (told, reports) = mpsc::channel(watch::WAITING_MAX);
    let (found, mut finds) = mpsc::channel(FOUND_MAX);
    let path = host.place().root.join("lessons.json");
    let (progress, problem) = match Progress::load(&path) {
        Ok(progress) => (progress, None),
        // Played without, and said; what is in the file stays untouched.
        Err(error) => (Progress::default(), Some(cluster::chain(&error))),
    };
    let engine = Engine {
        library: LazyLock::new(Box::new(Library::load)),
        progress,
        path,
        offers: host.offers(),
        observer: Observer::default(),
        unproven: Default::default(),
        before: HashMap::new(),
        asking_before: Default::default(),
        failed_before: HashMap::new(),
        lost_before: Default::default(),
        memo: Arc::default(),
        open: None,
        solving: false,
        preparing: None,
        playing: None,
        clocks: None,
        noted: false,
        problem,
        unkept: None,
        unresumed: None,
    };
    let mut records = host.tap().subscribe();
    let teacher = Teacher { place: host.place().clone(), kubeconfig: host.kubeconfig(TEACHER)? };
    let client = host.client(TEACHER)?;
    let mut actor = Actor {
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
        scale: clock::scale(),
        stay: 0,
        told,
        found,
        waiters: vec![],
        asked: 0,
    };
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
            Some((stay, told)) = actor.reports.recv() => match stay == actor.stay {
                true => actor.engine.told(told),
                false => continue,
            },
            Some(found) = finds.recv() => match actor.take(found) {
                true => {}
                false => continue,
            },
            record = records.recv() => match record {
                Ok(record) if record.seq <= actor.engine.observer.recorder.seq => continue,
                // All that has come by then is read when it is judged.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
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

/// Tells those who follow what is to be seen now, if it has changed.
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
    /// Everything that the tap has and the engine has not seen.
    fn read_tap(&mut self) {
        for record in self.host.tap().since(self.engine.observer.recorder.seq) {
            self.engine.record(&record);
        }
    }

    /// Takes over what a task has found out. False if it is about another room or step, or comes
    /// too late to count.
    fn take(&mut self, found: Found) -> bool {
        match found {
            Found::Answer { era, probe, value } => self.engine.observer.answers.take(era, probe, None, value),
            Found::Looks { number, looks } => {
                if let Some(waiter) = self.waiters.iter_mut().find(|w| w.number == number) {
                    waiter.looks = Some(looks);
                }
                true
            }
            Found::Begun { stay, since, kind, objects } => {
                let is_current = stay == self.stay && since == self.engine.since_step();
                if is_current {
                    self.engine.knew_before(&kind, objects);
                }
                is_current
            }
        }
    }

    /// Takes the room in which a lesson is played; false if there is none and none was to be made.
    /// In a new one the lesson begins anew.
    async fn move_in(&mut self, lesson: &Lesson, make: bool) -> Result<bool, String> {
        let mut kinds: Vec<&Kind> =
            lesson.exprs().into_iter().flat_map(|e| &e.kinds).filter_map(|k| facts::kind(k)).collect();
        kinds.sort_by_key(|k| (k.group, k.plural));
        kinds.dedup_by_key(|k| (k.group, k.plural));
        let Some(mut room) = self.host.room(lesson.id.clone(), kinds, make).await? else { return Ok(false) };
        let fresh = std::mem::take(&mut room.fresh);
        if room != self.engine.observer.recorder.room {
            self.watches.kill();
            self.watches = Crew::new("watches");
            self.watched.clear();
            self.stay += 1;
            self.engine.open = None; // it was played in the other room
            self.engine.move_to(room);
        }
        if fresh {
            self.engine.progress.anew(&lesson.id);
        }
        self.read_tap();
        Ok(true)
    }

    /// Judges until nothing more is needed; tells everyone.
    fn settle(&mut self) -> Option<Instant> {
        let (needs, save) = in_place(|| self.engine.settle());
        for kind in needs.kinds {
            self.watch(&kind);
        }
        for kind in needs.before {
            let (client, found, stay) = (self.client.clone(), self.found.clone(), self.stay);
            let (room, since) = (self.engine.observer.recorder.room.clone(), self.engine.since_step());
            self.crew.spawn(async move {
                let Some(name) = qualified(&kind) else { return };
                let objects = watch::at_revision(&client, &kind, &room, since).await;
                let begun = Found::Begun { stay, since, kind: name, objects };
                let _ = found.send(begun).await; // the engine may have ended
            });
        }
        for probe in needs.probes {
            let (client, kubeconfig, found) =
                (self.client.clone(), self.teacher.kubeconfig.clone(), self.found.clone());
            let (host, era) = (self.host.clone(), self.engine.observer.answers.era());
            let room = self.engine.observer.recorder.room.clone();
            self.crew.spawn(async move {
                let value = probe::ask(&probe, &host, &client, &kubeconfig, &room).await;
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
            && !self.engine.observer.recorder.room.denied.contains(&name)
            && self.watched.insert(name.clone())
        {
            // Its list will be newer than this: a last deletion leaves no object that could say so.
            let plural = observe::plural(&name);
            let newest = self.engine.observer.recorder.of_plural.get(plural).copied().unwrap_or_default();
            self.engine.observer.seen.insert(plural.to_string(), newest);
            let room = &self.engine.observer.recorder.room;
            let (host, told, stay) = (self.host.clone(), self.told.clone(), self.stay);
            let saw = move |seen: Seen<'_>| host.saw(seen);
            watch::start(&self.watches, &self.client, kind, room, saw, told, move |t| (stay, t));
        }
    }

    fn save(&mut self) {
        if self.engine.problem.is_some() {
            return; // a file that could not be read is not overwritten
        }
        self.engine.progress.format = progress::FORMAT;
        let kept = self.engine.progress.save(&self.engine.path);
        self.engine.unkept = kept.err().map(|error| (Instant::now(), cluster::chain(&error)));
        if let Some((_, why)) = &self.engine.unkept {
            tracing::error!(error = why, "progress cannot be kept");
        }
    }

    /// Answers who waits for a verdict, once there is one; the next deadline.
    fn answer_waiters(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let busy = self.engine.observer.answers.is_waiting()
            || !self.engine.asking_before.is_empty()
            || self
                .engine
                .open
                .as_ref()
                .is_some_and(|o| self.engine.state() == State::Open && o.outcome.wake.is_some())
            || self
                .engine
                .kinds()
                .iter()
                .filter_map(|k| qualified(k))
                .filter(|k| self.watched.contains(k))
                .any(|k| !self.engine.observer.objects.contains_key(&k));
        let mut rest = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            let shown = waiter.looks.as_ref().is_some_and(|looks| self.engine.observer.shows(looks));
            if waiter.deadline > now && (busy || !shown || !self.engine.observer.caught_up(&waiter.needs)) {
                rest.push(waiter);
                continue;
            }
            if waiter.on_answer {
                self.engine.close_answer(waiter.number);
                publish(&self.engine, &self.views);
            }
            // The session that asked hears at once what is missing; those that follow hear it when
            // its time has come.
            let late = self.engine.open.as_mut().map(|open| std::mem::replace(&mut open.late, true));
            let _ = waiter.reply.send(Reply::Ok(json!(self.engine.view(&waiter.lang))));
            if let (Some(open), Some(late)) = (&mut self.engine.open, late) {
                open.late = late;
            }
        }
        self.waiters = rest;
        self.waiters.iter().map(|w| w.deadline).min()
    }

    /// Asks a foreign server what it has; at home everything is told by the tap.
    fn look(&self) -> Option<Looks> {
        if self.engine.offers.own {
            return Some(Looks::new());
        }
        let (kinds, room) = (self.engine.kinds(), self.engine.observer.recorder.room.clone());
        let watched = |k: &String| qualified(k).is_some_and(|name| self.watched.contains(&name));
        let kinds: Vec<String> = kinds.into_iter().filter(watched).collect();
        let (client, number, found) = (self.client.clone(), self.asked, self.found.clone());
        self.crew.spawn(async move {
            let looks = kinds.iter().map(|kind| watch::look(&client, kind, &room));
            let looks = futures::future::join_all(looks).await.into_iter().flatten().collect();
            let _ = found.send(Found::Looks { number, looks }).await; // the engine may have ended
        });
        None
    }

    /// Answers a question, or notes what was typed.
    async fn attend(&mut self, (question, reply): Asked, pace: &mut Pace) {
        match question {
            Question { ask: Ask::Typed { line }, .. } => {
                self.engine.typed(line);
                let _ = reply.send(Reply::Ok(serde_json::Value::Null)); // the prompt does not always wait
                pace.changed(Instant::now());
            }
            Question { ask: Ask::Ran { line, code }, .. } => {
                self.engine.ran(line, code);
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
            return self.await_verdict(lang, reply, false);
        }
        if let Ask::Answer { text } = question.ask {
            match self.engine.take_answer(&text, &lang) {
                Ok(()) => {
                    self.save();
                    self.await_verdict(lang, reply, true);
                }
                Err(text) => _ = reply.send(Reply::Error(text)), // the asker may be gone
            }
            return;
        }
        let (ask, plan) = match self.agreed(Meant::new(question.ask), &lang).await {
            Ok(agreed) => agreed,
            Err(told) => {
                let _ = reply.send(Reply::Error(told));
                return;
            }
        };
        let answer = match self.answer(ask, &plan, &lang).await {
            Ok(Some(value)) => Reply::Ok(value),
            Ok(None) => {
                self.settle();
                Reply::Ok(json!(self.engine.view(&lang)))
            }
            Err(text) => Reply::Error(text),
        };
        let _ = reply.send(answer); // the session may be gone
    }

    /// Replies when the step, or the learner's last answer, is judged by what the store has now.
    fn await_verdict(&mut self, lang: String, reply: oneshot::Sender<Reply>, on_answer: bool) {
        // What was answered, or asked, before the learner acted proves nothing.
        self.engine.observer.answers.forget();
        let hold = self.engine.current().map_or(Duration::ZERO, |(_, s)| s.hold);
        let needs = self.engine.observer.recorder.of_plural.clone();
        let deadline = Instant::now() + hold + PATIENCE;
        self.asked += 1;
        let (number, looks) = (self.asked, self.look());
        if on_answer {
            self.engine.await_answer(number);
        }
        self.waiters.push(Waiter { lang, reply, needs, looks, number, deadline, on_answer });
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
            Ask::Hint => {
                self.opened(lang)?;
                if matches!(self.engine.state(), State::Done | State::Solved) {
                    return Err(words::say(lang, Word::StepDone, &[]));
                }
                let any = self.engine.hint();
                self.save();
                if any { Ok(None) } else { Err(words::say(lang, Word::NoHint, &[])) }
            }
            Ask::Predict { choice } => self.predict(&choice, lang).map(|()| None),
            // The loop takes them before they come here.
            Ask::Typed { .. } | Ask::Ran { .. } => Ok(Some(serde_json::Value::Null)),
            Ask::Solve { id } => {
                self.open_named(id.as_deref(), lang).await?;
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
                let room = &self.engine.observer.recorder.room;
                let (lines, may_fail) = crate::lines::unmarked(in_room::lines(&step.marked_solution(), room));
                Ok(Some(json!(Solution { lines, may_fail })))
            }
            Ask::Solved => {
                self.engine.solving = false;
                Ok(None)
            }
            Ask::Leave { agreed } => {
                let rooms = self.host.rooms().await;
                if agreed.is_some_and(|agreed| rooms.iter().any(|room| !agreed.contains(room))) {
                    return Err(words::plan_changed(lang));
                }
                let left = self.host.leave().await;
                // Also if that failed in the middle: the ground has left the open lesson's room,
                // and opening the lesson enters it again.
                if let Some(open) = self.engine.open.take()
                    && left.is_ok()
                {
                    self.engine.progress.anew(&open.lesson.id);
                }
                self.engine.progress.open = None;
                self.watches.kill();
                self.watched.clear();
                self.stay += 1;
                self.engine.move_to(Room::default());
                self.save();
                left.map(|left| Some(json!(left)))
            }
            // One that plays lines hears of it while they run.
            Ask::Stop { question: Some(_) } => Ok(Some(serde_json::Value::Null)),
            Ask::Stop { question: None } => Err(words::say(lang, Word::NothingPlays, &[])),
            Ask::Prove => Ok(Some(json!(self.engine.proof()))),
            Ask::Cost { of } => Ok(Some(json!(self.cost(&of, lang).await?.lost))),
            Ask::Sure { .. } => Err("a question is meant once".into()),
            Ask::Debrief { step } => {
                let (lesson, open) = self.opened(lang)?;
                let at = match &step {
                    None => open,
                    Some(step) => step_names::named(&lesson, step, lang)?,
                };
                let noted = self.engine.progress.look(&lesson.id, &lesson.steps[at].id);
                let told = noted.and_then(|n| n.debrief.get(lang).or_else(|| n.debrief.get(EN)));
                Ok(Some(json!(told.cloned().unwrap_or_default())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_judged_once_and_the_engine_rests() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut pace = Pace::default();
        assert_eq!((pace.next(None), pace.next(Some(start))), (None, Some(start)));
        (0..1000).for_each(|n| pace.changed(start + ms(n)));
        assert_eq!(
            pace.next(None),
            Some(start + BURST),
            "the first change sets the time, the others do not move it"
        );
        pace.judged(start + BURST, start + BURST + ms(100));
        pace.changed(start + BURST + ms(101));
        let rested = start + BURST + ms(100 + 400);
        assert_eq!(pace.next(Some(start)), Some(rested), "four times as long as it took");
        pace.hurry(start + ms(200));
        assert_eq!(pace.next(None), Some(start + ms(200)), "but no one waits for it");
    }
}
