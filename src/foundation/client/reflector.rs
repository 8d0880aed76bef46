//! The list and the watch of one kind, typed or untyped: the only loop of this kind in the program.
//! client-go's `Reflector`.

use super::codec::Codec;
use super::item::{Item, Undecodable};
use super::objects::Api;
#[cfg(test)]
use super::raw::Raw;
use super::watch::Watch;
#[cfg(test)]
use futures::stream::{Stream, StreamExt};
use kube::runtime::watcher;

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

    /// Returns the same with references to the objects.
    pub fn as_ref(&self) -> Delta<&T> {
        match self {
            Delta::Replaced(objects) => Delta::Replaced(objects.iter().collect()),
            Delta::Updated(object) => Delta::Updated(object),
            Delta::Deleted(object) => Delta::Deleted(object),
        }
    }
}

/// Lists the objects of a kind, then watches them.
///
/// kube-rs resumes a watch at the newest bookmark or object, and lists anew if an event of the
/// watch says that the API server no longer has that revision (410). Added here:
///
/// - It also lists anew if the request for the watch is refused, for that reason or because a store
///   that was restored has not reached the revision yet. kube-rs would repeat it forever at the
///   same revision.
/// - It lists anew after a line of a watch that is an error (other than 429) or no event. kube-rs
///   would go on behind it, without the object that it was about.
/// - A list comes as a whole.
/// - After a failure the next request waits, longer at each further failure, and the log says why
///   if it goes on.
/// - One object that cannot be decoded does not fail its list.
///
/// The reader asks for one [`Delta`] after the other: no queue grows when it is slow, the API
/// server's bound for slow watchers holds instead.
///
/// Example: a watch of pods that is cut for longer than the API server keeps events tells
/// `Replaced([a, b])`, `Updated(b)`, an error, an error, `Replaced([b, c])`.
pub struct Reflector<K> {
    watch: Watch,
    /// The list that is being read, as far as its pages have come.
    page: Vec<Item<K>>,
}

impl<K: Codec> Reflector<K> {
    /// Reflects the objects of `api` that the selectors of `config` name. Nothing is asked before
    /// the first [`Reflector::next`].
    pub fn new(kind: &str, api: Api<Item<K>>, config: watcher::Config) -> Reflector<K> {
        Reflector { watch: Watch::new(kind, api.requests(), config), page: Vec::new() }
    }

    #[cfg(test)]
    pub(super) fn over(
        kind: &str,
        stream: impl Stream<Item = watcher::Result<watcher::Event<Raw>>> + Send + 'static,
    ) -> Reflector<K> {
        Reflector { watch: Watch::over(kind, stream.boxed()), page: Vec::new() }
    }

    /// The same with another bound for the objects of a list.
    #[cfg(test)]
    pub(super) fn at_most(mut self, objects: usize) -> Reflector<K> {
        self.watch.most = objects;
        self
    }

    /// Calls `begun` before each request for a list.
    pub(super) fn on_list(mut self, begun: impl Fn() + Send + 'static) -> Reflector<K> {
        self.watch.on_list = Box::new(begun);
        self
    }

    /// Waits for the next delta. `None`: the watch has ended, which one of an API server never
    /// does. It may be dropped before it is ready: nothing is lost.
    ///
    /// # Errors
    /// A list or a watch failed. The next call waits and tries again.
    pub async fn next(&mut self) -> Option<Result<Delta<Item<K>>, watcher::Error>> {
        loop {
            let delta = match self.watch.next().await? {
                Err(error) => return Some(Err(error)),
                Ok(watcher::Event::Init) => {
                    self.page.clear();
                    continue;
                }
                Ok(watcher::Event::InitApply(object)) => {
                    self.page.push(Item::read(&object.value));
                    continue;
                }
                Ok(watcher::Event::InitDone) => Delta::Replaced(std::mem::take(&mut self.page)),
                Ok(watcher::Event::Apply(object)) => Delta::Updated(Item::read(&object.value)),
                Ok(watcher::Event::Delete(object)) => Delta::Deleted(Item::read(&object.value)),
            };
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
            let kept = delta.filter_map(|item| decoded(&self.watch.kind, item));
            if let Some(delta) = kept {
                return Some(Ok(delta));
            }
        }
    }
}

/// Returns the object, if it could be decoded.
pub(super) fn decoded<K>(kind: &str, item: Item<K>) -> Option<K> {
    match item {
        Item::Decoded(object) => Some(object),
        Item::Undecodable(found) => {
            log_skipped(kind, &found);
            None
        }
    }
}

fn log_skipped(kind: &str, found: &Undecodable) {
    let (key, reason) = (found.key(), found.reason());
    tracing::warn!(kind, object = %key, reason, "object cannot be decoded, skipped");
}

#[cfg(test)]
mod tests {
    use super::super::watch::{RETRY, must_list};
    use super::*;
    use kube::api::DynamicObject;
    use serde_json::{Value, json};

    fn item(metadata: Value) -> Raw {
        Raw::from(json!({"metadata": metadata}))
    }

    fn named(name: &str) -> Raw {
        item(json!({"name": name, "namespace": "d"}))
    }

    fn names(delta: Delta<DynamicObject>) -> Delta<String> {
        delta.map(|object| object.metadata.name.unwrap_or_default())
    }

    /// Returns everything that a reflector tells of these events; an error is `None`.
    async fn deltas(events: Vec<watcher::Result<watcher::Event<Raw>>>) -> Vec<Option<Delta<String>>> {
        let mut reflector = Reflector::over("Pod", futures::stream::iter(events));
        let mut deltas = Vec::new();
        while let Some(next) = reflector.next_decoded().await {
            deltas.push(next.ok().map(names));
        }
        deltas
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_reported_as_a_whole_and_one_that_fails_halfway_not_at_all() {
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
        let deltas = deltas(events).await;
        let (a, b, c) = ("a".to_string(), "b".to_string(), "c".to_string());
        let list = Delta::Replaced(vec![a.clone(), b]);
        assert_eq!(deltas, [None, Some(list), Some(Delta::Updated(c)), Some(Delta::Deleted(a))]);
        assert_eq!(
            began.elapsed().as_millis(),
            RETRY.as_millis(),
            "the second list was asked for after a pause"
        );
    }

    /// A reader that does something else in between would wait for ever if each call began the
    /// pause anew.
    #[tokio::test(start_paused = true)]
    async fn a_pause_goes_on_while_no_caller_waits_for_its_end() {
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
        assert_eq!(deltas(events).await, [Some(list), Some(Delta::Updated("b".to_string()))]);
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

    /// From a watch without a list behind it the cache would be out of date for good: the object
    /// whose event was none is not sent again before it changes, and an error that belongs to a
    /// revision comes again at each watch that begins there.
    #[tokio::test]
    async fn a_watch_that_brings_an_error_or_no_event_is_followed_by_a_new_list() {
        let failure = |code: u16| {
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                "reason": "InternalError", "message": "the object cannot be read"})
        };
        for line in [json!({"type": "ERROR", "object": failure(500)}), failure(500), json!(["no event"])] {
            lists_anew_after(Some((200, line))).await;
        }
        let busy = serde_json::from_value(failure(429)).unwrap();
        assert!(!must_list(&watcher::Error::WatchError(Box::new(busy))));
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
}
