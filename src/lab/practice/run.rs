//! A drill: its tasks are set up, asked one after the other, and taken away.

use super::drawn::Drawn;
use super::record::{self, Open, Record};
use super::table::Table;
use super::view::{Ask, Lines, Outcome, Phase, Wrong};
use super::words::{self, Word};
use crate::blocking::in_place;
use crate::engine::Lazily;
use crate::format::Library;
use crate::graded::Opened;
use crate::graded::world::{Frame, World};
use crate::recorder::Recorder;
use crate::run::Teacher;
use api::kinds::Kind;
use clock::Instant;
use cluster::guest::{Host, Room};
use cluster::undo::Past;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tap::TEACHER;
use task::{Crew, Owned};
use tokio::sync::{mpsc, watch};

mod begin;

/// How long a task has to be true. A pod that breaks at once is ready for a moment.
const HOLD: Duration = Duration::from_millis(700);
/// How long `check` waits for what is on its way.
const CHECK_MAX: Duration = Duration::from_secs(2);
/// A rehearsal, which has no clock, ends after this time.
const REHEARSAL_MAX: Duration = Duration::from_secs(3600);
/// Orders that wait for a drill, at most; a further one waits for its turn.
const ORDERS_MAX: usize = 8;

/// What a learner orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Skip,
    Stop,
}

/// Practice on one cluster.
pub struct Practice {
    host: Host,
    crew: Crew,
    teacher: Teacher,
    /// Says which graded lab is open.
    opened: Opened,
    table: Arc<Table>,
    library: Lazily<Library>,
    path: PathBuf,
    /// `None`: not read yet.
    record: Mutex<Option<Record>>,
    /// Where damaged records were put, until a drill has told it.
    aside: Mutex<Vec<PathBuf>>,
    drill: Mutex<Option<Arc<Drill>>>,
    /// Held by the question that starts a drill, and by what takes one away.
    turn: tokio::sync::Mutex<()>,
    /// Wakes those who follow.
    changed: watch::Sender<()>,
}

/// A drill that is open, or the last one.
pub(super) struct Drill {
    pub seed: u64,
    pub namespace: String,
    /// The store's revision before it.
    base: i64,
    pub limit: Duration,
    pub tasks: Vec<Drawn>,
    /// When each of its skills was met.
    met: Vec<Option<clock::Timestamp>>,
    /// It is noted nowhere.
    pub is_rehearsal: bool,
    pub state: Mutex<State>,
    orders: mpsc::Sender<Order>,
    world: Arc<World>,
    /// Ends with the drill: what watches the cluster.
    crew: Owned,
}

/// How far a drill is.
#[derive(Debug, Default)]
pub(super) struct State {
    pub phase: Phase,
    pub at: usize,
    /// When the time is over. `None`: the clock does not run.
    pub ends: Option<Instant>,
    /// When the present task began, and at which revision of the store.
    pub began: Option<Instant>,
    revision: i64,
    pub results: Vec<Shown>,
    /// Hints of the present task that were asked for, by their places.
    pub hints: Vec<usize>,
    /// The conditions of the present task as `check` saw them last.
    pub checks: Vec<bool>,
    /// General hints that fitted then, by their places.
    pub notices: Vec<usize>,
    /// Damaged records that were put aside: this drill tells it.
    pub told: Vec<PathBuf>,
}

/// What came of a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub outcome: Outcome,
    pub took_s: Option<u64>,
    pub due: Option<clock::Timestamp>,
}

impl Drill {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What the expressions of the present task see beside the cluster.
    pub(super) fn frame(&self) -> Frame {
        let state = self.state();
        let variant = self.tasks.get(state.at).map(Drawn::variant);
        Frame { began: state.revision, variant }
    }

    pub(super) fn world(&self) -> &Arc<World> {
        &self.world
    }

    fn is_open(&self) -> bool {
        self.state().phase.is_open()
    }

