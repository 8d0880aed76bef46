//! The list and the watch of one kind, typed or untyped: the only loop of this kind in the program.
//! client-go's `Reflector`.

use super::codec::Codec;
use super::item::Item;
use super::objects::{Api, OBJECTS_MAX, too_many_objects};
use super::raw::Raw;
use futures::stream::{BoxStream, Stream, StreamExt};
use kube::runtime::watcher;
use std::time::Duration;

/// What a list or a watch says about the objects of a kind (client-go's `Delta`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta<T> {
    /// A complete list, at first and after a gap: an object that is not in it does not exist.
    Replaced(Vec<T>),
    /// An object that is new or has changed; kube-rs does not say which of the two.
    Updated(T),
    /// An object that was deleted, as it was at last. Its resource version is that of the deletion.
    Deleted(T),
}

impl<T> Delta<T> {
    /// Converts every object.
    pub fn map<U>(self, mut convert: impl FnMut(T) -> U) -> Delta<U> {
        match self {
            Delta::Replaced(objects) => Delta::Replaced(objects.into_iter().map(convert).collect()),
            Delta::Updated(object) => Delta::Updated(convert(object)),
            Delta::Deleted(object) => Delta::Deleted(convert(object)),
        }
    }

    /// Converts every object or leaves it out; `None` if it was the only one.
    fn filter_map<U>(self, mut convert: impl FnMut(T) -> Option<U>) -> Option<Delta<U>> {
        match self {
            Delta::Replaced(objects) => {
                Some(Delta::Replaced(objects.into_iter().filter_map(convert).collect()))
            }
            Delta::Updated(object) => convert(object).map(Delta::Updated),
            Delta::Deleted(object) => convert(object).map(Delta::Deleted),
        }
    }

    /// The same with references to the objects.
    pub fn as_ref(&self) -> Delta<&T> {
        match self {
            Delta::Replaced(objects) => Delta::Replaced(objects.iter().collect()),
            Delta::Updated(object) => Delta::Updated(object),
            Delta::Deleted(object) => Delta::Deleted(object),
        }
    }
}

/// What kube-rs tells of a kind.
type Events<K> = BoxStream<'static, watcher::Result<watcher::Event<Item<K>>>>;

/// Lists the objects of a kind, then watches them.
///
/// kube-rs resumes a watch at the newest bookmark or object, and lists anew if an event of the
/// watch says that the API server no longer has that revision (410). Added here: it also lists anew
/// if the request for the watch is refused, for that reason or because a store that was restored
/// has not reached the revision yet, as kube-rs would repeat it forever at the same revision; a
/// list is told as a whole; after a failure the next request waits, longer at
/// each further failure, and the log says why if it goes on; one object that cannot be decoded does
/// not fail its list. The reader asks for one [`Delta`] after the other: no queue grows when it is
/// slow, the API server's bound for slow watchers holds instead.
///
/// Example: a watch of pods that is cut for longer than the API server keeps events tells
/// `Replaced([a, b])`, `Updated(b)`, an error, an error, `Replaced([b, c])`.
pub struct Reflector<K> {
    /// What the log calls the kind.
    kind: String,
    stream: Events<K>,
    /// Makes a stream that begins with a list. `None`: `stream` is the only one.
    restart: Option<Box<dyn Fn() -> Events<K> + Send>>,
    failures: Failures,
    /// Until when the next request has to wait.
    pause: Option<clock::Instant>,
    /// The list that is being read, as far as its pages have come.
    page: Vec<Item<K>>,
    /// Objects of a list at most.
    pub(super) most: usize,
    on_list: Box<dyn Fn() + Send>,
}

