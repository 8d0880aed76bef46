//! A drill: its tasks are set up, asked one after the other, and taken away.

use super::drawn::Drawn;
use super::record::{self, Open, Record};
use super::table::SkillTable;
use super::view::{Outcome, Phase};
use crate::blocking::in_place;
use crate::engine::Lazily;
use crate::format::Library;
use crate::graded::Opened;
use crate::graded::world::{Frame, World};
use crate::teacher::Teacher;
use api::kinds::Kind;
use clock::Instant;
use cluster::guest::Host;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tap::TEACHER;
use task::{Crew, Owned};
use tokio::sync::{mpsc, watch};

mod begin;
mod namespace;
mod questions;

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
pub(super) enum Act {
    Skip,
    Stop,
}

/// An order, and the place of the task that was on the screen when it was given. A drill goes on by
/// itself: what was meant for a task that is over meanwhile must not skip the next one.
#[derive(Clone, Copy, Debug)]
struct Order {
    at: usize,
    act: Act,
}

/// Practice on one cluster.
pub(super) struct Practice {
    host: Host,
    crew: Crew,
    teacher: Teacher,
    /// Says which graded lab is open.
    opened: Opened,
    table: Arc<SkillTable>,
    library: Lazily<Library>,
    path: PathBuf,
    /// `None`: not read yet.
    record: Mutex<Option<Record>>,
    /// Where damaged records were put, until a drill has named it.
    aside: Mutex<Vec<PathBuf>>,
    drill: Mutex<Option<Arc<Drill>>>,
    /// Held by the question that starts a drill, and by what takes one away.
    turn: tokio::sync::Mutex<()>,
    /// Wakes followers whenever the drill looks different.
    changed: watch::Sender<()>,
}

/// A drill that is open, or the last one.
pub(super) struct Drill {
    pub seed: u64,
    pub namespace: String,
    /// The store's revision before it.
    revision_before: i64,
    pub limit: Duration,
    pub tasks: Vec<Drawn>,
    /// When each of its skills was met.
    met: Vec<Option<clock::Timestamp>>,
    /// A rehearsal has no clock, and its results are not written into the record.
    pub is_rehearsal: bool,
    pub state: Mutex<DrillState>,
    orders: mpsc::Sender<Order>,
    world: Arc<World>,
    /// Ends with the drill: what watches the cluster.
    crew: Owned,
}

/// What changes while a drill is open.
#[derive(Debug, Default)]
pub(super) struct DrillState {
    pub phase: Phase,
    /// The place of the present task, from 0.
    pub at: usize,
    /// When the time is over. `None`: the clock does not run.
    pub ends: Option<Instant>,
    /// When the present task began, and at which revision of the store.
    pub began: Option<Instant>,
    revision: i64,
    pub results: Vec<TaskResult>,
    /// Hints of the present task that were asked for, by their places.
    pub hints: Vec<usize>,
    /// The conditions of the present task as `check` saw them last.
    pub checks: Vec<bool>,
    /// General hints that fitted then, by their places.
    pub notices: Vec<usize>,
    /// Damaged records that were put aside. The views of this drill name them until it ends.
    pub put_aside: Vec<PathBuf>,
    /// Why parts of what the learner has learned could not be read. The views name them until the
    /// drill ends, too.
    pub unread: Vec<Arc<crate::Error>>,
    /// Why the last result could not be written into the record. The next write brings it along.
    pub not_kept: Option<crate::Error>,
}

/// What came of a task.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskResult {
    pub outcome: Outcome,
    pub took_s: Option<u64>,
    pub due: Option<clock::Timestamp>,
}

