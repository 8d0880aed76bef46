//! The loop behind every list and watch, without the type of its objects: it is compiled here,
//! once.

use super::objects::{OBJECTS_MAX, too_many_objects};
use super::raw::{Raw, Requests};
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use futures::stream::{BoxStream, StreamExt};
use kube::runtime::watcher;
use std::time::Duration;

/// The events of kube-rs' watcher of one kind.
pub(super) type Events = BoxStream<'static, watcher::Result<watcher::Event<Raw>>>;

/// The list and the watch of a [`Reflector`](super::Reflector): its pauses, restarts and bounds.
pub(super) struct Watch {
    /// What the log calls the kind.
    pub kind: String,
    stream: Events,
    /// Makes a stream that begins with a list. `None`: `stream` is the only one.
    restart: Option<Box<dyn Fn() -> Events + Send>>,
    failures: Failures,
    /// Until when the next request has to wait.
    pause: Option<clock::Instant>,
    /// Objects of the list that is being read, so far.
    listed: usize,
    /// Objects of a list at most.
    pub most: usize,
    /// Called before each request for a list.
    pub on_list: Box<dyn Fn() + Send>,
}

impl Watch {
    pub(super) fn new(kind: &str, requests: Requests, config: watcher::Config) -> Watch {
        let restart = move || requests.events(&config);
        let stream = restart();
        Watch { restart: Some(Box::new(restart)), ..Watch::over(kind, stream) }
    }

    pub(super) fn over(kind: &str, stream: Events) -> Watch {
        Watch {
            kind: kind.to_string(),
            stream,
            restart: None,
            failures: Failures::new(),
            pause: None,
            listed: 0,
            most: OBJECTS_MAX,
            on_list: Box::new(|| {}),
        }
    }

    /// Waits for the next event. Each object of a list comes as one of its own, between `Init` and
    /// `InitDone`. It may be dropped before it is ready: nothing is lost.
    ///
    /// # Errors
    /// A list or a watch failed. The next call waits and tries again.
    pub(super) fn next(&mut self) -> BoxFuture<'_, Option<watcher::Result<watcher::Event<Raw>>>> {
        Box::pin(async move {
            if let Some(until) = self.pause {
                clock::pause_until(until).await;
                self.pause = None;
            }
            let event = self.stream.next().await?;
            Some(self.take_note(event))
        })
    }

    /// Counts what was listed, and after a failure sets the pause and the next request.
    fn take_note(
        &mut self,
        event: watcher::Result<watcher::Event<Raw>>,
    ) -> watcher::Result<watcher::Event<Raw>> {
        let event = match event {
            Ok(watcher::Event::InitApply(_)) if self.listed >= self.most => Err(too_many_objects(self.most)),
            event => event,
        };
        match &event {
            // The list is asked for when the stream is polled again.
            Ok(watcher::Event::Init) => {
                self.listed = 0;
                (self.on_list)();
            }
            Ok(watcher::Event::InitApply(_)) => self.listed += 1,
            Ok(watcher::Event::InitDone) => self.failures.listed(&self.kind),
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) => self.failures.ended(&self.kind),
            // The stream is not polled again before the pause: that would send a request.
            Err(error) => {
                self.pause = Some(clock::deadline(self.failures.failed(&self.kind, error)));
                if let Some(restart) = self.restart.as_ref().filter(|_| must_list(error)) {
                    self.stream = restart();
                }
            }
        }
        event
    }
}

/// Pause after a failed list or watch, doubled at each further failure ...
pub(super) const RETRY: Duration = Duration::from_millis(50);
/// ... up to this, if the API server refused, or a watch breaks in a way that costs a list.
const RETRY_REFUSED: Duration = Duration::from_secs(5);
/// ... up to this, if it did not answer or cannot serve yet, as at a cluster's start.
const RETRY_UNANSWERED: Duration = Duration::from_millis(500);
/// After so long without a failure the first pause holds again, and the watch has worked meanwhile.
const CALM: Duration = Duration::from_secs(120);
/// A watch that was open for so long has worked, although it brought nothing: one that keeps
/// failing fails sooner after a pause. An attempt to open one may take longer than this and fail.
const WELL_AFTER: Duration = Duration::from_secs(10);
/// A watch that has failed for so long is logged as a warning: a cluster's start ends sooner ...
const WARN_AFTER: Duration = Duration::from_secs(10);
/// ... and then once in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// No server's `Retry-After` is waited for longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Returns what the API server answered instead of objects, if it answered.
fn answer(error: &watcher::Error) -> Option<&kube::core::Status> {
    match error {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    }
}

/// Returns true if the kind has to be listed anew: the same request would be refused again, or the
/// watch has a gap.
///
/// | answer to the request for a watch | |
/// |---|---|
/// | 410, `Expired`, `Gone` | the revision is too old |
/// | a cause `ResourceVersionTooLarge` | the store was restored to an earlier revision |
/// | 400, 403, 404, … | whatever it is, a list says more; it waits for its turn |
/// | 429, 500, 503, no answer | the server cannot serve now: the watch is asked for again |
///
/// | line of a watch that is open | |
/// |---|---|
/// | an event `ERROR` with 429 | the server cannot serve now: the watch goes on |
/// | any other event `ERROR` | at the same revision the same event may come again |
/// | no event of a watch | it may have been one, which would be missing from now on |
///
/// Source: client-go, `Reflector.watch`.
pub(super) fn must_list(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code != 429,
        watcher::Error::WatchFailed(kube::Error::SerdeError(_) | kube::Error::Api(_)) => true,
        _ => answer(error).is_some_and(is_final),
    }
}

