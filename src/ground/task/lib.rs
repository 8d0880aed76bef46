//! # Tasks with an owner
//!
//! ## In Kubernetes
//! Components are processes; the kernel ends them, systemd or the kubelet starts them again.
//! ## How this one works
//! A component is a named set of tokio tasks, owned by a [`Crew`]: nothing is detached.
//! [`Crew::stop`] asks and waits; [`Crew::kill`] aborts, and cancels the token when the main task
//! is gone, which is this program's `kill -9`: the main task never learns that it should stop, so
//! its graceful path is skipped. A panic of its main task, or of another one that it cannot do
//! without, is the end of the crew, never of the program; the owner, who waits for that end, kills
//! what is left. Who restarts a crew, and with which back-off, is the kubelet's business, as for
//! any container.
//! ## Left out
//! Memory isolation: components share an address space, so a crew cannot be killed in the middle of
//! a poll.
//! ## Read next
//! `cluster`, which runs components as containers whose runtime is this module.

#![warn(missing_docs)]
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// A crew that is kept is started again this long after its end.
const START_AGAIN: Duration = Duration::from_secs(1);

/// How a crew ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The main task ended by itself, or failed with this message, be it while it stopped.
    Done(Result<(), String>),
    /// A task panicked.
    Panicked(String),
    /// It was asked to stop, and ended without an error.
    Stopped,
    /// It was aborted.
    Killed,
}

struct Inner {
    tasks: Mutex<Option<JoinSet<()>>>,
    /// The main task (there is one, as a rule). A stop takes `tasks`, and a kill may come while it
    /// waits for them.
    main: Mutex<Vec<AbortHandle>>,
    /// Main tasks that are not gone.
    running: AtomicUsize,
    stop: CancellationToken,
    end: watch::Sender<Option<End>>,
}

impl Inner {
    /// Cancels the token if the crew has ended and no main task is left.
    fn cancel_if_over(&self) {
        if self.running.load(Ordering::SeqCst) == 0 && self.end.borrow().is_some() {
            self.stop.cancel();
        }
    }
}

/// Counts a main task until its future is gone. It and a kill both call
/// [`cancel_if_over`](Inner::cancel_if_over) after they have changed what it looks at, so the later
/// of the two cancels the token.
struct MainGone(Arc<Inner>);
impl MainGone {
    fn new(inner: Arc<Inner>) -> MainGone {
        inner.running.fetch_add(1, Ordering::SeqCst);
        MainGone(inner)
    }
}
impl Drop for MainGone {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.cancel_if_over();
    }
}

/// A named set of tasks with one life. Clones are handles to the same crew.
#[derive(Clone)]
pub struct Crew {
    name: Arc<str>,
    inner: Arc<Inner>,
    /// What its tasks say is said inside this span: so a component's log lines find their way to
    /// its container's log.
    span: tracing::Span,
}

impl Crew {
    /// Makes a crew without tasks. What its tasks log belongs to the span in which this is called.
    pub fn new(name: &str) -> Crew {
        let inner = Inner {
            tasks: Mutex::new(Some(JoinSet::new())),
            main: Mutex::default(),
            running: AtomicUsize::new(0),
            stop: CancellationToken::new(),
            end: watch::Sender::new(None),
        };
        Crew { name: name.into(), inner: Arc::new(inner), span: tracing::Span::current() }
    }

    /// The name under which it logs, e.g. `kube-scheduler`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if both are handles to the same crew.
    pub fn is(&self, other: &Crew) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Cancelled when the crew is asked to stop.
    pub fn token(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    fn tasks(&self) -> parking_lot::MutexGuard<'_, Option<JoinSet<()>>> {
        self.inner.tasks.lock()
    }

