//! Watches: every change from a revision on, in order, without gaps.

use super::api::{Error, Event, Revision, WatchRequest, WatchResponse};
use super::mvcc::{Span, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};
use tokio::sync::mpsc;

/// Responses a watcher may be behind. One that falls further behind is cut off with `SlowWatcher`.
const QUEUE: usize = 4096;
/// Events of the past handed over in one response.
const BACKLOG_CHUNK: usize = 512;

/// Where applied changes go out to watchers.
#[derive(Default)]
pub(super) struct Hub(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    watchers: BTreeMap<u64, Registered>,
    next_id: u64,
    /// Everything up to here was handed to the watchers.
    sent: Revision,
    closed: bool,
}

struct Registered {
    filter: Filter,
    /// First revision not yet handed over; in the future, if the watch begins there.
    next: Revision,
    /// The revision that the store had when the watch was made.
    made: Revision,
    queue: mpsc::Sender<WatchResponse>,
    end: Arc<OnceLock<Error>>,
}

#[derive(Clone)]
struct Filter {
    span: Span,
    prev_kv: bool,
}

impl Filter {
    fn pick(&self, events: &[Event], out: &mut Vec<Event>) {
        for event in events.iter().filter(|e| self.span.contains(&e.kv.key)) {
            let prev_kv = event.prev_kv.clone().filter(|_| self.prev_kv);
            out.push(Event { kind: event.kind, kv: event.kv.clone(), prev_kv });
        }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Hands over what was applied: one slice of events per revision, `revision` being the last.
    pub(super) fn publish(&self, applied: &[Arc<[Event]>], revision: Revision) {
        let mut inner = self.lock();
        inner.sent = revision;
        inner.watchers.retain(|_, w| w.offer(applied, revision));
    }

    /// Ends every watcher with an error, and every later one.
    pub(super) fn close(&self, error: &Error) {
        let mut inner = self.lock();
        inner.closed = true;
        for (_, watcher) in std::mem::take(&mut inner.watchers) {
            let _ = watcher.end.set(error.clone());
        }
    }

    /// Ends every watcher because the state was replaced as a whole (a snapshot came from the leader).
    pub(super) fn reset(&self, revision: Revision) {
        let mut inner = self.lock();
        inner.sent = revision;
        for (_, watcher) in std::mem::take(&mut inner.watchers) {
            let _ = watcher.end.set(Error::SlowWatcher);
        }
    }

    /// Errors: `Compacted` if `start_revision` is gone, `Stopped`.
    pub(super) fn watch(self: &Arc<Self>, store: &RwLock<Store>, r: &WatchRequest) -> Result<Watcher, Error> {
        // The hub's lock first: nothing can be published between reading the past and joining the present.
        let mut inner = self.lock();
        if inner.closed {
            return Err(Error::Stopped);
        }
        let store = store.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let revision = store.revision();
        let past = if r.start_revision > 0 { store.events_since(r.start_revision)? } else { vec![] };
        drop(store);
        let (queue, live) = mpsc::channel(QUEUE);
        let (id, end) = (inner.next_id, Arc::new(OnceLock::new()));
        let filter = Filter { span: Span::new(&r.key, &r.range_end), prev_kv: r.prev_kv };
        let next = r.start_revision.max(revision + 1);
        let registered = Registered { filter: filter.clone(), next, made: revision, queue, end: end.clone() };
        inner.next_id += 1;
        inner.watchers.insert(id, registered);
        let first = if r.start_revision > 0 { r.start_revision } else { next };
        let (past, hub) = (past.into_iter(), self.clone());
        Ok(Watcher { past, filter, live, end, id, hub, first, ended: false })
    }
}

impl Registered {
    /// `false` if this watcher is over.
    fn offer(&mut self, applied: &[Arc<[Event]>], revision: Revision) -> bool {
        let mut events = Vec::new();
        for change in applied {
            if change.first().is_some_and(|e| e.kv.mod_revision >= self.next) {
                self.filter.pick(change, &mut events);
            }
        }
        self.next = self.next.max(revision + 1);
        events.is_empty() || self.send(WatchResponse { revision, events })
    }

