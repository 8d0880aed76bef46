//! A local cache of one kind, kept up to date by a [`Reflector`].

use super::api_client::Client;
use super::codec::Codec;
use super::item::{Item, Key, Undecodable};
use super::objects::Api;
use super::recorder::Recorder;
use super::reflector::{Delta, Reflector};
use futures::FutureExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::ApiResource;
use kube::runtime::watcher;
use parking_lot::{Mutex, MutexGuard};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tap::Cause;
use task::{Crew, panic_text};
use tokio::sync::Notify;

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
    /// Returns the object as it is now, or as it last was.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Change::Added(object) | Change::Deleted(object) => object,
            Change::Updated { new, .. } => new,
        }
    }
    /// Returns the key of the object that changed.
    pub fn key(&self) -> Key {
        Key::of(&**self.object())
    }
    /// Returns the revision that brought the change.
    pub fn cause(&self) -> Option<Cause> {
        cause_of(&**self.object())
    }
}

/// Returns the revision in which an object was last written, as a cause.
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
    /// Wakes the tasks that wait for the first list, in the order in which they came. tokio's
    /// `watch` has an order of its own, and a seed of a simulation has to be one history.
    first_list: Notify,
    report: Report,
}

/// The cache and its handlers. Clones share both.
///
/// One object never stops it. What cannot be decoded is left out, and reported once for each of its
/// resource versions, in the log and in an Event. If it could be decoded before, the last good
/// version stays: the object still exists, and treating it as deleted would end what depends on it.
/// It is deleted when the API server says so or when another object takes its name. A handler that
/// panics misses that one change or list.
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

/// Deltas that are taken over in one go.
const AT_ONCE: usize = 256;
/// The reason of the Event on an object that cannot be decoded.
const UNDECODABLE: &str = "FailedDecode";

/// Reports to the log and, through a recorder that is made when it is first needed, in an Event on
/// the object.
fn reporter(crew: &Crew, client: &Client, resource: ApiResource) -> Report {
    let (crew, client) = (crew.clone(), client.clone());
    let recorder: OnceLock<Recorder> = OnceLock::new();
    Box::new(move |found| {
        let (kind, key) = (&resource.kind, found.key());
        tracing::warn!(%kind, object = %key, reason = found.reason(), "object cannot be decoded, skipped");
        if key.name.is_empty() {
            return;
        }
        let about = ObjectReference {
            api_version: Some(resource.api_version.clone()),
            kind: Some(kind.clone()),
            name: found.meta.name.clone(),
            namespace: found.meta.namespace.clone(),
            uid: found.meta.uid.clone(),
            resource_version: found.meta.resource_version.clone(),
            ..ObjectReference::default()
        };
        let recorder = recorder.get_or_init(|| Recorder::new(&crew, &client, crew.name(), ""));
        let message = format!("the object cannot be decoded and is skipped: {}", found.reason());
        recorder.warning(&about, UNDECODABLE, message, None);
    })
}