    fn main(&self) -> parking_lot::MutexGuard<'_, Vec<AbortHandle>> {
        self.inner.main.lock()
    }

    /// Adds a helper. It is aborted when the crew is killed. A crew that was asked to stop, or
    /// killed, takes no more. A panic is the end of this helper alone, as of one request to a
    /// server.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_boxed(Box::pin(task));
    }

    /// Boxed before anything is wrapped around it: the future of a worker has tens of kilobytes,
    /// and each wrapper moves it.
    fn spawn_boxed(&self, task: BoxFuture<'static, ()>) {
        if let Some(tasks) = self.tasks().as_mut() {
            while tasks.try_join_next().is_some() {} // forget finished helpers
            let task = AssertUnwindSafe(task).catch_unwind().map(|ended| {
                if let Err(panic) = ended {
                    tracing::error!(panic = panic_text(panic), "a task panicked");
                }
            });
            tasks.spawn(task.instrument(self.span.clone()));
        }
    }

    /// Adds a task without which the others are good for nothing, an informer or the worker of a
    /// queue: its panic is the end of the crew.
    pub fn spawn_essential<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_essential_boxed(Box::pin(task));
    }

    fn spawn_essential_boxed(&self, task: BoxFuture<'static, ()>) {
        let crew = self.clone();
        self.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                let text = panic_text(panic);
                // The log line comes after the end: a subscriber may panic too.
                crew.finish(End::Panicked(text.clone()));
                tracing::error!(crew = &*crew.name, panic = text, "a task panicked, which ends its crew");
            }
        });
    }

    /// Runs tasks in a crew of their own, which is killed when this one is killed or asked to stop.
    /// When it ends otherwise, because an essential task or `start` panicked for example, it is
    /// started again after a pause.
    pub fn keep(&self, name: &'static str, start: impl Fn(&Crew) + Send + 'static) {
        let stop = self.token();
        self.spawn(async move {
            while !stop.is_cancelled() {
                let kept = Owned(Crew::new(name));
                if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| start(&kept))) {
                    kept.record(&End::Panicked(panic_text(panic)));
                }
                let end = tokio::select! {
                    end = kept.wait() => end,
                    () = stop.cancelled() => return, // informers, for example, would not stop by themselves
                };
                drop(kept);
                let say = || tracing::error!(crew = name, ?end, "a crew ended and is started again");
                // The subscriber may panic too; then there is nobody to tell that.
                let _ = std::panic::catch_unwind(AssertUnwindSafe(say));
                clock::pause(START_AGAIN).await;
            }
        });
    }

    /// A crew of the same name for a part of the work that ends before the rest does. It hears of
    /// no stop of this one.
    pub fn part(&self) -> Owned {
        Owned(Crew { span: self.span.clone(), ..Crew::new(&self.name) })
    }

    /// Adds the task whose end is the end of the crew, well or with an error.
    pub fn spawn_main<F, E>(&self, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + 'static,
    {
        let crew = self.clone();
        if let Some(tasks) = self.tasks().as_mut() {
            let gone = MainGone::new(self.inner.clone());
            let main = task_result(Box::pin(task)).map(|result| {
                drop(gone);
                result
            });
            let handle = tokio::spawn(main.instrument(self.span.clone()));
            self.main().push(handle.abort_handle());
            // Made out here: a kill may come before the first poll of what stands below.
            let guard = AbortOnDrop(handle.abort_handle());
            tasks.spawn(async move {
                let _guard = guard;
                let end = match handle.await {
                    Ok(Ok(())) if crew.inner.stop.is_cancelled() => End::Stopped,
                    Ok(result) => End::Done(result),
                    Err(e) if e.is_panic() => End::Panicked(panic_text(e.into_panic())),
                    Err(_) => End::Killed,
                };
                crew.finish(end);
            });
        }
    }

    /// Records the end, if it is the first, and then cancels the token. In the other order a main
    /// task that waits for the token could end on another thread meanwhile, and a panic would be
    /// recorded as a good end.
    fn finish(&self, end: End) {
        let is_first = self.record(&end);
        self.inner.stop.cancel();
        if is_first && !matches!(end, End::Stopped) {
            tracing::debug!(crew = &*self.name, ?end, "crew ended"); // last: a subscriber may panic
        }
    }

    /// Returns whether this end is the first.
    fn record(&self, end: &End) -> bool {
        self.inner.end.send_if_modified(|current| {
            let is_first = current.is_none();
            if is_first {
                *current = Some(end.clone());
            }
            is_first
        })
    }

    /// Asks every task to end and waits until all have. Tasks watch [`Crew::token`]. Once the crew
    /// has ended otherwise (its main task is through, or it is killed) this does not wait for the
    /// rest: helpers loop for ever, and must not work on without their main task.
    ///
    /// A second call waits for the same end. If the first call is dropped before that, the crew is
    /// killed.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        let Some(mut tasks) = self.tasks().take() else {
            self.wait().await; // the call that took the tasks ends the crew
            return;
        };
        let _killed_if_dropped = KillOnDrop(self);
        tokio::select! {
            () = async { while tasks.join_next().await.is_some() {} } => {}
            _ = self.wait() => {}
        }
        self.finish(End::Stopped);
    }

    /// Aborts every task: each ends at its next await point. The token is cancelled when the main
    /// task is gone. If it were cancelled earlier, a main task that another thread is running could
    /// begin its graceful path, such as handing over the leadership of a store.
    pub fn kill(&self) {
        let tasks = self.tasks().take();
        let is_first = self.record(&End::Killed);
        self.abort_main();
        drop(tasks); // a JoinSet aborts its tasks when it is dropped
        if is_first {
            tracing::debug!(crew = &*self.name, "crew was killed");
        }
    }

    fn abort_main(&self) {
        self.main().iter().for_each(AbortHandle::abort);
        self.inner.cancel_if_over();
    }

    /// How the crew ended, if it has.
    pub fn ended(&self) -> Option<End> {
        self.inner.end.borrow().clone()
    }

    /// Waits for the end.
    pub async fn wait(&self) -> End {
        let mut end = self.inner.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(End::Killed),
            Err(_) => End::Killed,
        }
    }
}