    fn send(&self, response: WatchResponse) -> bool {
        match self.queue.try_send(response) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                let _ = self.end.set(Error::SlowWatcher);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// The receiving end of a watch. Dropping it ends the watch.
pub struct Watcher {
    past: std::vec::IntoIter<Arc<[Event]>>,
    filter: Filter,
    live: mpsc::Receiver<WatchResponse>,
    end: Arc<OnceLock<Error>>,
    id: u64,
    hub: Arc<Hub>,
    first: Revision,
    ended: bool,
}

impl Watcher {
    /// The first revision of which this watcher tells. Whoever is cut off before anything was told begins there again.
    pub fn first(&self) -> Revision {
        self.first
    }

    /// The next changes. An error (`SlowWatcher`, `Stopped`) comes once, after it `None`. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<WatchResponse, Error>> {
        if let Some(response) = self.next_past() {
            return Some(Ok(response));
        }
        match self.live.recv().await {
            Some(response) => Some(Ok(response)),
            None if self.ended => None,
            None => {
                self.ended = true;
                Some(Err(self.end.get().cloned().unwrap_or(Error::Stopped)))
            }
        }
    }

    fn next_past(&mut self) -> Option<WatchResponse> {
        let mut response = WatchResponse::default();
        for change in self.past.by_ref() {
            self.filter.pick(&change, &mut response.events);
            if let Some(first) = change.first() {
                response.revision = first.kv.mod_revision;
            }
            if response.events.len() >= BACKLOG_CHUNK {
                break;
            }
        }
        (!response.events.is_empty()).then_some(response)
    }

    /// Asks for an empty response that names the revision up to which this watcher has been served. It comes
    /// after all events up to there.
    pub fn request_progress(&self) {
        let mut inner = self.hub.lock();
        let sent = inner.sent;
        let over = match inner.watchers.get(&self.id) {
            // What was read from the past counts as served. Where a watch of the future begins does not: that revision may never be.
            Some(w) => !w.send(WatchResponse { revision: sent.max(w.made), events: vec![] }),
            None => false,
        };
        if over {
            inner.watchers.remove(&self.id);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.lock().watchers.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    struct World {
        store: RwLock<Store>,
        hub: Arc<Hub>,
    }

    impl World {
        fn new() -> World {
            World { store: RwLock::default(), hub: Arc::default() }
        }
        /// Nobody is told.
        fn write(&self, key: &'static str) -> (Arc<[Event]>, Revision) {
            let mut store = self.store.write().unwrap();
            let mut write = store.write();
            write.put(key.into(), Bytes::new(), 0);
            let events = write.commit();
            (events, store.revision())
        }
        fn put(&self, key: &'static str) {
            let (events, revision) = self.write(key);
            self.hub.publish(&[events], revision);
        }
        fn watch(&self, key: &'static str, end: &'static str, start_revision: Revision) -> Watcher {
            let r = WatchRequest { key: key.into(), range_end: end.into(), start_revision, prev_kv: true };
            self.hub.watch(&self.store, &r).unwrap()
        }
    }

    /// `key@revision<previous` of the next response.
    async fn next(w: &mut Watcher) -> String {
        let response = w.next().await.unwrap().unwrap();
        let one = |e: &Event| {
            let prev = e.prev_kv.as_ref().map_or(0, |p| p.mod_revision);
            format!("{}@{}<{prev}", String::from_utf8_lossy(&e.kv.key), e.kv.mod_revision)
        };
        format!("{}: {}", response.revision, response.events.iter().map(one).collect::<Vec<_>>().join(" "))
    }

    #[tokio::test]
    async fn the_past_then_the_present_without_gap_or_repetition() {
        let world = World::new();
        for key in ["a", "b", "a"] {
            world.put(key); // 2, 3, 4
        }
        let mut w = world.watch("a", "b", 2);
        world.put("a"); // 5
        assert_eq!(next(&mut w).await, "4: a@2<0 a@4<2");
        assert_eq!(next(&mut w).await, "5: a@5<4");
        w.request_progress();
        assert_eq!(next(&mut w).await, "5: ");
    }

    #[tokio::test]
    async fn a_watch_of_the_future_waits_for_it() {
        let world = World::new();
        let (mut now, mut later) = (world.watch("\0", "\0", 0), world.watch("\0", "\0", 4));
        for key in ["a", "b", "c"] {
            world.put(key);
        }
        assert_eq!(next(&mut now).await, "2: a@2<0");
        assert_eq!(next(&mut later).await, "4: c@4<0");
    }

    #[tokio::test]
    async fn progress_names_no_revision_that_does_not_exist() {
        let world = World::new();
        world.put("a"); // 2
        for start in [9, Revision::MAX] {
            let mut later = world.watch("a", "", start);
            later.request_progress();
            assert_eq!(next(&mut later).await, "2: ");
        }
        let mut later = world.watch("a", "", 9);
        world.put("b"); // 3
        later.request_progress();
        assert_eq!((next(&mut later).await, later.first()), ("3: ".to_string(), 9));
    }

    #[tokio::test]
    async fn a_watch_from_now_knows_where_it_began() {
        let world = World::new();
        world.put("a"); // 2
        let mut now = world.watch("a", "", 0);
        assert_eq!(now.first(), 3);
        // 3, which comes with another member's state
        world.write("a");
        world.hub.reset(3);
        while !matches!(now.next().await.unwrap(), Err(Error::SlowWatcher)) {}
        let mut again = world.watch("a", "", now.first());
        assert_eq!(next(&mut again).await, "3: a@3<2");
    }

    #[tokio::test]
    async fn a_watcher_that_sleeps_is_cut_off_and_told() {
        let world = World::new();
        let mut slow = world.watch("a", "", 0);
        for _ in 0..=QUEUE {
            world.put("a");
        }
        for _ in 0..QUEUE {
            slow.next().await.unwrap().unwrap();
        }
        assert_eq!(slow.next().await.unwrap().unwrap_err(), Error::SlowWatcher);
        assert!(slow.next().await.is_none());
    }

    #[tokio::test]
    async fn compacted_and_closed() {
        let world = World::new();
        world.put("a");
        world.put("a");
        world.store.write().unwrap().compact(3).unwrap();
        let r = WatchRequest { key: "a".into(), start_revision: 2, ..WatchRequest::default() };
        let refused = world.hub.watch(&world.store, &r).err();
        assert_eq!(refused, Some(Error::Compacted { compact_revision: 3 }));
        let mut w = world.watch("a", "", 3);
        assert_eq!(next(&mut w).await, "3: a@3<0");
        world.hub.close(&Error::Stopped);
        assert_eq!(w.next().await.unwrap().unwrap_err(), Error::Stopped);
        assert!(world.hub.watch(&world.store, &r).is_err());
    }
}
