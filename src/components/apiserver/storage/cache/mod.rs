//! The watch cache: all objects in memory, fed by one watch of the store, read by lists and by
//! thousands of watchers.
//!
//! Objects and events are shared by `Arc` (see [`super::object`]). One task ([`feed`]) applies the
//! store's events in order and hands them out; no other task changes the objects. A request that
//! begins a watch adds the watcher by itself.

mod feed;

pub(crate) use feed::feed;

use crate::auth::role_bindings::Bindings;
use crate::registry::filter::Filter;
use crate::storage::keys;
use crate::storage::object::{Change, Event, Kept, Object};
use crate::storage::ring::{EventBatch, RING_AGE, RING_BYTES};
use crate::storage::room::Values;
use crate::storage::watch_buffers::{Beginning, WatchBuffers};
use crate::storage::watch_queue;
use crate::undo::steps::Steps;
use ::etcd::api::{KeyValue, Revision};
use api::kinds::{self, Catalog};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::watch;

/// Events per resource that a watcher may still ask for. Older: 410, and the client lists again.
const RING: usize = 8192;
/// The newest events, this many, are kept however old they are.
const RING_KEPT: usize = 256;
/// The newest events, this many, may have more than [`RING_BYTES`], up to [`RING_BYTES_MOST`].
const RING_LEAST: usize = 16;
/// Bytes of the events that a resource keeps, at most; the newest one is kept however large it is.
/// Every resource may have as many, and keeps them until other events come.
const RING_BYTES_MOST: usize = 4 * RING_BYTES;
/// Closed watchers are pruned once a resource has at least this many.
const PRUNE_LEAST: usize = 16;
/// The resource of CustomResourceDefinitions.
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions";

struct Watcher {
    filter: Filter,
    /// The revision up to which the beginning of the watch is complete: only later events go into
    /// the queue.
    after: Revision,
    queue: watch_queue::Sender,
}

impl Watcher {
    /// Returns what an event is to this watcher. A filter that costs much is judged by its own
    /// task: there any event is a modification.
    fn change(&self, event: &Event) -> Option<Change> {
        match self.filter.is_cheap() {
            true => self.filter.classify(event),
            false => self.filter.is_about(&event.object.value).then_some(Change::Modified),
        }
    }
}

/// A stored value that cannot be decoded. Lists and watches leave it out, a read of it alone fails,
/// a delete removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Undecodable {
    pub revision: Revision,
    /// The decoder's message.
    pub reason: Arc<str>,
}

#[derive(Default)]
struct Inner {
    /// The objects by `namespace/name` or `name`, in the store's order.
    objects: BTreeMap<String, Arc<Object>>,
    /// The values under other keys that cannot be decoded.
    undecodable: BTreeMap<String, Undecodable>,
    ring: VecDeque<Arc<Kept>>,
    /// Bytes of the events in the ring, as [`Kept::size`] counts them.
    ring_bytes: usize,
    /// Everything after this revision is in the ring.
    ring_after: Revision,
    /// The last revision that changed this resource.
    revision: Revision,
    /// Sends each such revision to callers that only need to know that something changed. It is
    /// dropped when the cache is filled anew.
    moved: watch::Sender<Revision>,
    watchers: HashMap<u64, Watcher>,
    next_watcher: u64,
    /// Closed watchers are pruned once there are so many: a resource that never changes has no
    /// event that would find them.
    prune_at: usize,
}

impl Inner {
    /// Returns the objects whose key begins with `prefix`, in the order of their keys.
    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Arc<Object>)> {
        self.objects.range(prefix.to_string()..).take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Remembers what one revision did and hands it to the watchers, to each all at once.
    fn publish(&mut self, events: Vec<Arc<Event>>, watch_buffers: &WatchBuffers) {
        events.iter().for_each(|event| self.remember(event, watch_buffers));
        self.watchers.retain(|_, w| {
            let news = events.iter().filter(|event| event.revision > w.after);
            let batch: EventBatch = news.filter_map(|e| Some((w.change(e)?, e.clone()))).collect();
            if batch.is_empty() { !w.queue.is_closed() } else { w.queue.send(batch) }
        });
    }

    /// Drops all events that are kept: a kind that is not served cannot be watched. If it is served
    /// again, a watch begins with a list.
    fn forget_events(&mut self, watch_buffers: &WatchBuffers) {
        let ring = std::mem::take(&mut self.ring);
        ring.iter().for_each(|kept| watch_buffers.let_go(&**kept));
        (self.ring_bytes, self.ring_after) = (0, self.revision);
    }

    /// Adds an event to the ring and lets old ones go.
    fn remember(&mut self, event: &Event, watch_buffers: &WatchBuffers) {
        let stale = |e: &Kept| event.at.duration_since(e.at) > RING_AGE;
        self.ring_bytes += event.size();
        while self.ring.len() >= RING
            || (self.ring.len() >= RING_LEAST && self.ring_bytes > RING_BYTES)
            || self.ring_bytes > RING_BYTES_MOST
            || (self.ring.len() > RING_KEPT && self.ring.front().is_some_and(|e| stale(e)))
        {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.size();
            self.ring_after = oldest.revision;
            watch_buffers.let_go(&*oldest);
        }
        self.ring.push_back(Arc::new(Kept::new(event)));
    }
}