    /// Listens to the cluster from here on; nothing of before is remembered.
    fn listen(&self, host: &Host) {
        self.world.read(host.tap());
        let kinds: BTreeSet<String> = self.tasks.iter().flat_map(Drawn::kinds).collect();
        let reads = kinds.iter().filter_map(|kind| crate::cel::facts::kind(kind)).map(plural).collect();
        let mut known = self.world.know();
        let (seq, who) = (known.recorder.seq, known.who.clone());
        known.recorder = Recorder::default();
        (known.recorder.seq, known.recorder.who) = (seq, who);
        known.recording = true;
        (known.places, known.reads) = (Some([self.namespace.clone()].into()), reads);
        known.begin(None);
        drop(known);
        self.world.watch(kinds);
    }

    /// The present task begins: what is asked for has to happen from here on.
    fn begin(&self, host: &Host, at: usize) {
        self.world.read(host.tap());
        self.world.forget_answers();
        let revision = {
            let mut known = self.world.know();
            known.recorder.begin_step();
            known.recorder.revision.max(self.base)
        };
        let mut state = self.state();
        (state.at, state.revision, state.began) = (at, revision, Some(Instant::now()));
        state.hints.clear();
        state.checks.clear();
        state.notices.clear();
        if let Some(result) = state.results.get_mut(at) {
            result.outcome = Outcome::Open;
        }
    }

    /// Returns once the present task is done.
    async fn done(&self, at: usize) {
        let Some(task) = self.tasks.get(at) else { return };
        let frame = self.frame();
        while self.world.settled(&task.exprs(), &frame, HOLD, REHEARSAL_MAX).await.is_err() {}
    }

    /// Is the present task done at this moment?
    async fn is_done(&self, within: Duration) -> bool {
        let at = self.state().at;
        let Some(task) = self.tasks.get(at) else { return false };
        self.world.settled(&task.exprs(), &self.frame(), Duration::ZERO, within).await.is_ok()
    }

    /// Notes how the conditions of the present task stand.
    fn look(&self) {
        let at = self.state().at;
        let Some(task) = self.tasks.get(at) else { return };
        let frame = self.frame();
        let truth = |expr: &crate::cel::Expr| self.world.truth(expr, &frame, CHECK_MAX) == Some(true);
        let checks: Vec<bool> = in_place(|| task.exprs().into_iter().map(truth).collect());
        let fits = |at: &usize| task.general[*at].when.as_ref().is_some_and(truth);
        let notices: Vec<usize> = in_place(|| (0..task.general.len()).filter(fits).collect());
        let mut state = self.state();
        (state.checks, state.notices) = (checks, notices);
    }

    /// The places of the hints that could be given now, the next one first.
    pub(super) fn hints_left(&self) -> Vec<usize> {
        let (at, shown) = {
            let state = self.state();
            (state.at, state.hints.clone())
        };
        let Some(task) = self.tasks.get(at) else { return vec![] };
        let frame = self.frame();
        let fits = |place: &usize| {
            let when = task.hints[*place].when.as_ref();
            !shown.contains(place)
                && when.is_none_or(|when| self.world.truth(when, &frame, CHECK_MAX) == Some(true))
        };
        in_place(|| (0..task.hints.len()).filter(fits).collect())
    }
}

fn plural(kind: &'static Kind) -> String {
    kind.plural.to_string()
}

impl Practice {
    /// Practice for the cluster of `host`. `opened` says which graded lab is open.
    ///
    /// # Errors
    /// The teacher has no kubeconfig.
    pub fn new(crew: &Crew, host: Host, opened: Opened) -> Result<Arc<Practice>, cluster::Error> {
        let teacher = Teacher { place: host.place().clone(), kubeconfig: host.kubeconfig(TEACHER)? };
        let library: Lazily<Library> = LazyLock::new(Box::new(Library::load));
        Ok(Arc::new(Practice {
            path: host.place().root.join(record::FILE),
            host,
            crew: crew.clone(),
            teacher,
            opened,
            table: Table::built_in(),
            library,
            record: Mutex::new(None),
            aside: Mutex::default(),
            drill: Mutex::new(None),
            turn: tokio::sync::Mutex::default(),
            changed: watch::Sender::default(),
        }))
    }