impl<K: Codec + Send + 'static> Reflector<K> {
    /// Reflects the objects of `api` that the selectors of `config` name. Nothing is asked before
    /// the first [`Reflector::next`].
    pub fn new(kind: &str, api: Api<Item<K>>, config: watcher::Config) -> Reflector<K> {
        let requests = api.requests();
        let restart = move || requests.events(&config).map(|event| event.map(read)).boxed();
        let stream = restart();
        Reflector { restart: Some(Box::new(restart)), ..Reflector::over(kind, stream) }
    }

    pub(super) fn over(
        kind: &str,
        stream: impl Stream<Item = watcher::Result<watcher::Event<Item<K>>>> + Send + 'static,
    ) -> Reflector<K> {
        Reflector {
            kind: kind.to_string(),
            stream: stream.boxed(),
            restart: None,
            failures: Failures::new(),
            pause: None,
            page: Vec::new(),
            most: OBJECTS_MAX,
            on_list: Box::new(|| {}),
        }
    }

    /// Calls `begun` before each request for a list.
    pub(super) fn on_list(self, begun: impl Fn() + Send + 'static) -> Reflector<K> {
        Reflector { on_list: Box::new(begun), ..self }
    }

    /// Waits for the next delta. `None`: the watch has ended, which one of an API server never
    /// does. It may be dropped before it is ready: nothing is lost.
    ///
    /// # Errors
    /// A list or a watch failed. The next call waits and tries again.
    pub async fn next(&mut self) -> Option<Result<Delta<Item<K>>, watcher::Error>> {
        if let Some(until) = self.pause {
            clock::pause_until(until).await;
            self.pause = None;
        }
        loop {
            let event = match self.stream.next().await? {
                Ok(watcher::Event::InitApply(_)) if self.page.len() >= self.most => {
                    Err(too_many_objects(self.most))
                }
                event => event,
            };
            let delta = match event {
                // The list is asked for when the stream is polled again.
                Ok(watcher::Event::Init) => {
                    self.page.clear();
                    (self.on_list)();
                    continue;
                }
                Ok(watcher::Event::InitApply(object)) => {
                    self.page.push(object);
                    continue;
                }
                Ok(watcher::Event::InitDone) => Delta::Replaced(std::mem::take(&mut self.page)),
                Ok(watcher::Event::Apply(object)) => Delta::Updated(object),
                Ok(watcher::Event::Delete(object)) => Delta::Deleted(object),
                // The stream is not polled again before the pause: that would send a request.
                Err(error) => {
                    self.pause = Some(clock::deadline(self.failures.failed(&self.kind, &error)));
                    if let Some(restart) = self.restart.as_ref().filter(|_| must_list(&error)) {
                        self.stream = restart();
                    }
                    return Some(Err(error));
                }
            };
            match delta {
                Delta::Replaced(_) => self.failures.listed(&self.kind),
                Delta::Updated(_) | Delta::Deleted(_) => self.failures.ended(&self.kind),
            }
            return Some(Ok(delta));
        }
    }

    /// As [`Reflector::next`], without the objects that cannot be decoded: the log names each.
    ///
    /// # Errors
    /// As [`Reflector::next`].
    pub async fn next_decoded(&mut self) -> Option<Result<Delta<K>, watcher::Error>> {
        loop {
            let delta = match self.next().await? {
                Ok(delta) => delta,
                Err(error) => return Some(Err(error)),
            };
            let kept = delta.filter_map(|item| decoded(&self.kind, item));
            if let Some(delta) = kept {
                return Some(Ok(delta));
            }
        }
    }
}

/// An event with its object in a type.
fn read<K: Codec>(event: watcher::Event<Raw>) -> watcher::Event<Item<K>> {
    let item = |object: Raw| Item::read(&object.value);
    match event {
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(object) => watcher::Event::InitApply(item(object)),
        watcher::Event::InitDone => watcher::Event::InitDone,
        watcher::Event::Apply(object) => watcher::Event::Apply(item(object)),
        watcher::Event::Delete(object) => watcher::Event::Delete(item(object)),
    }
}

/// The object, if it could be decoded.
pub(super) fn decoded<K>(kind: &str, item: Item<K>) -> Option<K> {
    match item {
        Item::Decoded(object) => Some(object),
        Item::Undecodable(found) => {
            let (key, reason) = (found.key(), found.reason());
            tracing::warn!(kind, object = %key, reason, "object cannot be decoded, skipped");
            None
        }
    }
}

/// Pause after a failed list or watch, doubled at each further failure ...
const RETRY: Duration = Duration::from_millis(50);
/// ... up to this, if the API server refused.
const RETRY_REFUSED: Duration = Duration::from_secs(5);
/// ... up to this, if it did not answer or cannot serve yet, as at a cluster's start.
const RETRY_UNANSWERED: Duration = Duration::from_millis(500);
/// After so long without a failure the first pause holds again, and the watch has worked meanwhile.
const CALM: Duration = Duration::from_secs(120);
/// A watch that was open for so long has worked, although it brought nothing: one that keeps
/// failing fails sooner after a pause. An attempt to open one may take longer than this and fail.
const WELL_AFTER: Duration = Duration::from_secs(10);
/// A watch that has failed for so long is logged as a warning: a cluster's start ends sooner ...
const TELL_AFTER: Duration = Duration::from_secs(10);
/// ... and then once in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// No server's `Retry-After` is waited for longer.
const RETRY_TOLD: Duration = Duration::from_secs(60);

/// What the API server answered instead of objects, if it answered.
fn answer(error: &watcher::Error) -> Option<&kube::core::Status> {
    match error {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    }
}

