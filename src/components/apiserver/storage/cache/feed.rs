//! How the cache follows the store: a list of everything once, then every change.

use super::{Cache, Changes, DEFINITIONS, Inner, Undecodable, lock, lock_mut, undecodable};
use crate::auth::role_bindings;
use crate::storage::keys::{self, ROOT, ROOT_END};
use crate::storage::object::{Event, Object};
use crate::undo::steps;
use ::etcd::Storage;
use ::etcd::api::{self as etcd, EventType, KeyValue, Revision};
use api::kinds::Catalog;
use api::meta;
use bytes::Bytes;
use clock::Instant;
use futures::StreamExt;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Pause before everything is read again, at first. It doubles each time.
const FEED_AGAIN: Duration = Duration::from_millis(50);
/// The longest pause before such a read, while a store elsewhere cannot be reached.
const FEED_AGAIN_MAX: Duration = Duration::from_secs(2);
/// How often it is looked which watchers leave their events waiting.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Fills the cache and keeps it: runs until the store stops.
pub(crate) async fn feed(cache: Arc<Cache>, kv: Arc<dyn Storage>) {
    let mut pause = FEED_AGAIN;
    loop {
        let began = Instant::now();
        if let Err(error) = feed_once(&cache, &*kv).await {
            if error == etcd::Error::Stopped {
                return;
            }
            tracing::warn!(%error, "the watch of the store ended; reading everything again");
        }
        if began.elapsed() > FEED_AGAIN_MAX {
            pause = FEED_AGAIN;
        }
        clock::pause(pause).await;
        pause = (pause * 2).min(FEED_AGAIN_MAX);
    }
}

async fn feed_once(cache: &Cache, kv: &dyn Storage) -> Result<(), etcd::Error> {
    let all = etcd::RangeRequest {
        key: Bytes::from_static(ROOT.as_bytes()),
        range_end: Bytes::from_static(ROOT_END.as_bytes()),
        ..Default::default()
    };
    let response = kv.range(all).await?;
    let revision = response.revision;
    let steps = etcd::RangeRequest {
        key: Bytes::from_static(steps::ROOT.as_bytes()),
        range_end: Bytes::from_static(steps::ROOT_END.as_bytes()),
        revision,
        ..Default::default()
    };
    let steps = kv.range(steps).await?;
    cache.steps.clear();
    steps.kvs.iter().for_each(|kv| cache.steps.apply_key(kv, false));
    cache.reset(response.kvs, revision);
    // All keys, so that every revision is seen and `progress` never stands still.
    let request = etcd::WatchRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        start_revision: revision + 1,
        prev_kv: false,
    };
    let mut changes = kv.watch(request).await?;
    let mut look = std::pin::pin!(clock::pause(Duration::ZERO)); // at once, then every LOOK_EVERY
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(response) => cache.feed_response(response?),
                None => return Err(etcd::Error::Stopped),
            },
            () = &mut look => {
                cache.cut_slow_watchers();
                look.set(clock::pause(LOOK_EVERY));
            }
        }
    }
}

impl Cache {
    /// Cuts off the watchers that leave events waiting for longer than the cache keeps them.
    fn cut_slow_watchers(&self) {
        let now = Instant::now();
        for cached in self.resources.read().values() {
            // Few are slow: others may read meanwhile.
            let is_slow = lock(cached).watchers.values().any(|w| !w.queue.keeps_up(now));
            if is_slow {
                lock_mut(cached).watchers.retain(|_, w| w.queue.keeps_up(now));
            }
        }
    }

    /// Applies all that one revision did to one resource. What can no longer be decoded counts as
    /// deleted, so that a list and a watch agree; it comes back as added.
    fn apply(
        &self,
        resource: &str,
        revision: Revision,
        changes: Changes,
        unread: BTreeMap<String, Undecodable>,
    ) {
        let Some(cached) = self.resource(resource) else { return };
        let inner = &mut *lock_mut(&cached);
        if !inner.undecodable.is_empty() {
            changes.iter().for_each(|(key, _)| drop(inner.undecodable.remove(key)));
        }
        inner.undecodable.extend(unread);
        let mut events = Vec::with_capacity(changes.len());
        let mut happened = |object, previous, deleted| {
            events.push(Arc::new(Event::new(revision, object, previous, deleted)));
        };
        for (key, object) in changes {
            let previous = match &object {
                Some(object) => inner.objects.insert(key, object.clone()),
                None => inner.objects.remove(&key),
            };
            let values = |object: Option<&Arc<Object>>| object.map_or(0, |object| object.values);
            self.values.change(values(previous.as_ref()), values(object.as_ref()));
            if role_bindings::is_binding(resource) {
                self.bindings.change(previous.as_ref(), object.as_ref());
            }
            previous.iter().for_each(|previous| self.watch_buffers.let_go(&**previous));
            // Another uid under the same name is another object, which only a rewind does in one
            // revision: the old one goes first.
            let uid = |o: &Arc<Object>| meta::uid(&o.value).to_string();
            let (gone, previous) = match previous {
                Some(p) if object.as_ref().is_none_or(|o| uid(o) != uid(&p)) => (Some(p), None),
                previous => (None, previous),
            };
            if let Some(gone) = gone {
                let last = Arc::new(Object::new(gone.value.clone(), revision));
                happened(last, Some(gone), true);
            }
            if let Some(object) = object {
                happened(object, previous, false);
            }
        }
        inner.publish(events, &self.watch_buffers);
        inner.revision = revision;
        inner.moved.send_replace(revision);
    }