    pub(super) fn drill(&self) -> Option<Arc<Drill>> {
        self.drill.lock().clone()
    }

    /// A channel that changes whenever the drill looks different.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn tell(&self) {
        self.changed.send_replace(());
    }

    /// Answers a question with the document that [`Ask`] names.
    ///
    /// # Errors
    /// Says in `lang` why it was not done.
    pub async fn answer(self: &Arc<Practice>, ask: Ask, lang: &str) -> Result<Value, String> {
        match ask {
            Ask::Show | Ask::Follow => {}
            Ask::Start { seed } => self.start(seed, lang).await?,
            Ask::Rehearse { task, seed } => self.rehearse(&task, seed, lang).await?,
            Ask::Check => self.check(lang).await?,
            Ask::Hint => self.hint(lang)?,
            Ask::Skip => self.order(Order::Skip, lang).await?,
            Ask::Stop => self.order(Order::Stop, lang).await?,
            Ask::Solution => return self.solution(lang),
        }
        Ok(json!(self.view(lang)))
    }

    /// The drill that is open.
    fn open(&self, lang: &str) -> Result<Arc<Drill>, String> {
        let drill = self.drill().filter(|drill| drill.is_open());
        let drill = drill.ok_or_else(|| words::say(lang, Word::NoneOpen, &[]))?;
        match drill.state().phase {
            Phase::Running => {}
            _ => return Err(words::say(lang, Word::Preparing, &[])),
        }
        Ok(drill)
    }

    async fn check(&self, lang: &str) -> Result<(), String> {
        let drill = self.open(lang)?;
        let (at, mut changes) = (drill.state().at, self.changes());
        drill.world.read(self.host.tap());
        if drill.is_done(CHECK_MAX).await {
            // The drill itself sees that it holds, and goes on.
            let moved = async {
                while drill.is_open() && drill.state().at == at {
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            };
            let _ = clock::limit(HOLD + CHECK_MAX, moved).await; // else it did not hold
        }
        if drill.is_open() && drill.state().at == at {
            drill.look();
            self.tell();
        }
        Ok(())
    }

    fn hint(&self, lang: &str) -> Result<(), String> {
        let drill = self.open(lang)?;
        drill.world.read(self.host.tap());
        let left = drill.hints_left();
        let next = left.first().ok_or_else(|| words::say(lang, Word::NoHint, &[]))?;
        drill.state().hints.push(*next);
        self.tell();
        Ok(())
    }

    /// Gives an order, and waits until it is obeyed.
    async fn order(&self, order: Order, lang: &str) -> Result<(), String> {
        let drill = self.open(lang)?;
        let (at, mut changes) = (drill.state().at, self.changes());
        if drill.orders.send(order).await.is_err() {
            return Ok(()); // it has ended meanwhile
        }
        while drill.is_open() && (order == Order::Stop || drill.state().at == at) {
            if changes.changed().await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn solution(&self, lang: &str) -> Result<Value, String> {
        let drill = self.open(lang)?;
        let task = drill.tasks.first().filter(|_| drill.is_rehearsal);
        let task = task.ok_or_else(|| words::say(lang, Word::NoneOpen, &[]))?;
        let wrong = task.wrong.iter().map(|w| Wrong { lines: w.lines.clone(), why: w.why.clone() });
        Ok(json!(Lines { solution: task.solution.clone(), wrong: wrong.collect() }))
    }

    /// Asks one task after the other, until the last one, the end of the time, or an order.
    async fn run(self: Arc<Practice>, drill: Arc<Drill>, mut orders: mpsc::Receiver<Order>) {
        let ends = Instant::now() + drill.limit;
        {
            let mut state = drill.state();
            (state.phase, state.ends) = (Phase::Running, (!drill.is_rehearsal).then_some(ends));
        }
        let mut last = Phase::Finished;
        for at in 0..drill.tasks.len() {
            drill.begin(&self.host, at);
            self.tell();
            let end = tokio::select! {
                biased;
                () = drill.done(at) => None,
                order = orders.recv() => Some(order.unwrap_or(Order::Stop)),
                () = clock::pause_until(ends) => {
                    match drill.is_done(Duration::ZERO).await {
                        true => None,
                        false => {
                            last = Phase::TimeOver;
                            Some(Order::Stop)
                        }
                    }
                }
            };
            self.note(&drill, at, end);
            if end == Some(Order::Stop) {
                last = if last == Phase::TimeOver { last } else { Phase::Stopped };
                break;
            }
        }
        drill.state().phase = last;
        self.tell();
        drop(orders);
        let _turn = self.turn.lock().await;
        self.take_away(&Open { namespace: drill.namespace.clone(), base: drill.base }).await;
        drill.crew.kill();
    }

    /// Notes what came of a task. `end`: the order that ended it; `None`: it is done.
    fn note(&self, drill: &Drill, at: usize, end: Option<Order>) {
        let Some(task) = drill.tasks.get(at) else { return };
        let outcome = {
            let state = drill.state();
            let told = !task.hints.is_empty() && state.hints.contains(&(task.hints.len() - 1));
            match end {
                None if told => Outcome::Helped,
                None => Outcome::Done,
                Some(Order::Skip) => Outcome::Skipped,
                Some(Order::Stop) => Outcome::Unfinished,
            }
        };
        let mut due = None;
        if outcome != Outcome::Unfinished && !drill.is_rehearsal {
            let met = drill.met.get(at).copied().flatten();
            let mut record = self.record.lock();
            if let Some(record) = record.as_mut() {
                let now = clock::now();
                match outcome {
                    Outcome::Helped => record.note_helped(&task.skill, met, now),
                    _ => record.note(&task.skill, outcome == Outcome::Done, met, now),
                }
                due = record.skills.get(&task.skill).map(|practised| practised.due);
                if let Err(error) = record.save(&self.path) {
                    tracing::error!(error = cluster::chain(&error), "cannot write practice.json");
                }
            }
        }
        let mut state = drill.state();
        let took_s = state.began.map(|began| began.elapsed().as_secs());
        if let Some(result) = state.results.get_mut(at) {
            *result = Shown { outcome, took_s, due };
        }
    }

    /// Takes away what a drill made. Where the store no longer has the revision before it, its
    /// namespace is deleted.
    async fn take_away(&self, open: &Open) {
        let places = [open.namespace.clone()].into();
        if !self.is_own(open).await {
            tracing::warn!(namespace = open.namespace, "no drill has made this namespace; it stays");
        } else if let Err(why) = self.host.past(Past::back(open.base, Some(places))).await {
            tracing::debug!(why, "there is no way back before the drill; its namespace is deleted");
            let name = &open.namespace;
            let lines = [
                format!("kubectl delete namespace {name} --ignore-not-found --wait=false"),
                format!("-kubectl delete pod --all -n {name} --now --wait=false"),
            ];
            if let Err(error) = self.teacher.play(&lines, &Room::default()).await {
                tracing::error!(error = cluster::chain(&error), "a drill's namespace cannot be deleted");
                return; // the record still has it, and the next drill tries again
            }
        }
        let mut record = self.record.lock();
        if let Some(record) = record.as_mut() {
            record.open = None;
            if let Err(error) = record.save(&self.path) {
                tracing::error!(error = cluster::chain(&error), "cannot write practice.json");
            }
        }
    }
}

#[cfg(test)]
mod tests;