/// Returns true for the refusal of a watch that another request for the same watch would get, too.
fn is_final(refusal: &kube::core::Status) -> bool {
    let mut causes = refusal.details.iter().flat_map(|details| &details.causes);
    (400..500).contains(&refusal.code) && refusal.code != 429
        || matches!(refusal.reason.as_str(), "Expired" | "Gone")
        || causes.any(|cause| cause.reason == "ResourceVersionTooLarge")
}

/// The failures of a watch: the next pause, and what is logged.
struct Failures {
    pause: Duration,
    /// When the pause after the last failure ends.
    last: clock::Instant,
    /// When the first of the failures came that go on; `None` if the watch works.
    since: Option<clock::Instant>,
    /// When the log warned last of those that go on.
    warned: Option<clock::Instant>,
    /// One of them was a watch's. A list that succeeds says nothing about the next watch.
    of_watch: bool,
}

impl Failures {
    fn new() -> Failures {
        Failures { pause: RETRY, last: clock::Instant::now(), since: None, warned: None, of_watch: false }
    }

    /// Notes that the end of a list came. Parts of a list do not count: a list whose second page
    /// fails brings its first page each time. Neither does a list behind which the watch fails each
    /// time.
    fn listed(&mut self, kind: &str) {
        if !self.of_watch {
            self.ended(kind);
        }
    }

    /// Ends a run of failures: a change came, or a list was read to its end and no watch failed.
    fn ended(&mut self, kind: &str) {
        (self.pause, self.of_watch) = (RETRY, false);
        self.well(kind);
    }

    fn well(&mut self, kind: &str) {
        self.since = None;
        if self.warned.take().is_some() {
            tracing::info!(kind, "the watch goes on");
        }
    }

    /// Logs a failure, and returns how long to wait before the next request.
    fn failed(&mut self, kind: &str, error: &watcher::Error) -> Duration {
        let now = clock::Instant::now();
        // kube-rs does not tell that a watch was opened again, but which failure ends an open one.
        let was_open = matches!(error, watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_));
        let of_watch = was_open || matches!(error, watcher::Error::WatchStartFailed(_));
        let calm = now.saturating_duration_since(self.last);
        if calm > CALM || was_open && calm > WELL_AFTER {
            self.well(kind);
        }
        if calm > CALM {
            (self.pause, self.of_watch) = (RETRY, false);
        }
        self.of_watch |= of_watch;
        let since = now - *self.since.get_or_insert(now);
        if since >= WARN_AFTER && self.warned.is_none_or(|warned| now - warned >= WARN_EVERY) {
            self.warned = Some(now);
            tracing::warn!(kind, %error, ?since, "the watch fails again and again");
        } else {
            tracing::debug!(kind, %error, "watch failed, trying again");
        }
        // Codes from 500 on say that it cannot serve just now. An open watch that has to be listed
        // anew was served: if each ends so, each costs a list.
        let answer = answer(error);
        let refused = answer.is_some_and(|status| status.code < 500) || was_open && must_list(error);
        let longest = if refused { RETRY_REFUSED } else { RETRY_UNANSWERED };
        let pause = self.pause.min(longest);
        self.pause = (pause * 2).min(longest);
        let asked_for =
            answer.and_then(|status| status.details.as_ref()).map_or(0, |d| d.retry_after_seconds);
        let pause = pause.max(Duration::from_secs(asked_for.into()).min(RETRY_AFTER_MAX));
        self.last = now + pause;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An API server that restarts twice within two minutes is no reason for a warning about each
    /// kind that does not change. One whose attempts hang is.
    #[tokio::test(start_paused = true)]
    async fn a_quiet_watch_between_two_failures_is_well() {
        let log = crate::testing::Log::default();
        let _listening = log.listen();
        let broken = || watcher::Error::WatchFailed(kube::Error::Service("it ends".into()));
        let refused = || watcher::Error::WatchStartFailed(kube::Error::Service("nobody listens".into()));
        let mut failures = Failures::new();
        for _ in 0..2 {
            for error in [broken(), refused(), refused(), refused()] {
                clock::pause(failures.failed("quiet", &error)).await;
            }
            clock::pause(Duration::from_secs(97)).await;
        }
        assert!(log.warnings().is_empty(), "{:?}", log.warnings());
        let mut failures = Failures::new();
        for _ in 0..2 {
            clock::pause(failures.failed("hangs", &refused())).await;
            clock::pause(Duration::from_secs(70)).await;
        }
        assert_eq!(log.warnings().len(), 1, "{:?}", log.warnings());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_breaks_each_time_is_listed_ever_more_rarely() {
        let failure = serde_json::json!({"status": "Failure", "code": 500, "reason": "InternalError"});
        let errors = [
            watcher::Error::WatchError(serde_json::from_value(failure).unwrap()),
            watcher::Error::WatchFailed(kube::Error::SerdeError(
                serde_json::from_str::<()>("x").unwrap_err(),
            )),
        ];
        for error in errors {
            let mut failures = Failures::new();
            let pauses: Vec<Duration> = (0..10).map(|_| failures.failed("broken", &error)).collect();
            assert_eq!((pauses[0], pauses[9]), (RETRY, RETRY_REFUSED), "{error}");
        }
    }
}