/// The changes of one revision to one resource: by key, the new state or none.
type Changes = Vec<(String, Option<Arc<Object>>)>;
/// The objects of one resource and their watchers.
type Resource = Arc<RwLock<Inner>>;

pub(crate) struct Cache {
    /// What is cached of each resource, as keys name it (`pods`, `example.com/tabs`). That of a
    /// custom resource is made when it is first used.
    resources: RwLock<HashMap<String, Resource>>,
    /// The revision of the last fill: nothing is known of what was before.
    filled: AtomicI64,
    /// The kinds that are served: as the definitions say, at the revision of the objects.
    kinds: RwLock<Arc<Catalog>>,
    /// Everything up to here is applied and handed out; 0 until the first fill.
    progress: watch::Sender<Revision>,
    /// The bytes that wait for all watchers.
    pub watch_buffers: Arc<WatchBuffers>,
    /// The memory that the objects take, parsed.
    pub values: Values,
    /// What people did: kept beside the objects, so that both are at the same revision.
    pub steps: Steps,
    /// The role bindings, by the users and groups that they name.
    pub bindings: Bindings,
}

fn lock(cached: &RwLock<Inner>) -> RwLockReadGuard<'_, Inner> {
    cached.read()
}

fn lock_mut(cached: &RwLock<Inner>) -> RwLockWriteGuard<'_, Inner> {
    cached.write()
}

/// A list at one revision.
pub(crate) struct Snapshot {
    pub objects: Vec<(String, Arc<Object>)>,
    pub revision: Revision,
}

/// The size of a list.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Measure {
    pub count: usize,
    /// Bytes of the objects, encoded.
    pub objects: usize,
    /// Bytes of a [`Snapshot`] without the objects, which it shares with the cache.
    pub keys: usize,
}

/// The beginning of a watch: what to send first, then what comes.
pub(crate) struct Subscription {
    /// Selects from `initial` and `backlog`, which hold what does not match as well: there may be
    /// much of it, and the cache is locked when they are made.
    pub filter: Filter,
    pub initial: Beginning<Object>,
    pub backlog: Beginning<Kept>,
    /// The revision up to which `initial` and `backlog` are complete.
    pub revision: Revision,
    pub live: watch_queue::Receiver,
}

/// The wanted events are no longer kept; `oldest` is the first revision that one can still start
/// from.
#[derive(Debug)]
pub(crate) struct TooOld {
    pub oldest: Revision,
}

impl Cache {
    pub(crate) fn new() -> Cache {
        let names = kinds::all().iter().filter(|k| k.is_stored()).map(|k| k.plural.to_string());
        Cache {
            resources: RwLock::new(names.map(|name| (name, Resource::default())).collect()),
            filled: AtomicI64::new(0),
            kinds: RwLock::default(),
            progress: watch::Sender::new(0),
            watch_buffers: Arc::default(),
            values: Values::default(),
            steps: Steps::default(),
            bindings: Bindings::default(),
        }
    }

    /// Returns the kinds that are served.
    pub(crate) fn kinds(&self) -> Arc<Catalog> {
        self.kinds.read().clone()
    }

    fn resource(&self, resource: &str) -> Option<Resource> {
        if let Some(cached) = self.resources.read().get(resource) {
            return Some(cached.clone());
        }
        if !resource.contains('/') {
            return None; // no kind of the table, and no custom resource's place
        }
        let mut resources = self.resources.write();
        let cached = resources.entry(resource.to_string()).or_insert_with(|| {
            let filled = self.filled.load(Ordering::Relaxed);
            Arc::new(RwLock::new(Inner { ring_after: filled, revision: filled, ..Inner::default() }))
        });
        Some(cached.clone())
    }

