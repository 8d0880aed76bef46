//! A local cache of one kind, kept up to date by a watch.

use super::api_client::Client;
use super::objects::Api;
use super::recorder::Recorder;
use futures::FutureExt;
use futures::stream::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher;
use parking_lot::{Mutex, MutexGuard};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tap::Cause;
use task::{Crew, panic_text};
use tokio::sync::Notify;

/// Namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// A key of its two parts. The namespace is empty for a cluster-scoped kind.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }
    /// The key of an object. A part that the object does not have is empty.
    pub fn of<K: kube::Resource>(object: &K) -> Key {
        let meta = object.meta();
        Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{}/{}", self.namespace, self.name),
        }
    }
}

/// What a watch said about one object.
#[derive(Debug)]
pub enum Change<K> {
    /// It is new, or the informer sees it for the first time.
    Added(Arc<K>),
    /// It has changed since the informer last saw it.
    Updated {
        /// The object as it was last seen.
        old: Arc<K>,
        /// The object as it is now.
        new: Arc<K>,
    },
    /// The object as it last was.
    Deleted(Arc<K>),
}

impl<K: kube::Resource> Change<K> {
    /// The object as it is now, or as it last was.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Change::Added(object) | Change::Deleted(object) => object,
            Change::Updated { new, .. } => new,
        }
    }
    /// The key of the object that changed.
    pub fn key(&self) -> Key {
        Key::of(&**self.object())
    }
    /// The revision that brought the change.
    pub fn cause(&self) -> Option<Cause> {
        cause_of(&**self.object())
    }
}

/// The revision in which an object was last written, as a cause.
fn cause_of<K: kube::Resource>(object: &K) -> Option<Cause> {
    object.meta().resource_version.as_deref()?.parse().ok().map(Cause::Revision)
}

/// How often a cache was listed. A write that was answered when `begun` lists had begun is older
/// than every list after those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Lists that were asked for, including those that failed.
    pub begun: u64,
    /// The number, among the lists that had begun, of the last one that is complete; 0 before that.
    pub complete: u64,
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;
/// Called with the number of a list that is complete.
type ListHandler = Box<dyn Fn(u64) + Send + Sync>;
/// Tells people about an object that cannot be decoded.
type Report = Box<dyn Fn(&Undecodable) + Send + Sync>;

/// An object that the type `K` does not accept, as far as it can be read.
#[derive(Clone, Debug, Default)]
pub struct Undecodable {
    /// Name, namespace, uid and resource version alone; each empty if it is no string.
    meta: ObjectMeta,
    reason: String,
}

impl Undecodable {
    fn new(value: &Value, reason: String) -> Undecodable {
        let text = |field: &str| value["metadata"][field].as_str().map(String::from);
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Undecodable { meta, reason }
    }

    /// The decoder's message.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    fn key(&self) -> Key {
        Key::new(self.meta.namespace.clone().unwrap_or_default(), self.meta.name.clone().unwrap_or_default())
    }

    /// True unless the uid can be read and is another one.
    fn may_be<K: kube::Resource>(&self, known: &K) -> bool {
        self.meta.uid.is_none() || self.meta.uid == known.meta().uid
    }
}

/// An item of a list or of a watch. Every item is read as an untyped value first, so that one that
/// cannot be decoded does not fail the whole list.
#[derive(Clone, Debug)]
pub enum Item<K> {
    /// The object in its type.
    Decoded(K),
    /// What could be read of an object that does not fit its type.
    Undecodable(Box<Undecodable>),
}

/// What upstream reads as the time of a condition that has none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Gives a time to each condition of the status that has none, and returns whether there was one.
/// The API server accepts `lastTransitionTime: null`, as upstream's does (Go writes it for a time
/// that nobody set), but the type of a condition needs a time. Example: kube-proxy would skip a
/// Service of which a client has written such a condition.
fn complete_conditions(value: &mut Value) -> bool {
    let conditions = value.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    let mut changed = false;
    for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
        let time = condition.entry("lastTransitionTime").or_insert(Value::Null);
        if time.is_null() {
            *time = NO_TIME.into();
            changed = true;
        }
    }
    changed
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Item<K> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(input)?;
        let decoded = K::deserialize(&value).or_else(|error| match complete_conditions(&mut value) {
            true => K::deserialize(&value),
            false => Err(error),
        });
        Ok(match decoded {
            Ok(object) => Item::Decoded(object),
            Err(error) => Item::Undecodable(Box::new(Undecodable::new(&value, error.to_string()))),
        })
    }
}