/// Ends a crew that has not ended otherwise.
struct KillOnDrop<'a>(&'a Crew);
impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        self.0.record(&End::Killed);
        self.0.abort_main();
    }
}

/// A crew that is killed when this is dropped: with the task that has it, at the latest.
pub struct Owned(Crew);
impl Drop for Owned {
    fn drop(&mut self) {
        self.0.kill();
    }
}
impl std::ops::Deref for Owned {
    type Target = Crew;
    fn deref(&self) -> &Crew {
        &self.0
    }
}

struct AbortOnDrop(AbortHandle);
impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn task_result<F, E>(task: F) -> Result<(), String>
where
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    task.await.map_err(|e| e.to_string())
}

/// Runs work on one item of many, so that its panic does not end the work on the others.
///
/// # Errors
/// The text of the panic.
pub async fn guard<F: Future>(work: F) -> Result<F::Output, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(panic_text)
}

/// The text of a panic, for logs and events.
pub fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_string()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "panic".to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_crew_and_tells() {
        let crew = Crew::new("t");
        crew.spawn_main(async {
            assert!(std::hint::black_box(false), "boom");
            Ok::<(), String>(())
        });
        assert_eq!(crew.wait().await, End::Panicked("boom".into()));
    }

    /// Kills a crew whose main task waits for the request to stop; returns whether its graceful
    /// path began.
    async fn is_graceful_when_killed() -> bool {
        let crew = Crew::new("t");
        let token = crew.token();
        let (waits, is_waiting) = tokio::sync::oneshot::channel();
        let (graceful, began) = tokio::sync::oneshot::channel();
        crew.spawn_main(async move {
            let mut asked = std::pin::pin!(token.cancelled());
            let mut waits = Some(waits);
            std::future::poll_fn(|context| {
                let poll = asked.as_mut().poll(context);
                if let Some(waits) = waits.take() {
                    let _ = waits.send(());
                }
                poll
            })
            .await;
            let _ = graceful.send(());
            Ok::<(), String>(())
        });
        is_waiting.await.unwrap();
        crew.kill();
        assert_eq!(crew.wait().await, End::Killed);
        began.await.is_ok() // an error once the task is dropped
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_kill_skips_the_graceful_path_of_a_task_that_is_running() {
        let crew = Crew::new("t");
        let token = crew.token();
        let (runs, is_running) = tokio::sync::oneshot::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        crew.spawn_main(async move {
            let _ = runs.send(());
            let _ = wait.recv(); // in the middle of a poll
            let _ = tell.send(token.is_cancelled());
            Ok::<(), String>(())
        });
        is_running.await.unwrap();
        crew.kill();
        assert_eq!(crew.ended(), Some(End::Killed));
        drop(go);
        assert_eq!(told.recv(), Ok(false), "it hears of the stop");
        crew.token().cancelled().await; // others do when it is gone
    }

    #[tokio::test]
    async fn a_kill_skips_the_graceful_path() {
        assert!(!is_graceful_when_killed().await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_kill_skips_the_graceful_path_on_other_threads() {
        for round in 0..200 {
            assert!(!is_graceful_when_killed().await, "round {round}");
        }
    }

    /// A task that hears of the stop may end at once, and well.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panic_that_stops_the_main_task_is_the_end() {
        for round in 0..300 {
            let crew = Crew::new("t");
            let ready = Arc::new(tokio::sync::Barrier::new(2));
            let (token, main) = (crew.token(), ready.clone());
            crew.spawn_main(async move {
                main.wait().await;
                token.cancelled().await;
                Ok::<(), String>(())
            });
            // Many wait for the token: to wake them takes time.
            for _ in 0..100 {
                let token = crew.token();
                crew.spawn(async move { token.cancelled().await });
            }
            crew.spawn_essential(async move {
                ready.wait().await;
                tokio::task::yield_now().await;
                assert!(std::hint::black_box(false), "boom");
            });
            assert_eq!(crew.wait().await, End::Panicked("boom".into()), "round {round}");
        }
    }

    #[tokio::test]
    async fn a_panic_of_an_essential_task_is_the_end_and_that_of_a_helper_is_not() {
        let crew = Crew::new("t");
        crew.spawn_main(std::future::pending::<Result<(), String>>());
        crew.spawn(async { assert!(std::hint::black_box(false), "small") });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(crew.ended(), None);
        crew.spawn_essential(async { assert!(std::hint::black_box(false), "boom") });
        assert_eq!(crew.wait().await, End::Panicked("boom".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crew_that_is_kept_is_started_again_and_ends_with_its_owner() {
        let (owner, starts, alive) = (Crew::new("t"), Arc::new(Mutex::new(0)), Arc::new(()));
        let (counted, held) = (starts.clone(), alive.clone());
        owner.keep("kept", move |crew| {
            let mut starts = counted.lock();
            *starts += 1;
            let (is_first, held) = (*starts == 1, held.clone());
            crew.spawn_essential(async move {
                let _held = held;
                assert!(!is_first, "boom");
                std::future::pending::<()>().await;
            });
        });
        tokio::time::sleep(START_AGAIN * 3).await;
        assert_eq!(*starts.lock(), 2, "it stays when nothing panics");
        assert_eq!(owner.ended(), None);
        owner.kill();
        while Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await; // an aborted task is dropped at its next turn
        }
    }

    /// The levels of what is logged.
    #[derive(Clone, Default)]
    struct Levels(Arc<Mutex<Vec<tracing::Level>>>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Levels {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            self.0.lock().push(*event.metadata().level());
        }
    }

    #[tokio::test]
    async fn a_panic_of_an_essential_task_is_logged_as_an_error() {
        use tracing_subscriber::layer::SubscriberExt;
        let levels = Levels::default();
        // With a single subscriber, tracing asks the thread that meets a place in the code first,
        // which may be another test's.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(levels.clone()));
        let crew = Crew::new("t");
        crew.spawn_essential(async { assert!(std::hint::black_box(false), "boom") });
        crew.wait().await;
        assert!(levels.0.lock().contains(&tracing::Level::ERROR));
    }

    /// A subscriber that panics at every event, as one may that cannot write.
    struct Panics;

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Panics {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            assert!(std::hint::black_box(false), "cannot write");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_crew_that_is_kept_is_started_again_whatever_panics() {
        use tracing_subscriber::layer::SubscriberExt;
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(Panics));
        let (owner, starts) = (Crew::new("t"), Arc::new(Mutex::new(0)));
        let counted = starts.clone();
        owner.keep("kept", move |crew| {
            let round = {
                let mut starts = counted.lock();
                *starts += 1;
                *starts
            };
            assert!(round != 1, "boom");
            crew.spawn_essential(async move {
                assert!(round != 2, "boom");
                std::future::pending::<()>().await;
            });
        });
        tokio::time::sleep(START_AGAIN * 5).await;
        assert_eq!(*starts.lock(), 3);
        drop(subscriber); // the kill is logged, too
        owner.kill();
    }

    #[tokio::test]
    async fn a_panic_of_an_essential_task_is_the_end_also_if_it_cannot_be_logged() {
        use tracing_subscriber::layer::SubscriberExt;
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(Panics));
        let crew = Crew::new("t");
        crew.spawn_essential(async { assert!(std::hint::black_box(false), "boom") });
        assert_eq!(crew.wait().await, End::Panicked("boom".into()));
    }

    #[tokio::test]
    async fn a_kill_before_the_first_poll_leaves_no_main_task_behind() {
        let ran = Arc::new(Mutex::new(0));
        for killed_before in [true, false] {
            let (crew, seen) = (Crew::new("t"), ran.clone());
            if killed_before {
                crew.kill();
            }
            crew.spawn_main(async move {
                tokio::task::yield_now().await;
                *seen.lock() += 1;
                Ok::<(), String>(())
            });
            crew.kill();
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*ran.lock(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn helpers_end_with_the_main_task_and_with_a_kill() {
        let patience = std::time::Duration::from_secs(60);
        for killed in [false, true] {
            let crew = Crew::new("t");
            let (token, alive) = (crew.token(), Arc::new(()));
            let held = alive.clone();
            crew.spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
            crew.spawn_main(async move {
                match killed {
                    true => std::future::pending().await,
                    false => token.cancelled().await,
                }
                Ok::<(), String>(())
            });
            let stopped = async {
                let (stop, kill) = (crew.stop(), async {
                    if killed {
                        crew.kill()
                    }
                });
                tokio::join!(stop, kill);
            };
            tokio::time::timeout(patience, stopped).await.expect("it waits for a helper that never ends");
            assert_eq!(crew.ended(), Some(if killed { End::Killed } else { End::Stopped }));
            while Arc::strong_count(&alive) > 1 {
                tokio::task::yield_now().await; // an aborted task is dropped at its next turn
            }
        }
    }

    /// A pod that is deleted twice, the second time with a shorter grace period.
    #[tokio::test]
    async fn a_second_stop_waits_for_the_end_of_the_first() {
        let crew = Crew::new("t");
        let (token, graceful) = (crew.token(), Arc::new(Mutex::new(false)));
        let seen = graceful.clone();
        crew.spawn_main(async move {
            token.cancelled().await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            *seen.lock() = true;
            Ok::<(), String>(())
        });
        tokio::task::yield_now().await;
        let second = async {
            crew.stop().await;
            assert!(*graceful.lock(), "it returned before the crew had ended");
        };
        tokio::join!(crew.stop(), second);
        assert_eq!(crew.ended(), Some(End::Stopped));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_that_is_given_up_kills() {
        let crew = Crew::new("t");
        let alive = Arc::new(());
        let held = alive.clone();
        crew.spawn_main(async move {
            let _held = held;
            std::future::pending::<Result<(), String>>().await
        });
        let patience = std::time::Duration::from_secs(5);
        assert!(tokio::time::timeout(patience, crew.stop()).await.is_err());
        assert_eq!(tokio::time::timeout(patience, crew.wait()).await, Ok(End::Killed));
        while Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await; // an aborted task is dropped at its next turn
        }
    }

    /// The container of a store that cannot write its last entries exits with 1, and its message
    /// says why.
    #[tokio::test]
    async fn a_main_task_that_fails_while_it_stops_has_failed() {
        let crew = Crew::new("t");
        let token = crew.token();
        crew.spawn_main(async move {
            token.cancelled().await;
            Err::<(), _>("the disk is full")
        });
        crew.stop().await;
        assert_eq!(crew.ended(), Some(End::Done(Err("the disk is full".into()))));
    }

    #[tokio::test]
    async fn stop_waits_for_everyone() {
        let crew = Crew::new("t");
        let (token, done) = (crew.token(), Arc::new(Mutex::new(0)));
        for _ in 0..3 {
            let (token, done) = (token.clone(), done.clone());
            crew.spawn(async move {
                token.cancelled().await;
                *done.lock() += 1;
            });
        }
        crew.stop().await;
        assert_eq!(*done.lock(), 3);
        assert_eq!(crew.ended(), Some(End::Stopped));
    }
}
