//! Watches: every change from a revision on, in order, without gaps.

use super::api::{Error, Event, Revision, WatchRequest, WatchResponse};
use super::mvcc::{Span, Store};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// Responses a watcher may be behind. One that falls further behind is cut off with `SlowWatcher`.
const QUEUE: usize = 4096;
/// Events of the past handed over in one response.
const BACKLOG_CHUNK: usize = 512;
/// Revisions of the past read at a time (etcd: `watchBatchMaxRevs`). A watcher that is told more
/// slowly than things happen holds no more of it.
const PAST_BATCH: usize = 1000;

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
    end: Arc<OnceLock<End>>,
}

/// Why a watcher ended, and the first revision that was not handed over.
type End = (Error, Revision);

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
        self.0.lock()
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
            let _ = watcher.end.set((error.clone(), watcher.next));
        }
    }

    /// Ends every watcher because the state was replaced as a whole (a snapshot came from the
    /// leader).
    pub(super) fn reset(&self, revision: Revision) {
        let mut inner = self.lock();
        inner.sent = revision;
        for (_, watcher) in std::mem::take(&mut inner.watchers) {
            let _ = watcher.end.set((Error::SlowWatcher, watcher.next));
        }
    }

    /// Errors: `Compacted` if `start_revision` is gone, `Stopped`.
    pub(super) fn watch(
        self: &Arc<Self>,
        store: &Arc<RwLock<Store>>,
        r: &WatchRequest,
    ) -> Result<Watcher, Error> {
        let mut inner = self.lock();
        let made = store.read().revision();
        let (queue, live) = mpsc::channel(QUEUE);
        let first = if r.start_revision > 0 { r.start_revision } else { made + 1 };
        let id = inner.next_id;
        inner.next_id += 1;
        let mut watcher = Watcher {
            past: Vec::new().into_iter(),
            behind: Some(Behind { next: first, queue, asked: 0 }),
            filter: Filter { span: Span::new(&r.key, &r.range_end), prev_kv: r.prev_kv },
            live,
            end: Arc::new(OnceLock::new()),
            id,
            hub: self.clone(),
            store: store.clone(),
            first,
            made,
            ended: false,
        };
        let read = watcher.read_past(&mut inner);
        drop(inner); // a watcher that is dropped takes the lock
        read.map(|()| watcher)
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
        let handed_over = events.is_empty() || self.send(WatchResponse { revision, events });
        self.next = self.next.max(revision + 1);
        handed_over
    }

    fn send(&self, response: WatchResponse) -> bool {
        match self.queue.try_send(response) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                let _ = self.end.set((Error::SlowWatcher, self.next));
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// The receiving end of a watch. Dropping it ends the watch.
pub struct Watcher {
    past: std::vec::IntoIter<Arc<[Event]>>,
    /// While it has not read all of the past, it is not among those that are told of the present.
    behind: Option<Behind>,
    filter: Filter,
    live: mpsc::Receiver<WatchResponse>,
    end: Arc<OnceLock<End>>,
    id: u64,
    hub: Arc<Hub>,
    store: Arc<RwLock<Store>>,
    first: Revision,
    made: Revision,
    ended: bool,
}

struct Behind {
    /// First revision not yet read.
    next: Revision,
    queue: mpsc::Sender<WatchResponse>,
    /// How often it was asked for its progress meanwhile.
    asked: usize,
}

impl Watcher {
    /// The store's revision when this watcher was made.
    pub fn made(&self) -> Revision {
        self.made
    }

    /// Reads some more of the past; at its end joins the present. The hub's lock is held: nothing
    /// can be published between the two.
    fn read_past(&mut self, inner: &mut Inner) -> Result<(), Error> {
        let Some(mut behind) = self.behind.take() else { return Ok(()) };
        if inner.closed {
            return Err(Error::Stopped);
        }
        let store = self.store.read();
        let (past, next) = store.events_since(behind.next, PAST_BATCH)?;
        let made = store.revision();
        drop(store);
        self.past = past.into_iter();
        behind.next = next;
        if next <= made {
            self.behind = Some(behind);
            return Ok(());
        }
        let (filter, end) = (self.filter.clone(), self.end.clone());
        let registered = Registered { filter, next, made, queue: behind.queue, end };
        let progress = WatchResponse { revision: inner.sent.max(made), events: vec![] };
        for _ in 0..behind.asked.min(QUEUE) {
            registered.send(progress.clone());
        }
        inner.watchers.insert(self.id, registered);
        Ok(())
    }

    /// Returns the first revision whose events this watcher gets. A client that is cut off before
    /// it got any begins there again.
    pub fn first(&self) -> Revision {
        self.first
    }

    /// Returns where to watch again after `SlowWatcher`: the first revision that was not served.
    /// Revisions without a change of the watched keys count as served, as with etcd (`syncWatchers`
    /// in server/storage/mvcc/watchable_store.go), so a compaction may forget them.
    pub(crate) fn resume(&self) -> Revision {
        self.end.get().map_or(self.first, |(_, next)| *next)
    }

    /// Waits for the next changes. `None` comes after the error that ended the watch. Cancel safe.
    ///
    /// # Errors
    /// - `SlowWatcher` if the caller was too many responses behind, or a leader's snapshot replaced
    ///   the store: watch again from behind the last revision seen.
    /// - `Compacted` if the past was forgotten before it was read: list the keys again.
    /// - `Stopped` if the member has ended.
    pub async fn next(&mut self) -> Option<Result<WatchResponse, Error>> {
        loop {
            if let Some(response) = self.next_past() {
                return Some(Ok(response));
            }
            if self.behind.is_none() {
                break;
            }
            let hub = self.hub.clone();
            if let Err(error) = self.read_past(&mut hub.lock()) {
                self.ended = true;
                return Some(Err(error));
            }
        }
        match self.live.recv().await {
            Some(response) => Some(Ok(response)),
            None if self.ended => None,
            None => {
                self.ended = true;
                Some(Err(self.end.get().map_or(Error::Stopped, |(error, _)| error.clone())))
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

    /// Asks for an empty response that names the revision up to which this watcher has been served.
    /// It comes after all events up to there. `false` if none comes: the store has not reached
    /// `start`, where the client's watch begins. A client takes such a response for the place where
    /// it goes on after a break, and would then be told of what it did not ask for.
    pub(crate) fn request_progress(&mut self, start: Revision) -> bool {
        if let Some(behind) = &mut self.behind {
            behind.asked += 1;
            return true;
        }
        let mut inner = self.hub.lock();
        let sent = inner.sent;
        let Some(registered) = inner.watchers.get(&self.id) else { return true }; // it ends with an error
        let revision = sent.max(registered.made); // what was read from the past counts as served
        if revision < start {
            return false;
        }
        if !registered.send(WatchResponse { revision, events: vec![] }) {
            inner.watchers.remove(&self.id);
        }
        true
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
        store: Arc<RwLock<Store>>,
        hub: Arc<Hub>,
    }

    impl World {
        fn new() -> World {
            World { store: Arc::default(), hub: Arc::default() }
        }
        /// Nobody is told.
        fn write(&self, key: &'static str) -> (Arc<[Event]>, Revision) {
            let mut store = self.store.write();
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
        w.request_progress(0);
        assert_eq!(next(&mut w).await, "5: ");
    }

    #[tokio::test]
    async fn a_long_past_is_read_in_portions_and_what_is_forgotten_meanwhile_is_told() {
        let world = World::new();
        let many = PAST_BATCH as Revision * 5 / 2;
        (0..many).for_each(|_| world.put("a")); // 2 to many + 1
        let (mut reader, mut sleeper) = (world.watch("a", "b", 2), world.watch("a", "b", 2));
        assert_eq!((sleeper.past.len(), sleeper.made()), (PAST_BATCH, many + 1));
        assert!(world.hub.lock().watchers.is_empty(), "nobody is told of the present before the past");
        reader.request_progress(0);
        world.put("a");
        let (mut seen, mut last) = (0, 1);
        loop {
            let response = reader.next().await.unwrap().unwrap();
            assert!(
                response.events.iter().all(|e| std::mem::replace(&mut last, e.kv.mod_revision) + 1 == last)
            );
            seen += response.events.len() as Revision;
            if response.events.is_empty() {
                assert_eq!(
                    (seen, response.revision),
                    (many + 1, many + 2),
                    "its progress, behind all events"
                );
                break;
            }
        }
        world.put("a");
        assert_eq!(next(&mut reader).await, format!("{0}: a@{0}<{1}", many + 3, many + 2));
        // the sleeper has its first portion, and then nothing: also if a snapshot replaces the
        // store
        world.store.write().compact(many).unwrap();
        world.hub.reset(many + 3);
        let mut told = 0;
        let error = loop {
            match sleeper.next().await.unwrap() {
                Ok(response) => told += response.events.len(),
                Err(error) => break error,
            }
        };
        assert_eq!((told, error), (PAST_BATCH, Error::Compacted { compact_revision: many }));
        assert!(sleeper.next().await.is_none());
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
    async fn a_watch_of_the_future_makes_no_progress_before_it_begins() {
        let world = World::new();
        world.put("a"); // 2
        for start in [4, Revision::MAX] {
            assert!(!world.watch("a", "", start).request_progress(start));
        }
        let mut later = world.watch("a", "", 4);
        world.put("b"); // 3
        assert!(!later.request_progress(4));
        world.put("b"); // 4
        assert!(later.request_progress(4));
        assert_eq!((next(&mut later).await, later.first()), ("4: ".to_string(), 4));
        let mut now = world.watch("a", "", 0);
        assert!(now.request_progress(0));
        assert_eq!(next(&mut now).await, "4: ");
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

    /// A snapshot of the leader replaces the store, and has forgotten what this watch had looked
    /// through without finding anything.
    #[tokio::test]
    async fn a_watch_goes_on_from_where_it_was_served_and_not_from_its_last_event() {
        let world = World::new();
        for _ in 0..3 {
            world.put("often"); // 2, 3, 4
        }
        let (mut past, mut now) = (world.watch("rare", "", 2), world.watch("rare", "", 0));
        world.put("often"); // 5
        world.write("often"); // 6 and 7 come with another member's state
        world.write("rare");
        world.store.write().compact(5).unwrap();
        world.hub.reset(7);
        for watcher in [&mut past, &mut now] {
            assert_eq!(watcher.next().await.unwrap().unwrap_err(), Error::SlowWatcher);
            let mut again = world.watch("rare", "", watcher.resume());
            assert_eq!((watcher.resume(), next(&mut again).await), (6, "7: rare@7<0".into()));
        }
    }

    /// Its queue was full for one response: that one was not served.
    #[tokio::test]
    async fn a_watcher_that_was_cut_off_goes_on_with_what_it_missed() {
        let world = World::new();
        let mut slow = world.watch("a", "", 0);
        for _ in 0..QUEUE + 3 {
            world.put("a");
        }
        let mut seen = 1;
        while let Ok(response) = slow.next().await.unwrap() {
            seen = response.revision;
        }
        let mut again = world.watch("a", "", slow.resume());
        assert_eq!(slow.resume(), seen + 1);
        assert!(next(&mut again).await.contains(&format!(" a@{}<{seen}", seen + 1)));
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
        world.store.write().compact(3).unwrap();
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
