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
/// Revisions of the past read at a time (etcd: `watchBatchMaxRevs`). A watcher that reads
/// more slowly than the store is written holds no more of it.
const PAST_BATCH: usize = 1000;

/// Hands applied changes over to the watchers.
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
    /// The store's revision when the watcher had read all of the past.
    joined: Revision,
    queue: mpsc::Sender<WatchResponse>,
    end: Arc<OnceLock<End>>,
}

/// The error that ended a watcher, and the first revision that was not handed over.
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
            read: made,
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
    /// Set until it has read all of the past. The hub publishes nothing to it before.
    behind: Option<Behind>,
    filter: Filter,
    live: mpsc::Receiver<WatchResponse>,
    end: Arc<OnceLock<End>>,
    id: u64,
    hub: Arc<Hub>,
    store: Arc<RwLock<Store>>,
    first: Revision,
    made: Revision,
    /// The store's revision when a portion of the past was read last.
    read: Revision,
    ended: bool,
}

struct Behind {
    /// First revision not yet read.
    next: Revision,
    queue: mpsc::Sender<WatchResponse>,
    /// Requests for its progress that came meanwhile.
    asked: usize,
}

impl Watcher {
    /// Returns the store's revision when this watcher was made.
    pub fn made(&self) -> Revision {
        self.made
    }

    /// Returns the store's revision when this watcher read the events that it returned last, if
    /// they are of the past; those of the present are newer.
    pub(crate) fn read(&self) -> Revision {
        self.read
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
        let newest = store.revision();
        drop(store);
        (self.past, self.read) = (past.into_iter(), newest);
        behind.next = next;
        if next <= newest {
            self.behind = Some(behind);
            return Ok(());
        }
        let (filter, end) = (self.filter.clone(), self.end.clone());
        let registered = Registered { filter, next, joined: newest, queue: behind.queue, end };
        let progress = WatchResponse { revision: inner.sent.max(newest), events: vec![] };
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
    /// it goes on after a break, and would then get events that it did not ask for.
    pub(crate) fn request_progress(&mut self, start: Revision) -> bool {
        if let Some(behind) = &mut self.behind {
            behind.asked += 1;
            return true;
        }
        let mut inner = self.hub.lock();
        let sent = inner.sent;
        let Some(registered) = inner.watchers.get(&self.id) else { return true }; // it ends with an error
        let revision = sent.max(registered.joined); // what was read from the past counts as served
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
mod tests;
