//! # Tasks with an owner
//!
//! ## In Kubernetes
//! Components are processes; the kernel ends them, systemd or the kubelet starts them again.
//! ## How this one works
//! A component is a named set of tokio tasks, owned by a [`Crew`]: nothing is detached.
//! [`Crew::stop`] cancels the crew's token, which its tasks watch, and waits for them.
//! [`Crew::kill`] aborts them, and cancels the token once the last one is gone, which is this
//! program's `kill -9`: no task learns that it should stop, so no graceful path begins. A panic of
//! the main task, or of an essential one, ends the crew and never the program; the owner, which
//! waits for that end, kills the other tasks. A crew that is a container's is restarted by the
//! kubelet, with its back-off, as any container; one inside another crew can be
//! [kept](Crew::keep).
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
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Pause between the end of a crew that is kept and its next start. It doubles up to the longest
/// while each crew ends sooner than after the longest pause: what fails at every start would only
/// fill the log.
const START_AGAIN: Duration = Duration::from_secs(1);
const START_AGAIN_MAX: Duration = Duration::from_secs(30);

/// The pause before a kept crew that has run for so long is started again; `last` is the one before
/// that.
fn restart_pause(ran: Duration, last: Duration) -> Duration {
    let next = if ran >= START_AGAIN_MAX { START_AGAIN } else { last * 2 };
    next.clamp(START_AGAIN, START_AGAIN_MAX)
}

/// How a crew ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The main task ended without being asked to, or failed with this message at any time, also
    /// while it stopped.
    Done(Result<(), String>),
    /// A task panicked.
    Panicked(String),
    /// The crew was asked to stop, and ended without an error.
    Stopped,
    /// The crew was aborted.
    Killed,
}

struct Inner {
    tasks: Mutex<Tasks>,
    /// Aborts the main task, of which a crew has one or none, without a detour over the task that
    /// waits for it.
    main: Mutex<Vec<AbortHandle>>,
    life: Arc<Life>,
}

struct Tasks {
    /// `None` once the crew was killed, or has ended after a stop. A stop leaves them here while it
    /// waits for them, so that a kill finds them.
    set: Option<JoinSet<()>>,
    /// The crew was asked to stop.
    is_stopping: bool,
}

impl Tasks {
    /// Where a further task goes. `None`: the crew was asked to stop, or killed.
    fn open(&mut self) -> Option<&mut JoinSet<()>> {
        if self.is_stopping { None } else { self.set.as_mut() }
    }

    /// Ready when every task has ended. After a kill it never is: a waiter looks at the crew's end,
    /// which is recorded then, too.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(set) = &mut self.set else { return Poll::Pending };
        while ready!(set.poll_join_next(context)).is_some() {}
        Poll::Ready(())
    }
}

/// What a crew shares with its tasks. If a helper held [`Inner`], the set of tasks would hold
/// itself, and helpers would outlive the last handle to their crew. An essential task and the
/// waiter of the main task do hold it: they live until they end, or until the crew is killed.
struct Life {
    /// Tasks whose futures are not dropped yet.
    running: AtomicUsize,
    stop: CancellationToken,
    end: watch::Sender<Option<End>>,
}

impl Life {
    /// Cancels the token if the crew has ended and no task is left.
    fn cancel_if_over(&self) {
        if self.running.load(Ordering::SeqCst) == 0 && self.end.borrow().is_some() {
            self.stop.cancel();
        }
    }
}

/// Counts a task until its future is dropped. This drop and a kill both call
/// [`cancel_if_over`](Life::cancel_if_over) after they have changed what it looks at, so the later
/// of the two cancels the token.
struct Running(Arc<Life>);
impl Running {
    fn new(life: Arc<Life>) -> Running {
        life.running.fetch_add(1, Ordering::SeqCst);
        Running(life)
    }
}
impl Drop for Running {
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
    /// Its tasks log inside this span, by which a component's lines get into its container's log.
    span: tracing::Span,
}