    /// Replaces everything, as after a first start or when the store cut the feed off: all watchers
    /// end.
    pub(super) fn reset(&self, kvs: Vec<KeyValue>, revision: Revision) {
        let mut fresh: HashMap<String, BTreeMap<String, Arc<Object>>> = HashMap::new();
        let mut unread: HashMap<String, BTreeMap<String, Undecodable>> = HashMap::new();
        for kv in &kvs {
            let Some((resource, key)) = self.resource_and_key(&kv.key) else { continue };
            match Object::decode(&resource, &key, &kv.value, kv.mod_revision) {
                Ok(object) => drop(fresh.entry(resource).or_default().insert(key, Arc::new(object))),
                Err(reason) => {
                    let found = undecodable(kv, reason);
                    unread.entry(resource).or_default().insert(key, found);
                }
            }
        }
        let bound = fresh.iter().filter(|(resource, _)| role_bindings::is_binding(resource));
        self.bindings.reset(bound.flat_map(|(_, objects)| objects.values()));
        let objects = fresh.values().flat_map(|objects| objects.values());
        self.values.reset(objects.map(|object| object.values).sum());
        self.filled.store(revision, Ordering::Relaxed);
        fresh.keys().chain(unread.keys()).for_each(|name| drop(self.resource(name)));
        for (name, cached) in self.resources.read().iter() {
            let objects = fresh.remove(name).unwrap_or_default();
            let undecodable = unread.remove(name).unwrap_or_default();
            let fresh = Inner { objects, undecodable, ring_after: revision, revision, ..Inner::default() };
            let before = std::mem::replace(&mut *lock_mut(cached), fresh);
            before.objects.values().for_each(|object| self.watch_buffers.let_go(&**object));
            before.ring.iter().for_each(|kept| self.watch_buffers.let_go(&**kept));
        }
        self.define(&[]);
        self.progress.send_replace(revision);
    }

    /// Takes over what the definitions say with these changes. The watches of kinds that are no
    /// longer served, or are served in another way, end: their clients list again.
    fn define(&self, changes: &[(String, Option<Arc<Object>>)]) {
        let mut definitions = BTreeMap::new();
        if let Some(cached) = self.resource(DEFINITIONS) {
            definitions.clone_from(&lock(&cached).objects);
        }
        for (name, changed) in changes {
            match changed {
                Some(object) => drop(definitions.insert(name.clone(), object.clone())),
                None => drop(definitions.remove(name)),
            }
        }
        let before = self.kinds();
        let after = Arc::new(Catalog::of(definitions.values().map(|d| &d.value), &before));
        *self.kinds.write() = after.clone();
        for place in before.changed(&after) {
            let Some(cached) = self.resource(&place) else { continue };
            let inner = &mut *lock_mut(&cached);
            inner.watchers.clear();
            if after.iter().all(|kind| kind.place() != place) {
                inner.forget_events(&self.watch_buffers);
            }
        }
    }

    /// As [`keys::resource_and_key`]; `None` also for what is no resource of this cache, such as
    /// the reservations of Services.
    fn resource_and_key(&self, key: &[u8]) -> Option<(String, String)> {
        let (resource, rest) = keys::resource_and_key(key)?;
        self.resource(resource)?;
        Some((resource.to_string(), rest.to_string()))
    }

    pub(super) fn feed_response(&self, response: etcd::WatchResponse) {
        let mut events = response.events.into_iter().peekable();
        while let Some(first) = events.peek() {
            let revision = first.kv.mod_revision;
            let mut changed: BTreeMap<String, Changes> = BTreeMap::new();
            let mut unread: BTreeMap<String, BTreeMap<String, Undecodable>> = BTreeMap::new();
            while let Some(event) = events.next_if(|e| e.kv.mod_revision == revision) {
                let Some((resource, key)) = self.resource_and_key(&event.kv.key) else {
                    self.steps.apply_key(&event.kv, event.kind == EventType::Delete);
                    continue;
                };
                let object = match event.kind {
                    EventType::Delete => None,
                    EventType::Put => match Object::decode(&resource, &key, &event.kv.value, revision) {
                        Ok(object) => Some(object),
                        Err(reason) => {
                            let found = undecodable(&event.kv, reason);
                            unread.entry(resource.clone()).or_default().insert(key.clone(), found);
                            None
                        }
                    },
                };
                changed.entry(resource).or_default().push((key, object.map(Arc::new)));
            }
            // Definitions first: a client that hears that one is established asks for its kinds at
            // once, and once only.
            if let Some(definitions) = changed.get(DEFINITIONS) {
                self.define(definitions);
            }
            for (resource, changes) in changed {
                let unread = unread.remove(&resource).unwrap_or_default();
                self.apply(&resource, revision, changes, unread);
            }
            self.progress.send_replace(revision);
        }
        self.progress.send_if_modified(|r| {
            let newer = response.revision > *r;
            *r = response.revision.max(*r);
            newer
        });
    }
}