impl<K: kube::Resource> kube::Resource for Item<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }
    fn group(dt: &K::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }
    fn version(dt: &K::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }
    fn plural(dt: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }
    fn meta(&self) -> &ObjectMeta {
        match self {
            Item::Decoded(object) => object.meta(),
            Item::Undecodable(found) => &found.meta,
        }
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Item::Decoded(object) => object.meta_mut(),
            Item::Undecodable(found) => &mut found.meta,
        }
    }
}

struct Inner<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// Objects that cannot be decoded, with the resource version that was reported: at most as many
    /// as the kind has.
    reported: BTreeMap<Key, Option<String>>,
}

struct Handlers<K> {
    changes: Vec<Handler<K>>,
    lists: Vec<ListHandler>,
}

impl<K> Default for Handlers<K> {
    fn default() -> Self {
        Handlers { changes: Vec::new(), lists: Vec::new() }
    }
}

struct Shared<K> {
    inner: Mutex<Inner<K>>,
    /// Held while changes are handed out, and while a new handler hears of what is known: it misses
    /// and repeats none. `inner` is never held then: a handler may read any informer, also one
    /// whose handlers read this one. `None` after the watch has ended: no change comes any more.
    handlers: Mutex<Option<Handlers<K>>>,
    lists: Mutex<Lists>,
    /// Whether the first list is complete.
    synced: AtomicBool,
    /// Wakes those that wait for the first list in the order in which they came, which `watch` does
    /// not: a seed has to be one history.
    first_list: Notify,
    report: Report,
}

/// The cache and its handlers. Clones share both.
///
/// One object never stops it. What cannot be decoded is left out, and reported once for each of its
/// resource versions, in the log and in an Event. If it could be decoded before, the last good
/// version stays: the object still exists, and treating it as deleted would end what depends on it.
/// It is deleted when the API server says so or when another object takes its name. A handler that
/// panics misses that one change.
pub struct Informer<K>(Arc<Shared<K>>);

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Informer(self.0.clone())
    }
}

/// The cache, as long as its watch goes on. After that no change comes any more, and the handlers
/// go: they hold what reads the cache, and the two would keep each other in memory for ever.
struct Watched<K>(Informer<K>);

impl<K> Drop for Watched<K> {
    fn drop(&mut self) {
        let handlers = std::mem::take(&mut *self.0.0.handlers.lock());
        drop(handlers); // after the lock: with them other informers may go
    }
}

/// Events that are taken over in one go.
const AT_ONCE: usize = 256;
/// Pause after a failed list or watch, doubled at each further failure ...
const RETRY: Duration = Duration::from_millis(50);
/// ... up to this, if the API server refused.
const RETRY_REFUSED: Duration = Duration::from_secs(5);
/// ... up to this, if it did not answer or cannot serve yet, as at a cluster's start.
const RETRY_UNANSWERED: Duration = Duration::from_millis(500);
/// After so long without a failure the first pause holds again, and the watch was well meanwhile.
const CALM: Duration = Duration::from_secs(120);
/// A watch that was open for so long was well, although it brought nothing: one that keeps failing
/// fails sooner after a pause. An attempt to open one may take longer than this and fail.
const WELL_AFTER: Duration = Duration::from_secs(10);
/// A watch that has failed for so long is told at all, as a cluster's start ends sooner ...
const TELL_AFTER: Duration = Duration::from_secs(10);
/// ... and then once in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// No server's `Retry-After` is waited for longer.
const RETRY_TOLD: Duration = Duration::from_secs(60);
/// The reason of the Event on an object that cannot be decoded.
const UNDECODABLE: &str = "FailedDecode";

/// What the API server answered instead of objects, if it answered.
fn answer(error: &watcher::Error) -> Option<&kube::core::Status> {
    match error {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    }
}

/// How a watch fails: how long the next pause is, and what the log is told.
struct Failures {
    pause: Duration,
    /// When the pause after the last failure ends.
    last: clock::Instant,
    /// Since when the watch is not well.
    since: Option<clock::Instant>,
    told: Option<clock::Instant>,
}

impl Failures {
    fn new() -> Failures {
        Failures { pause: RETRY, last: clock::Instant::now(), since: None, told: None }
    }

    /// A change came, or the end of a list. Parts of a list do not count: a list whose second page
    /// fails brings its first page each time.
    fn ended(&mut self, kind: &str) {
        self.pause = RETRY;
        self.well(kind);
    }

    fn well(&mut self, kind: &str) {
        self.since = None;
        if self.told.take().is_some() {
            tracing::info!(kind, "the watch goes on");
        }
    }