impl Crew {
    /// Makes a crew without tasks. What its tasks log belongs to the span in which this is called.
    pub fn new(name: &str) -> Crew {
        let life = Life {
            running: AtomicUsize::new(0),
            stop: CancellationToken::new(),
            end: watch::Sender::new(None),
        };
        let tasks = Tasks { set: Some(JoinSet::new()), is_stopping: false };
        let inner = Inner { tasks: Mutex::new(tasks), main: Mutex::default(), life: Arc::new(life) };
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

    /// Returns the token that is cancelled when the crew is asked to stop, or has ended. After a
    /// kill that is when its last task is gone.
    pub fn token(&self) -> CancellationToken {
        self.inner.life.stop.clone()
    }

    fn tasks(&self) -> parking_lot::MutexGuard<'_, Tasks> {
        self.inner.tasks.lock()
    }

    fn main(&self) -> parking_lot::MutexGuard<'_, Vec<AbortHandle>> {
        self.inner.main.lock()
    }

    /// Adds a helper, which is aborted when the crew is killed. A crew that was asked to stop, or
    /// killed, drops the future instead. A panic ends this helper alone, as it ends one request to
    /// a server.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_boxed(Box::pin(task));
    }

    /// Boxed before anything is wrapped around it: the future of a worker has tens of kilobytes,
    /// and each wrapper moves it.
    fn spawn_boxed(&self, task: BoxFuture<'static, ()>) {
        if let Some(tasks) = self.tasks().open() {
            while tasks.try_join_next().is_some() {} // forget finished helpers
            let running = Running::new(self.inner.life.clone());
            let task = AssertUnwindSafe(task).catch_unwind().map(move |ended| {
                if let Err(panic) = ended {
                    tracing::error!(panic = panic_text(panic), "a task panicked");
                }
                drop(running);
            });
            tasks.spawn(task.instrument(self.span.clone()));
        }
    }

    /// Adds a task without which the others are useless, such as an informer or the worker of a
    /// queue: its panic ends the crew. (Its return does not.)
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
    /// started again after a pause of 1 to 30 seconds.
    pub fn keep(&self, name: &'static str, start: impl Fn(&Crew) + Send + 'static) {
        let stop = self.token();
        self.spawn(async move {
            let mut pause = Duration::ZERO;
            while !stop.is_cancelled() {
                let began = clock::Instant::now();
                let kept = Owned::new(name);
                if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| start(&kept))) {
                    kept.record(&End::Panicked(panic_text(panic)));
                }
                let end = tokio::select! {
                    end = kept.wait() => end,
                    () = stop.cancelled() => return, // informers, for example, would not stop by themselves
                };
                drop(kept);
                log(|| tracing::error!(crew = name, ?end, "a crew ended and is started again"));
                pause = restart_pause(began.elapsed(), pause);
                tokio::select! {
                    () = clock::pause(pause) => {}
                    () = stop.cancelled() => return,
                }
            }
        });
    }

    /// Makes a crew of the same name for a part of the work that ends before the rest does. A stop
    /// or kill of this crew does not reach it: it ends when the returned value is dropped.
    pub fn part(&self) -> Owned {
        Owned(Crew { span: self.span.clone(), ..Crew::new(&self.name) })
    }

    /// Adds the main task: when it returns or fails, the crew ends with its result.
    pub fn spawn_main<F, E>(&self, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + 'static,
    {
        let crew = self.clone();
        if let Some(tasks) = self.tasks().open() {
            let running = Running::new(self.inner.life.clone());
            let main = task_result(Box::pin(task)).map(move |result| {
                drop(running);
                result
            });
            // Made before the task that waits for it: a kill may drop that one before its first
            // poll, and then the set aborts the main task.
            let mut main_task = JoinSet::new();
            let handle = main_task.spawn(main.instrument(self.span.clone()));
            self.main().push(handle);
            tasks.spawn(async move {
                let end = match main_task.join_next().await {
                    Some(Ok(Ok(()))) if crew.inner.life.stop.is_cancelled() => End::Stopped,
                    Some(Ok(result)) => End::Done(result),
                    Some(Err(e)) if e.is_panic() => End::Panicked(panic_text(e.into_panic())),
                    Some(Err(_)) | None => End::Killed,
                };
                crew.finish(end);
            });
        }
    }

    /// Cancels the token. After a kill it waits for the last task: the waiter of the aborted main
    /// task, for example, may come here before the helpers are aborted, and so may a stop while a
    /// task is in its last poll.
    fn cancel(&self) {
        match self.ended() {
            Some(End::Killed) => self.inner.life.cancel_if_over(),
            _ => self.inner.life.stop.cancel(),
        }
    }

    /// Records the end, if it is the first, and then cancels the token. In the other order a main
    /// task that waits for the token could end on another thread meanwhile, and a panic would be
    /// recorded as a good end.
    fn finish(&self, end: End) {
        let is_first = self.record(&end);
        self.cancel();
        if is_first && !matches!(end, End::Stopped) {
            tracing::debug!(crew = &*self.name, ?end, "crew ended"); // last: a subscriber may panic
        }
    }

    /// Returns whether this end is the first.
    fn record(&self, end: &End) -> bool {
        self.inner.life.end.send_if_modified(|current| {
            let is_first = current.is_none();
            if is_first {
                *current = Some(end.clone());
            }
            is_first
        })
    }

    /// Asks every task to end, by [`Crew::token`], and waits until all have. Once the crew has
    /// ended in another way (its main task has returned, or it was killed) the tasks that are left
    /// are aborted: helpers loop for ever, and must not work on without their main task.
    ///
    /// A crew without a main task must not call this from one of its own tasks, which would wait
    /// for itself.
    ///
    /// A second call waits for the same end. If the first call is dropped before that, the crew is
    /// killed.
    pub async fn stop(&self) {
        self.cancel();
        let is_first = {
            let mut tasks = self.tasks();
            !std::mem::replace(&mut tasks.is_stopping, true) && tasks.set.is_some()
        };
        if !is_first {
            self.wait().await; // the first call, or the kill, ends the crew
            return;
        }
        let _killed_if_dropped = KillOnDrop(self);
        tokio::select! {
            () = std::future::poll_fn(|context| self.tasks().poll_ended(context)) => {}
            _ = self.wait() => {}
        }
        self.finish(End::Stopped);
    }

    /// Aborts every task: each ends at its next await point. The token is cancelled when the last
    /// one is gone. If it were cancelled earlier, a task that another thread is running could begin
    /// its graceful path: the store would hand over its leadership, the API server remove its
    /// address from the endpoints.
    pub fn kill(&self) {
        let tasks = self.tasks().set.take();
        let is_first = self.record(&End::Killed);
        self.abort_main();
        drop(tasks); // a JoinSet aborts its tasks when it is dropped
        if is_first {
            log(|| tracing::debug!(crew = &*self.name, "crew was killed"));
        }
    }

    fn abort_main(&self) {
        self.main().iter().for_each(AbortHandle::abort);
        self.inner.life.cancel_if_over();
    }

    /// Returns how the crew ended, if it has.
    pub fn ended(&self) -> Option<End> {
        self.inner.life.end.borrow().clone()
    }

    /// Waits until the crew has ended. Tasks that a kill aborts may still be in their last poll.
    pub async fn wait(&self) -> End {
        let mut end = self.inner.life.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(End::Killed),
            Err(_) => End::Killed,
        }
    }
}

/// Kills a crew whose stop is given up, and aborts what is left of one that has ended.
struct KillOnDrop<'a>(&'a Crew);
impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// A crew that is killed when this is dropped, which is at the latest when the task that holds this
/// is.
pub struct Owned(Crew);
impl Owned {
    /// Makes a crew without tasks, as [`Crew::new`] does.
    pub fn new(name: &str) -> Owned {
        Owned(Crew::new(name))
    }
}
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

/// Logs, and goes on if the subscriber panics: there is no other place to report that. A kill may
/// come from the drop of an [`Owned`] during a panic, where another panic would end the program.
fn log(say: impl FnOnce()) {
    let _ = std::panic::catch_unwind(AssertUnwindSafe(say));
}

async fn task_result<F, E>(task: F) -> Result<(), String>
where
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    task.await.map_err(|e| e.to_string())
}

/// Runs work on one item of many; its panic becomes an error and does not end the work on the
/// others.
///
/// # Errors
/// The text of the panic.
pub async fn guard<F: Future>(work: F) -> Result<F::Output, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(panic_text)
}

/// Returns the text of a panic, for logs and events; `panic` if it has none.
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
mod tests;