impl Drill {
    /// Locks what changes while the drill is open.
    pub(super) fn state(&self) -> MutexGuard<'_, DrillState> {
        self.state.lock()
    }

    /// What the expressions of the task at `at` see beside the cluster: its values, and when the
    /// present task began.
    pub(super) fn frame_of(&self, at: usize) -> Frame {
        Frame { began: self.state().revision, variant: self.tasks.get(at).map(Drawn::variant) }
    }

    /// What is known of the cluster while the drill is open.
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
        let who = known.who.clone();
        known.observer.recorder.start_over(who);
        known.recording = true;
        (known.places, known.reads) = (Some([self.namespace.clone()].into()), reads);
        known.begin(None);
        drop(known);
        self.world.watch(kinds);
    }

    /// Begins a task: what is asked for has to happen from here on. The drill runs from its first
    /// task on, and never without one. `ends`: when its time is over.
    fn begin_task(&self, host: &Host, at: usize, ends: Instant) {
        self.world.read(host.tap());
        self.world.forget_answers();
        let revision = {
            let mut known = self.world.know();
            known.observer.recorder.begin_step();
            known.observer.recorder.revision.max(self.revision_before)
        };
        let mut state = self.state();
        (state.phase, state.ends) = (Phase::Running, (!self.is_rehearsal).then_some(ends));
        (state.at, state.revision, state.began) = (at, revision, Some(Instant::now()));
        state.hints.clear();
        state.checks.clear();
        state.notices.clear();
        if let Some(result) = state.results.get_mut(at) {
            result.outcome = Outcome::Open;
        }
    }

    /// Waits until the task at `at`, the present one, is done.
    async fn await_done(&self, at: usize) {
        let Some(task) = self.tasks.get(at) else { return };
        let frame = self.frame_of(at);
        while self.world.settled(&task.exprs(), &frame, HOLD, REHEARSAL_MAX).await.is_err() {}
    }

    /// Returns whether all conditions of the task at `at` are met at one moment. The drill may go
    /// on meanwhile, so the caller says which task it means.
    async fn is_done(&self, at: usize, within: Duration) -> bool {
        let Some(task) = self.tasks.get(at) else { return false };
        self.world.settled(&task.exprs(), &self.frame_of(at), Duration::ZERO, within).await.is_ok()
    }

    /// The place of a task, if it is the present one.
    fn place_of_present(&self, task: &str) -> Option<usize> {
        let state = self.state();
        let is_present = self.tasks.get(state.at).is_some_and(|present| present.id == task);
        (is_present && state.phase == Phase::Running).then_some(state.at)
    }

    /// Evaluates the conditions of the task at `at`, and the general hints, for the next views. If
    /// the drill has gone on meanwhile, they are another task's and are dropped.
    fn judge_conditions(&self, at: usize) {
        let Some(task) = self.tasks.get(at) else { return };
        let frame = self.frame_of(at);
        let truth = |expr: &crate::cel::Expr| self.world.truth(expr, &frame, CHECK_MAX) == Some(true);
        let checks: Vec<bool> = in_place(|| task.exprs().into_iter().map(truth).collect());
        let fits = |place: &usize| task.general[*place].when.as_ref().is_some_and(truth);
        let notices: Vec<usize> = in_place(|| (0..task.general.len()).filter(fits).collect());
        let mut state = self.state();
        if state.at == at {
            (state.checks, state.notices) = (checks, notices);
        }
    }

    /// The places of the hints that the task at `at` can still give, the next one first: those that
    /// were not shown yet, and whose condition is true.
    pub(super) fn hints_left(&self, at: usize) -> Vec<usize> {
        let Some(task) = self.tasks.get(at) else { return vec![] };
        let shown = {
            let state = self.state();
            if state.at == at { state.hints.clone() } else { return vec![] }
        };
        let frame = self.frame_of(at);
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
    pub(super) fn new(crew: &Crew, host: Host, opened: Opened) -> Result<Arc<Practice>, cluster::Error> {
        let teacher = Teacher { place: host.place().clone(), kubeconfig: host.kubeconfig(TEACHER)? };
        let library: Lazily<Library> = LazyLock::new(Box::new(Library::load));
        Ok(Arc::new(Practice {
            path: host.place().root.join(record::FILE),
            host,
            crew: crew.clone(),
            teacher,
            opened,
            table: SkillTable::built_in(),
            library,
            record: Mutex::new(None),
            aside: Mutex::default(),
            drill: Mutex::new(None),
            turn: tokio::sync::Mutex::default(),
            changed: watch::Sender::default(),
        }))
    }

    /// The drill that is open, or the last one of this process.
    pub(super) fn drill(&self) -> Option<Arc<Drill>> {
        self.drill.lock().clone()
    }

    /// A channel that changes whenever the drill looks different.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Wakes followers, and notes for labs whether a drill is open.
    fn announce_change(&self) {
        self.opened.note_drill(self.drill().is_some_and(|drill| drill.is_open()));
        self.changed.send_replace(());
    }

    /// Asks one task after the other, until the last one, the end of the time, or an order.
    async fn run(self: Arc<Practice>, drill: Arc<Drill>, mut orders: mpsc::Receiver<Order>) {
        let ends = Instant::now() + drill.limit;
        let mut last = Phase::Finished;
        for at in 0..drill.tasks.len() {
            drill.begin_task(&self.host, at, ends);
            self.announce_change();
            let end = tokio::select! {
                biased;
                () = drill.await_done(at) => None,
                act = next_act_for(&mut orders, at) => Some(act),
                () = clock::pause_until(ends) => {
                    match drill.is_done(at, Duration::ZERO).await {
                        true => None,
                        false => {
                            last = Phase::TimeOver;
                            Some(Act::Stop)
                        }
                    }
                }
            };
            self.note(&drill, at, end);
            if end == Some(Act::Stop) {
                last = if last == Phase::TimeOver { last } else { Phase::Stopped };
                break;
            }
        }
        // Before the drill is over: a drill that begins in between would use the same namespace.
        let _turn = self.turn.lock().await;
        drill.state().phase = last;
        self.announce_change();
        drop(orders);
        let open = Open { namespace: drill.namespace.clone(), revision_before: drill.revision_before };
        self.take_away_or_sweep(&open).await;
        drill.crew.kill();
    }

    /// Notes what came of a task. `end`: the order that ended it; `None`: it is done.
    fn note(&self, drill: &Drill, at: usize, end: Option<Act>) {
        let Some(task) = drill.tasks.get(at) else { return };
        let outcome = {
            let state = drill.state();
            let saw_last_hint = !task.hints.is_empty() && state.hints.contains(&(task.hints.len() - 1));
            match end {
                None if saw_last_hint => Outcome::Helped,
                None => Outcome::Done,
                Some(Act::Skip) => Outcome::Skipped,
                Some(Act::Stop) => Outcome::Unfinished,
            }
        };
        let (mut due, mut not_kept) = (None, None);
        if outcome != Outcome::Unfinished && !drill.is_rehearsal {
            let met = drill.met.get(at).copied().flatten();
            let kept = self.keep(|record| {
                let now = clock::now();
                match outcome {
                    Outcome::Helped => record.note_helped(&task.skill, met, now),
                    _ => record.note(&task.skill, outcome == Outcome::Done, met, now),
                }
                due = record.skills.get(&task.skill).map(|practised| practised.due);
            });
            if let Err(error) = kept {
                tracing::error!(error = cluster::chain(&error), "cannot write practice.json");
                // A day that is not on the disk is no promise.
                (due, not_kept) = (None, Some(error));
            }
        }
        let mut state = drill.state();
        if outcome != Outcome::Unfinished {
            state.not_kept = not_kept;
        }
        let took_s = state.began.map(|began| began.elapsed().as_secs());
        if let Some(result) = state.results.get_mut(at) {
            *result = TaskResult { outcome, took_s, due };
        }
    }

    /// Changes the record and writes it. Nothing happens before it was read.
    fn keep(&self, change: impl FnOnce(&mut Record)) -> Result<(), crate::Error> {
        // The file is synced to the disk, which takes its time.
        in_place(|| {
            let mut record = self.record.lock();
            let Some(record) = record.as_mut() else { return Ok(()) };
            change(record);
            record.save(&self.path)
        })
    }
}

/// Waits for an order for the task at `at`, and drops those for earlier tasks. If the channel is
/// closed, no order can come any more, and the drill ends.
async fn next_act_for(orders: &mut mpsc::Receiver<Order>, at: usize) -> Act {
    loop {
        match orders.recv().await {
            None => return Act::Stop,
            Some(order) if order.act == Act::Stop || order.at == at => return order.act,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