    /// Returns the revision that this cache has reached.
    pub(crate) fn revision(&self) -> Revision {
        *self.progress.borrow()
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Revision> {
        self.progress.subscribe()
    }

    /// Waits until everything up to `revision` is here.
    pub(crate) async fn wait_for(&self, revision: Revision) {
        if self.revision() >= revision {
            return;
        }
        let _ = self.progress.subscribe().wait_for(|r| *r >= revision).await;
    }

    pub(crate) fn get(&self, resource: &str, key: &str) -> Option<Arc<Object>> {
        lock(&*self.resource(resource)?).objects.get(key).cloned()
    }

    /// Returns why the object of this key is not served although something is stored there.
    pub(crate) fn undecodable(&self, resource: &str, key: &str) -> Option<Undecodable> {
        lock(&*self.resource(resource)?).undecodable.get(key).cloned()
    }

    /// Returns the keys of a resource under `prefix` (empty, or `namespace/`) whose values cannot
    /// be decoded.
    pub(crate) fn undecodable_keys(&self, resource: &str, prefix: &str) -> Vec<String> {
        let Some(cached) = self.resource(resource) else { return vec![] };
        lock(&cached).undecodable.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// Returns all objects of a resource whose key starts with `prefix` (empty, or `namespace/`).
    pub(crate) fn list(&self, resource: &str, prefix: &str) -> Snapshot {
        let reached = self.revision();
        let Some(cached) = self.resource(resource) else {
            return Snapshot { objects: vec![], revision: reached };
        };
        let inner = lock(&cached);
        let objects = inner.under(prefix).map(|(key, object)| (key.clone(), object.clone())).collect();
        Snapshot { objects, revision: reached.max(inner.revision) }
    }

    /// Returns the size of a list of all objects under `prefix`, without making it.
    pub(crate) fn measure(&self, resource: &str, prefix: &str) -> Measure {
        let mut found = Measure::default();
        let Some(cached) = self.resource(resource) else { return found };
        for (key, object) in lock(&cached).under(prefix) {
            found.count += 1;
            found.objects += object.bytes.len();
            found.keys += key.len() + size_of::<(String, Arc<Object>)>();
        }
        found
    }

    /// Calls `f` for each object under `prefix`, without copying.
    pub(crate) fn for_each(&self, resource: &str, prefix: &str, mut f: impl FnMut(&Value)) {
        let Some(cached) = self.resource(resource) else { return };
        lock(&cached).under(prefix).for_each(|(_, object)| f(&object.value));
    }

    /// Returns a receiver that changes with each revision that changes the resource, also for
    /// values that cannot be decoded. It closes when the cache is filled anew. `None` for what is
    /// no resource.
    pub(crate) fn changes(&self, resource: &str) -> Option<watch::Receiver<Revision>> {
        Some(lock(&*self.resource(resource)?).moved.subscribe())
    }

    /// Starts a watch: `after` None begins with all objects there are, else with the events after
    /// that revision.
    pub(crate) fn watch(
        &self,
        resource: &str,
        filter: Filter,
        after: Option<Revision>,
    ) -> Result<Subscription, TooOld> {
        let reached = self.revision();
        let (queue, live) =
            watch_queue::channel((!filter.is_cheap()).then(|| filter.clone()), &self.watch_buffers);
        let Some(cached) = self.resource(resource) else {
            let (initial, backlog) = self.beginning(vec![], vec![]);
            return Ok(Subscription { filter, initial, backlog, revision: reached, live });
        };
        let mut inner = lock_mut(&cached);
        let revision = reached.max(inner.revision);
        let (mut initial, mut backlog) = (vec![], vec![]);
        match after {
            None => {
                let prefix = keys::prefix(&filter.namespace);
                initial.extend(inner.under(&prefix).map(|(_, object)| object.clone()));
            }
            Some(after) if after < inner.ring_after => return Err(TooOld { oldest: inner.ring_after }),
            Some(after) => {
                let start = inner.ring.partition_point(|e| e.revision <= after);
                backlog.extend(inner.ring.range(start..).cloned());
            }
        }
        let after = after.unwrap_or(revision).max(revision);
        if inner.watchers.len() >= inner.prune_at {
            inner.watchers.retain(|_, w| !w.queue.is_closed());
            inner.prune_at = 2 * inner.watchers.len() + PRUNE_LEAST;
        }
        let id = inner.next_watcher;
        inner.next_watcher += 1;
        inner.watchers.insert(id, Watcher { filter: filter.clone(), after, queue });
        let (initial, backlog) = self.beginning(initial, backlog); // under the lock: none of them has been let go
        Ok(Subscription { filter, initial, backlog, revision, live })
    }

    fn beginning(
        &self,
        initial: Vec<Arc<Object>>,
        backlog: Vec<Arc<Kept>>,
    ) -> (Beginning<Object>, Beginning<Kept>) {
        (Beginning::new(&self.watch_buffers, initial), Beginning::new(&self.watch_buffers, backlog))
    }
}

/// Says in the log, once for each time that it is read from the store, that a value cannot be
/// decoded.
fn undecodable(kv: &KeyValue, reason: String) -> Undecodable {
    tracing::error!(
        key = %String::from_utf8_lossy(&kv.key),
        revision = kv.mod_revision,
        reason,
        "stored object cannot be decoded and is left out of lists; delete it, or its key with etcdctl"
    );
    Undecodable { revision: kv.mod_revision, reason: reason.into() }
}

#[cfg(test)]
mod tests;