/// True if the same request would be refused again, so that the kind has to be listed anew.
///
/// | answer | |
/// |---|---|
/// | 410, `Expired`, `Gone` | the revision is too old |
/// | a cause `ResourceVersionTooLarge` | the store was restored to an earlier revision |
/// | 400, 403, 404, … | whatever it is, a list says more; it waits for its turn |
/// | 429, 500, 503, no answer | the server cannot serve now: the watch is asked for again |
fn must_list(error: &watcher::Error) -> bool {
    answer(error).is_some_and(|status| {
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        (400..500).contains(&status.code) && status.code != 429
            || matches!(status.reason.as_str(), "Expired" | "Gone")
            || causes.any(|cause| cause.reason == "ResourceVersionTooLarge")
    })
}

/// The failures of a watch: the next pause, and what is logged.
struct Failures {
    pause: Duration,
    /// When the pause after the last failure ends.
    last: clock::Instant,
    /// When the first of the failures came that go on; `None` if the watch works.
    since: Option<clock::Instant>,
    told: Option<clock::Instant>,
    /// One of them was a watch's. A list that succeeds says nothing about the next watch.
    of_watch: bool,
}

impl Failures {
    fn new() -> Failures {
        Failures { pause: RETRY, last: clock::Instant::now(), since: None, told: None, of_watch: false }
    }

    /// The end of a list came. Parts of a list do not count: a list whose second page fails brings
    /// its first page each time. Neither does a list behind which the watch fails each time.
    fn listed(&mut self, kind: &str) {
        if !self.of_watch {
            self.ended(kind);
        }
    }

    /// A change came, or the end of a list after failures of lists.
    fn ended(&mut self, kind: &str) {
        (self.pause, self.of_watch) = (RETRY, false);
        self.well(kind);
    }

