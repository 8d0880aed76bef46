//! The work queue: which keys need a look, each at most once at a time.
use futures::future::{BoxFuture, FutureExt, TryFutureExt};
use lang::chain;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tap::Cause;
use task::{Crew, guard};
use tokio::sync::Notify;

/// How long a failing key waits: `first`, doubled at each further failure, up to `longest`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The pause after the first failure.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

/// client-go's defaults: 5 ms, up to 1000 s.
pub const BACKOFF: Backoff = Backoff { first: Duration::from_millis(5), longest: Duration::from_secs(1000) };
/// A key whose reconciler panicked waits at least this long: a panic is a bug, which time seldom
/// cures.
const PANIC_PAUSE: Duration = Duration::from_secs(1);
/// No key waits longer than this for its next look. The look finds out how much is left: so a key
/// whose object is gone is forgotten within the hour, and does not stay until a deadline that may
/// be years away.
const LONGEST: Duration = Duration::from_secs(3600);
/// Failures in a row from which on they are logged as warnings. The first ones are as a rule a
/// write that met a newer version of the object, while the cache is milliseconds behind.
const WARN_FROM: u32 = 4;

/// An error of a reconciler, which is logged with its causes.
type Fault = Box<dyn std::error::Error + Send + Sync>;
/// A reconciler without its types: workers are compiled once for all reconcilers of a room.
type Reconcile<K> = Arc<dyn Fn(K, Option<Cause>) -> BoxFuture<'static, Result<Outcome, Fault>> + Send + Sync>;
/// What goes before what: of the keys that wait, the one with the smallest rank is handed out
/// first.
type Rank<K> = Box<dyn Fn(&K) -> i64 + Send + Sync>;
/// Tells people that the reconciler panicked on a key, with the panic's text.
type PanicReport<K> = Arc<dyn Fn(&K, &str) + Send + Sync>;

/// Finds keys that come back again and again without a pause. On a paused clock such a key may keep
/// time from going on, and then its history would never end.
#[cfg(any(test, feature = "testing"))]
pub mod spin {
    use ::clock::Instant;
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::time::Duration;

    /// One key has no reason to be taken out more often within [`WITHIN`]: simulated worlds make
    /// some hundred changes in that time, of many objects. A key that comes back after one request
    /// gets there in two seconds, because a simulated request takes a millisecond each way.
    const MOST: u32 = 1000;
    const WITHIN: Duration = Duration::from_secs(10);

    thread_local! {
        static FOUND: Cell<bool> = const { Cell::new(false) };
    }

    /// Makes the queues of this thread panic, from now on, when a key spins, which is the end of
    /// the crew.
    pub fn find() {
        FOUND.set(true);
    }

    /// Counts one more time that the key is taken out. `taken`: since when, and how often.
    pub(super) fn count<K: Ord + Clone + Debug>(taken: &mut BTreeMap<K, (Instant, u32)>, key: &K) {
        if !FOUND.get() {
            return;
        }
        let now = Instant::now();
        let (since, times) = taken.entry(key.clone()).or_insert((now, 0));
        if now.duration_since(*since) >= WITHIN {
            (*since, *times) = (now, 0);
        }
        *times += 1;
        assert!(*times <= MOST, "{key:?} was taken out {MOST} times within {:?}", now.duration_since(*since));
    }
}

struct State<K> {
    /// Keys to hand out, by rank, and of one rank the oldest first.
    waiting: BTreeMap<(i64, u64), K>,
    /// How many keys have been put there so far.
    turns: u64,
    /// Keys that have to be looked at and were not handed out since, with their newest cause.
    dirty: BTreeMap<K, Option<Cause>>,
    /// Keys that a worker holds.
    busy: BTreeSet<K>,
    /// Keys that are added after a delay, with their time and cause: each once, at the earliest
    /// time that was asked for.
    delayed: BTreeMap<K, (clock::Instant, Option<Cause>)>,
    /// The keys of `delayed` by time.
    agenda: BTreeSet<(clock::Instant, K)>,
    /// The task that waits for the first entry of the agenda runs.
    timed: bool,
    /// The clock's scale for which all of the agenda was put down; `None`: there were several.
    scale: Option<u32>,
    failures: BTreeMap<K, u32>,
    rank: Option<Rank<K>>,
    panics: Option<PanicReport<K>>,
    #[cfg(any(test, feature = "testing"))]
    taken: BTreeMap<K, (clock::Instant, u32)>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    news: Notify,
    /// The agenda begins earlier than before.
    sooner: Notify,
    crew: Crew,
    backoff: Backoff,
}