    /// Tells of a failure; returns how long to wait.
    fn failed(&mut self, kind: &str, error: &watcher::Error) -> Duration {
        let now = clock::Instant::now();
        // kube-rs does not tell that a watch was opened again, but which failure ends an open one.
        let was_open = matches!(error, watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_));
        let calm = now.saturating_duration_since(self.last);
        if calm > CALM || was_open && calm > WELL_AFTER {
            self.well(kind);
        }
        if calm > CALM {
            self.pause = RETRY;
        }
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

/// A list that is being read.
struct Fresh<K> {
    objects: BTreeMap<Key, Arc<K>>,
    undecodable: Vec<Undecodable>,
}

impl<K> Default for Fresh<K> {
    fn default() -> Self {
        Fresh { objects: BTreeMap::new(), undecodable: Vec::new() }
    }
}

/// Reports to the log and, through a recorder that is made when it is first needed, in an Event on
/// the object.
fn reporter<K>(crew: &Crew, client: &Client) -> Report
where
    K: kube::Resource,
    K::DynamicType: Default,
{
    let (crew, client) = (crew.clone(), client.clone());
    let recorder: OnceLock<Recorder> = OnceLock::new();
    Box::new(move |found| {
        let (dt, key) = (K::DynamicType::default(), found.key());
        let kind = K::kind(&dt);
        tracing::warn!(%kind, object = %key, reason = found.reason, "object cannot be decoded, skipped");
        if key.name.is_empty() {
            return;
        }
        let about = ObjectReference {
            api_version: Some(K::api_version(&dt).into_owned()),
            kind: Some(kind.into_owned()),
            name: found.meta.name.clone(),
            namespace: found.meta.namespace.clone(),
            uid: found.meta.uid.clone(),
            resource_version: found.meta.resource_version.clone(),
            ..ObjectReference::default()
        };
        let recorder = recorder.get_or_init(|| Recorder::new(&crew, &client, crew.name(), ""));
        let message = format!("the object cannot be decoded and is skipped: {}", found.reason);
        recorder.warning(&about, UNDECODABLE, message, None);
    })
}

impl<K> Informer<K>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
{
    /// Watches all objects of the kind in all namespaces.
    pub fn all(crew: &Crew, client: &Client) -> Informer<K> {
        Informer::start(crew, client, watcher::Config::default())
    }

    /// Watches the objects that the selectors of `config` name, in all namespaces.
    pub fn start(crew: &Crew, client: &Client, config: watcher::Config) -> Informer<K> {
        Informer::watch(crew, client, client.all::<Item<K>>(), config)
    }

    /// Watches all objects of one namespace.
    pub fn in_namespace(crew: &Crew, client: &Client, namespace: &str) -> Informer<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope>,
    {
        Informer::watch(crew, client, client.within::<Item<K>>(namespace), watcher::Config::default())
    }

    fn watch(crew: &Crew, client: &Client, api: Api<Item<K>>, config: watcher::Config) -> Informer<K> {
        let informer = Informer::new(reporter::<K>(crew, client));
        let watched = Watched(informer.clone());
        crew.spawn_essential(async move {
            watched.0.follow(watcher(api.for_watcher(), config).boxed()).await;
        });
        informer
    }

    /// Takes over what a watch says until it ends.
    async fn follow(&self, mut stream: impl Stream<Item = watcher::Result<watcher::Event<Item<K>>>> + Unpin) {
        let mut fresh: Option<Fresh<K>> = None;
        let (kind, mut failures) = (std::any::type_name::<K>(), Failures::new());
        while let Some(first) = stream.next().await {
            let (mut good, mut failed) = (Vec::new(), None);
            let mut next = Some(first);
            while let Some(event) = next.take() {
                match event {
                    // The beginning of a list says only that it will be asked for.
                    Ok(event) => {
                        match event {
                            // Counted before the stream is polled again, which sends the request.
                            watcher::Event::Init => self.0.lists.lock().begun += 1,
                            watcher::Event::InitApply(_) => {}
                            _ => failures.ended(kind),
                        }
                        good.push(event);
                    }
                    // Nothing is taken after it: to poll the stream again would send a request.
                    Err(error) => failed = Some(error),
                }
                if failed.is_none() && good.len() < AT_ONCE {
                    next = stream.next().now_or_never().flatten();
                }
            }
            // All that has come is taken over before any handler runs: the changes of one revision
            // appear together.
            self.absorb(good, &mut fresh);
            if let Some(error) = failed {
                clock::pause(failures.failed(kind, &error)).await;
            }
        }
    }

