//! A local cache of one kind, kept up to date by a watch.

use super::Client;
use crate::clock;
use crate::tap::Cause;
use crate::task::Crew;
use futures::StreamExt;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::Api;
use kube::runtime::watcher;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// Namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }
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
    Added(Arc<K>),
    Updated { old: Arc<K>, new: Arc<K> },
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

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

struct Inner<K> {
    objects: BTreeMap<Key, Arc<K>>,
    handlers: Vec<Handler<K>>,
}

struct Shared<K> {
    inner: Mutex<Inner<K>>,
    synced: watch::Sender<bool>,
}

/// The cache and its handlers. Clones share both.
pub struct Informer<K>(Arc<Shared<K>>);

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Informer(self.0.clone())
    }
}

/// Events that are taken over in one go.
const AT_ONCE: usize = 256;
/// Pause after a failed list or watch; doubles up to the second value.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

impl<K> Informer<K>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
{
    /// Watches all objects of the kind in all namespaces.
    pub fn all(crew: &Crew, client: &Client) -> Informer<K> {
        Informer::start(crew, client.all::<K>(), watcher::Config::default())
    }

    /// Watches what the API handle and the selectors of `config` name.
    pub fn start(crew: &Crew, api: Api<K>, config: watcher::Config) -> Informer<K> {
        let inner = Inner { objects: BTreeMap::new(), handlers: Vec::new() };
        let informer =
            Informer(Arc::new(Shared { inner: Mutex::new(inner), synced: watch::Sender::new(false) }));
        let cache = informer.clone();
        crew.spawn_essential(async move {
            let mut stream = watcher(api, config).boxed().ready_chunks(AT_ONCE);
            let mut fresh: Option<BTreeMap<Key, Arc<K>>> = None;
            let mut pause = RETRY.0;
            while let Some(events) = stream.next().await {
                let mut failed = None;
                {
                    // All that has come is taken over before anybody looks: what one revision did comes in one piece.
                    let mut inner = cache.lock();
                    for event in events {
                        match event {
                            Ok(event) => {
                                (pause, failed) = (RETRY.0, None);
                                cache.absorb(&mut inner, event, &mut fresh);
                            }
                            Err(error) => failed = Some(error),
                        }
                    }
                }
                if let Some(error) = failed {
                    tracing::debug!(kind = std::any::type_name::<K>(), %error, "watch failed, trying again");
                    clock::sleep(pause).await;
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        });
        informer
    }

    /// One that knows these objects and watches nothing.
    #[cfg(test)]
    pub fn fixed(objects: impl IntoIterator<Item = K>) -> Informer<K> {
        let inner = Inner { objects: BTreeMap::new(), handlers: Vec::new() };
        let informer =
            Informer(Arc::new(Shared { inner: Mutex::new(inner), synced: watch::Sender::new(true) }));
        objects.into_iter().for_each(|object| informer.tell_of(object));
        informer
    }

    /// As if a watch had shown it.
    #[cfg(test)]
    pub fn tell_of(&self, object: K) {
        self.lock().put(Arc::new(object));
    }

    fn absorb(
        &self,
        inner: &mut Inner<K>,
        event: watcher::Event<K>,
        fresh: &mut Option<BTreeMap<Key, Arc<K>>>,
    ) {
        match event {
            watcher::Event::Init => *fresh = Some(BTreeMap::new()),
            watcher::Event::InitApply(object) => {
                let key = Key::of(&object);
                fresh.get_or_insert_default().insert(key, Arc::new(object));
            }
            watcher::Event::InitDone => {
                let all = fresh.take().unwrap_or_default();
                inner.replace(all);
                self.0.synced.send_replace(true);
            }
            watcher::Event::Apply(object) => inner.put(Arc::new(object)),
            watcher::Event::Delete(object) => inner.remove(Arc::new(object)),
        }
    }

    /// Calls `handler` for every change from now on, and at once for everything already known, as added.
    /// Handlers must be quick: they run inside the watch. They usually put a key into a work queue.
    pub fn on(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut inner = self.lock();
        for object in inner.objects.values() {
            handler(&Change::Added(object.clone()));
        }
        inner.handlers.push(Box::new(handler));
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.0.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        let mut synced = self.0.synced.subscribe();
        let _ = synced.wait_for(|done| *done).await; // the sender lives as long as self
    }

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

impl<K> Inner<K>
where
    K: kube::Resource + Clone,
    K::DynamicType: Default,
{
    fn tell(&self, change: &Change<K>) {
        self.handlers.iter().for_each(|handler| handler(change));
    }

    fn replace(&mut self, all: BTreeMap<Key, Arc<K>>) {
        let gone: Vec<Arc<K>> =
            self.objects.iter().filter(|(key, _)| !all.contains_key(*key)).map(|(_, o)| o.clone()).collect();
        gone.into_iter().for_each(|object| self.remove(object));
        all.into_values().for_each(|object| self.put(object));
    }

    fn put(&mut self, new: Arc<K>) {
        let old = self.objects.insert(Key::of(&*new), new.clone());
        let change = match old {
            Some(old) if old.meta().resource_version == new.meta().resource_version => return,
            // Deleted and made again between two looks: two lives, not one change.
            Some(old) if old.meta().uid != new.meta().uid => {
                self.tell(&Change::Deleted(old));
                Change::Added(new)
            }
            Some(old) => Change::Updated { old, new },
            None => Change::Added(new),
        };
        self.tell(&change);
    }

    fn remove(&mut self, last: Arc<K>) {
        if self.objects.remove(&Key::of(&*last)).is_some() {
            self.tell(&Change::Deleted(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn map(name: &str, uid: &str, rv: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.namespace = Some("d".into());
        map.metadata.name = Some(name.into());
        map.metadata.uid = Some(uid.into());
        map.metadata.resource_version = Some(rv.into());
        map
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
            seen.lock().unwrap().push(format!("{word}{}", change.key().name));
        });
        let mut fresh = None;
        let mut list = |maps: Vec<ConfigMap>| {
            informer.absorb(&mut informer.lock(), watcher::Event::Init, &mut fresh);
            maps.into_iter().for_each(|m| {
                informer.absorb(&mut informer.lock(), watcher::Event::InitApply(m), &mut fresh)
            });
            informer.absorb(&mut informer.lock(), watcher::Event::InitDone, &mut fresh);
        };
        list(vec![map("a", "1", "1"), map("b", "2", "2"), map("c", "3", "3")]);
        // a unchanged, b replaced by another object of the same name, c gone, d new
        list(vec![map("a", "1", "1"), map("b", "9", "9"), map("d", "4", "8")]);
        informer.absorb(&mut informer.lock(), watcher::Event::Apply(map("a", "1", "10")), &mut None);
        assert_eq!(*log.lock().unwrap(), ["+a", "+b", "+c", "-c", "-b", "+b", "+d", "~a"]);
        assert_eq!(informer.within("d").len(), 3);
    }
}