/// Keys with their causes. A key that is added while a worker holds it comes back when the worker
/// is done. Clones share the queue.
pub struct WorkQueue<K>(Arc<Shared<K>>);

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        WorkQueue(self.0.clone())
    }
}

/// The queue, as long as it has workers. After that it hands out no key any more and drops the
/// closures of [`rank_by`](WorkQueue::rank_by) and [`on_panic`](WorkQueue::on_panic): they may hold
/// the queue's owner, and the queue and its owner would keep each other in memory forever.
struct Worked<K>(WorkQueue<K>);

impl<K> Drop for Worked<K> {
    fn drop(&mut self) {
        let closures = {
            let mut state = self.0.0.state.lock();
            (state.rank.take(), state.panics.take())
        };
        drop(closures); // after the lock: other queues may go with them
    }
}

/// What a reconciler wants next for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, until something changes.
    Done,
    /// Another look after this much of the cluster's time.
    After(Duration),
    /// Another look after this much real time: a pause before something is tried again, or a time
    /// of the wall clock.
    Pause(Duration),
}

impl<K: Ord + Clone + Debug + Send + 'static> WorkQueue<K> {
    /// Makes a queue whose delays and workers belong to the crew. Failing keys wait as in
    /// client-go, up to 1000 s.
    pub fn new(crew: &Crew) -> WorkQueue<K> {
        WorkQueue::retrying(crew, BACKOFF)
    }

    /// Makes a queue whose failing keys wait this long.
    pub fn retrying(crew: &Crew, backoff: Backoff) -> WorkQueue<K> {
        let state = State {
            waiting: BTreeMap::new(),
            turns: 0,
            dirty: BTreeMap::new(),
            busy: BTreeSet::new(),
            delayed: BTreeMap::new(),
            agenda: BTreeSet::new(),
            timed: false,
            scale: None,
            failures: BTreeMap::new(),
            rank: None,
            panics: None,
            #[cfg(any(test, feature = "testing"))]
            taken: BTreeMap::new(),
        };
        WorkQueue(Arc::new(Shared {
            state: Mutex::new(state),
            news: Notify::new(),
            sooner: Notify::new(),
            crew: crew.clone(),
            backoff,
        }))
    }

    /// Sets the order in which keys that wait are handed out. A key is ranked when it begins to
    /// wait. The first call counts. To be called before the workers start: the closure is dropped
    /// when they have ended.
    pub fn rank_by(&self, rank: impl Fn(&K) -> i64 + Send + Sync + 'static) {
        self.lock().rank.get_or_insert(Box::new(rank));
    }

    /// Puts a key behind those of its rank and wakes a worker.
    fn line_up(&self, state: &mut State<K>, key: K) {
        let rank = state.rank.as_ref().map_or(0, |rank| rank(&key));
        state.turns += 1;
        state.waiting.insert((rank, state.turns), key);
        self.0.news.notify_one();
    }

    /// Sets what is called when the reconciler panics, beside the line in the log: usually it
    /// writes an Event on the key's object. The first call counts. To be called before the workers
    /// start: the closure is dropped when they have ended.
    pub fn on_panic(&self, report: impl Fn(&K, &str) + Send + Sync + 'static) {
        self.lock().panics.get_or_insert(Arc::new(report)); // a second would report again
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock()
    }

    /// Asks for a look at the key.
    pub fn add(&self, key: K, cause: Option<Cause>) {
        self.put(&mut self.lock(), key, cause);
    }

    fn put(&self, state: &mut State<K>, key: K, cause: Option<Cause>) {
        if let Some(known) = state.dirty.get_mut(&key) {
            *known = cause.or(known.take());
            return;
        }
        state.dirty.insert(key.clone(), cause);
        if !state.busy.contains(&key) {
            self.line_up(state, key);
        }
    }

    /// Asks for a look after a duration of the cluster's time, an hour at most. A change of the
    /// clock's scale brings every delayed key at once: its look finds out how much is left.
    ///
    /// A key that comes earlier anyway is not put down again, as in client-go: a reconciler that
    /// always asks for another look would have one more on its way after every change. One task
    /// waits for all delayed keys, so a key costs one entry however often it is put down.
    pub fn add_after(&self, key: K, cause: Option<Cause>, delay: Duration) {
        let scale = clock::scale(); // first: a change in between is an early look, and no late one
        self.put_down(key, cause, clock::scaled(delay.min(LONGEST)), scale);
    }

    /// As [`add_after`](WorkQueue::add_after), in real time.
    pub fn add_after_pause(&self, key: K, cause: Option<Cause>, pause: Duration) {
        self.put_down(key, cause, pause.min(LONGEST), clock::scale());
    }

    fn put_down(&self, key: K, cause: Option<Cause>, real: Duration, scale: u32) {
        let due = clock::Instant::now() + real;
        let start = {
            let mut state = self.lock();
            let known = state.delayed.get(&key).map(|(at, _)| *at);
            if known.is_some_and(|at| at <= due) {
                return;
            }
            if let Some(at) = known {
                state.agenda.remove(&(at, key.clone()));
            }
            let same = state.agenda.is_empty() || state.scale == Some(scale);
            state.scale = same.then_some(scale);
            state.delayed.insert(key.clone(), (due, cause));
            state.agenda.insert((due, key));
            !std::mem::replace(&mut state.timed, true)
        };
        match start {
            false => self.0.sooner.notify_one(),
            true => {
                let queue = self.clone();
                self.0.crew.spawn_essential(async move { queue.keep_time().await });
            }
        }
    }

    /// Adds delayed keys when they are due, or the clock's scale changes; ends when none is left.
    async fn keep_time(&self) {
        loop {
            let changed = clock::changed();
            let next = {
                let mut state = self.lock();
                let now = clock::Instant::now();
                // The news of a change is not enough: another wake-up may hide it.
                let scale = Some(clock::scale());
                let all = std::mem::replace(&mut state.scale, scale) != scale;
                while state.agenda.first().is_some_and(|(at, _)| all || *at <= now) {
                    let Some((_, key)) = state.agenda.pop_first() else { break };
                    let cause = state.delayed.remove(&key).and_then(|(_, cause)| cause);
                    self.put(&mut state, key, cause);
                }
                state.timed = !state.agenda.is_empty();
                state.agenda.first().map(|(at, _)| *at)
            };
            let Some(next) = next else { return };
            tokio::select! {
                biased; // a seed of a simulation has to be one history
                () = clock::pause_until(next) => {}
                () = self.0.sooner.notified() => {}
                () = changed => {}
            }
        }
    }

    /// Waits for a key. The worker must call [`done`](WorkQueue::done) with it.
    pub async fn next(&self) -> (K, Option<Cause>) {
        loop {
            let news = self.0.news.notified();
            {
                let mut state = self.lock();
                if let Some((_, key)) = state.waiting.pop_first() {
                    #[cfg(any(test, feature = "testing"))]
                    spin::count(&mut state.taken, &key);
                    let cause = state.dirty.remove(&key).flatten();
                    state.busy.insert(key.clone());
                    if !state.waiting.is_empty() {
                        self.0.news.notify_one();
                    }
                    return (key, cause);
                }
            }
            news.await;
        }
    }

    /// Notes that the worker has finished with the key.
    pub fn done(&self, key: &K) {
        let mut state = self.lock();
        state.busy.remove(key);
        if state.dirty.contains_key(key) {
            self.line_up(&mut state, key.clone());
        }
    }

    /// Counts a failure of the key. Returns how many there were in a row, and the pause before the
    /// next try.
    fn failed(&self, key: &K) -> (u32, Duration) {
        let mut state = self.lock();
        let failures = state.failures.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        let Backoff { first, longest } = self.0.backoff;
        (*failures, first.saturating_mul(1 << (*failures - 1).min(30)).min(longest))
    }

    fn forget(&self, key: &K) {
        self.lock().failures.remove(key);
    }

    /// Starts workers that reconcile keys until the crew ends.
    ///
    /// # Errors
    /// An error or a panic of `reconcile` brings the key back after a pause that doubles each time
    /// (a panic: after 1 s at least); the other keys go on. Errors are logged, from the fourth in a
    /// row on as warnings.
    pub fn work<F, R, E>(&self, name: &'static str, workers: usize, reconcile: F)
    where
        F: Fn(K, Option<Cause>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Outcome, E>> + Send + 'static,
        E: Into<Fault> + Send + 'static,
        K: Sync,
    {
        self.start_workers(name, workers, &untyped(reconcile));
    }

    fn start_workers(&self, name: &'static str, workers: usize, reconcile: &Reconcile<K>)
    where
        K: Sync,
    {
        let worked = Arc::new(Worked(self.clone()));
        for _ in 0..workers {
            let (worked, reconcile) = (worked.clone(), reconcile.clone());
            self.0.crew.spawn_essential(async move {
                let queue = &worked.0;
                loop {
                    let (key, cause) = queue.next().await;
                    queue.reconcile_one(name, key, cause, &reconcile).await;
                }
            });
        }
    }

    /// Starts a worker for every key that has work, as the kubelet's pod workers: a key that takes
    /// long holds up no other. There are as many tasks as keys that are being reconciled, so the
    /// caller bounds the keys.
    ///
    /// # Errors
    /// Those of `reconcile` are handled as in [`WorkQueue::work`].
    pub fn work_each<F, R, E>(&self, name: &'static str, reconcile: F)
    where
        F: Fn(K, Option<Cause>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Outcome, E>> + Send + 'static,
        E: Into<Fault> + Send + 'static,
        K: Sync,
    {
        let (worked, reconcile) = (Worked(self.clone()), untyped(reconcile));
        self.0.crew.spawn_essential(async move {
            let queue = &worked.0;
            loop {
                let (key, cause) = queue.next().await;
                let (worker, reconcile) = (queue.clone(), reconcile.clone());
                queue.0.crew.spawn_essential(async move {
                    worker.reconcile_one(name, key, cause, &reconcile).await;
                });
            }
        });
    }

    /// Reconciles a key that [`next`](WorkQueue::next) handed out, and hands it back.
    async fn reconcile_one(
        &self,
        name: &'static str,
        key: K,
        cause: Option<Cause>,
        reconcile: &Reconcile<K>,
    ) {
        let look = async { reconcile(key.clone(), cause.clone()).await }; // the call may panic, too
        let ended = match guard(look).await {
            Ok(ended) => ended,
            Err(panic) => {
                let pause = self.failed(&key).1.max(PANIC_PAUSE);
                tracing::error!(controller = name, ?key, panic, ?pause, "reconcile panicked, trying again");
                let report = self.lock().panics.clone();
                if let Some(report) = report {
                    report(&key, &panic);
                }
                self.add_after_pause(key.clone(), cause, pause);
                self.done(&key);
                return;
            }
        };
        match ended {
            Ok(outcome) => {
                self.forget(&key);
                match outcome {
                    Outcome::Done => {}
                    Outcome::After(delay) => self.add_after(key.clone(), cause, delay),
                    Outcome::Pause(pause) => self.add_after_pause(key.clone(), cause, pause),
                }
            }
            Err(error) => {
                let (failures, pause) = self.failed(&key);
                let error = chain(&*error);
                match failures < WARN_FROM {
                    true => {
                        tracing::debug!(
                            controller = name,
                            ?key,
                            error,
                            ?pause,
                            "reconcile failed, trying again"
                        )
                    }
                    false => {
                        tracing::warn!(
                            controller = name,
                            ?key,
                            error,
                            failures,
                            ?pause,
                            "reconcile failed, trying again"
                        );
                    }
                }
                self.add_after_pause(key.clone(), cause, pause);
            }
        }
        self.done(&key);
    }
}

/// Boxes the future of each look: it is large, and a worker without a key has none.
fn untyped<K, F, R, E>(reconcile: F) -> Reconcile<K>
where
    F: Fn(K, Option<Cause>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Outcome, E>> + Send + 'static,
    E: Into<Fault> + 'static,
    K: 'static,
{
    Arc::new(move |key: K, cause| reconcile(key, cause).err_into::<Fault>().boxed())
}

#[cfg(test)]
mod tests;