    fn new(report: Report) -> Informer<K> {
        let inner = Inner { objects: BTreeMap::new(), reported: BTreeMap::new() };
        Informer(Arc::new(Shared {
            inner: Mutex::new(inner),
            handlers: Mutex::new(Some(Handlers::default())),
            lists: Mutex::default(),
            synced: AtomicBool::new(false),
            first_list: Notify::new(),
            report,
        }))
    }

    /// One that knows these objects and watches nothing.
    #[cfg(any(test, feature = "testing"))]
    pub fn fixed(objects: impl IntoIterator<Item = K>) -> Informer<K> {
        let informer = Informer::new(Box::new(|_| {}));
        informer.0.synced.store(true, Ordering::Release);
        objects.into_iter().for_each(|object| informer.tell_of(object));
        informer
    }

    /// As if a watch had shown it.
    #[cfg(any(test, feature = "testing"))]
    pub fn tell_of(&self, object: K) {
        self.absorb(vec![watcher::Event::Apply(Item::Decoded(object))], &mut None);
    }

    /// As if everything had been listed anew.
    #[cfg(any(test, feature = "testing"))]
    pub fn tell_list(&self, objects: impl IntoIterator<Item = K>) {
        self.0.lists.lock().begun += 1;
        let items = objects.into_iter().map(|object| watcher::Event::InitApply(Item::Decoded(object)));
        let events = std::iter::once(watcher::Event::Init).chain(items);
        self.absorb(events.chain([watcher::Event::InitDone]).collect(), &mut None);
    }

    /// As if a watch had shown its end.
    #[cfg(any(test, feature = "testing"))]
    pub fn tell_gone(&self, object: K) {
        self.absorb(vec![watcher::Event::Delete(Item::Decoded(object))], &mut None);
    }

    /// Takes over events in their order, then tells the handlers what changed, then reports what
    /// could not be decoded.
    fn absorb(&self, events: Vec<watcher::Event<Item<K>>>, fresh: &mut Option<Fresh<K>>) {
        let handlers = self.0.handlers.lock();
        let (mut changes, mut failures, mut listed) = (Vec::new(), Vec::new(), false);
        {
            let mut inner = self.lock();
            for event in events {
                match event {
                    watcher::Event::Init => *fresh = Some(Fresh::default()),
                    watcher::Event::InitApply(Item::Decoded(object)) => {
                        let key = Key::of(&object);
                        fresh.get_or_insert_default().objects.insert(key, Arc::new(object));
                    }
                    watcher::Event::InitApply(Item::Undecodable(found)) => {
                        fresh.get_or_insert_default().undecodable.push(*found);
                    }
                    watcher::Event::InitDone => {
                        inner.replace(fresh.take().unwrap_or_default(), &mut changes, &mut failures);
                        listed = true;
                    }
                    watcher::Event::Apply(Item::Decoded(object)) => {
                        inner.put(Arc::new(object), &mut changes);
                    }
                    watcher::Event::Apply(Item::Undecodable(found)) => {
                        inner.put_undecodable(*found, &mut changes, &mut failures);
                    }
                    watcher::Event::Delete(Item::Decoded(object)) => {
                        let key = Key::of(&object);
                        inner.remove(&key, Some(Arc::new(object)), &mut changes);
                    }
                    watcher::Event::Delete(Item::Undecodable(found)) => {
                        inner.remove(&found.key(), None, &mut changes);
                    }
                }
            }
        }
        let all = || handlers.iter().flat_map(|handlers| &handlers.changes);
        changes.iter().for_each(|change| all().for_each(|handler| call(handler, change)));
        if listed {
            let list = {
                let mut lists = self.0.lists.lock();
                lists.complete = lists.begun;
                lists.complete
            };
            handlers.iter().flat_map(|handlers| &handlers.lists).for_each(|handler| handler(list));
        }
        drop(handlers);
        failures.iter().for_each(|found| (self.0.report)(found));
        if listed {
            self.0.synced.store(true, Ordering::Release);
            self.0.first_list.notify_waiters();
        }
    }

    /// Calls `handler` for every change from now on, and at once for everything already known, as
    /// added. Handlers must be quick: they run inside the watch. They usually put a key into a work
    /// queue.
    pub fn on(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut handlers = self.0.handlers.lock();
        let handler: Handler<K> = Box::new(handler);
        for object in self.list() {
            call(&handler, &Change::Added(object));
        }
        if let Some(handlers) = &mut *handlers {
            handlers.changes.push(handler);
        }
    }

    /// Calls `handler` with the number of each list that is complete from now on, after all
    /// handlers of changes have heard what the list brought.
    pub fn on_list(&self, handler: impl Fn(u64) + Send + Sync + 'static) {
        if let Some(handlers) = &mut *self.0.handlers.lock() {
            handlers.lists.push(Box::new(handler));
        }
    }