impl<K> Informer<K>
where
    K: kube::Resource + Clone + Codec + Send + Sync + 'static,
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
        let resource = ApiResource::erase::<K>(&K::DynamicType::default());
        let informer = Informer::new(reporter(crew, client, resource));
        let watched = Watched(informer.clone());
        crew.spawn_essential(async move {
            watched.0.follow(Reflector::new(std::any::type_name::<K>(), api, config)).await;
        });
        informer
    }

    /// Takes over what a watch says until it ends.
    async fn follow(&self, reflector: Reflector<K>) {
        let shared = self.0.clone();
        let mut reflector = reflector.on_list(move || shared.lists.lock().begun += 1);
        while let Some(first) = reflector.next().await {
            let (mut good, mut next) = (Vec::new(), Some(first));
            // Nothing is taken after a failure: the next request has to wait.
            while let Some(Ok(delta)) = next.take() {
                good.push(delta);
                if good.len() < AT_ONCE {
                    next = reflector.next().now_or_never().flatten();
                }
            }
            // All that has come is taken over before any handler runs: the changes of one revision
            // appear together.
            self.absorb(good);
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
        objects.into_iter().for_each(|object| informer.show(object));
        informer
    }

    /// Shows an object to the informer, as a watch would.
    #[cfg(any(test, feature = "testing"))]
    pub fn show(&self, object: K) {
        self.absorb(vec![Delta::Updated(Item::Decoded(object))]);
    }

    /// Shows a complete list to the informer, as a new list would.
    #[cfg(any(test, feature = "testing"))]
    pub fn show_list(&self, objects: impl IntoIterator<Item = K>) {
        self.0.lists.lock().begun += 1;
        self.absorb(vec![Delta::Replaced(objects.into_iter().map(Item::Decoded).collect())]);
    }

    /// Shows the deletion of an object to the informer, as a watch would.
    #[cfg(any(test, feature = "testing"))]
    pub fn show_deleted(&self, object: K) {
        self.absorb(vec![Delta::Deleted(Item::Decoded(object))]);
    }

    /// Takes over deltas in their order, then tells the handlers what changed, then reports what
    /// could not be decoded.
    fn absorb(&self, deltas: Vec<Delta<Item<K>>>) {
        let handlers = self.0.handlers.lock();
        let (mut changes, mut failures, mut listed) = (Vec::new(), Vec::new(), false);
        {
            let mut inner = self.lock();
            for delta in deltas {
                match delta {
                    Delta::Replaced(items) => {
                        inner.replace(items, &mut changes, &mut failures);
                        listed = true;
                    }
                    Delta::Updated(Item::Decoded(object)) => inner.put(Arc::new(object), &mut changes),
                    Delta::Updated(Item::Undecodable(found)) => {
                        inner.put_undecodable(*found, &mut changes, &mut failures);
                    }
                    Delta::Deleted(Item::Decoded(object)) => {
                        let key = Key::of(&object);
                        inner.remove(&key, Some(Arc::new(object)), &mut changes);
                    }
                    Delta::Deleted(Item::Undecodable(found)) => {
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
            let all = handlers.iter().flat_map(|handlers| &handlers.lists);
            all.for_each(|handler| call_on_list(std::any::type_name::<K>(), handler, list));
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

    /// Returns how often the cache was listed.
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

    /// Returns everything known, by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.lock().objects.values().cloned().collect()
    }

    /// Returns everything known in one namespace, by name.
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
        log_panic_on_change(std::any::type_name::<K>(), &change.key(), panic);
    }
}

fn log_panic_on_change(kind: &str, key: &Key, panic: Box<dyn Any + Send>) {
    let panic = panic_text(panic);
    tracing::error!(kind, object = %key, panic, "a handler panicked on a change, the change is skipped");
}

/// Runs a handler of lists; its panic costs this one list, not the watch.
fn call_on_list(kind: &str, handler: &ListHandler, list: u64) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(list))) {
        let panic = panic_text(panic);
        tracing::error!(kind, list, panic, "a handler panicked on a list, the list is skipped");
    }
}

impl<K> Inner<K>
where
    K: kube::Resource + Clone,
    K::DynamicType: Default,
{
    fn replace(
        &mut self,
        items: Vec<Item<K>>,
        changes: &mut Vec<Change<K>>,
        failures: &mut Vec<Undecodable>,
    ) {
        let (mut objects, mut undecodable) = (BTreeMap::new(), Vec::new());
        for item in items {
            match item {
                Item::Decoded(object) => {
                    objects.insert(Key::of(&object), Arc::new(object));
                }
                Item::Undecodable(found) => undecodable.push(*found),
            }
        }
        let listed: BTreeSet<Key> = undecodable.iter().map(Undecodable::key).collect();
        self.reported.retain(|key, _| listed.contains(key));
        for found in undecodable {
            if let Some(known) = self.objects.get(&found.key()).filter(|known| found.could_be(&***known)) {
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
        if self.objects.get(&key).is_some_and(|known| !found.could_be(&**known)) {
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
mod tests;