    fn well(&mut self, kind: &str) {
        self.since = None;
        if self.told.take().is_some() {
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
        if since >= TELL_AFTER && self.told.is_none_or(|told| now - told >= TELL_EVERY) {
            self.told = Some(now);
            tracing::warn!(kind, %error, ?since, "the watch fails again and again");
        } else {
            tracing::debug!(kind, %error, "watch failed, trying again");
        }
        // Codes from 500 on say that it cannot serve just now.
        let answer = answer(error);
        let refused = answer.is_some_and(|status| status.code < 500);
        let longest = if refused { RETRY_REFUSED } else { RETRY_UNANSWERED };
        let pause = self.pause.min(longest);
        self.pause = (pause * 2).min(longest);
        let asked_for =
            answer.and_then(|status| status.details.as_ref()).map_or(0, |d| d.retry_after_seconds);
        let pause = pause.max(Duration::from_secs(asked_for.into()).min(RETRY_TOLD));
        self.last = now + pause;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::api::DynamicObject;
    use serde_json::{Value, json};

    fn item(metadata: Value) -> Item<DynamicObject> {
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn named(name: &str) -> Item<DynamicObject> {
        item(json!({"name": name, "namespace": "d"}))
    }

    fn names(delta: Delta<DynamicObject>) -> Delta<String> {
        delta.map(|object| object.metadata.name.unwrap_or_default())
    }

    /// Everything that a reflector tells of these events; an error is `None`.
    async fn told(
        events: Vec<watcher::Result<watcher::Event<Item<DynamicObject>>>>,
    ) -> Vec<Option<Delta<String>>> {
        let mut reflector = Reflector::over("Pod", futures::stream::iter(events));
        let mut told = Vec::new();
        while let Some(next) = reflector.next_decoded().await {
            told.push(next.ok().map(names));
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_told_as_a_whole_and_one_that_fails_halfway_not_at_all() {
        let failed = kube::Error::Service("nobody listens".into());
        let events = vec![
            Ok(watcher::Event::Init),
            Ok(watcher::Event::InitApply(named("gone"))),
            Err(watcher::Error::InitialListFailed(failed)),
            Ok(watcher::Event::Init),
            Ok(watcher::Event::InitApply(named("a"))),
            Ok(watcher::Event::InitApply(named("b"))),
            Ok(watcher::Event::InitDone),
            Ok(watcher::Event::Apply(named("c"))),
            Ok(watcher::Event::Delete(named("a"))),
        ];
        let began = clock::Instant::now();
        let told = told(events).await;
        let (a, b, c) = ("a".to_string(), "b".to_string(), "c".to_string());
        let list = Delta::Replaced(vec![a.clone(), b]);
        assert_eq!(told, [None, Some(list), Some(Delta::Updated(c)), Some(Delta::Deleted(a))]);
        assert_eq!(
            began.elapsed().as_millis(),
            RETRY.as_millis(),
            "the second list was asked for after a pause"
        );
    }

    /// A reader that does something else in between would wait for ever if each call began the
    /// pause anew.
    #[tokio::test(start_paused = true)]
    async fn a_pause_goes_on_while_nobody_waits_for_its_end() {
        let failed = watcher::Error::InitialListFailed(kube::Error::Service("nobody listens".into()));
        let events = vec![Err(failed), Ok(watcher::Event::Init), Ok(watcher::Event::InitDone)];
        let mut reflector = Reflector::<DynamicObject>::over("Pod", futures::stream::iter(events));
        assert!(reflector.next().await.is_some_and(|first| first.is_err()));
        let began = clock::Instant::now();
        let list = loop {
            if let Some(list) = clock::limit(RETRY / 5, reflector.next()).await {
                break list;
            }
            assert!(began.elapsed() < RETRY * 2, "the pause begins anew each time");
        };
        assert!(matches!(list, Some(Ok(Delta::Replaced(all))) if all.is_empty()));
    }

    #[tokio::test]
    async fn an_untyped_object_that_cannot_be_decoded_is_left_out() {
        let odd = || item(json!({"name": "odd", "labels": 5}));
        let events = vec![
            Ok(watcher::Event::Init),
            Ok(watcher::Event::InitApply(odd())),
            Ok(watcher::Event::InitApply(named("a"))),
            Ok(watcher::Event::InitDone),
            Ok(watcher::Event::Apply(odd())),
            Ok(watcher::Event::Apply(named("b"))),
        ];
        let list = Delta::Replaced(vec!["a".to_string()]);
        assert_eq!(told(events).await, [Some(list), Some(Delta::Updated("b".to_string()))]);
    }

    #[tokio::test]
    async fn objects_of_any_resource_in_a_namespace_are_reflected() {
        let server = crate::testing::Scripted::new(|_| {
            let pod = json!({"metadata": {"namespace": "d", "name": "a", "resourceVersion": "4"}});
            Some((200, json!({"metadata": {"resourceVersion": "5"}, "items": [pod]})))
        })
        .await;
        let kind = kube::core::GroupVersionKind::gvk("example.com", "v1", "Thing");
        let resource = kube::core::ApiResource::from_gvk_with_plural(&kind, "things");
        let api = Api::<Item<DynamicObject>>::namespaced_with(server.client.kube(), "d", &resource);
        let mut reflector = Reflector::new("Thing", api, watcher::Config::default());
        let list = reflector.next_decoded().await.unwrap().unwrap();
        assert_eq!(names(list), Delta::Replaced(vec!["a".to_string()]));
        assert_eq!(server.lines()[0], "GET /apis/example.com/v1/namespaces/d/things");
    }

    #[tokio::test]
    async fn a_watch_that_is_refused_begins_with_a_new_list() {
        let too_large = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "code": 504, "reason": "Timeout", "message": "Too large resource version: 9, current: 5",
            "details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "too large"}]}});
        let refusals = [
            crate::testing::refusal(410, "Expired"),
            crate::testing::refusal(400, "BadRequest"),
            Some((504, too_large)),
        ];
        for refused in refusals {
            lists_anew_after(refused).await;
        }
        for code in [429, 500, 503] {
            let status = json!({"status": "Failure", "code": code, "reason": "", "message": ""});
            let refused = kube::Error::Api(serde_json::from_value(status).unwrap());
            assert!(!must_list(&watcher::Error::WatchStartFailed(refused)), "{code}");
        }
    }

    async fn lists_anew_after(refused: Option<(u16, Value)>) {
        let times = parking_lot::Mutex::new(0);
        let server = crate::testing::Scripted::new(move |_| {
            let time = {
                let mut times = times.lock();
                *times += 1;
                *times
            };
            let object = json!({"metadata": {"namespace": "d", "name": format!("request-{time}")}});
            match time {
                2 => refused.clone(),
                _ => Some((200, json!({"metadata": {"resourceVersion": "5"}, "items": [object]}))),
            }
        })
        .await;
        let kind = kube::core::GroupVersionKind::gvk("example.com", "v1", "Thing");
        let resource = kube::core::ApiResource::from_gvk_with_plural(&kind, "things");
        let api = Api::<Item<DynamicObject>>::namespaced_with(server.client.kube(), "d", &resource);
        let mut reflector = Reflector::new("Thing", api, watcher::Config::default());
        let first = reflector.next_decoded().await.unwrap().unwrap();
        assert_eq!(names(first), Delta::Replaced(vec!["request-1".to_string()]));
        let refused = reflector.next_decoded().await.unwrap().unwrap_err();
        assert!(must_list(&refused), "{refused}");
        let list = reflector.next_decoded().await.unwrap().unwrap();
        assert_eq!(names(list), Delta::Replaced(vec!["request-3".to_string()]));
    }

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
}