    /// How often the cache was listed.
    pub fn lists(&self) -> Lists {
        *self.0.lists.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.0.inner.lock()
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        let first = self.0.first_list.notified(); // hears of every list that completes from here on
        if !self.0.synced.load(Ordering::Acquire) {
            first.await;
        }
    }

    /// Returns the object as it is in the cache; `None` if it is not there.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.lock().objects.get(key).cloned()
    }

    /// Everything known, by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.lock().objects.values().cloned().collect()
    }

    /// Everything known in one namespace, by name.
    pub fn within(&self, namespace: &str) -> Vec<Arc<K>> {
        let inner = self.lock();
        inner
            .objects
            .range(Key::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }
}

/// Runs a handler; its panic costs this one change, not the watch.
fn call<K: kube::Resource>(handler: &Handler<K>, change: &Change<K>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(change))) {
        let (kind, panic) = (std::any::type_name::<K>(), panic_text(panic));
        tracing::error!(kind, object = %change.key(), panic, "a handler panicked on a change, the change is skipped");
    }
}

impl<K> Inner<K>
where
    K: kube::Resource + Clone,
    K::DynamicType: Default,
{
    fn replace(&mut self, fresh: Fresh<K>, changes: &mut Vec<Change<K>>, failures: &mut Vec<Undecodable>) {
        let Fresh { mut objects, undecodable } = fresh;
        let listed: BTreeSet<Key> = undecodable.iter().map(Undecodable::key).collect();
        self.reported.retain(|key, _| listed.contains(key));
        for found in undecodable {
            if let Some(known) = self.objects.get(&found.key()).filter(|known| found.may_be(&***known)) {
                objects.insert(found.key(), known.clone());
            }
            self.note(found, failures);
        }
        let gone: Vec<Key> = self.objects.keys().filter(|key| !objects.contains_key(*key)).cloned().collect();
        gone.into_iter().for_each(|key| self.forget(&key, None, changes));
        objects.into_values().for_each(|object| self.insert(object, changes));
    }

    fn put(&mut self, new: Arc<K>, changes: &mut Vec<Change<K>>) {
        self.reported.remove(&Key::of(&*new));
        self.insert(new, changes);
    }

    fn insert(&mut self, new: Arc<K>, changes: &mut Vec<Change<K>>) {
        let old = self.objects.insert(Key::of(&*new), new.clone());
        let change = match old {
            Some(old) if old.meta().resource_version == new.meta().resource_version => return,
            // Deleted and made again between two looks: two lives, not one change.
            Some(old) if old.meta().uid != new.meta().uid => {
                changes.push(Change::Deleted(old));
                Change::Added(new)
            }
            Some(old) => Change::Updated { old, new },
            None => Change::Added(new),
        };
        changes.push(change);
    }

    /// Keeps the last good version of the same object.
    fn put_undecodable(
        &mut self,
        found: Undecodable,
        changes: &mut Vec<Change<K>>,
        failures: &mut Vec<Undecodable>,
    ) {
        let key = found.key();
        if self.objects.get(&key).is_some_and(|known| !found.may_be(&**known)) {
            self.forget(&key, None, changes);
        }
        self.note(found, failures);
    }

    /// Remembers that the object cannot be decoded; it is reported if this version of it was not.
    fn note(&mut self, found: Undecodable, failures: &mut Vec<Undecodable>) {
        let version = found.meta.resource_version.clone();
        if self.reported.get(&found.key()) != Some(&version) {
            self.reported.insert(found.key(), version);
            failures.push(found);
        }
    }

    fn remove(&mut self, key: &Key, last: Option<Arc<K>>, changes: &mut Vec<Change<K>>) {
        self.reported.remove(key);
        self.forget(key, last, changes);
    }

    fn forget(&mut self, key: &Key, last: Option<Arc<K>>, changes: &mut Vec<Change<K>>) {
        if let Some(known) = self.objects.remove(key) {
            changes.push(Change::Deleted(last.unwrap_or(known)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scripted;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    fn map(name: &str, uid: &str, rv: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.namespace = Some("d".into());
        map.metadata.name = Some(name.into());
        map.metadata.uid = Some(uid.into());
        map.metadata.resource_version = Some(rv.into());
        map
    }

    #[tokio::test]
    async fn waiters_for_the_first_list_wake_in_the_order_in_which_they_came() {
        let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
        let woken = Arc::new(Mutex::new(Vec::new()));
        let waiters = (0..16).map(|number| {
            let (informer, woken) = (informer.clone(), woken.clone());
            tokio::spawn(async move {
                informer.synced().await;
                woken.lock().push(number);
            })
        });
        let waiters: Vec<_> = waiters.collect();
        tokio::task::yield_now().await; // all wait by now: this test has one thread
        assert!(woken.lock().is_empty());
        informer.tell_list([]);
        futures::future::join_all(waiters).await;
        assert_eq!(*woken.lock(), Vec::from_iter(0..16));
        informer.synced().await; // a later one does not wait
    }

    /// A list that is refused is followed at once by the beginning of the next one, which says
    /// nothing yet.
    #[tokio::test(start_paused = true)]
    async fn lists_that_fail_are_asked_for_less_and_less_often() {
        let refused = || -> kube::Error {
            let status = json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"});
            kube::Error::Api(serde_json::from_value(status).unwrap())
        };
        let unanswered = || kube::Error::Service("nobody listens".into());
        let asked = |error: fn() -> kube::Error| async move {
            let times = Arc::new(Mutex::new(0));
            let counted = times.clone();
            let failures = futures::stream::iter(std::iter::repeat_with(move || {
                *counted.lock() += 1;
                [Err(watcher::Error::InitialListFailed(error())), Ok(watcher::Event::Init)]
            }))
            .flat_map(futures::stream::iter);
            let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
            let followed = informer.follow(failures);
            assert!(clock::timeout(Duration::from_secs(60), followed).await.is_none());
            *times.lock()
        };
        let of_refused = asked(refused).await;
        assert!((10..30).contains(&of_refused), "{of_refused}");
        let of_unanswered = asked(unanswered).await;
        assert!((100..150).contains(&of_unanswered), "{of_unanswered}");
    }

    /// The first page of a list is no reason to ask for the second one without a pause.
    #[tokio::test(start_paused = true)]
    async fn lists_whose_second_page_fails_are_asked_for_less_and_less_often() {
        let log = crate::testing::Log::default();
        let _listening = log.listen();
        let times = Arc::new(Mutex::new(0));
        let counted = times.clone();
        let failures = futures::stream::iter(std::iter::repeat_with(move || {
            *counted.lock() += 1;
            let page = watcher::Event::InitApply(Item::Decoded(map("a", "1", "1")));
            let error = kube::Error::Service("nobody listens any more".into());
            [Ok(watcher::Event::Init), Ok(page), Err(watcher::Error::InitialListFailed(error))]
        }))
        .flat_map(futures::stream::iter);
        let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
        assert!(clock::timeout(Duration::from_secs(100), informer.follow(failures)).await.is_none());
        let asked = *times.lock();
        assert!((150..250).contains(&asked), "{asked}");
        // The first after ten seconds, the second a minute later.
        let warnings = log.warnings();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("nobody listens any more"), "{warnings:?}");
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

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_when_to_come_again_is_not_asked_before() {
        let busy = |seconds: u32| {
            let status = json!({"status": "Failure", "code": 429, "reason": "TooManyRequests", "message": "busy",
                "details": {"retryAfterSeconds": seconds}});
            Err(watcher::Error::InitialListFailed(kube::Error::Api(serde_json::from_value(status).unwrap())))
        };
        for (told, waited) in [(7, 7), (4_000_000_000, 60)] {
            let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
            let began = clock::Instant::now();
            informer.follow(futures::stream::iter([busy(told)])).await;
            assert_eq!(began.elapsed().as_secs(), waited);
        }
    }

    /// What a list showed before it failed is taken over, and the pause begins anew after something
    /// has come.
    #[tokio::test(start_paused = true)]
    async fn a_watch_that_brings_something_begins_with_the_shortest_pause() {
        let failed = || Err(watcher::Error::WatchError(Box::default()));
        let events = (0..20).flat_map(|n| {
            let object = map(&format!("m{n}"), "u", "1");
            [Ok(watcher::Event::Apply(Item::Decoded(object))), failed()]
        });
        let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
        let began = clock::Instant::now();
        informer.follow(futures::stream::iter(events)).await;
        assert_eq!(informer.list().len(), 20);
        assert_eq!(began.elapsed().as_millis(), 20 * 50);
    }

    #[tokio::test(start_paused = true)]
    async fn lists_are_counted_when_they_are_asked_for_and_told_when_they_are_complete() {
        let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
        let told = Arc::new(Mutex::new(Vec::new()));
        let (log, known) = (told.clone(), informer.clone());
        informer.on_list(move |list| log.lock().push((list, known.list().len())));
        let asked = informer.clone();
        let item = || watcher::Event::InitApply(Item::Decoded(map("a", "1", "1")));
        let failed = || Err(watcher::Error::WatchError(Box::default()));
        // The second list fails. When the third one is asked for, it has begun, and is not
        // complete.
        let rest = futures::stream::once(async move {
            assert_eq!(asked.lists(), Lists { begun: 3, complete: 1 });
            Ok(watcher::Event::InitDone)
        });
        let first = [Ok(watcher::Event::Init), Ok(item()), Ok(watcher::Event::InitDone), failed()];
        let second = [Ok(watcher::Event::Init), failed(), Ok(watcher::Event::Init)];
        let events = futures::stream::iter(first.into_iter().chain(second)).chain(rest);
        informer.follow(events.boxed()).await;
        assert_eq!(*told.lock(), [(1, 1), (3, 0)]);
        assert_eq!(informer.lists(), Lists { begun: 3, complete: 3 });
    }

    #[tokio::test]
    async fn a_handler_that_comes_after_the_end_is_let_go() {
        let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
        drop(Watched(informer.clone()));
        let held = Arc::new(());
        let kept = Arc::downgrade(&held);
        informer.on(move |_| drop(held.clone()));
        assert!(kept.upgrade().is_none());
    }

    #[tokio::test]
    async fn handlers_and_what_they_hold_go_with_the_crew() {
        let server = Scripted::new(|_| None).await;
        let crew = Crew::new("t");
        let informer = Informer::<ConfigMap>::all(&crew, &server.client);
        let (held, own) = (Arc::new(()), informer.clone());
        let kept = Arc::downgrade(&held);
        informer.on(move |_| {
            let _ = (&held, own.list());
        });
        assert!(kept.upgrade().is_some());
        crew.kill();
        let gone = async {
            while kept.upgrade().is_some() {
                tokio::task::yield_now().await;
            }
        };
        assert!(clock::timeout(Duration::from_secs(10), gone).await.is_some());
    }

    #[test]
    fn a_relist_tells_what_was_missed() {
        let informer = Informer::fixed([]);
        let log = Arc::new(Mutex::new(Vec::new()));
        let seen = log.clone();
        informer.on(move |change: &Change<ConfigMap>| {
            let word = match change {
                Change::Added(_) => "+",
                Change::Updated { .. } => "~",
                Change::Deleted(_) => "-",
            };
            seen.lock().push(format!("{word}{}", change.key().name));
        });
        let mut fresh = None;
        let mut list = |maps: Vec<ConfigMap>| {
            let items = maps.into_iter().map(|m| watcher::Event::InitApply(Item::Decoded(m)));
            let events = std::iter::once(watcher::Event::Init).chain(items);
            informer.absorb(events.chain([watcher::Event::InitDone]).collect(), &mut fresh);
        };
        list(vec![map("a", "1", "1"), map("b", "2", "2"), map("c", "3", "3")]);
        // a unchanged, b replaced by another object of the same name, c gone, d new
        list(vec![map("a", "1", "1"), map("b", "9", "9"), map("d", "4", "8")]);
        informer.tell_of(map("a", "1", "10"));
        assert_eq!(*log.lock(), ["+a", "+b", "+c", "-c", "-b", "+b", "+d", "~a"]);
        assert_eq!(informer.within("d").len(), 3);
    }

    /// An informer of ConfigMaps, and the names with versions that it reported.
    fn reporting() -> (Informer<ConfigMap>, Arc<Mutex<Vec<String>>>) {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let seen = reports.clone();
        let report: Report = Box::new(move |found| {
            let version = found.meta.resource_version.as_deref().unwrap_or("-");
            seen.lock().push(format!("{}@{version}", found.key()));
        });
        (Informer::new(report), reports)
    }

    fn item(name: &str, uid: &str, rv: &str, data: Value) -> Item<ConfigMap> {
        let meta = json!({"name": name, "namespace": "d", "uid": uid, "resourceVersion": rv});
        serde_json::from_value(json!({"metadata": meta, "data": data})).unwrap()
    }

    fn names(informer: &Informer<ConfigMap>) -> Vec<String> {
        let version = |m: &ConfigMap| m.metadata.resource_version.clone().unwrap_or_default();
        informer.list().iter().map(|m| format!("{}@{}", Key::of(&**m).name, version(m))).collect()
    }

    #[test]
    fn an_object_that_cannot_be_decoded_is_skipped_and_the_rest_of_its_list_is_not() {
        let (informer, reports) = reporting();
        let (good, odd) = (json!({"k": "v"}), json!(5));
        let list = |items: Vec<Item<ConfigMap>>| {
            let items = items.into_iter().map(watcher::Event::InitApply);
            let events = std::iter::once(watcher::Event::Init).chain(items);
            informer.absorb(events.chain([watcher::Event::InitDone]).collect(), &mut None);
        };
        let both = || vec![item("bad", "1", "3", odd.clone()), item("good", "2", "4", good.clone())];
        list(both());
        assert_eq!(names(&informer), ["good@4"]);
        assert!(
            informer.0.synced.load(Ordering::Acquire),
            "one odd object does not keep the cache from being complete"
        );
        list(both());
        assert_eq!(*reports.lock(), ["d/bad@3"], "once for each version");
        // It can be decoded again, then no more: the last good version stays, in a relist too.
        let one = |event| informer.absorb(vec![event], &mut None);
        one(watcher::Event::Apply(item("bad", "1", "5", good.clone())));
        one(watcher::Event::Apply(item("bad", "1", "6", odd.clone())));
        assert_eq!(names(&informer), ["bad@5", "good@4"]);
        list(vec![item("bad", "1", "6", odd.clone()), item("good", "2", "4", good.clone())]);
        assert_eq!(names(&informer), ["bad@5", "good@4"]);
        // Another object took the name: the one that was known is gone.
        one(watcher::Event::Apply(item("bad", "9", "7", odd.clone())));
        assert_eq!(names(&informer), ["good@4"]);
        one(watcher::Event::Delete(item("good", "2", "8", odd.clone())));
        assert_eq!(names(&informer), Vec::<String>::new(), "a deletion needs no decoded object");
        assert_eq!(*reports.lock(), ["d/bad@3", "d/bad@6", "d/bad@7"]);
    }

    #[test]
    fn a_condition_without_a_time_does_not_hide_its_object() {
        use k8s_openapi::api::core::v1::Service;
        let with = |condition: Value| {
            let status = json!({"conditions": [condition]});
            serde_json::from_value::<Item<Service>>(json!({"metadata": {"name": "s"}, "status": status}))
                .unwrap()
        };
        let untimed = json!({"type": "Ready", "status": "True", "reason": "r", "message": "m"});
        let mut null = untimed.clone();
        null["lastTransitionTime"] = Value::Null;
        for condition in [untimed, null] {
            let Item::Decoded(service) = with(condition) else { panic!("not decoded") };
            let conditions = service.status.and_then(|s| s.conditions).unwrap_or_default();
            assert_eq!(serde_json::to_value(&conditions[0].last_transition_time).unwrap(), json!(NO_TIME));
        }
        let Item::Undecodable(found) = with(json!({"type": 5})) else { panic!("decoded") };
        assert!(found.reason().contains("integer"), "{}", found.reason());
    }

    #[test]
    fn metadata_of_any_shape_is_read_as_an_item() {
        for value in [
            json!(null),
            json!([]),
            json!({"metadata": 5}),
            json!({"metadata": {"name": 5, "managedFields": [{"time": ""}]}}),
        ] {
            let (informer, reports) = reporting();
            let item: Item<ConfigMap> = serde_json::from_value(value).unwrap();
            informer.absorb(vec![watcher::Event::Apply(item)], &mut None);
            assert_eq!(*reports.lock(), ["@-"]);
        }
    }

    #[test]
    fn a_handler_that_panics_misses_one_change_and_the_others_see_all() {
        let informer = Informer::fixed([]);
        informer.on(|change: &Change<ConfigMap>| assert_ne!(change.key().name, "b", "boom"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        informer.on(move |change: &Change<ConfigMap>| log.lock().push(change.key().name));
        ["a", "b", "c"].into_iter().for_each(|name| informer.tell_of(map(name, name, "1")));
        assert_eq!(*seen.lock(), ["a", "b", "c"]);
    }

    #[test]
    fn handlers_of_two_kinds_may_read_each_others_caches() {
        let (a, b) = (Informer::fixed([]), Informer::fixed([]));
        let meeting = Arc::new(std::sync::Barrier::new(2));
        for (own, other) in [(&a, &b), (&b, &a)] {
            let (other, meeting) = (other.clone(), meeting.clone());
            own.on(move |_: &Change<ConfigMap>| {
                meeting.wait(); // both are inside their handlers
                other.list();
            });
        }
        let (done, ended) = std::sync::mpsc::channel();
        for informer in [a, b] {
            let done = done.clone();
            std::thread::spawn(move || {
                informer.tell_of(map("a", "1", "1"));
                done.send(()).unwrap();
            });
        }
        for _ in 0..2 {
            ended.recv_timeout(Duration::from_secs(20)).expect("the two handlers wait for each other");
        }
    }
}
